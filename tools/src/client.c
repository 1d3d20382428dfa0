#include "tools/src/client.h"

#include "base/mem.h"
#include "proto/pb.h"
#include "tools/src/cl_straight.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define CALL_TIMEOUT_NS (30 * SY_NS_PER_S)
#define CALL_MAGIC 0x636c63616c6c2121u
#define STREAM_MAGIC 0x636c737472656d21u

struct cl_pending {
    uint64_t magic;
    struct cl_client *client;
    struct cl_method method;
    struct sy_call *call;
    struct sy_channel *channel; /* through which */
    cl_reply_fn reply;          /* NULL: nobody wants to know any more */
    void *ctx;
    struct cl_pending *next, **previous;
};

/* ---- errors ---- */

enum cl_exit cl_error_is(struct cl_error *error, enum cl_exit exit_code)
{
    error->exit = exit_code;
    error->code = SY_CODE_OK;
    return exit_code;
}

static enum cl_exit exit_of(enum sy_code code)
{
    switch (code) {
    case SY_CODE_OK:
        return CL_OK;
    case SY_CODE_NOT_FOUND:
        return CL_NOT_FOUND;
    case SY_CODE_UNAVAILABLE:
        return CL_UNREACHABLE;
    case SY_CODE_DEADLINE_EXCEEDED:
        return CL_TIMED_OUT;
    case SY_CODE_INVALID_ARGUMENT:
    case SY_CODE_RESOURCE_EXHAUSTED:
    case SY_CODE_FAILED_PRECONDITION:
    case SY_CODE_ALREADY_EXISTS:
    case SY_CODE_PERMISSION_DENIED:
    case SY_CODE_UNAUTHENTICATED:
    case SY_CODE_OUT_OF_RANGE:
        return CL_REFUSED;
    default:
        return CL_INTERNAL;
    }
}

/* The transport's own words, or none. */
static bool ran_out(const char *text)
{
    return *text == '\0' || strncasecmp(text, "deadline exceeded", 17) == 0;
}

/* gRPC's words end with the system's: "...: Connection refused". */
static const char *last_cause(const char *text)
{
    const char *colon = strrchr(text, ':');
    return colon && colon[1] == ' ' ? colon : "";
}

enum cl_exit cl_fail_status(struct cl_error *error, const char *endpoint,
                            const struct sy_status *status)
{
    const char *text = status->message.text;
    error->exit = exit_of(status->code);
    error->code = status->code;
    if (status->code == SY_CODE_UNAVAILABLE && !sy_status_unsent(status))
        sy_error_text_set(&error->text, "%s can not answer now: %s", endpoint,
                          *text ? text : "unavailable");
    else if (status->code == SY_CODE_UNAVAILABLE)
        sy_error_text_set(&error->text, "%s is not reachable%s; is a region running there?",
                          endpoint, last_cause(text));
    else if (status->code == SY_CODE_DEADLINE_EXCEEDED)
        sy_error_text_set(&error->text, "%s did not answer in time%s%s", endpoint,
                          ran_out(text) ? "" : ": ", ran_out(text) ? "" : text);
    else if (status->code == SY_CODE_UNIMPLEMENTED)
        sy_error_text_set(&error->text, "%s does not serve this call (%s)", endpoint,
                          *text ? text : "unimplemented");
    else if (*text)
        sy_error_text_set(&error->text, "%s", text);
    else
        sy_error_text_set(&error->text, "%s answered %s", endpoint, sy_code_name(status->code));
    return error->exit;
}

static void undecodable(struct cl_error *error, const char *method)
{
    cl_fail(error, CL_INTERNAL, "the answer to %s can not be read", method);
}

/* ---- options ---- */

static const char *from_env(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value && *value ? value : fallback;
}

void cl_options_init(struct cl_options *options)
{
    *options = (struct cl_options){
        .endpoint = from_env("SWITCHYARD_ENDPOINT", CL_ENDPOINT_DEFAULT),
        .project = from_env("SWITCHYARD_PROJECT", "default"),
        .domain = from_env("SWITCHYARD_DOMAIN", "development"),
        .timeout_ns = CALL_TIMEOUT_NS,
    };
}

