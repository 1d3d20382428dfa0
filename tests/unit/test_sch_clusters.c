/* links: sch */
#include "tests/unit/test_sch_world.h"

/* ---- clusters come and go ---- */

START_TEST(a_silent_cluster_loses_its_attempts)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    int64_t lost_at = w.now + LEASE;
    started(&w, a);
    up(&w, "west");
    down(&w, "east");
    run_until(&w, lost_at - 1);
    assert_state(a, "running");
    run_until(&w, lost_at);
    assert_state(a, "queued");
    ck_assert_uint_eq(a->ended, 1);
    ck_assert_uint_eq(a->system_failures, 1);
    /* when it comes back its old attempt is not wanted */
    up(&w, "east");
    inventory(&w, "east", a->id, 1, 5, true);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 1);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ACK), 1);
    step(&w, report(SCH_EVENT_OUTCOME, "east", a->id, 1, 5, SCH_OUTCOME_SUCCEEDED));
    ck_assert_uint_eq(w.fx.count, 1);
    assert_state(a, "queued");
    world_free(&w);
}
END_TEST

START_TEST(a_reconnect_reconciles)
{
    struct world w = world_new();
    struct sch_action *root = assigned(&w);
    struct sch_action *kept = child(&w, root, "kept", &w.task);
    struct sch_action *lost = child(&w, root, "lost", &w.task);
    down(&w, "east");
    w.now += SY_NS_PER_S;
    up(&w, "east");
    inventory(&w, "east", root->id, 1, 5, true);
    assert_state(root, "running");
    inventory(&w, "east", kept->id, 1, 5, false);
    sch_partition_check(w.p);
    /* what is assigned on the new stream is not in that inventory */
    grant(&w, "east", sch_action_class_id(root), 1);
    struct sch_action *fresh = child(&w, root, "fresh", &w.task);
    assert_state(fresh, "assigned");
    complete(&w, "east");
    assert_state(kept, "assigned");
    assert_state(fresh, "assigned");
    assert_state(lost, "queued");
    ck_assert_uint_eq(lost->system_failures, 1);
    ck_assert_int_eq(sch_partition_next_ns(w.p), w.now + 2 * SY_NS_PER_MS); /* demand, no lease */
    world_free(&w);
}
END_TEST

START_TEST(lost_attempts_keep_their_order)
{
    struct world w = world_new();
    struct sch_action *root = assigned(&w);
    const char *names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++)
        (void)child(&w, root, names[i], &w.task);
    up(&w, "west");
    down(&w, "east");
    run_until(&w, w.now + LEASE);
    ck_assert_uint_eq(sch_partition_counts(w.p).queued, 4);
    grant(&w, "west", 1, 4);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.action, root);
    for (size_t i = 0; i < 3; i++)
        ck_assert_str_eq(nth(&w, SCH_EFFECT_ASSIGN, i + 1)->u.assign.action->name, names[i]);
    world_free(&w);
}
END_TEST

/* It sees nobody: that is its own trouble, for all that it can know, and there is nobody else who
 * could run it. */
START_TEST(when_all_clusters_are_silent_nothing_is_lost)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    started(&w, a);
    up(&w, "west");
    down(&w, "west");
    down(&w, "east");
    run_until(&w, w.now + 240 * LEASE);
    assert_state(a, "running");
    sch_partition_check(w.p);
    up(&w, "west"); /* from now on "east" has the whole grace */
    run_until(&w, w.now + LEASE - 1);
    assert_state(a, "running");
    up(&w, "east");
    inventory(&w, "east", a->id, 1, 5, true);
    complete(&w, "east");
    assert_state(a, "running");
    ck_assert_uint_eq(a->system_failures, 0);
    world_free(&w);
}
END_TEST

START_TEST(who_does_not_come_back_with_the_others_is_lost)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    up(&w, "west");
    down(&w, "east");
    down(&w, "west");
    run_until(&w, w.now + 4 * LEASE);
    up(&w, "west");
    int64_t seen_at = w.now;
    down(&w, "west"); /* and for a moment nobody is seen again, which gives nothing more */
    up(&w, "west");
    run_until(&w, seen_at + LEASE - 1);
    assert_state(a, "assigned");
    run_until(&w, seen_at + LEASE);
    assert_state(a, "queued");
    world_free(&w);
}
END_TEST

