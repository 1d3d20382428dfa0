/* What the back-ends of cgroup.h share. Nobody else includes this header. */
#pragma once

#include "agent/cgroup.h"

enum {
    AG_CGROUP_MEMORY = 1,
    AG_CGROUP_CPU = 2,
    AG_CGROUP_PIDS = 4,
    AG_CGROUP_KILL = 8,
};
#define AG_CGROUP_TREES_MAX 4
#define AG_CGROUP_PATH_MAX 1024

struct ag_cgroup_ops;

/* One hierarchy, and our subtree in it. */
struct ag_cgroup_tree {
    const struct ag_cgroup_ops *ops;
    char root[AG_CGROUP_PATH_MAX]; /* the subtree */
    unsigned has;                  /* what is controlled there */
    bool cpu_quota;
};

/* Of one version. `dir` is a group's directory. Errors count as "not limited". */
struct ag_cgroup_ops {
    /* Prepares the subtree whose parent is `base`; sets tree->has to what works of it. -errno:
     * none. */
    int (*prepare)(struct ag_cgroup_tree *tree, const char *base);
    int (*limit_memory)(const char *dir, uint64_t bytes);          /* 0: no limit */
    int (*limit_cpu)(const char *dir, uint32_t milli, bool quota); /* 0: as any other */
    uint64_t (*oom_kills)(const char *dir);
    uint64_t (*memory_peak)(const char *dir);
    /* False: the peak cannot be set back, so the group is used once. */
    bool (*reset_peak)(const char *dir);
    void (*kill)(const char *dir);
};
extern const struct ag_cgroup_ops ag_cgroup_v1_ops, ag_cgroup_v2_ops;

int ag_cgroup_write(const char *dir, const char *file, const char *text) SY_MUST_USE;
int ag_cgroup_write_u64(const char *dir, const char *file, uint64_t value) SY_MUST_USE;
/* The number after `key` ("oom_kill 3"), or the file's only number when key is NULL; 0 when there
 * is none. */
uint64_t ag_cgroup_read(const char *dir, const char *file, const char *key);
bool ag_cgroup_has_file(const char *dir, const char *file);
/* SIGKILL to each process named in dir/cgroup.procs, until there is none (bounded). Returns how
 * many were seen first. */
unsigned ag_cgroup_kill_listed(const char *dir);
