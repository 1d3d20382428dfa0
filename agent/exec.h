/*
 * The production executor: warm pools for "switchyard.function", a cold process for everything
 * else.
 *
 * Owns its workers and processes, their logs' pipes and their control groups. Everything runs on
 * the agent's loop; processes are started by the spawner.
 */
#pragma once

#include "agent/cgroup.h"
#include "agent/executor.h"
#include "agent/journal.h"
#include "agent/loop_uring.h"
#include "agent/spawner.h"
#include "base/log.h"

struct ag_pool_options {
    const char *environment;
    const char *const *command; /* argv of a worker, without --concurrency; NULL-terminated */
    const char *const *env;     /* "KEY=value", beyond the base; NULL-terminated, may be NULL */
    uint32_t min, max, concurrency;
    int64_t idle_ns;       /* a worker beyond min that did nothing for so long is retired */
    uint64_t memory_bytes; /* limit of one worker; 0 = none */
    /* Of pools that are made with the first work that names them: */
    int64_t remove_ns; /* without work for so long: it goes, whatever min says */
    bool forks;        /* its worker runs each task in a child, with limits of the task's own */
};

struct ag_exec_options {
    const char *work_dir; /* scratch: working directories, outputs; emptied at the start */
    const char *node;
    const struct ag_pool_options *pools;
    size_t pool_count;
    int64_t cancel_grace_ns;  /* default 10 s */
    int64_t start_timeout_ns; /* a worker's first message, the begin of what it was given, its end;
                                 a SIGKILL of a child of its; default 30 s */
    uint32_t pids_max;        /* processes of one attempt; default 4,096 */
    uint64_t files_max;       /* RLIMIT_NOFILE of tasks; default 1,024 */
};

struct ag_exec_ports {
    struct sy_loop *loop;
    struct ag_spawner *spawner;
    struct ag_cgroups *cgroups;
    struct ag_io *io;
    struct ag_journal *journal; /* of processes, where no control group names them; may be NULL */
    struct sy_log *log;
};

int ag_exec_new(struct ag_executor **ret_executor, const struct ag_exec_options *options,
                const struct ag_exec_ports *ports, struct sy_error_text *error) SY_MUST_USE;

/* Pools at a time that are made on demand; beyond: their work runs in cold processes. */
#define AG_EXEC_POOLS_MAX 128

/* What a pool looks like; for tests and status. */
struct ag_pool_status {
    uint32_t starting, ready, retiring;
    uint32_t running;       /* attempts in workers, pipelined ones included */
    uint32_t waiting;       /* attempts without a worker */
    uint64_t started, died; /* workers, ever */
    uint64_t taken_back;    /* attempts, ever */
};
bool ag_exec_pool_status(struct ag_executor *executor, const char *environment,
                         struct ag_pool_status *ret);
