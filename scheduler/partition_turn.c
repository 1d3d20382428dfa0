/*
 * Whose turn it is over all classes. In each class partition_fair.c knows who is next. A class that
 * may run stands with that lane, at its tenant, in one tree of turns for all classes: each share
 * has a heap of those of its children that have somebody below, by (highest priority below,
 * weighted share), a tenant one of lanes by (priority, age). The way down the tops is whose turn it
 * is; a change of a share moves it among its siblings once, however many classes it has. When
 * somebody else may be next in a class it keeps its place until that is decided, before the next
 * look: most often it is the same lane again.
 *
 * Limits. What a limit stops is a part of a class's tree: the seat of the share that has the limit,
 * with all below. It leaves the tree of its class, and stands with its next lane in the tree of
 * turns of that share. When something of the share ends the tree is open: its first is looked at
 * like one of the tree of all classes, and goes back into its class when it is his turn and he
 * fits. So what comes free lets out as many as it holds, in their order, and not all that wait. One
 * that is too large for what is free steps aside until more is, and is in nobody's way; when no one
 * can fit, by the least that any of them needs, the tree is closed again.
 *
 * Room. A class that no cluster has room for leaves the tree until one has. But when no cluster has
 * room for the least that anybody in the tree needs, all stay where they are and nobody is asked,
 * until there is more: so a little room costs a look at the first few, and not at all that wait for
 * some. This is believed for a while only: what a limit lets out must get to ask clusters for room.
 *
 * What stands in a tree is a head: the root of a class, or a seat that is stopped. Each lane is
 * below one head, and a head stands with the best of those below it.
 */
#include "scheduler/partition_turn.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_ticket.h"

#include <stdlib.h>
#include <string.h>

#define CLOSED_NS SY_NS_PER_S

/* ---- trees of turns ---- */

/* The tree of all classes, or that of the share `up` levels above. */
struct tree {
    bool all;
    unsigned up;
};

static struct sch_front *front_of(struct sch_share *share, struct tree tree)
{
    SY_ASSERT(tree.all || (share->held && tree.up < SCH_SHARE_DEPTH_MAX));
    return tree.all ? &share->front : &share->held[tree.up];
}

static bool is_top(const struct sch_share *share, struct tree tree)
{
    return tree.all ? share->parent == NULL : tree.up == 0;
}

static struct tree tree_above(struct tree tree)
{
    return (struct tree){tree.all, tree.all ? 0 : tree.up - 1};
}

static const struct sch_heap_entry *held_top(const struct sch_share *share)
{
    return share->held ? sch_heap_top(&share->held[0].heap) : NULL;
}

static bool is_open(const struct sch_share *share)
{
    return share->stops && share->stops->open && held_top(share);
}

/* False: nobody stands there. */
static bool priority_below(const struct sch_share *share, const struct sch_front *front, bool all,
                           int32_t *ret)
{
    const struct sch_heap_entry *top = sch_heap_top(&front->heap);
    const struct sch_heap_entry *held = all && is_open(share) ? held_top(share) : NULL;
    if (!top && !held)
        return false;
    int64_t key = !top ? held->key : !held || top->key < held->key ? top->key : held->key;
    *ret = sch_turn_priority(key);
    return true;
}

/* What stands at the share changed, or its weighted share: in its parent's heap, and so on up. */
static void front_update(struct sch_share *share, struct tree tree)
{
    for (; !is_top(share, tree); share = share->parent, tree = tree_above(tree)) {
        struct sch_front *front = front_of(share, tree);
        struct sch_front *above = front_of(share->parent, tree_above(tree));
        int32_t priority;
        if (priority_below(share, front, tree.all, &priority)) {
            int64_t key = sch_turn_key(priority, share->weighted_share);
            if (sch_heap_has(&front->entry) && front->entry.key == key)
                return;
            front->entry.tie = share->id;
            sch_heap_set(&above->heap, &front->entry, key);
        } else if (sch_heap_has(&front->entry)) {
            sch_heap_remove(&above->heap, &front->entry);
        } else {
            return;
        }
    }
    if (!tree.all && share->stops->open)
        front_update(share, (struct tree){.all = true});
}

