#include "controlplane/region_map.h"

#include "base/arena.h"
#include "base/mem.h"
#include "controlplane/encode.h"
#include "proto/pb.h"

#include "switchyard/internal/region.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS "shards/"
#define PARTITIONS "partitions/"
#define DIGITS 5
#define ROW_BYTES_MAX ((size_t)64 << 10)

_Static_assert(sizeof(SHARDS) + CP_NAME_LENGTH_MAX <= CP_MAP_KEY_SIZE, "room for the longest key");

void cp_map_deinit(struct cp_map *map)
{
    free(map->shards);
    free(map->partitions);
    *map = (struct cp_map){0};
}

void cp_map_begin(struct cp_map *map, int64_t revision)
{
    SY_ASSERT(revision >= map->revision);
    map->revision = revision;
    map->shard_count = map->partition_count = 0;
    map->made = 0;
    map->local = false;
}

/* ---- reading ---- */

/* "" is fine for some; anything else is a name. */
static bool copy_name(char ret[CP_NAME_LENGTH_MAX + 1], const char *name, bool may_be_empty)
{
    if (name[0] == '\0' ? !may_be_empty : cp_name_check("name", name, NULL) != 0)
        return false;
    memcpy(ret, name, strlen(name) + 1);
    return true;
}

static bool copy_text(char ret[CP_MAP_TEXT_SIZE], const char *text)
{
    if (cp_text_check("text", text, CP_MAP_TEXT_SIZE - 1, NULL) != 0)
        return false;
    memcpy(ret, text, strlen(text) + 1);
    return true;
}

/* One whose value cannot be read is there all the same: what it owns must not pass for free. It
 * gets nothing more. False: *shard is not all of it. */
static bool read_shard(struct cp_map_shard *shard, struct sy_arena *arena, struct sy_span value)
{
    const Switchyard__Internal__Region__ShardRow *row = pb_unpack(
        &switchyard__internal__region__shard_row__descriptor, arena, value);
    bool fine = row && copy_text(shard->endpoint, row->endpoint) &&
                copy_text(shard->version, row->version) && copy_text(shard->process, row->process);
    shard->since_ns = row ? row->since_ns : 0;
    shard->draining = !fine || row->draining;
    shard->partitions_max = fine ? row->partitions_max : 0;
    shard->slow = fine && row->draining && row->slow;
    return fine;
}

static bool read_number(const char *digits, uint32_t *ret)
{
    if (strlen(digits) != DIGITS || strspn(digits, "0123456789") != DIGITS)
        return false;
    *ret = (uint32_t)strtoul(digits, NULL, 10);
    return *ret < CP_MAP_PARTITIONS_MAX;
}

static bool read_copies(struct cp_map_partition *partition,
                        const Switchyard__Internal__Region__PartitionRow *row)
{
    if (row->n_in_sync > CP_MAP_COPIES_MAX)
        return false;
    for (size_t i = 0; i < row->n_in_sync; i++) {
        struct cp_map_copy *copy = &partition->in_sync[i];
        copy->id = row->in_sync[i]->id;
        if (copy->id == 0 || !copy_name(copy->shard, row->in_sync[i]->shard, false))
            return false;
    }
    partition->in_sync_count = row->n_in_sync;
    partition->alone_since_ns = row->alone_since_ns;
    return row->n_in_sync < 2 ||
           strcmp(partition->in_sync[0].shard, partition->in_sync[1].shard) != 0;
}

