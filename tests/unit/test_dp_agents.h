/*
 * Fake agents for test_dp_world.h: they remember what they were told, and end what is assigned to
 * them at once unless told to hold it.
 */
#pragma once

#include "tests/unit/test_dp_world.h"

/* ---- fake agents ---- */

struct held {
    uint32_t partition, number, epoch, spec;
    uint64_t action;
};

struct fake_agent {
    struct world *w;
    char name[16], node[16], session[32];
    struct sy_channel *channel;
    struct sy_bearer bearer;
    struct sy_call *call; /* NULL: closed */
    enum sy_code closed;
    char closed_text[SY_ERROR_TEXT_MAX];
    size_t messages, welcomes, heartbeats, specs, dropped, assignments, acks, cancels, give_backs,
        replies, log_reads;
    size_t without_spec; /* assignments whose spec had not come */
    int64_t heartbeat_ns, lease_ns;
    uint64_t term; /* of the last welcome; what its hello shows */
    char cluster[64], last_cancel[64];
    uint32_t last_reply_code;
    uint64_t last_reply_call;
    bool known_specs[64];
    size_t proofs;
    uint64_t proven_ns; /* by the last one */
    int64_t proof_lease_ns;
    size_t proof_cancels; /* that had come before */
    struct held *held;
    size_t held_count;
    bool hold; /* keep what is assigned instead of running it at once */
    bool beat; /* send heartbeats */
    size_t output_bytes;
    uint64_t entry_memory; /* that each entry of its inventory asks for */
    struct sy_timer beat_timer;
    /* Answers LogRead; NULL: never. */
    void (*on_log_read)(struct fake_agent *agent, const PB(LogRead) * read);
    void *log_ctx;
};

static inline void agent_send(struct fake_agent *agent, const PB(AgentMessage) * message)
{
    ck_assert_ptr_nonnull(agent->call);
    send_message(agent->call, &message->base);
}

static inline void agent_started(struct fake_agent *agent, const struct held *held)
{
    PB(Started) started = PB_INIT(STARTED), *list[] = {&started};
    started.partition = held->partition;
    started.action = held->action;
    started.number = held->number;
    started.epoch = held->epoch;
    started.started_ns = 7;
    started.node = agent->node;
    PB(AgentMessage) message = PB_INIT(AGENT_MESSAGE);
    message.started = list;
    message.n_started = 1;
    agent_send(agent, &message);
}

static inline void fill_outcome(struct fake_agent *agent, const struct held *held,
                                PB(Outcome) * outcome)
{
    switchyard__internal__outcome__init(outcome);
    outcome->partition = held->partition;
    outcome->action = held->action;
    outcome->number = held->number;
    outcome->epoch = held->epoch;
    outcome->kind = SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_SUCCEEDED;
    outcome->node = agent->node;
    outcome->started_ns = 7;
}

static inline void agent_outcomes(struct fake_agent *agent, const struct held *held, size_t count)
{
    PB(Outcome) *items = sy_calloc(count, sizeof(*items));
    PB(Outcome) **list = sy_calloc(count, sizeof(*list));
    uint8_t *output = sy_calloc(agent->output_bytes + 1, 1);
    for (size_t i = 0; i < count; i++) {
        fill_outcome(agent, &held[i], &items[i]);
        items[i].output = (ProtobufCBinaryData){agent->output_bytes, output};
        list[i] = &items[i];
    }
    PB(AgentMessage) message = PB_INIT(AGENT_MESSAGE);
    message.outcomes = list;
    message.n_outcomes = count;
    agent_send(agent, &message);
    free(output);
    free(list);
    free(items);
}

static inline void agent_call(struct fake_agent *agent, const struct held *held, uint64_t call)
{
    PB(TaskCall) item = PB_INIT(TASK_CALL), *list[] = {&item};
    item.partition = held->partition;
    item.action = held->action;
    item.number = held->number;
    item.epoch = held->epoch;
    item.call = call;
    item.method = (char *)(uintptr_t) "Enqueue";
    PB(AgentMessage) message = PB_INIT(AGENT_MESSAGE);
    message.calls = list;
    message.n_calls = 1;
    agent_send(agent, &message);
}

static inline void agent_return(struct fake_agent *agent, const struct held *held)
{
    PB(Returned) item = PB_INIT(RETURNED), *list[] = {&item};
    item.partition = held->partition;
    item.action = held->action;
    item.number = held->number;
    item.epoch = held->epoch;
    item.reason = (char *)(uintptr_t) "no room after all";
    PB(AgentMessage) message = PB_INIT(AGENT_MESSAGE);
    message.returned = list;
    message.n_returned = 1;
    agent_send(agent, &message);
}

