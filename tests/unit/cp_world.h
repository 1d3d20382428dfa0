/*
 * A shard in a small world for tests: memory stores, the in-memory transport, a virtual clock, a
 * client, and a fake operator that takes assignments and answers as a test says. One thread drives
 * all loops; time passes only when nothing else can happen.
 */
#pragma once

#include "base/mem.h"
#include "controlplane/shard.h"
#include "controlplane/store.h"
#include "proto/pb.h"
#include "tests/lib/test.h"

#include "flyteidl2/task/task_definition.pb-c.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORLD_PARTITIONS_MAX 3
#define WORLD_ASSIGNED_MAX 4096
#define UNUSED __attribute__((unused))

struct fake_attempt {
    uint64_t action;
    uint32_t number, epoch;
    char name[64];
    bool ended, suspect;
    const Switchyard__Internal__FlyteContext *flyte; /* in w->arena; NULL: a native task */
};

struct world;

/* One stream of the fake operator, to one partition. */
struct fake_stream {
    struct world *world;
    struct sy_call *call;
    uint32_t partition;
    struct fake_attempt *attempts;
    size_t count;
    unsigned cancels;
    bool closed;
};

struct world {
    /* orders for nodes, as the fake operator saw them, and how it answers */
    size_t orders;
    int order_verb;
    int64_t order_deadline_ns;
    char order_node[32];
    enum sy_code order_code;
    bool orders_unanswered;
    /* surveys, as it saw the last one; it says that its first attempt would stop */
    size_t surveys, survey_queues;
    uint32_t survey_class;
    uint64_t survey_cpu_milli;
    bool surveys_unanswered, no_grants;
    int64_t now_ns;
    struct sy_clock clock;
    uint32_t partitions;
    bool one_loop; /* for all partitions */
    struct sy_loop *loops[WORLD_PARTITIONS_MAX], *client_loop;
    struct cp_mem_disk *disks[WORLD_PARTITIONS_MAX];
    struct cp_store_opener openers[WORLD_PARTITIONS_MAX];
    struct sy_rpc *rpc;
    struct sy_channel *channel, *operator_channel;
    struct cp_shard *shard;
    struct cp_shard_options options;
    struct fake_stream streams[WORLD_PARTITIONS_MAX];
    bool no_nodes;  /* the operator does not tell of its nodes */
    bool automatic; /* the operator starts and finishes each task at once */
    bool stopped;
    struct sy_timer heartbeat;
    struct sy_arena arena; /* for what the test unpacks */
};

/* ---- time ---- */

