/* links: sy_base */
#include "base/log.h"
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TEST_EVENTS(X)                                                                             \
    X(EV_DETAIL, DEBUG, "a detail")                                                                \
    X(EV_OPENED, INFO, "opened")                                                                   \
    X(EV_SLOW, WARN, "slow disk")                                                                  \
    X(EV_FAILED, ERROR, "failed")
SY_LOG_TABLE_DECLARE(test_events, TEST_EVENTS)
SY_LOG_TABLE_DEFINE(test_events, "test", TEST_EVENTS)

static int64_t realtime(void *ctx)
{
    return *(int64_t *)ctx;
}

struct fixture {
    int64_t now_ns;
    struct sy_clock clock;
    struct sy_log *log;
    int fd;
    char text[400000];
};

static struct fixture *fixture_new(enum sy_log_level level)
{
    struct fixture *f = sy_new(struct fixture);
    f->now_ns = 1700000000LL * SY_NS_PER_S + 123456789; /* 2023-11-14T22:13:20Z */
    f->clock = (struct sy_clock){realtime, realtime, &f->now_ns};
    f->fd = memfd_create("log", MFD_CLOEXEC);
    ck_assert_int_ge(f->fd, 0);
    ck_assert_int_eq(fcntl(f->fd, F_SETFL, O_APPEND), 0); /* as threads share its position */
    f->log = sy_log_new(f->fd, level, &f->clock);
    return f;
}

static void fixture_free(struct fixture *f)
{
    sy_log_free(f->log);
    close(f->fd);
    free(f);
}

/* What was written since the last call. */
static const char *written(struct fixture *f)
{
    ssize_t n = pread(f->fd, f->text, sizeof(f->text) - 1, 0);
    ck_assert_int_ge(n, 0);
    f->text[n] = 0;
    ck_assert_int_eq(ftruncate(f->fd, 0), 0);
    ck_assert_int_eq(lseek(f->fd, 0, SEEK_SET), 0);
    return f->text;
}

START_TEST(test_line)
{
    struct fixture *f = fixture_new(SY_LOG_INFO);
    sy_log(f->log, &test_events, EV_OPENED, SY_U64("epoch", UINT64_MAX), SY_I64("delta", INT64_MIN),
           SY_STR("path", "/var/x"));
    ck_assert_str_eq(written(f), "time=2023-11-14T22:13:20.123456Z level=info component=test "
                                 "event=opened epoch=18446744073709551615 "
                                 "delta=-9223372036854775808 path=/var/x\n");
    sy_log(f->log, &test_events, EV_SLOW);
    ck_assert_str_eq(written(f), "time=2023-11-14T22:13:20.123456Z level=warn component=test "
                                 "event=\"slow disk\"\n");
    fixture_free(f);
}
END_TEST

START_TEST(test_values_cannot_forge_lines)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {NULL, "-"},
        {"", "\"\""},
        {"two words", "\"two words\""},
        {"a=b", "\"a=b\""},
        {"say \"hi\"", "\"say \\\"hi\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"x\nlevel=error", "\"x\\nlevel=error\""},
        {"\x1b[2J\x7f", "\"\\x1b[2J\\x7f\""},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
    };
    struct fixture *f = fixture_new(SY_LOG_INFO);
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        sy_log(f->log, &test_events, EV_OPENED, SY_STR("v", cases[i].in));
        char expected[64];
        snprintf(expected, sizeof(expected), " v=%s\n", cases[i].out);
        const char *at = strstr(written(f), " v=");
        ck_assert_ptr_nonnull(at);
        ck_assert_str_eq(at, expected);
    }
    fixture_free(f);
}
END_TEST

START_TEST(test_dates)
{
    static const struct {
        int64_t second;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000Z"},          {68169599, "1972-02-28T23:59:59.000000Z"},
        {68169600, "1972-02-29T00:00:00.000000Z"},   {951827696, "2000-02-29T12:34:56.000000Z"},
        {951868800, "2000-03-01T00:00:00.000000Z"},  {1767225599, "2025-12-31T23:59:59.000000Z"},
        {1767225600, "2026-01-01T00:00:00.000000Z"}, {4107542400, "2100-03-01T00:00:00.000000Z"},
    };
    struct fixture *f = fixture_new(SY_LOG_INFO);
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        f->now_ns = cases[i].second * SY_NS_PER_S;
        sy_log(f->log, &test_events, EV_OPENED);
        const char *text = written(f);
        ck_assert_int_eq(strncmp(text, "time=", 5), 0);
        ck_assert_int_eq(strncmp(text + 5, cases[i].text, strlen(cases[i].text)), 0);
    }
    fixture_free(f);
}
END_TEST

