/*
 * libmicrohttpd, version 0.9.75: it parses requests and writes responses; waiting is ours.
 *
 * It runs without threads: a daemon has an epoll descriptor that our loop watches, and MHD_run()
 * does what is due. Resuming one connection makes it walk the list of all that are suspended, and
 * an open stream with nothing to say is suspended: so there are several daemons (shards), all on
 * the one thread, and each walks only its own list.
 *
 * That a client closed its side is seen by a watch of our own: the descriptor of a suspended
 * connection is out of MHD's sight, and where bytes and their end come together MHD
 * (edge-triggered) may read the one and never learn of the other. A client that closes its side has
 * gone, as for most servers; who half-closes and still wants an answer does not get it.
 */
#include "base/mem.h"
#include "base/rpc_http.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <utlist.h>

#define SHARDS 32
#define SHARD_CONNECTIONS 32
/* Of a connection: request line and headers fit in it, and pieces of bodies. */
#define CONNECTION_MEMORY ((size_t)16 << 10)
/* A response that nobody reads. */
#define STUCK_S 300u
#define TICK_NS (5 * SY_NS_PER_S)
/* From the first byte to the end of the headers, and between requests. Clients keep unused
 * connections for up to 90 s; who closes first loses a race against the next request. */
#define HEADERS_NS (20 * SY_NS_PER_S)
#define IDLE_NS (120 * SY_NS_PER_S)
/* A body: a minute, and then at least this many bytes a second. */
#define BODY_NS (60 * SY_NS_PER_S)
#define BODY_RATE 4096
/* Of a body that nobody wants: a client that is still sending may not see the answer. */
#define DISCARD_MAX ((uint64_t)32 << 20)
#define PIECE_BYTES ((size_t)1024) /* only for HTTP/1.0 */
#define CONNECTIONS_SPARE 1024     /* that have no call open */

struct http_shard {
    struct sy_http *http;
    struct MHD_Daemon *daemon;
    struct sy_io io;
    bool dirty; /* MHD_run() is due at the end of this turn */
};

struct http_connection {
    struct http_connection *prev, *next;
    struct http_shard *shard;
    struct http_exchange *exchange; /* under way; NULL: idle */
    int fd;
    struct sy_io watch;
    struct sy_timer patience;
    bool ended; /* shut down; MHD closes it */
    char peer[HTTP_PEER_MAX];
};

struct http_exchange {
    struct http_connection *connection;
    struct MHD_Connection *mhd;
    const char *verb, *path;
    const struct http_user_ops *ops;
    void *user;
    struct MHD_Response *response; /* made; queued once MHD lets us */
    unsigned status;
    uint64_t received, discarded;
    int64_t body_deadline_ns; /* while paused: what was left */
    struct sy_buf headers;    /* of the answer */
    struct sy_buf out;
    size_t out_taken;
    bool suspended;
    bool paused; /* in the middle of the body, by its user */
    bool body_ended, answered, out_ended;
    bool room_wanted;
    bool aborted;
};

static void mark(struct http_shard *shard)
{
    shard->dirty = true;
}

/* ---- suspending ---- */

static void suspend(struct http_exchange *exchange)
{
    SY_ASSERT(!exchange->suspended);
    exchange->suspended = true;
    MHD_suspend_connection(exchange->mhd);
}

void http_resume(struct http_exchange *exchange)
{
    if (!exchange->suspended)
        return;
    exchange->suspended = false;
    if (exchange->paused) {
        exchange->paused = false;
        exchange->body_deadline_ns += sy_loop_now_ns(http_of(exchange)->loop);
    }
    MHD_resume_connection(exchange->mhd);
    mark(exchange->connection->shard);
}

void http_abort(struct http_exchange *exchange)
{
    exchange->aborted = true;
    shutdown(exchange->connection->fd, SHUT_RDWR);
    http_resume(exchange);
}

/* ---- exchanges ---- */

struct sy_http *http_of(const struct http_exchange *exchange)
{
    return exchange->connection->shard->http;
}

