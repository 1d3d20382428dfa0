/*
 * The journal in a file. A header, then records:
 *
 *     length (4, little-endian; of what follows the checksum)   XXH3-64 of it (8)
 *     type (1)   partition (4) action (8) number (4) epoch (4)   outcome bytes
 *
 * Appended with one write() a turn. No fsync: what must survive is the death of this process, and
 * the page cache does. After the machine's death its tasks are gone too, and the operator counts
 * what the agent does not name as lost.
 *
 * When more than half of a file above 8 MiB is forgotten it is written anew beside it and renamed.
 */
#include "agent/events.h"
#include "agent/journal_table.h"
#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define FILE_BYTES_MAX ((size_t)4 << 30)
#define COMPACT_BYTES ((uint64_t)8 << 20)
#define HEAD_BYTES 12
#define KEY_BYTES 21
#define RECORD_BYTES_MAX ((uint32_t)64 << 20)

static const char magic[16] = "SYAGJOURNAL0001";

enum record_type { RECORD_RUNNING = 1, RECORD_OUTCOME, RECORD_FORGET, RECORD_PROCESS };

_Static_assert(AG_JOURNAL_RECORD_BYTES >= HEAD_BYTES + KEY_BYTES,
               "an estimate that is not too low");

struct journal_file {
    struct ag_journal base;
    struct ag_journal_table table;
    struct sy_log *log;
    char *path;
    int fd;
    uint64_t file_bytes;
    struct sy_buf pending;
    bool failing;
};

/* ---- records ---- */

static void put_key(uint8_t *at, enum record_type type, const struct ag_attempt_key *key)
{
    at[0] = (uint8_t)type;
    sy_put_le32(at + 1, key->partition);
    sy_put_le32(at + 5, (uint32_t)key->action);
    sy_put_le32(at + 9, (uint32_t)(key->action >> 32));
    sy_put_le32(at + 13, key->number);
    sy_put_le32(at + 17, key->epoch);
}

static struct ag_attempt_key get_key(const uint8_t *at)
{
    return (struct ag_attempt_key){
        .partition = sy_get_le32(at + 1),
        .action = sy_get_le32(at + 5) | (uint64_t)sy_get_le32(at + 9) << 32,
        .number = sy_get_le32(at + 13),
        .epoch = sy_get_le32(at + 17),
    };
}

static void put_record(struct sy_buf *buf, enum record_type type, const struct ag_attempt_key *key,
                       struct sy_span outcome)
{
    size_t length = KEY_BYTES + outcome.len;
    sy_buf_reserve(buf, HEAD_BYTES + length);
    uint8_t *at = buf->data + buf->len;
    put_key(at + HEAD_BYTES, type, key);
    if (outcome.len > 0)
        memcpy(at + HEAD_BYTES + KEY_BYTES, outcome.data, outcome.len);
    uint64_t sum = XXH3_64bits(at + HEAD_BYTES, length);
    sy_put_le32(at, (uint32_t)length);
    memcpy(at + 4, &sum, sizeof(sum));
    buf->len += HEAD_BYTES + length;
}

static void apply(struct journal_file *j, const uint8_t *at, size_t length)
{
    struct ag_attempt_key key = get_key(at);
    switch ((enum record_type)at[0]) {
    case RECORD_RUNNING:
        ag_journal_table_running(&j->table, &key);
        break;
    case RECORD_OUTCOME:
        ag_journal_table_outcome(&j->table, &key,
                                 (struct sy_span){at + KEY_BYTES, length - KEY_BYTES});
        break;
    case RECORD_FORGET:
        ag_journal_table_forget(&j->table, &key);
        break;
    case RECORD_PROCESS: /* pid in `partition`, start time in `action` */
        ag_journal_table_process(&j->table, (pid_t)key.partition, key.action);
        break;
    }
}

/* Returns how many bytes were whole records. */
static size_t parse(struct journal_file *j, const uint8_t *data, size_t size)
{
    size_t at = 0;
    while (size - at >= HEAD_BYTES + KEY_BYTES) {
        uint32_t length = sy_get_le32(data + at);
        uint64_t sum;
        memcpy(&sum, data + at + 4, sizeof(sum));
        if (length < KEY_BYTES || length > RECORD_BYTES_MAX || length > size - at - HEAD_BYTES)
            break;
        if (XXH3_64bits(data + at + HEAD_BYTES, length) != sum)
            break;
        apply(j, data + at + HEAD_BYTES, length);
        at += HEAD_BYTES + length;
    }
    return at;
}

/* ---- the file ---- */

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static void collect_running(void *ctx, const struct ag_attempt_key *key)
{
    put_record(ctx, RECORD_RUNNING, key, (struct sy_span){0});
}

static void collect_outcome(void *ctx, const struct ag_attempt_key *key, struct sy_span outcome)
{
    put_record(ctx, RECORD_OUTCOME, key, outcome);
}

static void collect_process(void *ctx, pid_t pid, uint64_t start_time)
{
    struct ag_attempt_key key = {.partition = (uint32_t)pid, .action = start_time};
    put_record(ctx, RECORD_PROCESS, &key, (struct sy_span){0});
}

