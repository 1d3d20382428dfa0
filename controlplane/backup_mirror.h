/*
 * A backup engine's directory, copied to blob storage and back. What lies there:
 *
 *     PREFIX/FILE     each file under its name in the directory
 *     PREFIX/meta/ID  among them: RocksDB's list of one backup's files, written after all of them
 *     PREFIX/latest   the newest backup's number; written last, so what it names is complete
 *
 * Tables ("shared...") have names that say what is in them: one that is there is not sent again.
 * The other files are named by their backup's number, and one that was cut off may have left some.
 *
 * Nothing is ever deleted there: that is left to the bucket's own rules.
 */
#pragma once

#include "base/blob.h"

struct cp_mirror;

/* Copies what the storage lacks of backup `id`, one file at a time. `done` runs once, within the
 * call when it cannot begin. */
void cp_mirror_up(struct cp_mirror **ret, struct sy_blobs *blobs, const char *dir,
                  const char *prefix, uint32_t id, sy_blob_fn done, void *ctx);
/* Fetches one backup, 0: the newest, into a directory that is missing or empty. -ENOENT: there is
 * no such backup. */
void cp_mirror_down(struct cp_mirror **ret, struct sy_blobs *blobs, const char *prefix, uint32_t id,
                    const char *dir, sy_blob_fn done, void *ctx);
/* The newest there, for cp_mirror_id(); 0: there is none. */
void cp_mirror_find(struct cp_mirror **ret, struct sy_blobs *blobs, const char *prefix,
                    sy_blob_fn done, void *ctx);
/* In the end: the backup that was fetched or found. */
uint32_t cp_mirror_id(const struct cp_mirror *mirror);
/* In `done` or after it; or when the storage has been freed. */
void cp_mirror_free(struct cp_mirror *mirror);
