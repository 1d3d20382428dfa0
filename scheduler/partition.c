#include "scheduler/partition_cache.h"
#include "scheduler/partition_gang.h"
#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_reclaim.h"
#include "scheduler/partition_reserve.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_ticket.h"
#include "scheduler/partition_turn.h"

#include <stdlib.h>
#include <string.h>

/* An abort of a million actions leaves a long list behind; it is given back at the next step. */
#define EFFECTS_KEPT 16384u

/* ---- set-up ---- */

struct sch_partition *sch_partition_new(const struct sch_partition_options *options, int64_t now_ns)
{
    SY_ASSERT(options->epoch > 0 && options->epoch <= SCH_EPOCH_MAX);
    SY_ASSERT(options->actions_max > 0 && options->actions_max < UINT32_MAX);
    SY_ASSERT(options->cluster_lease_ns > 0 && options->recovery_wait_ns >= 0);
    SY_ASSERT(options->worker_deaths_max <= UINT8_MAX);
    struct sch_partition *p = sy_new(struct sch_partition);
    p->options = *options;
    p->options.assign_max = options->assign_max > 0 ? options->assign_max : SCH_ASSIGN_MAX;
    p->last_id = (uint64_t)options->epoch << SCH_ID_COUNTER_BITS;
    p->now_ns = now_ns;
    p->recovery_end_ns = SY_TIME_NEVER;
    p->verify_at_ns = SY_TIME_NEVER;
    sch_list_init(&p->touched);
    sch_list_init(&p->gates_touched);
    sch_list_init(&p->caches_touched);
    sch_list_init(&p->runs);
    sch_list_init(&p->gangs);
    sch_list_init(&p->gangs_broken);
    sch_list_init(&p->gangs_sent);
    sch_list_init(&p->classes);
    sch_list_init(&p->classes_idle);
    sch_list_init(&p->undecided);
    sch_list_init(&p->preemptible);
    p->reclaim_at_ns = p->reserve_at_ns = SY_TIME_NEVER;
    sch_list_init(&p->tickets_touched);
    sch_shares_init(p);
    sch_list_init(&p->recovering);
    return p;
}

static void bury(struct sch_partition *p)
{
    struct sch_action_impl *a = sy_take(p->graves);
    while (a) {
        struct sch_action_impl *next = a->grave_next;
        a->grave_next = NULL;
        sch_action_unref(&a->base);
        a = next;
    }
}

/* What the shell still refers to stays readable; it was taken out of the core's lists. */
static void free_actions(struct sch_partition *p)
{
    for (uint32_t i = 0; i < p->actions_by_id.size; i++) {
        struct sch_table_link *link = p->actions_by_id.buckets[i];
        while (link) {
            struct sch_action_impl *a = sy_container_of(link, struct sch_action_impl, by_id);
            link = link->next;
            sch_action_leave(p, a);
            a->link = (struct sch_link){0};
            if (a->rare && a->rare->cache && sch_action_state(a) != SCH_ACTION_CACHE_WAIT)
                sch_cache_free(p, a->rare->cache);
            sch_action_unref(&a->base);
        }
    }
    while (!sch_list_empty(&p->runs)) {
        struct sch_link *link = sch_list_pop(&p->runs);
        struct sch_run_impl *run = sy_container_of(link, struct sch_run_impl, link);
        sch_gate_free(p, run);
        sch_run_unref(run);
    }
}

void sch_partition_free(struct sch_partition *p)
{
    if (!p)
        return;
    bury(p);
    sch_recovery_free(p);
    free_actions(p);
    while (!sch_list_empty(&p->classes))
        sch_class_free(p, sy_container_of(p->classes.next, struct sch_class, link));
    sch_shares_deinit(p);
    for (size_t i = 0; i < p->cluster_count; i++)
        sch_cluster_free(p->clusters[i]);
    free(p->clusters);
    free(p->specs_unused);
    sch_heap_deinit(&p->timers);
    sch_heap_deinit(&p->flushes);
    sch_heap_deinit(&p->leases);
    sch_heap_deinit(&p->ages);
    sch_heap_deinit(&p->avoided);
    sch_heap_deinit(&p->ticket_flushes);
    sch_heap_deinit(&p->patience);
    sch_heap_deinit(&p->doomed);
    struct sch_table *tables[] = {
        &p->runs_by_id,    &p->runs_by_name,       &p->actions_by_id, &p->actions_by_name,
        &p->classes_by_id, &p->classes_by_request, &p->levels,        &p->clusters_by_name,
        &p->caches,        &p->shares_by_key,      &p->seats,         &p->rules,
        &p->gangs_by_id};
    for (size_t i = 0; i < SY_COUNT_OF(tables); i++)
        sch_table_deinit(tables[i]);
    free(p);
}

