/*
 * Connect calls: an adapter of rpc.c, as rpc_grpc_server.c is one.
 *
 *      exchange --body, decoded--> sy_call on its loop --messages, status--> exchange
 *
 * The call and its exchange part when the first of them is over: the response was sent, the client
 * went away, the deadline passed, the server drains. The call hears of that once (`ended`), and
 * whatever it still sends is taken and dropped.
 *
 * Two threads. The HTTP thread owns what the struct says; the rest belongs to the call's loop, and
 * what both need is handed over by posts: `start`, `sent` and `ended` to the loop, each at most
 * once under way, and what rpc.c sends (one thing at a time) to the HTTP thread.
 */
#include "base/mem.h"
#include "base/rpc_connect.h"
#include "base/rpc_http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

#define GZIP_BYTES_MIN ((size_t)16 << 10) /* smaller responses are not worth the time */
#define LEAVING_NS (10 * SY_NS_PER_MS)

struct http_event {
    struct http_call *call;
    struct sy_loop *at; /* where it was posted to */
    void (*run)(struct http_call *call);
};

struct http_call {
    struct sy_call base; /* once admitted */
    struct sy_http *http;
    struct sy_server *server;
    char peer[HTTP_PEER_MAX];
    struct sy_buf headers; /* pairs */
    /* The loop that events go to. Changed by the loop that it names; who finds an event there that
     * is not for it hands it on. */
    _Atomic(struct sy_loop *) home;
    struct http_event start, sent, ended;
    struct http_move { /* asked for by the handler that is running */
        struct sy_loop *to;
        sy_fn fn;
        void *arg;
    } move;
    struct sy_buf request;
    struct sy_rpc_message message;
    struct sy_status *ended_status;
    /* What rpc.c sends, on its way to the HTTP thread: the end, or messages, or both. */
    struct sy_buf *out;
    size_t out_count;
    unsigned out_flags;

    /* The HTTP thread's. */
    struct http_call *prev, *next;
    struct http_exchange *exchange; /* NULL: parted */
    const struct sy_method *method;
    struct sy_connect_type type;
    struct sy_buf response; /* unary: waits for the status */
    struct sy_timer deadline;
    size_t request_bytes_max;
    bool gzip_in, gzip_out;
    bool sending;  /* `sent` is owed */
    bool finished; /* the server's status came */
    bool has_response;
};

/* ---- to the loop ---- */

static void event_run(void *arg);

static void event_post(struct http_event *event)
{
    event->at = atomic_load(&event->call->home);
    sy_loop_post_always(event->at, event_run, event);
}

static void event_run(void *arg)
{
    struct http_event *event = arg;
    if (event->at == atomic_load(&event->call->home))
        event->run(event->call);
    else
        event_post(event);
}

static void moved_on_loop(void *arg)
{
    struct http_call *call = arg;
    call->move.fn(call->move.arg);
    sy_rpc_receive_ended(&call->base, true);
}

static void start_on_loop(struct http_call *call)
{
    struct sy_loop *to = NULL;
    call->message.span = sy_buf_span(&call->request);
    sy_rpc_message_received(&call->base, &call->message);
    to = call->move.to;
    if (to == NULL) {
        sy_rpc_receive_ended(&call->base, true);
        return;
    }
    /* What comes for the old loop from now on is behind this post on its way to the new one. */
    call->base.loop = to;
    sy_loop_post_always(to, moved_on_loop, call);
    atomic_store(&call->home, to);
}

static void sent_on_loop(struct http_call *call)
{
    sy_rpc_sent(&call->base);
}

static void ended_on_loop(struct http_call *call)
{
    sy_rpc_ended(&call->base, sy_take(call->ended_status));
}

/* ---- parting ---- */

static void drop_out(struct http_call *call)
{
    for (size_t i = 0; i < call->out_count; i++)
        sy_buf_deinit(&call->out[i]);
    call->out_count = 0;
    free(sy_take(call->out));
}

static void call_free(struct http_call *call)
{
    sy_buf_deinit(&call->headers);
    sy_buf_deinit(&call->request);
    drop_out(call);
    sy_buf_deinit(&call->response);
    free(call);
}

static bool is_started(const struct http_call *call)
{
    return call->start.call != NULL;
}

static void acknowledge(struct http_call *call)
{
    if (!call->sending)
        return;
    call->sending = false;
    event_post(&call->sent);
}

