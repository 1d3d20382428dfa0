/* Orders for nodes (cordon, drain, fence and what takes them back) and for shards, as a person
 * would give them: calls to any shard, at random; see world.h. */
#include "base/mem.h"
#include "proto/pb.h"
#include "switchyard/v1/region_service.pb-c.h"
#include "tests/sim/world_impl.h"

#define SERVICE "/switchyard.v1.RegionService/"
#define DEADLINE_NS_MAX ((uint64_t)5 * SY_NS_PER_S)
#define CALL_NS (10 * SY_NS_PER_S)

/* An order for shards, which may be answered by a stream. */
struct order {
    struct order *next;
    struct sim_verbs *verbs;
    struct sy_call *call;
    const char *shard; /* that a partition is to move to; NULL: another order */
    unsigned partition;
    bool splits;
    uint32_t half; /* what the answer says */
    int64_t begun_ns;
};

struct sim_verbs {
    struct sim_world *world;
    struct sy_loop *loop;
    struct order *orders; /* in progress */
    uint64_t done;        /* orders that an operator has carried out */
};

struct sim_verbs *sim_verbs_new(struct sim_world *world, struct sy_loop *loop)
{
    struct sim_verbs *verbs = sy_new(struct sim_verbs);
    verbs->world = world;
    verbs->loop = loop;
    return verbs;
}

void sim_verbs_free(struct sim_verbs *verbs)
{
    while (verbs->orders) {
        struct order *order = verbs->orders;
        verbs->orders = order->next;
        sy_call_unref(order->call);
        free(order);
    }
    free(verbs);
}

uint64_t sim_verbs_done(const struct sim_verbs *verbs)
{
    return verbs->done;
}

/* Not found before the node has joined, unavailable while somebody is away, refused when it is
 * fenced: that is how it is. */
static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct sim_verbs *verbs = ctx;
    (void)response;
    sim_trace(verbs->world, "ordered", "", (uint64_t)status->code);
    verbs->done += status->code == SY_CODE_OK;
    if (status->code != SY_CODE_OK && status->code != SY_CODE_NOT_FOUND &&
        status->code != SY_CODE_UNAVAILABLE && status->code != SY_CODE_DEADLINE_EXCEEDED &&
        status->code != SY_CODE_FAILED_PRECONDITION)
        sim_fail(verbs->world, "an order for a node: code %d: %s", (int)status->code,
                 status->message.text);
}

static void order(struct sim_verbs *verbs, const char *method, const char *cluster,
                  const char *node, int64_t deadline_ns)
{
    Switchyard__V1__OrderNodeRequest request = SWITCHYARD__V1__ORDER_NODE_REQUEST__INIT;
    request.cluster = (char *)(uintptr_t)cluster;
    request.node = (char *)(uintptr_t)node;
    request.deadline_ns = deadline_ns;
    struct sy_buf bytes = {0};
    pb_pack(&request.base, &bytes);
    struct sy_call_options options = {.method = method, .timeout_ns = CALL_NS};
    sim_trace(verbs->world, method, node, (uint64_t)deadline_ns);
    sy_channel_call(sim_any_shard(verbs->world), verbs->loop, &options, &bytes, on_reply, verbs);
}

void sim_verbs_draw(struct sim_verbs *verbs, const char *cluster, const char *node)
{
    static const char *const methods[] = {
        SERVICE "CordonNode", SERVICE "UncordonNode", SERVICE "UncordonNode", SERVICE "DrainNode",
        SERVICE "FenceNode",  SERVICE "UnfenceNode",  SERVICE "UnfenceNode"};
    struct sy_rng *rng = sim_rng(verbs->world);
    const char *method = methods[sy_rng_below(rng, SY_COUNT_OF(methods))];
    order(verbs, method, cluster, node, (int64_t)sy_rng_below(rng, DEADLINE_NS_MAX));
}

void sim_verbs_open(struct sim_verbs *verbs, const char *cluster, const char *node)
{
    order(verbs, SERVICE "UnfenceNode", cluster, node, 0);
    order(verbs, SERVICE "UncordonNode", cluster, node, 0);
}

/* ---- which shard has what ---- */

static void forget(struct order *order)
{
    struct order **at = &order->verbs->orders;
    while (*at != order)
        at = &(*at)->next;
    *at = order->next;
    sy_call_unref(order->call);
    free(order);
}

static void on_answer(void *ctx, struct sy_span message)
{
    struct order *order = ctx;
    struct sy_arena arena;
    if (!order->splits)
        return;
    sy_arena_init(&arena, 1 << 16);
    const Switchyard__V1__SplitPartitionResponse *m = pb_unpack(
        &switchyard__v1__split_partition_response__descriptor, &arena, message);
    SY_ASSERT(m != NULL);
    order->half = m->partition;
    sy_arena_deinit(&arena);
}

/* Both halves have been served. One that another shard has may only have been tried, if it could
 * not be opened at once: the records tell no more. */
