/* links: sch */
/* Who stops for whom in a cluster: single attempts and gangs, for one action or for a gang. */
#include "base/rng.h"
#include "scheduler/operator_impl.h"
#include "tests/unit/test_sch_gang_world.h"

#define LARGE 9u /* class of single actions that ask for more */
#define SPARE 5u /* a queue whose work may be stopped */
#define MEMBERS_MAX 6u

static const struct sch_use anything = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};

static void starts(struct world *w, const struct sch_attempt_key *keys, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const char *node = sch_operator_node_of(w->op, &keys[i]);
        ck_assert_ptr_nonnull(node);
        step(w, (struct sch_op_event){
                    .type = SCH_OP_STARTED,
                    .u.report = {.node = node, .key = keys[i], .started_ns = w->now}});
    }
}

static bool stops(const struct world *w, const struct sch_attempt_key *key);
static uint32_t cancels(const struct world *w);

/* What is said beforehand is what is done then. */
static void check_survey(const struct world *w, const struct sch_op_survey_answer *said)
{
    ck_assert_uint_eq(cancels(w), said->victim_count);
    ck_assert(said->displaces == (said->victim_count > 0));
    ck_assert(!said->room || !said->displaces);
    for (size_t i = 0; i < said->victim_count; i++) {
        ck_assert(stops(w, &said->victims[i].key));
        ck_assert_str_eq(said->victims[i].node, sch_operator_node_of(w->op, &said->victims[i].key));
    }
}

static void survey(struct world *w, uint32_t class_id, uint64_t gang_id,
                   const struct sch_reclaim_queue *queue, struct sch_op_survey_answer *ret)
{
    const struct sch_op_class *class = sch_op_class_find(w->op, 1, class_id);
    ck_assert_ptr_nonnull(class);
    sch_operator_survey(w->op,
                        &(struct sch_op_survey){.partition = 1,
                                                .request = &class->kind->request,
                                                .gang = gang_id != 0 ? &class->gang : NULL,
                                                .class_id = class_id,
                                                .gang_id = gang_id,
                                                .queues = queue,
                                                .queue_count = 1},
                        ret);
    sch_operator_check(w->op);
}

static void reclaim_below(struct world *w, uint32_t class_id, uint64_t gang_id,
                          struct sch_use below)
{
    struct sch_reclaim_queue queue = {.id = SPARE, .below = below};
    struct sch_op_survey_answer said;
    survey(w, class_id, gang_id, &queue, &said);
    step(w, (struct sch_op_event){.type = SCH_OP_RECLAIM,
                                  .u.reclaim = {.partition = 1,
                                                .class_id = class_id,
                                                .gang_id = gang_id,
                                                .queues = &queue,
                                                .queue_count = 1}});
    check_survey(w, &said);
    sch_op_survey_answer_deinit(&said);
}

static void reclaim(struct world *w, uint32_t class_id, uint64_t gang_id)
{
    reclaim_below(w, class_id, gang_id, anything);
}

static uint32_t cancels(const struct world *w)
{
    uint32_t count = 0;
    for (size_t i = 0; i < w->fx.count; i++)
        count += w->fx.items[i].type == SCH_OP_SEND_CANCEL;
    return count;
}

static bool stops(const struct world *w, const struct sch_attempt_key *key)
{
    for (size_t i = 0; i < w->fx.count; i++) {
        if (w->fx.items[i].type == SCH_OP_SEND_CANCEL &&
            w->fx.items[i].u.attempt.key.action == key->action)
            return true;
    }
    return false;
}

static void stopped(struct world *w, const struct sch_attempt_key *key)
{
    const char *node = sch_operator_node_of(w->op, key);
    step(w, (struct sch_op_event){.type = SCH_OP_OUTCOME,
                                  .u.report = {.node = node, .key = *key, .cancelled = true}});
    bool told = false;
    for (size_t i = 0; i < w->fx.count; i++)
        told |= w->fx.items[i].type == SCH_OP_SEND_OUTCOME && w->fx.items[i].u.report.reason;
    ck_assert(told);
    step(w, (struct sch_op_event){.type = SCH_OP_ACK, .u.key = *key});
}

