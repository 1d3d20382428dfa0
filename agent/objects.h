/*
 * The cluster's object store, seen from a node: outputs that are too large to travel inline go up
 * in chunks of 1 MiB; inputs given by uri come down into a cache of files, bounded in bytes, the
 * least recently used going first. Objects are named by their content (XXH3-128), which is checked
 * both ways.
 *
 * Transfers are repeated while the store cannot be reached. On the agent's loop.
 */
#pragma once

#include "base/bearer.h"
#include "base/log.h"

#include <stdbool.h>

struct ag_objects;
struct ag_object_transfer;

struct ag_objects_options {
    const char *target;       /* of the operator */
    struct sy_bearer bearer;  /* for it; borrowed; zeroed: none */
    const char *cache_dir;    /* made at the start; what an earlier agent fetched is used again */
    int64_t cache_bytes_max;  /* default 10 GiB */
    int64_t object_bytes_max; /* default 1 GiB */
    unsigned transfers_max;   /* at a time; default 8 */
};

/* `text` is the uri (upload) or the path (download); on failure NULL, and error says why; `final`:
 * another try elsewhere would not help (too large, no such object). The transfer is over: its
 * pointer is dead. */
typedef void (*ag_object_fn)(void *ctx, const char *text, const struct sy_error_text *error,
                             bool final);

int ag_objects_new(struct ag_objects **ret_objects, struct sy_rpc *rpc, struct sy_loop *loop,
                   const struct ag_objects_options *options, uint64_t seed, struct sy_log *log,
                   struct sy_error_text *error) SY_MUST_USE;
void ag_objects_free(struct ag_objects *objects);
/* Another operator is the active one: calls go there from now on. */
void ag_objects_use(struct ag_objects *objects, const char *target);

/* Uploads a file, which is removed afterwards, or bytes (copied). */
struct ag_object_transfer *ag_objects_put_file(struct ag_objects *objects, const char *path,
                                               ag_object_fn fn, void *ctx);
struct ag_object_transfer *ag_objects_put(struct ag_objects *objects, struct sy_span data,
                                          ag_object_fn fn, void *ctx);
/* The file stays where it is until ag_objects_unpin(path). */
struct ag_object_transfer *ag_objects_get(struct ag_objects *objects, const char *uri,
                                          ag_object_fn fn, void *ctx);
void ag_objects_unpin(struct ag_objects *objects, const char *path);
/* No callback any more. */
void ag_objects_cancel(struct ag_objects *objects, struct ag_object_transfer *transfer);
