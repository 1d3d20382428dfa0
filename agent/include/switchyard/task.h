/*
 * Tasks in C. A task is a function in a shared object:
 *
 *     #include <switchyard/task.h>
 *
 *     int count_lines(struct sy_task *task)
 *     {
 *         size_t size;
 *         const char *text = sy_task_input(task, &size);
 *         ...
 *         return sy_task_output(task, &lines, sizeof(lines));
 *     }
 *
 * Compile with `cc -shared -fPIC`; nothing to link: the worker provides these functions. Run it
 * with `switchyard run --function ./libtasks.so:count_lines`.
 *
 * A task returns 0 on success, and SY_TASK_FAILED (or what sy_task_fail() returned) on failure; it
 * may be retried then. It may run more than once for one action (at-least-once); a terminal result
 * is accepted once. Effects outside of the output should be guarded by sy_task_fencing_token().
 *
 * Every function is called on the thread that runs the task. Pointers to inputs and to children's
 * outputs are valid until the task returns, or the child is freed.
 */
#ifndef SWITCHYARD_TASK_H
#define SWITCHYARD_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sy_task;
typedef int (*sy_task_fn)(struct sy_task *task);

#define SY_TASK_FAILED (-1)
#define SY_TASK_FAILED_FINAL (-2) /* a retry would not help */

/* ---- who am I ---- */

/* "project/domain/run", the action's name, and the attempt: 1, 2, ... */
const char *sy_task_run(const struct sy_task *task);
const char *sy_task_name(const struct sy_task *task);
uint32_t sy_task_attempt(const struct sy_task *task);
/* Grows, in byte order, with every re-issue of this action: a sink that remembers the greatest
 * token it has seen and refuses smaller ones is safe from a paused, superseded attempt. See
 * <switchyard/fencing.h>. */
const char *sy_task_fencing_token(const struct sy_task *task);

/* ---- gangs: tasks that run at the same time, and talk to each other ---- */

struct sy_task_gang {
    const char *id;      /* the same for all members and attempts of the gang */
    uint32_t rank, size; /* 0 to size - 1; size of them run */
    const char *address; /* "host:port": rank 0 listens there, the others connect */
    const char *secret;  /* hex, known to the members of this attempt of the gang only */
};
/* False: the task is in none. Valid until the task returns. */
bool sy_task_gang(const struct sy_task *task, struct sy_task_gang *ret);

/* ---- input and output ---- */

const void *sy_task_input(const struct sy_task *task, size_t *size);
/* Copies; the last call counts. Returns 0. Small outputs travel inline, larger ones through the
 * cluster's object store. */
int sy_task_output(struct sy_task *task, const void *data, size_t size);
/* Sets the error that the caller sees; returns SY_TASK_FAILED (final: SY_TASK_FAILED_FINAL). */
int sy_task_fail(struct sy_task *task, bool final, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- log, cancellation ---- */

/* A line in the attempt's log. stdout and stderr are captured as well. */
void sy_task_log(struct sy_task *task, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* True once the run was aborted or the worker shall stop. A task that goes on is killed after a
 * grace period (10 s). */
bool sy_task_cancelled(struct sy_task *task);

/* ---- children ----
 *
 * Names make a task durable: when it is retried and enqueues the same names again, finished
 * children are not run again, they are just there. Names that grow in byte order ("f-000017") are
 * cheapest. */

struct sy_child_spec {
    const char *library; /* NULL: this task's own */
    const char *function;
    const char *environment; /* NULL: this task's own */
    uint32_t cpu_milli;      /* 0: 100 */
    uint64_t memory_bytes;   /* 0: 64 MiB */
    uint32_t gpus;
    const char *gpu_model;
    uint32_t retries;
    int64_t timeout_ms; /* 0: none */
    int32_t priority;
};

/* A batch under one spec; add children, then enqueue: sent in messages of up to 1,000. Returns 0
 * when all are durable, SY_TASK_FAILED (with an error set) otherwise. */
struct sy_children;
struct sy_children *sy_children_new(struct sy_task *task, const struct sy_child_spec *spec);
int sy_children_add(struct sy_children *children, const char *name, const void *input, size_t size);
int sy_children_enqueue(struct sy_children *children);

enum sy_child_phase {
    SY_CHILD_SUCCEEDED = 5,
    SY_CHILD_FAILED = 6,
    SY_CHILD_ABORTED = 7,
    SY_CHILD_TIMED_OUT = 8
};

struct sy_child {
    const char *name;
    enum sy_child_phase phase;
    const void *output; /* inline outputs; NULL with output_uri for larger ones */
    size_t output_size;
    const char *output_uri;
    const char *error_code, *error_message;
};
/* Blocks until a child of this task has ended; gives each once, in the order in which they ended.
 * Returns 1 with *child (valid until the next call), 0 when all enqueued children were given,
 * SY_TASK_FAILED on cancellation or an error. */
int sy_task_next_child(struct sy_task *task, struct sy_child *child);

#ifdef __cplusplus
}
#endif
#endif
