/*
 * Baselines to compare with, over the nodes of all clusters as if they were one. They know where a
 * queue may run, and no other limit of it; nothing is preempted.
 *
 *   fifo         strictly in the order of arrival: when the first fits nowhere, all wait. The first
 *                node that it fits on
 *   first-fit    the same, but those that fit nowhere now are passed over
 *   kubernetes   by priority, then arrival, passing over what fits nowhere now. Of the nodes that
 * it fits on the one of the highest score by the default plugins that look at resources, as
 * kube-scheduler documents them: NodeResourcesFit by LeastAllocated (cpu, memory) plus
 * NodeResourcesBalancedAllocation (cpu, memory), weight 1 each. Kinder than the original: all nodes
 * are scored, and what waits is tried again at once, without back-off. Equal scores: the first
 * node, not a random one
 *
 * A decision reaches its node, and an end the scheduler, over two streams, as in Switchyard.
 */
#include "tools/src/sim_world.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HOPS 2

struct line_key {
    uint32_t kind, queue;
    int32_t priority;
};

/* Equal tasks, in the order in which they came. */
struct line {
    struct line_key key;
    struct sy_map_link link;
    uint32_t *tasks;
    size_t first, count, cap;
    bool blocked; /* none of the nodes had room for the first */
};

struct baseline {
    struct sim_world *world;
    bool strict, by_priority;
    double (*score)(const struct sim_node *node, const struct sch_resources *request);
    struct sim_node *nodes; /* as the scheduler knows them: `used` by what it placed */
    bool **allowed;         /* by queue of the trace: by cluster */
    struct sy_map lines;
};

/* ---- where ---- */

static double fraction(double used, double capacity)
{
    return capacity > 0 ? used / capacity : 1;
}

static double score_kubernetes(const struct sim_node *node, const struct sch_resources *request)
{
    double cpu = fraction((double)node->used.cpu_milli + request->cpu_milli,
                          node->capacity.cpu_milli);
    double memory = fraction((double)(node->used.memory_bytes + request->memory_bytes),
                             (double)node->capacity.memory_bytes);
    double least_allocated = floor((floor(100 * (1 - cpu)) + floor(100 * (1 - memory))) / 2);
    double balanced = floor(100 * (1 - fabs(cpu - memory) / 2)); /* of two: standard deviation */
    return least_allocated + balanced;
}

/* Its cluster, and its taints. */
static bool may_use(const struct baseline *b, uint32_t queue, const struct sim_node *node,
                    const struct sch_resources *request)
{
    return b->allowed[queue][node->cluster] &&
           sim_region_tolerates(b->world->region, &b->world->trace->queues[queue]->key, request,
                                node->traits->taints);
}

static struct sim_node *choose(const struct baseline *b, const struct line *line)
{
    const struct sch_resources *request = &b->world->trace->kinds[line->key.kind]->request;
    struct sim_node *best = NULL;
    double best_score = -INFINITY;
    for (uint32_t i = 0; i < b->world->node_count; i++) {
        struct sim_node *node = &b->nodes[i];
        if (node->away || !sim_node_fits(node, request, false) ||
            !may_use(b, line->key.queue, node, request))
            continue;
        if (!b->score)
            return node;
        double score = b->score(node, request);
        if (score > best_score) {
            best = node;
            best_score = score;
        }
    }
    return best;
}

/* ---- who ---- */

static uint32_t head(const struct line *line)
{
    SY_ASSERT(line->first < line->count);
    return line->tasks[line->first];
}

static bool before(const struct baseline *b, const struct line *a, const struct line *other)
{
    if (b->by_priority && a->key.priority != other->key.priority)
        return a->key.priority > other->key.priority;
    return head(a) < head(other); /* tasks are numbered by arrival */
}

