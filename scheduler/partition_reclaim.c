/*
 * Room for those who wait, from work that may be stopped. When a class has had no room for a while
 * though it is next in order, or a gang has waited in its cluster for so long, one cluster is asked
 * to stop some attempts of preemptible queues that come after it: those of lower priority, or, of
 * equal priority, of a branch of the tree that has more than its share and would still have as much
 * as the other after the exchange. So two queues never take the same room from each other in turns.
 *
 * A gang is exchanged whole, so the branch of one that stops must have as much left without all of
 * it; what there is to spare is told with the queue, for who is in which gang is not known here by
 * cluster. A gang that waits in a cluster has nothing yet, though it counts as out.
 *
 * Which attempts, and on which node, is the operator's choice: it knows what fits where and what
 * has made least progress. What it stops is queued again and uses no retry. A question names
 * SCH_RECLAIM_QUEUES_MAX queues at most. They take turns: the next question begins behind the last
 * one that was looked at.
 */
#include "scheduler/partition_reclaim.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_slice.h"

#include "scheduler/partition_gang.h"
#include "scheduler/partition_turn.h"

/* Asked for in one round; the others in the next. */
#define GANGS_MAX 64u
#define CLASSES_MAX 64u
#define LOOKS_MAX 4096u /* at queues that may lose */
#define LOOKS_FOR_ONE 1024u

/* Who wants room. */
struct claim {
    const struct sch_class *class;
    const struct sch_share *tenant;
    struct sch_use need;
    int32_t priority; /* as configured */
    int64_t order;    /* with its own */
    const char *cluster;
    uint64_t gang_id; /* that is out there and waits; 0: one action of the class */
};

/* ---- whose work may be stopped ---- */

bool sch_share_may_stop(const struct sch_share *share)
{
    return share->yields && share->use.actions > 0;
}

void sch_share_list_preemptible(struct sch_partition *p, struct sch_share *share)
{
    bool now = sch_share_may_stop(share);
    if (now == sch_link_in_list(&share->preemptible))
        return;
    if (now)
        sch_list_push_back(&p->preemptible, &share->preemptible);
    else
        sch_list_remove(&share->preemptible);
}

/* Behind the others, which are looked at before it the next time. */
static struct sch_share *next_in_turn(struct sch_partition *p)
{
    struct sch_link *link = sch_list_pop(&p->preemptible);
    sch_list_push_back(&p->preemptible, link);
    return sy_container_of(link, struct sch_share, preemptible);
}

/* Else classes that ask in turns could see the same queues each time. */
static void skip_some(struct sch_partition *p)
{
    uint64_t count = sch_hash_u64((uint64_t)p->now_ns, 0) % SCH_RECLAIM_QUEUES_MAX;
    for (; count > 0 && !sch_list_empty(&p->preemptible); count--)
        (void)next_in_turn(p);
}

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

/* Priorities as configured: what somebody gains by waiting stops nobody. Nor does an action's own
 * priority, which would win whoever asks; but it protects: what is stopped and would be next again
 * at once is stopped in vain. */
static int32_t configured_priority(const struct sch_share *share)
{
    int32_t sum = 0;
    for (const struct sch_share *at = share; at; at = at->parent)
        sum += at->config ? at->config->priority : 0;
    return sum;
}

/* Of both, where their ways part, the weighted shares once the room has changed hands: of what this
 * partition has, and of what all have. By the latter alone two partitions could each make up for
 * the whole difference, and the next time for that; by the former alone a queue that has its share
 * elsewhere would take more. */
static bool has_more(const struct sch_partition *p, const struct sch_share *victim,
                     const struct claim *claim, struct sch_use *ret_below)
{
    const struct sch_share *theirs = below_the_fork(victim, claim->tenant);
    const struct sch_share *ours = below_the_fork(claim->tenant, victim);
    if (!theirs || !ours)
        return false;
    static const enum sch_scope scopes[] = {SCH_SCOPE_PARTITION, SCH_SCOPE_REGION};
    for (unsigned i = 0; i < SY_COUNT_OF(scopes); i++) {
        if (claim->gang_id == 0 && !sch_share_is_before(p, ours, theirs, &claim->need, scopes[i]))
            return false; /* what stops is next again: ours counts a gang that waits somewhere */
        double after = sch_share_with(p, ours, &claim->need, scopes[i]);
        struct sch_use below = sch_share_beyond(p, theirs, after, scopes[i]);
        sch_use_lessen(ret_below, &below);
        if (sch_share_without(p, theirs, &claim->need, scopes[i]) < after)
            return false;
    }
    return true;
}

