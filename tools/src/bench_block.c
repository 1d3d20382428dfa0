/* --queued, and the memory bench: children that are feasible and find no room. How: see bench.h. */
#include "tools/src/bench.h"

#include "tools/src/cl_enqueue.h"
#include "tools/src/cl_progress.h"
#include "tools/src/cl_spec.h"
#include "tools/src/cl_watch.h"

#include <stdio.h>
#include <string.h>

#define START_WAIT_NS (60 * SY_NS_PER_S)
/* Queued before the memory bench measures: what the first ones bring with them, such as a spec and
 * the first blocks of the maps, is no cost of each. */
#define MEMORY_FIRST 10000

/* ---- how large, and how many holders ---- */

static enum cl_exit size_up(struct bench *bench, uint64_t *ret_bytes, uint64_t *ret_holders,
                            struct cl_error *error)
{
    Switchyard__V1__ListNodesRequest request = SWITCHYARD__V1__LIST_NODES_REQUEST__INIT;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__ListNodesResponse *response = cl_call(bench->client, &cl_list_nodes,
                                                                &request.base, &arena, error);
    uint64_t largest = 0, holders = 0;
    for (size_t i = 0; response && i < response->n_nodes; i++) {
        const Switchyard__V1__Amounts *capacity = response->nodes[i]->capacity;
        if (capacity && capacity->memory_bytes > largest)
            largest = capacity->memory_bytes;
    }
    uint64_t bytes = largest / 2 + 1;
    for (size_t i = 0; response && i < response->n_nodes; i++) {
        const Switchyard__V1__Amounts *capacity = response->nodes[i]->capacity;
        holders += capacity && capacity->memory_bytes >= bytes;
    }
    sy_arena_deinit(&arena);
    if (error->exit == CL_OK && holders == 0)
        cl_fail(error, CL_REFUSED, "--queued: the region has no node");
    *ret_bytes = bytes;
    *ret_holders = holders;
    return error->exit;
}

static void pack(struct sy_buf *append, const char *memory, bool holder)
{
    static const char *const sleep_args[] = {"/bin/sleep", "infinity"};
    static const char *const true_args[] = {"/bin/true"};
    struct cl_spec spec = {.type = CL_SPEC_PROCESS,
                           .name = holder ? "holder" : "blocked",
                           .args = holder ? sleep_args : true_args,
                           .arg_count = holder ? 2 : 1,
                           .cpu = "10m",
                           .memory = memory};
    struct sy_error_text text;
    int r = cl_spec_pack(&spec, append, &text);
    SY_ASSERT(r == 0);
}

/* ---- the holders, up to the moment when all of them run ---- */

struct holders {
    uint64_t wanted, running;
    bool all;
};

static void on_holder(void *ctx, const Switchyard__V1__Event *event)
{
    struct holders *holders = ctx;
    if (event->action[0] == 'n' && event->phase == SWITCHYARD__V1__PHASE__PHASE_RUNNING)
        holders->running++;
    holders->all = holders->running >= holders->wanted;
}

static enum cl_exit enqueue(struct bench *bench, const char *run, struct sy_buf *spec,
                            const char *prefix, uint64_t count, bool seal, const char *label,
                            struct cl_error *error)
{
    struct cl_enqueue enqueue;
    struct cl_batcher batcher;
    struct cl_progress progress;
    cl_progress_init(&progress);
    cl_enqueue_init(&enqueue, bench->client, run, "a0", (unsigned)bench->options.window);
    cl_batcher_init(&batcher, &enqueue, spec, prefix, CL_ENQUEUE_BATCH_MAX);
    enum cl_exit exit_code = CL_OK;
    for (uint64_t i = 0; i < count && exit_code == CL_OK; i++) {
        exit_code = cl_batcher_add(&batcher, (struct sy_span){NULL, 0});
        if (i % CL_ENQUEUE_BATCH_MAX == 0)
            cl_progress_show(&progress, label, i, count, 0);
    }
    if (exit_code == CL_OK)
        exit_code = cl_batcher_finish(&batcher, seal);
    cl_progress_clear(&progress);
    if (exit_code != CL_OK)
        *error = enqueue.error;
    cl_batcher_deinit(&batcher);
    cl_enqueue_deinit(&enqueue);
    return exit_code;
}

