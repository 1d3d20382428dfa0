/*
 * Invariants of the whole region, from what the cores say and what the executors run.
 *
 * Limits. What is out is what a partition has assigned and not seen end. While a partition is away,
 * or does not know yet what of it is out, its part is not known; then what was known last stands.
 * With `most`, the largest limit that was in force since: what is out never exceeds the larger of
 * `most` and what was out before. So a limit holds, and one that is lowered under what runs lets
 * nothing new start until enough has ended. Nothing is in force in a partition that is away: it
 * starts nothing. A paused queue is one with a limit of nothing.
 *
 * Where. An attempt is assigned only to clusters that its queue permitted at some moment since the
 * last look: the nearest list of clusters among it and its parents, and the regions of all of them.
 * Nor to one of which its partition knew that it is closed; see drains.c.
 */
#include "tests/sim/world_impl.h"

#define AMOUNTS 4

static uint64_t amount(const struct sch_use *use, unsigned i)
{
    const uint64_t amounts[AMOUNTS] = {use->actions, use->cpu_milli, use->memory_bytes,
                                       use->gpu_milli};
    return amounts[i];
}

static const struct sch_use everything = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};

static struct sch_use larger(const struct sch_use *a, const struct sch_use *b)
{
    return (struct sch_use){a->actions > b->actions ? a->actions : b->actions,
                            a->cpu_milli > b->cpu_milli ? a->cpu_milli : b->cpu_milli,
                            a->memory_bytes > b->memory_bytes ? a->memory_bytes : b->memory_bytes,
                            a->gpu_milli > b->gpu_milli ? a->gpu_milli : b->gpu_milli};
}

static struct sch_use sum(const struct sch_use *a, const struct sch_use *b)
{
    return (struct sch_use){a->actions + b->actions, a->cpu_milli + b->cpu_milli,
                            a->memory_bytes + b->memory_bytes, a->gpu_milli + b->gpu_milli};
}

/* ---- what the cores say of queues ---- */

struct look {
    struct sim_world *world;
    struct {
        struct sch_use out, most;
        unsigned partitions;                   /* that have it configured */
        bool paused;                           /* in all of these */
        uint32_t permitted;                    /* in one of these: a bit for each operator */
        const struct sch_queue_config *config; /* of the partition at hand; NULL: none */
    } queues[SIM_QUEUES_MAX];
};

/* -1: not one of ours. */
static int queue_index(const struct sim_world *world, const struct sch_queue_key *key)
{
    for (unsigned i = 0; i < sim_queues_count(world->queues); i++) {
        if (memcmp(&sim_queues_at(world->queues, i)->config.key, key, sizeof(*key)) == 0)
            return (int)i;
    }
    return -1;
}

static uint64_t or_all(uint64_t limit)
{
    return limit > 0 ? limit : UINT64_MAX;
}

static struct sch_use limits_of(const struct sch_queue_config *config)
{
    if (config->paused)
        return (struct sch_use){0};
    return (struct sch_use){or_all(config->actions_max), or_all(config->cpu_milli_max),
                            or_all(config->memory_bytes_max),
                            or_all((uint64_t)config->gpus_max * SCH_GPU_MILLI)};
}

static bool add_queue(void *ctx, const struct sch_queue_view *view)
{
    struct look *look = ctx;
    int i = queue_index(look->world, &view->config->key);
    if (i < 0)
        return true;
    struct sch_use out = {view->out, view->cpu_milli, view->memory_bytes, view->gpu_milli};
    struct sch_use most = limits_of(view->config);
    look->queues[i].out = sum(&look->queues[i].out, &out);
    if (!view->configured)
        return true;
    look->queues[i].most = larger(&look->queues[i].most, &most);
    look->queues[i].paused &= view->config->paused;
    look->queues[i].config = view->config;
    look->queues[i].partitions++;
    return true;
}

static const struct sch_queue_config *parent_of(const struct look *look,
                                                const struct sch_queue_config *config)
{
    struct sch_queue_key key = config->key;
    memcpy(key.name, config->parent, sizeof(key.name));
    int i = config->parent[0] ? queue_index(look->world, &key) : -1;
    return i >= 0 ? look->queues[i].config : NULL;
}

static bool is_permitted(const struct look *look, const struct sch_queue_config *config,
                         unsigned operator)
{
    bool named = false;
    for (; config; config = parent_of(look, config)) {
        const char *region = sim_region_of(operator), *name =
                               look->world->operators[operator].process.name;
        bool listed = config->cluster_count == 0, inside = config->region_count == 0;
        for (uint32_t i = 0; i < config->cluster_count; i++)
            listed |= strcmp(config->clusters[i], name) == 0;
        for (uint32_t i = 0; i < config->region_count; i++)
            inside |= strcmp(config->regions[i], region) == 0;
        if (!inside || !(listed || named))
            return false;
        named |= config->cluster_count > 0;
    }
    return true;
}

