/*
 * A shard's place in its region: the coordination port, the map of who owns what, and the core that
 * decides what this shard claims and gives (ownership.h). It says which partitions to open and to
 * close; the shard does that on their loops and reports.
 *
 * Threads: everything is called on the front's loop, and calls back there.
 */
#pragma once

#include "controlplane/disk_probe.h"
#include "controlplane/ownership.h"
#include "controlplane/witness.h"

struct cp_region;

/* Where partitions are that shards share: a port, below a data_dir in production (data_dir.h). */
struct cp_storage {
    char identity[CP_IDENTITY_SIZE]; /* "": none yet; what is there is nobody's */
    /* Gives it one, durably: this shard is its region's first. */
    int (*mark)(void *ctx, struct sy_error_text *error);
    void *ctx;
};

struct cp_region_options {
    const char *name;                       /* the region's */
    const char *shard, *endpoint, *version; /* ours; all borrowed */
    uint32_t partitions;                    /* of the region, decided by its first shard */
    uint32_t partitions_max;                /* that this shard has room for, after splits */
    struct cp_storage *storage;             /* NULL: any */
    int64_t standby_wait_ns;                /* 0: the default */
    struct cp_copies *copies; /* or: on this shard's own disk; NULL: they are shared */
    const struct cp_coord_etcd_options *etcd; /* NULL: the region is this shard */
    const struct cp_ownership_options *pace;  /* NULL: the defaults */
    /* Which process we are, and who knows that another one has ended. NULL: others' sessions are
     * waited for, and ours is. Borrowed, as long as the region. */
    const char *process;
    struct cp_witness *witness;
    struct cp_disk_probe *disk_probe; /* NULL: only time tells; borrowed, as long as the region */
};

struct cp_region_sink {
    /* Each `open` is followed by cp_region_opened(), once, and by cp_region_closed(), once. `lose`
     * may follow `give`; both mean that cp_region_closed() is waited for. */
    void (*open)(void *ctx, uint32_t partition, uint32_t epoch);
    void (*give)(void *ctx, uint32_t partition);
    void (*lose)(void *ctx, uint32_t partition);
    /* It is closed: its store is to be forked; cp_region_forked() follows. */
    void (*fork)(void *ctx, uint32_t partition, uint32_t epoch);
    /* The map, or what we may do, is another than before. */
    void (*changed)(void *ctx);
    /* The region has another number of partitions, or other storage: this shard can have no part in
     * it. Said once. */
    void (*misfit)(void *ctx, const char *why);
    void *ctx;
};

void cp_region_new(struct cp_region **ret_region, struct sy_rpc *rpc, struct sy_loop *loop,
                   struct sy_rng *rng, struct sy_log *log, const struct cp_region_options *options,
                   const struct cp_region_sink *sink);
void cp_region_free(struct cp_region *region);

/* It serves, or was tried in vain and is tried again. */
void cp_region_opened(struct cp_region *region, uint32_t partition, uint32_t epoch);
/* Nothing of it is left here. `seen`: the greatest epoch that its store knows; 0: not known. */
void cp_region_closed(struct cp_region *region, uint32_t partition, uint32_t epoch, uint32_t seen);
/* It has waited long for its disk: it goes to another shard, if one has a disk that is well. */
void cp_region_stalled(struct cp_region *region, uint32_t partition, uint32_t epoch);
/* There is a store for the new half, with local storage in these copies; or not, for that reason.
 */
void cp_region_forked(struct cp_region *region, uint32_t partition, uint32_t epoch,
                      const struct cp_forked_copies *copies, const char *why);
/* Gives everything back and leaves the region; `done` runs when both are so. */
void cp_region_leave(struct cp_region *region, sy_fn done, void *ctx);

/* For cp_partition_options: until when we may act on it. Lives as long as the region. */
const _Atomic int64_t *cp_region_right_until_ns(const struct cp_region *region, uint32_t partition);
/* As the copy shows it. Another shard's, where that is; NULL: it is ours, or nobody's. */
const char *cp_region_elsewhere(const struct cp_region *region, uint32_t partition);
bool cp_region_ours(const struct cp_region *region, uint32_t partition);

/* For records that are not about partitions. */
struct cp_coord *cp_region_coord(struct cp_region *region);
/* ---- with local storage ---- */

/* The partition's copy on our disk is another now. */
void cp_region_set_copy(struct cp_region *region, uint32_t partition,
                        const struct cp_own_copy *copy);
struct cp_own_copy cp_region_copy(const struct cp_region *region, uint32_t partition);
/* That the record of ours name that copy in sync beside our own (id 0: none), if it has that
 * revision. NULL: as far as is known here it has not, and nothing is written. See
 * cp_region_want(). */
struct cp_region_want *cp_region_write_in_sync(struct cp_region *region, uint32_t partition,
                                               int64_t if_revision, const char *shard, uint64_t id,
                                               cp_coord_done_fn done, void *ctx);
/* That our copy of it, whatever it lacks, be the only one in sync; nobody has the partition. */
struct cp_region_want *cp_region_use_copy(struct cp_region *region, uint32_t partition,
                                          cp_coord_done_fn done, void *ctx);

/* ---- orders of people ---- */

/* As of its revision; 0: nothing was read yet. Borrowed for a turn. */
const struct cp_map *cp_region_map(const struct cp_region *region);
/* Our own record in it, while we may act; NULL: our session is over, or may be. */
const struct cp_map_shard *cp_region_self(const struct cp_region *region);
/* How long that is so unless the session is renewed; 0: it is over. */
int64_t cp_region_session_left_ns(const struct cp_region *region);
/* What keeps us from acting, in words; "": nothing does. */
const char *cp_region_trouble(const struct cp_region *region);

enum cp_ownership_mode cp_region_mode(const struct cp_region *region);
/* Ours goes to others, and we take no more; or not any longer. Nothing when we stop. */
void cp_region_drain(struct cp_region *region, bool draining);

/* Begins to split a partition that serves here. 0, or -EINVAL with a sentence. What becomes of it
 * the records show: another one whose parent it is, or an epoch of its own without one. */
int cp_region_split(struct cp_region *region, uint32_t partition, const uint8_t *place,
                    struct sy_error_text *error) SY_MUST_USE;
/* Why the last split begun here of that partition came to nothing; "": it did not. */
const char *cp_region_split_why(const struct cp_region *region, uint32_t partition);

/* That the partitions be on the shard `wanted` ("": on any), if their records are still as they are
 * here; all of it or nothing. 1 to CP_COORD_OPS_MAX of them. `done` runs later, when the map shows
 * what is DONE. */
struct cp_region_want *cp_region_want(struct cp_region *region, const uint32_t *partitions,
                                      size_t count, const char *wanted, cp_coord_done_fn done,
                                      void *ctx);
/* `done` is not to run; the write may happen. NULL is nothing. */
void cp_region_want_forget(struct cp_region_want *want);
