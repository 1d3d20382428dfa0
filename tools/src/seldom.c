#include "tools/src/seldom.h"

#include "base/mem.h"
#include "tools/src/op_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RACK = 40,
    CORES = 32,
    PARTITIONS = 4,
    GANG = 1024,
    TOLD = 200000, /* attempts that a stream begins with */
    LOST = 10000,  /* nodes that go at once */
    DRAINED = 1000,
    CLASS_GANG = 1u << 20
};

struct world {
    struct op_world w;
    uint32_t nodes, kinds;
    uint64_t members, assigned;
    uint32_t *granted, *sent; /* by class, of partition 1 */
    void (*print)(void *ctx, const char *name, const struct decisions_result *result);
    void *ctx;
};

static void on_effect(void *ctx, const struct sch_op_effect *effect)
{
    struct world *world = ctx;
    if (effect->type == SCH_OP_SEND_ASSIGN) {
        world->assigned++;
        world->members += effect->u.assign.first_node != NULL;
    }
    if (effect->type == SCH_OP_SEND_GRANT && effect->u.grant.partition == 1 &&
        effect->u.grant.class_id <= world->kinds)
        world->granted[effect->u.grant.class_id] = (uint32_t)effect->u.grant.granted;
}

/* ---- what is measured ---- */

static void begin(struct world *world)
{
    world->w.sum_ns = world->w.steps = world->w.longest_ns = 0;
    world->w.measuring = true;
}

static void end(struct world *world, const char *name, uint64_t count)
{
    struct decisions_result result;
    world->w.measuring = false;
    op_world_result(&world->w, count, &result);
    result.nodes = world->nodes;
    result.kinds = world->kinds;
    world->print(world->ctx, name, &result);
}

static void pass(struct world *world)
{
    op_world_pass(&world->w, 500 * SY_NS_PER_MS);
}

/* ---- events ---- */

static void node_up(struct world *world, uint32_t i)
{
    struct sch_resources capacity = {.cpu_milli = CORES * 1000, .memory_bytes = 1u << 30};
    struct sch_traits traits = {0};
    snprintf(traits.labels, sizeof(traits.labels), "host=h%u,rack=r%u", i, i / RACK);
    op_world_node_up(&world->w, i, &capacity, &traits);
}

static void nodes_up(struct world *world, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        node_up(world, i);
}

static void to_node(struct world *world, enum sch_op_event_type type, uint32_t i)
{
    char name[16];
    struct sch_op_event event = {.type = type};
    snprintf(name, sizeof(name), "node-%06u", i);
    if (type == SCH_OP_NODE_DOWN)
        event.u.node.name = name;
    else
        event.u.verb.node = name;
    if (type == SCH_OP_NODE_DRAIN)
        event.u.verb.deadline_ns = world->w.now + SY_NS_PER_S;
    op_world_step(&world->w, event);
}

static void demand(struct world *world, uint32_t partition, uint32_t class_id, uint32_t waiting)
{
    struct sch_op_event event = {.type = SCH_OP_DEMAND};
    struct sch_share_standing standing = {.path = {3, {1, class_id % 10 + 1, class_id % 100 + 1}},
                                          .weights = {1, 1, 1}};
    event.u.demand.partition = partition;
    event.u.demand.class_id = class_id;
    event.u.demand.request.cpu_milli = 1000;
    event.u.demand.request.memory_bytes = class_id;
    event.u.demand.waiting = waiting;
    event.u.demand.standing = &standing;
    op_world_step(&world->w, event);
}

static void demands(struct world *world, uint32_t partition, uint32_t waiting)
{
    for (uint32_t i = 1; i <= world->kinds; i++)
        demand(world, partition, i, waiting);
}

/* One of the class, if that was granted. */
static bool assign(struct world *world, uint32_t class_id, uint32_t queue)
{
    struct sch_op_event event = {0};
    if (world->sent[class_id] >= world->granted[class_id])
        return false;
    world->sent[class_id]++;
    event.u.assign.class_id = class_id;
    event.u.assign.queue = queue;
    (void)op_world_assign(&world->w, 1, event);
    return true;
}

