#include "scheduler/stop.h"

#include "base/clock.h"

#include <errno.h>

struct sch_stop_rule sch_stop_rule(int64_t lease_ns)
{
    SY_ASSERT(lease_ns > 0);
    int64_t quarter_ns = lease_ns / 4;
    return (struct sch_stop_rule){.ask_ns = 2 * quarter_ns, .kill_ns = 3 * quarter_ns};
}

int sch_stop_check(const char *lease_name, int64_t lease_ns, int64_t heartbeat_ns,
                   struct sy_error_text *error)
{
    int64_t least_ns = SCH_STOP_LEASE_BEATS * heartbeat_ns;
    if (least_ns < SCH_STOP_LEASE_MIN_NS)
        least_ns = SCH_STOP_LEASE_MIN_NS;
    if (lease_ns >= least_ns)
        return 0;
    sy_error_text_set(error,
                      "stop-on-agent needs a %s of %lld ms or more (1 s, and %d heartbeats of %lld "
                      "ms) to stop a task in time, it is %lld ms",
                      lease_name, (long long)(least_ns / SY_NS_PER_MS), SCH_STOP_LEASE_BEATS,
                      (long long)(heartbeat_ns / SY_NS_PER_MS),
                      (long long)(lease_ns / SY_NS_PER_MS));
    return -EINVAL;
}
