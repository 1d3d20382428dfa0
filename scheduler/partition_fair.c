/*
 * Who is next within a class. Each class has the tree of those that have actions of it: projects,
 * domains, queues, tenants. In each node the children are in a heap by (highest priority below,
 * weighted share): the way down the tops is the highest priority, and among equals the one that is
 * furthest below its share at each level. So priority comes before fairness, everywhere, and
 * fairness is hierarchical: dominant-resource fairness (Ghodsi et al., NSDI 2011) level by level.
 */
#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_ticket.h"
#include "scheduler/partition_turn.h"

#include <stdlib.h>

/* ---- keys ---- */

int32_t sch_lane_priority(const struct sch_lane *lane)
{
    return sch_priority_clamp((int64_t)sch_fifo_priority(&lane->queue) +
                              lane->seat.share->priority);
}

bool sch_seat_has_somebody(const struct sch_seat *seat)
{
    if (seat->children.count > 0)
        return true;
    return sch_seat_is_lane(seat) && ((const struct sch_lane *)seat)->queue.waiting > 0;
}

static int64_t seat_key(const struct sch_seat *seat)
{
    const struct sch_heap_entry *top = sch_heap_top(&seat->children);
    int32_t priority = top ? sch_turn_priority(top->key)
                           : sch_lane_priority((const struct sch_lane *)seat);
    return sch_turn_key(priority, seat->share->weighted_share);
}

/* Of share->seats: this one, or the list itself when that one's share does not matter. */
static struct sch_link *next_to_move(struct sch_share *share, struct sch_link *link)
{
    bool moves = link != &share->seats && sy_container_of(link, struct sch_seat, link)->contested;
    return moves ? link : &share->seats;
}

/* Whose share alone does not matter: it need not be told of each change of it. */
static void set_contested(struct sch_seat *seat, bool contested)
{
    if (seat->contested == contested)
        return;
    seat->contested = contested;
    struct sch_share *share = seat->share;
    if (share->moves_at == &seat->link)
        share->moves_at = next_to_move(share, seat->link.next);
    sch_list_remove(&seat->link);
    if (contested)
        sch_list_push_front(&seat->share->seats, &seat->link);
    else
        sch_list_push_back(&seat->share->seats, &seat->link);
}

static struct sch_seat *seat_at(const struct sch_heap *heap, uint32_t index)
{
    SY_ASSERT(index < heap->count);
    return sy_container_of(sch_heap_at(heap, index), struct sch_seat, entry);
}

static void seat_enter(struct sch_seat *seat, int64_t key)
{
    struct sch_heap *heap = &seat->parent->children;
    if (heap->count == 1 && !sch_heap_has(&seat->entry)) {
        struct sch_seat *other = seat_at(heap, 0);
        set_contested(other, true);
        sch_heap_set(heap, &other->entry, seat_key(other)); /* its share may have changed */
    }
    sch_heap_set(heap, &seat->entry, key);
    set_contested(seat, heap->count > 1);
}

void sch_seat_exit(struct sch_seat *seat)
{
    struct sch_heap *heap = &seat->parent->children;
    sch_heap_remove(heap, &seat->entry);
    set_contested(seat, false);
    if (heap->count == 1)
        set_contested(seat_at(heap, 0), false);
}

/* Another one may be next below it. */
static void tell_head(struct sch_partition *p, struct sch_seat *seat)
{
    while (seat->parent && !seat->stopped)
        seat = seat->parent;
    if (seat->stopped)
        sch_seat_held(p, seat);
    else
        sch_class_changed(p, seat->class);
    if (sch_partition_is_one_of_many(p))
        sch_class_touch(p, seat->class); /* operators order by who is first in it */
}

void sch_seat_update(struct sch_partition *p, struct sch_seat *seat)
{
    for (; seat->parent && !seat->stopped; seat = seat->parent) {
        if (sch_seat_has_somebody(seat)) {
            int64_t key = seat_key(seat);
            if (sch_heap_has(&seat->entry) && seat->entry.key == key)
                break;
            seat_enter(seat, key);
        } else if (sch_heap_has(&seat->entry)) {
            sch_seat_exit(seat);
        } else {
            break;
        }
    }
    tell_head(p, seat);
}

static void seat_move(struct sch_partition *p, struct sch_seat *seat)
{
    SY_ASSERT(seat->contested && !seat->stopped);
    struct sch_heap *heap = &seat->parent->children;
    const struct sch_heap_entry *top = sch_heap_top(heap);
    sch_heap_set(heap, &seat->entry,
                 sch_turn_key(sch_turn_priority(seat->entry.key), seat->share->weighted_share));
    if (sch_heap_top(heap) != top)
        tell_head(p, seat);
}

/* Whether all have: a share may have seats in thousands of classes. */
static bool share_move(struct sch_partition *p, struct sch_share *share)
{
    for (; share->moves_at != &share->seats && p->moves_left > 0; p->moves_left--) {
        struct sch_seat *seat = sy_container_of(share->moves_at, struct sch_seat, link);
        share->moves_at = next_to_move(share, seat->link.next);
        seat_move(p, seat);
    }
    return share->moves_at == &share->seats;
}

