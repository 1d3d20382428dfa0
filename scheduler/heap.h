/*
 * An intrusive heap: the smallest (key, tie) is on top. It keeps the core's deadlines, the levels
 * of a class and the clusters that have grants left. Entries with equal key and tie come out in an
 * order that depends only on the calls made, never on addresses.
 *
 * Cheap in two ways, for there are thousands of queues with several heaps each, and what they are
 * made of is seldom in a CPU's cache. Most heaps have one entry: that one needs no memory besides.
 * And a node has four children, so that a move writes to half as many entries as with two.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sch_heap_entry {
    int64_t key;
    uint32_t tie;   /* the owner's, set before the entry is inserted */
    uint32_t index; /* position + 1; 0 = in no heap */
};

struct sch_heap_item { /* a copy: no comparison touches an entry */
    int64_t key;
    uint32_t tie;
    struct sch_heap_entry *entry;
};

struct sch_heap {
    union {
        struct sch_heap_entry *only; /* cap is 0: at most one */
        struct sch_heap_item *items;
    };
    uint32_t count, cap;
};

void sch_heap_deinit(struct sch_heap *heap);

/* Inserts the entry, or moves it to its new place. */
void sch_heap_set(struct sch_heap *heap, struct sch_heap_entry *entry, int64_t key);
/* Nothing happens when it is in no heap. */
void sch_heap_remove(struct sch_heap *heap, struct sch_heap_entry *entry);
/* Forgets all entries. */
void sch_heap_clear(struct sch_heap *heap);
/* Aborts when the order is broken. */
void sch_heap_check(const struct sch_heap *heap);

/* At a position, from 0 to count - 1: for who looks at all of them. */
static inline struct sch_heap_entry *sch_heap_at(const struct sch_heap *heap, uint32_t at)
{
    return heap->cap > 0 ? heap->items[at].entry : heap->only;
}

static inline struct sch_heap_entry *sch_heap_top(const struct sch_heap *heap)
{
    return heap->count > 0 ? sch_heap_at(heap, 0) : NULL;
}

static inline bool sch_heap_has(const struct sch_heap_entry *entry)
{
    return entry->index != 0;
}
