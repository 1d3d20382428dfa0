/* links: sch */
/*
 * Attempts that are not given up for silence: of a cluster, in the partition core; of a node, in
 * the operator core.
 */
#include "scheduler/operator_impl.h"
#include "tests/unit/test_sch_world.h"

/* ---- a cluster that is silent ---- */

static struct sch_action *waiting(struct world *w)
{
    w->task.on_partition = SCH_ON_PARTITION_WAIT;
    struct sch_action *a = assigned(w);
    started(w, a);
    up(w, "west");
    return a;
}

START_TEST(a_silent_cluster_is_waited_for)
{
    struct world w = world_new();
    struct sch_action *a = waiting(&w);
    w.group = (struct sch_spec){
        .request = {.cpu_milli = 1000}}; /* another one, that does not wait */
    struct sch_action *other = child(&w, a, "other", &w.group);
    assert_state(other, "assigned");
    down(&w, "east");
    ck_assert(sch_action_waits_out(a) && !sch_action_waits_out(other));
    run_until(&w, w.now + 100 * LEASE);
    assert_state(a, "running");
    assert_state(other, "queued");
    ck_assert_uint_eq(a->number, 1);
    ck_assert(sch_partition_waits_for(w.p, "east") && !sch_partition_waits_for(w.p, "west"));
    sch_partition_check(w.p);
    up(&w, "east"); /* and goes again, before it has told all */
    down(&w, "east");
    run_until(&w, w.now + 100 * LEASE);
    assert_state(a, "running");
    up(&w, "east");
    inventory(&w, "east", a->id, 1, 5, true);
    complete(&w, "east");
    ck_assert(!sch_action_waits_out(a));
    outcome(&w, a, SCH_OUTCOME_SUCCEEDED);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ACK), 1);
    ck_assert_ptr_null(sch_partition_find_action_by_id(w.p, a->id));
    world_free(&w);
}
END_TEST

START_TEST(it_comes_back_without_it)
{
    struct world w = world_new();
    struct sch_action *a = waiting(&w);
    down(&w, "east");
    run_until(&w, w.now + 3 * LEASE);
    up(&w, "east");
    complete(&w, "east");
    assert_state(a, "queued");
    ck_assert_uint_eq(a->system_failures, 1);
    world_free(&w);
}
END_TEST

/* A new operator does not know what nodes have that are away. */
START_TEST(it_comes_back_without_some_of_its_nodes)
{
    struct world w = world_new();
    struct sch_action *a = waiting(&w);
    struct sch_action *named = child(&w, a, "named", &w.task);
    down(&w, "east");
    run_until(&w, w.now + 3 * LEASE);
    up(&w, "east");
    step(&w, (struct sch_event){.type = SCH_EVENT_INVENTORY_COMPLETE,
                                .u.cluster = {.name = "east", .owed = true}});
    assert_state(a, "running");
    assert_state(named, "assigned");
    sch_partition_check(w.p);
    inventory(&w, "east", named->id, 1, 5, true); /* a node has come back */
    complete(&w, "east");                         /* and so has the last */
    assert_state(named, "running");
    assert_state(a, "queued");
    world_free(&w);
}
END_TEST

START_TEST(a_person_says_that_it_is_dead)
{
    static const enum sch_event_type words[] = {SCH_EVENT_CLUSTER_FENCED,
                                                SCH_EVENT_CLUSTER_DELETED};
    for (size_t i = 0; i < 4; i++) {
        struct world w = world_new();
        struct sch_action *a = waiting(&w);
        down(&w, "east");
        run_until(&w, w.now + (i < 2 ? 1 : 3 * LEASE)); /* within its lease, and after */
        step(&w, (struct sch_event){.type = words[i % 2], .u.cluster.name = "east"});
        assert_state(a, "queued");
        sch_partition_check(w.p);
        world_free(&w);
    }
}
END_TEST

START_TEST(who_waits_may_be_ended)
{
    struct world w = world_new();
    struct sch_action *a = waiting(&w);
    uint64_t id = a->id;
    down(&w, "east");
    run_until(&w, w.now + 3 * LEASE);
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort = {.action = a, .reason = "x"}});
    ck_assert_ptr_null(sch_partition_find_action_by_id(w.p, id));
    sch_partition_check(w.p);
    up(&w, "east");
    inventory(&w, "east", id, 1, 5, true);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 1);
    world_free(&w);
}
END_TEST

