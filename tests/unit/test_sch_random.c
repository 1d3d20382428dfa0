/* links: sch */
/*
 * Both cores together under random events: partitions, operators and model agents, joined by
 * streams that deliver in order, break, repeat and bring old reports again; cores that crash and
 * are rebuilt from a model store; a clock that jumps. The checkers walk the core after each step,
 * an auditor that knows only effects and executions checks the promises, a healed world must finish
 * all its work, and a seed gives the same effects twice.
 */
#include "tests/unit/test_sch_model.h"
#include "tests/unit/test_sch_streams.h"

/* ---- crashes ---- */

static void operator_start(struct world *w, size_t c)
{
    w->operator_looks[c] = c == 0 ? w->looks % 3 : 0;
    struct sch_operator_options options = {.hold_ns = 2 * SY_NS_PER_S,
                                           .node_lease_ns = 15 * SY_NS_PER_S,
                                           .join_grace_ns = 5 * SY_NS_PER_S,
                                           .looks_max = w->operator_looks[c]};
    w->operators[c] = sch_operator_new(&options, w->now);
    for (size_t n = 0; n < NODES; n++) {
        enum sch_service_state state = w->services[c][n];
        struct sch_op_event event = {.type = state == SCH_SERVICE_CORDONED ? SCH_OP_NODE_CORDON
                                             : state == SCH_SERVICE_FENCED ? SCH_OP_NODE_FENCE
                                                                           : SCH_OP_NODE_DRAIN,
                                     .u.verb = {node_names[n], SY_TIME_NEVER}};
        if (w->waited[c][n])
            step_operator(
                w, c,
                (struct sch_op_event){.type = SCH_OP_NODE_OWED, .u.node.name = node_names[n]});
        if (state != SCH_SERVICE_OPEN)
            step_operator(w, c, event);
    }
}

static void operator_crash(struct world *w, size_t c)
{
    sch_operator_free(sy_take(w->operators[c]));
    for (size_t p = 0; p < PARTITIONS; p++)
        shard_close(w, p, c);
    for (size_t n = 0; n < NODES; n++)
        node_close(w, c, n);
    operator_start(w, c);
}

