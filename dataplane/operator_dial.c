/*
 * Dialling: each shard is asked which partitions it has, and goes on telling as long as that call
 * lives; a stream to each partition is kept open. One timer a shard drives it: a call that is lost
 * is made again after a back-off, and so is a stream while its shard still tells of the partition.
 *
 * Shards also tell where the region's other shards are. Those that are configured are the first
 * contacts, and stay. Another one is let go of when it is out of reach and no shard's last word
 * names it: so nothing that one shard tells takes away what another does, or what works.
 *
 * One shard may be known by two addresses, as configured and as told. It is then asked by both, and
 * each of its partitions has a stream by one of them.
 */
#include "base/mem.h"
#include "dataplane/operator_impl.h"
#include "dataplane/stream.h"
#include "dataplane/target.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define SHARDS_MAX 1024
#define TOLD_MAX 256u /* by one shard; more than a region's partitions have no work */
#define BACKOFF_MIN_NS (100 * SY_NS_PER_MS)
#define BACKOFF_MAX_NS (5 * SY_NS_PER_S)
#define DESCRIBE_TIMEOUT_NS (5 * SY_NS_PER_S) /* for the first answer */
/* To a shard that answers once, as older ones do. */
#define RENEW_NS SY_NS_PER_S
/* So far apart the operators of a region come to a shard that they have heard of. */
#define HEARD_JITTER_NS (20 * SY_NS_PER_MS)
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

/* The same shard by another address, from the shard at index *at on. */
static struct dp_shard *next_twin(const struct dp_shard *shard, size_t *at)
{
    struct dp_operator *op = shard->op;
    while (*at < op->shard_count) {
        struct dp_shard *other = op->shards[(*at)++];
        if (other != shard && shard->name[0] && strcmp(other->name, shard->name) == 0)
            return other;
    }
    return NULL;
}

void dp_dial_again(struct dp_shard *shard, int64_t stream_lived_ns)
{
    if (shard->op->sm.state != DP_RUNNING)
        return;
    if (stream_lived_ns >= GOOD_STREAM_NS)
        shard->backoff_ns = BACKOFF_MIN_NS;
    schedule_backoff(shard);
    size_t at = 0;
    for (struct dp_shard *twin; (twin = next_twin(shard, &at));)
        schedule_backoff(twin);
}

/* ---- streams ---- */

static struct dp_stream *find_stream(struct dp_shard *shard, uint32_t partition)
{
    struct dp_stream *stream = shard->streams;
    while (stream && stream->partition->id != partition)
        stream = stream->next;
    return stream;
}

static bool twin_has_it(const struct dp_shard *shard, uint32_t partition)
{
    size_t at = 0;
    for (struct dp_shard *twin; (twin = next_twin(shard, &at));) {
        const struct dp_stream *stream = find_stream(twin, partition);
        if (stream && stream->sm.state != DP_STREAM_DOWN)
            return true;
    }
    return false;
}

static void told_of_partition(struct dp_shard *shard, uint32_t id)
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
}

/* Those that the shard has are opened, those that it had are forgotten, when they are down. */
static void open_streams(struct dp_shard *shard)
{
    struct dp_stream **at = &shard->streams;
    while (*at) {
        struct dp_stream *stream = *at;
        bool down = stream->sm.state == DP_STREAM_DOWN;
        if (down && !stream->described) {
            *at = stream->next;
            dp_stream_free(stream);
            continue;
        }
        if (down && !shard->op->lapsed && !twin_has_it(shard, stream->partition->id))
            dp_stream_open(stream);
        at = &stream->next;
    }
}

/* ---- the shards that are known ---- */

static void drop_told(struct dp_shard *shard)
{
    for (size_t i = 0; i < shard->told_count; i++) {
        SY_ASSERT(shard->told[i]->tellers > 0);
        shard->told[i]->tellers--;
    }
    free(shard->told);
    shard->told = NULL;
    shard->told_count = 0;
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
    free(shard->told);
    sy_channel_free(shard->channel);
    free(shard->target);
    free(shard);
}

/* The data service asks the same. */
static void tell_data(struct dp_operator *op)
{
    if (!op->data)
        return;
    const char **targets = sy_calloc(op->shard_count + 1, sizeof(*targets));
    for (size_t i = 0; i < op->shard_count; i++)
        targets[i] = op->shards[i]->target;
    dp_data_set_shards(op->data, targets, op->shard_count);
    free(targets);
}

static bool in_use(const struct dp_shard *shard)
{
    const struct dp_stream *stream = shard->streams;
    while (stream && stream->sm.state == DP_STREAM_DOWN)
        stream = stream->next;
    return shard->configured || shard->tellers > 0 || stream;
}

