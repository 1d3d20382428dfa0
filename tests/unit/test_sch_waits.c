/* links: sch */
/* What an action may wait for besides room: a signal, a slot of its run, another's result, time. */
#include "tests/unit/test_sch_world.h"

#define S SY_NS_PER_S
#define SHELL ((void *)(uintptr_t)0x5e11)

static const uint8_t key_a[SCH_CACHE_KEY_BYTES] = {1}, key_b[SCH_CACHE_KEY_BYTES] = {2};

/* ---- conditions ---- */

static struct sch_action *condition(struct world *w, struct sch_action *parent, const char *name,
                                    int64_t timeout_ns)
{
    step(w, (struct sch_event){
                .type = SCH_EVENT_CONDITION,
                .u.condition = {
                    .parent = parent, .name = name, .timeout_ns = timeout_ns, .shell = SHELL}});
    sch_partition_check(w->p);
    return sch_partition_find_action(w->p, parent->run, name);
}

static void signal_to(struct world *w, struct sch_action *a)
{
    step(w,
         (struct sch_event){.type = SCH_EVENT_SIGNAL, .u.signal = {.action = a, .shell = SHELL}});
    sch_partition_check(w->p);
}

START_TEST(a_signal_ends_a_condition)
{
    struct world w = world_new();
    struct sch_action *root = assigned(&w);
    run_until(&w, w.now + S); /* demand is told */
    struct sch_action *c = condition(&w, root, "gate", 0);
    assert_state(c, "paused");
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_CREATED, 0)->u.created.shell, SHELL);
    ck_assert(!nth(&w, SCH_EFFECT_CREATED, 0)->u.created.ends);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_EVENT, 0)->u.event.state, SCH_ACTION_PAUSED);
    ck_assert_int_eq(sch_partition_next_ns(w.p), SY_TIME_NEVER);
    ck_assert_uint_eq(sch_partition_counts(w.p).paused, 1);
    signal_to(&w, root); /* not a condition */
    ck_assert_uint_eq(w.fx.count, 0);
    signal_to(&w, c);
    const struct sch_effect *final = nth(&w, SCH_EFFECT_FINISHED, 0);
    ck_assert_int_eq(final->u.final.state, SCH_ACTION_SUCCEEDED);
    ck_assert_ptr_eq(final->u.final.shell, SHELL);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_CHILD_FINISHED, 0)->u.child.sequence, 1);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_CHILD_FINISHED, 0)->u.child.parent->number, 1);
    /* Names are taken, parents end, aborts and timeouts work, as for any child. */
    condition(&w, root, "late", 5 * S);
    condition(&w, root, "late", 5 * S);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_REJECTED, 0)->u.rejected.why, SCH_REJECT_EXISTS);
    run_until(&w, w.now + 5 * S - 1);
    ck_assert_uint_eq(root->children_live, 1);
    tick_at(&w, w.now + 1);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "ConditionTimeout");
    ck_assert_int_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.state, SCH_ACTION_TIMED_OUT);
    condition(&w, root, "aborted", 5 * S);
    outcome(&w, root, SCH_OUTCOME_SUCCEEDED);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.action->name, "aborted");
    ck_assert_int_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.state, SCH_ACTION_ABORTED);
    world_free(&w);
}
END_TEST

/* ---- what ends at once ---- */

