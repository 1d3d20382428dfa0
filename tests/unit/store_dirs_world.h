/*
 * The world of test_store_dirs.c: a store of plain files that knows what it has acknowledged, and
 * partitions' directories whose power fails.
 *
 * The store: HEAD names its log and its tables, "log table table ..."; each record is a number, one
 * more than the one before. What is read must be 1..n without a gap, and n at least what was
 * acknowledged.
 */
#pragma once

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/store_dirs.h"
#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TABLES_MAX = 8, PENDING_MAX = 256 };

static enum cp_dirs_kind kind_of(const char *name)
{
    if (strcmp(name, "HEAD") == 0)
        return CP_DIRS_HEAD;
    if (name[0] == 't')
        return CP_DIRS_TABLE;
    if (name[0] == 'l')
        return CP_DIRS_LOG;
    return strcmp(name, "LOCK") == 0 ? CP_DIRS_OWN : CP_DIRS_FOREIGN;
}

/* ---- files ---- */

static void say(const char *path, const char *text, bool append)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(sy_write_all(fd, text, strlen(text)), 0);
    close(fd);
}

static char *content(const char *path)
{
    struct sy_buf bytes = {0};
    if (sy_file_read(path, 1 << 20, &bytes) < 0)
        return NULL;
    sy_buf_append(&bytes, "", 1);
    return (char *)bytes.data;
}

static bool there(const char *format, const char *path)
{
    char file[PATH_MAX];
    snprintf(file, sizeof(file), "%s/%s", path, format);
    return access(file, F_OK) == 0;
}

/* ---- the store; it is held by its directory's path, and by its log's file ---- */

struct store {
    char path[PATH_MAX];
    unsigned next_file, records, acknowledged;
    unsigned log, tables[TABLES_MAX], table_count;
    int fd; /* of the log; -1: not open */
};

static void write_head(struct store *s)
{
    char text[256], path[PATH_MAX + 16], tmp[PATH_MAX + 16];
    int len = snprintf(text, sizeof(text), "l%06u", s->log);
    for (unsigned i = 0; i < s->table_count; i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, " t%06u", s->tables[i]);
    snprintf(path, sizeof(path), "%s/HEAD", s->path);
    snprintf(tmp, sizeof(tmp), "%s/HEAD.new", s->path);
    say(tmp, text, false);
    (void)rename(tmp, path);
}

static void begin_log(struct store *s)
{
    char path[PATH_MAX + 16];
    s->log = s->next_file++;
    snprintf(path, sizeof(path), "%s/l%06u", s->path, s->log);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ck_assert_int_ge(s->fd, 0);
}

static void append(struct store *s)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%u\n", ++s->records);
    ck_assert_int_eq(sy_write_all(s->fd, text, (size_t)len), 0);
}

static void remove_file(const struct store *s, char kind, unsigned number)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/%c%06u", s->path, kind, number);
    unlink(path);
}

/* The log, or all tables, become a table; not before it is named are the old ones removed. */
static void fold(struct store *s, bool tables)
{
    char to[PATH_MAX + 16], from[PATH_MAX + 16];
    if (tables ? s->table_count < 2 : s->table_count == TABLES_MAX)
        return;
    unsigned table = s->next_file++, old_log = s->log;
    snprintf(to, sizeof(to), "%s/t%06u", s->path, table);
    say(to, "", false);
    for (unsigned i = 0; i < (tables ? s->table_count : 1); i++) {
        snprintf(from, sizeof(from), "%s/%c%06u", s->path, tables ? 't' : 'l',
                 tables ? s->tables[i] : s->log);
        SY_AUTOFREE char *text = content(from);
        ck_assert_ptr_nonnull(text);
        say(to, text, true);
    }
    if (tables) {
        unsigned old[TABLES_MAX], count = s->table_count;
        memcpy(old, s->tables, sizeof(old));
        s->tables[0] = table;
        s->table_count = 1;
        write_head(s);
        for (unsigned i = 0; i < count; i++)
            remove_file(s, 't', old[i]);
    } else {
        s->tables[s->table_count++] = table;
        begin_log(s);
        write_head(s);
        remove_file(s, 'l', old_log);
    }
}

