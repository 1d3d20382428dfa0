/* The fan-out, which is also how other benches warm up and fill the store; and cold processes. */
#include "tools/src/bench.h"

#include "base/mem.h"
#include "tools/src/cl_enqueue.h"
#include "tools/src/cl_progress.h"
#include "tools/src/cl_spec.h"
#include "tools/src/cl_text.h"
#include "tools/src/cl_watch.h"

#include <stdlib.h>
#include <string.h>

#define PROCESS_BATCH_MAX 1000

struct fan_out {
    struct bench *bench;
    struct cl_progress progress;
    uint64_t count, finished, failed;
    size_t batch_max;
    int64_t *sent_ns; /* of each batch, realtime */
    size_t batches;
    struct cl_hist *latency; /* NULL: not measured */
    int64_t first_ns, last_ns;
};

static void on_sent(void *ctx, uint64_t first, size_t count, int64_t sent_ns)
{
    struct fan_out *fan = ctx;
    (void)count;
    size_t batch = (size_t)(first / fan->batch_max);
    SY_ASSERT(batch < fan->batches);
    fan->sent_ns[batch] = sent_ns;
    if (fan->first_ns == 0)
        fan->first_ns = sent_ns;
}

static void on_event(void *ctx, const Switchyard__V1__Event *event)
{
    struct fan_out *fan = ctx;
    if (event->action[0] != 'n' || !cl_phase_final((int)event->phase))
        return;
    fan->last_ns = cl_realtime_ns();
    fan->finished++;
    fan->failed += event->phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED;
    if (!fan->latency)
        return;
    uint64_t number = strtoull(event->action + 1, NULL, 10);
    size_t batch = (size_t)(number / fan->batch_max);
    if (batch < fan->batches)
        cl_hist_record(fan->latency, fan->last_ns - fan->sent_ns[batch]);
}

static enum cl_exit enqueue_all(struct fan_out *fan, struct cl_enqueue *enqueue,
                                const struct sy_buf *spec)
{
    struct sy_buf copy = sy_buf_copy(spec->data, spec->len);
    struct cl_batcher batcher;
    cl_batcher_init(&batcher, enqueue, &copy, "n", fan->batch_max);
    batcher.on_sent = on_sent;
    batcher.ctx = fan;
    enum cl_exit exit_code = CL_OK;
    for (uint64_t i = 0; i < fan->count && exit_code == CL_OK; i++) {
        exit_code = cl_batcher_add(&batcher, (struct sy_span){NULL, 0});
        if (i % fan->batch_max == 0)
            cl_progress_show(&fan->progress, fan->latency ? "measuring" : "preparing",
                             fan->finished, fan->count, fan->failed);
    }
    if (exit_code == CL_OK)
        exit_code = cl_batcher_finish(&batcher, true);
    cl_batcher_deinit(&batcher);
    return exit_code;
}

static enum cl_exit drive(struct fan_out *fan, const char *run, const struct sy_buf *spec,
                          struct cl_error *error)
{
    struct cl_client *client = fan->bench->client;
    struct cl_watch watch;
    struct cl_enqueue enqueue;
    cl_progress_init(&fan->progress);
    cl_watch_start(&watch, client, run, 0, true, on_event, fan);
    cl_enqueue_init(&enqueue, client, run, "a0", (unsigned)fan->bench->options.window);
    if (enqueue_all(fan, &enqueue, spec) != CL_OK) {
        *error = enqueue.error;
    } else {
        while (cl_watch_turn(&watch, 200 * SY_NS_PER_MS))
            cl_progress_show(&fan->progress, fan->latency ? "measuring" : "preparing",
                             fan->finished, fan->count, fan->failed);
        if (watch.root_phase == 0)
            *error = watch.error;
        else if (fan->finished != fan->count || fan->failed > 0)
            cl_fail(error, CL_FAILED, "run '%s': %llu of %llu tasks ended, %llu failed%s%s", run,
                    (unsigned long long)fan->finished, (unsigned long long)fan->count,
                    (unsigned long long)fan->failed, watch.root_error ? ": " : "",
                    watch.root_error ? watch.root_error->message : "");
    }
    cl_progress_clear(&fan->progress);
    cl_enqueue_deinit(&enqueue);
    cl_watch_stop(&watch);
    return error->exit;
}

enum cl_exit bench_group_create(struct bench *bench, char run[CL_RUN_NAME_MAX],
                                struct cl_error *error)
{
    struct sy_buf group SY_CLEANUP(sy_buf_deinit) = {0};
    struct sy_error_text text;
    int r = cl_spec_pack(&(struct cl_spec){.type = CL_SPEC_GROUP}, &group, &text);
    SY_ASSERT(r == 0);
    run[0] = '\0';
    struct cl_new_run new_run = {.task_spec = sy_buf_span(&group)};
    return cl_run_create(bench->client, &new_run, run, error);
}

enum cl_exit bench_fan_out(struct bench *bench, const struct sy_buf *spec, uint64_t count,
                           bool measured, struct cl_error *error)
{
    char run[CL_RUN_NAME_MAX];
    struct fan_out fan = {.bench = bench,
                          .count = count,
                          .batch_max = (size_t)bench->options.batch,
                          .latency = measured ? bench->latency : NULL};
    if (count == 0)
        return CL_OK;
    if (bench_group_create(bench, run, error) != CL_OK)
        return error->exit;
    fan.batches = (size_t)(count / fan.batch_max) + 1;
    fan.sent_ns = sy_calloc(fan.batches, sizeof(*fan.sent_ns));
    if (measured)
        bench_measure_begin(bench);
    enum cl_exit exit_code = drive(&fan, run, spec, error);
    if (measured) {
        bench_measure_end(bench);
        bench->first_ns = fan.first_ns;
        bench->last_ns = fan.last_ns;
    }
    free(fan.sent_ns);
    return exit_code;
}

enum cl_exit bench_run_fanout(struct bench *bench, struct cl_error *error)
{
    return bench_fan_out(bench, &bench->noop_spec, (uint64_t)bench->options.count, true, error);
}

enum cl_exit bench_run_process(struct bench *bench, struct cl_error *error)
{
    static const char *const args[] = {"/bin/true"};
    struct cl_spec spec = {.type = CL_SPEC_PROCESS, .args = args, .arg_count = 1, .memory = "0"};
    struct sy_buf packed SY_CLEANUP(sy_buf_deinit) = {0};
    struct sy_error_text text;
    int r = cl_spec_pack(&spec, &packed, &text);
    SY_ASSERT(r == 0);
    if (bench->options.batch > PROCESS_BATCH_MAX)
        bench->options.batch = PROCESS_BATCH_MAX;
    return bench_fan_out(bench, &packed, (uint64_t)bench->options.count, true, error);
}
