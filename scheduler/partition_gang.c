/*
 * Gangs. A class of gangs is a class of its own (the request and how the gang is placed), so what
 * waits there waits for nobody else, and nobody for it; one entry of its queue, one grant and one
 * decision are a whole gang. The first member stands in the queue, the others are GANG_WAIT.
 *
 * Where. A cluster grants a gang of each class that asks, also when it is busy: it will hold the
 * gang and make room. So a gang asks all clusters and goes to one that has room for it now; to a
 * busy one only when each has answered, or after SCH_GANG_PATIENCE_NS. One that gave a gang back
 * is tried last.
 *
 * Loss. The members share their counters: what ends the attempt of one ends the attempt of all, and
 * is counted once. RESTART_ALL: the others are cancelled and all wait again, as one. FAIL_ALL, or
 * nothing is left of the retries, or a member has succeeded before (it has ended, and will not run
 * again): the others end with it.
 */
#include "scheduler/partition_gang.h"
#include "scheduler/action_impl.h"
#include "scheduler/labels.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_reclaim.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_slice.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- membership ---- */

static struct sch_gang *gang_find(const struct sch_partition *p, uint64_t id)
{
    struct sch_table_link *link = sch_table_first(&p->gangs_by_id, sch_hash_u64(id, 0));
    for (; link; link = sch_table_next(link)) {
        struct sch_gang *gang = sy_container_of(link, struct sch_gang, by_id);
        if (gang->id == id)
            return gang;
    }
    return NULL;
}

static struct sch_gang *gang_new(struct sch_partition *p, uint64_t id,
                                 const struct sch_gang_shape *shape, enum sch_on_loss on_loss)
{
    SY_ASSERT(shape->size >= SCH_GANG_SIZE_MIN && shape->size <= SCH_GANG_SIZE_MAX);
    SY_ASSERT(!gang_find(p, id));
    struct sch_gang *gang = sy_calloc(1, sizeof(*gang) +
                                             shape->size * sizeof(struct sch_action_impl *));
    gang->id = id;
    gang->shape = *shape;
    gang->on_loss = on_loss;
    sch_table_add(&p->gangs_by_id, &gang->by_id, sch_hash_u64(id, 0));
    sch_list_push_back(&p->gangs, &gang->link);
    return gang;
}

struct sch_gang *sch_gang_restore(struct sch_partition *p, const struct sch_gang_view *view)
{
    struct sch_gang *gang = gang_find(p, view->id);
    if (!gang)
        gang = gang_new(p, view->id, view->shape, view->on_loss);
    SY_ASSERT(gang->shape.size == view->shape->size);
    return gang;
}

void sch_gang_join(struct sch_gang *gang, struct sch_action_impl *a, uint32_t rank)
{
    SY_ASSERT(rank < gang->shape.size && !gang->members[rank]);
    struct sch_rare *rare = sch_action_rare(a);
    rare->gang = gang;
    rare->rank = rank;
    gang->members[rank] = a;
    gang->refs++;
    gang->live++;
}

void sch_gang_leave(struct sch_partition *p, struct sch_action_impl *a)
{
    struct sch_gang *gang = a->rare->gang;
    SY_ASSERT(gang->live > 0 && gang->members[a->rare->rank] == a);
    sch_gang_unsent(a);
    gang->members[a->rare->rank] = NULL;
    if (--gang->live > 0)
        return;
    if (sch_link_in_list(&gang->broken))
        sch_list_remove(&gang->broken);
    sch_table_remove(&p->gangs_by_id, &gang->by_id);
    sch_list_remove(&gang->link);
}

void sch_gang_unref(struct sch_gang *gang)
{
    SY_ASSERT(gang->refs > 0);
    if (--gang->refs > 0)
        return;
    SY_ASSERT(gang->live == 0 && !sch_link_in_list(&gang->link));
    free(gang);
}

bool sch_gang_follows(const struct sch_action_impl *a)
{
    if (!sch_action_gang_of(a) || a->rare->rank == 0)
        return false;
    enum sch_action_state state = sch_action_state(a);
    return state == SCH_ACTION_GANG_WAIT || state == SCH_ACTION_HELD || state == SCH_ACTION_BACKOFF;
}

