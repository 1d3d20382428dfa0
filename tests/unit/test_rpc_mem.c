/* links: sy_rpc */
/* The in-memory transport: determinism, faults, and worlds that are torn down at any moment. */
#include "base/mem.h"
#include "base/rng.h"
#include "base/rpc.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOPS = 3, STREAMS = 4, ECHOES_MAX = 16 };

/* One end of a stream. */
struct end {
    struct world *world;
    const char *name;
    struct sy_call *call;
    int messages, closes, half_closes;
    int next; /* messages are numbers that count up */
    enum sy_code code;
};

struct world {
    int64_t now_ns;
    struct sy_clock clock;
    struct sy_loop *loops[LOOPS]; /* 0 is the server's, the others are clients' */
    struct sy_rpc *rpc;
    struct sy_server *server;
    struct sy_channel *channels[LOOPS];
    struct sy_rng rng;
    uint64_t trace; /* a hash of everything that was heard, with its time */
    int heard;
    unsigned delay_max_us;
    int drop_in; /* drop the connection at the n-th message from now; 0 = never */
    bool refuse;
    /* The server's sides. A dead process hears of no end, so they are released with the world. */
    struct end echoes[ECHOES_MAX];
    int echo_count;
};

static int64_t clock_ns(void *ctx)
{
    struct world *w = ctx;
    return w->now_ns;
}

static void hear(struct world *w, const char *what, int number)
{
    char text[96];
    int n = snprintf(text, sizeof(text), "%lld %s %d", (long long)w->now_ns, what, number);
    for (int i = 0; i < n; i++)
        w->trace = (w->trace ^ (uint8_t)text[i]) * 0x100000001b3;
    w->heard++;
}

static enum sy_fault plan_message(void *ctx, const char *from, const char *to,
                                  int64_t *ret_delay_ns)
{
    struct world *w = ctx;
    ck_assert(strcmp(from, "server:1") == 0 || strcmp(to, "server:1") == 0);
    if (w->delay_max_us > 0)
        *ret_delay_ns = (int64_t)sy_rng_below(&w->rng, w->delay_max_us) * SY_NS_PER_US;
    if (w->drop_in > 0 && --w->drop_in == 0)
        return SY_FAULT_DROP_CONNECTION;
    return SY_FAULT_DELIVER;
}

static bool plan_connect(void *ctx, const char *from, const char *to)
{
    struct world *w = ctx;
    (void)from;
    ck_assert_str_eq(to, "server:1");
    return !w->refuse;
}

/* ---- sinks ---- */

static void on_message(void *ctx, struct sy_span message)
{
    struct end *end = ctx;
    int number;
    ck_assert_uint_eq(message.len, sizeof(number));
    memcpy(&number, message.data, sizeof(number));
    ck_assert_int_eq(number, end->next);
    end->next++;
    end->messages++;
    hear(end->world, end->name, number);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct end *end = ctx;
    end->closes++;
    end->code = status->code;
    hear(end->world, end->name, -(int)status->code);
}

static void on_half_closed(void *ctx)
{
    struct end *end = ctx;
    end->half_closes++;
    hear(end->world, end->name, 1000000);
}

static const struct sy_call_sink end_sink = {
    .on_message = on_message, .on_closed = on_closed, .on_half_closed = on_half_closed};

static void send_number(struct end *end, int number)
{
    struct sy_buf message = sy_buf_copy(&number, sizeof(number));
    ck_assert_int_eq(sy_call_send(end->call, &message), 0);
}

/* The server's side of a stream echoes; it lives until the call ends. */
static void echo_message(void *ctx, struct sy_span message)
{
    struct end *end = ctx;
    on_message(ctx, message);
    send_number(end, end->next - 1);
}

static void echo_half_closed(void *ctx)
{
    struct end *end = ctx;
    sy_call_finish(end->call, NULL);
}

