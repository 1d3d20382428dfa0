/* links: sch */
#include "tests/unit/test_sch_world.h"

/* ---- life cycle ---- */

START_TEST(tables_are_sound)
{
    sm_table_check(&sch_action_table);
    ck_assert_uint_le(sizeof(struct sch_action_impl), 232); /* with name and tables: 273 */
}
END_TEST

START_TEST(a_task_lives)
{
    struct world w = world_new();
    struct sch_action *a = create(&w, "run", &w.task);
    ck_assert_uint_eq(w.fx.count, 3);
    ck_assert_int_eq(w.fx.items[0].type, SCH_EFFECT_RUN_CREATED);
    ck_assert_int_eq(w.fx.items[1].type, SCH_EFFECT_CREATED);
    ck_assert_int_eq(w.fx.items[2].type, SCH_EFFECT_EVENT);
    ck_assert_uint_eq(a->id >> 40, 5);
    ck_assert_uint_eq(w.fx.items[2].u.event.sequence, 1);
    up(&w, "east");
    const struct sch_effect *demand = nth(&w, SCH_EFFECT_DEMAND, 0);
    ck_assert_uint_eq(demand->u.demand.waiting, 1);
    grant(&w, "east", demand->u.demand.class_id, 1);
    const struct sch_effect *assign = nth(&w, SCH_EFFECT_ASSIGN, 0);
    ck_assert_ptr_eq(assign->u.assign.action, a);
    ck_assert_str_eq(assign->u.assign.cluster, "east");
    ck_assert_uint_eq(a->number, 1);
    ck_assert_uint_eq(a->attempt_epoch, 5);
    started(&w, a);
    assert_state(a, "running");
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_EVENT, 0)->u.event.sequence, 2);
    started(&w, a); /* repeated */
    ck_assert_uint_eq(w.fx.count, 0);
    sch_partition_check(w.p);
    outcome(&w, a, SCH_OUTCOME_SUCCEEDED);
    const enum sch_effect_type want[] = {SCH_EFFECT_EVENT, SCH_EFFECT_FINISHED,
                                         SCH_EFFECT_RUN_FINISHED, SCH_EFFECT_ACK,
                                         SCH_EFFECT_SPEC_UNUSED};
    ck_assert_uint_eq(w.fx.count, 5);
    for (size_t i = 0; i < 5; i++)
        ck_assert_int_eq(w.fx.items[i].type, want[i]);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_RUN_FINISHED, 0)->u.final.state, SCH_ACTION_SUCCEEDED);
    ck_assert_ptr_nonnull(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.report);
    ck_assert_ptr_null(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code);
    ck_assert_uint_eq(w.task.refs, 0);
    ck_assert_ptr_null(sch_partition_find_run(w.p, "p", "d", "run"));
    ck_assert_uint_eq(sch_partition_counts(w.p).finished, 1);
    world_free(&w);
}
END_TEST

START_TEST(an_outcome_counts_once)
{
    struct world w = world_new();
    struct sch_action *root = assigned(&w);
    struct sch_action *a = child(&w, root, "x", &w.task);
    uint64_t id = a->id;
    assert_state(a, "assigned");
    /* wrong number, epoch, cluster: settled, nothing else */
    struct sch_event wrong[] = {
        report(SCH_EVENT_OUTCOME, "east", id, 2, 5, SCH_OUTCOME_SUCCEEDED),
        report(SCH_EVENT_OUTCOME, "east", id, 1, 4, SCH_OUTCOME_SUCCEEDED),
        report(SCH_EVENT_OUTCOME, "west", id, 1, 5, SCH_OUTCOME_SUCCEEDED),
        report(SCH_EVENT_OUTCOME, "east", 77, 1, 5, SCH_OUTCOME_SUCCEEDED),
    };
    for (size_t i = 0; i < 4; i++) {
        step(&w, wrong[i]);
        ck_assert_uint_eq(w.fx.count, 1);
        ck_assert_int_eq(w.fx.items[0].type, SCH_EFFECT_ACK);
    }
    outcome(&w, a, SCH_OUTCOME_SUCCEEDED);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 1);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_CHILD_FINISHED, 0)->u.child.sequence, 1);
    step(&w, report(SCH_EVENT_OUTCOME, "east", id, 1, 5, SCH_OUTCOME_FAILED));
    ck_assert_uint_eq(w.fx.count, 1);
    ck_assert_int_eq(w.fx.items[0].type, SCH_EFFECT_ACK);
    world_free(&w);
}
END_TEST

