/*
 * The memory store: for each family a skip list of keys with versions. A commit that nobody
 * iterates over replaces values in place; while iterators are open it adds versions, which the last
 * iterator to close prunes. Levels come from the key's hash, so that runs are repeatable.
 */
#include "controlplane/store_mem_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct mem_iter {
    struct cp_iter base;
    struct mem_data *data;
    struct family *family;
    uint64_t sequence;
    bool reverse;
    struct sy_buf from, to;
    struct node *at; /* the head: not valid */
    struct version *version;
};

/* ---- skip list ---- */

static struct node *node_new(struct sy_span key, unsigned levels)
{
    struct node *node = sy_calloc(1, sizeof(*node) + levels * sizeof(void *) + key.len);
    node->levels = (uint8_t)levels;
    node->key = (uint8_t *)&node->next[levels];
    node->key_len = key.len;
    if (key.len > 0)
        memcpy(node->key, key.data, key.len);
    return node;
}

static void versions_free(struct version *version)
{
    while (version) {
        struct version *older = version->older;
        free(version);
        version = older;
    }
}

static void node_free(struct node *node)
{
    versions_free(node->newest);
    free(node);
}

static int compare(const struct node *node, struct sy_span key)
{
    size_t common = node->key_len < key.len ? node->key_len : key.len;
    int order = common > 0 ? memcmp(node->key, key.data, common) : 0;
    if (order != 0)
        return order;
    return (node->key_len > key.len) - (node->key_len < key.len);
}

static unsigned levels_of(struct sy_span key)
{
    uint64_t hash = XXH3_64bits(key.data, key.len);
    unsigned levels = 1;
    while (levels < LEVELS_MAX && (hash & 3) == 0) {
        levels++;
        hash >>= 2;
    }
    return levels;
}

/* The last node with a key < `key` on each level; returns that of level 0. */
static struct node *find_before(const struct family *family, struct sy_span key,
                                struct node *before[LEVELS_MAX])
{
    struct node *node = family->head;
    for (int level = LEVELS_MAX - 1; level >= 0; level--) {
        while (node->next[level] && compare(node->next[level], key) < 0)
            node = node->next[level];
        if (before)
            before[level] = node;
    }
    return node;
}

static struct node *find(const struct family *family, struct sy_span key)
{
    struct node *node = find_before(family, key, NULL)->next[0];
    return node && compare(node, key) == 0 ? node : NULL;
}

static struct node *find_or_insert(struct family *family, struct sy_span key)
{
    struct node *before[LEVELS_MAX];
    struct node *node = find_before(family, key, before)->next[0];
    if (node && compare(node, key) == 0)
        return node;
    node = node_new(key, levels_of(key));
    for (unsigned level = 0; level < node->levels; level++) {
        node->next[level] = before[level]->next[level];
        before[level]->next[level] = node;
    }
    node->previous = before[0];
    if (node->next[0])
        node->next[0]->previous = node;
    else
        family->last = node;
    return node;
}

static void unlink_node(struct family *family, struct node *node)
{
    struct node *before[LEVELS_MAX];
    find_before(family, (struct sy_span){node->key, node->key_len}, before);
    for (unsigned level = 0; level < node->levels; level++) {
        SY_ASSERT(before[level]->next[level] == node);
        before[level]->next[level] = node->next[level];
    }
    if (node->next[0])
        node->next[0]->previous = node->previous;
    else
        family->last = node->previous;
    node_free(node);
}

/* ---- data ---- */

struct mem_data *cp_mem_data_new(void)
{
    struct mem_data *data = sy_new(struct mem_data);
    for (unsigned i = 0; i < CP_FAMILIES; i++) {
        data->families[i].head = node_new((struct sy_span){0}, LEVELS_MAX);
        data->families[i].last = data->families[i].head;
    }
    return data;
}

