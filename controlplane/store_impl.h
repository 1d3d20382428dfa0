/*
 * What the adapters of controlplane/store.h share: the vtable through which store.c reaches them,
 * and the first members of their objects. Nobody else includes this header.
 */
#pragma once

#include "controlplane/store.h"

struct cp_store_ops {
    void (*close)(struct cp_store *store);
    bool (*close_begin)(struct cp_store *store); /* false: calls cp_store_closed() */
    struct cp_batch *(*batch_new)(struct cp_store *store);
    void (*batch_free)(struct cp_batch *batch);
    void (*batch_put)(struct cp_batch *batch, enum cp_family family, struct sy_span key,
                      struct sy_span value);
    void (*batch_delete)(struct cp_batch *batch, enum cp_family family, struct sy_span key);
    /* Calls cp_store_committed() in a later turn. */
    void (*commit)(struct cp_store *store, struct cp_batch *batch);
    int (*get)(struct cp_store *store, enum cp_family family, struct sy_span key,
               struct sy_buf *ret_value);
    struct cp_iter *(*iter_new)(struct cp_store *store, enum cp_family family, struct sy_span from,
                                struct sy_span to, bool reverse);
    bool (*iter_valid)(struct cp_iter *iter);
    void (*iter_next)(struct cp_iter *iter);
    struct sy_span (*iter_key)(struct cp_iter *iter);
    struct sy_span (*iter_value)(struct cp_iter *iter);
    int (*iter_error)(struct cp_iter *iter);
    void (*iter_seek_for_prev)(struct cp_iter *iter, struct sy_span key);
    void (*iter_free)(struct cp_iter *iter);
    struct cp_store_source *(*source)(struct cp_store *store); /* NULL: none */
    uint64_t (*bytes_written)(const struct cp_store *store);
    uint64_t (*position)(const struct cp_store *store);
    struct sy_span (*batch_data)(const struct cp_batch *batch);
    struct cp_batch *(*batch_read)(struct cp_store *store, struct sy_span data); /* with count */
    void (*hold)(struct cp_store *store);
    void (*show)(struct cp_store *store);
    struct cp_log_reader *(*log_reader_new)(struct cp_store *store, uint64_t after);
    int (*log_reader_next)(struct cp_log_reader *reader, uint64_t limit, size_t bytes_max,
                           struct sy_buf *ret_data, uint64_t *ret_upto);
    void (*log_reader_free)(struct cp_log_reader *reader);
    void (*dump)(const struct cp_store *store, struct sy_buf *buf); /* NULL: by a checkpoint */
};

struct cp_store {
    const struct cp_store_ops *ops;
    struct sy_loop *loop;
    /* Of the commit in flight. */
    void (*done)(void *ctx, int error);
    void *ctx;
    /* Of the closing. */
    sy_fn closed;
    void *closed_ctx;
    bool committing, closing;
    struct sy_error_text error; /* of what failed last; "" = nothing */
};

struct cp_batch {
    const struct cp_store_ops *ops;
    size_t count, bytes;
};

struct cp_iter {
    const struct cp_store_ops *ops;
};

struct cp_log_reader {
    const struct cp_store_ops *ops;
};

/* What cp_store_close_begin() began has ended, on the loop: the adapter has kept nothing of it but
 * `base`, a copy. */
void cp_store_closed(const struct cp_store *base);
/* The commit in flight has ended, on the loop. `done` may close the store: touch it no more. */
void cp_store_committed(struct cp_store *store, int error);
