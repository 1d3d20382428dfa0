#include "tools/src/bench_usage.h"

#include "base/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names ---- */

static int add(struct bench_usage *usage, const char *name, size_t len, pid_t pid,
               struct sy_error_text *error)
{
    struct bench_process *process = &usage->processes[usage->count];
    if (usage->count == BENCH_PROCESSES_MAX || len == 0 || len >= sizeof(process->name)) {
        sy_error_text_set(error, "--pids: at most %d names of at most %zu characters",
                          BENCH_PROCESSES_MAX, sizeof(process->name) - 1);
        return -EINVAL;
    }
    memcpy(process->name, name, len);
    process->name[len] = '\0';
    process->pid = pid;
    usage->count++;
    return 0;
}

static pid_t parse_pid(const char *text, size_t len)
{
    char digits[16], *end = NULL;
    if (len == 4 && memcmp(text, "self", 4) == 0)
        return getpid();
    if (len == 0 || len >= sizeof(digits))
        return -1;
    memcpy(digits, text, len);
    digits[len] = '\0';
    long pid = strtol(digits, &end, 10);
    return *end == '\0' && pid > 0 && pid < INT32_MAX ? (pid_t)pid : -1;
}

int bench_usage_parse(struct bench_usage *usage, const char *text, struct sy_error_text *error)
{
    *usage = (struct bench_usage){.count = 0};
    bool self = false;
    while (text && *text) {
        size_t len = strcspn(text, ",");
        const char *equals = memchr(text, '=', len);
        size_t name_len = equals ? (size_t)(equals - text) : 0;
        pid_t pid = equals ? parse_pid(equals + 1, len - name_len - 1) : -1;
        if (pid < 0) {
            sy_error_text_set(error, "--pids '%.*s': expected NAME=PID or NAME=self", (int)len,
                              text);
            return -EINVAL;
        }
        int r = add(usage, text, name_len, pid, error);
        if (r < 0)
            return r;
        self |= pid == getpid();
        text += len + (text[len] == ',');
    }
    return self ? 0 : add(usage, "client", 6, getpid(), error);
}

/* ---- /proc ---- */

struct proc {
    pid_t pid, parent;
    uint64_t ticks;
};

struct procs {
    struct proc *items;
    size_t count, cap;
};

static size_t read_small(const char *path, char *buf, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t n = fread(buf, 1, size - 1, file);
    fclose(file);
    buf[n] = '\0';
    return n;
}

/* Fields 4 (parent) and 14 to 17 (user, system, and both of reaped children) of proc(5) stat. */
static bool read_stat(pid_t pid, struct proc *proc)
{
    char path[64], buf[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (read_small(path, buf, sizeof(buf)) == 0)
        return false;
    const char *s = strrchr(buf, ')'); /* the name before it may hold anything */
    if (!s)
        return false;
    s += 2; /* to field 3 */
    *proc = (struct proc){.pid = pid};
    for (int field = 3; field <= 17 && *s; field++) {
        if (field == 4)
            proc->parent = (pid_t)strtol(s, NULL, 10);
        else if (field >= 14)
            proc->ticks += strtoull(s, NULL, 10);
        s += strcspn(s, " ");
        s += *s == ' ';
    }
    return true;
}

static void read_all(struct procs *procs)
{
    DIR *dir = opendir("/proc");
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct proc proc;
        if (!isdigit((unsigned char)entry->d_name[0]) ||
            !read_stat((pid_t)strtol(entry->d_name, NULL, 10), &proc))
            continue;
        if (procs->count == procs->cap) {
            procs->cap = procs->cap ? procs->cap * 2 : 256;
            procs->items = sy_realloc(procs->items, procs->cap * sizeof(*procs->items));
        }
        procs->items[procs->count++] = proc;
    }
    closedir(dir);
}

static const struct proc *find(const struct procs *procs, pid_t pid)
{
    for (size_t i = 0; i < procs->count; i++) {
        if (procs->items[i].pid == pid)
            return &procs->items[i];
    }
    return NULL;
}

