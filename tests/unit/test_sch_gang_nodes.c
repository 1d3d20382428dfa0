/* links: sch */
/* Gangs in a cluster: placed whole, reserved for, given back whole. Nodes have four cores. */
#include "scheduler/operator_impl.h"
#include "tests/unit/test_sch_gang_world.h"

START_TEST(it_waits_for_its_last_member)
{
    struct world *w = world_new(NULL, 2);
    demand(w, GANG, 1, 1, &eight);
    ck_assert_uint_eq(grant_of(w, GANG)->u.grant.granted, 1);
    ck_assert_uint_eq(grant_of(w, GANG)->u.grant.startable, 1);
    gang(w, GANG, 7, 7, 0, NULL);
    ck_assert_uint_eq(w->members, 0);
    (void)assign_as(w, GANG, 7, 7, 0);
    ck_assert_uint_eq(w->members, 8);
    ck_assert_str_eq(w->first_node, w->nodes[0]);
    for (unsigned i = 1; i < 8; i++) /* neighbours lie together */
        ck_assert_str_eq(w->nodes[i], i < 4 ? w->nodes[0] : w->nodes[7]);
    world_free(w);
}
END_TEST

/* n0 is full with small work; the gang needs both nodes. */
START_TEST(nodes_that_are_kept_for_it_take_nothing_new)
{
    struct world *w = world_new(NULL, 3);
    struct sch_attempt_key keys[12];
    demand(w, SMALL, 100, 1, NULL);
    for (unsigned i = 0; i < 10; i++)
        keys[i] = small(w);
    ck_assert_uint_eq(w->placed, 10);
    demand(w, GANG, 1, 1, &eight);
    ck_assert_uint_eq(grant_of(w, GANG)->u.grant.startable, 0); /* taken, but not now */
    gang(w, GANG, 7, 8, 0, NULL);
    ck_assert_uint_eq(w->members, 0);
    /* Two nodes are kept: what ends there stays free, the third takes what comes. */
    for (unsigned i = 0; i < 10 && w->members == 0; i++) {
        w->placed = 0;
        run_for(w, 200 * SY_NS_PER_MS);
        ends(w, &keys[i]);
        run_for(w, 200 * SY_NS_PER_MS);
        keys[10] = small(w);
    }
    ck_assert_uint_eq(w->members, 8);
    world_free(w);
}
END_TEST

START_TEST(two_that_are_too_large_together_come_one_after_the_other)
{
    struct world *w = world_new(NULL, 2);
    struct sch_attempt_key first[6], second[6];
    demand(w, GANG, 1, 1, &six);
    gang(w, GANG, 7, 6, 0, first);
    ck_assert_uint_eq(w->members, 6);
    demand(w, GANG + 1, 1, 1, &six);
    gang(w, GANG + 1, 8, 6, 0, second);
    ck_assert_uint_eq(w->members, 6);
    for (unsigned i = 0; i < 6; i++)
        ends(w, &first[i]);
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->members, 12);
    world_free(w);
}
END_TEST

START_TEST(the_higher_priority_reserves)
{
    struct world *w = world_new(NULL, 2);
    struct sch_attempt_key keys[8];
    demand(w, SMALL, 8, 1, NULL);
    for (unsigned i = 0; i < 8; i++)
        keys[i] = small(w);
    demand(w, GANG, 1, 1, &eight);
    gang(w, GANG, 7, 8, 1, NULL);
    demand(w, GANG + 1, 1, 1, &six);
    gang(w, GANG + 1, 8, 6, 2, NULL);
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_uint_eq(w->members, 0);
        ends(w, &keys[i]);
        run_for(w, SY_NS_PER_S);
    }
    ck_assert_uint_eq(w->members, 6);
    world_free(w);
}
END_TEST

