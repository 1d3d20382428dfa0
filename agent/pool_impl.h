/*
 * What pool.c, pool_worker.c and pool_send.c share. Nobody else includes this header.
 *
 * Room. The agent says with each attempt whether it has room of its own (charged) or waits behind
 * another one of the same request (pipelined). A worker runs the first `concurrency` of its
 * attempts (they are exposed), the rest wait in its queue. The pool keeps, for each request,
 * exposed <= charged: so it may put any attempt on any free slot without ever running more than the
 * agent admitted. An attempt may only wait in a worker whose attempts are all of its own request.
 */
#pragma once

#include "agent/exec_impl.h"
#include "agent/worker_page.h"
#include "base/sm.h"

#include <protobuf-c/protobuf-c.h>

/* One request (cpu, memory, gpus, ...) of this pool's attempts. */
struct ag_pool_class {
    struct sch_resources request;
    uint32_t charged, pipelined, exposed;
    uint32_t pending;    /* without a worker */
    int64_t average_ns;  /* duration, moving; 0 = not known */
    uint64_t blocked_in; /* the pass of dispatch that found no place for it */
};

enum ag_pool_task_state {
    AG_POOL_TASK_PENDING, /* without a worker */
    AG_POOL_TASK_SENT,
    AG_POOL_TASK_TAKING_BACK, /* sent, asked back, not answered */
};

struct ag_pool_task {
    struct ag_exec_task base; /* first */
    struct ag_pool *pool;
    struct ag_pool_class *class;
    struct ag_pool_worker *worker;
    struct ag_pool_task *next, *previous; /* in the pool's pending list or the worker's */
    enum ag_pool_task_state state;
    bool cancelled, timed_out, told_started;
    int64_t timeout_ns, sent_ns;
    struct sy_timer timer; /* timeout, then the grace */
    char *gpus;
    bool program, killed;        /* killed: asked a second time to stop */
    struct ag_cgroup *cgroup;    /* of a program in a child; NULL: none */
    uint64_t memory_limit_bytes; /* of that */
    uint32_t encoded_size;
    uint8_t encoded[]; /* a `tasks` field of ToWorker */
};

struct ag_pool_list {
    struct ag_pool_task *first, *last;
    uint32_t count;
};

/*
 *   SPAWNING --> STARTING (process runs, no first message) --> READY --> RETIRING
 *       |            |                                           |          |
 *       |            +----------------------------------+--------+----------+
 *       |                                               v
 *       +----------------------> GONE <------------- DYING (killed, or its socket closed)
 */
enum ag_pool_worker_state {
    AG_POOL_WORKER_SPAWNING,
    AG_POOL_WORKER_STARTING,
    AG_POOL_WORKER_READY,
    AG_POOL_WORKER_RETIRING,
    AG_POOL_WORKER_DYING,
    AG_POOL_WORKER_GONE,
    AG_POOL_WORKER_STATES,
};
extern const struct sm_table ag_pool_worker_table;

struct ag_pool_worker {
    struct ag_child child; /* first */
    struct ag_pool *pool;
    struct sm sm;
    uint64_t number;
    struct ag_cgroup *cgroup;
    struct ag_worker_page *page;
    struct sy_io io; /* the socket; fd -1: closed */
    bool io_added;
    int stdout_fd, stderr_fd; /* read ends, for what is left after its death */
    char *gpus;
    struct ag_pool_list tasks;   /* in the order they were sent */
    struct ag_pool_class *class; /* of the first of them */
    bool mixed;                  /* there are others */
    bool slow;                   /* something runs for long: nothing is put behind it */
    int64_t progress_ns;         /* last result, or first task after idling; monotonic */
    int64_t heard_ns;            /* last frame, or first task after idling; ag_pool_awake_ns() */
    int64_t idle_since_ns;
    struct sy_timer timer; /* start, retirement */
    struct sy_buf in;
    struct sy_buf out;  /* frames; the last one is open while frame_open */
    size_t frame_start; /* of the open frame's length, in out */
    bool frame_open, writable, dirty, said_hello;
    struct ag_pool_worker *dirty_next;
    const char *killed_because; /* by us; NULL: not */
};

