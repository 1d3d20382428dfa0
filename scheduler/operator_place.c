#include "scheduler/operator_impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- room on a node ---- */

static uint64_t left(uint64_t capacity, uint64_t used)
{
    return capacity > used ? capacity - used : 0;
}

static uint64_t fits_in(uint64_t room, uint64_t request, uint64_t most)
{
    if (request == 0)
        return most;
    return room / request < most ? room / request : most;
}

/* SCH_OP_ENVIRONMENTS_MAX: the node has no such environment. */
static uint32_t find_environment(const struct sch_node *node, const char *name)
{
    for (uint32_t i = 0; i < node->environment_count; i++) {
        if (strncmp(node->environments[i].name, name, SCH_ENVIRONMENT_MAX) == 0)
            return i;
    }
    return SCH_OP_ENVIRONMENTS_MAX;
}

static bool gpu_model_fits(const struct sch_node *node, const struct sch_resources *request)
{
    return request->gpus == 0 || !request->gpu_model[0] ||
           strncmp(request->gpu_model, node->capacity.gpu_model, SCH_GPU_MODEL_MAX) == 0;
}

static uint32_t slots_left(const struct sch_node *node, uint32_t environment, bool empty)
{
    SY_ASSERT(environment < node->environment_count);
    uint32_t used = empty ? 0 : node->environment_used[environment];
    return (uint32_t)left(node->environments[environment].slots, used);
}

uint32_t sch_node_fits(const struct sch_node *node, const struct sch_resources *request, bool empty)
{
    SY_ASSERT(request);
    uint64_t most = SCH_OP_FITS_MAX;
    if (!gpu_model_fits(node, request))
        return 0;
    if (request->environment[0]) {
        uint32_t environment = find_environment(node, request->environment);
        if (environment == SCH_OP_ENVIRONMENTS_MAX)
            return 0;
        most = fits_in(slots_left(node, environment, empty), 1, most);
    }
    uint64_t cpu = empty ? 0 : node->used_cpu_milli, gpus = empty ? 0 : node->used_gpus;
    uint64_t memory = empty ? 0 : node->used_memory_bytes;
    most = fits_in(left(node->capacity.cpu_milli, cpu), request->cpu_milli, most);
    most = fits_in(left(node->capacity.gpus, gpus), request->gpus, most);
    most = fits_in(left(node->capacity.memory_bytes, memory), request->memory_bytes, most);
    SY_ASSERT(most <= SCH_OP_FITS_MAX);
    return (uint32_t)most;
}

uint32_t sch_node_backlog_max(const struct sch_node *node)
{
    uint32_t backlog = sch_rate_backlog(&node->rate);
    if (backlog < SCH_OP_BACKLOG_MIN)
        return SCH_OP_BACKLOG_MIN;
    return backlog < SCH_OP_BACKLOG_MAX ? backlog : SCH_OP_BACKLOG_MAX;
}

static void add_use(struct sch_node *node, const struct sch_resources *request, bool add)
{
    if (request->environment[0]) {
        uint32_t environment = find_environment(node, request->environment);
        if (environment < SCH_OP_ENVIRONMENTS_MAX) /* a new agent may have dropped it */
            node->environment_used[environment] += add ? 1 : UINT32_MAX;
    }
    if (add) {
        node->used_cpu_milli += request->cpu_milli;
        node->used_gpus += request->gpus;
        node->used_memory_bytes += request->memory_bytes;
        return;
    }
    SY_ASSERT(node->used_cpu_milli >= request->cpu_milli && node->used_gpus >= request->gpus);
    SY_ASSERT(node->used_memory_bytes >= request->memory_bytes);
    node->used_cpu_milli -= request->cpu_milli;
    node->used_gpus -= request->gpus;
    node->used_memory_bytes -= request->memory_bytes;
}

