#include "scheduler/action_impl.h"
#include "scheduler/partition_cache.h"
#include "scheduler/partition_gang.h"
#include "scheduler/partition_queue.h"

#include <stdlib.h>
#include <string.h>

/* ---- the table: the diagram is in partition.h ---- */

static bool action_invariant(const void *owner, unsigned state)
{
    const struct sch_action_impl *a = owner;
    switch (state) {
    case SCH_ACTION_ASSIGNED:
    case SCH_ACTION_RUNNING:
        return a->lane && a->base.cluster && a->base.number > a->base.ended;
    case SCH_ACTION_GROUP:
    case SCH_ACTION_PAUSED:
        return !a->lane && !a->base.cluster;
    case SCH_ACTION_CACHE_WAIT:
        return a->lane && a->rare;
    case SCH_ACTION_GANG_WAIT:
        return a->lane && sch_action_gang_of(a);
    case SCH_ACTION_SUCCEEDED:
    case SCH_ACTION_FAILED:
    case SCH_ACTION_ABORTED:
    case SCH_ACTION_TIMED_OUT:
        return a->base.children_live == 0 && !sch_heap_has(&a->timer);
    default:
        return a->lane != NULL;
    }
}

#define ACTION_BIT(state) SM_BIT(SCH_ACTION_##state)
#define ACTION_FINALS                                                                              \
    (ACTION_BIT(SUCCEEDED) | ACTION_BIT(FAILED) | ACTION_BIT(ABORTED) | ACTION_BIT(TIMED_OUT))

static const struct sm_state action_states[SCH_ACTION_STATES] = {
    [SCH_ACTION_QUEUED] = {.name = "queued",
                           .initial = true,
                           .next = ACTION_BIT(ASSIGNED) | ACTION_BIT(ABORTED) |
                                   ACTION_BIT(TIMED_OUT) | ACTION_BIT(FAILED)},
    [SCH_ACTION_ASSIGNED] = {.name = "assigned",
                             .next = ACTION_BIT(RUNNING) | ACTION_BIT(QUEUED) |
                                     ACTION_BIT(GANG_WAIT) | ACTION_BIT(HELD) |
                                     ACTION_BIT(BACKOFF) | ACTION_FINALS},
    [SCH_ACTION_RUNNING] = {.name = "running",
                            .next = ACTION_BIT(QUEUED) | ACTION_BIT(GANG_WAIT) | ACTION_BIT(HELD) |
                                    ACTION_BIT(BACKOFF) | ACTION_FINALS},
    [SCH_ACTION_BACKOFF] = {.name = "backoff",
                            .next = ACTION_BIT(QUEUED) | ACTION_BIT(GANG_WAIT) | ACTION_BIT(HELD) |
                                    ACTION_BIT(ABORTED) | ACTION_BIT(TIMED_OUT)},
    [SCH_ACTION_RECOVERING] = {.name = "recovering",
                               .initial = true,
                               .next = ACTION_BIT(QUEUED) | ACTION_BIT(HELD) |
                                       ACTION_BIT(GANG_WAIT) | ACTION_BIT(CACHE_WAIT) |
                                       ACTION_BIT(ASSIGNED) | ACTION_BIT(RUNNING) |
                                       ACTION_BIT(BACKOFF) | ACTION_FINALS},
    [SCH_ACTION_GROUP] = {.name = "group", .initial = true, .next = ACTION_FINALS},
    [SCH_ACTION_PAUSED] = {.name = "paused", .initial = true, .next = ACTION_FINALS},
    [SCH_ACTION_HELD] = {.name = "held",
                         .initial = true,
                         .next = ACTION_BIT(QUEUED) | ACTION_BIT(GANG_WAIT) | ACTION_BIT(ABORTED) |
                                 ACTION_BIT(TIMED_OUT)},
    [SCH_ACTION_CACHE_WAIT] = {.name = "cache_wait",
                               .initial = true,
                               .next = ACTION_BIT(HELD) | ACTION_BIT(QUEUED) |
                                       ACTION_BIT(SUCCEEDED) | ACTION_BIT(ABORTED) |
                                       ACTION_BIT(TIMED_OUT)},
    [SCH_ACTION_GANG_WAIT] = {.name = "gang_wait",
                              .initial = true,
                              .next = ACTION_BIT(ASSIGNED) | ACTION_BIT(ABORTED) |
                                      ACTION_BIT(TIMED_OUT) | ACTION_BIT(FAILED)},
    [SCH_ACTION_SUCCEEDED] = {.name = "succeeded", .final = true},
    [SCH_ACTION_FAILED] = {.name = "failed", .final = true},
    [SCH_ACTION_ABORTED] = {.name = "aborted", .final = true},
    [SCH_ACTION_TIMED_OUT] = {.name = "timed_out", .final = true},
};

