/* links: sch */
/* A cluster is drained: who is asked back, who is stopped, when, and how often. */
#include "scheduler/explain.h"
#include "tests/unit/test_sch_world.h"

#define DEADLINE (60 * SY_NS_PER_S)
#define MANY 40u
#define LOOKS 8u

/* `deadline_ns` from now. */
static struct sch_event said(const struct world *w, const char *cluster, bool draining,
                             int64_t deadline_ns)
{
    bool never = deadline_ns == SY_TIME_NEVER;
    return (struct sch_event){
        .type = SCH_EVENT_CLUSTER_UP,
        .u.cluster = {.name = cluster,
                      .keep_shapes = true,
                      .cordoned = draining,
                      .draining = draining,
                      .drain_ns = never ? SY_TIME_NEVER : w->now + deadline_ns}};
}

static void drain(struct world *w, int64_t deadline_ns)
{
    step(w, said(w, "east", true, deadline_ns));
    sch_partition_check(w->p);
}

static void uncordon(struct world *w)
{
    step(w, said(w, "east", false, 0));
    sch_partition_check(w->p);
}

static void returned(struct world *w, const struct sch_action *a)
{
    step(w, report(SCH_EVENT_RETURNED, "east", a->id, a->number, a->attempt_epoch, 0));
}

static void assert_out(const struct world *w, uint64_t assigned_count, uint64_t running)
{
    struct sch_cluster_out out = sch_partition_cluster_out(w->p, "east");
    ck_assert_uint_eq(out.assigned, assigned_count);
    ck_assert_uint_eq(out.running, running);
}

/* The only effect of its type. */
static const struct sch_effect *only(const struct world *w, enum sch_effect_type type,
                                     const struct sch_action *a)
{
    ck_assert_uint_eq(count(w, type), 1);
    const struct sch_effect *effect = nth(w, type, 0);
    ck_assert_uint_eq(effect->u.cancel.action_id, a->id);
    ck_assert_uint_eq(effect->u.cancel.number, a->number);
    ck_assert_str_eq(effect->u.cancel.cluster, "east");
    return effect;
}

static void assert_drain_is_why(const struct world *w)
{
    struct sch_submit submit = {.project = "p", .domain = "d", .request = &w->task.request};
    struct sch_explanation *e = sch_explain_submit(w->p, &submit);
    ck_assert_uint_eq(e->clusters[0].why_not & (SCH_WHY_DRAINED | SCH_WHY_CORDONED),
                      SCH_WHY_DRAINED);
    ck_assert_int_eq(e->changes[e->change_count - 1].type, SCH_CHANGE_UNCORDON);
    sch_explanation_free(e);
}

START_TEST(what_has_not_started_is_asked_back_and_what_runs_is_stopped_at_the_deadline)
{
    struct world w = world_new();
    struct sch_action *runs = assigned(&w);
    struct sch_action *waits = child(&w, runs, "waits", &w.task);
    started(&w, runs);
    assert_out(&w, 1, 1);
    int64_t deadline = w.now + DEADLINE;
    drain(&w, DEADLINE);
    ck_assert_ptr_null(only(&w, SCH_EFFECT_GIVE_BACK, waits)->u.cancel.reason);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 0);
    returned(&w, waits);
    assert_state(waits, "queued"); /* and is not assigned there again */
    ck_assert_uint_eq(waits->attempts, 0);
    assert_drain_is_why(&w);
    assert_out(&w, 0, 1);
    run_until(&w, deadline - 1);
    assert_state(runs, "running");
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 0);
    tick_at(&w, deadline);
    ck_assert(only(&w, SCH_EFFECT_CANCEL, runs)->u.cancel.preempts);
    assert_state(runs, "running"); /* until its cluster says so */
    outcome(&w, runs, SCH_OUTCOME_PREEMPTED);
    assert_state(runs, "queued");
    ck_assert_uint_eq(runs->user_failures + runs->system_failures, 0);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_EVENT, 0)->u.event.code, "Preempted");
    ck_assert_str_eq(nth(&w, SCH_EFFECT_EVENT, 0)->u.event.message,
                     "stopped: its cluster is drained");
    assert_out(&w, 0, 0);
    ck_assert(sch_partition_cluster_out(w.p, "east").known);
    world_free(&w);
}
END_TEST

