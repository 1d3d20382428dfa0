/* links: cp sy_test_etcd */
#include "tests/unit/cp_region_world.h"

#include "controlplane/partition_impl.h"
#include "controlplane/shard_impl.h"

#include "switchyard/v1/region_service.pb-c.h"

/* ---- tests ---- */

START_TEST(any_shard_takes_any_call)
{
    struct world *w = &world;
    open_world(w, 1);
    for (size_t i = 0; i < 60; i++)
        create_some(w, i % SHARDS);
    run_for(w, 200 * MS);
    for (size_t i = 0; i < 60; i++)
        expect_ok(w, &w->calls[i]);
    check_runs(w);
    for (size_t i = 0; i < 9; i++) { /* with names that the shard that is asked makes */
        struct call *c = create(w, i % SHARDS, NULL);
        expect_ok(w, c);
        expect_ok(w, read_run(w, (i + 1) % SHARDS, c->run));
    }
    struct call *c = read_run(w, 1, "no-such-run");
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_NOT_FOUND);
    close_world(w);
}
END_TEST

START_TEST(what_a_dead_shard_had_others_take)
{
    struct world *w = &world;
    open_world(w, 2);
    for (size_t i = 0; i < 60; i++)
        create_some(w, i % SHARDS);
    run_for(w, 200 * MS);
    int64_t killed_ns = w->now_ns;
    kill_shard(w, 1);
    UNTIL(w, even(w, 2));
    ck_assert_int_lt(w->now_ns - killed_ns, 3500 * MS);
    check_runs(w);
    ck_assert_uint_eq(cp_shard_peers(w->shards[0].shard), 2); /* who has left is let go of */
    start_shard(w, 1);
    UNTIL(w, even(w, 3)); /* and is given some of it again */
    ck_assert_uint_eq(cp_shard_peers(w->shards[0].shard), 3);
    check_runs(w);
    close_world(w);
}
END_TEST

/* Where its process is known to have ended, nobody waits for its session; who comes after it under
 * its name neither. One that stands still has not ended. */
START_TEST(what_a_process_had_that_ended_others_take_at_once)
{
    struct world *w = &world;
    with_witnesses = true;
    open_world(w, 3);
    for (size_t i = 0; i < 60; i++)
        create_some(w, i % SHARDS);
    run_for(w, 200 * MS);
    int64_t killed_ns = w->now_ns;
    kill_shard(w, 1);
    UNTIL(w, even(w, 2));
    ck_assert_int_lt(w->now_ns - killed_ns, 300 * MS);
    check_runs(w);
    start_shard(w, 1);
    UNTIL(w, even(w, 3));
    killed_ns = w->now_ns;
    kill_shard(w, 2);
    start_shard(w, 2);
    UNTIL(w, even(w, 3));
    ck_assert_int_lt(w->now_ns - killed_ns, 1800 * MS); /* it settles for one second of that */
    w->shards[0].paused = true;
    size_t owned = owned_by(w, 1) + owned_by(w, 2);
    run_for(w, 1500 * MS);
    ck_assert_uint_eq(owned_by(w, 1) + owned_by(w, 2), owned);
    w->shards[0].paused = false;
    check_runs(w);
    close_world(w);
    with_witnesses = false;
}
END_TEST

/* A shard leaves, and comes back, while clients call the others: none of them fails, or waits long.
 */
START_TEST(a_planned_move_is_not_seen)
{
    struct world *w = &world;
    open_world(w, 3);
    int64_t longest_ns = 0;
    struct shard *s = &w->shards[2];
    for (size_t i = 0; i < 300; i++) {
        if (i == 50)
            cp_shard_stop(s->shard, SY_NS_PER_S, on_stopped, s);
        if (s->stopped && s->shard != NULL && i < 150)
            cp_shard_free(sy_take(s->shard));
        if (i == 150)
            start_shard(w, 2);
        create_some(w, i % 2);
        run_for(w, 20 * MS);
    }
    UNTIL(w, even(w, 3));
    for (size_t i = 0; i < 300; i++) {
        struct call *c = &w->calls[i];
        expect_ok(w, c);
        longest_ns = c->ended_ns - c->begun_ns > longest_ns ? c->ended_ns - c->begun_ns
                                                            : longest_ns;
    }
    ck_assert_int_lt(longest_ns, 500 * MS);
    ck_assert(s->shard != NULL && owned_by(w, 2) == PARTITIONS / 3);
    close_world(w);
}
END_TEST

/* Calls are on their way to a shard at each moment of its leaving. */
START_TEST(a_shard_that_leaves_fails_no_call)
{
    struct world *w = &world;
    open_world(w, 7);
    struct shard *s = &w->shards[2];
    for (size_t i = 0; i < 300; i++) {
        if (i == 50)
            cp_shard_stop(s->shard, SY_NS_PER_S, on_stopped, s);
        create_some(w, i % 2);
        run_for(w, MS / 10);
    }
    UNTIL(w, s->stopped);
    for (size_t i = 0; i < 300; i++)
        expect_ok(w, &w->calls[i]);
    cp_shard_free(sy_take(s->shard));
    check_runs(w);
    close_world(w);
}
END_TEST

/* It goes on after its session is over and others have all that it had, with its stores open and
 * commits in flight, and finds that it has no right any more. */
