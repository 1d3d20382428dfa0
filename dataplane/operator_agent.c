/*
 * DataPlane.Attend: one stream for each agent. An agent's first message tells what its node has and
 * what it holds; from then on it is the node's one agent. Another that says it is the same node
 * replaces it: the newer process is the one that lives (a restart is seen before the old
 * connection is).
 */
#include "base/mem.h"
#include "dataplane/operator_impl.h"
#include "proto/pb.h"
#include "scheduler/labels.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define ENVIRONMENTS_MAX 16 /* as struct sch_shape */
#define SLOTS_MAX 65536u    /* of one environment on one node */
#define REASON_MAX 512

const struct sm_table dp_agent_table = {
    .name = "agent stream",
    .states =
        (const struct sm_state[]){
            [DP_AGENT_GREETING] = {.name = "greeting",
                                   .next = SM_BIT(DP_AGENT_UP) | SM_BIT(DP_AGENT_GONE),
                                   .initial = true},
            [DP_AGENT_UP] = {.name = "up",
                             .next = SM_BIT(DP_AGENT_REPLACED) | SM_BIT(DP_AGENT_GONE)},
            [DP_AGENT_REPLACED] = {.name = "replaced", .next = SM_BIT(DP_AGENT_GONE)},
            [DP_AGENT_GONE] = {.name = "gone", .next = 0, .final = true},
        },
    .count = DP_AGENT_STATES,
};

struct dp_agent *dp_agent_find(struct dp_operator *op, const char *node)
{
    struct dp_agent *agent;
    HASH_FIND(hh, op->agents_by_node, node, strlen(node), agent);
    return agent;
}

/* ---- specs and assignments ---- */

static bool take_back_drop(struct dp_agent *agent, const struct dp_spec_key *key)
{
    for (size_t i = 0; i < agent->drops_count; i++) {
        if (memcmp(&agent->drops[i], key, sizeof(*key)) != 0)
            continue;
        agent->drops[i] = agent->drops[--agent->drops_count];
        return true;
    }
    return false;
}

void dp_agent_assign(struct dp_agent *agent, struct dp_spec *spec, struct sy_span record)
{
    if (dp_spec_claim(spec, agent->slot) && !take_back_drop(agent, &spec->key))
        dp_link_put(&agent->link, DP_TO_NODE_SPECS,
                    (struct sy_span){spec->record, spec->record_len});
    dp_link_put(&agent->link, DP_TO_NODE_ASSIGNMENTS, record);
}

void dp_agent_forget_spec(void *ctx, uint32_t slot, const struct dp_spec_key *key)
{
    struct dp_operator *op = ctx;
    SY_ASSERT(slot < op->slot_count && op->slots[slot]);
    struct dp_agent *agent = op->slots[slot];
    if (agent->drops_count == agent->drops_cap) {
        agent->drops_cap = agent->drops_cap > 0 ? agent->drops_cap * 2 : 8;
        agent->drops = sy_realloc(agent->drops, agent->drops_cap * sizeof(*agent->drops));
    }
    agent->drops[agent->drops_count++] = *key;
    dp_link_mark(&agent->link);
}

static void before_pack(struct dp_link *link)
{
    struct dp_agent *agent = (struct dp_agent *)link;
    if (dp_link_waiting(link, DP_TO_NODE_ASSIGNMENTS) > 0)
        return;
    struct sy_buf *record = &agent->op->scratch;
    for (size_t i = 0; i < agent->drops_count; i++) {
        sy_buf_clear(record);
        dp_wire_put_u64(record, 1, agent->drops[i].partition);
        dp_wire_put_u64(record, 2, agent->drops[i].epoch);
        dp_wire_put_u64(record, 3, agent->drops[i].id);
        dp_link_put(link, DP_TO_NODE_DROPPED_SPECS, sy_buf_span(record));
    }
    agent->drops_count = 0;
}

/* ---- up and down ---- */

static uint32_t take_slot(struct dp_operator *op, struct dp_agent *agent)
{
    uint32_t slot = 0;
    while (slot < op->slot_count && op->slots[slot])
        slot++;
    if (slot == op->slot_count) {
        uint32_t count = op->slot_count > 0 ? op->slot_count * 2 : 16;
        op->slots = sy_realloc(op->slots, count * sizeof(struct dp_agent *));
        memset(op->slots + op->slot_count, 0, (count - op->slot_count) * sizeof(struct dp_agent *));
        op->slot_count = count;
    }
    op->slots[slot] = agent;
    return slot;
}

