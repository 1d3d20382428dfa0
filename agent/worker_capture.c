/*
 * The helper thread, and what tasks write to stdout and stderr.
 *
 * Attribution is exact with one task thread: at its end a task takes what is in the pipes as its
 * own, so that they are empty when the next begins; one poll() of 0.2 us when it wrote nothing.
 * With more threads raw output goes to the task that has run longest; sy_task_log() is exact
 * always.
 *
 * The pipes are read at ticks, not when bytes come: a task that prints does not wake a second
 * thread. And only of a task that has run for a tick, and what was read is sent at once: bytes in a
 * pipe survive a crash (the agent takes them), bytes in this process do not.
 */
#include "agent/worker.h"
#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_MS 5
#define IDLE_TICKS 20
#define CAPTURE_BYTES ((size_t)64 << 10)

/* Runs without an agent that made the pipes, too. */
static int own_pipe(int write_fd, int *ret_read_fd)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    if (dup2(fds[1], write_fd) < 0)
        return -1;
    close(fds[1]);
    *ret_read_fd = fds[0];
    return 0;
}

static int open_stream(int inherited, int write_fd, int *ret_read_fd)
{
    if (fcntl(inherited, F_GETFD) < 0) {
        if (own_pipe(write_fd, ret_read_fd) < 0)
            return -1;
    } else {
        *ret_read_fd = inherited;
    }
    if (fcntl(*ret_read_fd, F_SETFD, FD_CLOEXEC) < 0)
        return -1;
    return fcntl(*ret_read_fd, F_SETFL, O_NONBLOCK);
}

int ag_worker_capture_init(struct ag_worker *worker)
{
    if (open_stream(AG_WORKER_STDOUT_FD, STDOUT_FILENO, &worker->stdout_fd) < 0)
        return -1;
    if (open_stream(AG_WORKER_STDERR_FD, STDERR_FILENO, &worker->stderr_fd) < 0)
        return -1;
    worker->capture_buffer = sy_malloc(CAPTURE_BYTES);
    worker->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* A line that was printed is in the pipe when the task crashes in the next statement. */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    return worker->kick_fd < 0 ? -1 : 0;
}

/* With capture_mutex held. */
static void drain(struct ag_worker *worker, int fd, uint32_t stream, uint64_t id)
{
    for (;;) {
        ssize_t n = read(fd, worker->capture_buffer, CAPTURE_BYTES);
        if (n <= 0)
            return;
        ag_worker_out_log(worker, id, stream, worker->capture_buffer, (size_t)n);
        if ((size_t)n < CAPTURE_BYTES)
            return;
    }
}

/* With capture_mutex held. */
static void drain_both(struct ag_worker *worker, uint64_t id)
{
    struct pollfd fds[2] = {
        {.fd = worker->stdout_fd, .events = POLLIN},
        {.fd = worker->stderr_fd, .events = POLLIN},
    };
    if (poll(fds, 2, 0) <= 0)
        return;
    if (fds[0].revents & POLLIN)
        drain(worker, worker->stdout_fd, 1, id);
    if (fds[1].revents & POLLIN)
        drain(worker, worker->stderr_fd, 2, id);
}

void ag_worker_capture_end(struct ag_worker *worker, uint64_t id)
{
    fflush(stdout);
    fflush(stderr);
    pthread_mutex_lock(&worker->capture_mutex);
    if (worker->concurrency > 1) {
        pthread_mutex_lock(&worker->mutex);
        for (unsigned i = 0; i < worker->concurrency; i++) {
            const struct ag_worker_thread *thread = &worker->threads[i];
            if (thread->task != NULL && thread->task->msg->id < id)
                id = thread->task->msg->id; /* ids grow: the smallest has run longest */
        }
        pthread_mutex_unlock(&worker->mutex);
    }
    drain_both(worker, id);
    pthread_mutex_unlock(&worker->capture_mutex);
}

