/* Leases: granted, renewed, revoked, run out; and the streams of renewals. */
#include "base/mem.h"
#include "tests/etcd/etcd_impl.h"

#include <stdlib.h>
#include <string.h>

#define REVOKE_DELAY_NS (500 * SY_NS_PER_MS) /* at most: how often etcd looks */

const struct etcd_refusal etcd_lease_not_found = {SY_CODE_NOT_FOUND,
                                                  "etcdserver: requested lease not found"};
static const struct etcd_refusal lease_exists = {SY_CODE_FAILED_PRECONDITION,
                                                 "etcdserver: lease already exists"};
static const struct etcd_refusal ttl_too_large = {SY_CODE_OUT_OF_RANGE,
                                                  "etcdserver: too large lease TTL"};

struct etcd_lease {
    struct sy_map_link link;
    struct fake_etcd *etcd;
    int64_t id, ttl_s;
    int64_t ends_ns;       /* SY_TIME_NEVER: there is no leader */
    struct sy_timer timer; /* when its end is noticed */
};

static struct etcd_lease *lease_find(const struct fake_etcd *etcd, int64_t id)
{
    return sy_map_entry(sy_map_find(&etcd->leases, &id, sizeof(id)), struct etcd_lease, link);
}

bool etcd_lease_exists(const struct fake_etcd *etcd, int64_t id)
{
    return lease_find(etcd, id) != NULL;
}

static void lease_free(struct etcd_lease *lease)
{
    sy_timer_stop(lease->etcd->loop, &lease->timer);
    sy_map_remove(&lease->etcd->leases, &lease->link);
    free(lease);
}

/* Its keys go with it, as one change. */
static void lease_revoke(struct etcd_lease *lease)
{
    struct fake_etcd *etcd = lease->etcd;
    for (size_t i = 0; i < etcd->kv.key_count; i++) {
        const struct etcd_change *change = etcd_key_at(etcd->kv.keys[i], etcd->kv.revision);
        struct etcd_range range = {.from = sy_buf_span(&etcd->kv.keys[i]->name)};
        if (change != NULL && change->lease == lease->id)
            etcd_kv_delete(&etcd->kv, &range);
    }
    lease_free(lease);
    if (etcd_kv_commit(&etcd->kv))
        etcd_changed(etcd);
    for (size_t i = 0; i < etcd->member_count; i++)
        etcd_keepalives_resume(&etcd->members[i]);
}

static void on_end(void *arg)
{
    struct etcd_lease *lease = arg;
    SY_ASSERT(lease->etcd->leader != NULL && lease->ends_ns <= sy_loop_now_ns(lease->etcd->loop));
    lease_revoke(lease);
}

static void lease_refresh(struct etcd_lease *lease, int64_t extra_ns)
{
    struct fake_etcd *etcd = lease->etcd;
    lease->ends_ns = sy_loop_now_ns(etcd->loop) + lease->ttl_s * SY_NS_PER_S + extra_ns;
    int64_t late_ns = (int64_t)sy_rng_below(&etcd->rng, REVOKE_DELAY_NS);
    sy_timer_start(etcd->loop, &lease->timer, lease->ends_ns + late_ns);
}

void etcd_leases_promote(struct fake_etcd *etcd)
{
    SY_MAP_EACH(&etcd->leases, at, next)
    lease_refresh(sy_map_entry(at, struct etcd_lease, link), ETCD_ELECTION_NS);
}

void etcd_leases_demote(struct fake_etcd *etcd)
{
    SY_MAP_EACH(&etcd->leases, at, next)
    {
        struct etcd_lease *lease = sy_map_entry(at, struct etcd_lease, link);
        sy_timer_stop(etcd->loop, &lease->timer);
        lease->ends_ns = SY_TIME_NEVER;
    }
}

void etcd_leases_free(struct fake_etcd *etcd)
{
    SY_MAP_EACH(&etcd->leases, at, next)
    lease_free(sy_map_entry(at, struct etcd_lease, link));
    sy_map_deinit(&etcd->leases);
}

/* ---- unary ---- */

const struct etcd_refusal *etcd_grant_apply(struct etcd_member *member, struct sy_arena *arena,
                                            const void *message, struct sy_buf *answer)
{
    struct fake_etcd *etcd = member->etcd;
    const Etcdserverpb__LeaseGrantRequest *request = message;
    int64_t id = request->id;
    while (id == 0)
        id = (int64_t)(sy_rng_u64(&etcd->rng) >> 1);
    if (request->ttl > ETCD_TTL_MAX_S)
        return &ttl_too_large;
    if (etcd_lease_exists(etcd, id))
        return &lease_exists;
    struct etcd_lease *lease = sy_new(struct etcd_lease);
    lease->etcd = etcd;
    lease->id = id;
    lease->ttl_s = request->ttl > ETCD_TTL_MIN_S ? request->ttl : ETCD_TTL_MIN_S;
    sy_timer_init(&lease->timer, on_end, lease);
    sy_map_add(&etcd->leases, &lease->link, &lease->id, sizeof(lease->id));
    lease_refresh(lease, 0);
    Etcdserverpb__LeaseGrantResponse response = ETCDSERVERPB__LEASE_GRANT_RESPONSE__INIT;
    response.header = etcd_header(member, arena, etcd->kv.revision);
    response.id = lease->id;
    response.ttl = lease->ttl_s;
    pb_pack(&response.base, answer);
    return NULL;
}

