/*
 * Separate runs of one task each by unary CreateRun, several calls in flight. WatchRuns tells which
 * have ended; should it stay silent, the missing ones are asked for one by one.
 */
#include "tools/src/bench.h"

#include "base/mem.h"
#include "tools/src/cl_progress.h"
#include "tools/src/cl_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SILENCE_NS (3 * SY_NS_PER_S)
#define RETRY_MAX_NS SY_NS_PER_S
#define PATIENCE_NS (60 * SY_NS_PER_S) /* without any news, while the queue is full */

struct slot {
    struct runs *runs;
    int64_t number;
    int64_t delay_ns;
    struct sy_timer timer;
};

struct runs {
    struct bench *bench;
    struct cl_stream *stream;
    char prefix[16];
    int64_t count, next, acknowledged, ended;
    int64_t *sent_ns; /* realtime; negative: has ended */
    int64_t last_news_ns;
    struct slot *slots;
    struct cl_error error;
    struct cl_progress progress;
};

static void run_name(const struct runs *runs, int64_t number, char ret[CL_RUN_NAME_MAX])
{
    snprintf(ret, CL_RUN_NAME_MAX, "%s-%07lld", runs->prefix, (long long)number);
}

/* ---- ends ---- */

static void note_end(struct runs *runs, const char *name, int phase)
{
    size_t len = strlen(runs->prefix);
    if (strncmp(name, runs->prefix, len) != 0 || name[len] != '-' || !cl_phase_final(phase))
        return;
    int64_t number = strtoll(name + len + 1, NULL, 10);
    if (number < 0 || number >= runs->next || runs->sent_ns[number] < 0)
        return;
    struct bench *bench = runs->bench;
    bench->last_ns = cl_realtime_ns();
    cl_hist_record(bench->latency, bench->last_ns - runs->sent_ns[number]);
    runs->sent_ns[number] = -1;
    runs->ended++;
    runs->last_news_ns = cl_monotonic_ns();
    if (phase != FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_SUCCEEDED &&
        runs->error.exit == CL_OK)
        cl_fail(&runs->error, CL_FAILED, "run '%s' ended %s", name, cl_phase_name(phase));
}

static void on_runs(void *ctx, const void *message)
{
    struct runs *runs = ctx;
    const Flyteidl2__Workflow__WatchRunsResponse *response = message;
    for (size_t i = 0; i < response->n_runs; i++) {
        const Flyteidl2__Workflow__Action *action = response->runs[i]->action;
        if (action && action->id && action->id->run && action->status)
            note_end(runs, action->id->run->name, (int)action->status->phase);
    }
}

static void open_watch(struct runs *runs)
{
    struct cl_client *client = runs->bench->client;
    Flyteidl2__Workflow__WatchRunsRequest request = FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    project.name = cl_unconst(client->options.project);
    project.domain = cl_unconst(client->options.domain);
    request.target_case = FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__TARGET_PROJECT_ID;
    request.project_id = &project;
    runs->stream = cl_stream_open(client, NULL, &cl_watch_runs, &request.base, on_runs, runs);
}

/* Asks for each run that was created and of which no end was heard. */
static void ask_for_missing(struct runs *runs)
{
    struct cl_client *client = runs->bench->client;
    for (int64_t i = 0; i < runs->next && runs->error.exit == CL_OK; i++) {
        char name[CL_RUN_NAME_MAX];
        if (runs->sent_ns[i] < 0)
            continue;
        run_name(runs, i, name);
        Flyteidl2__Workflow__GetRunDetailsRequest request =
            FLYTEIDL2__WORKFLOW__GET_RUN_DETAILS_REQUEST__INIT;
        Flyteidl2__Common__RunIdentifier id;
        struct cl_error error;
        struct sy_arena arena;
        cl_run_identifier(client, name, &id);
        request.run_id = &id;
        sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
        const Flyteidl2__Workflow__GetRunDetailsResponse *response = cl_call(
            client, &cl_get_run_details, &request.base, &arena, &error);
        if (response && response->details && response->details->action &&
            response->details->action->status)
            note_end(runs, name, (int)response->details->action->status->phase);
        else if (error.exit != CL_OK)
            runs->error = error;
        sy_arena_deinit(&arena);
    }
}

/* ---- creations: each slot sends the next one when its answer is there ---- */

static void on_created(void *ctx, const struct cl_error *error, const void *response);

