/*
 * What people say of nodes (cordon, drain, fence): orders come with a shard's stream, the core
 * carries them out, and DATA_DIR/nodes keeps them: a line "NAME STATE DEADLINE" for each node that
 * is not open, the deadline in realtime nanoseconds, 0 = none. An order is answered when the file
 * is durable.
 */
#include "base/file.h"
#include "base/mem.h"
#include "dataplane/events.h"
#include "dataplane/operator_impl.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX ((size_t)64 << 20)

/* ---- the file ---- */

struct writer {
    struct dp_operator *op;
    struct sy_buf text;
};

static bool put_line(void *ctx, const char *node, enum sch_service_state state, int64_t deadline_ns)
{
    struct writer *writer = ctx;
    struct sy_loop *loop = writer->op->loop;
    int64_t real_ns = deadline_ns == SY_TIME_NEVER
                          ? 0
                          : deadline_ns - writer->op->now_ns + sy_loop_realtime_ns(loop);
    sy_buf_printf(&writer->text, "%s %s %" PRId64 "\n", node, sch_service_table.states[state].name,
                  real_ns);
    return true;
}

static int save(struct dp_operator *op)
{
    if (!op->orders_path)
        return 0;
    struct writer writer = {.op = op};
    sch_operator_each_service(op->core, put_line, &writer);
    int r = sy_file_write_atomic(op->orders_path, writer.text.data, writer.text.len);
    sy_buf_deinit(&writer.text);
    if (r < 0)
        sy_log(op->log, &dp_events, DP_EV_ORDERS_NOT_KEPT, SY_STR("file", op->orders_path),
               SY_STR("error", strerror(-r)));
    op->orders_due = false;
    return r;
}

static bool read_line(struct dp_operator *op, const char *line)
{
    char node[DP_NAME_MAX], state[16];
    int64_t real_ns;
    if (sscanf(line, "%63s %15s %" SCNd64, node, state, &real_ns) != 3)
        return false;
    struct sch_op_event event = {.type = SCH_OP_NODE_DRAIN};
    if (strcmp(state, sch_service_table.states[SCH_SERVICE_CORDONED].name) == 0)
        event.type = SCH_OP_NODE_CORDON;
    else if (strcmp(state, sch_service_table.states[SCH_SERVICE_FENCED].name) == 0)
        event.type = SCH_OP_NODE_FENCE;
    event.u.verb.node = node;
    event.u.verb.deadline_ns = SY_TIME_NEVER;
    if (real_ns != 0)
        event.u.verb.deadline_ns = real_ns - sy_loop_realtime_ns(op->loop) + op->now_ns;
    dp_step(op, &event);
    return true;
}

int dp_orders_open(struct dp_operator *op, const char *path, struct sy_error_text *error)
{
    struct sy_buf text SY_CLEANUP(sy_buf_deinit) = {0};
    op->orders_path = sy_strdup(path);
    int r = sy_file_read(op->orders_path, FILE_BYTES_MAX, &text);
    if (r == -ENOENT)
        return 0;
    sy_buf_append(&text, "", 1);
    for (char *line = (char *)text.data; r == 0 && *line; line += strcspn(line, "\n") + 1) {
        if (!strchr(line, '\n') || !read_line(op, line))
            r = -EBADMSG;
    }
    if (r < 0)
        sy_error_text_set(error, "%s: cannot be read: %s; expected lines NAME STATE DEADLINE",
                          op->orders_path, strerror(-r));
    op->orders_due = false;
    return r;
}

void dp_orders_turn_end(struct dp_operator *op)
{
    if (op->orders_due)
        (void)save(op); /* logged; "drained" is found out again */
}

/* ---- orders ---- */

static void answer(struct dp_stream *stream, uint64_t order, enum sy_code code, const char *message)
{
    struct sy_buf *record = &stream->op->scratch;
    sy_buf_clear(record);
    dp_wire_put_u64(record, 1, order);
    dp_wire_put_u64(record, 2, (uint64_t)code);
    dp_wire_put_text(record, 3, message);
    dp_link_put(&stream->link, DP_TO_SHARD_NODE_ORDERS, sy_buf_span(record));
}

static bool read_order(const struct dp_operator *op, const dp_pb_node_order *order,
                       struct sch_op_event *ret)
{
    static const enum sch_op_event_type types[] = {
        [SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_CORDON] = SCH_OP_NODE_CORDON,
        [SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_UNCORDON] = SCH_OP_NODE_UNCORDON,
        [SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_DRAIN] = SCH_OP_NODE_DRAIN,
        [SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_FENCE] = SCH_OP_NODE_FENCE,
        [SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_UNFENCE] = SCH_OP_NODE_UNFENCE,
    };
    char name[DP_NAME_MAX];
    if ((int)order->verb <= 0 || (size_t)order->verb >= SY_COUNT_OF(types) ||
        order->deadline_ns < 0 || !dp_copy_name(name, sizeof(name), order->node, false))
        return false;
    *ret = (struct sch_op_event){.type = types[order->verb]};
    ret->u.verb.node = order->node;
    ret->u.verb.deadline_ns = order->deadline_ns > 0 ? op->now_ns + order->deadline_ns
                                                     : SY_TIME_NEVER;
    return true;
}

/* Why the order does not apply to the node as it is; NULL: it does. */
static const char *mismatch(const struct dp_operator *op, const struct sch_op_event *event)
{
    enum sch_service_state state = sch_operator_service_of(op->core, event->u.verb.node);
    bool of_fence = event->type == SCH_OP_NODE_FENCE || event->type == SCH_OP_NODE_UNFENCE;
    if (state == SCH_SERVICE_FENCED && !of_fence)
        return "the node is fenced: unfence it first";
    if (event->type == SCH_OP_NODE_UNFENCE && state != SCH_SERVICE_FENCED &&
        state != SCH_SERVICE_OPEN)
        return "the node is not fenced: uncordon takes back a cordon or a drain";
    return NULL;
}

void dp_orders_receive(struct dp_stream *stream, const dp_pb_node_order *order)
{
    struct dp_operator *op = stream->op;
    struct sch_op_event event;
    if (!read_order(op, order, &event)) {
        answer(stream, order->order, SY_CODE_INVALID_ARGUMENT, "an order for a node is malformed");
        return;
    }
    if (!sch_operator_knows_node(op->core, order->node)) {
        answer(stream, order->order, SY_CODE_NOT_FOUND, "the cluster has no such node");
        return;
    }
    const char *why_not = mismatch(op, &event);
    if (why_not) {
        answer(stream, order->order, SY_CODE_FAILED_PRECONDITION, why_not);
        return;
    }
    dp_step(op, &event);
    dp_nodes_tell_later(op);
    int r = save(op);
    if (r == 0 && !dp_gate_is_ours(&op->gate))
        r = -ESTALE; /* another operator may have read the file before */
    answer(stream, order->order, r < 0 ? SY_CODE_UNAVAILABLE : SY_CODE_OK,
           r < 0 ? "carried out, but the operator cannot write it down" : "");
}
