#include "scheduler/operator_impl.h"

#include <string.h>

static size_t list_length(const struct sch_link *head)
{
    size_t n = 0;
    for (const struct sch_link *link = head->next; link != head; link = link->next) {
        SY_ASSERT(link->next->prev == link && link->prev->next == link);
        n++;
    }
    return n;
}

static void check_attempt(const struct sch_attempt *a)
{
    enum sch_attempt_state state = sch_attempt_state(a);
    bool on_node = state == SCH_ATTEMPT_PLACED || state == SCH_ATTEMPT_STARTED;
    SY_ASSERT(state != SCH_ATTEMPT_RETURNED && sch_attempt_table.invariant(a, state));
    SY_ASSERT((a->kind == NULL) == (state == SCH_ATTEMPT_DONE));
    SY_ASSERT((a->node == NULL) == (state == SCH_ATTEMPT_HELD));
    SY_ASSERT(sch_link_in_list(&a->place) == (state != SCH_ATTEMPT_DONE));
    SY_ASSERT(!a->room || a->charged);
    SY_ASSERT(!on_node || !a->blob.data);
    SY_ASSERT(a->partition->id == a->key.partition);
    if (a->class)
        SY_ASSERT(a->class->partition == a->partition && a->class->kind == a->kind);
}

/* Sums over the attempts of one node. */
struct use {
    uint64_t cpu_milli, gpus, memory_bytes;
    uint32_t environments[SCH_OP_ENVIRONMENTS_MAX];
};

static void add(struct use *use, const struct sch_node *node, const struct sch_resources *request)
{
    use->cpu_milli += request->cpu_milli;
    use->gpus += request->gpus;
    use->memory_bytes += request->memory_bytes;
    for (uint32_t i = 0; i < node->environment_count; i++)
        use->environments[i] += request->environment[0] &&
                                strcmp(node->environments[i].name, request->environment) == 0;
}

/* What is STARTED or waits in the node's backlog, and that room is never given twice. */
static void check_node_room(const struct sch_node *node)
{
    struct use all = {0}, room = {0};
    uint32_t running = 0, backlog = 0;
    const struct sch_link *lists[] = {&node->attempts, &node->unnamed};
    for (size_t i = 0; i < SY_COUNT_OF(lists); i++) {
        for (struct sch_link *link = lists[i]->next; link != lists[i]; link = link->next) {
            const struct sch_attempt *a = sy_container_of(link, struct sch_attempt, place);
            bool started = sch_attempt_state(a) == SCH_ATTEMPT_STARTED;
            SY_ASSERT(a->node == node);
            running += started;
            backlog += sch_link_in_list(&a->queue);
            SY_ASSERT(lists[i] == &node->unnamed || a->charged != sch_link_in_list(&a->queue));
            SY_ASSERT(lists[i] == &node->attempts || !a->charged);
            if (a->charged)
                add(&all, node, &a->kind->request);
            if (a->room)
                add(&room, node, &a->kind->request);
        }
    }
    SY_ASSERT(running == node->running && backlog == node->backlog_count);
    SY_ASSERT(backlog == list_length(&node->backlog));
    SY_ASSERT(all.cpu_milli == node->used_cpu_milli && all.gpus == node->used_gpus);
    SY_ASSERT(all.memory_bytes == node->used_memory_bytes);
    SY_ASSERT(room.cpu_milli <= node->capacity.cpu_milli && room.gpus <= node->capacity.gpus);
    SY_ASSERT(room.memory_bytes <= node->capacity.memory_bytes);
    for (uint32_t i = 0; i < node->environment_count; i++) {
        SY_ASSERT(all.environments[i] == node->environment_used[i]);
        SY_ASSERT(room.environments[i] <= node->environments[i].slots);
    }
}