const char *http_verb(const struct http_exchange *exchange)
{
    return exchange->verb;
}

const char *http_path(const struct http_exchange *exchange)
{
    return exchange->path;
}

const char *http_peer(const struct http_exchange *exchange)
{
    return exchange->connection->peer;
}

const char *http_header(const struct http_exchange *exchange, const char *key)
{
    return MHD_lookup_connection_value(exchange->mhd, MHD_HEADER_KIND, key);
}

static enum MHD_Result copy_pair(void *arg, enum MHD_ValueKind kind, const char *key,
                                 const char *value)
{
    (void)kind;
    if (key != NULL && value != NULL)
        http_pairs_add(arg, key, value);
    return MHD_YES;
}

void http_copy_headers(const struct http_exchange *exchange, struct sy_buf *pairs)
{
    MHD_get_connection_values(exchange->mhd, MHD_HEADER_KIND, copy_pair, pairs);
}

void http_copy_arguments(const struct http_exchange *exchange, struct sy_buf *pairs)
{
    MHD_get_connection_values(exchange->mhd, MHD_GET_ARGUMENT_KIND, copy_pair, pairs);
}

uint64_t http_content_length(const struct http_exchange *exchange)
{
    const char *text = http_header(exchange, "content-length");
    if (text == NULL || http_header(exchange, "transfer-encoding") != NULL)
        return UINT64_MAX;
    char *end;
    errno = 0;
    unsigned long long length = strtoull(text, &end, 10); /* MHD has checked that it is a number */
    return errno != 0 || *end != '\0' ? UINT64_MAX : length;
}

void http_set_user(struct http_exchange *exchange, const struct http_user_ops *ops, void *user)
{
    SY_ASSERT(user == NULL || exchange->user == NULL);
    exchange->ops = ops;
    exchange->user = user;
}

bool http_answered(const struct http_exchange *exchange)
{
    return exchange->answered;
}

static struct http_exchange *exchange_new(struct MHD_Connection *mhd, const char *verb,
                                          const char *path)
{
    struct http_exchange *exchange = sy_new(struct http_exchange);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    exchange->connection = info->socket_context;
    exchange->mhd = mhd;
    exchange->verb = verb;
    exchange->path = path;
    struct sy_http *http = http_of(exchange);
    exchange->connection->exchange = exchange;
    exchange->body_deadline_ns = sy_loop_now_ns(http->loop) + BODY_NS;
    sy_timer_start(http->loop, &exchange->connection->patience, exchange->body_deadline_ns);
    http->exchange_count++;
    return exchange;
}

static void exchange_closed(struct http_exchange *exchange, bool sent)
{
    struct http_connection *connection = exchange->connection;
    struct sy_http *http = http_of(exchange);
    if (exchange->user != NULL)
        exchange->ops->on_closed(exchange->user, sent && exchange->answered && !exchange->aborted);
    if (exchange->response != NULL)
        MHD_destroy_response(exchange->response);
    sy_buf_deinit(&exchange->headers);
    sy_buf_deinit(&exchange->out);
    free(exchange);
    connection->exchange = NULL;
    sy_timer_start_in(http->loop, &connection->patience, IDLE_NS);
    http->exchange_count--;
    http_check_drained(http);
}

/* ---- answering ---- */

void http_add_header(struct http_exchange *exchange, const char *key, const char *value)
{
    http_pairs_add(&exchange->headers, key, value);
}

static void set_response(struct http_exchange *exchange, unsigned status,
                         struct MHD_Response *response)
{
    const char *key = NULL, *value;
    SY_ASSERT(!exchange->answered && response != NULL);
    http_cors_add(exchange);
    if (http_of(exchange)->draining)
        http_add_header(exchange, "connection", "close");
    while (exchange->headers.len > 0 &&
           (key = http_pairs_next(&exchange->headers, key, &value)) != NULL)
        MHD_add_response_header(response, key, value);
    exchange->response = response;
    exchange->status = status;
    exchange->answered = true;
    http_resume(exchange);
}

