/* links: sy_rpc */
/* What is particular to the gRPC adapter: addresses, peers that freeze or vanish, threads. */
#include "base/mem.h"
#include "base/rpc.h"
#include "base/rpc_impl.h"
#include "tests/lib/test.h"
#include "tests/unit/test_rpc_wait.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_server *server;
    struct sy_channel *channel;
    int drained;
    /* The last bidi stream, at the server and at the client. */
    struct sy_call *server_call, *client_call;
    int accepted, server_closed, client_closed, replies, messages;
    enum sy_code server_code, client_code, reply_code;
    char reply_text[SY_ERROR_TEXT_MAX];
};

static void wait_for(struct world *w, const int *value, int target)
{
    wait_on(w->loop, value, target);
}

static void count_up(void *arg)
{
    int *count = arg;
    (*count)++;
}

/* ---- the service ---- */

static void echo(void *ctx, struct sy_call *call, struct sy_span request)
{
    (void)ctx;
    struct sy_buf response = sy_buf_copy(request.data, request.len);
    sy_call_reply(call, &response);
}

static void server_message(void *ctx, struct sy_span message)
{
    (void)message;
    struct world *w = ctx;
    w->messages++;
}

static void server_closed(void *ctx, const struct sy_status *status)
{
    struct world *w = ctx;
    w->server_code = status->code;
    w->server_closed++;
    sy_call_unref(sy_take(w->server_call));
}

static void client_closed(void *ctx, const struct sy_status *status)
{
    struct world *w = ctx;
    w->client_code = status->code;
    w->client_closed++;
    sy_call_unref(sy_take(w->client_call));
}

static void bidi(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink sink = {.on_message = server_message,
                                             .on_closed = server_closed};
    (void)request;
    struct world *w = ctx;
    w->server_call = call;
    w->accepted++;
    sy_call_set_sink(call, &sink, w);
}

static int new_server(struct world *w, const char *address, struct sy_server **ret_server,
                      struct sy_error_text *error)
{
    struct sy_server_options options = {.address = address};
    ck_assert_int_eq(sy_server_new(ret_server, w->rpc, &options, error), 0);
    sy_server_add(*ret_server, &(struct sy_method){.path = "/test.Test/Echo",
                                                   .kind = SY_METHOD_UNARY,
                                                   .handler = echo,
                                                   .ctx = w,
                                                   .loop = w->loop});
    sy_server_add(*ret_server, &(struct sy_method){.path = "/test.Test/Bidi",
                                                   .kind = SY_METHOD_BIDI,
                                                   .handler = bidi,
                                                   .ctx = w,
                                                   .loop = w->loop});
    return sy_server_start(*ret_server, error);
}

static void open_world(struct world *w, const char *address, int keepalive_ms, int answer_ms)
{
    struct sy_error_text error;
    *w = (struct world){0};
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    if (keepalive_ms > 0)
        ck_assert_int_eq(sy_rpc_grpc_new_keepalive(&w->rpc, keepalive_ms, answer_ms, &error), 0);
    else
        ck_assert_int_eq(sy_rpc_grpc_new(&w->rpc, &error), 0);
    ck_assert_msg(new_server(w, address, &w->server, &error) == 0, "%s", error.text);
}

static void drain(struct world *w, struct sy_server *server)
{
    int before = w->drained;
    sy_server_drain(server, 0, w->loop, count_up, &w->drained);
    wait_for(w, &w->drained, before + 1);
    sy_server_free(server);
}

static void close_world(struct world *w)
{
    drain(w, w->server);
    sy_channel_free(w->channel);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
}

static void connect_to(struct world *w, int port)
{
    char target[64];
    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    w->channel = sy_channel_new(w->rpc, target);
}

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)response;
    struct world *w = ctx;
    w->reply_code = status->code;
    snprintf(w->reply_text, sizeof(w->reply_text), "%s", status->message.text);
    w->replies++;
}

static enum sy_code unary(struct world *w, bool wait_for_ready)
{
    struct sy_call_options options = {.method = "/test.Test/Echo",
                                      .wait_for_ready = wait_for_ready,
                                      .timeout_ns = 50 * SY_NS_PER_S};
    struct sy_buf request = sy_buf_copy("x", 1);
    int before = w->replies;
    sy_channel_call(w->channel, w->loop, &options, &request, on_reply, w);
    wait_for(w, &w->replies, before + 1);
    return w->reply_code;
}

