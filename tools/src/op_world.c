#include "tools/src/op_world.h"

#include <stdio.h>
#include <time.h>

uint64_t op_world_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static const char *const event_names[SCH_OP_EVENT_TYPES] = {
    [SCH_OP_PARTITION_UP] = "up",
    [SCH_OP_PARTITION_DOWN] = "down",
    [SCH_OP_DEMAND] = "demand",
    [SCH_OP_ASSIGN] = "assign",
    [SCH_OP_RECLAIM] = "reclaim",
    [SCH_OP_NODE_UP] = "node",
    [SCH_OP_NODE_INVENTORY_COMPLETE] = "inventory",
    [SCH_OP_NODE_DOWN] = "silent",
    [SCH_OP_OUTCOME] = "outcome",
    [SCH_OP_ACK] = "ack",
    [SCH_OP_NODE_CORDON] = "cordon",
    [SCH_OP_NODE_UNCORDON] = "uncordon",
    [SCH_OP_NODE_DRAIN] = "drain",
    [SCH_OP_TICK] = "tick",
};

void op_world_init(struct op_world *w)
{
    struct sch_operator_options options = {
        .hold_ns = 3600 * SY_NS_PER_S, .node_lease_ns = 3600 * SY_NS_PER_S, .join_grace_ns = 0};
    w->now = SY_NS_PER_S;
    w->op = sch_operator_new(&options, w->now);
}

void op_world_deinit(struct op_world *w)
{
    sch_operator_free(w->op);
    sch_op_effects_deinit(&w->fx);
}

void op_world_step(struct op_world *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    uint64_t begin = op_world_cpu_ns();
    sch_operator_step(w->op, &event, &w->fx);
    uint64_t ns = w->measuring ? op_world_cpu_ns() - begin : 0;
    w->sum_ns += ns;
    w->steps += w->measuring;
    if (ns > w->longest_ns) {
        w->longest_ns = ns;
        w->longest = event.type;
    }
    for (size_t i = 0; i < w->fx.count; i++)
        w->on_effect(w->ctx, &w->fx.items[i]);
}

void op_world_partition_up(struct op_world *w, uint32_t partition)
{
    op_world_step(
        w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {partition, 1}});
}

void op_world_node_up(struct op_world *w, uint32_t node, const struct sch_resources *capacity,
                      const struct sch_traits *traits)
{
    char name[16];
    snprintf(name, sizeof(name), "node-%06u", node);
    struct sch_op_event up = {.type = SCH_OP_NODE_UP};
    up.u.node.name = name;
    up.u.node.traits = traits;
    up.u.node.capacity = *capacity;
    op_world_step(w, up);
    up.type = SCH_OP_NODE_INVENTORY_COMPLETE;
    op_world_step(w, up);
}

static void release(void *data)
{
    (void)data;
}

struct sch_attempt_key op_world_assign(struct op_world *w, uint32_t partition,
                                       struct sch_op_event event)
{
    event.type = SCH_OP_ASSIGN;
    event.u.assign.key = (struct sch_attempt_key){++w->action, partition, 1, 1};
    event.u.assign.blob = (struct sch_blob){.data = w, .release = release};
    op_world_step(w, event);
    return event.u.assign.key;
}

void op_world_end(struct op_world *w, const struct sch_attempt_key *key)
{
    struct sch_op_event event = {.type = SCH_OP_OUTCOME};
    event.u.report.node = sch_operator_node_of(w->op, key);
    event.u.report.key = *key;
    event.u.report.blob = (struct sch_blob){.data = w, .release = release};
    op_world_step(w, event);
    op_world_step(w, (struct sch_op_event){.type = SCH_OP_ACK, .u.key = *key});
}

void op_world_pass(struct op_world *w, int64_t ns)
{
    for (int64_t last = w->now + ns; w->now < last; w->now += SY_NS_PER_MS) {
        while (sch_operator_next_ns(w->op) <= w->now)
            op_world_step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    }
}

void op_world_result(const struct op_world *w, uint64_t placed, struct decisions_result *ret)
{
    *ret = (struct decisions_result){.placed = placed,
                                     .per_s = (double)placed * 1e9 / (double)w->sum_ns,
                                     .place_us = (double)w->sum_ns / 1e3 / (double)placed,
                                     .finish_us = (double)w->sum_ns / 1e3 / (double)w->steps,
                                     .longest_us = (double)w->longest_ns / 1e3,
                                     .longest = event_names[w->longest] ? event_names[w->longest]
                                                                        : "other"};
}
