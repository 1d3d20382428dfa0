/* links: cp sy_test_etcd */
/* Clusters that are registered through any shard of a region, and who may attach to its partitions.
 */
#include "tests/unit/cp_region_world.h"

#include "controlplane/shard_impl.h"

#include "switchyard/internal/dataplane.pb-c.h"
#include "switchyard/v1/cluster_service.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"

#define CLUSTERS "/switchyard.v1.ClusterService/"
#define REGION "/switchyard.v1.RegionService/"

/* ---- calls ---- */

static void expect(struct world *w, struct call *c, enum sy_code code, const char *words)
{
    c->reads = true;
    UNTIL(w, c->call == NULL);
    ck_assert_msg(c->code == code && strstr(c->text, words) != NULL, "%s: %s",
                  sy_code_name(c->code), c->text);
}

static struct call *create_cluster(struct world *w, size_t shard, const char *name)
{
    Switchyard__V1__CreateClusterRequest m = SWITCHYARD__V1__CREATE_CLUSTER_REQUEST__INIT;
    m.name = text_of(name);
    m.region = text_of("eu-west");
    m.labels = text_of("zone=b");
    return send_call(w, shard, CLUSTERS "CreateCluster", &m.base);
}

static void expect_token(struct world *w, struct call *c, char ret[256])
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    expect(w, c, SY_CODE_OK, "");
    const Switchyard__V1__CreateClusterResponse *r = pb_unpack(
        &switchyard__v1__create_cluster_response__descriptor, &arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(r);
    ck_assert_uint_eq(r->token->number, 1);
    ck_assert_str_eq(r->token->state, "valid");
    snprintf(ret, 256, "%s", r->secret);
    sy_arena_deinit(&arena);
}

static struct call *join(struct world *w, size_t shard, const char *token, uint8_t byte)
{
    uint8_t identity[32];
    Switchyard__V1__JoinClusterRequest m = SWITCHYARD__V1__JOIN_CLUSTER_REQUEST__INIT;
    memset(identity, byte, sizeof(identity));
    m.token = text_of(token);
    m.identity = (ProtobufCBinaryData){sizeof(identity), identity};
    return send_call(w, shard, CLUSTERS "JoinCluster", &m.base);
}

/* ---- an operator's calls ---- */

struct stream {
    struct sy_call *call;
    bool closed, heard;
    char deleted[256], fenced[256];
    uint64_t fences;
    struct sy_status status;
};

static void on_heard(void *ctx, struct sy_span bytes)
{
    struct stream *s = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    s->heard = true;
    const Switchyard__Internal__DescribeResponse *m = pb_unpack(
        &switchyard__internal__describe_response__descriptor, &arena, bytes);
    if (m != NULL) { /* of Describe, else of Operate */
        snprintf(s->deleted, sizeof(s->deleted), "%s", m->deleted);
        snprintf(s->fenced, sizeof(s->fenced), "%s", m->fenced);
        s->fences = m->fences;
    }
    sy_arena_deinit(&arena);
}

static void on_stream_closed(void *ctx, const struct sy_status *status)
{
    struct stream *s = ctx;
    s->closed = true;
    s->status.code = status->code;
    s->status.message = status->message;
}

static const struct sy_call_sink stream_sink = {.on_message = on_heard,
                                                .on_closed = on_stream_closed};

/* `byte` negative: without an identity. */
static void open_stream(struct world *w, struct stream *s, size_t shard, const char *method,
                        const char *cluster, int byte, uint32_t partition)
{
    char number[16], identity[80];
    snprintf(number, sizeof(number), "%u", partition);
    snprintf(identity, sizeof(identity), "Bearer ");
    for (size_t i = 0; i < 32; i++)
        snprintf(identity + 7 + 2 * i, 3, "%02x", byte & 0xff);
    const struct sy_metadata metadata[] = {{"x-switchyard-partition", number},
                                           {"x-switchyard-cluster", cluster},
                                           {"authorization", identity}};
    struct sy_call_options options = {
        .method = method, .metadata = metadata, .metadata_count = byte < 0 ? 2 : 3};
    *s = (struct stream){0};
    s->call = sy_channel_open(w->shards[shard].channel, w->loop, &options, &stream_sink, s);
}

static uint32_t first_of(const struct world *w, size_t shard)
{
    uint32_t partition = 0;
    while (!cp_partition_serving(cp_shard_partition(w->shards[shard].shard, partition)))
        partition++;
    return partition;
}

