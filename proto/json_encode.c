/* Wire bytes -> JSON. */
#include "proto/json_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef ProtobufCMessageDescriptor message_type;
typedef ProtobufCFieldDescriptor field_type;

static json_t *from_message(const message_type *type, struct sy_span wire, unsigned depth);

/* ---- scalars ---- */

/* Bytes that are not UTF-8 become '?': one bad text must not hide the rest. */
static json_t *from_text(struct sy_span bytes)
{
    json_t *text = json_stringn((const char *)bytes.data, bytes.len);
    if (text != NULL || bytes.len == 0)
        return text != NULL ? text : json_string("");
    struct sy_buf copy SY_CLEANUP(sy_buf_deinit) = sy_buf_copy(bytes.data, bytes.len);
    for (size_t i = 0; i < copy.len; i++)
        if (copy.data[i] >= 0x80)
            copy.data[i] = '?';
    return json_stringn((const char *)copy.data, copy.len);
}

static json_t *from_bytes(struct sy_span bytes)
{
    struct sy_buf text SY_CLEANUP(sy_buf_deinit) = {0};
    pb_base64_append(&text, bytes);
    return from_text(sy_buf_span(&text));
}

static json_t *from_double(double value)
{
    if (isnan(value))
        return json_string("NaN");
    if (isinf(value))
        return json_string(value > 0 ? "Infinity" : "-Infinity");
    return json_real(value);
}

static json_t *from_enum(const ProtobufCEnumDescriptor *type, int32_t number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    return value != NULL ? json_string(value->name) : json_integer(number);
}

static json_t *from_signed(int64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, value);
    return json_string(text);
}

static json_t *from_unsigned(uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    return json_string(text);
}

static int64_t zigzag(uint64_t bits)
{
    return (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
}

static json_t *from_number(const field_type *field, uint64_t bits)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer((int32_t)bits);
    case PROTOBUF_C_TYPE_SINT32:
        return json_integer(zigzag((uint32_t)bits));
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer((uint32_t)bits);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return from_signed((int64_t)bits);
    case PROTOBUF_C_TYPE_SINT64:
        return from_signed(zigzag(bits));
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return from_unsigned(bits);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(bits != 0);
    case PROTOBUF_C_TYPE_ENUM:
        return from_enum(field->descriptor, (int32_t)bits);
    case PROTOBUF_C_TYPE_FLOAT: {
        uint32_t low = (uint32_t)bits;
        float value;
        memcpy(&value, &low, sizeof(value));
        return from_double(value);
    }
    default: {
        double value;
        memcpy(&value, &bits, sizeof(value));
        return from_double(value);
    }
    }
}

/* ---- fields ---- */

/* Of a singular field, an element or a map's key or value. NULL: malformed. */
static json_t *from_field(const message_type *owner, const field_type *field,
                          const struct pb_field *value, unsigned depth)
{
    if (value->wire != pb_wire_of(field->type))
        return NULL;
    const message_type *inner = pb_json_message_of(field, owner);
    if (inner != NULL)
        return from_message(inner, value->bytes, depth + 1);
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return from_text(value->bytes);
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return from_bytes(value->bytes);
    return from_number(field, value->number);
}

static int add_packed(json_t *array, const field_type *field, struct sy_span bytes)
{
    struct pb_reader reader = pb_reader(bytes);
    uint64_t bits;
    while (reader.at < reader.end) {
        if (!pb_read_packed(&reader, pb_wire_of(field->type), &bits))
            return -EBADMSG;
        json_array_append_new(array, from_number(field, bits));
    }
    return 0;
}

/* A key that is absent is its type's zero; so is a value, which JSON must name. */
static json_t *absent(const message_type *entry, unsigned index, unsigned depth)
{
    const field_type *field = &entry->fields[index];
    struct pb_field zero = {.wire = pb_wire_of(field->type)};
    return from_field(entry, field, &zero, depth);
}

static int add_entry(json_t *object, const message_type *entry, struct sy_span bytes,
                     unsigned depth)
{
    struct pb_reader reader = pb_reader(bytes);
    struct pb_field part;
    json_t *parts[2] = {NULL, NULL}; /* key, value */
    int r = 0;
    while (r == 0 && reader.at < reader.end) {
        if (!pb_read_field(&reader, &part)) {
            r = -EBADMSG;
        } else if (part.id == 1 || part.id == 2) {
            json_decref(parts[part.id - 1]);
            parts[part.id - 1] = from_field(entry, &entry->fields[part.id - 1], &part, depth);
            r = parts[part.id - 1] == NULL ? -EBADMSG : 0;
        }
    }
    for (unsigned i = 0; i < 2 && r == 0; i++)
        if (parts[i] == NULL && (parts[i] = absent(entry, i, depth)) == NULL)
            r = -EBADMSG;
    if (r == 0) {
        char *text = json_is_string(parts[0]) ? NULL : json_dumps(parts[0], JSON_ENCODE_ANY);
        json_object_set(object, text != NULL ? text : json_string_value(parts[0]), parts[1]);
        free(text);
    }
    json_decref(parts[0]);
    json_decref(parts[1]);
    return r;
}

