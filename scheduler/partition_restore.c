#include "scheduler/action_impl.h"
#include "scheduler/partition_cache.h"
#include "scheduler/partition_gang.h"
#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_queue.h"

#include <stdlib.h>
#include <string.h>

struct sch_run *sch_partition_restore_run(struct sch_partition *p, uint64_t id, const char *project,
                                          const char *domain, const char *name, int64_t created_ns,
                                          uint64_t event_sequence, uint64_t actions_total,
                                          uint32_t concurrency_max)
{
    SY_ASSERT(id >> SCH_ID_COUNTER_BITS < p->options.epoch); /* else ids would be given out twice */
    struct sch_run_impl *run = sch_run_new(p, id, project, domain, name);
    run->base.created_ns = created_ns;
    run->base.event_sequence = event_sequence;
    run->base.actions_total = actions_total;
    sch_gate_new(run, concurrency_max);
    return &run->base;
}

void sch_partition_restore_place(struct sch_run *run, uint8_t place)
{
    SY_ASSERT(run && !run->root);
    sch_run_impl(run)->place = place;
}

static void add_orphan(struct sch_partition *p, struct sch_action_impl *a, const char *parent)
{
    size_t size = strlen(parent) + 1;
    SY_ASSERT(size <= SCH_NAME_MAX);
    if (p->orphan_count == p->orphan_cap) {
        p->orphan_cap = p->orphan_cap ? p->orphan_cap * 2 : 64;
        p->orphans = sy_realloc(p->orphans, p->orphan_cap * sizeof(*p->orphans));
    }
    struct sch_orphan *orphan = &p->orphans[p->orphan_count++];
    orphan->action = a;
    memcpy(orphan->parent, parent, size);
}

struct sch_action *sch_partition_restore_action(struct sch_partition *p,
                                                const struct sch_restore *r)
{
    struct sch_run *run = sch_partition_find_run_by_id(p, r->run_id);
    SY_ASSERT(run);
    SY_ASSERT(r->action_id >> SCH_ID_COUNTER_BITS < p->options.epoch);
    bool root = !r->parent || !r->parent[0];
    SY_ASSERT(root == (strcmp(r->name, SCH_ROOT_NAME) == 0));
    SY_ASSERT(!sch_action_find_by_name(p, run, r->name));
    struct sch_action_impl *parent = root ? NULL : sch_action_find_by_name(p, run, r->parent);
    bool runs = r->spec && !r->spec->group;
    struct sch_share *tenant = runs ? sch_share_restore_tenant(p, run->project, run->domain,
                                                               r->queue, r->queue_reach)
                                    : NULL;
    struct sch_action_new new = {
        .id = r->action_id,
        .run = sch_run_impl(run),
        .parent = parent,
        .name = r->name,
        .spec = r->spec,
        .tenant = tenant,
        .gang = r->gang ? sch_gang_restore(p, r->gang) : NULL,
        .rank = r->gang ? r->gang->rank : 0,
        .priority = r->priority,
        .created_ns = r->created_ns,
        .timeout_ns = r->timeout_ns,
        .spent_ns = r->realtime_ns - r->created_ns,
        .memory_bytes = runs ? r->memory_bytes : 0,
        .state = !r->spec         ? SCH_ACTION_PAUSED
                 : r->spec->group ? SCH_ACTION_GROUP
                                  : SCH_ACTION_RECOVERING,
    };
    struct sch_action_impl *a = sch_action_create(p, &new);
    if (tenant)
        sch_share_unref(p, tenant);
    a->base.number = a->base.ended = r->number;
    a->base.attempts = r->attempts;
    a->base.user_failures = r->user_failures;
    a->base.system_failures = r->system_failures;
    a->base.deaths = r->deaths;
    a->base.suspect = r->suspect;
    a->base.children_failed = r->children_failed;
    a->base.child_sequence = r->child_sequence;
    a->base.sealed = r->sealed;
    if (new.state == SCH_ACTION_RECOVERING)
        sch_list_push_back(&p->recovering, &a->link);
    if (new.state == SCH_ACTION_RECOVERING && r->out)
        sch_out_restore(p, a, r->out);
    if (new.state == SCH_ACTION_RECOVERING && r->cache_key)
        sch_cache_restore(p, a, r->cache_key);
    if (!root && !parent)
        add_orphan(p, a, r->parent);
    return &a->base;
}

