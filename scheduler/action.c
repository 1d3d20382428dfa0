#include "scheduler/partition_impl.h"

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
                            .next = ACTION_BIT(QUEUED) | ACTION_BIT(GANG_WAIT) |
                                    ACTION_BIT(HELD) | ACTION_BIT(BACKOFF) | ACTION_FINALS},
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
    sm_move(&a->base.sm, &sch_action_table, to, a);
    enter(p, a, to);
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
    sch_share_count(tenant, 1);
    if (tenant->queued_timeout_ns != SY_TIME_NEVER)
        sch_action_rare(a)->queued_ns = tenant->queued_timeout_ns;
    if (sch_state_is_used(sch_action_state(a)))
        sch_share_use(p, tenant, &class->request, true);
}

static void leave_lane(struct sch_partition *p, struct sch_action_impl *a)
{
    struct sch_lane *lane = sy_take(a->lane);
    struct sch_class *class = lane->seat.class;
    sch_share_count(lane->seat.share, -1);
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
    SY_ASSERT(sch_cluster_connected(cluster));
    sch_action_detach(p, a);
    a->base.cluster = cluster;
    sch_action_move(p, a, to);
    sch_list_push_back(&cluster->attempts, &a->link);
}

void sch_action_assign(struct sch_partition *p, struct sch_action_impl *a,
                       const struct sch_pair *pair)
{
    a->base.number++;
    a->base.attempt_epoch = p->options.epoch;
    sch_action_occupy(p, a, pair->cluster, SCH_ACTION_ASSIGNED);
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_ASSIGN);
    effect->u.assign.action = &a->base;
    effect->u.assign.cluster = pair->cluster->name;
    effect->u.assign.class_id = pair->class->id;
    const struct sch_share *queue = a->lane->seat.share->parent;
    bool stoppable = queue->config && queue->config->preemptible && !sch_action_gang_of(a);
    effect->u.assign.queue = stoppable ? queue->id : 0;
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

