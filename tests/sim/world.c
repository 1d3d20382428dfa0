/* The simulated region: processes, time, faults. See world.h. */
#include "base/mem.h"
#include "controlplane/store.h"
#include "tests/sim/gangs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIM_LIMIT_NS (3600 * SY_NS_PER_S)
#define SIM_START_NS (1000 * SY_NS_PER_S)
#define SIM_HEAL_AT_NS (SIM_START_NS + 40 * SY_NS_PER_S) /* faults stop; then all must end */
#define SIM_CHECK_EVERY 16

struct sim_shard {
    struct sim_process process;
    struct sy_loop *loops[SIM_PARTITIONS_MAX]; /* loops[0] is process.loop */
    struct cp_mem_disk *disks[SIM_PARTITIONS_MAX];
    struct cp_shard *shard;
};
struct sim_operator {
    struct sim_process process;
    char listen[24];
    struct dp_operator *daemon;
};
struct sim_agent {
    struct sim_process process;
    unsigned operator_index, boot;
    struct ag_journal *journal;
    struct ag_executor *executor;
    struct ag_agent *agent;
};

struct sim_link {
    const char *a, *b; /* processes; the names live as long as the world */
    int64_t until_ns;
};

struct sim_world {
    struct sim_options options;
    struct sy_rng rng;
    struct sy_clock clock;
    int64_t now_ns;
    struct sy_rpc *rpc;
    struct sim_shard shard;
    struct sim_operator operators[SIM_OPERATORS_MAX];
    struct sim_agent agents[SIM_AGENTS_MAX];
    struct sim_process client_process;
    struct sim_client *client;
    struct sim_verbs *verbs;
    struct sim_gangs *gangs;
    struct sim_link links[8]; /* cut */
    unsigned link_count;
    int64_t next_fault_ns;
    struct sim_result result;
};

int64_t sim_now(const struct sim_world *world)
{
    return world->now_ns;
}

