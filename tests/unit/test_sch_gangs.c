/* links: sch */
/* Gangs in a partition: they wait, go out, are lost and end as one. */
#include "scheduler/explain.h"
#include "scheduler/partition_route.h"
#include "tests/unit/test_sch_world.h"

#define SIZE 3u

static struct sch_spec one_core(void)
{
    return (struct sch_spec){.request = {.cpu_milli = 1000}};
}

struct gang {
    struct sch_action *members[SIZE];
};

static void enqueue_as(struct world *w, struct sch_action *parent, struct sch_spec *spec,
                       enum sch_on_loss on_loss)
{
    static const struct sch_gang_shape pair = {.size = SIZE};
    const struct sch_gang_member members[] = {
        {.name = "m0", .spec = spec}, {.name = "m1", .spec = spec}, {.name = "m2", .spec = spec}};
    step(w,
         (struct sch_event){
             .type = SCH_EVENT_ENQUEUE_GANG,
             .u.gang = {.parent = parent, .shape = &pair, .on_loss = on_loss, .members = members}});
}

static struct gang find(struct world *w, struct sch_action *parent)
{
    static const char *const names[] = {"m0", "m1", "m2"};
    struct gang gang;
    for (unsigned i = 0; i < SIZE; i++)
        gang.members[i] = sch_partition_find_action(w->p, parent->run, names[i]);
    return gang;
}

/* "east" and "west" are ready, and the root waits for children. */
static struct sch_action *ready(struct world *w)
{
    up(w, "east");
    up(w, "west");
    complete(w, "east");
    complete(w, "west");
    return create(w, "run", &w->group);
}

static struct gang enqueue(struct world *w, struct sch_action *parent, struct sch_spec *spec,
                           enum sch_on_loss on_loss)
{
    enqueue_as(w, parent, spec, on_loss);
    ck_assert_uint_eq(count(w, SCH_EFFECT_CREATED), SIZE);
    return find(w, parent);
}

static void answer(struct world *w, const char *cluster, const struct gang *gang, uint64_t granted,
                   uint64_t startable)
{
    step(w, (struct sch_event){.type = SCH_EVENT_GRANT,
                               .u.grant = {.cluster = cluster,
                                           .class_id = sch_action_class_id(gang->members[0]),
                                           .granted = granted,
                                           .startable = startable}});
}

/* Out on "east". */
static struct gang assigned_gang(struct world *w, struct sch_action *parent, struct sch_spec *spec,
                                 enum sch_on_loss on_loss)
{
    struct gang gang = enqueue(w, parent, spec, on_loss);
    answer(w, "east", &gang, 1, 1);
    for (unsigned i = 0; i < SIZE; i++)
        assert_state(gang.members[i], "assigned");
    return gang;
}

static void assert_waits(const struct gang *gang)
{
    assert_state(gang->members[0], "queued");
    for (unsigned i = 1; i < SIZE; i++)
        assert_state(gang->members[i], "gang_wait");
}

static const struct sch_effect *final_of(const struct world *w, const struct sch_action *a)
{
    for (size_t i = 0; i < w->fx.count; i++) {
        if (w->fx.items[i].type == SCH_EFFECT_FINISHED && w->fx.items[i].u.final.action == a)
            return &w->fx.items[i];
    }
    ck_abort_msg("it has not ended");
}

START_TEST(a_grant_sends_all_of_them_to_one_cluster)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct sch_action *root = ready(&w);
    struct gang gang = enqueue(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    assert_waits(&gang);
    const struct sch_effect *demand = nth(&w, SCH_EFFECT_DEMAND, 0);
    ck_assert_uint_eq(demand->u.demand.waiting, 1); /* gangs, not members */
    ck_assert_uint_eq(demand->u.demand.gang->size, SIZE);
    answer(&w, "west", &gang, 1, 1);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), SIZE);
    for (unsigned i = 0; i < SIZE; i++) {
        struct sch_gang_view view;
        ck_assert_str_eq(nth(&w, SCH_EFFECT_ASSIGN, i)->u.assign.cluster, "west");
        ck_assert_ptr_eq(nth(&w, SCH_EFFECT_ASSIGN, i)->u.assign.action, gang.members[i]);
        ck_assert(sch_action_gang(gang.members[i], &view));
        ck_assert(view.rank == i && view.id == gang.members[0]->id);
    }
    sch_partition_check(w.p);
    for (unsigned i = 0; i < SIZE; i++)
        outcome(&w, gang.members[i], SCH_OUTCOME_SUCCEEDED);
    step(&w, (struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = root});
    ck_assert_int_eq(nth(&w, SCH_EFFECT_RUN_FINISHED, 0)->u.final.state, SCH_ACTION_SUCCEEDED);
    world_free(&w);
}
END_TEST

