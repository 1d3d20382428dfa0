/*
 * Calls that only agents make carry the token of the cluster (`agent_token_file`). A refusal is
 * logged; the token is in no log and no answer.
 */
#pragma once

#include "base/bearer.h"
#include "base/log.h"

struct dp_gate {
    struct sy_bearer bearer; /* owned */
    struct sy_log *log;
};

/* Who sends the token; anybody when none is configured. False: the call has failed. */
bool dp_gate_admits(const struct dp_gate *gate, struct sy_call *call);
/* The same, but nobody when none is configured. */
bool dp_gate_admits_bearer(const struct dp_gate *gate, struct sy_call *call);
