#include "scheduler/heap.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>

#define ARITY 4u
#define CAP_MIN ARITY /* beyond one */

void sch_heap_deinit(struct sch_heap *heap)
{
    if (heap->cap > 0)
        free(heap->items);
    *heap = (struct sch_heap){0};
}

static struct sch_heap_item item_of(struct sch_heap_entry *entry)
{
    return (struct sch_heap_item){entry->key, entry->tie, entry};
}

static bool before(const struct sch_heap_item *a, const struct sch_heap_item *b)
{
    return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

static uint32_t above(uint32_t at)
{
    return (at - 1) / ARITY;
}

static void put(struct sch_heap *heap, uint32_t at, const struct sch_heap_item *item)
{
    heap->items[at] = *item;
    item->entry->index = at + 1;
}

static void sift_up(struct sch_heap *heap, uint32_t at, const struct sch_heap_item *item)
{
    for (; at > 0 && before(item, &heap->items[above(at)]); at = above(at))
        put(heap, at, &heap->items[above(at)]);
    put(heap, at, item);
}

/* Of those below it the first; NULL: there are none. */
static const struct sch_heap_item *first_below(const struct sch_heap *heap, uint32_t at)
{
    uint32_t begin = ARITY * at + 1;
    if (begin >= heap->count)
        return NULL;
    uint32_t end = begin + ARITY < heap->count ? begin + ARITY : heap->count;
    const struct sch_heap_item *first = &heap->items[begin];
    for (uint32_t i = begin + 1; i < end; i++) {
        if (before(&heap->items[i], first))
            first = &heap->items[i];
    }
    return first;
}

static void sift_down(struct sch_heap *heap, uint32_t at, const struct sch_heap_item *item)
{
    const struct sch_heap_item *child;
    while ((child = first_below(heap, at)) && before(child, item)) {
        put(heap, at, child);
        at = (uint32_t)(child - heap->items);
    }
    put(heap, at, item);
}

static void sift(struct sch_heap *heap, uint32_t at, const struct sch_heap_item *item)
{
    if (at > 0 && before(item, &heap->items[above(at)]))
        sift_up(heap, at, item);
    else
        sift_down(heap, at, item);
}

static bool is_at(const struct sch_heap *heap, const struct sch_heap_entry *entry)
{
    return entry->index <= heap->count && sch_heap_at(heap, entry->index - 1) == entry;
}

/* For one more. */
static void grow(struct sch_heap *heap)
{
    struct sch_heap_item *old = heap->cap > 0 ? heap->items : NULL;
    struct sch_heap_entry *only = heap->only;
    uint32_t cap = old ? heap->cap * 2 : CAP_MIN;
    heap->items = sy_realloc(old, cap * sizeof(*heap->items));
    if (!old)
        heap->items[0] = item_of(only);
    heap->cap = cap;
}

void sch_heap_set(struct sch_heap *heap, struct sch_heap_entry *entry, int64_t key)
{
    bool is_new = entry->index == 0;
    SY_ASSERT(is_new || is_at(heap, entry));
    entry->key = key;
    if (heap->cap == 0 && heap->count == !is_new) {
        heap->only = entry;
        heap->count = entry->index = 1;
        return;
    }
    struct sch_heap_item item = item_of(entry);
    if (!is_new) {
        sift(heap, entry->index - 1, &item);
        return;
    }
    if (heap->count >= heap->cap)
        grow(heap);
    heap->count++;
    sift_up(heap, heap->count - 1, &item);
}

void sch_heap_remove(struct sch_heap *heap, struct sch_heap_entry *entry)
{
    if (entry->index == 0)
        return;
    SY_ASSERT(is_at(heap, entry));
    uint32_t at = entry->index - 1;
    entry->index = 0;
    heap->count--;
    if (at == heap->count)
        return;
    struct sch_heap_item last = heap->items[heap->count];
    sift(heap, at, &last);
}

void sch_heap_clear(struct sch_heap *heap)
{
    for (uint32_t i = 0; i < heap->count; i++)
        sch_heap_at(heap, i)->index = 0;
    heap->count = 0;
}

void sch_heap_check(const struct sch_heap *heap)
{
    SY_ASSERT(heap->count <= heap->cap || heap->count == 1);
    for (uint32_t i = 0; i < heap->count; i++) {
        const struct sch_heap_entry *entry = sch_heap_at(heap, i);
        SY_ASSERT(entry->index == i + 1);
        if (heap->cap == 0)
            continue;
        const struct sch_heap_item *item = &heap->items[i];
        SY_ASSERT(entry->key == item->key && entry->tie == item->tie);
        SY_ASSERT(i == 0 || !before(item, &heap->items[above(i)]));
    }
}
