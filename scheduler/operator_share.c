/*
 * What each part of the tree of projects, domains and queues has in this cluster, over all
 * partitions. A share is a level of somebody's path; a seat is what one partition has below it. An
 * attempt counts from when it comes until it ends, at its tenant's seat and all above. Nothing is
 * kept of who has nothing here: agents tell the paths of what they have to a new operator.
 */
#include "scheduler/operator_impl.h"

#include <stdlib.h>

/* ---- shares ---- */

static uint64_t id_below(const struct sch_op_share *parent, uint32_t tag)
{
    uint64_t above = parent ? parent->id : 0, high = sch_hash_u64(above, tag);
    return (high << 32) | sch_hash_u64(above + tag, high);
}

/* `parent` NULL: below the region. */
static struct sch_op_share *share_get(struct sch_operator *op, struct sch_op_share *parent,
                                      uint32_t tag)
{
    uint64_t id = id_below(parent, tag);
    struct sch_table_link *link = sch_table_first(&op->shares_by_id, (uint32_t)id);
    for (; link; link = sch_table_next(link)) {
        struct sch_op_share *share = sy_container_of(link, struct sch_op_share, by_id);
        if (share->id == id && share->parent == parent)
            return share;
    }
    struct sch_op_share *share = sy_new(struct sch_op_share);
    share->id = id;
    share->tag = tag;
    share->weight = SCH_QUEUE_WEIGHT_DEFAULT;
    share->parent = parent;
    share->entry.tie = tag;
    sch_list_init(&share->seats);
    sch_table_add(&op->shares_by_id, &share->by_id, (uint32_t)id);
    if (parent)
        parent->refs++;
    return share;
}

static void share_unref(struct sch_operator *op, struct sch_op_share *share)
{
    SY_ASSERT(share->refs > 0);
    if (--share->refs > 0)
        return;
    SY_ASSERT(share->use.actions == 0 && share->children.count == 0 && share->classes.count == 0);
    struct sch_op_share *parent = share->parent;
    SY_ASSERT(sch_list_empty(&share->seats));
    if (sch_link_in_list(&share->changed))
        sch_list_remove(&share->changed);
    sch_table_remove(&op->shares_by_id, &share->by_id);
    sch_heap_deinit(&share->children);
    sch_heap_deinit(&share->classes);
    free(share);
    if (parent)
        share_unref(op, parent);
}

/* ---- seats ---- */

static uint32_t seat_hash(const struct sch_op_partition *partition,
                          const struct sch_op_share *share)
{
    return sch_hash_u64(share->id, partition->id);
}

static struct sch_op_seat *seat_get(struct sch_operator *op, struct sch_op_partition *partition,
                                    struct sch_op_seat *parent, uint32_t tag)
{
    struct sch_op_share *share = share_get(op, parent ? parent->share : NULL, tag);
    struct sch_table_link *link = sch_table_first(&op->seats, seat_hash(partition, share));
    for (; link; link = sch_table_next(link)) {
        struct sch_op_seat *seat = sy_container_of(link, struct sch_op_seat, by_share);
        if (seat->partition != partition || seat->share != share)
            continue;
        if (sch_link_in_list(&seat->idle))
            sch_op_seat_unpark(seat);
        return seat;
    }
    struct sch_op_seat *seat = sy_new(struct sch_op_seat);
    seat->partition = partition;
    seat->share = share;
    seat->parent = parent;
    share->refs++;
    if (parent)
        parent->refs++;
    sch_table_add(&op->seats, &seat->by_share, seat_hash(partition, share));
    sch_list_push_back(&share->seats, &seat->link);
    sch_op_share_changed(op, share);
    return seat;
}

struct sch_op_seat *sch_op_seat_ref(struct sch_operator *op, struct sch_op_partition *partition,
                                    const struct sch_share_path *path)
{
    struct sch_op_seat *seat = NULL;
    SY_ASSERT(path->depth <= SCH_SHARE_DEPTH_MAX);
    for (uint32_t i = 0; i < path->depth; i++)
        seat = seat_get(op, partition, seat, path->tags[i]);
    if (seat)
        seat->refs++;
    return seat;
}

