/*
 * Switchyard's rows as Flyte 2's messages. Pure: no store, no clock, no partition.
 *
 * Messages are made in the arena given and borrow strings from the views and names; pack them
 * before the arena is reset. Texts that came from tasks are copied and made UTF-8.
 *
 * Not mapped, because nothing here knows them yet: executed_by, triggers, artifacts, the attempts
 * before the last (they are listed by number, FAILED, without times), log links, cluster events,
 * children_phase_counts.
 */
#pragma once

#include "base/arena.h"
#include "controlplane/partition.h"
#include "controlplane/task_names.h"

#include "flyteidl2/workflow/run_definition.pb-c.h"
#include "flyteidl2/workflow/state_service.pb-c.h"

/* The only user there is: nobody is asked who they are. */
#define CP_ANONYMOUS "anonymous"
/* Attempts listed in ActionDetails at most. */
#define CP_FLYTE_ATTEMPTS_MAX 64

/* Whose messages are made: the run they belong to. */
struct cp_flyte {
    struct sy_arena *arena;
    const char *org, *project, *domain, *run;
};

/* NULL for 0: a time that is not known. */
Google__Protobuf__Timestamp *cp_flyte_time(struct sy_arena *arena, int64_t realtime_ns);
/* 0 for NULL, and for what does not fit. */
int64_t cp_flyte_time_ns(const Google__Protobuf__Timestamp *time);
Flyteidl2__Common__ActionPhase cp_flyte_phase(Switchyard__V1__Phase phase);
/* RECOVERED is a success that an earlier run had. */
Flyteidl2__Common__ActionPhase cp_flyte_view_phase(const struct cp_action_view *view);

Flyteidl2__Workflow__ActionType cp_flyte_type(const struct cp_action_view *view);

Flyteidl2__Common__ActionIdentifier *cp_flyte_action_id(const struct cp_flyte *f, const char *name);
Flyteidl2__Workflow__Action *cp_flyte_action(const struct cp_flyte *f,
                                             const struct cp_action_view *view,
                                             const struct cp_task_names *names);
/* `row`: the run's, for its labels, relation and trigger; NULL: without. */
Flyteidl2__Workflow__Run *cp_flyte_run(const struct cp_flyte *f, const struct cp_action_view *root,
                                       const struct cp_task_names *names,
                                       const Switchyard__Internal__Store__RunRow *row);
/* `task_spec` is borrowed. */
Flyteidl2__Workflow__ActionDetails *cp_flyte_details(const struct cp_flyte *f,
                                                     const struct cp_action_view *view,
                                                     const struct cp_task_names *names,
                                                     struct sy_span task_spec);
Flyteidl2__Workflow__RunDetails *
cp_flyte_run_details(const struct cp_flyte *f, const struct cp_action_view *root,
                     const struct cp_task_names *names, struct sy_span task_spec,
                     const Switchyard__Internal__Store__RunRow *row);
/* What a parent's watch hears of a child. `error` is set with every FAILED. */
Flyteidl2__Workflow__ActionUpdate *cp_flyte_update(const struct cp_flyte *f,
                                                   const struct cp_action_view *view);
/* The cache key of a root, as Flyte's SDK makes that of a child, so that each finds the other's
 * outputs: base64 of SHA-256 of inputs hash, task name, hash of the interface, cache version. NULL:
 * the task is not to be cached. */
char *cp_flyte_cache_key(struct sy_arena *arena, struct sy_span task_spec, const char *inputs_hash);
/* NULL when it did not fail. */
Flyteidl2__Core__ExecutionError *cp_flyte_error(struct sy_arena *arena,
                                                const struct cp_action_view *view);