/* Its assignment is durable: with it, with its start, and when it is over. */
START_TEST(where_it_is_outlives_the_partition)
{
    struct world w = world_new();
    struct sch_out out;
    w.task.on_partition = SCH_ON_PARTITION_WAIT;
    struct sch_action *a = assigned(&w);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_UPDATED), 1);
    ck_assert(sch_action_out(a, &out) && !out.started);
    started(&w, a);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_UPDATED), 1);
    ck_assert(sch_action_out(a, &out) && out.started);
    ck_assert_str_eq(out.cluster, "east");
    uint64_t id = a->id, run = a->run->id;
    world_free(&w);
    for (int named = 0; named < 3; named++) { /* by its cluster: yes, no, it never comes */
        w = (struct world){.now = SY_NS_PER_S, .task = {.request = {.cpu_milli = 1000}}};
        w.task.on_partition = SCH_ON_PARTITION_WAIT;
        world_open(&w, 6);
        const char *expected[] = {"east", "west"};
        struct sch_restore r = {.run_id = run, .action_id = id, .name = "a0", .parent = ""};
        r.spec = &w.task;
        r.out = &out;
        sch_partition_restore_run(w.p, run, "p", "d", "run", 0, 0, 1, 0);
        a = sch_partition_restore_action(w.p, &r);
        sch_partition_restored(w.p, expected, 2, w.now);
        sch_partition_check(w.p);
        assert_state(a, "running");
        up(&w, "west");
        complete(&w, "west");
        run_until(&w, w.now + 10 * WAIT + 10 * LEASE);
        assert_state(a, "running");
        sch_partition_check(w.p);
        ck_assert(sch_partition_waits_for(w.p, "east"));
        if (named < 2) {
            up(&w, "east");
            if (named == 0)
                inventory(&w, "east", id, out.number, out.epoch, true);
            complete(&w, "east");
            assert_state(a, named == 0 ? "running" : "queued");
        } else {
            step(&w,
                 (struct sch_event){.type = SCH_EVENT_CLUSTER_FENCED, .u.cluster.name = "east"});
            assert_state(a, "queued");
        }
        world_free(&w);
    }
}
END_TEST

/* ---- a node that is silent ---- */

struct cluster {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    uint64_t last;
    size_t lost, complete, owed, cancels, inventory;
    int waited; /* +1: a node has some from now on; -1: has none any more */
};

static void nothing(void *data)
{
    (void)data;
}

static void op_step(struct cluster *c, struct sch_op_event event)
{
    event.now_ns = c->now;
    c->waited = 0;
    sch_operator_step(c->op, &event, &c->fx);
    for (size_t i = 0; i < c->fx.count; i++) {
        const struct sch_op_effect *effect = &c->fx.items[i];
        c->lost += effect->type == SCH_OP_SEND_OUTCOME && !effect->u.report.blob;
        c->complete += effect->type == SCH_OP_SEND_INVENTORY_COMPLETE;
        c->owed += effect->type == SCH_OP_SEND_INVENTORY_OWED;
        c->cancels += effect->type == SCH_OP_SEND_CANCEL;
        c->inventory += effect->type == SCH_OP_SEND_INVENTORY;
        if (effect->type == SCH_OP_NODE_WAITED)
            c->waited += effect->u.waited.begins ? 1 : -1;
    }
    sch_operator_check(c->op);
}

static void op_run(struct cluster *c, int64_t ns)
{
    int64_t until = c->now + ns, next;
    while ((next = sch_operator_next_ns(c->op)) <= until) {
        c->now = next > c->now ? next : c->now;
        op_step(c, (struct sch_op_event){.type = SCH_OP_TICK});
    }
    c->now = until;
}

static const struct sch_resources core = {.cpu_milli = 1000};