/* As many as `wanted`, of all classes in turns. */
static uint64_t assign_some(struct world *world, uint64_t wanted, uint32_t queue)
{
    uint64_t count = 0, before = 1;
    while (count < wanted && count != before) {
        before = count;
        for (uint32_t i = 1; i <= world->kinds && count < wanted; i++)
            count += assign(world, i, queue);
        pass(world);
    }
    return count;
}

static void gang_demand(struct world *world, uint32_t class_id, const struct sch_gang_shape *shape)
{
    struct sch_op_event event = {.type = SCH_OP_DEMAND};
    event.u.demand.partition = 1;
    event.u.demand.class_id = class_id;
    event.u.demand.request.cpu_milli = CORES * 1000;
    event.u.demand.waiting = 1;
    event.u.demand.gang = shape;
    op_world_step(&world->w, event);
}

static void gang_comes(struct world *world, uint32_t class_id, const struct sch_gang_shape *shape)
{
    gang_demand(world, class_id, shape);
    pass(world);
    for (uint32_t rank = 0; rank < shape->size; rank++) {
        struct sch_op_event event = {0};
        event.u.assign.class_id = class_id;
        event.u.assign.gang_id = class_id;
        event.u.assign.rank = rank;
        (void)op_world_assign(&world->w, 1, event);
    }
    pass(world);
}

/* ---- sorts of steps ---- */

static const struct sch_gang_shape anywhere = {.size = GANG};
static const struct sch_gang_shape in_rack = {
    .size = RACK, .topology = SCH_TOPOLOGY_REQUIRE, .key = "rack"};

static void arrive(struct world *world)
{
    begin(world);
    nodes_up(world, 0, world->nodes);
    pass(world);
    end(world, "arrive", world->nodes);
}

static void contend(struct world *world)
{
    for (uint32_t i = 2; i <= PARTITIONS; i++)
        demands(world, i, 10);
    begin(world);
    for (uint32_t i = 0; i < DRAINED; i++) {
        to_node(world, SCH_OP_NODE_CORDON, i);
        pass(world);
        to_node(world, SCH_OP_NODE_UNCORDON, i);
        i += DRAINED / 20;
    }
    end(world, "contend", 20);
    for (uint32_t i = 2; i <= PARTITIONS; i++)
        demands(world, i, 0);
}

static void drain(struct world *world)
{
    begin(world);
    for (uint32_t i = 0; i < DRAINED; i++)
        to_node(world, SCH_OP_NODE_DRAIN, i);
    op_world_pass(&world->w, 3 * SY_NS_PER_S / 2); /* beyond the deadline */
    for (uint32_t i = 0; i < DRAINED; i++)
        to_node(world, SCH_OP_NODE_UNCORDON, i);
    pass(world);
    end(world, "drain", DRAINED);
}

static void open_stream(struct world *world, uint64_t attempts)
{
    struct sch_op_event down = {.type = SCH_OP_PARTITION_DOWN, .u.partition = {1, 1}};
    begin(world);
    op_world_step(&world->w, down);
    op_world_partition_up(&world->w, 1);
    pass(world);
    end(world, "stream", attempts);
    memset(world->granted, 0, (world->kinds + 1) * sizeof(*world->granted));
    memset(world->sent, 0, (world->kinds + 1) * sizeof(*world->sent));
    demands(world, 1, 100);
    pass(world);
}

static void ask(struct world *world, const char *name, const struct sch_gang_shape *gang,
                const char *labels)
{
    struct sch_resources request = {.cpu_milli = CORES * 1000};
    struct sch_reclaim_queue queue = {.id = 7};
    struct sch_op_survey survey = {
        .partition = 1, .request = &request, .gang = gang, .queues = &queue, .queue_count = 1};
    struct sch_op_survey_answer answer;
    snprintf(request.labels, sizeof(request.labels), "%s", labels);
    memset(&queue.below, 0x3f, sizeof(queue.below));
    begin(world);
    uint64_t from_ns = op_world_cpu_ns();
    sch_operator_survey(world->w.op, &survey, &answer);
    world->w.longest_ns = world->w.sum_ns = op_world_cpu_ns() - from_ns;
    world->w.steps = 1;
    end(world, name, 1);
    sch_op_survey_answer_deinit(&answer);
}