/* A gang that can go now round one that waits does: it takes nothing of what is kept. */
START_TEST(a_small_gang_passes_a_large_one)
{
    static const struct sch_gang_shape two = {.size = 2};
    struct world *w = world_new(NULL, 3);
    demand(w, SMALL, 8, 1, NULL);
    for (unsigned i = 0; i < 2; i++)
        (void)small(w);
    demand(w, GANG, 1, 2, &(struct sch_gang_shape){.size = 6}); /* all nodes, when empty */
    gang(w, GANG, 7, 6, 0, NULL);
    ck_assert_uint_eq(w->members, 0);
    demand(w, GANG + 1, 1, 1, &two);
    gang(w, GANG + 1, 8, 2, 0, NULL);
    ck_assert_uint_eq(w->members, 0); /* every node is kept */
    world_free(w);

    w = world_new(NULL, 3);
    demand(w, SMALL, 8, 1, NULL);
    (void)small(w);
    demand(w, GANG, 1, 3, &(struct sch_gang_shape){.size = 2});
    gang(w, GANG, 7, 2, 0, NULL);
    ck_assert_uint_eq(w->members, 2); /* two nodes were empty */
    demand(w, GANG + 1, 1, 1, &two);
    gang(w, GANG + 1, 8, 2, 0, NULL);
    ck_assert_uint_eq(w->members, 4);
    world_free(w);
}
END_TEST

START_TEST(it_goes_back_whole_and_keeps_its_nodes_for_a_moment)
{
    struct world *w = world_new(NULL, 2);
    struct sch_attempt_key keys[4];
    demand(w, SMALL, 8, 1, NULL);
    for (unsigned i = 0; i < 4; i++)
        keys[i] = small(w);
    demand(w, GANG, 1, 1, &eight);
    gang(w, GANG, 7, 8, 0, NULL);
    run_for(w, GANG_HOLD);
    ck_assert_uint_eq(w->returned, 8);
    ck_assert_uint_eq(w->members, 0);
    for (unsigned i = 0; i < 4; i++)
        ends(w, &keys[i]);
    w->placed = 0;
    (void)small(w);
    ck_assert_uint_eq(w->placed, 0); /* they are kept */
    demand(w, GANG, 1, 1, &eight);
    gang(w, GANG, 7, 8, 0, NULL);
    ck_assert_uint_eq(w->members, 8);
    world_free(w);
}
END_TEST

/* Elsewhere it would begin anew. */
START_TEST(it_stays_as_long_as_more_comes_free_for_it)
{
    struct world *w = world_new(NULL, 2);
    struct sch_attempt_key keys[8];
    demand(w, SMALL, 8, 1, NULL);
    for (unsigned i = 0; i < 8; i++)
        keys[i] = small(w);
    demand(w, GANG, 1, 1, &eight);
    gang(w, GANG, 7, 8, 0, NULL);
    run_for(w, GANG_HOLD / 2);
    ends(w, &keys[0]);
    run_for(w, GANG_HOLD);
    ck_assert_uint_eq(w->returned, 0);
    run_for(w, GANG_HOLD / 2 - 1);
    ck_assert_uint_eq(w->returned, 0);
    run_for(w, 1);
    ck_assert_uint_eq(w->returned, 8);
    world_free(w);
}
END_TEST

START_TEST(what_was_kept_for_one_that_went_elsewhere_is_free_again)
{
    struct world *w = world_new(NULL, 2);
    struct sch_attempt_key keys[4];
    demand(w, SMALL, 8, 1, NULL);
    for (unsigned i = 0; i < 4; i++)
        keys[i] = small(w);
    demand(w, GANG, 1, 1, &eight);
    gang(w, GANG, 7, 8, 0, NULL);
    run_for(w, GANG_HOLD);
    for (unsigned i = 0; i < 4; i++)
        ends(w, &keys[i]);
    w->placed = 0;
    (void)small(w);
    run_for(w, 3 * SY_NS_PER_S);
    (void)small(w);
    ck_assert_uint_gt(w->placed, 0);
    world_free(w);
}
END_TEST

/* Its nodes were to be chosen anew when everybody stood still; by then it had gone back. */
START_TEST(a_clock_that_jumps_leaves_nothing_due)
{
    struct world *w = world_new(NULL, 2);
    struct sch_attempt_key keys[4];
    demand(w, SMALL, 8, 1, NULL);
    for (unsigned i = 0; i < 4; i++)
        keys[i] = small(w);
    demand(w, GANG, 1, 1, &eight);
    gang(w, GANG, 7, 8, 0, NULL);
    ends(w, &keys[0]);
    for (unsigned i = 0; i < 2; i++) { /* the first time it has come closer */
        w->now += GANG_HOLD;
        step(w, (struct sch_op_event){.type = SCH_OP_TICK});
        ck_assert_uint_eq(w->returned, i * 8);
        ck_assert_int_gt(sch_operator_next_ns(w->op), w->now);
    }
    world_free(w);
}
END_TEST

