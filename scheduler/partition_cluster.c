#include "scheduler/action_impl.h"
#include "scheduler/partition_drain.h"
#include "scheduler/partition_elsewhere.h"
#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_slice.h"
#include "scheduler/partition_turn.h"

#include <stdlib.h>
#include <string.h>

/* ---- the table: the diagram is in partition_impl.h ---- */

static bool cluster_invariant(const void *owner, unsigned state)
{
    const struct sch_cluster *c = owner;
    return state == SCH_CLUSTER_DOWN || !sch_heap_has(&c->lease);
}

#define CLUSTER_BIT(state) SM_BIT(SCH_CLUSTER_##state)
/* The shell and the simulator reconnect for ever, so no state is final. */
static const struct sm_state cluster_states[SCH_CLUSTER_STATES] = {
    [SCH_CLUSTER_EXPECTED] = {.name = "expected",
                              .initial = true,
                              .next = CLUSTER_BIT(JOINING) | CLUSTER_BIT(GONE)},
    [SCH_CLUSTER_JOINING] = {.name = "joining",
                             .initial = true,
                             .next = CLUSTER_BIT(READY) | CLUSTER_BIT(DOWN)},
    [SCH_CLUSTER_READY] = {.name = "ready", .next = CLUSTER_BIT(DOWN)},
    [SCH_CLUSTER_DOWN] = {.name = "down", .next = CLUSTER_BIT(JOINING) | CLUSTER_BIT(GONE)},
    [SCH_CLUSTER_GONE] = {.name = "gone", .next = CLUSTER_BIT(JOINING)},
};
const struct sm_table sch_cluster_table = {
    .name = "cluster",
    .states = cluster_states,
    .count = SCH_CLUSTER_STATES,
    .invariant = cluster_invariant,
};

static void cluster_move(struct sch_cluster *cluster, enum sch_cluster_state to)
{
    sm_move(&cluster->sm, &sch_cluster_table, to, cluster);
}

const char *sch_cluster_name(const struct sch_cluster *cluster)
{
    SY_ASSERT(cluster);
    return cluster->name;
}

/* ---- set-up ---- */

static uint32_t cluster_hash(const char *name)
{
    return (uint32_t)sch_hash_bytes(name, strlen(name), 0);
}

struct sch_cluster *sch_cluster_find(struct sch_partition *p, const char *name)
{
    SY_ASSERT(name);
    struct sch_table_link *link = sch_table_first(&p->clusters_by_name, cluster_hash(name));
    for (; link; link = sch_table_next(link)) {
        struct sch_cluster *cluster = sy_container_of(link, struct sch_cluster, by_name);
        if (strcmp(cluster->name, name) == 0)
            return cluster;
    }
    return NULL;
}

/* Those behind the new name go up by one. */
static void rank_cluster(struct sch_partition *p, struct sch_cluster *new)
{
    for (size_t i = 0; i < p->cluster_count; i++) {
        struct sch_cluster *other = p->clusters[i];
        int order = strcmp(other->name, new->name);
        SY_ASSERT(order != 0);
        if (order < 0)
            new->rank++;
        else
            other->rank++;
    }
}

struct sch_cluster *sch_cluster_add(struct sch_partition *p, const char *name,
                                    enum sch_cluster_state state)
{
    size_t size = strlen(name) + 1;
    SY_ASSERT(size <= SCH_NAME_MAX && !sch_cluster_find(p, name));
    if (p->cluster_count == p->cluster_cap) {
        p->cluster_cap = p->cluster_cap ? p->cluster_cap * 2 : 8;
        p->clusters = sy_realloc(p->clusters, p->cluster_cap * sizeof(struct sch_cluster *));
    }
    struct sch_cluster *cluster = sy_new(struct sch_cluster);
    memcpy(cluster->name, name, size);
    sm_init(&cluster->sm, &sch_cluster_table, state);
    sch_list_init(&cluster->attempts);
    sch_list_init(&cluster->unnamed);
    sch_list_init(&cluster->kept);
    sch_list_init(&cluster->short_of_room);
    sch_list_init(&cluster->pairs);
    sch_list_init(&cluster->elsewhere);
    rank_cluster(p, cluster);
    cluster->asking = 1;
    cluster->index = (uint32_t)p->cluster_count;
    p->clusters[p->cluster_count++] = cluster;
    sch_table_add(&p->clusters_by_name, &cluster->by_name, cluster_hash(name));
    sch_round_begin(&p->widening);
    return cluster;
}

