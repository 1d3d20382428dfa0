/* What is there only with several shards: their etcd, and what happens to it and to them. */
#include "tests/sim/world_impl.h"

#define STANDS_NS_MAX ((uint64_t)10 * SY_NS_PER_S)
#define ETCD_NS_MAX ((uint64_t)8 * SY_NS_PER_S)
#define ETCD_DELAY_NS_MAX ((uint64_t)SY_NS_PER_S)

const char *const sim_etcd_members[SIM_ETCD_MEMBERS] = {"etcd-0:2379", "etcd-1:2379",
                                                        "etcd-2:2379"};

void sim_region_init(struct sim_world *world)
{
    struct sim_region *region = &world->region;
    region->loop = sim_loop_new(world);
    region->roll = world->options.shards;
    sy_rpc_mem_set_origin(world->rpc, "etcd");
    region->etcd = fake_etcd_new(world->rpc, region->loop, world->options.seed, sim_etcd_members,
                                 SIM_ETCD_MEMBERS);
}

void sim_region_deinit(struct sim_world *world)
{
    fake_etcd_free(world->region.etcd);
    sy_loop_free(world->region.loop);
}

/* ---- etcd ---- */

static void mend_etcd(struct sim_region *region)
{
    fake_etcd_set_quorum(region->etcd, true);
    for (size_t i = 0; i < SIM_ETCD_MEMBERS; i++) {
        if (!fake_etcd_up(region->etcd, i))
            fake_etcd_start(region->etcd, i);
        fake_etcd_mend(region->etcd, i);
        fake_etcd_set_delay(region->etcd, i, 0, 0);
    }
}

static void disturb_etcd(struct sim_world *world)
{
    struct sim_region *region = &world->region;
    struct sy_rng *rng = &world->rng;
    size_t member = sy_rng_below(rng, SIM_ETCD_MEMBERS);
    unsigned what = (unsigned)sy_rng_below(rng, 6);
    sim_trace(world, "etcd", sim_etcd_members[member], what);
    region->etcd_mended_ns = world->now_ns + (int64_t)sy_rng_below(rng, ETCD_NS_MAX);
    switch (what) {
    case 0:
        fake_etcd_set_quorum(region->etcd, false);
        break;
    case 1:
        fake_etcd_change_leader(region->etcd);
        break;
    case 2:
        if (fake_etcd_up(region->etcd, member))
            fake_etcd_kill(region->etcd, member);
        break;
    case 3:
        fake_etcd_cut(region->etcd, member);
        break;
    case 4:
        fake_etcd_set_delay(region->etcd, member, 0, (int64_t)sy_rng_below(rng, ETCD_DELAY_NS_MAX));
        break;
    default:
        fake_etcd_compact(region->etcd);
        break;
    }
}

/* ---- shards ---- */

/* All of its loops, or one: then the others go on, in the same process. */
static void stand_still(struct sim_world *world, unsigned i)
{
    struct sim_shard *s = &world->shards[i];
    struct sy_rng *rng = &world->rng;
    unsigned loops = sim_loops_of_shard(world);
    unsigned one = (unsigned)sy_rng_below(rng, 2 * loops);
    int64_t until_ns = world->now_ns + (int64_t)sy_rng_below(rng, STANDS_NS_MAX);
    for (unsigned k = 0; k < loops; k++) {
        if (one >= loops || one == k)
            s->stands_until_ns[k] = until_ns;
    }
    sim_trace(world, one < loops ? "loop stands" : "stands", s->process.name, (uint64_t)until_ns);
}

static void cut_shard(struct sim_world *world, unsigned i)
{
    static const char *const kinds[] = {"etcd-*", "shard-*", "operator-*"};
    struct sy_rng *rng = &world->rng;
    const char *others[] = {kinds[sy_rng_below(rng, SY_COUNT_OF(kinds))],
                            sim_etcd_members[sy_rng_below(rng, SIM_ETCD_MEMBERS)],
                            world->shards[sy_rng_below(rng, world->options.shards)].process.name};
    const char *other = others[sy_rng_below(rng, SY_COUNT_OF(others))];
    sim_cut(world, &world->links_of_shards, world->shards[i].process.name, other);
}

static bool is_there(const struct sim_world *world, unsigned i)
{
    return world->shards[i].process.up && !world->shards[i].stopping;
}

/* One is stopped when the one before it has come back. */
static void roll_on(struct sim_world *world)
{
    struct sim_region *region = &world->region;
    unsigned shards = world->options.shards;
    if (region->roll == shards || (region->roll > 0 && !is_there(world, region->roll - 1)))
        return;
    if (is_there(world, region->roll))
        sim_shard_stop(world, region->roll);
    region->roll++;
}

static void disturb_shard(struct sim_world *world, unsigned i)
{
    const struct sim_options *o = &world->options;
    struct sy_rng *rng = &world->rng;
    if (sy_rng_chance(rng, o->pause_pct, 100) && world->shards[i].process.up)
        stand_still(world, i);
    if (sy_rng_chance(rng, o->cut_shard_pct, 100))
        cut_shard(world, i);
    if (sy_rng_chance(rng, o->stop_pct, 100) && is_there(world, i))
        sim_shard_stop(world, i);
}

/* Of one shard's stores, or of all that share their disks. */
static void set_closes(struct sim_world *world, unsigned shard, bool heal)
{
    uint64_t close_ns_max = (uint64_t)world->options.close_ns_max;
    for (unsigned i = 0; i < sim_partitions(world); i++) {
        struct cp_mem_disk *disk = sim_disk_under(world, shard, i);
        int64_t close_ns = heal ? 0 : (int64_t)sy_rng_below(&world->rng, close_ns_max + 1);
        bool keep = sy_rng_chance(&world->rng, 1, 2);
        if (disk == NULL)
            continue;
        cp_mem_disk_set_close(disk, close_ns);
        cp_mem_disk_keep_in_flight(disk, keep);
    }
}

void sim_region_turn(struct sim_world *world, bool heal)
{
    const struct sim_options *o = &world->options;
    struct sim_region *region = &world->region;
    struct sy_rng *rng = &world->rng;
    sy_rpc_mem_set_origin(world->rpc, "etcd");
    if (heal || region->etcd_mended_ns <= world->now_ns)
        mend_etcd(region);
    if (!heal && sy_rng_chance(rng, o->etcd_pct, 100))
        disturb_etcd(world);
    for (unsigned i = 0; i < (o->local ? o->shards : 1); i++)
        set_closes(world, i, heal);
    sim_patience_turn(world);
    roll_on(world);
    if (heal)
        return;
    for (unsigned i = 0; i < o->shards; i++)
        disturb_shard(world, i);
    if (region->roll == o->shards && sy_rng_chance(rng, o->roll_pct, 100))
        region->roll = 0;
    if (sy_rng_chance(rng, o->shard_verb_pct, 100))
        sim_verbs_draw_shards(world->verbs);
    if (o->split_pct > 0 && sy_rng_chance(&world->halves.rng, o->split_pct, 100))
        sim_verbs_draw_split(world->verbs);
}
