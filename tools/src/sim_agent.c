#include "tools/src/sim_switchyard.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define STARVED_NS SY_NS_PER_S
#define RESERVED_SHARE 4

enum { CPU = 1, MEMORY = 2, GPUS = 4 };

static const struct sch_resources *request_of(const struct sim_agent *agent, uint32_t task)
{
    const struct sim_trace *trace = agent->all->world->trace;
    return &trace->kinds[trace->tasks[task].kind]->request;
}

static struct sim_cluster *cluster_of(const struct sim_agent *agent)
{
    return &agent->all->clusters[agent->all->world->nodes[agent->node].cluster];
}

static void report(const struct sim_agent *agent, enum sch_op_event_type type,
                   const struct sch_attempt_key *key, enum sch_outcome *outcome)
{
    struct sch_op_event *event = sim_to_operator(cluster_of(agent), type);
    event->u.report.node = agent->all->world->nodes[agent->node].name;
    event->u.report.key = *key;
    event->u.report.started_ns = agent->all->world->now_ns;
    event->u.report.cancelled = outcome == &agent->all->cancelled;
    event->u.report.blob.data = outcome;
}

/* ---- admission: agent/agent_admit.c says why ---- */

static unsigned uses(const struct sch_resources *request)
{
    return (request->cpu_milli > 0 ? CPU : 0u) | (request->memory_bytes > 0 ? MEMORY : 0u) |
           (sch_resources_has_gpu(request) ? GPUS : 0u);
}

static unsigned missing(const struct sim_agent *agent, const struct sch_resources *request)
{
    const struct sim_node *node = &agent->all->world->nodes[agent->node];
    return (node->used.cpu_milli + request->cpu_milli > node->capacity.cpu_milli ? CPU : 0u) |
           (node->used.memory_bytes + request->memory_bytes > node->capacity.memory_bytes ? MEMORY
                                                                                          : 0u) |
           (sim_node_has_gpus(node, request, false) ? 0u : GPUS);
}

/* From 1 s on, what it lacks is reserved in the first quarter of each span that doubles its wait.
 */
static bool reserves(int64_t waited_ns, int64_t *ret_end_ns)
{
    int64_t span_ns = STARVED_NS;
    *ret_end_ns = span_ns;
    if (waited_ns < span_ns)
        return false;
    while (waited_ns - span_ns >= span_ns)
        span_ns *= 2;
    bool reserved = waited_ns - span_ns < span_ns / RESERVED_SHARE;
    *ret_end_ns = reserved ? span_ns + span_ns / RESERVED_SHARE : 2 * span_ns;
    return reserved;
}

static void remove_waiting(struct sim_agent *agent, size_t at)
{
    SY_ASSERT(at < agent->count);
    agent->count--;
    memmove(&agent->waiting[at], &agent->waiting[at + 1],
            (agent->count - at) * sizeof(*agent->waiting));
}

static void start(struct sim_agent *agent, size_t at)
{
    struct sim_waiting first = agent->waiting[at];
    remove_waiting(agent, at);
    agent->all->keys[first.task] = first.key;
    report(agent, SCH_OP_STARTED, &first.key, NULL);
    sim_world_start(agent->all->world, first.task, agent->node, 0);
}

/* An older one of its kind waits: only the oldest is looked at. */
static bool behind_its_kind(const struct sim_agent *agent, size_t at)
{
    const struct sim_task *tasks = agent->all->world->trace->tasks;
    for (size_t i = 0; i < at; i++) {
        if (tasks[agent->waiting[i].task].kind == tasks[agent->waiting[at].task].kind)
            return true;
    }
    return false;
}

static void timer(void *owner, void *arg);

static void look_again(struct sim_agent *agent, int64_t at_ns)
{
    if (at_ns == agent->timer_ns)
        return;
    agent->timer_ns = at_ns;
    if (at_ns != SY_TIME_NEVER)
        sim_world_at(agent->all->world, at_ns, timer, agent, NULL);
}