static void echo(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink sink = {
        .on_message = echo_message, .on_closed = on_closed, .on_half_closed = echo_half_closed};
    (void)request;
    struct world *w = ctx;
    ck_assert_int_lt(w->echo_count, ECHOES_MAX);
    struct end *end = &w->echoes[w->echo_count++];
    *end = (struct end){.world = w, .name = "server", .call = call};
    sy_call_set_sink(call, &sink, end);
}

/* ---- worlds ---- */

static void start_server(struct world *w)
{
    struct sy_error_text error;
    struct sy_server_options options = {.address = "server:1"};
    sy_rpc_mem_set_origin(w->rpc, "server");
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &options, &error), 0);
    sy_server_add(w->server, &(struct sy_method){.path = "/test.Test/Echo",
                                                 .kind = SY_METHOD_BIDI,
                                                 .handler = echo,
                                                 .ctx = w,
                                                 .loop = w->loops[0]});
    ck_assert_int_eq(sy_server_start(w->server, &error), 0);
}

static void open_world(struct world *w, uint64_t seed)
{
    *w = (struct world){.now_ns = 1000};
    sy_rng_init(&w->rng, seed);
    w->clock = (struct sy_clock){clock_ns, clock_ns, w};
    struct sy_loop_options options = {.clock = &w->clock, .without_epoll = true};
    for (int i = 0; i < LOOPS; i++)
        ck_assert_int_eq(sy_loop_new(&w->loops[i], &options), 0);
    struct sy_rpc_mem_plan plan = {plan_message, plan_connect, w};
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, &plan), 0);
    start_server(w);
    for (int i = 1; i < LOOPS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "client%d", i);
        sy_rpc_mem_set_origin(w->rpc, name);
        w->channels[i] = sy_channel_new(w->rpc, "server:1");
    }
}

static void close_world(struct world *w)
{
    for (int i = 1; i < LOOPS; i++)
        sy_channel_free(w->channels[i]);
    sy_server_free(w->server);
    sy_rpc_free(w->rpc);
    for (int i = 0; i < w->echo_count; i++)
        sy_call_unref(w->echoes[i].call);
    for (int i = 0; i < LOOPS; i++)
        sy_loop_free(w->loops[i]);
}

/* Turns the loops in the order of time until none has anything to do, or `turns` are over. */
static void run(struct world *w, int turns)
{
    while (turns-- > 0) {
        int first = 0;
        for (int i = 1; i < LOOPS; i++)
            if (sy_loop_next_ns(w->loops[i]) < sy_loop_next_ns(w->loops[first]))
                first = i;
        int64_t next_ns = sy_loop_next_ns(w->loops[first]);
        if (next_ns == SY_TIME_NEVER)
            return;
        if (next_ns > w->now_ns)
            w->now_ns = next_ns;
        sy_loop_turn(w->loops[first]);
    }
}

static void run_all(struct world *w)
{
    run(w, INT32_MAX);
}

static void open_stream(struct world *w, struct end *end, int loop, const char *name)
{
    struct sy_call_options options = {.method = "/test.Test/Echo"};
    *end = (struct end){.world = w, .name = name};
    end->call = sy_channel_open(w->channels[loop], w->loops[loop], &options, &end_sink, end);
}

/* ---- tests ---- */

static uint64_t traced(uint64_t seed)
{
    static const char *const names[STREAMS] = {"a", "b", "c", "d"};
    struct world w;
    struct end ends[STREAMS];
    open_world(&w, seed);
    w.delay_max_us = 1000;
    for (int i = 0; i < STREAMS; i++)
        open_stream(&w, &ends[i], 1 + i % 2, names[i]);
    for (int number = 0; number < 50; number++) {
        for (int i = 0; i < STREAMS; i++)
            send_number(&ends[i], number);
        run(&w, 10);
    }
    for (int i = 0; i < STREAMS; i++)
        sy_call_half_close(ends[i].call);
    run_all(&w);
    for (int i = 0; i < STREAMS; i++) {
        ck_assert_int_eq(ends[i].closes, 1);
        ck_assert_int_eq(ends[i].code, SY_CODE_OK);
        ck_assert_int_eq(ends[i].messages, 50);
        sy_call_unref(ends[i].call);
    }
    uint64_t trace = w.trace;
    ck_assert_int_eq(w.heard, STREAMS * (50 + 50 + 2));
    close_world(&w);
    return trace;
}

