/*
 * Who should own which partition: a pure function of the region's map, so that every shard works
 * out the same and none has to ask another.
 *
 * - A partition that people want on a shard is that shard's, while it is there and not draining.
 * - The others are spread so that counts are as even as those leave it: differing by at most one,
 *   but for a shard that has more of its own. A draining shard gets none; when all drain, or there
 *   is none, each partition stays where it is.
 * - Among all such plans it is one that takes the fewest partitions from shards that own them.
 * - Which ones a shard gives up, and who gets what is free, goes by rendezvous hashing (Thaler and
 *   Ravishankar 1998): XXH3-64 of the shard's name, seeded with the partition's number. While a
 *   plan is being carried out it stays the same: each claim that it asked for leaves the rest of it
 *   as it was.
 *
 * Cost: O(n log n) for n partitions, and one hash for each pair of a partition that is free or
 * leaves and a shard that has room.
 */
#pragma once

#include "controlplane/region_map.h"

/* ret_targets: for each of map->partitions the index of a shard, or CP_MAP_NONE. */
void cp_plan(const struct cp_map *map, uint32_t *ret_targets);

/*
 * With local storage (standby_plan.c) a partition can only be where a copy in sync is.
 *
 * - One that is free is for the shard that is to claim it at once: the one that people want it on,
 *   when that has a copy in sync; else the standby, when it was given; else its last owner; else
 *   whoever has a copy. CP_MAP_NONE when none of them is there.
 * - One that was never begun, and one that is owned, is planned as above: as if what is free were
 *   owned by the former, and what a draining shard owns by its standby in sync. It may be moved
 *   there when cp_plan_ready().
 */
bool cp_plan_ready(const struct cp_map *map, const struct cp_map_partition *partition,
                   uint32_t target);
/* Which shard is to have the other copy of each partition that is owned; CP_MAP_NONE: none can. The
 * one where it is planned to go; else the one it has, while that is there; else one with few of
 * them. No more than `moves_max` standbys that are in sync are replaced at a time, but for what
 * people asked for by name. `targets`: of cp_plan(). */
void cp_plan_standbys(const struct cp_map *map, const uint32_t *targets, uint32_t moves_max,
                      uint32_t *ret_standbys);

/* The two parts of cp_plan(): of shared storage, and of local. */
void cp_plan_spread(const struct cp_map *map, uint32_t *ret_targets);
void cp_plan_local(const struct cp_map *map, uint32_t *ret_targets);
/* By rendezvous hashing: the greatest one is taken. */
uint64_t cp_plan_score(const struct cp_map *map, uint32_t shard, size_t partition);
