/* links: dp */
/* How an operator gets its identity: the file, the call, and what the configuration adds. */
#pragma GCC diagnostic ignored "-Wcast-qual" /* protobuf-c's __INIT macros */

#include "base/file.h"
#include "base/mem.h"
#include "dataplane/config.h"
#include "dataplane/join.h"
#include "proto/pb.h"
#include "switchyard/v1/cluster_service.pb-c.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static void make_dir(void)
{
    snprintf(dir, sizeof(dir), "/tmp/test_dp_join.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

/* ---- the file ---- */

START_TEST(an_identity_is_kept_for_nobody_else)
{
    struct dp_identity identity, read;
    struct sy_error_text error = {0};
    struct stat info;
    bool found = true;
    char path[128];
    make_dir();
    snprintf(path, sizeof(path), "%s/identity", dir);
    ck_assert_int_eq(dp_identity_load(&read, &found, dir, &error), 0);
    ck_assert(!found);
    ck_assert_int_eq(dp_identity_make(&identity, &error), 0);
    ck_assert_int_eq(dp_identity_save(&identity, dir, &error), 0); /* before it has joined */
    ck_assert_int_eq(dp_identity_load(&read, &found, dir, &error), 0);
    ck_assert(found && read.cluster[0] == '\0');
    snprintf(identity.cluster, sizeof(identity.cluster), "gpu-east");
    snprintf(identity.region, sizeof(identity.region), "eu");
    snprintf(identity.labels, sizeof(identity.labels), "disk=ssd,zone=b");
    identity.core_price_micros = 40000;
    ck_assert_int_eq(dp_identity_save(&identity, dir, &error), 0);
    ck_assert_int_eq(dp_identity_load(&read, &found, dir, &error), 0);
    ck_assert_mem_eq(read.secret, identity.secret, sizeof(read.secret));
    ck_assert_str_eq(read.cluster, "gpu-east");
    ck_assert_str_eq(read.labels, "disk=ssd,zone=b");
    ck_assert_int_eq(read.core_price_micros, 40000);
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0600);
    ck_assert_int_eq(chmod(path, 0640), 0);
    ck_assert_int_eq(dp_identity_load(&read, &found, dir, &error), -EACCES);
    ck_assert_ptr_nonnull(strstr(error.text, "expected mode 0600"));
    sy_remove_tree(dir);
}
END_TEST

START_TEST(a_damaged_identity_is_not_used)
{
    static const char *const damage[] = {
        "", "secret 00\n", "what\n",
        "secret 0000000000000000000000000000000000000000000000000000000000000000\n"};
    struct dp_identity read;
    struct sy_error_text error;
    bool found;
    char path[128];
    make_dir();
    snprintf(path, sizeof(path), "%s/identity", dir);
    for (size_t i = 0; i < SY_COUNT_OF(damage); i++) {
        ck_assert_int_eq(sy_file_write_atomic(path, damage[i], strlen(damage[i])), 0);
        error.text[0] = '\0';
        ck_assert_int_eq(dp_identity_load(&read, &found, dir, &error), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error.text, "damaged; remove it"));
        ck_assert_ptr_null(strstr(error.text, "000000"));
    }
    sy_remove_tree(dir);
}
END_TEST

/* ---- the call ---- */

struct world {
    int64_t now_ns;
    struct sy_clock clock;
    struct sy_loop *loop, *peers;
    struct sy_rpc *rpc;
    struct sy_server *servers[2];
    size_t calls[2];
    enum sy_code code; /* of the first; OK: it is let in */
    size_t fail;       /* so many calls fail so; then OK */
    uint8_t identity[32];
    bool done;
    int r;
    struct sy_error_text error;
};

static struct world world;

