/* links: sch */
#include "scheduler/operator_impl.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLD (2 * SY_NS_PER_S)
#define LEASE (15 * SY_NS_PER_S)
#define GRACE (5 * SY_NS_PER_S)

struct world {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    uint64_t next_action;
    size_t blobs; /* that are not released yet */
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

static struct world *world_new(void)
{
    struct world *w = sy_new(struct world);
    struct sch_operator_options options = {
        .hold_ns = HOLD, .node_lease_ns = LEASE, .join_grace_ns = GRACE};
    w->now = SY_NS_PER_S;
    w->op = sch_operator_new(&options, w->now);
    return w;
}

static void world_free(struct world *w)
{
    sch_operator_check(w->op);
    sch_operator_free(w->op);
    ck_assert_uint_eq(w->blobs, 0); /* each released exactly once */
    sch_op_effects_deinit(&w->fx);
    free(w);
}

/* What was sent to a node is the shell's again. */
static void step(struct world *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    sch_operator_step(w->op, &event, &w->fx);
    for (size_t i = 0; i < w->fx.count; i++) {
        if (w->fx.items[i].type == SCH_OP_SEND_ASSIGN)
            w->fx.items[i].u.assign.blob.release(w->fx.items[i].u.assign.blob.data);
    }
    sch_operator_check(w->op);
}

static size_t count(const struct world *w, enum sch_op_effect_type type)
{
    size_t n = 0;
    for (size_t i = 0; i < w->fx.count; i++)
        n += w->fx.items[i].type == type;
    return n;
}

static const struct sch_op_effect *nth(const struct world *w, enum sch_op_effect_type type,
                                       size_t n)
{
    for (size_t i = 0; i < w->fx.count; i++) {
        if (w->fx.items[i].type == type && n-- == 0)
            return &w->fx.items[i];
    }
    ck_abort_msg("no such effect");
}

static void partition_up(struct world *w, uint32_t partition, uint32_t epoch)
{
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP,
                                  .u.partition = {.partition = partition, .epoch = epoch}});
}

static void partition_down(struct world *w, uint32_t partition)
{
    step(w,
         (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN, .u.partition.partition = partition});
}

static const struct sch_resources task = {.cpu_milli = 1000};

static void demand_of(struct world *w, uint32_t partition, uint32_t class_id, uint64_t waiting,
                      const struct sch_resources *request)
{
    step(w, (struct sch_op_event){.type = SCH_OP_DEMAND,
                                  .u.demand = {.partition = partition,
                                               .class_id = class_id,
                                               .request = *request,
                                               .waiting = waiting}});
}

static void demand(struct world *w, uint32_t partition, uint64_t waiting)
{
    demand_of(w, partition, 1, waiting, &task);
}

static struct sch_attempt_key assign_class(struct world *w, uint32_t partition, uint32_t epoch,
                                           uint32_t class_id)
{
    struct sch_attempt_key key = {
        .action = ++w->next_action, .partition = partition, .number = 1, .epoch = epoch};
    step(w, (struct sch_op_event){.type = SCH_OP_ASSIGN,
                                  .u.assign = {.key = key, .class_id = class_id, .blob = blob(w)}});
    return key;
}

static struct sch_attempt_key assign(struct world *w)
{
    return assign_class(w, 1, 7, 1);
}

static struct sch_attempt_key assign_queue(struct world *w, uint32_t class_id, uint32_t queue)
{
    struct sch_attempt_key key = {
        .action = ++w->next_action, .partition = 1, .number = 1, .epoch = 7};
    step(w, (struct sch_op_event){
                .type = SCH_OP_ASSIGN,
                .u.assign = {.key = key, .class_id = class_id, .queue = queue, .blob = blob(w)}});
    return key;
}

static void reclaim(struct world *w, uint32_t class_id, uint32_t id)
{
    struct sch_reclaim_queue queue = {.id = id};
    step(w, (struct sch_op_event){
                .type = SCH_OP_RECLAIM,
                .u.reclaim = {
                    .partition = 1, .class_id = class_id, .queues = &queue, .queue_count = 1}});
}