static void configure(struct world *w, size_t p, struct sch_queue_config config)
{
    step_partition(w, p, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
}

static void partition_start(struct world *w, size_t p)
{
    struct site *site = &w->sites[p];
    site->looks_max = (w->looks + site->epoch++) % 3;
    struct sch_partition_options options = {.partition = (uint32_t)p,
                                            .partitions = PARTITIONS,
                                            .epoch = site->epoch,
                                            .actions_max = 120,
                                            .system_retries = 10,
                                            .worker_deaths_max = DEATHS,
                                            .cluster_lease_ns = LEASE_NS,
                                            .recovery_wait_ns = RECOVERY_NS,
                                            .infeasible_grace_ns = GRACE_NS,
                                            .infeasible = w->strict ? SCH_INFEASIBLE_FAIL
                                                                    : SCH_INFEASIBLE_INHERIT,
                                            .reserve_after_ns = w->reserves ? SY_NS_PER_S : 0,
                                            .assign_max = site->epoch % 2 ? 3 : 0,
                                            .looks_max = site->looks_max,
                                            .reclaim_delay_ns = 200 * SY_NS_PER_MS};
    site->core = sch_partition_new(&options, w->now);
    for (size_t i = 0; i < site->row_count; i++) {
        const struct row *row = &site->rows[i];
        if (row->live && !row->parent[0])
            sch_partition_restore_run(site->core, row->run_id, "p", "d", row->run, 0,
                                      row->event_sequence, 1000, row->limit);
    }
    for (size_t i = site->row_count; i-- > 0;) { /* children before parents */
        struct row *row = &site->rows[i];
        bool condition = row->spec == SPECS;
        row->out = false;
        struct sch_restore r = {.run_id = row->run_id,
                                .action_id = row->id,
                                .name = row->name,
                                .parent = row->parent,
                                .spec = condition ? NULL : &w->specs[p][row->spec],
                                .created_ns = row->created_ns,
                                .realtime_ns = w->now,
                                .timeout_ns = row->timeout_ns,
                                .cache_key = row->key,
                                .priority = row->priority,
                                .queue = queue_names[row->queue],
                                .number = row->ended,
                                .user_failures = row->user_failures,
                                .system_failures = row->system_failures,
                                .deaths = row->deaths,
                                .suspect = row->suspect,
                                .out = row->is_out ? &row->at : NULL,
                                .children_failed = row->children_failed,
                                .child_sequence = row->child_sequence,
                                .sealed = row->sealed};
        struct sch_gang_view gang = {
            .id = row->gang_id, .rank = row->rank, .shape = &row->gang, .on_loss = row->on_loss};
        r.gang = row->gang.size > 0 ? &gang : NULL;
        if (row->live)
            sch_partition_restore_action(site->core, &r);
    }
    sch_partition_restored(site->core, cluster_names, CLUSTERS, w->now);
    sch_partition_check(site->core);
    see_nothing(w, p);
    for (uint32_t i = 0; i <= LEVEL; i++)
        configure(w, p, site->configs[i]);
}

static const char *any_queue(struct world *w)
{
    return queue_names[sy_rng_below(&w->rng, QUEUES)];
}

static void partition_crash(struct world *w, size_t p)
{
    sch_partition_free(sy_take(w->sites[p].core));
    for (size_t i = 0; i < SPECS; i++)
        w->specs[p][i].refs = 0;
    for (size_t c = 0; c < CLUSTERS; c++)
        shard_close(w, p, c);
    partition_start(w, p);
}

static void node_crash(struct world *w, size_t c, size_t n)
{
    node_close(w, c, n);
    w->agents[c][n] = (struct agent){0};
}

/* ---- clients ---- */

static struct sch_action *any_action(struct world *w, size_t p)
{
    struct site *site = &w->sites[p];
    for (int i = 0; i < 20 && site->row_count > 0; i++) {
        const struct row *row = &site->rows[sy_rng_below(&w->rng, site->row_count)];
        struct sch_action *a = sch_partition_find_action_by_id(site->core, row->id);
        ck_assert((a != NULL) == row->live); /* the core and its store agree */
        if (a)
            return a;
    }
    return NULL;
}

/* One in three has a cache key, few are known already. */
static void any_cache(struct world *w, const struct sch_spec *spec, struct sch_event *event)
{
    const uint8_t *key = !spec->group && sy_rng_chance(&w->rng, 1, 3)
                             ? cache_keys[sy_rng_below(&w->rng, KEYS)]
                             : NULL;
    bool instant = sy_rng_chance(&w->rng, 1, 20);
    void *shell = instant ? NULL : (void *)(uintptr_t)key;
    if (event->type == SCH_EVENT_CREATE_RUN) {
        event->u.create.cache_key = key;
        event->u.create.instant = instant;
        event->u.create.shell = shell;
        if (sy_rng_chance(&w->rng, 1, 2))
            event->u.create.concurrency_max = 1 + (uint32_t)sy_rng_below(&w->rng, 3);
    } else {
        event->u.enqueue.cache_key = key;
        event->u.enqueue.instant = instant;
        event->u.enqueue.shell = shell;
    }
}

/* A signal for it, or, when it is no condition, one below it. */
static void any_condition(struct world *w, struct sch_action *a, const char *name,
                          struct sch_event *event)
{
    if (a->sm.state == SCH_ACTION_PAUSED) {
        event->type = SCH_EVENT_SIGNAL;
        event->u.signal.action = a;
        w->signalled++;
        return;
    }
    event->type = SCH_EVENT_CONDITION;
    event->u.condition.parent = a;
    event->u.condition.name = name;
    if (sy_rng_chance(&w->rng, 1, 2)) {
        event->u.condition.timeout_ns = 5 * SY_NS_PER_S;
        event->u.condition.shell = (void *)(uintptr_t)&condition_timeout;
    }
}

/* Two of the larger ones are too large for a cluster together; some, with a timeout, for any. */
static void enqueue_gang(struct world *w, size_t p, struct sch_action *parent)
{
    static const uint32_t specs[] = {0, 1, 2, 3, 6, 7};
    char names[5][32];
    struct sch_gang_member members[5];
    struct sch_spec *spec = &w->specs[p][specs[sy_rng_below(&w->rng, SY_COUNT_OF(specs))]];
    struct sch_gang_shape gang;
    uint32_t topology = (uint32_t)sy_rng_below(&w->rng, 3);
    uint32_t size = 2 + (uint32_t)sy_rng_below(&w->rng, topology == SCH_TOPOLOGY_REQUIRE ? 1 : 4);
    if ((spec == &w->specs[p][3] || spec == &w->specs[p][7]) && size == 5)
        size = 4; /* what could run nowhere would wait for ever after a restart */
    ck_assert_int_eq(sch_gang_shape_init(&gang, size, topology, topology ? "rack" : "", 0, NULL),
                     0);
    for (uint32_t i = 0; i < size; i++) {
        snprintf(names[i], sizeof(names[i]), "g%u", (unsigned)++w->names);
        members[i] = (struct sch_gang_member){.name = names[i], .spec = spec};
    }
    step_partition(w, p,
                   (struct sch_event){.type = SCH_EVENT_ENQUEUE_GANG,
                                      .u.gang = {.parent = parent,
                                                 .shape = &gang,
                                                 .on_loss = sy_rng_chance(&w->rng, 1, 3),
                                                 .members = members,
                                                 .queue = any_queue(w),
                                                 .priority = (int32_t)sy_rng_below(&w->rng, 4)}});
}

static void client(struct world *w, size_t p)
{
    char name[32];
    uint64_t kind = sy_rng_below(&w->rng, 25);
    struct sch_action *a = any_action(w, p);
    bool plain = sy_rng_chance(&w->rng, 3, 4);
    struct sch_spec *spec = &w->specs[p][sy_rng_below(&w->rng, plain ? PLAIN_SPECS : SPECS)];
    if (w->sites[p].row_count + 8 > ROWS_MAX)
        return;
    if (kind >= 22 && a) {
        enqueue_gang(w, p, a);
        return;
    }
    snprintf(name, sizeof(name), "x%u", (unsigned)++w->names);
    struct sch_event event = {.type = SCH_EVENT_TICK};
    if (kind < 3 || !a) {
        event.type = SCH_EVENT_CREATE_RUN;
        event.u.create.project = "p";
        event.u.create.domain = "d";
        event.u.create.name = name;
        event.u.create.queue = any_queue(w);
        event.u.create.spec = spec;
        any_cache(w, spec, &event);
    } else if (kind < 16) {
        event.type = SCH_EVENT_ENQUEUE;
        event.u.enqueue.parent = a;
        event.u.enqueue.name = sy_rng_chance(&w->rng, 1, 20) ? a->name : name;
        event.u.enqueue.spec = spec;
        event.u.enqueue.queue = any_queue(w);
        event.u.enqueue.priority = (int32_t)sy_rng_below(&w->rng, 20) - 10;
        any_cache(w, spec, &event);
    } else if (kind == 16) {
        event.type = SCH_EVENT_RECORD;
        event.u.record.parent = a;
        event.u.record.name = name;
        event.u.record.failed = sy_rng_chance(&w->rng, 1, 2);
    } else if (kind == 17) {
        event.type = SCH_EVENT_ABORT;
        event.u.abort.action = a;
    } else if (kind < 20) {
        any_condition(w, a, name, &event);
    } else {
        event.type = SCH_EVENT_SEAL;
        event.u.seal.action = a;
    }
    step_partition(w, p, event);
    if (event.type == SCH_EVENT_CREATE_RUN)
        audit_admission(w, p, event.u.create.queue, spec, event.u.create.instant);
    else if (event.type == SCH_EVENT_ENQUEUE)
        audit_admission(w, p, event.u.enqueue.queue, spec, event.u.enqueue.instant);
    w->held += sch_partition_counts(w->sites[p].core).held > 0;
}

/* ---- the run ---- */

static void repeat_old(struct world *w, size_t p)
{
    struct site *site = &w->sites[p];
    if (site->old_count == 0)
        return;
    size_t kept = site->old_count < OLD_MAX ? site->old_count : OLD_MAX;
    struct sch_event event = site->old[sy_rng_below(&w->rng, kept)];
    if (w->shard_streams[p][cluster_index(event.u.report.cluster)].open)
        step_partition(w, p, event);
}

static void fault(struct world *w)
{
    size_t p = sy_rng_below(&w->rng, PARTITIONS), c = sy_rng_below(&w->rng, CLUSTERS);
    size_t n = sy_rng_below(&w->rng, NODES);
    switch (sy_rng_below(&w->rng, 12)) {
    case 0:
        partition_crash(w, p);
        break;
    case 1:
        operator_crash(w, c);
        break;
    case 2:
        node_crash(w, c, n);
        break;
    case 3:
    case 4:
        shard_close(w, p, c);
        break;
    case 5:
    case 6:
        node_close(w, c, n);
        break;
    case 7:
        w->now += (int64_t)sy_rng_below(&w->rng, 40) * SY_NS_PER_S; /* everybody stood still */
        break;
    case 8:
        w->now += 10 * SY_NS_PER_S;
        break;
    default:
        repeat_old(w, p);
        break;
    }
}

static void verb(struct world *w, size_t c, size_t n)
{
    static const enum sch_op_event_type types[] = {
        SCH_OP_NODE_CORDON, SCH_OP_NODE_UNCORDON, SCH_OP_NODE_UNCORDON, SCH_OP_NODE_DRAIN,
        SCH_OP_NODE_FENCE,  SCH_OP_NODE_UNFENCE,  SCH_OP_NODE_UNFENCE};
    struct sch_op_event event = {types[sy_rng_below(&w->rng, 7)], .u.verb.node = node_names[n]};
    event.u.verb.deadline_ns = w->now + (int64_t)sy_rng_below(&w->rng, 300) * SY_NS_PER_MS;
    step_operator(w, c, event);
}

/* Every partition that the cluster has a stream with knows at once. */
static void say_of_cluster(struct world *w, size_t c, struct cluster_standing standing)
{
    w->standings[c] = standing;
    for (size_t p = 0; p < PARTITIONS; p++) {
        if (w->shard_streams[p][c].open)
            cluster_up(w, p, c);
    }
}

/* Of a generator of its own. */
static void cluster_verb(struct world *w)
{
    if (!w->drains || !sy_rng_chance(&w->drain_rng, 1, 150))
        return;
    size_t c = sy_rng_below(&w->drain_rng, CLUSTERS);
    uint64_t kind = sy_rng_below(&w->drain_rng, 8);
    struct cluster_standing standing = {.cordoned = kind > 3, .draining = kind > 4};
    standing.drain_ns = kind == 5
                            ? SY_TIME_NEVER
                            : w->now + (int64_t)sy_rng_below(&w->drain_rng, 300) * SY_NS_PER_MS;
    say_of_cluster(w, c, standing);
}

static void connect(struct world *w, size_t p, size_t c, size_t n)
{
    shard_open(w, p, c);
    node_open(w, c, n);
}

static void random_step(struct world *w)
{
    uint64_t kind = sy_rng_below(&w->rng, 1000);
    size_t p = sy_rng_below(&w->rng, PARTITIONS), c = sy_rng_below(&w->rng, CLUSTERS);
    size_t n = sy_rng_below(&w->rng, NODES);
    w->now += (int64_t)sy_rng_below(&w->rng, 3 * SY_NS_PER_MS);
    cluster_verb(w);
    if (kind < 8)
        fault(w);
    else if (kind < 14)
        verb(w, c, n);
    else if (kind < 17 && w->moves)
        configure(w, p, any_config(w));
    else if (kind < 44)
        connect(w, p, c, n);
    else if (kind < 140)
        client(w, p);
    else if (kind < 300)
        agent_progress(w, c, n);
    else
        (void)deliver(w);
    ticks(w);
}

/* Groups wait for a seal, conditions for a signal; the rest ends by itself. */
static void seal_all(struct world *w, size_t p)
{
    struct site *site = &w->sites[p];
    for (size_t i = 0; i < site->row_count; i++) {
        struct sch_action *a = site->rows[i].live
                                   ? sch_partition_find_action_by_id(site->core, site->rows[i].id)
                                   : NULL;
        if (a && a->sm.state == SCH_ACTION_PAUSED)
            step_partition(w, p,
                           (struct sch_event){.type = SCH_EVENT_SIGNAL, .u.signal.action = a});
        else if (a && a->sm.state == SCH_ACTION_GROUP && !a->sealed)
            step_partition(w, p, (struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = a});
    }
}

static bool settled(const struct world *w)
{
    size_t kept = 0;
    for (size_t c = 0; c < CLUSTERS; c++) {
        for (size_t n = 0; n < NODES; n++)
            kept += w->agents[c][n].count;
    }
    for (size_t p = 0; p < PARTITIONS; p++)
        kept += sch_partition_counts(w->sites[p].core).runs_live;
    return kept == 0 && w->blobs == 0;
}

static void heal(struct world *w)
{
    w->healing = true;
    for (size_t c = 0; c < CLUSTERS; c++)
        say_of_cluster(w, c, (struct cluster_standing){0});
    for (size_t p = 0; p < PARTITIONS; p++) {
        for (size_t i = 0; i <= LEVEL; i++)
            configure(w, p, config_of(w, i));
        for (size_t c = 0; c < CLUSTERS; c++) {
            for (size_t n = 0; n < NODES; n++) {
                connect(w, p, c, n);
                struct sch_op_event open = {SCH_OP_NODE_UNFENCE, .u.verb.node = node_names[n]};
                step_operator(w, c, open);
                open.type = SCH_OP_NODE_UNCORDON;
                step_operator(w, c, open);
            }
        }
    }
    int64_t end = w->now + 3600 * SY_NS_PER_S;
    for (int64_t sealed_ns = 0; !settled(w); w->now += SY_NS_PER_MS) {
        ck_assert_msg(w->now < end, "a healed world did not finish its work");
        if (w->now > sealed_ns) {
            seal_all(w, 0);
            seal_all(w, 1);
            sealed_ns = w->now + SY_NS_PER_S;
        }
        for (int i = 0; i < 40; i++)
            (void)deliver(w);
        for (size_t c = 0; c < CLUSTERS; c++)
            agent_progress(w, c, sy_rng_below(&w->rng, NODES));
        ticks(w);
    }
}

static void init_specs(struct sch_spec *specs)
{
    specs[0] = (struct sch_spec){.request = {.cpu_milli = 1000}, .retries = 2};
    specs[1] = (struct sch_spec){
        .request = {.cpu_milli = 2000}, .retries = 1, .backoff_ns = SY_NS_PER_S};
    specs[1].on_partition = SCH_ON_PARTITION_WAIT;
    specs[2] = (struct sch_spec){.request = {.cpu_milli = 3000},
                                 .queued_timeout_ns = 3 * SY_NS_PER_S};
    specs[3] = (struct sch_spec){.request = {.cpu_milli = 100, .environment = "pool"},
                                 .retries = 3};
    specs[4] = (struct sch_spec){.group = true};
    specs[5] = (struct sch_spec){.request = {.cpu_milli = 9000}}; /* fits nowhere */
    specs[5].queued_timeout_ns = 20 * SY_NS_PER_S;
    specs[6] = (struct sch_spec){.request = {.cpu_milli = 500},
                                 .deadline_ns = 2 * SY_NS_PER_S,
                                 .retries = 9,
                                 .backoff_ns = 100 * SY_NS_PER_MS,
                                 .backoff_factor_milli = 1700,
                                 .backoff_cap_ns = SY_NS_PER_S};
    specs[7] = (struct sch_spec){.request = {.cpu_milli = 100, .gpu_milli = 400}};
    specs[8] = (struct sch_spec){.request = {.cpu_milli = 100, .gpus = 1}, .retries = 1};
    specs[9] = (struct sch_spec){.request = {.cpu_milli = 500, .labels = "rack=b"}};
}

/* What the random worlds have done, so that a test that does nothing is seen. */
struct done {
    uint64_t succeeded, reused, held, signalled, drained, preempted, gangs, poisoned, infeasible;
    uint64_t kept, stopped, gangs_stopped, gangs_asked, made, made_used;
    uint64_t asked_back, drains_stopped;
};

static struct world *world_new(uint64_t seed, uint32_t looks)
{
    struct world *w = sy_new(struct world);
    sy_rng_init(&w->rng, seed);
    w->looks = looks;
    w->now = SY_NS_PER_S;
    sy_rng_init(&w->drain_rng, seed ^ 0xd4a1);
    w->strict = seed % 2 == 0;
    w->prefers = seed % 3 == 0;
    w->policy = (enum sch_policy)(seed % SCH_POLICIES);
    w->reserves = seed % 3 == 1;
    w->spot = seed % 4 < 2;
    w->moves = seed % 5 < 2;
    for (size_t c = 0; c < CLUSTERS; c++)
        operator_start(w, c);
    for (size_t p = 0; p < PARTITIONS; p++) {
        init_specs(w->specs[p]);
        for (size_t i = 0; i <= LEVEL; i++)
            w->sites[p].configs[i] = config_of(w, i);
        partition_start(w, p);
    }
    return w;
}

static void world_free(struct world *w)
{
    for (size_t p = 0; p < PARTITIONS; p++)
        sch_partition_free(w->sites[p].core);
    for (size_t c = 0; c < CLUSTERS; c++) {
        sch_operator_free(w->operators[c]);
        for (size_t p = 0; p < PARTITIONS; p++) {
            queue_free(&w->shard_streams[p][c].up);
            queue_free(&w->shard_streams[p][c].down);
        }
        for (size_t n = 0; n < NODES; n++) {
            queue_free(&w->node_streams[c][n].up);
            queue_free(&w->node_streams[c][n].down);
        }
    }
    ck_assert_uint_eq(w->blobs, 0);
    sch_effects_deinit(&w->fx);
    sch_op_effects_deinit(&w->op_fx);
    free(w);
}

static uint64_t run_seed(uint64_t seed, bool drains, struct done *done)
{
    struct world *w = world_new(seed, 1);
    w->drains = drains;
    for (unsigned i = 0; i < STEPS; i++)
        random_step(w);
    heal(w);
    uint64_t hash = w->hash ^ w->finished;
    done->succeeded += w->succeeded;
    done->reused += w->reused;
    done->held += w->held;
    done->drained += w->drained;
    done->preempted += w->preempted;
    done->signalled += w->signalled;
    done->gangs += w->gangs;
    done->poisoned += w->poisoned;
    done->infeasible += w->infeasible;
    done->kept += w->kept;
    done->stopped += w->stopped;
    done->gangs_stopped += w->gangs_stopped;
    done->gangs_asked += w->gangs_asked;
    done->made += w->made;
    done->made_used += w->made_used;
    done->asked_back += w->asked_back;
    done->drains_stopped += w->drains_stopped;
    for (size_t p = 0; p < PARTITIONS; p++) {
        for (size_t i = 0; i < SPECS; i++)
            ck_assert_uint_eq(w->specs[p][i].refs, 0);
    }
    world_free(w);
    return hash;
}

/* Work stops for others in one world of seven, so forty may come to it hardly at all: those that a
 * run looks at when it is told no others do, several times. */
#define FIRST 281

START_TEST(random_worlds_keep_the_promises)
{
    const char *only = getenv("SCH_SEED"), *count = getenv("SCH_SEEDS");
    uint64_t first = only ? strtoull(only, NULL, 10) : count ? 1 : FIRST;
    uint64_t seeds = count ? strtoull(count, NULL, 10) : only ? 1 : 40;
    struct done done = {0};
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        uint64_t before = done.succeeded;
        if (only || count)
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        uint64_t hash = run_seed(seed, false, &done);
        ck_assert_uint_ge(done.succeeded, before + 20); /* the test does something */
        ck_assert_msg(hash == run_seed(seed, false, &done), "seed %llu differs from itself",
                      (unsigned long long)seed);
    }
    ck_assert(seeds < 10 || (done.reused > 0 && done.held > 0 && done.signalled > 0));
    ck_assert(seeds < 10 || (done.drained > 0 && done.preempted > 0 && done.gangs > 20));
    ck_assert(seeds < 20 || (done.poisoned > 0 && done.infeasible > 0));
    ck_assert(seeds < 10 || done.kept > 10);
    ck_assert(only || count || (done.stopped > 4 && done.made > 4 && done.made_used > 2));
    ck_assert(seeds < 100 || (done.made > 10 && done.made_used > 5));
    ck_assert(seeds < 100 || (done.stopped > 10 && done.gangs_asked > 0));
    ck_assert(seeds < 200 || (done.stopped > 20 && done.gangs_stopped > 0));
    if (only || count)
        fprintf(stderr,
                "stopped %llu, of gangs %llu, asked for gangs %llu, poisoned %llu, room made %llu, "
                "used %llu\n",
                (unsigned long long)done.stopped, (unsigned long long)done.gangs_stopped,
                (unsigned long long)done.gangs_asked, (unsigned long long)done.poisoned,
                (unsigned long long)done.made, (unsigned long long)done.made_used);
}
END_TEST

