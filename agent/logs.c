/* Writing: records gather in memory during a turn and leave as one write for each file. */
#include "agent/logs_impl.h"

#include "agent/events.h"
#include "agent/logs_record.h"
#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BYTES_MAX 200
#define WAITING_BYTES_MAX ((uint64_t)256 << 20)
#define WRITE_BYTES_MAX ((size_t)1 << 20)
#define ATTEMPT_BYTES_DEFAULT ((int64_t)64 << 20)
#define RETENTION_DEFAULT_NS (7 * 24 * 3600 * SY_NS_PER_S)
#define FILES_DEFAULT 256

static void on_written(struct ag_io_op *op, int result);

/* ---- names ---- */

static bool component_valid(const char *text, size_t length)
{
    if (length == 0 || length > NAME_BYTES_MAX)
        return false;
    if (text[0] == '.' && (length == 1 || (length == 2 && text[1] == '.')))
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\')
            return false;
    }
    return true;
}

bool ag_logs_path(const struct ag_logs *logs, const char *run, const char *name, uint32_t number,
                  char *ret, size_t size)
{
    const char *at = run;
    for (unsigned i = 0; i < 3; i++) {
        size_t length = strcspn(at, "/");
        if (!component_valid(at, length) || (i < 2) != (at[length] == '/'))
            return false;
        at += length + (i < 2);
    }
    if (!component_valid(name, strlen(name)))
        return false;
    int n = number == 0 ? snprintf(ret, size, "%s/%s/%s", logs->dir, run, name)
                        : snprintf(ret, size, "%s/%s/%s/%u.log", logs->dir, run, name, number);
    return n > 0 && (size_t)n < size;
}

static uint64_t hash_path(const char *path)
{
    uint64_t hash = 1469598103934665603ull; /* FNV-1a */
    for (; *path != '\0'; path++)
        hash = (hash ^ (uint8_t)*path) * 1099511628211ull;
    return hash ^ hash >> 32;
}

struct ag_log *ag_logs_find(struct ag_logs *logs, const char *path)
{
    uint64_t hash = hash_path(path);
    struct ag_log *log = logs->buckets[hash % AG_LOG_BUCKETS];
    while (log != NULL && (log->hash != hash || strcmp(log->path, path) != 0))
        log = log->bucket;
    return log;
}

/* ---- open files ---- */

static void lru_remove(struct ag_log *log)
{
    struct ag_logs *logs = log->logs;
    if (log->lru_previous != NULL)
        log->lru_previous->lru_next = log->lru_next;
    else
        logs->lru_first = log->lru_next;
    if (log->lru_next != NULL)
        log->lru_next->lru_previous = log->lru_previous;
    else
        logs->lru_last = log->lru_previous;
    log->lru_next = log->lru_previous = NULL;
}

static void lru_push(struct ag_log *log)
{
    struct ag_logs *logs = log->logs;
    log->lru_previous = NULL;
    log->lru_next = logs->lru_first;
    if (logs->lru_first != NULL)
        logs->lru_first->lru_previous = log;
    else
        logs->lru_last = log;
    logs->lru_first = log;
}

static void close_file(struct ag_log *log)
{
    if (log->fd < 0)
        return;
    SY_ASSERT(log->writing == NULL);
    close(log->fd);
    log->fd = -1;
    lru_remove(log);
    log->logs->files_open--;
}

/* The one not written for longest and not being written now. */
static void close_oldest(struct ag_logs *logs)
{
    struct ag_log *log = logs->lru_last;
    while (log != NULL && log->writing != NULL)
        log = log->lru_previous;
    if (log != NULL)
        close_file(log);
}

/* A file of an earlier agent may end in a torn record: cut it off. */
static int find_end(struct ag_log *log)
{
    struct stat stat;
    if (fstat(log->fd, &stat) < 0)
        return -errno;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0};
    sy_buf_reserve(&buf, WRITE_BYTES_MAX);
    uint64_t at = 0;
    while (at < (uint64_t)stat.st_size) {
        ssize_t n = pread(log->fd, buf.data, WRITE_BYTES_MAX, (off_t)at);
        size_t whole = n > 0 ? ag_log_records_whole((struct sy_span){buf.data, (size_t)n}) : 0;
        if (whole == 0)
            break;
        at += whole;
    }
    log->size_written = log->bytes = at;
    if (at < (uint64_t)stat.st_size && ftruncate(log->fd, (off_t)at) < 0)
        return -errno;
    return 0;
}

