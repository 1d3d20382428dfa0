#include "controlplane/store_dirs.h"

#include "base/file.h"
#include "base/mem.h"
#include "controlplane/witness.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLDER "HOLDER"
#define FLAT ".flat"
#define TMP ".tmp"
#define BOOT_MAX CP_BOOT_ID_SIZE /* with its end */
#define COPY_BYTES ((size_t)1 << 20)
#define TRIES 5

struct cp_dirs {
    struct cp_dirs_options options; /* path: a copy; boot: the field below */
    char boot[BOOT_MAX];
    uint32_t number;     /* of the directory that was taken */
    char path[PATH_MAX]; /* the same */
    bool empty;
};

/* A directory's names, in order. */
struct names {
    char **items;
    size_t count, size;
};

static void names_deinit(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct names){0};
}

static void closep(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static int by_version(const void *a, const void *b)
{
    return strverscmp(*(char *const *)a, *(char *const *)b);
}

static int names_read(struct names *ret, const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -errno;
    names_deinit(ret);
    const struct dirent *entry;
    while ((errno = 0, entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (ret->count == ret->size) {
            ret->size = ret->size > 0 ? ret->size * 2 : 64;
            ret->items = sy_realloc(ret->items, ret->size * sizeof(*ret->items));
        }
        ret->items[ret->count++] = sy_strdup(entry->d_name);
    }
    int r = -errno;
    closedir(dir);
    if (r < 0)
        names_deinit(ret);
    else if (ret->count > 0)
        qsort(ret->items, ret->count, sizeof(*ret->items), by_version);
    return r;
}

static void number_path(const struct cp_dirs *d, uint32_t number, const char *suffix,
                        char ret[PATH_MAX])
{
    sy_path_print(ret, "%s/e%010u%s", d->options.path, number, suffix);
}

/* "e0000000012", or with the suffix of what is not complete. */
static bool read_number(const char *name, uint32_t *ret_number, bool *ret_tmp)
{
    if (name[0] != 'e' || strspn(name + 1, "0123456789") != 10)
        return false;
    unsigned long long number = strtoull(name + 1, NULL, 10);
    *ret_number = (uint32_t)number;
    *ret_tmp = strcmp(name + 11, TMP) == 0;
    return number <= UINT32_MAX && (name[11] == '\0' || *ret_tmp);
}

/* ---- steps: all that changes the file system ---- */

static int step_from(const struct cp_dirs *d, enum cp_dirs_step what, const char *path,
                     const char *from)
{
    bool goes_on = d->options.step == NULL || d->options.step(d->options.ctx, what, path, from);
    return goes_on ? 0 : -ECANCELED;
}

static int step(const struct cp_dirs *d, enum cp_dirs_step what, const char *path)
{
    return step_from(d, what, path, NULL);
}

static int make_directory(const struct cp_dirs *d, const char *path)
{
    int r = step(d, CP_DIRS_STEP_MKDIR, path);
    return r == 0 && mkdir(path, 0700) < 0 ? -errno : r;
}

static int sync_fd(const struct cp_dirs *d, enum cp_dirs_step what, int fd, const char *path)
{
    int r = step(d, what, path);
    return r == 0 && fsync(fd) < 0 ? -errno : r;
}

static int sync_directory(const struct cp_dirs *d, const char *path)
{
    SY_CLEANUP(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : sync_fd(d, CP_DIRS_STEP_SYNC_DIR, fd, path);
}

static int sync_parent(const struct cp_dirs *d, const char *path)
{
    char parent[PATH_MAX];
    sy_path_print(parent, "%s/..", path);
    return sync_directory(d, parent);
}

static int rename_to(const struct cp_dirs *d, const char *from, const char *to)
{
    int r = step_from(d, CP_DIRS_STEP_RENAME, to, from);
    return r == 0 && rename(from, to) < 0 ? -errno : r;
}

static int remove_all(const struct cp_dirs *d, const char *path)
{
    int r = step(d, CP_DIRS_STEP_REMOVE, path);
    if (r == 0)
        sy_remove_tree(path);
    return r;
}

static int link_file(const struct cp_dirs *d, const char *from, const char *to)
{
    int r = step(d, CP_DIRS_STEP_LINK, to);
    return r == 0 && link(from, to) < 0 ? -errno : r;
}

/* As far as it goes now; its owner may be appending. */
static int copy_file(const struct cp_dirs *d, const char *from, const char *to)
{
    SY_CLEANUP(closep) int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return -errno;
    int r = step(d, CP_DIRS_STEP_COPY, to);
    if (r < 0)
        return r;
    SY_CLEANUP(closep) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return -errno;
    SY_AUTOFREE uint8_t *bytes = sy_malloc(COPY_BYTES);
    ssize_t n;
    while ((n = read(in, bytes, COPY_BYTES)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        r = sy_write_all(out, bytes, (size_t)n);
        if (r < 0)
            return r;
    }
    return sync_fd(d, CP_DIRS_STEP_SYNC_FILE, out, to);
}

/* ---- who has it open ---- */

struct holder {
    uint32_t number;
    char boot[BOOT_MAX];
    bool closed, alone; /* alone: it has no region */
};

static int write_holder(const struct cp_dirs *d, const char *state)
{
    char path[PATH_MAX], text[BOOT_MAX + 64];
    sy_path_print(path, "%s/" HOLDER, d->path);
    int len = snprintf(text, sizeof(text), "%u %s %s\n", d->number, d->boot, state);
    int r = step(d, CP_DIRS_STEP_WRITE, path);
    return r == 0 ? sy_file_write_atomic(path, text, (size_t)len) : r;
}

/* What was written under another number tells nothing of this directory. */
static bool read_holder(const char *path, uint32_t number, struct holder *ret)
{
    char file[PATH_MAX], text[256] = "", state[16] = "";
    sy_path_print(file, "%s/" HOLDER, path);
    SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = {0};
    if (sy_file_read(file, sizeof(text) - 1, &bytes) < 0)
        return false;
    memcpy(text, bytes.data, bytes.len);
    *ret = (struct holder){0};
    _Static_assert(BOOT_MAX == 64, "in the format");
    /* NOLINTNEXTLINE(cert-err34-c): what does not fit is not this number */
    if (sscanf(text, "%u %63s %15s", &ret->number, ret->boot, state) != 3)
        return false;
    ret->closed = strcmp(state, "closed") == 0;
    ret->alone = strcmp(state, "alone") == 0;
    return ret->number == number && (ret->closed || ret->alone || strcmp(state, "open") == 0);
}

/* Never of a store that this process has open: closing a file drops the process's own lock on it.
 */
static bool is_locked(const struct cp_dirs *d, const char *path)
{
    char file[PATH_MAX];
    sy_path_print(file, "%s/%s", path, d->options.lock);
    SY_CLEANUP(closep) int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno != ENOENT;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

static int refuse_held(const char *path, struct sy_error_text *error)
{
    sy_error_text_set(error, "the database %s is in use by another process", path);
    return -EBUSY;
}

/* ---- a copy ---- */

/* What of a directory is taken along, by kind. */
struct content {
    struct names names;
    size_t heads;
    bool data; /* tables or logs */
};

static void content_deinit(struct content *content)
{
    names_deinit(&content->names);
}

static int read_content(const struct cp_dirs *d, const char *path, struct content *ret)
{
    int r = names_read(&ret->names, path);
    ret->heads = 0;
    ret->data = false;
    for (size_t i = 0; r == 0 && i < ret->names.count; i++) {
        enum cp_dirs_kind kind = d->options.kind(ret->names.items[i]);
        ret->heads += kind == CP_DIRS_HEAD;
        ret->data |= kind == CP_DIRS_TABLE || kind == CP_DIRS_LOG;
    }
    return r;
}

static bool same_file(const char *a_path, const char *b_path)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf a = {0}, b = {0};
    size_t max = (size_t)1 << 30;
    return sy_file_read(a_path, max, &a) == 0 && sy_file_read(b_path, max, &b) == 0 &&
           a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* All of one kind. A file that is gone is one that the heads do not name any more. */
static int take_kind(const struct cp_dirs *d, const struct content *content, enum cp_dirs_kind kind,
                     const char *from_dir, const char *to_dir)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < content->names.count; i++) {
        const char *name = content->names.items[i];
        char from[PATH_MAX], to[PATH_MAX];
        if (d->options.kind(name) != kind)
            continue;
        sy_path_print(from, "%s/%s", from_dir, name);
        sy_path_print(to, "%s/%s", to_dir, name);
        r = kind == CP_DIRS_TABLE ? link_file(d, from, to) : copy_file(d, from, to);
        r = r == -ENOENT ? 0 : r;
    }
    return r;
}

/* -EAGAIN: the heads changed meanwhile. */
static int take_files(const struct cp_dirs *d, const char *from, const char *to)
{
    SY_CLEANUP(content_deinit) struct content before = {0}, data = {0}, after = {0};
    int r = read_content(d, from, &before);
    if (r == 0)
        r = take_kind(d, &before, CP_DIRS_HEAD, from, to);
    if (r == 0)
        r = read_content(d, from, &data);
    if (r == 0)
        r = take_kind(d, &data, CP_DIRS_TABLE, from, to);
    if (r == 0)
        r = take_kind(d, &data, CP_DIRS_LOG, from, to);
    if (r == 0)
        r = read_content(d, from, &after);
    if (r == 0 && after.heads != before.heads)
        r = -EAGAIN;
    for (size_t i = 0; r == 0 && i < after.names.count; i++) {
        char a[PATH_MAX], b[PATH_MAX];
        sy_path_print(a, "%s/%s", from, after.names.items[i]);
        sy_path_print(b, "%s/%s", to, after.names.items[i]);
        if (d->options.kind(after.names.items[i]) == CP_DIRS_HEAD && !same_file(a, b))
            r = -EAGAIN;
    }
    return r;
}

static int copy_store(const struct cp_dirs *d, const char *from, struct sy_error_text *error)
{
    char tmp[PATH_MAX];
    number_path(d, d->number, TMP, tmp);
    int r = -EAGAIN;
    for (int i = 0; i < TRIES && r == -EAGAIN; i++) {
        r = remove_all(d, tmp); /* of who died here, or of the last try */
        if (r == 0)
            r = make_directory(d, tmp);
        if (r == 0)
            r = take_files(d, from, tmp);
    }
    if (r == 0)
        r = sync_directory(d, tmp);
    if (r == 0)
        r = rename_to(d, tmp, d->path);
    if (r == -EAGAIN)
        sy_error_text_set(error, "the database %s is still being written to by its former owner",
                          from);
    if (r == -EPERM || r == -EOPNOTSUPP || r == -EXDEV || r == -EMLINK) {
        sy_error_text_set(error,
                          "the database %s is in use by another process, and cannot be taken over "
                          "without hard links, which its volume refuses (%s)",
                          from, strerror(-r));
        r = -EOPNOTSUPP;
    }
    return r;
}

/* ---- taking ---- */

/* The greatest number; false: there is none. */
static int find_newest(const struct cp_dirs *d, bool *ret_found, uint32_t *ret_number,
                       bool *ret_flat)
{
    SY_CLEANUP(names_deinit) struct names names = {0};
    int r = names_read(&names, d->options.path);
    if (r < 0)
        return r;
    *ret_found = *ret_flat = false;
    *ret_number = 0;
    for (size_t i = 0; i < names.count; i++) {
        uint32_t number;
        bool tmp;
        if (d->options.kind(names.items[i]) == CP_DIRS_HEAD)
            *ret_flat = true;
        if (!read_number(names.items[i], &number, &tmp) || tmp)
            continue;
        *ret_number = !*ret_found || number > *ret_number ? number : *ret_number;
        *ret_found = true;
    }
    return 0;
}

/* PARTITION -> PARTITION.flat -> PARTITION/e0000000000: who is stopped between goes on here. */
static int adopt_flat(const struct cp_dirs *d)
{
    char flat[PATH_MAX], zero[PATH_MAX];
    sy_path_print(flat, "%s" FLAT, d->options.path);
    number_path(d, 0, "", zero);
    if (access(flat, F_OK) < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = make_directory(d, d->options.path);
    r = r == -EEXIST ? 0 : r;
    if (r == 0)
        r = sync_parent(d, d->options.path);
    if (r == 0)
        r = rename_to(d, flat, zero);
    if (r == 0)
        r = sync_directory(d, d->options.path);
    return r == 0 ? sync_parent(d, d->options.path) : r;
}

/* The partition's own directory is there, in today's layout. */
static int prepare(const struct cp_dirs *d, bool *ret_found, uint32_t *ret_newest,
                   struct sy_error_text *error)
{
    bool flat = false;
    int r = adopt_flat(d);
    if (r == 0)
        r = find_newest(d, ret_found, ret_newest, &flat);
    if (r == -ENOENT && d->options.epoch > 1) {
        sy_error_text_set(error,
                          "the directory %s is missing: is its volume mounted? (an empty directory "
                          "of that name begins the partition anew)",
                          d->options.path);
        return r;
    }
    if (r == -ENOENT) {
        r = step(d, CP_DIRS_STEP_MKDIR, d->options.path);
        if (r == 0)
            r = sy_mkdir_p(d->options.path, 0700);
        *ret_found = false;
        return r == 0 ? sync_parent(d, d->options.path) : r;
    }
    if (r < 0 || *ret_found || !flat)
        return r;
    if (is_locked(d, d->options.path))
        return refuse_held(d->options.path, error);
    char aside[PATH_MAX];
    sy_path_print(aside, "%s" FLAT, d->options.path);
    r = rename_to(d, d->options.path, aside);
    if (r == 0)
        r = adopt_flat(d);
    *ret_found = r == 0;
    *ret_newest = 0;
    return r;
}

/* Makes the directory of our epoch out of that of an earlier one. */
static int succeed(const struct cp_dirs *d, uint32_t newest, struct sy_error_text *error)
{
    char from[PATH_MAX];
    struct holder holder;
    number_path(d, newest, "", from);
    bool known = read_holder(from, newest, &holder);
    bool alone = known && holder.closed;
    if (!alone) {
        bool locked = is_locked(d, from);
        if (locked && (newest == 0 || (known && holder.alone)))
            return refuse_held(from, error);
        alone = known && !locked && d->boot[0] != '-' && strcmp(holder.boot, d->boot) == 0;
    }
    return alone ? rename_to(d, from, d->path) : copy_store(d, from, error);
}

static int take(struct cp_dirs *d, uint32_t *ret_epoch, struct sy_error_text *error)
{
    bool found = false;
    uint32_t newest = 0;
    int r = prepare(d, &found, &newest, error);
    if (r < 0)
        return r;
    if (found && d->options.epoch != 0 && newest > d->options.epoch) {
        *ret_epoch = newest;
        sy_error_text_set(error, "the database %s was taken under epoch %u, ours is %u",
                          d->options.path, newest, d->options.epoch);
        return CP_DIRS_E_NEWER;
    }
    bool ours = found && (d->options.epoch == 0 || newest == d->options.epoch);
    d->number = ours ? newest : d->options.epoch;
    number_path(d, d->number, "", d->path);
    if (!found)
        r = make_directory(d, d->path);
    else if (!ours)
        r = succeed(d, newest, error);
    if (r == 0 && !ours)
        r = sync_directory(d, d->options.path);
    if (r == 0)
        r = write_holder(d, d->options.epoch > 0 ? "open" : "alone"); /* durable, before all else */
    SY_CLEANUP(content_deinit) struct content content = {0};
    if (r == 0)
        r = read_content(d, d->path, &content);
    d->empty = !content.data;
    return r;
}

static void read_boot(struct cp_dirs *d, const char *given)
{
    cp_boot_id(d->boot);
    if (given != NULL)
        snprintf(d->boot, sizeof(d->boot), "%s", given);
    if (d->boot[0] == '\0')
        memcpy(d->boot, "-", 2); /* not known: equal to none */
}

int cp_dirs_take(struct cp_dirs **ret_dirs, const struct cp_dirs_options *options,
                 uint32_t *ret_epoch, struct sy_error_text *error)
{
    struct cp_dirs *d = sy_new(struct cp_dirs);
    struct sy_error_text why = {0};
    d->options = *options;
    d->options.path = sy_strdup(options->path);
    read_boot(d, options->boot);
    int r = take(d, ret_epoch, &why);
    if (r == 0) {
        *ret_dirs = d;
        return 0;
    }
    if (why.text[0] == '\0')
        sy_error_text_set(&why, "the directory %s cannot be taken: %s", options->path,
                          strerror(-r));
    if (error != NULL)
        *error = why;
    cp_dirs_free(d);
    return r < 0 ? sy_trace(r) : r;
}

/* TO.tmp/e0000000012, then a rename: what is there by its name is whole. */
static int fork_into(const struct cp_dirs *d, const char *from, uint32_t number, const char *to)
{
    char tmp[PATH_MAX], inner[PATH_MAX], file[PATH_MAX], own[PATH_MAX];
    sy_path_print(tmp, "%s" TMP, to);
    sy_path_print(inner, "%s/e%010u", tmp, number);
    sy_path_print(file, "%s/" HOLDER, inner);
    sy_path_print(own, "%s/" HOLDER, from);
    int r = remove_all(d, tmp);
    if (r == 0)
        r = remove_all(d, to);
    if (r == 0)
        r = make_directory(d, tmp);
    if (r == 0)
        r = make_directory(d, inner);
    if (r == 0)
        r = take_files(d, from, inner);
    if (r == 0)
        r = copy_file(d, own, file);
    if (r == 0)
        r = sync_directory(d, inner);
    if (r == 0)
        r = sync_directory(d, tmp);
    if (r == 0)
        r = rename_to(d, tmp, to);
    return r == 0 ? sync_parent(d, to) : r;
}

int cp_dirs_fork(const struct cp_dirs_options *options, const char *to, struct sy_error_text *error)
{
    struct cp_dirs d = {.options = *options};
    struct holder holder;
    char from[PATH_MAX];
    bool found = false, flat = false;
    uint32_t newest = 0;
    int r = find_newest(&d, &found, &newest, &flat);
    number_path(&d, newest, "", from);
    if (r == 0 && (!found || flat))
        r = -ENOENT;
    if (r == 0 && (!read_holder(from, newest, &holder) || !holder.closed))
        r = -EBUSY;
    if (r == 0)
        r = fork_into(&d, from, newest, to);
    if (r < 0)
        sy_error_text_set(error, "the database %s cannot be forked to %s: %s%s", from, to,
                          strerror(-r),
                          r == -EBUSY ? " (it was not closed well)"
                          : r == -EPERM || r == -EOPNOTSUPP || r == -EXDEV || r == -EMLINK
                              ? " (its volume refuses hard links)"
                              : "");
    return sy_trace(r);
}

const char *cp_dirs_path(const struct cp_dirs *d)
{
    return d->path;
}

bool cp_dirs_empty(const struct cp_dirs *d)
{
    return d->empty;
}

void cp_dirs_opened(struct cp_dirs *d)
{
    SY_CLEANUP(names_deinit) struct names names = {0};
    int r = names_read(&names, d->options.path);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        uint32_t number;
        bool tmp;
        char path[PATH_MAX];
        if (!read_number(names.items[i], &number, &tmp) || number > d->number ||
            (number == d->number && !tmp))
            continue;
        number_path(d, number, tmp ? TMP : "", path);
        r = remove_all(d, path);
    }
}

void cp_dirs_closed(struct cp_dirs *d)
{
    int r = write_holder(d, "closed");
    (void)r; /* then the next owner copies it */
}

void cp_dirs_free(struct cp_dirs *d)
{
    if (d == NULL)
        return;
    free((void *)(uintptr_t)d->options.path);
    free(d);
}
