/*
 * What the adapters of base/rpc.h share: the state of a call, and the vtables through which rpc.c
 * reaches the transport. Nobody else includes this header.
 *
 * Division of labour. rpc.c owns what a user of the port sees: sinks, the bounded send queue, order
 * of callbacks, admission of messages, statuses, references. An adapter only moves: it sends one
 * thing at a time when rpc.c says so, and reports through the sy_rpc_* functions below what came.
 * Both adapters thereby behave alike, and the simulator exercises the code that production runs.
 *
 * Threads. All of a struct sy_call belongs to its loop's thread, its reference count too (it is not
 * atomic). An adapter reports events only from a callback of that loop, never inside a call that
 * rpc.c made into it, so that callbacks never nest.
 *
 * Life of a call. The adapter holds one reference from sy_rpc_call_init() until the transport is
 * through with the call: the end is known (sy_rpc_ended), nothing more is received
 * (sy_rpc_receive_ended) and no send is in flight (sy_rpc_sent). Only then on_closed runs, so after
 * on_closed the transport never touches the call again.
 *
 *      NEW ----handler runs----> LIVE ----sy_rpc_ended----> ENDED ----all settled----> DONE
 *       |  (server only)                                      ^                         |
 *       +----------cancelled before the request came----------+             on_closed   v
 *                                                                                     CLOSED
 *
 * Threads of the gRPC adapter (rpc_grpc*.c). One completion queue and one poller thread serve the
 * whole process. The poller collects what is complete without waiting, sorts it by loop into
 * mailboxes, and wakes each loop once. Loops start sends themselves. Receives are started again by
 * the poller as long as few messages wait for the loop (gRPC allows batches that only receive
 * beside batches that only send), which spares a hop between the threads for each message.
 */
#pragma once

#include "base/rpc.h"

#include <stdatomic.h>

#define SY_RPC_MESSAGE_BYTES_MAX ((size_t)16 << 20)
#define SY_RPC_SEND_BUFFER_MAX ((size_t)1 << 20)
#define SY_RPC_STREAMS_MAX ((size_t)20000)
/* Received messages of one stream that may wait for the loop; the byte limit stops earlier. */
#define SY_RPC_WINDOW_MESSAGES 8
#define SY_RPC_WINDOW_BYTES ((size_t)128 << 10)
/* What a queued message costs beside its bytes, so that empty messages are bounded too. */
#define SY_RPC_MESSAGE_COST 64
/* Larger details would push the status over the 8 KiB that gRPC allows for headers. */
#define SY_RPC_DETAILS_MAX ((size_t)4096)

/* ---- calls ---- */

/* A received message. The adapter embeds it and gets it back through ops->release. */
struct sy_rpc_message {
    struct sy_rpc_message *next;
    struct sy_span span;
};

enum sy_rpc_send_flags {
    SY_RPC_SEND_END = 1,  /* nothing follows: the server's status, or the client's half-close */
    SY_RPC_SEND_MORE = 2, /* another message follows at once: may be buffered */
};

struct sy_call_ops {
    /* Whether messages that are sent in one turn reach `send` together, after it. */
    bool gathers;
    /* One thread drives all loops (in memory): what goes from one to another may do so at once. */
    bool one_thread;
    /* Sends `message` (bytes taken; NULL = none) and, by flags, the end: on the server with
     * call->end_status (NULL = OK). One at a time, except for what it takes by sy_rpc_send_more();
     * sy_rpc_sent() answers for all of it in a later turn. */
    void (*send)(struct sy_call *call, struct sy_buf *message, unsigned flags);
    /* Client only. sy_rpc_ended() follows, as it would have without. */
    void (*cancel)(struct sy_call *call);
    /* The owner is done with the message: its bytes go, the window opens. */
    void (*release)(struct sy_call *call, struct sy_rpc_message *message);
    /* Server: see sy_call_rehome(). */
    void (*rehome)(struct sy_call *call, struct sy_loop *loop, sy_fn fn, void *arg);
    const char *(*metadata)(struct sy_call *call, const char *key);
    const char *(*peer)(struct sy_call *call);
    void (*free)(struct sy_call *call);
};

enum sy_call_kind { SY_CALL_CLIENT_UNARY, SY_CALL_CLIENT_STREAM, SY_CALL_SERVER };
enum sy_call_life {
    SY_CALL_NEW,
    SY_CALL_LIVE,
    SY_CALL_ENDED,
    SY_CALL_DONE,
    SY_CALL_CLOSED,
};
enum sy_call_send_state { SY_SEND_OPEN, SY_SEND_ENDING, SY_SEND_ENDED };
enum sy_call_recv_state { SY_RECV_OPEN, SY_RECV_HALF_CLOSED, SY_RECV_ENDED };

struct sy_call {
    const struct sy_call_ops *ops;
    struct sy_loop *loop;
    const struct sy_call_sink *sink;
    void *sink_ctx;
    sy_reply_fn reply; /* client unary */
    void *reply_ctx;

    struct sy_server *server; /* server */
    const struct sy_method *method;
    char *method_name; /* client */
    int64_t deadline_ns;

    struct sy_rpc_message *inbox, **inbox_tail; /* received, not delivered */
    struct sy_buf *queue;                       /* to send: a ring */
    uint32_t queue_head, queue_count, queue_cap;
    size_t out_bytes;     /* cost of what is queued and in flight */
    size_t sending_bytes; /* of that, in flight */
    size_t send_buffer_max;
    struct sy_status *end_status;    /* server: to be sent; NULL = OK */
    struct sy_status *closed_status; /* how it ended; NULL = OK */
    struct sy_timer kick;            /* delivers what waited for a sink, sends what was gathered */

