/* links: cp */
/* A partition heeds that a cluster is drained: what it asks its operator for, and when. */
#pragma GCC diagnostic ignored "-Wcast-qual" /* protobuf-c's __INIT macros */

#include "tests/unit/cp_partition_world.h"

#include "controlplane/clusters.h"
#include "proto/pb.h"

#define NAMES 3

/* ---- registrations ---- */

static void on_changed(void *ctx)
{
    (void)ctx;
}

static void on_written(void *ctx, enum cp_coord_result result)
{
    *(enum cp_coord_result *)ctx = result;
}

/* Of "c1" only, with that standing; the partition has it from now on. */
static void say(struct world *w, cp_standing standing, int64_t deadline_ns)
{
    struct cp_coord *coord;
    enum cp_coord_result result = CP_COORD_UNKNOWN;
    cp_cluster_record record = SWITCHYARD__INTERNAL__REGION__CLUSTER_RECORD__INIT;
    struct sy_buf SY_CLEANUP(sy_buf_deinit) bytes = {0};
    record.standing = standing;
    record.drain_deadline_ns = deadline_ns;
    record.drain_asked_ns = deadline_ns > 1 ? 60 * SY_NS_PER_S : 0;
    pb_pack(&record.base, &bytes);
    cp_coord_none_new(&coord, w->operator_loop, NULL, &(struct cp_coord_sink){on_changed, w});
    struct cp_coord_op op = {CP_COORD_PUT, CP_CLUSTER_KEYS "c1", sy_buf_span(&bytes), CP_COORD_ANY};
    cp_coord_write(coord, &op, 1, on_written, &result);
    for (int i = 0; i < 3; i++)
        sy_loop_turn(w->operator_loop);
    ck_assert_int_eq(result, CP_COORD_DONE);
    const struct cp_roll *roll = cp_roll_new(coord, "r1");
    cp_partition_set_roll(w->p, roll);
    ck_assert_int_eq(cp_partition_registered_at(w->p), roll->clusters[0].revision);
    cp_roll_unref(roll);
    cp_coord_free(coord);
}

/* ---- what is there ---- */

static bool note_out(void *ctx, const struct cp_cluster_view *cluster)
{
    *(struct sch_cluster_out *)ctx = cluster->out;
    return true;
}

static void assert_out(struct world *w, uint64_t assigned, uint64_t running)
{
    struct sch_cluster_out out = {0};
    cp_partition_each_cluster(w->p, note_out, &out);
    ck_assert_uint_eq(out.assigned, assigned);
    ck_assert_uint_eq(out.running, running);
    ck_assert(out.known);
}