static void agent_free(struct dp_agent *agent)
{
    struct dp_operator *op = agent->op;
    if (agent->previous)
        agent->previous->next = agent->next;
    else
        op->agents = agent->next;
    if (agent->next)
        agent->next->previous = agent->previous;
    op->agent_count--;
    dp_link_deinit(&agent->link);
    free(agent->drops);
    free(agent);
}

/* What an agent that is UP has all over the operator. */
static void detach(struct dp_agent *agent)
{
    struct dp_operator *op = agent->op;
    SY_ASSERT(op->slots[agent->slot] == agent);
    HASH_DEL(op->agents_by_node, agent);
    dp_specs_clear_slot(&op->specs, agent->slot);
    op->slots[agent->slot] = NULL;
    agent->drops_count = 0;
    dp_proofs_drop_agent(agent);
    dp_calls_remove_agent(&op->calls, &agent->calls);
}

static void leave(struct dp_agent *agent, enum dp_agent_state to)
{
    struct dp_operator *op = agent->op;
    bool was_up = agent->sm.state == DP_AGENT_UP;
    sm_move(&agent->sm, &dp_agent_table, to, agent);
    if (!was_up)
        return;
    detach(agent);
    dp_logs_agent_gone(agent);
    struct sch_op_event event = {.type = SCH_OP_NODE_DOWN};
    event.u.node.name = agent->node;
    dp_step(op, &event);
    dp_shards_tell(op, false);
}

static void on_lost(struct dp_link *link, enum sy_code code, const char *why)
{
    struct dp_agent *agent = (struct dp_agent *)link;
    bool refused = agent->sm.state == DP_AGENT_GREETING;
    leave(agent, DP_AGENT_GONE);
    sy_log(agent->op->log, &dp_events, refused ? DP_EV_AGENT_REFUSED : DP_EV_AGENT_DOWN,
           SY_STR("node", agent->node), SY_STR("session", agent->session),
           SY_STR("status", sy_code_name(code)), SY_STR("why", why));
    agent_free(agent);
}

static void replace(struct dp_agent *old, const struct dp_agent *by)
{
    sy_log(old->op->log, &dp_events, DP_EV_AGENT_REPLACED, SY_STR("node", old->node),
           SY_STR("old_session", old->session), SY_STR("new_session", by->session),
           SY_STR("old_boot", old->boot_id), SY_STR("new_boot", by->boot_id));
    leave(old, DP_AGENT_REPLACED);
    dp_link_close(&old->link, SY_CODE_ABORTED, "another agent has come for node '%s'", old->node);
}

static void welcome(struct dp_agent *agent)
{
    struct dp_operator *op = agent->op;
    struct sy_buf *record = &op->scratch;
    sy_buf_clear(record);
    dp_wire_put_text(record, 1, op->cluster);
    dp_wire_put_u64(record, 2, (uint64_t)op->heartbeat_ns);
    dp_wire_put_u64(record, 3, (uint64_t)op->silence_ns);
    dp_wire_put_u64(record, 4, op->term);
    dp_link_put(&agent->link, DP_TO_NODE_WELCOME, sy_buf_span(record));
    dp_link_established(&agent->link, op->heartbeat_ns, op->silence_ns);
}

/* ---- hello ---- */

#define STOP 1

static int refuse(struct dp_agent *agent, enum sy_code code, const char *what)
{
    dp_link_close(&agent->link, code, "%s", what);
    return STOP;
}

static void *decode(struct dp_agent *agent, const ProtobufCMessageDescriptor *descriptor,
                    const struct dp_wire_field *field)
{
    sy_arena_reset(&agent->op->arena);
    return pb_unpack(descriptor, &agent->op->arena, field->bytes);
}

static bool read_environments(const Switchyard__Internal__AgentHello *hello,
                              struct sch_environment ret[ENVIRONMENTS_MAX])
{
    if (hello->n_environments > ENVIRONMENTS_MAX)
        return false;
    for (size_t i = 0; i < hello->n_environments; i++) {
        const Switchyard__Internal__Environment *from = hello->environments[i];
        if (!dp_copy_name(ret[i].name, sizeof(ret[i].name), from->name, false) ||
            strcmp(ret[i].name, DP_SLEEP_ENVIRONMENT) == 0 || from->slots == 0 ||
            from->slots > SLOTS_MAX)
            return false;
        ret[i].slots = from->slots;
        for (size_t j = 0; j < i; j++) {
            if (strcmp(ret[i].name, ret[j].name) == 0)
                return false;
        }
    }
    return true;
}