static void op_open(struct cluster *c, const char *owed)
{
    struct sch_operator_options options = {
        .hold_ns = 2 * SY_NS_PER_S, .node_lease_ns = LEASE, .join_grace_ns = SY_NS_PER_S};
    *c = (struct cluster){.now = SY_NS_PER_S};
    c->op = sch_operator_new(&options, c->now);
    if (owed)
        op_step(c, (struct sch_op_event){.type = SCH_OP_NODE_OWED, .u.node.name = owed});
    op_step(c, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {1, 7}});
    op_run(c, 2 * SY_NS_PER_S);
}

static void op_close(struct cluster *c)
{
    sch_operator_free(c->op);
    sch_op_effects_deinit(&c->fx);
}

static void node_up(struct cluster *c, const char *name)
{
    op_step(c, (struct sch_op_event){.type = SCH_OP_NODE_UP,
                                     .u.node = {.name = name, .capacity = {.cpu_milli = 8000}}});
}

static void node_event(struct cluster *c, enum sch_op_event_type type, const char *name)
{
    struct sch_op_event event = {.type = type};
    if (type == SCH_OP_NODE_FENCE)
        event.u.verb.node = name;
    else
        event.u.node.name = name;
    op_step(c, event);
}

static struct sch_attempt_key given(struct cluster *c, bool waits)
{
    static int data;
    struct sch_attempt_key key = {.action = ++c->last, .partition = 1, .number = 1, .epoch = 7};
    op_step(c, (struct sch_op_event){
                   .type = SCH_OP_DEMAND,
                   .u.demand = {.partition = 1, .class_id = 1, .request = core, .waiting = 10}});
    op_step(c,
            (struct sch_op_event){
                .type = SCH_OP_ASSIGN,
                .u.assign = {.key = key, .class_id = 1, .waits = waits, .blob = {&data, nothing}}});
    return key;
}

static void named(struct cluster *c, const char *node, const struct sch_attempt_key *key)
{
    op_step(c,
            (struct sch_op_event){
                .type = SCH_OP_NODE_INVENTORY,
                .u.inventory = {
                    .node = node, .key = *key, .request = core, .started = true, .waits = true}});
}

/* A node n1 with two attempts, one of which is waited for, silent for ten leases. */
static struct sch_attempt_key silent(struct cluster *c)
{
    op_open(c, NULL);
    node_up(c, "n1");
    node_event(c, SCH_OP_NODE_INVENTORY_COMPLETE, "n1");
    (void)given(c, false);
    ck_assert_int_eq(c->waited, 0);
    struct sch_attempt_key key = given(c, true);
    ck_assert_int_eq(c->waited, 1);
    (void)given(c, true);
    ck_assert_int_eq(c->waited, 0); /* that is known already */
    node_event(c, SCH_OP_NODE_DOWN, "n1");
    op_run(c, 10 * LEASE);
    ck_assert_uint_eq(c->lost, 1); /* the one that is not */
    return key;
}

START_TEST(a_silent_node_is_waited_for)
{
    struct cluster c;
    struct sch_attempt_key key = silent(&c);
    node_up(&c, "n1");
    named(&c, "n1", &key);
    node_event(&c, SCH_OP_NODE_INVENTORY_COMPLETE, "n1"); /* without the other one */
    ck_assert_uint_eq(c.lost, 2);
    ck_assert_uint_eq(c.cancels, 0);
    node_event(&c, SCH_OP_NODE_DOWN, "n1");
    op_run(&c, 10 * LEASE);
    ck_assert_uint_eq(c.lost, 2);
    op_close(&c);
}
END_TEST

START_TEST(a_silent_node_is_fenced)
{
    struct cluster c;
    (void)silent(&c);
    node_event(&c, SCH_OP_NODE_FENCE, "n1");
    ck_assert_uint_eq(c.lost, 3);
    ck_assert_int_eq(c.waited, -1);
    op_run(&c, SY_NS_PER_S);
    op_close(&c);
}
END_TEST

/* Nobody would tell of its end: what was cancelled is let go, and with the last one the node. */
START_TEST(what_is_cancelled_on_a_silent_node_is_let_go)
{
    struct cluster c;
    struct sch_attempt_key key = silent(&c);
    for (uint64_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(c.lost, 1 + i);
        op_step(&c, (struct sch_op_event){.type = SCH_OP_CANCEL, .u.cancel = {key, "why"}});
        key.action++;
    }
    ck_assert_uint_eq(c.lost, 3);
    op_run(&c, SY_NS_PER_S);
    ck_assert(!sch_operator_knows_node(c.op, "n1"));
    op_close(&c);
}
END_TEST

