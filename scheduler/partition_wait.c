/*
 * Attempts that are not given up like others when nobody hears what runs them. Where they are is
 * durable with their assignment, so that a restart of the partition waits for that cluster only.
 *
 * Those that wait are kept apart (cluster->kept) when the lease of their cluster is over, until it
 * comes back and names them, or comes back without them; or until a person fences or deletes it.
 *
 * Those that their agents stop (scheduler/stop.h) are given up when that lease is over, as others,
 * but never before a lease after the last that was heard of whoever may have them: an operator or a
 * partition that was started anew does not know of agents that are cut off from it. So what a
 * cluster does not name when it comes back is kept for a lease from then on, and so is what was out
 * in one that has not come back when the partition ends its recovery.
 */
#include "scheduler/action_impl.h"

#include <stdlib.h>
#include <string.h>

static bool is_out(const struct sch_action_impl *a)
{
    enum sch_action_state state = sch_action_state(a);
    return state == SCH_ACTION_ASSIGNED || state == SCH_ACTION_RUNNING;
}

static bool has_policy(const struct sch_action_impl *a, enum sch_on_partition policy)
{
    return a->base.spec && a->base.spec->on_partition == policy && !sch_action_gang_of(a);
}

bool sch_action_waits(const struct sch_action_impl *a)
{
    return has_policy(a, SCH_ON_PARTITION_WAIT);
}

bool sch_action_stops(const struct sch_action_impl *a)
{
    return has_policy(a, SCH_ON_PARTITION_STOP);
}

void sch_action_out_changed(struct sch_partition *p, struct sch_action_impl *a)
{
    if (sch_action_waits(a) || sch_action_stops(a))
        sch_effect_add(p, SCH_EFFECT_UPDATED)->u.action = &a->base;
}

bool sch_action_out(const struct sch_action *action, struct sch_out *ret)
{
    const struct sch_action_impl *a = sch_action_impl_const(action);
    bool durable = sch_action_waits(a) || sch_action_stops(a);
    if (!is_out(a) || !durable || action->number == action->ended)
        return false;
    *ret = (struct sch_out){.number = action->number,
                            .epoch = action->attempt_epoch,
                            .started = sch_action_state(a) == SCH_ACTION_RUNNING};
    memcpy(ret->cluster, action->cluster->name, sizeof(ret->cluster));
    return true;
}

bool sch_action_waits_out(const struct sch_action *action)
{
    const struct sch_action_impl *a = sch_action_impl_const(action);
    return is_out(a) && sch_action_waits(a) && !sch_cluster_connected(action->cluster);
}

bool sch_partition_waits_for(struct sch_partition *p, const char *name)
{
    const struct sch_cluster *cluster = sch_cluster_find(p, name);
    return cluster && (!sch_list_empty(&cluster->kept) || !sch_list_empty(&cluster->attempts));
}

/* ---- what a cluster has not named ---- */

static void keep(struct sch_cluster *cluster, struct sch_action_impl *a)
{
    a->asked = 0;
    sch_list_remove(&a->link);
    sch_list_push_back(&cluster->kept, &a->link);
}

void sch_outs_keep_unnamed(struct sch_partition *p, struct sch_cluster *cluster, bool owed)
{
    struct sch_link *next;
    for (struct sch_link *at = cluster->unnamed.next; at != &cluster->unnamed; at = next) {
        struct sch_action_impl *a = sy_container_of(at, struct sch_action_impl, link);
        bool may_run = sch_action_stops(a) && p->now_ns < cluster->stopped_ns;
        next = at->next;
        if (!may_run && !(owed && sch_action_waits(a)))
            continue;
        keep(cluster, a);
        if (may_run)
            sch_heap_set(&p->stopping, &cluster->stopping, cluster->stopped_ns);
    }
}

void sch_outs_keep_recovered(struct sch_partition *p, struct sch_cluster *cluster)
{
    SY_ASSERT(sch_cluster_state(cluster) == SCH_CLUSTER_GONE && sch_list_empty(&cluster->kept));
    cluster->stopped_ns = p->now_ns + p->options.cluster_lease_ns;
    while (!sch_list_empty(&cluster->attempts)) { /* all are restored as out */
        struct sch_action_impl *a = sy_container_of(cluster->attempts.next, struct sch_action_impl,
                                                    link);
        keep(cluster, a);
        if (sch_action_stops(a))
            sch_heap_set(&p->stopping, &cluster->stopping, cluster->stopped_ns);
    }
}

void sch_outs_stopped(struct sch_partition *p, struct sch_cluster *cluster, struct sch_link *ret)
{
    struct sch_link *next;
    if (!sch_heap_has(&cluster->stopping))
        return;
    sch_heap_remove(&p->stopping, &cluster->stopping);
    for (struct sch_link *at = cluster->kept.next; at != &cluster->kept; at = next) {
        next = at->next;
        if (!sch_action_stops(sy_container_of(at, struct sch_action_impl, link)))
            continue;
        sch_list_remove(at);
        sch_list_push_back(ret, at);
    }
}

/* ---- a restart ---- */

void sch_out_restore(struct sch_partition *p, struct sch_action_impl *a, const struct sch_out *out)
{
    SY_ASSERT(out->number > a->base.ended && out->epoch < p->options.epoch);
    if (p->out_count == p->out_cap) {
        p->out_cap = p->out_cap ? p->out_cap * 2 : 16;
        p->outs = sy_realloc(p->outs, p->out_cap * sizeof(*p->outs));
    }
    p->outs[p->out_count++] = (struct sch_restored_out){.action = a, .out = *out};
}

void sch_outs_restored(struct sch_partition *p)
{
    for (size_t i = 0; i < p->out_count; i++) {
        struct sch_action_impl *a = p->outs[i].action;
        const struct sch_out *out = &p->outs[i].out;
        struct sch_cluster *cluster = sch_cluster_find(p, out->cluster);
        bool durable = sch_action_waits(a) || sch_action_stops(a);
        if (!cluster || !durable || sch_action_state(a) != SCH_ACTION_RECOVERING)
            continue; /* it was deleted: nobody is to be waited for */
        a->base.number = out->number;
        a->base.attempt_epoch = out->epoch;
        sch_action_occupy(p, a, cluster, SCH_ACTION_ASSIGNED);
        if (out->started)
            sch_action_move(p, a, SCH_ACTION_RUNNING);
    }
    free(sy_take(p->outs));
    p->out_count = p->out_cap = 0;
}
