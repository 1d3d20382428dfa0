/*
 * An intrusive hash map that also is a list in order of adding, so that walks are repeatable. An
 * entry embeds a link; its key lies in the entry (or lives as long) and is compared byte by byte,
 * so a struct as a key must have no padding. The map owns no entries.
 *
 *     struct call { uint64_t number; struct sy_map_link link; };
 *     sy_map_add(&calls, &call->link, &call->number, sizeof(call->number));
 *     sy_map_entry(sy_map_find(&calls, &number, sizeof(number)), struct call, link)
 *     SY_MAP_EACH(&calls, at, next) { ... sy_map_entry(at, struct call, link) ... }
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sy_map_link {
    struct sy_map_link *chain;           /* in its bucket */
    struct sy_map_link *previous, *next; /* in order of adding */
    const void *key;
    size_t key_size;
    uint32_t hash;
    bool in_map;
};

struct sy_map { /* zeroed: empty */
    struct sy_map_link **buckets;
    struct sy_map_link *first, *last;
    size_t count, size; /* size: of buckets, 0 or a power of two */
};

/* Frees what the map has allocated; the links stay walkable from what was its first. */
void sy_map_deinit(struct sy_map *map);
/* The caller has checked that there is none with this key. */
void sy_map_add(struct sy_map *map, struct sy_map_link *link, const void *key, size_t key_size);
void sy_map_remove(struct sy_map *map, struct sy_map_link *link);
/* To the end of the order: as if it were added now. */
void sy_map_refresh(struct sy_map *map, struct sy_map_link *link);
/* NULL: there is none. */
struct sy_map_link *sy_map_find(const struct sy_map *map, const void *key, size_t key_size);

/* The entry of a link; NULL for NULL. */
#define sy_map_entry(link, type, member) ((type *)sy_map_owner((link), offsetof(type, member)))
static inline void *sy_map_owner(struct sy_map_link *link, size_t offset)
{
    return link != NULL ? (char *)link - offset : NULL;
}

/* Each link; the one at hand may be removed. */
#define SY_MAP_EACH(map, at, next_)                                                                \
    for (struct sy_map_link *at = (map)->first, *next_ = NULL;                                     \
         (at) != NULL && ((next_) = (at)->next, true); (at) = (next_))
