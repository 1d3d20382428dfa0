#include "controlplane/copies.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY "COPY"
#define MARK "copies"
#define NEW ".new"
#define IMAGE ".image"
#define FIRST "e0000000000" /* store_dirs.h: of no epoch yet */

struct cp_copy_dir {
    struct cp_copies port;
    char *root;
    char *const *paths;
    size_t count;
    char **images;
    int lock; /* a file of this process alone */
};

static int fail(struct sy_error_text *error, const char *path, int r)
{
    sy_error_text_set(error, "%s: %s", path,
                      r == -EBADMSG ? "damaged; expected 16 hexadecimal digits" : strerror(-r));
    return r;
}

/* ---- ids ---- */

static int read_id(const char *path, uint64_t *ret_id)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf text = {0};
    int r = sy_file_read(path, 64, &text);
    if (r < 0)
        return r;
    sy_buf_append(&text, "", 1);
    const char *digits = (const char *)text.data;
    if (strlen(digits) != 17 || strspn(digits, "0123456789abcdef") != 16 || digits[16] != '\n')
        return -EBADMSG;
    *ret_id = strtoull(digits, NULL, 16);
    return *ret_id != 0 ? 0 : -EBADMSG;
}

static int write_id(const char *directory, uint64_t id)
{
    char path[PATH_MAX], text[32];
    sy_path_print(path, "%s/" COPY, directory);
    int n = snprintf(text, sizeof(text), "%016llx\n", (unsigned long long)id);
    return sy_file_write_atomic(path, text, (size_t)n);
}

/* ---- what is there ---- */

/* Everything but the id. */
static int look_at(const char *path, struct cp_own_copy *copy)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -errno;
    copy->empty = true;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;
        if (entry->d_name[0] == '.' || strncmp(entry->d_name, COPY, sizeof(COPY) - 1) == 0)
            continue;
        copy->empty = false;
        if (fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
            continue;
        int64_t at = (int64_t)st.st_mtim.tv_sec * SY_NS_PER_S + st.st_mtim.tv_nsec;
        copy->changed_ns = at > copy->changed_ns ? at : copy->changed_ns;
        if (S_ISDIR(st.st_mode)) {
            char below[PATH_MAX];
            struct cp_own_copy inner = {0};
            sy_path_print(below, "%s/%s", path, entry->d_name);
            if (look_at(below, &inner) == 0 && inner.changed_ns > copy->changed_ns)
                copy->changed_ns = inner.changed_ns;
        }
    }
    closedir(dir);
    return 0;
}

static int read_copy(void *ctx, uint32_t partition, struct cp_own_copy *ret,
                     struct sy_error_text *error)
{
    const struct cp_copy_dir *dir = ctx;
    const char *path = dir->paths[partition];
    char file[PATH_MAX];
    struct cp_own_copy copy = {0};
    sy_path_print(file, "%s/" COPY, path);
    int r = look_at(path, &copy);
    if (r == -ENOENT) {
        *ret = (struct cp_own_copy){0};
        return 0;
    }
    if (r == 0)
        r = read_id(file, &copy.id);
    if (r == -ENOENT) { /* of before it was a copy, or the death of who made it */
        struct sy_rng rng;
        sy_rng_init_from_system(&rng);
        copy.id = sy_rng_u64(&rng) | 1;
        r = write_id(path, copy.id);
    }
    if (r < 0)
        return fail(error, file, r);
    *ret = copy;
    return 0;
}

static int make_copy(void *ctx, uint32_t partition, uint64_t id, struct sy_error_text *error)
{
    const struct cp_copy_dir *dir = ctx;
    const char *path = dir->paths[partition];
    int r = sy_mkdir_p(path, 0700);
    if (r == 0)
        r = sy_sync_directory(dir->root);
    if (r == 0)
        r = write_id(path, id);
    return r < 0 ? fail(error, path, r) : 0;
}

/* ---- another one ---- */

/* A file's name, as RocksDB makes them. */
static bool is_plain(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL &&
           strlen(name) <= NAME_MAX;
}

static int append(const char *path, struct sy_span bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = bytes.len > 0 ? sy_write_all(fd, bytes.data, bytes.len) : 0;
    close(fd);
    return r;
}

static int fill_copy(void *ctx, uint32_t partition, const char *name, struct sy_span bytes,
                     struct sy_error_text *error)
{
    const struct cp_copy_dir *dir = ctx;
    char path[PATH_MAX];
    sy_path_print(path, "%s" NEW, dir->paths[partition]);
    int r = 0;
    if (name == NULL) {
        sy_remove_tree(path);
        sy_path_print(path, "%s" NEW "/" FIRST, dir->paths[partition]);
        r = sy_mkdir_p(path, 0700);
    } else if (!is_plain(name)) {
        sy_error_text_set(error, "'%.80s' is not the name of a file of a copy", name);
        return -EBADMSG;
    } else {
        sy_path_print(path, "%s" NEW "/" FIRST "/%s", dir->paths[partition], name);
        r = append(path, bytes);
    }
    return r < 0 ? fail(error, path, r) : 0;
}

static int sync_files(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -errno;
    const struct dirent *entry;
    int r = 0;
    while (r == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
            r = -errno;
        if (fd >= 0)
            close(fd);
    }
    r = r == 0 ? -errno : r;
    closedir(dir);
    return r == 0 ? sy_sync_directory(path) : r;
}

