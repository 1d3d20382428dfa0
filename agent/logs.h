/*
 * The logs of attempts: <dir>/<project>/<domain>/<run>/<action>/<number>.log, each a sequence of
 * switchyard.v1.LogRecord, every record preceded by its length as a varint. A file is made with the
 * first output, and survives the attempt until the retention has passed.
 *
 * Bounded: bytes for each attempt (then one record of the agent says so), open files, bytes that
 * wait for the disk. A write that fails loses log lines, never a task.
 *
 * On the agent's loop; only the sweep of old files runs on a thread of its own.
 */
#pragma once

#include "agent/loop_uring.h"
#include "base/buf.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

enum ag_log_stream {
    AG_LOG_STDOUT = 1,
    AG_LOG_STDERR = 2,
    AG_LOG_TASK = 3,
    AG_LOG_AGENT = 4,
};

struct ag_logs;
struct ag_log;

struct ag_logs_options {
    const char *dir;
    int64_t attempt_bytes_max; /* default 64 MiB */
    int64_t retention_ns;      /* default 7 days */
    unsigned files_max;        /* open at a time; default 256 */
};

/* An answer to ag_logs_read(). `data` holds whole records. */
struct ag_log_chunk {
    uint64_t read;
    bool found;
    uint32_t number;
    uint64_t offset;
    struct sy_span data;
    uint64_t next_offset;
    bool end;
};
typedef void (*ag_log_chunk_fn)(void *ctx, const struct ag_log_chunk *chunk);

int ag_logs_new(struct ag_logs **ret_logs, struct sy_loop *loop, struct ag_io *io,
                const struct ag_logs_options *options, struct sy_log *log,
                struct sy_error_text *error) SY_MUST_USE;
void ag_logs_free(struct ag_logs *logs);
/* Who hears the answers of reads that had to wait. */
void ag_logs_bind(struct ag_logs *logs, ag_log_chunk_fn fn, void *ctx);

/* `run` is "project/domain/run". NULL when a name cannot be a file's: empty, "..", with "/" or
 * control characters, or longer than 200 bytes. No file is made yet. */
struct ag_log *ag_log_open(struct ag_logs *logs, const char *run, const char *name,
                           uint32_t number);
void ag_log_append(struct ag_log *log, int64_t realtime_ns, enum ag_log_stream stream,
                   struct sy_span data);
bool ag_log_has_output(const struct ag_log *log);
/* The attempt has ended: what waits is written, readers hear the end; the pointer is dead. */
void ag_log_end(struct ag_log *log);

struct ag_log_read {
    uint64_t read;
    const char *run, *name;
    uint32_t number; /* 0 = the newest on disk */
    uint64_t offset;
    uint32_t bytes_max;
    bool wait; /* only with a log that is open: the attempt still runs */
};
#define AG_LOGS_E_WAITING 1
/* 0 with *ret filled (its data is valid until the next call into logs), or AG_LOGS_E_WAITING: the
 * bound function hears the answer when there is something, at the end, or in 10 s. */
int ag_logs_read(struct ag_logs *logs, const struct ag_log_read *read,
                 struct ag_log_chunk *ret) SY_MUST_USE;
/* The operator is gone: nobody waits any more. */
void ag_logs_forget_reads(struct ag_logs *logs);

/* Removes files that were last written before now - retention, and folders that became empty; runs
 * by itself each hour. Blocking, in the caller's thread: for the sweep's thread and tests. Returns
 * the files removed. */
uint64_t ag_logs_sweep(const char *dir, int64_t older_than_realtime_ns, const _Atomic bool *stop);
