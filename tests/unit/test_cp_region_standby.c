/* links: cp sy_test_etcd */
/* A region whose shards have disks of their own: what was acknowledged outlives any one of them
 * (docs/replication.md). */
#include "tests/unit/cp_region_disks.h"

#include "controlplane/ranges.h"

#include "switchyard/v1/region_service.pb-c.h"

static void create_many(struct world *w, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_ok(w, create_some(w, some_shard(w)));
}

/* One whose partition is p. */
static struct call *create_in(struct world *w, size_t shard, uint32_t p)
{
    char name[16];
    do
        snprintf(name, sizeof(name), "run-%zu", w->made++);
    while (cp_range_even_of(cp_name_hash("p", "d", name), PARTITIONS) != p);
    return create(w, shard, name);
}

START_TEST(each_partition_gets_a_standby)
{
    struct world *w = &world;
    open_local(w, 1);
    size_t standbys[SHARDS] = {0};
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        size_t i = standby_of(w, p);
        ck_assert_uint_lt(i, SHARDS);
        ck_assert_uint_ne(i, server_of(w, p));
        standbys[i]++;
        ck_assert_int_eq(record(w, p)->alone_since_ns, 0);
    }
    for (size_t i = 0; i < SHARDS; i++)
        ck_assert(standbys[i] >= 1 && standbys[i] <= PARTITIONS / SHARDS + 1);
    create_many(w, 30);
    check_runs(w);
    close_world(w);
}
END_TEST

START_TEST(a_dead_owner_without_its_disk_loses_nothing)
{
    struct world *w = &world;
    for (size_t i = 0; i < SHARDS; i++) {
        open_local(w, 10 + i);
        create_many(w, 30);
        /* calls are under way when it dies; what of them is acknowledged stays */
        for (int k = 0; k < 12; k++)
            create_some(w, (i + 1) % SHARDS);
        run_for(w, (int64_t)sy_rng_below(&w->rng, 8 * MS));
        kill_shard(w, i);
        lose_disks(w, i);
        UNTIL(w, even(w, SHARDS - 1) ||
                     owned_by(w, (i + 1) % SHARDS) + owned_by(w, (i + 2) % SHARDS) == PARTITIONS);
        check_runs(w);
        create_many(w, 10);
        start_shard(w, i); /* with an empty disk: it gets copies again */
        UNTIL(w, doubled(w));
        check_runs(w);
        close_world(w);
    }
}
END_TEST

START_TEST(both_may_die_one_after_the_other)
{
    struct world *w = &world;
    open_local(w, 20);
    create_many(w, 20);
    for (size_t i = 0; i < SHARDS; i++) {
        kill_shard(w, i);
        lose_disks(w, i);
        UNTIL(w, owned_by(w, (i + 1) % SHARDS) + owned_by(w, (i + 2) % SHARDS) == PARTITIONS);
        create_many(w, 5);
        start_shard(w, i);
        UNTIL(w, doubled(w));
    }
    check_runs(w);
    close_world(w);
}
END_TEST

START_TEST(without_its_standby_an_owner_goes_on)
{
    struct world *w = &world;
    open_local(w, 30);
    uint32_t p = 0;
    size_t owner = server_of(w, p), standby = standby_of(w, p);
    /* it hangs: its session lives, and answers wait for it as long as patience lasts */
    w->shards[standby].paused = true;
    struct call *call = create_in(w, owner, p);
    int64_t begun_ns = w->now_ns;
    UNTIL(w, call->call == NULL);
    ck_assert_int_eq(call->code, SY_CODE_OK);
    int64_t took_ns = w->now_ns - begun_ns;
    ck_assert_int_ge(took_ns, SY_NS_PER_S);
    ck_assert_int_lt(took_ns, SY_NS_PER_S + 500 * MS);
    ck_assert_uint_eq(record(w, p)->in_sync_count, 1);
    ck_assert_int_gt(record(w, p)->alone_since_ns, 0);
    /* from then on they do not */
    begun_ns = w->now_ns;
    expect_ok(w, create_in(w, owner, p));
    ck_assert_int_lt(w->now_ns - begun_ns, 100 * MS);
    w->shards[standby].paused = false;
    UNTIL(w, doubled(w));
    check_runs(w);
    close_world(w);
}
END_TEST

