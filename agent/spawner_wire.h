/*
 * What agent and spawner say to each other over a SOCK_SEQPACKET pair. Both are built together and
 * run on one machine, so the messages are C structs.
 *
 * A request is one packet: the struct, then the strings that it counts, each with its NUL, in this
 * order: argv, env, joins (files to write "0" into: cgroup.procs), cwd. The descriptors come with
 * SCM_RIGHTS. A packet of the spawner holds one or more replies.
 */
#pragma once

#include <stdint.h>

#define AG_SPAWN_PACKET_MAX ((size_t)192 << 10)
#define AG_SPAWN_FDS_MAX 8
#define AG_SPAWN_REPLIES_MAX 64
/* Descriptors below this are never those that came with a request, so that none of them is in the
 * way of another's target. */
#define AG_SPAWN_FD_RESERVED 16

enum ag_spawn_request_type {
    AG_SPAWN_REQUEST_START = 1,
    AG_SPAWN_REQUEST_KILL, /* `signal` to the whole process group of `id` */
};

struct ag_spawn_request {
    uint32_t type;
    int32_t signal;
    uint64_t id; /* the agent's name for the process */
    uint32_t argc, envc, joins;
    uint32_t fds;
    uint8_t targets[AG_SPAWN_FDS_MAX]; /* what each descriptor becomes; the rest is closed */
    uint64_t files_max;                /* RLIMIT_NOFILE, soft; 0 = as the spawner's */
};

enum ag_spawn_reply_type {
    AG_SPAWN_REPLY_STARTED = 1,
    AG_SPAWN_REPLY_FAILED,
    AG_SPAWN_REPLY_EXITED,
};

enum ag_spawn_step { /* what failed */
                     AG_SPAWN_STEP_REQUEST,
                     AG_SPAWN_STEP_FORK,
                     AG_SPAWN_STEP_CGROUP,
                     AG_SPAWN_STEP_FDS,
                     AG_SPAWN_STEP_CWD,
                     AG_SPAWN_STEP_EXEC,
};

struct ag_spawn_reply {
    uint32_t type;
    int32_t pid;
    uint64_t id;
    int32_t error; /* FAILED: errno */
    uint32_t step;
    int32_t status; /* EXITED: as from wait(2) */
    uint32_t pad;
    int64_t memory_peak_bytes, cpu_ns, ran_ns;
};
