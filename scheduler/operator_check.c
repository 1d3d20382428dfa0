#include "scheduler/labels.h"
#include "scheduler/operator_impl.h"

#include <string.h>

#define CHECKED_NODES 128u /* for each gang that waits, each with each */

static size_t list_length(const struct sch_link *head)
{
    size_t n = 0;
    for (const struct sch_link *link = head->next; link != head; link = link->next) {
        SY_ASSERT(link->next->prev == link && link->prev->next == link);
        n++;
    }
    return n;
}

/* The sums of a gang that may be stopped. */
static void check_placed(const struct sch_op_placed *placed)
{
    uint32_t count = 0, started = 0;
    int64_t sum_ms = 0;
    for (struct sch_link *link = placed->members.next; link != &placed->members;
         link = link->next) {
        const struct sch_attempt *a = sy_container_of(link, struct sch_attempt, placed_link);
        SY_ASSERT(a->placed == placed);
        count++;
        if (sch_attempt_state(a) != SCH_ATTEMPT_STARTED)
            continue;
        started++;
        sum_ms += a->since_ns / SY_NS_PER_MS;
    }
    SY_ASSERT(count == placed->count && count <= placed->size && placed->seen == 0);
    SY_ASSERT(started == placed->started && sum_ms == placed->started_sum_ms);
}

static void check_attempt(struct sch_operator *op, const struct sch_attempt *a)
{
    enum sch_attempt_state state = sch_attempt_state(a);
    bool on_node = state == SCH_ATTEMPT_PLACED || state == SCH_ATTEMPT_STARTED;
    SY_ASSERT(state != SCH_ATTEMPT_RETURNED && sch_attempt_table.invariant(a, state));
    SY_ASSERT((a->kind == NULL) == (state == SCH_ATTEMPT_DONE));
    SY_ASSERT((a->node == NULL) == (state == SCH_ATTEMPT_HELD));
    SY_ASSERT(a->held_ns >= 0 && (!a->alone || state == SCH_ATTEMPT_DONE));
    SY_ASSERT(!a->single || (state != SCH_ATTEMPT_HELD && !a->placed));
    SY_ASSERT(sch_link_in_list(&a->place) == (state != SCH_ATTEMPT_DONE));
    SY_ASSERT(!a->room || a->charged);
    SY_ASSERT(!on_node || !a->blob.data);
    SY_ASSERT(a->partition == sch_op_partition_of(op, &a->key));
    SY_ASSERT(!a->placed || (on_node && a->queue_tag != 0));
    if (a->placed)
        check_placed(a->placed);
    if (a->class)
        SY_ASSERT(a->class->partition == a->partition && a->class->kind == a->kind);
}

/* Sums over the attempts of one node. */
struct use {
    uint64_t cpu_milli, gpus, memory_bytes;
    uint32_t environments[SCH_OP_ENVIRONMENTS_MAX], slices[SCH_GPU_SLICES_MAX];
    uint32_t shares[SCH_GPUS_MAX];
};

static void add(struct use *use, const struct sch_node *node, const struct sch_attempt *a)
{
    const struct sch_resources *request = &a->kind->request;
    const struct sch_shape *shape = &node->shape->shape;
    use->cpu_milli += request->cpu_milli;
    use->memory_bytes += request->memory_bytes;
    if (request->gpu_milli > 0)
        use->shares[a->share] += request->gpu_milli;
    else if (!request->gpu_partition[0])
        use->gpus += request->gpus;
    for (uint32_t i = 0; i < shape->traits.slice_count; i++)
        if (strcmp(shape->traits.slices[i].name, request->gpu_partition) == 0)
            use->slices[i] += request->gpus;
    for (uint32_t i = 0; i < shape->environment_count; i++)
        use->environments[i] += request->environment[0] &&
                                strcmp(shape->environments[i].name, request->environment) == 0;
}

/* GPUs that are given in parts: of each at most the whole. */
static void add_shares(struct use *use, const struct sch_node *node)
{
    SY_ASSERT(node->share_count <= SCH_GPUS_MAX);
    for (uint32_t i = 0; i < node->share_count; i++) {
        SY_ASSERT(use->shares[i] <= node->shares[i] && node->shares[i] <= SCH_GPU_MILLI);
        use->gpus += use->shares[i] > 0;
    }
}