static bool read_partition(struct cp_map_partition *partition, const char *digits,
                           struct sy_arena *arena, struct sy_span value)
{
    const Switchyard__Internal__Region__PartitionRow *row = pb_unpack(
        &switchyard__internal__region__partition_row__descriptor, arena, value);
    if (!row || !read_number(digits, &partition->number) ||
        !copy_name(partition->owner, row->owner, true) ||
        !copy_name(partition->wanted, row->wanted, true) ||
        !copy_name(partition->standby, row->standby, true) || !read_copies(partition, row))
        return false;
    partition->epoch = row->epoch;
    partition->session = row->session;
    partition->moving = row->moving;
    partition->range = (struct cp_range){row->first_hash, row->last_hash};
    partition->parent = row->parent;
    partition->parent_epoch = row->parent_epoch;
    return row->first_hash <= row->last_hash && row->epoch < UINT32_MAX &&
           (row->owner[0] != '\0') == (row->session != 0);
}

/* Room for one more. */
static void *grow(void *array, size_t *size, size_t count, size_t each)
{
    if (count < *size)
        return array;
    *size = *size > 0 ? 2 * *size : 16;
    return sy_realloc(array, *size * each);
}

static bool add_shard(struct cp_map *map, const struct cp_coord_record *record, const char *name,
                      struct sy_arena *arena)
{
    struct cp_map_shard shard = {.revision = record->revision, .session = record->session};
    size_t n = map->shard_count;
    if (shard.session == 0 || !copy_name(shard.name, name, false))
        return false; /* no partition can be owned by such a one */
    SY_ASSERT(n == 0 || strcmp(map->shards[n - 1].name, shard.name) < 0);
    bool fine = read_shard(&shard, arena, sy_buf_span(&record->value));
    map->shards = grow(map->shards, &map->shards_size, n, sizeof(shard));
    map->shards[map->shard_count++] = shard;
    return fine;
}

static bool add_partition(struct cp_map *map, const struct cp_coord_record *record,
                          const char *digits, struct sy_arena *arena)
{
    struct cp_map_partition partition = {.revision = record->revision};
    size_t n = map->partition_count;
    if (!read_partition(&partition, digits, arena, sy_buf_span(&record->value)))
        return false;
    SY_ASSERT(n == 0 || map->partitions[n - 1].number < partition.number);
    map->partitions = grow(map->partitions, &map->partitions_size, n, sizeof(partition));
    map->partitions[map->partition_count++] = partition;
    return true;
}

/* How many it was made with, as decimal digits. */
static bool read_made(struct cp_map *map, struct sy_span value)
{
    char text[8] = "";
    if (value.len == 0 || value.len >= sizeof(text))
        return false;
    memcpy(text, value.data, value.len);
    unsigned long made = strtoul(text, NULL, 10);
    if (strspn(text, "0123456789") != value.len || made == 0 || made > CP_MAP_PARTITIONS_MAX)
        return false;
    map->made = (uint32_t)made;
    return true;
}

int cp_map_add(struct cp_map *map, const struct cp_coord_record *record,
               struct sy_error_text *error)
{
    SY_ASSERT(record->revision > 0);
    SY_ASSERT(record->revision <= map->revision);
    struct sy_arena arena SY_CLEANUP(sy_arena_deinit);
    sy_arena_init(&arena, ROW_BYTES_MAX);
    const char *key = record->key;
    bool fine = true;
    if (strncmp(key, SHARDS, sizeof(SHARDS) - 1) == 0)
        fine = add_shard(map, record, key + sizeof(SHARDS) - 1, &arena);
    else if (strncmp(key, PARTITIONS, sizeof(PARTITIONS) - 1) == 0)
        fine = add_partition(map, record, key + sizeof(PARTITIONS) - 1, &arena);
    else if (strcmp(key, CP_MAP_REGION_KEY) == 0)
        fine = read_made(map, sy_buf_span(&record->value));
    else if (strcmp(key, CP_MAP_STORAGE_KEY) == 0)
        map->local = record->value.len >= sizeof(CP_MAP_LOCAL) - 1 &&
                     memcmp(record->value.data, CP_MAP_LOCAL, sizeof(CP_MAP_LOCAL) - 1) == 0;
    if (fine)
        return 0;
    sy_error_text_set(error, "the region's record \"%s\" is damaged, or of a newer version", key);
    return -EBADMSG;
}

