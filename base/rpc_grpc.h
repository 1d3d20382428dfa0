/*
 * Inside the gRPC adapter: what rpc_grpc.c (transport, poller, calls), rpc_grpc_server.c and
 * rpc_grpc_client.c share. No other file may include it: the C core API of gRPC may change with
 * minor versions. Written for 1.51; its traps are named where they are stepped round.
 */
#pragma once

#include "base/rpc_impl.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <pthread.h>

#define RPC_TAG_MAGIC 0x53597461674772c1u  /* the batch is under way */
#define RPC_TAG_LANDED 0x53597461674772c0u /* its completion was taken from the queue */

struct grpc_rpc;

/* The completions for one loop, on their way to it. Lives as long as the transport. */
struct rpc_mailbox {
    struct grpc_rpc *rpc;
    struct sy_loop *loop;
    _Atomic(struct rpc_tag *) head; /* newest first; not empty: the loop has been told */
    struct rpc_mailbox *next;       /* of the transport's list */
    bool draining;                  /* the loop's own */
    /* The poller's own: what this round collected. */
    struct rpc_tag *newest, *oldest;
    struct rpc_mailbox *next_touched;
};

struct rpc_tag;
struct rpc_tag_ops {
    /* On the thread that took the completion: the poller's, mostly. Returns the tag to hand to its
     * loop: mostly `tag`; NULL when there is nothing to do there (and `tag` may be gone). Absent:
     * `tag`. */
    struct rpc_tag *(*poller)(struct rpc_tag *tag);
    /* On the loop's thread. */
    void (*loop)(struct rpc_tag *tag);
};

/* What travels through gRPC as `void *`. `magic` is stored with release before a batch starts and
 * loaded with acquire when it completes: that is the happens-before edge between the two threads
 * (gRPC has one, but a race detector cannot see into it). */
struct rpc_tag {
    _Atomic(uint64_t) magic;
    const struct rpc_tag_ops *ops;
    /* Changes when the call moves to another loop; whoever finds a tag in a mailbox that is not
     * this one hands it on. */
    _Atomic(struct rpc_mailbox *) mailbox;
    struct rpc_tag *next;
    bool success;
};

/* One received message. Completions may overtake each other on their way to the loop (see
 * rpc_tag_start_on_loop()), which therefore handles slots in their order. */
struct rpc_slot {
    struct rpc_tag tag;
    bool landed;
    struct grpc_rpc_call *call;
    grpc_byte_buffer *bytes;
    struct sy_rpc_message message;
    size_t charged; /* of the window */
};

/* A copy that the port handed out: metadata, peer. Freed with the call. */
struct rpc_text {
    struct rpc_text *next;
    const char *key; /* behind the text */
    char text[];
};

struct grpc_rpc_call {
    struct sy_call base;
    grpc_call *call;
    struct rpc_mailbox *mailbox;
    struct rpc_text *texts;

    struct rpc_tag send_tag;
    grpc_byte_buffer *sending;
    bool sent_initial_metadata;

    /* The last completion: RECV_STATUS on the client, RECV_CLOSE on the server. */
    struct rpc_tag end_tag;
    bool receiving; /* on the loop: the end of receiving has not been seen */
    bool end_seen;
    int close_cancelled;              /* server; gRPC writes it, so it lives here */
    grpc_metadata_array metadata;     /* server: the request's; client: initial, unused */
    grpc_metadata_array trailing;     /* client */
    grpc_status_code status_code;     /* client */
    grpc_slice status_message;        /* client */
    struct grpc_rpc_server *server;   /* server */
    struct grpc_rpc_channel *channel; /* client */
    struct rpc_tag accept_tag;        /* server: carries the call to its loop */
    struct rpc_move {                 /* server: asked for by the handler that is running */
        struct rpc_mailbox *to;       /* NULL: none */
        sy_fn fn;
        void *arg;
    } move;

    /* Receiving. Messages completed and not yet released: count << 40 | bytes. Who brings it over
     * the limit (the poller) stops receiving; who brings it back (the loop) starts again. */
    _Atomic(uint64_t) window;
    uint32_t received;   /* loop: messages seen and not yet released */
    uint32_t slot_due;   /* loop: the slot to handle next */
    uint32_t slot_next;  /* who starts the receive: the slot to use */
    uint32_t slot_count; /* 1 for unary calls, where nothing is received again */
    struct rpc_slot slots[];
};

struct grpc_rpc {
    struct sy_rpc base;
    grpc_completion_queue *cq;
    grpc_channel_credentials *client_credentials;
    grpc_server_credentials *server_credentials;
    pthread_t poller;
    pthread_mutex_t mutex;
    struct rpc_mailbox *mailboxes;
    int keepalive_time_ms, keepalive_timeout_ms;
    atomic_size_t users; /* servers and channels, which calls keep alive */
};

struct grpc_rpc *grpc_rpc_of(struct sy_rpc *rpc);
struct rpc_mailbox *rpc_mailbox_get(struct grpc_rpc *rpc, struct sy_loop *loop);

/* Starts a batch with `tag`; our own mistakes in it abort. */
void rpc_tag_start(struct rpc_tag *tag, grpc_call *call, const grpc_op *ops, size_t count);
/* The same on the thread of mailbox->loop. What completes at once, as most sends do, goes into the
 * mailbox directly: waking the poller, that it may wake this loop, costs more than the send. */
void rpc_tag_start_on_loop(struct rpc_mailbox *mailbox, struct rpc_tag *tag, grpc_call *call,
                           const grpc_op *ops, size_t count);
/* For the other functions that take a tag. */
void *rpc_tag_arm(struct rpc_tag *tag);

struct grpc_rpc_call *grpc_rpc_call_new(struct rpc_mailbox *mailbox, uint32_t slot_count);
/* The parts that client and server share. */
void grpc_rpc_call_free(struct grpc_rpc_call *call);
void grpc_rpc_call_release(struct sy_call *base, struct sy_rpc_message *message);
const char *grpc_rpc_call_peer(struct sy_call *base);
/* A NUL-terminated copy of `value`, kept in the call; the same one when asked again. */
const char *rpc_text_find(const struct grpc_rpc_call *call, const char *key);
const char *rpc_text_add(struct grpc_rpc_call *call, const char *key, const void *value,
                         size_t len);
/* Server: what sy_call_rehome() asked for. The last that the old loop does with the call. */
void grpc_rpc_call_move(struct grpc_rpc_call *call);
/* Starts the next receive; on the poller's thread or the loop's, see `window`. */
void grpc_rpc_call_receive(struct grpc_rpc_call *call, bool on_loop);
/* After the end of the call was seen (loop): when receiving is stalled, nothing will come that
 * could end it, so it is ended here. May free the call. */
void grpc_rpc_call_receive_settle(struct grpc_rpc_call *call);
/* A received byte buffer as one span; makes it contiguous when it is not. */
struct sy_span rpc_bytes_span(grpc_byte_buffer **bytes);
/* Takes the bytes. */
grpc_byte_buffer *rpc_bytes_from(struct sy_buf *message);

extern const struct rpc_tag_ops rpc_send_tag_ops;
extern const struct rpc_tag_ops rpc_slot_tag_ops;

/* rpc_grpc_server.c, rpc_grpc_client.c */
struct sy_server *grpc_rpc_server_new(struct sy_rpc *rpc, const struct sy_server_options *options);
struct sy_channel *grpc_rpc_channel_new(struct sy_rpc *rpc, const char *target);
