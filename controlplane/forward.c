/* A relay: two calls, the client's and ours to the other shard, and what is on its way between. */
#include "controlplane/forward.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct relay {
    struct relay *next, **prev;
    struct cp_forwards *forwards;
    struct sy_call *client;
    struct cp_ask *ask;
    struct sy_buf kept; /* the answer; of a stream, what the client did not take yet */
    bool keeping, stream;
    const struct sy_channel *to; /* wherever its partition is; NULL: there */
    int64_t strayed_ns;          /* since when another shard has the partition; 0: it has not */
};

/* So long the answer of who had the partition may still be on its way: it ends what it has begun.
 */
#define ANSWER_NS (500 * SY_NS_PER_MS)

struct cp_forwards {
    struct sy_loop *loop;
    cp_route_fn route;
    void *ctx;
    struct relay *relays;
    size_t count;
    struct sy_timer timer; /* until an answer should have been here */
};

static void relay_free(struct relay *relay)
{
    *relay->prev = relay->next;
    if (relay->next != NULL)
        relay->next->prev = relay->prev;
    relay->forwards->count--;
    sy_call_set_sink(relay->client, NULL, NULL);
    sy_call_unref(relay->client);
    cp_ask_free(relay->ask);
    sy_buf_deinit(&relay->kept);
    free(relay);
}

/* ---- the other shard's side ---- */

static void on_message(void *ctx, struct sy_span bytes)
{
    struct relay *relay = ctx;
    SY_ASSERT(!relay->keeping);
    struct sy_buf message = sy_buf_copy(bytes.data, bytes.len);
    if (!relay->stream) { /* goes with the status */
        relay->kept = message;
        return;
    }
    if (sy_call_send(relay->client, &message) == 0)
        return;
    relay->kept = message;
    relay->keeping = true;
    cp_ask_hold(relay->ask, true);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct relay *relay = ctx;
    if (status->code == SY_CODE_OK && !relay->stream)
        sy_call_reply(sy_call_ref(relay->client), &relay->kept);
    else
        sy_call_finish(relay->client, status->code != SY_CODE_OK ? status : NULL);
    relay_free(relay);
}

static const struct cp_ask_sink ask_sink = {on_message, on_closed};

/* ---- the client's side ---- */

static void on_writable(void *ctx)
{
    struct relay *relay = ctx;
    if (!relay->keeping || sy_call_send(relay->client, &relay->kept) != 0)
        return;
    relay->keeping = false;
    cp_ask_hold(relay->ask, false);
}

static void on_client_closed(void *ctx, const struct sy_status *status)
{
    struct relay *relay = ctx;
    (void)status;
    relay_free(relay);
}

static const struct sy_call_sink client_sink = {.on_writable = on_writable,
                                                .on_closed = on_client_closed};

/* ---- life ---- */

static size_t pass_on(struct sy_call *client, const char *run,
                      struct sy_metadata ret[CP_ASK_METADATA_MAX])
{
    static const char *const keys[] = {"authorization",     "x-request-id",     CP_RUN_KEY,
                                       "x-actions-project", "x-actions-domain", "x-actions-run"};
    size_t count = 0;
    for (size_t i = 0; i < SY_COUNT_OF(keys); i++) {
        const char *value = sy_call_metadata(client, keys[i]);
        if (run != NULL && strcmp(keys[i], CP_RUN_KEY) == 0)
            value = run;
        if (value != NULL)
            ret[count++] = (struct sy_metadata){keys[i], value};
    }
    return count;
}

static struct relay *begin(struct cp_forwards *forwards, struct sy_call *call,
                           struct cp_ask_options *options, const char *run, bool stream,
                           struct sy_span request)
{
    SY_ASSERT(sy_call_metadata(call, CP_FORWARDED_KEY) == NULL);
    struct relay *relay = sy_new(struct relay);
    *relay = (struct relay){forwards->relays, &forwards->relays, forwards, call};
    if (relay->next != NULL)
        relay->next->prev = &relay->next;
    forwards->relays = relay;
    forwards->count++;
    relay->stream = stream;
    options->stream = stream;
    struct sy_metadata metadata[CP_ASK_METADATA_MAX];
    options->loop = forwards->loop;
    options->method = sy_call_method(call);
    options->metadata = metadata;
    options->metadata_count = pass_on(call, run, metadata);
    options->deadline_ns = sy_call_deadline_ns(call);
    sy_call_set_sink(call, &client_sink, relay);
    relay->ask = cp_ask_new(options, request, &ask_sink, relay);
    return relay;
}

