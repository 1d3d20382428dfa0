/*
 * The files of the RocksDB store: its families and their options, the directory of its epoch
 * (store_dirs.h), opening and closing.
 */
#include "controlplane/store_rocksdb_impl.h"

#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define BLOOM_BITS_PER_KEY 10.0
/* Logs that are read at an open beyond these are written into tables, beside what is served. */
#define OPEN_LOG_BYTES_MAX (4 * MIB)
#define OPEN_LOGS_MAX 8
/* One more thread opens tables for each so many. RocksDB's 16 are started anew for each family, and
 * were a third of what an open cost; only where there are many tables are they worth it. */
#define TABLES_A_THREAD 16
#define OPEN_THREADS_MAX 16
/* Logs whose content is in tables are kept so long for copies, and so much of them. */
#define LOG_KEPT_S 3600
#define LOG_KEPT_MIB 1024

struct family_options {
    const char *name;
    size_t write_buffer_bytes;
    bool point_lookups; /* a bloom filter pays */
    bool compress;      /* large, and read seldom */
};

static const struct family_options family_table[CP_FAMILIES] = {
    [CP_FAMILY_META] = {"default", 1 * MIB, false, false},
    [CP_FAMILY_RUNS] = {"runs", 16 * MIB, true, true},
    [CP_FAMILY_RUN_NAMES] = {"run_names", 16 * MIB, true, false},
    [CP_FAMILY_ACTIONS] = {"actions", 64 * MIB, true, true},
    [CP_FAMILY_OUTCOMES] = {"outcomes", 64 * MIB, true, true},
    [CP_FAMILY_LIVE] = {"live", 64 * MIB, false, false},
    [CP_FAMILY_EVENTS] = {"events", 64 * MIB, false, true},
    [CP_FAMILY_CHILDREN] = {"children", 16 * MIB, false, true},
    [CP_FAMILY_SPECS] = {"specs", 16 * MIB, true, true},
    [CP_FAMILY_CACHE] = {"cache", 16 * MIB, true, true},
    [CP_FAMILY_REGISTRY] = {"registry", 16 * MIB, true, true},
    [CP_FAMILY_ATTEMPTS] = {"attempts", 16 * MIB, false, true},
};

/* What RocksDB 7.8 keeps in a directory. Strange tables may lie there, which its former owner had
 * not finished: an open removes them, and numbers its own after them (test_store_takeover.c). */
static enum cp_dirs_kind kind_of(const char *name)
{
    static const char *const own[] = {"LOCK", "LOG", "LOG.old.", "IDENTITY", "OPTIONS-"};
    const char *dot = strrchr(name, '.');
    bool numbered = dot != NULL && strspn(name, "0123456789") == (size_t)(dot - name);
    if (strcmp(name, "CURRENT") == 0 || strncmp(name, "MANIFEST-", 9) == 0)
        return CP_DIRS_HEAD;
    if (numbered && (strcmp(dot, ".sst") == 0 || strcmp(dot, ".blob") == 0))
        return CP_DIRS_TABLE;
    if (numbered && strcmp(dot, ".log") == 0)
        return CP_DIRS_LOG;
    for (size_t i = 0; i < SY_COUNT_OF(own); i++) {
        if (strncmp(name, own[i], strlen(own[i])) == 0)
            return CP_DIRS_OWN;
    }
    return CP_DIRS_FOREIGN;
}

/* Where a table or a log lies there is a database, or a damaged one: no new one is made on top. */
static rocksdb_options_t *database_options(bool may_create, size_t buffer_bytes, bool logged)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, may_create);
    rocksdb_options_set_create_missing_column_families(options, 1);
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_enable_pipelined_write(options, 1);
    rocksdb_options_set_db_write_buffer_size(options, buffer_bytes);
    rocksdb_options_set_max_total_wal_size(options, 2 * buffer_bytes);
    /* A record cut off at the end of the log was never acknowledged; anything else that does not
     * read is an error. (The default would silently drop what follows a damaged record.) */
    rocksdb_options_set_wal_recovery_mode(options,
                                          rocksdb_tolerate_corrupted_tail_records_recovery);
    /* Above all levels, headers too: its own log stays empty. Debian's RocksDB aborts
     * (sync_without_flush_called_) when it logs again after its log met a full disk, as an open
     * does that comes to one; errors reach us as statuses anyway. */
    rocksdb_options_set_info_log_level(options, 5);
    rocksdb_options_set_keep_log_file_num(options, 1);
    rocksdb_options_set_max_manifest_file_size(options, 16 * MIB);
    rocksdb_options_set_bytes_per_sync(options, 1 * MIB);
    rocksdb_options_enable_statistics(options);
    if (logged) {
        rocksdb_options_set_WAL_ttl_seconds(options, LOG_KEPT_S);
        rocksdb_options_set_WAL_size_limit_MB(options, LOG_KEPT_MIB);
    }
    return options;
}

static rocksdb_options_t *make_family_options(const struct family_options *family,
                                              rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_block_size(table, (size_t)16 << 10);
    rocksdb_block_based_options_set_format_version(table, 5);
    if (family->point_lookups)
        rocksdb_block_based_options_set_filter_policy(
            table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS_PER_KEY));
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_options_set_write_buffer_size(options, family->write_buffer_bytes);
    rocksdb_options_set_max_write_buffer_number(options, 3);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    rocksdb_options_set_compression(options, family->compress ? rocksdb_lz4_compression
                                                              : rocksdb_no_compression);
    return options;
}

/* What the logs hold is read into memory, and not written into tables before the store is open:
 * that is a table, and a sync, for each family. (The C API has no function for it.) */