static void operate_under(struct world *w, struct stream *s, size_t shard, uint32_t partition,
                          const char *cluster, int byte, uint64_t term)
{
    Switchyard__Internal__OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__OperatorHello hello = SWITCHYARD__INTERNAL__OPERATOR_HELLO__INIT;
    open_stream(w, s, shard, "/switchyard.internal.ControlPlane/Operate", cluster, byte, partition);
    hello.partition = partition;
    hello.cluster = text_of(cluster);
    char session[8];
    snprintf(session, sizeof(session), "s%d", byte);
    hello.session = hello.endpoint = session;
    hello.term = term;
    m.hello = &hello;
    m.inventory_complete = true;
    struct sy_buf bytes = {0};
    pb_pack(&m.base, &bytes);
    ck_assert_int_eq(sy_call_send(s->call, &bytes), 0);
}

static void operate(struct world *w, struct stream *s, size_t shard, const char *cluster, int byte)
{
    operate_under(w, s, shard, first_of(w, shard), cluster, byte, 0);
}

static void describe(struct world *w, struct stream *s, size_t shard, const char *cluster, int byte)
{
    Switchyard__Internal__DescribeRequest m = SWITCHYARD__INTERNAL__DESCRIBE_REQUEST__INIT;
    open_stream(w, s, shard, "/switchyard.internal.ControlPlane/Describe", cluster, byte, 0);
    m.follow = true;
    struct sy_buf bytes = {0};
    pb_pack(&m.base, &bytes);
    ck_assert_int_eq(sy_call_send(s->call, &bytes), 0);
    sy_call_half_close(s->call);
}

static void expect_let_in(struct world *w, struct stream *s)
{
    UNTIL(w, s->heard || s->closed);
    ck_assert_msg(!s->closed, "%s", s->status.message.text);
}

static void expect_closed(struct world *w, struct stream *s, enum sy_code code, const char *words)
{
    UNTIL(w, s->closed);
    ck_assert_msg(s->status.code == code && strstr(s->status.message.text, words) != NULL, "%s: %s",
                  sy_code_name(s->status.code), s->status.message.text);
    sy_call_unref(s->call);
}

