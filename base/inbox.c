#include "base/inbox.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

#define CAP_MIN ((size_t)256)

static void lock(struct sy_inbox *inbox)
{
    int r = pthread_mutex_lock(&inbox->mutex);
    SY_ASSERT(r == 0);
}

static void unlock(struct sy_inbox *inbox)
{
    int r = pthread_mutex_unlock(&inbox->mutex);
    SY_ASSERT(r == 0);
}

void sy_inbox_init(struct sy_inbox *inbox, size_t max, int wake_fd)
{
    SY_ASSERT(max > 0);
    *inbox = (struct sy_inbox){.max = max, .wake_fd = wake_fd};
    /* The mutex is held for a few nanoseconds: spinning briefly beats sleeping. */
    pthread_mutexattr_t attr;
    int r = pthread_mutexattr_init(&attr);
    SY_ASSERT(r == 0);
    r = pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    SY_ASSERT(r == 0);
    r = pthread_mutex_init(&inbox->mutex, &attr);
    SY_ASSERT(r == 0);
    pthread_mutexattr_destroy(&attr);
}

void sy_inbox_deinit(struct sy_inbox *inbox)
{
    int r = pthread_mutex_destroy(&inbox->mutex);
    SY_ASSERT(r == 0);
    free(inbox->items);
    free(inbox->batch);
    *inbox = (struct sy_inbox){.wake_fd = -1};
}

static void wake(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));
    /* EAGAIN: the counter is at its end, so a wake-up is pending anyway. */
    SY_ASSERT(n == (ssize_t)sizeof(one) || errno == EAGAIN);
}

static void append(struct sy_inbox *inbox, struct sy_post post)
{
    if (inbox->count == inbox->cap) {
        inbox->cap = inbox->cap ? inbox->cap * 2 : CAP_MIN;
        inbox->items = sy_realloc(inbox->items, inbox->cap * sizeof(*inbox->items));
    }
    inbox->items[inbox->count++] = post;
    atomic_store_explicit(&inbox->pending, inbox->count, memory_order_relaxed);
}

int sy_inbox_push(struct sy_inbox *inbox, sy_fn fn, void *arg, bool always)
{
    SY_ASSERT(fn);
    lock(inbox);
    if (!always && inbox->counted == inbox->max) {
        unlock(inbox);
        return -EAGAIN; /* no trace: shedding load is not an error of this process */
    }
    append(inbox, (struct sy_post){fn, arg});
    inbox->counted += !always;
    bool must_wake = inbox->sleeping;
    inbox->sleeping = false;
    unlock(inbox);
    if (must_wake)
        wake(inbox->wake_fd);
    return 0;
}

bool sy_inbox_push_quietly(struct sy_inbox *inbox, sy_fn fn, void *arg)
{
    SY_ASSERT(fn);
    lock(inbox);
    append(inbox, (struct sy_post){fn, arg});
    bool sleeps = inbox->sleeping;
    unlock(inbox);
    return sleeps;
}

void sy_inbox_wake(struct sy_inbox *inbox)
{
    lock(inbox);
    bool must_wake = inbox->sleeping;
    inbox->sleeping = false;
    unlock(inbox);
    if (must_wake)
        wake(inbox->wake_fd);
}

void sy_inbox_forget(struct sy_inbox *inbox, const void *arg)
{
    size_t kept = 0;
    lock(inbox);
    for (size_t i = 0; i < inbox->count; i++) {
        if (inbox->items[i].arg != arg)
            inbox->items[kept++] = inbox->items[i];
    }
    inbox->count = kept;
    atomic_store_explicit(&inbox->pending, kept, memory_order_relaxed);
    unlock(inbox);
}

/* A burst's memory is given back in halves once it is used for less than a quarter. */
static void shrink_batch(struct sy_inbox *inbox)
{
    if (inbox->batch_cap <= CAP_MIN * 16 || inbox->batch_count >= inbox->batch_cap / 4)
        return;
    inbox->batch_cap /= 2;
    inbox->batch = sy_realloc(inbox->batch, inbox->batch_cap * sizeof(*inbox->batch));
}

size_t sy_inbox_take(struct sy_inbox *inbox, const struct sy_post **ret_posts)
{
    if (sy_inbox_empty(inbox))
        return 0;
    shrink_batch(inbox);
    struct sy_post *empty = inbox->batch;
    size_t empty_cap = inbox->batch_cap;
    lock(inbox);
    inbox->batch = inbox->items;
    inbox->batch_cap = inbox->cap;
    inbox->batch_count = inbox->count;
    inbox->items = empty;
    inbox->cap = empty_cap;
    inbox->count = 0;
    inbox->counted = 0;
    atomic_store_explicit(&inbox->pending, 0, memory_order_relaxed);
    unlock(inbox);
    SY_ASSERT(inbox->batch_count <= inbox->batch_cap);
    *ret_posts = inbox->batch;
    return inbox->batch_count;
}

bool sy_inbox_may_sleep(struct sy_inbox *inbox)
{
    SY_ASSERT(inbox->wake_fd >= 0);
    lock(inbox);
    bool may_sleep = inbox->count == 0;
    inbox->sleeping = may_sleep;
    unlock(inbox);
    return may_sleep;
}

void sy_inbox_awake(struct sy_inbox *inbox)
{
    lock(inbox);
    inbox->sleeping = false;
    unlock(inbox);
}

bool sy_inbox_empty(const struct sy_inbox *inbox)
{
    return atomic_load_explicit(&inbox->pending, memory_order_relaxed) == 0;
}