static void node_hello(struct world *w, const char *name, struct sch_resources capacity)
{
    struct sch_environment environments[] = {{.name = "ruby", .slots = 1},
                                             {.name = "python", .slots = 2}};
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_UP,
                                  .u.node = {.name = name,
                                             .capacity = capacity,
                                             .environments = environments,
                                             .environment_count = 2}});
}

static void node_complete(struct world *w, const char *name)
{
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = name});
}

static void node_up(struct world *w, const char *name, uint32_t cores)
{
    node_hello(w, name, (struct sch_resources){.cpu_milli = cores * 1000, .memory_bytes = 1 << 30});
    node_complete(w, name);
}

static void node_down(struct world *w, const char *name)
{
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = name});
}

static void inventory(struct world *w, const char *node, struct sch_attempt_key key, bool started)
{
    step(w,
         (struct sch_op_event){
             .type = SCH_OP_NODE_INVENTORY,
             .u.inventory = {
                 .node = node, .key = key, .request = task, .started = started, .started_ns = 5}});
}

static void report(struct world *w, enum sch_op_event_type type, const char *node,
                   struct sch_attempt_key key)
{
    struct sch_op_event event = {.type = type,
                                 .u.report = {.node = node, .key = key, .started_ns = 5}};
    if (type == SCH_OP_OUTCOME)
        event.u.report.blob = blob(w);
    step(w, event);
}

static void ack(struct world *w, struct sch_attempt_key key)
{
    step(w, (struct sch_op_event){.type = SCH_OP_ACK, .u.key = key});
}

static void cancel(struct world *w, struct sch_attempt_key key)
{
    step(w,
         (struct sch_op_event){.type = SCH_OP_CANCEL, .u.cancel = {.key = key, .reason = "why"}});
}

static void tick_at(struct world *w, int64_t now)
{
    w->now = now;
    step(w, (struct sch_op_event){.type = SCH_OP_TICK});
}

static void run_until(struct world *w, int64_t until)
{
    int64_t next;
    while ((next = sch_operator_next_ns(w->op)) <= until)
        tick_at(w, next > w->now ? next : w->now);
    w->now = until;
}

/* One node "n1" of some cores, partition 1 with epoch 7 that has demand for the task. */
static struct world *world_with(uint32_t cores)
{
    struct world *w = world_new();
    node_up(w, "n1", cores);
    partition_up(w, 1, 7);
    demand(w, 1, 1000);
    return w;
}

/* The same, where tasks end so fast that a round trip is worth a backlog of two. */
static struct world *busy_world(uint32_t cores)
{
    struct world *w = world_with(cores);
    for (int i = 0; i < 10; i++) {
        struct sch_attempt_key key = assign(w);
        report(w, SCH_OP_OUTCOME, "n1", key);
        ack(w, key);
        tick_at(w, w->now + SY_NS_PER_MS);
    }
    demand(w, 1, 1000);
    return w;
}

static const char *node_of(struct world *w, struct sch_attempt_key key)
{
    const char *node = sch_operator_node_of(w->op, &key);
    return node ? node : "none";
}

START_TEST(tables_are_sound)
{
    sm_table_check(&sch_attempt_table);
    sm_table_check(&sch_node_table);
}
END_TEST