START_TEST(a_member_that_is_cancelled_takes_the_gang_out)
{
    struct world *w = world_new(NULL, 2);
    struct sch_attempt_key keys[8], held = {0};
    demand(w, SMALL, 8, 1, NULL);
    for (unsigned i = 0; i < 4; i++)
        keys[i] = small(w);
    demand(w, GANG, 1, 1, &eight);
    for (uint32_t rank = 0; rank < 8; rank++)
        held = assign_as(w, GANG, 7, rank, 0);
    step(w, (struct sch_op_event){.type = SCH_OP_CANCEL, .u.cancel = {held, "restarted"}});
    for (unsigned i = 0; i < 4; i++)
        ends(w, &keys[i]);
    ck_assert_uint_eq(w->members, 0);
    for (uint64_t i = 1; i < 8; i++) {
        struct sch_attempt_key key = held;
        key.action -= i;
        step(w, (struct sch_op_event){.type = SCH_OP_CANCEL, .u.cancel = {key, "restarted"}});
    }
    (void)small(w);
    ck_assert_uint_eq(w->placed, 5); /* no node is kept any more */
    world_free(w);
}
END_TEST

START_TEST(only_what_was_granted_is_taken)
{
    struct world *w = world_new(NULL, 2);
    demand(w, GANG, 1, 1, &six);
    gang(w, GANG, 7, 6, 0, NULL);
    ck_assert_uint_eq(w->members, 6);
    demand(w, GANG, 0, 1, &six); /* the grant of a second one stands */
    gang(w, GANG, 8, 6, 0, NULL);
    ck_assert_uint_eq(w->returned, 0);
    gang(w, GANG, 9, 6, 0, NULL);
    ck_assert_uint_eq(w->returned, 6);
    /* More than it could ever hold is not granted. */
    demand(w, GANG + 1, 1, 1, &(struct sch_gang_shape){.size = 9});
    ck_assert_ptr_null(grant_of(w, GANG + 1));
    world_free(w);
}
END_TEST

START_TEST(one_that_is_held_is_told_in_an_inventory)
{
    struct world *w = world_new(NULL, 2);
    struct sch_attempt_key keys[8];
    demand(w, SMALL, 8, 1, NULL);
    for (unsigned i = 0; i < 8; i++)
        keys[i] = small(w);
    demand(w, GANG, 1, 1, &six);
    gang(w, GANG, 7, 6, 0, NULL);
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN, .u.partition.partition = 1});
    run_for(w, 2 * GANG_HOLD);
    ck_assert_uint_eq(w->returned, 0); /* there is nobody to give it back to */
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {1, 6}});
    size_t named = 0;
    for (size_t i = 0; i < w->fx.count; i++)
        named += w->fx.items[i].type == SCH_OP_SEND_INVENTORY;
    ck_assert_uint_eq(named, 14);
    for (unsigned i = 0; i < 8; i++)
        ends(w, &keys[i]);
    ck_assert_uint_eq(w->members, 6);
    world_free(w);
}
END_TEST

/* ---- topology ---- */

static const char *const racks[] = {"rack=a", "rack=b,zone=z", "rack=b,zone=y", "rack=a", NULL};

static void assert_in(const struct world *w, const char *nodes)
{
    for (unsigned i = 0; i < 6; i++)
        ck_assert_ptr_nonnull(strstr(nodes, w->nodes[i]));
}

