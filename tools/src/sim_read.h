/*
 * Readers of workloads. What each format's columns mean, and what of it is taken, is in docs/
 * scheduling.md ("What-if"); the columns of public traces are those that their publishers document.
 */
#pragma once

#include "tools/src/sim_rows.h"
#include "tools/src/sim_trace.h"

/*
 * csv, jsonl       our own: arrival_s,duration_s,cpu,memory,gpus,gpu_model,project,domain,queue,
 *                  priority,count,gang,topology,gpu_slice,labels
 * alibaba-2020     pai_task_table.csv of cluster-trace-gpu-v2020; with a pai_instance_table.csv
 *                  each instance is a task of its own times (job_name and task_name join them)
 * alibaba-2023     openb_pod_list_*.csv of cluster-trace-gpu-v2023
 * google-2019      instance_events as CSV, sorted by time (BigQuery's "resource_request.cpus" and
 *                  ".memory" as they are, or with '_')
 */
enum sim_format {
    SIM_FORMAT_CSV,
    SIM_FORMAT_JSONL,
    SIM_FORMAT_ALIBABA_2020,
    SIM_FORMAT_ALIBABA_2023,
    SIM_FORMAT_GOOGLE_2019,
    SIM_FORMATS,
};

struct sim_read_options {
    enum sim_format format;
    const char *instances;        /* alibaba-2020: the instance table; NULL: none */
    struct sch_resources machine; /* google-2019: what 1.0 of cpu and memory stands for */
};

/* -EINVAL: there is none of that name. */
int sim_format_parse(const char *name, enum sim_format *ret) SY_MUST_USE;
#define SIM_FORMAT_NAMES "csv, jsonl, alibaba-2020, alibaba-2023 or google-2019"

/* Fills an empty trace and sorts it. Errors of files, and -EINVAL with a sentence: columns are
 * missing, no row is usable, or the first bad one when complaints are strict. */
int sim_read(struct sim_trace *trace, const char *path, const struct sim_read_options *options,
             struct sim_complaints *complaints, struct sy_error_text *error) SY_MUST_USE;

/* ---- one for each format; what they share ---- */
int sim_read_own(struct sim_trace *trace, const char *path, bool json,
                 struct sim_complaints *complaints, struct sy_error_text *error) SY_MUST_USE;
int sim_read_alibaba_2020(struct sim_trace *trace, const char *path, const char *instances,
                          struct sim_complaints *complaints,
                          struct sy_error_text *error) SY_MUST_USE;
int sim_read_alibaba_2023(struct sim_trace *trace, const char *path,
                          struct sim_complaints *complaints,
                          struct sy_error_text *error) SY_MUST_USE;
int sim_read_google_2019(struct sim_trace *trace, const char *path,
                         const struct sch_resources *machine, struct sim_complaints *complaints,
                         struct sy_error_text *error) SY_MUST_USE;
/* A row is well formed; adds it, or complains. */
int sim_read_add(struct sim_rows *rows, struct sim_trace *trace, const struct sim_row *row,
                 struct sy_error_text *error) SY_MUST_USE;
/* Copies a name; false, and why: it is too long. */
bool sim_read_name(const struct sim_rows *rows, size_t column, char *ret, size_t size,
                   struct sy_error_text *why);
