/* links: cp */
/* A shard whose disk keeps its partitions waiting, rule by rule. */
#include "base/mem.h"
#include "tests/unit/cp_ownership_bench.h"

#define REST_NS (60 * SY_NS_PER_S)

static void stalls(struct bench *b, uint32_t partition, uint32_t epoch)
{
    tell(b, (struct cp_ownership_event){
                .type = CP_OWNERSHIP_STALLED, .partition = partition, .epoch = epoch});
}

/* As others see it. */
static bool drains(struct bench *b, bool slow)
{
    records_fill(&b->records, b->revision, &b->map);
    const struct cp_map_shard *shard = &b->map.shards[cp_map_shard(&b->map, "b")];
    return shard->draining && shard->slow == slow;
}

static void pass(struct bench *b, int64_t ns)
{
    b->view.now_ns += ns;
    look(b);
}

/* Its writes of the last step, LOSE before them, happen and are answered. */
static void yields(struct bench *b, uint32_t partition)
{
    ck_assert_uint_eq(b->fx.count, 3);
    ck_assert_uint_eq(b->fx.items[0].type, CP_OWNERSHIP_LOSE);
    ck_assert_uint_eq(b->fx.items[0].partition, partition);
    ck_assert_uint_eq(b->fx.items[1].partition, CP_OWNERSHIP_MEMBER);
    ck_assert_uint_eq(b->fx.items[2].partition, partition);
    ck_assert(happens(b, &b->fx.items[1]) && happens(b, &b->fx.items[2]));
    wrote(b, CP_OWNERSHIP_MEMBER, CP_COORD_DONE);
    wrote(b, partition, CP_COORD_DONE);
    ck_assert_uint_eq(b->fx.count, 0);
}

/* It has given up partition 0 to whoever takes it; that is still open here. */
static void serve_and_yield(struct bench *b)
{
    serve(b);
    put_shard(b, "a", 99, false);
    struct cp_map_partition p = row(b, 0); /* here, if it goes by the plan */
    snprintf(p.wanted, sizeof(p.wanted), "b");
    put_partition(b, p);
    look(b);
    ck_assert_uint_eq(b->fx.count, 0);
    stalls(b, 0, 5);
    ck_assert_uint_eq(right(b, 0), 0); /* before anything is written */
    yields(b, 0);
    ck_assert(drains(b, true) && cp_ownership_slow(b->o));
    ck_assert_int_eq(cp_ownership_mode(b->o), CP_OWNERSHIP_TAKES);
}

START_TEST(what_waits_for_the_disk_is_free_before_it_is_closed)
{
    struct bench b;
    serve_and_yield(&b);
    struct cp_map_partition p = row(&b, 0);
    ck_assert_str_eq(p.owner, "");
    ck_assert_int_eq(p.session, 0);
    ck_assert_uint_eq(p.epoch, 5);
    ck_assert_int_eq(cp_ownership_state(b.o, 0), CP_OWNED_LOST);
    stalls(&b, 0, 5); /* it still does */
    ck_assert_uint_eq(b.fx.count, 0);
    put_partition(
        &b, (struct cp_map_partition){.epoch = 6, .owner = "a", .session = 99, .wanted = "b"});
    closed(&b, 0, 5);
    ck_assert_uint_eq(b.fx.count, 0);
    drop_shard(&b, "a"); /* nobody else: a slow one is better than none */
    look(&b);
    ck_assert(!cp_ownership_slow(b.o));
    ck_assert(happens(&b, &b.fx.items[0]));
    deinit(&b);
}
END_TEST

