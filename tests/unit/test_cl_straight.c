/* links: cl cp */
/* Calls that go straight to the shard that has a run: two servers in memory, of which one tells the
 * map. */
#include "base/mem.h"
#include "controlplane/names.h"
#include "controlplane/ranges.h"
#include "proto/pb.h"
#include "tests/lib/test.h"
#include "tools/src/cl_methods.h"
#include "tools/src/cl_straight.h"

#include <stdio.h>
#include <string.h>

#define PARTITIONS 4
#define CALLS 40

struct world;

struct server {
    struct world *world;
    const char *address;
    struct sy_server *server;
    unsigned heard;    /* calls about runs */
    unsigned messages; /* to it, of all kinds */
};

struct world {
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct server servers[2];
    struct cl_client *client;
    struct sy_call *watch; /* NULL: nobody watches */
    unsigned watches;
    bool unimplemented;
    unsigned drained;
    /* the answer to the last call */
    bool answered;
    enum cl_exit exit;
    unsigned answers; /* OK */
};

static void on_create(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct server *server = ctx;
    struct sy_buf empty = {0};
    (void)request;
    server->heard++;
    sy_call_reply(call, &empty);
}

static enum sy_fault on_message(void *ctx, const char *from, const char *to, int64_t *ret_delay_ns)
{
    struct world *w = ctx;
    (void)from;
    *ret_delay_ns = 0;
    for (size_t i = 0; i < 2; i++)
        w->servers[i].messages += strcmp(to, w->servers[i].address) == 0;
    return SY_FAULT_DELIVER;
}

/* Each partition on the first or second server: "0101"; '-': on none. With ranges, or as an older
 * version tells it. */
static void tell_ranges(struct world *w, const char *owners, const struct cp_range *ranges)
{
    Switchyard__V1__GetRegionMapResponse map = SWITCHYARD__V1__GET_REGION_MAP_RESPONSE__INIT;
    Switchyard__V1__Shard shards[2], *shard_list[2];
    Switchyard__V1__PartitionPlace places[PARTITIONS], *place_list[PARTITIONS];
    static const char *const names[] = {"shard-a", "shard-b"};
    for (size_t i = 0; i < 2; i++) {
        switchyard__v1__shard__init(&shards[i]);
        shards[i].name = cl_unconst(names[i]);
        shards[i].endpoint = cl_unconst(w->servers[i].address);
        shard_list[i] = &shards[i];
    }
    for (size_t i = 0; i < PARTITIONS; i++) {
        switchyard__v1__partition_place__init(&places[i]);
        places[i].partition = (uint32_t)i;
        if (ranges) {
            places[i].first_hash = ranges[i].first;
            places[i].last_hash = ranges[i].last;
        }
        if (owners[i] != '-')
            places[i].shard = cl_unconst(names[owners[i] - '0']);
        place_list[i] = &places[i];
    }
    map.n_shards = 2;
    map.shards = shard_list;
    map.n_partitions = PARTITIONS;
    map.partitions = place_list;
    struct sy_buf bytes = {0};
    pb_pack(&map.base, &bytes);
    ck_assert_int_eq(sy_call_send(w->watch, &bytes), 0);
}

static void tell(struct world *w, const char *owners)
{
    tell_ranges(w, owners, NULL);
}

static void on_watch_closed(void *ctx, const struct sy_status *status)
{
    struct world *w = ctx;
    (void)status;
    sy_call_unref(sy_take(w->watch));
}

static void on_watch(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink sink = {.on_closed = on_watch_closed};
    struct world *w = ((struct server *)ctx)->world;
    (void)request;
    w->watches++;
    if (w->unimplemented) {
        sy_call_fail(call, SY_CODE_UNIMPLEMENTED, "an older version");
        return;
    }
    w->watch = call;
    sy_call_set_sink(call, &sink, w);
}

