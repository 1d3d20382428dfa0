/*
 * Joining a cluster by a token, before the operator is there: shards are asked in turn until one
 * has an answer that will not change. The identity's secret goes along, and the answer fills in the
 * rest of it. On one loop.
 */
#pragma once

#include "base/log.h"
#include "base/rng.h"
#include "base/rpc.h"
#include "dataplane/identity.h"

struct dp_join;

struct dp_join_options {
    struct sy_rpc *rpc;
    struct sy_loop *loop;
    struct sy_log *log;
    uint64_t seed;
    const char *const *shards; /* targets; NULL-terminated, at least one */
    const char *token;
};

/* `done` runs once, in a later turn: 0, and `identity` is that of the cluster; or -EACCES with the
 * shard's sentence. `identity` is borrowed until then, the rest is copied. */
typedef void (*dp_join_done_fn)(void *ctx, int r, const struct sy_error_text *error);
void dp_join_new(struct dp_join **ret, const struct dp_join_options *options,
                 struct dp_identity *identity, dp_join_done_fn done, void *ctx);
/* Also before it is done. NULL is nothing. */
void dp_join_free(struct dp_join *join);