/* A cluster that has room now is worth waiting for, but not for ever. */
START_TEST(a_busy_cluster_gets_it_when_the_others_have_answered_or_are_silent)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct sch_action *root = ready(&w);
    struct gang gang = enqueue(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    answer(&w, "east", &gang, 1, 0);
    assert_waits(&gang);
    answer(&w, "west", &gang, 1, 1);
    ck_assert_str_eq(sch_cluster_name(gang.members[0]->cluster), "west");

    struct sch_action *other = create(&w, "other", &w.group);
    struct gang second = enqueue(&w, other, &spec, SCH_ON_LOSS_RESTART_ALL);
    assert_waits(&second); /* what "east" said before does not count */
    answer(&w, "east", &second, 1, 0);
    assert_waits(&second);
    answer(&w, "west", &second, 2, 2);
    assert_state(second.members[2], "assigned");

    struct sch_action *last = create(&w, "last", &w.group);
    struct gang third = enqueue(&w, last, &spec, SCH_ON_LOSS_RESTART_ALL);
    answer(&w, "east", &third, 9, 0);
    assert_waits(&third);
    run_until(&w, w.now + SCH_GANG_PATIENCE_NS / 2);
    (void)enqueue(&w, create(&w, "later", &w.group), &spec, SCH_ON_LOSS_RESTART_ALL);
    assert_waits(&third);
    run_until(&w, w.now + SCH_GANG_PATIENCE_NS / 2); /* those who come later make it no longer */
    assert_state(third.members[1], "assigned");
    world_free(&w);
}
END_TEST

START_TEST(one_that_was_given_back_goes_to_another_cluster_next)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct sch_action *root = ready(&w);
    struct gang gang = assigned_gang(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    struct sch_event back = report(SCH_EVENT_RETURNED, "east", gang.members[1]->id, 1, 5, 0);
    step(&w, back);
    assert_waits(&gang);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), SIZE - 1);
    for (unsigned i = 0; i < SIZE; i++) {
        ck_assert_uint_eq(gang.members[i]->attempts, 0); /* nobody has seen one */
        ck_assert_uint_eq(gang.members[i]->system_failures, 0);
    }
    answer(&w, "east", &gang, 2, 0);
    answer(&w, "west", &gang, 1, 0);
    for (unsigned i = 0; i < SIZE; i++)
        ck_assert_str_eq(sch_cluster_name(gang.members[i]->cluster), "west");
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

/* A loss there, below the number at which a cluster is avoided, does not take that back. */
START_TEST(one_loss_ends_no_avoidance)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct sch_action *root = ready(&w);
    struct gang gang = assigned_gang(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    struct sch_action_impl *a = sch_action_impl(gang.members[1]);
    struct sch_pair *east = sch_action_class(a)->pairs[a->base.cluster->index];
    step(&w, report(SCH_EVENT_RETURNED, "east", a->base.id, 1, 5, 0));
    int64_t until_ns = east->avoided_until_ns;
    ck_assert_int_gt(until_ns, w.now);
    sch_pair_report(w.p, east->class, east->cluster, false);
    ck_assert_int_eq(east->avoided_until_ns, until_ns);
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

START_TEST(a_loss_restarts_all_and_is_counted_once)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct sch_action *root = ready(&w);
    struct gang gang = assigned_gang(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    for (unsigned i = 0; i < SIZE; i++)
        started(&w, gang.members[i]);
    outcome(&w, gang.members[2], SCH_OUTCOME_LOST);
    assert_waits(&gang);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), SIZE - 1);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_UPDATED), SIZE);
    for (unsigned i = 0; i < SIZE; i++) {
        ck_assert_uint_eq(gang.members[i]->system_failures, 1);
        ck_assert_uint_eq(gang.members[i]->attempts, 1);
    }
    /* The second of the same node was lost as well: that is known already. */
    step(&w, report(SCH_EVENT_OUTCOME, "east", gang.members[1]->id, 1, 5, SCH_OUTCOME_LOST));
    ck_assert_uint_eq(gang.members[1]->system_failures, 1);
    answer(&w, "east", &gang, 2, 2);
    ck_assert_uint_eq(sch_action_attempt(gang.members[0]), 2);
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

