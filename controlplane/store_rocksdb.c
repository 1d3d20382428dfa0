/*
 * The RocksDB store (written for 7.8.3). With store_backup.c the only one that includes
 * rocksdb/c.h.
 *
 * One committer thread writes and syncs one batch at a time: measured, that beats many writers
 * ninefold. It tells the loop through an edge-triggered eventfd, which leaves nothing behind in
 * the loop's inbox when the store is closed.
 *
 * A write error is for good: RocksDB refuses every later write and its C API has no Resume().
 */
#include "base/mem.h"
#include "controlplane/store_dirs.h"
#include "controlplane/store_impl.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define BLOOM_BITS_PER_KEY 10.0
#define SPARE_BATCHES 2
/* Logs that are read at an open beyond these are written into tables, beside what is served. */
#define OPEN_LOG_BYTES_MAX (4 * MIB)
#define OPEN_LOGS_MAX 8

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

/* The store has one reference while it is open. */
struct cp_store_source {
    pthread_mutex_t mutex;
    rocksdb_t *db; /* NULL: closed */
    unsigned refs;
    char path[PATH_MAX];
};

struct rocks_store {
    struct cp_store base;
    struct cp_dirs *dirs;
    rocksdb_t *db;
    struct cp_store_source *source;
    rocksdb_options_t *options; /* of the database; holds the statistics */
    rocksdb_options_t *family_options[CP_FAMILIES];
    rocksdb_cache_t *cache;
    rocksdb_column_family_handle_t *families[CP_FAMILIES];
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write;
    struct rocks_batch *spare[SPARE_BATCHES];
    struct sy_io io;
    struct rocks_batch *in_flight;
    int failed; /* every further commit reports it */

    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    /* Under the mutex. */
    rocksdb_writebatch_t *job;
    bool stopping, finished;
    bool closes, closed; /* closes: when it stops, the committer closes the database */
    int result;
    struct sy_error_text result_text;
};

struct rocks_batch {
    struct cp_batch base;
    struct rocks_store *store;
    rocksdb_writebatch_t *writes;
};

struct rocks_iter {
    struct cp_iter base;
    struct rocks_store *store;
    rocksdb_iterator_t *iterator;
    rocksdb_readoptions_t *read;
    bool reverse, positioned;
    uint8_t bounds[]; /* to, then from: RocksDB keeps pointers to them */
};

/* ---- errors ---- */

/* RocksDB gives texts, no codes. `text` is freed. */
static int map_error(char *text, struct sy_error_text *ret_text)
{
    static const struct {
        const char *words;
        int code;
    } table[] = {
        {"No space left", -ENOSPC},
        {"File too large", -ENOSPC},
        {"Disk quota", -ENOSPC},
        {"lock hold by", -EBUSY},
        {"While lock file", -EBUSY},
        {"Corruption", -EUCLEAN},
        {"does not exist (create_if_missing", -EUCLEAN},
    };
    int code = -EIO;
    for (size_t i = 0; i < SY_COUNT_OF(table) && code == -EIO; i++) {
        if (strstr(text, table[i].words))
            code = table[i].code;
    }
    sy_error_text_set(ret_text, "%s", text);
    rocksdb_free(text);
    return code;
}

/* ---- the committer ---- */

static void write_job(struct rocks_store *store, rocksdb_writebatch_t *job)
{
    struct sy_error_text text = {0};
    char *failure = NULL;
    rocksdb_write(store->db, store->write, job, &failure);
    int result = failure ? map_error(failure, &text) : 0;
    pthread_mutex_lock(&store->mutex);
    store->result = result;
    store->result_text = text;
    store->finished = true;
    pthread_mutex_unlock(&store->mutex);
    uint64_t one = 1;
    ssize_t n = write(store->io.fd, &one, sizeof(one));
    SY_ASSERT(n == sizeof(one)); /* the counter takes 2^64 commits to fill */
}

