/* What the core decided becomes records on links, and sleeps of our own. Nothing here steps the
 * core or closes a link. */
#include "base/mem.h"
#include "dataplane/operator_impl.h"

#include <stdlib.h>
#include <string.h>

enum { OUTCOME_LOST = 7, OUTCOME_PREEMPTED = 9, DEATH_ALONE = 1 };
#define OUTCOME_HELD 18u /* the field that we add */

/* ---- what the core keeps for us ---- */

struct assignment {
    struct dp_spec *spec;
    size_t len;
    uint8_t bytes[];
};

struct outcome {
    size_t len;
    uint8_t bytes[];
};

static void assignment_release(void *data)
{
    struct assignment *assignment = data;
    dp_spec_unref(assignment->spec);
    free(assignment);
}

struct sch_blob dp_assignment_blob(struct dp_spec *spec, struct sy_span record)
{
    struct assignment *assignment = sy_malloc(sizeof(*assignment) + record.len);
    assignment->spec = spec;
    assignment->len = record.len;
    memcpy(assignment->bytes, record.data, record.len);
    dp_spec_ref(spec);
    return (struct sch_blob){assignment, assignment_release};
}

struct sch_blob dp_outcome_blob(struct sy_span record)
{
    struct outcome *outcome = sy_malloc(sizeof(*outcome) + record.len);
    outcome->len = record.len;
    memcpy(outcome->bytes, record.data, record.len);
    return (struct sch_blob){outcome, free};
}

/* ---- to nodes ---- */

static bool is_own(const char *node)
{
    return strcmp(node, DP_OWN_NODE) == 0;
}

/* A node that is not attached hears it again when it is: the core compares inventories. */
static void send_assign(struct dp_operator *op, const struct sch_op_effect *effect)
{
    struct assignment *assignment = effect->u.assign.blob.data;
    struct sy_span record = {assignment->bytes, assignment->len};
    struct dp_agent *agent = dp_agent_find(op, effect->u.assign.node);
    if (effect->u.assign.first_node)
        record = dp_gang_assignment(op, effect, record);
    if (agent)
        dp_agent_assign(agent, assignment->spec, record);
    else if (is_own(effect->u.assign.node))
        dp_sleep_assign(op->sleeps, &effect->u.assign.key, record);
    effect->u.assign.blob.release(assignment);
}

struct sy_buf *dp_scratch_key(struct dp_operator *op, const struct sch_attempt_key *key)
{
    sy_buf_clear(&op->scratch);
    dp_wire_put_key(&op->scratch, key);
    return &op->scratch;
}

static void send_cancel(struct dp_operator *op, const struct sch_op_effect *effect)
{
    struct dp_agent *agent = dp_agent_find(op, effect->u.attempt.node);
    if (agent) {
        struct sy_buf *record = dp_scratch_key(op, &effect->u.attempt.key);
        dp_wire_put_text(record, 5, effect->u.attempt.reason);
        dp_link_put(&agent->link, DP_TO_NODE_CANCELS, sy_buf_span(record));
    } else if (is_own(effect->u.attempt.node)) {
        dp_sleep_cancel(op->sleeps, &effect->u.attempt.key, effect->u.attempt.reason);
    }
}

static void send_ack(struct dp_operator *op, const struct sch_op_effect *effect)
{
    struct dp_agent *agent = dp_agent_find(op, effect->u.attempt.node);
    if (agent)
        dp_link_put(&agent->link, DP_TO_NODE_ACKS,
                    sy_buf_span(dp_scratch_key(op, &effect->u.attempt.key)));
}

static void send_give_back(struct dp_operator *op, const struct sch_op_effect *effect)
{
    struct dp_agent *agent = dp_agent_find(op, effect->u.attempt.node);
    if (agent)
        dp_link_flag(&agent->link, DP_TO_NODE_GIVE_BACK);
}

/* ---- to shards ---- */

static void send_started(struct dp_operator *op, const struct sch_op_effect *effect)
{
    struct dp_stream *stream = dp_stream_find(op, effect->u.report.partition);
    if (!stream)
        return;
    struct sy_buf *record = dp_scratch_key(op, &effect->u.report.key);
    dp_wire_put_u64(record, 5, (uint64_t)effect->u.report.started_ns);
    dp_wire_put_text(record, 6, effect->u.report.node);
    dp_link_put(&stream->link, DP_TO_SHARD_STARTED, sy_buf_span(record));
}

/* No agent has told how it ended: its node is gone. */
static void put_lost(struct dp_operator *op, struct sy_buf *record,
                     const struct sch_op_effect *effect)
{
    const char *reason = effect->u.report.reason;
    dp_wire_put_u64(record, 5, reason ? OUTCOME_PREEMPTED : OUTCOME_LOST);
    dp_wire_put_text(record, 8, reason ? "PREEMPTED" : "NODE_LOST");
    dp_wire_put_text(record, 9, reason ? reason : "the node was lost");
    dp_wire_put_u64(record, 10, (uint64_t)effect->u.report.started_ns);
    dp_wire_put_u64(record, 11, (uint64_t)sy_loop_realtime_ns(op->loop));
    dp_wire_put_text(record, 12, effect->u.report.node);
    dp_wire_put_u64(record, 16, effect->u.report.alone ? DEATH_ALONE : 0);
}

