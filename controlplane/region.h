/*
 * A shard's place in its region: the coordination port, the map of who owns what, and the core that
 * decides what this shard claims and gives (ownership.h). It says which partitions to open and to
 * close; the shard does that on their loops and reports.
 *
 * Threads: everything is called on the front's loop, and calls back there.
 */
#pragma once

#include "controlplane/ownership.h"

struct cp_region;

struct cp_region_options {
    const char *name;                       /* the region's */
    const char *shard, *endpoint, *version; /* ours; all borrowed */
    uint32_t partitions;                    /* of the region, decided by its first shard */
    const char *storage; /* the identity of where its partitions are (data_dir.h); "": any */
    const struct cp_coord_etcd_options *etcd; /* NULL: the region is this shard */
    const struct cp_ownership_options *pace;  /* NULL: the defaults */
};

struct cp_region_sink {
    /* Each `open` is followed by cp_region_opened(), once, and by cp_region_closed(), once. `lose`
     * may follow `give`; both mean that cp_region_closed() is waited for. */
    void (*open)(void *ctx, uint32_t partition, uint32_t epoch);
    void (*give)(void *ctx, uint32_t partition);
    void (*lose)(void *ctx, uint32_t partition);
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
/* Gives everything back and leaves the region; `done` runs when both are so. */
void cp_region_leave(struct cp_region *region, sy_fn done, void *ctx);

/* For cp_partition_options: until when we may act on it. Lives as long as the region. */
const _Atomic int64_t *cp_region_right_until_ns(const struct cp_region *region, uint32_t partition);
/* As the copy shows it. Another shard's, where that is; NULL: it is ours, or nobody's. */
const char *cp_region_elsewhere(const struct cp_region *region, uint32_t partition);
bool cp_region_ours(const struct cp_region *region, uint32_t partition);