static void check_sums(struct use *all, struct use *room, const struct sch_node *node)
{
    const struct sch_shape *shape = &node->shape->shape;
    add_shares(all, node);
    add_shares(room, node);
    SY_ASSERT(all->cpu_milli == node->used_cpu_milli && all->gpus == node->used_gpus);
    SY_ASSERT(all->memory_bytes == node->used_memory_bytes);
    SY_ASSERT(room->cpu_milli <= shape->capacity.cpu_milli && room->gpus <= shape->capacity.gpus);
    SY_ASSERT(room->memory_bytes <= shape->capacity.memory_bytes);
    for (uint32_t i = 0; i < shape->environment_count; i++) {
        SY_ASSERT(all->environments[i] == node->environment_used[i]);
        SY_ASSERT(room->environments[i] <= shape->environments[i].slots);
        SY_ASSERT(node->environment_used[i] <= node->environment_warm[i]);
    }
    for (uint32_t i = 0; i < shape->traits.slice_count; i++) {
        SY_ASSERT(all->slices[i] == node->slices_used[i]);
        SY_ASSERT(room->slices[i] <= shape->traits.slices[i].count);
    }
}

/* What is STARTED or waits in the node's backlog, and that room is never given twice. */
static void check_node_room(const struct sch_node *node)
{
    struct use all = {0}, room = {0};
    uint32_t running = 0, backlog = 0, leaving = 0;
    const struct sch_link *lists[] = {&node->attempts, &node->unnamed};
    for (size_t i = 0; i < SY_COUNT_OF(lists); i++) {
        for (struct sch_link *link = lists[i]->next; link != lists[i]; link = link->next) {
            const struct sch_attempt *a = sy_container_of(link, struct sch_attempt, place);
            bool started = sch_attempt_state(a) == SCH_ATTEMPT_STARTED;
            SY_ASSERT(a->node == node);
            running += started;
            backlog += sch_link_in_list(&a->queue);
            leaving += a->charged && a->cancelled;
            SY_ASSERT(lists[i] == &node->unnamed || a->charged != sch_link_in_list(&a->queue));
            SY_ASSERT(lists[i] == &node->attempts || !a->charged);
            if (a->charged)
                add(&all, node, a);
            if (a->room)
                add(&room, node, a);
        }
    }
    SY_ASSERT(running == node->running && backlog == node->backlog_count);
    SY_ASSERT(leaving == node->leaving && node->site == 0 && !node->chosen);
    SY_ASSERT((leaving > 0) == sch_link_in_list(&node->leaves));
    SY_ASSERT(backlog == list_length(&node->backlog));
    SY_ASSERT((backlog > 0) == sch_heap_has(&node->recall));
    if (backlog > 0)
        SY_ASSERT(node->recall.key ==
                  sy_container_of(node->backlog.next, struct sch_attempt, queue)->held_until_ns);
    check_sums(&all, &room, node);
}

/* What people said of a node, and what is placed there. */
static void check_verbs(const struct sch_operator *op, const struct sch_node *node)
{
    SY_ASSERT(node->service == sch_service_find(op, node->name));
    SY_ASSERT(sch_health_table.invariant(node, node->health.state));
    SY_ASSERT(sch_heap_has(&node->probation) == (node->health.state == SCH_HEALTH_AVOIDED));
    if (!node->service)
        return;
    SY_ASSERT(sch_service_table.invariant(node->service, node->service->sm.state));
    SY_ASSERT(!sch_node_fenced(node) ||
              (sch_list_empty(&node->attempts) && sch_list_empty(&node->unnamed)));
    SY_ASSERT(node->service->sm.state != SCH_SERVICE_DRAINED || node->listing ||
              sch_node_state(node) == SCH_NODE_LOST || sch_list_empty(&node->attempts));
}

/* Beyond its lease it has only such as are not given up for its silence. */
static void check_outwaits(const struct sch_node *node)
{
    const struct sch_link *lists[] = {&node->attempts, &node->unnamed};
    bool beyond = sch_node_state(node) == SCH_NODE_LOST && !sch_heap_has(&node->lease);
    uint32_t waits = 0;
    for (size_t i = 0; i < SY_COUNT_OF(lists); i++) {
        for (const struct sch_link *at = lists[i]->next; at != lists[i]; at = at->next) {
            const struct sch_attempt *a = sy_container_of((struct sch_link *)(uintptr_t)at,
                                                          struct sch_attempt, place);
            SY_ASSERT(!beyond || a->waits);
            waits += a->waits;
        }
    }
    SY_ASSERT(waits == node->waits && (!beyond || waits > 0));
}

