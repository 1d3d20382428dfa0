/* The calls of the in-memory transport, and the events that travel between their two sides. */
#include "base/rpc_mem.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define RECONNECT_MIN_NS (100 * SY_NS_PER_MS)
#define RECONNECT_MAX_NS (1000 * SY_NS_PER_MS)

static struct mem_call *call_of(struct sy_call *base)
{
    return sy_container_of(base, struct mem_call, base);
}

bool mem_call_is_server(const struct mem_call *call)
{
    return call->base.kind == SY_CALL_SERVER;
}

static const char *name_of_side(const struct mem_call *call, bool server_side)
{
    return server_side ? call->channel->target : call->channel->origin;
}

/* ---- events ---- */

static void event_free(struct mem_event *event)
{
    sy_buf_deinit(&event->bytes);
    sy_rpc_status_free(event->status);
    free(event);
}

static void drop_events(struct mem_call *call)
{
    while (call->events != NULL) {
        struct mem_event *event = call->events;
        call->events = event->next;
        event_free(event);
    }
    call->events_tail = &call->events;
    mem_timer_stop(call->base.loop, &call->arrival);
}

static void start_arrival(struct mem_call *call)
{
    if (call->events != NULL)
        sy_timer_start(call->base.loop, &call->arrival, call->events->due_ns);
}

/* Appends to what is under way to `call`. */
static struct mem_event *add_event(struct mem_call *call, enum mem_event_kind kind, int64_t due_ns)
{
    struct mem_event *event = sy_new(struct mem_event);
    if (due_ns < call->last_due_ns)
        due_ns = call->last_due_ns;
    call->last_due_ns = due_ns;
    event->kind = kind;
    event->due_ns = due_ns;
    *call->events_tail = event;
    call->events_tail = &event->next;
    if (call->events == event)
        start_arrival(call);
    return event;
}

/* The call will end so, and nothing that is under way to it arrives before. Takes the status. */
static void end_locally(struct mem_call *call, int64_t now_ns, struct sy_status *status)
{
    drop_events(call);
    mem_timer_stop(call->base.loop, &call->retry);
    call->last_due_ns = now_ns;
    add_event(call, MEM_RESET, now_ns)->status = status;
}

static void disconnect(struct mem_call *call)
{
    if (call->peer == NULL)
        return;
    call->peer->peer = NULL;
    call->peer = NULL;
}

/* The connection under the call is gone. */
static void end_as_lost(struct mem_call *call, int64_t now_ns, const char *why)
{
    enum sy_code code = mem_call_is_server(call) ? SY_CODE_CANCELLED : SY_CODE_UNAVAILABLE;
    end_locally(call, now_ns, sy_rpc_status_new(code, "%s", why));
}

void mem_call_break(struct mem_call *call, int64_t now_ns, const char *why)
{
    struct mem_call *peer = call->peer;
    disconnect(call);
    end_as_lost(call, now_ns, why);
    if (peer != NULL)
        end_as_lost(peer, now_ns, why);
}

/* All calls between the two ends of `call` break. */
static void break_connection(struct mem_call *call)
{
    int64_t now_ns = sy_loop_now_ns(call->base.loop);
    struct mem_channel *channel = call->channel;
    struct mem_server *server = call->server;
    for (struct mem_call *other = call->rpc->calls; other != NULL; other = other->next)
        if (other->peer != NULL && other->server == server &&
            strcmp(other->channel->origin, channel->origin) == 0)
            mem_call_break(other, now_ns, "the connection dropped");
}

/* Asks the plan about something that `call` sends. False: the connection has broken. */
static bool travel(struct mem_call *call, int64_t *ret_due_ns)
{
    const struct sy_rpc_mem_plan *plan = &call->rpc->plan;
    int64_t delay_ns = 0;
    enum sy_fault fault = SY_FAULT_DELIVER;
    if (plan->on_message != NULL)
        fault = plan->on_message(plan->ctx, name_of_side(call, mem_call_is_server(call)),
                                 name_of_side(call, !mem_call_is_server(call)), &delay_ns);
    SY_ASSERT(delay_ns >= 0);
    if (fault == SY_FAULT_DROP_CONNECTION) {
        break_connection(call);
        return false;
    }
    *ret_due_ns = sy_loop_now_ns(call->base.loop) + delay_ns;
    return true;
}

