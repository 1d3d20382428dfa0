/*
 * Inside the HTTP side of a server (rpc_http*.c): HTTP/1.1 on the port that gRPC serves. No other
 * file but the gRPC server's includes it.
 *
 * Threads. One thread, with a loop of its own, does everything of HTTP: it accepts, looks at the
 * first bytes, gives HTTP/2 away, and drives libmicrohttpd (rpc_http_mhd.c, the only file that sees
 * its header) in its mode without threads. Calls and requests cross to their loops by posts. Every
 * function here runs on that thread unless it says otherwise.
 *
 * An exchange is one HTTP request with its response. Whom it is for (a call, a route, nobody) is
 * its user; either side may go first.
 */
#pragma once

#include "base/gzip.h"
#include "base/http.h"
#include "base/rpc_impl.h"

#include <pthread.h>
#include <sys/socket.h>

#define HTTP_PEER_MAX 64

struct sy_http;
struct http_exchange;

/* What the HTTP side needs of the server beside it. Any thread. */
struct http_host_ops {
    /* Takes a connection that opened with HTTP/2's preface. */
    void (*adopt)(struct sy_server *server, int fd);
    /* After http_drain(): nothing of HTTP is open any more. Once. */
    void (*drained)(struct sy_server *server);
};

struct http_call;
struct sy_http_request;
struct http_listener;
struct http_shard;

struct sy_http {
    struct sy_server *server;
    const struct http_host_ops *host;
    struct sy_loop *loop;
    pthread_t thread;
    bool running;
    bool draining, drained;
    struct http_listener *listeners;
    size_t listener_count;
    bool listening;
    struct http_peek *peeks;
    size_t peek_count;
    struct http_shard *shards;
    size_t shard_next;
    struct sy_turn_end turn_end;
    struct sy_timer tick, again;
    struct http_connection *connections;
    size_t connection_count, exchange_count;
    struct http_call *calls;   /* that are attached to an exchange */
    struct http_call *leaving; /* served; on their way back to their loops */
    struct sy_timer leave;
    struct sy_http_request *requests;
    struct sy_gzip *gzip;
    uint64_t connections_max;
};

/* ---- rpc_http.c: any thread ---- */

/* Binds; sets server->port. -EADDRINUSE and other causes with a sentence. */
int http_new(struct sy_http **ret_http, struct sy_server *server, const struct http_host_ops *host,
             struct sy_error_text *error) SY_MUST_USE;
/* Accepts from now on. */
void http_run(struct sy_http *http);
/* No connections and no requests from now on. */
void http_drain(struct sy_http *http);
/* The grace is over. */
void http_cancel_all(struct sy_http *http);
/* After the drain. */
void http_free(struct sy_http *http);

/* The HTTP thread: an exchange or a request has gone. */
void http_check_drained(struct sy_http *http);

/* ---- rpc_http_listen.c ---- */

int http_listen(struct sy_http *http, struct sy_error_text *error) SY_MUST_USE;
void http_listen_start(struct sy_http *http); /* on the thread's loop */
void http_listen_stop(struct sy_http *http);
void http_format_peer(int fd, char peer[static HTTP_PEER_MAX]); /* any thread */

/* ---- rpc_http_mhd.c ---- */

/* What the user of an exchange hears. */
struct http_user_ops {
    /* A piece of the body, borrowed. False: no more until http_resume(). */
    bool (*on_body)(void *user, struct sy_span piece);
    void (*on_end)(void *user); /* of the body */
    /* A streamed response has less than HTTP_ROOM waiting. */
    void (*on_room)(void *user);
    /* The client closed its side. Nothing may be known of it, or on_closed follows. */
    void (*on_gone)(void *user);
    /* The last: the response was sent, or the connection broke. */
    void (*on_closed)(void *user, bool sent);
};
#define HTTP_ROOM ((size_t)32 << 10)

int http_shards_start(struct sy_http *http) SY_MUST_USE;
void http_shards_stop(struct sy_http *http);
/* Takes a connection whose first bytes wait to be read. */
void http_adopt(struct sy_http *http, int fd);
/* Closes the connections on which no request is under way. */
void http_close_idle(struct sy_http *http);

struct sy_http *http_of(const struct http_exchange *exchange);
const char *http_verb(const struct http_exchange *exchange);
const char *http_path(const struct http_exchange *exchange);
const char *http_peer(const struct http_exchange *exchange);
const char *http_header(const struct http_exchange *exchange, const char *key); /* or NULL */
/* Appends all of them, or the query's arguments, as pairs. */
void http_copy_headers(const struct http_exchange *exchange, struct sy_buf *pairs);
void http_copy_arguments(const struct http_exchange *exchange, struct sy_buf *pairs);
/* UINT64_MAX: not declared. */
uint64_t http_content_length(const struct http_exchange *exchange);
/* NULL detaches: what is left of the exchange goes on without a user. */
void http_set_user(struct http_exchange *exchange, const struct http_user_ops *ops, void *user);
void http_resume(struct http_exchange *exchange);

/* Before the answer: one more header, copied. */
void http_add_header(struct http_exchange *exchange, const char *key, const char *value);
/* One of the three answers each exchange once. A body that still comes is read and dropped. Takes
 * the bytes (NULL: none). */
void http_answer(struct http_exchange *exchange, unsigned status, struct sy_buf *body);
/* Takes fd. */
void http_answer_file(struct http_exchange *exchange, unsigned status, int fd, uint64_t offset,
                      uint64_t size);
/* The body follows piece by piece. */
void http_answer_stream(struct http_exchange *exchange);
/* The bytes of a streamed body that wait; append to it, then http_flush(). */
struct sy_buf *http_out(struct http_exchange *exchange);
void http_flush(struct http_exchange *exchange, bool end);
/* Whether less than HTTP_ROOM waits; if not, on_room follows. */
bool http_has_room(struct http_exchange *exchange);
bool http_answered(const struct http_exchange *exchange);
/* Breaks the connection. */
void http_abort(struct http_exchange *exchange);

/* ---- rpc_http_cors.c ---- */

/* Before the answer: whether pages of the origin that asks may see it. */
void http_cors_add(struct http_exchange *exchange);
/* And what they may send. */
void http_cors_add_preflight(struct http_exchange *exchange);

/* ---- rpc_http_route.c ---- */

/* The headers of a request are there: finds its user, or answers. */
void http_dispatch(struct http_exchange *exchange);
void http_requests_cancel(struct sy_http *http);

/* ---- rpc_http_call.c ---- */

struct sy_connect_type;

void http_call_open(struct http_exchange *exchange, struct sy_connect_type type);
void http_calls_cancel(struct sy_http *http);
/* Those that were served go back to their loops now. */
void http_calls_leave(struct sy_http *http);
/* Connect's error, in JSON. */
void http_answer_error(struct http_exchange *exchange, unsigned http_status,
                       const struct sy_status *status);

/* ---- rpc_http.c: strings in pairs, "key\0value\0..." ---- */

void http_pairs_add(struct sy_buf *pairs, const char *key, const char *value);
/* The first with that key, in whatever case; NULL: none. */
const char *http_pairs_find(const struct sy_buf *pairs, const char *key);
/* The pair behind `key`, which is NULL for the first; NULL: no more. */
const char *http_pairs_next(const struct sy_buf *pairs, const char *key, const char **ret_value);
