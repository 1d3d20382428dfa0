#include "scheduler/share.h"

#include "base/mem.h"

#include <string.h>

bool sch_share_path_equal(const struct sch_share_path *a, const struct sch_share_path *b)
{
    return a->depth == b->depth && memcmp(a->tags, b->tags, a->depth * sizeof(a->tags[0])) == 0;
}

bool sch_share_path_from(const uint32_t *tags, size_t count, struct sch_share_path *ret)
{
    if (count > SCH_SHARE_DEPTH_MAX)
        return false;
    struct sch_share_path path = {.depth = (uint32_t)count};
    for (size_t i = 0; i < count; i++) {
        if (tags[i] == 0)
            return false;
        path.tags[i] = tags[i];
    }
    *ret = path;
    return true;
}

bool sch_share_standing_from(const uint32_t *tags, size_t tag_count, const uint32_t *weights,
                             size_t weight_count, struct sch_share_standing *ret)
{
    struct sch_share_standing standing = {0};
    if (tag_count != weight_count || !sch_share_path_from(tags, tag_count, &standing.path))
        return false;
    for (size_t i = 0; i < weight_count; i++) {
        if (weights[i] == 0 || weights[i] > SCH_QUEUE_WEIGHT_MAX)
            return false;
        standing.weights[i] = weights[i];
    }
    *ret = standing;
    return true;
}

/* ---- amounts ---- */

void sch_use_add(struct sch_use *sum, const struct sch_use *more)
{
    sum->actions += more->actions;
    sum->cpu_milli += more->cpu_milli;
    sum->memory_bytes += more->memory_bytes;
    sum->gpu_milli += more->gpu_milli;
}

void sch_use_subtract(struct sch_use *sum, const struct sch_use *less)
{
    SY_ASSERT(sum->actions >= less->actions && sum->cpu_milli >= less->cpu_milli);
    SY_ASSERT(sum->memory_bytes >= less->memory_bytes && sum->gpu_milli >= less->gpu_milli);
    sum->actions -= less->actions;
    sum->cpu_milli -= less->cpu_milli;
    sum->memory_bytes -= less->memory_bytes;
    sum->gpu_milli -= less->gpu_milli;
}

static void lessen(uint64_t *least, uint64_t other)
{
    *least = other < *least ? other : *least;
}

void sch_use_lessen(struct sch_use *least, const struct sch_use *other)
{
    lessen(&least->actions, other->actions);
    lessen(&least->cpu_milli, other->cpu_milli);
    lessen(&least->memory_bytes, other->memory_bytes);
    lessen(&least->gpu_milli, other->gpu_milli);
}

/* ---- shares ---- */

static double part(uint64_t used, uint64_t capacity)
{
    if (used == 0)
        return 0;
    return capacity > 0 ? (double)used / (double)capacity : 1;
}

double sch_dominant_share(const struct sch_use *use, const struct sch_use *capacity)
{
    double parts[] = {part(use->cpu_milli, capacity->cpu_milli),
                      part(use->memory_bytes, capacity->memory_bytes),
                      part(use->gpu_milli, capacity->gpu_milli)};
    double most = (double)use->actions / SCH_SHARE_PLACES;
    for (unsigned i = 0; i < SY_COUNT_OF(parts); i++)
        most = parts[i] > most ? parts[i] : most;
    return most;
}

uint32_t sch_share_bits(double share, uint32_t weight)
{
    SY_ASSERT(share >= 0 && weight > 0);
    float narrow = (float)(share * SCH_QUEUE_WEIGHT_DEFAULT / weight);
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof(bits));
    SY_ASSERT(bits <= INT32_MAX);
    return bits;
}