START_TEST(an_instant_action_ends_in_its_step)
{
    struct world w = world_new();
    struct sch_spec hit = {.request = {.cpu_milli = 1 << 30}, .deadline_ns = S};
    struct sch_action *root = assigned(&w);
    step(&w,
         (struct sch_event){
             .type = SCH_EVENT_ENQUEUE,
             .u.enqueue = {
                 .parent = root, .name = "hit", .spec = &hit, .instant = true, .shell = SHELL}});
    sch_partition_check(w.p);
    const enum sch_effect_type types[] = {SCH_EFFECT_CREATED, SCH_EFFECT_EVENT,
                                          SCH_EFFECT_CHILD_FINISHED, SCH_EFFECT_FINISHED,
                                          SCH_EFFECT_SPEC_UNUSED};
    ck_assert_uint_eq(w.fx.count, SY_COUNT_OF(types));
    for (size_t i = 0; i < w.fx.count; i++)
        ck_assert_int_eq(w.fx.items[i].type, types[i]);
    ck_assert(w.fx.items[0].u.created.ends);
    ck_assert_int_eq(w.fx.items[1].u.event.state, SCH_ACTION_SUCCEEDED);
    ck_assert_ptr_eq(w.fx.items[3].u.final.shell, SHELL);
    ck_assert(!w.fx.items[3].u.final.report && w.fx.items[3].u.final.action->number == 0);
    ck_assert_uint_eq(root->run->actions_total, 2);
    /* a whole run */
    step(&w, (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                                .u.create = {.project = "p",
                                             .domain = "d",
                                             .name = "known",
                                             .spec = &hit,
                                             .concurrency_max = 2,
                                             .instant = true,
                                             .shell = SHELL}});
    ck_assert_int_eq(nth(&w, SCH_EFFECT_RUN_FINISHED, 0)->u.final.state, SCH_ACTION_SUCCEEDED);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_RUN_FINISHED, 0)->u.final.shell, SHELL);
    ck_assert_ptr_null(sch_partition_find_run(w.p, "p", "d", "known"));
    world_free(&w);
}
END_TEST

/* ---- cache keys ---- */

static struct sch_action *keyed(struct world *w, struct sch_action *parent, const char *name,
                                const uint8_t *key)
{
    step(w, (struct sch_event){
                .type = SCH_EVENT_ENQUEUE,
                .u.enqueue = {.parent = parent, .name = name, .spec = &w->task, .cache_key = key}});
    sch_partition_check(w->p);
    return sch_partition_find_action(w->p, parent->run, name);
}

START_TEST(one_produces_the_others_wait)
{
    struct world w = world_new();
    struct sch_action *root = assigned(&w), *other = create(&w, "other", &w.group);
    struct sch_action *first = keyed(&w, root, "first", key_a);
    struct sch_action *b = keyed(&w, root, "b", key_b);
    struct sch_action *second = keyed(&w, other, "second", key_a); /* another run */
    keyed(&w, root, "third", key_a);
    step(&w, (struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = other});
    assert_state(first, "assigned");
    assert_state(b, "assigned");
    assert_state(second, "cache_wait");
    ck_assert_ptr_eq(sch_action_producer(second), first);
    ck_assert_ptr_null(sch_action_producer(first));
    ck_assert_uint_eq(sch_partition_counts(w.p).cache_waiting, 2);
    outcome(&w, first, SCH_OUTCOME_SUCCEEDED);
    sch_partition_check(w.p);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 4);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.action->name, "first");
    ck_assert_ptr_null(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.reused);
    const struct sch_effect *waited = nth(&w, SCH_EFFECT_FINISHED, 1);
    ck_assert_str_eq(waited->u.final.action->name, "second");
    ck_assert_int_eq(waited->u.final.state, SCH_ACTION_SUCCEEDED);
    ck_assert_ptr_eq(waited->u.final.reused, first);
    ck_assert_ptr_null(waited->u.final.report);
    ck_assert_ptr_null(nth(&w, SCH_EFFECT_FINISHED, 2)->u.final.reused); /* the group */
    ck_assert_uint_eq(count(&w, SCH_EFFECT_RUN_FINISHED), 1);
    /* The key is free again. */
    assert_state(keyed(&w, root, "fourth", key_a), "assigned");
    world_free(&w);
}
END_TEST

START_TEST(when_the_producer_fails_the_next_one_runs)
{
    struct world w = world_new();
    struct sch_action *root = assigned(&w);
    struct sch_action *one = keyed(&w, root, "1", key_a), *two = keyed(&w, root, "2", key_a);
    struct sch_action *three = keyed(&w, root, "3", key_a), *four = keyed(&w, root, "4", key_a);
    outcome(&w, one, SCH_OUTCOME_LOST); /* tried again: still the producer */
    outcome(&w, one, SCH_OUTCOME_LOST);
    assert_state(one, "backoff");
    assert_state(two, "cache_wait");
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = one});
    assert_state(two, "assigned");
    ck_assert_ptr_eq(sch_action_producer(three), two);
    outcome(&w, two, SCH_OUTCOME_FAILED);
    sch_partition_check(w.p);
    assert_state(three, "assigned");
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = four});
    sch_partition_check(w.p);
    /* Those that wait are not started by the abort of all. */
    keyed(&w, root, "5", key_a);
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = root});
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 3);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 0);
    world_free(&w);
}
END_TEST

