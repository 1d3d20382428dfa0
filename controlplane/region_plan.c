#include "controlplane/region_plan.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct member {
    bool eligible;
    size_t fixed; /* partitions that people want here */
    size_t owned; /* others that it owns now */
    size_t quota; /* of others that it should own */
    size_t taken; /* of the quota */
};

struct plan {
    const struct cp_map *map;
    struct member *members;
    uint32_t *owners, *targets; /* of each partition */
};

uint64_t cp_plan_score(const struct cp_map *map, uint32_t shard, size_t partition)
{
    const char *name = map->shards[shard].name;
    return XXH3_64bits_withSeed(name, strlen(name), map->partitions[partition].number);
}

static bool eligible(const struct plan *plan, uint32_t shard)
{
    return shard != CP_MAP_NONE && plan->members[shard].eligible;
}

static size_t max_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* How many there would be with at least `level` on every shard. */
static size_t filled(const struct plan *plan, size_t level)
{
    size_t sum = 0;
    for (size_t i = 0; i < plan->map->shard_count; i++)
        sum += plan->members[i].eligible ? max_of(plan->members[i].fixed, level) : 0;
    return sum;
}

/* As water fills a vessel whose floor are the fixed ones: each shard up to the level, some by one
 * more; first those that then keep one. A shard is above its quota or below it, never both in one
 * plan, so no move is in vain. */
static void set_quotas(struct plan *plan)
{
    size_t count = plan->map->partition_count, level = 0, above = count + 1;
    while (above - level > 1) { /* filled(level) <= count < filled(above) */
        size_t middle = level + (above - level) / 2;
        if (filled(plan, middle) <= count)
            level = middle;
        else
            above = middle;
    }
    size_t rest = count - filled(plan, level);
    for (size_t i = 0; i < plan->map->shard_count; i++) {
        struct member *m = &plan->members[i];
        m->quota = m->eligible ? max_of(m->fixed, level) - m->fixed : 0;
    }
    for (int keeps_one = 1; keeps_one >= 0; keeps_one--) {
        for (size_t i = 0; i < plan->map->shard_count && rest > 0; i++) {
            struct member *m = &plan->members[i];
            if (!m->eligible || m->fixed > level || m->fixed + m->quota > level ||
                (keeps_one && m->owned <= m->quota))
                continue;
            m->quota++;
            rest--;
        }
    }
    SY_ASSERT(rest == 0);
}

struct owned {
    uint64_t score;
    uint32_t owner, partition;
};

/* By owner; what suits it best first. */
static int compare_owned(const void *left, const void *right)
{
    const struct owned *a = left, *b = right;
    if (a->owner != b->owner)
        return a->owner < b->owner ? -1 : 1;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->partition < b->partition ? -1 : a->partition > b->partition;
}

/* Each shard keeps of what it owns as much as its quota. */
static void keep_owned(struct plan *plan)
{
    const struct cp_map *map = plan->map;
    struct owned *owned SY_AUTOFREE = sy_calloc(map->partition_count, sizeof(*owned));
    size_t count = 0;
    for (size_t i = 0; i < map->partition_count; i++) {
        uint32_t owner = plan->owners[i];
        if (plan->targets[i] == CP_MAP_NONE && eligible(plan, owner))
            owned[count++] = (struct owned){cp_plan_score(map, owner, i), owner, (uint32_t)i};
    }
    qsort(owned, count, sizeof(*owned), compare_owned);
    for (size_t i = 0; i < count; i++) {
        struct member *m = &plan->members[owned[i].owner];
        if (m->taken == m->quota)
            continue;
        m->taken++;
        plan->targets[owned[i].partition] = owned[i].owner;
    }
}

/* What is free or has to leave. */
static void give_rest(struct plan *plan)
{
    const struct cp_map *map = plan->map;
    for (size_t i = 0; i < map->partition_count; i++) {
        if (plan->targets[i] != CP_MAP_NONE)
            continue;
        uint32_t best = CP_MAP_NONE;
        uint64_t best_score = 0;
        for (uint32_t shard = 0; shard < map->shard_count; shard++) {
            if (plan->members[shard].taken == plan->members[shard].quota)
                continue;
            uint64_t its = cp_plan_score(map, shard, i);
            if (best == CP_MAP_NONE || its > best_score) {
                best = shard;
                best_score = its;
            }
        }
        SY_ASSERT(best != CP_MAP_NONE);
        plan->members[best].taken++;
        plan->targets[i] = best;
    }
}

void cp_plan(const struct cp_map *map, uint32_t *ret_targets)
{
    if (map->local)
        cp_plan_local(map, ret_targets);
    else
        cp_plan_spread(map, ret_targets);
}

void cp_plan_spread(const struct cp_map *map, uint32_t *ret_targets)
{
    struct member *members SY_AUTOFREE = sy_calloc(map->shard_count, sizeof(*members));
    uint32_t *owners SY_AUTOFREE = sy_calloc(map->partition_count, sizeof(*owners));
    struct plan plan = {map, members, owners, ret_targets};
    bool any = false;
    for (size_t i = 0; i < map->shard_count; i++) {
        members[i].eligible = !map->shards[i].draining;
        any |= members[i].eligible;
    }
    for (size_t i = 0; i < map->partition_count; i++) {
        const struct cp_map_partition *p = &map->partitions[i];
        uint32_t wanted = p->wanted[0] != '\0' ? cp_map_shard(map, p->wanted) : CP_MAP_NONE;
        owners[i] = cp_map_owner(map, p);
        ret_targets[i] = eligible(&plan, wanted) ? wanted : any ? CP_MAP_NONE : owners[i];
        if (eligible(&plan, wanted))
            members[wanted].fixed++;
        else if (eligible(&plan, owners[i]))
            members[owners[i]].owned++;
    }
    if (!any)
        return;
    set_quotas(&plan);
    keep_owned(&plan);
    give_rest(&plan);
}
