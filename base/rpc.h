/*
 * The RPC port: what daemons and clients use to talk to each other. Two adapters implement it:
 * rpc_grpc (gRPC core, production) and rpc_mem (in memory, with faults; tests and simulator).
 *
 * Handler ABI: (method, request bytes) -> response bytes | stream of bytes | status. Nothing here
 * knows protobuf, so that a second protocol (Connect) can call the same handlers.
 *
 * Threads. Each call belongs to one loop: on the server the one that the service's route function
 * chose, on the client the one that opened it. Handlers, sinks and replies run on that loop's
 * thread, and every sy_call_* function must be called there. Callbacks never run inside a call
 * into this API. Channels, servers and the transport may be used from any loop; a server is drained
 * on the loop given for that. A loop must outlive the
 * transport, whose poller may still be about to wake it.
 *
 * Flow control. A stream holds at most `send_buffer_max` bytes that the peer has not taken;
 * sy_call_send() then returns SY_RPC_E_FULL and on_writable tells when to go on. The receiving side
 * reads the next message only after on_message returned and no more than a few wait for the
 * loop, so a slow loop slows its peer. A completed send means "accepted by flow control", never
 * "read by the peer": acknowledgements are messages of the protocol.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

/* The gRPC codes (grpc/status.h; also Connect's, by name). */
enum sy_code {
    SY_CODE_OK = 0,
    SY_CODE_CANCELLED = 1,
    SY_CODE_UNKNOWN = 2,
    SY_CODE_INVALID_ARGUMENT = 3,
    SY_CODE_DEADLINE_EXCEEDED = 4,
    SY_CODE_NOT_FOUND = 5,
    SY_CODE_ALREADY_EXISTS = 6,
    SY_CODE_PERMISSION_DENIED = 7,
    SY_CODE_RESOURCE_EXHAUSTED = 8,
    SY_CODE_FAILED_PRECONDITION = 9,
    SY_CODE_ABORTED = 10,
    SY_CODE_OUT_OF_RANGE = 11,
    SY_CODE_UNIMPLEMENTED = 12,
    SY_CODE_INTERNAL = 13,
    SY_CODE_UNAVAILABLE = 14,
    SY_CODE_DATA_LOSS = 15,
    SY_CODE_UNAUTHENTICATED = 16,
};
const char *sy_code_name(enum sy_code code); /* "INVALID_ARGUMENT" */

struct sy_status {
    enum sy_code code;
    struct sy_error_text message; /* gRPC loses the whole status when headers pass 8 KiB */
    /* A serialized google.rpc.Status, or empty. For the same reason more than 4 KiB is not sent. */
    struct sy_buf details;
};
/* Replaces code and message, and empties the details; `status` must have been zeroed once. */
void sy_status_set(struct sy_status *status, enum sy_code code, const char *format, ...)
    SY_PRINTF(3, 4);
void sy_status_vset(struct sy_status *status, enum sy_code code, const char *format, va_list args)
    SY_PRINTF(3, 0);
void sy_status_deinit(struct sy_status *status);
/* The client's side says so itself: there was no connection, so the call was never sent. */
bool sy_status_unsent(const struct sy_status *status);

struct sy_metadata {
    const char *key; /* lower case */
    const char *value;
};

/* ---- calls ---- */

struct sy_call;

/* What the owner of a stream wants to hear. Any of them may be NULL, then that is not heard. */
struct sy_call_sink {
    /* One message; `message` is borrowed for the duration of the callback. */
    void (*on_message)(void *ctx, struct sy_span message);
    /* The send buffer has room again after SY_RPC_E_FULL, or (sy_call_ready) nothing waits. */
    void (*on_writable)(void *ctx);
    /* The last callback of the call, exactly once: the peer finished, cancelled, vanished, or the
     * deadline passed. On the client `status` is the server's; on the server it is OK when the
     * call ended by its own sy_call_finish(), CANCELLED otherwise. The call may be used only for
     * sy_call_unref() afterwards. */
    void (*on_closed)(void *ctx, const struct sy_status *status);
    /* Server side, bidi: the client half-closed (will send no more). Not told when the client
     * vanished or cancelled, nor after the server's own sy_call_finish(). */
    void (*on_half_closed)(void *ctx);
};

