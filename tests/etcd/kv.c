#include "tests/etcd/kv.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void etcd_kv_init(struct etcd_kv *kv)
{
    *kv = (struct etcd_kv){.revision = 1, .compacted = -1};
}

static void change_free(struct etcd_change *change)
{
    sy_buf_deinit(&change->value);
    free(change);
}

static void key_free(struct etcd_key *key)
{
    sy_buf_deinit(&key->name);
    free(key->changes);
    free(key);
}

void etcd_kv_deinit(struct etcd_kv *kv)
{
    for (size_t i = 0; i < kv->log_count; i++)
        change_free(kv->log[i]);
    for (size_t i = 0; i < kv->key_count; i++)
        key_free(kv->keys[i]);
    free(kv->log);
    free(kv->keys);
}

/* ---- reading ---- */

int etcd_span_compare(struct sy_span a, struct sy_span b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

static bool is_endless(struct sy_span end)
{
    return end.len == 1 && end.data[0] == '\0';
}

bool etcd_range_has(const struct etcd_range *range, struct sy_span name)
{
    if (range->end.len == 0)
        return etcd_span_compare(name, range->from) == 0;
    return etcd_span_compare(name, range->from) >= 0 &&
           (is_endless(range->end) || etcd_span_compare(name, range->end) < 0);
}

size_t etcd_kv_lower(const struct etcd_kv *kv, struct sy_span name)
{
    size_t low = 0, high = kv->key_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (etcd_span_compare(sy_buf_span(&kv->keys[middle]->name), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct etcd_change *etcd_key_at(const struct etcd_key *key, int64_t revision)
{
    size_t i = key->count;
    while (i > 0 && key->changes[i - 1]->revision > revision)
        i--;
    return i > 0 && key->changes[i - 1]->version > 0 ? key->changes[i - 1] : NULL;
}

const struct etcd_change *etcd_kv_get(const struct etcd_kv *kv, struct sy_span name,
                                      int64_t revision)
{
    size_t i = etcd_kv_lower(kv, name);
    if (i == kv->key_count || etcd_span_compare(sy_buf_span(&kv->keys[i]->name), name) != 0)
        return NULL;
    return etcd_key_at(kv->keys[i], revision);
}

size_t etcd_kv_log_lower(const struct etcd_kv *kv, int64_t revision)
{
    size_t low = 0, high = kv->log_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (kv->log[middle]->revision < revision)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- writing ---- */

static void *grown(void *array, size_t count, size_t *size)
{
    if (count < *size)
        return array;
    *size = *size > 0 ? 2 * *size : 8;
    return sy_realloc(array, *size * sizeof(void *));
}

static struct etcd_key *key_of(struct etcd_kv *kv, struct sy_span name)
{
    size_t i = etcd_kv_lower(kv, name);
    if (i < kv->key_count && etcd_span_compare(sy_buf_span(&kv->keys[i]->name), name) == 0)
        return kv->keys[i];
    kv->keys = grown(kv->keys, kv->key_count, &kv->key_size);
    memmove(&kv->keys[i + 1], &kv->keys[i], (kv->key_count - i) * sizeof(kv->keys[0]));
    kv->key_count++;
    kv->keys[i] = sy_new(struct etcd_key);
    kv->keys[i]->name = sy_buf_copy(name.data, name.len);
    return kv->keys[i];
}

static struct etcd_change *change_add(struct etcd_kv *kv, struct etcd_key *key)
{
    struct etcd_change *change = sy_new(struct etcd_change);
    change->key = key;
    change->revision = kv->revision + 1;
    key->changes = grown(key->changes, key->count, &key->size);
    key->changes[key->count++] = change;
    kv->log = grown(kv->log, kv->log_count, &kv->log_size);
    kv->log[kv->log_count++] = change;
    kv->uncommitted++;
    return change;
}

int64_t etcd_kv_writing(const struct etcd_kv *kv)
{
    return kv->revision + (kv->uncommitted > 0);
}

void etcd_kv_put(struct etcd_kv *kv, struct sy_span name, struct sy_span value, int64_t lease)
{
    struct etcd_key *key = key_of(kv, name);
    const struct etcd_change *before = etcd_key_at(key, INT64_MAX);
    SY_ASSERT(before == NULL || before->revision <= kv->revision);
    struct etcd_change *change = change_add(kv, key);
    change->create_revision = before != NULL ? before->create_revision : change->revision;
    change->version = before != NULL ? before->version + 1 : 1;
    change->lease = lease;
    change->value = sy_buf_copy(value.data, value.len);
}

int64_t etcd_kv_delete(struct etcd_kv *kv, const struct etcd_range *range)
{
    int64_t deleted = 0;
    for (size_t i = etcd_kv_lower(kv, range->from);
         i < kv->key_count && etcd_range_has(range, sy_buf_span(&kv->keys[i]->name)); i++) {
        if (etcd_key_at(kv->keys[i], INT64_MAX) == NULL)
            continue;
        change_add(kv, kv->keys[i]);
        deleted++;
    }
    return deleted;
}

bool etcd_kv_commit(struct etcd_kv *kv)
{
    if (kv->uncommitted == 0)
        return false;
    kv->revision++;
    kv->uncommitted = 0;
    SY_ASSERT(kv->log[kv->log_count - 1]->revision == kv->revision);
    return true;
}

/* ---- compacting ---- */

/* Of what is not later than `compacted` the last stays, unless it is a deletion. */
static bool is_kept(const struct etcd_key *key, size_t i, int64_t compacted)
{
    if (key->changes[i]->revision > compacted)
        return true;
    bool is_last = i + 1 == key->count || key->changes[i + 1]->revision > compacted;
    return is_last && key->changes[i]->version > 0;
}

/* Leaves those that go without a key, for the log to free. */
static void key_purge(struct etcd_key *key, int64_t compacted)
{
    size_t kept = 0, count = key->count;
    for (size_t i = 0; i < count; i++)
        if (is_kept(key, i, compacted))
            key->changes[kept++] = key->changes[i];
        else
            key->changes[i]->key = NULL;
    key->count = kept;
}

void etcd_kv_purge(struct etcd_kv *kv)
{
    SY_ASSERT(kv->uncommitted == 0 && kv->compacted <= kv->revision);
    size_t kept = 0;
    for (size_t i = 0; i < kv->key_count; i++) {
        key_purge(kv->keys[i], kv->compacted);
        if (kv->keys[i]->count > 0)
            kv->keys[kept++] = kv->keys[i];
        else
            key_free(kv->keys[i]);
    }
    kv->key_count = kept;
    kept = 0;
    for (size_t i = 0; i < kv->log_count; i++)
        if (kv->log[i]->key != NULL)
            kv->log[kept++] = kv->log[i];
        else
            change_free(kv->log[i]);
    kv->log_count = kept;
}
