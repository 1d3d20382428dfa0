/* What a seed's world is like. Each fault is there or not, and as strong as it happens to be, so
 * that rare combinations come up (swarm testing: Groce et al., ISSTA 2012). */
#include "tests/sim/world.h"

static uint32_t sometimes(struct sy_rng *rng, uint32_t max)
{
    return sy_rng_chance(rng, 1, 2) ? (uint32_t)sy_rng_below(rng, max + 1) : 0;
}

static unsigned up_to(struct sy_rng *rng, unsigned max)
{
    return 1 + (unsigned)sy_rng_below(rng, max);
}

static void draw_size(struct sim_options *o, struct sy_rng *rng, bool large)
{
    o->partitions = up_to(rng, 4);
    o->operators = up_to(rng, large ? SIM_OPERATORS_MAX : 3);
    o->agents = o->operators + (unsigned)sy_rng_below(rng, large ? 13 : 4);
    o->runs = up_to(rng, large ? 24 : 6);
    o->actions_each = up_to(rng, large ? 300 : 60);
    o->queues = sometimes(rng, large ? SIM_QUEUES_MAX : 4);
    o->queue_pct = o->queues > 0 ? up_to(rng, 40) : 0;
    for (unsigned kind = 1; kind < SIM_TASK_KINDS; kind++)
        o->kinds |= sy_rng_chance(rng, 1, 3) ? 1u << kind : 0;
    if (o->kinds == 0 || sy_rng_chance(rng, 2, 3))
        o->kinds |= 1;
}

/* A quarter of the worlds lose nothing: what ends badly there was stopped, or did it by itself. */
static void draw_losses(struct sim_options *o, struct sy_rng *rng)
{
    if (sy_rng_chance(rng, 1, 4))
        return;
    o->crash_shard_pct = sometimes(rng, 10);
    o->crash_operator_pct = sometimes(rng, 8);
    o->crash_agent_pct = sometimes(rng, 8);
    o->drop_connection_ppm = sometimes(rng, 5000);
    o->cut_link_pct = sometimes(rng, 30);
    o->one_way = sy_rng_chance(rng, 1, 2);
    o->fail_commit_pct = sometimes(rng, 10);
    o->slow_disk_pct = sometimes(rng, 10);
}

static void draw_faults(struct sim_options *o, struct sy_rng *rng)
{
    draw_losses(o, rng);
    o->verb_pct = sometimes(rng, 15);
    o->clock_step_pct = sometimes(rng, 10);
    o->task_fail_pct = sometimes(rng, 20);
    o->task_lost_pct = sometimes(rng, 10);
    o->task_oom_pct = sometimes(rng, 20);
}

/* What tasks and single actions meet besides; drawn apart, so the rest stays as it was. */
static void draw_more(struct sim_options *o)
{
    struct sy_rng own, *rng = &own;
    sy_rng_init(rng, o->seed ^ 0x3e551e);
    o->task_refused_pct = sometimes(rng, 10);
    o->task_late_pct = sometimes(rng, 10);
    o->task_final_pct = sometimes(rng, 5);
    o->meddle_pct = sometimes(rng, 60);
}

static void draw_times(struct sim_options *o, struct sy_rng *rng)
{
    o->delay_ns_max = (int64_t)sy_rng_below(rng, 50 * SY_NS_PER_MS);
    o->sync_ns_max = (int64_t)sy_rng_below(rng, 100 * SY_NS_PER_MS);
    o->task_ns_max = (int64_t)sy_rng_below(rng, 3 * SY_NS_PER_S);
    o->reclaim_delay_ns = (int64_t)sometimes(rng, 20) * 100 * SY_NS_PER_MS;
    o->reserve_after_ns = (int64_t)sometimes(rng, 20) * 100 * SY_NS_PER_MS;
    o->ageing_ns = (int64_t)sometimes(rng, 40) * 100 * SY_NS_PER_MS;
    o->infeasible_grace_ns = (int64_t)up_to(rng, 100) * 100 * SY_NS_PER_MS;
}

/* See fair.c. */
static void draw_fair(struct sim_options *o, struct sy_rng *rng)
{
    o->partitions = up_to(rng, 4);
    o->operators = up_to(rng, 3);
    o->agents = o->operators + (unsigned)sy_rng_below(rng, 3);
    o->queues = 2 + (unsigned)sy_rng_below(rng, 2);
    o->runs = 2 * o->queues;
    o->actions_each = 400;
    o->kinds = 1;
    o->delay_ns_max = (int64_t)sy_rng_below(rng, 10 * SY_NS_PER_MS);
    o->sync_ns_max = (int64_t)sy_rng_below(rng, 10 * SY_NS_PER_MS);
    o->task_ns_max = (int64_t)(100 + sy_rng_below(rng, 1000)) * SY_NS_PER_MS;
}

bool sim_options_lose(const struct sim_options *o)
{
    return o->crash_shard_pct + o->crash_operator_pct + o->crash_agent_pct + o->cut_link_pct +
               o->drop_connection_ppm + o->fail_commit_pct + o->slow_disk_pct + o->etcd_pct +
               o->pause_pct + o->cut_shard_pct + o->late_ppm >
           0;
}

/* Of a generator of its own, as in draw_region(). */
static void draw_drains(struct sim_options *o)
{
    struct sy_rng own;
    sy_rng_init(&own, o->seed ^ 0xd4a10);
    o->drain_pct = sometimes(&own, 20);
}

