/*
 * Room for those who wait, from work that may be stopped. When a class has had no room for a while
 * though it is next in order, one cluster is asked to stop some attempts of preemptible queues that
 * come after it: those of lower priority, or, of equal priority, of a branch of the tree that has
 * more than its share and would still have as much as the other after the exchange. So two queues
 * never take the same room from each other in turns.
 *
 * Which attempts, and on which node, is the operator's choice: it knows what fits where and what
 * has made least progress. What it stops is queued again and uses no retry.
 */
#include "scheduler/partition_impl.h"

/* ---- who may lose ---- */

static const struct sch_share *below_the_fork(const struct sch_share *share,
                                              const struct sch_share *other)
{
    for (const struct sch_share *at = share; at->parent; at = at->parent) {
        const struct sch_share *up = other;
        while (up && up != at->parent)
            up = up->parent;
        if (up)
            return at;
    }
    return NULL; /* one is above the other */
}

/* Priorities as configured: what somebody gains by waiting stops nobody. */
static int32_t configured_priority(const struct sch_share *share)
{
    int32_t sum = 0;
    for (const struct sch_share *at = share; at; at = at->parent)
        sum += at->config ? at->config->priority : 0;
    return sum;
}

static bool has_more(const struct sch_partition *p, const struct sch_share *victim,
                     const struct sch_share *lane, const struct sch_resources *request)
{
    const struct sch_share *theirs = below_the_fork(victim, lane);
    const struct sch_share *ours = below_the_fork(lane, victim);
    return theirs && ours &&
           sch_share_would(p, theirs, request, false) >= sch_share_would(p, ours, request, true);
}

static bool may_lose(const struct sch_partition *p, const struct sch_share *victim,
                     const struct sch_lane *lane, int64_t priority)
{
    int32_t theirs = configured_priority(victim);
    if (victim->use.actions == 0 || theirs > priority)
        return false;
    return theirs < priority || has_more(p, victim, lane->seat.share, &lane->seat.class->request);
}

/* ---- asking ---- */

/* In turns, among those that could ever run it. */
static struct sch_pair *next_cluster(struct sch_class *class)
{
    for (size_t i = 0; i < class->pair_count; i++) {
        struct sch_pair *pair = class->pairs[class->reclaim_next++ % class->pair_count];
        if (sch_cluster_connected(pair->cluster) && pair->feasible)
            return pair;
    }
    return NULL;
}

static void reclaim(struct sch_partition *p, struct sch_class *class, const struct sch_lane *lane)
{
    uint32_t victims[SCH_RECLAIM_QUEUES_MAX], count = 0;
    const struct sch_action_impl *first = sch_fifo_first(&lane->queue);
    int64_t priority = (int64_t)first->base.priority + configured_priority(lane->seat.share);
    for (struct sch_link *link = p->preemptible.next;
         link != &p->preemptible && count < SCH_RECLAIM_QUEUES_MAX; link = link->next) {
        const struct sch_share *victim = sy_container_of(link, struct sch_share, preemptible);
        if (may_lose(p, victim, lane, priority))
            victims[count++] = victim->id;
    }
    struct sch_pair *pair = count > 0 ? next_cluster(class) : NULL;
    if (!pair)
        return;
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_RECLAIM);
    effect->u.reclaim.cluster = pair->cluster->name;
    effect->u.reclaim.class_id = class->id;
    effect->u.reclaim.queue_count = count;
    for (uint32_t i = 0; i < count; i++)
        effect->u.reclaim.queues[i] = victims[i];
}

/* It has somebody who may run, and no cluster for him. */
static bool is_short(const struct sch_class *class)
{
    return class->root.children.count > 0 && class->open.count == 0;
}

void sch_reclaim_end_step(struct sch_partition *p)
{
    bool wanted = p->options.reclaim_delay_ns > 0 && !sch_list_empty(&p->preemptible);
    if (!wanted)
        p->reclaim_at_ns = SY_TIME_NEVER;
    else if (p->reclaim_at_ns == SY_TIME_NEVER)
        p->reclaim_at_ns = p->now_ns + p->options.reclaim_delay_ns;
}

/* One of each class at a time, so that no more is stopped than is needed: the next round sees what
 * the last one gave. */
void sch_reclaim_tick(struct sch_partition *p)
{
    if (p->reclaim_at_ns > p->now_ns)
        return;
    p->reclaim_at_ns = p->now_ns + p->options.reclaim_delay_ns;
    for (struct sch_link *link = p->classes.next; link != &p->classes; link = link->next) {
        struct sch_class *class = sy_container_of(link, struct sch_class, link);
        if (!is_short(class)) {
            class->short_since_ns = SY_TIME_NEVER;
            continue;
        }
        struct sch_lane *lane = sch_class_next(p, class);
        if (!lane)
            continue;
        if (class->short_since_ns == SY_TIME_NEVER)
            class->short_since_ns = p->now_ns;
        else
            reclaim(p, class, lane);
    }
}
