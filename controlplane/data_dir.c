#include "controlplane/data_dir.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/names.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK_BYTES_MAX ((size_t)256)

/* ---- the mark: "eu 3f9a...\n" ---- */

struct mark {
    char region[CP_NAME_LENGTH_MAX + 1], id[CP_IDENTITY_SIZE];
};

/* -ENOENT: there is none. */
static int read_mark(const char *path, struct mark *ret_mark, struct sy_error_text *error)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf text = {0};
    int r = sy_file_read(path, MARK_BYTES_MAX, &text);
    if (r == -ENOENT)
        return r;
    sy_buf_append(&text, "", 1);
    char end = '\0';
    if (r == 0 && (sscanf((const char *)text.data, "%63s %32[0-9a-f]%c", ret_mark->region,
                          ret_mark->id, &end) != 3 ||
                   end != '\n' || strlen(ret_mark->id) != CP_IDENTITY_SIZE - 1))
        r = -EBADMSG;
    if (r < 0)
        sy_error_text_set(error, "%s: %s; expected the name and the identity of a region", path,
                          r == -EBADMSG ? "damaged" : strerror(-r));
    return r;
}

/* Shards that start together write one each; the first to give it its name wins, whole. */
static int write_mark(const char *path, const char *region)
{
    struct sy_rng rng;
    sy_rng_init_from_system(&rng);
    char text[MARK_BYTES_MAX], own[PATH_MAX];
    snprintf(text, sizeof(text), "%s %016llx%016llx\n", region,
             (unsigned long long)sy_rng_u64(&rng), (unsigned long long)sy_rng_u64(&rng));
    int len = snprintf(own, sizeof(own), "%s.%016llx", path, (unsigned long long)sy_rng_u64(&rng));
    if (len >= (int)sizeof(own))
        return -ENAMETOOLONG;
    int r = sy_file_write_atomic(own, text, strlen(text));
    if (r == 0 && link(own, path) < 0 && errno != EEXIST)
        r = -errno;
    (void)unlink(own);
    return r;
}

/* So that one that is missing from a marked directory has been lost: store_dirs.h refuses it. */
static int make_partitions(const struct cp_data_dir *dir)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < dir->made; i++)
        r = sy_mkdir_p(dir->paths[i], 0700);
    return r;
}

static void path_of_mark(const char *root, char ret[PATH_MAX])
{
    sy_path_print(ret, "%s/region", root);
}

/* -ENOENT: it has none. */
static int read_own_mark(struct cp_data_dir *dir, const char *file, struct sy_error_text *error)
{
    struct mark mark;
    int r = read_mark(file, &mark, error);
    if (r < 0)
        return r;
    if (strcmp(mark.region, dir->region) != 0) {
        sy_error_text_set(error, "data_dir %s is of region %s, this shard is configured for %s",
                          dir->root, mark.region, dir->region);
        return -EPERM;
    }
    memcpy(dir->storage.identity, mark.id, sizeof(dir->storage.identity));
    return 0;
}

/* What one shard had for itself becomes the region's. */
static int mark_as_shared(struct cp_data_dir *dir, bool with_partitions,
                          struct sy_error_text *error)
{
    SY_ASSERT(dir->region != NULL && dir->storage.identity[0] == '\0');
    char file[PATH_MAX];
    path_of_mark(dir->root, file);
    int r = sy_mkdir_p(dir->root, 0700);
    if (r == 0 && with_partitions)
        r = make_partitions(dir);
    if (r == 0)
        r = sy_sync_directory(dir->root);
    if (r == 0)
        r = write_mark(file, dir->region);
    if (r == 0)
        r = sy_sync_directory(dir->root);
    if (r < 0) {
        sy_error_text_set(error, "%s and the partitions cannot be made: %s", file, strerror(-r));
        return r;
    }
    r = read_own_mark(dir, file, error);
    if (r == -ENOENT)
        sy_error_text_set(error, "%s was removed just now", file);
    return r;
}

static int mark_storage(void *ctx, struct sy_error_text *error)
{
    return mark_as_shared(ctx, true, error);
}

static int check_alone(const char *path, const char *file, const char *expected,
                       struct sy_error_text *error)
{
    struct mark mark;
    int r = read_mark(file, &mark, error);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    sy_error_text_set(error,
                      "data_dir %s is shared by the shards of region %s: expected %s; if there are "
                      "none any more, remove %s",
                      path, mark.region, expected, file);
    return -EPERM;
}

/* Not the copies that one shard of a region keeps for itself. */
static int check_no_copies(const char *path, struct sy_error_text *error)
{
    if (!cp_copy_dir_is(path))
        return 0;
    sy_error_text_set(error,
                      "data_dir %s holds a shard's own copies: expected coordination: etcd and "
                      "storage: local; if its region is no more, remove %s/copies",
                      path, path);
    return -EPERM;
}

