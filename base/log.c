#include "base/log.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024
#define RING_LINES 256
#define TABLES_MAX 32

struct table_counts {
    const struct sy_log_table *table;
    atomic_uint_fast64_t *counts; /* one for each event */
};

struct ring_line {
    atomic_size_t len; /* 0 while the text is being replaced */
    char text[LINE_MAX_BYTES];
};

struct sy_log {
    int fd;
    atomic_int level;
    struct sy_clock clock;
    pthread_mutex_t mutex; /* writers of the tables and the ring */
    struct table_counts tables[TABLES_MAX];
    atomic_uint tables_count; /* rows below it don't change any more */
    struct ring_line ring[RING_LINES];
    atomic_uint_fast64_t ring_next;
};

static void lock(struct sy_log *log)
{
    int r = pthread_mutex_lock(&log->mutex);
    SY_ASSERT(r == 0);
}

static void unlock(struct sy_log *log)
{
    int r = pthread_mutex_unlock(&log->mutex);
    SY_ASSERT(r == 0);
}

struct sy_log *sy_log_new(int fd, enum sy_log_level level, const struct sy_clock *clock)
{
    struct sy_log *log = sy_new(struct sy_log);
    log->fd = fd;
    log->clock = clock ? *clock : sy_clock_system;
    atomic_store(&log->level, (int)level);
    int r = pthread_mutex_init(&log->mutex, NULL);
    SY_ASSERT(r == 0);
    return log;
}

void sy_log_free(struct sy_log *log)
{
    if (!log)
        return;
    for (unsigned i = 0; i < atomic_load(&log->tables_count); i++)
        free(log->tables[i].counts);
    pthread_mutex_destroy(&log->mutex);
    free(log);
}

void sy_log_set_level(struct sy_log *log, enum sy_log_level level)
{
    if (log)
        atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

/* The line under construction; what does not fit is cut, and the line then ends in "...". */
struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    bool cut;
};

#define LINE_ROOM (LINE_MAX_BYTES - sizeof("...\n"))

static void put_char(struct line *line, char c)
{
    if (line->len < LINE_ROOM)
        line->text[line->len++] = c;
    else
        line->cut = true;
}

static void put_text(struct line *line, const char *s)
{
    for (; *s && !line->cut; s++)
        put_char(line, *s);
}

static void put_u64(struct line *line, uint64_t v, unsigned digits_min)
{
    char digits[20];
    unsigned n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v || n < digits_min);
    while (n > 0)
        put_char(line, digits[--n]);
}

static void put_i64(struct line *line, int64_t v)
{
    if (v < 0)
        put_char(line, '-');
    put_u64(line, v < 0 ? -(uint64_t)v : (uint64_t)v, 1);
}

static bool is_bare(const char *s)
{
    const unsigned char *c = (const unsigned char *)s;
    for (; *c; c++) {
        if (*c <= ' ' || *c == '"' || *c == '=' || *c == '\\' || *c == 0x7f)
            return false;
    }
    return c != (const unsigned char *)s;
}

static void put_escaped(struct line *line, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    if (c == '"' || c == '\\') {
        put_char(line, '\\');
        put_char(line, (char)c);
    } else if (c == '\n') {
        put_text(line, "\\n");
    } else if (c < ' ' || c == 0x7f) {
        put_text(line, "\\x");
        put_char(line, hex[c >> 4]);
        put_char(line, hex[c & 15]);
    } else {
        put_char(line, (char)c);
    }
}

/* One event is one line, whatever a user's string holds. */
static void put_value(struct line *line, const char *s)
{
    if (!s) {
        put_char(line, '-');
    } else if (is_bare(s)) {
        put_text(line, s);
    } else {
        put_char(line, '"');
        for (; *s && !line->cut; s++)
            put_escaped(line, (unsigned char)*s);
        put_char(line, '"');
    }
}

/* RFC 3339 in UTC. By hand, since gmtime_r() takes the C library's time zone lock; the date is
 * Howard Hinnant's civil_from_days, for days since 1970. */
static void put_time(struct line *line, int64_t realtime_ns)
{
    uint64_t us = (uint64_t)realtime_ns / 1000;
    uint64_t second = us / 1000000 % 86400;
    uint64_t shifted = us / 1000000 / 86400 + 719468;
    uint64_t era = shifted / 146097;
    uint64_t day_of_era = shifted % 146097;
    uint64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month_from_march = (5 * day_of_year + 2) / 153;
    uint64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    uint64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    put_u64(line, year_of_era + era * 400 + (month <= 2), 4);
    put_char(line, '-');
    put_u64(line, month, 2);
    put_char(line, '-');
    put_u64(line, day, 2);
    put_char(line, 'T');
    put_u64(line, second / 3600, 2);
    put_char(line, ':');
    put_u64(line, second / 60 % 60, 2);
    put_char(line, ':');
    put_u64(line, second % 60, 2);
    put_char(line, '.');
    put_u64(line, us % 1000000, 6);
    put_char(line, 'Z');
}

