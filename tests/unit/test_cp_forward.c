/* links: cp */
/* Calls that are carried to another shard: in memory, on a virtual clock. Twice: each as a call of
 * its own, and over one stream (base/rpc_carry.h). */
#include "base/mem.h"
#include "base/rng.h"
#include "base/rpc_carry.h"
#include "controlplane/forward.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

enum { OWNERS = 2, MESSAGES = 200 };
#define LARGE ((size_t)20 << 10)

static bool carries;

struct world;

struct owner {
    struct world *world;
    char address[16];
    struct sy_server *server;
    struct sy_channel *channel, *under;
    struct sy_call *kept;   /* by keep() */
    struct sy_call *stream; /* in progress */
    size_t sent;            /* of it */
    bool owns;
    unsigned served, refused, cancelled;
    char heard[64];
};

struct world {
    int64_t now_ns;
    struct sy_clock clock;
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_rng rng;
    struct owner owners[OWNERS];
    int known; /* who has the partition, as the front knows it; -1: nobody */
    struct sy_server *front;
    struct cp_forwards *forwards;
    struct sy_channel *client;
    bool slow;     /* the client reads nothing */
    bool straight; /* calls are about a shard, and not about a partition */
    const char *run;
};

/* What the client hears. */
struct answer {
    struct world *world;
    struct sy_call *call;
    bool ended;
    enum sy_code code;
    char message[128];
    size_t messages, details;
    int last;
};

static int64_t clock_ns(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static enum sy_fault plan(void *ctx, const char *from, const char *to, int64_t *ret_delay_ns)
{
    struct world *w = ctx;
    (void)from;
    (void)to;
    *ret_delay_ns = (int64_t)sy_rng_below(&w->rng, SY_NS_PER_MS);
    return SY_FAULT_DELIVER;
}

static void run(struct world *w, int64_t ns)
{
    for (int64_t end_ns = w->now_ns + ns; w->now_ns < end_ns;) {
        int64_t next_ns = sy_loop_next_ns(w->loop);
        w->now_ns = next_ns < w->now_ns ? w->now_ns : next_ns < end_ns ? next_ns : end_ns;
        sy_loop_turn(w->loop);
    }
}

/* ---- owners ---- */

static bool takes(struct owner *o, struct sy_call *call, struct sy_span request)
{
    ck_assert_str_eq(sy_call_metadata(call, CP_FORWARDED_KEY), "1");
    if (!o->owns) {
        o->refused++;
        cp_ask_refuse(call, 7, o->address);
        return false;
    }
    o->served++;
    snprintf(o->heard, sizeof(o->heard), "%.*s", (int)request.len, (const char *)request.data);
    return true;
}

static void echo(void *ctx, struct sy_call *call, struct sy_span request)
{
    if (!takes(ctx, call, request))
        return;
    const char *run_name = sy_call_metadata(call, "x-switchyard-run");
    struct sy_buf response = {0};
    sy_buf_printf(&response, "%.*s of %s", (int)request.len, (const char *)request.data,
                  run_name != NULL ? run_name : "-");
    sy_call_reply(call, &response);
}

static void refuse(void *ctx, struct sy_call *call, struct sy_span request)
{
    if (!takes(ctx, call, request))
        return;
    struct sy_status status = {.code = SY_CODE_ALREADY_EXISTS};
    sy_error_text_set(&status.message, "there is one");
    sy_buf_append_str(&status.details, "details");
    sy_call_finish(call, &status);
    sy_call_unref(call);
    sy_status_deinit(&status);
}

static void keep(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct owner *o = ctx;
    if (takes(o, call, request))
        o->kept = call;
}

static void go_on(void *ctx)
{
    struct owner *o = ctx;
    while (o->sent < MESSAGES) {
        uint8_t bytes[LARGE] = {0};
        memcpy(bytes, &o->sent, sizeof(o->sent));
        struct sy_buf message = sy_buf_copy(bytes, sizeof(bytes));
        if (sy_call_send(o->stream, &message) != 0) {
            sy_buf_deinit(&message);
            return;
        }
        o->sent++;
    }
    sy_call_finish(o->stream, NULL);
}

static void on_stream_closed(void *ctx, const struct sy_status *status)
{
    struct owner *o = ctx;
    o->cancelled += status->code != SY_CODE_OK;
    sy_call_unref(sy_take(o->stream));
}

static void count(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink sink = {.on_writable = go_on, .on_closed = on_stream_closed};
    struct owner *o = ctx;
    if (!takes(o, call, request))
        return;
    o->stream = call;
    o->sent = 0;
    sy_call_set_sink(call, &sink, o);
    go_on(o);
}

/* ---- the front ---- */

static struct sy_channel *route(void *ctx, uint32_t partition)
{
    struct world *w = ctx;
    ck_assert_uint_eq(partition, 7);
    return w->known < 0 ? NULL : w->owners[w->known].channel;
}

static void forward(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct world *w = ctx;
    bool stream = strcmp(sy_call_method(call), "/test.S/Count") == 0;
    if (w->straight)
        cp_forward_to(w->forwards, call, w->owners[0].channel, stream, request);
    else
        cp_forward(w->forwards, call, &(struct cp_forward_to){.partition = 7}, w->run, stream,
                   request);
}

static void serve(struct sy_server *server, struct world *w, struct owner *o)
{
    static const struct {
        const char *path;
        enum sy_method_kind kind;
        void (*fn)(void *ctx, struct sy_call *call, struct sy_span request);
    } methods[] = {{"/test.S/Echo", SY_METHOD_UNARY, echo},
                   {"/test.S/Fail", SY_METHOD_UNARY, refuse},
                   {"/test.S/Keep", SY_METHOD_UNARY, keep},
                   {"/test.S/Count", SY_METHOD_SERVER_STREAM, count}};
    for (size_t i = 0; i < SY_COUNT_OF(methods); i++)
        sy_server_add(server, &(struct sy_method){.path = methods[i].path,
                                                  .kind = methods[i].kind,
                                                  .handler = o != NULL ? methods[i].fn : forward,
                                                  .ctx = o != NULL ? (void *)o : (void *)w,
                                                  .loop = w->loop});
    ck_assert_int_eq(sy_server_start(server, NULL), 0);
}

static struct sy_server *listen_at(struct world *w, const char *address)
{
    struct sy_server *server;
    struct sy_server_options options = {.address = address, .send_buffer_max = 64 << 10};
    sy_rpc_mem_set_origin(w->rpc, address);
    ck_assert_int_eq(sy_server_new(&server, w->rpc, &options, NULL), 0);
    return server;
}

static void on_warm(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)response;
    ck_assert_int_eq(status->code, SY_CODE_OK);
    *(bool *)ctx = true;
}

