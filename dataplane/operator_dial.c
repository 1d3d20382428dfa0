/*
 * Dialling: ask each shard for its partitions, then keep one stream to each open. One timer a shard
 * drives it: whatever was lost, the next Describe finds out what to open. Partitions that moved
 * away are forgotten when their stream is down; new ones are found at the latest after
 * RENEW_MAX_NS.
 */
#include "base/mem.h"
#include "dataplane/operator_impl.h"
#include "dataplane/stream.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>

#define SHARDS_MAX 1024
#define BACKOFF_MIN_NS (100 * SY_NS_PER_MS)
#define BACKOFF_MAX_NS (5 * SY_NS_PER_S)
#define DESCRIBE_TIMEOUT_NS (5 * SY_NS_PER_S)
/* Between asking a shard that answers: often while a partition has no stream, as it may turn up
 * there any moment, less and less often when it does not. */
#define RENEW_MIN_NS SY_NS_PER_S
#define RENEW_MAX_NS (30 * SY_NS_PER_S)
/* A stream that lived this long was a good one: the next dial need not hold back. */
#define GOOD_STREAM_NS (5 * SY_NS_PER_S)

static void schedule(struct dp_shard *shard, int64_t delay_ns)
{
    int64_t at_ns = sy_loop_now_ns(shard->op->loop) + delay_ns;
    if (sy_timer_running(&shard->timer) && shard->timer.deadline_ns <= at_ns)
        return;
    sy_timer_start(shard->op->loop, &shard->timer, at_ns);
}

/* Half of it is chance, so that a cluster's worth of operators does not come back at once. */
static void schedule_backoff(struct dp_shard *shard)
{
    int64_t half_ns = shard->backoff_ns / 2;
    int64_t jitter_ns = (int64_t)sy_rng_below(&shard->op->rng, (uint64_t)half_ns + 1);
    schedule(shard, half_ns + jitter_ns);
    shard->backoff_ns *= 2;
    if (shard->backoff_ns > BACKOFF_MAX_NS)
        shard->backoff_ns = BACKOFF_MAX_NS;
}

/* Where is the partition now? Any other shard may have it next. */
static void ask_others(struct dp_operator *op, const struct dp_shard *but)
{
    for (size_t i = 0; i < op->shard_count; i++) {
        struct dp_shard *shard = op->shards[i];
        if (shard == but || shard->unreachable || shard->describe)
            continue;
        shard->renew_ns = RENEW_MIN_NS;
        schedule(shard, (int64_t)sy_rng_below(&op->rng, RENEW_MIN_NS));
    }
}

void dp_dial_again(struct dp_shard *shard, int64_t stream_lived_ns)
{
    if (shard->op->sm.state != DP_RUNNING)
        return;
    if (stream_lived_ns >= GOOD_STREAM_NS)
        shard->backoff_ns = BACKOFF_MIN_NS;
    schedule_backoff(shard);
    if (stream_lived_ns > 0)
        ask_others(shard->op, shard);
}

static bool all_up(const struct dp_operator *op)
{
    const struct dp_partition *partition = op->partitions;
    while (partition && partition->up)
        partition = partition->hh.next;
    return !partition;
}

static void schedule_renewal(struct dp_shard *shard)
{
    if (all_up(shard->op))
        shard->renew_ns = RENEW_MAX_NS;
    schedule(shard, shard->renew_ns);
    shard->renew_ns *= 2;
    if (shard->renew_ns > RENEW_MAX_NS)
        shard->renew_ns = RENEW_MAX_NS;
}

static struct dp_stream *find_stream(struct dp_shard *shard, uint32_t partition)
{
    struct dp_stream *stream = shard->streams;
    while (stream && stream->partition->id != partition)
        stream = stream->next;
    return stream;
}

static void open_partition(struct dp_shard *shard, uint32_t id)
{
    struct dp_stream *stream = find_stream(shard, id);
    if (!stream) {
        struct dp_partition *partition = dp_partition_get(shard->op, id, true);
        if (!partition)
            return; /* more than DP_PARTITIONS_MAX in this region */
        stream = dp_stream_new(shard, partition);
        stream->next = shard->streams;
        shard->streams = stream;
    }
    stream->described = true;
    if (stream->sm.state == DP_STREAM_DOWN)
        dp_stream_open(stream);
}

static void forget_undescribed(struct dp_shard *shard)
{
    struct dp_stream **at = &shard->streams;
    while (*at) {
        struct dp_stream *stream = *at;
        if (stream->described || stream->sm.state != DP_STREAM_DOWN) {
            at = &stream->next;
            continue;
        }
        *at = stream->next;
        dp_stream_free(stream);
    }
}

static void on_described(void *ctx, struct sy_span message)
{
    struct dp_shard *shard = ctx;
    struct dp_operator *op = shard->op;
    dp_touch(op);
    sy_arena_reset(&op->arena);
    const Switchyard__Internal__DescribeResponse *response = pb_unpack(
        &switchyard__internal__describe_response__descriptor, &op->arena, message);
    if (!response || response->n_partitions > DP_PARTITIONS_MAX)
        return; /* as if it had not answered */
    for (struct dp_stream *stream = shard->streams; stream; stream = stream->next)
        stream->described = false;
    for (size_t i = 0; i < response->n_partitions; i++)
        open_partition(shard, response->partitions[i]);
    forget_undescribed(shard);
    shard->answered = true;
}

