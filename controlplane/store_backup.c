#include "controlplane/store_backup.h"

#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <limits.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a backup may take of the disk while others are served. */
#define BYTES_PER_SECOND ((uint64_t)128 << 20)
#define FAMILIES_MAX 64

/* Takes RocksDB's text. */
static int failed(struct sy_error_text *error, const char *what, const char *path, char *text)
{
    int r = strstr(text, "No space left") ? -ENOSPC : strstr(text, "Corruption") ? -EUCLEAN : -EIO;
    sy_error_text_set(error, "%s %s (RocksDB: %s)", what, path, text);
    rocksdb_free(text);
    return r;
}

static int open_engine(rocksdb_backup_engine_t **ret, const char *dir, struct sy_error_text *error)
{
    char *failure = NULL;
    rocksdb_env_t *env = rocksdb_create_default_env();
    rocksdb_backup_engine_options_t *options = rocksdb_backup_engine_options_create(dir);
    rocksdb_backup_engine_options_set_backup_rate_limit(options, BYTES_PER_SECOND);
    *ret = rocksdb_backup_engine_open_opts(options, env, &failure);
    rocksdb_backup_engine_options_destroy(options);
    rocksdb_env_destroy(env);
    return failure ? failed(error, "no backups can be kept in", dir, failure) : 0;
}

/* ---- adding ---- */

struct database {
    rocksdb_options_t *options;
    rocksdb_t *db;
    rocksdb_column_family_handle_t *handles[FAMILIES_MAX];
    size_t count;
};

static void close_checkpoint(struct database *database)
{
    for (size_t i = 0; database->db && i < database->count; i++)
        rocksdb_column_family_handle_destroy(database->handles[i]);
    if (database->db)
        rocksdb_close(database->db);
    rocksdb_options_destroy(database->options);
}

/* With whatever families it has; nothing in it is changed but its log becoming a table. */
static int open_checkpoint(struct database *ret, const char *path, struct sy_error_text *error)
{
    char *failure = NULL;
    const rocksdb_options_t *options[FAMILIES_MAX];
    ret->options = rocksdb_options_create();
    rocksdb_options_set_disable_auto_compactions(ret->options, 1);
    rocksdb_options_set_info_log_level(ret->options, 4);
    char **names = rocksdb_list_column_families(ret->options, path, &ret->count, &failure);
    if (failure)
        return failed(error, "the checkpoint cannot be read:", path, failure);
    SY_ASSERT(ret->count <= FAMILIES_MAX);
    for (size_t i = 0; i < ret->count; i++)
        options[i] = ret->options;
    ret->db = rocksdb_open_column_families(ret->options, path, (int)ret->count,
                                           (const char *const *)names, options, ret->handles,
                                           &failure);
    rocksdb_list_column_families_destroy(names, ret->count);
    return failure ? failed(error, "the checkpoint cannot be opened:", path, failure) : 0;
}

static void read_info(struct cp_backup_info *ret, const rocksdb_backup_engine_info_t *infos, int i)
{
    *ret = (struct cp_backup_info){.id = rocksdb_backup_engine_info_backup_id(infos, i),
                                   .taken_s = rocksdb_backup_engine_info_timestamp(infos, i),
                                   .bytes = rocksdb_backup_engine_info_size(infos, i),
                                   .files = rocksdb_backup_engine_info_number_files(infos, i)};
}

static int add(rocksdb_backup_engine_t *engine, const char *dir, const char *path, uint32_t keep,
               struct cp_backup_info *ret, struct sy_error_text *error)
{
    struct database database = {0};
    int r = open_checkpoint(&database, path, error);
    char *failure = NULL;
    if (r == 0) {
        rocksdb_backup_engine_create_new_backup(engine, database.db, &failure);
        if (failure)
            r = failed(error, "the backup cannot be written to", dir, failure);
    }
    close_checkpoint(&database);
    if (r < 0)
        return r;
    const rocksdb_backup_engine_info_t *infos = rocksdb_backup_engine_get_backup_info(engine);
    read_info(ret, infos, rocksdb_backup_engine_info_count(infos) - 1);
    rocksdb_backup_engine_info_destroy(infos);
    rocksdb_backup_engine_purge_old_backups(engine, keep, &failure);
    return failure ? failed(error, "old backups cannot be removed from", dir, failure) : 0;
}

