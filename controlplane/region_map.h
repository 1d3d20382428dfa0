/*
 * The region as one copy of its records shows it: shards, and who owns which partition. The only
 * place that knows their form (proto/switchyard/internal/region.proto).
 *
 * A map is filled from the records of one revision, in order of their keys, and then only read. It
 * owns all that it holds. A partition whose record cannot be read is not in it: nobody serves or
 * claims it. A shard is in it even so, as one that drains: what it owns is not free.
 */
#pragma once

#include "controlplane/coord.h"
#include "controlplane/names.h"
#include "controlplane/ranges.h"

#define CP_MAP_NONE UINT32_MAX
#define CP_MAP_PARTITIONS_MAX 4096u
#define CP_MAP_KEY_SIZE 96
#define CP_MAP_TEXT_SIZE 256

struct cp_map_shard {
    char name[CP_NAME_LENGTH_MAX + 1];
    int64_t revision, session;
    char endpoint[CP_MAP_TEXT_SIZE], version[CP_MAP_TEXT_SIZE];
    char process[CP_MAP_TEXT_SIZE]; /* "": not told */
    int64_t since_ns;
    bool draining, slow;     /* slow: that is why */
    uint32_t partitions_max; /* that it has room for; 0: an older version */
};

/* A copy of a partition on a shard's own disk; its id is never used again. */
struct cp_map_copy {
    char shard[CP_NAME_LENGTH_MAX + 1];
    uint64_t id; /* > 0 */
};
#define CP_MAP_COPIES_MAX 2

struct cp_map_partition {
    uint32_t number, epoch;
    int64_t revision;
    char owner[CP_NAME_LENGTH_MAX + 1]; /* as written: see cp_map_owner() */
    int64_t session;
    bool moving;
    char wanted[CP_NAME_LENGTH_MAX + 1];
    struct cp_range range;         /* as written; 0 to 0: it is not, see cp_map_range() */
    uint32_t parent, parent_epoch; /* that it was split from; 0: the region was made with it */
    /* With local storage: see region.proto. */
    struct cp_map_copy in_sync[CP_MAP_COPIES_MAX]; /* of different shards */
    size_t in_sync_count;
    char standby[CP_NAME_LENGTH_MAX + 1];
    int64_t alone_since_ns;
};

struct cp_map { /* zeroed: nothing was read yet */
    int64_t revision;
    uint32_t made; /* how many partitions the region was made with; 0: that is not known */
    bool local;    /* each shard has copies on a disk of its own */
    struct cp_map_shard *shards; /* by name */
    size_t shard_count, shards_size;
    struct cp_map_partition *partitions; /* by number */
    size_t partition_count, partitions_size;
};

void cp_map_deinit(struct cp_map *map);
/* Empties it, for the records as of this revision. */
void cp_map_begin(struct cp_map *map, int64_t revision);
/* The next one; what is not about shards or partitions is passed over. -EBADMSG with a sentence: it
 * cannot be read; see above. */
int cp_map_add(struct cp_map *map, const struct cp_coord_record *record,
               struct sy_error_text *error) SY_MUST_USE;

/* Indexes into the map; CP_MAP_NONE: there is none. */
uint32_t cp_map_shard(const struct cp_map *map, const char *name);
uint32_t cp_map_partition(const struct cp_map *map, uint32_t number);
/* One that says that it is there, and has another name. */
uint32_t cp_map_other_at(const struct cp_map *map, const char *endpoint, const char *name);
/* The shard that owns it; CP_MAP_NONE: it is free. */
uint32_t cp_map_owner(const struct cp_map *map, const struct cp_map_partition *partition);

/* Which hashes it has. */
struct cp_range cp_map_range(const struct cp_map *map, const struct cp_map_partition *partition);
/* Of all; NULL: some record is missing or contradicts another. The caller's. */
struct cp_ranges *cp_map_ranges(const struct cp_map *map);

/* Where its shards are: at most `shard_count`, the map's memory. Returns how many. */
size_t cp_map_endpoints(const struct cp_map *map, char **ret);

/* Of those in sync: the one on that shard, or on another; NULL: there is none. */
const struct cp_map_copy *cp_map_copy_on(const struct cp_map_partition *partition,
                                         const char *shard);
const struct cp_map_copy *cp_map_copy_beside(const struct cp_map_partition *partition,
                                             const char *shard);

/* A shard that has no room for one more partition; NULL: each has. */
const struct cp_map_shard *cp_map_full(const struct cp_map *map);
/* What it is split into: the middle of what it has, or what people say, where place begins (the
 * first byte of a hash). 0, or -EINVAL with a sentence: it cannot be. */
int cp_map_split(const struct cp_map *map, uint32_t partition, const uint8_t *place,
                 uint64_t *ret_at, struct sy_error_text *error) SY_MUST_USE;

/* ---- to write them ---- */

#define CP_MAP_REGION_KEY "region"
#define CP_MAP_STORAGE_KEY "storage"
#define CP_MAP_LOCAL "local " /* what that record's value begins with when storage is local */

void cp_map_shard_key(char ret[CP_MAP_KEY_SIZE], const char *name);
void cp_map_partition_key(char ret[CP_MAP_KEY_SIZE], uint32_t number);
/* Append; `revision`, and the shard's `session`, are not part of a value. */
void cp_map_put_shard(struct sy_buf *buf, const struct cp_map_shard *shard);
void cp_map_put_partition(struct sy_buf *buf, const struct cp_map_partition *partition);
