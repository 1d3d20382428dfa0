#include "scheduler/operator_impl.h"

/* ---- whose grants are to be worked out again ---- */

bool sch_kind_is_dirty(const struct sch_operator *op, const struct sch_kind *kind)
{
    return kind->decided < op->kinds_serial;
}

/* One that an order has counted already waits for its end. */
void sch_kind_dirty(struct sch_operator *op, struct sch_kind *kind)
{
    if (sch_kind_is_dirty(op, kind))
        return;
    kind->decided = 0;
    if (kind->ordered)
        return;
    sch_list_remove(&kind->decision);
    sch_list_push_back(&op->kinds_dirty, &kind->decision);
}

void sch_kinds_dirty(struct sch_operator *op)
{
    op->kinds_serial++;
    sch_list_splice(&op->kinds_dirty, &op->kinds_decided);
}

void sch_kind_decision_ends(struct sch_operator *op, struct sch_kind *kind)
{
    bool again = sch_kind_is_dirty(op, kind);
    kind->ordered = false;
    sch_list_remove(&kind->decision);
    sch_list_push_back(again ? &op->kinds_dirty : &op->kinds_decided, &kind->decision);
}

struct sch_kind *sch_kind_next_asking(struct sch_operator *op)
{
    if (op->grants_left == 0 || sch_list_empty(&op->kinds_asking)) {
        op->grants_left = 0;
        return NULL;
    }
    struct sch_link *link = sch_list_pop(&op->kinds_asking);
    sch_list_push_back(&op->kinds_asking, link);
    op->grants_left--;
    return sy_container_of(link, struct sch_kind, asking);
}

/* ---- how much ---- */

/* What the kind may hold beyond the room that is free now: enough to hide a round trip. */
static uint64_t backlog_max(const struct sch_operator *op, const struct sch_kind *kind)
{
    uint64_t rate = kind->capable > 0 ? sch_rate_backlog(&kind->rate, op->now_ns) : 0;
    return rate < SCH_OP_BACKLOG_MAX ? rate : SCH_OP_BACKLOG_MAX;
}

/* How many may come beyond those that are there, never fewer than were granted before; not worth a
 * message while three quarters of it are left, which are at least `least`. Gangs take more than was
 * granted: that is made up for even where there is nothing more to come, else who asks for nothing
 * of it could not come either. Returns whether to send. */
static bool raise(uint64_t *granted, uint64_t assigned, uint64_t share, uint64_t least)
{
    uint64_t outstanding = *granted > assigned ? *granted - assigned : 0;
    bool enough = outstanding > 0 && outstanding >= least && outstanding > share - share / 4;
    if (*granted >= assigned && (share <= outstanding || enough))
        return false;
    *granted = assigned + share;
    return true;
}

void sch_class_grant_share(struct sch_operator *op, struct sch_op_class *class, uint64_t share,
                           bool exact)
{
    uint64_t room = class->kind->room, startable = room < share ? room : share;
    share += class->claims_ready;
    if (raise(&class->granted, class->assigned, share, exact ? share : 1))
        class->heard_ns = op->now_ns;
    else if (!class->owed || !sch_kind_is_known(op, class->kind))
        return;
    sch_class_send_grant(op, class, startable + class->claims_ready);
}

uint64_t sch_kind_free(struct sch_operator *op, struct sch_kind *kind)
{
    sch_kind_sync(op, kind);
    uint64_t can = kind->room + backlog_max(op, kind),
             holds = kind->held_count + kind->backlog_count;
    return can > holds ? can - holds : 0;
}

void sch_class_send_grant(struct sch_operator *op, struct sch_op_class *class, uint64_t startable)
{
    SY_ASSERT(class->partition->up);
    class->owed = false;
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_GRANT);
    effect->u.grant.partition = class->partition->id;
    effect->u.grant.class_id = class->id;
    effect->u.grant.granted = class->granted;
    effect->u.grant.startable = class->assigned + startable;
}

