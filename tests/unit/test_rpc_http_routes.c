/* links: sy_rpc */
/* base/http.h over plain sockets: uploads with backpressure, replies from memory and files. */
#include "base/http.h"
#include "tests/unit/test_rpc_http_world.h"

#include <fcntl.h>
#include <sys/mman.h>

#define UPLOAD_MAX ((uint64_t)8 << 20)

/* An upload: it answers with the number of bytes and their sum, or in the middle. */
struct upload {
    struct sy_http_request *request;
    size_t bytes;
    uint32_t sum;
    size_t stop_at; /* reply 403 there; 0: at the end */
    bool slow;      /* every piece waits a little */
    bool replied;
    struct sy_timer timer;
};

static struct {
    atomic_int opened, closed, sent;
    atomic_size_t bytes;
} seen;

static bool upload_body(void *ctx, struct sy_span piece)
{
    struct upload *upload = ctx;
    upload->bytes += piece.len;
    seen.bytes += piece.len;
    for (size_t i = 0; i < piece.len; i++)
        upload->sum += piece.data[i];
    SY_ASSERT(!upload->replied);
    if (upload->stop_at > 0 && upload->bytes >= upload->stop_at) {
        upload->replied = true;
        sy_http_reply(upload->request, 403, NULL, NULL);
        return true;
    }
    if (upload->slow)
        sy_timer_start_in(world.loop, &upload->timer, 2 * SY_NS_PER_MS);
    return !upload->slow;
}

static void upload_go_on(void *arg)
{
    struct upload *upload = arg;
    sy_http_continue(upload->request);
}

static void upload_end(void *ctx)
{
    struct upload *upload = ctx;
    struct sy_buf body = {0};
    SY_ASSERT(!upload->replied);
    upload->replied = true;
    sy_buf_printf(&body, "%zu %u", upload->bytes, upload->sum);
    sy_http_add_header(upload->request, "x-path", sy_http_path(upload->request));
    sy_http_reply(upload->request, 201, "text/plain", &body);
}

static void upload_closed(void *ctx, bool sent)
{
    struct upload *upload = ctx;
    sy_timer_stop(world.loop, &upload->timer);
    free(upload);
    seen.sent += sent;
    seen.closed++;
}

static void open_upload(void *ctx, struct sy_http_request *request)
{
    static const struct sy_http_sink sink = {upload_body, upload_end, upload_closed};
    (void)ctx;
    struct upload *upload = sy_new(struct upload);
    const char *stop_at = sy_http_query(request, "stop");
    upload->request = request;
    upload->stop_at = stop_at != NULL ? strtoul(stop_at, NULL, 10) : 0;
    upload->slow = sy_http_header(request, "X-Slow") != NULL;
    sy_timer_init(&upload->timer, upload_go_on, upload);
    sy_http_set_sink(request, &sink, upload);
    seen.opened++;
}

static bool get_body_piece(void *ctx, struct sy_span piece)
{
    (void)ctx;
    (void)piece;
    return true;
}

static void get_end(void *ctx)
{
    struct sy_http_request *request = ctx;
    int fd = memfd_create("file", MFD_CLOEXEC);
    SY_ASSERT(fd >= 0 && write(fd, "0123456789", 10) == 10);
    sy_http_reply_file(request, 200, "text/plain", fd, 2, 5);
}

static void get_closed(void *ctx, bool sent)
{
    (void)ctx;
    seen.sent += sent;
    seen.closed++;
}

static void open_file(void *ctx, struct sy_http_request *request)
{
    static const struct sy_http_sink sink = {get_body_piece, get_end, get_closed};
    (void)ctx;
    sy_http_set_sink(request, &sink, request);
    seen.opened++;
}

static void add_routes(struct world *w)
{
    const struct sy_http_route routes[] = {
        {"PUT", "/data/", open_upload, NULL, w->loop, UPLOAD_MAX},
        {"GET", "/data/", open_file, NULL, w->loop, 0},
    };
    for (size_t i = 0; i < SY_COUNT_OF(routes); i++)
        sy_server_add_route(w->server, &routes[i]);
}

START_TEST(opens)
{
    static const char *const any[] = {"*"};
    world_open(&(struct sy_server_options){.allow_origins = any, .allow_origin_count = 1},
               add_routes);
}
END_TEST