static void open_stream(struct world *w)
{
    static const struct sy_call_sink sink = {.on_closed = client_closed};
    struct sy_call_options options = {.method = "/test.Test/Bidi"};
    int before = w->accepted;
    w->client_call = sy_channel_open(w->channel, w->loop, &options, &sink, w);
    wait_for(w, &w->accepted, before + 1);
}

/* ---- a proxy whose connections can be frozen or cut ---- */

enum proxy_mode { PROXY_FORWARD, PROXY_FREEZE, PROXY_CUT, PROXY_STOP };
enum { PROXY_FDS_MAX = 16 };

struct proxy {
    pthread_t thread;
    int listen_fd, wake_fds[2], port, target_port;
    _Atomic(enum proxy_mode) mode;
    struct pollfd fds[PROXY_FDS_MAX]; /* 0 listens, 1 wakes, then pairs */
    nfds_t count;
};

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_on_loopback(int *ret_port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 16), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void proxy_cut(struct proxy *proxy)
{
    for (nfds_t i = 2; i < proxy->count; i++)
        close(proxy->fds[i].fd);
    proxy->count = 2;
}

static void proxy_accept(struct proxy *proxy)
{
    struct sockaddr_in address = loopback(proxy->target_port);
    int near = accept4(proxy->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (proxy->count + 2 > PROXY_FDS_MAX ||
        connect(far, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(near);
        close(far);
        return;
    }
    proxy->fds[proxy->count++] = (struct pollfd){.fd = near, .events = POLLIN};
    proxy->fds[proxy->count++] = (struct pollfd){.fd = far, .events = POLLIN};
}

static void proxy_forward(struct proxy *proxy)
{
    char data[16384];
    for (nfds_t i = 2; i < proxy->count; i++) {
        if (proxy->fds[i].revents == 0)
            continue;
        ssize_t n = read(proxy->fds[i].fd, data, sizeof(data));
        int other = proxy->fds[i ^ 1].fd;
        if (n <= 0)
            shutdown(other, SHUT_RDWR);
        for (ssize_t done = 0; done < n;) {
            ssize_t written = send(other, data + done, (size_t)(n - done), MSG_NOSIGNAL);
            if (written < 0)
                break;
            done += written;
        }
        if (n <= 0)
            proxy->fds[i].events = 0; /* closed with its pair */
    }
}

static void *proxy_run(void *arg)
{
    struct proxy *proxy = arg;
    for (;;) {
        enum proxy_mode mode = atomic_load(&proxy->mode);
        if (mode == PROXY_STOP || mode == PROXY_CUT)
            proxy_cut(proxy);
        if (mode == PROXY_STOP)
            return NULL;
        /* Frozen, it still wakes for a new mode. Cut, it refuses those who come. */
        if (poll(proxy->fds, mode == PROXY_FREEZE ? 2 : proxy->count, -1) < 0)
            continue;
        char byte;
        if (proxy->fds[1].revents != 0 && read(proxy->wake_fds[0], &byte, 1) == 1)
            continue;
        if (proxy->fds[0].revents != 0)
            proxy_accept(proxy);
        if (mode == PROXY_FORWARD)
            proxy_forward(proxy);
    }
}

static void proxy_set(struct proxy *proxy, enum proxy_mode mode)
{
    atomic_store(&proxy->mode, mode);
    ck_assert_int_eq(write(proxy->wake_fds[1], "x", 1), 1);
}

static void proxy_start(struct proxy *proxy, int target_port)
{
    *proxy = (struct proxy){.target_port = target_port, .count = 2};
    ck_assert_int_eq(pipe2(proxy->wake_fds, O_CLOEXEC), 0);
    proxy->listen_fd = listen_on_loopback(&proxy->port);
    proxy->fds[0] = (struct pollfd){.fd = proxy->listen_fd, .events = POLLIN};
    proxy->fds[1] = (struct pollfd){.fd = proxy->wake_fds[0], .events = POLLIN};
    ck_assert_int_eq(pthread_create(&proxy->thread, NULL, proxy_run, proxy), 0);
}

static void proxy_stop(struct proxy *proxy)
{
    proxy_set(proxy, PROXY_STOP);
    pthread_join(proxy->thread, NULL);
    close(proxy->listen_fd);
    close(proxy->wake_fds[0]);
    close(proxy->wake_fds[1]);
}

/* ---- addresses ---- */

START_TEST(taken_by_a_stranger)
{
    struct world w;
    struct sy_server *server;
    struct sy_error_text error = {{0}};
    char address[64];
    int port;
    open_world(&w, "127.0.0.1:0", 0, 0);
    int fd = listen_on_loopback(&port);
    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    ck_assert_int_eq(new_server(&w, address, &server, &error), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(error.text, address));
    ck_assert_ptr_nonnull(strstr(error.text, "Address already in use"));
    sy_server_free(server);
    close(fd);
    close_world(&w);
}
END_TEST

START_TEST(bad_addresses)
{
    static const struct {
        const char *address;
        int code;
    } bad[] = {
        {"nonsense", -EINVAL},
        {"127.0.0.1:port", -EINVAL},
        {"192.0.2.1:1", -EADDRNOTAVAIL}, /* a test network: not ours */
        {"unix:/nowhere/at/all.sock", -EADDRNOTAVAIL},
    };
    struct world w;
    open_world(&w, "127.0.0.1:0", 0, 0);
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        struct sy_server *server;
        struct sy_error_text error = {{0}};
        ck_assert_int_eq(new_server(&w, bad[i].address, &server, &error), bad[i].code);
        ck_assert_ptr_nonnull(strstr(error.text, bad[i].address));
        sy_server_free(server);
    }
    struct sy_server *server;
    struct sy_error_text error = {{0}};
    ck_assert_int_eq(
        sy_server_new(&server, w.rpc, &(struct sy_server_options){.address = ""}, &error), -EINVAL);
    close_world(&w);
}
END_TEST

START_TEST(unix_socket)
{
    struct world w;
    struct sy_server *second;
    struct sy_error_text error = {{0}};
    char address[64];
    snprintf(address, sizeof(address), "unix:/tmp/sy-test-rpc-%d.sock", (int)getpid());
    open_world(&w, address, 0, 0);
    w.channel = sy_channel_new(w.rpc, address);
    ck_assert_int_eq(unary(&w, false), SY_CODE_OK);
    /* Somebody lives there: gRPC alone would take over the file. */
    ck_assert_int_eq(new_server(&w, address, &second, &error), -EADDRINUSE);
    sy_server_free(second);
    ck_assert_int_eq(unary(&w, false), SY_CODE_OK);
    close_world(&w);
    unlink(address + strlen("unix:"));
}
END_TEST

START_TEST(ignores_http_proxy)
{
    struct world w;
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    open_world(&w, "127.0.0.1:0", 0, 0);
    connect_to(&w, sy_server_port(w.server));
    ck_assert_int_eq(unary(&w, false), SY_CODE_OK);
    close_world(&w);
    unsetenv("http_proxy");
}
END_TEST

/* ---- peers ---- */

START_TEST(frozen_peer)
{
    struct world w;
    struct proxy proxy;
    open_world(&w, "127.0.0.1:0", 200, 5000);
    proxy_start(&proxy, sy_server_port(w.server));
    connect_to(&w, proxy.port);
    open_stream(&w);
    proxy_set(&proxy, PROXY_FREEZE); /* nothing is closed, nothing comes */
    wait_for(&w, &w.server_closed, 1);
    ck_assert_int_eq(w.server_code, SY_CODE_CANCELLED);
    wait_for(&w, &w.client_closed, 1);
    ck_assert_int_eq(w.client_code, SY_CODE_UNAVAILABLE);
    proxy_stop(&proxy);
    close_world(&w);
}
END_TEST

/* Many pings without data: a server with gRPC's defaults says "too many pings" and hangs up. */
START_TEST(pings_are_tolerated)
{
    struct world w;
    int fired = 0;
    struct sy_timer timer;
    open_world(&w, "127.0.0.1:0", 20, 60000);
    connect_to(&w, sy_server_port(w.server));
    open_stream(&w);
    sy_timer_init(&timer, count_up, &fired);
    sy_timer_start_in(w.loop, &timer, 500 * SY_NS_PER_MS);
    wait_for(&w, &fired, 1);
    ck_assert_int_eq(w.server_closed + w.client_closed, 0);
    sy_call_finish(w.client_call, NULL);
    wait_for(&w, &w.server_closed, 1);
    wait_for(&w, &w.client_closed, 1);
    close_world(&w);
}
END_TEST

START_TEST(peer_vanishes_and_comes_back)
{
    struct world w;
    struct proxy proxy;
    open_world(&w, "127.0.0.1:0", 0, 0);
    proxy_start(&proxy, sy_server_port(w.server));
    connect_to(&w, proxy.port);
    for (int round = 1; round <= 3; round++) {
        open_stream(&w);
        proxy_set(&proxy, PROXY_CUT);
        wait_for(&w, &w.server_closed, round);
        ck_assert_int_eq(w.server_code, SY_CODE_CANCELLED);
        wait_for(&w, &w.client_closed, round);
        ck_assert_int_eq(w.client_code, SY_CODE_UNAVAILABLE);
        ck_assert_int_eq(unary(&w, false), SY_CODE_UNAVAILABLE);
        proxy_set(&proxy, PROXY_FORWARD);
        /* It reconnects by itself. The very first call may still go to the dead connection. */
        enum sy_code code = unary(&w, true);
        for (int i = 0; i < 10 && code == SY_CODE_UNAVAILABLE; i++)
            code = unary(&w, true);
        ck_assert_msg(code == SY_CODE_OK, "%s", w.reply_text);
    }
    proxy_stop(&proxy);
    close_world(&w);
}
END_TEST

/* ---- threads ---- */

enum { CLIENTS = 3, CALLS = 2000, IN_FLIGHT = 16 };

struct client {
    struct world *world;
    struct sy_loop *loop;
    pthread_t thread;
    int started, done;
};

static void client_start(struct client *client);

static void client_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct client *client = ctx;
    if (status->code != SY_CODE_OK || response.len != 32)
        abort();
    client->done++;
    if (client->done == CALLS)
        sy_loop_stop(client->loop);
    else if (client->started < CALLS)
        client_start(client);
}

