/* When a trigger fires: cron in a time zone, or a fixed rate. Pure, but for the zone's file. */
#pragma once

#include "controlplane/cron.h"
#include "controlplane/zone.h"

#include "flyteidl2/task/common.pb-c.h"

struct cp_schedule {
    enum { CP_SCHEDULE_NONE, CP_SCHEDULE_CRON, CP_SCHEDULE_RATE } type;
    struct cp_cron cron;
    struct cp_zone *zone;
    int64_t start_ns, period_ns; /* RATE: start, start + period, ... */
};

/* `since_ns`: from when on a rate without a start counts. -EINVAL with a sentence. */
int cp_schedule_read(struct cp_schedule *ret, const Flyteidl2__Task__TriggerAutomationSpec *spec,
                     int64_t since_ns, struct sy_error_text *error) SY_MUST_USE;
void cp_schedule_deinit(struct cp_schedule *schedule);
/* The first due time after this one; 0: none. */
int64_t cp_schedule_next(const struct cp_schedule *schedule, int64_t after_ns);