const struct sm_table sch_action_table = {
    .name = "action",
    .states = action_states,
    .count = SCH_ACTION_STATES,
    .invariant = action_invariant,
};

uint64_t sch_action_memory_bytes(const struct sch_action *action)
{
    const struct sch_action_impl *a = sch_action_impl_const(action);
    return a->rare ? a->rare->memory_bytes : 0;
}

bool sch_action_is_final(const struct sch_action *action)
{
    return sm_is_final(&action->sm, &sch_action_table);
}

uint32_t sch_action_class_id(const struct sch_action *action)
{
    const struct sch_action_impl *a = sch_action_impl_const(action);
    return a->lane ? sch_action_class(a)->id : 0;
}

static void enter(struct sch_partition *p, struct sch_action_impl *a, enum sch_action_state state)
{
    p->state_counts[state]++;
    sch_gate_enter(a, state);
    int64_t at = sch_action_timer_ns(a);
    if (at == SY_TIME_NEVER)
        sch_heap_remove(&p->timers, &a->timer);
    else if (!sch_heap_has(&a->timer) || a->timer.key != at)
        sch_heap_set(&p->timers, &a->timer, at);
}

/* queued_at_ns is set before. */
void sch_action_move(struct sch_partition *p, struct sch_action_impl *a, enum sch_action_state to)
{
    enum sch_action_state from = sch_action_state(a);
    SY_ASSERT(p->state_counts[from] > 0);
    p->state_counts[from]--;
    sch_gate_leave(p, a, from, to);
    sch_cluster_count(a, -1);
    sm_move(&a->base.sm, &sch_action_table, to, a);
    sch_cluster_count(a, 1);
    enter(p, a, to);
    if (from == SCH_ACTION_ASSIGNED && sch_action_gang_of(a))
        sch_gang_unsent(a);
    if (sch_state_is_used(from) != sch_state_is_used(to))
        sch_share_use(p, a->lane->seat.share, &sch_action_class(a)->request, sch_state_is_used(to));
}

/* ---- time ---- */

struct sch_rare *sch_action_rare(struct sch_action_impl *a)
{
    if (!a->rare) {
        a->rare = sy_new(struct sch_rare);
        a->rare->end_ns = a->rare->queued_ns = SY_TIME_NEVER;
    }
    return a->rare;
}

/* The sum, or never. */
static int64_t later(int64_t at, int64_t ns)
{
    return ns < SY_TIME_NEVER - at ? at + ns : SY_TIME_NEVER;
}

void sch_action_limit(struct sch_partition *p, struct sch_action_impl *a, int64_t limit_ns,
                      int64_t spent_ns)
{
    if (limit_ns <= 0)
        return;
    int64_t left = spent_ns <= 0 ? limit_ns : spent_ns < limit_ns ? limit_ns - spent_ns : 0;
    sch_action_rare(a)->end_ns = later(p->now_ns, left);
}

/* Its own, or its queue's if that is less. */
static int64_t queued_timeout_ns(const struct sch_action_impl *a)
{
    int64_t own_ns = a->base.spec->queued_timeout_ns;
    int64_t queue_ns = a->rare ? a->rare->queued_ns : SY_TIME_NEVER;
    return own_ns > 0 && own_ns < queue_ns ? own_ns : queue_ns;
}

int64_t sch_action_timer_ns(const struct sch_action_impl *a)
{
    int64_t end_ns = a->rare ? a->rare->end_ns : SY_TIME_NEVER, at = SY_TIME_NEVER;
    if (sch_gang_follows(a))
        return end_ns;
    switch (sch_action_state(a)) {
    case SCH_ACTION_HELD:
    case SCH_ACTION_CACHE_WAIT:
    case SCH_ACTION_QUEUED:
    case SCH_ACTION_ASSIGNED: /* it may wait at its cluster or node */
        at = later(a->base.queued_at_ns, queued_timeout_ns(a));
        break;
    case SCH_ACTION_BACKOFF:
        at = a->base.queued_at_ns;
        break;
    default:
        if (sch_action_is_final(&a->base))
            return SY_TIME_NEVER;
        break;
    }
    return at < end_ns ? at : end_ns;
}