bool sch_action_gang(const struct sch_action *action, struct sch_gang_view *ret)
{
    const struct sch_action_impl *a = sch_action_impl_const(action);
    const struct sch_gang *gang = sch_action_gang_of(a);
    if (gang)
        *ret = (struct sch_gang_view){gang->id, a->rare->rank, &gang->shape, gang->on_loss};
    return gang != NULL;
}

/* ---- what a cluster could hold ---- */

static void print_request(const struct sch_resources *request, struct sy_error_text *ret)
{
    if (request->gpu_milli > 0)
        sy_error_text_set(ret, "%.3f GPUs", request->gpu_milli / 1000.0);
    else if (request->gpus > 0)
        sy_error_text_set(ret, "%" PRIu32 " %s", request->gpus,
                          request->gpu_model[0] ? request->gpu_model : "GPUs");
    else if (request->cpu_milli > 0)
        sy_error_text_set(ret, "%.3f cores", request->cpu_milli / 1000.0);
    else
        sy_error_text_set(ret, "%.1f GiB", (double)request->memory_bytes / (1 << 30));
}

/* Of the shapes in the domain of the i-th one; of all without a domain. */
static uint64_t held_with(const struct sch_cluster *cluster, size_t i,
                          const struct sch_resources *request, const struct sch_gang_shape *gang)
{
    bool required = gang->topology == SCH_TOPOLOGY_REQUIRE;
    struct sy_span domain = sch_label_value(cluster->shapes[i].traits.labels, gang->key);
    uint64_t most = 0;
    if (required && !domain.data)
        return 0;
    for (size_t k = 0; k < cluster->shape_count; k++) {
        struct sy_span other = sch_label_value(cluster->shapes[k].traits.labels, gang->key);
        if (!required || (other.data && sch_label_values_compare(&domain, &other) == 0))
            most += (uint64_t)sch_shape_slots(&cluster->shapes[k], request) *
                    cluster->shapes[k].nodes;
    }
    return most;
}

uint64_t sch_gang_room(const struct sch_cluster *cluster, const struct sch_resources *request,
                       const struct sch_gang_shape *gang)
{
    uint64_t most = 0;
    for (size_t i = 0; i < cluster->shape_count && most < gang->size; i++) {
        uint64_t held = held_with(cluster, i, request, gang);
        most = held > most ? held : most;
    }
    return most;
}

bool sch_gang_fits(const struct sch_cluster *cluster, const struct sch_resources *request,
                   const struct sch_gang_shape *gang, struct sy_error_text *ret_misses)
{
    enum sch_cluster_state state = sch_cluster_state(cluster);
    bool known = state != SCH_CLUSTER_EXPECTED && state != SCH_CLUSTER_JOINING;
    uint64_t most = sch_gang_room(cluster, request, gang);
    if (most >= gang->size || !known || cluster->shape_count == 0)
        return true;
    struct sy_error_text each = {0};
    print_request(request, &each);
    sy_error_text_add(ret_misses,
                      "cluster %s: %" PRIu32 " x (%s) asked together%s%s, it holds %" PRIu64,
                      cluster->name, gang->size, each.text,
                      gang->topology == SCH_TOPOLOGY_REQUIRE ? " in one " : "",
                      gang->topology == SCH_TOPOLOGY_REQUIRE ? gang->key : "", most);
    return false;
}

/* ---- enqueue ---- */

static bool admit_names(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_action_impl *parent = sch_action_impl(event->u.gang.parent);
    for (uint32_t i = 0; i < event->u.gang.shape->size; i++) {
        const struct sch_gang_member *member = &event->u.gang.members[i];
        SY_ASSERT(member->spec && !member->spec->group);
        SY_ASSERT(
            sch_resources_equal(&member->spec->request, &event->u.gang.members[0].spec->request));
        if (!sch_admit_child(p, parent, member->name, event->u.gang.shell))
            return false;
    }
    return true;
}

/* It needs all of its slots at once. */
static bool admit_slots(struct sch_partition *p, const struct sch_event *event)
{
    const struct sch_run *run = event->u.gang.parent->run;
    uint32_t size = event->u.gang.shape->size;
    if (run->concurrency_max == 0 || size <= run->concurrency_max)
        return true;
    sy_error_text_set(&p->misses,
                      "a gang of %" PRIu32 ": its run may have at most %" PRIu32 " actions out",
                      size, run->concurrency_max);
    sch_reject(p, SCH_REJECT_INFEASIBLE, NULL, event->u.gang.shell);
    return false;
}

