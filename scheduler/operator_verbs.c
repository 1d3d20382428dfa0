#include "scheduler/operator_impl.h"
#include "scheduler/operator_wait.h"

#include <stdlib.h>
#include <string.h>

/* ---- the tables: the diagrams are in operator.h ---- */

static bool service_invariant(const void *owner, unsigned state)
{
    const struct sch_op_service *service = owner;
    return state == SCH_SERVICE_DRAINING || !sch_heap_has(&service->due);
}

#define SERVICE_BIT(state) SM_BIT(SCH_SERVICE_##state)
static const struct sm_state service_states[SCH_SERVICE_STATES] = {
    [SCH_SERVICE_OPEN] = {.name = "open", .final = true},
    [SCH_SERVICE_CORDONED] = {.name = "cordoned",
                              .initial = true,
                              .next = SERVICE_BIT(DRAINING) | SERVICE_BIT(FENCED) |
                                      SERVICE_BIT(OPEN)},
    [SCH_SERVICE_DRAINING] = {.name = "draining",
                              .initial = true,
                              .next = SERVICE_BIT(DRAINED) | SERVICE_BIT(CORDONED) |
                                      SERVICE_BIT(FENCED) | SERVICE_BIT(OPEN)},
    [SCH_SERVICE_DRAINED] = {.name = "drained",
                             .next = SERVICE_BIT(DRAINING) | SERVICE_BIT(CORDONED) |
                                     SERVICE_BIT(FENCED) | SERVICE_BIT(OPEN)},
    [SCH_SERVICE_FENCED] = {.name = "fenced", .initial = true, .next = SERVICE_BIT(OPEN)},
};
const struct sm_table sch_service_table = {
    .name = "service",
    .states = service_states,
    .count = SCH_SERVICE_STATES,
    .invariant = service_invariant,
};

static bool health_invariant(const void *owner, unsigned state)
{
    const struct sch_node *node = owner;
    return state == SCH_HEALTH_AVOIDED || !sch_heap_has(&node->probation);
}

static const struct sm_state health_states[SCH_HEALTH_STATES] = {
    [SCH_HEALTH_TRUSTED] = {.name = "trusted", .initial = true, .next = SM_BIT(SCH_HEALTH_AVOIDED)},
    [SCH_HEALTH_AVOIDED] = {.name = "avoided", .next = SM_BIT(SCH_HEALTH_TRUSTED)},
};
const struct sm_table sch_health_table = {
    .name = "health",
    .states = health_states,
    .count = SCH_HEALTH_STATES,
    .invariant = health_invariant,
};

bool sch_node_serves(const struct sch_node *node)
{
    return sch_node_state(node) == SCH_NODE_READY && !node->listing && !node->service;
}

bool sch_node_placeable(const struct sch_node *node)
{
    return sch_node_serves(node) && !node->reserved && !node->claim;
}

/* Some kinds may choose among other nodes now. */
static void choice_changed(struct sch_operator *op, struct sch_node *node)
{
    sch_node_changed(op, node);
    op->choice_came = true;
    sch_kinds_dirty(op);
}

/* ---- services: what is kept of a node by name ---- */

static uint32_t service_hash(const char *name)
{
    return (uint32_t)sch_hash_bytes(name, strlen(name), 0);
}

struct sch_op_service *sch_service_find(const struct sch_operator *op, const char *name)
{
    struct sch_table_link *link = sch_table_first(&op->services_by_name, service_hash(name));
    for (; link; link = sch_table_next(link)) {
        struct sch_op_service *service = sy_container_of(link, struct sch_op_service, by_name);
        if (strcmp(service->name, name) == 0)
            return service;
    }
    return NULL;
}

static struct sch_op_service *service_new(struct sch_operator *op, const char *name,
                                          enum sch_service_state state)
{
    struct sch_op_service *service = sy_new(struct sch_op_service);
    service->name = sy_strdup(name);
    service->deadline_ns = SY_TIME_NEVER;
    sm_init(&service->sm, &sch_service_table, state);
    sch_table_add(&op->services_by_name, &service->by_name, service_hash(name));
    sch_list_push_back(&op->services, &service->link);
    struct sch_node *node = sch_node_find(op, name);
    if (node)
        sch_node_service_attach(op, node);
    return service;
}

static void service_free(struct sch_operator *op, struct sch_op_service *service)
{
    sch_heap_remove(&op->drains, &service->due);
    sch_table_remove(&op->services_by_name, &service->by_name);
    sch_list_remove(&service->link);
    free(service->name);
    free(service);
}

void sch_services_free(struct sch_operator *op)
{
    while (!sch_list_empty(&op->services))
        service_free(op, sy_container_of(op->services.next, struct sch_op_service, link));
}