/* ---- gangs that stop ---- */

/* It fills n0 and half of n1, and may be stopped. */
static struct world *world_with_gang(struct sch_attempt_key ret[6])
{
    struct world *w = world_new(NULL, 2);
    w->queue = SPARE;
    demand(w, GANG, 1, 1, &six);
    gang(w, GANG, 7, 6, 0, ret);
    ck_assert_uint_eq(w->members, 6);
    starts(w, ret, 6);
    w->queue = 0;
    demand(w, LARGE, 1, 3, NULL);
    return w;
}

START_TEST(a_gang_stops_whole)
{
    struct sch_attempt_key keys[6];
    struct world *w = world_with_gang(keys);
    reclaim(w, LARGE, 0);
    ck_assert_uint_eq(cancels(w), 6);
    for (unsigned i = 0; i < 6; i++)
        ck_assert(stops(w, &keys[i]));
    reclaim(w, LARGE, 0);
    ck_assert_uint_eq(cancels(w), 0); /* the room is on its way */
    for (unsigned i = 0; i < 6; i++)
        stopped(w, &keys[i]);
    w->placed = 0;
    run_for(w, SY_NS_PER_S);
    (void)assign_as(w, LARGE, 0, 0, 0);
    ck_assert_uint_eq(w->placed, 1);
    world_free(w);
}
END_TEST

/* What its branch of the tree has to spare is less than the whole gang. */
START_TEST(a_gang_stops_only_if_its_branch_can_spare_all_of_it)
{
    struct sch_attempt_key keys[6];
    struct world *w = world_with_gang(keys);
    reclaim_below(w, LARGE, 0, (struct sch_use){.cpu_milli = 6000, .actions = 6});
    ck_assert_uint_eq(cancels(w), 0);
    reclaim_below(w, LARGE, 0, (struct sch_use){.cpu_milli = 6001});
    ck_assert_uint_eq(cancels(w), 6);
    world_free(w);
}
END_TEST

START_TEST(a_gang_of_which_a_member_has_ended_does_not_stop)
{
    struct sch_attempt_key keys[6];
    struct world *w = world_with_gang(keys);
    ends(w, &keys[5]);
    reclaim(w, LARGE, 0);
    ck_assert_uint_eq(cancels(w), 0);
    world_free(w);
}
END_TEST

/* A queue has the same tag in every epoch. */
START_TEST(a_partition_that_restarted_stops_what_it_takes_over)
{
    struct sch_attempt_key keys[6];
    struct world *w = world_with_gang(keys);
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {1, 6}});
    demand(w, LARGE, 1, 3, NULL);
    reclaim(w, LARGE, 0);
    ck_assert_uint_eq(cancels(w), 6);
    world_free(w);
}
END_TEST

/* Its agents have told it of which queues they are. */
/* Its agent says for how long each has run; what it cannot say counts as old. */
START_TEST(what_is_taken_over_is_as_old_as_it_is)
{
    static const int64_t ran_s[] = {500, 0, 90, 100, -7};
    for (uint32_t most = 0; most < 2; most++) {
        struct world *w = world_new(NULL, 1);
        struct sch_attempt_key keys[5];
        step(w, (struct sch_op_event){.type = SCH_OP_NODE_UP,
                                      .u.node = {.name = "n0", .capacity = {.cpu_milli = 5000}}});
        for (uint32_t i = 0; i < 5; i++) {
            keys[i] = (struct sch_attempt_key){
                .action = 900 + i, .partition = 1, .number = 1, .epoch = 5};
            step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY,
                                          .u.inventory = {.node = "n0",
                                                          .key = keys[i],
                                                          .request = {.cpu_milli = 1000},
                                                          .started = true,
                                                          .ran_ns = ran_s[i] * SY_NS_PER_S,
                                                          .queue = SPARE}});
        }
        step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = "n0"});
        demand(w, LARGE, 1, most == 0 ? 1 : 3, NULL);
        reclaim(w, LARGE, 0);
        ck_assert_uint_eq(cancels(w), most == 0 ? 1 : 3);
        ck_assert(stops(w, &keys[2]));
        ck_assert(stops(w, &keys[0]) == (most == 1) && stops(w, &keys[3]) == (most == 1));
        world_free(w);
    }
}
END_TEST

