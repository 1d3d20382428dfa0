/*
 * Attempts that are not given up because nobody hears what runs them. When the lease of their
 * cluster is over they are kept apart (cluster->kept), until it comes back and names them, or comes
 * back without them; or until a person fences or deletes it. Where they are is durable with their
 * assignment, so that a restart of the partition waits for that cluster only.
 */
#include "scheduler/action_impl.h"

#include <stdlib.h>
#include <string.h>

static bool is_out(const struct sch_action_impl *a)
{
    enum sch_action_state state = sch_action_state(a);
    return state == SCH_ACTION_ASSIGNED || state == SCH_ACTION_RUNNING;
}

bool sch_action_waits(const struct sch_action_impl *a)
{
    return a->base.spec && a->base.spec->on_partition == SCH_ON_PARTITION_WAIT &&
           !sch_action_gang_of(a);
}

void sch_action_out_changed(struct sch_partition *p, struct sch_action_impl *a)
{
    if (sch_action_waits(a))
        sch_effect_add(p, SCH_EFFECT_UPDATED)->u.action = &a->base;
}

bool sch_action_out(const struct sch_action *action, struct sch_out *ret)
{
    const struct sch_action_impl *a = sch_action_impl_const(action);
    if (!is_out(a) || !sch_action_waits(a) || action->number == action->ended)
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
        if (!cluster || !sch_action_waits(a) || sch_action_state(a) != SCH_ACTION_RECOVERING)
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