/* ---- waiting ---- */

struct wait_timer {
    struct sy_timer timer;
    struct cl_client *client;
    bool fired;
};

static void on_wait_timer(void *arg)
{
    struct wait_timer *timer = arg;
    timer->fired = true;
    sy_loop_stop(timer->client->loop);
}

bool cl_wait(struct cl_client *client, bool (*until)(void *ctx), void *ctx, int64_t timeout_ns)
{
    struct wait_timer timer = {.client = client};
    sy_timer_init(&timer.timer, on_wait_timer, &timer);
    if (timeout_ns > 0)
        sy_timer_start(client->loop, &timer.timer, cl_monotonic_ns() + timeout_ns);
    bool reached = until(ctx);
    while (!reached && !timer.fired && !client->interrupted) {
        int r = sy_loop_run(client->loop);
        SY_ASSERT(r == 0);
        reached = until(ctx);
    }
    sy_timer_stop(client->loop, &timer.timer);
    return reached;
}

/* For calls that were cancelled: their end comes soon, and they must not outlive their owner. */
static void wait_out(struct cl_client *client, bool (*until)(void *ctx), void *ctx)
{
    while (!until(ctx)) {
        int r = sy_loop_run(client->loop);
        SY_ASSERT(r == 0);
    }
}

void cl_wake(struct cl_client *client)
{
    sy_loop_stop(client->loop);
}

static bool never(void *ctx)
{
    (void)ctx;
    return false;
}

void cl_sleep(struct cl_client *client, int64_t duration_ns)
{
    cl_wait(client, never, NULL, duration_ns > 0 ? duration_ns : 1);
}

/* ---- life ---- */

static void on_signal(void *arg, uint32_t events)
{
    (void)events;
    struct cl_client *client = arg;
    struct signalfd_siginfo info;
    if (read(client->signal_io.fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (client->deaf)
        return;
    client->interrupted = true;
    sy_loop_stop(client->loop);
}

/* Before the transport starts its thread, so that the signal reaches only the descriptor. */
static int watch_sigint(struct cl_client *client)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return sy_trace(-errno);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return sy_trace(-errno);
    client->signal_io = (struct sy_io){.fd = fd, .events = EPOLLIN, .fn = on_signal, .arg = client};
    return sy_trace(sy_io_add(client->loop, &client->signal_io));
}

enum cl_exit cl_client_new(struct cl_client **ret_client, const struct cl_options *options,
                           struct cl_error *error)
{
    if (!strchr(options->endpoint, ':'))
        return cl_fail(error, CL_USAGE,
                       "endpoint '%s': expected HOST:PORT, such as " CL_ENDPOINT_DEFAULT,
                       options->endpoint);
    struct cl_client *client = sy_new(struct cl_client);
    client->options = *options;
    client->signal_io.fd = -1;
    sy_rng_init_from_system(&client->rng);
    struct sy_error_text text = {""};
    int r = sy_loop_new(&client->loop, NULL);
    if (r == 0)
        r = watch_sigint(client);
    if (r == 0)
        r = sy_rpc_grpc_new(&client->rpc, &text);
    if (r < 0) {
        cl_client_free(client);
        return cl_fail(error, CL_INTERNAL, "the client can not start: %s",
                       *text.text ? text.text : strerror(-r));
    }
    client->channel = sy_channel_new(client->rpc, options->endpoint);
    *ret_client = client;
    return CL_OK;
}

struct cl_client *cl_client_new_on(struct sy_rpc *rpc, struct sy_loop *loop,
                                   const struct cl_options *options)
{
    struct cl_client *client = sy_new(struct cl_client);
    *client = (struct cl_client){.options = *options, .rpc = rpc, .loop = loop, .borrowed = true};
    client->signal_io.fd = -1;
    sy_rng_init(&client->rng, 1);
    client->channel = sy_channel_new(rpc, options->endpoint);
    return client;
}

/* Runs the loop until nothing is pending, whatever SIGINT says. */
static bool nothing_pending(void *ctx)
{
    const struct cl_client *client = ctx;
    return client->pending == NULL;
}

void cl_cancel_all(struct cl_client *client)
{
    for (struct cl_pending *p = client->pending; p; p = p->next) {
        p->reply = NULL;
        sy_call_finish(p->call, NULL);
    }
    wait_out(client, nothing_pending, client);
}

void cl_client_free(struct cl_client *client)
{
    if (!client)
        return;
    cl_cancel_all(client);
    cl_straight_end(client);
    if (client->channel)
        sy_channel_free(client->channel);
    if (client->signal_io.fd >= 0) {
        sy_io_remove(client->loop, &client->signal_io);
        close(client->signal_io.fd);
    }
    if (!client->borrowed) {
        if (client->rpc) {
            sy_rpc_settle(client->rpc, &client->loop, 1); /* streams that carried calls */
            sy_rpc_free(client->rpc);
        }
        if (client->loop)
            sy_loop_free(client->loop);
    }
    free(client);
}

void cl_client_freep(struct cl_client **client)
{
    cl_client_free(*client);
}

/* ---- unary ---- */

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct cl_pending *pending = ctx;
    SY_ASSERT(pending->magic == CALL_MAGIC);
    struct cl_client *client = pending->client;
    *pending->previous = pending->next;
    if (pending->next)
        pending->next->previous = pending->previous;
    if (status->code == SY_CODE_UNAVAILABLE)
        cl_straight_avoid(client, pending->channel);
    if (pending->reply) {
        struct cl_error error = {.exit = CL_OK};
        struct sy_arena arena;
        sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
        void *message = NULL;
        if (status->code != SY_CODE_OK)
            cl_fail_status(&error, client->options.endpoint, status);
        else if (!(message = pb_unpack(pending->method.response, &arena, response)))
            undecodable(&error, pending->method.path);
        pending->reply(pending->ctx, &error, message);
        sy_arena_deinit(&arena);
    }
    cl_wake(client);
    pending->magic = 0;
    free(pending);
}

