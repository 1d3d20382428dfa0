#include "controlplane/ask.h"

#include "base/arena.h"
#include "base/mem.h"
#include "proto/pb.h"

#include "google/rpc/status.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_MIN_NS (10 * SY_NS_PER_MS)
#define RETRY_MAX_NS (160 * SY_NS_PER_MS)
#define LOOK_NS (250 * SY_NS_PER_MS) /* whether who was asked still has it */
#define NOT_OWNER "type.googleapis.com/switchyard.internal.NotOwner"
#define DETAILS_BYTES_MAX ((size_t)64 << 10)

struct cp_ask {
    struct cp_ask_options options; /* its pointers are ours */
    struct sy_metadata metadata[CP_ASK_METADATA_MAX];
    struct sy_buf request;
    const struct cp_ask_sink *sink;
    void *ctx;
    struct sy_call *call;             /* NULL: between two tries, or closed */
    const struct sy_channel *channel; /* of the last try; NULL: one that was let go */
    bool answered;                    /* by a message: there is no other try */
    bool held;
    struct sy_status refusal; /* of the last try */
    int64_t give_up_ns, retry_ns;
    struct sy_timer timer; /* to the next try, or the next look */
};

/* ---- refusals ---- */

void cp_ask_refuse(struct sy_call *call, uint32_t partition, const char *shard)
{
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT, *anys[] = {&any};
    Google__Rpc__Status message = GOOGLE__RPC__STATUS__INIT;
    struct sy_status status = {0};
    sy_status_set(&status, SY_CODE_UNAVAILABLE, "shard %s does not have partition %u", shard,
                  partition);
    any.type_url = (char *)(uintptr_t)NOT_OWNER;
    message.code = SY_CODE_UNAVAILABLE;
    message.message = status.message.text;
    message.n_details = 1;
    message.details = anys;
    pb_pack(&message.base, &status.details);
    sy_call_finish(call, &status);
    sy_call_unref(call);
    sy_status_deinit(&status);
}

static bool is_refusal(const struct sy_status *status)
{
    if (status->code != SY_CODE_UNAVAILABLE || status->details.len == 0)
        return false;
    struct sy_arena arena;
    sy_arena_init(&arena, DETAILS_BYTES_MAX);
    const Google__Rpc__Status *message = pb_unpack(&google__rpc__status__descriptor, &arena,
                                                   sy_buf_span(&status->details));
    bool refusal = message != NULL && message->n_details == 1 &&
                   strcmp(message->details[0]->type_url, NOT_OWNER) == 0;
    sy_arena_deinit(&arena);
    return refusal;
}

/* ---- a try ---- */

static uint32_t partition_of(const struct cp_ask *ask)
{
    const struct cp_ask_options *options = &ask->options;
    return options->find != NULL ? options->find(options->route_ctx, options->hash)
                                 : options->partition;
}

static void drop_call(struct cp_ask *ask)
{
    if (ask->options.stream) {
        sy_call_set_sink(ask->call, NULL, NULL);
        sy_call_finish(ask->call, NULL);
    } else {
        sy_call_drop(ask->call);
    }
    sy_call_unref(sy_take(ask->call));
}

static void wait_from_now(struct cp_ask *ask)
{
    ask->give_up_ns = sy_loop_now_ns(ask->options.loop) + CP_ASK_WAIT_NS;
    if (ask->options.deadline_ns < ask->give_up_ns)
        ask->give_up_ns = ask->options.deadline_ns;
}

static void try_later(struct cp_ask *ask)
{
    sy_timer_start_in(ask->options.loop, &ask->timer, ask->retry_ns);
    ask->retry_ns = ask->retry_ns * 2 < RETRY_MAX_NS ? ask->retry_ns * 2 : RETRY_MAX_NS;
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct cp_ask *ask = ctx;
    ask->answered = true;
    ask->sink->on_message(ask->ctx, bytes);
}

/* Not in the transport's words, which would be read as about who is asked by the client. */
static void set_refusal(struct cp_ask *ask, const struct sy_status *status)
{
    if (sy_status_unsent(status))
        sy_status_set(&ask->refusal, status->code,
                      "the shard that has to answer is not reachable; try again (%s)",
                      status->message.text);
    else
        sy_status_set(&ask->refusal, status->code, "%s", status->message.text);
}

static void closed(struct cp_ask *ask, const struct sy_status *status)
{
    bool again = is_refusal(status) || sy_status_unsent(status) ||
                 (ask->options.repeatable && status->code == SY_CODE_UNAVAILABLE);
    if (!ask->answered && again) {
        set_refusal(ask, status);
        try_later(ask);
    } else {
        sy_timer_stop(ask->options.loop, &ask->timer);
        ask->sink->on_closed(ask->ctx, status);
    }
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct cp_ask *ask = ctx;
    sy_call_unref(sy_take(ask->call));
    closed(ask, status);
}

static const struct sy_call_sink call_sink = {.on_message = on_message, .on_closed = on_closed};

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct cp_ask *ask = ctx;
    sy_call_unref(sy_take(ask->call));
    if (status->code == SY_CODE_OK)
        on_message(ask, response);
    closed(ask, status);
}

