/* Reading logs chunk by chunk, and removing old ones. */
#include "agent/logs_impl.h"

#include "agent/events.h"
#include "agent/logs_record.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_NS (10 * SY_NS_PER_S)
#define CHUNK_BYTES_MAX ((uint32_t)1 << 20)
#define CHUNK_BYTES_MIN ((uint32_t)AG_LOG_RECORD_BYTES_MAX + 8)
#define SWEEP_DEPTH_MAX 5

/* ---- one chunk ---- */

static uint32_t clamp_bytes(uint32_t bytes_max)
{
    if (bytes_max == 0 || bytes_max > CHUNK_BYTES_MAX)
        return CHUNK_BYTES_MAX;
    return bytes_max < CHUNK_BYTES_MIN ? CHUNK_BYTES_MIN : bytes_max;
}

/* Whole records from `offset` on, of the first `size` bytes of the file. From the page cache as a
 * rule. */
static int read_chunk(struct ag_logs *logs, const char *path, uint64_t size, uint32_t bytes_max,
                      struct ag_log_chunk *ret)
{
    sy_buf_clear(&logs->chunk);
    ret->next_offset = ret->offset;
    if (ret->offset >= size)
        return 0;
    uint64_t want = size - ret->offset;
    if (want > bytes_max)
        want = bytes_max;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    sy_buf_reserve(&logs->chunk, want);
    ssize_t n = pread(fd, logs->chunk.data, want, (off_t)ret->offset);
    close(fd);
    if (n < 0)
        return -errno;
    logs->chunk.len = ag_log_records_whole((struct sy_span){logs->chunk.data, (size_t)n});
    if (logs->chunk.len == 0)
        return -EBADMSG; /* the offset is not a record's start */
    ret->data = sy_buf_span(&logs->chunk);
    ret->next_offset = ret->offset + logs->chunk.len;
    return 0;
}

static bool ended(const struct ag_log *log)
{
    return log->writers == 0 && log->writing == NULL && log->pending.len == 0;
}

static void fill_from_open(struct ag_log *log, uint32_t bytes_max, struct ag_log_chunk *ret)
{
    ret->number = log->number;
    ret->found = read_chunk(log->logs, log->path, log->size_written, bytes_max, ret) == 0;
    ret->end = !ret->found || (ended(log) && ret->next_offset >= log->size_written);
}

static void fill_from_disk(struct ag_logs *logs, const char *path, uint32_t bytes_max,
                           struct ag_log_chunk *ret)
{
    struct stat stat_;
    ret->found = stat(path, &stat_) == 0 &&
                 read_chunk(logs, path, (uint64_t)stat_.st_size, bytes_max, ret) == 0;
    ret->end = !ret->found || ret->next_offset >= (uint64_t)stat_.st_size;
}

static uint32_t newest_number(const char *path)
{
    uint32_t newest = 0;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char *end;
        unsigned long number = strtoul(entry->d_name, &end, 10);
        if (strcmp(end, ".log") == 0 && number > newest && number <= UINT32_MAX)
            newest = (uint32_t)number;
    }
    closedir(dir);
    return newest;
}

/* ---- readers that wait ---- */

static void reader_free(struct ag_log_reader *reader)
{
    struct ag_log_reader **at = &reader->log->readers;
    while (*at != reader)
        at = &(*at)->next;
    *at = reader->next;
    sy_timer_stop(reader->logs->loop, &reader->timer);
    free(reader);
}

static void answer(struct ag_log_reader *reader)
{
    struct ag_logs *logs = reader->logs;
    struct ag_log_chunk chunk = {.read = reader->read, .offset = reader->offset};
    fill_from_open(reader->log, reader->bytes_max, &chunk);
    reader_free(reader);
    if (logs->fn != NULL)
        logs->fn(logs->ctx, &chunk);
}

static void on_reader_timer(void *arg)
{
    struct ag_log_reader *reader = arg;
    struct ag_log *log = reader->log;
    answer(reader);
    ag_log_free_if_done(log);
}

void ag_log_serve_readers(struct ag_log *log)
{
    struct ag_log_reader *reader = log->readers;
    while (reader != NULL) {
        struct ag_log_reader *next = reader->next;
        if (log->size_written > reader->offset || ended(log))
            answer(reader);
        reader = next;
    }
}

void ag_log_drop_readers(struct ag_log *log)
{
    struct ag_log_reader *reader = log->readers;
    while (reader != NULL) {
        struct ag_log_reader *next = reader->next;
        reader_free(reader);
        reader = next;
    }
}