static const Switchyard__V1__ListClustersResponse *list(struct world *w, size_t shard,
                                                        struct sy_arena *arena)
{
    Switchyard__V1__ListClustersRequest m = SWITCHYARD__V1__LIST_CLUSTERS_REQUEST__INIT;
    struct call *c = send_call(w, shard, REGION "ListClusters", &m.base);
    expect(w, c, SY_CODE_OK, "");
    const Switchyard__V1__ListClustersResponse *r = pb_unpack(
        &switchyard__v1__list_clusters_response__descriptor, arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(r);
    return r;
}

/* ---- tests ---- */

START_TEST(what_one_shard_registers_all_know)
{
    struct world *w = &world;
    char token[256];
    struct sy_arena arena;
    open_world(w, 1);
    sy_arena_init(&arena, 1 << 20);
    expect_token(w, create_cluster(w, 0, "c1"), token);
    expect(w, create_cluster(w, 1, "c1"), SY_CODE_ALREADY_EXISTS, "c1 is registered already");
    for (size_t i = 0; i < SHARDS; i++) {
        const Switchyard__V1__ListClustersResponse *r = list(w, i, &arena);
        ck_assert_uint_eq(r->n_clusters, 1);
        ck_assert_str_eq(r->clusters[0]->state, "registered");
        ck_assert_str_eq(r->clusters[0]->reason, "no operator has joined yet");
        ck_assert_str_eq(r->clusters[0]->registration->labels, "zone=b");
        ck_assert_uint_eq(r->clusters[0]->registration->n_tokens, 1);
    }
    expect(w, join(w, 1, token, 1), SY_CODE_OK, "");
    expect(w, join(w, 2, token, 1), SY_CODE_OK, ""); /* again: its answer was lost */
    expect(w, join(w, 2, token, 2), SY_CODE_UNAUTHENTICATED, "used up: 1 of 1 operators");
    ck_assert_uint_eq(list(w, 0, &arena)->clusters[0]->registration->operators, 1);
    sy_arena_deinit(&arena);
    close_world(w);
}
END_TEST

START_TEST(who_has_joined_is_let_in_everywhere_and_nobody_else_as_it)
{
    struct world *w = &world;
    char token[256];
    open_world(w, 2);
    expect_token(w, create_cluster(w, 0, "c1"), token);
    expect(w, join(w, 0, token, 1), SY_CODE_OK, "");
    for (size_t i = 0; i < SHARDS; i++) {
        struct stream s;
        describe(w, &s, i, "c1", 1);
        expect_let_in(w, &s);
        sy_call_finish(s.call, NULL);
        expect_closed(w, &s, SY_CODE_CANCELLED, "");
        describe(w, &s, i, "c1", -1);
        expect_closed(w, &s, SY_CODE_UNAUTHENTICATED, "its operator has no identity");
        operate(w, &s, i, "c1", 1);
        expect_let_in(w, &s);
        sy_call_finish(s.call, NULL);
        expect_closed(w, &s, SY_CODE_CANCELLED, "");
        operate(w, &s, i, "c1", 2);
        expect_closed(w, &s, SY_CODE_UNAUTHENTICATED, "identity has not joined it");
        operate(w, &s, i, "c1", -1);
        expect_closed(w, &s, SY_CODE_UNAUTHENTICATED, "its operator has no identity");
        operate(w, &s, i, "c2", -1); /* the region is open */
        expect_let_in(w, &s);
        struct stream same, another;
        operate(w, &same, i, "c2", -1);
        expect_closed(w, &s, SY_CODE_ABORTED, "a newer stream of this cluster has come");
        expect_let_in(w, &same);
        operate(w, &another, i, "c2", -2);
        expect_closed(w, &same, SY_CODE_ABORTED,
                      "another operator of cluster c2 has come, at s-2: two that have not joined "
                      "take turns; stop one, or register the cluster");
        expect_let_in(w, &another);
        sy_call_finish(another.call, NULL);
        expect_closed(w, &another, SY_CODE_CANCELLED, "");
    }
    close_world(w);
}
END_TEST

static void say(struct world *w, size_t shard, const char *method, enum sy_code code,
                const char *words)
{
    Switchyard__V1__OrderClusterRequest m = SWITCHYARD__V1__ORDER_CLUSTER_REQUEST__INIT;
    m.name = text_of("c1");
    expect(w, send_call(w, shard, method, &m.base), code, words);
}

static void expect_state(struct world *w, size_t shard, const char *state, const char *reason)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const Switchyard__V1__ListClustersResponse *r = list(w, shard, &arena);
    ck_assert_uint_eq(r->n_clusters, 1);
    ck_assert_str_eq(r->clusters[0]->state, state);
    ck_assert_msg(strstr(r->clusters[0]->reason, reason) != NULL, "%s", r->clusters[0]->reason);
    sy_arena_deinit(&arena);
}

/* Its operator hears that what it ran is others' now; of which fence that is so; and, let in again,
 * how many are over. A shard that would not hear of its end does not tell of a fence. */
START_TEST(a_fence_is_told_with_its_number)
{
    struct world *w = &world;
    struct stream follows;
    char token[256];
    open_world(w, 9);
    expect_token(w, create_cluster(w, 0, "c1"), token);
    expect(w, join(w, 1, token, 1), SY_CODE_OK, "");
    for (uint64_t fence = 1; fence <= 2; fence++) {
        describe(w, &follows, fence % SHARDS, "c1", 1);
        expect_let_in(w, &follows);
        ck_assert_uint_eq(follows.fences, fence - 1);
        say(w, 0, CLUSTERS "FenceCluster", SY_CODE_OK, "");
        expect_closed(w, &follows, SY_CODE_FAILED_PRECONDITION, "cluster c1 is fenced");
        ck_assert_ptr_nonnull(strstr(follows.fenced, "what it ran was given to others"));
        ck_assert_uint_eq(follows.fences, fence);
        for (size_t i = 0; i < SHARDS; i++) { /* whoever asks later */
            describe(w, &follows, i, "c1", 1);
            expect_closed(w, &follows, SY_CODE_FAILED_PRECONDITION, "cluster c1 is fenced");
            ck_assert_uint_eq(follows.fences, fence);
        }
        if (fence == 1)
            say(w, 1, CLUSTERS "UnfenceCluster", SY_CODE_OK, "");
        run_for(w, 100 * MS);
    }
    fake_etcd_set_quorum(w->etcd, false);
    run_for(w, 30 * SY_NS_PER_S);
    describe(w, &follows, 0, "c1", 1);
    expect_closed(w, &follows, SY_CODE_FAILED_PRECONDITION, "cluster c1 is fenced");
    ck_assert_str_eq(follows.fenced, "");
    close_world(w);
}
END_TEST