static void close_files(struct rocks_store *store);

static void close_and_tell(struct rocks_store *store)
{
    close_files(store);
    pthread_mutex_lock(&store->mutex);
    store->closed = true;
    pthread_mutex_unlock(&store->mutex);
    uint64_t one = 1;
    ssize_t n = write(store->io.fd, &one, sizeof(one));
    SY_ASSERT(n == sizeof(one));
}

static void *committer(void *arg)
{
    struct rocks_store *store = arg;
    pthread_setname_np(pthread_self(), "sy-commit");
    for (;;) {
        pthread_mutex_lock(&store->mutex);
        while (!store->job && !store->stopping)
            pthread_cond_wait(&store->wake, &store->mutex);
        rocksdb_writebatch_t *job = sy_take(store->job);
        bool closes = store->closes;
        pthread_mutex_unlock(&store->mutex);
        if (job) {
            write_job(store, job);
            continue;
        }
        if (closes)
            close_and_tell(store);
        return NULL;
    }
}

static void rocks_batch_free(struct cp_batch *base)
{
    struct rocks_batch *batch = (struct rocks_batch *)base;
    for (unsigned i = 0; i < SPARE_BATCHES; i++) {
        if (!batch->store->spare[i]) {
            rocksdb_writebatch_clear(batch->writes);
            batch->base.count = batch->base.bytes = 0;
            batch->store->spare[i] = batch;
            return;
        }
    }
    rocksdb_writebatch_destroy(batch->writes);
    free(batch);
}

static void rocks_close(struct cp_store *base);

/* The thread has ended, or is about to. */
static void closed_on_loop(struct rocks_store *store)
{
    struct cp_store base = store->base;
    rocks_close(&store->base);
    cp_store_closed(&base);
}

/* On the loop. */
static void on_finished(void *arg, uint32_t events)
{
    struct rocks_store *store = arg;
    (void)events;
    pthread_mutex_lock(&store->mutex);
    if (store->closes) {
        bool closed = store->closed;
        pthread_mutex_unlock(&store->mutex);
        if (closed)
            closed_on_loop(store);
        return;
    }
    bool finished = store->finished;
    store->finished = false;
    int result = store->result;
    if (finished && result < 0 && !store->failed) /* else the first says more */
        store->base.error = store->result_text;
    pthread_mutex_unlock(&store->mutex);
    if (!finished)
        return;
    SY_ASSERT(store->in_flight);
    struct rocks_batch *batch = sy_take(store->in_flight);
    rocks_batch_free(&batch->base);
    if (result == -EUCLEAN)
        result = -EIO;
    if (result < 0)
        store->failed = result;
    cp_store_committed(&store->base, result);
}

static void rocks_commit(struct cp_store *base, struct cp_batch *batch)
{
    struct rocks_store *store = (struct rocks_store *)base;
    SY_ASSERT(!store->in_flight);
    store->in_flight = (struct rocks_batch *)batch;
    pthread_mutex_lock(&store->mutex);
    if (store->failed) {
        store->result = store->failed;
        store->finished = true;
    } else {
        store->job = store->in_flight->writes;
    }
    pthread_mutex_unlock(&store->mutex);
    if (!store->failed) {
        pthread_cond_signal(&store->wake); /* inside, the committer would wake to a held mutex */
    } else {
        uint64_t one = 1;
        ssize_t n = write(store->io.fd, &one, sizeof(one));
        SY_ASSERT(n == sizeof(one));
    }
}

/* ---- batches ---- */

static struct cp_batch *rocks_batch_new(struct cp_store *base)
{
    struct rocks_store *store = (struct rocks_store *)base;
    for (unsigned i = 0; i < SPARE_BATCHES; i++) {
        if (store->spare[i])
            return &sy_take(store->spare[i])->base;
    }
    struct rocks_batch *batch = sy_new(struct rocks_batch);
    batch->base.ops = base->ops;
    batch->store = store;
    batch->writes = rocksdb_writebatch_create();
    return &batch->base;
}