static bool may_lose(const struct sch_partition *p, const struct sch_share *victim,
                     const struct claim *claim, struct sch_reclaim_queue *ret)
{
    SY_ASSERT(sch_share_may_stop(victim));
    int32_t theirs = configured_priority(victim);
    int64_t most = (int64_t)theirs + victim->urgency; /* what is stopped may be next after all */
    if (theirs > claim->priority || most > claim->order)
        return false;
    ret->id = sch_share_tag(victim);
    ret->below = (struct sch_use){UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    return (theirs < claim->priority && most < claim->order) ||
           has_more(p, victim, claim, &ret->below);
}

/* ---- asking ---- */

/* In turns, among those that could ever run it. */
static const struct sch_cluster *next_cluster(struct sch_class *class)
{
    for (size_t i = 0; i < class->pair_count; i++) {
        const struct sch_pair *pair = class->pairs[class->reclaim_next++ % class->pair_count];
        if (sch_pair_is_able(pair))
            return pair->cluster;
    }
    return NULL;
}

/* Room that came and went to others, of another size or partition, is not asked for again and
 * again: each time the wait is twice as long. */
static bool waits_longer(const struct sch_partition *p, struct sch_class *class)
{
    const struct sch_cluster *asked = sy_take(class->reclaim_asked);
    if (asked && asked->preempted > class->reclaim_seen) {
        int64_t wait_ns = p->options.reclaim_delay_ns;
        class->reclaim_in_vain++;
        for (uint32_t i = 0; i < class->reclaim_in_vain && wait_ns < SCH_RECLAIM_WAIT_MAX_NS; i++)
            wait_ns *= 2;
        class->reclaim_after_ns = p->now_ns + wait_ns;
    }
    return class->reclaim_after_ns > p->now_ns;
}

static void reclaim(struct sch_partition *p, const struct claim *claim)
{
    struct sch_reclaim_queue queues[SCH_RECLAIM_QUEUES_MAX];
    uint32_t count = 0, left = p->reclaim_looks < LOOKS_FOR_ONE ? p->reclaim_looks : LOOKS_FOR_ONE;
    bool more = claim->cluster && !sch_list_empty(&p->preemptible);
    const struct sch_link *last = p->preemptible.prev;
    for (; more && count < SCH_RECLAIM_QUEUES_MAX && left > 0; left--) {
        const struct sch_share *victim = next_in_turn(p);
        count += may_lose(p, victim, claim, &queues[count]);
        more = &victim->preemptible != last;
        p->reclaim_looks--;
        p->looks++;
    }
    if (count == 0)
        return;
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_RECLAIM);
    effect->u.reclaim.cluster = claim->cluster;
    effect->u.reclaim.class_id = claim->class->id;
    effect->u.reclaim.gang_id = claim->gang_id;
    effect->u.reclaim.queue_count = count;
    effect->u.reclaim.queues = sch_effect_keep(p, queues, count * sizeof(*queues));
}

static struct claim claim_by(const struct sch_share *tenant, struct sch_use need, int32_t priority)
{
    return (struct claim){.tenant = tenant,
                          .need = need,
                          .priority = configured_priority(tenant),
                          .order = (int64_t)priority + configured_priority(tenant)};
}

static struct claim claim_of(const struct sch_action_impl *a)
{
    const struct sch_class *class = sch_action_class(a);
    struct claim claim = claim_by(a->lane->seat.share,
                                  sch_use_times(&class->request, sch_class_unit(class)),
                                  a->base.priority);
    claim.class = class;
    return claim;
}