static int64_t world_monotonic(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static int64_t world_realtime(void *ctx)
{
    return ((struct world *)ctx)->now_ns + 1700000000 * SY_NS_PER_S;
}

/* One turn of every loop; then time goes on when nothing is due. */
static void world_turn(struct world *w)
{
    struct sy_loop *loops[WORLD_PARTITIONS_MAX + 1];
    size_t count = 0;
    for (uint32_t i = 0; i < (w->one_loop ? 1 : w->partitions); i++)
        loops[count++] = w->loops[i];
    loops[count++] = w->client_loop;
    int64_t next_ns = SY_TIME_NEVER;
    for (size_t i = 0; i < count; i++)
        sy_loop_turn(loops[i]);
    for (size_t i = 0; i < count; i++) {
        int64_t due_ns = sy_loop_next_ns(loops[i]);
        next_ns = due_ns < next_ns ? due_ns : next_ns;
    }
    if (next_ns != SY_TIME_NEVER && next_ns > w->now_ns)
        w->now_ns = next_ns;
}

#define world_until(w, condition)                                                                  \
    do {                                                                                           \
        int64_t limit_ns_ = (w)->now_ns + 300 * SY_NS_PER_S;                                       \
        while (!(condition)) {                                                                     \
            ck_assert_msg((w)->now_ns < limit_ns_, "never came: %s", #condition);                  \
            world_turn(w);                                                                         \
        }                                                                                          \
    } while (0)

UNUSED static void world_for(struct world *w, int64_t duration_ns)
{
    int64_t end_ns = w->now_ns + duration_ns;
    while (w->now_ns < end_ns)
        world_turn(w);
}

/* ---- the fake operator ---- */

static void stream_send(struct fake_stream *s, Switchyard__Internal__OperatorMessage *message)
{
    struct sy_buf buf = {0};
    pb_pack(&message->base, &buf);
    int r = sy_call_send(s->call, &buf);
    ck_assert_int_eq(r, 0);
}

static void stream_hello(struct fake_stream *s)
{
    Switchyard__Internal__OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__OperatorHello hello = SWITCHYARD__INTERNAL__OPERATOR_HELLO__INIT;
    Switchyard__Internal__NodeShape shape = SWITCHYARD__INTERNAL__NODE_SHAPE__INIT;
    Switchyard__Internal__NodeShape *shapes[] = {&shape};
    Switchyard__Internal__Resources capacity = SWITCHYARD__INTERNAL__RESOURCES__INIT;
    Switchyard__Internal__NodeStatus node = SWITCHYARD__INTERNAL__NODE_STATUS__INIT;
    Switchyard__Internal__NodeStatus *nodes[] = {&node};
    static char cluster[] = "c1", session[] = "s1", endpoint[] = "cluster-1:9000", name[] = "n1",
                ready[] = "ready";
    hello.partition = s->partition;
    hello.cluster = cluster;
    hello.session = session;
    hello.endpoint = endpoint;
    capacity.cpu_milli = 64000;
    capacity.memory_bytes = 64ull << 30;
    shape.capacity = &capacity;
    shape.nodes = 4;
    node.name = name;
    node.state = ready;
    node.capacity = &capacity;
    node.running = 2;
    m.hello = &hello;
    m.shapes_set = m.inventory_complete = true;
    m.nodes_set = !s->world->no_nodes;
    m.n_shapes = m.n_nodes = 1;
    m.shapes = shapes;
    m.nodes = nodes;
    stream_send(s, &m);
}

UNUSED static void fake_start(struct fake_stream *s, const struct fake_attempt *a)
{
    Switchyard__Internal__OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__Started started = SWITCHYARD__INTERNAL__STARTED__INIT;
    Switchyard__Internal__Started *all[] = {&started};
    static char node[] = "n1";
    started.partition = s->partition;
    started.action = a->action;
    started.number = a->number;
    started.epoch = a->epoch;
    started.node = node;
    started.started_ns = world_realtime(s->world);
    m.n_started = 1;
    m.started = all;
    stream_send(s, &m);
}

/* Of *outcome all but the attempt, and the times unless they are set. */
UNUSED static void fake_end(struct fake_stream *s, struct fake_attempt *a,
                            Switchyard__Internal__Outcome *outcome)
{
    Switchyard__Internal__OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    static char node[] = "n1";
    outcome->partition = s->partition;
    outcome->action = a->action;
    outcome->number = a->number;
    outcome->epoch = a->epoch;
    outcome->node = node;
    if (outcome->started_ns == 0)
        outcome->started_ns = outcome->finished_ns = world_realtime(s->world);
    m.n_outcomes = 1;
    m.outcomes = &outcome;
    a->ended = true;
    stream_send(s, &m);
}

UNUSED static void fake_finish(struct fake_stream *s, struct fake_attempt *a,
                               Switchyard__Internal__OutcomeKind kind, const char *output)
{
    Switchyard__Internal__Outcome outcome = SWITCHYARD__INTERNAL__OUTCOME__INIT;
    static char code[] = "TaskError", message[] = "it went wrong";
    outcome.kind = kind;
    if (kind == SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_SUCCEEDED) {
        outcome.output.data = (uint8_t *)(uintptr_t)output;
        outcome.output.len = strlen(output);
    } else {
        outcome.error_code = code;
        outcome.error_message = message;
    }
    fake_end(s, a, &outcome);
}
#define OUTCOME(kind) SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_##kind

static void grant(struct fake_stream *s, const Switchyard__Internal__ShardMessage *in)
{
    Switchyard__Internal__OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    for (size_t i = 0; i < in->n_demands && !s->world->no_grants; i++) {
        Switchyard__Internal__Grant one = SWITCHYARD__INTERNAL__GRANT__INIT;
        Switchyard__Internal__Grant *grants[] = {&one};
        one.class_ = in->demands[i]->class_;
        one.granted = 1000000;
        m.n_grants = 1;
        m.grants = grants;
        stream_send(s, &m);
    }
}

/* As the world says: with its code, or not at all. */
static void answer_orders(struct fake_stream *s, const Switchyard__Internal__ShardMessage *in)
{
    Switchyard__Internal__OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    static char text[] = "says the operator";
    for (size_t i = 0; i < in->n_node_orders; i++) {
        Switchyard__Internal__NodeOrderResult one = SWITCHYARD__INTERNAL__NODE_ORDER_RESULT__INIT;
        Switchyard__Internal__NodeOrderResult *results[] = {&one};
        s->world->orders++;
        s->world->order_verb = in->node_orders[i]->verb;
        s->world->order_deadline_ns = in->node_orders[i]->deadline_ns;
        snprintf(s->world->order_node, sizeof(s->world->order_node), "%s",
                 in->node_orders[i]->node);
        if (s->world->orders_unanswered)
            continue;
        one.order = in->node_orders[i]->order;
        one.code = (uint32_t)s->world->order_code;
        one.message = text;
        m.n_node_orders = 1;
        m.node_orders = results;
        stream_send(s, &m);
    }
}

static void answer_surveys(struct fake_stream *s, const Switchyard__Internal__ShardMessage *in)
{
    Switchyard__Internal__OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    static char node[] = "n1";
    for (size_t i = 0; i < in->n_surveys; i++) {
        Switchyard__Internal__SurveyAnswer one = SWITCHYARD__INTERNAL__SURVEY_ANSWER__INIT;
        Switchyard__Internal__SurveyAnswer *answers[] = {&one};
        Switchyard__Internal__SurveyVictim victim = SWITCHYARD__INTERNAL__SURVEY_VICTIM__INIT;
        Switchyard__Internal__SurveyVictim *victims[] = {&victim};
        Switchyard__Internal__SurveyNode kept = SWITCHYARD__INTERNAL__SURVEY_NODE__INIT;
        Switchyard__Internal__SurveyNode *nodes[] = {&kept};
        s->world->surveys++;
        s->world->survey_queues = in->surveys[i]->n_queues;
        s->world->survey_class = in->surveys[i]->class_;
        s->world->survey_cpu_milli = in->surveys[i]->request->cpu_milli;
        if (s->world->surveys_unanswered)
            continue;
        one.id = in->surveys[i]->id;
        one.room = one.withheld = s->count == 0;
        one.displaces = one.victim_count = s->count > 0;
        victim.action = s->count > 0 ? s->attempts[0].action : 0;
        victim.number = s->count > 0 ? s->attempts[0].number : 0;
        victim.epoch = s->count > 0 ? s->attempts[0].epoch : 0;
        victim.node = kept.node = node;
        kept.cpu_milli = 500;
        one.n_victims = one.victim_count;
        one.victims = victims;
        one.kept = nodes;
        one.n_kept = one.kept_count = in->surveys[i]->class_ != 0;
        m.n_surveys = 1;
        m.surveys = answers;
        stream_send(s, &m);
    }
}

static const Switchyard__Internal__FlyteContext *
keep_context(struct world *w, const Switchyard__Internal__FlyteContext *context)
{
    if (context == NULL)
        return NULL;
    struct sy_buf SY_CLEANUP(sy_buf_deinit) buf = {0};
    pb_pack(&context->base, &buf);
    return pb_unpack(&switchyard__internal__flyte_context__descriptor, &w->arena,
                     sy_buf_span(&buf));
}

static void stream_message(void *ctx, struct sy_span bytes)
{
    struct fake_stream *s = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, 64 << 20);
    const Switchyard__Internal__ShardMessage *in = pb_unpack(
        &switchyard__internal__shard_message__descriptor, &arena, bytes);
    ck_assert_ptr_nonnull(in);
    grant(s, in);
    s->cancels += (unsigned)in->n_cancels;
    answer_orders(s, in);
    answer_surveys(s, in);
    for (size_t i = 0; i < in->n_assignments; i++) {
        ck_assert_uint_lt(s->count, WORLD_ASSIGNED_MAX);
        struct fake_attempt *a = &s->attempts[s->count++];
        *a = (struct fake_attempt){.action = in->assignments[i]->action,
                                   .number = in->assignments[i]->number,
                                   .epoch = in->assignments[i]->epoch,
                                   .suspect = in->assignments[i]->suspect};
        snprintf(a->name, sizeof(a->name), "%s", in->assignments[i]->name);
        a->flyte = keep_context(s->world, in->assignments[i]->flyte);
        if (s->world->automatic) {
            fake_start(s, a);
            fake_finish(s, a, OUTCOME(SUCCEEDED), a->name);
        }
    }
    sy_arena_deinit(&arena);
}

static void stream_closed(void *ctx, const struct sy_status *status)
{
    (void)status;
    ((struct fake_stream *)ctx)->closed = true;
}

static void on_heartbeat(void *arg)
{
    struct world *w = arg;
    for (uint32_t i = 0; i < w->partitions; i++) {
        Switchyard__Internal__OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
        m.heartbeat = true;
        if (w->streams[i].call != NULL && !w->streams[i].closed)
            stream_send(&w->streams[i], &m);
    }
    sy_timer_start_in(w->client_loop, &w->heartbeat, SY_NS_PER_S);
}

UNUSED static void operator_connect(struct world *w)
{
    static const struct sy_call_sink sink = {.on_message = stream_message,
                                             .on_closed = stream_closed};
    for (uint32_t i = 0; i < w->partitions; i++) {
        struct fake_stream *s = &w->streams[i];
        char number[16];
        snprintf(number, sizeof(number), "%u", i);
        struct sy_metadata metadata = {"x-switchyard-partition", number};
        struct sy_call_options options = {.method = "/switchyard.internal.ControlPlane/Operate",
                                          .metadata = &metadata,
                                          .metadata_count = 1};
        s->world = w;
        s->partition = i;
        s->attempts = sy_calloc(WORLD_ASSIGNED_MAX, sizeof(*s->attempts));
        s->call = sy_channel_open(w->operator_channel, w->client_loop, &options, &sink, s);
        stream_hello(s);
    }
    on_heartbeat(w);
}

/* The attempt of the action of that name; waits until it is assigned. */
UNUSED static struct fake_attempt *assigned(struct world *w, const char *name,
                                            struct fake_stream **ret_stream)
{
    int64_t limit_ns = w->now_ns + 60 * SY_NS_PER_S;
    for (;;) {
        for (uint32_t i = 0; i < w->partitions; i++) {
            struct fake_stream *s = &w->streams[i];
            for (size_t n = 0; n < s->count; n++) {
                if (strcmp(s->attempts[n].name, name) == 0 && !s->attempts[n].ended) {
                    *ret_stream = s;
                    return &s->attempts[n];
                }
            }
        }
        ck_assert_msg(w->now_ns < limit_ns, "%s was not assigned", name);
        world_turn(w);
    }
}

UNUSED static void finish_task(struct world *w, const char *name,
                               Switchyard__Internal__OutcomeKind kind)
{
    struct fake_stream *s;
    struct fake_attempt *a = assigned(w, name, &s);
    fake_finish(s, a, kind, "done");
}

/* ---- set-up ---- */

static int open_mem(void *ctx, struct cp_store **ret_store, uint32_t epoch, struct sy_loop *loop,
                    uint32_t *ret_epoch, struct sy_error_text *error)
{
    return cp_store_mem_open(ret_store, ctx, epoch, loop, ret_epoch, error);
}

static void world_start_shard(struct world *w)
{
    struct sy_loop *loops[WORLD_PARTITIONS_MAX];
    for (uint32_t i = 0; i < w->partitions; i++)
        loops[i] = w->loops[w->one_loop ? 0 : i];
    struct cp_shard_ports ports = {
        .rpc = w->rpc, .loops = loops, .openers = w->openers, .seed = 42};
    struct sy_error_text error = {0};
    sy_rpc_mem_set_origin(w->rpc, "shard");
    int r = cp_shard_new(&w->shard, &w->options, &ports, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    sy_rpc_mem_set_origin(w->rpc, "client");
    for (uint32_t i = 0; i < w->partitions; i++)
        world_until(w, cp_partition_serving(cp_shard_partition(w->shard, i)));
}

static void world_init_stopped(struct world *w, uint32_t partitions)
{
    *w = (struct world){.now_ns = SY_NS_PER_S, .partitions = partitions};
    w->clock = (struct sy_clock){world_monotonic, world_realtime, w};
    struct sy_loop_options loop_options = {.clock = &w->clock, .without_epoll = true};
    for (uint32_t i = 0; i < partitions; i++) {
        ck_assert_int_eq(sy_loop_new(&w->loops[i], &loop_options), 0);
        w->disks[i] = cp_mem_disk_new();
        cp_mem_disk_set(w->disks[i], 100 * SY_NS_PER_US, -1);
        w->openers[i] = (struct cp_store_opener){open_mem, w->disks[i]};
    }
    ck_assert_int_eq(sy_loop_new(&w->client_loop, &loop_options), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    w->options = (struct cp_shard_options){.name = "shard-1",
                                           .endpoint = "shard-0.example:8090",
                                           .region = "test",
                                           .listen = "shard:1",
                                           .partitions = partitions,
                                           .partition = {.inline_bytes_max = 65536}};
    sy_timer_init(&w->heartbeat, on_heartbeat, w);
    sy_arena_init(&w->arena, (size_t)256 << 20);
}

static void world_connect(struct world *w)
{
    world_start_shard(w);
    w->channel = sy_channel_new(w->rpc, "shard:1");
    sy_rpc_mem_set_origin(w->rpc, "operator");
    w->operator_channel = sy_channel_new(w->rpc, "shard:1");
    sy_rpc_mem_set_origin(w->rpc, "client");
}

/* A shard that serves, and an operator with four nodes. */
UNUSED static void world_init(struct world *w, uint32_t partitions)
{
    world_init_stopped(w, partitions);
    world_connect(w);
    operator_connect(w);
    world_for(w, 10 * SY_NS_PER_MS);
}

/* The layouts that a test in `each` runs with: one partition; three on one loop; three on three
 * loops. */
#define WORLD_LAYOUTS 3
UNUSED static void world_init_for(struct world *w, int layout)
{
    world_init_stopped(w, layout == 0 ? 1 : 3);
    w->one_loop = layout == 1;
    world_connect(w);
    operator_connect(w);
    world_for(w, 10 * SY_NS_PER_MS);
}

/* The shard dies and comes back; the operator that then connects knows of no attempt. */
UNUSED static void world_restart(struct world *w)
{
    cp_shard_free(w->shard);
    sy_timer_stop(w->client_loop, &w->heartbeat);
    for (uint32_t i = 0; i < w->partitions; i++) {
        struct fake_stream *s = &w->streams[i];
        for (int turns = 0; turns < 100 && !s->closed; turns++)
            world_turn(w);
        sy_call_unref(s->call);
        free(s->attempts);
        *s = (struct fake_stream){0};
    }
    world_start_shard(w);
    operator_connect(w);
    world_for(w, 10 * SY_NS_PER_MS);
}

UNUSED static uint64_t runs_live(struct world *w)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < w->partitions; i++)
        count += cp_partition_counts(cp_shard_partition(w->shard, i)).runs_live;
    return count;
}

static void on_world_stopped(void *arg)
{
    ((struct world *)arg)->stopped = true;
}

/* Drains, and checks that it ends by itself. */
UNUSED static void world_stop(struct world *w)
{
    cp_shard_stop(w->shard, 5 * SY_NS_PER_S, on_world_stopped, w);
    world_until(w, w->stopped);
}

static void world_deinit(struct world *w)
{
    cp_shard_free(w->shard);
    if (sy_timer_running(&w->heartbeat))
        sy_timer_stop(w->client_loop, &w->heartbeat);
    for (uint32_t i = 0; i < w->partitions; i++) {
        if (w->streams[i].call != NULL)
            sy_call_unref(w->streams[i].call);
        free(w->streams[i].attempts);
    }
    if (w->channel != NULL)
        sy_channel_free(w->channel);
    if (w->operator_channel != NULL)
        sy_channel_free(w->operator_channel);
    sy_rpc_free(w->rpc);
    for (uint32_t i = 0; i < w->partitions; i++) {
        sy_loop_free(w->loops[i]);
        cp_mem_disk_free(w->disks[i]);
    }
    sy_loop_free(w->client_loop);
    sy_arena_deinit(&w->arena);
}

/* ---- unary calls ---- */

struct reply {
    bool done;
    enum sy_code code;
    struct sy_error_text text;
    struct sy_buf bytes;
};

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct reply *reply = ctx;
    ck_assert(!reply->done);
    reply->done = true;
    reply->code = status->code;
    reply->text = status->message;
    sy_buf_append(&reply->bytes, response.data, response.len);
}

