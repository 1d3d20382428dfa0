#include "scheduler/operator_impl.h"
#include "scheduler/operator_wait.h"

#include <stdlib.h>
#include <string.h>

#define EFFECTS_KEPT 16384u

/* ---- the table of attempts: the diagram is in operator.h ---- */

static bool attempt_invariant(const void *owner, unsigned state)
{
    const struct sch_attempt *a = owner;
    switch (state) {
    case SCH_ATTEMPT_HELD:
        return a->kind && !a->charged;
    case SCH_ATTEMPT_PLACED:
    case SCH_ATTEMPT_STARTED:
        return a->kind && a->node;
    default:
        return !a->charged && !sch_link_in_list(&a->place) && !sch_link_in_list(&a->queue);
    }
}

#define ATTEMPT_BIT(state) SM_BIT(SCH_ATTEMPT_##state)
static const struct sm_state attempt_states[SCH_ATTEMPT_STATES] = {
    [SCH_ATTEMPT_HELD] = {.name = "held",
                          .initial = true,
                          .next = ATTEMPT_BIT(PLACED) | ATTEMPT_BIT(RETURNED)},
    [SCH_ATTEMPT_PLACED] = {.name = "placed",
                            .initial = true,
                            .next = ATTEMPT_BIT(STARTED) | ATTEMPT_BIT(DONE) |
                                    ATTEMPT_BIT(RETURNED)},
    [SCH_ATTEMPT_STARTED] = {.name = "started", .initial = true, .next = ATTEMPT_BIT(DONE)},
    [SCH_ATTEMPT_DONE] = {.name = "done", .initial = true, .final = true},
    [SCH_ATTEMPT_RETURNED] = {.name = "returned", .final = true},
};
const struct sm_table sch_attempt_table = {
    .name = "attempt",
    .states = attempt_states,
    .count = SCH_ATTEMPT_STATES,
    .invariant = attempt_invariant,
};

/* ---- set-up ---- */

struct sch_operator *sch_operator_new(const struct sch_operator_options *options, int64_t now_ns)
{
    SY_ASSERT(options->hold_ns > 0 && options->node_lease_ns > 0);
    SY_ASSERT(options->join_grace_ns >= 0);
    struct sch_operator *op = sy_new(struct sch_operator);
    op->options = *options;
    if (op->options.gang_hold_ns == 0)
        op->options.gang_hold_ns = SCH_OP_GANG_HOLD_NS;
    if (op->options.looks_max == 0)
        op->options.looks_max = SCH_OP_ORDER_LOOKS;
    op->now_ns = now_ns;
    op->join_end_ns = options->join_grace_ns > 0 ? now_ns + options->join_grace_ns : SY_TIME_NEVER;
    op->granted_ns = op->shapes_ns = op->elsewhere_told_ns = INT64_MIN / 2;
    op->elsewhere_due_ns = SY_TIME_NEVER;
    sch_list_init(&op->shares_changed);
    op->grant_due_ns = op->shapes_due_ns = op->claim_due_ns = SY_TIME_NEVER;
    op->reserve_end_ns = op->reserve_due_ns = op->pass_due_ns = SY_TIME_NEVER;
    sch_list_init(&op->gangs);
    sch_list_init(&op->partitions);
    sch_list_init(&op->kinds);
    sch_round_init(&op->parked);
    sch_list_init(&op->parked_at);
    sch_list_init(&op->kinds_asking);
    sch_list_init(&op->kinds_dirty);
    sch_list_init(&op->kinds_decided);
    op->kinds_serial = 1;
    sch_list_init(&op->kinds_rated);
    sch_round_init(&op->order.kinds);
    sch_list_init(&op->kinds_unsure);
    sch_list_init(&op->held);
    sch_list_init(&op->claims);
    sch_list_init(&op->claims_touched);
    sch_list_init(&op->reserved);
    sch_list_init(&op->nodes_leaving);
    sch_list_init(&op->claiming);
    sch_list_init(&op->changed);
    sch_list_init(&op->freed);
    sch_list_init(&op->shapes);
    sch_list_init(&op->groups);
    sch_labels_init(&op->labels);
    sch_list_init(&op->services);
    sch_list_init(&op->owed);
    return op;
}

