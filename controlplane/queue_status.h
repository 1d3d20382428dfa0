/* How queues do now: asked of every partition, and added up. */
#pragma once

#include "controlplane/shard_impl.h"

/* As in struct sch_queue_view. */
struct cp_queue_numbers {
    uint64_t actions, out, cpu_milli, memory_bytes, gpus;
    double share;
};

/* Of these queues, in the order of cp_queue_key_compare(). `done` runs in the request's lane. */
struct cp_queue_query {
    const struct sch_queue_key *keys;
    size_t count;
    void (*done)(struct cp_request *req, void *ctx, const struct cp_queue_numbers *sums);
    void *ctx;
};

/* Copies *query. Fails the request when a partition does not serve. */
void cp_queue_ask(struct cp_request *req, const struct cp_queue_query *query);
