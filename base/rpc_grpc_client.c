/* gRPC channels and the calls made through them. */
#include "base/rpc_grpc.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define RECONNECT_MIN_MS 100
#define RECONNECT_MAX_MS 1000
/* How long one attempt to connect may take (gRPC calls it the minimal backoff). */
#define CONNECT_TIMEOUT_MS 2000

struct grpc_rpc_channel {
    struct sy_channel base;
    struct grpc_rpc *rpc;
    grpc_channel *channel;
    atomic_size_t refs; /* the owner and each call; calls live on several loops */
};

static void channel_unref(struct grpc_rpc_channel *channel)
{
    if (atomic_fetch_sub(&channel->refs, 1) > 1)
        return;
    grpc_channel_destroy(channel->channel);
    atomic_fetch_sub(&channel->rpc->users, 1);
    free(channel);
}

static struct grpc_rpc_call *call_of(struct sy_call *base)
{
    return sy_container_of(base, struct grpc_rpc_call, base);
}

/* ---- a call's operations ---- */

static void client_call_send(struct sy_call *base, struct sy_buf *message, unsigned flags)
{
    struct grpc_rpc_call *call = call_of(base);
    grpc_op ops[2] = {0};
    size_t count = 0;
    if (message != NULL) {
        call->sending = rpc_bytes_from(message);
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count].flags = (flags & SY_RPC_SEND_MORE) ? GRPC_WRITE_BUFFER_HINT : 0;
        ops[count++].data.send_message.send_message = call->sending;
    }
    if (flags & SY_RPC_SEND_END)
        ops[count++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    SY_ASSERT(count > 0);
    rpc_tag_start_on_loop(call->mailbox, &call->send_tag, call->call, ops, count);
}

static void client_call_cancel(struct sy_call *base)
{
    grpc_call_cancel(call_of(base)->call, NULL);
}

static const char *client_call_metadata(struct sy_call *base, const char *key)
{
    (void)base;
    (void)key;
    return NULL;
}

static void client_call_free(struct sy_call *base)
{
    struct grpc_rpc_call *call = call_of(base);
    struct grpc_rpc_channel *channel = call->channel;
    grpc_slice_unref(call->status_message);
    grpc_rpc_call_free(call);
    channel_unref(channel);
}

static const struct sy_call_ops client_call_ops = {
    .send = client_call_send,
    .cancel = client_call_cancel,
    .release = grpc_rpc_call_release,
    .metadata = client_call_metadata,
    .peer = grpc_rpc_call_peer,
    .free = client_call_free,
};

/* ---- the end of a call ---- */

/* NULL when the status is OK. */
static struct sy_status *take_status(const struct grpc_rpc_call *call)
{
    if (call->status_code == GRPC_STATUS_OK)
        return NULL;
    bool known = call->status_code <= GRPC_STATUS_UNAUTHENTICATED;
    struct sy_status *status = sy_rpc_status_new(
        known ? (enum sy_code)call->status_code : SY_CODE_UNKNOWN, "%.*s",
        (int)GRPC_SLICE_LENGTH(call->status_message),
        (const char *)GRPC_SLICE_START_PTR(call->status_message));
    for (size_t i = 0; i < call->trailing.count; i++) {
        const grpc_metadata *entry = &call->trailing.metadata[i];
        if (grpc_slice_str_cmp(entry->key, "grpc-status-details-bin") == 0 &&
            status->details.len == 0)
            sy_buf_append(&status->details, GRPC_SLICE_START_PTR(entry->value),
                          GRPC_SLICE_LENGTH(entry->value));
    }
    return status;
}

static void stream_ended_on_loop(struct rpc_tag *tag)
{
    struct grpc_rpc_call *call = sy_container_of(tag, struct grpc_rpc_call, end_tag);
    bool receiving = call->receiving;
    call->end_seen = true;
    sy_rpc_ended(&call->base, take_status(call)); /* frees it only when it is not receiving */
    if (receiving)
        grpc_rpc_call_receive_settle(call);
}

static const struct rpc_tag_ops stream_end_tag_ops = {.loop = stream_ended_on_loop};

/* The one completion of a unary call: everything has happened. */
static void unary_ended_on_loop(struct rpc_tag *tag)
{
    struct grpc_rpc_call *call = sy_container_of(tag, struct grpc_rpc_call, end_tag);
    struct rpc_slot *slot = &call->slots[0];
    call->end_seen = true;
    call->receiving = false;
    grpc_byte_buffer_destroy(sy_take(call->sending));
    if (slot->bytes != NULL) {
        slot->message.span = rpc_bytes_span(&slot->bytes);
        call->received++;
        sy_rpc_message_received(&call->base, &slot->message);
    }
    sy_rpc_sent(&call->base);
    sy_rpc_receive_ended(&call->base, false);
    sy_rpc_ended(&call->base, take_status(call));
}

static const struct rpc_tag_ops unary_end_tag_ops = {.loop = unary_ended_on_loop};

/* ---- starting a call ---- */

static gpr_timespec deadline_of(const struct sy_call_options *options)
{
    if (options->timeout_ns <= 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_nanos(options->timeout_ns, GPR_TIMESPAN));
}

