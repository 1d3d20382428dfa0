/* links: cp sy_test_etcd */
/* The limit of a queue holds over all partitions of a region of several shards, whatever fails. One
 * cluster's operator, one stream for each partition, follows the partitions; it keeps what it was
 * given until it has ended, whoever has the partition by then. */
#include "tests/unit/cp_region_world.h"

#include "controlplane/queues.h"

#include "switchyard/internal/dataplane.pb-c.h"
#include "switchyard/v1/queue_service.pb-c.h"

enum { LIMIT = 4, RUNS = 60, HELD = 64 };

typedef Switchyard__Internal__OperatorMessage OperatorMessage;
typedef Switchyard__Internal__ShardMessage ShardMessage;

struct held {
    uint64_t action;
    uint32_t number, epoch, class;
};

struct stream {
    struct sy_call *call; /* NULL: none */
    uint32_t partition;
    uint32_t epoch; /* the newest that it was told of */
    struct held held[HELD];
    size_t count;
};

struct cluster {
    struct world *world;
    struct stream streams[PARTITIONS];
    int64_t beat_ns;
    size_t ended, most;
};

static struct cluster cluster;

static size_t running(const struct cluster *c)
{
    size_t count = 0;
    for (uint32_t i = 0; i < PARTITIONS; i++)
        count += c->streams[i].count;
    return count;
}

static void say(struct stream *s, const OperatorMessage *m)
{
    struct sy_buf bytes = {0};
    pb_pack(&m->base, &bytes);
    ck_assert_int_eq(sy_call_send(s->call, &bytes), 0);
}

/* ---- what shards say ---- */

static void grant(struct stream *s, const ShardMessage *in)
{
    OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__Grant one = SWITCHYARD__INTERNAL__GRANT__INIT;
    Switchyard__Internal__Grant *grants[] = {&one};
    m.grants = grants;
    m.n_grants = 1;
    one.granted = 1000000;
    for (size_t i = 0; i < in->n_demands; i++) {
        one.class_ = in->demands[i]->class_;
        say(s, &m);
    }
}

static void take(struct stream *s, const ShardMessage *in)
{
    for (size_t i = 0; i < in->n_assignments; i++) {
        const Switchyard__Internal__Assignment *a = in->assignments[i];
        ck_assert_uint_lt(s->count, HELD);
        s->held[s->count++] = (struct held){a->action, a->number, a->epoch, a->class_};
    }
    size_t now = running(&cluster);
    ck_assert_msg(now <= LIMIT, "%zu run, the limit is %d", now, LIMIT);
    cluster.most = now > cluster.most ? now : cluster.most;
}

static void cancel(struct stream *s, const ShardMessage *in)
{
    for (size_t i = 0; i < in->n_cancels; i++) {
        for (size_t k = 0; k < s->count; k++) {
            if (s->held[k].action == in->cancels[i]->action &&
                s->held[k].number == in->cancels[i]->number &&
                s->held[k].epoch == in->cancels[i]->epoch)
                s->held[k--] = s->held[--s->count];
        }
    }
}

static void on_shard_message(void *ctx, struct sy_span bytes)
{
    struct stream *s = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, 16 << 20);
    const ShardMessage *in = pb_unpack(&switchyard__internal__shard_message__descriptor, &arena,
                                       bytes);
    ck_assert_ptr_nonnull(in);
    if (in->welcome != NULL)
        s->epoch = in->welcome->epoch;
    grant(s, in);
    cancel(s, in);
    take(s, in);
    sy_arena_deinit(&arena);
}

static void on_stream_closed(void *ctx, const struct sy_status *status)
{
    struct stream *s = ctx;
    (void)status;
    sy_call_unref(sy_take(s->call));
}

/* ---- what it says ---- */

