#include "tools/src/sim_world.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- policies by name ---- */

int sim_policy_parse(const char *name, struct sim_options *ret)
{
    static const struct sim_policy *const baselines[] = {&sim_policy_fifo, &sim_policy_first_fit,
                                                         &sim_policy_kubernetes};
    enum sch_policy of_cluster;
    ret->policy = &sim_policy_switchyard;
    ret->cluster_policy = -1;
    if (strcmp(name, "configured") == 0)
        return 0;
    if (sch_policy_parse(name, &of_cluster) == 0) {
        ret->cluster_policy = (int)of_cluster;
        return 0;
    }
    for (size_t i = 0; i < SY_COUNT_OF(baselines); i++) {
        if (strcmp(baselines[i]->name, name) == 0) {
            ret->policy = baselines[i];
            return 0;
        }
    }
    return -EINVAL;
}

/* ---- tasks ---- */

void sim_world_at(struct sim_world *world, int64_t at_ns, sim_event_fn fn, void *owner, void *arg)
{
    SY_ASSERT(at_ns >= world->now_ns);
    sim_events_add(&world->events, at_ns, fn, owner, arg);
}

static const struct sch_resources *request_of(const struct sim_world *world, uint32_t task)
{
    return &world->trace->kinds[world->trace->tasks[task].kind]->request;
}

static void list_on_node(struct sim_world *world, uint32_t task)
{
    struct sim_node *node = &world->nodes[world->tasks[task].node];
    world->tasks[task].next = node->first;
    if (node->first > 0)
        world->tasks[node->first - 1].previous = task + 1;
    node->first = task + 1;
}

static void unlist(struct sim_world *world, uint32_t task)
{
    const struct sim_progress *progress = &world->tasks[task];
    uint32_t *from = progress->previous > 0 ? &world->tasks[progress->previous - 1].next
                                            : &world->nodes[progress->node].first;
    SY_ASSERT(*from == task + 1);
    *from = progress->next;
    if (progress->next > 0)
        world->tasks[progress->next - 1].previous = progress->previous;
}

static void leave_node(struct sim_world *world, uint32_t task)
{
    struct sim_progress *progress = &world->tasks[task];
    SY_ASSERT(progress->running && world->running > 0);
    sim_measure_leave(world->measure, world->now_ns, task, progress->node);
    sim_node_give(&world->nodes[progress->node], request_of(world, task), progress->gpus);
    unlist(world, task);
    progress->running = false;
    world->running--;
    world->changed_ns = world->now_ns;
}

static void end_of_task(void *owner, void *arg)
{
    struct sim_world *world = owner;
    struct sim_progress *progress = arg;
    uint32_t task = (uint32_t)(progress - world->tasks);
    if (!progress->running || progress->end_ns != world->now_ns)
        return; /* it was stopped before */
    leave_node(world, task);
    progress->over = true;
    world->left--;
    world->options.policy->ended(world->scheduler, task, progress->node);
}

void sim_world_start(struct sim_world *world, uint32_t task, uint32_t node, uint64_t gpus)
{
    struct sim_progress *progress = &world->tasks[task];
    SY_ASSERT(!progress->running && !progress->over && !world->nodes[node].away);
    sim_measure_start(world->measure, world->now_ns, task, node, !progress->started);
    gpus = sim_node_take(&world->nodes[node], request_of(world, task), gpus);
    *progress = (struct sim_progress){.node = node, .gpus = gpus, .started = true, .running = true};
    progress->end_ns = world->now_ns + world->trace->tasks[task].duration_ns;
    list_on_node(world, task);
    world->running++;
    world->changed_ns = world->now_ns;
    sim_world_at(world, progress->end_ns, end_of_task, world, progress);
}

void sim_world_stop(struct sim_world *world, uint32_t task)
{
    leave_node(world, task);
    sim_measure_preempted(world->measure, world->now_ns, task);
}

static void task_over(struct sim_world *world, uint32_t task)
{
    SY_ASSERT(!world->tasks[task].running && !world->tasks[task].over);
    world->tasks[task].over = true;
    world->left--;
    world->changed_ns = world->now_ns;
}

void sim_world_refuse(struct sim_world *world, uint32_t task, const char *why)
{
    task_over(world, task);
    sim_measure_refused(world->measure, world->now_ns, task, why);
}

void sim_world_give_up(struct sim_world *world, uint32_t task)
{
    task_over(world, task);
    sim_measure_gave_up(world->measure, world->now_ns, task);
}

static void arrive(void *owner, void *arg)
{
    struct sim_world *world = owner;
    (void)arg;
    uint32_t task = world->arrived++;
    if (world->arrived < world->trace->count)
        sim_world_at(world, SIM_ORIGIN_NS + world->trace->tasks[world->arrived].arrival_ns, arrive,
                     world, NULL);
    sim_measure_arrive(world->measure, world->now_ns, task);
    world->changed_ns = world->now_ns;
    world->options.policy->arrive(world->scheduler, task);
}

