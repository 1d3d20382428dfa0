/* gRPC servers: accepting, admission, answering, draining. */
#include "base/rpc_grpc.h"

#include "base/mem.h"
#include "base/rpc_http.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Calls that may be accepted before the poller gets round to asking for more. A call that nobody
 * asked for waits unseen and unbounded, so there are many. */
#define ACCEPT_DEPTH 128
/* Streams of one connection beyond streams_max that still get our answer; then HTTP/2's limit. */
#define STREAMS_SLACK 1024

struct accepted {
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
};

struct accept_slot {
    struct rpc_tag tag;
    struct grpc_rpc_server *server;
    struct accepted accepted;
};

struct grpc_rpc_server {
    struct sy_server base;
    struct grpc_rpc *rpc;
    grpc_server *server;
    struct sy_http *http;           /* NULL: gRPC only, and it listens itself */
    struct rpc_mailbox **mailboxes; /* of the methods' loops, in their order */
    atomic_size_t refs;             /* the owner, each call, the drain */
    /* What the end of a drain waits for: calls, armed slots, gRPC's word that it has shut down. */
    atomic_size_t holds;
    struct rpc_tag shutdown_tag;
    struct sy_timer grace;
    struct accept_slot slots[ACCEPT_DEPTH];
};

static struct grpc_rpc_server *server_of(struct sy_server *base)
{
    return sy_container_of(base, struct grpc_rpc_server, base);
}

static void server_unref(struct grpc_rpc_server *server)
{
    if (atomic_fetch_sub(&server->refs, 1) > 1)
        return;
    atomic_fetch_sub(&server->rpc->users, 1);
    sy_rpc_server_deinit(&server->base);
    free(server->mailboxes);
    free(server);
}

/* ---- draining ---- */

static void drained(void *arg)
{
    struct grpc_rpc_server *server = arg;
    sy_timer_stop(server->base.drain_loop, &server->grace);
    sy_fn on_drained = server->base.on_drained;
    void *ctx = server->base.drained_ctx;
    server_unref(server);
    on_drained(ctx);
}

static void drop_hold(struct grpc_rpc_server *server)
{
    if (atomic_fetch_sub(&server->holds, 1) == 1)
        sy_loop_post_always(server->base.drain_loop, drained, server);
}

static struct rpc_tag *shutdown_on_poller(struct rpc_tag *tag)
{
    drop_hold(sy_container_of(tag, struct grpc_rpc_server, shutdown_tag));
    return NULL;
}

static const struct rpc_tag_ops shutdown_tag_ops = {.poller = shutdown_on_poller};

static void grace_is_over(void *arg)
{
    struct grpc_rpc_server *server = arg;
    grpc_server_cancel_all_calls(server->server);
    if (server->http != NULL)
        http_cancel_all(server->http);
}

/* gRPC's order: stop listening; the notification comes when all calls have ended, which is why the
 * rest must be cancelled when the grace is over. */
static void server_drain(struct sy_server *base, int64_t grace_ns)
{
    struct grpc_rpc_server *server = server_of(base);
    SY_ASSERT(base->started);
    atomic_fetch_add(&server->refs, 1);
    sy_timer_init(&server->grace, grace_is_over, server);
    server->shutdown_tag.ops = &shutdown_tag_ops;
    if (server->http != NULL) {
        atomic_fetch_add(&server->holds, 1);
        http_drain(server->http);
    }
    grpc_server_shutdown_and_notify(server->server, server->rpc->cq,
                                    rpc_tag_arm(&server->shutdown_tag));
    if (grace_ns > 0)
        sy_timer_start_in(base->drain_loop, &server->grace, grace_ns);
    else
        grace_is_over(server);
}

static void server_call_begun(struct sy_server *base)
{
    struct grpc_rpc_server *server = server_of(base);
    atomic_fetch_add(&server->refs, 1);
    atomic_fetch_add(&server->holds, 1);
    atomic_fetch_add(&base->calls, 1);
}

static void server_call_freed(struct sy_server *base)
{
    server_unref(server_of(base));
}

