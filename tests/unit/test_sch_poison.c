/* links: sch */
/*
 * Actions that kill what they run in: who is counted, who is a suspect, and what clusters and nodes
 * are not blamed for.
 */
#include "scheduler/operator_impl.h"
#include "tests/unit/test_sch_world.h"

#define DEATHS 3u

static struct world poison_world(void)
{
    struct world w = world_new();
    w.p->options.system_retries = 10;
    w.p->options.worker_deaths_max = DEATHS;
    return w;
}

/* The current attempt is lost; then it waits until the next one is out, or it has ended. */
static void lose(struct world *w, struct sch_action *a, enum sch_death death)
{
    struct sch_event event = report(SCH_EVENT_OUTCOME, sch_cluster_name(a->cluster), a->id,
                                    a->number, a->attempt_epoch, SCH_OUTCOME_LOST);
    event.u.report.death = death;
    step(w, event);
    sch_partition_check(w->p);
}

static void again(struct world *w, const struct sch_action *a)
{
    run_until(w, w->now + SCH_SYSTEM_BACKOFF_MAX_NS);
    assert_state(a, "assigned");
}

START_TEST(what_kills_its_worker_each_time_is_given_up)
{
    struct world w = poison_world();
    struct sch_action *a = assigned(&w);
    for (unsigned i = 1; i < DEATHS; i++) {
        lose(&w, a, SCH_DEATH_ALONE);
        ck_assert_ptr_eq(nth(&w, SCH_EFFECT_UPDATED, 0)->u.action, a);
        ck_assert(a->deaths == i && a->suspect && a->system_failures == i);
        again(&w, a);
    }
    lose(&w, a, SCH_DEATH_ALONE);
    const struct sch_effect *end = nth(&w, SCH_EFFECT_FINISHED, 0);
    ck_assert_int_eq(end->u.final.state, SCH_ACTION_FAILED);
    ck_assert_str_eq(end->u.final.code, "PoisonTask");
    ck_assert_ptr_nonnull(end->u.final.report);
    ck_assert_uint_eq(a->user_failures, 0);
    ck_assert_uint_lt(a->system_failures, w.p->options.system_retries);
    world_free(&w);
}
END_TEST

/* A worker died with others in it, a node with others on it: who did it is not known. */
START_TEST(who_was_not_alone_is_not_counted)
{
    static const enum sch_death kinds[] = {SCH_DEATH_SHARED, SCH_DEATH_NONE};
    for (unsigned k = 0; k < SY_COUNT_OF(kinds); k++) {
        struct world w = poison_world();
        struct sch_action *a = assigned(&w);
        for (unsigned i = 0; i < w.p->options.system_retries; i++) {
            lose(&w, a, kinds[k]);
            ck_assert_uint_eq(a->deaths, 0);
            ck_assert_int_eq(a->suspect, kinds[k] == SCH_DEATH_SHARED);
            again(&w, a);
        }
        lose(&w, a, kinds[k]);
        ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "SystemRetriesExhausted");
        world_free(&w);
    }
}
END_TEST

/* Only deaths are counted, however they are mixed with the rest, and a success ends it well. */
START_TEST(an_innocent_runs_alone_and_ends_well)
{
    struct world w = poison_world();
    w.task.retries = 9;
    struct sch_action *a = assigned(&w);
    lose(&w, a, SCH_DEATH_SHARED);
    again(&w, a);
    lose(&w, a, SCH_DEATH_ALONE);
    again(&w, a);
    outcome(&w, a, SCH_OUTCOME_FAILED);
    again(&w, a);
    lose(&w, a, SCH_DEATH_NONE);
    again(&w, a);
    ck_assert(a->deaths == 1 && a->suspect && a->system_failures == 3 && a->user_failures == 1);
    outcome(&w, a, SCH_OUTCOME_SUCCEEDED);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.state, SCH_ACTION_SUCCEEDED);
    world_free(&w);
}
END_TEST

START_TEST(zero_means_never)
{
    struct world w = poison_world();
    w.p->options.worker_deaths_max = 0;
    struct sch_action *a = assigned(&w);
    for (unsigned i = 0; i < w.p->options.system_retries; i++) {
        lose(&w, a, SCH_DEATH_ALONE);
        again(&w, a);
    }
    lose(&w, a, SCH_DEATH_ALONE);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "SystemRetriesExhausted");
    world_free(&w);
}
END_TEST