void http_calls_leave(struct sy_http *http)
{
    struct http_call *call;
    while ((call = http->leaving) != NULL) {
        DL_DELETE(http->leaving, call);
        acknowledge(call);
        event_post(&call->ended);
    }
    sy_timer_stop(http->loop, &http->leave);
}

/* Nobody waits for a call that was served: it goes back to its loop together with the next one that
 * starts, so that the loop is not woken for it alone. */
static void leave_soon(struct http_call *call)
{
    struct sy_http *http = call->http;
    DL_APPEND(http->leaving, call);
    if (!sy_timer_running(&http->leave))
        sy_timer_start_in(http->loop, &http->leave, LEAVING_NS);
}

/* The exchange is over, or goes on without the call. Takes the status; the call may be gone. */
static void part(struct http_call *call, struct sy_status *status)
{
    http_set_user(call->exchange, NULL, NULL);
    call->exchange = NULL;
    sy_timer_stop(call->http->loop, &call->deadline);
    if (!is_started(call)) {
        sy_rpc_status_free(status);
        call_free(call);
        return;
    }
    DL_DELETE(call->http->calls, call);
    call->ended_status = status;
    if (status == NULL) {
        leave_soon(call);
        return;
    }
    acknowledge(call);
    event_post(&call->ended);
}

/* ---- answering ---- */

static void answer_stream(struct http_exchange *exchange, struct sy_connect_type type)
{
    http_add_header(exchange, "content-type", sy_connect_type_name(type));
    http_add_header(exchange, "connect-content-encoding", "gzip"); /* each message says if it is */
    http_add_header(exchange, "connect-accept-encoding", "gzip");
    http_answer_stream(exchange);
}

static void append_end(struct http_exchange *exchange, const struct sy_status *status)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf json = {0};
    sy_connect_append_end(&json, status);
    struct sy_buf *out = http_out(exchange);
    sy_connect_append_head(out, SY_CONNECT_END, json.len);
    sy_buf_append(out, json.data, json.len);
    http_flush(exchange, true);
}

void http_answer_error(struct http_exchange *exchange, unsigned http_status,
                       const struct sy_status *status)
{
    struct sy_buf json = {0};
    sy_connect_append_error(&json, status);
    http_add_header(exchange, "content-type", "application/json");
    http_answer(exchange, http_status, &json);
}

/* Takes the status. */
static void answer_error(struct http_exchange *exchange, struct sy_connect_type type,
                         struct sy_status *status)
{
    if (!type.stream && !http_answered(exchange)) {
        http_answer_error(exchange, sy_connect_http_status(status->code), status);
    } else if (type.stream) {
        if (!http_answered(exchange))
            answer_stream(exchange, type);
        append_end(exchange, status);
    }
    sy_rpc_status_free(status);
}

/* Takes the status, which the client gets; the call ends as cancelled. */
static void give_up(struct http_call *call, struct sy_status *status)
{
    struct sy_status *cancelled = sy_rpc_status_new(SY_CODE_CANCELLED, "%s", status->message.text);
    if (!call->finished)
        answer_error(call->exchange, call->type, status);
    else
        sy_rpc_status_free(status);
    part(call, cancelled);
}

void http_calls_cancel(struct sy_http *http)
{
    while (http->calls != NULL)
        give_up(http->calls, sy_rpc_status_new(SY_CODE_UNAVAILABLE, "the server is shutting down"));
}

static void deadline_passed(void *arg)
{
    struct http_call *call = arg;
    give_up(call, sy_rpc_status_new(SY_CODE_DEADLINE_EXCEEDED, "the call's deadline passed"));
}

/* The bytes as the client wants them: *in is replaced. False: they cannot be told in JSON. */
static bool encode(struct http_call *call, struct sy_buf *in)
{
    const struct sy_codec *codec = call->server->codec;
    if (!call->type.json)
        return true;
    struct sy_buf json = {0};
    int r = codec->response_to_json(codec->ctx, call->method->path, sy_buf_span(in), &json);
    sy_buf_deinit(in);
    *in = json;
    return r == 0;
}

/* True: *in was replaced by something smaller. */
static bool compress(struct http_call *call, struct sy_buf *in)
{
    if (!call->gzip_out || in->len < GZIP_BYTES_MIN)
        return false;
    struct sy_buf out = {0};
    sy_gzip_deflate(call->http->gzip, sy_buf_span(in), &out);
    if (out.len >= in->len) {
        sy_buf_deinit(&out);
        return false;
    }
    sy_buf_deinit(in);
    *in = out;
    return true;
}

