/*
 * The stream to the operator. Dialled by us, again and again with a growing, jittered pause. The
 * first message tells what the node has and everything it holds; from the welcome on, what gathers
 * in a turn leaves as one message whenever the transport has sent the one before.
 *
 * While it is down tasks run on, and outcomes gather.
 */
#include "agent/agent_impl.h"

#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define BACKOFF_MIN_NS (100 * SY_NS_PER_MS)
#define BACKOFF_MAX_NS (5 * SY_NS_PER_S)
/* So long after it was there an operator may be in the middle of a restart. */
#define SOON_NS (5 * SY_NS_PER_S)
#define BACKOFF_SOON_NS (200 * SY_NS_PER_MS)
#define GREETING_NS (10 * SY_NS_PER_S)
#define HEARTBEAT_DEFAULT_NS SY_NS_PER_S
#define LEASE_DEFAULT_NS (15 * SY_NS_PER_S)
#define MESSAGE_BYTES ((size_t)1 << 20)
#define RESEND_NS (30 * SY_NS_PER_S)

enum { /* fields of AgentMessage */
       FIELD_HELLO = 1,
       FIELD_INVENTORY = 2,
       FIELD_OUTCOMES = 4,
       FIELD_RETURNED = 5,
       FIELD_HEARTBEAT = 8,
};

static void dial_later(struct ag_agent *agent, bool all_had_their_turn);

/* ---- encoding ---- */

static void put_varint(struct sy_buf *buf, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (uint8_t)(value | 0x80);
    bytes[n++] = (uint8_t)value;
    sy_buf_append(buf, bytes, n);
}

void ag_put_bytes(struct sy_buf *buf, unsigned field, struct sy_span bytes)
{
    put_varint(buf, (uint64_t)field << 3 | 2);
    put_varint(buf, bytes.len);
    sy_buf_append(buf, bytes.data, bytes.len);
}

void ag_put_message(struct sy_buf *buf, unsigned field, const ProtobufCMessage *message)
{
    put_varint(buf, (uint64_t)field << 3 | 2);
    put_varint(buf, protobuf_c_message_get_packed_size(message));
    pb_pack(message, buf);
}

void ag_stream_return(struct ag_agent *agent, const struct ag_attempt_key *key, const char *reason)
{
    if (agent->link == AG_LINK_DOWN)
        return; /* the next inventory does not name it; one that has gone with the hello does */
    Switchyard__Internal__Returned msg = SWITCHYARD__INTERNAL__RETURNED__INIT;
    msg.partition = key->partition;
    msg.action = key->action;
    msg.number = key->number;
    msg.epoch = key->epoch;
    msg.reason = (char *)(uintptr_t)reason;
    ag_put_message(&agent->out_returned, FIELD_RETURNED, &msg.base);
}

static Switchyard__Internal__Resources resources_msg(const struct sch_resources *from)
{
    Switchyard__Internal__Resources msg = SWITCHYARD__INTERNAL__RESOURCES__INIT;
    msg.cpu_milli = from->cpu_milli;
    msg.memory_bytes = from->memory_bytes;
    msg.gpus = from->gpus;
    msg.gpu_model = (char *)(uintptr_t)from->gpu_model;
    msg.environment = (char *)(uintptr_t)from->environment;
    msg.gpu_milli = from->gpu_milli;
    msg.gpu_partition = (char *)(uintptr_t)from->gpu_partition;
    msg.labels = (char *)(uintptr_t)from->labels;
    msg.tolerations = (char *)(uintptr_t)from->tolerations;
    return msg;
}