START_TEST(a_fence_closes_the_streams_of_every_shard)
{
    struct world *w = &world;
    struct stream streams[SHARDS], again;
    char token[256];
    open_world(w, 4);
    say(w, 0, CLUSTERS "FenceCluster", SY_CODE_NOT_FOUND, "c1 is not registered");
    expect_token(w, create_cluster(w, 0, "c1"), token);
    expect(w, join(w, 1, token, 1), SY_CODE_OK, "");
    for (size_t i = 0; i < SHARDS; i++) {
        operate(w, &streams[i], i, "c1", 1);
        expect_let_in(w, &streams[i]);
    }
    say(w, 1, CLUSTERS "CordonCluster", SY_CODE_OK, "");
    run_for(w, 100 * MS);
    expect_state(w, 2, "cordoned", "0 still run");
    say(w, 2, CLUSTERS "FenceCluster", SY_CODE_OK, "");
    for (size_t i = 0; i < SHARDS; i++) {
        expect_closed(w, &streams[i], SY_CODE_FAILED_PRECONDITION, "cluster c1 is fenced");
        operate(w, &again, i, "c1", 1);
        expect_closed(w, &again, SY_CODE_FAILED_PRECONDITION, "cluster c1 is fenced");
        expect_state(w, i, "fenced", "given to others");
    }
    say(w, 0, CLUSTERS "UncordonCluster", SY_CODE_FAILED_PRECONDITION, "unfence it first");
    say(w, 0, CLUSTERS "UnfenceCluster", SY_CODE_OK, "");
    run_for(w, 100 * MS);
    for (size_t i = 0; i < SHARDS; i++) {
        operate(w, &again, i, "c1", 1);
        expect_let_in(w, &again);
        sy_call_finish(again.call, NULL);
        expect_closed(w, &again, SY_CODE_CANCELLED, "");
    }
    close_world(w);
}
END_TEST

static void drain(struct world *w, size_t shard, int64_t deadline_ns, enum sy_code code,
                  const char *words)
{
    Switchyard__V1__OrderClusterRequest m = SWITCHYARD__V1__ORDER_CLUSTER_REQUEST__INIT;
    m.name = text_of("c1");
    m.deadline_ns = deadline_ns;
    expect(w, send_call(w, shard, CLUSTERS "DrainCluster", &m.base), code, words);
}

/* What people are told about it is what all partitions say. Here nothing ever runs. */
START_TEST(a_cluster_is_drained_when_every_partition_says_so)
{
    struct world *w = &world;
    struct stream streams[SHARDS], again;
    char token[256];
    open_world(w, 4);
    drain(w, 0, 0, SY_CODE_NOT_FOUND, "c1 is not registered");
    drain(w, 0, -1, SY_CODE_INVALID_ARGUMENT, "deadline_ns: -1; expected 0 to 31536000000000000");
    drain(w, 0, INT64_MAX, SY_CODE_INVALID_ARGUMENT, "which is 365 days");
    expect_token(w, create_cluster(w, 0, "c1"), token);
    drain(w, 1, 0, SY_CODE_OK, "");
    run_for(w, 100 * MS);
    expect_state(w, 2, "drained", "nothing is left there"); /* nobody has joined */
    expect(w, join(w, 1, token, 1), SY_CODE_OK, "");
    for (size_t i = 0; i < SHARDS; i++) {
        operate(w, &streams[i], i, "c1", 1); /* it is let in */
        expect_let_in(w, &streams[i]);
    }
    run_for(w, 100 * MS);
    drain(w, 2, 3600 * SY_NS_PER_S, SY_CODE_OK, "");
    run_for(w, 100 * MS);
    for (size_t i = 0; i < SHARDS; i++)
        expect_state(w, i, "drained", "nothing is left there");
    sy_call_finish(streams[0].call, NULL); /* what is there is not known to that partition */
    expect_closed(w, &streams[0], SY_CODE_CANCELLED, "");
    run_for(w, 100 * MS);
    for (size_t i = 0; i < SHARDS; i++)
        expect_state(w, i, "draining", "1 partition cannot say yet");
    operate(w, &again, 0, "c1", 1);
    expect_let_in(w, &again);
    run_for(w, 100 * MS);
    expect_state(w, 1, "drained", "nothing is left there");
    say(w, 1, CLUSTERS "UnfenceCluster", SY_CODE_FAILED_PRECONDITION, "drained, not fenced");
    say(w, 0, CLUSTERS "UncordonCluster", SY_CODE_OK, "");
    run_for(w, 100 * MS);
    expect_state(w, 2, "ready", "");
    say(w, 0, CLUSTERS "FenceCluster", SY_CODE_OK, "");
    drain(w, 2, 0, SY_CODE_FAILED_PRECONDITION, "c1 is fenced: unfence it first");
    for (size_t i = 1; i < SHARDS; i++)
        expect_closed(w, &streams[i], SY_CODE_FAILED_PRECONDITION, "cluster c1 is fenced");
    expect_closed(w, &again, SY_CODE_FAILED_PRECONDITION, "cluster c1 is fenced");
    close_world(w);
}
END_TEST

