/* links: ag */
/* Fencing tokens: those that agents make, and what the header for tasks says of them. */
#include "agent/exec_impl.h"
#include "agent/include/switchyard/fencing.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/lib/test.h"

static const uint32_t edges[] = {0, 1, 9, 10, 99, 4294967294U, UINT32_MAX};

static int order(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

START_TEST(tokens_compare_as_epoch_and_number_do)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 1);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t n[4];
        for (unsigned k = 0; k < 4; k++)
            n[k] = sy_rng_chance(&rng, 1, 2) ? edges[sy_rng_below(&rng, SY_COUNT_OF(edges))]
                                             : (uint32_t)sy_rng_u64(&rng);
        char a[AG_FENCING_TOKEN_MAX], b[AG_FENCING_TOKEN_MAX];
        ag_fencing_token(a, n[0], n[1]);
        ag_fencing_token(b, n[2], n[3]);
        ck_assert(sy_fencing_token_valid(a) && sy_fencing_token_valid(b));
        int want = n[0] != n[2] ? order(n[0], n[2]) : order(n[1], n[3]);
        int got = sy_fencing_token_compare(a, b), as_text = strcmp(a, b);
        ck_assert_int_eq((got > 0) - (got < 0), want);
        ck_assert_int_eq((as_text > 0) - (as_text < 0), want);
        ck_assert_int_eq(sy_fencing_token_admits(a, b), want <= 0);
    }
}
END_TEST

START_TEST(what_is_no_token_admits_nothing)
{
    const char *good = "0000000003.0000000002";
    static const char *const bad[] = {
        "",
        "3.2",
        "0000000003.000000000",
        "0000000003.00000000020",
        "0000000003-0000000002",
        "000000000x.0000000002",
        " 000000003.0000000002",
        "0000000003.0000000002\n",
    };
    ck_assert(sy_fencing_token_admits(NULL, good) && sy_fencing_token_admits("", good));
    ck_assert(!sy_fencing_token_valid(NULL) && !sy_fencing_token_admits(NULL, NULL));
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        ck_assert_msg(!sy_fencing_token_valid(bad[i]), "'%s'", bad[i]);
        ck_assert(!sy_fencing_token_admits(NULL, bad[i]));
        ck_assert(bad[i][0] == '\0' || !sy_fencing_token_admits(bad[i], good));
    }
}
END_TEST

START_TEST(a_process_finds_its_own)
{
    ck_assert_int_eq(unsetenv("SWITCHYARD_FENCING_TOKEN"), 0);
    ck_assert_ptr_null(sy_fencing_token_own());
    ck_assert_int_eq(setenv("SWITCHYARD_FENCING_TOKEN", "7", 1), 0);
    ck_assert_ptr_null(sy_fencing_token_own());
    ck_assert_int_eq(setenv("SWITCHYARD_FENCING_TOKEN", "0000000003.0000000002", 1), 0);
    ck_assert_str_eq(sy_fencing_token_own(), "0000000003.0000000002");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {tokens_compare_as_epoch_and_number_do,
                                  what_is_no_token_admits_nothing, a_process_finds_its_own, NULL};
    return sy_test_run("ag_fencing", tests);
}
