#include "base/loop.h"

#include "base/inbox.h"
#include "base/mem.h"
#include "base/timer.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define POSTS_MAX_DEFAULT ((size_t)1048576)
#define SLEEPERS_MIN 8
#define READY_MAX 256 /* further ready fds are reported in the next turn */

struct sy_loop {
    struct sy_inbox inbox;
    struct sy_clock clock;
    int64_t now_ns, realtime_ns;
    struct sy_timers timers;
    struct sy_turn_end *turn_ends;
    struct sy_turn_end *next_turn_end; /* the one to run next, while they run */
    struct sy_loop **sleepers;         /* got something in this turn: sy_loop_hand_over() */
    size_t sleeper_count, sleeper_cap;
    int epoll_fd, wake_fd;
    /* Events of this turn; a removed sy_io is blanked out here. */
    struct epoll_event ready[READY_MAX];
    int ready_count, ready_next;
    bool in_turn, stopping;
    bool running; /* then `thread` owns the loop */
    pthread_t thread;
};

/* Catches the worst mistake this design allows: touching a loop from another thread. */
static void assert_owner(const struct sy_loop *loop)
{
    SY_ASSERT(!loop->running || pthread_equal(loop->thread, pthread_self()));
}

static void read_clock(struct sy_loop *loop)
{
    int64_t now_ns = loop->clock.monotonic_ns(loop->clock.ctx);
    SY_ASSERT(now_ns >= loop->now_ns);
    SY_ASSERT(now_ns < SY_TIME_NEVER);
    loop->now_ns = now_ns;
    loop->realtime_ns = loop->clock.realtime_ns(loop->clock.ctx);
}

/* The eventfd is edge-triggered and never read: each write wakes once, as in mio's Waker. Its
 * counter would take 2^64 writes to fill. */
static int open_epoll(struct sy_loop *loop)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return sy_trace(-errno);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        return sy_trace(-errno);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) < 0)
        return sy_trace(-errno);
    return 0;
}

static void close_fds(struct sy_loop *loop)
{
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
}

int sy_loop_new(struct sy_loop **ret_loop, const struct sy_loop_options *options)
{
    static const struct sy_loop_options defaults = {0};
    if (!options)
        options = &defaults;
    struct sy_loop *loop = sy_new(struct sy_loop);
    loop->clock = options->clock ? *options->clock : sy_clock_system;
    loop->epoll_fd = loop->wake_fd = -1;
    loop->now_ns = INT64_MIN;
    int r = options->without_epoll ? 0 : open_epoll(loop);
    if (r < 0) {
        close_fds(loop);
        free(loop);
        return r;
    }
    size_t posts_max = options->posts_max ? options->posts_max : POSTS_MAX_DEFAULT;
    sy_inbox_init(&loop->inbox, posts_max, loop->wake_fd);
    read_clock(loop);
    *ret_loop = loop;
    return 0;
}

void sy_loop_free(struct sy_loop *loop)
{
    if (!loop)
        return;
    SY_ASSERT(!loop->in_turn);
    SY_ASSERT(!loop->running);
    sy_inbox_deinit(&loop->inbox);
    sy_timers_deinit(&loop->timers);
    free(loop->sleepers);
    close_fds(loop);
    free(loop);
}

int64_t sy_loop_now_ns(const struct sy_loop *loop)
{
    return loop->now_ns;
}

int64_t sy_loop_realtime_ns(const struct sy_loop *loop)
{
    return loop->realtime_ns;
}

int sy_loop_post(struct sy_loop *loop, sy_fn fn, void *arg)
{
    return sy_inbox_push(&loop->inbox, fn, arg, false);
}

void sy_loop_post_always(struct sy_loop *loop, sy_fn fn, void *arg)
{
    int r = sy_inbox_push(&loop->inbox, fn, arg, true);
    SY_ASSERT(r == 0);
}

static void wake_later(struct sy_loop *from, struct sy_loop *to)
{
    for (size_t i = 0; i < from->sleeper_count; i++) {
        if (from->sleepers[i] == to)
            return;
    }
    if (from->sleeper_count == from->sleeper_cap) {
        from->sleeper_cap = from->sleeper_cap ? from->sleeper_cap * 2 : SLEEPERS_MIN;
        from->sleepers = sy_realloc(from->sleepers, from->sleeper_cap * sizeof(struct sy_loop *));
    }
    from->sleepers[from->sleeper_count++] = to;
}

static void wake_sleepers(struct sy_loop *loop)
{
    for (size_t i = 0; i < loop->sleeper_count; i++)
        sy_inbox_wake(&loop->sleepers[i]->inbox);
    loop->sleeper_count = 0;
}