/* ---- the directory ---- */

static int open_store(void *ctx, struct cp_store **ret_store, uint32_t epoch, struct sy_loop *loop,
                      uint32_t *ret_epoch, struct sy_error_text *error)
{
    const struct cp_data_store *store = ctx;
    return cp_store_rocksdb_open_within(ret_store, store->path, epoch, store->memory_bytes, loop,
                                        ret_epoch, error);
}

static int open_logged(void *ctx, struct cp_store **ret_store, uint32_t epoch, struct sy_loop *loop,
                       uint32_t *ret_epoch, struct sy_error_text *error)
{
    const struct cp_data_store *store = ctx;
    return cp_store_rocksdb_open_logged(ret_store, store->path, epoch, store->memory_bytes, loop,
                                        ret_epoch, error);
}

static int fork_store(void *ctx, uint32_t epoch, struct sy_error_text *error)
{
    const struct cp_data_store *store = ctx;
    char to[PATH_MAX];
    int r = cp_fork_path(to, store->path, epoch);
    return sy_trace(r == 0 ? cp_store_rocksdb_fork(store->path, to, error) : r);
}

/* Whoever comes first gives it its name; from then on it is as any other. */
static int adopt_store(void *ctx, uint32_t parent, uint32_t epoch, struct sy_error_text *error)
{
    const struct cp_data_store *store = ctx;
    char partition[PATH_MAX], from[PATH_MAX];
    const char *name = strrchr(store->path, '/');
    SY_ASSERT(name != NULL);
    snprintf(partition, sizeof(partition), "%.*s/partition-%u", (int)(name - store->path),
             store->path, parent);
    int r = cp_fork_path(from, partition, epoch);
    if (r == 0 && access(store->path, F_OK) < 0) {
        r = rename(from, store->path) < 0 ? -errno : 0;
        if (r < 0 && access(store->path, F_OK) == 0)
            r = 0;                            /* another did */
        partition[name - store->path] = '\0'; /* the directory of both */
        if (r == 0)
            r = sy_sync_directory(partition);
    }
    if (r < 0)
        sy_error_text_set(error, "%s, which it begins with, cannot be taken: %s", from,
                          strerror(-r));
    return sy_trace(r);
}

/* "partition-3.split-12", or with the suffix of one that is not complete. */
static bool read_fork(const char *name, const char *partition, uint32_t *ret_epoch, bool *ret_tmp)
{
    static const char word[] = ".split-";
    size_t len = strlen(partition);
    if (strncmp(name, partition, len) != 0 || strncmp(name + len, word, strlen(word)) != 0)
        return false;
    const char *digits = name + len + strlen(word);
    size_t count = strspn(digits, "0123456789");
    unsigned long long epoch = strtoull(digits, NULL, 10);
    *ret_epoch = (uint32_t)epoch;
    *ret_tmp = strcmp(digits + count, ".tmp") == 0;
    return count > 0 && count <= 10 && epoch <= UINT32_MAX && (*ret_tmp || digits[count] == '\0');
}

static bool is_kept(uint32_t epoch, const uint32_t *kept, size_t count)
{
    size_t i = 0;
    while (i < count && kept[i] != epoch)
        i++;
    return i < count;
}

static void drop_forks(void *ctx, uint32_t before, const uint32_t *kept, size_t kept_count)
{
    const struct cp_data_store *store = ctx;
    const char *partition = strrchr(store->path, '/');
    SY_ASSERT(partition != NULL && before > 0);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.*s", (int)(partition - store->path), store->path);
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        uint32_t epoch;
        bool tmp;
        if (!read_fork(entry->d_name, partition + 1, &epoch, &tmp) || epoch >= before ||
            (!tmp && is_kept(epoch, kept, kept_count)))
            continue;
        sy_path_print(path, "%.*s/%s", (int)(partition - store->path), store->path, entry->d_name);
        sy_remove_tree(path);
    }
    if (dir != NULL)
        closedir(dir);
}

static void allow_splits(struct cp_data_dir *dir)
{
    for (size_t i = 0; i < dir->count; i++) {
        dir->openers[i].fork = fork_store;
        dir->openers[i].adopt = adopt_store;
        dir->openers[i].drop_forks = drop_forks;
    }
}

static size_t memory_of_one(size_t memory_bytes, size_t count)
{
    size_t part = memory_bytes / count;
    if (part < CP_STORE_MEMORY_MIN)
        return CP_STORE_MEMORY_MIN;
    return part < CP_STORE_MEMORY_MAX ? part : CP_STORE_MEMORY_MAX;
}

