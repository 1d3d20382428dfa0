/*
 * The directory of a shard's partitions: each has a directory of its own (store_dirs.h), made when
 * it is first opened here, or, in a region, by its first shard.
 *
 * When shards share a region they share this directory, on storage that all of them mount. It then
 * holds the file "region": the region's name, and an identity that its first shard drew. The
 * region's records hold the same identity, so a shard whose storage is not that of the others (not
 * mounted, another region's) is found before it opens an empty store where a full one is meant.
 *
 * Or each of them has such a directory for itself, with copies of partitions (copies.h).
 */
#pragma once

#include "controlplane/copies.h"
#include "controlplane/partition.h"
#include "controlplane/region.h"

struct cp_data_dir {
    struct cp_store_opener *openers; /* one for each partition */
    struct cp_data_store {
        const char *path;
        size_t memory_bytes;
    } * stores;         /* their contexts */
    char **paths;       /* of the stores */
    size_t made, count; /* its region was made with so many, and there may come to be so many */
    struct cp_copy_dir *copies; /* NULL: it is shared, or one shard's that is alone */
    char *root, *region;        /* region: who shares it; NULL: nobody */
    struct cp_storage storage;
};

/* Each store gets its part of `memory_bytes`, within what is of use to one. `region`: the one that
 * shares it; NULL: one shard has it for itself, and it is made when it is missing. A region's is
 * left as it is until cp_data_dir_storage() is told to mark it. An errno with a sentence: it cannot
 * be used; -EPERM: it is another region's, or is shared when it is not to be, or the other way
 * round. */
int cp_data_dir_init(struct cp_data_dir *ret_dir, const char *path, size_t partitions,
                     size_t memory_bytes, const char *region,
                     struct sy_error_text *error) SY_MUST_USE;
/* The same for one shard's own copies of a region's partitions, of which there may come to be so
 * many. -EBUSY: another process uses it. */
int cp_data_dir_init_local(struct cp_data_dir *ret_dir, const char *path, size_t partitions,
                           size_t partitions_max, size_t memory_bytes,
                           struct sy_error_text *error) SY_MUST_USE;
/* The same where partitions are about to be restored: a region's mark is made at once, and without
 * their directories, so one that is forgotten is missing, and refused, rather than begun anew. */
int cp_data_dir_init_to_restore(struct cp_data_dir *ret_dir, const char *path, size_t partitions,
                                const char *region, struct sy_error_text *error) SY_MUST_USE;
/* NULL: it is not shared. Lives as long as `dir`, which may not be moved from now on. */
struct cp_storage *cp_data_dir_storage(struct cp_data_dir *dir);
/* Before anything is opened, of one that is shared: there may come to be so many partitions, by
 * splits. What one that is split leaves for the new one is PARTITION.split-EPOCH until that begins;
 * if the split comes to nothing, until its own next owner opens it. */
void cp_data_dir_widen(struct cp_data_dir *dir, size_t partitions_max);
void cp_data_dir_deinit(struct cp_data_dir *dir); /* zeroed is fine */
