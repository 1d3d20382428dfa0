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

/* ---- processes ---- */

struct sy_loop *sim_loop_new(struct sim_world *world)
{
    struct sy_loop *loop = NULL;
    struct sy_loop_options options = {.clock = &world->clock, .without_epoll = true};
    int r = sy_loop_new(&loop, &options);
    SY_ASSERT(r == 0);
    return loop;
}

static int open_store(void *ctx, struct cp_store **ret_store, uint32_t epoch, struct sy_loop *loop,
                      uint32_t *ret_epoch, struct sy_error_text *error)
{
    return cp_store_mem_open(ret_store, ctx, epoch, loop, ret_epoch, error);
}

static void shard_start(struct sim_world *world)
{
    struct sim_shard *s = &world->shard;
    struct cp_store_opener openers[SIM_PARTITIONS_MAX];
    for (unsigned i = 0; i < world->options.partitions; i++) {
        s->loops[i] = sim_loop_new(world);
        openers[i] = (struct cp_store_opener){open_store, s->disks[i]};
    }
    s->process.loop = s->loops[0];
    sy_rpc_mem_set_origin(world->rpc, s->process.name);
    struct cp_shard_options options = {
        .name = s->process.name,
        .region = "sim",
        .listen = s->process.name,
        .partitions = world->options.partitions,
        .streams_max = 1000,
        .partition = world->partition,
    };
    struct cp_shard_ports ports = {
        .rpc = world->rpc,
        .loops = s->loops,
        .openers = openers,
        .seed = sy_rng_u64(&world->rng),
    };
    struct sy_error_text error;
    int r = cp_shard_new(&s->shard, &options, &ports, &error);
    if (r < 0)
        sim_fail(world, "shard does not start: %s", error.text);
    s->process.up = true;
}

static void shard_stop(struct sim_world *world)
{
    struct sim_shard *s = &world->shard;
    sy_rpc_mem_kill(world->rpc, s->process.name);
    cp_shard_free(s->shard);
    s->shard = NULL;
    for (unsigned i = 0; i < world->options.partitions; i++)
        sy_loop_free(s->loops[i]);
    s->process.up = false;
}

static void operator_start(struct sim_world *world, unsigned i)
{
    struct sim_operator *o = &world->operators[i];
    o->process.loop = sim_loop_new(world);
    sy_rpc_mem_set_origin(world->rpc, o->process.name);
    const char *shards[] = {world->shard.process.name, NULL};
    struct dp_operator_options options = {
        .cluster = o->process.name,
        .listen = o->process.name,
        .endpoint = o->process.name,
        .region = sim_region_of((unsigned)(o - world->operators)),
        .shards = shards,
        .streams_max = 1000,
        .heartbeat_ns = SY_NS_PER_S,
        .core = {.hold_ns = 2 * SY_NS_PER_S,
                 .node_lease_ns = 5 * SY_NS_PER_S,
                 .join_grace_ns = 3 * SY_NS_PER_S},
    };
    struct dp_operator_ports ports = {
        .rpc = world->rpc, .loop = o->process.loop, .seed = sy_rng_u64(&world->rng)};
    struct sy_error_text error;
    int r = dp_operator_new(&o->daemon, &options, &ports, &error);
    if (r < 0)
        sim_fail(world, "operator does not start: %s", error.text);
    o->process.up = true;
}

static void operator_stop(struct sim_world *world, unsigned i)
{
    struct sim_operator *o = &world->operators[i];
    sy_rpc_mem_kill(world->rpc, o->process.name);
    dp_operator_free(o->daemon);
    sy_loop_free(o->process.loop);
    o->process.up = false;
}

static void agent_start(struct sim_world *world, unsigned i)
{
    struct sim_agent *a = &world->agents[i];
    a->process.loop = sim_loop_new(world);
    sy_rpc_mem_set_origin(world->rpc, a->process.name);
    a->executor = sim_executor_new(world, a->process.loop, a->process.name, &a->node,
                                   &world->options);
    static const char *const *const slice_names[] = {sim_slice_names}; /* of one profile */
    char boot_id[16];
    snprintf(boot_id, sizeof(boot_id), "boot-%u", a->boot);
    struct ag_agent_options options = {
        .node = a->process.name,
        .boot_id = boot_id,
        .operator_target = world->operators[a->operator_index].process.name,
        .capacity = a->node.capacity,
        .environments = &a->node.environment,
        .environment_count = 1,
        .traits = &a->node.traits,
        .slice_names = slice_names,
        .inline_bytes_max = 65536,
        .started_report_delay_ns = 20 * SY_NS_PER_MS,
    };
    struct ag_agent_ports ports = {
        .rpc = world->rpc,
        .loop = a->process.loop,
        .executor = a->executor,
        .journal = a->journal,
        .seed = sy_rng_u64(&world->rng),
    };
    struct sy_error_text error;
    int r = ag_agent_new(&a->agent, &options, &ports, &error);
    if (r < 0)
        sim_fail(world, "agent does not start: %s", error.text);
    a->process.up = true;
}