void sch_operator_free(struct sch_operator *op)
{
    if (!op)
        return;
    while (!sch_list_empty(&op->partitions))
        sch_op_partition_free(op,
                              sy_container_of(op->partitions.next, struct sch_op_partition, link));
    SY_ASSERT(op->attempts.count == 0 && sch_list_empty(&op->kinds));
    for (uint32_t i = 0; i < op->node_count; i++) {
        sch_node_leave_index(op, op->nodes[i]);
        sch_node_unref(op->nodes[i]);
    }
    SY_ASSERT(sch_list_empty(&op->shapes) && sch_list_empty(&op->groups));
    sch_labels_deinit(&op->labels);
    sch_services_free(op);
    sch_owed_free(op);
    struct sch_table *tables[] = {&op->partitions_by_id, &op->classes_by_id, &op->kinds_by_request,
                                  &op->nodes_by_name,    &op->attempts,      &op->shapes_by_bytes,
                                  &op->services_by_name, &op->shares_by_id,  &op->seats,
                                  &op->groups_by_bytes};
    SY_ASSERT(op->shares_by_id.count == 0 && op->seats.count == 0);
    for (size_t i = 0; i < SY_COUNT_OF(tables); i++)
        sch_table_deinit(tables[i]);
    sch_heap_deinit(&op->region.children);
    SY_ASSERT(op->made.count == 0 && sch_list_empty(&op->claims_touched));
    struct sch_heap *heaps[] = {&op->leases, &op->drains, &op->probations, &op->recalls, &op->made};
    for (size_t i = 0; i < SY_COUNT_OF(heaps); i++)
        sch_heap_deinit(heaps[i]);
    free(op->nodes);
    free(op);
}

void sch_op_effects_deinit(struct sch_op_effects *effects)
{
    free(effects->items);
    *effects = (struct sch_op_effects){0};
}

struct sch_op_effect *sch_op_effect_add(struct sch_operator *op, enum sch_op_effect_type type)
{
    struct sch_op_effects *effects = op->out;
    SY_ASSERT(effects && effects->count <= effects->cap);
    if (effects->count == effects->cap) {
        effects->cap = effects->cap ? effects->cap * 2 : 64;
        effects->items = sy_realloc(effects->items, effects->cap * sizeof(*effects->items));
    }
    struct sch_op_effect *effect = &effects->items[effects->count++];
    *effect = (struct sch_op_effect){.type = type};
    return effect;
}

void sch_blob_release(struct sch_blob *blob)
{
    struct sch_blob taken = *blob;
    *blob = (struct sch_blob){0};
    SY_ASSERT(taken.data || !taken.release);
    if (taken.release)
        taken.release(taken.data);
}

/* ---- rates ---- */

void sch_rate_add(struct sch_rate *rate, int64_t now_ns)
{
    int64_t age_ns = now_ns - rate->start_ns;
    SY_ASSERT(age_ns >= 0);
    if (age_ns >= SCH_OP_RATE_WINDOW_NS) {
        rate->previous = age_ns < 2 * SCH_OP_RATE_WINDOW_NS ? rate->current : 0;
        rate->current = 0;
        rate->start_ns = now_ns;
    }
    if (rate->current < UINT32_MAX)
        rate->current++;
}

uint32_t sch_rate_backlog(const struct sch_rate *rate, int64_t now_ns)
{
    int64_t age_ns = now_ns - rate->start_ns;
    if (age_ns >= 2 * SCH_OP_RATE_WINDOW_NS)
        return 0;
    bool stale = age_ns >= SCH_OP_RATE_WINDOW_NS || rate->current > rate->previous;
    uint64_t most = stale ? rate->current : rate->previous;
    return (uint32_t)(most * SCH_OP_ROUND_TRIP_NS / SCH_OP_RATE_WINDOW_NS);
}

