#include "scheduler/action_impl.h"
#include "scheduler/partition_cache.h"
#include "scheduler/partition_drain.h"
#include "scheduler/partition_elsewhere.h"
#include "scheduler/partition_gang.h"
#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_reclaim.h"
#include "scheduler/partition_reserve.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_slice.h"
#include "scheduler/partition_ticket.h"
#include "scheduler/partition_turn.h"

#include <stdlib.h>
#include <string.h>

/* An abort of a million actions leaves a long list behind; it is given back at the next step. */
#define EFFECTS_KEPT 16384u
#define KEPT_BYTES_MAX ((size_t)1 << 20) /* more than a round of reclaim has to say */

/* ---- set-up ---- */

struct sch_partition *sch_partition_new(const struct sch_partition_options *options, int64_t now_ns)
{
    SY_ASSERT(options->epoch > 0 && options->epoch <= SCH_EPOCH_MAX);
    SY_ASSERT(options->actions_max > 0 && options->actions_max < UINT32_MAX);
    SY_ASSERT(options->cluster_lease_ns > 0 && options->recovery_wait_ns >= 0);
    SY_ASSERT(options->worker_deaths_max <= UINT8_MAX);
    SY_ASSERT(options->infeasible < SCH_INFEASIBLES);
    struct sch_partition *p = sy_new(struct sch_partition);
    p->options = *options;
    if (options->infeasible == SCH_INFEASIBLE_INHERIT)
        p->options.infeasible = SCH_INFEASIBLE_HOLD;
    p->options.assign_max = options->assign_max > 0 ? options->assign_max : SCH_ASSIGN_MAX;
    p->options.looks_max = options->looks_max > 0 ? options->looks_max : SCH_LOOKS_MAX;
    p->last_id = (uint64_t)options->epoch << SCH_ID_COUNTER_BITS;
    p->now_ns = now_ns;
    p->recovery_end_ns = SY_TIME_NEVER;
    p->verify_at_ns = SY_TIME_NEVER;
    sy_arena_init(&p->kept, KEPT_BYTES_MAX);
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
    sch_list_init(&p->untold);
    sch_slices_init(p);
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
    sch_elsewhere_free(p);
    sch_shares_deinit(p);
    for (size_t i = 0; i < p->cluster_count; i++)
        sch_cluster_free(p->clusters[i]);
    free(p->clusters);
    free(p->specs_unused);
    sy_arena_deinit(&p->kept);
    sch_heap_deinit(&p->timers);
    sch_heap_deinit(&p->flushes);
    sch_heap_deinit(&p->leases);
    sch_heap_deinit(&p->stopping);
    sch_heap_deinit(&p->drains);
    sch_heap_deinit(&p->ages);
    sch_heap_deinit(&p->avoided);
    sch_heap_deinit(&p->ticket_flushes);
    sch_heap_deinit(&p->patience);
    sch_heap_deinit(&p->doomed);
    struct sch_table *tables[] = {
        &p->runs_by_id,    &p->runs_by_name,       &p->actions_by_id, &p->actions_by_name,
        &p->classes_by_id, &p->classes_by_request, &p->levels,        &p->clusters_by_name,
        &p->caches,        &p->shares_by_key,      &p->seats,         &p->rules,
        &p->gangs_by_id,   &p->shares_by_tag,      &p->elsewheres};
    for (size_t i = 0; i < SY_COUNT_OF(tables); i++)
        sch_table_deinit(tables[i]);
    free(p);
}

uint64_t sch_partition_new_id(struct sch_partition *p, uint8_t place)
{
    uint64_t id = (p->last_id | UINT8_MAX) + 1 + place;
    SY_ASSERT(id > p->last_id);
    SY_ASSERT(id >> SCH_ID_COUNTER_BITS == p->options.epoch); /* 4 x 10^9 ids in an epoch */
    p->last_id = id;
    return id;
}