START_TEST(a_lost_cluster_loses_a_gang_once)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct sch_action *root = ready(&w);
    struct gang gang = assigned_gang(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    down(&w, "east");
    run_until(&w, w.now + LEASE);
    assert_waits(&gang);
    ck_assert_uint_eq(gang.members[0]->system_failures, 1);
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

START_TEST(fail_all_ends_them_and_names_the_cause)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    spec.retries = 5; /* for nothing */
    struct sch_action *root = ready(&w);
    struct gang gang = assigned_gang(&w, root, &spec, SCH_ON_LOSS_FAIL_ALL);
    outcome(&w, gang.members[1], SCH_OUTCOME_LOST);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), SIZE);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), SIZE - 1);
    ck_assert_str_eq(final_of(&w, gang.members[1])->u.final.code, "Lost");
    for (unsigned i = 0; i < SIZE; i += 2) {
        const struct sch_effect *final = final_of(&w, gang.members[i]);
        ck_assert_int_eq(final->u.final.state, SCH_ACTION_FAILED);
        ck_assert_str_eq(final->u.final.code, "GangMemberFailed");
        ck_assert_ptr_nonnull(strstr(final->u.final.message, "'m1' (rank 1)"));
        ck_assert_ptr_null(final->u.final.report);
    }
    world_free(&w);
}
END_TEST

START_TEST(a_users_error_uses_one_retry_of_the_gang)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    spec.retries = 1;
    spec.backoff_ns = SY_NS_PER_S;
    struct sch_action *root = ready(&w);
    struct gang gang = assigned_gang(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    outcome(&w, gang.members[0], SCH_OUTCOME_FAILED);
    for (unsigned i = 0; i < SIZE; i++) {
        assert_state(gang.members[i], "backoff");
        ck_assert_uint_eq(gang.members[i]->user_failures, 1);
    }
    sch_partition_check(w.p);
    run_until(&w, w.now + SY_NS_PER_S);
    assert_waits(&gang);
    answer(&w, "east", &gang, 2, 2);
    outcome(&w, gang.members[2], SCH_OUTCOME_FAILED);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), SIZE);
    ck_assert_ptr_nonnull(final_of(&w, gang.members[2])->u.final.report);
    ck_assert_str_eq(final_of(&w, gang.members[0])->u.final.code, "GangMemberFailed");
    world_free(&w);
}
END_TEST

START_TEST(what_has_succeeded_cannot_be_restarted)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct sch_action *root = ready(&w);
    struct gang gang = assigned_gang(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    outcome(&w, gang.members[0], SCH_OUTCOME_SUCCEEDED);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 1);
    outcome(&w, gang.members[1], SCH_OUTCOME_LOST);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 2);
    ck_assert_str_eq(final_of(&w, gang.members[2])->u.final.code, "GangMemberFailed");
    world_free(&w);
}
END_TEST

START_TEST(an_abort_or_a_timeout_of_one_is_that_of_all)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct sch_action *root = ready(&w);
    struct gang gang = assigned_gang(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = gang.members[1]});
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), SIZE);
    for (unsigned i = 0; i < SIZE; i++)
        ck_assert_int_eq(final_of(&w, gang.members[i])->u.final.state, SCH_ACTION_ABORTED);

    spec.queued_timeout_ns = SY_NS_PER_S;
    gang = enqueue(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    tick_at(&w, w.now + SY_NS_PER_S);
    for (unsigned i = 0; i < SIZE; i++)
        ck_assert_str_eq(final_of(&w, gang.members[i])->u.final.code, "QueuedTimeout");
    world_free(&w);
}
END_TEST