/* ---- attempts ---- */

static uint32_t attempt_hash(const struct sch_attempt_key *key)
{
    uint64_t rest = ((uint64_t)key->epoch << 32) | key->number;
    return sch_hash_u64(key->action, rest + (uint64_t)key->partition * 0x9e3779b97f4a7c15ULL);
}

struct sch_attempt *sch_attempt_find(const struct sch_operator *op,
                                     const struct sch_attempt_key *key)
{
    struct sch_table_link *link = sch_table_first(&op->attempts, attempt_hash(key));
    for (; link; link = sch_table_next(link)) {
        struct sch_attempt *a = sy_container_of(link, struct sch_attempt, by_key);
        if (a->key.action == key->action && a->key.partition == key->partition &&
            a->key.number == key->number && a->key.epoch == key->epoch)
            return a;
    }
    return NULL;
}

struct sch_attempt *sch_attempt_new(struct sch_operator *op, const struct sch_attempt_key *key,
                                    struct sch_kind *kind, enum sch_attempt_state state)
{
    SY_ASSERT(!sch_attempt_find(op, key));
    SY_ASSERT((kind == NULL) == (state == SCH_ATTEMPT_DONE));
    struct sch_attempt *a = sy_new(struct sch_attempt);
    a->key = *key;
    a->kind = kind;
    a->partition = sch_op_partition_of(op, key);
    sm_init(&a->sm, &sch_attempt_table, state);
    sch_table_add(&op->attempts, &a->by_key, attempt_hash(key));
    sch_list_push_back(&a->partition->attempts, &a->partition_link);
    return a;
}

/* Out of the lists and the room of its state; next it is DONE, RETURNED or freed. */
static void attempt_detach(struct sch_operator *op, struct sch_attempt *a)
{
    struct sch_node *node = a->node;
    switch (sch_attempt_state(a)) {
    case SCH_ATTEMPT_HELD:
        sch_attempt_unhold(op, a);
        break;
    case SCH_ATTEMPT_STARTED:
        SY_ASSERT(node->running > 0);
        node->running--;
        __attribute__((fallthrough));
    case SCH_ATTEMPT_PLACED:
        sch_op_placed_leave(a);
        sch_list_remove(&a->place);
        sch_node_waits(op, a, false);
        if (sch_link_in_list(&a->queue))
            sch_node_backlog_remove(op, a);
        sch_node_uncharge(op, a);
        sch_node_changed(op, node);
        sch_node_waited_out(op, node);
        break;
    default:
        break;
    }
    SY_ASSERT(!sch_link_in_list(&a->place) && !sch_link_in_list(&a->queue));
}

static void attempt_forget_kind(struct sch_operator *op, struct sch_attempt *a)
{
    if (!a->kind)
        return;
    sch_attempt_rise(op, a);
    sch_kind_dirty(op, a->kind);
    sch_kind_unref(op, sy_take(a->kind));
    a->class = NULL;
}

void sch_attempt_send_outcome(struct sch_operator *op, struct sch_attempt *a)
{
    SY_ASSERT(sch_attempt_state(a) == SCH_ATTEMPT_DONE);
    if (!sch_attempt_is_heard(a))
        return;
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_OUTCOME);
    effect->u.report.key = a->key;
    effect->u.report.partition = a->partition->id;
    effect->u.report.node = a->node ? a->node->name : "";
    effect->u.report.started_ns = a->started_ns;
    effect->u.report.blob = a->blob.data;
    effect->u.report.reason = a->preempted;
    effect->u.report.alone = a->alone;
    effect->u.report.held_ns = a->held_ns;
}

