/* links: ag */
#include "agent/cgroup.h"
#include "base/file.h"
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tests/unit/test_ag_util.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static struct ag_cgroups *open_mode(enum ag_cgroup_mode mode, const char *name)
{
    struct ag_cgroup_options options = {.mode = mode, .name = name};
    return ag_cgroups_new(&options, NULL);
}

static const char *unique_name(void)
{
    static char name[64];
    snprintf(name, sizeof(name), "switchyard-test-cg-%d", (int)getpid());
    return name;
}

/* Forks a sleeper, which is in the group afterwards, or has failed. This process has no gRPC. */
static pid_t join(const struct ag_cgroup *group)
{
    int fds[2];
    char joined;
    ck_assert_int_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (const char *const *file = ag_cgroup_joins(group); *file != NULL; file++) {
            int fd = open(*file, O_WRONLY);
            if (fd < 0 || write(fd, "0", 1) != 1)
                _exit(1);
            close(fd);
        }
        if (write(fds[1], "", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    close(fds[1]);
    (void)!read(fds[0], &joined, 1);
    close(fds[0]);
    return pid;
}

START_TEST(none)
{
    struct ag_cgroups *c = open_mode(AG_CGROUP_NONE, unique_name());
    ck_assert_str_eq(ag_cgroups_backend(c), "none");
    ck_assert(!ag_cgroups_limit_memory(c) && !ag_cgroups_can_kill(c));
    struct ag_cgroup_limits limits = {.memory_bytes = 1 << 20};
    ck_assert_ptr_null(ag_cgroup_take(c, &limits));
    ag_cgroup_put(c, NULL);
    ag_cgroups_free(c);
}
END_TEST

START_TEST(nothing_can_be_written)
{
    const char *dir = scratch();
    char mounts[128], text[256];
    snprintf(mounts, sizeof(mounts), "%s/mounts", dir);
    int n = snprintf(text, sizeof(text),
                     "cgroup2 /proc/no/such cgroup2 rw 0 0\ncgroup %s/none cgroup rw,memory 0 0\n",
                     dir);
    ck_assert_int_eq(sy_file_write_atomic(mounts, text, (size_t)n), 0);
    struct ag_cgroup_options options = {.mode = AG_CGROUP_AUTO, .name = "x", .mounts = mounts};
    struct ag_cgroups *c = ag_cgroups_new(&options, NULL);
    ck_assert_str_eq(ag_cgroups_backend(c), "none");
    ag_cgroups_free(c);
    remove_scratch(dir);
}
END_TEST

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static const char *get_file(const char *dir, const char *name)
{
    static char text[128];
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDONLY);
    ck_assert_msg(fd >= 0, "%s is not there", path);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* The files of a version 2 group, in a plain directory: what is written to them can be read. */
static void fake_v2_files(const char *dir)
{
    mkdir(dir, 0755);
    static const char *const names[] = {"cgroup.procs", "cgroup.kill",     "cgroup.subtree_control",
                                        "memory.max",   "memory.swap.max", "memory.oom.group",
                                        "cpu.weight",   "cpu.max",         "pids.max"};
    for (size_t i = 0; i < SY_COUNT_OF(names); i++)
        put_file(dir, names[i], "");
    put_file(dir, "memory.events", "low 0\nhigh 0\noom 0\noom_kill 5\noom_group_kill 1\n");
    put_file(dir, "memory.peak", "4096\n");
}

START_TEST(version_2_on_a_made_up_tree)
{
    const char *dir = scratch();
    char mounts[128], own[128], text[256], root[200], group_dir[256];
    snprintf(mounts, sizeof(mounts), "%s/mounts", dir);
    snprintf(own, sizeof(own), "%s/own", dir);
    snprintf(text, sizeof(text), "cgroup2 %s cgroup2 rw,nsdelegate 0 0\n", dir);
    put_file(dir, "mounts", text);
    put_file(dir, "own", "0::/\n");
    fake_v2_files(dir);
    snprintf(root, sizeof(root), "%s/sy", dir);
    fake_v2_files(root);
    snprintf(group_dir, sizeof(group_dir), "%s/1", root);
    struct ag_cgroup_options options = {
        .mode = AG_CGROUP_V2, .name = "sy", .cpu_quota = true, .mounts = mounts, .own = own};
    struct ag_cgroups *c = ag_cgroups_new(&options, NULL);
    ck_assert_str_eq(ag_cgroups_backend(c), "v2");
    ck_assert(ag_cgroups_limit_memory(c));
    fake_v2_files(group_dir); /* the kernel would make them with the directory */
    struct ag_cgroup_limits limits = {.memory_bytes = 1000, .cpu_milli = 1500, .pids = 7};
    struct ag_cgroup *group = ag_cgroup_take(c, &limits);
    ck_assert_ptr_nonnull(group);
    ck_assert_str_eq(get_file(group_dir, "memory.max"), "1000");
    ck_assert_str_eq(get_file(group_dir, "memory.swap.max"), "0");
    ck_assert_str_eq(get_file(group_dir, "memory.oom.group"), "1");
    ck_assert_str_eq(get_file(group_dir, "cpu.max"), "150000 100000");
    ck_assert_str_eq(get_file(group_dir, "cpu.weight"), "59");
    ck_assert_str_eq(get_file(group_dir, "pids.max"), "7");
    put_file(group_dir, "memory.events", "oom 9\noom_kill 7\n");
    struct ag_cgroup_usage usage;
    ag_cgroup_usage(group, &usage);
    ck_assert_uint_eq(usage.oom_kills, 2);
    ck_assert_uint_eq(usage.memory_peak_bytes, 4096);
    ag_cgroup_kill(group);
    ck_assert_str_eq(get_file(group_dir, "cgroup.kill"), "1");
    ag_cgroup_put(c, group);
    ag_cgroups_free(c);
    remove_scratch(dir);
}
END_TEST

/* Whoever tidies up may remove what is empty. */
START_TEST(what_was_removed_is_made_again)
{
    struct ag_cgroups *c = open_mode(AG_CGROUP_AUTO, unique_name());
    if (!ag_cgroups_can_kill(c)) {
        printf("skipped: no control group can be written here\n");
        ag_cgroups_free(c);
        return;
    }
    struct ag_cgroup_limits limits = {.memory_bytes = 64 << 20, .cpu_milli = 500, .pids = 100};
    for (int round = 0; round < 2; round++) {
        struct ag_cgroup *group = ag_cgroup_take(c, &limits);
        ck_assert_ptr_nonnull(group);
        pid_t pid = join(group);
        ag_cgroup_kill(group);
        int status;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFSIGNALED(status), "round %d: it could not join", round);
        char directories[4][1200];
        size_t count = 0;
        for (const char *const *file = ag_cgroup_joins(group); *file != NULL; file++)
            snprintf(directories[count++], sizeof(directories[0]), "%s", *file);
        ag_cgroup_put(c, group);
        for (size_t i = 0; i < count; i++) {
            for (int up = 0; up < 2; up++) { /* the group, then the subtree */
                *strrchr(directories[i], '/') = '\0';
                while (rmdir(directories[i]) < 0 && errno != ENOENT)
                    ck_assert_int_eq(errno, EBUSY);
            }
        }
    }
    ag_cgroups_free(c);
}
END_TEST

START_TEST(this_machine)
{
    struct ag_cgroups *c = open_mode(AG_CGROUP_AUTO, unique_name());
    if (!ag_cgroups_can_kill(c)) {
        printf("skipped: no control group can be written here\n");
        ag_cgroups_free(c);
        return;
    }
    printf("back-end %s\n", ag_cgroups_backend(c));
    struct ag_cgroup_limits limits = {.memory_bytes = 64 << 20, .cpu_milli = 500, .pids = 100};
    struct ag_cgroup *first = ag_cgroup_take(c, &limits), *second = ag_cgroup_take(c, &limits);
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_nonnull(second);
    pid_t pid = join(first), other = join(second);
    int status;
    ag_cgroup_kill(first);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(waitpid(other, &status, WNOHANG), 0);
    ag_cgroup_put(c, second); /* kills what is left */
    ck_assert_int_eq(waitpid(other, &status, 0), other);
    ag_cgroup_put(c, first);
    ck_assert_ptr_eq(ag_cgroup_take(c, &limits), first); /* used again */
    ag_cgroup_put(c, first);
    ag_cgroups_free(c);
}
END_TEST

START_TEST(left_overs_are_killed_at_the_start)
{
    struct ag_cgroups *c = open_mode(AG_CGROUP_AUTO, unique_name());
    if (!ag_cgroups_can_kill(c)) {
        printf("skipped: no control group can be written here\n");
        ag_cgroups_free(c);
        return;
    }
    struct ag_cgroup_limits limits = {.pids = 100};
    struct ag_cgroup *group = ag_cgroup_take(c, &limits);
    pid_t pid = join(group);
    /* The agent dies here: nothing is put back. */
    struct ag_cgroups *next = open_mode(AG_CGROUP_AUTO, unique_name());
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ag_cgroups_free(next);
    ag_cgroup_put(c, group); /* only so that its memory is freed */
    ag_cgroups_free(c);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        none,
        nothing_can_be_written,
        version_2_on_a_made_up_tree,
        what_was_removed_is_made_again,
        this_machine,
        left_overs_are_killed_at_the_start,
        NULL,
    };
    return sy_test_run("ag_cgroup", tests);
}
