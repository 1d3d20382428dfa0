#include "controlplane/witness.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STAT_BYTES_MAX 4096

/* One that is watched. */
struct watched {
    struct watched *next;
    struct proc *proc;
    char text[CP_WITNESS_TEXT_SIZE];
    struct sy_io io; /* fd -1: not any more, or it cannot be */
    bool ended, asked;
};

struct proc {
    struct cp_witness base; /* first */
    struct sy_loop *loop;
    struct watched *list;
    char self[CP_WITNESS_TEXT_SIZE];
};

/* ---- who a process is ---- */

struct process {
    char boot[CP_BOOT_ID_SIZE];
    uint64_t processes, times; /* namespaces */
    uint64_t start;            /* ticks since the kernel's, in that namespace of time */
    int pid;
};

void cp_boot_id(char ret[CP_BOOT_ID_SIZE])
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = {0};
    ret[0] = '\0';
    if (sy_file_read("/proc/sys/kernel/random/boot_id", CP_BOOT_ID_SIZE, &bytes) < 0)
        return;
    sy_buf_append(&bytes, "", 1);
    size_t len = strcspn((const char *)bytes.data, " \n");
    if (len >= CP_BOOT_ID_SIZE)
        return;
    memcpy(ret, bytes.data, len);
    ret[len] = '\0';
}

/* The fields of /proc/PID/stat; its second one, a name in parentheses, may hold anything. */
static int read_start(int pid, uint64_t *ret_start)
{
    char path[64];
    int number = 0;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = {0};
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int r = sy_file_read(path, STAT_BYTES_MAX, &bytes);
    if (r < 0)
        return r;
    sy_buf_append(&bytes, "", 1);
    const char *text = (const char *)bytes.data, *after = strrchr(text, ')');
    /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
    if (after == NULL || sscanf(text, "%d", &number) != 1 || number != pid ||
        sscanf(after,
               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
               "%*d %" SCNu64,
               ret_start) != 1)
        return -EBADMSG; /* among others: /proc is of another namespace */
    return 0;
}

static uint64_t read_namespace(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_ino : 0; /* a kernel without such ones has one of all */
}

static void make_self(char ret[CP_WITNESS_TEXT_SIZE])
{
    struct process p = {.pid = getpid()};
    cp_boot_id(p.boot);
    p.processes = read_namespace("/proc/self/ns/pid");
    p.times = read_namespace("/proc/self/ns/time");
    ret[0] = '\0';
    if (p.boot[0] == '\0' || p.processes == 0 || read_start(p.pid, &p.start) < 0)
        return;
    snprintf(ret, CP_WITNESS_TEXT_SIZE, "%s %" PRIu64 " %" PRIu64 " %d %" PRIu64, p.boot,
             p.processes, p.times, p.pid, p.start);
}

static bool read_process(const char *text, struct process *ret)
{
    int end = -1;
    _Static_assert(CP_BOOT_ID_SIZE == 64, "in the format");
    /* NOLINTNEXTLINE(cert-err34-c): what does not fit is another process's, and not watched */
    int count = sscanf(text, "%63s %" SCNu64 " %" SCNu64 " %d %" SCNu64 "%n", ret->boot,
                       &ret->processes, &ret->times, &ret->pid, &ret->start, &end);
    return count == 5 && text[end] == '\0' && ret->pid > 0;
}

static bool is_near(const struct process *a, const struct process *b)
{
    return strcmp(a->boot, b->boot) == 0 && a->processes == b->processes && a->times == b->times;
}

/* ---- watching ---- */

static void stop_watching(struct watched *watched)
{
    if (watched->io.fd < 0)
        return;
    sy_io_remove(watched->proc->loop, &watched->io);
    close(watched->io.fd);
    watched->io.fd = -1;
}

static void on_ended(void *arg, uint32_t events)
{
    struct watched *watched = arg;
    struct cp_witness *base = &watched->proc->base;
    if ((events & EPOLLIN) == 0)
        return;
    stop_watching(watched);
    watched->ended = true;
    if (base->on_ended != NULL)
        base->on_ended(base->ctx);
}

/* The handle is of whoever has the number now. If that is another process than is meant, the one
 * that is meant has ended; so it has, in any case, when the one of the handle ends. */
static void watch(struct watched *watched)
{
    struct process self, other;
    uint64_t start;
    if (!read_process(watched->proc->self, &self) || !read_process(watched->text, &other) ||
        !is_near(&self, &other))
        return;
    int fd = (int)syscall(SYS_pidfd_open, other.pid, 0);
    if (fd < 0) {
        watched->ended = errno == ESRCH;
        return;
    }
    struct pollfd now = {.fd = fd, .events = POLLIN};
    watched->ended = (read_start(other.pid, &start) == 0 && start != other.start) ||
                     (poll(&now, 1, 0) == 1 && (now.revents & POLLIN) != 0);
    watched->io = (struct sy_io){fd, EPOLLIN, on_ended, watched};
    if (!watched->ended && sy_io_add(watched->proc->loop, &watched->io) == 0)
        return;
    watched->io.fd = -1;
    close(fd);
}

static bool has_ended(struct cp_witness *base, const char *process)
{
    struct proc *proc = (struct proc *)base;
    struct watched *watched = proc->list;
    while (watched != NULL && strcmp(watched->text, process) != 0)
        watched = watched->next;
    if (watched == NULL && strlen(process) < CP_WITNESS_TEXT_SIZE) {
        watched = sy_new(struct watched);
        *watched = (struct watched){.next = proc->list, .proc = proc, .io = {.fd = -1}};
        memcpy(watched->text, process, strlen(process) + 1);
        proc->list = watched;
        watch(watched);
    }
    if (watched == NULL)
        return false;
    watched->asked = true;
    return watched->ended;
}

static void forget(struct cp_witness *base)
{
    struct proc *proc = (struct proc *)base;
    struct watched **at = &proc->list, *watched;
    while ((watched = *at) != NULL) {
        bool asked = watched->asked;
        watched->asked = false;
        if (asked) {
            at = &watched->next;
            continue;
        }
        *at = watched->next;
        stop_watching(watched);
        free(watched);
    }
}

/* ---- life ---- */

struct cp_witness *cp_witness_proc_new(struct sy_loop *loop)
{
    static const struct cp_witness_ops ops = {has_ended, forget};
    struct proc *proc = sy_new(struct proc);
    proc->base.ops = &ops;
    proc->loop = loop;
    make_self(proc->self);
    return &proc->base;
}

const char *cp_witness_proc_self(const struct cp_witness *base)
{
    return ((const struct proc *)base)->self;
}

void cp_witness_proc_free(struct cp_witness *base)
{
    if (base == NULL)
        return;
    struct proc *proc = (struct proc *)base;
    for (struct watched *watched = proc->list; watched != NULL; watched = watched->next)
        watched->asked = false;
    forget(base);
    free(proc);
}