static void rocks_batch_put(struct cp_batch *base, enum cp_family family, struct sy_span key,
                            struct sy_span value)
{
    struct rocks_batch *batch = (struct rocks_batch *)base;
    rocksdb_writebatch_put_cf(batch->writes, batch->store->families[family], (const char *)key.data,
                              key.len, value.len ? (const char *)value.data : "", value.len);
}

static void rocks_batch_delete(struct cp_batch *base, enum cp_family family, struct sy_span key)
{
    struct rocks_batch *batch = (struct rocks_batch *)base;
    rocksdb_writebatch_delete_cf(batch->writes, batch->store->families[family],
                                 (const char *)key.data, key.len);
}

/* ---- reads ---- */

static int rocks_get(struct cp_store *base, enum cp_family family, struct sy_span key,
                     struct sy_buf *ret_value)
{
    struct rocks_store *store = (struct rocks_store *)base;
    char *failure = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned_cf(
        store->db, store->read, store->families[family], (const char *)key.data, key.len, &failure);
    if (failure) {
        map_error(failure, &base->error);
        return sy_trace(-EIO);
    }
    if (!slice)
        return CP_STORE_E_NOT_FOUND;
    size_t len;
    const char *data = rocksdb_pinnableslice_value(slice, &len);
    sy_buf_clear(ret_value);
    sy_buf_append(ret_value, data, len);
    rocksdb_pinnableslice_destroy(slice);
    return 0;
}

static struct cp_iter *rocks_iter_new(struct cp_store *base, enum cp_family family,
                                      struct sy_span from, struct sy_span to, bool reverse)
{
    struct rocks_store *store = (struct rocks_store *)base;
    struct rocks_iter *iter = sy_calloc(1, sizeof(*iter) + to.len + from.len);
    iter->base.ops = base->ops;
    iter->store = store;
    iter->reverse = reverse;
    iter->read = rocksdb_readoptions_create();
    if (to.len > 0) {
        memcpy(iter->bounds, to.data, to.len);
        rocksdb_readoptions_set_iterate_upper_bound(iter->read, (const char *)iter->bounds, to.len);
    }
    if (from.len > 0) {
        memcpy(iter->bounds + to.len, from.data, from.len);
        rocksdb_readoptions_set_iterate_lower_bound(iter->read, (const char *)iter->bounds + to.len,
                                                    from.len);
    }
    iter->iterator = rocksdb_create_iterator_cf(store->db, iter->read, store->families[family]);
    return &iter->base;
}

/* Late, so that an iterator made for seek_for_prev does not seek twice. */
static void position(struct rocks_iter *iter)
{
    if (iter->positioned)
        return;
    iter->positioned = true;
    if (iter->reverse)
        rocksdb_iter_seek_to_last(iter->iterator);
    else
        rocksdb_iter_seek_to_first(iter->iterator);
}

static bool rocks_iter_valid(struct cp_iter *base)
{
    struct rocks_iter *iter = (struct rocks_iter *)base;
    position(iter);
    return rocksdb_iter_valid(iter->iterator);
}

static void rocks_iter_next(struct cp_iter *base)
{
    struct rocks_iter *iter = (struct rocks_iter *)base;
    position(iter);
    SY_ASSERT(rocksdb_iter_valid(iter->iterator));
    if (iter->reverse)
        rocksdb_iter_prev(iter->iterator);
    else
        rocksdb_iter_next(iter->iterator);
}

static struct sy_span rocks_iter_key(struct cp_iter *base)
{
    struct rocks_iter *iter = (struct rocks_iter *)base;
    position(iter);
    SY_ASSERT(rocksdb_iter_valid(iter->iterator));
    size_t len;
    const char *key = rocksdb_iter_key(iter->iterator, &len);
    return (struct sy_span){(const uint8_t *)key, len};
}