static void release_specs(struct sch_partition *p, const struct sch_event *event)
{
    for (uint32_t i = 0; i < event->u.gang.shape->size; i++) {
        struct sch_spec *spec = event->u.gang.members[i].spec;
        bool told = spec->refs > 0;
        for (size_t k = 0; k < p->spec_unused_count && !told; k++)
            told = p->specs_unused[k] == spec;
        if (!told)
            sch_spec_released(p, spec);
    }
}

static enum sch_action_state state_of_others(enum sch_action_state first)
{
    return first == SCH_ACTION_QUEUED ? SCH_ACTION_GANG_WAIT : first;
}

static void begin(struct sch_partition *p, const struct sch_event *event, struct sch_share *tenant)
{
    struct sch_action_impl *parent = sch_action_impl(event->u.gang.parent);
    struct sch_run_impl *run = sch_run_impl(parent->base.run);
    struct sch_gang *gang = gang_new(p, sch_partition_new_id(p, run->place), event->u.gang.shape,
                                     event->u.gang.on_loss);
    enum sch_action_state first = sch_gate_first(run, gang->shape.size);
    for (uint32_t i = 0; i < gang->shape.size; i++) {
        const struct sch_gang_member *member = &event->u.gang.members[i];
        struct sch_action_new new = {.id = i == 0 ? gang->id : sch_partition_new_id(p, run->place),
                                     .run = run,
                                     .parent = parent,
                                     .name = member->name,
                                     .spec = member->spec,
                                     .tenant = tenant,
                                     .gang = gang,
                                     .rank = i,
                                     .priority = event->u.gang.priority,
                                     .created_ns = p->realtime_ns,
                                     .state = i == 0 ? first : state_of_others(first)};
        struct sch_action_impl *a = sch_begin_action(p, &new, false, member->shell);
        sch_action_event(p, a, NULL, NULL, NULL);
    }
    sch_action_place(p, gang->members[0], false);
}

void sch_gang_enqueue(struct sch_partition *p, const struct sch_event *event)
{
    const struct sch_run *run = event->u.gang.parent->run;
    struct sch_task task = {.spec = event->u.gang.members[0].spec,
                            .gang = event->u.gang.shape,
                            .priority = event->u.gang.priority,
                            .queue = event->u.gang.queue,
                            .shell = event->u.gang.shell};
    struct sch_share *tenant;
    if (!admit_names(p, event) || !admit_slots(p, event) ||
        !sch_admit(p, &task, run->project, run->domain, &tenant)) {
        release_specs(p, event);
        return;
    }
    begin(p, event, tenant);
    sch_share_unref(p, tenant); /* its lane has one */
}

/* ---- waiting ---- */

void sch_gang_released(struct sch_partition *p, struct sch_action_impl *first)
{
    struct sch_gang *gang = first->rare->gang;
    SY_ASSERT(gang->live == gang->shape.size && gang->members[0] == first);
    for (uint32_t i = 1; i < gang->shape.size; i++)
        sch_action_move(p, gang->members[i], SCH_ACTION_GANG_WAIT);
}

void sch_gang_ask(struct sch_partition *p, struct sch_class *class)
{
    SY_ASSERT(class->gang.size > 0);
    for (size_t i = 0; i < class->pair_count; i++)
        sch_pair_ask(p, class->pairs[i]);
    class->told_waiting = UINT64_MAX; /* it is told again, whatever was told before */
    sch_class_touch(p, class);
    if (!sch_heap_has(&class->patience)) /* those who come meanwhile do not make it longer */
        sch_heap_set(&p->patience, &class->patience, p->now_ns + SCH_GANG_PATIENCE_NS);
    sch_class_changed(p, class);
}

bool sch_gang_may_go(const struct sch_class *class)
{
    const struct sch_heap_entry *top = sch_heap_top(&class->open);
    SY_ASSERT(class->gang.size > 0 && top);
    const struct sch_pair *first = sy_container_of((struct sch_heap_entry *)(uintptr_t)top,
                                                   struct sch_pair, entry);
    if (!sch_pair_is_current(first) || first->startable > first->assigned ||
        !sch_heap_has(&class->patience))
        return true;
    for (size_t i = 0; i < class->pair_count; i++) {
        const struct sch_pair *pair = class->pairs[i];
        bool asked = !sch_pair_is_current(pair) || (pair->feasible && !pair->answered);
        if (asked && sch_cluster_connected(pair->cluster))
            return false;
    }
    return true;
}

