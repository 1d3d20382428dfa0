#include "scheduler/operator_impl.h"
#include "scheduler/operator_wait.h"

#include <stdlib.h>

/* ---- partitions ---- */

struct sch_op_partition *sch_op_partition_find(const struct sch_operator *op, uint32_t id)
{
    struct sch_table_link *link = sch_table_first(&op->partitions_by_id, sch_hash_u64(id, 0));
    for (; link; link = sch_table_next(link)) {
        struct sch_op_partition *partition = sy_container_of(link, struct sch_op_partition, by_id);
        if (partition->id == id)
            return partition;
    }
    return NULL;
}

/* Once a shard has opened its stream it is kept: its epoch fences, and there are as many as the
 * region has partitions. One that only agents have named goes with its last attempt. */
struct sch_op_partition *sch_op_partition_get(struct sch_operator *op, uint32_t id)
{
    struct sch_op_partition *partition = sch_op_partition_find(op, id);
    if (partition)
        return partition;
    partition = sy_new(struct sch_op_partition);
    partition->id = id;
    sch_list_init(&partition->attempts);
    sch_list_init(&partition->classes);
    sch_list_init(&partition->seats_idle);
    sch_table_add(&op->partitions_by_id, &partition->by_id, sch_hash_u64(id, 0));
    sch_list_push_back(&op->partitions, &partition->link);
    return partition;
}

static void forget(struct sch_operator *op, struct sch_op_partition *partition)
{
    SY_ASSERT(sch_list_empty(&partition->attempts) && sch_list_empty(&partition->classes));
    SY_ASSERT(sch_list_empty(&partition->seats_idle));
    sch_table_remove(&op->partitions_by_id, &partition->by_id);
    sch_list_remove(&partition->link);
    op->descended -= partition->origin_count > 0;
    free(partition->origins);
    free(partition);
}

void sch_op_partition_left(struct sch_operator *op, struct sch_op_partition *partition)
{
    if (!sch_op_partition_is_served(partition) && sch_list_empty(&partition->attempts))
        forget(op, partition);
}

/* ---- classes ---- */

static uint32_t class_hash(uint32_t partition, uint32_t id)
{
    return sch_hash_u64(((uint64_t)partition << 32) | id, 0);
}

struct sch_op_class *sch_op_class_find(const struct sch_operator *op, uint32_t partition,
                                       uint32_t id)
{
    struct sch_table_link *link = sch_table_first(&op->classes_by_id, class_hash(partition, id));
    for (; link; link = sch_table_next(link)) {
        struct sch_op_class *class = sy_container_of(link, struct sch_op_class, by_id);
        if (class->id == id && class->partition->id == partition)
            return class;
    }
    return NULL;
}

static struct sch_op_class *class_new(struct sch_operator *op, struct sch_op_partition *partition,
                                      const struct sch_op_event *demand)
{
    uint32_t id = demand->u.demand.class_id;
    SY_ASSERT(partition->up);
    struct sch_op_class *class = sy_new(struct sch_op_class);
    class->id = id;
    class->partition = partition;
    class->kind = sch_kind_ref(op, &demand->u.demand.request);
    class->owed = true;
    if (demand->u.demand.gang)
        class->gang = *demand->u.demand.gang;
    sch_table_add(&op->classes_by_id, &class->by_id, class_hash(partition->id, id));
    sch_list_push_back(&partition->classes, &class->partition_link);
    sch_list_push_back(&class->kind->classes, &class->kind_link);
    return class;
}

static void set_waiting(struct sch_operator *op, struct sch_op_class *class, uint64_t waiting)
{
    struct sch_kind *kind = class->kind;
    struct sch_op_partition *partition = class->partition;
    SY_ASSERT(kind->waiting >= class->waiting && partition->waiting >= class->waiting);
    kind->waiting -= class->waiting;
    partition->waiting -= class->waiting;
    class->waiting = waiting < SCH_OP_WAITING_MAX ? waiting : SCH_OP_WAITING_MAX;
    kind->waiting += class->waiting;
    partition->waiting += class->waiting;
    bool asks = kind->waiting > 0;
    if (asks == sch_link_in_list(&kind->asking))
        return;
    if (asks) {
        sch_list_push_back(&op->kinds_asking, &kind->asking);
        op->asking_count++;
    } else {
        sch_list_remove(&kind->asking);
        op->asking_count--;
    }
}