/* It is over when all that nobody reported waits again. */
static void end_recovery(struct sch_partition *p)
{
    p->recovery_ends = true;
    p->clusters_awaited = 0;
    sch_verify_later(p);
    for (size_t i = 0; i < p->cluster_count; i++) {
        struct sch_cluster *cluster = p->clusters[i];
        cluster->awaited = false;
        if (sch_cluster_state(cluster) != SCH_CLUSTER_EXPECTED)
            continue;
        sm_move(&cluster->sm, &sch_cluster_table, SCH_CLUSTER_GONE, cluster);
        sch_outs_keep_recovered(p, cluster);
        sch_cluster_learned(p, cluster);
    }
}

static void wait_again(struct sch_partition *p, struct sch_action_impl *a)
{
    SY_ASSERT(sch_action_state(a) == SCH_ACTION_RECOVERING);
    if (sch_action_gang_of(a)) {
        sch_gang_unreported(p, sch_action_gang_of(a));
        return;
    }
    sch_list_remove(&a->link);
    a->base.queued_at_ns = p->now_ns;
    sch_action_wait(p, a, true);
}

/* Before what was enqueued since, in their old order: the last one first, each to the front. */
void sch_recovery_go_on(struct sch_partition *p)
{
    if (!p->recovery_ends)
        return;
    while (!sch_list_empty(&p->recovering) && sch_may_look(p))
        wait_again(p, sy_container_of(p->recovering.prev, struct sch_action_impl, link));
    if (!sch_list_empty(&p->recovering))
        return; /* a tick at once goes on */
    p->recovery_ends = false;
    p->recovery_end_ns = SY_TIME_NEVER;
    sch_gangs_recovered(p);
}

static void check_run_restored(struct sch_partition *p)
{
    for (struct sch_link *link = p->runs.next; link != &p->runs; link = link->next) {
        const struct sch_run_impl *run = sy_container_of(link, struct sch_run_impl, link);
        SY_ASSERT(run->base.root && run->base.actions_live > 0);
    }
}

void sch_partition_restored(struct sch_partition *p, const char *const *expected_clusters,
                            size_t count, int64_t now_ns)
{
    SY_ASSERT(p->cluster_count == 0 && p->recovery_end_ns == SY_TIME_NEVER);
    p->now_ns = now_ns;
    for (size_t i = 0; i < p->orphan_count; i++) {
        struct sch_orphan *orphan = &p->orphans[i];
        struct sch_action_impl *parent = sch_action_find_by_name(p, orphan->action->base.run,
                                                                 orphan->parent);
        SY_ASSERT(parent); /* a parent ends after its children, in the same batch */
        sch_action_link_parent(orphan->action, parent);
    }
    sch_cache_restored(p);
    sch_gangs_restored(p);
    sch_recovery_free(p);
    check_run_restored(p);
    for (size_t i = 0; i < count; i++) {
        sch_cluster_add(p, expected_clusters[i], SCH_CLUSTER_EXPECTED)->awaited = true;
        p->clusters_awaited++;
    }
    sch_outs_restored(p);
    p->recovery_end_ns = now_ns + p->options.recovery_wait_ns;
    if (count == 0 || p->options.recovery_wait_ns == 0)
        end_recovery(p);
    for (; p->recovery_ends; p->looks = 0) /* not in slices: it has just been read as a whole */
        sch_recovery_go_on(p);
    sch_gates_release(p);
}

void sch_recovery_cluster_done(struct sch_partition *p, struct sch_cluster *cluster)
{
    if (!cluster->awaited)
        return;
    SY_ASSERT(p->clusters_awaited > 0 && !p->recovery_ends);
    cluster->awaited = false;
    if (--p->clusters_awaited == 0)
        end_recovery(p);
}

void sch_recovery_tick(struct sch_partition *p)
{
    bool due = p->recovery_end_ns != SY_TIME_NEVER && p->recovery_end_ns <= p->now_ns &&
               !p->recovery_ends;
    if (due && !sch_list_empty(&p->recovering) && sch_cluster_blind(p))
        p->recovery_end_ns = p->now_ns + p->options.recovery_wait_ns;
    else if (due)
        end_recovery(p);
    SY_ASSERT(p->recovery_end_ns == SY_TIME_NEVER || p->clusters_awaited > 0 || p->recovery_ends);
}

void sch_recovery_free(struct sch_partition *p)
{
    free(sy_take(p->orphans));
    free(sy_take(p->keyed));
    p->orphan_count = p->orphan_cap = p->keyed_count = p->keyed_cap = 0;
}