static int64_t clock_ns(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static void on_join(void *ctx, struct sy_call *call, struct sy_span bytes)
{
    struct world *w = &world;
    size_t at = (size_t)((struct sy_server **)ctx - w->servers);
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const Switchyard__V1__JoinClusterRequest *m = pb_unpack(
        &switchyard__v1__join_cluster_request__descriptor, &arena, bytes);
    ck_assert_ptr_nonnull(m);
    ck_assert_str_eq(m->token, "sy-join:r:c:00");
    ck_assert_uint_eq(m->identity.len, 32);
    if (w->calls[0] + w->calls[1] > 0)
        ck_assert_mem_eq(m->identity.data, w->identity, 32); /* the same each time */
    memcpy(w->identity, m->identity.data, 32);
    w->calls[at]++;
    if (w->fail > 0) {
        w->fail--;
        sy_call_fail(call, w->code, "says the shard");
    } else {
        Switchyard__V1__JoinClusterResponse answer = SWITCHYARD__V1__JOIN_CLUSTER_RESPONSE__INIT;
        struct sy_buf reply = {0};
        answer.cluster = (char *)"c";
        answer.region = (char *)"eu";
        answer.labels = (char *)"a=b";
        answer.core_price_micros = 5;
        pb_pack(&answer.base, &reply);
        sy_call_reply(call, &reply);
    }
    sy_arena_deinit(&arena);
}

static void open_world(void)
{
    static const char *const names[] = {"shard0:1", "shard1:1"};
    struct world *w = &world;
    *w = (struct world){.now_ns = SY_NS_PER_S};
    w->clock = (struct sy_clock){clock_ns, clock_ns, w};
    struct sy_loop_options options = {.clock = &w->clock, .without_epoll = true};
    ck_assert_int_eq(sy_loop_new(&w->loop, &options), 0);
    ck_assert_int_eq(sy_loop_new(&w->peers, &options), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        struct sy_server_options server = {.address = names[i]};
        sy_rpc_mem_set_origin(w->rpc, names[i]);
        ck_assert_int_eq(sy_server_new(&w->servers[i], w->rpc, &server, NULL), 0);
        sy_server_add(w->servers[i],
                      &(struct sy_method){.path = "/switchyard.v1.ClusterService/JoinCluster",
                                          .kind = SY_METHOD_UNARY,
                                          .handler = on_join,
                                          .ctx = &w->servers[i],
                                          .loop = w->peers});
        ck_assert_int_eq(sy_server_start(w->servers[i], NULL), 0);
    }
}

static void close_world(void)
{
    struct world *w = &world;
    for (size_t i = 0; i < 2; i++)
        sy_server_free(w->servers[i]);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
    sy_loop_free(w->peers);
}

static void on_done(void *ctx, int r, const struct sy_error_text *error)
{
    struct world *w = ctx;
    w->done = true;
    w->r = r;
    if (error)
        w->error = *error;
}

/* Until it is done, or for that long. */
static void run(int64_t ns)
{
    struct world *w = &world;
    for (int64_t end_ns = w->now_ns + ns; w->now_ns < end_ns && !w->done;) {
        sy_rpc_mem_set_origin(w->rpc, "operator");
        sy_loop_turn(w->loop);
        sy_loop_turn(w->peers);
        int64_t a = sy_loop_next_ns(w->loop), b = sy_loop_next_ns(w->peers);
        int64_t next_ns = a < b ? a : b;
        if (next_ns > end_ns)
            next_ns = end_ns;
        w->now_ns = next_ns > w->now_ns ? next_ns : w->now_ns;
    }
}

static void begin(struct dp_join **ret, struct dp_identity *identity, bool nobody)
{
    static const char *const shards[] = {"shard0:1", "shard1:1", NULL}, *const none[] = {"x:1",
                                                                                         NULL};
    struct dp_join_options options = {.rpc = world.rpc,
                                      .loop = world.loop,
                                      .seed = 1,
                                      .shards = nobody ? none : shards,
                                      .token = "sy-join:r:c:00"};
    *identity = (struct dp_identity){.secret = {7}};
    dp_join_new(ret, &options, identity, on_done, &world);
}

START_TEST(a_shard_that_does_not_know_is_asked_again)
{
    struct dp_identity identity;
    struct dp_join *join;
    open_world();
    world.code = SY_CODE_UNAVAILABLE;
    world.fail = 5;
    begin(&join, &identity, false);
    run(60 * SY_NS_PER_S);
    ck_assert(world.done);
    ck_assert_int_eq(world.r, 0);
    ck_assert_uint_eq(world.calls[0], 3); /* in turns */
    ck_assert_uint_eq(world.calls[1], 3);
    ck_assert_str_eq(identity.cluster, "c");
    ck_assert_str_eq(identity.region, "eu");
    ck_assert_str_eq(identity.labels, "a=b");
    ck_assert_int_eq(identity.core_price_micros, 5);
    dp_join_free(join);
    close_world();
}
END_TEST

START_TEST(a_refusal_is_final)
{
    static const enum sy_code codes[] = {SY_CODE_INVALID_ARGUMENT, SY_CODE_NOT_FOUND,
                                         SY_CODE_FAILED_PRECONDITION, SY_CODE_UNAUTHENTICATED,
                                         SY_CODE_UNIMPLEMENTED};
    for (size_t i = 0; i < SY_COUNT_OF(codes); i++) {
        struct dp_identity identity;
        struct dp_join *join;
        open_world();
        world.code = codes[i];
        world.fail = 1;
        begin(&join, &identity, false);
        run(60 * SY_NS_PER_S);
        ck_assert(world.done);
        ck_assert_int_eq(world.r, -EACCES);
        ck_assert_str_eq(world.error.text, "cannot join: says the shard");
        ck_assert_str_eq(identity.cluster, "");
        ck_assert_uint_eq(world.calls[0], 1);
        ck_assert_uint_eq(world.calls[1], 0);
        dp_join_free(join);
        close_world();
    }
}
END_TEST

START_TEST(nobody_there_is_waited_for)
{
    struct dp_identity identity;
    struct dp_join *join;
    open_world();
    begin(&join, &identity, true);
    run(600 * SY_NS_PER_S);
    ck_assert(!world.done);
    dp_join_free(join); /* while a call, or its wait, is under way */
    close_world();
}
END_TEST

/* ---- with the configuration ---- */

static const char base[] = "data_dir: /d\nshards: [\"a:1\"]\n";

static int merge(const char *more, const struct dp_identity *identity,
                 struct dp_config_options *options, struct sy_error_text *error)
{
    static struct dp_config config;
    char text[512];
    snprintf(text, sizeof(text), "%s%s", base, more);
    dp_config_free(&config);
    ck_assert_msg(dp_config_parse(&config, "operator.yaml", text, strlen(text), error) == 0, "%s",
                  error->text);
    return dp_config_options_init(options, &config, identity, NULL, error);
}

START_TEST(what_was_registered_holds_where_nothing_is_configured)
{
    struct dp_identity identity = {
        .cluster = "c", .region = "eu", .labels = "zone=b", .core_price_micros = 5};
    struct dp_config_options options;
    struct sy_error_text error = {0};
    ck_assert_msg(merge("", &identity, &options, &error) == 0, "%s", error.text);
    ck_assert_str_eq(options.options.cluster, "c");
    ck_assert_str_eq(options.options.region, "eu");
    ck_assert_str_eq(options.options.labels, "region=eu,zone=b");
    ck_assert_int_eq(options.options.core_price_micros, 5);
    ck_assert_uint_eq(strlen(options.options.authorization), 7 + 64);
    dp_config_options_deinit(&options);
    ck_assert_msg(merge("cluster: c\nlabels: {disk: ssd, zone: b}\ncore_price_micros: 9\n",
                        &identity, &options, &error) == 0,
                  "%s", error.text);
    ck_assert_str_eq(options.options.labels, "disk=ssd,region=eu,zone=b");
    ck_assert_int_eq(options.options.core_price_micros, 9);
    dp_config_options_deinit(&options);
    ck_assert_msg(merge("cluster: c\n", NULL, &options, &error) == 0, "%s", error.text);
    ck_assert_ptr_null(options.options.authorization);
    ck_assert_str_eq(options.options.labels, "");
    dp_config_options_deinit(&options);
}
END_TEST

START_TEST(what_contradicts_it_is_refused)
{
    struct dp_identity identity = {.cluster = "c", .region = "eu", .labels = "zone=b"};
    static const struct {
        const char *more, *word;
    } cases[] = {{"cluster: d\n", "cluster: 'd', but this operator has joined as 'c'"},
                 {"region: us\n", "region: 'us', but"},
                 {"labels: {zone: a}\n", "zone is 'a', but the cluster was registered with 'b'"}};
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        struct dp_config_options options;
        struct sy_error_text error = {0};
        ck_assert_int_eq(merge(cases[i].more, &identity, &options, &error), -EINVAL);
        ck_assert_msg(strstr(error.text, cases[i].word) != NULL, "%s", error.text);
        dp_config_options_deinit(&options);
    }
    struct dp_config_options options;
    struct sy_error_text error = {0};
    ck_assert_int_eq(merge("", NULL, &options, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "--join TOKEN"));
    dp_config_options_deinit(&options);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {an_identity_is_kept_for_nobody_else,
                                  a_damaged_identity_is_not_used,
                                  a_shard_that_does_not_know_is_asked_again,
                                  a_refusal_is_final,
                                  nobody_there_is_waited_for,
                                  what_was_registered_holds_where_nothing_is_configured,
                                  what_contradicts_it_is_refused,
                                  NULL};
    return sy_test_run("join", tests);
}