    uint32_t refs;
    uint8_t kind, life, send, recv;
    bool sending;    /* ops->send is in progress */
    bool finished;   /* the owner called sy_call_finish() */
    bool wants_room; /* was told SY_RPC_E_FULL */
    bool wants_idle; /* was told that it is not ready */
};

/* `call` is zeroed memory of the adapter; the adapter owns the first reference. */
void sy_rpc_call_init(struct sy_call *call, const struct sy_call_ops *ops, enum sy_call_kind kind,
                      struct sy_loop *loop);
/* Client: copies the method's name and works out the deadline. */
void sy_rpc_call_set_options(struct sy_call *call, const struct sy_call_options *options);
/* The rest of freeing: what sy_rpc_call_init() and the port put into the call. */
void sy_rpc_call_deinit(struct sy_call *call);

/* Events. The adapter must hold its reference; each may run callbacks. Those that settle the call
 * (receive_ended, sent, ended) may free it: the adapter must not touch it afterwards. */
void sy_rpc_accepted(struct sy_call *call); /* server: the call reached its loop */
void sy_rpc_message_received(struct sy_call *call, struct sy_rpc_message *message);
/* Nothing more is received: the peer half-closed, or the call is ending. */
void sy_rpc_receive_ended(struct sy_call *call, bool half_closed);
void sy_rpc_sent(struct sy_call *call); /* what ops->send was given, well or badly */
/* In ops->send, when the flags were SY_RPC_SEND_MORE: the message after it, and its flags. */
unsigned sy_rpc_send_more(struct sy_call *call, struct sy_buf *ret_message);
/* The end is known. Takes a heap status, NULL = OK. On the server any status but NULL means that
 * the call ended otherwise than by its own finish. */
void sy_rpc_ended(struct sy_call *call, struct sy_status *status);
/* The owner's process died (rpc_mem): no callback runs any more. Drops the adapter's reference. */
void sy_rpc_abandon(struct sy_call *call);

struct sy_status *sy_rpc_status_new(enum sy_code code, const char *format, ...) SY_PRINTF(2, 3);
/* Without details that are too large to be sent. */
struct sy_status *sy_rpc_status_copy(const struct sy_status *status);
void sy_rpc_status_free(struct sy_status *status);

/* ---- servers, channels, transports ---- */

struct sy_server_ops {
    /* Takes the address; sets server->port. */
    int (*bind)(struct sy_server *server, struct sy_error_text *error);
    void (*start)(struct sy_server *server);
    void (*drain)(struct sy_server *server, int64_t grace_ns);
    /* A call of another adapter begins (any thread); call_done follows, then call_freed. */
    void (*call_begun)(struct sy_server *server);
    /* A call of this server has ended (its loop's thread). */
    void (*call_done)(struct sy_server *server);
    /* The memory of a call of another adapter goes, and with the last of all the server's. */
    void (*call_freed)(struct sy_server *server);
    void (*free)(struct sy_server *server);
};

struct sy_server {
    const struct sy_server_ops *ops;
    char *address;
    bool http;
    char **allow_origins;
    size_t allow_origin_count; /* 0: no browser's pages of elsewhere */
    const struct sy_codec *codec;
    size_t message_bytes_max, send_buffer_max, streams_max;
    struct sy_method *methods; /* sorted by path once started */
    size_t method_count;
    struct sy_http_route *routes;
    size_t route_count;
    int port;
    bool bound, started;
    atomic_size_t calls;        /* in progress */
    struct carry_server *carry; /* rpc_carry_server.c; NULL: none */
    struct sy_loop *drain_loop;
    sy_fn on_drained;
    void *drained_ctx;
};

void sy_rpc_server_init(struct sy_server *server, const struct sy_server_ops *ops,
                        const struct sy_server_options *options);
void sy_rpc_server_deinit(struct sy_server *server);
/* Whether a call of `path` may begin; NULL with the reason, which is the client's status. */
const struct sy_method *sy_rpc_server_admit(const struct sy_server *server, const void *path,
                                            size_t len, struct sy_status **ret_status);

/* "host:port", "[::1]:port" or ":port", to listen on; for freeaddrinfo(). -EINVAL: none of them. */
struct addrinfo;
int sy_rpc_resolve(const char *address, struct addrinfo **ret_info) SY_MUST_USE;

struct sy_channel_ops {
    /* Makes and starts a call; for a unary one `request` (taken) and the half-close go with it,
     * and one sy_rpc_sent() answers for them. */
    struct sy_call *(*call)(struct sy_channel *channel, struct sy_loop *loop,
                            const struct sy_call_options *options, enum sy_call_kind kind,
                            struct sy_buf *request);
    void (*free)(struct sy_channel *channel);
};

struct sy_channel {
    const struct sy_channel_ops *ops;
};

struct sy_rpc_ops {
    struct sy_server *(*server_new)(struct sy_rpc *rpc, const struct sy_server_options *options);
    struct sy_channel *(*channel_new)(struct sy_rpc *rpc, const char *target);
    bool (*busy)(struct sy_rpc *rpc); /* NULL: never */
    void (*free)(struct sy_rpc *rpc);
};

struct sy_rpc {
    const struct sy_rpc_ops *ops;
};

/* As sy_rpc_grpc_new(), with other keepalive times: for tests that freeze a peer. */
int sy_rpc_grpc_new_keepalive(struct sy_rpc **ret_rpc, int time_ms, int timeout_ms,
                              struct sy_error_text *error) SY_MUST_USE;