static void answer_response(struct http_call *call)
{
    if (!call->has_response || !encode(call, &call->response)) {
        answer_error(call->exchange, call->type,
                     sy_rpc_status_new(SY_CODE_INTERNAL, call->has_response
                                                             ? "the response has no form in JSON"
                                                             : "the handler sent no response"));
        return;
    }
    http_add_header(call->exchange, "content-type", sy_connect_type_name(call->type));
    if (compress(call, &call->response))
        http_add_header(call->exchange, "content-encoding", "gzip");
    http_answer(call->exchange, 200, &call->response);
}

/* A response waits for its status: it may still become an error. */
static void send_unary(struct http_call *call)
{
    bool end = call->out_flags & SY_RPC_SEND_END;
    if (call->out_count > 0 && !call->has_response) {
        call->response = sy_buf_take(&call->out[0]);
        call->has_response = true;
    }
    drop_out(call);
    if (!end) {
        acknowledge(call); /* from here on the loop may send the next */
        return;
    }
    call->finished = true;
    const struct sy_status *status = call->base.end_status;
    if (status != NULL)
        http_answer_error(call->exchange, sy_connect_http_status(status->code), status);
    else
        answer_response(call);
}

static bool send_message(struct http_call *call, struct sy_buf *message)
{
    if (!encode(call, message))
        return false;
    bool gzip = compress(call, message);
    struct sy_buf *out = http_out(call->exchange);
    sy_connect_append_head(out, gzip ? SY_CONNECT_GZIP : 0, message->len);
    sy_buf_append(out, message->data, message->len);
    return true;
}

static void send_stream(struct http_call *call)
{
    bool sent = true;
    for (size_t i = 0; i < call->out_count && sent; i++)
        sent = send_message(call, &call->out[i]);
    drop_out(call);
    if (!sent) {
        give_up(call,
                sy_rpc_status_new(SY_CODE_INTERNAL, "a message of the stream has no form in JSON"));
        return;
    }
    call->finished = call->out_flags & SY_RPC_SEND_END;
    bool has_room = call->finished || http_has_room(call->exchange);
    if (call->finished)
        append_end(call->exchange, call->base.end_status);
    else
        http_flush(call->exchange, false);
    if (has_room)
        acknowledge(call);
}

static void send_on_http(void *arg)
{
    struct http_call *call = arg;
    call->sending = true;
    if (call->exchange == NULL) {
        drop_out(call);
        acknowledge(call);
        return;
    }
    if (call->type.stream)
        send_stream(call);
    else
        send_unary(call);
}

/* ---- a call's operations: its loop ---- */

static struct http_call *call_of(struct sy_call *base)
{
    return sy_container_of(base, struct http_call, base);
}

static void op_send(struct sy_call *base, struct sy_buf *message, unsigned flags)
{
    struct http_call *call = call_of(base);
    SY_ASSERT(call->out == NULL);
    if (message != NULL) {
        size_t max = 1 + base->queue_count;
        call->out = sy_malloc(max * sizeof(*call->out));
        call->out[call->out_count++] = sy_buf_take(message);
        while (flags & SY_RPC_SEND_MORE)
            flags = sy_rpc_send_more(base, &call->out[call->out_count++]);
        SY_ASSERT(call->out_count == max);
    }
    call->out_flags = flags;
    sy_loop_post_always(call->http->loop, send_on_http, call);
}

static void op_cancel(struct sy_call *base)
{
    (void)base;
    SY_ASSERT(!"a server ends its calls with a status");
}

static void op_release(struct sy_call *base, struct sy_rpc_message *message)
{
    (void)message;
    sy_buf_deinit(&call_of(base)->request);
}

static void op_rehome(struct sy_call *base, struct sy_loop *loop, sy_fn fn, void *arg)
{
    call_of(base)->move = (struct http_move){loop, fn, arg};
}

static const char *op_metadata(struct sy_call *base, const char *key)
{
    return http_pairs_find(&call_of(base)->headers, key);
}

static const char *op_peer(struct sy_call *base)
{
    return call_of(base)->peer;
}

static void op_free(struct sy_call *base)
{
    struct http_call *call = call_of(base);
    struct sy_server *server = call->server;
    sy_rpc_call_deinit(base);
    call_free(call);
    server->ops->call_freed(server);
}

