#include "scheduler/operator_impl.h"
#include "scheduler/operator_wait.h"

/* ---- room on a node ---- */

static void room_came(struct sch_operator *op, struct sch_node *node)
{
    sch_node_changed(op, node);
    if (sch_node_state(node) == SCH_NODE_GONE)
        return;
    if (sch_link_in_list(&node->freed))
        sch_list_remove(&node->freed);
    sch_list_push_back(&op->freed, &node->freed);
}

void sch_node_leaving(struct sch_operator *op, struct sch_node *node, int delta)
{
    SY_ASSERT(delta >= 0 || node->leaving > 0);
    node->leaving += (uint32_t)delta;
    bool leaves = node->leaving > 0;
    if (leaves && !sch_link_in_list(&node->leaves))
        sch_list_push_back(&op->nodes_leaving, &node->leaves);
    else if (!leaves && sch_link_in_list(&node->leaves))
        sch_list_remove(&node->leaves);
}

void sch_node_charge(struct sch_operator *op, struct sch_attempt *a, bool room)
{
    SY_ASSERT(!a->charged && a->node && a->kind);
    SY_ASSERT(!room || sch_node_fits(a->node, &a->kind->request) > 0);
    a->charged = true;
    a->room = room;
    sch_node_leaving(op, a->node, a->cancelled);
    sch_node_use(a->node, a);
    sch_node_changed(op, a->node);
}

void sch_node_uncharge(struct sch_operator *op, struct sch_attempt *a)
{
    if (!a->charged)
        return;
    SY_ASSERT(a->node && a->kind);
    a->charged = a->room = false;
    sch_node_leaving(op, a->node, -(int)a->cancelled);
    sch_node_unuse(a->node, a);
    room_came(op, a->node);
}

/* ---- backlogs ---- */

/* Asked back when its first has waited there for too long. */
static void watch_backlog(struct sch_operator *op, struct sch_node *node)
{
    if (sch_list_empty(&node->backlog)) {
        sch_heap_remove(&op->recalls, &node->recall);
        return;
    }
    const struct sch_attempt *first = sy_container_of(node->backlog.next, struct sch_attempt,
                                                      queue);
    sch_heap_set(&op->recalls, &node->recall, first->held_until_ns);
}

void sch_node_backlog_push(struct sch_operator *op, struct sch_attempt *a)
{
    SY_ASSERT(sch_attempt_state(a) == SCH_ATTEMPT_PLACED && !a->charged);
    a->held_until_ns = op->now_ns + op->options.hold_ns;
    sch_list_push_back(&a->node->backlog, &a->queue);
    watch_backlog(op, a->node);
    a->node->backlog_count++;
    a->kind->backlog_count++;
    sch_attempt_unstarted(op, a, true);
    sch_node_changed(op, a->node);
}

void sch_node_backlog_remove(struct sch_operator *op, struct sch_attempt *a)
{
    SY_ASSERT(a->node->backlog_count > 0 && a->kind->backlog_count > 0);
    sch_list_remove(&a->queue);
    watch_backlog(op, a->node);
    a->node->backlog_count--;
    a->kind->backlog_count--;
    sch_attempt_unstarted(op, a, false);
    room_came(op, a->node);
}

/* All that has not started comes back, so all of it must be single actions that wait for room, and
 * whose partitions hear of it: the others would lose a start that is near, their gang, or count as
 * lost. */
static bool may_recall(const struct sch_node *node)
{
    if (node->listing)
        return false;
    for (const struct sch_link *link = node->attempts.next; link != &node->attempts;
         link = link->next) {
        const struct sch_attempt *a = sy_container_of((struct sch_link *)(uintptr_t)link,
                                                      struct sch_attempt, place);
        if (sch_attempt_state(a) == SCH_ATTEMPT_PLACED &&
            (a->charged || !a->single || !sch_attempt_is_heard(a)))
            return false;
    }
    return true;
}

void sch_node_recall(struct sch_operator *op, struct sch_node *node)
{
    if (may_recall(node))
        sch_node_give_back(op, node);
}

/* Attempts ended there so fast that more were sent than fit; now none does, and what waits for the
 * node could start elsewhere, or go to who is next. */
void sch_backlogs_tick(struct sch_operator *op)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&op->recalls)) && top->key <= op->now_ns && sch_op_may_look(op)) {
        struct sch_node *node = sy_container_of(top, struct sch_node, recall);
        op->due_looks += SCH_OP_DUE_LOOKS + node->backlog_count;
        for (struct sch_link *link = node->backlog.next; link != &node->backlog; link = link->next)
            sy_container_of(link, struct sch_attempt, queue)->held_until_ns =
                op->now_ns + op->options.hold_ns; /* then it is asked again */
        sch_node_recall(op, node);
        watch_backlog(op, node);
    }
}

/* Only the first is looked at, as the agent starts them in order. */
void sch_node_promote(struct sch_operator *op, struct sch_node *node)
{
    if (sch_node_state(node) != SCH_NODE_READY || node->listing)
        return;
    while (!sch_list_empty(&node->backlog)) {
        struct sch_attempt *a = sy_container_of(node->backlog.next, struct sch_attempt, queue);
        SY_ASSERT(a->node == node && !a->charged);
        if (sch_node_fits(node, &a->kind->request) == 0)
            break;
        sch_node_backlog_remove(op, a);
        sch_node_charge(op, a, true);
        sch_kind_dirty(op, a->kind);
    }
}

