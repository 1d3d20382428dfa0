/* links: sch */
/* Nodes of a cluster that are kept for large single actions, and for those for whom others were
 * stopped. Nodes have four cores. */
#include "base/mem.h"
#include "scheduler/operator_impl.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLD (2 * SY_NS_PER_S)
#define SMALL 1u /* classes by the cores that one takes */
#define WIDE 3u
#define LARGE 4u
#define GANG 9u

struct world {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    uint64_t next_action;
    size_t blobs, cancels;
    uint64_t granted[8], gpu_room; /* of classes, as last told */
};

static void blob_release(void *data)
{
    --*(size_t *)data;
}

static struct sch_blob blob(struct world *w)
{
    w->blobs++;
    return (struct sch_blob){.data = &w->blobs, .release = blob_release};
}

static void step(struct world *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    sch_operator_step(w->op, &event, &w->fx);
    for (size_t i = 0; i < w->fx.count; i++) {
        const struct sch_op_effect *effect = &w->fx.items[i];
        if (effect->type == SCH_OP_SEND_ASSIGN)
            effect->u.assign.blob.release(effect->u.assign.blob.data);
        if (effect->type == SCH_OP_SEND_GRANT && effect->u.grant.class_id < 8)
            w->granted[effect->u.grant.class_id] = effect->u.grant.granted;
        w->cancels += effect->type == SCH_OP_SEND_CANCEL;
    }
    sch_operator_check(w->op);
}

static void run_for(struct world *w, int64_t ns)
{
    int64_t until = w->now + ns, next;
    while ((next = sch_operator_next_ns(w->op)) <= until) {
        w->now = next > w->now ? next : w->now;
        step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    }
    w->now = until;
}

static void partition_up(struct world *w)
{
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {1, 5}});
}

static struct world *world_new(unsigned nodes)
{
    struct world *w = sy_new(struct world);
    struct sch_operator_options options = {.hold_ns = HOLD, .node_lease_ns = 15 * SY_NS_PER_S};
    w->now = SY_NS_PER_S;
    w->op = sch_operator_new(&options, w->now);
    for (unsigned i = 0; i < nodes; i++) {
        char name[8];
        snprintf(name, sizeof(name), "n%u", i);
        step(w, (struct sch_op_event){.type = SCH_OP_NODE_UP,
                                      .u.node = {.name = name, .capacity = {.cpu_milli = 4000}}});
        step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = name});
    }
    partition_up(w);
    return w;
}

static void world_free(struct world *w)
{
    sch_operator_free(w->op);
    ck_assert_uint_eq(w->blobs, 0);
    sch_op_effects_deinit(&w->fx);
    free(w);
}

static void demand_of(struct world *w, uint32_t class_id, uint64_t waiting, uint32_t keep,
                      const struct sch_gang_shape *gang)
{
    uint32_t cores = gang ? LARGE : class_id;
    step(w, (struct sch_op_event){.type = SCH_OP_DEMAND,
                                  .u.demand = {.partition = 1,
                                               .class_id = class_id,
                                               .request = {.cpu_milli = 1000 * cores},
                                               .gang = gang,
                                               .waiting = waiting,
                                               .keep = keep}});
}

static void demand(struct world *w, uint32_t class_id, uint64_t waiting, uint32_t keep)
{
    demand_of(w, class_id, waiting, keep, NULL);
}

static struct sch_attempt_key assign_as(struct world *w, uint32_t class_id, uint64_t gang,
                                        uint32_t rank)
{
    struct sch_attempt_key key = {
        .action = ++w->next_action, .partition = 1, .number = 1, .epoch = 5};
    step(w, (struct sch_op_event){.type = SCH_OP_ASSIGN,
                                  .u.assign = {.key = key,
                                               .class_id = class_id,
                                               .queue = class_id,
                                               .blob = blob(w),
                                               .gang_id = gang,
                                               .rank = rank}});
    return key;
}

static const char *node_of(const struct world *w, struct sch_attempt_key key)
{
    const char *node = sch_operator_node_of(w->op, &key);
    return node ? node : "none";
}

/* It starts at once. */
static struct sch_attempt_key assign(struct world *w, uint32_t class_id)
{
    struct sch_attempt_key key = assign_as(w, class_id, 0, 0);
    step(w, (struct sch_op_event){.type = SCH_OP_STARTED,
                                  .u.report = {.node = node_of(w, key), .key = key}});
    return key;
}