START_TEST(an_attempt_lives)
{
    struct world *w = world_with(4);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.granted, 4);
    struct sch_attempt_key key = assign(w);
    ck_assert_str_eq(nth(w, SCH_OP_SEND_ASSIGN, 0)->u.assign.node, "n1");
    ck_assert_str_eq(node_of(w, key), "n1");
    report(w, SCH_OP_STARTED, "n1", key);
    ck_assert_int_eq(nth(w, SCH_OP_SEND_STARTED, 0)->u.report.started_ns, 5);
    report(w, SCH_OP_STARTED, "n1", key);
    ck_assert_uint_eq(w->fx.count, 0);
    report(w, SCH_OP_OUTCOME, "n1", key);
    ck_assert_ptr_nonnull(nth(w, SCH_OP_SEND_OUTCOME, 0)->u.report.blob);
    ck_assert_uint_eq(w->blobs, 1); /* kept until acknowledged */
    report(w, SCH_OP_OUTCOME, "n1", key);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_OUTCOME), 0);
    ck_assert_uint_eq(w->blobs, 1);
    partition_down(w, 1);
    partition_up(w, 1, 7);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_OUTCOME), 1); /* told again */
    ack(w, key);
    ck_assert_str_eq(nth(w, SCH_OP_SEND_ACK, 0)->u.attempt.node, "n1");
    ck_assert_uint_eq(w->blobs, 0);
    ck_assert_str_eq(node_of(w, key), "none");
    ack(w, key);
    ck_assert_uint_eq(w->fx.count, 0);
    world_free(w);
}
END_TEST

START_TEST(grants_are_cumulative_and_kept)
{
    struct world *w = busy_world(4);
    for (int i = 0; i < 6; i++)
        (void)assign(w);
    struct sch_attempt_key beyond = assign(w);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_RETURNED, 0)->u.report.key.action, beyond.action);
    (void)assign_class(w, 1, 7, 99);
    ck_assert_str_eq(nth(w, SCH_OP_SEND_RETURNED, 0)->u.report.reason,
                     "its class is not known here");
    run_until(w, w->now + SY_NS_PER_S);
    demand(w, 1, 1000);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_GRANT), 0); /* full: 4 run, 2 wait there */
    for (uint64_t action = 11; action <= 13; action++)
        report(w, SCH_OP_OUTCOME, "n1", (struct sch_attempt_key){action, 1, 1, 7});
    tick_at(w, w->now + SY_NS_PER_MS);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.granted, 17 + 1);
    world_free(w);
}
END_TEST

START_TEST(shards_share_by_demand)
{
    struct world *w = world_new();
    node_up(w, "n1", 28);
    for (uint32_t p = 1; p <= 3; p++)
        partition_up(w, p, 7);
    demand(w, 1, 0);
    uint64_t alone = nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.granted;
    ck_assert_uint_eq(alone, 28); /* a standing grant, though nothing waits */
    w->now += SY_NS_PER_S;
    demand(w, 2, 19);
    demand(w, 3, 8);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.granted, 8); /* 28 x 9 / (1 + 20 + 9) */
    /* little room: who asks and has nothing here gets one at least; none at all: nobody */
    for (int i = 0; i < 27; i++)
        (void)assign_class(w, 1, 7, 1);
    partition_up(w, 4, 7);
    demand(w, 4, 1);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.partition, 4);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.granted, 1);
    (void)assign_class(w, 1, 7, 1);
    partition_up(w, 5, 7);
    demand(w, 5, 1000000);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.granted, 0);
    world_free(w);
}
END_TEST

START_TEST(best_fit_fills_up)
{
    struct world *w = world_new();
    node_up(w, "b", 2);
    node_up(w, "c", 1);
    node_up(w, "a", 2);
    partition_up(w, 1, 7);
    demand(w, 1, 100);
    const char *want[] = {"c", "b", "b", "a", "a"}; /* least free cpu, then the older node */
    for (size_t i = 0; i < 5; i++)
        ck_assert_str_eq(node_of(w, assign(w)), want[i]);
    world_free(w);
}
END_TEST

START_TEST(environments_have_slots)
{
    struct world *w = world_new();
    struct sch_resources python = {.environment = "python"}, perl = {.environment = "perl"};
    node_up(w, "a", 8);
    node_up(w, "b", 8);
    partition_up(w, 1, 7);
    demand_of(w, 1, 1, 10, &python);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.granted, 4); /* 2 x 2 */
    const char *want[] = {"a", "a", "b", "b"};
    for (size_t i = 0; i < 4; i++)
        ck_assert_str_eq(node_of(w, assign(w)), want[i]);
    demand_of(w, 1, 2, 10, &perl);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.granted, 0);
    world_free(w);
}
END_TEST

