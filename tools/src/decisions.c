#include "tools/src/decisions.h"

#include "base/mem.h"
#include "base/rng.h"
#include "scheduler/operator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KINDS 100u
#define STEP_NS (5 * SY_NS_PER_US) /* of the virtual clock */
#define PARTITION 1u
#define IDLE_MAX 2000u    /* turns without a placement: nothing is granted for now */
#define FILL_TURNS 20000u /* between looks at how full it is */
#define FILLED 0.8        /* of the cores */

enum sort { SET_UP, PLACE, STARTED, FINISH, ACK, DEMAND, TICK, SORTS };
static const char *const sort_names[SORTS] = {"set up",      "place",  "start", "finish",
                                              "acknowledge", "demand", "tick"};

/* What each step of the sequence took; over the repetitions the least. */
struct times {
    uint32_t *ns;
    uint8_t *sorts;
    size_t count, cap;
};

struct kind {
    struct sch_resources request;
    uint64_t granted, assigned;
};

struct amount {
    uint64_t cpu_milli, memory_bytes, gpu_milli;
};

struct running {
    struct sch_attempt_key key;
    const char *node;
    uint32_t kind;
};

struct world {
    struct sch_operator *op;
    struct sch_op_effects fx;
    struct sy_rng rng;
    int64_t now;
    struct kind kinds[KINDS];
    uint32_t kind_count, next_kind;
    struct amount room, assigned; /* of all kinds together: granted, sent */
    struct running *running;
    size_t running_count, running_cap;
    uint64_t action, placed;
    uint64_t sums[SORTS], counts[SORTS];
    struct times *times;
    size_t step;
    bool measuring;
};

/* ---- steps ---- */

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void note(struct world *w, enum sort sort, uint64_t ns)
{
    struct times *times = w->times;
    w->sums[sort] += ns;
    w->counts[sort]++;
    if (!w->measuring)
        return;
    size_t i = w->step++;
    if (i == times->cap) {
        times->cap = times->cap ? times->cap * 2 : 4096;
        times->ns = sy_realloc(times->ns, times->cap * sizeof(*times->ns));
        times->sorts = sy_realloc(times->sorts, times->cap);
    }
    if (i == times->count) {
        times->ns[i] = UINT32_MAX;
        times->sorts[i] = (uint8_t)sort;
        times->count++;
    }
    SY_ASSERT(times->sorts[i] == sort);
    if (ns < times->ns[i])
        times->ns[i] = (uint32_t)ns;
}

static void carry(struct world *w, const struct sch_op_effect *effect)
{
    if (effect->type == SCH_OP_SEND_GRANT) {
        w->kinds[effect->u.grant.class_id - 1].granted = effect->u.grant.granted;
        return;
    }
    if (effect->type == SCH_OP_SEND_ROOM)
        w->room = (struct amount){effect->u.room.cpu_milli, effect->u.room.memory_bytes,
                                  effect->u.room.gpu_milli};
    if (effect->type != SCH_OP_SEND_ASSIGN)
        return;
    if (w->running_count == w->running_cap) {
        w->running_cap = w->running_cap ? w->running_cap * 2 : 1024;
        w->running = sy_realloc(w->running, w->running_cap * sizeof(*w->running));
    }
    struct running *running = &w->running[w->running_count++];
    running->key = effect->u.assign.key;
    running->node = effect->u.assign.node;
    running->kind = (uint32_t)(uintptr_t)effect->u.assign.blob.data;
    w->placed++;
}

static void step(struct world *w, enum sort sort, struct sch_op_event *event)
{
    event->now_ns = w->now;
    uint64_t begin = clock_ns();
    sch_operator_step(w->op, event, &w->fx);
    note(w, sort, clock_ns() - begin);
    for (size_t i = 0; i < w->fx.count; i++)
        carry(w, &w->fx.items[i]);
}

static void tick(struct world *w)
{
    w->now += STEP_NS;
    if (sch_operator_next_ns(w->op) <= w->now)
        step(w, TICK, &(struct sch_op_event){.type = SCH_OP_TICK});
}

static void demand(struct world *w, uint32_t kind)
{
    struct sch_op_event event = {.type = SCH_OP_DEMAND};
    event.u.demand.partition = PARTITION;
    event.u.demand.class_id = kind + 1;
    event.u.demand.request = w->kinds[kind].request;
    event.u.demand.waiting = 100000;
    step(w, DEMAND, &event);
}

/* Within what is granted of its kind, and of the room of all. */
static bool may_send(const struct world *w, const struct kind *kind)
{
    const struct sch_resources *request = &kind->request;
    return kind->assigned < kind->granted &&
           w->assigned.cpu_milli + request->cpu_milli <= w->room.cpu_milli &&
           w->assigned.memory_bytes + request->memory_bytes <= w->room.memory_bytes &&
           w->assigned.gpu_milli + sch_resources_gpu_milli(request) <= w->room.gpu_milli;
}

