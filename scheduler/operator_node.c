#include "scheduler/operator_impl.h"
#include "scheduler/operator_wait.h"

#include <stdlib.h>
#include <string.h>

/* ---- the table: the diagram is in operator.h ---- */

static bool node_invariant(const void *owner, unsigned state)
{
    const struct sch_node *node = owner;
    return state == SCH_NODE_LOST || !sch_heap_has(&node->lease);
}

static const struct sm_state node_states[SCH_NODE_STATES] = {
    [SCH_NODE_READY] = {.name = "ready", .initial = true, .next = SM_BIT(SCH_NODE_LOST)},
    [SCH_NODE_LOST] = {.name = "lost", .next = SM_BIT(SCH_NODE_READY) | SM_BIT(SCH_NODE_GONE)},
    [SCH_NODE_GONE] = {.name = "gone", .final = true},
};
const struct sm_table sch_node_table = {
    .name = "node",
    .states = node_states,
    .count = SCH_NODE_STATES,
    .invariant = node_invariant,
};

/* ---- set-up ---- */

static uint32_t node_hash(const char *name)
{
    return (uint32_t)sch_hash_bytes(name, strlen(name), 0);
}

struct sch_node *sch_node_find(const struct sch_operator *op, const char *name)
{
    SY_ASSERT(name);
    struct sch_table_link *link = sch_table_first(&op->nodes_by_name, node_hash(name));
    for (; link; link = sch_table_next(link)) {
        struct sch_node *node = sy_container_of(link, struct sch_node, by_name);
        if (strcmp(node->name, name) == 0)
            return node;
    }
    return NULL;
}

void sch_node_unref(struct sch_node *node)
{
    SY_ASSERT(node->refs > 0);
    if (--node->refs > 0)
        return;
    SY_ASSERT(!node->shape && !node->all.fit && !node->told.fit);
    free(node->shares);
    free(node->name);
    free(node);
}

static struct sch_node *node_new(struct sch_operator *op, const char *name)
{
    struct sch_node *node = sy_new(struct sch_node);
    node->name = sy_strdup(name);
    node->refs = 1;
    node->tier = -1;
    node->asked_ns = INT64_MIN / 2; /* never */
    sm_init(&node->sm, &sch_node_table, SCH_NODE_READY);
    sm_init(&node->health, &sch_health_table, SCH_HEALTH_TRUSTED);
    sch_list_init(&node->attempts);
    sch_list_init(&node->unnamed);
    sch_list_init(&node->backlog);
    sch_table_add(&op->nodes_by_name, &node->by_name, node_hash(name));
    if (op->node_count == op->node_cap) {
        op->node_cap = op->node_cap ? op->node_cap * 2 : 16;
        op->nodes = sy_realloc(op->nodes, op->node_cap * sizeof(struct sch_node *));
    }
    node->index = op->node_count++;
    op->nodes[node->index] = node;
    op->claims_changed = true; /* as many as there are nodes */
    return node;
}

static int compare_environments(const void *a, const void *b)
{
    const struct sch_environment *left = a, *right = b;
    return strncmp(left->name, right->name, SCH_ENVIRONMENT_MAX);
}

/* Sorted by name and padded with zeros, so that nodes alike have equal bytes. */
static void read_shape(struct sch_shape *ret, const struct sch_op_event *event)
{
    const struct sch_environment *environments = event->u.node.environments;
    size_t count = event->u.node.environment_count;
    SY_ASSERT(environments || count == 0);
    memset(ret, 0, sizeof(*ret));
    ret->capacity = event->u.node.capacity;
    if (event->u.node.traits)
        ret->traits = *event->u.node.traits;
    ret->environment_count = (uint32_t)(count < SCH_OP_ENVIRONMENTS_MAX ? count
                                                                        : SCH_OP_ENVIRONMENTS_MAX);
    for (uint32_t i = 0; i < ret->environment_count; i++) {
        size_t length = strnlen(environments[i].name, SCH_ENVIRONMENT_MAX - 1);
        memcpy(ret->environments[i].name, environments[i].name, length);
        ret->environments[i].slots = environments[i].slots;
    }
    qsort(ret->environments, ret->environment_count, sizeof(*ret->environments),
          compare_environments);
}