/* ---- memory ---- */

struct sch_action *sch_action_ref(struct sch_action *action)
{
    struct sch_action_impl *a = sch_action_impl(action);
    SY_ASSERT(a->refs > 0 && a->refs < UINT32_MAX);
    a->refs++;
    return action;
}

/* A child keeps its parent, so one call may free a whole chain: a loop, not a recursion. */
void sch_action_unref(struct sch_action *action)
{
    struct sch_action_impl *a = sch_action_impl(action);
    while (a) {
        SY_ASSERT(a->refs > 0);
        if (--a->refs > 0)
            return;
        struct sch_action_impl *parent = a->base.parent ? sch_action_impl(a->base.parent) : NULL;
        sch_run_unref(sch_run_impl(a->base.run));
        if (sch_action_gang_of(a))
            sch_gang_unref(a->rare->gang);
        free(a->rare);
        free(a);
        a = parent;
    }
}

static uint32_t name_hash(const struct sch_run *run, const char *name)
{
    return (uint32_t)sch_hash_bytes(name, strlen(name), run->id);
}

struct sch_action_impl *sch_action_find(struct sch_partition *p, uint64_t id)
{
    struct sch_table_link *link = sch_table_first(&p->actions_by_id, sch_hash_u64(id, 0));
    for (; link; link = sch_table_next(link)) {
        struct sch_action_impl *a = sy_container_of(link, struct sch_action_impl, by_id);
        if (a->base.id == id)
            return a;
    }
    return NULL;
}

struct sch_action_impl *sch_action_find_by_name(struct sch_partition *p, const struct sch_run *run,
                                                const char *name)
{
    struct sch_table_link *link = sch_table_first(&p->actions_by_name, name_hash(run, name));
    for (; link; link = sch_table_next(link)) {
        struct sch_action_impl *a = sy_container_of(link, struct sch_action_impl, by_name);
        if (a->base.run == run && strcmp(a->base.name, name) == 0)
            return a;
    }
    return NULL;
}

static struct sch_resources request_of(const struct sch_action_impl *a)
{
    struct sch_resources request = a->base.spec->request;
    if (a->rare && a->rare->memory_bytes > 0)
        request.memory_bytes = a->rare->memory_bytes;
    return request;
}

static void join_lane(struct sch_partition *p, struct sch_action_impl *a, struct sch_share *tenant)
{
    const struct sch_gang *gang = sch_action_gang_of(a);
    struct sch_resources request = request_of(a);
    struct sch_class *class = sch_class_ref(p, &request, gang ? &gang->shape : &sch_no_gang,
                                            tenant->rule);
    a->lane = sch_lane_get(p, class, tenant);
    a->lane->seat.refs++;
    sch_share_count(p, tenant, 1);
    sch_share_urge(tenant, a->base.priority);
    if (tenant->queued_timeout_ns != SY_TIME_NEVER)
        sch_action_rare(a)->queued_ns = tenant->queued_timeout_ns;
    if (sch_state_is_used(sch_action_state(a)))
        sch_share_use(p, tenant, &class->request, true);
}

static void leave_lane(struct sch_partition *p, struct sch_action_impl *a)
{
    struct sch_lane *lane = sy_take(a->lane);
    struct sch_class *class = lane->seat.class;
    sch_share_count(p, lane->seat.share, -1);
    sch_lane_unref(p, lane);
    sch_class_unref(p, class);
}

void sch_action_leave(struct sch_partition *p, struct sch_action_impl *a)
{
    if (!a->lane)
        return;
    if (sch_action_gang_of(a))
        sch_gang_leave(p, a);
    if (sch_action_state(a) == SCH_ACTION_QUEUED)
        sch_lane_remove(p, a);
    else if (sch_state_is_used(sch_action_state(a)))
        sch_share_use(p, a->lane->seat.share, &sch_action_class(a)->request, false);
    leave_lane(p, a);
}