START_TEST(clusters_are_drained_in_random_worlds)
{
    struct done done = {0};
    for (uint64_t seed = 1; seed <= 4; seed++) {
        uint64_t hash = run_seed(seed, true, &done);
        ck_assert_msg(hash == run_seed(seed, true, &done), "seed %llu differs from itself",
                      (unsigned long long)seed);
    }
    ck_assert(done.succeeded > 80 && done.asked_back > 20 && done.drains_stopped > 20);
}
END_TEST

/* ---- who has, and who wants ---- */

static void connect_all(struct world *w)
{
    for (size_t c = 0; c < CLUSTERS; c++) {
        for (size_t n = 0; n < NODES; n++) {
            for (size_t p = 0; p < PARTITIONS; p++)
                connect(w, p, c, n);
        }
    }
}

/* Nothing ends by itself, and nothing breaks. */
static void quiet(struct world *w, int64_t ns)
{
    for (int64_t end = w->now + ns; w->now < end; w->now += 50 * SY_NS_PER_MS) {
        for (unsigned i = 0, silent = 0; i < 400 && silent < 40; i++)
            silent = deliver(w) ? 0 : silent + 1;
        ticks(w);
    }
}

static struct sch_action *quiet_run_of(struct world *w, size_t p, struct sch_spec *spec,
                                       const char *queue)
{
    char name[32];
    snprintf(name, sizeof(name), "q%u", (unsigned)++w->names);
    step_partition(
        w, p,
        (struct sch_event){
            .type = SCH_EVENT_CREATE_RUN,
            .u.create = {
                .project = "p", .domain = "d", .name = name, .spec = spec, .queue = queue}});
    struct sch_run *run = sch_partition_find_run(w->sites[p].core, "p", "d", name);
    return run ? sch_partition_find_action(w->sites[p].core, run, SCH_ROOT_NAME) : NULL;
}

