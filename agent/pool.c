/* Which attempt goes to which worker, and how many workers there are. */
#include "agent/pool_impl.h"

#include "agent/events.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPELINE_NS (2 * SY_NS_PER_MS) /* work that waits in a worker */
#define PIPELINE_MAX 64
#define CLASSES_REMEMBERED 32
#define SLOW_NS (10 * SY_NS_PER_MS) /* running longer, it must not hold up others */
#define TAKE_BACK_TICK_NS (5 * SY_NS_PER_MS)
#define SCALE_TICK_NS (500 * SY_NS_PER_MS)
#define STARTS_EACH_TIME 16

/* ---- lists ---- */

static void list_append(struct ag_pool_list *list, struct ag_pool_task *task)
{
    task->next = NULL;
    task->previous = list->last;
    if (list->last != NULL)
        list->last->next = task;
    else
        list->first = task;
    list->last = task;
    list->count++;
}

/* By id, so that what comes back is served before what came after it. */
static void insert_sorted(struct ag_pool_list *list, struct ag_pool_task *task)
{
    struct ag_pool_task *after = list->last;
    while (after != NULL && after->base.id > task->base.id)
        after = after->previous;
    task->previous = after;
    task->next = after != NULL ? after->next : list->first;
    if (task->next != NULL)
        task->next->previous = task;
    else
        list->last = task;
    if (after != NULL)
        after->next = task;
    else
        list->first = task;
    list->count++;
}

static void list_remove(struct ag_pool_list *list, struct ag_pool_task *task)
{
    SY_ASSERT(list->count > 0);
    if (task->previous != NULL)
        task->previous->next = task->next;
    else
        list->first = task->next;
    if (task->next != NULL)
        task->next->previous = task->previous;
    else
        list->last = task->previous;
    task->next = task->previous = NULL;
    list->count--;
}

/* ---- classes ---- */

static bool class_idle(const struct ag_pool_class *class)
{
    SY_ASSERT(class != NULL);
    return class->charged == 0 && class->pipelined == 0;
}

static struct ag_pool_class *class_find(const struct ag_pool *pool,
                                        const struct sch_resources *request)
{
    for (uint32_t i = 0; i < pool->class_count; i++) {
        if (sch_resources_equal(&pool->classes[i]->request, request))
            return pool->classes[i];
    }
    return NULL;
}

static struct ag_pool_class *class_find_idle(const struct ag_pool *pool)
{
    for (uint32_t i = 0; i < pool->class_count; i++) {
        if (class_idle(pool->classes[i]))
            return pool->classes[i];
    }
    return NULL;
}

/* As many as were live at a time, and a few that are remembered for their average. */
static struct ag_pool_class *class_get(struct ag_pool *pool, const struct sch_resources *request)
{
    struct ag_pool_class *class = class_find(pool, request);
    if (class == NULL && pool->class_count >= CLASSES_REMEMBERED)
        class = class_find_idle(pool);
    if (class == NULL) {
        pool->classes = sy_realloc(pool->classes,
                                   (pool->class_count + 1) * sizeof(struct ag_pool_class *));
        class = pool->classes[pool->class_count++] = sy_new(struct ag_pool_class);
        class->request = *request;
    } else if (!sch_resources_equal(&class->request, request)) {
        *class = (struct ag_pool_class){.request = *request};
    }
    return class;
}

static uint32_t class_depth(const struct ag_pool_class *class)
{
    if (class->average_ns <= 0)
        return 1;
    int64_t depth = PIPELINE_NS / class->average_ns;
    return depth < 1 ? 1 : depth > PIPELINE_MAX ? PIPELINE_MAX : (uint32_t)depth;
}

static void class_observe(struct ag_pool_class *class, int64_t duration_ns)
{
    if (duration_ns < 1000)
        duration_ns = 1000;
    if (class->average_ns == 0)
        class->average_ns = duration_ns;
    else
        class->average_ns += (duration_ns - class->average_ns) / 8;
}

