/* A channel whose unary calls are carried: see rpc_carry.h. */
#include "base/rpc_carry.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* A peer that cannot carry, or is gone, is asked again so much later, when there is a call. */
#define REOPEN_NS SY_NS_PER_S
#define OUT_RESERVE ((size_t)4 << 10)

struct carried {
    struct sy_call base;
    struct carrier *carrier;
    uint32_t id;
    struct sy_status *end; /* it ends so, in a later turn */
    struct sy_timer timer; /* until then, or the deadline */
    struct sy_rpc_message message;
};

struct carrier {
    struct sy_channel base;
    struct sy_channel *under;
    struct sy_loop *loop;
    struct sy_call *stream; /* NULL: none */
    bool up;                /* HELLO came, LEAVE did not */
    bool leaving, left;
    bool tried;
    int64_t tried_ns;
    size_t refs; /* the owner, each call */
    struct sy_buf out;
    struct sy_timer flush;
    uint32_t uses; /* of slots */
    uint32_t free_count;
    uint16_t free_slots[CARRY_CALLS_MAX];
    struct carried *calls[CARRY_CALLS_MAX];
};

static struct carried *call_of(struct sy_call *base)
{
    return sy_container_of(base, struct carried, base);
}

/* ---- the stream ---- */

static void flush(void *arg)
{
    struct carrier *carrier = arg;
    if (carrier->stream == NULL || carrier->left)
        return;
    if (carrier->out.len > 0) {
        if (!sy_call_ready(carrier->stream))
            return; /* on_writable follows */
        int r = sy_call_send(carrier->stream, &carrier->out);
        SY_ASSERT(r == 0); /* nothing waits */
    }
    if (carrier->leaving) {
        carrier->left = true;
        sy_call_half_close(carrier->stream);
    }
}

static void flush_soon(struct carrier *carrier)
{
    if (!sy_timer_running(&carrier->flush))
        sy_timer_start_in(carrier->loop, &carrier->flush, 0);
}

static void close_stream(struct carrier *carrier)
{
    struct sy_call *stream = sy_take(carrier->stream);
    carrier->up = false;
    sy_buf_deinit(&carrier->out);
    if (sy_timer_running(&carrier->flush))
        sy_timer_stop(carrier->loop, &carrier->flush);
    sy_call_set_sink(stream, NULL, NULL);
    sy_call_finish(stream, NULL);
    sy_call_unref(stream);
}

static void carrier_unref(struct carrier *carrier)
{
    if (--carrier->refs > 0)
        return;
    if (carrier->stream != NULL)
        close_stream(carrier);
    free(carrier);
}

/* ---- a call ---- */

/* It is not on the stream any more. */
static void leave_slot(struct carried *call)
{
    struct carrier *carrier = call->carrier;
    uint32_t slot = call->id % CARRY_CALLS_MAX;
    if (carrier->calls[slot] != call)
        return;
    carrier->calls[slot] = NULL;
    carrier->free_slots[carrier->free_count++] = (uint16_t)slot;
}

/* From a callback of the loop, or when nobody hears of it. Takes the status. */
static void conclude(struct carried *call, struct sy_status *status)
{
    struct sy_call *base = &call->base;
    leave_slot(call);
    if (sy_timer_running(&call->timer))
        sy_timer_stop(base->loop, &call->timer);
    sy_rpc_sent(base);
    sy_rpc_receive_ended(base, false);
    sy_rpc_ended(base, status); /* frees it */
}

static void take_back(struct carried *call)
{
    struct carrier *carrier = call->carrier;
    leave_slot(call);
    if (carrier->stream == NULL || carrier->left)
        return;
    carry_put(&carrier->out, CARRY_CANCEL, call->id);
    flush_soon(carrier);
}

static void on_timer(void *arg)
{
    struct carried *call = arg;
    struct sy_status *status = sy_take(call->end);
    if (status == NULL) {
        take_back(call);
        status = sy_rpc_status_new(SY_CODE_DEADLINE_EXCEEDED, "the deadline has passed");
    }
    conclude(call, status);
}