static void write_some(struct store *s, struct sy_rng *rng)
{
    switch (sy_rng_below(rng, 6)) {
    case 0:
        fold(s, false);
        break;
    case 1:
        fold(s, true);
        break;
    default:
        append(s);
        break;
    }
}

static unsigned add_records(const char *path, const char *name, unsigned records)
{
    char file[PATH_MAX + 64];
    snprintf(file, sizeof(file), "%s/%s", path, name);
    SY_AUTOFREE char *text = content(file);
    ck_assert_msg(text != NULL, "%s is missing", file);
    for (char *at = text; *at != '\0';) {
        unsigned record = (unsigned)strtoul(at, &at, 10);
        if (*at == '\n')
            at++;
        ck_assert_msg(record == records + 1, "%s: %u after %u", file, record, records);
        records++;
    }
    return records;
}

/* Opens what is in the directory, as a process that has just begun. */
static void open_store(struct store *s, const char *path, unsigned acknowledged)
{
    char file[PATH_MAX + 16];
    *s = (struct store){.next_file = 1, .fd = -1, .acknowledged = acknowledged};
    snprintf(s->path, sizeof(s->path), "%s", path);
    snprintf(file, sizeof(file), "%s/HEAD", path);
    SY_AUTOFREE char *head = content(file);
    if (head == NULL) {
        ck_assert_uint_eq(acknowledged, 0);
        begin_log(s);
        write_head(s);
        return;
    }
    char *rest = NULL, *log = strtok_r(head, " ", &rest), *table;
    while ((table = strtok_r(NULL, " ", &rest)) != NULL) {
        s->tables[s->table_count++] = (unsigned)strtoul(table + 1, NULL, 10);
        s->records = add_records(path, table, s->records);
    }
    s->records = add_records(path, log, s->records);
    ck_assert_msg(s->records >= acknowledged, "%u acknowledged, %u there", acknowledged,
                  s->records);
    s->acknowledged = s->records;
    s->next_file = (unsigned)strtoul(log + 1, NULL, 10);
    for (unsigned i = 0; i < s->table_count; i++)
        s->next_file = s->tables[i] > s->next_file ? s->tables[i] : s->next_file;
    s->next_file += 50; /* after what its former owner had not finished */
    s->log = (unsigned)strtoul(log + 1, NULL, 10);
    if (s->table_count == TABLES_MAX)
        fold(s, true);
    fold(s, false);
    ck_assert_int_ge(s->fd, 0);
}

static void close_store(struct store *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

/* ---- a partition ---- */

/* What a loss of power undoes. */
struct pending {
    enum cp_dirs_step step;
    char path[PATH_MAX], from[PATH_MAX];
    bool named; /* durably; its content is not */
};

struct world {
    uint64_t seed;
    char base[64], path[80];
    struct sy_rng rng;
    int steps_left; /* -1: no end */
    struct pending pending[PENDING_MAX];
    size_t pending_count;
    struct store *former; /* goes on writing while it is copied */
    unsigned writes_left;
    unsigned aside;
    const char *boot;
};

static void open_world(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed, .steps_left = -1, .boot = "kernel-1"};
    sy_rng_init(&w->rng, seed);
    bool memory = access("/dev/shm", W_OK) == 0; /* power is lost in here only: syncs are idle */
    snprintf(w->base, sizeof(w->base), "%s/switchyard-dirs-XXXXXX", memory ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(w->base));
    snprintf(w->path, sizeof(w->path), "%s/p0", w->base);
}

static void close_world(struct world *w)
{
    sy_remove_tree(w->base);
}

