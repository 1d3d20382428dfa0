#include "agent/spawner.h"

#include "agent/events.h"
#include "agent/spawner_wire.h"
#include "base/buf.h"
#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUCKETS 1024
#define RESTART_DELAY_NS SY_NS_PER_S

extern char **environ;

/* A packet that did not fit into the socket yet. */
struct pending {
    struct pending *next;
    struct sy_buf bytes;
    int fds[AG_SPAWN_FDS_MAX];
    unsigned fd_count;
};

struct ag_spawner {
    struct sy_loop *loop;
    struct sy_log *log;
    char *program;
    pid_t pid;
    struct sy_io io; /* fd -1: there is no process */
    struct sy_timer restart;
    struct ag_child *children; /* all, newest first */
    struct ag_child *buckets[BUCKETS];
    uint64_t next_id;
    struct pending *pending, **pending_tail;
    struct sy_buf packet;
};

static void on_io(void *arg, uint32_t events);

/* ---- the process ---- */

static int launch(struct ag_spawner *s, struct sy_error_text *error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return sy_trace(-errno);
    int bytes = (int)AG_SPAWN_PACKET_MAX * 2;
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 3);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    /* Its own group: a terminal's interrupt is for the agent to handle. */
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    char *argv[] = {s->program, NULL};
    int r = posix_spawnp(&s->pid, s->program, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    s->io.fd = pair[0];
    if (r == 0 && fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0) {
        s->io.events = EPOLLIN;
        return sy_io_add(s->loop, &s->io);
    }
    sy_error_text_set(error, "spawner '%s': %s", s->program, strerror(r != 0 ? r : errno));
    close(pair[0]);
    s->io.fd = -1;
    return r != 0 ? -r : -EIO;
}

static void drop_pending(struct ag_spawner *s)
{
    while (s->pending != NULL) {
        struct pending *p = s->pending;
        s->pending = p->next;
        for (unsigned i = 0; i < p->fd_count; i++)
            close(p->fds[i]);
        sy_buf_deinit(&p->bytes);
        free(p);
    }
    s->pending_tail = &s->pending;
}

static void close_process(struct ag_spawner *s)
{
    if (s->io.fd < 0)
        return;
    sy_io_remove(s->loop, &s->io);
    close(s->io.fd); /* it kills everything and ends */
    s->io.fd = -1;
    drop_pending(s);
    pid_t r;
    do
        r = waitpid(s->pid, NULL, 0);
    while (r < 0 && errno == EINTR);
}

static void restart(void *arg)
{
    struct ag_spawner *s = arg;
    struct sy_error_text error;
    if (launch(s, &error) < 0)
        sy_timer_start_in(s->loop, &s->restart, RESTART_DELAY_NS);
}

/* ---- children ---- */

static struct ag_child **find(struct ag_spawner *s, uint64_t id)
{
    struct ag_child **at = &s->buckets[id % BUCKETS];
    while (*at != NULL && (*at)->id != id)
        at = &(*at)->chain;
    return at;
}

static void child_add(struct ag_spawner *s, struct ag_child *child)
{
    child->id = ++s->next_id;
    child->pid = 0;
    child->chain = s->buckets[child->id % BUCKETS];
    s->buckets[child->id % BUCKETS] = child;
    child->previous = NULL;
    child->next = s->children;
    if (s->children != NULL)
        s->children->previous = child;
    s->children = child;
}

static void child_remove(struct ag_spawner *s, struct ag_child *child)
{
    struct ag_child **at = find(s, child->id);
    SY_ASSERT(*at == child);
    *at = child->chain;
    if (child->next != NULL)
        child->next->previous = child->previous;
    if (child->previous != NULL)
        child->previous->next = child->next;
    else
        s->children = child->next;
    child->id = 0;
}

static void spawner_died(struct ag_spawner *s)
{
    sy_log(s->log, &ag_events, AG_EV_SPAWNER_DIED, SY_STR("program", s->program));
    close_process(s);
    sy_timer_start_in(s->loop, &s->restart, RESTART_DELAY_NS);
    while (s->children != NULL) {
        struct ag_child *child = s->children;
        child_remove(s, child);
        struct ag_child_exit exit = {.status = SIGKILL, .spawner_died = true};
        child->events->on_exited(child, &exit);
    }
}