void sch_cluster_free(struct sch_cluster *cluster)
{
    free(cluster->shapes);
    free(cluster);
}

/* ---- what is out there ---- */

void sch_cluster_count(const struct sch_action_impl *a, int by)
{
    enum sch_action_state state = sch_action_state(a);
    if (!sch_state_is_out(state))
        return;
    uint64_t *count = state == SCH_ACTION_ASSIGNED ? &a->base.cluster->assigned
                                                   : &a->base.cluster->running;
    SY_ASSERT(by > 0 || *count > 0);
    *count += (uint64_t)by;
}

void sch_cluster_take(struct sch_partition *p, struct sch_cluster *cluster,
                      struct sch_action_impl *a)
{
    SY_ASSERT(a->base.cluster == cluster && sch_state_is_out(sch_action_state(a)));
    a->asked = 0;
    sch_list_push_back(&cluster->attempts, &a->link);
    sch_drain_look(p, cluster);
}

struct sch_cluster_out sch_partition_cluster_out(const struct sch_partition *p, const char *name)
{
    const struct sch_cluster *cluster = sch_cluster_find((struct sch_partition *)(uintptr_t)p,
                                                         name);
    bool known = p->recovery_end_ns == SY_TIME_NEVER && !p->recovery_ends;
    if (!cluster)
        return (struct sch_cluster_out){.known = known};
    return (struct sch_cluster_out){.assigned = cluster->assigned,
                                    .running = cluster->running,
                                    .known = known &&
                                             sch_cluster_state(cluster) == SCH_CLUSTER_READY};
}

/* A cluster whose nodes are not all known yet may run anything. */
bool sch_cluster_fits(const struct sch_cluster *cluster, const struct sch_resources *request,
                      struct sy_error_text *ret_misses)
{
    enum sch_cluster_state state = sch_cluster_state(cluster);
    if (state == SCH_CLUSTER_EXPECTED || state == SCH_CLUSTER_JOINING)
        return true;
    if (cluster->shape_count == 0)
        return true;
    struct sy_error_text miss = {0};
    if (sch_shapes_fit(cluster->shapes, cluster->shape_count, request, ret_misses ? &miss : NULL))
        return true;
    sy_error_text_add(ret_misses, "cluster %s: %s", cluster->name, miss.text);
    return false;
}

/* ---- streams ---- */

static void add_capacity(struct sch_use *capacity, const struct sch_shape *shape)
{
    capacity->cpu_milli += (uint64_t)shape->capacity.cpu_milli * shape->nodes;
    capacity->memory_bytes += shape->capacity.memory_bytes * shape->nodes;
    capacity->gpu_milli += sch_resources_gpu_milli(&shape->capacity) * shape->nodes;
}

static void set_shapes(struct sch_cluster *cluster, const struct sch_shape *shapes, size_t count)
{
    SY_ASSERT(shapes || count == 0);
    free(cluster->shapes);
    cluster->shapes = count ? sy_memdup(shapes, count * sizeof(*shapes)) : NULL;
    cluster->shape_count = count;
    cluster->capacity = (struct sch_use){0};
    for (size_t i = 0; i < count; i++)
        add_capacity(&cluster->capacity, &shapes[i]);
}

static bool differs(uint64_t now, uint64_t before)
{
    uint64_t by = now > before ? now - before : before - now;
    return by > before / 16;
}

/* The region's, by which shares are measured. */
static void count_capacity(struct sch_partition *p)
{
    struct sch_use sum = {0}, *known = &p->capacity;
    for (size_t i = 0; i < p->cluster_count; i++) {
        const struct sch_cluster *cluster = p->clusters[i];
        if (sch_cluster_state(cluster) == SCH_CLUSTER_GONE)
            continue;
        sum.cpu_milli += cluster->capacity.cpu_milli;
        sum.memory_bytes += cluster->capacity.memory_bytes;
        sum.gpu_milli += cluster->capacity.gpu_milli;
    }
    if (!differs(sum.cpu_milli, known->cpu_milli) && !differs(sum.gpu_milli, known->gpu_milli) &&
        !differs(sum.memory_bytes, known->memory_bytes))
        return;
    *known = sum;
    sch_round_begin(&p->weighing);
}

void sch_cluster_learned(struct sch_partition *p, struct sch_cluster *cluster)
{
    cluster->version++;
    sch_list_splice(&p->stale, &cluster->pairs);
    sch_verify_later(p);
}