/* The priority stays, and with it what is above. */
static void front_weigh(struct sch_front *front, struct sch_front *above)
{
    int32_t priority = sch_turn_priority(front->entry.key);
    if (sch_heap_has(&front->entry))
        sch_heap_set(&above->heap, &front->entry,
                     sch_turn_key(priority, front->share->weighted_share));
}

void sch_turn_weigh(struct sch_share *share)
{
    struct sch_share *parent = share->parent;
    if (!parent)
        return;
    front_weigh(&share->front, &parent->front);
    for (unsigned up = 1; share->held && parent->held && up < SCH_SHARE_DEPTH_MAX; up++)
        front_weigh(&share->held[up], &parent->held[up - 1]);
}

static void make_held(struct sch_share *share)
{
    if (share->held)
        return;
    share->held = sy_calloc(SCH_SHARE_DEPTH_MAX, sizeof(*share->held));
    for (unsigned up = 0; up < SCH_SHARE_DEPTH_MAX; up++)
        share->held[up].share = share;
}

void sch_turn_free(struct sch_share *share)
{
    SY_ASSERT(share->front.heap.count == 0 && !sch_heap_has(&share->front.entry));
    sch_heap_deinit(&share->front.heap);
    for (unsigned up = 0; share->held && up < SCH_SHARE_DEPTH_MAX; up++) {
        SY_ASSERT(share->held[up].heap.count == 0);
        sch_heap_deinit(&share->held[up].heap);
    }
    SY_ASSERT(!share->stops ||
              (sch_list_empty(&share->stops->seats) && sch_list_empty(&share->stops->aside)));
    free(sy_take(share->held));
    free(sy_take(share->stops));
}

/* ---- heads ---- */

static struct tree tree_of(const struct sch_seat *head)
{
    struct tree tree = {.all = head->parent == NULL};
    SY_ASSERT(head->turn_lane && (tree.all || head->stopped));
    for (const struct sch_seat *at = &head->turn_lane->seat; at != head; at = at->parent)
        tree.up++;
    return tree;
}

void sch_turn_clear(struct sch_seat *head)
{
    if (!head->turn_lane)
        return;
    struct tree tree = tree_of(head);
    struct sch_share *tenant = sy_take(head->turn_lane)->seat.share;
    sch_heap_remove(&front_of(tenant, tree)->heap, &head->turn);
    front_update(tenant, tree);
}

static void turn_set(struct sch_seat *head, struct sch_lane *lane)
{
    uint64_t id = sch_fifo_first(&lane->queue)->base.id;
    int64_t key = sch_turn_key(sch_lane_priority(lane), (uint32_t)(id >> 32));
    if (head->turn_lane == lane && head->turn.key == key && head->turn.tie == (uint32_t)id)
        return;
    if (head->turn_lane != lane)
        sch_turn_clear(head);
    head->turn_lane = lane;
    struct tree tree = tree_of(head);
    if (!tree.all) {
        for (struct sch_share *at = lane->seat.share; at != head->share; at = at->parent)
            make_held(at);
        make_held(head->share);
    }
    struct sch_front *front = front_of(lane->seat.share, tree);
    sch_heap_remove(&front->heap, &head->turn); /* its age may be another one */
    head->turn.tie = (uint32_t)id;
    sch_heap_set(&front->heap, &head->turn, key);
    front_update(lane->seat.share, tree);
}

static struct sch_lane *best_below(struct sch_seat *seat)
{
    while (!sch_seat_is_lane(seat)) {
        struct sch_heap_entry *top = sch_heap_top(&seat->children);
        SY_ASSERT(top);
        seat = sy_container_of(top, struct sch_seat, entry);
    }
    return sch_seat_lane(seat);
}