struct sch_action_impl *sch_action_create(struct sch_partition *p, const struct sch_action_new *new)
{
    size_t name_size = strlen(new->name) + 1;
    SY_ASSERT(name_size <= SCH_NAME_MAX);
    struct sch_action_impl *a = sy_calloc(1, sizeof(*a) + name_size);
    memcpy(a->name, new->name, name_size);
    a->refs = 1;
    a->base.id = new->id;
    a->base.run = &new->run->base;
    a->base.name = a->name;
    a->base.spec = new->spec;
    a->base.created_ns = new->created_ns;
    a->base.queued_at_ns = p->now_ns;
    a->base.priority = new->priority;
    sm_init(&a->base.sm, &sch_action_table, new->state);
    p->actions_live++;
    new->run->refs++;
    new->run->base.actions_live++;
    sch_table_add(&p->actions_by_id, &a->by_id, sch_hash_u64(new->id, 0));
    sch_table_add(&p->actions_by_name, &a->by_name, name_hash(&new->run->base, new->name));
    bool runs = new->state != SCH_ACTION_GROUP &&new->state != SCH_ACTION_PAUSED;
    if (new->spec)
        new->spec->refs++;
    if (new->memory_bytes > 0)
        sch_action_rare(a)->memory_bytes = new->memory_bytes;
    if (new->gang)
        sch_gang_join(new->gang, a, new->rank);
    if (runs)
        join_lane(p, a, new->tenant);
    sch_action_limit(p, a, new->spec ? new->spec->deadline_ns : new->timeout_ns, new->spent_ns);
    if (new->parent) {
        sch_action_link_parent(a, new->parent);
    } else if (strcmp(new->name, SCH_ROOT_NAME) == 0) {
        SY_ASSERT(!new->run->base.root);
        new->run->base.root = &a->base;
    }
    enter(p, a, new->state);
    return a;
}

void sch_action_link_parent(struct sch_action_impl *a, struct sch_action_impl *parent)
{
    SY_ASSERT(!a->base.parent && !a->sibling_next && a != parent);
    SY_ASSERT(a->base.run == parent->base.run);
    a->base.parent = &parent->base;
    parent->refs++;
    parent->base.children_live++;
    if (!parent->child_first) {
        sch_gate_parent(parent, true);
        parent->child_first = a->sibling_prev = a->sibling_next = a;
        return;
    }
    struct sch_action_impl *first = parent->child_first;
    a->sibling_next = first;
    a->sibling_prev = first->sibling_prev;
    first->sibling_prev->sibling_next = a;
    first->sibling_prev = a;
}

/* The reference to the parent stays as long as the action can be read. */
static void unlink_parent(struct sch_action_impl *a)
{
    struct sch_action_impl *parent = sch_action_impl(a->base.parent);
    SY_ASSERT(parent->base.children_live > 0 && parent->child_first);
    parent->base.children_live--;
    if (a->sibling_next == a) {
        parent->child_first = NULL;
        sch_gate_parent(parent, false);
    } else {
        a->sibling_prev->sibling_next = a->sibling_next;
        a->sibling_next->sibling_prev = a->sibling_prev;
        if (parent->child_first == a)
            parent->child_first = a->sibling_next;
    }
    a->sibling_prev = a->sibling_next = NULL;
    SY_ASSERT((parent->base.children_live == 0) == (parent->child_first == NULL));
}

/* ---- attempts ---- */

struct sch_effect *sch_action_event(struct sch_partition *p, struct sch_action_impl *a,
                                    const char *code, const char *message,
                                    const struct sch_report *report)
{
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_EVENT);
    effect->u.event.run = a->base.run;
    effect->u.event.action = &a->base;
    effect->u.event.sequence = ++a->base.run->event_sequence;
    effect->u.event.state = sch_action_state(a);
    effect->u.event.report = report;
    effect->u.event.code = code;
    effect->u.event.message = message;
    effect->u.event.time_ns = p->realtime_ns;
    return effect;
}

void sch_action_detach(struct sch_partition *p, struct sch_action_impl *a)
{
    sch_heap_remove(&p->timers, &a->timer);
    if (sch_action_state(a) == SCH_ACTION_QUEUED)
        sch_lane_remove(p, a);
    else if (sch_action_state(a) == SCH_ACTION_HELD && !sch_gang_follows(a))
        sch_gate_unhold(p, a);
    else if (sch_link_in_list(&a->link))
        sch_list_remove(&a->link);
    SY_ASSERT(!a->level && !sch_link_in_list(&a->link));
}

void sch_action_occupy(struct sch_partition *p, struct sch_action_impl *a,
                       struct sch_cluster *cluster, enum sch_action_state to)
{
    SY_ASSERT(to == SCH_ACTION_ASSIGNED || to == SCH_ACTION_RUNNING);
    SY_ASSERT(sch_cluster_connected(cluster) || sch_action_waits(a) || sch_action_stops(a));
    sch_action_detach(p, a);
    a->base.cluster = cluster;
    sch_action_move(p, a, to);
    sch_cluster_take(p, cluster, a);
}

