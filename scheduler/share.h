/*
 * What a partition and an operator have in common of the order by priority and share: the place of
 * an action in the tree of projects, domains and queues, and the keys by which places are ordered.
 */
#pragma once

#include "scheduler/queue.h"
#include "scheduler/tokens.h"

#define SCH_SHARE_DEPTH_MAX (3 + SCH_QUEUE_DEPTH_MAX)

/* The way from below the region to a tenant: a tag for each level, the same in every partition and
 * epoch. Depth 0: not known. */
struct sch_share_path {
    uint32_t depth;
    uint32_t tags[SCH_SHARE_DEPTH_MAX];
};

/* And what each level weighs among its siblings. */
struct sch_share_standing {
    struct sch_share_path path;
    uint32_t weights[SCH_SHARE_DEPTH_MAX];
};

bool sch_share_path_equal(const struct sch_share_path *a, const struct sch_share_path *b);
/* From a message: false if it is none that a partition says. */
bool sch_share_path_from(const uint32_t *tags, size_t count, struct sch_share_path *ret);
bool sch_share_standing_from(const uint32_t *tags, size_t tag_count, const uint32_t *weights,
                             size_t weight_count, struct sch_share_standing *ret);

void sch_use_add(struct sch_use *sum, const struct sch_use *more);
/* To the lesser of both, each amount for itself. */
void sch_use_lessen(struct sch_use *least, const struct sch_use *other);
void sch_use_subtract(struct sch_use *sum, const struct sch_use *less);

/* Of the resource of which it is the most, the part of the capacity. What asks for nothing at all
 * counts by its actions, as if there were a million places. */
#define SCH_SHARE_PLACES 1000000.0
double sch_dominant_share(const struct sch_use *use, const struct sch_use *capacity);
/* Over its weight, as the bits of a float: they order as the numbers do, and 31 bits of a fraction
 * would not tell one task in a large region from none. */
uint32_t sch_share_bits(double share, uint32_t weight);

/* Of a heap of turns: the highest priority comes first, then the lowest half (a share, an age). */
static inline int64_t sch_turn_key(int32_t priority, uint32_t low)
{
    return -(int64_t)priority * ((int64_t)1 << 32) + low;
}
static inline int32_t sch_turn_priority(int64_t key)
{
    return (int32_t) - (key >> 32); /* the low half is never negative */
}