static void agent_stop(struct sim_world *world, unsigned i)
{
    struct sim_agent *a = &world->agents[i];
    sy_rpc_mem_kill(world->rpc, a->process.name);
    ag_agent_free(a->agent);
    a->executor->ops->free(a->executor);
    sy_loop_free(a->process.loop);
    a->process.up = false;
}

static void schedule_restart(struct sim_world *world, struct sim_process *process)
{
    world->result.crashes++;
    process->restart_at_ns = world->now_ns +
                             (int64_t)sy_rng_below(&world->rng, 6 * (uint64_t)SY_NS_PER_S);
    sim_trace(world, "crash", process->name, (uint64_t)process->restart_at_ns);
}

void sim_shard_crash(struct sim_world *world)
{
    shard_stop(world);
    schedule_restart(world, &world->shard.process);
}

void sim_operator_crash(struct sim_world *world, unsigned i)
{
    operator_stop(world, i);
    schedule_restart(world, &world->operators[i].process);
}

void sim_agent_crash(struct sim_world *world, unsigned i)
{
    agent_stop(world, i);
    schedule_restart(world, &world->agents[i].process);
}

static bool due(const struct sim_world *world, const struct sim_process *process)
{
    return !process->up && process->restart_at_ns <= world->now_ns;
}

static void restart_what_is_due(struct sim_world *world)
{
    if (due(world, &world->shard.process))
        shard_start(world);
    for (unsigned i = 0; i < world->options.operators; i++)
        if (due(world, &world->operators[i].process))
            operator_start(world, i);
    for (unsigned i = 0; i < world->options.agents; i++)
        if (due(world, &world->agents[i].process))
            agent_start(world, i);
}

/* ---- time ---- */

/* The loops of what is up, in a fixed order. */
static unsigned loops_of(struct sim_world *world, struct sy_loop **ret)
{
    unsigned count = 0;
    ret[count++] = world->client_process.loop;
    for (unsigned i = 0; world->shard.process.up && i < world->options.partitions; i++)
        ret[count++] = world->shard.loops[i];
    for (unsigned i = 0; i < world->options.operators; i++)
        if (world->operators[i].process.up)
            ret[count++] = world->operators[i].process.loop;
    for (unsigned i = 0; i < world->options.agents; i++)
        if (world->agents[i].process.up)
            ret[count++] = world->agents[i].process.loop;
    return count;
}

static int64_t earliest_restart(const struct sim_world *world)
{
    int64_t at = world->next_fault_ns;
    if (!world->shard.process.up && world->shard.process.restart_at_ns < at)
        at = world->shard.process.restart_at_ns;
    for (unsigned i = 0; i < world->options.operators; i++)
        if (!world->operators[i].process.up && world->operators[i].process.restart_at_ns < at)
            at = world->operators[i].process.restart_at_ns;
    for (unsigned i = 0; i < world->options.agents; i++)
        if (!world->agents[i].process.up && world->agents[i].process.restart_at_ns < at)
            at = world->agents[i].process.restart_at_ns;
    return at;
}

