/*
 * Watches. Each commit marks the watches of what it changed; at the turn's end their owners are
 * told, and read from the store when they like. So a reader that stops costs one flag.
 */
#include "controlplane/partition_watch.h"

#define NAMES_MAX 4096

/* ---- registry ---- */

struct cp_watch_list {
    uint64_t id;
    struct cp_watch *watches;
    UT_hash_handle hh;
};

static void attach(struct cp_partition *p, struct cp_watch *watch, uint64_t id)
{
    struct cp_watch_list *list;
    HASH_FIND(hh, p->watch_lists, &id, sizeof(id), list);
    if (!list) {
        list = sy_new(struct cp_watch_list);
        list->id = id;
        HASH_ADD(hh, p->watch_lists, id, sizeof(list->id), list);
    }
    DL_APPEND(list->watches, watch);
    watch->list = list;
}

static void detach(struct cp_partition *p, struct cp_watch *watch)
{
    if (watch->kind == CP_WATCH_RUNS) {
        if (watch->attached)
            DL_DELETE(p->runs_watches, watch);
    } else if (watch->list) {
        struct cp_watch_list *list = sy_take(watch->list);
        SY_ASSERT(list->watches && watch->prev);
        DL_DELETE(list->watches, watch);
        if (!list->watches) {
            SY_ASSERT(p->watch_lists && p->watch_lists->hh.tbl);
            HASH_DEL(p->watch_lists, list);
            free(list);
        }
    }
    watch->attached = false;
}

void cp_watch_make_ready(struct cp_partition *p, struct cp_watch *watch)
{
    if (watch->ready)
        return;
    watch->ready = true;
    DL_APPEND2(p->ready_watches, watch, ready_prev, ready_next);
    cp_touch(p);
}

static void leave_ready(struct cp_partition *p, struct cp_watch *watch)
{
    SY_ASSERT(watch->ready);
    watch->ready = false;
    DL_DELETE2(p->ready_watches, watch, ready_prev, ready_next);
}

struct cp_watch *cp_watch_new(struct cp_partition *p, enum cp_watch_kind kind,
                              void (*on_more)(void *ctx), void *ctx)
{
    struct cp_watch *watch = sy_new(struct cp_watch);
    watch->p = p;
    watch->kind = kind;
    watch->on_more = on_more;
    watch->ctx = ctx;
    watch->attached = cp_state(p) == CP_PARTITION_SERVING;
    if (watch->attached && kind == CP_WATCH_RUNS)
        DL_APPEND(p->runs_watches, watch);
    cp_watch_make_ready(p, watch); /* whatever is there already */
    return watch;
}

struct cp_watch *cp_watch_run(struct cp_partition *p, uint64_t run_id, uint64_t after,
                              void (*on_more)(void *ctx), void *ctx)
{
    struct cp_watch *watch = cp_watch_new(p, CP_WATCH_RUN, on_more, ctx);
    watch->run_id = run_id;
    watch->cursor = after;
    if (watch->attached)
        attach(p, watch, run_id);
    return watch;
}

static struct cp_watch *watch_children(struct cp_partition *p, uint64_t run_id, uint64_t parent_id,
                                       uint64_t after, void (*on_more)(void *ctx), void *ctx)
{
    struct cp_watch *watch = cp_watch_new(p, CP_WATCH_CHILDREN, on_more, ctx);
    watch->run_id = run_id;
    watch->parent_id = parent_id;
    watch->cursor = after;
    if (watch->attached && parent_id != 0)
        attach(p, watch, parent_id);
    return watch;
}

struct cp_watch *cp_watch_children_of(struct cp_partition *p, const struct sch_action *parent,
                                      uint64_t after, void (*on_more)(void *ctx), void *ctx)
{
    return watch_children(p, parent->run->id, parent->id, after, on_more, ctx);
}

struct cp_watch *cp_watch_children(struct cp_partition *p, uint64_t run_id, const char *parent,
                                   uint64_t after, void (*on_more)(void *ctx), void *ctx)
{
    uint64_t parent_id = 0; /* not found: reads say so */
    const struct sch_run *run = p->core ? sch_partition_find_run_by_id(p->core, run_id) : NULL;
    const struct sch_action *live = run ? sch_partition_find_action(p->core, run, parent) : NULL;
    if (live) {
        parent_id = live->id;
    } else if (cp_state(p) == CP_PARTITION_SERVING && strlen(parent) < SCH_NAME_MAX) {
        struct cp_key key = cp_key_action(run_id, parent);
        int r = cp_store_get(p->store, CP_FAMILY_ACTIONS, cp_key_span(&key), &p->scratch);
        if (r == 0)
            parent_id = cp_row_uint(sy_buf_span(&p->scratch), 1);
        else if (r < 0)
            cp_fail_later(p, r);
    }
    return watch_children(p, run_id, parent_id, after, on_more, ctx);
}

void cp_watch_free(struct cp_watch *watch)
{
    if (!watch)
        return;
    if (watch->p) {
        detach(watch->p, watch);
        if (watch->ready)
            leave_ready(watch->p, watch);
    }
    cp_watch_runs_deinit(watch);
    free(watch);
}

