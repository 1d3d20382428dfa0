#include "scheduler/partition_cache.h"
#include "scheduler/action_impl.h"
#include "scheduler/partition_infeasible.h"

#include <stdlib.h>
#include <string.h>

static uint32_t key_hash(const uint8_t *key)
{
    return (uint32_t)sch_hash_bytes(key, SCH_CACHE_KEY_BYTES, 0);
}

struct sch_cache *sch_cache_find(struct sch_partition *p, const uint8_t *key)
{
    struct sch_table_link *link = sch_table_first(&p->caches, key_hash(key));
    for (; link; link = sch_table_next(link)) {
        struct sch_cache *cache = sy_container_of(link, struct sch_cache, by_key);
        if (memcmp(cache->key, key, SCH_CACHE_KEY_BYTES) == 0)
            return cache;
    }
    return NULL;
}

void sch_cache_join(struct sch_partition *p, struct sch_action_impl *a, const uint8_t *key)
{
    struct sch_cache *cache = sch_cache_find(p, key);
    sch_action_rare(a)->cache = cache;
    if (cache) {
        SY_ASSERT(cache->producer && cache->producer->base.id < a->base.id);
        SY_ASSERT(sch_action_state(a) == SCH_ACTION_CACHE_WAIT);
        sch_list_push_back(&cache->waiters, &a->link);
        return;
    }
    cache = sy_new(struct sch_cache);
    memcpy(cache->key, key, SCH_CACHE_KEY_BYTES);
    cache->producer = a;
    sch_list_init(&cache->waiters);
    sch_table_add(&p->caches, &cache->by_key, key_hash(key));
    a->rare->cache = cache;
}

void sch_cache_free(struct sch_partition *p, struct sch_cache *cache)
{
    if (sch_link_in_list(&cache->touched))
        sch_list_remove(&cache->touched);
    sch_table_remove(&p->caches, &cache->by_key);
    free(cache);
}

/* It is final and in no list. */
void sch_cache_leave(struct sch_partition *p, struct sch_action_impl *a)
{
    struct sch_cache *cache = a->rare ? sy_take(a->rare->cache) : NULL;
    if (!cache || cache->producer != a)
        return;
    cache->producer = NULL;
    cache->source = sch_action_state(a) == SCH_ACTION_SUCCEEDED ? a : NULL;
    SY_ASSERT(!sch_link_in_list(&cache->touched));
    sch_list_push_back(&p->caches_touched, &cache->touched);
}

static struct sch_action_impl *first_waiter(const struct sch_cache *cache)
{
    struct sch_link *link = cache->waiters.next;
    return sch_list_empty(&cache->waiters) ? NULL
                                           : sy_container_of(link, struct sch_action_impl, link);
}

static void settle(struct sch_partition *p, struct sch_cache *cache)
{
    struct sch_action_impl *a;
    SY_ASSERT(!cache->producer);
    while (cache->source && (a = first_waiter(cache))) {
        struct sch_end end = {.state = SCH_ACTION_SUCCEEDED, .reused = &cache->source->base};
        sch_action_end_as(p, a, &end);
    }
    a = first_waiter(cache);
    if (!a) {
        sch_cache_free(p, cache);
        return;
    }
    cache->producer = a;
    sch_list_remove(&a->link);
    sch_class_waits(p, a);
    sch_action_wait(p, a, false);
}

/* At the end of the step, so that an abort of all that wait starts none of them. The source is
 * readable until the next step. */
void sch_caches_settle(struct sch_partition *p)
{
    while (!sch_list_empty(&p->caches_touched)) {
        struct sch_link *link = sch_list_pop(&p->caches_touched);
        settle(p, sy_container_of(link, struct sch_cache, touched));
    }
}

const struct sch_action *sch_action_producer(const struct sch_action *action)
{
    const struct sch_action_impl *a = sch_action_impl_const(action);
    if (sch_action_state(a) != SCH_ACTION_CACHE_WAIT)
        return NULL;
    SY_ASSERT(a->rare && a->rare->cache);
    return &a->rare->cache->producer->base;
}

/* ---- rebuild ---- */

void sch_cache_restore(struct sch_partition *p, struct sch_action_impl *a, const uint8_t *key)
{
    if (p->keyed_count == p->keyed_cap) {
        p->keyed_cap = p->keyed_cap ? p->keyed_cap * 2 : 64;
        p->keyed = sy_realloc(p->keyed, p->keyed_cap * sizeof(*p->keyed));
    }
    struct sch_keyed *keyed = &p->keyed[p->keyed_count++];
    keyed->action = a;
    memcpy(keyed->key, key, SCH_CACHE_KEY_BYTES);
}

static int by_age(const void *left, const void *right)
{
    uint64_t a = ((const struct sch_keyed *)left)->action->base.id;
    uint64_t b = ((const struct sch_keyed *)right)->action->base.id;
    return a < b ? -1 : a > b;
}

/* The oldest was the producer before, so of each key only it can have an attempt that is out. */
void sch_cache_restored(struct sch_partition *p)
{
    if (p->keyed_count > 0)
        qsort(p->keyed, p->keyed_count, sizeof(*p->keyed), by_age);
    for (size_t i = 0; i < p->keyed_count; i++) {
        struct sch_action_impl *a = p->keyed[i].action;
        SY_ASSERT(sch_action_state(a) == SCH_ACTION_RECOVERING);
        if (sch_cache_find(p, p->keyed[i].key)) {
            (void)sch_action_rare(a);
            sch_list_remove(&a->link);
            sch_action_move(p, a, SCH_ACTION_CACHE_WAIT);
        }
        sch_cache_join(p, a, p->keyed[i].key);
    }
}
