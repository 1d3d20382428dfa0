#include "dataplane/calls.h"

#include "base/mem.h"

#include <stdlib.h>

struct dp_call_id dp_call_id(const struct sch_attempt_key *key, uint64_t call)
{
    return (struct dp_call_id){.action = key->action,
                               .call = call,
                               .partition = key->partition,
                               .number = key->number,
                               .epoch = key->epoch};
}

int dp_calls_add(struct dp_calls *calls, const struct dp_call_id *id, uint32_t to, uint32_t slot,
                 struct dp_agent_calls *agent)
{
    if (dp_calls_find(calls, id))
        return DP_CALLS_E_KNOWN;
    if (agent->count >= DP_CALLS_MAX)
        return DP_CALLS_E_FULL;
    struct dp_call *call = sy_new(struct dp_call);
    call->id = *id;
    call->to = to;
    call->slot = slot;
    call->agent_next = agent->first;
    call->agent_at = &agent->first;
    if (call->agent_next)
        call->agent_next->agent_at = &call->agent_next;
    agent->first = call;
    agent->count++;
    HASH_ADD(hh, calls->table, id, sizeof(call->id), call);
    return 0;
}

struct dp_call *dp_calls_find(struct dp_calls *calls, const struct dp_call_id *id)
{
    struct dp_call *call;
    HASH_FIND(hh, calls->table, id, sizeof(*id), call);
    return call;
}

void dp_calls_remove(struct dp_calls *calls, struct dp_call *call, struct dp_agent_calls *agent)
{
    SY_ASSERT(agent->count > 0 && calls->table);
    *call->agent_at = call->agent_next;
    if (call->agent_next)
        call->agent_next->agent_at = call->agent_at;
    agent->count--;
    HASH_DEL(calls->table, call);
    free(call);
}

void dp_calls_remove_agent(struct dp_calls *calls, struct dp_agent_calls *agent)
{
    struct dp_call *next;
    for (struct dp_call *call = agent->first; call; call = next) {
        next = call->agent_next;
        dp_calls_remove(calls, call, agent);
    }
    SY_ASSERT(agent->count == 0);
}
