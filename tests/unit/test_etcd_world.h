/*
 * The world of test_etcd*.c: an etcd (that of tests/etcd in memory or over gRPC, or the real one),
 * a client with a channel to each member, and raw calls of etcd's API. In memory time is virtual.
 */
#pragma once

#include "base/mem.h"
#include "etcd/etcd.pb-c.h"
#include "proto/pb.h"
#include "tests/etcd/etcd.h"
#include "tests/lib/test.h"
#include "tests/unit/test_etcd_real.h"
#include "tests/unit/test_rpc_wait.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS SY_NS_PER_MS
#define S SY_NS_PER_S
#define MEMBERS_MAX 3

enum kind { FAKE_MEM, FAKE_GRPC, REAL };

struct world {
    enum kind kind;
    int64_t now_ns; /* in memory */
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct fake_etcd *etcd; /* NULL: the real one */
    size_t members;
    struct sy_channel *channels[MEMBERS_MAX];
    size_t at; /* the member that calls go to */
    bool has_leader;
    struct sy_arena arena; /* of answers */
    int64_t base;          /* the revision that the test began with */
};

/* The end of a call: what was heard of it. */
struct heard {
    struct world *w;
    struct sy_call *call;
    int messages, closes;
    struct sy_buf bytes[64]; /* of messages, in order */
    enum sy_code code;
    char text[SY_ERROR_TEXT_MAX];
    int64_t closed_ns;
};

static inline int64_t virtual_ns(void *ctx)
{
    const struct world *w = ctx;
    return w->now_ns;
}

static inline int64_t time_of(struct world *w)
{
    return w->kind == FAKE_MEM ? w->now_ns : sy_clock_system.monotonic_ns(NULL);
}

static inline void wait_for(struct world *w, const int *value, int target)
{
    if (w->kind != FAKE_MEM) {
        wait_on(w->loop, value, target);
        return;
    }
    int64_t patience_ns = w->now_ns + 1000 * S;
    while (*value < target) {
        int64_t next_ns = sy_loop_next_ns(w->loop);
        ck_assert_msg(next_ns < patience_ns, "nothing happened for too long");
        if (next_ns > w->now_ns)
            w->now_ns = next_ns;
        sy_loop_turn(w->loop);
    }
}

static inline void count_up(void *arg)
{
    int *count = arg;
    (*count)++;
}

static inline void rest(struct world *w, int64_t ns)
{
    int fired = 0;
    struct sy_timer timer;
    sy_timer_init(&timer, count_up, &fired);
    sy_timer_start(w->loop, &timer, time_of(w) + ns);
    wait_for(w, &fired, 1);
}

/* ---- calls ---- */

static inline void heard_free(struct heard *heard)
{
    if (heard->call != NULL)
        sy_call_unref(heard->call);
    for (int i = 0; i < heard->messages; i++)
        sy_buf_deinit(&heard->bytes[i]);
    free(heard);
}

static inline void on_message(void *ctx, struct sy_span message)
{
    struct heard *heard = ctx;
    ck_assert_int_eq(heard->closes, 0);
    ck_assert_uint_lt((size_t)heard->messages, SY_COUNT_OF(heard->bytes));
    heard->bytes[heard->messages++] = sy_buf_copy(message.data, message.len);
}

static inline void on_closed(void *ctx, const struct sy_status *status)
{
    struct heard *heard = ctx;
    heard->closes++;
    heard->code = status->code;
    heard->closed_ns = time_of(heard->w); /* the turn may have begun long ago */
    memcpy(heard->text, status->message.text, sizeof(heard->text));
}

static inline void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    if (status->code == SY_CODE_OK)
        on_message(ctx, response);
    on_closed(ctx, status);
}

/* Calls; the answer comes when it comes. */
static inline struct heard *begin_within(struct world *w, const char *method,
                                         const ProtobufCMessage *request, int64_t timeout_ns)
{
    static const struct sy_metadata has_leader = {"hasleader", "true"};
    struct heard *heard = sy_new(struct heard);
    heard->w = w;
    struct sy_call_options options = {.method = method,
                                      .timeout_ns = timeout_ns,
                                      .metadata = &has_leader,
                                      .metadata_count = w->has_leader};
    struct sy_buf bytes = {0};
    pb_pack(request, &bytes);
    sy_channel_call(w->channels[w->at], w->loop, &options, &bytes, on_reply, heard);
    return heard;
}

static inline struct heard *begin(struct world *w, const char *method,
                                  const ProtobufCMessage *request)
{
    return begin_within(w, method, request, 0);
}