void cp_mem_data_free(struct mem_data *data)
{
    SY_ASSERT(data->iterators == 0);
    cp_mem_log_deinit(data);
    for (unsigned i = 0; i < CP_FAMILIES; i++) {
        struct node *node = data->families[i].head;
        while (node) {
            struct node *next = node->next[0];
            node_free(node);
            node = next;
        }
    }
    free(data);
}

void cp_mem_prune(struct mem_data *data)
{
    SY_ASSERT(data->iterators == 0);
    while (data->dirty) {
        struct node *node = data->dirty;
        data->dirty = node->dirty_next;
        node->dirty = false;
        versions_free(node->newest->older);
        node->newest->older = NULL;
        if (node->newest->deleted)
            unlink_node(&data->families[node->family], node);
    }
}

void cp_mem_write_version(struct mem_data *data, unsigned family_index, struct sy_span key,
                          struct sy_span value, bool deleted)
{
    struct family *family = &data->families[family_index];
    struct node *node = deleted ? find(family, key) : find_or_insert(family, key);
    if (!node)
        return;
    node->family = (uint8_t)family_index;
    bool iterated = data->iterators > 0;
    if (deleted && !iterated) {
        unlink_node(family, node);
        return;
    }
    struct version *version = sy_malloc(sizeof(*version) + value.len);
    *version = (struct version){.sequence = data->sequence, .deleted = deleted, .len = value.len};
    if (value.len > 0)
        memcpy(version->data, value.data, value.len);
    if (iterated) {
        version->older = node->newest;
        if (!node->dirty) {
            node->dirty = true;
            node->dirty_next = data->dirty;
            data->dirty = node;
        }
    } else {
        versions_free(node->newest);
    }
    node->newest = version;
}

static struct mem_data *data_copy(const struct mem_data *data)
{
    struct mem_data *copy = cp_mem_data_new();
    SY_ASSERT(data->iterators == 0 && !data->dirty); /* so each node has one version */
    for (unsigned i = 0; i < CP_FAMILIES; i++) {
        for (const struct node *node = data->families[i].head->next[0]; node; node = node->next[0])
            cp_mem_write_version(copy, i, (struct sy_span){node->key, node->key_len},
                                 (struct sy_span){node->newest->data, node->newest->len}, false);
    }
    copy->sequence = data->sequence;
    cp_mem_log_copy(copy, data);
    return copy;
}

static void apply(struct mem_data *data, const struct mem_batch *batch)
{
    data->sequence++;
    cp_mem_log_add(data, batch);
    const uint8_t *at = batch->records.data;
    const uint8_t *end = at + batch->records.len;
    while (at < end) {
        struct record record;
        memcpy(&record, at, sizeof(record));
        struct sy_span key = {at + sizeof(record), record.key_len};
        struct sy_span value = {key.data + key.len, record.value_len};
        cp_mem_write_version(data, record.family, key, value, record.deleted);
        at = value.data + value.len;
    }
    SY_ASSERT(at == end);
}

/* ---- disk ---- */

struct cp_mem_disk *cp_mem_disk_new(void)
{
    struct cp_mem_disk *disk = sy_new(struct cp_mem_disk);
    disk->fail_after = -1;
    disk->data = cp_mem_data_new();
    return disk;
}

void cp_mem_disk_free(struct cp_mem_disk *disk)
{
    if (!disk)
        return;
    SY_ASSERT(disk->stores == 0);
    cp_mem_data_free(disk->data);
    free(disk);
}

struct cp_mem_disk *cp_mem_disk_copy(const struct cp_mem_disk *disk)
{
    struct cp_mem_disk *copy = sy_new(struct cp_mem_disk);
    copy->fail_after = -1;
    copy->data = data_copy(disk->data);
    return copy;
}

void cp_mem_disk_set(struct cp_mem_disk *disk, int64_t sync_ns, int64_t fail_after)
{
    SY_ASSERT(sync_ns >= 0);
    disk->sync_ns = sync_ns;
    disk->fail_after = fail_after;
}