START_TEST(what_waits_for_the_standby_is_not_read)
{
    struct world *w = &world;
    open_local(w, 31);
    uint32_t p = 0;
    size_t owner = server_of(w, p), standby = standby_of(w, p);
    w->shards[standby].paused = true;
    struct call *call = create_in(w, owner, p);
    run_for(w, 300 * MS); /* durable here long since */
    ck_assert_ptr_nonnull(call->call);
    struct call *reading = read_run(w, owner, call->run);
    UNTIL(w, reading->call == NULL);
    ck_assert_int_eq(reading->code, SY_CODE_NOT_FOUND);
    UNTIL(w, call->call == NULL);
    expect_ok(w, read_run(w, owner, call->run));
    w->shards[standby].paused = false;
    close_world(w);
}
END_TEST

START_TEST(a_stale_copy_never_claims)
{
    struct world *w = &world;
    open_local(w, 40);
    uint32_t p = 0;
    size_t owner = server_of(w, p), standby = standby_of(w, p), third = 3 - owner - standby;
    kill_shard(w, standby);
    struct call *call = create_in(w, owner, p);
    expect_ok(w, call);
    /* soon after the owner dies, too, before any other copy is made */
    kill_shard(w, owner);
    start_shard(w, standby);
    run_for(w, 20 * SY_NS_PER_S);
    ck_assert(!serves(w, p, standby) && !serves(w, p, third));
    start_shard(w, owner);
    UNTIL(w, doubled(w));
    ck_assert(serves(w, p, owner));
    check_runs(w);
    close_world(w);
}
END_TEST

START_TEST(an_owner_that_stood_still_acknowledges_nothing)
{
    struct world *w = &world;
    open_local(w, 50);
    uint32_t p = 0;
    size_t owner = server_of(w, p), standby = standby_of(w, p);
    struct call *before = create_in(w, owner, p);
    expect_ok(w, before);
    struct call *call = create_in(w, owner, p);
    run_for(w, 3 * MS); /* it is under way there */
    w->shards[owner].paused = true;
    UNTIL(w, server_of(w, p) == standby);
    expect_ok(w, create_in(w, standby, p));
    w->shards[owner].paused = false;
    UNTIL(w, call->call == NULL);
    UNTIL(w, doubled(w));
    check_runs(w); /* if it was acknowledged, it is there */
    close_world(w);
}
END_TEST

START_TEST(all_are_stopped_and_started)
{
    struct world *w = &world;
    open_local(w, 60);
    create_many(w, 20);
    for (size_t i = 0; i < SHARDS; i++)
        cp_shard_stop(w->shards[i].shard, SY_NS_PER_S, on_stopped, &w->shards[i]);
    UNTIL(w, w->shards[0].stopped && w->shards[1].stopped && w->shards[2].stopped);
    for (size_t i = 0; i < SHARDS; i++)
        kill_shard(w, i);
    for (size_t i = 0; i < SHARDS; i++)
        start_shard(w, i);
    UNTIL(w, doubled(w));
    check_runs(w);
    close_world(w);
}
END_TEST

START_TEST(a_standby_that_is_far_behind_begins_anew)
{
    struct world *w = &world;
    open_local(w, 70);
    uint32_t p = 0;
    size_t owner = server_of(w, p), standby = standby_of(w, p);
    uint64_t copy = w->shards[standby].disks.own[p].copy;
    kill_shard(w, standby);
    for (int i = 0; i < 250; i++) { /* the log has 200 batches */
        expect_ok(w, create_in(w, owner, p));
        if (i % 10 != 0)
            forget_call(w);
    }
    start_shard(w, standby);
    UNTIL(w, doubled(w));
    if (standby_of(w, p) == standby)
        ck_assert_uint_ne(w->shards[standby].disks.own[p].copy, copy);
    check_runs(w);
    close_world(w);
}
END_TEST

/* ---- the last way out ---- */

static bool first_two_have_all(const struct world *w)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (!doubled(w) || server_of(w, p) >= 2 || standby_of(w, p) >= 2)
            return false;
    }
    return true;
}