START_TEST(gpus_by_model)
{
    struct world *w = world_new();
    struct sch_resources h100 = {.gpus = 2, .gpu_model = "H100"},
                         a100 = {.gpus = 1, .gpu_model = "A100"};
    struct sch_resources any = {.gpus = 1};
    node_hello(w, "g", (struct sch_resources){.cpu_milli = 8000, .gpus = 4, .gpu_model = "H100"});
    node_complete(w, "g");
    partition_up(w, 1, 7);
    demand_of(w, 1, 1, 9, &h100);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.granted, 2);
    demand_of(w, 1, 2, 9, &a100);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.granted, 0);
    demand_of(w, 1, 3, 9, &any);
    /* what it alone could have; of all together the room says how much */
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.granted, 4);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_GRANT, 0)->u.grant.startable, 4);
    world_free(w);
}
END_TEST

START_TEST(room_goes_to_the_backlog_first)
{
    struct world *w = busy_world(1);
    struct sch_attempt_key a = assign(w), b = assign(w), c = assign(w);
    ck_assert_str_eq(node_of(w, c), "n1");
    report(w, SCH_OP_STARTED, "n1", a);
    report(w, SCH_OP_OUTCOME, "n1", a);
    run_until(w, w->now + 10 * SY_NS_PER_MS);
    struct sch_attempt_key d = assign(w); /* behind b, which the agent starts next */
    ck_assert_str_eq(node_of(w, d), "n1");
    report(w, SCH_OP_STARTED, "n1", b);
    /* the agent's own order: c starts before b's outcome came */
    report(w, SCH_OP_STARTED, "n1", c);
    report(w, SCH_OP_OUTCOME, "n1", b);
    report(w, SCH_OP_OUTCOME, "n1", c);
    report(w, SCH_OP_STARTED, "n1", d);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_STARTED), 1);
    world_free(w);
}
END_TEST

START_TEST(a_backlog_that_does_not_move_is_asked_back)
{
    struct world *w = busy_world(1);
    struct sch_attempt_key a = assign(w), b = assign(w), c = assign(w);
    report(w, SCH_OP_STARTED, "n1", a);
    tick_at(w, w->now + HOLD / 2);
    report(w, SCH_OP_OUTCOME, "n1", a); /* b is next: what waits from now on is c */
    report(w, SCH_OP_STARTED, "n1", b);
    tick_at(w, w->now + HOLD / 2 - 1);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_GIVE_BACK), 0);
    tick_at(w, w->now + 1);
    ck_assert_str_eq(nth(w, SCH_OP_SEND_GIVE_BACK, 0)->u.attempt.node, "n1");
    tick_at(w, w->now + HOLD - 1);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_GIVE_BACK), 0); /* on its way */
    report(w, SCH_OP_NODE_RETURNED, "n1", c);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_RETURNED, 0)->u.report.key.action, c.action);
    ck_assert_str_eq(node_of(w, b), "n1"); /* what runs there goes on */
    tick_at(w, w->now + HOLD);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_GIVE_BACK), 0);
    world_free(w);
}
END_TEST