const char *sy_call_method(const struct sy_call *call); /* "/package.Service/Method" */
const char *sy_call_metadata(const struct sy_call *call, const char *key); /* NULL: absent */
const char *sy_call_peer(const struct sy_call *call);
/* Monotonic; SY_TIME_NEVER without one. */
int64_t sy_call_deadline_ns(const struct sy_call *call);
struct sy_loop *sy_call_loop(const struct sy_call *call);

struct sy_call *sy_call_ref(struct sy_call *call);
void sy_call_unref(struct sy_call *call);

/* Server, in the handler, before a sink is set: once the handler has returned the call belongs to
 * `loop`, and fn(arg) goes on with it on that loop's thread. The handler touches the call no more.
 * (In memory, where there is one thread, fn runs at once.) */
void sy_call_rehome(struct sy_call *call, struct sy_loop *loop, sy_fn fn, void *arg);

/* From now on events go to `sink` with `ctx`; the sink struct must outlive the call. Events that
 * came before are kept (bounded) and delivered in a later turn. A NULL sink keeps them again: that
 * is how to stop reading. Without a sink a handler of a unary method doesn't hear of a
 * cancellation; its reply is then dropped. */
void sy_call_set_sink(struct sy_call *call, const struct sy_call_sink *sink, void *ctx);

#define SY_RPC_E_FULL 1
/* Queues one message; takes the bytes. SY_RPC_E_FULL: it was NOT queued and still belongs to the
 * caller; on_writable follows, once half of the buffer is free. A message counts with 64 bytes more
 * than it has; one larger than the whole buffer is taken when nothing else waits. After the call
 * closed, or after finish or half-close, it drops the message and returns 0. */
int sy_call_send(struct sy_call *call, struct sy_buf *message) SY_MUST_USE;
/* True when nothing waits to be sent: the moment to pack what has been gathered into one message
 * (natural batching). When false, on_writable follows once it becomes true. */
bool sy_call_ready(struct sy_call *call);

/* Server: ends the call with `status` (NULL = OK) after what was queued. Client: cancels.
 * The status is copied. No message is delivered any more; on_closed still follows. */
void sy_call_finish(struct sy_call *call, const struct sy_status *status);
/* Client: no more messages will be sent. */
void sy_call_half_close(struct sy_call *call);

/* Server, unary: send + finish OK, and drops the handler's reference. Takes the bytes. */
void sy_call_reply(struct sy_call *call, struct sy_buf *response);
/* Server: finish with an error, and drops the handler's reference. */
void sy_call_fail(struct sy_call *call, enum sy_code code, const char *format, ...) SY_PRINTF(3, 4);

/* ---- server ---- */

enum sy_method_kind { SY_METHOD_UNARY, SY_METHOD_SERVER_STREAM, SY_METHOD_BIDI };

struct sy_method {
    const char *path; /* "/package.Service/Method"; lives as long as the server */
    enum sy_method_kind kind;
    /* Owns one reference to `call`: it must end in reply, fail, or finish + unref, now or later.
     * `request` is the one request message (unary, server stream; borrowed) or empty (bidi). */
    void (*handler)(void *ctx, struct sy_call *call, struct sy_span request);
    void *ctx;
    struct sy_loop *loop;     /* where the handler runs */
    size_t request_bytes_max; /* larger ones end in RESOURCE_EXHAUSTED; 0 = the server's limit */
};

/* JSON for messages that are bytes here (proto/json.h). Called on the thread of HTTP. */
struct sy_codec {
    /* -EINVAL with a sentence that names the field. */
    int (*request_from_json)(void *ctx, const char *method, struct sy_span json,
                             struct sy_buf *ret_bytes, struct sy_error_text *error);
    int (*response_to_json)(void *ctx, const char *method, struct sy_span bytes,
                            struct sy_buf *ret_json);
    void *ctx;
};

