/* The plan of a region whose shards have disks of their own: see region_plan.h. */
#include "base/mem.h"
#include "controlplane/region_plan.h"

#include <string.h>

/* The shard of this name, when it is there and has a copy in sync; one that drains only if
 * `draining`. */
static uint32_t holder(const struct cp_map *map, const struct cp_map_partition *p, const char *name,
                       bool draining)
{
    uint32_t shard = name[0] != '\0' && cp_map_copy_on(p, name) != NULL ? cp_map_shard(map, name)
                                                                        : CP_MAP_NONE;
    return shard != CP_MAP_NONE && map->shards[shard].draining && !draining ? CP_MAP_NONE : shard;
}

static uint32_t first_holder(const struct cp_map *map, const struct cp_map_partition *p,
                             bool draining)
{
    uint32_t shard = holder(map, p, p->wanted, draining);
    if (shard == CP_MAP_NONE && p->owner[0] == '\0')
        shard = holder(map, p, p->standby, draining);
    if (shard == CP_MAP_NONE)
        shard = holder(map, p, p->owner, draining);
    for (size_t i = 0; i < p->in_sync_count && shard == CP_MAP_NONE; i++)
        shard = holder(map, p, p->in_sync[i].shard, draining);
    return shard;
}

/* Who is to claim it: it is free, and was begun. Who drains gave it away, and would again; unless
 * there is nobody else. */
static uint32_t claimant(const struct cp_map *map, const struct cp_map_partition *p)
{
    uint32_t shard = first_holder(map, p, false);
    return shard != CP_MAP_NONE ? shard : first_holder(map, p, true);
}

static bool is_begun(const struct cp_map_partition *p)
{
    return p->in_sync_count > 0 || p->epoch > 0;
}

bool cp_plan_ready(const struct cp_map *map, const struct cp_map_partition *partition,
                   uint32_t target)
{
    SY_ASSERT(target != CP_MAP_NONE);
    return !map->local || !is_begun(partition) ||
           cp_map_copy_on(partition, map->shards[target].name) != NULL;
}

/* As whose the plan is to see it; CP_MAP_NONE: nobody's. */
static uint32_t owner_for_plan(const struct cp_map *map, const struct cp_map_partition *p)
{
    uint32_t owner = cp_map_owner(map, p);
    if (owner == CP_MAP_NONE)
        return claimant(map, p);
    if (!map->shards[owner].draining)
        return owner;
    const struct cp_map_copy *beside = cp_map_copy_beside(p, p->owner);
    uint32_t standby = beside != NULL ? cp_map_shard(map, beside->shard) : CP_MAP_NONE;
    return standby != CP_MAP_NONE && !map->shards[standby].draining ? standby : owner;
}

void cp_plan_local(const struct cp_map *map, uint32_t *ret_targets)
{
    struct cp_map_partition *partitions SY_AUTOFREE = sy_calloc(map->partition_count,
                                                                sizeof(*partitions));
    struct cp_map seen = *map;
    seen.partitions = partitions;
    for (size_t i = 0; i < map->partition_count; i++) {
        struct cp_map_partition *p = &partitions[i];
        *p = map->partitions[i];
        uint32_t owner = is_begun(p) ? owner_for_plan(map, p) : CP_MAP_NONE;
        p->session = owner != CP_MAP_NONE ? map->shards[owner].session : 0;
        p->owner[0] = '\0';
        if (owner != CP_MAP_NONE)
            memcpy(p->owner, map->shards[owner].name, sizeof(p->owner));
    }
    cp_plan_spread(&seen, ret_targets);
    for (size_t i = 0; i < map->partition_count; i++) {
        const struct cp_map_partition *p = &map->partitions[i];
        if (is_begun(p) && cp_map_owner(map, p) == CP_MAP_NONE)
            ret_targets[i] = claimant(map, p);
    }
}

/* ---- standbys ---- */

struct standbys {
    const struct cp_map *map;
    size_t *loads; /* of each shard: partitions whose standby it is */
};

/* The one that it has, when it is there and is not its owner. */
static uint32_t current(const struct cp_map *map, const struct cp_map_partition *p)
{
    uint32_t shard = p->standby[0] != '\0' ? cp_map_shard(map, p->standby) : CP_MAP_NONE;
    return shard == cp_map_owner(map, p) ? CP_MAP_NONE : shard;
}

static bool in_sync(const struct cp_map *map, const struct cp_map_partition *p, uint32_t shard)
{
    return shard != CP_MAP_NONE && cp_map_copy_on(p, map->shards[shard].name) != NULL;
}

static uint32_t choose(const struct standbys *s, size_t i)
{
    const struct cp_map *map = s->map;
    uint32_t owner = cp_map_owner(map, &map->partitions[i]), best = CP_MAP_NONE;
    for (uint32_t shard = 0; shard < map->shard_count; shard++) {
        if (shard == owner || map->shards[shard].draining)
            continue;
        if (best == CP_MAP_NONE || s->loads[shard] < s->loads[best] ||
            (s->loads[shard] == s->loads[best] &&
             cp_plan_score(map, shard, i) > cp_plan_score(map, best, i)))
            best = shard;
    }
    return best;
}

/* Its owner is to be another, which is not in sync yet. */
static bool is_to_move(const struct cp_map *map, size_t i, uint32_t target)
{
    const struct cp_map_partition *p = &map->partitions[i];
    uint32_t owner = cp_map_owner(map, p);
    return owner != CP_MAP_NONE && target != CP_MAP_NONE && target != owner &&
           !in_sync(map, p, target);
}

void cp_plan_standbys(const struct cp_map *map, const uint32_t *targets, uint32_t moves_max,
                      uint32_t *ret_standbys)
{
    size_t *loads SY_AUTOFREE = sy_calloc(map->shard_count, sizeof(*loads));
    struct standbys s = {map, loads};
    size_t under_way = 0;
    for (size_t i = 0; i < map->partition_count; i++) {
        const struct cp_map_partition *p = &map->partitions[i];
        ret_standbys[i] = cp_map_owner(map, p) != CP_MAP_NONE ? current(map, p) : CP_MAP_NONE;
        under_way += is_to_move(map, i, targets[i]) && ret_standbys[i] == targets[i];
    }
    for (size_t i = 0; i < map->partition_count; i++) {
        const struct cp_map_partition *p = &map->partitions[i];
        if (!is_to_move(map, i, targets[i]) || ret_standbys[i] == targets[i])
            continue;
        bool asked = strcmp(p->wanted, map->shards[targets[i]].name) == 0;
        bool costs = in_sync(map, p, ret_standbys[i]);
        if (costs && !asked && under_way >= moves_max)
            continue;
        under_way += costs && !asked;
        ret_standbys[i] = targets[i];
    }
    for (size_t i = 0; i < map->partition_count; i++) {
        bool drains = ret_standbys[i] != CP_MAP_NONE && map->shards[ret_standbys[i]].draining;
        if (drains && !in_sync(map, &map->partitions[i], ret_standbys[i]))
            ret_standbys[i] = CP_MAP_NONE;
        if (ret_standbys[i] != CP_MAP_NONE)
            loads[ret_standbys[i]]++;
    }
    for (size_t i = 0; i < map->partition_count; i++) {
        if (ret_standbys[i] != CP_MAP_NONE || cp_map_owner(map, &map->partitions[i]) == CP_MAP_NONE)
            continue;
        ret_standbys[i] = choose(&s, i);
        if (ret_standbys[i] != CP_MAP_NONE)
            loads[ret_standbys[i]]++;
    }
}
