/*
 * Partitions that are split: their disks, and what must hold of halves.
 *
 * A half begins with what was forked from the whole, which nobody serves any more as it was: no
 * core, and no commit, of that epoch or an earlier one (owners.c). The two have the hashes of the
 * whole, the lower half those from the same place on; what others have stays as it is. A live run
 * is in the core that has its hash, and in no other. An action keeps its id, which ends with the
 * first byte of its run's hash, and no other action of those that were one partition once has the
 * same. An operator knows an attempt as one of the half that has it in its core, if that half says
 * at all who it is.
 */
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"
#include "tests/sim/world_impl.h"

#define PLACE_SHIFT 56

/* ---- disks ---- */

static int open_disk(void *ctx, struct cp_store **ret_store, uint32_t epoch, struct sy_loop *loop,
                     uint32_t *ret_epoch, struct sy_error_text *error)
{
    const struct sim_disk *disk = ctx;
    SY_ASSERT(disk->mem != NULL);
    sim_opening_may_hang(disk->world, loop);
    return cp_store_mem_open(ret_store, disk->mem, epoch, loop, ret_epoch, error);
}

static struct sim_fork *find_fork(struct sim_halves *halves, uint32_t parent, uint32_t epoch)
{
    for (unsigned i = 0; i < halves->fork_count; i++) {
        if (halves->forks[i].parent == parent && halves->forks[i].epoch == epoch)
            return &halves->forks[i];
    }
    return NULL;
}

static int fork_disk(void *ctx, uint32_t epoch, struct sy_error_text *error)
{
    struct sim_disk *disk = ctx;
    struct sim_world *world = disk->world;
    struct sim_halves *halves = &world->halves;
    bool full = halves->fork_count == SY_COUNT_OF(halves->forks);
    if (full || (world->now_ns <= SIM_HEAL_AT_NS && sy_rng_chance(&halves->rng, 1, 8))) {
        sy_error_text_set(error, "the storage has no room for a fork");
        return -ENOSPC;
    }
    if (find_fork(halves, disk->partition, epoch) != NULL)
        sim_fail(world, "partition %u is forked twice under epoch %u", disk->partition, epoch);
    sim_trace(world, "fork", "", (uint64_t)disk->partition << 32 | epoch);
    halves->forks[halves->fork_count++] = (struct sim_fork){disk->partition, epoch,
                                                            cp_mem_disk_copy(disk->mem)};
    return 0;
}

static int adopt_fork(void *ctx, uint32_t parent, uint32_t epoch, struct sy_error_text *error)
{
    struct sim_disk *disk = ctx;
    struct sim_world *world = disk->world;
    struct sim_owner *whole = &world->owners[parent];
    struct sim_fork *fork = find_fork(&world->halves, parent, epoch);
    (void)error;
    if (disk->mem != NULL)
        return 0;
    if (fork == NULL || fork->gone)
        sim_fail(world, "partition %u begins with nothing: of %u under epoch %u there is no fork%s",
                 disk->partition, parent, epoch, fork != NULL ? " any more" : "");
    if (whole->serving && whole->epoch <= epoch)
        sim_fail(world, "partition %u begins while %s still serves %u, as it was", disk->partition,
                 sim_shard_name(world, whole->shard), parent);
    whole->over = epoch;
    disk->parent = parent;
    disk->parent_epoch = epoch;
    disk->mem = sy_take(fork->mem);
    cp_mem_disk_set(disk->mem, world->options.sync_ns_max, -1);
    sim_trace(world, "adopt", "", (uint64_t)disk->partition << 32 | parent);
    return 0;
}

/* It is not there for who may begin with it. */
static void drop_forks(void *ctx, uint32_t before, const uint32_t *kept, size_t kept_count)
{
    const struct sim_disk *disk = ctx;
    struct sim_halves *halves = &disk->world->halves;
    for (unsigned i = 0; i < halves->fork_count; i++) {
        struct sim_fork *fork = &halves->forks[i];
        bool named = fork->parent != disk->partition || fork->epoch >= before;
        for (size_t k = 0; !named && k < kept_count; k++)
            named = kept[k] == fork->epoch;
        if (!named)
            fork->gone = true;
    }
}

struct cp_store_opener sim_disk_opener(struct sim_world *world, unsigned partition)
{
    struct cp_store_opener opener = {.open = open_disk, .ctx = &world->disks[partition]};
    if (world->options.room > world->options.partitions) {
        opener.fork = fork_disk;
        opener.adopt = adopt_fork;
        opener.drop_forks = drop_forks;
    }
    return opener;
}

void sim_halves_init(struct sim_world *world)
{
    const struct sim_options *o = &world->options;
    sy_rng_init(&world->halves.rng, o->seed ^ 0xa1fe5);
    world->halves.count = o->partitions;
    for (unsigned i = 0; i < o->room; i++)
        world->disks[i] = (struct sim_disk){.world = world, .partition = i};
    for (unsigned i = 0; i < o->partitions; i++) {
        world->disks[i].mem = cp_mem_disk_new();
        cp_mem_disk_set(world->disks[i].mem, o->sync_ns_max, -1);
        world->halves.ranges[i] = cp_range_even(i, o->partitions);
    }
}