START_TEST(an_operator_that_restarted_stops_what_it_takes_over)
{
    struct world *w = world_new(NULL, 1);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = "n0"});
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_UP,
                                  .u.node = {.name = "n0", .capacity = {.cpu_milli = 4000}}});
    struct sch_attempt_key keys[3];
    for (uint32_t i = 0; i < 3; i++) {
        keys[i] = (struct sch_attempt_key){
            .action = 900 + i, .partition = 1, .number = 1, .epoch = 5};
        step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY,
                                      .u.inventory = {.node = "n0",
                                                      .key = keys[i],
                                                      .request = {.cpu_milli = 1000},
                                                      .started = true,
                                                      .queue = i == 1 ? 0 : SPARE}});
    }
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = "n0"});
    demand(w, LARGE, 1, 4, NULL);
    reclaim(w, LARGE, 0);
    ck_assert_uint_eq(cancels(w), 0); /* one that must not stop would be in the way */
    demand(w, LARGE + 1, 1, 3, NULL);
    reclaim(w, LARGE + 1, 0);
    ck_assert(cancels(w) == 2 && stops(w, &keys[0]) && stops(w, &keys[2]));
    world_free(w);
}
END_TEST

/* Two gangs of two: the one that has run for a shorter time; a single attempt rather than both, as
 * long as it has not run for longer than all of a gang's members. */
START_TEST(the_cheapest_stop)
{
    static const struct sch_gang_shape two = {.size = 2};
    struct sch_attempt_key older[2], younger[2];
    struct world *w = world_new(NULL, 2);
    w->queue = SPARE;
    demand(w, SMALL, 9, 1, NULL);
    struct sch_attempt_key single = small(w);
    starts(w, &single, 1);
    run_for(w, 25 * SY_NS_PER_S);
    demand(w, GANG, 1, 1, &two);
    gang(w, GANG, 7, 2, 0, older);
    starts(w, older, 2);
    run_for(w, SY_NS_PER_S);
    demand(w, GANG, 1, 1, &two);
    gang(w, GANG, 8, 2, 0, younger);
    starts(w, younger, 2);
    w->queue = 0;
    for (unsigned i = 0; i < 3; i++)
        (void)small(w); /* full */
    demand(w, LARGE, 1, 1, NULL);
    reclaim(w, LARGE, 0);
    ck_assert_uint_eq(cancels(w), 2); /* 20 s and nothing done: less than 10 s and 26 s done */
    ck_assert(stops(w, &younger[0]) && stops(w, &younger[1]));
    world_free(w);
}
END_TEST

/* ---- gangs that others stop for ---- */

/* Eight small ones, `firm` of them not to be stopped, and a gang of six that waits. */
static struct world *full_world(unsigned firm, struct sch_attempt_key ret[8])
{
    struct world *w = world_new(NULL, 2);
    demand(w, SMALL, 20, 1, NULL);
    for (unsigned i = 0; i < 8; i++) {
        w->queue = i < firm ? 0 : SPARE;
        ret[i] = small(w);
        starts(w, &ret[i], 1);
        run_for(w, 10 * SY_NS_PER_MS);
    }
    w->queue = 0;
    demand(w, GANG, 1, 1, &six);
    gang(w, GANG, 7, 6, 0, NULL);
    ck_assert_uint_eq(w->members, 0);
    return w;
}