void cl_start(struct cl_client *client, const struct cl_method *method, struct sy_buf *request,
              const struct cl_start_options *options, cl_reply_fn reply, void *ctx)
{
    struct cl_pending *pending = sy_new(struct cl_pending);
    *pending = (struct cl_pending){.magic = CALL_MAGIC,
                                   .client = client,
                                   .method = *method,
                                   .channel = client->channel,
                                   .reply = reply,
                                   .ctx = ctx,
                                   .next = client->pending,
                                   .previous = &client->pending};
    if (client->pending)
        client->pending->previous = &pending->next;
    client->pending = pending;
    struct sy_metadata metadata = {"x-request-id", NULL};
    struct sy_call_options call = {.method = method->path,
                                   .timeout_ns = client->options.timeout_ns};
    if (options) {
        call.wait_for_ready = options->wait_for_ready;
        if (options->run)
            pending->channel = cl_straight_channel(client, options->run);
        if (options->timeout_ns > 0)
            call.timeout_ns = options->timeout_ns;
        if (options->request_id) {
            metadata.value = options->request_id;
            call.metadata = &metadata;
            call.metadata_count = 1;
        }
    }
    pending->call = sy_channel_call(pending->channel, client->loop, &call, request, on_reply,
                                    pending);
}

struct blocking {
    struct cl_client *client;
    const struct cl_method *method;
    struct sy_arena *arena;
    struct cl_error *error;
    void *response;
    bool done;
};

static void on_blocking(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct blocking *blocking = ctx;
    if (status->code != SY_CODE_OK)
        cl_fail_status(blocking->error, blocking->client->options.endpoint, status);
    else {
        blocking->response = pb_unpack(blocking->method->response, blocking->arena, response);
        if (!blocking->response)
            undecodable(blocking->error, blocking->method->path);
    }
    blocking->done = true;
    cl_wake(blocking->client);
}

static bool is_done(void *ctx)
{
    const struct blocking *blocking = ctx;
    return blocking->done;
}

