#include "controlplane/ranges.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct piece { /* up to where the next one begins */
    uint64_t first;
    uint32_t partition;
};

struct cp_ranges {
    struct cp_ranges *before; /* in a cp_ranges_now */
    uint32_t count;
    struct cp_range *ranges; /* by number */
    struct piece pieces[];   /* by hash */
};

/* ---- even ---- */

static uint64_t even_first(uint32_t partition, uint32_t count)
{
    unsigned __int128 whole = (unsigned __int128)partition << 64;
    return (uint64_t)((whole + count - 1) / count);
}

struct cp_range cp_range_even(uint32_t partition, uint32_t count)
{
    SY_ASSERT(partition < count);
    struct cp_range range = {even_first(partition, count), UINT64_MAX};
    if (partition + 1 < count)
        range.last = even_first(partition + 1, count) - 1;
    return range;
}

uint32_t cp_range_even_of(uint64_t hash, uint32_t count)
{
    SY_ASSERT(count > 0);
    return (uint32_t)(((unsigned __int128)hash * count) >> 64);
}

/* ---- any ---- */

static int by_first(const void *left, const void *right)
{
    const struct piece *a = left, *b = right;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return 0;
}

/* Each hash in exactly one: each piece begins where the one before it ends. */
static bool whole(const struct cp_ranges *ranges)
{
    uint64_t next = 0;
    for (uint32_t i = 0; i < ranges->count; i++) {
        const struct cp_range *range = &ranges->ranges[ranges->pieces[i].partition];
        if (range->first != next || range->last < range->first)
            return false;
        if ((range->last == UINT64_MAX) != (i + 1 == ranges->count))
            return false;
        next = range->last + 1;
    }
    return ranges->count > 0;
}

struct cp_ranges *cp_ranges_new(const struct cp_range *ranges, uint32_t count)
{
    struct cp_ranges *made = sy_calloc(1, sizeof(*made) + count * sizeof(made->pieces[0]));
    made->count = count;
    made->ranges = sy_calloc(count + (size_t)1, sizeof(*made->ranges));
    for (uint32_t i = 0; i < count; i++) {
        made->ranges[i] = ranges[i];
        made->pieces[i] = (struct piece){ranges[i].first, i};
    }
    qsort(made->pieces, count, sizeof(made->pieces[0]), by_first);
    if (whole(made))
        return made;
    cp_ranges_free(made);
    return NULL;
}

struct cp_ranges *cp_ranges_new_even(uint32_t count)
{
    SY_ASSERT(count > 0);
    struct cp_range *ranges SY_AUTOFREE = sy_calloc(count, sizeof(*ranges));
    for (uint32_t i = 0; i < count; i++)
        ranges[i] = cp_range_even(i, count);
    struct cp_ranges *made = cp_ranges_new(ranges, count);
    SY_ASSERT(made);
    return made;
}

void cp_ranges_free(struct cp_ranges *ranges)
{
    if (!ranges)
        return;
    free(ranges->ranges);
    free(ranges);
}

uint32_t cp_ranges_count(const struct cp_ranges *ranges)
{
    return ranges->count;
}

uint32_t cp_ranges_find(const struct cp_ranges *ranges, uint64_t hash)
{
    uint32_t from = 0, to = ranges->count; /* the last piece that begins at or before the hash */
    while (to - from > 1) {
        uint32_t middle = from + (to - from) / 2;
        if (ranges->pieces[middle].first <= hash)
            from = middle;
        else
            to = middle;
    }
    uint32_t partition = ranges->pieces[from].partition;
    SY_ASSERT(cp_range_has(&ranges->ranges[partition], hash));
    return partition;
}

struct cp_range cp_ranges_of(const struct cp_ranges *ranges, uint32_t partition)
{
    SY_ASSERT(partition < ranges->count);
    return ranges->ranges[partition];
}

/* The last split is undone, then the one before it: at its birth what is below a new one is the
 * rest of the one that it was split from. */
void cp_ranges_parents(const struct cp_ranges *ranges, uint32_t before, uint32_t *ret)
{
    struct cp_range *undone SY_AUTOFREE = sy_calloc(ranges->count, sizeof(*undone));
    memcpy(undone, ranges->ranges, ranges->count * sizeof(*undone));
    SY_ASSERT(before > 0);
    for (uint32_t i = ranges->count; i-- > before;) {
        uint32_t parent = 0;
        while (parent < i && undone[parent].last + 1 != undone[i].first)
            parent++;
        SY_ASSERT(parent < i);
        undone[parent].last = undone[i].last;
        ret[i - before] = parent;
    }
}

bool cp_ranges_same(const struct cp_ranges *a, const struct cp_ranges *b)
{
    return a->count == b->count && memcmp(a->ranges, b->ranges, a->count * sizeof(*a->ranges)) == 0;
}

/* ---- of a shard ---- */

void cp_ranges_set(struct cp_ranges_now *now, struct cp_ranges *ranges)
{
    SY_ASSERT(ranges && !ranges->before);
    ranges->before = atomic_load(&now->now);
    atomic_store(&now->now, ranges);
}

void cp_ranges_now_deinit(struct cp_ranges_now *now)
{
    struct cp_ranges *ranges = atomic_exchange(&now->now, NULL), *before;
    for (; ranges; ranges = before) {
        before = ranges->before;
        cp_ranges_free(ranges);
    }
}