uint64_t sch_partition_new_id(struct sch_partition *p)
{
    uint64_t id = ++p->last_id;
    SY_ASSERT(id >> SCH_ID_COUNTER_BITS == p->options.epoch); /* 10^12 ids in an epoch */
    return id;
}

/* ---- effects ---- */

void sch_effects_deinit(struct sch_effects *effects)
{
    free(effects->items);
    *effects = (struct sch_effects){0};
}

static void effects_clear(struct sch_effects *effects)
{
    if (effects->cap > EFFECTS_KEPT)
        sch_effects_deinit(effects);
    effects->count = 0;
}

struct sch_effect *sch_effect_add(struct sch_partition *p, enum sch_effect_type type)
{
    struct sch_effects *effects = p->out;
    SY_ASSERT(effects && effects->count <= effects->cap);
    if (effects->count == effects->cap) {
        effects->cap = effects->cap ? effects->cap * 2 : 64;
        effects->items = sy_realloc(effects->items, effects->cap * sizeof(*effects->items));
    }
    struct sch_effect *effect = &effects->items[effects->count++];
    *effect = (struct sch_effect){.type = type};
    return effect;
}

void sch_spec_released(struct sch_partition *p, struct sch_spec *spec)
{
    SY_ASSERT(spec->refs == 0);
    if (p->spec_unused_count == p->spec_unused_cap) {
        p->spec_unused_cap = p->spec_unused_cap ? p->spec_unused_cap * 2 : 16;
        p->specs_unused = sy_realloc(p->specs_unused,
                                     p->spec_unused_cap * sizeof(struct sch_spec *));
    }
    p->specs_unused[p->spec_unused_count++] = spec;
}

static void tell_specs_unused(struct sch_partition *p)
{
    for (size_t i = 0; i < p->spec_unused_count; i++) {
        SY_ASSERT(p->specs_unused[i]->refs == 0);
        sch_effect_add(p, SCH_EFFECT_SPEC_UNUSED)->u.spec = p->specs_unused[i];
    }
    p->spec_unused_count = 0;
}

void sch_reject(struct sch_partition *p, enum sch_reject why, struct sch_action_impl *existing,
                void *shell)
{
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_REJECTED);
    effect->u.rejected.why = why;
    effect->u.rejected.action = existing ? &existing->base : NULL;
    bool says = why == SCH_REJECT_INFEASIBLE || why == SCH_REJECT_NO_QUEUE ||
                why == SCH_REJECT_QUEUE_FULL;
    effect->u.rejected.text = says ? p->misses.text : NULL;
    effect->u.rejected.shell = shell;
}

const struct sch_gang_shape sch_no_gang = {.size = 0};

/* ---- runs ---- */

static uint32_t run_hash(const char *project, const char *domain, const char *name)
{
    uint64_t hash = sch_hash_bytes(project, strlen(project), 0);
    hash = sch_hash_bytes(domain, strlen(domain), hash);
    return (uint32_t)sch_hash_bytes(name, strlen(name), hash);
}

static void copy_name(char ret[SCH_NAME_MAX], const char *name)
{
    size_t size = strlen(name) + 1;
    SY_ASSERT(size <= SCH_NAME_MAX);
    memcpy(ret, name, size);
}

struct sch_run_impl *sch_run_new(struct sch_partition *p, uint64_t id, const char *project,
                                 const char *domain, const char *name)
{
    SY_ASSERT(!sch_partition_find_run_by_id(p, id));
    SY_ASSERT(!sch_partition_find_run(p, project, domain, name));
    struct sch_run_impl *run = sy_new(struct sch_run_impl);
    run->base.id = id;
    run->refs = 1;
    copy_name(run->base.project, project);
    copy_name(run->base.domain, domain);
    copy_name(run->base.name, name);
    sch_table_add(&p->runs_by_id, &run->by_id, sch_hash_u64(id, 0));
    sch_table_add(&p->runs_by_name, &run->by_name, run_hash(project, domain, name));
    sch_list_push_back(&p->runs, &run->link);
    return run;
}

