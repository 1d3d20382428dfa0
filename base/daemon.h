/*
 * What every daemon's main.c shares: signals, pid file, readiness, crash dump, file limit.
 * Used in this order, before any thread is started:
 *
 *     sy_daemon_dump_on_abort(log);
 *     sy_daemon_raise_nofile(&files);
 *     sy_daemon_init(&daemon, loop, on_signal, self);
 *     sy_daemon_write_pid(&daemon, path, &error);
 *     ... start serving ...
 *     sy_daemon_ready("shard 10.0.0.1:8090");
 *     sy_loop_run(loop);
 *     sy_daemon_deinit(&daemon);
 *
 * The one mutable global of base lives in daemon.c: a signal handler has no argument through which
 * it could find the log.
 */
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"

struct sy_daemon {
    struct sy_loop *loop;
    struct sy_io signal_io;
    void (*on_signal)(void *arg, int signal);
    void *arg;
    int pid_fd; /* locked while we live; -1 = none */
    char *pid_path;
};

/* SIGTERM, SIGINT and SIGHUP are blocked and arrive as on_signal() on the loop; SIGPIPE is ignored.
 * Call it before the first thread is made, since threads inherit the mask. A child process inherits
 * it too: reset it with sy_daemon_reset_signals() between fork and exec. */
int sy_daemon_init(struct sy_daemon *daemon, struct sy_loop *loop,
                   void (*on_signal)(void *arg, int signal), void *arg) SY_MUST_USE;
/* Also removes the pid file. The signals stay blocked: the process is about to end. */
void sy_daemon_deinit(struct sy_daemon *daemon);
/* Default actions and an empty mask. Async-signal-safe. */
void sy_daemon_reset_signals(void);

/* Writes our pid and keeps the file locked. -EBUSY, with the other's pid in error, while another
 * process holds it; a file left by a crash is taken over. */
int sy_daemon_write_pid(struct sy_daemon *daemon, const char *path,
                        struct sy_error_text *error) SY_MUST_USE;

/* One line to stdout: "ready <text>". Scripts and tests wait for it. */
void sy_daemon_ready(const char *text);

/* SIGABRT, SIGSEGV, SIGBUS, SIGFPE and SIGILL write the last log lines to stderr, then end the
 * process as they would have (with a core dump). NULL takes the log out again; do that before
 * freeing it. */
void sy_daemon_dump_on_abort(struct sy_log *log);

/* Raises the soft limit of open files to the hard one. */
int sy_daemon_raise_nofile(uint64_t *ret_files) SY_MUST_USE;