/* ---- places ---- */

static bool usable(const struct ag_pool_worker *worker)
{
    return worker->sm.state == AG_POOL_WORKER_READY;
}

static struct ag_pool_worker *find_free_slot(const struct ag_pool *pool, const char *gpus)
{
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        struct ag_pool_worker *worker = pool->workers[i];
        if (usable(worker) && worker->tasks.count < pool->concurrency &&
            strcmp(worker->gpus, gpus) == 0)
            return worker;
    }
    return NULL;
}

/* How many more of this class may wait in this worker. */
static uint32_t room_behind(const struct ag_pool *pool, const struct ag_pool_worker *worker,
                            const struct ag_pool_class *class, uint32_t depth)
{
    uint32_t most = pool->concurrency * depth;
    if (!usable(worker) || worker->slow || worker->mixed || worker->class != class ||
        worker->gpus[0] != '\0' || worker->tasks.count < pool->concurrency ||
        worker->tasks.count >= most)
        return 0;
    return most - worker->tasks.count;
}

static struct ag_pool_worker *find_behind(struct ag_pool *pool, const struct ag_pool_class *class)
{
    uint32_t depth = class_depth(class);
    if (depth <= 1)
        return NULL;
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        uint32_t at = (pool->next_behind + i) % pool->worker_count;
        if (room_behind(pool, pool->workers[at], class, depth) > 0) {
            pool->next_behind = at + 1;
            return pool->workers[at];
        }
    }
    return NULL;
}

uint32_t ag_pool_pipeline(const struct ag_pool *pool, const struct sch_resources *request)
{
    const struct ag_pool_class *class = class_find(pool, request);
    if (class == NULL || sch_resources_has_gpu(request))
        return 0;
    /* Room that is charged but not used: a worker ran dry while others had work queued. */
    SY_ASSERT(class->charged >= class->exposed);
    uint32_t depth = class_depth(class), room = class->charged - class->exposed;
    for (uint32_t i = 0; depth > 1 && i < pool->worker_count; i++)
        room += room_behind(pool, pool->workers[i], class, depth);
    return room > class->pending ? room - class->pending : 0;
}

void ag_pool_worker_add(struct ag_pool_worker *worker, struct ag_pool_task *task)
{
    struct ag_pool *pool = worker->pool;
    SY_ASSERT(task->worker == NULL);
    if (worker->tasks.count == 0) {
        worker->class = task->class;
        worker->mixed = false;
        worker->progress_ns = sy_loop_now_ns(pool->exec->loop);
        worker->heard_ns = ag_pool_awake_ns(pool);
    }
    worker->mixed |= worker->class != task->class;
    list_append(&worker->tasks, task);
    if (worker->tasks.count <= pool->concurrency)
        task->class->exposed++;
    SY_ASSERT(worker->tasks.count <= pool->concurrency || !worker->mixed);
    SY_ASSERT(task->class->exposed <= task->class->charged);
    task->worker = worker;
    task->state = AG_POOL_TASK_SENT;
    task->sent_ns = sy_loop_realtime_ns(pool->exec->loop);
    if (task->timeout_ns > 0)
        sy_timer_start_in(pool->exec->loop, &task->timer, task->timeout_ns);
    ag_pool_send_task(worker, task);
    if (worker->tasks.count > pool->concurrency && !sy_timer_running(&pool->take_back_timer))
        sy_timer_start_in(pool->exec->loop, &pool->take_back_timer, TAKE_BACK_TICK_NS);
}

void ag_pool_worker_drop(struct ag_pool_task *task)
{
    struct ag_pool_worker *worker = task->worker;
    struct ag_pool *pool = task->pool;
    if (worker->tasks.count <= pool->concurrency) {
        SY_ASSERT(task->class->exposed > 0);
        task->class->exposed--; /* else the next in its queue, of the same class, is exposed now */
    }
    list_remove(&worker->tasks, task);
    if (worker->tasks.count == 0) {
        worker->class = NULL;
        worker->mixed = false;
        worker->idle_since_ns = sy_loop_now_ns(pool->exec->loop);
    }
    task->worker = NULL;
}

