/*
 * Nodes that are kept for those that smaller ones pass: an action that needs most of a node would
 * wait for ever while smaller ones take what comes free. When the first of a class has waited for
 * reserve_after and no cluster has room for it, clusters are asked to keep nodes for as many of the
 * class as wait: for one, in the cluster with most nodes of the kind. Others go on on other nodes.
 * Nobody is bound to a cluster by that: who is next of the class takes the first room that there
 * is, anywhere.
 *
 * It is large when an empty node holds SCH_RESERVE_SLOTS_MAX of it at most: smaller ones soon find
 * room. Those that come first in the order of priorities and shares are asked for first,
 * SCH_RESERVES_MAX nodes at a time; how much of a cluster is kept its operator says, which also
 * chooses the nodes (operator_claim.c).
 */
#include "scheduler/partition_reserve.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_reclaim.h"
#include "scheduler/partition_slice.h"

#include <stdlib.h>

static void set_reserves(struct sch_partition *p, struct sch_pair *pair, uint32_t reserves)
{
    if (pair->reserves == reserves)
        return;
    SY_ASSERT(pair->class->reserves >= pair->reserves && p->reserves >= pair->reserves);
    SY_ASSERT(pair->cluster->reserves >= pair->reserves);
    pair->class->reserves += reserves - pair->reserves;
    if (pair->class->reserves > 0 && !sch_link_in_list(&pair->class->reserved))
        sch_list_push_back(&p->reserved, &pair->class->reserved);
    else if (pair->class->reserves == 0 && sch_link_in_list(&pair->class->reserved))
        sch_list_remove(&pair->class->reserved);
    pair->cluster->reserves += reserves - pair->reserves;
    p->reserves += reserves - pair->reserves;
    pair->reserves = reserves;
}

void sch_pair_reserved(struct sch_partition *p, struct sch_pair *pair)
{
    if (pair->reserves > 0)
        set_reserves(p, pair, pair->reserves - 1);
}

void sch_pair_reset_reserves(struct sch_partition *p, struct sch_pair *pair)
{
    set_reserves(p, pair, 0);
}

/* ---- who ---- */

/* The first of a class that has waited for too long; NULL: none has. */
static struct sch_lane *starving(struct sch_partition *p, struct sch_class *class)
{
    if (!sch_class_is_short(p, class))
        return NULL;
    struct sch_lane *lane = sch_class_next(p, class);
    bool long_enough = lane && p->now_ns - sch_fifo_oldest_ns(&lane->queue, p->now_ns) >=
                                   p->options.reserve_after_ns;
    return long_enough ? lane : NULL;
}

/* Among those that were found before, by the order of priorities and shares, as it is now. */
static void found(struct sch_partition *p, struct sch_class *class)
{
    struct sch_lane *lane = starving(p, class);
    uint32_t at = lane ? p->reserve_found_count : 0;
    for (; at > 0; at--) {
        struct sch_class *other = sch_class_find(p, p->reserve_found[at - 1]);
        struct sch_lane *before = other ? starving(p, other) : NULL;
        if (before && !sch_lane_before(lane, before))
            break;
    }
    if (!lane || at == SCH_RESERVE_CLASSES_MAX)
        return;
    p->reserve_found_count += p->reserve_found_count < SCH_RESERVE_CLASSES_MAX;
    for (uint32_t i = p->reserve_found_count - 1; i > at; i--)
        p->reserve_found[i] = p->reserve_found[i - 1];
    p->reserve_found[at] = class->id;
}

/* ---- where ---- */

/* Nodes that could hold one, and not many: others are not passed for long. */
static uint32_t places(const struct sch_pair *pair)
{
    const struct sch_cluster *cluster = pair->cluster;
    uint32_t nodes = 0;
    if (!sch_pair_is_able(pair) || pair->avoided_until_ns > 0)
        return 0;
    for (size_t i = 0; i < cluster->shape_count; i++) {
        uint32_t slots = sch_shape_slots(&cluster->shapes[i], &pair->class->request);
        if (slots > 0 && slots <= SCH_RESERVE_SLOTS_MAX)
            nodes += cluster->shapes[i].nodes;
    }
    return nodes;
}

