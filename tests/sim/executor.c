/* The simulated executor: see world.h. */
#include "tests/sim/executor.h"

#include "base/loop.h"
#include "base/mem.h"
#include "scheduler/labels.h"
#include "tests/sim/gangs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOPPED_TASK_NS_MAX (20 * SY_NS_PER_S) /* longer than leases */
#define GRACE_NS (10 * SY_NS_PER_S)

struct sim_task {
    struct sim_attempt attempt;
    struct sim_task *next;
    struct sim_executor *executor;
    struct sim_child *child;
    struct sy_timer timer, begins;
    uint64_t id;
    char gpus[64];
    char output[4 * SCH_NAME_MAX];
    enum ag_result_kind kind;
    enum ag_death death;
    bool stops, deaf; /* it runs only while it is heard of; its agent cannot but kill it */
    int64_t started_ns;
};

/* A GPU, or a slice. */
struct device {
    char name[32];
    uint32_t used_milli;
};

struct sim_executor {
    struct ag_executor base;
    struct sim_world *world;
    struct sy_loop *loop;
    const struct ag_executor_events *events;
    void *ctx;
    struct sim_task *tasks;
    char name[32];
    struct sim_node node;
    struct sch_resources used;
    uint32_t slots_used;
    struct device devices[8];
    unsigned device_count;
    struct sim_options options;
};

/* ---- room ---- */

static uint32_t part_of_device(const struct sch_resources *request)
{
    return request->gpu_milli > 0 ? request->gpu_milli : SCH_GPU_MILLI;
}

static uint32_t device_count(const struct sch_resources *request)
{
    return request->gpu_milli > 0 ? 1 : request->gpus;
}

static struct device *find_device(struct sim_executor *e, const char *name, size_t len)
{
    for (unsigned i = 0; i < e->device_count; i++) {
        if (strlen(e->devices[i].name) == len && memcmp(e->devices[i].name, name, len) == 0)
            return &e->devices[i];
    }
    sim_fail(e->world, "node %s has no device '%s'", e->name, name);
}

/* `gpus`: as many names as are asked for, with commas. */
static void use_devices(struct sim_executor *e, const struct sch_resources *request,
                        const char *gpus, bool more)
{
    uint32_t part = part_of_device(request), count = 0;
    for (const char *at = gpus; *at != '\0'; count++) {
        size_t len = strcspn(at, ",");
        struct device *device = find_device(e, at, len);
        device->used_milli += more ? part : -part;
        if (device->used_milli > SCH_GPU_MILLI)
            sim_fail(e->world, "node %s: device %s given twice", e->name, device->name);
        at += len + (at[len] == ',');
    }
    if (count != device_count(request))
        sim_fail(e->world, "node %s: %u devices asked, '%s' given", e->name, device_count(request),
                 gpus);
}

static void room_take(struct sim_executor *e, const struct sim_task *task)
{
    const struct sch_resources *request = &task->attempt.request, *has = &e->node.capacity;
    e->used.cpu_milli += request->cpu_milli;
    e->used.memory_bytes += request->memory_bytes;
    e->slots_used += request->environment[0] != '\0';
    if (e->used.cpu_milli > has->cpu_milli || e->used.memory_bytes > has->memory_bytes ||
        e->slots_used > e->node.environment.slots)
        sim_fail(e->world, "node %s: room given twice: %u of %u milli-cpu, %u of %u slots", e->name,
                 e->used.cpu_milli, has->cpu_milli, e->slots_used, e->node.environment.slots);
    use_devices(e, request, task->gpus, true);
    if (!sch_labels_contain(e->node.traits.labels, request->labels, NULL))
        sim_fail(e->world, "node %s has not all of the labels '%s'", e->name, request->labels);
}

static void room_give(struct sim_executor *e, const struct sim_task *task)
{
    const struct sch_resources *request = &task->attempt.request;
    SY_ASSERT(e->used.cpu_milli >= request->cpu_milli);
    e->used.cpu_milli -= request->cpu_milli;
    e->used.memory_bytes -= request->memory_bytes;
    e->slots_used -= request->environment[0] != '\0';
    use_devices(e, request, task->gpus, false);
}

/* ---- tasks ---- */

