#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_reserve.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_slice.h"

#include <stdlib.h>

/* ---- demand ---- */

void sch_class_touch(struct sch_partition *p, struct sch_class *class)
{
    if (!sch_link_in_list(&class->touched))
        sch_list_push_back(&p->touched, &class->touched);
}

/* The lane that is first by what the class's tree says now; NULL: nobody may run. */
static const struct sch_lane *first_lane(const struct sch_class *class)
{
    const struct sch_seat *seat = &class->root;
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&seat->children)))
        seat = sy_container_of(top, struct sch_seat, entry);
    return seat == &class->root ? NULL : (const struct sch_lane *)seat;
}

static int32_t top_priority(const struct sch_class *class)
{
    const struct sch_lane *first = first_lane(class);
    return first ? sch_lane_priority(first) : 0;
}

static int64_t oldest_ns(const struct sch_partition *p, const struct sch_class *class)
{
    const struct sch_lane *first = first_lane(class);
    return first ? sch_fifo_oldest_ns(&first->queue, p->now_ns) : p->now_ns;
}

/* A hash of what is told of the first one's place; 0: nothing is. */
static uint32_t place_of(const struct sch_partition *p, const struct sch_class *class)
{
    const struct sch_lane *first = sch_partition_is_one_of_many(p) ? first_lane(class) : NULL;
    uint32_t hash = 0;
    for (const struct sch_share *at = first ? first->seat.share : NULL; at && at->parent;
         at = at->parent)
        hash = sch_hash_u64(((uint64_t)at->tag << 32) | at->weight, (uint64_t)hash + 1);
    return hash;
}

static const struct sch_share_standing *standing_of(struct sch_partition *p,
                                                    const struct sch_class *class)
{
    const struct sch_lane *first = sch_partition_is_one_of_many(p) ? first_lane(class) : NULL;
    struct sch_share_standing standing = {0};
    if (!first)
        return NULL;
    sch_share_stand(first->seat.share, &standing);
    return sch_effect_keep(p, &standing, sizeof(standing));
}

void sch_demand_tell(struct sch_partition *p, struct sch_class *class, struct sch_pair *pair)
{
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_DEMAND);
    effect->u.demand.cluster = pair->cluster->name;
    effect->u.demand.class_id = class->id;
    effect->u.demand.request = &class->request;
    effect->u.demand.gang = class->gang.size > 0 ? &class->gang : NULL;
    effect->u.demand.waiting = class->root.ready;
    effect->u.demand.oldest_age_ns = p->now_ns - oldest_ns(p, class);
    effect->u.demand.top_priority = top_priority(class);
    if (!pair->told)
        sch_pair_expect(p, pair);
    effect->u.demand.keep = pair->reserves;
    effect->u.demand.standing = standing_of(p, class);
    pair->told = true;
    if (sch_link_in_list(&pair->untold))
        sch_list_remove(&pair->untold);
}

static void tell_clusters(struct sch_partition *p, struct sch_class *class)
{
    for (size_t i = 0; i < class->pair_count; i++) {
        struct sch_pair *pair = class->pairs[i];
        sch_pair_sync(p, pair);
        if (!sch_pair_is_able(pair))
            continue;
        sch_demand_tell(p, class, pair);
        p->tells_left -= p->tells_left > 0;
    }
    class->told_waiting = class->root.ready;
    class->told_priority = top_priority(class);
    class->told_place = place_of(p, class);
    class->told_ns = p->now_ns;
}

/* Clusters that never heard of a class do so at once, as many as a step may tell. */
static void tell_new(struct sch_partition *p)
{
    for (unsigned i = 0; i < SCH_TELL_MAX && !sch_list_empty(&p->untold); i++) {
        struct sch_pair *pair = sy_container_of(p->untold.next, struct sch_pair, untold);
        SY_ASSERT(!pair->told && sch_link_in_list(&pair->untold));
        sch_pair_sync(p, pair); /* it may have gone since */
        if (sch_pair_is_able(pair))
            sch_demand_tell(p, pair->class, pair);
    }
}

static bool demand_changed(const struct sch_partition *p, const struct sch_class *class)
{
    return class->root.ready != class->told_waiting ||
           top_priority(class) != class->told_priority || place_of(p, class) != class->told_place;
}

void sch_demand_end_step(struct sch_partition *p)
{
    while (!sch_list_empty(&p->touched)) {
        struct sch_class *class = sy_container_of(p->touched.next, struct sch_class, touched);
        sch_list_remove(&class->touched);
        sch_class_doom(p, class);
        int64_t next_ns = class->told_ns + SCH_DEMAND_INTERVAL_NS;
        bool changed = demand_changed(p, class);
        bool now = changed && p->now_ns >= next_ns && p->tells_left > 0;
        if (now)
            tell_clusters(p, class);
        if (now || !changed)
            sch_heap_remove(&p->flushes, &class->flush);
        else
            sch_heap_set(&p->flushes, &class->flush, next_ns);
        SY_ASSERT(sch_heap_has(&class->flush) == demand_changed(p, class));
    }
    tell_new(p);
}

void sch_demand_flush(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&p->flushes)) && top->key <= p->now_ns && p->tells_left > 0) {
        struct sch_class *class = sy_container_of(top, struct sch_class, flush);
        sch_heap_remove(&p->flushes, &class->flush);
        SY_ASSERT(!sch_heap_has(&class->flush));
        if (demand_changed(p, class)) /* this very step may have changed it back */
            tell_clusters(p, class);
    }
}
