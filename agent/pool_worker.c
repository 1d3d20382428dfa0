/* One worker: its start, its socket, its death. */
#include "agent/pool_impl.h"

#include "agent/events.h"
#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIPE_BYTES (256 << 10)
#define BACKOFF_MIN_NS (100 * SY_NS_PER_MS)
#define BACKOFF_MAX_NS (10 * SY_NS_PER_S)
#define FAILURES_TOLERATED 3
#define LEFT_OVER_BYTES_MAX ((size_t)1 << 20)

#define TO SM_BIT
static const struct sm_state worker_states[AG_POOL_WORKER_STATES] = {
    [AG_POOL_WORKER_SPAWNING] = {"spawning", TO(AG_POOL_WORKER_STARTING) | TO(AG_POOL_WORKER_GONE),
                                 .initial = true},
    [AG_POOL_WORKER_STARTING] = {"starting", TO(AG_POOL_WORKER_READY) | TO(AG_POOL_WORKER_DYING) |
                                                 TO(AG_POOL_WORKER_GONE)},
    [AG_POOL_WORKER_READY] = {"ready", TO(AG_POOL_WORKER_RETIRING) | TO(AG_POOL_WORKER_DYING) |
                                           TO(AG_POOL_WORKER_GONE)},
    [AG_POOL_WORKER_RETIRING] = {"retiring", TO(AG_POOL_WORKER_DYING) | TO(AG_POOL_WORKER_GONE)},
    [AG_POOL_WORKER_DYING] = {"dying", TO(AG_POOL_WORKER_GONE)},
    [AG_POOL_WORKER_GONE] = {"gone", 0, .final = true},
};
#undef TO
const struct sm_table ag_pool_worker_table = {"worker", worker_states, AG_POOL_WORKER_STATES, NULL};

/* ---- what is left after a death ---- */

uint32_t ag_pool_worker_running(const struct ag_pool_worker *w, uint64_t *ret_ids, uint32_t max)
{
    uint32_t count = 0;
    if (atomic_load(&w->page->magic) != AG_WORKER_PAGE_MAGIC) {
        /* A worker that does not use the page: the first ones it was given. */
        const struct ag_pool_task *task = w->tasks.first;
        for (; task != NULL && count < max && count < w->pool->concurrency; task = task->next)
            ret_ids[count++] = task->base.id;
        return count;
    }
    for (uint32_t i = 0; i < w->pool->concurrency && count < max; i++) {
        uint64_t id = atomic_load(&w->page->slots[i].id);
        if (id != 0)
            ret_ids[count++] = id;
    }
    return count;
}

static void drain_pipe(struct ag_pool_worker *w, int fd, uint32_t stream, uint64_t id)
{
    uint8_t buffer[16384];
    for (size_t total = 0; total < LEFT_OVER_BYTES_MAX;) {
        ssize_t n = read(fd, buffer, sizeof(buffer));
        if (n <= 0)
            return;
        ag_exec_log(w->pool->exec, id, stream, (struct sy_span){buffer, (size_t)n});
        total += (size_t)n;
    }
}

