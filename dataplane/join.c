#include "dataplane/join.h"

#include "base/arena.h"
#include "base/mem.h"
#include "dataplane/events.h"
#include "proto/pb.h"
#include "scheduler/labels.h"

#include "switchyard/v1/cluster_service.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define TIMEOUT_NS (5 * SY_NS_PER_S)
#define BACKOFF_MIN_NS (100 * SY_NS_PER_MS)
#define BACKOFF_MAX_NS (5 * SY_NS_PER_S)
#define ANSWER_BYTES_MAX ((size_t)64 << 10)

struct dp_join {
    struct dp_join_options options;
    char **targets;
    size_t count, at; /* which is asked */
    char *token;
    struct sy_rng rng;
    struct dp_identity *identity;
    dp_join_done_fn done;
    void *ctx;
    struct sy_channel **channels;
    struct sy_call *call; /* NULL: none */
    struct sy_timer again;
    int64_t backoff_ns;
    bool answered;
};

static void finish(struct dp_join *join, int r, const struct sy_error_text *error)
{
    dp_join_done_fn done = join->done;
    join->done = NULL;
    done(join->ctx, r, error);
}

static bool take(char *ret, size_t size, const char *text)
{
    size_t len = strlen(text);
    if (len >= size)
        return false;
    memcpy(ret, text, len + 1);
    memset(ret + len, 0, size - len);
    return true;
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct dp_join *join = ctx;
    struct dp_identity *identity = join->identity;
    struct sy_arena arena SY_CLEANUP(sy_arena_deinit);
    sy_arena_init(&arena, ANSWER_BYTES_MAX);
    const Switchyard__V1__JoinClusterResponse *answer = pb_unpack(
        &switchyard__v1__join_cluster_response__descriptor, &arena, bytes);
    join->answered = answer && answer->cluster[0] && answer->core_price_micros >= 0 &&
                     sch_labels_valid(answer->labels) &&
                     take(identity->region, sizeof(identity->region), answer->region) &&
                     take(identity->labels, sizeof(identity->labels), answer->labels) &&
                     take(identity->cluster, sizeof(identity->cluster), answer->cluster);
    if (join->answered)
        identity->core_price_micros = answer->core_price_micros;
}

/* Another shard, or this one later, cannot say anything else. */
static bool is_final(enum sy_code code)
{
    switch (code) {
    case SY_CODE_INVALID_ARGUMENT:
    case SY_CODE_NOT_FOUND:
    case SY_CODE_FAILED_PRECONDITION:
    case SY_CODE_UNAUTHENTICATED:
    case SY_CODE_PERMISSION_DENIED:
    case SY_CODE_UNIMPLEMENTED:
        return true;
    default:
        return false;
    }
}

static void try_another(struct dp_join *join)
{
    int64_t half_ns = join->backoff_ns / 2;
    int64_t jitter_ns = (int64_t)sy_rng_below(&join->rng, (uint64_t)half_ns + 1);
    join->at = (join->at + 1) % join->count;
    join->backoff_ns = join->backoff_ns < BACKOFF_MAX_NS / 2 ? 2 * join->backoff_ns
                                                             : BACKOFF_MAX_NS;
    sy_timer_start_in(join->options.loop, &join->again, half_ns + jitter_ns);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct dp_join *join = ctx;
    struct sy_error_text why;
    sy_call_unref(sy_take(join->call));
    if (status->code == SY_CODE_OK && join->answered) {
        finish(join, 0, NULL);
        return;
    }
    if (is_final(status->code)) {
        sy_error_text_set(&why, "cannot join: %s", status->message.text);
        finish(join, -EACCES, &why);
        return;
    }
    sy_log(join->options.log, &dp_events, DP_EV_SHARD_UNREACHABLE,
           SY_STR("shard", join->targets[join->at]), SY_STR("status", sy_code_name(status->code)),
           SY_STR("why", status->message.text));
    try_another(join);
}

static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};

static void ask(void *arg)
{
    struct dp_join *join = arg;
    struct sy_call_options options = {.method = "/switchyard.v1.ClusterService/JoinCluster",
                                      .timeout_ns = TIMEOUT_NS};
    Switchyard__V1__JoinClusterRequest request = SWITCHYARD__V1__JOIN_CLUSTER_REQUEST__INIT;
    request.token = join->token;
    request.identity = (ProtobufCBinaryData){DP_SECRET_BYTES, join->identity->secret};
    if (!join->channels[join->at])
        join->channels[join->at] = sy_channel_new(join->options.rpc, join->targets[join->at]);
    join->answered = false;
    join->call = sy_channel_open(join->channels[join->at], join->options.loop, &options, &sink,
                                 join);
    struct sy_buf bytes = {0};
    pb_pack(&request.base, &bytes);
    int r = sy_call_send(join->call, &bytes);
    SY_ASSERT(r == 0); /* the first message always has room */
    sy_call_half_close(join->call);
}

void dp_join_new(struct dp_join **ret, const struct dp_join_options *options,
                 struct dp_identity *identity, dp_join_done_fn done, void *ctx)
{
    struct dp_join *join = sy_new(struct dp_join);
    join->options = *options;
    while (options->shards[join->count])
        join->count++;
    SY_ASSERT(join->count > 0 && done);
    join->targets = sy_calloc(join->count, sizeof(char *));
    join->channels = sy_calloc(join->count, sizeof(struct sy_channel *));
    for (size_t i = 0; i < join->count; i++)
        join->targets[i] = sy_strdup(options->shards[i]);
    join->token = sy_strdup(options->token);
    sy_rng_init(&join->rng, options->seed);
    join->identity = identity;
    join->done = done;
    join->ctx = ctx;
    join->backoff_ns = BACKOFF_MIN_NS;
    sy_timer_init(&join->again, ask, join);
    sy_timer_start_in(options->loop, &join->again, 0);
    *ret = join;
}

static void on_nothing(void *ctx, const struct sy_status *status)
{
    (void)ctx;
    (void)status;
}

void dp_join_free(struct dp_join *join)
{
    static const struct sy_call_sink deaf = {.on_closed = on_nothing};
    if (!join)
        return;
    sy_timer_stop(join->options.loop, &join->again);
    if (join->call) {
        sy_call_finish(join->call, NULL);
        sy_call_set_sink(join->call, &deaf, NULL);
        sy_call_unref(join->call);
    }
    for (size_t i = 0; i < join->count; i++) {
        if (join->channels[i])
            sy_channel_free(join->channels[i]);
        free(join->targets[i]);
    }
    explicit_bzero(join->token, strlen(join->token));
    free(join->token);
    free(join->channels);
    free(join->targets);
    free(join);
}
