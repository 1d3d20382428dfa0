/* links: sch */
/*
 * Attempts that their agents stop when they cannot show that they are heard of: the rule, and the
 * partition core, which begins none of them elsewhere within a lease after the last that it heard.
 */
#include "scheduler/stop.h"
#include "tests/unit/test_sch_world.h"

START_TEST(half_three_quarters_and_a_margin)
{
    static const int64_t leases[] = {1, 4, 5 * SY_NS_PER_S, 15 * SY_NS_PER_S, INT64_MAX};
    for (size_t i = 0; i < SY_COUNT_OF(leases); i++) {
        struct sch_stop_rule rule = sch_stop_rule(leases[i]);
        ck_assert(rule.ask_ns <= rule.kill_ns && rule.kill_ns <= leases[i] - leases[i] / 4);
    }
    struct sch_stop_rule rule = sch_stop_rule(8 * SY_NS_PER_S);
    ck_assert_int_eq(rule.ask_ns, 4 * SY_NS_PER_S);
    ck_assert_int_eq(rule.kill_ns, 6 * SY_NS_PER_S);
}
END_TEST

START_TEST(leases_that_leave_no_time_are_refused)
{
    struct sy_error_text error = {0};
    ck_assert_int_eq(sch_stop_check("lease", 15 * SY_NS_PER_S, SY_NS_PER_S, &error), 0);
    ck_assert_int_eq(sch_stop_check("lease", 8 * SY_NS_PER_S, SY_NS_PER_S, &error), 0);
    ck_assert_int_eq(sch_stop_check("lease", SY_NS_PER_S, 10 * SY_NS_PER_MS, &error), 0);
    ck_assert_int_eq(sch_stop_check("lease", 8 * SY_NS_PER_S - 1, SY_NS_PER_S, &error), -EINVAL);
    ck_assert_str_eq(error.text, "stop-on-agent needs a lease of 8000 ms or more (1 s, and 8 "
                                 "heartbeats of 1000 ms) to stop a task in time, it is 7999 ms");
    ck_assert_int_eq(sch_stop_check("x", SY_NS_PER_S - 1, 10 * SY_NS_PER_MS, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "needs a x of 1000 ms"));
}
END_TEST

/* One that runs in "east", and another cluster that could. */
static struct sch_action *stopping(struct world *w)
{
    w->task.on_partition = SCH_ON_PARTITION_STOP;
    struct sch_action *a = assigned(w);
    started(w, a);
    up(w, "west");
    complete(w, "west");
    return a;
}

START_TEST(a_silent_cluster_is_given_up_with_its_lease)
{
    struct world w = world_new();
    struct sch_action *a = stopping(&w);
    down(&w, "east");
    ck_assert(!sch_action_waits_out(a));
    run_until(&w, w.now + LEASE - 1);
    assert_state(a, "running");
    run_until(&w, w.now + 1);
    assert_state(a, "queued");
    ck_assert_uint_eq(a->system_failures, 1);
    world_free(&w);
}
END_TEST

/* Its operator was started anew, and does not know of an agent that is cut off from it. */
START_TEST(what_is_not_named_is_kept_for_a_lease)
{
    struct world w = world_new();
    struct sch_action *a = stopping(&w);
    w.group = (struct sch_spec){.request = {.cpu_milli = 1000}}; /* of another policy */
    struct sch_action *other = child(&w, a, "other", &w.group);
    down(&w, "east");
    run_until(&w, w.now + LEASE / 2);
    up(&w, "east");
    int64_t came = w.now;
    run_until(&w, w.now + LEASE / 4);
    complete(&w, "east");
    assert_state(other, "queued");
    assert_state(a, "running");
    ck_assert(sch_partition_waits_for(w.p, "east"));
    sch_partition_check(w.p);
    run_until(&w, came + LEASE - 1);
    assert_state(a, "running");
    run_until(&w, came + LEASE);
    assert_state(a, "queued");
    world_free(&w);
}
END_TEST

START_TEST(its_node_comes_in_time)
{
    struct world w = world_new();
    struct sch_action *a = stopping(&w);
    down(&w, "east");
    up(&w, "east");
    complete(&w, "east");
    run_until(&w, w.now + LEASE / 2);
    inventory(&w, "east", a->id, 1, 5, true);
    sch_partition_check(w.p);
    run_until(&w, w.now + 10 * LEASE);
    assert_state(a, "running");
    ck_assert_uint_eq(a->number, 1);
    outcome(&w, a, SCH_OUTCOME_SUCCEEDED);
    world_free(&w);
}
END_TEST

/* Each time that its cluster goes, or comes, somebody may have been heard of until then. */
START_TEST(a_lease_begins_with_each_stream)
{
    struct world w = world_new();
    struct sch_action *a = stopping(&w);
    for (int i = 0; i < 3; i++) {
        down(&w, "east");
        run_until(&w, w.now + LEASE / 2);
        up(&w, "east");
        complete(&w, "east");
        run_until(&w, w.now + LEASE / 2);
        sch_partition_check(w.p);
        assert_state(a, "running");
    }
    down(&w, "east");
    run_until(&w, w.now + LEASE - 1);
    assert_state(a, "running");
    run_until(&w, w.now + 1);
    assert_state(a, "queued");
    world_free(&w);
}
END_TEST

