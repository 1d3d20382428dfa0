/*
 * An index of vectors: which entry, least in order, has at least so much in each dimension. It
 * finds the node for a request among thousands, whatever the kinds of requests, so that a change of
 * a node is one change here and not one for each kind.
 *
 * A treap (Seidel and Aragon 1996) in the order of the first two dimensions, then of `tie`; each
 * subtree keeps its greatest value in each dimension, which rules it out as a whole. Exact in any
 * number of dimensions. A search costs O(log n) when what fits in each dimension alone lies
 * together, as it does for two dimensions; at worst O(n). Shape and cost depend on ties only, so
 * that the same calls give the same answers.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SCH_FIT_DIMS_MAX 48u
#define SCH_FIT_ROOM_MAX 4096u /* counted of one entry */

struct sch_fit_entry {
    struct sch_fit_entry *left, *right;
    void *owner;
    uint64_t tie;
    uint32_t priority, count; /* count: of the subtree; 0 = in no index */
    uint64_t values[];        /* dims own, then dims greatest of the subtree */
};

struct sch_fit {
    struct sch_fit_entry *root;
    uint32_t dims; /* 2 or more */
};

/* `tie` is unique in an index. To be freed with free() when it is in none. */
struct sch_fit_entry *sch_fit_entry_new(uint32_t dims, uint64_t tie, void *owner);
/* Inserts it with these values, or moves it. */
void sch_fit_set(struct sch_fit *fit, struct sch_fit_entry *entry, const uint64_t *values);
/* Nothing happens when it is not in. */
void sch_fit_remove(struct sch_fit *fit, struct sch_fit_entry *entry);
/* values >= least in each dimension. */
bool sch_fit_enough(const uint64_t *values, const uint64_t *least, uint32_t dims);
/* The first in order with values >= least in each dimension; NULL: none. */
const struct sch_fit_entry *sch_fit_find(const struct sch_fit *fit, const uint64_t *least);
/* Those with values >= least in each dimension, the last in order first, until `fn` returns false;
 * returns whether it never did. The index may not change meanwhile. */
bool sch_fit_each_last(const struct sch_fit *fit, const uint64_t *least,
                       bool (*fn)(void *ctx, void *owner), void *ctx);
/* How often `least` fits, over all entries. Looks at `budget` entries and takes the others to be
 * like their neighbours: exact for an index with no more than that. */
uint64_t sch_fit_room(const struct sch_fit *fit, const uint64_t *least, uint32_t budget);
/* Aborts when order, priorities, counts or greatest values are wrong. */
void sch_fit_check(const struct sch_fit *fit);

static inline uint32_t sch_fit_count(const struct sch_fit *fit)
{
    return fit->root ? fit->root->count : 0;
}
