/*
 * The files of the object store; objects.c serves them. One thread.
 */
#pragma once

#include "base/log.h"
#include "base/rpc.h"
#include "dataplane/objects.h"

struct dp_store;

struct dp_put {
    struct sy_span upload, data, digest;
    uint64_t offset;
    bool last;
};

/* Opens or makes the directory, and removes what earlier uploads left behind. */
int dp_store_open(struct dp_store **ret_store, const char *dir, int64_t object_bytes_max,
                  struct sy_error_text *error) SY_MUST_USE;
/* Uploads under way are removed. */
void dp_store_close(struct dp_store *store);
/* One chunk. SY_CODE_OK, with the digest of the finished object in ret_digest when it was the last
 * one ("" otherwise), or why not, in a sentence. A refused upload is removed, but for a wrong
 * offset, after which the client may go on. ret_failed: the file system's errno, when that was why.
 */
enum sy_code dp_store_put(struct dp_store *store, const struct dp_put *put, int64_t now_ns,
                          char ret_digest[DP_DIGEST_LEN + 1], int *ret_errno,
                          struct sy_error_text *error) SY_MUST_USE;
/* Removes uploads that nobody went on with since `before_ns`; how many. */
size_t dp_store_sweep(struct dp_store *store, int64_t before_ns);
size_t dp_store_uploads(const struct dp_store *store);
/* -ENOENT, or another error of open(2). `digest` is valid. The caller closes *ret_fd. */
int dp_store_get(struct dp_store *store, const char *digest, int *ret_fd,
                 uint64_t *ret_size) SY_MUST_USE;