uint32_t cp_map_shard(const struct cp_map *map, const char *name)
{
    size_t from = 0, to = map->shard_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = strcmp(map->shards[middle].name, name);
        if (order == 0)
            return (uint32_t)middle;
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return CP_MAP_NONE;
}

uint32_t cp_map_other_at(const struct cp_map *map, const char *endpoint, const char *name)
{
    for (size_t i = 0; i < map->shard_count; i++)
        if (strcmp(map->shards[i].endpoint, endpoint) == 0 &&
            strcmp(map->shards[i].name, name) != 0)
            return (uint32_t)i;
    return CP_MAP_NONE;
}

uint32_t cp_map_partition(const struct cp_map *map, uint32_t number)
{
    size_t from = 0, to = map->partition_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (map->partitions[middle].number == number)
            return (uint32_t)middle;
        if (map->partitions[middle].number < number)
            from = middle + 1;
        else
            to = middle;
    }
    return CP_MAP_NONE;
}

uint32_t cp_map_owner(const struct cp_map *map, const struct cp_map_partition *partition)
{
    if (partition->session == 0)
        return CP_MAP_NONE;
    uint32_t shard = cp_map_shard(map, partition->owner);
    bool alive = shard != CP_MAP_NONE && map->shards[shard].session == partition->session;
    return alive ? shard : CP_MAP_NONE;
}

/* ---- ranges ---- */

struct cp_range cp_map_range(const struct cp_map *map, const struct cp_map_partition *partition)
{
    if (partition->range.last != 0 || partition->number >= map->made)
        return partition->range;
    return cp_range_even(partition->number, map->made);
}

struct cp_ranges *cp_map_ranges(const struct cp_map *map)
{
    struct cp_range *ranges SY_AUTOFREE = sy_calloc(map->partition_count + 1, sizeof(*ranges));
    for (size_t i = 0; i < map->partition_count; i++) {
        if (map->partitions[i].number != i)
            return NULL;
        ranges[i] = cp_map_range(map, &map->partitions[i]);
    }
    return cp_ranges_new(ranges, (uint32_t)map->partition_count);
}

/* ---- copies ---- */

size_t cp_map_endpoints(const struct cp_map *map, char **ret)
{
    size_t count = 0;
    for (size_t i = 0; i < map->shard_count; i++) {
        if (map->shards[i].endpoint[0] != '\0')
            ret[count++] = map->shards[i].endpoint;
    }
    return count;
}

const struct cp_map_copy *cp_map_copy_on(const struct cp_map_partition *partition,
                                         const char *shard)
{
    for (size_t i = 0; i < partition->in_sync_count; i++) {
        if (strcmp(partition->in_sync[i].shard, shard) == 0)
            return &partition->in_sync[i];
    }
    return NULL;
}

const struct cp_map_copy *cp_map_copy_beside(const struct cp_map_partition *partition,
                                             const char *shard)
{
    for (size_t i = 0; i < partition->in_sync_count; i++) {
        if (strcmp(partition->in_sync[i].shard, shard) != 0)
            return &partition->in_sync[i];
    }
    return NULL;
}

/* ---- splits ---- */

#define PLACE_SHIFT 56

/* Both halves begin where a place does: an id says in its last byte where it lies. */
static int middle(struct cp_range range, uint64_t *ret)
{
    uint32_t first = (uint32_t)(range.first >> PLACE_SHIFT),
             end = (uint32_t)(range.last >> PLACE_SHIFT) + 1;
    uint32_t at = first + (end - first + 1) / 2;
    *ret = (uint64_t)at << PLACE_SHIFT;
    return at <= UINT8_MAX && *ret > range.first && *ret <= range.last ? 0 : -EINVAL;
}

const struct cp_map_shard *cp_map_full(const struct cp_map *map)
{
    for (size_t i = 0; i < map->shard_count; i++) {
        if (map->shards[i].partitions_max <= map->partition_count)
            return &map->shards[i];
    }
    return NULL;
}