static void name_stores(struct cp_data_dir *dir, const char *path, size_t count,
                        size_t memory_bytes_each)
{
    dir->openers = sy_calloc(count, sizeof(*dir->openers));
    dir->stores = sy_calloc(count, sizeof(*dir->stores));
    dir->paths = sy_calloc(count, sizeof(*dir->paths));
    dir->count = count;
    for (size_t i = 0; i < count; i++) {
        struct sy_buf name = {0};
        sy_buf_printf(&name, "%s/partition-%zu", path, i);
        sy_buf_append(&name, "", 1);
        dir->paths[i] = (char *)name.data;
        dir->stores[i] = (struct cp_data_store){dir->paths[i], memory_bytes_each};
        dir->openers[i] = (struct cp_store_opener){.open = open_store, .ctx = &dir->stores[i]};
    }
}

static int init(struct cp_data_dir *dir, const char *path, size_t partitions, size_t memory_bytes,
                const char *region, struct sy_error_text *error)
{
    SY_ASSERT(partitions > 0);
    char file[PATH_MAX];
    path_of_mark(path, file);
    dir->root = sy_strdup(path);
    dir->region = region != NULL ? sy_strdup(region) : NULL;
    name_stores(dir, path, partitions, memory_of_one(memory_bytes, partitions));
    dir->made = partitions;
    int r = check_no_copies(path, error);
    if (r < 0)
        return r;
    if (region != NULL) {
        r = read_own_mark(dir, file, error);
        return r == -ENOENT ? 0 : r;
    }
    r = sy_mkdir_p(path, 0700);
    if (r < 0)
        sy_error_text_set(error, "data_dir %s: %s", path, strerror(-r));
    return r == 0 ? check_alone(path, file, "coordination: etcd", error) : r;
}

int cp_data_dir_init(struct cp_data_dir *ret_dir, const char *path, size_t partitions,
                     size_t memory_bytes, const char *region, struct sy_error_text *error)
{
    struct cp_data_dir dir = {0};
    int r = init(&dir, path, partitions, memory_bytes, region, error);
    if (r < 0)
        cp_data_dir_deinit(&dir);
    else
        *ret_dir = dir;
    return r;
}

int cp_data_dir_init_local(struct cp_data_dir *ret_dir, const char *path, size_t partitions,
                           size_t partitions_max, size_t memory_bytes, struct sy_error_text *error)
{
    struct cp_data_dir dir = {0};
    char file[PATH_MAX];
    path_of_mark(path, file);
    int r = sy_mkdir_p(path, 0700);
    if (r < 0)
        sy_error_text_set(error, "data_dir %s: %s", path, strerror(-r));
    if (r == 0)
        r = check_alone(path, file, "storage: shared", error);
    if (r < 0)
        return r;
    SY_ASSERT(partitions_max >= partitions);
    name_stores(&dir, path, partitions_max, memory_of_one(memory_bytes, partitions));
    allow_splits(&dir);
    for (size_t i = 0; i < dir.count; i++)
        dir.openers[i].open = open_logged;
    r = cp_copy_dir_new(&dir.copies, path, dir.paths, dir.count, error);
    if (r < 0) {
        cp_data_dir_deinit(&dir);
        return r;
    }
    *ret_dir = dir;
    return 0;
}

int cp_data_dir_init_to_restore(struct cp_data_dir *ret_dir, const char *path, size_t partitions,
                                const char *region, struct sy_error_text *error)
{
    struct cp_data_dir dir = {0};
    int r = init(&dir, path, partitions, CP_STORE_MEMORY_MIN, region, error);
    if (r == 0 && region != NULL && dir.storage.identity[0] == '\0')
        r = mark_as_shared(&dir, false, error);
    if (r < 0)
        cp_data_dir_deinit(&dir);
    else
        *ret_dir = dir;
    return r;
}

struct cp_storage *cp_data_dir_storage(struct cp_data_dir *dir)
{
    if (dir->region == NULL)
        return NULL;
    dir->storage.mark = mark_storage;
    dir->storage.ctx = dir;
    return &dir->storage;
}

static void forget_stores(struct cp_data_dir *dir)
{
    for (size_t i = 0; i < dir->count; i++)
        free(dir->paths[i]);
    free(dir->paths);
    free(dir->stores);
    free(dir->openers);
}

void cp_data_dir_widen(struct cp_data_dir *dir, size_t partitions_max)
{
    SY_ASSERT(partitions_max >= dir->count && dir->region != NULL && dir->copies == NULL);
    struct cp_data_dir before = *dir;
    name_stores(dir, dir->root, partitions_max, before.stores[0].memory_bytes);
    allow_splits(dir);
    forget_stores(&before);
}

void cp_data_dir_deinit(struct cp_data_dir *dir)
{
    cp_copy_dir_free(dir->copies);
    forget_stores(dir);
    free(dir->root);
    free(dir->region);
    *dir = (struct cp_data_dir){0};
}