START_TEST(what_fits_nowhere_is_held_then_returned)
{
    struct world *w = busy_world(1);
    struct sch_attempt_key keys[3];
    for (uint32_t p = 2; p <= 3; p++) { /* each is promised one while there is room */
        partition_up(w, p, 9);
        demand(w, p, 50);
    }
    for (size_t i = 0; i < 3; i++)
        keys[i] = assign(w);
    struct sch_attempt_key held = assign_class(w, 2, 9, 1);
    ck_assert_str_eq(node_of(w, held), "none");
    run_until(w, w->now + HOLD / 2);
    report(w, SCH_OP_OUTCOME, "n1", keys[0]);
    report(w, SCH_OP_OUTCOME, "n1", keys[1]);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_ASSIGN), 0); /* those of the backlog were first */
    report(w, SCH_OP_OUTCOME, "n1", keys[2]);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_ASSIGN, 0)->u.assign.key.action, held.action);
    run_until(w, w->now + SY_NS_PER_S);
    struct sch_attempt_key second = assign_class(w, 3, 9, 1);
    ck_assert_str_eq(node_of(w, second), "none");
    /* with its stream closed there is nobody to give it back to */
    partition_down(w, 3);
    run_until(w, w->now + HOLD + SY_NS_PER_S);
    partition_up(w, 3, 9);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_INVENTORY), 1);
    ck_assert_str_eq(nth(w, SCH_OP_SEND_INVENTORY, 0)->u.inventory.node, "");
    tick_at(w, w->now + HOLD);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_RETURNED, 0)->u.report.key.action, second.action);
    world_free(w);
}
END_TEST

START_TEST(cancels)
{
    struct world *w = busy_world(1);
    struct sch_attempt_key keys[3];
    partition_up(w, 2, 9);
    demand(w, 2, 50);
    for (size_t i = 0; i < 3; i++)
        keys[i] = assign(w);
    struct sch_attempt_key held = assign_class(w, 2, 9, 1);
    cancel(w, held);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_RETURNED) + count(w, SCH_OP_SEND_CANCEL), 0);
    ck_assert_uint_eq(w->blobs, 0);
    cancel(w, keys[0]);
    ck_assert_str_eq(nth(w, SCH_OP_SEND_CANCEL, 0)->u.attempt.reason, "why");
    report(w, SCH_OP_OUTCOME, "n1", keys[0]);
    cancel(w, keys[0]);
    cancel(w, held);
    ck_assert_uint_eq(w->fx.count, 0);
    /* a node that is away is told when it is back */
    node_down(w, "n1");
    cancel(w, keys[1]);
    ck_assert_uint_eq(w->fx.count, 0);
    node_hello(w, "n1", task);
    inventory(w, "n1", keys[1], true);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_CANCEL, 0)->u.attempt.key.action, keys[1].action);
    world_free(w);
}
END_TEST

START_TEST(older_epochs_are_refused)
{
    struct world *w = world_with(4);
    partition_up(w, 1, 8);
    demand(w, 1, 10);
    (void)assign_class(w, 1, 7, 1);
    ck_assert_uint_eq(w->fx.count, 0);
    ck_assert_uint_eq(w->blobs, 0);
    partition_down(w, 1);
    partition_up(w, 1, 7); /* its owner was replaced */
    ck_assert_uint_eq(w->fx.count, 0);
    demand(w, 1, 10);
    ck_assert_uint_eq(w->fx.count, 0);
    (void)assign_class(w, 1, 7, 1);
    ck_assert_uint_eq(w->fx.count, 0);
    world_free(w);
}
END_TEST

START_TEST(repeated_assignments_do_no_harm)
{
    struct world *w = world_with(4);
    struct sch_attempt_key key = assign(w);
    w->next_action--;
    (void)assign(w);
    ck_assert_uint_eq(w->fx.count, 0);
    ck_assert_str_eq(node_of(w, key), "n1");
    world_free(w);
}
END_TEST

START_TEST(a_lost_node)
{
    struct world *w = world_with(4);
    struct sch_attempt_key a = assign(w), b = assign(w);
    report(w, SCH_OP_STARTED, "n1", a);
    node_down(w, "n1");
    int64_t gone = w->now + LEASE;
    run_until(w, gone - 1);
    ck_assert_str_eq(node_of(w, a), "n1");
    tick_at(w, gone);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_OUTCOME), 2);
    ck_assert_ptr_null(nth(w, SCH_OP_SEND_OUTCOME, 0)->u.report.blob);
    ck_assert_str_eq(nth(w, SCH_OP_SEND_OUTCOME, 0)->u.report.node, "n1");
    ck_assert_uint_eq(count(w, SCH_OP_SHAPES_CHANGED), 1);
    ack(w, b);
    ck_assert_uint_eq(w->fx.count, 0); /* nobody to tell */
    /* it comes back with both: what we gave up is stopped, what we forgot is for the partition */
    node_hello(w, "n1", task);
    inventory(w, "n1", a, true);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_CANCEL), 1);
    inventory(w, "n1", b, true);
    ck_assert(nth(w, SCH_OP_SEND_INVENTORY, 0)->u.inventory.started);
    node_complete(w, "n1");
    report(w, SCH_OP_OUTCOME, "n1", a);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_OUTCOME), 0);
    ack(w, a);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_ACK), 1);
    world_free(w);
}
END_TEST

