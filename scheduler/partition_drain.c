#include "scheduler/partition_drain.h"
#include "scheduler/partition_gang.h"

static void end(struct sch_partition *p, struct sch_cluster *cluster)
{
    cluster->draining = cluster->stops = false;
    sch_heap_remove(&p->drains, &cluster->drain_due);
    if (sch_link_in_list(&cluster->drain))
        sch_list_remove(&cluster->drain);
}

void sch_drain_look(struct sch_partition *p, struct sch_cluster *cluster)
{
    SY_ASSERT(cluster->asking > 0);
    if (cluster->draining && !sch_link_in_list(&cluster->drain))
        sch_list_push_back(&p->draining, &cluster->drain);
}

static void ask_all(struct sch_partition *p, struct sch_cluster *cluster)
{
    SY_ASSERT(cluster->draining && sch_cluster_connected(cluster));
    cluster->asking++;
    sch_drain_look(p, cluster);
}

void sch_drain_said(struct sch_partition *p, struct sch_cluster *cluster,
                    const struct sch_cluster_said *said)
{
    bool drained = cluster->draining, stopped = cluster->stops;
    SY_ASSERT(!said->draining || said->cordoned);
    if (!said->draining) {
        end(p, cluster);
        return;
    }
    cluster->draining = true;
    cluster->stops = said->drain_ns <= p->now_ns;
    if (cluster->stops || said->drain_ns == SY_TIME_NEVER)
        sch_heap_remove(&p->drains, &cluster->drain_due);
    else
        sch_heap_set(&p->drains, &cluster->drain_due, said->drain_ns);
    if (!drained || (cluster->stops && !stopped))
        ask_all(p, cluster);
}

void sch_drain_pause(struct sch_partition *p, struct sch_cluster *cluster)
{
    SY_ASSERT(!sch_cluster_connected(cluster));
    end(p, cluster);
}

/* ---- asking ---- */

static void ask(struct sch_partition *p, const struct sch_action_impl *a)
{
    const struct sch_cluster *cluster = a->base.cluster;
    const struct sch_gang *gang = sch_action_gang_of(a);
    bool runs = sch_action_state(a) == SCH_ACTION_RUNNING;
    if (runs ? !cluster->stops : gang && sch_gang_runs(gang))
        return;
    struct sch_effect *effect = sch_effect_add(p, runs ? SCH_EFFECT_CANCEL : SCH_EFFECT_GIVE_BACK);
    effect->u.cancel.cluster = cluster->name;
    effect->u.cancel.action_id = a->base.id;
    effect->u.cancel.number = a->base.number;
    effect->u.cancel.epoch = a->base.attempt_epoch;
    effect->u.cancel.reason = runs ? "preempted: its cluster is drained" : NULL;
    effect->u.cancel.preempts = runs;
}

/* The last in the list that was not asked; NULL: all were. */
static struct sch_action_impl *find_unasked(const struct sch_cluster *cluster)
{
    struct sch_link *last = cluster->attempts.prev;
    if (last == &cluster->attempts)
        return NULL;
    struct sch_action_impl *a = sy_container_of(last, struct sch_action_impl, link);
    return a->asked != cluster->asking ? a : NULL;
}

void sch_drain_go_on(struct sch_partition *p)
{
    while (!sch_list_empty(&p->draining)) {
        struct sch_cluster *cluster = sy_container_of(p->draining.next, struct sch_cluster, drain);
        SY_ASSERT(cluster->draining && sch_cluster_connected(cluster));
        struct sch_action_impl *a = find_unasked(cluster);
        if (!a) {
            sch_list_remove(&cluster->drain);
            continue;
        }
        if (!sch_may_look(p))
            return; /* a tick at once goes on */
        a->asked = cluster->asking;
        sch_list_remove(&a->link);
        sch_list_push_front(&cluster->attempts, &a->link);
        ask(p, a);
    }
}

void sch_drain_tick(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&p->drains)) && top->key <= p->now_ns) {
        struct sch_cluster *cluster = sy_container_of(top, struct sch_cluster, drain_due);
        sch_heap_remove(&p->drains, top);
        cluster->stops = true;
        ask_all(p, cluster);
    }
}

const char *sch_preempted_why(const struct sch_cluster *cluster)
{
    return cluster->stops ? "stopped: its cluster is drained" : "stopped to make room for others";
}