static void set_region(struct sch_cluster *cluster, const char *region)
{
    SY_ASSERT(!region || strlen(region) < sizeof(cluster->region));
    memset(cluster->region, 0, sizeof(cluster->region));
    if (region)
        memcpy(cluster->region, region, strlen(region));
}

/* ---- an observer that sees nobody is itself cut off, for all that it can know ---- */

bool sch_cluster_blind(const struct sch_partition *p)
{
    for (size_t i = 0; i < p->cluster_count; i++) {
        if (sch_cluster_connected(p->clusters[i]))
            return false;
    }
    return true;
}

/* Of each that is down, once. */
static void restart_graces(struct sch_partition *p, int64_t now_ns)
{
    for (size_t i = 0; i < p->cluster_count; i++) {
        struct sch_cluster *cluster = p->clusters[i];
        if (sch_cluster_state(cluster) != SCH_CLUSTER_DOWN || cluster->grace_restarted)
            continue;
        cluster->grace_restarted = true;
        sch_heap_set(&p->leases, &cluster->lease, now_ns + p->options.cluster_lease_ns);
    }
}

static void restart_recovery(struct sch_partition *p, int64_t now_ns)
{
    if (p->recovery_end_ns == SY_TIME_NEVER || p->recovery_ends || p->recovery_restarted)
        return;
    p->recovery_restarted = true;
    p->recovery_end_ns = now_ns + p->options.recovery_wait_ns;
}

/* Another inventory will say what it has. */
static void keep_unnamed(struct sch_cluster *cluster)
{
    if (sch_link_in_list(&cluster->losing))
        sch_list_remove(&cluster->losing);
}

void sch_cluster_up(struct sch_partition *p, const struct sch_cluster_said *said)
{
    struct sch_cluster *cluster = sch_cluster_find(p, said->name);
    bool opened = !cluster || !sch_cluster_connected(cluster);
    if (opened && sch_cluster_blind(p)) { /* from now on the others are watched */
        restart_graces(p, p->now_ns);
        restart_recovery(p, p->now_ns);
    }
    if (!cluster) {
        cluster = sch_cluster_add(p, said->name, SCH_CLUSTER_JOINING);
    } else if (opened) {
        sch_heap_remove(&p->leases, &cluster->lease);
        cluster_move(cluster, SCH_CLUSTER_JOINING);
    }
    cluster->price = said->price;
    cluster->cordoned = said->cordoned;
    set_region(cluster, said->region);
    if (!said->keep_shapes)
        set_shapes(cluster, said->shapes, said->shape_count);
    if (opened) {
        keep_unnamed(cluster);
        sch_list_splice(&cluster->unnamed, &cluster->attempts);
        sch_list_splice(&cluster->unnamed, &cluster->kept);
        sch_heap_remove(&p->stopping, &cluster->stopping);
        cluster->stopped_ns = p->now_ns + p->options.cluster_lease_ns;
        cluster->grace_restarted = false;
        cluster->room_known = false;
        cluster->stream++;
        sch_turns_room(p);
        cluster->room_granted = cluster->room_assigned = (struct sch_use){0};
    }
    sch_drain_said(p, cluster, said);
    count_capacity(p);
    sch_cluster_learned(p, cluster);
    SY_ASSERT(sch_cluster_connected(cluster));
}

void sch_cluster_down(struct sch_partition *p, const char *name)
{
    struct sch_cluster *cluster = sch_cluster_find(p, name);
    if (!cluster || !sch_cluster_connected(cluster))
        return;
    cluster_move(cluster, SCH_CLUSTER_DOWN);
    sch_elsewhere_close(p, cluster);
    sch_drain_pause(p, cluster);
    keep_unnamed(cluster);
    sch_list_splice(&cluster->unnamed, &cluster->attempts);
    sch_list_splice(&cluster->attempts, &cluster->unnamed);
    sch_outs_stopped(p, cluster, &cluster->attempts); /* this lease is over later */
    sch_heap_set(&p->leases, &cluster->lease, p->now_ns + p->options.cluster_lease_ns);
    sch_cluster_learned(p, cluster);
    SY_ASSERT(sch_list_empty(&cluster->unnamed));
}

/* So many at most. Each action goes to the front of its queue, so the last one first: their order
 * stays. */
