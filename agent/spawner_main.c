/*
 * switchyard-spawner: starts, kills and reaps the processes of one agent.
 *
 * Apart from the agent because a process with gRPC's threads must not fork, and because a small
 * process forks fast. It links libc only. One thread, no allocation that grows with time.
 *
 * Each process gets its own session and process group, and dies with the spawner (PDEATHSIG). Kills
 * are free of races: the spawner is the parent, so a pid is not given to another process before it
 * reaps, and it forgets the id when it does. When a group's leader ends, the rest of the group is
 * killed.
 *
 * The socket's end is the agent's end: everything is killed.
 */
#include "agent/spawner_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BUCKETS 1024
#define CHILD_STACK_BYTES ((size_t)64 << 10)
#define REQUESTS_EACH_TURN 8
#define EVENTS_MAX 64
#define REAP_ROUNDS 500
#define REAP_PAUSE_NS 1000000L

struct child {
    struct child *next;
    uint64_t id;
    pid_t pid;
    int pidfd;
    int64_t since_ns;
};

struct spawner {
    int socket, epoll;
    pid_t pid;
    struct child *buckets[BUCKETS];
    struct ag_spawn_reply replies[AG_SPAWN_REPLIES_MAX];
    unsigned reply_count;
    uint8_t packet[AG_SPAWN_PACKET_MAX];
    uint8_t stack[CHILD_STACK_BYTES] __attribute__((aligned(64)));
};

/* A request, unpacked; the strings lie in the packet. */
struct start {
    const struct ag_spawn_request *request;
    char **argv, **env, **joins;
    const char *cwd;
    const char *program;
    int fds[AG_SPAWN_FDS_MAX];
    pid_t parent;
    /* from the child, which shares our memory until it execs */
    volatile int error;
    volatile enum ag_spawn_step step;
};

/* ---- replies ---- */

static void flush(struct spawner *s)
{
    if (s->reply_count == 0)
        return;
    ssize_t n;
    do
        n = send(s->socket, s->replies, s->reply_count * sizeof(s->replies[0]), MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    s->reply_count = 0; /* an agent that is gone shows as the socket's end */
}

static void reply(struct spawner *s, const struct ag_spawn_reply *message)
{
    if (s->reply_count == AG_SPAWN_REPLIES_MAX)
        flush(s);
    s->replies[s->reply_count++] = *message;
}

/* ---- children ---- */

static struct child **find(struct spawner *s, uint64_t id)
{
    struct child **at = &s->buckets[id % BUCKETS];
    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void kill_all(struct spawner *s)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct child *c = s->buckets[i]; c != NULL; c = c->next)
            kill(-c->pid, SIGKILL);
    }
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void reap(struct spawner *s, struct child *c)
{
    struct rusage usage = {0};
    int status = 0;
    kill(-c->pid, SIGKILL); /* what the leader left behind; its pid is still taken */
    pid_t r;
    do
        r = wait4(c->pid, &status, 0, &usage);
    while (r < 0 && errno == EINTR);
    struct ag_spawn_reply message = {
        .type = AG_SPAWN_REPLY_EXITED,
        .id = c->id,
        .pid = c->pid,
        .status = status,
        .memory_peak_bytes = (int64_t)usage.ru_maxrss * 1024,
        .cpu_ns = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
                  (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000,
        .ran_ns = now_ns() - c->since_ns,
    };
    reply(s, &message);
    struct child **at = find(s, c->id);
    *at = c->next;
    /* Closing alone is not enough: a child that is just executing still holds a copy of the
     * descriptor (the kernel wakes us before it closes those), and epoll would tell us again. */
    epoll_ctl(s->epoll, EPOLL_CTL_DEL, c->pidfd, NULL);
    close(c->pidfd);
    free(c);
}

/* Nobody is left when we are gone: the agent waits for that. */
static void reap_all(void)
{
    for (unsigned i = 0; i < REAP_ROUNDS; i++) {
        pid_t r;
        while ((r = waitpid(-1, NULL, WNOHANG)) > 0)
            ;
        if (r < 0)
            return; /* no children */
        nanosleep(&(struct timespec){.tv_nsec = REAP_PAUSE_NS}, NULL);
    }
}

static void free_all(struct spawner *s)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (s->buckets[i] != NULL) {
            struct child *c = s->buckets[i];
            s->buckets[i] = c->next;
            free(c);
        }
    }
    free(s);
}

/* ---- starting one ---- */

