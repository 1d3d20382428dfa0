/*
 * A unary request arrives, takes effect after a part of the member's delay, and is answered after
 * the rest. What needs a leader waits for one before it takes effect. A write that comes while the
 * member has not noticed that it has none may lie in a log: it is refused after a while, and may
 * take effect when there is a leader again, minutes later.
 */
#include "base/mem.h"
#include "tests/etcd/etcd_impl.h"

#include <stdlib.h>
#include <string.h>

struct etcd_method {
    const char *path;
    const ProtobufCMessageDescriptor *request;
    const struct etcd_refusal *(*check)(const void *message); /* NULL: none */
    const struct etcd_refusal *(*apply)(struct etcd_member *member, struct sy_arena *arena,
                                        const void *message, struct sy_buf *answer);
    bool writes;
};

static const struct etcd_method methods[ETCD_UNARY_METHODS] = {
    [ETCD_RANGE] = {"/etcdserverpb.KV/Range", &etcdserverpb__range_request__descriptor,
                    etcd_range_check, etcd_range_apply, false},
    [ETCD_TXN] = {"/etcdserverpb.KV/Txn", &etcdserverpb__txn_request__descriptor, etcd_txn_check,
                  etcd_txn_apply, true},
    [ETCD_COMPACT] = {"/etcdserverpb.KV/Compact", &etcdserverpb__compaction_request__descriptor,
                      NULL, etcd_compact_apply, true},
    [ETCD_GRANT] = {"/etcdserverpb.Lease/LeaseGrant",
                    &etcdserverpb__lease_grant_request__descriptor, NULL, etcd_grant_apply, true},
    [ETCD_REVOKE] = {"/etcdserverpb.Lease/LeaseRevoke",
                     &etcdserverpb__lease_revoke_request__descriptor, NULL, etcd_revoke_apply,
                     true},
};

