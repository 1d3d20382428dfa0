/*
 * The executor port: what carries out an attempt. Adapters: exec (production: warm pools and cold
 * processes, see pool.h and spawner.h) and tests/sim's, which ends tasks on a virtual clock.
 *
 * Called on the agent's loop; callbacks run on it, never inside a call into the executor.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "scheduler/resources.h"

#include <stdbool.h>
#include <stdint.h>

struct ag_pool_options; /* exec.h */
struct ag_spec_flyte;   /* spec.h */

/* What an action of a Flyte program is given beside its task: its place in its run. */
struct ag_flyte_work {
    uint64_t action;
    const char *org;
    const char *input_uri;       /* of inputs.pb */
    const char *run_output_base; /* "" = below the storage's root */
    const char *raw_data_prefix; /* "" = below the attempt's directory */
    const char *endpoint;        /* of the shard that assigned it; "": not told */
    int64_t run_start_ns;        /* realtime */
    uint32_t attempt;            /* as users count: 1, 2, ... */
    const char *const *envs;     /* of the run: "KEY=value"; NULL-terminated */
    const struct ag_spec_flyte *spec;
};

/* A member of a gang: who it is, and where all meet. */
struct ag_gang {
    uint64_t id; /* the same for every attempt of the gang */
    uint32_t rank, size;
    const char *host; /* of rank 0 */
    uint32_t port;
    const char *secret; /* hex; the same for all members of this attempt of the gang */
};

/* What a task needs to run. Borrowed for the call to ag_executor_start(). */
struct ag_work {
    uint64_t id;            /* the agent's name for the attempt */
    const char *run, *name; /* "project/domain/run", action */
    uint32_t number, epoch; /* fence */
    uint32_t attempt;       /* as people count */
    struct sch_resources request;
    const char *gpus;        /* the devices it may use: "0,3"; "" = none */
    bool pipelined;          /* handed over beyond the room, see pipeline() */
    const char *type;        /* TaskTemplate.type */
    const char *const *args; /* container.command then container.args; NULL-terminated */
    const char *const *env;  /* "KEY=value"; NULL-terminated */
    struct sy_span input;
    const char *input_path; /* NULL: inline */
    int64_t timeout_ns;     /* 0 = none */
    size_t inline_bytes_max;
    const char *cwd;                    /* NULL: an empty directory of its own; else kept by the
                                           caller until the result */
    const struct ag_pool_options *pool; /* a program for a worker of this pool; NULL: by `type` */
    bool suspect;                       /* a worker died under it: not among others */
    const struct ag_gang *gang;         /* NULL: in none */
    const struct ag_flyte_work *flyte;  /* NULL: not an action of a Flyte program */
};

enum ag_result_kind { /* as OutcomeKind of dataplane.proto */
                      AG_RESULT_SUCCEEDED = 1,
                      AG_RESULT_FAILED,
                      AG_RESULT_FAILED_FINAL,
                      AG_RESULT_OUT_OF_MEMORY,
                      AG_RESULT_TIMED_OUT,
                      AG_RESULT_CANCELLED,
                      AG_RESULT_LOST,
                      AG_RESULT_REFUSED,
};
enum ag_error_kind { /* as ErrorKind of dataplane.proto */
                     AG_ERROR_UNKNOWN,
                     AG_ERROR_USER,
                     AG_ERROR_SYSTEM,
};

enum ag_death { /* as Death of dataplane.proto */
                AG_DEATH_NONE,
                AG_DEATH_ALONE,
                AG_DEATH_SHARED,
};

struct ag_result { /* borrowed for the callback */
    uint64_t id;
    enum ag_result_kind kind;
    struct sy_span output;
    const char *output_path; /* a file to move into the object store; "" or NULL: inline */
    const char *output_uri;  /* where the output is already; NULL: as above */
    const char *error_code, *error_message;
    enum ag_error_kind error_kind;
    enum ag_death death;             /* of LOST */
    int exit_status;                 /* of a process, as from wait(2) */
    int64_t started_ns, finished_ns; /* realtime */
    uint64_t memory_peak_bytes;
};

struct ag_executor_events {
    void (*on_started)(void *ctx, uint64_t id, int64_t started_ns);
    void (*on_result)(void *ctx, const struct ag_result *result); /* exactly once for each start */
    void (*on_log)(void *ctx, uint64_t id, uint32_t stream, struct sy_span data);
    /* A task's call to the control plane; answered with ag_executor_reply(). */
    void (*on_call)(void *ctx, uint64_t id, uint64_t call, const char *method, struct sy_span body);
};

struct ag_executor;
struct ag_executor_ops {
    /* Takes the events' receiver before anything is started. */
    void (*bind)(struct ag_executor *executor, const struct ag_executor_events *events, void *ctx);
    /* How many more attempts with this request can be handed over now beyond those that run: a
     * pipeline that hides the worker's round trip for short tasks. 0 = start only what has room to
     * run. Such an attempt is `pipelined`: it must not run before another one of the same request
     * has ended. Both sides count alike: a result gives its room to a pipelined attempt of that
     * request while there is one. */
    uint32_t (*pipeline)(struct ag_executor *executor, const struct sch_resources *request);
    void (*start)(struct ag_executor *executor, const struct ag_work *work);
    /* Ask to stop (grace), then kill; the result is CANCELLED, or what came first. */
    void (*cancel)(struct ag_executor *executor, uint64_t id, const char *reason);
    /* Kill at once, whether it was asked to stop or not; the result as of cancel(). */
    void (*kill)(struct ag_executor *executor, uint64_t id);
    void (*reply)(struct ag_executor *executor, uint64_t id, uint64_t call, uint32_t code,
                  const char *message, struct sy_span body);
    /* End of a turn: send what was gathered. */
    void (*flush)(struct ag_executor *executor);
    void (*free)(struct ag_executor *executor);
};
struct ag_executor {
    const struct ag_executor_ops *ops;
};