static void check_nodes(const struct sch_operator *op)
{
    uint32_t lost = 0, leaving = 0;
    struct sch_amount free = {0};
    SY_ASSERT(op->nodes_by_name.count == op->node_count);
    for (uint32_t i = 0; i < op->node_count; i++) {
        const struct sch_node *node = op->nodes[i];
        enum sch_node_state state = sch_node_state(node);
        SY_ASSERT(node->index == i && sch_node_find(op, node->name) == node);
        SY_ASSERT(state != SCH_NODE_GONE);
        SY_ASSERT(state == SCH_NODE_LOST || !sch_heap_has(&node->lease));
        check_outwaits(node);
        check_verbs(op, node);
        SY_ASSERT(sch_list_empty(&node->unnamed) || (node->listing && state == SCH_NODE_READY));
        check_node_room(node);
        /* The first of a backlog waits for a reason. */
        if (!sch_list_empty(&node->backlog) && state == SCH_NODE_READY && !node->listing) {
            const struct sch_attempt *a = sy_container_of(node->backlog.next, struct sch_attempt,
                                                          queue);
            SY_ASSERT(sch_node_fits(node, &a->kind->request) == 0);
        }
        lost += sch_heap_has(&node->lease);
        leaving += node->leaving > 0;
        free.cpu_milli += node->free.cpu_milli;
        free.memory_bytes += node->free.memory_bytes;
        free.gpu_milli += node->free.gpu_milli;
    }
    SY_ASSERT(leaving == list_length(&op->nodes_leaving));
    SY_ASSERT(lost == op->leases.count && memcmp(&free, &op->free, sizeof(free)) == 0);
    sch_heap_check(&op->leases);
    sch_heap_check(&op->recalls);
}

static void check_group(const struct sch_op_group *group)
{
    SY_ASSERT(group->refs > 0 && group->refs >= group->shape.nodes);
    for (unsigned i = 0; i < SCH_TIERS; i++) {
        SY_ASSERT(group->tiers[i].ready == sch_fit_count(&group->tiers[i].fit));
        SY_ASSERT(group->tiers[i].over.count <= group->tiers[i].ready);
        sch_fit_check(&group->tiers[i].fit);
        sch_heap_check(&group->tiers[i].over);
    }
}

static void check_shapes(struct sch_operator *op)
{
    uint32_t nodes = 0, refs = 0, known = 0;
    uint64_t cpu_milli = 0;
    for (struct sch_link *link = op->shapes.next; link != &op->shapes; link = link->next) {
        SY_ASSERT(sy_container_of(link, struct sch_op_shape, link)->shape.nodes > 0);
        nodes += sy_container_of(link, struct sch_op_shape, link)->shape.nodes;
        known += 1 + (sy_container_of(link, struct sch_op_shape, link)->told != NULL);
    }
    for (struct sch_link *link = op->groups.next; link != &op->groups; link = link->next) {
        const struct sch_op_group *group = sy_container_of(link, struct sch_op_group, link);
        check_group(group);
        known += group->shape.nodes;
        refs += group->refs;
    }
    for (uint32_t i = 0; i < op->node_count; i++)
        cpu_milli += op->nodes[i]->shape->shape.capacity.cpu_milli;
    SY_ASSERT(nodes == op->node_count && refs == known);
    SY_ASSERT(op->capacity.cpu_milli == cpu_milli && op->capacity.actions == 0);
    sch_labels_check(op);
}

static void check_place(const struct sch_operator *op, const struct sch_place *place,
                        const uint64_t *values)
{
    const struct sch_node *node = place->node;
    uint32_t dims = sch_room_dims(&node->shape->shape);
    SY_ASSERT(memcmp(place->fit->values, values, dims * sizeof(*values)) == 0);
    SY_ASSERT(place->fit->owner == node && place->fit->count > 0);
    SY_ASSERT(sch_heap_has(&place->over) || !sch_node_backlogs(op, node));
}

