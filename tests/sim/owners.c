/*
 * Who has a partition. Its epochs only grow, each is opened once, by one process; and who has had
 * it releases nothing more once another serves it under a later one: no commit of his is taken
 * note of, and his core is gone at the end of the first turn that he makes.
 *
 * A shard that stands still has what it had until another one serves it. That is what the other
 * checks look at.
 */
#include "tests/sim/world_impl.h"

static struct cp_partition *partition_of(const struct sim_world *world, unsigned shard,
                                         unsigned partition)
{
    return cp_shard_partition(world->shards[shard].shard, partition);
}

static bool is_owner(const struct sim_world *world, const struct sim_owner *owner, unsigned shard)
{
    return owner->shard == shard && owner->boot == world->shards[shard].boots;
}

static void check_commits(struct sim_world *world, unsigned shard, unsigned partition)
{
    const struct sim_owner *owner = &world->owners[partition];
    struct cp_partition *p = partition_of(world, shard, partition);
    uint64_t *last = &world->shards[shard].commits[partition];
    uint64_t now = cp_partition_commits(p);
    if (now != *last && cp_partition_epoch(p) <= owner->over)
        sim_fail(world, "partition %u: %s releases a commit under epoch %u, and it was split",
                 partition, sim_shard_name(world, shard), cp_partition_epoch(p));
    if (now != *last && cp_partition_epoch(p) < owner->epoch)
        sim_fail(world,
                 "partition %u: %s releases a commit under epoch %u, %s has served it under "
                 "%u",
                 partition, sim_shard_name(world, shard), cp_partition_epoch(p),
                 sim_shard_name(world, owner->shard), owner->epoch);
    *last = now;
}

static void look_at(struct sim_world *world, unsigned shard, unsigned partition)
{
    struct sim_owner *owner = &world->owners[partition];
    struct cp_partition *p = partition_of(world, shard, partition);
    uint32_t epoch = cp_partition_epoch(p);
    bool serves = cp_partition_core(p) != NULL;
    check_commits(world, shard, partition);
    if (!serves) {
        owner->serving = owner->serving && !is_owner(world, owner, shard);
        return;
    }
    if (epoch <= owner->over)
        sim_fail(world, "partition %u: %s serves it under epoch %u, as it was before it was split",
                 partition, sim_shard_name(world, shard), epoch);
    bool goes_on = owner->serving && is_owner(world, owner, shard) && epoch == owner->epoch;
    if (!goes_on && epoch <= owner->epoch)
        sim_fail(world, "partition %u: %s serves it under epoch %u, after %s under %u", partition,
                 sim_shard_name(world, shard), epoch, sim_shard_name(world, owner->shard),
                 owner->epoch);
    if (!goes_on) {
        world->result.epochs++;
        sim_trace(world, "serves", sim_shard_name(world, shard), (uint64_t)partition << 32 | epoch);
    }
    owner->epoch = epoch;
    owner->shard = shard;
    owner->boot = world->shards[shard].boots;
    owner->serving = true;
    owner->served_ns[shard] = world->now_ns;
}

void sim_owners_look(struct sim_world *world, unsigned shard, unsigned loop)
{
    SY_ASSERT(world->shards[shard].process.up);
    sim_halves_look(world, shard);
    for (unsigned i = 0; i < sim_partitions(world); i++) {
        if (sim_loop_of(world, i) == loop)
            look_at(world, shard, i);
    }
}

struct sch_partition *sim_core(const struct sim_world *world, unsigned partition)
{
    const struct sim_owner *owner = &world->owners[partition];
    if (!owner->serving || !world->shards[owner->shard].process.up ||
        !is_owner(world, owner, owner->shard))
        return NULL;
    return cp_partition_core(partition_of(world, owner->shard, partition));
}

bool sim_all_served(const struct sim_world *world)
{
    for (unsigned i = 0; i < sim_partitions(world); i++) {
        if (!sim_core(world, i))
            return false;
    }
    return true;
}

bool sim_served(const struct sim_world *world, unsigned partition, const char *shard,
                int64_t since_ns)
{
    const struct sim_owner *owner = &world->owners[partition];
    unsigned i = 0;
    while (i < world->options.shards && strcmp(sim_shard_name(world, i), shard) != 0)
        i++;
    SY_ASSERT(i < world->options.shards);
    return owner->served_ns[i] >= since_ns || (owner->shard == i && sim_core(world, partition));
}
