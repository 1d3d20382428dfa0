/* Listening, accepting, and a look at the first bytes: HTTP/2 goes to gRPC, the rest stays. */
#include "base/mem.h"
#include "base/rpc_http.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#define LISTENERS_MAX 4
#define BACKLOG 4096
#define ACCEPTS_A_TURN 64
/* How long a new connection may be silent. Those that are count up to a maximum of their own. */
#define SILENCE_NS (20 * SY_NS_PER_S)
#define PEEKS_MAX 4096
#define PAUSE_NS (50 * SY_NS_PER_MS) /* of accepting, when descriptors have run out */
/* A peer that vanished without a word, in seconds: probed from then on, given up after thrice. */
#define KEEPALIVE_IDLE_S 30
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_COUNT 3

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define PREFACE_DECIDES 4 /* "PRI " is no verb of HTTP/1 */

struct http_listener {
    struct sy_io io;
    struct sy_http *http;
    struct sy_timer pause;
};

/* A connection that has not said enough yet. */
struct http_peek {
    struct http_peek *prev, *next;
    struct sy_http *http;
    struct sy_io io;
    struct sy_timer silence;
};

void http_format_peer(int fd, char peer[static HTTP_PEER_MAX])
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    char text[INET6_ADDRSTRLEN] = "";
    snprintf(peer, HTTP_PEER_MAX, "unknown");
    if (getpeername(fd, (struct sockaddr *)&address, &len) < 0)
        return;
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
        snprintf(peer, HTTP_PEER_MAX, "ipv4:%s:%u", text, ntohs(v4->sin_port));
    } else if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
        snprintf(peer, HTTP_PEER_MAX, "ipv6:[%s]:%u", text, ntohs(v6->sin6_port));
    } else if (address.ss_family == AF_UNIX) {
        snprintf(peer, HTTP_PEER_MAX, "unix:");
    }
}

/* ---- the first bytes ---- */

static void peek_free(struct http_peek *peek)
{
    struct sy_http *http = peek->http;
    sy_timer_stop(http->loop, &peek->silence);
    sy_io_remove(http->loop, &peek->io);
    DL_DELETE(http->peeks, peek);
    http->peek_count--;
    free(peek);
}

static void peek_drop(struct http_peek *peek)
{
    int fd = peek->io.fd;
    peek_free(peek);
    close(fd);
}

static void peek_silent(void *arg)
{
    peek_drop(arg);
}

enum verdict { VERDICT_WAIT, VERDICT_CLOSED, VERDICT_HTTP1, VERDICT_HTTP2 };

static enum verdict look(int fd)
{
    char head[sizeof(PREFACE) - 1];
    ssize_t n = recv(fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? VERDICT_WAIT : VERDICT_CLOSED;
    if (n == 0)
        return VERDICT_CLOSED;
    if (memcmp(head, PREFACE, (size_t)n) != 0)
        return VERDICT_HTTP1;
    return n >= PREFACE_DECIDES ? VERDICT_HTTP2 : VERDICT_WAIT;
}

/* True: the connection has found its place, or is closed. */
static bool place(struct sy_http *http, int fd)
{
    switch (look(fd)) {
    case VERDICT_WAIT:
        return false;
    case VERDICT_CLOSED:
        close(fd);
        break;
    case VERDICT_HTTP1:
        http_adopt(http, fd);
        break;
    case VERDICT_HTTP2:
        http->host->adopt(http->server, fd);
        break;
    }
    return true;
}

/* Edge-triggered: the bytes stay in the socket, and must not wake us until more have come. */
static void peek_ready(void *arg, uint32_t events)
{
    struct http_peek *peek = arg;
    struct sy_http *http = peek->http;
    int fd = peek->io.fd;
    if (look(fd) == VERDICT_WAIT) {
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) /* it will never say more */
            peek_drop(peek);
        return;
    }
    peek_free(peek);
    place(http, fd);
}

static void peek_start(struct sy_http *http, int fd)
{
    if (http->peeks != NULL && http->peek_count >= PEEKS_MAX)
        peek_drop(http->peeks->prev); /* the list's tail: the oldest */
    struct http_peek *peek = sy_new(struct http_peek);
    peek->http = http;
    peek->io = (struct sy_io){
        .fd = fd, .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .fn = peek_ready, .arg = peek};
    sy_timer_init(&peek->silence, peek_silent, peek);
    DL_PREPEND(http->peeks, peek);
    http->peek_count++;
    if (sy_io_add(http->loop, &peek->io) < 0) {
        DL_DELETE(http->peeks, peek);
        http->peek_count--;
        free(peek);
        close(fd);
        return;
    }
    sy_timer_start_in(http->loop, &peek->silence, SILENCE_NS);
}

/* ---- accepting ---- */

static void set_option(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof(value)); /* a Unix socket has none of these */
}

