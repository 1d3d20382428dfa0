#include "tools/src/hosts.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tools/src/op_world.h"

#include <stdio.h>
#include <stdlib.h>

#define TURN_NS (20 * SY_NS_PER_US)

enum { KINDS = 100, RUNNING = 300, TURNS = 700, ZONES = 3, CORES = 32 };

struct world {
    struct op_world w;
    uint64_t granted[KINDS + 1], assigned[KINDS + 1]; /* by class */
    struct sch_attempt_key running[RUNNING];
    uint32_t next; /* class */
    uint64_t placed, place_ns;
};

static void on_effect(void *ctx, const struct sch_op_effect *effect)
{
    struct world *world = ctx;
    if (effect->type == SCH_OP_SEND_GRANT)
        world->granted[effect->u.grant.class_id] = effect->u.grant.granted;
    world->placed += effect->type == SCH_OP_SEND_ASSIGN;
}

static void nodes_up(struct world *world, uint32_t nodes)
{
    struct sch_resources capacity = {.cpu_milli = CORES * 1000};
    for (uint32_t i = 0; i < nodes; i++) {
        struct sch_traits traits = {0};
        snprintf(traits.labels, sizeof(traits.labels), "host=h%u,zone=z%u", i, i % ZONES);
        op_world_node_up(&world->w, i, &capacity, &traits);
    }
}

static void demand(struct world *world, uint32_t class_id, enum hosts_asked asked)
{
    struct sch_op_event event = {.type = SCH_OP_DEMAND};
    char *labels = event.u.demand.request.labels;
    if (asked == HOSTS_ZONE)
        snprintf(labels, sizeof(event.u.demand.request.labels), "zone=z%u", class_id % ZONES);
    else if (asked == HOSTS_NAME)
        snprintf(labels, sizeof(event.u.demand.request.labels), "host=h%u", class_id);
    event.u.demand.partition = 1;
    event.u.demand.class_id = class_id;
    event.u.demand.request.cpu_milli = 500 + class_id;
    event.u.demand.waiting = 100000;
    op_world_step(&world->w, event);
}

static void pass(struct world *world, int64_t ns)
{
    world->w.now += ns;
    while (sch_operator_next_ns(world->w.op) <= world->w.now)
        op_world_step(&world->w, (struct sch_op_event){.type = SCH_OP_TICK});
}

/* One of the next class in turn that is granted some. */
static struct sch_attempt_key place(struct world *world)
{
    for (uint32_t i = 1;; i++) {
        world->next = world->next % KINDS + 1;
        if (world->assigned[world->next] < world->granted[world->next])
            break;
        if (i % KINDS == 0)
            pass(world, SY_NS_PER_MS);
    }
    struct sch_op_event event = {0};
    event.u.assign.class_id = world->next;
    world->assigned[world->next]++;
    uint64_t before_ns = world->w.sum_ns, before = world->placed;
    struct sch_attempt_key key = op_world_assign(&world->w, 1, event);
    world->place_ns += world->w.sum_ns - before_ns;
    SY_ASSERT(world->placed == before + 1);
    return key;
}

void hosts_unlike(uint32_t nodes, enum hosts_asked asked, struct decisions_result *ret)
{
    struct world *world = sy_new(struct world);
    struct sy_rng rng;
    sy_rng_init(&rng, 1);
    world->w.on_effect = on_effect;
    world->w.ctx = world;
    op_world_init(&world->w);
    op_world_partition_up(&world->w, 1);
    nodes_up(world, nodes);
    pass(world, 200 * SY_NS_PER_MS);
    world->w.measuring = true;
    for (uint32_t i = 1; i <= KINDS; i++)
        demand(world, i, asked);
    for (uint32_t i = 0; i < RUNNING; i++)
        world->running[i] = place(world);
    for (uint32_t i = 0; i < TURNS; i++) {
        struct sch_attempt_key *key = &world->running[sy_rng_below(&rng, RUNNING)];
        op_world_end(&world->w, key);
        pass(world, TURN_NS);
        *key = place(world);
    }
    op_world_result(&world->w, world->placed, ret);
    ret->place_us = (double)world->place_ns / 1e3 / (double)world->placed;
    ret->nodes = nodes;
    ret->kinds = KINDS;
    op_world_deinit(&world->w);
    free(world);
}