static void client_start(struct client *client)
{
    struct sy_call_options options = {.method = "/test.Test/Echo"};
    struct sy_buf request = sy_buf_copy("0123456789abcdef0123456789abcdef", 32);
    client->started++;
    sy_channel_call(client->world->channel, client->loop, &options, &request, client_reply, client);
}

static void *client_run(void *arg)
{
    struct client *client = arg;
    for (int i = 0; i < IN_FLIGHT; i++)
        client_start(client);
    if (sy_loop_run(client->loop) != 0)
        abort();
    return NULL;
}

static void *join_clients(void *arg)
{
    struct client *clients = arg;
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    sy_loop_stop(clients[0].world->loop);
    return NULL;
}

START_TEST(one_channel_many_loops)
{
    struct world w;
    struct client clients[CLIENTS];
    pthread_t joiner;
    open_world(&w, "127.0.0.1:0", 0, 0);
    connect_to(&w, sy_server_port(w.server));
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.world = &w};
        ck_assert_int_eq(sy_loop_new(&clients[i].loop, NULL), 0);
        ck_assert_int_eq(pthread_create(&clients[i].thread, NULL, client_run, &clients[i]), 0);
    }
    ck_assert_int_eq(pthread_create(&joiner, NULL, join_clients, clients), 0);
    ck_assert_int_eq(sy_loop_run(w.loop), 0);
    pthread_join(joiner, NULL);
    for (int i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(clients[i].done, CALLS);
    close_world(&w);
    for (int i = 0; i < CLIENTS; i++)
        sy_loop_free(clients[i].loop);
}
END_TEST