void cp_watch_notify(struct cp_partition *p, uint64_t id)
{
    if (!p->watch_lists)
        return;
    struct cp_watch_list *list;
    HASH_FIND(hh, p->watch_lists, &id, sizeof(id), list);
    if (!list)
        return;
    for (struct cp_watch *watch = list->watches; watch; watch = watch->next)
        cp_watch_make_ready(p, watch);
}

/* Tells those that are ready now; what becomes ready meanwhile waits for the next turn. */
void cp_watch_run_ready(struct cp_partition *p)
{
    size_t count = 0;
    for (const struct cp_watch *watch = p->ready_watches; watch; watch = watch->ready_next)
        count++;
    while (count-- > 0 && p->ready_watches) {
        struct cp_watch *watch = p->ready_watches;
        leave_ready(p, watch);
        watch->on_more(watch->ctx); /* may free it, and others */
    }
}

void cp_watch_detach_all(struct cp_partition *p)
{
    while (p->watch_lists) { /* the last one takes its list with it */
        struct cp_watch *watch = p->watch_lists->watches;
        detach(p, watch);
        cp_watch_make_ready(p, watch);
    }
    while (p->runs_watches) {
        struct cp_watch *watch = p->runs_watches;
        detach(p, watch);
        cp_watch_make_ready(p, watch);
    }
    SY_ASSERT(!p->watch_lists);
}

/* The partition is freed: its watches live on without it, until their owners free them. */
void cp_watch_forget_all(struct cp_partition *p)
{
    cp_watch_detach_all(p);
    while (p->ready_watches) {
        struct cp_watch *watch = p->ready_watches;
        leave_ready(p, watch);
        watch->p = NULL;
    }
}

bool cp_watch_can_read(const struct cp_watch *watch)
{
    return watch->p && watch->attached && cp_state(watch->p) == CP_PARTITION_SERVING &&
           !cp_lapsed(watch->p);
}

/* ---- reading ---- */

/* A growing array in an arena. */
static void **grow(struct sy_arena *arena, void **items, size_t count, size_t *cap)
{
    if (count < *cap)
        return items;
    size_t larger = *cap ? *cap * 2 : 64;
    void **grown = sy_arena_alloc(arena, larger * sizeof(*grown));
    if (!grown)
        return NULL;
    if (count > 0)
        memcpy(grown, items, count * sizeof(*grown));
    *cap = larger;
    return grown;
}

struct reading {
    struct cp_watch *watch;
    struct sy_arena *arena;
    size_t bytes_max, items_max;
    void **items;
    size_t count, cap, bytes;
    bool enough; /* there is more than was asked for */
};

/* The entries of one chunk that lie behind the cursor. False: enough was read. */
static int read_chunk(struct reading *reading, uint64_t sequence, struct sy_span chunk,
                      void *(*decode)(struct sy_arena *arena, struct sy_span entry))
{
    struct sy_span entry;
    for (; cp_chunk_next(&chunk, &entry); sequence++) {
        if (sequence <= reading->watch->cursor)
            continue;
        reading->enough = reading->bytes >= reading->bytes_max ||
                          reading->count >= reading->items_max;
        if (reading->enough)
            return 0;
        void **items = grow(reading->arena, reading->items, reading->count, &reading->cap);
        void *item = items ? decode(reading->arena, entry) : NULL;
        if (!item) { /* the arena is full: what came so far is given first */
            reading->enough = true;
            return reading->count > 0 ? 0 : -ENOMEM;
        }
        reading->items = items;
        reading->items[reading->count++] = item;
        reading->bytes += entry.len;
        reading->watch->cursor = sequence;
    }
    return chunk.len > 0 ? -EBADMSG : 0;
}

static void put_sequence(struct cp_key *key, uint64_t sequence)
{
    sequence = __builtin_bswap64(sequence);
    memcpy(key->data + key->len - 8, &sequence, 8);
}

/* Who has read whole chunks knows the next one's key: a lookup, where an iterator would seek. */
static int read_next_chunks(struct reading *reading, enum cp_family family, struct cp_key at,
                            void *(*decode)(struct sy_arena *arena, struct sy_span entry))
{
    struct cp_partition *p = reading->watch->p;
    int r = 0;
    while (r == 0 && !reading->enough) {
        uint64_t next = reading->watch->cursor + 1;
        put_sequence(&at, next);
        r = cp_store_get(p->store, family, cp_key_span(&at), &p->scratch);
        if (r == 0)
            r = read_chunk(reading, next, sy_buf_span(&p->scratch), decode);
        if (r == 0 && !reading->enough && reading->watch->cursor < next)
            r = -EBADMSG; /* an empty chunk */
    }
    return r == CP_STORE_E_NOT_FOUND ? 0 : r;
}

