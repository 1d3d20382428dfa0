/*
 * Watches. One that has shown all that the member has heard hears of each change at once, in a
 * response of its own. One that is behind (it began in the past) reads what it missed a moment
 * later, many revisions in a response; only there a revision that is compacted comes out.
 */
#include "base/mem.h"
#include "tests/etcd/etcd_impl.h"

#include <stdlib.h>

#define SYNC_NS (100 * SY_NS_PER_MS)
#define SYNC_REVISIONS_MAX 1000 /* in one response */
#define PROGRESS_NS (600 * SY_NS_PER_S)

struct etcd_watch {
    struct etcd_watch *next; /* in order of ids */
    int64_t id;
    struct sy_buf from, end;
    int64_t next_revision;
    bool synced, compacted;
    bool progress, quiet; /* quiet: nothing was sent since the last progress was due */
};

static void watch_free(struct etcd_watch *watch)
{
    sy_buf_deinit(&watch->from);
    sy_buf_deinit(&watch->end);
    free(watch);
}

void etcd_watches_free(struct etcd_stream *stream)
{
    while (stream->watches != NULL) {
        struct etcd_watch *watch = stream->watches;
        stream->watches = watch->next;
        watch_free(watch);
    }
}

/* Fills in the header and sends it. */
static void respond(struct etcd_stream *stream, Etcdserverpb__WatchResponse *response,
                    int64_t revision)
{
    struct sy_arena arena;
    sy_arena_init(&arena, ETCD_ARENA_BYTES_MAX);
    response->header = etcd_header(stream->member, &arena, revision);
    etcd_stream_send(stream, &response->base);
    sy_arena_deinit(&arena);
}

/* ---- events ---- */

struct event {
    Etcdserverpb__Event event;
    Etcdserverpb__KeyValue kv;
};

static void event_fill(struct event *event, const struct etcd_change *change)
{
    *event = (struct event){ETCDSERVERPB__EVENT__INIT, ETCDSERVERPB__KEY_VALUE__INIT};
    event->event.kv = &event->kv;
    event->event.type = change->version > 0 ? ETCDSERVERPB__EVENT__EVENT_TYPE__PUT
                                            : ETCDSERVERPB__EVENT__EVENT_TYPE__DELETE;
    event->kv.key = (ProtobufCBinaryData){change->key->name.len, change->key->name.data};
    event->kv.value = (ProtobufCBinaryData){change->value.len, change->value.data};
    event->kv.create_revision = change->create_revision;
    event->kv.mod_revision = change->revision;
    event->kv.version = change->version;
    event->kv.lease = change->lease;
}

/* Sends what the watch wants of the changes from `first` on: as many revisions as may be in one
 * response, and none after `last`. True: there are more. */
static bool send_events(struct etcd_stream *stream, struct etcd_watch *watch, int64_t last,
                        size_t revisions_max, int64_t header_revision)
{
    const struct etcd_kv *kv = &stream->member->etcd->kv;
    struct etcd_range range = {sy_buf_span(&watch->from), sy_buf_span(&watch->end)};
    size_t first = etcd_kv_log_lower(kv, watch->next_revision), revisions = 0;
    size_t end = etcd_kv_log_lower(kv, last + 1);
    SY_ASSERT(first <= end);
    struct event *events = sy_calloc(end - first + 1, sizeof(events[0]));
    Etcdserverpb__Event **list = sy_calloc(end - first + 1, sizeof(list[0]));
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    bool more = false;
    int64_t revision = 0;
    for (size_t i = first; i < end && !more; i++) {
        const struct etcd_change *change = kv->log[i];
        if (!etcd_range_has(&range, sy_buf_span(&change->key->name)))
            continue;
        if (change->revision != revision && ++revisions > revisions_max) {
            watch->next_revision = change->revision;
            more = true;
            continue;
        }
        revision = change->revision;
        event_fill(&events[response.n_events], change);
        list[response.n_events] = &events[response.n_events].event;
        response.n_events++;
    }
    if (response.n_events > 0) {
        response.watch_id = watch->id;
        response.events = list;
        respond(stream, &response, header_revision);
        watch->quiet = false;
    }
    free(list);
    free(events);
    if (!more && watch->next_revision <= last)
        watch->next_revision = last + 1;
    return more;
}

static void pump(struct etcd_stream *stream, struct etcd_watch *watch)
{
    while (watch->next_revision <= stream->member->applied)
        send_events(stream, watch, watch->next_revision, 1, watch->next_revision);
}

/* False: there is more. */
static bool watch_sync(struct etcd_stream *stream, struct etcd_watch *watch)
{
    struct etcd_member *member = stream->member;
    if (watch->next_revision < member->compacted) {
        Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
        response.watch_id = watch->id;
        response.canceled = 1;
        response.compact_revision = member->compacted;
        watch->compacted = true;
        respond(stream, &response, 0);
        return true;
    }
    /* As etcd has it: the header is of now, even when there is more to come. */
    if (send_events(stream, watch, member->applied, SYNC_REVISIONS_MAX, member->applied))
        return false;
    watch->synced = true;
    return true;
}

static void sync_soon(struct etcd_stream *stream)
{
    struct fake_etcd *etcd = stream->member->etcd;
    if (!sy_timer_running(&stream->sync))
        sy_timer_start_in(etcd->loop, &stream->sync, (int64_t)sy_rng_below(&etcd->rng, SYNC_NS));
}

