/* links: sch */
/* How much a step of the operator core does of what is due at once, and that the next ones do the
 * rest: nodes that are lost together, what is parked when room comes, the beginning of an order. */
#include "base/mem.h"
#include "scheduler/operator_impl.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

enum { NODES = 12, EACH = 3, KINDS = 40, LOOKS = 16 };

struct world {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    uint64_t action, placed[KINDS + 1], granted[KINDS + 1], lost; /* by class, as placed; granted */
    uint32_t placements, steps;
};

static void step(struct world *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    sch_operator_step(w->op, &event, &w->fx);
    w->steps++;
    for (size_t i = 0; i < w->fx.count; i++) {
        const struct sch_op_effect *effect = &w->fx.items[i];
        if (effect->type == SCH_OP_SEND_ASSIGN && w->placements < KINDS)
            w->placed[w->placements++] = effect->u.assign.key.action;
        if (effect->type == SCH_OP_SEND_GRANT && effect->u.grant.partition == 1)
            w->granted[effect->u.grant.class_id] = effect->u.grant.granted;
        w->lost += effect->type == SCH_OP_SEND_OUTCOME;
    }
    sch_operator_check(w->op);
}

static bool tick(struct world *w)
{
    bool due = sch_operator_next_ns(w->op) <= w->now;
    if (due)
        step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    return due;
}

static void settle(struct world *w)
{
    while (tick(w))
        ;
}

static void pass(struct world *w, int64_t ns)
{
    for (int64_t end = w->now + ns; w->now < end; settle(w))
        w->now += SY_NS_PER_MS;
}

static struct world *world_new(uint32_t partitions)
{
    struct world *w = sy_new(struct world);
    struct sch_operator_options options = {
        .hold_ns = 3600 * SY_NS_PER_S, .node_lease_ns = SY_NS_PER_S, .looks_max = LOOKS};
    w->now = SY_NS_PER_S;
    w->op = sch_operator_new(&options, w->now);
    for (uint32_t i = 1; i <= partitions; i++)
        step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {i, 1}});
    return w;
}

static void world_free(struct world *w)
{
    sch_operator_free(w->op);
    sch_op_effects_deinit(&w->fx);
    free(w);
}

static void to_node(struct world *w, enum sch_op_event_type type, uint32_t i)
{
    char name[16];
    struct sch_op_event event = {.type = type};
    snprintf(name, sizeof(name), "n%u", i);
    event.u.node.name = name;
    if (type == SCH_OP_NODE_UP)
        event.u.node.capacity.cpu_milli = 1000 * KINDS;
    if (type == SCH_OP_NODE_CORDON || type == SCH_OP_NODE_UNCORDON)
        event.u.verb.node = name;
    step(w, event);
    if (type == SCH_OP_NODE_UP)
        to_node(w, SCH_OP_NODE_INVENTORY_COMPLETE, i);
}

/* No two classes of a partition ask for the same. */
static void demand(struct world *w, uint32_t partition, uint32_t class_id)
{
    struct sch_share_standing standing = {.path = {3, {1, 1, 1}}, .weights = {1, 1, 1}};
    struct sch_op_event event = {.type = SCH_OP_DEMAND};
    event.u.demand.partition = partition;
    event.u.demand.class_id = class_id;
    event.u.demand.request.cpu_milli = 500 + class_id;
    event.u.demand.waiting = 1;
    event.u.demand.standing = &standing;
    step(w, event);
}

static void release(void *data)
{
    (void)data;
}

static void assign(struct world *w, uint32_t class_id)
{
    struct sch_op_event event = {.type = SCH_OP_ASSIGN};
    event.u.assign.class_id = class_id;
    event.u.assign.key = (struct sch_attempt_key){++w->action, 1, 1, 1};
    event.u.assign.blob = (struct sch_blob){.data = w, .release = release};
    step(w, event);
}