START_TEST(same_seed_same_order)
{
    uint64_t first = traced(7);
    ck_assert_uint_eq(traced(7), first);
    ck_assert_uint_ne(traced(8), first);
}
END_TEST

START_TEST(dropped_connection)
{
    struct world w;
    struct end a, b, other;
    open_world(&w, 1);
    open_stream(&w, &a, 1, "a");
    open_stream(&w, &b, 1, "b");
    open_stream(&w, &other, 2, "other");
    run_all(&w);
    w.drop_in = 1;
    send_number(&a, 0);
    ck_assert_int_eq(a.closes, 0); /* not within the call */
    run_all(&w);
    ck_assert_int_eq(a.code, SY_CODE_UNAVAILABLE);
    ck_assert_int_eq(b.code, SY_CODE_UNAVAILABLE); /* shared the connection */
    ck_assert_int_eq(a.closes + b.closes, 2);
    ck_assert_int_eq(other.closes, 0);
    ck_assert_uint_eq(sy_server_calls(w.server), 1);
    send_number(&other, 0);
    run_all(&w);
    ck_assert_int_eq(other.messages, 1);
    sy_call_finish(other.call, NULL);
    run_all(&w);
    ck_assert_int_eq(other.code, SY_CODE_CANCELLED);
    ck_assert_uint_eq(sy_server_calls(w.server), 0);
    sy_call_unref(a.call);
    sy_call_unref(b.call);
    sy_call_unref(other.call);
    close_world(&w);
}
END_TEST

START_TEST(drop_at_every_message)
{
    for (int drop_in = 1; drop_in < 30; drop_in++) {
        struct world w;
        struct end end;
        open_world(&w, (uint64_t)drop_in);
        w.delay_max_us = 100;
        w.drop_in = drop_in;
        open_stream(&w, &end, 1, "end");
        for (int i = 0; i < 10 && end.closes == 0; i++) {
            send_number(&end, i);
            run(&w, 7);
        }
        sy_call_half_close(end.call);
        run_all(&w);
        ck_assert_int_eq(end.closes, 1);
        ck_assert(end.code == SY_CODE_UNAVAILABLE || w.drop_in > 0);
        ck_assert_uint_eq(sy_server_calls(w.server), 0);
        sy_call_unref(end.call);
        close_world(&w);
    }
}
END_TEST

START_TEST(refused_connection)
{
    struct world w;
    struct end end;
    open_world(&w, 1);
    w.refuse = true;
    open_stream(&w, &end, 1, "end");
    ck_assert_int_eq(end.closes, 0);
    run_all(&w);
    ck_assert_int_eq(end.code, SY_CODE_UNAVAILABLE);
    sy_call_unref(end.call);

    struct sy_call_options options = {.method = "/test.Test/Echo", .wait_for_ready = true};
    end = (struct end){.world = &w, .name = "patient"};
    end.call = sy_channel_open(w.channels[1], w.loops[1], &options, &end_sink, &end);
    send_number(&end, 0);
    int64_t before_ns = w.now_ns;
    run(&w, 3);
    ck_assert_int_eq(end.closes, 0);
    w.refuse = false;
    run(&w, 20);
    ck_assert_int_eq(end.messages, 1);
    ck_assert_int_ge(w.now_ns - before_ns, 100 * SY_NS_PER_MS);
    sy_call_finish(end.call, NULL);
    run_all(&w);
    sy_call_unref(end.call);

    w.refuse = true; /* waits for ready, but not past its deadline, nor once cancelled */
    options.timeout_ns = 5 * SY_NS_PER_S;
    end = (struct end){.world = &w, .name = "deadline"};
    end.call = sy_channel_open(w.channels[1], w.loops[1], &options, &end_sink, &end);
    before_ns = w.now_ns;
    run_all(&w);
    ck_assert_int_eq(end.code, SY_CODE_DEADLINE_EXCEEDED);
    ck_assert_int_eq(w.now_ns - before_ns, 5 * SY_NS_PER_S);
    sy_call_unref(end.call);
    options.timeout_ns = 0;
    end = (struct end){.world = &w, .name = "cancelled"};
    end.call = sy_channel_open(w.channels[1], w.loops[1], &options, &end_sink, &end);
    sy_call_finish(end.call, NULL);
    run_all(&w);
    ck_assert_int_eq(end.code, SY_CODE_CANCELLED);
    sy_call_unref(end.call);
    close_world(&w);
}
END_TEST

