/* links: cp */
/* A partition of a region whose shards have disks of their own is split, rule by rule: the record
 * of the new half names as many copies as that of the whole, or there is none. */
#include "base/mem.h"
#include "tests/unit/cp_ownership_bench.h"

#define AT (UINT64_C(1) << 63)
#define OWN 11 /* copies of the whole, on "b" and "a" */
#define BESIDE 12

static struct cp_own_copy copies[2];

static struct cp_map_partition whole(size_t in_sync_count)
{
    struct cp_map_partition p = {
        .epoch = 4,
        .range = {0, UINT64_MAX},
        .in_sync = {{.shard = "b", .id = OWN}, {.shard = "a", .id = BESIDE}},
        .in_sync_count = in_sync_count,
        .alone_since_ns = in_sync_count == 1 ? 77 : 0};
    if (in_sync_count == 2)
        memcpy(p.standby, "a", 2);
    return p;
}

/* "b" has closed it under epoch 5, and is asked for forks. */
static void begin(struct bench *b, size_t in_sync_count)
{
    struct cp_ownership_options o = options();
    struct cp_map_shard other = {.name = "a", .session = 99, .partitions_max = 8};
    o.partitions_max = 8;
    o.settle_ns = SY_NS_PER_S;
    join(b, o);
    record_set(records_find(&b->records, CP_MAP_STORAGE_KEY),
               (struct sy_span){(const uint8_t *)CP_MAP_LOCAL "x", sizeof(CP_MAP_LOCAL)},
               ++b->revision, 0);
    copies[0] = (struct cp_own_copy){.id = OWN};
    copies[1] = (struct cp_own_copy){0};
    b->view.copies = copies;
    b->view.copy_count = SY_COUNT_OF(copies);
    b->view.now_ns += o.settle_ns;
    put_partition(b, whole(in_sync_count));
    look(b);
    write_and_tell(b, 0);
    opened(b, 0, 5);
    write_and_tell(b, 0);
    if (in_sync_count == 2)
        records_put_shard(&b->records, &other, ++b->revision);
    tell(b, (struct cp_ownership_event){.type = CP_OWNERSHIP_SPLIT, .partition = 0, .at = AT});
    (void)only(b, CP_OWNERSHIP_GIVE, 0);
    closed(b, 0, 5);
    (void)only(b, CP_OWNERSHIP_FORK, 0);
}

static void forked(struct bench *b, struct cp_forked_copies made)
{
    tell(b, (struct cp_ownership_event){.type = CP_OWNERSHIP_FORKED,
                                        .partition = 0,
                                        .epoch = 5,
                                        .forked = made,
                                        .result = CP_COORD_DONE});
}

START_TEST(the_half_has_the_forks_of_both)
{
    struct bench b;
    begin(&b, 2);
    forked(&b, (struct cp_forked_copies){.own = 21, .of = BESIDE, .beside = 22});
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, 0)));
    struct cp_map_partition lower = row(&b, 0), upper = row(&b, 1);
    ck_assert(lower.range.last == AT - 1 && upper.range.first == AT);
    ck_assert_uint_eq(lower.epoch, 6);
    ck_assert_uint_eq(lower.in_sync_count, 2);
    ck_assert_uint_eq(cp_map_copy_on(&lower, "b")->id, OWN);
    ck_assert_uint_eq(cp_map_copy_on(&lower, "a")->id, BESIDE);
    ck_assert_uint_eq(upper.in_sync_count, 2);
    ck_assert_uint_eq(cp_map_copy_on(&upper, "b")->id, 21);
    ck_assert_uint_eq(cp_map_copy_on(&upper, "a")->id, 22);
    ck_assert_int_eq(upper.alone_since_ns, 0);
    ck_assert_int_eq(upper.session, 0);
    ck_assert_str_eq(upper.standby, "a"); /* given to it */
    ck_assert_uint_eq(upper.parent_epoch, 5);
    wrote(&b, 0, CP_COORD_DONE);
    (void)only(&b, CP_OWNERSHIP_OPEN, 0); /* and "b" leaves the other one to "a" */
    copies[1] = (struct cp_own_copy){.id = 21};
    look(&b);
    ck_assert_uint_eq(b.fx.count, 0);
    b.view.now_ns += SY_NS_PER_S; /* unless that one does not come */
    look(&b);
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, 1)));
    deinit(&b);
}
END_TEST

/* Claims it as it was, and there is no second one. */
static void expect_whole(struct bench *b)
{
    ck_assert_int_eq(cp_ownership_state(b->o, 0), CP_OWNED_CLAIMING);
    const struct cp_ownership_effect *e = only(b, CP_OWNERSHIP_WRITE, 0);
    ck_assert_str_eq(e->other_key, "");
    ck_assert(happens(b, e));
    ck_assert_uint_eq(row(b, 0).range.last, UINT64_MAX);
    deinit(b);
}

START_TEST(without_the_fork_of_the_standby_in_sync_there_is_none)
{
    static const struct cp_forked_copies made[] = {
        {.own = 21},                                 /* it was not asked */
        {.own = 21, .of = BESIDE},                   /* it has not answered */
        {.own = 21, .of = BESIDE + 1, .beside = 22}, /* another copy was in sync then */
        {.of = BESIDE, .beside = 22}};               /* nor without our own */
    for (size_t i = 0; i < SY_COUNT_OF(made); i++) {
        struct bench b;
        begin(&b, 2);
        forked(&b, made[i]);
        expect_whole(&b);
    }
}
END_TEST

START_TEST(a_standby_that_was_put_out_meanwhile_is_not_named)
{
    struct bench b;
    begin(&b, 2);
    struct cp_map_partition p = row(&b, 0);
    p.in_sync_count = 1;
    put_partition(&b, p);
    forked(&b, (struct cp_forked_copies){.own = 21, .of = BESIDE, .beside = 22});
    expect_whole(&b);
}
END_TEST

START_TEST(one_that_is_alone_is_split_into_two_that_are)
{
    struct bench b;
    begin(&b, 1);
    forked(&b, (struct cp_forked_copies){.own = 21});
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, 0)));
    struct cp_map_partition upper = row(&b, 1);
    ck_assert_uint_eq(upper.in_sync_count, 1);
    ck_assert_uint_eq(cp_map_copy_on(&upper, "b")->id, 21);
    ck_assert_int_eq(upper.alone_since_ns, 77);
    ck_assert_str_eq(upper.standby, "");
    wrote(&b, 0, CP_COORD_DONE);
    (void)only(&b, CP_OWNERSHIP_OPEN, 0); /* its fork was not taken yet: it is no copy of ours */
    copies[1] = (struct cp_own_copy){.id = 21};
    look(&b);
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, 1)));
    ck_assert_str_eq(row(&b, 1).owner, "b");
    deinit(&b);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {the_half_has_the_forks_of_both,
                                  without_the_fork_of_the_standby_in_sync_there_is_none,
                                  a_standby_that_was_put_out_meanwhile_is_not_named,
                                  one_that_is_alone_is_split_into_two_that_are, NULL};
    return sy_test_run("cp_ownership_split", tests);
}