static void world_init(struct world *w)
{
    *w = (struct world){.servers = {{w, "a:1"}, {w, "b:1"}}};
    struct sy_rpc_mem_plan plan = {.on_message = on_message, .ctx = w};
    struct sy_error_text error;
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, &plan), 0);
    for (size_t i = 0; i < 2; i++) {
        struct server *s = &w->servers[i];
        struct sy_server_options options = {.address = s->address};
        const struct sy_method methods[] = {
            {cl_create_run.path, SY_METHOD_UNARY, on_create, s, w->loop, 0},
            {cl_watch_region_map.path, SY_METHOD_SERVER_STREAM, on_watch, s, w->loop, 0},
        };
        ck_assert_int_eq(sy_server_new(&s->server, w->rpc, &options, &error), 0);
        for (size_t k = 0; k < SY_COUNT_OF(methods); k++)
            sy_server_add(s->server, &methods[k]);
        sy_server_carry(s->server, w->loop);
        ck_assert_int_eq(sy_server_start(s->server, &error), 0);
    }
    sy_rpc_mem_set_origin(w->rpc, "client");
    struct cl_options client = {
        .endpoint = "a:1", .project = "p", .domain = "d", .timeout_ns = 60 * SY_NS_PER_S};
    w->client = cl_client_new_on(w->rpc, w->loop, &client);
}

static void world_deinit(struct world *w)
{
    cl_client_free(w->client);
    for (size_t i = 0; i < 2; i++)
        sy_server_free(w->servers[i].server);
    if (w->watch)
        sy_call_unref(w->watch);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
}

static void on_reply(void *ctx, const struct cl_error *error, const void *response)
{
    struct world *w = ctx;
    (void)response;
    w->answered = true;
    w->exit = error->exit;
    w->answers += error->exit == CL_OK;
}

static bool is_answered(void *ctx)
{
    return ((struct world *)ctx)->answered;
}

static void run_in(uint32_t partition, char ret[CL_RUN_NAME_MAX])
{
    static unsigned made;
    do
        snprintf(ret, CL_RUN_NAME_MAX, "run-%u", made++);
    while (cl_partition_of("p", "d", ret, PARTITIONS) != partition);
}

static void start_call(struct world *w, const char *name)
{
    struct cl_start_options options = {.run = name};
    struct sy_buf request = {0};
    cl_start(w->client, &cl_create_run, &request, &options, on_reply, w);
}

/* Which server heard a call about that run; -1: none. */
static int call_for_run(struct world *w, const char *name)
{
    unsigned before[2] = {w->servers[0].heard, w->servers[1].heard};
    w->answered = false;
    start_call(w, name);
    ck_assert(cl_wait(w->client, is_answered, w, 0));
    for (int i = 0; i < 2; i++)
        if (w->servers[i].heard > before[i])
            return i;
    return -1;
}

static int call_for(struct world *w, uint32_t partition)
{
    char name[CL_RUN_NAME_MAX];
    run_in(partition, name);
    return call_for_run(w, name);
}

/* What is under way arrives; each millisecond is a turn of the loop at least. */
static void settle(struct world *w)
{
    for (unsigned i = 0; i < 20; i++)
        cl_sleep(w->client, SY_NS_PER_MS);
}

static void follow(struct world *w, const char *owners)
{
    for (int i = 0; i < 6000 && !w->watch; i++)
        cl_sleep(w->client, 10 * SY_NS_PER_MS);
    ck_assert_ptr_nonnull(w->watch);
    tell(w, owners);
    settle(w);
}

/* ---- tests ---- */

START_TEST(test_the_partition_of_a_run_is_the_shard_s)
{
    for (uint32_t count = 1; count <= 256; count += 17) {
        for (unsigned i = 0; i < 500; i++) {
            char name[32];
            snprintf(name, sizeof(name), "run-%u", i);
            ck_assert_uint_eq(cl_partition_of("proj", "dom", name, count),
                              cp_range_even_of(cp_name_hash("proj", "dom", name), count));
        }
    }
    /* It never changes: runs lie where it says. */
    ck_assert_uint_eq(cl_partition_of("default", "development", "r1", 1000000), 222827);
}
END_TEST

START_TEST(test_calls_follow_the_map)
{
    struct world w;
    world_init(&w);
    ck_assert_int_eq(call_for(&w, 1), 0); /* to the endpoint, without a map */
    cl_straight_begin(w.client);
    ck_assert_int_eq(call_for(&w, 1), 0);
    follow(&w, "0101");
    for (uint32_t p = 0; p < PARTITIONS; p++)
        ck_assert_int_eq(call_for(&w, p), p % 2);
    tell(&w, "1-00");
    settle(&w);
    ck_assert_int_eq(call_for(&w, 0), 1);
    ck_assert_int_eq(call_for(&w, 1), 0); /* nobody has it: the endpoint waits for it */
    ck_assert_int_eq(call_for(&w, 3), 0);
    ck_assert_uint_eq(w.watches, 1);
    world_deinit(&w);
}
END_TEST

