/* switchyard.v1.LogRecord on disk: a varint length, then the message. Written by hand: logs are the
 * one place where a task's every line passes. */
#pragma once

#include "base/buf.h"

/* Larger pieces of output are split, so that a reader always finds whole records in a chunk. */
#define AG_LOG_RECORD_DATA_MAX ((size_t)60 << 10)
#define AG_LOG_RECORD_BYTES_MAX ((size_t)61 << 10)

void ag_log_record_put(struct sy_buf *buf, int64_t time_ns, uint32_t stream, const void *data,
                       size_t size);
/* The size of the record at the start of `data`, its length included. 0: it is cut. -1: that is no
 * record. */
int64_t ag_log_record_size(struct sy_span data);
/* How many bytes of `data` are whole records. */
size_t ag_log_records_whole(struct sy_span data);