START_TEST(a_blind_observer_restarts_the_grace_once)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    up(&w, "west");
    down(&w, "east");
    tick_at(&w, w.now + 3 * LEASE); /* the loop itself stood still */
    assert_state(a, "assigned");
    int64_t restarted = w.now;
    run_until(&w, restarted + LEASE - 1);
    assert_state(a, "assigned");
    tick_at(&w, w.now + LEASE); /* once, not for ever */
    assert_state(a, "queued");
    world_free(&w);
}
END_TEST

START_TEST(aborts_reach_clusters_that_were_away)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    uint64_t id = a->id;
    down(&w, "east");
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = a});
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 0);
    up(&w, "east");
    inventory(&w, "east", id, 1, 5, true);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_CANCEL, 0)->u.cancel.action_id, id);
    world_free(&w);
}
END_TEST

/* ---- rebuild ---- */

static const struct sch_restore restore_root = {
    .run_id = (4ull << 40) | 1, .action_id = (4ull << 40) | 2, .name = "a0", .parent = ""};

static struct sch_action *restore(struct world *w, uint64_t id, const char *name,
                                  const char *parent, uint32_t number)
{
    struct sch_restore r = restore_root;
    r.action_id = (4ull << 40) | id;
    r.name = name;
    r.parent = parent;
    r.spec = &w->task;
    r.number = number;
    r.child_sequence = 6;
    return sch_partition_restore_action(w->p, &r);
}

static struct sch_action *restored_world(struct world *w)
{
    sch_partition_restore_run(w->p, restore_root.run_id, "p", "d", "run", 5, 40, 9, 0);
    (void)restore(w, 9, "grandchild", "child", 0); /* before its parent */
    (void)restore(w, 3, "child", "a0", 2);
    return restore(w, 2, "a0", "", 0);
}

START_TEST(recovery_adopts_what_is_out)
{
    struct world w = world_new();
    struct sch_action *root = restored_world(&w);
    const char *expected[] = {"east", "west"};
    sch_partition_restored(w.p, expected, 2, w.now);
    sch_partition_check(w.p);
    struct sch_action *c = sch_partition_find_action(w.p, root->run, "child");
    struct sch_action *g = sch_partition_find_action(w.p, root->run, "grandchild");
    ck_assert_ptr_eq(g->parent, c);
    ck_assert_uint_eq(root->children_live, 1);
    ck_assert_uint_eq(sch_partition_counts(w.p).recovering, 3);
    up(&w, "east");
    inventory(&w, "east", root->id, 1, 4, true);
    assert_state(root, "running");
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_EVENT, 0)->u.event.sequence, 41);
    inventory(&w, "east", c->id, 2, 4, true); /* that one has ended: its failure is counted */
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 1);
    assert_state(c, "recovering");
    inventory(&w, "east", c->id, 3, 4, false);
    assert_state(c, "assigned");
    /* an older and a newer one of the same action elsewhere: the highest token wins */
    up(&w, "west");
    inventory(&w, "west", c->id, 3, 3, true);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_CANCEL, 0)->u.cancel.cluster, "west");
    inventory(&w, "west", c->id, 4, 4, true);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_CANCEL, 0)->u.cancel.cluster, "east");
    ck_assert_str_eq(sch_cluster_name(c->cluster), "west");
    sch_partition_check(w.p);
    complete(&w, "east");
    assert_state(g, "recovering");
    complete(&w, "west");
    assert_state(g, "queued");
    ck_assert_uint_eq(g->number, 0);
    ck_assert(!sch_partition_counts(w.p).recovering_clusters);
    outcome(&w, root, SCH_OUTCOME_SUCCEEDED);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 3);
    world_free(&w);
}
END_TEST

START_TEST(recovery_takes_outcomes)
{
    struct world w = world_new();
    struct sch_action *root = restored_world(&w);
    const char *expected[] = {"east"};
    sch_partition_restored(w.p, expected, 1, w.now);
    struct sch_action *c = sch_partition_find_action(w.p, root->run, "child");
    up(&w, "east");
    step(&w, report(SCH_EVENT_OUTCOME, "east", c->id, 2, 4, SCH_OUTCOME_FAILED));
    assert_state(c, "recovering"); /* it was counted before the restart */
    ck_assert_uint_eq(w.fx.count, 1);
    step(&w, report(SCH_EVENT_OUTCOME, "east", c->id, 3, 5, SCH_OUTCOME_FAILED));
    assert_state(c, "recovering"); /* this epoch has issued none */
    step(&w, report(SCH_EVENT_RETURNED, "east", root->id, 1, 4, 0));
    assert_state(root, "recovering");
    step(&w, report(SCH_EVENT_OUTCOME, "east", c->id, 3, 4, SCH_OUTCOME_SUCCEEDED));
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 2); /* with its child */
    ck_assert_uint_eq(root->child_sequence, 7);
    world_free(&w);
}
END_TEST

