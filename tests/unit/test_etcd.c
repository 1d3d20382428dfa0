/* links: sy_test_etcd */
/*
 * What etcd does when nothing goes wrong: the same tests for the etcd of tests/etcd (in memory and
 * over gRPC) and for the real one, which shows that ours is like it. Each EACH_TEST(x) becomes
 * x_mem, x_grpc and x_real. Those of faults: test_etcd_faults.c.
 */
#include "tests/unit/test_etcd_world.h"

static struct real real;

static void run(void (*test)(struct world *w), enum kind kind)
{
    struct world w;
    if (kind == REAL && !real.runs)
        return;
    world_open(&w, kind, 1, 1);
    if (kind == REAL)
        real_connect(&real, &w);
    struct txn *txn = txn_new(&w); /* a clean start */
    txn_op(txn, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)->gone.key = endless;
    txn->ops[0].gone.range_end = endless;
    w.base = txn_do(&w, txn)->header->revision;
    test(&w);
    world_close(&w);
}

#define EACH_TEST(name)                                                                            \
    static void name(struct world *w);                                                             \
    START_TEST(name##_mem)                                                                         \
    {                                                                                              \
        run(name, FAKE_MEM);                                                                       \
    }                                                                                              \
    END_TEST                                                                                       \
    START_TEST(name##_grpc)                                                                        \
    {                                                                                              \
        run(name, FAKE_GRPC);                                                                      \
    }                                                                                              \
    END_TEST                                                                                       \
    START_TEST(name##_real)                                                                        \
    {                                                                                              \
        run(name, REAL);                                                                           \
    }                                                                                              \
    END_TEST                                                                                       \
    static void name(struct world *w)

/* ---- Range ---- */

EACH_TEST(keys_have_versions)
{
    ck_assert_ptr_null(get(w, "a"));
    ck_assert_int_eq(put(w, "a", "one"), w->base + 1);
    ck_assert_int_eq(put(w, "a", "two"), w->base + 2);
    Etcdserverpb__KeyValue *kv = get(w, "a");
    ck_assert_int_eq(kv->create_revision, w->base + 1);
    ck_assert_int_eq(kv->mod_revision, w->base + 2);
    ck_assert_int_eq(kv->version, 2);
    ck_assert_int_eq(kv->lease, 0);
    assert_value(w, "a", "two");
    ck_assert_int_eq(drop(w, "a"), w->base + 3);
    assert_value(w, "a", NULL);
    ck_assert_int_eq(drop(w, "a"), w->base + 3); /* nothing was there */
    ck_assert_int_eq(put(w, "a", ""), w->base + 4);
    kv = get(w, "a");
    ck_assert_int_eq(kv->create_revision, w->base + 4);
    ck_assert_int_eq(kv->version, 1);
    assert_value(w, "a", "");
}

EACH_TEST(ranges)
{
    put(w, "b/1", "1");
    put(w, "b/2", "2");
    put(w, "b/3", "3");
    put(w, "c", "4");
    Etcdserverpb__RangeRequest request = range_request("b/", "b0");
    Etcdserverpb__RangeResponse *response = ask_range(w, &request);
    ck_assert_uint_eq(response->n_kvs, 3);
    ck_assert_int_eq(response->count, 3);
    ck_assert_int_eq(response->more, 0);
    ck_assert_int_eq(response->header->revision, w->base + 4);
    ck_assert_uint_ne(response->header->cluster_id, 0);
    ck_assert_uint_ne(response->header->member_id, 0);
    request.limit = 2;
    response = ask_range(w, &request);
    ck_assert_uint_eq(response->n_kvs, 2);
    ck_assert_int_eq(response->count, 3);
    ck_assert_int_eq(response->more, 1);
    ck_assert_int_eq(memcmp(response->kvs[1]->key.data, "b/2", 3), 0);
    request.limit = 3;
    ck_assert_int_eq(ask_range(w, &request)->more, 0);
    request = range_request("b/2", "");
    request.range_end = endless;
    ck_assert_uint_eq(ask_range(w, &request)->n_kvs, 3);
    request.key = endless; /* the smallest key: all of them */
    request.serializable = 1;
    ck_assert_uint_eq(ask_range(w, &request)->n_kvs, 4);
    request = range_request("b0", "b/"); /* the wrong way round */
    ck_assert_uint_eq(ask_range(w, &request)->n_kvs, 0);
    request = range_request("", "");
    refused_range(w, &request, SY_CODE_INVALID_ARGUMENT, "etcdserver: key is not provided");
}

EACH_TEST(the_past_can_be_read)
{
    put(w, "a", "one");
    put(w, "a", "two");
    drop(w, "a");
    Etcdserverpb__RangeRequest request = range_request("a", "");
    request.revision = w->base + 1;
    Etcdserverpb__RangeResponse *response = ask_range(w, &request);
    ck_assert_uint_eq(response->n_kvs, 1);
    ck_assert_int_eq(memcmp(response->kvs[0]->value.data, "one", 3), 0);
    ck_assert_int_eq(response->header->revision, w->base + 3); /* not the one that was read */
    request.revision = w->base + 3;
    ck_assert_uint_eq(ask_range(w, &request)->n_kvs, 0);
    request.revision = w->base + 4;
    refused_range(w, &request, SY_CODE_OUT_OF_RANGE,
                  "etcdserver: mvcc: required revision is a future revision");
}

/* ---- Txn ---- */

/* Whether a comparison of a number holds. */
static bool holds(struct world *w, const char *key, Etcdserverpb__Compare__CompareTarget target,
                  Etcdserverpb__Compare__CompareResult result, int64_t number)
{
    static const Etcdserverpb__Compare__TargetUnionCase kinds[] = {
        ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION,
        ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION,
        ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION,
        ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE,
        ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE,
    };
    struct txn *txn = txn_new(w);
    Etcdserverpb__Compare *compare = txn_compare(txn, key, target, result);
    compare->target_union_case = kinds[target];
    compare->version = number;
    return txn_do(w, txn)->succeeded;
}

static bool value_is(struct world *w, const char *key, Etcdserverpb__Compare__CompareResult result,
                     const char *value)
{
    struct txn *txn = txn_new(w);
    Etcdserverpb__Compare *compare = txn_compare(
        txn, key, ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE, result);
    compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
    compare->value = bytes_of(value);
    return txn_do(w, txn)->succeeded;
}

#define EQUAL ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL
#define GREATER ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER
#define LESS ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS
#define NOT_EQUAL ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL
#define VERSION ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION
#define CREATE ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE
#define MOD ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD
#define LEASE ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE

/* Each fact of `key` is that number. */
static void assert_facts(struct world *w, const char *key, const int64_t facts[5])
{
    for (Etcdserverpb__Compare__CompareTarget target = VERSION; target <= LEASE; target++) {
        if (target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE)
            continue;
        int64_t fact = facts[target];
        ck_assert(holds(w, key, target, EQUAL, fact));
        ck_assert(!holds(w, key, target, EQUAL, fact + 1));
        ck_assert(holds(w, key, target, NOT_EQUAL, fact + 1));
        ck_assert(!holds(w, key, target, NOT_EQUAL, fact));
        ck_assert(holds(w, key, target, GREATER, fact - 1));
        ck_assert(!holds(w, key, target, GREATER, fact));
        ck_assert(holds(w, key, target, LESS, fact + 1));
        ck_assert(!holds(w, key, target, LESS, fact));
    }
}

EACH_TEST(comparisons)
{
    int64_t id = grant(w, 0, 60)->id;
    put(w, "a", "one");
    struct txn *txn = txn_new(w);
    txn_put(txn, "a", "two", id);
    txn_do(w, txn);
    assert_facts(w, "a", (const int64_t[5]){2, w->base + 1, w->base + 2, 0, id});
    assert_facts(w, "absent", (const int64_t[5]){0});
    ck_assert(value_is(w, "a", EQUAL, "two"));
    ck_assert(!value_is(w, "a", EQUAL, "tw"));
    ck_assert(value_is(w, "a", GREATER, "tw"));
    ck_assert(value_is(w, "a", LESS, "two!"));
    ck_assert(value_is(w, "a", NOT_EQUAL, ""));
    ck_assert(!value_is(w, "absent", EQUAL, "")); /* it has no value at all */
    ck_assert(!value_is(w, "absent", NOT_EQUAL, "x"));
    revoke_lease(w, id, SY_CODE_OK, "");
}

EACH_TEST(all_or_nothing)
{
    put(w, "a", "1");
    for (int i = 0; i < 2; i++) { /* the second time the key is there */
        struct txn *txn = txn_new(w);
        txn_compare(txn, "a", VERSION, EQUAL)->version = 1;
        txn->compares[0].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        txn_compare(txn, "b", MOD, EQUAL); /* 0: absent */
        txn_put(txn, "b", "2", 0);
        txn_put(txn, "c", "3", 0);
        txn_delete(txn, "a", "");
        txn_put(txn, "a2", "4", 0);
        txn->is_failure = true;
        txn_range(txn, "a", "z", 0);
        Etcdserverpb__TxnResponse *response = txn_do(w, txn);
        ck_assert_int_eq(response->succeeded, i == 0);
        ck_assert_int_eq(response->header->revision, w->base + 2); /* reading adds none */
        ck_assert_uint_eq(response->n_responses, i == 0 ? 4 : 1);
        if (i == 0) {
            ck_assert_int_eq(response->responses[2]->response_delete_range->deleted, 1);
            ck_assert_int_eq(response->responses[0]->response_put->header->revision, w->base + 2);
        } else {
            ck_assert_int_eq(response->responses[0]->response_range->count, 3);
        }
    }
    assert_value(w, "a", NULL);
    Etcdserverpb__KeyValue *b = get(w, "b"), *c = get(w, "c");
    ck_assert_int_eq(b->mod_revision, w->base + 2);
    ck_assert_int_eq(c->mod_revision, w->base + 2);
}

EACH_TEST(a_txn_sees_what_it_did)
{
    put(w, "a", "1");
    struct txn *txn = txn_new(w);
    txn_range(txn, "a", "z", 0);
    txn_put(txn, "b", "2", 0);
    txn_range(txn, "a", "z", 0);
    txn_delete(txn, "a", "");
    txn_delete(txn, "a", "");
    txn_range(txn, "a", "z", 0);
    txn_range(txn, "a", "z", w->base + 1);
    Etcdserverpb__TxnResponse *response = txn_do(w, txn);
    ck_assert_int_eq(response->responses[0]->response_range->count, 1);
    ck_assert_int_eq(response->responses[0]->response_range->header->revision, w->base + 1);
    ck_assert_int_eq(response->responses[2]->response_range->count, 2);
    ck_assert_int_eq(response->responses[2]->response_range->header->revision, w->base + 2);
    ck_assert_int_eq(response->responses[3]->response_delete_range->deleted, 1);
    ck_assert_int_eq(response->responses[4]->response_delete_range->deleted, 0);
    ck_assert_int_eq(response->responses[5]->response_range->count, 1);
    ck_assert_int_eq(response->responses[6]->response_range->count, 1);
    ck_assert_int_eq(memcmp(response->responses[6]->response_range->kvs[0]->key.data, "a", 1), 0);
}

#define DUPLICATE "etcdserver: duplicate key given in txn request"
EACH_TEST(refused_txns)
{
    struct txn *txn = txn_new(w);
    txn_put(txn, "a", "1", 0);
    txn_put(txn, "a", "2", 0);
    txn_refused(w, txn, SY_CODE_INVALID_ARGUMENT, DUPLICATE);
    txn = txn_new(w);
    txn_delete(txn, "a", "c");
    txn_put(txn, "b", "2", 0);
    txn_refused(w, txn, SY_CODE_INVALID_ARGUMENT, DUPLICATE);
    txn = txn_new(w);
    txn_put(txn, "c", "2", 0);
    txn_delete(txn, "a", "c"); /* not c itself */
    txn_do(w, txn);
    txn = txn_new(w);
    txn_put(txn, "", "1", 0);
    txn_refused(w, txn, SY_CODE_INVALID_ARGUMENT, "etcdserver: key is not provided");
    txn = txn_new(w);
    txn_op(txn, ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET);
    txn_refused(w, txn, SY_CODE_INVALID_ARGUMENT, "etcdserver: key not found");
    txn = txn_new(w);
    txn_put(txn, "a", "1", 4711);
    txn_put(txn, "b", "1", 0);
    txn_refused(w, txn, SY_CODE_NOT_FOUND, "etcdserver: requested lease not found");
    txn = txn_new(w);
    txn_put(txn, "a", "1", 0);
    txn_range(txn, "a", "", w->base + 5);
    txn_refused(w, txn, SY_CODE_OUT_OF_RANGE,
                "etcdserver: mvcc: required revision is a future revision");
    Etcdserverpb__RequestOp *many[129];
    for (size_t i = 0; i < SY_COUNT_OF(many); i++)
        many[i] = txn->success[1];
    txn->request.success = many;
    txn->request.n_success = SY_COUNT_OF(many);
    txn_refused(w, txn, SY_CODE_INVALID_ARGUMENT, "etcdserver: too many operations in txn request");
    char *large = sy_calloc(1, 1600 << 10);
    memset(large, 'x', (1600 << 10) - 1);
    txn = txn_new(w);
    txn_put(txn, "a", large, 0);
    txn_refused(w, txn, SY_CODE_INVALID_ARGUMENT, "etcdserver: request is too large");
    free(large);
    assert_value(w, "a", NULL);
    assert_value(w, "b", NULL);
}

/* ---- Compact ---- */

#define COMPACTED "etcdserver: mvcc: required revision has been compacted"
EACH_TEST(compaction)
{
    put(w, "a", "one");
    put(w, "a", "two");
    put(w, "b", "three");
    drop(w, "b");
    put(w, "a", "four");
    compact(w, w->base + 6, SY_CODE_OUT_OF_RANGE,
            "etcdserver: mvcc: required revision is a future revision");
    compact(w, w->base + 3, SY_CODE_OK, "");
    compact(w, w->base + 3, SY_CODE_OUT_OF_RANGE, COMPACTED);
    Etcdserverpb__RangeRequest request = range_request("a", "c");
    request.revision = w->base + 2;
    refused_range(w, &request, SY_CODE_OUT_OF_RANGE, COMPACTED);
    struct txn *txn = txn_new(w);
    txn_range(txn, "a", "c", w->base + 2);
    txn_refused(w, txn, SY_CODE_OUT_OF_RANGE, COMPACTED);
    request.revision = w->base + 3;
    Etcdserverpb__RangeResponse *response = ask_range(w, &request);
    ck_assert_uint_eq(response->n_kvs, 2);
    ck_assert_int_eq(memcmp(response->kvs[0]->value.data, "two", 3), 0);
    assert_value(w, "a", "four");
    compact(w, w->base + 5, SY_CODE_OK, "");
    assert_value(w, "a", "four");
    assert_value(w, "b", NULL);
    ck_assert_int_eq(get(w, "a")->version, 3);
    put(w, "b", "new");
    ck_assert_int_eq(get(w, "b")->create_revision, w->base + 6);
}

/* ---- watches ---- */

EACH_TEST(a_watch_hears_of_each_change)
{
    struct heard *stream = open_stream(w, "/etcdserverpb.Watch/Watch");
    tell_create(stream, "k/", "k0", 0);
    Etcdserverpb__WatchResponse *response = watch_heard(stream, 0);
    ck_assert_int_eq(response->created, 1);
    ck_assert_int_eq(response->canceled, 0);
    ck_assert_int_eq(response->watch_id, 0);
    ck_assert_int_eq(response->header->revision, w->base);
    put(w, "k/a", "1");
    response = watch_heard(stream, 1);
    ck_assert_uint_eq(response->n_events, 1);
    ck_assert_int_eq(response->header->revision, w->base + 1);
    assert_event(response, 0, "k/a", "1", w->base + 1);
    ck_assert_int_eq(response->events[0]->kv->version, 1);
    put(w, "other", "1"); /* not heard */
    struct txn *txn = txn_new(w);
    txn_put(txn, "k/b", "2", 0);
    txn_put(txn, "other", "2", 0);
    txn_delete(txn, "k/a", "");
    txn_do(w, txn);
    response = watch_heard(stream, 2); /* as one */
    ck_assert_uint_eq(response->n_events, 2);
    assert_event(response, 0, "k/b", "2", w->base + 3);
    assert_event(response, 1, "k/a", NULL, w->base + 3);
    ck_assert_int_eq(response->events[1]->kv->create_revision, 0);
    close_stream(stream);
}

EACH_TEST(a_watch_reads_the_past)
{
    put(w, "a", "1");
    put(w, "b", "2");
    drop(w, "a");
    put(w, "c", "3");
    struct heard *stream = open_stream(w, "/etcdserverpb.Watch/Watch");
    tell_create(stream, "a", "c", w->base + 1);
    ck_assert_int_eq(watch_heard(stream, 0)->created, 1);
    ck_assert_int_eq(watch_heard(stream, 0)->header->revision, w->base + 4);
    Etcdserverpb__WatchResponse *response = watch_heard(stream, 1);
    ck_assert_int_eq(response->header->revision, w->base + 4);
    ck_assert_uint_eq(response->n_events, 3);
    assert_event(response, 0, "a", "1", w->base + 1);
    assert_event(response, 1, "b", "2", w->base + 2);
    assert_event(response, 2, "a", NULL, w->base + 3);
    put(w, "b", "5");
    assert_event(watch_heard(stream, 2), 0, "b", "5", w->base + 5);
    close_stream(stream);
}

EACH_TEST(a_watch_of_the_future)
{
    struct heard *stream = open_stream(w, "/etcdserverpb.Watch/Watch");
    tell_create(stream, "a", "", w->base + 2);
    watch_heard(stream, 0);
    put(w, "a", "1");
    put(w, "a", "2");
    Etcdserverpb__WatchResponse *response = watch_heard(stream, 1);
    ck_assert_uint_eq(response->n_events, 1);
    assert_event(response, 0, "a", "2", w->base + 2);
    close_stream(stream);
}

/* More than etcd puts into one response: what comes first says that it is as of now. */
EACH_TEST(a_watch_of_a_long_past)
{
    struct heard *last = NULL;
    for (int i = 0; i < 1200; i++) {
        struct txn *txn = txn_new(w);
        txn_put(txn, "a", "x", 0);
        if (last != NULL)
            heard_free(last);
        last = begin(w, "/etcdserverpb.KV/Txn", &txn->request.base);
        wait_for(w, &last->closes, 1);
    }
    heard_free(last);
    struct heard *stream = open_stream(w, "/etcdserverpb.Watch/Watch");
    tell_create(stream, "a", "", w->base + 1);
    Etcdserverpb__WatchResponse *response = watch_heard(stream, 1);
    ck_assert_uint_eq(response->n_events, 1000);
    ck_assert_int_eq(response->header->revision, w->base + 1200);
    assert_event(response, 999, "a", "x", w->base + 1000);
    response = watch_heard(stream, 2);
    ck_assert_uint_eq(response->n_events, 200);
    assert_event(response, 0, "a", "x", w->base + 1001);
    close_stream(stream);
}

EACH_TEST(watches_of_one_stream)
{
    struct heard *stream = open_stream(w, "/etcdserverpb.Watch/Watch");
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCancelRequest cancel = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    request.cancel_request = &cancel;
    tell_create(stream, "a", "", 0);
    tell_create(stream, "b", "", 0);
    tell_create(stream, "z", "b", 0); /* an empty range */
    ck_assert_int_eq(watch_heard(stream, 1)->watch_id, 1);
    Etcdserverpb__WatchResponse *response = watch_heard(stream, 2);
    ck_assert_int_eq(response->watch_id, -1);
    ck_assert_int_eq(response->created, 1);
    ck_assert_int_eq(response->canceled, 1);
    put(w, "b", "1");
    response = watch_heard(stream, 3);
    ck_assert_int_eq(response->watch_id, 1);
    assert_event(response, 0, "b", "1", w->base + 1);
    cancel.watch_id = 7; /* no such watch: no answer */
    tell(stream, &request.base);
    cancel.watch_id = 1;
    tell(stream, &request.base);
    response = watch_heard(stream, 4);
    ck_assert_int_eq(response->watch_id, 1);
    ck_assert_int_eq(response->canceled, 1);
    ck_assert_int_eq(response->compact_revision, 0);
    put(w, "b", "2"); /* not heard */
    put(w, "a", "3");
    response = watch_heard(stream, 5);
    ck_assert_int_eq(response->watch_id, 0);
    assert_event(response, 0, "a", "3", w->base + 3);
    sy_call_half_close(stream->call); /* it does not end by that */
    rest(w, 100 * MS);
    put(w, "a", "4");
    assert_event(watch_heard(stream, 6), 0, "a", "4", w->base + 4);
    close_stream(stream);
}

EACH_TEST(a_watch_of_what_is_compacted)
{
    put(w, "a", "1");
    put(w, "b", "2");
    put(w, "a", "3");
    compact(w, w->base + 3, SY_CODE_OK, "");
    struct heard *stream = open_stream(w, "/etcdserverpb.Watch/Watch");
    tell_create(stream, "b", "", w->base + 2);
    ck_assert_int_eq(watch_heard(stream, 0)->created, 1); /* as if all were well */
    ck_assert_int_eq(watch_heard(stream, 0)->canceled, 0);
    Etcdserverpb__WatchResponse *response = watch_heard(stream, 1);
    ck_assert_int_eq(response->canceled, 1);
    ck_assert_int_eq(response->created, 0);
    ck_assert_int_eq(response->compact_revision, w->base + 3);
    ck_assert_int_eq(response->header->revision, 0);
    ck_assert_int_eq(stream->closes, 0);       /* the stream goes on */
    tell_create(stream, "a", "", w->base + 3); /* from the compacted revision itself on */
    ck_assert_int_eq(watch_heard(stream, 2)->watch_id, 1);
    assert_event(watch_heard(stream, 3), 0, "a", "3", w->base + 3);
    close_stream(stream);
}

/* etcd 3.4 compacts a deletion away although its revision may still be watched from. */
EACH_TEST(a_deletion_at_the_compacted_revision_is_lost)
{
    put(w, "a", "1");
    drop(w, "a");
    compact(w, w->base + 2, SY_CODE_OK, "");
    struct heard *stream = open_stream(w, "/etcdserverpb.Watch/Watch");
    tell_create(stream, "a", "", w->base + 2);
    ck_assert_int_eq(watch_heard(stream, 0)->created, 1);
    rest(w, 300 * MS);
    ck_assert_int_eq(stream->messages, 1);
    put(w, "a", "3");
    assert_event(watch_heard(stream, 1), 0, "a", "3", w->base + 3);
    close_stream(stream);
}

/* ---- leases ---- */

EACH_TEST(leases_are_granted_and_revoked)
{
    Etcdserverpb__LeaseGrantResponse *lease = grant(w, 0, 60);
    ck_assert_int_gt(lease->id, 0);
    ck_assert_int_eq(lease->ttl, 60);
    ck_assert_int_eq(grant(w, 4712, 1)->ttl, 2); /* the least */
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.id = lease->id;
    request.ttl = 5;
    ask(w, "/etcdserverpb.Lease/LeaseGrant", &request.base, NULL, SY_CODE_FAILED_PRECONDITION,
        "etcdserver: lease already exists");
    request.id = 0;
    request.ttl = 9000000001;
    ask(w, "/etcdserverpb.Lease/LeaseGrant", &request.base, NULL, SY_CODE_OUT_OF_RANGE,
        "etcdserver: too large lease TTL");
    struct heard *stream = open_stream(w, "/etcdserverpb.Watch/Watch");
    tell_create(stream, "a", "z", 0);
    watch_heard(stream, 0);
    struct txn *txn = txn_new(w);
    txn_put(txn, "b", "1", lease->id);
    txn_put(txn, "a", "1", lease->id);
    txn_put(txn, "c", "1", lease->id);
    txn_do(w, txn);
    ck_assert_int_eq(get(w, "a")->lease, lease->id);
    put(w, "c", "2"); /* bound no more */
    ck_assert_int_eq(get(w, "c")->lease, 0);
    revoke_lease(w, lease->id, SY_CODE_OK, "");
    revoke_lease(w, lease->id, SY_CODE_NOT_FOUND, "etcdserver: requested lease not found");
    assert_value(w, "a", NULL);
    assert_value(w, "c", "2");
    Etcdserverpb__WatchResponse *response = watch_heard(stream, 3);
    ck_assert_uint_eq(response->n_events, 2);
    assert_event(response, 0, "a", NULL, w->base + 3);
    assert_event(response, 1, "b", NULL, w->base + 3);
    close_stream(stream);
    revoke_lease(w, 4712, SY_CODE_OK, "");
}

EACH_TEST(leases_run_out)
{
    if (w->kind == FAKE_GRPC)
        return;                                     /* as in memory, only slower */
    const int64_t ttl_s = w->kind == REAL ? 10 : 2; /* it must not run out before it is renewed */
    int64_t granted_ns = time_of(w);
    int64_t id = grant(w, 0, ttl_s)->id;
    struct txn *txn = txn_new(w);
    txn_put(txn, "a", "1", id);
    txn_do(w, txn);
    struct heard *stream = open_stream(w, "/etcdserverpb.Watch/Watch");
    struct heard *renewals = open_stream(w, "/etcdserverpb.Lease/LeaseKeepAlive");
    tell_create(stream, "a", "", 0);
    rest(w, S);
    int64_t renewed_ns = time_of(w);
    ck_assert_int_eq(keepalive(renewals, id), ttl_s);
    ck_assert_int_eq(keepalive(renewals, 4713), 0); /* no such lease */
    Etcdserverpb__WatchResponse *response = watch_heard(stream, 1);
    assert_event(response, 0, "a", NULL, w->base + 2);
    ck_assert_int_ge(time_of(w), renewed_ns + ttl_s * S);
    ck_assert_int_ge(time_of(w), granted_ns + (1 + ttl_s) * S);
    if (w->kind == FAKE_MEM)
        ck_assert_int_le(time_of(w), renewed_ns + 2500 * MS);
    ck_assert_int_eq(keepalive(renewals, id), 0);
    sy_call_half_close(renewals->call);
    assert_ends(renewals, SY_CODE_OK, "");
    heard_free(renewals);
    close_stream(stream);
}

/* A renewal that comes between the end of a lease and its revocation learns of the latter. */
EACH_TEST(a_late_renewal)
{
    if (w->kind == FAKE_GRPC)
        return;
    int64_t id = grant(w, 0, 2)->id;
    struct heard *renewals = open_stream(w, "/etcdserverpb.Lease/LeaseKeepAlive");
    ck_assert_int_eq(keepalive(renewals, 4714), 0);
    rest(w, 2010 * MS);
    ck_assert_int_eq(keepalive(renewals, id), 0);
    revoke_lease(w, id, SY_CODE_NOT_FOUND, NULL);
    close_stream(renewals);
}

#define EACH(name) name##_mem, name##_grpc, name##_real

int main(void)
{
    const TTest *const tests[] = {
        EACH(keys_have_versions),
        EACH(ranges),
        EACH(the_past_can_be_read),
        EACH(comparisons),
        EACH(all_or_nothing),
        EACH(a_txn_sees_what_it_did),
        EACH(refused_txns),
        EACH(compaction),
        EACH(a_watch_hears_of_each_change),
        EACH(a_watch_reads_the_past),
        EACH(a_watch_of_the_future),
        EACH(a_watch_of_a_long_past),
        EACH(watches_of_one_stream),
        EACH(a_watch_of_what_is_compacted),
        EACH(a_deletion_at_the_compacted_revision_is_lost),
        EACH(leases_are_granted_and_revoked),
        EACH(leases_run_out),
        EACH(a_late_renewal),
        NULL,
    };
    real_start(&real, 1);
    int r = sy_test_run("etcd", tests);
    real_stop(&real);
    return r;
}