static void send_create(void *arg)
{
    struct slot *slot = arg;
    struct runs *runs = slot->runs;
    struct bench *bench = runs->bench;
    char name[CL_RUN_NAME_MAX];
    struct sy_buf request = {0};
    run_name(runs, slot->number, name);
    struct cl_new_run run = {.task_spec = sy_buf_span(&bench->noop_spec)};
    cl_run_pack_create(bench->client, &run, name, &request);
    struct cl_start_options options = {.request_id = name, .run = name};
    cl_start(bench->client, &cl_create_run, &request, &options, on_created, slot);
}

static void take_next(struct slot *slot)
{
    struct runs *runs = slot->runs;
    if (runs->next == runs->count || runs->error.exit != CL_OK)
        return;
    slot->number = runs->next++;
    slot->delay_ns = 0;
    runs->sent_ns[slot->number] = cl_realtime_ns();
    if (runs->bench->first_ns == 0)
        runs->bench->first_ns = runs->sent_ns[slot->number];
    send_create(slot);
}

static void on_created(void *ctx, const struct cl_error *error, const void *response)
{
    struct slot *slot = ctx;
    struct runs *runs = slot->runs;
    (void)response;
    bool patient = cl_monotonic_ns() - runs->last_news_ns < PATIENCE_NS;
    if (error->code == SY_CODE_RESOURCE_EXHAUSTED && patient) {
        slot->delay_ns = slot->delay_ns ? slot->delay_ns * 2 : 10 * SY_NS_PER_MS;
        if (slot->delay_ns > RETRY_MAX_NS)
            slot->delay_ns = RETRY_MAX_NS;
        sy_timer_start_in(runs->bench->client->loop, &slot->timer, slot->delay_ns);
        return;
    }
    if (error->exit != CL_OK) {
        if (runs->error.exit == CL_OK)
            runs->error = *error;
        return;
    }
    runs->acknowledged++;
    runs->last_news_ns = cl_monotonic_ns();
    take_next(slot);
}

/* ---- the bench ---- */

static bool over(void *ctx)
{
    const struct runs *runs = ctx;
    return runs->ended == runs->count || runs->error.exit != CL_OK || cl_stream_ended(runs->stream);
}

static void drive(struct runs *runs)
{
    struct bench *bench = runs->bench;
    open_watch(runs);
    runs->last_news_ns = cl_monotonic_ns();
    int64_t asked_ns = 0;
    for (int64_t i = 0; i < bench->options.concurrency; i++) {
        runs->slots[i].runs = runs;
        sy_timer_init(&runs->slots[i].timer, send_create, &runs->slots[i]);
        take_next(&runs->slots[i]);
    }
    while (!over(runs)) {
        cl_wait(bench->client, over, runs, 200 * SY_NS_PER_MS);
        if (bench->client->interrupted)
            cl_fail(&runs->error, CL_INTERRUPTED, "interrupted");
        else if (cl_monotonic_ns() - asked_ns > SILENCE_NS &&
                 cl_monotonic_ns() - runs->last_news_ns > SILENCE_NS) {
            ask_for_missing(runs);
            asked_ns = cl_monotonic_ns();
        }
        cl_progress_show(&runs->progress, "measuring", (uint64_t)runs->ended, (uint64_t)runs->count,
                         0);
    }
    if (runs->error.exit == CL_OK && runs->ended < runs->count) {
        runs->error = *cl_stream_error(runs->stream);
        if (runs->error.exit == CL_OK)
            cl_fail(&runs->error, CL_INTERNAL, "the watch of all runs ended by itself");
    }
}

enum cl_exit bench_run_runs(struct bench *bench, struct cl_error *error)
{
    struct runs runs = {.bench = bench, .count = bench->options.count};
    char random[7];
    cl_random_name(bench->client, random, sizeof(random) - 1);
    snprintf(runs.prefix, sizeof(runs.prefix), "bench-%s", random);
    runs.sent_ns = sy_calloc((size_t)runs.count, sizeof(*runs.sent_ns));
    runs.slots = sy_calloc((size_t)bench->options.concurrency, sizeof(*runs.slots));
    cl_progress_init(&runs.progress);
    bench_measure_begin(bench);
    drive(&runs);
    bench_measure_end(bench);
    cl_progress_clear(&runs.progress);
    *error = runs.error;
    cl_cancel_all(bench->client);
    for (int64_t i = 0; i < bench->options.concurrency; i++)
        sy_timer_stop(bench->client->loop, &runs.slots[i].timer);
    cl_stream_close(runs.stream);
    free(runs.sent_ns);
    free(runs.slots);
    return error->exit;
}