START_TEST(without_a_deadline_nothing_is_ever_stopped)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    started(&w, a);
    drain(&w, SY_TIME_NEVER);
    run_until(&w, w.now + 1000 * DEADLINE);
    ck_assert_int_eq(sch_partition_next_ns(w.p), SY_TIME_NEVER);
    assert_state(a, "running");
    outcome(&w, a, SCH_OUTCOME_SUCCEEDED);
    assert_state(a, "succeeded");
    world_free(&w);
}
END_TEST

START_TEST(a_deadline_that_has_passed_stops_at_once)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    started(&w, a);
    drain(&w, -DEADLINE);
    (void)only(&w, SCH_EFFECT_CANCEL, a);
    drain(&w, -DEADLINE); /* said again, because of something else */
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 0);
    world_free(&w);
}
END_TEST

START_TEST(what_is_said_last_holds)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    started(&w, a);
    int64_t first = w.now + DEADLINE;
    drain(&w, DEADLINE);
    drain(&w, 2 * DEADLINE);
    run_until(&w, first);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 0);
    drain(&w, 1); /* sooner */
    tick_at(&w, w.now + 1);
    (void)only(&w, SCH_EFFECT_CANCEL, a);
    world_free(&w);
}
END_TEST

START_TEST(what_takes_the_drain_back_lets_all_go_on)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    started(&w, a);
    drain(&w, DEADLINE);
    uncordon(&w);
    run_until(&w, w.now + 2 * DEADLINE);
    assert_state(a, "running");
    struct sch_action *b = child(&w, a, "b", &w.task);
    assert_state(b, "assigned"); /* there again */
    drain(&w, DEADLINE);         /* and another drain asks for what came meanwhile */
    (void)only(&w, SCH_EFFECT_GIVE_BACK, b);
    world_free(&w);
}
END_TEST

START_TEST(what_starts_although_it_was_asked_back_is_stopped_at_the_deadline)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    drain(&w, DEADLINE);
    (void)only(&w, SCH_EFFECT_GIVE_BACK, a);
    started(&w, a); /* that crossed */
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 0);
    tick_at(&w, w.now + DEADLINE);
    (void)only(&w, SCH_EFFECT_CANCEL, a);
    world_free(&w);
}
END_TEST

START_TEST(what_starts_after_the_deadline_is_stopped_at_once)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    drain(&w, DEADLINE);
    tick_at(&w, w.now + DEADLINE);
    (void)only(&w, SCH_EFFECT_GIVE_BACK, a);
    started(&w, a);
    (void)only(&w, SCH_EFFECT_CANCEL, a);
    world_free(&w);
}
END_TEST

/* Nothing that was asked on a stream is known to have arrived. */
START_TEST(a_cluster_that_comes_back_is_asked_for_what_it_names)
{
    struct world w = world_new();
    struct sch_action *runs = assigned(&w);
    struct sch_action *waits = child(&w, runs, "waits", &w.task);
    started(&w, runs);
    drain(&w, DEADLINE);
    down(&w, "east");
    tick_at(&w, w.now + 1);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 0);
    drain(&w, -1);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL) + count(&w, SCH_EFFECT_GIVE_BACK), 0);
    ck_assert(!sch_partition_cluster_out(w.p, "east").known);
    inventory(&w, "east", waits->id, 1, 5, false);
    (void)only(&w, SCH_EFFECT_GIVE_BACK, waits);
    inventory(&w, "east", runs->id, 1, 5, true);
    (void)only(&w, SCH_EFFECT_CANCEL, runs);
    complete(&w, "east");
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL) + count(&w, SCH_EFFECT_GIVE_BACK), 0);
    ck_assert(sch_partition_cluster_out(w.p, "east").known);
    world_free(&w);
}
END_TEST

START_TEST(a_cluster_that_is_away_at_the_deadline_is_not_told)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    started(&w, a);
    up(&w, "west");
    drain(&w, SY_NS_PER_S);
    down(&w, "east");
    tick_at(&w, w.now + SY_NS_PER_S);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 0);
    run_until(&w, w.now + LEASE); /* its lease is over: lost as ever */
    assert_state(a, "queued");
    ck_assert_uint_eq(a->system_failures, 1);
    world_free(&w);
}
END_TEST