/* From now on the channel carries. */
static void warm_up(struct world *w, struct owner *o)
{
    static const struct sy_metadata metadata = {CP_FORWARDED_KEY, "1"};
    struct sy_call_options options = {
        .method = "/test.S/Echo", .metadata = &metadata, .metadata_count = 1};
    struct sy_buf request = {0};
    bool answered = false;
    o->under = o->channel;
    o->channel = sy_channel_carry(o->under, w->loop);
    o->owns = true;
    sy_channel_call(o->channel, w->loop, &options, &request, on_warm, &answered);
    run(w, 100 * SY_NS_PER_MS);
    ck_assert(answered && carry_channel_up(o->channel));
    o->owns = false;
    o->served = 0;
}

static void open_world(struct world *w)
{
    *w = (struct world){.now_ns = SY_NS_PER_S};
    w->clock = (struct sy_clock){clock_ns, clock_ns, w};
    struct sy_loop_options options = {.clock = &w->clock, .without_epoll = true};
    ck_assert_int_eq(sy_loop_new(&w->loop, &options), 0);
    sy_rng_init(&w->rng, 1);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, &(struct sy_rpc_mem_plan){plan, NULL, w}), 0);
    for (int i = 0; i < OWNERS; i++) {
        struct owner *o = &w->owners[i];
        o->world = w;
        snprintf(o->address, sizeof(o->address), "owner-%d:1", i);
        o->server = listen_at(w, o->address);
        if (carries)
            sy_server_carry(o->server, w->loop);
        serve(o->server, w, o);
    }
    w->front = listen_at(w, "front:1");
    serve(w->front, w, NULL);
    for (int i = 0; i < OWNERS; i++) {
        w->owners[i].channel = sy_channel_new(w->rpc, w->owners[i].address);
        if (carries)
            warm_up(w, &w->owners[i]);
    }
    cp_forwards_new(&w->forwards, w->loop, route, w);
    sy_rpc_mem_set_origin(w->rpc, "client");
    w->client = sy_channel_new(w->rpc, "front:1");
    w->owners[0].owns = true;
}