/* In proportion to what waits; a class that is idle weighs as one that waits, so it has something
 * at hand for the next action. With any room at all each gets one when it has nothing unstarted
 * here; without, nothing: who waits there, bound to a cluster that is full, could start elsewhere,
 * or have others stopped for it. */
void sch_kind_grant(struct sch_operator *op, struct sch_kind *kind)
{
    uint64_t weights = 0, free_room = sch_kind_free(op, kind);
    for (struct sch_link *link = kind->classes.next; link != &kind->classes; link = link->next) {
        struct sch_op_class *class = sy_container_of(link, struct sch_op_class, kind_link);
        if (class->gang.size > 0)
            sch_op_gang_grant(op, class, false);
        else
            weights += class->waiting + 1;
    }
    for (struct sch_link *link = kind->classes.next; link != &kind->classes; link = link->next) {
        struct sch_op_class *class = sy_container_of(link, struct sch_op_class, kind_link);
        if (class->gang.size > 0)
            continue;
        SY_ASSERT(class->partition->up && weights > 0);
        op->order.looks++;
        uint64_t share = free_room * (class->waiting + 1) / weights;
        if (share == 0 && class->unstarted == 0 && free_room > 0)
            share = 1;
        sch_class_grant_share(op, class, share, false);
    }
}

/* ---- room: all classes together ---- */

void sch_amount_add(struct sch_amount *amount, const struct sch_resources *request, bool add)
{
    SY_ASSERT(add || (amount->cpu_milli >= request->cpu_milli &&
                      amount->memory_bytes >= request->memory_bytes &&
                      amount->gpu_milli >= sch_resources_gpu_milli(request)));
    amount->cpu_milli += add ? request->cpu_milli : -(uint64_t)request->cpu_milli;
    amount->memory_bytes += add ? request->memory_bytes : -request->memory_bytes;
    amount->gpu_milli += add ? sch_resources_gpu_milli(request) : -sch_resources_gpu_milli(request);
}

void sch_attempt_unstarted(struct sch_operator *op, struct sch_attempt *a, bool more)
{
    sch_amount_add(&op->unstarted, &a->kind->request, more);
    if (!a->class)
        return;
    SY_ASSERT(more || (a->class->unstarted > 0 && a->partition->unstarted > 0));
    a->class->unstarted += more ? 1 : UINT64_MAX;
    a->partition->unstarted += more ? 1 : UINT64_MAX;
}

static void raise_to(uint64_t *least, uint64_t value)
{
    *least = value > *least ? value : *least;
}

static uint64_t times(uint64_t count, uint64_t amount)
{
    return amount > 0 && count > UINT64_MAX / 4 / amount ? UINT64_MAX / 4 : count * amount;
}

void sch_kind_ended(struct sch_operator *op, struct sch_kind *kind)
{
    sch_rate_add(&kind->rate, op->now_ns);
    if (!sch_link_in_list(&kind->rated))
        sch_list_push_back(&op->kinds_rated, &kind->rated);
}

/* The most that a class of the cluster may hold beyond free room. */
struct sch_amount sch_backlog_amount(struct sch_operator *op)
{
    struct sch_amount most = {0};
    for (struct sch_link *link = op->kinds_rated.next, *next; link != &op->kinds_rated;
         link = next) {
        struct sch_kind *kind = sy_container_of(link, struct sch_kind, rated);
        next = link->next;
        if (sch_rate_backlog(&kind->rate, op->now_ns) == 0 &&
            op->now_ns - kind->rate.start_ns >= 2 * SCH_OP_RATE_WINDOW_NS)
            sch_list_remove(&kind->rated);
        uint64_t count = backlog_max(op, kind);
        raise_to(&most.cpu_milli, times(count, kind->request.cpu_milli));
        raise_to(&most.memory_bytes, times(count, kind->request.memory_bytes));
        raise_to(&most.gpu_milli, times(count, sch_resources_gpu_milli(&kind->request)));
    }
    return most;
}