void sch_share_move(struct sch_partition *p, struct sch_share *share)
{
    if (share->moves_at != &share->seats) {
        share->moves_again = true;
        return;
    }
    if (sch_link_in_list(&share->moving))
        sch_list_remove(&share->moving);
    share->moves_again = false;
    share->moves_at = next_to_move(share, share->seats.next);
    if (!share_move(p, share))
        sch_list_push_back(&p->moving, &share->moving);
}

void sch_shares_move_again(struct sch_partition *p)
{
    while (!sch_list_empty(&p->moved))
        sch_share_move(p, sy_container_of(sch_list_pop(&p->moved), struct sch_share, moving));
}

bool sch_shares_move(struct sch_partition *p)
{
    while (!sch_list_empty(&p->moving)) {
        struct sch_share *share = sy_container_of(p->moving.next, struct sch_share, moving);
        if (!share_move(p, share))
            return false;
        sch_list_remove(&share->moving);
        if (share->moves_again)
            sch_list_push_back(&p->moved, &share->moving);
    }
    return true;
}

void sch_seat_ready(struct sch_partition *p, struct sch_seat *seat, int64_t delta)
{
    for (struct sch_seat *at = seat; at; at = at->parent) {
        SY_ASSERT(delta >= 0 || at->ready >= (uint64_t)-delta);
        if (!at->parent && at->ready == 0 && delta > 0)
            sch_class_be_patient(p, at->class);
        at->ready += (uint64_t)delta;
        if (at->stopped) {
            sch_stops_wanted(at, delta);
            sch_ticket_touch(p, at->share);
            return;
        }
    }
    sch_class_touch(p, seat->class);
}

struct sch_lane *sch_class_next(struct sch_partition *p, struct sch_class *class)
{
    struct sch_seat *seat = &class->root;
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&seat->children))) {
        struct sch_seat *child = sy_container_of(top, struct sch_seat, entry);
        SY_ASSERT(child->parent == seat && !child->stopped);
        if (!sch_share_admits(child->share, &class->request, sch_class_unit(class))) {
            sch_seat_stop(p, child);
            seat = &class->root;
        } else if (sch_seat_is_lane(child)) {
            return sch_seat_lane(child);
        } else {
            seat = child;
        }
    }
    SY_ASSERT(seat == &class->root); /* below it each node in a heap has somebody */
    return NULL;
}

/* From below the region down to the share; returns how many they are. */
static unsigned path_to(const struct sch_share *share,
                        const struct sch_share *ret[SCH_SHARE_DEPTH_MAX])
{
    unsigned length = 0;
    for (const struct sch_share *at = share; at->parent; at = at->parent)
        length++;
    SY_ASSERT(length <= SCH_SHARE_DEPTH_MAX);
    for (unsigned i = length; i > 0; share = share->parent)
        ret[--i] = share;
    return length;
}

bool sch_share_fork(const struct sch_share *a, const struct sch_share *b,
                    const struct sch_share **ret_a, const struct sch_share **ret_b)
{
    const struct sch_share *path_a[SCH_SHARE_DEPTH_MAX], *path_b[SCH_SHARE_DEPTH_MAX];
    unsigned length_a = path_to(a, path_a), length_b = path_to(b, path_b);
    for (unsigned i = 0; i < length_a && i < length_b; i++) {
        if (path_a[i] == path_b[i])
            continue;
        *ret_a = path_a[i];
        *ret_b = path_b[i];
        return true;
    }
    SY_ASSERT(a == b); /* a tenant has nothing below it */
    return false;
}

int sch_share_order(const struct sch_share *a, const struct sch_share *b)
{
    const struct sch_share *fork_a, *fork_b;
    if (!sch_share_fork(a, b, &fork_a, &fork_b))
        return 0;
    if (fork_a->weighted_share != fork_b->weighted_share)
        return fork_a->weighted_share < fork_b->weighted_share ? -1 : 1;
    return fork_a->id < fork_b->id ? -1 : 1;
}

/* Of one tenant, the older action. */
bool sch_lane_before(struct sch_lane *a, struct sch_lane *b)
{
    int32_t priority_a = sch_lane_priority(a), priority_b = sch_lane_priority(b);
    if (priority_a != priority_b)
        return priority_a > priority_b;
    int order = sch_share_order(a->seat.share, b->seat.share);
    if (order != 0)
        return order < 0;
    return sch_fifo_first(&a->queue)->base.id < sch_fifo_first(&b->queue)->base.id;
}

/* ---- seats ---- */

static uint32_t seat_hash(const struct sch_class *class, const struct sch_share *share)
{
    return sch_hash_u64(((uint64_t) class->id << 32) | share->id, 0);
}

static struct sch_seat *seat_find(const struct sch_partition *p, const struct sch_class *class,
                                  const struct sch_share *share)
{
    struct sch_table_link *link = sch_table_first(&p->seats, seat_hash(class, share));
    for (; link; link = sch_table_next(link)) {
        struct sch_seat *seat = sy_container_of(link, struct sch_seat, by_share);
        if (seat->class == class && seat->share == share)
            return seat;
    }
    return NULL;
}