/* And those above it that are nobody's by then. */
void sch_op_seat_free(struct sch_operator *op, struct sch_op_seat *seat)
{
    for (bool more = true; more;) {
        SY_ASSERT(seat->refs == 0 && seat->use.actions == 0 && !sch_link_in_list(&seat->idle));
        struct sch_op_seat *parent = seat->parent;
        sch_table_remove(&op->seats, &seat->by_share);
        sch_list_remove(&seat->link);
        share_unref(op, seat->share);
        free(seat);
        more = parent && --parent->refs == 0;
        seat = parent;
    }
}

void sch_op_seat_unref(struct sch_operator *op, struct sch_op_seat *seat)
{
    if (!seat)
        return;
    SY_ASSERT(seat->refs > 0);
    if (--seat->refs > 0)
        return;
    if (seat->partition->up)
        sch_op_seat_park(op, seat);
    else
        sch_op_seat_free(op, seat);
}

bool sch_op_seat_is(const struct sch_op_seat *seat, const struct sch_share_path *path)
{
    uint32_t i = path->depth;
    for (; seat && i > 0 && seat->share->tag == path->tags[i - 1]; seat = seat->parent)
        i--;
    return !seat && i == 0;
}

void sch_op_seat_weigh(struct sch_op_seat *seat, const struct sch_share_standing *standing)
{
    for (uint32_t i = standing->path.depth; i > 0; i--, seat = seat->parent) {
        SY_ASSERT(seat && seat->share->tag == standing->path.tags[i - 1]);
        seat->share->weight = standing->weights[i - 1];
    }
    SY_ASSERT(!seat);
}

/* ---- what attempts use ---- */

void sch_attempt_sit(struct sch_operator *op, struct sch_attempt *a,
                     const struct sch_share_path *place)
{
    SY_ASSERT(a->kind && !a->seat);
    if (!place || place->depth == 0)
        return;
    struct sch_op_seat *near = a->class ? a->class->seat : NULL;
    if (near && sch_op_seat_is(near, place)) {
        a->seat = near; /* mostly: who stands first is who is sent */
        a->seat->refs++;
    } else {
        a->seat = sch_op_seat_ref(op, a->partition, place);
    }
    struct sch_use use = sch_use_of(&a->kind->request);
    for (struct sch_op_seat *at = a->seat; at; at = at->parent) {
        sch_use_add(&at->use, &use);
        sch_use_add(&at->share->use, &use);
        sch_op_share_changed(op, at->share);
    }
}

void sch_attempt_rise(struct sch_operator *op, struct sch_attempt *a)
{
    if (!a->seat)
        return;
    struct sch_use use = sch_use_of(&a->kind->request);
    for (struct sch_op_seat *at = a->seat; at; at = at->parent) {
        sch_use_subtract(&at->use, &use);
        sch_use_subtract(&at->share->use, &use);
        sch_op_share_changed(op, at->share);
    }
    sch_op_seat_unref(op, sy_take(a->seat));
}

void sch_attempt_change_seat(struct sch_operator *op, struct sch_attempt *a)
{
    struct sch_op_seat *before = a->seat;
    struct sch_share_path path = {0};
    if (!before || before->partition == a->partition)
        return;
    for (const struct sch_op_seat *at = before; at; at = at->parent)
        path.depth++;
    uint32_t i = path.depth;
    for (const struct sch_op_seat *at = before; at; at = at->parent)
        path.tags[--i] = at->share->tag;
    struct sch_op_seat *seat = sch_op_seat_ref(op, a->partition, &path);
    sch_attempt_rise(op, a); /* the shares keep their weights: `seat` has them */
    sch_attempt_sit(op, a, &path);
    SY_ASSERT(a->seat == seat);
    sch_op_seat_unref(op, seat);
}
