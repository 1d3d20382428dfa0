/*
 * The loop's inbox: many threads push, the loop's thread takes everything at once.
 *
 * A mutex and two arrays: a push appends to one under the mutex, a take swaps them. An uncontended
 * mutex costs less than the node allocation of a lock-free list, keeps the order of posting, and
 * makes the bound exact. The eventfd is written only when the loop said it is about to sleep,
 * and then once: a burst costs one system call, not one for each post.
 *
 * Internal to base/loop.c. `max` bounds what is pushed and not yet taken; pushes with `always`
 * don't count.
 */
#pragma once

#include "base/loop.h"

#include <pthread.h>
#include <stdatomic.h>

struct sy_post {
    sy_fn fn;
    void *arg;
};

struct sy_inbox {
    pthread_mutex_t mutex;
    /* Under the mutex. */
    struct sy_post *items;
    size_t count, cap;
    size_t counted; /* of count, those that count against max */
    size_t max;
    bool sleeping; /* the loop waits, or is about to, and nobody has woken it yet */
    int wake_fd;   /* const; -1 = nobody ever sleeps */
    /* = count, for reading without the mutex. */
    atomic_size_t pending;
    char padding[64]; /* what follows belongs to the loop's thread: other cache lines */
    struct sy_post *batch;
    size_t batch_count, batch_cap;
};

void sy_inbox_init(struct sy_inbox *inbox, size_t max, int wake_fd);
void sy_inbox_deinit(struct sy_inbox *inbox);

/* Any thread. -EAGAIN when full. */
int sy_inbox_push(struct sy_inbox *inbox, sy_fn fn, void *arg, bool always) SY_MUST_USE;

/* Pushes without waking; true when the loop sleeps, so that sy_inbox_wake() must follow. It does
 * nothing once the loop is awake. */
bool sy_inbox_push_quietly(struct sy_inbox *inbox, sy_fn fn, void *arg) SY_MUST_USE;
void sy_inbox_wake(struct sy_inbox *inbox);

/* Takes out what was pushed with this argument. What counted against max counts until the next
 * take.
 */
void sy_inbox_forget(struct sy_inbox *inbox, const void *arg);

/* The rest: the loop's thread. All that was pushed, in order; valid until the next take. */
size_t sy_inbox_take(struct sy_inbox *inbox, const struct sy_post **ret_posts);
/* False when something is there, so that the loop must not sleep. After true, the next push writes
 * to wake_fd; sy_inbox_awake() takes that back. */
bool sy_inbox_may_sleep(struct sy_inbox *inbox);
void sy_inbox_awake(struct sy_inbox *inbox);
/* Without the mutex: may miss a push of another thread that is still under way. */
bool sy_inbox_empty(const struct sy_inbox *inbox);