START_TEST(it_counts_whole_against_limits_and_lets_others_pass)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct sch_queue_config config = sch_queue_config_default(
        &(struct sch_queue_key){.project = "p", .domain = "d", .name = "default"});
    config.actions_max = SIZE;
    struct sch_action *root = ready(&w);
    step(&w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
    struct sch_action *small = child(&w, root, "small", &w.task);
    grant(&w, "east", sch_action_class_id(small), 9);
    assert_state(small, "assigned");
    struct gang gang = enqueue(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    answer(&w, "east", &gang, 1, 1);
    assert_waits(&gang); /* one is out: there is room for two */
    struct sch_action *behind = child(&w, root, "behind", &w.task);
    assert_state(behind, "assigned");
    outcome(&w, small, SCH_OUTCOME_SUCCEEDED);
    assert_waits(&gang);
    outcome(&w, behind, SCH_OUTCOME_SUCCEEDED);
    assert_state(gang.members[0], "assigned");
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

START_TEST(a_run_with_slots_gives_them_all_at_once)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    (void)ready(&w);
    step(&w, (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                                .u.create = {.project = "p",
                                             .domain = "d",
                                             .name = "narrow",
                                             .concurrency_max = SIZE,
                                             .spec = &w.group}});
    struct sch_action *root = nth(&w, SCH_EFFECT_CREATED, 0)->u.created.action;
    struct sch_action *small = child(&w, root, "small", &w.task);
    struct gang gang = enqueue(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    for (unsigned i = 0; i < SIZE; i++)
        assert_state(gang.members[i], "held");
    sch_partition_check(w.p);
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = small});
    assert_waits(&gang);
    ck_assert_uint_eq(root->run->concurrency_used, SIZE);
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

START_TEST(what_no_cluster_could_hold_is_refused)
{
    struct world w = world_new();
    struct sch_spec spec = {.request = {.cpu_milli = 6000}}; /* one on each of two nodes */
    struct sch_action *root = ready(&w);
    enqueue_as(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    const struct sch_effect *rejected = nth(&w, SCH_EFFECT_REJECTED, 0);
    ck_assert_int_eq(rejected->u.rejected.why, SCH_REJECT_INFEASIBLE);
    ck_assert_ptr_nonnull(strstr(rejected->u.rejected.text,
                                 "cluster east: 3 x (6.000 cores) asked together, it holds 2"));
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CREATED), 0);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_SPEC_UNUSED), 1);

    step(&w, (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                                .u.create = {.project = "p",
                                             .domain = "d",
                                             .name = "narrow",
                                             .concurrency_max = 2,
                                             .spec = &w.group}});
    root = nth(&w, SCH_EFFECT_CREATED, 0)->u.created.action;
    spec = one_core();
    enqueue_as(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    ck_assert_ptr_nonnull(strstr(nth(&w, SCH_EFFECT_REJECTED, 0)->u.rejected.text, "at most 2"));

    struct sch_action *taken = child(&w, root, "m2", &w.task);
    spec.request.cpu_milli = 10;
    root->run->concurrency_max = 2;
    enqueue_as(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_REJECTED, 0)->u.rejected.why, SCH_REJECT_EXISTS);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_REJECTED, 0)->u.rejected.action, taken);
    world_free(&w);
}
END_TEST

/* ---- after a restart ---- */

#define OLD_ID(n) ((4ull << 40) | (n))

/* Members by rank; those that `left` says have ended before. `numbers`: what their rows know of;
 * NULL: of no attempt. */
