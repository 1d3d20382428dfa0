/*
 * The warm worker for C functions: one process, N task threads and one helper thread.
 *
 * Reading is a role, not a thread (leader/follower): whoever has nothing else to do holds it and
 * reads the socket itself, so that a worker with one thread runs task after task without a
 * hand-over. The helper reads only while a task has run for a whole tick (5 ms): then cancels are
 * seen, and finished results leave, however long the task runs.
 *
 *       task thread:  queue empty? -> take the role -> read -> run what came -> ... -> nothing to
 * read: send the results -> block in read helper:       asleep while nothing runs; ticks while
 * tasks run: captures output, sends what waits, reads the socket while a task is long
 *
 * Locks: `mutex` guards the queue, the threads' states, the role and the calls. `out.mutex` guards
 * what is to be sent, `capture_mutex` the reading of stdout and stderr. Order: capture_mutex,
 * mutex, out.mutex.
 *
 * Links libc, libdl and protobuf-c only; starts in half a millisecond.
 */
#pragma once

#include "agent/include/switchyard/task.h"
#include "agent/worker_page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "switchyard/internal/worker.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef Switchyard__Internal__Worker__Task ag_worker_task_msg;
typedef Switchyard__Internal__Worker__Result ag_worker_result_msg;
typedef Switchyard__Internal__Worker__ToWorker ag_worker_to_msg;

/* A received frame: lives while one of its tasks or replies is in use. */
struct ag_worker_frame {
    atomic_uint refs;
    struct sy_arena arena;
    ag_worker_to_msg *msg;
};

struct sy_task {
    struct ag_worker *worker;
    struct ag_worker_thread *thread; /* NULL while queued */
    struct ag_worker_frame *frame;
    struct sy_task *next;
    const ag_worker_task_msg *msg;
    atomic_bool cancelled;
    /* of the thread that runs it */
    struct sy_buf *output;
    const void *mapped; /* input_path */
    size_t mapped_size;
    char *error_code, *error_message;
    struct sy_children *children; /* all that were made, newest first */
    struct ag_worker_page_of_children *page;
    uint64_t children_after;
};

enum ag_worker_thread_state {
    AG_WORKER_THREAD_BUSY,
    AG_WORKER_THREAD_IDLE, /* waits for a task, or for the role */
    AG_WORKER_THREAD_CALL, /* waits for a reply, or for the role */
};

struct ag_worker_thread {
    struct ag_worker *worker;
    unsigned index;
    pthread_t id;
    pthread_cond_t cond;
    enum ag_worker_thread_state state;
    struct sy_task *task;
    uint64_t started;      /* how many tasks it has begun */
    uint64_t started_seen; /* helper: at its last tick */
    uint64_t started_told; /* helper: the one it has reported as started */
    int64_t task_started_ns;
    struct sy_buf output; /* of the task that runs; the memory is reused */
};

/* A task's question to the control plane. On the stack of the asking thread. */
struct ag_worker_call {
    struct ag_worker_call *next;
    uint64_t number;
    struct ag_worker_frame *frame; /* of the reply */
    const Switchyard__Internal__Worker__Reply *reply;
};

struct ag_worker_out {
    pthread_mutex_t mutex;
    struct sy_buf logs, calls, results, started; /* encoded fields of FromWorker */
    struct sy_buf frame;
    int64_t first_ns; /* monotonic: since when something waits; 0 = nothing */
};

struct ag_worker_library;

struct ag_worker {
    int fd, kick_fd;
    int stdout_fd, stderr_fd; /* read ends */
    int pid;
    const char *environment;
    unsigned concurrency;
    struct ag_worker_page *page;

    pthread_mutex_t mutex;
    struct ag_worker_thread *threads;
    struct sy_task *queue, **queue_tail;
    unsigned idle_threads;
    struct ag_worker_call *calls;
    uint64_t next_call;
    bool reading; /* somebody holds the role */
    bool helper_asleep;
    atomic_bool shutdown;
    _Atomic(uint64_t) frames; /* received; libraries are looked at again when it moved */

