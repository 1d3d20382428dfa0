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

int main(void)
{
    const TTest *const tests[] = {
        opens,     unary,           unary_error, server_stream, gzip_in, unknown_things,
        pipelined, client_vanishes, deadline,    closes,        NULL,
    };
    return sy_test_run("rpc_http", tests);
}
