/* links: cp dp sy_test_etcd */
/* Partitions are split while tasks run: a real operator, and an agent that holds what it is given.
 * What it has goes on: nothing is started twice, cancelled, or lost; the ends, and the calls of
 * tasks, reach the half that has their run. */
#define ROOM 12
#include "dataplane/operator.h"
#include "tests/unit/cp_region_world.h"

#include "switchyard/internal/dataplane.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"

#define REGION "/switchyard.v1.RegionService/"
#define RUNS 48

struct held {
    char run[64];
    uint64_t action;
    uint32_t partition, number, epoch;
    bool ended; /* told, and not acknowledged yet */
    bool acked;
};

/* The operator of a cluster, and the agent of its one node. */
static struct cluster {
    struct world *world;
    struct dp_operator *op;
    struct sy_channel *channel;
    struct sy_call *call; /* NULL: the agent is not connected */
    struct sy_timer beat;
    struct held held[2 * RUNS];
    size_t count, cancels, ends;
    unsigned life;
} cluster;

typedef Switchyard__Internal__NodeMessage NodeMessage;
typedef Switchyard__Internal__AgentMessage AgentMessage;

/* ---- the agent ---- */

static void say(struct cluster *c, AgentMessage *m)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = {0};
    pb_pack(&m->base, &bytes);
    if (c->call != NULL)
        ck_assert_int_eq(sy_call_send(c->call, &bytes), 0);
}

static void start(struct cluster *c, const struct held *held)
{
    AgentMessage m = SWITCHYARD__INTERNAL__AGENT_MESSAGE__INIT;
    Switchyard__Internal__Started one = SWITCHYARD__INTERNAL__STARTED__INIT, *list[] = {&one};
    one.partition = held->partition;
    one.action = held->action;
    one.number = held->number;
    one.epoch = held->epoch;
    one.started_ns = realtime(c->world);
    m.started = list;
    m.n_started = 1;
    say(c, &m);
}

static void end(struct cluster *c, struct held *held)
{
    AgentMessage m = SWITCHYARD__INTERNAL__AGENT_MESSAGE__INIT;
    Switchyard__Internal__Outcome one = SWITCHYARD__INTERNAL__OUTCOME__INIT, *list[] = {&one};
    one.partition = held->partition;
    one.action = held->action;
    one.number = held->number;
    one.epoch = held->epoch;
    one.kind = SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_SUCCEEDED;
    one.started_ns = one.finished_ns = realtime(c->world);
    one.node = text_of("n1");
    m.outcomes = list;
    m.n_outcomes = 1;
    held->ended = true;
    say(c, &m);
}

static struct held *find(struct cluster *c, uint32_t partition, uint64_t action, uint32_t number,
                         uint32_t epoch)
{
    for (size_t i = 0; i < c->count; i++) {
        struct held *h = &c->held[i];
        if (h->partition == partition && h->action == action && h->number == number &&
            h->epoch == epoch)
            return h;
    }
    return NULL;
}

static void on_node_message(void *ctx, struct sy_span bytes)
{
    struct cluster *c = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, 16 << 20);
    const NodeMessage *m = pb_unpack(&switchyard__internal__node_message__descriptor, &arena,
                                     bytes);
    ck_assert_ptr_nonnull(m);
    for (size_t i = 0; i < m->n_assignments; i++) {
        const Switchyard__Internal__Assignment *a = m->assignments[i];
        for (size_t k = 0; k < c->count; k++)
            ck_assert_msg(strcmp(c->held[k].run, a->run) != 0, "%s is started again", a->run);
        ck_assert_uint_lt(c->count, SY_COUNT_OF(c->held));
        struct held *held = &c->held[c->count++];
        *held = (struct held){"", a->action, a->partition, a->number, a->epoch, false, false};
        snprintf(held->run, sizeof(held->run), "%s", a->run);
        start(c, held);
    }
    for (size_t i = 0; i < m->n_acks; i++) {
        struct held *held = find(c, m->acks[i]->partition, m->acks[i]->action, m->acks[i]->number,
                                 m->acks[i]->epoch);
        ck_assert_ptr_nonnull(held);
        ck_assert_msg(held->ended, "%s is forgotten while it runs", held->run);
        held->acked = true;
    }
    c->cancels += m->n_cancels;
    sy_arena_deinit(&arena);
}

static void on_node_closed(void *ctx, const struct sy_status *status)
{
    struct cluster *c = ctx;
    (void)status;
    sy_call_unref(sy_take(c->call));
}

static void on_beat(void *arg)
{
    struct cluster *c = arg;
    AgentMessage m = SWITCHYARD__INTERNAL__AGENT_MESSAGE__INIT;
    m.heartbeat = true;
    say(c, &m);
    sy_timer_start_in(c->world->loop, &c->beat, 500 * MS);
}