static const struct sy_call_ops call_ops = {
    .gathers = true,
    .send = op_send,
    .cancel = op_cancel,
    .release = op_release,
    .rehome = op_rehome,
    .metadata = op_metadata,
    .peer = op_peer,
    .free = op_free,
};

/* ---- the request ---- */

static void start(struct http_call *call)
{
    struct sy_http *http = call->http;
    sy_rpc_call_init(&call->base, &call_ops, SY_CALL_SERVER, call->method->loop);
    call->base.server = call->server;
    call->base.method = call->method;
    call->base.send_buffer_max = call->server->send_buffer_max;
    if (sy_timer_running(&call->deadline))
        call->base.deadline_ns = call->deadline.deadline_ns;
    atomic_store(&call->home, call->method->loop);
    call->start = (struct http_event){.call = call, .run = start_on_loop};
    call->sent = (struct http_event){.call = call, .run = sent_on_loop};
    call->ended = (struct http_event){.call = call, .run = ended_on_loop};
    DL_PREPEND(http->calls, call);
    call->server->ops->call_begun(call->server);
    if (call->type.stream)
        answer_stream(call->exchange, call->type);
    event_post(&call->start);
    http_calls_leave(call->http);
}

/* An error of the request, before it became a call. */
static void refuse(struct http_call *call, struct sy_status *status)
{
    answer_error(call->exchange, call->type, status);
    part(call, NULL);
}

static struct sy_status *too_large(const struct http_call *call)
{
    return sy_rpc_status_new(SY_CODE_RESOURCE_EXHAUSTED,
                             "the request is too large; %s takes at most %zu bytes",
                             call->method->path, call->request_bytes_max);
}

/* A stream's body is one envelope. */
static struct sy_status *take_envelope(struct http_call *call)
{
    struct sy_connect_envelope envelope;
    size_t len;
    if (call->request.len == 0)
        return sy_rpc_status_new(SY_CODE_INTERNAL, "the request message is missing");
    int r = sy_connect_parse_envelope(sy_buf_span(&call->request), call->request_bytes_max,
                                      &envelope, &len);
    if (r == SY_CONNECT_E_LARGE)
        return too_large(call);
    if (r != 0 || len != call->request.len)
        return sy_rpc_status_new(SY_CODE_INVALID_ARGUMENT,
                                 "the body of %zu bytes is not one whole envelope",
                                 call->request.len);
    if ((envelope.flags & SY_CONNECT_GZIP) != 0 && !call->gzip_in)
        return sy_rpc_status_new(SY_CODE_INTERNAL,
                                 "a compressed message without connect-content-encoding");
    call->gzip_in = envelope.flags & SY_CONNECT_GZIP;
    sy_buf_consume(&call->request, SY_CONNECT_ENVELOPE_HEAD);
    return NULL;
}

/* Some clients say gzip and send plain bytes: what does not begin as gzip does is taken as it is.
 */
static struct sy_status *decompress(struct http_call *call)
{
    if (!call->gzip_in || !sy_gzip_is(sy_buf_span(&call->request)))
        return NULL;
    struct sy_buf plain = {0};
    int r = sy_gzip_inflate(call->http->gzip, sy_buf_span(&call->request), call->request_bytes_max,
                            &plain);
    if (r == SY_GZIP_E_LARGE)
        return too_large(call);
    if (r != 0)
        return sy_rpc_status_new(SY_CODE_INVALID_ARGUMENT,
                                 "the body is damaged gzip, or was cut short");
    sy_buf_deinit(&call->request);
    call->request = plain;
    return NULL;
}

static struct sy_status *decode_json(struct http_call *call)
{
    const struct sy_codec *codec = call->server->codec;
    struct sy_error_text error = {{0}};
    struct sy_buf bytes = {0};
    if (!call->type.json)
        return NULL;
    int r = codec->request_from_json(codec->ctx, call->method->path, sy_buf_span(&call->request),
                                     &bytes, &error);
    sy_buf_deinit(&call->request);
    call->request = bytes;
    return r < 0 ? sy_rpc_status_new(SY_CODE_INVALID_ARGUMENT, "%s", error.text) : NULL;
}

static void on_end(void *user)
{
    struct http_call *call = user;
    const char *path = call->method->path;
    struct sy_status *status = call->type.stream ? take_envelope(call) : NULL;
    if (status == NULL)
        status = decompress(call);
    if (status == NULL)
        status = decode_json(call);
    if (status == NULL) /* again: others may have come meanwhile */
        sy_rpc_server_admit(call->server, path, strlen(path), &status);
    if (status == NULL)
        start(call);
    else
        refuse(call, status);
}