START_TEST(user_retries_back_off)
{
    struct world w = world_new();
    w.task.retries = 2;
    w.task.backoff_ns = SY_NS_PER_S;
    w.task.backoff_factor_milli = 2500;
    w.task.backoff_cap_ns = 2 * SY_NS_PER_S;
    struct sch_action *a = assigned(&w);
    outcome(&w, a, SCH_OUTCOME_FAILED);
    assert_state(a, "backoff");
    ck_assert_uint_eq(count(&w, SCH_EFFECT_UPDATED), 1);
    ck_assert_uint_eq(a->ended, 1);
    run_until(&w, w.now + SY_NS_PER_S - 1);
    assert_state(a, "backoff");
    run_until(&w, w.now + 1);
    assert_state(a, "assigned");
    ck_assert_uint_eq(a->number, 2);
    outcome(&w, a, SCH_OUTCOME_TIMED_OUT);
    run_until(&w, w.now + SY_NS_PER_S + 1); /* longer */
    assert_state(a, "backoff");
    run_until(&w, w.now + SY_NS_PER_S);
    outcome(&w, a, SCH_OUTCOME_TIMED_OUT);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.state, SCH_ACTION_TIMED_OUT);
    world_free(&w);
}
END_TEST

START_TEST(final_failures_are_not_retried)
{
    struct world w = world_new();
    w.task.retries = 5;
    struct sch_action *a = assigned(&w);
    outcome(&w, a, SCH_OUTCOME_OUT_OF_MEMORY);
    assert_state(a, "assigned"); /* no backoff and a grant at hand */
    outcome(&w, a, SCH_OUTCOME_FAILED_FINAL);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_RUN_FINISHED, 0)->u.final.state, SCH_ACTION_FAILED);
    world_free(&w);
}
END_TEST

START_TEST(system_failures_have_their_own_budget)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    const enum sch_outcome kinds[] = {SCH_OUTCOME_LOST, SCH_OUTCOME_LOST, SCH_OUTCOME_CANCELLED};
    for (size_t i = 0; i < 3; i++) {
        outcome(&w, a, kinds[i]);
        assert_state(a, i == 0 ? "assigned" : "backoff");
        run_until(&w, w.now + SY_NS_PER_S);
        assert_state(a, "assigned");
    }
    ck_assert_uint_eq(a->system_failures, 3);
    ck_assert_uint_eq(a->user_failures, 0);
    outcome(&w, a, SCH_OUTCOME_LOST);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "SystemRetriesExhausted");
    ck_assert_int_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.state, SCH_ACTION_FAILED);
    world_free(&w);
}
END_TEST

START_TEST(a_second_refusal_ends_it)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    outcome(&w, a, SCH_OUTCOME_REFUSED);
    assert_state(a, "backoff");
    run_until(&w, w.now + 10 * SY_NS_PER_S);
    assert_state(a, "assigned");
    outcome(&w, a, SCH_OUTCOME_REFUSED);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "SystemRetriesExhausted");
    world_free(&w);
}
END_TEST

START_TEST(waiting_has_a_limit)
{
    struct world w = world_new();
    w.task.queued_timeout_ns = SY_NS_PER_S;
    (void)create(&w, "run", &w.task);
    ck_assert_int_eq(sch_partition_next_ns(w.p), w.now + SY_NS_PER_S);
    tick_at(&w, w.now + SY_NS_PER_S);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.state, SCH_ACTION_TIMED_OUT);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "QueuedTimeout");
    ck_assert_int_eq(sch_partition_next_ns(w.p), SY_TIME_NEVER);
    world_free(&w);
}
END_TEST

