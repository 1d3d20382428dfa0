#include "scheduler/action_impl.h"
#include "scheduler/partition_gang.h"
#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_queue.h"

#include <stdlib.h>

/* Only what needs a worker has a slot, and only in a run with a limit. */
static struct sch_gate *gate_of(const struct sch_action_impl *a)
{
    return a->lane ? sch_run_impl(a->base.run)->gate : NULL;
}

static bool has_slot(enum sch_action_state state)
{
    return state == SCH_ACTION_QUEUED || state == SCH_ACTION_GANG_WAIT ||
           state == SCH_ACTION_ASSIGNED || state == SCH_ACTION_RUNNING;
}

void sch_gate_new(struct sch_run_impl *run, uint32_t concurrency_max)
{
    SY_ASSERT(!run->gate);
    run->base.concurrency_max = concurrency_max;
    if (concurrency_max == 0)
        return;
    run->gate = sy_new(struct sch_gate);
    run->gate->run = &run->base;
    sch_fifo_init(&run->gate->held, run->base.id);
}

void sch_gate_free(struct sch_partition *p, struct sch_run_impl *run)
{
    struct sch_gate *gate = sy_take(run->gate);
    if (!gate)
        return;
    if (sch_link_in_list(&gate->touched))
        sch_list_remove(&gate->touched);
    sch_fifo_deinit(p, &gate->held);
    free(gate);
}

static void touch(struct sch_partition *p, struct sch_gate *gate)
{
    if (!sch_link_in_list(&gate->touched))
        sch_list_push_back(&p->gates_touched, &gate->touched);
}

void sch_gate_enter(const struct sch_action_impl *a, enum sch_action_state state)
{
    struct sch_gate *gate = gate_of(a);
    if (!gate)
        return;
    gate->recovering += state == SCH_ACTION_RECOVERING;
    gate->run->concurrency_held += state == SCH_ACTION_HELD;
    gate->run->concurrency_used += has_slot(state);
    gate->run->concurrency_parents += has_slot(state) && a->base.children_live > 0;
}

void sch_gate_leave(struct sch_partition *p, const struct sch_action_impl *a,
                    enum sch_action_state state, enum sch_action_state to)
{
    struct sch_gate *gate = gate_of(a);
    if (!gate)
        return;
    SY_ASSERT(state != SCH_ACTION_RECOVERING || gate->recovering > 0);
    SY_ASSERT(!has_slot(state) || gate->run->concurrency_used > 0);
    gate->recovering -= state == SCH_ACTION_RECOVERING;
    gate->run->concurrency_held -= state == SCH_ACTION_HELD;
    gate->run->concurrency_used -= has_slot(state);
    gate->run->concurrency_parents -= has_slot(state) && a->base.children_live > 0;
    if ((has_slot(state) && !has_slot(to)) || state == SCH_ACTION_RECOVERING)
        touch(p, gate);
}

void sch_gate_parent(const struct sch_action_impl *parent, bool is_parent)
{
    struct sch_gate *gate = gate_of(parent);
    if (!gate || !has_slot(sch_action_state(parent)))
        return;
    SY_ASSERT(is_parent || gate->run->concurrency_parents > 0);
    gate->run->concurrency_parents += is_parent ? 1u : UINT32_MAX;
}

static bool slots_are_free(const struct sch_gate *gate, uint32_t slots)
{
    const struct sch_run *run = gate->run;
    return gate->recovering == 0 && run->concurrency_used + slots <= run->concurrency_max;
}

enum sch_action_state sch_gate_first(const struct sch_run_impl *run, uint32_t slots)
{
    const struct sch_gate *gate = run->gate;
    bool open = !gate || (gate->held.waiting == 0 && slots_are_free(gate, slots));
    return open ? SCH_ACTION_QUEUED : SCH_ACTION_HELD;
}

enum sch_action_state sch_gate_next(const struct sch_action_impl *a)
{
    return has_slot(sch_action_state(a)) ? SCH_ACTION_QUEUED
                                         : sch_gate_first(sch_run_impl(a->base.run), 1);
}

/* Another one may be first, who asks for fewer slots: a gang asks for many. */
void sch_gate_hold(struct sch_partition *p, struct sch_action_impl *a, bool front)
{
    SY_ASSERT(sch_action_state(a) == SCH_ACTION_HELD);
    sch_fifo_push(p, &gate_of(a)->held, a, front);
    touch(p, gate_of(a));
}

void sch_gate_unhold(struct sch_partition *p, struct sch_action_impl *a)
{
    sch_fifo_remove(p, &gate_of(a)->held, a);
    touch(p, gate_of(a));
}

/* Of a gang that is HELD its first asks for all. */
static uint32_t slots_of(const struct sch_action_impl *a)
{
    const struct sch_gang *gang = sch_action_gang_of(a);
    return gang ? gang->shape.size : 1;
}

/* At the end of the step, so that an abort of a whole run starts none of it. */
void sch_gates_release(struct sch_partition *p)
{
    while (!sch_list_empty(&p->gates_touched)) {
        struct sch_link *link = sch_list_pop(&p->gates_touched);
        struct sch_gate *gate = sy_container_of(link, struct sch_gate, touched);
        while (gate->held.waiting > 0) {
            struct sch_action_impl *a = sch_fifo_first(&gate->held);
            if (!slots_are_free(gate, slots_of(a)))
                break;
            sch_gate_unhold(p, a);
            sch_action_move(p, a, SCH_ACTION_QUEUED);
            if (sch_action_gang_of(a))
                sch_gang_released(p, a);
            sch_class_waits(p, a);
            sch_lane_push(p, a, false);
        }
    }
}