START_TEST(a_domain_is_required)
{
    struct sch_gang_shape in_rack = {.size = 6, .topology = SCH_TOPOLOGY_REQUIRE, .key = "rack"};
    struct world *w = world_new(racks, 5);
    struct sch_attempt_key keys[3];
    demand(w, SMALL, 8, 2, NULL);
    for (unsigned i = 0; i < 3; i++)
        keys[i] = small(w);
    char b[16] = "", a[16] = "n0 n3";
    snprintf(b, sizeof(b), "n1 n2");
    demand(w, GANG, 1, 1, &in_rack);
    gang(w, GANG, 7, 6, 0, NULL);
    while (w->members == 0) {
        for (unsigned i = 0; i < 3; i++) {
            ends(w, &keys[i]);
            run_for(w, SY_NS_PER_S);
        }
    }
    assert_in(w, strstr(b, w->nodes[0]) ? b : a);
    /* A rack that is too small for it when it is empty is none. */
    struct sch_gang_shape large = {.size = 9, .topology = SCH_TOPOLOGY_REQUIRE, .key = "rack"};
    demand(w, GANG + 1, 1, 1, &large);
    ck_assert_ptr_null(grant_of(w, GANG + 1));
    world_free(w);
}
END_TEST

START_TEST(a_domain_is_preferred)
{
    struct sch_gang_shape near = {.size = 6, .topology = SCH_TOPOLOGY_PREFER, .key = "rack"};
    struct world *w = world_new(racks, 5);
    demand(w, GANG, 1, 1, &near);
    gang(w, GANG, 7, 6, 0, NULL);
    ck_assert_uint_eq(w->members, 6);
    assert_in(w, "n0 n3");
    demand(w, GANG + 1, 1, 1, &near);
    gang(w, GANG + 1, 8, 6, 0, NULL);
    assert_in(w, "n1 n2");
    demand(w, GANG + 2, 1, 1, &near); /* now it goes where there is room */
    gang(w, GANG + 2, 9, 6, 0, NULL);
    ck_assert_uint_eq(w->members, 18);
    world_free(w);
}
END_TEST

/* It takes GPUs that are not there: who asks for none may come all the same. */
START_TEST(what_it_took_too_much_is_granted_afterwards)
{
    static const struct sch_gang_shape two = {.size = 2};
    struct world *w = world_new(NULL, 0);
    const struct sch_resources request = {.cpu_milli = 100, .gpus = 1};
    for (unsigned i = 0; i < 2; i++) {
        const char *name = i == 0 ? "g0" : "g1";
        step(w, (struct sch_op_event){
                    .type = SCH_OP_NODE_UP,
                    .u.node = {.name = name, .capacity = {.cpu_milli = 4000, .gpus = 1}}});
        step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = name});
    }
    struct sch_op_event asks = {
        .type = SCH_OP_DEMAND,
        .u.demand = {.partition = 1, .class_id = SMALL, .request = request, .waiting = 2}};
    step(w, asks);
    (void)small(w);
    (void)small(w);
    ck_assert_uint_eq(w->placed, 2);
    asks.u.demand.class_id = GANG;
    asks.u.demand.gang = &two;
    asks.u.demand.waiting = 1;
    step(w, asks);
    gang(w, GANG, 7, 2, 0, NULL);
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->members, 0);
    ck_assert_uint_eq(w->room_gpu_milli, 4000); /* what was assigned, and no more */
    world_free(w);
}
END_TEST

/* ---- how much a step looks at ---- */

/* Many nodes in two racks, without the check of everything after each step. */
static struct world *many_nodes(unsigned nodes)
{
    struct world *w = world_new(NULL, 0);
    struct sch_traits traits[2] = {{.labels = "rack=a"}, {.labels = "rack=b"}};
    for (unsigned i = 0; i < nodes; i++) {
        char name[8];
        snprintf(name, sizeof(name), "n%u", i);
        struct sch_op_event up = {
            .type = SCH_OP_NODE_UP,
            .now_ns = w->now,
            .u.node = {.name = name, .traits = &traits[i % 2], .capacity = {.cpu_milli = 4000}}};
        struct sch_op_event complete = {
            .type = SCH_OP_NODE_INVENTORY_COMPLETE, .now_ns = w->now, .u.node.name = name};
        sch_operator_step(w->op, &up, &w->fx);
        sch_operator_step(w->op, &complete, &w->fx);
    }
    return w;
}

