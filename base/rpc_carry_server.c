/*
 * Carried calls at the server: an adapter of rpc.c, as rpc_grpc_server.c is one. See rpc_carry.h.
 *
 * Threads. A trunk (one stream) belongs to the loop of its server's carried methods. A call begins
 * there and may go on at another loop; what it answers comes back through the trunk's `done`, by
 * one post for all that is there. Its memory goes with the last of `holds`: the call's own life,
 * its slot, its answer.
 */
#include "base/rpc_carry.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct trunk;

struct carry_server {
    struct sy_server *server;
    struct sy_loop *loop;
    struct trunk *trunks;
    atomic_size_t trunk_count;
    bool leaving;
    pthread_mutex_t mutex;
    struct carried *calls; /* whose sy_call lives; under the mutex */
};

struct carried {
    struct sy_call base;
    struct carried *next, **prev; /* of carry_server.calls; prev NULL: not there */
    struct trunk *trunk;
    uint32_t id;
    char *head;
    size_t head_len;
    struct sy_rpc_message message;
    struct rehoming { /* asked for by the handler that is running */
        struct sy_loop *to;
        sy_fn fn;
        void *arg;
    } move;
    struct sy_timer timer; /* what was sent is on its way */
    atomic_uint holds;
    /* From where the call lives to the trunk. */
    bool ended;
    struct sy_buf response;
    struct sy_status *status; /* NULL: OK */
    struct carried *next_answer;
};

struct answers {
    struct carried *first, **end;
};

struct trunk {
    struct trunk *next, **prev; /* prev NULL: not in the list any more */
    struct carry_server *carry; /* while it is in the list */
    struct sy_loop *loop;
    struct sy_call *stream; /* NULL: it is over */
    char *peer;
    bool one_thread, half_closed;
    atomic_uint refs; /* the list, each call, the post */
    struct sy_buf out;
    struct answers answers; /* to be packed */
    struct sy_timer flush;
    pthread_mutex_t mutex;
    struct answers done; /* from other loops; under the mutex, as is `posted` */
    bool posted;
    uint32_t open;
    struct carried *calls[CARRY_CALLS_MAX];
};

static struct carried *call_of(struct sy_call *base)
{
    return sy_container_of(base, struct carried, base);
}

/* ---- lists of answers ---- */

static void answers_init(struct answers *answers)
{
    *answers = (struct answers){.end = &answers->first};
}

static void answers_add(struct answers *answers, struct carried *call)
{
    call->next_answer = NULL;
    *answers->end = call;
    answers->end = &call->next_answer;
}

static struct carried *answers_pop(struct answers *answers)
{
    struct carried *call = answers->first;
    if (call == NULL)
        return NULL;
    answers->first = call->next_answer;
    if (answers->first == NULL)
        answers->end = &answers->first;
    return call;
}

/* ---- references ---- */

static void trunk_unref(struct trunk *trunk)
{
    if (atomic_fetch_sub(&trunk->refs, 1) > 1)
        return;
    SY_ASSERT(trunk->stream == NULL && trunk->answers.first == NULL && trunk->done.first == NULL);
    pthread_mutex_destroy(&trunk->mutex);
    free(trunk->peer);
    free(trunk);
}

static void drop_hold(struct carried *call)
{
    if (atomic_fetch_sub(&call->holds, 1) > 1)
        return;
    sy_buf_deinit(&call->response);
    sy_rpc_status_free(call->status);
    free(call->head);
    trunk_unref(call->trunk);
    free(call);
}

static void drop_answers(struct answers *answers)
{
    struct carried *call;
    while ((call = answers_pop(answers)) != NULL)
        drop_hold(call);
}

/* ---- the stream ---- */

static size_t answer_bytes(const struct carried *call)
{
    return call->response.len + SY_RPC_DETAILS_MAX;
}