static bool in_directory(const char *path, const char *directory)
{
    char parent[PATH_MAX], other[PATH_MAX], joined[PATH_MAX + 4];
    snprintf(joined, sizeof(joined), "%s/..", path);
    if (realpath(joined, parent) == NULL) { /* a file */
        snprintf(parent, sizeof(parent), "%s", path);
        *strrchr(parent, '/') = '\0';
    }
    return realpath(directory, other) != NULL && strcmp(parent, other) == 0;
}

static void forget_synced(struct world *w, enum cp_dirs_step step, const char *path)
{
    size_t kept = 0;
    for (size_t i = 0; i < w->pending_count; i++) {
        struct pending *p = &w->pending[i];
        bool done = step == CP_DIRS_STEP_SYNC_DIR && in_directory(p->path, path);
        if (done && p->step == CP_DIRS_STEP_COPY) {
            p->named = true;
            done = false;
        }
        if (step == CP_DIRS_STEP_SYNC_FILE && p->step == CP_DIRS_STEP_COPY &&
            strcmp(p->path, path) == 0)
            p->step = CP_DIRS_STEP_LINK; /* its content is there if its name is */
        if (!done && !(p->named && p->step == CP_DIRS_STEP_LINK))
            w->pending[kept++] = *p;
    }
    w->pending_count = kept;
}

/* Keeps what is removed, so that a loss of power can bring some of it back. */
static void keep_aside(struct world *w, const char *path, struct pending *p)
{
    char aside[PATH_MAX], from[PATH_MAX + 300], to[PATH_MAX + 300];
    DIR *dir = opendir(path);
    if (dir == NULL)
        return;
    snprintf(aside, sizeof(aside), "%s/aside-%u", w->base, w->aside++);
    ck_assert_int_eq(mkdir(aside, 0700), 0);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        snprintf(from, sizeof(from), "%s/%s", path, entry->d_name);
        snprintf(to, sizeof(to), "%s/%s", aside, entry->d_name);
        if (entry->d_name[0] != '.' && sy_rng_chance(&w->rng, 1, 2))
            ck_assert_int_eq(link(from, to), 0);
    }
    closedir(dir);
    snprintf(p->from, sizeof(p->from), "%s", aside);
}

static bool on_step(void *ctx, enum cp_dirs_step step, const char *path, const char *from)
{
    struct world *w = ctx;
    if (w->steps_left == 0)
        return false;
    w->steps_left -= w->steps_left > 0;
    if (w->former != NULL && w->writes_left > 0 && sy_rng_chance(&w->rng, 1, 2)) {
        w->writes_left--;
        write_some(w->former, &w->rng);
    }
    if (step == CP_DIRS_STEP_SYNC_DIR || step == CP_DIRS_STEP_SYNC_FILE) {
        forget_synced(w, step, path);
    } else if (step != CP_DIRS_STEP_WRITE) {
        SY_ASSERT(w->pending_count < PENDING_MAX);
        struct pending *p = &w->pending[w->pending_count++];
        *p = (struct pending){.step = step};
        snprintf(p->path, sizeof(p->path), "%s", path);
        if (from != NULL)
            snprintf(p->from, sizeof(p->from), "%s", from);
        if (step == CP_DIRS_STEP_REMOVE)
            keep_aside(w, path, p);
    }
    return true;
}

/* Where it is by now: its directory may have been renamed since. */
static void follow(char path[PATH_MAX])
{
    char *tmp = strstr(path, ".tmp/");
    if (tmp != NULL && access(path, F_OK) < 0)
        memmove(tmp, tmp + 4, strlen(tmp + 4) + 1);
}