static void share_waits(const struct sch_action_impl *a, bool more)
{
    sch_share_wait(a->lane->seat.share, &sch_action_class(a)->request, a->rare->gang->shape.size,
                   more);
}

void sch_gang_unsent(const struct sch_action_impl *a)
{
    struct sch_gang *gang = a->rare->gang;
    if (!sch_link_in_list(&gang->sent))
        return;
    sch_list_remove(&gang->sent);
    share_waits(a, false);
}

void sch_gang_assign(struct sch_partition *p, struct sch_action_impl *first,
                     const struct sch_pair *pair)
{
    struct sch_gang *gang = first->rare->gang;
    SY_ASSERT(gang->live == gang->shape.size && gang->members[0] == first);
    for (uint32_t i = 0; i < gang->shape.size; i++)
        sch_action_assign(p, gang->members[i], pair);
    gang->sent_ns = p->now_ns;
    sch_list_push_back(&p->gangs_sent, &gang->sent);
    share_waits(first, true);
}

struct sch_gang *sch_gang_next_sent(struct sch_partition *p, int64_t before_ns)
{
    if (sch_list_empty(&p->gangs_sent))
        return NULL;
    struct sch_gang *gang = sy_container_of(p->gangs_sent.next, struct sch_gang, sent);
    if (gang->sent_ns > before_ns)
        return NULL;
    gang->sent_ns = p->now_ns;
    sch_list_remove(&gang->sent);
    sch_list_push_back(&p->gangs_sent, &gang->sent);
    return gang;
}

/* ---- all wait again ---- */

/* What all of them have from now on. */
static struct sch_action counters_of(const struct sch_gang *gang, const struct sch_action_impl *a,
                                     bool ended)
{
    struct sch_action most = {.user_failures = a->base.user_failures,
                              .system_failures = a->base.system_failures,
                              .attempts = a->base.attempts};
    for (uint32_t i = 0; i < gang->shape.size; i++) {
        SY_ASSERT(gang->members[i]);
        const struct sch_action *member = &gang->members[i]->base;
        uint32_t attempts = ended ? sch_action_attempt(member) : member->attempts;
        most.number = member->number > most.number ? member->number : most.number;
        most.attempts = attempts > most.attempts ? attempts : most.attempts;
    }
    return most;
}

/* QUEUED while each has a slot of its run; what has none is let in at the end of the step. */
static enum sch_action_state state_again(const struct sch_gang *gang)
{
    enum sch_action_state state = SCH_ACTION_QUEUED;
    for (uint32_t i = 0; i < gang->shape.size && state == SCH_ACTION_QUEUED; i++)
        state = sch_gate_next(gang->members[i]);
    return state;
}

/* `a` is the one whose attempt has ended; the attempts of the others are cancelled. */
static void wait_again(struct sch_partition *p, struct sch_gang *gang, struct sch_action_impl *a,
                       int64_t delay_ns, uint64_t memory_bytes, bool ended)
{
    SY_ASSERT(gang->live == gang->shape.size);
    struct sch_action counters = counters_of(gang, a, ended);
    enum sch_action_state first = delay_ns > 0 ? SCH_ACTION_BACKOFF : state_again(gang);
    for (uint32_t i = 0; i < gang->shape.size; i++) {
        struct sch_action_impl *member = gang->members[i];
        if (member != a && sch_state_is_out(sch_action_state(member)))
            sch_action_cancel(p, member, gang->why.text);
        sch_action_detach(p, member);
        member->base.queued_at_ns = p->now_ns + delay_ns;
        sch_action_move(p, member, i == 0 ? first : state_of_others(first));
        if (memory_bytes > 0)
            sch_action_change_memory(p, member, memory_bytes);
        member->base.number = member->base.ended = counters.number;
        member->base.attempts = counters.attempts;
        member->base.user_failures = counters.user_failures;
        member->base.system_failures = counters.system_failures;
        member->base.cluster = NULL;
    }
}

static void say_why(struct sch_gang *gang, const struct sch_action_impl *a, const char *what)
{
    sy_error_text_set(&gang->why, "member '%s' (rank %" PRIu32 ") of its gang %s", a->base.name,
                      a->rare->rank, what);
}

bool sch_gang_may_restart(const struct sch_gang *gang)
{
    return gang->on_loss == SCH_ON_LOSS_RESTART_ALL && gang->live == gang->shape.size;
}

