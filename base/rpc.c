#include "base/rpc_carry.h"

#include "base/http.h"
#include "base/mem.h"

#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SETTLE_TURNS_MAX 5000 /* of a millisecond */

#define QUEUE_CAP_MIN 4

/* ---- the send queue ---- */

static size_t message_cost(const struct sy_buf *message)
{
    return message->len + SY_RPC_MESSAGE_COST;
}

static void queue_push(struct sy_call *call, struct sy_buf *message)
{
    if (call->queue_count == call->queue_cap) {
        uint32_t cap = call->queue_cap > 0 ? call->queue_cap * 2 : QUEUE_CAP_MIN;
        struct sy_buf *queue = sy_malloc(cap * sizeof(*queue));
        for (uint32_t i = 0; i < call->queue_count; i++)
            queue[i] = call->queue[(call->queue_head + i) % call->queue_cap];
        free(call->queue);
        call->queue = queue;
        call->queue_cap = cap;
        call->queue_head = 0;
    }
    call->out_bytes += message_cost(message);
    call->queue[(call->queue_head + call->queue_count) % call->queue_cap] = sy_buf_take(message);
    call->queue_count++;
}

static struct sy_buf queue_pop(struct sy_call *call)
{
    SY_ASSERT(call->queue_count > 0);
    struct sy_buf message = call->queue[call->queue_head];
    call->queue_head = (call->queue_head + 1) % call->queue_cap;
    call->queue_count--;
    return message;
}

static void queue_drop(struct sy_call *call)
{
    while (call->queue_count > 0) {
        struct sy_buf message = queue_pop(call);
        SY_ASSERT(call->out_bytes >= message_cost(&message));
        call->out_bytes -= message_cost(&message);
        sy_buf_deinit(&message);
    }
}

/* The next thing to send; *ret_message is empty when that is the end alone. Returns flags. */
static unsigned queue_next(struct sy_call *call, struct sy_buf *ret_message)
{
    unsigned flags = 0;
    if (call->queue_count > 0) {
        *ret_message = queue_pop(call);
        call->sending_bytes += message_cost(ret_message);
    }
    if (call->queue_count > 0)
        flags |= SY_RPC_SEND_MORE;
    if (call->queue_count == 0 && call->send == SY_SEND_ENDING) {
        flags |= SY_RPC_SEND_END;
        call->send = SY_SEND_ENDED;
    }
    return flags;
}

/* Gives the transport the next thing to send, unless it is still at the last one. */
static void call_pump(struct sy_call *call)
{
    if (call->sending || call->life != SY_CALL_LIVE)
        return;
    bool has_message = call->queue_count > 0;
    if (!has_message && call->send != SY_SEND_ENDING)
        return;
    struct sy_buf message = {0};
    call->sending_bytes = 0;
    unsigned flags = queue_next(call, &message);
    call->sending = true;
    call->ops->send(call, has_message ? &message : NULL, flags);
}

/* ---- references ---- */

static void kick(void *arg);

void sy_rpc_call_init(struct sy_call *call, const struct sy_call_ops *ops, enum sy_call_kind kind,
                      struct sy_loop *loop)
{
    call->ops = ops;
    call->kind = (uint8_t)kind;
    call->loop = loop;
    call->life = kind == SY_CALL_SERVER ? SY_CALL_NEW : SY_CALL_LIVE;
    call->refs = 1;
    call->inbox_tail = &call->inbox;
    call->deadline_ns = SY_TIME_NEVER;
    call->send_buffer_max = SY_RPC_SEND_BUFFER_MAX;
    if (kind == SY_CALL_CLIENT_UNARY) {
        call->send = SY_SEND_ENDED;
        call->sending = true;
    }
    sy_timer_init(&call->kick, kick, call);
}

void sy_rpc_call_deinit(struct sy_call *call)
{
    SY_ASSERT(call->inbox == NULL);
    queue_drop(call);
    free(call->queue);
    free(call->method_name);
    sy_rpc_status_free(call->end_status);
    sy_rpc_status_free(call->closed_status);
}

struct sy_call *sy_call_ref(struct sy_call *call)
{
    SY_ASSERT(call->refs > 0);
    call->refs++;
    return call;
}

static struct sy_rpc_message *inbox_pop(struct sy_call *call)
{
    struct sy_rpc_message *message = call->inbox;
    if (message == NULL)
        return NULL;
    call->inbox = message->next;
    if (call->inbox == NULL)
        call->inbox_tail = &call->inbox;
    return message;
}

