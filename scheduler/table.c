#include "scheduler/table.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define TABLE_SIZE_MIN 16u

void sch_table_deinit(struct sch_table *table)
{
    free(table->buckets);
    *table = (struct sch_table){0};
}

/* Finalizer of splitmix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit. */
uint32_t sch_hash_u64(uint64_t value, uint64_t seed)
{
    uint64_t z = value + (seed + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (uint32_t)(z ^ (z >> 31));
}

uint64_t sch_hash_bytes(const void *data, size_t size, uint64_t seed)
{
    SY_ASSERT(data || size == 0);
    return XXH3_64bits_withSeed(data, size, seed);
}

static void split_one(struct sch_table *table)
{
    if (table->size == table->cap) {
        SY_ASSERT(table->cap <= UINT32_MAX / 2);
        table->cap *= 2;
        table->buckets = sy_realloc(table->buckets, table->cap * sizeof(struct sch_table_link *));
    }
    uint32_t from = table->size - table->low, to = table->size;
    table->size++;
    if (table->size == table->low * 2)
        table->low *= 2;
    struct sch_table_link **keep = &table->buckets[from], **move = &table->buckets[to];
    for (struct sch_table_link *link = *keep; link; link = link->next) {
        if (sch_table_bucket(table, link->hash) == to) {
            *move = link;
            move = &link->next;
        } else {
            *keep = link;
            keep = &link->next;
        }
    }
    *keep = *move = NULL;
}

void sch_table_add(struct sch_table *table, struct sch_table_link *link, uint32_t hash)
{
    SY_ASSERT(!link->in_table);
    if (table->size == 0) {
        table->size = table->low = table->cap = TABLE_SIZE_MIN;
        table->buckets = sy_calloc(TABLE_SIZE_MIN, sizeof(struct sch_table_link *));
    }
    SY_ASSERT(table->count < UINT32_MAX);
    struct sch_table_link **bucket = &table->buckets[sch_table_bucket(table, hash)];
    link->hash = hash;
    link->in_table = true;
    link->next = *bucket;
    *bucket = link;
    if (++table->count > table->size)
        split_one(table);
}

void sch_table_remove(struct sch_table *table, struct sch_table_link *link)
{
    SY_ASSERT(link->in_table);
    SY_ASSERT(table->count > 0);
    struct sch_table_link **at = &table->buckets[sch_table_bucket(table, link->hash)];
    while (*at != link) {
        SY_ASSERT(*at);
        at = &(*at)->next;
    }
    *at = link->next;
    link->next = NULL;
    link->in_table = false;
    table->count--;
}

void sch_table_check(const struct sch_table *table)
{
    uint32_t count = 0;
    SY_ASSERT(table->size <= table->cap);
    SY_ASSERT(table->size == 0 || (table->low <= table->size && table->size < table->low * 2));
    for (uint32_t i = 0; i < table->size; i++) {
        for (struct sch_table_link *link = table->buckets[i]; link; link = link->next) {
            SY_ASSERT(link->in_table && sch_table_bucket(table, link->hash) == i);
            count++;
        }
    }
    SY_ASSERT(count == table->count);
}
