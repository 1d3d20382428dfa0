/*
 * The world of test_rpc_http*.c: a server with HTTP on a loop with a thread of its own, and a
 * client that is a blocking socket.
 */
#pragma once

#include "base/mem.h"
#include "base/rpc.h"
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 60000 /* a test that waits longer has failed */
#define MESSAGE_BYTES_MAX ((size_t)12 << 20)
#define STREAMS_MAX 64

struct world {
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_server *server;
    pthread_t thread;
    int port;
    atomic_int held, closed, cancelled, drained;
    atomic_int writables;
    atomic_bool draining;
    struct sy_call *call; /* the last held one; the loop's */
    atomic_bool answers;  /* the next held calls are answered after 50 ms */
    struct sy_timer answer;
};

static struct world world;

/* ---- the services: the loop's thread, where check's assertions may not be used ---- */

static void echo(void *ctx, struct sy_call *call, struct sy_span request)
{
    (void)ctx;
    struct sy_buf response = sy_buf_copy(request.data, request.len);
    const char *tail = sy_call_metadata(call, "x-tail");
    if (tail != NULL)
        sy_buf_append_str(&response, tail);
    SY_ASSERT(strncmp(sy_call_peer(call), "ipv4:127.0.0.1:", 15) == 0);
    sy_call_reply(call, &response);
}

static void fail_with_details(void *ctx, struct sy_call *call, struct sy_span request)
{
    (void)ctx;
    struct sy_status status = {0};
    sy_status_set(&status, SY_CODE_FAILED_PRECONDITION, "no: %.*s", (int)request.len,
                  (const char *)request.data);
    sy_buf_append(&status.details, "\x08\x09\x1a\x0c\x0a\x05x/a.B\x12\x03\x01\x02\x03", 16);
    sy_call_finish(call, &status);
    sy_status_deinit(&status);
    sy_call_unref(call);
}

/* "<n>" -> n messages. */
static void count(void *ctx, struct sy_call *call, struct sy_span request)
{
    (void)ctx;
    char text[16];
    snprintf(text, sizeof(text), "%.*s", (int)request.len, (const char *)request.data);
    for (int i = 0; i < atoi(text); i++) {
        struct sy_buf message = {0};
        sy_buf_printf(&message, "#%d", i);
        int r = sy_call_send(call, &message);
        SY_ASSERT(r == 0);
    }
    sy_call_finish(call, NULL);
    sy_call_unref(call);
}

static void hold_closed(void *ctx, const struct sy_status *status)
{
    struct world *w = ctx;
    if (status->code != SY_CODE_OK)
        w->cancelled++;
    w->closed++;
}

/* Open until somebody ends it. */
static void hold(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink sink = {.on_closed = hold_closed};
    (void)request;
    struct world *w = ctx;
    sy_call_set_sink(call, &sink, w);
    if (w->call != NULL)
        sy_call_unref(w->call);
    w->call = call;
    w->held++;
}

static void pour(struct world *w)
{
    for (;;) {
        struct sy_buf message = {0};
        sy_buf_reserve(&message, 4096);
        memset(message.data, 'x', 4096);
        message.len = 4096;
        if (sy_call_send(w->call, &message) == 0)
            continue;
        sy_buf_deinit(&message);
        return;
    }
}

static void flood_writable(void *ctx)
{
    struct world *w = ctx;
    w->writables++;
    pour(w);
}

/* As much as is taken, for ever. */
static void flood(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink sink = {.on_writable = flood_writable,
                                             .on_closed = hold_closed};
    hold(ctx, call, request);
    sy_call_set_sink(call, &sink, ctx);
    pour(ctx);
}

/* ---- the server ---- */

static void *run_loop(void *arg)
{
    struct world *w = arg;
    int r = sy_loop_run(w->loop);
    SY_ASSERT(r == 0);
    return NULL;
}

/* `add` may add routes. */
static void world_open(const struct sy_server_options *base, void (*add)(struct world *w))
{
    struct world *w = &world;
    struct sy_error_text error = {{0}};
    *w = (struct world){0};
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    ck_assert_int_eq(sy_rpc_grpc_new(&w->rpc, &error), 0);
    struct sy_server_options options = *base;
    options.http = true;
    if (options.address == NULL)
        options.address = "127.0.0.1:0";
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &options, &error), 0);
    const struct sy_method methods[] = {
        {"/test.Test/Echo", SY_METHOD_UNARY, echo, w, w->loop, 0},
        {"/test.Test/Small", SY_METHOD_UNARY, echo, w, w->loop, 100},
        {"/test.Test/Fail", SY_METHOD_UNARY, fail_with_details, w, w->loop, 0},
        {"/test.Test/Hold", SY_METHOD_UNARY, hold, w, w->loop, 0},
        {"/test.Test/Count", SY_METHOD_SERVER_STREAM, count, w, w->loop, 0},
        {"/test.Test/Watch", SY_METHOD_SERVER_STREAM, hold, w, w->loop, 0},
        {"/test.Test/Flood", SY_METHOD_SERVER_STREAM, flood, w, w->loop, 0},
        {"/test.Test/Bidi", SY_METHOD_BIDI, hold, w, w->loop, 0},
    };
    for (size_t i = 0; i < SY_COUNT_OF(methods); i++)
        sy_server_add(w->server, &methods[i]);
    if (add != NULL)
        add(w);
    ck_assert_msg(sy_server_start(w->server, &error) == 0, "%s", error.text);
    w->port = sy_server_port(w->server);
    ck_assert_int_eq(pthread_create(&w->thread, NULL, run_loop, w), 0);
}