void sch_node_charge(struct sch_operator *op, struct sch_attempt *a, bool room)
{
    SY_ASSERT(!a->charged && a->node && a->kind);
    SY_ASSERT(!room || sch_node_fits(a->node, &a->kind->request, false) > 0);
    a->charged = true;
    a->room = room;
    add_use(a->node, &a->kind->request, true);
    sch_node_changed(op, a->node);
}

void sch_node_uncharge(struct sch_operator *op, struct sch_attempt *a)
{
    if (!a->charged)
        return;
    SY_ASSERT(a->node && a->kind);
    a->charged = a->room = false;
    add_use(a->node, &a->kind->request, false);
    op->room_came = true;
    sch_node_changed(op, a->node);
}

/* ---- backlogs ---- */

void sch_node_backlog_push(struct sch_operator *op, struct sch_attempt *a)
{
    SY_ASSERT(sch_attempt_state(a) == SCH_ATTEMPT_PLACED && !a->charged);
    sch_list_push_back(&a->node->backlog, &a->queue);
    a->node->backlog_count++;
    a->kind->backlog_count++;
    sch_attempt_unstarted(op, a, true);
    sch_node_changed(op, a->node);
}

void sch_node_backlog_remove(struct sch_operator *op, struct sch_attempt *a)
{
    SY_ASSERT(a->node->backlog_count > 0 && a->kind->backlog_count > 0);
    sch_list_remove(&a->queue);
    a->node->backlog_count--;
    a->kind->backlog_count--;
    sch_attempt_unstarted(op, a, false);
    op->room_came = true;
    sch_node_changed(op, a->node);
}

/* Only the first is looked at, as the agent starts them in order. */
void sch_node_promote(struct sch_operator *op, struct sch_node *node)
{
    if (sch_node_state(node) != SCH_NODE_READY || node->listing)
        return;
    while (!sch_list_empty(&node->backlog)) {
        struct sch_attempt *a = sy_container_of(node->backlog.next, struct sch_attempt, queue);
        SY_ASSERT(a->node == node && !a->charged);
        if (sch_node_fits(node, &a->kind->request, false) == 0)
            break;
        sch_node_backlog_remove(op, a);
        sch_node_charge(op, a, true);
        sch_kind_dirty(op, a->kind);
    }
}

/* ---- kinds ---- */

static struct sch_kind *kind_find(const struct sch_operator *op,
                                  const struct sch_resources *request, uint32_t hash)
{
    struct sch_table_link *link = sch_table_first(&op->kinds_by_request, hash);
    for (; link; link = sch_table_next(link)) {
        struct sch_kind *kind = sy_container_of(link, struct sch_kind, by_request);
        if (sch_resources_equal(&kind->request, request))
            return kind;
    }
    return NULL;
}

struct sch_kind *sch_kind_ref(struct sch_operator *op, const struct sch_resources *request)
{
    uint32_t hash = (uint32_t)sch_resources_hash(request);
    struct sch_kind *kind = kind_find(op, request, hash);
    if (!kind) {
        kind = sy_new(struct sch_kind);
        kind->request = *request;
        sch_list_init(&kind->classes);
        sch_list_init(&kind->held);
        sch_table_add(&op->kinds_by_request, &kind->by_request, hash);
        sch_list_push_back(&op->kinds, &kind->link);
    }
    SY_ASSERT(kind->refs < UINT32_MAX);
    kind->refs++;
    return kind;
}

void sch_kind_unref(struct sch_operator *op, struct sch_kind *kind)
{
    SY_ASSERT(kind->refs > 0);
    if (--kind->refs > 0)
        return;
    SY_ASSERT(kind->held_count == 0 && kind->backlog_count == 0 && kind->waiting == 0);
    SY_ASSERT(!sch_link_in_list(&kind->parked) && !sch_link_in_list(&kind->asking));
    if (sch_link_in_list(&kind->dirty))
        sch_list_remove(&kind->dirty);
    sch_table_remove(&op->kinds_by_request, &kind->by_request);
    sch_list_remove(&kind->link);
    sch_heap_deinit(&kind->best);
    sch_heap_deinit(&kind->over);
    free(kind->slots);
    free(kind);
}