/* Shard 0 has a copy in sync of each partition; then all of them are down. */
static void leave_all_to_the_first(struct world *w)
{
    create_many(w, 20);
    kill_shard(w, 2);
    UNTIL(w, first_two_have_all(w));
    for (size_t i = 0; i < 2; i++) {
        cp_shard_stop(w->shards[i].shard, SY_NS_PER_S, on_stopped, &w->shards[i]);
        UNTIL(w, w->shards[i].stopped);
        kill_shard(w, i);
    }
    lose_disks(w, 1);
    lose_disks(w, 2);
}

static void on_misfit(void *ctx, const char *why)
{
    struct sy_error_text *ret = ctx;
    ck_assert_str_eq(ret->text, ""); /* once */
    sy_error_text_set(ret, "%s", why);
}

/* It does not join a region that knows nothing of what it has; when its operator says so, it makes
 * the region anew with that. */
START_TEST(records_that_are_lost_are_not_made_anew_unasked)
{
    struct world *w = &world;
    struct sy_error_text why = {0};
    struct sy_span value;
    open_local(w, 80);
    leave_all_to_the_first(w);
    fake_etcd_free(w->etcd);
    sy_rpc_mem_set_origin(w->rpc, "etcd");
    w->etcd = fake_etcd_new(w->rpc, w->loop, 80, members, MEMBERS);
    start_shard(w, 0);
    cp_shard_on_misfit(w->shards[0].shard, on_misfit, &why);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert_ptr_nonnull(strstr(why.text, "holds copies of a region, and etcd knows none"));
    ck_assert_ptr_nonnull(strstr(why.text, "records lost"));
    ck_assert_uint_eq(owned_by(w, 0), 0);
    ck_assert(!fake_etcd_find(w->etcd, "/switchyard/eu/region", &value));
    kill_shard(w, 0);
    w->shards[0].disks.copies.identity[0] = '\0'; /* data_dir/copies is removed */
    start_shard(w, 0);
    UNTIL(w, owned_by(w, 0) == PARTITIONS);
    for (size_t i = 1; i < SHARDS; i++)
        start_shard(w, i);
    UNTIL(w, doubled(w));
    check_runs(w);
    close_world(w);
}
END_TEST

/* What was restored is a copy of its own, which the records do not know: nobody serves it unasked.
 */
START_TEST(a_restored_copy_serves_when_it_is_told_to)
{
    struct world *w = &world;
    open_local(w, 90);
    leave_all_to_the_first(w);
    w->shards[0].disks.copies.identity[0] = '\0'; /* its data_dir was empty */
    for (uint32_t p = 0; p < PARTITIONS; p++)
        w->shards[0].disks.own[p].copy = 1000 + p;
    for (size_t i = 0; i < SHARDS; i++)
        start_shard(w, i);
    run_for(w, 20 * SY_NS_PER_S);
    for (size_t i = 0; i < SHARDS; i++)
        ck_assert_uint_eq(owned_by(w, i), 0);
    Switchyard__V1__UseCopyRequest m = SWITCHYARD__V1__USE_COPY_REQUEST__INIT;
    m.shard = w->shards[0].name;
    struct call *warned = send_call(w, 1, "/switchyard.v1.RegionService/UseCopy", &m.base);
    warned->reads = true;
    expect_ok(w, warned);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert_uint_eq(owned_by(w, 0), 0);
    m.sure = true;
    for (; m.partition < PARTITIONS; m.partition++) {
        struct call *c = send_call(w, 1, "/switchyard.v1.RegionService/UseCopy", &m.base);
        c->reads = true;
        expect_ok(w, c);
    }
    UNTIL(w, doubled(w));
    check_runs(w);
    close_world(w);
}
END_TEST

static struct call *order_shard(struct world *w, size_t asked, const char *method, size_t about)
{
    Switchyard__V1__OrderShardRequest m = SWITCHYARD__V1__ORDER_SHARD_REQUEST__INIT;
    m.shard = w->shards[about].name;
    struct call *c = send_call(w, asked, method, &m.base);
    c->reads = true;
    return c;
}

#define UNDRAIN "/switchyard.v1.RegionService/UndrainShard"