static void inbox_drop(struct sy_call *call)
{
    struct sy_rpc_message *message;
    while ((message = inbox_pop(call)) != NULL)
        call->ops->release(call, message);
}

void sy_call_unref(struct sy_call *call)
{
    SY_ASSERT(call->refs > 0);
    call->refs--;
    if (call->refs > 0)
        return;
    SY_ASSERT(call->life >= SY_CALL_DONE);
    if (sy_timer_running(&call->kick)) /* else the loop may be gone already */
        sy_timer_stop(call->loop, &call->kick);
    inbox_drop(call);
    call->ops->free(call);
}

/* ---- telling the owner ---- */

static const struct sy_status status_ok = {.code = SY_CODE_OK};

static const struct sy_status *closed_status(const struct sy_call *call)
{
    return call->closed_status != NULL ? call->closed_status : &status_ok;
}

/* After its own finish the owner hears no more messages. */
static bool wants_messages(const struct sy_call *call)
{
    if (call->kind == SY_CALL_SERVER)
        return call->send == SY_SEND_OPEN;
    return !call->finished;
}

static void tell_messages(struct sy_call *call)
{
    struct sy_rpc_message *message;
    while (call->sink != NULL && (message = inbox_pop(call)) != NULL) {
        if (wants_messages(call) && call->sink->on_message != NULL)
            call->sink->on_message(call->sink_ctx, message->span);
        call->ops->release(call, message);
    }
    if (call->sink == NULL || call->recv != SY_RECV_HALF_CLOSED)
        return;
    call->recv = SY_RECV_ENDED;
    if (call->kind == SY_CALL_SERVER && call->method->kind == SY_METHOD_BIDI &&
        call->life == SY_CALL_LIVE && wants_messages(call) && call->sink->on_half_closed != NULL)
        call->sink->on_half_closed(call->sink_ctx);
}

static void tell_writable(struct sy_call *call)
{
    if (call->sink == NULL || call->life != SY_CALL_LIVE || call->send != SY_SEND_OPEN)
        return;
    bool room = call->wants_room && call->out_bytes <= call->send_buffer_max / 2;
    bool idle = call->wants_idle && call->out_bytes == 0 && !call->sending;
    if (!room && !idle)
        return;
    call->wants_room = call->wants_room && !room;
    call->wants_idle = call->wants_idle && !idle;
    if (call->sink->on_writable != NULL)
        call->sink->on_writable(call->sink_ctx);
}

/* Runs whatever callbacks are due. The caller holds a reference. */
static void tell(struct sy_call *call)
{
    tell_messages(call);
    tell_writable(call);
    if (call->sink == NULL || call->life != SY_CALL_DONE || call->inbox != NULL)
        return;
    call->life = SY_CALL_CLOSED;
    if (call->sink->on_closed != NULL)
        call->sink->on_closed(call->sink_ctx, closed_status(call));
}

static void kick(void *arg)
{
    struct sy_call *call = sy_call_ref(arg);
    call_pump(call);
    tell(call);
    sy_call_unref(call);
}

static void kick_soon(struct sy_call *call)
{
    if (!sy_timer_running(&call->kick))
        sy_timer_start_in(call->loop, &call->kick, 0);
}

static void tell_reply(struct sy_call *call)
{
    static const struct sy_status no_response = {
        .code = SY_CODE_INTERNAL, .message = {"the server sent status OK but no response message"}};
    const struct sy_status *status = closed_status(call);
    struct sy_span response = {0};
    if (call->inbox != NULL)
        response = call->inbox->span;
    else if (status->code == SY_CODE_OK)
        status = &no_response;
    call->life = SY_CALL_CLOSED;
    if (call->reply != NULL)
        call->reply(call->reply_ctx, status,
                    status->code == SY_CODE_OK ? response : (struct sy_span){0});
}

/* ---- events from the adapter ---- */

/* Once nothing of the call is under way any more, the transport's reference goes. */
static void settle(struct sy_call *call)
{
    if (call->life != SY_CALL_ENDED || call->sending || call->recv == SY_RECV_OPEN)
        return;
    call->life = SY_CALL_DONE;
    queue_drop(call);
    if (call->kind == SY_CALL_CLIENT_UNARY)
        tell_reply(call);
    else
        tell(call);
    if (call->kind == SY_CALL_SERVER)
        call->server->ops->call_done(call->server);
    sy_call_unref(call);
}

