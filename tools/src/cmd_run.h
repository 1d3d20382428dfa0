/* switchyard run: what cmd_run.c and cmd_run_fanout.c share. */
#pragma once

#include "base/buf.h"
#include "tools/src/cl_lines.h"
#include "tools/src/cl_progress.h"
#include "tools/src/cl_spec.h"
#include "tools/src/cl_watch.h"
#include "tools/src/cmd.h"

#define CL_RUN_FAILURES_MAX 10

/* What the watch has seen; also what the final table shows. */
struct cl_run_summary {
    const char *run;
    uint64_t phases[16]; /* children by final phase; a single task counts as itself */
    uint64_t finished, total, enqueued;
    bool total_known;
    int64_t started_ns; /* monotonic: before CreateRun */
    struct cl_run_failure {
        char action[CL_RUN_NAME_MAX], node[64];
        int phase;
        uint32_t attempts;
        struct sy_error_text error;
    } failures[CL_RUN_FAILURES_MAX];
    size_t failure_count;
    char node[64];     /* of a single task */
    uint32_t attempts; /* of a single task */
    bool fan_out;
    struct cl_progress progress;
};

/* The event callback: ctx is a cl_run_summary. */
void cl_run_on_event(void *ctx, const Switchyard__V1__Event *event);
void cl_run_show_progress(struct cl_run_summary *summary);

/* One task's spec; `args` and `arg_count` replace the command's when not NULL. */
enum cl_exit cl_run_pack_spec(const struct cl_run_options *options, const char *const *args,
                              size_t arg_count, struct sy_buf *append, struct cl_error *error);
/* Of a run with `gang`. */
void cl_run_fill_gang(const struct cl_run_options *options, Switchyard__V1__Gang *ret);
/* Asks what would become of it, and prints the answer. Of a fan-out: of one of its tasks. */
enum cl_exit cl_run_dry(struct cl_client *client, const struct cl_run_options *options,
                        struct cl_error *error);
/* Enqueues a child for each argument or line (`lines` may be NULL; without both: one, with
 * `input`), and seals. The run has been created. */
enum cl_exit cl_run_enqueue_all(struct cl_client *client, const struct cl_run_options *options,
                                struct cl_lines *lines, struct sy_span input,
                                struct cl_run_summary *summary, struct cl_error *error);
/* "{}" in each argument replaced by `item`; appended as an argument when there is none. To be freed
 * with its strings: cl_run_free_args(). */
char **cl_run_substitute(char *const *command, size_t count, const char *item, size_t *ret_count);
void cl_run_free_args(char **args, size_t count);