static void pack(struct trunk *trunk, const struct carried *call)
{
    const struct sy_buf *response = &call->response;
    if (response->len <= CARRY_ANSWER_BYTES_MAX) {
        carry_put_answer(&trunk->out, call->id, call->status, sy_buf_span(response));
        return;
    }
    struct sy_status *status = sy_rpc_status_new(
        SY_CODE_RESOURCE_EXHAUSTED, "the answer of %zu bytes is too large; at most %zu",
        response->len, CARRY_ANSWER_BYTES_MAX);
    carry_put_answer(&trunk->out, call->id, status, (struct sy_span){0});
    sy_rpc_status_free(status);
}

/* As many answers as one message takes. */
static void pack_all(struct trunk *trunk)
{
    struct carried *call;
    while ((call = trunk->answers.first) != NULL &&
           (trunk->out.len == 0 || trunk->out.len + answer_bytes(call) <= CARRY_BATCH_BYTES_MAX)) {
        pack(trunk, call);
        drop_hold(answers_pop(&trunk->answers));
    }
}

static bool is_idle(const struct trunk *trunk)
{
    return trunk->open == 0 && trunk->answers.first == NULL && trunk->out.len == 0;
}

static void flush(void *arg)
{
    struct trunk *trunk = arg;
    if (trunk->stream == NULL)
        return;
    /* Not ready: on_writable follows. */
    while ((trunk->out.len > 0 || trunk->answers.first != NULL) && sy_call_ready(trunk->stream)) {
        pack_all(trunk);
        int r = sy_call_send(trunk->stream, &trunk->out);
        SY_ASSERT(r == 0); /* nothing waits */
    }
    if (trunk->half_closed && is_idle(trunk))
        sy_call_finish(trunk->stream, NULL);
}

static void flush_soon(struct trunk *trunk)
{
    if (!sy_timer_running(&trunk->flush))
        sy_timer_start_in(trunk->loop, &trunk->flush, 0);
}

/* Ends the stream with an error; on_closed follows. */
static void fail(struct trunk *trunk, enum sy_code code, const char *why)
{
    struct sy_status status = {0};
    sy_status_set(&status, code, "%s", why);
    sy_call_finish(trunk->stream, &status);
    sy_status_deinit(&status);
}

/* ---- the end of a call ---- */

/* On the call's loop, in a callback of it. Takes the status. */
static void conclude(struct carried *call, struct sy_status *status)
{
    struct sy_call *base = sy_call_ref(&call->base);
    if (sy_timer_running(&call->timer))
        sy_timer_stop(base->loop, &call->timer);
    sy_rpc_ended(base, status);
    if (base->sending)
        sy_rpc_sent(base);
    sy_call_unref(base);
}

static void sent(void *arg)
{
    struct carried *call = arg;
    if (call->ended)
        conclude(call, NULL);
    else
        sy_rpc_sent(&call->base);
}

/* On the trunk's loop. The answer's hold comes with it. */
static void take_answer(struct trunk *trunk, struct carried *call)
{
    uint32_t slot = call->id % CARRY_CALLS_MAX;
    if (trunk->calls[slot] != call) { /* it was cancelled, or the stream is over */
        drop_hold(call);
        return;
    }
    trunk->calls[slot] = NULL;
    trunk->open--;
    unsigned holds = atomic_fetch_sub(&call->holds, 1); /* the slot's */
    SY_ASSERT(holds > 1);
    answers_add(&trunk->answers, call);
    flush_soon(trunk);
}

static void take_done(void *arg)
{
    struct trunk *trunk = arg;
    pthread_mutex_lock(&trunk->mutex);
    struct carried *call = trunk->done.first, *next;
    answers_init(&trunk->done);
    trunk->posted = false;
    pthread_mutex_unlock(&trunk->mutex);
    for (; call != NULL; call = next) {
        next = call->next_answer;
        take_answer(trunk, call);
    }
    trunk_unref(trunk);
}

static void hand_over(struct carried *call)
{
    struct trunk *trunk = call->trunk;
    atomic_fetch_add(&call->holds, 1);
    if (call->base.loop == trunk->loop) {
        take_answer(trunk, call);
        return;
    }
    pthread_mutex_lock(&trunk->mutex);
    bool must_post = !trunk->posted;
    trunk->posted = true;
    answers_add(&trunk->done, call);
    pthread_mutex_unlock(&trunk->mutex);
    if (!must_post)
        return;
    atomic_fetch_add(&trunk->refs, 1);
    sy_loop_hand_over(call->base.loop, trunk->loop, take_done, trunk);
}