static struct world *world_with_work(void)
{
    struct world *w = world_new();
    struct answer answer;
    const struct cp_new_action actions[NAMES] = {
        {.name = "hold1"}, {.name = "hold2"}, {.name = "wait1"}};
    world_run(w, SY_NS_PER_S);
    create_run(w, "r", "", "switchyard.group", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    enqueue(w, "r", "a0", actions, NAMES, true, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_run(w, SY_NS_PER_S);
    assert_out(w, 1, 2);
    ck_assert_int_eq(cp_partition_registered_at(w->p), 0);
    return w;
}

/* ---- tests ---- */

START_TEST(what_waits_comes_back_and_what_runs_is_stopped_at_the_deadline)
{
    struct world *w = world_with_work();
    int64_t deadline_ns = w->now_ns + 60 * SY_NS_PER_S;
    say(w, CP_STANDING(DRAINING), deadline_ns);
    world_run(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->give_backs, 1);
    ck_assert_int_eq(action_phase(w, "r", "wait1"), PHASE(QUEUED));
    assert_out(w, 0, 2);
    world_run(w, deadline_ns - w->now_ns - SY_NS_PER_MS);
    ck_assert_uint_eq(w->cancels, 0);
    world_run(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->preempts, 2);
    ck_assert_uint_eq(w->cancels, 2);
    assert_out(w, 0, 0);
    size_t attempts = w->attempt_count;
    for (unsigned i = 1; i < NAMES; i++) {
        char name[8];
        snprintf(name, sizeof(name), "hold%u", i);
        ck_assert_int_eq(action_phase(w, "r", name), PHASE(QUEUED)); /* its retries are not used */
    }
    world_run(w, 60 * SY_NS_PER_S);
    ck_assert_uint_eq(w->attempt_count, attempts); /* nothing goes there */
    say(w, CP_STANDING(OPEN), 0);
    world_run(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->attempt_count, attempts + NAMES);
    assert_out(w, 1, 2);
    world_free(w);
}
END_TEST

START_TEST(without_a_deadline_what_runs_goes_on)
{
    struct world *w = world_with_work();
    say(w, CP_STANDING(DRAINING), 0);
    world_run(w, 3600 * SY_NS_PER_S);
    ck_assert_uint_eq(w->cancels, 0);
    assert_out(w, 0, 2);
    say(w, CP_STANDING(DRAINING), w->now_ns); /* until now, then */
    world_run(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->preempts, 2);
    world_free(w);
}
END_TEST

START_TEST(a_cordon_ends_the_drain_and_keeps_what_is_there)
{
    struct world *w = world_with_work();
    say(w, CP_STANDING(DRAINING), w->now_ns + 10 * SY_NS_PER_S);
    world_run(w, SY_NS_PER_S);
    say(w, CP_STANDING(CORDONED), 0);
    world_run(w, 60 * SY_NS_PER_S);
    ck_assert_uint_eq(w->cancels, 0);
    assert_out(w, 0, 2);
    ck_assert_int_eq(action_phase(w, "r", "wait1"), PHASE(QUEUED));
    world_free(w);
}
END_TEST

/* The shard dies and comes back, before the deadline or after it; so does the operator. */
START_TEST(a_drain_outlives_the_shard_and_the_operators_stream)
{
    for (int late = 0; late < 2; late++) {
        struct world *w = world_with_work();
        int64_t deadline_ns = w->now_ns + 60 * SY_NS_PER_S;
        say(w, CP_STANDING(DRAINING), deadline_ns);
        world_run(w, SY_NS_PER_S);
        world_crash(w);
        w->now_ns += late ? 120 * SY_NS_PER_S : 0;
        world_start(w);
        say(w, CP_STANDING(DRAINING), deadline_ns);
        world_run(w, 10 * SY_NS_PER_S);
        ck_assert_uint_eq(w->preempts, late ? 2 : 0);
        assert_out(w, 0, late ? 0 : 2);
        size_t attempts = w->attempt_count;
        sy_call_finish(w->call, NULL);
        world_run(w, 120 * SY_NS_PER_S);
        ck_assert_uint_ge(w->streams, 3);
        ck_assert_uint_eq(w->preempts, 2);
        ck_assert_uint_eq(w->attempt_count, attempts);
        assert_out(w, 0, 0);
        world_free(w);
    }
}
END_TEST

/* Whoever has heard of it goes by a clock that does not step; who hears of it then waits no longer
 * than was asked for. */
START_TEST(a_wall_clock_that_steps_moves_no_deadline)
{
    for (int ahead = -3600; ahead <= 3600; ahead += 7200) {
        struct world *w = world_with_work();
        int64_t deadline_ns = w->now_ns + 60 * SY_NS_PER_S;
        say(w, CP_STANDING(DRAINING), deadline_ns);
        world_run(w, SY_NS_PER_S);
        w->wall_ahead_ns = ahead * SY_NS_PER_S;
        sy_call_finish(w->call, NULL);
        world_run(w, 50 * SY_NS_PER_S);
        ck_assert_uint_ge(w->streams, 2);
        ck_assert_uint_eq(w->preempts, 0);
        world_run(w, 10 * SY_NS_PER_S);
        ck_assert_uint_eq(w->preempts, 2);
        world_free(w);
    }
    struct world *w = world_with_work();
    int64_t deadline_ns = w->now_ns + 60 * SY_NS_PER_S;
    say(w, CP_STANDING(DRAINING), deadline_ns);
    world_run(w, 10 * SY_NS_PER_S);
    world_crash(w);
    w->wall_ahead_ns = -3600 * SY_NS_PER_S;
    world_start(w);
    say(w, CP_STANDING(DRAINING), deadline_ns);
    world_run(w, 50 * SY_NS_PER_S);
    ck_assert_uint_eq(w->preempts, 0);
    world_run(w, 20 * SY_NS_PER_S);
    ck_assert_uint_eq(w->preempts, 2);
    world_free(w);
}
END_TEST

/* Its deadline is long over. */
START_TEST(who_comes_while_it_is_drained_is_asked_for_what_it_names)
{
    struct world *w = world_with_work();
    world_crash(w);
    world_start(w);
    say(w, CP_STANDING(DRAINING), 1);
    world_run(w, 10 * SY_NS_PER_S);
    ck_assert_uint_eq(w->give_backs, 1);
    ck_assert_uint_eq(w->preempts, 2);
    assert_out(w, 0, 0);
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_waits_comes_back_and_what_runs_is_stopped_at_the_deadline,
                                  without_a_deadline_what_runs_goes_on,
                                  a_cordon_ends_the_drain_and_keeps_what_is_there,
                                  a_drain_outlives_the_shard_and_the_operators_stream,
                                  a_wall_clock_that_steps_moves_no_deadline,
                                  who_comes_while_it_is_drained_is_asked_for_what_it_names,
                                  NULL};
    return sy_test_run("cp_drain", tests);
}
