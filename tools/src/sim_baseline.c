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

static struct sim_node *choose(const struct baseline *b, const struct line *line)
{
    const struct sch_resources *request = &b->world->trace->kinds[line->key.kind]->request;
    const bool *allowed = b->allowed[line->key.queue];
    struct sim_node *best = NULL;
    double best_score = -INFINITY;
    for (uint32_t i = 0; i < b->world->node_count; i++) {
        struct sim_node *node = &b->nodes[i];
        if (!allowed[node->cluster] || !sim_node_fits(node, request, false))
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

static void start(void *owner, void *arg)
{
    struct baseline *b = owner;
    struct sim_progress *progress = arg;
    sim_world_start(b->world, (uint32_t)(progress - b->world->tasks), progress->node,
                    progress->gpus);
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
    const bool *allowed = b->allowed[b->world->trace->tasks[task].queue];
    for (uint32_t i = 0; i < b->world->node_count; i++) {
        const struct sim_node *node = &b->nodes[i];
        if (allowed[node->cluster] && sim_node_fits(node, request_of(b, task), true))
            return true;
    }
    return false;
}

/* What could never run would stop a strict queue for ever: all policies refuse it. */
static void baseline_arrive(void *scheduler, uint32_t task)
{
    struct baseline *b = scheduler;
    const struct sim_task *of_trace = &b->world->trace->tasks[task];
    struct line_key key = {of_trace->kind, of_trace->queue, of_trace->priority};
    const struct sch_queue_config *queue = sim_region_queue(
        b->world->region, &b->world->trace->queues[of_trace->queue]->key);
    if (!could_run(b, task)) {
        sim_world_refuse(b->world, task, "no node could ever hold it");
        return;
    }
    key.priority += queue ? queue->priority : 0;
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

const struct sim_policy sim_policy_fifo = {"fifo", fifo_new, baseline_arrive, baseline_ended,
                                           baseline_free};
const struct sim_policy sim_policy_first_fit = {"first-fit", first_fit_new, baseline_arrive,
                                                baseline_ended, baseline_free};
const struct sim_policy sim_policy_kubernetes = {"kubernetes", kubernetes_new, baseline_arrive,
                                                 baseline_ended, baseline_free};