void http_answer(struct http_exchange *exchange, unsigned status, struct sy_buf *body)
{
    struct sy_buf bytes = body != NULL ? sy_buf_take(body) : (struct sy_buf){0};
    if (bytes.len == 0)
        sy_buf_deinit(&bytes);
    set_response(exchange, status,
                 MHD_create_response_from_buffer(bytes.len, bytes.data,
                                                 bytes.len > 0 ? MHD_RESPMEM_MUST_FREE
                                                               : MHD_RESPMEM_PERSISTENT));
}

void http_answer_file(struct http_exchange *exchange, unsigned status, int fd, uint64_t offset,
                      uint64_t size)
{
    set_response(exchange, status, MHD_create_response_from_fd_at_offset64(size, fd, offset));
}

/* MHD asks for the next piece of a streamed body. */
static ssize_t read_out(void *arg, uint64_t position, char *to, size_t max)
{
    (void)position;
    struct http_exchange *exchange = arg;
    if (exchange->aborted)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t waiting = exchange->out.len - exchange->out_taken;
    size_t n = waiting < max ? waiting : max;
    if (n == 0 && exchange->out_ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        suspend(exchange);
        return 0;
    }
    memcpy(to, exchange->out.data + exchange->out_taken, n);
    exchange->out_taken += n;
    if (n == waiting) {
        exchange->out_taken = 0;
        sy_buf_deinit(&exchange->out); /* an idle stream holds no buffer */
    }
    if (exchange->room_wanted && waiting - n < HTTP_ROOM && exchange->user != NULL) {
        exchange->room_wanted = false;
        exchange->ops->on_room(exchange->user);
    }
    return (ssize_t)n;
}

void http_answer_stream(struct http_exchange *exchange)
{
    set_response(
        exchange, MHD_HTTP_OK,
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE_BYTES, read_out, exchange, NULL));
}

struct sy_buf *http_out(struct http_exchange *exchange)
{
    if (exchange->out_taken > 0) {
        sy_buf_consume(&exchange->out, exchange->out_taken);
        exchange->out_taken = 0;
    }
    return &exchange->out;
}

void http_flush(struct http_exchange *exchange, bool end)
{
    exchange->out_ended = exchange->out_ended || end;
    http_resume(exchange);
}

bool http_has_room(struct http_exchange *exchange)
{
    exchange->room_wanted = exchange->out.len - exchange->out_taken >= HTTP_ROOM;
    return !exchange->room_wanted;
}

/* ---- what MHD calls ---- */

static enum MHD_Result queue(struct http_exchange *exchange)
{
    if (exchange->response == NULL)
        return MHD_YES;
    struct MHD_Response *response = sy_take(exchange->response);
    enum MHD_Result result = MHD_queue_response(exchange->mhd, exchange->status, response);
    MHD_destroy_response(response);
    return result;
}

/* MHD takes no response in the middle of a body; when too much of it follows, the client gets the
 * status by ourselves. */
static enum MHD_Result discard(struct http_exchange *exchange, size_t len)
{
    char head[80];
    exchange->discarded += len;
    if (exchange->discarded <= DISCARD_MAX)
        return MHD_YES;
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 %u Refused\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                     exchange->status);
    send(exchange->connection->fd, head, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
    return MHD_NO;
}

static enum MHD_Result take_body(struct http_exchange *exchange, const char *data, size_t *len)
{
    struct sy_loop *loop = http_of(exchange)->loop;
    if (exchange->paused)
        return MHD_YES; /* MHD goes on with chunks that are there already: they stay there */
    struct sy_span piece = {(const uint8_t *)data, *len};
    *len = 0;
    exchange->received += piece.len;
    sy_timer_start(loop, &exchange->connection->patience,
                   exchange->body_deadline_ns +
                       (int64_t)(exchange->received / BODY_RATE) * SY_NS_PER_S);
    if (exchange->answered || exchange->user == NULL)
        return discard(exchange, piece.len);
    if (exchange->ops->on_body(exchange->user, piece))
        return MHD_YES;
    sy_timer_stop(loop, &exchange->connection->patience);
    exchange->body_deadline_ns -= sy_loop_now_ns(loop);
    exchange->paused = true;
    suspend(exchange);
    return MHD_YES;
}

