/*
 * A small world for tests of the operator: a virtual clock, rpc_mem, one operator, fake shards and
 * fake agents that remember all they were told. Everything is single-threaded; world_run() advances
 * the clock from event to event.
 */
#pragma once

#pragma GCC diagnostic ignored "-Wcast-qual" /* protobuf-c's __INIT macros */

#include "base/mem.h"
#include "dataplane/operator.h"
#include "dataplane/wire.h"
#include "switchyard/internal/dataplane.pb-c.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PB(name) Switchyard__Internal__##name
#define PB_INIT(NAME) SWITCHYARD__INTERNAL__##NAME##__INIT

#define WORLD_SHARDS 4
#define WORLD_AGENTS 4
#define WORLD_ENDPOINTS 300
#define WORLD_FOLLOWERS 8
#define SHARD_PARTITIONS 4
#define MS SY_NS_PER_MS
#define SEC SY_NS_PER_S

struct world {
    int64_t now_ns;
    struct sy_loop *loop, *peers; /* the operator's; everybody else's */
    struct sy_rpc *rpc;
    struct dp_operator *op;
    struct dp_operator_options options;
    const char *targets[WORLD_SHARDS + 1];
    struct sy_log *log; /* NULL: none */
    struct fake_shard *shards[WORLD_SHARDS];
    int64_t delay_to_shard_ns, delay_to_agent_ns, delay_to_client_ns;
    bool cut_shard; /* no new call reaches "shard0:1" */
};

/* ---- clock ---- */