static bool try_place(struct ag_pool *pool, struct ag_pool_task *task)
{
    struct ag_pool_worker *worker = NULL;
    if (task->class->exposed < task->class->charged)
        worker = find_free_slot(pool, task->gpus);
    if (worker == NULL && task->gpus[0] == '\0')
        worker = find_behind(pool, task->class);
    if (worker == NULL)
        return false;
    ag_pool_worker_add(worker, task);
    return true;
}

static void pending_add(struct ag_pool *pool, struct ag_pool_task *task)
{
    task->state = AG_POOL_TASK_PENDING;
    task->class->pending++;
    insert_sorted(&pool->pending, task);
}

static void pending_remove(struct ag_pool *pool, struct ag_pool_task *task)
{
    SY_ASSERT(task->state == AG_POOL_TASK_PENDING);
    task->class->pending--;
    list_remove(&pool->pending, task);
}

/* ---- how many workers ---- */

static uint32_t count_in(const struct ag_pool *pool, enum ag_pool_worker_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < pool->worker_count; i++)
        count += pool->workers[i]->sm.state == state;
    return count;
}

static struct ag_pool_worker *find_idle(const struct ag_pool *pool, const char *other_than)
{
    for (uint32_t i = pool->worker_count; i-- > 0;) {
        struct ag_pool_worker *worker = pool->workers[i];
        if (usable(worker) && worker->tasks.count == 0 &&
            (other_than == NULL || strcmp(worker->gpus, other_than) != 0))
            return worker;
    }
    return NULL;
}

/* A worker's devices are fixed when it starts: each set that waits needs a worker of its own. */
static const char *missing_device_set(const struct ag_pool *pool)
{
    for (const struct ag_pool_task *task = pool->pending.first; task != NULL; task = task->next) {
        bool found = task->gpus[0] == '\0';
        for (uint32_t i = 0; !found && i < pool->worker_count; i++)
            found = strcmp(pool->workers[i]->gpus, task->gpus) == 0 &&
                    pool->workers[i]->sm.state <= AG_POOL_WORKER_READY;
        if (!found)
            return task->gpus;
    }
    return NULL;
}

/* A pool that was made on demand, and that nobody has used for long, keeps none. */
static uint32_t least_workers(const struct ag_pool *pool)
{
    bool unused = pool->remove_ns > 0 && pool->pending.count == 0 &&
                  sy_loop_now_ns(pool->exec->loop) - pool->used_ns > pool->remove_ns;
    for (uint32_t i = 0; unused && i < pool->worker_count; i++)
        unused = pool->workers[i]->tasks.count == 0;
    return unused ? 0 : pool->min;
}

static uint32_t wanted_starts(const struct ag_pool *pool)
{
    uint32_t unexposed = 0;
    for (uint32_t i = 0; i < pool->class_count; i++) {
        if (!sch_resources_has_gpu(&pool->classes[i]->request) || pool->forks)
            unexposed += pool->classes[i]->charged - pool->classes[i]->exposed;
    }
    uint32_t coming = (count_in(pool, AG_POOL_WORKER_SPAWNING) +
                       count_in(pool, AG_POOL_WORKER_STARTING)) *
                      pool->concurrency;
    uint32_t wanted = 0;
    if (unexposed > coming)
        wanted = (unexposed - coming + pool->concurrency - 1) / pool->concurrency;
    uint32_t retiring = count_in(pool, AG_POOL_WORKER_RETIRING) +
                        count_in(pool, AG_POOL_WORKER_DYING);
    uint32_t staying = pool->worker_count - retiring;
    uint32_t min = least_workers(pool);
    if (staying + wanted < min)
        wanted = min - staying;
    uint32_t room = pool->worker_count < pool->max ? pool->max - pool->worker_count : 0;
    wanted = wanted < room ? wanted : room;
    return wanted < STARTS_EACH_TIME ? wanted : STARTS_EACH_TIME;
}