struct sy_rng *sim_rng(struct sim_world *world)
{
    return &world->rng;
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

/* ---- the network ---- */

static bool link_is_cut(const struct sim_world *world, const char *from, const char *to)
{
    for (unsigned i = 0; i < world->link_count; i++) {
        const struct sim_link *link = &world->links[i];
        if (link->until_ns > world->now_ns &&
            ((strcmp(link->a, from) == 0 && strcmp(link->b, to) == 0) ||
             (strcmp(link->a, to) == 0 && strcmp(link->b, from) == 0)))
            return true;
    }
    return false;
}

static enum sy_fault plan_message(void *ctx, const char *from, const char *to,
                                  int64_t *ret_delay_ns)
{
    struct sim_world *world = ctx;
    world->result.messages++;
    *ret_delay_ns = (int64_t)sy_rng_below(&world->rng, (uint64_t)world->options.delay_ns_max + 1);
    sim_trace(world, ".message", from, (uint64_t)*ret_delay_ns);
    bool calm = world->now_ns > SIM_HEAL_AT_NS;
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

/* ---- processes ---- */

static struct sy_loop *loop_new(struct sim_world *world)
{
    struct sy_loop *loop = NULL;
    struct sy_loop_options options = {.clock = &world->clock, .without_epoll = true};
    int r = sy_loop_new(&loop, &options);
    SY_ASSERT(r == 0);
    return loop;
}

static int open_store(void *ctx, struct cp_store **ret_store, struct sy_loop *loop,
                      struct sy_error_text *error)
{
    return cp_store_mem_open(ret_store, ctx, loop, error);
}

static void shard_start(struct sim_world *world)
{
    struct sim_shard *s = &world->shard;
    struct cp_store_opener openers[SIM_PARTITIONS_MAX];
    for (unsigned i = 0; i < world->options.partitions; i++) {
        s->loops[i] = loop_new(world);
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
        .partition =
            {
                .actions_max = 1000000,
                .inline_bytes_max = 65536,
                .batch_bytes_max = 64 << 20,
                .heartbeat_ns = SY_NS_PER_S,
                .cluster_lease_ns = 8 * SY_NS_PER_S,
                .recovery_wait_ns = 6 * SY_NS_PER_S,
                .system_retries = 1000,
            },
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

static void shard_crash(struct sim_world *world)
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
    o->process.loop = loop_new(world);
    sy_rpc_mem_set_origin(world->rpc, o->process.name);
    const char *shards[] = {world->shard.process.name, NULL};
    struct dp_operator_options options = {
        .cluster = o->process.name,
        .listen = o->process.name,
        .endpoint = o->process.name,
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

static void operator_crash(struct sim_world *world, unsigned i)
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
    a->process.loop = loop_new(world);
    sy_rpc_mem_set_origin(world->rpc, a->process.name);
    struct sch_resources capacity = {.cpu_milli = 2000 + 1000 * (i % 3),
                                     .memory_bytes = 4ull << 30};
    static const struct sch_environment environment = {"native", 3};
    a->executor = sim_executor_new(world, a->process.loop, a->process.name, &capacity,
                                   environment.slots, &world->options);
    char boot_id[16];
    snprintf(boot_id, sizeof(boot_id), "boot-%u", a->boot);
    struct ag_agent_options options = {
        .node = a->process.name,
        .boot_id = boot_id,
        .operator_target = world->operators[a->operator_index].process.name,
        .capacity = capacity,
        .environments = &environment,
        .environment_count = 1,
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

static void agent_crash(struct sim_world *world, unsigned i)
{
    struct sim_agent *a = &world->agents[i];
    sy_rpc_mem_kill(world->rpc, a->process.name);
    ag_agent_free(a->agent);
    a->executor->ops->free(a->executor);
    sy_loop_free(a->process.loop);
    a->process.up = false;
}

/* ---- faults ---- */

static void schedule_restart(struct sim_world *world, struct sim_process *process)
{
    world->result.crashes++;
    process->restart_at_ns = world->now_ns +
                             (int64_t)sy_rng_below(&world->rng, 6 * (uint64_t)SY_NS_PER_S);
    sim_trace(world, "crash", process->name, (uint64_t)process->restart_at_ns);
}

static void cut_a_link(struct sim_world *world)
{
    const struct sim_options *o = &world->options;
    if (world->link_count == SY_COUNT_OF(world->links))
        world->link_count = 0;
    struct sim_link *link = &world->links[world->link_count++];
    unsigned i = (unsigned)sy_rng_below(&world->rng, o->operators);
    const char *other = world->shard.process.name;
    if (sy_rng_chance(&world->rng, 1, 2)) {
        unsigned agent = i * o->agents_each + (unsigned)sy_rng_below(&world->rng, o->agents_each);
        other = world->agents[agent].process.name;
    }
    link->a = world->operators[i].process.name;
    link->b = other;
    link->until_ns = world->now_ns + (int64_t)sy_rng_below(&world->rng, 12 * (uint64_t)SY_NS_PER_S);
    sim_trace(world, "cut", other, (uint64_t)link->until_ns);
}

static void order_nodes(struct sim_world *world, bool heal)
{
    const struct sim_options *o = &world->options;
    for (unsigned i = 0; i < o->operators * o->agents_each; i++) {
        const char *cluster = world->operators[i / o->agents_each].process.name;
        if (heal && o->verb_pct > 0)
            sim_verbs_open(world->verbs, cluster, world->agents[i].process.name);
        else if (!heal && o->verb_pct > 0 && sy_rng_chance(&world->rng, o->verb_pct, 100))
            sim_verbs_draw(world->verbs, cluster, world->agents[i].process.name);
    }
}

static void inject_faults(struct sim_world *world)
{
    const struct sim_options *o = &world->options;
    struct sy_rng *rng = &world->rng;
    world->next_fault_ns = world->now_ns + SY_NS_PER_S;
    order_nodes(world, world->now_ns > SIM_HEAL_AT_NS);
    if (world->now_ns > SIM_HEAL_AT_NS) {
        for (unsigned i = 0; i < o->partitions; i++)
            cp_mem_disk_set(world->shard.disks[i], o->sync_ns_max, -1);
        return;
    }
    if (world->shard.process.up && sy_rng_chance(rng, o->crash_shard_pct, 100)) {
        shard_crash(world);
        schedule_restart(world, &world->shard.process);
    }
    for (unsigned i = 0; i < o->operators; i++) {
        if (world->operators[i].process.up && sy_rng_chance(rng, o->crash_operator_pct, 100)) {
            operator_crash(world, i);
            schedule_restart(world, &world->operators[i].process);
        }
    }
    for (unsigned i = 0; i < o->operators * o->agents_each; i++) {
        if (world->agents[i].process.up && sy_rng_chance(rng, o->crash_agent_pct, 100)) {
            agent_crash(world, i);
            schedule_restart(world, &world->agents[i].process);
        }
    }
    if (sy_rng_chance(rng, o->cut_link_pct, 100))
        cut_a_link(world);
    if (sy_rng_chance(rng, o->fail_commit_pct, 100)) {
        world->result.commits_failed++;
        cp_mem_disk_set(world->shard.disks[sy_rng_below(rng, o->partitions)],
                        (int64_t)sy_rng_below(rng, (uint64_t)o->sync_ns_max + 1),
                        (int64_t)sy_rng_below(rng, 5));
    }
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
    for (unsigned i = 0; i < world->options.operators * world->options.agents_each; i++)
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
    for (unsigned i = 0; i < world->options.operators * world->options.agents_each; i++)
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
    for (unsigned i = 0; i < world->options.operators * world->options.agents_each; i++)
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
            inject_faults(world);
        return;
    }
    world->now_ns = at > world->now_ns ? at : world->now_ns;
    sim_trace(world, ".turn", "", first);
    world->result.turns++;
    sy_loop_turn(loops[first]);
}

/* ---- the whole ---- */

static void world_init(struct sim_world *world, const struct sim_options *options)
{
    world->options = *options;
    world->now_ns = SIM_START_NS;
    sy_rng_init(&world->rng, options->seed);
    world->clock = (struct sy_clock){clock_now, clock_now, world};
    world->result.trace_hash = 0xcbf29ce484222325ULL;
    struct sy_rpc_mem_plan plan = {plan_message, plan_connect, world};
    int r = sy_rpc_mem_new(&world->rpc, &plan);
    SY_ASSERT(r == 0);
    snprintf(world->shard.process.name, sizeof(world->shard.process.name), "shard-0");
    for (unsigned i = 0; i < options->partitions; i++) {
        world->shard.disks[i] = cp_mem_disk_new();
        cp_mem_disk_set(world->shard.disks[i], options->sync_ns_max, -1);
    }
    for (unsigned i = 0; i < options->operators; i++)
        snprintf(world->operators[i].process.name, sizeof(world->operators[i].process.name),
                 "operator-%u", i);
    for (unsigned i = 0; i < options->operators * options->agents_each; i++) {
        snprintf(world->agents[i].process.name, sizeof(world->agents[i].process.name), "agent-%u",
                 i);
        world->agents[i].operator_index = i / options->agents_each;
        world->agents[i].journal = ag_journal_mem_new();
    }
    world->next_fault_ns = world->now_ns + 2 * SY_NS_PER_S;
    restart_what_is_due(world);
    snprintf(world->client_process.name, sizeof(world->client_process.name), "client");
    world->client_process.loop = loop_new(world);
    sy_rpc_mem_set_origin(world->rpc, world->client_process.name);
    world->client = sim_client_new(world, world->client_process.loop, world->rpc,
                                   world->shard.process.name, options);
    world->gangs = sim_gangs_new();
    world->verbs = sim_verbs_new(world, world->client_process.loop, world->rpc,
                                 world->shard.process.name);
}

static void world_deinit(struct sim_world *world)
{
    sim_client_free(world->client);
    sim_verbs_free(world->verbs);
    sim_gangs_free(world->gangs);
    if (world->shard.process.up)
        shard_crash(world);
    for (unsigned i = 0; i < world->options.operators; i++)
        if (world->operators[i].process.up)
            operator_crash(world, i);
    for (unsigned i = 0; i < world->options.operators * world->options.agents_each; i++) {
        if (world->agents[i].process.up)
            agent_crash(world, i);
        ag_journal_free(world->agents[i].journal);
    }
    sy_loop_free(world->client_process.loop);
    for (unsigned i = 0; i < world->options.partitions; i++)
        cp_mem_disk_free(world->shard.disks[i]);
    sy_rpc_free(world->rpc);
}

static void check(struct sim_world *world)
{
    for (unsigned i = 0; world->shard.process.up && i < world->options.partitions; i++)
        cp_partition_check(cp_shard_partition(world->shard.shard, i));
    for (unsigned i = 0; i < world->options.operators; i++)
        if (world->operators[i].process.up)
            dp_operator_check(world->operators[i].daemon);
}

void sim_run(const struct sim_options *options, struct sim_result *ret)
{
    struct sim_world *world = sy_new(struct sim_world);
    world_init(world, options);
    int64_t start_ns = world->now_ns;
    while (!sim_client_done(world->client)) {
        advance(world);
        if (world->result.turns % SIM_CHECK_EVERY == 0)
            check(world);
        if (world->now_ns - start_ns > SIM_LIMIT_NS) {
            sim_client_describe(world->client);
            sim_fail(world, "not everything ended within an hour");
        }
    }
    check(world);
    sim_client_audit(world->client);
    world->result.verbs = sim_verbs_done(world->verbs);
    world->result.gangs = sim_gangs_complete(world->gangs);
    world->result.actions = sim_client_actions(world->client);
    world->result.virtual_ns = world->now_ns - start_ns;
    *ret = world->result;
    world_deinit(world);
    free(world);
}
