#include "scheduler/action_impl.h"
#include "scheduler/partition_gang.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_turn.h"

#include <string.h>

/* ---- in and out ---- */

void sch_lane_push(struct sch_partition *p, struct sch_action_impl *a, bool front)
{
    struct sch_lane *lane = a->lane;
    SY_ASSERT(lane && sch_action_state(a) == SCH_ACTION_QUEUED);
    sch_fifo_push(p, &lane->queue, a, front);
    lane->seat.class->waiting++;
    sch_seat_ready(p, &lane->seat, 1);
    sch_seat_update(p, &lane->seat);
    sch_class_touch(p, lane->seat.class);
    if (lane->seat.class->gang.size > 0)
        sch_gang_ask(p, lane->seat.class);
}

void sch_lane_remove(struct sch_partition *p, struct sch_action_impl *a)
{
    struct sch_lane *lane = a->lane;
    SY_ASSERT(lane->seat.class->waiting > 0);
    sch_fifo_remove(p, &lane->queue, a);
    lane->seat.class->waiting--;
    sch_seat_ready(p, &lane->seat, -1);
    sch_seat_update(p, &lane->seat);
    sch_class_touch(p, lane->seat.class);
}

/* ---- assigning ---- */

static void assign(struct sch_partition *p, struct sch_lane *lane, struct sch_pair *pair)
{
    struct sch_action_impl *a = sch_fifo_first(&lane->queue);
    if (sch_action_gang_of(a)) {
        sch_gang_assign(p, a, pair);
    } else {
        pair = sch_pair_near(a, pair);
        sch_action_assign(p, a, pair);
    }
    sch_pair_take(p, pair);
    pair->class->reclaim_asked = NULL; /* what was asked for came, if it was asked for */
    pair->class->reclaim_in_vain = 0;
    pair->class->reclaim_after_ns = 0;
    sch_starts_count(&lane->starts, p->now_ns);
    sch_starts_count(&pair->class->starts, p->now_ns);
}

void sch_lanes_assign(struct sch_partition *p)
{
    struct sch_pair *pair = NULL;
    struct sch_lane *lane;
    for (unsigned i = 0; i < p->options.assign_max && (lane = sch_turn_next(p, &pair)); i++)
        assign(p, lane, pair);
}

/* ---- ageing ---- */

/* A level's first has waited for long enough to gain one more, or another one is first by now. */
void sch_ages_tick(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    for (uint32_t left = p->options.looks_max; left > 0; left--) { /* a tick at once goes on */
        top = sch_heap_top(&p->ages);
        if (!top || top->key > p->now_ns)
            return;
        struct sch_level *level = sy_container_of(top, struct sch_level, age);
        sch_level_age(p, level);
        SY_ASSERT(!sch_heap_has(&level->age) || level->age.key > p->now_ns);
        sch_seat_update(p, &level->fifo->lane->seat);
    }
}
