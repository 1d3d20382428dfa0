#include "controlplane/partition_impl.h"

#define CHUNK_BYTES_KEPT ((size_t)64 << 10)
#define GROUP_ITEMS_KEPT 65536u
/* How long a group waits for patient callers, and how many are enough: see may_grow(). */
#define LINGER_NS (10 * SY_NS_PER_MS)
#define CALLERS_MAX 16u

/* ---- groups ---- */

struct cp_group *cp_group_new(struct cp_partition *p)
{
    struct cp_group *group = p->pool;
    if (group) {
        p->pool = group->next;
        group->next = NULL;
    } else {
        group = sy_new(struct cp_group);
        sy_arena_init(&group->arena, SIZE_MAX / 2); /* what goes in was checked before */
    }
    SY_ASSERT(group->item_count == 0 && group->chunk_count == 0 && !group->rows);
    if (p->core)
        group->rows = cp_batch_new(p->store);
    return group;
}

void cp_group_free(struct cp_group *group)
{
    SY_ASSERT(group->item_count == 0 && group->chunk_count == 0 && !group->rows);
    for (size_t i = 0; i < group->chunk_cap; i++)
        sy_buf_deinit(&group->chunks[i].bytes);
    free(group->chunks);
    cp_id_map_deinit(&group->chunk_by_id);
    free(group->ended);
    free(group->cached);
    cp_id_map_deinit(&group->cached_by_digest);
    free(group->items);
    sy_arena_deinit(&group->arena);
    free(group);
}

static void clear_chunks(struct cp_group *group)
{
    for (size_t i = 0; i < group->chunk_count; i++) {
        struct cp_chunk *chunk = &group->chunks[i];
        if (chunk->live)
            cp_live_run_unref(chunk->live);
        if (chunk->parent)
            sch_action_unref(chunk->parent);
        struct sy_buf bytes = chunk->bytes;
        sy_buf_clear(&bytes);
        if (bytes.cap > CHUNK_BYTES_KEPT)
            sy_buf_deinit(&bytes);
        *chunk = (struct cp_chunk){.bytes = bytes};
    }
    group->chunk_count = 0;
    cp_id_map_clear(&group->chunk_by_id);
}

/* Its items were taken care of: back to the pool. */
static void recycle(struct cp_partition *p, struct cp_group *group)
{
    clear_chunks(group);
    if (group->rows)
        cp_batch_free(sy_take(group->rows));
    group->item_count = group->ended_count = group->cached_count = 0;
    cp_id_map_clear(&group->cached_by_digest);
    if (group->item_cap > GROUP_ITEMS_KEPT) {
        free(sy_take(group->items));
        group->item_cap = 0;
    }
    group->id_high = 0;
    group->callers = 0;
    group->urgent = false;
    sy_arena_reset(&group->arena);
    group->next = p->pool;
    p->pool = group;
}

void cp_assign_drop(struct cp_assign *assign)
{
    SY_ASSERT(assign->use->spec->pins > 0);
    assign->use->spec->pins--;
    sch_action_unref(assign->action);
}

static void drop_item(struct cp_item *item)
{
    switch (item->type) {
    case CP_ITEM_ASSIGN:
        cp_assign_drop(&item->u.assign.assign);
        cp_cluster_unref(item->u.assign.cluster);
        break;
    case CP_ITEM_CANCEL:
    case CP_ITEM_PREEMPT:
    case CP_ITEM_GIVE_BACK:
    case CP_ITEM_ACK:
        cp_cluster_unref(item->u.tell.cluster);
        break;
    case CP_ITEM_ECHO:
        cp_cluster_unref(item->u.echo.cluster);
        break;
    case CP_ITEM_DONE:
    case CP_ITEM_ENQUEUED:
        break;
    }
}

void cp_group_drop_refs(struct cp_group *group)
{
    clear_chunks(group);
    for (size_t i = 0; i < group->item_count; i++)
        drop_item(&group->items[i]);
}

