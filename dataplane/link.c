#include "dataplane/link.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A call that has been ended by us. Its owner is gone; the loop must outlive it. */
struct dp_ending {
    struct sy_call *call;
    struct dp_links *links;
    struct dp_ending *next, *previous;
};

static const struct sy_call_sink deaf_sink = {0};

/* ---- calls that end ---- */

static void ending_closed(void *ctx, const struct sy_status *status)
{
    (void)status;
    struct dp_ending *ending = ctx;
    struct dp_links *links = ending->links;
    if (ending->previous)
        ending->previous->next = ending->next;
    else
        links->endings = ending->next;
    if (ending->next)
        ending->next->previous = ending->previous;
    sy_call_unref(ending->call);
    free(ending);
    if (!links->endings)
        links->on_ended(links->ctx);
}

static const struct sy_call_sink ending_sink = {.on_closed = ending_closed};

void dp_links_end_call(struct dp_links *links, struct sy_call *call, const struct sy_status *status)
{
    struct dp_ending *ending = sy_new(struct dp_ending);
    ending->call = call;
    ending->links = links;
    ending->next = links->endings;
    if (ending->next)
        ending->next->previous = ending;
    links->endings = ending;
    sy_call_finish(call, status);
    sy_call_set_sink(call, &ending_sink, ending);
}

/* Nobody is told any more. */
static void abandon_call(struct sy_call *call)
{
    sy_call_finish(call, NULL);
    sy_call_set_sink(call, &deaf_sink, NULL);
    sy_call_unref(call);
}

void dp_links_init(struct dp_links *links, struct sy_loop *loop, void (*touch)(void *ctx),
                   void (*on_ended)(void *ctx), void *ctx)
{
    *links = (struct dp_links){.loop = loop, .touch = touch, .on_ended = on_ended, .ctx = ctx};
    links->dirty_tail = &links->dirty;
    links->closing_tail = &links->closing;
}

void dp_links_deinit(struct dp_links *links)
{
    while (links->endings) {
        struct dp_ending *ending = links->endings;
        links->endings = ending->next;
        abandon_call(ending->call);
        free(ending);
    }
}

/* ---- a link's life ---- */

static void on_timer(void *arg);

void dp_link_init(struct dp_link *link, struct dp_links *links, const struct dp_link_ops *ops)
{
    *link = (struct dp_link){.links = links, .ops = ops};
    sy_timer_init(&link->timer, on_timer, link);
}

static void drop_queues(struct dp_link *link)
{
    for (size_t i = 0; i < DP_LINK_FIELDS; i++) {
        sy_buf_deinit(&link->queues[i].buf);
        link->queues[i] = (struct dp_queue){0};
    }
    link->queued_bytes = 0;
    link->flags = 0;
}

/* Both lists are short; a link leaves them in its middle only when it is freed. */
static void leave_lists(struct dp_link *link)
{
    struct dp_links *links = link->links;
    struct dp_link **at = &links->dirty;
    while (link->is_dirty && *at != link)
        at = &(*at)->next_dirty;
    if (link->is_dirty) {
        *at = link->next_dirty;
        if (!*at)
            links->dirty_tail = at;
    }
    at = &links->closing;
    while (link->is_closing && *at != link)
        at = &(*at)->next_closing;
    if (link->is_closing) {
        *at = link->next_closing;
        if (!*at)
            links->closing_tail = at;
    }
    link->is_dirty = link->is_closing = false;
    link->next_dirty = link->next_closing = NULL;
}

void dp_link_deinit(struct dp_link *link)
{
    leave_lists(link);
    if (sy_timer_running(&link->timer))
        sy_timer_stop(link->links->loop, &link->timer);
    if (link->call)
        abandon_call(sy_take(link->call));
    drop_queues(link);
}

/* When the next heartbeat is due, or patience with the peer ends. */
static void start_timer(struct dp_link *link)
{
    int64_t next_ns = link->heard_ns + link->lease_ns;
    if (link->heartbeat_ns > 0 && link->sent_ns + link->heartbeat_ns < next_ns)
        next_ns = link->sent_ns + link->heartbeat_ns;
    if (link->stuck_ns > 0 && link->stuck_ns + link->lease_ns < next_ns)
        next_ns = link->stuck_ns + link->lease_ns;
    int64_t now_ns = sy_loop_now_ns(link->links->loop);
    if (next_ns <= now_ns) /* a heartbeat that could not be sent: try again later */
        next_ns = now_ns + (link->heartbeat_ns > 0 ? link->heartbeat_ns : link->lease_ns);
    sy_timer_start(link->links->loop, &link->timer, next_ns);
}

