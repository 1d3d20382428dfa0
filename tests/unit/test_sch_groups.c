/* links: sch */
/* Nodes whose labels tell each from all others, and requests that name some of these: which node
 * takes what, in how many groups, and how many nodes a step looks at. sch_operator_check() holds
 * room and choice against each node by itself. */
#include "base/mem.h"
#include "base/rng.h"
#include "scheduler/operator_impl.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 12, ZONES = 3, LIVE = 40, LOOKS = 512 };

struct world {
    struct sch_operator *op;
    struct sch_op_effects fx;
    struct sy_rng rng;
    int64_t now;
    uint64_t action;
    uint32_t class_id, epoch, nodes;
    bool checked, granted; /* granted: in the last step, some class */
    char placed[16];       /* in the last step; "" = nowhere */
    uint64_t placements, hash;
    struct sch_attempt_key live[LIVE];
    size_t count;
};

static void step(struct world *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    w->placed[0] = '\0';
    w->granted = false;
    sch_operator_step(w->op, &event, &w->fx);
    for (size_t i = 0; i < w->fx.count; i++) {
        const struct sch_op_effect *effect = &w->fx.items[i];
        w->granted |= effect->type == SCH_OP_SEND_GRANT;
        if (effect->type != SCH_OP_SEND_ASSIGN)
            continue;
        snprintf(w->placed, sizeof(w->placed), "%s", effect->u.assign.node);
        w->placements++;
        w->hash = sch_hash_bytes(w->placed, strlen(w->placed), w->hash);
        w->hash = sch_hash_bytes(&effect->u.assign.key, sizeof(effect->u.assign.key), w->hash);
    }
    ck_assert_uint_lt(w->op->labels.looks, w->op->options.looks_max + SCH_OP_REGROUP_LOOKS);
    if (w->checked)
        sch_operator_check(w->op);
}

static void partition_up(struct world *w)
{
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP,
                                  .u.partition = {.partition = 1, .epoch = ++w->epoch}});
}

static struct world *world_new(uint64_t seed, uint32_t looks_max, bool checked)
{
    struct world *w = sy_new(struct world);
    struct sch_operator_options options = {
        .hold_ns = 3600 * SY_NS_PER_S, .node_lease_ns = 15 * SY_NS_PER_S, .looks_max = looks_max};
    w->now = SY_NS_PER_S;
    w->checked = checked;
    sy_rng_init(&w->rng, seed);
    w->op = sch_operator_new(&options, w->now);
    partition_up(w);
    return w;
}

static void world_free(struct world *w)
{
    sch_operator_free(w->op);
    sch_op_effects_deinit(&w->fx);
    free(w);
}

/* Each has its name among its labels. `extra` may be "". */
static void node_up(struct world *w, uint32_t i, uint32_t cores, const char *extra)
{
    char name[16];
    struct sch_traits traits = {0};
    struct sch_op_event event = {.type = SCH_OP_NODE_UP};
    snprintf(name, sizeof(name), "n%u", i);
    snprintf(traits.labels, sizeof(traits.labels), "%shost=h%u,zone=z%u", extra, i, i % ZONES);
    event.u.node.name = name;
    event.u.node.traits = &traits;
    event.u.node.capacity.cpu_milli = cores * 1000;
    step(w, event);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = name});
}

static void nodes_up(struct world *w, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        node_up(w, i, 4, "");
}

static uint32_t demand(struct world *w, const struct sch_resources *request,
                       const struct sch_gang_shape *gang)
{
    struct sch_op_event event = {.type = SCH_OP_DEMAND};
    event.u.demand.partition = 1;
    event.u.demand.class_id = ++w->class_id;
    event.u.demand.request = *request;
    event.u.demand.waiting = 1;
    event.u.demand.gang = gang;
    step(w, event);
    return w->class_id;
}

static struct sch_attempt_key assign(struct world *w, uint32_t class_id, uint64_t gang,
                                     uint32_t rank)
{
    struct sch_op_event event = {.type = SCH_OP_ASSIGN};
    event.u.assign.key = (struct sch_attempt_key){
        .action = ++w->action, .partition = 1, .number = 1, .epoch = w->epoch};
    event.u.assign.class_id = class_id;
    event.u.assign.gang_id = gang;
    event.u.assign.rank = rank;
    step(w, event);
    return event.u.assign.key;
}

static struct sch_resources asking(const char *labels)
{
    struct sch_resources request = {.cpu_milli = 1000};
    snprintf(request.labels, sizeof(request.labels), "%s", labels);
    return request;
}

static void place(struct world *w, const char *labels)
{
    struct sch_resources request = asking(labels);
    uint32_t class_id = demand(w, &request, NULL);
    (void)assign(w, class_id, 0, 0);
}

