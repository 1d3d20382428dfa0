#include "dataplane/gate.h"

#include "dataplane/events.h"

bool dp_gate_is_ours(const struct dp_gate *gate)
{
    /* older compilers load from no const object */
    long long until_ns = atomic_load((atomic_llong *)(uintptr_t)&gate->ours_until_ns);
    return until_ns == 0 || sy_clock_system.monotonic_ns(NULL) < until_ns;
}

static void log_refused(const struct dp_gate *gate, const struct sy_call *call, const char *why)
{
    sy_log(gate->log, &dp_events, DP_EV_CALL_REFUSED, SY_STR("method", sy_call_method(call)),
           SY_STR("peer", sy_call_peer(call)), SY_STR("why", why));
}

static bool check(const struct dp_gate *gate, struct sy_call *call)
{
    if (sy_bearer_sent(&gate->bearer, call))
        return true;
    bool sent = sy_call_metadata(call, gate->bearer.metadata.key) != NULL;
    log_refused(gate, call, sent ? "wrong token" : "no token");
    sy_call_fail(call, SY_CODE_UNAUTHENTICATED,
                 "%s: only this cluster's agents may call this; agent_token_file names the token "
                 "that operator and agents share",
                 sent ? "wrong token" : "no token");
    return false;
}

bool dp_gate_admits(const struct dp_gate *gate, struct sy_call *call)
{
    return gate->bearer.metadata_count == 0 || check(gate, call);
}

bool dp_gate_admits_bearer(const struct dp_gate *gate, struct sy_call *call)
{
    if (gate->bearer.metadata_count > 0)
        return check(gate, call);
    log_refused(gate, call, "no token is configured");
    sy_call_fail(call, SY_CODE_FAILED_PRECONDITION,
                 "secrets are handed out only with a token: set agent_token_file in the "
                 "configuration of the operator and of its agents");
    return false;
}
