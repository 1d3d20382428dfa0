/*
 * Whom a request is for, and the plain routes of base/http.h.
 *
 * A request crosses to its route's loop and back by posts, as a call does. It is freed on the HTTP
 * thread, by a post that its loop sends after on_closed: whatever the loop sent before that has
 * then arrived.
 */
#include "base/mem.h"
#include "base/rpc_connect.h"
#include "base/rpc_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

struct sy_http_request {
    struct sy_http *http;
    const struct sy_http_route *route;
    char *path;
    struct sy_buf headers, arguments; /* pairs */
    uint64_t content_length;
    struct sy_buf piece; /* of the body, on its way to the loop; the next waits for its return */
    bool sent;           /* to be told to on_closed */

    /* The loop's. */
    const struct sy_http_sink *sink;
    void *sink_ctx;
    bool replied, closed;
    unsigned status;             /* the reply, on its way to the HTTP thread */
    struct sy_buf reply_headers; /* pairs */
    struct sy_buf body;
    int fd; /* -1: the body is `body` */
    uint64_t offset, size;

    /* The HTTP thread's. */
    struct sy_http_request *prev, *next;
    struct http_exchange *exchange; /* NULL: parted */
    uint64_t received;
};

static void request_free(void *arg)
{
    struct sy_http_request *request = arg;
    struct sy_http *http = request->http;
    DL_DELETE(http->requests, request);
    free(request->path);
    sy_buf_deinit(&request->headers);
    sy_buf_deinit(&request->arguments);
    sy_buf_deinit(&request->reply_headers);
    sy_buf_deinit(&request->piece);
    sy_buf_deinit(&request->body);
    if (request->fd >= 0)
        close(request->fd);
    free(request);
    http_check_drained(http);
}

/* ---- on the route's loop ---- */

static void open_on_loop(void *arg)
{
    struct sy_http_request *request = arg;
    request->route->handler(request->route->ctx, request);
    SY_ASSERT(request->sink != NULL);
}

static void continue_on_http(void *arg)
{
    struct sy_http_request *request = arg;
    if (request->exchange != NULL)
        http_resume(request->exchange);
}

static void piece_on_loop(void *arg)
{
    struct sy_http_request *request = arg;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf piece = sy_buf_take(&request->piece);
    if (request->replied || request->sink->on_body(request->sink_ctx, sy_buf_span(&piece)))
        sy_http_continue(request);
}

static void end_on_loop(void *arg)
{
    struct sy_http_request *request = arg;
    if (!request->replied)
        request->sink->on_end(request->sink_ctx);
}

static void closed_on_loop(void *arg)
{
    struct sy_http_request *request = arg;
    request->closed = true;
    request->sink->on_closed(request->sink_ctx, request->sent);
    sy_loop_post_always(request->http->loop, request_free, request);
}

const char *sy_http_path(const struct sy_http_request *request)
{
    return request->path;
}

const char *sy_http_query(const struct sy_http_request *request, const char *key)
{
    return http_pairs_find(&request->arguments, key);
}

const char *sy_http_header(const struct sy_http_request *request, const char *key)
{
    return http_pairs_find(&request->headers, key);
}

uint64_t sy_http_content_length(const struct sy_http_request *request)
{
    return request->content_length;
}

void sy_http_set_sink(struct sy_http_request *request, const struct sy_http_sink *sink, void *ctx)
{
    request->sink = sink;
    request->sink_ctx = ctx;
}

void sy_http_continue(struct sy_http_request *request)
{
    sy_loop_post_always(request->http->loop, continue_on_http, request);
}

void sy_http_add_header(struct sy_http_request *request, const char *key, const char *value)
{
    SY_ASSERT(!request->replied);
    http_pairs_add(&request->reply_headers, key, value);
}

static void reply_on_http(void *arg)
{
    struct sy_http_request *request = arg;
    struct http_exchange *exchange = request->exchange;
    if (exchange == NULL || http_answered(exchange))
        return;
    const char *key = NULL, *value;
    while (request->reply_headers.len > 0 &&
           (key = http_pairs_next(&request->reply_headers, key, &value)) != NULL)
        http_add_header(exchange, key, value);
    int fd = request->fd;
    request->fd = -1;
    if (fd < 0)
        http_answer(exchange, request->status, &request->body);
    else
        http_answer_file(exchange, request->status, fd, request->offset, request->size);
}

static void reply(struct sy_http_request *request, unsigned status, const char *content_type)
{
    SY_ASSERT(!request->replied && !request->closed);
    if (content_type != NULL)
        sy_http_add_header(request, "content-type", content_type);
    request->replied = true;
    request->status = status;
    sy_loop_post_always(request->http->loop, reply_on_http, request);
}

void sy_http_reply(struct sy_http_request *request, unsigned status, const char *content_type,
                   struct sy_buf *body)
{
    if (body != NULL)
        request->body = sy_buf_take(body);
    reply(request, status, content_type);
}

void sy_http_reply_file(struct sy_http_request *request, unsigned status, const char *content_type,
                        int fd, uint64_t offset, uint64_t size)
{
    SY_ASSERT(fd >= 0);
    request->fd = fd;
    request->offset = offset;
    request->size = size;
    reply(request, status, content_type);
}

/* ---- on the HTTP thread ---- */

static void part(struct sy_http_request *request, bool sent)
{
    http_set_user(request->exchange, NULL, NULL);
    request->exchange = NULL;
    request->sent = sent;
    sy_loop_post_always(request->route->loop, closed_on_loop, request);
}