int cp_map_split(const struct cp_map *map, uint32_t partition, const uint8_t *place,
                 uint64_t *ret_at, struct sy_error_text *error)
{
    uint32_t index = cp_map_partition(map, partition);
    struct cp_ranges *whole = cp_map_ranges(map);
    cp_ranges_free(whole);
    if (index == CP_MAP_NONE || whole == NULL) {
        sy_error_text_set(error, "the region's records of its partitions are not whole");
        return -EINVAL;
    }
    struct cp_range range = cp_map_range(map, &map->partitions[index]);
    uint64_t at = place != NULL ? (uint64_t)*place << PLACE_SHIFT : 0;
    if (place == NULL && middle(range, &at) < 0) {
        sy_error_text_set(error,
                          "partition %u has too few names to be split: a region has 256 partitions "
                          "at most",
                          partition);
        return -EINVAL;
    }
    if (at <= range.first || at > range.last) {
        sy_error_text_set(error,
                          "at %u: partition %u has places %u to %u, expected one of these "
                          "above the first",
                          *place, partition, (unsigned)(range.first >> PLACE_SHIFT),
                          (unsigned)(range.last >> PLACE_SHIFT));
        return -EINVAL;
    }
    const struct cp_map_shard *full = cp_map_full(map);
    if (full != NULL) {
        sy_error_text_set(error,
                          "shard %s has no room for one more partition than %zu: its "
                          "partitions_max is %u (0: it is of an older version)",
                          full->name, map->partition_count, full->partitions_max);
        return -EINVAL;
    }
    *ret_at = at;
    return 0;
}

/* ---- writing ---- */

void cp_map_shard_key(char ret[CP_MAP_KEY_SIZE], const char *name)
{
    SY_ASSERT(cp_name_check("shard", name, NULL) == 0);
    snprintf(ret, CP_MAP_KEY_SIZE, SHARDS "%s", name);
}

void cp_map_partition_key(char ret[CP_MAP_KEY_SIZE], uint32_t number)
{
    SY_ASSERT(number < CP_MAP_PARTITIONS_MAX);
    snprintf(ret, CP_MAP_KEY_SIZE, PARTITIONS "%0*u", DIGITS, number);
}

void cp_map_put_shard(struct sy_buf *buf, const struct cp_map_shard *shard)
{
    cp_put_str(buf, 1, shard->endpoint);
    cp_put_str(buf, 2, shard->version);
    cp_put_int(buf, 3, shard->since_ns);
    cp_put_uint(buf, 4, shard->draining);
    cp_put_str(buf, 5, shard->process);
    cp_put_uint(buf, 6, shard->partitions_max);
    cp_put_uint(buf, 7, shard->slow);
}

void cp_map_put_partition(struct sy_buf *buf, const struct cp_map_partition *partition)
{
    SY_ASSERT((partition->owner[0] != '\0') == (partition->session != 0));
    cp_put_uint(buf, 1, partition->epoch);
    cp_put_str(buf, 2, partition->owner);
    cp_put_int(buf, 3, partition->session);
    cp_put_uint(buf, 4, partition->moving);
    cp_put_str(buf, 5, partition->wanted);
    cp_put_fixed64(buf, 8, partition->range.first);
    cp_put_fixed64(buf, 9, partition->range.last);
    for (size_t i = 0; i < partition->in_sync_count; i++) {
        size_t begin = cp_put_begin(buf, 6);
        cp_put_str(buf, 1, partition->in_sync[i].shard);
        cp_put_fixed64(buf, 2, partition->in_sync[i].id);
        cp_put_end(buf, begin);
    }
    cp_put_str(buf, 7, partition->standby);
    cp_put_int(buf, 12, partition->alone_since_ns);
    cp_put_uint(buf, 10, partition->parent);
    cp_put_uint(buf, 11, partition->parent_epoch);
}