static void say_hello(struct stream *s)
{
    OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__OperatorHello hello = SWITCHYARD__INTERNAL__OPERATOR_HELLO__INIT;
    Switchyard__Internal__NodeShape shape = SWITCHYARD__INTERNAL__NODE_SHAPE__INIT;
    Switchyard__Internal__NodeShape *shapes[] = {&shape};
    Switchyard__Internal__Resources capacity = SWITCHYARD__INTERNAL__RESOURCES__INIT;
    Switchyard__Internal__InventoryEntry entries[HELD], *inventory[HELD];
    hello.partition = s->partition;
    hello.cluster = text_of("c1");
    hello.session = text_of("s1");
    hello.endpoint = text_of("cluster-1:9000");
    hello.max_epoch = s->epoch;
    capacity.cpu_milli = 64000;
    capacity.memory_bytes = 64ull << 30;
    shape.capacity = &capacity;
    shape.nodes = 4;
    for (size_t i = 0; i < s->count; i++) {
        switchyard__internal__inventory_entry__init(&entries[i]);
        entries[i].partition = s->partition;
        entries[i].action = s->held[i].action;
        entries[i].number = s->held[i].number;
        entries[i].epoch = s->held[i].epoch;
        entries[i].class_ = s->held[i].class;
        entries[i].request = &capacity;
        inventory[i] = &entries[i];
    }
    m.hello = &hello;
    m.shapes_set = m.inventory_complete = true;
    m.n_shapes = 1;
    m.shapes = shapes;
    m.n_inventory = s->count;
    m.inventory = inventory;
    say(s, &m);
}

static void attach(struct cluster *c, struct stream *s)
{
    static const struct sy_call_sink sink = {.on_message = on_shard_message,
                                             .on_closed = on_stream_closed};
    struct world *w = c->world;
    char number[16];
    snprintf(number, sizeof(number), "%u", s->partition);
    struct sy_metadata metadata = {"x-switchyard-partition", number};
    struct sy_call_options options = {.method = "/switchyard.internal.ControlPlane/Operate",
                                      .metadata = &metadata,
                                      .metadata_count = 1};
    for (size_t i = 0; i < SHARDS && s->call == NULL; i++) {
        const struct shard *shard = &w->shards[i];
        if (shard->shard == NULL || shard->paused ||
            !cp_partition_serving(cp_shard_partition(shard->shard, s->partition)))
            continue;
        s->call = sy_channel_open(shard->channel, w->loop, &options, &sink, s);
        say_hello(s);
    }
}

/* One that runs has ended; who is not told now finds it gone from the inventory, and has it run
 * again. */
static void end_one(struct cluster *c)
{
    struct stream *s = &c->streams[sy_rng_below(&c->world->rng, PARTITIONS)];
    if (s->count == 0 || s->call == NULL)
        return;
    struct held held = s->held[--s->count];
    OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__Outcome outcome = SWITCHYARD__INTERNAL__OUTCOME__INIT;
    Switchyard__Internal__Outcome *outcomes[] = {&outcome};
    outcome.partition = s->partition;
    outcome.action = held.action;
    outcome.number = held.number;
    outcome.epoch = held.epoch;
    outcome.kind = SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_SUCCEEDED;
    outcome.node = text_of("n1");
    outcome.started_ns = outcome.finished_ns = realtime(c->world);
    m.n_outcomes = 1;
    m.outcomes = outcomes;
    say(s, &m);
    c->ended++;
}

static void cluster_for(struct cluster *c, int64_t ns)
{
    struct world *w = c->world;
    for (int64_t end_ns = w->now_ns + ns; w->now_ns < end_ns; run_for(w, 10 * MS)) {
        bool beats = c->beat_ns <= w->now_ns;
        OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
        m.heartbeat = true;
        for (uint32_t i = 0; i < PARTITIONS; i++) {
            struct stream *s = &c->streams[i];
            s->partition = i;
            if (s->call == NULL)
                attach(c, s);
            else if (beats)
                say(s, &m);
        }
        if (beats)
            c->beat_ns = w->now_ns + SY_NS_PER_S;
    }
}

static void cluster_end(struct cluster *c)
{
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        if (c->streams[i].call != NULL)
            sy_call_unref(c->streams[i].call);
    }
}

/* ---- a region with work ---- */

static struct call *limit_queue(struct world *w, size_t shard, const char *method, uint64_t limit)
{
    Switchyard__V1__UpdateQueueRequest m = SWITCHYARD__V1__UPDATE_QUEUE_REQUEST__INIT;
    Switchyard__V1__QueueId id = SWITCHYARD__V1__QUEUE_ID__INIT;
    Switchyard__V1__QueueSettings settings = SWITCHYARD__V1__QUEUE_SETTINGS__INIT;
    id.project = text_of("p");
    id.domain = text_of("d");
    id.name = text_of("default");
    settings.actions_max = limit;
    m.id = &id;
    m.settings = &settings;
    struct call *c = send_call(w, shard, method, &m.base);
    c->reads = true;
    return c;
}