uint32_t sch_reclaim_victims(const struct sch_partition *p, const struct sch_share *tenant,
                             const struct sch_use *need, int32_t priority,
                             struct sch_reclaim_queue ret[SCH_RECLAIM_QUEUES_MAX],
                             uint32_t *ret_more)
{
    struct claim claim = claim_by(tenant, *need, priority);
    struct sch_reclaim_queue further;
    uint32_t count = 0, looks = p->options.reclaim_delay_ns > 0 ? LOOKS_MAX : 0;
    for (const struct sch_link *link = p->preemptible.next; link != &p->preemptible && looks > 0;
         link = link->next, looks--) {
        const struct sch_share *victim = sy_container_of((struct sch_link *)(uintptr_t)link,
                                                         struct sch_share, preemptible);
        count += may_lose(p, victim, &claim,
                          count < SCH_RECLAIM_QUEUES_MAX ? &ret[count] : &further);
    }
    *ret_more = count > SCH_RECLAIM_QUEUES_MAX ? count - SCH_RECLAIM_QUEUES_MAX : 0;
    return count - *ret_more;
}

static void reclaim_for_class(struct sch_partition *p, struct sch_class *class,
                              const struct sch_lane *lane)
{
    if (waits_longer(p, class))
        return;
    struct claim claim = claim_of(sch_fifo_first(&lane->queue));
    const struct sch_cluster *cluster = next_cluster(class);
    class->reclaim_asked = cluster;
    class->reclaim_seen = cluster ? cluster->preempted : 0;
    claim.cluster = cluster ? cluster->name : NULL;
    reclaim(p, &claim);
}

static void reclaim_for_gang(struct sch_partition *p, const struct sch_gang *gang)
{
    const struct sch_cluster *cluster = gang->members[0]->base.cluster;
    struct claim claim = claim_of(gang->members[0]);
    claim.gang_id = gang->id;
    claim.cluster = sch_cluster_connected(cluster) ? cluster->name : NULL;
    reclaim(p, &claim);
}

bool sch_class_is_short(const struct sch_partition *p, const struct sch_class *class)
{
    bool room = class->open.count > 0 && !(class->root.turn_lane && sch_turns_closed(p));
    return class->gang.size == 0 && class->root.children.count > 0 && !room;
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
static void look_at_class(struct sch_partition *p, struct sch_class *class)
{
    struct sch_lane *lane = NULL;
    if (!sch_class_is_short(p, class))
        class->short_since_ns = SY_TIME_NEVER;
    else
        lane = sch_class_next(p, class);
    if (!lane)
        return;
    if (class->short_since_ns == SY_TIME_NEVER) {
        class->short_since_ns = p->now_ns;
    } else if (class->id > p->reclaim_after && p->reclaim_classes > 0 && p->reclaim_looks > 0) {
        reclaim_for_class(p, class, lane);
        p->reclaim_from = --p->reclaim_classes > 0 && p->reclaim_looks > 0 ? 0 : class->id;
    }
}

static void look_at_gangs(struct sch_partition *p)
{
    int64_t before_ns = p->now_ns - p->options.reclaim_delay_ns;
    const struct sch_gang *gang;
    while (p->reclaim_gangs > 0 && sch_may_look(p)) {
        gang = p->reclaim_looks > 0 ? sch_gang_next_sent(p, before_ns) : NULL;
        p->reclaim_gangs = gang ? p->reclaim_gangs - 1 : 0;
        if (gang)
            reclaim_for_gang(p, gang);
    }
}

static void begin_round(struct sch_partition *p)
{
    skip_some(p);
    sch_round_begin(&p->reclaiming);
    p->reclaim_classes = CLASSES_MAX;
    p->reclaim_gangs = GANGS_MAX;
    p->reclaim_looks = LOOKS_MAX;
    p->reclaim_after = p->reclaim_from;
    p->reclaim_from = 0;
}

void sch_reclaim_tick(struct sch_partition *p)
{
    struct sch_round *round = &p->reclaiming;
    bool due = p->reclaim_at_ns <= p->now_ns;
    if (due && sch_list_empty(&round->todo) && p->reclaim_gangs == 0)
        begin_round(p);
    if (due)
        p->reclaim_at_ns = p->now_ns + p->options.reclaim_delay_ns;
    while (!sch_list_empty(&round->todo) && sch_may_look(p))
        look_at_class(p, sy_container_of(sch_round_next(round), struct sch_class, reclaiming));
    if (sch_list_empty(&round->todo))
        look_at_gangs(p);
}