/* A report that it started may be older than the loss of the attempt. */
START_TEST(what_the_inventory_lacks_is_lost_whatever_was_said_before)
{
    struct world w = world_new();
    struct sch_action *root = restored_world(&w);
    const char *expected[] = {"east"};
    sch_partition_restored(w.p, expected, 1, w.now);
    struct sch_action *c = sch_partition_find_action(w.p, root->run, "child");
    up(&w, "east");
    step(&w, report(SCH_EVENT_STARTED, "east", root->id, 1, 4, 0));
    assert_state(root, "recovering");
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 0);
    inventory(&w, "east", c->id, 3, 4, false);
    step(&w, report(SCH_EVENT_STARTED, "east", c->id, 3, 4, 0));
    assert_state(c, "running");
    complete(&w, "east");
    assert_state(root, "queued");
    assert_state(c, "running");
    down(&w, "east");
    up(&w, "east");
    step(&w, report(SCH_EVENT_STARTED, "east", c->id, 3, 4, 0));
    complete(&w, "east");
    assert_state(c, "queued");
    ck_assert_uint_eq(c->system_failures, 1);
    world_free(&w);
}
END_TEST

/* Whatever a cluster says, there are numbers left for the attempts that follow. */
START_TEST(recovery_takes_no_number_that_cannot_be)
{
    struct world w = world_new();
    struct sch_action *root = restored_world(&w);
    const char *expected[] = {"east"};
    sch_partition_restored(w.p, expected, 1, w.now);
    struct sch_action *c = sch_partition_find_action(w.p, root->run, "child");
    up(&w, "east");
    inventory(&w, "east", c->id, UINT32_MAX, 4, true);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_CANCEL, 0)->u.cancel.number, UINT32_MAX);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_ACK, 0)->u.ack.number, UINT32_MAX);
    assert_state(c, "recovering");
    step(&w, report(SCH_EVENT_STARTED, "east", c->id, UINT32_MAX, 4, 0));
    assert_state(c, "recovering");
    step(&w, report(SCH_EVENT_OUTCOME, "east", c->id, UINT32_MAX, 4, SCH_OUTCOME_SUCCEEDED));
    assert_state(c, "recovering");
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ACK), 1);
    inventory(&w, "east", c->id, SCH_ATTEMPT_NUMBER_MAX, 4, true); /* the last one that may be */
    assert_state(c, "running");
    complete(&w, "east");
    outcome(&w, c, SCH_OUTCOME_LOST);
    grant(&w, "east", sch_action_class_id(c), 9);
    assert_state(c, "assigned");
    ck_assert_uint_eq(c->number, SCH_ATTEMPT_NUMBER_MAX + 1);
    world_free(&w);
}
END_TEST

START_TEST(recovery_is_bounded)
{
    struct world w = world_new();
    struct sch_action *root = restored_world(&w);
    const char *expected[] = {"east"};
    sch_partition_restored(w.p, expected, 1, w.now);
    struct sch_action *fresh = child(&w, root, "fresh", &w.task);
    assert_state(fresh, "queued");
    run_until(&w, w.now + 10 * WAIT); /* nobody is there who could say what he runs, or run it */
    assert_state(root, "recovering");
    up(&w, "west");
    run_until(&w, w.now + WAIT - 1);
    assert_state(root, "recovering");
    run_until(&w, w.now + 1);
    assert_state(root, "queued");
    ck_assert_uint_eq(sch_partition_counts(w.p).queued, 4);
    up(&w, "east");
    grant(&w, "east", 1, 9);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_ASSIGN, 3)->u.assign.action->name, "fresh");
    struct sch_action *c = sch_partition_find_action(w.p, root->run, "child");
    ck_assert_uint_eq(c->number, 3);
    ck_assert_uint_eq(c->attempt_epoch, 5);
    ck_assert_uint_gt(fresh->id, 5ull << 40);
    world_free(&w);
}
END_TEST

START_TEST(recovery_without_clusters_waits_for_nothing)
{
    struct world w = world_new();
    struct sch_action *root = restored_world(&w);
    sch_partition_restored(w.p, NULL, 0, w.now);
    assert_state(root, "queued");
    ck_assert_int_eq(sch_partition_next_ns(w.p), SY_TIME_NEVER);
    world_free(&w);
}
END_TEST

