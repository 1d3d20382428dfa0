/* links: sy_rpc */
/*
 * HTTP/1.1 beside gRPC on one port, byte by byte: the Connect protocol over plain sockets. The
 * server runs on a thread of its own; the tests block.
 */
#include "base/gzip.h"
#include "tests/unit/test_rpc_http_world.h"

START_TEST(opens)
{
    world_open(&(struct sy_server_options){.message_bytes_max = MESSAGE_BYTES_MAX,
                                           .streams_max = STREAMS_MAX},
               NULL);
}
END_TEST

START_TEST(closes)
{
    world_close();
}
END_TEST

START_TEST(unary)
{
    int fd = dial(&world);
    request(fd, "/test.Test/Echo", "application/proto", "", "hello", 5);
    struct reply reply = {0};
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    ck_assert_str_eq(header(&reply, "content-type"), "application/proto");
    assert_body(&reply, "hello");
    request(fd, "/test.Test/Echo", "application/proto", "", "", 0); /* the connection stays */
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    assert_body(&reply, "");
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(unary_error)
{
    int fd = dial(&world);
    request(fd, "/test.Test/Fail", "application/proto", "", "\"x\"\n", 4);
    struct reply reply = {0};
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 400);
    ck_assert_str_eq(header(&reply, "content-type"), "application/json");
    assert_body(&reply,
                "{\"code\":\"failed_precondition\",\"message\":\"no: \\\"x\\\"?\",\"details\":"
                "[{\"type\":\"a.B\",\"value\":\"AQID\"}]}");
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(server_stream)
{
    int fd = dial(&world);
    request(fd, "/test.Test/Count", "application/connect+proto", "",
            "\0\0\0\0\1"
            "3",
            6);
    struct reply reply = {0};
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    ck_assert_str_eq(header(&reply, "content-type"), "application/connect+proto");
    static const char expected[] = "\0\0\0\0\2#0\0\0\0\0\2#1\0\0\0\0\2#2\2\0\0\0\2{}";
    ck_assert_uint_eq(reply.body.len, sizeof(expected) - 1);
    ck_assert_mem_eq(reply.body.data, expected, sizeof(expected) - 1);
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(gzip_in)
{
    struct sy_gzip *gzip = sy_gzip_new();
    struct sy_buf packed = {0};
    struct reply reply = {0};
    sy_gzip_deflate(gzip, (struct sy_span){(const uint8_t *)"hello", 5}, &packed);
    int fd = dial(&world);
    request(fd, "/test.Test/Echo", "application/proto", "content-encoding: gzip\r\n", packed.data,
            packed.len);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    assert_body(&reply, "hello");
    request(fd, "/test.Test/Echo", "application/proto", "content-encoding: gzip\r\n", packed.data,
            packed.len - 3);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 400);
    /* Said to be gzip, and is not. */
    request(fd, "/test.Test/Echo", "application/proto", "content-encoding: gzip\r\n", "plain", 5);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    assert_body(&reply, "plain");
    reply_deinit(&reply);
    close(fd);
    sy_buf_deinit(&packed);
    sy_gzip_free(gzip);
}
END_TEST

START_TEST(unknown_things)
{
    int fd = dial(&world);
    struct reply reply = {0};
    request(fd, "/test.Test/Nothing", "application/proto", "", "", 0);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 501);
    assert_body(&reply, "{\"code\":\"unimplemented\",\"message\":\"unknown method "
                        "/test.Test/Nothing\"}");
    request(fd, "/test.Test/Echo", "text/plain", "", "", 0);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 415);
    request(fd, "/test.Test/Echo", "application/json", "", "{}", 2);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 415);
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(pipelined)
{
    int fd = dial(&world);
    put_text(fd, "POST /test.Test/Echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/proto\r\n"
                 "Content-Length: 3\r\n\r\noneP");
    put_text(fd, "OST /test.Test/Echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/proto\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n2\r\ntw\r\n1\r\no\r\n0\r\n\r\n");
    struct reply reply = {0};
    read_reply(fd, &reply);
    assert_body(&reply, "one");
    read_reply(fd, &reply);
    assert_body(&reply, "two");
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(client_vanishes)
{
    int closed = world.closed, cancelled = world.cancelled, held = world.held;
    int fd = dial(&world);
    request(fd, "/test.Test/Watch", "application/connect+proto", "", "\0\0\0\0\0", 5);
    struct reply reply = {0};
    ck_assert(read_head(fd, &reply)); /* at once, though there is nothing to say */
    ck_assert_int_eq(reply.status, 200);
    wait_until(&world.held, held + 1);
    close(fd);
    wait_until(&world.closed, closed + 1);
    ck_assert_int_eq(world.cancelled, cancelled + 1);
    fd = dial(&world);
    request(fd, "/test.Test/Hold", "application/proto", "", "", 0);
    wait_until(&world.held, held + 2);
    close(fd);
    wait_until(&world.closed, closed + 2);
    ck_assert_int_eq(world.cancelled, cancelled + 2);
    reply_deinit(&reply);
}
END_TEST

START_TEST(deadline)
{
    int closed = world.closed, cancelled = world.cancelled;
    struct reply reply = {0};
    int fd = dial(&world);
    request(fd, "/test.Test/Hold", "application/proto", "connect-timeout-ms: 50\r\n", "", 0);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 504);
    wait_until(&world.closed, closed + 1);
    ck_assert_int_eq(world.cancelled, cancelled + 1);
    request(fd, "/test.Test/Watch", "application/connect+proto", "connect-timeout-ms: 50\r\n",
            "\0\0\0\0\0", 5);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    ck_assert_uint_gt(reply.body.len, 5);
    ck_assert_int_eq(reply.body.data[0], 2);
    ck_assert_ptr_nonnull(memmem(reply.body.data, reply.body.len, "deadline_exceeded", 17));
    wait_until(&world.closed, closed + 2);
    request(fd, "/test.Test/Echo", "application/proto", "connect-timeout-ms: soon\r\n", "", 0);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 400);
    reply_deinit(&reply);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    ck_assert(is_closed(fd));
    close(fd);
}
END_TEST

