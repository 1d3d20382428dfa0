/*
 * A shard: partitions, the RPC server and every public service, as a library without globals.
 * main.c (and the simulator) give it its ports and loops.
 */
#pragma once

#include "base/log.h"
#include "base/rng.h"
#include "base/rpc.h"
#include "controlplane/backups.h"
#include "controlplane/partition.h"
#include "controlplane/region.h"

struct cp_shard;

struct cp_shard_options {
    const char *name, *region;
    const char *listen;               /* "127.0.0.1:8090" */
    const char *console_listen;       /* "127.0.0.1:8080"; NULL or "": no console */
    const char *const *allow_origins; /* as in struct sy_server_options */
    size_t allow_origin_count;
    uint32_t partitions;     /* that the region is made with */
    uint32_t partitions_max; /* that it may come to have by splits; 0: as many */
    size_t streams_max;
    size_t
        queues_max; /* of the region, but for what is in flight at several homes; default 10,000 */
    struct cp_partition_options partition; /* `partition`, `shard`, `region` are filled in */
    /* Several shards: where the region's records are, and how the others reach this one. NULL: all
     * partitions are this shard's. */
    const struct cp_coord_etcd_options *etcd;
    const char *endpoint;        /* "shard-1.example:8090" */
    struct cp_storage *storage;  /* where its partitions are (data_dir.h); NULL: any */
    struct cp_copies *copies;    /* or: on a disk of its own, and so with the other shards; NULL */
    int64_t standby_patience_ns; /* the same: see struct cp_standby_options; 0: the default */
    int64_t standby_wait_ns;     /* the same: see struct cp_ownership_options */
    int64_t disk_patience_ns;    /* a partition that waits longer for its disk goes; 0: never */
    struct cp_disk_probe *disk_probe;        /* as in struct cp_region_options */
    const struct cp_ownership_options *pace; /* NULL: the defaults */
    const struct cp_backup_options *backups; /* NULL: none can be made */
    const char *process;                     /* as in struct cp_region_options */
    struct cp_witness *witness;
    bool registration_required; /* of clusters; else who is not registered may come */
};

struct cp_shard_ports {
    struct sy_rpc *rpc;
    struct sy_loop *const *loops; /* one for each partition that may be */
    /* Runs what concerns all of them, and in a region what keeps this shard alive in it: so none of
     * the others, whose turn may last while a partition is opened. NULL: loops[0]. */
    struct sy_loop *front;
    const struct cp_store_opener *openers; /* likewise */
    uint64_t seed;
    struct sy_log *log;
};

int cp_shard_new(struct cp_shard **ret_shard, const struct cp_shard_options *options,
                 const struct cp_shard_ports *ports, struct sy_error_text *error) SY_MUST_USE;
int cp_shard_port(const struct cp_shard *shard);
int cp_shard_console_port(const struct cp_shard *shard); /* 0: there is none */
/* `fn` runs once on the front's loop, when every partition serves. Until then, and whenever one
 * does not, the health service says NOT_SERVING. Call it before the loops run. */
void cp_shard_on_serving(struct cp_shard *shard, sy_fn fn, void *ctx);
/* `fn` runs once on the front's loop, when the region turns out to be another than this shard is
 * for: it will never serve. Call it before the loops run. */
void cp_shard_on_misfit(struct cp_shard *shard, void (*fn)(void *ctx, const char *why), void *ctx);
/* Drains: calls get `grace_ns` to end; `done` runs on the front's loop. */
void cp_shard_stop(struct cp_shard *shard, int64_t grace_ns, sy_fn done, void *ctx);
/* After stop, or instead of it (a crash in the simulator; no loop may be running). */
void cp_shard_free(struct cp_shard *shard);

/* For services: the partition that owns a run, 0 <= i < partitions. */
uint32_t cp_shard_partition_of(const struct cp_shard *shard, const char *project,
                               const char *domain, const char *run);
/* That has the hash, of a run or of anything else that has a home. */
uint32_t cp_shard_find(const struct cp_shard *shard, uint64_t hash);
struct cp_partition *cp_shard_partition(struct cp_shard *shard, uint32_t i);
uint32_t cp_shard_partitions(const struct cp_shard *shard); /* that the region has now */
/* On the front: how many shards it has connections for, itself among them. */
size_t cp_shard_peers(const struct cp_shard *shard);
