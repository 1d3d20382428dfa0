/* links: sy_base */
#include "base/clock.h"
#include "tests/lib/test.h"

#include <time.h>

START_TEST(test_monotonic_never_goes_back)
{
    int64_t before = sy_clock_system.monotonic_ns(sy_clock_system.ctx);
    for (int i = 0; i < 10000; i++) {
        int64_t now = sy_clock_system.monotonic_ns(sy_clock_system.ctx);
        ck_assert_int_ge(now, before);
        before = now;
    }
    ck_assert_int_lt(before, SY_TIME_NEVER);
}
END_TEST

START_TEST(test_realtime_is_unix_time_in_ns)
{
    time_t before = time(NULL);
    int64_t now = sy_clock_system.realtime_ns(sy_clock_system.ctx);
    time_t after = time(NULL);
    /* time() reads the coarse clock, which may lag by a tick. */
    ck_assert_int_ge(now / SY_NS_PER_S, before);
    ck_assert_int_le(now / SY_NS_PER_S, after + 1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {test_monotonic_never_goes_back, test_realtime_is_unix_time_in_ns,
                                  NULL};
    return sy_test_run("clock", tests);
}
