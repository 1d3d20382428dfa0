/*
 * Blob storage: named byte strings in a directory or behind an S3-compatible endpoint. Two
 * adapters, blob_file.c and blob_s3.c (libcurl, AWS signature version 4), one contract test.
 *
 * A blob's name is its URI: "/store/dir/key" (a plain path, as Python's fsspec wants it) or
 * "s3://bucket/prefix/key". URIs outside of the store's root, and keys with "..", "." or empty
 * parts, are refused with -EINVAL before anything is touched.
 *
 * Threads: all functions and callbacks on the loop that was given. Callbacks run exactly once,
 * never inside the call. The file adapter does small operations in place and reports in a later
 * turn.
 *
 * Errors: 0, -ENOENT, -EINVAL (URI), -EFBIG (above the limit), -ENOSPC, -EACCES, -ETIMEDOUT, -EIO;
 * each with a sentence (NULL for 0). S3's transient answers (5xx, 429, broken connections) are
 * tried again, three times, with jittered back-off.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct sy_blob_options {                 /* strings are copied */
    const char *root;                    /* "/dir" or "s3://bucket/prefix" */
    const char *endpoint;                /* S3: "http://127.0.0.1:9000"; NULL or "": AWS */
    const char *region;                  /* S3: default "us-east-1" */
    const char *access_key, *secret_key; /* S3 */
    bool path_style;                     /* S3: bucket in the path, not in the host name */
};

struct sy_blobs;

/* Makes the directory when it lacks. -EINVAL with a sentence for a root that is neither. */
int sy_blobs_new(struct sy_blobs **ret, struct sy_loop *loop, const struct sy_blob_options *options,
                 struct sy_error_text *error) SY_MUST_USE;
/* Callbacks that are due do not run any more. */
void sy_blobs_free(struct sy_blobs *blobs);
const char *sy_blobs_root(const struct sy_blobs *blobs); /* without a trailing slash */
/* Whether `uri` names something below the root. */
bool sy_blobs_owns(const struct sy_blobs *blobs, const char *uri);
/* What follows the root and a slash, borrowed from `uri`; NULL when it is not owned. */
const char *sy_blobs_key(const struct sy_blobs *blobs, const char *uri);
/* Parts between slashes, none of them empty, "." or "..", without control characters; 1 KiB. */
bool sy_blob_key_valid(const char *key);

typedef void (*sy_blob_fn)(void *ctx, int r, const struct sy_error_text *error);
typedef void (*sy_blob_get_fn)(void *ctx, int r, struct sy_span bytes,
                               const struct sy_error_text *error);
typedef void (*sy_blob_stat_fn)(void *ctx, int r, uint64_t size, const struct sy_error_text *error);

void sy_blob_get(struct sy_blobs *blobs, const char *uri, size_t bytes_max, sy_blob_get_fn done,
                 void *ctx);
/* Takes the bytes, which replace what was there. A reader sees all of it or nothing; durable when
 * it is done. */
void sy_blob_put(struct sy_blobs *blobs, const char *uri, struct sy_buf *bytes, sy_blob_fn done,
                 void *ctx);
/* From and to a local file, for what is too large for memory. The file is moved (file adapter, same
 * file system) or sent; when it is done it is gone, when it failed it stays. */
void sy_blob_put_file(struct sy_blobs *blobs, const char *uri, const char *path, sy_blob_fn done,
                      void *ctx);
void sy_blob_get_file(struct sy_blobs *blobs, const char *uri, const char *path, uint64_t bytes_max,
                      sy_blob_fn done, void *ctx);
void sy_blob_stat(struct sy_blobs *blobs, const char *uri, sy_blob_stat_fn done, void *ctx);