/* In the partition that was looked at last. */
static void add_places(struct look *look)
{
    for (unsigned i = 0; i < SIM_QUEUES_MAX; i++) {
        for (unsigned k = 0; k < look->world->options.operators; k++) {
            if (is_permitted(look, look->queues[i].config, k))
                look->queues[i].permitted |= 1u << k;
        }
    }
    for (unsigned i = 0; i < SIM_QUEUES_MAX; i++)
        look->queues[i].config = NULL;
}

static struct look look_at_queues(struct sim_world *world, unsigned *ret_serving, bool *ret_known)
{
    struct look look = {.world = world};
    for (unsigned i = 0; i < SIM_QUEUES_MAX; i++)
        look.queues[i].paused = true;
    *ret_serving = 0;
    *ret_known = true;
    for (unsigned i = 0; i < sim_partitions(world); i++) {
        struct sch_partition *core = sim_core(world, i);
        if (core) {
            sch_partition_each_queue(core, add_queue, &look);
            add_places(&look);
        }
        *ret_serving += core != NULL;
        *ret_known &= core && sch_partition_counts(core).recovering == 0;
    }
    for (unsigned i = 0; i < SIM_QUEUES_MAX; i++) {
        look.queues[i].paused &= look.queues[i].partitions == *ret_serving;
        if (look.queues[i].partitions < *ret_serving)
            look.queues[i].most = everything;
    }
    return look;
}

static void check_limit(struct sim_world *world, unsigned i, const struct sch_use *out)
{
    static const char *const names[AMOUNTS] = {"actions", "milli-cpu", "bytes", "milli-GPU"};
    const struct sim_ceiling *ceiling = &world->checks.queues[i];
    for (unsigned k = 0; ceiling->known && k < AMOUNTS; k++) {
        uint64_t most = amount(&ceiling->most, k), before = amount(&ceiling->out, k);
        if (amount(out, k) > most && amount(out, k) > before)
            sim_fail(world, "queue q%u: %" PRIu64 " %s out, limit %" PRIu64 ", before %" PRIu64, i,
                     amount(out, k), names[k], most, before);
    }
}

void sim_check_limits(struct sim_world *world)
{
    unsigned serving;
    bool known;
    if (world->options.queues == 0)
        return;
    struct look look = look_at_queues(world, &serving, &known);
    for (unsigned i = 0; i < world->options.queues; i++) {
        struct sim_ceiling *ceiling = &world->checks.queues[i];
        if (serving > 0)
            ceiling->most = larger(&ceiling->most, &look.queues[i].most);
        ceiling->paused &= serving > 0 && look.queues[i].paused;
        ceiling->permitted |= look.queues[i].permitted;
        if (!known)
            continue;
        check_limit(world, i, &look.queues[i].out);
        ceiling->known = true;
        ceiling->out = look.queues[i].out;
        ceiling->most = look.queues[i].most;
    }
}

/* ---- what the executors run ---- */

struct running {
    struct sim_world *world;
    struct sch_use queues[SIM_QUEUES_MAX];
};

static const struct sch_action *action_of(struct sch_partition *core, const char *path,
                                          const char *name)
{
    const char *run_name = strrchr(path, '/');
    SY_ASSERT(run_name != NULL);
    const struct sch_run *run = sch_partition_find_run(core, "sim", "test", run_name + 1);
    return run ? sch_partition_find_action(core, run, name) : NULL;
}

/* While it is RECOVERING nobody knows. */
static bool is_current(const struct sch_action *action, const struct sim_attempt *attempt)
{
    if (action == NULL)
        return false;
    if (action->sm.state == SCH_ACTION_RECOVERING)
        return attempt->number > action->ended;
    return (action->sm.state == SCH_ACTION_ASSIGNED || action->sm.state == SCH_ACTION_RUNNING) &&
           action->number == attempt->number && action->attempt_epoch == attempt->epoch;
}

static void count_attempt(void *ctx, struct sim_attempt *attempt)
{
    struct running *running = ctx;
    struct sim_world *world = running->world;
    if (attempt->disowned)
        return;
    const char *run = strrchr(attempt->run, '/') + 1;
    struct sch_partition *core = sim_core(world, sim_partition_of(world, run));
    if (core == NULL)
        return;
    const struct sch_action *action = action_of(core, attempt->run, attempt->name);
    attempt->disowned = !is_current(action, attempt);
    int i = attempt->disowned ? -1 : queue_index(world, sch_action_queue(action));
    if (i < 0)
        return;
    struct sch_use one = sch_use_of(&attempt->request);
    running->queues[i] = sum(&running->queues[i], &one);
}