/* It was cancelled, and its owner and its channel are gone: what is left of it goes on the loop. */
START_TEST(calls_that_nobody_holds_end_on_their_loop)
{
    struct world w;
    int port, fd = listen_on_loopback(&port); /* says nothing */
    open_world(&w, "127.0.0.1:0", 0, 0);
    drain(&w, w.server);
    connect_to(&w, port);
    struct sy_call *call = sy_channel_open(
        w.channel, w.loop, &(struct sy_call_options){.method = "/test.Test/Bidi"}, NULL, NULL);
    sy_call_finish(call, NULL);
    sy_call_unref(call);
    sy_channel_free(w.channel);
    ck_assert(sy_rpc_busy(w.rpc));
    for (int i = 0; i < 60000 && sy_rpc_busy(w.rpc); i++) {
        sy_loop_turn(w.loop);
        usleep(1000);
    }
    ck_assert(!sy_rpc_busy(w.rpc));
    sy_rpc_free(w.rpc);
    sy_loop_free(w.loop);
    close(fd);
}
END_TEST

START_TEST(two_transports)
{
    struct world a, b;
    open_world(&a, "127.0.0.1:0", 0, 0);
    open_world(&b, "127.0.0.1:0", 0, 0);
    connect_to(&b, sy_server_port(b.server));
    ck_assert_int_eq(unary(&b, false), SY_CODE_OK);
    close_world(&a);
    ck_assert_int_eq(unary(&b, false), SY_CODE_OK);
    close_world(&b);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        taken_by_a_stranger,
        bad_addresses,
        unix_socket,
        ignores_http_proxy,
        frozen_peer,
        pings_are_tolerated,
        calls_that_nobody_holds_end_on_their_loop,
        two_transports,
        one_channel_many_loops,
        peer_vanishes_and_comes_back,
        NULL,
    };
    return sy_test_run("rpc_grpc", tests);
}
