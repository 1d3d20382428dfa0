/*
 * Which partition's work comes first, when several want room in this cluster. Each class says where
 * its first stands and how urgent it is; what room there is goes to the class that is first: the
 * highest priority, then, level by level, the least dominant share over its weight of all that runs
 * here, whosesoever partition's it is; of one tenant's, the one that has waited for longest. So
 * priorities and shares hold over partitions as they do within one, for each partition sends who is
 * first of its own.
 *
 * A share counts what has come and what is granted and sure to come. It is sure while the class has
 * some waiting and was heard of lately: a partition that stands still keeps nothing from others for
 * long. What nobody asks for is granted as ever, so that a new action waits for no round trip.
 *
 * The tree is put up for each decision, of those only that could have room now. With thousands of
 * classes that takes several steps, each of which looks at so many: who asks is gathered, all are
 * counted, then those that could have room are entered, room is given, and each is told. What comes
 * and goes meanwhile is part of it as far as what was given goes: who has come has had it, who has
 * gone leaves it. All else is for the next decision, which begins when this one is done.
 */
#include "scheduler/operator_impl.h"

bool sch_op_is_contended(const struct sch_operator *op)
{
    return op->partitions_asking > 1 && op->classes_unseated == 0;
}

static struct sch_op_class *class_at(struct sch_link *link)
{
    return sy_container_of(link, struct sch_op_class, kind_link);
}

/* ---- amounts ---- */

