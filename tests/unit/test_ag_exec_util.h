/* A production executor with real spawner and workers, and what it reported. */
#pragma once

#include "agent/exec.h"
#include "base/blob.h"
#include "base/mem.h"
#include "tests/unit/test_ag_util.h"

struct bench_attempt {
    bool started, ended;
    struct ag_result result;
    char *output, *log[3]; /* the start of it, by stream; NULL: none */
    char output_path[256], code[64], message[512];
};

#define BENCH_LOG_BYTES 4096

#ifndef BENCH_ATTEMPTS_MAX
#define BENCH_ATTEMPTS_MAX 20000
#endif

struct bench {
    struct sy_loop *loop;
    struct ag_spawner *spawner;
    struct ag_cgroups *cgroups;
    struct ag_io *io;
    struct ag_executor *executor;
    struct sy_blobs *blobs; /* NULL: not used */
    struct sy_log *log;     /* with BENCH_LOG in the environment */
    const char *dir;
    struct bench_attempt *attempts; /* [id - 1] */
    uint64_t next_id, ended;
    /* the last call of a task */
    uint64_t call_id, call;
    char call_method[32];
    struct sy_buf call_body;
    unsigned calls;
};

static struct bench *bench;

/* How long those are waited for that do as they should, which is never to be seen to end; a test of
 * those that do not shortens it before it opens its bench. */
#define BENCH_PATIENCE_NS (600 * SY_NS_PER_S)
static int64_t bench_grace_ns = BENCH_PATIENCE_NS, bench_start_ns = BENCH_PATIENCE_NS;

static inline void bench_on_started(void *ctx, uint64_t id, int64_t started_ns)
{
    struct bench *b = ctx;
    ck_assert_int_gt(started_ns, 0);
    ck_assert(!b->attempts[id - 1].ended);
    b->attempts[id - 1].started = true;
}

static inline void bench_on_result(void *ctx, const struct ag_result *result)
{
    struct bench *b = ctx;
    struct bench_attempt *a = &b->attempts[result->id - 1];
    ck_assert(!a->ended); /* exactly once */
    a->ended = true;
    a->result = *result;
    a->output = sy_strndup((const char *)result->output.data, result->output.len);
    snprintf(a->output_path, sizeof(a->output_path), "%s",
             result->output_path ? result->output_path : "");
    snprintf(a->code, sizeof(a->code), "%s", result->error_code ? result->error_code : "");
    snprintf(a->message, sizeof(a->message), "%s",
             result->error_message ? result->error_message : "");
    b->ended++;
}

static inline void bench_on_log(void *ctx, uint64_t id, uint32_t stream, struct sy_span data)
{
    struct bench *b = ctx;
    ck_assert(stream >= 1 && stream <= 3);
    if (id == 0)
        return;
    ck_assert_msg(!b->attempts[id - 1].ended, "output of %d after its result", (int)id);
    char **log = &b->attempts[id - 1].log[stream - 1];
    if (*log == NULL)
        *log = sy_calloc(1, BENCH_LOG_BYTES);
    size_t at = strlen(*log);
    snprintf(*log + at, BENCH_LOG_BYTES - at, "%.*s", (int)data.len, (const char *)data.data);
}

static inline void bench_on_call(void *ctx, uint64_t id, uint64_t call, const char *method,
                                 struct sy_span body)
{
    struct bench *b = ctx;
    b->call_id = id;
    b->call = call;
    snprintf(b->call_method, sizeof(b->call_method), "%s", method);
    sy_buf_clear(&b->call_body);
    sy_buf_append(&b->call_body, body.data, body.len);
    b->calls++;
}

static const struct ag_executor_events bench_events = {bench_on_started, bench_on_result,
                                                       bench_on_log, bench_on_call};