START_TEST(a_node_that_returns)
{
    struct world *w = world_with(4);
    struct sch_attempt_key a = assign(w), b = assign(w), c = assign(w);
    report(w, SCH_OP_STARTED, "n1", a);
    node_down(w, "n1");
    report(w, SCH_OP_STARTED, "n1", b);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_STARTED), 0); /* its stream is closed */
    (void)assign(w);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_ASSIGN), 0);
    w->now += SY_NS_PER_S;
    node_hello(w, "n1", (struct sch_resources){.cpu_milli = 4000, .memory_bytes = 1 << 30});
    inventory(w, "n1", a, true);
    inventory(w, "n1", b, true);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_STARTED), 1);
    node_complete(w, "n1");
    ck_assert_uint_eq(count(w, SCH_OP_SEND_ASSIGN), 1); /* what was held */
    const struct sch_op_effect *lost = nth(w, SCH_OP_SEND_OUTCOME, 0);
    ck_assert_uint_eq(lost->u.report.key.action, c.action);
    ck_assert_ptr_null(lost->u.report.blob);
    world_free(w);
}
END_TEST

START_TEST(a_blind_observer_restarts_the_grace_once)
{
    struct world *w = world_with(4);
    struct sch_attempt_key a = assign(w);
    node_down(w, "n1");
    tick_at(w, w->now + 3 * LEASE);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_OUTCOME), 0);
    tick_at(w, w->now + 3 * LEASE);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_OUTCOME), 1);
    ack(w, a);
    world_free(w);
}
END_TEST

START_TEST(a_new_operator_rebuilds)
{
    struct world *w = world_new();
    struct sch_attempt_key a = {10, 1, 1, 6}, b = {11, 1, 1, 6}, c = {12, 1, 1, 6};
    ck_assert(!sch_operator_inventory_complete(w->op));
    partition_up(w, 1, 7);
    ck_assert_uint_eq(w->fx.count, 0);
    node_hello(w, "n1", task);
    inventory(w, "n1", a, true);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_INVENTORY), 1);
    inventory(w, "n1", b, false);
    node_complete(w, "n1");
    report(w, SCH_OP_OUTCOME, "n1", c); /* from before; kept by the agent */
    ck_assert_uint_eq(count(w, SCH_OP_SEND_OUTCOME), 1);
    partition_up(w, 2, 1);
    ck_assert_uint_eq(w->fx.count, 0);
    run_until(w, w->now + GRACE - 1);
    tick_at(w, w->now + 1);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_INVENTORY_COMPLETE), 2);
    ck_assert(sch_operator_inventory_complete(w->op));
    partition_up(w, 1, 8);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_INVENTORY), 2);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_OUTCOME), 1);
    ck_assert_int_eq(w->fx.items[w->fx.count - 1].type, SCH_OP_SEND_INVENTORY_COMPLETE);
    report(w, SCH_OP_OUTCOME, "n1", a);
    report(w, SCH_OP_STARTED, "n1", b);
    ack(w, c);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_ACK), 1);
    world_free(w);
}
END_TEST