/* Whether to answer before the body has come, which costs the connection. */
static bool must_be_early(const struct http_exchange *exchange)
{
    uint64_t length = http_content_length(exchange);
    return http_header(exchange, "expect") != NULL ||
           (length != UINT64_MAX && length > DISCARD_MAX);
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *mhd, const char *path,
                                 const char *verb, const char *version, const char *data,
                                 size_t *len, void **state)
{
    (void)arg;
    (void)version;
    struct http_exchange *exchange = *state;
    if (exchange == NULL) {
        exchange = exchange_new(mhd, verb, path);
        *state = exchange;
        http_dispatch(exchange);
        return exchange->answered && must_be_early(exchange) ? queue(exchange) : MHD_YES;
    }
    if (exchange->aborted)
        return MHD_NO;
    if (*len > 0)
        return take_body(exchange, data, len);
    if (!exchange->body_ended) {
        exchange->body_ended = true;
        sy_timer_stop(http_of(exchange)->loop, &exchange->connection->patience);
        if (!exchange->answered && exchange->user != NULL)
            exchange->ops->on_end(exchange->user);
    }
    if (!exchange->answered)
        suspend(exchange);
    return queue(exchange);
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)arg;
    (void)mhd;
    struct http_exchange *exchange = *state;
    *state = NULL;
    if (exchange != NULL)
        exchange_closed(exchange, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

/* ---- connections ---- */

/* MHD closes, though not always at once; a second shutdown would be an event for our watch. */
static void connection_end(struct http_connection *connection)
{
    if (!connection->ended)
        shutdown(connection->fd, SHUT_RDWR);
    connection->ended = true;
    mark(connection->shard);
}

static void out_of_patience(void *arg)
{
    connection_end(arg);
}

static void client_went(void *arg, uint32_t events)
{
    (void)events;
    struct http_connection *connection = arg;
    struct http_exchange *exchange = connection->exchange;
    connection_end(connection);
    if (exchange == NULL)
        return;
    exchange->aborted = true;
    if (exchange->user != NULL)
        exchange->ops->on_gone(exchange->user);
    http_resume(exchange);
}

static struct http_connection *connection_new(struct http_shard *shard, int fd)
{
    struct sy_http *http = shard->http;
    struct http_connection *connection = sy_new(struct http_connection);
    connection->shard = shard;
    connection->fd = fd;
    http_format_peer(fd, connection->peer);
    connection->watch = (struct sy_io){fd, EPOLLRDHUP | EPOLLET, client_went, connection};
    int r = sy_io_add(http->loop, &connection->watch);
    SY_ASSERT(r == 0);
    sy_timer_init(&connection->patience, out_of_patience, connection);
    sy_timer_start_in(http->loop, &connection->patience, HEADERS_NS);
    DL_PREPEND(http->connections, connection);
    http->connection_count++;
    return connection;
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_shard *shard = arg;
    struct sy_http *http = shard->http;
    struct http_connection *connection = *context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = connection_new(
            shard, MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd);
        return;
    }
    SY_ASSERT(connection->exchange == NULL);
    sy_io_remove(http->loop, &connection->watch);
    sy_timer_stop(http->loop, &connection->patience);
    DL_DELETE(http->connections, connection);
    http->connection_count--;
    free(connection);
    *context = NULL;
}

void http_close_idle(struct sy_http *http)
{
    for (struct http_connection *at = http->connections; at != NULL; at = at->next) {
        if (at->exchange == NULL)
            connection_end(at);
    }
}