static inline void agent_assignments(struct fake_agent *agent, const PB(NodeMessage) * m)
{
    size_t from = agent->held_count;
    agent->held = sy_realloc(agent->held, (from + m->n_assignments + 1) * sizeof(*agent->held));
    for (size_t i = 0; i < m->n_assignments; i++) {
        const PB(Assignment) *a = m->assignments[i];
        agent->without_spec += a->spec >= 64 || !agent->known_specs[a->spec];
        agent->held[agent->held_count++] = (struct held){a->partition, a->number, a->epoch, a->spec,
                                                         a->action};
    }
    agent->assignments += m->n_assignments;
    if (!agent->hold && m->n_assignments > 0) {
        agent_outcomes(agent, agent->held + from, m->n_assignments);
        agent->held_count = from;
    }
}

static inline void agent_records(struct fake_agent *agent, const PB(NodeMessage) * m)
{
    agent->messages++;
    if (m->welcome) {
        agent->welcomes++;
        agent->heartbeat_ns = m->welcome->heartbeat_ns;
        agent->lease_ns = m->welcome->lease_ns;
        agent->term = m->welcome->term;
        snprintf(agent->cluster, sizeof(agent->cluster), "%s", m->welcome->cluster);
    }
    for (size_t i = 0; i < m->n_specs; i++) {
        ck_assert_uint_lt(m->specs[i]->id, 64);
        agent->known_specs[m->specs[i]->id] = true;
    }
    for (size_t i = 0; i < m->n_dropped_specs; i++)
        agent->known_specs[m->dropped_specs[i]->id] = false;
    agent->specs += m->n_specs;
    agent->dropped += m->n_dropped_specs;
    agent_assignments(agent, m);
    agent->acks += m->n_acks;
    agent->cancels += m->n_cancels;
    agent->give_backs += m->give_back;
    if (m->n_cancels > 0)
        snprintf(agent->last_cancel, sizeof(agent->last_cancel), "%s", m->cancels[0]->reason);
    agent->replies += m->n_replies;
    for (size_t i = 0; i < m->n_replies; i++) {
        agent->last_reply_code = m->replies[i]->code;
        agent->last_reply_call = m->replies[i]->call;
    }
    agent->proofs += m->n_proofs;
    for (size_t i = 0; i < m->n_proofs; i++) {
        agent->proven_ns = m->proofs[i]->sent_ns;
        agent->proof_lease_ns = m->proofs[i]->lease_ns;
        agent->proof_cancels = agent->cancels;
    }
    agent->heartbeats += m->heartbeat ? 1 : 0;
    agent->log_reads += m->n_log_reads;
    for (size_t i = 0; i < m->n_log_reads; i++) {
        if (agent->on_log_read)
            agent->on_log_read(agent, m->log_reads[i]);
    }
}

static inline void agent_message(void *ctx, struct sy_span span)
{
    PB(NodeMessage) *m = switchyard__internal__node_message__unpack(NULL, span.len, span.data);
    ck_assert_ptr_nonnull(m);
    agent_records(ctx, m);
    switchyard__internal__node_message__free_unpacked(m, NULL);
}

static inline void agent_closed(void *ctx, const struct sy_status *status)
{
    struct fake_agent *agent = ctx;
    agent->closed = status->code;
    snprintf(agent->closed_text, sizeof(agent->closed_text), "%s", status->message.text);
    sy_call_unref(sy_take(agent->call));
}

static const struct sy_call_sink agent_sink = {.on_message = agent_message,
                                               .on_closed = agent_closed};

static inline void agent_beat(void *arg)
{
    struct fake_agent *agent = arg;
    if (agent->call && agent->beat) {
        PB(AgentMessage) message = PB_INIT(AGENT_MESSAGE);
        message.heartbeat = true;
        agent_send(agent, &message);
    }
    sy_timer_start_in(agent->w->peers, &agent->beat_timer, SEC);
}

static inline struct fake_agent *agent_new(struct world *w, const char *node, const char *session)
{
    static int serial;
    struct fake_agent *agent = sy_new(struct fake_agent);
    agent->w = w;
    agent->beat = true;
    snprintf(agent->name, sizeof(agent->name), "agent%d", ++serial % 100000);
    snprintf(agent->node, sizeof(agent->node), "%s", node);
    snprintf(agent->session, sizeof(agent->session), "%s", session);
    sy_rpc_mem_set_origin(w->rpc, agent->name);
    agent->channel = sy_channel_new(w->rpc, "operator");
    sy_timer_init(&agent->beat_timer, agent_beat, agent);
    agent_beat(agent);
    return agent;
}

