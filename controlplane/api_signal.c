/*
 * Signals for conditions: RunService.SignalEvent, by which a person answers, and
 * ActionsService.Signal, which carries the Literal itself. The value must be of the condition's
 * type: its parent would otherwise get something else than it asked for.
 */
#include "controlplane/encode.h"
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"

#include <string.h>

#define STRING_BYTES_MAX ((size_t)64 * 1024)

/* flyteidl2.core.SimpleType, and field numbers of Literal, Scalar and Primitive. */
enum { TYPE_NONE, TYPE_INTEGER, TYPE_FLOAT, TYPE_STRING, TYPE_BOOLEAN };
enum { LITERAL_SCALAR = 1, SCALAR_PRIMITIVE = 1 };
enum { PRIMITIVE_INTEGER = 1, PRIMITIVE_FLOAT, PRIMITIVE_STRING, PRIMITIVE_BOOLEAN };

static const char *const type_names[] = {"none", "int", "float", "str", "bool"};

/* A oneof's member is there even when it is 0. */
static void put_varint_always(struct sy_buf *buf, uint32_t field, uint64_t value)
{
    uint8_t *start = cp_put_room(buf, 2 * CP_VARINT_BYTES_MAX);
    uint8_t *at = cp_write_varint(start, field << 3 | CP_WIRE_VARINT);
    at = cp_write_varint(at, value);
    buf->len += (size_t)(at - start);
}

static void put_double(struct sy_buf *buf, uint32_t field, double value)
{
    uint8_t bytes[1 + sizeof(value)] = {(uint8_t)(field << 3 | CP_WIRE_FIXED64)};
    memcpy(bytes + 1, &value, sizeof(value));
    sy_buf_append(buf, bytes, sizeof(bytes));
}

typedef Flyteidl2__Workflow__EventPayload payload_msg;

/* The payload as a Literal; returns its type. */
static int put_payload(struct sy_buf *buf, const payload_msg *payload)
{
    size_t scalar = cp_put_begin(buf, LITERAL_SCALAR);
    size_t primitive = cp_put_begin(buf, SCALAR_PRIMITIVE);
    int type = TYPE_NONE;
    switch (payload != NULL ? payload->value_case
                            : FLYTEIDL2__WORKFLOW__EVENT_PAYLOAD__VALUE__NOT_SET) {
    case FLYTEIDL2__WORKFLOW__EVENT_PAYLOAD__VALUE_BOOL_VALUE:
        put_varint_always(buf, PRIMITIVE_BOOLEAN, payload->bool_value);
        type = TYPE_BOOLEAN;
        break;
    case FLYTEIDL2__WORKFLOW__EVENT_PAYLOAD__VALUE_INT_VALUE:
        put_varint_always(buf, PRIMITIVE_INTEGER, (uint64_t)payload->int_value);
        type = TYPE_INTEGER;
        break;
    case FLYTEIDL2__WORKFLOW__EVENT_PAYLOAD__VALUE_FLOAT_VALUE:
        put_double(buf, PRIMITIVE_FLOAT, payload->float_value);
        type = TYPE_FLOAT;
        break;
    case FLYTEIDL2__WORKFLOW__EVENT_PAYLOAD__VALUE_STRING_VALUE:
        cp_put_bytes_always(buf, PRIMITIVE_STRING, payload->string_value,
                            strlen(payload->string_value));
        type = TYPE_STRING;
        break;
    default:
        break;
    }
    cp_put_end(buf, primitive);
    cp_put_end(buf, scalar);
    return type;
}

/* The type of a Literal that is a primitive; NONE: it is not. */
static int literal_type(struct sy_span literal)
{
    static const int types[] = {[PRIMITIVE_INTEGER] = TYPE_INTEGER,
                                [PRIMITIVE_FLOAT] = TYPE_FLOAT,
                                [PRIMITIVE_STRING] = TYPE_STRING,
                                [PRIMITIVE_BOOLEAN] = TYPE_BOOLEAN};
    struct sy_span primitive = cp_row_bytes(cp_row_bytes(literal, LITERAL_SCALAR),
                                            SCALAR_PRIMITIVE);
    struct cp_field field;
    if (!cp_read_field(&primitive, &field) || field.number > PRIMITIVE_BOOLEAN)
        return TYPE_NONE;
    return types[field.number];
}

/* Of the condition that the request names. False: the request has failed. */
static bool read_type(struct cp_request *req, int *ret)
{
    enum { ACTION_CONDITION = 9, CONDITION_TYPE = 6, TYPE_SIMPLE = 1 };
    struct sy_arena *arena = cp_scratch(req->lane);
    struct cp_run_view run;
    struct cp_action_view action;
    if (!cp_view_run(req, arena, &run) ||
        !cp_view_action(req, arena, run.id, req->address.action, &action))
        return false;
    struct sy_span flyte = {action.row->flyte.data, action.row->flyte.len};
    struct sy_span type = cp_row_bytes(cp_row_bytes(flyte, ACTION_CONDITION), CONDITION_TYPE);
    *ret = (int)cp_row_uint(type, TYPE_SIMPLE);
    return true;
}

static void signal_with(struct cp_request *req, struct sy_span value, int type)
{
    const struct cp_address *a = &req->address;
    int expected = TYPE_NONE;
    if (!read_type(req, &expected))
        return;
    if (expected > TYPE_NONE && expected <= TYPE_BOOLEAN && type != expected) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "condition '%s' waits for a %s, got %s", a->action,
                type_names[expected], type == TYPE_NONE ? "nothing" : type_names[type]);
        return;
    }
    struct cp_signal signal = {a->project, a->domain, a->run, a->action, value};
    cp_partition_signal(req->lane->partition, &signal, cp_done_empty, req);
}

static int event_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__SignalEventRequest *m = req->message;
    return cp_address_action(req, m->action_id, error);
}

static void signal_event(struct cp_request *req)
{
    const Flyteidl2__Workflow__SignalEventRequest *m = req->message;
    struct sy_buf SY_CLEANUP(sy_buf_deinit) literal = {0};
    int type = put_payload(&literal, m->payload);
    if (literal.len > STRING_BYTES_MAX) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "payload of %zu bytes, at most %zu are allowed",
                literal.len, STRING_BYTES_MAX);
        return;
    }
    signal_with(req, sy_buf_span(&literal), type);
}

static int signal_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Actions__SignalRequest *m = req->message;
    if (m->value.len > STRING_BYTES_MAX) {
        sy_error_text_set(error, "value of %zu bytes, at most %zu are allowed", m->value.len,
                          STRING_BYTES_MAX);
        return -EINVAL;
    }
    return cp_address_action(req, m->action_id, error);
}

static void signal_action(struct cp_request *req)
{
    const Flyteidl2__Actions__SignalRequest *m = req->message;
    struct sy_span value = {m->value.data, m->value.len};
    signal_with(req, value, literal_type(value));
}

const struct cp_method cp_signal_methods[] = {
    {.path = "/flyteidl2.workflow.RunService/SignalEvent",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__signal_event_request__descriptor,
     .address = event_address,
     .serve = signal_event},
    {.path = "/flyteidl2.actions.ActionsService/Signal",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__actions__signal_request__descriptor,
     .address = signal_address,
     .serve = signal_action,
     .routable = true},
    {0},
};