const struct etcd_refusal *etcd_revoke_apply(struct etcd_member *member, struct sy_arena *arena,
                                             const void *message, struct sy_buf *answer)
{
    struct fake_etcd *etcd = member->etcd;
    const Etcdserverpb__LeaseRevokeRequest *request = message;
    struct etcd_lease *lease = lease_find(etcd, request->id);
    if (lease == NULL)
        return &etcd_lease_not_found;
    lease_revoke(lease);
    Etcdserverpb__LeaseRevokeResponse response = ETCDSERVERPB__LEASE_REVOKE_RESPONSE__INIT;
    response.header = etcd_header(member, arena, etcd->kv.revision);
    pb_pack(&response.base, answer);
    return NULL;
}

/* ---- renewals ---- */

/* False: it is not known yet. */
static bool renew(struct etcd_member *member, int64_t id, int64_t *ret_ttl_s)
{
    struct etcd_lease *lease = lease_find(member->etcd, id);
    int64_t now_ns = sy_loop_now_ns(member->etcd->loop);
    bool leads_it_thinks = member->led && !etcd_member_has_noticed(member);
    if (!etcd_member_has_leader(member) && !leads_it_thinks)
        return false;
    if (lease != NULL && lease->ends_ns <= now_ns)
        return false; /* it will be revoked, then there is none */
    *ret_ttl_s = lease != NULL ? lease->ttl_s : 0;
    if (lease != NULL && etcd_member_has_leader(member))
        lease_refresh(lease, 0);
    return true;
}

static void stream_go_on(struct etcd_stream *stream)
{
    struct etcd_member *member = stream->member;
    while (stream->asked.len > 0) {
        int64_t id = 0, ttl_s = 0;
        memcpy(&id, stream->asked.data, sizeof(id));
        if (!renew(member, id, &ttl_s)) {
            if (!sy_timer_running(&stream->patience))
                sy_timer_start_in(member->etcd->loop, &stream->patience, ETCD_PATIENCE_NS);
            return;
        }
        sy_timer_stop(member->etcd->loop, &stream->patience);
        sy_buf_consume(&stream->asked, sizeof(id));
        struct sy_arena arena;
        sy_arena_init(&arena, ETCD_ARENA_BYTES_MAX);
        Etcdserverpb__LeaseKeepAliveResponse response =
            ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
        response.header = etcd_header(member, &arena, member->applied);
        response.id = id;
        response.ttl = ttl_s;
        etcd_stream_send(stream, &response.base);
        sy_arena_deinit(&arena);
    }
}

static void on_impatient(void *arg)
{
    etcd_stream_end(arg, &etcd_no_leader);
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct etcd_stream *stream = ctx;
    struct sy_arena arena;
    stream->member->etcd->heard++;
    sy_arena_init(&arena, ETCD_ARENA_BYTES_MAX);
    const Etcdserverpb__LeaseKeepAliveRequest *request = pb_unpack(
        &etcdserverpb__lease_keep_alive_request__descriptor, &arena, bytes);
    SY_ASSERT(request != NULL);
    sy_buf_append(&stream->asked, &request->id, sizeof(request->id));
    sy_arena_deinit(&arena);
    stream_go_on(stream);
}

static void on_half_closed(void *ctx)
{
    etcd_stream_end(ctx, NULL);
}

static const struct sy_call_sink sink = {on_message, etcd_stream_writable, etcd_stream_closed,
                                         on_half_closed};

static void handle(void *ctx, struct sy_call *call, struct sy_span none)
{
    (void)none;
    struct etcd_stream *stream = etcd_stream_new(ctx, call, &sink);
    if (stream != NULL)
        sy_timer_init(&stream->patience, on_impatient, stream);
}

void etcd_keepalive_add(struct etcd_member *member)
{
    const struct sy_method method = {.path = "/etcdserverpb.Lease/LeaseKeepAlive",
                                     .kind = SY_METHOD_BIDI,
                                     .handler = handle,
                                     .ctx = member,
                                     .loop = member->etcd->loop};
    sy_server_add(member->server, &method);
}

void etcd_keepalives_resume(struct etcd_member *member)
{
    SY_MAP_EACH(&member->streams, at, next)
    {
        struct etcd_stream *stream = sy_map_entry(at, struct etcd_stream, link);
        if (stream->asked.len > 0)
            stream_go_on(stream);
    }
}
