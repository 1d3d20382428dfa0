/* The simulated region: processes, time, faults. See world.h. */
#include "tests/sim/world_impl.h"

#define CHECK_EVERY 16 /* turns */

int64_t sim_now(const struct sim_world *world)
{
    return world->now_ns;
}

struct sy_rng *sim_rng(struct sim_world *world)
{
    return &world->rng;
}

const struct sim_options *sim_world_options(const struct sim_world *world)
{
    return &world->options;
}

struct sim_gangs *sim_world_gangs(struct sim_world *world)
{
    return world->gangs;
}

static void hash_bytes(uint64_t *hash, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        *hash = (*hash ^ p[i]) * 0x100000001b3ULL;
}

void sim_trace(struct sim_world *world, const char *what, const char *who, uint64_t value)
{
    hash_bytes(&world->result.trace_hash, &world->now_ns, sizeof(world->now_ns));
    hash_bytes(&world->result.trace_hash, what, strlen(what));
    hash_bytes(&world->result.trace_hash, who, strlen(who));
    hash_bytes(&world->result.trace_hash, &value, sizeof(value));
    if (strcmp(what, "start") == 0)
        world->result.attempts++;
    if (world->options.verbose && what[0] != '.')
        fprintf(stderr, "%12.6f %-10s %-12s %" PRIu64 "\n", (double)world->now_ns / 1e9, what, who,
                value);
}

void sim_fail(struct sim_world *world, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "sim: seed %" PRIu64 " at %.6f s: ", world->options.seed,
            (double)world->now_ns / 1e9);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

static int64_t clock_now(void *ctx)
{
    return ((struct sim_world *)ctx)->now_ns;
}

static int64_t clock_realtime(void *ctx)
{
    const struct sim_world *world = ctx;
    return world->now_ns + world->realtime_ahead_ns;
}

struct sim_child *sim_find_child(struct sim_world *world, const char *run, const char *name)
{
    return sim_client_find(world->client, run, name);
}

const struct sim_queues *sim_queues_of(const struct sim_world *world)
{
    return world->queues;
}

unsigned sim_queue_of_run(const struct sim_world *world, const char *run)
{
    const char *number = strrchr(run, '-');
    SY_ASSERT(number != NULL && world->options.queues > 0);
    return (unsigned)strtoul(number + 1, NULL, 10) % world->options.queues;
}

struct sy_channel *sim_any_shard(struct sim_world *world)
{
    uint64_t shard = world->options.shards > 1 ? sy_rng_below(&world->rng, world->options.shards)
                                               : 0;
    return world->to_shards[shard];
}

const char *sim_shard_name(const struct sim_world *world, unsigned shard)
{
    return world->shards[shard].name;
}

uint32_t sim_places(const struct sim_world *world, unsigned kind)
{
    uint32_t places[SIM_OPERATORS_MAX] = {0}, most = 0;
    for (unsigned i = 0; i < world->options.agents; i++) {
        const struct sim_agent *agent = &world->agents[i];
        places[agent->operator_index] += sim_task_places(kind, &agent->node);
    }
    for (unsigned i = 0; i < world->options.operators; i++)
        most = places[i] > most ? places[i] : most;
    return most;
}

unsigned sim_draw_kind(struct sim_world *world, struct sy_rng *rng)
{
    unsigned kinds[SIM_TASK_KINDS], count = 0;
    for (unsigned kind = 0; kind < SIM_TASK_KINDS; kind++) {
        if (world->kinds >> kind & 1)
            kinds[count++] = kind;
    }
    return count > 0 ? kinds[sy_rng_below(rng, count)] : 0;
}

/* ---- time ---- */

struct turn {
    struct sy_loop *loop; /* NULL: none is due */
    const char *process;
    unsigned shard, loop_of_shard; /* options.shards: it is none's */
    unsigned index;                /* of the loop, among those that run */
    int64_t at_ns;
    unsigned count;
};

static void offer(struct turn *turn, struct sy_loop *loop, const char *process, unsigned shard,
                  unsigned loop_of_shard)
{
    int64_t at_ns = sy_loop_next_ns(loop);
    unsigned index = turn->count++;
    if (at_ns < turn->at_ns)
        *turn = (struct turn){loop, process, shard, loop_of_shard, index, at_ns, turn->count};
}