/* The server ends the call by itself; on_closed will say CANCELLED. */
static void refuse(struct sy_call *call, struct sy_status *status)
{
    call->end_status = status;
    call->send = SY_SEND_ENDING;
    queue_drop(call);
    call->life = SY_CALL_LIVE;
    call_pump(call);
}

static void run_handler(struct sy_call *call, struct sy_span request)
{
    call->life = SY_CALL_LIVE;
    sy_call_ref(call); /* the handler's */
    call->method->handler(call->method->ctx, call, request);
}

/* True when the message is within the method's limit; otherwise the call is being ended. */
static bool check_size(struct sy_call *call, struct sy_span message)
{
    size_t max = call->method->request_bytes_max;
    if (max == 0 || message.len <= max)
        return true;
    refuse(call, sy_rpc_status_new(SY_CODE_RESOURCE_EXHAUSTED,
                                   "request message of %zu bytes; %s takes at most %zu",
                                   message.len, call->method->path, max));
    return false;
}

void sy_rpc_accepted(struct sy_call *call)
{
    SY_ASSERT(call->kind == SY_CALL_SERVER);
    if (call->life != SY_CALL_NEW || call->method->kind != SY_METHOD_BIDI)
        return;
    run_handler(call, (struct sy_span){0});
}

static void first_request(struct sy_call *call, struct sy_rpc_message *message)
{
    if (check_size(call, message->span))
        run_handler(call, message->span);
    call->ops->release(call, message);
}

void sy_rpc_message_received(struct sy_call *call, struct sy_rpc_message *message)
{
    SY_ASSERT(call->recv == SY_RECV_OPEN);
    sy_call_ref(call);
    if (call->kind == SY_CALL_SERVER && call->method->kind != SY_METHOD_BIDI) {
        if (call->life == SY_CALL_NEW)
            first_request(call, message);
        else
            call->ops->release(call, message); /* ended, or a second request: ignored */
    } else if (call->kind == SY_CALL_SERVER && call->life == SY_CALL_LIVE && wants_messages(call) &&
               !check_size(call, message->span)) {
        call->ops->release(call, message);
    } else {
        message->next = NULL;
        *call->inbox_tail = message;
        call->inbox_tail = &message->next;
        tell(call);
    }
    sy_call_unref(call);
}

void sy_rpc_receive_ended(struct sy_call *call, bool half_closed)
{
    SY_ASSERT(call->recv == SY_RECV_OPEN);
    sy_call_ref(call);
    call->recv = half_closed ? SY_RECV_HALF_CLOSED : SY_RECV_ENDED;
    if (half_closed && call->kind == SY_CALL_SERVER && call->life == SY_CALL_NEW &&
        call->method->kind != SY_METHOD_BIDI)
        refuse(call, sy_rpc_status_new(SY_CODE_INTERNAL, "the request message is missing"));
    tell(call);
    settle(call);
    sy_call_unref(call);
}

unsigned sy_rpc_send_more(struct sy_call *call, struct sy_buf *ret_message)
{
    SY_ASSERT(call->sending && call->queue_count > 0);
    return queue_next(call, ret_message);
}

void sy_rpc_sent(struct sy_call *call)
{
    SY_ASSERT(call->sending);
    SY_ASSERT(call->out_bytes >= call->sending_bytes);
    sy_call_ref(call);
    call->sending = false;
    call->out_bytes -= call->sending_bytes;
    call->sending_bytes = 0;
    call_pump(call);
    tell_writable(call);
    settle(call);
    sy_call_unref(call);
}

void sy_rpc_ended(struct sy_call *call, struct sy_status *status)
{
    SY_ASSERT(call->life == SY_CALL_NEW || call->life == SY_CALL_LIVE);
    if (call->kind == SY_CALL_SERVER && status == NULL && !call->finished)
        status = sy_rpc_status_new(SY_CODE_CANCELLED, "the call was refused");
    call->closed_status = status;
    call->life = SY_CALL_ENDED;
    settle(call);
}

void sy_rpc_abandon(struct sy_call *call)
{
    SY_ASSERT(call->life < SY_CALL_DONE);
    bool was_server = call->kind == SY_CALL_SERVER;
    call->life = SY_CALL_CLOSED;
    call->sending = false;
    call->recv = SY_RECV_ENDED;
    call->sink = NULL;
    queue_drop(call);
    if (was_server)
        call->server->ops->call_done(call->server);
    sy_call_unref(call);
}