static inline int64_t world_clock(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static inline int64_t world_realtime(void *ctx)
{
    return ((struct world *)ctx)->now_ns + 1000 * SEC;
}

static inline int64_t world_next(struct world *w)
{
    int64_t a = sy_loop_next_ns(w->loop), b = sy_loop_next_ns(w->peers);
    return a < b ? a : b;
}

static inline void world_run(struct world *w, int64_t for_ns)
{
    int64_t end_ns = w->now_ns + for_ns;
    for (int64_t next; (next = world_next(w)) <= end_ns;) {
        if (next > w->now_ns)
            w->now_ns = next;
        sy_rpc_mem_set_origin(w->rpc, "operator-out"); /* of channels that it makes */
        sy_loop_turn(w->loop);
        sy_loop_turn(w->peers);
    }
    w->now_ns = end_ns;
}

/* ---- transport ---- */

static inline enum sy_fault world_message(void *ctx, const char *from, const char *to,
                                          int64_t *ret_delay_ns)
{
    struct world *w = ctx;
    (void)from;
    *ret_delay_ns = 0;
    if (strncmp(to, "shard", 5) == 0)
        *ret_delay_ns = w->delay_to_shard_ns;
    else if (strncmp(to, "agent", 5) == 0)
        *ret_delay_ns = w->delay_to_agent_ns;
    else if (strncmp(to, "client", 6) == 0)
        *ret_delay_ns = w->delay_to_client_ns;
    return SY_FAULT_DELIVER;
}

static inline bool world_connect(void *ctx, const char *from, const char *to)
{
    struct world *w = ctx;
    (void)from;
    return !(w->cut_shard && strcmp(to, "shard0:1") == 0);
}

/* ---- fake shards ---- */

struct fake_stream;

struct fake_partition {
    struct fake_shard *shard;
    uint32_t id, epoch;
    struct sy_call *call; /* NULL: no stream */
    enum sy_code closed;
    size_t opened, messages, heartbeats;
    /* What came on this stream. */
    bool complete, complete_early; /* early: before an outcome that came later */
    size_t inventory, started, outcomes, lost, alone, preempted, returned, calls, shapes, nodes;
    size_t nodes_running, nodes_told; /* of the first node; messages that held them */
    uint32_t hello_max_epoch;
    uint64_t hello_term;
    char hello_session[64], hello_endpoint[64], last_return[128], last_outcome_node[64];
    size_t orders_answered;
    /* surveys, and what the last answer said */
    size_t surveys, victims, kept;
    uint64_t survey_id, victim_action;
    bool survey_room;
    char victim_node[64];
    enum sy_code last_order_code;
    char last_outcome_code[32];
    char node_state[16], node_reason[128]; /* of the first */
    char last_error[512];
    int last_kind; /* of an outcome */
    int64_t last_slept_ns, last_held_ns;
    uint64_t granted[16];
    uint64_t last_action;
    uint32_t queue; /* of assignments */
    bool waits;     /* likewise: they are not given up for silence */
    bool owed;      /* the inventory is complete but for nodes that are away */
    bool ack;       /* acknowledge outcomes at once */
    uint64_t probe; /* the last one */
    size_t probes;
    bool mute; /* no welcome */
    uint64_t last_call;
};

struct fake_shard {
    struct world *w;
    char name[16];
    struct sy_server *server;
    struct fake_partition partitions[SHARD_PARTITIONS];
    struct fake_stream *streams;
    size_t partition_count, described;
    char *endpoints[WORLD_ENDPOINTS]; /* that it tells of */
    size_t endpoint_count;
    bool follows;        /* it goes on telling: shard_tell() */
    const char *deleted; /* it tells that the cluster is, instead; NULL: it is not */
    const char *fenced;  /* likewise */
    uint64_t fences;
    struct sy_call *followers[WORLD_FOLLOWERS];
    size_t follower_count;
    int64_t heartbeat_ns, lease_ns;
};

static inline void pack_into(struct sy_buf *buf, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    sy_buf_reserve(buf, len);
    buf->len += protobuf_c_message_pack(message, buf->data + buf->len);
}

static inline void send_message(struct sy_call *call, const ProtobufCMessage *message)
{
    struct sy_buf buf = {0};
    pack_into(&buf, message);
    int r = sy_call_send(call, &buf);
    ck_assert_int_eq(r, 0);
}

static inline void shard_send(struct fake_partition *p, const PB(ShardMessage) * message)
{
    ck_assert_ptr_nonnull(p->call);
    send_message(p->call, &message->base);
}

static inline void shard_ack(struct fake_partition *p, const PB(Outcome) * outcome)
{
    PB(Attempt) attempt = PB_INIT(ATTEMPT), *attempts[] = {&attempt};
    attempt.partition = outcome->partition;
    attempt.action = outcome->action;
    attempt.number = outcome->number;
    attempt.epoch = outcome->epoch;
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    message.acks = attempts;
    message.n_acks = 1;
    shard_send(p, &message);
}

static inline void partition_hello(struct fake_partition *p, const PB(OperatorHello) * hello)
{
    p->hello_max_epoch = hello->max_epoch;
    p->hello_term = hello->term;
    snprintf(p->hello_session, sizeof(p->hello_session), "%s", hello->session);
    snprintf(p->hello_endpoint, sizeof(p->hello_endpoint), "%s", hello->endpoint);
    if (p->mute)
        return;
    PB(ShardWelcome) welcome = PB_INIT(SHARD_WELCOME);
    welcome.partition = p->id;
    welcome.epoch = p->epoch;
    welcome.shard = p->shard->name;
    welcome.heartbeat_ns = p->shard->heartbeat_ns;
    welcome.lease_ns = p->shard->lease_ns;
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    message.welcome = &welcome;
    shard_send(p, &message);
}

static inline void partition_records(struct fake_partition *p, const PB(OperatorMessage) * m)
{
    p->messages++;
    p->heartbeats += m->heartbeat ? 1 : 0;
    if (m->shapes_set)
        p->shapes = m->n_shapes;
    if (m->nodes_set) {
        p->nodes = m->n_nodes;
        p->nodes_running = m->n_nodes > 0 ? m->nodes[0]->running : 0;
        p->nodes_told++;
    }
    p->inventory += m->n_inventory;
    p->complete = p->complete || m->inventory_complete;
    p->probes += m->probe != NULL;
    p->probe = m->probe ? m->probe->number : p->probe;
    p->owed = p->owed || m->inventory_owed;
    p->started += m->n_started;
    p->outcomes += m->n_outcomes;
    p->returned += m->n_returned;
    for (size_t i = 0; i < m->n_node_orders; i++) {
        p->orders_answered++;
        p->last_order_code = (enum sy_code)m->node_orders[i]->code;
    }
    for (size_t i = 0; i < m->n_surveys; i++) {
        const PB(SurveyAnswer) *survey = m->surveys[i];
        p->surveys++;
        p->survey_id = survey->id;
        p->survey_room = survey->room;
        p->victims = survey->n_victims;
        p->kept = survey->n_kept;
        p->victim_action = survey->n_victims > 0 ? survey->victims[0]->action : 0;
        snprintf(p->victim_node, sizeof(p->victim_node), "%s",
                 survey->n_victims > 0 ? survey->victims[0]->node : "");
    }
    if (m->n_nodes > 0) {
        snprintf(p->node_state, sizeof(p->node_state), "%s", m->nodes[0]->state);
        snprintf(p->node_reason, sizeof(p->node_reason), "%s", m->nodes[0]->reason);
    }
    p->calls += m->n_calls;
    for (size_t i = 0; i < m->n_outcomes; i++) {
        p->complete_early = p->complete_early || m->inventory_complete;
        p->last_action = m->outcomes[i]->action;
        p->alone += m->outcomes[i]->death == SWITCHYARD__INTERNAL__DEATH__DEATH_ALONE;
        p->lost += m->outcomes[i]->kind == SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_LOST;
        p->preempted += m->outcomes[i]->kind ==
                        SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_PREEMPTED;
        snprintf(p->last_outcome_node, sizeof(p->last_outcome_node), "%s", m->outcomes[i]->node);
        snprintf(p->last_outcome_code, sizeof(p->last_outcome_code), "%s",
                 m->outcomes[i]->error_code);
        snprintf(p->last_error, sizeof(p->last_error), "%s: %s", m->outcomes[i]->error_code,
                 m->outcomes[i]->error_message);
        p->last_kind = m->outcomes[i]->kind;
        p->last_held_ns = m->outcomes[i]->held_ns;
        p->last_slept_ns = m->outcomes[i]->finished_ns - m->outcomes[i]->started_ns;
        if (p->ack)
            shard_ack(p, m->outcomes[i]);
    }
    for (size_t i = 0; i < m->n_returned; i++)
        snprintf(p->last_return, sizeof(p->last_return), "%s", m->returned[i]->reason);
    for (size_t i = 0; i < m->n_grants; i++)
        p->granted[m->grants[i]->class_ % 16] = m->grants[i]->granted;
    if (m->n_calls > 0)
        p->last_call = m->calls[m->n_calls - 1]->call;
}

/* The hello says which partition a stream is for. */
struct fake_stream {
    struct fake_shard *shard;
    struct sy_call *call;
    struct fake_partition *partition;
    struct fake_stream *next;
};

static inline struct fake_partition *shard_partition(struct fake_shard *shard, uint32_t id)
{
    for (size_t i = 0; i < shard->partition_count; i++) {
        if (shard->partitions[i].id == id)
            return &shard->partitions[i];
    }
    ck_abort_msg("partition %u is not here", id);
    return NULL;
}

/* What was told on an earlier stream is forgotten; its end may not have come yet. */
static inline struct fake_partition *stream_opened(struct fake_stream *stream, uint32_t id)
{
    struct fake_partition *p = shard_partition(stream->shard, id);
    *p = (struct fake_partition){.shard = p->shard,
                                 .id = p->id,
                                 .epoch = p->epoch,
                                 .opened = p->opened + 1,
                                 .ack = p->ack,
                                 .mute = p->mute,
                                 .call = stream->call};
    return p;
}

static inline void stream_message(void *ctx, struct sy_span span)
{
    struct fake_stream *stream = ctx;
    PB(OperatorMessage) *m = switchyard__internal__operator_message__unpack(NULL, span.len,
                                                                            span.data);
    ck_assert_ptr_nonnull(m);
    if (m->hello) {
        ck_assert_ptr_null(stream->partition);
        stream->partition = stream_opened(stream, m->hello->partition);
        partition_hello(stream->partition, m->hello);
    }
    ck_assert_ptr_nonnull(stream->partition);
    partition_records(stream->partition, m);
    switchyard__internal__operator_message__free_unpacked(m, NULL);
}

static inline void stream_closed(void *ctx, const struct sy_status *status)
{
    struct fake_stream *stream = ctx;
    if (stream->partition && stream->partition->call == stream->call) {
        stream->partition->call = NULL;
        stream->partition->closed = status->code;
    }
    sy_call_unref(sy_take(stream->call));
}

static const struct sy_call_sink stream_sink = {.on_message = stream_message,
                                                .on_closed = stream_closed};

static inline void shard_operate(void *ctx, struct sy_call *call, struct sy_span request)
{
    (void)request;
    struct fake_shard *shard = ctx;
    struct fake_stream *stream = sy_new(struct fake_stream);
    stream->shard = shard;
    stream->call = call;
    stream->next = shard->streams;
    shard->streams = stream;
    sy_call_set_sink(call, &stream_sink, stream);
}

static inline void describe_into(struct fake_shard *shard, struct sy_buf *buf)
{
    uint32_t ids[SHARD_PARTITIONS];
    PB(DescribeResponse) response = PB_INIT(DESCRIBE_RESPONSE);
    response.shard = shard->name;
    response.deleted = (char *)(uintptr_t)(shard->deleted ? shard->deleted : "");
    response.fenced = (char *)(uintptr_t)(shard->fenced ? shard->fenced : "");
    response.fences = shard->fences;
    for (size_t i = 0; i < shard->partition_count; i++)
        ids[i] = shard->partitions[i].id;
    response.partitions = ids;
    response.n_partitions = shard->partition_count;
    response.endpoints = shard->endpoints;
    response.n_endpoints = shard->endpoint_count;
    pack_into(buf, &response.base);
}

static inline void shard_describe(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct fake_shard *shard = ctx;
    struct sy_buf buf = {0};
    describe_into(shard, &buf);
    shard->described++;
    ck_assert_uint_eq(request.len, 2); /* follow */
    if (!shard->follows) {
        sy_call_reply(call, &buf);
        return;
    }
    int r = sy_call_send(call, &buf);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_lt(shard->follower_count, WORLD_FOLLOWERS);
    shard->followers[shard->follower_count++] = call;
}

/* To all who follow. */
static inline void shard_tell(struct fake_shard *shard)
{
    for (size_t i = 0; i < shard->follower_count; i++) {
        struct sy_buf buf = {0};
        describe_into(shard, &buf);
        int r = sy_call_send(shard->followers[i], &buf);
        ck_assert_int_eq(r, 0);
    }
}

static inline void shard_listen(struct fake_shard *shard)
{
    struct world *w = shard->w;
    sy_rpc_mem_set_origin(w->rpc, shard->name);
    struct sy_server_options options = {.address = shard->name};
    struct sy_error_text error = {0};
    ck_assert_int_eq(sy_server_new(&shard->server, w->rpc, &options, &error), 0);
    sy_server_add(shard->server,
                  &(struct sy_method){.path = "/switchyard.internal.ControlPlane/Describe",
                                      .kind = SY_METHOD_SERVER_STREAM,
                                      .handler = shard_describe,
                                      .ctx = shard,
                                      .loop = w->peers});
    sy_server_add(shard->server,
                  &(struct sy_method){.path = "/switchyard.internal.ControlPlane/Operate",
                                      .kind = SY_METHOD_BIDI,
                                      .handler = shard_operate,
                                      .ctx = shard,
                                      .loop = w->peers});
    ck_assert_int_eq(sy_server_start(shard->server, &error), 0);
}

/* Serves partitions first, first + 1, ... */
static inline struct fake_shard *shard_new(struct world *w, uint32_t first, size_t count,
                                           uint32_t epoch)
{
    size_t index = 0;
    while (w->shards[index])
        index++;
    struct fake_shard *shard = sy_new(struct fake_shard);
    shard->w = w;
    snprintf(shard->name, sizeof(shard->name), "shard%zu:1", index);
    shard->partition_count = count;
    shard->heartbeat_ns = SEC;
    shard->lease_ns = 600 * SEC; /* they send no heartbeats */
    for (size_t i = 0; i < count; i++)
        shard->partitions[i] = (struct fake_partition){
            .shard = shard, .id = first + (uint32_t)i, .epoch = epoch, .ack = true};
    w->shards[index] = shard;
    w->targets[index] = shard->name;
    shard_listen(shard);
    return shard;
}

static inline void shard_close_streams(struct fake_shard *shard)
{
    struct fake_stream *stream, *next;
    for (stream = shard->streams; stream; stream = next) {
        next = stream->next;
        if (stream->call)
            sy_call_unref(stream->call);
        free(stream);
    }
    shard->streams = NULL;
    for (size_t i = 0; i < shard->follower_count; i++)
        sy_call_unref(shard->followers[i]);
    shard->follower_count = 0;
    for (size_t i = 0; i < shard->partition_count; i++)
        shard->partitions[i].call = NULL;
}

/* The process dies; it may listen again. */
static inline void shard_kill(struct fake_shard *shard)
{
    sy_rpc_mem_kill(shard->w->rpc, shard->name);
    shard_close_streams(shard);
    sy_server_free(sy_take(shard->server));
}

static inline void shard_free(struct fake_shard *shard)
{
    shard_kill(shard);
    free(shard);
}

static inline void shard_demand(struct fake_partition *p, uint32_t class, uint32_t cpu_milli,
                                const char *environment, uint64_t waiting)
{
    PB(Resources) request = PB_INIT(RESOURCES);
    request.cpu_milli = cpu_milli;
    request.environment = (char *)(uintptr_t)environment;
    PB(Demand) demand = PB_INIT(DEMAND), *demands[] = {&demand};
    demand.class_ = class;
    demand.request = &request;
    demand.waiting = waiting;
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    message.demands = demands;
    message.n_demands = 1;
    shard_send(p, &message);
}

static inline void shard_spec(struct fake_partition *p, uint32_t id)
{
    uint8_t text[] = "a task's definition";
    PB(Spec) spec = PB_INIT(SPEC), *specs[] = {&spec};
    spec.partition = p->id;
    spec.epoch = p->epoch;
    spec.id = id;
    spec.task_spec = (ProtobufCBinaryData){sizeof(text), text};
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    message.specs = specs;
    message.n_specs = 1;
    shard_send(p, &message);
}

static inline void shard_drop_spec(struct fake_partition *p, uint32_t id)
{
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    message.dropped_specs = &id;
    message.n_dropped_specs = 1;
    shard_send(p, &message);
}

/* Actions first, first + 1, ... in one message. */
static inline void shard_assign_epoch(struct fake_partition *p, uint32_t epoch, uint32_t class,
                                      uint32_t spec, uint64_t first, size_t count,
                                      struct sy_span input)
{
    PB(Assignment) *items = sy_calloc(count, sizeof(*items));
    PB(Assignment) **list = sy_calloc(count, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        switchyard__internal__assignment__init(&items[i]);
        items[i].partition = p->id;
        items[i].action = first + i;
        items[i].number = 1;
        items[i].epoch = epoch;
        items[i].class_ = class;
        items[i].spec = spec;
        items[i].queue = p->queue;
        items[i].waits = p->waits;
        items[i].run = (char *)(uintptr_t) "p/d/r";
        items[i].name = (char *)(uintptr_t) "a1";
        items[i].input = (ProtobufCBinaryData){input.len, (uint8_t *)(uintptr_t)input.data};
        list[i] = &items[i];
    }
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    message.assignments = list;
    message.n_assignments = count;
    shard_send(p, &message);
    free(list);
    free(items);
}

static inline void shard_assign(struct fake_partition *p, uint32_t class, uint32_t spec,
                                uint64_t first, size_t count)
{
    shard_assign_epoch(p, p->epoch, class, spec, first, count,
                       (struct sy_span){(const uint8_t *)"input", 5});
}

static inline void shard_cancel(struct fake_partition *p, uint64_t action)
{
    PB(Cancel) cancel = PB_INIT(CANCEL), *cancels[] = {&cancel};
    cancel.partition = p->id;
    cancel.action = action;
    cancel.number = 1;
    cancel.epoch = p->epoch;
    cancel.reason = (char *)(uintptr_t) "aborted";
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    message.cancels = cancels;
    message.n_cancels = 1;
    shard_send(p, &message);
}

static inline void shard_order(struct fake_partition *p, PB(NodeVerb) verb, const char *node,
                               int64_t deadline_ns)
{
    PB(NodeOrder) order = PB_INIT(NODE_ORDER), *orders[] = {&order};
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    order.order = 1;
    order.verb = verb;
    order.node = (char *)(uintptr_t)node;
    order.deadline_ns = deadline_ns;
    message.node_orders = orders;
    message.n_node_orders = 1;
    shard_send(p, &message);
}

static inline void shard_reply(struct fake_partition *p, uint64_t action, uint64_t call)
{
    PB(TaskReply) reply = PB_INIT(TASK_REPLY), *replies[] = {&reply};
    reply.partition = p->id;
    reply.action = action;
    reply.number = 1;
    reply.epoch = p->epoch;
    reply.call = call;
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    message.replies = replies;
    message.n_replies = 1;
    shard_send(p, &message);
}

/* ---- the world ---- */

static inline void world_init(struct world *w)
{
    *w = (struct world){.now_ns = 100 * SEC};
    struct sy_clock clock = {world_clock, world_realtime, w};
    struct sy_loop_options loop = {.clock = &clock, .without_epoll = true};
    ck_assert_int_eq(sy_loop_new(&w->loop, &loop), 0);
    ck_assert_int_eq(sy_loop_new(&w->peers, &loop), 0);
    struct sy_rpc_mem_plan plan = {world_message, world_connect, w};
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, &plan), 0);
    w->options = (struct dp_operator_options){
        .cluster = "c1", .listen = "operator", .endpoint = "", .core = {.join_grace_ns = 200 * MS}};
}

static inline void world_start(struct world *w)
{
    struct sy_error_text error = {0};
    w->options.shards = w->targets;
    struct dp_operator_ports ports = {.rpc = w->rpc, .loop = w->loop, .seed = 1, .log = w->log};
    sy_rpc_mem_set_origin(w->rpc, "operator-out");
    int r = dp_operator_new(&w->op, &w->options, &ports, &error);
    ck_assert_msg(r == 0, "%s", error.text);
}

/* Its process dies. */
static inline void world_crash(struct world *w)
{
    sy_rpc_mem_kill(w->rpc, "operator-out");
    sy_rpc_mem_kill(w->rpc, "operator");
    dp_operator_free(sy_take(w->op));
}

static inline void world_deinit(struct world *w)
{
    if (w->op)
        world_crash(w);
    for (size_t i = 0; i < WORLD_SHARDS; i++) {
        if (w->shards[i])
            shard_free(w->shards[i]);
    }
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
    sy_loop_free(w->peers);
}
