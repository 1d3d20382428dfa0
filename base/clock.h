/*
 * The injected clock. Only a loop reads it, once a turn; everything else is handed `now`.
 * Leases and timeouts are measured on the monotonic clock, what people see on the real one.
 * The simulator provides its own.
 */
#pragma once

#include <stdint.h>

#define SY_NS_PER_US 1000LL
#define SY_NS_PER_MS 1000000LL
#define SY_NS_PER_S 1000000000LL

/* "Never": larger than any time a clock returns. */
#define SY_TIME_NEVER INT64_MAX

struct sy_clock {
    int64_t (*monotonic_ns)(void *ctx);
    int64_t (*realtime_ns)(void *ctx); /* since 1970-01-01 UTC */
    void *ctx;
};

/* CLOCK_MONOTONIC and CLOCK_REALTIME of this machine. */
extern const struct sy_clock sy_clock_system;