/* Ends it in that way. */
static inline void agent_outcome_of(struct fake_agent *agent, const struct held *held,
                                    PB(OutcomeKind) kind)
{
    PB(Outcome) outcome, *list[] = {&outcome};
    PB(AgentMessage) message = PB_INIT(AGENT_MESSAGE);
    fill_outcome(agent, held, &outcome);
    outcome.kind = kind;
    message.outcomes = list;
    message.n_outcomes = 1;
    agent_send(agent, &message);
}

static inline void agent_open(struct fake_agent *agent)
{
    struct sy_call_options options = {.method = "/switchyard.internal.DataPlane/Attend",
                                      .metadata = &agent->bearer.metadata,
                                      .metadata_count = agent->bearer.metadata_count};
    ck_assert_ptr_null(agent->call);
    agent->closed = SY_CODE_OK;
    memset(agent->known_specs, 0, sizeof(agent->known_specs));
    agent->call = sy_channel_open(agent->channel, agent->w->peers, &options, &agent_sink, agent);
}

/* With an inventory of `held`, and a pool "py" of that many slots. */
static inline void agent_hello(struct fake_agent *agent, uint32_t cpu_milli, uint32_t slots,
                               const struct held *held, size_t held_count, bool started)
{
    PB(Resources) capacity = PB_INIT(RESOURCES);
    capacity.cpu_milli = cpu_milli;
    capacity.memory_bytes = 1ull << 34;
    PB(Environment) environment = PB_INIT(ENVIRONMENT), *environments[] = {&environment};
    environment.name = (char *)(uintptr_t) "py";
    environment.slots = slots;
    PB(AgentHello) hello = PB_INIT(AGENT_HELLO);
    hello.node = agent->node;
    hello.session = agent->session;
    hello.term = agent->term;
    hello.boot_id = (char *)(uintptr_t) "boot";
    hello.capacity = &capacity;
    hello.environments = environments;
    hello.n_environments = slots > 0 ? 1 : 0;
    PB(Resources) request = PB_INIT(RESOURCES);
    request.cpu_milli = 1000;
    request.memory_bytes = agent->entry_memory;
    PB(InventoryEntry) *items = sy_calloc(held_count + 1, sizeof(*items));
    PB(InventoryEntry) **list = sy_calloc(held_count + 1, sizeof(*list));
    for (size_t i = 0; i < held_count; i++) {
        switchyard__internal__inventory_entry__init(&items[i]);
        items[i].partition = held[i].partition;
        items[i].action = held[i].action;
        items[i].number = held[i].number;
        items[i].epoch = held[i].epoch;
        items[i].started = started;
        items[i].node = agent->node;
        items[i].request = &request;
        list[i] = &items[i];
    }
    PB(AgentMessage) message = PB_INIT(AGENT_MESSAGE);
    message.hello = &hello;
    message.inventory = list;
    message.n_inventory = held_count;
    agent_send(agent, &message);
    free(list);
    free(items);
}

static inline struct fake_agent *agent_join(struct world *w, const char *node, const char *session,
                                            uint32_t cpu_milli)
{
    struct fake_agent *agent = agent_new(w, node, session);
    agent_open(agent);
    agent_hello(agent, cpu_milli, 4, NULL, 0, false);
    return agent;
}

/* The process dies. */
static inline void agent_kill(struct fake_agent *agent)
{
    sy_rpc_mem_kill(agent->w->rpc, agent->name);
    if (agent->call)
        sy_call_unref(sy_take(agent->call));
}

static inline void agent_free(struct fake_agent *agent)
{
    agent_kill(agent);
    sy_timer_stop(agent->w->peers, &agent->beat_timer);
    sy_channel_free(agent->channel);
    free(agent->held);
    free(agent);
}

/* ---- a world that is ready for work ---- */

#define CLASS 3
#define SPEC 1

/* One shard with one partition, one node with room for four, demand known and granted. */
static inline struct fake_partition *world_get_grants(struct world *w,
                                                      struct fake_agent **ret_agent)
{
    struct fake_shard *shard = shard_new(w, 0, 1, 5);
    world_start(w);
    struct fake_agent *agent = agent_join(w, "node1", "s1", 4000);
    world_run(w, SEC);
    struct fake_partition *p = &shard->partitions[0];
    ck_assert_ptr_nonnull(p->call);
    shard_demand(p, CLASS, 1000, "", 100);
    world_run(w, 50 * MS);
    ck_assert_uint_ge(p->granted[CLASS], 4);
    if (ret_agent)
        *ret_agent = agent;
    return p;
}

static inline struct fake_partition *world_with_grants(struct world *w,
                                                       struct fake_agent **ret_agent)
{
    world_init(w);
    return world_get_grants(w, ret_agent);
}
