/*
 * Backups of one partition's store, with RocksDB's backup engine: a directory that holds any number
 * of them, each complete, which share the tables that they have in common.
 *
 * Threads: everything here blocks, for as long as disks take: for threads that may wait.
 * Only one process writes to a directory of backups at a time; that is the caller's to see to.
 */
#pragma once

#include "controlplane/store.h"

struct cp_backup_info {
    uint32_t id;     /* counts up in its directory */
    int64_t taken_s; /* real time */
    uint64_t bytes;  /* of all its files, shared ones too */
    uint32_t files;
};

/* Adds what `source` holds now, under a number greater than `after` and all that are there, and
 * forgets the oldest beyond `keep`. Meanwhile there is a directory beside the store's, its path and
 * ".backup". -ECANCELED: the store was closed meanwhile; others with a sentence. */
int cp_backup_add(const char *dir, struct cp_store_source *source, uint32_t after, uint32_t keep,
                  struct cp_backup_info *ret, struct sy_error_text *error) SY_MUST_USE;

/* Oldest first; to be freed. -ENOENT: there is none. */
int cp_backup_list(const char *dir, struct cp_backup_info **ret, size_t *ret_count,
                   struct sy_error_text *error) SY_MUST_USE;

/* Makes the store at `path`, where nothing is, from a backup; `id` 0: the newest. Sums are checked.
 * -ENOENT: no such backup. */
int cp_backup_restore(const char *dir, uint32_t id, const char *path,
                      struct sy_error_text *error) SY_MUST_USE;
