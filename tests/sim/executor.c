/* The simulated executor: see world.h. */
#include "agent/executor.h"
#include "base/loop.h"
#include "base/mem.h"
#include "tests/sim/gangs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_task {
    struct sim_task *next;
    struct sim_executor *executor;
    struct sy_timer timer;
    uint64_t id;
    struct sch_resources request;
    char output[4 * SCH_NAME_MAX];
    enum ag_result_kind kind;
    int64_t started_ns;
};

struct sim_executor {
    struct ag_executor base;
    struct sim_world *world;
    struct sy_loop *loop;
    const struct ag_executor_events *events;
    void *ctx;
    struct sim_task *tasks;
    char node[32];
    struct sch_resources capacity, used;
    uint32_t slots, slots_used;
    struct sim_options options;
};

static void room_take(struct sim_executor *e, const struct sch_resources *request)
{
    e->used.cpu_milli += request->cpu_milli;
    e->used.memory_bytes += request->memory_bytes;
    e->used.gpus += request->gpus;
    e->slots_used += request->environment[0] != '\0';
    if (e->used.cpu_milli > e->capacity.cpu_milli ||
        e->used.memory_bytes > e->capacity.memory_bytes || e->used.gpus > e->capacity.gpus ||
        e->slots_used > e->slots)
        sim_fail(e->world, "node %s: room given twice: %u of %u milli-cpu, %u of %u slots", e->node,
                 e->used.cpu_milli, e->capacity.cpu_milli, e->slots_used, e->slots);
}

static void room_give(struct sim_executor *e, const struct sch_resources *request)
{
    SY_ASSERT(e->used.cpu_milli >= request->cpu_milli);
    e->used.cpu_milli -= request->cpu_milli;
    e->used.memory_bytes -= request->memory_bytes;
    e->used.gpus -= request->gpus;
    e->slots_used -= request->environment[0] != '\0';
}

static void task_end(void *arg)
{
    struct sim_task *task = arg;
    struct sim_executor *e = task->executor;
    struct sim_task **at = &e->tasks;
    while (*at != task)
        at = &(*at)->next;
    *at = task->next;
    room_give(e, &task->request);
    struct ag_result result = {
        .id = task->id,
        .kind = task->kind,
        .error_code = task->kind == AG_RESULT_SUCCEEDED ? "" : "SimulatedError",
        .error_message = task->kind == AG_RESULT_SUCCEEDED ? "" : "the simulator said so",
        .started_ns = task->started_ns,
        .finished_ns = sy_loop_realtime_ns(e->loop),
    };
    if (task->kind == AG_RESULT_SUCCEEDED)
        result.output = (struct sy_span){(const uint8_t *)task->output, strlen(task->output)};
    sim_trace(e->world, "end", e->node, task->id);
    e->events->on_result(e->ctx, &result); /* its output lies in the task */
    free(task);
}

static void executor_bind(struct ag_executor *base, const struct ag_executor_events *events,
                          void *ctx)
{
    struct sim_executor *e = (struct sim_executor *)base;
    e->events = events;
    e->ctx = ctx;
}

static uint32_t executor_pipeline(struct ag_executor *base, const struct sch_resources *request)
{
    (void)base;
    (void)request;
    return 0;
}

static enum ag_result_kind draw_end(struct sim_executor *e)
{
    struct sy_rng *rng = sim_rng(e->world);
    if (sy_rng_chance(rng, e->options.task_lost_pct, 100))
        return AG_RESULT_LOST;
    if (sy_rng_chance(rng, e->options.task_fail_pct, 100))
        return AG_RESULT_FAILED;
    return AG_RESULT_SUCCEEDED;
}

/* See world.h. */
static void make_output(struct sim_task *task, const struct ag_work *work)
{
    size_t n = strlen(work->name);
    SY_ASSERT(strlen(work->run) + 1 + n < sizeof(task->output));
    for (size_t i = 0; i < n; i++)
        task->output[i] = work->name[n - 1 - i];
    if (work->flyte != NULL)
        snprintf(task->output, sizeof(task->output), "%s/%s", work->run, work->name);
}

static void executor_start(struct ag_executor *base, const struct ag_work *work)
{
    struct sim_executor *e = (struct sim_executor *)base;
    room_take(e, &work->request);
    if (work->gang != NULL)
        sim_gang_started(e->world, sim_world_gangs(e->world), work);
    struct sim_task *task = sy_new(struct sim_task);
    task->executor = e;
    task->id = work->id;
    task->request = work->request;
    task->kind = draw_end(e);
    task->started_ns = sy_loop_realtime_ns(e->loop);
    make_output(task, work);
    task->next = e->tasks;
    e->tasks = task;
    sy_timer_init(&task->timer, task_end, task);
    int64_t lasts = (int64_t)sy_rng_below(sim_rng(e->world), (uint64_t)e->options.task_ns_max + 1);
    sy_timer_start_in(e->loop, &task->timer, lasts);
    sim_trace(e->world, "start", e->node, work->id);
}

static void executor_cancel(struct ag_executor *base, uint64_t id, const char *reason)
{
    (void)reason;
    struct sim_executor *e = (struct sim_executor *)base;
    for (struct sim_task *task = e->tasks; task != NULL; task = task->next) {
        if (task->id == id) {
            task->kind = AG_RESULT_CANCELLED;
            sy_timer_start_in(e->loop, &task->timer, 0);
            return;
        }
    }
}

static void executor_reply(struct ag_executor *base, uint64_t id, uint64_t call, uint32_t code,
                           const char *message, struct sy_span body)
{
    (void)base;
    (void)id;
    (void)call;
    (void)code;
    (void)message;
    (void)body;
}

static void executor_flush(struct ag_executor *base)
{
    (void)base;
}

static void executor_free(struct ag_executor *base)
{
    struct sim_executor *e = (struct sim_executor *)base;
    while (e->tasks != NULL) {
        struct sim_task *task = e->tasks;
        e->tasks = task->next;
        sy_timer_stop(e->loop, &task->timer);
        free(task);
    }
    free(e);
}

static const struct ag_executor_ops executor_ops = {
    .bind = executor_bind,
    .pipeline = executor_pipeline,
    .start = executor_start,
    .cancel = executor_cancel,
    .reply = executor_reply,
    .flush = executor_flush,
    .free = executor_free,
};

struct ag_executor *sim_executor_new(struct sim_world *world, struct sy_loop *loop,
                                     const char *node, const struct sch_resources *capacity,
                                     uint32_t slots, const struct sim_options *options)
{
    struct sim_executor *e = sy_new(struct sim_executor);
    e->base.ops = &executor_ops;
    e->world = world;
    e->loop = loop;
    e->capacity = *capacity;
    e->slots = slots;
    e->options = *options;
    strncpy(e->node, node, sizeof(e->node) - 1);
    return &e->base;
}