static void op_cancel(struct sy_call *base)
{
    struct carried *call = call_of(base);
    struct sy_status *status = sy_rpc_status_new(SY_CODE_CANCELLED, "cancelled");
    take_back(call);
    if (base->reply == NULL) {
        conclude(call, status);
        return;
    }
    call->end = status;
    sy_timer_start_in(base->loop, &call->timer, 0);
}

static void op_send(struct sy_call *base, struct sy_buf *message, unsigned flags)
{
    (void)base;
    (void)message;
    (void)flags;
    SY_ASSERT(!"a unary call is sent when it is made");
}

static void op_release(struct sy_call *base, struct sy_rpc_message *message)
{
    (void)base;
    (void)message; /* borrowed from the stream's */
}

static const char *op_metadata(struct sy_call *base, const char *key)
{
    (void)base;
    (void)key;
    return NULL;
}

static const char *op_peer(struct sy_call *base)
{
    (void)base;
    return "carried";
}

static void op_free(struct sy_call *base)
{
    struct carried *call = call_of(base);
    struct carrier *carrier = call->carrier;
    sy_rpc_status_free(call->end);
    sy_rpc_call_deinit(base);
    free(call);
    carrier_unref(carrier);
}

static const struct sy_call_ops call_ops = {
    .send = op_send,
    .cancel = op_cancel,
    .release = op_release,
    .metadata = op_metadata,
    .peer = op_peer,
    .free = op_free,
};

/* ---- what the server says ---- */

static void answered(struct carried *call, const struct carry_answer *answer)
{
    struct sy_status *status = NULL;
    leave_slot(call);
    if (answer->code == SY_CODE_OK) {
        call->message.span = answer->response;
        sy_rpc_message_received(&call->base, &call->message);
    } else {
        bool known = answer->code <= SY_CODE_UNAUTHENTICATED;
        status = sy_rpc_status_new(known ? (enum sy_code)answer->code : SY_CODE_UNKNOWN, "%.*s",
                                   (int)answer->text.len, (const char *)answer->text.data);
        sy_buf_append(&status->details, answer->details.data, answer->details.len);
    }
    conclude(call, status);
}

/* The answer to what was cancelled may still come. */
static bool take_frame(struct carrier *carrier, const struct carry_frame *frame)
{
    struct carried *call = carrier->calls[frame->id % CARRY_CALLS_MAX];
    struct carry_answer answer;
    switch (frame->kind) {
    case CARRY_HELLO:
        carrier->up = !carrier->leaving;
        return true;
    case CARRY_LEAVE:
        carrier->up = false;
        carrier->leaving = true;
        flush_soon(carrier);
        return true;
    case CARRY_ANSWER:
        if (carry_read_answer(frame->body, &answer) < 0)
            return false;
        if (call != NULL && call->id == frame->id)
            answered(call, &answer);
        return true;
    default:
        return false;
    }
}

static void end_calls(struct carrier *carrier, const char *why)
{
    for (size_t i = 0; i < CARRY_CALLS_MAX; i++) {
        struct carried *call = carrier->calls[i];
        if (call != NULL)
            conclude(call,
                     sy_rpc_status_new(SY_CODE_UNAVAILABLE,
                                       "the connection that carried the call ended: %s", why));
    }
}

/* Answers set off callbacks: then the stream may be another, or gone. */
static void on_message(void *ctx, struct sy_span rest)
{
    struct carrier *carrier = ctx;
    struct sy_call *stream = sy_call_ref(carrier->stream);
    struct carry_frame frame;
    int r = 1;
    carrier->refs++;
    while (carrier->stream == stream && (r = carry_next(&rest, &frame)) > 0) {
        if (!take_frame(carrier, &frame)) {
            r = -EBADMSG;
            break;
        }
    }
    if (r < 0 && carrier->stream == stream) {
        close_stream(carrier);
        end_calls(carrier, "what the peer says cannot be read");
    }
    sy_call_unref(stream);
    carrier_unref(carrier);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct carrier *carrier = ctx;
    carrier->refs++;
    close_stream(carrier);
    end_calls(carrier, status->code != SY_CODE_OK ? status->message.text : "the peer stops");
    carrier_unref(carrier);
}