/* The index against each node by itself. */
static void check_index(struct sch_operator *op)
{
    sch_index_sync(op);
    check_shapes(op);
    for (uint32_t i = 0; i < op->node_count; i++) {
        const struct sch_node *node = op->nodes[i];
        bool avoided = node->health.state == SCH_HEALTH_AVOIDED;
        uint64_t values[SCH_FIT_DIMS_MAX];
        SY_ASSERT(node->tier == (sch_node_placeable(node) ? (int)avoided : -1));
        if (node->tier < 0)
            continue;
        sch_room_vector(node, values);
        check_place(op, &node->all, values);
        if (node->told.group)
            check_place(op, &node->told, values);
    }
}

/* Of two with room for it, where it goes: by the order that is told of sch_kind_choose(). */
static bool goes_before(const struct sch_kind *kind, const struct sch_node *a,
                        const struct sch_node *b)
{
    bool gpu = sch_resources_has_gpu(&kind->request);
    const struct sch_shape *left = &a->shape->shape, *right = &b->shape->shape;
    bool waste = !gpu && (left->capacity.gpus > 0 || left->traits.slice_count > 0);
    bool other = !gpu && (right->capacity.gpus > 0 || right->traits.slice_count > 0);
    if (waste != other)
        return other;
    for (unsigned i = 0; i < 2; i++) {
        if (a->all.fit->values[i] != b->all.fit->values[i])
            return a->all.fit->values[i] < b->all.fit->values[i];
    }
    return a->all.fit->tie < b->all.fit->tie;
}

/* But for warm workers and GPUs that are shared already, which come first. */
static void check_choice(const struct sch_operator *op, const struct sch_kind *kind,
                         const struct sch_node *chosen)
{
    SY_ASSERT(chosen);
    if (kind->request.environment[0] || kind->request.gpu_milli > 0)
        return;
    for (uint32_t i = 0; i < op->node_count; i++) {
        const struct sch_node *node = op->nodes[i];
        SY_ASSERT(node == chosen || node->tier != chosen->tier ||
                  sch_node_fits(node, &kind->request) == 0 || goes_before(kind, chosen, node));
    }
}

static void check_kind_room(struct sch_operator *op, struct sch_kind *kind)
{
    uint64_t room[SCH_TIERS] = {0};
    uint32_t capable[SCH_TIERS] = {0};
    bool backlog[SCH_TIERS] = {0};
    for (uint32_t i = 0; i < op->node_count; i++) {
        const struct sch_node *node = op->nodes[i];
        if (node->tier < 0 || !sch_shape_fits(&node->shape->shape, &kind->request, NULL))
            continue;
        room[node->tier] += sch_node_fits(node, &kind->request);
        capable[node->tier]++;
        backlog[node->tier] |= sch_node_backlogs(op, node);
    }
    unsigned tier = capable[SCH_TIER_TRUSTED] > 0 ? SCH_TIER_TRUSTED : SCH_TIER_AVOIDED;
    SY_ASSERT(kind->capable == capable[tier]);
    SY_ASSERT(kind->room == room[tier] || kind->request.gpu_milli > 0 ||
              kind->capable > SCH_OP_ROOM_BUDGET);
    SY_ASSERT((kind->room > 0) == (room[tier] > 0) || kind->capable > SCH_OP_ROOM_BUDGET);
    bool has_room;
    const struct sch_node *chosen = sch_kind_choose(op, kind, &has_room);
    SY_ASSERT((chosen != NULL) == (room[tier] > 0 || backlog[tier]));
    SY_ASSERT(!chosen || has_room == (room[tier] > 0));
    SY_ASSERT(!has_room || sch_node_fits(chosen, &kind->request) > 0);
    if (has_room)
        check_choice(op, kind, chosen);
    /* What is held waits for a reason, or to be looked at by the next step. */
    SY_ASSERT(kind->held_count == 0 || !chosen || !sch_list_empty(&op->parked.todo));
}

