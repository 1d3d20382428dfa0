/*
 * Which partition has which hashes: each one has the hashes of one range, and each hash is in
 * exactly one. What lies at a name lies in the partition that has the name's hash (names.h,
 * registry.h, queues.h).
 *
 * One object is one answer for all hashes and never changes. A shard has one at a time, in a
 * cp_ranges_now: the front sets it, any thread reads it. Pure.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cp_range {
    uint64_t first, last; /* both are in it */
};

/* Where it begins when `count` partitions have as much as each other: partition
 * hash * count >> 64 has the hash. */
struct cp_range cp_range_even(uint32_t partition, uint32_t count);
uint32_t cp_range_even_of(uint64_t hash, uint32_t count);
static inline bool cp_range_has(const struct cp_range *range, uint64_t hash)
{
    return hash >= range->first && hash <= range->last;
}

struct cp_ranges;

/* Of partitions 0 to count - 1, by number. NULL: not every hash is in exactly one of them. */
struct cp_ranges *cp_ranges_new(const struct cp_range *ranges, uint32_t count);
struct cp_ranges *cp_ranges_new_even(uint32_t count);
void cp_ranges_free(struct cp_ranges *ranges);

uint32_t cp_ranges_count(const struct cp_ranges *ranges); /* of partitions */
uint32_t cp_ranges_find(const struct cp_ranges *ranges, uint64_t hash);
struct cp_range cp_ranges_of(const struct cp_ranges *ranges, uint32_t partition);
/* Of each from number `before` on, which one it was split from: a new one gets the last number, and
 * the upper part of what the other had. ret[0] is of `before`. */
void cp_ranges_parents(const struct cp_ranges *ranges, uint32_t before, uint32_t *ret);
bool cp_ranges_same(const struct cp_ranges *a, const struct cp_ranges *b);

struct cp_ranges_now {
    _Atomic(struct cp_ranges *) now;
};

/* Takes it. Those before stay until the end: somebody may be reading them, and they are few. */
void cp_ranges_set(struct cp_ranges_now *now, struct cp_ranges *ranges);
void cp_ranges_now_deinit(struct cp_ranges_now *now);
static inline const struct cp_ranges *cp_ranges_get(const struct cp_ranges_now *now)
{
    return atomic_load(&now->now);
}