static Switchyard__Internal__Traits
traits_msg(const struct sch_traits *from,
           Switchyard__Internal__GpuSlices slices[SCH_GPU_SLICES_MAX],
           Switchyard__Internal__GpuSlices *pointers[SCH_GPU_SLICES_MAX])
{
    Switchyard__Internal__Traits msg = SWITCHYARD__INTERNAL__TRAITS__INIT;
    msg.labels = (char *)(uintptr_t)from->labels;
    msg.taints = (char *)(uintptr_t)from->taints;
    msg.gpus_shared = from->gpus_shared != 0;
    for (uint32_t i = 0; i < from->slice_count; i++) {
        switchyard__internal__gpu_slices__init(&slices[i]);
        slices[i].name = (char *)(uintptr_t)from->slices[i].name;
        slices[i].count = from->slices[i].count;
        pointers[i] = &slices[i];
    }
    msg.slices = pointers;
    msg.n_slices = from->slice_count;
    return msg;
}

static void put_hello(struct ag_agent *agent, struct sy_buf *buf)
{
    Switchyard__Internal__AgentHello msg = SWITCHYARD__INTERNAL__AGENT_HELLO__INIT;
    Switchyard__Internal__Resources capacity = resources_msg(&agent->room.capacity);
    Switchyard__Internal__Environment environments[AG_ROOM_ENVIRONMENTS_MAX];
    Switchyard__Internal__Environment *pointers[AG_ROOM_ENVIRONMENTS_MAX];
    for (uint32_t i = 0; i < agent->room.environment_count; i++) {
        switchyard__internal__environment__init(&environments[i]);
        environments[i].name = agent->room.environments[i].name;
        environments[i].slots = agent->room.environments[i].slots;
        pointers[i] = &environments[i];
    }
    Switchyard__Internal__GpuSlices slices[SCH_GPU_SLICES_MAX], *slice_pointers[SCH_GPU_SLICES_MAX];
    Switchyard__Internal__Traits traits = traits_msg(&agent->room.devices.traits, slices,
                                                     slice_pointers);
    msg.traits = &traits;
    msg.node = agent->node;
    msg.boot_id = agent->boot_id;
    msg.address = agent->address;
    msg.session = agent->session;
    msg.term = ag_operators_term(agent->operators);
    msg.capacity = &capacity;
    msg.environments = pointers;
    msg.n_environments = agent->room.environment_count;
    ag_put_message(buf, FIELD_HELLO, &msg.base);
}

/* Everything we hold; an attempt that is done is named too, until its outcome is acknowledged. */
static void put_inventory(struct ag_agent *agent, struct sy_buf *buf)
{
    int64_t now_ns = sy_loop_realtime_ns(agent->ports.loop);
    SY_MAP_EACH(&agent->by_key, at, next)
    {
        const struct ag_attempt *a = sy_map_entry(at, struct ag_attempt, by_key);
        Switchyard__Internal__InventoryEntry msg = SWITCHYARD__INTERNAL__INVENTORY_ENTRY__INIT;
        struct sch_resources none = {0};
        Switchyard__Internal__Resources request = resources_msg(
            a->class != NULL ? &a->class->request : &none);
        msg.partition = a->key.partition;
        msg.action = a->key.action;
        msg.number = a->key.number;
        msg.epoch = a->key.epoch;
        msg.class_ = a->class_number;
        msg.queue = a->gang == NULL ? a->queue : 0; /* a gang stops whole, or not */
        msg.n_shares = a->place.depth;
        msg.shares = (uint32_t *)(uintptr_t)a->place.tags;
        msg.waits = a->waits;
        msg.started = a->started || a->sm.state >= AG_ATTEMPT_UPLOADING;
        msg.started_ns = a->started_ns;
        if (msg.started && a->started_ns > 0 && now_ns > a->started_ns)
            msg.ran_ns = now_ns - a->started_ns;
        msg.node = agent->node;
        msg.request = &request;
        ag_put_message(buf, FIELD_INVENTORY, &msg.base);
    }
}

/* ---- sending ---- */

static bool nothing_waits(const struct ag_agent *agent)
{
    return agent->to_send.first == NULL && agent->out_started.len == 0 &&
           agent->out_returned.len == 0 && agent->out_calls.len == 0 &&
           agent->out_chunks.len == 0 && agent->out_probes.len == 0 && agent->unsent.len == 0;
}