static bool contains(const uint64_t *ids, uint32_t count, uint64_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

/* Whether what ran in the worker may have killed it: nothing else says who did, but a task that did
 * not stop when asked is known. */
static enum ag_death death_of(const struct ag_pool_worker *w, uint32_t running)
{
    for (const struct ag_pool_task *task = w->tasks.first; task != NULL; task = task->next) {
        if (w->killed_because != NULL && (task->cancelled || task->timed_out))
            return AG_DEATH_NONE;
    }
    return running == 1 ? AG_DEATH_ALONE : AG_DEATH_SHARED;
}

static void end_running(struct ag_pool_worker *w, struct ag_pool_task *task, enum ag_death death,
                        const struct ag_child_exit *exit, const struct ag_cgroup_usage *usage)
{
    char how[128], message[SY_ERROR_TEXT_MAX];
    ag_describe_exit(how, sizeof(how), exit);
    snprintf(message, sizeof(message), "the worker of environment '%s' %s while the task ran%s%s",
             w->pool->environment, how, w->killed_because != NULL ? ": " : "",
             w->killed_because != NULL ? w->killed_because : "");
    struct ag_result result = {
        .kind = AG_RESULT_LOST,
        .error_code = "WorkerDied",
        .error_message = message,
        .started_ns = ag_pool_running_since(task),
        .finished_ns = sy_loop_realtime_ns(w->pool->exec->loop),
        .memory_peak_bytes = usage->memory_peak_bytes,
    };
    if (task->timed_out) {
        result.kind = AG_RESULT_TIMED_OUT;
        result.error_code = "TimedOut";
        result.error_message = "it ran longer than its time limit, and did not stop when asked";
    } else if (task->cancelled) {
        result.kind = AG_RESULT_CANCELLED;
        result.error_code = "Cancelled";
        result.error_message = "cancelled; it did not stop when asked and was killed";
    } else if (usage->oom_kills > 0 && w->killed_because == NULL) {
        result.kind = AG_RESULT_OUT_OF_MEMORY;
        result.error_code = "OutOfMemory";
        snprintf(message, sizeof(message),
                 "the worker of environment '%s' reached its limit of %llu MiB",
                 w->pool->environment, (unsigned long long)(w->pool->memory_bytes >> 20));
    } else if (!exit->spawner_died) {
        result.death = death;
    }
    ag_pool_task_end(task, &result);
}

static void close_socket(struct ag_pool_worker *w)
{
    if (w->io.fd < 0)
        return;
    if (w->io_added)
        sy_io_remove(w->pool->exec->loop, &w->io);
    close(w->io.fd);
    w->io_added = false;
    w->io.fd = -1;
}

static void remove_from_pool(struct ag_pool_worker *w)
{
    struct ag_pool *pool = w->pool;
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        if (pool->workers[i] != w)
            continue;
        pool->workers[i] = pool->workers[--pool->worker_count];
        break;
    }
    for (struct ag_pool_worker **at = &pool->dirty; *at != NULL; at = &(*at)->dirty_next) {
        if (*at == w) {
            *at = w->dirty_next;
            break;
        }
    }
}

void ag_pool_worker_free(struct ag_pool_worker *w)
{
    struct ag_exec *exec = w->pool->exec;
    ag_spawner_abandon(exec->spawner, &w->child);
    sy_timer_stop(exec->loop, &w->timer);
    close_socket(w);
    remove_from_pool(w);
    ag_cgroup_put(exec->cgroups, w->cgroup);
    if (w->page != NULL)
        munmap(w->page, AG_WORKER_PAGE_BYTES);
    if (w->stdout_fd >= 0)
        close(w->stdout_fd);
    if (w->stderr_fd >= 0)
        close(w->stderr_fd);
    sy_buf_deinit(&w->in);
    sy_buf_deinit(&w->out);
    free(w->gpus);
    free(w);
}

/* It could not start: the next try waits, and after some what waits is refused. */
static void start_failed(struct ag_pool *pool, const char *why)
{
    struct sy_loop *loop = pool->exec->loop;
    unsigned shift = pool->failures < 8 ? pool->failures : 8;
    int64_t delay_ns = BACKOFF_MIN_NS << shift;
    pool->failures++;
    pool->start_after_ns = sy_loop_now_ns(loop) +
                           (delay_ns < BACKOFF_MAX_NS ? delay_ns : BACKOFF_MAX_NS);
    sy_log(pool->exec->log, &ag_events, AG_EV_WORKER_FAILED,
           SY_STR("environment", pool->environment), SY_STR("why", why));
    if (pool->failures < FAILURES_TOLERATED)
        return;
    char message[SY_ERROR_TEXT_MAX];
    snprintf(message, sizeof(message), "environment '%s': no worker can be started: %s",
             pool->environment, why);
    ag_pool_refuse_pending(pool, message);
}

/* The last words of a worker that never became ready. */
static void last_words(struct ag_pool_worker *w, char *ret, size_t size)
{
    char all[8192];
    ssize_t n = read(w->stderr_fd, all, sizeof(all));
    while (n > 0 && all[n - 1] == '\n')
        n--;
    size_t keep = n <= 0 ? 0 : (size_t)n < size - 1 ? (size_t)n : size - 1;
    memcpy(ret, all + (n > 0 ? (size_t)n : 0) - keep, keep);
    ret[keep] = '\0';
    for (char *c = ret; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    }
}