/* A write that failed is repeated, as long as the record is ours. */
START_TEST(it_is_written_free_until_it_is)
{
    struct bench b;
    serve(&b);
    put_shard(&b, "a", 99, false);
    stalls(&b, 0, 5);
    ck_assert(happens(&b, &b.fx.items[1]));
    wrote(&b, CP_OWNERSHIP_MEMBER, CP_COORD_DONE);
    wrote(&b, 0, CP_COORD_UNKNOWN);
    ck_assert_uint_eq(b.fx.count, 0);
    b.view.now_ns = b.fx.wake_ns;
    look(&b);
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, 0)));
    ck_assert_str_eq(row(&b, 0).owner, "");
    wrote(&b, 0, CP_COORD_UNKNOWN); /* it had happened */
    pass(&b, 5 * SY_NS_PER_S);
    ck_assert_uint_eq(b.fx.count, 0);
    closed(&b, 0, 5);
    pass(&b, 5 * SY_NS_PER_S);
    ck_assert_uint_eq(b.fx.count, 0); /* nor is it claimed again meanwhile, whatever the plan */
    deinit(&b);
}
END_TEST

START_TEST(it_stays_where_nobody_else_can_have_it)
{
    struct bench b;
    serve(&b);
    stalls(&b, 0, 5); /* alone */
    ck_assert_uint_eq(b.fx.count, 0);
    put_shard(&b, "a", 99, true); /* that drains, or is slow itself */
    stalls(&b, 0, 5);
    ck_assert_uint_eq(b.fx.count, 0);
    ck_assert_uint_eq(right(&b, 0), 5);
    ck_assert(!cp_ownership_slow(b.o));
    b.view.held_until_ns = b.view.now_ns + MARGIN; /* our right ends at this moment */
    put_shard(&b, "a", 99, false);
    stalls(&b, 0, 5);
    (void)only(&b, CP_OWNERSHIP_LOSE, 0);
    ck_assert(!cp_ownership_slow(b.o));
    deinit(&b);
}
END_TEST

START_TEST(one_that_is_being_given_is_lost_too)
{
    struct bench b;
    serve(&b);
    put_shard(&b, "a", 99, false);
    set_mode(&b, CP_OWNERSHIP_DRAINS);
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, CP_OWNERSHIP_MEMBER)));
    wrote(&b, CP_OWNERSHIP_MEMBER, CP_COORD_DONE);
    (void)only(&b, CP_OWNERSHIP_GIVE, 0);
    stalls(&b, 0, 5);
    ck_assert_uint_eq(b.fx.count, 2);
    ck_assert_uint_eq(b.fx.items[0].type, CP_OWNERSHIP_LOSE);
    ck_assert(happens(&b, &b.fx.items[1]));
    ck_assert_str_eq(row(&b, 0).owner, "");
    deinit(&b);
}
END_TEST

START_TEST(it_takes_again_a_while_after_it_was_last_slow)
{
    struct bench b;
    serve_and_yield(&b);
    closed(&b, 0, 5);
    pass(&b, REST_NS - MS);
    ck_assert_uint_eq(b.fx.count, 0);
    ck_assert_int_eq(b.fx.wake_ns, b.view.now_ns + MS);
    tell(&b, (struct cp_ownership_event){.type = CP_OWNERSHIP_SLOW});
    pass(&b, REST_NS - MS);
    ck_assert_uint_eq(b.fx.count, 0);
    ck_assert(drains(&b, true));
    pass(&b, MS);
    ck_assert(!cp_ownership_slow(b.o));
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, CP_OWNERSHIP_MEMBER)));
    ck_assert(!drains(&b, true));
    wrote(&b, CP_OWNERSHIP_MEMBER, CP_COORD_DONE);
    write_and_tell(&b, 0); /* wanted here, and free */
    ck_assert_uint_eq(only(&b, CP_OWNERSHIP_OPEN, 0)->epoch, 6);
    tell(&b, (struct cp_ownership_event){.type = CP_OWNERSHIP_SLOW}); /* late */
    ck_assert(!cp_ownership_slow(b.o));
    deinit(&b);
}
END_TEST