static bool read_capacity(const Switchyard__Internal__AgentHello *hello, struct sch_resources *ret)
{
    return hello->capacity && dp_resources_from(hello->capacity, ret) &&
           ret->environment[0] == '\0';
}

/* The cluster's labels are its nodes' too, unless a node says otherwise. */
static bool add_cluster_labels(const struct dp_operator *op, struct sch_traits *traits)
{
    char labels[SCH_NODE_LABELS_MAX];
    memcpy(labels, op->labels, sizeof(labels));
    if (sch_labels_parse(labels, sizeof(labels), traits->labels, NULL) < 0)
        return false;
    memcpy(traits->labels, labels, sizeof(labels));
    return true;
}

static int on_hello(struct dp_agent *agent, const struct dp_wire_field *field)
{
    struct dp_operator *op = agent->op;
    if (agent->sm.state != DP_AGENT_GREETING)
        return refuse(agent, SY_CODE_FAILED_PRECONDITION, "a second hello");
    const Switchyard__Internal__AgentHello *hello = decode(
        agent, &switchyard__internal__agent_hello__descriptor, field);
    if (!hello)
        return refuse(agent, SY_CODE_INVALID_ARGUMENT, "a malformed hello");
    if (!dp_copy_name(agent->session, sizeof(agent->session), hello->session, false) ||
        !dp_copy_name(agent->boot_id, sizeof(agent->boot_id), hello->boot_id, true) ||
        !dp_copy_name(agent->node, sizeof(agent->node), hello->node, false) ||
        strchr(agent->node, '/') || strcmp(agent->node, DP_OWN_NODE) == 0)
        return refuse(agent, SY_CODE_INVALID_ARGUMENT,
                      "hello: node and session are 1 to 63 printable characters without blanks, "
                      "the node has no slash and is not called \"" DP_OWN_NODE "\"");
    if (op->term > 0 && hello->term > op->term)
        return refuse(agent, SY_CODE_FAILED_PRECONDITION,
                      "this operator's term is over: the agent has seen a later one");
    struct sch_environment environments[ENVIRONMENTS_MAX] = {0};
    if (!read_environments(hello, environments))
        return refuse(agent, SY_CODE_INVALID_ARGUMENT,
                      "hello: at most 16 environments, each with a name of its own, which is not "
                      "\"" DP_SLEEP_ENVIRONMENT "\", and 1 to 65536 slots");
    struct sch_op_event event = {.type = SCH_OP_NODE_UP};
    if (!read_capacity(hello, &event.u.node.capacity))
        return refuse(agent, SY_CODE_INVALID_ARGUMENT,
                      "hello: the capacity is missing or too large");
    struct sch_traits traits;
    if (!dp_traits_from(hello->traits, &traits) || !add_cluster_labels(op, &traits))
        return refuse(agent, SY_CODE_INVALID_ARGUMENT,
                      "hello: labels, taints or slices are malformed or too many");
    dp_gang_set_address(agent, hello->address);
    struct dp_agent *old = dp_agent_find(op, agent->node);
    if (old)
        replace(old, agent);
    agent->slot = take_slot(op, agent);
    HASH_ADD_KEYPTR(hh, op->agents_by_node, agent->node, strlen(agent->node), agent);
    sm_move(&agent->sm, &dp_agent_table, DP_AGENT_UP, agent);
    welcome(agent);
    sy_log(op->log, &dp_events, DP_EV_AGENT_UP, SY_STR("node", agent->node),
           SY_STR("session", agent->session), SY_STR("peer", sy_call_peer(agent->link.call)));
    event.u.node.name = agent->node;
    event.u.node.traits = &traits;
    event.u.node.environments = environments;
    event.u.node.environment_count = hello->n_environments;
    dp_step(op, &event);
    dp_shards_tell(op, false);
    return 0;
}

/* ---- records ---- */