/* All its attempts end or go back; then it is gone. */
static void conclude(struct ag_pool_worker *w, const struct ag_child_exit *exit)
{
    struct ag_pool *pool = w->pool;
    while (w->io_added && ag_pool_worker_read(w) > 0 &&
           recv(w->io.fd, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        ; /* results that it sent before it died */
    close_socket(w);
    struct ag_cgroup_usage usage = {0};
    if (w->cgroup != NULL)
        ag_cgroup_usage(w->cgroup, &usage);
    uint64_t ids[AG_WORKER_CONCURRENCY_MAX];
    uint32_t running = ag_pool_worker_running(w, ids, AG_WORKER_CONCURRENCY_MAX);
    enum ag_pool_worker_state was = (enum ag_pool_worker_state)w->sm.state;
    enum ag_death death = death_of(w, running);
    char how[128], words[256] = "", why[512];
    ag_describe_exit(how, sizeof(how), exit);
    if (was == AG_POOL_WORKER_STARTING)
        last_words(w, words, sizeof(words));
    drain_pipe(w, w->stdout_fd, 1, running > 0 ? ids[0] : 0);
    drain_pipe(w, w->stderr_fd, 2, running > 0 ? ids[0] : 0);
    sm_move(&w->sm, &ag_pool_worker_table, AG_POOL_WORKER_GONE, w);
    remove_from_pool(w); /* nothing is placed here any more */
    while (w->tasks.first != NULL) {
        struct ag_pool_task *task = w->tasks.first;
        if (contains(ids, running, task->base.id))
            end_running(w, task, death, exit, &usage);
        else
            ag_pool_requeue(task);
    }
    if (was == AG_POOL_WORKER_RETIRING) {
        sy_log(pool->exec->log, &ag_events, AG_EV_WORKER_RETIRED,
               SY_STR("environment", pool->environment), SY_U64("worker", w->number));
    } else {
        pool->died++;
        sy_log(pool->exec->log, &ag_events, AG_EV_WORKER_DIED,
               SY_STR("environment", pool->environment), SY_U64("worker", w->number),
               SY_STR("how", how), SY_STR("because", w->killed_because),
               SY_U64("running", running));
    }
    snprintf(why, sizeof(why), "it %s before it was ready%s%s", how, words[0] ? ": " : "", words);
    ag_pool_worker_free(w);
    if (was == AG_POOL_WORKER_STARTING)
        start_failed(pool, why);
    ag_pool_dispatch(pool);
}

/* ---- its life ---- */

/* Its own message may overtake the spawner's: ready is who has both. */
void ag_pool_worker_ready(struct ag_pool_worker *w)
{
    if (!w->said_hello || w->sm.state != AG_POOL_WORKER_STARTING)
        return;
    sm_move(&w->sm, &ag_pool_worker_table, AG_POOL_WORKER_READY, w);
    sy_timer_stop(w->pool->exec->loop, &w->timer);
    w->idle_since_ns = sy_loop_now_ns(w->pool->exec->loop);
    w->pool->failures = 0;
}

static void on_child_started(struct ag_child *child, pid_t pid)
{
    struct ag_pool_worker *w = (struct ag_pool_worker *)child;
    sm_move(&w->sm, &ag_pool_worker_table, AG_POOL_WORKER_STARTING, w);
    /* Only now: the worker's first words may be faster than the spawner's. */
    w->io_added = sy_io_add(w->pool->exec->loop, &w->io) == 0;
    if (!w->io_added && w->killed_because == NULL)
        w->killed_because = "its socket cannot be watched";
    ag_exec_note_process(w->pool->exec, pid, true);
    sy_log(w->pool->exec->log, &ag_events, AG_EV_WORKER_STARTED,
           SY_STR("environment", w->pool->environment), SY_U64("worker", w->number),
           SY_U64("pid", (uint64_t)pid));
    if (w->killed_because != NULL)
        ag_pool_worker_kill(w, w->killed_because);
    ag_pool_worker_ready(w);
    ag_pool_dispatch(w->pool);
}

static void on_child_failed(struct ag_child *child, int error, const char *what)
{
    struct ag_pool_worker *w = (struct ag_pool_worker *)child;
    struct ag_pool *pool = w->pool;
    char why[512];
    snprintf(why, sizeof(why), "%s: %s: %s", pool->command[0], what, strerror(error));
    SY_ASSERT(w->tasks.count == 0);
    sm_move(&w->sm, &ag_pool_worker_table, AG_POOL_WORKER_GONE, w);
    ag_pool_worker_free(w);
    start_failed(pool, why);
    ag_pool_dispatch(pool);
}

static void on_child_exited(struct ag_child *child, const struct ag_child_exit *exit)
{
    struct ag_pool_worker *w = (struct ag_pool_worker *)child;
    ag_exec_note_process(w->pool->exec, child->pid, false);
    conclude(w, exit);
}

static const struct ag_child_events child_events = {
    .on_started = on_child_started,
    .on_failed = on_child_failed,
    .on_exited = on_child_exited,
};

void ag_pool_worker_kill(struct ag_pool_worker *w, const char *because)
{
    if (w->killed_because == NULL)
        w->killed_because = because;
    if (w->sm.state == AG_POOL_WORKER_SPAWNING || w->sm.state == AG_POOL_WORKER_GONE)
        return; /* when it has started */
    if (w->sm.state != AG_POOL_WORKER_DYING)
        sm_move(&w->sm, &ag_pool_worker_table, AG_POOL_WORKER_DYING, w);
    sy_timer_stop(w->pool->exec->loop, &w->timer);
    ag_spawner_kill(w->pool->exec->spawner, &w->child, SIGKILL);
}

void ag_pool_worker_retire(struct ag_pool_worker *w)
{
    SY_ASSERT(w->tasks.count == 0);
    sm_move(&w->sm, &ag_pool_worker_table, AG_POOL_WORKER_RETIRING, w);
    ag_pool_send_shutdown(w);
    w->heard_ns = ag_pool_awake_ns(w->pool);
    sy_timer_start_in(w->pool->exec->loop, &w->timer, ag_pool_worker_patience_ns(w));
}

int64_t ag_pool_worker_patience_ns(const struct ag_pool_worker *w)
{
    int64_t left_ns = w->heard_ns + w->pool->exec->start_timeout_ns - ag_pool_awake_ns(w->pool);
    return left_ns > 0 ? left_ns : 0;
}

static void on_worker_timer(void *arg)
{
    struct ag_pool_worker *w = arg;
    bool starting = w->sm.state == AG_POOL_WORKER_STARTING;
    bool silent = w->io.fd >= 0; /* else it has closed its socket, and should have ended */
    if (silent && w->sm.state != AG_POOL_WORKER_SPAWNING && ag_pool_worker_patience_ns(w) > 0) {
        sy_timer_start_in(w->pool->exec->loop, &w->timer, ag_pool_worker_patience_ns(w));
        return;
    }
    if (w->sm.state == AG_POOL_WORKER_SPAWNING) { /* the spawner is busy: go on waiting */
        sy_timer_start_in(w->pool->exec->loop, &w->timer,
                          w->io.fd < 0 ? SY_NS_PER_MS : w->pool->exec->start_timeout_ns);
        return;
    }
    sy_log(w->pool->exec->log, &ag_events, AG_EV_WORKER_HUNG,
           SY_STR("environment", w->pool->environment), SY_U64("worker", w->number));
    if (starting) /* counts as a failed start */
        ag_spawner_kill(w->pool->exec->spawner, &w->child, SIGKILL);
    else
        ag_pool_worker_kill(w, "it did not end when asked");
}

static void on_socket(void *arg, uint32_t events)
{
    struct ag_pool_worker *w = arg;
    struct ag_pool *pool = w->pool;
    int r = 1;
    if (events & EPOLLOUT && ag_pool_worker_write(w) < 0)
        r = -EPIPE;
    if (r > 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        r = ag_pool_worker_read(w);
    if (r > 0) {
        ag_pool_dispatch(pool);
        return;
    }
    if (r < 0)
        sy_log(pool->exec->log, &ag_events, AG_EV_WORKER_GARBAGE,
               SY_STR("environment", pool->environment), SY_U64("worker", w->number),
               SY_STR("error", strerror(-r)));
    close_socket(w); /* its exit follows; one that goes on without a socket is killed */
    bool starting = w->sm.state <= AG_POOL_WORKER_STARTING;
    if (r < 0 && !starting)
        ag_pool_worker_kill(w, "it sent what is not a frame");
    else
        sy_timer_start_in(pool->exec->loop, &w->timer, r < 0 ? 0 : SY_NS_PER_S);
    if (w->sm.state == AG_POOL_WORKER_READY)
        sm_move(&w->sm, &ag_pool_worker_table, AG_POOL_WORKER_DYING, w);
    ag_pool_dispatch(pool);
}

/* ---- the start ---- */

struct worker_fds {
    int socket, page, out_read, out_write, err_read, err_write;
};

static void close_fds(struct worker_fds *fds)
{
    int all[] = {fds->socket, fds->page, fds->out_write, fds->err_write};
    for (size_t i = 0; i < SY_COUNT_OF(all); i++) {
        if (all[i] >= 0)
            close(all[i]);
    }
}

static int make_pipe(int *ret_read, int *ret_write)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return errno;
    *ret_read = fds[0];
    *ret_write = fds[1];
    (void)fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES); /* less where the user's share is used up */
    return fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? errno : 0;
}

static int make_fds(struct ag_pool_worker *w, struct worker_fds *fds)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return errno;
    w->io.fd = pair[0];
    fds->socket = pair[1];
    int bytes = 1 << 20;
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    (void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    fds->page = memfd_create("switchyard-worker-page", MFD_CLOEXEC);
    if (fds->page < 0 || ftruncate(fds->page, AG_WORKER_PAGE_BYTES) < 0)
        return errno;
    void *page = mmap(NULL, AG_WORKER_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds->page, 0);
    if (page == MAP_FAILED)
        return errno;
    w->page = page;
    int r = make_pipe(&w->stdout_fd, &fds->out_write);
    if (r == 0)
        r = make_pipe(&w->stderr_fd, &fds->err_write);
    return r;
}

static int spawn(struct ag_pool_worker *w, const struct worker_fds *fds)
{
    struct ag_pool *pool = w->pool;
    struct ag_exec *exec = pool->exec;
    struct ag_env env = {0};
    ag_env_add_base(&env, exec, w->gpus);
    ag_env_add(&env, "SWITCHYARD_ENVIRONMENT", "%s", pool->environment);
    ag_env_set_all(&env, (const char *const *)pool->env.items);
    const struct ag_spawn_fd list[] = {
        {exec->null_fd, 0},
        {fds->out_write, 1},
        {fds->err_write, 2},
        {fds->socket, AG_WORKER_SOCKET_FD},
        {fds->page, AG_WORKER_PAGE_FD},
        {w->stdout_fd, AG_WORKER_STDOUT_FD},
        {w->stderr_fd, AG_WORKER_STDERR_FD},
    };
    struct ag_spawn spawn = {
        .argv = (const char *const *)pool->command,
        .env = (const char *const *)env.items,
        .joins = w->cgroup != NULL ? ag_cgroup_joins(w->cgroup) : NULL,
        .cwd = exec->work_dir,
        .fds = list,
        .fd_count = SY_COUNT_OF(list),
        .files_max = exec->files_max,
    };
    int r = ag_spawner_start(exec->spawner, &w->child, &spawn);
    ag_env_deinit(&env);
    return r;
}

int ag_pool_worker_start(struct ag_pool *pool, const char *gpus)
{
    struct ag_exec *exec = pool->exec;
    SY_ASSERT(pool->worker_count < pool->max);
    struct ag_pool_worker *w = sy_new(struct ag_pool_worker);
    w->child.events = &child_events;
    w->pool = pool;
    w->number = ++pool->next_worker;
    w->gpus = sy_strdup(gpus);
    w->stdout_fd = w->stderr_fd = -1;
    w->io = (struct sy_io){.fd = -1, .events = EPOLLIN, .fn = on_socket, .arg = w};
    sm_init(&w->sm, &ag_pool_worker_table, AG_POOL_WORKER_SPAWNING);
    sy_timer_init(&w->timer, on_worker_timer, w);
    pool->workers[pool->worker_count++] = w;
    struct ag_cgroup_limits limits = {.memory_bytes = pool->memory_bytes, .pids = exec->pids_max};
    w->cgroup = ag_cgroup_take(exec->cgroups, &limits);
    struct worker_fds fds = {-1, -1, -1, -1, -1, -1};
    int r = make_fds(w, &fds);
    if (r == 0)
        r = spawn(w, &fds);
    close_fds(&fds);
    if (r != 0) {
        ag_pool_worker_free(w);
        pool->start_after_ns = sy_loop_now_ns(exec->loop) + BACKOFF_MIN_NS;
        return r;
    }
    pool->started++;
    w->heard_ns = ag_pool_awake_ns(pool);
    sy_timer_start_in(exec->loop, &w->timer, exec->start_timeout_ns);
    return 0;
}
