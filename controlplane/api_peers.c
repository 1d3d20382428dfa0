/*
 * switchyard.internal.Partitions: what other shards' partitions say to ours about queues
 * (queue_sync.c, queue_tokens.c), and how ours say it to theirs.
 */
#include "base/mem.h"
#include "controlplane/ask.h"
#include "controlplane/queue_sync.h"
#include "proto/pb.h"

#include "switchyard/internal/queues.pb-c.h"

#include <stdatomic.h>
#include <stdlib.h>

#define TAKE_QUEUES "/switchyard.internal.Partitions/TakeQueues"
/* What waits for one partition, whose loop may be busy for seconds; one message always may. */
#define ARRIVING_BYTES_MAX ((size_t)64 << 20)
#define UNPACK_BYTES_MIN ((size_t)1 << 20)
/* A shard that stands still is not waited for: who tells tries again. */
#define TIMEOUT_NS SY_NS_PER_S

typedef Switchyard__Internal__TakeQueuesRequest TakeQueuesRequest;
typedef Switchyard__Internal__TakeQueuesResponse TakeQueuesResponse;

/* ---- theirs ---- */

/* A call on its way to the partition's loop, and there. */
struct arrival {
    struct cp_queue_taking taking; /* first */
    struct cp_post post;
    struct cp_lane *lane;
    struct sy_call *call;
    struct sy_buf copies;
};

static size_t arrival_bytes(const struct arrival *arrival)
{
    return sizeof(*arrival) + arrival->copies.len;
}

static void arrival_free(struct arrival *arrival)
{
    atomic_fetch_sub(&arrival->lane->arriving_bytes, arrival_bytes(arrival));
    sy_call_unref(arrival->call);
    sy_buf_deinit(&arrival->copies);
    sy_status_deinit(&arrival->taking.status);
    free(arrival);
}

static void drop(struct cp_queue_taking *taking)
{
    arrival_free((struct arrival *)taking);
}

static void drop_post(struct cp_post *post)
{
    arrival_free(sy_container_of(post, struct arrival, post));
}

static void took(struct cp_queue_taking *taking)
{
    struct arrival *arrival = (struct arrival *)taking;
    TakeQueuesResponse response = SWITCHYARD__INTERNAL__TAKE_QUEUES_RESPONSE__INIT;
    struct sy_buf bytes = {0};
    if (taking->status.code == SY_CODE_OK) {
        response.behind = taking->behind;
        pb_pack(&response.base, &bytes);
        sy_call_reply(sy_call_ref(arrival->call), &bytes);
    } else {
        sy_call_finish(arrival->call, &taking->status);
    }
    arrival_free(arrival);
}

static void arrived(struct cp_post *post)
{
    struct arrival *arrival = sy_container_of(post, struct arrival, post);
    cp_queue_take(arrival->lane, &arrival->taking);
}

static void arrives(void *arg)
{
    struct arrival *arrival = arg;
    cp_lane_post(arrival->lane, arrival->lane, &arrival->post);
}

static void arrival_new(struct cp_lane *lane, struct sy_call *call, const TakeQueuesRequest *m)
{
    struct arrival *arrival = sy_new(struct arrival);
    arrival->lane = lane;
    arrival->call = call;
    arrival->copies = sy_buf_copy(m->copies.data, m->copies.len);
    arrival->post = (struct cp_post){.run = arrived, .drop = drop_post};
    arrival->taking = (struct cp_queue_taking){.home = m->home,
                                               .copies = sy_buf_span(&arrival->copies),
                                               .anew = m->anew,
                                               .done = took,
                                               .drop = drop};
    atomic_fetch_add(&lane->arriving_bytes, arrival_bytes(arrival));
    if (lane->loop == sy_call_loop(call))
        arrives(arrival);
    else
        sy_call_rehome(call, lane->loop, arrives, arrival);
}

static bool has_room(struct cp_lane *lane, size_t bytes)
{
    size_t arriving = atomic_load(&lane->arriving_bytes);
    return arriving == 0 || arriving + bytes <= ARRIVING_BYTES_MAX;
}