static void close_world(struct world *w)
{
    cp_forwards_free(w->forwards);
    for (int i = 0; i < OWNERS; i++) {
        if (w->owners[i].stream != NULL)
            sy_call_unref(w->owners[i].stream);
        if (w->owners[i].kept != NULL)
            sy_call_unref(w->owners[i].kept);
        sy_channel_free(w->owners[i].channel);
        sy_channel_free(w->owners[i].under);
        sy_server_free(w->owners[i].server);
    }
    sy_server_free(w->front);
    sy_channel_free(w->client);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
}

/* ---- the client ---- */

static void on_message(void *ctx, struct sy_span bytes)
{
    struct answer *a = ctx;
    size_t number;
    if (bytes.len == LARGE) {
        memcpy(&number, bytes.data, sizeof(number));
        ck_assert_uint_eq(number, a->messages);
    } else {
        snprintf(a->message, sizeof(a->message), "%.*s", (int)bytes.len, (const char *)bytes.data);
    }
    a->messages++;
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct answer *a = ctx;
    a->ended = true;
    a->code = status->code;
    a->details = status->details.len;
    if (status->code != SY_CODE_OK)
        snprintf(a->message, sizeof(a->message), "%s", status->message.text);
    sy_call_unref(sy_take(a->call));
}

static const struct sy_call_sink client_sink = {.on_message = on_message, .on_closed = on_closed};

static void ask(struct world *w, struct answer *a, const char *method, int64_t timeout_ns)
{
    static const struct sy_metadata metadata = {"x-switchyard-run", "p/d/r"};
    *a = (struct answer){.world = w};
    a->call = sy_channel_open(
        w->client, w->loop,
        &(struct sy_call_options){
            .method = method, .timeout_ns = timeout_ns, .metadata = &metadata, .metadata_count = 1},
        w->slow ? NULL : &client_sink, a);
    struct sy_buf request = sy_buf_copy("hello", 5);
    ck_assert_int_eq(sy_call_send(a->call, &request), 0);
    sy_call_half_close(a->call);
}

/* ---- tests ---- */

static struct world world;

START_TEST(answers_and_failures_come_back_as_they_were)
{
    struct answer a;
    open_world(&world);
    ask(&world, &a, "/test.S/Echo", 0);
    run(&world, SY_NS_PER_S);
    ck_assert(a.ended && a.code == SY_CODE_OK);
    ck_assert_str_eq(a.message, "hello of p/d/r");
    world.run = "p/d/other";
    ask(&world, &a, "/test.S/Echo", 0);
    run(&world, SY_NS_PER_S);
    ck_assert_str_eq(a.message, "hello of p/d/other");
    ask(&world, &a, "/test.S/Fail", 0);
    run(&world, SY_NS_PER_S);
    ck_assert(a.ended && a.code == SY_CODE_ALREADY_EXISTS);
    ck_assert_str_eq(a.message, "there is one");
    ck_assert_uint_eq(a.details, 7);
    ck_assert_uint_eq(cp_forwards_count(world.forwards), 0);
    close_world(&world);
}
END_TEST

START_TEST(a_partition_that_moves_is_followed)
{
    struct answer a;
    open_world(&world);
    world.owners[0].owns = false; /* but the front has not heard of it yet */
    ask(&world, &a, "/test.S/Echo", 0);
    run(&world, 100 * SY_NS_PER_MS);
    ck_assert(!a.ended && world.owners[0].refused > 0);
    world.known = -1; /* nobody has it */
    run(&world, 500 * SY_NS_PER_MS);
    ck_assert(!a.ended);
    world.known = 1;
    world.owners[1].owns = true;
    run(&world, 500 * SY_NS_PER_MS);
    ck_assert(a.ended && a.code == SY_CODE_OK);
    ck_assert_uint_eq(world.owners[1].served, 1);
    ck_assert_uint_eq(world.owners[0].served, 0);
    close_world(&world);
}
END_TEST

