/* links: sy_base */
#include "base/rng.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

#include <string.h>

/* splitmix64 and xoshiro256++ written down a second time, after the authors' reference text
 * (prng.di.unimi.it), so that a typing error in one of the two shows. */
static uint64_t reference_splitmix(uint64_t *x)
{
    *x += UINT64_C(11400714819323198485);
    uint64_t z = *x;
    z = (z ^ (z >> 30)) * UINT64_C(13787848793156543929);
    z = (z ^ (z >> 27)) * UINT64_C(10723151780598845931);
    return z ^ (z >> 31);
}

static uint64_t reference_next(uint64_t s[4])
{
    uint64_t sum = s[0] + s[3];
    uint64_t result = ((sum << 23) | (sum >> 41)) + s[0];
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

START_TEST(test_sequence_is_the_published_one)
{
    uint64_t x = 1234567, s[4];
    /* First outputs of splitmix64 for this seed, as published with Java's and Rosetta's versions.
     */
    ck_assert_uint_eq(reference_splitmix(&x), UINT64_C(6457827717110365317));
    ck_assert_uint_eq(reference_splitmix(&x), UINT64_C(3203168211198807973));
    x = 42;
    for (int i = 0; i < 4; i++)
        s[i] = reference_splitmix(&x);
    struct sy_rng rng;
    sy_rng_init(&rng, 42);
    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(sy_rng_u64(&rng), reference_next(s));
    /* xoshiro256++ from the state 1, 2, 3, 4, as rand_xoshiro's tests have it. */
    rng = (struct sy_rng){{1, 2, 3, 4}};
    ck_assert_uint_eq(sy_rng_u64(&rng), 41943041);
    ck_assert_uint_eq(sy_rng_u64(&rng), 58720359);
    ck_assert_uint_eq(sy_rng_u64(&rng), UINT64_C(3588806011781223));
}
END_TEST

START_TEST(test_seeds_differ)
{
    struct sy_rng a, b, c, d;
    sy_rng_init(&a, 0);
    sy_rng_init(&b, 1);
    ck_assert_uint_ne(sy_rng_u64(&a), sy_rng_u64(&b));
    sy_rng_init_from_system(&c);
    sy_rng_init_from_system(&d);
    ck_assert_mem_ne(&c, &d, sizeof(c));
}
END_TEST

START_TEST(test_below_is_uniform)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 7);
    unsigned counts[7] = {0};
    for (int i = 0; i < 70000; i++)
        counts[sy_rng_below(&rng, 7)]++;
    for (int i = 0; i < 7; i++) {
        ck_assert_uint_gt(counts[i], 9500); /* five standard deviations are 463 */
        ck_assert_uint_lt(counts[i], 10500);
    }
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(sy_rng_below(&rng, 1), 0);
}
END_TEST

/* Here a plain multiplication would be biased by half: the lower values must not be twice as
 * likely. */
START_TEST(test_below_with_a_huge_bound)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 9);
    uint64_t bound = UINT64_C(3) << 62;
    unsigned thirds[3] = {0};
    for (int i = 0; i < 30000; i++) {
        uint64_t value = sy_rng_below(&rng, bound);
        ck_assert_uint_lt(value, bound);
        thirds[value >> 62]++;
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_gt(thirds[i], 9500);
        ck_assert_uint_lt(thirds[i], 10500);
    }
    ck_assert_uint_lt(sy_rng_below(&rng, UINT64_MAX), UINT64_MAX);
}
END_TEST

START_TEST(test_chance)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 11);
    unsigned hits = 0;
    for (int i = 0; i < 30000; i++) {
        hits += sy_rng_chance(&rng, 1, 3);
        ck_assert(!sy_rng_chance(&rng, 0, 5));
        ck_assert(sy_rng_chance(&rng, 5, 5));
    }
    ck_assert_uint_gt(hits, 9500);
    ck_assert_uint_lt(hits, 10500);
}
END_TEST

START_TEST(test_name)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 13);
    char name[4001];
    memset(name, 'X', sizeof(name));
    sy_rng_name(&rng, name, 4000);
    ck_assert_uint_eq(strlen(name), 4000);
    ck_assert_uint_eq(strspn(name, "0123456789abcdefghjkmnpqrstvwxyz"), 4000);
    ck_assert_ptr_nonnull(strchr(name, 'z')); /* the whole alphabet is reached */
    ck_assert_ptr_nonnull(strchr(name, '0'));
    sy_rng_name(&rng, name, 0);
    ck_assert_str_eq(name, "");
}
END_TEST

static void below_zero(void *arg)
{
    struct sy_rng *rng = arg;
    (void)sy_rng_below(rng, 0);
}

static void chance_above_one(void *arg)
{
    struct sy_rng *rng = arg;
    (void)sy_rng_chance(rng, 2, 1);
}

START_TEST(test_impossible_bounds_abort)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 0);
    ck_assert(aborts(below_zero, &rng));
    ck_assert(aborts(chance_above_one, &rng));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_sequence_is_the_published_one,
        test_seeds_differ,
        test_below_is_uniform,
        test_below_with_a_huge_bound,
        test_chance,
        test_name,
        test_impossible_bounds_abort,
        NULL,
    };
    return sy_test_run("rng", tests);
}
