/*
 * The event loop that owns a partition, an operator, an agent, or a client.
 *
 * One thread runs a loop and owns everything built on it; other threads only sy_loop_post().
 * A turn: read the clock once; run what was posted; run due timers; run ready file descriptors;
 * run the turn-end hooks (flush out-buffers, seal a batch). A callback never runs inside the call
 * that submitted it.
 *
 * Two drivers: sy_loop_run() blocks in epoll (production); sy_loop_turn() runs one turn at a
 * given time and never blocks (simulator, tests). A loop made without epoll accepts no fds.
 */
#pragma once

#include "base/clock.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sy_loop;
typedef void (*sy_fn)(void *arg);

/* `posts_max` bounds the inbox. Zero fields, or NULL for the whole, mean the defaults. */
struct sy_loop_options {
    const struct sy_clock *clock; /* default sy_clock_system; copied */
    size_t posts_max;             /* default 1,048,576 */
    bool without_epoll;           /* for sy_loop_turn() only */
};
int sy_loop_new(struct sy_loop **ret_loop, const struct sy_loop_options *options) SY_MUST_USE;
/* Nothing may be running; what is still posted is dropped without being run. */
void sy_loop_free(struct sy_loop *loop);

/* Time of the current turn. */
int64_t sy_loop_now_ns(const struct sy_loop *loop);
int64_t sy_loop_realtime_ns(const struct sy_loop *loop);

/* Runs fn(arg) on the loop's thread in a coming turn, in order of posting. Any thread.
 * -EAGAIN when the inbox is full: the caller sheds load or retries. What a turn's callbacks post
 * runs in the next turn. */
int sy_loop_post(struct sy_loop *loop, sy_fn fn, void *arg) SY_MUST_USE;
/* As above, for completions that were admitted before and so are bounded elsewhere: it cannot
 * fail and does not count against posts_max. */
void sy_loop_post_always(struct sy_loop *loop, sy_fn fn, void *arg);
/* The same, on the thread of `from`. `to` is woken when the turn of `from` ends, not before: so it
 * takes all at once that the turn has for it, instead of waking for each. */
void sy_loop_hand_over(struct sy_loop *from, struct sy_loop *to, sy_fn fn, void *arg);
/* What was posted with this argument does not run any more: its owner is freed, and nobody posts
 * with it again. On the loop's thread, or while no loop runs; not from a post. */
void sy_loop_forget(struct sy_loop *loop, const void *arg);

/* A timer is embedded in its owner; a stopped one costs nothing. Not periodic: start it again.
 * It has stopped when its callback runs, which may start it again or free the owner. A deadline in
 * the past counts as now; a timer started in a turn fires in a later turn at the earliest. Only
 * the loop's thread may call these. */
struct sy_timer {
    int64_t deadline_ns; /* monotonic; read-only for the owner */
    size_t heap_index;   /* 0 = not running */
    uint64_t sequence;   /* equal deadlines fire in the order they were started */
    sy_fn fn;
    void *arg;
};
void sy_timer_init(struct sy_timer *timer, sy_fn fn, void *arg);
/* A running timer is started anew. */
void sy_timer_start(struct sy_loop *loop, struct sy_timer *timer, int64_t deadline_ns);
void sy_timer_start_in(struct sy_loop *loop, struct sy_timer *timer, int64_t delay_ns);
void sy_timer_stop(struct sy_loop *loop, struct sy_timer *timer);
static inline bool sy_timer_running(const struct sy_timer *timer)
{
    return timer->heap_index != 0;
}

/* A file descriptor, level-triggered. `events` are EPOLLIN, EPOLLOUT; EPOLLERR and EPOLLHUP may
 * come as well. The owner closes fd after sy_io_remove(), from when on fn is not called any more,
 * not even for an event of the current turn. -EOPNOTSUPP from a loop without epoll. */
struct sy_io {
    int fd;
    uint32_t events;
    void (*fn)(void *arg, uint32_t events);
    void *arg;
};
int sy_io_add(struct sy_loop *loop, struct sy_io *io) SY_MUST_USE;
int sy_io_modify(struct sy_loop *loop, struct sy_io *io, uint32_t events) SY_MUST_USE;
void sy_io_remove(struct sy_loop *loop, struct sy_io *io);

/* Called at the end of every turn in which something ran, in order of adding. */
struct sy_turn_end {
    sy_fn fn;
    void *arg;
    struct sy_turn_end *next;
};
void sy_loop_add_turn_end(struct sy_loop *loop, struct sy_turn_end *hook);
void sy_loop_remove_turn_end(struct sy_loop *loop, struct sy_turn_end *hook);

/* Production driver: returns after sy_loop_stop() (any thread, also from a signalfd callback), once
 * everything posted before that has run. May be called again. -EOPNOTSUPP without epoll. */
int sy_loop_run(struct sy_loop *loop) SY_MUST_USE;
void sy_loop_stop(struct sy_loop *loop);

/* Simulation driver. */
void sy_loop_turn(struct sy_loop *loop);
/* SY_TIME_NEVER when no timer runs; the current time when something is posted. */
int64_t sy_loop_next_ns(const struct sy_loop *loop);