START_TEST(as_many_stop_for_a_gang_as_it_needs)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(1, keys);
    reclaim(w, GANG, 7);
    ck_assert_uint_eq(cancels(w), 6);
    ck_assert(!stops(w, &keys[0]));
    struct sch_attempt_key gone[6];
    for (unsigned i = 0, count = 0; i < 8; i++) {
        if (stops(w, &keys[i]))
            gone[count++] = keys[i];
    }
    reclaim(w, GANG, 7);
    ck_assert_uint_eq(cancels(w), 0);
    w->placed = 0;
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_uint_eq(w->members, 0);
        stopped(w, &gone[i]);
        if (i == 0)
            (void)small(w); /* for which what came free is not */
        run_for(w, SY_NS_PER_S);
    }
    ck_assert_uint_eq(w->members, 6);
    ck_assert_uint_eq(w->placed, 0);
    world_free(w);
}
END_TEST

START_TEST(none_stops_for_a_gang_that_would_not_fit_all_the_same)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(3, keys);
    reclaim(w, GANG, 7);
    ck_assert_uint_eq(cancels(w), 0);
    world_free(w);
}
END_TEST

/* Nodes are kept for one at a time, and only for that one others stop. */
START_TEST(only_the_first_gang_has_others_stopped_for_it)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(0, keys);
    demand(w, GANG + 1, 1, 1, &six);
    gang(w, GANG + 1, 8, 6, 0, NULL);
    reclaim(w, GANG + 1, 8);
    ck_assert_uint_eq(cancels(w), 0);
    reclaim(w, GANG, 7);
    ck_assert_uint_eq(cancels(w), 6);
    reclaim(w, GANG, 99); /* one that is not here */
    ck_assert_uint_eq(cancels(w), 0);
    world_free(w);
}
END_TEST

START_TEST(a_gang_stops_for_a_gang)
{
    struct sch_attempt_key keys[6];
    struct world *w = world_with_gang(keys);
    demand(w, GANG + 1, 1, 2, &(struct sch_gang_shape){.size = 3});
    gang(w, GANG + 1, 8, 3, 5, NULL);
    ck_assert_uint_eq(w->members, 6);
    reclaim(w, GANG + 1, 8);
    ck_assert_uint_eq(cancels(w), 6);
    for (unsigned i = 0; i < 6; i++)
        stopped(w, &keys[i]);
    ck_assert_uint_eq(w->members, 9);
    world_free(w);
}
END_TEST

/* n0 and n3 are one rack, n1 and n2 another. */
START_TEST(a_required_domain_is_emptied_alone)
{
    static const char *const racks[] = {"rack=a", "rack=b", "rack=b", "rack=a"};
    struct sch_gang_shape in_rack = {.size = 6, .topology = SCH_TOPOLOGY_REQUIRE, .key = "rack"};
    struct sch_attempt_key keys[16];
    struct world *w = world_new(racks, 4);
    demand(w, SMALL, 20, 1, NULL);
    for (unsigned i = 0; i < 16; i++) {
        w->queue = i < 3 ? 0 : SPARE;
        keys[i] = small(w);
    }
    w->queue = 0;
    ck_assert_str_eq(sch_operator_node_of(w->op, &keys[2]), "n0");
    demand(w, GANG, 1, 1, &in_rack);
    gang(w, GANG, 7, 6, 0, NULL);
    reclaim(w, GANG, 7);
    ck_assert_uint_eq(cancels(w), 6);
    for (unsigned i = 0; i < 16; i++) {
        const char *node = sch_operator_node_of(w->op, &keys[i]);
        if (stops(w, &keys[i]))
            ck_assert(node[1] == '1' || node[1] == '2');
    }
    world_free(w);
}
END_TEST

