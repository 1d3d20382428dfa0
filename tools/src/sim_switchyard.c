#include "tools/src/sim_switchyard.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPOCH 1u
#define COUNTER_BITS 40 /* of an action's id: (epoch << 40) | counter */

/* ---- streams ---- */

struct message {
    struct sch_link link;
    struct sim_switchyard *all;
    struct sim_cluster *cluster;   /* NULL: to the partition */
    enum sch_op_effect_type order; /* to an agent */
    struct sim_agent *agent;       /* NULL: to the partition, or an operator */
    struct sch_attempt_key key;
    struct sch_event up;
    void *owned; /* what the event points to */
    struct sch_op_event down;
};

static void step(struct sim_switchyard *s, struct sch_event *event);

static void message_free(struct message *message)
{
    free(message->owned);
    free(message);
}

static void deliver(void *owner, void *arg)
{
    struct message *message = arg;
    (void)owner;
    sch_list_remove(&message->link);
    if (message->agent && message->order == SCH_OP_SEND_ASSIGN)
        sim_agent_assign(message->agent, &message->key);
    else if (message->agent && message->order == SCH_OP_SEND_GIVE_BACK)
        sim_agent_give_back(message->agent);
    else if (message->agent)
        sim_agent_cancel(message->agent, &message->key);
    else if (message->cluster)
        sim_cluster_step(message->cluster, &message->down);
    else
        step(message->all, &message->up);
    message_free(message);
}

static struct message *send(struct sim_switchyard *s)
{
    struct message *message = sy_new(struct message);
    message->all = s;
    sch_list_push_back(&s->messages, &message->link);
    sim_world_at(s->world, s->world->now_ns + s->world->options.delay_ns, deliver, s, message);
    return message;
}

struct sch_event *sim_to_partition(struct sim_switchyard *s, enum sch_event_type type)
{
    struct message *message = send(s);
    message->up.type = type;
    return &message->up;
}

void sim_shapes_to_partition(struct sim_cluster *cluster, struct sch_shape *shapes, size_t count)
{
    struct message *message = send(cluster->all);
    message->owned = shapes;
    message->up.type = SCH_EVENT_CLUSTER_UP;
    message->up.u.cluster.name = cluster->name;
    message->up.u.cluster.shapes = shapes;
    message->up.u.cluster.shape_count = count;
    message->up.u.cluster.price = cluster->all->world->region->clusters[cluster->index].price;
    message->up.u.cluster.region = cluster->all->world->region->clusters[cluster->index].region;
}

struct sch_op_event *sim_to_operator(struct sim_cluster *cluster, enum sch_op_event_type type)
{
    struct message *message = send(cluster->all);
    message->cluster = cluster;
    message->down.type = type;
    return &message->down;
}

void sim_to_agent(struct sim_cluster *cluster, enum sch_op_effect_type order, const char *node,
                  const struct sch_attempt_key *key)
{
    struct sim_switchyard *s = cluster->all;
    const struct sim_node *found = sy_map_entry(sy_map_find(&cluster->nodes, node, strlen(node)),
                                                struct sim_node, by_name);
    SY_ASSERT(found && (key == NULL) == (order == SCH_OP_SEND_GIVE_BACK));
    struct message *message = send(s);
    message->agent = &s->agents[found - s->world->nodes];
    message->order = order;
    if (key)
        message->key = *key;
}

/* ---- actions and tasks ---- */

static uint64_t counter_of(uint64_t action)
{
    return action & ((UINT64_C(1) << COUNTER_BITS) - 1);
}

uint32_t sim_task_of(const struct sim_switchyard *s, uint64_t action)
{
    SY_ASSERT(counter_of(action) < s->task_of_cap);
    return s->task_of[counter_of(action)];
}

/* `shell` is the task + 1; NULL for a root. */
static void created(struct sim_switchyard *s, const struct sch_effect *effect)
{
    uint64_t counter = counter_of(effect->u.created.action->id);
    if (counter >= s->task_of_cap) {
        s->task_of_cap = 2 * counter + 64;
        s->task_of = sy_realloc(s->task_of, s->task_of_cap * sizeof(*s->task_of));
    }
    s->task_of[counter] = (uint32_t)((uintptr_t)effect->u.created.shell - 1);
}

static void finished(struct sim_switchyard *s, const struct sch_effect *effect)
{
    if (effect->u.final.state != SCH_ACTION_SUCCEEDED)
        sim_world_give_up(s->world, sim_task_of(s, effect->u.final.action->id));
}

