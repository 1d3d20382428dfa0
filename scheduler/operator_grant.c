#include "scheduler/operator_impl.h"

void sch_kind_dirty(struct sch_operator *op, struct sch_kind *kind)
{
    if (!sch_link_in_list(&kind->dirty))
        sch_list_push_back(&op->kinds_dirty, &kind->dirty);
}

/* What the kind may hold beyond the room that is free now: enough to hide a round trip. */
static uint64_t backlog_max(const struct sch_kind *kind)
{
    if (kind->capable == 0)
        return 0;
    uint64_t least = (uint64_t)kind->capable * SCH_OP_BACKLOG_MIN,
             rate = sch_rate_backlog(&kind->rate);
    uint64_t most = rate > least ? rate : least;
    return most < SCH_OP_BACKLOG_MAX ? most : SCH_OP_BACKLOG_MAX;
}

static void grant_class(struct sch_operator *op, struct sch_op_class *class, uint64_t share)
{
    uint64_t outstanding = class->granted > class->assigned ? class->granted - class->assigned : 0;
    if (share <= outstanding)
        return; /* never lower than before */
    if (outstanding > 0 && outstanding * 4 > share * 3)
        return; /* not worth a message yet */
    class->granted = class->assigned + share;
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_GRANT);
    effect->u.grant.partition = class->partition->id;
    effect->u.grant.class_id = class->id;
    effect->u.grant.granted = class->granted;
}

/* Kinds that ask at the same time share: in proportion to what waits, but none gets less than an
 * equal part, for they may not compete at all (GPU nodes, environments). So at most twice the room
 * is promised; what is too much waits in backlogs. */
static uint64_t part_of_kind(const struct sch_operator *op, const struct sch_kind *kind,
                             uint64_t free_room)
{
    uint64_t asking = op->asking_count + (kind->waiting == 0);
    SY_ASSERT(kind->waiting <= op->waiting && asking > 0);
    uint64_t equal = (free_room + asking - 1) / asking;
    uint64_t weighted = op->waiting > 0 ? free_room * kind->waiting / op->waiting : 0;
    return equal > weighted ? equal : weighted;
}

/* In proportion to what waits; a class that is idle weighs as one that waits, so it has something
 * at hand for the next action. Each that asks gets one when it has nothing unstarted here. */
void sch_kind_grant(struct sch_operator *op, struct sch_kind *kind)
{
    sch_kind_sync(op, kind);
    uint64_t can = kind->room + backlog_max(kind), holds = kind->held_count + kind->backlog_count;
    uint64_t weights = 0, free_room = part_of_kind(op, kind, can > holds ? can - holds : 0);
    if (kind->capable == 0)
        return;
    for (struct sch_link *link = kind->classes.next; link != &kind->classes; link = link->next)
        weights += sy_container_of(link, struct sch_op_class, kind_link)->waiting + 1;
    for (struct sch_link *link = kind->classes.next; link != &kind->classes; link = link->next) {
        struct sch_op_class *class = sy_container_of(link, struct sch_op_class, kind_link);
        SY_ASSERT(class->partition->up && weights > 0);
        uint64_t share = free_room * (class->waiting + 1) / weights;
        if (share == 0 && class->unstarted == 0 && (class->waiting > 0 || free_room > 0))
            share = 1;
        grant_class(op, class, share);
    }
}

static void grant_all(struct sch_operator *op)
{
    op->granted_ns = op->now_ns;
    op->grant_due_ns = SY_TIME_NEVER;
    for (struct sch_link *link = op->kinds_asking.next; link != &op->kinds_asking;
         link = link->next) {
        struct sch_kind *kind = sy_container_of(link, struct sch_kind, asking);
        if (!sch_link_in_list(&kind->dirty))
            sch_kind_grant(op, kind);
    }
    while (!sch_list_empty(&op->kinds_dirty)) {
        struct sch_kind *kind = sy_container_of(op->kinds_dirty.next, struct sch_kind, dirty);
        sch_list_remove(&kind->dirty);
        sch_kind_grant(op, kind);
    }
}

/* The first change is answered at once, what follows is gathered. */
void sch_grant_end_step(struct sch_operator *op)
{
    if (sch_list_empty(&op->kinds_dirty))
        return;
    int64_t times = 1 + (int64_t)(op->asking_count / SCH_OP_GRANT_KINDS);
    int64_t next_ns = op->granted_ns + times * SCH_OP_GRANT_INTERVAL_NS;
    if (next_ns <= op->now_ns)
        grant_all(op);
    else
        op->grant_due_ns = next_ns;
    SY_ASSERT(op->grant_due_ns > op->now_ns);
}

void sch_grant_tick(struct sch_operator *op)
{
    if (op->grant_due_ns <= op->now_ns)
        grant_all(op);
}
