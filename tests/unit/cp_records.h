/* A region's records as tests keep them: sorted by key, read through the real map. */
#pragma once

#include "controlplane/region_map.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#define RECORDS_MAX 32
#define RECORD_VALUE_MAX 256

/* ck_assert() writes to a file, each time. */
#define MUST(expr)                                                                                 \
    do {                                                                                           \
        if (!(expr))                                                                               \
            ck_abort_msg("%s:%d: %s", __FILE__, __LINE__, #expr);                                  \
    } while (0)

struct record {
    char key[CP_MAP_KEY_SIZE];
    uint8_t value[RECORD_VALUE_MAX];
    size_t len;
    int64_t revision, session; /* revision 0: there is none */
};

struct records { /* those that are gone keep their place */
    struct record items[RECORDS_MAX];
    size_t count;
};

static inline struct record *records_find(struct records *records, const char *key)
{
    size_t at = 0;
    while (at < records->count && strcmp(records->items[at].key, key) < 0)
        at++;
    struct record *record = &records->items[at];
    if (at < records->count && strcmp(record->key, key) == 0)
        return record;
    MUST(records->count < RECORDS_MAX);
    memmove(record + 1, record, (records->count - at) * sizeof(*record));
    records->count++;
    *record = (struct record){0};
    snprintf(record->key, sizeof(record->key), "%s", key);
    return record;
}

static inline void record_set(struct record *record, struct sy_span value, int64_t revision,
                              int64_t session)
{
    MUST(value.len <= RECORD_VALUE_MAX);
    if (value.len > 0)
        memcpy(record->value, value.data, value.len);
    record->len = value.len;
    record->revision = revision;
    record->session = session;
}

static inline int record_add(struct record *record, struct cp_map *map, struct sy_error_text *error)
{
    struct cp_coord_record in = {
        record->key, {record->value, record->len, 0}, record->revision, record->session};
    return cp_map_add(map, &in, error);
}

static inline void records_fill(struct records *records, int64_t revision, struct cp_map *map)
{
    cp_map_begin(map, revision);
    for (size_t i = 0; i < records->count; i++) {
        if (records->items[i].revision != 0)
            MUST(record_add(&records->items[i], map, NULL) == 0);
    }
}

/* False: it is no partition's. */
static inline bool record_partition(struct record *record, struct cp_map_partition *ret)
{
    struct cp_map map = {0};
    struct sy_error_text error = {0};
    cp_map_begin(&map, record->revision);
    if (record_add(record, &map, &error) != 0)
        ck_abort_msg("%s", error.text);
    bool is = map.partition_count == 1;
    if (is)
        *ret = map.partitions[0];
    cp_map_deinit(&map);
    return is;
}

static inline struct record *records_partition(struct records *records, uint32_t number)
{
    char key[CP_MAP_KEY_SIZE];
    cp_map_partition_key(key, number);
    return records_find(records, key);
}

static inline void records_put_partition(struct records *records,
                                         const struct cp_map_partition *partition, int64_t revision)
{
    struct sy_buf value SY_CLEANUP(sy_buf_deinit) = {0};
    cp_map_put_partition(&value, partition);
    record_set(records_partition(records, partition->number), sy_buf_span(&value), revision, 0);
}

static inline void records_put_shard(struct records *records, const struct cp_map_shard *shard,
                                     int64_t revision)
{
    char key[CP_MAP_KEY_SIZE];
    struct sy_buf value SY_CLEANUP(sy_buf_deinit) = {0};
    cp_map_shard_key(key, shard->name);
    cp_map_put_shard(&value, shard);
    record_set(records_find(records, key), sy_buf_span(&value), revision, shard->session);
}