void sch_seat_init_root(struct sch_partition *p, struct sch_class *class)
{
    class->root = (struct sch_seat){.class = class, .share = p->region};
    sch_list_init(&class->lanes);
}

void sch_seat_deinit_root(struct sch_class *class)
{
    SY_ASSERT(class->root.refs == 0 && class->root.ready == 0 && sch_list_empty(&class->lanes));
    sch_heap_deinit(&class->root.children);
}

/* Into the tree of the class, below seats that are made where they lack. */
static void seat_join(struct sch_partition *p, struct sch_seat *seat, struct sch_class *class)
{
    for (;;) {
        struct sch_share *above = seat->share->parent;
        seat->class = class;
        seat->entry.tie = seat->share->id;
        sch_table_add(&p->seats, &seat->by_share, seat_hash(class, seat->share));
        struct sch_seat *parent = above == p->region ? &class->root : seat_find(p, class, above);
        seat->parent = parent ? parent : sy_new(struct sch_seat);
        seat->parent->refs++;
        if (parent)
            return;
        seat = seat->parent;
        seat->share = above;
        sch_share_ref(above);
        sch_list_push_back(&above->seats, &seat->link);
    }
}

/* Out of its class; seats above it that nobody needs go as well. It has nobody below. */
static void seat_part(struct sch_partition *p, struct sch_seat *seat)
{
    if (seat->class->root.turn_lane == sch_seat_lane(seat))
        sch_turn_clear(&seat->class->root);
    struct sch_seat *parent = sy_take(seat->parent);
    SY_ASSERT(parent && !sch_heap_has(&seat->entry));
    sch_table_remove(&p->seats, &seat->by_share);
    while (--parent->refs == 0 && parent->parent) {
        struct sch_seat *gone = parent;
        SY_ASSERT(gone->ready == 0 && gone->children.count == 0 && !sch_heap_has(&gone->entry));
        SY_ASSERT(!gone->stopped);
        parent = gone->parent;
        sch_table_remove(&p->seats, &gone->by_share);
        sch_list_remove(&gone->link);
        sch_share_unref(p, gone->share);
        sch_heap_deinit(&gone->children);
        free(gone);
    }
}

struct sch_lane *sch_lane_get(struct sch_partition *p, struct sch_class *class,
                              struct sch_share *tenant)
{
    SY_ASSERT(tenant->level == SCH_SHARE_TENANT);
    struct sch_seat *seat = seat_find(p, class, tenant);
    if (seat)
        return sch_seat_lane(seat);
    struct sch_lane *lane = sy_new(struct sch_lane);
    lane->seat.share = tenant;
    sch_share_ref(tenant);
    sch_list_push_back(&tenant->seats, &lane->seat.link);
    sch_fifo_init(&lane->queue, ++p->last_fifo_id);
    lane->queue.lane = lane;
    seat_join(p, &lane->seat, class);
    sch_list_push_back(&class->lanes, &lane->link);
    return lane;
}

const struct sch_lane *sch_lane_peek(const struct sch_partition *p, const struct sch_class *class,
                                     const struct sch_share *tenant)
{
    const struct sch_seat *seat = seat_find(p, class, tenant);
    return seat ? (const struct sch_lane *)seat : NULL;
}

void sch_lane_unref(struct sch_partition *p, struct sch_lane *lane)
{
    SY_ASSERT(lane->seat.refs > 0);
    if (--lane->seat.refs > 0)
        return;
    SY_ASSERT(lane->queue.waiting == 0 && lane->seat.ready == 0 && !lane->seat.stopped);
    sch_list_remove(&lane->link);
    sch_list_remove(&lane->seat.link);
    seat_part(p, &lane->seat);
    sch_fifo_deinit(p, &lane->queue);
    sch_share_unref(p, lane->seat.share);
    free(lane);
}

void sch_lane_move(struct sch_partition *p, struct sch_lane *lane, struct sch_class *to)
{
    struct sch_class *from = lane->seat.class;
    uint64_t ready = lane->seat.ready;
    SY_ASSERT(from != to && !seat_find(p, to, lane->seat.share));
    if (lane->seat.stopped)
        sch_seat_go(p, &lane->seat);
    sch_seat_ready(p, &lane->seat, -(int64_t)ready);
    sch_seat_exit(&lane->seat);
    sch_seat_update(p, lane->seat.parent);
    sch_list_remove(&lane->link);
    seat_part(p, &lane->seat);
    seat_join(p, &lane->seat, to);
    sch_list_push_back(&to->lanes, &lane->link);
    sch_seat_ready(p, &lane->seat, (int64_t)ready);
    from->waiting -= lane->queue.waiting;
    to->waiting += lane->queue.waiting;
    if (from->unchecked_from != 0) {
        sch_class_accepted(p, to, from->unchecked_from);
        sch_verify_later(p);
    }
    sch_class_spare(p, to, from->capable > 0 ? sch_awake_ns(p) : from->incapable_ns);
    sch_class_touch(p, from);
    sch_class_touch(p, to);
    sch_class_move_refs(p, from, to, lane->seat.refs);
}