/* One of a name that is registered goes when somebody has joined as it. */
START_TEST(who_came_without_a_token_goes_when_another_joins)
{
    struct world *w = &world;
    char token[256];
    struct stream follows, streams[SHARDS];
    open_world(w, 3);
    describe(w, &follows, 0, "c1", -1);
    for (size_t i = 0; i < SHARDS; i++)
        operate(w, &streams[i], i, "c1", -1);
    expect_token(w, create_cluster(w, 0, "c1"), token);
    run_for(w, 100 * MS);
    expect_let_in(w, &follows);
    for (size_t i = 0; i < SHARDS; i++)
        expect_let_in(w, &streams[i]);
    expect(w, join(w, 1, token, 1), SY_CODE_OK, "");
    expect_closed(w, &follows, SY_CODE_UNAUTHENTICATED, "its operator has no identity");
    for (size_t i = 0; i < SHARDS; i++)
        expect_closed(w, &streams[i], SY_CODE_UNAUTHENTICATED, "its operator has no identity");
    close_world(w);
}
END_TEST

START_TEST(tokens_of_elsewhere_change_nothing)
{
    struct world *w = &world;
    char token[256], other[256];
    open_world(w, 4);
    expect_token(w, create_cluster(w, 0, "c1"), token);
    const char *secret = strrchr(token, ':') + 1;
    snprintf(other, sizeof(other), "sy-join:us:c1:%s", secret);
    expect(w, join(w, 0, other, 1), SY_CODE_FAILED_PRECONDITION,
           "the token is of region us, this is region eu");
    snprintf(other, sizeof(other), "sy-join:eu:c2:%s", secret);
    expect(w, join(w, 0, other, 1), SY_CODE_NOT_FOUND, "cluster c2 is not registered");
    snprintf(other, sizeof(other), "%s", token);
    char *last = &other[strlen(other) - 1];
    *last = *last == '0' ? '1' : '0';
    expect(w, join(w, 0, other, 1), SY_CODE_UNAUTHENTICATED, "cluster c1 has no such token");
    expect(w, join(w, 0, "what", 1), SY_CODE_INVALID_ARGUMENT, "this is no token");
    Switchyard__V1__JoinClusterRequest m = SWITCHYARD__V1__JOIN_CLUSTER_REQUEST__INIT;
    m.token = token;
    expect(w, send_call(w, 0, CLUSTERS "JoinCluster", &m.base), SY_CODE_INVALID_ARGUMENT,
           "identity: 0 bytes");
    expect(w, join(w, 1, token, 1), SY_CODE_OK, ""); /* the token was not used by any of them */
    close_world(w);
}
END_TEST

/* Two join at two shards with the last use of a token: their copies are as old, one of them wins.
 */
START_TEST(a_use_is_given_once)
{
    struct world *w = &world;
    char token[256];
    for (uint64_t seed = 10; seed < 20; seed++) {
        open_world(w, seed);
        expect_token(w, create_cluster(w, 0, "c1"), token);
        struct call *calls[SHARDS];
        size_t joined = 0;
        for (size_t i = 0; i < SHARDS; i++) {
            calls[i] = join(w, i, token, (uint8_t)(i + 1));
            calls[i]->reads = true;
        }
        for (size_t i = 0; i < SHARDS; i++) {
            UNTIL(w, calls[i]->call == NULL);
            joined += calls[i]->code == SY_CODE_OK;
            ck_assert_msg(calls[i]->code == SY_CODE_OK || strstr(calls[i]->text, "is used up"),
                          "%s", calls[i]->text);
        }
        ck_assert_uint_eq(joined, 1);
        close_world(w);
    }
}
END_TEST