static void shapes_changed(struct sch_operator *op)
{
    if (op->shapes_due_ns != SY_TIME_NEVER)
        return;
    int64_t next_ns = op->shapes_ns + SCH_OP_SHAPES_INTERVAL_NS;
    op->shapes_due_ns = next_ns > op->now_ns ? next_ns : op->now_ns;
}

/* ---- up and down ---- */

/* Nothing of what we believe about its attempts holds before its inventory says so. */
static void forget_room(struct sch_operator *op, struct sch_node *node)
{
    sch_list_splice(&node->unnamed, &node->attempts);
    for (struct sch_link *link = node->unnamed.next; link != &node->unnamed; link = link->next) {
        struct sch_attempt *a = sy_container_of(link, struct sch_attempt, place);
        if (sch_link_in_list(&a->queue))
            sch_node_backlog_remove(op, a);
        sch_node_uncharge(op, a);
    }
    memset(node->environment_warm, 0, sizeof(node->environment_warm)); /* nor of its workers */
    SY_ASSERT(node->used_cpu_milli == 0 && node->used_gpus == 0 && node->used_memory_bytes == 0);
    SY_ASSERT(node->backlog_count == 0);
}

void sch_node_up(struct sch_operator *op, const struct sch_op_event *event)
{
    struct sch_node *node = sch_node_find(op, event->u.node.name);
    if (!node) {
        node = node_new(op, event->u.node.name);
    } else if (sch_node_state(node) == SCH_NODE_LOST) {
        sch_heap_remove(&op->leases, &node->lease);
        sm_move(&node->sm, &sch_node_table, SCH_NODE_READY, node);
    }
    SY_ASSERT(sch_node_state(node) == SCH_NODE_READY);
    forget_room(op, node);
    struct sch_shape shape;
    const struct sch_op_shape *before = node->shape;
    read_shape(&shape, event);
    node->listing = true;
    node->grace_restarted = false;
    sch_node_set_shape(op, node, &shape);
    sch_node_trust(op, node);
    sch_node_service_attach(op, node);
    if (node->shape != before)
        shapes_changed(op);
}

void sch_node_lose(struct sch_operator *op, const struct sch_node *node, struct sch_link *attempts)
{
    int64_t suspect_ns = op->now_ns - op->options.node_lease_ns - SCH_OP_SUSPECT_NS;
    bool one = node->running == 1;
    while (!sch_list_empty(attempts)) {
        struct sch_link *first = attempts->next;
        struct sch_attempt *a = sy_container_of(first, struct sch_attempt, place);
        op->due_looks += SCH_OP_DUE_LOOKS;
        a->alone = one && !a->preempted && sch_attempt_state(a) == SCH_ATTEMPT_STARTED &&
                   a->since_ns >= suspect_ns;
        if (sch_op_partition_is_served(a->partition))
            sch_attempt_done(op, a, (struct sch_blob){0});
        else
            sch_attempt_free(op, a); /* its inventory will lack it: that says the same */
        SY_ASSERT(attempts->next != first);
    }
}

void sch_node_inventory_complete(struct sch_operator *op, const char *name)
{
    struct sch_node *node = sch_node_find(op, name);
    if (!node || !node->listing || sch_node_state(node) != SCH_NODE_READY)
        return;
    sch_node_lose(op, node, &node->unnamed);
    node->listing = false;
    sch_node_promote(op, node);
    sch_node_changed(op, node);
    op->choice_came = true;
    sch_kinds_dirty(op);
    sch_node_service_resume(op, node);
    sch_node_paid(op, name);
}

