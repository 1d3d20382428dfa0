/* The session is a lease, renewed three times in its length. An answer proves that etcd held the
 * lease when it answered, so at the latest that long after the question was sent: what is reckoned
 * from there lapses here before it can lapse there. A lapsed lease may still be alive (etcd extends
 * all of them when its leader changes): it is renewed until etcd says that it is gone. */
#include "controlplane/coord_etcd.h"

#include "controlplane/events.h"

static void ask_lease(struct etcd *etcd)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.ttl = etcd->ttl_ns / SY_NS_PER_S;
    etcd->session_state = ETCD_SESSION_ASKING;
    etcd->asked_ns = sy_loop_now_ns(etcd->base.loop);
    etcd_line_open(&etcd->session, "/etcdserverpb.Lease/LeaseGrant", &request.base,
                   etcd->timeout_ns, false);
}

/* Seconds from when it was asked for. */
static void held_for(struct etcd *etcd, int64_t ttl_s)
{
    etcd->base.held_until_ns = etcd->asked_ns + ttl_s * SY_NS_PER_S;
    etcd->asked_ns = 0;
    etcd_line_works(&etcd->session);
    sy_timer_start_in(etcd->base.loop, &etcd->renew, etcd->ttl_ns / 3);
    cp_coord_tell(&etcd->base);
}

static void renew_through(struct etcd *etcd, bool new_line)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    request.id = etcd->base.session;
    etcd->asked_ns = sy_loop_now_ns(etcd->base.loop);
    if (new_line)
        etcd_line_open(&etcd->session, "/etcdserverpb.Lease/LeaseKeepAlive", &request.base, 0,
                       true);
    else
        etcd_line_send(&etcd->session, &request.base);
    sy_timer_start_in(etcd->base.loop, &etcd->renew, etcd->ttl_ns / 3);
}

static bool on_lease(struct etcd *etcd, struct sy_span bytes)
{
    const Etcdserverpb__LeaseGrantResponse *response = etcd_unpack(
        etcd, &etcdserverpb__lease_grant_response__descriptor, bytes);
    if (response == NULL || response->id == 0 || response->ttl <= 0)
        return false;
    etcd->session_state = ETCD_SESSION_HELD;
    etcd->base.session = response->id;
    etcd->base.held_until_ns = 0;
    etcd_line_close(&etcd->session);
    sy_log(etcd->log, &cp_coord_events, CP_COORD_EV_SESSION_BEGUN,
           SY_STR("member", etcd->members[etcd->session.member].name),
           SY_U64("session", (uint64_t)response->id), SY_U64("ttl_s", (uint64_t)response->ttl));
    held_for(etcd, response->ttl);
    return true;
}

void etcd_session_over(struct etcd *etcd)
{
    if (etcd->session_state != ETCD_SESSION_HELD)
        return;
    sy_log(etcd->log, &cp_coord_events, CP_COORD_EV_SESSION_OVER,
           SY_STR("member", etcd->members[etcd->session.member].name),
           SY_U64("session", (uint64_t)etcd->base.session));
    etcd->base.session = 0;
    etcd->session_state = ETCD_SESSION_NONE;
    etcd_line_close(&etcd->session);
    sy_timer_stop(etcd->base.loop, &etcd->renew);
    sy_timer_start_in(etcd->base.loop, &etcd->session.again, 0);
    cp_coord_tell(&etcd->base);
}

static bool on_renewed(struct etcd *etcd, struct sy_span bytes)
{
    const Etcdserverpb__LeaseKeepAliveResponse *response = etcd_unpack(
        etcd, &etcdserverpb__lease_keep_alive_response__descriptor, bytes);
    if (response == NULL || response->id != etcd->base.session || etcd->asked_ns == 0)
        return false;
    if (response->ttl > 0)
        held_for(etcd, response->ttl);
    else
        etcd_session_over(etcd);
    return true;
}

/* ---- the end ---- */

static void left(struct etcd *etcd)
{
    etcd->session_state = ETCD_SESSION_LEFT;
    etcd->base.session = 0;
    etcd_line_close(&etcd->session);
    etcd->left(etcd->left_ctx);
}

void etcd_session_leave(struct cp_coord *coord, sy_fn done, void *ctx)
{
    struct etcd *etcd = (struct etcd *)coord;
    SY_ASSERT(etcd->session_state < ETCD_SESSION_LEAVING);
    etcd->left = done;
    etcd->left_ctx = ctx;
    etcd->session_state = ETCD_SESSION_LEAVING;
    etcd_line_close(&etcd->session);
    sy_timer_stop(coord->loop, &etcd->renew);
    sy_timer_start_in(coord->loop, &etcd->session.again, 0);
}

static void revoke(struct etcd *etcd)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    request.id = etcd->base.session;
    if (request.id == 0)
        left(etcd);
    else
        etcd_line_open(&etcd->session, "/etcdserverpb.Lease/LeaseRevoke", &request.base,
                       etcd->timeout_ns, false);
}

/* ---- the line ---- */

static void again(void *arg)
{
    struct etcd *etcd = arg;
    if (etcd->session_state == ETCD_SESSION_LEAVING)
        revoke(etcd);
    else if (etcd->session_state == ETCD_SESSION_HELD)
        renew_through(etcd, true);
    else
        ask_lease(etcd);
}

static void on_renew(void *arg)
{
    struct etcd *etcd = arg;
    SY_ASSERT(etcd->session_state == ETCD_SESSION_HELD);
    if (etcd->asked_ns == 0) {
        renew_through(etcd, etcd->session.call == NULL);
        return;
    }
    struct sy_status status = {0};
    sy_status_set(&status, SY_CODE_DEADLINE_EXCEEDED, "the session's renewal is not answered");
    etcd_line_retry(&etcd->session, &status);
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct etcd *etcd = ctx;
    bool good = true;
    if (etcd->session_state == ETCD_SESSION_ASKING)
        good = on_lease(etcd, bytes);
    else if (etcd->session_state == ETCD_SESSION_HELD)
        good = on_renewed(etcd, bytes);
    if (good)
        return;
    struct sy_status status = {0};
    sy_status_set(&status, SY_CODE_INTERNAL, "an answer that is of no use");
    etcd_line_retry(&etcd->session, &status);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct etcd *etcd = ctx;
    sy_timer_stop(etcd->base.loop, &etcd->renew);
    if (etcd->session_state == ETCD_SESSION_LEAVING)
        left(etcd);
    else
        etcd_line_retry(&etcd->session, status);
}

void etcd_session_init(struct etcd *etcd)
{
    static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};
    etcd_line_init(&etcd->session, etcd, &sink, again);
    sy_timer_init(&etcd->renew, on_renew, etcd);
    sy_timer_start_in(etcd->base.loop, &etcd->session.again, 0);
}