static const char *step_text(uint32_t step)
{
    static const char *const texts[] = {
        [AG_SPAWN_STEP_REQUEST] = "the spawner does not understand the request",
        [AG_SPAWN_STEP_FORK] = "no process can be started",
        [AG_SPAWN_STEP_CGROUP] = "its cgroup cannot be joined",
        [AG_SPAWN_STEP_FDS] = "its file descriptors cannot be set up",
        [AG_SPAWN_STEP_CWD] = "its working directory cannot be entered",
        [AG_SPAWN_STEP_EXEC] = "the program cannot be executed",
    };
    return step < SY_COUNT_OF(texts) ? texts[step] : "unknown failure";
}

static void handle_reply(struct ag_spawner *s, const struct ag_spawn_reply *reply)
{
    struct ag_child *child = *find(s, reply->id);
    if (child == NULL)
        return; /* abandoned */
    if (reply->type == AG_SPAWN_REPLY_STARTED) {
        child->pid = reply->pid;
        child->events->on_started(child, reply->pid);
        return;
    }
    child_remove(s, child);
    if (reply->type == AG_SPAWN_REPLY_FAILED) {
        child->events->on_failed(child, reply->error, step_text(reply->step));
        return;
    }
    struct ag_child_exit exit = {
        .status = reply->status,
        .memory_peak_bytes = (uint64_t)reply->memory_peak_bytes,
        .ran_ns = reply->ran_ns,
    };
    child->events->on_exited(child, &exit);
}

/* ---- the socket ---- */