void sch_node_down(struct sch_operator *op, const char *name)
{
    struct sch_node *node = sch_node_find(op, name);
    if (!node || sch_node_state(node) != SCH_NODE_READY)
        return;
    sm_move(&node->sm, &sch_node_table, SCH_NODE_LOST, node);
    sch_heap_set(&op->leases, &node->lease, op->now_ns + op->options.node_lease_ns);
    sch_list_splice(&node->unnamed, &node->attempts);
    sch_list_splice(&node->attempts, &node->unnamed);
    sch_node_changed(op, node);
    op->choice_came = true; /* on a node that is avoided, for those that could only run here */
    sch_kinds_dirty(op);
}

static void node_gone(struct sch_operator *op, struct sch_node *node)
{
    sch_heap_remove(&op->leases, &node->lease);
    sm_move(&node->sm, &sch_node_table, SCH_NODE_GONE, node);
    sch_node_lose(op, node, &node->attempts);
    sch_op_node_left(op, node);
    sch_node_drained(op, node);
    sch_node_reserve(op, node, false);
    SY_ASSERT(op->nodes[node->index] == node && sch_list_empty(&node->unnamed) && !node->claim);
    sch_table_remove(&op->nodes_by_name, &node->by_name);
    sch_heap_remove(&op->probations, &node->probation);
    sch_node_leave_index(op, node);
    op->nodes[node->index] = op->nodes[--op->node_count];
    op->nodes[node->index]->index = node->index;
    op->claims_changed = true;
    sch_node_unref(node);
    shapes_changed(op);
}

void sch_node_leases(struct sch_operator *op)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&op->leases)) && top->key <= op->now_ns && sch_op_may_look(op)) {
        struct sch_node *node = sy_container_of(top, struct sch_node, lease);
        op->due_looks += SCH_OP_DUE_LOOKS;
        SY_ASSERT(sch_node_state(node) == SCH_NODE_LOST);
        if (!sch_node_outwaits(op, node))
            node_gone(op, node);
    }
}

/* ---- an observer that was blind restarts the grace, once ---- */

void sch_node_watch(struct sch_operator *op, int64_t now_ns)
{
    int64_t gap_ns = now_ns - op->now_ns, lease_ns = op->options.node_lease_ns;
    if (gap_ns > lease_ns / 2 && op->leases.count > 0) {
        for (uint32_t i = 0; i < op->node_count; i++) {
            struct sch_node *node = op->nodes[i];
            if (!sch_heap_has(&node->lease) || node->grace_restarted)
                continue;
            node->grace_restarted = true;
            sch_heap_set(&op->leases, &node->lease, now_ns + lease_ns);
        }
    }
    bool joining = op->join_end_ns != SY_TIME_NEVER && !op->join_restarted;
    if (joining && gap_ns > op->options.join_grace_ns / 2) {
        op->join_restarted = true;
        op->join_end_ns = now_ns + op->options.join_grace_ns;
    }
}

int64_t sch_node_watch_ns(const struct sch_operator *op)
{
    int64_t at = SY_TIME_NEVER;
    if (op->leases.count > 0)
        at = op->now_ns + op->options.node_lease_ns / 4;
    if (op->join_end_ns != SY_TIME_NEVER) {
        int64_t join = op->now_ns + op->options.join_grace_ns / 4;
        at = join < at ? join : at;
    }
    return at;
}

/* ---- inventory ---- */

static void send_cancel(struct sch_operator *op, const struct sch_node *node,
                        const struct sch_attempt_key *key, const char *reason)
{
    SY_ASSERT(sch_node_state(node) == SCH_NODE_READY);
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_CANCEL);
    effect->u.attempt.node = node->name;
    effect->u.attempt.key = *key;
    effect->u.attempt.reason = reason;
}