static void scale(struct ag_pool *pool)
{
    int64_t now_ns = sy_loop_now_ns(pool->exec->loop);
    if (pool->exec->freeing || now_ns < pool->start_after_ns)
        return; /* the tick comes back to it */
    const char *gpus = missing_device_set(pool);
    if (gpus != NULL) {
        struct ag_pool_worker *idle = pool->worker_count >= pool->max ? find_idle(pool, gpus)
                                                                      : NULL;
        if (idle != NULL)
            ag_pool_worker_retire(idle); /* its end brings us here again */
        if (pool->worker_count < pool->max && ag_pool_worker_start(pool, gpus) != 0)
            return;
    }
    for (uint32_t n = wanted_starts(pool); n > 0; n--) {
        if (ag_pool_worker_start(pool, "") != 0)
            return;
    }
}

void ag_pool_dispatch(struct ag_pool *pool)
{
    uint64_t pass = ++pool->passes;
    struct ag_pool_task *next;
    for (struct ag_pool_task *task = pool->pending.first; task != NULL; task = next) {
        next = task->next;
        if (task->cancelled || (task->class->blocked_in == pass && task->gpus[0] == '\0'))
            continue;
        pending_remove(pool, task);
        if (!try_place(pool, task)) {
            pending_add(pool, task);
            task->class->blocked_in = pass;
        }
    }
    scale(pool);
}

/* ---- timers ---- */

int64_t ag_pool_awake_ns(const struct ag_pool *pool)
{
    int64_t since_ns = sy_loop_now_ns(pool->exec->loop) - pool->ticked_ns;
    return pool->awake_ns + (since_ns < 2 * SCALE_TICK_NS ? since_ns : 2 * SCALE_TICK_NS);
}

static void take_back(struct ag_pool_worker *worker)
{
    struct ag_pool *pool = worker->pool;
    worker->slow = true;
    uint32_t position = 0, asked = 0;
    for (struct ag_pool_task *task = worker->tasks.first; task != NULL; task = task->next) {
        if (position++ < pool->concurrency || task->state != AG_POOL_TASK_SENT)
            continue;
        task->state = AG_POOL_TASK_TAKING_BACK;
        ag_pool_send_cancel(worker, task->base.id);
        asked++;
    }
    if (asked > 0)
        sy_log(pool->exec->log, &ag_events, AG_EV_TAKEN_BACK, SY_U64("worker", worker->number),
               SY_U64("attempts", asked));
}

static void on_take_back_tick(void *arg)
{
    struct ag_pool *pool = arg;
    int64_t now_ns = sy_loop_now_ns(pool->exec->loop);
    bool again = false;
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        struct ag_pool_worker *worker = pool->workers[i];
        if (!usable(worker) || worker->tasks.count <= pool->concurrency)
            continue;
        again = true;
        if (!worker->slow && now_ns - worker->progress_ns > SLOW_NS)
            take_back(worker);
    }
    if (again)
        sy_timer_start_in(pool->exec->loop, &pool->take_back_timer, TAKE_BACK_TICK_NS);
}

/* Frozen before it began what it was given: neither a message nor its page says that anything runs.
 */
static bool hung(const struct ag_pool_worker *worker)
{
    uint64_t id;
    if (!usable(worker) || worker->tasks.count == 0 || ag_pool_worker_patience_ns(worker) > 0)
        return false;
    for (const struct ag_pool_task *t = worker->tasks.first; t != NULL; t = t->next) {
        if (t->told_started)
            return false;
    }
    return atomic_load(&worker->page->magic) != AG_WORKER_PAGE_MAGIC ||
           ag_pool_worker_running(worker, &id, 1) == 0;
}