/* What runs is no more than what the cores say is out: their word counts in check_limit(). */
static void check_running(struct sim_world *world)
{
    struct running running = {.world = world};
    for (unsigned i = 0; i < world->options.agents; i++) {
        if (world->agents[i].process.up)
            sim_executor_each(world->agents[i].executor, count_attempt, &running);
    }
    for (unsigned i = 0; i < world->options.queues; i++) {
        const struct sim_ceiling *ceiling = &world->checks.queues[i];
        struct sch_use most = larger(&ceiling->most, &ceiling->out);
        for (unsigned k = 0; ceiling->known && k < AMOUNTS; k++) {
            if (amount(&running.queues[i], k) > amount(&most, k))
                sim_fail(world, "queue q%u: %" PRIu64 " run (amount %u), at most %" PRIu64, i,
                         amount(&running.queues[i], k), k, amount(&most, k));
        }
    }
}

/* ---- attempts ---- */

struct walk {
    struct sim_world *world;
    struct sch_partition *core;
    unsigned partition;
    uint32_t epoch;
};

static bool is_paused(const struct sim_world *world, const struct sch_action *action)
{
    const struct sch_queue_key *key = sch_action_queue(action);
    int i = key ? queue_index(world, key) : -1;
    return i >= 0 && world->checks.queues[i].paused;
}

static void check_place(struct sim_world *world, const struct sch_action *action)
{
    const struct sch_queue_key *key = sch_action_queue(action);
    int i = key ? queue_index(world, key) : -1;
    for (unsigned k = 0; i >= 0 && k < world->options.operators; k++) {
        bool there = strcmp(sch_cluster_name(action->cluster), world->operators[k].process.name) ==
                     0;
        if (there && !(world->checks.queues[i].permitted >> k & 1))
            sim_fail(world, "%s/%s: attempt %u went to %s, where queue %s may not run",
                     action->run->name, action->name, action->number,
                     world->operators[k].process.name, key->name);
    }
}

/* No failure is counted that was none: a preemption, a drain, a pause. Members of a gang count
 * those of any of them. A partition that moves for half a lease has what runs only while it is
 * heard of stopped. */
static void check_failures(struct sim_world *world, const struct sch_action *action,
                           const struct sim_child *child)
{
    const struct sim_options *o = &world->options;
    bool losses = sim_options_lose(o) || (o->shards > 1 && o->stops_pct > 0);
    struct sch_gang_view gang;
    if (sch_action_gang(action, &gang))
        return;
    if (!losses && action->deaths > child->deaths)
        sim_fail(world, "%s/%s: %u deaths counted, %u seen", action->run->name, action->name,
                 action->deaths, child->deaths);
    if (action->user_failures > child->failed || (!losses && action->system_failures > child->lost))
        sim_fail(world, "%s/%s: %u and %u failures counted, %u and %u seen", action->run->name,
                 action->name, action->user_failures, action->system_failures, child->failed,
                 child->lost);
}

static bool check_action(void *ctx, struct sch_action *action)
{
    struct walk *walk = ctx;
    struct sim_world *world = walk->world;
    sch_action_each_child(action, check_action, walk);
    struct sim_child *child = sim_find_child(world, action->run->name, action->name);
    if (child == NULL || strcmp(action->name, SCH_ROOT_NAME) == 0)
        return true;
    check_failures(world, action, child);
    sim_halves_check_id(world, action, child);
    bool out = action->sm.state == SCH_ACTION_ASSIGNED || action->sm.state == SCH_ACTION_RUNNING;
    if (out && sim_partitions(world) > world->options.partitions)
        sim_halves_check_attempt(world, walk->partition, action);
    uint64_t fence = sim_fence(action->attempt_epoch, action->number);
    bool issued = action->attempt_epoch == walk->epoch; /* else it was taken over after a restart */
    if (!out || fence == child->assigned || (fence < child->assigned && !issued))
        return true;
    if (fence < child->assigned)
        sim_fail(world, "%s/%s: attempt %u of epoch %u after %" PRIu64 " of %" PRIu64,
                 action->run->name, action->name, action->number, action->attempt_epoch,
                 child->assigned & UINT32_MAX, child->assigned >> 32);
    if (issued && is_paused(world, action))
        sim_fail(world, "%s/%s: attempt %u was assigned while its queue was paused",
                 action->run->name, action->name, action->number);
    if (issued)
        check_place(world, action);
    if (issued && sim_drains_closed(world, walk->partition, sch_cluster_name(action->cluster)))
        sim_fail(world, "%s/%s: attempt %u went to %s, which is drained or cordoned",
                 action->run->name, action->name, action->number,
                 sch_cluster_name(action->cluster));
    child->assigned = fence;
    return true;
}

static bool check_run(void *ctx, struct sch_run *run)
{
    const struct walk *walk = ctx;
    sim_halves_check_run(walk->world, walk->partition, run);
    return check_action(ctx, run->root);
}

