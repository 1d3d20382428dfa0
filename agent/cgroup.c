#include "agent/cgroup_impl.h"

#include "agent/events.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOUNTS_BYTES_MAX ((size_t)1 << 20)
#define KILL_ROUNDS 200
#define KILL_PAUSE_NS 5000000L
#define FREE_MAX 1024

struct ag_cgroup {
    struct ag_cgroup *next; /* in the free list */
    struct ag_cgroups *owner;
    struct ag_cgroup_limits limits;
    uint64_t oom_kills_before, oom_kills_seen;
    bool killed; /* nothing runs in it any more */
    char *dirs[AG_CGROUP_TREES_MAX];
    char *joins[AG_CGROUP_TREES_MAX + 1];
};

struct ag_cgroups {
    struct sy_log *log;
    struct ag_cgroup_tree trees[AG_CGROUP_TREES_MAX];
    unsigned tree_count;
    const char *backend;
    struct ag_cgroup *free;
    unsigned free_count;
    uint64_t made;
    bool failure_told;
};

/* ---- files ---- */

int ag_cgroup_write(const char *dir, const char *file, const char *text)
{
    char path[AG_CGROUP_PATH_MAX + 128];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text, strlen(text));
    int r = n < 0 ? -errno : 0;
    close(fd);
    return r;
}

int ag_cgroup_write_u64(const char *dir, const char *file, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return ag_cgroup_write(dir, file, text);
}

bool ag_cgroup_has_file(const char *dir, const char *file)
{
    char path[AG_CGROUP_PATH_MAX + 128];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    return access(path, F_OK) == 0;
}

uint64_t ag_cgroup_read(const char *dir, const char *file, const char *key)
{
    char path[AG_CGROUP_PATH_MAX + 128], text[1024];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    if (key == NULL)
        return strtoull(text, NULL, 10);
    size_t length = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0 && line[length] == ' ')
            return strtoull(line + length, NULL, 10);
    }
    return 0;
}

static unsigned kill_listed_once(const char *dir)
{
    char path[AG_CGROUP_PATH_MAX + 128];
    snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    char line[32];
    unsigned killed = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        long pid = strtol(line, NULL, 10);
        if (pid > 1 && kill((pid_t)pid, SIGKILL) == 0)
            killed++;
    }
    fclose(file);
    return killed;
}

unsigned ag_cgroup_kill_listed(const char *dir)
{
    unsigned first = kill_listed_once(dir);
    unsigned left = first;
    for (unsigned round = 0; left > 0 && round < KILL_ROUNDS; round++) {
        nanosleep(&(struct timespec){.tv_nsec = KILL_PAUSE_NS}, NULL);
        left = kill_listed_once(dir);
    }
    return first;
}

/* ---- the start: what is there, and what was left ---- */

/* Empties and removes the groups of an earlier agent. */
static unsigned sweep(const char *root)
{
    unsigned killed = 0;
    DIR *dir = opendir(root);
    if (dir == NULL)
        return 0;
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        char path[AG_CGROUP_PATH_MAX + 300];
        snprintf(path, sizeof(path), "%s/%s", root, entry->d_name);
        killed += ag_cgroup_kill_listed(path);
        for (unsigned i = 0; rmdir(path) < 0 && errno == EBUSY && i < KILL_ROUNDS; i++)
            nanosleep(&(struct timespec){.tv_nsec = KILL_PAUSE_NS}, NULL);
    }
    closedir(dir);
    return killed;
}

/* Our own group in the hierarchy whose line in /proc/self/cgroup names `controller` ("" = version
 * 2). */
static void own_group(const char *text, const char *controller, char *ret, size_t size)
{
    snprintf(ret, size, "%s", "");
    char line[AG_CGROUP_PATH_MAX];
    for (const char *at = text; *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n') {
        int n = snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
        if (n < 0 || (size_t)n >= sizeof(line))
            continue;
        char *names = strchr(line, ':');
        char *path = names != NULL ? strchr(names + 1, ':') : NULL;
        if (path == NULL)
            continue;
        *path++ = '\0';
        bool match = controller[0] == '\0' ? names[1] == '\0' : false;
        char *rest = names + 1;
        for (char *name; !match && (name = strsep(&rest, ",")) != NULL;)
            match = controller[0] != '\0' && strcmp(name, controller) == 0;
        if (match && strcmp(path, "/") != 0 && strstr(path, "..") == NULL)
            snprintf(ret, size, "%s", path);
        if (match)
            return;
    }
}