static void on_scale_tick(void *arg)
{
    struct ag_pool *pool = arg;
    int64_t now_ns = sy_loop_now_ns(pool->exec->loop);
    pool->awake_ns = ag_pool_awake_ns(pool);
    pool->ticked_ns = now_ns;
    uint32_t ready = count_in(pool, AG_POOL_WORKER_READY), min = least_workers(pool);
    bool unused = pool->remove_ns > 0 && now_ns - pool->used_ns > pool->remove_ns;
    for (uint32_t i = pool->worker_count; i-- > 0;) {
        struct ag_pool_worker *worker = pool->workers[i];
        if (hung(worker)) {
            sy_log(pool->exec->log, &ag_events, AG_EV_WORKER_HUNG,
                   SY_STR("environment", pool->environment), SY_U64("worker", worker->number));
            ag_pool_worker_kill(worker, "it did not answer");
        } else if (ready > min && usable(worker) && worker->tasks.count == 0 &&
                   (unused || now_ns - worker->idle_since_ns > pool->idle_ns)) {
            ag_pool_worker_retire(worker);
            ready--;
        }
    }
    ag_pool_dispatch(pool);
    pool->expired = unused && pool->worker_count == 0 && pool->pending.count == 0;
    sy_timer_start_in(pool->exec->loop, &pool->scale_timer, SCALE_TICK_NS);
}

/* ---- attempts ---- */

static void end_cancelled(struct ag_pool_task *task)
{
    struct ag_result result = {
        .kind = AG_RESULT_CANCELLED,
        .error_code = "Cancelled",
        .error_message = "cancelled before it started",
    };
    ag_pool_task_end(task, &result);
}

int64_t ag_pool_running_since(const struct ag_pool_task *task)
{
    const struct ag_worker_page *page = task->worker->page;
    if (atomic_load(&page->magic) != AG_WORKER_PAGE_MAGIC)
        return task->sent_ns;
    for (uint32_t i = 0; i < task->pool->concurrency; i++) {
        if (atomic_load(&page->slots[i].id) == task->base.id)
            return atomic_load(&page->slots[i].started_ns);
    }
    return 0;
}

/* It was asked to stop, and has not. How long to wait yet; 0: its worker is to die with it. */
static int64_t mercy_ns(struct ag_pool_task *task)
{
    const struct ag_pool *pool = task->pool;
    if (ag_pool_program_kill(task))
        return pool->forks ? pool->exec->start_timeout_ns : pool->exec->cancel_grace_ns;
    if (!pool->forks)
        return 0;
    /* The child gets SIGKILL. That of its parent would be the others' death too, and is for one
     * that stands still. */
    return ag_pool_worker_patience_ns(task->worker);
}

static void on_task_timer(void *arg)
{
    struct ag_pool_task *task = arg;
    struct ag_exec *exec = task->pool->exec;
    if (task->worker == NULL) {
        SY_ASSERT(task->cancelled);
        end_cancelled(task);
        return;
    }
    if (task->cancelled || task->timed_out) {
        int64_t wait_ns = mercy_ns(task);
        if (wait_ns > 0)
            sy_timer_start_in(exec->loop, &task->timer, wait_ns);
        else
            ag_pool_worker_kill(task->worker, task->cancelled
                                                  ? "a cancelled task in it did not stop"
                                                  : "a task in it did not stop at its time limit");
        return;
    }
    int64_t since_ns = ag_pool_running_since(task);
    int64_t ran_ns = since_ns > 0 ? sy_loop_realtime_ns(exec->loop) - since_ns : 0;
    if (ran_ns < task->timeout_ns) {
        sy_timer_start_in(exec->loop, &task->timer, task->timeout_ns - (ran_ns > 0 ? ran_ns : 0));
        return;
    }
    task->timed_out = true;
    ag_pool_send_cancel(task->worker, task->base.id);
    sy_timer_start_in(exec->loop, &task->timer, exec->cancel_grace_ns);
}

