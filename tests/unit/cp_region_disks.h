/* A region of cp_region_world.h whose shards have disks of their own: who has a copy in sync, and
 * disks that are lost. */
#pragma once

#include "tests/unit/cp_region_world.h"

#include "controlplane/shard_impl.h"

static const struct cp_map *map_of(const struct world *w)
{
    const struct cp_map *newest = NULL;
    for (size_t i = 0; i < SHARDS; i++) {
        const struct shard *s = &w->shards[i];
        if (s->shard == NULL || s->paused)
            continue;
        const struct cp_map *map = cp_region_map(s->shard->in_region);
        newest = newest == NULL || map->revision > newest->revision ? map : newest;
    }
    return newest;
}

static const struct cp_map_partition *record(const struct world *w, uint32_t p)
{
    const struct cp_map *map = map_of(w);
    uint32_t at = cp_map_partition(map, p);
    ck_assert_uint_ne(at, CP_MAP_NONE);
    return &map->partitions[at];
}

/* How many there are, by the newest records that are known. */
static uint32_t known(const struct world *w)
{
    const struct cp_map *map = map_of(w);
    return map != NULL ? (uint32_t)map->partition_count : 0;
}

/* Each partition is served, and has a standby in sync. */
static bool doubled(const struct world *w)
{
    if (known(w) < PARTITIONS)
        return false;
    for (uint32_t p = 0; p < known(w); p++) {
        const struct cp_map_partition *row = record(w, p);
        if (row->in_sync_count != 2 || cp_map_owner(map_of(w), row) == CP_MAP_NONE || row->moving)
            return false;
    }
    return true;
}

static bool serves(const struct world *w, uint32_t p, size_t i)
{
    const struct shard *s = &w->shards[i];
    return s->shard != NULL && cp_partition_serving(cp_shard_partition(s->shard, p));
}

static size_t server_of(const struct world *w, uint32_t p)
{
    for (size_t i = 0; i < SHARDS; i++) {
        if (serves(w, p, i) && !w->shards[i].paused)
            return i;
    }
    return SHARDS;
}

static size_t standby_of(const struct world *w, uint32_t p)
{
    const struct cp_map_partition *row = record(w, p);
    const struct cp_map_copy *beside = cp_map_copy_beside(row, row->owner);
    for (size_t i = 0; beside != NULL && i < SHARDS; i++) {
        if (strcmp(w->shards[i].name, beside->shard) == 0)
            return i;
    }
    return SHARDS;
}

static void lose_disks(struct world *w, size_t i)
{
    struct shard *s = &w->shards[i];
    ck_assert_ptr_null(s->shard);
    free_disks(&s->disks);
    init_disks(&s->disks);
    (void)w;
}

static void open_local(struct world *w, uint64_t seed)
{
    open_world_of(w, seed, true);
    UNTIL(w, doubled(w));
}

/* Any one disk may be lost: all are up and reach each other, and each partition has two copies that
 * are there. (The records may not know yet that a disk was lost just before.) */
static UNUSED bool is_well(const struct world *w)
{
    for (size_t i = 0; i < SHARDS; i++) {
        if (w->shards[i].shard == NULL || w->shards[i].paused)
            return false;
    }
    if (w->cut != NULL || !doubled(w))
        return false;
    for (uint32_t p = 0; p < known(w); p++) {
        for (size_t i = 0; i < SHARDS; i++) {
            const struct cp_map_copy *copy = cp_map_copy_on(record(w, p), w->shards[i].name);
            if (copy != NULL && w->shards[i].disks.own[p].copy != copy->id)
                return false;
        }
    }
    return true;
}