/* The i-th message, in the world's arena. */
static inline void *message_of(struct heard *heard, int i, const ProtobufCMessageDescriptor *type)
{
    ck_assert_int_lt(i, heard->messages);
    void *message = pb_unpack(type, &heard->w->arena, sy_buf_span(&heard->bytes[i]));
    ck_assert_ptr_nonnull(message);
    return message;
}

static inline void assert_ends(struct heard *heard, enum sy_code code, const char *text)
{
    wait_for(heard->w, &heard->closes, 1);
    ck_assert_msg(heard->code == code, "%s %s, not %s", sy_code_name(heard->code), heard->text,
                  sy_code_name(code));
    if (text != NULL)
        ck_assert_str_eq(heard->text, text);
}

/* The answer; when another code is expected: NULL. */
static inline void *ask(struct world *w, const char *method, const ProtobufCMessage *request,
                        const ProtobufCMessageDescriptor *type, enum sy_code code, const char *text)
{
    struct heard *heard = begin(w, method, request);
    assert_ends(heard, code, text);
    void *answer = code == SY_CODE_OK ? message_of(heard, 0, type) : NULL;
    heard_free(heard);
    return answer;
}

static inline struct heard *open_stream(struct world *w, const char *method)
{
    static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};
    static const struct sy_metadata has_leader = {"hasleader", "true"};
    struct heard *heard = sy_new(struct heard);
    heard->w = w;
    struct sy_call_options options = {
        .method = method, .metadata = &has_leader, .metadata_count = w->has_leader};
    heard->call = sy_channel_open(w->channels[w->at], w->loop, &options, &sink, heard);
    return heard;
}

static inline void tell(struct heard *stream, const ProtobufCMessage *message)
{
    struct sy_buf bytes = {0};
    pb_pack(message, &bytes);
    ck_assert_int_eq(sy_call_send(stream->call, &bytes), 0);
}

/* Cancels it when it is open still. */
static inline void close_stream(struct heard *stream)
{
    if (stream->closes == 0)
        sy_call_finish(stream->call, NULL);
    wait_for(stream->w, &stream->closes, 1);
    heard_free(stream);
}

/* ---- the store ---- */

static inline ProtobufCBinaryData bytes_of(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static const ProtobufCBinaryData endless = {1, (uint8_t *)(uintptr_t) ""};

static inline Etcdserverpb__RangeRequest range_request(const char *key, const char *end)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = bytes_of(key);
    request.range_end = bytes_of(end);
    return request;
}

static inline Etcdserverpb__RangeResponse *ask_range(struct world *w,
                                                     const Etcdserverpb__RangeRequest *request)
{
    return ask(w, "/etcdserverpb.KV/Range", &request->base,
               &etcdserverpb__range_response__descriptor, SY_CODE_OK, NULL);
}

static inline void refused_range(struct world *w, const Etcdserverpb__RangeRequest *request,
                                 enum sy_code code, const char *text)
{
    ask(w, "/etcdserverpb.KV/Range", &request->base, NULL, code, text);
}

/* NULL: there is no such key. */
static inline Etcdserverpb__KeyValue *get(struct world *w, const char *key)
{
    Etcdserverpb__RangeRequest request = range_request(key, "");
    Etcdserverpb__RangeResponse *response = ask_range(w, &request);
    ck_assert_uint_le(response->n_kvs, 1);
    return response->n_kvs > 0 ? response->kvs[0] : NULL;
}

static inline void assert_value(struct world *w, const char *key, const char *value)
{
    Etcdserverpb__KeyValue *kv = get(w, key);
    ck_assert_msg((kv != NULL) == (value != NULL), "%s", key);
    if (kv == NULL || value == NULL)
        return;
    ck_assert_uint_eq(kv->value.len, strlen(value));
    if (kv->value.len > 0)
        ck_assert_int_eq(memcmp(kv->value.data, value, kv->value.len), 0);
}

/* Changes and what is asked along with them: up to eight of each kind. */
struct txn {
    Etcdserverpb__TxnRequest request;
    Etcdserverpb__Compare compares[8], *compare_list[8];
    struct txn_op {
        Etcdserverpb__RequestOp op;
        Etcdserverpb__PutRequest put;
        Etcdserverpb__DeleteRangeRequest gone;
        Etcdserverpb__RangeRequest range;
    } ops[16];
    size_t op_count;
    Etcdserverpb__RequestOp *success[8], *failure[8];
    bool is_failure; /* what is added next is done when a comparison fails */
};