static rocksdb_options_t *without_flush(rocksdb_options_t *options)
{
    char *failure = NULL;
    rocksdb_options_t *changed = rocksdb_options_create();
    rocksdb_get_options_from_string(options, "avoid_flush_during_recovery=true", changed, &failure);
    SY_ASSERT(failure == NULL);
    rocksdb_options_destroy(options);
    return changed;
}

struct files {
    size_t tables, logs;
    int64_t log_bytes;
};

static int sync_log(int directory, const char *name, struct files *files)
{
    struct stat st;
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fstat(fd, &st) < 0 || fdatasync(fd) < 0 ? -errno : 0;
    close(fd);
    files->logs++;
    files->log_bytes += r == 0 ? st.st_size : 0;
    return r;
}

/* What is read from them is shown, so it must not be lost afterwards: the process that wrote it may
 * have been killed before its sync. */
static int sync_logs(const char *path, struct files *ret_files, struct sy_error_text *error)
{
    *ret_files = (struct files){0};
    DIR *directory = opendir(path);
    int r = directory ? 0 : -errno;
    for (struct dirent *entry; directory && r == 0 && (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".log") == 0)
            r = sync_log(dirfd(directory), entry->d_name, ret_files);
        else if (dot && strcmp(dot, ".sst") == 0)
            ret_files->tables++;
    }
    if (directory && r == 0 && fsync(dirfd(directory)) < 0)
        r = -errno;
    if (directory)
        closedir(directory);
    if (r < 0)
        sy_error_text_set(error, "the logs of the database %s cannot be synced: %s", path,
                          strerror(-r));
    return sy_trace(r);
}

static int opening_threads(size_t tables)
{
    size_t threads = 1 + tables / TABLES_A_THREAD;
    return threads < OPEN_THREADS_MAX ? (int)threads : OPEN_THREADS_MAX;
}

/* Begins to write what was read from the logs into tables. A failure is seen at the next commit. */
static void flush_later(struct rocks_store *store)
{
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 0);
    for (unsigned i = 0; i < CP_FAMILIES; i++) {
        char *failure = NULL;
        rocksdb_flush_cf(store->db, options, store->families[i], &failure);
        rocksdb_free(failure);
    }
    rocksdb_flushoptions_destroy(options);
}

static int open_database(struct rocks_store *store, size_t memory_bytes, bool logged,
                         struct sy_error_text *error)
{
    size_t cache_bytes = memory_bytes / 5;
    const char *names[CP_FAMILIES];
    const char *path = cp_dirs_path(store->dirs);
    struct files files;
    int s = sync_logs(path, &files, error);
    if (s < 0)
        return s;
    store->options = without_flush(
        database_options(cp_dirs_empty(store->dirs), memory_bytes - cache_bytes, logged));
    rocksdb_options_set_max_file_opening_threads(store->options, opening_threads(files.tables));
    store->cache = rocksdb_cache_create_lru(cache_bytes);
    for (unsigned i = 0; i < CP_FAMILIES; i++) {
        names[i] = family_table[i].name;
        store->family_options[i] = make_family_options(&family_table[i], store->cache);
    }
    char *failure = NULL;
    store->db = rocksdb_open_column_families(
        store->options, path, CP_FAMILIES, names,
        (const rocksdb_options_t *const *)store->family_options, store->families, &failure);
    if (failure) {
        struct sy_error_text text = {0};
        int r = cp_rocks_error(failure, &text);
        const char *what = r == -EBUSY     ? "is in use by another process"
                           : r == -EUCLEAN ? "is damaged"
                           : r == -ENOSPC  ? "cannot be opened: the disk is full"
                                           : "cannot be opened";
        sy_error_text_set(error, "the database %s %s (RocksDB: %s)", path, what, text.text);
        return sy_trace(r);
    }
    store->read = rocksdb_readoptions_create();
    store->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->write, 1);
    if (files.log_bytes > (int64_t)OPEN_LOG_BYTES_MAX || files.logs > OPEN_LOGS_MAX)
        flush_later(store);
    return 0;
}

int cp_rocks_open(struct rocks_store *store, const char *path, uint32_t epoch, size_t memory_bytes,
                  bool logged, uint32_t *ret_epoch, struct sy_error_text *error)
{
    struct cp_dirs_options options = {
        .path = path, .epoch = epoch, .kind = kind_of, .lock = "LOCK"};
    int r = cp_dirs_take(&store->dirs, &options, ret_epoch, error);
    if (r != 0)
        return r == CP_DIRS_E_NEWER ? CP_STORE_E_NEWER : r;
    return open_database(store, memory_bytes, logged, error);
}

static void close_database(struct rocks_store *store)
{
    if (store->db) {
        cp_rocks_show(&store->base);
        for (unsigned i = 0; i < CP_FAMILIES; i++)
            rocksdb_column_family_handle_destroy(store->families[i]);
        rocksdb_close(store->db);
        rocksdb_readoptions_destroy(store->read);
        rocksdb_writeoptions_destroy(store->write);
    }
    for (unsigned i = 0; i < CP_FAMILIES; i++) {
        if (store->family_options[i])
            rocksdb_options_destroy(store->family_options[i]);
    }
    if (store->options)
        rocksdb_options_destroy(store->options);
    if (store->cache)
        rocksdb_cache_destroy(store->cache);
}

void cp_rocks_close(struct rocks_store *store)
{
    bool opened = store->db != NULL;
    if (store->source)
        cp_rocks_source_close(store->source);
    close_database(store);
    if (opened)
        cp_dirs_closed(store->dirs);
}

int cp_store_rocksdb_fork(const char *path, const char *to, struct sy_error_text *error)
{
    struct cp_dirs_options options = {.path = path, .kind = kind_of, .lock = "LOCK"};
    return sy_trace(cp_dirs_fork(&options, to, error));
}
