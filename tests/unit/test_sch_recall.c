/* links: sch */
/* When a node is asked for what waits there. It has four cores, and ten tasks have just ended. */
#include "scheduler/operator_impl.h"
#include "tests/unit/test_sch_gang_world.h"

static void started(struct world *w, const struct sch_attempt_key *key)
{
    step(w, (struct sch_op_event){.type = SCH_OP_STARTED, .u.report = {.node = "n0", .key = *key}});
}

static void returned(struct world *w, const struct sch_attempt_key *key)
{
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_RETURNED,
                                  .u.report = {.node = "n0", .key = *key}});
}

static struct world *busy_world(void)
{
    struct world *w = world_new(NULL, 1);
    demand(w, SMALL, 1000, 1, NULL);
    for (int i = 0; i < 10; i++) {
        struct sch_attempt_key key = small(w);
        ends(w, &key);
        run_for(w, SY_NS_PER_MS);
    }
    demand(w, SMALL, 1000, 1, NULL);
    return w;
}

static uint32_t backlog(struct world *w)
{
    return sch_node_find(w->op, "n0")->backlog_count;
}

/* Whether it is asked within this time. */
static bool asked_within(struct world *w, int64_t ns)
{
    const struct sch_node *node = sch_node_find(w->op, "n0");
    int64_t before_ns = node->asked_ns;
    run_for(w, ns);
    return node->asked_ns != before_ns;
}

START_TEST(what_has_room_and_fetches_is_left_to_start)
{
    struct world *w = busy_world();
    struct sch_attempt_key keys[5];
    for (unsigned i = 0; i < 5; i++)
        keys[i] = small(w);
    for (unsigned i = 0; i < 3; i++)
        started(w, &keys[i]);
    ck_assert_uint_eq(backlog(w), 1);
    ck_assert(!asked_within(w, 3 * HOLD)); /* the fourth has room */
    started(w, &keys[3]);
    ck_assert(asked_within(w, HOLD));
    returned(w, &keys[4]);
    ck_assert_uint_eq(w->returned, 1);
    ck_assert_uint_eq(backlog(w), 0);
    world_free(w);
}
END_TEST

START_TEST(nothing_is_asked_for_a_partition_that_is_not_there_to_hear)
{
    struct world *w = busy_world();
    struct sch_attempt_key keys[5];
    for (unsigned i = 0; i < 5; i++)
        keys[i] = small(w);
    for (unsigned i = 0; i < 4; i++)
        started(w, &keys[i]);
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN, .u.partition.partition = 1});
    ck_assert(!asked_within(w, 3 * HOLD));
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {1, 5}});
    ck_assert(asked_within(w, HOLD));
    world_free(w);
}
END_TEST

static void listed(struct world *w, const struct sch_attempt_key *key, bool has_started)
{
    struct sch_op_event event = {.type = SCH_OP_NODE_INVENTORY};
    event.u.inventory.node = "n0";
    event.u.inventory.key = *key;
    event.u.inventory.request.cpu_milli = 1000;
    event.u.inventory.started = has_started;
    step(w, event);
}

/* The node's stream opens again; others have started meanwhile, and the last of `keys` waits. */
static void relist(struct world *w, const struct sch_attempt_key *keys, size_t count)
{
    static const struct sch_attempt_key others[] = {{101, 1, 1, 5}, {102, 1, 1, 5}};
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_UP,
                                  .u.node = {.name = "n0", .capacity = {.cpu_milli = 4000}}});
    for (size_t i = 0; i < SY_COUNT_OF(others); i++)
        listed(w, &others[i], true);
    for (size_t i = 0; i < count; i++)
        listed(w, &keys[i], i + 1 < count);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = "n0"});
}

START_TEST(a_member_of_a_gang_is_not_asked_back_alone)
{
    static const struct sch_gang_shape three = {.size = 3};
    struct world *w = world_new(NULL, 1);
    struct sch_attempt_key keys[3];
    demand(w, GANG, 1, 1, &three);
    gang(w, GANG, 7, 3, 0, keys);
    ck_assert_uint_eq(w->members, 3);
    relist(w, keys, 3);
    ck_assert_uint_eq(backlog(w), 1);
    ck_assert(!asked_within(w, 3 * HOLD));
    world_free(w);
}
END_TEST

START_TEST(what_an_operator_that_restarted_finds_is_left_there)
{
    static const struct sch_attempt_key keys[] = {{1, 1, 1, 5}, {2, 1, 1, 5}, {3, 1, 1, 5}};
    struct world *w = world_new(NULL, 1);
    relist(w, keys, 3); /* any of these may be a member */
    ck_assert_uint_eq(backlog(w), 1);
    ck_assert(!asked_within(w, 3 * HOLD));
    world_free(w);
}
END_TEST

/* It was on the way when its node was asked. */
START_TEST(what_was_sent_as_the_node_was_asked_is_no_fault)
{
    struct world *w = busy_world();
    const struct sch_node *node = sch_node_find(w->op, "n0");
    struct sch_attempt_key keys[5];
    for (unsigned i = 0; i < 5; i++)
        keys[i] = small(w);
    for (unsigned i = 0; i < 4; i++)
        started(w, &keys[i]);
    ck_assert(asked_within(w, HOLD));
    ends(w, &keys[0]); /* the fifth has room now, and so has another */
    ends(w, &keys[1]);
    struct sch_attempt_key late = small(w);
    returned(w, &keys[4]);
    returned(w, &late);
    ck_assert_uint_eq(w->returned, 2);
    ck_assert_uint_eq(node->faults, 0);
    run_for(w, SCH_OP_GIVE_BACK_NS + 1);
    struct sch_attempt_key later = small(w);
    returned(w, &later);
    ck_assert_uint_eq(node->faults, 1);
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        what_has_room_and_fetches_is_left_to_start,
        nothing_is_asked_for_a_partition_that_is_not_there_to_hear,
        a_member_of_a_gang_is_not_asked_back_alone,
        what_an_operator_that_restarted_finds_is_left_there,
        what_was_sent_as_the_node_was_asked_is_no_fault,
        NULL,
    };
    return sy_test_run("sch_recall", tests);
}