static struct sch_action *quiet_run(struct world *w, size_t p, struct sch_spec *spec)
{
    return quiet_run_of(w, p, spec, any_queue(w));
}

/* Single tasks and gangs of all queues ask for more than there is, and run for ever: after a while
 * everybody has what is his. Room that was made is kept for who asked; what the rules of several
 * partitions still take from each other is asked for again after twice as long each time. */
START_TEST(nobody_takes_the_same_room_in_turns)
{
    const char *only = getenv("SCH_SEED"), *count = getenv("SCH_SEEDS");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1;
    uint64_t seeds = count ? strtoull(count, NULL, 10) : only ? 1 : 14;
    uint64_t stopped = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        struct world *w = world_new(seed, seed % 5 < 3 ? (uint32_t)(seed % 5) : 0);
        w->healing = true;
        connect_all(w);
        for (unsigned i = 0; i < 40; i++) {
            size_t p = sy_rng_below(&w->rng, PARTITIONS);
            if (sy_rng_chance(&w->rng, 1, 3))
                enqueue_gang(w, p, quiet_run(w, p, &w->specs[p][4]));
            else
                quiet_run(w, p, &w->specs[p][sy_rng_below(&w->rng, 2)]);
            quiet(w, (int64_t)sy_rng_below(&w->rng, SY_NS_PER_S));
        }
        quiet(w, 120 * SY_NS_PER_S);
        uint64_t before = w->stopped;
        quiet(w, 240 * SY_NS_PER_S);
        ck_assert_msg(w->stopped - before <= 10, /* two gangs, once */
                      "seed %llu: %llu more were stopped", (unsigned long long)seed,
                      (unsigned long long)(w->stopped - before));
        stopped += w->stopped;
        world_free(w);
    }
    ck_assert(seeds < 14 || stopped > 20);
}
END_TEST