static void reclaim(struct world *world, const char *name, uint32_t class_id, bool gang)
{
    struct sch_reclaim_queue queue = {.id = 7};
    struct sch_op_event event = {.type = SCH_OP_RECLAIM};
    memset(&queue.below, 0x3f, sizeof(queue.below));
    event.u.reclaim.partition = 1;
    event.u.reclaim.class_id = class_id;
    event.u.reclaim.gang_id = gang ? class_id : 0;
    event.u.reclaim.queues = &queue;
    event.u.reclaim.queue_count = 1;
    begin(world);
    op_world_step(&world->w, event);
    pass(world);
    end(world, name, 1);
}

static void lose(struct world *world)
{
    begin(world);
    for (uint32_t i = 0; i < LOST; i++)
        to_node(world, SCH_OP_NODE_DOWN, i);
    pass(world);
    end(world, "silent", LOST);
    begin(world);
    world->w.now += 1000 * SY_NS_PER_S; /* in pieces: nobody was blind */
    pass(world);
    world->w.now += 1500 * SY_NS_PER_S;
    pass(world);
    world->w.now += 1200 * SY_NS_PER_S;
    pass(world);
    end(world, "lost", LOST);
}

/* One of each kind waits here, and a node comes. */
static void park(struct world *world)
{
    for (uint32_t i = 0; i < world->nodes; i++)
        to_node(world, SCH_OP_NODE_CORDON, i);
    pass(world);
    uint64_t count = 0;
    for (uint32_t i = 1; i <= world->kinds; i++)
        count += assign(world, i, 7);
    begin(world);
    nodes_up(world, world->nodes, world->nodes + 10);
    pass(world);
    end(world, "parked", count);
}

void seldom_steps(uint32_t nodes, uint32_t kinds,
                  void (*print)(void *ctx, const char *name, const struct decisions_result *result),
                  void *ctx)
{
    struct world *world = sy_new(struct world);
    world->nodes = nodes;
    world->kinds = kinds;
    world->print = print;
    world->ctx = ctx;
    world->w.on_effect = on_effect;
    world->w.ctx = world;
    world->granted = sy_calloc(kinds + 1, sizeof(*world->granted));
    world->sent = sy_calloc(kinds + 1, sizeof(*world->sent));
    op_world_init(&world->w);
    for (uint32_t i = 1; i <= PARTITIONS; i++)
        op_world_partition_up(&world->w, i);
    begin(world);
    demands(world, 1, 100);
    end(world, "demand", kinds);
    arrive(world);
    contend(world);
    ask(world, "ask", NULL, "");
    ask(world, "labels", NULL, "host=h17");
    ask(world, "gang?", &anywhere, "");
    ask(world, "rack?", &in_rack, "");
    begin(world);
    gang_comes(world, CLASS_GANG, &anywhere);
    end(world, "gang", GANG);
    begin(world);
    uint64_t attempts = assign_some(world, nodes * 31ull < TOLD * 5 ? nodes * 31ull : TOLD * 5, 7);
    end(world, "fill", attempts);
    drain(world);
    begin(world);
    gang_comes(world, CLASS_GANG + 1, &anywhere);
    end(world, "gang2", GANG);
    reclaim(world, "reclaim", CLASS_GANG + 1, true);
    begin(world);
    gang_comes(world, CLASS_GANG + 2, &in_rack);
    end(world, "rack", RACK);
    reclaim(world, "reclaim1", 1, false);
    ask(world, "gang??", &anywhere, "");
    ask(world, "rack??", &in_rack, "");
    lose(world);
    open_stream(world, attempts);
    park(world);
    op_world_deinit(&world->w);
    free(world->granted);
    free(world->sent);
    free(world);
}