static struct sy_span rocks_iter_value(struct cp_iter *base)
{
    struct rocks_iter *iter = (struct rocks_iter *)base;
    position(iter);
    SY_ASSERT(rocksdb_iter_valid(iter->iterator));
    size_t len;
    const char *value = rocksdb_iter_value(iter->iterator, &len);
    return (struct sy_span){(const uint8_t *)value, len};
}

static int rocks_iter_error(struct cp_iter *base)
{
    struct rocks_iter *iter = (struct rocks_iter *)base;
    char *failure = NULL;
    rocksdb_iter_get_error(iter->iterator, &failure);
    if (!failure)
        return 0;
    map_error(failure, &iter->store->base.error);
    return sy_trace(-EIO);
}

static void rocks_iter_seek_for_prev(struct cp_iter *base, struct sy_span key)
{
    struct rocks_iter *iter = (struct rocks_iter *)base;
    iter->positioned = true;
    rocksdb_iter_seek_for_prev(iter->iterator, (const char *)key.data, key.len);
}

static void rocks_iter_free(struct cp_iter *base)
{
    struct rocks_iter *iter = (struct rocks_iter *)base;
    rocksdb_iter_destroy(iter->iterator);
    rocksdb_readoptions_destroy(iter->read);
    free(iter);
}

