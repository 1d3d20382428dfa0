/* links: cp */
/* A region of one shard, without an etcd: partition 0 keeps what is registered. */
#include "tests/unit/cp_requests.h"

#include "switchyard/v1/cluster_service.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"

#define CLUSTERS "/switchyard.v1.ClusterService/"

static struct world w;

static const char *create(const char *name)
{
    Switchyard__V1__CreateClusterRequest m = SWITCHYARD__V1__CREATE_CLUSTER_REQUEST__INIT;
    m.name = text_of(name);
    const Switchyard__V1__CreateClusterResponse *r = call_ok(
        &w, CLUSTERS "CreateCluster", &m.base,
        &switchyard__v1__create_cluster_response__descriptor);
    return r->secret;
}

static Switchyard__V1__JoinClusterRequest join_request(const char *token, uint8_t identity[32])
{
    Switchyard__V1__JoinClusterRequest m = SWITCHYARD__V1__JOIN_CLUSTER_REQUEST__INIT;
    m.token = text_of(token);
    m.identity = (ProtobufCBinaryData){32, identity};
    return m;
}

static const Switchyard__V1__ListClustersResponse *list(void)
{
    Switchyard__V1__ListClustersRequest m = SWITCHYARD__V1__LIST_CLUSTERS_REQUEST__INIT;
    return call_ok(&w, REGION "ListClusters", &m.base,
                   &switchyard__v1__list_clusters_response__descriptor);
}

START_TEST(registrations_outlive_the_shard)
{
    uint8_t identity[32] = {1}, another[32] = {2};
    world_init_for(&w, _i);
    const char *token = create("a");
    (void)create("b");
    Switchyard__V1__JoinClusterRequest m = join_request(token, identity);
    const Switchyard__V1__JoinClusterResponse *r = call_ok(
        &w, CLUSTERS "JoinCluster", &m.base, &switchyard__v1__join_cluster_response__descriptor);
    ck_assert_str_eq(r->cluster, "a");
    world_restart(&w);
    const Switchyard__V1__ListClustersResponse *clusters = list();
    ck_assert_uint_eq(clusters->n_clusters, 3); /* and that of the operator that is here */
    ck_assert_str_eq(clusters->clusters[0]->name, "a");
    ck_assert_uint_eq(clusters->clusters[0]->registration->operators, 1);
    ck_assert_str_eq(clusters->clusters[1]->name, "b");
    ck_assert_str_eq(clusters->clusters[2]->name, "c1");
    ck_assert_ptr_null(clusters->clusters[2]->registration);
    ck_assert_str_eq(clusters->clusters[2]->state, "ready");
    call_ok(&w, CLUSTERS "JoinCluster", &m.base, NULL); /* it has */
    Switchyard__V1__JoinClusterRequest late = join_request(token, another);
    call_fails(&w, CLUSTERS "JoinCluster", &late.base, SY_CODE_UNAUTHENTICATED, "is used up");
    Switchyard__V1__CreateClusterRequest again = SWITCHYARD__V1__CREATE_CLUSTER_REQUEST__INIT;
    again.name = text_of("b");
    call_fails(&w, CLUSTERS "CreateCluster", &again.base, SY_CODE_ALREADY_EXISTS,
               "b is registered already");
    world_deinit(&w);
}
END_TEST

static void delete (const char *name)
{
    Switchyard__V1__DeleteClusterRequest m = SWITCHYARD__V1__DELETE_CLUSTER_REQUEST__INIT;
    m.name = text_of(name);
    call_ok(&w, CLUSTERS "DeleteCluster", &m.base, NULL);
}

static uint64_t queued(void)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < w.partitions; i++)
        count += cp_partition_counts(cp_shard_partition(w.shard, i)).queued;
    return count;
}