/* An engine counts on from the greatest name of a list, be it damaged (an empty one is); its C API
 * has no other way to say where. */
static int make_directory(const char *dir, uint32_t after)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/meta", dir);
    int r = n > 0 && (size_t)n + 16 < sizeof(path) ? sy_mkdir_p(path, 0700) : -ENAMETOOLONG;
    if (r < 0 || after == 0)
        return r;
    snprintf(path + n, sizeof(path) - (size_t)n, "/%u", after);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    r = fd < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return r;
}

int cp_backup_add(const char *dir, struct cp_store_source *source, uint32_t after, uint32_t keep,
                  struct cp_backup_info *ret, struct sy_error_text *error)
{
    SY_ASSERT(keep > 0);
    char scratch[PATH_MAX];
    int n = snprintf(scratch, sizeof(scratch), "%s.backup", cp_store_source_path(source));
    int r = n > 0 && (size_t)n < sizeof(scratch) ? make_directory(dir, after) : -ENAMETOOLONG;
    if (r < 0) {
        sy_error_text_set(error, "the directory of backups %s cannot be made: %s", dir,
                          strerror(-r));
        return r;
    }
    sy_remove_tree(scratch); /* of one that was killed */
    r = cp_store_checkpoint(source, scratch, error);
    rocksdb_backup_engine_t *engine = NULL;
    if (r == 0)
        r = open_engine(&engine, dir, error);
    if (r == 0)
        r = add(engine, dir, scratch, keep, ret, error);
    if (engine)
        rocksdb_backup_engine_close(engine);
    sy_remove_tree(scratch);
    return r;
}

/* ---- reading ---- */

/* An engine would make what is missing. */
static int open_existing(rocksdb_backup_engine_t **ret, const char *dir,
                         struct sy_error_text *error)
{
    char meta[PATH_MAX];
    int n = snprintf(meta, sizeof(meta), "%s/meta", dir);
    if (n < 0 || (size_t)n >= sizeof(meta) || access(meta, F_OK) != 0) {
        sy_error_text_set(error, "%s holds no backups", dir);
        return -ENOENT;
    }
    return open_engine(ret, dir, error);
}

int cp_backup_list(const char *dir, struct cp_backup_info **ret, size_t *ret_count,
                   struct sy_error_text *error)
{
    rocksdb_backup_engine_t *engine;
    int r = open_existing(&engine, dir, error);
    if (r < 0)
        return r;
    const rocksdb_backup_engine_info_t *infos = rocksdb_backup_engine_get_backup_info(engine);
    int count = rocksdb_backup_engine_info_count(infos);
    if (count > 0) {
        *ret = sy_calloc((size_t)count, sizeof(**ret));
        *ret_count = (size_t)count;
        for (int i = 0; i < count; i++)
            read_info(&(*ret)[i], infos, i);
    } else {
        sy_error_text_set(error, "%s holds no complete backup", dir);
    }
    rocksdb_backup_engine_info_destroy(infos);
    rocksdb_backup_engine_close(engine);
    return count > 0 ? 0 : -ENOENT;
}

int cp_backup_restore(const char *dir, uint32_t id, const char *path, struct sy_error_text *error)
{
    struct cp_backup_info *infos SY_AUTOFREE = NULL;
    size_t count, i = 0;
    int r = cp_backup_list(dir, &infos, &count, error);
    if (r < 0)
        return r;
    while (id != 0 && i < count && infos[i].id != id)
        i++;
    if (i == count) {
        sy_error_text_set(error, "%s holds no backup %u; the newest is %u", dir, id,
                          infos[count - 1].id);
        return -ENOENT;
    }
    rocksdb_backup_engine_t *engine;
    r = open_existing(&engine, dir, error);
    if (r < 0)
        return r;
    char *failure = NULL;
    rocksdb_restore_options_t *options = rocksdb_restore_options_create();
    uint32_t from = id != 0 ? id : infos[count - 1].id;
    rocksdb_backup_engine_verify_backup(engine, from, &failure);
    if (!failure)
        rocksdb_backup_engine_restore_db_from_backup(engine, path, path, options, from, &failure);
    rocksdb_restore_options_destroy(options);
    rocksdb_backup_engine_close(engine);
    if (!failure)
        return 0;
    sy_remove_tree(path);
    return failed(error, "the backup cannot be restored from", dir, failure);
}
