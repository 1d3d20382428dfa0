/* A partition that is opened on a copy of the disk, beside the one that serves: see world_impl.h.
 */
#include "controlplane/partition.h"
#include "tests/sim/world_impl.h"

#define REBUILD_EVERY_NS (2 * SY_NS_PER_S)
#define TURNS_MAX 1000

struct comparison {
    struct sim_world *world;
    unsigned partition;
    struct sch_partition *other;
    uint64_t seen; /* runs, queues */
};

static void differ(const struct comparison *c, const char *what, const char *run, const char *name)
{
    sim_fail(c->world, "partition %u and its rebuild differ: %s of %s %s", c->partition, what, run,
             name);
}

static const char *name_of(const struct sch_action *action)
{
    return action ? action->name : "";
}

/* One that is gone is made again, where it was. */
static bool same_queue(const struct sch_action *a, const struct sch_action *b)
{
    const struct sch_queue_key *key_a = sch_action_queue(a), *key_b = sch_action_queue(b);
    if (!key_a || !key_b)
        return key_a == key_b;
    return memcmp(key_a, key_b, sizeof(*key_a)) == 0;
}

/* Conditions and groups keep their state; what else is out the rebuild has still to hear. */
static void compare_actions(const struct comparison *c, const struct sch_action *a,
                            const struct sch_action *b)
{
    const char *run = a->run->name;
    if (a->id != b->id || strcmp(name_of(a->parent), name_of(b->parent)) != 0)
        differ(c, "id or parent", run, a->name);
    if (b->ended > a->ended || a->attempts != b->attempts) /* what was given back is not durable */
        differ(c, "attempts", run, a->name);
    if (a->user_failures != b->user_failures || a->system_failures != b->system_failures)
        differ(c, "failures", run, a->name);
    if (a->deaths != b->deaths || a->suspect != b->suspect)
        differ(c, "deaths of workers", run, a->name);
    if (a->children_live != b->children_live || a->children_failed != b->children_failed ||
        a->child_sequence != b->child_sequence || a->sealed != b->sealed)
        differ(c, "children", run, a->name);
    if (a->created_ns != b->created_ns || a->priority != b->priority)
        differ(c, "time or priority", run, a->name);
    if (sch_action_memory_bytes(a) != sch_action_memory_bytes(b))
        differ(c, "memory", run, a->name);
    if (!same_queue(a, b))
        differ(c, "queue", run, a->name);
}

static bool compare_child(void *ctx, struct sch_action *action)
{
    struct comparison *c = ctx;
    const struct sch_run *run = sch_partition_find_run_by_id(c->other, action->run->id);
    const struct sch_action *other = sch_partition_find_action(c->other, run, action->name);
    if (!other)
        differ(c, "existence", action->run->name, action->name);
    compare_actions(c, action, other);
    sch_action_each_child(action, compare_child, c);
    return true;
}

static bool compare_run(void *ctx, struct sch_run *run)
{
    struct comparison *c = ctx;
    const struct sch_run *other = sch_partition_find_run_by_id(c->other, run->id);
    if (!other)
        differ(c, "existence", run->name, "");
    if (run->event_sequence != other->event_sequence || run->actions_live != other->actions_live ||
        run->actions_total != other->actions_total ||
        run->concurrency_max != other->concurrency_max)
        differ(c, "counters", run->name, "");
    c->seen++;
    return compare_child(c, run->root);
}

/* ---- queues ---- */

struct queue_wanted {
    const struct sch_queue_view *view;
    bool found;
};

static bool match_queue(void *ctx, const struct sch_queue_view *view)
{
    struct queue_wanted *wanted = ctx;
    const struct sch_queue_config *config = wanted->view->config;
    if (memcmp(&view->config->key, &config->key, sizeof(config->key)) != 0)
        return true;
    wanted->found = view->configured && view->actions == wanted->view->actions &&
                    sim_same_settings(view->config, config);
    return false;
}

/* Levels that nobody configured come and go with what is in them. */
static bool compare_queue(void *ctx, const struct sch_queue_view *view)
{
    struct comparison *c = ctx;
    struct queue_wanted wanted = {.view = view};
    if (!view->configured)
        return true;
    sch_partition_each_queue(c->other, match_queue, &wanted);
    if (!wanted.found)
        differ(c, "settings or number of actions", "queue", view->config->key.name);
    c->seen++;
    return true;
}