/* ---- queues, grants, demand ---- */

START_TEST(priority_then_arrival)
{
    struct world w = world_new();
    struct sch_action *root = create(&w, "run", &w.group);
    const int32_t priorities[] = {0, 5, -3, 5, 0};
    const char *names[] = {"a", "b", "c", "d", "e"}, *want[] = {"b", "d", "a", "e", "c"};
    for (size_t i = 0; i < 5; i++)
        step(&w, (struct sch_event){.type = SCH_EVENT_ENQUEUE,
                                    .u.enqueue = {.parent = root,
                                                  .name = names[i],
                                                  .spec = &w.task,
                                                  .priority = priorities[i]}});
    up(&w, "east");
    ck_assert_int_eq(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.top_priority, 5);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.waiting, 5);
    grant(&w, "east", 1, 2);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 2);
    for (size_t i = 0; i < 2; i++)
        ck_assert_str_eq(nth(&w, SCH_EFFECT_ASSIGN, i)->u.assign.action->name, want[i]);
    grant(&w, "east", 1, 2); /* repeated: cumulative, so nothing */
    grant(&w, "east", 1, 1);
    ck_assert_uint_eq(w.fx.count, 0);
    /* what is given back comes first again, and keeps its place in time */
    struct sch_action *d = sch_partition_find_action(w.p, root->run, "d");
    step(&w, report(SCH_EVENT_RETURNED, "east", d->id, 1, 5, 0));
    assert_state(d, "queued");
    ck_assert_uint_eq(d->system_failures, 0);
    grant(&w, "east", 1, 6);
    for (size_t i = 0; i < 4; i++)
        ck_assert_str_eq(nth(&w, SCH_EFFECT_ASSIGN, i)->u.assign.action->name, want[i + 1]);
    ck_assert_uint_eq(d->number, 2);
    world_free(&w);
}
END_TEST

/* What was given back unstarted is no attempt for people, also after a restart. */
START_TEST(given_back_attempts_are_not_counted)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    ck_assert_uint_eq(sch_action_attempt(a), 1);
    for (uint32_t number = 1; number <= 3; number++) {
        ck_assert_uint_eq(a->number, number);
        step(&w, report(SCH_EVENT_RETURNED, "east", a->id, number, 5, 0));
    }
    assert_state(a, "assigned"); /* again at once: there are grants */
    ck_assert_uint_eq(a->number, 4);
    ck_assert_uint_eq(sch_action_attempt(a), 1);
    started(&w, a);
    outcome(&w, a, SCH_OUTCOME_LOST);
    ck_assert_uint_eq(a->ended, 4);
    ck_assert_uint_eq(a->attempts, 1);
    step(&w, report(SCH_EVENT_RETURNED, "east", a->id, 5, 5, 0));
    assert_state(a, "assigned");
    ck_assert_uint_eq(a->number, 6);
    ck_assert_uint_eq(sch_action_attempt(a), 2);

    struct world next = {.now = w.now, .task = w.task, .group = w.group};
    world_open(&next, 6);
    struct sch_restore row = {.run_id = a->run->id,
                              .action_id = a->id,
                              .name = "a0",
                              .parent = "",
                              .spec = &next.task,
                              .number = 4, /* written before the fifth was given back */
                              .attempts = 1};
    (void)sch_partition_restore_run(next.p, a->run->id, "p", "d", "run", 1, 9, 1, 0);
    struct sch_action *restored = sch_partition_restore_action(next.p, &row);
    const char *expected[] = {"east"};
    sch_partition_restored(next.p, expected, 1, next.now);
    ck_assert_uint_eq(sch_action_attempt(restored), 1);
    up(&next, "east");
    inventory(&next, "east", a->id, 6, 5, true);
    assert_state(restored, "running");
    ck_assert_uint_eq(sch_action_attempt(restored), 2);
    sch_action_ref(restored);
    outcome(&next, restored, SCH_OUTCOME_SUCCEEDED);
    assert_state(restored, "succeeded");
    ck_assert_uint_eq(sch_action_attempt(restored), 2);
    sch_action_unref(restored);
    world_free(&next);
    world_free(&w);
}
END_TEST

