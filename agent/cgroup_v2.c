/* Control groups, version 2: one tree; controllers are handed down level by level. */
#include "agent/cgroup_impl.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CPU_PERIOD_US 100000u
#define CPU_WEIGHT_MAX 10000u

static const struct {
    unsigned bit;
    const char *name;
} controllers[] = {
    {AG_CGROUP_MEMORY, "+memory"},
    {AG_CGROUP_CPU, "+cpu"},
    {AG_CGROUP_PIDS, "+pids"},
};

static void hand_down(const char *dir, unsigned wanted)
{
    for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++) {
        if (wanted & controllers[i].bit) {
            int r = ag_cgroup_write(dir, "cgroup.subtree_control", controllers[i].name);
            (void)r; /* what came of it is looked at below */
        }
    }
}

/* A group with processes of its own cannot hand down controllers (unless it is the root): step
 * aside into a leaf beside the subtree, as a service with Delegate=yes is meant to do. */
static void step_aside(const struct ag_cgroup_tree *tree, const char *base)
{
    char leaf[AG_CGROUP_PATH_MAX + 16];
    (void)base;
    snprintf(leaf, sizeof(leaf), "%s-agent", tree->root);
    if (mkdir(leaf, 0755) < 0 && errno != EEXIST)
        return;
    int r = ag_cgroup_write(leaf, "cgroup.procs", "0");
    (void)r;
}

static unsigned found_in(const char *dir)
{
    unsigned has = 0;
    if (ag_cgroup_has_file(dir, "memory.max"))
        has |= AG_CGROUP_MEMORY;
    if (ag_cgroup_has_file(dir, "cpu.weight"))
        has |= AG_CGROUP_CPU;
    if (ag_cgroup_has_file(dir, "pids.max"))
        has |= AG_CGROUP_PIDS;
    if (ag_cgroup_has_file(dir, "cgroup.kill"))
        has |= AG_CGROUP_KILL;
    return has;
}

static int v2_prepare(struct ag_cgroup_tree *tree, const char *base)
{
    unsigned controlled = tree->has & (AG_CGROUP_MEMORY | AG_CGROUP_CPU | AG_CGROUP_PIDS);
    if (mkdir(tree->root, 0755) < 0 && errno != EEXIST)
        return -errno;
    if (controlled != 0) {
        hand_down(base, controlled);
        if ((found_in(tree->root) & controlled) != controlled) {
            step_aside(tree, base);
            hand_down(base, controlled);
        }
        hand_down(tree->root, controlled);
    }
    tree->has &= found_in(tree->root);
    return tree->has != 0 ? 0 : -ENOTSUP;
}

static int v2_limit_cpu(const char *dir, uint32_t milli, bool quota)
{
    /* As systemd and runc map shares: 1000 milli = 1024 shares = weight 39. */
    uint64_t shares = milli ? (uint64_t)milli * 1024 / 1000 : 1024;
    uint64_t weight = shares < 2 ? 1 : 1 + (shares - 2) * 9999 / 262142;
    int r = ag_cgroup_write_u64(dir, "cpu.weight",
                                weight > CPU_WEIGHT_MAX ? CPU_WEIGHT_MAX : weight);
    if (r < 0 || !quota)
        return r;
    char text[64];
    if (milli == 0)
        snprintf(text, sizeof(text), "max %u", CPU_PERIOD_US);
    else
        snprintf(text, sizeof(text), "%llu %u", (unsigned long long)milli * CPU_PERIOD_US / 1000,
                 CPU_PERIOD_US);
    return ag_cgroup_write(dir, "cpu.max", text);
}

static int v2_limit_memory(const char *dir, uint64_t bytes)
{
    int r = bytes ? ag_cgroup_write_u64(dir, "memory.max", bytes)
                  : ag_cgroup_write(dir, "memory.max", "max");
    if (r == 0 && ag_cgroup_has_file(dir, "memory.swap.max"))
        r = ag_cgroup_write(dir, "memory.swap.max", bytes ? "0" : "max");
    if (r == 0)
        r = ag_cgroup_write(dir, "memory.oom.group", "1"); /* half a task is no use */
    return r;
}

static uint64_t v2_oom_kills(const char *dir)
{
    return ag_cgroup_read(dir, "memory.events", "oom_kill");
}

static uint64_t v2_memory_peak(const char *dir)
{
    return ag_cgroup_read(dir, "memory.peak", NULL);
}

/* Since Linux 6.12 a write to memory.peak sets it back, but only for readers of that descriptor. */
static bool v2_reset_peak(const char *dir)
{
    (void)dir;
    return false;
}

static void v2_kill(const char *dir)
{
    if (ag_cgroup_write(dir, "cgroup.kill", "1") < 0)
        ag_cgroup_kill_listed(dir);
}

const struct ag_cgroup_ops ag_cgroup_v2_ops = {
    .prepare = v2_prepare,
    .limit_memory = v2_limit_memory,
    .limit_cpu = v2_limit_cpu,
    .oom_kills = v2_oom_kills,
    .memory_peak = v2_memory_peak,
    .reset_peak = v2_reset_peak,
    .kill = v2_kill,
};
