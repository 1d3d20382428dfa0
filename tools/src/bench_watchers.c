#include "tools/src/bench_watchers.h"

#include "base/arena.h"
#include "base/daemon.h"
#include "base/mem.h"
#include "base/rpc_connect.h"
#include "proto/pb.h"
#include "tools/src/bench_response.h"
#include "tools/src/cl_methods.h"
#include "tools/src/cl_text.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROGRAM "switchyard-bench-watchers"
#define OPENING_MAX 64 /* connections that have not had their first message */
#define COUNT_MAX 100000
#define ARENA_BYTES_MAX ((size_t)1 << 20)

struct watcher {
    struct watchers *all;
    struct sy_io io;
    struct bench_response response;
    bool opened;
    int64_t ended_ns; /* when the root's end was told; 0: not yet */
};

struct watchers {
    struct sy_loop *loop;
    struct sockaddr_storage address;
    socklen_t address_len;
    struct sy_buf request;
    struct watcher *items;
    size_t count, started, opened, over;
    int failed; /* negative errno */
    struct sy_error_text error;
};

static void fail(struct watchers *all, int r, const char *what)
{
    if (all->failed == 0 && what != NULL)
        sy_error_text_set(&all->error, "%s: %s", what, strerror(-r));
    if (all->failed == 0)
        all->failed = r;
    sy_loop_stop(all->loop);
}

/* ---- one stream ---- */

static void start_next(struct watchers *all);

static void on_message(void *ctx, struct sy_span bytes)
{
    struct watcher *watcher = ctx;
    struct watchers *all = watcher->all;
    struct sy_arena arena;
    sy_arena_init(&arena, ARENA_BYTES_MAX);
    const Flyteidl2__Workflow__WatchActionDetailsResponse *message = pb_unpack(
        &flyteidl2__workflow__watch_action_details_response__descriptor, &arena, bytes);
    if (message == NULL || message->details == NULL || message->details->status == NULL)
        fail(all, -EPROTO, "a message without a status");
    else if (cl_phase_final((int)message->details->status->phase))
        watcher->ended_ns = cl_monotonic_ns();
    sy_arena_deinit(&arena);
    if (watcher->opened)
        return;
    watcher->opened = true;
    all->opened++;
    if (watcher->ended_ns != 0)
        fail(all, -EPROTO, "the run had ended before");
    start_next(all);
    if (all->opened == all->count)
        puts("open");
}

static void finish(struct watcher *watcher)
{
    struct watchers *all = watcher->all;
    sy_io_remove(all->loop, &watcher->io);
    close(watcher->io.fd);
    watcher->io.fd = -1;
    if (watcher->ended_ns == 0)
        fail(all, -EPROTO, "a stream ended before its run");
    all->over++;
    if (all->over == all->count)
        sy_loop_stop(all->loop);
}

static void receive(struct watcher *watcher)
{
    uint8_t bytes[4096];
    struct watchers *all = watcher->all;
    ssize_t n = recv(watcher->io.fd, bytes, sizeof(bytes), 0);
    if (n <= 0) {
        if (n == 0 || errno != EINTR)
            fail(all, n < 0 ? -errno : -ECONNRESET, "a stream broke");
        return;
    }
    int r = bench_response_take(&watcher->response, (struct sy_span){bytes, (size_t)n}, on_message,
                                watcher, &all->error);
    if (r < 0)
        fail(all, r, NULL);
    else if (watcher->response.over)
        finish(watcher);
}

static void on_connected(struct watcher *watcher)
{
    struct watchers *all = watcher->all;
    int r = 0;
    socklen_t len = sizeof(r);
    (void)getsockopt(watcher->io.fd, SOL_SOCKET, SO_ERROR, &r, &len);
    /* A new connection takes so few bytes at once. */
    if (r == 0 && send(watcher->io.fd, all->request.data, all->request.len, MSG_NOSIGNAL) !=
                      (ssize_t)all->request.len)
        r = errno;
    if (r == 0)
        r = -sy_io_modify(all->loop, &watcher->io, EPOLLIN);
    if (r != 0)
        fail(all, -r, "cannot connect");
}

static void on_io(void *arg, uint32_t events)
{
    struct watcher *watcher = arg;
    (void)events;
    if (watcher->io.events == EPOLLOUT)
        on_connected(watcher);
    else
        receive(watcher);
}