/* ---- the port: calls ---- */

/* Lazily made copies are cached in the call, which the port's getters take as const. */
static struct sy_call *mutable_call(const struct sy_call *call)
{
    return (struct sy_call *)(uintptr_t)call;
}

const char *sy_call_method(const struct sy_call *call)
{
    return call->method != NULL ? call->method->path : call->method_name;
}

const char *sy_call_metadata(const struct sy_call *call, const char *key)
{
    return call->ops->metadata(mutable_call(call), key);
}

const char *sy_call_peer(const struct sy_call *call)
{
    return call->ops->peer(mutable_call(call));
}

int64_t sy_call_deadline_ns(const struct sy_call *call)
{
    return call->deadline_ns;
}

struct sy_loop *sy_call_loop(const struct sy_call *call)
{
    return call->loop;
}

void sy_call_rehome(struct sy_call *call, struct sy_loop *loop, sy_fn fn, void *arg)
{
    SY_ASSERT(call->kind == SY_CALL_SERVER && call->sink == NULL && loop != call->loop);
    SY_ASSERT(!sy_timer_running(&call->kick) && call->send == SY_SEND_OPEN);
    call->ops->rehome(call, loop, fn, arg);
}

void sy_call_set_sink(struct sy_call *call, const struct sy_call_sink *sink, void *ctx)
{
    SY_ASSERT(call->kind != SY_CALL_CLIENT_UNARY);
    if (call->life == SY_CALL_CLOSED)
        return;
    call->sink = sink;
    call->sink_ctx = ctx;
    bool waiting = call->inbox != NULL || call->recv == SY_RECV_HALF_CLOSED ||
                   call->life == SY_CALL_DONE || call->wants_room || call->wants_idle;
    if (sink != NULL && waiting)
        kick_soon(call);
}

int sy_call_send(struct sy_call *call, struct sy_buf *message)
{
    SY_ASSERT(call->kind != SY_CALL_CLIENT_UNARY);
    if (call->life != SY_CALL_LIVE || call->send != SY_SEND_OPEN) {
        sy_buf_deinit(message);
        *message = (struct sy_buf){0};
        return 0;
    }
    if (call->out_bytes > 0 && call->out_bytes + message_cost(message) > call->send_buffer_max) {
        call->wants_room = true;
        return SY_RPC_E_FULL;
    }
    queue_push(call, message);
    if (call->ops->gathers)
        kick_soon(call);
    else
        call_pump(call);
    return 0;
}

bool sy_call_ready(struct sy_call *call)
{
    if (call->life != SY_CALL_LIVE || call->send != SY_SEND_OPEN)
        return true; /* what is sent now is dropped; nothing to wait for */
    if (call->out_bytes == 0 && !call->sending)
        return true;
    call->wants_idle = true;
    return false;
}

void sy_call_finish(struct sy_call *call, const struct sy_status *status)
{
    if (call->finished || call->life != SY_CALL_LIVE)
        return;
    call->finished = true;
    if (call->kind != SY_CALL_SERVER) {
        call->ops->cancel(call);
        return;
    }
    if (call->send != SY_SEND_OPEN)
        return; /* refused meanwhile */
    if (status != NULL && status->code != SY_CODE_OK)
        call->end_status = sy_rpc_status_copy(status);
    call->send = SY_SEND_ENDING;
    call_pump(call);
}

void sy_call_half_close(struct sy_call *call)
{
    SY_ASSERT(call->kind == SY_CALL_CLIENT_STREAM);
    if (call->send != SY_SEND_OPEN || call->life != SY_CALL_LIVE)
        return;
    call->send = SY_SEND_ENDING;
    call_pump(call);
}

void sy_call_reply(struct sy_call *call, struct sy_buf *response)
{
    SY_ASSERT(call->kind == SY_CALL_SERVER);
    if (call->life == SY_CALL_LIVE && call->send == SY_SEND_OPEN)
        queue_push(call, response); /* not pumped: it goes out together with the status */
    sy_buf_deinit(response);
    *response = (struct sy_buf){0};
    sy_call_finish(call, NULL);
    sy_call_unref(call);
}

