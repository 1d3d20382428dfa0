/*
 * Logging from one table of events. A component declares its events once, with an X-macro:
 *
 *     #define CP_EVENTS(X) \
 *         X(CP_EV_PARTITION_OPENED, INFO, "partition opened") \
 *         X(CP_EV_STORE_FAILED, ERROR, "store write failed")
 *     SY_LOG_TABLE_DECLARE(cp_events, CP_EVENTS)     in the header
 *     SY_LOG_TABLE_DEFINE(cp_events, "shard", CP_EVENTS)   in one .c file
 *
 * and writes   sy_log(log, &cp_events, CP_EV_PARTITION_OPENED, SY_U64("epoch", e), SY_STR("path",
 * p));
 *
 * The same call gives a line of text (logfmt: time= level= component= event= key=value), a counter
 * (for metrics), and an entry in a ring that is dumped when the process aborts. Libraries below
 * the daemons don't log; who handles an error logs it once.
 *
 * A struct sy_log may be used from any thread.
 */
#pragma once

#include "base/clock.h"
#include "base/error.h"

#include <stdint.h>

enum sy_log_level { SY_LOG_DEBUG, SY_LOG_INFO, SY_LOG_WARN, SY_LOG_ERROR };

struct sy_log_event {
    const char *id;
    enum sy_log_level level;
    const char *text;
};

struct sy_log_table {
    const char *component; /* "shard" */
    const struct sy_log_event *events;
    unsigned count;
};

#define SY_LOG_ENUM_(id, level, text) id,
#define SY_LOG_ROW_(id, level, text) [id] = {#id, SY_LOG_##level, text},
#define SY_LOG_TABLE_DECLARE(table, EVENTS)                                                        \
    enum { EVENTS(SY_LOG_ENUM_) table##_count };                                                   \
    extern const struct sy_log_table table;
#define SY_LOG_TABLE_DEFINE(table, component_name, EVENTS)                                         \
    static const struct sy_log_event table##_rows[] = {EVENTS(SY_LOG_ROW_)};                       \
    const struct sy_log_table table = {component_name, table##_rows, table##_count};

struct sy_log_field {
    const char *key;
    enum { SY_LOG_FIELD_U64, SY_LOG_FIELD_I64, SY_LOG_FIELD_STR } type;
    union {
        uint64_t u;
        int64_t i;
        const char *s; /* NULL prints as "-" */
    } value;
};
#define SY_U64(k, v) ((struct sy_log_field){(k), SY_LOG_FIELD_U64, {.u = (v)}})
#define SY_I64(k, v) ((struct sy_log_field){(k), SY_LOG_FIELD_I64, {.i = (v)}})
#define SY_STR(k, v) ((struct sy_log_field){(k), SY_LOG_FIELD_STR, {.s = (v)}})

struct sy_log;

/* Writes to fd (2 for stderr) events of at least `level`. Events below it are only counted. Lines
 * are cut at 1 KiB. At most 32 tables for each log. */
struct sy_log *sy_log_new(int fd, enum sy_log_level level, const struct sy_clock *clock);
void sy_log_free(struct sy_log *log);
void sy_log_set_level(struct sy_log *log, enum sy_log_level level);

/* `log` may be NULL: nothing happens (simulator, tests). */
void sy_log_write(struct sy_log *log, const struct sy_log_table *table, unsigned event,
                  const struct sy_log_field *fields, unsigned count);
#define sy_log(log, table, event, ...)                                                             \
    sy_log_write((log), (table), (event), (struct sy_log_field[]){__VA_ARGS__},                    \
                 sizeof((struct sy_log_field[]){__VA_ARGS__}) / sizeof(struct sy_log_field))

/* How often an event was written since the start; the source of metrics. */
uint64_t sy_log_count(struct sy_log *log, const struct sy_log_table *table, unsigned event);
/* The last 256 lines, oldest first, to fd. Async-signal-safe. */
void sy_log_dump_ring(struct sy_log *log, int fd);