START_TEST(nodes_that_are_lost_together_go_in_slices)
{
    struct world *w = world_new(1);
    for (uint32_t i = 0; i < NODES; i++) {
        to_node(w, SCH_OP_NODE_UP, i);
        for (uint32_t k = 1; k <= EACH; k++) {
            demand(w, 1, i * EACH + k);
            pass(w, 100 * SY_NS_PER_MS);
            assign(w, i * EACH + k);
        }
    }
    ck_assert_uint_eq(w->placements, NODES * EACH);
    for (uint32_t i = 0; i < NODES; i++)
        to_node(w, SCH_OP_NODE_DOWN, i);
    pass(w, 400 * SY_NS_PER_MS);
    pass(w, 400 * SY_NS_PER_MS);
    ck_assert_uint_eq(w->op->node_count, NODES);
    w->now += 300 * SY_NS_PER_MS;
    uint32_t before = NODES, steps = 0;
    for (; tick(w); before = w->op->node_count, steps += w->op->due_looks > 0)
        ck_assert_uint_le(before - w->op->node_count, LOOKS / SCH_OP_DUE_LOOKS);
    ck_assert_uint_gt(steps, NODES / (LOOKS / SCH_OP_DUE_LOOKS));
    ck_assert_uint_eq(w->op->node_count, 0);
    ck_assert_uint_eq(w->lost, NODES * EACH);
    world_free(w);
}
END_TEST

/* None but who came first is placed first, and the others in the steps that follow. */
START_TEST(what_is_parked_has_its_turn_in_slices)
{
    struct world *w = world_new(1);
    to_node(w, SCH_OP_NODE_UP, 0);
    for (uint32_t i = 1; i <= KINDS; i++)
        demand(w, 1, i);
    pass(w, 500 * SY_NS_PER_MS);
    to_node(w, SCH_OP_NODE_CORDON, 0);
    for (uint32_t i = 1; i <= KINDS; i++)
        assign(w, i);
    settle(w);
    ck_assert_uint_eq(w->placements, 0);
    to_node(w, SCH_OP_NODE_UNCORDON, 0);
    ck_assert_uint_eq(w->placements, LOOKS / SCH_OP_PARKED_LOOKS);
    to_node(w, SCH_OP_NODE_CORDON, 0); /* meanwhile there is no room again */
    settle(w);
    ck_assert_uint_eq(w->placements, LOOKS / SCH_OP_PARKED_LOOKS);
    to_node(w, SCH_OP_NODE_UNCORDON, 0);
    for (uint32_t before = w->placements; tick(w); before = w->placements)
        ck_assert_uint_le(w->placements - before, LOOKS / SCH_OP_PARKED_LOOKS);
    ck_assert_uint_eq(w->placements, KINDS);
    ck_assert(w->placed[0] == 1 && sch_list_empty(&w->op->parked.todo));
    world_free(w);
}
END_TEST

/* All kinds are to be decided again while that is under way: they are, by the next decision. */
START_TEST(an_order_gathers_in_slices_who_asks)
{
    struct world *w = world_new(2);
    to_node(w, SCH_OP_NODE_UP, 0);
    for (uint32_t i = 1; i <= KINDS; i++) {
        demand(w, 1, i);
        demand(w, 2, i);
    }
    pass(w, 500 * SY_NS_PER_MS);
    to_node(w, SCH_OP_NODE_UP, 1);
    uint32_t gathering = 0, serial = 0;
    for (bool more = true; more || w->op->order.phase != SCH_OP_ORDER_NONE; more = tick(w)) {
        gathering += w->op->order.phase == SCH_OP_ORDER_GATHER;
        ck_assert_uint_lt(w->op->order.looks, LOOKS + SCH_OP_KIND_LOOKS + 3);
        if (gathering == 1 && serial++ == 0)
            to_node(w, SCH_OP_NODE_UP, 2);
    }
    ck_assert_uint_ge(gathering, KINDS / LOOKS);
    pass(w, 500 * SY_NS_PER_MS);
    ck_assert(sch_list_empty(&w->op->kinds_dirty));
    for (uint32_t i = 1; i <= KINDS; i++)
        ck_assert_uint_gt(w->granted[i], 0);
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {nodes_that_are_lost_together_go_in_slices,
                                  what_is_parked_has_its_turn_in_slices,
                                  an_order_gathers_in_slices_who_asks, NULL};
    return sy_test_run("sch_operator_slices", tests);
}