void sch_run_unref(struct sch_run_impl *run)
{
    SY_ASSERT(run->refs > 0);
    if (--run->refs > 0)
        return;
    SY_ASSERT(!sch_link_in_list(&run->link));
    free(run);
}

struct sch_run *sch_partition_find_run(struct sch_partition *p, const char *project,
                                       const char *domain, const char *name)
{
    SY_ASSERT(project && domain && name);
    struct sch_table_link *link = sch_table_first(&p->runs_by_name,
                                                  run_hash(project, domain, name));
    for (; link; link = sch_table_next(link)) {
        struct sch_run_impl *run = sy_container_of(link, struct sch_run_impl, by_name);
        if (strcmp(run->base.name, name) == 0 && strcmp(run->base.domain, domain) == 0 &&
            strcmp(run->base.project, project) == 0)
            return &run->base;
    }
    return NULL;
}

struct sch_run *sch_partition_find_run_by_id(struct sch_partition *p, uint64_t run_id)
{
    struct sch_table_link *link = sch_table_first(&p->runs_by_id, sch_hash_u64(run_id, 0));
    for (; link; link = sch_table_next(link)) {
        struct sch_run_impl *run = sy_container_of(link, struct sch_run_impl, by_id);
        if (run->base.id == run_id)
            return &run->base;
    }
    return NULL;
}

/* ---- new actions ---- */

/* What ends in the step that makes it was never queued: it begins as a group does. */
static enum sch_action_state first_state(struct sch_partition *p, const struct sch_run_impl *run,
                                         const struct sch_task *task)
{
    if (task->instant || task->spec->group)
        return SCH_ACTION_GROUP;
    if (task->cache_key && sch_cache_find(p, task->cache_key))
        return SCH_ACTION_CACHE_WAIT;
    return sch_gate_first(run, 1);
}

struct sch_action_impl *sch_begin_action(struct sch_partition *p, const struct sch_action_new *new,
                                         bool ends, void *shell)
{
    struct sch_action_impl *a = sch_action_create(p, new);
    new->run->base.actions_total++;
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_CREATED);
    effect->u.created.action = &a->base;
    effect->u.created.shell = shell;
    effect->u.created.ends = ends;
    if (a->lane)
        sch_class_accepted(p, sch_action_class(a), a->base.id);
    return a;
}

/* An action that needs a spec: the root, or a child. */
static void begin_task(struct sch_partition *p, struct sch_action_new *new,
                       const struct sch_task *task, struct sch_share *tenant)
{
    new->id = sch_partition_new_id(p);
    new->spec = task->spec;
    new->tenant = tenant;
    new->priority = task->priority;
    new->created_ns = p->realtime_ns;
    new->state = first_state(p, new->run, task);
    struct sch_action_impl *a = sch_begin_action(p, new, task->instant, task->shell);
    if (tenant)
        sch_share_unref(p, tenant); /* its lane has one */
    if (task->instant) {
        struct sch_end end = {.state = SCH_ACTION_SUCCEEDED, .shell = task->shell};
        sch_action_end_as(p, a, &end);
        return;
    }
    sch_action_event(p, a, NULL, NULL, NULL);
    SY_ASSERT(!task->cache_key || !task->spec->group);
    if (task->cache_key)
        sch_cache_join(p, a, task->cache_key);
    if (new->state == SCH_ACTION_QUEUED || new->state == SCH_ACTION_HELD)
        sch_action_place(p, a, false);
}

static uint32_t count_of(const struct sch_task *task)
{
    return task->gang->size > 0 ? task->gang->size : 1;
}

/* A queue that takes it, and a cluster that could run it. */
static bool admit_to_queue(struct sch_partition *p, const struct sch_task *task,
                           const struct sch_share *tenant)
{
    enum sch_reject why = SCH_REJECT_NO_QUEUE;
    if (tenant)
        why = sch_share_has_length(p, tenant, count_of(task)) ? SCH_REJECT_INFEASIBLE
                                                              : SCH_REJECT_QUEUE_FULL;
    if (why == SCH_REJECT_INFEASIBLE &&
        sch_feasible(p, &task->spec->request, task->gang, tenant->rule, &p->misses))
        return true;
    sch_reject(p, why, NULL, task->shell);
    return false;
}