void cp_forward(struct cp_forwards *forwards, struct sy_call *call, const struct cp_forward_to *to,
                const char *run, bool stream, struct sy_span request)
{
    struct cp_ask_options options = {.route = forwards->route,
                                     .route_ctx = forwards->ctx,
                                     .partition = to->partition,
                                     .find = to->find,
                                     .hash = to->hash};
    (void)begin(forwards, call, &options, run, stream, request);
}

static struct sy_channel *straight(void *channel, uint32_t partition)
{
    (void)partition;
    return channel;
}

void cp_forward_to(struct cp_forwards *forwards, struct sy_call *call, struct sy_channel *channel,
                   bool stream, struct sy_span request)
{
    struct cp_ask_options options = {.route = straight, .route_ctx = channel};
    begin(forwards, call, &options, NULL, stream, request)->to = channel;
}

static void end_strays(void *arg);

void cp_forwards_new(struct cp_forwards **ret_forwards, struct sy_loop *loop, cp_route_fn route,
                     void *ctx)
{
    struct cp_forwards *forwards = sy_new(struct cp_forwards);
    *forwards = (struct cp_forwards){.loop = loop, .route = route, .ctx = ctx};
    sy_timer_init(&forwards->timer, end_strays, forwards);
    *ret_forwards = forwards;
}

static void end(struct relay *relay, const char *why)
{
    struct sy_status status = {0};
    sy_status_set(&status, SY_CODE_UNAVAILABLE, "%s", why);
    on_closed(relay, &status);
    sy_status_deinit(&status);
}

/* When it is lost; SY_TIME_NEVER: it is where it should be. */
static int64_t lost_at(struct relay *relay, int64_t now_ns)
{
    if (!cp_ask_strayed(relay->ask)) {
        relay->strayed_ns = 0;
        return SY_TIME_NEVER;
    }
    if (relay->strayed_ns == 0)
        relay->strayed_ns = now_ns;
    return relay->stream ? now_ns : relay->strayed_ns + ANSWER_NS;
}

static void end_strays(void *arg)
{
    struct cp_forwards *forwards = arg;
    int64_t now_ns = sy_loop_now_ns(forwards->loop), next_ns = SY_TIME_NEVER;
    struct relay *next;
    for (struct relay *relay = forwards->relays; relay != NULL; relay = next) {
        next = relay->next;
        int64_t at_ns = lost_at(relay, now_ns);
        if (at_ns <= now_ns)
            end(relay, relay->stream ? "the partition is at another shard now; try again"
                                     : "the partition is at another shard now, and what became of "
                                       "this call is not known; try again");
        else if (at_ns < next_ns)
            next_ns = at_ns;
    }
    if (next_ns != SY_TIME_NEVER)
        sy_timer_start(forwards->loop, &forwards->timer, next_ns);
}

void cp_forwards_look(struct cp_forwards *forwards)
{
    for (struct relay *relay = forwards->relays; relay != NULL; relay = relay->next)
        cp_ask_hurry(relay->ask);
    end_strays(forwards);
}

void cp_forwards_end_to(struct cp_forwards *forwards, const struct sy_channel *channel,
                        const struct sy_channel *routed)
{
    struct relay *next;
    for (struct relay *relay = forwards->relays; relay != NULL; relay = next) {
        next = relay->next;
        cp_ask_forget(relay->ask, routed);
        if (relay->to == channel)
            end(relay, "the shard has left the region, and what became of this call is not known");
    }
}

void cp_forwards_end_streams(struct cp_forwards *forwards)
{
    struct relay *next;
    for (struct relay *relay = forwards->relays; relay != NULL; relay = next) {
        next = relay->next;
        if (relay->stream)
            end(relay, "this shard stops; try again");
    }
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
    if (sy_timer_running(&forwards->timer))
        sy_timer_stop(forwards->loop, &forwards->timer);
    free(forwards);
}