static void ends(struct world *w, struct sch_attempt_key key)
{
    step(w,
         (struct sch_op_event){.type = SCH_OP_OUTCOME,
                               .u.report = {.node = node_of(w, key), .key = key, .blob = blob(w)}});
    step(w, (struct sch_op_event){.type = SCH_OP_ACK, .u.key = key});
}

static const struct sch_gang_shape two = {.size = 2};

/* The nodes that are kept, of the first ten: "n0 n2". */
static const char *kept(const struct world *w)
{
    static char text[64];
    text[0] = 0;
    for (uint32_t i = 0; i < w->op->node_count && i < 10; i++) {
        if (w->op->nodes[i]->claim)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", text[0] ? " " : "",
                     w->op->nodes[i]->name);
    }
    return text;
}

/* Two nodes, full of small work: keys[0..3] are on n0, the others on n1. */
static struct world *full_world(struct sch_attempt_key keys[8])
{
    struct world *w = world_new(2);
    demand(w, SMALL, 100, 0);
    for (unsigned i = 0; i < 8; i++)
        keys[i] = assign(w, SMALL);
    ck_assert_str_eq(node_of(w, keys[3]), "n0");
    ck_assert_str_eq(node_of(w, keys[4]), "n1");
    demand(w, LARGE, 0, 0);
    ck_assert_uint_eq(w->granted[LARGE], 0);
    return w;
}

START_TEST(what_comes_free_on_a_kept_node_stays_free_until_it_is_enough)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    ends(w, keys[1]);
    demand(w, LARGE, 1, 1);
    ck_assert_str_eq(kept(w), "n0"); /* least is missing there */
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->granted[SMALL], 8);
    ends(w, keys[4]);
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->granted[SMALL], 9); /* others go on beside it */
    ck_assert_str_eq(node_of(w, assign(w, SMALL)), "n1");
    ends(w, keys[0]);
    ends(w, keys[2]);
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->granted[LARGE], 0);
    ends(w, keys[3]);
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->granted[LARGE], 1);
    struct sch_attempt_key large = assign(w, LARGE);
    ck_assert_str_eq(node_of(w, large), "n0");
    ck_assert_str_eq(kept(w), "");
    ends(w, large);
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->granted[SMALL], 13); /* nine came, and four fit now */
    world_free(w);
}
END_TEST

START_TEST(a_node_where_less_is_missing_takes_its_place)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    demand(w, LARGE, 1, 1);
    ck_assert_str_eq(kept(w), "n0");
    ends(w, keys[4]);
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(kept(w), "n1");
    ends(w, keys[0]);
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(kept(w), "n1"); /* as much is missing there: it stays */
    world_free(w);
}
END_TEST

START_TEST(where_work_has_run_for_long_it_is_not_waited_for)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    for (unsigned i = 5; i < 8; i++)
        ends(w, keys[i]);
    run_for(w, 600 * SY_NS_PER_S);
    for (unsigned i = 0; i < 4; i++)
        ends(w, keys[i]);
    for (unsigned i = 0; i < 7; i++) /* n1 is filled up first */
        keys[i] = assign(w, SMALL);
    ends(w, keys[0]);
    ends(w, keys[1]);
    ends(w, keys[2]);
    demand(w, LARGE, 1, 1);
    ck_assert_str_eq(kept(w), "n0"); /* four cores are missing there, on n1 one, for long */
    world_free(w);
}
END_TEST

START_TEST(a_part_of_the_nodes_is_kept_and_classes_take_turns)
{
    uint32_t nodes = 3 * SCH_OP_CLAIM_NODES;
    struct world *w = world_new(nodes);
    demand(w, SMALL, 1000, 0);
    for (unsigned i = 0; i < nodes * 4; i++)
        (void)assign(w, SMALL);
    demand(w, LARGE, 50, 50);
    ck_assert_str_eq(kept(w), "n0 n1 n2");
    demand(w, WIDE, 1, 5); /* for what waits only */
    ck_assert_uint_eq(w->op->claim_count, 3);
    ck_assert_uint_eq(sch_op_class_find(w->op, 1, WIDE)->claims, 1);
    demand(w, LARGE, 0, 50);
    ck_assert_uint_eq(w->op->claim_count, 1);
    demand(w, WIDE, 3, 0);
    ck_assert_str_eq(kept(w), "");
    world_free(w);
}
END_TEST

