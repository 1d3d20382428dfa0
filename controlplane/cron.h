/*
 * Cron expressions: minute, hour, day of month, month, day of week, and a sixth field for the year.
 * A field is "*" or "?", or a list of values, ranges a-b and steps /n; months and weekdays have
 * names (JAN, SUN; 7 is Sunday too). @hourly, @daily, @midnight, @weekly, @monthly, @yearly,
 * @annually. When both day fields are restricted, one of them has to match, as in every cron.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define CP_CRON_YEAR_MIN 1970
#define CP_CRON_YEAR_MAX 2199
#define CP_CRON_TEXT_MAX 256

struct cp_cron {
    uint64_t minutes;
    uint64_t hours, days, months, weekdays; /* bits; days and months from 1 */
    bool day_free, weekday_free;            /* "*": the other one decides */
    uint64_t years[4];                      /* from CP_CRON_YEAR_MIN */
};

/* -EINVAL with a sentence. */
int cp_cron_parse(struct cp_cron *ret, const char *text, struct sy_error_text *error) SY_MUST_USE;
/* The first time on the wall clock after `local_s` (seconds as if it were UTC). -ENOENT: none. */
int cp_cron_next(const struct cp_cron *cron, int64_t local_s, int64_t *ret_local_s) SY_MUST_USE;