static void attend(struct cluster *c)
{
    static const struct sy_call_sink sink = {.on_message = on_node_message,
                                             .on_closed = on_node_closed};
    AgentMessage m = SWITCHYARD__INTERNAL__AGENT_MESSAGE__INIT;
    Switchyard__Internal__AgentHello hello = SWITCHYARD__INTERNAL__AGENT_HELLO__INIT;
    Switchyard__Internal__Resources capacity = SWITCHYARD__INTERNAL__RESOURCES__INIT;
    Switchyard__Internal__Resources request = SWITCHYARD__INTERNAL__RESOURCES__INIT;
    Switchyard__Internal__InventoryEntry entries[2 * RUNS], *list[2 * RUNS];
    hello.node = text_of("n1");
    hello.boot_id = text_of("boot");
    hello.session = text_of("s1");
    capacity.cpu_milli = 1000000;
    capacity.memory_bytes = 1ull << 40;
    hello.capacity = &capacity;
    request.cpu_milli = 1000;
    for (size_t i = 0; i < c->count; i++) {
        const struct held *h = &c->held[i];
        if (h->ended)
            continue;
        switchyard__internal__inventory_entry__init(&entries[i]);
        entries[i].partition = h->partition;
        entries[i].action = h->action;
        entries[i].number = h->number;
        entries[i].epoch = h->epoch;
        entries[i].started = true;
        entries[i].started_ns = realtime(c->world);
        entries[i].request = &request;
        list[m.n_inventory++] = &entries[i];
    }
    m.hello = &hello;
    m.inventory = list;
    sy_rpc_mem_set_origin(c->world->rpc, "agent");
    c->call = sy_channel_open(
        c->channel, c->world->loop,
        &(struct sy_call_options){.method = "/switchyard.internal.DataPlane/Attend"}, &sink, c);
    say(c, &m);
    for (size_t i = 0; i < c->count; i++) {
        if (c->held[i].ended && !c->held[i].acked)
            end(c, &c->held[i]);
    }
}

/* ---- the operator ---- */

static void start_operator(struct cluster *c)
{
    static const char *const shards[] = {"shard-0:8090", "shard-1:8090", "shard-2:8090", NULL};
    struct dp_operator_options options = {.cluster = "c1",
                                          .listen = "operator:8091",
                                          .endpoint = "operator:8091",
                                          .shards = shards,
                                          .core = {.join_grace_ns = SY_NS_PER_S}};
    struct dp_operator_ports ports = {
        .rpc = c->world->rpc, .loop = c->world->loop, .seed = ++c->life};
    struct sy_error_text error = {0};
    sy_rpc_mem_set_origin(c->world->rpc, "operator");
    ck_assert_msg(dp_operator_new(&c->op, &options, &ports, &error) == 0, "%s", error.text);
    attend(c);
}

static void kill_operator(struct cluster *c)
{
    sy_rpc_mem_kill(c->world->rpc, "operator");
    sy_rpc_mem_kill(c->world->rpc, "operator:8091");
    dp_operator_free(sy_take(c->op));
    UNTIL(c->world, c->call == NULL);
}

static void open_cluster(struct cluster *c, struct world *w)
{
    *c = (struct cluster){.world = w};
    sy_rpc_mem_set_origin(w->rpc, "agent");
    c->channel = sy_channel_new(w->rpc, "operator:8091");
    sy_timer_init(&c->beat, on_beat, c);
    sy_timer_start_in(w->loop, &c->beat, 500 * MS);
    start_operator(c);
}

static void close_cluster(struct cluster *c)
{
    sy_timer_stop(c->world->loop, &c->beat);
    if (c->op != NULL)
        kill_operator(c);
    sy_channel_free(c->channel);
}

/* ---- tests ---- */

static void split(struct world *w, size_t shard, uint32_t partition)
{
    Switchyard__V1__SplitPartitionRequest m = SWITCHYARD__V1__SPLIT_PARTITION_REQUEST__INIT;
    m.partition = partition;
    struct call *c = send_call(w, shard, REGION "SplitPartition", &m.base);
    c->reads = true;
    expect_ok(w, c);
    forget_call(w);
}

static void make_runs(struct world *w, size_t count)
{
    for (size_t i = 0; i < count; i++)
        create_some(w, some_shard(w));
}

static size_t acked(const struct cluster *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++)
        count += c->held[i].acked;
    return count;
}

/* Each run of the load has succeeded, with its first attempt. */
static void check_ends(struct world *w)
{
    size_t count = w->call_count;
    for (size_t i = 0; i < count; i++) {
        struct call *c = &w->calls[i];
        ck_assert_msg(c->reads || c->code == SY_CODE_OK, "%s: %s", c->run, c->text);
        struct call *reading = read_run(w, some_shard(w), c->run);
        expect_ok(w, reading);
        struct sy_arena arena;
        sy_arena_init(&arena, 1 << 20);
        const Flyteidl2__Workflow__GetRunDetailsResponse *m = pb_unpack(
            &flyteidl2__workflow__get_run_details_response__descriptor, &arena,
            sy_buf_span(&reading->answer));
        ck_assert_ptr_nonnull(m);
        ck_assert_int_eq(m->details->action->status->phase,
                         FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_SUCCEEDED);
        ck_assert_uint_eq(m->details->action->status->attempts, 1);
        sy_arena_deinit(&arena);
        forget_call(w);
    }
}

