/* What requests to the store do: Range, Txn, Compact. */
#include "tests/etcd/etcd_impl.h"

#include <string.h>

typedef Etcdserverpb__RangeRequest Range;
typedef Etcdserverpb__TxnRequest Txn;
typedef Etcdserverpb__RequestOp Op;
typedef Etcdserverpb__ResponseOp Done;

static const struct etcd_refusal no_key = {SY_CODE_INVALID_ARGUMENT,
                                           "etcdserver: key is not provided"};
static const struct etcd_refusal no_op = {SY_CODE_INVALID_ARGUMENT, "etcdserver: key not found"};
static const struct etcd_refusal too_many = {SY_CODE_INVALID_ARGUMENT,
                                             "etcdserver: too many operations in txn request"};
static const struct etcd_refusal duplicate = {SY_CODE_INVALID_ARGUMENT,
                                              "etcdserver: duplicate key given in txn request"};
static const struct etcd_refusal compacted = {
    SY_CODE_OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"};
static const struct etcd_refusal future = {
    SY_CODE_OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"};

static struct sy_span span_of(ProtobufCBinaryData bytes)
{
    return (struct sy_span){bytes.data, bytes.len};
}

static struct etcd_range range_of(ProtobufCBinaryData from, ProtobufCBinaryData end)
{
    return (struct etcd_range){span_of(from), span_of(end)};
}

static void *made(struct sy_arena *arena, size_t size)
{
    void *memory = sy_arena_alloc(arena, size);
    SY_ASSERT(memory != NULL);
    return memory;
}

/* A message of the arena, initialised. */
#define MAKE(arena, type, INIT)                                                                    \
    __extension__({                                                                                \
        type *_made = made((arena), sizeof(type));                                                 \
        *_made = (type)INIT;                                                                       \
        _made;                                                                                     \
    })

/* ---- before anything is done ---- */

const struct etcd_refusal *etcd_range_check(const void *message)
{
    const Range *request = message;
    return request->key.len == 0 ? &no_key : NULL;
}

static const struct etcd_refusal *op_check(const Op *op)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return etcd_range_check(op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return op->request_put->key.len == 0 ? &no_key : NULL;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return op->request_delete_range->key.len == 0 ? &no_key : NULL;
    default:
        return &no_op;
    }
}

static bool overlap(const Etcdserverpb__PutRequest *put, const Op *other)
{
    if (other->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
        return etcd_span_compare(span_of(put->key), span_of(other->request_put->key)) == 0;
    if (other->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
        return false;
    const Etcdserverpb__DeleteRangeRequest *gone = other->request_delete_range;
    struct etcd_range range = range_of(gone->key, gone->range_end);
    return etcd_range_has(&range, span_of(put->key));
}

/* What is put is touched by nothing else. */
static const struct etcd_refusal *overlaps_check(Op *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++)
            if (i != k && ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT &&
                overlap(ops[i]->request_put, ops[k]))
                return &duplicate;
    return NULL;
}

const struct etcd_refusal *etcd_txn_check(const void *message)
{
    const Txn *txn = message;
    if (txn->n_compare > ETCD_TXN_OPS_MAX || txn->n_success > ETCD_TXN_OPS_MAX ||
        txn->n_failure > ETCD_TXN_OPS_MAX)
        return &too_many;
    for (size_t i = 0; i < txn->n_compare; i++)
        if (txn->compare[i]->key.len == 0)
            return &no_key;
    const struct etcd_refusal *refusal = NULL;
    for (size_t i = 0; i < txn->n_success && refusal == NULL; i++)
        refusal = op_check(txn->success[i]);
    for (size_t i = 0; i < txn->n_failure && refusal == NULL; i++)
        refusal = op_check(txn->failure[i]);
    if (refusal == NULL)
        refusal = overlaps_check(txn->success, txn->n_success);
    if (refusal == NULL)
        refusal = overlaps_check(txn->failure, txn->n_failure);
    return refusal;
}

/* ---- reading ---- */

static Etcdserverpb__KeyValue *key_value(struct sy_arena *arena, const struct etcd_change *change)
{
    Etcdserverpb__KeyValue *kv = MAKE(arena, Etcdserverpb__KeyValue, ETCDSERVERPB__KEY_VALUE__INIT);
    kv->key = (ProtobufCBinaryData){change->key->name.len, change->key->name.data};
    kv->value = (ProtobufCBinaryData){change->value.len, change->value.data};
    kv->create_revision = change->create_revision;
    kv->mod_revision = change->revision;
    kv->version = change->version;
    kv->lease = change->lease;
    return kv;
}

/* As somebody sees it for whom `current` is the last revision. */
static Etcdserverpb__RangeResponse *range_read(const struct etcd_kv *kv, int64_t current,
                                               struct sy_arena *arena, const Range *request)
{
    Etcdserverpb__RangeResponse *response = MAKE(arena, Etcdserverpb__RangeResponse,
                                                 ETCDSERVERPB__RANGE_RESPONSE__INIT);
    struct etcd_range range = range_of(request->key, request->range_end);
    int64_t revision = request->revision > 0 ? request->revision : current;
    size_t first = etcd_kv_lower(kv, range.from), end = first;
    while (end < kv->key_count && etcd_range_has(&range, sy_buf_span(&kv->keys[end]->name)))
        end++;
    response->kvs = made(arena, (end - first + 1) * sizeof(response->kvs[0]));
    for (size_t i = first; i < end; i++) {
        const struct etcd_change *change = etcd_key_at(kv->keys[i], revision);
        if (change == NULL)
            continue;
        response->count++;
        if (request->limit > 0 && response->n_kvs == (size_t)request->limit)
            response->more = 1;
        else
            response->kvs[response->n_kvs++] = key_value(arena, change);
    }
    return response;
}

static const struct etcd_refusal *revision_check(int64_t asked, int64_t current, int64_t oldest)
{
    if (asked <= 0)
        asked = current;
    if (asked > current)
        return &future;
    return asked < oldest ? &compacted : NULL;
}

const struct etcd_refusal *etcd_range_apply(struct etcd_member *member, struct sy_arena *arena,
                                            const void *message, struct sy_buf *answer)
{
    const Range *request = message;
    const struct etcd_refusal *refusal = revision_check(request->revision, member->applied,
                                                        member->compacted);
    if (refusal != NULL)
        return refusal;
    Etcdserverpb__RangeResponse *response = range_read(&member->etcd->kv, member->applied, arena,
                                                       request);
    response->header = etcd_header(member, arena, member->applied);
    pb_pack(&response->base, answer);
    return NULL;
}

/* ---- Txn ---- */

static int order_of(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* What is not given in the union is 0. */
static int64_t number_of(const Etcdserverpb__Compare *compare)
{
    switch (compare->target_union_case) {
    case ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION:
        return compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION ? compare->version
                                                                                 : 0;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION:
        return compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE
                   ? compare->create_revision
                   : 0;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION:
        return compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD ? compare->mod_revision
                                                                             : 0;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE:
        return compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE ? compare->lease : 0;
    default:
        return 0;
    }
}

static int64_t fact_of(const Etcdserverpb__Compare *compare, const struct etcd_change *change)
{
    switch (compare->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        return change->version;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        return change->create_revision;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        return change->revision;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        return change->lease;
    default:
        return 0;
    }
}

static bool holds(const struct etcd_kv *kv, const Etcdserverpb__Compare *compare)
{
    static const struct etcd_change nothing;
    bool by_value = compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
    const struct etcd_change *change = etcd_kv_get(kv, span_of(compare->key), kv->revision);
    if (change == NULL && by_value)
        return false; /* an absent key has no value, not an empty one */
    if (change == NULL)
        change = &nothing;
    int order = 0;
    if (by_value) {
        struct sy_span value = {0};
        if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE)
            value = span_of(compare->value);
        order = etcd_span_compare(sy_buf_span(&change->value), value);
    } else {
        order = order_of(fact_of(compare, change), number_of(compare));
    }
    switch (compare->result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return order == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return order > 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
        return order < 0;
    default:
        return order != 0;
    }
}

static const struct etcd_refusal *op_can_be_done(const struct fake_etcd *etcd, const Op *op)
{
    if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
        return revision_check(op->request_range->revision, etcd->kv.revision, etcd->kv.compacted);
    if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT &&
        op->request_put->lease != 0 && !etcd_lease_exists(etcd, op->request_put->lease))
        return &etcd_lease_not_found;
    return NULL;
}

static Etcdserverpb__ResponseHeader *part_header(struct sy_arena *arena, int64_t revision)
{
    Etcdserverpb__ResponseHeader *header = MAKE(arena, Etcdserverpb__ResponseHeader,
                                                ETCDSERVERPB__RESPONSE_HEADER__INIT);
    header->revision = revision;
    return header;
}

static Done *op_do(struct etcd_kv *kv, struct sy_arena *arena, const Op *op)
{
    Done *done = MAKE(arena, Done, ETCDSERVERPB__RESPONSE_OP__INIT);
    if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
        done->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
        done->response_range = range_read(kv, etcd_kv_writing(kv), arena, op->request_range);
        done->response_range->header = part_header(arena, etcd_kv_writing(kv));
    } else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
        const Etcdserverpb__PutRequest *put = op->request_put;
        etcd_kv_put(kv, span_of(put->key), span_of(put->value), put->lease);
        done->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
        done->response_put = MAKE(arena, Etcdserverpb__PutResponse,
                                  ETCDSERVERPB__PUT_RESPONSE__INIT);
        done->response_put->header = part_header(arena, etcd_kv_writing(kv));
    } else {
        const Etcdserverpb__DeleteRangeRequest *gone = op->request_delete_range;
        struct etcd_range range = range_of(gone->key, gone->range_end);
        done->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
        done->response_delete_range = MAKE(arena, Etcdserverpb__DeleteRangeResponse,
                                           ETCDSERVERPB__DELETE_RANGE_RESPONSE__INIT);
        done->response_delete_range->deleted = etcd_kv_delete(kv, &range);
        done->response_delete_range->header = part_header(arena, etcd_kv_writing(kv));
    }
    return done;
}