/* Single tasks of a node each, on all nodes. */
static void fill(struct world *w, unsigned nodes, struct sch_attempt_key *ret_last)
{
    demand(w, SMALL, nodes, 4, NULL);
    for (unsigned i = 0; i < nodes; i++) {
        struct sch_attempt_key key = {
            .action = ++w->next_action, .partition = 1, .number = 1, .epoch = 5};
        struct sch_op_event assign = {
            .type = SCH_OP_ASSIGN,
            .now_ns = w->now,
            .u.assign = {.key = key,
                         .class_id = SMALL,
                         .blob = {.data = &w->blobs, .release = blob_release}}};
        w->blobs++;
        sch_operator_step(w->op, &assign, &w->fx);
        look(w);
        *ret_last = key;
    }
    ck_assert_uint_eq(w->placed, nodes);
}

START_TEST(what_is_kept_for_a_gang_is_chosen_among_some_of_many_nodes)
{
    enum { NODES = 3 * SCH_OP_GANG_NODES };
    struct world *w = many_nodes(NODES);
    struct sch_attempt_key last;
    fill(w, NODES, &last);
    demand(w, GANG, 1, 4, &eight);
    ck_assert_ptr_nonnull(grant_of(w, GANG));
    ck_assert_uint_eq(w->op->looks, 0); /* by what is counted */
    /* Room comes on one node: what there is soon is not enough. */
    step(w, (struct sch_op_event){.type = SCH_OP_CANCEL, .u.cancel = {last, "not wanted"}});
    gang(w, GANG, 7, 8, 0, NULL);
    ck_assert_uint_eq(w->members, 0);
    ck_assert_uint_le(w->op->looks, 2 * (SCH_OP_GANG_NODES + 1) + 2); /* of each of two shapes */
    unsigned kept = 0;
    for (struct sch_link *at = w->op->reserved.next; at != &w->op->reserved; at = at->next)
        kept++;
    ck_assert_uint_eq(kept, 8);
    world_free(w);
}
END_TEST

/* ---- racks of a cluster that is half empty ---- */

enum { RACKS = 100, USED = 33, EMPTY = 7, SIZE = 8 };

static void raw_step(struct world *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    sch_operator_step(w->op, &event, &w->fx);
    look(w);
    ck_assert_uint_le(w->op->looks, SCH_OP_GANG_LOOKS + SIZE);
}

static void nodes_up(struct world *w, const char *prefix, unsigned of_rack)
{
    for (unsigned i = 0; i < RACKS * of_rack; i++) {
        char name[16];
        struct sch_traits traits = {0};
        snprintf(name, sizeof(name), "%s%u", prefix, i);
        snprintf(traits.labels, sizeof(traits.labels), "rack=r%u", i % RACKS);
        raw_step(w,
                 (struct sch_op_event){
                     .type = SCH_OP_NODE_UP,
                     .u.node = {.name = name, .traits = &traits, .capacity = {.cpu_milli = 4000}}});
        raw_step(
            w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = name});
    }
}

static struct sch_attempt_key raw_assign(struct world *w, uint32_t class_id, uint64_t gang_id,
                                         uint32_t rank)
{
    struct sch_attempt_key key = {
        .action = ++w->next_action, .partition = 1, .number = 1, .epoch = 5};
    w->blobs++;
    raw_step(w, (struct sch_op_event){
                    .type = SCH_OP_ASSIGN,
                    .u.assign = {.key = key,
                                 .class_id = class_id,
                                 .gang_id = gang_id,
                                 .rank = rank,
                                 .blob = {.data = &w->blobs, .release = blob_release}}});
    return key;
}

/* Each rack has room for all members but one; what is left of its other nodes would be enough, if
 * it were in one piece. */
static struct world *half_empty(struct sch_attempt_key *ret_one)
{
    struct world *w = world_new(NULL, 0);
    nodes_up(w, "u", USED);
    demand(w, SMALL, RACKS * USED, 3, NULL);
    for (unsigned i = 0; i < RACKS * USED; i++) {
        struct sch_attempt_key key = raw_assign(w, SMALL, 0, 0);
        *ret_one = i == 1234 ? key : *ret_one;
    }
    ck_assert_uint_eq(w->placed, RACKS * USED);
    nodes_up(w, "e", EMPTY);
    return w;
}