static struct grpc_rpc_call *make_call(struct grpc_rpc_channel *channel, struct sy_loop *loop,
                                       const struct sy_call_options *options,
                                       enum sy_call_kind kind)
{
    bool unary = kind == SY_CALL_CLIENT_UNARY;
    struct grpc_rpc_call *call = grpc_rpc_call_new(rpc_mailbox_get(channel->rpc, loop),
                                                   unary ? 1 : SY_RPC_WINDOW_MESSAGES);
    sy_rpc_call_init(&call->base, &client_call_ops, kind, loop);
    sy_rpc_call_set_options(&call->base, options);
    call->channel = channel;
    atomic_fetch_add(&channel->refs, 1);
    call->status_message = grpc_empty_slice();
    call->end_tag.ops = unary ? &unary_end_tag_ops : &stream_end_tag_ops;
    grpc_slice method = grpc_slice_from_copied_string(options->method);
    call->call = grpc_channel_create_call(channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                          channel->rpc->cq, method, NULL, deadline_of(options),
                                          NULL);
    grpc_slice_unref(method);
    SY_ASSERT(call->call != NULL);
    return call;
}

/* SEND_INITIAL_METADATA, RECV_INITIAL_METADATA and RECV_STATUS always start together: a call that
 * does not receive the one never gets the other. */
static size_t fill_start(struct grpc_rpc_call *call, const struct sy_call_options *options,
                         grpc_metadata *metadata, grpc_op *ops)
{
    for (size_t i = 0; i < options->metadata_count; i++) {
        metadata[i].key = grpc_slice_from_copied_string(options->metadata[i].key);
        metadata[i].value = grpc_slice_from_copied_string(options->metadata[i].value);
    }
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].data.send_initial_metadata.count = options->metadata_count;
    ops[0].data.send_initial_metadata.metadata = metadata;
    if (options->wait_for_ready)
        ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                       GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    ops[1].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &call->metadata;
    ops[2].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[2].data.recv_status_on_client.trailing_metadata = &call->trailing;
    ops[2].data.recv_status_on_client.status = &call->status_code;
    ops[2].data.recv_status_on_client.status_details = &call->status_message;
    return 3;
}

static size_t fill_unary(struct grpc_rpc_call *call, struct sy_buf *request, grpc_op *ops)
{
    call->sending = rpc_bytes_from(request);
    ops[0].op = GRPC_OP_SEND_MESSAGE;
    ops[0].data.send_message.send_message = call->sending;
    ops[1].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[2].op = GRPC_OP_RECV_MESSAGE;
    ops[2].data.recv_message.recv_message = &call->slots[0].bytes;
    return 3;
}

static struct sy_call *channel_call(struct sy_channel *base, struct sy_loop *loop,
                                    const struct sy_call_options *options, enum sy_call_kind kind,
                                    struct sy_buf *request)
{
    struct grpc_rpc_channel *channel = sy_container_of(base, struct grpc_rpc_channel, base);
    struct grpc_rpc_call *call = make_call(channel, loop, options, kind);
    SY_AUTOFREE grpc_metadata *metadata =
        options->metadata_count > 0 ? sy_calloc(options->metadata_count, sizeof(*metadata)) : NULL;
    grpc_op ops[6] = {0};
    size_t count = fill_start(call, options, metadata, ops);
    if (kind == SY_CALL_CLIENT_UNARY)
        count += fill_unary(call, request, ops + count);
    rpc_tag_start_on_loop(call->mailbox, &call->end_tag, call->call, ops, count);
    if (kind != SY_CALL_CLIENT_UNARY)
        grpc_rpc_call_receive(call, true);
    for (size_t i = 0; i < options->metadata_count; i++) {
        grpc_slice_unref(metadata[i].key);
        grpc_slice_unref(metadata[i].value);
    }
    return &call->base;
}

/* ---- channels ---- */

static grpc_arg int_arg(const char *key, int value)
{
    return (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static void channel_free(struct sy_channel *base)
{
    channel_unref(sy_container_of(base, struct grpc_rpc_channel, base));
}

struct sy_channel *grpc_rpc_channel_new(struct sy_rpc *base, const char *target)
{
    static const struct sy_channel_ops ops = {.call = channel_call, .free = channel_free};
    struct grpc_rpc *rpc = grpc_rpc_of(base);
    grpc_arg args[] = {
        /* http_proxy of the environment would be used even for 127.0.0.1. */
        int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        /* Our protocols repeat by themselves; this buffers messages and costs memory. */
        int_arg(GRPC_ARG_ENABLE_RETRIES, 0),
        int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        /* A channel is a connection of its own. */
        int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)SY_RPC_MESSAGE_BYTES_MAX),
        int_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RECONNECT_MIN_MS),
        int_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS),
        int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RECONNECT_MAX_MS),
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, rpc->keepalive_time_ms),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, rpc->keepalive_timeout_ms),
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
    };
    struct grpc_rpc_channel *channel = sy_new(struct grpc_rpc_channel);
    channel->base.ops = &ops;
    channel->rpc = rpc;
    atomic_fetch_add(&rpc->users, 1);
    channel->channel = grpc_channel_create(
        target, rpc->client_credentials,
        &(grpc_channel_args){.num_args = SY_COUNT_OF(args), .args = args});
    atomic_store(&channel->refs, 1);
    return &channel->base;
}
