/*
 * An intrusive hash table with chains, and the one place that includes xxhash.
 *
 * It grows by linear hashing (Litwin 1980): each insert splits at most one bucket, so there is
 * never a pause in which a million entries are hashed again. An entry costs 16 bytes of links and
 * about 8 of buckets, where uthash takes 56 for its handle. Nothing decides by iterating over a
 * table, so the order in it does not matter.
 *
 *     for (link = sch_table_first(&t, hash); link; link = sch_table_next(link)) ...compare...
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sch_table_link {
    struct sch_table_link *next;
    uint32_t hash;
    bool in_table;
};

struct sch_table {
    struct sch_table_link **buckets;
    uint32_t count;
    uint32_t size; /* buckets in use */
    uint32_t low;  /* the largest power of two <= size */
    uint32_t cap;  /* buckets allocated */
};

void sch_table_deinit(struct sch_table *table);
void sch_table_add(struct sch_table *table, struct sch_table_link *link, uint32_t hash);
void sch_table_remove(struct sch_table *table, struct sch_table_link *link);
/* Aborts when an entry is in the wrong bucket or the count is off. */
void sch_table_check(const struct sch_table *table);

uint32_t sch_hash_u64(uint64_t value, uint64_t seed);
uint64_t sch_hash_bytes(const void *data, size_t size, uint64_t seed);

static inline uint32_t sch_table_bucket(const struct sch_table *table, uint32_t hash)
{
    uint32_t bucket = hash & (table->low * 2 - 1);
    return bucket < table->size ? bucket : hash & (table->low - 1);
}

static inline struct sch_table_link *sch_table_match(struct sch_table_link *link, uint32_t hash)
{
    while (link && link->hash != hash)
        link = link->next;
    return link;
}

static inline struct sch_table_link *sch_table_first(const struct sch_table *table, uint32_t hash)
{
    return table->size ? sch_table_match(table->buckets[sch_table_bucket(table, hash)], hash)
                       : NULL;
}

static inline struct sch_table_link *sch_table_next(const struct sch_table_link *link)
{
    return sch_table_match(link->next, link->hash);
}