START_TEST(what_nobody_takes_ends_in_time)
{
    struct answer a, b;
    open_world(&world);
    world.known = -1;
    ask(&world, &a, "/test.S/Echo", 0);
    ask(&world, &b, "/test.S/Echo", SY_NS_PER_S);
    run(&world, SY_NS_PER_S + 10 * SY_NS_PER_MS);
    ck_assert(!a.ended && b.ended);
    ck_assert(b.code == SY_CODE_UNAVAILABLE || b.code == SY_CODE_DEADLINE_EXCEEDED);
    run(&world, CP_ASK_WAIT_NS);
    ck_assert(a.ended && a.code == SY_CODE_UNAVAILABLE);
    ck_assert_str_eq(a.message, "no shard has partition 7 just now; try again");
    world.known = 0;
    world.owners[0].owns = false;
    ask(&world, &a, "/test.S/Echo", 0);
    run(&world, CP_ASK_WAIT_NS + SY_NS_PER_S);
    ck_assert(a.ended && a.code == SY_CODE_UNAVAILABLE);
    ck_assert_str_eq(a.message, "shard owner-0:1 does not have partition 7");
    ck_assert_uint_eq(a.details, 0);
    close_world(&world);
}
END_TEST

/* Nothing was sent, so nothing was done: it is asked again, also what changes something. */
START_TEST(a_shard_that_is_not_there_is_asked_again)
{
    struct answer a;
    open_world(&world);
    sy_rpc_mem_kill(world.rpc, "owner-0:1");
    ask(&world, &a, "/test.S/Echo", 0);
    run(&world, SY_NS_PER_S);
    ck_assert(!a.ended);
    world.known = 1;
    world.owners[1].owns = true;
    run(&world, SY_NS_PER_S);
    ck_assert(a.ended && a.code == SY_CODE_OK);
    ck_assert_uint_eq(world.owners[1].served, 1);
    world.known = 0;
    ask(&world, &a, "/test.S/Echo", 0);
    run(&world, CP_ASK_WAIT_NS + SY_NS_PER_S);
    ck_assert(a.ended && a.code == SY_CODE_UNAVAILABLE);
    ck_assert_str_eq(a.message, "the shard that has to answer is not reachable; try again (failed "
                                "to connect)");
    close_world(&world);
}
END_TEST

/* Once it may have done something the call is asked no more. */
START_TEST(a_shard_that_dies_with_a_call_ends_it)
{
    struct answer a;
    open_world(&world);
    ask(&world, &a, "/test.S/Keep", 0);
    run(&world, 100 * SY_NS_PER_MS);
    ck_assert(!a.ended && world.owners[0].served == 1);
    sy_rpc_mem_kill(world.rpc, "owner-0:1");
    world.known = 1;
    world.owners[1].owns = true;
    run(&world, SY_NS_PER_S);
    ck_assert(a.ended && a.code == SY_CODE_UNAVAILABLE);
    ck_assert_uint_eq(world.owners[1].served, 0);
    close_world(&world);
}
END_TEST

/* It stands still, maybe; meanwhile the partition is given to another. */
START_TEST(a_call_at_a_shard_that_lost_the_partition_ends)
{
    struct answer a;
    open_world(&world);
    ask(&world, &a, "/test.S/Keep", 0);
    run(&world, 100 * SY_NS_PER_MS);
    cp_forwards_look(world.forwards);
    run(&world, 10 * SY_NS_PER_S);
    cp_forwards_look(world.forwards);
    run(&world, 100 * SY_NS_PER_MS);
    ck_assert(!a.ended); /* as long as it takes */
    world.known = 1;
    cp_forwards_look(world.forwards);
    run(&world, 450 * SY_NS_PER_MS);
    ck_assert(!a.ended);             /* the answer may be on its way */
    run(&world, 100 * SY_NS_PER_MS); /* nobody looks again */
    ck_assert(a.ended && a.code == SY_CODE_UNAVAILABLE);
    ck_assert_str_eq(a.message, "the partition is at another shard now, and what became of this "
                                "call is not known; try again");
    ck_assert_uint_eq(cp_forwards_count(world.forwards), 0);
    close_world(&world);
}
END_TEST

/* Whoever has the partition next may be called through a channel at the same address. */
START_TEST(a_channel_that_was_let_go_is_not_taken_for_its_successor)
{
    struct answer a;
    open_world(&world);
    ask(&world, &a, "/test.S/Keep", 0);
    run(&world, 100 * SY_NS_PER_MS);
    cp_forwards_end_to(world.forwards, world.owners[1].channel, world.owners[1].channel);
    cp_forwards_look(world.forwards);
    run(&world, 10 * SY_NS_PER_S);
    ck_assert(!a.ended); /* it went elsewhere */
    cp_forwards_end_to(world.forwards, world.owners[0].channel, world.owners[0].channel);
    cp_forwards_look(world.forwards);
    run(&world, 450 * SY_NS_PER_MS);
    ck_assert(!a.ended);
    run(&world, 100 * SY_NS_PER_MS);
    ck_assert(a.ended && a.code == SY_CODE_UNAVAILABLE);
    close_world(&world);
}
END_TEST