/* What it did by itself; the core may count no more than that as the task's failures. */
static void keep_books(const struct sim_task *task)
{
    struct sim_child *child = task->child;
    child->failed += task->kind == AG_RESULT_FAILED || task->kind == AG_RESULT_FAILED_FINAL ||
                     task->kind == AG_RESULT_TIMED_OUT || task->kind == AG_RESULT_OUT_OF_MEMORY;
    child->lost += task->kind == AG_RESULT_LOST;
    if (task->kind == AG_RESULT_REFUSED) /* a second one ends it: sch_action_outcome() */
        child->lost += 1 + SIM_SYSTEM_RETRIES / 2;
    child->deaths += task->death == AG_DEATH_ALONE;
}

static void task_end(void *arg)
{
    struct sim_task *task = arg;
    struct sim_executor *e = task->executor;
    struct sim_task **at = &e->tasks;
    while (*at != task)
        at = &(*at)->next;
    *at = task->next;
    sy_timer_stop(e->loop, &task->begins);
    task->child->running--;
    room_give(e, task);
    keep_books(task);
    sim_fair_count(e->world, task->attempt.run, -1);
    struct ag_result result = {
        .id = task->id,
        .kind = task->kind,
        .death = task->death,
        .error_code = task->kind == AG_RESULT_SUCCEEDED ? "" : "SimulatedError",
        .error_message = task->kind == AG_RESULT_SUCCEEDED ? "" : "the simulator said so",
        .started_ns = task->started_ns,
        .finished_ns = sy_loop_realtime_ns(e->loop),
    };
    if (task->kind == AG_RESULT_SUCCEEDED)
        result.output = (struct sy_span){(const uint8_t *)task->output, strlen(task->output)};
    sim_trace(e->world, "end", e->name, task->id);
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
    if (sy_rng_chance(rng, e->options.task_oom_pct, 100))
        return AG_RESULT_OUT_OF_MEMORY;
    if (e->options.task_refused_pct > 0 && sy_rng_chance(rng, e->options.task_refused_pct, 100))
        return AG_RESULT_REFUSED;
    if (e->options.task_late_pct > 0 && sy_rng_chance(rng, e->options.task_late_pct, 100))
        return AG_RESULT_TIMED_OUT;
    if (e->options.task_final_pct > 0 && sy_rng_chance(rng, e->options.task_final_pct, 100))
        return AG_RESULT_FAILED_FINAL;
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

/* Of work that its agents stop in time there is one attempt at any moment. */
static void look_for_twin(struct sim_executor *e, const struct sim_task *task)
{
    if (task->stops && task->child->running > 0)
        sim_fail(e->world, "%s/%s: attempt %u of epoch %u starts on %s while another one runs",
                 task->attempt.run, task->attempt.name, task->attempt.number, task->attempt.epoch,
                 e->name);
}

/* No fence is given out twice. */
static void note_start(struct sim_executor *e, struct sim_task *task)
{
    const struct sim_attempt *attempt = &task->attempt;
    uint64_t fence = sim_fence(attempt->epoch, attempt->number);
    task->child = sim_find_child(e->world, attempt->run, attempt->name);
    if (task->child == NULL)
        sim_fail(e->world, "node %s starts %s/%s, which nobody asked for", e->name, attempt->run,
                 attempt->name);
    if (task->child->started == fence)
        sim_fail(e->world, "%s/%s: attempt %u of epoch %u starts twice", attempt->run,
                 attempt->name, attempt->number, attempt->epoch);
    task->child->started = fence;
    look_for_twin(e, task);
    task->child->running++;
    sim_fair_count(e->world, attempt->run, 1);
}

/* Its worker is there: a while after it was handed over, or never. */
static void task_begins(void *arg)
{
    struct sim_task *task = arg;
    struct sim_executor *e = task->executor;
    task->started_ns = sy_loop_realtime_ns(e->loop);
    e->events->on_started(e->ctx, task->id, task->started_ns);
}

/* What ends before its worker is there has not started, and what is refused never does. */
static void draw_times(struct sim_executor *e, struct sim_task *task)
{
    bool lasts = task->stops && task->kind != AG_RESULT_REFUSED;
    int64_t most_ns = lasts ? STOPPED_TASK_NS_MAX : e->options.task_ns_max;
    uint64_t lasts_ns = sy_rng_below(sim_rng(e->world), (uint64_t)most_ns + 1);
    uint64_t first_ns = (uint64_t)e->options.task_ns_max;
    uint64_t begins_ns =
        sy_rng_below(sim_rng(e->world), (lasts_ns < first_ns ? lasts_ns : first_ns) + 1) / 4;
    sy_timer_init(&task->timer, task_end, task);
    sy_timer_init(&task->begins, task_begins, task);
    sy_timer_start_in(e->loop, &task->timer, (int64_t)lasts_ns);
    if (task->kind != AG_RESULT_REFUSED)
        sy_timer_start_in(e->loop, &task->begins, (int64_t)begins_ns);
}

static void executor_start(struct ag_executor *base, const struct ag_work *work)
{
    struct sim_executor *e = (struct sim_executor *)base;
    struct sim_task *task = sy_new(struct sim_task);
    task->executor = e;
    task->id = work->id;
    task->attempt.request = work->request;
    task->attempt.number = work->number;
    task->attempt.epoch = work->epoch;
    snprintf(task->attempt.run, sizeof(task->attempt.run), "%s", work->run);
    snprintf(task->attempt.name, sizeof(task->attempt.name), "%s", work->name);
    snprintf(task->gpus, sizeof(task->gpus), "%s", work->gpus);
    for (const char *const *at = work->env; at != NULL && *at != NULL; at++)
        task->stops |= strcmp(*at, "SWITCHYARD_ON_PARTITION=stop-on-agent") == 0;
    task->deaf = task->stops && work->id % 2 == 0;
    note_start(e, task);
    room_take(e, task);
    if (work->gang != NULL)
        sim_gang_started(e->world, sim_world_gangs(e->world), work);
    task->kind = draw_end(e);
    if (task->kind == AG_RESULT_LOST) /* a suspect has its worker for itself */
        task->death = work->suspect || work->id % 2 ? AG_DEATH_ALONE : AG_DEATH_SHARED;
    make_output(task, work);
    task->next = e->tasks;
    e->tasks = task;
    draw_times(e, task);
    sim_trace(e->world, "start", e->name, work->id);
}

static void cancel(struct ag_executor *base, uint64_t id, bool surely)
{
    struct sim_executor *e = (struct sim_executor *)base;
    for (struct sim_task *task = e->tasks; task != NULL; task = task->next) {
        if (task->id == id) {
            task->kind = AG_RESULT_CANCELLED;
            sy_timer_start_in(e->loop, &task->timer, task->deaf && !surely ? GRACE_NS : 0);
            return;
        }
    }
}

static void executor_cancel(struct ag_executor *base, uint64_t id, const char *reason)
{
    cancel(base, id, strstr(reason, "proof") == NULL); /* others are not kept waiting */
}

static void executor_kill(struct ag_executor *base, uint64_t id)
{
    cancel(base, id, true);
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
        sy_timer_stop(e->loop, &task->begins);
        task->child->running--;
        free(task);
    }
    free(e);
}