struct ag_pool {
    struct ag_exec *exec;
    char *environment;
    char **command;
    struct ag_env env;
    uint32_t min, max, concurrency;
    int64_t idle_ns, remove_ns;
    bool forks, expired;
    int64_t used_ns; /* on demand: when it last had something to do */
    uint64_t memory_bytes;
    struct ag_pool_worker **workers; /* alive in any state but GONE */
    uint32_t worker_count;
    struct ag_pool_class **classes;
    uint32_t class_count;
    uint64_t passes;
    struct ag_pool_list pending;
    struct ag_pool_worker *dirty;
    uint32_t next_behind; /* where the search for a place to wait goes on */
    struct sy_timer take_back_timer, scale_timer;
    int64_t ticked_ns, awake_ns; /* at the last tick of the scale timer */
    int64_t start_after_ns;      /* back-off after failures */
    uint32_t failures;           /* in a row */
    uint64_t started, died, taken_back, next_worker;
};

/* ---- pool.c ---- */

/* Puts what is pending on workers, and starts workers that are missing. */
void ag_pool_dispatch(struct ag_pool *pool);
void ag_pool_worker_add(struct ag_pool_worker *worker, struct ag_pool_task *task);
/* Takes it off its worker's list; it has no worker then. */
void ag_pool_worker_drop(struct ag_pool_task *task);
/* The attempt is over: accounts for it, reports, frees. */
void ag_pool_task_end(struct ag_pool_task *task, struct ag_result *result);
/* Back to the front of the line. */
void ag_pool_requeue(struct ag_pool_task *task);
/* Since when it runs in its worker, realtime, as far as can be known; 0: it does not yet. */
int64_t ag_pool_running_since(const struct ag_pool_task *task);
/* A clock by which workers' silence is told: of a span in which this process did not run, and so
 * could not hear them, it counts a second. */
int64_t ag_pool_awake_ns(const struct ag_pool *pool);
/* No worker can be had: everything that waits is refused. */
void ag_pool_refuse_pending(struct ag_pool *pool, const char *why);

/* ---- pool_worker.c ---- */

/* 0, or a positive errno. */
int ag_pool_worker_start(struct ag_pool *pool, const char *gpus);
void ag_pool_worker_ready(struct ag_pool_worker *worker);
void ag_pool_worker_retire(struct ag_pool_worker *worker);
void ag_pool_worker_kill(struct ag_pool_worker *worker, const char *because);
void ag_pool_worker_free(struct ag_pool_worker *worker);
/* How much longer it may be silent before it counts as one that stands still; 0: no longer. */
int64_t ag_pool_worker_patience_ns(const struct ag_pool_worker *worker);
/* Ids that run in it right now, as far as it is known; returns how many. */
uint32_t ag_pool_worker_running(const struct ag_pool_worker *worker, uint64_t *ret_ids,
                                uint32_t max);

/* ---- pool_frame.c: the worker protocol ---- */

void ag_pool_send_task(struct ag_pool_worker *worker, const struct ag_pool_task *task);
void ag_pool_send_cancel(struct ag_pool_worker *worker, uint64_t id);
void ag_pool_send_reply(struct ag_pool_worker *worker, uint64_t id, uint64_t call, uint32_t code,
                        const char *message, struct sy_span body);
void ag_pool_send_shutdown(struct ag_pool_worker *worker);
/* Writes what the socket takes. Negative: it is broken. */
int ag_pool_worker_write(struct ag_pool_worker *worker);
/* Reads and handles what is there. 1: more may come, 0: it has closed, negative: garbage or an
 * error. */
int ag_pool_worker_read(struct ag_pool_worker *worker);
struct ag_pool_task *ag_pool_task_encode(const struct ag_pool *pool, const struct ag_work *work);
/* As a `tasks` field, which follows the struct. */
struct ag_pool_task *ag_pool_task_pack(const ProtobufCMessage *msg);

/* ---- pool_program.c: tasks of workers made on demand ---- */

struct ag_pool_task *ag_pool_program_encode(const struct ag_pool *pool, const struct ag_work *work);
/* What its exit code means. `text` holds the message. */
void ag_pool_program_classify(struct ag_pool_task *task, int exit_code, struct ag_result *ret,
                              char *text, size_t size);
/* Once more, and without mercy. False: it has been done, or nothing but its worker's death helps.
 */
bool ag_pool_program_kill(struct ag_pool_task *task);