static void send_started(struct sch_operator *op, const struct sch_attempt *a)
{
    SY_ASSERT(sch_attempt_state(a) == SCH_ATTEMPT_STARTED);
    if (!sch_attempt_is_heard(a))
        return; /* its inventory will say so */
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_STARTED);
    effect->u.report.key = a->key;
    effect->u.report.partition = a->partition->id;
    effect->u.report.node = a->node->name;
    effect->u.report.started_ns = a->started_ns;
}

static void start(struct sch_operator *op, struct sch_attempt *a, int64_t started_ns)
{
    sm_move(&a->sm, &sch_attempt_table, SCH_ATTEMPT_STARTED, a);
    a->started_ns = started_ns;
    a->since_ns = op->now_ns;
    sch_op_placed_started(a);
    a->node->running++;
    if (sch_link_in_list(&a->queue))
        sch_node_backlog_remove(op, a);
    if (!a->charged)
        sch_node_charge(op, a, false);
    sch_node_changed(op, a->node);
    sch_node_promote(op, a->node); /* the next one may ask for something else */
}

static void set_node(struct sch_attempt *a, struct sch_node *node)
{
    if (a->node == node)
        return;
    if (a->node)
        sch_node_unref(a->node);
    a->node = node;
    node->refs++;
}

static void confirm(struct sch_operator *op, struct sch_attempt *a, bool started,
                    int64_t started_ns)
{
    struct sch_node *node = a->node;
    sch_list_remove(&a->place);
    sch_list_push_back(&node->attempts, &a->place);
    if (sch_attempt_state(a) == SCH_ATTEMPT_STARTED) {
        if (!a->charged)
            sch_node_charge(op, a, false);
    } else if (started) {
        start(op, a, started_ns);
        send_started(op, a);
    } else if (!a->charged && !sch_link_in_list(&a->queue)) {
        sch_node_backlog_push(op, a);
    }
    if (a->cancelled)
        send_cancel(op, node, &a->key, "cancelled");
    else if (a->asked_back && sch_attempt_state(a) == SCH_ATTEMPT_PLACED)
        sch_op_effect_add(op, SCH_OP_SEND_GIVE_BACK)->u.attempt.node = node->name;
}

/* We restarted, or gave it up before: its partition decides. */
static void adopt(struct sch_operator *op, struct sch_node *node, const struct sch_op_event *event)
{
    const struct sch_attempt_key *key = &event->u.inventory.key;
    struct sch_kind *kind = sch_kind_ref(op, &event->u.inventory.request);
    struct sch_attempt *a = sch_attempt_new(op, key, kind, SCH_ATTEMPT_PLACED);
    a->queue_tag = event->u.inventory.queue;
    sch_attempt_sit(op, a, event->u.inventory.place);
    a->waits = event->u.inventory.waits;
    set_node(a, node);
    sch_list_push_back(&node->attempts, &a->place);
    sch_node_waits(op, a, true);
    if (event->u.inventory.started) {
        start(op, a, event->u.inventory.started_ns);
        bool known = event->u.inventory.ran_ns > 0 &&
                     event->u.inventory.ran_ns < SCH_OP_ADOPTED_AGE_NS;
        a->since_ns = op->now_ns - (known ? event->u.inventory.ran_ns : SCH_OP_ADOPTED_AGE_NS);
    } else {
        sch_node_backlog_push(op, a);
    }
    sch_attempt_send_inventory(op, a);
}

void sch_node_inventory(struct sch_operator *op, const struct sch_op_event *event)
{
    struct sch_node *node = sch_node_find(op, event->u.inventory.node);
    if (!node || sch_node_state(node) != SCH_NODE_READY || !node->listing)
        return;
    struct sch_attempt *a = sch_attempt_find(op, &event->u.inventory.key);
    if (sch_node_fenced(node))
        send_cancel(op, node, &event->u.inventory.key, "its node is fenced");
    else if (!a)
        adopt(op, node, event);
    else if (a->node == node && sch_attempt_state(a) != SCH_ATTEMPT_DONE)
        confirm(op, a, event->u.inventory.started, event->u.inventory.started_ns);
    else
        send_cancel(op, node, &event->u.inventory.key, "given up as lost");
}

