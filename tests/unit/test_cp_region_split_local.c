/* links: cp sy_test_etcd */
/* A region whose shards have disks of their own, and whose partitions are split: both halves have
 * what was acknowledged, although a disk is lost at any moment (docs/replication.md, "A split"). */
#define ROOM 12
#include "tests/unit/cp_region_disks.h"
#include "tests/unit/cp_region_splits.h"

static void make_runs(struct world *w, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        create_some(w, some_shard(w));
        run_for(w, 3 * MS);
    }
}

static void all_answered(struct world *w)
{
    for (size_t i = 0; i < w->call_count; i++)
        UNTIL(w, w->calls[i].call == NULL);
}

static size_t filled(const struct world *w)
{
    size_t count = 0;
    for (size_t i = 0; i < SHARDS; i++)
        count += w->shards[i].disks.filled;
    return count;
}

static size_t forks_on(const struct world *w, size_t i)
{
    const struct shard *s = &w->shards[i];
    size_t count = 0;
    for (size_t k = 0; k < s->disks.own_fork_count; k++)
        count += s->disks.own_forks[k].disk != NULL;
    return count;
}

/* All of so many are served. */
static bool served(const struct world *w, uint32_t count)
{
    uint32_t p = 0;
    while (p < count && server_of(w, p) < SHARDS)
        p++;
    return p == count && known(w) == count;
}

/* The record of a half says so from the first moment, and no copy is made anew for it. */
START_TEST(both_halves_have_two_copies_at_once)
{
    struct world *w = &world;
    open_local(w, 1);
    make_runs(w, 40);
    run_for(w, 100 * MS);
    size_t before = filled(w);
    for (uint32_t p = 0; p < 3; p++) {
        size_t owner = server_of(w, p), standby = standby_of(w, p);
        (void)send_split(w, some_shard(w), p, 0);
        UNTIL(w, known(w) == PARTITIONS + p + 1);
        const struct cp_map_partition *half = record(w, PARTITIONS + p);
        ck_assert_uint_eq(half->in_sync_count, 2);
        ck_assert_ptr_nonnull(cp_map_copy_on(half, w->shards[owner].name));
        ck_assert_ptr_nonnull(cp_map_copy_on(half, w->shards[standby].name));
        UNTIL(w, w->calls[w->call_count - 1].call == NULL);
        expect_ok(w, &w->calls[w->call_count - 1]);
        forget_call(w);
        ck_assert_uint_eq(server_of(w, PARTITIONS + p), standby); /* it has the load to share */
        make_runs(w, 5);
        ck_assert_uint_eq(filled(w), before);
        UNTIL(w, doubled(w));
        before = filled(w); /* it may move to another one */
    }
    all_answered(w);
    check_runs(w);
    close_world(w);
}
END_TEST

/* ---- a disk is lost at each step ---- */

enum moment {
    BEFORE,
    OWN_FORK,  /* the owner has forked */
    BOTH_FORK, /* and the standby */
    WRITTEN,   /* etcd has the records */
    SEEN,      /* a shard knows them */
    CLAIMED,   /* the upper half is somebody's */
    MOMENTS,
};

static bool is_at(const struct world *w, enum moment moment, size_t owner, size_t standby)
{
    struct sy_span value;
    switch (moment) {
    case BEFORE:
        return true;
    case OWN_FORK:
        return forks_on(w, owner) > 0;
    case BOTH_FORK:
        return forks_on(w, owner) > 0 && forks_on(w, standby) > 0;
    case WRITTEN:
        return fake_etcd_find(w->etcd, "/switchyard/eu/partitions/00006", &value);
    case SEEN:
        return known(w) > PARTITIONS;
    default:
        return known(w) > PARTITIONS && record(w, PARTITIONS)->session != 0;
    }
}

static void until_at(struct world *w, enum moment moment, size_t owner, size_t standby)
{
    int64_t limit_ns = w->now_ns + 60 * SY_NS_PER_S;
    while (!is_at(w, moment, owner, standby)) {
        ck_assert_int_lt(w->now_ns, limit_ns);
        turn(w, limit_ns);
    }
}

/* One shard hears of the half when the other serves and feeds it already, and is not taken for one
 * that has lost its copy. */