void sy_call_fail(struct sy_call *call, enum sy_code code, const char *format, ...)
{
    SY_ASSERT(call->kind == SY_CALL_SERVER);
    SY_ASSERT(code != SY_CODE_OK);
    struct sy_status status = {0};
    va_list args;
    va_start(args, format);
    sy_status_vset(&status, code, format, args);
    va_end(args);
    sy_call_finish(call, &status);
    sy_call_unref(call);
}

/* ---- the port: servers ---- */

int sy_server_new(struct sy_server **ret_server, struct sy_rpc *rpc,
                  const struct sy_server_options *options, struct sy_error_text *error)
{
    if (options->address == NULL || options->address[0] == '\0') {
        sy_error_text_set(error, "address: empty; expected host:port or unix:/path");
        return -EINVAL;
    }
    *ret_server = rpc->ops->server_new(rpc, options);
    return 0;
}

int sy_rpc_resolve(const char *address, struct addrinfo **ret_info)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL)
        return -EINVAL;
    const char *from = address;
    size_t len = (size_t)(colon - address);
    if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
        from++;
        len -= 2;
    }
    SY_AUTOFREE char *host = sy_strndup(from, len);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    if (getaddrinfo(len > 0 ? host : NULL, colon + 1, &hints, ret_info) != 0)
        return -EINVAL;
    return 0;
}

void sy_rpc_server_init(struct sy_server *server, const struct sy_server_ops *ops,
                        const struct sy_server_options *options)
{
    server->ops = ops;
    server->address = sy_strdup(options->address);
    server->http = options->http;
    server->allow_origin_count = options->allow_origin_count;
    server->allow_origins = sy_calloc(options->allow_origin_count, sizeof(char *));
    for (size_t i = 0; i < options->allow_origin_count; i++)
        server->allow_origins[i] = sy_strdup(options->allow_origins[i]);
    server->codec = options->codec;
    server->message_bytes_max = options->message_bytes_max > 0 ? options->message_bytes_max
                                                               : SY_RPC_MESSAGE_BYTES_MAX;
    server->send_buffer_max = options->send_buffer_max > 0 ? options->send_buffer_max
                                                           : SY_RPC_SEND_BUFFER_MAX;
    server->streams_max = options->streams_max > 0 ? options->streams_max : SY_RPC_STREAMS_MAX;
}

void sy_rpc_server_deinit(struct sy_server *server)
{
    carry_server_free(server->carry);
    free(server->address);
    for (size_t i = 0; i < server->allow_origin_count; i++)
        free(server->allow_origins[i]);
    free(server->allow_origins);
    free(server->methods);
    free(server->routes);
}

void sy_server_add(struct sy_server *server, const struct sy_method *method)
{
    SY_ASSERT(!server->started);
    SY_ASSERT(method->path[0] == '/' && method->handler != NULL && method->loop != NULL);
    server->methods = sy_realloc(server->methods,
                                 (server->method_count + 1) * sizeof(*server->methods));
    server->methods[server->method_count++] = *method;
}

void sy_server_add_route(struct sy_server *server, const struct sy_http_route *route)
{
    SY_ASSERT(!server->started && route->prefix[0] == '/' && route->handler != NULL);
    server->routes = sy_realloc(server->routes,
                                (server->route_count + 1) * sizeof(*server->routes));
    server->routes[server->route_count++] = *route;
}

static int compare_methods(const void *a, const void *b)
{
    const struct sy_method *left = a, *right = b;
    return strcmp(left->path, right->path);
}

int sy_server_bind(struct sy_server *server, struct sy_error_text *error)
{
    SY_ASSERT(!server->bound);
    int r = server->ops->bind(server, error);
    server->bound = r == 0;
    return r;
}

int sy_server_start(struct sy_server *server, struct sy_error_text *error)
{
    SY_ASSERT(!server->started);
    int r = server->bound ? 0 : sy_server_bind(server, error);
    if (r < 0)
        return r;
    if (server->method_count > 1)
        qsort(server->methods, server->method_count, sizeof(*server->methods), compare_methods);
    for (size_t i = 1; i < server->method_count; i++)
        SY_ASSERT(strcmp(server->methods[i - 1].path, server->methods[i].path) != 0);
    server->ops->start(server);
    server->started = true;
    return 0;
}