START_TEST(the_cluster_with_most_grants)
{
    struct world w = world_new();
    struct sch_action *root = create(&w, "run", &w.group);
    up(&w, "west");
    up(&w, "east");
    (void)child(&w, root, "0", &w.task);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_DEMAND), 2);
    grant(&w, "west", 1, 1);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 1);
    grant(&w, "west", 1, 3);
    grant(&w, "east", 1, 2);
    /* 2:2, then 1:2, 1:1, 0:1; of equal ones the cluster that came first */
    const char *want[] = {"west", "east", "west", "east"};
    for (size_t i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof(name), "x%zu", i);
        struct sch_action *a = child(&w, root, name, &w.task);
        ck_assert_str_eq(sch_cluster_name(a->cluster), want[i]);
    }
    assert_state(child(&w, root, "last", &w.task), "queued");
    world_free(&w);
}
END_TEST

START_TEST(demand_is_gathered)
{
    struct world w = world_new();
    struct sch_action *root = create(&w, "run", &w.group);
    up(&w, "east");
    ck_assert_uint_eq(w.fx.count, 0); /* no class yet */
    (void)child(&w, root, "0", &w.task);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.waiting, 1);
    for (int i = 1; i < 10; i++) {
        char name[8];
        snprintf(name, sizeof(name), "%d", i);
        (void)child(&w, root, name, &w.task);
        ck_assert_uint_eq(count(&w, SCH_EFFECT_DEMAND), 0);
    }
    ck_assert_int_eq(sch_partition_next_ns(w.p), w.now + 2 * SY_NS_PER_MS);
    tick_at(&w, w.now + 2 * SY_NS_PER_MS);
    ck_assert_uint_eq(w.fx.count, 1);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.waiting, 10);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.oldest_age_ns, 2 * SY_NS_PER_MS);
    ck_assert_int_eq(sch_partition_next_ns(w.p), SY_TIME_NEVER);
    w.now += SY_NS_PER_S;
    grant(&w, "east", 1, 20);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.waiting, 0);
    /* standing grants: a known class needs no message */
    (void)child(&w, root, "more", &w.task);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 1);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_DEMAND), 0);
    /* a new stream hears of it, though nothing waits */
    down(&w, "east");
    up(&w, "east");
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.waiting, 0);
    (void)child(&w, root, "again", &w.task);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 0); /* its grants were reset */
    world_free(&w);
}
END_TEST

/* What changes while its nodes are away it is told when they are back. */
START_TEST(demand_is_told_to_nodes_that_come_back)
{
    struct world w = world_new();
    struct sch_action *root = create(&w, "run", &w.group);
    up(&w, "east");
    (void)child(&w, root, "0", &w.task);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.waiting, 1);
    step(&w, (struct sch_event){.type = SCH_EVENT_CLUSTER_UP, .u.cluster.name = "east"});
    (void)child(&w, root, "1", &w.task);
    tick_at(&w, w.now + SY_NS_PER_S);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_DEMAND), 0); /* it has no nodes */
    up(&w, "east");
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.waiting, 2);
    world_free(&w);
}
END_TEST

START_TEST(demand_that_changes_back_is_not_told)
{
    struct world w = world_new();
    struct sch_spec brief = w.task;
    brief.queued_timeout_ns = 2 * SY_NS_PER_MS;
    struct sch_action *root = create(&w, "run", &w.group);
    up(&w, "east");
    (void)child(&w, root, "0", &w.task);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_DEMAND), 1);
    (void)child(&w, root, "1", &brief);
    tick_at(&w, w.now + 2 * SY_NS_PER_MS); /* it times out as its demand is due */
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 1);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_DEMAND), 0);
    world_free(&w);
}
END_TEST