static void server_call_done(struct sy_server *base)
{
    atomic_fetch_sub(&base->calls, 1);
    drop_hold(server_of(base));
}

/* ---- refusing ---- */

struct rejection {
    struct rpc_tag tag;
    grpc_call *call;
    int cancelled;
};

static struct rpc_tag *rejection_on_poller(struct rpc_tag *tag)
{
    struct rejection *rejection = sy_container_of(tag, struct rejection, tag);
    grpc_call_unref(rejection->call);
    free(rejection);
    return NULL;
}

static const struct rpc_tag_ops rejection_tag_ops = {.poller = rejection_on_poller};

/* Answers instead of a handler. Takes the status. */
static void reject(grpc_call *call, struct sy_status *status)
{
    struct rejection *rejection = sy_new(struct rejection);
    rejection->tag.ops = &rejection_tag_ops;
    rejection->call = call;
    grpc_slice message = grpc_slice_from_copied_string(status->message.text);
    grpc_op ops[3] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
        {.op = GRPC_OP_RECV_CLOSE_ON_SERVER},
    };
    ops[1].data.send_status_from_server.status = (grpc_status_code)status->code;
    ops[1].data.send_status_from_server.status_details = &message;
    ops[2].data.recv_close_on_server.cancelled = &rejection->cancelled;
    rpc_tag_start(&rejection->tag, call, ops, 3);
    grpc_slice_unref(message);
    sy_rpc_status_free(status);
}

/* ---- a call's operations ---- */

static struct grpc_rpc_call *call_of(struct sy_call *base)
{
    return sy_container_of(base, struct grpc_rpc_call, base);
}

/* Fills the operation that ends the call; the slices are to be unref'd after the batch started. */
static void fill_status(grpc_op *op, const struct sy_status *status, grpc_slice *message,
                        grpc_metadata *details)
{
    op->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    *message = grpc_empty_slice();
    details->key = grpc_slice_from_static_string("grpc-status-details-bin");
    details->value = grpc_empty_slice();
    if (status == NULL)
        return;
    op->data.send_status_from_server.status = (grpc_status_code)status->code;
    *message = grpc_slice_from_copied_string(status->message.text);
    op->data.send_status_from_server.status_details = message;
    SY_ASSERT(status->details.len <= SY_RPC_DETAILS_MAX);
    if (status->details.len == 0)
        return;
    details->value = grpc_slice_from_copied_buffer((const char *)status->details.data,
                                                   status->details.len);
    op->data.send_status_from_server.trailing_metadata = details;
    op->data.send_status_from_server.trailing_metadata_count = 1;
}

static void server_call_send(struct sy_call *base, struct sy_buf *message, unsigned flags)
{
    struct grpc_rpc_call *call = call_of(base);
    grpc_op ops[3] = {0};
    size_t count = 0;
    grpc_slice status_message = grpc_empty_slice();
    grpc_metadata details = {.value = grpc_empty_slice()};
    if (!call->sent_initial_metadata) {
        call->sent_initial_metadata = true;
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    }
    if (message != NULL) {
        call->sending = rpc_bytes_from(message);
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count].flags = (flags & SY_RPC_SEND_MORE) ? GRPC_WRITE_BUFFER_HINT : 0;
        ops[count++].data.send_message.send_message = call->sending;
    }
    if (flags & SY_RPC_SEND_END)
        fill_status(&ops[count++], base->end_status, &status_message, &details);
    SY_ASSERT(count > 0);
    rpc_tag_start_on_loop(call->mailbox, &call->send_tag, call->call, ops, count);
    grpc_slice_unref(status_message);
    grpc_slice_unref(details.value);
}

static const char *server_call_metadata(struct sy_call *base, const char *key)
{
    struct grpc_rpc_call *call = call_of(base);
    const char *known = rpc_text_find(call, key);
    if (known != NULL)
        return known;
    for (size_t i = 0; i < call->metadata.count; i++) {
        const grpc_metadata *entry = &call->metadata.metadata[i];
        if (grpc_slice_str_cmp(entry->key, key) == 0)
            return rpc_text_add(call, key, GRPC_SLICE_START_PTR(entry->value),
                                GRPC_SLICE_LENGTH(entry->value));
    }
    return NULL;
}

