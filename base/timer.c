#include "base/timer.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>

#define CAP_MIN ((size_t)32)

static bool before(const struct sy_timer_entry *a, const struct sy_timer_entry *b)
{
    if (a->deadline_ns != b->deadline_ns)
        return a->deadline_ns < b->deadline_ns;
    return a->sequence < b->sequence;
}

static void put(struct sy_timers *timers, size_t index, struct sy_timer_entry entry)
{
    timers->entries[index] = entry;
    entry.timer->heap_index = index;
}

static void sift_up(struct sy_timers *timers, size_t index, struct sy_timer_entry entry)
{
    while (index > 1 && before(&entry, &timers->entries[index / 2])) {
        put(timers, index, timers->entries[index / 2]);
        index /= 2;
    }
    put(timers, index, entry);
}

static void sift_down(struct sy_timers *timers, size_t index, struct sy_timer_entry entry)
{
    for (;;) {
        size_t child = index * 2;
        if (child > timers->count)
            break;
        if (child < timers->count && before(&timers->entries[child + 1], &timers->entries[child]))
            child++;
        if (before(&entry, &timers->entries[child]))
            break;
        put(timers, index, timers->entries[child]);
        index = child;
    }
    put(timers, index, entry);
}

static void resize(struct sy_timers *timers, size_t cap)
{
    SY_ASSERT(cap > timers->count + 1);
    timers->entries = sy_realloc(timers->entries, cap * sizeof(*timers->entries));
    timers->cap = cap;
}

void sy_timers_deinit(struct sy_timers *timers)
{
    for (size_t i = 1; i <= timers->count; i++)
        timers->entries[i].timer->heap_index = 0;
    free(timers->entries);
    *timers = (struct sy_timers){0};
}

void sy_timers_insert(struct sy_timers *timers, struct sy_timer *timer, int64_t key_ns)
{
    SY_ASSERT(timer->heap_index == 0);
    SY_ASSERT(timer->fn);
    if (timers->count + 1 >= timers->cap)
        resize(timers, timers->cap ? timers->cap * 2 : CAP_MIN);
    timer->sequence = timers->next_sequence++;
    timers->count++;
    sift_up(timers, timers->count, (struct sy_timer_entry){key_ns, timer->sequence, timer});
    SY_ASSERT(timers->entries[timer->heap_index].timer == timer);
}

void sy_timers_remove(struct sy_timers *timers, struct sy_timer *timer)
{
    size_t index = timer->heap_index;
    SY_ASSERT(index > 0 && index <= timers->count);
    SY_ASSERT(timers->entries[index].timer == timer);
    struct sy_timer_entry last = timers->entries[timers->count];
    timers->count--;
    if (index <= timers->count) {
        if (index > 1 && before(&last, &timers->entries[index / 2]))
            sift_up(timers, index, last);
        else
            sift_down(timers, index, last);
    }
    timer->heap_index = 0;
    /* A quarter, not a half: else a heap at the edge would be copied again and again. */
    if (timers->cap > CAP_MIN && timers->count < timers->cap / 4)
        resize(timers, timers->cap / 2);
}

struct sy_timer *sy_timers_pop_due(struct sy_timers *timers, int64_t now_ns, uint64_t sequence_end)
{
    if (timers->count == 0)
        return NULL;
    const struct sy_timer_entry *first = &timers->entries[1];
    if (first->deadline_ns > now_ns || first->sequence >= sequence_end)
        return NULL;
    struct sy_timer *timer = first->timer;
    sy_timers_remove(timers, timer);
    SY_ASSERT(timer->heap_index == 0);
    return timer;
}

int64_t sy_timers_next_ns(const struct sy_timers *timers)
{
    return timers->count == 0 ? SY_TIME_NEVER : timers->entries[1].deadline_ns;
}
