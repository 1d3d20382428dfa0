/*
 * Limits for processes, by whatever control groups this machine lets us write: v1, v2, or hybrid
 * (v1 controllers, and a v2 tree that kills whole groups). Probed once at the start; where nothing
 * can be written the back-end is `none`, which is said once, and everything runs without limits.
 *
 * All groups lie in a subtree of our own, <mount>/<own group>/<name>, which is emptied at the
 * start: what is found there was left by an earlier agent of that name, so names must differ
 * between agents of one machine. Groups are used again: making one costs as much as starting a
 * process.
 *
 * On the agent's loop. A write to cgroupfs takes 5 to 20 us.
 */
#pragma once

#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

struct ag_cgroups;
struct ag_cgroup;

enum ag_cgroup_mode { AG_CGROUP_AUTO, AG_CGROUP_V1, AG_CGROUP_V2, AG_CGROUP_NONE };

struct ag_cgroup_options {
    enum ag_cgroup_mode mode;
    const char *name;   /* "switchyard-NODE-1f3a" */
    bool cpu_quota;     /* cpu is a hard limit; else a share of what is free */
    const char *mounts; /* default "/proc/self/mounts"; another file in tests */
    const char *own;    /* default "/proc/self/cgroup" */
};

struct ag_cgroup_limits { /* 0 = none */
    uint64_t memory_bytes;
    uint32_t cpu_milli;
    uint32_t pids;
};

/* Never fails: the worst is the back-end `none`. */
struct ag_cgroups *ag_cgroups_new(const struct ag_cgroup_options *options, struct sy_log *log);
void ag_cgroups_free(struct ag_cgroups *cgroups); /* removes the subtree; nothing may run in it */
/* "v1", "v2", "hybrid", "none" */
const char *ag_cgroups_backend(const struct ag_cgroups *cgroups);
bool ag_cgroups_limit_memory(const struct ag_cgroups *cgroups);
bool ag_cgroups_can_kill(
    const struct ag_cgroups *cgroups); /* ag_cgroup_kill() reaches every process */

/* A group with these limits, empty; NULL when there is none to be had. */
struct ag_cgroup *ag_cgroup_take(struct ag_cgroups *cgroups, const struct ag_cgroup_limits *limits);
/* For later use, once its usage was read. What still runs in it is killed. NULL is fine. */
void ag_cgroup_put(struct ag_cgroups *cgroups, struct ag_cgroup *cgroup);
/* Files that a process writes "0" into to join; NULL-terminated. */
const char *const *ag_cgroup_joins(const struct ag_cgroup *cgroup);
/* Everything in it; nothing joins it any more before it is put back. */
void ag_cgroup_kill(struct ag_cgroup *cgroup);

struct ag_cgroup_usage {
    uint64_t oom_kills; /* since it was taken */
    uint64_t memory_peak_bytes;
};
void ag_cgroup_usage(struct ag_cgroup *cgroup, struct ag_cgroup_usage *ret);