/* ---- slots ---- */

static struct sch_action *limited(struct world *w, uint32_t max)
{
    up(w, "east");
    complete(w, "east");
    step(w, (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                               .u.create = {.project = "p",
                                            .domain = "d",
                                            .name = "run",
                                            .spec = &w->task,
                                            .concurrency_max = max}});
    struct sch_action *root = nth(w, SCH_EFFECT_CREATED, 0)->u.created.action;
    grant(w, "east", sch_action_class_id(root), 1000);
    return root;
}

static struct sch_action *prioritized(struct world *w, struct sch_action *parent, const char *name,
                                      int32_t priority)
{
    step(w, (struct sch_event){
                .type = SCH_EVENT_ENQUEUE,
                .u.enqueue = {
                    .parent = parent, .name = name, .spec = &w->task, .priority = priority}});
    sch_partition_check(w->p);
    return sch_partition_find_action(w->p, parent->run, name);
}

START_TEST(a_run_keeps_its_limit)
{
    struct world w = world_new();
    struct sch_action *root = limited(&w, 3);
    struct sch_action *a = prioritized(&w, root, "a", 0), *b = prioritized(&w, root, "b", 0);
    struct sch_action *c = prioritized(&w, root, "c", 0), *d = prioritized(&w, root, "d", 0);
    struct sch_action *urgent = prioritized(&w, root, "urgent", 9);
    struct sch_action *gate = condition(&w, root, "gate", 0); /* needs no slot */
    assert_state(b, "assigned");
    assert_state(c, "held");
    assert_state(gate, "paused");
    ck_assert_uint_eq(sch_partition_counts(w.p).held, 3);
    const struct sch_run *run = root->run;
    ck_assert_uint_eq(run->concurrency_used, 3);
    ck_assert_uint_eq(run->concurrency_held, 3);
    ck_assert_uint_eq(run->concurrency_parents, 1);
    outcome(&w, a, SCH_OUTCOME_SUCCEEDED); /* one ends, one starts, in the same step */
    sch_partition_check(w.p);
    assert_state(urgent, "assigned");
    assert_state(c, "held");
    outcome(&w, b, SCH_OUTCOME_LOST); /* at once again: it keeps its slot */
    assert_state(b, "assigned");
    outcome(&w, b, SCH_OUTCOME_LOST);
    assert_state(b, "backoff");
    sch_partition_check(w.p);
    assert_state(c, "assigned");
    run_until(&w, w.now + S); /* b waits again: after d, which waits longer */
    assert_state(b, "held");
    outcome(&w, c, SCH_OUTCOME_SUCCEEDED);
    assert_state(d, "assigned");
    assert_state(b, "held");
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = b});
    sch_partition_check(w.p);
    prioritized(&w, root, "e", 0);
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = root});
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 0);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 3);
    world_free(&w);
}
END_TEST

START_TEST(a_run_that_is_stuck_can_be_explained)
{
    struct world w = world_new();
    struct sch_action *root = limited(&w, 2), *mid = child(&w, root, "mid", &w.task);
    struct sch_action *leaf = child(&w, mid, "leaf", &w.task);
    assert_state(leaf, "held");
    const struct sch_run *run = root->run;
    ck_assert_uint_eq(run->concurrency_used, run->concurrency_max);
    ck_assert_uint_eq(run->concurrency_used, run->concurrency_parents);
    ck_assert_uint_eq(run->concurrency_held, 1);
    outcome(&w, mid, SCH_OUTCOME_SUCCEEDED); /* it did not wait after all */
    ck_assert_uint_eq(run->concurrency_parents, 0);
    ck_assert_uint_eq(run->concurrency_used, 1);
    world_free(&w);
}
END_TEST