START_TEST(both_keep_their_copies_though_one_hears_late)
{
    struct world *w = &world;
    open_local(w, 20);
    make_runs(w, 10);
    size_t owner = server_of(w, 0), standby = standby_of(w, 0);
    for (size_t i = 0; i < MEMBERS; i++) /* from the write until anybody hears of it */
        fake_etcd_set_delay(w->etcd, i, 50 * MS, 50 * MS);
    (void)send_split(w, standby, 0, 0);
    until_at(w, WRITTEN, owner, standby);
    w->cut = w->shards[owner].origin; /* what it asks, and hears from etcd; others reach it */
    until_at(w, CLAIMED, owner, standby);
    uint64_t named = cp_map_copy_on(record(w, PARTITIONS), w->shards[owner].name)->id;
    run_for(w, 300 * MS); /* now it is fed */
    w->cut = NULL;
    const struct own *own = &w->shards[owner].disks.own[PARTITIONS];
    ck_assert_uint_eq(own->copy, 0);
    UNTIL(w, own->copy != 0);
    ck_assert_uint_eq(own->copy, named);
    all_answered(w);
    check_runs(w);
    close_world(w);
}
END_TEST

static void split_and_lose(uint64_t seed, enum moment moment, bool the_standby)
{
    struct world *w = &world;
    open_local(w, seed);
    make_runs(w, 40);
    uint32_t p = (uint32_t)(seed % PARTITIONS);
    size_t owner = server_of(w, p), standby = standby_of(w, p), third = 3 - owner - standby;
    size_t victim = the_standby ? standby : owner;
    w->timeout_ns = 20 * SY_NS_PER_S;
    (void)send_split(w, third, p, 0);
    w->timeout_ns = 0;
    until_at(w, moment, owner, standby);
    kill_shard(w, victim);
    lose_disks(w, victim);
    run_for(w, 20 * SY_NS_PER_S);
    uint32_t count = known(w);
    ck_assert(count == PARTITIONS || count == PARTITIONS + 1);
    ck_assert(moment < WRITTEN || count == PARTITIONS + 1);
    UNTIL(w, served(w, count));
    all_answered(w);
    check_runs(w); /* with what is left, before anything is copied back */
    make_runs(w, 10);
    start_shard(w, victim);
    UNTIL(w, doubled(w));
    all_answered(w);
    check_runs(w);
    close_world(w);
}

START_TEST(a_disk_is_lost_at_any_step)
{
    for (int moment = 0; moment < MOMENTS; moment++) {
        split_and_lose(100 + (uint64_t)moment, (enum moment)moment, false);
        split_and_lose(200 + (uint64_t)moment, (enum moment)moment, true);
    }
}
END_TEST

/* Nobody has taken what it begins with yet: whoever reads the records finds it. */
START_TEST(all_are_killed_right_after_the_write)
{
    struct world *w = &world;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        open_local(w, 300 + seed);
        make_runs(w, 40);
        size_t owner = server_of(w, 1), standby = standby_of(w, 1);
        (void)send_split(w, owner, 1, 0);
        until_at(w, WRITTEN, owner, standby);
        for (size_t i = 0; i < SHARDS; i++)
            kill_shard(w, i);
        ck_assert_uint_eq(forks_on(w, owner), 1);
        ck_assert_uint_eq(forks_on(w, standby), 1);
        if (seed == 2)
            lose_disks(w, owner);
        for (size_t i = 0; i < SHARDS; i++)
            start_shard(w, i);
        UNTIL(w, known(w) == PARTITIONS + 1);
        UNTIL(w, doubled(w));
        ck_assert_uint_eq(forks_on(w, owner) + forks_on(w, standby), 0);
        all_answered(w);
        check_runs(w);
        close_world(w);
    }
}
END_TEST

/* ---- what comes to nothing ---- */

static void expect_whole(struct world *w, struct call *c, uint32_t p, const char *why)
{
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_FAILED_PRECONDITION);
    ck_assert_msg(strstr(c->text, why) != NULL, "%s", c->text);
    forget_call(w);
    ck_assert_uint_eq(known(w), PARTITIONS);
    UNTIL(w, served(w, PARTITIONS));
    ck_assert_uint_eq(record(w, p)->number, p);
}

/* While its standby is in sync a half never has one copy only: then it is not made. */
START_TEST(a_standby_that_cannot_fork_prevents_it)
{
    struct world *w = &world;
    open_local(w, 2);
    make_runs(w, 20);
    uint32_t p = 2;
    size_t owner = server_of(w, p), standby = standby_of(w, p);
    w->shards[standby].disks.no_forks = true;
    expect_whole(w, send_split(w, owner, p, 0), p, "its standby shard-");
    ck_assert_uint_eq(forks_on(w, standby), 0);
    w->shards[standby].disks.no_forks = false;
    /* it hangs: it is waited for, a while */
    UNTIL(w, doubled(w));
    owner = server_of(w, p), standby = standby_of(w, p);
    w->shards[standby].paused = true;
    struct call *c = send_split(w, owner, p, 0);
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_FAILED_PRECONDITION);
    forget_call(w);
    w->shards[standby].paused = false;
    UNTIL(w, doubled(w));
    ck_assert_uint_eq(known(w), PARTITIONS);
    ck_assert_uint_eq(split(w, some_shard(w), p), PARTITIONS);
    UNTIL(w, doubled(w));
    for (size_t i = 0; i < SHARDS; i++) /* nor of what came to nothing is anything left */
        ck_assert_uint_eq(forks_on(w, i), 0);
    all_answered(w);
    check_runs(w);
    close_world(w);
}
END_TEST

