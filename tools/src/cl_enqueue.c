#include "tools/src/cl_enqueue.h"

#include "base/mem.h"
#include "proto/pb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DELAY_MIN_NS (20 * SY_NS_PER_MS)
#define DELAY_MAX_NS (2 * SY_NS_PER_S)
#define INPUT_BYTES_MAX ((size_t)4 * 1024 * 1024) /* of one batch; a message may hold 16 MiB */

struct cl_batch {
    struct cl_enqueue *enqueue;
    struct sy_buf request;
    struct sy_timer timer;
    int64_t delay_ns;
    size_t count;
    struct cl_batch *next, **previous;
};

void cl_enqueue_init(struct cl_enqueue *enqueue, struct cl_client *client, const char *run,
                     const char *parent, unsigned window)
{
    *enqueue = (struct cl_enqueue){.client = client,
                                   .run = run,
                                   .parent = parent,
                                   .window = window,
                                   .last_success_ns = cl_monotonic_ns()};
}

static void batch_free(struct cl_batch *batch)
{
    *batch->previous = batch->next;
    if (batch->next)
        batch->next->previous = batch->previous;
    batch->enqueue->in_flight--;
    sy_timer_stop(batch->enqueue->client->loop, &batch->timer);
    sy_buf_deinit(&batch->request);
    free(batch);
}

static bool retriable(const struct cl_enqueue *enqueue, const struct cl_error *error)
{
    if (cl_monotonic_ns() - enqueue->last_success_ns > CL_ENQUEUE_PATIENCE_NS)
        return false;
    return error->code == SY_CODE_RESOURCE_EXHAUSTED || error->code == SY_CODE_UNAVAILABLE ||
           error->code == SY_CODE_DEADLINE_EXCEEDED || error->code == SY_CODE_ABORTED;
}

static void on_enqueued(void *ctx, const struct cl_error *error, const void *response)
{
    struct cl_batch *batch = ctx;
    struct cl_enqueue *enqueue = batch->enqueue;
    const Switchyard__V1__EnqueueActionsResponse *answer = response;
    if (answer) {
        enqueue->created += answer->created;
        enqueue->existing += answer->n_existing;
        enqueue->last_success_ns = cl_monotonic_ns();
        batch_free(batch);
        return;
    }
    if (enqueue->error.exit == CL_OK && retriable(enqueue, error)) {
        enqueue->refused++;
        batch->delay_ns = batch->delay_ns ? batch->delay_ns * 2 : DELAY_MIN_NS;
        if (batch->delay_ns > DELAY_MAX_NS)
            batch->delay_ns = DELAY_MAX_NS;
        uint64_t half = (uint64_t)batch->delay_ns / 2;
        int64_t jitter = (int64_t)sy_rng_below(&enqueue->client->rng, half);
        sy_timer_start_in(enqueue->client->loop, &batch->timer, (int64_t)half + jitter);
        return;
    }
    if (enqueue->error.exit == CL_OK)
        enqueue->error = *error;
    batch_free(batch);
}

static void send_batch(void *arg)
{
    struct cl_batch *batch = arg;
    struct sy_buf bytes = sy_buf_copy(batch->request.data, batch->request.len);
    struct cl_start_options options = {.run = batch->enqueue->run};
    cl_start(batch->enqueue->client, &cl_enqueue_actions, &bytes, &options, on_enqueued, batch);
}

static bool has_room(void *ctx)
{
    const struct cl_enqueue *enqueue = ctx;
    return enqueue->in_flight < enqueue->window || enqueue->error.exit != CL_OK;
}

static bool is_empty(void *ctx)
{
    const struct cl_enqueue *enqueue = ctx;
    return enqueue->in_flight == 0;
}

static enum cl_exit wait_for(struct cl_enqueue *enqueue, bool (*until)(void *ctx))
{
    if (!cl_wait(enqueue->client, until, enqueue, 0) && enqueue->error.exit == CL_OK)
        cl_fail(&enqueue->error, CL_INTERRUPTED, "interrupted");
    return enqueue->error.exit;
}

enum cl_exit cl_enqueue_flush(struct cl_enqueue *enqueue)
{
    return wait_for(enqueue, is_empty);
}