/* ---- limits ---- */

static struct sch_use need_of(const struct sch_seat *seat)
{
    return sch_use_times(&seat->class->request, sch_class_unit(seat->class));
}

/* Else it is more than the limit: others must not wait for it. */
static bool could_ever_go(const struct sch_seat *seat)
{
    const struct sch_use nothing = {0}, limits = sch_share_limits(seat->share);
    struct sch_use need = need_of(seat);
    return sch_use_fits(&nothing, &need, &limits);
}

static void set_open(struct sch_share *share, bool open)
{
    if (share->stops->open == open)
        return;
    share->stops->open = open;
    front_update(share, (struct tree){.all = true});
}

static void step_aside(struct sch_seat *seat)
{
    struct sch_stops *stops = seat->share->stops;
    sch_turn_clear(seat);
    seat->aside = true;
    sch_list_remove(&seat->link);
    if (could_ever_go(seat)) /* these are in front */
        sch_list_push_front(&stops->aside, &seat->link);
    else
        sch_list_push_back(&stops->aside, &seat->link);
}

/* Whether it is less now. */
static bool lessen(struct sch_use *least, const struct sch_use *need)
{
    struct sch_use before = *least;
    sch_use_lessen(least, need);
    return memcmp(&before, least, sizeof(before)) != 0;
}

static void least_of(struct sch_use *least, const struct sch_seat *seat)
{
    struct sch_use need = need_of(seat);
    (void)lessen(least, &need);
}

/* Somebody who needs this may be next. */
static void expect(struct sch_partition *p, const struct sch_use *need)
{
    if (lessen(&p->turns_least, need))
        sch_turns_room(p);
}

static const struct sch_use no_need = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};

static void count_stopped(struct sch_stops *stops, const struct sch_link *list)
{
    for (const struct sch_link *link = list->next; link != list; link = link->next) {
        const struct sch_seat *seat = sy_container_of((struct sch_link *)(uintptr_t)link,
                                                      struct sch_seat, link);
        least_of(&stops->least, seat);
        stops->wanted += could_ever_go(seat) ? seat->ready : 0;
    }
}

static void recount(struct sch_stops *stops)
{
    stops->least = no_need;
    stops->wanted = 0;
    count_stopped(stops, &stops->seats);
    count_stopped(stops, &stops->aside);
}

void sch_stops_limits(struct sch_share *share)
{
    struct sch_stops *stops = share->stops;
    struct sch_link all;
    if (!stops)
        return;
    sch_list_init(&all);
    sch_list_splice(&all, &stops->aside);
    sch_list_splice(&all, &stops->seats);
    while (!sch_list_empty(&all)) {
        struct sch_seat *seat = sy_container_of(all.next, struct sch_seat, link);
        if (seat->aside || !could_ever_go(seat)) {
            step_aside(seat);
            continue;
        }
        sch_list_remove(&seat->link);
        sch_list_push_back(&stops->seats, &seat->link);
    }
    recount(stops);
}

static void make_stops(struct sch_share *share)
{
    struct sch_stops *stops = share->stops;
    if (!stops) {
        stops = share->stops = sy_new(struct sch_stops);
        sch_list_init(&stops->seats);
        sch_list_init(&stops->aside);
    }
    if (sch_list_empty(&stops->seats) && sch_list_empty(&stops->aside))
        stops->least = no_need;
}

void sch_seat_stop(struct sch_partition *p, struct sch_seat *seat)
{
    SY_ASSERT(!seat->stopped && seat->parent && sch_seat_has_somebody(seat));
    make_stops(seat->share);
    sch_seat_exit(seat);
    seat->stopped = true;
    sch_list_remove(&seat->link);
    sch_list_push_back(&seat->share->stops->seats, &seat->link);
    least_of(&seat->share->stops->least, seat);
    sch_stops_wanted(seat, (int64_t)seat->ready);
    if (seat->share->stops->open)
        expect(p, &seat->share->stops->least);
    if (could_ever_go(seat))
        turn_set(seat, best_below(seat));
    else
        step_aside(seat);
    sch_seat_ready(p, seat->parent, -(int64_t)seat->ready);
    sch_seat_update(p, seat->parent);
    sch_ticket_touch(p, seat->share);
}