START_TEST(closes)
{
    world_close();
    ck_assert_int_eq(seen.opened, seen.closed);
}
END_TEST

static void put_head(int fd, const char *path, const char *headers)
{
    struct sy_buf head = {0};
    sy_buf_printf(&head, "PUT %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, headers);
    put(fd, head.data, head.len);
    sy_buf_deinit(&head);
}

static uint32_t fill(uint8_t *bytes, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += bytes[i] = (uint8_t)(i * 7 + i / 251);
    return sum;
}

START_TEST(upload)
{
    enum { LEN = 5000000 };
    uint8_t *bytes = sy_malloc(LEN);
    char expected[64];
    snprintf(expected, sizeof(expected), "%d %u", LEN, fill(bytes, LEN));
    struct reply reply = {0};
    int fd = dial(&world);
    put_head(fd, "/data/a%20b", "Content-Length: 5000000\r\n");
    put(fd, bytes, LEN);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 201);
    ck_assert_str_eq(header(&reply, "x-path"), "/data/a b");
    ck_assert_str_eq(header(&reply, "content-type"), "text/plain");
    ck_assert_str_eq(header(&reply, "access-control-allow-origin"), "*");
    assert_body(&reply, expected);

    put_head(fd, "/data/chunked", "Transfer-Encoding: chunked\r\n");
    char head[32];
    for (size_t at = 0; at < LEN; at += 100000) {
        snprintf(head, sizeof(head), "%x\r\n", 100000);
        put_text(fd, head);
        put(fd, bytes + at, 100000);
        put_text(fd, "\r\n");
    }
    put_text(fd, "0\r\n\r\n");
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 201);
    assert_body(&reply, expected);
    reply_deinit(&reply);
    close(fd);
    free(bytes);
}
END_TEST

START_TEST(backpressure)
{
    enum { LEN = 8 << 20 };
    uint8_t *bytes = sy_calloc(1, LEN);
    struct reply reply = {0};
    size_t before = seen.bytes;
    int fd = dial(&world);
    put_head(fd, "/data/slow", "Content-Length: 8388608\r\nX-Slow: 1\r\n");
    size_t sent = 0;
    for (int idle = 0; idle < 100;) { /* until the sockets are full */
        ssize_t n = send(fd, bytes, LEN - sent, MSG_DONTWAIT);
        if (n > 0)
            sent += (size_t)n;
        idle = n > 0 ? 0 : idle + 1;
        if (n <= 0)
            break;
    }
    ck_assert_uint_lt(sent, LEN);
    ck_assert_uint_lt(seen.bytes - before, sent);
    put(fd, bytes, LEN - sent);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 201);
    assert_body(&reply, "8388608 0");
    reply_deinit(&reply);
    close(fd);
    free(bytes);
}
END_TEST

START_TEST(limits)
{
    struct reply reply = {0};
    int opened = seen.opened, fd = dial(&world);
    put_head(fd, "/data/large", "Content-Length: 99999999999\r\n");
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 413);
    ck_assert_int_eq(seen.opened, opened);
    close(fd);

    static char piece[65536];
    fd = dial(&world);
    put_head(fd, "/data/large", "Transfer-Encoding: chunked\r\n");
    for (size_t at = 0; at < UPLOAD_MAX + 3 * sizeof(piece); at += sizeof(piece)) {
        put_text(fd, "10000\r\n");
        put(fd, piece, sizeof(piece));
        put_text(fd, "\r\n");
    }
    put_text(fd, "0\r\n\r\n");
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 413);
    put_head(fd, "/nowhere", "Content-Length: 0\r\n"); /* the connection goes on */
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 404);
    put_text(fd, "DELETE /data/x HTTP/1.1\r\nHost: x\r\n\r\n");
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 405);
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(reply_in_the_middle)
{
    static char bytes[1 << 20];
    struct reply reply = {0};
    int fd = dial(&world);
    put_head(fd, "/data/x?stop=1000", "Content-Length: 1048576\r\n");
    put(fd, bytes, sizeof(bytes));
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 403);
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(cut_uploads)
{
    wait_until(&seen.closed, seen.opened); /* those of the tests before */
    int closed = seen.closed, sent = seen.sent;
    int fd = dial(&world);
    put_head(fd, "/data/x", "Content-Length: 100\r\n"); /* a lie */
    put_text(fd, "only this");
    wait_until(&seen.opened, closed + 1);
    close(fd);
    wait_until(&seen.closed, closed + 1);
    fd = dial(&world);
    put_head(fd, "/data/x", "Transfer-Encoding: chunked\r\n");
    put_text(fd, "ffffffffffffffffff\r\nx");
    struct reply reply = {0};
    read_reply(fd, &reply);
    ck_assert_int_ne(reply.status, 201);
    reply_deinit(&reply);
    close(fd);
    wait_until(&seen.closed, seen.opened);
    ck_assert_int_eq(seen.sent, sent);
}
END_TEST

