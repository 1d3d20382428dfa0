/* Small tables of the partition shell: ids of a batch, places of attempts, queues. */
#include "controlplane/partition_impl.h"

static size_t slot_of(uint64_t id, size_t cap)
{
    return (size_t)((id * 0x9e3779b97f4a7c15ull) >> 32) & (cap - 1);
}

/* ---- id map ---- */

static void id_map_grow(struct cp_id_map *map)
{
    struct cp_id_map larger = {.cap = map->cap ? map->cap * 2 : 64};
    larger.slots = sy_calloc(larger.cap, sizeof(*larger.slots));
    for (size_t i = 0; i < map->cap; i++) {
        if (map->slots[i].id != 0)
            *cp_id_map_get(&larger, map->slots[i].id) = map->slots[i].value;
    }
    free(map->slots);
    *map = larger;
}

uint32_t *cp_id_map_get(struct cp_id_map *map, uint64_t id)
{
    SY_ASSERT(id != 0);
    if (map->count * 2 >= map->cap)
        id_map_grow(map);
    size_t at = slot_of(id, map->cap);
    while (map->slots[at].id != 0 && map->slots[at].id != id)
        at = (at + 1) & (map->cap - 1);
    if (map->slots[at].id == 0) {
        map->slots[at] = (struct cp_id_slot){.id = id, .value = UINT32_MAX};
        map->count++;
    }
    SY_ASSERT(map->count < map->cap);
    return &map->slots[at].value;
}

const uint32_t *cp_id_map_find(const struct cp_id_map *map, uint64_t id)
{
    if (map->count == 0)
        return NULL;
    size_t at = slot_of(id, map->cap);
    while (map->slots[at].id != 0 && map->slots[at].id != id)
        at = (at + 1) & (map->cap - 1);
    return map->slots[at].id == id ? &map->slots[at].value : NULL;
}

void cp_id_map_clear(struct cp_id_map *map)
{
    if (map->cap > 4096) /* one huge batch must not be paid for by all that follow */
        cp_id_map_deinit(map);
    else if (map->count > 0)
        memset(map->slots, 0, map->cap * sizeof(*map->slots));
    map->count = 0;
}

void cp_id_map_deinit(struct cp_id_map *map)
{
    free(map->slots);
    *map = (struct cp_id_map){0};
}

/* ---- places: linear probing; removal moves later ones back ---- */

static size_t place_at(const struct cp_places *places, uint64_t action_id)
{
    size_t at = slot_of(action_id, places->cap);
    while (places->slots[at].action_id != 0 && places->slots[at].action_id != action_id)
        at = (at + 1) & (places->cap - 1);
    return at;
}

static void places_resize(struct cp_places *places, size_t cap)
{
    struct cp_places old = *places;
    places->cap = cap;
    places->slots = sy_calloc(cap, sizeof(*places->slots));
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].action_id != 0)
            places->slots[place_at(places, old.slots[i].action_id)] = old.slots[i];
    }
    free(old.slots);
}

static struct cp_place *place_get(struct cp_places *places, uint64_t action_id)
{
    SY_ASSERT(action_id != 0);
    if (places->count * 2 >= places->cap)
        places_resize(places, places->cap ? places->cap * 2 : 64);
    struct cp_place *place = &places->slots[place_at(places, action_id)];
    if (place->action_id == 0) {
        place->action_id = action_id;
        place->granted_ns = 0;
        places->count++;
    }
    return place;
}

void cp_places_grant(struct cp_places *places, uint64_t action_id, int64_t now_ns)
{
    struct cp_place *place = place_get(places, action_id);
    place->granted_ns = now_ns;
    place->started_ns = 0;
    place->node[0] = '\0';
}

void cp_places_set(struct cp_places *places, uint64_t action_id, int64_t started_ns,
                   const char *node)
{
    struct cp_place *place = place_get(places, action_id);
    place->started_ns = started_ns;
    size_t len = strnlen(node, sizeof(place->node) - 1);
    memcpy(place->node, node, len);
    place->node[len] = '\0';
}

const struct cp_place *cp_places_find(const struct cp_places *places, uint64_t action_id)
{
    if (places->count == 0)
        return NULL;
    const struct cp_place *place = &places->slots[place_at(places, action_id)];
    return place->action_id != 0 ? place : NULL;
}

void cp_places_remove(struct cp_places *places, uint64_t action_id)
{
    if (places->count == 0)
        return;
    size_t mask = places->cap - 1, hole = place_at(places, action_id);
    if (places->slots[hole].action_id == 0)
        return;
    for (size_t at = (hole + 1) & mask; places->slots[at].action_id != 0; at = (at + 1) & mask) {
        size_t home = slot_of(places->slots[at].action_id, places->cap);
        if (((at - home) & mask) < ((at - hole) & mask))
            continue; /* it cannot be found from the hole */
        places->slots[hole] = places->slots[at];
        hole = at;
    }
    places->slots[hole].action_id = 0;
    places->count--;
}

void cp_places_deinit(struct cp_places *places)
{
    free(places->slots);
    *places = (struct cp_places){0};
}

/* ---- queues ---- */

void *cp_queue_grow(void *items, size_t *head, size_t count, size_t *cap, size_t item_size)
{
    if (count == 0)
        *head = 0;
    if (*head + count < *cap)
        return items;
    if (*head > *cap / 2) {
        memmove(items, (char *)items + *head * item_size, count * item_size);
        *head = 0;
        return items;
    }
    *cap = *cap ? *cap * 2 : 16;
    return sy_realloc(items, *cap * item_size);
}
