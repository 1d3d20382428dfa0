#include "scheduler/partition_gang.h"
#include "scheduler/partition_route.h"

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
    if (sch_action_gang_of(a))
        sch_gang_assign(p, a, pair);
    else
        sch_action_assign(p, a, pair);
    sch_pair_take(p, pair);
    sch_starts_count(&lane->starts, p->now_ns);
    sch_starts_count(&pair->class->starts, p->now_ns);
}

/* Of all classes that could run something now, who is next. Few can at a time: room comes in small
 * amounts, and a class that found none is out until more comes. */
static struct sch_lane *next_lane(struct sch_partition *p, struct sch_pair **ret_pair)
{
    struct sch_lane *best = NULL;
    struct sch_link *link = p->runnable.next;
    while (link != &p->runnable) {
        struct sch_class *class = sy_container_of(link, struct sch_class, runnable);
        link = link->next; /* the class may leave the list */
        struct sch_pair *pair = sch_class_route(p, class);
        struct sch_lane *lane = pair ? sch_class_next(p, class) : NULL;
        if (!lane || (best && !sch_lane_before(lane, best)))
            continue;
        best = lane;
        *ret_pair = pair;
    }
    return best;
}

void sch_lanes_assign(struct sch_partition *p)
{
    struct sch_pair *pair = NULL;
    struct sch_lane *lane;
    for (unsigned i = 0; i < SCH_ASSIGN_MAX && (lane = next_lane(p, &pair)); i++)
        assign(p, lane, pair);
}

/* ---- ageing ---- */

/* A level's first has waited for long enough to gain one more, or another one is first by now. */
void sch_ages_tick(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&p->ages)) && top->key <= p->now_ns) {
        struct sch_level *level = sy_container_of(top, struct sch_level, age);
        sch_level_age(p, level);
        SY_ASSERT(!sch_heap_has(&level->age) || level->age.key > p->now_ns);
        sch_seat_update(p, &level->fifo->lane->seat);
    }
}