static void check_kind(struct sch_operator *op, struct sch_kind *kind)
{
    uint64_t waiting = 0;
    SY_ASSERT(kind->refs > 0);
    for (struct sch_link *link = kind->classes.next; link != &kind->classes; link = link->next) {
        const struct sch_op_class *class = sy_container_of(link, struct sch_op_class, kind_link);
        SY_ASSERT(class->kind == kind && class->partition->up);
        SY_ASSERT(sch_op_class_find(op, class->partition->id, class->id) == class);
        SY_ASSERT(class->unstarted <= kind->held_count + kind->backlog_count);
        waiting += class->waiting;
    }
    SY_ASSERT(waiting == kind->waiting);
    SY_ASSERT((waiting > 0) == sch_link_in_list(&kind->asking));
    SY_ASSERT((kind->held_count > 0) == sch_link_in_list(&kind->parked));
    SY_ASSERT(list_length(&kind->held) == kind->held_count);
    sch_kind_sync(op, kind);
    if (sch_kind_is_known(op, kind))
        check_kind_room(op, kind);
    else
        SY_ASSERT(kind->capable == 0 && kind->room == 0 && sch_link_in_list(&kind->unknown));
    sch_kind_count_check(kind);
}

/* None that is placed in part: a gang that waits has all that came, but for those cancelled. */
static void check_gangs(const struct sch_operator *op)
{
    const struct sch_op_gang *before = NULL;
    uint32_t reserved = 0;
    for (struct sch_link *link = op->gangs.next; link != &op->gangs; link = link->next) {
        const struct sch_op_gang *gang = sy_container_of(link, struct sch_op_gang, link);
        uint32_t count = 0;
        for (struct sch_link *at = gang->attempts.next; at != &gang->attempts; at = at->next) {
            const struct sch_attempt *a = sy_container_of(at, struct sch_attempt, place);
            SY_ASSERT(sch_attempt_state(a) == SCH_ATTEMPT_HELD && a->gang == gang);
            SY_ASSERT(a->partition == gang->partition && a->key.number == gang->number);
            SY_ASSERT(a->class == gang->class && !sch_link_in_list(&a->queue));
            count++;
        }
        SY_ASSERT(count == gang->count && count > 0 && count <= gang->came);
        SY_ASSERT(gang->came <= gang->shape.size);
        SY_ASSERT(!before || before->priority >= gang->priority);
        before = gang;
    }
    for (uint32_t i = 0; i < op->node_count; i++)
        reserved += op->nodes[i]->reserved;
    SY_ASSERT(reserved == list_length(&op->reserved) && (reserved == 0 || op->reserver));
    SY_ASSERT((op->reserver != NULL) == (op->pass_due_ns != SY_TIME_NEVER));
    SY_ASSERT(!op->reserver || before || op->reserve_end_ns != SY_TIME_NEVER);
}

/* A claim is ready or waits for a reason. */
static bool check_kept(const struct sch_node *node)
{
    const struct sch_op_claim *claim = node->claim;
    if (!claim)
        return false;
    SY_ASSERT(claim->node == node && sch_node_serves(node) && !node->reserved);
    SY_ASSERT(node->health.state == SCH_HEALTH_TRUSTED && node->tier < 0);
    SY_ASSERT(claim->ready ==
              (node->backlog_count == 0 && sch_node_fits(node, &claim->class->kind->request) > 0));
    return true;
}

/* Each keeps one node, and not more are kept than may be. */
static void check_claims(const struct sch_operator *op)
{
    uint32_t count = 0, kept = 0, of_classes = 0, most = op->node_count / SCH_OP_CLAIM_NODES;
    most = most > SCH_OP_CLAIMS_MAX ? SCH_OP_CLAIMS_MAX : most;
    for (struct sch_link *link = op->claims.next; link != &op->claims; link = link->next) {
        const struct sch_op_claim *claim = sy_container_of(link, struct sch_op_claim, link);
        count++;
        SY_ASSERT(claim->class->claims > 0 && (claim->node || !claim->ready));
        SY_ASSERT(!claim->node || claim->node->claim == claim);
        SY_ASSERT(!sch_heap_has(&claim->end));
    }
    for (struct sch_link *link = op->claiming.next; link != &op->claiming; link = link->next) {
        const struct sch_op_class *class = sy_container_of(link, struct sch_op_class, claiming);
        SY_ASSERT(class->keep > 0 && class->gang.size == 0 && class->partition->up);
        SY_ASSERT(class->claims == class->claims_allowed && class->claims <= class->keep);
        SY_ASSERT(class->claims_ready <= class->claims + (class->made != NULL));
        of_classes += class->claims;
    }
    for (uint32_t i = 0; i < op->node_count; i++)
        kept += check_kept(op->nodes[i]);
    SY_ASSERT(count == op->claim_count && count == of_classes && kept <= count + op->made.count);
    SY_ASSERT(count <= (most > 0 ? most : 1) && !op->claims_changed);
    SY_ASSERT(count == 0 || op->claim_due_ns != SY_TIME_NEVER);
}