static inline void bench_open(const struct ag_pool_options *pools, size_t count,
                              enum ag_cgroup_mode cgroups)
{
    struct sy_error_text error;
    char name[64];
    struct bench *b = bench = sy_new(struct bench);
    b->attempts = sy_calloc(BENCH_ATTEMPTS_MAX, sizeof(*b->attempts));
    b->dir = scratch();
    ck_assert_int_eq(sy_loop_new(&b->loop, NULL), 0);
    ck_assert_int_eq(
        ag_spawner_new(&b->spawner, b->loop, beside("switchyard-spawner"), NULL, &error), 0);
    snprintf(name, sizeof(name), "switchyard-test-%d", (int)getpid());
    struct ag_cgroup_options cgroup_options = {.mode = cgroups, .name = name};
    b->cgroups = ag_cgroups_new(&cgroup_options, NULL);
    b->io = ag_io_new(b->loop, true);
    char work[128];
    snprintf(work, sizeof(work), "%s/work", b->dir);
    struct ag_exec_options options = {.work_dir = work,
                                      .node = "n1",
                                      .pools = pools,
                                      .pool_count = count,
                                      .cancel_grace_ns = bench_grace_ns,
                                      .start_timeout_ns = bench_start_ns};
    b->log = getenv("BENCH_LOG") ? sy_log_new(2, SY_LOG_DEBUG, NULL) : NULL;
    struct ag_exec_ports ports = {
        .loop = b->loop, .spawner = b->spawner, .cgroups = b->cgroups, .io = b->io, .log = b->log};
    ck_assert_int_eq(ag_exec_new(&b->executor, &options, &ports, &error), 0);
    b->executor->ops->bind(b->executor, &bench_events, b);
}

static inline void bench_close(void)
{
    struct bench *b = bench;
    b->executor->ops->free(b->executor);
    sy_blobs_free(b->blobs);
    ag_spawner_free(b->spawner);
    ag_cgroups_free(b->cgroups);
    ag_io_free(b->io);
    sy_loop_free(b->loop);
    sy_log_free(b->log);
    remove_scratch(b->dir);
    sy_buf_deinit(&b->call_body);
    for (uint64_t i = 0; i < b->next_id; i++) {
        free(b->attempts[i].output);
        for (unsigned s = 0; s < 3; s++)
            free(b->attempts[i].log[s]);
    }
    free(b->attempts);
    free(b);
    bench = NULL;
    bench_grace_ns = bench_start_ns = BENCH_PATIENCE_NS;
}

static inline struct ag_pool_options bench_pool(uint32_t max, uint32_t concurrency)
{
    static const char *command[] = {NULL, NULL};
    command[0] = beside("switchyard-worker");
    return (struct ag_pool_options){.environment = "native",
                                    .command = command,
                                    .max = max,
                                    .concurrency = concurrency,
                                    .idle_ns = BENCH_PATIENCE_NS};
}

struct bench_task {
    const char *function, *input, *gpus;
    bool pipelined;
    int64_t timeout_ns;
    uint32_t cpu_milli;
    size_t inline_max;
    const char *library;
    const struct ag_gang *gang;
};

static inline uint64_t bench_start(const struct bench_task *task)
{
    struct bench *b = bench;
    const char *args[] = {task->library ? task->library : task_library("test_tasks"),
                          task->function, NULL};
    static const char *const env[] = {NULL};
    char name[32];
    snprintf(name, sizeof(name), "t-%d", (int)b->next_id + 1);
    struct ag_work work = {
        .id = ++b->next_id,
        .run = "p/d/r1",
        .name = name,
        .number = 1,
        .attempt = 1,
        .epoch = 7,
        .gpus = task->gpus ? task->gpus : "",
        .pipelined = task->pipelined,
        .type = "switchyard.function",
        .args = args,
        .env = env,
        .timeout_ns = task->timeout_ns,
        .gang = task->gang,
        .inline_bytes_max = task->inline_max ? task->inline_max : 65536,
    };
    work.request.cpu_milli = task->cpu_milli ? task->cpu_milli : 100;
    work.request.gpus = task->gpus ? 1 : 0;
    memcpy(work.request.environment, "native", 7);
    if (task->input != NULL)
        work.input = (struct sy_span){(const uint8_t *)task->input, strlen(task->input)};
    ck_assert_uint_le(b->next_id, BENCH_ATTEMPTS_MAX);
    b->executor->ops->start(b->executor, &work);
    return work.id;
}

static inline uint64_t bench_run_function(const char *function, const char *input)
{
    return bench_start(&(struct bench_task){.function = function, .input = input});
}

static inline struct bench_attempt *bench_wait(uint64_t id)
{
    bench->executor->ops->flush(bench->executor);
    ck_assert_msg(RUN_UNTIL(bench->loop, bench->attempts[id - 1].ended), "attempt %d hangs",
                  (int)id);
    return &bench->attempts[id - 1];
}

static inline const char *bench_log(uint64_t id, unsigned stream)
{
    const char *log = bench->attempts[id - 1].log[stream - 1];
    return log != NULL ? log : "";
}

static inline struct ag_pool_status bench_status(void)
{
    struct ag_pool_status status;
    ck_assert(ag_exec_pool_status(bench->executor, "native", &status));
    return status;
}
