#include "scheduler/partition_impl.h"

static size_t list_length(const struct sch_link *head)
{
    size_t n = 0;
    for (const struct sch_link *link = head->next; link != head; link = link->next) {
        SY_ASSERT(link->next->prev == link && link->prev->next == link);
        n++;
    }
    return n;
}

/* What is counted on the way, to be compared with the core's own counters. */
struct tally {
    uint64_t states[SCH_ACTION_STATES];
    uint64_t actions, timers, waiting, recovering, attempts;
};

static void check_timer(const struct sch_action_impl *a)
{
    switch (sch_action_state(a)) {
    case SCH_ACTION_QUEUED:
        SY_ASSERT(sch_heap_has(&a->timer) == (a->base.spec->queued_timeout_ns > 0));
        break;
    case SCH_ACTION_BACKOFF:
        SY_ASSERT(sch_heap_has(&a->timer));
        break;
    default:
        SY_ASSERT(!sch_heap_has(&a->timer));
        break;
    }
}

static void check_children(const struct sch_action_impl *a)
{
    const struct sch_action_impl *child = a->child_first;
    uint32_t count = 0;
    SY_ASSERT((child == NULL) == (a->base.children_live == 0));
    while (child && (count == 0 || child != a->child_first)) {
        SY_ASSERT(child->base.parent == &a->base && child->base.run == a->base.run);
        SY_ASSERT(child->sibling_next->sibling_prev == child);
        SY_ASSERT(!sch_action_is_final(&child->base));
        child = child->sibling_next;
        count++;
    }
    SY_ASSERT(count == a->base.children_live);
    SY_ASSERT(a->refs > count);
}

static void check_action(struct sch_partition *p, struct sch_action_impl *a, struct tally *tally)
{
    enum sch_action_state state = sch_action_state(a);
    bool out = state == SCH_ACTION_ASSIGNED || state == SCH_ACTION_RUNNING;
    bool linked = out || state == SCH_ACTION_QUEUED || state == SCH_ACTION_RECOVERING;
    SY_ASSERT(!sch_action_is_final(&a->base) && sch_action_table.invariant(a, state));
    SY_ASSERT(sch_action_find(p, a->base.id) == a);
    SY_ASSERT(sch_action_find_by_name(p, a->base.run, a->base.name) == a);
    SY_ASSERT((state == SCH_ACTION_QUEUED) == (a->level != NULL));
    SY_ASSERT(linked == sch_link_in_list(&a->link));
    SY_ASSERT(out == (a->base.cluster != NULL));
    SY_ASSERT(a->base.spec && a->base.spec->refs > 0); /* a record ends in its first step */
    SY_ASSERT(a->base.spec->group == (a->class == NULL));
    SY_ASSERT(a->base.number >= a->base.ended);
    SY_ASSERT((a->base.run->root == &a->base) == (a->base.parent == NULL));
    SY_ASSERT(!(state == SCH_ACTION_GROUP && a->base.sealed && a->base.children_live == 0));
    if (out)
        SY_ASSERT(a->base.attempt_epoch <= p->options.epoch);
    check_timer(a);
    check_children(a);
    tally->states[state]++;
    tally->actions++;
    tally->timers += sch_heap_has(&a->timer);
}

static void check_actions(struct sch_partition *p, struct tally *tally)
{
    for (uint32_t i = 0; i < p->actions_by_id.size; i++) {
        for (struct sch_table_link *link = p->actions_by_id.buckets[i]; link; link = link->next)
            check_action(p, sy_container_of(link, struct sch_action_impl, by_id), tally);
    }
    SY_ASSERT(tally->actions == p->actions_live);
    SY_ASSERT(p->actions_by_id.count == p->actions_live);
    SY_ASSERT(p->actions_by_name.count == p->actions_live);
    SY_ASSERT(tally->timers == p->timers.count);
    for (int state = 0; state < SCH_ACTION_STATES; state++) {
        if (!sch_action_table.states[state].final)
            SY_ASSERT(tally->states[state] == p->state_counts[state]);
    }
}

static void check_runs(struct sch_partition *p)
{
    uint64_t live = 0;
    for (struct sch_link *link = p->runs.next; link != &p->runs; link = link->next) {
        struct sch_run_impl *run = sy_container_of(link, struct sch_run_impl, link);
        SY_ASSERT(sch_partition_find_run_by_id(p, run->base.id) == &run->base);
        SY_ASSERT(run->base.root && run->base.actions_live > 0);
        SY_ASSERT(run->base.actions_total >= run->base.actions_live);
        SY_ASSERT(run->refs > run->base.actions_live);
        live += run->base.actions_live;
    }
    SY_ASSERT(live == p->actions_live);
    SY_ASSERT(list_length(&p->runs) == p->runs_by_id.count);
    SY_ASSERT(p->runs_by_id.count == p->runs_by_name.count);
}

static void check_pair(const struct sch_partition *p, const struct sch_class *class, size_t index)
{
    const struct sch_pair *pair = class->pairs[index];
    bool connected = sch_cluster_connected(pair->cluster);
    bool open = connected && pair->feasible && pair->granted > pair->assigned;
    SY_ASSERT(pair->cluster == p->clusters[index] && pair->entry.tie == pair->cluster->rank);
    SY_ASSERT(pair->assigned <= pair->granted);
    SY_ASSERT(open == sch_heap_has(&pair->entry));
    SY_ASSERT(!(open && class->waiting > 0)); /* else something waits for nothing */
    SY_ASSERT(!(connected && pair->feasible) || pair->told || class->tell_new);
}