void sch_attempt_send_inventory(struct sch_operator *op, struct sch_attempt *a)
{
    SY_ASSERT(sch_attempt_state(a) != SCH_ATTEMPT_DONE);
    if (!sch_attempt_is_heard(a))
        return;
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_INVENTORY);
    effect->u.inventory.key = a->key;
    effect->u.inventory.partition = a->partition->id;
    effect->u.inventory.node = a->node ? a->node->name : "";
    effect->u.inventory.started = sch_attempt_state(a) == SCH_ATTEMPT_STARTED;
    effect->u.inventory.started_ns = a->started_ns;
}

void sch_attempt_done(struct sch_operator *op, struct sch_attempt *a, struct sch_blob blob)
{
    struct sch_node *node = a->node;
    SY_ASSERT(node && !a->blob.data);
    attempt_detach(op, a);
    sm_move(&a->sm, &sch_attempt_table, SCH_ATTEMPT_DONE, a);
    a->blob = blob;
    attempt_forget_kind(op, a);
    sch_node_promote(op, node);
    sch_attempt_send_outcome(op, a);
    sch_node_drained(op, node);
}

void sch_attempt_returned(struct sch_operator *op, struct sch_attempt *a, const char *reason)
{
    struct sch_node *node = a->node;
    attempt_detach(op, a);
    sm_move(&a->sm, &sch_attempt_table, SCH_ATTEMPT_RETURNED, a);
    if (sch_attempt_is_heard(a) && reason) {
        struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_RETURNED);
        effect->u.report.key = a->key;
        effect->u.report.partition = a->partition->id;
        effect->u.report.node = ""; /* the name may go with the attempt */
        effect->u.report.reason = reason;
    }
    if (node) {
        sch_node_promote(op, node);
        sch_node_drained(op, node);
    }
    sch_attempt_free(op, a);
}

void sch_attempt_free(struct sch_operator *op, struct sch_attempt *a)
{
    if (!sm_is_final(&a->sm, &sch_attempt_table))
        attempt_detach(op, a);
    SY_ASSERT(!a->charged);
    attempt_forget_kind(op, a);
    sch_table_remove(&op->attempts, &a->by_key);
    sch_list_remove(&a->partition_link);
    sch_op_partition_left(op, a->partition);
    if (a->node)
        sch_node_unref(a->node);
    sch_blob_release(&a->blob);
    free(a);
}

/* ---- the step ---- */

static void end_step(struct sch_operator *op)
{
    sch_labels_end_step(op);
    sch_claims_end_step(op);
    if (op->choice_came || op->gangs_due || !sch_list_empty(&op->freed))
        sch_op_gangs_place(op); /* first: what is smaller fits more often */
    op->gangs_due = op->gangs_later;
    op->gangs_later = false;
    sch_place_parked(op);
    if (op->changed_count >= SCH_OP_CHANGED_MAX) /* else all at once when somebody asks */
        sch_index_sync(op);
    sch_grant_end_step(op);
    sch_op_elsewhere_end_step(op);
    if (op->shapes_due_ns <= op->now_ns) {
        op->shapes_due_ns = SY_TIME_NEVER;
        op->shapes_ns = op->now_ns;
        sch_op_effect_add(op, SCH_OP_SHAPES_CHANGED);
    }
}

static void step_tick(struct sch_operator *op)
{
    sch_node_leases(op);
    sch_verbs_tick(op);
    sch_op_join_tick(op);
    sch_held_tick(op);
    sch_backlogs_tick(op);
    sch_claims_tick(op);
    sch_op_gangs_tick(op);
    sch_grant_tick(op);
}

static void cancel(struct sch_operator *op, const struct sch_op_event *event)
{
    const struct sch_attempt_key *key = &event->u.cancel.key;
    if (event->u.cancel.preempts) {
        sch_op_preempt(op, key, event->u.cancel.reason);
        return;
    }
    sch_op_cancel(op, key, event->u.cancel.reason);
    sch_node_forgo(op, key);
}