void sy_loop_hand_over(struct sy_loop *from, struct sy_loop *to, sy_fn fn, void *arg)
{
    assert_owner(from);
    if (!sy_inbox_push_quietly(&to->inbox, fn, arg))
        return;
    if (from->in_turn)
        wake_later(from, to);
    else
        sy_inbox_wake(&to->inbox);
}

void sy_loop_forget(struct sy_loop *loop, const void *arg)
{
    sy_inbox_forget(&loop->inbox, arg);
}

void sy_timer_init(struct sy_timer *timer, sy_fn fn, void *arg)
{
    SY_ASSERT(fn);
    *timer = (struct sy_timer){.fn = fn, .arg = arg};
}

void sy_timer_start(struct sy_loop *loop, struct sy_timer *timer, int64_t deadline_ns)
{
    assert_owner(loop);
    if (sy_timer_running(timer))
        sy_timers_remove(&loop->timers, timer);
    timer->deadline_ns = deadline_ns;
    /* Sorting overdue timers at now keeps them behind those of this turn that are still to run. */
    sy_timers_insert(&loop->timers, timer, deadline_ns < loop->now_ns ? loop->now_ns : deadline_ns);
    SY_ASSERT(sy_timer_running(timer));
}

void sy_timer_start_in(struct sy_loop *loop, struct sy_timer *timer, int64_t delay_ns)
{
    int64_t deadline_ns;
    if (delay_ns < 0)
        delay_ns = 0;
    if (__builtin_add_overflow(loop->now_ns, delay_ns, &deadline_ns))
        deadline_ns = SY_TIME_NEVER;
    sy_timer_start(loop, timer, deadline_ns);
}

void sy_timer_stop(struct sy_loop *loop, struct sy_timer *timer)
{
    assert_owner(loop);
    if (sy_timer_running(timer))
        sy_timers_remove(&loop->timers, timer);
    SY_ASSERT(!sy_timer_running(timer));
}

static int control(struct sy_loop *loop, int operation, struct sy_io *io, uint32_t events)
{
    assert_owner(loop);
    SY_ASSERT(io->fn);
    if (loop->epoll_fd < 0)
        return sy_trace(-EOPNOTSUPP);
    struct epoll_event event = {.events = events, .data.ptr = io};
    if (epoll_ctl(loop->epoll_fd, operation, io->fd, &event) < 0)
        return sy_trace(-errno);
    return 0;
}

int sy_io_add(struct sy_loop *loop, struct sy_io *io)
{
    return control(loop, EPOLL_CTL_ADD, io, io->events);
}

int sy_io_modify(struct sy_loop *loop, struct sy_io *io, uint32_t events)
{
    int r = control(loop, EPOLL_CTL_MOD, io, events);
    if (r < 0)
        return r;
    io->events = events;
    return 0;
}

void sy_io_remove(struct sy_loop *loop, struct sy_io *io)
{
    int r = control(loop, EPOLL_CTL_DEL, io, 0);
    SY_ASSERT(r == 0); /* else it was never added, or closed too early */
    for (int i = loop->ready_next; i < loop->ready_count; i++) {
        if (loop->ready[i].data.ptr == io)
            loop->ready[i].data.ptr = NULL;
    }
}

void sy_loop_add_turn_end(struct sy_loop *loop, struct sy_turn_end *hook)
{
    assert_owner(loop);
    SY_ASSERT(hook->fn);
    struct sy_turn_end **at = &loop->turn_ends;
    for (; *at; at = &(*at)->next)
        SY_ASSERT(*at != hook);
    hook->next = NULL;
    *at = hook;
}

void sy_loop_remove_turn_end(struct sy_loop *loop, struct sy_turn_end *hook)
{
    assert_owner(loop);
    struct sy_turn_end **at = &loop->turn_ends;
    while (*at && *at != hook)
        at = &(*at)->next;
    SY_ASSERT(*at == hook);
    *at = hook->next;
    if (loop->next_turn_end == hook)
        loop->next_turn_end = hook->next;
    hook->next = NULL;
}

static bool run_posts(struct sy_loop *loop)
{
    const struct sy_post *posts;
    size_t count = sy_inbox_take(&loop->inbox, &posts);
    for (size_t i = 0; i < count; i++)
        posts[i].fn(posts[i].arg);
    return count > 0;
}

static bool run_timers(struct sy_loop *loop)
{
    uint64_t sequence_end = loop->timers.next_sequence;
    bool ran = false;
    struct sy_timer *timer;
    while ((timer = sy_timers_pop_due(&loop->timers, loop->now_ns, sequence_end))) {
        ran = true;
        timer->fn(timer->arg);
    }
    return ran;
}

