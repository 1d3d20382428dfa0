/*
 * A shard backs up the partitions that it serves, while it serves them: a checkpoint beside the
 * store, from which RocksDB's backup engine takes what is new; with S3 that goes on to a bucket
 * (backup_mirror.h). A thread of its own waits for the disks.
 *
 * Backups lie in DIR/partition-N/SHARD: each shard has its own, so that no two ever write to one
 * directory, wherever partitions move.
 *
 * Threads: everything is called on the front's loop.
 */
#pragma once

#include "base/blob.h"
#include "controlplane/store_backup.h"

#include <limits.h>

struct cp_backup_options {
    const char *dir;                       /* borrowed */
    const struct sy_blob_options *storage; /* S3; NULL: `dir` is where they are kept */
    uint32_t keep;                         /* of each partition and shard, in `dir` */
};

/* False: too long. */
bool cp_backup_dir(char ret[PATH_MAX], const char *dir, uint32_t partition, const char *shard);

struct cp_shard;
struct cp_backups;

int cp_backups_new(struct cp_backups **ret, struct cp_shard *shard,
                   const struct cp_backup_options *options, struct sy_loop *loop,
                   struct sy_error_text *error) SY_MUST_USE;
/* Waits for the thread. */
void cp_backups_free(struct cp_backups *backups);
