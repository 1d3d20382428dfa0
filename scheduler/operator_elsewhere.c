/*
 * What each partition is told of others': for each share of which it has a seat here, what all
 * other partitions have of it. It knows its own. Told when it has changed, gathered for 50 ms, a
 * part of them in a step. A seat that nobody needs is kept for a while: else a partition that was
 * told that its first queue has much elsewhere would put another one first, forget that, and put it
 * back.
 */
#include "scheduler/operator_impl.h"

void sch_op_share_changed(struct sch_operator *op, struct sch_op_share *share)
{
    bool several = share->seats.next != share->seats.prev;
    if (several && !sch_link_in_list(&share->changed))
        sch_list_push_back(&op->shares_changed, &share->changed);
}

static void tell(struct sch_operator *op, const struct sch_op_seat *seat, struct sch_use use)
{
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_ELSEWHERE);
    struct sch_share_path *place = &effect->u.elsewhere.place;
    effect->u.elsewhere.partition = seat->partition->id;
    effect->u.elsewhere.use = use;
    for (const struct sch_op_seat *at = seat; at; at = at->parent)
        place->depth++;
    SY_ASSERT(place->depth <= SCH_SHARE_DEPTH_MAX && seat->partition->up);
    uint32_t i = place->depth;
    for (const struct sch_op_seat *at = seat; at; at = at->parent)
        place->tags[--i] = at->share->tag;
}

static bool is_equal(const struct sch_use *a, const struct sch_use *b)
{
    return a->actions == b->actions && a->cpu_milli == b->cpu_milli &&
           a->memory_bytes == b->memory_bytes && a->gpu_milli == b->gpu_milli;
}

static void tell_seat(struct sch_operator *op, struct sch_op_seat *seat)
{
    struct sch_use use = seat->share->use;
    sch_use_subtract(&use, &seat->use);
    if (!seat->partition->up || is_equal(&use, &seat->told))
        return;
    seat->told = use;
    tell(op, seat, use);
}

static void tell_changed(struct sch_operator *op)
{
    uint32_t looks = 0;
    op->elsewhere_told_ns = op->now_ns;
    while (!sch_list_empty(&op->shares_changed) && looks < SCH_OP_ELSEWHERE_LOOKS) {
        struct sch_op_share *share = sy_container_of(sch_list_pop(&op->shares_changed),
                                                     struct sch_op_share, changed);
        struct sch_link *link = share->seats.next;
        for (; link != &share->seats; link = link->next, looks++)
            tell_seat(op, sy_container_of(link, struct sch_op_seat, link));
    }
}

void sch_op_elsewhere_end_step(struct sch_operator *op)
{
    op->elsewhere_due_ns = SY_TIME_NEVER;
    if (sch_list_empty(&op->shares_changed))
        return;
    if (op->elsewhere_told_ns + SCH_OP_ELSEWHERE_INTERVAL_NS <= op->now_ns)
        tell_changed(op);
    if (!sch_list_empty(&op->shares_changed))
        op->elsewhere_due_ns = op->elsewhere_told_ns + SCH_OP_ELSEWHERE_INTERVAL_NS;
}

/* ---- seats that nobody needs ---- */

void sch_op_seat_park(struct sch_operator *op, struct sch_op_seat *seat)
{
    struct sch_op_partition *partition = seat->partition;
    SY_ASSERT(seat->refs == 0 && partition->up && !sch_link_in_list(&seat->idle));
    sch_list_push_back(&partition->seats_idle, &seat->idle);
    partition->seats_idle_count++;
    while (partition->seats_idle_count > SCH_OP_SEATS_IDLE_MAX) {
        struct sch_op_seat *oldest = sy_container_of(partition->seats_idle.next, struct sch_op_seat,
                                                     idle);
        if (sch_use_any(&oldest->told))
            tell(op, oldest, (struct sch_use){0});
        sch_op_seat_unpark(oldest);
        sch_op_seat_free(op, oldest);
    }
}

void sch_op_seat_unpark(struct sch_op_seat *seat)
{
    SY_ASSERT(seat->partition->seats_idle_count > 0);
    sch_list_remove(&seat->idle);
    seat->partition->seats_idle_count--;
}

void sch_op_elsewhere_close(struct sch_operator *op, struct sch_op_partition *partition)
{
    SY_ASSERT(!partition->up);
    while (!sch_list_empty(&partition->seats_idle)) {
        struct sch_op_seat *seat = sy_container_of(partition->seats_idle.next, struct sch_op_seat,
                                                   idle);
        sch_op_seat_unpark(seat);
        sch_op_seat_free(op, seat);
    }
    for (struct sch_link *link = partition->attempts.next; link != &partition->attempts;
         link = link->next) {
        struct sch_op_seat *seat = sy_container_of(link, struct sch_attempt, partition_link)->seat;
        for (; seat; seat = seat->parent)
            seat->told = (struct sch_use){0};
    }
}

/* On a new stream it is told again. */
void sch_op_elsewhere_open(struct sch_operator *op, struct sch_op_partition *partition)
{
    for (struct sch_link *link = partition->attempts.next; link != &partition->attempts;
         link = link->next) {
        const struct sch_op_seat *seat =
            sy_container_of(link, struct sch_attempt, partition_link)->seat;
        for (; seat; seat = seat->parent)
            sch_op_share_changed(op, seat->share);
    }
}