static void server_call_cancel(struct sy_call *base)
{
    (void)base;
    SY_ASSERT(!"a server ends its calls with a status");
}

static void server_call_rehome(struct sy_call *base, struct sy_loop *loop, sy_fn fn, void *arg)
{
    struct grpc_rpc_call *call = call_of(base);
    SY_ASSERT(call->move.to == NULL);
    call->move = (struct rpc_move){rpc_mailbox_get(call->server->rpc, loop), fn, arg};
}

static void server_call_free(struct sy_call *base)
{
    struct grpc_rpc_call *call = call_of(base);
    struct grpc_rpc_server *server = call->server;
    grpc_rpc_call_free(call);
    server_unref(server);
}

static const struct sy_call_ops server_call_ops = {
    .send = server_call_send,
    .cancel = server_call_cancel,
    .release = grpc_rpc_call_release,
    .rehome = server_call_rehome,
    .metadata = server_call_metadata,
    .peer = grpc_rpc_call_peer,
    .free = server_call_free,
};

/* ---- accepting ---- */

static void accepted_on_loop(struct rpc_tag *tag)
{
    struct grpc_rpc_call *call = sy_container_of(tag, struct grpc_rpc_call, accept_tag);
    sy_rpc_accepted(&call->base);
    bool moves = call->move.to != NULL; /* then the handler holds a reference to the call */
    sy_call_unref(&call->base);
    if (moves)
        grpc_rpc_call_move(call);
}

static const struct rpc_tag_ops accepted_tag_ops = {.loop = accepted_on_loop};

static void closed_on_loop(struct rpc_tag *tag)
{
    struct grpc_rpc_call *call = sy_container_of(tag, struct grpc_rpc_call, end_tag);
    bool receiving = call->receiving;
    call->end_seen = true;
    struct sy_status *status = NULL;
    if (call->close_cancelled)
        status = sy_rpc_status_new(SY_CODE_CANCELLED, "cancelled by the client, or it vanished");
    sy_rpc_ended(&call->base, status); /* frees the call only when it is not receiving */
    if (receiving)
        grpc_rpc_call_receive_settle(call);
}

static const struct rpc_tag_ops closed_tag_ops = {.loop = closed_on_loop};

static int64_t deadline_ns(gpr_timespec deadline)
{
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0)
        return SY_TIME_NEVER;
    deadline = gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC);
    if (deadline.tv_sec >= INT64_MAX / SY_NS_PER_S)
        return SY_TIME_NEVER;
    return deadline.tv_sec * SY_NS_PER_S + deadline.tv_nsec;
}

/* Returns the tag that introduces the call to its loop: a bidi call at once, the others when the
 * request is there. */
static struct rpc_tag *admit(struct grpc_rpc_server *server, const struct sy_method *method,
                             const struct accepted *accepted)
{
    bool bidi = method->kind == SY_METHOD_BIDI;
    struct rpc_mailbox *mailbox = server->mailboxes[method - server->base.methods];
    struct grpc_rpc_call *call = grpc_rpc_call_new(mailbox, bidi ? SY_RPC_WINDOW_MESSAGES : 1);
    sy_rpc_call_init(&call->base, &server_call_ops, SY_CALL_SERVER, method->loop);
    call->base.server = &server->base;
    call->base.method = method;
    call->base.send_buffer_max = server->base.send_buffer_max;
    call->base.deadline_ns = deadline_ns(accepted->details.deadline);
    call->server = server;
    call->call = accepted->call;
    call->metadata = accepted->metadata;
    call->accept_tag.ops = &accepted_tag_ops;
    call->accept_tag.mailbox = mailbox;
    if (bidi)
        sy_call_ref(&call->base); /* the accept tag's: other tags may overtake it */
    call->end_tag.ops = &closed_tag_ops;
    server_call_begun(&server->base);
    grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    close.data.recv_close_on_server.cancelled = &call->close_cancelled;
    rpc_tag_start(&call->end_tag, call->call, &close, 1);
    grpc_rpc_call_receive(call, false);
    return bidi ? &call->accept_tag : NULL;
}

