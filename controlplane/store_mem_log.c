/* The memory store's log, and images of it. */
#include "controlplane/store_mem_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct mem_reader {
    struct cp_log_reader base;
    const struct mem_data *data;
    uint64_t after;
};

static void forget_logged(struct mem_data *data, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sy_buf_deinit(&data->log[i].records);
    data->log_count -= count;
    if (data->log_count > 0)
        memmove(data->log, data->log + count, data->log_count * sizeof(*data->log));
}

void cp_mem_log_keep(struct mem_data *data, size_t max)
{
    if (data->log_count > max)
        forget_logged(data, data->log_count - max);
    data->log_max = max;
    data->log = sy_realloc(data->log, (max + 1) * sizeof(*data->log));
}

void cp_mem_log_add(struct mem_data *data, const struct mem_batch *batch)
{
    if (data->log_max > 0) {
        if (data->log_count == data->log_max)
            forget_logged(data, 1);
        data->log[data->log_count++] = (struct logged){
            data->position, data->position + batch->base.count,
            sy_buf_copy(batch->records.data, batch->records.len)};
    }
    data->position += batch->base.count;
}

void cp_mem_log_copy(struct mem_data *to, const struct mem_data *from)
{
    to->position = from->position;
    cp_mem_log_keep(to, from->log_max);
    for (size_t i = 0; i < from->log_count; i++) {
        struct logged *logged = &to->log[to->log_count++];
        *logged = from->log[i];
        logged->records = sy_buf_copy(from->log[i].records.data, from->log[i].records.len);
    }
}

void cp_mem_log_deinit(struct mem_data *data)
{
    forget_logged(data, data->log_count);
    free(data->log);
}

void cp_mem_disk_keep_log(struct cp_mem_disk *disk, size_t batches)
{
    SY_ASSERT(disk->stores == 0);
    cp_mem_log_keep(disk->data, batches);
}

/* ---- images ---- */

struct dumped {
    uint8_t family;
    uint32_t key_len;
    uint64_t value_len;
};

void cp_mem_dump(const struct cp_store *base, struct sy_buf *buf)
{
    const struct mem_data *data = ((const struct mem_store *)base)->data;
    sy_buf_append(buf, &data->position, sizeof(data->position));
    for (unsigned i = 0; i < CP_FAMILIES; i++) {
        for (const struct node *node = data->families[i].head->next[0]; node;
             node = node->next[0]) {
            const struct version *version = node->newest;
            struct dumped head = {0};
            if (version->deleted)
                continue;
            head.family = (uint8_t)i;
            head.key_len = (uint32_t)node->key_len;
            head.value_len = version->len;
            sy_buf_append(buf, &head, sizeof(head));
            sy_buf_append(buf, node->key, node->key_len);
            sy_buf_append(buf, version->data, version->len);
        }
    }
}

static bool load(struct mem_data *data, struct sy_span image)
{
    if (image.len < sizeof(data->position))
        return false;
    memcpy(&data->position, image.data, sizeof(data->position));
    for (size_t at = sizeof(data->position); at < image.len;) {
        struct dumped head;
        if (image.len - at < sizeof(head))
            return false;
        memcpy(&head, image.data + at, sizeof(head));
        at += sizeof(head);
        size_t left = image.len - at;
        if (head.family >= CP_FAMILIES || head.key_len > left ||
            head.value_len > left - head.key_len)
            return false;
        struct sy_span key = {image.data + at, head.key_len};
        struct sy_span value = {key.data + key.len, head.value_len};
        cp_mem_write_version(data, head.family, key, value, false);
        at += key.len + value.len;
    }
    return true;
}

int cp_mem_disk_load(struct cp_mem_disk *disk, struct sy_span image)
{
    SY_ASSERT(disk->stores == 0);
    struct mem_data *data = cp_mem_data_new();
    if (!load(data, image)) {
        cp_mem_data_free(data);
        return -EBADMSG;
    }
    cp_mem_log_keep(data, disk->data->log_max);
    cp_mem_data_free(disk->data);
    disk->data = data;
    disk->epoch = 0;
    return 0;
}

struct cp_batch *cp_mem_batch_read(struct cp_store *store, struct sy_span data)
{
    struct mem_batch *batch = (struct mem_batch *)cp_mem_batch_new(store);
    sy_buf_append(&batch->records, data.data, data.len);
    size_t at = 0;
    while (data.len - at >= sizeof(struct record)) {
        struct record record;
        memcpy(&record, data.data + at, sizeof(record));
        size_t left = data.len - at - sizeof(record);
        if (record.family >= CP_FAMILIES || record.key_len > left ||
            record.value_len > left - record.key_len)
            break;
        at += sizeof(record) + record.key_len + record.value_len;
        batch->base.count++;
    }
    if (at == data.len && at > 0)
        return &batch->base;
    cp_mem_batch_free(&batch->base);
    return NULL;
}

/* ---- the log ---- */

struct cp_log_reader *cp_mem_log_reader_new(struct cp_store *base, uint64_t after)
{
    const struct mem_data *data = ((const struct mem_store *)base)->data;
    size_t i = 0;
    while (i < data->log_count && data->log[i].after != after)
        i++;
    if (i == data->log_count)
        return NULL;
    struct mem_reader *reader = sy_new(struct mem_reader);
    *reader = (struct mem_reader){.base.ops = base->ops, .data = data, .after = after};
    return &reader->base;
}

int cp_mem_log_reader_next(struct cp_log_reader *base, uint64_t limit, size_t bytes_max,
                           struct sy_buf *ret_data, uint64_t *ret_upto)
{
    struct mem_reader *reader = (struct mem_reader *)base;
    const struct mem_data *data = reader->data;
    sy_buf_clear(ret_data);
    if (data->log_count > 0 && data->log[0].after > reader->after)
        return -EIO; /* it was forgotten meanwhile */
    for (size_t i = 0; i < data->log_count && ret_data->len < bytes_max; i++) {
        const struct logged *logged = &data->log[i];
        if (logged->after != reader->after || logged->upto > limit)
            continue;
        sy_buf_append(ret_data, logged->records.data, logged->records.len);
        reader->after = logged->upto;
    }
    *ret_upto = reader->after;
    return ret_data->len > 0 ? 0 : CP_STORE_E_NOT_FOUND;
}

void cp_mem_log_reader_free(struct cp_log_reader *reader)
{
    free(reader);
}

/* A holder is an iterator without a place: values of before are kept. */
void cp_mem_hold(struct cp_store *base)
{
    struct mem_store *store = (struct mem_store *)base;
    if (store->holds)
        return;
    store->holds = true;
    store->held = store->data->sequence;
    store->data->iterators++;
}

void cp_mem_show(struct cp_store *base)
{
    struct mem_store *store = (struct mem_store *)base;
    if (!store->holds)
        return;
    store->holds = false;
    if (--store->data->iterators == 0)
        cp_mem_prune(store->data);
}