bool sch_admit(struct sch_partition *p, const struct sch_task *task, const char *project,
               const char *domain, struct sch_share **ret_tenant)
{
    *ret_tenant = NULL;
    if (task->instant)
        return true;
    if (p->actions_live + count_of(task) > p->options.actions_max) {
        sch_reject(p, SCH_REJECT_FULL, NULL, task->shell);
        return false;
    }
    if (task->spec->group)
        return true;
    struct sch_share *tenant = sch_share_find_tenant(p, project, domain, task->queue, false);
    if (admit_to_queue(p, task, tenant)) {
        *ret_tenant = tenant;
        return true;
    }
    if (tenant)
        sch_share_unref(p, tenant);
    return false;
}

static void step_create_run(struct sch_partition *p, const struct sch_event *event)
{
    const char *project = event->u.create.project, *domain = event->u.create.domain;
    struct sch_task task = {.spec = event->u.create.spec,
                            .priority = event->u.create.priority,
                            .queue = event->u.create.queue,
                            .instant = event->u.create.instant,
                            .cache_key = event->u.create.cache_key,
                            .gang = &sch_no_gang,
                            .shell = event->u.create.shell};
    struct sch_run *existing = sch_partition_find_run(p, project, domain, event->u.create.name);
    struct sch_share *tenant;
    SY_ASSERT(task.spec);
    if (existing) {
        sch_reject(p, SCH_REJECT_EXISTS, sch_action_impl(existing->root), task.shell);
    } else if (sch_admit(p, &task, project, domain, &tenant)) {
        struct sch_run_impl *run = sch_run_new(p, sch_partition_new_id(p), project, domain,
                                               event->u.create.name);
        run->base.created_ns = event->realtime_ns;
        sch_gate_new(run, event->u.create.concurrency_max);
        sch_effect_add(p, SCH_EFFECT_RUN_CREATED)->u.run = &run->base;
        struct sch_action_new new = {.run = run, .name = SCH_ROOT_NAME};
        begin_task(p, &new, &task, tenant);
        return;
    }
    if (task.spec->refs == 0)
        sch_spec_released(p, task.spec);
}

bool sch_admit_child(struct sch_partition *p, struct sch_action_impl *parent, const char *name,
                     void *shell)
{
    SY_ASSERT(parent && name && strlen(name) < SCH_NAME_MAX);
    struct sch_action_impl *existing = sch_action_find_by_name(p, parent->base.run, name);
    if (existing) {
        bool same = existing->base.parent == &parent->base;
        sch_reject(p, same ? SCH_REJECT_EXISTS : SCH_REJECT_CONFLICT, same ? existing : NULL,
                   shell);
        return false;
    }
    if (parent->base.sealed || sch_action_is_final(&parent->base)) {
        sch_reject(p, SCH_REJECT_SEALED, NULL, shell);
        return false;
    }
    return true;
}

static void step_enqueue(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_action_impl *parent = sch_action_impl(event->u.enqueue.parent);
    struct sch_task task = {.spec = event->u.enqueue.spec,
                            .priority = event->u.enqueue.priority,
                            .queue = event->u.enqueue.queue,
                            .instant = event->u.enqueue.instant,
                            .cache_key = event->u.enqueue.cache_key,
                            .gang = &sch_no_gang,
                            .shell = event->u.enqueue.shell};
    const struct sch_run *run = parent->base.run;
    struct sch_share *tenant;
    SY_ASSERT(task.spec);
    if (sch_admit_child(p, parent, event->u.enqueue.name, task.shell) &&
        sch_admit(p, &task, run->project, run->domain, &tenant)) {
        struct sch_action_new new = {
            .run = sch_run_impl(parent->base.run), .parent = parent, .name = event->u.enqueue.name};
        begin_task(p, &new, &task, tenant);
        return;
    }
    if (task.spec->refs == 0)
        sch_spec_released(p, task.spec);
}

static void step_record(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_action_impl *parent = sch_action_impl(event->u.record.parent);
    void *shell = event->u.record.shell;
    if (!sch_admit_child(p, parent, event->u.record.name, shell))
        return;
    struct sch_action_new new = {.id = sch_partition_new_id(p),
                                 .run = sch_run_impl(parent->base.run),
                                 .parent = parent,
                                 .name = event->u.record.name,
                                 .created_ns = event->realtime_ns,
                                 .state = SCH_ACTION_GROUP};
    struct sch_action_impl *a = sch_begin_action(p, &new, true, shell);
    struct sch_end end = {
        .state = event->u.record.failed ? SCH_ACTION_FAILED : SCH_ACTION_SUCCEEDED, .shell = shell};
    sch_action_event(p, a, NULL, NULL, NULL);
    sch_action_end_as(p, a, &end);
}