static bool on_body(void *user, struct sy_span piece)
{
    struct http_call *call = user;
    size_t head = call->type.stream ? SY_CONNECT_ENVELOPE_HEAD : 0;
    if (piece.len > call->request_bytes_max + head - call->request.len)
        refuse(call, too_large(call));
    else
        sy_buf_append(&call->request, piece.data, piece.len);
    return true;
}

static void on_room(void *user)
{
    acknowledge(user);
}

static void on_gone(void *user)
{
    part(user, sy_rpc_status_new(SY_CODE_CANCELLED, "cancelled by the client, or it vanished"));
}

static void on_closed(void *user, bool sent)
{
    struct http_call *call = user;
    if (sent && call->finished)
        part(call, NULL);
    else
        on_gone(call);
}

static const struct http_user_ops user_ops = {on_body, on_end, on_room, on_gone, on_closed};

/* NULL: understood. */
static struct sy_status *read_headers(struct http_call *call, const struct http_exchange *exchange)
{
    bool stream = call->type.stream;
    const char *encoding = http_header(exchange,
                                       stream ? "connect-content-encoding" : "content-encoding");
    const char *timeout = http_header(exchange, "connect-timeout-ms");
    call->gzip_in = encoding != NULL && strcasecmp(encoding, "gzip") == 0;
    call->gzip_out = sy_connect_accepts_gzip(
        http_header(exchange, stream ? "connect-accept-encoding" : "accept-encoding"));
    if (encoding != NULL && !call->gzip_in && strcasecmp(encoding, "identity") != 0)
        return sy_rpc_status_new(SY_CODE_UNIMPLEMENTED,
                                 "unknown compression \"%s\"; supported: gzip, identity", encoding);
    int64_t timeout_ms;
    if (timeout == NULL)
        return NULL;
    if (!sy_connect_parse_timeout_ms(timeout, &timeout_ms))
        return sy_rpc_status_new(SY_CODE_INVALID_ARGUMENT,
                                 "connect-timeout-ms is \"%s\"; expected up to ten digits",
                                 timeout);
    sy_timer_start_in(call->http->loop, &call->deadline, timeout_ms * SY_NS_PER_MS);
    return NULL;
}

/* The method, or why not. */
static const struct sy_method *find_method(const struct sy_server *server, const char *path,
                                           struct sy_connect_type type,
                                           struct sy_status **ret_status)
{
    const struct sy_method *method = sy_rpc_server_admit(server, path, strlen(path), ret_status);
    if (method == NULL)
        return NULL;
    if (method->kind == SY_METHOD_BIDI)
        *ret_status = sy_rpc_status_new(SY_CODE_UNIMPLEMENTED,
                                        "%s is a stream both ways, which needs gRPC", path);
    else if (type.stream && method->kind == SY_METHOD_UNARY)
        *ret_status = sy_rpc_status_new(SY_CODE_INVALID_ARGUMENT,
                                        "%s is unary; use content type application/proto", path);
    else if (!type.stream && method->kind == SY_METHOD_SERVER_STREAM)
        *ret_status = sy_rpc_status_new(
            SY_CODE_INVALID_ARGUMENT,
            "%s is a server stream; use content type application/connect+proto", path);
    else
        return method;
    return NULL;
}

void http_call_open(struct http_exchange *exchange, struct sy_connect_type type)
{
    struct sy_http *http = http_of(exchange);
    struct sy_status *status = NULL;
    const struct sy_method *method = find_method(http->server, http_path(exchange), type, &status);
    if (method == NULL) {
        answer_error(exchange, type, status);
        return;
    }
    struct http_call *call = sy_new(struct http_call);
    call->http = http;
    call->server = http->server;
    call->method = method;
    call->type = type;
    call->exchange = exchange;
    call->request_bytes_max = http->server->message_bytes_max;
    if (method->request_bytes_max > 0 && method->request_bytes_max < call->request_bytes_max)
        call->request_bytes_max = method->request_bytes_max;
    memcpy(call->peer, http_peer(exchange), HTTP_PEER_MAX);
    http_copy_headers(exchange, &call->headers);
    sy_timer_init(&call->deadline, deadline_passed, call);
    http_set_user(exchange, &user_ops, call);
    status = read_headers(call, exchange);
    if (status != NULL)
        refuse(call, status);
}