static void lose_attempts(struct sch_partition *p, struct sch_link *attempts, uint32_t most,
                          const char *message)
{
    for (; most > 0 && !sch_list_empty(attempts); most--) {
        struct sch_link *last = attempts->prev;
        sch_action_lost(p, sy_container_of(last, struct sch_action_impl, link), message, NULL);
        SY_ASSERT(attempts->prev != last);
    }
}

/* The same for those that cannot be heard: some are kept, by their policy. */
static void lose_silent(struct sch_partition *p, struct sch_cluster *cluster, uint32_t most,
                        const char *message)
{
    for (; most > 0 && !sch_list_empty(&cluster->attempts); most--) {
        struct sch_link *last = cluster->attempts.prev;
        struct sch_action_impl *a = sy_container_of(last, struct sch_action_impl, link);
        if (sch_action_waits(a)) {
            a->asked = 0;
            sch_list_remove(last);
            sch_list_push_front(&cluster->kept, last);
        } else {
            sch_action_lost(p, a, message, NULL);
        }
        SY_ASSERT(cluster->attempts.prev != last);
    }
}

/* What it does not name any more, or will never: lost in slices. Until then it is as when the
 * cluster is down: a report of it counts, and one that comes back keeps what it names. */
static void lose_unnamed(struct sch_partition *p, struct sch_cluster *cluster, const char *why)
{
    if (sch_list_empty(&cluster->unnamed) || sch_link_in_list(&cluster->losing))
        return;
    cluster->lost_why = why;
    sch_list_push_back(&p->losing, &cluster->losing);
}

void sch_cluster_lose(struct sch_partition *p)
{
    while (!sch_list_empty(&p->losing)) {
        struct sch_cluster *cluster = sy_container_of(p->losing.next, struct sch_cluster, losing);
        while (!sch_list_empty(&cluster->unnamed) && sch_may_look(p))
            lose_attempts(p, &cluster->unnamed, 1, cluster->lost_why);
        if (!sch_list_empty(&cluster->unnamed))
            return; /* a tick at once goes on */
        sch_list_remove(&cluster->losing);
    }
}

void sch_cluster_give_up(struct sch_partition *p, const char *name, bool deleted)
{
    struct sch_cluster *cluster = sch_cluster_find(p, name);
    const char *why = deleted ? "its cluster was deleted" : "its cluster is fenced";
    if (!cluster)
        return;
    if (sch_cluster_state(cluster) == SCH_CLUSTER_GONE) {
        sch_list_splice(&cluster->unnamed, &cluster->kept);
        sch_heap_remove(&p->stopping, &cluster->stopping);
        lose_unnamed(p, cluster, why);
        return;
    }
    sch_cluster_down(p, name);
    if (sch_cluster_state(cluster) == SCH_CLUSTER_DOWN)
        sch_heap_remove(&p->leases, &cluster->lease);
    cluster_move(cluster, SCH_CLUSTER_GONE);
    count_capacity(p);
    sch_cluster_learned(p, cluster);
    SY_ASSERT(sch_list_empty(&cluster->unnamed));
    sch_list_splice(&cluster->unnamed, &cluster->attempts);
    sch_list_splice(&cluster->unnamed, &cluster->kept);
    lose_unnamed(p, cluster, why);
    sch_recovery_cluster_done(p, cluster);
}

void sch_cluster_inventory_complete(struct sch_partition *p, const struct sch_cluster_said *said)
{
    struct sch_cluster *cluster = sch_cluster_find(p, said->name);
    if (!cluster || !sch_cluster_connected(cluster))
        return;
    bool joins = sch_cluster_state(cluster) == SCH_CLUSTER_JOINING;
    if (!said->owed)
        sch_list_splice(&cluster->unnamed, &cluster->kept);
    if (joins || !said->owed)
        sch_outs_keep_unnamed(p, cluster, said->owed);
    if (joins)
        cluster_move(cluster, SCH_CLUSTER_READY);
    lose_unnamed(p, cluster, "its cluster came back without it");
    if (!joins)
        return;
    sch_recovery_cluster_done(p, cluster);
    sch_cluster_learned(p, cluster);
}

void sch_cluster_stopped(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&p->stopping)) && top->key <= p->now_ns) {
        struct sch_cluster *cluster = sy_container_of(top, struct sch_cluster, stopping);
        SY_ASSERT(sch_cluster_state(cluster) == SCH_CLUSTER_READY ||
                  sch_cluster_state(cluster) == SCH_CLUSTER_GONE);
        sch_outs_stopped(p, cluster, &cluster->unnamed);
        lose_unnamed(p, cluster, "its cluster has not named it, and its agent has stopped it");
    }
}