static void admit(struct sim_agent *agent)
{
    int64_t now_ns = agent->all->world->now_ns, next_ns = SY_TIME_NEVER, end_ns;
    unsigned reserved = 0;
    size_t at = 0;
    while (at < agent->count) {
        const struct sim_waiting *waiting = &agent->waiting[at];
        const struct sch_resources *request = request_of(agent, waiting->task);
        if (behind_its_kind(agent, at)) {
            at++;
            continue;
        }
        unsigned lacks = missing(agent, request);
        if (lacks == 0 && (uses(request) & reserved) == 0) {
            start(agent, at);
            continue;
        }
        if (reserves(now_ns - waiting->arrived_ns, &end_ns))
            reserved |= lacks;
        if (waiting->arrived_ns + end_ns < next_ns)
            next_ns = waiting->arrived_ns + end_ns;
        at++;
    }
    look_again(agent, next_ns);
}

static void timer(void *owner, void *arg)
{
    struct sim_agent *agent = owner;
    (void)arg;
    if (agent->timer_ns != agent->all->world->now_ns)
        return; /* it was moved */
    agent->timer_ns = SY_TIME_NEVER;
    admit(agent);
}

/* ---- orders, and what ends ---- */

static struct sim_node *node_of(const struct sim_agent *agent)
{
    return &agent->all->world->nodes[agent->node];
}

void sim_agent_gone(struct sim_agent *agent)
{
    agent->count = 0;
    look_again(agent, SY_TIME_NEVER);
    sim_to_operator(cluster_of(agent), SCH_OP_NODE_DOWN)->u.node.name = node_of(agent)->name;
}

void sim_agent_back(struct sim_agent *agent)
{
    struct sch_op_event *event = sim_to_operator(cluster_of(agent), SCH_OP_NODE_UP);
    event->u.node.name = node_of(agent)->name;
    event->u.node.capacity = node_of(agent)->capacity;
    event->u.node.traits = node_of(agent)->traits;
    event = sim_to_operator(cluster_of(agent), SCH_OP_NODE_INVENTORY_COMPLETE);
    event->u.node.name = node_of(agent)->name;
}

void sim_agent_assign(struct sim_agent *agent, const struct sch_attempt_key *key)
{
    if (node_of(agent)->away)
        return; /* its stream is closed: what it does not name when it is back is lost */
    if (agent->count == agent->cap) {
        agent->cap = agent->cap ? 2 * agent->cap : 16;
        agent->waiting = sy_realloc(agent->waiting, agent->cap * sizeof(*agent->waiting));
    }
    agent->waiting[agent->count++] = (struct sim_waiting){
        .key = *key,
        .task = sim_task_of(agent->all, key->action),
        .arrived_ns = agent->all->world->now_ns};
    admit(agent);
}

void sim_agent_cancel(struct sim_agent *agent, const struct sch_attempt_key *key)
{
    struct sim_world *world = agent->all->world;
    uint32_t task = sim_task_of(agent->all, key->action);
    const struct sch_attempt_key *runs = &agent->all->keys[task];
    size_t at = 0;
    while (at < agent->count && agent->waiting[at].task != task)
        at++;
    bool running = world->tasks[task].running && world->tasks[task].node == agent->node &&
                   runs->number == key->number;
    if (at < agent->count)
        remove_waiting(agent, at);
    else if (running)
        sim_world_stop(world, task);
    else
        return; /* it has ended meanwhile */
    report(agent, SCH_OP_OUTCOME, key, &agent->all->cancelled);
    admit(agent);
}

void sim_agent_give_back(struct sim_agent *agent)
{
    while (agent->count > 0) {
        struct sch_attempt_key key = agent->waiting[agent->count - 1].key;
        remove_waiting(agent, agent->count - 1);
        report(agent, SCH_OP_NODE_RETURNED, &key, NULL);
    }
    admit(agent); /* nothing is left to be looked at again */
}

void sim_agent_ended(struct sim_agent *agent, uint32_t task)
{
    report(agent, SCH_OP_OUTCOME, &agent->all->keys[task], &agent->all->succeeded);
    admit(agent);
}