struct call {
    const char *method;
    const ProtobufCMessage *request; /* or */
    struct sy_span bytes;
    struct sy_metadata metadata[4];
    int64_t timeout_ns;
};

static void call_start(struct world *w, const struct call *call, struct reply *ret)
{
    struct sy_call_options options = {
        .method = call->method, .timeout_ns = call->timeout_ns, .metadata = call->metadata};
    while (options.metadata_count < 4 && call->metadata[options.metadata_count].key != NULL)
        options.metadata_count++;
    struct sy_buf request = {0};
    if (call->request != NULL)
        pb_pack(call->request, &request);
    else
        sy_buf_append(&request, call->bytes.data, call->bytes.len);
    *ret = (struct reply){0};
    sy_channel_call(w->channel, w->client_loop, &options, &request, on_reply, ret);
}

/* The code; with OK the response in w->arena. */
static enum sy_code call_full(struct world *w, const struct call *call,
                              const ProtobufCMessageDescriptor *descriptor, void **ret,
                              struct sy_error_text *ret_text)
{
    struct reply reply;
    call_start(w, call, &reply);
    world_until(w, reply.done);
    if (ret_text != NULL)
        *ret_text = reply.text;
    if (reply.code == SY_CODE_OK && descriptor != NULL) {
        *ret = pb_unpack(descriptor, &w->arena, sy_buf_span(&reply.bytes));
        ck_assert_ptr_nonnull(*ret);
    }
    sy_buf_deinit(&reply.bytes);
    return reply.code;
}