static void refuse_connection(const struct sy_http *http, int fd)
{
    static const char answer[] =
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
        "content-length: 68\r\nconnection: close\r\n\r\n"
        "{\"code\":\"unavailable\",\"message\":\"too many connections; retry later\"}";
    char unread[4096];
    (void)http;
    send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (recv(fd, unread, sizeof(unread), MSG_DONTWAIT) > 0)
        ; /* closing with unread bytes would take the answer back */
    close(fd);
}

void http_adopt(struct sy_http *http, int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (http->connection_count >= http->connections_max) {
        refuse_connection(http, fd);
        return;
    }
    if (getpeername(fd, (struct sockaddr *)&address, &len) < 0) {
        close(fd); /* gone already */
        return;
    }
    /* Few connections share few shards, so that one round serves several of them. */
    size_t used = 1 + http->connection_count / SHARD_CONNECTIONS;
    struct http_shard *shard = &http->shards[http->shard_next++ % (used < SHARDS ? used : SHARDS)];
    /* Closes it when it fails. */
    if (MHD_add_connection(shard->daemon, fd, (const struct sockaddr *)&address, len) == MHD_YES)
        mark(shard);
}

/* ---- shards ---- */

static void shard_ready(void *arg, uint32_t events)
{
    (void)events;
    mark(arg);
}

/* MHD does one round at a time; it says with a timeout of 0 that more is due. */
static void shard_run(struct http_shard *shard)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    shard->dirty = false;
    MHD_run(shard->daemon);
    if (MHD_get_timeout(shard->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0)
        mark(shard);
}

static void turn_end(void *arg)
{
    struct sy_http *http = arg;
    bool more = false;
    for (size_t i = 0; i < SHARDS; i++) {
        if (http->shards[i].dirty)
            shard_run(&http->shards[i]);
        more = more || http->shards[i].dirty;
    }
    if (more)
        sy_timer_start_in(http->loop, &http->again, 0);
}

/* Makes a turn; its end does the work. */
static void again(void *arg)
{
    (void)arg;
}

/* MHD's own timeouts need to be looked at now and then. */
static void tick(void *arg)
{
    struct sy_http *http = arg;
    sy_timer_start_in(http->loop, &http->tick, TICK_NS);
    for (size_t i = 0; i < SHARDS; i++)
        mark(&http->shards[i]);
}

static int shard_start(struct http_shard *shard)
{
    shard->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        on_access, shard, MHD_OPTION_NOTIFY_COMPLETED, on_completed, shard,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, shard, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)INT32_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, STUCK_S, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_END);
    if (shard->daemon == NULL)
        return -ENOMEM;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(shard->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    shard->io = (struct sy_io){info->epoll_fd, EPOLLIN, shard_ready, shard};
    int r = sy_io_add(shard->http->loop, &shard->io);
    SY_ASSERT(r == 0);
    return 0;
}

int http_shards_start(struct sy_http *http)
{
    http->connections_max = http->server->streams_max + CONNECTIONS_SPARE;
    http->shards = sy_calloc(SHARDS, sizeof(*http->shards));
    for (size_t i = 0; i < SHARDS; i++) {
        http->shards[i].http = http;
        int r = shard_start(&http->shards[i]);
        if (r < 0)
            return r;
    }
    http->turn_end = (struct sy_turn_end){.fn = turn_end, .arg = http};
    sy_loop_add_turn_end(http->loop, &http->turn_end);
    sy_timer_init(&http->again, again, NULL);
    sy_timer_init(&http->tick, tick, http);
    sy_timer_start_in(http->loop, &http->tick, TICK_NS);
    return 0;
}

void http_shards_stop(struct sy_http *http)
{
    for (size_t i = 0; http->shards != NULL && i < SHARDS; i++) {
        struct http_shard *shard = &http->shards[i];
        if (shard->daemon == NULL)
            continue;
        sy_io_remove(http->loop, &shard->io);
        MHD_stop_daemon(shard->daemon);
    }
    free(http->shards);
    SY_ASSERT(http->connections == NULL);
}