/* Reads chunks of a log whose keys are `prefix` and a sequence, from the cursor on. */
static int read_log(struct reading *reading, enum cp_family family, const struct cp_key *first,
                    const struct cp_key *last,
                    void *(*decode)(struct sy_arena *arena, struct sy_span entry))
{
    struct cp_watch *watch = reading->watch;
    if (watch->between_chunks) {
        int r = read_next_chunks(reading, family, *first, decode);
        watch->between_chunks = r == 0 && !reading->enough;
        return r;
    }
    struct cp_iter *iter = cp_iter_new(watch->p->store, family, cp_key_span(first),
                                       cp_key_span(last), false);
    struct cp_key at = *first;
    put_sequence(&at, watch->cursor + 1);
    if (watch->cursor > 0) /* the chunk that holds it, or the last before it */
        cp_iter_seek_for_prev(iter, cp_key_span(&at));
    int r = 0;
    for (; r == 0 && !reading->enough && cp_iter_valid(iter); cp_iter_next(iter)) {
        struct sy_span key = cp_iter_key(iter);
        if (key.len != first->len)
            r = -EBADMSG;
        else
            r = read_chunk(reading, sy_get_be64(key.data + key.len - 8), cp_iter_value(iter),
                           decode);
    }
    if (r == 0)
        r = cp_iter_error(iter);
    cp_iter_free(iter);
    watch->between_chunks = r == 0 && !reading->enough;
    return r;
}

static void *decode_event(struct sy_arena *arena, struct sy_span entry)
{
    return cp_row_unpack(&switchyard__v1__event__descriptor, arena, entry);
}

/* All events are durable and delivered, and the run's end is among them. */
static int has_ended(const struct cp_watch *watch, bool *ret_ended)
{
    struct cp_partition *p = watch->p;
    *ret_ended = false;
    if (sch_partition_find_run_by_id(p->core, watch->run_id))
        return 0;
    struct cp_key key = cp_key_run(watch->run_id);
    int r = cp_store_get(p->store, CP_FAMILY_RUNS, cp_key_span(&key), &p->scratch);
    if (r == 0) /* a repeated field counts as its last */
        *ret_ended = cp_row_uint(sy_buf_span(&p->scratch), 6) != 0;
    return r == CP_STORE_E_NOT_FOUND ? CP_PARTITION_E_NOT_FOUND : r;
}

int cp_watch_read_events(struct cp_watch *watch, struct sy_arena *arena, size_t bytes_max,
                         Switchyard__V1__Event ***ret_events, size_t *ret_count, bool *ret_ended)
{
    SY_ASSERT(watch->kind == CP_WATCH_RUN);
    if (!cp_watch_can_read(watch))
        return CP_PARTITION_E_NOT_SERVING;
    struct reading reading = {
        .watch = watch, .arena = arena, .bytes_max = bytes_max, .items_max = SIZE_MAX};
    bool ended = false;
    int r = 0;
    if (watch->cursor != UINT64_MAX) {
        struct cp_key first = cp_key_event(watch->run_id, 0);
        struct cp_key last = cp_key_event(watch->run_id, UINT64_MAX);
        r = read_log(&reading, CP_FAMILY_EVENTS, &first, &last, decode_event);
    }
    if (r == 0 && !reading.enough)
        r = has_ended(watch, &ended);
    if (r != 0)
        return sy_trace(r);
    *ret_events = (Switchyard__V1__Event **)reading.items;
    *ret_count = reading.count;
    *ret_ended = ended;
    return 0;
}

static void *decode_name(struct sy_arena *arena, struct sy_span entry)
{
    char *name = sy_arena_alloc(arena, entry.len + 1);
    if (!name)
        return NULL;
    memcpy(name, entry.data, entry.len);
    name[entry.len] = '\0';
    return name;
}

int cp_watch_read_children(struct cp_watch *watch, struct sy_arena *arena, size_t max,
                           const char ***ret_names, size_t *ret_count, uint64_t *ret_next,
                           uint64_t *ret_running)
{
    SY_ASSERT(watch->kind == CP_WATCH_CHILDREN);
    if (!cp_watch_can_read(watch))
        return CP_PARTITION_E_NOT_SERVING;
    if (watch->parent_id == 0)
        return CP_PARTITION_E_NOT_FOUND;
    struct reading reading = {.watch = watch,
                              .arena = arena,
                              .bytes_max = SIZE_MAX,
                              .items_max = max < NAMES_MAX ? max : NAMES_MAX};
    struct cp_key first = cp_key_child(watch->run_id, watch->parent_id, 0);
    struct cp_key last = cp_key_child(watch->run_id, watch->parent_id, UINT64_MAX);
    int r = watch->cursor == UINT64_MAX
                ? 0
                : read_log(&reading, CP_FAMILY_CHILDREN, &first, &last, decode_name);
    if (r < 0)
        return sy_trace(r);
    const struct sch_action *parent = sch_partition_find_action_by_id(watch->p->core,
                                                                      watch->parent_id);
    /* One whose end is not durable yet has not finished, for those who ask. */
    *ret_running = cp_pending_children(watch->p, watch->parent_id) +
                   (parent ? parent->children_live : 0);
    *ret_names = (const char **)(void *)reading.items;
    *ret_count = reading.count;
    *ret_next = watch->cursor;
    return 0;
}