/* The statistics come as one text: "rocksdb.wal.bytes COUNT : 123". */
static uint64_t ticker(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

static uint64_t rocks_bytes_written(const struct cp_store *base)
{
    const struct rocks_store *store = (const struct rocks_store *)base;
    char *text = rocksdb_options_statistics_get_string(store->options);
    if (!text)
        return 0;
    uint64_t bytes = ticker(text, "rocksdb.wal.bytes COUNT : ") +
                     ticker(text, "rocksdb.flush.write.bytes COUNT : ") +
                     ticker(text, "rocksdb.compact.write.bytes COUNT : ");
    rocksdb_free(text);
    return bytes;
}

/* ---- for other threads ---- */

static struct cp_store_source *rocks_source(struct cp_store *base)
{
    struct cp_store_source *source = ((struct rocks_store *)base)->source;
    pthread_mutex_lock(&source->mutex);
    source->refs++;
    pthread_mutex_unlock(&source->mutex);
    return source;
}

const char *cp_store_source_path(const struct cp_store_source *source)
{
    return source->path;
}

void cp_store_source_free(struct cp_store_source *source)
{
    if (!source)
        return;
    pthread_mutex_lock(&source->mutex);
    bool last = --source->refs == 0;
    pthread_mutex_unlock(&source->mutex);
    if (!last)
        return;
    pthread_mutex_destroy(&source->mutex);
    free(source);
}

static void open_source(struct rocks_store *store, const char *path)
{
    store->source = sy_new(struct cp_store_source);
    store->source->db = store->db;
    store->source->refs = 1;
    snprintf(store->source->path, sizeof(store->source->path), "%s", path);
    pthread_mutex_init(&store->source->mutex, NULL);
}

static void close_source(struct rocks_store *store)
{
    if (!store->source)
        return;
    pthread_mutex_lock(&store->source->mutex);
    store->source->db = NULL;
    pthread_mutex_unlock(&store->source->mutex);
    cp_store_source_free(store->source);
}

static int make_checkpoint(rocksdb_t *db, const char *path, struct sy_error_text *error)
{
    char *failure = NULL;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(db, &failure);
    if (!failure) {
        rocksdb_checkpoint_create(checkpoint, path, 0, &failure); /* 0: with what is in memory */
        rocksdb_checkpoint_object_destroy(checkpoint);
    }
    if (!failure)
        return 0;
    struct sy_error_text text;
    int r = map_error(failure, &text);
    sy_error_text_set(error, "the checkpoint %s cannot be made (RocksDB: %s)", path, text.text);
    return r == -ENOSPC ? r : -EIO;
}

int cp_store_checkpoint(struct cp_store_source *source, const char *path,
                        struct sy_error_text *error)
{
    if (access(path, F_OK) == 0) {
        sy_error_text_set(error, "%s exists", path);
        return -EEXIST;
    }
    int r = -ECANCELED;
    pthread_mutex_lock(&source->mutex);
    if (source->db)
        r = make_checkpoint(source->db, path, error);
    else
        sy_error_text_set(error, "the store was closed");
    pthread_mutex_unlock(&source->mutex);
    return r;
}

/* ---- open and close ---- */

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
static rocksdb_options_t *database_options(bool may_create, size_t buffer_bytes)
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
    /* Headers only. Debian's RocksDB aborts (sync_without_flush_called_) when it logs again after
     * its log met a full disk, and errors reach us as statuses anyway. */
    rocksdb_options_set_info_log_level(options, 4);
    rocksdb_options_set_keep_log_file_num(options, 2);
    rocksdb_options_set_max_log_file_size(options, 4 * MIB);
    rocksdb_options_set_max_manifest_file_size(options, 16 * MIB);
    rocksdb_options_set_bytes_per_sync(options, 1 * MIB);
    rocksdb_options_enable_statistics(options);
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

struct logs {
    size_t count;
    int64_t bytes;
};

static int sync_log(int directory, const char *name, struct logs *logs)
{
    struct stat st;
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fstat(fd, &st) < 0 || fdatasync(fd) < 0 ? -errno : 0;
    close(fd);
    logs->count++;
    logs->bytes += r == 0 ? st.st_size : 0;
    return r;
}

/* What is read from them is shown, so it must not be lost afterwards: the process that wrote it may
 * have been killed before its sync. */
static int sync_logs(const char *path, struct logs *ret_logs, struct sy_error_text *error)
{
    *ret_logs = (struct logs){0};
    DIR *directory = opendir(path);
    int r = directory ? 0 : -errno;
    for (struct dirent *entry; directory && r == 0 && (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".log") == 0)
            r = sync_log(dirfd(directory), entry->d_name, ret_logs);
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

static int open_database(struct rocks_store *store, size_t memory_bytes,
                         struct sy_error_text *error)
{
    size_t cache_bytes = memory_bytes / 5;
    const char *names[CP_FAMILIES];
    const char *path = cp_dirs_path(store->dirs);
    struct logs logs;
    int s = sync_logs(path, &logs, error);
    if (s < 0)
        return s;
    store->options = without_flush(
        database_options(cp_dirs_empty(store->dirs), memory_bytes - cache_bytes));
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
        int r = map_error(failure, &text);
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
    if (logs.bytes > (int64_t)OPEN_LOG_BYTES_MAX || logs.count > OPEN_LOGS_MAX)
        flush_later(store);
    return 0;
}

static int start_committer(struct rocks_store *store)
{
    store->io.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (store->io.fd < 0)
        return sy_trace(-errno);
    store->io.events = EPOLLIN | EPOLLET; /* never read: each write wakes once */
    store->io.fn = on_finished;
    store->io.arg = store;
    int r = sy_io_add(store->base.loop, &store->io);
    if (r < 0)
        goto close_fd;
    r = -pthread_create(&store->thread, NULL, committer, store);
    if (r < 0)
        goto remove_io;
    store->started = true;
    return 0;
remove_io:
    sy_io_remove(store->base.loop, &store->io);
close_fd:
    close(store->io.fd);
    store->io.fd = -1;
    return sy_trace(r);
}

static void stop_committer(struct rocks_store *store)
{
    if (!store->started)
        return;
    pthread_mutex_lock(&store->mutex);
    store->stopping = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->mutex);
    pthread_join(store->thread, NULL);
    sy_io_remove(store->base.loop, &store->io);
    close(store->io.fd);
}

static void close_database(struct rocks_store *store)
{
    if (store->db) {
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

/* Waits for who copies it (source), and for what RocksDB has begun. */
static void close_files(struct rocks_store *store)
{
    bool opened = store->db != NULL;
    close_source(store);
    close_database(store);
    if (opened)
        cp_dirs_closed(store->dirs);
}

static bool rocks_close_begin(struct cp_store *base)
{
    struct rocks_store *store = (struct rocks_store *)base;
    pthread_mutex_lock(&store->mutex);
    store->closes = store->stopping = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->mutex);
    return false;
}

static void rocks_close(struct cp_store *base)
{
    struct rocks_store *store = (struct rocks_store *)base;
    stop_committer(store);
    if (!store->closed)
        close_files(store);
    if (store->in_flight) {
        rocksdb_writebatch_destroy(store->in_flight->writes);
        free(store->in_flight);
    }
    for (unsigned i = 0; i < SPARE_BATCHES; i++) {
        if (store->spare[i]) {
            rocksdb_writebatch_destroy(store->spare[i]->writes);
            free(store->spare[i]);
        }
    }
    cp_dirs_free(store->dirs);
    pthread_cond_destroy(&store->wake);
    pthread_mutex_destroy(&store->mutex);
    free(store);
}

static const struct cp_store_ops rocks_ops = {
    .close = rocks_close,
    .close_begin = rocks_close_begin,
    .batch_new = rocks_batch_new,
    .batch_free = rocks_batch_free,
    .batch_put = rocks_batch_put,
    .batch_delete = rocks_batch_delete,
    .commit = rocks_commit,
    .get = rocks_get,
    .iter_new = rocks_iter_new,
    .iter_valid = rocks_iter_valid,
    .iter_next = rocks_iter_next,
    .iter_key = rocks_iter_key,
    .iter_value = rocks_iter_value,
    .iter_error = rocks_iter_error,
    .iter_seek_for_prev = rocks_iter_seek_for_prev,
    .iter_free = rocks_iter_free,
    .source = rocks_source,
    .bytes_written = rocks_bytes_written,
};

int cp_store_rocksdb_open(struct cp_store **ret_store, const char *path, uint32_t epoch,
                          struct sy_loop *loop, uint32_t *ret_epoch, struct sy_error_text *error)
{
    return cp_store_rocksdb_open_within(ret_store, path, epoch, CP_STORE_MEMORY_MAX, loop,
                                        ret_epoch, error);
}

int cp_store_rocksdb_open_within(struct cp_store **ret_store, const char *path, uint32_t epoch,
                                 size_t memory_bytes, struct sy_loop *loop, uint32_t *ret_epoch,
                                 struct sy_error_text *error)
{
    SY_ASSERT(memory_bytes >= CP_STORE_MEMORY_MIN && memory_bytes <= CP_STORE_MEMORY_MAX);
    struct cp_dirs_options options = {
        .path = path, .epoch = epoch, .kind = kind_of, .lock = "LOCK"};
    struct cp_dirs *dirs;
    int r = cp_dirs_take(&dirs, &options, ret_epoch, error);
    if (r != 0)
        return r == CP_DIRS_E_NEWER ? CP_STORE_E_NEWER : r;
    struct rocks_store *store = sy_new(struct rocks_store);
    store->base.ops = &rocks_ops;
    store->base.loop = loop;
    store->dirs = dirs;
    store->io.fd = -1;
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->wake, NULL);
    r = open_database(store, memory_bytes, error);
    if (r == 0) {
        r = start_committer(store);
        if (r < 0)
            sy_error_text_set(error, "the database %s has no committer: %s", path, strerror(-r));
    }
    if (r < 0) {
        rocks_close(&store->base);
        return r;
    }
    open_source(store, path);
    cp_dirs_opened(dirs);
    *ret_store = &store->base;
    return 0;
}
