/* What goes wrong: each second of the virtual clock, and on each message. */
#include "tests/sim/world_impl.h"

#define STEP_NS_MAX ((uint64_t)20 * SY_NS_PER_S)
#define LATE_NS_MAX ((uint64_t)6 * SY_NS_PER_S)
#define SLOW_NS_MAX ((uint64_t)3 * SY_NS_PER_S)

/* ---- the network ---- */

/* "etcd-*" is all that begin so. A process that cuts itself off from its kind still hears itself.
 */
static bool is(const char *pattern, const char *name)
{
    size_t len = strcspn(pattern, "*");
    return strncmp(pattern, name, len) == 0 && (pattern[len] == '*' || name[len] == '\0');
}

static bool cuts(const struct sim_link *link, const char *from, const char *to)
{
    return (is(link->from, from) && is(link->to, to)) ||
           (link->both_ways && is(link->from, to) && is(link->to, from));
}

static bool one_is_cut(const struct sim_world *world, const struct sim_links *links,
                       const char *from, const char *to)
{
    for (unsigned i = 0; i < links->count; i++) {
        const struct sim_link *link = &links->at[i];
        if (link->until_ns > world->now_ns && cuts(link, from, to))
            return true;
    }
    return false;
}

static bool link_is_cut(const struct sim_world *world, const char *from, const char *to)
{
    return one_is_cut(world, &world->links, from, to) ||
           (strcmp(from, to) != 0 && one_is_cut(world, &world->links_of_shards, from, to));
}

static enum sy_fault plan_message(void *ctx, const char *from, const char *to,
                                  int64_t *ret_delay_ns)
{
    struct sim_world *world = ctx;
    world->result.messages++;
    *ret_delay_ns = (int64_t)sy_rng_below(&world->rng, (uint64_t)world->options.delay_ns_max + 1);
    sim_trace(world, ".message", from, (uint64_t)*ret_delay_ns);
    bool calm = world->now_ns > SIM_HEAL_AT_NS;
    if (!calm && world->options.late_ppm > 0 &&
        sy_rng_chance(&world->rng, world->options.late_ppm, 1000000))
        *ret_delay_ns += (int64_t)sy_rng_below(&world->rng, LATE_NS_MAX);
    if (!calm && (link_is_cut(world, from, to) ||
                  sy_rng_chance(&world->rng, world->options.drop_connection_ppm, 1000000))) {
        world->result.drops++;
        sim_trace(world, "drop", to, 0);
        return SY_FAULT_DROP_CONNECTION;
    }
    return SY_FAULT_DELIVER;
}

static bool plan_connect(void *ctx, const char *from, const char *to)
{
    struct sim_world *world = ctx;
    return world->now_ns > SIM_HEAL_AT_NS || !link_is_cut(world, from, to);
}

struct sy_rpc_mem_plan sim_faults_plan(struct sim_world *world)
{
    return (struct sy_rpc_mem_plan){plan_message, plan_connect, world};
}

void sim_cut(struct sim_world *world, struct sim_links *links, const char *one, const char *other)
{
    struct sy_rng *rng = &world->rng;
    if (links->count == SY_COUNT_OF(links->at))
        links->count = 0;
    struct sim_link *link = &links->at[links->count++];
    bool back = sy_rng_chance(rng, 1, 2);
    link->from = back ? other : one;
    link->to = back ? one : other;
    link->both_ways = !world->options.one_way || sy_rng_chance(rng, 1, 2);
    link->until_ns = world->now_ns + (int64_t)sy_rng_below(rng, 12 * (uint64_t)SY_NS_PER_S);
    sim_trace(world, "cut", other, (uint64_t)link->until_ns);
}

static void cut_a_link(struct sim_world *world)
{
    struct sy_rng *rng = &world->rng;
    const struct sim_agent *agent = &world->agents[sy_rng_below(rng, world->options.agents)];
    const char *cluster = world->operators[agent->operator_index].process.name;
    bool node = sy_rng_chance(rng, 1, 2);
    unsigned shard = world->options.shards > 1 && !node
                         ? (unsigned)sy_rng_below(rng, world->options.shards)
                         : 0;
    sim_cut(world, &world->links, cluster,
            node ? agent->process.name : world->shards[shard].process.name);
}

