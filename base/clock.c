#include "base/clock.h"

#include "base/error.h"

#include <stddef.h>
#include <time.h>

static int64_t read_ns(clockid_t id)
{
    struct timespec ts;
    int r = clock_gettime(id, &ts);
    SY_ASSERT(r == 0);
    SY_ASSERT(ts.tv_sec >= 0);
    return (int64_t)ts.tv_sec * SY_NS_PER_S + ts.tv_nsec;
}

static int64_t system_monotonic_ns(void *ctx)
{
    (void)ctx;
    return read_ns(CLOCK_MONOTONIC);
}

static int64_t system_realtime_ns(void *ctx)
{
    (void)ctx;
    return read_ns(CLOCK_REALTIME);
}

const struct sy_clock sy_clock_system = {system_monotonic_ns, system_realtime_ns, NULL};
