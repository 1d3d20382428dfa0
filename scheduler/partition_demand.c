#include "scheduler/partition_impl.h"

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

static void tell(struct sch_partition *p, struct sch_class *class, struct sch_pair *pair)
{
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_DEMAND);
    effect->u.demand.cluster = pair->cluster->name;
    effect->u.demand.class_id = class->id;
    effect->u.demand.request = &class->request;
    effect->u.demand.gang = class->gang.size > 0 ? &class->gang : NULL;
    effect->u.demand.waiting = class->root.ready;
    effect->u.demand.oldest_age_ns = p->now_ns - oldest_ns(p, class);
    effect->u.demand.top_priority = top_priority(class);
    pair->told = true;
}

/* Clusters that never heard of the class are told at once; with `all` the others as well. */
static void tell_clusters(struct sch_partition *p, struct sch_class *class, bool all)
{
    for (size_t i = 0; i < class->pair_count; i++) {
        struct sch_pair *pair = class->pairs[i];
        bool eligible = sch_cluster_connected(pair->cluster) && pair->feasible;
        if (eligible && (all || !pair->told))
            tell(p, class, pair);
    }
    class->tell_new = false;
    if (all) {
        class->told_waiting = class->root.ready;
        class->told_priority = top_priority(class);
        class->told_ns = p->now_ns;
    }
}

static bool demand_changed(const struct sch_class *class)
{
    return class->root.ready != class->told_waiting || top_priority(class) != class->told_priority;
}

void sch_demand_end_step(struct sch_partition *p)
{
    while (!sch_list_empty(&p->touched)) {
        struct sch_class *class = sy_container_of(p->touched.next, struct sch_class, touched);
        sch_list_remove(&class->touched);
        int64_t next_ns = class->told_ns + SCH_DEMAND_INTERVAL_NS;
        bool changed = demand_changed(class), now = changed && p->now_ns >= next_ns;
        if (now || class->tell_new)
            tell_clusters(p, class, now);
        if (now || !changed)
            sch_heap_remove(&p->flushes, &class->flush);
        else
            sch_heap_set(&p->flushes, &class->flush, next_ns);
        SY_ASSERT(sch_heap_has(&class->flush) == demand_changed(class));
    }
}

void sch_demand_flush(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&p->flushes)) && top->key <= p->now_ns) {
        struct sch_class *class = sy_container_of(top, struct sch_class, flush);
        sch_heap_remove(&p->flushes, &class->flush);
        SY_ASSERT(!sch_heap_has(&class->flush));
        if (demand_changed(class)) /* this very step may have changed it back */
            tell_clusters(p, class, true);
    }
}

/* ---- what was let in before it was known what the clusters have ---- */

static void set_unchecked(struct sch_partition *p, struct sch_class *class, uint64_t from)
{
    if (class->unchecked_from == 0 && from != 0)
        p->classes_unchecked++;
    if (class->unchecked_from != 0 && from == 0)
        p->classes_unchecked--;
    class->unchecked_from = from;
}

void sch_class_checked(struct sch_partition *p, struct sch_class *class)
{
    set_unchecked(p, class, 0);
}

static bool some_cluster_fits(const struct sch_class *class)
{
    for (size_t i = 0; i < class->pair_count; i++) {
        if (class->pairs[i]->feasible)
            return true;
    }
    return false;
}

void sch_class_accepted(struct sch_partition *p, struct sch_class *class, uint64_t action_id)
{
    bool covered = class->unchecked_from != 0 && class->unchecked_from <= action_id;
    if (!covered && !some_cluster_fits(class))
        set_unchecked(p, class, action_id);
}

/* Only now is it in a queue, where those that came unchecked are found. */
void sch_class_waits(struct sch_partition *p, const struct sch_action_impl *a)
{
    if (a->base.id >> SCH_ID_COUNTER_BITS != p->options.epoch)
        return;
    sch_class_accepted(p, sch_action_class(a), a->base.id);
    sch_verify_later(p);
}

void sch_verify_later(struct sch_partition *p)
{
    if (p->classes_unchecked > 0 && p->verify_at_ns == SY_TIME_NEVER)
        p->verify_at_ns = p->now_ns + SCH_VERIFY_DELAY_NS;
}

static size_t collect(struct sch_fifo *queue, uint64_t from, struct sch_action **ret)
{
    size_t count = 0;
    for (struct sch_link *link = queue->levels_all.next; link != &queue->levels_all;
         link = link->next) {
        const struct sch_level *level = sy_container_of(link, struct sch_level, link);
        for (struct sch_link *at = level->actions.next; at != &level->actions; at = at->next) {
            struct sch_action_impl *a = sy_container_of(at, struct sch_action_impl, link);
            if (a->base.id >= from)
                ret[count++] = sch_action_ref(&a->base);
        }
    }
    return count;
}

/* Ending one may end others, so first all of them are found. Those that were there before were
 * possible then: they wait for their nodes to come back. */
static void fail_unchecked(struct sch_partition *p, struct sch_class *class, uint64_t from)
{
    size_t count = 0;
    struct sch_action **found = sy_calloc(class->waiting + 1, sizeof(struct sch_action *));
    for (struct sch_link *link = class->lanes.next; link != &class->lanes; link = link->next) {
        struct sch_lane *lane = sy_container_of(link, struct sch_lane, link);
        count += collect(&lane->queue, from, found + count);
    }
    SY_ASSERT(count <= class->waiting);
    for (size_t i = 0; i < count; i++) {
        if (!sch_action_is_final(found[i]))
            sch_action_end(p, sch_action_impl(found[i]), SCH_ACTION_FAILED, "Infeasible",
                           p->misses.text, NULL);
        sch_action_unref(found[i]);
    }
    free(found);
}

/* One class that no cluster fits: p->misses is its answer until the next step. */
void sch_verify_tick(struct sch_partition *p)
{
    if (p->verify_at_ns > p->now_ns)
        return;
    p->verify_at_ns = SY_TIME_NEVER;
    for (struct sch_link *link = p->classes.next; link != &p->classes; link = link->next) {
        struct sch_class *class = sy_container_of(link, struct sch_class, link);
        if (class->unchecked_from == 0)
            continue;
        bool possible = some_cluster_fits(class);
        if (!possible && sch_feasible(p, &class->request, &class->gang, class->rule, &p->misses))
            continue; /* a cluster has not told yet */
        uint64_t from = class->unchecked_from;
        set_unchecked(p, class, 0);
        if (possible)
            continue;
        p->verify_at_ns = p->classes_unchecked > 0 ? p->now_ns + SY_NS_PER_MS : SY_TIME_NEVER;
        fail_unchecked(p, class, from);
        break;
    }
}