/* A shard whose copy is behind does not refuse what is so. */
START_TEST(a_refusal_is_not_from_an_old_copy)
{
    struct world *w = &world;
    char token[256];
    for (uint64_t seed = 20; seed < 30; seed++) {
        open_world(w, seed);
        for (size_t i = 0; i < MEMBERS; i++)
            fake_etcd_set_delay(w->etcd, i, 0, (int64_t)sy_rng_below(&w->rng, 200 * MS) + MS);
        expect_token(w, create_cluster(w, 0, "c1"), token);
        expect(w, join(w, 1 + seed % 2, token, 1), SY_CODE_OK, "");
        expect(w, create_cluster(w, 2, "c1"), SY_CODE_ALREADY_EXISTS, "registered already");
        close_world(w);
    }
}
END_TEST

/* Without etcd nothing is changed, and that is said. */
START_TEST(without_etcd_an_order_says_that_it_does_not_know)
{
    struct world *w = &world;
    char token[256];
    open_world(w, 5);
    fake_etcd_set_quorum(w->etcd, false);
    expect(w, create_cluster(w, 0, "c1"), SY_CODE_UNAVAILABLE, "whether cluster c1 was changed");
    fake_etcd_set_quorum(w->etcd, true);
    UNTIL(w, even(w, SHARDS));
    run_for(w, 3 * SY_NS_PER_S);
    expect_token(w, create_cluster(w, 0, "c2"), token);
    close_world(w);
}
END_TEST

static struct call *delete (struct world *w, size_t shard, const char *name)
{
    Switchyard__V1__DeleteClusterRequest m = SWITCHYARD__V1__DELETE_CLUSTER_REQUEST__INIT;
    m.name = text_of(name);
    return send_call(w, shard, CLUSTERS "DeleteCluster", &m.base);
}

/* Its streams end everywhere, it is told so, whichever shard it asks, and nothing of it is left;
 * also in partitions that had no shard at that time. */
START_TEST(a_deleted_cluster_is_gone_everywhere)
{
    struct world *w = &world;
    char token[256];
    struct stream follows, streams[SHARDS];
    struct sy_arena arena;
    open_world(w, 6);
    sy_arena_init(&arena, 1 << 20);
    expect(w, delete (w, 0, "c1"), SY_CODE_NOT_FOUND, "cluster c1 is not registered");
    expect_token(w, create_cluster(w, 0, "c1"), token);
    expect(w, join(w, 1, token, 1), SY_CODE_OK, "");
    describe(w, &follows, 0, "c1", 1);
    for (size_t i = 0; i < SHARDS; i++)
        operate(w, &streams[i], i, "c1", 1);
    run_for(w, 100 * MS);
    ck_assert_str_eq(list(w, 0, &arena)->clusters[0]->state, "ready");
    kill_shard(w, 2); /* its partitions know the cluster */
    expect(w, delete (w, 1, "c1"), SY_CODE_OK, "");
    expect_closed(w, &follows, SY_CODE_PERMISSION_DENIED, "cluster c1 was deleted from region eu");
    ck_assert_ptr_nonnull(strstr(follows.deleted, "cluster c1 was deleted"));
    for (size_t i = 0; i < 2; i++)
        expect_closed(w, &streams[i], SY_CODE_PERMISSION_DENIED, "was deleted");
    UNTIL(w, streams[2].closed);
    sy_call_unref(streams[2].call);
    UNTIL(w, even(w, SHARDS - 1));
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(list(w, 0, &arena)->n_clusters, 0);
    describe(w, &follows, 1, "c1", 1); /* it comes back */
    expect_closed(w, &follows, SY_CODE_PERMISSION_DENIED, "was deleted");
    ck_assert_ptr_nonnull(strstr(follows.deleted, "given to others"));
    expect_token(w, create_cluster(w, 0, "c1"), token);
    expect(w, join(w, 1, token, 1), SY_CODE_FAILED_PRECONDITION, "of a cluster c1 that is deleted");
    expect(w, join(w, 1, token, 2), SY_CODE_OK, "");
    operate(w, &streams[0], 0, "c1", 2);
    expect_let_in(w, &streams[0]);
    operate(w, &streams[1], 0, "c1", 1);
    expect_closed(w, &streams[1], SY_CODE_PERMISSION_DENIED, "was deleted");
    sy_call_unref(streams[0].call);
    sy_arena_deinit(&arena);
    close_world(w);
}
END_TEST