START_TEST(deaths_are_remembered_over_a_restart)
{
    struct world w = poison_world();
    struct sch_restore r = {.run_id = 1,
                            .action_id = 2,
                            .name = "a0",
                            .parent = "",
                            .spec = &w.task,
                            .number = 2,
                            .attempts = 2,
                            .system_failures = 2,
                            .deaths = DEATHS - 1,
                            .suspect = true};
    sch_partition_restore_run(w.p, 1, "p", "d", "run", 0, 1, 1, 0);
    sch_partition_restore_action(w.p, &r);
    const char *expected[] = {"east"};
    sch_partition_restored(w.p, expected, 1, w.now);
    sch_partition_check(w.p);
    struct sch_action *a = sch_partition_find_action_by_id(w.p, 2);
    up(&w, "east");
    struct sch_event event = report(SCH_EVENT_OUTCOME, "east", 2, 3, 4, SCH_OUTCOME_LOST);
    event.u.report.death = SCH_DEATH_ALONE; /* of the attempt that was out before the restart */
    sch_action_ref(a);
    step(&w, event);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "PoisonTask");
    ck_assert_uint_eq(a->deaths, DEATHS);
    step(&w, event); /* repeated until it is acknowledged */
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 0);
    sch_action_unref(a);
    world_free(&w);
}
END_TEST

/* One that kills its workers is no reason to avoid a cluster; three of a class are. */
START_TEST(a_cluster_is_blamed_once_for_each)
{
    struct world w = poison_world();
    struct sch_action *a[4] = {assigned(&w)};
    uint32_t class = sch_action_class_id(a[0]);
    up(&w, "west");
    complete(&w, "west");
    grant(&w, "west", class, 10);
    for (unsigned i = 1; i < DEATHS; i++) {
        lose(&w, a[0], SCH_DEATH_ALONE);
        again(&w, a[0]);
        ck_assert_str_eq(sch_cluster_name(a[0]->cluster), "east");
    }
    lose(&w, a[0], SCH_DEATH_ALONE); /* the end of it */
    const char *names[] = {"", "b", "c", "d"};
    for (unsigned i = 1; i < 4; i++) {
        a[i] = create(&w, names[i], &w.task);
        ck_assert_str_eq(sch_cluster_name(a[i]->cluster), i < 3 ? "east" : "west");
        lose(&w, a[i], SCH_DEATH_ALONE);
    }
    world_free(&w);
}
END_TEST

START_TEST(the_member_that_did_it_is_named)
{
    struct world w = poison_world();
    static const struct sch_gang_shape pair = {.size = 2};
    const struct sch_gang_member members[] = {{.name = "m0", .spec = &w.task},
                                              {.name = "m1", .spec = &w.task}};
    up(&w, "east");
    complete(&w, "east");
    struct sch_action *root = create(&w, "run", &w.group);
    step(&w, (struct sch_event){.type = SCH_EVENT_ENQUEUE_GANG,
                                .u.gang = {.parent = root, .shape = &pair, .members = members}});
    struct sch_action *m0 = sch_partition_find_action(w.p, root->run, "m0");
    struct sch_action *m1 = sch_partition_find_action(w.p, root->run, "m1");
    for (unsigned i = 1; i <= DEATHS; i++) {
        step(&w, (struct sch_event){.type = SCH_EVENT_GRANT,
                                    .u.grant = {.cluster = "east",
                                                .class_id = sch_action_class_id(m0),
                                                .granted = i,
                                                .startable = i}});
        assert_state(m1, "assigned");
        lose(&w, m1, SCH_DEATH_ALONE);
        if (i < DEATHS) {
            ck_assert(m1->deaths == i && m0->deaths == 0 && !m0->suspect);
            run_until(&w, w.now + SCH_SYSTEM_BACKOFF_MAX_NS);
        }
    }
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "PoisonTask");
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.action, m1);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 1)->u.final.code, "GangMemberFailed");
    ck_assert_ptr_nonnull(
        strstr(nth(&w, SCH_EFFECT_FINISHED, 1)->u.final.message, "'m1' (rank 1)"));
    world_free(&w);
}
END_TEST

/* ---- on its node ---- */

struct cluster {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    uint64_t action;
    unsigned told_alone, told_other; /* by ticks */
};

static void op_step(struct cluster *c, struct sch_op_event event)
{
    event.now_ns = c->now;
    sch_operator_step(c->op, &event, &c->fx);
    sch_operator_check(c->op);
}

static unsigned told(const struct cluster *c, bool alone)
{
    unsigned n = 0;
    for (size_t i = 0; i < c->fx.count; i++)
        n += c->fx.items[i].type == SCH_OP_SEND_OUTCOME && c->fx.items[i].u.report.alone == alone;
    return n;
}

static void op_run_for(struct cluster *c, int64_t ns)
{
    int64_t until = c->now + ns, next;
    while ((next = sch_operator_next_ns(c->op)) <= until) {
        c->now = next > c->now ? next : c->now;
        op_step(c, (struct sch_op_event){.type = SCH_OP_TICK});
        c->told_alone += told(c, true);
        c->told_other += told(c, false);
    }
    c->now = until;
}

static struct sch_attempt_key key_of(uint64_t action)
{
    return (struct sch_attempt_key){.action = action, .partition = 1, .number = 1, .epoch = 1};
}

static void node_up(struct cluster *c)
{
    op_step(c, (struct sch_op_event){.type = SCH_OP_NODE_UP,
                                     .u.node = {.name = "n", .capacity = {.cpu_milli = 8000}}});
    op_step(c, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = "n"});
}

