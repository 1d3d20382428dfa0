#include "scheduler/partition_queue.h"

#include <stdlib.h>

void sch_fifo_init(struct sch_fifo *fifo, uint64_t id)
{
    *fifo = (struct sch_fifo){.id = id};
    sch_list_init(&fifo->levels_all);
}

static uint32_t level_hash(const struct sch_fifo *fifo, int32_t priority)
{
    return sch_hash_u64(fifo->id, (uint32_t)priority);
}

static struct sch_level *level_find(struct sch_partition *p, const struct sch_fifo *fifo,
                                    int32_t priority)
{
    struct sch_table_link *link = sch_table_first(&p->levels, level_hash(fifo, priority));
    for (; link; link = sch_table_next(link)) {
        struct sch_level *level = sy_container_of(link, struct sch_level, by_priority);
        if (level->fifo == fifo && level->priority == priority)
            return level;
    }
    return NULL;
}

static struct sch_level *level_get(struct sch_partition *p, struct sch_fifo *fifo, int32_t priority)
{
    struct sch_level *level = level_find(p, fifo, priority);
    if (level)
        return level;
    level = sy_new(struct sch_level);
    level->fifo = fifo;
    level->priority = priority;
    sch_list_init(&level->actions);
    sch_list_push_back(&fifo->levels_all, &level->link);
    fifo->level_count++;
    sch_table_add(&p->levels, &level->by_priority, level_hash(fifo, priority));
    return level;
}

static struct sch_action_impl *level_first(const struct sch_level *level)
{
    SY_ASSERT(!sch_list_empty(&level->actions));
    return sy_container_of(level->actions.next, struct sch_action_impl, link);
}

void sch_level_age(struct sch_partition *p, struct sch_level *level)
{
    int64_t ageing_ns = p->options.ageing_ns;
    if (!level->fifo->lane || ageing_ns == 0)
        return;
    if (sch_list_empty(&level->actions)) {
        sch_heap_remove(&p->ages, &level->age);
        level->boost = 0;
        return;
    }
    int64_t since_ns = level_first(level)->base.queued_at_ns, waited_ns = p->now_ns - since_ns;
    int64_t boost = waited_ns > 0 ? waited_ns / ageing_ns : 0;
    bool most = boost >= SCH_BOOST_MAX;
    level->boost = most ? SCH_BOOST_MAX : (int32_t)boost;
    if (most)
        sch_heap_remove(&p->ages, &level->age);
    else
        sch_heap_set(&p->ages, &level->age, since_ns + (boost + 1) * ageing_ns);
    int64_t key = -((int64_t)level->priority + level->boost);
    if (!sch_heap_has(&level->entry) || level->entry.key != key)
        sch_heap_set(&level->fifo->levels, &level->entry, key);
}

/* It is out of fifo->levels_all already. */
static void level_free(struct sch_partition *p, struct sch_level *level)
{
    SY_ASSERT(!sch_link_in_list(&level->link) && !sch_heap_has(&level->entry));
    sch_heap_remove(&p->ages, &level->age);
    SY_ASSERT(level->fifo->level_count > 0);
    level->fifo->level_count--;
    sch_table_remove(&p->levels, &level->by_priority);
    free(level);
}

void sch_fifo_deinit(struct sch_partition *p, struct sch_fifo *fifo)
{
    sch_heap_clear(&fifo->levels);
    while (!sch_list_empty(&fifo->levels_all)) {
        struct sch_link *link = sch_list_pop(&fifo->levels_all);
        level_free(p, sy_container_of(link, struct sch_level, link));
    }
    SY_ASSERT(fifo->level_count == 0);
    sch_heap_deinit(&fifo->levels);
}

void sch_fifo_push(struct sch_partition *p, struct sch_fifo *fifo, struct sch_action_impl *a,
                   bool front)
{
    SY_ASSERT(!a->level);
    struct sch_level *level = level_get(p, fifo, a->base.priority);
    a->level = level;
    if (front)
        sch_list_push_front(&level->actions, &a->link);
    else
        sch_list_push_back(&level->actions, &a->link);
    level->count++;
    bool was_empty = !sch_heap_has(&level->entry);
    if (was_empty)
        sch_heap_set(&fifo->levels, &level->entry, -(int64_t)level->priority);
    if (was_empty || (front && level->boost > 0))
        sch_level_age(p, level);
    fifo->waiting++;
}

void sch_fifo_remove(struct sch_partition *p, struct sch_fifo *fifo, struct sch_action_impl *a)
{
    struct sch_level *level = a->level;
    SY_ASSERT(level && level->fifo == fifo && fifo->waiting > 0 && level->count > 0);
    bool was_first = level->actions.next == &a->link;
    sch_list_remove(&a->link);
    a->level = NULL;
    level->count--;
    fifo->waiting--;
    if (!sch_list_empty(&level->actions)) {
        if (was_first && level->boost > 0)
            sch_level_age(p, level);
        return;
    }
    sch_heap_remove(&fifo->levels, &level->entry);
    sch_level_age(p, level);
    if (fifo->level_count > SCH_LEVELS_KEPT) {
        sch_list_remove(&level->link);
        level_free(p, level);
    }
}

struct sch_action_impl *sch_fifo_first(const struct sch_fifo *fifo)
{
    struct sch_heap_entry *entry = sch_heap_top(&fifo->levels);
    return entry ? level_first(sy_container_of(entry, struct sch_level, entry)) : NULL;
}

int32_t sch_fifo_priority(const struct sch_fifo *fifo)
{
    const struct sch_heap_entry *entry = sch_heap_top(&fifo->levels);
    SY_ASSERT(entry && entry->key >= -INT32_MAX - (int64_t)SCH_BOOST_MAX - 1);
    return entry->key < -(int64_t)INT32_MAX ? INT32_MAX : (int32_t)-entry->key;
}

/* Exact with up to this many priorities in use, else that of the first ones in the heap. */
int64_t sch_fifo_oldest_ns(const struct sch_fifo *fifo, int64_t now_ns)
{
    int64_t oldest = now_ns;
    for (uint32_t i = 0; i < fifo->levels.count && i < SCH_LEVELS_KEPT; i++) {
        const struct sch_level *level = sy_container_of(sch_heap_at(&fifo->levels, i),
                                                        struct sch_level, entry);
        int64_t at = level_first(level)->base.queued_at_ns;
        oldest = at < oldest ? at : oldest;
    }
    return oldest;
}
