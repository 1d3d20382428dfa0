#include "base/map.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 16

/* Eight bytes at a time; the multiplier is 2^64 / phi (Knuth, TAOCP 6.4). */
static uint32_t hash_of(const void *key, size_t size)
{
    const uint8_t *at = key;
    uint64_t hash = size;
    while (size > 0) {
        uint64_t word = 0;
        size_t n = size < sizeof(word) ? size : sizeof(word);
        memcpy(&word, at, n);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 29;
        at += n;
        size -= n;
    }
    return (uint32_t)(hash ^ hash >> 32);
}

static struct sy_map_link **bucket_of(const struct sy_map *map, uint32_t hash)
{
    SY_ASSERT(map->size > 0);
    return &map->buckets[hash & (map->size - 1)];
}

static void put(const struct sy_map *map, struct sy_map_link *link)
{
    struct sy_map_link **bucket = bucket_of(map, link->hash);
    link->chain = *bucket;
    *bucket = link;
}

static void grow(struct sy_map *map)
{
    free(map->buckets);
    map->size = map->size > 0 ? map->size * 2 : BUCKETS_MIN;
    map->buckets = sy_calloc(map->size, sizeof(struct sy_map_link *));
    for (struct sy_map_link *link = map->first; link != NULL; link = link->next)
        put(map, link);
}

static void order_append(struct sy_map *map, struct sy_map_link *link)
{
    link->previous = map->last;
    link->next = NULL;
    if (map->last != NULL)
        map->last->next = link;
    else
        map->first = link;
    map->last = link;
}

static void order_remove(struct sy_map *map, struct sy_map_link *link)
{
    if (link->previous != NULL)
        link->previous->next = link->next;
    else
        map->first = link->next;
    if (link->next != NULL)
        link->next->previous = link->previous;
    else
        map->last = link->previous;
}

void sy_map_deinit(struct sy_map *map)
{
    free(map->buckets);
    *map = (struct sy_map){0};
}

struct sy_map_link *sy_map_find(const struct sy_map *map, const void *key, size_t key_size)
{
    if (map->count == 0)
        return NULL;
    uint32_t hash = hash_of(key, key_size);
    struct sy_map_link *link = *bucket_of(map, hash);
    while (link != NULL && (link->hash != hash || link->key_size != key_size ||
                            memcmp(link->key, key, key_size) != 0))
        link = link->chain;
    return link;
}

void sy_map_add(struct sy_map *map, struct sy_map_link *link, const void *key, size_t key_size)
{
    SY_ASSERT(!link->in_map);
    SY_ASSERT(sy_map_find(map, key, key_size) == NULL);
    if (map->count == map->size)
        grow(map);
    link->key = key;
    link->key_size = key_size;
    link->hash = hash_of(key, key_size);
    link->in_map = true;
    put(map, link);
    order_append(map, link);
    map->count++;
}

void sy_map_remove(struct sy_map *map, struct sy_map_link *link)
{
    SY_ASSERT(link->in_map && map->count > 0);
    struct sy_map_link **at = bucket_of(map, link->hash);
    while (*at != link) {
        SY_ASSERT(*at != NULL); /* else its key changed, or it is in another map */
        at = &(*at)->chain;
    }
    *at = link->chain;
    order_remove(map, link);
    link->in_map = false;
    map->count--;
}

void sy_map_refresh(struct sy_map *map, struct sy_map_link *link)
{
    SY_ASSERT(link->in_map);
    order_remove(map, link);
    order_append(map, link);
}
