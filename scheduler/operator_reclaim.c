/*
 * Room for a class, from attempts that may be stopped: a partition names the queues (scheduler/
 * partition_reclaim.c), here the node is chosen on which the fewest have to stop, and of these the
 * ones that started last. They are cancelled, and end PREEMPTED.
 */
#include "scheduler/operator_impl.h"

#include <stdlib.h>

#define NODES_MAX 256u   /* looked at; the next time begins where this one ended */
#define VICTIMS_MAX 128u /* on a node */

struct choice {
    struct sch_node *node;
    struct sch_attempt *victims[VICTIMS_MAX];
    uint32_t count;
    int64_t started_sum; /* the larger the less was done */
};

static bool is_named(const struct sch_attempt *a, const uint32_t *queues, uint32_t count)
{
    for (uint32_t i = 0; a->queue_tag != 0 && i < count; i++) {
        if (queues[i] == a->queue_tag)
            return true;
    }
    return false;
}

static int started_last(const void *left, const void *right)
{
    const struct sch_attempt *const *a = left, *const *b = right;
    if ((*a)->started_ns != (*b)->started_ns)
        return (*a)->started_ns > (*b)->started_ns ? -1 : 1;
    return (*a)->key.action < (*b)->key.action ? 1 : -1;
}

/* Those that may stop, the best ones first. */
static uint32_t candidates(const struct sch_node *node, const struct sch_op_partition *partition,
                           const uint32_t *queues, uint32_t queue_count,
                           struct sch_attempt *ret[VICTIMS_MAX])
{
    uint32_t count = 0;
    for (struct sch_link *link = node->attempts.next;
         link != &node->attempts && count < VICTIMS_MAX; link = link->next) {
        struct sch_attempt *a = sy_container_of(link, struct sch_attempt, place);
        if (a->partition == partition && a->charged && !a->cancelled &&
            is_named(a, queues, queue_count))
            ret[count++] = a;
    }
    qsort(ret, count, sizeof(struct sch_attempt *), started_last);
    return count;
}

/* What is on its way out already counts as gone. Every use that is taken away is given back. */
static bool would_fit(struct sch_node *node, const struct sch_resources *request,
                      struct sch_attempt *const *victims, uint32_t count, uint32_t *ret_needed)
{
    struct sch_attempt *gone[2 * VICTIMS_MAX];
    uint32_t gone_count = 0, needed = 0;
    for (struct sch_link *link = node->attempts.next;
         link != &node->attempts && gone_count < VICTIMS_MAX; link = link->next) {
        struct sch_attempt *a = sy_container_of(link, struct sch_attempt, place);
        if (a->charged && a->cancelled)
            gone[gone_count++] = a;
    }
    for (uint32_t i = 0; i < gone_count; i++)
        sch_node_unuse(node, gone[i]);
    bool fits = sch_node_fits(node, request) > 0;
    while (!fits && needed < count) {
        gone[gone_count++] = victims[needed];
        sch_node_unuse(node, victims[needed++]);
        fits = sch_node_fits(node, request) > 0;
    }
    while (gone_count > 0)
        sch_node_use(node, gone[--gone_count]);
    *ret_needed = needed;
    return fits;
}

static bool is_better(const struct choice *a, const struct choice *b)
{
    return !b->node || a->count < b->count ||
           (a->count == b->count && a->started_sum > b->started_sum);
}

static void look_at(struct sch_node *node, const struct sch_op_partition *partition,
                    const struct sch_op_event *event, const struct sch_resources *request,
                    struct choice *best)
{
    struct choice choice = {.node = node};
    uint32_t count = candidates(node, partition, event->u.reclaim.queues,
                                event->u.reclaim.queue_count, choice.victims);
    if (!would_fit(node, request, choice.victims, count, &choice.count))
        return;
    for (uint32_t i = 0; i < choice.count; i++)
        choice.started_sum += choice.victims[i]->started_ns / SY_NS_PER_MS;
    if (is_better(&choice, best))
        *best = choice;
}

void sch_op_reclaim(struct sch_operator *op, const struct sch_op_event *event)
{
    struct sch_op_class *class = sch_op_class_find(op, event->u.reclaim.partition,
                                                   event->u.reclaim.class_id);
    if (!class)
        return;
    const struct sch_resources *request = &class->kind->request;
    struct choice best = {0};
    for (uint32_t i = 0; i < op->node_count && i < NODES_MAX; i++) {
        struct sch_node *node = op->nodes[op->reclaim_next++ % op->node_count];
        if (sch_node_placeable(node) && sch_shape_fits(&node->shape->shape, request, NULL))
            look_at(node, class->partition, event, request, &best);
        if (best.node && best.count == 0)
            return; /* there is room, or it is coming */
    }
    for (uint32_t i = 0; i < best.count; i++) {
        struct sch_attempt *a = best.victims[i];
        sch_op_cancel(op, &a->key, "preempted: others are next");
        a->preempted = "preempted: to make room for what is next";
    }
}
