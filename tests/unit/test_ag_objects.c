/* links: ag dp */
#include "agent/objects.h"
#include "base/mem.h"
#include "base/rng.h"
#include "dataplane/objects.h"
#include "tests/lib/test.h"
#include "tests/unit/test_ag_util.h"

#include <fcntl.h>

/* The agent's end against the operator's real store, over rpc_mem on a virtual clock. */

struct answer {
    bool came, final;
    char text[512], error[512];
};

static int64_t now_ns;
static struct sy_loop *loop;
static struct sy_rpc *rpc;
static struct sy_server *server;
static struct dp_objects *store;
static struct ag_objects *objects;
static const char *dir;
static uint32_t drop_pct;
static struct sy_rng rng;
static unsigned messages;

static int64_t clock_now(void *ctx)
{
    (void)ctx;
    return now_ns;
}

static enum sy_fault on_net_message(void *ctx, const char *from, const char *to,
                                    int64_t *ret_delay_ns)
{
    (void)ctx;
    (void)from;
    (void)to;
    messages++;
    *ret_delay_ns = 1000;
    return sy_rng_chance(&rng, drop_pct, 100) ? SY_FAULT_DROP_CONNECTION : SY_FAULT_DELIVER;
}

/* Objects are only for agents that send the token: all transfers of this file do. */
#define TOKEN                                                                                      \
    {                                                                                              \
        {"authorization", "Bearer of-the-agents"}, 1                                               \
    }
static const struct sy_bearer token = TOKEN;
static const struct dp_gate gate = {.bearer = TOKEN};

static void serve(void)
{
    struct sy_error_text error;
    struct sy_server_options options = {.address = "op"};
    char path[128];
    snprintf(path, sizeof(path), "%s/store", dir);
    struct dp_objects_options store_options = {
        .dir = path, .cluster = "c1", .object_bytes_max = 8 << 20, .gate = &gate, .loop = loop};
    ck_assert_int_eq(dp_objects_new(&store, &store_options, &error), 0);
    ck_assert_int_eq(sy_server_new(&server, rpc, &options, &error), 0);
    dp_objects_serve(store, server);
    ck_assert_int_eq(sy_server_start(server, &error), 0);
}

static void open_agent(int64_t cache_bytes_max)
{
    struct sy_error_text error;
    char path[128];
    snprintf(path, sizeof(path), "%s/cache", dir);
    sy_rpc_mem_set_origin(rpc, "agent");
    struct ag_objects_options options = {.target = "op",
                                         .bearer = token,
                                         .cache_dir = path,
                                         .cache_bytes_max = cache_bytes_max,
                                         .object_bytes_max = 6 << 20,
                                         .transfers_max = 2};
    ck_assert_int_eq(ag_objects_new(&objects, rpc, loop, &options, 3, NULL, &error), 0);
}

static void open_all(int64_t cache_bytes_max)
{
    static struct sy_clock clock = {clock_now, clock_now, NULL};
    static const struct sy_rpc_mem_plan plan = {.on_message = on_net_message};
    struct sy_loop_options options = {.clock = &clock, .without_epoll = true};
    now_ns = 1000 * SY_NS_PER_S;
    drop_pct = 0;
    sy_rng_init(&rng, 5);
    dir = scratch();
    ck_assert_int_eq(sy_loop_new(&loop, &options), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&rpc, &plan), 0);
    serve();
    open_agent(cache_bytes_max);
}

static void run(int64_t ns)
{
    int64_t end_ns = now_ns + ns;
    for (;;) {
        sy_loop_turn(loop);
        int64_t next_ns = sy_loop_next_ns(loop);
        if (next_ns > end_ns)
            break;
        now_ns = next_ns > now_ns ? next_ns : now_ns;
    }
    now_ns = end_ns;
}

static void close_all(void)
{
    ag_objects_free(objects);
    run(SY_NS_PER_S);
    sy_rpc_mem_kill(rpc, "agent");
    sy_rpc_mem_kill(rpc, "op");
    dp_objects_free(store);
    sy_server_free(server);
    run(SY_NS_PER_S);
    sy_rpc_free(rpc);
    sy_loop_free(loop);
    remove_scratch(dir);
}

static void on_answer(void *ctx, const char *text, const struct sy_error_text *error, bool final)
{
    struct answer *answer = ctx;
    ck_assert(!answer->came);
    answer->came = true;
    answer->final = final;
    snprintf(answer->text, sizeof(answer->text), "%s", text ? text : "");
    snprintf(answer->error, sizeof(answer->error), "%s", text ? "" : error->text);
}

static uint8_t *make(size_t size, uint8_t seed)
{
    uint8_t *data = sy_malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8) + seed);
    return data;
}

static void upload(size_t size, uint8_t seed, struct answer *answer)
{
    uint8_t *data = make(size, seed);
    *answer = (struct answer){0};
    ag_objects_put(objects, (struct sy_span){data, size}, on_answer, answer);
    free(data);
    ck_assert(!answer->came); /* never inside the call */
    run(600 * SY_NS_PER_S);
    ck_assert(answer->came);
}

static void download(const char *uri, struct answer *answer)
{
    *answer = (struct answer){0};
    ag_objects_get(objects, uri, on_answer, answer);
    ck_assert(!answer->came);
    run(600 * SY_NS_PER_S);
    ck_assert(answer->came);
}