/* One of the next kind in turn that may be sent; false: nothing is granted. */
static bool place(struct world *w)
{
    for (uint32_t i = 0; i < w->kind_count; i++) {
        uint32_t kind = (w->next_kind + i) % w->kind_count;
        if (!may_send(w, &w->kinds[kind]))
            continue;
        const struct sch_resources *request = &w->kinds[kind].request;
        w->next_kind = kind + 1;
        w->kinds[kind].assigned++;
        w->assigned.cpu_milli += request->cpu_milli;
        w->assigned.memory_bytes += request->memory_bytes;
        w->assigned.gpu_milli += sch_resources_gpu_milli(request);
        struct sch_op_event event = {.type = SCH_OP_ASSIGN};
        event.u.assign.key = (struct sch_attempt_key){++w->action, PARTITION, 1, 1};
        event.u.assign.class_id = kind + 1;
        event.u.assign.blob.data = (void *)(uintptr_t)(kind + 1);
        step(w, PLACE, &event);
        return true;
    }
    return false;
}

static void report(struct world *w, enum sort sort, enum sch_op_event_type type,
                   const struct running *running)
{
    struct sch_op_event event = {.type = type};
    event.u.report.node = running->node;
    event.u.report.key = running->key;
    if (type == SCH_OP_OUTCOME)
        event.u.report.blob.data = w;
    step(w, sort, &event);
}

static void finish(struct world *w)
{
    size_t at = sy_rng_below(&w->rng, w->running_count);
    struct running running = w->running[at];
    w->running[at] = w->running[--w->running_count];
    report(w, STARTED, SCH_OP_STARTED, &running);
    report(w, FINISH, SCH_OP_OUTCOME, &running);
    step(w, ACK, &(struct sch_op_event){.type = SCH_OP_ACK, .u.key = running.key});
}

/* ---- the cluster ---- */

static struct world *world_new(struct times *times)
{
    struct world *w = sy_new(struct world);
    struct sch_operator_options options = {
        .hold_ns = 3600 * SY_NS_PER_S, .node_lease_ns = 15 * SY_NS_PER_S, .join_grace_ns = 0};
    w->now = SY_NS_PER_S;
    w->times = times;
    w->op = sch_operator_new(&options, w->now);
    sy_rng_init(&w->rng, 1);
    struct sch_op_event event = {.type = SCH_OP_PARTITION_UP};
    event.u.partition.partition = PARTITION;
    event.u.partition.epoch = 1;
    step(w, SET_UP, &event);
    return w;
}

static void world_free(struct world *w)
{
    sch_operator_free(w->op);
    sch_op_effects_deinit(&w->fx);
    free(w->running);
    free(w);
}

static void node_up(struct world *w, uint32_t i, const struct sch_shape *shape)
{
    char name[16];
    snprintf(name, sizeof(name), "node-%06u", i);
    struct sch_op_event event = {.type = SCH_OP_NODE_UP};
    event.u.node.name = name;
    event.u.node.capacity = shape->capacity;
    event.u.node.traits = &shape->traits;
    event.u.node.environments = shape->environments;
    event.u.node.environment_count = shape->environment_count;
    step(w, SET_UP, &event);
    struct sch_op_event complete = {.type = SCH_OP_NODE_INVENTORY_COMPLETE};
    complete.u.node.name = name;
    step(w, SET_UP, &complete);
}

#define GIB ((uint64_t)1 << 30)

static const struct sch_shape shapes[] = {
    {.capacity = {.cpu_milli = 64000, .memory_bytes = 256 * GIB},
     .environment_count = 2,
     .environments = {{"py", 16}, {"spark", 8}}},
    {.capacity = {.cpu_milli = 32000, .memory_bytes = 512 * GIB},
     .traits = {.labels = "disk=ssd"},
     .environment_count = 1,
     .environments = {{"py", 16}}},
    {.capacity = {.cpu_milli = 96000, .memory_bytes = 1024 * GIB, .gpus = 8, .gpu_model = "H100"}},
    {.capacity = {.cpu_milli = 48000, .memory_bytes = 256 * GIB, .gpus = 4, .gpu_model = "A100"},
     .traits = {.gpus_shared = 1, .slice_count = 1, .slices = {{"1g.5gb", 7}}}},
};

static void mixed_kind(struct sy_rng *rng, uint32_t i, struct sch_resources *ret)
{
    *ret = (struct sch_resources){.cpu_milli = 500 + (uint32_t)sy_rng_below(rng, 16) * 500,
                                  .memory_bytes = GIB + sy_rng_below(rng, 64) * GIB / 2};
    switch (i % 10) {
    case 0:
        ret->gpus = 1u << sy_rng_below(rng, 4);
        memcpy(ret->gpu_model, "H100", 4);
        break;
    case 1:
        ret->gpu_milli = 100 + (uint32_t)sy_rng_below(rng, 9) * 100;
        break;
    case 2:
        ret->gpus = 1;
        memcpy(ret->gpu_partition, "1g.5gb", 6);
        break;
    case 3:
    case 4:
        memcpy(ret->environment, "py", 2);
        break;
    case 5:
        memcpy(ret->labels, "disk=ssd", 8);
        break;
    default:
        break;
    }
}