static void end_attempt(struct sch_action *action)
{
    action->attempts = sch_action_attempt(action);
    action->ended = action->number;
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

const char *sch_retry_code(const char *message, const struct sch_report *report)
{
    if (report && report->outcome == SCH_OUTCOME_PREEMPTED)
        return "Preempted";
    return message ? "Lost" : NULL;
}

/* The attempt has ended without ending the action. The next one has so much memory; 0: the same. */
static void retry(struct sch_partition *p, struct sch_action_impl *a, int64_t delay_ns, bool front,
                  uint64_t memory_bytes, const char *message, const struct sch_report *report)
{
    if (sch_action_gang_of(a)) {
        sch_gang_retry(p, a, delay_ns, front, memory_bytes, message, report);
        return;
    }
    sch_action_detach(p, a);
    a->base.queued_at_ns = p->now_ns + delay_ns;
    sch_action_move(p, a, delay_ns > 0 ? SCH_ACTION_BACKOFF : sch_gate_next(a));
    if (memory_bytes > 0)
        sch_action_change_memory(p, a, memory_bytes);
    end_attempt(&a->base);
    const struct sch_cluster *cluster = sy_take(a->base.cluster);
    sch_effect_add(p, SCH_EFFECT_UPDATED)->u.action = &a->base;
    struct sch_effect *event = sch_action_event(p, a, sch_retry_code(message, report), message,
                                                report);
    event->u.event.tried = sch_action_attempt(&a->base);
    event->u.event.tried_on = cluster ? sch_cluster_name(cluster) : "";
    if (delay_ns == 0)
        sch_action_place(p, a, front);
}

/* min(first * factor^n, max) in integers: a float of another machine might round otherwise. */
static int64_t backoff_ns(int64_t first_ns, uint32_t factor_milli, unsigned n, int64_t max_ns)
{
    SY_ASSERT(first_ns >= 0 && max_ns > 0 && max_ns <= SCH_USER_BACKOFF_MAX_NS);
    int64_t delay = first_ns < max_ns ? first_ns : max_ns;
    int64_t factor = factor_milli < 1000 ? 1000 : factor_milli;
    for (; n > 0 && factor > 1000 && delay > 0 && delay < max_ns; n--) {
        int64_t whole = delay / 1000, rest = delay % 1000; /* no overflow: delay < 2^47 */
        if (whole > max_ns / factor)
            return max_ns;
        delay = whole * factor + rest * factor / 1000;
        delay = delay < max_ns ? delay : max_ns;
    }
    return delay;
}

static void count_failure(uint16_t *failures)
{
    if (*failures < UINT16_MAX)
        ++*failures;
}

/* A node that cannot start it (no such library, no such environment) is rarely cured by trying
 * again: each refusal takes more than half of the budget, so that a second node gets a try, and no
 * third. */
static void count_refusal(const struct sch_partition *p, struct sch_action_impl *a)
{
    for (uint32_t i = 0; i < p->options.system_retries / 2; i++)
        count_failure(&a->base.system_failures);
}

/* What is in no gang may. */
static bool gang_may_restart(const struct sch_action_impl *a)
{
    const struct sch_gang *gang = sch_action_gang_of(a);
    return !gang || sch_gang_may_restart(gang);
}

void sch_action_lost(struct sch_partition *p, struct sch_action_impl *a, const char *message,
                     const struct sch_report *report)
{
    if (!gang_may_restart(a)) {
        sch_action_end(p, a, SCH_ACTION_FAILED, "Lost", message, report);
        return;
    }
    count_failure(&a->base.system_failures);
    unsigned failures = a->base.system_failures;
    if (failures > p->options.system_retries || failures == UINT16_MAX) {
        sch_action_end(p, a, SCH_ACTION_FAILED, "SystemRetriesExhausted", message, report);
        return;
    }
    int64_t delay = failures < 2 ? 0
                                 : backoff_ns(SCH_SYSTEM_BACKOFF_NS, 2000, failures - 2,
                                              SCH_SYSTEM_BACKOFF_MAX_NS);
    retry(p, a, delay, true, 0, message, report);
}

static void user_failure(struct sch_partition *p, struct sch_action_impl *a,
                         enum sch_action_state when_exhausted, const struct sch_report *report)
{
    count_failure(&a->base.user_failures);
    unsigned failures = a->base.user_failures;
    if (failures > a->base.spec->retries || failures == UINT16_MAX || !gang_may_restart(a)) {
        sch_action_end(p, a, when_exhausted, NULL, NULL, report);
        return;
    }
    const struct sch_spec *spec = a->base.spec;
    bool capped = spec->backoff_cap_ns > 0 && spec->backoff_cap_ns < SCH_USER_BACKOFF_MAX_NS;
    int64_t delay = backoff_ns(spec->backoff_ns, spec->backoff_factor_milli, failures - 1,
                               capped ? spec->backoff_cap_ns : SCH_USER_BACKOFF_MAX_NS);
    retry(p, a, delay, false, 0, NULL, report);
}

/* How much the next attempt gets after one ran out of memory; 0: there is no more for it. */
static uint64_t more_memory(struct sch_partition *p, const struct sch_action_impl *a)
{
    const struct sch_spec *spec = a->base.spec;
    struct sch_resources request = sch_action_class(a)->request;
    uint64_t most = spec->oom_memory_bytes_max, now = request.memory_bytes;
    if (now == 0 || now >= most)
        return 0;
    uint32_t factor = spec->oom_factor_milli < 1100 ? 1100 : spec->oom_factor_milli;
    double more = (double)now * factor / 1000;
    request.memory_bytes = more < (double)most ? (uint64_t)more : most;
    const struct sch_class *class = sch_action_class(a);
    return sch_feasible(p, &request, &class->gang, class->rule, NULL) ? request.memory_bytes : 0;
}

static void out_of_memory(struct sch_partition *p, struct sch_action_impl *a,
                          const struct sch_report *report)
{
    uint64_t memory_bytes = gang_may_restart(a) ? more_memory(p, a) : 0;
    if (memory_bytes > 0)
        retry(p, a, 0, true, memory_bytes, NULL, report);
    else
        user_failure(p, a, SCH_ACTION_FAILED, report);
}

/* What the cluster did with it: a task's own error is no fault of its cluster. */
static void note_cluster(struct sch_partition *p, const struct sch_action_impl *a,
                         enum sch_outcome outcome)
{
    bool fault = outcome == SCH_OUTCOME_LOST || outcome == SCH_OUTCOME_REFUSED;
    if (a->base.cluster)
        sch_pair_report(p, sch_action_class(a), a->base.cluster, !fault);
}

void sch_action_outcome(struct sch_partition *p, struct sch_action_impl *a,
                        const struct sch_report *report)
{
    SY_ASSERT(a->lane && a->base.number == report->number);
    note_cluster(p, a, report->outcome);
    switch (report->outcome) {
    case SCH_OUTCOME_SUCCEEDED:
        sch_action_end(p, a, SCH_ACTION_SUCCEEDED, NULL, NULL, report);
        break;
    case SCH_OUTCOME_OUT_OF_MEMORY:
        out_of_memory(p, a, report);
        break;
    case SCH_OUTCOME_FAILED:
        user_failure(p, a, SCH_ACTION_FAILED, report);
        break;
    case SCH_OUTCOME_FAILED_FINAL:
        count_failure(&a->base.user_failures);
        sch_action_end(p, a, SCH_ACTION_FAILED, NULL, NULL, report);
        break;
    case SCH_OUTCOME_TIMED_OUT:
        user_failure(p, a, SCH_ACTION_TIMED_OUT, report);
        break;
    case SCH_OUTCOME_PREEMPTED:
        if (gang_may_restart(a))
            retry(p, a, 0, true, 0, "stopped to make room for others", report);
        else
            sch_action_lost(p, a, "stopped to make room for others", report);
        break;
    case SCH_OUTCOME_REFUSED:
        count_refusal(p, a);
        sch_action_lost(p, a, "the node could not start it", report);
        break;
    case SCH_OUTCOME_CANCELLED: /* somebody else stopped it: we did not ask */
        sch_action_lost(p, a, "the attempt was stopped on its node", report);
        break;
    case SCH_OUTCOME_LOST:
    default: /* a kind from a newer operator: not an answer, so try again */
        sch_action_lost(p, a, "its worker or node died under it", report);
        break;
    }
}

void sch_action_returned(struct sch_partition *p, struct sch_action_impl *a)
{
    SY_ASSERT(sch_action_state(a) == SCH_ACTION_ASSIGNED);
    if (sch_action_gang_of(a)) {
        sch_gang_returned(p, a);
        return;
    }
    sch_action_detach(p, a);
    sch_action_move(p, a, SCH_ACTION_QUEUED);
    a->base.ended = a->base.number; /* and attempts stays: nobody saw it */
    a->base.cluster = NULL;
    sch_action_place(p, a, true);
}

static const char *waits_for(enum sch_action_state state)
{
    if (state == SCH_ACTION_HELD)
        return "the limit of its run's concurrency left no room in time";
    if (state == SCH_ACTION_CACHE_WAIT)
        return "the action with the same cache key did not end in time";
    return "no room came in time";
}

void sch_action_timer(struct sch_partition *p, struct sch_action_impl *a)
{
    enum sch_action_state state = sch_action_state(a);
    SY_ASSERT(sch_heap_has(&a->timer));
    if (a->rare && a->rare->end_ns <= p->now_ns) {
        bool condition = state == SCH_ACTION_PAUSED;
        sch_action_end(p, a, SCH_ACTION_TIMED_OUT,
                       condition ? "ConditionTimeout" : "DeadlineExceeded",
                       condition ? "no signal came in time" : "its deadline has passed", NULL);
        return;
    }
    if (state != SCH_ACTION_BACKOFF) {
        sch_action_end(p, a, SCH_ACTION_TIMED_OUT, "QueuedTimeout", waits_for(state), NULL);
        return;
    }
    if (sch_action_gang_of(a)) {
        sch_gang_again(p, a);
        return;
    }
    sch_action_detach(p, a);
    a->base.queued_at_ns = p->now_ns;
    sch_action_move(p, a, sch_gate_next(a));
    sch_action_event(p, a, NULL, NULL, NULL);
    sch_action_place(p, a, false);
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
    end_attempt(&a->base);
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
