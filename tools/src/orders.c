#include "tools/src/orders.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tools/src/op_world.h"

#include <stdlib.h>

enum { PARTITIONS_MAX = 16, QUEUES = 1000, CORES = 32, WAITING = 1000, ENDS = 4000 };

struct class
{
    struct sch_share_path place;
    uint64_t granted, assigned;
    uint32_t partition, id;
    bool due; /* in world->due */
};

struct world {
    struct op_world w;
    uint32_t partitions, nodes, classes;
    struct class *all, **due;
    uint32_t due_count;
    struct sch_attempt_key *running;
    uint32_t running_count;
    uint64_t room_milli[PARTITIONS_MAX], sent_milli[PARTITIONS_MAX], placed;
};

static void on_effect(void *ctx, const struct sch_op_effect *effect)
{
    struct world *world = ctx;
    if (effect->type == SCH_OP_SEND_ASSIGN) {
        SY_ASSERT(world->running_count < 2 * world->nodes * CORES); /* with what is in backlogs */
        world->running[world->running_count++] = effect->u.assign.key;
        world->placed++;
    }
    if (effect->type == SCH_OP_SEND_ROOM)
        world->room_milli[effect->u.room.partition - 1] = effect->u.room.cpu_milli;
    if (effect->type != SCH_OP_SEND_GRANT)
        return;
    struct class *class = &world->all[(effect->u.grant.partition - 1) * world->classes +
                                      effect->u.grant.class_id - 1];
    if (effect->u.grant.startable > class->granted)
        class->granted = effect->u.grant.startable;
    if (!class->due)
        world->due[world->due_count++] = class;
    class->due = true;
}

/* One of it comes. False: it has no grant, or its partition no room. */
static bool take_one(struct world *world, struct class *class)
{
    uint64_t *sent_milli = &world->sent_milli[class->partition - 1];
    if (class->assigned == class->granted ||
        *sent_milli + 1000 > world->room_milli[class->partition - 1])
        return false;
    struct sch_op_event event = {0};
    event.u.assign.class_id = class->id;
    event.u.assign.place = &class->place;
    *sent_milli += 1000;
    class->assigned++;
    (void)op_world_assign(&world->w, class->partition, event);
    return true;
}

/* What was granted comes, as far as there is room for it. */
static void take(struct world *world)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < world->due_count; i++) {
        struct class *class = world->due[i];
        while (take_one(world, class))
            ;
        class->due = class->assigned < class->granted;
        if (class->due)
            world->due[kept++] = class;
    }
    world->due_count = kept;
}

static void demand(struct world *world, const struct class *class)
{
    struct sch_op_event event = {.type = SCH_OP_DEMAND};
    struct sch_share_standing standing = {.path = class->place};
    for (uint32_t i = 0; i < standing.path.depth; i++)
        standing.weights[i] = SCH_QUEUE_WEIGHT_DEFAULT;
    event.u.demand.partition = class->partition;
    event.u.demand.class_id = class->id;
    event.u.demand.request.cpu_milli = 1000;
    event.u.demand.request.memory_bytes = class->id;
    event.u.demand.waiting = WAITING;
    event.u.demand.standing = &standing;
    op_world_step(&world->w, event);
}

static void init(struct world *world)
{
    struct sch_resources capacity = {.cpu_milli = 1000 * CORES, .memory_bytes = 1u << 30};
    world->w.on_effect = on_effect;
    world->w.ctx = world;
    op_world_init(&world->w);
    world->running = sy_calloc(2 * (size_t)world->nodes * CORES, sizeof(*world->running));
    world->all = sy_calloc((size_t)world->partitions * world->classes, sizeof(*world->all));
    world->due = sy_calloc((size_t)world->partitions * world->classes, sizeof(struct class *));
    for (uint32_t i = 0; i < world->partitions; i++)
        op_world_partition_up(&world->w, i + 1);
    for (uint32_t i = 0; i < world->partitions * world->classes; i++) {
        struct class *class = &world->all[i];
        uint32_t queue = i * 7 % QUEUES;
        class->partition = i / world->classes + 1;
        class->id = i % world->classes + 1;
        class->place = (struct sch_share_path){3, {queue % 20 + 1, queue % 40 + 1, queue + 1}};
        demand(world, class);
    }
    for (uint32_t i = 0; i < world->nodes; i++)
        op_world_node_up(&world->w, i, &capacity, NULL);
    while (world->running_count < world->nodes * CORES) {
        op_world_pass(&world->w, SY_NS_PER_MS);
        take(world);
    }
}

void orders_contended(uint32_t partitions, uint32_t nodes, uint32_t classes,
                      struct decisions_result *ret)
{
    struct world *world = sy_new(struct world);
    struct sy_rng rng;
    world->partitions = partitions;
    world->nodes = nodes;
    world->classes = classes;
    sy_rng_init(&rng, 1);
    init(world);
    world->placed = 0;
    world->w.measuring = true;
    for (uint32_t i = 0; i < ENDS; i++) {
        if (world->running_count > 0) {
            uint32_t at = (uint32_t)sy_rng_below(&rng, world->running_count);
            struct sch_attempt_key key = world->running[at];
            world->running[at] = world->running[--world->running_count];
            op_world_end(&world->w, &key);
        }
        op_world_pass(&world->w, SY_NS_PER_MS);
        take(world);
    }
    op_world_result(&world->w, world->placed, ret);
    ret->nodes = nodes;
    ret->kinds = classes;
    op_world_deinit(&world->w);
    free(world->all);
    free(world->due);
    free(world->running);
    free(world);
}
