/* Processes: how they are started, die, and are started again. */
#include "tests/sim/world_impl.h"

struct sy_loop *sim_loop_new(struct sim_world *world)
{
    struct sy_loop *loop = NULL;
    struct sy_loop_options options = {.clock = &world->clock, .without_epoll = true};
    int r = sy_loop_new(&loop, &options);
    SY_ASSERT(r == 0);
    return loop;
}

/* ---- shards ---- */

static bool in_region(const struct sim_world *world)
{
    return world->options.shards > 1;
}

unsigned sim_loops_of_shard(const struct sim_world *world)
{
    return in_region(world) ? 1 + world->options.lanes : world->options.partitions;
}

unsigned sim_loop_of(const struct sim_world *world, unsigned partition)
{
    return in_region(world) ? 1 + partition % world->options.lanes : partition;
}

static void on_misfit(void *ctx, const char *why)
{
    sim_fail(ctx, "a shard does not fit its region: %s", why);
}

static void shard_new(struct sim_world *world, struct sim_shard *s, struct sy_loop *const *loops)
{
    const struct cp_coord_etcd_options etcd = {.endpoints = sim_etcd_members,
                                               .endpoint_count = SIM_ETCD_MEMBERS,
                                               .region = "sim",
                                               .session_ttl_ns = 2 * SY_NS_PER_S,
                                               .timeout_ns = SY_NS_PER_S / 2};
    bool patient = world->options.disk_patience_ns == 0;
    struct cp_ownership_options pace = cp_ownership_options_default(s->name, s->process.name, "");
    if (!patient)
        pace.slow_rest_ns = world->options.slow_rest_ns;
    struct cp_shard_options options = {
        .name = s->name,
        .region = "sim",
        .listen = s->process.name,
        .endpoint = s->process.name,
        .partitions = world->options.partitions,
        .partitions_max = in_region(world) ? world->options.room : 0,
        .streams_max = 1000,
        .partition = world->partition,
        .etcd = in_region(world) ? &etcd : NULL,
        .copies = world->options.local ? &s->copies : NULL,
        .disk_patience_ns = world->options.disk_patience_ns,
        .disk_probe = patient ? NULL : &s->probe,
        .pace = &pace,
        .standby_patience_ns = world->options.standby_patience_ns,
        .standby_wait_ns = world->options.standby_wait_ns,
    };
    struct cp_shard_ports ports = {
        .rpc = world->rpc,
        .loops = loops,
        .front = s->loops[0],
        .openers = s->openers,
        .seed = sy_rng_u64(&world->rng),
    };
    struct sy_error_text error;
    int r = cp_shard_new(&s->shard, &options, &ports, &error);
    if (r < 0)
        sim_fail(world, "shard does not start: %s", error.text);
    cp_shard_on_misfit(s->shard, on_misfit, world);
}

static void shard_start(struct sim_world *world, unsigned index)
{
    struct sim_shard *s = &world->shards[index];
    struct sy_loop *loops[SIM_PARTITIONS_MAX];
    if (world->options.local)
        sim_own_disk_goes(world, index);
    for (unsigned i = 0; i < sim_loops_of_shard(world); i++)
        s->loops[i] = sim_loop_new(world);
    for (unsigned i = 0; i < world->options.room; i++) {
        loops[i] = s->loops[sim_loop_of(world, i)];
        s->openers[i] = world->options.local ? sim_own_opener(world, index, i)
                                             : sim_disk_opener(world, i);
    }
    s->process.loop = s->loops[0];
    sy_rpc_mem_set_origin(world->rpc, s->process.name);
    shard_new(world, s, loops);
    memset(s->stands_until_ns, 0, sizeof(s->stands_until_ns));
    memset(s->commits, 0, sizeof(s->commits));
    memset(s->overdue_ns, 0, sizeof(s->overdue_ns));
    s->boots++;
    s->stopping = s->stopped = false;
    s->process.up = true;
}

static void shard_end(struct sim_world *world, unsigned index)
{
    struct sim_shard *s = &world->shards[index];
    sy_rpc_mem_kill(world->rpc, s->process.name);
    cp_shard_free(sy_take(s->shard));
    for (unsigned i = 0; i < sim_loops_of_shard(world); i++)
        sy_loop_free(s->loops[i]);
    s->process.up = false;
}

static void on_stopped(void *ctx)
{
    ((struct sim_shard *)ctx)->stopped = true;
}