struct ag_exec_task *ag_pool_start(struct ag_pool *pool, const struct ag_work *work)
{
    struct ag_pool_task *task = work->pool != NULL ? ag_pool_program_encode(pool, work)
                                                   : ag_pool_task_encode(pool, work);
    task->base.id = work->id;
    task->base.pooled = true;
    task->pool = pool;
    /* Who forks has no devices of its own: the child is told. */
    task->gpus = sy_strdup(work->gpus != NULL && !pool->forks ? work->gpus : "");
    pool->used_ns = sy_loop_now_ns(pool->exec->loop);
    pool->expired = false;
    task->timeout_ns = work->timeout_ns;
    sy_timer_init(&task->timer, on_task_timer, task);
    task->class = class_get(pool, &work->request);
    if (work->pipelined)
        task->class->pipelined++;
    else
        task->class->charged++;
    if (pool->pending.count > 0 || !try_place(pool, task)) {
        pending_add(pool, task);
        ag_pool_dispatch(pool);
    } else if (!work->pipelined && task->worker->tasks.count > pool->concurrency) {
        scale(pool); /* it waits, although it has room */
    }
    return &task->base;
}

void ag_pool_cancel(struct ag_exec_task *base)
{
    struct ag_pool_task *task = (struct ag_pool_task *)base;
    struct sy_loop *loop = task->pool->exec->loop;
    if (task->cancelled)
        return;
    task->cancelled = true;
    if (task->worker == NULL) {
        sy_timer_start_in(loop, &task->timer, 0);
        return;
    }
    ag_pool_send_cancel(task->worker, base->id);
    sy_timer_start_in(loop, &task->timer, task->pool->exec->cancel_grace_ns);
}

/* A worker that does not end one task is killed with all that it runs. */
void ag_pool_kill(struct ag_exec_task *base)
{
    struct ag_pool_task *task = (struct ag_pool_task *)base;
    ag_pool_cancel(base);
    if (task->worker == NULL)
        return; /* it ends in the next turn */
    bool ends = ag_pool_program_kill(task) && task->cgroup != NULL;
    if (!ends)
        ag_pool_worker_kill(task->worker, "a task in it was to be killed");
}

void ag_pool_reply(struct ag_exec_task *base, uint64_t call, uint32_t code, const char *message,
                   struct sy_span body)
{
    const struct ag_pool_task *task = (const struct ag_pool_task *)base;
    if (task->worker != NULL)
        ag_pool_send_reply(task->worker, base->id, call, code, message, body);
}

void ag_pool_task_free(struct ag_exec_task *base)
{
    struct ag_pool_task *task = (struct ag_pool_task *)base;
    sy_timer_stop(task->pool->exec->loop, &task->timer);
    ag_cgroup_put(task->pool->exec->cgroups, task->cgroup);
    free(task->gpus);
    free(task);
}

void ag_pool_task_end(struct ag_pool_task *task, struct ag_result *result)
{
    struct ag_exec *exec = task->pool->exec;
    struct ag_pool_class *class = task->class;
    if (task->worker != NULL)
        ag_pool_worker_drop(task);
    else
        pending_remove(task->pool, task);
    if (class->pipelined > 0)
        class->pipelined--;
    else
        class->charged--;
    SY_ASSERT(class->exposed <= class->charged);
    if (result->started_ns > 0 && result->finished_ns >= result->started_ns)
        class_observe(class, result->finished_ns - result->started_ns);
    result->id = task->base.id;
    sy_map_remove(&exec->tasks, &task->base.link);
    task->pool->used_ns = sy_loop_now_ns(exec->loop);
    ag_exec_result(exec, result);
    ag_pool_task_free(&task->base);
}

void ag_pool_requeue(struct ag_pool_task *task)
{
    struct ag_pool *pool = task->pool;
    ag_pool_worker_drop(task);
    sy_timer_stop(pool->exec->loop, &task->timer);
    task->told_started = false;
    pending_add(pool, task);
    if (task->cancelled)
        sy_timer_start_in(pool->exec->loop, &task->timer, 0);
}