static struct gang restore_at(struct world *w, struct sch_spec *spec, enum sch_on_loss on_loss,
                              const bool left[SIZE], const uint32_t numbers[SIZE])
{
    static const char *const names[] = {"m0", "m1", "m2"}, *const clusters[] = {"east", "west"};
    static const struct sch_gang_shape shape_of_three = {.size = SIZE};
    struct gang gang = {0};
    sch_partition_restore_run(w->p, OLD_ID(1), "p", "d", "run", 0, 9, 4, 0);
    struct sch_restore root = {
        .run_id = OLD_ID(1), .action_id = OLD_ID(2), .name = "a0", .spec = &w->group};
    sch_partition_restore_action(w->p, &root);
    for (uint32_t i = 0; i < SIZE; i++) {
        struct sch_gang_view view = {
            .id = OLD_ID(3), .rank = i, .shape = &shape_of_three, .on_loss = on_loss};
        struct sch_restore r = {.run_id = OLD_ID(1),
                                .action_id = OLD_ID(3 + i),
                                .name = names[i],
                                .parent = "a0",
                                .spec = spec,
                                .number = numbers ? numbers[i] : 0,
                                .gang = &view};
        if (!left || !left[i])
            gang.members[i] = sch_partition_restore_action(w->p, &r);
    }
    sch_partition_restored(w->p, clusters, 2, w->now);
    sch_partition_check(w->p);
    return gang;
}

static struct gang restore(struct world *w, struct sch_spec *spec, enum sch_on_loss on_loss,
                           const bool left[SIZE])
{
    return restore_at(w, spec, on_loss, left, NULL);
}

/* The row of a member is written anew when its children change, those of the others are not. */
START_TEST(members_know_of_the_same_attempts)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct gang gang = restore_at(&w, &spec, SCH_ON_LOSS_RESTART_ALL, NULL,
                                  (const uint32_t[SIZE]){4, 7, 4});
    for (unsigned i = 0; i < SIZE; i++)
        ck_assert_uint_eq(gang.members[i]->ended, 7);
    up(&w, "east");
    for (uint32_t i = 0; i < SIZE; i++)
        inventory(&w, "east", OLD_ID(3 + i), 8, 4, true);
    complete(&w, "east");
    run_until(&w, w.now + WAIT);
    for (unsigned i = 0; i < SIZE; i++)
        assert_state(gang.members[i], "running");
    world_free(&w);
}
END_TEST

START_TEST(members_are_adopted_one_by_one)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct gang gang = restore(&w, &spec, SCH_ON_LOSS_RESTART_ALL, NULL);
    up(&w, "east");
    for (uint32_t i = 0; i < SIZE; i++)
        inventory(&w, "east", OLD_ID(3 + i), 1, 4, true);
    complete(&w, "east");
    run_until(&w, w.now + WAIT);
    for (unsigned i = 0; i < SIZE; i++)
        assert_state(gang.members[i], "running");
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

START_TEST(a_gang_of_which_a_part_is_out_is_lost)
{
    for (int fails = 0; fails < 2; fails++) {
        struct world w = world_new();
        struct sch_spec spec = one_core();
        struct gang gang = restore(&w, &spec,
                                   fails ? SCH_ON_LOSS_FAIL_ALL : SCH_ON_LOSS_RESTART_ALL, NULL);
        up(&w, "east");
        inventory(&w, "east", OLD_ID(3), 1, 4, true);
        inventory(&w, "east", OLD_ID(5), 1, 4, true);
        complete(&w, "east");
        run_until(&w, w.now + WAIT);
        if (fails) {
            ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), SIZE);
        } else {
            assert_waits(&gang);
            ck_assert_uint_eq(gang.members[0]->system_failures, 1);
        }
        ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), 2);
        sch_partition_check(w.p);
        world_free(&w);
    }
}
END_TEST

START_TEST(a_gang_that_nobody_has_waits_again)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct gang gang = restore(&w, &spec, SCH_ON_LOSS_RESTART_ALL, NULL);
    up(&w, "south");
    run_until(&w, w.now + WAIT);
    assert_waits(&gang);
    ck_assert_uint_eq(gang.members[0]->system_failures, 0);
    world_free(&w);
}
END_TEST

/* Two attempts of it, of which each cluster still has a part. */
START_TEST(a_gang_in_two_clusters_is_lost)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct gang gang = restore(&w, &spec, SCH_ON_LOSS_RESTART_ALL, NULL);
    up(&w, "east");
    up(&w, "west");
    for (uint32_t i = 0; i < SIZE; i++)
        inventory(&w, "east", OLD_ID(3 + i), 1, 4, true);
    inventory(&w, "west", OLD_ID(4), 2, 4, true);
    complete(&w, "east");
    complete(&w, "west");
    assert_waits(&gang);
    ck_assert_uint_eq(gang.members[0]->ended, 2); /* the next number is above both */
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