START_TEST(what_came_to_nothing_goes_from_both_disks)
{
    struct world *w = &world;
    open_local(w, 3);
    make_runs(w, 20);
    size_t owner = server_of(w, 1), standby = standby_of(w, 1);
    fake_etcd_set_quorum(w->etcd, false);
    (void)send_split(w, owner, 1, 0);
    until_at(w, BOTH_FORK, owner, standby);
    kill_shard(w, owner);
    fake_etcd_set_quorum(w->etcd, true);
    UNTIL(w, server_of(w, 1) == standby);
    ck_assert_uint_eq(known(w), PARTITIONS);
    UNTIL(w, forks_on(w, standby) == 0);
    ck_assert_uint_eq(forks_on(w, owner), 1);
    start_shard(w, owner);
    UNTIL(w, forks_on(w, owner) == 0);
    UNTIL(w, doubled(w));
    ck_assert_uint_eq(split(w, owner, 1), PARTITIONS);
    UNTIL(w, doubled(w));
    all_answered(w);
    check_runs(w);
    close_world(w);
}
END_TEST

/* ---- without a standby ---- */

/* A partition that is alone is split into two that are, and the records say so. */
static uint32_t split_alone(struct world *w, uint32_t p, size_t *ret_owner, size_t *ret_standby)
{
    *ret_owner = server_of(w, p), *ret_standby = standby_of(w, p);
    kill_shard(w, *ret_standby);
    UNTIL(w, record(w, p)->in_sync_count == 1 && server_of(w, p) == *ret_owner);
    uint32_t half = split(w, *ret_owner, p);
    const struct cp_map_partition *row = record(w, half);
    ck_assert_uint_eq(server_of(w, half), *ret_owner);
    if (row->in_sync_count == 1)
        ck_assert_int_gt(row->alone_since_ns, 0);
    return half;
}

/* The copy that comes back is of the whole: the log brings it to the lower half; of the upper one
 * it has none. */
START_TEST(a_copy_of_before_a_split_catches_up)
{
    struct world *w = &world;
    size_t owner, standby;
    open_local(w, 4);
    make_runs(w, 30);
    uint64_t copy = w->shards[standby_of(w, 0)].disks.own[0].copy;
    uint32_t half = split_alone(w, 0, &owner, &standby);
    make_runs(w, 30);
    start_shard(w, standby);
    UNTIL(w, doubled(w));
    if (standby_of(w, 0) == standby)
        ck_assert_uint_eq(w->shards[standby].disks.own[0].copy, copy);
    all_answered(w);
    size_t victim = server_of(w, half);
    kill_shard(w, victim);
    lose_disks(w, victim);
    UNTIL(w, served(w, PARTITIONS + 1));
    check_runs(w);
    start_shard(w, victim);
    UNTIL(w, doubled(w));
    check_runs(w);
    close_world(w);
}
END_TEST

static struct call *use_copy(struct world *w, size_t asked, uint32_t p, size_t i)
{
    Switchyard__V1__UseCopyRequest m = SWITCHYARD__V1__USE_COPY_REQUEST__INIT;
    m.partition = p;
    m.shard = w->shards[i].name;
    m.sure = true;
    struct call *c = send_call(w, asked, "/switchyard.v1.RegionService/UseCopy", &m.base);
    c->reads = true;
    UNTIL(w, c->call == NULL);
    return c;
}

static size_t readable(struct world *w, struct cp_range range)
{
    size_t count = 0, calls = w->call_count;
    for (size_t i = 0; i < calls; i++) {
        if (w->calls[i].reads || w->calls[i].code != SY_CODE_OK ||
            !cp_range_has(&range, cp_name_hash("p", "d", w->calls[i].run)))
            continue;
        struct call *c = read_run(w, some_shard(w), w->calls[i].run);
        UNTIL(w, c->call == NULL);
        count += c->code == SY_CODE_OK;
        forget_call(w);
    }
    return count;
}