/* 0: sent, 1: full, negative: the spawner is gone. */
static int transmit(struct ag_spawner *s, const struct sy_buf *bytes, const int *fds,
                    unsigned count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(AG_SPAWN_FDS_MAX * sizeof(int))];
    } control = {0};
    struct iovec part = {bytes->data, bytes->len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(s->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return 0;
    return errno == EAGAIN || errno == ENOBUFS ? 1 : -errno;
}

static void queue(struct ag_spawner *s, const int *fds, unsigned count)
{
    struct pending *p = sy_new(struct pending);
    p->bytes = sy_buf_copy(s->packet.data, s->packet.len);
    for (unsigned i = 0; i < count; i++) {
        p->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        SY_ASSERT(p->fds[i] >= 0); /* the limit is raised at the start, and admission bounds us */
        p->fd_count++;
    }
    if (s->pending == NULL) {
        int r = sy_io_modify(s->loop, &s->io, EPOLLIN | EPOLLOUT);
        SY_ASSERT(r == 0);
    }
    *s->pending_tail = p;
    s->pending_tail = &p->next;
}

/* Sends what lies in s->packet, or keeps it for later. */
static void send_packet(struct ag_spawner *s, const int *fds, unsigned count)
{
    if (s->io.fd < 0)
        return; /* its children were reported dead; a new one is reported by the caller */
    if (s->pending != NULL || transmit(s, &s->packet, fds, count) != 0)
        queue(s, fds, count); /* an error other than "full" shows as the socket's end */
}

static void send_pending(struct ag_spawner *s)
{
    while (s->pending != NULL) {
        struct pending *p = s->pending;
        if (transmit(s, &p->bytes, p->fds, p->fd_count) != 0)
            return;
        s->pending = p->next;
        if (s->pending == NULL)
            s->pending_tail = &s->pending;
        for (unsigned i = 0; i < p->fd_count; i++)
            close(p->fds[i]);
        sy_buf_deinit(&p->bytes);
        free(p);
    }
    int r = sy_io_modify(s->loop, &s->io, EPOLLIN);
    SY_ASSERT(r == 0);
}

static void on_io(void *arg, uint32_t events)
{
    struct ag_spawner *s = arg;
    if (events & EPOLLOUT)
        send_pending(s);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    struct ag_spawn_reply replies[AG_SPAWN_REPLIES_MAX];
    for (unsigned packets = 0; packets < 16; packets++) {
        ssize_t n = recv(s->io.fd, replies, sizeof(replies), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            spawner_died(s);
            return;
        }
        for (size_t i = 0; i < (size_t)n / sizeof(replies[0]); i++)
            handle_reply(s, &replies[i]);
    }
}

/* ---- interface ---- */

int ag_spawner_new(struct ag_spawner **ret_spawner, struct sy_loop *loop, const char *program,
                   struct sy_log *log, struct sy_error_text *error)
{
    struct ag_spawner *s = sy_new(struct ag_spawner);
    s->loop = loop;
    s->log = log;
    s->program = sy_strdup(program);
    s->io = (struct sy_io){.fd = -1, .events = EPOLLIN, .fn = on_io, .arg = s};
    s->pending_tail = &s->pending;
    sy_timer_init(&s->restart, restart, s);
    int r = launch(s, error);
    if (r < 0) {
        free(s->program);
        free(s);
        return r;
    }
    *ret_spawner = s;
    return 0;
}

void ag_spawner_free(struct ag_spawner *s)
{
    if (s == NULL)
        return;
    sy_timer_stop(s->loop, &s->restart);
    close_process(s);
    sy_buf_deinit(&s->packet);
    free(s->program);
    free(s);
}

static uint32_t append_strings(struct sy_buf *buf, const char *const *strings)
{
    uint32_t count = 0;
    for (; strings != NULL && strings[count] != NULL; count++)
        sy_buf_append(buf, strings[count], strlen(strings[count]) + 1);
    return count;
}

static int encode(struct ag_spawner *s, const struct ag_child *child, const struct ag_spawn *spawn)
{
    SY_ASSERT(spawn->fd_count <= AG_SPAWN_FDS_MAX);
    struct ag_spawn_request request = {
        .type = AG_SPAWN_REQUEST_START,
        .id = child->id,
        .fds = spawn->fd_count,
        .files_max = spawn->files_max,
    };
    for (unsigned i = 0; i < spawn->fd_count; i++)
        request.targets[i] = (uint8_t)spawn->fds[i].target;
    sy_buf_clear(&s->packet);
    sy_buf_append(&s->packet, &request, sizeof(request));
    request.argc = append_strings(&s->packet, spawn->argv);
    request.envc = append_strings(&s->packet, spawn->env);
    request.joins = append_strings(&s->packet, spawn->joins);
    const char *cwd = spawn->cwd != NULL ? spawn->cwd : "";
    sy_buf_append(&s->packet, cwd, strlen(cwd) + 1);
    memcpy(s->packet.data, &request, sizeof(request));
    return s->packet.len <= AG_SPAWN_PACKET_MAX && request.argc > 0 ? 0 : E2BIG;
}

int ag_spawner_start(struct ag_spawner *s, struct ag_child *child, const struct ag_spawn *spawn)
{
    if (s->io.fd < 0)
        return EAGAIN; /* died within the last second */
    child_add(s, child);
    int r = encode(s, child, spawn);
    if (r != 0) {
        child_remove(s, child);
        return r;
    }
    int fds[AG_SPAWN_FDS_MAX];
    for (unsigned i = 0; i < spawn->fd_count; i++)
        fds[i] = spawn->fds[i].fd;
    send_packet(s, fds, spawn->fd_count);
    return 0;
}

void ag_spawner_kill(struct ag_spawner *s, struct ag_child *child, int signal)
{
    if (child->id == 0)
        return;
    struct ag_spawn_request request = {
        .type = AG_SPAWN_REQUEST_KILL, .id = child->id, .signal = signal};
    sy_buf_clear(&s->packet);
    sy_buf_append(&s->packet, &request, sizeof(request));
    send_packet(s, NULL, 0);
}

void ag_spawner_abandon(struct ag_spawner *s, struct ag_child *child)
{
    if (child->id == 0)
        return;
    ag_spawner_kill(s, child, SIGKILL);
    child_remove(s, child);
}