static void check_split(const struct order *order)
{
    struct sim_world *world = order->verbs->world;
    const struct sim_disk *half = &world->disks[order->half];
    if (order->half >= sim_partitions(world) || half->parent_epoch == 0 ||
        half->parent != order->partition)
        sim_fail(world, "partition %u is said to be split from %u, and is not", order->half,
                 order->partition);
    bool served = world->owners[order->half].epoch > 0 &&
                  world->owners[order->partition].epoch > half->parent_epoch;
    if (!served && world->options.fail_commit_pct == 0)
        sim_fail(world, "partition %u is said to be split from %u, and both to serve", order->half,
                 order->partition);
}

/* Of what a shard that is behind has not heard of. */
static bool may_be_unknown(const struct order *order)
{
    const struct sim_world *world = order->verbs->world;
    return world->options.split_pct > 0 && order->partition >= world->options.partitions;
}

/* Not found: the shard that it names is not there. Failed precondition: it drains, or nobody else
 * takes what it has. Aborted: the partition has another order. */
static void on_order_closed(void *ctx, const struct sy_status *status)
{
    struct order *order = ctx;
    struct sim_world *world = order->verbs->world;
    sim_trace(world, "ordered", order->shard ? order->shard : "", (uint64_t)status->code);
    switch (status->code) {
    case SY_CODE_OK:
        world->result.moves++;
        if (order->shard && !sim_served(world, order->partition, order->shard, order->begun_ns))
            sim_fail(world, "partition %u is said to serve at %s, and does not", order->partition,
                     order->shard);
        if (order->splits)
            check_split(order);
        break;
    case SY_CODE_NOT_FOUND:
    case SY_CODE_FAILED_PRECONDITION:
    case SY_CODE_ABORTED:
    case SY_CODE_UNAVAILABLE:
    case SY_CODE_CANCELLED:
    case SY_CODE_DEADLINE_EXCEEDED:
        break;
    default:
        if (status->code != SY_CODE_INVALID_ARGUMENT || !may_be_unknown(order))
            sim_fail(world, "an order for shards: %s: %s", sy_code_name(status->code),
                     status->message.text);
    }
    forget(order);
}

static struct order *send_order(struct sim_verbs *verbs, const char *method,
                                const ProtobufCMessage *request)
{
    static const struct sy_call_sink sink = {.on_message = on_answer, .on_closed = on_order_closed};
    struct order *order = sy_new(struct order);
    struct sy_call_options options = {.method = method, .timeout_ns = CALL_NS};
    struct sy_buf bytes = {0};
    order->verbs = verbs;
    order->begun_ns = sim_now(verbs->world);
    order->next = verbs->orders;
    verbs->orders = order;
    order->call = sy_channel_open(sim_any_shard(verbs->world), verbs->loop, &options, &sink, order);
    pb_pack(request, &bytes);
    int r = sy_call_send(order->call, &bytes);
    SY_ASSERT(r == 0);
    sy_call_half_close(order->call);
    return order;
}

static void move_partition(struct sim_verbs *verbs, const char *shard)
{
    struct sy_rng *rng = sim_rng(verbs->world);
    Switchyard__V1__MovePartitionRequest request = SWITCHYARD__V1__MOVE_PARTITION_REQUEST__INIT;
    request.partition = (uint32_t)sy_rng_below(rng, sim_partitions(verbs->world));
    request.shard = (char *)(uintptr_t)shard;
    struct order *order = send_order(verbs, SERVICE "MovePartition", &request.base);
    order->partition = request.partition;
    order->shard = shard[0] ? shard : NULL;
}

void sim_verbs_draw_shards(struct sim_verbs *verbs)
{
    struct sy_rng *rng = sim_rng(verbs->world);
    const char *shard = sim_shard_name(verbs->world,
                                       (unsigned)sy_rng_below(rng, verbs->world->options.shards));
    Switchyard__V1__OrderShardRequest order = SWITCHYARD__V1__ORDER_SHARD_REQUEST__INIT;
    Switchyard__V1__RebalanceRegionRequest even = SWITCHYARD__V1__REBALANCE_REGION_REQUEST__INIT;
    unsigned what = (unsigned)sy_rng_below(rng, 8);
    sim_trace(verbs->world, "order", shard, what);
    order.shard = (char *)(uintptr_t)shard;
    if (what < 4)
        move_partition(verbs, what > 0 ? shard : "");
    else if (what == 4)
        (void)send_order(verbs, SERVICE "RebalanceRegion", &even.base);
    else
        (void)send_order(verbs, what == 5 ? SERVICE "DrainShard" : SERVICE "UndrainShard",
                         &order.base);
}

void sim_verbs_draw_split(struct sim_verbs *verbs)
{
    struct sy_rng *rng = &verbs->world->halves.rng;
    Switchyard__V1__SplitPartitionRequest request = SWITCHYARD__V1__SPLIT_PARTITION_REQUEST__INIT;
    request.partition = (uint32_t)sy_rng_below(rng, sim_partitions(verbs->world));
    request.at = sy_rng_chance(rng, 1, 4) ? (uint32_t)sy_rng_below(rng, 256) : 0;
    sim_trace(verbs->world, "split", "", request.partition);
    struct order *order = send_order(verbs, SERVICE "SplitPartition", &request.base);
    order->partition = request.partition;
    order->splits = true;
}