/* Below our own group if it can be, else at the mount's top. */
static bool try_tree(struct ag_cgroups *c, const struct ag_cgroup_options *options,
                     const struct ag_cgroup_ops *ops, unsigned wanted, const char *mount,
                     const char *group)
{
    const char *groups[] = {group, ""};
    for (unsigned i = group[0] == '\0' ? 1 : 0; i < 2 && c->tree_count < AG_CGROUP_TREES_MAX; i++) {
        struct ag_cgroup_tree *tree = &c->trees[c->tree_count];
        *tree = (struct ag_cgroup_tree){.ops = ops, .has = wanted, .cpu_quota = options->cpu_quota};
        char base[AG_CGROUP_PATH_MAX];
        snprintf(base, sizeof(base), "%s%s", mount, groups[i]);
        int n = snprintf(tree->root, sizeof(tree->root), "%s/%s", base, options->name);
        if (n < 0 || (size_t)n >= sizeof(tree->root) - 64 || ops->prepare(tree, base) < 0)
            continue;
        unsigned killed = sweep(tree->root);
        if (killed > 0)
            sy_log(c->log, &ag_events, AG_EV_CGROUP_LEFT_OVER, SY_U64("processes", killed),
                   SY_STR("group", tree->root));
        c->tree_count++;
        return true;
    }
    return false;
}

struct mount {
    char device[64], point[512], type[32], options[512];
};

static bool has_option(const struct mount *mount, const char *name)
{
    char copy[sizeof(mount->options)];
    memcpy(copy, mount->options, sizeof(copy));
    char *rest = copy;
    for (char *option; (option = strsep(&rest, ",")) != NULL;) {
        if (strcmp(option, name) == 0)
            return true;
    }
    return false;
}

static const struct {
    unsigned bit;
    const char *name;
} v1_controllers[] = {
    {AG_CGROUP_MEMORY, "memory"},
    {AG_CGROUP_CPU, "cpu"},
    {AG_CGROUP_PIDS, "pids"},
};

static void probe_v1(struct ag_cgroups *c, const struct ag_cgroup_options *options,
                     const struct mount *mount, const char *own)
{
    unsigned wanted = 0;
    const char *first = NULL;
    for (size_t i = 0; i < SY_COUNT_OF(v1_controllers); i++) {
        if (has_option(mount, v1_controllers[i].name)) {
            wanted |= v1_controllers[i].bit;
            first = v1_controllers[i].name;
        }
    }
    if (wanted == 0)
        return;
    char group[AG_CGROUP_PATH_MAX];
    own_group(own, first, group, sizeof(group));
    try_tree(c, options, &ag_cgroup_v1_ops, wanted, mount->point, group);
}

static void probe_v2(struct ag_cgroups *c, const struct ag_cgroup_options *options,
                     const struct mount *mount, const char *own)
{
    char group[AG_CGROUP_PATH_MAX];
    own_group(own, "", group, sizeof(group));
    unsigned wanted = AG_CGROUP_MEMORY | AG_CGROUP_CPU | AG_CGROUP_PIDS | AG_CGROUP_KILL;
    for (unsigned i = 0; i < c->tree_count; i++)
        wanted &= ~c->trees[i].has; /* version 1 has those */
    try_tree(c, options, &ag_cgroup_v2_ops, wanted, mount->point, group);
}

static bool next_mount(const char **at, struct mount *ret)
{
    while (**at != '\0') {
        const char *line = *at;
        *at += strcspn(line, "\n");
        *at += **at == '\n';
        if (sscanf(line, "%63s %511s %31s %511s", ret->device, ret->point, ret->type,
                   ret->options) == 4)
            return true;
    }
    return false;
}

static void probe(struct ag_cgroups *c, const struct ag_cgroup_options *options)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf mounts = {0}, own = {0};
    const char *mounts_path = options->mounts ? options->mounts : "/proc/self/mounts";
    const char *own_path = options->own ? options->own : "/proc/self/cgroup";
    if (sy_file_read(mounts_path, MOUNTS_BYTES_MAX, &mounts) < 0 ||
        sy_file_read(own_path, MOUNTS_BYTES_MAX, &own) < 0)
        return;
    sy_buf_append(&mounts, "", 1);
    sy_buf_append(&own, "", 1);
    struct mount mount;
    const char *at = (const char *)mounts.data;
    while (options->mode != AG_CGROUP_V2 && next_mount(&at, &mount)) {
        if (strcmp(mount.type, "cgroup") == 0)
            probe_v1(c, options, &mount, (const char *)own.data);
    }
    at = (const char *)mounts.data;
    while (options->mode != AG_CGROUP_V1 && next_mount(&at, &mount)) {
        if (strcmp(mount.type, "cgroup2") == 0)
            probe_v2(c, options, &mount, (const char *)own.data);
    }
}

static unsigned versions(const struct ag_cgroups *c)
{
    unsigned found = 0;
    for (unsigned i = 0; i < c->tree_count; i++)
        found |= c->trees[i].ops == &ag_cgroup_v1_ops ? 1 : 2;
    return found;
}