/* Where others stop for a class: one node of a class. */
static void check_made(const struct sch_operator *op)
{
    size_t count = 0;
    for (struct sch_link *link = op->partitions.next; link != &op->partitions; link = link->next) {
        const struct sch_op_partition *partition = sy_container_of(link, struct sch_op_partition,
                                                                   link);
        struct sch_amount claimed = {0};
        for (struct sch_link *at = partition->classes.next; at != &partition->classes;
             at = at->next) {
            const struct sch_op_class *class = sy_container_of(at, struct sch_op_class,
                                                               partition_link);
            for (uint32_t i = 0; i < class->claims_ready; i++)
                sch_amount_add(&claimed, &class->kind->request, true);
            if (!class->made)
                continue;
            count++;
            SY_ASSERT(class->made->class == class && class->made->node);
            SY_ASSERT(sch_heap_has(&class->made->end) && !sch_link_in_list(&class->made->link));
        }
        SY_ASSERT(memcmp(&claimed, &partition->claimed, sizeof(claimed)) == 0);
    }
    SY_ASSERT(count == op->made.count);
    sch_heap_check(&op->made);
}

static void check_held(const struct sch_operator *op)
{
    int64_t last_ns = INT64_MIN;
    for (struct sch_link *link = op->held.next; link != &op->held; link = link->next) {
        const struct sch_attempt *a = sy_container_of(link, struct sch_attempt, place);
        SY_ASSERT(sch_attempt_state(a) == SCH_ATTEMPT_HELD && a->held_until_ns >= last_ns);
        last_ns = a->held_until_ns;
    }
}

static size_t check_kinds_of(const struct sch_operator *op, const struct sch_link *list, bool dirty,
                             bool ordered)
{
    for (struct sch_link *link = list->next; link != list; link = link->next) {
        const struct sch_kind *kind = sy_container_of(link, struct sch_kind, decision);
        SY_ASSERT(sch_kind_is_dirty(op, kind) == dirty || ordered);
        SY_ASSERT(!kind->ordered || ordered);
    }
    return list_length(list);
}

/* Each kind is in the next decision, in the one that is under way, or decided. */
static void check_decisions(const struct sch_operator *op)
{
    bool ordered = op->order.phase > SCH_OP_ORDER_GATHER;
    size_t count = check_kinds_of(op, &op->kinds_decided, false, false);
    count += check_kinds_of(op, &op->kinds_dirty, true, false);
    count += check_kinds_of(op, &op->order.kinds.todo, true, ordered);
    count += check_kinds_of(op, &op->order.kinds.done, true, ordered);
    SY_ASSERT(count == op->kinds_by_request.count);
    SY_ASSERT(op->granting || op->order.phase != SCH_OP_ORDER_NONE ||
              (sch_list_empty(&op->order.kinds.todo) && sch_list_empty(&op->order.kinds.done)));
    SY_ASSERT(!sch_list_empty(&op->parked.todo) ||
              (sch_list_empty(&op->parked_at) && !op->parked_anywhere));
}

/* What classes are to get in the order that is under way, at all levels together. */
static uint64_t to_come(const struct sch_operator *op)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < op->classes_by_id.size; i++) {
        for (struct sch_table_link *link = op->classes_by_id.buckets[i]; link; link = link->next) {
            const struct sch_op_class *class = sy_container_of(link, struct sch_op_class, by_id);
            const struct sch_op_share *share = class->place ? class->place->share : NULL;
            SY_ASSERT(!class->place || op->order.phase != SCH_OP_ORDER_NONE);
            SY_ASSERT(class->place ||
                      (class->taken + class->given == 0 && !sch_heap_has(&class->turn)));
            for (; share; share = share->parent)
                count += class->taken + class->given;
        }
    }
    return count;
}