/* ---- against every choice ---- */

struct unit {
    struct sch_attempt_key keys[MEMBERS_MAX];
    uint32_t size, cores;
    bool may, stops;
};

/* How many of so many cores fit, on nodes of four, when those units are gone. */
static uint32_t room_without(const struct world *w, const struct unit *units, uint32_t count,
                             const bool *gone, uint32_t cores, uint32_t nodes)
{
    uint32_t used[8] = {0}, room = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < units[i].size && !gone[i]; k++)
            used[sch_operator_node_of(w->op, &units[i].keys[k])[1] - '0'] += units[i].cores;
    }
    for (uint32_t i = 0; i < nodes; i++)
        room += (4 - used[i]) / cores;
    return room;
}

static uint32_t fill(struct world *w, struct sy_rng *rng, struct unit units[16])
{
    uint32_t count = 0;
    for (; count < 9; count++) {
        struct unit *unit = &units[count];
        *unit = (struct unit){.size = 1,
                              .cores = 1 + (uint32_t)sy_rng_below(rng, 2),
                              .may = sy_rng_chance(rng, 3, 4)};
        if (sy_rng_chance(rng, 1, 3))
            unit->size = 2 + (uint32_t)sy_rng_below(rng, 2);
        struct sch_gang_shape gang_shape = {.size = unit->size};
        uint32_t class_id = 20 + count;
        w->queue = unit->may ? SPARE : 0;
        w->placed = w->members = 0;
        demand(w, class_id, 1, unit->cores, unit->size > 1 ? &gang_shape : NULL);
        if (!grant_of(w, class_id) || grant_of(w, class_id)->u.grant.startable == 0)
            break;
        if (unit->size > 1)
            gang(w, class_id, 100 + count, unit->size, 0, unit->keys);
        else
            unit->keys[0] = assign_as(w, class_id, 0, 0, 0);
        ck_assert_uint_eq(w->placed + w->members, unit->size);
        run_for(w, (int64_t)sy_rng_below(rng, 20) * SY_NS_PER_S);
        if (sy_rng_chance(rng, 3, 4))
            starts(w, unit->keys, unit->size);
    }
    w->queue = 0;
    return count;
}

/* Whether something stops says whether it helps; what stops is enough, and all of it is needed. */
static bool check_choice(const struct world *w, struct unit *units, uint32_t count, uint32_t cores,
                         uint32_t size, uint32_t nodes)
{
    bool gone[16] = {0}, all[16] = {0}, any = false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t members = 0;
        for (uint32_t k = 0; k < units[i].size; k++)
            members += stops(w, &units[i].keys[k]);
        ck_assert(members == 0 || (members == units[i].size && units[i].may));
        gone[i] = members > 0;
        all[i] = units[i].may;
        any |= gone[i];
    }
    bool none[16] = {0};
    bool lacks = room_without(w, units, count, none, cores, nodes) < size;
    bool helps = room_without(w, units, count, all, cores, nodes) >= size;
    ck_assert(any == (lacks && helps));
    ck_assert(!any || room_without(w, units, count, gone, cores, nodes) >= size);
    for (uint32_t i = 0; i < count; i++) {
        if (!gone[i])
            continue;
        gone[i] = false;
        ck_assert_uint_lt(room_without(w, units, count, gone, cores, nodes), size);
        gone[i] = true;
    }
    return any;
}