static void check_nodes(const struct sch_operator *op)
{
    uint32_t lost = 0;
    struct sch_amount free = {0};
    SY_ASSERT(op->nodes_by_name.count == op->node_count);
    for (uint32_t i = 0; i < op->node_count; i++) {
        const struct sch_node *node = op->nodes[i];
        enum sch_node_state state = sch_node_state(node);
        SY_ASSERT(node->index == i && sch_node_find(op, node->name) == node);
        SY_ASSERT(state != SCH_NODE_GONE);
        SY_ASSERT((state == SCH_NODE_LOST) == sch_heap_has(&node->lease));
        SY_ASSERT(i == 0 || strcmp(op->nodes[i - 1]->name, node->name) < 0);
        SY_ASSERT(sch_list_empty(&node->unnamed) || (node->listing && state == SCH_NODE_READY));
        check_node_room(node);
        /* The first of a backlog waits for a reason. */
        if (!sch_list_empty(&node->backlog) && state == SCH_NODE_READY && !node->listing) {
            const struct sch_attempt *a = sy_container_of(node->backlog.next, struct sch_attempt,
                                                          queue);
            SY_ASSERT(sch_node_fits(node, &a->kind->request, false) == 0);
        }
        lost += state == SCH_NODE_LOST;
        free.cpu_milli += node->free.cpu_milli;
        free.memory_bytes += node->free.memory_bytes;
        free.gpus += node->free.gpus;
    }
    SY_ASSERT(lost == op->leases.count && memcmp(&free, &op->free, sizeof(free)) == 0);
    sch_heap_check(&op->leases);
}

static void check_kind_slots(const struct sch_operator *op, const struct sch_kind *kind)
{
    uint64_t room = 0;
    uint32_t capable = 0, over = 0;
    SY_ASSERT(kind->slot_count == op->node_count);
    for (uint32_t i = 0; i < op->node_count; i++) {
        const struct sch_node *node = op->nodes[i];
        const struct sch_slot *slot = &kind->slots[i];
        bool ready = sch_node_state(node) == SCH_NODE_READY && !node->listing;
        SY_ASSERT(slot->fits == (ready ? sch_node_fits(node, &kind->request, false) : 0));
        SY_ASSERT(slot->slots == (ready ? sch_node_fits(node, &kind->request, true) : 0));
        SY_ASSERT(slot->fits <= slot->slots);
        SY_ASSERT(sch_heap_has(&slot->best) == (slot->fits > 0));
        room += slot->fits;
        capable += slot->slots > 0;
        over += slot->slots > 0 && node->backlog_count < sch_node_backlog_max(node);
    }
    SY_ASSERT(room == kind->room && capable == kind->capable && over == kind->over.count);
    sch_heap_check(&kind->best);
    sch_heap_check(&kind->over);
    /* What is held waits for a reason. */
    SY_ASSERT(kind->held_count == 0 || (kind->best.count == 0 && kind->over.count == 0));
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
    check_kind_slots(op, kind);
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

static size_t check_partition(const struct sch_op_partition *partition,
                              struct sch_amount *unstarted)
{
    uint64_t waiting = 0, here = 0;
    SY_ASSERT(partition->up || sch_list_empty(&partition->classes));
    for (struct sch_link *link = partition->attempts.next; link != &partition->attempts;
         link = link->next) {
        const struct sch_attempt *a = sy_container_of(link, struct sch_attempt, partition_link);
        check_attempt(a);
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

void sch_operator_check(const struct sch_operator *const_op)
{
    /* Bringing kinds up to date changes nothing that is seen from outside. */
    struct sch_operator *op = (struct sch_operator *)(uintptr_t)const_op;
    size_t attempts = 0, held = 0, classes = 0;
    struct sch_amount unstarted = {0};
    SY_ASSERT(!op->out && !op->room_came);
    check_nodes(op);
    for (struct sch_link *link = op->kinds.next; link != &op->kinds; link = link->next) {
        struct sch_kind *kind = sy_container_of(link, struct sch_kind, link);
        check_kind(op, kind);
        held += kind->held_count;
        classes += list_length(&kind->classes);
    }
    for (struct sch_link *link = op->partitions.next; link != &op->partitions; link = link->next)
        attempts += check_partition(sy_container_of(link, struct sch_op_partition, link),
                                    &unstarted);
    SY_ASSERT(memcmp(&unstarted, &op->unstarted, sizeof(unstarted)) == 0);
    check_held(op);
    SY_ASSERT(attempts == op->attempts.count && held == list_length(&op->held));
    SY_ASSERT(classes == op->classes_by_id.count);
    SY_ASSERT(list_length(&op->kinds) == op->kinds_by_request.count);
    SY_ASSERT(list_length(&op->kinds_parked) == op->parked_count);
    SY_ASSERT(list_length(&op->kinds_asking) == op->asking_count);
    SY_ASSERT(list_length(&op->changed) == op->node_count);
    const struct sch_table *tables[] = {&op->partitions_by_id, &op->classes_by_id,
                                        &op->kinds_by_request, &op->nodes_by_name, &op->attempts};
    for (size_t i = 0; i < SY_COUNT_OF(tables); i++)
        sch_table_check(tables[i]);
}
