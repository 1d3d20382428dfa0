/*
 * Who may call what, and when. Calls that only agents make carry the token of the cluster
 * (`agent_token_file`). A refusal is logged; the token is in no log and no answer.
 *
 * What operators of a cluster share is changed by the active one alone: who writes something down
 * asks before, and again after it, whether this operator still is that. Only then has no other one
 * begun with what was there before. On any thread.
 */
#pragma once

#include "base/bearer.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdatomic.h>

struct dp_gate {
    struct sy_bearer bearer; /* owned */
    struct sy_log *log;
    atomic_llong ours_until_ns; /* of CLOCK_MONOTONIC; 0: for ever */
};

bool dp_gate_is_ours(const struct dp_gate *gate);

/* Who sends the token; anybody when none is configured. False: the call has failed. */
bool dp_gate_admits(const struct dp_gate *gate, struct sy_call *call);
/* The same, but nobody when none is configured. */
bool dp_gate_admits_bearer(const struct dp_gate *gate, struct sy_call *call);