/* It is gone when nothing is left of it: until then what it has may still be named by it. */
void sch_cluster_leases(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    bool blind = sch_cluster_blind(p);
    while ((top = sch_heap_top(&p->leases)) && top->key <= p->now_ns) {
        struct sch_cluster *cluster = sy_container_of(top, struct sch_cluster, lease);
        SY_ASSERT(sch_cluster_state(cluster) == SCH_CLUSTER_DOWN);
        if (blind && !sch_list_empty(&cluster->attempts)) {
            sch_heap_set(&p->leases, &cluster->lease, p->now_ns + p->options.cluster_lease_ns);
            continue;
        }
        lose_silent(p, cluster, p->options.looks_max,
                    "its cluster was silent for longer than its lease");
        if (!sch_list_empty(&cluster->attempts))
            return; /* its lease stays due, so a tick at once goes on */
        sch_heap_remove(&p->leases, &cluster->lease);
        cluster_move(cluster, SCH_CLUSTER_GONE);
        count_capacity(p);
        sch_cluster_learned(p, cluster);
    }
}

/* ---- an observer that was blind restarts the grace, once ---- */

void sch_cluster_watch(struct sch_partition *p, int64_t now_ns)
{
    int64_t gap_ns = now_ns - p->now_ns, lease_ns = p->options.cluster_lease_ns;
    if (gap_ns > lease_ns / 2) {
        sch_infeasible_postpone(p, gap_ns);
        restart_graces(p, now_ns);
    }
    if (gap_ns > p->options.recovery_wait_ns / 2)
        restart_recovery(p, now_ns);
}

int64_t sch_cluster_watch_ns(const struct sch_partition *p)
{
    int64_t at = SY_TIME_NEVER;
    if (p->leases.count > 0 || p->doomed.count > 0)
        at = p->now_ns + p->options.cluster_lease_ns / 4;
    if (p->recovery_end_ns != SY_TIME_NEVER) {
        int64_t recovery = p->now_ns + p->options.recovery_wait_ns / 4;
        at = recovery < at ? recovery : at;
    }
    return at;
}

/* ---- what reports mean ---- */

/* The attempt that the report names is the one that we wait for. */
static bool is_current(const struct sch_action_impl *a, const struct sch_report *report)
{
    enum sch_action_state state = sch_action_state(a);
    return (state == SCH_ACTION_ASSIGNED || state == SCH_ACTION_RUNNING) &&
           a->base.number == report->number && a->base.attempt_epoch == report->epoch &&
           strcmp(a->base.cluster->name, report->cluster) == 0;
}

/* Assignments are not durable: any later one of an earlier epoch may be the one that is out. When
 * two are, the newer has the higher fencing token, and wins. */
static bool is_adoptable(const struct sch_partition *p, const struct sch_action_impl *a,
                         const struct sch_report *report)
{
    if (report->epoch >= p->options.epoch || report->number <= a->base.ended ||
        report->number > SCH_ATTEMPT_NUMBER_MAX)
        return false;
    enum sch_action_state state = sch_action_state(a);
    if (state == SCH_ACTION_RECOVERING)
        return true;
    bool out = state == SCH_ACTION_ASSIGNED || state == SCH_ACTION_RUNNING;
    if (!out || a->base.attempt_epoch == p->options.epoch)
        return false;
    return report->epoch > a->base.attempt_epoch ||
           (report->epoch == a->base.attempt_epoch && report->number > a->base.number);
}

static void cancel(struct sch_partition *p, const struct sch_report *attempt, const char *reason)
{
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_CANCEL);
    effect->u.cancel.cluster = attempt->cluster;
    effect->u.cancel.action_id = attempt->action_id;
    effect->u.cancel.number = attempt->number;
    effect->u.cancel.epoch = attempt->epoch;
    effect->u.cancel.reason = reason;
}

static void ack(struct sch_partition *p, const struct sch_report *report)
{
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_ACK);
    effect->u.ack.cluster = report->cluster;
    effect->u.ack.action_id = report->action_id;
    effect->u.ack.number = report->number;
    effect->u.ack.epoch = report->epoch;
}

static void runs(struct sch_partition *p, struct sch_action_impl *a,
                 const struct sch_report *attempt)
{
    if (sch_action_state(a) != SCH_ACTION_ASSIGNED)
        return;
    sch_action_move(p, a, SCH_ACTION_RUNNING);
    sch_action_out_changed(p, a);
    sch_action_event(p, a, NULL, NULL, attempt);
}

