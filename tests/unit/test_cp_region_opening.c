/* links: cp sy_test_etcd */
/* A partition whose opening hangs on a slow disk: the thread that opens it stands still. */
#include "tests/unit/cp_region_world.h"

#include "controlplane/shard_impl.h"

#include "switchyard/v1/region_service.pb-c.h"

#define PATIENCE_NS (5 * SY_NS_PER_S)

static bool serves(const struct world *w, size_t shard, uint32_t partition)
{
    const struct shard *s = &w->shards[shard];
    return s->shard != NULL && cp_partition_serving(cp_shard_partition(s->shard, partition));
}

static bool served(const struct world *w, uint32_t partition)
{
    return serves(w, 0, partition) || serves(w, 1, partition) || serves(w, 2, partition);
}

/* Whose loop it is that does not turn, and of which partition. */
static size_t find_stuck(const struct world *w, uint32_t *ret_partition)
{
    for (size_t i = 0; i < SHARDS; i++) {
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            *ret_partition = p;
            if (w->shards[i].loops[p + 1] == w->stuck)
                return i;
        }
    }
    return SHARDS;
}

static const char *trouble(const struct world *w, size_t shard, uint32_t partition)
{
    return w->shards[shard].shard->lanes[partition].owned.trouble.text;
}

static void open_busy_world(struct world *w, uint64_t seed, bool local)
{
    disk_patience_ns = PATIENCE_NS;
    open_world_of(w, seed, local);
    run_for(w, 10 * SY_NS_PER_S); /* with disks of their own: until the standbys are in sync */
    for (size_t i = 0; i < 40; i++)
        expect_ok(w, create_some(w, i % SHARDS));
}

static void close_busy_world(struct world *w)
{
    w->stuck = NULL;
    close_world(w);
    disk_patience_ns = 0;
}

/* Shard 1 dies; of what it had the first partition that is opened elsewhere hangs there. */
static size_t have_one_hang(struct world *w, uint32_t *ret_partition)
{
    next_opening_hangs = true;
    kill_shard(w, 1);
    UNTIL(w, w->stuck != NULL);
    size_t shard = find_stuck(w, ret_partition);
    ck_assert_uint_lt(shard, SHARDS);
    return shard;
}

/* Another one takes it; when the disk answers at last, nothing comes of that opening. */
START_TEST(another_shard_takes_it)
{
    struct world *w = &world;
    uint32_t p;
    open_busy_world(w, 1, false);
    size_t shard = have_one_hang(w, &p);
    run_for(w, PATIENCE_NS - SY_NS_PER_S);
    ck_assert(!served(w, p));
    ck_assert_str_eq(trouble(w, shard, p), "");
    UNTIL(w, served(w, p));
    ck_assert(!serves(w, shard, p));
    ck_assert_ptr_nonnull(strstr(trouble(w, shard, p), "it waits for its disk"));
    expect_ok(w, create_some(w, 2 - shard));
    check_runs(w);
    w->stuck = NULL; /* only one serves it at any time, which the world looks at in each turn */
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert(!serves(w, shard, p));
    check_runs(w);
    start_shard(w, 1);
    UNTIL(w, even(w, SHARDS));
    check_runs(w);
    close_busy_world(w);
}
END_TEST

/* Not before; and what it took so long for is served. */
START_TEST(one_that_ends_in_time_is_not_given_up)
{
    struct world *w = &world;
    uint32_t p;
    open_busy_world(w, 3, false);
    size_t shard = have_one_hang(w, &p);
    run_for(w, PATIENCE_NS - SY_NS_PER_S);
    w->stuck = NULL;
    UNTIL(w, serves(w, shard, p));
    ck_assert_str_eq(trouble(w, shard, p), "");
    check_runs(w);
    close_busy_world(w);
}
END_TEST

/* Nobody else could take it: it says so, and goes on. */
START_TEST(a_shard_alone_says_so_and_goes_on)
{
    struct world *w = &world;
    uint32_t p;
    open_busy_world(w, 4, false);
    kill_shard(w, 2);
    UNTIL(w, even(w, 2));
    size_t shard = have_one_hang(w, &p);
    ck_assert_uint_eq(shard, 0);
    run_for(w, 4 * PATIENCE_NS);
    ck_assert(!served(w, p));
    ck_assert_ptr_nonnull(strstr(trouble(w, shard, p), "it waits for its disk"));
    w->stuck = NULL;
    UNTIL(w, serves(w, shard, p));
    ck_assert_str_eq(trouble(w, shard, p), "");
    UNTIL(w, owned_by(w, 0) == PARTITIONS);
    check_runs(w);
    close_busy_world(w);
}
END_TEST