/* One turn of the loop that is due first. */
static void advance(struct sim_world *world)
{
    struct sy_loop *loops[1 + SIM_PARTITIONS_MAX + SIM_OPERATORS_MAX + SIM_AGENTS_MAX];
    unsigned count = loops_of(world, loops);
    unsigned first = 0;
    int64_t at = SY_TIME_NEVER;
    for (unsigned i = 0; i < count; i++) {
        int64_t next = sy_loop_next_ns(loops[i]);
        if (next < at) {
            at = next;
            first = i;
        }
    }
    int64_t fault_at = earliest_restart(world);
    if (fault_at <= at) {
        world->now_ns = fault_at > world->now_ns ? fault_at : world->now_ns;
        restart_what_is_due(world);
        if (world->next_fault_ns <= world->now_ns)
            sim_faults_turn(world);
        return;
    }
    world->now_ns = at > world->now_ns ? at : world->now_ns;
    sim_trace(world, ".turn", "", first);
    world->result.turns++;
    sy_loop_turn(loops[first]);
    bool of_shard = world->shard.process.up && first >= 1 && first <= world->options.partitions;
    if (of_shard) {
        sim_check_limits(world);
        sim_fair_look(world);
    }
    if (world->result.turns % CHECK_EVERY == 0)
        sim_check_all(world);
    if (of_shard && world->checks.rebuild_at_ns <= world->now_ns)
        sim_check_rebuild(world, first - 1);
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

static void name_processes(struct sim_world *world)
{
    const struct sim_options *options = &world->options;
    snprintf(world->shard.process.name, sizeof(world->shard.process.name), "shard-0");
    snprintf(world->client_process.name, sizeof(world->client_process.name), "client");
    for (unsigned i = 0; i < options->operators; i++)
        snprintf(world->operators[i].process.name, sizeof(world->operators[i].process.name),
                 "operator-%u", i);
    for (unsigned i = 0; i < options->agents; i++)
        snprintf(world->agents[i].process.name, sizeof(world->agents[i].process.name), "agent-%u",
                 i);
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
        .recovery_wait_ns = 6 * SY_NS_PER_S,
        .system_retries = 1000,
        .reclaim_delay_ns = options->reclaim_delay_ns,
        .reserve_after_ns = options->reserve_after_ns,
        .ageing_ns = options->ageing_ns,
        .infeasible_grace_ns = options->infeasible_grace_ns,
    };
    name_processes(world);
    draw_nodes(world);
    for (unsigned i = 0; i < options->partitions; i++) {
        world->shard.disks[i] = cp_mem_disk_new();
        cp_mem_disk_set(world->shard.disks[i], options->sync_ns_max, -1);
    }
    for (unsigned i = 0; i < options->agents; i++) {
        world->agents[i].operator_index = i % options->operators;
        world->agents[i].journal = ag_journal_mem_new();
    }
    world->next_fault_ns = world->now_ns + 2 * SY_NS_PER_S;
    world->checks.rebuild_at_ns = world->now_ns;
    restart_what_is_due(world);
    world->client_process.loop = sim_loop_new(world);
    sy_rpc_mem_set_origin(world->rpc, world->client_process.name);
    const char *target = world->shard.process.name;
    world->gangs = sim_gangs_new();
    world->queues = sim_queues_new(world, world->client_process.loop, world->rpc, target, options);
    world->client = sim_client_new(world, world->client_process.loop, world->rpc, target, options);
    world->verbs = sim_verbs_new(world, world->client_process.loop, world->rpc, target);
}

static void world_deinit(struct sim_world *world)
{
    sim_client_free(world->client);
    sim_verbs_free(world->verbs);
    sim_queues_free(world->queues);
    sim_gangs_free(world->gangs);
    if (world->shard.process.up)
        shard_stop(world);
    for (unsigned i = 0; i < world->options.operators; i++)
        if (world->operators[i].process.up)
            operator_stop(world, i);
    for (unsigned i = 0; i < world->options.agents; i++) {
        if (world->agents[i].process.up)
            agent_stop(world, i);
        ag_journal_free(world->agents[i].journal);
    }
    sy_loop_free(world->client_process.loop);
    for (unsigned i = 0; i < world->options.partitions; i++)
        cp_mem_disk_free(world->shard.disks[i]);
    sy_rpc_free(world->rpc);
}

void sim_run(const struct sim_options *options, struct sim_result *ret)
{
    struct sim_world *world = sy_new(struct sim_world);
    world_init(world, options);
    int64_t start_ns = world->now_ns;
    while (!sim_client_done(world->client)) {
        advance(world);
        if (world->now_ns - start_ns > SIM_LIMIT_NS) {
            sim_client_describe(world->client);
            sim_check_describe(world);
            sim_fail(world, "not everything ended within an hour");
        }
    }
    sim_check_all(world);
    sim_client_audit(world->client);
    world->result.verbs = sim_verbs_done(world->verbs);
    world->result.gangs = sim_gangs_complete(world->gangs);
    world->result.changes = sim_queues_changes(world->queues);
    world->result.actions = sim_client_actions(world->client);
    world->result.virtual_ns = world->now_ns - start_ns;
    *ret = world->result;
    world_deinit(world);
    free(world);
}