/* ---- bad input ---- */

static void assert_error(struct reply *reply, int status, const char *code)
{
    char text[64];
    snprintf(text, sizeof(text), "{\"code\":\"%s\"", code);
    ck_assert_msg(reply->status == status, "%d: %.*s", reply->status, (int)reply->body.len,
                  (char *)reply->body.data);
    ck_assert_uint_gt(reply->body.len, strlen(text));
    ck_assert_mem_eq(reply->body.data, text, strlen(text));
}

/* A stream that ended with `code` and sent nothing else. */
static void assert_stream_error(struct reply *reply, const char *code)
{
    ck_assert_int_eq(reply->status, 200);
    ck_assert(!reply->cut);
    ck_assert_uint_gt(reply->body.len, 5);
    ck_assert_int_eq(reply->body.data[0], 2);
    ck_assert_uint_eq(sy_get_be32(reply->body.data + 1), reply->body.len - 5);
    ck_assert_ptr_nonnull(memmem(reply->body.data, reply->body.len, code, strlen(code)));
}

START_TEST(gzip_bomb)
{
    struct sy_gzip *gzip = sy_gzip_new();
    struct sy_buf zeros = {0}, packed = {0}, envelope = {0};
    struct reply reply = {0};
    sy_buf_reserve(&zeros, 200 << 20);
    memset(zeros.data, 0, 200 << 20);
    zeros.len = 200 << 20;
    sy_gzip_deflate(gzip, sy_buf_span(&zeros), &packed);
    sy_buf_deinit(&zeros);
    int fd = dial(&world);
    request(fd, "/test.Test/Echo", "application/proto", "content-encoding: gzip\r\n", packed.data,
            packed.len);
    read_reply(fd, &reply);
    assert_error(&reply, 429, "resource_exhausted");
    sy_buf_append(&envelope, "\1", 1);
    sy_buf_put_be32(&envelope, (uint32_t)packed.len);
    sy_buf_append(&envelope, packed.data, packed.len);
    request(fd, "/test.Test/Count", "application/connect+proto",
            "connect-content-encoding: gzip\r\n", envelope.data, envelope.len);
    read_reply(fd, &reply);
    assert_stream_error(&reply, "resource_exhausted");
    request(fd, "/test.Test/Echo", "application/proto", "content-encoding: br\r\n", "x", 1);
    read_reply(fd, &reply);
    assert_error(&reply, 501, "unimplemented");
    sy_buf_deinit(&envelope);
    sy_buf_deinit(&packed);
    sy_gzip_free(gzip);
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(bad_envelopes)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *code;
    } bad[] = {
        {"", 0, "internal"},                             /* no message */
        {"\0\0\0", 3, "invalid_argument"},               /* half a head */
        {"\0\0\0\0\5abc", 8, "invalid_argument"},        /* cut */
        {"\0\0\0\0\1ab", 7, "invalid_argument"},         /* something behind it */
        {"\0\xff\xff\xff\xff", 5, "resource_exhausted"}, /* says that it is huge */
        {"\1\0\0\0\1x", 6, "internal"},                  /* compressed, with what? */
    };
    struct reply reply = {0};
    int fd = dial(&world);
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        request(fd, "/test.Test/Count", "application/connect+proto", "", bad[i].bytes, bad[i].len);
        read_reply(fd, &reply);
        assert_stream_error(&reply, bad[i].code);
    }
    request(fd, "/test.Test/Count", "application/proto", "", "1", 1); /* a stream, asked as unary */
    read_reply(fd, &reply);
    assert_error(&reply, 400, "invalid_argument");
    request(fd, "/test.Test/Echo", "application/connect+proto", "", "\0\0\0\0\0", 5);
    read_reply(fd, &reply);
    assert_stream_error(&reply, "invalid_argument");
    request(fd, "/test.Test/Bidi", "application/connect+proto", "", "\0\0\0\0\0", 5);
    read_reply(fd, &reply);
    assert_stream_error(&reply, "unimplemented");
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(large_bodies)
{
    size_t len = (size_t)10 << 20;
    uint8_t *body = sy_calloc(1, MESSAGE_BYTES_MAX + 1);
    for (size_t i = 0; i < len; i++)
        body[i] = (uint8_t)(i * 31 >> 7);
    struct reply reply = {0};
    int fd = dial(&world);
    request(fd, "/test.Test/Echo", "application/proto", "", body, len);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    ck_assert_uint_eq(reply.body.len, len);
    ck_assert_mem_eq(reply.body.data, body, len);
    request(fd, "/test.Test/Echo", "application/proto", "Expect: 100-continue\r\n", body, len);
    ck_assert(read_head(fd, &reply));
    ck_assert_int_eq(reply.status, 100);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    request(fd, "/test.Test/Echo", "application/proto", "", body, MESSAGE_BYTES_MAX + 1);
    read_reply(fd, &reply);
    assert_error(&reply, 429, "resource_exhausted");
    request(fd, "/test.Test/Small", "application/proto", "", body,
            101); /* the method's own limit */
    read_reply(fd, &reply);
    assert_error(&reply, 429, "resource_exhausted");
    /* What compresses comes back compressed, to who can read it. */
    memset(body, 'a', len);
    request(fd, "/test.Test/Echo", "application/proto", "Accept-Encoding: br, gzip;q=0.5\r\n", body,
            len);
    read_reply(fd, &reply);
    ck_assert_str_eq(header(&reply, "content-encoding"), "gzip");
    ck_assert_uint_lt(reply.body.len, len / 10);
    reply_deinit(&reply);
    close(fd);
    free(body);
}
END_TEST

