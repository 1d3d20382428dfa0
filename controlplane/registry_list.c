#include "controlplane/registry_list.h"

#include "base/mem.h"

#include "switchyard/internal/parts.pb-c.h"

#include <stdlib.h>
#include <string.h>

struct item {
    const char *order, *group;
    struct cp_registry_key *key;
    struct sy_span packed;
};

struct found {
    struct cp_registry_list *list;
    struct cp_gather_part *part;
    struct item *items;
    size_t count, cap, scanned, total;
    bool full;
};

const char *cp_registry_order(const struct cp_registry_list *list, struct sy_arena *arena,
                              int64_t created_ns, const char *name, const char *detail)
{
    if (list->options.by_name)
        return sy_arena_printf(arena, "%s/%016llx/%s", name, (unsigned long long)created_ns,
                               detail);
    return sy_arena_printf(arena, "%016llx/%s/%s", (unsigned long long)created_ns, name, detail);
}

static bool take(void *ctx, struct sy_span key, struct sy_span value)
{
    struct found *found = ctx;
    struct sy_arena *arena = &found->part->arena;
    const char *group = NULL;
    if (++found->scanned > CP_REGISTRY_LIST_MAX) {
        found->full = true;
        return false;
    }
    const char *order = found->list->order(found->list, arena, key, value, &group);
    if (order == NULL)
        return true;
    size_t at = found->count;
    bool same = group != NULL && at > 0 && strcmp(found->items[at - 1].group, group) == 0;
    if (same && strcmp(found->items[--at].order, order) > 0)
        return true;
    if (!same && found->count == found->cap) {
        found->cap = found->cap > 0 ? found->cap * 2 : 64;
        found->items = sy_realloc(found->items, found->cap * sizeof(*found->items));
    }
    struct cp_registry_key *copy = sy_arena_alloc(arena, sizeof(*copy));
    if (copy == NULL || key.len > sizeof(copy->data)) {
        found->full = true;
        return false;
    }
    copy->len = key.len;
    memcpy(copy->data, key.data, key.len);
    found->count = at + 1;
    found->items[at] = (struct item){.order = order, .group = group, .key = copy};
    return true;
}

static int ascending(const void *a, const void *b)
{
    return strcmp(((const struct item *)a)->order, ((const struct item *)b)->order);
}

static int descending(const void *a, const void *b)
{
    return ascending(b, a);
}

/* Sorts, drops what earlier pages had, and keeps one more than the page, to know whether there is a
 * next one. */
static void cut(const struct cp_registry_list *list, struct item *items, size_t *count)
{
    const struct cp_list_options *options = &list->options;
    qsort(items, *count, sizeof(*items), options->ascending ? ascending : descending);
    size_t first = 0;
    while (options->token[0] != '\0' && first < *count) {
        int order = strcmp(items[first].order, options->token);
        if (options->ascending ? order > 0 : order < 0)
            break;
        first++;
    }
    memmove(items, items + first, (*count - first) * sizeof(*items));
    *count -= first;
    if (*count > options->limit + 1)
        *count = options->limit + 1;
}

static int pack_items(struct found *found)
{
    struct cp_gather_part *part = found->part;
    struct cp_lane *lane = part->lane;
    for (size_t i = 0; i < found->count; i++) {
        struct sy_span key = cp_registry_span(found->items[i].key);
        int r = cp_partition_registry_get(lane->partition, key, &lane->buf);
        if (r != 0)
            return r;
        size_t offset = part->buf.len;
        found->list->pack(found->list, lane, key, sy_buf_span(&lane->buf), &part->buf);
        found->items[i].packed = (struct sy_span){NULL, part->buf.len - offset};
    }
    const uint8_t *at = part->buf.data;
    for (size_t i = 0; i < found->count; i++) {
        found->items[i].packed.data = at;
        at += found->items[i].packed.len;
    }
    return 0;
}