bool ag_stream_idle(const struct ag_agent *agent)
{
    return agent->link != AG_LINK_UP || (nothing_waits(agent) && sy_call_ready(agent->call));
}

static void take(struct sy_buf *message, struct sy_buf *from)
{
    sy_buf_append(message, from->data, from->len);
    sy_buf_clear(from);
    if (from->cap > MESSAGE_BYTES)
        sy_buf_deinit(from);
}

static void put_outcomes(struct ag_agent *agent, struct sy_buf *message)
{
    while (agent->to_send.first != NULL && message->len < MESSAGE_BYTES) {
        struct ag_attempt *a = agent->to_send.first;
        ag_list_remove(&agent->to_send, a);
        ag_list_append(&agent->sent, a);
        a->outcome_queued = false;
        a->arrived_ns = sy_loop_now_ns(agent->ports.loop); /* since when it waits for the answer */
        ag_put_bytes(message, FIELD_OUTCOMES, sy_buf_span(&a->outcome));
    }
}

static void send_message(struct ag_agent *agent, struct sy_buf *message)
{
    int r = sy_call_send(agent->call, message);
    if (r == SY_RPC_E_FULL)
        agent->unsent = sy_buf_take(message);
    else
        agent->sent_ns = sy_loop_now_ns(agent->ports.loop);
    sy_buf_deinit(message);
}

void ag_stream_send(struct ag_agent *agent)
{
    while (agent->link == AG_LINK_UP && !nothing_waits(agent) && sy_call_ready(agent->call)) {
        struct sy_buf message = sy_buf_take(&agent->unsent);
        if (message.len == 0) { /* in the order in which the receiver handles them */
            take(&message, &agent->out_started);
            put_outcomes(agent, &message);
            take(&message, &agent->out_returned);
            take(&message, &agent->out_calls);
            take(&message, &agent->out_chunks);
            take(&message, &agent->out_probes);
        }
        send_message(agent, &message);
    }
}

/* Outcomes that were not acknowledged for long go again: the operator may have lost them with a
 * shard. */
static void resend_old(struct ag_agent *agent, int64_t now_ns)
{
    while (agent->sent.first != NULL && now_ns - agent->sent.first->arrived_ns > RESEND_NS) {
        struct ag_attempt *a = agent->sent.first;
        ag_list_remove(&agent->sent, a);
        ag_list_append(&agent->to_send, a);
        a->outcome_queued = true;
    }
}

/* ---- up and down ---- */

static const struct sy_call_sink deaf_sink = {0};

static void drop_call(struct ag_agent *agent)
{
    if (agent->call == NULL)
        return;
    sy_call_finish(agent->call, NULL);
    sy_call_set_sink(agent->call, &deaf_sink, NULL);
    sy_call_unref(sy_take(agent->call));
}

static void lost(struct ag_agent *agent, const char *why)
{
    if (agent->link == AG_LINK_UP) {
        agent->parted_ns = sy_loop_now_ns(agent->ports.loop);
        sy_log(agent->ports.log, &ag_events, AG_EV_DISCONNECTED,
               SY_STR("operator", ag_operators_target(agent->operators)), SY_STR("why", why));
    }
    agent->link = AG_LINK_DOWN;
    agent->link_leaves = false;
    drop_call(agent);
    sy_buf_clear(&agent->out_started);
    sy_buf_clear(&agent->out_returned);
    sy_buf_clear(&agent->out_calls);
    sy_buf_clear(&agent->out_chunks);
    sy_buf_clear(&agent->out_probes);
    sy_buf_deinit(&agent->unsent);
    while (agent->sent.first != NULL) { /* all of them go again */
        struct ag_attempt *a = agent->sent.first;
        ag_list_remove(&agent->sent, a);
        ag_list_append(&agent->to_send, a);
        a->outcome_queued = true;
    }
    ag_relay_lost(agent);
    dial_later(agent, ag_operators_next(agent->operators));
}

