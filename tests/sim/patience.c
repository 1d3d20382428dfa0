/*
 * Disks that do not answer: openings that hang, syncs that take far longer than disk_patience.
 *
 * A shard gives up what its disk keeps waiting, in time, if another shard can have it: so long as
 * nobody hinders it (its front and its session are well, it is not being stopped) it has nothing
 * that has waited for a while longer than it may. It takes partitions again by itself. That it
 * answers nothing that is not synced show the books of the client, and rebuild.c: who takes a
 * partition has what was synced, and nothing else.
 *
 * A loop that hangs in an opening is not turned until that is over; what the opening does is done
 * when it begins.
 */
#include "controlplane/region_impl.h"
#include "controlplane/shard_impl.h"
#include "tests/sim/world_impl.h"

#define GRACE_NS (2 * SY_NS_PER_S) /* for looks, each half a second, of lane and front */

static void watch(struct cp_disk_probe *probe, bool on)
{
    sy_container_of(probe, struct sim_shard, probe)->probed = on;
}

void sim_patience_init(struct sim_world *world)
{
    static const struct cp_disk_probe_ops ops = {watch};
    for (unsigned i = 0; i < world->options.shards; i++)
        world->shards[i].probe = (struct cp_disk_probe){.ops = &ops};
}

void sim_opening_may_hang(struct sim_world *world, const struct sy_loop *loop)
{
    const struct sim_options *o = &world->options;
    if (o->hang_open_pct == 0 || world->now_ns > SIM_HEAL_AT_NS ||
        !sy_rng_chance(&world->rng, o->hang_open_pct, 100))
        return;
    uint64_t most_ns = 3 * (uint64_t)o->disk_patience_ns;
    int64_t until_ns = world->now_ns + (int64_t)sy_rng_below(&world->rng, most_ns);
    for (unsigned i = 0; i < o->shards; i++) {
        struct sim_shard *s = &world->shards[i];
        for (unsigned k = 0; k < sim_loops_of_shard(world); k++) {
            if (!s->process.up || s->loops[k] != loop || s->stands_until_ns[k] >= until_ns)
                continue;
            s->stands_until_ns[k] = until_ns;
            sim_trace(world, "open hangs", s->process.name, (uint64_t)until_ns);
        }
    }
}

void sim_patience_turn(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.shards; i++) {
        struct sim_shard *s = &world->shards[i];
        bool told = s->process.up && s->probed && s->slow && s->stands_until_ns[0] <= world->now_ns;
        sy_rpc_mem_set_origin(world->rpc, s->process.name);
        if (told && s->probe.on_slow != NULL)
            s->probe.on_slow(s->probe.ctx);
    }
}

bool sim_some_are_slow(const struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.shards; i++) {
        const struct sim_shard *s = &world->shards[i];
        if (s->process.up && cp_ownership_slow(s->shard->in_region->core))
            return true;
    }
    return false;
}

/* ---- in time ---- */

static bool takes(const struct cp_map *map, const char *self, uint32_t shard)
{
    return shard != CP_MAP_NONE && strcmp(map->shards[shard].name, self) != 0 &&
           !map->shards[shard].draining;
}

/* As that shard sees it. */
static bool another_can_have(const struct sim_shard *s, const struct cp_map *map,
                             const struct cp_map_partition *p)
{
    if (map->local) {
        const struct cp_map_copy *beside = cp_map_copy_beside(p, s->name);
        return beside != NULL && takes(map, s->name, cp_map_shard(map, beside->shard));
    }
    for (uint32_t i = 0; i < map->shard_count; i++) {
        if (takes(map, s->name, i))
            return true;
    }
    return false;
}

static bool has(const struct cp_region *region, unsigned partition)
{
    enum cp_owned_state state = cp_ownership_state(region->core, partition);
    return state == CP_OWNED_OPENING || state == CP_OWNED_SERVING || state == CP_OWNED_GIVING;
}

/* Longer than it may. */
static bool has_waited(const struct sim_world *world, const struct sim_shard *s, unsigned partition)
{
    const struct cp_lane *lane = &s->shard->lanes[partition];
    bool stands = s->stands_until_ns[sim_loop_of(world, partition)] > world->now_ns;
    if (stands)
        return lane->owned.unheard * (SY_NS_PER_S / 2) > lane->owned.stand_ns_max;
    return cp_partition_disk_waited_ns(lane->partition) >= world->options.disk_patience_ns;
}

static bool should_go(const struct sim_world *world, const struct sim_shard *s, unsigned partition)
{
    const struct cp_region *region = s->shard->in_region;
    const struct cp_map *map = cp_region_map(region);
    uint32_t at = cp_map_partition(map, partition);
    return !s->stopping && s->stands_until_ns[0] <= world->now_ns && at != CP_MAP_NONE &&
           cp_region_self(region) != NULL && has(region, partition) &&
           has_waited(world, s, partition) && another_can_have(s, map, &map->partitions[at]);
}

void sim_patience_look(struct sim_world *world, unsigned shard)
{
    struct sim_shard *s = &world->shards[shard];
    bool slow = cp_ownership_slow(s->shard->in_region->core);
    world->result.stalls += slow && !s->shown_slow;
    s->shown_slow = slow;
    for (unsigned i = 0; i < sim_partitions(world); i++) {
        if (!should_go(world, s, i))
            s->overdue_ns[i] = 0;
        else if (s->overdue_ns[i] == 0)
            s->overdue_ns[i] = world->now_ns;
        else if (world->now_ns - s->overdue_ns[i] > GRACE_NS)
            sim_fail(world, "partition %u waits for its disk at %s, and is not given up", i,
                     s->name);
    }
}