START_TEST(a_person_or_its_end_goes_before_the_lease)
{
    static const enum sch_event_type words[] = {SCH_EVENT_CLUSTER_FENCED, SCH_EVENT_CLUSTER_DELETED,
                                                SCH_EVENT_ABORT};
    for (size_t i = 0; i < SY_COUNT_OF(words); i++) {
        struct world w = world_new();
        struct sch_action *a = stopping(&w);
        down(&w, "east");
        up(&w, "east");
        complete(&w, "east");
        assert_state(a, "running");
        uint64_t id = a->id;
        struct sch_event event = {.type = words[i]};
        if (words[i] == SCH_EVENT_ABORT) {
            event.u.abort.action = a;
            event.u.abort.reason = "x";
        } else {
            event.u.cluster.name = "east";
        }
        step(&w, event);
        sch_partition_check(w.p);
        if (words[i] == SCH_EVENT_ABORT)
            ck_assert_ptr_null(sch_partition_find_action_by_id(w.p, id));
        else
            assert_state(a, "queued");
        run_until(&w, w.now + 2 * LEASE); /* nothing is left to be done */
        sch_partition_check(w.p);
        world_free(&w);
    }
}
END_TEST

/* A partition under a new epoch, which read of one action, and where it was. */
static struct sch_action *reopened(struct world *w, uint64_t run, uint64_t id,
                                   const struct sch_out *out)
{
    const char *expected[] = {"east", "west"};
    *w = (struct world){.now = SY_NS_PER_S, .task = {.request = {.cpu_milli = 1000}}};
    w->task.on_partition = SCH_ON_PARTITION_STOP;
    world_open(w, 6);
    struct sch_restore r = {.run_id = run, .action_id = id, .name = "a0", .parent = ""};
    r.spec = &w->task;
    r.out = out;
    sch_partition_restore_run(w->p, run, "p", "d", "run", 0, 0, 1, 0);
    struct sch_action *a = sch_partition_restore_action(w->p, &r);
    sch_partition_restored(w->p, expected, 2, w->now);
    return a;
}

/* A partition that is opened anew does not know who was heard of until then: by its cluster it is
 * named; not named; or that does not come. */
START_TEST(a_new_partition_keeps_it_for_a_lease)
{
    struct world w = world_new();
    struct sch_out out;
    struct sch_action *a = stopping(&w);
    ck_assert(sch_action_out(a, &out) && out.started);
    uint64_t id = a->id, run = a->run->id;
    world_free(&w);
    for (int named = 0; named < 3; named++) {
        a = reopened(&w, run, id, &out);
        int64_t opened = w.now;
        up(&w, "west");
        complete(&w, "west");
        if (named < 2) {
            up(&w, "east");
            if (named == 0)
                inventory(&w, "east", id, out.number, out.epoch, true);
            complete(&w, "east");
        }
        sch_partition_check(w.p);
        run_until(&w, opened + LEASE - 1);
        assert_state(a, "running");
        sch_partition_check(w.p);
        run_until(&w, opened + WAIT + LEASE);
        assert_state(a, named == 0 ? "running" : "queued");
        world_free(&w);
    }
}
END_TEST

/* Late, when the partition has ended its recovery. */
START_TEST(its_cluster_comes_after_the_recovery)
{
    struct world w = world_new();
    struct sch_out out;
    struct sch_action *a = stopping(&w);
    ck_assert(sch_action_out(a, &out));
    uint64_t id = a->id, run = a->run->id;
    world_free(&w);
    a = reopened(&w, run, id, &out);
    up(&w, "west");
    complete(&w, "west");
    run_until(&w, w.now + WAIT + LEASE / 2);
    assert_state(a, "running");
    up(&w, "east");
    inventory(&w, "east", id, out.number, out.epoch, true);
    complete(&w, "east");
    run_until(&w, w.now + 3 * LEASE);
    assert_state(a, "running");
    world_free(&w);
}
END_TEST

START_TEST(it_has_a_name)
{
    enum sch_on_partition policy = SCH_ON_PARTITION_REPLACE;
    struct sy_error_text error = {0};
    ck_assert_int_eq(sch_on_partition_parse("stop-on-agent", &policy, &error), 0);
    ck_assert_int_eq(policy, SCH_ON_PARTITION_STOP);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {half_three_quarters_and_a_margin,
                                  leases_that_leave_no_time_are_refused,
                                  a_silent_cluster_is_given_up_with_its_lease,
                                  what_is_not_named_is_kept_for_a_lease,
                                  its_node_comes_in_time,
                                  a_lease_begins_with_each_stream,
                                  a_person_or_its_end_goes_before_the_lease,
                                  a_new_partition_keeps_it_for_a_lease,
                                  its_cluster_comes_after_the_recovery,
                                  it_has_a_name,
                                  NULL};
    return sy_test_run("sch_stop", tests);
}