static void check_attempts(struct sim_world *world)
{
    for (unsigned i = 0; i < sim_partitions(world); i++) {
        struct walk walk = {.world = world, .core = sim_core(world, i), .partition = i};
        if (walk.core == NULL)
            continue;
        walk.epoch = world->owners[i].epoch;
        sch_partition_each_run(walk.core, check_run, &walk);
    }
    for (unsigned i = 0; i < SIM_QUEUES_MAX; i++) { /* until a look says otherwise */
        world->checks.queues[i].paused = true;
        world->checks.queues[i].permitted = 0;
    }
    sim_check_limits(world);
    sim_drains_look(world, true);
}

/* ---- what was acknowledged of queues is in force everywhere ---- */

struct in_force {
    struct sim_world *world;
    const struct sim_queue *queue;
    unsigned partition;
    bool found;
};

bool sim_same_settings(const struct sch_queue_config *a, const struct sch_queue_config *b)
{
    return strcmp(a->parent, b->parent) == 0 && a->weight == b->weight &&
           a->priority == b->priority && a->actions_max == b->actions_max &&
           a->cpu_milli_max == b->cpu_milli_max && a->memory_bytes_max == b->memory_bytes_max &&
           a->gpus_max == b->gpus_max && a->length_max == b->length_max &&
           a->preemptible == b->preemptible && a->paused == b->paused &&
           a->preemptible_nodes == b->preemptible_nodes && a->policy == b->policy &&
           a->infeasible == b->infeasible && a->cluster_count == b->cluster_count &&
           a->preferred_count == b->preferred_count &&
           memcmp(a->preferred, b->preferred, a->preferred_count * sizeof(a->preferred[0])) == 0 &&
           a->region_count == b->region_count &&
           memcmp(a->regions, b->regions, a->region_count * sizeof(a->regions[0])) == 0 &&
           memcmp(a->clusters, b->clusters, a->cluster_count * sizeof(a->clusters[0])) == 0;
}

static bool compare_queue(void *ctx, const struct sch_queue_view *view)
{
    struct in_force *in_force = ctx;
    const struct sim_queue *queue = in_force->queue;
    if (!view->configured ||
        memcmp(&view->config->key, &queue->config.key, sizeof(queue->config.key)) != 0)
        return true;
    in_force->found = true;
    if (queue->exists && !sim_same_settings(view->config, &queue->config))
        sim_fail(in_force->world, "queue %s: not in force in partition %u as it was acknowledged",
                 queue->config.key.name, in_force->partition);
    return true;
}

static void check_in_force(struct sim_world *world)
{
    for (unsigned i = 0; i < sim_partitions(world); i++) {
        struct sch_partition *core = sim_core(world, i);
        for (unsigned k = 0; core && k < sim_queues_count(world->queues); k++) {
            struct in_force in_force = {
                .world = world, .queue = sim_queues_at(world->queues, k), .partition = i};
            if (in_force.queue->changing)
                continue;
            sch_partition_each_queue(core, compare_queue, &in_force);
            if (in_force.found != in_force.queue->exists)
                sim_fail(world, "queue %s: partition %u %s it", in_force.queue->config.key.name, i,
                         in_force.found ? "still has" : "has lost");
        }
    }
}

/* ---- for who reads a failing seed ---- */

static bool describe_action(void *ctx, struct sch_action *action)
{
    struct walk *walk = ctx;
    sch_action_each_child(action, describe_action, walk);
    const struct sch_queue_key *key = sch_action_queue(action);
    if (walk->epoch > 0) { /* so many more */
        walk->epoch--;
        fprintf(stderr, "sim: %s/%s: %s, attempt %u of epoch %u, queue '%s'\n", action->run->name,
                action->name, sch_action_table.states[action->sm.state].name, action->number,
                action->attempt_epoch, key ? key->name : "");
    }
    return true;
}

static bool describe_run(void *ctx, struct sch_run *run)
{
    return describe_action(ctx, run->root);
}

void sim_check_describe(struct sim_world *world)
{
    struct walk walk = {.world = world, .epoch = 20};
    for (unsigned i = 0; i < sim_partitions(world); i++) {
        walk.core = sim_core(world, i);
        if (walk.core)
            sch_partition_each_run(walk.core, describe_run, &walk);
    }
}

void sim_check_all(struct sim_world *world)
{
    for (unsigned i = 0; i < sim_partitions(world); i++) {
        const struct sch_partition *core = sim_core(world, i);
        if (core)
            sch_partition_check(core);
    }
    for (unsigned i = 0; i < world->options.operators; i++) {
        if (world->operators[i].process.up)
            dp_operator_check(world->operators[i].daemon);
    }
    sim_check_limits(world);
    check_running(world);
    check_attempts(world);
    check_in_force(world);
}