/* Whether it asks for room, into the sums; `add` false: out of them, before that changes. */
static void count_asking(struct sch_operator *op, struct sch_op_class *class, bool add)
{
    if (class->waiting == 0 || class->gang.size > 0)
        return;
    uint32_t *asking = &class->partition->asking;
    SY_ASSERT(add || (*asking > 0 && op->partitions_asking > 0));
    op->partitions_asking -= *asking > 0;
    *asking += add ? 1 : UINT32_MAX;
    op->partitions_asking += *asking > 0;
    if (!class->seat)
        op->classes_unseated += add ? 1 : UINT32_MAX;
}

/* Of the first that waits. */
static void set_standing(struct sch_operator *op, struct sch_op_class *class,
                         const struct sch_share_standing *standing)
{
    if (!standing || !class->seat || !sch_op_seat_is(class->seat, &standing->path)) {
        struct sch_op_seat *before = class->seat;
        class->seat = standing ? sch_op_seat_ref(op, class->partition, &standing->path) : NULL;
        sch_op_seat_unref(op, before);
    }
    if (class->seat)
        sch_op_seat_weigh(class->seat, standing);
}

static void class_free(struct sch_operator *op, struct sch_op_class *class)
{
    SY_ASSERT(!sch_link_in_list(&class->partition_link));
    count_asking(op, class, false);
    set_waiting(op, class, 0);
    set_standing(op, class, NULL);
    sch_op_order_forget(op, class);
    sch_class_drop_claims(op, class);
    sch_table_remove(&op->classes_by_id, &class->by_id);
    sch_list_remove(&class->kind_link);
    sch_kind_unref(op, class->kind);
    free(class);
}

/* ---- streams ---- */

static void close_stream(struct sch_operator *op, struct sch_op_partition *partition)
{
    partition->up = false;
    partition->unstarted = 0;
    partition->assigned = partition->room = partition->given = (struct sch_amount){0};
    for (struct sch_link *link = partition->attempts.next; link != &partition->attempts;
         link = link->next) {
        struct sch_attempt *a = sy_container_of(link, struct sch_attempt, partition_link);
        a->class = NULL;
        if (a->gang)
            a->gang->class = NULL;
    }
    while (!sch_list_empty(&partition->classes)) {
        struct sch_link *link = sch_list_pop(&partition->classes);
        class_free(op, sy_container_of(link, struct sch_op_class, partition_link));
    }
    sch_op_elsewhere_close(op, partition);
}

static void send_complete(struct sch_operator *op, const struct sch_op_partition *partition)
{
    SY_ASSERT(partition->up && op->join_end_ns == SY_TIME_NEVER);
    bool owed = !sch_list_empty(&op->owed);
    sch_op_effect_add(op, owed ? SCH_OP_SEND_INVENTORY_OWED : SCH_OP_SEND_INVENTORY_COMPLETE)
        ->u.partition = partition->id;
}

void sch_op_settled(struct sch_operator *op)
{
    for (struct sch_link *link = op->partitions.next; link != &op->partitions; link = link->next) {
        const struct sch_op_partition *partition = sy_container_of(link, struct sch_op_partition,
                                                                   link);
        if (partition->up && op->join_end_ns == SY_TIME_NEVER)
            send_complete(op, partition);
    }
}

void sch_op_partition_up(struct sch_operator *op, const struct sch_op_event *event)
{
    uint32_t epoch = event->u.partition.epoch;
    SY_ASSERT(epoch > 0);
    struct sch_op_partition *partition = sch_op_partition_get(op, event->u.partition.partition);
    if (epoch < partition->epoch)
        return; /* its owner has been replaced: the shell closes the stream */
    if (partition->up)
        close_stream(op, partition);
    partition->epoch = epoch;
    sch_op_partition_says(op, partition, event);
    partition->up = true;
    for (struct sch_link *link = partition->attempts.next; link != &partition->attempts;
         link = link->next) {
        struct sch_attempt *a = sy_container_of(link, struct sch_attempt, partition_link);
        if (sch_attempt_state(a) == SCH_ATTEMPT_DONE)
            sch_attempt_send_outcome(op, a);
        else
            sch_attempt_send_inventory(op, a);
    }
    if (op->join_end_ns == SY_TIME_NEVER)
        send_complete(op, partition);
    sch_op_elsewhere_open(op, partition);
}