/* ---- which operator is the active one ---- */

/* The session is the identity's byte; `over`: what is to be over, or NULL. */
static struct call *ask_lead(struct world *w, size_t shard, char byte,
                             const Switchyard__V1__LeadClusterResponse *over)
{
    Switchyard__V1__LeadClusterRequest m = SWITCHYARD__V1__LEAD_CLUSTER_REQUEST__INIT;
    char identity[80] = "Bearer ", session[2] = {byte, '\0'};
    for (size_t i = 0; i < 32; i++)
        snprintf(identity + 7 + 2 * i, 3, "%02x", byte);
    const struct sy_metadata metadata[] = {{"x-switchyard-cluster", "c1"},
                                           {"authorization", identity}};
    m.session = m.endpoint = session;
    m.lease_ns = 5 * SY_NS_PER_S;
    if (over != NULL) {
        m.over_term = over->term;
        m.over_renewals = over->renewals;
    }
    w->metadata = metadata;
    w->metadata_count = 2;
    struct call *c = send_call(w, shard, CLUSTERS "LeadCluster", &m.base);
    w->metadata = NULL;
    w->metadata_count = 0;
    c->reads = true;
    return c;
}

static Switchyard__V1__LeadClusterResponse expect_lead(struct world *w, struct call *c, bool active)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    expect(w, c, SY_CODE_OK, "");
    const Switchyard__V1__LeadClusterResponse *r = pb_unpack(
        &switchyard__v1__lead_cluster_response__descriptor, &arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(r);
    ck_assert_int_eq(r->active, active);
    Switchyard__V1__LeadClusterResponse copy = *r;
    copy.endpoint = NULL;
    copy.shards = NULL;
    copy.n_shards = 0;
    sy_arena_deinit(&arena);
    return copy;
}

static void expect_shown(struct world *w, uint64_t term, const char *active, const char *standby)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    run_for(w, 100 * MS);
    for (size_t i = 0; i < SHARDS; i++) {
        const Switchyard__V1__Lead *lead = list(w, i, &arena)->clusters[0]->lead;
        ck_assert_ptr_nonnull(lead);
        ck_assert_uint_eq(lead->term, term);
        ck_assert_str_eq(lead->active, active);
        ck_assert_uint_eq(lead->n_standbys, standby[0] != '\0');
        if (standby[0] != '\0')
            ck_assert_str_eq(lead->standbys[0]->endpoint, standby);
    }
    sy_arena_deinit(&arena);
}

static void open_pair(struct world *w, uint64_t seed)
{
    char token[256];
    Switchyard__V1__CreateClusterRequest m = SWITCHYARD__V1__CREATE_CLUSTER_REQUEST__INIT;
    Switchyard__V1__TokenSettings settings = SWITCHYARD__V1__TOKEN_SETTINGS__INIT;
    open_world(w, seed);
    m.name = text_of("c1");
    m.token = &settings;
    settings.uses = 2;
    expect_token(w, send_call(w, 0, CLUSTERS "CreateCluster", &m.base), token);
    expect(w, join(w, 0, token, 'a'), SY_CODE_OK, "");
    expect(w, join(w, 1, token, 'b'), SY_CODE_OK, "");
    run_for(w, 100 * MS);
}

