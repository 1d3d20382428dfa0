/* links: cp */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/schedule.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* "2026-03-29 01:59:00" as if it were UTC. */
static int64_t at(const char *text)
{
    struct tm tm = {0};
    ck_assert_ptr_nonnull(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
    return timegm(&tm);
}

static const char *show(int64_t seconds)
{
    static char text[32];
    struct tm tm;
    time_t time = seconds;
    gmtime_r(&time, &tm);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    return text;
}

static struct cp_zone *zone_of(const char *name)
{
    struct cp_zone *zone = NULL;
    struct sy_error_text error = {0};
    int r = cp_zone_load(&zone, name, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    return zone;
}

/* ---- zones ---- */

/* The C library is the judge; times after the tables end are by the footer's rules. */
START_TEST(offsets_are_those_of_the_c_library)
{
    static const char *const names[] = {"UTC",
                                        "Europe/Berlin",
                                        "Europe/Dublin",
                                        "America/New_York",
                                        "Asia/Kolkata",
                                        "Asia/Tokyo",
                                        "Australia/Sydney",
                                        "America/Sao_Paulo",
                                        "Asia/Kathmandu",
                                        "Etc/GMT+12",
                                        "Africa/Casablanca",
                                        "Pacific/Apia",
                                        "Australia/Lord_Howe",
                                        "America/Santiago"};
    struct sy_rng rng;
    sy_rng_init(&rng, 7);
    for (size_t n = 0; n < SY_COUNT_OF(names); n++) {
        struct cp_zone *zone = zone_of(names[n]);
        setenv("TZ", names[n], 1);
        tzset();
        for (int i = 0; i < 20000; i++) {
            time_t time = (time_t)(sy_rng_u64(&rng) % (uint64_t)at("2150-01-01 00:00:00"));
            struct tm tm;
            localtime_r(&time, &tm);
            ck_assert_msg(cp_zone_offset(zone, time) == tm.tm_gmtoff, "%s at %lld: %lld, not %ld",
                          names[n], (long long)time, (long long)cp_zone_offset(zone, time),
                          tm.tm_gmtoff);
        }
        cp_zone_free(zone);
    }
    unsetenv("TZ");
}
END_TEST

START_TEST(wall_clock_times_that_are_skipped_or_come_twice)
{
    static const struct {
        const char *zone, *local, *utc;
    } cases[] = {
        {"Europe/Berlin", "2026-01-15 12:00:00", "2026-01-15 11:00:00"},
        {"Europe/Berlin", "2026-07-15 12:00:00", "2026-07-15 10:00:00"},
        {"Europe/Berlin", "2026-03-29 01:59:59", "2026-03-29 00:59:59"},
        {"Europe/Berlin", "2026-03-29 02:00:00", "2026-03-29 01:00:00"}, /* the gap */
        {"Europe/Berlin", "2026-03-29 02:59:59", "2026-03-29 01:00:00"},
        {"Europe/Berlin", "2026-03-29 03:00:00", "2026-03-29 01:00:00"},
        {"Europe/Berlin", "2026-10-25 02:30:00", "2026-10-25 00:30:00"}, /* the first of two */
        {"Europe/Berlin", "2026-10-25 03:00:00", "2026-10-25 02:00:00"},
        {"Europe/Berlin", "2100-03-28 02:30:00", "2100-03-28 01:00:00"}, /* by the footer */
        {"America/New_York", "2026-03-08 02:30:00", "2026-03-08 07:00:00"},
        {"America/New_York", "2026-11-01 01:30:00", "2026-11-01 05:30:00"},
        {"Australia/Lord_Howe", "2026-10-04 02:10:00", "2026-10-03 15:30:00"}, /* half an hour */
        {"Pacific/Apia", "2011-12-30 12:00:00", "2011-12-30 10:00:00"}, /* a day that never was */
        {"", "2026-03-29 02:30:00", "2026-03-29 02:30:00"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        struct cp_zone *zone = zone_of(cases[i].zone);
        ck_assert_msg(cp_zone_to_utc(zone, at(cases[i].local)) == at(cases[i].utc), "case %zu: %s",
                      i, show(cp_zone_to_utc(zone, at(cases[i].local))));
        cp_zone_free(zone);
    }
}
END_TEST

START_TEST(zones_that_are_none)
{
    static const char *const names[] = {"Nowhere/City", "../../etc/passwd", "/etc/passwd",
                                        "Europe",       "zone.tab",         "Europe/Berlin\n"};
    for (size_t i = 0; i < SY_COUNT_OF(names); i++) {
        struct cp_zone *zone = NULL;
        struct sy_error_text error = {0};
        ck_assert_int_eq(cp_zone_load(&zone, names[i], &error), -EINVAL);
        ck_assert_ptr_null(zone);
        ck_assert_ptr_nonnull(strstr(error.text, "time zone"));
    }
}
END_TEST

/* ---- cron ---- */

START_TEST(the_next_time_of_an_expression)
{
    static const struct {
        const char *cron, *after, *next; /* NULL: none */
    } cases[] = {
        {"* * * * *", "2026-11-20 10:00:00", "2026-11-20 10:01:00"},
        {"* * * * *", "2026-11-20 10:00:59", "2026-11-20 10:01:00"},
        {"*/15 * * * *", "2026-11-20 10:46:00", "2026-11-20 11:00:00"},
        {"5/20 * * * *", "2026-11-20 10:00:00", "2026-11-20 10:05:00"},
        {"5/20 * * * *", "2026-11-20 10:25:00", "2026-11-20 10:45:00"},
        {"0 8-17/3 * * *", "2026-11-20 14:30:00", "2026-11-20 17:00:00"},
        {"0 8-17/3 * * *", "2026-11-20 17:00:00", "2026-11-21 08:00:00"},
        {"0 0 1 * *", "2026-12-01 00:00:00", "2027-01-01 00:00:00"},
        {"30 6 * * MON-FRI", "2026-11-20 07:00:00", "2026-11-23 06:30:00"},
        {"30 6 * * 7", "2026-11-20 07:00:00", "2026-11-22 06:30:00"},
        {"0 0 ? jan,JUL 0", "2026-11-20 07:00:00", "2027-01-03 00:00:00"},
        {"0 0 13 * 5", "2026-11-20 00:00:00", "2026-11-27 00:00:00"}, /* either */
        {"0 0 13 * 5", "2026-12-11 00:00:00", "2026-12-13 00:00:00"},
        {"0 0 29 2 *", "2097-01-01 00:00:00", "2104-02-29 00:00:00"},
        {"0 0 1 1 * 2030", "2026-11-20 00:00:00", "2030-01-01 00:00:00"},
        {"0 0 1 1 * 2020-2022", "2026-11-20 00:00:00", NULL},
        {"@hourly", "2026-11-20 10:00:00", "2026-11-20 11:00:00"},
        {"@daily", "2026-12-31 10:00:00", "2027-01-01 00:00:00"},
        {"@weekly", "2026-11-20 10:00:00", "2026-11-22 00:00:00"},
        {"@monthly", "2026-11-20 10:00:00", "2026-12-01 00:00:00"},
        {"@YEARLY", "2026-11-20 10:00:00", "2027-01-01 00:00:00"},
        {" 0  0 * * *\t", "2026-11-20 10:00:00", "2026-11-21 00:00:00"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        struct cp_cron cron;
        struct sy_error_text error = {0};
        int r = cp_cron_parse(&cron, cases[i].cron, &error);
        ck_assert_msg(r == 0, "%s", error.text);
        int64_t next = 0;
        r = cp_cron_next(&cron, at(cases[i].after), &next);
        ck_assert_int_eq(r, cases[i].next != NULL ? 0 : -ENOENT);
        ck_assert_msg(r < 0 || next == at(cases[i].next), "case %zu: %s", i, show(next));
    }
}
END_TEST

START_TEST(expressions_that_are_none)
{
    static const char *const bad[] = {"",
                                      "* * * *",
                                      "* * * * * * *",
                                      "60 * * * *",
                                      "* 24 * * *",
                                      "* * 0 * *",
                                      "* * * 13 *",
                                      "* * * * 8",
                                      "*/0 * * * *",
                                      "5-2 * * * *",
                                      "1, * * * *",
                                      ", * * * *",
                                      "a * * * *",
                                      "* * * FOO *",
                                      "@reboot",
                                      "@every 5m",
                                      "* * * * MONDAY",
                                      "0 0 31 2 *",
                                      "-1 * * * *",
                                      "1-5-9 * * * *",
                                      "0 0 1 1 * 1969",
                                      "0 0 1 1 * 2200",
                                      "99999999999 * * * *",
                                      "*5 * * * *"};
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        struct cp_cron cron;
        struct sy_error_text error = {0};
        ck_assert_msg(cp_cron_parse(&cron, bad[i], &error) == -EINVAL, "'%s'", bad[i]);
        ck_assert_ptr_nonnull(strstr(error.text, "cron"));
    }
    char lengthy[400];
    memset(lengthy, '1', sizeof(lengthy));
    lengthy[sizeof(lengthy) - 1] = '\0';
    struct cp_cron cron;
    struct sy_error_text error = {0};
    ck_assert_int_eq(cp_cron_parse(&cron, lengthy, &error), -EINVAL);
}
END_TEST

/* ---- schedules ---- */

struct spec {
    Flyteidl2__Task__TriggerAutomationSpec automation;
    Flyteidl2__Task__Schedule schedule;
    Flyteidl2__Task__Cron cron;
    Flyteidl2__Task__FixedRate rate;
    Google__Protobuf__Timestamp start;
};

static void spec_init(struct spec *s)
{
    flyteidl2__task__trigger_automation_spec__init(&s->automation);
    flyteidl2__task__schedule__init(&s->schedule);
    flyteidl2__task__cron__init(&s->cron);
    flyteidl2__task__fixed_rate__init(&s->rate);
    google__protobuf__timestamp__init(&s->start);
    s->automation.type = FLYTEIDL2__TASK__TRIGGER_AUTOMATION_SPEC_TYPE__TYPE_SCHEDULE;
    s->automation.automation_case = FLYTEIDL2__TASK__TRIGGER_AUTOMATION_SPEC__AUTOMATION_SCHEDULE;
    s->automation.schedule = &s->schedule;
}

static void cron_init(struct spec *s, char *expression, char *zone)
{
    spec_init(s);
    s->schedule.expression_case = FLYTEIDL2__TASK__SCHEDULE__EXPRESSION_CRON;
    s->schedule.cron = &s->cron;
    s->cron.expression = expression;
    s->cron.timezone = zone;
}

/* The due times of the schedule from `after` on, as UTC. */
static void expect(const struct spec *s, const char *after, const char *const *due, size_t count)
{
    struct cp_schedule schedule;
    struct sy_error_text error = {0};
    int r = cp_schedule_read(&schedule, &s->automation, at(after) * SY_NS_PER_S, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    int64_t ns = at(after) * SY_NS_PER_S;
    for (size_t i = 0; i < count; i++) {
        ns = cp_schedule_next(&schedule, ns);
        ck_assert_msg(ns == at(due[i]) * SY_NS_PER_S, "due %zu: %s, not %s", i,
                      show(ns / SY_NS_PER_S), due[i]);
    }
    cp_schedule_deinit(&schedule);
}

START_TEST(a_daily_time_through_both_changes)
{
    char cron[] = "30 2 * * *", zone[] = "Europe/Berlin";
    struct spec s;
    cron_init(&s, cron, zone);
    static const char *const spring[] = {"2026-03-28 01:30:00", "2026-03-29 01:00:00",
                                         "2026-03-30 00:30:00"};
    expect(&s, "2026-03-27 12:00:00", spring, 3);
    static const char *const autumn[] = {"2026-10-24 00:30:00", "2026-10-25 00:30:00",
                                         "2026-10-26 01:30:00"};
    expect(&s, "2026-10-23 12:00:00", autumn, 3);
}
END_TEST

START_TEST(every_half_hour_through_both_changes)
{
    char cron[] = "*/30 * * * *", zone[] = "Europe/Berlin";
    struct spec s;
    cron_init(&s, cron, zone);
    static const char *const spring[] = {"2026-03-29 00:30:00", "2026-03-29 01:00:00",
                                         "2026-03-29 01:30:00"};
    expect(&s, "2026-03-29 00:00:00", spring, 3);
    /* 02:00 and 02:30 come twice on the clock, and fire once. */
    static const char *const autumn[] = {"2026-10-25 00:00:00", "2026-10-25 00:30:00",
                                         "2026-10-25 02:00:00"};
    expect(&s, "2026-10-24 23:30:00", autumn, 3);
}
END_TEST

START_TEST(the_zone_in_front_of_the_expression)
{
    char text[] = "CRON_TZ=Asia/Tokyo 0 9 * * *";
    struct spec s;
    spec_init(&s);
    s.schedule.expression_case = FLYTEIDL2__TASK__SCHEDULE__EXPRESSION_CRON_EXPRESSION;
    s.schedule.cron_expression = text;
    static const char *const due[] = {"2026-11-21 00:00:00", "2026-11-22 00:00:00"};
    expect(&s, "2026-11-20 12:00:00", due, 2);
}
END_TEST

START_TEST(fixed_rates)
{
    struct spec s;
    spec_init(&s);
    s.schedule.expression_case = FLYTEIDL2__TASK__SCHEDULE__EXPRESSION_RATE;
    s.schedule.rate = &s.rate;
    s.rate.value = 90;
    s.rate.unit = FLYTEIDL2__TASK__FIXED_RATE_UNIT__FIXED_RATE_UNIT_MINUTE;
    static const char *const from_now[] = {"2026-11-20 13:30:00", "2026-11-20 15:00:00"};
    expect(&s, "2026-11-20 12:00:00", from_now, 2);
    s.start.seconds = at("2026-11-20 00:10:00");
    s.rate.start_time = &s.start;
    static const char *const from_start[] = {"2026-11-20 12:10:00", "2026-11-20 13:40:00"};
    expect(&s, "2026-11-20 12:00:00", from_start, 2);
    s.start.seconds = at("2027-01-01 00:00:00");
    static const char *const later[] = {"2027-01-01 00:00:00", "2027-01-01 01:30:00"};
    expect(&s, "2026-11-20 12:00:00", later, 2);
    struct cp_schedule schedule;
    struct sy_error_text error = {0};
    s.rate.value = 0;
    ck_assert_int_eq(cp_schedule_read(&schedule, &s.automation, 0, &error), -EINVAL);
    s.rate.value = UINT32_MAX;
    s.rate.unit = FLYTEIDL2__TASK__FIXED_RATE_UNIT__FIXED_RATE_UNIT_DAY;
    ck_assert_int_eq(cp_schedule_read(&schedule, &s.automation, 0, &error), -EINVAL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {offsets_are_those_of_the_c_library,
                                  wall_clock_times_that_are_skipped_or_come_twice,
                                  zones_that_are_none,
                                  the_next_time_of_an_expression,
                                  expressions_that_are_none,
                                  a_daily_time_through_both_changes,
                                  every_half_hour_through_both_changes,
                                  the_zone_in_front_of_the_expression,
                                  fixed_rates,
                                  NULL};
    return sy_test_run("cp_schedule", tests);
}