void sch_op_partition_down(struct sch_operator *op, uint32_t id)
{
    struct sch_op_partition *partition = sch_op_partition_find(op, id);
    if (partition && partition->up)
        close_stream(op, partition);
}

void sch_op_partition_free(struct sch_operator *op, struct sch_op_partition *partition)
{
    close_stream(op, partition);
    partition->epoch = UINT32_MAX; /* so that it outlives its last attempt */
    while (!sch_list_empty(&partition->attempts))
        sch_attempt_free(
            op, sy_container_of(partition->attempts.next, struct sch_attempt, partition_link));
    forget(op, partition);
}

void sch_op_node_left(struct sch_operator *op, const struct sch_node *node)
{
    for (struct sch_link *link = op->partitions.next; link != &op->partitions;) {
        struct sch_op_partition *partition = sy_container_of(link, struct sch_op_partition, link);
        link = link->next;
        if (sch_op_partition_is_served(partition))
            continue;
        for (struct sch_link *at = partition->attempts.next; at != &partition->attempts;) {
            struct sch_attempt *a = sy_container_of(at, struct sch_attempt, partition_link);
            bool last = at->next == &partition->attempts;
            at = at->next;
            if (a->node == node)
                sch_attempt_free(op, a);
            if (last)
                break; /* the partition may be gone */
        }
    }
}

void sch_op_join_tick(struct sch_operator *op)
{
    if (op->join_end_ns > op->now_ns)
        return;
    op->join_end_ns = SY_TIME_NEVER;
    sch_op_settled(op);
}

/* ---- records ---- */

void sch_op_demand(struct sch_operator *op, const struct sch_op_event *event)
{
    struct sch_op_partition *partition = sch_op_partition_find(op, event->u.demand.partition);
    if (!partition || !partition->up)
        return;
    struct sch_op_class *class = sch_op_class_find(op, partition->id, event->u.demand.class_id);
    if (!class)
        class = class_new(op, partition, event);
    count_asking(op, class, false);
    set_waiting(op, class, event->u.demand.waiting);
    set_standing(op, class, event->u.demand.standing);
    count_asking(op, class, true);
    class->top_priority = event->u.demand.top_priority;
    class->oldest_ns = op->now_ns - event->u.demand.oldest_age_ns;
    class->heard_ns = op->now_ns;
    if (class->waiting == 0)
        sch_claim_forget_made(op, class);
    sch_class_keep(op, class, class->gang.size > 0 ? 0 : event->u.demand.keep);
    if (class->gang.size > 0)
        sch_op_gang_grant(op, class, true);
    if (sch_op_is_contended(op)) {
        sch_kind_dirty(op, class->kind); /* others may come before it */
        return;
    }
    sch_kind_grant(op, class->kind);
    struct sch_amount backlog = sch_backlog_amount(op);
    sch_room_grant(op, partition, &backlog, sch_room_weights(op));
}

static void send_returned(struct sch_operator *op, const struct sch_attempt_key *key,
                          const char *reason)
{
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_RETURNED);
    effect->u.report.key = *key;
    effect->u.report.node = "";
    effect->u.report.reason = reason;
}

void sch_op_assign(struct sch_operator *op, const struct sch_op_event *event)
{
    const struct sch_attempt_key *key = &event->u.assign.key;
    struct sch_blob blob = event->u.assign.blob;
    struct sch_op_partition *partition = sch_op_partition_find(op, key->partition);
    /* From an owner that has been replaced, or on no stream; or a repetition. */
    if (!partition || !partition->up || key->epoch != partition->epoch ||
        sch_attempt_find(op, key)) {
        sch_blob_release(&blob);
        return;
    }
    struct sch_op_class *class = sch_op_class_find(op, partition->id, event->u.assign.class_id);
    bool gang = class && class->gang.size > 0, counts = !gang || event->u.assign.rank == 0;
    if (class) { /* the shard counts it too, whatever becomes of it */
        class->assigned += counts;
        sch_op_order_came(class);
        class->heard_ns = op->now_ns;
        sch_amount_add(&partition->assigned, &class->kind->request, true);
    }
    if (!class || class->assigned > class->granted ||
        (gang && !sch_op_gang_assign(op, class, event))) {
        send_returned(op, key, class ? "more than was granted" : "its class is not known here");
        sch_blob_release(&blob);
        return;
    }
    if (gang)
        return;
    sch_kind_ref(op, &class->kind->request);
    struct sch_attempt *a = sch_attempt_new(op, key, class->kind, SCH_ATTEMPT_HELD);
    a->class = class;
    a->queue_tag = event->u.assign.queue;
    sch_attempt_sit(op, a, event->u.assign.place);
    a->suspect = event->u.assign.suspect;
    a->waits = event->u.assign.waits;
    a->held_ns = op->now_ns;
    a->blob = blob;
    sch_attempt_hold(op, a);
    if (!sch_claim_place(op, a) && class->kind->held_count == 1)
        (void)sch_kind_place(op, class->kind);
    sch_kind_dirty(op, class->kind);
}