static struct line *next_line(const struct baseline *b)
{
    struct line *best = NULL;
    SY_MAP_EACH(&b->lines, at, next)
    {
        struct line *line = sy_map_entry(at, struct line, link);
        if (line->first == line->count || (line->blocked && !b->strict))
            continue;
        if (!best || before(b, line, best))
            best = line;
    }
    return best && !best->blocked ? best : NULL;
}

/* ---- placing ---- */

static const struct sch_resources *request_of(const struct baseline *b, uint32_t task)
{
    return &b->world->trace->kinds[b->world->trace->tasks[task].kind]->request;
}

static void baseline_lost(void *scheduler, uint32_t task, uint32_t node);

/* Its node may have been taken away meanwhile. */
static void start(void *owner, void *arg)
{
    struct baseline *b = owner;
    struct sim_progress *progress = arg;
    uint32_t task = (uint32_t)(progress - b->world->tasks);
    if (b->world->nodes[progress->node].away)
        baseline_lost(b, task, progress->node);
    else
        sim_world_start(b->world, task, progress->node, progress->gpus);
}

static void place(struct baseline *b, struct line *line, struct sim_node *node)
{
    uint32_t task = line->tasks[line->first++];
    struct sim_progress *progress = &b->world->tasks[task];
    progress->gpus = sim_node_take(node, request_of(b, task), 0);
    progress->node = (uint32_t)(node - b->nodes);
    sim_world_at(b->world, b->world->now_ns + HOPS * b->world->options.delay_ns, start, b,
                 progress);
}

static void place_all(struct baseline *b)
{
    struct line *line;
    while ((line = next_line(b))) {
        struct sim_node *node = choose(b, line);
        line->blocked = !node;
        if (node)
            place(b, line, node);
    }
}

/* ---- what happens ---- */

static struct line *find_line(struct baseline *b, const struct line_key *key)
{
    struct sy_map_link *found = sy_map_find(&b->lines, key, sizeof(*key));
    if (found)
        return sy_map_entry(found, struct line, link);
    struct line *line = sy_new(struct line);
    line->key = *key;
    sy_map_add(&b->lines, &line->link, &line->key, sizeof(line->key));
    return line;
}

static bool could_run(const struct baseline *b, uint32_t task)
{
    uint32_t queue = b->world->trace->tasks[task].queue;
    for (uint32_t i = 0; i < b->world->node_count; i++) {
        const struct sim_node *node = &b->nodes[i];
        if (sim_node_fits(node, request_of(b, task), true) &&
            may_use(b, queue, node, request_of(b, task)))
            return true;
    }
    return false;
}

static struct line_key key_of(const struct baseline *b, uint32_t task)
{
    const struct sim_task *of_trace = &b->world->trace->tasks[task];
    struct line_key key = {of_trace->kind, of_trace->queue, of_trace->priority};
    const struct sch_queue_config *queue = sim_region_queue(
        b->world->region, &b->world->trace->queues[of_trace->queue]->key);
    key.priority += queue ? queue->priority : 0;
    return key;
}

/* It is before all of its line that wait, in the place of one that has left. */
static void baseline_lost(void *scheduler, uint32_t task, uint32_t node)
{
    struct baseline *b = scheduler;
    struct line_key key = key_of(b, task);
    struct line *line = find_line(b, &key);
    SY_ASSERT(line->first > 0);
    sim_node_give(&b->nodes[node], request_of(b, task), b->world->tasks[task].gpus);
    size_t at = --line->first;
    for (; at + 1 < line->count && line->tasks[at + 1] < task; at++)
        line->tasks[at] = line->tasks[at + 1];
    line->tasks[at] = task;
    line->blocked = false;
    place_all(b);
}

static void baseline_gone(void *scheduler, uint32_t node)
{
    struct baseline *b = scheduler;
    b->nodes[node].away = true;
}

static void baseline_back(void *scheduler, uint32_t node)
{
    struct baseline *b = scheduler;
    b->nodes[node].away = false;
    SY_MAP_EACH(&b->lines, at, next)
    {
        sy_map_entry(at, struct line, link)->blocked = false;
    }
    place_all(b);
}

