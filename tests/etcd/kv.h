/*
 * The store of the tests' etcd: keys, each with its changes; all changes in order. One writer:
 * etcd_kv_put() and _delete() belong to the revision that etcd_kv_commit() makes visible.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct etcd_key;

struct etcd_change {
    struct etcd_key *key;
    int64_t revision, create_revision, version, lease; /* all but the first 0: deleted */
    struct sy_buf value;
};

struct etcd_key {
    struct sy_buf name;
    struct etcd_change **changes;
    size_t count, size;
};

struct etcd_kv {
    struct etcd_key **keys; /* in order of names */
    size_t key_count, key_size;
    struct etcd_change **log; /* in order of revisions */
    size_t log_count, log_size;
    int64_t revision;  /* of the last commit */
    int64_t compacted; /* what was before must not be read; -1: never compacted */
    size_t uncommitted;
};

/* Keys from `from` on, up to `end`; an empty end: `from` alone; "\0": without end. */
struct etcd_range {
    struct sy_span from, end;
};

void etcd_kv_init(struct etcd_kv *kv);
void etcd_kv_deinit(struct etcd_kv *kv);
int etcd_span_compare(struct sy_span a, struct sy_span b);
bool etcd_range_has(const struct etcd_range *range, struct sy_span name);
/* The index of the first key at or after `name`. */
size_t etcd_kv_lower(const struct etcd_kv *kv, struct sy_span name);
/* What the key has as of that revision; NULL: there was no such key. */
const struct etcd_change *etcd_key_at(const struct etcd_key *key, int64_t revision);
const struct etcd_change *etcd_kv_get(const struct etcd_kv *kv, struct sy_span name,
                                      int64_t revision);
/* The index of the first change at or after the revision. */
size_t etcd_kv_log_lower(const struct etcd_kv *kv, int64_t revision);

/* What the writer sees: the revision of its change once it has made one. */
int64_t etcd_kv_writing(const struct etcd_kv *kv);
void etcd_kv_put(struct etcd_kv *kv, struct sy_span name, struct sy_span value, int64_t lease);
/* How many keys there were. */
int64_t etcd_kv_delete(struct etcd_kv *kv, const struct etcd_range *range);
/* False: nothing was written, the revision stays. */
bool etcd_kv_commit(struct etcd_kv *kv);
/* Drops what `compacted` allows. As etcd 3.4, also a deletion of that very revision. */
void etcd_kv_purge(struct etcd_kv *kv);