/* What no sync has made durable may be there or not: in each directory some first part of it. */
static void lose_power(struct world *w)
{
    bool lost[PENDING_MAX] = {0}, seen[PENDING_MAX] = {0};
    for (size_t i = 0; i < w->pending_count; i++) {
        const char *path = w->pending[i].path;
        size_t len = (size_t)(strrchr(path, '/') - path), count = 0;
        bool first = !seen[i];
        size_t same[PENDING_MAX];
        for (size_t k = i; first && k < w->pending_count; k++) {
            const char *other = w->pending[k].path;
            if ((size_t)(strrchr(other, '/') - other) == len && memcmp(path, other, len) == 0)
                same[count++] = k;
        }
        size_t keep = first ? sy_rng_below(&w->rng, count + 1) : 0;
        for (size_t k = 0; k < count; k++) {
            seen[same[k]] = true;
            lost[same[k]] = k >= keep;
        }
    }
    for (size_t i = w->pending_count; i-- > 0;) {
        struct pending *p = &w->pending[i];
        struct stat st;
        follow(p->path);
        if (!lost[i] || p->named) {
            if (p->step == CP_DIRS_STEP_COPY && stat(p->path, &st) == 0)
                ck_assert_int_eq(
                    truncate(p->path, (off_t)sy_rng_below(&w->rng, (uint64_t)st.st_size + 1)), 0);
            continue;
        }
        if (p->step == CP_DIRS_STEP_RENAME && access(p->path, F_OK) == 0)
            ck_assert_int_eq(rename(p->path, p->from), 0);
        else if (p->step == CP_DIRS_STEP_REMOVE && p->from[0] != '\0')
            (void)rename(p->from, p->path);
        else if (p->step != CP_DIRS_STEP_RENAME && p->step != CP_DIRS_STEP_REMOVE)
            sy_remove_tree(p->path);
    }
    w->pending_count = 0;
}

static int take_text(struct world *w, uint32_t epoch, struct cp_dirs **ret, uint32_t *ret_epoch,
                     struct sy_error_text *error)
{
    struct cp_dirs_options options = {.path = w->path,
                                      .epoch = epoch,
                                      .kind = kind_of,
                                      .lock = "LOCK",
                                      .boot = w->boot,
                                      .step = on_step,
                                      .ctx = w};
    w->pending_count = 0;
    return cp_dirs_take(ret, &options, ret_epoch, error);
}

static struct cp_dirs *take(struct world *w, uint32_t epoch)
{
    struct cp_dirs *dirs = NULL;
    uint32_t newer = 0;
    struct sy_error_text error = {0};
    int r = take_text(w, epoch, &dirs, &newer, &error);
    ck_assert_msg(r == 0, "seed %llu: epoch %u: %d %s", (unsigned long long)w->seed, epoch, r,
                  error.text);
    return dirs;
}

static int refused(struct world *w, uint32_t epoch, const char *words)
{
    struct cp_dirs *dirs = NULL;
    uint32_t newer = 0;
    struct sy_error_text error = {0};
    int r = take_text(w, epoch, &dirs, &newer, &error);
    ck_assert_int_ne(r, 0);
    ck_assert_ptr_null(dirs);
    ck_assert_msg(strstr(error.text, words) != NULL, "%s", error.text);
    return r == CP_DIRS_E_NEWER ? (int)newer : r;
}

static struct store fill(struct world *w, const struct cp_dirs *dirs, unsigned writes)
{
    struct store s;
    open_store(&s, cp_dirs_path(dirs), 0);
    for (unsigned i = 0; i < writes; i++)
        write_some(&s, &w->rng);
    s.acknowledged = s.records;
    return s;
}

static ino_t inode(const char *directory, const char *name)
{
    char file[PATH_MAX];
    struct stat st;
    snprintf(file, sizeof(file), "%s/%s", directory, name);
    ck_assert_int_eq(stat(file, &st), 0);
    return st.st_ino;
}

static pid_t start_locker(const char *directory)
{
    char file[PATH_MAX];
    int fds[2];
    char byte;
    snprintf(file, sizeof(file), "%s/LOCK", directory);
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(fd, F_SETLK, &lock) < 0 || write(fds[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    ck_assert_int_eq(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

static void end_locker(pid_t pid)
{
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
