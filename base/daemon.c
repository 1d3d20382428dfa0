#include "base/daemon.h"

#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

static const int fatal_signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

/* Global by necessity: see daemon.h. The stack serves the main thread, whose overflow could not
 * be reported otherwise. */
static _Atomic(struct sy_log *) abort_log;
static char abort_stack[64 * 1024];

static void handled_signals(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGHUP);
}

static void on_signal_readable(void *arg, uint32_t events)
{
    struct sy_daemon *daemon = arg;
    struct signalfd_siginfo info;
    (void)events;
    /* One a turn: the callback may deinit us, and the descriptor is level-triggered. */
    ssize_t n = read(daemon->signal_io.fd, &info, sizeof(info));
    if (n < 0)
        return; /* EAGAIN or EINTR: it will be reported again */
    SY_ASSERT(n == (ssize_t)sizeof(info));
    daemon->on_signal(daemon->arg, (int)info.ssi_signo);
}

int sy_daemon_init(struct sy_daemon *daemon, struct sy_loop *loop,
                   void (*on_signal)(void *arg, int signal), void *arg)
{
    SY_ASSERT(loop);
    SY_ASSERT(on_signal);
    sigset_t set;
    handled_signals(&set);
    int r = pthread_sigmask(SIG_BLOCK, &set, NULL);
    SY_ASSERT(r == 0);
    signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return sy_trace(-errno);
    *daemon = (struct sy_daemon){.loop = loop, .on_signal = on_signal, .arg = arg, .pid_fd = -1};
    daemon->signal_io = (struct sy_io){fd, EPOLLIN, on_signal_readable, daemon};
    r = sy_io_add(loop, &daemon->signal_io);
    if (r < 0) {
        close(fd);
        return sy_trace(r);
    }
    return 0;
}

void sy_daemon_deinit(struct sy_daemon *daemon)
{
    if (!daemon->loop)
        return;
    sy_io_remove(daemon->loop, &daemon->signal_io);
    close(daemon->signal_io.fd);
    if (daemon->pid_path)
        unlink(daemon->pid_path);
    if (daemon->pid_fd >= 0)
        close(daemon->pid_fd);
    free(daemon->pid_path);
    *daemon = (struct sy_daemon){.pid_fd = -1};
}

void sy_daemon_reset_signals(void)
{
    sigset_t set;
    for (size_t i = 0; i < SY_COUNT_OF(fatal_signals); i++)
        signal(fatal_signals[i], SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
}

static int busy(int fd, const char *path, struct sy_error_text *error)
{
    char pid[24] = "";
    ssize_t n = read(fd, pid, sizeof(pid) - 1);
    pid[n > 0 ? strcspn(pid, "\n") : 0] = 0;
    sy_error_text_set(error, "pid file %s is held by process %s", path, *pid ? pid : "?");
    return sy_trace(-EBUSY);
}

static int write_pid(int fd)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    SY_ASSERT(len > 0 && (size_t)len < sizeof(text));
    if (ftruncate(fd, 0) < 0)
        return -errno;
    ssize_t n = pwrite(fd, text, (size_t)len, 0);
    if (n < 0)
        return -errno;
    return n == len ? 0 : -ENOSPC;
}

/* -EBUSY, with the text set, when another process has it; -ESTALE when it was removed just now by
 * a process that ended between our open and our lock. */
static int lock_and_write_pid(int fd, const char *path, struct sy_error_text *error)
{
    struct stat st;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? busy(fd, path, error) : -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    return st.st_nlink == 0 ? -ESTALE : write_pid(fd);
}

/* The lock, not the file, says that the daemon lives: a lock ends with its process. */
int sy_daemon_write_pid(struct sy_daemon *daemon, const char *path, struct sy_error_text *error)
{
    SY_ASSERT(daemon->pid_fd < 0);
    int fd, r;
    do {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        r = fd < 0 ? -errno : lock_and_write_pid(fd, path, error);
        if (r < 0 && fd >= 0)
            close(fd);
    } while (r == -ESTALE);
    if (r == -EBUSY)
        return r;
    if (r < 0) {
        sy_error_text_set(error, "pid file %s cannot be written: %s", path, strerror(-r));
        return sy_trace(r);
    }
    SY_ASSERT(fd >= 0);
    daemon->pid_fd = fd;
    daemon->pid_path = sy_strdup(path);
    return 0;
}

void sy_daemon_ready(const char *text)
{
    printf("ready %s\n", text);
    fflush(stdout);
}

static void write_text(const char *text)
{
    ssize_t n = write(STDERR_FILENO, text, strlen(text));
    (void)n; /* nowhere left to complain */
}

/* Async-signal-safe: write(2) and atomics only. SA_RESETHAND has restored the default action, so
 * raising again ends the process. */
static void on_fatal_signal(int number)
{
    struct sy_log *log = atomic_exchange(&abort_log, NULL); /* a second crash does not dump again */
    if (log) {
        char text[] = "fatal signal 00; the last log lines:\n";
        text[sizeof("fatal signal ") - 1] = (char)('0' + number / 10 % 10);
        text[sizeof("fatal signal ")] = (char)('0' + number % 10);
        write_text(text);
        sy_log_dump_ring(log, STDERR_FILENO);
        write_text("end of the last log lines\n");
    }
    raise(number);
}

void sy_daemon_dump_on_abort(struct sy_log *log)
{
    atomic_store(&abort_log, log);
    if (!log)
        return;
    stack_t stack = {.ss_sp = abort_stack, .ss_size = sizeof(abort_stack)};
    int r = sigaltstack(&stack, NULL);
    SY_ASSERT(r == 0);
    struct sigaction action = {.sa_handler = on_fatal_signal};
    action.sa_flags = (int)(SA_RESETHAND | SA_ONSTACK | SA_NODEFER);
    for (size_t i = 0; i < SY_COUNT_OF(fatal_signals); i++) {
        r = sigaction(fatal_signals[i], &action, NULL);
        SY_ASSERT(r == 0);
    }
}

int sy_daemon_raise_nofile(uint64_t *ret_files)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return sy_trace(-errno);
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return sy_trace(-errno);
    *ret_files = limit.rlim_cur;
    return 0;
}