/* The nearest named process among `proc` and its ancestors; -1 = none. */
static int owner_of(const struct bench_usage *usage, const struct procs *procs,
                    const struct proc *proc)
{
    for (int depth = 0; proc && depth < 64; depth++) {
        for (size_t i = 0; i < usage->count; i++) {
            if (usage->processes[i].pid == proc->pid)
                return (int)i;
        }
        proc = find(procs, proc->parent);
    }
    return -1;
}

/* The number after `key` at the start of a line. */
static bool number_after(const char *text, const char *key, uint64_t *ret)
{
    size_t len = strlen(key);
    for (const char *line = text; line && *line;) {
        if (strncmp(line, key, len) == 0) {
            *ret = strtoull(line + len, NULL, 10);
            return true;
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return false;
}

static void add_files(struct bench_usage *usage, pid_t pid, struct bench_sample *sample)
{
    char path[64], buf[4096];
    uint64_t value = 0;
    snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
    if (read_small(path, buf, sizeof(buf)) > 0 && number_after(buf, "write_bytes:", &value))
        sample->written_bytes += value;
    else
        usage->no_io = true;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (read_small(path, buf, sizeof(buf)) == 0)
        return;
    if (number_after(buf, "VmHWM:", &value))
        sample->rss_peak_bytes += value * 1024;
    if (number_after(buf, "VmRSS:", &value))
        sample->rss_bytes += value * 1024;
}

static void sample_all(struct bench_usage *usage, bool end)
{
    struct procs procs = {NULL, 0, 0};
    uint64_t hertz = (uint64_t)sysconf(_SC_CLK_TCK);
    read_all(&procs);
    for (size_t i = 0; i < usage->count; i++)
        *(end ? &usage->processes[i].end : &usage->processes[i].begin) = (struct bench_sample){0};
    for (size_t i = 0; i < procs.count; i++) {
        int owner = owner_of(usage, &procs, &procs.items[i]);
        if (owner < 0)
            continue;
        struct bench_process *process = &usage->processes[owner];
        struct bench_sample *sample = end ? &process->end : &process->begin;
        sample->cpu_us += procs.items[i].ticks * 1000000 / hertz;
        add_files(usage, procs.items[i].pid, sample);
    }
    free(procs.items);
}

void bench_usage_begin(struct bench_usage *usage)
{
    sample_all(usage, false);
}

void bench_usage_end(struct bench_usage *usage)
{
    sample_all(usage, true);
}

static uint64_t difference(uint64_t end, uint64_t begin)
{
    return end > begin ? end - begin : 0;
}

uint64_t bench_usage_cpu_us(const struct bench_usage *usage, size_t process)
{
    return difference(usage->processes[process].end.cpu_us, usage->processes[process].begin.cpu_us);
}

uint64_t bench_usage_written(const struct bench_usage *usage)
{
    uint64_t total = 0;
    for (size_t i = 0; i < usage->count; i++)
        total += difference(usage->processes[i].end.written_bytes,
                            usage->processes[i].begin.written_bytes);
    return total;
}

uint64_t bench_usage_rss_peak(const struct bench_usage *usage)
{
    uint64_t total = 0;
    for (size_t i = 0; i < usage->count; i++)
        total += usage->processes[i].end.rss_peak_bytes;
    return total;
}

uint64_t bench_usage_rss_growth(const struct bench_usage *usage, size_t process)
{
    const struct bench_process *p = &usage->processes[process];
    return difference(p->end.rss_bytes, p->begin.rss_bytes);
}

size_t bench_usage_find(const struct bench_usage *usage, const char *name)
{
    for (size_t i = 0; i < usage->count; i++) {
        if (strcmp(usage->processes[i].name, name) == 0)
            return i;
    }
    return SIZE_MAX;
}

/* ---- folders: opened by hand, since nftw() has no argument to count in ---- */

static uint64_t folder_bytes(const char *path, unsigned depth)
{
    DIR *dir = depth < 16 ? opendir(path) : NULL;
    if (!dir)
        return 0;
    uint64_t total = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char child[4096];
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int n = snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof(child) || lstat(child, &st) < 0)
            continue;
        total += (uint64_t)st.st_blocks * 512;
        if (S_ISDIR(st.st_mode))
            total += folder_bytes(child, depth + 1);
    }
    closedir(dir);
    return total;
}

uint64_t bench_folder_bytes(const char *path)
{
    return folder_bytes(path, 0);
}