static void on_sync(void *arg)
{
    struct etcd_stream *stream = arg;
    bool all = true;
    for (struct etcd_watch *watch = stream->watches; watch != NULL; watch = watch->next)
        if (!watch->synced && !watch->compacted && !watch_sync(stream, watch))
            all = false;
    if (!all)
        sync_soon(stream);
}

static void on_progress(void *arg)
{
    struct etcd_stream *stream = arg;
    struct fake_etcd *etcd = stream->member->etcd;
    for (struct etcd_watch *watch = stream->watches; watch != NULL; watch = watch->next) {
        Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
        response.watch_id = watch->id;
        if (watch->progress && watch->quiet && watch->synced)
            respond(stream, &response, stream->member->applied);
        watch->quiet = true;
    }
    sy_timer_start_in(etcd->loop, &stream->progress,
                      PROGRESS_NS + (int64_t)sy_rng_below(&etcd->rng, PROGRESS_NS / 10));
}

void etcd_watches_pump(struct etcd_member *member)
{
    SY_MAP_EACH(&member->streams, at, next)
    {
        struct etcd_stream *stream = sy_map_entry(at, struct etcd_stream, link);
        for (struct etcd_watch *watch = stream->watches; watch != NULL; watch = watch->next)
            if (watch->synced)
                pump(stream, watch);
    }
}

void etcd_watches_restore(struct etcd_member *member)
{
    SY_MAP_EACH(&member->streams, at, next)
    {
        struct etcd_stream *stream = sy_map_entry(at, struct etcd_stream, link);
        for (struct etcd_watch *watch = stream->watches; watch != NULL; watch = watch->next)
            if (watch->synced && watch->next_revision <= member->applied) {
                watch->synced = false;
                sync_soon(stream);
            }
    }
}

/* ---- what clients ask ---- */

static void create(struct etcd_stream *stream, const Etcdserverpb__WatchCreateRequest *request)
{
    struct etcd_member *member = stream->member;
    struct etcd_watch *watch = sy_new(struct etcd_watch);
    watch->from = sy_buf_copy(request->key.data, request->key.len);
    if (request->key.len == 0)
        sy_buf_append(&watch->from, "", 1);
    watch->end = sy_buf_copy(request->range_end.data, request->range_end.len);
    watch->next_revision = request->start_revision != 0 ? request->start_revision
                                                        : member->applied + 1;
    watch->synced = watch->next_revision > member->applied;
    watch->progress = request->progress_notify;
    watch->quiet = true;
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    response.created = 1;
    struct sy_span end = sy_buf_span(&watch->end);
    bool endless = end.len == 1 && end.data[0] == '\0';
    if (end.len > 0 && !endless && etcd_span_compare(sy_buf_span(&watch->from), end) >= 0) {
        static char reason[] = "mvcc: watcher range is empty";
        watch_free(watch);
        response.watch_id = -1;
        response.canceled = 1;
        response.cancel_reason = reason;
        respond(stream, &response, member->applied);
        return;
    }
    watch->id = stream->next_watch_id++;
    struct etcd_watch **at = &stream->watches;
    while (*at != NULL)
        at = &(*at)->next;
    *at = watch;
    response.watch_id = watch->id;
    respond(stream, &response, member->applied);
    if (!watch->synced)
        sync_soon(stream);
}

static void cancel(struct etcd_stream *stream, int64_t id)
{
    struct etcd_watch **at = &stream->watches;
    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    if (*at == NULL)
        return; /* not a word, as etcd */
    struct etcd_watch *watch = *at;
    *at = watch->next;
    watch_free(watch);
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    response.watch_id = id;
    response.canceled = 1;
    respond(stream, &response, stream->member->applied);
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct etcd_stream *stream = ctx;
    struct sy_arena arena;
    stream->member->etcd->heard++;
    sy_arena_init(&arena, ETCD_ARENA_BYTES_MAX);
    const Etcdserverpb__WatchRequest *request = pb_unpack(&etcdserverpb__watch_request__descriptor,
                                                          &arena, bytes);
    SY_ASSERT(request != NULL);
    if (request->request_union_case == ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST)
        create(stream, request->create_request);
    if (request->request_union_case == ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST)
        cancel(stream, request->cancel_request->watch_id);
    sy_arena_deinit(&arena);
}

/* etcd goes on when the client has said that it asks no more. */
static const struct sy_call_sink sink = {on_message, etcd_stream_writable, etcd_stream_closed,
                                         NULL};

static void handle(void *ctx, struct sy_call *call, struct sy_span none)
{
    (void)none;
    struct etcd_stream *stream = etcd_stream_new(ctx, call, &sink);
    if (stream == NULL)
        return;
    sy_timer_init(&stream->sync, on_sync, stream);
    sy_timer_init(&stream->progress, on_progress, stream);
    struct fake_etcd *etcd = stream->member->etcd;
    sy_timer_start_in(etcd->loop, &stream->progress,
                      PROGRESS_NS + (int64_t)sy_rng_below(&etcd->rng, PROGRESS_NS / 10));
}

void etcd_watch_add(struct etcd_member *member)
{
    const struct sy_method method = {.path = "/etcdserverpb.Watch/Watch",
                                     .kind = SY_METHOD_BIDI,
                                     .handler = handle,
                                     .ctx = member,
                                     .loop = member->etcd->loop};
    sy_server_add(member->server, &method);
}
