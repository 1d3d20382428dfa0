/* Control groups, version 1: one hierarchy for each controller. */
#include "agent/cgroup_impl.h"

#include <stdio.h>
#include <sys/stat.h>

#define CPU_PERIOD_US 100000u
#define CPU_SHARES_MIN 2u

static int v1_prepare(struct ag_cgroup_tree *tree, const char *base)
{
    (void)base;
    if (mkdir(tree->root, 0755) < 0 && errno != EEXIST)
        return -errno;
    if (!ag_cgroup_has_file(tree->root, "memory.limit_in_bytes"))
        tree->has &= ~(unsigned)AG_CGROUP_MEMORY;
    if (!ag_cgroup_has_file(tree->root, "cpu.shares"))
        tree->has &= ~(unsigned)AG_CGROUP_CPU;
    if (!ag_cgroup_has_file(tree->root, "pids.max"))
        tree->has &= ~(unsigned)AG_CGROUP_PIDS;
    tree->has &= ~(unsigned)AG_CGROUP_KILL; /* listing and killing races with forks */
    return tree->has != 0 ? 0 : -ENOTSUP;
}

static int v1_limit_memory(const char *dir, uint64_t bytes)
{
    /* The limit with swap may not be below the one without, so the order depends on the direction:
     * lift both first. */
    bool swap = ag_cgroup_has_file(dir, "memory.memsw.limit_in_bytes");
    if (swap && ag_cgroup_write(dir, "memory.memsw.limit_in_bytes", "-1") < 0)
        return -EIO;
    if (bytes == 0)
        return ag_cgroup_write(dir, "memory.limit_in_bytes", "-1");
    int r = ag_cgroup_write_u64(dir, "memory.limit_in_bytes", bytes);
    if (r == 0 && swap)
        r = ag_cgroup_write_u64(dir, "memory.memsw.limit_in_bytes", bytes);
    return r;
}

static int v1_limit_cpu(const char *dir, uint32_t milli, bool quota)
{
    uint64_t shares = milli ? (uint64_t)milli * 1024 / 1000 : 1024;
    if (shares < CPU_SHARES_MIN)
        shares = CPU_SHARES_MIN;
    int r = ag_cgroup_write_u64(dir, "cpu.shares", shares);
    if (r < 0 || !quota)
        return r;
    if (milli == 0)
        return ag_cgroup_write(dir, "cpu.cfs_quota_us", "-1");
    return ag_cgroup_write_u64(dir, "cpu.cfs_quota_us", (uint64_t)milli * CPU_PERIOD_US / 1000);
}

static uint64_t v1_oom_kills(const char *dir)
{
    return ag_cgroup_read(dir, "memory.oom_control", "oom_kill");
}

static uint64_t v1_memory_peak(const char *dir)
{
    return ag_cgroup_read(dir, "memory.max_usage_in_bytes", NULL);
}

static bool v1_reset_peak(const char *dir)
{
    return ag_cgroup_write(dir, "memory.max_usage_in_bytes", "0") == 0;
}

static void v1_kill(const char *dir)
{
    ag_cgroup_kill_listed(dir);
}

const struct ag_cgroup_ops ag_cgroup_v1_ops = {
    .prepare = v1_prepare,
    .limit_memory = v1_limit_memory,
    .limit_cpu = v1_limit_cpu,
    .oom_kills = v1_oom_kills,
    .memory_peak = v1_memory_peak,
    .reset_peak = v1_reset_peak,
    .kill = v1_kill,
};