static void end_all(struct cluster *c)
{
    struct world *w = c->world;
    for (size_t i = 0; i < c->count; i++) {
        if (!c->held[i].ended)
            end(c, &c->held[i]);
    }
    UNTIL(w, acked(c) == c->count);
    ck_assert_uint_eq(c->cancels, 0);
    check_ends(w);
}

START_TEST(what_runs_goes_on_in_the_half_that_has_it)
{
    struct world *w = &world;
    struct cluster *c = &cluster;
    open_world(w, 1);
    open_cluster(c, w);
    make_runs(w, RUNS);
    UNTIL(w, c->count == RUNS);
    for (uint32_t i = 0; i < PARTITIONS; i++)
        split(w, i % SHARDS, i);
    run_for(w, 20 * SY_NS_PER_S); /* leases, waits for inventories: all would be over */
    ck_assert_uint_eq(c->count, RUNS);
    end_all(c);
    close_cluster(c);
    close_world(w);
}
END_TEST

/* What ends while nobody has its partition is told to the half that does then. */
START_TEST(what_ends_meanwhile_is_told_to_its_half)
{
    struct world *w = &world;
    struct cluster *c = &cluster;
    open_world(w, 2);
    open_cluster(c, w);
    make_runs(w, RUNS);
    UNTIL(w, c->count == RUNS);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        Switchyard__V1__SplitPartitionRequest m = SWITCHYARD__V1__SPLIT_PARTITION_REQUEST__INIT;
        m.partition = i;
        struct call *call = send_call(w, 0, REGION "SplitPartition", &m.base);
        call->reads = true;
        for (size_t k = i; k < RUNS; k += PARTITIONS) {
            run_for(w, (int64_t)sy_rng_below(&w->rng, 8 * MS));
            end(c, &c->held[k]);
        }
        expect_ok(w, call);
        forget_call(w);
    }
    end_all(c);
    close_cluster(c);
    close_world(w);
}
END_TEST

/* An operator that knows of nothing hears from its agents what runs, under names of before. */
START_TEST(an_operator_that_restarts_finds_the_halves)
{
    struct world *w = &world;
    struct cluster *c = &cluster;
    open_world(w, 3);
    open_cluster(c, w);
    make_runs(w, RUNS);
    UNTIL(w, c->count == RUNS);
    for (uint32_t i = 0; i < PARTITIONS / 2; i++)
        split(w, 0, i);
    for (uint32_t i = 0; i < 2; i++) /* again, each half that is new */
        split(w, 1, PARTITIONS + i);
    kill_operator(c);
    run_for(w, 3 * SY_NS_PER_S);
    for (size_t k = 0; k < RUNS; k += 3)
        c->held[k].ended = true; /* its agent keeps it */
    start_operator(c);
    run_for(w, 20 * SY_NS_PER_S);
    ck_assert_uint_eq(c->count, RUNS);
    end_all(c);
    close_cluster(c);
    close_world(w);
}
END_TEST

/* A split whose shard is killed in the middle, at any moment. */
START_TEST(a_shard_that_dies_in_a_split_restarts_nothing)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world *w = &world;
        struct cluster *c = &cluster;
        open_world(w, seed);
        open_cluster(c, w);
        make_runs(w, RUNS);
        UNTIL(w, c->count == RUNS);
        uint32_t partition = (uint32_t)(seed % PARTITIONS);
        size_t owner = 0;
        while (!cp_partition_serving(cp_shard_partition(w->shards[owner].shard, partition)))
            owner++;
        Switchyard__V1__SplitPartitionRequest m = SWITCHYARD__V1__SPLIT_PARTITION_REQUEST__INIT;
        m.partition = partition;
        struct call *call = send_call(w, owner, REGION "SplitPartition", &m.base);
        call->reads = true;
        run_for(w, (int64_t)seed * 2 * MS);
        kill_shard(w, owner);
        run_for(w, 6 * SY_NS_PER_S);
        start_shard(w, owner);
        run_for(w, 20 * SY_NS_PER_S);
        forget_call(w);
        ck_assert_uint_eq(c->count, RUNS);
        end_all(c);
        close_cluster(c);
        close_world(w);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_runs_goes_on_in_the_half_that_has_it,
                                  what_ends_meanwhile_is_told_to_its_half,
                                  an_operator_that_restarts_finds_the_halves,
                                  a_shard_that_dies_in_a_split_restarts_nothing, NULL};
    return sy_test_run("region_split_running", tests);
}