static void check_file(const char *path, size_t size, uint8_t seed)
{
    uint8_t *want = make(size, seed), *got = sy_malloc(size + 1);
    int fd = open(path, O_RDONLY);
    ck_assert_msg(fd >= 0, "'%s'", path);
    ck_assert_int_eq(read(fd, got, size + 1), (ssize_t)size);
    ck_assert_int_eq(memcmp(want, got, size), 0);
    close(fd);
    free(want);
    free(got);
}

START_TEST(there_and_back)
{
    open_all(0);
    static const size_t sizes[] = {1, 1000, 1 << 20, (1 << 20) + 1, 3500000};
    struct answer up, down, again;
    for (size_t i = 0; i < SY_COUNT_OF(sizes); i++) {
        upload(sizes[i], (uint8_t)i, &up);
        ck_assert_msg(strncmp(up.text, "sy://c1/", 8) == 0, "%s%s", up.text, up.error);
        download(up.text, &down);
        check_file(down.text, sizes[i], (uint8_t)i);
        unsigned before = messages;
        download(up.text, &again); /* from the cache */
        ck_assert_str_eq(again.text, down.text);
        ck_assert_uint_eq(messages, before);
        ag_objects_unpin(objects, down.text);
        ag_objects_unpin(objects, down.text);
    }
    close_all();
}
END_TEST

START_TEST(a_file_goes_up_and_is_removed)
{
    open_all(0);
    char path[128];
    snprintf(path, sizeof(path), "%s/out", dir);
    uint8_t *data = make(2500000, 9);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(write(fd, data, 2500000), 2500000);
    close(fd);
    free(data);
    struct answer up = {0}, down, none = {0};
    ag_objects_put_file(objects, path, on_answer, &up);
    ag_objects_put_file(objects, "/no/such/file", on_answer, &none);
    run(10 * SY_NS_PER_S);
    ck_assert(up.came && none.came);
    ck_assert_ptr_nonnull(strstr(none.error, "No such file"));
    ck_assert_int_ne(access(path, F_OK), 0);
    download(up.text, &down);
    check_file(down.text, 2500000, 9);
    close_all();
}
END_TEST

START_TEST(over_a_bad_network)
{
    open_all(0);
    struct answer up, down;
    for (uint8_t i = 0; i < 20; i++) {
        drop_pct = 15;
        upload(2500000, i, &up);
        ck_assert_msg(up.text[0] != '\0', "%s", up.error);
        download(up.text, &down);
        ck_assert_msg(down.text[0] != '\0', "%s", down.error);
        check_file(down.text, 2500000, i);
        ag_objects_unpin(objects, down.text);
    }
    close_all();
}
END_TEST

START_TEST(what_cannot_be)
{
    open_all(0);
    struct answer a;
    upload(7 << 20, 1, &a); /* more than this node allows */
    ck_assert(a.final);
    ck_assert_ptr_nonnull(strstr(a.error, "at most 6291456 are allowed"));
    download("sy://c1/00000000000000000000000000000000", &a);
    ck_assert(a.final && a.text[0] == '\0');
    static const char *const bad[] = {"",
                                      "x",
                                      "sy://c1/123",
                                      "http://c1/00000000000000000000000000000000",
                                      "sy://c1/../../etc/passwd",
                                      "sy://c1/0000000000000000000000000000000G"};
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        download(bad[i], &a);
        ck_assert_ptr_nonnull(strstr(a.error, "sy://CLUSTER/DIGEST"));
    }
    close_all();
}
END_TEST

START_TEST(the_cache_is_bounded)
{
    open_all(3 << 20);
    struct answer up[5], down[5];
    for (uint8_t i = 0; i < 5; i++)
        upload(1 << 20, i, &up[i]);
    for (uint8_t i = 0; i < 3; i++)
        download(up[i].text, &down[i]);
    download(up[3].text, &down[3]); /* all three are in use */
    ck_assert_ptr_nonnull(strstr(down[3].error, "full of inputs in use"));
    ag_objects_unpin(objects, down[1].text);
    download(up[3].text, &down[3]);
    check_file(down[3].text, 1 << 20, 3);
    ck_assert_int_ne(access(down[1].text, F_OK), 0); /* it has made room */
    check_file(down[0].text, 1 << 20, 0);
    /* After a restart what is there is used again. */
    ag_objects_free(objects);
    open_agent(3 << 20);
    unsigned before = messages;
    download(up[0].text, &down[0]);
    check_file(down[0].text, 1 << 20, 0);
    ck_assert_uint_eq(messages, before);
    close_all();
}
END_TEST

START_TEST(cancelled_transfers)
{
    open_all(0);
    struct answer up, never = {0};
    upload(3 << 20, 1, &up);
    uint8_t *data = make(3 << 20, 2);
    for (int i = 0; i < 40; i++) { /* at every moment of a transfer */
        struct ag_object_transfer *put = ag_objects_put(objects, (struct sy_span){data, 3 << 20},
                                                        on_answer, &never);
        struct ag_object_transfer *get = ag_objects_get(objects, up.text, on_answer, &never);
        run(i * 500);
        if (never.came)
            break;
        ag_objects_cancel(objects, put);
        ag_objects_cancel(objects, get);
        run(SY_NS_PER_S);
        ck_assert(!never.came);
    }
    free(data);
    close_all();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        there_and_back, a_file_goes_up_and_is_removed, over_a_bad_network,
        what_cannot_be, the_cache_is_bounded,          cancelled_transfers,
        NULL,
    };
    return sy_test_run("ag_objects", tests);
}
