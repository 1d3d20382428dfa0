/*
 * Unary calls that travel over one stream between two processes instead of each as a call of the
 * transport: what rpc_carry.c (bytes), rpc_carry_client.c and rpc_carry_server.c share, and their
 * tests. sy_server_carry() and sy_channel_carry() of rpc.h are the way in.
 *
 * Wire. One bidi stream of CARRY_PATH; each of its messages is some frames, one after the other:
 *
 *      kind: 1 byte | id: 4 bytes | length: 4 bytes | body          (numbers big-endian)
 *
 *      client --- CALL, CANCEL -----------> server
 *             <-- HELLO, ANSWER, LEAVE ----
 *
 * The server begins with HELLO; a peer of another version knows no such method, and is called as
 * ever. An id is a slot (below CARRY_CALLS_MAX) and a number that tells its uses apart; a slot is
 * free again after ANSWER at the server, after ANSWER or CANCEL at the client. After LEAVE (the
 * server drains) no CALL is sent any more: the client ends its side, the server the stream, when
 * all that it was asked has been answered.
 *
 * Bounds. A client has so many calls and so many bytes on one stream; what does not fit, is large,
 * is no unary call, or waits for a peer that is away, goes through the channel below. Answers wait
 * at the server, each with its call, until the stream takes them.
 *
 * When the stream breaks, calls on it end UNAVAILABLE at the client, CANCELLED at the server.
 */
#pragma once

#include "base/rpc_impl.h"

#define CARRY_PATH "/switchyard.internal.Carrier/Carry"
#define CARRY_CALLS_MAX 1024
#define CARRY_STREAMS_MAX 256 /* of one server */
#define CARRY_REQUEST_BYTES_MAX ((size_t)64 << 10)
#define CARRY_HEAD_BYTES_MAX ((size_t)16 << 10)
#define CARRY_BATCH_BYTES_MAX ((size_t)256 << 10) /* of a message, unless one answer is larger */
#define CARRY_ANSWER_BYTES_MAX (SY_RPC_MESSAGE_BYTES_MAX - ((size_t)64 << 10))

enum carry_kind {
    CARRY_HELLO = 1,
    CARRY_CALL,   /* timeout (8 bytes, ns; 0: none), length of the head, head, request */
    CARRY_CANCEL, /* nobody waits for the answer any more */
    CARRY_ANSWER, /* code, length of the text, length of the details, these two, response */
    CARRY_LEAVE,
};

struct carry_frame {
    uint8_t kind;
    uint32_t id;
    struct sy_span body;
};
/* 1: the next one, and *rest begins behind it; 0: there is none; -EBADMSG. */
int carry_next(struct sy_span *rest, struct carry_frame *ret) SY_MUST_USE;

struct carry_call {
    int64_t timeout_ns;
    struct sy_span head; /* the path, then keys and values, each ended by a NUL */
    struct sy_span request;
};
int carry_read_call(struct sy_span body, struct carry_call *ret) SY_MUST_USE;

struct carry_answer {
    uint32_t code;
    struct sy_span text, details, response;
};
int carry_read_answer(struct sy_span body, struct carry_answer *ret) SY_MUST_USE;

void carry_put(struct sy_buf *out, enum carry_kind kind, uint32_t id); /* without a body */
size_t carry_head_bytes(const struct sy_call_options *options);
void carry_put_call(struct sy_buf *out, uint32_t id, const struct sy_call_options *options,
                    struct sy_span request);
void carry_put_answer(struct sy_buf *out, uint32_t id, const struct sy_status *status,
                      struct sy_span response);

/* Calls are carried just now; for tests. */
bool carry_channel_up(struct sy_channel *channel);

/* rpc_carry_server.c, for rpc.c: */
struct carry_server;
size_t carry_server_streams(const struct carry_server *carry); /* any thread */
void carry_server_drain(struct carry_server *carry);           /* on its loop */
void carry_server_abandon(struct carry_server *carry);         /* the server is being freed */
void carry_server_free(struct carry_server *carry);            /* with the last of its calls */
