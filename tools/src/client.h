/*
 * A small client of Switchyard's services for command-line programs: one loop, one channel,
 * everything on the program's main thread.
 *
 * Two ways of calling: cl_call() blocks until the answer is there; cl_start() runs a callback on
 * the loop. Streams always run callbacks. Callbacks run while the program is inside cl_call() or
 * cl_wait(), and may start calls but never block.
 *
 * Every failure ends in one sentence and in one exit code (enum cl_exit), in struct cl_error.
 * SIGINT is turned into CL_INTERRUPTED: what waits returns, and the program says how to go on.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/rpc.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

/* The exit codes of all programs in tools/src; documented in docs/cli.md and by --help. */
enum cl_exit {
    CL_OK = 0,
    CL_FAILED = 1,      /* the run or the action failed */
    CL_USAGE = 2,       /* wrong arguments */
    CL_NOT_FOUND = 3,   /* no such run, action, log */
    CL_UNREACHABLE = 4, /* no answer from the endpoint */
    CL_REFUSED = 5,     /* invalid, infeasible, full, or not possible in this state */
    CL_ABORTED = 6,     /* the run was aborted */
    CL_TIMED_OUT = 7,   /* the run, or a call, ran out of time */
    CL_INTERNAL = 8,    /* an error inside Switchyard, or on this machine */
    CL_INTERRUPTED = 130,
};

struct cl_error {
    enum cl_exit exit;
    enum sy_code code; /* of the answer; OK when the failure was on this side */
    struct sy_error_text text;
};
/* Sets the sentence and gives `exit_code`, so that a caller can `return cl_fail(error, CL_REFUSED,
 * "...", ...)`. A macro, because clang-tidy 14 takes every va_list for uninitialized when it reads
 * several files. */
#define cl_fail(error_, exit_code_, ...)                                                           \
    __extension__({                                                                                \
        sy_error_text_set(&(error_)->text, __VA_ARGS__);                                           \
        cl_error_is((error_), (exit_code_));                                                       \
    })
enum cl_exit cl_error_is(struct cl_error *error, enum cl_exit exit_code);
enum cl_exit cl_fail_status(struct cl_error *error, const char *endpoint,
                            const struct sy_status *status);

struct cl_options {
    const char *endpoint; /* HOST:PORT of a shard */
    const char *project, *domain;
    int64_t timeout_ns; /* of one unary call */
};
#define CL_ENDPOINT_DEFAULT "127.0.0.1:8090"
/* From SWITCHYARD_ENDPOINT, SWITCHYARD_PROJECT, SWITCHYARD_DOMAIN, else the defaults. */
void cl_options_init(struct cl_options *options);

struct cl_client {
    struct cl_options options;
    struct sy_rpc *rpc;
    struct sy_loop *loop;
    struct sy_channel *channel;
    struct cl_straight *straight; /* cl_straight.h; NULL: all calls go to the endpoint */
    struct cl_pending *pending;   /* calls of cl_start() */
    struct sy_rng rng;
    struct sy_io signal_io;
    bool borrowed;          /* rpc and loop are the caller's */
    bool interrupted, deaf; /* SIGINT came; SIGINT is ignored */
};
enum cl_exit cl_client_new(struct cl_client **ret_client, const struct cl_options *options,
                           struct cl_error *error) SY_MUST_USE;
/* On the caller's transport and loop, without signals; for tests. */
struct cl_client *cl_client_new_on(struct sy_rpc *rpc, struct sy_loop *loop,
                                   const struct cl_options *options);
/* No stream may be open; calls of cl_start() are cancelled without their callback. */
void cl_client_free(struct cl_client *client);
void cl_client_freep(struct cl_client **client); /* for SY_CLEANUP */

/* ---- unary ---- */

struct cl_method {
    const char *path; /* "/package.Service/Method" */
    const ProtobufCMessageDescriptor *response;
};
/* Largest answer that is unpacked, in bytes of structs. */
#define CL_ARENA_BYTES_MAX ((size_t)512 * 1024 * 1024)

/* Blocks; the answer lives in `arena`. NULL: the reason is in *error. */
void *cl_call(struct cl_client *client, const struct cl_method *method,
              const ProtobufCMessage *request, struct sy_arena *arena, struct cl_error *error);

/* `response` is NULL on failure, and borrowed for the duration of the callback. */
typedef void (*cl_reply_fn)(void *ctx, const struct cl_error *error, const void *response);
struct cl_start_options {
    const char *request_id; /* x-request-id; NULL = none */
    const char *run;        /* what it is about: see cl_straight.h; NULL: nothing, or not known */
    bool wait_for_ready;
    int64_t timeout_ns; /* 0 = the client's */
};
/* Takes the packed request. `options` may be NULL. */
void cl_start(struct cl_client *client, const struct cl_method *method, struct sy_buf *request,
              const struct cl_start_options *options, cl_reply_fn reply, void *ctx);

/* Cancels every call of cl_start(), without their callbacks. */
void cl_cancel_all(struct cl_client *client);

/* ---- server streams ---- */

struct cl_stream;
/* `message` is borrowed for the duration of the callback. */
typedef void (*cl_message_fn)(void *ctx, const void *message);
struct cl_stream *cl_stream_open(struct cl_client *client, struct sy_channel *channel,
                                 const struct cl_method *method, const ProtobufCMessage *request,
                                 cl_message_fn on_message, void *ctx);
/* The stream ended; its error has code OK when the server ended it so. */
bool cl_stream_ended(const struct cl_stream *stream);
const struct cl_error *cl_stream_error(const struct cl_stream *stream);
/* Cancels it when it still runs (then not inside a callback); no callback follows. */
void cl_stream_close(struct cl_stream *stream);

/* ---- waiting ---- */

/* Runs the loop until until(ctx) is true, SIGINT came, or `timeout_ns` passed (0 = never). True
 * when until(ctx) is. */
bool cl_wait(struct cl_client *client, bool (*until)(void *ctx), void *ctx, int64_t timeout_ns);
/* Wakes cl_wait() so that it asks again: for timers and callbacks of other modules. */
void cl_wake(struct cl_client *client);
/* Sleeps, but runs callbacks. */
void cl_sleep(struct cl_client *client, int64_t duration_ns);

/* protobuf-c's strings are char *, but packing only reads them. */
static inline char *cl_unconst(const char *s)
{
    union {
        const char *in;
        char *out;
    } u = {s};
    return u.out;
}
static inline char **cl_unconst_list(const char *const *list)
{
    union {
        const char *const *in;
        char **out;
    } u = {list};
    return u.out;
}

/* A random name, n characters, for runs and request ids. */
void cl_random_name(struct cl_client *client, char *ret, unsigned n);
/* CLOCK_REALTIME, as events carry it. */
int64_t cl_realtime_ns(void);
int64_t cl_monotonic_ns(void);