static void on_message(void *ctx, struct sy_span message)
{
    struct ag_agent *agent = ctx;
    agent->heard_ns = sy_loop_now_ns(agent->ports.loop);
    ag_receive(agent, message);
}

static void on_writable(void *ctx)
{
    (void)ctx; /* the end of the turn sends */
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct ag_agent *agent = ctx;
    char why[SY_ERROR_TEXT_MAX];
    memcpy(why, status->message.text, sizeof(why));
    sy_call_unref(sy_take(agent->call));
    if (status->code == SY_CODE_UNAUTHENTICATED)
        sy_log(agent->ports.log, &ag_events, AG_EV_REFUSED,
               SY_STR("operator", ag_operators_target(agent->operators)), SY_STR("why", why));
    lost(agent, why);
}

static const struct sy_call_sink sink = {
    .on_message = on_message,
    .on_writable = on_writable,
    .on_closed = on_closed,
};

static void dial(struct ag_agent *agent)
{
    SY_ASSERT(agent->link == AG_LINK_DOWN && agent->call == NULL);
    struct sy_call_options options = {
        .method = "/switchyard.internal.DataPlane/Attend",
        .metadata = &agent->bearer.metadata,
        .metadata_count = agent->bearer.metadata_count,
    };
    agent->call = sy_channel_open(ag_operators_channel(agent->operators), agent->ports.loop,
                                  &options, &sink, agent);
    agent->link = AG_LINK_GREETING;
    agent->heard_ns = sy_loop_now_ns(agent->ports.loop);
    struct sy_buf message = {0};
    put_hello(agent, &message);
    put_inventory(agent, &message);
    int r = sy_call_send(agent->call, &message);
    SY_ASSERT(r == 0); /* the first one always has room */
    sy_timer_start_in(agent->ports.loop, &agent->link_timer, GREETING_NS);
}

/* The pause grows when none of the operators has taken us. */
static void dial_later(struct ag_agent *agent, bool all_had_their_turn)
{
    if (agent->stopped)
        return;
    int64_t pause_ns = all_had_their_turn ? agent->backoff_ns : BACKOFF_MIN_NS;
    int64_t jitter = (int64_t)sy_rng_below(&agent->rng, (uint64_t)pause_ns);
    sy_timer_start_in(agent->ports.loop, &agent->link_timer, pause_ns / 2 + jitter);
    if (!all_had_their_turn)
        return;
    bool soon = sy_loop_now_ns(agent->ports.loop) - agent->parted_ns < SOON_NS;
    int64_t max_ns = soon ? BACKOFF_SOON_NS : BACKOFF_MAX_NS;
    agent->backoff_ns *= 2;
    if (agent->backoff_ns > max_ns)
        agent->backoff_ns = max_ns;
}

static void beat(struct ag_agent *agent)
{
    int64_t now_ns = sy_loop_now_ns(agent->ports.loop);
    if (now_ns - agent->heard_ns > agent->lease_ns) {
        lost(agent, "it was silent for too long");
        return;
    }
    resend_old(agent, now_ns);
    ag_proofs_ask(agent, agent->heartbeat_ns - agent->heartbeat_ns / 4);
    if (now_ns - agent->sent_ns >= agent->heartbeat_ns && nothing_waits(agent) &&
        sy_call_ready(agent->call)) {
        struct sy_buf message = {0};
        put_varint(&message, FIELD_HEARTBEAT << 3);
        put_varint(&message, 1);
        send_message(agent, &message);
    }
    sy_timer_start_in(agent->ports.loop, &agent->link_timer, agent->heartbeat_ns / 2);
}