static void end(struct world *w, const struct sch_attempt_key *key)
{
    struct sch_op_event event = {.type = SCH_OP_OUTCOME};
    event.u.report.node = sch_operator_node_of(w->op, key);
    event.u.report.key = *key;
    step(w, event);
    step(w, (struct sch_op_event){.type = SCH_OP_ACK, .u.key = *key});
}

/* All that is to be done at once. */
static unsigned settle(struct world *w)
{
    unsigned ticks = 0;
    for (; sch_operator_next_ns(w->op) <= w->now; ticks++)
        step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    return ticks;
}

static uint32_t groups(const struct world *w)
{
    return w->op->groups_by_bytes.count;
}

/* ---- groups ---- */

START_TEST(labels_that_nobody_asks_for_make_no_groups)
{
    struct world *w = world_new(1, 0, true);
    nodes_up(w, NODES);
    place(w, "");
    ck_assert_str_eq(w->placed, "n0");
    ck_assert_uint_eq(groups(w), 1);
    ck_assert_uint_eq(sch_operator_shapes(w->op, NULL, 0), NODES); /* shards are told all */
    place(w, "host=h7");
    ck_assert_str_eq(w->placed, "n7");
    ck_assert_uint_eq(groups(w), 2);
    place(w, "zone=z1");
    ck_assert_str_eq(w->placed, "n7"); /* the least that is left, of both */
    ck_assert_uint_eq(groups(w), 3);
    place(w, "host=h7,zone=z2");
    ck_assert_str_eq(w->placed, "");
    place(w, "host=h99");
    ck_assert_str_eq(w->placed, "");
    world_free(w);
}
END_TEST

START_TEST(what_was_asked_for_is_forgotten_when_there_is_much_of_it)
{
    struct world *w = world_new(1, 0, true);
    char label[16];
    nodes_up(w, 2 * SCH_OP_LABELS_IDLE_MAX);
    for (uint32_t i = 0; i < SCH_OP_LABELS_IDLE_MAX; i++) {
        snprintf(label, sizeof(label), "host=h%u", i);
        struct sch_resources request = asking(label);
        (void)demand(w, &request, NULL);
    }
    ck_assert_uint_eq(groups(w), SCH_OP_LABELS_IDLE_MAX + 1);
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN, .u.partition.partition = 1});
    (void)settle(w);
    ck_assert_uint_eq(groups(w), SCH_OP_LABELS_IDLE_MAX + 1); /* it may come again */
    partition_up(w);
    struct sch_resources request = asking("host=h99");
    (void)demand(w, &request, NULL);
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN, .u.partition.partition = 1});
    (void)settle(w);
    ck_assert_uint_eq(groups(w), SCH_OP_LABELS_IDLE_MAX / 2 + 1);
    ck_assert_uint_eq(w->op->labels.asked.count, SCH_OP_LABELS_IDLE_MAX / 2);
    world_free(w);
}
END_TEST

START_TEST(what_is_held_for_a_label_is_placed_when_its_node_has_room)
{
    struct world *w = world_new(1, 0, true);
    nodes_up(w, NODES);
    struct sch_resources request = asking("host=h7");
    request.cpu_milli = 4000;
    uint32_t first = demand(w, &request, NULL);
    request.cpu_milli = 3000;
    uint32_t second = demand(w, &request, NULL); /* there is room for each of them */
    struct sch_attempt_key key = assign(w, first, 0, 0);
    ck_assert_str_eq(w->placed, "n7");
    (void)assign(w, second, 0, 0);
    ck_assert_str_eq(w->placed, "");
    end(w, &key);
    ck_assert_uint_eq(w->placements, 2);
    world_free(w);
}
END_TEST

/* ---- slices ---- */

START_TEST(a_new_label_is_looked_for_in_slices)
{
    struct world *w = world_new(1, LOOKS, false);
    nodes_up(w, 10 * LOOKS);
    place(w, "");
    ck_assert_str_eq(w->placed, "n0");
    struct sch_resources request = asking("host=h5000");
    uint32_t class_id = demand(w, &request, NULL);
    ck_assert(!w->granted); /* nor told that there is nothing */
    place(w, "");           /* others do not wait for it */
    ck_assert_str_eq(w->placed, "n0");
    unsigned ticks = 0;
    for (; !w->granted && ticks < 100; ticks++) {
        w->now += SCH_OP_GRANT_INTERVAL_NS;
        step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    }
    ck_assert_uint_ge(ticks, 5); /* all nodes were looked at, and at most LOOKS in a step */
    ck_assert_uint_le(ticks, 10);
    (void)assign(w, class_id, 0, 0);
    ck_assert_str_eq(w->placed, "n5000");
    /* Who asks for it again finds it known. */
    request.cpu_milli = 500;
    class_id = demand(w, &request, NULL);
    (void)assign(w, class_id, 0, 0);
    ck_assert_str_eq(w->placed, "n5000");
    sch_operator_check(w->op);
    world_free(w);
}
END_TEST