void dp_link_open(struct dp_link *link, struct sy_call *call, size_t queued_max,
                  int64_t patience_ns)
{
    SY_ASSERT(!link->call && !link->is_closing);
    SY_ASSERT(patience_ns > 0);
    int64_t now_ns = sy_loop_now_ns(link->links->loop);
    link->call = call;
    link->queued_max = queued_max;
    link->heartbeat_ns = 0;
    link->lease_ns = patience_ns;
    link->heard_ns = link->sent_ns = now_ns;
    link->stuck_ns = 0;
    start_timer(link);
}

void dp_link_established(struct dp_link *link, int64_t heartbeat_ns, int64_t lease_ns)
{
    SY_ASSERT(heartbeat_ns > 0 && lease_ns > heartbeat_ns);
    link->heartbeat_ns = heartbeat_ns;
    link->lease_ns = lease_ns;
    start_timer(link);
}

void dp_link_forgive(struct dp_link *link, int64_t now_ns)
{
    link->heard_ns = now_ns;
    if (link->stuck_ns > 0)
        link->stuck_ns = now_ns;
}

static void lost(struct dp_link *link, enum sy_code code, const char *why)
{
    SY_ASSERT(!link->call);
    leave_lists(link);
    sy_timer_stop(link->links->loop, &link->timer);
    drop_queues(link);
    link->ops->on_lost(link, code, why); /* may free the link */
}

void dp_link_close(struct dp_link *link, enum sy_code code, const char *format, ...)
{
    if (!dp_link_usable(link))
        return;
    va_list args;
    va_start(args, format);
    sy_error_text_vset(&link->why_text, format, args);
    va_end(args);
    link->why = code;
    link->is_closing = true;
    link->next_closing = NULL;
    *link->links->closing_tail = link;
    link->links->closing_tail = &link->next_closing;
}

static void close_now(struct dp_link *link)
{
    struct sy_status status = {.code = link->why, .message = link->why_text};
    dp_links_end_call(link->links, sy_take(link->call), &status);
    lost(link, status.code, status.message.text);
}

/* ---- the call's events ---- */

static void sink_message(void *ctx, struct sy_span message)
{
    struct dp_link *link = ctx;
    link->links->touch(link->links->ctx);
    if (!dp_link_usable(link))
        return;
    link->heard_ns = sy_loop_now_ns(link->links->loop);
    link->ops->on_message(link, message);
}

static void sink_writable(void *ctx)
{
    struct dp_link *link = ctx;
    link->links->touch(link->links->ctx);
    dp_link_mark(link);
}

static void sink_closed(void *ctx, const struct sy_status *status)
{
    struct dp_link *link = ctx;
    link->links->touch(link->links->ctx);
    SY_ASSERT(link->call);
    struct sy_call *call = sy_take(link->call);
    bool ours = link->is_closing; /* decided in this turn, before the peer's end came */
    struct sy_error_text why = ours ? link->why_text : status->message;
    enum sy_code code = ours ? link->why : status->code;
    lost(link, code, why.text);
    sy_call_unref(call);
}

const struct sy_call_sink dp_link_sink = {
    .on_message = sink_message,
    .on_writable = sink_writable,
    .on_closed = sink_closed,
    .on_half_closed = NULL,
};

static void on_timer(void *arg)
{
    struct dp_link *link = arg;
    link->links->touch(link->links->ctx);
    int64_t now_ns = sy_loop_now_ns(link->links->loop);
    if (now_ns >= link->heard_ns + link->lease_ns)
        dp_link_close(link, SY_CODE_UNAVAILABLE, "silent for %lld ms",
                      (long long)((now_ns - link->heard_ns) / SY_NS_PER_MS));
    else if (link->stuck_ns > 0 && now_ns >= link->stuck_ns + link->lease_ns)
        dp_link_close(link, SY_CODE_RESOURCE_EXHAUSTED,
                      "the peer has read nothing for %lld ms, %zu bytes wait",
                      (long long)((now_ns - link->stuck_ns) / SY_NS_PER_MS), link->queued_bytes);
    else if (link->heartbeat_ns > 0 && now_ns >= link->sent_ns + link->heartbeat_ns)
        dp_link_flag(link, link->ops->heartbeat_field);
    start_timer(link);
}

/* ---- sending ---- */

void dp_link_mark(struct dp_link *link)
{
    if (link->is_dirty || !dp_link_usable(link))
        return;
    link->is_dirty = true;
    link->next_dirty = NULL;
    *link->links->dirty_tail = link;
    link->links->dirty_tail = &link->next_dirty;
}