START_TEST(test_long_line_is_cut)
{
    struct fixture *f = fixture_new(SY_LOG_INFO);
    char value[5000];
    memset(value, 'v', sizeof(value));
    value[sizeof(value) - 1] = 0;
    sy_log(f->log, &test_events, EV_OPENED, SY_STR("a", value), SY_STR("b", value));
    const char *text = written(f);
    ck_assert_uint_le(strlen(text), 1024);
    ck_assert_uint_ge(strlen(text), 1000);
    ck_assert_str_eq(text + strlen(text) - 5, "v...\n");
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
    fixture_free(f);
}
END_TEST

START_TEST(test_level_filters_text_but_not_counts)
{
    struct fixture *f = fixture_new(SY_LOG_WARN);
    ck_assert_uint_eq(sy_log_count(f->log, &test_events, EV_OPENED), 0);
    sy_log(f->log, &test_events, EV_OPENED);
    sy_log(f->log, &test_events, EV_OPENED);
    ck_assert_str_eq(written(f), "");
    sy_log(f->log, &test_events, EV_FAILED);
    ck_assert_ptr_nonnull(strstr(written(f), "level=error"));
    ck_assert_uint_eq(sy_log_count(f->log, &test_events, EV_OPENED), 2);
    ck_assert_uint_eq(sy_log_count(f->log, &test_events, EV_FAILED), 1);
    ck_assert_uint_eq(sy_log_count(f->log, &test_events, EV_SLOW), 0);
    sy_log_set_level(f->log, SY_LOG_DEBUG);
    sy_log(f->log, &test_events, EV_DETAIL);
    ck_assert_ptr_nonnull(strstr(written(f), "level=debug"));
    fixture_free(f);
}
END_TEST

START_TEST(test_no_log_is_fine)
{
    sy_log(NULL, &test_events, EV_FAILED, SY_U64("x", 1));
    sy_log_set_level(NULL, SY_LOG_DEBUG);
    sy_log_dump_ring(NULL, 1);
    sy_log_free(NULL);
    ck_assert_uint_eq(sy_log_count(NULL, &test_events, EV_FAILED), 0);
}
END_TEST

START_TEST(test_errno_is_kept)
{
    struct sy_log *log = sy_log_new(-1, SY_LOG_INFO, NULL); /* each write fails */
    errno = EXDEV;
    sy_log(log, &test_events, EV_FAILED);
    ck_assert_int_eq(errno, EXDEV);
    sy_log_free(log);
}
END_TEST

START_TEST(test_ring_holds_the_last_lines)
{
    struct fixture *f = fixture_new(SY_LOG_INFO);
    sy_log_dump_ring(f->log, f->fd);
    ck_assert_str_eq(written(f), "");
    for (uint64_t i = 0; i < 700; i++)
        sy_log(f->log, &test_events, EV_OPENED, SY_U64("n", i));
    sy_log(f->log, &test_events, EV_DETAIL); /* below the level: not in the ring */
    (void)written(f);
    sy_log_dump_ring(f->log, f->fd);
    const char *at = written(f);
    for (uint64_t i = 700 - 256; i < 700; i++) {
        at = strstr(at, " n=");
        ck_assert_ptr_nonnull(at);
        ck_assert_uint_eq(strtoull(at + 3, NULL, 10), i);
        at += 3;
    }
    ck_assert_ptr_null(strstr(at, " n="));
    fixture_free(f);
}
END_TEST

enum { THREADS = 4, LINES = 500 };

static void *log_many(void *arg)
{
    struct sy_log *log = arg;
    for (uint64_t i = 0; i < LINES; i++)
        sy_log(log, &test_events, EV_OPENED, SY_STR("s", "some text that is not short"));
    return NULL;
}

START_TEST(test_threads)
{
    struct fixture *f = fixture_new(SY_LOG_INFO);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, log_many, f->log), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(sy_log_count(f->log, &test_events, EV_OPENED), THREADS * LINES);
    unsigned lines = 0;
    for (const char *at = written(f); *at; at = strchr(at, '\n') + 1) {
        ck_assert_int_eq(strncmp(at, "time=2023-11-14T", 16), 0);
        lines++;
    }
    ck_assert_uint_eq(lines, THREADS * LINES);
    fixture_free(f);
}
END_TEST

static void unknown_event(void *arg)
{
    sy_log(arg, &test_events, 99);
}

START_TEST(test_unknown_event_aborts)
{
    struct fixture *f = fixture_new(SY_LOG_INFO);
    ck_assert(aborts(unknown_event, f->log));
    fixture_free(f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_line,
        test_values_cannot_forge_lines,
        test_dates,
        test_long_line_is_cut,
        test_level_filters_text_but_not_counts,
        test_no_log_is_fine,
        test_errno_is_kept,
        test_ring_holds_the_last_lines,
        test_threads,
        test_unknown_event_aborts,
        NULL,
    };
    return sy_test_run("log", tests);
}
