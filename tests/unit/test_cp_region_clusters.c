/* links: cp sy_test_etcd */
/* What a region of several shards knows of a cluster while only one of its partitions has heard of
 * it: the others have just moved, and its operator is still on its way to where they are. */
#include "tests/unit/cp_region_world.h"

#include "flyteidl2/cluster/payload.pb-c.h"
#include "switchyard/internal/dataplane.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"

#define SELECT "/flyteidl2.cluster.ClusterService/SelectCluster"
#define REGION "/switchyard.v1.RegionService/"

/* ---- an operator with one stream ---- */

struct operator
{
    struct sy_call *call;
    bool closed;
};

static struct operator operator;

static void on_shard_message(void *ctx, struct sy_span bytes)
{
    (void)ctx;
    (void)bytes;
}

static void on_stream_closed(void *ctx, const struct sy_status *status)
{
    struct operator* o = ctx;
    (void)status;
    o->closed = true;
}

static void say_hello(struct operator* o, uint32_t partition)
{
    Switchyard__Internal__OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__OperatorHello hello = SWITCHYARD__INTERNAL__OPERATOR_HELLO__INIT;
    Switchyard__Internal__NodeStatus node = SWITCHYARD__INTERNAL__NODE_STATUS__INIT;
    Switchyard__Internal__NodeStatus *nodes[] = {&node};
    Switchyard__Internal__Resources capacity = SWITCHYARD__INTERNAL__RESOURCES__INIT;
    hello.partition = partition;
    hello.cluster = text_of("c1");
    hello.session = text_of("s1");
    hello.endpoint = text_of("cluster-1:9000");
    capacity.cpu_milli = 8000;
    node.name = text_of("n1");
    node.state = text_of("ready");
    node.capacity = &capacity;
    node.running = 3;
    m.hello = &hello;
    m.nodes_set = m.inventory_complete = true;
    m.n_nodes = 1;
    m.nodes = nodes;
    struct sy_buf bytes = {0};
    pb_pack(&m.base, &bytes);
    ck_assert_int_eq(sy_call_send(o->call, &bytes), 0);
}

static void attach(struct operator* o, struct world *w, size_t shard, uint32_t partition)
{
    static const struct sy_call_sink sink = {.on_message = on_shard_message,
                                             .on_closed = on_stream_closed};
    char number[16];
    snprintf(number, sizeof(number), "%u", partition);
    const struct sy_metadata metadata = {"x-switchyard-partition", number};
    struct sy_call_options options = {.method = "/switchyard.internal.ControlPlane/Operate",
                                      .metadata = &metadata,
                                      .metadata_count = 1};
    *o = (struct operator){0};
    o->call = sy_channel_open(w->shards[shard].channel, w->loop, &options, &sink, o);
    say_hello(o, partition);
    run_for(w, 20 * MS);
    ck_assert(!o->closed);
}

/* The greatest partition of the last shard: no other question is answered from there. */
static uint32_t last_of(const struct world *w, size_t shard)
{
    for (uint32_t i = PARTITIONS; i-- > 0;) {
        if (cp_partition_serving(cp_shard_partition(w->shards[shard].shard, i)))
            return i;
    }
    ck_abort_msg("it has none");
}

/* ---- questions ---- */

static struct call *select_by(struct world *w, size_t shard, const char *cluster)
{
    Flyteidl2__Cluster__SelectClusterRequest m = FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__INIT;
    Flyteidl2__Common__ClusterIdentifier id = FLYTEIDL2__COMMON__CLUSTER_IDENTIFIER__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    project.name = text_of("p");
    project.domain = text_of("d");
    id.name = text_of(cluster);
    m.resource_case = cluster != NULL
                          ? FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_CLUSTER_ID
                          : FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_PROJECT_ID;
    if (cluster != NULL)
        m.cluster_id = &id;
    else
        m.project_id = &project;
    struct call *c = send_call(w, shard, SELECT, &m.base);
    c->reads = true;
    return c;
}

static struct call *select_for_root(struct world *w, size_t shard, const char *name)
{
    Flyteidl2__Cluster__SelectClusterRequest m = FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__INIT;
    Flyteidl2__Common__ActionIdentifier id = FLYTEIDL2__COMMON__ACTION_IDENTIFIER__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    run.project = text_of("p");
    run.domain = text_of("d");
    run.name = text_of(name);
    id.run = &run;
    id.name = text_of("a0");
    m.resource_case = FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_ACTION_ID;
    m.action_id = &id;
    struct call *c = send_call(w, shard, SELECT, &m.base);
    c->reads = true;
    return c;
}

static void expect_cluster(struct world *w, struct call *c, const char *name, const char *endpoint)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    expect_ok(w, c);
    const Flyteidl2__Cluster__SelectClusterResponse *r = pb_unpack(
        &flyteidl2__cluster__select_cluster_response__descriptor, &arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(r);
    ck_assert_str_eq(r->cluster, name);
    ck_assert_str_eq(r->cluster_endpoint, endpoint);
    sy_arena_deinit(&arena);
}