void sch_gang_retry(struct sch_partition *p, struct sch_action_impl *a, int64_t delay_ns,
                    bool front, uint64_t memory_bytes, const char *message,
                    const struct sch_report *report)
{
    struct sch_gang *gang = a->rare->gang;
    const struct sch_cluster *cluster = a->base.cluster;
    bool preempted = report && report->outcome == SCH_OUTCOME_PREEMPTED;
    SY_ASSERT(sch_gang_may_restart(gang));
    struct sy_error_text what;
    if (preempted)
        sy_error_text_set(&what, "was %s", message);
    else
        sy_error_text_set(&what, "%s", message ? "was lost" : "failed");
    say_why(gang, a, what.text);
    wait_again(p, gang, a, delay_ns, memory_bytes, true);
    for (uint32_t i = 0; i < gang->shape.size; i++) {
        struct sch_action_impl *member = gang->members[i];
        sch_effect_add(p, SCH_EFFECT_UPDATED)->u.action = &member->base;
        struct sch_effect *event =
            member == a ? sch_action_event(p, a, sch_retry_code(message, report), message, report)
                        : sch_action_event(p, member, preempted ? "Preempted" : "GangRestarted",
                                           gang->why.text, NULL);
        event->u.event.tried = sch_action_attempt(&member->base);
        event->u.event.tried_on = cluster ? sch_cluster_name(cluster) : "";
    }
    if (delay_ns == 0)
        sch_action_place(p, gang->members[0], front);
}

void sch_gang_again(struct sch_partition *p, struct sch_action_impl *a)
{
    struct sch_gang *gang = a->rare->gang;
    SY_ASSERT(gang->live == gang->shape.size && gang->members[0] == a);
    enum sch_action_state first = sch_gate_first(sch_run_impl(a->base.run), gang->shape.size);
    for (uint32_t i = 0; i < gang->shape.size; i++) {
        struct sch_action_impl *member = gang->members[i];
        sch_action_detach(p, member);
        member->base.queued_at_ns = p->now_ns;
        sch_action_move(p, member, i == 0 ? first : state_of_others(first));
        sch_action_event(p, member, NULL, NULL, NULL);
    }
    sch_action_place(p, a, false);
}

static bool any_is(const struct sch_gang *gang, enum sch_action_state state)
{
    for (uint32_t i = 0; i < gang->shape.size; i++) {
        if (gang->members[i] && sch_action_state(gang->members[i]) == state)
            return true;
    }
    return false;
}

bool sch_gang_runs(const struct sch_gang *gang)
{
    return any_is(gang, SCH_ACTION_RUNNING);
}

/* The others come back as well, or are cancelled: it went out whole. */
void sch_gang_returned(struct sch_partition *p, struct sch_action_impl *a)
{
    struct sch_gang *gang = a->rare->gang;
    if (gang->live < gang->shape.size || sch_gang_runs(gang)) {
        sch_action_lost(p, a, "given back after others of its gang had started", NULL);
        return;
    }
    struct sch_pair *pair = sch_pair_get(p, sch_action_class(a), a->base.cluster);
    say_why(gang, a, "was given back");
    wait_again(p, gang, a, 0, 0, false);
    if (!pair->cluster->draining) /* else it was asked for */
        sch_pair_avoid(p, pair, SCH_GANG_AVOID_NS);
    sch_action_place(p, gang->members[0], true);
}

/* ---- the end ---- */

static void print_end(struct sch_gang *gang, const struct sch_action_impl *a,
                      const struct sch_end *end)
{
    const char *how = end->state == SCH_ACTION_TIMED_OUT ? "timed out"
                      : end->state == SCH_ACTION_ABORTED ? "was aborted"
                                                         : "failed";
    say_why(gang, a, how);
    if (end->code)
        sy_error_text_add(&gang->why, "%s: %s", end->code, end->message ? end->message : "");
}

void sch_gang_end(struct sch_partition *p, struct sch_gang *gang, const struct sch_action_impl *a,
                  const struct sch_end *end)
{
    if (gang->ending || gang->live == 0)
        return;
    gang->ending = true;
    struct sch_end others = {.state = end->state, .code = end->code, .message = end->message};
    if (end->state == SCH_ACTION_FAILED || end->report) {
        print_end(gang, a, end);
        others = (struct sch_end){
            .state = SCH_ACTION_FAILED, .code = "GangMemberFailed", .message = gang->why.text};
    }
    for (uint32_t i = 0; i < gang->shape.size; i++) {
        if (gang->members[i])
            sch_action_end_as(p, gang->members[i], &others);
    }
    SY_ASSERT(gang->live == 0);
}

