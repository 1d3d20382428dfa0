/* links: cp sy_test_etcd */
/* A shard of a region whose disk takes far too long. */
#include "tests/unit/cp_region_world.h"

#define LONG (40 * SY_NS_PER_S)

/* The disk under a partition, as the shard sees it that serves it now; with shared storage only
 * what has begun before it is set back is slow for him. */
static struct cp_mem_disk *disk_of(struct world *w, size_t shard, uint32_t partition)
{
    return w->local ? w->shards[shard].disks.own[partition].disk : w->disks[partition].disk;
}

static bool serves(const struct world *w, size_t shard, uint32_t partition)
{
    return cp_partition_serving(cp_shard_partition(w->shards[shard].shard, partition));
}

static void set_disks(struct world *w, size_t shard, int64_t sync_ns)
{
    for (uint32_t p = 0; p < PARTITIONS; p++)
        cp_mem_disk_set(disk_of(w, shard, p), sync_ns, -1);
}

static void create_many(struct world *w, size_t count)
{
    for (size_t i = 0; i < count; i++)
        create_some(w, i % SHARDS);
}

static size_t unanswered(const struct world *w)
{
    size_t count = 0;
    for (size_t i = 0; i < w->call_count; i++)
        count += w->calls[i].call != NULL;
    return count;
}

static size_t failed(const struct world *w, enum sy_code code)
{
    size_t count = 0;
    for (size_t i = 0; i < w->call_count; i++)
        count += w->calls[i].call == NULL && w->calls[i].code == code;
    return count;
}

/* All that one shard has waits for its disk. */
static void one_disk_hangs(uint64_t seed, bool local)
{
    struct world *w = &world;
    disk_patience_ns = 5 * SY_NS_PER_S;
    open_world_of(w, seed, local);
    create_many(w, 40);
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(unanswered(w), 0);
    bool its[PARTITIONS];
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        its[p] = serves(w, 1, p);
        if (its[p])
            cp_mem_disk_set(disk_of(w, 1, p), LONG, -1);
    }
    create_many(w, 40);
    run_for(w, 500 * MS);
    if (!w->local)
        set_disks(w, 1, MS); /* it is its way to them that is slow: what it has begun hangs */
    size_t waiting = unanswered(w);
    ck_assert_uint_gt(waiting, 0);
    run_for(w, 3500 * MS);
    ck_assert_uint_eq(unanswered(w), waiting);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        ck_assert(serves(w, 1, p) == its[p]); /* it may come back */
    int64_t decided_ns = w->now_ns;
    UNTIL(w, owned_by(w, 1) == 0 && even(w, 2));
    ck_assert_int_lt(w->now_ns - decided_ns, 3 * SY_NS_PER_S);
    run_for(w, 100 * MS);
    ck_assert_uint_eq(unanswered(w), 0);
    ck_assert_uint_gt(failed(w, SY_CODE_UNAVAILABLE), 0);
    ck_assert_uint_eq(failed(w, SY_CODE_OK) + failed(w, SY_CODE_UNAVAILABLE), w->call_count);
    check_runs(w);
    set_disks(w, 1, MS);
    run_for(w, 30 * SY_NS_PER_S);
    ck_assert_uint_eq(owned_by(w, 1), 0); /* no to and fro */
    UNTIL(w, even(w, 3));
    check_runs(w);
    close_world(w);
    disk_patience_ns = 0;
}

START_TEST(what_a_hanging_disk_has_others_take)
{
    one_disk_hangs(1, false);
}
END_TEST

START_TEST(with_disks_of_their_own_the_standbys_take_it)
{
    one_disk_hangs(2, true);
}
END_TEST

/* Where all disks are slow answers come as late as they do: nothing goes round. */
START_TEST(where_all_are_slow_it_stays)
{
    struct world *w = &world;
    disk_patience_ns = 5 * SY_NS_PER_S;
    open_world(w, 3);
    create_many(w, 20);
    run_for(w, SY_NS_PER_S);
    set_disks(w, 0, 12 * SY_NS_PER_S); /* they are all the same */
    size_t moves = 0;
    bool was[SHARDS][PARTITIONS];
    for (size_t i = 0; i < 300; i++) {
        bool now[SHARDS][PARTITIONS];
        for (size_t s = 0; s < SHARDS; s++)
            for (uint32_t p = 0; p < PARTITIONS; p++) {
                now[s][p] = serves(w, s, p);
                moves += i > 0 && now[s][p] && !was[s][p];
            }
        memcpy(was, now, sizeof(was));
        if (i % 10 == 0)
            create_some(w, i % SHARDS);
        run_for(w, SY_NS_PER_S);
    }
    ck_assert_uint_lt(moves, 6 * PARTITIONS); /* in five minutes; once a minute at most */
    set_disks(w, 0, MS);
    run_for(w, 30 * SY_NS_PER_S); /* what was slow at last rests for a minute from then */
    UNTIL(w, even(w, 3));
    UNTIL(w, unanswered(w) == 0);
    check_runs(w);
    close_world(w);
    disk_patience_ns = 0;
}
END_TEST

START_TEST(a_shard_alone_goes_on_as_late_as_its_disk)
{
    struct world *w = &world;
    disk_patience_ns = 5 * SY_NS_PER_S;
    open_world(w, 4);
    kill_shard(w, 0);
    kill_shard(w, 2);
    UNTIL(w, even(w, 1));
    set_disks(w, 1, 10 * SY_NS_PER_S);
    for (size_t i = 0; i < 12; i++)
        create_some(w, 1);
    run_for(w, 9 * SY_NS_PER_S);
    ck_assert_uint_eq(unanswered(w), 12);
    run_for(w, 20 * SY_NS_PER_S);
    for (size_t i = 0; i < 12; i++)
        expect_ok(w, &w->calls[i]);
    ck_assert_uint_eq(owned_by(w, 1), PARTITIONS);
    set_disks(w, 1, MS);
    check_runs(w);
    close_world(w);
    disk_patience_ns = 0;
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        what_a_hanging_disk_has_others_take, with_disks_of_their_own_the_standbys_take_it,
        where_all_are_slow_it_stays, a_shard_alone_goes_on_as_late_as_its_disk, NULL};
    return sy_test_run("cp_region_disk", tests);
}
