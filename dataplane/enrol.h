/*
 * Who this operator is, before it is there: the identity in its data directory, and a cluster that
 * it joins by a token, when it is given one that it has not joined by yet.
 *
 * Blocking: it runs the loop until a shard has answered, or the loop is stopped.
 */
#pragma once

#include "dataplane/config.h"
#include "dataplane/join.h"

struct dp_enrolment {
    struct dp_identity identity;
    struct sy_loop *loop;
    int joined; /* of the join that runs */
    struct sy_error_text why;
};

/* `join`: a token, or @FILE with one; NULL: none. -EACCES with a shard's sentence when it is not
 * let in, -EINTR when the loop was stopped, and errors of files, with a sentence. */
int dp_enrol(struct dp_enrolment *ret, struct sy_rpc *rpc, struct sy_loop *loop, struct sy_log *log,
             const struct dp_config *config, const char *join,
             struct sy_error_text *error) SY_MUST_USE;
/* NULL: it has joined no cluster. */
const struct dp_identity *dp_enrolment_identity(const struct dp_enrolment *enrolment);
void dp_enrolment_wipe(struct dp_enrolment *enrolment);
