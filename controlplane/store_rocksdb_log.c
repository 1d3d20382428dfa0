/* The log of the RocksDB store, for its copies on other shards. On the loop. */
#include "controlplane/store_rocksdb_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    struct cp_log_reader base;
    struct rocks_store *store;
    rocksdb_wal_iterator_t *iterator;
    uint64_t after;
};

uint64_t cp_rocks_position(const struct cp_store *store)
{
    return rocksdb_get_latest_sequence_number(((const struct rocks_store *)store)->db);
}

/* ---- what reads see ---- */

void cp_rocks_show(struct cp_store *base)
{
    struct rocks_store *store = (struct rocks_store *)base;
    if (store->held == NULL)
        return;
    rocksdb_readoptions_set_snapshot(store->read, NULL);
    rocksdb_release_snapshot(store->db, store->held);
    store->held = NULL;
}

void cp_rocks_hold(struct cp_store *base)
{
    struct rocks_store *store = (struct rocks_store *)base;
    if (store->held != NULL)
        return;
    store->held = rocksdb_create_snapshot(store->db);
    rocksdb_readoptions_set_snapshot(store->read, store->held);
}

/* ---- reading ---- */

/* An iterator gives no error when the log does not reach back: it begins with what there is. */
struct cp_log_reader *cp_rocks_log_reader_new(struct cp_store *base, uint64_t after)
{
    struct rocks_store *store = (struct rocks_store *)base;
    char *failure = NULL;
    if (after >= rocksdb_get_latest_sequence_number(store->db))
        return NULL;
    rocksdb_wal_iterator_t *iterator = rocksdb_get_updates_since(store->db, after + 1, NULL,
                                                                 &failure);
    uint64_t first = 0;
    if (failure == NULL && rocksdb_wal_iter_valid(iterator))
        rocksdb_writebatch_destroy(rocksdb_wal_iter_get_batch(iterator, &first));
    rocksdb_free(failure);
    if (first != after + 1) {
        if (iterator != NULL)
            rocksdb_wal_iter_destroy(iterator);
        return NULL;
    }
    rocksdb_wal_iter_destroy(iterator); /* a batch can be taken from it only once */
    iterator = rocksdb_get_updates_since(store->db, after + 1, NULL, &failure);
    rocksdb_free(failure);
    if (iterator == NULL)
        return NULL;
    struct reader *reader = sy_new(struct reader);
    *reader = (struct reader){
        .base.ops = base->ops, .store = store, .iterator = iterator, .after = after};
    return &reader->base;
}

/* Batches one after another are one: a header, then the records of all. */
static void add(struct sy_buf *data, rocksdb_writebatch_t *batch)
{
    size_t len;
    const char *bytes = rocksdb_writebatch_data(batch, &len);
    SY_ASSERT(len >= ROCKS_BATCH_HEADER);
    size_t skip = data->len > 0 ? ROCKS_BATCH_HEADER : 0;
    uint32_t count = (uint32_t)rocksdb_writebatch_count(batch), before = 0;
    sy_buf_append(data, bytes + skip, len - skip);
    uint8_t *at = data->data + ROCKS_BATCH_HEADER - sizeof(count);
    if (skip > 0)
        memcpy(&before, at, sizeof(before));
    count += before;
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "as RocksDB writes it");
    memcpy(at, &count, sizeof(count));
}

static int read_error(struct reader *reader)
{
    char *failure = NULL;
    rocksdb_wal_iter_status(reader->iterator, &failure);
    if (failure == NULL)
        return CP_STORE_E_NOT_FOUND;
    cp_rocks_error(failure, &reader->store->base.error);
    return -EIO;
}

int cp_rocks_log_reader_next(struct cp_log_reader *base, uint64_t limit, size_t bytes_max,
                             struct sy_buf *ret_data, uint64_t *ret_upto)
{
    struct reader *reader = (struct reader *)base;
    sy_buf_clear(ret_data);
    while (reader->after < limit && ret_data->len < bytes_max &&
           rocksdb_wal_iter_valid(reader->iterator)) {
        uint64_t first;
        rocksdb_writebatch_t *batch = rocksdb_wal_iter_get_batch(reader->iterator, &first);
        uint64_t last = first + (uint64_t)rocksdb_writebatch_count(batch) - 1;
        bool follows = first == reader->after + 1 && last <= limit;
        if (follows) {
            add(ret_data, batch);
            reader->after = last;
        }
        rocksdb_writebatch_destroy(batch);
        if (!follows)
            return -EIO;
        rocksdb_wal_iter_next(reader->iterator);
    }
    *ret_upto = reader->after;
    return ret_data->len > 0 ? 0 : read_error(reader);
}

void cp_rocks_log_reader_free(struct cp_log_reader *base)
{
    struct reader *reader = (struct reader *)base;
    rocksdb_wal_iter_destroy(reader->iterator);
    free(reader);
}