static struct rpc_tag *admit_or_reject(struct grpc_rpc_server *server, struct accepted *accepted)
{
    const grpc_slice *path = &accepted->details.method;
    struct sy_status *status;
    const struct sy_method *method = sy_rpc_server_admit(&server->base, GRPC_SLICE_START_PTR(*path),
                                                         GRPC_SLICE_LENGTH(*path), &status);
    if (method != NULL)
        return admit(server, method, accepted);
    reject(accepted->call, status);
    grpc_metadata_array_destroy(&accepted->metadata);
    return NULL;
}

static void arm_slot(struct accept_slot *slot)
{
    struct grpc_rpc_server *server = slot->server;
    struct accepted *accepted = &slot->accepted;
    grpc_call_details_init(&accepted->details);
    grpc_metadata_array_init(&accepted->metadata);
    grpc_call_error error = grpc_server_request_call(
        server->server, &accepted->call, &accepted->details, &accepted->metadata, server->rpc->cq,
        server->rpc->cq, rpc_tag_arm(&slot->tag));
    SY_ASSERT(error == GRPC_CALL_OK);
}

static struct rpc_tag *accepted_on_poller(struct rpc_tag *tag)
{
    struct accept_slot *slot = sy_container_of(tag, struct accept_slot, tag);
    struct accepted accepted = slot->accepted;
    struct grpc_rpc_server *server = slot->server;
    if (!tag->success) { /* the server is shutting down */
        grpc_call_details_destroy(&accepted.details);
        grpc_metadata_array_destroy(&accepted.metadata);
        drop_hold(server);
        return NULL;
    }
    arm_slot(slot); /* at once, before the work for this call */
    struct rpc_tag *introduction = admit_or_reject(server, &accepted);
    grpc_call_details_destroy(&accepted.details);
    return introduction;
}

static const struct rpc_tag_ops slot_tag_ops = {.poller = accepted_on_poller};

/* ---- starting ---- */

/* gRPC silently takes over the socket file of a server that is alive. */
static int probe_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? -EADDRINUSE : 0;
    close(fd);
    return r;
}

static int try_bind(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int on = 1, r = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, 1) < 0)
        r = -errno;
    close(fd);
    return r;
}

/* gRPC says only that it could not listen. Finds out why by trying. */
static int probe_tcp(const char *address)
{
    struct addrinfo *info;
    int r = sy_rpc_resolve(address, &info);
    if (r < 0)
        return r;
    r = -EINVAL;
    for (const struct addrinfo *i = info; i != NULL; i = i->ai_next) {
        r = try_bind(i);
        if (r == 0)
            break;
    }
    freeaddrinfo(info);
    return r < 0 ? r : -EADDRNOTAVAIL; /* it works now, yet it did not */
}

static grpc_arg int_arg(const char *key, int value)
{
    return (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static int as_int(size_t value)
{
    return value > INT32_MAX ? INT32_MAX : (int)value;
}

static grpc_server *make_server(const struct grpc_rpc_server *server)
{
    grpc_arg args[] = {
        /* Two servers on one port would share its connections. */
        int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, as_int(server->base.message_bytes_max)),
        int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, as_int(server->base.streams_max + STREAMS_SLACK)),
        /* Probing lets a window grow to megabytes for each stream that nobody reads. */
        int_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        /* Notice a frozen peer; tolerate the pings of clients that do the same. */
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, server->rpc->keepalive_time_ms),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, server->rpc->keepalive_timeout_ms),
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1),
        int_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0),
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
    };
    return grpc_server_create(&(grpc_channel_args){.num_args = SY_COUNT_OF(args), .args = args},
                              NULL);
}

static int listen_failed(struct grpc_rpc_server *server, int r, struct sy_error_text *error)
{
    grpc_server_destroy(sy_take(server->server));
    sy_error_text_set(error, "address: cannot listen on %s: %s", server->base.address,
                      r == -EINVAL ? "not an address; expected host:port or unix:/path"
                                   : strerror(-r));
    return r;
}