/* ---- what few random worlds come to, in worlds that come to nothing else ---- */

static void quiet_gang(struct world *w, size_t p, struct sch_spec *spec, uint32_t size,
                       const char *queue)
{
    static const char *const names[] = {"g0", "g1", "g2", "g3"};
    struct sch_gang_member members[SY_COUNT_OF(names)];
    struct sch_gang_shape gang;
    ck_assert_int_eq(sch_gang_shape_init(&gang, size, SCH_TOPOLOGY_NONE, "", 0, NULL), 0);
    for (uint32_t i = 0; i < size; i++)
        members[i] = (struct sch_gang_member){.name = names[i], .spec = spec};
    step_partition(w, p,
                   (struct sch_event){.type = SCH_EVENT_ENQUEUE_GANG,
                                      .u.gang = {.parent = quiet_run(w, p, &w->specs[p][4]),
                                                 .shape = &gang,
                                                 .on_loss = SCH_ON_LOSS_RESTART_ALL,
                                                 .members = members,
                                                 .queue = queue}});
}

static uint64_t running(const struct world *w)
{
    return sch_partition_counts(w->sites[0].core).running +
           sch_partition_counts(w->sites[1].core).running;
}

#define ALL_CORES (CLUSTERS * NODES * CORES)

/* All cores run what may be stopped: tasks of one core, or of two cores in gangs of two. */
static struct world *full_world(uint64_t seed, bool gangs)
{
    struct world *w = world_new(seed, (uint32_t)(seed % 3));
    w->healing = true;
    connect_all(w);
    quiet(w, SY_NS_PER_S);
    for (size_t i = 0; i < (gangs ? ALL_CORES / 4 : ALL_CORES); i++) {
        if (gangs)
            quiet_gang(w, 0, &w->specs[0][1], 2, "spare");
        else
            quiet_run_of(w, 0, &w->specs[0][0], "spare");
        quiet(w, SY_NS_PER_S / 2);
    }
    for (unsigned i = 0; running(w) < (gangs ? ALL_CORES / 2 : ALL_CORES); i++) {
        ck_assert_uint_lt(i, 70); /* a gang may be in the full cluster, and goes back after 60 s */
        quiet(w, SY_NS_PER_S);
    }
    ck_assert_uint_eq(w->stopped, 0);
    return w;
}