START_TEST(the_rest_of_one_that_began_to_succeed_fails_in_the_first_step)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    bool left[SIZE] = {true, false, false};
    struct gang gang = restore(&w, &spec, SCH_ON_LOSS_RESTART_ALL, left);
    up(&w, "south");
    run_until(&w, w.now + WAIT);
    ck_assert_str_eq(final_of(&w, gang.members[1])->u.final.code, "Lost");
    ck_assert_str_eq(final_of(&w, gang.members[2])->u.final.code, "GangMemberFailed");
    world_free(&w);
}
END_TEST

/* The first stands in the queue for all of them, so it is its place that is told. */
START_TEST(each_member_says_why_the_gang_waits)
{
    struct world w = world_new();
    struct sch_spec spec = one_core();
    struct sch_action *root = ready(&w);
    struct gang gang = enqueue(&w, root, &spec, SCH_ON_LOSS_RESTART_ALL);
    for (unsigned i = 0; i < SIZE; i++) {
        struct sch_explanation *e = sch_explain(w.p, gang.members[i]);
        ck_assert(e->waits && e->state == SCH_ACTION_QUEUED);
        ck_assert_uint_eq(e->ahead.own, 0);
        sch_explanation_free(e);
    }
    world_free(&w);
}
END_TEST

START_TEST(contradictory_options_are_refused)
{
    struct sch_gang_shape gang;
    struct sy_error_text error;
    char long_key[80];
    memset(long_key, 'k', sizeof(long_key));
    long_key[79] = '\0';
    ck_assert_int_eq(sch_gang_shape_init(&gang, 2, SCH_TOPOLOGY_REQUIRE, "rack", 0, &error), 0);
    ck_assert(gang.size == 2 && strcmp(gang.key, "rack") == 0);
    ck_assert_int_eq(sch_gang_shape_init(&gang, 1, 0, "", 0, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "1 members, expected 2 to 1024"));
    ck_assert_int_eq(sch_gang_shape_init(&gang, 1025, 0, "", 0, &error), -EINVAL);
    ck_assert_int_eq(sch_gang_shape_init(&gang, 2, SCH_TOPOLOGY_PREFER, "", 0, &error), -EINVAL);
    ck_assert_int_eq(sch_gang_shape_init(&gang, 2, SCH_TOPOLOGY_NONE, "rack", 0, &error), -EINVAL);
    ck_assert_int_eq(sch_gang_shape_init(&gang, 2, 3, "rack", 0, &error), -EINVAL);
    ck_assert_int_eq(sch_gang_shape_init(&gang, 2, 1, "rack", 2, &error), -EINVAL);
    ck_assert_int_eq(sch_gang_shape_init(&gang, 2, 1, long_key, 0, &error), -EINVAL);
}
END_TEST

/* ---- preemption ---- */