static void answer_plain(struct http_exchange *exchange, unsigned http_status, enum sy_code code,
                         const char *text)
{
    struct sy_status *status = sy_rpc_status_new(code, "%s", text);
    http_answer_error(exchange, http_status, status);
    sy_rpc_status_free(status);
}

static void answer_too_large(struct http_exchange *exchange, const struct sy_http_route *route)
{
    char text[128];
    snprintf(text, sizeof(text), "the body is too large; %s%s takes at most %llu bytes",
             route->verb, route->prefix, (unsigned long long)route->body_bytes_max);
    answer_plain(exchange, 413, SY_CODE_RESOURCE_EXHAUSTED, text);
}

static bool on_body(void *user, struct sy_span piece)
{
    struct sy_http_request *request = user;
    const struct sy_http_route *route = request->route;
    if (piece.len > route->body_bytes_max - request->received) {
        answer_too_large(request->exchange, route);
        part(request, false);
        return true;
    }
    request->received += piece.len;
    SY_ASSERT(request->piece.len == 0);
    sy_buf_append(&request->piece, piece.data, piece.len);
    sy_loop_post_always(route->loop, piece_on_loop, request);
    return false;
}

static void on_end(void *user)
{
    struct sy_http_request *request = user;
    sy_loop_post_always(request->route->loop, end_on_loop, request);
}

static void on_gone(void *user)
{
    part(user, false);
}

static void on_closed(void *user, bool sent)
{
    part(user, sent);
}

static const struct http_user_ops user_ops = {
    .on_body = on_body,
    .on_end = on_end,
    .on_gone = on_gone,
    .on_closed = on_closed,
};

void http_requests_cancel(struct sy_http *http)
{
    for (struct sy_http_request *at = http->requests; at != NULL; at = at->next) {
        if (at->exchange != NULL)
            http_abort(at->exchange);
    }
}

static void request_open(struct http_exchange *exchange, const struct sy_http_route *route)
{
    struct sy_http *http = http_of(exchange);
    struct sy_http_request *request = sy_new(struct sy_http_request);
    request->http = http;
    request->route = route;
    request->path = sy_strdup(http_path(exchange));
    request->content_length = http_content_length(exchange);
    request->fd = -1;
    request->exchange = exchange;
    http_copy_headers(exchange, &request->headers);
    http_copy_arguments(exchange, &request->arguments);
    DL_PREPEND(http->requests, request);
    http_set_user(exchange, &user_ops, request);
    sy_loop_post_always(route->loop, open_on_loop, request);
}

/* The route with the longest prefix; *ret_other says that one exists for other verbs. */
static const struct sy_http_route *find_route(const struct sy_server *server, const char *verb,
                                              const char *path, bool *ret_other)
{
    const struct sy_http_route *best = NULL;
    const char *wanted = strcmp(verb, "HEAD") == 0 ? "GET" : verb;
    *ret_other = false;
    for (size_t i = 0; i < server->route_count; i++) {
        const struct sy_http_route *route = &server->routes[i];
        size_t len = strlen(route->prefix);
        if (strncmp(path, route->prefix, len) != 0)
            continue;
        *ret_other = true;
        if (strcmp(route->verb, wanted) == 0 && (best == NULL || len > strlen(best->prefix)))
            best = route;
    }
    return best;
}

static void open_route(struct http_exchange *exchange, const struct sy_http_route *route)
{
    uint64_t length = http_content_length(exchange);
    if (length != UINT64_MAX && length > route->body_bytes_max)
        answer_too_large(exchange, route);
    else
        request_open(exchange, route);
}

static void answer_preflight(struct http_exchange *exchange)
{
    http_cors_add_preflight(exchange);
    http_answer(exchange, 204, NULL);
}

static void dispatch_call(struct http_exchange *exchange)
{
    struct sy_connect_type type = {false, false};
    if (!sy_connect_parse_type(http_header(exchange, "content-type"), &type))
        answer_plain(exchange, 415, SY_CODE_INVALID_ARGUMENT,
                     "unknown content type; expected application/proto, application/json, "
                     "application/connect+proto or application/connect+json");
    else if (type.json && http_of(exchange)->server->codec == NULL)
        answer_plain(exchange, 415, SY_CODE_INVALID_ARGUMENT,
                     "this server takes no JSON; expected application/proto or "
                     "application/connect+proto");
    else
        http_call_open(exchange, type);
}

void http_dispatch(struct http_exchange *exchange)
{
    const struct sy_http *http = http_of(exchange);
    const char *verb = http_verb(exchange);
    bool other;
    const struct sy_http_route *route = find_route(http->server, verb, http_path(exchange), &other);
    if (http->draining)
        answer_plain(exchange, 503, SY_CODE_UNAVAILABLE, "the server is shutting down");
    else if (strcmp(verb, "OPTIONS") == 0)
        answer_preflight(exchange);
    else if (route != NULL)
        open_route(exchange, route);
    else if (strcmp(verb, "POST") == 0)
        dispatch_call(exchange);
    else if (other)
        answer_plain(exchange, 405, SY_CODE_UNIMPLEMENTED, "this path has no such verb");
    else
        answer_plain(exchange, 404, SY_CODE_NOT_FOUND,
                     "nothing is here; methods are called with POST /package.Service/Method");
}