/* Expects OK. */
UNUSED static void *call_ok(struct world *w, const char *method, const ProtobufCMessage *request,
                            const ProtobufCMessageDescriptor *descriptor)
{
    struct call call = {.method = method, .request = request};
    struct sy_error_text text;
    void *response = NULL;
    enum sy_code code = call_full(w, &call, descriptor, &response, &text);
    ck_assert_msg(code == SY_CODE_OK, "%s: %s", method, text.text);
    return response;
}

/* Expects an error whose sentence has `says` in it. */
#define call_fails(w, method_, request_, code_, says_)                                             \
    do {                                                                                           \
        struct call call_ = {.method = (method_), .request = (request_)};                          \
        struct sy_error_text text_;                                                                \
        enum sy_code got_ = call_full((w), &call_, NULL, NULL, &text_);                            \
        ck_assert_msg(got_ == (code_), "%s: %s", sy_code_name(got_), text_.text);                  \
        ck_assert_msg(strstr(text_.text, (says_)) != NULL, "'%s' lacks '%s'", text_.text, says_);  \
    } while (0)

/* ---- streams ---- */

struct stream {
    struct world *world;
    struct sy_call *call;
    const ProtobufCMessageDescriptor *descriptor;
    void *messages[4096]; /* in w->arena */
    size_t count;
    size_t bytes_max; /* of one message */
    bool closed;
    enum sy_code code;
    struct sy_error_text text;
};