static void accepted(struct sy_http *http, int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    if (!place(http, fd))
        peek_start(http, fd);
}

static void listener_resume(void *arg)
{
    struct http_listener *listener = arg;
    int r = sy_io_modify(listener->http->loop, &listener->io, EPOLLIN);
    SY_ASSERT(r == 0);
}

/* Without descriptors the connection stays in the backlog, where it would wake us for ever. */
static void listener_pause(struct http_listener *listener)
{
    struct sy_loop *loop = listener->http->loop;
    int r = sy_io_modify(loop, &listener->io, 0);
    SY_ASSERT(r == 0);
    sy_timer_start_in(loop, &listener->pause, PAUSE_NS);
}

static void listener_ready(void *arg, uint32_t events)
{
    (void)events;
    struct http_listener *listener = arg;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(listener->io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            accepted(listener->http, fd);
        else if (errno == EAGAIN)
            return;
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            return listener_pause(listener);
        /* else: this one went away before it was accepted */
    }
}

/* ---- binding ---- */

static int bound_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return -errno;
    if (address.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return 1; /* what gRPC answers for a Unix socket */
}

static int listen_on(struct sy_http *http, const struct sockaddr *address, socklen_t len)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = 0;
    if (address->sa_family != AF_UNIX)
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (address->sa_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (bind(fd, address, len) < 0 || listen(fd, BACKLOG) < 0)
        r = -errno;
    else
        r = bound_port(fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    struct http_listener *listener = &http->listeners[http->listener_count++];
    *listener = (struct http_listener){.http = http};
    listener->io = (struct sy_io){fd, EPOLLIN, listener_ready, listener};
    sy_timer_init(&listener->pause, listener_resume, listener);
    http->server->port = r;
    return 0;
}

/* All addresses that the name has, with the port that the first one got. */
static int listen_on_each(struct sy_http *http, const struct addrinfo *info)
{
    int r = -EINVAL;
    for (; info != NULL && http->listener_count < LISTENERS_MAX; info = info->ai_next) {
        struct sockaddr_storage address = {0};
        memcpy(&address, info->ai_addr, info->ai_addrlen);
        in_port_t port = htons((uint16_t)http->server->port);
        if (http->listener_count > 0 && info->ai_family == AF_INET)
            ((struct sockaddr_in *)&address)->sin_port = port;
        if (http->listener_count > 0 && info->ai_family == AF_INET6)
            ((struct sockaddr_in6 *)&address)->sin6_port = port;
        int result = listen_on(http, (const struct sockaddr *)&address, info->ai_addrlen);
        if (result == -EADDRINUSE)
            return result;
        if (result == 0 || r != 0)
            r = result;
    }
    return r;
}

static int listen_tcp(struct sy_http *http, const char *address)
{
    struct addrinfo *info;
    int r = sy_rpc_resolve(address, &info);
    if (r < 0)
        return r;
    r = listen_on_each(http, info);
    freeaddrinfo(info);
    return r;
}

/* The file of a dead server is replaced, that of a live one is not. */
static int listen_unix(struct sy_http *http, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    const struct sockaddr *generic = (const struct sockaddr *)&address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    bool alive = connect(fd, generic, sizeof(address)) == 0;
    bool dead = !alive && errno == ECONNREFUSED;
    close(fd);
    if (alive)
        return -EADDRINUSE;
    if (dead)
        unlink(path);
    return listen_on(http, generic, sizeof(address));
}

int http_listen(struct sy_http *http, struct sy_error_text *error)
{
    const char *address = http->server->address;
    http->listeners = sy_calloc(LISTENERS_MAX, sizeof(*http->listeners));
    int r = strncmp(address, "unix:", 5) == 0 ? listen_unix(http, address + 5)
                                              : listen_tcp(http, address);
    if (r < 0)
        sy_error_text_set(error, "address: cannot listen on %s: %s", address,
                          r == -EINVAL ? "not an address; expected host:port or unix:/path"
                                       : strerror(-r));
    return r;
}

void http_listen_start(struct sy_http *http)
{
    for (size_t i = 0; i < http->listener_count; i++) {
        int r = sy_io_add(http->loop, &http->listeners[i].io);
        SY_ASSERT(r == 0);
    }
    http->listening = true;
}

void http_listen_stop(struct sy_http *http)
{
    for (size_t i = 0; i < http->listener_count; i++) {
        struct http_listener *listener = &http->listeners[i];
        sy_timer_stop(http->loop, &listener->pause);
        if (http->listening)
            sy_io_remove(http->loop, &listener->io);
        close(listener->io.fd);
    }
    http->listener_count = 0;
    for (struct http_peek *peek = http->peeks, *next; peek != NULL; peek = next) {
        next = peek->next;
        peek_drop(peek);
    }
}