static void put_field(struct line *line, const struct sy_log_field *field)
{
    SY_ASSERT(field->key);
    put_char(line, ' ');
    put_text(line, field->key);
    put_char(line, '=');
    switch (field->type) {
    case SY_LOG_FIELD_U64:
        put_u64(line, field->value.u, 1);
        break;
    case SY_LOG_FIELD_I64:
        put_i64(line, field->value.i);
        break;
    case SY_LOG_FIELD_STR:
        put_value(line, field->value.s);
        break;
    }
}

static void build(struct line *line, int64_t realtime_ns, const struct sy_log_table *table,
                  const struct sy_log_event *event, const struct sy_log_field *fields,
                  unsigned count)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    line->len = 0;
    line->cut = false;
    put_text(line, "time=");
    put_time(line, realtime_ns);
    put_text(line, " level=");
    put_text(line, levels[event->level]);
    put_text(line, " component=");
    put_value(line, table->component);
    put_text(line, " event=");
    put_value(line, event->text);
    for (unsigned i = 0; i < count; i++)
        put_field(line, &fields[i]);
    if (line->cut) {
        memcpy(line->text + line->len, "...", 3);
        line->len += 3;
    }
    line->text[line->len++] = '\n';
    SY_ASSERT(line->len <= sizeof(line->text));
}

static struct table_counts *find_counts(struct sy_log *log, const struct sy_log_table *table)
{
    unsigned count = atomic_load_explicit(&log->tables_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        if (log->tables[i].table == table)
            return &log->tables[i];
    }
    return NULL;
}

/* A table is made known by its first event. */
static struct table_counts *add_counts(struct sy_log *log, const struct sy_log_table *table)
{
    lock(log);
    struct table_counts *counts = find_counts(log, table); /* another thread may have been first */
    if (!counts) {
        unsigned index = atomic_load(&log->tables_count);
        SY_ASSERT(index < TABLES_MAX);
        counts = &log->tables[index];
        counts->table = table;
        counts->counts = sy_calloc(table->count, sizeof(*counts->counts));
        atomic_store_explicit(&log->tables_count, index + 1, memory_order_release);
    }
    unlock(log);
    return counts;
}

static void count_event(struct sy_log *log, const struct sy_log_table *table, unsigned event)
{
    struct table_counts *counts = find_counts(log, table);
    if (!counts)
        counts = add_counts(log, table);
    atomic_fetch_add_explicit(&counts->counts[event], 1, memory_order_relaxed);
}

static void remember(struct sy_log *log, const struct line *line)
{
    lock(log);
    uint64_t next = atomic_load(&log->ring_next);
    struct ring_line *slot = &log->ring[next % RING_LINES];
    atomic_store(&slot->len, 0);
    memcpy(slot->text, line->text, line->len);
    atomic_store(&slot->len, line->len);
    atomic_store(&log->ring_next, next + 1);
    unlock(log);
}

/* One write a line, so that lines of several threads or processes don't mix. */
static void write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nowhere left to complain */
        text += n;
        len -= (size_t)n;
    }
}

void sy_log_write(struct sy_log *log, const struct sy_log_table *table, unsigned event,
                  const struct sy_log_field *fields, unsigned count)
{
    if (!log)
        return;
    SY_ASSERT(event < table->count);
    const struct sy_log_event *row = &table->events[event];
    SY_ASSERT(row->text);
    int saved = errno;
    count_event(log, table, event);
    if ((int)row->level >= atomic_load_explicit(&log->level, memory_order_relaxed)) {
        struct line line;
        build(&line, log->clock.realtime_ns(log->clock.ctx), table, row, fields, count);
        remember(log, &line);
        write_all(log->fd, line.text, line.len);
    }
    errno = saved;
}

uint64_t sy_log_count(struct sy_log *log, const struct sy_log_table *table, unsigned event)
{
    if (!log)
        return 0;
    SY_ASSERT(event < table->count);
    const struct table_counts *counts = find_counts(log, table);
    return counts ? atomic_load_explicit(&counts->counts[event], memory_order_relaxed) : 0;
}

/* No mutex: the thread that crashed may hold it. A line that is just being written is left out. */
void sy_log_dump_ring(struct sy_log *log, int fd)
{
    if (!log)
        return;
    uint64_t end = atomic_load(&log->ring_next);
    uint64_t begin = end > RING_LINES ? end - RING_LINES : 0;
    for (uint64_t i = begin; i < end; i++) {
        const struct ring_line *slot = &log->ring[i % RING_LINES];
        size_t len = atomic_load(&slot->len);
        if (len <= sizeof(slot->text))
            write_all(fd, slot->text, len);
    }
}