/* Where the call lives; the slot's hold comes with it. */
static void cancel_here(void *arg)
{
    struct carried *call = arg;
    bool open = !call->ended && call->base.life == SY_CALL_LIVE;
    if (open)
        conclude(call, sy_rpc_status_new(SY_CODE_CANCELLED, "cancelled by the client, or it "
                                                            "vanished"));
    drop_hold(call);
}

static void cancel(struct trunk *trunk, struct carried *call)
{
    trunk->calls[call->id % CARRY_CALLS_MAX] = NULL;
    trunk->open--;
    if (call->base.loop == trunk->loop || trunk->one_thread)
        cancel_here(call);
    else
        sy_loop_hand_over(trunk->loop, call->base.loop, cancel_here, call);
}

/* ---- a call's operations ---- */

static void op_send(struct sy_call *base, struct sy_buf *message, unsigned flags)
{
    struct carried *call = call_of(base);
    if (message != NULL) {
        sy_buf_deinit(&call->response);
        call->response = sy_buf_take(message);
    }
    sy_timer_start_in(base->loop, &call->timer, 0);
    if ((flags & SY_RPC_SEND_END) == 0)
        return;
    call->ended = true;
    call->status = sy_take(base->end_status);
    hand_over(call);
}

static void op_cancel(struct sy_call *base)
{
    (void)base;
    SY_ASSERT(!"a server ends its calls with a status");
}

static void op_release(struct sy_call *base, struct sy_rpc_message *message)
{
    (void)base;
    (void)message; /* borrowed from the stream's */
}

static void op_rehome(struct sy_call *base, struct sy_loop *loop, sy_fn fn, void *arg)
{
    struct carried *call = call_of(base);
    SY_ASSERT(call->move.to == NULL && base->loop == call->trunk->loop);
    if (call->trunk->one_thread) {
        base->loop = loop;
        fn(arg);
        return;
    }
    call->move = (struct rehoming){loop, fn, arg};
}

