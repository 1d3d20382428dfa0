/* What logs.c and logs_read.c share. Nobody else includes this header. */
#pragma once

#include "agent/logs.h"

#define AG_LOG_PATH_MAX 1200

struct ag_log_reader {
    struct ag_log_reader *next;
    struct ag_logs *logs;
    struct ag_log *log;
    struct sy_timer timer;
    uint64_t read, offset;
    uint32_t bytes_max;
};

struct ag_log {
    struct ag_log *bucket; /* next in its hash bucket */
    struct ag_log *dirty_next;
    struct ag_log *lru_next, *lru_previous; /* while the file is open */
    struct ag_logs *logs;
    char *path;
    uint64_t hash;
    unsigned writers;
    uint32_t number;
    int fd; /* -1: closed */
    bool exists, dirty, cut, failed;
    uint64_t size_written; /* whole records, readable */
    uint64_t bytes;        /* accepted, against the limit */
    struct sy_buf pending;
    struct ag_io_op *writing; /* one at a time: the file's end is then always whole */
    uint32_t write_done, write_size;
    struct ag_log_reader *readers;
};

#define AG_LOG_BUCKETS 4096

struct ag_logs {
    struct sy_loop *loop;
    struct ag_io *io;
    struct sy_log *log;
    char *dir;
    int64_t attempt_bytes_max, retention_ns;
    unsigned files_max, files_open;
    struct ag_log *buckets[AG_LOG_BUCKETS];
    struct ag_log *dirty;
    struct ag_log *lru_first, *lru_last; /* most recently written first */
    uint64_t bytes_waiting;
    struct sy_turn_end turn_end;
    ag_log_chunk_fn fn;
    void *ctx;
    struct sy_buf chunk;
    char last_dir[AG_LOG_PATH_MAX]; /* made lately */
    struct sy_timer sweep_timer;
    struct ag_log_sweeper *sweeper;
};

/* "<dir>/<run>/<name>" plus, for a number, "/<number>.log". False: not usable as a path. */
bool ag_logs_path(const struct ag_logs *logs, const char *run, const char *name, uint32_t number,
                  char *ret, size_t size);
struct ag_log *ag_logs_find(struct ag_logs *logs, const char *path);
void ag_log_free_if_done(struct ag_log *log);
/* More can be read, or the log has ended. */
void ag_log_serve_readers(struct ag_log *log);
void ag_log_drop_readers(struct ag_log *log);

void ag_logs_sweeper_start(struct ag_logs *logs);
void ag_logs_sweeper_join(struct ag_logs *logs);