static void on_stream_message(void *ctx, struct sy_span bytes)
{
    struct stream *s = ctx;
    ck_assert_uint_lt(s->count, SY_COUNT_OF(s->messages));
    s->bytes_max = bytes.len > s->bytes_max ? bytes.len : s->bytes_max;
    s->messages[s->count] = pb_unpack(s->descriptor, &s->world->arena, bytes);
    ck_assert_ptr_nonnull(s->messages[s->count]);
    s->count++;
}

static void on_stream_closed(void *ctx, const struct sy_status *status)
{
    struct stream *s = ctx;
    s->closed = true;
    s->code = status->code;
    s->text = status->message;
}

UNUSED static const struct sy_call_sink stream_sink = {.on_message = on_stream_message,
                                                       .on_closed = on_stream_closed};

/* `reads` false: the client does not read until stream_resume(). */
UNUSED static void stream_open(struct world *w, struct stream *s, const char *method,
                               const ProtobufCMessage *request,
                               const ProtobufCMessageDescriptor *descriptor, bool reads)
{
    *s = (struct stream){.world = w, .descriptor = descriptor};
    struct sy_call_options options = {.method = method};
    s->call = sy_channel_open(w->channel, w->client_loop, &options, reads ? &stream_sink : NULL, s);
    struct sy_buf buf = {0};
    pb_pack(request, &buf);
    ck_assert_int_eq(sy_call_send(s->call, &buf), 0);
    sy_call_half_close(s->call);
}

