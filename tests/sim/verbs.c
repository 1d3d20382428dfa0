/* Cordon, drain, fence and what takes them back, as a person would: calls to the shard, at random;
 * see world.h. */
#include "base/mem.h"
#include "proto/pb.h"
#include "switchyard/v1/region_service.pb-c.h"
#include "tests/sim/world.h"

#include <stdlib.h>

#define SERVICE "/switchyard.v1.RegionService/"
#define DEADLINE_NS_MAX ((uint64_t)5 * SY_NS_PER_S)

struct sim_verbs {
    struct sim_world *world;
    struct sy_loop *loop;
    struct sy_channel *channel;
    uint64_t done; /* orders that an operator has carried out */
};

struct sim_verbs *sim_verbs_new(struct sim_world *world, struct sy_loop *loop, struct sy_rpc *rpc,
                                const char *target)
{
    struct sim_verbs *verbs = sy_new(struct sim_verbs);
    verbs->world = world;
    verbs->loop = loop;
    verbs->channel = sy_channel_new(rpc, target);
    return verbs;
}

void sim_verbs_free(struct sim_verbs *verbs)
{
    sy_channel_free(verbs->channel);
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
    struct sy_call_options options = {.method = method, .timeout_ns = 10 * SY_NS_PER_S};
    sim_trace(verbs->world, method, node, (uint64_t)deadline_ns);
    sy_channel_call(verbs->channel, verbs->loop, &options, &bytes, on_reply, verbs);
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
