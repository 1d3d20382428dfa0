/*
 * When an agent stops an attempt by itself (SCH_ON_PARTITION_STOP): it cannot prove any more that
 * those who could begin the work elsewhere still hear of it.
 *
 * Who hears nothing begins it elsewhere a lease after the last that was heard, never earlier: the
 * operator when its node is silent, the partition when its cluster is. A proof is a time on the
 * agent's monotonic clock at which it sent something that both have heard since, so the lease that
 * they count began no earlier. From that time on, without a later proof:
 *
 *     0            lease / 2             3/4 lease                  lease
 *     | runs       | is asked to stop    | is killed                | may begin elsewhere
 *
 * The last quarter is for clocks that do not run alike and for the kill itself. No clock is
 * compared with another's. Pure.
 */
#pragma once

#include "base/error.h"

#include <stdint.h>

#define SCH_STOP_LEASE_MIN_NS (1000 * INT64_C(1000000)) /* else a quarter kills nothing in time */
#define SCH_STOP_LEASE_BEATS 8 /* a proof comes with each beat: some may be late before half */

struct sch_stop_rule {
    int64_t ask_ns, kill_ns; /* since the proof */
};
struct sch_stop_rule sch_stop_rule(int64_t lease_ns);
/* Whether a lease has these margins. -EINVAL: the sentence names `lease_name`, and what would be
 * right. */
int sch_stop_check(const char *lease_name, int64_t lease_ns, int64_t heartbeat_ns,
                   struct sy_error_text *error) SY_MUST_USE;