static struct cluster cluster_new(void)
{
    struct sch_operator_options options = {.hold_ns = SY_NS_PER_S, .node_lease_ns = LEASE};
    struct cluster c = {.now = SY_NS_PER_S};
    c.op = sch_operator_new(&options, c.now);
    node_up(&c);
    op_step(&c, (struct sch_op_event){.type = SCH_OP_PARTITION_UP,
                                      .u.partition = {.partition = 1, .epoch = 1}});
    struct sch_op_event demand = {.type = SCH_OP_DEMAND};
    demand.u.demand.partition = demand.u.demand.class_id = 1;
    demand.u.demand.request.cpu_milli = 1000;
    demand.u.demand.waiting = 100;
    op_step(&c, demand);
    op_run_for(&c, SY_NS_PER_S);
    return c;
}

static void cluster_free(struct cluster *c)
{
    sch_operator_free(c->op);
    sch_op_effects_deinit(&c->fx);
}

static void run_one(struct cluster *c, bool suspect, bool starts)
{
    op_step(c, (struct sch_op_event){
                   .type = SCH_OP_ASSIGN,
                   .u.assign = {.key = key_of(++c->action), .class_id = 1, .suspect = suspect}});
    if (starts)
        op_step(c, (struct sch_op_event){.type = SCH_OP_STARTED,
                                         .u.report = {.node = "n", .key = key_of(c->action)}});
}

/* What has run for long has not killed its node: machines die, and spot ones are taken away. */
START_TEST(a_node_that_is_lost_late_is_no_suspicion)
{
    struct cluster c = cluster_new();
    run_one(&c, false, true);
    op_run_for(&c, SCH_OP_SUSPECT_NS + 1);
    op_step(&c, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = "n"});
    op_run_for(&c, LEASE);
    ck_assert(c.told_alone == 0 && c.told_other == 1);
    cluster_free(&c);
}
END_TEST

/* Nor has what an operator that restarted finds there: it may have run for days. */
START_TEST(an_operator_that_restarts_suspects_nobody)
{
    struct cluster c = cluster_new();
    op_step(&c, (struct sch_op_event){.type = SCH_OP_NODE_UP,
                                      .u.node = {.name = "n", .capacity = {.cpu_milli = 8000}}});
    struct sch_op_event entry = {.type = SCH_OP_NODE_INVENTORY};
    entry.u.inventory.node = "n";
    entry.u.inventory.key = key_of(77);
    entry.u.inventory.request.cpu_milli = 1000;
    entry.u.inventory.started = true;
    op_step(&c, entry);
    op_step(&c, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = "n"});
    op_step(&c, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = "n"});
    op_run_for(&c, LEASE);
    ck_assert(c.told_alone == 0 && c.told_other == 1);
    cluster_free(&c);
}
END_TEST

START_TEST(a_lost_node_tells_who_ran_there_alone)
{
    struct cluster c = cluster_new();
    run_one(&c, false, true);
    run_one(&c, false, false); /* it had not started */
    op_step(&c, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = "n"});
    op_run_for(&c, LEASE);
    ck_assert(c.told_alone == 1 && c.told_other == 1);
    node_up(&c);
    op_run_for(&c, SY_NS_PER_S);
    run_one(&c, false, true);
    run_one(&c, false, true);
    node_up(&c); /* its agent has started anew and names nothing */
    ck_assert(told(&c, true) == 0 && told(&c, false) == 2);
    run_one(&c, false, true);
    node_up(&c);
    ck_assert(told(&c, true) == 1 && told(&c, false) == 0);
    cluster_free(&c);
}
END_TEST

START_TEST(a_node_is_not_blamed_for_suspects)
{
    struct cluster c = cluster_new();
    const struct sch_node *node = sch_node_find(c.op, "n");
    for (unsigned i = 0; i < 2 * SCH_OP_FAULTS_MAX; i++) {
        bool suspect = i < SCH_OP_FAULTS_MAX;
        run_one(&c, suspect, true);
        op_step(&c, (struct sch_op_event){
                        .type = SCH_OP_OUTCOME,
                        .u.report = {.node = "n", .key = key_of(c.action), .fault = true}});
        ck_assert_uint_eq(node->faults, suspect ? 0 : i + 1 - SCH_OP_FAULTS_MAX);
        op_run_for(&c, SY_NS_PER_S);
    }
    ck_assert_int_eq(node->health.state, SCH_HEALTH_TRUSTED); /* half of what ended */
    cluster_free(&c);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_kills_its_worker_each_time_is_given_up,
                                  who_was_not_alone_is_not_counted,
                                  an_innocent_runs_alone_and_ends_well,
                                  zero_means_never,
                                  deaths_are_remembered_over_a_restart,
                                  a_cluster_is_blamed_once_for_each,
                                  the_member_that_did_it_is_named,
                                  a_node_that_is_lost_late_is_no_suspicion,
                                  an_operator_that_restarts_suspects_nobody,
                                  a_lost_node_tells_who_ran_there_alone,
                                  a_node_is_not_blamed_for_suspects,
                                  NULL};
    return sy_test_run("sch_poison", tests);
}
