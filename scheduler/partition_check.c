#include "scheduler/action_impl.h"
#include "scheduler/partition_cache.h"
#include "scheduler/partition_elsewhere.h"
#include "scheduler/partition_gang.h"
#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_reclaim.h"
#include "scheduler/partition_reserve.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_slice.h"
#include "scheduler/partition_turn.h"

#include <stdlib.h>
#include <string.h>

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
    uint64_t actions, timers, waiting, held, attempts, keyed, cached, cache_waiting, lanes;
    uint64_t ganged, reserves;
    struct sch_lane *first; /* of all that stand in the tree of turns */
};

static void check_timer(const struct sch_action_impl *a)
{
    int64_t at = sch_action_timer_ns(a);
    SY_ASSERT(sch_heap_has(&a->timer) == (at != SY_TIME_NEVER));
    SY_ASSERT(at == SY_TIME_NEVER || a->timer.key == at);
    SY_ASSERT(at != SY_TIME_NEVER || sch_action_state(a) != SCH_ACTION_BACKOFF ||
              sch_gang_follows(a));
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

/* What a state has. A record ends in its first step, so what has no spec is a condition. */
static void check_state(const struct sch_action_impl *a)
{
    enum sch_action_state state = sch_action_state(a);
    bool out = state == SCH_ACTION_ASSIGNED || state == SCH_ACTION_RUNNING;
    bool level = state == SCH_ACTION_QUEUED || (state == SCH_ACTION_HELD && !sch_gang_follows(a));
    bool linked = out || level || state == SCH_ACTION_RECOVERING || state == SCH_ACTION_CACHE_WAIT;
    SY_ASSERT(!sch_action_is_final(&a->base) && sch_action_table.invariant(a, state));
    SY_ASSERT(level == (a->level != NULL));
    SY_ASSERT(linked == sch_link_in_list(&a->link));
    SY_ASSERT(out == (a->base.cluster != NULL));
    SY_ASSERT((state == SCH_ACTION_PAUSED) == (a->base.spec == NULL));
    SY_ASSERT(!a->base.spec || a->base.spec->refs > 0);
    SY_ASSERT((state == SCH_ACTION_GROUP) == (a->base.spec && a->base.spec->group));
    SY_ASSERT((a->lane == NULL) == (state == SCH_ACTION_GROUP || state == SCH_ACTION_PAUSED));
    SY_ASSERT(!(state == SCH_ACTION_GROUP && a->base.sealed && a->base.children_live == 0));
    SY_ASSERT(!(state == SCH_ACTION_CACHE_WAIT) || a->rare->cache->producer != a);
}

static void check_action(struct sch_partition *p, struct sch_action_impl *a, struct tally *tally)
{
    enum sch_action_state state = sch_action_state(a);
    check_state(a);
    SY_ASSERT(sch_action_find(p, a->base.id) == a);
    SY_ASSERT(sch_action_find_by_name(p, a->base.run, a->base.name) == a);
    SY_ASSERT(a->base.number >= a->base.ended && a->base.ended >= a->base.attempts);
    SY_ASSERT((a->base.run->root == &a->base) == (a->base.parent == NULL));
    SY_ASSERT(!a->base.cluster || a->base.attempt_epoch <= p->options.epoch);
    SY_ASSERT(a->base.deaths <= a->base.system_failures &&
              (a->base.deaths == 0 || a->base.suspect));
    check_timer(a);
    check_children(a);
    tally->states[state]++;
    tally->actions++;
    tally->timers += sch_heap_has(&a->timer);
    tally->keyed += a->rare && a->rare->cache;
    tally->ganged += sch_action_gang_of(a) != NULL;
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

/* The next action of the run after this one, parents before children. */
static struct sch_action_impl *next_in_run(struct sch_action_impl *a)
{
    if (a->child_first)
        return a->child_first;
    while (a->base.parent) {
        struct sch_action_impl *parent = sch_action_impl(a->base.parent);
        if (a->sibling_next != parent->child_first)
            return a->sibling_next;
        a = parent;
    }
    return NULL;
}

static size_t check_fifo(const struct sch_fifo *fifo, enum sch_action_state state)
{
    uint64_t waiting = 0;
    SY_ASSERT(list_length(&fifo->levels_all) == fifo->level_count);
    for (struct sch_link *link = fifo->levels_all.next; link != &fifo->levels_all;
         link = link->next) {
        struct sch_level *level = sy_container_of(link, struct sch_level, link);
        size_t n = list_length(&level->actions);
        SY_ASSERT(level->fifo == fifo && sch_heap_has(&level->entry) == (n > 0));
        SY_ASSERT(level->count == n);
        waiting += n;
        for (struct sch_link *at = level->actions.next; at != &level->actions; at = at->next) {
            const struct sch_action_impl *a = sy_container_of(at, struct sch_action_impl, link);
            SY_ASSERT(a->level == level && sch_action_state(a) == state);
            SY_ASSERT(a->base.priority == level->priority);
            SY_ASSERT(!fifo->lane || a->lane == fifo->lane);
        }
    }
    SY_ASSERT(waiting == fifo->waiting);
    sch_heap_check(&fifo->levels);
    return waiting;
}

/* No more than may be out, and nothing held while a slot is free. */
static void check_gate(const struct sch_run_impl *run, struct tally *tally)
{
    const struct sch_run *base = &run->base;
    uint32_t used = 0, parents = 0, recovering = 0, follow = 0;
    SY_ASSERT((base->concurrency_max > 0) == (run->gate != NULL));
    if (!run->gate)
        return;
    struct sch_action_impl *a = sch_action_impl(base->root);
    for (; a; a = next_in_run(a)) {
        enum sch_action_state state = sch_action_state(a);
        bool slot = state == SCH_ACTION_QUEUED || state == SCH_ACTION_GANG_WAIT ||
                    state == SCH_ACTION_ASSIGNED || state == SCH_ACTION_RUNNING;
        follow += state == SCH_ACTION_HELD && sch_gang_follows(a);
        used += slot;
        parents += slot && a->child_first;
        recovering += state == SCH_ACTION_RECOVERING;
    }
    SY_ASSERT(used == base->concurrency_used && used <= base->concurrency_max);
    SY_ASSERT(parents == base->concurrency_parents && recovering == run->gate->recovering);
    SY_ASSERT(base->concurrency_held == follow + check_fifo(&run->gate->held, SCH_ACTION_HELD));
    const struct sch_action_impl *first = sch_fifo_first(&run->gate->held);
    const struct sch_gang *gang = first ? sch_action_gang_of(first) : NULL;
    uint32_t asked = gang ? gang->shape.size : 1;
    SY_ASSERT(!first || used + asked > base->concurrency_max || recovering > 0);
    SY_ASSERT(!sch_link_in_list(&run->gate->touched));
    tally->held += base->concurrency_held;
}

static void check_runs(struct sch_partition *p, struct tally *tally)
{
    uint64_t live = 0;
    for (struct sch_link *link = p->runs.next; link != &p->runs; link = link->next) {
        struct sch_run_impl *run = sy_container_of(link, struct sch_run_impl, link);
        SY_ASSERT(sch_partition_find_run_by_id(p, run->base.id) == &run->base);
        SY_ASSERT(run->base.root && run->base.actions_live > 0);
        SY_ASSERT(run->base.actions_total >= run->base.actions_live);
        SY_ASSERT(run->refs > run->base.actions_live);
        check_gate(run, tally);
        live += run->base.actions_live;
    }
    SY_ASSERT(live == p->actions_live);
    SY_ASSERT(tally->held == tally->states[SCH_ACTION_HELD]);
    SY_ASSERT(list_length(&p->runs) == p->runs_by_id.count);
    SY_ASSERT(p->runs_by_id.count == p->runs_by_name.count);
}

/* The oldest is the producer, the others wait in order of age. */
static void check_cache(struct sch_partition *p, struct sch_cache *cache, struct tally *tally)
{
    const struct sch_action_impl *last = cache->producer;
    SY_ASSERT(sch_cache_find(p, cache->key) == cache && !sch_link_in_list(&cache->touched));
    SY_ASSERT(last && !cache->source && last->rare->cache == cache);
    SY_ASSERT(sch_action_find(p, last->base.id) == last);
    SY_ASSERT(sch_action_state(last) != SCH_ACTION_CACHE_WAIT);
    tally->cached++;
    for (struct sch_link *link = cache->waiters.next; link != &cache->waiters; link = link->next) {
        const struct sch_action_impl *a = sy_container_of(link, struct sch_action_impl, link);
        SY_ASSERT(a->rare->cache == cache && sch_action_state(a) == SCH_ACTION_CACHE_WAIT);
        SY_ASSERT(a->base.id > last->base.id);
        last = a;
        tally->cached++;
        tally->cache_waiting++;
    }
}

static void check_caches(struct sch_partition *p, struct tally *tally)
{
    for (uint32_t i = 0; i < p->caches.size; i++) {
        for (struct sch_table_link *link = p->caches.buckets[i]; link; link = link->next)
            check_cache(p, sy_container_of(link, struct sch_cache, by_key), tally);
    }
    SY_ASSERT(tally->cached == tally->keyed);
    SY_ASSERT(tally->cache_waiting == tally->states[SCH_ACTION_CACHE_WAIT]);
}

/* All wait, or all are out, on one cluster; only while it is not known what is out may both be. */
static void check_gang(const struct sch_partition *p, const struct sch_gang *gang)
{
    uint32_t live = 0, states[SCH_ACTION_STATES] = {0};
    const struct sch_action_impl *any = NULL;
    const struct sch_cluster *cluster = NULL;
    for (uint32_t i = 0; i < gang->shape.size; i++) {
        const struct sch_action_impl *a = gang->members[i];
        if (!a)
            continue;
        SY_ASSERT(a->rare->gang == gang && a->rare->rank == i);
        any = any ? any : a;
        cluster = cluster ? cluster : a->base.cluster;
        SY_ASSERT(a->base.parent == any->base.parent &&
                  a->base.spec->retries == any->base.spec->retries);
        SY_ASSERT(a->base.ended == any->base.ended && a->base.attempts == any->base.attempts);
        SY_ASSERT(a->base.user_failures == any->base.user_failures);
        SY_ASSERT(a->base.system_failures == any->base.system_failures);
        SY_ASSERT(p->recovery_end_ns != SY_TIME_NEVER || a->base.cluster == cluster);
        states[sch_action_state(a)]++;
        live++;
    }
    uint32_t out = states[SCH_ACTION_ASSIGNED] + states[SCH_ACTION_RUNNING];
    SY_ASSERT(live == gang->live && live > 0 && gang->refs >= live && !gang->ending);
    SY_ASSERT(states[SCH_ACTION_QUEUED] <= 1);
    if (sch_link_in_list(&gang->broken)) {
        SY_ASSERT(states[SCH_ACTION_GANG_WAIT] == live);
        return;
    }
    SY_ASSERT(out == live || out + states[SCH_ACTION_RECOVERING] == live ||
              states[SCH_ACTION_HELD] == gang->shape.size ||
              states[SCH_ACTION_BACKOFF] == gang->shape.size ||
              states[SCH_ACTION_QUEUED] + states[SCH_ACTION_GANG_WAIT] == gang->shape.size);
}

static void check_gangs(const struct sch_partition *p, const struct tally *tally)
{
    uint32_t count = 0;
    uint64_t members = 0;
    for (struct sch_link *link = p->gangs.next; link != &p->gangs; link = link->next) {
        const struct sch_gang *gang = sy_container_of(link, struct sch_gang, link);
        check_gang(p, gang);
        members += gang->live;
        count++;
    }
    SY_ASSERT(count == p->gangs_by_id.count && members == tally->ganged);
}

/* One that has not followed its cluster may say anything, and is used by nobody. */
static void check_pair(const struct sch_partition *p, const struct sch_class *class, size_t index)
{
    const struct sch_pair *pair = class->pairs[index];
    bool current = sch_pair_is_current(pair), able = sch_pair_is_able(pair);
    bool open = able && pair->granted > pair->assigned;
    SY_ASSERT(pair->class == class && pair->cluster == p->clusters[index]);
    SY_ASSERT(pair->entry.tie == pair->cluster->index && pair->assigned <= pair->granted);
    SY_ASSERT(sch_link_in_list(&pair->follows) &&
              (!current || pair->stream == pair->cluster->stream));
    bool listed = sch_heap_has(&pair->entry), short_of = sch_link_in_list(&pair->short_link);
    SY_ASSERT(!open || listed || short_of);
    SY_ASSERT(open || !short_of || !current);
    if (!open && listed && current) /* more grants were expected, or more room */
        SY_ASSERT(able && pair->expected_ns > 0);
    if (listed && short_of)
        SY_ASSERT(pair->expected_ns > 0);
    SY_ASSERT(sch_heap_has(&pair->avoided) == (pair->avoided_until_ns > 0 || pair->failing > 0));
    SY_ASSERT(pair->failing <= SCH_FAILING_ALL &&
              (pair->failing == 0 || pair->failures < SCH_AVOID_AFTER));
    SY_ASSERT((able && !pair->told) == sch_link_in_list(&pair->untold) || !current);
}

/* Nodes that clusters are asked to keep. */
static void check_reserves(const struct sch_class *class, struct tally *tally)
{
    uint32_t reserves = 0;
    for (size_t i = 0; i < class->pair_count; i++) {
        SY_ASSERT(class->pairs[i]->reserves <= class->pairs[i]->cluster->reserves);
        reserves += class->pairs[i]->reserves;
    }
    SY_ASSERT(reserves == class->reserves && reserves <= SCH_RESERVE_OF_CLASS_MAX);
    SY_ASSERT(reserves == 0 || class->gang.size == 0);
    tally->reserves += reserves;
}

static uint64_t check_seat(const struct sch_seat *seat)
{
    uint64_t ready = 0;
    sch_heap_check(&seat->children);
    for (uint32_t i = 0; i < seat->children.count; i++) {
        const struct sch_seat *child = sy_container_of(sch_heap_at(&seat->children, i),
                                                       struct sch_seat, entry);
        SY_ASSERT(child->parent == seat && child->class == seat->class && !child->stopped);
        SY_ASSERT(child->ready > 0 && child->share->parent == seat->share);
        SY_ASSERT(child->contested == (seat->children.count > 1));
        if (!sch_seat_is_lane(child))
            SY_ASSERT(check_seat(child) == child->ready);
        ready += child->ready;
    }
    return ready;
}

/* A head stands with the best below it, which is where the tops lead. */
static void check_head(const struct sch_seat *head)
{
    const struct sch_seat *at = head;
    SY_ASSERT((head->turn_lane != NULL) == sch_heap_has(&head->turn));
    if (!head->turn_lane)
        return;
    while (!sch_seat_is_lane(at))
        at = sy_container_of(sch_heap_top(&at->children), struct sch_seat, entry);
    SY_ASSERT(&head->turn_lane->seat == at);
    SY_ASSERT(head->turn.tie == (uint32_t)sch_fifo_first(&head->turn_lane->queue)->base.id);
}

/* It asks for what its actions do, and for what its rule adds. */
static void check_request(const struct sch_class *class)
{
    struct sch_resources request = sch_rule_request(class->rule, &class->asked);
    SY_ASSERT(sch_resources_equal(&class->request, &request));
}

/* Who is not asked could go nowhere. */
static void check_closed(const struct sch_partition *p, const struct sch_class *class)
{
    const struct sch_use need = sch_use_of(&class->request);
    if (!class->root.turn_lane || !sch_turns_closed(p))
        return;
    SY_ASSERT(class->gang.size == 0);
    for (size_t i = 0; i < p->cluster_count; i++) {
        const struct sch_cluster *c = p->clusters[i];
        SY_ASSERT(!sch_cluster_connected(c) || !sch_cluster_has_room(c, &need));
    }
}

static void check_lane(struct sch_lane *lane, const struct sch_class *class, struct tally *tally)
{
    uint64_t waiting = check_fifo(&lane->queue, SCH_ACTION_QUEUED);
    SY_ASSERT(lane->seat.class == class && lane->queue.lane == lane && lane->seat.refs > 0);
    SY_ASSERT(lane->seat.ready == waiting && waiting <= lane->seat.refs);
    SY_ASSERT(lane->seat.children.count == 0 && sch_seat_is_lane(&lane->seat));
    bool first = sch_heap_has(&lane->seat.entry);
    SY_ASSERT(first == (waiting > 0 && !lane->seat.stopped));
    tally->lanes++;
}

/* When the last cluster that could run it has left, and it is to end for that. */
static void check_doom(const struct sch_partition *p, const struct sch_class *class)
{
    uint32_t capable = 0, feasible = 0;
    for (size_t i = 0; i < class->pair_count; i++) {
        const struct sch_pair *pair = class->pairs[i];
        bool gone = sch_cluster_state(pair->cluster) == SCH_CLUSTER_GONE;
        bool capable_now = !gone && sch_cluster_may_run(pair->cluster, &class->request,
                                                        &class->gang, class->rule, NULL);
        SY_ASSERT(pair->capable == capable_now || !sch_pair_is_current(pair));
        SY_ASSERT(pair->capable || gone || !pair->feasible || !sch_pair_is_current(pair));
        capable += pair->capable;
        feasible += pair->feasible;
    }
    SY_ASSERT(feasible == class->feasible);
    SY_ASSERT(capable == class->capable && (capable > 0 || class->incapable_ns <= sch_awake_ns(p)));
    SY_ASSERT(sch_class_is_doomed(class) == sch_heap_has(&class->doom) ||
              sch_link_in_list(&class->touched));
}

/* Some of its pairs are to follow their clusters: then it looks again whether it may run. */
static bool follows(const struct sch_class *class)
{
    for (size_t i = 0; i < class->pair_count; i++) {
        if (!sch_pair_is_current(class->pairs[i]))
            return true;
    }
    return false;
}

static void check_class(struct sch_partition *p, struct sch_class *class, struct tally *tally)
{
    SY_ASSERT(sch_class_find(p, class->id) == class);
    SY_ASSERT((class->refs == 0) == sch_link_in_list(&class->idle));
    SY_ASSERT(class->pair_count == p->cluster_count ||
              (class->pair_count < p->cluster_count && !sch_list_empty(&p->widening.todo)));
    uint64_t waiting = 0, refs = 0;
    for (struct sch_link *link = class->lanes.next; link != &class->lanes; link = link->next) {
        struct sch_lane *lane = sy_container_of(link, struct sch_lane, link);
        check_lane(lane, class, tally);
        waiting += lane->queue.waiting;
        refs += lane->seat.refs;
    }
    SY_ASSERT(waiting == class->waiting && refs == class->refs);
    SY_ASSERT(check_seat(&class->root) == class->root.ready && class->root.ready <= waiting);
    for (size_t i = 0; i < class->pair_count; i++)
        check_pair(p, class, i);
    check_doom(p, class);
    sch_heap_check(&class->open);
    bool undecided = sch_link_in_list(&class->undecided), stands = class->root.turn_lane != NULL;
    SY_ASSERT(sch_class_is_runnable(class) == (undecided || stands) || follows(class));
    SY_ASSERT(!stands || class->root.turn_lane->seat.class == class);
    check_closed(p, class);
    check_request(class);
    if (!undecided)
        check_head(&class->root);
    if (stands && !undecided &&
        (!tally->first || sch_lane_before(class->root.turn_lane, tally->first)))
        tally->first = class->root.turn_lane;
    tally->waiting += waiting;
}

/* Each pair is with its cluster, or still to follow it. Who is short of room has none, unless that
 * has just changed. */
static void check_follows(const struct sch_partition *p, size_t pairs)
{
    size_t count = list_length(&p->stale);
    for (size_t i = 0; i < p->cluster_count; i++) {
        const struct sch_cluster *cluster = p->clusters[i];
        count += list_length(&cluster->pairs);
        for (struct sch_link *at = cluster->pairs.next; at != &cluster->pairs; at = at->next) {
            const struct sch_pair *pair = sy_container_of(at, struct sch_pair, follows);
            SY_ASSERT(pair->cluster == cluster && sch_pair_is_current(pair));
        }
        for (struct sch_link *at = cluster->short_of_room.next; at != &cluster->short_of_room;
             at = at->next) {
            const struct sch_pair *pair = sy_container_of(at, struct sch_pair, short_link);
            struct sch_use need = sch_use_of(&pair->class->request);
            SY_ASSERT(!sch_cluster_has_room(cluster, &need) || !sch_pair_is_current(pair) ||
                      sch_link_in_list(&cluster->roomy));
        }
    }
    SY_ASSERT(count == pairs);
}

static void check_classes(struct sch_partition *p, struct tally *tally)
{
    uint64_t refs = 0;
    size_t unchecked = 0, pairs = 0, reserved = 0;
    for (struct sch_link *link = p->classes.next; link != &p->classes; link = link->next) {
        struct sch_class *class = sy_container_of(link, struct sch_class, link);
        check_class(p, class, tally);
        check_reserves(class, tally);
        refs += class->refs;
        unchecked += class->unchecked_from != 0;
        pairs += class->pair_count;
        reserved += class->reserves > 0;
    }
    SY_ASSERT(unchecked == list_length(&p->unchecked.todo) + list_length(&p->unchecked.done));
    SY_ASSERT(list_length(&p->widening.todo) + list_length(&p->widening.done) == p->class_count);
    check_follows(p, pairs);
    SY_ASSERT(list_length(&p->reserving.todo) + list_length(&p->reserving.done) == p->class_count);
    SY_ASSERT(list_length(&p->reclaiming.todo) + list_length(&p->reclaiming.done) ==
              p->class_count);
    SY_ASSERT(list_length(&p->reserved) == reserved);
    SY_ASSERT(tally->reserves == p->reserves && p->reserves <= SCH_RESERVES_MAX);
    SY_ASSERT(p->reserves == 0 || p->reserve_at_ns != SY_TIME_NEVER);
    SY_ASSERT(tally->waiting == tally->states[SCH_ACTION_QUEUED]);
    SY_ASSERT(refs ==
              p->actions_live - tally->states[SCH_ACTION_GROUP] - tally->states[SCH_ACTION_PAUSED]);
    SY_ASSERT(list_length(&p->classes) == p->class_count);
    SY_ASSERT(p->classes_by_id.count == p->class_count);
    SY_ASSERT(p->classes_by_request.count == p->class_count);
    SY_ASSERT(list_length(&p->classes_idle) == p->class_idle_count);
    SY_ASSERT(p->class_idle_count <= SCH_CLASSES_IDLE_MAX);
}

/* Counts them into ret_out. */
static size_t check_attempts(const struct sch_cluster *cluster, const struct sch_link *attempts,
                             struct sch_cluster_out *ret_out)
{
    bool ordered = cluster->draining && attempts == &cluster->attempts, asked = true;
    for (const struct sch_link *link = attempts->next; link != attempts; link = link->next) {
        const struct sch_action_impl *a = sy_container_of((struct sch_link *)(uintptr_t)link,
                                                          struct sch_action_impl, link);
        enum sch_action_state state = sch_action_state(a);
        SY_ASSERT(a->base.cluster == cluster);
        SY_ASSERT(state == SCH_ACTION_ASSIGNED || state == SCH_ACTION_RUNNING);
        ret_out->assigned += state == SCH_ACTION_ASSIGNED;
        ret_out->running += state == SCH_ACTION_RUNNING;
        SY_ASSERT(!ordered || asked || a->asked != cluster->asking);
        asked = a->asked == cluster->asking;
    }
    SY_ASSERT(!ordered || asked || sch_link_in_list(&cluster->drain));
    return list_length(attempts);
}

static void check_drain(const struct sch_partition *p, const struct sch_cluster *cluster)
{
    bool connected = sch_cluster_connected(cluster), due = sch_heap_has(&cluster->drain_due);
    SY_ASSERT(!cluster->draining || (connected && cluster->cordoned));
    SY_ASSERT(cluster->draining || (!cluster->stops && !due && !sch_link_in_list(&cluster->drain)));
    SY_ASSERT(!due || (!cluster->stops && p->drains.count > 0));
}

/* None is given up like others. */
static bool all_wait(const struct sch_link *attempts)
{
    const struct sch_link *link = attempts->next;
    for (; link != attempts; link = link->next) {
        const struct sch_action_impl *a = sy_container_of((struct sch_link *)(uintptr_t)link,
                                                          struct sch_action_impl, link);
        if (!sch_action_waits(a) && !sch_action_stops(a))
            return false;
    }
    return true;
}

static void check_clusters(struct sch_partition *p, struct tally *tally)
{
    size_t awaited = 0, down = 0;
    for (size_t i = 0; i < p->cluster_count; i++) {
        struct sch_cluster *cluster = p->clusters[i];
        enum sch_cluster_state state = sch_cluster_state(cluster);
        SY_ASSERT(cluster->index == i && sch_cluster_find(p, cluster->name) == cluster);
        SY_ASSERT((state == SCH_CLUSTER_DOWN) == sch_heap_has(&cluster->lease));
        struct sch_cluster_out out = {0};
        size_t named = check_attempts(cluster, &cluster->attempts, &out);
        size_t unnamed = check_attempts(cluster, &cluster->unnamed, &out);
        size_t kept = check_attempts(cluster, &cluster->kept, &out);
        SY_ASSERT(out.assigned == cluster->assigned && out.running == cluster->running);
        check_drain(p, cluster);
        bool losing = sch_link_in_list(&cluster->losing);
        SY_ASSERT(unnamed == 0 || (state == SCH_CLUSTER_JOINING) != losing);
        SY_ASSERT(!losing || state == SCH_CLUSTER_READY || state == SCH_CLUSTER_GONE);
        SY_ASSERT(named == 0 || sch_cluster_connected(cluster) || state == SCH_CLUSTER_DOWN ||
                  state == SCH_CLUSTER_EXPECTED);
        SY_ASSERT(kept == 0 || state == SCH_CLUSTER_GONE || state == SCH_CLUSTER_DOWN ||
                  state == SCH_CLUSTER_READY);
        SY_ASSERT(all_wait(&cluster->kept) &&
                  (state != SCH_CLUSTER_EXPECTED || all_wait(&cluster->attempts)));
        tally->attempts += named + unnamed + kept;
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
        &p->classes_by_id, &p->levels,       &p->classes_by_request, &p->clusters_by_name,
        &p->caches,        &p->gangs_by_id,  &p->shares_by_key,      &p->seats,
        &p->rules};
    for (size_t i = 0; i < SY_COUNT_OF(tables); i++)
        sch_table_check(tables[i]);
    sch_heap_check(&p->timers);
    sch_heap_check(&p->flushes);
    sch_heap_check(&p->leases);
    sch_heap_check(&p->stopping);
    sch_heap_check(&p->drains);
    sch_heap_check(&p->ages);
    sch_heap_check(&p->avoided);
    sch_heap_check(&p->patience);
    sch_heap_check(&p->doomed);
}

/* What is there and in use of each share, by the actions themselves. */
static void count_use(struct sch_partition *p, struct sch_use *out, uint64_t *live)
{
    for (uint32_t i = 0; i < p->actions_by_id.size; i++) {
        for (struct sch_table_link *link = p->actions_by_id.buckets[i]; link; link = link->next) {
            struct sch_action_impl *a = sy_container_of(link, struct sch_action_impl, by_id);
            for (struct sch_share *at = a->lane ? a->lane->seat.share : NULL; at; at = at->parent) {
                live[at->check_index]++;
                if (!sch_state_is_used(sch_action_state(a)))
                    continue;
                struct sch_use one = sch_use_of(&sch_action_class(a)->request);
                out[at->check_index].actions += one.actions;
                out[at->check_index].cpu_milli += one.cpu_milli;
                out[at->check_index].memory_bytes += one.memory_bytes;
                out[at->check_index].gpu_milli += one.gpu_milli;
            }
        }
    }
}

/* And of that what gangs have that wait in their clusters. */
static void check_waits(struct sch_partition *p)
{
    struct sch_use *waits = sy_calloc(p->shares_by_key.count, sizeof(*waits));
    for (struct sch_link *link = p->gangs_sent.next; link != &p->gangs_sent; link = link->next) {
        const struct sch_gang *gang = sy_container_of(link, struct sch_gang, sent);
        SY_ASSERT(gang->live == gang->shape.size);
        for (uint32_t i = 0; i < gang->shape.size; i++) {
            const struct sch_action_impl *a = gang->members[i];
            struct sch_use one = sch_use_of(&sch_action_class(a)->request);
            SY_ASSERT(sch_action_state(a) == SCH_ACTION_ASSIGNED);
            for (struct sch_share *at = a->lane->seat.share; at; at = at->parent) {
                waits[at->check_index].actions += one.actions;
                waits[at->check_index].cpu_milli += one.cpu_milli;
                waits[at->check_index].memory_bytes += one.memory_bytes;
                waits[at->check_index].gpu_milli += one.gpu_milli;
            }
        }
    }
    for (struct sch_link *link = p->shares.next; link != &p->shares; link = link->next) {
        const struct sch_share *share = sy_container_of(link, struct sch_share, link);
        SY_ASSERT(memcmp(&share->waits, &waits[share->check_index], sizeof(*waits)) == 0);
    }
    free(waits);
}

static void check_stopped(const struct sch_share *share, const struct sch_link *list, bool aside,
                          struct tally *tally)
{
    const struct sch_stops *stops = share->stops;
    for (struct sch_link *link = list->next; link != list; link = link->next) {
        const struct sch_seat *seat = sy_container_of(link, struct sch_seat, link);
        struct sch_use need = sch_use_times(&seat->class->request, sch_class_unit(seat->class));
        SY_ASSERT(seat->stopped && seat->share == share && !sch_heap_has(&seat->entry));
        SY_ASSERT(seat->aside == aside && (seat->turn_lane == NULL) == aside && seat->ready > 0);
        SY_ASSERT(stops->least.actions <= need.actions && stops->least.gpu_milli <= need.gpu_milli);
        check_head(seat);
        /* Else it waits for nothing. */
        SY_ASSERT((!aside && stops->open) || !sch_share_takes(share, &need));
        if (!aside && stops->open &&
            (!tally->first || sch_lane_before(seat->turn_lane, tally->first)))
            tally->first = seat->turn_lane;
    }
}

static uint64_t wanted_of(const struct sch_share *share, const struct sch_link *list)
{
    const struct sch_use nothing = {0}, limits = sch_share_limits(share);
    uint64_t wanted = 0;
    for (struct sch_link *link = list->next; link != list; link = link->next) {
        const struct sch_seat *seat = sy_container_of(link, struct sch_seat, link);
        struct sch_use need = sch_use_times(&seat->class->request, sch_class_unit(seat->class));
        wanted += sch_use_fits(&nothing, &need, &limits) ? seat->ready : 0;
    }
    return wanted;
}

static void check_stops(const struct sch_share *share, struct tally *tally)
{
    const struct sch_stops *stops = share->stops;
    if (!stops)
        return;
    check_stopped(share, &stops->seats, false, tally);
    check_stopped(share, &stops->aside, true, tally);
    SY_ASSERT(stops->wanted == wanted_of(share, &stops->seats) + wanted_of(share, &stops->aside));
}

/* Contested ones first; they have moved with each change of the share, or are to. */
static void check_seats(const struct sch_share *share)
{
    bool contested = true, moved = !share->moves_again;
    SY_ASSERT(share->moves_at == &share->seats || sch_link_in_list(&share->moving));
    for (struct sch_link *link = share->seats.next; link != &share->seats; link = link->next) {
        const struct sch_seat *seat = sy_container_of(link, struct sch_seat, link);
        SY_ASSERT(seat->share == share && !seat->stopped && !seat->aside && !seat->turn_lane);
        SY_ASSERT(contested || !seat->contested);
        contested = seat->contested;
        moved &= link != share->moves_at;
        SY_ASSERT(contested || link != share->moves_at);
        SY_ASSERT(!contested || !moved || (uint32_t)seat->entry.key == share->weighted_share);
    }
    sch_heap_check(&share->front.heap);
    for (unsigned up = 0; share->held && up < SCH_SHARE_DEPTH_MAX; up++)
        sch_heap_check(&share->held[up].heap);
}

/* Where its configuration says, or known not to be. */
static void check_parent(const struct sch_share *share)
{
    unsigned depth = 0;
    for (const struct sch_share *at = share->parent; at; at = at->parent)
        depth++;
    SY_ASSERT(depth <= SCH_SHARE_DEPTH_MAX);
    if (share->level != SCH_SHARE_QUEUE || !share->config || sch_link_in_list(&share->misplaced))
        return;
    const char *parent = share->parent->level == SCH_SHARE_QUEUE ? share->parent->key.name : "";
    SY_ASSERT(strcmp(parent, share->config->parent) == 0);
}

static void check_shares(struct sch_partition *p, struct tally *tally)
{
    struct sch_use *out = sy_calloc(p->shares_by_key.count, sizeof(*out));
    uint64_t *live = sy_calloc(p->shares_by_key.count, sizeof(*live));
    uint32_t count = 0;
    for (struct sch_link *link = p->shares.next; link != &p->shares; link = link->next)
        sy_container_of(link, struct sch_share, link)->check_index = count++;
    SY_ASSERT(count == p->shares_by_key.count);
    SY_ASSERT(list_length(&p->weighing.todo) + list_length(&p->weighing.done) == count);
    count_use(p, out, live);
    for (struct sch_link *link = p->shares.next; link != &p->shares; link = link->next) {
        struct sch_share *share = sy_container_of(link, struct sch_share, link);
        SY_ASSERT(share->id <= p->last_share_id && share->refs > 0);
        SY_ASSERT((share->parent == NULL) == (share == p->region));
        SY_ASSERT(share->live == live[share->check_index]);
        SY_ASSERT(sch_link_in_list(&share->preemptible) == sch_share_may_stop(share));
        SY_ASSERT(memcmp(&share->use, &out[share->check_index], sizeof(share->use)) == 0);
        SY_ASSERT(share->weighted_share == sch_share_weigh(p, share, &share->use) ||
                  !sch_list_empty(&p->weighing.todo));
        sch_elsewhere_check(share);
        if (share->level == SCH_SHARE_TENANT)
            sch_tenant_check(p, share);
        check_stops(share, tally);
        check_seats(share);
        check_parent(share);
    }
    free(out);
    free(live);
    check_waits(p);
}

void sch_partition_check(const struct sch_partition *const_p)
{
    struct sch_partition *p = (struct sch_partition *)(uintptr_t)const_p; /* lookups only */
    struct tally tally = {0};
    SY_ASSERT(!p->out && p->spec_unused_count == 0 && !p->orphans && !p->keyed);
    SY_ASSERT(sch_list_empty(&p->gates_touched) && sch_list_empty(&p->caches_touched));
    check_tables(p);
    check_actions(p, &tally);
    check_runs(p, &tally);
    check_caches(p, &tally);
    check_gangs(p, &tally);
    check_classes(p, &tally);
    check_clusters(p, &tally);
    check_shares(p, &tally);
    if (sch_list_empty(&p->undecided)) { /* else some stand with who was next */
        const struct sch_seat *first = sch_turn_first(p);
        SY_ASSERT((first ? first->turn_lane : NULL) == tally.first);
    }
    SY_ASSERT(list_length(&p->recovering) == tally.states[SCH_ACTION_RECOVERING]);
    SY_ASSERT(p->recovery_end_ns != SY_TIME_NEVER || sch_list_empty(&p->recovering));
    SY_ASSERT((p->recovery_end_ns != SY_TIME_NEVER) ==
              (p->clusters_awaited > 0 || p->recovery_ends));
    SY_ASSERT(!p->recovery_ends || p->clusters_awaited == 0);
}
