/* links: cp */
/* Which partition has which hashes. */
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/ranges.h"
#include "tests/lib/test.h"

#include <string.h>

#define PARTITIONS_MAX 64u

static void free_ranges(struct cp_ranges **ranges)
{
    cp_ranges_free(*ranges);
}

START_TEST(even_ranges_are_where_runs_have_always_been)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 7);
    for (uint32_t count = 1; count <= 257; count++) {
        SY_CLEANUP(free_ranges) struct cp_ranges *even = cp_ranges_new_even(count);
        ck_assert_uint_eq(cp_ranges_count(even), count);
        ck_assert_uint_eq(cp_ranges_find(even, 0), 0);
        ck_assert_uint_eq(cp_ranges_find(even, UINT64_MAX), count - 1);
        for (uint32_t i = 0; i < count; i++) {
            struct cp_range range = cp_range_even(i, count);
            ck_assert_uint_eq(cp_range_even_of(range.first, count), i);
            ck_assert_uint_eq(cp_range_even_of(range.last, count), i);
            ck_assert_uint_eq(cp_ranges_of(even, i).first, range.first);
            ck_assert_uint_eq(cp_ranges_of(even, i).last, range.last);
            uint64_t hash = sy_rng_u64(&rng);
            ck_assert_uint_eq(cp_ranges_find(even, hash), cp_range_even_of(hash, count));
        }
    }
}
END_TEST

/* Ranges that began as `count` even ones, of which any was cut in two, again and again. */
static uint32_t draw_ranges(struct sy_rng *rng, struct cp_range ret[PARTITIONS_MAX])
{
    uint32_t count = 1 + (uint32_t)sy_rng_below(rng, 8);
    for (uint32_t i = 0; i < count; i++)
        ret[i] = cp_range_even(i, count);
    for (; count < PARTITIONS_MAX && !sy_rng_chance(rng, 1, 20); count++) {
        struct cp_range *cut = &ret[sy_rng_below(rng, count)];
        uint64_t size = cut->last - cut->first;
        if (size == 0)
            continue;
        uint64_t at = cut->first + 1 + sy_rng_below(rng, size);
        ret[count] = (struct cp_range){at, cut->last};
        cut->last = at - 1;
    }
    return count;
}

static uint32_t brute_find(const struct cp_range *ranges, uint32_t count, uint64_t hash)
{
    uint32_t found = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        if (!cp_range_has(&ranges[i], hash))
            continue;
        ck_assert_uint_eq(found, UINT32_MAX);
        found = i;
    }
    ck_assert_uint_ne(found, UINT32_MAX);
    return found;
}

START_TEST(every_hash_is_in_exactly_one_however_ranges_were_cut)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 11);
    for (int round = 0; round < 300; round++) {
        struct cp_range ranges[PARTITIONS_MAX] = {{0}};
        uint32_t count = draw_ranges(&rng, ranges);
        SY_CLEANUP(free_ranges) struct cp_ranges *made = cp_ranges_new(ranges, count);
        ck_assert_ptr_nonnull(made);
        for (uint32_t i = 0; i < count; i++) {
            const uint64_t hashes[] = {ranges[i].first, ranges[i].last, sy_rng_u64(&rng)};
            for (size_t h = 0; h < SY_COUNT_OF(hashes); h++)
                ck_assert_uint_eq(cp_ranges_find(made, hashes[h]),
                                  brute_find(ranges, count, hashes[h]));
        }
    }
}
END_TEST

static void expect_refused(const struct cp_range *ranges, uint32_t count)
{
    ck_assert_ptr_null(cp_ranges_new(ranges, count));
}

START_TEST(what_is_not_all_hashes_once_is_refused)
{
    const struct cp_range fine[] = {{0, 9}, {20, UINT64_MAX}, {10, 19}};
    SY_CLEANUP(free_ranges) struct cp_ranges *made = cp_ranges_new(fine, 3);
    ck_assert_ptr_nonnull(made);
    expect_refused(NULL, 0);
    expect_refused(fine, 2);                                                  /* a gap */
    expect_refused(&fine[1], 2);                                              /* no beginning */
    expect_refused((struct cp_range[]){{0, 9}, {10, 19}}, 2);                 /* no end */
    expect_refused((struct cp_range[]){{0, 10}, {10, UINT64_MAX}}, 2);        /* 10 is in both */
    expect_refused((struct cp_range[]){{0, UINT64_MAX}, {0, UINT64_MAX}}, 2); /* all are */
    expect_refused((struct cp_range[]){{0, UINT64_MAX}, {10, 9}}, 2);         /* the wrong way */
    expect_refused((struct cp_range[]){{0, UINT64_MAX}, {5, 9}}, 2);
    struct cp_range damaged[PARTITIONS_MAX] = {{0}};
    struct sy_rng rng;
    sy_rng_init(&rng, 13);
    for (int round = 0; round < 300; round++) {
        uint32_t count = draw_ranges(&rng, damaged);
        struct cp_range *one = &damaged[sy_rng_below(&rng, count)];
        *(sy_rng_chance(&rng, 1, 2) ? &one->first : &one->last) += 1 + sy_rng_below(&rng, 1000);
        expect_refused(damaged, count);
    }
}
END_TEST

START_TEST(a_shard_has_the_newest)
{
    struct cp_ranges_now now = {NULL};
    cp_ranges_set(&now, cp_ranges_new_even(2));
    const struct cp_ranges *before = cp_ranges_get(&now);
    const struct cp_range cut[] = {{0, 9}, cp_range_even(1, 2), {10, cp_range_even(0, 2).last}};
    cp_ranges_set(&now, cp_ranges_new(cut, 3));
    ck_assert_uint_eq(cp_ranges_find(cp_ranges_get(&now), 10), 2);
    ck_assert_uint_eq(cp_ranges_find(before, 10), 0); /* who reads it may go on */
    SY_CLEANUP(free_ranges) struct cp_ranges *same = cp_ranges_new(cut, 3);
    ck_assert(cp_ranges_same(same, cp_ranges_get(&now)));
    ck_assert(!cp_ranges_same(same, before));
    cp_ranges_now_deinit(&now);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {even_ranges_are_where_runs_have_always_been,
                                  every_hash_is_in_exactly_one_however_ranges_were_cut,
                                  what_is_not_all_hashes_once_is_refused, a_shard_has_the_newest,
                                  NULL};
    return sy_test_run("cp_ranges", tests);
}