void sch_action_assign(struct sch_partition *p, struct sch_action_impl *a,
                       const struct sch_pair *pair)
{
    SY_ASSERT(a->base.number < UINT32_MAX);
    a->base.number++;
    a->base.attempt_epoch = p->options.epoch;
    sch_action_occupy(p, a, pair->cluster, SCH_ACTION_ASSIGNED);
    sch_action_out_changed(p, a);
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_ASSIGN);
    effect->u.assign.action = &a->base;
    effect->u.assign.cluster = pair->cluster->name;
    effect->u.assign.class_id = pair->class->id;
    const struct sch_share *queue = a->lane->seat.share->parent;
    const struct sch_gang *gang = sch_action_gang_of(a);
    bool stoppable = queue->config && queue->config->preemptible &&
                     (!gang || gang->on_loss == SCH_ON_LOSS_RESTART_ALL);
    effect->u.assign.queue = stoppable ? sch_share_tag(queue) : 0;
    effect->u.assign.priority = sch_priority_clamp((int64_t)a->base.priority +
                                                   a->lane->seat.share->priority);
    if (!sch_partition_is_one_of_many(p))
        return;
    struct sch_share_standing standing;
    sch_share_stand(a->lane->seat.share, &standing);
    effect->u.assign.place = sch_effect_keep(p, &standing.path, sizeof(standing.path));
}

void sch_action_place(struct sch_partition *p, struct sch_action_impl *a, bool front)
{
    if (sch_action_state(a) == SCH_ACTION_HELD)
        sch_gate_hold(p, a, front);
    else
        sch_lane_push(p, a, front);
}

void sch_action_wait(struct sch_partition *p, struct sch_action_impl *a, bool front)
{
    sch_action_move(p, a, sch_gate_next(a));
    sch_action_place(p, a, front);
}

void sch_action_change_memory(struct sch_partition *p, struct sch_action_impl *a,
                              uint64_t memory_bytes)
{
    struct sch_share *tenant = a->lane->seat.share;
    SY_ASSERT(!a->level && !sch_state_is_used(sch_action_state(a)));
    sch_share_ref(tenant);
    leave_lane(p, a);
    sch_action_rare(a)->memory_bytes = memory_bytes;
    join_lane(p, a, tenant);
    sch_share_unref(p, tenant);
}

/* ---- the end ---- */

void sch_action_cancel(struct sch_partition *p, const struct sch_action_impl *a, const char *reason)
{
    SY_ASSERT(a->base.cluster);
    if (!sch_cluster_connected(a->base.cluster))
        return; /* it is told when its inventory names the attempt */
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_CANCEL);
    effect->u.cancel.cluster = a->base.cluster->name;
    effect->u.cancel.action_id = a->base.id;
    effect->u.cancel.number = a->base.number;
    effect->u.cancel.epoch = a->base.attempt_epoch;
    effect->u.cancel.reason = reason;
}

static void finish_run(struct sch_partition *p, struct sch_action_impl *root,
                       const struct sch_effect *final)
{
    struct sch_run_impl *run = sch_run_impl(root->base.run);
    SY_ASSERT(run->base.actions_live == 0 && run->base.root == &root->base);
    SY_ASSERT(final->type == SCH_EFFECT_FINISHED);
    struct sch_effect copy = *final; /* adding may move the list */
    sch_effect_add(p, SCH_EFFECT_RUN_FINISHED)->u.final = copy.u.final;
    sch_table_remove(&p->runs_by_id, &run->by_id);
    sch_table_remove(&p->runs_by_name, &run->by_name);
    sch_list_remove(&run->link);
    sch_gate_free(p, run);
    sch_run_unref(run); /* the root still holds it */
}

static void release(struct sch_partition *p, struct sch_action_impl *a)
{
    sch_table_remove(&p->actions_by_id, &a->by_id);
    sch_table_remove(&p->actions_by_name, &a->by_name);
    SY_ASSERT(p->actions_live > 0 && a->base.run->actions_live > 0);
    p->actions_live--;
    a->base.run->actions_live--;
    if (sch_action_gang_of(a))
        sch_gang_leave(p, a);
    if (a->lane)
        leave_lane(p, a);
    if (a->base.spec) {
        SY_ASSERT(a->base.spec->refs > 0);
        if (--a->base.spec->refs == 0)
            sch_spec_released(p, a->base.spec);
    }
    a->grave_next = p->graves;
    p->graves = a;
}