/* Whatever partitions an agent names, they are gone with what it said of them. */
START_TEST(partitions_that_only_agents_name_are_forgotten)
{
    struct world *w = world_with(4);
    for (uint32_t i = 0; i < 100; i++) {
        node_hello(w, "n1", task);
        inventory(w, "n1", (struct sch_attempt_key){5000 + i, 100 + i, 1, 6}, i % 2 == 0);
        node_complete(w, "n1"); /* what it named before is not there any more */
        report(w, SCH_OP_OUTCOME, "n1", (struct sch_attempt_key){6000 + i, 300 + i % 50, 1, 6});
    }
    report(w, SCH_OP_OUTCOME, "n1", (struct sch_attempt_key){7000, 9, 1, 6});
    ck_assert_uint_eq(w->op->partitions_by_id.count, 1 + 1 + 50 + 1);
    partition_up(w, 9, 7);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_OUTCOME), 1); /* nobody lost it */
    node_down(w, "n1");
    run_until(w, w->now + LEASE + 1);
    ck_assert_uint_eq(w->op->partitions_by_id.count, 2); /* 1 and 9, which shards serve */
    ck_assert_uint_eq(w->op->attempts.count, 1);
    world_free(w);
}
END_TEST

START_TEST(what_a_node_gives_back)
{
    struct world *w = world_with(4);
    struct sch_attempt_key a = assign(w), b = assign(w);
    report(w, SCH_OP_NODE_RETURNED, "n1", a);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_RETURNED, 0)->u.report.key.action, a.action);
    ck_assert_str_eq(node_of(w, a), "none");
    report(w, SCH_OP_STARTED, "n1", b);
    report(w, SCH_OP_NODE_RETURNED, "n1", b); /* it had started: it is lost */
    ck_assert_ptr_null(nth(w, SCH_OP_SEND_OUTCOME, 0)->u.report.blob);
    report(w, SCH_OP_NODE_RETURNED, "n1", b);
    report(w, SCH_OP_STARTED, "n2", b);
    report(w, SCH_OP_OUTCOME, "n2", b);
    ck_assert_uint_eq(w->fx.count, 0);
    world_free(w);
}
END_TEST

START_TEST(shapes_are_distinct)
{
    struct world *w = world_new();
    struct sch_shape shapes[4];
    node_up(w, "a", 4);
    ck_assert_uint_eq(count(w, SCH_OP_SHAPES_CHANGED), 0);
    node_up(w, "b", 4);
    node_up(w, "c", 8);
    tick_at(w, w->now + SY_NS_PER_S);
    ck_assert_uint_eq(count(w, SCH_OP_SHAPES_CHANGED), 1); /* gathered */
    ck_assert_uint_eq(sch_operator_shapes(w->op, shapes, 4), 2);
    ck_assert_uint_eq(shapes[0].nodes, 2);
    ck_assert_uint_eq(shapes[1].capacity.cpu_milli, 8000);
    ck_assert_str_eq(shapes[0].environments[0].name, "python"); /* by name */
    ck_assert_uint_eq(sch_operator_shapes(w->op, shapes, 1), 2);
    ck_assert_uint_eq(sch_operator_shapes(w->op, NULL, 0), 2);
    node_up(w, "c", 8);
    ck_assert_uint_eq(count(w, SCH_OP_SHAPES_CHANGED), 0); /* the same again */
    world_free(w);
}
END_TEST

static bool sum_nodes(void *ctx, const struct sch_node_view *node)
{
    uint32_t *sums = ctx;
    sums[0] += node->running;
    sums[1] += node->backlog;
    sums[2] += node->used_cpu_milli;
    return strcmp(node->name, "n2") != 0;
}

START_TEST(nodes_can_be_read)
{
    struct world *w = busy_world(1);
    node_up(w, "n2", 1);
    node_up(w, "n3", 0);
    struct sch_attempt_key a = assign(w);
    (void)assign(w);
    (void)assign(w);
    report(w, SCH_OP_STARTED, node_of(w, a), a);
    uint32_t sums[3] = {0};
    sch_operator_each_node(w->op, sum_nodes, sums);
    ck_assert_uint_eq(sums[0], 1);
    ck_assert_uint_eq(sums[1], 1);
    ck_assert_uint_eq(sums[2], 2000);
    world_free(w);
}
END_TEST