void cp_mem_disk_set_close(struct cp_mem_disk *disk, int64_t close_ns)
{
    disk->close_ns = close_ns;
}

void cp_mem_disk_keep_in_flight(struct cp_mem_disk *disk, bool keep)
{
    disk->keep_in_flight = keep;
}

/* ---- batches ---- */

static struct sy_span mem_batch_data(const struct cp_batch *base)
{
    return sy_buf_span(&((const struct mem_batch *)base)->records);
}

struct cp_batch *cp_mem_batch_new(struct cp_store *store)
{
    struct mem_batch *batch = sy_new(struct mem_batch);
    batch->base.ops = store->ops;
    return &batch->base;
}

void cp_mem_batch_free(struct cp_batch *base)
{
    struct mem_batch *batch = (struct mem_batch *)base;
    sy_buf_deinit(&batch->records);
    free(batch);
}

static void add_record(struct cp_batch *base, const struct record *record, struct sy_span key,
                       struct sy_span value)
{
    struct mem_batch *batch = (struct mem_batch *)base;
    sy_buf_append(&batch->records, record, sizeof(*record));
    sy_buf_append(&batch->records, key.data, key.len);
    sy_buf_append(&batch->records, value.data, value.len);
}

static void mem_batch_put(struct cp_batch *batch, enum cp_family family, struct sy_span key,
                          struct sy_span value)
{
    SY_ASSERT(key.len <= UINT32_MAX);
    struct record record = {0};
    record.family = (uint8_t)family;
    record.key_len = (uint32_t)key.len;
    record.value_len = value.len;
    add_record(batch, &record, key, value);
}

static void mem_batch_delete(struct cp_batch *batch, enum cp_family family, struct sy_span key)
{
    SY_ASSERT(key.len <= UINT32_MAX);
    struct record record = {0};
    record.family = (uint8_t)family;
    record.deleted = true;
    record.key_len = (uint32_t)key.len;
    add_record(batch, &record, key, (struct sy_span){0});
}

/* ---- the store ---- */

static void sync_done(void *arg)
{
    struct mem_store *store = arg;
    struct mem_batch *batch = sy_take(store->in_flight);
    SY_ASSERT(batch);
    if (store->result == 0) {
        apply(store->data, batch);
        store->bytes += batch->base.bytes;
    } else if (!store->failed) {
        store->failed = store->result;
        sy_error_text_set(&store->base.error, "No space left on device (memory store)");
    }
    cp_mem_batch_free(&batch->base);
    cp_store_committed(&store->base, store->result);
}

static void mem_commit(struct cp_store *base, struct cp_batch *batch)
{
    struct mem_store *store = (struct mem_store *)base;
    struct cp_mem_disk *disk = store->disk;
    SY_ASSERT(!store->in_flight);
    store->in_flight = (struct mem_batch *)batch;
    store->result = store->failed;
    if (store->result == 0 && disk->fail_after == 0)
        store->result = -ENOSPC;
    if (disk->fail_after >= 0)
        disk->fail_after--;
    sy_timer_start_in(base->loop, &store->sync, disk->sync_ns);
}

static void mem_close(struct cp_store *base)
{
    struct mem_store *store = (struct mem_store *)base;
    struct cp_mem_disk *disk = store->disk;
    cp_mem_show(base);
    SY_ASSERT(store->data->iterators == 0 && disk->stores > 0);
    sy_timer_stop(base->loop, &store->sync);
    if (store->in_flight) {
        if (disk->keep_in_flight && store->result == 0)
            apply(store->data, store->in_flight);
        cp_mem_batch_free(&store->in_flight->base);
    }
    if (disk->owner == store)
        disk->owner = NULL;
    else
        cp_mem_data_free(store->data);
    disk->stores--;
    free(store);
}

static void close_done(void *arg)
{
    struct mem_store *store = arg;
    struct cp_store base = store->base;
    mem_close(&store->base);
    cp_store_closed(&base);
}

