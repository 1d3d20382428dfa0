/*
 * The directories of one partition's store: PARTITION/ holds one for each epoch that it was taken
 * under, "e0000000012"; the one with the greatest number is the store, the others are leftovers.
 * Whoever takes the partition under epoch 13 makes e0000000013 out of the greatest one, so an owner
 * that is stopped but not dead, or cut off, goes on writing into files that nobody reads any more.
 *
 *   in place   rename. Only when nobody can have it open: its owner wrote into HOLDER that it has
 *              closed it, or its owner ran on this machine's running kernel and its lock is free.
 *   a copy     e0000000013.tmp, then a rename. Tables, which are never written to again once they
 *              are part of the store, are hard links; logs, and what says which files belong to the
 *              store (the heads), are copied.
 *
 * What was acknowledged is in the copy. An owner acknowledges a write that was synced before its
 * right ended (partition.c, cp_lapsed()); the next one claims the partition after that, and reads
 * after it has claimed. So each log that is read here holds the record already.
 *
 * The copy is a state that the store had, although its owner may be writing meanwhile: heads are
 * copied first, and must be the same after all else was taken, or it begins anew. A store deletes a
 * file only after its heads say that the file is not needed, so each file that the copied heads
 * name was there; logs are read from the oldest to the newest, so what is missing is an end.
 *
 * Of two that hold themselves to be the next owner (one stood still and its claim is over) the one
 * with the smaller epoch is refused, or makes a directory that nobody will look at: numbers only
 * grow, a rename is done once, and nobody removes what is newer than his own.
 *
 * Epoch 0 is a shard without a region: it opens what there is under the name that it has, and the
 * store's own lock keeps two such apart; what such a shard has open is never copied.
 * Once the store lay in PARTITION/ itself; that is moved to e0000000000, by way of PARTITION.flat.
 *
 * Blocking; any thread, one at a time for each object. Nothing here knows RocksDB.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum cp_dirs_kind {
    CP_DIRS_FOREIGN, /* not of the store */
    CP_DIRS_HEAD,    /* says which files belong to the store */
    CP_DIRS_TABLE,   /* not written to any more once a head names it */
    CP_DIRS_LOG,     /* appended to; the order of names (numbers by value) is that of time */
    CP_DIRS_OWN,     /* of who has it open: a lock, messages, options */
};

/* Changes of the file system, in the tests' view. */
enum cp_dirs_step {
    CP_DIRS_STEP_MKDIR,
    CP_DIRS_STEP_LINK,
    CP_DIRS_STEP_COPY, /* a file: its content and name are not durable yet */
    CP_DIRS_STEP_SYNC_FILE,
    CP_DIRS_STEP_SYNC_DIR,
    CP_DIRS_STEP_RENAME, /* to this path */
    CP_DIRS_STEP_WRITE,  /* a file, durably */
    CP_DIRS_STEP_REMOVE, /* a file, or a directory with all that is in it */
};

struct cp_dirs_options {
    const char *path; /* PARTITION */
    uint32_t epoch;
    enum cp_dirs_kind (*kind)(const char *name);
    const char *lock; /* the file that whoever has the store open has locked (fcntl) */
    const char *boot; /* names the running kernel; NULL: ask it */
    /* For tests, NULL: none. Before each step, `from` of a rename; false: it ends there with
     * -ECANCELED, as a kill would end it. */
    bool (*step)(void *ctx, enum cp_dirs_step step, const char *path, const char *from);
    void *ctx;
};

struct cp_dirs;

#define CP_DIRS_E_NEWER 1 /* it was taken under a later epoch: *ret_epoch */

/* The directory to open. -EBUSY: another process has it open, and it may not be copied (a shard
 * without a region, or the old layout). -ENOENT: nothing is there though the epoch says that there
 * was (a volume that is not mounted). -EAGAIN: its former owner writes faster than it can be
 * copied. -EOPNOTSUPP: it would have to be copied, and the volume has no hard links. With a
 * sentence; the store is as it was. */
int cp_dirs_take(struct cp_dirs **ret_dirs, const struct cp_dirs_options *options,
                 uint32_t *ret_epoch, struct sy_error_text *error) SY_MUST_USE;
const char *cp_dirs_path(const struct cp_dirs *dirs);
/* No table or log is in it: a store may be created there, else there is one or it is damaged. */
bool cp_dirs_empty(const struct cp_dirs *dirs);
/* The store is open there: older directories go. What cannot be removed stays for the next one. */
void cp_dirs_opened(struct cp_dirs *dirs);
/* A partition's directory of that name, with what this one has now, which nobody has open; its
 * files are shared as for a copy, and what this one had stays. What was there by that name goes.
 * -EBUSY: somebody may have it open. With a sentence. */
int cp_dirs_fork(const struct cp_dirs_options *options, const char *to,
                 struct sy_error_text *error) SY_MUST_USE;
/* Nobody has it open any more, and nothing of this process will write into it. */
void cp_dirs_closed(struct cp_dirs *dirs);
void cp_dirs_free(struct cp_dirs *dirs);