/* This side is through with the call: the peer hears of it as of any message. */
static void reset_peer(struct mem_call *call, struct sy_status *status)
{
    int64_t due_ns;
    if (call->peer == NULL || !travel(call, &due_ns)) {
        sy_rpc_status_free(status);
        return;
    }
    struct mem_call *peer = call->peer;
    disconnect(call);
    add_event(peer, MEM_RESET, due_ns)->status = status;
    if (!sy_timer_running(&peer->arrival)) /* stopped by a full window */
        sy_timer_start(peer->base.loop, &peer->arrival, due_ns);
}

/* ---- the end of a call ---- */

static void stop_everything(struct mem_call *call)
{
    disconnect(call);
    drop_events(call);
    mem_timer_stop(call->base.loop, &call->sent);
    mem_timer_stop(call->base.loop, &call->retry);
    mem_timer_stop(call->base.loop, &call->deadline);
}

/* Tells rpc.c that the call has ended; its loop's thread, not inside the port. Takes the status. */
static void conclude(struct mem_call *call, struct sy_status *status)
{
    struct sy_call *base = sy_call_ref(&call->base);
    stop_everything(call);
    sy_rpc_ended(base, status);
    if (base->recv == SY_RECV_OPEN)
        sy_rpc_receive_ended(base, false);
    if (base->sending)
        sy_rpc_sent(base);
    sy_call_unref(base);
}

/* The side's process is dead: nobody is told anything. */
void mem_call_abandon(struct mem_call *call)
{
    if (call->base.life >= SY_CALL_DONE)
        return;
    stop_everything(call);
    sy_rpc_abandon(&call->base);
}

/* The call fails by our doing: the client gets the status, wherever this side is. */
static void fail_call(struct mem_call *call, struct sy_status *status)
{
    struct sy_status *cancelled = sy_rpc_status_new(SY_CODE_CANCELLED, "%s", status->message.text);
    reset_peer(call, mem_call_is_server(call) ? status : cancelled);
    conclude(call, mem_call_is_server(call) ? cancelled : status);
}

static void deadline_passed(void *arg)
{
    fail_call(arg, sy_rpc_status_new(SY_CODE_DEADLINE_EXCEEDED, "the deadline has passed"));
}

/* ---- sending ---- */

static void sent(void *arg)
{
    struct mem_call *call = arg;
    if (mem_call_is_server(call) && call->end_sent) {
        conclude(call, NULL);
        return;
    }
    sy_rpc_sent(&call->base);
}

/* Sends what rpc.c gave; the plan decides once for a message and the end that goes with it. */
static void transmit(struct mem_call *call, struct sy_buf *message, unsigned flags)
{
    struct mem_call *peer = call->peer;
    int64_t now_ns = sy_loop_now_ns(call->base.loop), due_ns = 0;
    call->end_sent = (flags & SY_RPC_SEND_END) != 0;
    if (peer == NULL || !travel(call, &due_ns)) {
        if (message != NULL)
            sy_buf_deinit(message);
        sy_timer_start(call->base.loop, &call->sent, now_ns);
        return;
    }
    if (message != NULL) {
        peer->unread_bytes += message->len + SY_RPC_MESSAGE_COST;
        add_event(peer, MEM_MESSAGE, due_ns)->bytes = sy_buf_take(message);
    }
    if (call->end_sent && mem_call_is_server(call)) {
        struct sy_status *status = call->base.end_status;
        call->base.end_status = NULL;
        add_event(peer, MEM_END, due_ns)->status = status;
    } else if (call->end_sent) {
        add_event(peer, MEM_HALF_CLOSE, due_ns);
    }
    call->sent_waits = peer->unread_bytes > MEM_WINDOW_BYTES;
    if (!call->sent_waits)
        sy_timer_start(call->base.loop, &call->sent, now_ns);
}