START_TEST(work_stops_for_tasks_and_gangs_that_are_before_it)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world *w = full_world(seed, false);
        for (uint64_t i = 1; i <= 3; i++) { /* of two cores each, so two stop */
            struct sch_action *a = quiet_run_of(w, 0, &w->specs[0][1], "firm");
            quiet(w, 5 * SY_NS_PER_S);
            ck_assert_int_eq(a->sm.state, SCH_ACTION_RUNNING);
            ck_assert_uint_ge(w->stopped,
                              2 * i); /* both clusters may be asked before one answers */
            ck_assert_uint_le(w->stopped, 4 * i);
            ck_assert_uint_eq(w->made_used, i);
        }
        ck_assert_uint_eq(w->made, w->stopped);
        ck_assert_uint_eq(w->gangs_asked, 0);
        uint64_t gangs = w->gangs, stopped = w->stopped;
        quiet_gang(w, 0, &w->specs[0][1], 2, "firm");
        quiet(w, 5 * SY_NS_PER_S);
        ck_assert_uint_eq(w->gangs, gangs + 1);
        ck_assert_uint_gt(w->gangs_asked, 0);
        ck_assert_uint_gt(w->stopped, stopped);
        ck_assert_uint_eq(w->gangs_stopped, 0);
        world_free(w);
    }
}
END_TEST