static bool count_configured(void *ctx, const struct sch_queue_view *view)
{
    *(uint64_t *)ctx += view->configured;
    return true;
}

static void compare(struct comparison *c, struct sch_partition *core)
{
    uint64_t queues = 0;
    sch_partition_each_run(core, compare_run, c);
    if (c->seen != sch_partition_counts(c->other).runs_live)
        differ(c, "number", "runs", "");
    c->seen = 0;
    sch_partition_each_queue(core, compare_queue, c);
    sch_partition_each_queue(c->other, count_configured, &queues);
    if (c->seen != queues)
        differ(c, "number", "queues", "");
}

/* ---- the other one ---- */

static int open_store(void *ctx, struct cp_store **ret_store, uint32_t epoch, struct sy_loop *loop,
                      uint32_t *ret_epoch, struct sy_error_text *error)
{
    return cp_store_mem_open(ret_store, ctx, epoch, loop, ret_epoch, error);
}

/* A half begins with its own copy. */
static int adopt_nothing(void *ctx, uint32_t parent, uint32_t epoch, struct sy_error_text *error)
{
    (void)ctx, (void)parent, (void)epoch, (void)error;
    return 0;
}

static void open_and_compare(struct comparison *c, struct sch_partition *core,
                             struct cp_mem_disk *disk)
{
    struct sim_world *world = c->world;
    struct sy_loop *loop = sim_loop_new(world);
    struct cp_partition_lot lot = sim_lot_of(world, c->partition);
    struct sy_rng rng;
    sy_rng_init(&rng, 1);
    struct cp_partition_options options = world->partition;
    options.partition = c->partition;
    options.partitions = sim_partitions(world);
    options.shard = options.region = "rebuild";
    SY_CLEANUP(cp_ranges_now_deinit) struct cp_ranges_now ranges = {NULL};
    cp_ranges_set(&ranges, cp_ranges_new(world->halves.ranges, sim_partitions(world)));
    options.ranges = &ranges;
    options.away = lot.split;
    struct cp_store_opener opener = {open_store, disk, NULL, adopt_nothing};
    struct sy_error_text error = {0};
    struct cp_partition *other = NULL;
    int r = cp_partition_new(&other, &options, loop, &rng, NULL, &opener, &error);
    if (r < 0)
        sim_fail(world, "partition %u cannot be rebuilt: %s", c->partition, error.text);
    if (lot.split) {
        cp_partition_set_lot(other, &lot);
        cp_partition_take(other, world->owners[c->partition].epoch + 1);
    }
    for (unsigned i = 0; i < TURNS_MAX && !cp_partition_serving(other); i++)
        sy_loop_turn(loop);
    c->other = cp_partition_core(other);
    if (!c->other)
        sim_fail(world, "partition %u cannot be rebuilt: %s", c->partition,
                 cp_partition_reason(other));
    compare(c, core);
    cp_partition_free(other);
    sy_loop_free(loop);
}

static void rebuild(struct sim_world *world, unsigned partition, struct sch_partition *core,
                    const struct cp_mem_disk *disk)
{
    struct comparison c = {.world = world, .partition = partition};
    if (disk == NULL)
        return;
    struct cp_mem_disk *copy = cp_mem_disk_copy(disk);
    world->result.rebuilds++;
    open_and_compare(&c, core, copy);
    cp_mem_disk_free(copy);
}

void sim_check_rebuild(struct sim_world *world, unsigned shard, unsigned loop)
{
    unsigned partition = world->checks.rebuild_next;
    const struct sim_shard *s = &world->shards[shard];
    if (!s->process.up || sim_loop_of(world, partition) != loop)
        return;
    struct cp_partition *p = cp_shard_partition(s->shard, partition);
    if (!cp_partition_settled(p))
        return;
    world->checks.rebuild_next = (partition + 1) % sim_partitions(world);
    world->checks.rebuild_at_ns = world->now_ns + REBUILD_EVERY_NS;
    rebuild(world, partition, cp_partition_core(p), sim_disk_under(world, shard, partition));
    rebuild(world, partition, cp_partition_core(p), sim_disk_beside(world, shard, partition));
}
