/*
 * A histogram of durations (or any amounts), log-linear: 128 buckets for each power of two, so a
 * quantile is off by at most 0.4 % of its value. 58 KiB, constant time, no allocation while
 * recording.
 */
#pragma once

#include <stdint.h>

#define CL_HIST_SUB 128
#define CL_HIST_BUCKETS (58 * CL_HIST_SUB)

struct cl_hist {
    uint64_t count, min, max;
    uint64_t buckets[CL_HIST_BUCKETS];
};

struct cl_hist *cl_hist_new(void); /* free() it */
/* A negative value (a clock that stepped back) counts as 0. */
void cl_hist_record(struct cl_hist *hist, int64_t value);
/* The value that a fraction `q` (0 to 1) of the recorded ones does not exceed; 0 when empty. */
uint64_t cl_hist_quantile(const struct cl_hist *hist, double q);