enum sch_service_state sch_operator_service_of(const struct sch_operator *op, const char *node)
{
    const struct sch_op_service *service = sch_service_find(op, node);
    return service ? (enum sch_service_state)service->sm.state : SCH_SERVICE_OPEN;
}

void sch_operator_each_service(const struct sch_operator *op,
                               bool (*fn)(void *ctx, const char *node, enum sch_service_state state,
                                          int64_t deadline_ns),
                               void *ctx)
{
    for (struct sch_link *link = op->services.next; link != &op->services; link = link->next) {
        const struct sch_op_service *service = sy_container_of(link, struct sch_op_service, link);
        if (!fn(ctx, service->name, (enum sch_service_state)service->sm.state,
                service->deadline_ns))
            return;
    }
}

static void send_service(struct sch_operator *op, const char *name, enum sch_service_state state,
                         int64_t deadline_ns)
{
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SERVICE_CHANGED);
    effect->u.service.node = name;
    effect->u.service.state = state;
    effect->u.service.deadline_ns = deadline_ns;
}

static void move(struct sch_operator *op, struct sch_op_service *service,
                 enum sch_service_state state)
{
    if (state != SCH_SERVICE_DRAINING)
        sch_heap_remove(&op->drains, &service->due);
    if (service->sm.state != state)
        sm_move(&service->sm, &sch_service_table, state, service);
    send_service(op, service->name, state, service->deadline_ns);
}

/* ---- drains ---- */

void sch_node_give_back(struct sch_operator *op, struct sch_node *node)
{
    if (sch_node_state(node) != SCH_NODE_READY)
        return;
    sch_op_effect_add(op, SCH_OP_SEND_GIVE_BACK)->u.attempt.node = node->name;
    node->asked_ns = op->now_ns;
    for (struct sch_link *link = node->attempts.next; link != &node->attempts; link = link->next)
        sy_container_of(link, struct sch_attempt, place)->asked_back = true;
}

/* What was cancelled by its partition ends as that. */
static void preempt_all(struct sch_operator *op, struct sch_node *node)
{
    for (struct sch_link *link = node->attempts.next; link != &node->attempts; link = link->next) {
        struct sch_attempt *a = sy_container_of(link, struct sch_attempt, place);
        op->due_looks += SCH_OP_DUE_LOOKS;
        if (a->cancelled)
            continue;
        sch_op_cancel(op, &a->key, "its node is drained");
        a->preempted = "preempted: its node is drained";
    }
}

void sch_node_drained(struct sch_operator *op, struct sch_node *node)
{
    struct sch_op_service *service = node->service;
    bool seen = sch_node_state(node) != SCH_NODE_LOST && !node->listing;
    if (service && service->sm.state == SCH_SERVICE_DRAINING && seen &&
        sch_list_empty(&node->attempts) && sch_list_empty(&node->unnamed))
        move(op, service, SCH_SERVICE_DRAINED);
}

void sch_node_service_attach(struct sch_operator *op, struct sch_node *node)
{
    node->service = sch_service_find(op, node->name);
    choice_changed(op, node);
}

void sch_node_service_resume(struct sch_operator *op, struct sch_node *node)
{
    struct sch_op_service *service = node->service;
    if (!service || service->sm.state == SCH_SERVICE_CORDONED ||
        service->sm.state == SCH_SERVICE_FENCED)
        return;
    if (service->sm.state == SCH_SERVICE_DRAINED && !sch_list_empty(&node->attempts))
        move(op, service, SCH_SERVICE_DRAINING); /* its agent held some after all */
    sch_node_give_back(op, node);
    if (service->deadline_ns <= op->now_ns)
        preempt_all(op, node);
    sch_node_drained(op, node);
}

static void drain(struct sch_operator *op, struct sch_op_service *service, int64_t deadline_ns)
{
    struct sch_node *node = sch_node_find(op, service->name);
    service->deadline_ns = deadline_ns;
    move(op, service, SCH_SERVICE_DRAINING);
    if (deadline_ns != SY_TIME_NEVER)
        sch_heap_set(&op->drains, &service->due, deadline_ns);
    if (!node)
        return;
    sch_node_give_back(op, node);
    sch_node_drained(op, node);
}

/* `name` outlives the entry. */
static void reopen(struct sch_operator *op, struct sch_op_service *service, const char *name)
{
    struct sch_node *node = sch_node_find(op, service->name);
    service->deadline_ns = SY_TIME_NEVER;
    sch_heap_remove(&op->drains, &service->due);
    sm_move(&service->sm, &sch_service_table, SCH_SERVICE_OPEN, service);
    send_service(op, name, SCH_SERVICE_OPEN, SY_TIME_NEVER);
    if (node) {
        node->service = NULL;
        choice_changed(op, node);
    }
    service_free(op, service);
}

/* ---- fences ---- */

