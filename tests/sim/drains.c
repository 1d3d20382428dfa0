/*
 * Clusters are cordoned, drained and opened again, as a person would do it: calls to any shard, at
 * random. What must hold of it:
 *
 * No partition assigns anything to a cluster while it knows that it is closed: since the last look
 * at the attempts it was open at some moment.
 *
 * When a cluster is said to be drained no partition has anything there, unless somebody gave
 * another order meanwhile. Whose answer did not come is not known to have been given.
 *
 * Where nothing is lost or moved, and clocks do not step, nothing runs there half a second
 * after the deadline.
 */
#include "base/mem.h"
#include "proto/pb.h"
#include "scheduler/partition_impl.h"
#include "switchyard/v1/cluster_service.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"
#include "tests/sim/world_impl.h"

#define CLUSTERS "/switchyard.v1.ClusterService/"
#define LIST "/switchyard.v1.RegionService/ListClusters"
#define CALL_NS (10 * SY_NS_PER_S)
#define DEADLINE_NS_MAX ((uint64_t)10 * SY_NS_PER_S)
#define LATE_NS (20 * SY_NS_PER_S) /* so long what was given up may still be carried out */
/* From an order to the last agent: two syncs, and at most 50 ms on each of a few ways. */
#define STOP_NS (500 * SY_NS_PER_MS)

enum verb { CREATE, CORDON, UNCORDON, DRAIN };

struct place { /* a cluster, as it is to one partition */
    bool open; /* at some moment since the last look at the attempts */
    const struct sch_partition *core;
    uint32_t version;
};

struct one {
    struct sim_drains *drains;
    const char *name;
    bool registered, calling;
    enum verb verb;      /* of the call, or the last that was acknowledged */
    bool sure;           /* that this is what holds */
    int64_t asked_ns;    /* then the last was given */
    int64_t unsure_ns;   /* until then another one may be carried out */
    int64_t wanted_ns;   /* of a drain: from the call, 0: none; */
    int64_t deadline_ns; /* and at the latest then; SY_TIME_NEVER: none */
    struct place places[SIM_PARTITIONS_MAX];
};

struct sim_drains {
    struct sim_world *world;
    struct sy_loop *loop;
    struct sy_rng rng; /* its own: the rest of the world stays as it is */
    struct one clusters[SIM_OPERATORS_MAX];
    bool listing;
    int64_t listed_ns;
    uint64_t done;
};

struct sim_drains *sim_drains_new(struct sim_world *world, struct sy_loop *loop)
{
    struct sim_drains *drains = sy_new(struct sim_drains);
    drains->world = world;
    drains->loop = loop;
    sy_rng_init(&drains->rng, world->options.seed ^ 0xd4a1);
    for (unsigned i = 0; i < world->options.operators; i++)
        drains->clusters[i] = (struct one){.drains = drains,
                                           .name = world->operators[i].process.name};
    return drains;
}

void sim_drains_free(struct sim_drains *drains)
{
    free(drains);
}

uint64_t sim_drains_done(const struct sim_drains *drains)
{
    return drains->done;
}

/* ---- orders ---- */

static void on_ordered(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct one *one = ctx;
    struct sim_world *world = one->drains->world;
    bool done = status->code == SY_CODE_OK || status->code == SY_CODE_ALREADY_EXISTS;
    (void)response;
    sim_trace(world, "cluster ordered", one->name, (uint64_t)status->code);
    one->calling = false;
    one->registered |= one->verb == CREATE && done;
    one->sure = done;
    one->drains->done += done;
    one->deadline_ns = one->wanted_ns > 0 ? world->now_ns + one->wanted_ns : SY_TIME_NEVER;
    if (done)
        return;
    one->unsure_ns = world->now_ns + LATE_NS;
    if (status->code != SY_CODE_UNAVAILABLE && status->code != SY_CODE_DEADLINE_EXCEEDED)
        sim_fail(world, "an order for cluster %s: %s: %s", one->name, sy_code_name(status->code),
                 status->message.text);
}