START_TEST(files)
{
    struct reply reply = {0};
    wait_until(&seen.closed, seen.opened);
    int sent = seen.sent, fd = dial(&world);
    put_text(fd, "GET /data/file HTTP/1.1\r\nHost: x\r\n\r\n");
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    assert_body(&reply, "23456");
    put_text(fd, "HEAD /data/file HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert(read_head(fd, &reply));
    ck_assert_int_eq(reply.status, 200);
    ck_assert_str_eq(header(&reply, "content-length"), "5");
    put_text(fd, "GET /data/file HTTP/1.0\r\n\r\n");
    read_reply(fd, &reply);
    assert_body(&reply, "23456");
    ck_assert(is_closed(fd));
    wait_until(&seen.sent, sent + 3);
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(preflight)
{
    struct reply reply = {0};
    int fd = dial(&world);
    put_text(fd, "OPTIONS /test.Test/Echo HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n"
                 "Access-Control-Request-Method: POST\r\n"
                 "Access-Control-Request-Headers: content-type,x-request-id\r\n\r\n");
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 204);
    ck_assert_str_eq(header(&reply, "access-control-allow-origin"), "*");
    ck_assert_str_eq(header(&reply, "access-control-allow-headers"), "content-type,x-request-id");
    request(fd, "/test.Test/Echo", "application/proto", "Origin: http://a\r\n", "x", 1);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    ck_assert_str_eq(header(&reply, "access-control-allow-origin"), "*");
    reply_deinit(&reply);
    close(fd);
}
END_TEST

START_TEST(opens_for_two_origins)
{
    static const char *const origins[] = {"https://a.example", "http://localhost:3000"};
    world_open(&(struct sy_server_options){.allow_origins = origins, .allow_origin_count = 2},
               add_routes);
}
END_TEST

static void expect_origin(int fd, const char *origin, const char *allowed)
{
    struct reply reply = {0};
    char line[80];
    snprintf(line, sizeof(line), origin[0] ? "Origin: %s\r\n" : "%s", origin);
    request(fd, "/test.Test/Echo", "application/proto", line, "x", 1);
    read_reply(fd, &reply);
    ck_assert_int_eq(reply.status, 200);
    ck_assert_pstr_eq(header(&reply, "access-control-allow-origin"), allowed);
    ck_assert_str_eq(header(&reply, "vary"), "origin");
    reply_deinit(&reply);
}

START_TEST(other_origins_are_told_nothing)
{
    int fd = dial(&world);
    expect_origin(fd, "https://a.example", "https://a.example");
    expect_origin(fd, "http://localhost:3000", "http://localhost:3000");
    expect_origin(fd, "http://localhost:3001", NULL);
    expect_origin(fd, "https://a.example.evil", NULL);
    expect_origin(fd, "null", NULL);
    expect_origin(fd, "", NULL);
    close(fd);
}
END_TEST

START_TEST(origins_are_checked)
{
    static const char *const good[] = {"*", "https://a.example", "http://[::1]:8080"};
    static const char *const bad[] = {"",
                                      "a.example",
                                      "https://",
                                      "ftp://a",
                                      "https://a.example/",
                                      "https://A.example",
                                      "https://*.a",
                                      "null"};
    struct sy_error_text error;
    ck_assert_int_eq(sy_http_check_origins(good, SY_COUNT_OF(good), &error), 0);
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        ck_assert_int_eq(sy_http_check_origins(&bad[i], 1, &error), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error.text, bad[i]));
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        opens,
        upload,
        backpressure,
        limits,
        reply_in_the_middle,
        cut_uploads,
        files,
        preflight,
        closes,
        opens_for_two_origins,
        other_origins_are_told_nothing,
        closes,
        origins_are_checked,
        NULL,
    };
    return sy_test_run("rpc_http_routes", tests);
}
