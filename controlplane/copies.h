/*
 * The copies of partitions on a shard's own disk (docs/replication.md): each has an id, 64 random
 * bits, durable before anything is written to it and never used again. A port: files in production
 * (below), memory in tests.
 *
 * Blocking; calls about one partition come one at a time, from any thread.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cp_own_copy {
    uint64_t id;        /* 0: none */
    bool empty;         /* nothing was written to it yet */
    int64_t changed_ns; /* real time of its last write, about; 0: not known */
};

/* With what a partition that was split begins, by ids: our fork, and that of the standby's copy
 * `of`; 0: it has none in sync. */
struct cp_forked_copies {
    uint64_t own, of, beside;
};

#define CP_IDENTITY_SIZE 33 /* of a region: hexadecimal digits, and the NUL */

struct cp_copies {
    /* What is there has an id afterwards. */
    int (*read)(void *ctx, uint32_t partition, struct cp_own_copy *ret,
                struct sy_error_text *error);
    /* An empty one, where there is none. */
    int (*make)(void *ctx, uint32_t partition, uint64_t id, struct sy_error_text *error);
    /* Another one, beside what is there: adds bytes to the file `name`; NULL: begins anew. */
    int (*fill)(void *ctx, uint32_t partition, const char *name, struct sy_span bytes,
                struct sy_error_text *error);
    /* It is complete: durable, then instead of what was there, which nobody has open. */
    int (*filled)(void *ctx, uint32_t partition, uint64_t id, struct sy_error_text *error);
    /* What was forked from it under that epoch (cp_store_opener) is a copy with that id, durably.
     */
    int (*name_fork)(void *ctx, uint32_t partition, uint32_t epoch, uint64_t id,
                     struct sy_error_text *error);
    /* Where an image of it may lie for a while. */
    const char *(*image_path)(void *ctx, uint32_t partition);
    /* Of which region they are; "": not known yet. Then that one's. */
    char identity[CP_IDENTITY_SIZE];
    int (*adopt)(void *ctx, const char *identity, struct sy_error_text *error);
    void *ctx;
};

/* Those below a data_dir: "partition-N" holds one, with its id in the file COPY; "copies" says of
 * which region they are. */
struct cp_copy_dir;
/* An error with a sentence: a file of it cannot be read. `paths`, of the partitions, are borrowed.
 */
int cp_copy_dir_new(struct cp_copy_dir **ret_dir, const char *root, char *const *paths,
                    size_t count, struct sy_error_text *error) SY_MUST_USE;
struct cp_copies *cp_copy_dir_port(struct cp_copy_dir *dir); /* NULL: of none */
void cp_copy_dir_free(struct cp_copy_dir *dir);
/* PARTITION.split-EPOCH, beside the partitions: what was forked from it. -ENAMETOOLONG. */
int cp_fork_path(char ret[PATH_MAX], const char *partition, uint32_t epoch) SY_MUST_USE;
/* Whether a shard keeps copies of its own there. */
bool cp_copy_dir_is(const char *root);
