/* A progress line on stderr, only when that is a terminal: rewritten at most ten times a second. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cl_progress_state {
    const char *label;
    uint64_t done, total; /* total 0 = not known */
    uint64_t failed;
    double rate_per_s; /* 0 = not shown */
};
/* Writes one line of at most `width` columns, without a newline. */
void cl_progress_line(char *buf, size_t size, unsigned width,
                      const struct cl_progress_state *state);

struct cl_progress {
    bool shown; /* stderr is a terminal */
    bool visible;
    int64_t started_ns, last_ns;
    uint64_t base; /* done at the start: not counted in the rate */
};
void cl_progress_init(struct cl_progress *progress);
/* Starts the rate anew. */
void cl_progress_restart(struct cl_progress *progress, uint64_t done);
void cl_progress_show(struct cl_progress *progress, const char *label, uint64_t done,
                      uint64_t total, uint64_t failed);
/* For one thing that has no count: what is waited for, and since when. Nothing in the first second.
 */
void cl_progress_wait(struct cl_progress *progress, const char *what);
/* Removes the line: before anything else is printed. */
void cl_progress_clear(struct cl_progress *progress);