/* ---- processes, people ---- */

static void order_nodes(struct sim_world *world, bool heal)
{
    const struct sim_options *o = &world->options;
    for (unsigned i = 0; i < o->agents && o->verb_pct > 0; i++) {
        const struct sim_agent *agent = &world->agents[i];
        const char *cluster = world->operators[agent->operator_index].process.name;
        if (heal)
            sim_verbs_open(world->verbs, cluster, agent->process.name);
        else if (sy_rng_chance(&world->rng, o->verb_pct, 100))
            sim_verbs_draw(world->verbs, cluster, agent->process.name);
    }
}

static void crash_processes(struct sim_world *world)
{
    const struct sim_options *o = &world->options;
    struct sy_rng *rng = &world->rng;
    for (unsigned i = 0; i < o->shards; i++) {
        if (world->shards[i].process.up && sy_rng_chance(rng, o->crash_shard_pct, 100))
            sim_shard_crash(world, i);
    }
    for (unsigned i = 0; i < o->operators; i++) {
        if (world->operators[i].process.up && sy_rng_chance(rng, o->crash_operator_pct, 100))
            sim_operator_crash(world, i);
    }
    for (unsigned i = 0; i < o->agents; i++) {
        if (world->agents[i].process.up && sy_rng_chance(rng, o->crash_agent_pct, 100))
            sim_agent_crash(world, i);
    }
}

/* ---- disks and clocks ---- */

/* Of one shard, or of all that share them. */
static void disturb_disks_of(struct sim_world *world, unsigned shard, bool heal)
{
    const struct sim_options *o = &world->options;
    struct sy_rng *rng = &world->rng;
    bool is_slow = false;
    for (unsigned i = 0; i < sim_partitions(world); i++) {
        struct cp_mem_disk *disk = sim_disk_under(world, shard, i);
        bool slow = !heal && sy_rng_chance(rng, o->slow_disk_pct, 100);
        bool fails = !heal && sy_rng_chance(rng, o->fail_commit_pct, 100);
        int64_t sync_ns = (int64_t)sy_rng_below(rng, (uint64_t)o->sync_ns_max + 1);
        if (slow)
            sync_ns += (int64_t)sy_rng_below(rng, SLOW_NS_MAX);
        if (o->stall_disk_pct > 0 && !heal && sy_rng_chance(rng, o->stall_disk_pct, 100))
            sync_ns += (int64_t)sy_rng_below(rng, 4 * (uint64_t)o->disk_patience_ns);
        is_slow |= sync_ns > SY_NS_PER_S;
        world->result.commits_failed += fails;
        int64_t after = fails ? (int64_t)sy_rng_below(rng, 5) : -1;
        if (disk)
            cp_mem_disk_set(disk, sync_ns, after);
    }
    for (unsigned i = 0; i < o->shards; i++) {
        if (i == shard || !o->local)
            world->shards[i].slow = is_slow;
    }
}

static void disturb_disks(struct sim_world *world, bool heal)
{
    for (unsigned i = 0; i < (world->options.local ? world->options.shards : 1); i++)
        disturb_disks_of(world, i, heal);
}

static void step_clock(struct sim_world *world)
{
    if (!sy_rng_chance(&world->rng, world->options.clock_step_pct, 100))
        return;
    world->realtime_ahead_ns = (int64_t)sy_rng_below(&world->rng, 2 * STEP_NS_MAX) -
                               (int64_t)STEP_NS_MAX;
    sim_trace(world, "clock", "", (uint64_t)world->realtime_ahead_ns);
}

void sim_faults_turn(struct sim_world *world)
{
    bool heal = world->now_ns > SIM_HEAL_AT_NS;
    world->next_fault_ns = world->now_ns + SY_NS_PER_S;
    order_nodes(world, heal);
    sim_drains_turn(world, heal);
    sim_queues_turn(world->queues, heal);
    disturb_disks(world, heal);
    if (world->options.shards > 1)
        sim_region_turn(world, heal);
    if (heal)
        return;
    sim_client_meddle(world->client);
    crash_processes(world);
    step_clock(world);
    if (sy_rng_chance(&world->rng, world->options.cut_link_pct, 100))
        cut_a_link(world);
}