static const struct ag_executor_ops executor_ops = {
    .bind = executor_bind,
    .pipeline = executor_pipeline,
    .start = executor_start,
    .cancel = executor_cancel,
    .kill = executor_kill,
    .reply = executor_reply,
    .flush = executor_flush,
    .free = executor_free,
};

static void add_device(struct sim_executor *e, const char *name)
{
    SY_ASSERT(e->device_count < SY_COUNT_OF(e->devices));
    snprintf(e->devices[e->device_count++].name, sizeof(e->devices[0].name), "%s", name);
}

struct ag_executor *sim_executor_new(struct sim_world *world, struct sy_loop *loop,
                                     const char *name, const struct sim_node *node,
                                     const struct sim_options *options)
{
    struct sim_executor *e = sy_new(struct sim_executor);
    e->base.ops = &executor_ops;
    e->world = world;
    e->loop = loop;
    e->node = *node;
    e->options = *options;
    snprintf(e->name, sizeof(e->name), "%s", name);
    for (uint32_t i = 0; i < node->capacity.gpus; i++)
        add_device(e, (const char[]){(char)('0' + i), '\0'});
    for (uint32_t i = 0; node->traits.slice_count > 0 && i < node->traits.slices[0].count; i++)
        add_device(e, sim_slice_names[i]);
    return &e->base;
}

void sim_executor_each(struct ag_executor *executor,
                       void (*fn)(void *ctx, struct sim_attempt *attempt), void *ctx)
{
    struct sim_executor *e = (struct sim_executor *)executor;
    for (struct sim_task *task = e->tasks; task != NULL; task = task->next)
        fn(ctx, &task->attempt);
}