/* What could never run would stop a strict queue for ever: all policies refuse it. */
static void baseline_arrive(void *scheduler, uint32_t task)
{
    struct baseline *b = scheduler;
    struct line_key key = key_of(b, task);
    if (!could_run(b, task)) {
        sim_world_refuse(b->world, task, "no node could ever hold it");
        return;
    }
    struct line *line = find_line(b, &key);
    if (line->count == line->cap) {
        line->cap = line->cap ? 2 * line->cap : 16;
        line->tasks = sy_realloc(line->tasks, line->cap * sizeof(*line->tasks));
    }
    line->tasks[line->count++] = task;
    place_all(b);
}

static void learn_end(void *owner, void *arg)
{
    struct baseline *b = owner;
    const struct sim_progress *progress = arg;
    struct sim_node *node = &b->nodes[progress->node];
    sim_node_give(node, request_of(b, (uint32_t)(progress - b->world->tasks)), progress->gpus);
    SY_MAP_EACH(&b->lines, at, next)
    {
        struct line *line = sy_map_entry(at, struct line, link);
        line->blocked = line->blocked && !sim_node_fits(node, request_of(b, head(line)), false);
    }
    place_all(b);
}

static void baseline_ended(void *scheduler, uint32_t task, uint32_t node)
{
    struct baseline *b = scheduler;
    (void)node;
    sim_world_at(b->world, b->world->now_ns + HOPS * b->world->options.delay_ns, learn_end, b,
                 &b->world->tasks[task]);
}

/* ---- set-up ---- */

static bool *allowed_clusters(const struct sim_region *region, const struct sch_queue_key *key)
{
    bool *allowed = sy_calloc(region->cluster_count, sizeof(*allowed));
    for (size_t c = 0; c < region->cluster_count; c++)
        allowed[c] = sim_region_permits(region, key, &region->clusters[c]);
    return allowed;
}

static struct baseline *baseline_new(struct sim_world *world)
{
    struct baseline *b = sy_new(struct baseline);
    b->world = world;
    b->nodes = sy_memdup(world->nodes, world->node_count * sizeof(*world->nodes));
    b->allowed = sy_calloc(world->trace->queue_count, sizeof(*b->allowed));
    for (size_t i = 0; i < world->trace->queue_count; i++)
        b->allowed[i] = allowed_clusters(world->region, &world->trace->queues[i]->key);
    return b;
}

static void *fifo_new(struct sim_world *world)
{
    struct baseline *b = baseline_new(world);
    b->strict = true;
    return b;
}

static void *first_fit_new(struct sim_world *world)
{
    return baseline_new(world);
}

static void *kubernetes_new(struct sim_world *world)
{
    struct baseline *b = baseline_new(world);
    b->by_priority = true;
    b->score = score_kubernetes;
    return b;
}

static void baseline_free(void *scheduler)
{
    struct baseline *b = scheduler;
    SY_MAP_EACH(&b->lines, at, next)
    {
        struct line *line = sy_map_entry(at, struct line, link);
        free(line->tasks);
        free(line);
    }
    sy_map_deinit(&b->lines);
    for (size_t i = 0; i < b->world->trace->queue_count; i++)
        free(b->allowed[i]);
    free(b->allowed);
    free(b->nodes);
    free(b);
}

#define BASELINE(policy, begin)                                                                    \
    {                                                                                              \
        .name = (policy), .new = (begin), .arrive = baseline_arrive, .ended = baseline_ended,      \
        .gone = baseline_gone, .lost = baseline_lost, .back = baseline_back, .free = baseline_free \
    }
const struct sim_policy sim_policy_fifo = BASELINE("fifo", fifo_new);
const struct sim_policy sim_policy_first_fit = BASELINE("first-fit", first_fit_new);
const struct sim_policy sim_policy_kubernetes = BASELINE("kubernetes", kubernetes_new);
