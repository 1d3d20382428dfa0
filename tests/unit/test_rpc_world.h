/*
 * The world of test_rpc_contract.c: a loop with a client and a server on it, the server's methods,
 * ends of calls that record what they hear, and waiting with a limit.
 */
#pragma once

#include "base/mem.h"
#include "base/rpc_carry.h"
#include "tests/lib/test.h"
#include "tests/unit/test_rpc_wait.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEND_BUFFER_MAX ((size_t)256 << 10)
#define MESSAGE_BYTES_MAX ((size_t)1 << 20)
#define STREAMS_MAX 3000

/* One end of a call, as the tests watch it. */
struct end {
    struct world *world;
    struct sy_call *call;
    int messages, writables, half_closes, closes;
    size_t bytes;
    struct sy_buf last;
    enum sy_code code;
    char text[SY_ERROR_TEXT_MAX];
    struct sy_buf details;
    int next_number; /* messages carry numbers that count up */
    int sent_number;
};

struct world {
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_server *server;
    struct sy_channel *channel, *under; /* under: what the channel goes through, when it carries */
    bool http, carries;
    char target[64];
    struct end server_end; /* of the last stream, or of the last held call */
    int held, drained;
    bool in_api; /* no callback may run inside a call into the port */
};

#define API(world, statement)                                                                      \
    do {                                                                                           \
        (world)->in_api = true;                                                                    \
        statement;                                                                                 \
        (world)->in_api = false;                                                                   \
    } while (0)

static void end_deinit(struct end *end)
{
    if (end->call != NULL)
        sy_call_unref(sy_take(end->call));
    sy_buf_deinit(&end->last);
    sy_buf_deinit(&end->details);
    *end = (struct end){0};
}

static void wait_for(struct world *w, const int *value, int target)
{
    wait_on(w->loop, value, target);
}

static void count_up(void *arg)
{
    int *count = arg;
    (*count)++;
}

static void wait_ms(struct world *w, int64_t ms)
{
    int fired = 0;
    struct sy_timer timer;
    sy_timer_init(&timer, count_up, &fired);
    sy_timer_start(w->loop, &timer, sy_clock_system.monotonic_ns(NULL) + ms * SY_NS_PER_MS);
    wait_for(w, &fired, 1);
}

/* ---- sinks ---- */

static void on_message(void *ctx, struct sy_span message)
{
    struct end *end = ctx;
    ck_assert(!end->world->in_api);
    ck_assert_int_eq(end->closes, 0);
    end->messages++;
    end->bytes += message.len;
    sy_buf_clear(&end->last);
    if (message.len > 0)
        sy_buf_append(&end->last, message.data, message.len);
    if (message.len >= 4 && message.data[0] == '#') {
        int number = atoi((const char *)message.data + 1);
        ck_assert_int_eq(number, end->next_number);
        end->next_number++;
    }
}

static void on_writable(void *ctx)
{
    struct end *end = ctx;
    ck_assert(!end->world->in_api);
    ck_assert_int_eq(end->closes, 0);
    end->writables++;
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct end *end = ctx;
    ck_assert(!end->world->in_api);
    ck_assert_int_eq(end->closes, 0);
    end->closes++;
    end->code = status->code;
    memcpy(end->text, status->message.text, sizeof(end->text));
    sy_buf_clear(&end->details);
    if (status->details.len > 0)
        sy_buf_append(&end->details, status->details.data, status->details.len);
}

static void on_half_closed(void *ctx)
{
    struct end *end = ctx;
    ck_assert(!end->world->in_api);
    ck_assert_int_eq(end->closes, 0);
    end->half_closes++;
}

static const struct sy_call_sink plain_sink = {on_message, on_writable, on_closed, on_half_closed};

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct end *end = ctx;
    end->bytes += response.len;
    sy_buf_clear(&end->last);
    if (response.len > 0)
        sy_buf_append(&end->last, response.data, response.len);
    on_closed(end, status);
}

/* ---- the services ---- */

static void echo(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct world *w = ctx;
    ck_assert(!w->in_api);
    ck_assert_str_eq(sy_call_method(call), "/test.Test/Echo");
    ck_assert_ptr_eq(sy_call_loop(call), w->loop);
    ck_assert_ptr_nonnull(sy_call_peer(call));
    if (w->http)
        ck_assert_int_eq(strncmp(sy_call_peer(call), "ipv4:127.0.0.1:", 15), 0);
    struct sy_buf response = sy_buf_copy(request.data, request.len);
    const char *tail = sy_call_metadata(call, "x-tail");
    if (tail != NULL) {
        ck_assert_ptr_eq(sy_call_metadata(call, "x-tail"), tail); /* kept */
        sy_buf_append_str(&response, tail);
    }
    ck_assert_ptr_null(sy_call_metadata(call, "x-absent"));
    API(w, sy_call_reply(call, &response));
}