static const char *reason_of(const struct sch_effect *effect)
{
    if (effect->u.rejected.text)
        return effect->u.rejected.text;
    return effect->u.rejected.why == SCH_REJECT_FULL ? "the partition is full" : "refused";
}

/* All members of a gang, of which the first is told. */
static void rejected(struct sim_switchyard *s, const struct sch_effect *effect)
{
    uint32_t task = (uint32_t)((uintptr_t)effect->u.rejected.shell - 1);
    const struct sch_gang_shape *gang = sim_trace_gang(s->world->trace, task);
    for (uint32_t i = 0; i < (gang ? gang->size : 1); i++)
        sim_world_refuse(s->world, task + i, reason_of(effect));
}

/* As the trace has it: the core's own may be gone when the message comes. */
static const struct sch_gang_shape *own_shape(const struct sim_switchyard *s,
                                              const struct sch_gang_shape *shape)
{
    struct sy_map_link *found = sy_map_find(&s->world->trace->gangs_by_shape, shape,
                                            sizeof(*shape));
    SY_ASSERT(found);
    return &sy_map_entry(found, struct sim_gang, link)->shape;
}

/* ---- effects of the partition ---- */

static struct sim_cluster *cluster_named(struct sim_switchyard *s, const char *name)
{
    struct sim_cluster *cluster = s->clusters;
    while (strcmp(cluster->name, name) != 0)
        cluster++;
    SY_ASSERT(cluster < s->clusters + s->world->region->cluster_count);
    return cluster;
}

static void send_reclaim(struct sim_switchyard *s, const struct sch_effect *effect)
{
    struct message *message = send(s);
    size_t size = effect->u.reclaim.queue_count * sizeof(effect->u.reclaim.queues[0]);
    message->cluster = cluster_named(s, effect->u.reclaim.cluster);
    message->owned = sy_memdup(effect->u.reclaim.queues, size);
    message->down.type = SCH_OP_RECLAIM;
    message->down.u.reclaim.class_id = effect->u.reclaim.class_id;
    message->down.u.reclaim.gang_id = effect->u.reclaim.gang_id;
    message->down.u.reclaim.queues = message->owned;
    message->down.u.reclaim.queue_count = effect->u.reclaim.queue_count;
}

static void fill_gang(struct sch_op_event *event, const struct sch_action *action)
{
    struct sch_gang_view gang;
    if (!sch_action_gang(action, &gang))
        return;
    event->u.assign.gang_id = gang.id;
    event->u.assign.rank = gang.rank;
}

static void carry(struct sim_switchyard *s, const struct sch_effect *effect)
{
    struct sch_op_event *event;
    switch (effect->type) {
    case SCH_EFFECT_CREATED:
        created(s, effect);
        break;
    case SCH_EFFECT_FINISHED:
        finished(s, effect);
        break;
    case SCH_EFFECT_REJECTED:
        rejected(s, effect);
        break;
    case SCH_EFFECT_ASSIGN:
        event = sim_to_operator(cluster_named(s, effect->u.assign.cluster), SCH_OP_ASSIGN);
        event->u.assign.key = (struct sch_attempt_key){.action = effect->u.assign.action->id,
                                                       .number = effect->u.assign.action->number,
                                                       .epoch = EPOCH};
        event->u.assign.class_id = effect->u.assign.class_id;
        event->u.assign.queue = effect->u.assign.queue;
        event->u.assign.priority = effect->u.assign.priority;
        fill_gang(event, effect->u.assign.action);
        break;
    case SCH_EFFECT_CANCEL:
        event = sim_to_operator(cluster_named(s, effect->u.cancel.cluster), SCH_OP_CANCEL);
        event->u.cancel.key = (struct sch_attempt_key){.action = effect->u.cancel.action_id,
                                                       .number = effect->u.cancel.number,
                                                       .epoch = effect->u.cancel.epoch};
        break;
    case SCH_EFFECT_ACK:
        event = sim_to_operator(cluster_named(s, effect->u.ack.cluster), SCH_OP_ACK);
        event->u.key = (struct sch_attempt_key){.action = effect->u.ack.action_id,
                                                .number = effect->u.ack.number,
                                                .epoch = effect->u.ack.epoch};
        break;
    case SCH_EFFECT_DEMAND:
        event = sim_to_operator(cluster_named(s, effect->u.demand.cluster), SCH_OP_DEMAND);
        event->u.demand.class_id = effect->u.demand.class_id;
        event->u.demand.request = *effect->u.demand.request;
        event->u.demand.waiting = effect->u.demand.waiting;
        event->u.demand.oldest_age_ns = effect->u.demand.oldest_age_ns;
        event->u.demand.top_priority = effect->u.demand.top_priority;
        if (effect->u.demand.gang)
            event->u.demand.gang = own_shape(s, effect->u.demand.gang);
        event->u.demand.keep = effect->u.demand.keep;
        break;
    case SCH_EFFECT_RECLAIM:
        send_reclaim(s, effect);
        break;
    default: /* rows: there is no store; and one partition has no limits to share */
        break;
    }
}