/* Let in before the cluster had told what it has, and not in a queue when it has. */
START_TEST(what_waits_elsewhere_may_turn_out_infeasible)
{
    struct world w = world_new();
    w.task.request.cpu_milli = 9000; /* its nodes have 8 cores */
    up(&w, "east");
    step(&w, (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                                .u.create = {.project = "p",
                                             .domain = "d",
                                             .name = "run",
                                             .spec = &w.group,
                                             .concurrency_max = 2}});
    struct sch_action *root = nth(&w, SCH_EFFECT_CREATED, 0)->u.created.action;
    for (int i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof(name), "held%d", i);
        child(&w, root, name, &w.task);
    }
    struct sch_action *other = create(&w, "other", &w.group);
    w.task.request.cpu_milli = 10000; /* another class */
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof(name), "key%d", i);
        keyed(&w, other, name, key_a);
    }
    ck_assert_uint_eq(sch_partition_counts(w.p).queued, 3);
    complete(&w, "east");
    run_until(&w, w.now + 10 * S);
    ck_assert_uint_eq(root->children_failed, 5);
    ck_assert_uint_eq(other->children_failed, 3);
    world_free(&w);
}
END_TEST

/* ---- time ---- */

START_TEST(waiting_counts_wherever_it_happens)
{
    struct world w = world_new();
    struct sch_action *root = limited(&w, 2);
    started(&w, root);
    started(&w, child(&w, root, "a", &w.task));
    w.task.queued_timeout_ns = 5 * S;
    struct sch_action *held = child(&w, root, "held", &w.task);
    struct sch_action *other = create(&w, "other", &w.group);
    started(&w, keyed(&w, other, "producer", key_a));
    struct sch_action *waits = keyed(&w, other, "waits", key_a);
    assert_state(held, "held");
    assert_state(waits, "cache_wait");
    run_until(&w, w.now + 5 * S - 1);
    assert_state(held, "held");
    tick_at(&w, w.now + 1);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 2);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, i)->u.final.code, "QueuedTimeout");
        ck_assert_int_eq(nth(&w, SCH_EFFECT_FINISHED, i)->u.final.state, SCH_ACTION_TIMED_OUT);
    }
    world_free(&w);
}
END_TEST

/* Also what was assigned may wait, at its cluster or node; what has started does not. */
START_TEST(assigned_is_not_started)
{
    struct world w = world_new();
    struct sch_action *root = limited(&w, 4);
    started(&w, root);
    w.task.queued_timeout_ns = 5 * S;
    struct sch_action *waits = child(&w, root, "waits", &w.task);
    struct sch_action *runs = child(&w, root, "runs", &w.task);
    started(&w, runs);
    assert_state(waits, "assigned");
    tick_at(&w, w.now + 5 * S);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 1);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "QueuedTimeout");
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 1);
    assert_state(runs, "running");
    world_free(&w);
}
END_TEST

/* From creation to the end, over attempts, backoffs and waiting; whatever it does is stopped. */
START_TEST(a_deadline_ends_it)
{
    struct world w = world_new();
    w.task.retries = 9;
    w.task.backoff_ns = 3 * S;
    w.task.deadline_ns = 8 * S;
    struct sch_action *root = assigned(&w), *c = child(&w, root, "c", &w.group);
    int64_t begin = w.now;
    started(&w, root);
    run_until(&w, begin + 3 * S);
    outcome(&w, root, SCH_OUTCOME_FAILED);
    assert_state(root, "backoff");
    ck_assert_int_eq(root->queued_at_ns, w.now + 3 * S);
    run_until(&w, begin + 8 * S - 1);
    assert_state(root, "assigned");
    assert_state(c, "group");
    sch_partition_check(w.p);
    tick_at(&w, begin + 8 * S);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 2);
    const struct sch_effect *final = nth(&w, SCH_EFFECT_RUN_FINISHED, 0);
    ck_assert_int_eq(final->u.final.state, SCH_ACTION_TIMED_OUT);
    ck_assert_str_eq(final->u.final.code, "DeadlineExceeded");
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_CANCEL, 0)->u.cancel.number, 2);
    /* in a backoff, and in the queue, which has no timeout of its own */
    w.task.backoff_ns = 60 * S;
    struct sch_action *b = create(&w, "b", &w.task);
    outcome(&w, b, SCH_OUTCOME_FAILED);
    assert_state(b, "backoff");
    down(&w, "east");
    create(&w, "q", &w.task);
    tick_at(&w, w.now + 8 * S);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_RUN_FINISHED), 2);
    world_free(&w);
}
END_TEST