/* Where each opening of it takes as long, wherever, it is opened in the end: who has given it up
 * once waits twice as long the next time, and the last one that takes partitions as long as it
 * lasts. */
START_TEST(what_takes_long_everywhere_is_opened_in_the_end)
{
    struct world *w = &world;
    uint32_t p, other;
    open_busy_world(w, 5, false);
    size_t first = have_one_hang(w, &p);
    next_opening_hangs = true; /* the next one is of the same partition */
    const struct sy_loop *stuck = w->stuck;
    UNTIL(w, w->stuck != stuck);
    size_t second = find_stuck(w, &other);
    ck_assert_uint_eq(other, p);
    ck_assert_uint_ne(second, first);
    run_for(w, 4 * PATIENCE_NS);
    ck_assert(!served(w, p));
    w->stuck = NULL;
    UNTIL(w, serves(w, second, p));
    check_runs(w);
    close_busy_world(w);
}
END_TEST

/* A partition that is opened anew here, after a failed commit, hangs in that. */
START_TEST(one_that_is_opened_again_is_looked_at_too)
{
    struct world *w = &world;
    uint32_t p = 0;
    open_busy_world(w, 6, false);
    size_t shard = serves(w, 0, p) ? 0 : serves(w, 1, p) ? 1 : 2;
    next_opening_hangs = true;
    cp_mem_disk_set(w->disks[p].disk, MS, 0);
    for (size_t i = 0; i < 20; i++)
        create_some(w, i % SHARDS);
    UNTIL(w, w->stuck != NULL);
    ck_assert_uint_eq(find_stuck(w, &p), shard);
    ck_assert_uint_eq(p, 0);
    UNTIL(w, served(w, p));
    ck_assert(!serves(w, shard, p));
    w->stuck = NULL;
    run_for(w, 10 * SY_NS_PER_S);
    check_runs(w);
    close_busy_world(w);
}
END_TEST

/* It is to be given to another, and its lane does not hear of that. */
START_TEST(one_that_is_to_be_given_meanwhile_is_lost)
{
    struct world *w = &world;
    uint32_t p;
    open_busy_world(w, 7, false);
    size_t shard = have_one_hang(w, &p);
    start_shard(w, 1); /* which is to have some of what the others have */
    UNTIL(w, served(w, p));
    ck_assert(!serves(w, shard, p));
    w->stuck = NULL;
    for (p = 0; !serves(w, 0, p); p++)
        ;
    w->stuck = w->shards[0].loops[p + 1];
    Switchyard__V1__OrderShardRequest m = SWITCHYARD__V1__ORDER_SHARD_REQUEST__INIT;
    m.shard = w->shards[0].name;
    send_call(w, 0, "/switchyard.v1.RegionService/DrainShard", &m.base)->reads = true;
    UNTIL(w, serves(w, 1, p) || serves(w, 2, p));
    w->stuck = NULL;
    check_runs(w);
    close_busy_world(w);
}
END_TEST

START_TEST(with_disks_of_their_own_the_copy_in_sync_takes_it)
{
    struct world *w = &world;
    uint32_t p;
    open_busy_world(w, 2, true);
    next_opening_hangs = true;
    /* its store fails and is claimed anew, by its owner; what hangs is that opening */
    for (p = 0; p < PARTITIONS && !serves(w, 1, p); p++)
        ;
    cp_mem_disk_set(w->shards[1].disks.own[p].disk, MS, 0);
    for (size_t i = 0; i < 40; i++)
        create_some(w, i % SHARDS);
    UNTIL(w, w->stuck != NULL);
    size_t shard = find_stuck(w, &p);
    UNTIL(w, served(w, p));
    ck_assert(!serves(w, shard, p));
    check_runs(w);
    w->stuck = NULL;
    run_for(w, 10 * SY_NS_PER_S);
    check_runs(w);
    close_busy_world(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {another_shard_takes_it,
                                  one_that_ends_in_time_is_not_given_up,
                                  a_shard_alone_says_so_and_goes_on,
                                  what_takes_long_everywhere_is_opened_in_the_end,
                                  one_that_is_opened_again_is_looked_at_too,
                                  one_that_is_to_be_given_meanwhile_is_lost,
                                  with_disks_of_their_own_the_copy_in_sync_takes_it,
                                  NULL};
    return sy_test_run("cp_region_opening", tests);
}
