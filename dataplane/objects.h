/*
 * The cluster's object store: ObjectStore.PutObject and GetObject over files named by content,
 * DIR/ab/cdef..., where abcdef... is the lower-case hex XXH3-128 of the object.
 *
 * An upload goes to DIR/uploads/N, chunk by chunk; with the last one its digest is checked, the
 * file synced and renamed. So an object is there whole or not at all, and the same object twice is
 * one file. Uploads that nobody goes on with are removed after a while, and all of them at the
 * start.
 *
 * Everything, file calls too, runs on `loop`, which may be a thread's own: they block.
 * Digests and cluster names are checked before they become part of a path.
 */
#pragma once

#include "dataplane/gate.h"

struct dp_objects;

#define DP_DIGEST_LEN 32
#define DP_CHUNK_BYTES ((size_t)1 << 20)
#define DP_UPLOADS_MAX 1024

struct dp_objects_options {
    const char *dir;
    const char *cluster; /* of the uris: sy://CLUSTER/DIGEST */
    int64_t object_bytes_max;
    int64_t upload_idle_ns;     /* 0 = 10 min */
    const struct dp_gate *gate; /* of uploads */
    struct sy_loop *loop;
    struct sy_log *log;
};

/* Makes the directory when it is missing; errors of the file system with a sentence. */
int dp_objects_new(struct dp_objects **ret_objects, const struct dp_objects_options *options,
                   struct sy_error_text *error) SY_MUST_USE;
/* Calls under way break off. */
void dp_objects_free(struct dp_objects *objects);
/* Adds the service's methods. */
void dp_objects_serve(struct dp_objects *objects, struct sy_server *server);

/* Exactly 32 digits 0-9a-f. */
bool dp_digest_valid(const char *digest);