/* From here to exec only what is async-signal-safe: the memory is the parent's. */
_Noreturn static void child_fail(struct start *start, enum ag_spawn_step step)
{
    start->error = errno;
    start->step = step;
    _exit(127);
}

static void child_join(struct start *start)
{
    for (uint32_t i = 0; i < start->request->joins; i++) {
        int fd = open(start->joins[i], O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1)
            child_fail(start, AG_SPAWN_STEP_CGROUP);
        close(fd);
    }
}

static void child_signals(void)
{
    static const int changed[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT};
    for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++)
        signal(changed[i], SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void child_limits(const struct start *start)
{
    struct rlimit limit;
    if (start->request->files_max == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    if (start->request->files_max < limit.rlim_max)
        limit.rlim_cur = start->request->files_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int child_main(void *arg)
{
    struct start *start = arg;
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != start->parent)
        _exit(127);
    child_join(start);
    child_limits(start);
    for (uint32_t i = 0; i < start->request->fds; i++) {
        if (dup2(start->fds[i], start->request->targets[i]) < 0)
            child_fail(start, AG_SPAWN_STEP_FDS);
    }
    if (start->cwd[0] != '\0' && chdir(start->cwd) < 0)
        child_fail(start, AG_SPAWN_STEP_CWD);
    child_signals();
    execve(start->program, start->argv, start->env);
    child_fail(start, AG_SPAWN_STEP_EXEC);
    return 0;
}

static const char *search_path(char **env)
{
    for (; *env != NULL; env++) {
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    }
    return "/usr/local/bin:/usr/bin:/bin";
}

/* As execvp() does, but before the fork: a missing program is told apart from a broken one. */
static const char *find_program(const char *name, char **env, char *buffer, size_t size)
{
    if (strchr(name, '/') != NULL)
        return name;
    const char *path = search_path(env);
    while (*path != '\0') {
        size_t length = strcspn(path, ":");
        int n = snprintf(buffer, size, "%.*s/%s", (int)length, path, name);
        if (n > 0 && (size_t)n < size && access(buffer, X_OK) == 0)
            return buffer;
        path += length + (path[length] == ':');
    }
    errno = ENOENT;
    return NULL;
}

static void fail(struct spawner *s, uint64_t id, int error, enum ag_spawn_step step)
{
    struct ag_spawn_reply message = {
        .type = AG_SPAWN_REPLY_FAILED, .id = id, .error = error, .step = step};
    reply(s, &message);
}

static void start_child(struct spawner *s, struct start *start)
{
    uint64_t id = start->request->id;
    char program[4096];
    start->program = find_program(start->argv[0], start->env, program, sizeof(program));
    if (start->program == NULL) {
        fail(s, id, errno, AG_SPAWN_STEP_EXEC);
        return;
    }
    start->parent = s->pid;
    int pidfd = -1;
    pid_t pid = clone(child_main, s->stack + sizeof(s->stack),
                      CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, start, &pidfd);
    if (pid < 0) {
        fail(s, id, errno, AG_SPAWN_STEP_FORK);
        return;
    }
    struct child *c = start->error == 0 ? calloc(1, sizeof(*c)) : NULL;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (c == NULL || epoll_ctl(s->epoll, EPOLL_CTL_ADD, pidfd, &event) < 0) {
        int error = start->error != 0 ? start->error : errno;
        kill(-pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(pidfd);
        free(c);
        fail(s, id, error, start->error != 0 ? start->step : AG_SPAWN_STEP_FORK);
        return;
    }
    *c = (struct child){.id = id, .pid = pid, .pidfd = pidfd, .since_ns = now_ns()};
    c->next = s->buckets[id % BUCKETS];
    s->buckets[id % BUCKETS] = c;
    struct ag_spawn_reply message = {.type = AG_SPAWN_REPLY_STARTED, .id = id, .pid = pid};
    reply(s, &message);
}

/* ---- requests ---- */

/* The next of the packet's strings; NULL when it is cut. */
static char *next_string(char **at, const char *end)
{
    char *string = *at;
    const char *nul = memchr(string, '\0', (size_t)(end - string));
    if (nul == NULL)
        return NULL;
    *at += nul - string + 1;
    return string;
}

static bool unpack(struct spawner *s, size_t size, struct start *start)
{
    const struct ag_spawn_request *r = start->request;
    char *at = (char *)s->packet + sizeof(*r);
    const char *end = (char *)s->packet + size;
    size_t strings = (size_t)r->argc + r->envc + r->joins;
    if (r->argc == 0 || strings > size || r->fds > AG_SPAWN_FDS_MAX)
        return false;
    char **table = calloc(strings + 3, sizeof(*table));
    if (table == NULL)
        return false;
    start->argv = table;
    start->env = start->argv + r->argc + 1;
    start->joins = start->env + r->envc + 1;
    char **parts[] = {start->argv, start->env, start->joins};
    uint32_t counts[] = {r->argc, r->envc, r->joins};
    for (unsigned p = 0; p < 3; p++) {
        for (uint32_t i = 0; i < counts[p]; i++) {
            parts[p][i] = next_string(&at, end);
            if (parts[p][i] == NULL)
                return false;
        }
    }
    start->cwd = next_string(&at, end);
    return start->cwd != NULL;
}

static void handle_start(struct spawner *s, size_t size, struct start *start)
{
    if (unpack(s, size, start))
        start_child(s, start);
    else
        fail(s, start->request->id, EINVAL, AG_SPAWN_STEP_REQUEST);
    free(start->argv);
}

static unsigned received_fds(struct msghdr *message, int *fds)
{
    unsigned count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), count * sizeof(int));
    }
    return count;
}