static struct sy_channel *any_shard(struct sim_drains *drains)
{
    return drains->world->to_shards[sy_rng_below(&drains->rng, drains->world->options.shards)];
}

static void order(struct one *one, enum verb verb, int64_t deadline_ns)
{
    static const char *const methods[] = {CLUSTERS "CreateCluster", CLUSTERS "CordonCluster",
                                          CLUSTERS "UncordonCluster", CLUSTERS "DrainCluster"};
    struct sim_drains *drains = one->drains;
    Switchyard__V1__CreateClusterRequest create = SWITCHYARD__V1__CREATE_CLUSTER_REQUEST__INIT;
    Switchyard__V1__OrderClusterRequest say = SWITCHYARD__V1__ORDER_CLUSTER_REQUEST__INIT;
    struct sy_call_options options = {.method = methods[verb], .timeout_ns = CALL_NS};
    struct sy_buf bytes = {0};
    create.name = say.name = (char *)(uintptr_t)one->name;
    say.deadline_ns = deadline_ns;
    pb_pack(verb == CREATE ? &create.base : &say.base, &bytes);
    sim_trace(drains->world, methods[verb], one->name, (uint64_t)deadline_ns);
    one->calling = true;
    one->verb = verb;
    one->asked_ns = drains->world->now_ns;
    one->wanted_ns = deadline_ns;
    sy_channel_call(any_shard(drains), drains->loop, &options, &bytes, on_ordered, one);
}

static void draw_order(struct one *one)
{
    static const enum verb verbs[] = {CORDON, UNCORDON, UNCORDON, DRAIN, DRAIN, DRAIN};
    struct sy_rng *rng = &one->drains->rng;
    enum verb verb = verbs[sy_rng_below(rng, SY_COUNT_OF(verbs))];
    uint64_t most_ns = sy_rng_chance(rng, 1, 2) ? DEADLINE_NS_MAX : DEADLINE_NS_MAX / 20;
    uint64_t deadline_ns = sy_rng_chance(rng, 3, 4) ? sy_rng_below(rng, most_ns) : 0;
    order(one, verb, verb == DRAIN ? (int64_t)deadline_ns : 0);
}

/* ---- "drained" ---- */

static bool holds(const struct one *one, enum verb verb, int64_t since_ns)
{
    return one->sure && !one->calling && one->verb == verb && one->asked_ns < since_ns &&
           one->unsure_ns < since_ns;
}

static void check_drained(const struct one *one)
{
    const struct sim_world *world = one->drains->world;
    for (unsigned i = 0; i < sim_partitions(world); i++) {
        const struct sch_partition *core = sim_core(world, i);
        if (core == NULL)
            continue;
        struct sch_cluster_out out = sch_partition_cluster_out(core, one->name);
        if (out.assigned + out.running > 0)
            sim_fail(one->drains->world,
                     "cluster %s is said to be drained, and partition %u has %" PRIu64
                     " assigned and %" PRIu64 " running there",
                     one->name, i, out.assigned, out.running);
    }
}

static void on_listed(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct sim_drains *drains = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 24);
    drains->listing = false;
    const Switchyard__V1__ListClustersResponse *m = NULL;
    if (status->code == SY_CODE_OK)
        m = pb_unpack(&switchyard__v1__list_clusters_response__descriptor, &arena, response);
    for (size_t i = 0; m != NULL && i < m->n_clusters; i++) {
        for (unsigned k = 0; k < drains->world->options.operators; k++) {
            const struct one *one = &drains->clusters[k];
            if (strcmp(m->clusters[i]->name, one->name) != 0)
                continue;
            sim_trace(drains->world, m->clusters[i]->state, one->name, 0);
            if (strcmp(m->clusters[i]->state, "drained") == 0 &&
                holds(one, DRAIN, drains->listed_ns))
                check_drained(one);
        }
    }
    sy_arena_deinit(&arena);
}