/* Fewest free slots of the environment first, then least free cpu: what is nearly full fills up,
 * what is empty stays whole. The tie is the rank of the name. */
static int64_t best_key(const struct sch_node *node, const struct sch_resources *request)
{
    uint64_t slots = 0;
    if (request->environment[0]) {
        uint32_t environment = find_environment(node, request->environment);
        SY_ASSERT(environment < SCH_OP_ENVIRONMENTS_MAX);
        slots = slots_left(node, environment, false) & INT32_MAX;
    }
    uint64_t cpu = left(node->capacity.cpu_milli, node->used_cpu_milli);
    return (int64_t)((slots << 32) | cpu);
}

static void slot_update(struct sch_kind *kind, const struct sch_node *node)
{
    SY_ASSERT(node->index < kind->slot_count);
    struct sch_slot *slot = &kind->slots[node->index];
    bool ready = sch_node_state(node) == SCH_NODE_READY && !node->listing;
    if (node->shape_changed_at > kind->synced_at) {
        kind->capable -= slot->slots > 0;
        slot->slots = ready ? sch_node_fits(node, &kind->request, true) : 0;
        kind->capable += slot->slots > 0;
    }
    kind->room -= slot->fits;
    slot->fits = slot->slots > 0 ? sch_node_fits(node, &kind->request, false) : 0;
    kind->room += slot->fits;
    slot->best.tie = slot->over.tie = node->index;
    if (slot->fits > 0)
        sch_heap_set(&kind->best, &slot->best, best_key(node, &kind->request));
    else
        sch_heap_remove(&kind->best, &slot->best);
    if (slot->slots > 0 && node->backlog_count < sch_node_backlog_max(node))
        sch_heap_set(&kind->over, &slot->over, ((int64_t)node->backlog_count << 20) / slot->slots);
    else
        sch_heap_remove(&kind->over, &slot->over);
}

static void kind_rebuild(struct sch_operator *op, struct sch_kind *kind)
{
    sch_heap_clear(&kind->best);
    sch_heap_clear(&kind->over);
    free(kind->slots);
    kind->slots = sy_calloc(op->node_count, sizeof(*kind->slots));
    kind->slot_count = op->node_count;
    kind->room = 0;
    kind->capable = 0;
    kind->synced_at = 0;
    for (uint32_t i = 0; i < op->node_count; i++)
        slot_update(kind, op->nodes[i]);
    kind->layout = op->layout;
    kind->synced_at = op->change;
}

void sch_kind_sync(struct sch_operator *op, struct sch_kind *kind)
{
    if (kind->layout != op->layout) {
        kind_rebuild(op, kind);
        return;
    }
    SY_ASSERT(kind->slot_count == op->node_count && kind->synced_at <= op->change);
    for (struct sch_link *link = op->changed.next; link != &op->changed; link = link->next) {
        const struct sch_node *node = sy_container_of(link, struct sch_node, changed);
        if (node->changed_at <= kind->synced_at)
            break;
        slot_update(kind, node);
    }
    kind->synced_at = op->change;
}

void sch_nodes_renumber(struct sch_operator *op)
{
    op->layout++;
    for (uint32_t i = 0; i < op->node_count; i++)
        op->nodes[i]->index = i;
}

static void count_free(struct sch_operator *op, struct sch_node *node)
{
    struct sch_amount now = {0}, *free = &op->free;
    if (sch_node_state(node) == SCH_NODE_READY && !node->listing)
        now = (struct sch_amount){
            .cpu_milli = left(node->capacity.cpu_milli, node->used_cpu_milli),
            .memory_bytes = left(node->capacity.memory_bytes, node->used_memory_bytes),
            .gpus = left(node->capacity.gpus, node->used_gpus)};
    free->cpu_milli += now.cpu_milli - node->free.cpu_milli;
    free->memory_bytes += now.memory_bytes - node->free.memory_bytes;
    free->gpus += now.gpus - node->free.gpus;
    node->free = now;
}