/* 1: handled one, 0: nothing there, -1: the agent is gone. */
static int receive(struct spawner *s)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(AG_SPAWN_FDS_MAX * sizeof(int))];
    } control;
    struct iovec part = {s->packet, sizeof(s->packet)};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = recvmsg(s->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (n == 0)
        return -1;
    struct ag_spawn_request request;
    struct start start = {.request = &request};
    unsigned fds = received_fds(&message, start.fds);
    if ((size_t)n >= sizeof(request)) {
        memcpy(&request, s->packet, sizeof(request));
        const struct child *c = *find(s, request.id);
        if (request.type == AG_SPAWN_REQUEST_KILL && c != NULL)
            kill(-c->pid, request.signal);
        else if (request.type == AG_SPAWN_REQUEST_START && request.fds == fds)
            handle_start(s, (size_t)n, &start);
        else if (request.type == AG_SPAWN_REQUEST_START)
            fail(s, request.id, EINVAL, AG_SPAWN_STEP_REQUEST);
    }
    for (unsigned i = 0; i < fds; i++)
        close(start.fds[i]);
    return 1;
}

/* ---- the process ---- */

static int run(struct spawner *s)
{
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int n = epoll_wait(s->epoll, events, EVENTS_MAX, -1);
        if (n < 0 && errno != EINTR)
            return 1;
        bool readable = false;
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                readable = true;
            else
                reap(s, events[i].data.ptr);
        }
        for (int i = 0, got = 1; readable && got == 1 && i < REQUESTS_EACH_TURN; i++) {
            got = receive(s);
            if (got < 0)
                return 0;
        }
        flush(s);
    }
}

/* Fills the low numbers, and moves the socket out of them. */
static int reserve(int socket)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int moved = fcntl(socket, F_DUPFD_CLOEXEC, AG_SPAWN_FD_RESERVED);
    for (int low = 0; low < AG_SPAWN_FD_RESERVED; low++) {
        if (low != fd && low != STDERR_FILENO && dup3(fd, low, O_CLOEXEC) < 0)
            return -1;
    }
    fcntl(STDERR_FILENO, F_SETFD, FD_CLOEXEC);
    /* What the agent's own parent left open is not the tasks'. */
    if (moved > AG_SPAWN_FD_RESERVED)
        close_range(AG_SPAWN_FD_RESERVED, (unsigned)moved - 1, 0);
    if (moved >= 0)
        close_range((unsigned)moved + 1, ~0u, 0);
    return moved;
}

int main(void)
{
    struct spawner *s = calloc(1, sizeof(*s));
    if (s == NULL || fcntl(3, F_GETFD) < 0) {
        fputs("switchyard-spawner: fd 3 is no socket: it is started by an agent\n", stderr);
        free(s);
        return 2;
    }
    signal(SIGINT, SIG_IGN); /* of a terminal: the agent decides */
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    s->pid = getpid();
    s->socket = reserve(3);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (s->socket < 0 || s->epoll < 0 ||
        epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->socket, &event) < 0) {
        perror("switchyard-spawner");
        free(s);
        return 1;
    }
    int status = run(s);
    kill_all(s);
    reap_all();
    free_all(s);
    return status;
}