/* fn runs on the loop; for more than one thing at a time the tests have no need. */
static void on_loop(sy_fn fn)
{
    sy_loop_post_always(world.loop, fn, &world);
}

static void wait_until(const atomic_int *value, int target)
{
    for (int ms = 0; atomic_load(value) < target; ms++) {
        ck_assert_msg(ms < PATIENCE_MS, "nothing happened for too long");
        usleep(1000);
    }
}

static void drained(void *arg)
{
    struct world *w = arg;
    w->drained++;
}

static void drain_at_once(void *arg)
{
    struct world *w = arg;
    w->draining = true;
    sy_server_drain(w->server, 0, w->loop, drained, w);
}

static void stop(void *arg)
{
    struct world *w = arg;
    if (w->call != NULL)
        sy_call_unref(sy_take(w->call));
    sy_loop_stop(w->loop);
}

static void world_close(void)
{
    struct world *w = &world;
    if (!w->draining)
        on_loop(drain_at_once);
    wait_until(&w->drained, 1);
    ck_assert_uint_eq(sy_server_calls(w->server), 0);
    on_loop(stop);
    pthread_join(w->thread, NULL);
    sy_server_free(w->server);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
}

/* ---- the client ---- */

static int dial(const struct world *w)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w->port)};
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    int on = 1;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static void put(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        ck_assert_int_gt(n, 0);
        at += n;
        len -= (size_t)n;
    }
}

static void put_text(int fd, const char *text)
{
    put(fd, text, strlen(text));
}

/* `headers` are whole lines. */
static void request_head(int fd, const char *path, const char *type, const char *headers,
                         size_t len)
{
    struct sy_buf head = {0};
    sy_buf_printf(
        &head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n%sContent-Length: %zu\r\n\r\n",
        path, type, headers, len);
    put(fd, head.data, head.len);
    sy_buf_deinit(&head);
}

static void request(int fd, const char *path, const char *type, const char *headers,
                    const void *body, size_t len)
{
    request_head(fd, path, type, headers, len);
    put(fd, body, len);
}

struct reply {
    int status; /* 0: the connection ended first */
    struct sy_buf head, body;
    bool cut; /* it ended in the middle of the body */
};

static void reply_deinit(struct reply *reply)
{
    sy_buf_deinit(&reply->head);
    sy_buf_deinit(&reply->body);
    *reply = (struct reply){0};
}

static bool get_byte(int fd, char *ret)
{
    ssize_t n = recv(fd, ret, 1, 0);
    ck_assert_msg(n >= 0 || errno == ECONNRESET, "recv: %s", strerror(errno));
    return n == 1;
}

/* A line without its end; false when the connection ended. */
static bool get_line(int fd, struct sy_buf *line)
{
    char c;
    sy_buf_clear(line);
    while (get_byte(fd, &c)) {
        if (c == '\n') {
            sy_buf_append(line, "", 1);
            return true;
        }
        if (c != '\r')
            sy_buf_append(line, &c, 1);
    }
    return false;
}

static bool get_body(int fd, struct sy_buf *body, size_t len)
{
    sy_buf_reserve(body, len + 1);
    while (len > 0) {
        ssize_t n = recv(fd, body->data + body->len, len, 0);
        if (n <= 0)
            return false;
        body->len += (size_t)n;
        len -= (size_t)n;
    }
    return true;
}

/* The value of a header, in place; NULL without. */
static const char *header(const struct reply *reply, const char *key)
{
    const char *at = (const char *)reply->head.data, *end = at + reply->head.len;
    for (; at < end; at += strlen(at) + 1) {
        size_t len = strlen(key);
        if (strncasecmp(at, key, len) == 0 && at[len] == ':')
            return at + len + 1 + strspn(at + len + 1, " ");
    }
    return NULL;
}

static bool read_head(int fd, struct reply *reply)
{
    struct sy_buf line = {0};
    reply_deinit(reply);
    if (get_line(fd, &line)) {
        ck_assert_int_eq(strncmp((char *)line.data, "HTTP/1.", 7), 0);
        reply->status = atoi((char *)line.data + 9);
        while (get_line(fd, &line) && line.len > 1)
            sy_buf_append(&reply->head, line.data, line.len);
    }
    sy_buf_deinit(&line);
    return reply->status != 0;
}

/* False: that was the last one, or the connection ended (then `cut`). */
static bool read_chunk(int fd, struct reply *reply)
{
    struct sy_buf line = {0};
    reply->cut = true;
    size_t len = 0;
    if (get_line(fd, &line)) {
        len = strtoul((char *)line.data, NULL, 16);
        reply->cut = !get_body(fd, &reply->body, len) || !get_line(fd, &line);
    }
    sy_buf_deinit(&line);
    return !reply->cut && len > 0;
}

static void read_reply(int fd, struct reply *reply)
{
    if (!read_head(fd, reply))
        return;
    const char *length = header(reply, "content-length");
    const char *encoding = header(reply, "transfer-encoding");
    if (length != NULL)
        reply->cut = !get_body(fd, &reply->body, strtoul(length, NULL, 10));
    else if (encoding != NULL)
        while (read_chunk(fd, reply))
            ;
    else if (reply->status != 204)
        while (get_body(fd, &reply->body, 1))
            ;
}

static void assert_body(const struct reply *reply, const char *text)
{
    ck_assert_uint_eq(reply->body.len, strlen(text));
    if (reply->body.len > 0)
        ck_assert_mem_eq(reply->body.data, text, strlen(text));
}

/* The connection ends without another byte. */
static bool is_closed(int fd)
{
    char c;
    return !get_byte(fd, &c);
}