static void dispatch(struct sch_operator *op, const struct sch_op_event *event)
{
    switch (event->type) {
    case SCH_OP_PARTITION_UP:
        sch_op_partition_up(op, event);
        break;
    case SCH_OP_PARTITION_DOWN:
        sch_op_partition_down(op, event->u.partition.partition);
        break;
    case SCH_OP_DEMAND:
        sch_op_demand(op, event);
        break;
    case SCH_OP_ASSIGN:
        sch_op_assign(op, event);
        break;
    case SCH_OP_CANCEL:
        cancel(op, event);
        break;
    case SCH_OP_GIVE_BACK:
        sch_op_give_back(op, &event->u.key);
        break;
    case SCH_OP_CANCEL_ALL:
        sch_op_cancel_all(op, event->u.reason);
        break;
    case SCH_OP_FORGET_HELD:
        sch_op_forget_held(op);
        break;
    case SCH_OP_RECLAIM:
        sch_op_reclaim(op, event);
        break;
    case SCH_OP_ACK:
        sch_op_ack(op, &event->u.key);
        break;
    case SCH_OP_NODE_UP:
        sch_node_up(op, event);
        break;
    case SCH_OP_NODE_INVENTORY:
        sch_node_inventory(op, event);
        break;
    case SCH_OP_NODE_INVENTORY_COMPLETE:
        sch_node_inventory_complete(op, event->u.node.name);
        break;
    case SCH_OP_NODE_DOWN:
        sch_node_down(op, event->u.node.name);
        break;
    case SCH_OP_NODE_OWED:
        sch_node_owed(op, event->u.node.name);
        break;
    case SCH_OP_STARTED:
        sch_node_started(op, event);
        break;
    case SCH_OP_OUTCOME:
        sch_node_outcome(op, event);
        break;
    case SCH_OP_NODE_RETURNED:
        sch_node_returned(op, event);
        break;
    case SCH_OP_NODE_CORDON:
    case SCH_OP_NODE_UNCORDON:
    case SCH_OP_NODE_DRAIN:
    case SCH_OP_NODE_FENCE:
    case SCH_OP_NODE_UNFENCE:
        sch_node_verb(op, event);
        break;
    case SCH_OP_TICK:
        step_tick(op);
        break;
    case SCH_OP_EVENT_TYPES:
        SY_ASSERT(event->type < SCH_OP_EVENT_TYPES);
        break;
    }
}

void sch_operator_step(struct sch_operator *op, const struct sch_op_event *event,
                       struct sch_op_effects *effects)
{
    SY_ASSERT(!op->out && !op->choice_came && sch_list_empty(&op->freed));
    if (effects->cap > EFFECTS_KEPT)
        sch_op_effects_deinit(effects);
    effects->count = 0;
    op->out = effects;
    op->looks = 0;
    op->labels.looks = 0;
    op->due_looks = op->parked_looks = 0;
    sch_node_watch(op, event->now_ns);
    op->now_ns = event->now_ns > op->now_ns ? event->now_ns : op->now_ns;
    dispatch(op, event);
    end_step(op);
    op->out = NULL;
}

int64_t sch_operator_next_ns(const struct sch_operator *op)
{
    SY_ASSERT(!op->out);
    if (sch_labels_due(op) || op->gangs_due || op->granting ||
        op->order.phase != SCH_OP_ORDER_NONE || !sch_list_empty(&op->parked.todo))
        return op->now_ns; /* more than one step does */
    int64_t at = sch_node_watch_ns(op);
    const struct sch_heap *heaps[] = {&op->leases, &op->drains, &op->probations, &op->recalls,
                                      &op->made};
    for (size_t i = 0; i < SY_COUNT_OF(heaps); i++) {
        const struct sch_heap_entry *top = sch_heap_top(heaps[i]);
        at = top && top->key < at ? top->key : at;
    }
    if (!sch_list_empty(&op->held)) {
        int64_t held = sy_container_of(op->held.next, struct sch_attempt, place)->held_until_ns;
        at = held < at ? held : at;
    }
    int64_t gangs = sch_op_gangs_next_ns(op);
    at = gangs < at ? gangs : at;
    at = op->join_end_ns < at ? op->join_end_ns : at;
    at = op->claim_due_ns < at ? op->claim_due_ns : at;
    at = op->pass_due_ns < at ? op->pass_due_ns : at;
    at = op->grant_due_ns < at ? op->grant_due_ns : at;
    at = op->elsewhere_due_ns < at ? op->elsewhere_due_ns : at;
    return op->shapes_due_ns < at ? op->shapes_due_ns : at;
}