static bool controls(const struct ag_cgroups *c, unsigned bit)
{
    for (unsigned i = 0; i < c->tree_count; i++) {
        if (c->trees[i].has & bit)
            return true;
    }
    return false;
}

struct ag_cgroups *ag_cgroups_new(const struct ag_cgroup_options *options, struct sy_log *log)
{
    static const char *const names[] = {"none", "v1", "v2", "hybrid"};
    struct ag_cgroups *c = sy_new(struct ag_cgroups);
    c->log = log;
    if (options->mode != AG_CGROUP_NONE)
        probe(c, options);
    c->backend = names[versions(c)];
    sy_log(log, &ag_events, AG_EV_CGROUPS, SY_STR("backend", c->backend),
           SY_STR("memory", controls(c, AG_CGROUP_MEMORY) ? "limited" : "not limited"),
           SY_STR("cpu", controls(c, AG_CGROUP_CPU) ? "weighted" : "not limited"),
           SY_STR("kill", controls(c, AG_CGROUP_KILL) ? "whole groups" : "process groups"));
    return c;
}

const char *ag_cgroups_backend(const struct ag_cgroups *c)
{
    return c->backend;
}

bool ag_cgroups_limit_memory(const struct ag_cgroups *c)
{
    return controls(c, AG_CGROUP_MEMORY);
}

bool ag_cgroups_can_kill(const struct ag_cgroups *c)
{
    return c->tree_count > 0;
}

/* ---- groups ---- */

static const struct ag_cgroup_tree *tree_with(const struct ag_cgroup *g, unsigned bit,
                                              char **ret_dir)
{
    for (unsigned i = 0; i < g->owner->tree_count; i++) {
        if (g->owner->trees[i].has & bit) {
            *ret_dir = g->dirs[i];
            return &g->owner->trees[i];
        }
    }
    return NULL;
}

static void destroy(struct ag_cgroup *g)
{
    for (unsigned i = 0; i < g->owner->tree_count; i++) {
        if (g->dirs[i] != NULL)
            rmdir(g->dirs[i]);
        free(g->dirs[i]);
        free(g->joins[i]);
    }
    free(g);
}

/* Whether everything of it is still there: others can remove what is empty. */
static bool is_there(const struct ag_cgroup *g)
{
    for (unsigned i = 0; i < g->owner->tree_count; i++) {
        if (access(g->joins[i], F_OK) != 0)
            return false;
    }
    return true;
}

