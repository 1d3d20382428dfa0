/* One task at a time on a warm worker: sent -> started -> end seen. */
#include "tools/src/bench.h"

#include "tools/src/cl_enqueue.h"
#include "tools/src/cl_text.h"
#include "tools/src/cl_watch.h"

#include <stdio.h>
#include <string.h>

struct one {
    struct bench *bench;
    int64_t sent_ns; /* realtime */
    bool ended, failed;
};

static void on_event(void *ctx, const Switchyard__V1__Event *event)
{
    struct one *one = ctx;
    if (event->action[0] != 'n' || !cl_phase_final((int)event->phase))
        return;
    struct bench *bench = one->bench;
    int64_t now_ns = cl_realtime_ns();
    one->ended = true;
    one->failed = event->phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED;
    bench->last_ns = now_ns;
    cl_hist_record(bench->latency, event->started_ns - one->sent_ns);
    cl_hist_record(bench->done, now_ns - one->sent_ns);
}

static enum cl_exit send_one(struct cl_enqueue *enqueue, struct bench *bench, int64_t i,
                             struct one *one)
{
    char name[32];
    snprintf(name, sizeof(name), "n%07lld", (long long)i);
    Switchyard__V1__NewAction action = SWITCHYARD__V1__NEW_ACTION__INIT;
    action.name = name;
    Switchyard__V1__NewAction *actions[] = {&action};
    one->ended = false;
    bool last = i + 1 == bench->options.count;
    enum cl_exit exit_code = cl_enqueue_send(enqueue, sy_buf_span(&bench->noop_spec), actions, 1,
                                             last);
    one->sent_ns = enqueue->sent_ns;
    return exit_code;
}

static enum cl_exit drive(struct bench *bench, const char *run, struct cl_error *error)
{
    struct one one = {.bench = bench};
    struct cl_watch watch;
    struct cl_enqueue enqueue;
    cl_watch_start(&watch, bench->client, run, 0, true, on_event, &one);
    watch.stop_when = &one.ended;
    cl_enqueue_init(&enqueue, bench->client, run, "a0", 1);
    for (int64_t i = 0; i < bench->options.count && error->exit == CL_OK; i++) {
        if (send_one(&enqueue, bench, i, &one) != CL_OK)
            *error = enqueue.error;
        if (bench->first_ns == 0)
            bench->first_ns = one.sent_ns;
        while (error->exit == CL_OK && !one.ended) {
            if (!cl_watch_turn(&watch, 0) && !one.ended)
                *error = watch.error;
        }
        if (error->exit == CL_OK && one.failed)
            cl_fail(error, CL_FAILED, "run '%s': task %lld failed", run, (long long)i);
    }
    cl_enqueue_deinit(&enqueue);
    cl_watch_stop(&watch);
    return error->exit;
}

enum cl_exit bench_run_latency(struct bench *bench, struct cl_error *error)
{
    char run[CL_RUN_NAME_MAX];
    if (bench_group_create(bench, run, error) != CL_OK)
        return error->exit;
    bench_measure_begin(bench);
    enum cl_exit exit_code = drive(bench, run, error);
    bench_measure_end(bench);
    return exit_code;
}