/* One action, which has no live children. */
static void finish(struct sch_partition *p, struct sch_action_impl *a, const struct sch_end *end)
{
    SY_ASSERT(a->base.children_live == 0 && !a->child_first);
    enum sch_action_state from = sch_action_state(a);
    bool out = from == SCH_ACTION_ASSIGNED || from == SCH_ACTION_RUNNING;
    bool stopped = end->state == SCH_ACTION_ABORTED || end->state == SCH_ACTION_TIMED_OUT ||
                   sch_action_gang_of(a);
    sch_action_detach(p, a);
    if (out && stopped && !end->report)
        sch_action_cancel(p, a, end->message);
    sch_action_move(p, a, end->state);
    sch_action_end_attempt(a);
    sch_cache_leave(p, a);
    sch_action_event(p, a, end->code, end->message, end->report);
    if (a->base.parent) {
        unlink_parent(a);
        a->base.parent->children_failed += end->state != SCH_ACTION_SUCCEEDED;
        struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_CHILD_FINISHED);
        effect->u.child.parent = a->base.parent;
        effect->u.child.child = &a->base;
        effect->u.child.sequence = ++a->base.parent->child_sequence;
    }
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_FINISHED);
    effect->u.final.action = &a->base;
    effect->u.final.state = end->state;
    effect->u.final.code = end->code;
    effect->u.final.message = end->message;
    effect->u.final.report = end->report;
    effect->u.final.reused = end->reused;
    effect->u.final.shell = end->shell;
    release(p, a);
    if (!a->base.parent)
        finish_run(p, a, effect);
}

/* Children before parents, without recursion: trees may be a million deep, or wide. */
static void abort_below(struct sch_partition *p, struct sch_action_impl *top)
{
    static const struct sch_end end = {
        .state = SCH_ACTION_ABORTED, .code = "Aborted", .message = "its parent has ended"};
    struct sch_action_impl *a = top;
    for (;;) {
        if (a->child_first) {
            a = a->child_first;
        } else if (a == top) {
            break;
        } else {
            struct sch_action_impl *parent = sch_action_impl(a->base.parent);
            finish(p, a, &end);
            a = parent;
        }
    }
    SY_ASSERT(top->base.children_live == 0);
}

static bool group_is_done(const struct sch_action_impl *a)
{
    return sch_action_state(a) == SCH_ACTION_GROUP && a->base.sealed && a->base.children_live == 0;
}

static struct sch_end end_of_group(const struct sch_action_impl *group)
{
    if (group->base.children_failed == 0)
        return (struct sch_end){.state = SCH_ACTION_SUCCEEDED};
    return (struct sch_end){.state = SCH_ACTION_FAILED,
                            .code = "ChildFailed",
                            .message = "a member of the group did not succeed"};
}

void sch_action_end_as(struct sch_partition *p, struct sch_action_impl *a,
                       const struct sch_end *first)
{
    SY_ASSERT(!sch_action_is_final(&a->base));
    struct sch_end end = *first;
    struct sch_gang *gang = end.state == SCH_ACTION_SUCCEEDED ? NULL : sch_action_gang_of(a);
    const struct sch_action_impl *member = a;
    abort_below(p, a);
    for (;;) {
        struct sch_action_impl *parent = a->base.parent ? sch_action_impl(a->base.parent) : NULL;
        finish(p, a, &end);
        if (!parent)
            break;
        if (!group_is_done(parent)) {
            if (end.state != SCH_ACTION_SUCCEEDED)
                sch_effect_add(p, SCH_EFFECT_UPDATED)->u.action = &parent->base;
            break;
        }
        a = parent;
        end = end_of_group(parent);
    }
    SY_ASSERT(sch_action_is_final(&a->base));
    if (gang)
        sch_gang_end(p, gang, member, first);
}

void sch_action_end(struct sch_partition *p, struct sch_action_impl *a, enum sch_action_state state,
                    const char *code, const char *message, const struct sch_report *report)
{
    struct sch_end end = {.state = state, .code = code, .message = message, .report = report};
    sch_action_end_as(p, a, &end);
}

void sch_action_seal(struct sch_partition *p, struct sch_action_impl *a)
{
    SY_ASSERT(a);
    if (sch_action_is_final(&a->base) || a->base.sealed)
        return;
    a->base.sealed = true;
    if (!group_is_done(a)) {
        sch_effect_add(p, SCH_EFFECT_UPDATED)->u.action = &a->base;
        return;
    }
    struct sch_end end = end_of_group(a);
    sch_action_end_as(p, a, &end);
}