UNUSED static void stream_resume(struct stream *s)
{
    sy_call_set_sink(s->call, &stream_sink, s);
}

UNUSED static void stream_close(struct stream *s)
{
    if (!s->closed) {
        sy_call_finish(s->call, NULL);
        world_until(s->world, s->closed);
    }
    sy_call_unref(s->call);
}

/* ---- messages ---- */

UNUSED static char *text_of(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* A TaskSpec of one process, or "switchyard.group", in w->arena. */
UNUSED static struct sy_span task_spec(struct world *w, const char *type, const char *cpu)
{
    Flyteidl2__Task__TaskSpec spec = FLYTEIDL2__TASK__TASK_SPEC__INIT;
    Flyteidl2__Core__TaskTemplate template = FLYTEIDL2__CORE__TASK_TEMPLATE__INIT;
    Flyteidl2__Core__Identifier id = FLYTEIDL2__CORE__IDENTIFIER__INIT;
    Flyteidl2__Core__Container container = FLYTEIDL2__CORE__CONTAINER__INIT;
    Flyteidl2__Core__Resources resources = FLYTEIDL2__CORE__RESOURCES__INIT;
    Flyteidl2__Core__Resources__ResourceEntry entry =
        FLYTEIDL2__CORE__RESOURCES__RESOURCE_ENTRY__INIT;
    Flyteidl2__Core__Resources__ResourceEntry *entries[] = {&entry};
    char *args[] = {text_of("/bin/true")};
    entry.name = FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__CPU;
    entry.value = text_of(cpu);
    resources.n_requests = 1;
    resources.requests = entries;
    container.n_args = 1;
    container.args = args;
    container.resources = &resources;
    id.name = text_of("demo.task");
    template.id = &id;
    template.type = text_of(type);
    if (strcmp(type, "switchyard.group") != 0) {
        template.target_case = FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER;
        template.container = &container;
    }
    spec.task_template = &template;
    spec.short_name = text_of("task");
    struct sy_buf buf = {0};
    pb_pack(&spec.base, &buf);
    uint8_t *copy = sy_arena_alloc(&w->arena, buf.len);
    memcpy(copy, buf.data, buf.len);
    struct sy_span span = {copy, buf.len};
    sy_buf_deinit(&buf);
    return span;
}

/* Runs `each` in every layout, `once` as they are. */
static int world_tests(const char *name, const TTest *const *each, const TTest *const *once)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 60);
    for (; *each != NULL; each++)
        tcase_add_loop_test(tcase, *each, 0, WORLD_LAYOUTS);
    for (; *once != NULL; once++)
        tcase_add_test(tcase, *once);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