static void adopt(struct sch_partition *p, struct sch_action_impl *a, struct sch_cluster *cluster,
                  const struct sch_report *attempt, bool started)
{
    enum sch_action_state from = sch_action_state(a);
    if (from == SCH_ACTION_ASSIGNED || from == SCH_ACTION_RUNNING) {
        struct sch_report older = {.cluster = a->base.cluster->name,
                                   .action_id = a->base.id,
                                   .number = a->base.number,
                                   .epoch = a->base.attempt_epoch};
        cancel(p, &older, "a newer attempt runs elsewhere");
        sch_list_remove(&a->link);
        sch_cluster_count(a, -1);
        a->base.cluster = cluster;
        sch_cluster_count(a, 1);
        sch_cluster_take(p, cluster, a);
    }
    a->base.number = attempt->number;
    a->base.attempt_epoch = attempt->epoch;
    if (from == SCH_ACTION_RECOVERING)
        sch_action_occupy(p, a, cluster, SCH_ACTION_ASSIGNED);
    sch_action_out_changed(p, a);
    if (started)
        runs(p, a, attempt);
    SY_ASSERT(is_current(a, attempt));
}

/* What both STARTED and an inventory entry say: the cluster holds this attempt. */
static bool hold(struct sch_partition *p, const struct sch_report *attempt, bool started)
{
    struct sch_cluster *cluster = sch_cluster_find(p, attempt->cluster);
    struct sch_action_impl *a = sch_action_find(p, attempt->action_id);
    if (!cluster || !sch_cluster_connected(cluster))
        return true; /* it crossed with a disconnect: the next inventory says it again */
    if (a && is_current(a, attempt)) {
        sch_list_remove(&a->link); /* it may have been unnamed so far */
        sch_cluster_take(p, cluster, a);
        if (started)
            runs(p, a, attempt);
        return true;
    }
    if (a && is_adoptable(p, a, attempt) && sch_action_gang_of(a) &&
        p->recovery_end_ns == SY_TIME_NEVER) {
        sch_action_lost(p, a, "a newer attempt of it runs elsewhere", NULL);
    } else if (a && is_adoptable(p, a, attempt)) {
        adopt(p, a, cluster, attempt, started);
        return true;
    }
    cancel(p, attempt, "not wanted");
    return false;
}

void sch_cluster_inventory(struct sch_partition *p, const struct sch_report *attempt, bool started)
{
    if (!hold(p, attempt, started))
        ack(p, attempt);
}

/* Until its inventory is complete only that says what a cluster holds: a STARTED that is older than
 * the loss of its attempt must not hide that the inventory lacks it. */
void sch_cluster_started(struct sch_partition *p, const struct sch_report *report)
{
    const struct sch_cluster *cluster = sch_cluster_find(p, report->cluster);
    struct sch_action_impl *a = sch_action_find(p, report->action_id);
    bool listing = cluster && sch_cluster_state(cluster) == SCH_CLUSTER_JOINING;
    if (listing && a && is_current(a, report))
        runs(p, a, report);
    else if (!listing || !a || !is_adoptable(p, a, report))
        (void)hold(p, report, true);
}

void sch_cluster_outcome(struct sch_partition *p, const struct sch_report *report)
{
    struct sch_action_impl *a = sch_action_find(p, report->action_id);
    struct sch_cluster *cluster = sch_cluster_find(p, report->cluster);
    bool current = a && is_current(a, report);
    if (!current && a && cluster && sch_action_state(a) == SCH_ACTION_RECOVERING &&
        is_adoptable(p, a, report)) {
        a->base.number = report->number;
        a->base.attempt_epoch = report->epoch;
        a->base.cluster = cluster;
        current = true;
    }
    if (current)
        sch_action_outcome(p, a, report);
    ack(p, report);
}

void sch_cluster_returned(struct sch_partition *p, const struct sch_report *report)
{
    struct sch_action_impl *a = sch_action_find(p, report->action_id);
    if (!a || !is_current(a, report))
        return; /* while RECOVERING: nobody else will report it, so the wait's end queues it */
    if (sch_action_state(a) == SCH_ACTION_ASSIGNED)
        sch_action_returned(p, a);
    else
        sch_action_lost(p, a, "given back after it had started", report);
}