enum cl_exit cl_enqueue_send(struct cl_enqueue *enqueue, struct sy_span task_spec,
                             Switchyard__V1__NewAction *const *actions, size_t count, bool seal)
{
    SY_ASSERT(count <= CL_ENQUEUE_BATCH_MAX);
    if (wait_for(enqueue, seal ? is_empty : has_room) != CL_OK)
        return enqueue->error.exit;
    Switchyard__V1__EnqueueActionsRequest request = SWITCHYARD__V1__ENQUEUE_ACTIONS_REQUEST__INIT;
    Switchyard__V1__RunId id;
    cl_run_id(enqueue->client, enqueue->run, &id);
    request.run = &id;
    request.parent = cl_unconst(enqueue->parent);
    request.task_spec.data = (uint8_t *)cl_unconst((const char *)task_spec.data);
    request.task_spec.len = task_spec.len;
    union {
        Switchyard__V1__NewAction *const *in;
        Switchyard__V1__NewAction **out;
    } pointers = {actions};
    request.actions = pointers.out;
    request.n_actions = count;
    request.priority = enqueue->priority;
    request.seal = seal;
    union {
        const Switchyard__V1__Gang *in;
        Switchyard__V1__Gang *out;
    } gang = {enqueue->gang};
    request.gang = gang.out;

    struct cl_batch *batch = sy_new(struct cl_batch);
    *batch = (struct cl_batch){.enqueue = enqueue,
                               .count = count,
                               .next = enqueue->batches,
                               .previous = &enqueue->batches};
    sy_timer_init(&batch->timer, send_batch, batch);
    if (enqueue->batches)
        enqueue->batches->previous = &batch->next;
    enqueue->batches = batch;
    enqueue->in_flight++;
    pb_pack(&request.base, &batch->request);
    enqueue->sent_ns = cl_realtime_ns();
    send_batch(batch);
    return CL_OK;
}

void cl_enqueue_deinit(struct cl_enqueue *enqueue)
{
    if (enqueue->batches)
        cl_cancel_all(enqueue->client);
    struct cl_batch *next = enqueue->batches;
    while (next) {
        struct cl_batch *batch = next;
        next = batch->next;
        sy_timer_stop(enqueue->client->loop, &batch->timer);
        sy_buf_deinit(&batch->request);
        free(batch);
    }
    enqueue->batches = NULL;
    enqueue->in_flight = 0;
}

/* ---- batcher ---- */

void cl_batcher_init(struct cl_batcher *batcher, struct cl_enqueue *enqueue, struct sy_buf *spec,
                     const char *prefix, size_t batch_max)
{
    SY_ASSERT(batch_max > 0 && batch_max <= CL_ENQUEUE_BATCH_MAX);
    *batcher = (struct cl_batcher){
        .enqueue = enqueue, .prefix = prefix, .batch_max = batch_max, .spec = sy_buf_take(spec)};
    batcher->actions = sy_calloc(batch_max, sizeof(*batcher->actions));
    batcher->pointers = sy_calloc(batch_max, sizeof(void *));
    batcher->names = sy_calloc(batch_max, sizeof(*batcher->names));
    batcher->offsets = sy_calloc(batch_max, sizeof(*batcher->offsets));
    batcher->lengths = sy_calloc(batch_max, sizeof(*batcher->lengths));
}

static enum cl_exit send_gathered(struct cl_batcher *batcher, bool seal)
{
    for (size_t i = 0; i < batcher->count; i++) {
        Switchyard__V1__NewAction *action = &batcher->actions[i];
        switchyard__v1__new_action__init(action);
        action->name = batcher->names[i];
        action->input.len = batcher->lengths[i];
        if (action->input.len > 0)
            action->input.data = batcher->inputs.data + batcher->offsets[i];
        batcher->pointers[i] = action;
    }
    enum cl_exit exit_code = cl_enqueue_send(batcher->enqueue, sy_buf_span(&batcher->spec),
                                             batcher->pointers, batcher->count, seal);
    if (exit_code == CL_OK && batcher->on_sent)
        batcher->on_sent(batcher->ctx, batcher->next - batcher->count, batcher->count,
                         batcher->enqueue->sent_ns);
    batcher->count = 0;
    sy_buf_clear(&batcher->inputs);
    return exit_code;
}

/* What is gathered goes out when the next one comes, so that the last batch can carry the seal. */
enum cl_exit cl_batcher_add(struct cl_batcher *batcher, struct sy_span input)
{
    bool full = batcher->count == batcher->batch_max ||
                (batcher->count > 0 && batcher->inputs.len + input.len > INPUT_BYTES_MAX);
    if (full) {
        enum cl_exit exit_code = send_gathered(batcher, false);
        if (exit_code != CL_OK)
            return exit_code;
    }
    size_t i = batcher->count++;
    snprintf(batcher->names[i], sizeof(batcher->names[i]), "%s%07llu", batcher->prefix,
             (unsigned long long)batcher->next++);
    batcher->offsets[i] = batcher->inputs.len;
    batcher->lengths[i] = input.len;
    if (input.len > 0)
        sy_buf_append(&batcher->inputs, input.data, input.len);
    return CL_OK;
}

enum cl_exit cl_batcher_finish(struct cl_batcher *batcher, bool seal)
{
    if (batcher->count > 0 || seal) {
        enum cl_exit exit_code = send_gathered(batcher, seal);
        if (exit_code != CL_OK)
            return exit_code;
    }
    return cl_enqueue_flush(batcher->enqueue);
}

void cl_batcher_deinit(struct cl_batcher *batcher)
{
    sy_buf_deinit(&batcher->spec);
    sy_buf_deinit(&batcher->inputs);
    free(batcher->actions);
    free(batcher->pointers);
    free(batcher->names);
    free(batcher->offsets);
    free(batcher->lengths);
}
