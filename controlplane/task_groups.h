/*
 * Sums over the runs of each task, as Flyte's TaskGroup shows them. Pure: runs are given to it.
 *
 * A partition's runs are added in any order, then the sums of all partitions are merged. Memory
 * goes with the number of tasks, not of runs.
 */
#pragma once

#include "base/arena.h"
#include "base/map.h"
#include "scheduler/partition.h"

#include "flyteidl2/workflow/run_definition.pb-c.h"
#include "switchyard/internal/watch_parts.pb-c.h"

/* Newest runs that a group names. */
#define CP_TASK_GROUP_RECENT 10
#define CP_TASK_GROUP_PHASES 16

struct cp_task_groups { /* zeroed: empty */
    struct sy_map map;
};

struct cp_task_group_run {
    const char *task, *environment, *short_name, *name;
    Flyteidl2__Common__ActionPhase phase;
    int64_t created_ns;
    int64_t started_ns;  /* of its only attempt; 0: not known */
    int64_t finished_ns; /* 0: it lives */
    /* NULL unless it failed */
    const Flyteidl2__Core__ExecutionError *error;
};

struct cp_task_group {
    struct sy_map_link link;
    char *task, *environment, *short_name;
    uint64_t hash; /* the caller's: of what was told last */
    int64_t runs, ended, failed, started;
    int64_t duration_ms, to_running_ms; /* of all `ended`, of all `started` */
    int64_t user_errors, system_errors, other_errors;
    int64_t latest_run_ns, latest_finished_ns;
    int64_t phases[CP_TASK_GROUP_PHASES];
    size_t recent_count;
    struct cp_task_group_recent { /* newest first */
        char name[SCH_NAME_MAX];
        Flyteidl2__Common__ActionPhase phase;
        int64_t created_ns;
    } recent[CP_TASK_GROUP_RECENT];
};

void cp_task_groups_clear(struct cp_task_groups *groups); /* frees */
void cp_task_groups_add(struct cp_task_groups *groups, const struct cp_task_group_run *run);
void cp_task_groups_merge(struct cp_task_groups *groups, const struct cp_task_groups *from);
/* NULL: there is none. */
struct cp_task_group *cp_task_groups_find(const struct cp_task_groups *groups, const char *task);
/* In an array of the caller's with map.count places, by the time of the latest run. */
void cp_task_groups_sort(const struct cp_task_groups *groups, bool oldest_first,
                         struct cp_task_group **ret);
/* As shards tell one another (internal/watch_parts.proto). The message borrows the group's strings.
 */
Switchyard__Internal__GroupSums *cp_task_group_sums(struct sy_arena *arena,
                                                    const struct cp_task_group *group);
void cp_task_groups_add_sums(struct cp_task_groups *groups,
                             const Switchyard__Internal__GroupSums *sums);
/* Borrows the group's strings. */
Flyteidl2__Workflow__TaskGroup *cp_task_group_message(struct sy_arena *arena,
                                                      const struct cp_task_group *group);