void *cl_call(struct cl_client *client, const struct cl_method *method,
              const ProtobufCMessage *request, struct sy_arena *arena, struct cl_error *error)
{
    struct blocking blocking = {client, method, arena, error, NULL, false};
    *error = (struct cl_error){.exit = CL_OK};
    struct sy_buf bytes = {0};
    pb_pack(request, &bytes);
    struct sy_call_options options = {.method = method->path,
                                      .timeout_ns = client->options.timeout_ns};
    struct sy_call *call = sy_channel_call(client->channel, client->loop, &options, &bytes,
                                           on_blocking, &blocking);
    if (!cl_wait(client, is_done, &blocking, 0)) {
        sy_call_finish(call, NULL);
        wait_out(client, is_done, &blocking);
        cl_fail(error, CL_INTERRUPTED, "interrupted");
        return NULL;
    }
    return blocking.response;
}

/* ---- streams ---- */

struct cl_stream {
    uint64_t magic;
    struct cl_client *client;
    struct cl_method method;
    struct sy_call *call;
    struct sy_channel *channel;
    struct sy_arena arena;
    cl_message_fn on_message;
    void *ctx;
    struct cl_error error;
    bool ended, closed;
};

static void on_message(void *ctx, struct sy_span bytes)
{
    struct cl_stream *stream = ctx;
    SY_ASSERT(stream->magic == STREAM_MAGIC);
    if (stream->closed || stream->error.exit != CL_OK)
        return;
    sy_arena_reset(&stream->arena);
    const void *message = pb_unpack(stream->method.response, &stream->arena, bytes);
    if (message) {
        stream->on_message(stream->ctx, message);
    } else {
        undecodable(&stream->error, stream->method.path);
        sy_call_finish(stream->call, NULL);
    }
    cl_wake(stream->client);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct cl_stream *stream = ctx;
    SY_ASSERT(stream->magic == STREAM_MAGIC);
    cl_wake(stream->client);
    if (status->code == SY_CODE_UNAVAILABLE)
        cl_straight_avoid(stream->client, stream->channel);
    if (stream->error.exit == CL_OK && status->code != SY_CODE_OK)
        cl_fail_status(&stream->error, stream->client->options.endpoint, status);
    stream->ended = true;
}

static const struct sy_call_sink stream_sink = {.on_message = on_message, .on_closed = on_closed};

struct cl_stream *cl_stream_open(struct cl_client *client, struct sy_channel *channel,
                                 const struct cl_method *method, const ProtobufCMessage *request,
                                 cl_message_fn message_fn, void *ctx)
{
    struct cl_stream *stream = sy_new(struct cl_stream);
    *stream = (struct cl_stream){.magic = STREAM_MAGIC,
                                 .client = client,
                                 .method = *method,
                                 .channel = channel ? channel : client->channel,
                                 .on_message = message_fn,
                                 .ctx = ctx};
    sy_arena_init(&stream->arena, CL_ARENA_BYTES_MAX);
    struct sy_call_options options = {.method = method->path};
    stream->call = sy_channel_open(stream->channel, client->loop, &options, &stream_sink, stream);
    struct sy_buf bytes = {0};
    pb_pack(request, &bytes);
    int r = sy_call_send(stream->call, &bytes);
    SY_ASSERT(r == 0); /* the first message of a stream always fits */
    sy_call_half_close(stream->call);
    return stream;
}

bool cl_stream_ended(const struct cl_stream *stream)
{
    return stream->ended;
}

const struct cl_error *cl_stream_error(const struct cl_stream *stream)
{
    return &stream->error;
}

static bool has_ended(void *ctx)
{
    const struct cl_stream *stream = ctx;
    return stream->ended;
}

void cl_stream_close(struct cl_stream *stream)
{
    if (!stream)
        return;
    if (!stream->ended) {
        stream->closed = true;
        sy_call_finish(stream->call, NULL);
        wait_out(stream->client, has_ended, stream);
    }
    sy_call_unref(stream->call);
    sy_arena_deinit(&stream->arena);
    stream->magic = 0;
    free(stream);
}

/* ---- small things ---- */

void cl_random_name(struct cl_client *client, char *ret, unsigned n)
{
    sy_rng_name(&client->rng, ret, n);
}

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * SY_NS_PER_S + ts.tv_nsec;
}

int64_t cl_realtime_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t cl_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}