static inline struct txn *txn_new(struct world *w)
{
    struct txn *txn = sy_arena_alloc(&w->arena, sizeof(*txn));
    *txn = (struct txn){.request = ETCDSERVERPB__TXN_REQUEST__INIT};
    txn->request.compare = txn->compare_list;
    txn->request.success = txn->success;
    txn->request.failure = txn->failure;
    return txn;
}

static inline struct txn_op *txn_op(struct txn *txn, Etcdserverpb__RequestOp__RequestCase kind)
{
    ck_assert_uint_lt(txn->op_count, SY_COUNT_OF(txn->ops));
    struct txn_op *op = &txn->ops[txn->op_count++];
    op->op = (Etcdserverpb__RequestOp)ETCDSERVERPB__REQUEST_OP__INIT;
    op->put = (Etcdserverpb__PutRequest)ETCDSERVERPB__PUT_REQUEST__INIT;
    op->gone = (Etcdserverpb__DeleteRangeRequest)ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    op->range = (Etcdserverpb__RangeRequest)ETCDSERVERPB__RANGE_REQUEST__INIT;
    op->op.request_case = kind;
    if (kind == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
        op->op.request_put = &op->put;
    if (kind == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
        op->op.request_delete_range = &op->gone;
    if (kind == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
        op->op.request_range = &op->range;
    Etcdserverpb__RequestOp **list = txn->is_failure ? txn->failure : txn->success;
    size_t *count = txn->is_failure ? &txn->request.n_failure : &txn->request.n_success;
    ck_assert_uint_lt(*count, SY_COUNT_OF(txn->success));
    list[(*count)++] = &op->op;
    return op;
}

static inline void txn_put(struct txn *txn, const char *key, const char *value, int64_t lease)
{
    struct txn_op *op = txn_op(txn, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    op->put.key = bytes_of(key);
    op->put.value = bytes_of(value);
    op->put.lease = lease;
}

static inline void txn_delete(struct txn *txn, const char *key, const char *end)
{
    struct txn_op *op = txn_op(txn, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE);
    op->gone.key = bytes_of(key);
    op->gone.range_end = bytes_of(end);
}

static inline void txn_range(struct txn *txn, const char *key, const char *end, int64_t revision)
{
    struct txn_op *op = txn_op(txn, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE);
    op->range.key = bytes_of(key);
    op->range.range_end = bytes_of(end);
    op->range.revision = revision;
}

static inline Etcdserverpb__Compare *txn_compare(struct txn *txn, const char *key,
                                                 Etcdserverpb__Compare__CompareTarget target,
                                                 Etcdserverpb__Compare__CompareResult result)
{
    Etcdserverpb__Compare *compare = &txn->compares[txn->request.n_compare];
    *compare = (Etcdserverpb__Compare)ETCDSERVERPB__COMPARE__INIT;
    compare->key = bytes_of(key);
    compare->target = target;
    compare->result = result;
    txn->compare_list[txn->request.n_compare++] = compare;
    return compare;
}

static inline Etcdserverpb__TxnResponse *txn_do(struct world *w, const struct txn *txn)
{
    return ask(w, "/etcdserverpb.KV/Txn", &txn->request.base,
               &etcdserverpb__txn_response__descriptor, SY_CODE_OK, NULL);
}

static inline void txn_refused(struct world *w, const struct txn *txn, enum sy_code code,
                               const char *text)
{
    ask(w, "/etcdserverpb.KV/Txn", &txn->request.base, NULL, code, text);
}

/* Each returns the revision. */
static inline int64_t put(struct world *w, const char *key, const char *value)
{
    struct txn *txn = txn_new(w);
    txn_put(txn, key, value, 0);
    return txn_do(w, txn)->header->revision;
}

static inline int64_t drop(struct world *w, const char *key)
{
    struct txn *txn = txn_new(w);
    txn_delete(txn, key, "");
    return txn_do(w, txn)->header->revision;
}

static inline void compact(struct world *w, int64_t revision, enum sy_code code, const char *text)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = revision;
    request.physical = 1;
    ask(w, "/etcdserverpb.KV/Compact", &request.base,
        &etcdserverpb__compaction_response__descriptor, code, text);
}

/* ---- leases ---- */

static inline Etcdserverpb__LeaseGrantResponse *grant(struct world *w, int64_t id, int64_t ttl_s)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.id = id;
    request.ttl = ttl_s;
    return ask(w, "/etcdserverpb.Lease/LeaseGrant", &request.base,
               &etcdserverpb__lease_grant_response__descriptor, SY_CODE_OK, NULL);
}

static inline void revoke_lease(struct world *w, int64_t id, enum sy_code code, const char *text)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    request.id = id;
    ask(w, "/etcdserverpb.Lease/LeaseRevoke", &request.base,
        &etcdserverpb__lease_revoke_response__descriptor, code, text);
}

static inline void tell_keepalive(struct heard *stream, int64_t id)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    request.id = id;
    tell(stream, &request.base);
}

