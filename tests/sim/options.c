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

static void draw_size(struct sim_options *o, struct sy_rng *rng, enum sim_size size)
{
    bool large = size == SIM_LARGE;
    o->partitions = up_to(rng, SIM_PARTITIONS_MAX);
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
    o->partitions = o->operators = 1;
    o->agents = up_to(rng, 3);
    o->queues = 2 + (unsigned)sy_rng_below(rng, 2);
    o->runs = 2 * o->queues;
    o->actions_each = 400;
    o->kinds = 1;
    o->delay_ns_max = (int64_t)sy_rng_below(rng, 10 * SY_NS_PER_MS);
    o->sync_ns_max = (int64_t)sy_rng_below(rng, 10 * SY_NS_PER_MS);
    o->task_ns_max = (int64_t)(100 + sy_rng_below(rng, 1000)) * SY_NS_PER_MS;
}

void sim_options_draw(struct sim_options *ret, uint64_t seed, enum sim_size size)
{
    struct sy_rng rng;
    sy_rng_init(&rng, seed ^ 0x5eed);
    *ret = (struct sim_options){.seed = seed, .size = size};
    if (size == SIM_FAIR) {
        draw_fair(ret, &rng);
        return;
    }
    draw_size(ret, &rng, size);
    draw_faults(ret, &rng);
    draw_times(ret, &rng);
}
