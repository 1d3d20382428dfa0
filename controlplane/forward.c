/* A relay: two calls, the client's and ours to the other shard, and what is on its way between. */
#include "controlplane/forward.h"

#include "base/arena.h"
#include "base/mem.h"
#include "proto/pb.h"

#include "google/rpc/status.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_MIN_NS (10 * SY_NS_PER_MS)
#define RETRY_MAX_NS (160 * SY_NS_PER_MS)
#define NOT_OWNER "type.googleapis.com/switchyard.internal.NotOwner"
#define DETAILS_BYTES_MAX ((size_t)64 << 10)

struct relay {
    struct relay *next, **prev;
    struct cp_forwards *forwards;
    struct sy_call *client;
    struct sy_call *shard; /* NULL: between two tries */
    uint32_t partition;
    char *run; /* NULL: as the client's metadata has it */
    struct sy_buf request;
    struct sy_buf held; /* what the client did not take yet */
    bool holding;
    bool answered; /* by a message: there is no other try */
    int64_t give_up_ns, retry_ns;
    struct sy_timer retry;
};

struct cp_forwards {
    struct sy_loop *loop;
    cp_forward_route_fn route;
    void *ctx;
    struct relay *relays;
    size_t count;
};

static void relay_free(struct relay *relay)
{
    *relay->prev = relay->next;
    if (relay->next != NULL)
        relay->next->prev = relay->prev;
    relay->forwards->count--;
    sy_timer_stop(relay->forwards->loop, &relay->retry);
    sy_call_set_sink(relay->client, NULL, NULL);
    sy_call_unref(relay->client);
    if (relay->shard != NULL) {
        sy_call_set_sink(relay->shard, NULL, NULL);
        sy_call_finish(relay->shard, NULL);
        sy_call_unref(relay->shard);
    }
    free(relay->run);
    sy_buf_deinit(&relay->request);
    sy_buf_deinit(&relay->held);
    free(relay);
}

/* ---- refusals ---- */

void cp_forward_refuse(struct sy_call *call, uint32_t partition, const char *shard)
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

/* ---- the other shard's side ---- */

static void end(struct relay *relay, const struct sy_status *status)
{
    sy_call_finish(relay->client, status->code != SY_CODE_OK ? status : NULL);
    relay_free(relay);
}

static void try_later(struct relay *relay, const struct sy_status *why)
{
    int64_t now_ns = sy_loop_now_ns(relay->forwards->loop);
    if (now_ns + relay->retry_ns >= relay->give_up_ns) {
        end(relay, &(struct sy_status){.code = why->code, .message = why->message});
        return;
    }
    sy_timer_start_in(relay->forwards->loop, &relay->retry, relay->retry_ns);
    relay->retry_ns = relay->retry_ns * 2 < RETRY_MAX_NS ? relay->retry_ns * 2 : RETRY_MAX_NS;
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct relay *relay = ctx;
    relay->answered = true;
    SY_ASSERT(!relay->holding);
    struct sy_buf message = sy_buf_copy(bytes.data, bytes.len);
    if (sy_call_send(relay->client, &message) == 0)
        return;
    relay->held = message;
    relay->holding = true;
    sy_call_set_sink(relay->shard, NULL, NULL); /* the rest waits there */
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct relay *relay = ctx;
    sy_call_unref(sy_take(relay->shard));
    if (!relay->answered && is_refusal(status))
        try_later(relay, status);
    else
        end(relay, status);
}

static const struct sy_call_sink shard_sink = {.on_message = on_message, .on_closed = on_closed};

/* ---- the client's side ---- */

static void on_writable(void *ctx)
{
    struct relay *relay = ctx;
    if (!relay->holding || sy_call_send(relay->client, &relay->held) != 0)
        return;
    relay->holding = false;
    sy_call_set_sink(relay->shard, &shard_sink, relay);
}

static void on_client_closed(void *ctx, const struct sy_status *status)
{
    struct relay *relay = ctx;
    (void)status;
    relay_free(relay);
}

static const struct sy_call_sink client_sink = {.on_writable = on_writable,
                                                .on_closed = on_client_closed};