static void queued(struct dp_link *link, uint32_t field, size_t bytes)
{
    link->queues[field].put += bytes;
    link->queued_bytes += bytes;
    dp_link_mark(link);
    if (link->queued_bytes > link->queued_max)
        dp_link_close(link, SY_CODE_RESOURCE_EXHAUSTED,
                      "the peer reads too slowly: more than %zu bytes wait for it",
                      link->queued_max);
}

void dp_link_put(struct dp_link *link, uint32_t field, struct sy_span record)
{
    SY_ASSERT(field < DP_LINK_FIELDS);
    if (!dp_link_usable(link))
        return;
    struct sy_buf *buf = &link->queues[field].buf;
    size_t before = buf->len;
    dp_wire_put_record(buf, field, record);
    queued(link, field, buf->len - before);
}

void dp_link_flag(struct dp_link *link, uint32_t field)
{
    SY_ASSERT(field < DP_LINK_FIELDS);
    if (!dp_link_usable(link))
        return;
    link->flags |= 1u << field;
    dp_link_mark(link);
}

static size_t queue_len(const struct dp_queue *queue)
{
    return queue->buf.len - queue->head;
}

/* Moves `n` bytes from the front of a queue into the message. A whole queue that comes first is
 * handed over without being copied: mostly that is all there is. */
static void move(struct dp_queue *queue, size_t n, struct sy_buf *message)
{
    SY_ASSERT(n <= queue_len(queue));
    queue->sent += n;
    if (message->len == 0 && queue->head == 0 && n == queue->buf.len) {
        sy_buf_deinit(message);
        *message = sy_buf_take(&queue->buf);
        return;
    }
    sy_buf_append(message, queue->buf.data + queue->head, n);
    queue->head += n;
    if (queue->head == queue->buf.len) {
        sy_buf_clear(&queue->buf);
        if (queue->buf.cap > DP_LINK_MESSAGE_BYTES) /* one flood must not be kept for ever */
            sy_buf_deinit(&queue->buf);
        queue->head = 0;
    } else if (queue->head > queue->buf.len / 2) {
        sy_buf_consume(&queue->buf, queue->head);
        queue->head = 0;
    }
}

/* False when the message is full. */
static bool pack_field(struct dp_link *link, uint32_t field, struct sy_buf *message)
{
    struct dp_queue *queue = &link->queues[field];
    size_t len = queue_len(queue);
    if (len > 0) {
        bool whole = (link->ops->whole_fields & 1u << field) != 0;
        if (message->len > 0 && (message->len >= DP_LINK_MESSAGE_BYTES ||
                                 (whole && message->len + len > DP_LINK_MESSAGE_BYTES)))
            return false;
        struct sy_span span = {queue->buf.data + queue->head, len};
        size_t room = message->len < DP_LINK_MESSAGE_BYTES ? DP_LINK_MESSAGE_BYTES - message->len
                                                           : 0;
        size_t n = whole ? len : dp_wire_cut(span, room);
        if (message->len > 0 && n > room)
            return false;
        move(queue, n, message);
        link->queued_bytes -= n;
        if (n < len)
            return false;
    }
    if (link->flags & 1u << field) {
        dp_wire_put_u64(message, field, 1);
        link->flags &= ~(1u << field);
    }
    return true;
}

static void pack(struct dp_link *link, struct sy_buf *message)
{
    for (uint32_t field = 1; field < DP_LINK_FIELDS; field++) {
        if (!pack_field(link, field, message))
            return;
    }
}

static void flush(struct dp_link *link)
{
    if (!dp_link_usable(link))
        return;
    int64_t now_ns = sy_loop_now_ns(link->links->loop);
    if (!sy_call_ready(link->call)) { /* on_writable goes on */
        if (link->stuck_ns == 0)
            link->stuck_ns = now_ns;
        return;
    }
    link->stuck_ns = 0;
    if (link->ops->before_pack)
        link->ops->before_pack(link);
    if (!dp_link_usable(link) || (link->queued_bytes == 0 && link->flags == 0))
        return;
    struct sy_buf message = {0};
    pack(link, &message);
    SY_ASSERT(message.len > 0);
    link->sent_ns = now_ns;
    int r = sy_call_send(link->call, &message);
    SY_ASSERT(r == 0); /* it was ready */
    (void)sy_call_ready(
        link->call); /* on_writable goes on with what is left, or comes until then */
}

void dp_links_turn_end(struct dp_links *links)
{
    struct dp_link *link;
    do {
        while ((link = links->closing) != NULL)
            close_now(link); /* leaves the list; may add others */
        while ((link = links->dirty) != NULL) {
            links->dirty = link->next_dirty;
            if (!links->dirty)
                links->dirty_tail = &links->dirty;
            link->is_dirty = false;
            link->next_dirty = NULL;
            flush(link); /* may add to closing */
        }
    } while (links->closing);
}