static void tick(void *owner, void *arg)
{
    struct sim_switchyard *s = owner;
    (void)arg;
    if (s->tick_ns != s->world->now_ns)
        return; /* another one came before it */
    s->tick_ns = SY_TIME_NEVER;
    step(s, &(struct sch_event){.type = SCH_EVENT_TICK});
}

static void step(struct sim_switchyard *s, struct sch_event *event)
{
    event->now_ns = event->realtime_ns = s->world->now_ns;
    sch_partition_step(s->core, event, &s->effects);
    if (s->world->options.check)
        sch_partition_check(s->core);
    for (size_t i = 0; i < s->effects.count; i++)
        carry(s, &s->effects.items[i]);
    int64_t next_ns = sch_partition_next_ns(s->core);
    if (next_ns < s->tick_ns) {
        s->tick_ns = next_ns > s->world->now_ns ? next_ns : s->world->now_ns;
        sim_world_at(s->world, s->tick_ns, tick, s, NULL);
    }
}

/* ---- set-up ---- */

static void tell_queue(struct sim_switchyard *s, struct sch_queue_config config)
{
    if (s->world->options.cluster_policy >= 0)
        config.policy = (enum sch_policy)s->world->options.cluster_policy;
    struct sch_event event = {.type = SCH_EVENT_QUEUE};
    event.u.queue.config = &config;
    step(s, &event);
}

/* Those of the region, and when a policy is forced upon all the default ones that are used. */
static void tell_queues(struct sim_switchyard *s)
{
    const struct sim_trace *trace = s->world->trace;
    for (size_t i = 0; i < s->world->region->queue_count; i++)
        tell_queue(s, s->world->region->queues[i]);
    for (size_t i = 0; s->world->options.cluster_policy >= 0 && i < trace->queue_count; i++) {
        struct sch_queue_key key = trace->queues[i]->key;
        if (key.name[0] || sim_region_queue(s->world->region, &key))
            continue;
        snprintf(key.name, sizeof(key.name), SCH_QUEUE_DEFAULT);
        tell_queue(s, sch_queue_config_default(&key));
    }
}

static void create_runs(struct sim_switchyard *s)
{
    const struct sim_trace *trace = s->world->trace;
    s->roots = sy_calloc(trace->queue_count, sizeof(struct sch_action *));
    for (size_t i = 0; i < trace->queue_count; i++) {
        const struct sch_queue_key *key = &trace->queues[i]->key;
        struct sch_run *run = sch_partition_find_run(s->core, key->project, key->domain, "trace");
        struct sch_event event = {.type = SCH_EVENT_CREATE_RUN};
        event.u.create.project = key->project;
        event.u.create.domain = key->domain;
        event.u.create.name = "trace";
        event.u.create.spec = &s->root_spec;
        if (!run)
            step(s, &event);
        run = run ? run : sch_partition_find_run(s->core, key->project, key->domain, "trace");
        SY_ASSERT(run && run->root);
        s->roots[i] = run->root;
    }
}

static void *switchyard_new(struct sim_world *world)
{
    struct sim_switchyard *s = sy_new(struct sim_switchyard);
    const struct sim_trace *trace = world->trace;
    struct sch_partition_options options = {.epoch = EPOCH,
                                            .actions_max = 2 * SIM_TASKS_MAX,
                                            .system_retries = 10,
                                            .cluster_lease_ns = 30 * SY_NS_PER_S,
                                            .recovery_wait_ns = 10 * SY_NS_PER_S,
                                            .reclaim_delay_ns = world->region->reclaim_delay_ns,
                                            .reserve_after_ns = world->region->reserve_after_ns,
                                            .ageing_ns = world->region->ageing_ns};
    s->world = world;
    s->tick_ns = SY_TIME_NEVER;
    s->succeeded = SCH_OUTCOME_SUCCEEDED;
    s->cancelled = SCH_OUTCOME_CANCELLED;
    s->root_spec.group = true;
    sch_list_init(&s->messages);
    s->core = sch_partition_new(&options, world->now_ns);
    s->specs = sy_calloc(trace->kind_count, sizeof(*s->specs));
    for (size_t i = 0; i < trace->kind_count; i++)
        s->specs[i].request = trace->kinds[i]->request;
    s->keys = sy_calloc(trace->count, sizeof(*s->keys));
    s->agents = sy_calloc(world->node_count, sizeof(*s->agents));
    for (uint32_t i = 0; i < world->node_count; i++)
        s->agents[i] = (struct sim_agent){.all = s, .node = i, .timer_ns = SY_TIME_NEVER};
    tell_queues(s);
    create_runs(s);
    s->clusters = sy_calloc(world->region->cluster_count, sizeof(*s->clusters));
    for (size_t i = 0; i < world->region->cluster_count; i++)
        sim_cluster_init(&s->clusters[i], s, (uint32_t)i);
    return s;
}

