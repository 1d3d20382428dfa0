/*
 * How often something happened lately: counts of this minute and the one before. Integers only, so
 * every machine says the same. For estimates shown to people; nothing is decided by it.
 */
#pragma once

#include "base/clock.h"

#include <stdint.h>

#define SCH_STARTS_WINDOW_NS (60 * SY_NS_PER_S)

struct sch_starts {   /* zeroed: nothing yet */
    int64_t since_ns; /* begin of the current window */
    uint32_t now, before;
};

/* Moves the windows on to `now_ns`. */
static inline void sch_starts_roll(struct sch_starts *starts, int64_t now_ns)
{
    int64_t past_ns = now_ns - starts->since_ns;
    if ((starts->now == 0 && starts->before == 0) || past_ns >= 2 * SCH_STARTS_WINDOW_NS) {
        *starts = (struct sch_starts){.since_ns = now_ns};
    } else if (past_ns >= SCH_STARTS_WINDOW_NS) {
        starts->since_ns += SCH_STARTS_WINDOW_NS;
        starts->before = starts->now;
        starts->now = 0;
    }
}

static inline void sch_starts_count(struct sch_starts *starts, int64_t now_ns)
{
    sch_starts_roll(starts, now_ns);
    if (starts->now < UINT32_MAX)
        starts->now++;
}

/* So many in the last *ret_span_ns, which is up to two windows. */
static inline uint64_t sch_starts_read(struct sch_starts starts, int64_t now_ns,
                                       int64_t *ret_span_ns)
{
    sch_starts_roll(&starts, now_ns);
    *ret_span_ns = now_ns - starts.since_ns + (starts.before > 0 ? SCH_STARTS_WINDOW_NS : 0);
    return (uint64_t)starts.now + starts.before;
}