/* Also where nothing was live: one that is not back yet may be the only one that can run it. */
START_TEST(nothing_is_refused_before_all_clusters_can_be_back)
{
    struct world w = world_new();
    struct sch_spec large = {.request = {.cpu_milli = 64000}};
    const struct sch_shape large_shape = {.capacity = {.cpu_milli = 64000}, .nodes = 1};
    const char *expected[] = {"east", "west"};
    sch_partition_restored(w.p, expected, 2, w.now);
    ck_assert(sch_partition_counts(w.p).recovering_clusters);
    up(&w, "east");
    complete(&w, "east");
    struct sch_action *a = create(&w, "a", &large);
    assert_state(a, "queued");
    run_until(&w, w.now + WAIT / 2); /* nor does it end */
    step(&w, (struct sch_event){
                 .type = SCH_EVENT_CLUSTER_UP,
                 .u.cluster = {.name = "west", .shapes = &large_shape, .shape_count = 1}});
    complete(&w, "west");
    ck_assert(!sch_partition_counts(w.p).recovering_clusters);
    grant(&w, "west", sch_action_class_id(a), 1);
    assert_state(a, "assigned");
    world_free(&w);

    w = world_new(); /* it does not come */
    sch_partition_restored(w.p, expected, 2, w.now);
    up(&w, "east");
    complete(&w, "east");
    run_until(&w, w.now + WAIT);
    ck_assert(!sch_partition_feasible(w.p, &large.request, NULL));
    world_free(&w);
}
END_TEST

static void delete (struct world *w, const char *cluster)
{
    step(w, (struct sch_event){.type = SCH_EVENT_CLUSTER_DELETED, .u.cluster.name = cluster});
    sch_partition_check(w->p);
}

/* Whatever was seen of it. */
START_TEST(a_deleted_cluster_loses_its_attempts_at_once)
{
    for (int when = 0; when < 4; when++) {
        struct world w = world_new();
        struct sch_action *a = assigned(&w);
        started(&w, a);
        if (when > 0) /* else it is there */
            down(&w, "east");
        if (when == 2) /* it is back, and has not told what it has */
            up(&w, "east");
        if (when == 3)
            run_until(&w, w.now + LEASE);
        delete (&w, "east");
        assert_state(a, "queued");
        ck_assert_uint_eq(a->system_failures, 1);
        delete (&w, "east"); /* again: nothing */
        ck_assert_uint_eq(w.fx.count, 0);
        delete (&w, "west"); /* nor what was never there */
        ck_assert_uint_eq(w.fx.count, 0);
        run_until(&w, w.now + 2 * LEASE);
        ck_assert_uint_eq(a->system_failures, 1);
        up(&w, "east"); /* another of its name: what the first one had is not wanted */
        inventory(&w, "east", a->id, 1, 5, true);
        ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 1);
        complete(&w, "east");
        grant(&w, "east", sch_action_class_id(a), 1);
        assert_state(a, "assigned");
        world_free(&w);
    }
}
END_TEST

START_TEST(a_deleted_cluster_is_not_waited_for)
{
    const char *expected[] = {"east", "west"};
    struct world w = world_new();
    struct sch_action *a = restored_world(&w);
    sch_partition_restored(w.p, expected, 2, w.now);
    up(&w, "west");
    complete(&w, "west");
    assert_state(a, "recovering");
    delete (&w, "east");
    assert_state(a, "queued");
    ck_assert(!sch_partition_counts(w.p).recovering_clusters);
    delete (&w, "west");
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_silent_cluster_loses_its_attempts,
                                  when_all_clusters_are_silent_nothing_is_lost,
                                  who_does_not_come_back_with_the_others_is_lost,
                                  a_reconnect_reconciles,
                                  lost_attempts_keep_their_order,
                                  a_blind_observer_restarts_the_grace_once,
                                  aborts_reach_clusters_that_were_away,
                                  recovery_adopts_what_is_out,
                                  recovery_takes_outcomes,
                                  what_the_inventory_lacks_is_lost_whatever_was_said_before,
                                  recovery_takes_no_number_that_cannot_be,
                                  recovery_is_bounded,
                                  recovery_without_clusters_waits_for_nothing,
                                  nothing_is_refused_before_all_clusters_can_be_back,
                                  a_deleted_cluster_loses_its_attempts_at_once,
                                  a_deleted_cluster_is_not_waited_for,
                                  NULL};
    return sy_test_run("sch_clusters", tests);
}