void cp_group_discard(struct cp_partition *p, struct cp_group *group)
{
    cp_group_drop_refs(group);
    recycle(p, group);
}

/* Replies that were refused anyway keep their own reason. */
void cp_group_fail(struct cp_partition *p, struct cp_group *group, const struct sy_status *status)
{
    static const struct cp_enqueued nothing = {0};
    for (size_t i = 0; i < group->item_count; i++) {
        const struct cp_item *item = &group->items[i];
        if (item->type == CP_ITEM_DONE) {
            const struct sy_status *own = item->u.done.status;
            item->u.done.fn(item->u.done.ctx, own ? own : status);
        } else if (item->type == CP_ITEM_ENQUEUED) {
            const struct sy_status *own = item->u.enqueued.status;
            item->u.enqueued.fn(item->u.enqueued.ctx, own ? own : status, &nothing);
        }
    }
    recycle(p, group);
}

/* ---- filling ---- */

static bool is_reply(const struct cp_item *item)
{
    return item->type == CP_ITEM_DONE || item->type == CP_ITEM_ENQUEUED;
}

void cp_group_add_caller(struct cp_partition *p)
{
    struct cp_group *group = p->open;
    if (group->callers++ == 0)
        group->callers_since_ns = sy_loop_now_ns(p->loop);
    unsigned waiting = group->callers + (p->sealed ? p->sealed->callers : 0);
    if (p->callers_expected < waiting)
        p->callers_expected = waiting < CALLERS_MAX ? waiting : CALLERS_MAX;
}

struct cp_item *cp_group_add(struct cp_partition *p, enum cp_item_type type)
{
    struct cp_group *group = p->open;
    if (group->item_count == group->item_cap) {
        group->item_cap = group->item_cap ? group->item_cap * 2 : 64;
        group->items = sy_realloc(group->items, group->item_cap * sizeof(*group->items));
    }
    struct cp_item *item = &group->items[group->item_count++];
    *item = (struct cp_item){.type = type};
    group->urgent |= type == CP_ITEM_DONE || type == CP_ITEM_CANCEL;
    cp_touch(p);
    return item;
}

const struct sy_status *cp_status_in(struct sy_arena *arena, enum sy_code code, const char *text)
{
    if (code == SY_CODE_OK)
        return NULL;
    struct sy_status *status = sy_arena_alloc(arena, sizeof(*status));
    SY_ASSERT(status);
    *status = (struct sy_status){.code = code};
    sy_error_text_set(&status->message, "%s", text);
    return status;
}

void cp_add_done(struct cp_partition *p, cp_done_fn fn, void *ctx)
{
    struct cp_item *item = cp_group_add(p, CP_ITEM_DONE);
    item->u.done.fn = fn;
    item->u.done.ctx = ctx;
}

void cp_add_failed(struct cp_partition *p, cp_done_fn fn, void *ctx, enum sy_code code,
                   const char *text)
{
    cp_add_done(p, fn, ctx);
    struct cp_item *item = &p->open->items[p->open->item_count - 1];
    item->u.done.status = cp_status_in(&p->open->arena, code, text);
}

struct cp_chunk *cp_group_chunk(struct cp_partition *p, uint64_t id, bool *ret_new)
{
    struct cp_group *group = p->open;
    uint32_t *index = cp_id_map_get(&group->chunk_by_id, id);
    *ret_new = *index == UINT32_MAX;
    if (!*ret_new)
        return &group->chunks[*index];
    if (group->chunk_count == group->chunk_cap) {
        size_t cap = group->chunk_cap ? group->chunk_cap * 2 : 16;
        group->chunks = sy_realloc(group->chunks, cap * sizeof(*group->chunks));
        memset(group->chunks + group->chunk_cap, 0,
               (cap - group->chunk_cap) * sizeof(*group->chunks));
        group->chunk_cap = cap;
    }
    *index = (uint32_t)group->chunk_count;
    struct cp_chunk *chunk = &group->chunks[group->chunk_count++];
    SY_ASSERT(chunk->id == 0 && chunk->bytes.len == 0);
    chunk->id = id;
    cp_touch(p);
    return chunk;
}