static bool collect(struct cp_gather_part *part)
{
    struct cp_registry_list *list = part->gather->query;
    struct found *found = sy_arena_alloc(&part->arena, sizeof(*found));
    SY_ASSERT(found != NULL);
    *found = (struct found){.list = list, .part = part};
    struct cp_registry_key to = cp_registry_after(&list->prefix);
    int r = cp_partition_registry_scan(part->lane->partition, cp_registry_span(&list->prefix),
                                       cp_registry_span(&to), take, found);
    found->total = found->count;
    struct item *items = found->items;
    if (r == 0 && !found->full && found->count > 0) {
        cut(list, found->items, &found->count);
        r = pack_items(found);
    }
    if (found->full) {
        sy_status_set(&part->status, SY_CODE_RESOURCE_EXHAUSTED,
                      "more than %d rows: name a project, or a task", CP_REGISTRY_LIST_MAX);
    } else if (r == CP_PARTITION_E_NOT_SERVING) {
        cp_status_not_serving(&part->status, part->lane);
    } else if (r != 0) {
        sy_status_set(&part->status, SY_CODE_INTERNAL, "reading from the store failed: %s",
                      strerror(r < 0 ? -r : EIO));
    } else if (found->count > 0) {
        size_t bytes = found->count * sizeof(*items);
        found->items = sy_arena_alloc(&part->arena, bytes);
        SY_ASSERT(found->items != NULL);
        memcpy(found->items, items, bytes);
    }
    free(items);
    part->result = found;
    return true;
}

/* ---- a part that another shard has ---- */

static void pack(const struct cp_gather_part *part, cp_part_reply *reply)
{
    struct cp_request *req = part->gather->req;
    const struct cp_registry_list *list = part->gather->query;
    const struct found *found = part->result;
    struct {
        Switchyard__Internal__RegistryPart part;
        Switchyard__Internal__RegistryItem items[];
    } *all = cp_request_alloc(req, sizeof(*all) + found->count * sizeof(all->items[0]));
    switchyard__internal__registry_part__init(&all->part);
    all->part.total = found->total;
    all->part.marked = atomic_load(&list->marked);
    all->part.n_items = found->count;
    all->part.items = cp_request_alloc(req, found->count * sizeof(void *));
    for (size_t i = 0; i < found->count; i++) {
        const struct item *from = &found->items[i];
        Switchyard__Internal__RegistryItem *item = all->part.items[i] = &all->items[i];
        switchyard__internal__registry_item__init(item);
        item->order = (char *)(uintptr_t)from->order;
        item->response = (ProtobufCBinaryData){from->packed.len,
                                               (uint8_t *)(uintptr_t)from->packed.data};
    }
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_REGISTRY;
    reply->registry = &all->part;
}

static int unpack(struct cp_gather_part *part, const cp_part_reply *reply)
{
    struct cp_registry_list *list = part->gather->query;
    if (reply->part_case != SWITCHYARD__INTERNAL__PART_REPLY__PART_REGISTRY ||
        reply->registry->n_items > list->options.limit + 1)
        return -EBADMSG;
    const Switchyard__Internal__RegistryPart *from = reply->registry;
    struct found *found = sy_arena_alloc(&part->arena, sizeof(*found));
    struct item *items = sy_arena_alloc(&part->arena, (from->n_items + 1) * sizeof(*items));
    if (found == NULL || items == NULL)
        return -EBADMSG;
    for (size_t i = 0; i < from->n_items; i++) {
        const Switchyard__Internal__RegistryItem *item = from->items[i];
        if (item->order[0] == '\0') /* would be no token */
            return -EBADMSG;
        items[i] = (struct item){.order = item->order,
                                 .packed = {item->response.data, item->response.len}};
    }
    *found = (struct found){.items = items, .count = from->n_items, .total = from->total};
    if (from->marked)
        atomic_store(&list->marked, true);
    part->result = found;
    return 0;
}

/* ---- all of them ---- */

static void finish(struct cp_gather *gather)
{
    const struct cp_registry_list *list = gather->query;
    size_t count = 0, total = 0, used = 0;
    for (uint32_t i = 0; i < gather->count; i++) {
        const struct found *found = gather->parts[i].result;
        count += found->count;
        total += found->total;
    }
    struct item *items = cp_request_alloc(gather->req, (count + 1) * sizeof(*items));
    for (uint32_t i = 0; i < gather->count; i++) {
        const struct found *found = gather->parts[i].result;
        if (found->count > 0)
            memcpy(items + used, found->items, found->count * sizeof(*items));
        used += found->count;
    }
    qsort(items, count, sizeof(*items), list->options.ascending ? ascending : descending);
    struct sy_buf response = {0};
    size_t page = count < list->options.limit ? count : list->options.limit;
    for (size_t i = 0; i < page; i++)
        sy_buf_append(&response, items[i].packed.data, items[i].packed.len);
    const char *token = page < count ? items[page - 1].order : "";
    list->reply(gather->req, list, total, token, &response);
}

void cp_registry_list_start(struct cp_request *req, struct cp_registry_list *list)
{
    static const struct cp_gather_kind kind = {
        .collect = collect, .pack = pack, .unpack = unpack, .finish = finish};
    cp_gather_all(req, list, &kind);
}