/* The largest of what it asks for and there is room for: with less it could send nothing of that.
 * Of many classes some are looked at each time, in turns. */
static struct sch_amount largest_asked(const struct sch_operator *op,
                                       struct sch_op_partition *partition,
                                       const struct sch_amount *backlog)
{
    struct sch_amount most = {0};
    const struct sch_link *first = partition->classes.next;
    bool more = !sch_list_empty(&partition->classes);
    for (unsigned looks = 1; more; looks++) {
        struct sch_link *link = sch_list_pop(&partition->classes);
        sch_list_push_back(&partition->classes, link);
        more = partition->classes.next != first && looks < SCH_OP_ORDER_LOOKS;
        const struct sch_op_class *class = sy_container_of(link, struct sch_op_class,
                                                           partition_link);
        const struct sch_resources *request = &class->kind->request;
        if (class->waiting == 0 || class->kind->capable == 0 ||
            request->cpu_milli > op->free.cpu_milli + backlog->cpu_milli ||
            request->memory_bytes > op->free.memory_bytes + backlog->memory_bytes ||
            sch_resources_gpu_milli(request) > op->free.gpu_milli + backlog->gpu_milli)
            continue;
        raise_to(&most.cpu_milli, request->cpu_milli);
        raise_to(&most.memory_bytes, request->memory_bytes);
        raise_to(&most.gpu_milli, sch_resources_gpu_milli(request));
    }
    return most;
}

static uint64_t part_of(uint64_t free, uint64_t backlog, uint64_t unstarted, double part)
{
    uint64_t can = free + backlog;
    return can > unstarted ? (uint64_t)((double)(can - unstarted) * part) : 0;
}

static void add(struct sch_amount *sum, const struct sch_amount *more)
{
    sum->cpu_milli += more->cpu_milli;
    sum->memory_bytes += more->memory_bytes;
    sum->gpu_milli += more->gpu_milli;
}

void sch_partition_grant_room(struct sch_operator *op, struct sch_op_partition *partition,
                              struct sch_amount share, struct sch_amount least)
{
    add(&share, &partition->claimed);
    add(&least, &partition->claimed);
    bool more = raise(&partition->room.cpu_milli, partition->assigned.cpu_milli, share.cpu_milli,
                      least.cpu_milli);
    more |= raise(&partition->room.memory_bytes, partition->assigned.memory_bytes,
                  share.memory_bytes, least.memory_bytes);
    more |= raise(&partition->room.gpu_milli, partition->assigned.gpu_milli, share.gpu_milli,
                  least.gpu_milli);
    if (!more)
        return;
    struct sch_op_effect *effect = sch_op_effect_add(op, SCH_OP_SEND_ROOM);
    effect->u.room.partition = partition->id;
    effect->u.room.cpu_milli = partition->room.cpu_milli;
    effect->u.room.memory_bytes = partition->room.memory_bytes;
    effect->u.room.gpu_milli = partition->room.gpu_milli;
}

uint64_t sch_room_weights(const struct sch_operator *op)
{
    uint64_t weights = 0;
    const struct sch_link *link = op->partitions.next;
    for (; link != &op->partitions; link = link->next) {
        const struct sch_op_partition *partition = sy_container_of(
            (struct sch_link *)(uintptr_t)link, struct sch_op_partition, link);
        weights += partition->up ? partition->waiting + 1 : 0;
    }
    return weights;
}

void sch_room_grant(struct sch_operator *op, struct sch_op_partition *partition,
                    const struct sch_amount *backlog, uint64_t weights)
{
    SY_ASSERT(partition->up && weights > partition->waiting);
    sch_index_sync(op);
    double part = (double)(partition->waiting + 1) / (double)weights;
    struct sch_amount asked = {0}, share;
    if (partition->unstarted == 0 && partition->waiting > 0)
        asked = largest_asked(op, partition, backlog);
    share.cpu_milli = part_of(op->free.cpu_milli, backlog->cpu_milli, op->unstarted.cpu_milli,
                              part);
    share.memory_bytes = part_of(op->free.memory_bytes, backlog->memory_bytes,
                                 op->unstarted.memory_bytes, part);
    share.gpu_milli = part_of(op->free.gpu_milli, backlog->gpu_milli, op->unstarted.gpu_milli,
                              part);
    raise_to(&share.cpu_milli, asked.cpu_milli);
    raise_to(&share.memory_bytes, asked.memory_bytes);
    raise_to(&share.gpu_milli, asked.gpu_milli);
    sch_partition_grant_room(op, partition, share, asked);
}

