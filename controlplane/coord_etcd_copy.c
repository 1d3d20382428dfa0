/* The copy: all records are read once, then each change is heard. A watch that breaks goes on where
 * it was, at another member; one whose past is compacted away is begun anew. */
#include "controlplane/coord_etcd.h"

#include "controlplane/events.h"

#include <string.h>

static void watch(struct etcd *etcd);

/* The key after all that begin with the prefix: it ends in '/', whose next byte is '0'. */
static void set_range(const struct etcd *etcd, char ret_end[CP_COORD_KEY_MAX],
                      ProtobufCBinaryData *ret_key, ProtobufCBinaryData *ret_range_end)
{
    SY_ASSERT(etcd->prefix_len < CP_COORD_KEY_MAX);
    memcpy(ret_end, etcd->prefix, etcd->prefix_len);
    ret_end[etcd->prefix_len - 1] = '/' + 1;
    *ret_key = (ProtobufCBinaryData){etcd->prefix_len, (uint8_t *)etcd->prefix};
    *ret_range_end = (ProtobufCBinaryData){etcd->prefix_len, (uint8_t *)ret_end};
}

/* The record's key in the region. False: it is not ours, or not text. */
static bool key_of(const struct etcd *etcd, const Etcdserverpb__KeyValue *kv,
                   char ret[CP_COORD_KEY_MAX])
{
    size_t len = kv->key.len;
    if (len <= etcd->prefix_len || len - etcd->prefix_len >= CP_COORD_KEY_MAX ||
        memcmp(kv->key.data, etcd->prefix, etcd->prefix_len) != 0)
        return false;
    len -= etcd->prefix_len;
    memcpy(ret, kv->key.data + etcd->prefix_len, len);
    ret[len] = '\0';
    return strlen(ret) == len;
}

static void put(struct etcd *etcd, const Etcdserverpb__KeyValue *kv)
{
    char key[CP_COORD_KEY_MAX];
    if (key_of(etcd, kv, key))
        cp_coord_put(&etcd->base, key, (struct sy_span){kv->value.data, kv->value.len},
                     kv->mod_revision, kv->lease);
}

static void got_on(struct etcd *etcd, int64_t revision)
{
    etcd->base.revision = revision;
    cp_coord_tell(&etcd->base);
    etcd_writes_look(etcd);
}

/* ---- reading ---- */

static void read_all(struct etcd *etcd)
{
    char end[CP_COORD_KEY_MAX];
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    set_range(etcd, end, &request.key, &request.range_end);
    etcd->copy_state = ETCD_COPY_READING;
    etcd_line_open(&etcd->copy, "/etcdserverpb.KV/Range", &request.base, etcd->timeout_ns, false);
}

static bool on_read(struct etcd *etcd, struct sy_span bytes)
{
    const Etcdserverpb__RangeResponse *response = etcd_unpack(
        etcd, &etcdserverpb__range_response__descriptor, bytes);
    /* A member that is restored from a backup may know less than we did; revisions then say nothing
     * any more, and what is there is what counts. */
    if (response == NULL || response->header == NULL || response->header->revision <= 0)
        return false;
    cp_coord_drop_all(&etcd->base);
    for (size_t i = 0; i < response->n_kvs; i++)
        put(etcd, response->kvs[i]);
    int64_t revision = response->header->revision;
    sy_log(etcd->log, &cp_coord_events, CP_COORD_EV_READ,
           SY_STR("member", etcd->members[etcd->copy.member].name),
           SY_U64("records", etcd->base.count), SY_U64("revision", (uint64_t)revision));
    got_on(etcd, revision);
    etcd_line_close(&etcd->copy);
    watch(etcd);
    return true;
}

/* ---- watching ---- */

static void watch(struct etcd *etcd)
{
    char end[CP_COORD_KEY_MAX];
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    set_range(etcd, end, &create.key, &create.range_end);
    create.start_revision = etcd->base.revision; /* see apply() */
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    etcd->copy_state = ETCD_COPY_WATCHING;
    etcd_line_open(&etcd->copy, "/etcdserverpb.Watch/Watch", &request.base, 0, true);
}

/* What is known already comes again: a watch from the revision that was compacted last would be
 * taken, and lack the deletions of that revision, so we ask from one before what we need. */
static bool apply(struct etcd *etcd, const Etcdserverpb__WatchResponse *response)
{
    int64_t revision = etcd->base.revision;
    for (size_t i = 0; i < response->n_events; i++) {
        const Etcdserverpb__Event *event = response->events[i];
        char key[CP_COORD_KEY_MAX];
        if (event->kv == NULL)
            return false;
        if (event->kv->mod_revision <= etcd->base.revision)
            continue;
        revision = event->kv->mod_revision;
        if (event->type == ETCDSERVERPB__EVENT__EVENT_TYPE__PUT)
            put(etcd, event->kv);
        else if (key_of(etcd, event->kv, key))
            cp_coord_drop(&etcd->base, key);
    }
    if (revision > etcd->base.revision)
        got_on(etcd, revision);
    return true;
}

static bool on_watched(struct etcd *etcd, struct sy_span bytes)
{
    const Etcdserverpb__WatchResponse *response = etcd_unpack(
        etcd, &etcdserverpb__watch_response__descriptor, bytes);
    if (response == NULL || (response->canceled && response->compact_revision == 0))
        return false;
    if (response->canceled) { /* what was missed is gone, but not what came of it */
        etcd_line_close(&etcd->copy);
        read_all(etcd);
        return true;
    }
    etcd_line_works(&etcd->copy);
    return apply(etcd, response);
}

/* ---- the line ---- */

static void again(void *arg)
{
    struct etcd *etcd = arg;
    if (etcd->copy_state == ETCD_COPY_WATCHING)
        watch(etcd);
    else
        read_all(etcd);
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct etcd *etcd = ctx;
    if (etcd->copy_state == ETCD_COPY_READING ? on_read(etcd, bytes) : on_watched(etcd, bytes))
        return;
    struct sy_status status = {0};
    sy_status_set(&status, SY_CODE_INTERNAL, "an answer that is of no use");
    etcd->copy_state = ETCD_COPY_DOWN;
    etcd_line_retry(&etcd->copy, &status);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct etcd *etcd = ctx;
    etcd_line_retry(&etcd->copy, status);
}

void etcd_copy_init(struct etcd *etcd)
{
    static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};
    etcd_line_init(&etcd->copy, etcd, &sink, again);
    sy_timer_start_in(etcd->base.loop, &etcd->copy.again, 0);
}