static void capture_tick(struct ag_worker *worker)
{
    pthread_mutex_lock(&worker->capture_mutex);
    uint64_t id = 0;
    pthread_mutex_lock(&worker->mutex);
    for (unsigned i = 0; i < worker->concurrency; i++) {
        const struct ag_worker_thread *thread = &worker->threads[i];
        if (thread->task != NULL && (id == 0 || thread->task->msg->id < id))
            id = thread->task->msg->id;
    }
    pthread_mutex_unlock(&worker->mutex);
    drain_both(worker, id);
    pthread_mutex_unlock(&worker->capture_mutex);
}

/* ---- the helper ---- */

struct tick {
    bool busy;   /* some task runs */
    bool slow;   /* some task has run since the last tick */
    bool unread; /* and nobody reads the socket */
};

/* With the mutex held. Tells of tasks that run for longer than a tick. */
static struct tick look(struct ag_worker *worker)
{
    struct tick tick = {0};
    for (unsigned i = 0; i < worker->concurrency; i++) {
        struct ag_worker_thread *thread = &worker->threads[i];
        if (thread->task == NULL)
            continue;
        tick.busy = true;
        if (thread->started == thread->started_seen) {
            tick.slow = true;
            if (thread->started_told != thread->started)
                ag_worker_out_started(worker, thread->task->msg->id);
            thread->started_told = thread->started;
        }
        thread->started_seen = thread->started;
    }
    tick.unread = tick.slow && !worker->reading;
    return tick;
}

void ag_worker_helper_kick(struct ag_worker *worker)
{
    if (!worker->helper_asleep)
        return;
    worker->helper_asleep = false;
    eventfd_t one = 1;
    ssize_t n = write(worker->kick_fd, &one, sizeof(one));
    SY_ASSERT(n == sizeof(one));
}

static void clear_kick(struct ag_worker *worker)
{
    eventfd_t value;
    ssize_t n = read(worker->kick_fd, &value, sizeof(value));
    (void)n; /* empty is fine */
}

/* Nothing runs: wait for the next task, or for output of threads that tasks left behind. */
static void sleep_until_kicked(struct ag_worker *worker)
{
    struct pollfd fds[3] = {
        {.fd = worker->kick_fd, .events = POLLIN},
        {.fd = worker->stdout_fd, .events = POLLIN},
        {.fd = worker->stderr_fd, .events = POLLIN},
    };
    poll(fds, 3, -1);
    clear_kick(worker);
    pthread_mutex_lock(&worker->mutex);
    worker->helper_asleep = false;
    pthread_mutex_unlock(&worker->mutex);
}

/* Takes the role only when something is there, and only to read that: a thread that becomes idle
 * meanwhile finds the role free. */
static void wait_for_a_tick(struct ag_worker *worker, bool unread)
{
    struct pollfd fds[2] = {
        {.fd = worker->kick_fd, .events = POLLIN},
        {.fd = unread ? worker->fd : -1, .events = POLLIN},
    };
    poll(fds, 2, TICK_MS);
    clear_kick(worker);
    if (fds[1].revents != 0)
        ag_worker_poll(worker);
}

/* True when the helper may sleep. */
static bool tick_once(struct ag_worker *worker, unsigned *idle_ticks)
{
    pthread_mutex_lock(&worker->mutex);
    struct tick tick = look(worker);
    *idle_ticks = tick.busy ? 0 : *idle_ticks + 1;
    bool sleep = *idle_ticks > IDLE_TICKS;
    worker->helper_asleep = sleep;
    pthread_mutex_unlock(&worker->mutex);
    if (sleep)
        return true;
    bool capture = tick.slow || !tick.busy;
    if (capture)
        capture_tick(worker);
    if (capture || ag_worker_out_due(worker, ag_worker_monotonic_ns()))
        ag_worker_flush(worker);
    wait_for_a_tick(worker, tick.unread);
    return false;
}

void *ag_worker_helper_main(void *arg)
{
    struct ag_worker *worker = arg;
    unsigned idle_ticks = 0;
    for (;;) {
        if (tick_once(worker, &idle_ticks)) {
            sleep_until_kicked(worker);
            capture_tick(worker);
            ag_worker_flush(worker);
            idle_ticks = 0;
        }
    }
    return NULL;
}