/* Those that ask, each once, and then those of which something had changed. NULL: all are done. */
static struct sch_kind *next_kind(struct sch_operator *op)
{
    struct sch_kind *kind = sch_kind_next_asking(op);
    if (kind || sch_list_empty(&op->order.kinds.todo))
        return kind;
    kind = sy_container_of(op->order.kinds.todo.next, struct sch_kind, decision);
    kind->decided = op->kinds_serial;
    sch_kind_decision_ends(op, kind);
    return kind;
}

/* As many kinds as a step may look at, at last each partition's room. */
static void grant_some(struct sch_operator *op)
{
    if (sch_op_is_contended(op)) { /* by now */
        op->granting = false;
        sch_op_grant_in_order(op);
        return;
    }
    op->order.looks = 0;
    while (op->granting && op->order.looks < op->options.looks_max) {
        struct sch_kind *kind = next_kind(op);
        op->granting = kind != NULL;
        op->order.looks += SCH_OP_KIND_LOOKS;
        if (kind && !sch_kind_is_dirty(op, kind)) /* else it comes later */
            sch_kind_grant(op, kind);
    }
    if (op->granting)
        return;
    struct sch_amount backlog = sch_backlog_amount(op);
    uint64_t weights = sch_room_weights(op);
    for (struct sch_link *link = op->partitions.next; link != &op->partitions; link = link->next) {
        struct sch_op_partition *partition = sy_container_of(link, struct sch_op_partition, link);
        if (partition->up)
            sch_room_grant(op, partition, &backlog, weights);
    }
}

static void grant_all(struct sch_operator *op)
{
    op->granted_ns = op->now_ns;
    op->grant_due_ns = SY_TIME_NEVER;
    op->granting = true;
    op->grants_left = op->asking_count;
    sch_list_splice(&op->order.kinds.todo, &op->kinds_dirty);
    grant_some(op);
}

/* The first change is answered at once, what follows is gathered. */
static void grant_or_gather(struct sch_operator *op)
{
    bool busy = op->granting || op->order.phase != SCH_OP_ORDER_NONE;
    if (sch_list_empty(&op->kinds_dirty) || busy)
        return;
    int64_t times = 1 + (int64_t)(op->asking_count / SCH_OP_GRANT_KINDS);
    int64_t next_ns = op->granted_ns + times * SCH_OP_GRANT_INTERVAL_NS;
    if (next_ns <= op->now_ns)
        grant_all(op);
    else
        op->grant_due_ns = next_ns;
    SY_ASSERT(op->grant_due_ns > op->now_ns);
}

/* Those of which not all was counted go on with the next grants. */
void sch_grant_end_step(struct sch_operator *op)
{
    grant_or_gather(op);
    bool more = !sch_list_empty(&op->kinds_unsure);
    while (!sch_list_empty(&op->kinds_unsure))
        sch_kind_dirty(op,
                       sy_container_of(sch_list_pop(&op->kinds_unsure), struct sch_kind, unsure));
    if (more && op->grant_due_ns == SY_TIME_NEVER)
        op->grant_due_ns = op->now_ns + SCH_OP_GRANT_INTERVAL_NS;
}

void sch_grant_tick(struct sch_operator *op)
{
    if (op->order.phase != SCH_OP_ORDER_NONE)
        sch_op_order_go_on(op);
    else if (op->granting)
        grant_some(op);
    else if (op->grant_due_ns <= op->now_ns)
        grant_all(op);
}