static void on_describe_closed(void *ctx, const struct sy_status *status)
{
    struct dp_shard *shard = ctx;
    struct dp_operator *op = shard->op;
    dp_touch(op);
    sy_call_unref(sy_take(shard->describe));
    if (status->code == SY_CODE_OK && shard->answered) {
        shard->unreachable = false;
        schedule_renewal(shard);
        return;
    }
    if (!shard->unreachable)
        sy_log(op->log, &dp_events, DP_EV_SHARD_UNREACHABLE, SY_STR("shard", shard->target),
               SY_STR("status", sy_code_name(status->code)), SY_STR("why", status->message.text));
    shard->unreachable = true;
    schedule_backoff(shard);
}

static const struct sy_call_sink describe_sink = {
    .on_message = on_described,
    .on_closed = on_describe_closed,
};

/* As a stream, since a stream's call is ours: it can be let go of at any moment. */
static void describe(void *arg)
{
    struct dp_shard *shard = arg;
    dp_touch(shard->op);
    if (shard->describe || shard->op->sm.state != DP_RUNNING)
        return;
    struct sy_call_options options = {
        .method = "/switchyard.internal.ControlPlane/Describe",
        .timeout_ns = DESCRIBE_TIMEOUT_NS,
    };
    shard->answered = false;
    shard->describe = sy_channel_open(shard->channel, shard->op->loop, &options, &describe_sink,
                                      shard);
    struct sy_buf request = {0}; /* an empty DescribeRequest */
    int r = sy_call_send(shard->describe, &request);
    SY_ASSERT(r == 0); /* the first message always has room */
    sy_call_half_close(shard->describe);
}

int dp_shards_new(struct dp_operator *op, const char *const *targets, struct sy_error_text *error)
{
    size_t count = 0;
    while (targets && targets[count])
        count++;
    if (count > SHARDS_MAX) {
        sy_error_text_set(error, "shards: %zu targets; at most %d", count, SHARDS_MAX);
        return -EINVAL;
    }
    op->shards = sy_calloc(count + 1, sizeof(struct dp_shard *));
    for (size_t i = 0; i < count; i++) {
        if (!targets[i][0]) {
            sy_error_text_set(error, "shards: entry %zu is empty; expected host:port", i + 1);
            return -EINVAL;
        }
        struct dp_shard *shard = sy_new(struct dp_shard);
        shard->op = op;
        shard->target = sy_strdup(targets[i]);
        shard->backoff_ns = BACKOFF_MIN_NS;
        shard->renew_ns = RENEW_MIN_NS;
        shard->channel = sy_channel_new(op->rpc, targets[i]);
        sy_timer_init(&shard->timer, describe, shard);
        op->shards[op->shard_count++] = shard;
        schedule(shard, 0);
    }
    return 0;
}

void dp_shards_stop(struct dp_operator *op)
{
    for (size_t i = 0; i < op->shard_count; i++) {
        struct dp_shard *shard = op->shards[i];
        sy_timer_stop(op->loop, &shard->timer);
        if (shard->describe)
            dp_links_end_call(&op->links, sy_take(shard->describe), NULL);
        for (struct dp_stream *stream = shard->streams; stream; stream = stream->next)
            dp_link_close(&stream->link, SY_CODE_UNAVAILABLE, "the operator is stopping");
    }
}

static void shard_free(struct dp_shard *shard)
{
    sy_timer_stop(shard->op->loop, &shard->timer);
    if (shard->describe)
        dp_links_end_call(&shard->op->links, sy_take(shard->describe), NULL);
    while (shard->streams) {
        struct dp_stream *stream = shard->streams;
        shard->streams = stream->next;
        dp_stream_free(stream);
    }
    sy_channel_free(shard->channel);
    free(shard->target);
    free(shard);
}

void dp_shards_free(struct dp_operator *op)
{
    for (size_t i = 0; i < op->shard_count; i++)
        shard_free(op->shards[i]);
    free(op->shards);
    op->shards = NULL;
    op->shard_count = 0;
}

void dp_shards_forgive(struct dp_operator *op, int64_t now_ns)
{
    for (size_t i = 0; i < op->shard_count; i++) {
        for (struct dp_stream *stream = op->shards[i]->streams; stream; stream = stream->next)
            dp_link_forgive(&stream->link, now_ns);
    }
}

void dp_shards_tell(struct dp_operator *op, bool shapes)
{
    for (size_t i = 0; i < op->shard_count; i++) {
        for (struct dp_stream *stream = op->shards[i]->streams; stream; stream = stream->next) {
            if (stream->sm.state != DP_STREAM_UP)
                continue;
            stream->shapes_due = stream->shapes_due || shapes;
            stream->nodes_due = true;
            dp_link_mark(&stream->link);
        }
    }
}

void dp_shards_beat(struct dp_operator *op)
{
    for (size_t i = 0; i < op->shard_count; i++) {
        for (struct dp_stream *stream = op->shards[i]->streams; stream; stream = stream->next) {
            if (stream->nodes_due)
                dp_link_mark(&stream->link);
        }
    }
}