/* Its members follow it in the trace. */
static void arrive_gang(struct sim_switchyard *s, uint32_t task, const struct sch_gang_shape *shape)
{
    const struct sim_task *of_trace = &s->world->trace->tasks[task];
    struct sch_gang_member *members = sy_calloc(shape->size, sizeof(*members));
    char(*names)[SCH_NAME_MAX] = sy_calloc(shape->size, sizeof(*names));
    for (uint32_t i = 0; i < shape->size; i++) {
        SY_ASSERT(of_trace[i].gang == of_trace->gang && of_trace[i].rank == i);
        snprintf(names[i], sizeof(names[i]), "t%u", task + i);
        members[i] = (struct sch_gang_member){.name = names[i],
                                              .spec = &s->specs[of_trace->kind],
                                              .shell = (void *)((uintptr_t)task + i + 1)};
    }
    struct sch_event event = {.type = SCH_EVENT_ENQUEUE_GANG};
    event.u.gang.parent = s->roots[of_trace->queue];
    event.u.gang.shape = shape;
    event.u.gang.members = members;
    event.u.gang.priority = of_trace->priority;
    event.u.gang.queue = s->world->trace->queues[of_trace->queue]->key.name;
    event.u.gang.shell = (void *)((uintptr_t)task + 1);
    step(s, &event);
    free(members);
    free(names);
}

/* A gang comes when all of its members have. */
static void switchyard_arrive(void *scheduler, uint32_t task)
{
    struct sim_switchyard *s = scheduler;
    const struct sim_task *of_trace = &s->world->trace->tasks[task];
    const struct sch_queue_key *key = &s->world->trace->queues[of_trace->queue]->key;
    const struct sch_gang_shape *gang = sim_trace_gang(s->world->trace, task);
    char name[SCH_NAME_MAX];
    if (gang && of_trace->rank + 1 == gang->size)
        arrive_gang(s, task - of_trace->rank, gang);
    if (gang)
        return;
    snprintf(name, sizeof(name), "t%u", task);
    struct sch_event event = {.type = SCH_EVENT_ENQUEUE};
    event.u.enqueue.parent = s->roots[of_trace->queue];
    event.u.enqueue.name = name;
    event.u.enqueue.spec = &s->specs[of_trace->kind];
    event.u.enqueue.priority = of_trace->priority;
    event.u.enqueue.queue = key->name;
    event.u.enqueue.shell = (void *)((uintptr_t)task + 1);
    step(s, &event);
}

static void switchyard_ended(void *scheduler, uint32_t task, uint32_t node)
{
    struct sim_switchyard *s = scheduler;
    sim_agent_ended(&s->agents[node], task);
}

static void switchyard_gone(void *scheduler, uint32_t node)
{
    struct sim_switchyard *s = scheduler;
    sim_agent_gone(&s->agents[node]);
}

static void switchyard_back(void *scheduler, uint32_t node)
{
    struct sim_switchyard *s = scheduler;
    sim_agent_back(&s->agents[node]);
}

static void switchyard_free(void *scheduler)
{
    struct sim_switchyard *s = scheduler;
    while (!sch_list_empty(&s->messages))
        message_free(sy_container_of(sch_list_pop(&s->messages), struct message, link));
    for (size_t i = 0; i < s->world->region->cluster_count; i++)
        sim_cluster_deinit(&s->clusters[i]);
    for (uint32_t i = 0; i < s->world->node_count; i++)
        free(s->agents[i].waiting);
    sch_partition_free(s->core);
    sch_effects_deinit(&s->effects);
    free(s->clusters);
    free(s->agents);
    free(s->specs);
    free(s->roots);
    free(s->task_of);
    free(s->keys);
    free(s);
}

const struct sim_policy sim_policy_switchyard = {.name = "switchyard",
                                                 .new = switchyard_new,
                                                 .arrive = switchyard_arrive,
                                                 .ended = switchyard_ended,
                                                 .gone = switchyard_gone,
                                                 .back = switchyard_back,
                                                 .free = switchyard_free};