static void open_busy(struct world *w, struct cluster *c, uint64_t seed)
{
    *c = (struct cluster){.world = w};
    open_world(w, seed);
    expect_ok(w, limit_queue(w, 0, "/switchyard.v1.QueueService/CreateQueue", LIMIT));
    for (size_t i = 0; i < RUNS; i++) {
        struct call *made = create_some(w, i % SHARDS);
        expect_ok(w, made);
    }
}

static uint64_t runs_live(const struct world *w)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        for (size_t s = 0; s < SHARDS; s++) {
            struct cp_partition *p = cp_shard_partition(w->shards[s].shard, i);
            if (cp_partition_serving(p))
                count += cp_partition_counts(p).runs_live;
        }
    }
    return count;
}

/* All of it runs, and the limit is used whenever there is as much. */
static void run_to_the_end(struct world *w, struct cluster *c)
{
    size_t full = 0, looks = 0;
    for (int64_t limit_ns = w->now_ns + 300 * SY_NS_PER_S; runs_live(w) > 0;) {
        ck_assert_msg(w->now_ns < limit_ns, "%llu runs have no end",
                      (unsigned long long)runs_live(w));
        cluster_for(c, 200 * MS);
        if (runs_live(w) >= 2 * LIMIT) {
            looks++;
            full += running(c) == LIMIT;
        }
        for (int i = 0; i < 5; i++)
            end_one(c);
    }
    ck_assert(looks < 10 || full > looks / 2);
}

START_TEST(a_limit_holds_over_shards)
{
    struct world *w = &world;
    open_busy(w, &cluster, 31);
    cluster_for(&cluster, 2 * SY_NS_PER_S);
    ck_assert_uint_eq(running(&cluster), LIMIT);
    run_to_the_end(w, &cluster);
    ck_assert_uint_eq(cluster.ended, RUNS);
    ck_assert_uint_eq(cluster.most, LIMIT);
    cluster_end(&cluster);
    close_world(w);
}
END_TEST

/* A shard stands still, with its partitions' allowances and those that it has handed out, until
 * others have what it had; then it goes on. */
START_TEST(a_shard_that_stood_still_starts_nothing)
{
    struct world *w = &world;
    open_busy(w, &cluster, 32);
    cluster_for(&cluster, 2 * SY_NS_PER_S);
    for (size_t i = 0; i < SHARDS; i++) {
        w->shards[i].paused = true;
        for (int k = 0; k < 20; k++) {
            cluster_for(&cluster, 200 * MS);
            end_one(&cluster);
        }
        w->shards[i].paused = false;
        cluster_for(&cluster, SY_NS_PER_S);
        UNTIL(w, even(w, SHARDS));
    }
    run_to_the_end(w, &cluster);
    cluster_end(&cluster);
    close_world(w);
}
END_TEST

/* Faults that are over before a cluster would be given up. */
static void hurt(struct world *w)
{
    size_t i = sy_rng_below(&w->rng, SHARDS);
    struct shard *s = &w->shards[i];
    switch (sy_rng_below(&w->rng, 4)) {
    case 0:
        kill_shard(w, i);
        break;
    case 1:
        s->paused = true;
        break;
    case 2:
        w->apart[i][(i + 1) % SHARDS] = true;
        break;
    default:
        fake_etcd_change_leader(w->etcd);
        break;
    }
    int64_t length_ns = (int64_t)sy_rng_below(&w->rng, 4 * SY_NS_PER_S);
    for (int64_t end_ns = w->now_ns + length_ns; w->now_ns < end_ns;) {
        cluster_for(&cluster, 100 * MS);
        end_one(&cluster);
    }
    s->paused = w->apart[i][(i + 1) % SHARDS] = false;
    if (s->shard == NULL)
        start_shard(w, i);
}

START_TEST(a_limit_holds_whatever_fails)
{
    struct seeds seeds = storm_seeds(6);
    for (uint64_t k = 0; k < seeds.count; k++) {
        struct world *w = &world;
        open_busy(w, &cluster, seeds.first + k);
        for (int i = 0; i < 8; i++) {
            hurt(w);
            cluster_for(&cluster, (int64_t)sy_rng_below(&w->rng, SY_NS_PER_S));
        }
        heal(w);
        run_to_the_end(w, &cluster);
        cluster_end(&cluster);
        close_world(w);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_limit_holds_over_shards,
                                  a_shard_that_stood_still_starts_nothing,
                                  a_limit_holds_whatever_fails, NULL};
    return sy_test_run("region_limits", tests);
}