static void fail_with_details(void *ctx, struct sy_call *call, struct sy_span request)
{
    (void)ctx;
    struct sy_status status = {0};
    sy_status_set(&status, SY_CODE_FAILED_PRECONDITION, "no: %.*s", (int)request.len,
                  (const char *)request.data);
    sy_buf_append(&status.details, "\x08\x09\x00\xff", 4);
    sy_call_finish(call, &status);
    sy_status_deinit(&status);
    sy_call_unref(call);
}

/* Keeps the call; the test replies, or watches it end. */
static void hold(void *ctx, struct sy_call *call, struct sy_span request)
{
    (void)request;
    struct world *w = ctx;
    end_deinit(&w->server_end);
    w->server_end = (struct end){.world = w, .call = call};
    API(w, sy_call_set_sink(call, &plain_sink, &w->server_end));
    w->held++;
}

/* "<n>" -> n numbered messages. */
static void count(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct world *w = ctx;
    char text[16];
    snprintf(text, sizeof(text), "%.*s", (int)request.len, (const char *)request.data);
    int n = atoi(text);
    for (int i = 0; i < n; i++) {
        struct sy_buf message = {0};
        sy_buf_printf(&message, "#%d...", i);
        int r = 1;
        API(w, r = sy_call_send(call, &message));
        ck_assert_int_eq(r, 0);
    }
    API(w, sy_call_finish(call, NULL));
    sy_call_unref(call);
}

static void bidi(void *ctx, struct sy_call *call, struct sy_span request)
{
    ck_assert_uint_eq(request.len, 0);
    hold(ctx, call, request);
}

/* Stays open until the client ends it. */
static void park(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink deaf = {0};
    (void)request;
    struct world *w = ctx;
    w->held++;
    sy_call_set_sink(call, &deaf, NULL);
    sy_call_unref(call);
}

static void small(void *ctx, struct sy_call *call, struct sy_span request)
{
    (void)ctx;
    ck_assert_uint_le(request.len, 100);
    struct sy_buf response = {0};
    sy_call_reply(call, &response);
}

/* Numbered messages of a KiB, as many as are taken. */
static void pour(struct end *end, int max)
{
    static char kib[1024];
    while (end->sent_number < max) {
        snprintf(kib, sizeof(kib), "#%d", end->sent_number);
        struct sy_buf message = sy_buf_copy(kib, sizeof(kib));
        int r = 0;
        API(end->world, r = sy_call_send(end->call, &message));
        if (r == SY_RPC_E_FULL) {
            ck_assert_uint_eq(message.len, sizeof(kib));
            sy_buf_deinit(&message);
            return;
        }
        ck_assert_int_eq(r, 0);
        end->sent_number++;
    }
}

static void flood_writable(void *ctx)
{
    on_writable(ctx);
    pour(ctx, 5000);
    struct end *end = ctx;
    if (end->sent_number == 5000)
        sy_call_finish(end->call, NULL);
}

static void flood(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink sink = {on_message, flood_writable, on_closed, NULL};
    hold(ctx, call, request);
    struct world *w = ctx;
    sy_call_set_sink(call, &sink, &w->server_end);
    pour(&w->server_end, 5000);
}

/* ---- worlds ---- */

static void add_methods(struct world *w)
{
    const struct sy_method methods[] = {
        {"/test.Test/Echo", SY_METHOD_UNARY, echo, w, w->loop, 0},
        {"/test.Test/Fail", SY_METHOD_UNARY, fail_with_details, w, w->loop, 0},
        {"/test.Test/Hold", SY_METHOD_UNARY, hold, w, w->loop, 0},
        {"/test.Test/Sit", SY_METHOD_UNARY, park, w, w->loop, 0},
        {"/test.Test/Count", SY_METHOD_SERVER_STREAM, count, w, w->loop, 0},
        {"/test.Test/Flood", SY_METHOD_SERVER_STREAM, flood, w, w->loop, 0},
        {"/test.Test/Bidi", SY_METHOD_BIDI, bidi, w, w->loop, 0},
        {"/test.Test/Park", SY_METHOD_BIDI, park, w, w->loop, 0},
        {"/test.Test/Small", SY_METHOD_UNARY, small, w, w->loop, 100},
        {"/test.Test/SmallBidi", SY_METHOD_BIDI, bidi, w, w->loop, 100},
    };
    for (size_t i = 0; i < SY_COUNT_OF(methods); i++)
        sy_server_add(w->server, &methods[i]);
}