static void configure(struct world *w, const char *name, bool preemptible, int32_t priority)
{
    struct sch_queue_key key = {.project = "p", .domain = "d"};
    snprintf(key.name, sizeof(key.name), "%s", name);
    struct sch_queue_config config = sch_queue_config_default(&key);
    config.preemptible = preemptible;
    config.priority = priority;
    step(w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
}

static struct world world_that_reclaims(void)
{
    struct sch_partition_options options = options_of(5);
    options.reclaim_delay_ns = SY_NS_PER_S;
    struct world w = world_with(options);
    configure(&w, "spare", true, 0);
    configure(&w, "firm", false, 0);
    return w;
}

static struct gang enqueue_in(struct world *w, const char *run, const char *queue,
                              struct sch_spec *spec, enum sch_on_loss on_loss)
{
    static const struct sch_gang_shape three = {.size = SIZE};
    const struct sch_gang_member members[] = {
        {.name = "m0", .spec = spec}, {.name = "m1", .spec = spec}, {.name = "m2", .spec = spec}};
    struct sch_action *root = create(w, run, &w->group);
    step(w, (struct sch_event){.type = SCH_EVENT_ENQUEUE_GANG,
                               .u.gang = {.parent = root,
                                          .shape = &three,
                                          .on_loss = on_loss,
                                          .members = members,
                                          .queue = queue}});
    return find(w, root);
}

/* The next one within so long; NULL: none. */
static const struct sch_effect *reclaim_within(struct world *w, int64_t ns)
{
    int64_t until = w->now + ns, next;
    while ((next = sch_partition_next_ns(w->p)) <= until) {
        tick_at(w, next > w->now ? next : w->now);
        if (count(w, SCH_EFFECT_RECLAIM) > 0)
            return nth(w, SCH_EFFECT_RECLAIM, 0);
    }
    w->now = until;
    return NULL;
}

START_TEST(one_that_is_stopped_for_others_waits_again_whole)
{
    struct world w = world_that_reclaims();
    struct sch_spec spec = one_core();
    up(&w, "east");
    complete(&w, "east");
    struct gang gang = enqueue_in(&w, "run", "spare", &spec, SCH_ON_LOSS_RESTART_ALL);
    answer(&w, "east", &gang, 1, 1);
    uint32_t tag = nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.queue;
    for (unsigned i = 0; i < SIZE; i++) {
        ck_assert_uint_eq(nth(&w, SCH_EFFECT_ASSIGN, i)->u.assign.queue, tag);
        ck_assert_uint_ne(tag, 0);
    }
    for (unsigned i = 0; i < SIZE; i++)
        started(&w, gang.members[i]);
    outcome(&w, gang.members[1], SCH_OUTCOME_PREEMPTED);
    for (unsigned i = 0; i < SIZE; i++)
        assert_state(gang.members[i], "backoff"); /* those for whom it was stopped come first */
    ck_assert_uint_eq(count(&w, SCH_EFFECT_CANCEL), SIZE - 1);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_EVENT), SIZE);
    for (unsigned i = 0; i < SIZE; i++) {
        const struct sch_effect *event = nth(&w, SCH_EFFECT_EVENT, i);
        ck_assert_str_eq(event->u.event.code, "Preempted");
        ck_assert_ptr_nonnull(strstr(event->u.event.message, "make room for others"));
        ck_assert(gang.members[i]->user_failures == 0 && gang.members[i]->system_failures == 0);
    }
    sch_partition_check(w.p);
    run_until(&w, w.now + 2 * SY_NS_PER_S);
    assert_waits(&gang);
    /* One that is not to be restarted is not stopped. */
    struct gang brittle = enqueue_in(&w, "brittle", "spare", &spec, SCH_ON_LOSS_FAIL_ALL);
    answer(&w, "east", &gang, 3, 3);
    assert_state(brittle.members[0], "assigned");
    for (size_t i = 0; i < count(&w, SCH_EFFECT_ASSIGN); i++) {
        const struct sch_effect *assign = nth(&w, SCH_EFFECT_ASSIGN, i);
        bool of_brittle = assign->u.assign.action->run == brittle.members[0]->run;
        ck_assert_uint_eq(assign->u.assign.queue, of_brittle ? 0 : tag);
    }
    world_free(&w);
}
END_TEST