static void step_condition(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_action_impl *parent = sch_action_impl(event->u.condition.parent);
    void *shell = event->u.condition.shell;
    if (!sch_admit_child(p, parent, event->u.condition.name, shell))
        return;
    if (p->actions_live >= p->options.actions_max) {
        sch_reject(p, SCH_REJECT_FULL, NULL, shell);
        return;
    }
    struct sch_action_new new = {.id = sch_partition_new_id(p),
                                 .run = sch_run_impl(parent->base.run),
                                 .parent = parent,
                                 .name = event->u.condition.name,
                                 .created_ns = event->realtime_ns,
                                 .timeout_ns = event->u.condition.timeout_ns,
                                 .state = SCH_ACTION_PAUSED};
    sch_action_event(p, sch_begin_action(p, &new, false, shell), NULL, NULL, NULL);
}

static void step_signal(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_action_impl *a = sch_action_impl(event->u.signal.action);
    struct sch_end end = {.state = SCH_ACTION_SUCCEEDED, .shell = event->u.signal.shell};
    if (sch_action_state(a) == SCH_ACTION_PAUSED)
        sch_action_end_as(p, a, &end);
}

static void step_abort(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_action_impl *a = sch_action_impl(event->u.abort.action);
    SY_ASSERT(a);
    if (sch_action_is_final(&a->base))
        return;
    const char *reason = event->u.abort.reason;
    sch_action_end(p, a, SCH_ACTION_ABORTED, "Aborted", reason ? reason : "aborted", NULL);
}

/* ---- the step ---- */

static void step_tick(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&p->timers)) && top->key <= p->now_ns)
        sch_action_timer(p, sy_container_of(top, struct sch_action_impl, timer));
    sch_ages_tick(p);
    sch_avoided_tick(p);
    sch_tickets_tick(p);
    sch_reclaim_tick(p);
    sch_reserve_tick(p);
    sch_patience_tick(p);
    sch_cluster_leases(p);
    sch_recovery_tick(p);
    sch_infeasible_tick(p);
    sch_demand_flush(p);
}

static void step_inventory(struct sch_partition *p, const struct sch_event *event)
{
    p->inventory = (struct sch_report){.cluster = event->u.inventory.cluster,
                                       .action_id = event->u.inventory.action_id,
                                       .number = event->u.inventory.number,
                                       .epoch = event->u.inventory.epoch,
                                       .started_ns = event->u.inventory.started_ns};
    sch_cluster_inventory(p, &p->inventory, event->u.inventory.started);
}

static void step_grant(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_cluster *cluster = sch_cluster_find(p, event->u.grant.cluster);
    struct sch_class *class = sch_class_find(p, event->u.grant.class_id);
    if (!cluster || !class || !sch_cluster_connected(cluster))
        return; /* it crossed with a disconnect, or the class is gone */
    sch_class_grant(p, class, cluster, event->u.grant.granted, event->u.grant.startable);
}

static void step_room(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_cluster *cluster = sch_cluster_find(p, event->u.room.cluster);
    struct sch_use room = {.cpu_milli = event->u.room.cpu_milli,
                           .memory_bytes = event->u.room.memory_bytes,
                           .gpu_milli = event->u.room.gpu_milli};
    if (cluster && sch_cluster_connected(cluster))
        sch_cluster_room(p, cluster, &room);
}

static void step_token(struct sch_partition *p, const struct sch_event *event)
{
    if (event->type == SCH_EVENT_TOKEN_REPORT)
        sch_token_report(p, event->u.token_report.key, event->u.token_report.report);
    else if (event->type == SCH_EVENT_TOKEN_ALLOW)
        sch_token_allow(p, event->u.token_allow.key, event->u.token_allow.allowance);
    else
        sch_token_ask(p, event->u.token_ask);
}

static void step_cluster_up(struct sch_partition *p, const struct sch_event *event)
{
    sch_cluster_up(p, &event->u.cluster);
}