/* A step looks at one node: its kind is new, and its labels are known of none. */
START_TEST(what_an_agent_names_needs_no_labels_to_be_known)
{
    struct world *w = world_new(1, 1, true);
    nodes_up(w, NODES);
    struct sch_op_event event = {.type = SCH_OP_NODE_UP};
    event.u.node.name = "other";
    event.u.node.capacity.cpu_milli = 4000;
    step(w, event);
    event = (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY};
    event.u.inventory.node = "other";
    event.u.inventory.request = asking("zone=z1");
    event.u.inventory.key = (struct sch_attempt_key){99, 1, 1, 1};
    event.u.inventory.started = true;
    step(w, event);
    ck_assert(sch_labels_due(w->op));
    ck_assert_str_eq(sch_operator_node_of(w->op, &event.u.inventory.key), "other");
    end(w, &event.u.inventory.key);
    ck_assert_uint_gt(settle(w), 5);
    ck_assert(!sch_labels_due(w->op));
    world_free(w);
}
END_TEST

static const struct sch_gang_shape in_zone = {
    .size = 2, .topology = SCH_TOPOLOGY_REQUIRE, .key = "zone"};

START_TEST(a_gang_that_needs_a_domain_is_answered_when_all_are_known)
{
    struct world *w = world_new(1, LOOKS, false);
    nodes_up(w, 10 * LOOKS - ZONES - 1);
    for (uint32_t i = 10 * LOOKS - ZONES - 1; i < 10 * LOOKS; i++)
        node_up(w, i, i % ZONES == 1 ? 8 : 4, ""); /* the first and the last of these */
    struct sch_resources request = {.cpu_milli = 8000};
    uint32_t class_id = demand(w, &request, &in_zone);
    ck_assert(!w->granted);
    unsigned ticks = 0;
    for (; !w->granted && ticks < 100; ticks++) {
        w->now += SCH_OP_GRANT_INTERVAL_NS;
        step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    }
    ck_assert(w->granted);
    (void)assign(w, class_id, 7, 0);
    (void)assign(w, class_id, 7, 1);
    ck_assert_uint_eq(w->placements, 2);
    world_free(w);
}
END_TEST

START_TEST(a_label_is_known_with_its_key)
{
    struct world *w = world_new(1, 1, true);
    nodes_up(w, NODES);
    struct sch_resources request = asking("");
    (void)demand(w, &request, &in_zone);
    request = asking("zone=z0"); /* that is not known of all nodes yet */
    (void)demand(w, &request, NULL);
    ck_assert(sch_labels_due(w->op));
    ck_assert(!w->granted);
    (void)settle(w);
    w->now += SY_NS_PER_S;
    (void)settle(w);
    ck_assert_uint_eq(groups(w), ZONES + 1);
    request = asking("zone=z1"); /* but by now */
    uint32_t class_id = demand(w, &request, NULL);
    ck_assert(w->granted && !sch_labels_due(w->op));
    (void)assign(w, class_id, 0, 0);
    ck_assert_str_eq(w->placed, "n1");
    world_free(w);
}
END_TEST

/* ---- random worlds ---- */

static void random_labels(struct world *w, char ret[SCH_LABELS_MAX])
{
    static const char *const texts[] = {"",     "host=h",  "zone=z", "disk=ssd,zone=z",
                                        "gpu-", "disk=ssd"};
    uint64_t i = sy_rng_below(&w->rng, SY_COUNT_OF(texts));
    uint32_t number = (uint32_t)sy_rng_below(&w->rng, i == 1 ? NODES + 1 : ZONES);
    if (i > 0 && i < 5)
        snprintf(ret, SCH_LABELS_MAX, "%s%u", texts[i], number);
    else
        snprintf(ret, SCH_LABELS_MAX, "%s", texts[i]);
}

static void random_gang(struct world *w)
{
    static const char *const keys[] = {"host", "zone", "rack"};
    struct sch_gang_shape gang = {.size = 2};
    char labels[SCH_LABELS_MAX];
    gang.topology = sy_rng_chance(&w->rng, 1, 2) ? SCH_TOPOLOGY_REQUIRE : SCH_TOPOLOGY_PREFER;
    snprintf(gang.key, sizeof(gang.key), "%s", keys[sy_rng_below(&w->rng, SY_COUNT_OF(keys))]);
    random_labels(w, labels);
    struct sch_resources request = asking(labels);
    uint32_t class_id = demand(w, &request, &gang);
    for (uint32_t rank = 0; rank < gang.size; rank++)
        w->live[w->count++] = assign(w, class_id, w->action + 1000, rank);
}

