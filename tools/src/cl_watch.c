#include "tools/src/cl_watch.h"

#include "tools/src/cl_straight.h"

#include "tools/src/cl_text.h"

#include <string.h>

#define RETRY_NS (200 * SY_NS_PER_MS)

static void remember_root(struct cl_watch *watch, const Switchyard__V1__Event *event)
{
    watch->root_phase = (int)event->phase;
    if (!event->error)
        return;
    watch->root_error = sy_arena_alloc(&watch->arena, sizeof(*watch->root_error));
    if (!watch->root_error)
        return;
    switchyard__v1__error__init(watch->root_error);
    watch->root_error->code = sy_arena_strdup(&watch->arena, event->error->code);
    watch->root_error->message = sy_arena_strdup(&watch->arena, event->error->message);
    watch->root_error->system = event->error->system;
}

static void on_events(void *ctx, const void *message)
{
    struct cl_watch *watch = ctx;
    const Switchyard__V1__WatchRunResponse *response = message;
    watch->lost_since_ns = 0;
    for (size_t i = 0; i < response->n_events; i++) {
        const Switchyard__V1__Event *event = response->events[i];
        if (event->sequence <= watch->after)
            continue;
        watch->after = event->sequence;
        if (strcmp(event->action, "a0") == 0 && cl_phase_final((int)event->phase))
            remember_root(watch, event);
        if (watch->on_event)
            watch->on_event(watch->ctx, event);
    }
}

static void open_stream(struct cl_watch *watch)
{
    Switchyard__V1__WatchRunRequest request = SWITCHYARD__V1__WATCH_RUN_REQUEST__INIT;
    Switchyard__V1__RunId id;
    cl_run_id(watch->client, watch->run, &id);
    request.run = &id;
    request.after_sequence = watch->after;
    request.final_only = watch->final_only;
    struct sy_channel *channel = cl_straight_channel(watch->client, watch->run);
    watch->stream = cl_stream_open(watch->client, channel, &cl_watch_run, &request.base, on_events,
                                   watch);
}

void cl_watch_start(struct cl_watch *watch, struct cl_client *client, const char *run,
                    uint64_t after, bool final_only, cl_event_fn on_event, void *ctx)
{
    *watch = (struct cl_watch){.client = client,
                               .run = run,
                               .after = after,
                               .final_only = final_only,
                               .on_event = on_event,
                               .ctx = ctx};
    sy_arena_init(&watch->arena, (size_t)64 * 1024);
    open_stream(watch);
}

/* The root's end closes the matter, even before the server closes the stream. */
static bool settled(void *ctx)
{
    const struct cl_watch *watch = ctx;
    return watch->root_phase != 0 || cl_stream_ended(watch->stream) ||
           (watch->stop_when && *watch->stop_when);
}

static bool worth_another_try(const struct cl_error *error)
{
    switch (error->code) {
    case SY_CODE_OK: /* ended without the root's end: a server that drains */
    case SY_CODE_UNAVAILABLE:
    case SY_CODE_CANCELLED:
    case SY_CODE_ABORTED:
    case SY_CODE_RESOURCE_EXHAUSTED:
    case SY_CODE_DEADLINE_EXCEEDED:
        return error->exit != CL_INTERNAL || error->code != SY_CODE_OK;
    default:
        return false;
    }
}

bool cl_watch_turn(struct cl_watch *watch, int64_t tick_ns)
{
    if (watch->error.exit != CL_OK || watch->root_phase != 0)
        return false;
    if (!cl_wait(watch->client, settled, watch, tick_ns)) {
        if (watch->client->interrupted)
            cl_fail(&watch->error, CL_INTERRUPTED, "interrupted");
        return watch->error.exit == CL_OK;
    }
    if (watch->root_phase != 0)
        return false;
    if (!cl_stream_ended(watch->stream))
        return true; /* stop_when */
    struct cl_error error = *cl_stream_error(watch->stream);
    int64_t now_ns = cl_monotonic_ns();
    if (watch->lost_since_ns == 0)
        watch->lost_since_ns = now_ns;
    bool patient = now_ns - watch->lost_since_ns < CL_WATCH_PATIENCE_NS;
    if (!worth_another_try(&error) || !patient) {
        watch->error = error;
        if (error.exit == CL_OK)
            cl_fail(&watch->error, CL_UNREACHABLE, "the watch of run '%s' ends again and again",
                    watch->run);
        return false;
    }
    cl_stream_close(watch->stream);
    watch->stream = NULL;
    cl_sleep(watch->client, RETRY_NS);
    open_stream(watch);
    return true;
}

void cl_watch_stop(struct cl_watch *watch)
{
    cl_stream_close(watch->stream);
    watch->stream = NULL;
    sy_arena_deinit(&watch->arena);
    watch->root_error = NULL;
}

enum cl_exit cl_exit_of_phase(int phase)
{
    switch (phase) {
    case SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED:
        return CL_OK;
    case SWITCHYARD__V1__PHASE__PHASE_ABORTED:
        return CL_ABORTED;
    case SWITCHYARD__V1__PHASE__PHASE_TIMED_OUT:
        return CL_TIMED_OUT;
    default:
        return CL_FAILED;
    }
}

enum cl_exit cl_watch_result(const struct cl_watch *watch)
{
    return watch->root_phase ? cl_exit_of_phase(watch->root_phase) : watch->error.exit;
}