/* A partition that has just been opened knows nothing, and learns what is out from the cluster. */
START_TEST(after_a_rebuild_the_inventory_is_asked_to_leave)
{
    struct world w = world_new();
    const char *expected[] = {"east"};
    struct sch_run *run = sch_partition_restore_run(w.p, 1, "p", "d", "run", 0, 0, 1, 0);
    struct sch_restore row = {
        .run_id = run->id, .action_id = 2, .name = "a0", .parent = "", .spec = &w.task};
    struct sch_action *a = sch_partition_restore_action(w.p, &row);
    sch_partition_restored(w.p, expected, 1, w.now);
    ck_assert(!sch_partition_cluster_out(w.p, "east").known);
    ck_assert(!sch_partition_cluster_out(w.p, "nobody").known);
    drain(&w, -1);
    inventory(&w, "east", a->id, 1, 4, true);
    (void)only(&w, SCH_EFFECT_CANCEL, a);
    complete(&w, "east");
    assert_out(&w, 0, 1);
    ck_assert(sch_partition_cluster_out(w.p, "nobody").known);
    world_free(&w);
}
END_TEST

/* ---- in slices ---- */

struct many {
    struct world w;
    struct sch_action *actions[MANY];
    unsigned asked[MANY]; /* how often */
};

static void note(struct many *m, enum sch_effect_type type)
{
    size_t asked = 0;
    for (size_t i = 0; i < m->w.fx.count; i++) {
        if (m->w.fx.items[i].type != type)
            continue;
        for (unsigned at = 0; at < MANY; at++)
            m->asked[at] += m->actions[at]->id == m->w.fx.items[i].u.cancel.action_id;
        asked++;
    }
    ck_assert_uint_le(asked, LOOKS);
    sch_partition_check(m->w.p);
}

static void settle(struct many *m, enum sch_effect_type type)
{
    note(m, type);
    while (sch_partition_next_ns(m->w.p) <= m->w.now) {
        tick_at(&m->w, m->w.now);
        note(m, type);
    }
}

START_TEST(many_are_asked_in_slices_whatever_starts_and_ends_meanwhile)
{
    struct sch_partition_options options = options_of(5);
    options.looks_max = LOOKS;
    struct many m = {.w = world_with(options)};
    struct sch_action *root = assigned(&m.w);
    started(&m.w, root);
    for (unsigned i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof(name), "a%u", i + 1);
        m.actions[i] = child(&m.w, root, name, &m.w.task);
        assert_state(m.actions[i], "assigned");
    }
    run_until(&m.w, m.w.now + SY_NS_PER_S);
    drain(&m.w, DEADLINE);
    note(&m, SCH_EFFECT_GIVE_BACK);
    unsigned first = 0;
    while (m.asked[first] == 0)
        first++;
    started(&m.w, m.actions[0]); /* neither was asked before */
    note(&m, SCH_EFFECT_GIVE_BACK);
    started(&m.w, m.actions[MANY - 1]); /* that one was */
    note(&m, SCH_EFFECT_GIVE_BACK);
    returned(&m.w, m.actions[first]);
    settle(&m, SCH_EFFECT_GIVE_BACK);
    ck_assert_uint_eq(m.asked[0], 0); /* it ran before its turn came */
    for (unsigned i = 1; i < MANY; i++)
        ck_assert_uint_eq(m.asked[i], 1);
    ck_assert_uint_eq(first, MANY - LOOKS); /* from the back */
    for (unsigned i = 0; i < MANY; i++) {
        if (sch_action_impl(m.actions[i])->base.sm.state == SCH_ACTION_ASSIGNED)
            started(&m.w, m.actions[i]);
    }
    memset(m.asked, 0, sizeof(m.asked));
    tick_at(&m.w, m.w.now + DEADLINE);
    settle(&m, SCH_EFFECT_CANCEL);
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_uint_eq(m.asked[i], i != first);
    world_free(&m.w);
}
END_TEST