START_TEST(many_nodes_and_kinds)
{
    struct world *w = world_new();
    partition_up(w, 1, 7);
    for (int i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        node_up(w, name, (uint32_t)(i % 7 + 1));
    }
    for (uint32_t class_id = 1; class_id <= 20; class_id++) {
        struct sch_resources request = {.cpu_milli = class_id * 150};
        demand_of(w, 1, class_id, 100, &request);
        for (int i = 0; i < 20; i++)
            (void)assign_class(w, 1, 7, class_id);
    }
    ck_assert_str_ne(node_of(w, (struct sch_attempt_key){1, 1, 1, 7}), "none");
    world_free(w);
}
END_TEST

/* ---- room for others ---- */

static void started_at(struct world *w, const char *node, struct sch_attempt_key key, int64_t ms)
{
    struct sch_op_event event = {
        .type = SCH_OP_STARTED,
        .u.report = {.node = node, .key = key, .started_ns = ms * SY_NS_PER_MS}};
    step(w, event);
}

START_TEST(the_fewest_and_the_latest_stop)
{
    struct world *w = world_with(4);
    struct sch_resources large = {.cpu_milli = 2000};
    demand_of(w, 1, 2, 9, &large);
    struct sch_attempt_key spare[3], firm = assign_queue(w, 1, 0);
    started_at(w, "n1", firm, 90);
    for (int i = 0; i < 3; i++) {
        spare[i] = assign_queue(w, 1, 5);
        started_at(w, "n1", spare[i], 10 + i * 10);
    }
    reclaim(w, 2, 6);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_CANCEL), 0); /* nothing of that queue is here */
    reclaim(w, 2, 5);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_CANCEL), 2); /* two of one core make room for two */
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_CANCEL, 0)->u.attempt.key.action, spare[2].action);
    ck_assert_uint_eq(nth(w, SCH_OP_SEND_CANCEL, 1)->u.attempt.key.action, spare[1].action);
    reclaim(w, 2, 5);
    ck_assert_uint_eq(count(w, SCH_OP_SEND_CANCEL), 0); /* that room is on its way */
    struct sch_op_event gone = {.type = SCH_OP_OUTCOME,
                                .u.report = {.node = "n1", .key = spare[2], .cancelled = true}};
    step(w, gone);
    ck_assert_ptr_nonnull(nth(w, SCH_OP_SEND_OUTCOME, 0)->u.report.reason);
    ck_assert_ptr_null(nth(w, SCH_OP_SEND_OUTCOME, 0)->u.report.blob);
    report(w, SCH_OP_OUTCOME, "n1", spare[1]); /* it was faster: what it has done counts */
    ck_assert_ptr_nonnull(nth(w, SCH_OP_SEND_OUTCOME, 0)->u.report.blob);
    ck_assert_str_eq(node_of(w, assign_class(w, 1, 7, 2)), "n1");
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {tables_are_sound,
                                  the_fewest_and_the_latest_stop,
                                  an_attempt_lives,
                                  grants_are_cumulative_and_kept,
                                  shards_share_by_demand,
                                  best_fit_fills_up,
                                  environments_have_slots,
                                  gpus_by_model,
                                  room_goes_to_the_backlog_first,
                                  a_backlog_that_does_not_move_is_asked_back,
                                  what_fits_nowhere_is_held_then_returned,
                                  cancels,
                                  older_epochs_are_refused,
                                  repeated_assignments_do_no_harm,
                                  a_lost_node,
                                  a_node_that_returns,
                                  a_blind_observer_restarts_the_grace_once,
                                  a_new_operator_rebuilds,
                                  partitions_that_only_agents_name_are_forgotten,
                                  what_a_node_gives_back,
                                  shapes_are_distinct,
                                  nodes_can_be_read,
                                  many_nodes_and_kinds,
                                  NULL};
    return sy_test_run("sch_operator", tests);
}