static void on_link_timer(void *arg)
{
    struct ag_agent *agent = arg;
    switch (agent->link) {
    case AG_LINK_DOWN:
        dial(agent);
        break;
    case AG_LINK_GREETING:
        lost(agent, agent->link_leaves ? "another operator is the active one"
                                       : "it did not answer the hello");
        break;
    case AG_LINK_UP:
        if (agent->link_leaves)
            lost(agent, "another operator is the active one");
        else
            beat(agent);
        break;
    }
}

/* A pause of its own, as we do not fall out of the message that is being read. */
static void leave_soon(struct ag_agent *agent)
{
    agent->link_leaves = true;
    sy_timer_start_in(agent->ports.loop, &agent->link_timer, 0);
}

void ag_stream_welcome(struct ag_agent *agent, const ag_pb_welcome *welcome)
{
    int64_t heartbeat_ns = welcome->heartbeat_ns, lease_ns = welcome->lease_ns;
    if (agent->link != AG_LINK_GREETING)
        return;
    if (!ag_operators_welcome(agent->operators, welcome->term)) {
        sy_log(agent->ports.log, &ag_events, AG_EV_OLD_TERM,
               SY_STR("operator", ag_operators_target(agent->operators)),
               SY_U64("term", welcome->term),
               SY_U64("newest", ag_operators_term(agent->operators)));
        leave_soon(agent);
        return;
    }
    agent->link = AG_LINK_UP;
    if (agent->ports.on_operator != NULL)
        agent->ports.on_operator(agent->ports.on_operator_ctx,
                                 ag_operators_target(agent->operators));
    agent->heartbeat_ns = heartbeat_ns > 0 ? heartbeat_ns : HEARTBEAT_DEFAULT_NS;
    agent->lease_ns = lease_ns > 0 ? lease_ns : LEASE_DEFAULT_NS;
    agent->backoff_ns = BACKOFF_MIN_NS;
    agent->sent_ns = sy_loop_now_ns(agent->ports.loop);
    ag_proofs_ask(agent, 0);
    sy_log(agent->ports.log, &ag_events, AG_EV_CONNECTED,
           SY_STR("operator", ag_operators_target(agent->operators)),
           SY_STR("cluster", welcome->cluster), SY_U64("attempts", agent->by_key.count));
    sy_timer_start_in(agent->ports.loop, &agent->link_timer, agent->heartbeat_ns / 2);
}

static void on_moved(void *ctx)
{
    struct ag_agent *agent = ctx;
    if (agent->link != AG_LINK_DOWN)
        leave_soon(agent);
    else if (!agent->stopped)
        sy_timer_start_in(agent->ports.loop, &agent->link_timer, 0); /* dials it */
}

void ag_stream_init(struct ag_agent *agent, const char *const *targets)
{
    agent->backoff_ns = BACKOFF_MIN_NS;
    agent->parted_ns = sy_loop_now_ns(agent->ports.loop);
    agent->operators = ag_operators_new(agent->ports.rpc, agent->ports.loop, targets,
                                        &agent->bearer, on_moved, agent);
    sy_timer_init(&agent->link_timer, on_link_timer, agent);
    sy_timer_start_in(agent->ports.loop, &agent->link_timer, 0);
}

void ag_stream_close(struct ag_agent *agent)
{
    agent->stopped = true;
    if (agent->link != AG_LINK_DOWN)
        lost(agent, "stopped");
    sy_timer_stop(agent->ports.loop, &agent->link_timer);
}

void ag_stream_deinit(struct ag_agent *agent)
{
    sy_timer_stop(agent->ports.loop, &agent->link_timer);
    drop_call(agent);
    ag_operators_free(agent->operators);
    sy_buf_deinit(&agent->out_started);
    sy_buf_deinit(&agent->out_returned);
    sy_buf_deinit(&agent->out_calls);
    sy_buf_deinit(&agent->out_chunks);
    sy_buf_deinit(&agent->out_probes);
    sy_buf_deinit(&agent->unsent);
}
