/*
 * One stream between the operator and a shard or an agent.
 *
 * Batching. Records are gathered in one queue for each field of the outgoing message. At the end of
 * a turn, when nothing waits to be sent, what has been gathered becomes one message (fields in
 * order, at most about 1 MiB): under load hundreds of records share a message, alone a record
 * goes at once.
 *
 * Bounds. A link may queue `queued_max` bytes, and may be unable to send for one lease. Beyond
 * either the peer does not read: the link is closed with RESOURCE_EXHAUSTED. What was queued is
 * lost with it; the operator core tells it anew when the peer is back.
 *
 * Lease. Silence longer than the lease closes the link; a heartbeat goes out when nothing else did.
 * Measured on the loop's monotonic clock; dp_link_forgive() restarts it after our own stall.
 *
 * Closing. dp_link_close() only notes it: nothing of the link is touched before the turn ends, so
 * it may be called anywhere. Then, or when the peer closes, ops->on_lost runs once; the link is
 * then down and may be opened again or freed.
 *
 * Owned by the operator's loop.
 */
#pragma once

#include "base/rpc.h"
#include "dataplane/wire.h"

#define DP_LINK_FIELDS 20 /* field numbers below this */
#define DP_LINK_MESSAGE_BYTES ((size_t)1 << 20)

struct dp_link;

struct dp_link_ops {
    /* One message of the peer. A bad one is answered with dp_link_close(). */
    void (*on_message)(struct dp_link *link, struct sy_span message);
    /* The last chance to queue before a message is packed. May be NULL. */
    void (*before_pack)(struct dp_link *link);
    /* It is down. */
    void (*on_lost)(struct dp_link *link, enum sy_code code, const char *why);
    uint32_t heartbeat_field; /* a bool of the outgoing message */
    /* Bit n: the records of field n are never spread over two messages. */
    uint32_t whole_fields;
};

/* What all links of an operator share. */
struct dp_links {
    struct sy_loop *loop;
    struct dp_link *dirty, **dirty_tail;     /* have something to send */
    struct dp_link *closing, **closing_tail; /* to be closed at the end of the turn */
    struct dp_ending *endings;               /* calls that end, until the transport says so */
    void (*touch)(void *ctx);                /* runs first in every callback */
    void (*on_ended)(void *ctx);             /* `endings` has become empty */
    void *ctx;
};
void dp_links_init(struct dp_links *links, struct sy_loop *loop, void (*touch)(void *ctx),
                   void (*on_ended)(void *ctx), void *ctx);
void dp_links_deinit(struct dp_links *links);
/* At the end of a turn: closes what is to be closed, then sends what can be sent. */
void dp_links_turn_end(struct dp_links *links);
/* Ends a call, and keeps it until the transport is done with it. Takes the reference. */
void dp_links_end_call(struct dp_links *links, struct sy_call *call,
                       const struct sy_status *status);

struct dp_queue {
    struct sy_buf buf;
    size_t head;        /* bytes that are sent already */
    uint64_t put, sent; /* bytes ever */
};

struct dp_link {
    struct dp_links *links;
    const struct dp_link_ops *ops;
    struct sy_call *call; /* NULL: down */
    struct dp_queue queues[DP_LINK_FIELDS];
    uint32_t flags; /* bit n: send field n, a bool, once the queue of field n - 1 is empty */
    size_t queued_bytes, queued_max;
    int64_t heartbeat_ns, lease_ns;
    int64_t heard_ns, sent_ns;
    int64_t stuck_ns; /* since when something waits and cannot be sent; 0 = it can */
    struct sy_timer timer;
    struct dp_link *next_dirty, *next_closing;
    bool is_dirty, is_closing;
    enum sy_code why;
    struct sy_error_text why_text;
};
void dp_link_init(struct dp_link *link, struct dp_links *links, const struct dp_link_ops *ops);
/* Without on_lost. */
void dp_link_deinit(struct dp_link *link);

/* The sink to open the call with; its ctx is the link. */
extern const struct sy_call_sink dp_link_sink;
/* Takes the reference. Until dp_link_established() silence of `patience_ns` closes it. */
void dp_link_open(struct dp_link *link, struct sy_call *call, size_t queued_max,
                  int64_t patience_ns);
void dp_link_established(struct dp_link *link, int64_t heartbeat_ns, int64_t lease_ns);
void dp_link_close(struct dp_link *link, enum sy_code code, const char *format, ...)
    SY_PRINTF(3, 4);
static inline bool dp_link_usable(const struct dp_link *link)
{
    return link->call && !link->is_closing;
}
/* The lease starts anew. */
void dp_link_forgive(struct dp_link *link, int64_t now_ns);

/* Queues one record (a sub-message) of a field. Nothing happens while the link is not usable. */
void dp_link_put(struct dp_link *link, uint32_t field, struct sy_span record);
void dp_link_flag(struct dp_link *link, uint32_t field);
/* Something is to be sent that before_pack knows of. */
void dp_link_mark(struct dp_link *link);
/* A mark that is passed when all that the field's queue holds now has been sent. */
static inline uint64_t dp_link_barrier(const struct dp_link *link, uint32_t field)
{
    return link->queues[field].put;
}
static inline bool dp_link_passed(const struct dp_link *link, uint32_t field, uint64_t barrier)
{
    return link->queues[field].sent >= barrier;
}
static inline size_t dp_link_waiting(const struct dp_link *link, uint32_t field)
{
    return link->queues[field].buf.len - link->queues[field].head;
}