START_TEST(a_shard_that_stood_still_says_nothing)
{
    for (uint64_t seed = 40; seed < 60; seed++) {
        struct world *w = &world;
        open_world(w, seed);
        for (size_t i = 0; i < PARTITIONS; i++) {
            cp_mem_disk_set(w->disks[i].disk, 100 * MS, -1);
            cp_mem_disk_keep_in_flight(w->disks[i].disk, seed % 2 == 0);
        }
        for (size_t i = 0; i < 30; i++)
            create_some(w, 0);
        run_for(w, (int64_t)sy_rng_below(&w->rng, 150 * MS));
        w->shards[0].paused = true;
        int64_t paused_ns = w->now_ns;
        UNTIL(w, owned_by(w, 1) + owned_by(w, 2) == PARTITIONS);
        ck_assert_int_lt(w->now_ns - paused_ns, 3500 * MS);
        for (size_t i = 0; i < 30; i++)
            create_some(w, 1 + i % 2);
        run_for(w, SY_NS_PER_S);
        uint64_t commits[PARTITIONS];
        for (uint32_t i = 0; i < PARTITIONS; i++)
            commits[i] = cp_partition_commits(cp_shard_partition(w->shards[0].shard, i));
        w->shards[0].paused = false;
        run_for(w, MS);
        for (uint32_t i = 0; i < PARTITIONS; i++) {
            struct cp_partition *p = cp_shard_partition(w->shards[0].shard, i);
            ck_assert(!cp_partition_serving(p));
            ck_assert_uint_eq(cp_partition_commits(p), commits[i]);
        }
        UNTIL(w, even(w, 3));
        for (size_t i = 0; i < 60; i++)
            UNTIL(w, w->calls[i].call == NULL);
        for (size_t i = 30; i < 60; i++)
            expect_ok(w, &w->calls[i]);
        check_runs(w);
        close_world(w);
    }
}
END_TEST

/* Without an etcd it serves nothing, and ends when it is told to. */
/* Answered when it serves there. */
static struct call *move_to(struct world *w, uint32_t partition, size_t to)
{
    Switchyard__V1__MovePartitionRequest m = SWITCHYARD__V1__MOVE_PARTITION_REQUEST__INIT;
    m.partition = partition;
    m.shard = w->shards[to].name;
    struct call *c = send_call(w, 0, "/switchyard.v1.RegionService/MovePartition", &m.base);
    c->reads = true;
    return c;
}

/* A lane says only now and then that it does not serve any more; by then it is to serve again. */
START_TEST(what_was_heard_of_an_earlier_tenure_is_not_taken_for_this_one)
{
    struct world *w = &world;
    open_world(w, 5);
    struct cp_shard *shard = w->shards[0].shard;
    uint32_t p = 0;
    while (!cp_shard_serves(shard, p))
        p++;
    const struct cp_lane *lane = &shard->lanes[p];
    uint32_t epoch = lane->owned.epoch;
    expect_ok(w, move_to(w, p, 1));
    ck_assert(lane->serving.heard && !cp_shard_serves(shard, p));
    w->stuck = w->shards[0].loops[p + 1];
    struct call *c = move_to(w, p, 0);
    UNTIL(w, lane->owned.wanted && lane->owned.epoch > epoch);
    run_for(w, 100 * MS);
    ck_assert(lane->serving.heard && !cp_shard_serves(shard, p));
    ck_assert_ptr_nonnull(c->call);
    w->stuck = NULL;
    expect_ok(w, c);
    ck_assert(cp_partition_serving(cp_shard_partition(shard, p)));
    close_world(w);
}
END_TEST

START_TEST(a_shard_that_finds_no_etcd_waits_and_can_be_stopped)
{
    struct world *w = &world;
    open_world(w, 5);
    struct shard *s = &w->shards[1];
    kill_shard(w, 1);
    fake_etcd_set_quorum(w->etcd, false);
    start_shard(w, 1);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert_uint_eq(owned_by(w, 0) + owned_by(w, 1) + owned_by(w, 2), 0);
    struct call *c = create_some(w, 1);
    run_for(w, CP_ASK_WAIT_NS + SY_NS_PER_S);
    ck_assert(c->call == NULL && c->code == SY_CODE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(c->text, "no shard has partition"));
    cp_shard_stop(s->shard, SY_NS_PER_S, on_stopped, s);
    UNTIL(w, s->stopped);
    cp_shard_free(sy_take(s->shard));
    fake_etcd_set_quorum(w->etcd, true);
    UNTIL(w, even(w, 2));
    close_world(w);
}
END_TEST

static void storm(uint64_t seed)
{
    struct world *w = &world;
    open_world(w, seed);
    for (int step = 0; step < 150; step++) {
        if (sy_rng_chance(&w->rng, 1, 5))
            storm_step(w);
        for (size_t i = 0; i < SHARDS; i++)
            if (w->shards[i].shard != NULL && w->call_count < CALLS / 2)
                create_some(w, i);
        run_for(w, (int64_t)sy_rng_below(&w->rng, 400 * MS));
    }
    heal(w);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert(even(w, SHARDS));
    for (size_t i = 0; i < w->call_count; i++)
        ck_assert_msg(w->calls[i].call == NULL,
                      "seed %llu: run %s, begun %lld ms ago: its call has no end",
                      (unsigned long long)seed, w->calls[i].run,
                      (long long)((w->now_ns - w->calls[i].begun_ns) / MS));
    check_runs(w);
    close_world(w);
}

START_TEST(nothing_is_lost_whatever_fails)
{
    struct seeds seeds = storm_seeds(10);
    for (uint64_t i = 0; i < seeds.count; i++)
        storm(seeds.first + i);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {any_shard_takes_any_call,
                                  what_a_dead_shard_had_others_take,
                                  what_a_process_had_that_ended_others_take_at_once,
                                  a_planned_move_is_not_seen,
                                  a_shard_that_leaves_fails_no_call,
                                  a_shard_that_stood_still_says_nothing,
                                  what_was_heard_of_an_earlier_tenure_is_not_taken_for_this_one,
                                  a_shard_that_finds_no_etcd_waits_and_can_be_stopped,
                                  nothing_is_lost_whatever_fails,
                                  NULL};
    return sy_test_run("region", tests);
}