/* It is out of reach. */
static void let_go(struct dp_shard *shard)
{
    struct dp_operator *op = shard->op;
    size_t i = 0;
    while (op->shards[i] != shard)
        i++;
    op->shards[i] = op->shards[--op->shard_count];
    op->shards[op->shard_count] = NULL;
    sy_log(op->log, &dp_events, DP_EV_SHARD_GONE, SY_STR("shard", shard->target));
    drop_told(shard);
    shard_free(shard);
    tell_data(op);
}

static void on_timer(void *arg);

/* NULL: there are too many. */
static struct dp_shard *shard_add(struct dp_operator *op, const char *target)
{
    if (op->shard_count == SHARDS_MAX)
        return NULL;
    struct dp_shard *shard = sy_new(struct dp_shard);
    shard->op = op;
    shard->target = sy_strdup(target);
    shard->backoff_ns = BACKOFF_MIN_NS;
    shard->channel = sy_channel_new(op->rpc, target);
    sy_timer_init(&shard->timer, on_timer, shard);
    op->shards[op->shard_count++] = shard;
    return shard;
}

static void told_of_shard(struct dp_shard *teller, const char *target)
{
    struct dp_operator *op = teller->op;
    struct dp_shard *shard = NULL;
    for (size_t i = 0; i < op->shard_count && !shard; i++) {
        if (strcmp(op->shards[i]->target, target) == 0)
            shard = op->shards[i];
    }
    if (!shard) {
        shard = shard_add(op, target);
        if (!shard)
            return;
        sy_log(op->log, &dp_events, DP_EV_SHARD_FOUND, SY_STR("shard", target),
               SY_STR("told_by", teller->target));
    }
    shard->tellers++;
    teller->told[teller->told_count++] = shard;
    if (!shard->describe) { /* it may be back */
        shard->backoff_ns = BACKOFF_MIN_NS;
        schedule(shard, (int64_t)sy_rng_below(&op->rng, HEARD_JITTER_NS));
    }
}

static void told_of_shards(struct dp_shard *teller, char *const *targets, size_t count)
{
    size_t known = teller->op->shard_count;
    drop_told(teller);
    count = count < TOLD_MAX ? count : TOLD_MAX;
    teller->told = sy_calloc(count + 1, sizeof(struct dp_shard *));
    for (size_t i = 0; i < count; i++) {
        if (dp_target_ok(targets[i]))
            told_of_shard(teller, targets[i]);
    }
    if (teller->op->shard_count > known)
        tell_data(teller->op);
}

/* ---- asking ---- */

/* Said each time that a shard is asked: so an agent that comes later is told, too. */
static void was_deleted(struct dp_operator *op, const char *why)
{
    if (!op->deleted)
        sy_log(op->log, &dp_events, DP_EV_DELETED, SY_STR("cluster", op->cluster),
               SY_STR("why", why));
    op->deleted = true;
    dp_step(op, &(struct sch_op_event){.type = SCH_OP_CANCEL_ALL,
                                       .u.reason = "its cluster was deleted"});
}

/* As of a deletion; but it is let in again, and who is behind may still tell of it then. */
static void was_fenced(struct dp_operator *op, const char *why, uint64_t fence)
{
    if (fence <= op->fences)
        return;
    if (fence != op->fence)
        sy_log(op->log, &dp_events, DP_EV_FENCED, SY_STR("cluster", op->cluster),
               SY_STR("why", why));
    op->fence = fence;
    dp_step(op,
            &(struct sch_op_event){.type = SCH_OP_CANCEL_ALL, .u.reason = "its cluster is fenced"});
}

static void on_described(void *ctx, struct sy_span message)
{
    struct dp_shard *shard = ctx;
    struct dp_operator *op = shard->op;
    dp_touch(op);
    sy_arena_reset(&op->arena);
    const Switchyard__Internal__DescribeResponse *response = pb_unpack(
        &switchyard__internal__describe_response__descriptor, &op->arena, message);
    if (!response || response->n_partitions > DP_PARTITIONS_MAX ||
        !dp_copy_name(shard->name, sizeof(shard->name), response->shard, true))
        return; /* as if it had not answered */
    if (response->deleted[0]) {
        was_deleted(op, response->deleted);
        return; /* the call ends */
    }
    if (response->fenced[0]) {
        was_fenced(op, response->fenced, response->fences);
        return; /* likewise */
    }
    if (response->fences > op->fences)
        op->fences = response->fences;
    for (struct dp_stream *stream = shard->streams; stream; stream = stream->next)
        stream->described = false;
    for (size_t i = 0; i < response->n_partitions; i++)
        told_of_partition(shard, response->partitions[i]);
    told_of_shards(shard, response->endpoints, response->n_endpoints);
    shard->answered = true;
    shard->unreachable = false;
    open_streams(shard);
}