static struct sch_use times(const struct sch_op_class *class, uint64_t count)
{
    struct sch_use use = sch_use_of(&class->kind->request);
    return (struct sch_use){use.actions * count, use.cpu_milli * count, use.memory_bytes * count,
                            use.gpu_milli * count};
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t beyond(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void take(struct sch_operator *op, const struct sch_use *use)
{
    op->order.left.cpu_milli = beyond(op->order.left.cpu_milli, use->cpu_milli);
    op->order.left.memory_bytes = beyond(op->order.left.memory_bytes, use->memory_bytes);
    op->order.left.gpu_milli = beyond(op->order.left.gpu_milli, use->gpu_milli);
}

/* How many of the class these amounts hold, `most` at most. */
static uint64_t held_by(const struct sch_use *room, const struct sch_op_class *class, uint64_t most)
{
    struct sch_use one = sch_use_of(&class->kind->request);
    if (one.cpu_milli > 0)
        most = least(most, room->cpu_milli / one.cpu_milli);
    if (one.memory_bytes > 0)
        most = least(most, room->memory_bytes / one.memory_bytes);
    if (one.gpu_milli > 0)
        most = least(most, room->gpu_milli / one.gpu_milli);
    return most;
}

/* ---- the tree ---- */

static struct sch_op_share *above(struct sch_operator *op, const struct sch_op_share *share)
{
    return share->parent ? share->parent : &op->region;
}

/* The highest priority below it; false: nobody wants room there. */
static bool priority_below(const struct sch_op_share *share, int32_t *ret)
{
    const struct sch_heap_entry *child = sch_heap_top(&share->children),
                                *class = sch_heap_top(&share->classes);
    if (!child && !class)
        return false;
    bool by_class = !child || (class && class->key < child->key);
    *ret = sch_turn_priority(by_class ? class->key : child->key);
    return true;
}

/* Who wants room below changed, or (`given`) what it has; and so on up. */
static void update(struct sch_operator *op, struct sch_op_share *share, bool given)
{
    for (; share != &op->region; share = above(op, share)) {
        struct sch_heap *heap = &above(op, share)->children;
        int32_t priority;
        if (!priority_below(share, &priority)) {
            sch_heap_remove(heap, &share->entry);
            continue;
        }
        struct sch_use use = share->use;
        sch_use_add(&use, &share->given);
        uint32_t bits = sch_share_bits(sch_dominant_share(&use, &op->capacity), share->weight);
        int64_t key = sch_turn_key(priority, bits);
        if (!given && sch_heap_has(&share->entry) && share->entry.key == key)
            break; /* nor does it change anything above */
        sch_heap_set(heap, &share->entry, key);
    }
}

static void give_to_shares(struct sch_op_class *class, const struct sch_use *use)
{
    for (struct sch_op_share *share = class->place->share; share; share = share->parent)
        sch_use_add(&share->given, use);
}

/* So many of what it is to get it has, or does not need any more. */
static void take_from_shares(struct sch_op_class *class, uint64_t count)
{
    struct sch_use use = times(class, count);
    for (struct sch_op_share *share = class->place->share; count > 0 && share;
         share = share->parent)
        sch_use_subtract(&share->given, &use);
}

static void enter(struct sch_operator *op, struct sch_op_class *class)
{
    uint64_t since_ms = class->oldest_ns > 0 ? (uint64_t) class->oldest_ns / SY_NS_PER_MS : 0;
    class->turn.tie = class->partition->id;
    sch_heap_set(&class->place->share->classes, &class->turn,
                 sch_turn_key(class->top_priority, (uint32_t)least(since_ms, INT32_MAX)));
    update(op, class->place->share, false);
}

/* NULL: nobody wants room. */
static struct sch_op_class *first(struct sch_operator *op)
{
    const struct sch_op_share *share = &op->region;
    for (;;) {
        struct sch_heap_entry *child = sch_heap_top(&share->children),
                              *class = sch_heap_top(&share->classes);
        if (class && (!child || class->key < child->key))
            return sy_container_of(class, struct sch_op_class, turn);
        if (!child)
            return NULL;
        share = sy_container_of(child, struct sch_op_share, entry);
    }
}

/* ---- giving ---- */

static uint64_t granted_to(const struct sch_op_class *class)
{
    return beyond(class->granted, class->assigned + class->claims_ready);
}

/* It has not taken what it was granted for long. It is asked again from time to time: it may be
 * that others of its partition took the room that was for it. */
static bool is_silent(const struct sch_operator *op, const struct sch_op_class *class)
{
    int64_t passed_ns = op->now_ns - class->heard_ns;
    return granted_to(class) > 0 &&
           passed_ns % (SCH_OP_SILENCES * SCH_OP_GRANT_TRUST_NS) >= SCH_OP_GRANT_TRUST_NS;
}

/* What was granted and is not here yet. */
static uint64_t sure(const struct sch_operator *op, const struct sch_op_class *class)
{
    return is_silent(op, class) ? 0 : least(granted_to(class), class->waiting);
}

static bool asks(const struct sch_op_class *class)
{
    return class->gang.size == 0 && class->waiting > 0;
}

static void count_taken(struct sch_operator *op, struct sch_kind *kind)
{
    kind->decided = op->kinds_serial;
    kind->ordered = true;
    kind->left = sch_kind_free(op, kind);
    for (struct sch_link *link = kind->classes.next; link != &kind->classes; link = link->next) {
        struct sch_op_class *class = class_at(link);
        op->order.looks++;
        SY_ASSERT(!class->place && class->taken == 0 && class->given == 0);
        if (!asks(class) || !class->seat)
            continue;
        class->place = class->seat;
        class->place->refs++;
        class->taken = sure(op, class);
        op->order.watch |= granted_to(class) > 0;
        if (class->taken == 0)
            continue;
        struct sch_use use = times(class, class->taken);
        kind->left = beyond(kind->left, class->taken);
        take(op, &use);
        give_to_shares(class, &use);
    }
}

static void enter_kind(struct sch_operator *op, struct sch_kind *kind)
{
    for (struct sch_link *link = kind->classes.next; link != &kind->classes; link = link->next) {
        struct sch_op_class *class = class_at(link);
        op->order.looks++;
        if (class->place && kind->left > 0 && class->taken < class->waiting &&
            !is_silent(op, class) && held_by(&op->order.left, class, 1) > 0)
            enter(op, class);
    }
}

/* False: nobody wants room. */
static bool give_one(struct sch_operator *op)
{
    struct sch_op_class *class = first(op);
    op->order.looks++;
    if (!class)
        return false;
    struct sch_kind *kind = class->kind;
    uint64_t most = least(kind->left, beyond(class->waiting, class->taken + class->given));
    uint64_t step = held_by(&op->order.steps, class, kind->left / SCH_OP_ORDER_PARTS);
    uint64_t count = held_by(&op->order.left, class, least(most, step > 0 ? step : 1));
    if (count > 0) {
        struct sch_use use = times(class, count);
        class->given += count;
        op->order.watch = true;
        kind->left -= count;
        take(op, &use);
        give_to_shares(class, &use);
    }
    if (count == 0 || count == most)
        sch_heap_remove(&class->place->share->classes, &class->turn);
    update(op, class->place->share, count > 0);
    return true;
}

/* ---- what is told ---- */

static void tell_kind(struct sch_operator *op, struct sch_kind *kind)
{
    uint64_t weights = 0;
    for (struct sch_link *link = kind->classes.next; link != &kind->classes; link = link->next)
        weights += class_at(link)->gang.size > 0 ? 0 : class_at(link)->waiting + 1;
    for (struct sch_link *link = kind->classes.next; link != &kind->classes; link = link->next) {
        struct sch_op_class *class = class_at(link);
        op->order.looks++;
        if (class->gang.size > 0) {
            sch_op_gang_grant(op, class, false);
            continue;
        }
        SY_ASSERT(weights > 0);
        uint64_t spare = held_by(&op->order.left, class, kind->left);
        uint64_t more = spare * (class->waiting + 1) / weights;
        if (more == 0 && spare > 0 && class->taken + class->given + class->unstarted == 0)
            more = 1;
        sch_class_grant_share(op, class, class->taken + class->given + more, true);
        struct sch_use use = times(class, class->taken + class->given);
        struct sch_amount *given = &class->partition->given;
        given->cpu_milli += use.cpu_milli;
        given->memory_bytes += use.memory_bytes;
        given->gpu_milli += use.gpu_milli;
        sch_op_order_forget(op, class);
    }
}

static void tell_room(struct sch_operator *op)
{
    struct sch_link *partitions = &op->partitions;
    uint64_t weights = 0;
    for (struct sch_link *link = partitions->next; link != partitions; link = link->next) {
        const struct sch_op_partition *at = sy_container_of(link, struct sch_op_partition, link);
        weights += at->up ? at->waiting + 1 : 0;
    }
    for (struct sch_link *link = partitions->next; link != partitions; link = link->next) {
        struct sch_op_partition *at = sy_container_of(link, struct sch_op_partition, link);
        struct sch_amount given = at->given, share = given;
        at->given = (struct sch_amount){0};
        if (!at->up)
            continue;
        double part = (double)(at->waiting + 1) / (double)weights;
        share.cpu_milli += (uint64_t)((double)op->order.left.cpu_milli * part);
        share.memory_bytes += (uint64_t)((double)op->order.left.memory_bytes * part);
        share.gpu_milli += (uint64_t)((double)op->order.left.gpu_milli * part);
        sch_partition_grant_room(op, at, share, given);
    }
}

/* What is free, and a part of it that is given at a time. */
static void set_left(struct sch_operator *op)
{
    struct sch_amount backlog = sch_backlog_amount(op);
    struct sch_use left = {
        .cpu_milli = beyond(op->free.cpu_milli + backlog.cpu_milli, op->unstarted.cpu_milli),
        .memory_bytes = beyond(op->free.memory_bytes + backlog.memory_bytes,
                               op->unstarted.memory_bytes),
        .gpu_milli = beyond(op->free.gpu_milli + backlog.gpu_milli, op->unstarted.gpu_milli)};
    op->order.left = left;
    op->order.steps = (struct sch_use){.cpu_milli = left.cpu_milli / SCH_OP_ORDER_PARTS,
                                       .memory_bytes = left.memory_bytes / SCH_OP_ORDER_PARTS,
                                       .gpu_milli = left.gpu_milli / SCH_OP_ORDER_PARTS};
}

/* ---- slices ---- */

/* Those that ask, beside those of which something has changed. False: all are in it. */
static bool gather_one(struct sch_operator *op)
{
    struct sch_kind *kind = sch_kind_next_asking(op);
    op->order.looks++;
    if (!kind)
        return false;
    SY_ASSERT(!kind->ordered);
    kind->decided = 0;
    sch_list_remove(&kind->decision);
    sch_list_push_back(&op->order.kinds.todo, &kind->decision);
    return true;
}

static void begin_to_count(struct sch_operator *op)
{
    sch_index_sync(op);
    op->order.watch = false;
    set_left(op);
}

/* False: this is done with all. */
static bool next_kind(struct sch_operator *op)
{
    struct sch_link *link = sch_round_next(&op->order.kinds);
    if (!link)
        return false;
    struct sch_kind *kind = sy_container_of(link, struct sch_kind, decision);
    op->order.looks += SCH_OP_KIND_LOOKS;
    if (op->order.phase == SCH_OP_ORDER_COUNT) {
        count_taken(op, kind);
    } else if (op->order.phase == SCH_OP_ORDER_ENTER) {
        enter_kind(op, kind);
    } else {
        SY_ASSERT(op->order.phase == SCH_OP_ORDER_TELL);
        sch_kind_decision_ends(op, kind);
        tell_kind(op, kind);
    }
    return true;
}

static void next_phase(struct sch_operator *op)
{
    SY_ASSERT(op->order.phase != SCH_OP_ORDER_NONE);
    if (op->order.phase == SCH_OP_ORDER_GATHER)
        begin_to_count(op);
    if (op->order.phase != SCH_OP_ORDER_TELL) {
        op->order.phase++;
        sch_round_begin(&op->order.kinds);
        return;
    }
    SY_ASSERT(sch_list_empty(&op->order.kinds.done) && op->region.children.count == 0);
    op->order.phase = SCH_OP_ORDER_NONE;
    tell_room(op);
    if (op->order.watch) /* if that does not come others are to have it */
        op->grant_due_ns = op->now_ns + SCH_OP_GRANT_TRUST_NS;
}

void sch_op_order_go_on(struct sch_operator *op)
{
    op->order.looks = 0;
    while (op->order.phase != SCH_OP_ORDER_NONE && op->order.looks < op->options.looks_max) {
        bool more = op->order.phase == SCH_OP_ORDER_GATHER ? gather_one(op)
                    : op->order.phase == SCH_OP_ORDER_GIVE ? give_one(op)
                                                           : next_kind(op);
        if (!more)
            next_phase(op);
    }
}

void sch_op_grant_in_order(struct sch_operator *op)
{
    SY_ASSERT(sch_op_is_contended(op) && op->region.children.count == 0);
    SY_ASSERT(op->order.phase == SCH_OP_ORDER_NONE && sch_list_empty(&op->order.kinds.done));
    sch_list_splice(&op->order.kinds.todo, &op->kinds_dirty);
    op->grants_left = op->asking_count;
    op->order.phase = SCH_OP_ORDER_GATHER;
    sch_op_order_go_on(op);
}

void sch_op_order_came(struct sch_op_class *class)
{
    if (class->taken + class->given == 0)
        return;
    uint64_t *from = class->taken > 0 ? &class->taken : &class->given;
    --*from;
    take_from_shares(class, 1);
}

void sch_op_order_forget(struct sch_operator *op, struct sch_op_class *class)
{
    if (!class->place)
        return;
    take_from_shares(class, class->taken + class->given);
    class->taken = class->given = 0;
    if (sch_heap_has(&class->turn)) {
        sch_heap_remove(&class->place->share->classes, &class->turn);
        update(op, class->place->share, true);
    }
    sch_op_seat_unref(op, sy_take(class->place));
}