static bool mem_close_begin(struct cp_store *base)
{
    struct mem_store *store = (struct mem_store *)base;
    if (store->disk->close_ns == 0) {
        mem_close(base);
        return true;
    }
    sy_timer_stop(base->loop, &store->sync);
    sy_timer_init(&store->sync, close_done, store);
    sy_timer_start_in(base->loop, &store->sync, store->disk->close_ns);
    return false;
}

static int mem_get(struct cp_store *base, enum cp_family family, struct sy_span key,
                   struct sy_buf *ret_value)
{
    const struct mem_store *store = (const struct mem_store *)base;
    const struct node *node = find(&store->data->families[family], key);
    const struct version *version = node ? node->newest : NULL;
    while (version && store->holds && version->sequence > store->held)
        version = version->older;
    if (!version || version->deleted)
        return CP_STORE_E_NOT_FOUND;
    sy_buf_clear(ret_value);
    sy_buf_append(ret_value, version->data, version->len);
    return 0;
}

static uint64_t mem_position(const struct cp_store *store)
{
    return ((const struct mem_store *)store)->data->position;
}

static uint64_t mem_bytes_written(const struct cp_store *store)
{
    return ((const struct mem_store *)store)->bytes;
}

/* ---- iterators ---- */

static struct version *visible(const struct mem_iter *iter, const struct node *node)
{
    struct version *version = node->newest;
    while (version && version->sequence > iter->sequence)
        version = version->older;
    return version && !version->deleted ? version : NULL;
}

static bool inside(const struct mem_iter *iter, const struct node *node)
{
    if (iter->from.len > 0 && compare(node, sy_buf_span(&iter->from)) < 0)
        return false;
    return iter->to.len == 0 || compare(node, sy_buf_span(&iter->to)) < 0;
}

/* Goes on from `node` in the given direction to the first that is visible and inside. */
static void settle(struct mem_iter *iter, struct node *node, bool backward)
{
    iter->at = iter->family->head;
    iter->version = NULL;
    for (; node && node != iter->family->head; node = backward ? node->previous : node->next[0]) {
        if (!inside(iter, node))
            return;
        struct version *version = visible(iter, node);
        if (version) {
            iter->at = node;
            iter->version = version;
            return;
        }
    }
}

static struct cp_iter *mem_iter_new(struct cp_store *base, enum cp_family family,
                                    struct sy_span from, struct sy_span to, bool reverse)
{
    struct mem_store *store = (struct mem_store *)base;
    struct mem_iter *iter = sy_new(struct mem_iter);
    iter->base.ops = base->ops;
    iter->data = store->data;
    iter->family = &store->data->families[family];
    iter->sequence = store->holds ? store->held : store->data->sequence;
    iter->reverse = reverse;
    sy_buf_append(&iter->from, from.data, from.len);
    sy_buf_append(&iter->to, to.data, to.len);
    iter->data->iterators++;
    struct node *start = NULL;
    if (!reverse)
        start = find_before(iter->family, from, NULL)->next[0];
    else
        start = to.len > 0 ? find_before(iter->family, to, NULL) : iter->family->last;
    settle(iter, start, reverse);
    return &iter->base;
}

static bool mem_iter_valid(struct cp_iter *base)
{
    return ((struct mem_iter *)base)->version != NULL;
}

static void mem_iter_next(struct cp_iter *base)
{
    struct mem_iter *iter = (struct mem_iter *)base;
    SY_ASSERT(iter->version);
    settle(iter, iter->reverse ? iter->at->previous : iter->at->next[0], iter->reverse);
}

static struct sy_span mem_iter_key(struct cp_iter *base)
{
    const struct mem_iter *iter = (const struct mem_iter *)base;
    SY_ASSERT(iter->version);
    return (struct sy_span){iter->at->key, iter->at->key_len};
}

