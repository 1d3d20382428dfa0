#include "tools/src/sim_switchyard.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define HOLD_NS (2 * SY_NS_PER_S)
#define NODE_LEASE_NS (15 * SY_NS_PER_S)

/* ---- effects of an operator ---- */

static void send_report(struct sim_cluster *cluster, enum sch_event_type type,
                        const struct sch_op_effect *effect)
{
    struct sch_event *event = sim_to_partition(cluster->all, type);
    const enum sch_outcome *told = effect->u.report.blob;
    enum sch_outcome own = effect->u.report.reason ? SCH_OUTCOME_PREEMPTED : SCH_OUTCOME_LOST;
    event->u.report = (struct sch_report){.cluster = cluster->name,
                                          .action_id = effect->u.report.key.action,
                                          .number = effect->u.report.key.number,
                                          .epoch = effect->u.report.key.epoch,
                                          .outcome = told ? *told : own,
                                          .started_ns = effect->u.report.started_ns};
}

static void send_shapes(struct sim_cluster *cluster)
{
    size_t count = sch_operator_shapes(cluster->core, NULL, 0);
    struct sch_shape *shapes = sy_calloc(count, sizeof(*shapes));
    sch_operator_shapes(cluster->core, shapes, count);
    sim_shapes_to_partition(cluster, shapes, count);
}

static void send_grant(struct sim_cluster *cluster, const struct sch_op_effect *effect)
{
    struct sch_event *event = sim_to_partition(cluster->all, SCH_EVENT_GRANT);
    event->u.grant.cluster = cluster->name;
    event->u.grant.class_id = effect->u.grant.class_id;
    event->u.grant.granted = effect->u.grant.granted;
    event->u.grant.startable = effect->u.grant.startable;
}

static void send_room(struct sim_cluster *cluster, const struct sch_op_effect *effect)
{
    struct sch_event *event = sim_to_partition(cluster->all, SCH_EVENT_ROOM);
    event->u.room.cluster = cluster->name;
    event->u.room.cpu_milli = effect->u.room.cpu_milli;
    event->u.room.memory_bytes = effect->u.room.memory_bytes;
    event->u.room.gpu_milli = effect->u.room.gpu_milli;
}

static void carry(struct sim_cluster *cluster, const struct sch_op_effect *effect)
{
    switch (effect->type) {
    case SCH_OP_SEND_ASSIGN:
        sim_to_agent(cluster, effect->type, effect->u.assign.node, &effect->u.assign.key);
        break;
    case SCH_OP_SEND_CANCEL:
        sim_to_agent(cluster, effect->type, effect->u.attempt.node, &effect->u.attempt.key);
        break;
    case SCH_OP_SEND_GIVE_BACK:
        sim_to_agent(cluster, effect->type, effect->u.attempt.node, NULL);
        break;
    case SCH_OP_SEND_GRANT:
        send_grant(cluster, effect);
        break;
    case SCH_OP_SEND_ROOM:
        send_room(cluster, effect);
        break;
    case SCH_OP_SEND_STARTED:
        send_report(cluster, SCH_EVENT_STARTED, effect);
        break;
    case SCH_OP_SEND_OUTCOME:
        send_report(cluster, SCH_EVENT_OUTCOME, effect);
        break;
    case SCH_OP_SEND_RETURNED:
        send_report(cluster, SCH_EVENT_RETURNED, effect);
        break;
    case SCH_OP_SEND_INVENTORY_COMPLETE:
        sim_to_partition(cluster->all, SCH_EVENT_INVENTORY_COMPLETE)->u.cluster.name =
            cluster->name;
        break;
    case SCH_OP_SHAPES_CHANGED:
        send_shapes(cluster);
        break;
    case SCH_OP_SEND_ACK:       /* an agent that never loses a message keeps nothing */
    case SCH_OP_SEND_INVENTORY: /* nor does anything run when the streams open */
    case SCH_OP_SERVICE_CHANGED:
    default:
        break;
    }
}

static void tick(void *owner, void *arg)
{
    struct sim_cluster *cluster = owner;
    (void)arg;
    if (cluster->tick_ns != cluster->all->world->now_ns)
        return; /* another one came before it */
    cluster->tick_ns = SY_TIME_NEVER;
    sim_cluster_step(cluster, &(struct sch_op_event){.type = SCH_OP_TICK});
}

void sim_cluster_step(struct sim_cluster *cluster, struct sch_op_event *event)
{
    struct sim_world *world = cluster->all->world;
    event->now_ns = world->now_ns;
    sch_operator_step(cluster->core, event, &cluster->effects);
    if (world->options.check)
        sch_operator_check(cluster->core);
    for (size_t i = 0; i < cluster->effects.count; i++)
        carry(cluster, &cluster->effects.items[i]);
    int64_t next_ns = sch_operator_next_ns(cluster->core);
    if (next_ns < cluster->tick_ns) {
        cluster->tick_ns = next_ns > world->now_ns ? next_ns : world->now_ns;
        sim_world_at(world, cluster->tick_ns, tick, cluster, NULL);
    }
}

/* ---- set-up ---- */

static void node_up(struct sim_cluster *cluster, struct sim_node *node)
{
    struct sch_op_event event = {.type = SCH_OP_NODE_UP};
    event.u.node.name = node->name;
    event.u.node.capacity = node->capacity;
    event.u.node.traits = node->traits;
    sy_map_add(&cluster->nodes, &node->by_name, node->name, strlen(node->name));
    sim_cluster_step(cluster, &event);
    event.type = SCH_OP_NODE_INVENTORY_COMPLETE;
    sim_cluster_step(cluster, &event);
}

void sim_cluster_init(struct sim_cluster *cluster, struct sim_switchyard *s, uint32_t index)
{
    struct sch_operator_options options = {.hold_ns = HOLD_NS, .node_lease_ns = NODE_LEASE_NS};
    *cluster = (struct sim_cluster){.all = s,
                                    .name = s->world->region->clusters[index].name,
                                    .index = index,
                                    .tick_ns = SY_TIME_NEVER};
    cluster->core = sch_operator_new(&options, s->world->now_ns);
    for (uint32_t i = 0; i < s->world->node_count; i++) {
        if (s->world->nodes[i].cluster == index)
            node_up(cluster, &s->world->nodes[i]);
    }
    send_shapes(cluster);
    struct sch_op_event event = {.type = SCH_OP_PARTITION_UP};
    event.u.partition.epoch = 1;
    sim_cluster_step(cluster, &event);
}

void sim_cluster_deinit(struct sim_cluster *cluster)
{
    sch_operator_free(cluster->core);
    sch_op_effects_deinit(&cluster->effects);
    sy_map_deinit(&cluster->nodes);
}