static const char *op_metadata(struct sy_call *base, const char *key)
{
    const struct carried *call = call_of(base);
    const char *end = call->head + call->head_len;
    const char *at = call->head + strlen(call->head) + 1; /* behind the path */
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (strcmp(at, key) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

static const char *op_peer(struct sy_call *base)
{
    return call_of(base)->trunk->peer;
}

static void unlink_call(struct carry_server *carry, struct carried *call)
{
    pthread_mutex_lock(&carry->mutex);
    *call->prev = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    pthread_mutex_unlock(&carry->mutex);
}

static void op_free(struct sy_call *base)
{
    struct carried *call = call_of(base);
    struct sy_server *server = base->server;
    unlink_call(server->carry, call);
    sy_rpc_call_deinit(base);
    drop_hold(call);
    server->ops->call_freed(server);
}

static const struct sy_call_ops call_ops = {
    .send = op_send,
    .cancel = op_cancel,
    .release = op_release,
    .rehome = op_rehome,
    .metadata = op_metadata,
    .peer = op_peer,
    .free = op_free,
};

/* ---- what the client says ---- */

static void refuse(struct trunk *trunk, uint32_t id, struct sy_status *status)
{
    carry_put_answer(&trunk->out, id, status, (struct sy_span){0});
    sy_rpc_status_free(status);
    flush_soon(trunk);
}

static struct carried *call_new(struct trunk *trunk, const struct sy_method *method, uint32_t id,
                                const struct carry_call *asked)
{
    struct carry_server *carry = trunk->carry;
    struct sy_server *server = carry->server;
    struct carried *call = sy_new(struct carried);
    sy_rpc_call_init(&call->base, &call_ops, SY_CALL_SERVER, trunk->loop);
    call->base.server = server;
    call->base.method = method;
    call->base.send_buffer_max = server->send_buffer_max;
    if (asked->timeout_ns > 0 && __builtin_add_overflow(sy_loop_now_ns(trunk->loop),
                                                        asked->timeout_ns, &call->base.deadline_ns))
        call->base.deadline_ns = SY_TIME_NEVER;
    call->trunk = trunk;
    atomic_fetch_add(&trunk->refs, 1);
    call->id = id;
    call->head = sy_memdup(asked->head.data, asked->head.len);
    call->head_len = asked->head.len;
    sy_timer_init(&call->timer, sent, call);
    atomic_store(&call->holds, 2); /* its own, the slot's */
    trunk->calls[id % CARRY_CALLS_MAX] = call;
    trunk->open++;
    pthread_mutex_lock(&carry->mutex);
    call->next = carry->calls;
    call->prev = &carry->calls;
    if (call->next != NULL)
        call->next->prev = &call->next;
    carry->calls = call;
    pthread_mutex_unlock(&carry->mutex);
    server->ops->call_begun(server);
    return call;
}

/* False: the stream makes no sense. */
static bool begin_call(struct trunk *trunk, const struct carry_frame *frame)
{
    struct carry_call asked;
    struct sy_status *status = NULL;
    const struct sy_server *server = trunk->carry->server;
    if (trunk->calls[frame->id % CARRY_CALLS_MAX] != NULL ||
        carry_read_call(frame->body, &asked) < 0)
        return false;
    const char *path = (const char *)asked.head.data;
    const struct sy_method *method = sy_rpc_server_admit(server, path, strlen(path), &status);
    if (method != NULL && (method->kind != SY_METHOD_UNARY || method->loop != trunk->loop))
        status = sy_rpc_status_new(SY_CODE_UNIMPLEMENTED, "%s is not carried", path);
    if (status != NULL) {
        refuse(trunk, frame->id, status);
        return true;
    }
    struct carried *call = call_new(trunk, method, frame->id, &asked);
    call->message.span = asked.request;
    sy_rpc_message_received(&call->base, &call->message);
    sy_rpc_receive_ended(&call->base, true);
    struct rehoming move = call->move; /* then its new loop keeps it */
    if (move.to != NULL) {
        call->base.loop = move.to;
        sy_loop_hand_over(trunk->loop, move.to, move.fn, move.arg);
    }
    return true;
}

static bool take_frame(struct trunk *trunk, const struct carry_frame *frame)
{
    struct carried *call = trunk->calls[frame->id % CARRY_CALLS_MAX];
    if (frame->kind == CARRY_CALL)
        return begin_call(trunk, frame);
    if (frame->kind != CARRY_CANCEL)
        return false;
    if (call != NULL && call->id == frame->id)
        cancel(trunk, call);
    return true;
}

static void on_message(void *ctx, struct sy_span rest)
{
    struct trunk *trunk = ctx;
    struct carry_frame frame;
    int r;
    while ((r = carry_next(&rest, &frame)) > 0) {
        if (!take_frame(trunk, &frame)) {
            r = -EBADMSG;
            break;
        }
    }
    if (r < 0)
        fail(trunk, SY_CODE_INVALID_ARGUMENT, "the frames of carried calls cannot be read");
    else if (trunk->out.len > CARRY_BATCH_BYTES_MAX) /* of refusals */
        fail(trunk, SY_CODE_RESOURCE_EXHAUSTED, "the answers to carried calls are not taken");
}

static void on_half_closed(void *ctx)
{
    struct trunk *trunk = ctx;
    trunk->half_closed = true;
    flush_soon(trunk);
}

/* Its calls are cancelled by the caller. */
static void trunk_close(struct trunk *trunk)
{
    if (sy_timer_running(&trunk->flush))
        sy_timer_stop(trunk->loop, &trunk->flush);
    sy_call_unref(sy_take(trunk->stream));
    drop_answers(&trunk->answers);
    sy_buf_deinit(&trunk->out);
    *trunk->prev = trunk->next;
    if (trunk->next != NULL)
        trunk->next->prev = trunk->prev;
    trunk->carry->trunk_count--;
    trunk->carry = NULL;
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct trunk *trunk = ctx;
    (void)status;
    trunk_close(trunk);
    for (size_t i = 0; i < CARRY_CALLS_MAX; i++) {
        if (trunk->calls[i] != NULL)
            cancel(trunk, trunk->calls[i]);
    }
    trunk_unref(trunk);
}

/* ---- streams ---- */

static void handle(void *ctx, struct sy_call *stream, struct sy_span request)
{
    static const struct sy_call_sink sink = {.on_message = on_message,
                                             .on_writable = flush,
                                             .on_closed = on_closed,
                                             .on_half_closed = on_half_closed};
    struct carry_server *carry = ctx;
    (void)request;
    if (carry->leaving || carry->trunk_count >= CARRY_STREAMS_MAX) {
        sy_call_fail(stream, SY_CODE_RESOURCE_EXHAUSTED,
                     "this server stops, or has %d streams of carried calls, its maximum",
                     CARRY_STREAMS_MAX);
        return;
    }
    struct trunk *trunk = sy_new(struct trunk);
    trunk->carry = carry;
    trunk->loop = carry->loop;
    trunk->stream = stream;
    trunk->peer = sy_strdup(sy_call_peer(stream));
    trunk->one_thread = stream->ops->one_thread;
    trunk->next = carry->trunks;
    trunk->prev = &carry->trunks;
    if (trunk->next != NULL)
        trunk->next->prev = &trunk->next;
    carry->trunks = trunk;
    carry->trunk_count++;
    atomic_store(&trunk->refs, 1);
    pthread_mutex_init(&trunk->mutex, NULL);
    answers_init(&trunk->answers);
    answers_init(&trunk->done);
    sy_timer_init(&trunk->flush, flush, trunk);
    carry_put(&trunk->out, CARRY_HELLO, 0);
    sy_call_set_sink(stream, &sink, trunk);
    flush(trunk);
}

void sy_server_carry(struct sy_server *server, struct sy_loop *loop)
{
    SY_ASSERT(server->carry == NULL);
    struct carry_server *carry = sy_new(struct carry_server);
    carry->server = server;
    carry->loop = loop;
    pthread_mutex_init(&carry->mutex, NULL);
    server->carry = carry;
    sy_server_add(server, &(struct sy_method){.path = CARRY_PATH,
                                              .kind = SY_METHOD_BIDI,
                                              .handler = handle,
                                              .ctx = carry,
                                              .loop = loop});
}

size_t carry_server_streams(const struct carry_server *carry)
{
    return atomic_load(&carry->trunk_count);
}

void carry_server_drain(struct carry_server *carry)
{
    carry->leaving = true;
    for (struct trunk *trunk = carry->trunks; trunk != NULL; trunk = trunk->next) {
        carry_put(&trunk->out, CARRY_LEAVE, 0);
        flush_soon(trunk);
    }
}

/* What nobody will take any more. */
static void abandon_trunk(struct trunk *trunk)
{
    sy_call_set_sink(trunk->stream, NULL, NULL);
    trunk_close(trunk);
    for (size_t i = 0; i < CARRY_CALLS_MAX; i++) {
        if (trunk->calls[i] != NULL)
            drop_hold(sy_take(trunk->calls[i]));
    }
    sy_loop_forget(trunk->loop, trunk);
    drop_answers(&trunk->done);
    if (trunk->posted)
        trunk_unref(trunk);
    trunk_unref(trunk);
}

/* In memory, where a server may be freed at any time; else all has ended. */
void carry_server_abandon(struct carry_server *carry)
{
    struct carried *next;
    while (carry->trunks != NULL)
        abandon_trunk(carry->trunks);
    for (struct carried *call = carry->calls; call != NULL; call = next) {
        next = call->next;
        if (call->base.life >= SY_CALL_DONE)
            continue;
        if (sy_timer_running(&call->timer))
            sy_timer_stop(call->base.loop, &call->timer);
        sy_rpc_abandon(&call->base);
    }
}

void carry_server_free(struct carry_server *carry)
{
    if (carry == NULL)
        return;
    SY_ASSERT(carry->trunks == NULL && carry->calls == NULL);
    pthread_mutex_destroy(&carry->mutex);
    free(carry);
}