/* What people order meanwhile; nobody waits until it is so. */
static void people_order(struct world *w, unsigned *orders)
{
    size_t asked = sy_rng_below(&w->rng, SHARDS), about = sy_rng_below(&w->rng, SHARDS);
    bool drain = sy_rng_chance(&w->rng, 1, 2);
    if (w->shards[asked].shard == NULL || w->shards[asked].paused)
        return;
    ++*orders;
    w->timeout_ns = 5 * SY_NS_PER_S;
    if (sy_rng_chance(&w->rng, 1, 2)) {
        Switchyard__V1__MovePartitionRequest m = SWITCHYARD__V1__MOVE_PARTITION_REQUEST__INIT;
        m.partition = (uint32_t)sy_rng_below(&w->rng, PARTITIONS);
        m.shard = drain ? w->shards[about].name : text_of("");
        send_call(w, asked, "/switchyard.v1.RegionService/MovePartition", &m.base)->reads = true;
    } else {
        order_shard(w, asked, drain ? "/switchyard.v1.RegionService/DrainShard" : UNDRAIN, about);
    }
    w->timeout_ns = 0;
}

static void undrain_all(struct world *w)
{
    for (size_t i = 0; i < SHARDS; i++) {
        enum sy_code code;
        do {
            const struct call *c = order_shard(w, i, UNDRAIN, i);
            UNTIL(w, c->call == NULL);
            code = c->code;
            ck_assert_msg(code == SY_CODE_OK || code == SY_CODE_UNAVAILABLE, "%s", c->text);
            forget_call(w);
        } while (code != SY_CODE_OK);
    }
}

/* Shards die, hang and are cut off, partitions are moved, shards drained (owners and standbys
 * leave); disks are lost while there is another copy in sync. */
static void storm(uint64_t seed, unsigned *orders, unsigned *lost)
{
    struct world *w = &world;
    open_local(w, seed);
    for (int k = 0; k < 40; k++) {
        if (sy_rng_chance(&w->rng, 1, 6)) { /* else there is seldom a disk that may be lost */
            mend(w);
            run_for(w, 10 * SY_NS_PER_S);
        }
        if (sy_rng_chance(&w->rng, 1, 4))
            people_order(w, orders);
        for (int c = 0; c < 3; c++) {
            size_t i = sy_rng_below(&w->rng, SHARDS);
            if (w->shards[i].shard != NULL && !w->shards[i].paused)
                create_some(w, i);
        }
        if (is_well(w) && sy_rng_chance(&w->rng, 1, 3)) {
            size_t i = sy_rng_below(&w->rng, SHARDS);
            kill_shard(w, i);
            lose_disks(w, i);
            ++*lost;
        } else {
            storm_step(w);
        }
        run_for(w, (int64_t)sy_rng_below(&w->rng, 1500 * MS));
    }
    mend(w);
    undrain_all(w);
    UNTIL(w, doubled(w));
    for (size_t i = 0; i < w->call_count; i++)
        UNTIL(w, w->calls[i].call == NULL);
    check_runs(w);
    for (uint32_t p = 0; p < PARTITIONS; p++) /* nobody gives it to and fro */
        ck_assert_uint_lt(record(w, p)->epoch, 40);
    close_world(w);
}

START_TEST(storms_lose_nothing)
{
    struct seeds seeds = storm_seeds(6);
    unsigned orders = 0, lost = 0;
    for (uint64_t i = 0; i < seeds.count; i++)
        storm(seeds.first + i, &orders, &lost);
    ck_assert_uint_ge(orders, seeds.count);
    ck_assert_uint_ge(lost, seeds.count);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {each_partition_gets_a_standby,
                                  a_dead_owner_without_its_disk_loses_nothing,
                                  both_may_die_one_after_the_other,
                                  without_its_standby_an_owner_goes_on,
                                  what_waits_for_the_standby_is_not_read,
                                  a_stale_copy_never_claims,
                                  an_owner_that_stood_still_acknowledges_nothing,
                                  all_are_stopped_and_started,
                                  a_standby_that_is_far_behind_begins_anew,
                                  records_that_are_lost_are_not_made_anew_unasked,
                                  a_restored_copy_serves_when_it_is_told_to,
                                  storms_lose_nothing,
                                  NULL};
    return sy_test_run("cp_region_standby", tests);
}