static int on_inventory(struct dp_agent *agent, const struct dp_wire_field *field)
{
    const Switchyard__Internal__InventoryEntry *entry = decode(
        agent, &switchyard__internal__inventory_entry__descriptor, field);
    struct sch_op_event event = {.type = SCH_OP_NODE_INVENTORY};
    if (!entry || !dp_resources_from(entry->request, &event.u.inventory.request))
        return refuse(agent, SY_CODE_INVALID_ARGUMENT,
                      "a malformed inventory entry, or more than a request may ask for");
    if (!dp_partition_saw_epoch(agent->op, entry->partition, entry->epoch))
        return refuse(agent, SY_CODE_RESOURCE_EXHAUSTED, "attempts of too many partitions");
    event.u.inventory.node = agent->node;
    event.u.inventory.key = (struct sch_attempt_key){.action = entry->action,
                                                     .partition = entry->partition,
                                                     .number = entry->number,
                                                     .epoch = entry->epoch};
    event.u.inventory.started = entry->started;
    event.u.inventory.started_ns = entry->started_ns;
    event.u.inventory.queue = entry->queue;
    event.u.inventory.ran_ns = entry->ran_ns;
    struct sch_share_path place;
    if (!sch_share_path_from(entry->shares, entry->n_shares, &place))
        return refuse(agent, SY_CODE_INVALID_ARGUMENT, "a malformed inventory entry");
    event.u.inventory.place = &place;
    event.u.inventory.waits = entry->waits;
    dp_step(agent->op, &event);
    return 0;
}

static int on_started(struct dp_agent *agent, const struct dp_wire_field *field)
{
    struct dp_record record;
    if (dp_wire_record(field->bytes, &record) < 0)
        return refuse(agent, SY_CODE_INVALID_ARGUMENT, "a malformed start");
    struct sch_op_event event = {.type = SCH_OP_STARTED};
    event.u.report.node = agent->node;
    event.u.report.key = record.key;
    event.u.report.started_ns = (int64_t)record.value5;
    dp_step(agent->op, &event);
    return 0;
}

static int on_outcome(struct dp_agent *agent, const struct dp_wire_field *field)
{
    struct dp_record record;
    if (dp_wire_record(field->bytes, &record) < 0)
        return refuse(agent, SY_CODE_INVALID_ARGUMENT, "a malformed outcome");
    if (!dp_partition_saw_epoch(agent->op, record.key.partition, record.key.epoch))
        return refuse(agent, SY_CODE_RESOURCE_EXHAUSTED, "attempts of too many partitions");
    struct sch_op_event event = {.type = SCH_OP_OUTCOME};
    event.u.report.node = agent->node;
    event.u.report.key = record.key;
    event.u.report.started_ns = (int64_t)record.value10;
    event.u.report.cancelled = record.value5 ==
                               SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_CANCELLED;
    event.u.report.fault = record.value5 == SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_LOST ||
                           record.value5 == SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_REFUSED;
    event.u.report.blob = dp_outcome_blob(field->bytes);
    dp_step(agent->op, &event);
    return 0;
}

static int on_returned(struct dp_agent *agent, const struct dp_wire_field *field)
{
    struct dp_record record;
    if (dp_wire_record(field->bytes, &record) < 0)
        return refuse(agent, SY_CODE_INVALID_ARGUMENT, "a malformed return");
    char reason[REASON_MAX];
    dp_copy_text(reason, sizeof(reason), record.text5);
    struct sch_op_event event = {.type = SCH_OP_NODE_RETURNED};
    event.u.report.node = agent->node;
    event.u.report.key = record.key;
    event.u.report.reason = reason;
    dp_step(agent->op, &event);
    return 0;
}

static int on_call(struct dp_agent *agent, const struct dp_wire_field *field)
{
    if (!dp_relay_call(agent, field->bytes))
        return refuse(agent, SY_CODE_INVALID_ARGUMENT, "a malformed call");
    return 0;
}

static int on_log_chunk(struct dp_agent *agent, const struct dp_wire_field *field)
{
    if (!dp_logs_chunk(agent, field->bytes))
        return refuse(agent, SY_CODE_INVALID_ARGUMENT, "a malformed log chunk");
    return 0;
}

static int on_probe(struct dp_agent *agent, const struct dp_wire_field *field)
{
    if (!dp_proof_ask(agent, field->bytes))
        return refuse(agent, SY_CODE_INVALID_ARGUMENT, "a malformed probe");
    return 0;
}

