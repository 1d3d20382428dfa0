/*
 * Log records (switchyard.v1.LogRecord: whatever a task wrote at a time) become lines
 * (flyteidl2.logs.dataplane.LogLine). A line may come in several records; the rest of each stream
 * is kept until its end comes. Each message ends in a newline, on which the SDK relies. Pure.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define DP_LOG_STREAMS 5                     /* 1 to 4, as in LogRecord; 0 for all others */
#define DP_LOG_LINE_BYTES ((size_t)64 << 10) /* a longer line is cut into several */

struct dp_log_lines {
    struct {
        struct sy_buf text;
        int64_t time_ns; /* of the line's first record */
    } rest[DP_LOG_STREAMS];
};
void dp_log_lines_deinit(struct dp_log_lines *lines);

/* Appends fields `lines` (1) of a TailLogsResponse.Logs. False: the record is malformed. */
bool dp_log_lines_add(struct dp_log_lines *lines, struct sy_span record, struct sy_buf *logs);
/* What is left has no newline to come. */
void dp_log_lines_end(struct dp_log_lines *lines, struct sy_buf *logs);