static void check_class(struct sch_partition *p, struct sch_class *class, struct tally *tally)
{
    uint64_t waiting = 0;
    SY_ASSERT(sch_class_find(p, class->id) == class);
    SY_ASSERT((class->refs == 0) == sch_link_in_list(&class->idle));
    SY_ASSERT(class->pair_count == p->cluster_count);
    SY_ASSERT(list_length(&class->levels_all) == class->level_count);
    for (struct sch_link *link = class->levels_all.next; link != &class->levels_all;
         link = link->next) {
        struct sch_level *level = sy_container_of(link, struct sch_level, link);
        size_t n = list_length(&level->actions);
        SY_ASSERT(level->class == class && sch_heap_has(&level->entry) == (n > 0));
        waiting += n;
        for (struct sch_link *at = level->actions.next; at != &level->actions; at = at->next) {
            const struct sch_action_impl *a = sy_container_of(at, struct sch_action_impl, link);
            SY_ASSERT(a->level == level && a->class == class);
            SY_ASSERT(a->base.priority == level->priority);
        }
    }
    SY_ASSERT(waiting == class->waiting && waiting <= class->refs);
    for (size_t i = 0; i < class->pair_count; i++)
        check_pair(p, class, i);
    sch_heap_check(&class->levels);
    sch_heap_check(&class->open);
    tally->waiting += waiting;
}

static void check_classes(struct sch_partition *p, struct tally *tally)
{
    uint64_t refs = 0;
    for (struct sch_link *link = p->classes.next; link != &p->classes; link = link->next) {
        struct sch_class *class = sy_container_of(link, struct sch_class, link);
        check_class(p, class, tally);
        refs += class->refs;
    }
    SY_ASSERT(tally->waiting == tally->states[SCH_ACTION_QUEUED]);
    SY_ASSERT(refs == p->actions_live - tally->states[SCH_ACTION_GROUP]);
    SY_ASSERT(list_length(&p->classes) == p->class_count);
    SY_ASSERT(p->classes_by_id.count == p->class_count);
    SY_ASSERT(p->classes_by_request.count == p->class_count);
    SY_ASSERT(list_length(&p->classes_idle) == p->class_idle_count);
    SY_ASSERT(p->class_idle_count <= SCH_CLASSES_IDLE_MAX);
}

static size_t check_attempts(const struct sch_cluster *cluster, const struct sch_link *attempts)
{
    for (const struct sch_link *link = attempts->next; link != attempts; link = link->next) {
        const struct sch_action_impl *a = sy_container_of((struct sch_link *)(uintptr_t)link,
                                                          struct sch_action_impl, link);
        enum sch_action_state state = sch_action_state(a);
        SY_ASSERT(a->base.cluster == cluster);
        SY_ASSERT(state == SCH_ACTION_ASSIGNED || state == SCH_ACTION_RUNNING);
    }
    return list_length(attempts);
}

static void check_clusters(struct sch_partition *p, struct tally *tally)
{
    size_t awaited = 0, down = 0;
    for (size_t i = 0; i < p->cluster_count; i++) {
        struct sch_cluster *cluster = p->clusters[i];
        enum sch_cluster_state state = sch_cluster_state(cluster);
        SY_ASSERT(cluster->index == i && sch_cluster_find(p, cluster->name) == cluster);
        SY_ASSERT((state == SCH_CLUSTER_DOWN) == sch_heap_has(&cluster->lease));
        size_t named = check_attempts(cluster, &cluster->attempts);
        size_t unnamed = check_attempts(cluster, &cluster->unnamed);
        SY_ASSERT(unnamed == 0 || state == SCH_CLUSTER_JOINING);
        SY_ASSERT(named == 0 || sch_cluster_connected(cluster) || state == SCH_CLUSTER_DOWN);
        tally->attempts += named + unnamed;
        awaited += cluster->awaited;
        down += state == SCH_CLUSTER_DOWN;
    }
    SY_ASSERT(awaited == p->clusters_awaited && down == p->leases.count);
    SY_ASSERT(tally->attempts ==
              tally->states[SCH_ACTION_ASSIGNED] + tally->states[SCH_ACTION_RUNNING]);
}

static void check_tables(const struct sch_partition *p)
{
    const struct sch_table *tables[] = {
        &p->runs_by_id,    &p->runs_by_name, &p->actions_by_id,      &p->actions_by_name,
        &p->classes_by_id, &p->levels,       &p->classes_by_request, &p->clusters_by_name};
    for (size_t i = 0; i < SY_COUNT_OF(tables); i++)
        sch_table_check(tables[i]);
    sch_heap_check(&p->timers);
    sch_heap_check(&p->flushes);
    sch_heap_check(&p->leases);
}

void sch_partition_check(const struct sch_partition *const_p)
{
    struct sch_partition *p = (struct sch_partition *)(uintptr_t)const_p; /* lookups only */
    struct tally tally = {0};
    SY_ASSERT(!p->out && p->spec_unused_count == 0 && !p->orphans);
    check_tables(p);
    check_actions(p, &tally);
    check_runs(p);
    check_classes(p, &tally);
    check_clusters(p, &tally);
    SY_ASSERT(list_length(&p->recovering) == tally.states[SCH_ACTION_RECOVERING]);
    SY_ASSERT(p->recovery_end_ns != SY_TIME_NEVER || sch_list_empty(&p->recovering));
    SY_ASSERT((p->recovery_end_ns != SY_TIME_NEVER) == (p->clusters_awaited > 0));
}