/* ---- reading ---- */

static int compare_names(const void *a, const void *b)
{
    const struct sch_node *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static void view_kept(const struct sch_operator *op, const struct sch_node *node,
                      struct sch_node_view *view)
{
    const struct sch_op_claim *claim = node->claim;
    if (claim) {
        view->kept = sch_heap_has(&claim->end) ? SCH_KEPT_FOR_NEXT : SCH_KEPT_FOR_LARGE;
        view->kept_partition = claim->class->partition->id;
        view->kept_class = claim->class->id;
    } else if (node->reserved) {
        SY_ASSERT(op->reserver);
        view->kept = SCH_KEPT_FOR_GANG;
        view->kept_partition = op->reserver->id;
        view->kept_gang = op->reserver_id;
    }
}

static struct sch_node_view view_of(const struct sch_node *node)
{
    const struct sch_shape *shape = &node->shape->shape;
    const struct sch_op_service *service = node->service;
    return (struct sch_node_view){.name = node->name,
                                  .state = sch_node_state(node),
                                  .service = service ? (enum sch_service_state)service->sm.state
                                                     : SCH_SERVICE_OPEN,
                                  .deadline_ns = service ? service->deadline_ns : SY_TIME_NEVER,
                                  .health = (enum sch_health_state)node->health.state,
                                  .faults = node->faults,
                                  .ends = node->ends,
                                  .capacity = shape->capacity,
                                  .traits = &shape->traits,
                                  .used_cpu_milli = (uint32_t)node->used_cpu_milli,
                                  .used_gpus = (uint32_t)node->used_gpus,
                                  .used_memory_bytes = node->used_memory_bytes,
                                  .running = node->running,
                                  .backlog = node->backlog_count,
                                  .finished = node->finished,
                                  .environments = shape->environments,
                                  .environment_count = shape->environment_count};
}

void sch_operator_each_node(const struct sch_operator *op,
                            bool (*fn)(void *ctx, const struct sch_node_view *node), void *ctx)
{
    SY_ASSERT(fn);
    if (op->node_count == 0)
        return;
    struct sch_node **sorted = sy_calloc(op->node_count, sizeof(struct sch_node *));
    memcpy(sorted, op->nodes, op->node_count * sizeof(struct sch_node *));
    qsort(sorted, op->node_count, sizeof(struct sch_node *), compare_names);
    for (uint32_t i = 0; i < op->node_count; i++) {
        struct sch_node_view view = view_of(sorted[i]);
        view_kept(op, sorted[i], &view);
        if (!fn(ctx, &view))
            break;
    }
    free(sorted);
}

size_t sch_operator_shapes(const struct sch_operator *op, struct sch_shape *ret, size_t max)
{
    size_t count = 0;
    SY_ASSERT(ret || max == 0);
    for (struct sch_link *link = op->shapes.next; link != &op->shapes; link = link->next) {
        if (count < max)
            ret[count] = sy_container_of(link, struct sch_op_shape, link)->shape;
        count++;
    }
    return count;
}

const char *sch_operator_node_of(const struct sch_operator *op, const struct sch_attempt_key *key)
{
    const struct sch_attempt *a = sch_attempt_find(op, key);
    return a && a->node ? a->node->name : NULL;
}

bool sch_operator_inventory_complete(const struct sch_operator *op)
{
    return op->join_end_ns == SY_TIME_NEVER;
}