void ag_pool_refuse_pending(struct ag_pool *pool, const char *why)
{
    struct ag_pool_task *task = pool->pending.first;
    while (task != NULL) {
        struct ag_pool_task *next = task->next;
        struct ag_result result = {
            .kind = AG_RESULT_REFUSED,
            .error_code = "WorkerNotStarted",
            .error_message = why,
        };
        ag_pool_task_end(task, &result);
        task = next;
    }
}

/* ---- the pool ---- */

struct ag_pool *ag_pool_new(struct ag_exec *exec, const struct ag_pool_options *options)
{
    SY_ASSERT(options->max > 0 && options->min <= options->max);
    SY_ASSERT(options->concurrency > 0 && options->concurrency <= AG_WORKER_CONCURRENCY_MAX);
    struct ag_pool *pool = sy_new(struct ag_pool);
    pool->exec = exec;
    pool->environment = sy_strdup(options->environment);
    struct ag_env command = {0};
    ag_env_add_all(&command, options->command);
    ag_env_add_all(&command, (const char *const[]){"--concurrency", NULL});
    char concurrency[16];
    snprintf(concurrency, sizeof(concurrency), "%u", options->concurrency);
    ag_env_add_all(&command, (const char *const[]){concurrency, NULL});
    pool->command = command.items;
    ag_env_add_all(&pool->env, options->env);
    pool->min = options->min;
    pool->max = options->max;
    pool->concurrency = options->concurrency;
    pool->idle_ns = options->idle_ns;
    pool->memory_bytes = options->memory_bytes;
    pool->remove_ns = options->remove_ns;
    pool->forks = options->forks;
    pool->used_ns = pool->ticked_ns = sy_loop_now_ns(exec->loop);
    pool->workers = sy_calloc(pool->max, sizeof(struct ag_pool_worker *));
    sy_timer_init(&pool->take_back_timer, on_take_back_tick, pool);
    sy_timer_init(&pool->scale_timer, on_scale_tick, pool);
    sy_timer_start_in(exec->loop, &pool->scale_timer, 0);
    return pool;
}

bool ag_pool_expired(const struct ag_pool *pool)
{
    return pool->expired;
}

const char *ag_pool_environment(const struct ag_pool *pool)
{
    return pool->environment;
}

void ag_pool_status(const struct ag_pool *pool, struct ag_pool_status *ret)
{
    *ret = (struct ag_pool_status){
        .starting = count_in(pool, AG_POOL_WORKER_SPAWNING) +
                    count_in(pool, AG_POOL_WORKER_STARTING),
        .ready = count_in(pool, AG_POOL_WORKER_READY),
        .retiring = count_in(pool, AG_POOL_WORKER_RETIRING),
        .waiting = pool->pending.count,
        .started = pool->started,
        .died = pool->died,
        .taken_back = pool->taken_back,
    };
    for (uint32_t i = 0; i < pool->worker_count; i++)
        ret->running += pool->workers[i]->tasks.count;
}

void ag_pool_flush(struct ag_pool *pool)
{
    while (pool->dirty != NULL) {
        struct ag_pool_worker *worker = pool->dirty;
        pool->dirty = worker->dirty_next;
        worker->dirty = false;
        if (ag_pool_worker_write(worker) < 0)
            ag_pool_worker_kill(worker, "its socket is broken");
    }
}

void ag_pool_free(struct ag_pool *pool)
{
    sy_timer_stop(pool->exec->loop, &pool->take_back_timer);
    sy_timer_stop(pool->exec->loop, &pool->scale_timer);
    while (pool->worker_count > 0)
        ag_pool_worker_free(pool->workers[pool->worker_count - 1]);
    for (char **item = pool->command; *item != NULL; item++)
        free(*item);
    free(pool->command);
    ag_env_deinit(&pool->env);
    for (uint32_t i = 0; i < pool->class_count; i++)
        free(pool->classes[i]);
    free(pool->classes);
    free(pool->workers);
    free(pool->environment);
    free(pool);
}