START_TEST(idle_classes_are_bounded)
{
    struct world w = world_new();
    struct sch_spec specs[600];
    for (uint32_t i = 0; i < 600; i++) {
        char name[16];
        specs[i] = (struct sch_spec){.request = {.cpu_milli = i + 1}};
        snprintf(name, sizeof(name), "r%u", i);
        struct sch_action *a = create(&w, name, &specs[i]);
        step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = a});
        ck_assert_ptr_eq(nth(&w, SCH_EFFECT_SPEC_UNUSED, 0)->u.spec, &specs[i]);
        sch_partition_check(w.p);
    }
    ck_assert_uint_eq(sch_partition_counts(w.p).classes, SCH_CLASSES_IDLE_MAX);
    world_free(&w);
}
END_TEST

START_TEST(infeasible_work_is_refused)
{
    struct world w = world_new();
    struct sch_spec large = {.request = {.cpu_milli = 9000}};
    struct sch_action *root = create(&w, "run", &w.group);
    ck_assert_ptr_nonnull(child(&w, root, "early", &large)); /* no cluster known */
    up(&w, "east");
    ck_assert_uint_eq(count(&w, SCH_EFFECT_DEMAND), 0);
    ck_assert_ptr_nonnull(child(&w, root, "joining", &large)); /* more nodes may come */
    complete(&w, "east");
    ck_assert_ptr_null(child(&w, root, "late", &large));
    const struct sch_effect *rejected = nth(&w, SCH_EFFECT_REJECTED, 0);
    ck_assert_int_eq(rejected->u.rejected.why, SCH_REJECT_INFEASIBLE);
    ck_assert_str_eq(rejected->u.rejected.text,
                     "no cluster can run this; cluster east: 9.000 cores asked, 8.000 cores there");
    /* shapes that come later wake what is parked */
    struct sch_shape bigger = shape;
    bigger.capacity.cpu_milli = 16000;
    step(&w,
         (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                            .u.cluster = {.name = "east", .shapes = &bigger, .shape_count = 1}});
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.waiting, 2);
    world_free(&w);
}
END_TEST

static const struct sch_spec large = {.request = {.cpu_milli = 9000}};

/* Nothing was known when they came, so they wait; then it is known that they wait in vain. */
START_TEST(what_turns_out_infeasible_fails)
{
    struct world w = world_new();
    struct sch_spec specs[2] = {large, large};
    specs[1].request.gpus = 1;
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *early = child(&w, root, "early", &specs[0]);
    struct sch_action *small = child(&w, root, "small", &w.task);
    run_until(&w, w.now + 3600 * SY_NS_PER_S);
    assert_state(early, "queued"); /* no cluster is known: one may come */
    up(&w, "east");
    struct sch_action *joining = sch_action_ref(child(&w, root, "joining", &specs[0]));
    struct sch_action *gpu = sch_action_ref(child(&w, root, "gpu", &specs[1]));
    sch_action_ref(early);
    run_until(&w, w.now + 3600 * SY_NS_PER_S);
    assert_state(joining, "queued"); /* more nodes may come */
    complete(&w, "east");
    int64_t at = sch_partition_next_ns(w.p);
    ck_assert_int_le(at, w.now + SY_NS_PER_S);
    while (!sch_action_is_final(early))
        tick_at(&w, sch_partition_next_ns(w.p));
    ck_assert_int_le(w.now, at + SY_NS_PER_S);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 2);
    const struct sch_effect *end = nth(&w, SCH_EFFECT_FINISHED, 0);
    ck_assert_int_eq(end->u.final.state, SCH_ACTION_FAILED);
    ck_assert_str_eq(end->u.final.code, "Infeasible");
    ck_assert_str_eq(end->u.final.message,
                     "no cluster can run this; cluster east: 9.000 cores asked, 8.000 cores there");
    ck_assert(sch_action_is_final(joining));
    run_until(&w, w.now + SY_NS_PER_S);
    assert_state(gpu, "failed"); /* another class */
    assert_state(small, "queued");
    ck_assert_uint_eq(root->children_failed, 3);
    sch_action_unref(early);
    sch_action_unref(joining);
    sch_action_unref(gpu);
    world_free(&w);
}
END_TEST