/* The same. */
static void draw_splits(struct sim_options *o)
{
    struct sy_rng own;
    sy_rng_init(&own, o->seed ^ 0x5b117);
    unsigned more = sy_rng_chance(&own, 1, 2) ? up_to(&own, 6) : 0;
    o->room = o->partitions + more < SIM_PARTITIONS_MAX ? o->partitions + more : SIM_PARTITIONS_MAX;
    o->split_pct = more > 0 ? up_to(&own, 30) : 0;
}

/* A fenced node runs what is begun elsewhere: no such orders where that must never be. Who is cut
 * off while others are started anew is what it takes. */
static void draw_stops(struct sim_options *o)
{
    struct sy_rng own;
    sy_rng_init(&own, o->seed ^ 0x57095);
    if (!sy_rng_chance(&own, 1, 4))
        return;
    o->stops_pct = 30 + (uint32_t)sy_rng_below(&own, 71);
    o->verb_pct = 0;
    if (!sim_options_lose(o))
        return;
    o->cut_link_pct = 20 + (uint32_t)sy_rng_below(&own, 61);
    o->crash_operator_pct += (uint32_t)sy_rng_below(&own, 11);
    o->crash_shard_pct += (uint32_t)sy_rng_below(&own, 6);
}

static void draw_region(struct sim_options *o, bool large)
{
    struct sy_rng own, *rng = &own; /* the rest of the seed's world stays as with one shard */
    sy_rng_init(rng, o->seed ^ 0x4e610);
    o->shards = 1 + up_to(rng, large ? SIM_SHARDS_MAX - 1 : 3);
    o->partitions = up_to(rng, large ? SIM_PARTITIONS_MAX : 8);
    o->lanes = up_to(rng, large ? 2 : 4);
    o->runs = up_to(rng, large ? 24 : 12);
    o->begin_ns_max = (int64_t)up_to(rng, 30) * SY_NS_PER_S;
    o->contacts = up_to(rng, o->shards);
    o->shard_verb_pct = sometimes(rng, 40);
    o->stop_pct = sometimes(rng, 5);
    o->roll_pct = sometimes(rng, 10);
    o->close_ns_max = (int64_t)sometimes(rng, 20) * 100 * SY_NS_PER_MS;
    if (!sim_options_lose(o))
        return;
    o->etcd_pct = sometimes(rng, 30);
    o->pause_pct = sometimes(rng, 8);
    o->cut_shard_pct = sometimes(rng, 8);
    o->late_ppm = sometimes(rng, 2000);
    if (large) { /* of so many there is always one that fails */
        o->crash_shard_pct = (o->crash_shard_pct + 2) / 3;
        o->pause_pct = (o->pause_pct + 2) / 3;
        o->cut_shard_pct = (o->cut_shard_pct + 2) / 3;
    }
}

/* A quarter of the regions: a shard has a disk of its own, and dies with it now and then. Nothing
 * is split there. (None of seeds/region.txt: those stay as they were.) What a shard asked of etcd
 * has to have come there when it is started again. */
static void draw_local(struct sim_options *o)
{
    struct sy_rng own, *rng = &own;
    sy_rng_init(rng, o->seed ^ 0x10ca9);
    o->local = sy_rng_chance(rng, 1, 4);
    if (!o->local)
        return;
    o->room = o->partitions;
    o->split_pct = 0;
    o->standby_patience_ns = (int64_t)up_to(rng, 20) * 100 * SY_NS_PER_MS;
    o->standby_wait_ns = (int64_t)up_to(rng, 10) * SY_NS_PER_S;
    if (!sim_options_lose(o) || !sy_rng_chance(rng, 2, 3))
        return;
    o->late_ppm = 0;
    o->crash_shard_pct += (uint32_t)sy_rng_below(rng, 6);
    o->lose_disk_pct = 20 + (uint32_t)sy_rng_below(rng, 81);
}

/* Half of the regions: a shard gives up what its disk keeps waiting. (None of seeds/region.txt.) */
static void draw_patience(struct sim_options *o)
{
    struct sy_rng own, *rng = &own;
    sy_rng_init(rng, o->seed ^ 0xd17e3);
    if (!sy_rng_chance(rng, 1, 2))
        return;
    o->disk_patience_ns = (int64_t)(2 + sy_rng_below(rng, 4)) * SY_NS_PER_S;
    o->slow_rest_ns = (int64_t)up_to(rng, 15) * SY_NS_PER_S;
    if (!sim_options_lose(o))
        return;
    o->stall_disk_pct = sometimes(rng, 8);
    o->hang_open_pct = sometimes(rng, 15);
}

void sim_options_draw(struct sim_options *ret, uint64_t seed, enum sim_size size)
{
    struct sy_rng rng;
    sy_rng_init(&rng, seed ^ 0x5eed);
    *ret = (struct sim_options){
        .seed = seed, .size = size, .shards = 1, .contacts = 1, .begin_ns_max = 5 * SY_NS_PER_S};
    bool large = size == SIM_LARGE || size == SIM_LARGE_REGION;
    if (size == SIM_FAIR) {
        draw_fair(ret, &rng);
        ret->room = ret->partitions;
        return;
    }
    draw_size(ret, &rng, large);
    draw_faults(ret, &rng);
    draw_times(ret, &rng);
    draw_more(ret);
    draw_drains(ret);
    draw_stops(ret);
    if (size == SIM_REGION || size == SIM_LARGE_REGION)
        draw_region(ret, large);
    ret->room = ret->partitions;
    if (ret->shards > 1)
        draw_splits(ret);
    if (ret->shards > 1)
        draw_local(ret);
    if (ret->shards > 1)
        draw_patience(ret);
}