static void start_next(struct watchers *all)
{
    if (all->started == all->count || all->failed != 0)
        return;
    struct watcher *watcher = &all->items[all->started++];
    watcher->all = all;
    int fd = socket(all->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    watcher->io = (struct sy_io){.fd = fd, .events = EPOLLOUT, .fn = on_io, .arg = watcher};
    bool fine = fd >= 0 &&
                (connect(fd, (const struct sockaddr *)&all->address, all->address_len) == 0 ||
                 errno == EINPROGRESS);
    int r = fine ? sy_io_add(all->loop, &watcher->io) : -errno;
    if (r < 0)
        fail(all, r, "cannot connect");
}

/* ---- the program ---- */

static int find_address(struct watchers *all, const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    SY_AUTOFREE char *host = sy_strndup(endpoint, colon != NULL ? (size_t)(colon - endpoint) : 0);
    if (colon == NULL || getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        sy_error_text_set(&all->error, "'%s' is not HOST:PORT of a shard", endpoint);
        return -EINVAL;
    }
    memcpy(&all->address, found->ai_addr, found->ai_addrlen);
    all->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static void make_request(struct watchers *all, char **argv)
{
    Flyteidl2__Workflow__WatchActionDetailsRequest request =
        FLYTEIDL2__WORKFLOW__WATCH_ACTION_DETAILS_REQUEST__INIT;
    Flyteidl2__Common__ActionIdentifier action = FLYTEIDL2__COMMON__ACTION_IDENTIFIER__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    static char root[] = "a0";
    struct sy_buf message SY_CLEANUP(sy_buf_deinit) = {0};
    run.project = argv[2];
    run.domain = argv[3];
    run.name = argv[4];
    action.run = &run;
    action.name = root;
    request.action_id = &action;
    pb_pack(&request.base, &message);
    sy_buf_printf(&all->request,
                  "POST /flyteidl2.workflow.RunService/WatchActionDetails HTTP/1.1\r\nHost: %s\r\n"
                  "Content-Type: application/connect+proto\r\nContent-Length: %zu\r\n\r\n",
                  argv[1], SY_CONNECT_ENVELOPE_HEAD + message.len);
    sy_connect_append_head(&all->request, 0, message.len);
    sy_buf_append(&all->request, message.data, message.len);
}

static int run(struct watchers *all)
{
    for (int i = 0; i < OPENING_MAX; i++)
        start_next(all);
    int r = sy_loop_run(all->loop);
    if (r == 0)
        r = all->failed;
    for (size_t i = 0; r == 0 && i < all->count; i++)
        printf("%lld\n", (long long)all->items[i].ended_ns);
    if (r == 0 && fflush(stdout) != 0)
        r = -errno;
    return r;
}

static void deinit(struct watchers *all)
{
    for (size_t i = 0; i < all->started; i++) {
        struct watcher *watcher = &all->items[i];
        bench_response_deinit(&watcher->response);
        if (watcher->io.fd >= 0)
            close(watcher->io.fd);
    }
    sy_loop_free(all->loop);
    sy_buf_deinit(&all->request);
    free(all->items);
}

int bench_watchers_program(int argc, char **argv)
{
    struct watchers all = {.loop = NULL};
    uint64_t files;
    long count = argc == 6 ? strtol(argv[5], NULL, 10) : 0;
    if (count < 1 || count > COUNT_MAX) {
        fprintf(stderr, PROGRAM ": expected ENDPOINT PROJECT DOMAIN RUN COUNT, COUNT up to %d\n",
                COUNT_MAX);
        return CL_USAGE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    all.count = (size_t)count;
    all.items = sy_calloc(all.count, sizeof(*all.items));
    int r = find_address(&all, argv[1]);
    if (r == 0)
        r = sy_daemon_raise_nofile(&files);
    if (r == 0)
        r = sy_loop_new(&all.loop, NULL);
    if (r == 0) {
        make_request(&all, argv);
        r = run(&all);
    }
    if (r < 0)
        fprintf(stderr, PROGRAM ": %s\n", all.error.text[0] ? all.error.text : strerror(-r));
    deinit(&all);
    return r < 0 ? CL_INTERNAL : CL_OK;
}