/* ---- placing ---- */

void sch_attempt_hold(struct sch_operator *op, struct sch_attempt *a)
{
    struct sch_kind *kind = a->kind;
    SY_ASSERT(sch_attempt_state(a) == SCH_ATTEMPT_HELD);
    a->held_until_ns = op->now_ns + op->options.hold_ns;
    sch_list_push_back(&op->held, &a->place);
    sch_list_push_back(&kind->held, &a->queue);
    sch_attempt_unstarted(op, a, true);
    if (kind->held_count++ == 0)
        sch_round_add(&op->parked, &kind->parked);
}

void sch_attempt_unhold(struct sch_operator *op, struct sch_attempt *a)
{
    struct sch_kind *kind = a->kind;
    if (a->gang) {
        sch_op_gang_leave(op, a);
        return;
    }
    SY_ASSERT(sch_attempt_state(a) == SCH_ATTEMPT_HELD && kind->held_count > 0);
    sch_list_remove(&a->place);
    sch_list_remove(&a->queue);
    sch_attempt_unstarted(op, a, false);
    if (--kind->held_count == 0)
        sch_list_remove(&kind->parked);
}

struct sch_op_effect *sch_attempt_place(struct sch_operator *op, struct sch_attempt *a,
                                        struct sch_node *node, bool room)
{
    SY_ASSERT(!node->claim || node->claim->class == a->class);
    a->single = a->gang == NULL;
    sch_attempt_unhold(op, a);
    a->node = node;
    a->node->refs++;
    sm_move(&a->sm, &sch_attempt_table, SCH_ATTEMPT_PLACED, a);
    a->held_ns = op->now_ns - a->held_ns;
    sch_list_push_back(&a->node->attempts, &a->place);
    sch_node_waits(op, a, true);
    if (room)
        sch_node_charge(op, a, true);
    else
        sch_node_backlog_push(op, a);
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_ASSIGN);
    effect->u.assign.node = a->node->name;
    effect->u.assign.key = a->key;
    effect->u.assign.blob = a->blob;
    a->blob = (struct sch_blob){0};
    return effect;
}

bool sch_kind_place(struct sch_operator *op, struct sch_kind *kind)
{
    bool room;
    SY_ASSERT(kind->held_count > 0);
    struct sch_node *node = sch_kind_choose(op, kind, &room);
    if (!node)
        return false;
    struct sch_attempt *a = sy_container_of(kind->held.next, struct sch_attempt, queue);
    (void)sch_attempt_place(op, a, node, room);
    return true;
}

/* What is parked fitted nowhere before: only what came since is looked at. */
static bool may_fit(struct sch_operator *op, struct sch_kind *kind)
{
    if (op->parked_anywhere)
        return true;
    for (struct sch_link *link = op->parked_at.next; link != &op->parked_at; link = link->next) {
        if (sch_kind_takes(op, kind, sy_container_of(link, struct sch_node, freed)))
            return true;
    }
    return false;
}

/* In turns, so that one kind does not take all the room that came. Room that comes before all have
 * had theirs is for each of them. */
void sch_place_parked(struct sch_operator *op)
{
    if (op->choice_came || !sch_list_empty(&op->freed))
        sch_round_begin(&op->parked);
    op->parked_anywhere |= op->choice_came;
    op->choice_came = false;
    sch_list_splice(&op->parked_at, &op->freed);
    while (!sch_list_empty(&op->parked.todo) && op->parked_looks < op->options.looks_max) {
        struct sch_link *link = op->parked.todo.next;
        struct sch_kind *kind = sy_container_of(link, struct sch_kind, parked);
        op->parked_looks += SCH_OP_PARKED_LOOKS;
        bool placed = may_fit(op, kind) && sch_kind_place(op, kind);
        if (placed)
            sch_kind_dirty(op, kind);
        if (!sch_link_in_list(link))
            continue; /* it was the last that the kind held */
        sch_list_remove(link);
        sch_list_push_back(placed ? &op->parked.todo : &op->parked.done, link);
    }
    if (!sch_list_empty(&op->parked.todo))
        return;
    op->parked_anywhere = false;
    while (!sch_list_empty(&op->parked_at))
        (void)sch_list_pop(&op->parked_at);
}

void sch_held_tick(struct sch_operator *op)
{
    while (!sch_list_empty(&op->held) && sch_op_may_look(op)) {
        struct sch_attempt *a = sy_container_of(op->held.next, struct sch_attempt, place);
        if (a->held_until_ns > op->now_ns)
            break;
        op->due_looks += SCH_OP_DUE_LOOKS;
        if (sch_attempt_is_heard(a)) {
            sch_attempt_returned(op, a, "no node had room for it in time");
            continue;
        }
        a->held_until_ns = op->now_ns + op->options.hold_ns; /* nobody to give it back to */
        sch_list_remove(&a->place);
        sch_list_push_back(&op->held, &a->place);
    }
}