static int open_file(struct ag_log *log)
{
    struct ag_logs *logs = log->logs;
    if (logs->files_open >= logs->files_max)
        close_oldest(logs);
    char dir[AG_LOG_PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", log->path);
    *strrchr(dir, '/') = '\0';
    int r = 0;
    for (unsigned tries = 0; tries < 3; tries++) {
        if (!log->exists && strcmp(dir, logs->last_dir) != 0)
            r = sy_mkdir_p(dir, 0700);
        if (r < 0)
            return r;
        snprintf(logs->last_dir, sizeof(logs->last_dir), "%s", dir);
        log->fd = open(log->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (log->fd >= 0 || errno != ENOENT)
            break;
        logs->last_dir[0] = '\0'; /* the sweep has just removed the folder */
        log->exists = false;
    }
    if (log->fd < 0)
        return -errno;
    logs->files_open++;
    lru_push(log);
    r = log->exists ? 0 : find_end(log);
    log->exists = true;
    return r;
}

/* ---- writing ---- */

static void fail(struct ag_log *log, int error)
{
    sy_log(log->logs->log, &ag_events, AG_EV_LOG_FAILED, SY_STR("file", log->path),
           SY_STR("error", strerror(-error)));
    log->failed = true;
    log->logs->bytes_waiting -= log->pending.len;
    sy_buf_deinit(&log->pending);
}

/* `pending` may be larger than one write: whole records only, so that a reader never sees half of
 * one. */
static void start_write(struct ag_log *log)
{
    SY_ASSERT(log->writing == NULL && log->pending.len > 0);
    int r = log->fd < 0 ? open_file(log) : 0;
    if (r < 0) {
        fail(log, r);
        return;
    }
    size_t size = log->pending.len;
    if (size > WRITE_BYTES_MAX)
        size = ag_log_records_whole((struct sy_span){log->pending.data, WRITE_BYTES_MAX});
    SY_ASSERT(size > 0);
    struct ag_io_op *op = ag_io_op_new(sizeof(*op) + size, on_written, log);
    memcpy(op + 1, log->pending.data, size);
    sy_buf_consume(&log->pending, size);
    if (log->pending.len == 0)
        sy_buf_deinit(&log->pending);
    log->writing = op;
    log->write_size = (uint32_t)size;
    log->write_done = 0;
    lru_remove(log);
    lru_push(log);
    ag_io_write(log->logs->io, op, log->fd, op + 1, (uint32_t)size, (int64_t)log->size_written);
}

static void on_written(struct ag_io_op *op, int result)
{
    struct ag_log *log = op->owner;
    if (result > 0)
        log->write_done += (uint32_t)result;
    if (result > 0 && log->write_done < log->write_size) {
        ag_io_write(log->logs->io, op, log->fd, (uint8_t *)(op + 1) + log->write_done,
                    log->write_size - log->write_done,
                    (int64_t)(log->size_written + log->write_done));
        return;
    }
    log->logs->bytes_waiting -= log->write_size;
    log->writing = NULL;
    free(op);
    if (result > 0)
        log->size_written += log->write_size;
    else
        fail(log, result == 0 ? -EIO : result);
    if (log->pending.len > 0)
        start_write(log);
    if (log->writing == NULL && log->writers == 0)
        close_file(log);
    ag_log_serve_readers(log);
    ag_log_free_if_done(log);
}

static void on_turn_end(void *arg)
{
    struct ag_logs *logs = arg;
    while (logs->dirty != NULL) {
        struct ag_log *log = logs->dirty;
        logs->dirty = log->dirty_next;
        log->dirty = false;
        if (log->writing == NULL && log->pending.len > 0)
            start_write(log);
        if (log->writing == NULL && log->writers == 0)
            close_file(log);
        ag_log_serve_readers(log);
        ag_log_free_if_done(log);
    }
}

static void mark_dirty(struct ag_log *log)
{
    if (log->dirty)
        return;
    log->dirty = true;
    log->dirty_next = log->logs->dirty;
    log->logs->dirty = log;
}

static void put(struct ag_log *log, int64_t realtime_ns, uint32_t stream, const void *data,
                size_t size)
{
    size_t before = log->pending.len;
    ag_log_record_put(&log->pending, realtime_ns, stream, data, size);
    log->bytes += log->pending.len - before;
    log->logs->bytes_waiting += log->pending.len - before;
}

static void cut(struct ag_log *log, int64_t realtime_ns, const char *why)
{
    if (!log->cut)
        put(log, realtime_ns, AG_LOG_AGENT, why, strlen(why));
    log->cut = true;
}

void ag_log_append(struct ag_log *log, int64_t realtime_ns, enum ag_log_stream stream,
                   struct sy_span data)
{
    struct ag_logs *logs = log->logs;
    while (data.len > 0 && !log->failed && !log->cut) {
        size_t n = data.len < AG_LOG_RECORD_DATA_MAX ? data.len : AG_LOG_RECORD_DATA_MAX;
        if (log->bytes + n > (uint64_t)logs->attempt_bytes_max)
            cut(log, realtime_ns, "log cut: it has reached its size limit\n");
        else if (logs->bytes_waiting + n > WAITING_BYTES_MAX)
            cut(log, realtime_ns, "log cut: the disk does not keep up\n");
        else
            put(log, realtime_ns, stream, data.data, n);
        data.data += n;
        data.len -= n;
    }
    mark_dirty(log);
}

/* ---- life ---- */

struct ag_log *ag_log_open(struct ag_logs *logs, const char *run, const char *name, uint32_t number)
{
    char path[AG_LOG_PATH_MAX];
    if (number == 0 || !ag_logs_path(logs, run, name, number, path, sizeof(path)))
        return NULL;
    struct ag_log *log = ag_logs_find(logs, path);
    if (log == NULL) {
        log = sy_new(struct ag_log);
        log->logs = logs;
        log->path = sy_strdup(path);
        log->hash = hash_path(path);
        log->number = number;
        log->fd = -1;
        log->bucket = logs->buckets[log->hash % AG_LOG_BUCKETS];
        logs->buckets[log->hash % AG_LOG_BUCKETS] = log;
    }
    log->writers++;
    return log;
}

bool ag_log_has_output(const struct ag_log *log)
{
    return log->bytes > 0;
}

void ag_log_end(struct ag_log *log)
{
    SY_ASSERT(log->writers > 0);
    log->writers--;
    mark_dirty(log); /* the rest happens at the end of the turn */
}

static void free_log(struct ag_log *log)
{
    struct ag_log **at = &log->logs->buckets[log->hash % AG_LOG_BUCKETS];
    while (*at != log)
        at = &(*at)->bucket;
    *at = log->bucket;
    close_file(log);
    sy_buf_deinit(&log->pending);
    free(log->path);
    free(log);
}

void ag_log_free_if_done(struct ag_log *log)
{
    if (log->writers == 0 && !log->dirty && log->writing == NULL && log->pending.len == 0 &&
        log->readers == NULL)
        free_log(log);
}

static void on_sweep_timer(void *arg)
{
    struct ag_logs *logs = arg;
    ag_logs_sweeper_join(logs);
    ag_logs_sweeper_start(logs);
    sy_timer_start_in(logs->loop, &logs->sweep_timer, 3600 * SY_NS_PER_S);
}

int ag_logs_new(struct ag_logs **ret_logs, struct sy_loop *loop, struct ag_io *io,
                const struct ag_logs_options *options, struct sy_log *log,
                struct sy_error_text *error)
{
    int r = sy_mkdir_p(options->dir, 0700);
    if (r < 0) {
        sy_error_text_set(error, "logs directory '%s': %s", options->dir, strerror(-r));
        return r;
    }
    struct ag_logs *logs = sy_new(struct ag_logs);
    logs->loop = loop;
    logs->io = io;
    logs->log = log;
    logs->dir = sy_strdup(options->dir);
    logs->attempt_bytes_max = options->attempt_bytes_max ? options->attempt_bytes_max
                                                         : ATTEMPT_BYTES_DEFAULT;
    logs->retention_ns = options->retention_ns ? options->retention_ns : RETENTION_DEFAULT_NS;
    logs->files_max = options->files_max ? options->files_max : FILES_DEFAULT;
    logs->turn_end = (struct sy_turn_end){.fn = on_turn_end, .arg = logs};
    sy_loop_add_turn_end(loop, &logs->turn_end);
    sy_timer_init(&logs->sweep_timer, on_sweep_timer, logs);
    sy_timer_start_in(loop, &logs->sweep_timer, 60 * SY_NS_PER_S);
    *ret_logs = logs;
    return 0;
}

void ag_logs_bind(struct ag_logs *logs, ag_log_chunk_fn fn, void *ctx)
{
    logs->fn = fn;
    logs->ctx = ctx;
}

/* No loop turns will come: what gathered behind a write in flight follows it. */
static void finish_by_hand(struct ag_log *log)
{
    if (log->writing == NULL)
        return;
    ag_io_abandon(log->logs->io, log->writing);
    log->writing = NULL;
    if (log->pending.len > 0 && pwrite(log->fd, log->pending.data, log->pending.len,
                                       (off_t)(log->size_written + log->write_size)) < 0)
        fail(log, -errno);
}

void ag_logs_free(struct ag_logs *logs)
{
    if (logs == NULL)
        return;
    ag_logs_sweeper_join(logs);
    sy_timer_stop(logs->loop, &logs->sweep_timer);
    on_turn_end(logs);
    sy_loop_remove_turn_end(logs->loop, &logs->turn_end);
    for (unsigned i = 0; i < AG_LOG_BUCKETS; i++) {
        struct ag_log *log = logs->buckets[i];
        while (log != NULL) {
            struct ag_log *next = log->bucket;
            finish_by_hand(log);
            ag_log_drop_readers(log);
            free_log(log);
            log = next;
        }
    }
    sy_buf_deinit(&logs->chunk);
    free(logs->dir);
    free(logs);
}