/* What was cancelled before the lease was over is not waited for, either. */
START_TEST(what_was_cancelled_is_not_waited_for)
{
    struct cluster c;
    op_open(&c, NULL);
    node_up(&c, "n1");
    node_event(&c, SCH_OP_NODE_INVENTORY_COMPLETE, "n1");
    struct sch_attempt_key key = given(&c, true);
    node_event(&c, SCH_OP_NODE_DOWN, "n1");
    op_step(&c, (struct sch_op_event){.type = SCH_OP_CANCEL, .u.cancel = {key, "why"}});
    op_run(&c, 2 * LEASE);
    ck_assert_uint_eq(c.lost, 1);
    ck_assert(!sch_operator_knows_node(c.op, "n1"));
    op_close(&c);
}
END_TEST

static void note(void *ctx, const char *node)
{
    snprintf(ctx, 16, "%s", node);
}

/* An operator that was started anew does not say that what it lacks is nowhere. */
START_TEST(a_new_operator_knows_that_a_silent_node_may_have_some)
{
    for (int fenced = 0; fenced < 2; fenced++) {
        struct cluster c;
        char name[16] = "";
        op_open(&c, "n1");
        ck_assert_uint_eq(c.owed, 1);
        ck_assert_uint_eq(c.complete, 0);
        ck_assert(sch_operator_knows_node(c.op, "n1"));
        sch_operator_each_waited(c.op, note, name);
        ck_assert_str_eq(name, "n1");
        node_up(&c, "n2");
        node_event(&c, SCH_OP_NODE_INVENTORY_COMPLETE, "n2");
        op_run(&c, 10 * LEASE);
        ck_assert_uint_eq(c.complete, 0);
        if (fenced) {
            node_event(&c, SCH_OP_NODE_FENCE, "n1");
        } else {
            struct sch_attempt_key key = {.action = 1, .partition = 1, .number = 1, .epoch = 7};
            node_up(&c, "n1");
            named(&c, "n1", &key);
            ck_assert_int_eq(c.waited, 1);
            ck_assert_uint_eq(c.complete, 0);
            node_event(&c, SCH_OP_NODE_INVENTORY_COMPLETE, "n1");
            ck_assert_uint_eq(c.inventory, 1);
        }
        ck_assert_uint_eq(c.complete, 1);
        op_step(&c, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {1, 8}});
        ck_assert_uint_eq(c.owed, 1);
        ck_assert_uint_eq(c.complete, 2);
        op_close(&c);
    }
}
END_TEST

START_TEST(policies_by_name)
{
    enum sch_on_partition policy = SCH_ON_PARTITION_REPLACE;
    struct sy_error_text error = {0};
    ck_assert_int_eq(sch_on_partition_parse("wait", &policy, &error), 0);
    ck_assert_int_eq(policy, SCH_ON_PARTITION_WAIT);
    ck_assert_int_eq(sch_on_partition_parse("replace", &policy, &error), 0);
    ck_assert_int_eq(policy, SCH_ON_PARTITION_REPLACE);
    static const char *const wrong[] = {"", "Wait", "wait ", "never"};
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        ck_assert_int_eq(sch_on_partition_parse(wrong[i], &policy, &error), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error.text, "expected replace, wait or stop-on-agent"));
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_silent_cluster_is_waited_for,
                                  it_comes_back_without_it,
                                  it_comes_back_without_some_of_its_nodes,
                                  a_person_says_that_it_is_dead,
                                  who_waits_may_be_ended,
                                  where_it_is_outlives_the_partition,
                                  a_silent_node_is_waited_for,
                                  a_silent_node_is_fenced,
                                  what_is_cancelled_on_a_silent_node_is_let_go,
                                  what_was_cancelled_is_not_waited_for,
                                  a_new_operator_knows_that_a_silent_node_may_have_some,
                                  policies_by_name,
                                  NULL};
    return sy_test_run("sch_silence", tests);
}
