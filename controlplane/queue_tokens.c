/*
 * Limits of queues hold over all partitions of the region: what these say to each other about them
 * (scheduler/tokens.h). What is lost on the way is said again, so nothing is tried twice here.
 *
 * From lane to lane in one process. What is for other shards the front gathers, and sends in one
 * call to each of them, one at a time; what comes while it is under way goes with the next one, and
 * is dropped above a bound.
 */
#include "base/mem.h"
#include "controlplane/queues.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include "switchyard/internal/queues.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define GATHER_NS (2 * SY_NS_PER_MS)
#define TIMEOUT_NS SY_NS_PER_S
#define PEER_BYTES_MAX ((size_t)256 << 10)
#define UNPACK_BYTES_MAX ((size_t)64 << 20)

typedef Switchyard__Internal__TokenMessage TokenMessage;
typedef Switchyard__Internal__TokenReport TokenReport;
typedef Switchyard__Internal__TokenAllowance TokenAllowance;
typedef Switchyard__Internal__TokenUse TokenUse;

struct token_post {
    struct cp_post post; /* first */
    struct cp_lane *to;
    struct cp_token_message message;
};

/* What is for another shard. */
struct cp_token_peer {
    struct cp_token_peer *next;
    struct sy_channel *channel;
    struct sy_buf messages; /* a TakeTokensRequest */
    struct sy_call *call;   /* NULL: none is under way */
    struct sy_timer timer;
    struct sy_loop *loop;
};

/* ---- as bytes ---- */

static TokenUse pack_use(const struct sch_use *use)
{
    TokenUse m = SWITCHYARD__INTERNAL__TOKEN_USE__INIT;
    m.actions = use->actions;
    m.cpu_milli = use->cpu_milli;
    m.memory_bytes = use->memory_bytes;
    m.gpu_milli = use->gpu_milli;
    return m;
}

static void pack_message(struct sy_buf *buf, uint32_t to, const struct cp_token_message *message)
{
    Switchyard__Internal__TakeTokensRequest request =
        SWITCHYARD__INTERNAL__TAKE_TOKENS_REQUEST__INIT;
    TokenMessage m = SWITCHYARD__INTERNAL__TOKEN_MESSAGE__INIT, *messages[] = {&m};
    TokenReport report = SWITCHYARD__INTERNAL__TOKEN_REPORT__INIT;
    TokenAllowance allowance = SWITCHYARD__INTERNAL__TOKEN_ALLOWANCE__INIT;
    Switchyard__Internal__TokenAsk ask = SWITCHYARD__INTERNAL__TOKEN_ASK__INIT;
    TokenUse allowed, used, next, limits;
    m.to = to;
    m.project = (char *)(uintptr_t)message->key.project;
    m.domain = (char *)(uintptr_t)message->key.domain;
    m.name = (char *)(uintptr_t)message->key.name;
    switch (message->type) {
    case CP_TOKEN_REPORT:
        m.message_case = SWITCHYARD__INTERNAL__TOKEN_MESSAGE__MESSAGE_REPORT;
        m.report = &report;
        m.term = message->u.report.term;
        report.partition = message->u.report.partition;
        report.epoch = message->u.report.epoch;
        report.sequence = message->u.report.sequence;
        report.wanted = message->u.report.wanted;
        report.partitions = message->u.report.partitions;
        allowed = pack_use(&message->u.report.allowed);
        used = pack_use(&message->u.report.used);
        next = pack_use(&message->u.report.next);
        report.allowed = &allowed;
        report.used = &used;
        report.next = &next;
        break;
    case CP_TOKEN_ALLOW:
        m.message_case = SWITCHYARD__INTERNAL__TOKEN_MESSAGE__MESSAGE_ALLOWANCE;
        m.allowance = &allowance;
        m.term = message->u.allowance.term;
        allowance.epoch = message->u.allowance.epoch;
        allowance.sequence = message->u.allowance.sequence;
        allowed = pack_use(&message->u.allowance.allowed);
        limits = pack_use(&message->u.allowance.limits);
        allowance.allowed = &allowed;
        allowance.limits = &limits;
        break;
    case CP_TOKEN_ASK:
        m.message_case = SWITCHYARD__INTERNAL__TOKEN_MESSAGE__MESSAGE_ASK;
        m.ask = &ask;
        m.term = message->u.ask.term;
        break;
    }
    request.n_messages = 1;
    request.messages = messages;
    pb_pack(&request.base, buf); /* parts joined are one request with all of them */
}

