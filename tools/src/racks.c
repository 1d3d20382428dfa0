#include "tools/src/racks.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tools/src/op_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RACK = 40, EMPTY = 7, SIZE = 8, SMALL = 1, GANG = 2, GANGS = 100 };

struct world {
    struct op_world w;
    uint64_t members;
    struct sch_attempt_key *smalls, placed[SIZE];
    uint32_t small_count, racks;
};

static void on_effect(void *ctx, const struct sch_op_effect *effect)
{
    struct world *world = ctx;
    if (effect->type == SCH_OP_SEND_ASSIGN && effect->u.assign.first_node)
        world->placed[world->members++ % SIZE] = effect->u.assign.key;
}

static void nodes_up(struct world *world, uint32_t from, uint32_t to)
{
    struct sch_resources capacity = {.cpu_milli = 4000};
    for (uint32_t i = world->racks * from; i < world->racks * to; i++) {
        struct sch_traits traits = {0};
        snprintf(traits.labels, sizeof(traits.labels), "rack=r%u", i % world->racks);
        op_world_node_up(&world->w, i, &capacity, &traits);
    }
}

static void demand(struct world *world, uint32_t class_id, uint32_t cpu_milli, uint32_t waiting,
                   const struct sch_gang_shape *gang, const char *labels)
{
    struct sch_op_event event = {.type = SCH_OP_DEMAND};
    snprintf(event.u.demand.request.labels, sizeof(event.u.demand.request.labels), "%s", labels);
    event.u.demand.partition = 1;
    event.u.demand.class_id = class_id;
    event.u.demand.request.cpu_milli = cpu_milli;
    event.u.demand.waiting = waiting;
    event.u.demand.gang = gang;
    op_world_step(&world->w, event);
}

static struct sch_attempt_key assign(struct world *world, uint32_t class_id, uint64_t gang_id,
                                     uint32_t rank)
{
    struct sch_op_event event = {0};
    event.u.assign.class_id = class_id;
    event.u.assign.gang_id = gang_id;
    event.u.assign.rank = rank;
    return op_world_assign(&world->w, 1, event);
}

static uint32_t node_of(const struct world *world, const struct sch_attempt_key *key)
{
    const char *name = sch_operator_node_of(world->w.op, key);
    SY_ASSERT(name);
    return (uint32_t)strtoul(name + strlen("node-"), NULL, 10);
}

/* Until there is nothing to do at once. */
static void settle(struct world *world)
{
    op_world_pass(&world->w, 150 * SY_NS_PER_MS);
}

static struct world *half_empty(uint32_t racks)
{
    struct world *world = sy_new(struct world);
    world->racks = racks;
    world->w.on_effect = on_effect;
    world->w.ctx = world;
    op_world_init(&world->w);
    op_world_partition_up(&world->w, 1);
    nodes_up(world, 0, RACK - EMPTY);
    demand(world, SMALL, 3000, 2 * racks * RACK, NULL, "");
    world->small_count = racks * (RACK - EMPTY);
    world->smalls = sy_calloc(world->small_count, sizeof(*world->smalls));
    for (uint32_t i = 0; i < world->small_count; i++)
        world->smalls[i] = assign(world, SMALL, 0, 0);
    nodes_up(world, RACK - EMPTY, RACK);
    demand(world, SMALL, 3000, 0, NULL, "");
    settle(world);
    return world;
}

void racks_gangs(uint32_t nodes, struct decisions_result *ret)
{
    static const struct sch_gang_shape in_rack = {
        .size = SIZE, .topology = SCH_TOPOLOGY_REQUIRE, .key = "rack"};
    struct world *world = half_empty(nodes / RACK);
    struct sy_rng rng;
    sy_rng_init(&rng, 1);
    world->w.measuring = true;
    for (uint32_t i = 0; i < GANGS; i++) {
        demand(world, GANG, 4000, 1, &in_rack, "");
        settle(world);
        for (uint32_t rank = 0; rank < SIZE; rank++)
            (void)assign(world, GANG, i + 1, rank);
        settle(world);
        uint64_t before = world->members;
        struct sch_attempt_key *small = &world->smalls[sy_rng_below(&rng, world->small_count)];
        char rack[32];
        snprintf(rack, sizeof(rack), "rack=r%u", node_of(world, small) % world->racks);
        op_world_end(&world->w, small); /* its rack has room for all now */
        settle(world);
        SY_ASSERT(world->members == before + SIZE);
        for (uint32_t k = 0; k < SIZE; k++)
            op_world_end(&world->w, &world->placed[k]);
        demand(world, GANG + 1 + i, 3000, 1, NULL, rack); /* as before */
        settle(world);
        *small = assign(world, GANG + 1 + i, 0, 0);
        demand(world, GANG + 1 + i, 3000, 0, NULL, rack);
    }
    op_world_result(&world->w, world->members, ret);
    ret->nodes = nodes;
    ret->kinds = nodes / RACK;
    op_world_deinit(&world->w);
    free(world->smalls);
    free(world);
}
