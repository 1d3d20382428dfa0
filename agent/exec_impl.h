/* What exec.c, pool*.c and process.c share. Nobody else includes this header. */
#pragma once

#include "agent/exec.h"
#include "base/arena.h"
#include "base/loop.h"
#include "base/map.h"

/* An attempt as the executor knows it. Embedded first in ag_pool_task and ag_process. */
struct ag_exec_task {
    uint64_t id;
    bool pooled;
    struct sy_map_link link; /* exec->tasks */
};

struct ag_pool;

struct ag_exec {
    struct ag_executor base;
    const struct ag_executor_events *events;
    void *events_ctx;
    struct sy_loop *loop;
    struct ag_spawner *spawner;
    struct ag_cgroups *cgroups;
    struct ag_io *io;
    struct ag_journal *journal; /* NULL: control groups find left-overs */
    struct sy_log *log;
    char *work_dir, *node;
    int64_t cancel_grace_ns, start_timeout_ns;
    uint32_t pids_max;
    uint64_t files_max;
    int null_fd;
    bool freeing;
    struct sy_map tasks;    /* ag_exec_task by id */
    struct ag_pool **pools; /* the configured ones, then those made on demand */
    size_t pool_count, configured_count;
    struct sy_arena arena; /* of the frame that is handled */
    struct sy_turn_end turn_end;
    char **base_env; /* PATH, HOME, LANG, ... of the agent; NULL-terminated */
    size_t base_env_count;
};

static inline struct ag_exec_task *ag_exec_find(const struct ag_exec *exec, uint64_t id)
{
    return sy_map_entry(sy_map_find(&exec->tasks, &id, sizeof(id)), struct ag_exec_task, link);
}

/* ---- environment variables: a list that is built, handed over, and freed ---- */

struct ag_env {
    char **items; /* NULL-terminated */
    size_t count, cap;
};
void ag_env_add(struct ag_env *env, const char *key, const char *format, ...) SY_PRINTF(3, 4);
void ag_env_add_all(struct ag_env *env, const char *const *items);
/* A variable that is there already gets the new value. */
void ag_env_set_all(struct ag_env *env, const char *const *items);
/* The agent's own basics, the node, and the devices. */
void ag_env_add_base(struct ag_env *env, const struct ag_exec *exec, const char *gpus);
void ag_env_deinit(struct ag_env *env);

/* ---- for all kinds ---- */

/* Base, and who the task is. */
void ag_env_add_task(struct ag_env *env, const struct ag_exec *exec, const struct ag_work *work);

/* How a task's process ended. */
struct ag_exec_end {
    struct ag_child_exit exit;
    bool cancelled, timed_out, out_of_memory;
    uint64_t memory_limit_bytes;
};
/* Sets kind, code and message (in `text`). `last_words`: of its stderr; may be "". */
void ag_exec_classify(const struct ag_exec_end *end, const char *last_words, struct ag_result *ret,
                      char *text, size_t size);

/* "EPOCH.ATTEMPT", zero-padded: grows in byte order with every re-issue. */
#define AG_FENCING_TOKEN_MAX 32
#define AG_GANG_ADDRESS_MAX 280
/* "host:port" of its rank 0. */
void ag_gang_address(char ret[AG_GANG_ADDRESS_MAX], const struct ag_gang *gang);
void ag_fencing_token(char *ret, uint32_t epoch, uint32_t number);
/* Where an attempt puts an output that is too large to travel inline: "<work_dir>/<id>.out". */
#define AG_OUTPUT_PATH_MAX 512
void ag_exec_output_path(const struct ag_exec *exec, uint64_t id, char ret[AG_OUTPUT_PATH_MAX]);
/* "was killed by signal 11 (SIGSEGV)", "exited with status 3". */
void ag_describe_exit(char *ret, size_t size, const struct ag_child_exit *exit);
void ag_exec_started(struct ag_exec *exec, uint64_t id, int64_t started_ns);
void ag_exec_result(struct ag_exec *exec, const struct ag_result *result);
void ag_exec_log(struct ag_exec *exec, uint64_t id, uint32_t stream, struct sy_span data);
/* Writes down which process runs, where nothing else would find it after our death. */
void ag_exec_note_process(struct ag_exec *exec, pid_t pid, bool running);

/* ---- pool.c, pool_worker.c ---- */

struct ag_pool *ag_pool_new(struct ag_exec *exec, const struct ag_pool_options *options);
void ag_pool_free(struct ag_pool *pool);
/* Made on demand, and nothing came for long: to be freed. */
bool ag_pool_expired(const struct ag_pool *pool);
const char *ag_pool_environment(const struct ag_pool *pool);
uint32_t ag_pool_pipeline(const struct ag_pool *pool, const struct sch_resources *request);
struct ag_exec_task *ag_pool_start(struct ag_pool *pool, const struct ag_work *work);
void ag_pool_cancel(struct ag_exec_task *task);
void ag_pool_kill(struct ag_exec_task *task);
void ag_pool_reply(struct ag_exec_task *task, uint64_t call, uint32_t code, const char *message,
                   struct sy_span body);
void ag_pool_flush(struct ag_pool *pool);
void ag_pool_status(const struct ag_pool *pool, struct ag_pool_status *ret);
/* The executor goes away: no result any more. */
void ag_pool_task_free(struct ag_exec_task *task);

/* ---- process.c ---- */

struct ag_exec_task *ag_process_start(struct ag_exec *exec, const struct ag_work *work);
void ag_process_cancel(struct ag_exec_task *task);
void ag_process_kill(struct ag_exec_task *task);
void ag_process_free(struct ag_exec_task *task);