/* A look at all of them would take too long: it goes on where it was, each time. */
START_TEST(among_many_nodes_the_best_is_found_in_pieces)
{
    enum { NODES = 500 };
    struct world *w = world_new(NODES);
    struct sch_attempt_key last = {0};
    demand(w, SMALL, 10000, 0);
    for (unsigned i = 0; i < NODES * 4; i++)
        last = assign(w, SMALL);
    ck_assert_str_eq(node_of(w, last), "n499");
    demand(w, SMALL, 0, 0);
    ends(w, last);
    demand(w, LARGE, 1, 1);
    ck_assert_str_eq(kept(w), "n0"); /* the last ones were not looked at yet */
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(kept(w), "");
    ck_assert_ptr_nonnull(w->op->nodes[NODES - 1]->claim);
    world_free(w);
}
END_TEST

START_TEST(who_got_a_node_goes_behind_the_others)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    demand(w, LARGE, 2, 2);
    demand(w, WIDE, 1, 1);
    for (unsigned i = 0; i < 4; i++)
        ends(w, keys[i]);
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(node_of(w, assign(w, LARGE)), "n0");
    ck_assert_uint_eq(sch_op_class_find(w->op, 1, WIDE)->claims, 1);
    ck_assert_uint_eq(sch_op_class_find(w->op, 1, LARGE)->claims, 0);
    for (unsigned i = 4; i < 7; i++)
        ends(w, keys[i]);
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(node_of(w, assign(w, WIDE)), "n1");
    ck_assert_uint_eq(sch_op_class_find(w->op, 1, LARGE)->claims, 1);
    world_free(w);
}
END_TEST

START_TEST(it_ends_with_its_stream_and_moves_when_its_node_is_lost)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    demand(w, LARGE, 1, 1);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = "n0"});
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(kept(w), "n1");
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_CORDON, .u.verb.node = "n1"});
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(kept(w), "");
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_UNCORDON, .u.verb.node = "n1"});
    run_for(w, 60 * SY_NS_PER_S); /* n0 is gone */
    ck_assert_str_eq(kept(w), "n1");
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN, .u.partition.partition = 1});
    ck_assert_str_eq(kept(w), "");
    world_free(w);
}
END_TEST

START_TEST(the_only_node_is_kept_too)
{
    struct world *w = world_new(1);
    demand(w, SMALL, 100, 0);
    demand(w, LARGE, 0, 0);
    struct sch_attempt_key small = assign(w, SMALL);
    demand(w, LARGE, 1, 1);
    ends(w, small);
    run_for(w, SY_NS_PER_S); /* no node takes anything else: it is granted all the same */
    uint64_t before = w->granted[SMALL];
    ck_assert_str_eq(node_of(w, assign(w, LARGE)), "n0");
    ck_assert_uint_eq(w->granted[SMALL], before);
    world_free(w);
}
END_TEST

START_TEST(between_a_gang_and_a_claim_the_earlier_one_chooses)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    demand(w, LARGE, 1, 1);
    ck_assert_str_eq(kept(w), "n0");
    run_for(w, SY_NS_PER_S);
    demand_of(w, GANG, 1, 0, &two);
    (void)assign_as(w, GANG, 7, 0);
    (void)assign_as(w, GANG, 7, 1);
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(kept(w), "n0"); /* the gang needs both nodes, and comes next */
    for (unsigned i = 0; i < 4; i++)
        ends(w, keys[i]);
    run_for(w, SY_NS_PER_S);
    struct sch_attempt_key large = assign(w, LARGE);
    ck_assert_str_eq(node_of(w, large), "n0");
    run_for(w, SY_NS_PER_S);
    ck_assert(w->op->nodes[0]->reserved && w->op->nodes[1]->reserved);
    demand(w, LARGE, 1, 1); /* another one has to wait for the gang */
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(kept(w), "");
    for (unsigned i = 4; i < 8; i++)
        ends(w, keys[i]);
    ends(w, large);
    ck_assert_uint_eq(w->op->nodes[1]->used_cpu_milli, 4000);
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(strlen(kept(w)), 2);
    world_free(w);
}
END_TEST

/* Small work may stop for the class; returns how much does. */
static size_t reclaim(struct world *w, uint32_t class_id)
{
    struct sch_reclaim_queue queue = {.id = SMALL};
    size_t before = w->cancels;
    step(w, (struct sch_op_event){
                .type = SCH_OP_RECLAIM,
                .u.reclaim = {
                    .partition = 1, .class_id = class_id, .queue_count = 1, .queues = &queue}});
    return w->cancels - before;
}