static uint64_t chunk_entries(const struct cp_group *group, uint64_t id)
{
    const uint32_t *index = group ? cp_id_map_find(&group->chunk_by_id, id) : NULL;
    return index ? group->chunks[*index].count : 0;
}

uint64_t cp_pending_children(struct cp_partition *p, uint64_t parent_id)
{
    return chunk_entries(p->open, parent_id) + chunk_entries(p->sealed, parent_id);
}

void cp_put(struct cp_partition *p, enum cp_family family, const struct cp_key *key,
            const struct sy_buf *value)
{
    SY_ASSERT(p->open->rows);
    cp_batch_put(p->open->rows, family, cp_key_span(key), sy_buf_span(value));
}

void cp_delete(struct cp_partition *p, enum cp_family family, const struct cp_key *key)
{
    SY_ASSERT(p->open->rows);
    cp_batch_delete(p->open->rows, family, cp_key_span(key));
}

static const struct cp_ended *find_ended(const struct cp_group *group, uint64_t run_id,
                                         const char *name)
{
    for (size_t i = 0; group && i < group->ended_count; i++) {
        if (group->ended[i].run_id == run_id && strcmp(group->ended[i].name, name) == 0)
            return &group->ended[i];
    }
    return NULL;
}

const struct cp_ended *cp_find_ended(const struct cp_partition *p, uint64_t run_id,
                                     const char *name)
{
    const struct cp_ended *ended = find_ended(p->open, run_id, name);
    return ended ? ended : find_ended(p->sealed, run_id, name);
}

/* ---- commit ---- */

static void put_chunk(struct cp_partition *p, struct cp_chunk *chunk)
{
    SY_ASSERT(chunk->count > 0 && chunk->first_sequence > 0);
    if (!chunk->parent) {
        struct cp_key key = cp_key_event(chunk->id, chunk->first_sequence);
        cp_row_put_event_total(&chunk->bytes, chunk->actions_total);
        cp_put(p, CP_FAMILY_EVENTS, &key, &chunk->bytes);
        return;
    }
    struct cp_key key = cp_key_child(chunk->run_id, chunk->id, chunk->first_sequence);
    cp_put(p, CP_FAMILY_CHILDREN, &key, &chunk->bytes);
    if (!sch_action_is_final(chunk->parent))
        cp_put_live(p, chunk->parent); /* so that recovery need not look for the log's end */
}

static void release(struct cp_item *item)
{
    static const struct sy_status ok = {.code = SY_CODE_OK};
    static const struct cp_enqueued nothing = {0};
    const struct sy_status *status;
    struct cp_cluster *cluster;
    switch (item->type) {
    case CP_ITEM_DONE:
        status = item->u.done.status;
        item->u.done.fn(item->u.done.ctx, status ? status : &ok);
        break;
    case CP_ITEM_ENQUEUED:
        status = item->u.enqueued.status;
        item->u.enqueued.fn(item->u.enqueued.ctx, status ? status : &ok,
                            status ? &nothing : item->u.enqueued.result);
        break;
    case CP_ITEM_ASSIGN:
        cluster = item->u.assign.cluster;
        if (cluster->stream && cluster->stream->serial == item->stream_serial)
            cp_operator_assign(cluster->stream, &item->u.assign.assign);
        else
            cp_assign_drop(&item->u.assign.assign); /* its inventory will lack it */
        cp_cluster_unref(cluster);
        break;
    case CP_ITEM_CANCEL:
    case CP_ITEM_PREEMPT:
    case CP_ITEM_GIVE_BACK:
    case CP_ITEM_ACK:
        cluster = item->u.tell.cluster;
        if (cluster->stream && item->type == CP_ITEM_ACK)
            cp_operator_ack(cluster->stream, &item->u.tell.attempt);
        else if (cluster->stream && item->type == CP_ITEM_GIVE_BACK)
            cp_operator_give_back(cluster->stream, &item->u.tell.attempt);
        else if (cluster->stream)
            cp_operator_cancel(cluster->stream, &item->u.tell.attempt, item->u.tell.reason,
                               item->type == CP_ITEM_PREEMPT);
        cp_cluster_unref(cluster);
        break;
    case CP_ITEM_ECHO:
        cluster = item->u.echo.cluster;
        if (cluster->stream && cluster->stream->serial == item->stream_serial)
            cluster->stream->echo = item->u.echo.number;
        cp_cluster_unref(cluster);
        break;
    }
}