START_TEST(backoffs_grow_to_their_cap)
{
    static const int64_t want_ms[] = {100, 150, 225, 300, 300};
    struct world w = world_new();
    w.task.retries = 30;
    w.task.backoff_ns = 100 * SY_NS_PER_MS;
    w.task.backoff_factor_milli = 1500;
    w.task.backoff_cap_ns = 300 * SY_NS_PER_MS;
    struct sch_action *a = assigned(&w);
    for (size_t i = 0; i < SY_COUNT_OF(want_ms); i++) {
        outcome(&w, a, SCH_OUTCOME_FAILED);
        ck_assert_int_eq(a->queued_at_ns - w.now, want_ms[i] * SY_NS_PER_MS);
        run_until(&w, a->queued_at_ns);
    }
    /* without a cap a day is the cap, and nothing overflows on the way */
    w.task.backoff_factor_milli = UINT32_MAX;
    w.task.backoff_cap_ns = 0;
    outcome(&w, a, SCH_OUTCOME_FAILED);
    ck_assert_int_eq(a->queued_at_ns - w.now, 86400 * S);
    world_free(&w);
}
END_TEST

/* ---- restarts ---- */

#define OLD_RUN ((4ull << 40) | 1)

static struct sch_action *restored(struct world *w, uint64_t id, const char *name,
                                   struct sch_spec *spec, const uint8_t *key, int64_t timeout_ns)
{
    struct sch_restore r = {.run_id = OLD_RUN,
                            .action_id = (4ull << 40) | id,
                            .name = name,
                            .parent = strcmp(name, "a0") == 0 ? "" : "a0",
                            .spec = spec,
                            .created_ns = 1000 * S,
                            .realtime_ns = 1006 * S, /* six seconds have passed */
                            .timeout_ns = timeout_ns,
                            .cache_key = key};
    return sch_partition_restore_action(w->p, &r);
}

START_TEST(a_restart_keeps_conditions_and_deadlines)
{
    struct world w = world_new();
    struct sch_spec late = w.task, past = w.task;
    late.deadline_ns = 10 * S;
    past.deadline_ns = 5 * S;
    sch_partition_restore_run(w.p, OLD_RUN, "p", "d", "run", 0, 9, 5, 0);
    struct sch_action *root = restored(&w, 2, "a0", &w.task, NULL, 0);
    struct sch_action *gate = restored(&w, 3, "gate", NULL, NULL, 0);
    restored(&w, 4, "timed", NULL, NULL, 7 * S);
    restored(&w, 5, "late", &late, NULL, 0);
    restored(&w, 6, "past", &past, NULL, 0);
    const char *expected[] = {"east"};
    sch_partition_restored(w.p, expected, 1, w.now);
    sch_partition_check(w.p);
    assert_state(gate, "paused");
    tick_at(&w, w.now);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.action->name, "past");
    run_until(&w, w.now + S - 1);
    ck_assert_uint_eq(root->children_live, 3);
    tick_at(&w, w.now + 1);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.action->name, "timed");
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "ConditionTimeout");
    tick_at(&w, w.now + 3 * S);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.action->name, "late");
    signal_to(&w, gate);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 1);
    ck_assert_uint_eq(root->children_live, 0);
    world_free(&w);
}
END_TEST

START_TEST(a_restart_keeps_the_producer)
{
    struct world w = world_new();
    sch_partition_restore_run(w.p, OLD_RUN, "p", "d", "run", 0, 9, 5, 0);
    struct sch_action *root = restored(&w, 2, "a0", &w.group, NULL, 0);
    struct sch_action *third = restored(&w, 9, "third", &w.task, key_a, 0);
    struct sch_action *first = restored(&w, 4, "first", &w.task, key_a, 0);
    struct sch_action *second = restored(&w, 6, "second", &w.task, key_a, 0);
    const char *expected[] = {"east"};
    sch_partition_restored(w.p, expected, 1, w.now);
    sch_partition_check(w.p);
    assert_state(first, "recovering");
    assert_state(second, "cache_wait");
    ck_assert_ptr_eq(sch_action_producer(third), first);
    assert_state(keyed(&w, root, "new", key_a), "cache_wait");
    up(&w, "east");
    inventory(&w, "east", second->id, 1, 4, true); /* it cannot be */
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 1);
    step(&w, report(SCH_EVENT_OUTCOME, "east", first->id, 1, 4, SCH_OUTCOME_FAILED));
    sch_partition_check(w.p);
    assert_state(second, "queued"); /* it waits for room, not for the recovery */
    grant(&w, "east", 1, 1);
    outcome(&w, second, SCH_OUTCOME_SUCCEEDED);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 3);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 2)->u.final.action->name, "new");
    world_free(&w);
}
END_TEST

