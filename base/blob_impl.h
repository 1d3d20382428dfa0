/*
 * What blob storage's adapters share. Nobody else includes this header, but for tests that need a
 * store which fails when they say so.
 *
 * blob.c checks URIs and cuts them down to keys; an adapter sees keys only. Every operation becomes
 * a struct sy_blob_op, which is in the store's list until its callback has run.
 */
#pragma once

#include "base/blob.h"

enum sy_blob_kind {
    SY_BLOB_GET,
    SY_BLOB_PUT,
    SY_BLOB_PUT_FILE,
    SY_BLOB_GET_FILE,
    SY_BLOB_STAT,
};

struct sy_blob_op {
    struct sy_blobs *blobs;
    enum sy_blob_kind kind;
    char *key;  /* below the root; NULL: refused */
    char *path; /* of the local file; NULL */
    uint64_t bytes_max;
    struct sy_buf bytes; /* to put; what was got */
    uint64_t size;
    int r;
    struct sy_error_text error;
    union {
        sy_blob_fn done;
        sy_blob_get_fn got;
        sy_blob_stat_fn stated;
    } fn;
    void *ctx;
    struct sy_timer timer; /* ends it in a later turn */
    void *adapter;         /* its own */
    struct sy_blob_op *next, *previous;
};

struct sy_blob_adapter {
    /* Starts the operation; ends it with sy_blob_op_done(), also from within. */
    void (*start)(void *ctx, struct sy_blob_op *op);
    /* The operation is about to be freed; `adapter` is not NULL. */
    void (*cancel)(void *ctx, struct sy_blob_op *op);
    void (*free)(void *ctx);
};

/* Sets the result; the callback runs in a later turn. For r < 0, `error` is set unless it has a
 * text. */
void sy_blob_op_done(struct sy_blob_op *op, int r);

/* blob_file.c; NULL is never returned. */
int sy_blob_file_new(void **ret_ctx, const char *root, struct sy_error_text *error) SY_MUST_USE;
extern const struct sy_blob_adapter sy_blob_file_adapter;
/* blob_s3.c; `bucket` and `prefix` of the root are cut out of it there. */
int sy_blob_s3_new(void **ret_ctx, struct sy_loop *loop, const struct sy_blob_options *options,
                   struct sy_error_text *error) SY_MUST_USE;
extern const struct sy_blob_adapter sy_blob_s3_adapter;

/* A store round an adapter. Takes ctx. */
struct sy_blobs *sy_blobs_with(struct sy_loop *loop, const char *root,
                               const struct sy_blob_adapter *adapter, void *ctx);
