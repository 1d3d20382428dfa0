/*
 * Inside the in-memory adapter: what rpc_mem.c (calls and their events) and rpc_mem_server.c
 * (servers, channels, the transport) share.
 *
 * One thread drives all loops of a world, and they share one monotonic clock. Nothing happens
 * inside a call into the port: whatever is sent becomes an event in the receiver's queue, and a
 * timer of the receiver's loop delivers it.
 *
 * A call is a pair of struct mem_call, one for each side, that know each other until either side
 * has ended. Events under way belong to the receiver. Flow control is that of HTTP/2: a send
 * completes when no more than MEM_WINDOW_BYTES of it and what went before wait for the receiver.
 */
#pragma once

#include "base/rpc_impl.h"

#define MEM_WINDOW_BYTES ((size_t)64 << 10)

struct mem_rpc {
    struct sy_rpc base;
    struct sy_rpc_mem_plan plan;
    char *origin;
    struct mem_server *servers; /* that listen */
    struct mem_call *calls, **calls_tail;
    size_t refs; /* the owner, servers, channels, calls */
    int next_port;
};

enum mem_server_state {
    MEM_SERVER_IDLE,
    MEM_SERVER_LISTENING,
    MEM_SERVER_DRAINING,
    MEM_SERVER_DEAD
};

struct mem_server {
    struct sy_server base;
    struct mem_rpc *rpc;
    struct mem_server *next;
    char *origin;
    enum mem_server_state state;
    struct sy_timer grace, drained;
    size_t refs; /* the owner, calls */
};

struct mem_channel {
    struct sy_channel base;
    struct mem_rpc *rpc;
    char *origin, *target;
    size_t refs; /* the owner, calls */
};

enum mem_event_kind {
    MEM_OPEN,
    MEM_MESSAGE,
    MEM_HALF_CLOSE,
    MEM_END,   /* the server's status, after its messages */
    MEM_RESET, /* the call is over; overtakes messages that wait for room */
};

struct mem_event {
    struct mem_event *next;
    enum mem_event_kind kind;
    int64_t due_ns;
    struct sy_buf bytes;      /* MEM_MESSAGE */
    struct sy_status *status; /* MEM_END, MEM_RESET; NULL = OK */
    struct sy_rpc_message message;
};

struct mem_call {
    struct sy_call base;
    struct mem_rpc *rpc;
    struct mem_call *next, **prev; /* of the transport's list, in order of making */
    struct mem_call *peer;         /* NULL: not connected yet, or gone */
    struct mem_channel *channel;   /* both sides */
    struct mem_server *server;     /* both sides, once connected */
    struct sy_metadata *metadata;
    size_t metadata_count;
    /* Arriving here. */
    struct mem_event *events, **events_tail;
    struct sy_timer arrival;
    int64_t last_due_ns;     /* nothing overtakes within a stream */
    size_t unread_bytes;     /* cost of messages under way here or not yet released */
    size_t held, held_bytes; /* given to rpc.c and not yet released */
    /* Sending from here. */
    struct sy_timer sent;
    bool sent_waits; /* for the peer to read */
    bool parked;     /* `parked_*` wait for the connection */
    bool parked_has_message;
    unsigned parked_flags;
    struct sy_buf parked_message;
    bool end_sent;
    /* The client's. */
    bool wait_for_ready;
    struct sy_timer retry;
    int64_t retry_ns;
    struct sy_timer deadline;
};

/* Not the loop's when it does not run: the loop may be gone already. */
void mem_timer_stop(struct sy_loop *loop, struct sy_timer *timer);
void mem_rpc_unref(struct mem_rpc *rpc);
void mem_server_unref(struct mem_server *server);
void mem_channel_unref(struct mem_channel *channel);

/* What struct sy_channel_ops calls. */
struct sy_call *mem_channel_call(struct sy_channel *base, struct sy_loop *loop,
                                 const struct sy_call_options *options, enum sy_call_kind kind,
                                 struct sy_buf *request);
bool mem_call_is_server(const struct mem_call *call);
/* The connection under the call breaks: both sides hear of it in a later turn. */
void mem_call_break(struct mem_call *call, int64_t now_ns, const char *why);
/* The side's process is dead: nobody is told anything. May free the call. */
void mem_call_abandon(struct mem_call *call);
/* NULL when nobody listens there. */
struct mem_server *mem_server_find(struct mem_rpc *rpc, const char *address);