static inline int64_t keepalive(struct heard *stream, int64_t id)
{
    int before = stream->messages;
    tell_keepalive(stream, id);
    wait_for(stream->w, &stream->messages, before + 1);
    Etcdserverpb__LeaseKeepAliveResponse *response = message_of(
        stream, before, &etcdserverpb__lease_keep_alive_response__descriptor);
    ck_assert_int_eq(response->id, id);
    return response->ttl;
}

/* ---- watches ---- */

static inline void tell_create(struct heard *stream, const char *key, const char *end,
                               int64_t revision)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    create.key = bytes_of(key);
    create.range_end = bytes_of(end);
    create.start_revision = revision;
    create.progress_notify = 1;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    tell(stream, &request.base);
}

static inline Etcdserverpb__WatchResponse *watch_heard(struct heard *stream, int i)
{
    wait_for(stream->w, &stream->messages, i + 1);
    return message_of(stream, i, &etcdserverpb__watch_response__descriptor);
}

static inline void assert_event(const Etcdserverpb__WatchResponse *response, size_t i,
                                const char *key, const char *value, int64_t revision)
{
    ck_assert_uint_lt(i, response->n_events);
    const Etcdserverpb__Event *event = response->events[i];
    ck_assert_int_eq(event->type, value != NULL ? ETCDSERVERPB__EVENT__EVENT_TYPE__PUT
                                                : ETCDSERVERPB__EVENT__EVENT_TYPE__DELETE);
    ck_assert_uint_eq(event->kv->key.len, strlen(key));
    ck_assert_int_eq(memcmp(event->kv->key.data, key, strlen(key)), 0);
    ck_assert_int_eq(event->kv->mod_revision, revision);
    ck_assert_uint_eq(event->kv->value.len, value != NULL ? strlen(value) : 0);
    if (event->kv->value.len > 0)
        ck_assert_int_eq(memcmp(event->kv->value.data, value, strlen(value)), 0);
}

/* ---- worlds ---- */

/* To the real one the test connects itself. */
static inline void world_open(struct world *w, enum kind kind, uint64_t seed, size_t members)
{
    static const char *const mem[MEMBERS_MAX] = {"etcd-0:1", "etcd-1:1", "etcd-2:1"};
    static const char *const any[MEMBERS_MAX] = {"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"};
    *w = (struct world){.kind = kind, .now_ns = S, .members = members};
    struct sy_error_text error;
    const struct sy_clock clock = {virtual_ns, virtual_ns, w};
    const struct sy_loop_options options = {.clock = &clock, .without_epoll = true};
    ck_assert_int_eq(sy_loop_new(&w->loop, kind == FAKE_MEM ? &options : NULL), 0);
    if (kind == FAKE_MEM)
        ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    else
        ck_assert_int_eq(sy_rpc_grpc_new(&w->rpc, &error), 0);
    sy_arena_init(&w->arena, (size_t)1 << 30);
    if (kind == REAL)
        return;
    if (kind == FAKE_MEM)
        sy_rpc_mem_set_origin(w->rpc, "etcd");
    w->etcd = fake_etcd_new(w->rpc, w->loop, seed, kind == FAKE_MEM ? mem : any, members);
    if (kind == FAKE_MEM)
        sy_rpc_mem_set_origin(w->rpc, "client");
    for (size_t i = 0; i < members; i++) {
        char address[64];
        snprintf(address, sizeof(address), "127.0.0.1:%d", fake_etcd_port(w->etcd, i));
        w->channels[i] = sy_channel_new(w->rpc, kind == FAKE_MEM ? mem[i] : address);
    }
}

static inline void world_close(struct world *w)
{
    if (w->kind == FAKE_GRPC) {
        int drained = 0;
        fake_etcd_drain(w->etcd, count_up, &drained);
        wait_for(w, &drained, 1);
    }
    for (size_t i = 0; i < w->members; i++)
        sy_channel_free(w->channels[i]);
    if (w->etcd != NULL)
        fake_etcd_free(w->etcd);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
    sy_arena_deinit(&w->arena);
}

/* ---- with the real one ---- */

static inline void real_connect(const struct real *real, struct world *w)
{
    for (size_t i = 0; i < w->members; i++)
        w->channels[i] = sy_channel_new(w->rpc, real->members[i].address);
}