static void list(struct sim_drains *drains)
{
    Switchyard__V1__ListClustersRequest m = SWITCHYARD__V1__LIST_CLUSTERS_REQUEST__INIT;
    struct sy_call_options options = {.method = LIST, .timeout_ns = CALL_NS};
    struct sy_buf bytes = {0};
    pb_pack(&m.base, &bytes);
    drains->listing = true;
    drains->listed_ns = drains->world->now_ns;
    sy_channel_call(any_shard(drains), drains->loop, &options, &bytes, on_listed, drains);
}

/* ---- after the deadline ---- */

static void on_running(void *ctx, struct sim_attempt *attempt)
{
    const struct one *one = ctx;
    struct sim_world *world = one->drains->world;
    sim_fail(world, "cluster %s: %s %s still runs %.1f s after the deadline of its drain",
             one->name, attempt->run, attempt->name,
             (double)(world->now_ns - one->deadline_ns) / 1e9);
}

static void check_deadline(struct one *one)
{
    struct sim_world *world = one->drains->world;
    const struct sim_options *o = &world->options;
    uint32_t moves = o->shard_verb_pct + o->stop_pct + o->roll_pct;
    if (sim_options_lose(o) || moves + o->clock_step_pct > 0 || one->deadline_ns == SY_TIME_NEVER ||
        one->deadline_ns + STOP_NS + o->standby_patience_ns > world->now_ns ||
        !holds(one, DRAIN, world->now_ns))
        return;
    for (unsigned i = 0; i < o->agents; i++) {
        const struct sim_agent *agent = &world->agents[i];
        const char *cluster = world->operators[agent->operator_index].process.name;
        if (agent->process.up && strcmp(cluster, one->name) == 0)
            sim_executor_each(agent->executor, on_running, one);
    }
}

void sim_drains_turn(struct sim_world *world, bool heal)
{
    struct sim_drains *drains = world->drains;
    if (world->options.drain_pct == 0)
        return;
    for (unsigned i = 0; i < world->options.operators; i++) {
        struct one *one = &drains->clusters[i];
        if (one->calling)
            continue;
        if (!one->registered)
            order(one, CREATE, 0);
        else if (heal)
            order(one, UNCORDON, 0);
        else if (sy_rng_chance(&drains->rng, world->options.drain_pct, 100))
            draw_order(one);
    }
    if (!drains->listing)
        list(drains);
}

/* ---- where attempts go ---- */

static const struct sch_cluster *find(const struct sch_partition *core, const char *name)
{
    for (size_t i = 0; i < core->cluster_count; i++) {
        if (strcmp(core->clusters[i]->name, name) == 0)
            return core->clusters[i];
    }
    return NULL;
}

/* It may have been open between two looks, when more than one thing was said of it. */
static void look_at(struct place *place, const struct sch_partition *core, const char *name)
{
    const struct sch_cluster *cluster = core != NULL ? find(core, name) : NULL;
    bool closed = cluster == NULL || cluster->cordoned;
    bool same = core == place->core && cluster != NULL && cluster->version - place->version <= 1;
    place->open |= !closed || !same;
    place->core = core;
    place->version = cluster != NULL ? cluster->version : 0;
}

void sim_drains_look(struct sim_world *world, bool again)
{
    struct sim_drains *drains = world->drains;
    for (unsigned i = 0; world->options.drain_pct > 0 && i < world->options.operators; i++)
        check_deadline(&drains->clusters[i]);
    for (unsigned p = 0; world->options.drain_pct > 0 && p < sim_partitions(world); p++) {
        const struct sch_partition *core = sim_core(world, p);
        for (unsigned i = 0; i < world->options.operators; i++) {
            struct place *place = &drains->clusters[i].places[p];
            place->open &= !again;
            look_at(place, core, drains->clusters[i].name);
        }
    }
}

bool sim_drains_closed(const struct sim_world *world, unsigned partition, const char *cluster)
{
    for (unsigned i = 0; world->options.drain_pct > 0 && i < world->options.operators; i++) {
        const struct one *one = &world->drains->clusters[i];
        if (strcmp(one->name, cluster) == 0)
            return !one->places[partition].open;
    }
    return false;
}