const struct etcd_refusal *etcd_txn_apply(struct etcd_member *member, struct sy_arena *arena,
                                          const void *message, struct sy_buf *answer)
{
    struct fake_etcd *etcd = member->etcd;
    const Txn *txn = message;
    Etcdserverpb__TxnResponse response = ETCDSERVERPB__TXN_RESPONSE__INIT;
    response.succeeded = 1;
    for (size_t i = 0; i < txn->n_compare; i++)
        if (!holds(&etcd->kv, txn->compare[i]))
            response.succeeded = 0;
    Op *const *ops = response.succeeded ? txn->success : txn->failure;
    response.n_responses = response.succeeded ? txn->n_success : txn->n_failure;
    for (size_t i = 0; i < response.n_responses; i++) {
        const struct etcd_refusal *refusal = op_can_be_done(etcd, ops[i]);
        if (refusal != NULL)
            return refusal;
    }
    response.responses = made(arena, (response.n_responses + 1) * sizeof(response.responses[0]));
    for (size_t i = 0; i < response.n_responses; i++)
        response.responses[i] = op_do(&etcd->kv, arena, ops[i]);
    response.header = etcd_header(member, arena, etcd_kv_writing(&etcd->kv));
    pb_pack(&response.base, answer);
    if (etcd_kv_commit(&etcd->kv))
        etcd_changed(etcd);
    return NULL;
}

/* ---- Compact ---- */

void etcd_compact_at(struct fake_etcd *etcd, int64_t revision)
{
    etcd->kv.compacted = revision;
    for (size_t i = 0; i < etcd->member_count; i++)
        if (!etcd->members[i].cut)
            etcd->members[i].compacted = revision;
    etcd_purge(etcd);
}

const struct etcd_refusal *etcd_compact_apply(struct etcd_member *member, struct sy_arena *arena,
                                              const void *message, struct sy_buf *answer)
{
    struct fake_etcd *etcd = member->etcd;
    const Etcdserverpb__CompactionRequest *request = message;
    if (request->revision <= etcd->kv.compacted)
        return &compacted;
    if (request->revision > etcd->kv.revision)
        return &future;
    etcd_compact_at(etcd, request->revision);
    Etcdserverpb__CompactionResponse response = ETCDSERVERPB__COMPACTION_RESPONSE__INIT;
    response.header = etcd_header(member, arena, etcd->kv.revision);
    pb_pack(&response.base, answer);
    return NULL;
}
