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