static void open_stream(struct carrier *carrier)
{
    static const struct sy_call_sink sink = {
        .on_message = on_message, .on_writable = flush, .on_closed = on_closed};
    struct sy_call_options options = {.method = CARRY_PATH};
    carrier->leaving = carrier->left = false;
    carrier->tried = true;
    carrier->tried_ns = sy_loop_now_ns(carrier->loop);
    carrier->stream = sy_channel_open(carrier->under, carrier->loop, &options, &sink, carrier);
}

/* ---- the channel ---- */

static bool fits(const struct carrier *carrier, const struct sy_call_options *options,
                 const struct sy_buf *request)
{
    return carrier->up && !options->wait_for_ready && carrier->free_count > 0 &&
           request->len <= CARRY_REQUEST_BYTES_MAX &&
           carrier->out.len + request->len <= CARRY_BATCH_BYTES_MAX &&
           carry_head_bytes(options) <= CARRY_HEAD_BYTES_MAX;
}

static struct sy_call *carry(struct carrier *carrier, const struct sy_call_options *options,
                             struct sy_buf *request)
{
    struct carried *call = sy_new(struct carried);
    uint32_t slot = carrier->free_slots[--carrier->free_count];
    SY_ASSERT(carrier->calls[slot] == NULL);
    call->carrier = carrier;
    call->id = carrier->uses++ * CARRY_CALLS_MAX + slot;
    carrier->refs++;
    carrier->calls[slot] = call;
    sy_rpc_call_init(&call->base, &call_ops, SY_CALL_CLIENT_UNARY, carrier->loop);
    sy_rpc_call_set_options(&call->base, options);
    sy_timer_init(&call->timer, on_timer, call);
    if (call->base.deadline_ns != SY_TIME_NEVER)
        sy_timer_start(carrier->loop, &call->timer, call->base.deadline_ns);
    sy_buf_reserve(&carrier->out, OUT_RESERVE);
    carry_put_call(&carrier->out, call->id, options, sy_buf_span(request));
    sy_buf_deinit(request);
    flush_soon(carrier);
    return &call->base;
}

static struct sy_call *channel_call(struct sy_channel *base, struct sy_loop *loop,
                                    const struct sy_call_options *options, enum sy_call_kind kind,
                                    struct sy_buf *request)
{
    struct carrier *carrier = sy_container_of(base, struct carrier, base);
    if (kind != SY_CALL_CLIENT_UNARY || loop != carrier->loop)
        return carrier->under->ops->call(carrier->under, loop, options, kind, request);
    if (carrier->stream == NULL &&
        (!carrier->tried || sy_loop_now_ns(loop) - carrier->tried_ns >= REOPEN_NS))
        open_stream(carrier);
    if (!fits(carrier, options, request))
        return carrier->under->ops->call(carrier->under, loop, options, kind, request);
    return carry(carrier, options, request);
}

bool carry_channel_up(struct sy_channel *channel)
{
    return sy_container_of(channel, struct carrier, base)->up;
}

static void channel_free(struct sy_channel *base)
{
    carrier_unref(sy_container_of(base, struct carrier, base));
}

struct sy_channel *sy_channel_carry(struct sy_channel *channel, struct sy_loop *loop)
{
    static const struct sy_channel_ops ops = {.call = channel_call, .free = channel_free};
    struct carrier *carrier = sy_new(struct carrier);
    carrier->base.ops = &ops;
    carrier->under = channel;
    carrier->loop = loop;
    carrier->refs = 1;
    sy_timer_init(&carrier->flush, flush, carrier);
    for (uint32_t i = 0; i < CARRY_CALLS_MAX; i++)
        carrier->free_slots[carrier->free_count++] = (uint16_t)(CARRY_CALLS_MAX - 1 - i);
    return &carrier->base;
}
