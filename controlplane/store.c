#include "controlplane/store.h"

#include "controlplane/store_impl.h"

/* What RocksDB adds to each record, about: type, family, lengths. */
#define RECORD_OVERHEAD_BYTES 8

void cp_store_close(struct cp_store *store)
{
    if (store)
        store->ops->close(store);
}

bool cp_store_close_begin(struct cp_store *store, sy_fn done, void *ctx)
{
    SY_ASSERT(!store->closing && done);
    store->closing = true;
    store->closed = done;
    store->closed_ctx = ctx;
    return store->ops->close_begin(store);
}

void cp_store_closed(const struct cp_store *base)
{
    SY_ASSERT(base->closing);
    base->closed(base->closed_ctx);
}

const char *cp_store_error(const struct cp_store *store)
{
    return store->error.text;
}

struct cp_batch *cp_batch_new(struct cp_store *store)
{
    struct cp_batch *batch = store->ops->batch_new(store);
    SY_ASSERT(batch->ops == store->ops);
    SY_ASSERT(batch->count == 0);
    return batch;
}

void cp_batch_free(struct cp_batch *batch)
{
    if (batch)
        batch->ops->batch_free(batch);
}

void cp_batch_put(struct cp_batch *batch, enum cp_family family, struct sy_span key,
                  struct sy_span value)
{
    SY_ASSERT(family < CP_FAMILIES);
    SY_ASSERT(key.len > 0);
    batch->count++;
    batch->bytes += key.len + value.len + RECORD_OVERHEAD_BYTES;
    batch->ops->batch_put(batch, family, key, value);
}

void cp_batch_delete(struct cp_batch *batch, enum cp_family family, struct sy_span key)
{
    SY_ASSERT(family < CP_FAMILIES);
    SY_ASSERT(key.len > 0);
    batch->count++;
    batch->bytes += key.len + RECORD_OVERHEAD_BYTES;
    batch->ops->batch_delete(batch, family, key);
}

size_t cp_batch_count(const struct cp_batch *batch)
{
    return batch->count;
}

size_t cp_batch_bytes(const struct cp_batch *batch)
{
    return batch->bytes;
}

void cp_store_commit(struct cp_store *store, struct cp_batch *batch,
                     void (*done)(void *ctx, int error), void *ctx)
{
    SY_ASSERT(!store->committing);
    SY_ASSERT(batch->ops == store->ops);
    SY_ASSERT(done);
    store->committing = true;
    store->done = done;
    store->ctx = ctx;
    store->ops->commit(store, batch);
}

void cp_store_committed(struct cp_store *store, int error)
{
    SY_ASSERT(store->committing);
    SY_ASSERT(error <= 0);
    store->committing = false;
    store->done(store->ctx, error);
}

bool cp_store_committing(const struct cp_store *store)
{
    return store->committing;
}

int cp_store_get(struct cp_store *store, enum cp_family family, struct sy_span key,
                 struct sy_buf *ret_value)
{
    SY_ASSERT(family < CP_FAMILIES);
    return store->ops->get(store, family, key, ret_value);
}

struct cp_iter *cp_iter_new(struct cp_store *store, enum cp_family family, struct sy_span from,
                            struct sy_span to, bool reverse)
{
    SY_ASSERT(family < CP_FAMILIES);
    return store->ops->iter_new(store, family, from, to, reverse);
}

bool cp_iter_valid(struct cp_iter *iter)
{
    return iter->ops->iter_valid(iter);
}

void cp_iter_next(struct cp_iter *iter)
{
    iter->ops->iter_next(iter);
}

struct sy_span cp_iter_key(struct cp_iter *iter)
{
    return iter->ops->iter_key(iter);
}

struct sy_span cp_iter_value(struct cp_iter *iter)
{
    return iter->ops->iter_value(iter);
}

int cp_iter_error(struct cp_iter *iter)
{
    return iter->ops->iter_error(iter);
}

void cp_iter_seek_for_prev(struct cp_iter *iter, struct sy_span key)
{
    iter->ops->iter_seek_for_prev(iter, key);
}

void cp_iter_free(struct cp_iter *iter)
{
    if (iter)
        iter->ops->iter_free(iter);
}

struct cp_store_source *cp_store_source(struct cp_store *store)
{
    return store->ops->source != NULL ? store->ops->source(store) : NULL;
}

uint64_t cp_store_bytes_written(const struct cp_store *store)
{
    return store->ops->bytes_written(store);
}

uint64_t cp_store_position(const struct cp_store *store)
{
    SY_ASSERT(!store->committing);
    return store->ops->position(store);
}

struct sy_span cp_batch_data(const struct cp_batch *batch)
{
    return batch->ops->batch_data(batch);
}

struct cp_batch *cp_batch_read(struct cp_store *store, struct sy_span data)
{
    struct cp_batch *batch = store->ops->batch_read(store, data);
    if (batch != NULL)
        batch->bytes = data.len;
    return batch;
}

void cp_store_hold(struct cp_store *store)
{
    store->ops->hold(store);
}

void cp_store_show(struct cp_store *store)
{
    store->ops->show(store);
}

struct cp_log_reader *cp_log_reader_new(struct cp_store *store, uint64_t after)
{
    return store->ops->log_reader_new(store, after);
}

int cp_log_reader_next(struct cp_log_reader *reader, uint64_t limit, size_t bytes_max,
                       struct sy_buf *ret_data, uint64_t *ret_upto)
{
    return reader->ops->log_reader_next(reader, limit, bytes_max, ret_data, ret_upto);
}

void cp_log_reader_free(struct cp_log_reader *reader)
{
    if (reader)
        reader->ops->log_reader_free(reader);
}
