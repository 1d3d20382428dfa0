/*
 * A workload: tasks that arrive, ask for resources, and run for a known time. Kinds (distinct
 * requests), places in the tenancy (project, domain, queue) and shapes of gangs are kept once; a
 * task is 40 bytes. The members of a gang are tasks that follow one another, by rank.
 */
#pragma once

#include "base/map.h"
#include "scheduler/gang.h"
#include "scheduler/queue.h"
#include "scheduler/resources.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_TASKS_MAX 4000000u
#define SIM_TIME_MAX_NS (INT64_C(100) * 365 * 24 * 3600 * 1000000000) /* arrivals, durations */
#define SIM_PRIORITY_MAX 1000

struct sim_kind {
    struct sch_resources request;
    uint64_t tasks;
    uint32_t index;
    struct sy_map_link link;
};

/* Of a trace: the key's name may be "" (the default queue). */
struct sim_queue {
    struct sch_queue_key key;
    uint64_t tasks;
    uint32_t index;
    struct sy_map_link link;
};

struct sim_gang {
    struct sch_gang_shape shape;
    uint32_t index;
    struct sy_map_link link;
};

struct sim_task {
    int64_t arrival_ns, duration_ns;
    uint32_t kind, queue; /* indexes */
    uint32_t gang, rank;  /* index + 1, 0: in none; its rank in it */
    int32_t priority;
    uint32_t row; /* tasks that arrive together keep the order of the file */
};

struct sim_trace {
    struct sim_task *tasks;
    struct sim_kind **kinds;
    struct sim_queue **queues;
    struct sim_gang **gangs;
    size_t count, cap, kind_count, queue_count, gang_count;
    struct sy_map kinds_by_request, queues_by_key, gangs_by_shape;
};

void sim_trace_deinit(struct sim_trace *trace);
/* NULL: the task is in no gang. */
const struct sch_gang_shape *sim_trace_gang(const struct sim_trace *trace, uint32_t task);
/* What a row says; `count` tasks, or gangs. The texts are copied. */
struct sim_row {
    int64_t arrival_ns, duration_ns;
    struct sch_resources request;
    struct sch_queue_key key;
    int32_t priority;
    uint32_t count;
    struct sch_gang_shape gang; /* size 0: single tasks */
};
/* -EINVAL with a sentence: a value is out of its limits, or the trace is full. */
int sim_trace_add(struct sim_trace *trace, const struct sim_row *row,
                  struct sy_error_text *error) SY_MUST_USE;
/* By arrival, the first one at 0. */
void sim_trace_sort(struct sim_trace *trace);
/* In our own format (CSV); equal tasks in a row are one line with a count. */
void sim_trace_write(const struct sim_trace *trace, FILE *file);