static void send_outcome(struct dp_operator *op, const struct sch_op_effect *effect)
{
    struct dp_stream *stream = dp_stream_find(op, effect->u.report.partition);
    if (!stream)
        return;
    const struct outcome *outcome = effect->u.report.blob;
    struct sy_buf *record = dp_scratch_key(op, &effect->u.report.key);
    if (outcome) {
        sy_buf_clear(record);
        sy_buf_append(record, outcome->bytes, outcome->len);
    } else {
        put_lost(op, record, effect);
    }
    dp_wire_put_u64(record, OUTCOME_HELD, (uint64_t)effect->u.report.held_ns);
    dp_link_put(&stream->link, DP_TO_SHARD_OUTCOMES, sy_buf_span(record));
}

static void send_returned(struct dp_operator *op, const struct sch_op_effect *effect)
{
    struct dp_stream *stream = dp_stream_find(op, effect->u.report.partition);
    if (!stream)
        return;
    struct sy_buf *record = dp_scratch_key(op, &effect->u.report.key);
    dp_wire_put_text(record, 5, effect->u.report.reason);
    dp_link_put(&stream->link, DP_TO_SHARD_RETURNED, sy_buf_span(record));
}

static void send_inventory(struct dp_operator *op, const struct sch_op_effect *effect)
{
    struct dp_stream *stream = dp_stream_find(op, effect->u.inventory.partition);
    if (!stream)
        return;
    struct sy_buf *record = dp_scratch_key(op, &effect->u.inventory.key);
    dp_wire_put_u64(record, 6, effect->u.inventory.started ? 1 : 0);
    dp_wire_put_u64(record, 7, (uint64_t)effect->u.inventory.started_ns);
    dp_wire_put_text(record, 8, effect->u.inventory.node);
    dp_link_put(&stream->link, DP_TO_SHARD_INVENTORY, sy_buf_span(record));
}

static void send_inventory_complete(struct dp_operator *op, uint32_t partition, bool owed)
{
    struct dp_stream *stream = dp_stream_find(op, partition);
    if (stream)
        dp_stream_complete(stream, owed);
}

static void send_grant(struct dp_operator *op, const struct sch_op_effect *effect)
{
    struct dp_stream *stream = dp_stream_find(op, effect->u.grant.partition);
    if (stream)
        dp_stream_grant(stream, effect->u.grant.class_id, effect->u.grant.granted,
                        effect->u.grant.startable);
}

static void send_room(struct dp_operator *op, const struct sch_op_effect *effect)
{
    struct dp_stream *stream = dp_stream_find(op, effect->u.room.partition);
    if (stream)
        dp_stream_room(stream, effect->u.room.cpu_milli, effect->u.room.memory_bytes,
                       effect->u.room.gpu_milli);
}

static void send_elsewhere(struct dp_operator *op, const struct sch_op_effect *effect)
{
    struct dp_stream *stream = dp_stream_find(op, effect->u.elsewhere.partition);
    if (stream)
        dp_stream_elsewhere(stream, &effect->u.elsewhere.place, &effect->u.elsewhere.use);
}

static void apply(struct dp_operator *op, const struct sch_op_effect *effect)
{
    switch (effect->type) {
    case SCH_OP_SEND_ASSIGN:
        send_assign(op, effect);
        break;
    case SCH_OP_SEND_CANCEL:
        send_cancel(op, effect);
        break;
    case SCH_OP_SEND_ACK:
        send_ack(op, effect);
        break;
    case SCH_OP_SEND_GIVE_BACK:
        send_give_back(op, effect);
        break;
    case SCH_OP_SERVICE_CHANGED:
        op->orders_due = true;
        break;
    case SCH_OP_NODE_WAITED:
        dp_waited_changed(op, effect);
        break;
    case SCH_OP_SEND_GRANT:
        send_grant(op, effect);
        break;
    case SCH_OP_SEND_ROOM:
        send_room(op, effect);
        break;
    case SCH_OP_SEND_ELSEWHERE:
        send_elsewhere(op, effect);
        break;
    case SCH_OP_SEND_STARTED:
        send_started(op, effect);
        break;
    case SCH_OP_SEND_OUTCOME:
        send_outcome(op, effect);
        break;
    case SCH_OP_SEND_RETURNED:
        send_returned(op, effect);
        break;
    case SCH_OP_SEND_INVENTORY:
        send_inventory(op, effect);
        break;
    case SCH_OP_SEND_INVENTORY_COMPLETE:
    case SCH_OP_SEND_INVENTORY_OWED:
        send_inventory_complete(op, effect->u.partition,
                                effect->type == SCH_OP_SEND_INVENTORY_OWED);
        break;
    case SCH_OP_SHAPES_CHANGED:
        dp_shards_tell(op, true);
        break;
    }
}

void dp_apply_effects(struct dp_operator *op)
{
    for (size_t i = 0; i < op->effects.count; i++)
        apply(op, &op->effects.items[i]);
    op->effects.count = 0;
}