/* What was possible when it came waits for its node to come back. */
START_TEST(what_was_feasible_waits)
{
    struct world w = world_new();
    struct sch_spec spec = large;
    struct sch_shape bigger = shape;
    bigger.capacity.cpu_milli = 16000;
    struct sch_event up_bigger = {
        .type = SCH_EVENT_CLUSTER_UP,
        .u.cluster = {.name = "east", .shapes = &bigger, .shape_count = 1}};
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *early = child(&w, root, "early", &spec);
    step(&w, up_bigger);
    complete(&w, "east");
    run_until(&w, w.now + 10 * SY_NS_PER_S);
    assert_state(early, "queued");
    struct sch_action *late = child(&w, root, "late", &spec);
    up(&w, "east"); /* the large nodes are gone */
    run_until(&w, w.now + 10 * SY_NS_PER_S);
    assert_state(early, "queued");
    assert_state(late, "queued");
    down(&w, "east"); /* its operator starts again */
    up(&w, "east");
    struct sch_action *unchecked = sch_action_ref(child(&w, root, "unchecked", &spec));
    complete(&w, "east");
    run_until(&w, w.now + 10 * SY_NS_PER_S);
    assert_state(early, "queued");
    assert_state(late, "queued");
    assert_state(unchecked, "failed");
    sch_action_unref(unchecked);
    world_free(&w);
}
END_TEST

START_TEST(names_and_limits)
{
    struct world w = world_new();
    struct sch_action *root = create(&w, "run", &w.task);
    struct sch_action *a = child(&w, root, "a", &w.task), *b = child(&w, root, "b", &w.task);
    ck_assert_ptr_eq(create(&w, "run", &w.group), root);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_REJECTED, 0)->u.rejected.why, SCH_REJECT_EXISTS);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_SPEC_UNUSED, 0)->u.spec, &w.group);
    (void)child(&w, root, "a", &w.task);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_REJECTED, 0)->u.rejected.why, SCH_REJECT_EXISTS);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_REJECTED, 0)->u.rejected.action, a);
    (void)child(&w, b, "a", &w.task);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_REJECTED, 0)->u.rejected.why, SCH_REJECT_CONFLICT);
    step(&w, (struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = root});
    ck_assert_uint_eq(count(&w, SCH_EFFECT_UPDATED), 1);
    (void)child(&w, root, "c", &w.task);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_REJECTED, 0)->u.rejected.why, SCH_REJECT_SEALED);
    w.p->options.actions_max = 3;
    (void)child(&w, a, "d", &w.task);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_REJECTED, 0)->u.rejected.why, SCH_REJECT_FULL);
    world_free(&w);
}
END_TEST

/* ---- trees ---- */

START_TEST(a_parent_takes_its_children_along)
{
    struct world w = world_new();
    struct sch_action *root = assigned(&w);
    struct sch_action *a = child(&w, root, "a", &w.task);
    (void)child(&w, a, "b", &w.task);
    (void)child(&w, root, "g", &w.group);
    outcome(&w, root, SCH_OUTCOME_SUCCEEDED);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 4);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 2); /* a and b were assigned */
    const char *order[] = {"b", "a", "g", "a0"};
    for (size_t i = 0; i < 4; i++) {
        const struct sch_effect *f = nth(&w, SCH_EFFECT_FINISHED, i);
        ck_assert_str_eq(f->u.final.action->name, order[i]);
        ck_assert_int_eq(f->u.final.state, i == 3 ? SCH_ACTION_SUCCEEDED : SCH_ACTION_ABORTED);
    }
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_CHILD_FINISHED, 2)->u.child.sequence, 2);
    ck_assert_int_eq(w.fx.items[w.fx.count - 4].type, SCH_EFFECT_RUN_FINISHED);
    world_free(&w);
}
END_TEST