void sch_seat_go(struct sch_partition *p, struct sch_seat *seat)
{
    SY_ASSERT(seat->stopped && seat->parent);
    sch_turn_clear(seat);
    sch_stops_wanted(seat, -(int64_t)seat->ready);
    seat->stopped = seat->aside = false;
    sch_list_remove(&seat->link);
    sch_list_push_back(&seat->share->seats, &seat->link);
    sch_seat_ready(p, seat->parent, (int64_t)seat->ready);
    sch_seat_update(p, seat);
    sch_ticket_touch(p, seat->share);
}

void sch_seat_held(struct sch_partition *p, struct sch_seat *seat)
{
    SY_ASSERT(seat->stopped);
    if (!sch_seat_has_somebody(seat))
        sch_seat_go(p, seat);
    else if (!seat->aside)
        turn_set(seat, best_below(seat));
}

void sch_stops_wanted(struct sch_seat *seat, int64_t delta)
{
    struct sch_stops *stops = seat->share->stops;
    if (!could_ever_go(seat))
        return;
    SY_ASSERT(delta >= 0 || stops->wanted >= (uint64_t)-delta);
    stops->wanted += (uint64_t)delta;
}

static struct sch_seat *held_first(const struct sch_share *share)
{
    const struct sch_share *at = share;
    for (unsigned up = 0;; up++) {
        struct sch_heap_entry *top = sch_heap_top(&at->held[up].heap);
        SY_ASSERT(top);
        if (at->level == SCH_SHARE_TENANT)
            return sy_container_of(top, struct sch_seat, turn);
        at = sy_container_of(top, struct sch_front, entry)->share;
    }
}

bool sch_stops_next(const struct sch_share *share, struct sch_use *ret)
{
    const struct sch_stops *stops = share->stops;
    if (!stops || stops->wanted == 0)
        return false;
    const struct sch_seat *seat = held_top(share)
                                      ? held_first(share)
                                      : sy_container_of(stops->aside.next, struct sch_seat, link);
    SY_ASSERT(could_ever_go(seat));
    *ret = need_of(seat);
    return true;
}

void sch_stops_open(struct sch_partition *p, struct sch_share *share)
{
    struct sch_stops *stops = share->stops;
    if (!stops)
        return;
    bool open = sch_share_takes(share, &stops->least);
    for (struct sch_link *link = stops->aside.next; open && link != &stops->aside;) {
        struct sch_seat *seat = sy_container_of(link, struct sch_seat, link);
        struct sch_use need = need_of(seat);
        link = link->next;
        if (!sch_share_takes(share, &need))
            continue;
        seat->aside = false;
        sch_list_remove(&seat->link);
        sch_list_push_back(&stops->seats, &seat->link);
        turn_set(seat, best_below(seat));
    }
    if (open && sch_list_empty(&stops->seats)) { /* who needed the least is gone */
        recount(stops);
        open = false;
    }
    if (open)
        expect(p, &stops->least);
    set_open(share, open);
}

/* It would be this one's turn, if its limit let it. */
static void try_to_go(struct sch_partition *p, struct sch_seat *seat)
{
    struct sch_share *share = seat->share;
    struct sch_use need = need_of(seat);
    SY_ASSERT(is_open(share));
    if (sch_share_takes(share, &need)) {
        sch_seat_go(p, seat);
        return;
    }
    if (sch_share_takes(share, &share->stops->least)) {
        step_aside(seat);
        if (!sch_list_empty(&share->stops->seats))
            return;
        recount(share->stops); /* who needed the least may be gone */
    }
    set_open(share, false);
}

/* ---- the first ---- */