/* Its work waits for others at once, with the lease not over, and so after a restart. */
START_TEST(a_deleted_cluster_leaves_no_work_behind)
{
    struct fake_stream *s;
    world_init_for(&w, _i);
    (void)create("c1");
    create_run(&w, "r1", "python");
    struct fake_attempt *attempt = assigned(&w, "a0", &s);
    fake_start(s, attempt);
    world_for(&w, 100 * SY_NS_PER_MS);
    ck_assert_uint_eq(queued(), 0);
    int64_t began_ns = w.now_ns;
    delete ("c1");
    world_until(&w, queued() == 1);
    ck_assert_int_lt(w.now_ns - began_ns, 100 * SY_NS_PER_MS);
    for (uint32_t i = 0; i < w.partitions; i++)
        world_until(&w, w.streams[i].closed);
    ck_assert_uint_eq(list()->n_clusters, 0);
    world_restart(&w); /* its operator comes again, and is not let in */
    world_for(&w, SY_NS_PER_S);
    ck_assert_uint_eq(queued(), 1); /* nobody is waited for */
    ck_assert_uint_eq(list()->n_clusters, 0);
    (void)create("c1");
    world_restart(&w);
    world_for(&w, SY_NS_PER_S);
    ck_assert_uint_eq(queued(), 0); /* another of its name has it */
    world_deinit(&w);
}
END_TEST

/* A commit that fails: whether it was taken is not known, and what is there is read again. */
START_TEST(a_disk_that_fails_is_no_answer)
{
    world_init(&w, 1);
    (void)create("a");
    cp_mem_disk_set(w.disks[0], 100 * SY_NS_PER_US, 0); /* the next commit fails */
    Switchyard__V1__CreateClusterRequest m = SWITCHYARD__V1__CREATE_CLUSTER_REQUEST__INIT;
    m.name = text_of("b");
    call_fails(&w, CLUSTERS "CreateCluster", &m.base, SY_CODE_UNAVAILABLE,
               "whether cluster b was changed is not known");
    cp_mem_disk_set(w.disks[0], 100 * SY_NS_PER_US, -1);
    world_until(&w, cp_partition_serving(cp_shard_partition(w.shard, 0)));
    world_for(&w, SY_NS_PER_S);
    ck_assert_uint_eq(list()->n_clusters, 2); /* a, and the operator's */
    (void)create("b");
    ck_assert_uint_eq(list()->n_clusters, 3);
    world_deinit(&w);
}
END_TEST

/* Calls at one moment are carried out one after the other. */
START_TEST(orders_at_one_time_wait_for_each_other)
{
    enum { COUNT = 20 };
    struct reply replies[COUNT];
    world_init(&w, 1);
    for (int i = 0; i < COUNT; i++) {
        Switchyard__V1__CreateClusterRequest m = SWITCHYARD__V1__CREATE_CLUSTER_REQUEST__INIT;
        char name[16];
        snprintf(name, sizeof(name), "c-%d", i / 2); /* each twice */
        m.name = name;
        struct call call = {.method = CLUSTERS "CreateCluster", .request = &m.base};
        call_start(&w, &call, &replies[i]);
    }
    int made = 0;
    for (int i = 0; i < COUNT; i++) {
        world_until(&w, replies[i].done);
        made += replies[i].code == SY_CODE_OK;
        ck_assert(replies[i].code == SY_CODE_OK || replies[i].code == SY_CODE_ALREADY_EXISTS);
        sy_buf_deinit(&replies[i].bytes);
    }
    ck_assert_int_eq(made, COUNT / 2);
    ck_assert_uint_eq(list()->n_clusters, COUNT / 2 + 1);
    world_deinit(&w);
}
END_TEST

START_TEST(where_registration_is_required_nobody_else_comes)
{
    world_init_stopped(&w, 3);
    w.options.registration_required = true;
    world_connect(&w);
    operator_connect(&w);
    world_for(&w, SY_NS_PER_S);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert(w.streams[i].closed);
    ck_assert_uint_eq(list()->n_clusters, 0);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {registrations_outlive_the_shard,
                                 a_deleted_cluster_leaves_no_work_behind, NULL};
    const TTest *const once[] = {a_disk_that_fails_is_no_answer,
                                 orders_at_one_time_wait_for_each_other,
                                 where_registration_is_required_nobody_else_comes, NULL};
    return world_tests("registration_kept", each, once);
}
