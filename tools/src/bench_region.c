/*
 * Planned moves of a partition between the shards of a region, one after the other, each under a
 * CreateRun every 2 ms for that partition, straight to its shard. Of each move: the longest time in
 * which no call was answered (the gap, which holds the pace of the calls, too), and the longest
 * call. No cluster is needed: what is created waits.
 */
#include "tools/src/bench.h"

#include "base/mem.h"
#include "tools/src/cl_progress.h"
#include "tools/src/cl_straight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACE_NS (2 * SY_NS_PER_MS)
#define AROUND_NS (200 * SY_NS_PER_MS) /* of load, before and after each move */

#define CALLS_MAX 32768 /* in flight: more than PACE_NS sends before the first run out of time */

struct create {
    struct load *load;
    int64_t sent_ns;
};

struct load {
    struct bench *bench;
    struct create *creates; /* CALLS_MAX, in turns */
    char prefix[16];
    uint64_t made, sent; /* names; calls */
    uint32_t partition, partitions;
    uint64_t in_flight;
    struct sy_timer pace;
    int64_t last_ns; /* the last answer */
    int64_t gap_ns;  /* of this move */
    struct cl_error error;
};

static void on_created(void *ctx, const struct cl_error *error, const void *response)
{
    struct create *create = ctx;
    struct load *load = create->load;
    int64_t now_ns = cl_monotonic_ns();
    (void)response;
    load->in_flight--;
    if (error->exit != CL_OK && load->error.exit == CL_OK)
        load->error = *error;
    if (load->last_ns != 0 && now_ns - load->last_ns > load->gap_ns)
        load->gap_ns = now_ns - load->last_ns;
    load->last_ns = now_ns;
    cl_hist_record(load->bench->done, now_ns - create->sent_ns);
}

static void send_one(void *arg)
{
    struct load *load = arg;
    struct bench *bench = load->bench;
    const struct cl_options *o = &bench->client->options;
    char name[CL_RUN_NAME_MAX];
    do
        snprintf(name, sizeof(name), "%s-%llu", load->prefix, (unsigned long long)load->made++);
    while (cl_partition_of(o->project, o->domain, name, load->partitions) != load->partition);
    struct cl_new_run run = {.task_spec = sy_buf_span(&bench->noop_spec)};
    struct cl_start_options options = {.request_id = name, .run = name};
    struct sy_buf request = {0};
    struct create *create = &load->creates[load->sent++ % CALLS_MAX];
    SY_ASSERT(load->in_flight < CALLS_MAX);
    *create = (struct create){load, cl_monotonic_ns()};
    cl_run_pack_create(bench->client, &run, name, &request);
    load->in_flight++;
    cl_start(bench->client, &cl_create_run, &request, &options, on_created, create);
    sy_timer_start_in(bench->client->loop, &load->pace, PACE_NS);
}

static bool is_idle(void *ctx)
{
    const struct load *load = ctx;
    return load->in_flight == 0;
}

/* ---- the region ---- */

struct region {
    struct sy_arena arena;
    const Switchyard__V1__GetRegionMapResponse *map; /* as of the beginning */
    const char **owners;                             /* of each partition, now; of the map */
};

static enum cl_exit read_region(struct bench *bench, struct region *region, struct cl_error *error)
{
    Switchyard__V1__GetRegionMapRequest request = SWITCHYARD__V1__GET_REGION_MAP_REQUEST__INIT;
    sy_arena_init(&region->arena, CL_ARENA_BYTES_MAX);
    region->map = cl_call(bench->client, &cl_get_region_map, &request.base, &region->arena, error);
    if (!region->map)
        return error->exit;
    if (region->map->n_shards < 2 || region->map->n_partitions == 0)
        return cl_fail(error, CL_REFUSED, "the region has %zu shards: nothing can move",
                       region->map->n_shards);
    region->owners = sy_calloc(region->map->n_partitions, sizeof(*region->owners));
    for (size_t i = 0; i < region->map->n_partitions; i++)
        region->owners[i] = region->map->partitions[i]->shard;
    return CL_OK;
}

/* The one after that which has it. */
static const char *next_shard(const struct region *region, uint32_t partition)
{
    const Switchyard__V1__GetRegionMapResponse *map = region->map;
    for (size_t i = 0; i < map->n_shards; i++) {
        if (strcmp(map->shards[i]->name, region->owners[partition]) == 0)
            return map->shards[(i + 1) % map->n_shards]->name;
    }
    return map->shards[0]->name;
}

static enum cl_exit move(struct bench *bench, struct region *region, uint32_t partition,
                         const char *shard, struct cl_error *error)
{
    Switchyard__V1__MovePartitionRequest request = SWITCHYARD__V1__MOVE_PARTITION_REQUEST__INIT;
    struct sy_arena arena;
    request.partition = partition;
    request.shard = cl_unconst(shard);
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    if (cl_call(bench->client, &cl_move_partition, &request.base, &arena, error))
        region->owners[partition] = shard;
    sy_arena_deinit(&arena);
    return error->exit;
}

static enum cl_exit move_under_load(struct load *load, struct region *region,
                                    struct cl_error *error)
{
    struct bench *bench = load->bench;
    load->last_ns = load->gap_ns = 0;
    send_one(load);
    cl_sleep(bench->client, AROUND_NS);
    move(bench, region, load->partition, next_shard(region, load->partition), error);
    cl_sleep(bench->client, AROUND_NS);
    sy_timer_stop(bench->client->loop, &load->pace);
    if (!cl_wait(bench->client, is_idle, load, 0))
        return cl_fail(error, CL_INTERRUPTED, "interrupted");
    cl_hist_record(bench->latency, load->gap_ns);
    bench->last_ns = cl_realtime_ns();
    if (error->exit == CL_OK && load->error.exit != CL_OK)
        *error = load->error;
    return error->exit;
}

enum cl_exit bench_run_region(struct bench *bench, struct cl_error *error)
{
    struct load load = {.bench = bench};
    struct region region = {.map = NULL};
    load.creates = sy_calloc(CALLS_MAX, sizeof(*load.creates));
    struct cl_progress progress;
    char random[7];
    cl_random_name(bench->client, random, sizeof(random) - 1);
    snprintf(load.prefix, sizeof(load.prefix), "move-%s", random);
    sy_timer_init(&load.pace, send_one, &load);
    cl_progress_init(&progress);
    read_region(bench, &region, error);
    bench->first_ns = cl_realtime_ns();
    bench_measure_begin(bench);
    for (int64_t i = 0; error->exit == CL_OK && i < bench->options.count; i++) {
        load.partitions = (uint32_t)region.map->n_partitions;
        load.partition = (uint32_t)(i % (int64_t)load.partitions);
        move_under_load(&load, &region, error);
        cl_progress_show(&progress, "moving", (uint64_t)i + 1, (uint64_t)bench->options.count, 0);
    }
    bench_measure_end(bench);
    cl_progress_clear(&progress);
    sy_timer_stop(bench->client->loop, &load.pace);
    cl_cancel_all(bench->client);
    free(load.creates);
    free(region.owners);
    sy_arena_deinit(&region.arena);
    return error->exit;
}