/* The loop that is due first, of those that run, in a fixed order. Before *wake_ns nothing that
 * stands still goes on. */
static struct turn next_turn(struct sim_world *world, int64_t *wake_ns)
{
    const struct sim_options *o = &world->options;
    struct turn turn = {.at_ns = SY_TIME_NEVER};
    offer(&turn, world->client_process.loop, world->client_process.name, o->shards, 0);
    if (world->region.loop)
        offer(&turn, world->region.loop, "etcd", o->shards, 0);
    for (unsigned i = 0; i < o->shards; i++) {
        const struct sim_shard *s = &world->shards[i];
        for (unsigned k = 0; s->process.up && k < sim_loops_of_shard(world); k++) {
            if (s->stands_until_ns[k] <= world->now_ns)
                offer(&turn, s->loops[k], s->process.name, i, k);
            else if (s->stands_until_ns[k] < *wake_ns)
                *wake_ns = s->stands_until_ns[k];
        }
    }
    for (unsigned i = 0; i < o->operators; i++)
        if (world->operators[i].process.up)
            offer(&turn, world->operators[i].process.loop, world->operators[i].process.name,
                  o->shards, 0);
    for (unsigned i = 0; i < o->agents; i++)
        if (world->agents[i].process.up)
            offer(&turn, world->agents[i].process.loop, world->agents[i].process.name, o->shards,
                  0);
    return turn;
}

static void look_at_shard(struct sim_world *world, const struct turn *turn)
{
    sim_owners_look(world, turn->shard, turn->loop_of_shard);
    if (world->options.disk_patience_ns > 0)
        sim_patience_look(world, turn->shard);
    sim_check_limits(world);
    sim_drains_look(world, false);
    sim_fair_look(world);
    if (world->shards[turn->shard].stopped)
        sim_shard_ended(world, turn->shard);
}

/* One turn of the loop that is due first. */
static void advance(struct sim_world *world)
{
    int64_t fault_ns = sim_earliest_restart(world);
    if (world->next_fault_ns < fault_ns)
        fault_ns = world->next_fault_ns;
    struct turn turn = next_turn(world, &fault_ns);
    if (fault_ns <= turn.at_ns) {
        world->now_ns = fault_ns > world->now_ns ? fault_ns : world->now_ns;
        sim_restart_what_is_due(world);
        if (world->next_fault_ns <= world->now_ns)
            sim_faults_turn(world);
        return;
    }
    world->now_ns = turn.at_ns > world->now_ns ? turn.at_ns : world->now_ns;
    sim_trace(world, ".turn", "", turn.index);
    world->result.turns++;
    sy_rpc_mem_set_origin(world->rpc, turn.process);
    sy_loop_turn(turn.loop);
    bool of_shard = turn.shard < world->options.shards;
    if (of_shard)
        look_at_shard(world, &turn);
    if (world->result.turns % CHECK_EVERY == 0)
        sim_check_all(world);
    if (of_shard && world->checks.rebuild_at_ns <= world->now_ns)
        sim_check_rebuild(world, turn.shard, turn.loop_of_shard);
}

/* ---- the whole ---- */

static void draw_nodes(struct sim_world *world)
{
    struct sy_rng rng; /* its own */
    sy_rng_init(&rng, world->options.seed ^ 0x40de);
    for (unsigned i = 0; i < world->options.agents; i++) {
        sim_node_draw(&world->agents[i].node, &rng, i == 0 || world->options.size == SIM_FAIR);
        for (unsigned kind = 0; kind < SIM_TASK_KINDS; kind++) {
            if (world->options.kinds >> kind & 1 && sim_task_fits(kind, &world->agents[i].node))
                world->kinds |= 1u << kind;
        }
    }
}

