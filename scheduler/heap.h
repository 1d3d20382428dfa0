/*
 * An intrusive binary heap: the smallest (key, tie) is on top. It keeps the core's deadlines, the
 * levels of a class and the clusters that have grants left. Entries with equal key and tie come out
 * in an order that depends only on the calls made, never on addresses.
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

struct sch_heap {
    struct sch_heap_item { /* with its key: most comparisons touch no entry */
        int64_t key;
        struct sch_heap_entry *entry;
    } * items;
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

static inline struct sch_heap_entry *sch_heap_top(const struct sch_heap *heap)
{
    return heap->count ? heap->items[0].entry : NULL;
}

static inline bool sch_heap_has(const struct sch_heap_entry *entry)
{
    return entry->index != 0;
}