uint32_t sch_partition_ids_left(const struct sch_partition *p)
{
    return UINT32_MAX - (uint32_t)(p->last_id >> SCH_ID_PLACE_BITS);
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

void *sch_effect_keep(struct sch_partition *p, const void *data, size_t size)
{
    void *copy = sy_arena_alloc(&p->kept, size);
    SY_ASSERT(copy && size > 0);
    return memcpy(copy, data, size);
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
    run->place = (uint8_t)id;
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

/* So many of those that are due at once; a tick at once goes on. */
static void timers_tick(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    for (uint32_t left = p->options.looks_max; left > 0; left--) {
        top = sch_heap_top(&p->timers);
        if (!top || top->key > p->now_ns)
            return;
        sch_action_timer(p, sy_container_of(top, struct sch_action_impl, timer));
    }
}

static void step_tick(struct sch_partition *p)
{
    timers_tick(p);
    sch_ages_tick(p);
    sch_avoided_tick(p);
    sch_tickets_tick(p);
    sch_reclaim_tick(p);
    sch_reserve_tick(p);
    sch_patience_tick(p);
    sch_cluster_leases(p);
    sch_cluster_stopped(p);
    sch_drain_tick(p);
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
        sch_token_ask(p, event->u.token_ask.key, event->u.token_ask.term);
}

static void step_cluster_up(struct sch_partition *p, const struct sch_event *event)
{
    sch_cluster_up(p, &event->u.cluster);
}

static void step_cluster(struct sch_partition *p, const struct sch_event *event)
{
    bool deleted = event->type == SCH_EVENT_CLUSTER_DELETED;
    if (deleted || event->type == SCH_EVENT_CLUSTER_FENCED)
        sch_cluster_give_up(p, event->u.cluster.name, deleted);
    else if (event->type == SCH_EVENT_CLUSTER_DOWN)
        sch_cluster_down(p, event->u.cluster.name);
    else
        sch_cluster_inventory_complete(p, &event->u.cluster);
}

/* What a cluster says of room, and who else has some. */
static void step_told(struct sch_partition *p, const struct sch_event *event)
{
    if (event->type == SCH_EVENT_GRANT)
        step_grant(p, event);
    else if (event->type == SCH_EVENT_ROOM)
        step_room(p, event);
    else
        sch_elsewhere_told(p, event->u.elsewhere.cluster, event->u.elsewhere.place,
                           &event->u.elsewhere.use);
}

static void dispatch(struct sch_partition *p, const struct sch_event *event)
{
    switch (event->type) {
    case SCH_EVENT_CREATE_RUN:
        sch_submit_run(p, event);
        break;
    case SCH_EVENT_ENQUEUE:
        sch_submit_child(p, event);
        break;
    case SCH_EVENT_ENQUEUE_GANG:
        sch_gang_enqueue(p, event);
        break;
    case SCH_EVENT_SEAL:
        sch_action_seal(p, sch_action_impl(event->u.seal.action));
        break;
    case SCH_EVENT_RECORD:
        sch_submit_record(p, event);
        break;
    case SCH_EVENT_CONDITION:
        sch_submit_condition(p, event);
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
    case SCH_EVENT_CLUSTER_DELETED:
    case SCH_EVENT_CLUSTER_FENCED:
    case SCH_EVENT_INVENTORY_COMPLETE:
        step_cluster(p, event);
        break;
    case SCH_EVENT_INVENTORY:
        step_inventory(p, event);
        break;
    case SCH_EVENT_GRANT:
    case SCH_EVENT_ROOM:
    case SCH_EVENT_ELSEWHERE:
        step_told(p, event);
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
    sy_arena_reset(&p->kept);
    p->out = effects;
    sch_cluster_watch(p, event->now_ns);
    p->now_ns = event->now_ns > p->now_ns ? event->now_ns : p->now_ns;
    p->realtime_ns = event->realtime_ns;
    p->looks = 0;
    p->decisions_left = SCH_DECIDE_MAX;
    p->moves_left = SCH_MOVE_MAX;
    p->tells_left = SCH_TELL_MAX;
    sch_shares_move_again(p);
    dispatch(p, event);
    sch_cluster_lose(p);
    sch_drain_go_on(p);
    sch_recovery_go_on(p);
    sch_gangs_settle(p);
    sch_caches_settle(p);
    sch_gates_release(p);
    sch_slices(p);
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
    if (sch_turn_pending(p) || !sch_list_empty(&p->gangs_broken) || !sch_list_empty(&p->untold) ||
        sch_slices_left(p))
        return p->now_ns; /* more than one step does */
    int64_t at = p->recovery_end_ns < p->verify_at_ns ? p->recovery_end_ns : p->verify_at_ns;
    at = p->reclaim_at_ns < at ? p->reclaim_at_ns : at;
    at = p->reserve_at_ns < at ? p->reserve_at_ns : at;
    at = earlier(at, &p->timers);
    at = earlier(at, &p->flushes);
    at = earlier(at, &p->leases);
    at = earlier(at, &p->stopping);
    at = earlier(at, &p->drains);
    at = earlier(at, &p->ages);
    at = earlier(at, &p->avoided);
    at = earlier(at, &p->ticket_flushes);
    at = earlier(at, &p->patience);
    int64_t doomed = sch_infeasible_next_ns(p);
    at = doomed < at ? doomed : at;
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

bool sch_feasible(const struct sch_partition *p, const struct sch_resources *asked,
                  const struct sch_gang_shape *gang, const struct sch_rule *rule,
                  struct sy_error_text *ret_misses)
{
    SY_ASSERT(asked);
    struct sch_resources request = rule ? sch_rule_request(rule, asked) : *asked;
    bool known = false;
    for (size_t i = 0; i < p->cluster_count; i++) {
        bool gone = sch_cluster_state(p->clusters[i]) == SCH_CLUSTER_GONE;
        if (gone && p->clusters[i]->shape_count == 0)
            continue; /* it never said what it has */
        known = true;
        if (sch_cluster_may_run(p->clusters[i], &request, gang, rule, NULL))
            return true;
    }
    if (!known)
        return true;
    sy_error_text_set(ret_misses, "no cluster can run this");
    for (size_t i = 0; ret_misses && i < p->cluster_count; i++)
        (void)sch_cluster_may_run(p->clusters[i], &request, gang, rule, ret_misses);
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
