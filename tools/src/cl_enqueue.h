/*
 * Children of an action, enqueued in batches with several calls in flight. A batch that is refused
 * because the queue is full, or whose answer is lost, is sent again after a growing, jittered
 * delay: the call is idempotent by name. So memory and load stay bounded: a full queue makes the
 * caller wait.
 */
#pragma once

#include "tools/src/cl_methods.h"

#define CL_ENQUEUE_PATIENCE_NS (120 * SY_NS_PER_S) /* without any batch getting through */
#define CL_ENQUEUE_BATCH_MAX 10000

struct cl_enqueue {
    struct cl_client *client;
    const char *run, *parent;
    unsigned window; /* calls in flight at most */
    int32_t priority;
    const Switchyard__V1__Gang *gang; /* each batch is one; NULL: none */

    struct cl_batch *batches; /* in flight */
    unsigned in_flight;
    uint64_t created, existing; /* acknowledged */
    uint64_t refused;           /* times that a batch had to wait for room */
    int64_t last_success_ns;
    int64_t sent_ns;       /* realtime: when the last batch went out first */
    struct cl_error error; /* the first that ended it */
};

/* Strings must outlive it. */
void cl_enqueue_init(struct cl_enqueue *enqueue, struct cl_client *client, const char *run,
                     const char *parent, unsigned window);
/* Sends one batch; returns at once while fewer than `window` are in flight, else waits. With `seal`
 * it waits until all earlier batches are durable, since nothing may follow a seal. */
enum cl_exit cl_enqueue_send(struct cl_enqueue *enqueue, struct sy_span task_spec,
                             Switchyard__V1__NewAction *const *actions, size_t count, bool seal);
/* Waits until all that was sent is durable. */
enum cl_exit cl_enqueue_flush(struct cl_enqueue *enqueue);
void cl_enqueue_deinit(struct cl_enqueue *enqueue);

/* Batches of equal tasks for those who only have inputs: names are PREFIX and a number of seven or
 * more digits, so that they grow in byte order. */
struct cl_batcher {
    struct cl_enqueue *enqueue;
    const char *prefix;
    size_t batch_max;
    uint64_t next; /* number of the next child */
    void (*on_sent)(void *ctx, uint64_t first, size_t count, int64_t sent_ns); /* may be NULL */
    void *ctx;
    struct sy_buf spec;
    Switchyard__V1__NewAction *actions;
    Switchyard__V1__NewAction **pointers;
    char (*names)[64];
    struct sy_buf inputs;
    size_t *offsets, *lengths;
    size_t count;
};
/* Takes `spec`. */
void cl_batcher_init(struct cl_batcher *batcher, struct cl_enqueue *enqueue, struct sy_buf *spec,
                     const char *prefix, size_t batch_max);
enum cl_exit cl_batcher_add(struct cl_batcher *batcher, struct sy_span input);
/* Sends what is left, sealing the parent if asked, and waits until all is durable. */
enum cl_exit cl_batcher_finish(struct cl_batcher *batcher, bool seal);
void cl_batcher_deinit(struct cl_batcher *batcher);