void sim_halves_deinit(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.room; i++)
        cp_mem_disk_free(world->disks[i].mem);
    for (unsigned i = 0; i < world->halves.fork_count; i++)
        cp_mem_disk_free(world->halves.forks[i].mem);
}

/* ---- which there are ---- */

/* One that was there has the beginning of what it had; all together have all. */
static void take_ranges(struct sim_world *world, const struct cp_ranges *ranges)
{
    struct sim_halves *halves = &world->halves;
    unsigned count = cp_ranges_count(ranges);
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++) {
        struct cp_range now = cp_ranges_of(ranges, i), before = halves->ranges[i];
        if (i < halves->count && (now.first != before.first || now.last > before.last))
            sim_fail(world,
                     "partition %u had hashes %016" PRIx64 " to %016" PRIx64 ", and has %016" PRIx64
                     " to %016" PRIx64,
                     i, before.first, before.last, now.first, now.last);
        sum += now.last - now.first + 1;
        halves->ranges[i] = now;
    }
    if (sum != 0)
        sim_fail(world, "%u partitions have not all hashes, or some twice", count);
    world->result.splits += count - halves->count;
    halves->count = count;
}

void sim_halves_look(struct sim_world *world, unsigned shard)
{
    const struct cp_ranges *ranges = cp_ranges_get(&world->shards[shard].shard->ranges);
    if (cp_ranges_count(ranges) > world->halves.count)
        take_ranges(world, ranges);
}

unsigned sim_partitions(const struct sim_world *world)
{
    return world->halves.count;
}

unsigned sim_partition_of(const struct sim_world *world, const char *run)
{
    uint64_t hash = cp_name_hash("sim", "test", run);
    unsigned i = 0;
    while (!cp_range_has(&world->halves.ranges[i], hash))
        i++;
    SY_ASSERT(i < world->halves.count);
    return i;
}

struct cp_partition_lot sim_lot_of(const struct sim_world *world, unsigned partition)
{
    const struct sim_disk *disk = &world->disks[partition];
    return (struct cp_partition_lot){.range = world->halves.ranges[partition],
                                     .split = disk->parent_epoch != 0,
                                     .parent = disk->parent,
                                     .parent_epoch = disk->parent_epoch};
}

/* Which one issued what has that epoch in it. */
static uint32_t issuer(const struct sim_world *world, unsigned partition, uint32_t epoch)
{
    const struct sim_disk *disk = &world->disks[partition];
    while (disk->parent_epoch != 0 && epoch <= disk->parent_epoch)
        disk = &world->disks[disk->parent];
    return disk->partition;
}

/* ---- what is live ---- */

void sim_halves_check_run(struct sim_world *world, unsigned partition, const struct sch_run *run)
{
    unsigned owner = sim_partition_of(world, run->name);
    if (owner != partition)
        sim_fail(world, "run %s is live in partition %u, and is one of %u", run->name, partition,
                 owner);
}

void sim_halves_check_id(struct sim_world *world, const struct sch_action *action,
                         struct sim_child *child)
{
    uint8_t place = (uint8_t)(cp_name_hash("sim", "test", action->run->name) >> PLACE_SHIFT);
    if ((uint8_t)action->id != place)
        sim_fail(world, "%s/%s: its id %016" PRIx64 " does not end in its place, %02x",
                 action->run->name, action->name, action->id, place);
    if (!child->acknowledged) /* it may be another one yet */
        return;
    if (child->id != 0 && child->id != action->id)
        sim_fail(world, "%s/%s has id %016" PRIx64 ", and had %016" PRIx64, action->run->name,
                 action->name, action->id, child->id);
    child->id = action->id;
}

/* Of an attempt that is out in the core of that partition. */
void sim_halves_check_attempt(struct sim_world *world, unsigned partition,
                              const struct sch_action *action)
{
    struct sch_attempt_key key = {.partition = issuer(world, partition, action->attempt_epoch),
                                  .action = action->id,
                                  .number = action->number,
                                  .epoch = action->attempt_epoch};
    for (unsigned i = 0; i < world->options.operators; i++) {
        const struct sim_operator *o = &world->operators[i];
        uint32_t told = 0;
        if (!o->process.up || strcmp(o->process.name, sch_cluster_name(action->cluster)) != 0)
            continue;
        const struct sch_operator *core = dp_operator_core(o->daemon);
        if (!sch_operator_speaks_for(core, partition, &key) ||
            sch_operator_node_of(core, &key) == NULL)
            continue;
        world->result.heard += key.partition != partition;
        if (!sch_operator_partition_of(core, &key, &told) || told != partition)
            sim_fail(world, "%s/%s: %s tells partition %u of attempt %u of epoch %u, and not %u",
                     action->run->name, action->name, o->process.name, told, key.number, key.epoch,
                     partition);
    }
}