START_TEST(what_comes_back_keeps_its_order)
{
    struct world w = world_new();
    const char *names[] = {"a", "b", "c"};
    struct sch_action *root = assigned(&w), *back[3];
    started(&w, root);
    for (size_t i = 0; i < 3; i++)
        (void)child(&w, root, names[i], &w.task);
    drain(&w, DEADLINE);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_GIVE_BACK), 3);
    for (size_t i = 0; i < 3; i++) /* as it was asked */
        back[i] = sch_partition_find_action_by_id(
            w.p, nth(&w, SCH_EFFECT_GIVE_BACK, i)->u.cancel.action_id);
    for (size_t i = 0; i < 3; i++)
        returned(&w, back[i]);
    up(&w, "west");
    complete(&w, "west");
    grant(&w, "west", sch_action_class_id(root), 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_str_eq(nth(&w, SCH_EFFECT_ASSIGN, i)->u.assign.action->name, names[i]);
    world_free(&w);
}
END_TEST

/* ---- gangs ---- */

#define SIZE 3u

static void gang(struct world *w, struct sch_action *root, struct sch_action *ret[SIZE])
{
    struct sch_gang_shape three = {.size = SIZE};
    struct sch_gang_member members[SIZE] = {
        {"g0", &w->task, NULL}, {"g1", &w->task, NULL}, {"g2", &w->task, NULL}};
    struct sch_event event = {.type = SCH_EVENT_ENQUEUE_GANG};
    event.u.gang.parent = root;
    event.u.gang.shape = &three;
    event.u.gang.members = members;
    event.u.gang.on_loss = SCH_ON_LOSS_RESTART_ALL;
    step(w, event);
    for (unsigned i = 0; i < SIZE; i++)
        ret[i] = sch_partition_find_action(w->p, root->run, members[i].name);
    grant(w, "east", sch_action_class_id(ret[0]), 1);
    run_until(w, w->now + 2 * SY_NS_PER_S);
    assert_state(ret[0], "assigned");
}

START_TEST(a_gang_that_waits_there_comes_back_whole)
{
    struct world w = world_new();
    struct sch_action *root = assigned(&w), *members[SIZE];
    started(&w, root);
    gang(&w, root, members);
    drain(&w, DEADLINE);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_GIVE_BACK), SIZE);
    returned(&w, members[1]);
    for (unsigned i = 0; i < SIZE; i++)
        ck_assert_uint_eq(members[i]->system_failures, 0);
    assert_state(members[0], "queued");
    assert_state(members[2], "gang_wait");
    const struct sch_action_impl *first = sch_action_impl(members[0]);
    ck_assert_int_eq(sch_action_class(first)->pairs[0]->avoided_until_ns, 0); /* it was asked for */
    world_free(&w);
}
END_TEST

START_TEST(a_gang_of_which_some_run_stays_until_the_deadline_and_is_stopped_whole)
{
    struct world w = world_new();
    struct sch_action *root = assigned(&w), *members[SIZE];
    started(&w, root);
    gang(&w, root, members);
    started(&w, members[0]);
    drain(&w, DEADLINE);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_GIVE_BACK), 0);
    started(&w, members[1]);
    tick_at(&w, w.now + DEADLINE);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_GIVE_BACK), 0);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 3); /* the root, and the two that run */
    outcome(&w, members[0], SCH_OUTCOME_PREEMPTED);
    assert_state(members[0], "queued"); /* at once: nobody else wants the room */
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 2);
    for (unsigned i = 0; i < SIZE; i++)
        ck_assert_uint_eq(members[i]->system_failures + members[i]->user_failures, 0);
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        what_has_not_started_is_asked_back_and_what_runs_is_stopped_at_the_deadline,
        without_a_deadline_nothing_is_ever_stopped,
        a_deadline_that_has_passed_stops_at_once,
        what_is_said_last_holds,
        what_takes_the_drain_back_lets_all_go_on,
        what_starts_although_it_was_asked_back_is_stopped_at_the_deadline,
        what_starts_after_the_deadline_is_stopped_at_once,
        a_cluster_that_comes_back_is_asked_for_what_it_names,
        a_cluster_that_is_away_at_the_deadline_is_not_told,
        after_a_rebuild_the_inventory_is_asked_to_leave,
        many_are_asked_in_slices_whatever_starts_and_ends_meanwhile,
        what_comes_back_keeps_its_order,
        a_gang_that_waits_there_comes_back_whole,
        a_gang_of_which_some_run_stays_until_the_deadline_and_is_stopped_whole,
        NULL};
    return sy_test_run("sch_drain", tests);
}