/* What each seat and share has is what the attempts that sit there ask for. */
static void check_uses(const struct sch_operator *op)
{
    bool ordered = op->order.phase != SCH_OP_ORDER_NONE;
    uint64_t given = to_come(op);
    struct sch_use all = {0}, seated = {0};
    for (struct sch_link *link = op->partitions.next; link != &op->partitions; link = link->next) {
        const struct sch_op_partition *partition = sy_container_of(link, struct sch_op_partition,
                                                                   link);
        for (struct sch_link *at = partition->attempts.next; at != &partition->attempts;
             at = at->next) {
            const struct sch_attempt *a = sy_container_of(at, struct sch_attempt, partition_link);
            SY_ASSERT(!a->seat || (a->kind && a->seat->partition == partition));
            struct sch_use use = {0};
            if (a->seat)
                use = sch_use_of(&a->kind->request);
            for (const struct sch_op_seat *seat = a->seat; seat; seat = seat->parent)
                sch_use_add(&all, &use);
        }
    }
    for (uint32_t i = 0; i < op->seats.size; i++) {
        for (struct sch_table_link *link = op->seats.buckets[i]; link; link = link->next) {
            const struct sch_op_seat *seat = sy_container_of(link, struct sch_op_seat, by_share);
            SY_ASSERT((seat->refs > 0) != sch_link_in_list(&seat->idle));
            SY_ASSERT(seat->use.actions <= seat->share->use.actions);
            sch_use_add(&seated, &seat->use);
        }
    }
    SY_ASSERT(memcmp(&all, &seated, sizeof(all)) == 0);
    for (uint32_t i = 0; i < op->shares_by_id.size; i++) {
        for (struct sch_table_link *link = op->shares_by_id.buckets[i]; link; link = link->next) {
            const struct sch_op_share *share = sy_container_of(link, struct sch_op_share, by_id);
            sch_heap_check(&share->children);
            sch_heap_check(&share->classes);
            SY_ASSERT(ordered || (share->children.count == 0 && share->classes.count == 0));
            SY_ASSERT(ordered || !sch_heap_has(&share->entry));
            SY_ASSERT(given >= share->given.actions);
            given -= share->given.actions;
            sch_use_subtract(&seated, &share->use);
        }
    }
    SY_ASSERT(given == 0);
    SY_ASSERT(seated.actions == 0 && seated.cpu_milli == 0 && seated.memory_bytes == 0);
}

/* Who asks for room. */
static void check_asking(const struct sch_operator *op)
{
    uint32_t partitions = 0, unseated = 0;
    for (struct sch_link *link = op->partitions.next; link != &op->partitions; link = link->next) {
        const struct sch_op_partition *partition = sy_container_of(link, struct sch_op_partition,
                                                                   link);
        uint32_t asking = 0;
        for (struct sch_link *at = partition->classes.next; at != &partition->classes;
             at = at->next) {
            const struct sch_op_class *class = sy_container_of(at, struct sch_op_class,
                                                               partition_link);
            bool asks = class->waiting > 0 && class->gang.size == 0;
            asking += asks;
            unseated += asks && !class->seat;
            SY_ASSERT(!class->seat || class->seat->partition == partition);
        }
        SY_ASSERT(asking == partition->asking);
        partitions += asking > 0;
    }
    SY_ASSERT(partitions == op->partitions_asking && unseated == op->classes_unseated);
}

static size_t check_partition(struct sch_operator *op, const struct sch_op_partition *partition,
                              struct sch_amount *unstarted)
{
    uint64_t waiting = 0, here = 0;
    SY_ASSERT(partition->up || sch_list_empty(&partition->classes));
    SY_ASSERT(sch_op_partition_is_served(partition) ||
              (!partition->up && !sch_list_empty(&partition->attempts)));
    for (struct sch_link *link = partition->attempts.next; link != &partition->attempts;
         link = link->next) {
        const struct sch_attempt *a = sy_container_of(link, struct sch_attempt, partition_link);
        check_attempt(op, a);
        if (!sch_link_in_list(&a->queue))
            continue;
        sch_amount_add(unstarted, &a->kind->request, true);
        here += a->class != NULL;
    }
    for (struct sch_link *link = partition->classes.next; link != &partition->classes;
         link = link->next)
        waiting += sy_container_of(link, struct sch_op_class, partition_link)->waiting;
    SY_ASSERT(waiting == partition->waiting && here == partition->unstarted);
    return list_length(&partition->attempts);
}