void sim_shard_stop(struct sim_world *world, unsigned i)
{
    struct sim_shard *s = &world->shards[i];
    int64_t grace_ns = (int64_t)sy_rng_below(&world->rng, 3 * (uint64_t)SY_NS_PER_S);
    SY_ASSERT(s->process.up && !s->stopping);
    s->stopping = true;
    sy_rpc_mem_set_origin(world->rpc, s->process.name);
    sim_trace(world, "stop", s->process.name, (uint64_t)grace_ns);
    cp_shard_stop(s->shard, grace_ns, on_stopped, s);
}

/* ---- operators and agents ---- */

static void operator_start(struct sim_world *world, unsigned i)
{
    struct sim_operator *o = &world->operators[i];
    o->process.loop = sim_loop_new(world);
    sy_rpc_mem_set_origin(world->rpc, o->process.name);
    const char *shards[SIM_SHARDS_MAX + 1] = {NULL}; /* some; they tell of the others */
    for (unsigned k = 0; k < world->options.contacts; k++)
        shards[k] = world->shards[(i + k) % world->options.shards].process.name;
    struct dp_operator_options options = {
        .cluster = o->process.name,
        .listen = o->process.name,
        .endpoint = o->process.name,
        .region = sim_region_of((unsigned)(o - world->operators)),
        .shards = shards,
        .streams_max = 1000,
        .heartbeat_ns = SY_NS_PER_S,
        .core = {.hold_ns = 2 * SY_NS_PER_S,
                 .node_lease_ns = (world->options.stops_pct > 0 ? 8 : 5) * SY_NS_PER_S,
                 .join_grace_ns = (world->options.stops_pct > 0 ? 1 : 3) * SY_NS_PER_S},
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

void sim_shard_crash(struct sim_world *world, unsigned i)
{
    if (world->options.local)
        sim_own_disk_may_go(world, i);
    shard_end(world, i);
    schedule_restart(world, &world->shards[i].process);
}

void sim_shard_ended(struct sim_world *world, unsigned i)
{
    struct sim_process *process = &world->shards[i].process;
    shard_end(world, i);
    process->restart_at_ns = world->now_ns +
                             (int64_t)sy_rng_below(&world->rng, (uint64_t)SY_NS_PER_S);
    sim_trace(world, "ended", process->name, (uint64_t)process->restart_at_ns);
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

void sim_restart_what_is_due(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.shards; i++)
        if (due(world, &world->shards[i].process))
            shard_start(world, i);
    for (unsigned i = 0; i < world->options.operators; i++)
        if (due(world, &world->operators[i].process))
            operator_start(world, i);
    for (unsigned i = 0; i < world->options.agents; i++)
        if (due(world, &world->agents[i].process))
            agent_start(world, i);
}

static void take_earlier(const struct sim_process *process, int64_t *at_ns)
{
    if (!process->up && process->restart_at_ns < *at_ns)
        *at_ns = process->restart_at_ns;
}

int64_t sim_earliest_restart(const struct sim_world *world)
{
    int64_t at_ns = SY_TIME_NEVER;
    for (unsigned i = 0; i < world->options.shards; i++)
        take_earlier(&world->shards[i].process, &at_ns);
    for (unsigned i = 0; i < world->options.operators; i++)
        take_earlier(&world->operators[i].process, &at_ns);
    for (unsigned i = 0; i < world->options.agents; i++)
        take_earlier(&world->agents[i].process, &at_ns);
    return at_ns;
}

/* ---- all of them ---- */

static void name(struct sim_process *process, const char *kind, unsigned i)
{
    snprintf(process->name, sizeof(process->name), "%s-%u", kind, i);
}

void sim_processes_name(struct sim_world *world)
{
    snprintf(world->client_process.name, sizeof(world->client_process.name), "client");
    for (unsigned i = 0; i < world->options.shards; i++) {
        struct sim_shard *s = &world->shards[i];
        snprintf(s->name, sizeof(s->name), "shard-%u", i);
        snprintf(s->process.name, sizeof(s->process.name), "shard-%u%s", i,
                 in_region(world) ? ":8090" : ""); /* others tell operators of it */
    }
    for (unsigned i = 0; i < world->options.operators; i++)
        name(&world->operators[i].process, "operator", i);
    for (unsigned i = 0; i < world->options.agents; i++)
        name(&world->agents[i].process, "agent", i);
}

void sim_processes_stop(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.shards; i++)
        if (world->shards[i].process.up)
            shard_end(world, i);
    for (unsigned i = 0; i < world->options.operators; i++)
        if (world->operators[i].process.up)
            operator_stop(world, i);
    for (unsigned i = 0; i < world->options.agents; i++)
        if (world->agents[i].process.up)
            agent_stop(world, i);
}