START_TEST(gangs_stop_whole_for_tasks_and_gangs_that_are_before_them)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world *w = full_world(seed, true);
        struct sch_action *a = quiet_run_of(w, 0, &w->specs[0][1], "firm");
        quiet(w, 5 * SY_NS_PER_S);
        ck_assert_int_eq(a->sm.state, SCH_ACTION_RUNNING);
        ck_assert_uint_eq(w->gangs_stopped, 2);
        ck_assert_uint_eq(w->made_used, 1);
        uint64_t gangs = w->gangs;
        quiet_gang(w, 0, &w->specs[0][1], 4, "firm"); /* all cores but four, or six, are others' */
        quiet(w, 5 * SY_NS_PER_S);
        ck_assert_uint_eq(w->gangs, gangs + 1);
        ck_assert_uint_gt(w->gangs_asked, 0);
        ck_assert_uint_gt(w->gangs_stopped, 2);
        ck_assert_uint_eq(w->gangs_stopped, w->stopped);
        world_free(w);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {random_worlds_keep_the_promises,
                                  clusters_are_drained_in_random_worlds,
                                  work_stops_for_tasks_and_gangs_that_are_before_it,
                                  gangs_stop_whole_for_tasks_and_gangs_that_are_before_them,
                                  nobody_takes_the_same_room_in_turns,
                                  NULL};
    return sy_test_run("sch_random", tests);
}