static struct sch_use read_use(const TokenUse *m)
{
    if (m == NULL)
        return (struct sch_use){0};
    return (struct sch_use){m->actions, m->cpu_milli, m->memory_bytes, m->gpu_milli};
}

static struct sch_use read_limits(const TokenUse *m)
{
    return m != NULL ? read_use(m) : (struct sch_use){1, 1, 1, 1}; /* as low as any that may hold */
}

static bool read_message(const TokenMessage *m, uint32_t partitions, struct cp_token_message *ret)
{
    Switchyard__V1__QueueId id = SWITCHYARD__V1__QUEUE_ID__INIT;
    struct sy_error_text unused;
    id.project = m->project;
    id.domain = m->domain;
    id.name = m->name;
    if (m->to >= partitions || cp_queue_id_check(&id, &unused) < 0)
        return false;
    *ret = (struct cp_token_message){.key = cp_queue_key(&id)};
    switch (m->message_case) {
    case SWITCHYARD__INTERNAL__TOKEN_MESSAGE__MESSAGE_REPORT:
        ret->type = CP_TOKEN_REPORT;
        ret->u.report = (struct sch_token_report){.partition = m->report->partition,
                                                  .epoch = m->report->epoch,
                                                  .partitions = m->report->partitions,
                                                  .term = m->term,
                                                  .sequence = m->report->sequence,
                                                  .allowed = read_use(m->report->allowed),
                                                  .used = read_use(m->report->used),
                                                  .wanted = m->report->wanted,
                                                  .next = read_use(m->report->next)};
        return m->report->partition < partitions && m->report->partitions <= partitions;
    case SWITCHYARD__INTERNAL__TOKEN_MESSAGE__MESSAGE_ALLOWANCE:
        ret->type = CP_TOKEN_ALLOW;
        ret->u.allowance = (struct sch_token_allowance){
            .partition = m->to,
            .epoch = m->allowance->epoch,
            .sequence = m->allowance->sequence,
            .term = m->term,
            .allowed = read_use(m->allowance->allowed),
            .limits = read_limits(m->allowance->limits)};
        return true;
    case SWITCHYARD__INTERNAL__TOKEN_MESSAGE__MESSAGE_ASK:
        ret->type = CP_TOKEN_ASK;
        ret->u.ask.partition = m->to;
        ret->u.ask.term = m->term;
        return m->term > 0;
    default:
        return false;
    }
}

/* ---- to a partition of this process ---- */

static void drop(struct cp_post *post)
{
    free(post);
}

static void arrive(struct cp_post *post)
{
    struct token_post *token = (struct token_post *)post;
    cp_partition_take_token(token->to->partition, &token->message);
    free(token);
}

static void post_to(struct cp_lane *from, struct cp_lane *through, void (*run)(struct cp_post *),
                    uint32_t to, const struct cp_token_message *message)
{
    struct token_post *token = sy_new(struct token_post);
    token->post.run = run;
    token->post.drop = drop;
    token->to = &from->shard->lanes[to];
    token->message = *message;
    cp_lane_post(from, through, &token->post);
}

void cp_tokens_arrive(void *ctx, struct sy_call *call, struct sy_span bytes)
{
    struct cp_shard *shard = ctx;
    struct sy_buf empty = {0};
    struct sy_arena arena;
    sy_arena_init(&arena, UNPACK_BYTES_MAX);
    const Switchyard__Internal__TakeTokensRequest *m = pb_unpack(
        &switchyard__internal__take_tokens_request__descriptor, &arena, bytes);
    bool sound = m != NULL;
    for (size_t i = 0; sound && i < m->n_messages; i++) {
        struct cp_token_message message;
        sound = read_message(m->messages[i], shard->room, &message);
        uint32_t to = m->messages[i]->to;
        if (sound)
            post_to(cp_front(shard), &shard->lanes[to], arrive, to, &message);
    }
    if (sound)
        sy_call_reply(call, &empty);
    else
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT,
                     "these are no messages about limits of queues");
    sy_arena_deinit(&arena);
}