/* Who dies between the last two steps has no copy any more, and begins anew: it was not in sync. */
static int filled_copy(void *ctx, uint32_t partition, uint64_t id, struct sy_error_text *error)
{
    const struct cp_copy_dir *dir = ctx;
    char made[PATH_MAX], files[PATH_MAX];
    sy_path_print(made, "%s" NEW, dir->paths[partition]);
    sy_path_print(files, "%s" NEW "/" FIRST, dir->paths[partition]);
    int r = sync_files(files);
    if (r == 0)
        r = write_id(made, id);
    if (r == 0)
        r = sy_sync_directory(dir->root);
    if (r == 0) {
        sy_remove_tree(dir->paths[partition]);
        r = sy_rename(made, dir->paths[partition]);
    }
    return r < 0 ? fail(error, made, r) : 0;
}

/* ---- forks ---- */

int cp_fork_path(char ret[PATH_MAX], const char *partition, uint32_t epoch)
{
    int n = snprintf(ret, PATH_MAX, "%s.split-%u", partition, epoch);
    return n > 0 && n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int name_fork(void *ctx, uint32_t partition, uint32_t epoch, uint64_t id,
                     struct sy_error_text *error)
{
    const struct cp_copy_dir *dir = ctx;
    char path[PATH_MAX] = "";
    int r = cp_fork_path(path, dir->paths[partition], epoch);
    if (r == 0)
        r = write_id(path, id);
    return r < 0 ? fail(error, path, r) : 0;
}

static const char *image_path(void *ctx, uint32_t partition)
{
    return ((const struct cp_copy_dir *)ctx)->images[partition];
}

/* ---- the region's identity ---- */

static int adopt(void *ctx, const char *identity, struct sy_error_text *error)
{
    struct cp_copy_dir *dir = ctx;
    char path[PATH_MAX], text[CP_IDENTITY_SIZE + 1];
    SY_ASSERT(strlen(identity) == CP_IDENTITY_SIZE - 1);
    sy_path_print(path, "%s/" MARK, dir->root);
    int n = snprintf(text, sizeof(text), "%s\n", identity);
    int r = sy_file_write_atomic(path, text, (size_t)n);
    if (r < 0)
        return fail(error, path, r);
    memcpy(dir->port.identity, identity, CP_IDENTITY_SIZE);
    return 0;
}

static int read_identity(struct cp_copy_dir *dir, struct sy_error_text *error)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf text = {0};
    char path[PATH_MAX];
    sy_path_print(path, "%s/" MARK, dir->root);
    int r = sy_file_read(path, 64, &text);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return fail(error, path, r);
    sy_buf_append(&text, "", 1);
    const char *digits = (const char *)text.data;
    if (strlen(digits) != CP_IDENTITY_SIZE ||
        strspn(digits, "0123456789abcdef") != CP_IDENTITY_SIZE - 1) {
        sy_error_text_set(error, "%s: damaged; expected the identity of a region", path);
        return -EBADMSG;
    }
    memcpy(dir->port.identity, digits, CP_IDENTITY_SIZE - 1);
    return 0;
}

/* ---- life ---- */

/* Two shards in one directory would take each other's copies for their own. */
static int lock(struct cp_copy_dir *dir, struct sy_error_text *error)
{
    char path[PATH_MAX];
    sy_path_print(path, "%s/" MARK ".lock", dir->root);
    dir->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int r = dir->lock < 0 || flock(dir->lock, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
    if (r == -EWOULDBLOCK) {
        sy_error_text_set(error, "data_dir %s is in use by another process", dir->root);
        return -EBUSY;
    }
    return r < 0 ? fail(error, path, r) : 0;
}

bool cp_copy_dir_is(const char *root)
{
    char path[PATH_MAX];
    sy_path_print(path, "%s/" MARK, root);
    return access(path, F_OK) == 0;
}

int cp_copy_dir_new(struct cp_copy_dir **ret_dir, const char *root, char *const *paths,
                    size_t count, struct sy_error_text *error)
{
    struct cp_copy_dir *dir = sy_new(struct cp_copy_dir);
    *dir = (struct cp_copy_dir){
        .root = sy_strdup(root), .paths = paths, .count = count, .lock = -1};
    dir->images = sy_calloc(count, sizeof(*dir->images));
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(paths[i]) + sizeof(IMAGE);
        dir->images[i] = sy_malloc(size);
        snprintf(dir->images[i], size, "%s" IMAGE, paths[i]);
    }
    dir->port = (struct cp_copies){.read = read_copy,
                                   .make = make_copy,
                                   .fill = fill_copy,
                                   .filled = filled_copy,
                                   .name_fork = name_fork,
                                   .image_path = image_path,
                                   .adopt = adopt,
                                   .ctx = dir};
    int r = lock(dir, error);
    if (r == 0)
        r = read_identity(dir, error);
    if (r < 0) {
        cp_copy_dir_free(dir);
        return r;
    }
    for (size_t i = 0; i < count; i++)
        sy_remove_tree(dir->images[i]); /* of who died */
    *ret_dir = dir;
    return 0;
}

struct cp_copies *cp_copy_dir_port(struct cp_copy_dir *dir)
{
    return dir != NULL ? &dir->port : NULL;
}

void cp_copy_dir_free(struct cp_copy_dir *dir)
{
    if (dir == NULL)
        return;
    for (size_t i = 0; i < dir->count; i++)
        free(dir->images[i]);
    free(dir->images);
    if (dir->lock >= 0)
        close(dir->lock);
    free(dir->root);
    free(dir);
}