static void dispatch(struct sch_partition *p, const struct sch_event *event)
{
    switch (event->type) {
    case SCH_EVENT_CREATE_RUN:
        step_create_run(p, event);
        break;
    case SCH_EVENT_ENQUEUE:
        step_enqueue(p, event);
        break;
    case SCH_EVENT_ENQUEUE_GANG:
        sch_gang_enqueue(p, event);
        break;
    case SCH_EVENT_SEAL:
        sch_action_seal(p, sch_action_impl(event->u.seal.action));
        break;
    case SCH_EVENT_RECORD:
        step_record(p, event);
        break;
    case SCH_EVENT_CONDITION:
        step_condition(p, event);
        break;
    case SCH_EVENT_SIGNAL:
        step_signal(p, event);
        break;
    case SCH_EVENT_ABORT:
        step_abort(p, event);
        break;
    case SCH_EVENT_CLUSTER_UP:
        step_cluster_up(p, event);
        break;
    case SCH_EVENT_CLUSTER_DOWN:
        sch_cluster_down(p, event->u.cluster.name);
        break;
    case SCH_EVENT_INVENTORY:
        step_inventory(p, event);
        break;
    case SCH_EVENT_INVENTORY_COMPLETE:
        sch_cluster_inventory_complete(p, event->u.cluster.name);
        break;
    case SCH_EVENT_GRANT:
        step_grant(p, event);
        break;
    case SCH_EVENT_ROOM:
        step_room(p, event);
        break;
    case SCH_EVENT_STARTED:
        sch_cluster_started(p, &event->u.report);
        break;
    case SCH_EVENT_OUTCOME:
        sch_cluster_outcome(p, &event->u.report);
        break;
    case SCH_EVENT_RETURNED:
        sch_cluster_returned(p, &event->u.report);
        break;
    case SCH_EVENT_QUEUE:
        sch_share_configure(p, event->u.queue.config);
        break;
    case SCH_EVENT_QUEUE_REMOVE:
        sch_share_forget(p, event->u.queue_remove.key);
        break;
    case SCH_EVENT_TOKEN_REPORT:
    case SCH_EVENT_TOKEN_ALLOW:
    case SCH_EVENT_TOKEN_ASK:
        step_token(p, event);
        break;
    case SCH_EVENT_TICK:
        step_tick(p);
        break;
    case SCH_EVENT_TYPES:
        SY_ASSERT(event->type < SCH_EVENT_TYPES);
        break;
    }
}

void sch_partition_step(struct sch_partition *p, const struct sch_event *event,
                        struct sch_effects *effects)
{
    SY_ASSERT(!p->out && !p->orphans);
    bury(p);
    effects_clear(effects);
    p->out = effects;
    sch_cluster_watch(p, event->now_ns);
    p->now_ns = event->now_ns > p->now_ns ? event->now_ns : p->now_ns;
    p->realtime_ns = event->realtime_ns;
    dispatch(p, event);
    sch_gangs_settle(p);
    sch_caches_settle(p);
    sch_gates_release(p);
    sch_lanes_assign(p);
    sch_shares_end_step(p);
    sch_tickets_end_step(p);
    sch_reclaim_end_step(p);
    sch_reserve_end_step(p);
    sch_demand_end_step(p);
    tell_specs_unused(p);
    p->out = NULL;
}

static int64_t earlier(int64_t at, const struct sch_heap *heap)
{
    const struct sch_heap_entry *top = sch_heap_top(heap);
    return top && top->key < at ? top->key : at;
}

int64_t sch_partition_next_ns(const struct sch_partition *p)
{
    SY_ASSERT(!p->out);
    if (sch_turn_pending(p) || !sch_list_empty(&p->gangs_broken))
        return p->now_ns; /* more than one step assigns */
    int64_t at = p->recovery_end_ns < p->verify_at_ns ? p->recovery_end_ns : p->verify_at_ns;
    at = p->reclaim_at_ns < at ? p->reclaim_at_ns : at;
    at = p->reserve_at_ns < at ? p->reserve_at_ns : at;
    at = earlier(at, &p->timers);
    at = earlier(at, &p->flushes);
    at = earlier(at, &p->leases);
    at = earlier(at, &p->ages);
    at = earlier(at, &p->avoided);
    at = earlier(at, &p->ticket_flushes);
    at = earlier(at, &p->patience);
    at = earlier(at, &p->doomed);
    if (sch_turns_closed(p) && p->turns_closed_ns < at)
        at = p->turns_closed_ns;
    int64_t watch = sch_cluster_watch_ns(p);
    return watch < at ? watch : at;
}

/* ---- reading ---- */