static void expect_nodes(struct world *w, size_t shard, const char *cluster, size_t count)
{
    Switchyard__V1__ListNodesRequest m = SWITCHYARD__V1__LIST_NODES_REQUEST__INIT;
    m.cluster = text_of(cluster);
    struct call *c = send_call(w, shard, REGION "ListNodes", &m.base);
    c->reads = true;
    UNTIL(w, c->call == NULL);
    if (count == 0) {
        ck_assert_int_eq(c->code, SY_CODE_NOT_FOUND);
        return;
    }
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const Switchyard__V1__ListNodesResponse *r = pb_unpack(
        &switchyard__v1__list_nodes_response__descriptor, &arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(r);
    ck_assert_uint_eq(r->n_nodes, count);
    ck_assert_str_eq(r->nodes[0]->name, "n1");
    ck_assert_str_eq(r->nodes[0]->cluster, "c1");
    ck_assert_uint_eq(r->nodes[0]->running, 3);
    sy_arena_deinit(&arena);
}

/* ---- tests ---- */

START_TEST(any_shard_finds_a_cluster_that_one_partition_knows)
{
    struct world *w = &world;
    open_world(w, 1);
    struct call *run = create_some(w, 0);
    expect_ok(w, run);
    for (size_t shard = 0; shard < SHARDS; shard++)
        expect_cluster(w, select_by(w, shard, NULL), "", ""); /* there is none */
    attach(&operator, w, 2, last_of(w, 2));
    for (size_t shard = 0; shard < SHARDS; shard++) {
        expect_cluster(w, select_by(w, shard, NULL), "c1", "cluster-1:9000");
        expect_cluster(w, select_by(w, shard, "c1"), "c1", "cluster-1:9000");
        expect_cluster(w, select_for_root(w, shard, run->run), "c1", "cluster-1:9000");
        struct call *c = select_by(w, shard, "c2");
        UNTIL(w, c->call == NULL);
        ck_assert_int_eq(c->code, SY_CODE_NOT_FOUND);
        ck_assert_ptr_nonnull(strstr(c->text, "cluster 'c2' is not registered"));
        expect_nodes(w, shard, "", 1);
        expect_nodes(w, shard, "c1", 1);
        expect_nodes(w, shard, "c2", 0);
    }
    sy_call_unref(operator.call);
    close_world(w);
}
END_TEST

/* Without a shard that answers for its partitions the others' clusters are found all the same. */
START_TEST(who_stands_still_does_not_hide_clusters)
{
    struct world *w = &world;
    open_world(w, 2);
    attach(&operator, w, 2, last_of(w, 2));
    w->shards[1].paused = true;
    struct call *c = select_by(w, 0, NULL);
    expect_cluster(w, c, "c1", "cluster-1:9000");
    ck_assert_int_lt(c->ended_ns - c->begun_ns, 2500 * MS);
    w->shards[1].paused = false;
    sy_call_unref(operator.call);
    close_world(w);
}
END_TEST

static void order(struct world *w, size_t shard, const char *node, enum sy_code code,
                  const char *text)
{
    Switchyard__V1__OrderNodeRequest m = SWITCHYARD__V1__ORDER_NODE_REQUEST__INIT;
    m.node = text_of(node);
    struct call *c = send_call(w, shard, REGION "CordonNode", &m.base);
    c->reads = true;
    UNTIL(w, c->call == NULL);
    ck_assert_msg(c->code == code && strstr(c->text, text) != NULL, "%s: %s", sy_code_name(c->code),
                  c->text);
}

/* A partition that has moved knows the cluster by name, and nothing of its nodes: who orders one is
 * not told that it does not exist. */
START_TEST(an_order_for_what_is_not_known_yet_may_be_tried_again)
{
    struct world *w = &world;
    open_world(w, 3);
    size_t shard = 0; /* with the partition that its orders go through */
    while (!cp_partition_serving(cp_shard_partition(w->shards[shard].shard, 0)))
        shard++;
    order(w, shard, "n1", SY_CODE_NOT_FOUND, "no cluster has a node 'n1'");
    attach(&operator, w, shard, 0);
    order(w, shard, "n2", SY_CODE_NOT_FOUND, "no cluster has a node 'n2'");
    for (size_t i = 0; i < SHARDS; i++)
        kill_shard(w, i);
    start_shard(w, shard);
    UNTIL(w, owned_by(w, shard) == PARTITIONS);
    order(w, shard, "n1", SY_CODE_UNAVAILABLE, "cluster 'c1' has not told of its nodes");
    sy_call_unref(operator.call);
    close_world(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {any_shard_finds_a_cluster_that_one_partition_knows,
                                  who_stands_still_does_not_hide_clusters,
                                  an_order_for_what_is_not_known_yet_may_be_tried_again, NULL};
    return sy_test_run("region_clusters", tests);
}