/* ---- to another shard; on the front ---- */

static void start_timer(struct cp_token_peer *peer)
{
    if (peer->call == NULL && peer->messages.len > 0 && !sy_timer_running(&peer->timer))
        sy_timer_start_in(peer->loop, &peer->timer, GATHER_NS);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct cp_token_peer *peer = ctx;
    (void)status; /* what was lost is said again */
    sy_call_unref(sy_take(peer->call));
    start_timer(peer);
}

static void send_gathered(void *arg)
{
    static const struct sy_call_sink sink = {.on_closed = on_closed};
    static const struct sy_call_options options = {.method = CP_TAKE_TOKENS,
                                                   .timeout_ns = TIMEOUT_NS};
    struct cp_token_peer *peer = arg;
    struct sy_buf messages = peer->messages;
    peer->messages = (struct sy_buf){0};
    peer->call = sy_channel_open(peer->channel, peer->loop, &options, &sink, peer);
    int r = sy_call_send(peer->call, &messages);
    SY_ASSERT(r == 0); /* the first one always has room */
    sy_call_half_close(peer->call);
}

static struct cp_token_peer *peer_of(struct cp_shard *shard, struct sy_channel *channel)
{
    struct cp_token_peer *peer = shard->token_peers;
    while (peer != NULL && peer->channel != channel)
        peer = peer->next;
    if (peer == NULL) {
        peer = sy_new(struct cp_token_peer);
        peer->channel = channel;
        peer->loop = cp_front(shard)->loop;
        sy_timer_init(&peer->timer, send_gathered, peer);
        peer->next = shard->token_peers;
        shard->token_peers = peer;
    }
    return peer;
}

static void gather(struct cp_post *post)
{
    struct token_post *token = (struct token_post *)post;
    struct cp_shard *shard = token->to->shard;
    struct sy_channel *channel = cp_shard_route(shard, token->to->index);
    struct cp_token_peer *peer = channel != NULL ? peer_of(shard, channel) : NULL;
    if (peer != NULL && peer->messages.len < PEER_BYTES_MAX) {
        pack_message(&peer->messages, token->to->index, &token->message);
        start_timer(peer);
    }
    free(token);
}

/* Takes it out of its list. */
static void peer_free(struct cp_token_peer **at)
{
    struct cp_token_peer *peer = *at;
    *at = peer->next;
    if (sy_timer_running(&peer->timer))
        sy_timer_stop(peer->loop, &peer->timer);
    if (peer->call != NULL) {
        sy_call_set_sink(peer->call, NULL, NULL);
        sy_call_finish(peer->call, NULL);
        sy_call_unref(peer->call);
    }
    sy_buf_deinit(&peer->messages);
    free(peer);
}

void cp_tokens_forget(struct cp_shard *shard, const struct sy_channel *channel)
{
    struct cp_token_peer **at = &shard->token_peers;
    while (*at != NULL && (*at)->channel != channel)
        at = &(*at)->next;
    if (*at != NULL)
        peer_free(at);
}

void cp_tokens_free(struct cp_shard *shard)
{
    while (shard->token_peers != NULL)
        peer_free(&shard->token_peers);
}

/* ---- what a partition says ---- */

static uint32_t receiver(const struct cp_shard *shard, const struct cp_token_message *message)
{
    switch (message->type) {
    case CP_TOKEN_REPORT:
        return cp_shard_find(shard, cp_queue_hash(message->key.project, message->key.domain));
    case CP_TOKEN_ALLOW:
        return message->u.allowance.partition;
    case CP_TOKEN_ASK:
        break;
    }
    return message->u.ask.partition;
}

static void send(void *ctx, const struct cp_token_message *message)
{
    struct cp_lane *lane = ctx;
    struct cp_shard *shard = lane->shard;
    uint32_t to = receiver(shard, message);
    SY_ASSERT(to < shard->room);
    if (cp_shard_has(shard, to))
        post_to(lane, &shard->lanes[to], arrive, to, message);
    else
        post_to(lane, cp_front(shard), gather, to, message);
}

void cp_queue_tokens_init(struct cp_lane *lane)
{
    cp_partition_set_token_sink(lane->partition, send, lane);
}