START_TEST(people_end_it)
{
    struct bench b;
    serve_and_yield(&b);
    closed(&b, 0, 5);
    set_mode(&b, CP_OWNERSHIP_DRAINS); /* now they want it so */
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, CP_OWNERSHIP_MEMBER)));
    ck_assert(drains(&b, false));
    wrote(&b, CP_OWNERSHIP_MEMBER, CP_COORD_DONE);
    set_mode(&b, CP_OWNERSHIP_TAKES);
    ck_assert(!cp_ownership_slow(b.o));
    ck_assert(happens(&b, &b.fx.items[0]));
    ck_assert(!drains(&b, true));
    deinit(&b);
}
END_TEST

/* With local storage; "a" is there. */
static void join_local(struct bench *b, const struct cp_own_copy *copy)
{
    join(b, options());
    record_set(records_find(&b->records, CP_MAP_STORAGE_KEY),
               (struct sy_span){(const uint8_t *)CP_MAP_LOCAL "x", sizeof(CP_MAP_LOCAL)},
               ++b->revision, 0);
    b->view.copies = copy;
    b->view.copy_count = 1;
    put_shard(b, "a", 99, false);
}

/* Only the copy that is in sync will do. */
START_TEST(it_goes_to_the_standby_that_is_in_sync)
{
    struct bench b;
    struct cp_own_copy copy = {.id = 11};
    join_local(&b, &copy);
    struct cp_map_partition p = {
        .epoch = 4, .in_sync_count = 1, .in_sync = {{.shard = "b", .id = 11}}, .standby = "a"};
    put_partition(&b, p);
    look(&b);
    ck_assert(b.map.local);
    write_and_tell(&b, 0);
    opened(&b, 0, 5);
    write_and_tell(&b, 0);
    stalls(&b, 0, 5);
    ck_assert_uint_eq(b.fx.count, 0);
    ck_assert_uint_eq(right(&b, 0), 5);
    p = row(&b, 0);
    p.in_sync[p.in_sync_count++] = (struct cp_map_copy){.shard = "a", .id = 12};
    put_partition(&b, p);
    stalls(&b, 0, 5);
    yields(&b, 0);
    p = row(&b, 0);
    ck_assert_uint_eq(p.in_sync_count, 2);
    closed(&b, 0, 5);
    pass(&b, 10 * SY_NS_PER_S);
    ck_assert_uint_eq(b.fx.count, 0); /* not even when nobody has claimed it for long */
    deinit(&b);
}
END_TEST

/* Another shard is to have it, by the plan, and does not claim it: its disk may be gone, which the
 * owner finds out while it has the partition. It is given again later, each time twice as late. */
START_TEST(what_nobody_took_is_not_given_again_at_once)
{
    struct bench b;
    struct cp_own_copy copy = {.id = 11};
    join_local(&b, &copy);
    struct cp_map_partition p = {.epoch = 4,
                                 .in_sync_count = 2,
                                 .in_sync = {{.shard = "b", .id = 11}, {.shard = "a", .id = 12}},
                                 .standby = "a",
                                 .wanted = "a"};
    put_partition(&b, p);
    look(&b);
    for (uint32_t epoch = 5, wait_s = 5; wait_s <= 20; epoch++, wait_s *= 2) {
        write_and_tell(&b, 0); /* claimed */
        opened(&b, 0, epoch);
        write_and_tell(&b, 0); /* it does not move any more */
        pass(&b, (wait_s - 1) * SY_NS_PER_S);
        ck_assert_uint_eq(b.fx.count, 0);
        pass(&b, 2 * SY_NS_PER_S);
        ck_assert(only(&b, CP_OWNERSHIP_GIVE, 0)->epoch == epoch);
        closed(&b, 0, epoch);
        write_and_tell(&b, 0); /* free */
    }
    deinit(&b);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_waits_for_the_disk_is_free_before_it_is_closed,
                                  it_is_written_free_until_it_is,
                                  it_stays_where_nobody_else_can_have_it,
                                  one_that_is_being_given_is_lost_too,
                                  it_takes_again_a_while_after_it_was_last_slow,
                                  people_end_it,
                                  it_goes_to_the_standby_that_is_in_sync,
                                  what_nobody_took_is_not_given_again_at_once,
                                  NULL};
    return sy_test_run("cp_ownership_disk", tests);
}