/* In proportion to the nodes (D'Hondt): the first where there are most. */
static void ask(const struct sch_class *class, const uint32_t *nodes_of, uint32_t *wanted,
                uint32_t count)
{
    for (; count > 0; count--) {
        size_t best = class->pair_count;
        uint64_t best_nodes = 0;
        for (size_t i = 0; i < class->pair_count; i++) {
            uint64_t nodes = ((uint64_t)nodes_of[i] << 20) / (wanted[i] + 1);
            if (nodes > best_nodes ||
                (nodes > 0 && nodes == best_nodes &&
                 class->pairs[i]->cluster->rank < class->pairs[best]->cluster->rank)) {
                best = i;
                best_nodes = nodes;
            }
        }
        if (best_nodes > 0)
            wanted[best]++;
    }
}

static void reserve(struct sch_partition *p, struct sch_class *class, uint32_t count)
{
    uint32_t *wanted = sy_calloc(2 * class->pair_count + 1, sizeof(*wanted));
    uint32_t *nodes_of = wanted + class->pair_count;
    for (size_t i = 0; i < class->pair_count && count > 0; i++)
        nodes_of[i] = places(class->pairs[i]);
    ask(class, nodes_of, wanted, count);
    for (size_t i = 0; i < class->pair_count; i++) {
        struct sch_pair *pair = class->pairs[i];
        bool changed = pair->reserves != wanted[i];
        set_reserves(p, pair, wanted[i]);
        if (changed && sch_pair_is_able(pair))
            sch_demand_tell(p, class, pair);
    }
    free(wanted);
}

/* ---- time ---- */

void sch_reserve_end_step(struct sch_partition *p)
{
    bool wanted = p->options.reserve_after_ns > 0 &&
                  (p->state_counts[SCH_ACTION_QUEUED] > 0 || p->reserves > 0);
    if (!wanted)
        p->reserve_at_ns = SY_TIME_NEVER;
    else if (p->reserve_at_ns == SY_TIME_NEVER)
        p->reserve_at_ns = p->now_ns + SCH_RESERVE_INTERVAL_NS;
}

static bool was_found(const struct sch_partition *p, const struct sch_class *class)
{
    uint32_t i = 0;
    while (i < p->reserve_found_count && p->reserve_found[i] != class->id)
        i++;
    return i < p->reserve_found_count;
}

/* Of those that were found, whoever still waits. */
static void reserve_found(struct sch_partition *p)
{
    uint32_t left = SCH_RESERVES_MAX;
    for (struct sch_link *link = p->reserved.next; link != &p->reserved;) {
        struct sch_class *class = sy_container_of(link, struct sch_class, reserved);
        link = link->next;
        if (!was_found(p, class))
            reserve(p, class, 0);
    }
    for (uint32_t i = 0; i < p->reserve_found_count; i++) {
        struct sch_class *class = sch_class_find(p, p->reserve_found[i]);
        if (!class)
            continue;
        uint64_t ready = starving(p, class) ? class->root.ready : 0;
        uint32_t nodes = ready < left ? (uint32_t)ready : left;
        nodes = nodes < SCH_RESERVE_OF_CLASS_MAX ? nodes : SCH_RESERVE_OF_CLASS_MAX;
        left -= nodes;
        reserve(p, class, nodes);
    }
}

void sch_reserve_tick(struct sch_partition *p)
{
    struct sch_round *round = &p->reserving;
    bool on = !sch_list_empty(&round->todo);
    if (!on && p->reserve_at_ns <= p->now_ns) {
        sch_round_begin(round);
        p->reserve_found_count = 0;
        on = true;
    }
    if (p->reserve_at_ns <= p->now_ns)
        p->reserve_at_ns = p->now_ns + SCH_RESERVE_INTERVAL_NS;
    while (!sch_list_empty(&round->todo) && sch_may_look(p))
        found(p, sy_container_of(sch_round_next(round), struct sch_class, reserving));
    if (on && sch_list_empty(&round->todo))
        reserve_found(p);
}