START_TEST(killed_client)
{
    struct world w;
    struct end a, other;
    open_world(&w, 1);
    open_stream(&w, &a, 1, "a");
    open_stream(&w, &other, 2, "other");
    send_number(&a, 0);
    run_all(&w);
    int heard = w.heard;
    sy_rpc_mem_kill(w.rpc, "client1");
    send_number(&a, 1); /* does nothing */
    ck_assert(sy_call_ready(a.call));
    sy_call_finish(a.call, NULL);
    run_all(&w);
    ck_assert_int_eq(a.closes, 0);
    ck_assert_int_eq(w.heard, heard + 1); /* the server's side of it: cancelled */
    ck_assert_uint_eq(sy_server_calls(w.server), 1);
    sy_call_unref(a.call);
    sy_call_finish(other.call, NULL);
    run_all(&w);
    sy_call_unref(other.call);
    close_world(&w);
}
END_TEST

static void killed_server_named(const char *name)
{
    struct world w;
    struct end a, b;
    open_world(&w, 1);
    w.delay_max_us = 10;
    open_stream(&w, &a, 1, "a");
    run_all(&w);
    send_number(&a, 0);
    sy_rpc_mem_kill(w.rpc, name);
    run_all(&w);
    ck_assert_int_eq(a.code, SY_CODE_UNAVAILABLE);
    ck_assert_int_eq(w.heard, 1); /* the dead heard nothing */
    sy_call_unref(a.call);
    open_stream(&w, &a, 1, "nobody listens");
    run_all(&w);
    ck_assert_int_eq(a.code, SY_CODE_UNAVAILABLE);
    sy_call_unref(a.call);

    struct sy_server *dead = w.server;
    start_server(&w); /* the address is free */
    open_stream(&w, &b, 1, "b");
    send_number(&b, 0);
    run_all(&w);
    ck_assert_int_eq(b.messages, 1);
    sy_server_free(dead);
    sy_call_finish(b.call, NULL);
    run_all(&w);
    sy_call_unref(b.call);
    close_world(&w);
}

START_TEST(killed_server)
{
    killed_server_named("server:1"); /* by its address */
    killed_server_named("server");   /* by its process */
}
END_TEST

START_TEST(torn_down_midway)
{
    for (int turns = 0; turns < 40; turns++) {
        struct world w;
        struct end a, b;
        open_world(&w, (uint64_t)turns);
        w.delay_max_us = 100;
        open_stream(&w, &a, 1, "a");
        open_stream(&w, &b, 2, "b");
        for (int i = 0; i < 10; i++)
            send_number(&a, i);
        run(&w, turns);
        sy_call_unref(a.call);
        sy_call_unref(b.call);
        close_world(&w);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        same_seed_same_order, dropped_connection, drop_at_every_message, refused_connection,
        killed_client,        killed_server,      torn_down_midway,      NULL,
    };
    return sy_test_run("rpc_mem", tests);
}