START_TEST(groups_end_with_their_children)
{
    struct world w = world_new();
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *g = child(&w, root, "g", &w.group);
    up(&w, "east");
    struct sch_action *a = child(&w, g, "a", &w.task), *b = child(&w, g, "b", &w.task);
    grant(&w, "east", sch_action_class_id(a), 2);
    step(&w, (struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = g});
    step(&w, (struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = root});
    outcome(&w, a, SCH_OUTCOME_FAILED);
    ck_assert_uint_eq(g->children_failed, 1);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_UPDATED, 0)->u.action, g);
    outcome(&w, b, SCH_OUTCOME_SUCCEEDED);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 3);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_RUN_FINISHED, 0)->u.final.state, SCH_ACTION_FAILED);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_RUN_FINISHED, 0)->u.final.code, "ChildFailed");
    ck_assert_uint_eq(count(&w, SCH_EFFECT_SPEC_UNUSED), 2);
    /* an empty group that is sealed ends at once */
    root = create(&w, "run", &w.group);
    step(&w, (struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = root});
    ck_assert_int_eq(nth(&w, SCH_EFFECT_RUN_FINISHED, 0)->u.final.state, SCH_ACTION_SUCCEEDED);
    world_free(&w);
}
END_TEST

START_TEST(records_are_stored_as_ended)
{
    struct world w = world_new();
    struct sch_action *root = create(&w, "run", &w.task);
    struct sch_event record = {.type = SCH_EVENT_RECORD, .u.record = {.parent = root, .name = "t"}};
    step(&w, record);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.state, SCH_ACTION_SUCCEEDED);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_EVENT), 2);
    ck_assert_uint_eq(root->child_sequence, 1);
    record.u.record.name = "u";
    record.u.record.failed = true;
    step(&w, record);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.state, SCH_ACTION_FAILED);
    ck_assert_uint_eq(root->run->actions_total, 3);
    ck_assert_uint_eq(root->run->actions_live, 1);
    world_free(&w);
}
END_TEST

START_TEST(references_outlive_the_end)
{
    struct world w = world_new();
    struct sch_action *root = create(&w, "run", &w.task);
    struct sch_action *a = sch_action_ref(child(&w, root, "a", &w.task));
    step(&w,
         (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort = {.action = root, .reason = "why"}});
    ck_assert_str_eq(nth(&w, SCH_EFFECT_RUN_FINISHED, 0)->u.final.message, "why");
    tick_at(&w, w.now + 1);
    ck_assert(sch_action_is_final(a));
    ck_assert_str_eq(a->parent->name, "a0");
    ck_assert_str_eq(a->run->name, "run");
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = a});
    step(&w, (struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = a});
    ck_assert_uint_eq(w.fx.count, 0);
    sch_action_unref(a);
    world_free(&w);
}
END_TEST

static bool count_one(void *ctx, struct sch_action *a)
{
    ck_assert(!sch_action_is_final(a));
    return ++*(size_t *)ctx < 3;
}

static bool count_run(void *ctx, struct sch_run *run)
{
    ck_assert_ptr_nonnull(run->root);
    return ++*(size_t *)ctx < 3;
}

START_TEST(walks_stop_when_told)
{
    struct world w = world_new();
    struct sch_action *root = create(&w, "run", &w.task);
    for (int i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof(name), "%d", i);
        (void)child(&w, root, name, &w.task);
        (void)create(&w, name, &w.task);
    }
    size_t n = 0;
    sch_action_each_child(root, count_one, &n);
    ck_assert_uint_eq(n, 3);
    n = 0;
    sch_partition_each_run(w.p, count_run, &n);
    ck_assert_uint_eq(n, 3);
    n = 0;
    sch_action_each_child(root->run->root, count_one, &n);
    ck_assert_uint_eq(n, 3);
    world_free(&w);
}
END_TEST