START_TEST(preemption_empties_the_node_that_is_kept)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    ends(w, keys[0]);
    demand(w, LARGE, 1, 1);
    ck_assert_str_eq(kept(w), "n0");
    ck_assert_uint_eq(reclaim(w, LARGE), 3);
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(kept(w), "n0"); /* one waits: one node */
    for (unsigned i = 1; i < 4; i++)
        ends(w, keys[i]);
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(node_of(w, assign(w, LARGE)), "n0");
    ck_assert_str_eq(kept(w), "");
    world_free(w);
}
END_TEST

static void stop_three(struct world *w, const struct sch_attempt_key *keys)
{
    ck_assert_uint_eq(reclaim(w, WIDE), 3);
    ck_assert_str_eq(kept(w), "n0");
    ck_assert_uint_eq(reclaim(w, WIDE), 0); /* the room is on its way */
    for (unsigned i = 0; i < 4; i++) {
        if (sch_attempt_find(w->op, &keys[i])->cancelled)
            ends(w, keys[i]);
    }
}

START_TEST(room_that_was_made_is_for_who_asked)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    demand(w, WIDE, 1, 0);
    stop_three(w, keys);
    ends(w, keys[4]);
    run_for(w, 4 * SY_NS_PER_S);
    ck_assert_uint_eq(w->granted[SMALL], 9); /* the one that ended by itself */
    ck_assert_uint_eq(w->granted[WIDE], 1);
    ck_assert_str_eq(kept(w), "n0");
    ck_assert_str_eq(node_of(w, assign(w, SMALL)), "n1");
    ck_assert_str_eq(node_of(w, assign(w, WIDE)), "n0");
    ck_assert_str_eq(kept(w), "");
    world_free(w);
}
END_TEST

START_TEST(a_gang_waits_beside_room_that_was_made)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    demand(w, WIDE, 1, 0);
    demand_of(w, GANG, 1, 0, &(struct sch_gang_shape){.size = 1});
    stop_three(w, keys);
    (void)assign_as(w, GANG, 7, 0);
    for (unsigned i = 0; i < 4; i++) {
        if (sch_attempt_find(w->op, &keys[i]))
            ends(w, keys[i]);
    }
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->op->nodes[0]->used_cpu_milli, 0);
    ck_assert(w->op->nodes[1]->reserved);
    ck_assert_str_eq(node_of(w, assign(w, WIDE)), "n0");
    world_free(w);
}
END_TEST

static void demand_urgent(struct world *w, uint32_t class_id, uint64_t waiting, int32_t priority)
{
    step(w, (struct sch_op_event){.type = SCH_OP_DEMAND,
                                  .u.demand = {.partition = 1,
                                               .class_id = class_id,
                                               .request = {.cpu_milli = 1000 * class_id},
                                               .waiting = waiting,
                                               .top_priority = priority}});
}

START_TEST(who_is_more_urgent_than_a_gang_gets_what_is_free_on_its_nodes)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    demand_of(w, GANG, 1, 0, &two); /* of priority 0 */
    (void)assign_as(w, GANG, 7, 0);
    (void)assign_as(w, GANG, 7, 1);
    ends(w, keys[0]);
    ends(w, keys[1]);
    ends(w, keys[2]);
    demand_urgent(w, SMALL, 5, 0);
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->granted[SMALL], 8); /* as urgent: it waits */
    demand_urgent(w, WIDE, 1, 1);
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->granted[WIDE], 1);
    ck_assert_str_eq(node_of(w, assign(w, WIDE)), "n0");
    demand_urgent(w, WIDE, 0, 0);
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(kept(w), "");
    ck_assert(w->op->nodes[0]->reserved && w->op->nodes[1]->reserved); /* for the gang again */
    ends(w, keys[4]);
    demand_urgent(w, LARGE, 1, 1); /* no node has room for it: none is taken */
    run_for(w, SY_NS_PER_S);
    ck_assert(w->op->nodes[0]->reserved && w->op->nodes[1]->reserved);
    world_free(w);
}
END_TEST

START_TEST(room_that_was_made_is_kept_for_a_time)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    demand(w, WIDE, 1, 0);
    stop_three(w, keys);
    run_for(w, SCH_OP_MADE_READY_NS - 1);
    ck_assert_str_eq(kept(w), "n0");
    run_for(w, 1);
    ck_assert_str_eq(kept(w), "");
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->granted[SMALL], 8 + 3);
    world_free(w);
}
END_TEST