START_TEST(a_client_that_goes_is_missed)
{
    struct answer a;
    open_world(&world);
    world.slow = true;
    ask(&world, &a, "/test.S/Count", 0);
    run(&world, 100 * SY_NS_PER_MS);
    ck_assert_uint_eq(cp_forwards_count(world.forwards), 1);
    sy_call_finish(a.call, NULL);
    sy_call_unref(a.call);
    run(&world, 100 * SY_NS_PER_MS);
    ck_assert_uint_eq(world.owners[0].cancelled, 1);
    ck_assert_uint_eq(cp_forwards_count(world.forwards), 0);
    close_world(&world);
}
END_TEST

START_TEST(a_stream_waits_for_a_slow_client_and_loses_nothing)
{
    struct answer a;
    open_world(&world);
    world.slow = true;
    ask(&world, &a, "/test.S/Count", 0);
    run(&world, SY_NS_PER_S);
    size_t sent = world.owners[0].sent;
    ck_assert_uint_lt(sent, MESSAGES / 2); /* it is not kept here */
    run(&world, SY_NS_PER_S);
    ck_assert_uint_eq(world.owners[0].sent, sent);
    sy_call_set_sink(a.call, &client_sink, &a);
    run(&world, 10 * SY_NS_PER_S);
    ck_assert(a.ended && a.code == SY_CODE_OK);
    ck_assert_uint_eq(a.messages, MESSAGES);
    close_world(&world);
}
END_TEST

START_TEST(a_shard_that_stops_ends_streams)
{
    struct answer a;
    for (int straight = 0; straight < 2; straight++) {
        open_world(&world);
        world.straight = straight;
        world.slow = true; /* so the stream goes on */
        ask(&world, &a, "/test.S/Count", 0);
        run(&world, SY_NS_PER_S);
        ck_assert_uint_eq(cp_forwards_count(world.forwards), 1);
        cp_forwards_end_streams(world.forwards);
        ck_assert_uint_eq(cp_forwards_count(world.forwards), 0);
        sy_call_set_sink(a.call, &client_sink, &a);
        run(&world, 10 * SY_NS_PER_S);
        ck_assert(a.ended && a.code == SY_CODE_UNAVAILABLE);
        ck_assert_str_eq(a.message, "this shard stops; try again");
        ck_assert_uint_eq(world.owners[0].cancelled, 1);
        close_world(&world);
    }
}
END_TEST

START_TEST(a_shard_ends_with_calls_in_progress)
{
    struct answer a, b, c;
    for (int ms = 0; ms < 30; ms++) {
        open_world(&world);
        ask(&world, &a, "/test.S/Count", 0);
        ask(&world, &b, "/test.S/Keep", 0);
        ask(&world, &c, "/test.S/Echo", 0);
        if (ms % 3 == 0)
            world.known = -1;
        run(&world, ms * SY_NS_PER_MS / 3);
        struct answer *answers[] = {&a, &b, &c};
        close_world(&world);
        for (size_t i = 0; i < 3; i++)
            if (answers[i]->call != NULL)
                sy_call_unref(answers[i]->call);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {answers_and_failures_come_back_as_they_were,
                                  a_partition_that_moves_is_followed,
                                  what_nobody_takes_ends_in_time,
                                  a_shard_that_is_not_there_is_asked_again,
                                  a_shard_that_dies_with_a_call_ends_it,
                                  a_call_at_a_shard_that_lost_the_partition_ends,
                                  a_channel_that_was_let_go_is_not_taken_for_its_successor,
                                  a_client_that_goes_is_missed,
                                  a_stream_waits_for_a_slow_client_and_loses_nothing,
                                  a_shard_that_stops_ends_streams,
                                  a_shard_ends_with_calls_in_progress,
                                  NULL};
    int failed = sy_test_run("forward", tests);
    carries = true;
    return sy_test_run("forward, carried", tests) | failed;
}