bool sch_node_fenced(const struct sch_node *node)
{
    return node->service && node->service->sm.state == SCH_SERVICE_FENCED;
}

static void give_up(struct sch_operator *op, struct sch_node *node)
{
    struct sch_link *lists[] = {&node->attempts, &node->unnamed};
    for (size_t i = 0; i < SY_COUNT_OF(lists); i++) {
        struct sch_link *link = lists[i]->next;
        for (; link != lists[i]; link = link->next) {
            struct sch_attempt *a = sy_container_of(link, struct sch_attempt, place);
            if (!a->cancelled) /* else it ends as who cancelled it says */
                a->preempted = "preempted: its node is fenced";
            sch_op_cancel(op, &a->key, "its node is fenced");
        }
        sch_node_lose(op, node, lists[i]);
    }
    SY_ASSERT(sch_list_empty(&node->attempts) && sch_list_empty(&node->unnamed));
}

static void fence(struct sch_operator *op, struct sch_op_service *service)
{
    struct sch_node *node = sch_node_find(op, service->name);
    service->deadline_ns = SY_TIME_NEVER;
    move(op, service, SCH_SERVICE_FENCED);
    if (node)
        give_up(op, node);
    sch_node_paid(op, service->name);
}

/* ---- the verbs ---- */

static bool applies(enum sch_op_event_type verb, const struct sch_op_service *service)
{
    bool fenced = service && service->sm.state == SCH_SERVICE_FENCED;
    switch (verb) {
    case SCH_OP_NODE_UNFENCE:
        return fenced;
    case SCH_OP_NODE_FENCE:
        return true;
    case SCH_OP_NODE_UNCORDON:
        return service && !fenced;
    default:
        return !fenced;
    }
}

void sch_node_verb(struct sch_operator *op, const struct sch_op_event *event)
{
    static const enum sch_service_state states[SCH_OP_EVENT_TYPES] = {
        [SCH_OP_NODE_CORDON] = SCH_SERVICE_CORDONED,
        [SCH_OP_NODE_DRAIN] = SCH_SERVICE_DRAINING,
        [SCH_OP_NODE_FENCE] = SCH_SERVICE_FENCED,
    };
    const char *name = event->u.verb.node;
    struct sch_op_service *service = sch_service_find(op, name);
    if (!applies(event->type, service))
        return;
    if (!service)
        service = service_new(op, name, states[event->type]);
    switch (event->type) {
    case SCH_OP_NODE_DRAIN:
        drain(op, service, event->u.verb.deadline_ns);
        break;
    case SCH_OP_NODE_FENCE:
        fence(op, service);
        break;
    case SCH_OP_NODE_CORDON:
        service->deadline_ns = SY_TIME_NEVER;
        move(op, service, SCH_SERVICE_CORDONED);
        break;
    default:
        reopen(op, service, name);
        break;
    }
}

/* ---- health ---- */

void sch_node_trust(struct sch_operator *op, struct sch_node *node)
{
    node->faults = node->ends = 0;
    sch_heap_remove(&op->probations, &node->probation);
    if (node->health.state == SCH_HEALTH_AVOIDED) {
        sm_move(&node->health, &sch_health_table, SCH_HEALTH_TRUSTED, node);
        choice_changed(op, node);
    }
}

void sch_node_ended(struct sch_operator *op, struct sch_node *node, bool fault)
{
    if (node->health.state == SCH_HEALTH_AVOIDED)
        return;
    if (op->now_ns - node->faults_since_ns >= SCH_OP_FAULT_WINDOW_NS) {
        node->faults_since_ns = op->now_ns;
        node->faults = node->ends = 0;
    }
    node->ends++;
    node->faults += fault;
    if (node->faults < SCH_OP_FAULTS_MAX || node->faults * 2 <= node->ends)
        return;
    sm_move(&node->health, &sch_health_table, SCH_HEALTH_AVOIDED, node);
    sch_heap_set(&op->probations, &node->probation, op->now_ns + SCH_OP_AVOID_NS);
    choice_changed(op, node);
}

/* ---- time ---- */

void sch_verbs_tick(struct sch_operator *op)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&op->drains)) && top->key <= op->now_ns && sch_op_may_look(op)) {
        struct sch_op_service *service = sy_container_of(top, struct sch_op_service, due);
        op->due_looks += SCH_OP_DUE_LOOKS;
        sch_heap_remove(&op->drains, &service->due);
        struct sch_node *node = sch_node_find(op, service->name);
        if (node)
            preempt_all(op, node);
    }
    while ((top = sch_heap_top(&op->probations)) && top->key <= op->now_ns && sch_op_may_look(op)) {
        op->due_looks += SCH_OP_DUE_LOOKS;
        sch_node_trust(op, sy_container_of(top, struct sch_node, probation));
    }
}