/* It serves the lower half with what it had then; the upper half was lost with the only disk. */
START_TEST(a_copy_of_before_a_split_is_used)
{
    struct world *w = &world;
    size_t owner, standby;
    open_local(w, 5);
    make_runs(w, 60);
    run_for(w, 100 * MS);
    struct cp_range whole = cp_range_even(0, PARTITIONS);
    size_t all = readable(w, whole);
    kill_shard(w, 3 - server_of(w, 0) - standby_of(w, 0)); /* nobody else becomes its standby */
    uint32_t half = split_alone(w, 0, &owner, &standby);
    struct cp_range lower = cp_map_range(map_of(w), record(w, 0));
    ck_assert_uint_lt(lower.last, whole.last);
    size_t low = readable(w, lower);
    ck_assert(low > 0 && low < all);
    ck_assert_uint_eq(record(w, 0)->in_sync_count, 1);
    ck_assert_uint_eq(record(w, half)->in_sync_count, 1);
    kill_shard(w, owner);
    lose_disks(w, owner);
    start_shard(w, standby);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert(server_of(w, 0) == SHARDS && server_of(w, half) == SHARDS);
    struct call *c = use_copy(w, standby, half, standby);
    ck_assert_int_eq(c->code, SY_CODE_FAILED_PRECONDITION);
    ck_assert_msg(strstr(c->text, "has no copy of partition 6") != NULL, "%s", c->text);
    forget_call(w);
    expect_ok(w, use_copy(w, standby, 0, standby));
    forget_call(w);
    UNTIL(w, server_of(w, 0) == standby);
    ck_assert_uint_eq(readable(w, lower), low);
    close_world(w);
}
END_TEST

/* ---- whatever fails ---- */

static uint32_t splits, lost; /* in storms: that were made; disks */

static void storm(uint64_t seed)
{
    struct world *w = &world;
    open_local(w, seed);
    for (int k = 0; k < 40 && w->call_count < CALLS - 60; k++) {
        if (sy_rng_chance(&w->rng, 1, 4)) {
            mend(w);
            run_for(w, 10 * SY_NS_PER_S);
        }
        bool well = is_well(w);
        if (sy_rng_chance(&w->rng, 1, 3)) {
            size_t asked = sy_rng_below(&w->rng, SHARDS);
            w->timeout_ns = 5 * SY_NS_PER_S;
            if (w->shards[asked].shard != NULL && !w->shards[asked].paused && known(w) > 0)
                (void)send_split(w, asked, (uint32_t)sy_rng_below(&w->rng, known(w)), 0);
            w->timeout_ns = 0;
        }
        for (int c = 0; c < 3; c++) {
            size_t i = sy_rng_below(&w->rng, SHARDS);
            if (w->shards[i].shard != NULL && !w->shards[i].paused)
                create_some(w, i);
        }
        if (well && sy_rng_chance(&w->rng, 1, 2)) {
            size_t i = sy_rng_below(&w->rng, SHARDS);
            run_for(w, (int64_t)sy_rng_below(&w->rng, 40 * MS));
            if (is_well(w)) { /* what was in sync when a split began still is */
                kill_shard(w, i);
                lose_disks(w, i);
                lost++;
            }
        } else {
            storm_step(w);
        }
        run_for(w, (int64_t)sy_rng_below(&w->rng, 1500 * MS));
    }
    mend(w);
    UNTIL(w, doubled(w));
    all_answered(w);
    UNTIL(w, doubled(w));
    check_runs(w);
    splits += known(w) - PARTITIONS;
    for (uint32_t p = 0; p < known(w); p++) /* nobody gives it to and fro */
        ck_assert_uint_lt(record(w, p)->epoch, 60);
    close_world(w);
}

START_TEST(storms_lose_nothing)
{
    struct seeds seeds = storm_seeds(8);
    for (uint64_t i = 0; i < seeds.count; i++)
        storm(seeds.first + i);
    ck_assert(seeds.count < 8 || (splits > 8 && lost > 8));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {both_halves_have_two_copies_at_once,
                                  both_keep_their_copies_though_one_hears_late,
                                  a_disk_is_lost_at_any_step,
                                  all_are_killed_right_after_the_write,
                                  a_standby_that_cannot_fork_prevents_it,
                                  what_came_to_nothing_goes_from_both_disks,
                                  a_copy_of_before_a_split_catches_up,
                                  a_copy_of_before_a_split_is_used,
                                  storms_lose_nothing,
                                  NULL};
    return sy_test_run("region_split_local", tests);
}