void sch_node_changed(struct sch_operator *op, struct sch_node *node)
{
    count_free(op, node);
    if (sch_node_state(node) == SCH_NODE_GONE)
        return;
    SY_ASSERT(node->index < op->node_count && op->nodes[node->index] == node);
    node->changed_at = ++op->change;
    if (op->changed.next == &node->changed)
        return;
    sch_list_remove(&node->changed);
    sch_list_push_front(&op->changed, &node->changed);
}

void sch_node_shape_changed(struct sch_operator *op, struct sch_node *node)
{
    sch_node_changed(op, node);
    node->shape_changed_at = node->changed_at;
}

/* ---- placing ---- */

void sch_attempt_hold(struct sch_operator *op, struct sch_attempt *a)
{
    struct sch_kind *kind = a->kind;
    SY_ASSERT(sch_attempt_state(a) == SCH_ATTEMPT_HELD);
    a->held_until_ns = op->now_ns + op->options.hold_ns;
    sch_list_push_back(&op->held, &a->place);
    sch_list_push_back(&kind->held, &a->queue);
    sch_attempt_unstarted(op, a, true);
    if (kind->held_count++ == 0) {
        sch_list_push_back(&op->kinds_parked, &kind->parked);
        op->parked_count++;
    }
}

void sch_attempt_unhold(struct sch_operator *op, struct sch_attempt *a)
{
    struct sch_kind *kind = a->kind;
    SY_ASSERT(sch_attempt_state(a) == SCH_ATTEMPT_HELD && kind->held_count > 0);
    sch_list_remove(&a->place);
    sch_list_remove(&a->queue);
    sch_attempt_unstarted(op, a, false);
    if (--kind->held_count == 0) {
        sch_list_remove(&kind->parked);
        op->parked_count--;
    }
}

bool sch_kind_place(struct sch_operator *op, struct sch_kind *kind)
{
    SY_ASSERT(kind->held_count > 0);
    sch_kind_sync(op, kind);
    struct sch_heap_entry *best = sch_heap_top(&kind->best), *over = sch_heap_top(&kind->over);
    const struct sch_heap_entry *entry = best ? best : over;
    if (!entry)
        return false;
    struct sch_attempt *a = sy_container_of(kind->held.next, struct sch_attempt, queue);
    sch_attempt_unhold(op, a);
    a->node = op->nodes[entry->tie];
    a->node->refs++;
    sm_move(&a->sm, &sch_attempt_table, SCH_ATTEMPT_PLACED, a);
    sch_list_push_back(&a->node->attempts, &a->place);
    if (best)
        sch_node_charge(op, a, true);
    else
        sch_node_backlog_push(op, a);
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_ASSIGN);
    effect->u.assign.node = a->node->name;
    effect->u.assign.key = a->key;
    effect->u.assign.blob = a->blob;
    a->blob = (struct sch_blob){0};
    return true;
}

/* In turns, so that one kind does not take all the room that came. */
void sch_place_parked(struct sch_operator *op)
{
    size_t failed = 0;
    while (failed < op->parked_count) {
        struct sch_kind *kind = sy_container_of(op->kinds_parked.next, struct sch_kind, parked);
        sch_list_remove(&kind->parked);
        sch_list_push_back(&op->kinds_parked, &kind->parked);
        if (sch_kind_place(op, kind)) {
            sch_kind_dirty(op, kind);
            failed = 0;
        } else {
            failed++;
        }
    }
}

void sch_held_tick(struct sch_operator *op)
{
    while (!sch_list_empty(&op->held)) {
        struct sch_attempt *a = sy_container_of(op->held.next, struct sch_attempt, place);
        if (a->held_until_ns > op->now_ns)
            break;
        if (a->partition->up) {
            sch_attempt_returned(op, a, "no node had room for it in time");
            continue;
        }
        a->held_until_ns = op->now_ns + op->options.hold_ns; /* nobody to give it back to */
        sch_list_remove(&a->place);
        sch_list_push_back(&op->held, &a->place);
    }
}
