/*
 * Calls of running tasks: an agent's goes to the shard that owns the task's run, the reply comes
 * back to that agent. Bodies are not looked at. A call that cannot go is answered here, at once.
 */
#include "dataplane/operator_impl.h"

#include <string.h>

#define CALL_BYTES_MAX ((size_t)4 << 20)          /* one call */
#define CALLS_QUEUED_BYTES_MAX ((size_t)32 << 20) /* waiting for one shard */

static void answer(struct dp_agent *agent, const struct dp_call_id *id, enum sy_code code,
                   const char *message)
{
    struct sch_attempt_key key = {id->action, id->partition, id->number, id->epoch};
    struct sy_buf *record = dp_scratch_key(agent->op, &key);
    dp_wire_put_u64(record, 5, id->call);
    dp_wire_put_u64(record, 6, code);
    dp_wire_put_text(record, 7, message);
    dp_link_put(&agent->link, DP_TO_NODE_REPLIES, sy_buf_span(record));
}

/* The run and parent are taken from the attempt, so it must be the agent's own. */
static bool holds(struct dp_agent *agent, const struct sch_attempt_key *key)
{
    const char *node = sch_operator_node_of(agent->op->core, key);
    return node && strcmp(node, agent->node) == 0;
}

static void relay(struct dp_agent *agent, const struct dp_call_id *id,
                  const struct sch_attempt_key *key, struct sy_span span)
{
    struct dp_operator *op = agent->op;
    if (sch_operator_service_of(op->core, agent->node) == SCH_SERVICE_FENCED) {
        answer(agent, id, SY_CODE_FAILED_PRECONDITION, "this node is fenced");
        return;
    }
    if (!holds(agent, key)) {
        answer(agent, id, SY_CODE_FAILED_PRECONDITION, "this node does not hold the attempt");
        return;
    }
    uint32_t to;
    bool heard = sch_operator_partition_of(op->core, key, &to);
    struct dp_stream *stream = heard ? dp_stream_find(op, to) : NULL;
    if (!stream || !dp_link_usable(&stream->link)) {
        answer(agent, id, SY_CODE_UNAVAILABLE, "the partition cannot be reached at the moment");
        return;
    }
    if (span.len > CALL_BYTES_MAX) {
        answer(agent, id, SY_CODE_RESOURCE_EXHAUSTED, "the request is larger than 4 MiB");
        return;
    }
    if (dp_link_waiting(&stream->link, DP_TO_SHARD_CALLS) > CALLS_QUEUED_BYTES_MAX) {
        answer(agent, id, SY_CODE_RESOURCE_EXHAUSTED,
               "too many calls wait for the shard; try again later");
        return;
    }
    int r = dp_calls_add(&op->calls, id, to, agent->slot, &agent->calls);
    if (r == DP_CALLS_E_FULL)
        answer(agent, id, SY_CODE_RESOURCE_EXHAUSTED, "too many calls of this node are under way");
    if (r == 0)
        dp_link_put(&stream->link, DP_TO_SHARD_CALLS, span);
}

bool dp_relay_call(struct dp_agent *agent, struct sy_span span)
{
    struct dp_record record;
    if (dp_wire_record(span, &record) < 0)
        return false;
    struct dp_call_id id = dp_call_id(&record.key, record.value5);
    relay(agent, &id, &record.key, span);
    return true;
}

static struct dp_agent *agent_of(struct dp_operator *op, const struct dp_call *call)
{
    SY_ASSERT(call->slot < op->slot_count && op->slots[call->slot]);
    return op->slots[call->slot];
}

bool dp_relay_reply(struct dp_stream *stream, struct sy_span span)
{
    struct dp_operator *op = stream->op;
    struct dp_record record;
    if (dp_wire_record(span, &record) < 0 ||
        !sch_operator_speaks_for(op->core, stream->partition->id, &record.key))
        return false;
    struct dp_call_id id = dp_call_id(&record.key, record.value5);
    struct dp_call *call = dp_calls_find(&op->calls, &id);
    if (!call)
        return true; /* its agent has gone, or it was answered */
    if (call->to != stream->partition->id)
        return false;
    struct dp_agent *agent = agent_of(op, call);
    dp_calls_remove(&op->calls, call, &agent->calls);
    dp_link_put(&agent->link, DP_TO_NODE_REPLIES, span);
    return true;
}

void dp_relay_fail_partition(struct dp_operator *op, uint32_t partition)
{
    struct dp_call *call, *next;
    for (call = op->calls.table; call; call = next) {
        next = call->hh.next;
        if (call->to != partition)
            continue;
        struct dp_agent *agent = agent_of(op, call);
        answer(agent, &call->id, SY_CODE_UNAVAILABLE, "the connection to the shard was lost");
        dp_calls_remove(&op->calls, call, &agent->calls);
    }
}