/* ---- spot nodes ---- */

static void reclaim(void *owner, void *arg);

/* Exponential, so that what has passed says nothing of when. */
static void expect_reclaim(struct sim_world *world, struct sim_node *node)
{
    double uniform = (double)(sy_rng_u64(&node->reclaims) >> 11) * 0x1p-53;
    double wait_ns = fmin(-(double)node->reclaim_ns * log(1 - uniform), (double)SIM_TIME_MAX_NS);
    sim_world_at(world, world->now_ns + (int64_t)wait_ns, reclaim, world, node);
}

static void come_back(void *owner, void *arg)
{
    struct sim_world *world = owner;
    struct sim_node *node = arg;
    node->away = false;
    world->options.policy->back(world->scheduler, (uint32_t)(node - world->nodes));
    expect_reclaim(world, node);
}

static void reclaim(void *owner, void *arg)
{
    struct sim_world *world = owner;
    struct sim_node *node = arg;
    uint32_t index = (uint32_t)(node - world->nodes);
    node->away = true;
    world->options.policy->gone(world->scheduler, index);
    while (node->first > 0) {
        uint32_t task = node->first - 1;
        leave_node(world, task);
        sim_measure_reclaimed(world->measure, world->now_ns, task);
        if (world->options.policy->lost)
            world->options.policy->lost(world->scheduler, task, index);
    }
    sim_world_at(world, world->now_ns + node->reclaimed_ns, come_back, world, node);
}

/* ---- a run ---- */

static void node_init(struct sim_node *node, const struct sim_cluster_config *cluster,
                      const struct sim_node_group *group)
{
    node->capacity = group->capacity;
    node->traits = &group->traits;
    node->price = group->price > 0 ? group->price : cluster->price;
    if (group->reclaims_per_day > 0)
        node->reclaim_ns = INT64_C(86400) * 1000000000 / group->reclaims_per_day;
    node->reclaimed_ns = group->reclaimed_ns;
}

static void make_nodes(struct sim_world *world)
{
    world->nodes = sy_calloc(world->region->node_count, sizeof(*world->nodes));
    for (size_t c = 0; c < world->region->cluster_count; c++) {
        const struct sim_cluster_config *cluster = &world->region->clusters[c];
        for (size_t g = 0; g < cluster->group_count; g++) {
            for (uint32_t i = 0; i < cluster->groups[g].count; i++) {
                struct sim_node *node = &world->nodes[world->node_count++];
                node->cluster = (uint32_t)c;
                node_init(node, cluster, &cluster->groups[g]);
                sy_rng_init(&node->reclaims, world->node_count);
                snprintf(node->name, sizeof(node->name), "%s-%u", cluster->groups[g].name, i);
            }
        }
    }
    SY_ASSERT(world->node_count == world->region->node_count);
}

static bool stalled(const struct sim_world *world, int64_t next_ns)
{
    return world->arrived == world->trace->count && world->running == 0 &&
           next_ns > world->changed_ns + SIM_STALL_NS;
}

struct sim_result *sim_run(const struct sim_region *region, const struct sim_trace *trace,
                           const struct sim_options *options)
{
    SY_ASSERT(trace->count > 0 && trace->count <= SIM_TASKS_MAX && options->delay_ns >= 0);
    struct sim_world world = {.region = region,
                              .trace = trace,
                              .options = *options,
                              .left = trace->count,
                              .tasks = sy_calloc(trace->count, sizeof(struct sim_progress))};
    struct sim_event event;
    make_nodes(&world);
    world.measure = sim_measure_new(region, trace, world.nodes, world.node_count);
    world.scheduler = options->policy->new (&world);
    sim_world_at(&world, SIM_ORIGIN_NS, arrive, &world, NULL);
    for (uint32_t i = 0; i < world.node_count; i++) {
        if (world.nodes[i].reclaim_ns > 0)
            expect_reclaim(&world, &world.nodes[i]);
    }
    while (world.left > 0 && sim_events_pop(&world.events, &event) &&
           !stalled(&world, event.at_ns)) {
        SY_ASSERT(event.at_ns >= world.now_ns);
        world.now_ns = event.at_ns;
        event.fn(event.owner, event.arg);
    }
    struct sim_result *result = sim_measure_finish(world.measure, world.changed_ns);
    /* Messages under way own memory: they are delivered to nobody. */
    options->policy->free(world.scheduler);
    sim_events_deinit(&world.events);
    free(world.nodes);
    free(world.tasks);
    return result;
}