START_TEST(test_calls_follow_the_ranges_of_the_map)
{
    struct world w;
    world_init(&w);
    cl_straight_begin(w.client);
    follow(&w, "0000");
    /* A quarter each, but the third has given the upper half of its own to the last. */
    uint64_t half = cp_range_even(2, 4).first + (UINT64_MAX >> 3);
    const struct cp_range ranges[PARTITIONS] = {{0, cp_range_even(0, 4).last},
                                                {cp_range_even(3, 4).first, UINT64_MAX},
                                                {cp_range_even(1, 4).first, half},
                                                {half + 1, cp_range_even(2, 4).last}};
    tell_ranges(&w, "0101", ranges);
    settle(&w);
    ck_assert_int_eq(call_for(&w, 3), 1);
    ck_assert_int_eq(call_for(&w, 0), 0);
    ck_assert_int_eq(call_for(&w, 1), 0);
    bool there[2] = {false};
    for (unsigned i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof(name), "run-%u", i);
        uint64_t hash = cp_name_hash("p", "d", name);
        if (cp_range_even_of(hash, 4) != 2)
            continue;
        ck_assert_int_eq(call_for_run(&w, name), hash > half);
        there[hash > half] = true;
    }
    ck_assert(there[0] && there[1]);
    world_deinit(&w);
}
END_TEST

START_TEST(test_calls_to_one_shard_share_messages)
{
    struct world w;
    world_init(&w);
    cl_straight_begin(w.client);
    follow(&w, "0101");
    ck_assert_int_eq(call_for(&w, 0), 0); /* the first ones begin the streams */
    ck_assert_int_eq(call_for(&w, 1), 1);
    settle(&w);
    unsigned before[2] = {w.servers[0].messages, w.servers[1].messages};
    w.answers = 0;
    for (unsigned i = 0; i < CALLS; i++) {
        char name[CL_RUN_NAME_MAX];
        run_in(i % PARTITIONS, name);
        start_call(&w, name);
    }
    for (unsigned i = 0; i < 1000 && w.answers < CALLS; i++)
        settle(&w);
    ck_assert_uint_eq(w.answers, CALLS);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_uint_eq(w.servers[i].heard, 1 + CALLS / 2);
        ck_assert_uint_eq(w.servers[i].messages - before[i], 1);
    }
    world_deinit(&w);
}
END_TEST

START_TEST(test_a_shard_that_does_not_answer_is_avoided)
{
    struct world w;
    world_init(&w);
    cl_straight_begin(w.client);
    follow(&w, "0101");
    ck_assert_int_eq(call_for(&w, 3), 1);
    sy_rpc_mem_kill(w.rpc, "b:1");
    ck_assert_int_eq(call_for(&w, 3), -1);
    ck_assert_int_eq(w.exit, CL_UNREACHABLE); /* whoever calls knows whether it may be repeated */
    ck_assert_int_eq(call_for(&w, 3), 0);
    ck_assert_int_eq(call_for(&w, 1), 0);
    world_deinit(&w);
}
END_TEST

START_TEST(test_a_watch_that_ends_begins_again)
{
    struct world w;
    world_init(&w);
    cl_straight_begin(w.client);
    follow(&w, "1111");
    struct sy_status status = {.code = SY_CODE_UNAVAILABLE, .message = {"the shard stops"}};
    sy_call_finish(w.watch, &status);
    settle(&w);
    ck_assert_int_eq(call_for(&w, 2), 1); /* by the last map */
    follow(&w, "0000");
    ck_assert_int_eq(call_for(&w, 2), 0);
    ck_assert_uint_eq(w.watches, 2);
    world_deinit(&w);
}
END_TEST

START_TEST(test_an_older_shard_has_no_map)
{
    struct world w;
    world_init(&w);
    w.unimplemented = true;
    cl_straight_begin(w.client);
    cl_sleep(w.client, 1200 * SY_NS_PER_MS);
    ck_assert_uint_eq(w.watches, 1); /* and is not asked again */
    ck_assert_int_eq(call_for(&w, 1), 0);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_the_partition_of_a_run_is_the_shard_s,
        test_calls_follow_the_map,
        test_calls_follow_the_ranges_of_the_map,
        test_calls_to_one_shard_share_messages,
        test_a_shard_that_does_not_answer_is_avoided,
        test_a_watch_that_ends_begins_again,
        test_an_older_shard_has_no_map,
        NULL,
    };
    return sy_test_run("cl_straight", tests);
}