static void mem_call_send(struct sy_call *base, struct sy_buf *message, unsigned flags)
{
    struct mem_call *call = call_of(base);
    if (call->server != NULL) {
        transmit(call, message, flags);
        return;
    }
    SY_ASSERT(!call->parked);
    call->parked = true;
    call->parked_has_message = message != NULL;
    call->parked_flags = flags;
    if (message != NULL)
        call->parked_message = sy_buf_take(message);
}

static void mem_call_cancel(struct sy_call *base)
{
    struct mem_call *call = call_of(base);
    reset_peer(call, sy_rpc_status_new(SY_CODE_CANCELLED, "cancelled by the client"));
    end_locally(call, sy_loop_now_ns(base->loop),
                sy_rpc_status_new(SY_CODE_CANCELLED, "cancelled"));
}

/* ---- receiving ---- */

static size_t message_bytes_max(const struct mem_call *call)
{
    return mem_call_is_server(call) ? call->server->base.message_bytes_max
                                    : SY_RPC_MESSAGE_BYTES_MAX;
}

static bool window_is_full(const struct mem_call *call)
{
    return call->held >= SY_RPC_WINDOW_MESSAGES || call->held_bytes >= SY_RPC_WINDOW_BYTES;
}

/* False: the window is full, and the event stays where it is. */
static bool take_message(struct mem_call *call, struct mem_event *event)
{
    if (window_is_full(call))
        return false;
    call->events = event->next;
    if (call->events == NULL)
        call->events_tail = &call->events;
    size_t len = event->bytes.len, max = message_bytes_max(call);
    if (len > max) { /* as in gRPC, the whole call ends */
        event_free(event);
        fail_call(call, sy_rpc_status_new(SY_CODE_RESOURCE_EXHAUSTED,
                                          "message of %zu bytes; the receiver takes at most %zu",
                                          len, max));
        return true;
    }
    call->held++;
    call->held_bytes += len;
    event->message.span = sy_buf_span(&event->bytes);
    sy_rpc_message_received(&call->base, &event->message);
    return true;
}

static void mem_call_release(struct sy_call *base, struct sy_rpc_message *message)
{
    struct mem_call *call = call_of(base);
    struct mem_event *event = sy_container_of(message, struct mem_event, message);
    SY_ASSERT(call->held > 0 && call->unread_bytes >= event->bytes.len + SY_RPC_MESSAGE_COST);
    bool was_full = window_is_full(call);
    call->held--;
    call->held_bytes -= event->bytes.len;
    call->unread_bytes -= event->bytes.len + SY_RPC_MESSAGE_COST;
    event_free(event);
    if (base->life >= SY_CALL_DONE)
        return;
    if (was_full && !sy_timer_running(&call->arrival))
        start_arrival(call);
    struct mem_call *peer = call->peer;
    if (peer != NULL && peer->sent_waits && call->unread_bytes <= MEM_WINDOW_BYTES) {
        peer->sent_waits = false;
        sy_timer_start(peer->base.loop, &peer->sent, sy_loop_now_ns(base->loop));
    }
}

static void take_event(struct mem_call *call, struct mem_event *event)
{
    call->events = event->next;
    if (call->events == NULL)
        call->events_tail = &call->events;
    struct sy_status *status = event->status;
    enum mem_event_kind kind = event->kind;
    event->status = NULL;
    event_free(event);
    if (kind == MEM_OPEN)
        sy_rpc_accepted(&call->base);
    else if (kind == MEM_HALF_CLOSE)
        sy_rpc_receive_ended(&call->base, true);
    else
        conclude(call, status);
}

/* The window is full: messages wait for their owner, but not the news that the call is over. */
static void overtake(struct mem_call *call)
{
    struct mem_event *event = call->events;
    while (event != NULL && event->kind != MEM_RESET)
        event = event->next;
    if (event == NULL)
        return;
    if (event->due_ns > sy_loop_now_ns(call->base.loop)) {
        sy_timer_start(call->base.loop, &call->arrival, event->due_ns);
        return;
    }
    conclude(call, sy_take(event->status));
}