/* The array or object of a repeated field, made when it lacks. */
static json_t *container(json_t *object, const char *name, bool map)
{
    json_t *held = json_object_get(object, name);
    if (held == NULL) {
        held = map ? json_object() : json_array();
        json_object_set_new(object, name, held);
    }
    return held;
}

/* A message that comes in two parts is one. */
static void set(json_t *object, const char *name, json_t *value)
{
    json_t *held = json_object_get(object, name);
    if (json_is_object(held) && json_is_object(value)) {
        json_object_update_recursive(held, value);
        json_decref(value);
    } else {
        json_object_set_new(object, name, value);
    }
}

static int add_field(json_t *object, const message_type *owner, const struct pb_field *value,
                     unsigned depth)
{
    const field_type *field = protobuf_c_message_descriptor_get_field(owner, value->id);
    char name[PB_JSON_NAME_MAX];
    if (field == NULL)
        return 0;
    pb_json_name(field->name, name);
    if (pb_json_is_map(field))
        return value->wire != 2 ? -EBADMSG
                                : add_entry(container(object, name, true), field->descriptor,
                                            value->bytes, depth + 1);
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    if (repeated && value->wire == 2 && pb_wire_of(field->type) != 2)
        return add_packed(container(object, name, false), field, value->bytes);
    json_t *json = from_field(owner, field, value, depth);
    if (json == NULL)
        return -EBADMSG;
    if (repeated)
        json_array_append_new(container(object, name, false), json);
    else
        set(object, name, json);
    return 0;
}

/* ---- messages ---- */

static json_t *from_fields(const message_type *type, struct sy_span wire, unsigned depth)
{
    struct pb_reader reader = pb_reader(wire);
    struct pb_field field;
    json_t *object = json_object();
    while (reader.at < reader.end) {
        if (!pb_read_field(&reader, &field) || add_field(object, type, &field, depth) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *from_time(struct sy_span wire, enum pb_json_kind kind)
{
    struct pb_reader reader = pb_reader(wire);
    struct pb_field field;
    int64_t seconds = 0;
    int32_t nanos = 0;
    while (reader.at < reader.end) {
        if (!pb_read_field(&reader, &field))
            return NULL;
        if (field.id == 1)
            seconds = (int64_t)field.number;
        else if (field.id == 2)
            nanos = (int32_t)field.number;
    }
    char text[PB_JSON_TIME_MAX];
    int r = kind == PB_JSON_TIMESTAMP ? pb_json_time_text(seconds, nanos, text)
                                      : pb_json_duration_text(seconds, nanos, text);
    return r == 0 ? json_string(text) : NULL;
}

/* The one member of a wrapper, or of Struct and ListValue; `otherwise` (taken) when absent. */
static json_t *only_member(json_t *object, const char *name, json_t *otherwise)
{
    json_t *member = json_object_get(object, name);
    json_t *ret = object == NULL ? NULL : json_incref(member != NULL ? member : otherwise);
    json_decref(object);
    json_decref(otherwise);
    return ret;
}

/* google.protobuf.Value: whichever member is set; none is null. */
static json_t *any_member(json_t *object)
{
    json_t *ret = NULL;
    void *at = json_object_iter(object);
    if (at != NULL && strcmp(json_object_iter_key(at), "nullValue") != 0)
        ret = json_incref(json_object_iter_value(at));
    else if (object != NULL)
        ret = json_null();
    json_decref(object);
    return ret;
}

static json_t *from_message(const message_type *type, struct sy_span wire, unsigned depth)
{
    if (depth > PB_JSON_DEPTH_MAX)
        return NULL;
    enum pb_json_kind kind = pb_json_kind(type);
    if (kind == PB_JSON_TIMESTAMP || kind == PB_JSON_DURATION)
        return from_time(wire, kind);
    json_t *object = from_fields(type, wire, depth);
    switch (kind) {
    case PB_JSON_WRAPPER: {
        struct pb_field zero = {.wire = pb_wire_of(type->fields[0].type)};
        return only_member(object, "value", from_field(type, &type->fields[0], &zero, depth));
    }
    case PB_JSON_STRUCT:
        return only_member(object, "fields", json_object());
    case PB_JSON_LIST:
        return only_member(object, "values", json_array());
    case PB_JSON_VALUE:
        return any_member(object);
    default:
        return object;
    }
}

static int append(const char *text, size_t len, void *buf)
{
    sy_buf_append(buf, text, len);
    return 0;
}

int pb_json_from_wire(const message_type *type, struct sy_span wire, struct sy_buf *buf)
{
    json_t *json = from_message(type, wire, 0);
    if (json == NULL)
        return -EBADMSG;
    json_dump_callback(json, append, buf, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(json);
    return 0;
}