START_TEST(what_stops_is_enough_and_all_of_it_is_needed)
{
    unsigned for_one = 0, for_gangs = 0;
    for (uint64_t seed = 1; seed <= 600; seed++) {
        struct sy_rng rng;
        sy_rng_init(&rng, seed);
        uint32_t nodes = 1 + (uint32_t)sy_rng_below(&rng, 3);
        struct world *w = world_new(NULL, nodes);
        struct unit units[16];
        uint32_t count = fill(w, &rng, units), cores = 1 + (uint32_t)sy_rng_below(&rng, 4);
        struct sch_gang_shape wanted = {.size = 2 + (uint32_t)sy_rng_below(&rng, 3)};
        demand(w, LARGE, 1, cores, NULL);
        reclaim(w, LARGE, 0);
        if (check_choice(w, units, count, cores, 1, nodes)) {
            for_one++;
            world_free(w);
            continue;
        }
        demand(w, LARGE + 1, 1, cores, &wanted);
        if (grant_of(w, LARGE + 1) && grant_of(w, LARGE + 1)->u.grant.startable == 0) {
            gang(w, LARGE + 1, 7, wanted.size, 0, NULL);
            reclaim(w, LARGE + 1, 7);
            for_gangs += check_choice(w, units, count, cores, wanted.size, nodes);
        }
        world_free(w);
    }
    ck_assert(for_one > 50 && for_gangs > 50);
}
END_TEST

/* Before it is there, too. */
START_TEST(it_is_said_who_would_stop_and_what_is_kept)
{
    struct sch_attempt_key keys[6];
    struct world *w = world_with_gang(keys);
    struct sch_reclaim_queue queue = {.id = SPARE, .below = anything};
    struct sch_resources request = {.cpu_milli = 3000}, tiny = {.cpu_milli = 1000};
    struct sch_op_survey ask = {
        .partition = 1, .request = &request, .queues = &queue, .queue_count = 1};
    struct sch_op_survey_answer said;
    sch_operator_survey(w->op, &ask, &said);
    ck_assert(said.displaces && !said.room && said.kept_count == 0);
    ck_assert_uint_eq(said.victim_count, 6);
    sch_op_survey_answer_deinit(&said);
    ask.gang = &(struct sch_gang_shape){.size = 2};
    sch_operator_survey(w->op, &ask, &said);
    ck_assert(said.displaces && said.victim_count == 6);
    sch_op_survey_answer_deinit(&said);
    ask.gang = &(struct sch_gang_shape){.size = 3}; /* more than it could ever hold */
    sch_operator_survey(w->op, &ask, &said);
    ck_assert(!said.displaces && !said.room && said.victim_count == 0);
    ask.gang = NULL;
    ask.request = &tiny;
    sch_operator_survey(w->op, &ask, &said);
    ck_assert(said.room && !said.displaces);
    ask.request = &request;
    ask.queue_count = 0;
    sch_operator_survey(w->op, &ask, &said);
    ck_assert(!said.room && !said.displaces);
    reclaim(w, LARGE, 0); /* now a node is kept */
    ask.class_id = LARGE;
    sch_operator_survey(w->op, &ask, &said);
    ck_assert_uint_eq(said.kept_count, 1);
    ck_assert_uint_eq(said.kept[0].missing.actions, 1);
    ck_assert(said.kept[0].missing.cpu_milli == 3000 || said.kept[0].missing.cpu_milli == 1000);
    sch_op_survey_answer_deinit(&said);
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_gang_stops_whole,
                                  it_is_said_who_would_stop_and_what_is_kept,
                                  a_gang_stops_only_if_its_branch_can_spare_all_of_it,
                                  a_gang_of_which_a_member_has_ended_does_not_stop,
                                  a_partition_that_restarted_stops_what_it_takes_over,
                                  what_is_taken_over_is_as_old_as_it_is,
                                  an_operator_that_restarted_stops_what_it_takes_over,
                                  the_cheapest_stop,
                                  as_many_stop_for_a_gang_as_it_needs,
                                  none_stops_for_a_gang_that_would_not_fit_all_the_same,
                                  only_the_first_gang_has_others_stopped_for_it,
                                  a_gang_stops_for_a_gang,
                                  a_required_domain_is_emptied_alone,
                                  what_stops_is_enough_and_all_of_it_is_needed,
                                  NULL};
    return sy_test_run("sch_reclaim", tests);
}