static void world_init(struct sim_world *world, const struct sim_options *options)
{
    world->options = *options;
    world->now_ns = SIM_START_NS;
    sy_rng_init(&world->rng, options->seed);
    world->clock = (struct sy_clock){clock_now, clock_realtime, world};
    world->result.trace_hash = 0xcbf29ce484222325ULL;
    struct sy_rpc_mem_plan plan = sim_faults_plan(world);
    int r = sy_rpc_mem_new(&world->rpc, &plan);
    SY_ASSERT(r == 0);
    world->partition = (struct cp_partition_options){
        .actions_max = 1000000,
        .inline_bytes_max = 65536,
        .batch_bytes_max = 64 << 20,
        .heartbeat_ns = SY_NS_PER_S,
        .cluster_lease_ns = 8 * SY_NS_PER_S,
        .recovery_wait_ns = (options->stops_pct > 0 ? 2 : 6) * SY_NS_PER_S,
        .system_retries = SIM_SYSTEM_RETRIES,
        .reclaim_delay_ns = options->reclaim_delay_ns,
        .reserve_after_ns = options->reserve_after_ns,
        .ageing_ns = options->ageing_ns,
        .infeasible_grace_ns = options->infeasible_grace_ns,
    };
    sim_processes_name(world);
    draw_nodes(world);
    sim_halves_init(world);
    if (options->local)
        sim_own_disks_init(world);
    for (unsigned i = 0; i < options->agents; i++) {
        world->agents[i].operator_index = i % options->operators;
        world->agents[i].journal = ag_journal_mem_new();
    }
    world->next_fault_ns = world->now_ns + 2 * SY_NS_PER_S;
    world->checks.rebuild_at_ns = world->now_ns;
    if (options->shards > 1)
        sim_region_init(world);
    if (options->disk_patience_ns > 0)
        sim_patience_init(world);
    sim_restart_what_is_due(world);
    world->client_process.loop = sim_loop_new(world);
    sy_rpc_mem_set_origin(world->rpc, world->client_process.name);
    for (unsigned i = 0; i < options->shards; i++)
        world->to_shards[i] = sy_channel_new(world->rpc, world->shards[i].process.name);
    world->gangs = sim_gangs_new();
    world->queues = sim_queues_new(world, world->client_process.loop, options);
    world->client = sim_client_new(world, world->client_process.loop, options);
    world->verbs = sim_verbs_new(world, world->client_process.loop);
    world->drains = sim_drains_new(world, world->client_process.loop);
}

static void world_deinit(struct sim_world *world)
{
    sy_rpc_mem_kill(world->rpc, world->client_process.name);
    sim_client_free(world->client);
    sim_verbs_free(world->verbs);
    sim_drains_free(world->drains);
    sim_queues_free(world->queues);
    sim_gangs_free(world->gangs);
    sim_processes_stop(world);
    for (unsigned i = 0; i < world->options.agents; i++)
        ag_journal_free(world->agents[i].journal);
    for (unsigned i = 0; i < world->options.shards; i++)
        sy_channel_free(world->to_shards[i]);
    if (world->options.shards > 1)
        sim_region_deinit(world);
    sy_loop_free(world->client_process.loop);
    if (world->options.local)
        sim_own_disks_deinit(world);
    sim_halves_deinit(world);
    sy_rpc_free(world->rpc);
}

/* Healed, all of it is served again, and a shard whose disk was slow takes partitions again. */
static bool region_is_whole(const struct sim_world *world)
{
    return world->options.shards == 1 || (sim_all_served(world) && !sim_some_are_slow(world));
}

void sim_run(const struct sim_options *options, struct sim_result *ret)
{
    struct sim_world *world = sy_new(struct sim_world);
    world_init(world, options);
    int64_t start_ns = world->now_ns;
    while (!sim_client_done(world->client) || !region_is_whole(world)) {
        advance(world);
        if (world->now_ns - start_ns > SIM_LIMIT_NS) {
            sim_client_describe(world->client);
            sim_check_describe(world);
            sim_fail(world, "not everything ended within an hour");
        }
    }
    sim_check_all(world);
    sim_client_audit(world->client);
    world->result.verbs = sim_verbs_done(world->verbs) + sim_drains_done(world->drains);
    world->result.gangs = sim_gangs_complete(world->gangs);
    world->result.changes = sim_queues_changes(world->queues);
    world->result.actions = sim_client_actions(world->client);
    world->result.virtual_ns = world->now_ns - start_ns;
    *ret = world->result;
    world_deinit(world);
    free(world);
}