struct sch_action *sch_partition_find_action(struct sch_partition *p, const struct sch_run *run,
                                             const char *name)
{
    SY_ASSERT(run && name);
    struct sch_action_impl *a = sch_action_find_by_name(p, run, name);
    return a ? &a->base : NULL;
}

struct sch_action *sch_partition_find_action_by_id(struct sch_partition *p, uint64_t action_id)
{
    struct sch_action_impl *a = sch_action_find(p, action_id);
    return a ? &a->base : NULL;
}

struct sch_partition_counts sch_partition_counts(const struct sch_partition *p)
{
    const uint64_t *n = p->state_counts;
    return (struct sch_partition_counts){
        .runs_live = p->runs_by_id.count,
        .queued = n[SCH_ACTION_QUEUED],
        .assigned = n[SCH_ACTION_ASSIGNED],
        .running = n[SCH_ACTION_RUNNING],
        .backoff = n[SCH_ACTION_BACKOFF],
        .recovering = n[SCH_ACTION_RECOVERING],
        .groups = n[SCH_ACTION_GROUP],
        .paused = n[SCH_ACTION_PAUSED],
        .held = n[SCH_ACTION_HELD],
        .cache_waiting = n[SCH_ACTION_CACHE_WAIT],
        .gang_waiting = n[SCH_ACTION_GANG_WAIT],
        .finished = n[SCH_ACTION_SUCCEEDED] + n[SCH_ACTION_FAILED] + n[SCH_ACTION_ABORTED] +
                    n[SCH_ACTION_TIMED_OUT],
        .classes = p->class_count,
        .clusters = p->cluster_count,
        .recovering_clusters = p->recovery_end_ns != SY_TIME_NEVER,
    };
}

bool sch_cluster_may_run(const struct sch_cluster *cluster, const struct sch_resources *request,
                         const struct sch_gang_shape *gang, const struct sch_rule *rule,
                         struct sy_error_text *ret_misses)
{
    return (!rule || sch_rule_fits(rule, cluster, ret_misses)) &&
           sch_cluster_fits(cluster, request, ret_misses) &&
           sch_gang_fits(cluster, request, gang, ret_misses);
}

bool sch_partition_feasible(const struct sch_partition *p, const struct sch_resources *request,
                            struct sy_error_text *ret_misses)
{
    return sch_feasible(p, request, &sch_no_gang, NULL, ret_misses);
}

bool sch_partition_gang_feasible(const struct sch_partition *p, const struct sch_resources *request,
                                 const struct sch_gang_shape *gang,
                                 struct sy_error_text *ret_misses)
{
    return sch_feasible(p, request, gang, NULL, ret_misses);
}

bool sch_feasible(const struct sch_partition *p, const struct sch_resources *request,
                  const struct sch_gang_shape *gang, const struct sch_rule *rule,
                  struct sy_error_text *ret_misses)
{
    SY_ASSERT(request);
    bool known = false;
    for (size_t i = 0; i < p->cluster_count; i++) {
        bool gone = sch_cluster_state(p->clusters[i]) == SCH_CLUSTER_GONE;
        if (gone && p->clusters[i]->shape_count == 0)
            continue; /* it never said what it has */
        known = true;
        if (sch_cluster_may_run(p->clusters[i], request, gang, rule, NULL))
            return true;
    }
    if (!known)
        return true;
    sy_error_text_set(ret_misses, "no cluster can run this");
    for (size_t i = 0; ret_misses && i < p->cluster_count; i++)
        (void)sch_cluster_may_run(p->clusters[i], request, gang, rule, ret_misses);
    return false;
}

void sch_partition_each_run(struct sch_partition *p, bool (*fn)(void *ctx, struct sch_run *run),
                            void *ctx)
{
    SY_ASSERT(fn);
    for (struct sch_link *link = p->runs.next; link != &p->runs; link = link->next) {
        if (!fn(ctx, &sy_container_of(link, struct sch_run_impl, link)->base))
            return;
    }
}

void sch_action_each_child(struct sch_action *action,
                           bool (*fn)(void *ctx, struct sch_action *child), void *ctx)
{
    SY_ASSERT(action && fn);
    struct sch_action_impl *first = sch_action_impl(action)->child_first, *child = first;
    while (child) {
        struct sch_action_impl *next = child->sibling_next;
        if (!fn(ctx, &child->base) || next == first)
            return;
        child = next;
    }
}