/* Only as long as it waits, and the branch that loses keeps as much as it has itself then. */
START_TEST(others_are_stopped_for_one_that_waits_in_its_cluster)
{
    struct world w = world_that_reclaims();
    struct sch_spec spec = one_core();
    up(&w, "east");
    complete(&w, "east");
    struct sch_action *spare[5];
    for (unsigned i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof(name), "s%u", i);
        step(
            &w,
            (struct sch_event){
                .type = SCH_EVENT_CREATE_RUN,
                .u.create = {
                    .project = "p", .domain = "d", .name = name, .spec = &spec, .queue = "spare"}});
        struct sch_run *run = sch_partition_find_run(w.p, "p", "d", name);
        spare[i] = sch_partition_find_action(w.p, run, "a0");
    }
    grant(&w, "east", sch_action_class_id(spare[0]), 5);
    assert_state(spare[4], "assigned");
    struct gang gang = enqueue_in(&w, "run", "firm", &spec, SCH_ON_LOSS_RESTART_ALL);
    answer(&w, "east", &gang, 1, 0);
    run_until(&w, w.now + SCH_GANG_PATIENCE_NS);
    assert_state(gang.members[2], "assigned");
    ck_assert_ptr_null(reclaim_within(&w, 5 * SY_NS_PER_S)); /* 5 - 3 is less than 3 */

    configure(&w, "firm", false, 1);
    const struct sch_effect *effect = reclaim_within(&w, 5 * SY_NS_PER_S);
    ck_assert_ptr_nonnull(effect);
    ck_assert_str_eq(effect->u.reclaim.cluster, "east");
    ck_assert_uint_eq(effect->u.reclaim.gang_id, gang.members[0]->id);
    ck_assert_uint_eq(effect->u.reclaim.class_id, sch_action_class_id(gang.members[0]));
    ck_assert_uint_eq(effect->u.reclaim.queues[0].below.cpu_milli, UINT64_MAX);
    ck_assert_ptr_nonnull(reclaim_within(&w, 2 * SY_NS_PER_S)); /* and again */

    configure(&w, "firm", false, 0);
    ck_assert_ptr_null(reclaim_within(&w, 5 * SY_NS_PER_S));
    for (unsigned i = 0; i < SIZE; i++) /* it has them now, so they count */
        started(&w, gang.members[i]);
    configure(&w, "firm", false, 1);
    ck_assert_ptr_null(reclaim_within(&w, 5 * SY_NS_PER_S));
    world_free(&w);
}
END_TEST

/* What the branch of a gang may lose is told, to the core: 6 of spare's 9 are beyond firm's 3. */
START_TEST(how_much_a_branch_can_spare_is_told)
{
    struct world w = world_that_reclaims();
    struct sch_spec spec = one_core(), wide = {.request = {.cpu_milli = 3000}};
    up(&w, "east");
    complete(&w, "east");
    struct gang spare = enqueue_in(&w, "run", "spare", &wide, SCH_ON_LOSS_RESTART_ALL);
    answer(&w, "east", &spare, 1, 1);
    struct gang gang = enqueue_in(&w, "other", "firm", &spec, SCH_ON_LOSS_RESTART_ALL);
    answer(&w, "east", &gang, 1, 0);
    run_until(&w, w.now + SCH_GANG_PATIENCE_NS);
    assert_state(gang.members[2], "assigned");
    ck_assert_ptr_null(
        reclaim_within(&w, 5 * SY_NS_PER_S)); /* spare has not started: it has none */
    for (unsigned i = 0; i < SIZE; i++)
        started(&w, spare.members[i]);
    const struct sch_effect *effect = reclaim_within(&w, 5 * SY_NS_PER_S);
    ck_assert_ptr_nonnull(effect);
    ck_assert_uint_eq(effect->u.reclaim.queues[0].below.cpu_milli, 6001);
    ck_assert_uint_eq(effect->u.reclaim.queues[0].below.memory_bytes, 0);
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_grant_sends_all_of_them_to_one_cluster,
        a_busy_cluster_gets_it_when_the_others_have_answered_or_are_silent,
        one_that_was_given_back_goes_to_another_cluster_next,
        one_loss_ends_no_avoidance,
        a_loss_restarts_all_and_is_counted_once,
        a_lost_cluster_loses_a_gang_once,
        fail_all_ends_them_and_names_the_cause,
        a_users_error_uses_one_retry_of_the_gang,
        what_has_succeeded_cannot_be_restarted,
        an_abort_or_a_timeout_of_one_is_that_of_all,
        it_counts_whole_against_limits_and_lets_others_pass,
        a_run_with_slots_gives_them_all_at_once,
        what_no_cluster_could_hold_is_refused,
        members_know_of_the_same_attempts,
        members_are_adopted_one_by_one,
        a_gang_of_which_a_part_is_out_is_lost,
        a_gang_that_nobody_has_waits_again,
        a_gang_in_two_clusters_is_lost,
        the_rest_of_one_that_began_to_succeed_fails_in_the_first_step,
        each_member_says_why_the_gang_waits,
        contradictory_options_are_refused,
        one_that_is_stopped_for_others_waits_again_whole,
        others_are_stopped_for_one_that_waits_in_its_cluster,
        how_much_a_branch_can_spare_is_told,
        NULL,
    };
    return sy_test_run("sch_gangs", tests);
}