START_TEST(of_two_that_ask_different_shards_one_is_active)
{
    struct world *w = &world;
    open_pair(w, 11);
    struct call *a = ask_lead(w, 0, 'a', NULL), *b = ask_lead(w, 1, 'b', NULL);
    UNTIL(w, a->call == NULL && b->call == NULL);
    ck_assert(a->code == SY_CODE_OK && b->code == SY_CODE_OK);
    Switchyard__V1__LeadClusterResponse *r[2];
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    r[0] = pb_unpack(&switchyard__v1__lead_cluster_response__descriptor, &arena,
                     sy_buf_span(&a->answer));
    r[1] = pb_unpack(&switchyard__v1__lead_cluster_response__descriptor, &arena,
                     sy_buf_span(&b->answer));
    ck_assert(r[0]->active != r[1]->active);
    bool first = r[0]->active;
    ck_assert_uint_eq(r[first]->term, 1);
    ck_assert_str_eq(r[first]->endpoint, first ? "a" : "b");
    ck_assert_uint_eq(r[first]->n_shards, SHARDS);
    for (size_t i = 0; i < SHARDS; i++) {
        const struct cp_map *map = cp_region_map(w->shards[0].shard->in_region);
        ck_assert_str_eq(r[first]->shards[i], map->shards[i].endpoint);
    }
    expect_shown(w, 1, first ? "a" : "b", first ? "b" : "a");
    /* Both say that nobody has heard of the other: that of the standby counts, once. */
    char standby = first ? 'b' : 'a', active = first ? 'a' : 'b';
    Switchyard__V1__LeadClusterResponse seen = expect_lead(w, ask_lead(w, 2, standby, NULL), false);
    (void)expect_lead(w, ask_lead(w, 0, active, NULL), true);
    seen = expect_lead(w, ask_lead(w, 1, standby, &seen), false); /* it was there meanwhile */
    ck_assert_uint_eq(expect_lead(w, ask_lead(w, 1, standby, &seen), true).term, 2);
    (void)expect_lead(w, ask_lead(w, 0, active, NULL), false);
    expect(w, ask_lead(w, 0, 'x', NULL), SY_CODE_UNAUTHENTICATED, "identity has not joined");
    say(w, 0, CLUSTERS "FenceCluster", SY_CODE_OK, "");
    run_for(w, 100 * MS);
    (void)expect_lead(w, ask_lead(w, 1, standby, NULL), true); /* it is told to stop what it runs */
    expect(w, ask_lead(w, 1, 'x', NULL), SY_CODE_FAILED_PRECONDITION, "is fenced");
    sy_arena_deinit(&arena);
    close_world(w);
}
END_TEST

/* A partition remembers the greatest term that it was shown, wherever it goes. */
START_TEST(an_operator_of_a_term_that_is_over_is_refused)
{
    struct world *w = &world;
    struct stream first, second, old;
    open_pair(w, 12);
    uint32_t partition = first_of(w, 0);
    operate_under(w, &first, 0, partition, "c1", 'a', 1);
    expect_let_in(w, &first);
    operate_under(w, &second, 0, partition, "c1", 'b', 2);
    expect_let_in(w, &second);
    expect_closed(w, &first, SY_CODE_ABORTED, "a newer stream of this cluster has come");
    operate_under(w, &old, 0, partition, "c1", 'a', 1);
    expect_closed(w, &old, SY_CODE_FAILED_PRECONDITION,
                  "term 1 of cluster c1 is over: its active operator is one of term 2");
    ck_assert(!second.closed);
    kill_shard(w, 0);
    expect_closed(w, &second, SY_CODE_UNAVAILABLE, "");
    size_t owner = 0;
    UNTIL(w, (owner = owner % (SHARDS - 1) + 1,
              cp_partition_serving(cp_shard_partition(w->shards[owner].shard, partition))));
    operate_under(w, &old, owner, partition, "c1", 'a', 1); /* before the active one is there */
    expect_closed(w, &old, SY_CODE_FAILED_PRECONDITION, "term 1 of cluster c1 is over");
    operate_under(w, &second, owner, partition, "c1", 'b', 2);
    expect_let_in(w, &second);
    sy_call_finish(second.call, NULL);
    expect_closed(w, &second, SY_CODE_CANCELLED, "");
    close_world(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_one_shard_registers_all_know,
                                  who_has_joined_is_let_in_everywhere_and_nobody_else_as_it,
                                  a_fence_closes_the_streams_of_every_shard,
                                  a_fence_is_told_with_its_number,
                                  a_cluster_is_drained_when_every_partition_says_so,
                                  who_came_without_a_token_goes_when_another_joins,
                                  tokens_of_elsewhere_change_nothing,
                                  a_use_is_given_once,
                                  a_refusal_is_not_from_an_old_copy,
                                  without_etcd_an_order_says_that_it_does_not_know,
                                  a_deleted_cluster_is_gone_everywhere,
                                  of_two_that_ask_different_shards_one_is_active,
                                  an_operator_of_a_term_that_is_over_is_refused,
                                  NULL};
    return sy_test_run("registration", tests);
}
