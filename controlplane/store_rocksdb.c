/*
 * The RocksDB store (written for 7.8.3). With store_backup.c its files are the only ones that know
 * RocksDB.
 *
 * One committer thread writes and syncs one batch at a time: measured, that beats many writers
 * ninefold. It tells the loop through an edge-triggered eventfd, which leaves nothing behind in
 * the loop's inbox when the store is closed.
 *
 * A write error is for good: RocksDB refuses every later write and its C API has no Resume().
 */
#include "controlplane/store_rocksdb_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

int cp_rocks_error(char *text, struct sy_error_text *ret_text)
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
    int result = failure ? cp_rocks_error(failure, &text) : 0;
    pthread_mutex_lock(&store->mutex);
    store->result = result;
    store->result_text = text;
    store->finished = true;
    pthread_mutex_unlock(&store->mutex);
    uint64_t one = 1;
    ssize_t n = write(store->io.fd, &one, sizeof(one));
    SY_ASSERT(n == sizeof(one)); /* the counter takes 2^64 commits to fill */
}

static void close_and_tell(struct rocks_store *store)
{
    cp_rocks_close(store);
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
    for (unsigned i = 0; i < ROCKS_SPARE_BATCHES; i++) {
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
    for (unsigned i = 0; i < ROCKS_SPARE_BATCHES; i++) {
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

static struct sy_span rocks_batch_data(const struct cp_batch *base)
{
    const struct rocks_batch *batch = (const struct rocks_batch *)base;
    size_t len;
    const char *data = rocksdb_writebatch_data(batch->writes, &len);
    return (struct sy_span){(const uint8_t *)data, len};
}

/* What is wrong inside is found by the commit, which fails. */
static struct cp_batch *rocks_batch_read(struct cp_store *base, struct sy_span data)
{
    if (data.len < ROCKS_BATCH_HEADER)
        return NULL;
    struct rocks_batch *batch = sy_new(struct rocks_batch);
    batch->base.ops = base->ops;
    batch->store = (struct rocks_store *)base;
    batch->writes = rocksdb_writebatch_create_from((const char *)data.data, data.len);
    batch->base.count = (size_t)rocksdb_writebatch_count(batch->writes);
    return &batch->base;
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
        cp_rocks_error(failure, &base->error);
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
    rocksdb_readoptions_set_snapshot(iter->read, store->held);
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
    cp_rocks_error(failure, &iter->store->base.error);
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

static struct cp_store_source *rocks_source(struct cp_store *base)
{
    return cp_rocks_source_ref(((struct rocks_store *)base)->source);
}

/* ---- open and close ---- */

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
        cp_rocks_close(store);
    if (store->in_flight) {
        rocksdb_writebatch_destroy(store->in_flight->writes);
        free(store->in_flight);
    }
    for (unsigned i = 0; i < ROCKS_SPARE_BATCHES; i++) {
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
    .position = cp_rocks_position,
    .batch_data = rocks_batch_data,
    .batch_read = rocks_batch_read,
    .hold = cp_rocks_hold,
    .show = cp_rocks_show,
    .log_reader_new = cp_rocks_log_reader_new,
    .log_reader_next = cp_rocks_log_reader_next,
    .log_reader_free = cp_rocks_log_reader_free,
};

static int open_store(struct cp_store **ret_store, const char *path, uint32_t epoch,
                      size_t memory_bytes, bool logged, struct sy_loop *loop, uint32_t *ret_epoch,
                      struct sy_error_text *error)
{
    SY_ASSERT(memory_bytes >= CP_STORE_MEMORY_MIN && memory_bytes <= CP_STORE_MEMORY_MAX);
    struct rocks_store *store = sy_new(struct rocks_store);
    store->base.ops = &rocks_ops;
    store->base.loop = loop;
    store->io.fd = -1;
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->wake, NULL);
    int r = cp_rocks_open(store, path, epoch, memory_bytes, logged, ret_epoch, error);
    if (r == 0) {
        r = start_committer(store);
        if (r < 0)
            sy_error_text_set(error, "the database %s has no committer: %s", path, strerror(-r));
    }
    if (r != 0) {
        rocks_close(&store->base);
        return r;
    }
    store->source = cp_rocks_source_new(store->db, path);
    cp_dirs_opened(store->dirs);
    *ret_store = &store->base;
    return 0;
}

int cp_store_rocksdb_open(struct cp_store **ret_store, const char *path, uint32_t epoch,
                          struct sy_loop *loop, uint32_t *ret_epoch, struct sy_error_text *error)
{
    return open_store(ret_store, path, epoch, CP_STORE_MEMORY_MAX, false, loop, ret_epoch, error);
}

int cp_store_rocksdb_open_within(struct cp_store **ret_store, const char *path, uint32_t epoch,
                                 size_t memory_bytes, struct sy_loop *loop, uint32_t *ret_epoch,
                                 struct sy_error_text *error)
{
    return open_store(ret_store, path, epoch, memory_bytes, false, loop, ret_epoch, error);
}

int cp_store_rocksdb_open_logged(struct cp_store **ret_store, const char *path, uint32_t epoch,
                                 size_t memory_bytes, struct sy_loop *loop, uint32_t *ret_epoch,
                                 struct sy_error_text *error)
{
    return open_store(ret_store, path, epoch, memory_bytes, true, loop, ret_epoch, error);
}