static bool add_cores(void *ctx, const struct sch_node_view *node)
{
    double *sums = ctx;
    sums[0] += node->used_cpu_milli;
    sums[1] += node->capacity.cpu_milli;
    return true;
}

static void sum_cores(struct world *w, double *ret_filled)
{
    double sums[2] = {0, 0};
    sch_operator_each_node(w->op, add_cores, sums);
    *ret_filled = sums[1] > 0 ? sums[0] / sums[1] : 0;
}

/* ---- results ---- */

static double mean_us(const struct world *w, enum sort sort)
{
    return w->counts[sort] > 0 ? (double)w->sums[sort] / (double)w->counts[sort] / 1e3 : 0;
}

static struct decisions_result result_of(struct world *w, uint32_t nodes)
{
    uint64_t all_ns = 0;
    for (unsigned sort = PLACE; sort < SORTS; sort++)
        all_ns += w->sums[sort];
    struct decisions_result result = {.nodes = nodes,
                                      .kinds = w->kind_count,
                                      .placed = w->placed,
                                      .per_s = (double)w->placed * 1e9 / (double)all_ns,
                                      .place_us = mean_us(w, PLACE),
                                      .finish_us = mean_us(w, FINISH)};
    sum_cores(w, &result.filled);
    return result;
}

static int compare_results(const void *a, const void *b)
{
    double left = ((const struct decisions_result *)a)->per_s;
    double right = ((const struct decisions_result *)b)->per_s;
    return (left > right) - (left < right);
}

static void conclude(struct decisions_result *all, unsigned repeat, struct times *times,
                     struct decisions_result *ret)
{
    qsort(all, repeat, sizeof(*all), compare_results);
    *ret = all[repeat / 2];
    uint32_t longest = 0;
    for (size_t i = 0; i < times->count; i++) {
        if (times->ns[i] <= longest)
            continue;
        longest = times->ns[i];
        ret->longest = sort_names[times->sorts[i]];
    }
    ret->longest_us = longest / 1e3;
    free(times->ns);
    free(times->sorts);
    free(all);
}

static void begin(struct world *w)
{
    memset(w->sums, 0, sizeof(w->sums));
    memset(w->counts, 0, sizeof(w->counts));
    w->placed = 0;
    w->measuring = true;
}

/* ---- the instances ---- */

void decisions_packing(unsigned repeat, struct decisions_result *ret)
{
    enum { NODES = 1000, TASKS = 32000 };
    struct sch_shape shape = {.capacity = {.cpu_milli = 32000, .memory_bytes = 256 * GIB}};
    struct times times = {0};
    struct decisions_result *all = sy_calloc(repeat, sizeof(*all));
    for (unsigned r = 0; r < repeat; r++) {
        struct world *w = world_new(&times);
        for (uint32_t i = 0; i < NODES; i++)
            node_up(w, i, &shape);
        w->kind_count = 1;
        w->kinds[0].request.cpu_milli = 1000;
        begin(w);
        demand(w, 0);
        while (w->placed < TASKS) {
            (void)place(w);
            tick(w);
        }
        all[r] = result_of(w, NODES);
        SY_ASSERT(all[r].filled == 1.0);
        world_free(w);
    }
    conclude(all, repeat, &times, ret);
}

static void fill(struct world *w)
{
    double filled;
    do {
        for (unsigned turn = 0; turn < FILL_TURNS; turn++) {
            (void)place(w);
            tick(w);
        }
        sum_cores(w, &filled);
    } while (filled < FILLED);
}

void decisions_churn(uint32_t nodes, uint64_t steps, unsigned repeat, struct decisions_result *ret)
{
    struct times times = {0};
    struct decisions_result *all = sy_calloc(repeat, sizeof(*all));
    for (unsigned r = 0; r < repeat; r++) {
        struct world *w = world_new(&times);
        for (uint32_t i = 0; i < nodes; i++)
            node_up(w, i, &shapes[i % SY_COUNT_OF(shapes)]);
        w->kind_count = KINDS;
        for (uint32_t i = 0; i < KINDS; i++) {
            mixed_kind(&w->rng, i, &w->kinds[i].request);
            demand(w, i);
        }
        fill(w);
        begin(w);
        for (uint64_t i = 0; i < steps; i++) {
            finish(w);
            for (uint64_t idle = 0; !place(w) && idle < IDLE_MAX; idle++)
                tick(w);
            tick(w);
            SY_ASSERT(w->running_count > 0);
        }
        all[r] = result_of(w, nodes);
        world_free(w);
    }
    conclude(all, repeat, &times, ret);
}