struct sy_http_route; /* base/http.h */

struct sy_server_options {
    const char *address; /* "127.0.0.1:8090", "unix:/run/x.sock" */
    /* Also speak HTTP/1.1 there: the Connect protocol in front of the same methods (unary and
     * server streams), and plain routes. What opens with HTTP/2's preface goes to gRPC. */
    bool http;
    const struct sy_codec *codec; /* for JSON bodies; NULL: binary ones only. Outlives the server */
    /* HTTP: origins whose pages a browser lets call us ("https://console.example"; "*": any page).
     * None is right for a server that anyone who reaches it may use. Copied. */
    const char *const *allow_origins;
    size_t allow_origin_count;
    size_t message_bytes_max; /* receive; default 16 MiB */
    size_t send_buffer_max;   /* per stream; default 1 MiB */
    size_t streams_max; /* open calls of all kinds; beyond: RESOURCE_EXHAUSTED. default 20,000 */
};

struct sy_rpc; /* the transport: one a process (production), one a simulated world */
struct sy_server;

int sy_server_new(struct sy_server **ret_server, struct sy_rpc *rpc,
                  const struct sy_server_options *options, struct sy_error_text *error) SY_MUST_USE;
/* Before sy_server_start(). Unknown methods are answered UNIMPLEMENTED. */
void sy_server_add(struct sy_server *server, const struct sy_method *method);
/* Before sy_server_start(), with options.http. Copied, but for its strings. */
void sy_server_add_route(struct sy_server *server, const struct sy_http_route *route);
/* Before sy_server_start(). Unary calls whose handlers run on `loop` may also come over one stream
 * from each client that asks for it: sy_channel_carry(). The server is then drained on that loop.
 */
void sy_server_carry(struct sy_server *server, struct sy_loop *loop);
/* Takes the address; who comes before the start waits. -EADDRINUSE and other causes with a sentence
 * in error. */
int sy_server_bind(struct sy_server *server, struct sy_error_text *error) SY_MUST_USE;
/* Binds, unless that is done; a bound server always starts. */
int sy_server_start(struct sy_server *server, struct sy_error_text *error) SY_MUST_USE;
/* The port that was bound (options->address may end in ":0"). */
int sy_server_port(const struct sy_server *server);
/* The path of the i-th method, those of one service together; NULL past the last. Once started. */
const char *sy_server_method(const struct sy_server *server, size_t i);
/* Calls in progress of all kinds, carried ones among them; what carries them is none. A call counts
 * until its on_closed has run. */
size_t sy_server_calls(const struct sy_server *server);
/* Graceful drain: no new connections or calls; on_drained(ctx) runs on `loop` when all calls have
 * ended, at the latest after grace_ns when the rest is cancelled. Once, on the thread of `loop`. A
 * unary handler may still hold a call that was cancelled. */
void sy_server_drain(struct sy_server *server, int64_t grace_ns, struct sy_loop *loop,
                     sy_fn on_drained, void *ctx);
/* After the drain, or when it never started. (In memory at any time: as if its process died.) */
void sy_server_free(struct sy_server *server);

/* ---- client ---- */

struct sy_channel;

/* Connects lazily and reconnects by itself (100 ms to 1 s, jittered). */
struct sy_channel *sy_channel_new(struct sy_rpc *rpc, const char *target);
void sy_channel_free(struct sy_channel *channel); /* calls keep it alive */

/* The same peer as `channel`, which outlives it: unary calls that are made on `loop` go over one
 * stream, many in one message, as long as the peer takes that (sy_server_carry()) and they fit;
 * all others through `channel`. So it costs a fraction of a call for each. Used and freed on that
 * loop, or while it does not run. Calls keep it alive. */
struct sy_channel *sy_channel_carry(struct sy_channel *channel, struct sy_loop *loop);

