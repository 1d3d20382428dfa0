/*
 * The agent's end of the spawner (spawner_main.c): starts and kills processes, and hears when they
 * end.
 *
 * On the agent's loop. When the spawner itself dies, all its processes die with it: each is
 * reported as ended by SIGKILL with `spawner_died`, and a new spawner is started, at most one a
 * second.
 */
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ag_spawner;
struct ag_child;

struct ag_child_exit {
    int status; /* as from wait(2) */
    bool spawner_died;
    uint64_t memory_peak_bytes; /* of its largest process */
    int64_t ran_ns;             /* as the spawner saw it, however late it is heard; 0: not known */
};

struct ag_child_events {
    void (*on_started)(struct ag_child *child, pid_t pid);
    /* It never ran. `what` is a sentence. */
    void (*on_failed)(struct ag_child *child, int error, const char *what);
    void (*on_exited)(struct ag_child *child, const struct ag_child_exit *exit);
};

/* Embedded in its owner, from ag_spawner_start() until on_failed or on_exited. */
struct ag_child {
    const struct ag_child_events *events;
    uint64_t id;
    pid_t pid; /* 0 until on_started */
    struct ag_child *next, *previous;
    struct ag_child *chain; /* in its hash bucket */
};

struct ag_spawn_fd {
    int fd; /* borrowed for the call */
    int target;
};

struct ag_spawn {
    const char *const *argv, *const *env; /* NULL-terminated */
    const char *const *joins;             /* files to write "0" into (cgroups); NULL: none */
    const char *cwd;                      /* NULL: the spawner's */
    const struct ag_spawn_fd *fds;
    unsigned fd_count;
    uint64_t files_max; /* 0: as the spawner's */
};

int ag_spawner_new(struct ag_spawner **ret_spawner, struct sy_loop *loop, const char *program,
                   struct sy_log *log, struct sy_error_text *error) SY_MUST_USE;
/* Kills all its processes; no callbacks any more. */
void ag_spawner_free(struct ag_spawner *spawner);

/* 0, or a positive errno when the request itself is impossible (E2BIG: arguments and environment
 * above 190 KiB); no callback follows then. */
int ag_spawner_start(struct ag_spawner *spawner, struct ag_child *child,
                     const struct ag_spawn *spawn) SY_MUST_USE;
void ag_spawner_kill(struct ag_spawner *spawner, struct ag_child *child, int signal);
/* The owner goes away before the child's end: kill it, and never call back. */
void ag_spawner_abandon(struct ag_spawner *spawner, struct ag_child *child);