static bool run_ready(struct sy_loop *loop)
{
    bool ran = false;
    while (loop->ready_next < loop->ready_count) {
        const struct epoll_event *event = &loop->ready[loop->ready_next++];
        struct sy_io *io = event->data.ptr;
        if (!io)
            continue; /* the eventfd, or removed in this turn */
        uint32_t events = event->events & (io->events | EPOLLERR | EPOLLHUP);
        if (!events)
            continue; /* no longer wanted since it was collected */
        ran = true;
        io->fn(io->arg, events);
    }
    return ran;
}

static void run_turn_ends(struct sy_loop *loop)
{
    struct sy_turn_end *hook = loop->turn_ends;
    while (hook) {
        loop->next_turn_end = hook->next;
        hook->fn(hook->arg);
        hook = loop->next_turn_end;
    }
}

/* Runs what was collected, at the clock's present time. */
static void run_turn(struct sy_loop *loop)
{
    SY_ASSERT(!loop->in_turn);
    loop->in_turn = true;
    read_clock(loop);
    bool ran = run_posts(loop);
    ran |= run_timers(loop);
    ran |= run_ready(loop);
    if (ran)
        run_turn_ends(loop);
    loop->in_turn = false;
    wake_sleepers(loop);
    SY_ASSERT(loop->ready_next == loop->ready_count);
}

/* NULL waits without end. epoll_pwait2 came with Linux 5.11; some sandboxes still lack it. */
static int wait_ready(struct sy_loop *loop, const struct timespec *timeout)
{
    int n = epoll_pwait2(loop->epoll_fd, loop->ready, READY_MAX, timeout, NULL);
    if (n < 0 && errno == ENOSYS) {
        int64_t ms = -1;
        if (timeout)
            ms = timeout->tv_sec * 1000 + (timeout->tv_nsec + SY_NS_PER_MS - 1) / SY_NS_PER_MS;
        n = epoll_wait(loop->epoll_fd, loop->ready, READY_MAX,
                       ms > INT32_MAX ? INT32_MAX : (int)ms);
    }
    return n < 0 ? -errno : n;
}

static int collect(struct sy_loop *loop, const struct timespec *timeout)
{
    SY_ASSERT(loop->ready_next == loop->ready_count);
    loop->ready_count = loop->ready_next = 0;
    int n = wait_ready(loop, timeout);
    if (n == -EINTR)
        return 0;
    if (n < 0)
        return sy_trace(n);
    loop->ready_count = n;
    return 0;
}

void sy_loop_turn(struct sy_loop *loop)
{
    SY_ASSERT(!loop->running);
    if (loop->epoll_fd >= 0) {
        int r = collect(loop, &(struct timespec){0});
        SY_ASSERT(r == 0);
    }
    run_turn(loop);
}

int64_t sy_loop_next_ns(const struct sy_loop *loop)
{
    if (!sy_inbox_empty(&loop->inbox))
        return loop->clock.monotonic_ns(loop->clock.ctx);
    return sy_timers_next_ns(&loop->timers);
}

/* Waits until something is posted, a timer is due, or a descriptor is ready. */
static int sleep_until_next(struct sy_loop *loop)
{
    if (!sy_inbox_may_sleep(&loop->inbox))
        return collect(loop, &(struct timespec){0});
    int64_t next_ns = sy_timers_next_ns(&loop->timers);
    struct timespec timeout = {0};
    if (next_ns != SY_TIME_NEVER) {
        int64_t now_ns = loop->clock.monotonic_ns(loop->clock.ctx);
        int64_t delay_ns = next_ns > now_ns ? next_ns - now_ns : 0;
        timeout.tv_sec = delay_ns / SY_NS_PER_S;
        timeout.tv_nsec = delay_ns % SY_NS_PER_S;
    }
    int r = collect(loop, next_ns == SY_TIME_NEVER ? NULL : &timeout);
    sy_inbox_awake(&loop->inbox);
    return r;
}

int sy_loop_run(struct sy_loop *loop)
{
    SY_ASSERT(!loop->running);
    SY_ASSERT(!loop->in_turn);
    if (loop->epoll_fd < 0)
        return sy_trace(-EOPNOTSUPP);
    loop->thread = pthread_self();
    loop->running = true;
    loop->stopping = false;
    int r = 0;
    while (!loop->stopping) {
        r = sleep_until_next(loop);
        if (r < 0)
            break;
        run_turn(loop);
    }
    loop->running = false;
    return r;
}

static void stop(void *arg)
{
    struct sy_loop *loop = arg;
    loop->stopping = true;
}

/* Posted rather than set: what was posted before still runs, and the wake-up comes with it. */
void sy_loop_stop(struct sy_loop *loop)
{
    sy_loop_post_always(loop, stop, loop);
}