START_TEST(what_does_not_stop_keeps_its_node_for_a_time)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    demand(w, WIDE, 1, 0);
    ck_assert_uint_eq(reclaim(w, WIDE), 3);
    run_for(w, SCH_OP_MADE_NS - 1);
    ck_assert_str_eq(kept(w), "n0");
    run_for(w, 1);
    ck_assert_str_eq(kept(w), "");
    world_free(w);
}
END_TEST

START_TEST(room_that_was_made_is_for_others_when_nobody_waits)
{
    struct sch_attempt_key keys[8];
    struct world *w = full_world(keys);
    demand(w, WIDE, 2, 0);
    stop_three(w, keys);
    demand(w, WIDE, 1, 0);
    ck_assert_str_eq(kept(w), "n0");
    demand(w, WIDE, 0, 0);
    ck_assert_str_eq(kept(w), "");
    ck_assert_uint_eq(reclaim(w, WIDE), 0); /* it is free */
    world_free(w);
}
END_TEST

START_TEST(what_was_sent_to_the_node_before_is_asked_back_or_more_stops)
{
    struct world *w = world_new(1);
    struct sch_attempt_key keys[4], waits[2];
    demand(w, SMALL, 100, 0);
    demand(w, WIDE, 1, 0);
    for (unsigned i = 0; i < 10; i++) { /* they end fast: two more are sent than fit */
        ends(w, assign(w, SMALL));
        run_for(w, SY_NS_PER_MS);
    }
    for (unsigned i = 0; i < 4; i++)
        keys[i] = assign(w, SMALL);
    for (unsigned i = 0; i < 2; i++)
        waits[i] = assign_as(w, SMALL, 0, 0);
    ck_assert_uint_eq(w->op->nodes[0]->backlog_count, 2);
    ck_assert_uint_eq(reclaim(w, WIDE), 3);
    ck_assert_int_eq(w->op->nodes[0]->asked_ns, w->now);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_RETURNED,
                                  .u.report = {.node = "n0", .key = waits[0], .reason = "asked"}});
    for (unsigned i = 0; i < 4; i++) { /* the other one starts nevertheless */
        if (sch_attempt_find(w->op, &keys[i])->cancelled)
            ends(w, keys[i]);
    }
    ck_assert_uint_eq(w->op->nodes[0]->used_cpu_milli, 2000);
    ck_assert_uint_eq(reclaim(w, WIDE), 1);
    ck_assert_str_eq(kept(w), "n0");
    world_free(w);
}
END_TEST

/* What ended there long ago says nothing of how soon the next one does. */
START_TEST(a_node_where_nothing_ends_is_sent_no_more_than_fits)
{
    struct world *w = world_new(1);
    demand(w, SMALL, 100, 0);
    for (unsigned i = 0; i < 10; i++) {
        ends(w, assign(w, SMALL));
        run_for(w, SY_NS_PER_MS);
    }
    for (unsigned i = 0; i < 4; i++)
        (void)assign(w, SMALL);
    ck_assert_str_eq(node_of(w, assign_as(w, SMALL, 0, 0)), "n0");
    run_for(w, 2 * SCH_OP_RATE_WINDOW_NS);
    ck_assert_uint_lt(w->next_action, w->granted[SMALL]);
    ck_assert_str_eq(node_of(w, assign_as(w, SMALL, 0, 0)), "none");
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_comes_free_on_a_kept_node_stays_free_until_it_is_enough,
                                  a_node_where_less_is_missing_takes_its_place,
                                  where_work_has_run_for_long_it_is_not_waited_for,
                                  a_part_of_the_nodes_is_kept_and_classes_take_turns,
                                  among_many_nodes_the_best_is_found_in_pieces,
                                  who_got_a_node_goes_behind_the_others,
                                  it_ends_with_its_stream_and_moves_when_its_node_is_lost,
                                  the_only_node_is_kept_too,
                                  between_a_gang_and_a_claim_the_earlier_one_chooses,
                                  preemption_empties_the_node_that_is_kept,
                                  room_that_was_made_is_for_who_asked,
                                  a_gang_waits_beside_room_that_was_made,
                                  who_is_more_urgent_than_a_gang_gets_what_is_free_on_its_nodes,
                                  room_that_was_made_is_kept_for_a_time,
                                  what_does_not_stop_keeps_its_node_for_a_time,
                                  room_that_was_made_is_for_others_when_nobody_waits,
                                  what_was_sent_to_the_node_before_is_asked_back_or_more_stops,
                                  a_node_where_nothing_ends_is_sent_no_more_than_fits,
                                  NULL};
    return sy_test_run("sch_claims", tests);
}