/* Of one that waits, by each node: no domain has room for all of it now, nor all nodes together
 * when that would do. */
static void check_waits(struct sch_operator *op, const struct sch_op_gang *gang)
{
    const struct sch_resources *request = &sch_op_gang_kind(gang)->request;
    bool anywhere = gang->shape.topology != SCH_TOPOLOGY_REQUIRE;
    for (uint32_t i = 0; i < (anywhere ? 1 : op->node_count); i++) {
        uint64_t room = 0;
        struct sy_span there = {0};
        if (!anywhere)
            there = sch_op_domain_of(&op->nodes[i]->shape->shape, gang->shape.key);
        for (uint32_t k = 0; k < op->node_count; k++) {
            const struct sch_node *node = op->nodes[k];
            struct sy_span other = {0};
            if (!anywhere)
                other = sch_op_domain_of(&node->shape->shape, gang->shape.key);
            bool same = anywhere ||
                        (there.data && other.data && sch_label_values_compare(&there, &other) == 0);
            if (same && sch_op_gang_is_open(op, node, gang, SCH_NOW))
                room += sch_node_fits(node, request);
        }
        SY_ASSERT(room < gang->shape.size);
    }
}

static void check_gangs_wait(struct sch_operator *op)
{
    unsigned tried = 0;
    struct sch_link *link = op->gangs.next;
    for (; link != &op->gangs && tried < SCH_OP_GANGS_TRIED; link = link->next) {
        const struct sch_op_gang *gang = sy_container_of(link, struct sch_op_gang, link);
        if (gang->came != gang->shape.size || gang->count != gang->came)
            continue;
        tried++;
        if (sch_kind_is_known(op, sch_op_gang_kind(gang)))
            check_waits(op, gang);
    }
}

void sch_operator_check(const struct sch_operator *const_op)
{
    /* Bringing kinds up to date changes nothing that is seen from outside. */
    struct sch_operator *op = (struct sch_operator *)(uintptr_t)const_op;
    size_t attempts = 0, held = 0, classes = 0;
    struct sch_amount unstarted = {0};
    SY_ASSERT(!op->out && !op->choice_came && sch_list_empty(&op->freed));
    check_nodes(op);
    check_index(op);
    if (!op->gangs_due && op->node_count <= CHECKED_NODES)
        check_gangs_wait(op);
    for (struct sch_link *link = op->kinds.next; link != &op->kinds; link = link->next) {
        struct sch_kind *kind = sy_container_of(link, struct sch_kind, link);
        check_kind(op, kind);
        SY_ASSERT(sch_rate_backlog(&kind->rate, op->now_ns) == 0 || sch_link_in_list(&kind->rated));
        held += kind->held_count;
        classes += list_length(&kind->classes);
    }
    for (struct sch_link *link = op->partitions.next; link != &op->partitions; link = link->next)
        attempts += check_partition(op, sy_container_of(link, struct sch_op_partition, link),
                                    &unstarted);
    SY_ASSERT(memcmp(&unstarted, &op->unstarted, sizeof(unstarted)) == 0);
    check_held(op);
    check_uses(op);
    check_asking(op);
    check_gangs(op);
    check_claims(op);
    check_made(op);
    SY_ASSERT(attempts == op->attempts.count && held == list_length(&op->held));
    SY_ASSERT(classes == op->classes_by_id.count);
    SY_ASSERT(list_length(&op->kinds) == op->kinds_by_request.count);
    check_decisions(op);
    SY_ASSERT(list_length(&op->changed) == op->changed_count);
    SY_ASSERT(list_length(&op->kinds_asking) == op->asking_count);
    SY_ASSERT(list_length(&op->services) == op->services_by_name.count);
    SY_ASSERT(list_length(&op->shapes) == op->shapes_by_bytes.count);
    SY_ASSERT(list_length(&op->groups) == op->groups_by_bytes.count);
    const struct sch_table *tables[] = {
        &op->partitions_by_id, &op->classes_by_id,    &op->kinds_by_request, &op->nodes_by_name,
        &op->shapes_by_bytes,  &op->services_by_name, &op->attempts,         &op->groups_by_bytes};
    for (size_t i = 0; i < SY_COUNT_OF(tables); i++)
        sch_table_check(tables[i]);
}