/* The call is over. */
static void undescribed(struct dp_shard *shard, const struct sy_status *status)
{
    struct dp_operator *op = shard->op;
    if (shard->answered && status->code == SY_CODE_OK) {
        schedule(shard, RENEW_NS + (int64_t)sy_rng_below(&op->rng, HEARD_JITTER_NS));
        return;
    }
    bool refused = status->code == SY_CODE_UNAUTHENTICATED ||
                   status->code == SY_CODE_PERMISSION_DENIED;
    if (!shard->unreachable)
        sy_log(op->log, &dp_events, refused ? DP_EV_NOT_LET_IN : DP_EV_SHARD_UNREACHABLE,
               SY_STR("shard", shard->target), SY_STR("status", sy_code_name(status->code)),
               SY_STR("why", status->message.text));
    shard->unreachable = true;
    if (sy_loop_now_ns(op->loop) - shard->asked_ns >= GOOD_STREAM_NS && shard->answered)
        shard->backoff_ns = BACKOFF_MIN_NS;
    if (shard->answered || in_use(shard))
        schedule_backoff(shard);
    else
        let_go(shard);
}

static void on_describe_closed(void *ctx, const struct sy_status *status)
{
    struct dp_shard *shard = ctx;
    dp_touch(shard->op);
    sy_call_unref(sy_take(shard->describe));
    undescribed(shard, status);
}

static const struct sy_call_sink describe_sink = {
    .on_message = on_described,
    .on_closed = on_describe_closed,
};

size_t dp_credentials(const struct dp_operator *op, struct sy_metadata ret[DP_CREDENTIALS_MAX])
{
    ret[0] = (struct sy_metadata){"x-switchyard-cluster", op->cluster};
    ret[1] = (struct sy_metadata){"authorization", op->authorization};
    return op->authorization ? 2 : 1;
}

static void describe(struct dp_shard *shard)
{
    struct dp_operator *op = shard->op;
    struct sy_metadata metadata[DP_CREDENTIALS_MAX];
    struct sy_call_options options = {.method = "/switchyard.internal.ControlPlane/Describe",
                                      .metadata = metadata,
                                      .metadata_count = dp_credentials(op, metadata)};
    shard->answered = false;
    shard->asked_ns = sy_loop_now_ns(op->loop);
    shard->describe = sy_channel_open(shard->channel, op->loop, &options, &describe_sink, shard);
    struct sy_buf request = {0};
    dp_wire_put_u64(&request, 1, 1); /* follow */
    int r = sy_call_send(shard->describe, &request);
    SY_ASSERT(r == 0); /* the first message always has room */
    sy_call_half_close(shard->describe);
    schedule(shard, DESCRIBE_TIMEOUT_NS);
}

static void on_timer(void *arg)
{
    struct dp_shard *shard = arg;
    struct dp_operator *op = shard->op;
    dp_touch(op);
    if (op->sm.state != DP_RUNNING)
        return;
    if (!shard->describe) {
        describe(shard);
    } else if (shard->answered) {
        open_streams(shard);
    } else if (sy_loop_now_ns(op->loop) - shard->asked_ns < DESCRIBE_TIMEOUT_NS) {
        schedule(shard, shard->asked_ns + DESCRIBE_TIMEOUT_NS - sy_loop_now_ns(op->loop));
    } else {
        struct sy_status status = {0};
        sy_status_set(&status, SY_CODE_DEADLINE_EXCEEDED, "no answer in %lld ms",
                      (long long)(DESCRIBE_TIMEOUT_NS / SY_NS_PER_MS));
        dp_links_end_call(&op->links, sy_take(shard->describe), NULL);
        undescribed(shard, &status);
    }
}

/* ---- life ---- */

int dp_shards_new(struct dp_operator *op, const char *const *targets, struct sy_error_text *error)
{
    size_t count = 0;
    while (targets && targets[count])
        count++;
    if (count > SHARDS_MAX) {
        sy_error_text_set(error, "shards: %zu targets; at most %d", count, SHARDS_MAX);
        return -EINVAL;
    }
    op->shards = sy_calloc(SHARDS_MAX, sizeof(struct dp_shard *));
    for (size_t i = 0; i < count; i++) {
        if (!targets[i][0]) {
            sy_error_text_set(error, "shards: entry %zu is empty; expected host:port", i + 1);
            return -EINVAL;
        }
        struct dp_shard *shard = shard_add(op, targets[i]);
        shard->configured = true;
        schedule(shard, 0);
    }
    tell_data(op);
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

void dp_shards_silence(struct dp_operator *op)
{
    SY_ASSERT(op->lapsed);
    for (size_t i = 0; i < op->shard_count; i++) {
        for (struct dp_stream *stream = op->shards[i]->streams; stream; stream = stream->next)
            dp_link_close(&stream->link, SY_CODE_UNAVAILABLE,
                          "the operator cannot tell whether it still is its cluster's active one");
    }
}

void dp_shards_resume(struct dp_operator *op)
{
    SY_ASSERT(!op->lapsed);
    for (size_t i = 0; i < op->shard_count; i++) {
        op->shards[i]->backoff_ns = BACKOFF_MIN_NS;
        schedule(op->shards[i], 0);
    }
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