static void arrive(void *arg)
{
    struct mem_call *call = arg;
    bool blocked = false;
    sy_call_ref(&call->base);
    while (!blocked && call->events != NULL &&
           call->events->due_ns <= sy_loop_now_ns(call->base.loop)) {
        struct mem_event *event = call->events;
        if (event->kind == MEM_MESSAGE)
            blocked = !take_message(call, event);
        else
            take_event(call, event);
    }
    if (blocked)
        overtake(call); /* the release of a message starts the timer again */
    else
        start_arrival(call);
    sy_call_unref(&call->base);
}

/* ---- making calls ---- */

static const char *mem_call_metadata(struct sy_call *base, const char *key)
{
    struct mem_call *call = call_of(base);
    for (size_t i = 0; mem_call_is_server(call) && i < call->metadata_count; i++)
        if (strcmp(call->metadata[i].key, key) == 0)
            return call->metadata[i].value;
    return NULL;
}

static const char *mem_call_peer(struct sy_call *base)
{
    const struct mem_call *call = call_of(base);
    return name_of_side(call, !mem_call_is_server(call));
}

static void mem_call_free(struct sy_call *base)
{
    struct mem_call *call = call_of(base);
    SY_ASSERT(call->events == NULL && call->peer == NULL);
    *call->prev = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    else
        call->rpc->calls_tail = call->prev;
    for (size_t i = 0; i < call->metadata_count; i++) {
        free((char *)(uintptr_t)call->metadata[i].key);
        free((char *)(uintptr_t)call->metadata[i].value);
    }
    free(call->metadata);
    sy_buf_deinit(&call->parked_message);
    sy_rpc_call_deinit(base);
    if (call->server != NULL)
        mem_server_unref(call->server);
    mem_channel_unref(call->channel);
    mem_rpc_unref(call->rpc);
    free(call);
}

static void move_timer(struct sy_timer *timer, struct sy_loop *from, struct sy_loop *to)
{
    if (!sy_timer_running(timer))
        return;
    int64_t deadline_ns = timer->deadline_ns;
    sy_timer_stop(from, timer);
    sy_timer_start(to, timer, deadline_ns);
}

static void mem_call_rehome(struct sy_call *base, struct sy_loop *loop, sy_fn fn, void *arg)
{
    struct mem_call *call = sy_container_of(base, struct mem_call, base);
    struct sy_timer *timers[] = {&call->arrival, &call->sent, &call->retry, &call->deadline};
    for (size_t i = 0; i < SY_COUNT_OF(timers); i++)
        move_timer(timers[i], base->loop, loop);
    base->loop = loop;
    fn(arg);
}

static const struct sy_call_ops call_ops = {
    .one_thread = true,
    .send = mem_call_send,
    .cancel = mem_call_cancel,
    .release = mem_call_release,
    .rehome = mem_call_rehome,
    .metadata = mem_call_metadata,
    .peer = mem_call_peer,
    .free = mem_call_free,
};

static void reconnect(void *arg);

static struct mem_call *make_call(struct mem_channel *channel, enum sy_call_kind kind,
                                  struct sy_loop *loop)
{
    struct mem_call *call = sy_new(struct mem_call);
    sy_rpc_call_init(&call->base, &call_ops, kind, loop);
    call->rpc = channel->rpc;
    call->rpc->refs++;
    call->channel = channel;
    channel->refs++;
    call->prev = call->rpc->calls_tail;
    *call->rpc->calls_tail = call;
    call->rpc->calls_tail = &call->next;
    call->events_tail = &call->events;
    sy_timer_init(&call->arrival, arrive, call);
    sy_timer_init(&call->sent, sent, call);
    sy_timer_init(&call->retry, reconnect, call);
    sy_timer_init(&call->deadline, deadline_passed, call);
    return call;
}