static void take_queues(void *ctx, struct sy_call *call, struct sy_span bytes)
{
    struct cp_shard *shard = ctx;
    uint32_t count = cp_shard_partitions(shard);
    struct sy_arena arena;
    sy_arena_init(&arena, UNPACK_BYTES_MIN + 2 * bytes.len);
    const TakeQueuesRequest *m = pb_unpack(&switchyard__internal__take_queues_request__descriptor,
                                           &arena, bytes);
    if (m != NULL && m->partition != m->home && m->home < shard->room && m->home >= count) {
        sy_call_fail(call, SY_CODE_UNAVAILABLE,
                     "shard %s does not know yet that there is a partition %u; try again",
                     shard->name, m->home);
    } else if (m == NULL || m->partition >= count || m->home >= count || m->home == m->partition) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT,
                     "expected queues of one of this region's %u partitions for another", count);
    } else if (!cp_shard_serves(shard, m->partition)) {
        cp_ask_refuse(call, m->partition, shard->name);
    } else if (!has_room(&shard->lanes[m->partition], m->copies.len)) {
        sy_call_fail(call, SY_CODE_RESOURCE_EXHAUSTED,
                     "partition %u of shard %s has not taken yet what it was told of queues "
                     "before; try again",
                     m->partition, shard->name);
    } else {
        arrival_new(&shard->lanes[m->partition], call, m);
    }
    sy_arena_deinit(&arena);
}

void cp_peers_serve(struct cp_shard *shard, struct sy_loop *loop)
{
    const struct sy_method methods[] = {
        {.path = TAKE_QUEUES, .kind = SY_METHOD_UNARY, .handler = take_queues},
        {.path = CP_TAKE_TOKENS, .kind = SY_METHOD_UNARY, .handler = cp_tokens_arrive},
    };
    for (size_t i = 0; i < SY_COUNT_OF(methods); i++) {
        struct sy_method method = methods[i];
        method.ctx = shard;
        method.loop = loop;
        sy_server_add(shard->server, &method);
    }
}

/* ---- ours ---- */

struct cp_peer_call {
    struct sy_call *call; /* NULL: closed */
    cp_peer_answered_fn answered;
    void *ctx;
    bool heard, behind;
};

static void on_message(void *ctx, struct sy_span bytes)
{
    struct cp_peer_call *pc = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, UNPACK_BYTES_MIN);
    const TakeQueuesResponse *m = pb_unpack(&switchyard__internal__take_queues_response__descriptor,
                                            &arena, bytes);
    pc->heard = m != NULL;
    pc->behind = m != NULL && m->behind;
    sy_arena_deinit(&arena);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct cp_peer_call *pc = ctx;
    struct sy_status nonsense = {0};
    sy_status_set(&nonsense, SY_CODE_INTERNAL, "another shard gave an answer that is none");
    bool sound = pc->heard || status->code != SY_CODE_OK;
    sy_call_unref(sy_take(pc->call));
    pc->answered(pc->ctx, sound ? status : &nonsense, pc->behind); /* may free it */
}

struct cp_peer_call *cp_peer_take_queues(struct cp_lane *lane, uint32_t partition, bool anew,
                                         struct sy_span copies, cp_peer_answered_fn answered,
                                         void *ctx)
{
    static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};
    static const struct sy_call_options options = {.method = TAKE_QUEUES, .timeout_ns = TIMEOUT_NS};
    struct sy_channel *channel = cp_shard_route(lane->shard, partition);
    if (channel == NULL)
        return NULL;
    TakeQueuesRequest m = SWITCHYARD__INTERNAL__TAKE_QUEUES_REQUEST__INIT;
    m.partition = partition;
    m.home = lane->index;
    m.anew = anew;
    m.copies = (ProtobufCBinaryData){copies.len, (uint8_t *)(uintptr_t)copies.data};
    struct sy_buf request = {0};
    pb_pack(&m.base, &request);
    struct cp_peer_call *pc = sy_new(struct cp_peer_call);
    *pc = (struct cp_peer_call){.answered = answered, .ctx = ctx};
    pc->call = sy_channel_open(channel, lane->loop, &options, &sink, pc);
    int r = sy_call_send(pc->call, &request);
    SY_ASSERT(r == 0); /* the first one always has room */
    sy_call_half_close(pc->call);
    return pc;
}

void cp_peer_call_free(struct cp_peer_call *pc)
{
    if (pc == NULL)
        return;
    if (pc->call != NULL) {
        sy_call_set_sink(pc->call, NULL, NULL);
        sy_call_finish(pc->call, NULL);
        sy_call_unref(pc->call);
    }
    free(pc);
}
