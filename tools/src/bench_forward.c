/*
 * What it costs to carry a call to another shard: the same call, GetRunDetails, through one shard,
 * about a run that is its own and about one that another shard has, in blocks by turns. The figure
 * is the difference of the shards' CPU time, for each call. No cluster is needed: the runs wait.
 */
#include "tools/src/bench.h"

#include "base/mem.h"
#include "proto/pb.h"
#include "tools/src/cl_progress.h"
#include "tools/src/cl_straight.h"

#include <stdio.h>
#include <string.h>

#define BLOCKS 20 /* of each kind; near, far, far, near */

struct side {
    char run[CL_RUN_NAME_MAX]; /* "": not chosen yet */
    struct cl_hist *hist;
    uint64_t calls, cpu_us;
};

struct block {
    struct bench *bench;
    struct side *side;
    uint64_t to_send, in_flight;
    struct cl_error error;
};

struct slot {
    struct block *block;
    int64_t sent_ns;
};

/* ---- one block ---- */

static void send_one(struct slot *slot);

static void on_details(void *ctx, const struct cl_error *error, const void *response)
{
    struct slot *slot = ctx;
    struct block *block = slot->block;
    (void)response;
    block->in_flight--;
    if (error->exit != CL_OK && block->error.exit == CL_OK)
        block->error = *error;
    cl_hist_record(block->side->hist, cl_monotonic_ns() - slot->sent_ns);
    if (block->to_send > 0 && block->error.exit == CL_OK)
        send_one(slot);
}

/* Through the endpoint: a call that names its run to the client goes straight. */
static void send_one(struct slot *slot)
{
    struct block *block = slot->block;
    struct cl_client *client = block->bench->client;
    Flyteidl2__Workflow__GetRunDetailsRequest request =
        FLYTEIDL2__WORKFLOW__GET_RUN_DETAILS_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier id;
    struct sy_buf packed = {0};
    cl_run_identifier(client, block->side->run, &id);
    request.run_id = &id;
    pb_pack(&request.base, &packed);
    block->to_send--;
    block->in_flight++;
    slot->sent_ns = cl_monotonic_ns();
    cl_start(client, &cl_get_run_details, &packed, NULL, on_details, slot);
}

static bool is_idle(void *ctx)
{
    const struct block *block = ctx;
    return block->in_flight == 0;
}

static uint64_t shards_cpu_us(const struct bench_usage *usage)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < usage->count; i++) {
        if (strncmp(usage->processes[i].name, "shard", 5) == 0)
            sum += bench_usage_cpu_us(usage, i);
    }
    return sum;
}

static enum cl_exit run_block(struct bench *bench, struct side *side, uint64_t calls,
                              struct slot *slots, struct cl_error *error)
{
    struct block block = {.bench = bench, .side = side, .to_send = calls};
    struct bench_usage usage = bench->usage;
    bench_usage_begin(&usage);
    for (int64_t i = 0; i < bench->options.concurrency && block.to_send > 0; i++) {
        slots[i].block = &block;
        send_one(&slots[i]);
    }
    if (!cl_wait(bench->client, is_idle, &block, 0)) {
        cl_cancel_all(bench->client);
        return cl_fail(error, CL_INTERRUPTED, "interrupted");
    }
    bench_usage_end(&usage);
    side->calls += calls;
    side->cpu_us += shards_cpu_us(&usage);
    bench->last_ns = cl_realtime_ns();
    if (block.error.exit != CL_OK)
        *error = block.error;
    return error->exit;
}

/* ---- the runs ---- */

static enum cl_exit create(struct bench *bench, const char *name, struct cl_error *error)
{
    struct cl_new_run run = {.task_spec = sy_buf_span(&bench->noop_spec)};
    char made[CL_RUN_NAME_MAX];
    snprintf(made, sizeof(made), "%s", name);
    return cl_run_create(bench->client, &run, made, error);
}

/* One of the shard that answers, one of another's. */
static enum cl_exit choose(struct bench *bench, struct side *near, struct side *far,
                           struct cl_error *error)
{
    const struct cl_options *o = &bench->client->options;
    Switchyard__V1__GetRegionMapRequest request = SWITCHYARD__V1__GET_REGION_MAP_REQUEST__INIT;
    struct sy_arena arena SY_CLEANUP(sy_arena_deinit);
    char random[7];
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    cl_random_name(bench->client, random, sizeof(random) - 1);
    const Switchyard__V1__GetRegionMapResponse *map = cl_call(bench->client, &cl_get_region_map,
                                                              &request.base, &arena, error);
    for (int i = 0; map != NULL && i < 10000 && (!near->run[0] || !far->run[0]); i++) {
        char name[CL_RUN_NAME_MAX];
        snprintf(name, sizeof(name), "forward-%s-%d", random, i);
        uint32_t at = cl_partition_of(o->project, o->domain, name, (uint32_t)map->n_partitions);
        bool is_near = strcmp(map->partitions[at]->shard, map->shard) == 0;
        struct side *side = is_near ? near : far;
        if (side->run[0] == '\0')
            snprintf(side->run, sizeof(side->run), "%s", name);
    }
    if (map != NULL && (!near->run[0] || !far->run[0]))
        return cl_fail(error, CL_REFUSED,
                       "shard %s has all partitions of the region, or none: nothing to compare",
                       map->shard);
    if (error->exit == CL_OK && create(bench, near->run, error) == CL_OK)
        create(bench, far->run, error);
    return error->exit;
}

/* ---- all ---- */

enum cl_exit bench_run_forward(struct bench *bench, struct cl_error *error)
{
    struct side near = {.hist = bench->done}, far = {.hist = bench->latency};
    uint64_t each = ((uint64_t)bench->options.count + 2 * BLOCKS - 1) / (2 * BLOCKS);
    struct slot *slots SY_AUTOFREE = sy_calloc((size_t)bench->options.concurrency, sizeof(*slots));
    struct cl_progress progress;
    if (choose(bench, &near, &far, error) != CL_OK)
        return error->exit;
    cl_progress_init(&progress);
    bench->first_ns = cl_realtime_ns();
    bench_measure_begin(bench);
    for (int i = 0; i < 2 * BLOCKS && error->exit == CL_OK; i++) {
        run_block(bench, i % 4 == 0 || i % 4 == 3 ? &near : &far, each, slots, error);
        cl_progress_show(&progress, "asking", (uint64_t)(i + 1) * each, 2 * BLOCKS * each, 0);
    }
    bench_measure_end(bench);
    cl_progress_clear(&progress);
    bench->forward.own_us = near.calls > 0 ? (double)near.cpu_us / (double)near.calls : 0;
    bench->forward.carried_us = far.calls > 0 ? (double)far.cpu_us / (double)far.calls : 0;
    return error->exit;
}
