/*
 * Calls of running tasks that are on their way to a shard: whom the reply goes to. Relayed unread;
 * when the shard's stream breaks, each is answered UNAVAILABLE, so that no task waits for a reply
 * that cannot come. When the agent goes, its calls are forgotten: it makes them anew.
 */
#pragma once

#include "base/error.h"
#include "base/hash.h"
#include "scheduler/operator.h"

#define DP_CALLS_MAX 65536 /* for each agent */

struct dp_call_id {
    uint64_t action, call;
    uint32_t partition, number, epoch, zero; /* zero: no padding in what is hashed */
};

struct dp_call {
    struct dp_call_id id;
    uint32_t to;                /* the partition that was asked */
    uint32_t slot;              /* of the agent */
    struct dp_call *agent_next; /* that agent's calls */
    struct dp_call **agent_at;
    UT_hash_handle hh;
};

struct dp_calls {
    struct dp_call *table; /* in order of arrival */
};
/* Also for taking a whole agent's calls out. */
struct dp_agent_calls {
    struct dp_call *first;
    size_t count;
};

struct dp_call_id dp_call_id(const struct sch_attempt_key *key, uint64_t call);
/* DP_CALLS_E_FULL; a repeat of a call that is under way is DP_CALLS_E_KNOWN. */
#define DP_CALLS_E_FULL 1
#define DP_CALLS_E_KNOWN 2
int dp_calls_add(struct dp_calls *calls, const struct dp_call_id *id, uint32_t to, uint32_t slot,
                 struct dp_agent_calls *agent) SY_MUST_USE;
struct dp_call *dp_calls_find(struct dp_calls *calls, const struct dp_call_id *id);
void dp_calls_remove(struct dp_calls *calls, struct dp_call *call, struct dp_agent_calls *agent);
void dp_calls_remove_agent(struct dp_calls *calls, struct dp_agent_calls *agent);