static int on_field(void *ctx, const struct dp_wire_field *field)
{
    static int (*const handlers[])(struct dp_agent *, const struct dp_wire_field *) = {
        [DP_FROM_NODE_HELLO] = on_hello,          [DP_FROM_NODE_INVENTORY] = on_inventory,
        [DP_FROM_NODE_STARTED] = on_started,      [DP_FROM_NODE_OUTCOMES] = on_outcome,
        [DP_FROM_NODE_RETURNED] = on_returned,    [DP_FROM_NODE_CALLS] = on_call,
        [DP_FROM_NODE_LOG_CHUNKS] = on_log_chunk, [DP_FROM_NODE_PROBES] = on_probe,
    };
    struct dp_agent *agent = ctx;
    if (field->number >= SY_COUNT_OF(handlers) || field->number == DP_FROM_NODE_HEARTBEAT)
        return 0; /* a heartbeat: that it came is enough */
    if (field->type != DP_WIRE_BYTES)
        return refuse(agent, SY_CODE_INVALID_ARGUMENT, "a field has the wrong type");
    if (agent->sm.state != DP_AGENT_UP && field->number != DP_FROM_NODE_HELLO)
        return refuse(agent, SY_CODE_FAILED_PRECONDITION, "the first message has no hello");
    int r = handlers[field->number](agent, field);
    return dp_link_usable(&agent->link) ? r : STOP;
}

/* The inventory is complete with the first message. It is called so after all of that message: an
 * outcome in it also says that the agent holds its attempt. */
static void on_message(struct dp_link *link, struct sy_span message)
{
    struct dp_agent *agent = (struct dp_agent *)link;
    bool first = agent->sm.state == DP_AGENT_GREETING;
    if (dp_wire_each(message, DP_FROM_NODE_FIELDS, on_field, agent) < 0)
        dp_link_close(link, SY_CODE_INVALID_ARGUMENT, "a malformed message");
    if (!first || !dp_link_usable(link))
        return;
    if (agent->sm.state != DP_AGENT_UP) {
        dp_link_close(link, SY_CODE_FAILED_PRECONDITION, "the first message has no hello");
        return;
    }
    struct sch_op_event event = {.type = SCH_OP_NODE_INVENTORY_COMPLETE};
    event.u.node.name = agent->node;
    dp_step(agent->op, &event);
}

static const struct dp_link_ops agent_ops = {
    .on_message = on_message,
    .before_pack = before_pack,
    .on_lost = on_lost,
    .heartbeat_field = DP_TO_NODE_HEARTBEAT,
};

/* ---- for operator.c ---- */

void dp_agents_attend(void *ctx, struct sy_call *call, struct sy_span request)
{
    (void)request;
    struct dp_operator *op = ctx;
    dp_touch(op);
    if (!dp_gate_admits(&op->gate, call))
        return;
    if (op->sm.state != DP_RUNNING) {
        sy_call_fail(call, SY_CODE_UNAVAILABLE, "the operator is stopping");
        return;
    }
    if (op->agent_count >= op->agents_max) {
        sy_call_fail(call, SY_CODE_RESOURCE_EXHAUSTED, "%zu agents are attached, the most allowed",
                     op->agent_count);
        return;
    }
    struct dp_agent *agent = sy_new(struct dp_agent);
    agent->op = op;
    sm_init(&agent->sm, &dp_agent_table, DP_AGENT_GREETING);
    agent->next = op->agents;
    if (agent->next)
        agent->next->previous = agent;
    op->agents = agent;
    op->agent_count++;
    dp_link_init(&agent->link, &op->links, &agent_ops);
    dp_link_open(&agent->link, call, op->peer_bytes_max, DP_GREETING_NS);
    sy_call_set_sink(call, &dp_link_sink, &agent->link);
}

void dp_agents_stop(struct dp_operator *op)
{
    for (struct dp_agent *agent = op->agents; agent; agent = agent->next)
        dp_link_close(&agent->link, SY_CODE_UNAVAILABLE, "the operator is stopping");
}

void dp_agents_free(struct dp_operator *op)
{
    struct dp_agent *next;
    for (struct dp_agent *agent = op->agents; agent; agent = next) {
        next = agent->next;
        if (agent->sm.state == DP_AGENT_UP)
            detach(agent);
        agent_free(agent);
    }
    SY_ASSERT(op->agent_count == 0 && !op->agents_by_node);
    free(op->slots);
    op->slots = NULL;
    op->slot_count = 0;
}

void dp_agents_forgive(struct dp_operator *op, int64_t now_ns)
{
    for (struct dp_agent *agent = op->agents; agent; agent = agent->next)
        dp_link_forgive(&agent->link, now_ns);
}