/* ---- reports ---- */

static struct sch_attempt *find_on_node(const struct sch_operator *op,
                                        const struct sch_op_event *event)
{
    struct sch_attempt *a = sch_attempt_find(op, &event->u.report.key);
    SY_ASSERT(event->u.report.node);
    if (!a || !a->node || a->node != sch_node_find(op, event->u.report.node))
        return NULL;
    return sch_node_state(a->node) == SCH_NODE_READY ? a : NULL;
}

void sch_node_started(struct sch_operator *op, const struct sch_op_event *event)
{
    struct sch_attempt *a = find_on_node(op, event);
    if (!a || sch_attempt_state(a) != SCH_ATTEMPT_PLACED)
        return;
    start(op, a, event->u.report.started_ns);
    send_started(op, a);
}

void sch_node_send_ack(struct sch_operator *op, const struct sch_node *node,
                       const struct sch_attempt_key *key)
{
    if (sch_node_state(node) != SCH_NODE_READY)
        return; /* it tells of it again */
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_ACK);
    effect->u.attempt.node = node->name;
    effect->u.attempt.key = *key;
}

static void outcome_unknown(struct sch_operator *op, struct sch_node *node,
                            const struct sch_op_event *event)
{
    struct sch_attempt *a = sch_attempt_new(op, &event->u.report.key, NULL, SCH_ATTEMPT_DONE);
    set_node(a, node);
    a->started_ns = event->u.report.started_ns;
    a->blob = event->u.report.blob;
    sch_attempt_send_outcome(op, a);
}

void sch_node_outcome(struct sch_operator *op, const struct sch_op_event *event)
{
    struct sch_node *node = sch_node_find(op, event->u.report.node);
    struct sch_attempt *a = sch_attempt_find(op, &event->u.report.key);
    struct sch_blob blob = event->u.report.blob;
    if (!node || sch_node_state(node) != SCH_NODE_READY) {
        sch_blob_release(&blob);
        return;
    }
    if (!a && sch_node_fenced(node)) {
        sch_blob_release(&blob);
        sch_node_send_ack(op, node, &event->u.report.key);
        return;
    }
    if (!a) { /* we restarted: the agent keeps it until it is acknowledged */
        outcome_unknown(op, node, event);
        return;
    }
    if (sch_attempt_state(a) == SCH_ATTEMPT_DONE || a->node != node) {
        if (sch_attempt_state(a) == SCH_ATTEMPT_DONE)
            set_node(a, node); /* who waits for the acknowledgement */
        sch_blob_release(&blob);
        return;
    }
    a->started_ns = event->u.report.started_ns ? event->u.report.started_ns : a->started_ns;
    node->finished++;
    sch_rate_add(&node->rate, op->now_ns);
    sch_kind_ended(op, a->kind);
    if (a->preempted && event->u.report.cancelled)
        sch_blob_release(&blob);
    sch_node_ended(op, node, event->u.report.fault && !a->preempted && !a->suspect);
    sch_attempt_done(op, a, blob);
}

void sch_node_returned(struct sch_operator *op, const struct sch_op_event *event)
{
    struct sch_attempt *a = find_on_node(op, event);
    if (!a || sch_attempt_state(a) == SCH_ATTEMPT_DONE)
        return;
    const char *reason = event->u.report.reason ? event->u.report.reason : "given back by its node";
    bool asked = a->asked_back || op->now_ns - a->node->asked_ns <= SCH_OP_GIVE_BACK_NS;
    sch_node_ended(op, a->node, !asked);
    if (sch_attempt_state(a) == SCH_ATTEMPT_STARTED)
        sch_attempt_done(op, a,
                         (struct sch_blob){0}); /* it had started: not for us to say it ran not */
    else
        sch_attempt_returned(op, a, reason);
}