static void release_items(struct cp_group *group, bool replies)
{
    for (size_t i = 0; i < group->item_count; i++) {
        if (is_reply(&group->items[i]) == replies)
            release(&group->items[i]);
    }
}

/* What makes tasks start leaves first: a reply wakes its client, which then competes for the CPU
 * with the daemons on the way to the worker. */
static void release_group(struct cp_partition *p, struct cp_group *group)
{
    if (group->id_high > p->durable_id_high)
        p->durable_id_high = group->id_high;
    for (size_t i = 0; i < group->chunk_count; i++) {
        const struct cp_chunk *chunk = &group->chunks[i];
        cp_watch_notify(p, chunk->id);
        if (chunk->root_changed)
            cp_watch_notify_run(p, chunk->id, chunk->live);
        if (chunk->live && chunk->live->row.len > CP_RUN_ROW_KEPT_MAX)
            sy_buf_deinit(&chunk->live->row);
    }
    release_items(group, false);
    for (struct cp_operator *o = p->operators; o; o = o->next)
        cp_operator_flush(o);
    release_items(group, true);
    recycle(p, group);
}

void cp_release_sealed(struct cp_partition *p)
{
    release_group(p, sy_take(p->sealed));
}

static void on_committed(void *ctx, int error)
{
    struct cp_partition *p = ctx;
    if (cp_lapsed(p)) {
        cp_abandon_lapsed(p);
        return;
    }
    if (error < 0) {
        cp_step_down(p, error);
        return;
    }
    if (!p->sealed)
        return; /* it has stepped down meanwhile */
    p->commits++;
    if (cp_replica_synced(p))
        cp_release_sealed(p);
}

static bool is_empty(const struct cp_group *group)
{
    return group->chunk_count == 0 && (!group->rows || cp_batch_count(group->rows) == 0);
}

/* Whether the open group waits for more patient callers. It does while fewer are in it than were
 * seen waiting at one time, and nothing that is urgent; when they do not come within LINGER_NS,
 * as many are expected from then on as did come. So a caller who is alone never waits, but once
 * after there were two. */
static bool may_grow(struct cp_partition *p, const struct cp_group *group)
{
    if (group->callers == 0 || group->callers >= p->callers_expected || group->urgent ||
        cp_state(p) != CP_PARTITION_SERVING)
        return false;
    int64_t until_ns = group->callers_since_ns + LINGER_NS;
    if (sy_loop_now_ns(p->loop) < until_ns) {
        sy_timer_start(p->loop, &p->linger, until_ns);
        return true;
    }
    p->callers_expected = group->callers;
    return false;
}

void cp_commit(struct cp_partition *p)
{
    struct cp_group *group = p->open;
    if (p->sealed)
        return;
    if (is_empty(group)) {
        if (group->item_count == 0)
            return;
        p->open = cp_group_new(p);
        release_group(p, group);
        return;
    }
    if (may_grow(p, group))
        return;
    sy_timer_stop(p->loop, &p->linger);
    SY_ASSERT(p->store && !cp_store_committing(p->store));
    for (size_t i = 0; i < group->chunk_count; i++)
        put_chunk(p, &group->chunks[i]);
    p->sealed = group;
    struct cp_batch *rows = sy_take(group->rows);
    p->open = cp_group_new(p);
    cp_replica_append(p, rows);
    p->disk_since_ns = sy_loop_now_ns(p->loop);
    cp_store_commit(p->store, rows, on_committed, p);
}