static void start_server(struct world *w, const char *address)
{
    struct sy_error_text error = {{0}};
    struct sy_server_options options = {.address = address,
                                        .http = w->http,
                                        .message_bytes_max = MESSAGE_BYTES_MAX,
                                        .send_buffer_max = SEND_BUFFER_MAX,
                                        .streams_max = STREAMS_MAX};
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &options, &error), 0);
    add_methods(w);
    if (w->carries)
        sy_server_carry(w->server, w->loop);
    ck_assert_msg(sy_server_start(w->server, &error) == 0, "%s", error.text);
    ck_assert_int_gt(sy_server_port(w->server), 0);
}

enum transport {
    TRANSPORT_GRPC,
    TRANSPORT_SHARED, /* with HTTP */
    TRANSPORT_MEM,
    TRANSPORT_CARRIED, /* over gRPC, or in memory */
    TRANSPORT_CARRIED_MEM,
};

static struct sy_call *call(struct end *end, struct world *w, const char *method, const char *text);

/* Until calls are carried. */
static void warm_up(struct world *w)
{
    struct end end;
    call(&end, w, "/test.Test/Echo", "");
    wait_for(w, &end.closes, 1);
    end_deinit(&end);
    for (int i = 0; !carry_channel_up(w->channel); i++) {
        ck_assert_int_lt(i, 60000);
        wait_ms(w, 1);
    }
}

static void open_world(struct world *w, enum transport transport)
{
    *w = (struct world){0};
    struct sy_error_text error;
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    if (transport == TRANSPORT_MEM || transport == TRANSPORT_CARRIED_MEM)
        ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    else
        ck_assert_int_eq(sy_rpc_grpc_new(&w->rpc, &error), 0);
    w->http = transport == TRANSPORT_SHARED;
    w->carries = transport >= TRANSPORT_CARRIED;
    start_server(w, "127.0.0.1:0");
    snprintf(w->target, sizeof(w->target), "127.0.0.1:%d", sy_server_port(w->server));
    w->channel = sy_channel_new(w->rpc, w->target);
    if (!w->carries)
        return;
    w->under = w->channel;
    w->channel = sy_channel_carry(w->under, w->loop);
    warm_up(w);
}

static void drain(struct world *w, int64_t grace_ms)
{
    int before = w->drained;
    API(w, sy_server_drain(w->server, grace_ms * SY_NS_PER_MS, w->loop, count_up, &w->drained));
    ck_assert_int_eq(w->drained, before);
}

static void close_world(struct world *w)
{
    if (w->server != NULL) {
        int before = w->drained;
        drain(w, 0);
        wait_for(w, &w->drained, before + 1);
        ck_assert_uint_eq(sy_server_calls(w->server), 0);
        sy_server_free(w->server);
    }
    end_deinit(&w->server_end);
    sy_channel_free(w->channel);
    sy_channel_free(w->under);
    while (sy_rpc_busy(w->rpc)) /* the stream that carried ends on its loop */
        wait_ms(w, 1);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
}

static void run(void (*test)(struct world *w), enum transport transport)
{
    struct world w;
    open_world(&w, transport);
    test(&w);
    close_world(&w);
}

/* ---- calling ---- */

static struct sy_call *call_with(struct end *end, struct world *w,
                                 const struct sy_call_options *options, const void *data,
                                 size_t len)
{
    *end = (struct end){.world = w};
    struct sy_buf request = sy_buf_copy(data, len);
    struct sy_call *call = NULL;
    API(w, call = sy_channel_call(w->channel, w->loop, options, &request, on_reply, end));
    ck_assert_ptr_null(request.data);
    return call;
}

static struct sy_call *call(struct end *end, struct world *w, const char *method, const char *text)
{
    struct sy_call_options options = {.method = method};
    return call_with(end, w, &options, text, strlen(text));
}

static __attribute__((unused)) void open_stream(struct end *end, struct world *w,
                                                const char *method, bool with_sink)
{
    *end = (struct end){.world = w};
    struct sy_call_options options = {.method = method};
    API(w, end->call = sy_channel_open(w->channel, w->loop, &options,
                                       with_sink ? &plain_sink : NULL, end));
}

static void send_bytes(struct end *end, const void *data, size_t len)
{
    struct sy_buf message = sy_buf_copy(data, len);
    int r = 1;
    API(end->world, r = sy_call_send(end->call, &message));
    ck_assert_int_eq(r, 0);
    ck_assert_ptr_null(message.data);
}

static __attribute__((unused)) void send_text(struct end *end, const char *text)
{
    send_bytes(end, text, strlen(text));
}

static void assert_last(const struct end *end, const char *text)
{
    ck_assert_uint_eq(end->last.len, strlen(text));
    if (end->last.len > 0)
        ck_assert_mem_eq(end->last.data, text, strlen(text));
}