/* Until it has nothing to do at once, nor grants to work out. */
static unsigned settle(struct world *w)
{
    unsigned slices = 0;
    for (int64_t end = w->now + 200 * SY_NS_PER_MS; w->now < end; w->now += SY_NS_PER_MS) {
        while (sch_operator_next_ns(w->op) <= w->now) {
            raw_step(w, (struct sch_op_event){.type = SCH_OP_TICK});
            slices += w->op->looks > 0;
        }
    }
    return slices;
}

START_TEST(racks_are_counted_in_slices_and_only_anew_when_they_changed)
{
    static const struct sch_gang_shape in_rack = {
        .size = SIZE, .topology = SCH_TOPOLOGY_REQUIRE, .key = "rack"};
    struct sch_attempt_key one;
    struct world *w = half_empty(&one);
    demand(w, GANG, 1, 4, &in_rack);
    ck_assert_uint_ge(settle(w), 1); /* it went on: there were 700 to count */
    for (uint32_t rank = 0; rank < SIZE; rank++)
        (void)raw_assign(w, GANG, 7, rank);
    (void)settle(w);
    ck_assert_uint_eq(w->members, 0); /* eight kept nodes of one rack, or more */
    sch_operator_check(w->op);
    /* One node is whole again: its rack has room, and no other is looked at. */
    const char *node = sch_operator_node_of(w->op, &one);
    struct sch_op_event end = {.type = SCH_OP_OUTCOME, .u.report = {.node = node, .key = one}};
    raw_step(w, end);
    ck_assert_uint_eq(w->members, SIZE);
    ck_assert_uint_le(w->op->looks, 64);
    sch_operator_check(w->op);
    world_free(w);
}
END_TEST

/* Whether it ever is; the label is new, so each node is looked at for that, not for its room. */
static bool until_granted(struct world *w, uint32_t class_id, const struct sch_gang_shape *shape)
{
    demand(w, class_id, 1, 4, shape);
    bool granted = grant_of(w, class_id) != NULL;
    for (int64_t end = w->now + 200 * SY_NS_PER_MS; w->now < end; w->now += SY_NS_PER_MS) {
        while (sch_operator_next_ns(w->op) <= w->now) {
            raw_step(w, (struct sch_op_event){.type = SCH_OP_TICK});
            granted |= grant_of(w, class_id) != NULL;
            ck_assert_uint_eq(w->op->looks, 0);
        }
    }
    return granted;
}

START_TEST(whether_a_rack_could_hold_a_gang_is_known_without_its_nodes)
{
    enum { NODES = 3 * SCH_OP_GANG_NODES };
    struct world *w = many_nodes(NODES);
    struct sch_attempt_key last;
    fill(w, NODES, &last);
    struct sch_gang_shape fits = {
        .size = SCH_GANG_SIZE_MAX, .topology = SCH_TOPOLOGY_REQUIRE, .key = "rack"};
    struct sch_gang_shape none = {.size = 8, .topology = SCH_TOPOLOGY_REQUIRE, .key = "row"};
    bool granted = until_granted(w, GANG, &fits);
    ck_assert(granted);
    granted = until_granted(w, GANG + 1, &none);
    ck_assert(!granted);
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        it_waits_for_its_last_member,
        nodes_that_are_kept_for_it_take_nothing_new,
        two_that_are_too_large_together_come_one_after_the_other,
        the_higher_priority_reserves,
        a_small_gang_passes_a_large_one,
        it_goes_back_whole_and_keeps_its_nodes_for_a_moment,
        it_stays_as_long_as_more_comes_free_for_it,
        what_was_kept_for_one_that_went_elsewhere_is_free_again,
        a_clock_that_jumps_leaves_nothing_due,
        a_member_that_is_cancelled_takes_the_gang_out,
        only_what_was_granted_is_taken,
        one_that_is_held_is_told_in_an_inventory,
        a_domain_is_required,
        a_domain_is_preferred,
        what_it_took_too_much_is_granted_afterwards,
        what_is_kept_for_a_gang_is_chosen_among_some_of_many_nodes,
        racks_are_counted_in_slices_and_only_anew_when_they_changed,
        whether_a_rack_could_hold_a_gang_is_known_without_its_nodes,
        NULL,
    };
    return sy_test_run("sch_gang_nodes", tests);
}