/* ---- after a rebuild ---- */

/* What was given back changes no row by itself, but the row of a member is also written when its
 * children change: so one may know of later attempts than the others. */
void sch_gangs_restored(struct sch_partition *p)
{
    for (struct sch_link *link = p->gangs.next; link != &p->gangs; link = link->next) {
        struct sch_gang *gang = sy_container_of(link, struct sch_gang, link);
        uint32_t ended = 0, attempts = 0;
        for (uint32_t i = 0; i < gang->shape.size; i++) {
            const struct sch_action_impl *a = gang->members[i];
            ended = a && a->base.ended > ended ? a->base.ended : ended;
            attempts = a && a->base.attempts > attempts ? a->base.attempts : attempts;
        }
        for (uint32_t i = 0; i < gang->shape.size; i++) {
            struct sch_action_impl *a = gang->members[i];
            if (!a)
                continue;
            a->base.number = a->base.ended = ended;
            a->base.attempts = attempts;
        }
    }
}

static struct sch_action_impl *first_live(const struct sch_gang *gang)
{
    uint32_t i = 0;
    SY_ASSERT(gang->live > 0);
    while (!gang->members[i])
        i++;
    return gang->members[i];
}

/* The rebuild has no effects yet, so its end waits for the first step. */
static void break_up(struct sch_partition *p, struct sch_gang *gang)
{
    for (uint32_t i = 0; i < gang->shape.size; i++) {
        struct sch_action_impl *member = gang->members[i];
        if (!member)
            continue;
        sch_action_detach(p, member);
        sch_action_move(p, member, SCH_ACTION_GANG_WAIT);
    }
    sch_list_push_back(&p->gangs_broken, &gang->broken);
}

void sch_gang_unreported(struct sch_partition *p, struct sch_gang *gang)
{
    struct sch_action_impl *missing = NULL;
    for (uint32_t i = 0; i < gang->shape.size && !missing; i++) {
        struct sch_action_impl *member = gang->members[i];
        if (member && sch_action_state(member) == SCH_ACTION_RECOVERING)
            missing = member;
    }
    SY_ASSERT(missing);
    if (any_is(gang, SCH_ACTION_ASSIGNED) || any_is(gang, SCH_ACTION_RUNNING)) {
        sch_action_lost(p, missing, "nobody had it after a restart of the control plane", NULL);
    } else if (gang->live < gang->shape.size) {
        break_up(p, gang);
    } else {
        wait_again(p, gang, missing, 0, 0, false);
        sch_action_place(p, gang->members[0], true);
    }
}

static bool is_same_attempt(const struct sch_action *a, const struct sch_action *b)
{
    return a->cluster == b->cluster && a->number == b->number &&
           a->attempt_epoch == b->attempt_epoch;
}

/* Of two attempts of the gang a part each was adopted. */
static struct sch_action_impl *find_stray(const struct sch_gang *gang)
{
    struct sch_action_impl *first = first_live(gang);
    if (!sch_state_is_out(sch_action_state(first)))
        return NULL;
    for (uint32_t i = 0; i < gang->shape.size; i++) {
        struct sch_action_impl *member = gang->members[i];
        if (member && !is_same_attempt(&member->base, &first->base))
            return member;
    }
    return NULL;
}

void sch_gangs_recovered(struct sch_partition *p)
{
    struct sch_link *link = p->gangs.next;
    while (link != &p->gangs) {
        struct sch_gang *gang = sy_container_of(link, struct sch_gang, link);
        link = link->next;
        struct sch_action_impl *stray = find_stray(gang);
        if (stray)
            sch_action_lost(p, stray, "a part of its gang was in another attempt", NULL);
    }
}

void sch_gangs_settle(struct sch_partition *p)
{
    while (!sch_list_empty(&p->gangs_broken)) {
        struct sch_gang *gang = sy_container_of(p->gangs_broken.next, struct sch_gang, broken);
        sch_list_remove(&gang->broken);
        sch_action_end(p, first_live(gang), SCH_ACTION_FAILED, "Lost",
                       "nobody had it after a restart of the control plane, and others of its gang "
                       "had succeeded",
                       NULL);
    }
}
