/*
 * Attempts that are not given up because their node is silent: they outwait its lease. Which nodes
 * have such is told to the shell, which writes it down before they are sent; so an operator that is
 * started anew while such a node is silent knows that what it lacks may be there.
 */
#include "scheduler/operator_wait.h"

#include <stdlib.h>
#include <string.h>

/* A node that had attempts that wait when an earlier operator heard of it, and was not back yet. */
struct sch_op_owed {
    struct sch_link link; /* op->owed */
    char name[];
};

static void say(struct sch_operator *op, const struct sch_node *node, bool begins)
{
    if (!op->out)
        return; /* the core is freed */
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_NODE_WAITED);
    effect->u.waited.node = begins ? node->name : NULL; /* which may go in this step */
    effect->u.waited.begins = begins;
}

void sch_node_waits(struct sch_operator *op, struct sch_attempt *a, bool begins)
{
    if (!a->waits)
        return;
    SY_ASSERT(a->node && (begins || a->node->waits > 0));
    a->node->waits += begins ? 1u : -1u;
    if (a->node->waits == begins)
        say(op, a->node, begins);
}

bool sch_node_outwaits(struct sch_operator *op, struct sch_node *node)
{
    struct sch_link waiting, *next;
    SY_ASSERT(sch_node_state(node) == SCH_NODE_LOST && sch_list_empty(&node->unnamed));
    sch_list_init(&waiting);
    for (struct sch_link *at = node->attempts.next; node->waits > 0 && at != &node->attempts;
         at = next) {
        const struct sch_attempt *a = sy_container_of(at, struct sch_attempt, place);
        next = at->next;
        if (!a->waits || (a->cancelled && !a->preempted)) /* it would begin elsewhere */
            continue;
        sch_list_remove(at);
        sch_list_push_back(&waiting, at);
    }
    if (sch_list_empty(&waiting))
        return false;
    sch_node_lose(op, node, &node->attempts);
    sch_list_splice(&node->attempts, &waiting);
    sch_heap_remove(&op->leases, &node->lease);
    return true;
}

void sch_node_waited_out(struct sch_operator *op, struct sch_node *node)
{
    if (sch_node_state(node) == SCH_NODE_LOST && !sch_heap_has(&node->lease) &&
        sch_list_empty(&node->attempts))
        sch_heap_set(&op->leases, &node->lease, op->now_ns); /* with the next tick */
}

void sch_node_forgo(struct sch_operator *op, const struct sch_attempt_key *key)
{
    struct sch_attempt *a = sch_attempt_find(op, key);
    if (a && a->waits && a->cancelled)
        a->preempted = NULL; /* whoever stopped it before: it is over */
    if (a && a->waits && a->cancelled && sch_attempt_state(a) != SCH_ATTEMPT_DONE &&
        sch_node_state(a->node) == SCH_NODE_LOST && !sch_heap_has(&a->node->lease))
        sch_attempt_done(op, a, (struct sch_blob){0});
}

/* ---- what an earlier operator left ---- */

static struct sch_op_owed *find(const struct sch_operator *op, const char *name)
{
    for (struct sch_link *at = op->owed.next; at != &op->owed; at = at->next) {
        struct sch_op_owed *owed = sy_container_of(at, struct sch_op_owed, link);
        if (strcmp(owed->name, name) == 0)
            return owed;
    }
    return NULL;
}

void sch_node_owed(struct sch_operator *op, const char *name)
{
    SY_ASSERT(!sch_node_find(op, name));
    if (find(op, name))
        return;
    size_t size = strlen(name) + 1;
    struct sch_op_owed *owed = sy_calloc(1, sizeof(*owed) + size);
    memcpy(owed->name, name, size);
    sch_list_push_back(&op->owed, &owed->link);
}

void sch_node_paid(struct sch_operator *op, const char *name)
{
    struct sch_op_owed *owed = find(op, name);
    if (!owed)
        return;
    sch_list_remove(&owed->link);
    free(owed);
    (void)sch_op_effect_add(op, SCH_OP_NODE_WAITED); /* of the file it may go */
    if (sch_list_empty(&op->owed))
        sch_op_settled(op);
}

void sch_owed_free(struct sch_operator *op)
{
    while (!sch_list_empty(&op->owed))
        free(sy_container_of(sch_list_pop(&op->owed), struct sch_op_owed, link));
}

void sch_operator_each_waited(const struct sch_operator *op,
                              void (*fn)(void *ctx, const char *node), void *ctx)
{
    for (struct sch_link *at = op->owed.next; at != &op->owed; at = at->next)
        fn(ctx, sy_container_of(at, struct sch_op_owed, link)->name);
    for (uint32_t i = 0; i < op->node_count; i++) {
        if (op->nodes[i]->waits > 0 && !find(op, op->nodes[i]->name))
            fn(ctx, op->nodes[i]->name);
    }
}

bool sch_operator_knows_node(const struct sch_operator *op, const char *name)
{
    return sch_node_find(op, name) || sch_service_find(op, name) || find(op, name);
}