static enum cl_exit start_holders(struct bench *bench, const char *run, const char *memory,
                                  uint64_t count, struct cl_error *error)
{
    struct sy_buf spec = {0};
    pack(&spec, memory, true);
    struct holders holders = {.wanted = count};
    struct cl_watch watch;
    cl_watch_start(&watch, bench->client, run, 0, false, on_holder, &holders);
    watch.stop_when = &holders.all;
    enqueue(bench, run, &spec, "n", count, true, "holders", error);
    int64_t deadline_ns = cl_monotonic_ns() + START_WAIT_NS;
    while (error->exit == CL_OK && !holders.all) {
        if (!cl_watch_turn(&watch, 100 * SY_NS_PER_MS))
            *error = watch.error;
        if (error->exit == CL_OK && watch.root_phase)
            cl_fail(error, CL_FAILED, "--queued: the processes that hold the room ended");
        else if (error->exit == CL_OK && cl_monotonic_ns() > deadline_ns)
            cl_fail(error, CL_TIMED_OUT,
                    "--queued: %llu of %llu processes that hold the room have not started",
                    (unsigned long long)(count - holders.running), (unsigned long long)count);
    }
    cl_watch_stop(&watch);
    sy_buf_deinit(&spec);
    return error->exit;
}

static enum cl_exit queue(struct bench *bench, struct bench_blocked *blocked, const char *prefix,
                          uint64_t count, struct cl_error *error)
{
    struct sy_buf spec = {0};
    pack(&spec, blocked->memory, false);
    enqueue(bench, blocked->waiting, &spec, prefix, count, false, "queueing", error);
    sy_buf_deinit(&spec);
    return error->exit;
}

enum cl_exit bench_block(struct bench *bench, struct bench_blocked *blocked, uint64_t count,
                         struct cl_error *error)
{
    uint64_t bytes = 0, holders = 0;
    *blocked = (struct bench_blocked){.holders = ""};
    if (count == 0)
        return CL_OK;
    if (size_up(bench, &bytes, &holders, error) != CL_OK)
        return error->exit;
    snprintf(blocked->memory, sizeof(blocked->memory), "%llu", (unsigned long long)bytes);
    if (bench_group_create(bench, blocked->holders, error) != CL_OK)
        return error->exit;
    if (start_holders(bench, blocked->holders, blocked->memory, holders, error) != CL_OK)
        return error->exit;
    if (bench_group_create(bench, blocked->waiting, error) != CL_OK)
        return error->exit;
    return queue(bench, blocked, "n", count, error);
}

enum cl_exit bench_block_more(struct bench *bench, struct bench_blocked *blocked, uint64_t count,
                              struct cl_error *error)
{
    return queue(bench, blocked, "m", count, error);
}

void bench_unblock(struct bench *bench, struct bench_blocked *blocked)
{
    struct cl_error ignored;
    if (*blocked->waiting)
        cl_run_abort(bench->client, blocked->waiting, "the benchmark is over", &ignored);
    if (*blocked->holders)
        cl_run_abort(bench->client, blocked->holders, "the benchmark is over", &ignored);
}

enum cl_exit bench_run_memory(struct bench *bench, struct cl_error *error)
{
    struct bench_blocked blocked;
    if (bench_usage_find(&bench->usage, "shard") == SIZE_MAX)
        return cl_fail(error, CL_USAGE, "memory: whose? Expected --pids with shard=PID");
    if (bench_block(bench, &blocked, MEMORY_FIRST, error) == CL_OK) {
        bench_settle(bench);
        bench_measure_begin(bench);
        bench->first_ns = cl_realtime_ns();
        bench_block_more(bench, &blocked, (uint64_t)bench->options.count, error);
        bench->last_ns = cl_realtime_ns();
        bench_settle(bench);
        bench_measure_end(bench);
    }
    bench_unblock(bench, &blocked);
    return error->exit;
}