START_TEST(cut_requests)
{
    static const char *const starts[] = {
        "P",
        "PRI",
        "POST ",
        "POST /test.Test/Echo HTTP/1.1\r\nHost: x\r\n",
        "POST /test.Test/Echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/proto\r\n"
        "Content-Length: 100\r\n\r\nless",
        "POST /test.Test/Echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/proto\r\n"
        "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    };
    for (size_t i = 0; i < SY_COUNT_OF(starts); i++) {
        int fd = dial(&world);
        put_text(fd, starts[i]);
        shutdown(fd, SHUT_WR);
        while (!is_closed(fd))
            ;
        close(fd);
    }
    struct reply reply = {0};
    int fd = dial(&world);
    put_text(fd, "\x16\x03\x01 this is not HTTP\r\n\r\n");
    read_reply(fd, &reply);
    ck_assert(reply.status == 0 || reply.status >= 400);
    close(fd);
    /* A lie the other way: what follows the body is no request. */
    fd = dial(&world);
    put_text(fd, "POST /test.Test/Echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/proto\r\n"
                 "Content-Length: 2\r\n\r\nmore than two\r\n\r\n");
    read_reply(fd, &reply);
    assert_body(&reply, "mo");
    read_reply(fd, &reply);
    ck_assert(reply.status == 0 || reply.status >= 400);
    close(fd);
    /* Headers beyond all measure. */
    fd = dial(&world);
    char *huge = sy_calloc(1, 100000);
    memset(huge, 'x', 99999);
    put_text(fd, "POST /test.Test/Echo HTTP/1.1\r\nHost: x\r\nX-Huge: ");
    send(fd, huge, 99999, MSG_NOSIGNAL);
    read_reply(fd, &reply);
    ck_assert(reply.status == 0 || reply.status >= 400);
    free(huge);
    close(fd);
    reply_deinit(&reply);
}
END_TEST

/* ---- clients that take their time ---- */

START_TEST(slow_and_silent_clients)
{
    enum { SILENT = 200 };
    int silent[SILENT];
    struct reply reply = {0};
    for (int i = 0; i < SILENT; i++) {
        silent[i] = dial(&world);
        if (i % 2 > 0)
            put_text(silent[i], i % 4 > 1 ? "PR" : "POST /te");
    }
    int fd = dial(&world);
    static const char slow[] = "POST /test.Test/Echo HTTP/1.1\r\nHost: x\r\n"
                               "Content-Type: application/proto\r\nContent-Length: 4\r\n\r\nslow";
    for (size_t i = 0; i < sizeof(slow) - 1; i++)
        put(fd, slow + i, 1);
    read_reply(fd, &reply);
    assert_body(&reply, "slow");
    for (int i = 0; i < SILENT; i++)
        close(silent[i]);
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(client_that_does_not_read)
{
    int held = world.held, closed = world.closed;
    struct reply reply = {0};
    int fd = dial(&world);
    request(fd, "/test.Test/Flood", "application/connect+proto", "", "\0\0\0\0\0", 5);
    wait_until(&world.held, held + 1);
    int before = -1; /* the sockets fill, then the stream, then nothing moves */
    while (before != world.writables) {
        before = world.writables;
        usleep(100000);
    }
    ck_assert(read_head(fd, &reply));
    for (int i = 0; i < 1000; i++) {
        sy_buf_clear(&reply.body);
        ck_assert(read_chunk(fd, &reply));
    }
    wait_until(&world.writables, before + 1);
    ck_assert_int_eq(world.closed, closed);
    close(fd); /* in the middle of a write */
    wait_until(&world.closed, closed + 1);
    reply_deinit(&reply);
}
END_TEST

START_TEST(too_many_calls)
{
    int held = world.held, closed = world.closed;
    int fds[STREAMS_MAX];
    struct reply reply = {0};
    for (int i = 0; i < STREAMS_MAX; i++) {
        fds[i] = dial(&world);
        request(fds[i], "/test.Test/Watch", "application/connect+proto", "", "\0\0\0\0\0", 5);
    }
    wait_until(&world.held, held + STREAMS_MAX);
    int fd = dial(&world);
    request(fd, "/test.Test/Echo", "application/proto", "", "", 0);
    read_reply(fd, &reply);
    assert_error(&reply, 429, "resource_exhausted");
    for (int i = 0; i < STREAMS_MAX; i++)
        close(fds[i]);
    wait_until(&world.closed, closed + STREAMS_MAX);
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(http_1_0)
{
    struct reply reply = {0};
    int fd = dial(&world);
    put_text(fd, "POST /test.Test/Echo HTTP/1.0\r\nContent-Type: application/proto\r\n"
                 "Content-Length: 3\r\n\r\nold");
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    assert_body(&reply, "old");
    ck_assert(is_closed(fd));
    close(fd);
    fd = dial(&world);
    put_text(fd, "POST /test.Test/Count HTTP/1.0\r\nContent-Type: application/connect+proto\r\n"
                 "Content-Length: 6\r\n\r\n");
    put(fd,
        "\0\0\0\0\1"
        "1",
        6);
    read_reply(fd, &reply); /* to the end of the connection */
    ck_assert_uint_eq(reply.body.len, 14);
    reply_deinit(&reply);
    close(fd);
}
END_TEST

/* The last: streams end with a word, idle connections without one, and nobody gets in. */
START_TEST(drains)
{
    int held = world.held;
    struct reply reply = {0};
    int idle = dial(&world), stream = dial(&world), fd = dial(&world);
    request(idle, "/test.Test/Echo", "application/proto", "", "x", 1);
    read_reply(idle, &reply);
    request(stream, "/test.Test/Watch", "application/connect+proto", "", "\0\0\0\0\0", 5);
    request(fd, "/test.Test/Hold", "application/proto", "", "", 0);
    wait_until(&world.held, held + 2);
    on_loop(drain_at_once);
    read_reply(stream, &reply);
    assert_stream_error(&reply, "unavailable");
    read_reply(fd, &reply);
    assert_error(&reply, 503, "unavailable");
    ck_assert(is_closed(idle));
    wait_until(&world.drained, 1);
    ck_assert_uint_eq(sy_server_calls(world.server), 0);
    reply_deinit(&reply);
    close(idle);
    close(stream);
    close(fd);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        opens,
        unary,
        unary_error,
        server_stream,
        gzip_in,
        unknown_things,
        pipelined,
        client_vanishes,
        deadline,
        gzip_bomb,
        bad_envelopes,
        large_bodies,
        cut_requests,
        slow_and_silent_clients,
        client_that_does_not_read,
        too_many_calls,
        http_1_0,
        drains,
        closes,
        NULL,
    };
    return sy_test_run("rpc_http", tests);
}