/* Writes what is live into a new file and takes it as ours. */
static int rewrite(struct journal_file *j)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf content = {0}, name = {0};
    sy_buf_append(&content, magic, sizeof(magic));
    struct ag_journal_visitor visitor = {collect_running, collect_outcome, collect_process,
                                         &content};
    ag_journal_table_replay(&j->table, &visitor);
    sy_buf_printf(&name, "%s.new", j->path);
    const char *path = (const char *)name.data;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return sy_trace(-errno);
    int r = write_all(fd, content.data, content.len);
    if (r == 0 && rename(path, j->path) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        unlink(path);
        return sy_trace(r);
    }
    if (j->fd >= 0)
        close(j->fd);
    j->fd = fd;
    j->file_bytes = content.len;
    return 0;
}

static int load(struct journal_file *j, struct sy_error_text *error)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf content = {0};
    int r = sy_file_read(j->path, FILE_BYTES_MAX, &content);
    if (r < 0 && r != -ENOENT) {
        sy_error_text_set(error, "journal '%s': %s", j->path, strerror(-r));
        return r;
    }
    if (content.len > 0 && content.len < sizeof(magic)) {
        sy_log(j->log, &ag_events, AG_EV_JOURNAL_TORN, SY_STR("file", j->path),
               SY_U64("bytes_cut", content.len));
    } else if (content.len > 0) {
        if (memcmp(content.data, magic, sizeof(magic)) != 0) {
            sy_error_text_set(error, "journal '%s' is not one of this version (expected %s)",
                              j->path, magic);
            return -EINVAL;
        }
        size_t size = content.len - sizeof(magic);
        size_t whole = parse(j, content.data + sizeof(magic), size);
        if (whole < size)
            sy_log(j->log, &ag_events, AG_EV_JOURNAL_TORN, SY_STR("file", j->path),
                   SY_U64("bytes_cut", size - whole));
    }
    r = rewrite(j);
    if (r < 0)
        sy_error_text_set(error, "journal '%s': %s", j->path, strerror(-r));
    return r;
}

/* ---- the port ---- */

static void file_replay(struct ag_journal *base, const struct ag_journal_visitor *visitor)
{
    ag_journal_table_replay(&((struct journal_file *)base)->table, visitor);
}

static void file_running(struct ag_journal *base, const struct ag_attempt_key *key)
{
    struct journal_file *j = (struct journal_file *)base;
    ag_journal_table_running(&j->table, key);
    put_record(&j->pending, RECORD_RUNNING, key, (struct sy_span){0});
}

static void file_outcome(struct ag_journal *base, const struct ag_attempt_key *key,
                         struct sy_span outcome)
{
    struct journal_file *j = (struct journal_file *)base;
    ag_journal_table_outcome(&j->table, key, outcome);
    put_record(&j->pending, RECORD_OUTCOME, key, outcome);
}

static void file_forget(struct ag_journal *base, const struct ag_attempt_key *key)
{
    struct journal_file *j = (struct journal_file *)base;
    ag_journal_table_forget(&j->table, key);
    put_record(&j->pending, RECORD_FORGET, key, (struct sy_span){0});
}

static void file_process(struct ag_journal *base, pid_t pid, uint64_t start_time)
{
    struct journal_file *j = (struct journal_file *)base;
    ag_journal_table_process(&j->table, pid, start_time);
    collect_process(&j->pending, pid, start_time);
}

static void note_failure(struct journal_file *j, int r)
{
    if (r < 0 && !j->failing)
        sy_log(j->log, &ag_events, AG_EV_JOURNAL_FAILED, SY_STR("file", j->path),
               SY_STR("error", strerror(-r)));
    j->failing = r < 0;
}

static int file_flush(struct ag_journal *base)
{
    struct journal_file *j = (struct journal_file *)base;
    int r = 0;
    if (j->file_bytes + j->pending.len > COMPACT_BYTES + 2 * j->table.bytes) {
        r = rewrite(j); /* the table has what is pending */
        if (r == 0)
            sy_buf_clear(&j->pending);
    } else if (j->pending.len > 0) {
        r = write_all(j->fd, j->pending.data, j->pending.len);
        if (r == 0) {
            j->file_bytes += j->pending.len;
            sy_buf_clear(&j->pending);
        } else { /* part of it may be there: cut it, and write it whole next time */
            int cut = ftruncate(j->fd, (off_t)j->file_bytes);
            (void)cut;
        }
    }
    note_failure(j, r);
    if (j->pending.cap > COMPACT_BYTES && j->pending.len == 0)
        sy_buf_deinit(&j->pending);
    return r;
}

static void file_free(struct ag_journal *base)
{
    struct journal_file *j = (struct journal_file *)base;
    if (j->fd >= 0)
        close(j->fd);
    ag_journal_table_deinit(&j->table);
    sy_buf_deinit(&j->pending);
    free(j->path);
    free(j);
}

static const struct ag_journal_ops file_ops = {
    .replay = file_replay,
    .running = file_running,
    .outcome = file_outcome,
    .forget = file_forget,
    .process = file_process,
    .flush = file_flush,
    .free = file_free,
};

int ag_journal_file_new(struct ag_journal **ret_journal, const char *path, struct sy_log *log,
                        struct sy_error_text *error)
{
    struct journal_file *j = sy_new(struct journal_file);
    j->base.ops = &file_ops;
    j->log = log;
    j->path = sy_strdup(path);
    j->fd = -1;
    int r = load(j, error);
    if (r < 0) {
        file_free(&j->base);
        return r;
    }
    *ret_journal = &j->base;
    return 0;
}