typedef void (*sy_reply_fn)(void *ctx, const struct sy_status *status, struct sy_span response);

struct sy_call_options {
    const char *method;
    int64_t timeout_ns; /* 0 = none */
    /* Queue while the peer is unreachable instead of UNAVAILABLE. A call that was already given to
     * a connection still ends so when that breaks, even before a byte was sent. */
    bool wait_for_ready;
    const struct sy_metadata *metadata; /* copied, as is `method` */
    size_t metadata_count;
};

/* Unary; `reply` runs exactly once on `loop`. Takes `request`. Cancel: sy_call_finish on the
 * returned call (borrowed: valid until reply ran). */
struct sy_call *sy_channel_call(struct sy_channel *channel, struct sy_loop *loop,
                                const struct sy_call_options *options, struct sy_buf *request,
                                sy_reply_fn reply, void *ctx);
/* Client, unary: cancels, and `reply` does not run. */
void sy_call_drop(struct sy_call *call);
/* Server stream (send one message, then half-close) and bidi. The caller owns a reference. The call
 * ends only by the server, sy_call_finish(), the deadline or a lost connection; dropping the
 * reference doesn't end it. */
struct sy_call *sy_channel_open(struct sy_channel *channel, struct sy_loop *loop,
                                const struct sy_call_options *options,
                                const struct sy_call_sink *sink, void *ctx);

/* ---- transports ---- */

/* gRPC core. One poller thread serves every server and channel of the process. */
int sy_rpc_grpc_new(struct sy_rpc **ret_rpc, struct sy_error_text *error) SY_MUST_USE;
/* Some are left: also calls that nobody holds any more, until they have ended on their loops. Never
 * so in memory, where that does not matter. Any thread. */
bool sy_rpc_busy(struct sy_rpc *rpc);
/* Turns their loops, which run no more, until none is left; 5 s at most. */
void sy_rpc_settle(struct sy_rpc *rpc, struct sy_loop *const *loops, size_t count);
/* After all servers, channels and calls are gone, and before the loops go. */
void sy_rpc_free(struct sy_rpc *rpc);

/* In memory, for one thread that drives all loops; they share one monotonic clock. What travels
 * (the opening of a call, a message, a half-close, a status, a cancellation) passes through `plan`,
 * which decides its fate; deliveries are timers of the receiver's loop. Servers listen on any
 * address text; a trailing ":0" becomes a number that is free in this world. A world may be torn
 * down at any moment: free servers, channels, calls and the transport in any order, then the loops;
 * no callback runs meanwhile. */
enum sy_fault { SY_FAULT_DELIVER, SY_FAULT_DROP_CONNECTION };
struct sy_rpc_mem_plan {
    /* Sets *ret_delay_ns (>= 0). Order within one stream is kept, as HTTP/2 keeps it; a loss is the
     * loss of the connection. May be NULL: at once. */
    enum sy_fault (*on_message)(void *ctx, const char *from, const char *to, int64_t *ret_delay_ns);
    /* Whether a new call from -> to connects. May be NULL: always. */
    bool (*on_connect)(void *ctx, const char *from, const char *to);
    void *ctx;
};
int sy_rpc_mem_new(struct sy_rpc **ret_rpc, const struct sy_rpc_mem_plan *plan) SY_MUST_USE;
/* Names the process that makes channels and servers from now on. Messages go from the origin to the
 * server's address, and back. */
void sy_rpc_mem_set_origin(struct sy_rpc *rpc, const char *name);
/* The process behind `name` (an origin, or a server's address) dies: its servers stop listening
 * without a drain and its calls break. The other side hears UNAVAILABLE (a client) or CANCELLED
 * (a server) in a later turn, and loses what was under way. The dead side hears nothing, not even
 * on_closed; its objects stay valid, do nothing, and are freed as ever (sy_server_free,
 * sy_channel_free, sy_call_unref). Not to be called from a callback of that process or of the plan.
 * The address is free at once. */
void sy_rpc_mem_kill(struct sy_rpc *rpc, const char *name);