/* Our subtree may have been removed while nothing ran in it; what it controls is known. */
static int make_directory(struct ag_cgroups *c, const struct ag_cgroup_tree *tree, const char *path)
{
    if (mkdir(path, 0755) == 0 || errno == EEXIST)
        return 0;
    if (errno != ENOENT)
        return -errno;
    struct ag_cgroup_tree again = *tree;
    char base[AG_CGROUP_PATH_MAX];
    snprintf(base, sizeof(base), "%.*s", (int)(strrchr(tree->root, '/') - tree->root), tree->root);
    int r = tree->ops->prepare(&again, base);
    if (r == 0)
        sy_log(c->log, &ag_events, AG_EV_CGROUP_AGAIN, SY_STR("group", tree->root));
    return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

static struct ag_cgroup *make(struct ag_cgroups *c)
{
    struct ag_cgroup *g = sy_new(struct ag_cgroup);
    g->owner = c;
    uint64_t number = ++c->made;
    for (unsigned i = 0; i < c->tree_count; i++) {
        char path[AG_CGROUP_PATH_MAX + 32];
        snprintf(path, sizeof(path), "%s/%llu", c->trees[i].root, (unsigned long long)number);
        int r = make_directory(c, &c->trees[i], path);
        if (r < 0) {
            if (!c->failure_told)
                sy_log(c->log, &ag_events, AG_EV_CGROUP_FAILED, SY_STR("group", path),
                       SY_STR("error", strerror(-r)));
            c->failure_told = true;
            destroy(g);
            return NULL;
        }
        g->dirs[i] = sy_strdup(path);
        size_t length = strlen(path) + sizeof("/cgroup.procs");
        g->joins[i] = sy_malloc(length);
        snprintf(g->joins[i], length, "%s/cgroup.procs", path);
    }
    g->limits = (struct ag_cgroup_limits){.pids = UINT32_MAX}; /* unlike any: to be written */
    char *dir;
    const struct ag_cgroup_tree *tree = tree_with(g, AG_CGROUP_MEMORY, &dir);
    if (tree != NULL) /* the directory may be an old one that could not be removed */
        g->oom_kills_seen = tree->ops->oom_kills(dir);
    return g;
}

static bool limits_equal(const struct ag_cgroup_limits *a, const struct ag_cgroup_limits *b)
{
    return a->memory_bytes == b->memory_bytes && a->cpu_milli == b->cpu_milli && a->pids == b->pids;
}

/* 0 when all of the limits that tree->has were set. */
static int limit(const struct ag_cgroup_tree *tree, const char *dir,
                 const struct ag_cgroup_limits *limits)
{
    int r = 0;
    if (tree->has & AG_CGROUP_MEMORY)
        r = tree->ops->limit_memory(dir, limits->memory_bytes);
    if (r == 0 && tree->has & AG_CGROUP_CPU)
        r = tree->ops->limit_cpu(dir, limits->cpu_milli, tree->cpu_quota);
    if (r == 0 && tree->has & AG_CGROUP_PIDS)
        r = limits->pids ? ag_cgroup_write_u64(dir, "pids.max", limits->pids)
                         : ag_cgroup_write(dir, "pids.max", "max");
    return r;
}

/* One with the same limits costs no writes; else the one on top is changed. */
static struct ag_cgroup *pick_free(struct ag_cgroups *c, const struct ag_cgroup_limits *limits)
{
    struct ag_cgroup **at = &c->free;
    for (unsigned looked = 0; *at != NULL && looked < 8; at = &(*at)->next, looked++) {
        if (limits_equal(&(*at)->limits, limits))
            break;
    }
    if (*at == NULL || !limits_equal(&(*at)->limits, limits))
        at = &c->free;
    struct ag_cgroup *g = *at;
    if (g != NULL) {
        *at = g->next;
        c->free_count--;
    }
    return g;
}

struct ag_cgroup *ag_cgroup_take(struct ag_cgroups *c, const struct ag_cgroup_limits *limits)
{
    if (c->tree_count == 0)
        return NULL;
    struct ag_cgroup *g = pick_free(c, limits);
    for (; g != NULL && !is_there(g); g = pick_free(c, limits))
        destroy(g);
    if (g == NULL)
        g = make(c);
    if (g == NULL)
        return NULL;
    if (!limits_equal(&g->limits, limits)) {
        for (unsigned i = 0; i < c->tree_count; i++) {
            int r = limit(&c->trees[i], g->dirs[i], limits);
            if (r < 0 && !c->failure_told) {
                sy_log(c->log, &ag_events, AG_EV_CGROUP_FAILED, SY_STR("group", g->dirs[i]),
                       SY_STR("error", strerror(-r)));
                c->failure_told = true;
            }
        }
        g->limits = *limits;
    }
    g->oom_kills_before = g->oom_kills_seen; /* since its last use nothing ran in it */
    g->killed = false;
    return g;
}

void ag_cgroup_put(struct ag_cgroups *c, struct ag_cgroup *g)
{
    if (g == NULL)
        return;
    if (!g->killed)
        ag_cgroup_kill(g);
    char *dir;
    const struct ag_cgroup_tree *tree = tree_with(g, AG_CGROUP_MEMORY, &dir);
    if (c->free_count >= FREE_MAX || (tree != NULL && !tree->ops->reset_peak(dir))) {
        destroy(g);
        return;
    }
    g->next = c->free;
    c->free = g;
    c->free_count++;
}

const char *const *ag_cgroup_joins(const struct ag_cgroup *g)
{
    return (const char *const *)g->joins;
}

void ag_cgroup_kill(struct ag_cgroup *g)
{
    char *dir;
    const struct ag_cgroup_tree *tree = tree_with(g, AG_CGROUP_KILL, &dir);
    if (tree != NULL)
        tree->ops->kill(dir);
    else
        ag_cgroup_kill_listed(g->dirs[0]);
    g->killed = true;
}

void ag_cgroup_usage(struct ag_cgroup *g, struct ag_cgroup_usage *ret)
{
    *ret = (struct ag_cgroup_usage){0};
    char *dir;
    const struct ag_cgroup_tree *tree = tree_with(g, AG_CGROUP_MEMORY, &dir);
    if (tree == NULL)
        return;
    g->oom_kills_seen = tree->ops->oom_kills(dir);
    ret->oom_kills = g->oom_kills_seen - g->oom_kills_before;
    ret->memory_peak_bytes = tree->ops->memory_peak(dir);
}

void ag_cgroups_free(struct ag_cgroups *c)
{
    if (c == NULL)
        return;
    while (c->free != NULL) {
        struct ag_cgroup *g = c->free;
        c->free = g->next;
        destroy(g);
    }
    for (unsigned i = 0; i < c->tree_count; i++) {
        sweep(c->trees[i].root);
        rmdir(c->trees[i].root);
    }
    free(c);
}
