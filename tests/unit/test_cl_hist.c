/* links: cl */
#include "base/rng.h"
#include "tests/lib/test.h"
#include "tools/src/cl_hist.h"

#include <math.h>
#include <stdlib.h>

static void near(uint64_t value, double expected)
{
    double error = expected > 0 ? fabs((double)value - expected) / expected : (double)value;
    ck_assert_msg(error <= 0.01, "%llu is not within 1%% of %g", (unsigned long long)value,
                  expected);
}

START_TEST(test_empty)
{
    struct cl_hist *hist = cl_hist_new();
    ck_assert_uint_eq(cl_hist_quantile(hist, 0.5), 0);
    ck_assert_uint_eq(hist->count, 0);
    free(hist);
}
END_TEST

START_TEST(test_one_value_of_any_size_is_within_a_percent)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 7);
    for (int i = 0; i < 2000; i++) {
        int64_t value = (int64_t)(sy_rng_u64(&rng) >> (1 + sy_rng_below(&rng, 63)));
        struct cl_hist *hist = cl_hist_new();
        cl_hist_record(hist, value);
        cl_hist_record(hist, 0);
        cl_hist_record(hist, INT64_MAX); /* so that neither end clamps it */
        near(cl_hist_quantile(hist, 0.5), (double)value);
        free(hist);
    }
}
END_TEST

START_TEST(test_extremes)
{
    struct cl_hist *hist = cl_hist_new();
    cl_hist_record(hist, -5);
    cl_hist_record(hist, INT64_MAX);
    ck_assert_uint_eq(hist->min, 0);
    ck_assert_uint_eq(hist->max, INT64_MAX);
    ck_assert_uint_eq(cl_hist_quantile(hist, 0), 0);
    near(cl_hist_quantile(hist, 1), (double)INT64_MAX);
    free(hist);
}
END_TEST

START_TEST(test_quantiles_of_a_ramp)
{
    struct cl_hist *hist = cl_hist_new();
    for (int64_t i = 1; i <= 100000; i++)
        cl_hist_record(hist, i * 1000);
    near(cl_hist_quantile(hist, 0.5), 5e7);
    near(cl_hist_quantile(hist, 0.99), 9.9e7);
    near(cl_hist_quantile(hist, 0.999), 9.99e7);
    ck_assert_uint_eq(cl_hist_quantile(hist, 1), 100000000);
    uint64_t last = 0;
    for (int percent = 0; percent <= 100; percent++) {
        uint64_t value = cl_hist_quantile(hist, percent / 100.0);
        ck_assert_uint_ge(value, last);
        last = value;
    }
    free(hist);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_empty,    test_one_value_of_any_size_is_within_a_percent,
        test_extremes, test_quantiles_of_a_ramp,
        NULL,
    };
    return sy_test_run("cl_hist", tests);
}