static struct sy_span mem_iter_value(struct cp_iter *base)
{
    const struct mem_iter *iter = (const struct mem_iter *)base;
    SY_ASSERT(iter->version);
    return (struct sy_span){iter->version->data, iter->version->len};
}

static int mem_iter_error(struct cp_iter *iter)
{
    (void)iter;
    return 0;
}

static void mem_iter_seek_for_prev(struct cp_iter *base, struct sy_span key)
{
    struct mem_iter *iter = (struct mem_iter *)base;
    struct node *node = find_before(iter->family, key, NULL);
    if (node->next[0] && compare(node->next[0], key) == 0)
        node = node->next[0];
    while (node != iter->family->head && iter->to.len > 0 &&
           compare(node, sy_buf_span(&iter->to)) >= 0)
        node = node->previous;
    settle(iter, node, true);
}

static void mem_iter_free(struct cp_iter *base)
{
    struct mem_iter *iter = (struct mem_iter *)base;
    SY_ASSERT(iter->data->iterators > 0);
    if (--iter->data->iterators == 0)
        cp_mem_prune(iter->data);
    sy_buf_deinit(&iter->from);
    sy_buf_deinit(&iter->to);
    free(iter);
}

static const struct cp_store_ops mem_ops = {
    .close = mem_close,
    .close_begin = mem_close_begin,
    .batch_new = cp_mem_batch_new,
    .batch_free = cp_mem_batch_free,
    .batch_put = mem_batch_put,
    .batch_delete = mem_batch_delete,
    .commit = mem_commit,
    .get = mem_get,
    .iter_new = mem_iter_new,
    .iter_valid = mem_iter_valid,
    .iter_next = mem_iter_next,
    .iter_key = mem_iter_key,
    .iter_value = mem_iter_value,
    .iter_error = mem_iter_error,
    .iter_seek_for_prev = mem_iter_seek_for_prev,
    .iter_free = mem_iter_free,
    .bytes_written = mem_bytes_written,
    .position = mem_position,
    .batch_data = mem_batch_data,
    .batch_read = cp_mem_batch_read,
    .hold = cp_mem_hold,
    .show = cp_mem_show,
    .log_reader_new = cp_mem_log_reader_new,
    .log_reader_next = cp_mem_log_reader_next,
    .log_reader_free = cp_mem_log_reader_free,
    .dump = cp_mem_dump,
};

/* `owner` stands still, and goes on with data of its own. */
static void take_over(struct cp_mem_disk *disk, const struct mem_store *owner)
{
    SY_ASSERT(owner->data == disk->data && !owner->holds); /* held: each shard has its own disk */
    disk->data = data_copy(owner->data);
    if (owner->in_flight && disk->keep_in_flight && owner->result == 0)
        apply(disk->data, owner->in_flight);
}

int cp_store_mem_open(struct cp_store **ret_store, struct cp_mem_disk *disk, uint32_t epoch,
                      struct sy_loop *loop, uint32_t *ret_epoch, struct sy_error_text *error)
{
    if (epoch != 0 && epoch < disk->epoch) {
        *ret_epoch = disk->epoch;
        sy_error_text_set(error, "the memory store was taken under epoch %u, ours is %u",
                          disk->epoch, epoch);
        return CP_STORE_E_NEWER;
    }
    if (disk->owner && (epoch == disk->epoch || epoch == 0 || disk->epoch == 0)) {
        sy_error_text_set(error, "the memory store is open already");
        return -EBUSY;
    }
    if (disk->owner)
        take_over(disk, disk->owner);
    struct mem_store *store = sy_new(struct mem_store);
    store->base.ops = &mem_ops;
    store->base.loop = loop;
    store->disk = disk;
    store->data = disk->data;
    sy_timer_init(&store->sync, sync_done, store);
    disk->owner = store;
    disk->stores++;
    disk->epoch = epoch > disk->epoch ? epoch : disk->epoch;
    *ret_store = &store->base;
    return 0;
}