static const struct sy_method *find_method(const struct sy_server *server, const void *path,
                                           size_t len)
{
    size_t low = 0, high = server->method_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct sy_method *method = &server->methods[middle];
        int order = strncmp(path, method->path, len);
        if (order == 0 && strlen(method->path) == len)
            return method;
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct sy_method *sy_rpc_server_admit(const struct sy_server *server, const void *path,
                                            size_t len, struct sy_status **ret_status)
{
    const struct sy_method *method = find_method(server, path, len);
    if (method == NULL) {
        *ret_status = sy_rpc_status_new(SY_CODE_UNIMPLEMENTED, "unknown method %.*s", (int)len,
                                        (const char *)path);
        return NULL;
    }
    if (atomic_load(&server->calls) < server->streams_max)
        return method;
    *ret_status = sy_rpc_status_new(SY_CODE_RESOURCE_EXHAUSTED,
                                    "the server has %zu calls open, its maximum; try again later",
                                    server->streams_max);
    return NULL;
}

int sy_server_port(const struct sy_server *server)
{
    return server->port;
}

const char *sy_server_method(const struct sy_server *server, size_t i)
{
    return i < server->method_count ? server->methods[i].path : NULL;
}

size_t sy_server_calls(const struct sy_server *server)
{
    size_t calls = atomic_load(&server->calls);
    size_t streams = server->carry != NULL ? carry_server_streams(server->carry) : 0;
    return calls > streams ? calls - streams : 0;
}

void sy_server_drain(struct sy_server *server, int64_t grace_ns, struct sy_loop *loop,
                     sy_fn on_drained, void *ctx)
{
    SY_ASSERT(server->on_drained == NULL && on_drained != NULL);
    server->drain_loop = loop;
    server->on_drained = on_drained;
    server->drained_ctx = ctx;
    if (server->carry != NULL)
        carry_server_drain(server->carry);
    server->ops->drain(server, grace_ns);
}

void sy_server_free(struct sy_server *server)
{
    if (server == NULL)
        return;
    if (server->carry != NULL)
        carry_server_abandon(server->carry);
    server->ops->free(server);
}

/* ---- the port: clients ---- */

struct sy_channel *sy_channel_new(struct sy_rpc *rpc, const char *target)
{
    return rpc->ops->channel_new(rpc, target);
}

void sy_channel_free(struct sy_channel *channel)
{
    if (channel != NULL)
        channel->ops->free(channel);
}

void sy_rpc_call_set_options(struct sy_call *call, const struct sy_call_options *options)
{
    call->method_name = sy_strdup(options->method);
    if (options->timeout_ns <= 0 ||
        __builtin_add_overflow(sy_loop_now_ns(call->loop), options->timeout_ns, &call->deadline_ns))
        call->deadline_ns = SY_TIME_NEVER;
}

struct sy_call *sy_channel_call(struct sy_channel *channel, struct sy_loop *loop,
                                const struct sy_call_options *options, struct sy_buf *request,
                                sy_reply_fn reply, void *ctx)
{
    SY_ASSERT(reply != NULL);
    struct sy_call *call = channel->ops->call(channel, loop, options, SY_CALL_CLIENT_UNARY,
                                              request);
    call->reply = reply;
    call->reply_ctx = ctx;
    return call;
}

void sy_call_drop(struct sy_call *call)
{
    SY_ASSERT(call->kind == SY_CALL_CLIENT_UNARY);
    call->reply = NULL;
    sy_call_finish(call, NULL);
}

struct sy_call *sy_channel_open(struct sy_channel *channel, struct sy_loop *loop,
                                const struct sy_call_options *options,
                                const struct sy_call_sink *sink, void *ctx)
{
    struct sy_call *call = channel->ops->call(channel, loop, options, SY_CALL_CLIENT_STREAM, NULL);
    call->sink = sink;
    call->sink_ctx = ctx;
    return sy_call_ref(call); /* the caller's */
}

bool sy_rpc_busy(struct sy_rpc *rpc)
{
    return rpc->ops->busy != NULL && rpc->ops->busy(rpc);
}

void sy_rpc_settle(struct sy_rpc *rpc, struct sy_loop *const *loops, size_t count)
{
    for (int i = 0; sy_rpc_busy(rpc) && i < SETTLE_TURNS_MAX; i++) {
        for (size_t k = 0; k < count; k++)
            sy_loop_turn(loops[k]);
        nanosleep(&(struct timespec){.tv_nsec = SY_NS_PER_MS}, NULL);
    }
}

void sy_rpc_free(struct sy_rpc *rpc)
{
    if (rpc != NULL)
        rpc->ops->free(rpc);
}