/* ---- a try ---- */

static size_t pass_on(const struct relay *relay, struct sy_metadata ret[8])
{
    static const char *const keys[] = {"authorization",     "x-request-id",     CP_RUN_KEY,
                                       "x-actions-project", "x-actions-domain", "x-actions-run"};
    size_t count = 0;
    for (size_t i = 0; i < SY_COUNT_OF(keys); i++) {
        const char *value = sy_call_metadata(relay->client, keys[i]);
        if (relay->run != NULL && strcmp(keys[i], CP_RUN_KEY) == 0)
            value = relay->run;
        if (value != NULL)
            ret[count++] = (struct sy_metadata){keys[i], value};
    }
    ret[count++] = (struct sy_metadata){CP_FORWARDED_KEY, "1"};
    return count;
}

static void try_now(void *arg)
{
    struct relay *relay = arg;
    struct cp_forwards *forwards = relay->forwards;
    struct sy_channel *channel = forwards->route(forwards->ctx, relay->partition);
    if (channel == NULL) {
        struct sy_status status = {0};
        sy_status_set(&status, SY_CODE_UNAVAILABLE, "no shard has partition %u just now; try again",
                      relay->partition);
        try_later(relay, &status);
        return;
    }
    int64_t deadline_ns = sy_call_deadline_ns(relay->client);
    struct sy_metadata metadata[8];
    struct sy_call_options options = {.method = sy_call_method(relay->client),
                                      .metadata = metadata};
    options.metadata_count = pass_on(relay, metadata);
    if (deadline_ns != SY_TIME_NEVER) {
        int64_t left_ns = deadline_ns - sy_loop_now_ns(forwards->loop);
        options.timeout_ns = left_ns > 0 ? left_ns : 1;
    }
    relay->shard = sy_channel_open(channel, forwards->loop, &options, &shard_sink, relay);
    struct sy_buf request = sy_buf_copy(relay->request.data, relay->request.len);
    int r = sy_call_send(relay->shard, &request);
    SY_ASSERT(r == 0); /* the first one always has room */
    sy_call_half_close(relay->shard);
}

void cp_forward(struct cp_forwards *forwards, struct sy_call *call, uint32_t partition,
                const char *run, struct sy_span request)
{
    SY_ASSERT(sy_call_metadata(call, CP_FORWARDED_KEY) == NULL);
    struct relay *relay = sy_new(struct relay);
    relay->forwards = forwards;
    relay->client = call;
    relay->partition = partition;
    relay->run = run != NULL ? sy_strdup(run) : NULL;
    relay->request = sy_buf_copy(request.data, request.len);
    relay->retry_ns = RETRY_MIN_NS;
    relay->give_up_ns = sy_loop_now_ns(forwards->loop) + CP_FORWARD_WAIT_NS;
    if (sy_call_deadline_ns(call) < relay->give_up_ns)
        relay->give_up_ns = sy_call_deadline_ns(call);
    sy_timer_init(&relay->retry, try_now, relay);
    relay->next = forwards->relays;
    relay->prev = &forwards->relays;
    if (relay->next != NULL)
        relay->next->prev = &relay->next;
    forwards->relays = relay;
    forwards->count++;
    sy_call_set_sink(call, &client_sink, relay);
    try_now(relay);
}

/* ---- life ---- */

void cp_forwards_new(struct cp_forwards **ret_forwards, struct sy_loop *loop,
                     cp_forward_route_fn route, void *ctx)
{
    struct cp_forwards *forwards = sy_new(struct cp_forwards);
    *forwards = (struct cp_forwards){.loop = loop, .route = route, .ctx = ctx};
    *ret_forwards = forwards;
}

size_t cp_forwards_count(const struct cp_forwards *forwards)
{
    return forwards->count;
}

void cp_forwards_free(struct cp_forwards *forwards)
{
    if (forwards == NULL)
        return;
    struct relay *next;
    for (struct relay *relay = forwards->relays; relay != NULL; relay = next) {
        next = relay->next;
        relay_free(relay);
    }
    free(forwards);
}
