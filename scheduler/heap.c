#include "scheduler/heap.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>

#define HEAP_CAP_MIN 4u

void sch_heap_deinit(struct sch_heap *heap)
{
    free(heap->items);
    *heap = (struct sch_heap){0};
}

static bool before(struct sch_heap_item a, struct sch_heap_item b)
{
    return a.key != b.key ? a.key < b.key : a.entry->tie < b.entry->tie;
}

static void put(struct sch_heap *heap, uint32_t at, struct sch_heap_item item)
{
    heap->items[at] = item;
    item.entry->index = at + 1;
}

static void sift_up(struct sch_heap *heap, uint32_t at, struct sch_heap_item item)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (!before(item, heap->items[parent]))
            break;
        put(heap, at, heap->items[parent]);
        at = parent;
    }
    put(heap, at, item);
}

static void sift_down(struct sch_heap *heap, uint32_t at, struct sch_heap_item item)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && before(heap->items[child + 1], heap->items[child]))
            child++;
        if (!before(heap->items[child], item))
            break;
        put(heap, at, heap->items[child]);
        at = child;
    }
    put(heap, at, item);
}

static void sift(struct sch_heap *heap, uint32_t at, struct sch_heap_item item)
{
    if (at > 0 && before(item, heap->items[(at - 1) / 2]))
        sift_up(heap, at, item);
    else
        sift_down(heap, at, item);
}

void sch_heap_set(struct sch_heap *heap, struct sch_heap_entry *entry, int64_t key)
{
    struct sch_heap_item item = {key, entry};
    entry->key = key;
    if (entry->index == 0) {
        if (heap->count == heap->cap) {
            heap->cap = heap->cap ? heap->cap * 2 : HEAP_CAP_MIN;
            heap->items = sy_realloc(heap->items, heap->cap * sizeof(*heap->items));
        }
        heap->count++;
        sift_up(heap, heap->count - 1, item);
        return;
    }
    SY_ASSERT(entry->index <= heap->count);
    SY_ASSERT(heap->items[entry->index - 1].entry == entry);
    sift(heap, entry->index - 1, item);
}

void sch_heap_remove(struct sch_heap *heap, struct sch_heap_entry *entry)
{
    if (entry->index == 0)
        return;
    SY_ASSERT(entry->index <= heap->count);
    SY_ASSERT(heap->items[entry->index - 1].entry == entry);
    uint32_t at = entry->index - 1;
    entry->index = 0;
    struct sch_heap_item last = heap->items[--heap->count];
    if (last.entry == entry)
        return;
    sift(heap, at, last);
}

void sch_heap_clear(struct sch_heap *heap)
{
    for (uint32_t i = 0; i < heap->count; i++)
        heap->items[i].entry->index = 0;
    heap->count = 0;
}

void sch_heap_check(const struct sch_heap *heap)
{
    SY_ASSERT(heap->count <= heap->cap);
    for (uint32_t i = 0; i < heap->count; i++) {
        SY_ASSERT(heap->items[i].entry->index == i + 1);
        SY_ASSERT(heap->items[i].entry->key == heap->items[i].key);
        SY_ASSERT(i == 0 || !before(heap->items[i], heap->items[(i - 1) / 2]));
    }
}