static int listen_alone(struct grpc_rpc_server *server, struct sy_error_text *error)
{
    struct sy_server *base = &server->base;
    bool is_unix = strncmp(base->address, "unix:", 5) == 0;
    int r = is_unix ? probe_unix(base->address + 5) : 0;
    if (r < 0)
        return listen_failed(server, r, error);
    base->port = grpc_server_add_http2_port(server->server, base->address,
                                            server->rpc->server_credentials);
    if (base->port == 0)
        return listen_failed(server, is_unix ? -EADDRNOTAVAIL : probe_tcp(base->address), error);
    return 0;
}

/* ---- with HTTP on the same port, which listens and gives us what opens as HTTP/2 ---- */

static void adopt(struct sy_server *base, int fd)
{
    struct grpc_rpc_server *server = server_of(base);
    grpc_server_add_channel_from_fd(server->server, fd, server->rpc->server_credentials);
}

static void http_drained(struct sy_server *base)
{
    drop_hold(server_of(base));
}

/* Binds; what is accepted waits until both sides run. */
static int listen_with_http(struct grpc_rpc_server *server, struct sy_error_text *error)
{
    static const struct http_host_ops host = {adopt, http_drained};
    int r = http_new(&server->http, &server->base, &host, error);
    if (r < 0)
        grpc_server_destroy(sy_take(server->server));
    return r;
}

static int server_bind(struct sy_server *base, struct sy_error_text *error)
{
    struct grpc_rpc_server *server = server_of(base);
    server->server = make_server(server);
    grpc_server_register_completion_queue(server->server, server->rpc->cq, NULL);
    return base->http ? listen_with_http(server, error) : listen_alone(server, error);
}

static void server_start(struct sy_server *base)
{
    struct grpc_rpc_server *server = server_of(base);
    server->mailboxes = sy_calloc(base->method_count + 1, sizeof(struct rpc_mailbox *));
    for (size_t i = 0; i < base->method_count; i++)
        server->mailboxes[i] = rpc_mailbox_get(server->rpc, base->methods[i].loop);
    grpc_server_start(server->server);
    atomic_fetch_add(&server->holds, ACCEPT_DEPTH);
    for (size_t i = 0; i < ACCEPT_DEPTH; i++) {
        server->slots[i].server = server;
        server->slots[i].tag.ops = &slot_tag_ops;
        arm_slot(&server->slots[i]);
    }
    if (server->http != NULL)
        http_run(server->http);
}

/* Bound, and never started: gRPC destroys no server that still listens. */
static void stop_listening(struct grpc_rpc_server *server)
{
    grpc_completion_queue *cq = grpc_completion_queue_create_for_pluck(NULL);
    grpc_server_shutdown_and_notify(server->server, cq, server);
    grpc_completion_queue_pluck(cq, server, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_completion_queue_shutdown(cq);
    grpc_completion_queue_destroy(cq);
}

static void server_free(struct sy_server *base)
{
    struct grpc_rpc_server *server = server_of(base);
    SY_ASSERT(!base->started || atomic_load(&server->holds) == 0); /* drained, or never started */
    http_free(server->http);
    if (base->bound && !base->started)
        stop_listening(server);
    if (server->server != NULL)
        grpc_server_destroy(server->server);
    server_unref(server);
}

struct sy_server *grpc_rpc_server_new(struct sy_rpc *rpc, const struct sy_server_options *options)
{
    static const struct sy_server_ops ops = {
        .bind = server_bind,
        .start = server_start,
        .drain = server_drain,
        .call_begun = server_call_begun,
        .call_done = server_call_done,
        .call_freed = server_call_freed,
        .free = server_free,
    };
    struct grpc_rpc_server *server = sy_new(struct grpc_rpc_server);
    sy_rpc_server_init(&server->base, &ops, options);
    server->rpc = grpc_rpc_of(rpc);
    atomic_fetch_add(&server->rpc->users, 1);
    atomic_store(&server->refs, 1);
    atomic_store(&server->holds, 1);
    return &server->base;
}