static void start_stream(struct cp_ask *ask, struct sy_channel *channel,
                         const struct sy_call_options *options, struct sy_buf *request)
{
    ask->call = sy_channel_open(channel, ask->options.loop, options, ask->held ? NULL : &call_sink,
                                ask);
    int r = sy_call_send(ask->call, request);
    SY_ASSERT(r == 0); /* the first one always has room */
    sy_call_half_close(ask->call);
}

static void try_now(struct cp_ask *ask)
{
    const struct cp_ask_options *options = &ask->options;
    struct sy_channel *channel = options->route(options->route_ctx, partition_of(ask));
    if (channel == NULL) {
        sy_status_set(&ask->refusal, SY_CODE_UNAVAILABLE,
                      "no shard has partition %u just now; try again", partition_of(ask));
        try_later(ask);
        return;
    }
    struct sy_call_options call = {.method = options->method,
                                   .metadata = ask->metadata,
                                   .metadata_count = options->metadata_count};
    if (options->deadline_ns != SY_TIME_NEVER) {
        int64_t left_ns = options->deadline_ns - sy_loop_now_ns(options->loop);
        call.timeout_ns = left_ns > 0 ? left_ns : 1;
    }
    ask->channel = channel;
    if (options->repeatable)
        sy_timer_start_in(options->loop, &ask->timer, LOOK_NS);
    struct sy_buf request = sy_buf_copy(ask->request.data, ask->request.len);
    if (options->stream)
        start_stream(ask, channel, &call, &request);
    else
        ask->call = sy_call_ref(
            sy_channel_call(channel, options->loop, &call, &request, on_reply, ask));
}

/* One that stands still does not say that it has lost the partition. */
static void look(struct cp_ask *ask)
{
    if (ask->answered)
        return;
    if (!cp_ask_strayed(ask)) {
        sy_timer_start_in(ask->options.loop, &ask->timer, LOOK_NS);
        return;
    }
    drop_call(ask);
    wait_from_now(ask);
    try_now(ask);
}

static void on_timer(void *arg)
{
    struct cp_ask *ask = arg;
    if (ask->call != NULL)
        look(ask);
    else if (sy_loop_now_ns(ask->options.loop) < ask->give_up_ns)
        try_now(ask);
    else
        ask->sink->on_closed(ask->ctx, &ask->refusal);
}

/* ---- life ---- */

struct cp_ask *cp_ask_new(const struct cp_ask_options *options, struct sy_span request,
                          const struct cp_ask_sink *sink, void *ctx)
{
    SY_ASSERT(options->metadata_count < CP_ASK_METADATA_MAX);
    struct cp_ask *ask = sy_new(struct cp_ask);
    ask->options = *options;
    ask->options.method = sy_strdup(options->method);
    for (size_t i = 0; i < options->metadata_count; i++)
        ask->metadata[i] = (struct sy_metadata){options->metadata[i].key,
                                                sy_strdup(options->metadata[i].value)};
    ask->metadata[ask->options.metadata_count++] = (struct sy_metadata){CP_FORWARDED_KEY,
                                                                        sy_strdup("1")};
    ask->options.metadata = ask->metadata;
    ask->request = sy_buf_copy(request.data, request.len);
    ask->sink = sink;
    ask->ctx = ctx;
    ask->retry_ns = RETRY_MIN_NS;
    wait_from_now(ask);
    sy_timer_init(&ask->timer, on_timer, ask);
    try_now(ask);
    return ask;
}

void cp_ask_hold(struct cp_ask *ask, bool hold)
{
    SY_ASSERT(ask->options.stream);
    ask->held = hold;
    if (ask->call != NULL)
        sy_call_set_sink(ask->call, hold ? NULL : &call_sink, ask);
}

bool cp_ask_strayed(const struct cp_ask *ask)
{
    const struct sy_channel *channel = ask->options.route(ask->options.route_ctx,
                                                          partition_of(ask));
    return ask->call != NULL && channel != NULL && channel != ask->channel;
}

/* Another one may get its address. */
void cp_ask_forget(struct cp_ask *ask, const struct sy_channel *channel)
{
    if (ask->channel == channel)
        ask->channel = NULL;
}

void cp_ask_hurry(struct cp_ask *ask)
{
    if (!sy_timer_running(&ask->timer))
        return;
    ask->retry_ns = RETRY_MIN_NS;
    sy_timer_start_in(ask->options.loop, &ask->timer, 0);
}

void cp_ask_free(struct cp_ask *ask)
{
    if (ask == NULL)
        return;
    sy_timer_stop(ask->options.loop, &ask->timer);
    if (ask->call != NULL)
        drop_call(ask);
    for (size_t i = 0; i < ask->options.metadata_count; i++)
        free((char *)(uintptr_t)ask->metadata[i].value);
    free((char *)(uintptr_t)ask->options.method);
    sy_buf_deinit(&ask->request);
    sy_status_deinit(&ask->refusal);
    free(ask);
}