void sch_op_cancel(struct sch_operator *op, const struct sch_attempt_key *key, const char *reason)
{
    struct sch_attempt *a = sch_attempt_find(op, key);
    if (!a || sch_attempt_state(a) == SCH_ATTEMPT_DONE)
        return; /* gone, or its outcome is on the way */
    if (sch_attempt_state(a) == SCH_ATTEMPT_HELD) {
        sch_attempt_returned(op, a, NULL);
        return;
    }
    sch_node_leaving(op, a->node, a->charged && !a->cancelled);
    a->cancelled = true;
    if (a->placed)
        a->placed->cancelled = true;
    if (sch_node_state(a->node) != SCH_NODE_READY)
        return; /* it is told when its inventory names the attempt */
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_CANCEL);
    effect->u.attempt.node = a->node->name;
    effect->u.attempt.key = a->key;
    effect->u.attempt.reason = reason;
}

void sch_op_preempt(struct sch_operator *op, const struct sch_attempt_key *key, const char *reason)
{
    struct sch_attempt *a = sch_attempt_find(op, key);
    if (!a || a->cancelled)
        return; /* it ends as who cancelled it says */
    if (sch_attempt_state(a) == SCH_ATTEMPT_HELD) {
        sch_attempt_returned(op, a, "its cluster is drained");
        return;
    }
    sch_op_cancel(op, key, reason);
    if (a->cancelled)
        a->preempted = "preempted: its cluster is drained";
}

void sch_op_give_back(struct sch_operator *op, const struct sch_attempt_key *key)
{
    struct sch_attempt *a = sch_attempt_find(op, key);
    if (!a)
        return;
    if (sch_attempt_state(a) == SCH_ATTEMPT_HELD) {
        sch_attempt_returned(op, a, "its cluster is drained");
    } else if (sch_attempt_state(a) == SCH_ATTEMPT_PLACED && !a->asked_back) {
        sch_node_give_back(op, a->node);
        a->asked_back = true; /* also where its agent is away */
    }
}

/* Of one partition: one cancel may take others of its gang with it, so by their keys. */
static void cancel_partition(struct sch_operator *op, struct sch_op_partition *partition,
                             bool held_only, const char *reason)
{
    size_t count = 0, at = 0;
    struct sch_link *link;
    for (link = partition->attempts.next; link != &partition->attempts; link = link->next)
        count++;
    struct sch_attempt_key *keys = sy_calloc(count + 1, sizeof(*keys));
    for (link = partition->attempts.next; link != &partition->attempts; link = link->next) {
        const struct sch_attempt *a = sy_container_of(link, struct sch_attempt, partition_link);
        if (held_only ? sch_attempt_state(a) == SCH_ATTEMPT_HELD : !a->cancelled)
            keys[at++] = a->key;
    }
    for (size_t i = 0; i < at; i++)
        sch_op_cancel(op, &keys[i], reason);
    free(keys);
}

static void cancel_each(struct sch_operator *op, bool held_only, const char *reason)
{
    struct sch_link *link = op->partitions.next, *next;
    for (; link != &op->partitions; link = next) {
        next = link->next;
        cancel_partition(op, sy_container_of(link, struct sch_op_partition, link), held_only,
                         reason);
    }
}

void sch_op_cancel_all(struct sch_operator *op, const char *reason)
{
    cancel_each(op, false, reason);
}

void sch_op_forget_held(struct sch_operator *op)
{
    cancel_each(op, true, NULL);
}

void sch_op_ack(struct sch_operator *op, const struct sch_attempt_key *key)
{
    struct sch_attempt *a = sch_attempt_find(op, key);
    if (!a || sch_attempt_state(a) != SCH_ATTEMPT_DONE)
        return;
    SY_ASSERT(a->node);
    sch_node_send_ack(op, a->node, &a->key);
    sch_attempt_free(op, a);
}