static struct sch_seat *earlier(struct sch_seat *a, struct sch_seat *b)
{
    return !a || sch_lane_before(b->turn_lane, a->turn_lane) ? b : a;
}

struct sch_seat *sch_turn_first(const struct sch_partition *p)
{
    struct sch_seat *best = NULL;
    const struct sch_share *at = p->region;
    for (;;) {
        if (is_open(at))
            best = earlier(best, held_first(at));
        struct sch_heap_entry *top = sch_heap_top(&at->front.heap);
        if (!top)
            return best;
        if (at->level == SCH_SHARE_TENANT)
            return earlier(best, sy_container_of(top, struct sch_seat, turn));
        at = sy_container_of(top, struct sch_front, entry)->share;
    }
}

/* ---- room ---- */

static bool some_cluster_has_room(const struct sch_partition *p, const struct sch_use *need)
{
    for (size_t i = 0; i < p->cluster_count; i++) {
        if (sch_cluster_connected(p->clusters[i]) && sch_cluster_has_room(p->clusters[i], need))
            return true;
    }
    return false;
}

void sch_turns_room(struct sch_partition *p)
{
    p->turns_looked = false;
    p->turns_closed_ns = 0;
}

bool sch_turns_closed(const struct sch_partition *p)
{
    return p->turns_closed_ns > p->now_ns;
}

/* One who was next found no room. */
static void look_for_room(struct sch_partition *p)
{
    bool gangs = p->turns_least.actions == 0;
    if (!p->turns_looked && !gangs && !some_cluster_has_room(p, &p->turns_least))
        p->turns_closed_ns = p->now_ns + CLOSED_NS;
    p->turns_looked = true;
}

/* Gangs go where there is no room yet: as if they needed nothing, not even to be one. */
static void expect_class(struct sch_partition *p, const struct sch_class *class)
{
    struct sch_use need = {0};
    if (class->gang.size == 0)
        need = need_of(&class->root);
    if (p->region->front.heap.count == 0)
        p->turns_least = no_need;
    expect(p, &need);
}

/* ---- whose turn ---- */

/* False: the step has moved or decided as many as it may, or some that were short of room are still
 * to look again. Nobody goes before all have, for the first may be among them. */
static bool decide(struct sch_partition *p)
{
    if (!sch_shares_move(p))
        return false;
    for (; !sch_list_empty(&p->undecided); p->decisions_left--) {
        if (p->decisions_left == 0)
            return false;
        struct sch_link *link = sch_list_pop(&p->undecided);
        struct sch_class *class = sy_container_of(link, struct sch_class, undecided);
        struct sch_lane *lane = sch_class_next(p, class);
        if (sch_link_in_list(&class->undecided))
            sch_list_remove(&class->undecided); /* limits stopped some of it: it is found anew */
        if (!lane)
            continue;
        expect_class(p, class);
        turn_set(&class->root, lane);
    }
    return p->decisions_left > 0 && sch_list_empty(&p->waking) && !p->recovery_ends;
}

struct sch_lane *sch_turn_next(struct sch_partition *p, struct sch_pair **ret_pair)
{
    for (;;) {
        struct sch_seat *head = decide(p) && !sch_turns_closed(p) ? sch_turn_first(p) : NULL;
        if (!head)
            return NULL;
        if (head->stopped) {
            try_to_go(p, head);
            continue;
        }
        struct sch_lane *lane = head->turn_lane;
        *ret_pair = sch_class_route(p, head->class);
        if (!*ret_pair)
            look_for_room(p);
        else if (sch_class_next(p, head->class) == lane) {
            p->turns_looked = false; /* there will be less */
            return lane;
        } /* else another one of the class is next */
    }
}

bool sch_turn_pending(const struct sch_partition *p)
{
    return !sch_list_empty(&p->moving) || !sch_list_empty(&p->moved) ||
           !sch_list_empty(&p->undecided) ||
           (p->region->front.heap.count > 0 && !sch_turns_closed(p));
}