void ag_logs_forget_reads(struct ag_logs *logs)
{
    for (unsigned i = 0; i < AG_LOG_BUCKETS; i++) {
        struct ag_log *log = logs->buckets[i];
        while (log != NULL) {
            struct ag_log *next = log->bucket;
            ag_log_drop_readers(log);
            ag_log_free_if_done(log);
            log = next;
        }
    }
}

int ag_logs_read(struct ag_logs *logs, const struct ag_log_read *read, struct ag_log_chunk *ret)
{
    *ret = (struct ag_log_chunk){.read = read->read, .offset = read->offset, .end = true};
    char path[AG_LOG_PATH_MAX];
    uint32_t number = read->number;
    if (number == 0 && ag_logs_path(logs, read->run, read->name, 0, path, sizeof(path)))
        number = newest_number(path);
    if (number == 0 || !ag_logs_path(logs, read->run, read->name, number, path, sizeof(path)))
        return 0;
    ret->number = number;
    struct ag_log *log = ag_logs_find(logs, path);
    uint32_t bytes_max = clamp_bytes(read->bytes_max);
    if (log == NULL) {
        fill_from_disk(logs, path, bytes_max, ret);
        return 0;
    }
    if (log->size_written > read->offset || ended(log) || !read->wait) {
        fill_from_open(log, bytes_max, ret);
        return 0;
    }
    struct ag_log_reader *reader = sy_new(struct ag_log_reader);
    *reader = (struct ag_log_reader){.logs = logs,
                                     .log = log,
                                     .read = read->read,
                                     .offset = read->offset,
                                     .bytes_max = bytes_max};
    sy_timer_init(&reader->timer, on_reader_timer, reader);
    sy_timer_start_in(logs->loop, &reader->timer, WAIT_NS);
    reader->next = log->readers;
    log->readers = reader;
    return AG_LOGS_E_WAITING;
}

/* ---- retention ---- */

static uint64_t sweep_dir(const char *path, unsigned depth, int64_t older_than_s,
                          const _Atomic bool *stop)
{
    uint64_t removed = 0;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    struct dirent *entry;
    while (!*stop && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char child[AG_LOG_PATH_MAX + 260];
        int n = snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        struct stat stat;
        if (n < 0 || (size_t)n >= sizeof(child) || lstat(child, &stat) < 0)
            continue;
        if (S_ISDIR(stat.st_mode) && depth < SWEEP_DEPTH_MAX) {
            removed += sweep_dir(child, depth + 1, older_than_s, stop);
            if (stat.st_mtim.tv_sec < older_than_s)
                (void)rmdir(child); /* stays when it holds something */
        } else if (S_ISREG(stat.st_mode) && stat.st_mtim.tv_sec < older_than_s) {
            removed += unlink(child) == 0;
        }
    }
    closedir(dir);
    return removed;
}

uint64_t ag_logs_sweep(const char *dir, int64_t older_than_realtime_ns, const _Atomic bool *stop)
{
    return sweep_dir(dir, 0, older_than_realtime_ns / SY_NS_PER_S, stop);
}

struct ag_log_sweeper {
    pthread_t thread;
    char *dir;
    int64_t older_than_ns;
    _Atomic bool stop;
    uint64_t removed;
};

static void *sweeper_main(void *arg)
{
    struct ag_log_sweeper *sweeper = arg;
    sweeper->removed = ag_logs_sweep(sweeper->dir, sweeper->older_than_ns, &sweeper->stop);
    return NULL;
}

void ag_logs_sweeper_start(struct ag_logs *logs)
{
    struct ag_log_sweeper *sweeper = sy_new(struct ag_log_sweeper);
    sweeper->dir = sy_strdup(logs->dir);
    sweeper->older_than_ns = sy_loop_realtime_ns(logs->loop) - logs->retention_ns;
    if (pthread_create(&sweeper->thread, NULL, sweeper_main, sweeper) != 0) {
        free(sweeper->dir);
        free(sweeper);
        return; /* the next hour will do */
    }
    logs->sweeper = sweeper;
}

void ag_logs_sweeper_join(struct ag_logs *logs)
{
    struct ag_log_sweeper *sweeper = sy_take(logs->sweeper);
    if (sweeper == NULL)
        return;
    sweeper->stop = true;
    pthread_join(sweeper->thread, NULL);
    if (sweeper->removed > 0)
        sy_log(logs->log, &ag_events, AG_EV_LOGS_SWEPT, SY_U64("files", sweeper->removed));
    free(sweeper->dir);
    free(sweeper);
}
