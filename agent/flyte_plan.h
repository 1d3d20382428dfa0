/*
 * From a task of Flyte's SDK and its place in a run to what is executed: paths, command line,
 * environment. Pure, but for the arena that all results live in (its cap is never reached: sizes
 * were bounded with the spec).
 *
 *     RUN BASE/ACTION/inputs.pb                      written by the parent, or the data proxy
 *     RUN BASE/ACTION/HEX/ATTEMPT/                    one attempt: what it writes
 *     RUN BASE/ACTION/HEX/ATTEMPT/{outputs,error}.pb, report.html
 *     RUN BASE/ACTION/HEX/ATTEMPT/_flytecheckpoints   one blob; the next attempt gets its name
 *
 * HEX is the action's id, which is never given twice: an action that a rerun gives the same name
 * does not find the files of its predecessor.
 */
#pragma once

#include "agent/executor.h"
#include "base/arena.h"

struct ag_flyte_paths {
    const char *run_base, *attempt_dir, *raw_data, *checkpoint;
};

/* `root` is the storage's, without a trailing slash. */
void ag_flyte_paths(struct ag_flyte_paths *ret, struct sy_arena *arena, const struct ag_work *work,
                    const char *root);
/* Where that attempt would have put its checkpoint. */
const char *ag_flyte_checkpoint(struct sy_arena *arena, const struct ag_flyte_paths *paths,
                                const struct ag_work *work, uint32_t attempt);

/* What the templates of the command line stand for. */
struct ag_flyte_values {
    const char *input, *output_prefix, *raw_data, *checkpoint, *previous_checkpoint;
    const char *run, *action, *run_start;
};
/* "{{.input}}", "{{ $RunName }}", in any case; unknown ones stay as they are. */
const char *ag_flyte_fill_in(struct sy_arena *arena, const char *text,
                             const struct ag_flyte_values *values);

/* Who runs an image, by the agent's configuration. */
struct ag_flyte_environment {
    const char *image;          /* "*": whatever is not named */
    const char *venv;           /* a directory with bin/; NULL: */
    const char *const *command; /* what the task's command line is appended to; NULL-terminated */
};
/* NULL: none is configured. */
const struct ag_flyte_environment *
ag_flyte_environment_find(const struct ag_flyte_environment *environments, size_t count,
                          const char *image);

struct ag_flyte_plan_options {
    const char *endpoint;   /* of the shard, for the tasks' own calls */
    const char *const *env; /* for every task: "KEY=value"; NULL-terminated */
    const char *previous_checkpoint;
    const char *path; /* PATH of the agent */
    const struct ag_flyte_environment *environment;
};
/* The command line: the program is looked for in the virtual environment first. */
const char *const *ag_flyte_args(struct sy_arena *arena, const struct ag_work *work,
                                 const struct ag_flyte_paths *paths,
                                 const struct ag_flyte_plan_options *options);
/* `secrets`: "KEY=value"; NULL-terminated. A later variable replaces an earlier one. */
const char *const *ag_flyte_env(struct sy_arena *arena, const struct ag_work *work,
                                const struct ag_flyte_paths *paths,
                                const struct ag_flyte_plan_options *options,
                                const char *const *secrets);
/* Of an interpreter that serves many tasks: what they all have. */
const char *const *ag_flyte_worker_env(struct sy_arena *arena,
                                       const struct ag_flyte_plan_options *options);
/* The code bundle that the command line names; NULL: none. */
const char *ag_flyte_bundle(const char *const *args);
