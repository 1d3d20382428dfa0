/*
 * What lies on disks in cp_ownership_world.h: forks, with shared storage; with local storage the
 * copies of each shard, and what an owner does about its standby. What the copies hold is not
 * there: test_cp_standby_random.c has that.
 */
#pragma once

#include "tests/unit/cp_ownership_store.h"

static const char *const local_text = CP_MAP_LOCAL "0123456789abcdef";

static struct cp_map_partition row_of(struct world *w, uint32_t partition)
{
    struct cp_map_partition row;
    MUST(record_partition(records_partition(&w->records, partition), &row));
    return row;
}

/* What is opened is there: a fork, if it begins with one; with local storage a copy that the record
 * names. */
static void audit_open(struct world *w, size_t shard, uint32_t partition)
{
    struct site *site = &w->sites[shard];
    struct cp_map_partition row = row_of(w, partition);
    MUST(!row.parent_epoch || w->forked[row.parent] >= row.parent_epoch);
    if (!w->local)
        return;
    const struct cp_map_copy *copy = cp_map_copy_on(&row, site->name);
    MUST(copy != NULL && copy->id == site->copies[partition].id);
    site->copies[partition].empty = false;
}

/* ---- forks ---- */

static size_t site_of(const struct world *w, const char *name)
{
    size_t i = 0;
    while (i < SHARDS && strcmp(w->sites[i].name, name) != 0)
        i++;
    return i;
}

static uint64_t fork_copy(struct world *w, struct site *site, uint32_t partition, uint32_t epoch)
{
    site->forks[partition] = (struct own_fork){epoch, ++w->copies};
    return w->copies;
}

/* The standby forks with its owner, or nobody does. */
static bool fork_copies(struct world *w, struct site *site, const struct cp_ownership_effect *e,
                        struct cp_forked_copies *ret)
{
    uint32_t p = e->partition, at = cp_map_partition(&site->map, p);
    const struct cp_map_copy *beside = cp_map_copy_beside(&site->map.partitions[at], site->name);
    *ret = (struct cp_forked_copies){.of = beside != NULL ? beside->id : 0};
    if (beside != NULL) {
        struct site *standby = &w->sites[site_of(w, beside->shard)];
        if (standby->o == NULL || cut(w, standby) || standby->paused_until_ns > w->now_ns ||
            standby->copies[p].id != beside->id || standby->open[p].epoch != 0)
            return false;
        ret->beside = fork_copy(w, standby, p, e->epoch);
    }
    ret->own = fork_copy(w, site, p, e->epoch);
    return true;
}

/* Who reads that there is a half takes what it begins with here. */
static void adopt_forks(struct site *site)
{
    for (size_t i = 0; i < site->map.partition_count; i++) {
        const struct cp_map_partition *half = &site->map.partitions[i];
        struct own_fork *fork = &site->forks[half->parent];
        if (half->parent_epoch == 0 || fork->id == 0 || fork->epoch != half->parent_epoch ||
            site->copies[half->number].id != 0)
            continue;
        site->copies[half->number] = (struct cp_own_copy){.id = fork->id};
        fork->id = 0;
    }
}

/* Nobody has it open here; who had it before may still, elsewhere. */
static void fork_store(struct world *w, size_t shard, const struct cp_ownership_effect *e)
{
    struct happening h = {
        .type = FORKED, .shard = shard, .partition = e->partition, .epoch = e->epoch};
    MUST(w->sites[shard].open[e->partition].epoch == 0);
    bool refused = !w->calm && sy_rng_chance(&w->rng, 1, 8);
    if (w->local && !refused)
        refused = !fork_copies(w, &w->sites[shard], e, &h.forked);
    h.result = refused ? CP_COORD_CONFLICT : CP_COORD_DONE;
    if (!refused && e->epoch > w->forked[e->partition])
        w->forked[e->partition] = e->epoch;
    w->forks += !refused;
    happen(w, any_ns(w, 1, 300), h);
}

/* ---- standbys ---- */

/* Or it will be, when that shard reads of it. */
static bool lies_at(const struct site *site, uint32_t partition, uint64_t id)
{
    bool lies = site->copies[partition].id == id;
    for (size_t i = 0; i < ROOM && !lies; i++)
        lies = site->forks[i].id == id;
    return lies;
}

/* The disk of a shard that has just died is lost with it, unless some partition has its only copy
 * there. */
static void lose_disk(struct world *w, size_t shard)
{
    struct site *site = &w->sites[shard];
    for (uint32_t p = 0; p < w->partitions; p++) {
        struct cp_map_partition row = row_of(w, p);
        const struct cp_map_copy *other = cp_map_copy_beside(&row, site->name);
        bool named = cp_map_copy_on(&row, site->name) != NULL;
        if (named && (other == NULL || !lies_at(&w->sites[site_of(w, other->shard)], p, other->id)))
            return;
    }
    memset(site->copies, 0, sizeof(site->copies));
    memset(site->forks, 0, sizeof(site->forks));
    w->disks++;
}

/* The owner's shell, each second or so: who should be in sync and is near is taken in; who is not
 * there is put out. It is written as the shell does, on the condition that the record is as it was
 * seen. */
static void look_after_standby(struct world *w, const struct happening *h)
{
    struct site *site = &w->sites[h->shard];
    struct happening write = {
        .type = IN_SYNC, .shard = h->shard, .partition = h->partition, .number = site->seen};
    uint32_t at = cp_map_partition(&site->map, h->partition);
    happen(w, any_ns(w, 50, 1000), *h);
    if (at == CP_MAP_NONE || site->stale)
        return;
    const struct cp_map_partition *p = &site->map.partitions[at];
    if (p->epoch != h->epoch || strcmp(p->owner, site->name) != 0)
        return;
    const struct cp_map_copy *beside = cp_map_copy_beside(p, site->name);
    size_t standby = site_of(w, p->standby);
    bool near = standby < SHARDS && w->sites[standby].o != NULL && !cut(w, &w->sites[standby]) &&
                w->sites[standby].paused_until_ns <= w->now_ns;
    bool fits = near && beside != NULL && strcmp(beside->shard, p->standby) == 0 &&
                beside->id == w->sites[standby].copies[h->partition].id;
    write.other = near && beside == NULL ? standby : SHARDS;
    write.epoch = (uint32_t)p->revision;
    if (fits || (!near && beside == NULL))
        return;
    happen(w, any_ns(w, 0, 10), write);
}

/* A copy that is taken in has just been filled. */
static void in_sync_arrives(struct world *w, const struct happening *h)
{
    struct record *record = records_partition(&w->records, h->partition);
    const struct site *site = &w->sites[h->shard];
    struct cp_map_partition row = row_of(w, h->partition);
    if (record->revision != (int64_t)h->epoch || cut(w, site))
        return;
    const struct cp_map_copy *own = cp_map_copy_on(&row, site->name);
    MUST(own != NULL);
    row.in_sync[0] = *own;
    row.in_sync_count = 1;
    if (h->other < SHARDS) {
        struct site *standby = &w->sites[h->other];
        if (standby->o == NULL || standby->open[h->partition].epoch != 0)
            return;
        standby->copies[h->partition] = (struct cp_own_copy){.id = ++w->copies};
        row.in_sync[1].id = w->copies;
        snprintf(row.in_sync[1].shard, sizeof(row.in_sync[1].shard), "%s", standby->name);
        row.in_sync_count = 2;
    }
    struct sy_buf value SY_CLEANUP(sy_buf_deinit) = {0};
    cp_map_put_partition(&value, &row);
    w->revision++;
    put(w, record->key, sy_buf_span(&value), 0, false);
    announce(w);
}