START_TEST(a_restart_keeps_the_limit)
{
    struct world w = world_new();
    sch_partition_restore_run(w.p, OLD_RUN, "p", "d", "run", 0, 9, 5, 2);
    struct sch_action *root = restored(&w, 2, "a0", &w.group, NULL, 0);
    struct sch_action *a = restored(&w, 3, "a", &w.task, NULL, 0);
    struct sch_action *b = restored(&w, 4, "b", &w.task, NULL, 0);
    struct sch_action *c = restored(&w, 5, "c", &w.task, NULL, 0);
    struct sch_action *d = restored(&w, 6, "d", &w.task, NULL, 0);
    const char *expected[] = {"east"};
    sch_partition_restored(w.p, expected, 1, w.now);
    /* Nothing new before it is known who has the slots. */
    assert_state(child(&w, root, "new", &w.task), "held");
    sch_partition_check(w.p);
    up(&w, "east");
    grant(&w, "east", 1, 100);
    inventory(&w, "east", b->id, 1, 4, true);
    assert_state(b, "running");
    step(&w, report(SCH_EVENT_OUTCOME, "east", a->id, 1, 4, SCH_OUTCOME_LOST));
    assert_state(a, "held");
    sch_partition_check(w.p);
    complete(&w, "east"); /* c and d in their order, before the others */
    sch_partition_check(w.p);
    assert_state(c, "assigned");
    assert_state(d, "held");
    outcome(&w, b, SCH_OUTCOME_SUCCEEDED);
    assert_state(d, "assigned");
    ck_assert_uint_eq(root->run->concurrency_held, 2);
    world_free(&w);
    /* with no cluster to wait for */
    w = world_new();
    sch_partition_restore_run(w.p, OLD_RUN, "p", "d", "run", 0, 9, 5, 2);
    restored(&w, 2, "a0", &w.group, NULL, 0);
    restored(&w, 3, "a", &w.task, NULL, 0);
    restored(&w, 4, "b", &w.task, NULL, 0);
    restored(&w, 5, "c", &w.task, NULL, 0);
    sch_partition_restored(w.p, NULL, 0, w.now);
    ck_assert_uint_eq(sch_partition_counts(w.p).queued, 2);
    ck_assert_uint_eq(sch_partition_counts(w.p).held, 1);
    world_free(&w);
}
END_TEST

/* It may end before it is whole; and with everything in it. */
START_TEST(nothing_leaks_when_it_is_thrown_away)
{
    struct world w = world_new();
    sch_partition_restore_run(w.p, OLD_RUN, "p", "d", "run", 0, 9, 5, 2);
    restored(&w, 2, "a0", &w.group, key_a, 0);
    restored(&w, 3, "a", &w.task, key_a, 0);
    sch_partition_free(w.p);
    sch_effects_deinit(&w.fx);
    w = world_new();
    struct sch_action *root = limited(&w, 2);
    keyed(&w, root, "a", key_a);
    keyed(&w, root, "b", key_a);
    keyed(&w, root, "c", key_b);
    condition(&w, root, "d", S);
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_signal_ends_a_condition,
                                  an_instant_action_ends_in_its_step,
                                  one_produces_the_others_wait,
                                  when_the_producer_fails_the_next_one_runs,
                                  a_run_keeps_its_limit,
                                  a_run_that_is_stuck_can_be_explained,
                                  what_waits_elsewhere_may_turn_out_infeasible,
                                  waiting_counts_wherever_it_happens,
                                  assigned_is_not_started,
                                  a_deadline_ends_it,
                                  backoffs_grow_to_their_cap,
                                  a_restart_keeps_conditions_and_deadlines,
                                  a_restart_keeps_the_producer,
                                  a_restart_keeps_the_limit,
                                  nothing_leaks_when_it_is_thrown_away,
                                  NULL};
    return sy_test_run("sch_waits", tests);
}
