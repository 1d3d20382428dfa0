/*
 * Whether this process is the active operator of its cluster. It asks the shards, one after the
 * other where one does not answer (ClusterService.LeadCluster), and goes on asking: while it is the
 * active one to remain it, else to become it once the other's lease is over or given up.
 *
 * A lease runs from when the last question was sent that was granted, and a tenth of it is left for
 * clocks that do not run alike. One that stands by counts the other's whole lease from when it
 * first heard of the record as it is. All by the loop's monotonic clock. Where no shard answers,
 * nobody becomes anything: the active one lapses, and is it again with the first answer.
 */
#pragma once

#include "base/log.h"
#include "base/rng.h"
#include "base/rpc.h"

#define DP_STORE_ID_SIZE 17 /* with the NUL */

struct dp_lead;

struct dp_lead_options {
    struct sy_rpc *rpc;
    struct sy_loop *loop;
    struct sy_log *log;
    uint64_t seed;
    /* Targets; NULL-terminated, at least one. Answers tell of others, which are asked, too. */
    const char *const *shards;
    const char *cluster, *authorization;
    const char *endpoint; /* where this one is reached */
    const char *store;    /* identity of what operators share, "": none */
    int64_t lease_ns;
    uint64_t term_min; /* its term will be greater */
};

struct dp_lead_sink {
    /* It is the active one, under this term, until then; SY_TIME_NEVER: nobody stands by. With each
     * answer. Term 0: the shards know of no terms, or its cluster was deleted; nothing more is
     * asked. */
    void (*active)(void *ctx, uint64_t term, int64_t until_ns);
    /* Another one is, and can be reached there, as far as is known. With each answer. */
    void (*standby)(void *ctx, const char *endpoint);
    void *ctx;
};

/* Options are copied. */
void dp_lead_new(struct dp_lead **ret, const struct dp_lead_options *options,
                 const struct dp_lead_sink *sink);
/* Where this one is reached from now on: shards hear of it at once. */
void dp_lead_set_endpoint(struct dp_lead *lead, const char *endpoint);
/* Tells a shard that this process stops, so that another need not wait, then calls `done` in a
 * later turn; also when it cannot be told. The sink is not called any more. Once. */
void dp_lead_leave(struct dp_lead *lead, sy_fn done, void *ctx);
void dp_lead_free(struct dp_lead *lead); /* NULL is nothing */