#define WIDE 100000

START_TEST(wide_and_deep_aborts)
{
    struct world w = world_new();
    struct sch_action *root = create(&w, "run", &w.task), *a = root;
    for (int i = 0; i < WIDE; i++) {
        char name[16];
        snprintf(name, sizeof(name), "w%d", i);
        ck_assert_ptr_nonnull(child(&w, root, name, &w.task));
    }
    for (int i = 0; i < WIDE; i++) {
        char name[16];
        snprintf(name, sizeof(name), "d%d", i);
        a = child(&w, a, name, &w.task);
    }
    sch_partition_check(w.p);
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = root});
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 2 * WIDE + 1);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_RUN_FINISHED), 1);
    ck_assert_uint_eq(w.task.refs, 0);
    uint64_t sequence = nth(&w, SCH_EFFECT_EVENT, 0)->u.event.sequence;
    for (size_t i = 0; i < w.fx.count; i++) {
        if (w.fx.items[i].type == SCH_EFFECT_EVENT)
            ck_assert_uint_eq(w.fx.items[i].u.event.sequence, sequence++);
    }
    tick_at(&w, w.now + 1);
    ck_assert_uint_lt(w.fx.cap, WIDE); /* the long list is given back */
    world_free(&w);
}
END_TEST

START_TEST(groups_above_end_without_recursion)
{
    struct world w = world_new();
    struct sch_action *a = create(&w, "run", &w.group), *root = a;
    for (int i = 0; i < WIDE; i++) {
        char name[16];
        snprintf(name, sizeof(name), "d%d", i);
        struct sch_action *next = child(&w, a, name, &w.group);
        step(&w, (struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = a});
        a = next;
    }
    ck_assert(root->sealed);
    step(&w, (struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = a});
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), WIDE + 1);
    ck_assert_uint_eq(sch_partition_counts(w.p).groups, 0);
    world_free(&w);
}
END_TEST

START_TEST(a_million_actions)
{
    struct world w = world_new();
    struct sch_action *root = create(&w, "run", &w.group);
    up(&w, "east");
    for (int i = 0; i < 1000000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", i);
        w.now += 100;
        step(&w, (struct sch_event){.type = SCH_EVENT_ENQUEUE,
                                    .u.enqueue = {.parent = root, .name = name, .spec = &w.task}});
        ck_assert_uint_le(w.fx.count, 3);
    }
    grant(&w, "east", 1, 5);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_ASSIGN, 4)->u.assign.action->name, "4");
    ck_assert_uint_eq(sch_partition_counts(w.p).queued, 999995);
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = root});
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 1000001);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 5);
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {tables_are_sound,
                                  a_task_lives,
                                  an_outcome_counts_once,
                                  user_retries_back_off,
                                  final_failures_are_not_retried,
                                  system_failures_have_their_own_budget,
                                  a_second_refusal_ends_it,
                                  waiting_has_a_limit,
                                  priority_then_arrival,
                                  the_cluster_with_most_grants,
                                  demand_is_gathered,
                                  demand_is_told_to_nodes_that_come_back,
                                  demand_that_changes_back_is_not_told,
                                  idle_classes_are_bounded,
                                  given_back_attempts_are_not_counted,
                                  infeasible_work_is_refused,
                                  what_turns_out_infeasible_fails,
                                  what_was_feasible_waits,
                                  names_and_limits,
                                  a_parent_takes_its_children_along,
                                  groups_end_with_their_children,
                                  records_are_stored_as_ended,
                                  references_outlive_the_end,
                                  walks_stop_when_told,
                                  wide_and_deep_aborts,
                                  groups_above_end_without_recursion,
                                  a_million_actions,
                                  NULL};
    return sy_test_run("sch_partition", tests);
}