static const struct etcd_refusal timed_out = {SY_CODE_UNAVAILABLE, "etcdserver: request timed out"};
/* What etcd 3.4 says of a write when it knew of no leader to hand it to. */
static const struct etcd_refusal no_leader_in_time = {SY_CODE_UNKNOWN, "context deadline exceeded"};
static const struct etcd_refusal leader_failed = {
    SY_CODE_UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure"};
static const struct etcd_refusal leader_changed = {SY_CODE_UNAVAILABLE,
                                                   "etcdserver: leader changed"};
static const struct etcd_refusal too_large = {SY_CODE_INVALID_ARGUMENT,
                                              "etcdserver: request is too large"};
static const struct etcd_refusal malformed = {SY_CODE_INTERNAL, "malformed message"};

enum request_state { REQUEST_ARRIVED, REQUEST_WAITS, REQUEST_DONE };

struct etcd_request {
    struct sy_map_link link;
    uint64_t number;
    struct etcd_member *member;
    const struct etcd_method *method;
    struct sy_call *call; /* NULL: who asked is gone */
    struct sy_buf bytes;
    bool local;  /* needs no leader */
    bool logged; /* may take effect whatever who asked was told */
    enum request_state state;
    struct sy_timer timer; /* what comes next */
    int64_t answer_delay_ns;
    const struct etcd_refusal *refusal; /* once it is done */
    struct sy_buf answer;
};

static void request_free(struct etcd_request *request)
{
    sy_timer_stop(request->member->etcd->loop, &request->timer);
    sy_map_remove(&request->member->requests, &request->link);
    if (request->call != NULL)
        sy_call_unref(request->call);
    sy_buf_deinit(&request->bytes);
    sy_buf_deinit(&request->answer);
    free(request);
}

static void tell_refusal(struct etcd_request *request, const struct etcd_refusal *refusal)
{
    struct sy_call *call = sy_take(request->call);
    sy_call_set_sink(call, NULL, NULL);
    sy_call_fail(call, refusal->code, "%s", refusal->text);
}

static void request_answer(struct etcd_request *request)
{
    SY_ASSERT(request->state == REQUEST_DONE);
    if (request->call != NULL && request->refusal != NULL) {
        tell_refusal(request, request->refusal);
    } else if (request->call != NULL) {
        struct sy_call *call = sy_take(request->call);
        sy_call_set_sink(call, NULL, NULL);
        sy_call_reply(call, &request->answer);
    }
    request_free(request);
}

static void request_refuse(struct etcd_request *request, const struct etcd_refusal *refusal)
{
    request->state = REQUEST_DONE;
    request->refusal = refusal;
    request_answer(request);
}

static void request_take_effect(struct etcd_request *request)
{
    struct sy_arena arena;
    sy_arena_init(&arena, ETCD_ARENA_BYTES_MAX);
    const void *message = pb_unpack(request->method->request, &arena, sy_buf_span(&request->bytes));
    SY_ASSERT(message != NULL && request->state != REQUEST_DONE);
    request->state = REQUEST_DONE;
    request->refusal = request->method->apply(request->member, &arena, message, &request->answer);
    sy_arena_deinit(&arena);
}

static void request_answer_later(struct etcd_request *request)
{
    if (request->answer_delay_ns > 0 && request->call != NULL)
        sy_timer_start_in(request->member->etcd->loop, &request->timer, request->answer_delay_ns);
    else
        request_answer(request);
}

static void request_go_on(struct etcd_request *request)
{
    if (request->local || etcd_member_has_leader(request->member)) {
        request_take_effect(request);
        request_answer_later(request);
    } else if (request->call == NULL) {
        request_free(request);
    } else {
        request->state = REQUEST_WAITS;
        request->logged = request->method->writes && !etcd_member_has_noticed(request->member);
        sy_timer_start_in(request->member->etcd->loop, &request->timer, ETCD_PATIENCE_NS);
    }
}

static void request_give_up(struct etcd_request *request)
{
    if (request->logged)
        tell_refusal(request, &timed_out);
    else
        request_refuse(request, request->method->writes ? &no_leader_in_time : &timed_out);
}

static void on_timer(void *arg)
{
    struct etcd_request *request = arg;
    if (request->state == REQUEST_ARRIVED)
        request_go_on(request);
    else if (request->state == REQUEST_WAITS)
        request_give_up(request);
    else
        request_answer(request);
}

/* What has been handed on takes effect all the same. */
static void on_closed(void *ctx, const struct sy_status *status)
{
    (void)status;
    struct etcd_request *request = ctx;
    sy_call_unref(sy_take(request->call));
    bool may_happen = request->state == REQUEST_ARRIVED && request->method->writes;
    if (request->state == REQUEST_WAITS && request->logged)
        sy_timer_stop(request->member->etcd->loop, &request->timer);
    else if (!may_happen)
        request_free(request);
}

static const struct etcd_refusal *request_check(const struct etcd_method *method,
                                                struct sy_span bytes, bool *ret_local)
{
    struct sy_arena arena;
    sy_arena_init(&arena, ETCD_ARENA_BYTES_MAX);
    const void *message = pb_unpack(method->request, &arena, bytes);
    const struct etcd_refusal *refusal = NULL;
    if (message == NULL)
        refusal = &malformed;
    else if (bytes.len > ETCD_REQUEST_BYTES_MAX)
        refusal = &too_large;
    else if (method->check != NULL)
        refusal = method->check(message);
    *ret_local = refusal != NULL;
    if (refusal == NULL && method == &methods[ETCD_RANGE])
        *ret_local = ((const Etcdserverpb__RangeRequest *)message)->serializable;
    sy_arena_deinit(&arena);
    return refusal;
}

static void handle(void *ctx, struct sy_call *call, struct sy_span bytes)
{
    static const struct sy_call_sink sink = {.on_closed = on_closed};
    const struct etcd_entry *entry = ctx;
    struct etcd_member *member = entry->member;
    struct fake_etcd *etcd = member->etcd;
    etcd->heard++;
    const char *has_leader = sy_call_metadata(call, "hasleader");
    if (has_leader != NULL && strcmp(has_leader, "true") == 0 && !etcd_member_has_leader(member)) {
        sy_call_fail(call, etcd_no_leader.code, "%s", etcd_no_leader.text);
        return;
    }
    struct etcd_request *request = sy_new(struct etcd_request);
    *request = (struct etcd_request){.number = etcd->next_number++,
                                     .member = member,
                                     .method = entry->method,
                                     .call = call,
                                     .bytes = sy_buf_copy(bytes.data, bytes.len)};
    sy_map_add(&member->requests, &request->link, &request->number, sizeof(request->number));
    sy_timer_init(&request->timer, on_timer, request);
    sy_call_set_sink(call, &sink, request);
    int64_t delay_ns = etcd_member_delay(member);
    request->answer_delay_ns = delay_ns > 0
                                   ? (int64_t)sy_rng_below(&etcd->rng, (uint64_t)delay_ns + 1)
                                   : 0;
    request->refusal = request_check(entry->method, bytes, &request->local);
    if (request->refusal != NULL) {
        request->state = REQUEST_DONE;
        request_answer_later(request);
    } else if (delay_ns > 0) {
        sy_timer_start_in(etcd->loop, &request->timer, delay_ns - request->answer_delay_ns);
    } else {
        request_go_on(request);
    }
}

void etcd_requests_add(struct etcd_member *member)
{
    for (size_t i = 0; i < ETCD_UNARY_METHODS; i++) {
        member->entries[i] = (struct etcd_entry){member, &methods[i]};
        const struct sy_method method = {.path = methods[i].path,
                                         .kind = SY_METHOD_UNARY,
                                         .handler = handle,
                                         .ctx = &member->entries[i],
                                         .loop = member->etcd->loop};
        sy_server_add(member->server, &method);
    }
}

void etcd_requests_resume(struct etcd_member *member, bool elected)
{
    SY_MAP_EACH(&member->requests, at, next)
    {
        struct etcd_request *request = sy_map_entry(at, struct etcd_request, link);
        if (request->state != REQUEST_WAITS)
            continue;
        sy_timer_stop(member->etcd->loop, &request->timer);
        /* What was refused is in the new leader's log or not; not, when others went on meanwhile.
         */
        bool is_lost = request->call == NULL &&
                       !(elected && sy_rng_chance(&member->etcd->rng, 1, 2));
        if (is_lost)
            request_free(request);
        else if (request->method->writes)
            request_go_on(request);
        else
            request_refuse(request, &leader_changed); /* as etcd has it */
    }
}

void etcd_requests_interrupt(struct etcd_member *member)
{
    SY_MAP_EACH(&member->requests, at, next)
    {
        struct etcd_request *request = sy_map_entry(at, struct etcd_request, link);
        if (request->local || request->state == REQUEST_WAITS)
            continue;
        if (request->state == REQUEST_ARRIVED)
            request_refuse(request, request->method->writes ? &leader_failed : &leader_changed);
        else if (request->method->writes && sy_rng_chance(&member->etcd->rng, 1, 2))
            request_refuse(request, &leader_failed); /* and yet it has happened */
    }
}

void etcd_requests_drop(struct etcd_member *member)
{
    SY_MAP_EACH(&member->requests, at, next)
    request_free(sy_map_entry(at, struct etcd_request, link));
}

bool etcd_requests_left(const struct etcd_member *member)
{
    SY_MAP_EACH(&member->requests, at, next)
    {
        const struct etcd_request *request = sy_map_entry(at, struct etcd_request, link);
        if (request->call == NULL && request->method->writes && request->state != REQUEST_DONE)
            return true;
    }
    return false;
}