static void random_node(struct world *w)
{
    static const char *const extras[] = {"", "disk=ssd,", "disk=hdd,", "gpu-1,"};
    uint32_t i = (uint32_t)sy_rng_below(&w->rng, NODES);
    char name[16];
    snprintf(name, sizeof(name), "n%u", i);
    /* What ran there is in no inventory: it is lost, and its shard knows. */
    if (sy_rng_chance(&w->rng, 1, 2))
        node_up(w, i, 2 + (uint32_t)sy_rng_below(&w->rng, 2) * 2,
                extras[sy_rng_below(&w->rng, SY_COUNT_OF(extras))]);
    else
        step(w, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = name});
}

/* Its outcome, or nothing when it waits here, or was lost. */
static void random_end(struct world *w)
{
    size_t at = sy_rng_below(&w->rng, w->count);
    struct sch_attempt_key key = w->live[at];
    w->live[at] = w->live[--w->count];
    if (sch_operator_node_of(w->op, &key))
        end(w, &key);
    else
        step(w, (struct sch_op_event){.type = SCH_OP_CANCEL, .u.key = key});
}

static void explain(struct world *w, const char *labels, const struct sch_gang_shape *gang)
{
    struct sch_resources request = asking(labels);
    struct sch_op_survey survey = {.partition = 1, .request = &request, .gang = gang};
    struct sch_op_survey_answer answer;
    sch_operator_survey(w->op, &survey, &answer);
    sch_op_survey_answer_deinit(&answer);
}

static void random_turn(struct world *w, bool gangs)
{
    uint64_t dice = sy_rng_below(&w->rng, 20);
    if (w->count + 2 > LIVE || (w->count > 0 && dice < 8)) {
        random_end(w);
    } else if (dice < 9) {
        random_node(w);
    } else if (dice == 9) {
        step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN, .u.partition.partition = 1});
        partition_up(w);
    } else if (dice < 12 && gangs) {
        random_gang(w);
    } else {
        char labels[SCH_LABELS_MAX];
        random_labels(w, labels);
        struct sch_resources request = asking(labels);
        request.cpu_milli = 500 + (uint32_t)sy_rng_below(&w->rng, 3) * 500;
        uint32_t class_id = demand(w, &request, NULL);
        w->live[w->count++] = assign(w, class_id, 0, 0);
    }
    w->now += (int64_t)sy_rng_below(&w->rng, 3) * SY_NS_PER_MS;
    if (sy_rng_chance(&w->rng, 1, 3) && sch_operator_next_ns(w->op) <= w->now)
        step(w, (struct sch_op_event){.type = SCH_OP_TICK});
}

/* Whatever a step may look at, and while nodes go, come and change their labels. */
START_TEST(random_requests_and_labels)
{
    uint64_t placed = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world *w = world_new(seed, (uint32_t)(seed % 4) * 3, true);
        nodes_up(w, NODES);
        for (unsigned i = 0; i < 400; i++)
            random_turn(w, true);
        (void)settle(w);
        ck_assert(!sch_labels_due(w->op));
        placed += w->placements;
        world_free(w);
    }
    ck_assert_uint_gt(placed, 500);
}
END_TEST

/* Somebody else asks for labels that tell nodes apart, and it changes nothing. */
START_TEST(what_others_ask_for_does_not_move_anything)
{
    uint64_t placed = 0;
    uint32_t apart = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world *plain = world_new(seed, 0, false), *asked = world_new(seed, 0, false);
        nodes_up(plain, NODES);
        nodes_up(asked, NODES);
        for (unsigned i = 0; i < 400; i++) {
            char label[16];
            snprintf(label, sizeof(label), "host=h%u", (i * 7) % NODES);
            explain(asked, label, NULL);
            explain(asked, "", &in_zone);
            random_turn(plain, false);
            random_turn(asked, false);
            ck_assert_uint_eq(plain->hash, asked->hash);
            apart += groups(plain) < groups(asked);
        }
        placed += plain->placements;
        world_free(plain);
        world_free(asked);
    }
    ck_assert_uint_gt(placed, 1000);
    ck_assert_uint_gt(apart, 1000);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {labels_that_nobody_asks_for_make_no_groups,
                                  what_was_asked_for_is_forgotten_when_there_is_much_of_it,
                                  what_is_held_for_a_label_is_placed_when_its_node_has_room,
                                  a_new_label_is_looked_for_in_slices,
                                  what_an_agent_names_needs_no_labels_to_be_known,
                                  a_gang_that_needs_a_domain_is_answered_when_all_are_known,
                                  a_label_is_known_with_its_key,
                                  random_requests_and_labels,
                                  what_others_ask_for_does_not_move_anything,
                                  NULL};
    return sy_test_run("sch_groups", tests);
}