    pthread_t helper;
    pthread_mutex_t capture_mutex;
    uint8_t *capture_buffer;

    struct sy_buf in; /* of the role's holder */
    struct ag_worker_out out;

    pthread_mutex_t library_mutex;
    struct ag_worker_library *libraries;
    unsigned library_count;
};

/* ---- worker.c ---- */

/* Runs until shutdown or the agent is gone; returns the exit status. */
int ag_worker_run(struct ag_worker *worker);
/* Asks and waits. 0 with call->reply set (release it with ag_worker_frame_unref(call->frame)), or
 * -1 when the task was cancelled meanwhile. */
int ag_worker_ask(struct sy_task *task, struct ag_worker_call *call, const char *method,
                  struct sy_span body);
/* Takes the role if it is free, reads once without waiting, and gives it back. For the helper. */
void ag_worker_poll(struct ag_worker *worker);
void ag_worker_frame_unref(struct ag_worker_frame *frame);
/* Says a last sentence on stderr, which the agent reads, and ends the process. `worker` may be
 * NULL. */
_Noreturn void ag_worker_die(struct ag_worker *worker, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- worker_wire.c ---- */

void ag_worker_out_log(struct ag_worker *worker, uint64_t id, uint32_t stream, const void *data,
                       size_t size);
void ag_worker_out_call(struct ag_worker *worker, uint64_t id, uint64_t call, const char *method,
                        struct sy_span body);
void ag_worker_out_result(struct ag_worker *worker, const ag_worker_result_msg *result);
void ag_worker_out_cancelled(struct ag_worker *worker, uint64_t id);
void ag_worker_out_started(struct ag_worker *worker, uint64_t id);
/* True when the oldest of what waits is older than 1 ms, or it is much. */
bool ag_worker_out_due(struct ag_worker *worker, int64_t now_ns);
void ag_worker_out_hello(struct ag_worker *worker);
void ag_worker_flush(struct ag_worker *worker);
/* From a signal handler, when the process is about to die. */
void ag_worker_flush_dying(struct ag_worker *worker);
/* The holder of the role only. 1: bytes came (frames were given to `dispatch`), 0: nothing there.
 */
int ag_worker_read(struct ag_worker *worker, bool wait,
                   void (*dispatch)(struct ag_worker *worker, struct ag_worker_frame *frame));

/* ---- worker_capture.c ---- */

int ag_worker_capture_init(struct ag_worker *worker);
/* The task's output up to now goes out as its LogData. Called at its end by its thread. */
void ag_worker_capture_end(struct ag_worker *worker, uint64_t id);
void *ag_worker_helper_main(void *worker);
/* With the mutex held: a task was begun. */
void ag_worker_helper_kick(struct ag_worker *worker);

/* ---- worker_library.c ---- */

/* NULL with a sentence in ret_error (at least 512 bytes). */
sy_task_fn ag_worker_library_find(struct ag_worker *worker, const char *path, const char *function,
                                  char *ret_error, size_t error_size);

/* ---- worker_task.c, worker_children.c, worker_spec.c ---- */

void ag_worker_task_execute(struct sy_task *task);
void ag_worker_children_free(struct sy_task *task);
/* The TaskSpec of a child, for EnqueueActionsRequest.task_spec. */
void ag_worker_spec_encode(struct sy_buf *ret, const struct sy_child_spec *spec,
                           const char *library, const char *environment);

/* ---- protobuf by hand, where a whole generated message would be much for little ---- */

void ag_worker_put_varint(struct sy_buf *buf, uint64_t value);
void ag_worker_put_uint(struct sy_buf *buf, unsigned field, uint64_t value);
void ag_worker_put_bytes(struct sy_buf *buf, unsigned field, const void *data, size_t size);

int64_t ag_worker_monotonic_ns(void);
int64_t ag_worker_realtime_ns(void);
