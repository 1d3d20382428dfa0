#include "tools/src/racks.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "scheduler/operator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RACK = 40, EMPTY = 7, SIZE = 8, SMALL = 1, GANG = 2, GANGS = 100 };

struct world {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    uint64_t action, gangs, members;
    struct sch_attempt_key *smalls, placed[SIZE];
    uint32_t small_count, racks;
    uint64_t sum_ns, longest_ns, steps;
    bool measuring;
};

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void step(struct world *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    uint64_t begin = cpu_ns();
    sch_operator_step(w->op, &event, &w->fx);
    uint64_t ns = w->measuring ? cpu_ns() - begin : 0;
    w->sum_ns += ns;
    w->steps += w->measuring;
    w->longest_ns = ns > w->longest_ns ? ns : w->longest_ns;
    for (size_t i = 0; i < w->fx.count; i++) {
        const struct sch_op_effect *effect = &w->fx.items[i];
        if (effect->type == SCH_OP_SEND_ASSIGN && effect->u.assign.first_node)
            w->placed[w->members++ % SIZE] = effect->u.assign.key;
    }
}

static void nodes_up(struct world *w, uint32_t racks, uint32_t from, uint32_t to)
{
    for (uint32_t i = racks * from; i < racks * to; i++) {
        char name[16];
        struct sch_traits traits = {0};
        snprintf(name, sizeof(name), "node-%06u", i);
        snprintf(traits.labels, sizeof(traits.labels), "rack=r%u", i % racks);
        struct sch_op_event up = {.type = SCH_OP_NODE_UP};
        up.u.node.name = name;
        up.u.node.traits = &traits;
        up.u.node.capacity.cpu_milli = 4000;
        step(w, up);
        up.type = SCH_OP_NODE_INVENTORY_COMPLETE;
        step(w, up);
    }
}

static void demand(struct world *w, uint32_t class_id, uint32_t cpu_milli, uint32_t waiting,
                   const struct sch_gang_shape *gang, const char *labels)
{
    struct sch_op_event event = {.type = SCH_OP_DEMAND};
    snprintf(event.u.demand.request.labels, sizeof(event.u.demand.request.labels), "%s", labels);
    event.u.demand.partition = 1;
    event.u.demand.class_id = class_id;
    event.u.demand.request.cpu_milli = cpu_milli;
    event.u.demand.waiting = waiting;
    event.u.demand.gang = gang;
    step(w, event);
}

static void release(void *data)
{
    (void)data;
}

static struct sch_attempt_key assign(struct world *w, uint32_t class_id, uint64_t gang_id,
                                     uint32_t rank)
{
    struct sch_op_event event = {.type = SCH_OP_ASSIGN};
    event.u.assign.key = (struct sch_attempt_key){++w->action, 1, 1, 1};
    event.u.assign.class_id = class_id;
    event.u.assign.gang_id = gang_id;
    event.u.assign.rank = rank;
    event.u.assign.blob = (struct sch_blob){.data = w, .release = release};
    step(w, event);
    return event.u.assign.key;
}

static uint32_t node_of(const struct world *w, const struct sch_attempt_key *key)
{
    const char *name = sch_operator_node_of(w->op, key);
    SY_ASSERT(name);
    return (uint32_t)strtoul(name + strlen("node-"), NULL, 10);
}

static void end(struct world *w, const struct sch_attempt_key *key)
{
    struct sch_op_event event = {.type = SCH_OP_OUTCOME};
    event.u.report.node = sch_operator_node_of(w->op, key);
    event.u.report.key = *key;
    event.u.report.blob = (struct sch_blob){.data = w, .release = release};
    step(w, event);
    step(w, (struct sch_op_event){.type = SCH_OP_ACK, .u.key = *key});
}

/* Until there is nothing to do at once. */
static void settle(struct world *w)
{
    for (int64_t last = w->now + 150 * SY_NS_PER_MS; w->now < last; w->now += SY_NS_PER_MS) {
        while (sch_operator_next_ns(w->op) <= w->now)
            step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    }
}

static struct world *half_empty(uint32_t racks)
{
    struct world *w = sy_new(struct world);
    struct sch_operator_options options = {
        .hold_ns = 3600 * SY_NS_PER_S, .node_lease_ns = 3600 * SY_NS_PER_S, .join_grace_ns = 0};
    w->now = SY_NS_PER_S;
    w->racks = racks;
    w->op = sch_operator_new(&options, w->now);
    struct sch_op_event up = {.type = SCH_OP_PARTITION_UP, .u.partition = {1, 1}};
    step(w, up);
    nodes_up(w, racks, 0, RACK - EMPTY);
    demand(w, SMALL, 3000, 2 * racks * RACK, NULL, "");
    w->small_count = racks * (RACK - EMPTY);
    w->smalls = sy_calloc(w->small_count, sizeof(*w->smalls));
    for (uint32_t i = 0; i < w->small_count; i++)
        w->smalls[i] = assign(w, SMALL, 0, 0);
    nodes_up(w, racks, RACK - EMPTY, RACK);
    demand(w, SMALL, 3000, 0, NULL, "");
    settle(w);
    return w;
}

void racks_gangs(uint32_t nodes, struct decisions_result *ret)
{
    static const struct sch_gang_shape in_rack = {
        .size = SIZE, .topology = SCH_TOPOLOGY_REQUIRE, .key = "rack"};
    struct world *w = half_empty(nodes / RACK);
    struct sy_rng rng;
    sy_rng_init(&rng, 1);
    w->measuring = true;
    for (uint32_t i = 0; i < GANGS; i++) {
        demand(w, GANG, 4000, 1, &in_rack, "");
        settle(w);
        for (uint32_t rank = 0; rank < SIZE; rank++)
            (void)assign(w, GANG, i + 1, rank);
        settle(w);
        uint64_t before = w->members;
        struct sch_attempt_key *small = &w->smalls[sy_rng_below(&rng, w->small_count)];
        char rack[32];
        snprintf(rack, sizeof(rack), "rack=r%u", node_of(w, small) % w->racks);
        end(w, small); /* its rack has room for all now */
        settle(w);
        SY_ASSERT(w->members == before + SIZE);
        for (uint32_t k = 0; k < SIZE; k++)
            end(w, &w->placed[k]);
        demand(w, GANG + 1 + i, 3000, 1, NULL, rack); /* as before */
        settle(w);
        *small = assign(w, GANG + 1 + i, 0, 0);
        demand(w, GANG + 1 + i, 3000, 0, NULL, rack);
    }
    *ret = (struct decisions_result){.nodes = nodes,
                                     .kinds = nodes / RACK,
                                     .placed = w->members,
                                     .per_s = (double)w->members * 1e9 / (double)w->sum_ns,
                                     .place_us = (double)w->sum_ns / 1e3 / (double)w->members,
                                     .finish_us = (double)w->sum_ns / 1e3 / (double)w->steps,
                                     .longest_us = (double)w->longest_ns / 1e3,
                                     .longest = ""};
    sch_operator_free(w->op);
    sch_op_effects_deinit(&w->fx);
    free(w->smalls);
    free(w);
}