static void copy_metadata(struct mem_call *call, const struct sy_metadata *metadata, size_t count)
{
    call->metadata = count > 0 ? sy_calloc(count, sizeof(*metadata)) : NULL;
    call->metadata_count = count;
    for (size_t i = 0; i < count; i++) {
        call->metadata[i].key = sy_strdup(metadata[i].key);
        call->metadata[i].value = sy_strdup(metadata[i].value);
    }
}

/* Makes the server's side of a call; the news of it travels like a message. */
static void open_at_server(struct mem_call *call, struct mem_server *server,
                           const struct sy_method *method)
{
    struct mem_call *other = make_call(call->channel, SY_CALL_SERVER, method->loop);
    other->base.server = &server->base;
    other->base.method = method;
    other->base.send_buffer_max = server->base.send_buffer_max;
    other->base.deadline_ns = call->base.deadline_ns;
    copy_metadata(other, call->metadata, call->metadata_count);
    other->server = server;
    server->base.ops->call_begun(&server->base);
    call->peer = other;
    other->peer = call;
    if (other->base.deadline_ns != SY_TIME_NEVER)
        sy_timer_start(other->base.loop, &other->deadline, other->base.deadline_ns);
    int64_t due_ns;
    if (travel(call, &due_ns))
        add_event(other, MEM_OPEN, due_ns);
}

/* Returns how the attempt failed, NULL when connected. */
static struct sy_status *try_connect(struct mem_call *call)
{
    struct mem_rpc *rpc = call->rpc;
    struct mem_channel *channel = call->channel;
    struct mem_server *server = mem_server_find(rpc, channel->target);
    bool reachable = rpc->plan.on_connect == NULL ||
                     rpc->plan.on_connect(rpc->plan.ctx, channel->origin, channel->target);
    if (server == NULL || !reachable)
        return sy_rpc_status_new(SY_CODE_UNAVAILABLE, "failed to connect");
    const char *path = call->base.method_name;
    struct sy_status *status;
    const struct sy_method *method = sy_rpc_server_admit(&server->base, path, strlen(path),
                                                         &status);
    if (method == NULL)
        return status;
    call->server = server;
    server->refs++;
    open_at_server(call, server, method);
    return NULL;
}

static void reconnect(void *arg)
{
    struct mem_call *call = arg;
    int64_t now_ns = sy_loop_now_ns(call->base.loop);
    struct sy_status *status = try_connect(call);
    if (status != NULL && status->code == SY_CODE_UNAVAILABLE && call->wait_for_ready) {
        sy_rpc_status_free(status);
        sy_timer_start_in(call->base.loop, &call->retry, call->retry_ns);
        call->retry_ns = call->retry_ns * 2 < RECONNECT_MAX_NS ? call->retry_ns * 2
                                                               : RECONNECT_MAX_NS;
    } else if (status != NULL) {
        end_locally(call, now_ns, status);
    } else if (call->parked) {
        call->parked = false;
        transmit(call, call->parked_has_message ? &call->parked_message : NULL, call->parked_flags);
    }
}

struct sy_call *mem_channel_call(struct sy_channel *base, struct sy_loop *loop,
                                 const struct sy_call_options *options, enum sy_call_kind kind,
                                 struct sy_buf *request)
{
    struct mem_channel *channel = sy_container_of(base, struct mem_channel, base);
    struct mem_call *call = make_call(channel, kind, loop);
    sy_rpc_call_set_options(&call->base, options);
    call->wait_for_ready = options->wait_for_ready;
    call->retry_ns = RECONNECT_MIN_NS;
    copy_metadata(call, options->metadata, options->metadata_count);
    if (call->base.deadline_ns != SY_TIME_NEVER)
        sy_timer_start(loop, &call->deadline, call->base.deadline_ns);
    if (kind == SY_CALL_CLIENT_UNARY)
        mem_call_send(&call->base, request, SY_RPC_SEND_END);
    reconnect(call);
    return &call->base;
}
