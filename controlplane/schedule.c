#include "controlplane/schedule.h"

#include "base/clock.h"
#include "controlplane/flyte.h"

#include <stdio.h>
#include <string.h>

#define RATE_MAX_NS (INT64_MAX / 4)

typedef Flyteidl2__Task__Schedule Schedule;

/* The older field has the zone in front: "CRON_TZ=Europe/London 0 8 * * *". */
static int read_cron(struct cp_schedule *ret, const char *expression, const char *zone,
                     struct sy_error_text *error)
{
    char name[64] = "";
    static const char *const prefixes[] = {"CRON_TZ=", "TZ="};
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(prefixes[i]);
        if (strncmp(expression, prefixes[i], len) != 0)
            continue;
        size_t zone_len = strcspn(expression + len, " \t");
        snprintf(name, sizeof(name), "%.*s", (int)(zone_len < 63 ? zone_len : 63),
                 expression + len);
        expression += len + zone_len;
        zone = name;
        break;
    }
    if (cp_cron_parse(&ret->cron, expression, error) < 0)
        return -EINVAL;
    ret->type = CP_SCHEDULE_CRON;
    return cp_zone_load(&ret->zone, zone, error);
}

static int read_rate(struct cp_schedule *ret, const Flyteidl2__Task__FixedRate *rate,
                     int64_t since_ns, struct sy_error_text *error)
{
    int64_t unit_ns = 0;
    switch (rate->unit) {
    case FLYTEIDL2__TASK__FIXED_RATE_UNIT__FIXED_RATE_UNIT_MINUTE:
        unit_ns = 60 * SY_NS_PER_S;
        break;
    case FLYTEIDL2__TASK__FIXED_RATE_UNIT__FIXED_RATE_UNIT_HOUR:
        unit_ns = 3600 * SY_NS_PER_S;
        break;
    case FLYTEIDL2__TASK__FIXED_RATE_UNIT__FIXED_RATE_UNIT_DAY:
        unit_ns = 86400 * SY_NS_PER_S;
        break;
    default:
        break;
    }
    if (unit_ns == 0 || rate->value == 0 || rate->value > RATE_MAX_NS / unit_ns) {
        sy_error_text_set(error, "rate: expected 1 or more minutes, hours or days");
        return -EINVAL;
    }
    ret->type = CP_SCHEDULE_RATE;
    ret->period_ns = rate->value * unit_ns;
    ret->start_ns = cp_flyte_time_ns(rate->start_time);
    if (ret->start_ns <= 0)
        ret->start_ns = since_ns + ret->period_ns;
    return 0;
}

int cp_schedule_read(struct cp_schedule *ret, const Flyteidl2__Task__TriggerAutomationSpec *spec,
                     int64_t since_ns, struct sy_error_text *error)
{
    *ret = (struct cp_schedule){.type = CP_SCHEDULE_NONE};
    if (spec == NULL || spec->type == FLYTEIDL2__TASK__TRIGGER_AUTOMATION_SPEC_TYPE__TYPE_NONE)
        return 0;
    if (spec->automation_case != FLYTEIDL2__TASK__TRIGGER_AUTOMATION_SPEC__AUTOMATION_SCHEDULE ||
        spec->schedule == NULL) {
        sy_error_text_set(error, "automation_spec: only schedules are served, artifacts are not");
        return -EINVAL;
    }
    const Schedule *schedule = spec->schedule;
    switch (schedule->expression_case) {
    case FLYTEIDL2__TASK__SCHEDULE__EXPRESSION_RATE:
        return read_rate(ret, schedule->rate, since_ns, error);
    case FLYTEIDL2__TASK__SCHEDULE__EXPRESSION_CRON:
        return read_cron(ret, schedule->cron->expression, schedule->cron->timezone, error);
    case FLYTEIDL2__TASK__SCHEDULE__EXPRESSION_CRON_EXPRESSION:
        return read_cron(ret, schedule->cron_expression, "", error);
    default:
        sy_error_text_set(error, "schedule: expected cron or rate");
        return -EINVAL;
    }
}

void cp_schedule_deinit(struct cp_schedule *schedule)
{
    cp_zone_free(schedule->zone);
    schedule->zone = NULL;
}

static int64_t next_rate(const struct cp_schedule *schedule, int64_t after_ns)
{
    if (after_ns < schedule->start_ns)
        return schedule->start_ns;
    int64_t passed = (after_ns - schedule->start_ns) / schedule->period_ns;
    int64_t next_ns;
    if (__builtin_mul_overflow(passed + 1, schedule->period_ns, &next_ns) ||
        __builtin_add_overflow(next_ns, schedule->start_ns, &next_ns))
        return 0;
    return next_ns;
}

int64_t cp_schedule_next(const struct cp_schedule *schedule, int64_t after_ns)
{
    if (schedule->type == CP_SCHEDULE_NONE)
        return 0;
    if (schedule->type == CP_SCHEDULE_RATE)
        return next_rate(schedule, after_ns);
    int64_t after_s = after_ns / SY_NS_PER_S;
    int64_t local_s = after_s + cp_zone_offset(schedule->zone, after_s);
    /* Where the clock goes back, times of its second round are those of the first: over already. */
    while (cp_cron_next(&schedule->cron, local_s, &local_s) == 0) {
        int64_t due_s = cp_zone_to_utc(schedule->zone, local_s);
        if (due_s > after_s)
            return due_s > INT64_MAX / SY_NS_PER_S ? 0 : due_s * SY_NS_PER_S;
    }
    return 0;
}
