/*
 * Actions of Flyte programs, on top of an executor: an executor itself, which hands native work
 * through untouched. It makes a command line of a task and its place in a run, has the inner
 * executor carry that out, and reads what came of it from the files that Flyte's SDK leaves.
 *
 * A cold process unless a warm Python interpreter fits: the task's reuse policy asks for one, or
 * the agent forks one for ordinary tasks (`fork`).
 */
#pragma once

#include "agent/executor.h"
#include "agent/flyte_plan.h"
#include "base/bearer.h"
#include "base/blob.h"
#include "base/log.h"
#include "base/rpc.h"

struct ag_flyte_options {
    const char *dir;      /* unpacked code bundles, which survive restarts; secrets, which do not */
    const char *endpoint; /* of the shards, for tasks; "": of the one that assigned the task */
    const char *worker;   /* switchyard_worker.py */
    const struct ag_flyte_environment *environments; /* copied */
    size_t environment_count;
    const char *const *env; /* for every task: "KEY=value"; NULL-terminated; copied */
    bool fork;              /* ordinary tasks run in forks of a preloaded interpreter */
    size_t bundles_max;     /* directories that are kept; default 64 */
};

struct ag_flyte_ports {
    struct ag_executor *inner; /* taken */
    struct sy_loop *loop;
    struct sy_blobs *blobs; /* NULL: Flyte's actions are refused */
    /* To the operator, as it is now; NULL: tasks with secrets are refused. */
    struct sy_channel *const *secrets;
    struct sy_bearer bearer; /* for it; borrowed; zeroed: none */
    struct sy_log *log;
};

int ag_flyte_new(struct ag_executor **ret_executor, const struct ag_flyte_options *options,
                 const struct ag_flyte_ports *ports, struct sy_error_text *error) SY_MUST_USE;
