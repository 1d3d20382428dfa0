/*
 * Nodes that are kept for single actions, when only a node with much room would hold them: smaller
 * work takes what comes free, and they would wait for ever (operator_gang.c is the same for gangs).
 *
 * A partition says for how many of a class nodes are to be kept here; each is a claim. It keeps a
 * node, and nothing new is placed there. A claim is ready when there is room: then its class is
 * granted one more, and who comes is placed there. So nobody is bound to this cluster meanwhile.
 *
 * Which node: where what is in the way has not run for long, for what has will go on for long (the
 * tails of durations are heavy); of these the one that misses least. Another one takes its place
 * when less is missing there. So what is missing only shrinks, and a claim is ready at the latest
 * when what is on its node has ended.
 *
 * At most one node in SCH_OP_CLAIM_NODES is kept, or one; classes share them in turns, and one that
 * got its node goes behind the others. Between a gang's reservation and claims who began to keep
 * nodes first has the first choice, so neither waits for more than what was there before it.
 *
 * Where others are stopped for one of a class (operator_reclaim.c), the node is kept for it too:
 * such a claim is made with its node and goes with it, one of a class at a time, beside those that
 * are asked for. It ends when one of the class has come, when none waits any more, or in time.
 *
 * The same for who is more urgent than the gang that nodes are kept for: else a gang of low
 * priority would keep what is free on its nodes from those that come before it.
 */
#include "scheduler/operator_impl.h"

#include <stdlib.h>

/* ---- claims and nodes ---- */

static bool is_made(const struct sch_op_claim *claim)
{
    return sch_heap_has(&claim->end);
}

static void set_ready(struct sch_operator *op, struct sch_op_claim *claim, bool ready)
{
    struct sch_op_class *class = claim->class;
    if (ready == claim->ready)
        return;
    claim->ready = ready;
    SY_ASSERT(ready || class->claims_ready > 0);
    class->claims_ready += ready ? 1 : UINT32_MAX;
    sch_amount_add(&class->partition->claimed, &class->kind->request, ready);
    sch_kind_dirty(op, class->kind);
}

static void keep(struct sch_operator *op, struct sch_op_claim *claim, struct sch_node *node)
{
    struct sch_node *nodes[] = {claim->node, node};
    set_ready(op, claim, false);
    if (claim->node)
        claim->node->claim = NULL;
    if (node) {
        node->claim = claim;
        sch_node_reserve(op, node, false);
    }
    claim->node = node;
    for (size_t i = 0; i < SY_COUNT_OF(nodes); i++) {
        if (nodes[i] && sch_node_state(nodes[i]) != SCH_NODE_GONE)
            sch_node_changed(op, nodes[i]);
    }
    op->choice_came = true; /* on the one that is left, or on avoided ones */
    sch_kinds_dirty(op);
}

static void claim_free(struct sch_operator *op, struct sch_op_claim *claim)
{
    struct sch_op_class *class = claim->class;
    if (claim->node)
        keep(op, claim, NULL);
    if (sch_link_in_list(&claim->changed))
        sch_list_remove(&claim->changed);
    if (is_made(claim)) {
        sch_heap_remove(&op->made, &claim->end);
        class->made = NULL;
        op->claims_changed |= class->keep > 0; /* as many as wait, but for that one */
    } else {
        SY_ASSERT(class->claims > 0 && op->claim_count > 0);
        class->claims--;
        op->claim_count--;
        sch_list_remove(&claim->link);
    }
    free(claim);
}

void sch_claim_leave(struct sch_operator *op, struct sch_node *node)
{
    if (node->claim && is_made(node->claim))
        claim_free(op, node->claim);
    else if (node->claim)
        keep(op, node->claim, NULL);
}

static struct sch_op_claim *claim_new(const struct sch_operator *op, struct sch_op_class *class)
{
    struct sch_op_claim *claim = sy_new(struct sch_op_claim);
    claim->class = class;
    claim->since_ns = op->now_ns;
    return claim;
}

static void claim_add(struct sch_operator *op, struct sch_op_class *class)
{
    struct sch_op_claim *claim = claim_new(op, class);
    class->claims++;
    op->claim_count++;
    sch_list_insert_after(&op->claims, &claim->link); /* it chooses next */
    op->claim_due_ns = op->now_ns;
}

void sch_claim_make(struct sch_operator *op, struct sch_op_class *class, struct sch_node *node)
{
    SY_ASSERT(sch_node_serves(node) && !node->reserved);
    SY_ASSERT(!node->claim || node->claim->class == class);
    if (!class->made) {
        sch_claim_leave(op, node); /* what was kept for the class keeps another one */
        class->made = claim_new(op, class);
        keep(op, class->made, node);
        op->claims_changed |= class->keep > 0;
    }
    SY_ASSERT(class->made->node == node);
    sch_heap_set(&op->made, &class->made->end, op->now_ns + SCH_OP_MADE_NS);
}

void sch_claim_forget_made(struct sch_operator *op, struct sch_op_class *class)
{
    if (class->made)
        claim_free(op, class->made);
}

bool sch_claim_is_before_gang(const struct sch_operator *op, const struct sch_op_claim *claim)
{
    return !op->reserver || claim->since_ns < op->reserver_since_ns || is_made(claim);
}

/* ---- how many ---- */

static uint32_t wanted(const struct sch_op_class *class)
{
    uint64_t waiting = class->waiting - (class->made && class->waiting > 0);
    if (class->kind->groups.count == 0)
        return 0; /* nodes that could hold it have gone */
    return class->keep < waiting ? class->keep : (uint32_t)waiting;
}

/* In turns, so that many of one class do not keep all. */
static void share_out(struct sch_operator *op)
{
    uint32_t left = op->node_count / SCH_OP_CLAIM_NODES, given = 1;
    left = left == 0 ? 1 : left < SCH_OP_CLAIMS_MAX ? left : SCH_OP_CLAIMS_MAX;
    for (struct sch_link *link = op->claiming.next; link != &op->claiming; link = link->next)
        sy_container_of(link, struct sch_op_class, claiming)->claims_allowed = 0;
    for (uint32_t turn = 0; given > 0; turn++) {
        given = 0;
        for (struct sch_link *link = op->claiming.next; link != &op->claiming && left > 0;
             link = link->next) {
            struct sch_op_class *class = sy_container_of(link, struct sch_op_class, claiming);
            if (wanted(class) <= turn)
                continue;
            class->claims_allowed++;
            given++;
            left--;
        }
    }
}

static void settle(struct sch_operator *op)
{
    op->claims_changed = false;
    share_out(op);
    for (struct sch_link *link = op->claims.prev, *before; link != &op->claims; link = before) {
        struct sch_op_claim *claim = sy_container_of(link, struct sch_op_claim, link);
        before = link->prev;
        if (claim->class->claims > claim->class->claims_allowed)
            claim_free(op, claim);
    }
    for (struct sch_link *link = op->claiming.next; link != &op->claiming; link = link->next) {
        struct sch_op_class *class = sy_container_of(link, struct sch_op_class, claiming);
        while (class->claims < class->claims_allowed)
            claim_add(op, class);
    }
}

/* ---- which node ---- */

struct candidate {
    struct sch_node *node;
    uint64_t missing;
    int64_t age_ns;
};

/* Of what it needs there, in thousandths of each. */
static uint64_t missing(const struct sch_node *node, const struct sch_resources *request)
{
    const struct sch_shape *shape = &node->shape->shape;
    uint64_t least[SCH_FIT_DIMS_MAX], there[SCH_FIT_DIMS_MAX], sum = 0;
    sch_room_least(shape, request, least);
    sch_room_vector(node, there);
    for (uint32_t i = 0; i < sch_room_dims(shape); i++)
        sum += least[i] > there[i] ? (least[i] - there[i]) * 1000 / least[i] : 0;
    return sum;
}

static bool may_keep(const struct sch_operator *op, const struct sch_op_claim *claim,
                     const struct sch_node *node)
{
    return sch_node_serves(node) && node->health.state == SCH_HEALTH_TRUSTED &&
           (!node->claim || node->claim == claim) &&
           (!node->reserved || sch_claim_is_before_gang(op, claim)) &&
           sch_shape_fits(&node->shape->shape, &claim->class->kind->request, NULL);
}

/* For how long the oldest of what is in the way has run. */
static int64_t age_of(const struct sch_operator *op, const struct sch_node *node,
                      const struct sch_resources *request, uint32_t *looks)
{
    int64_t most_ns = SCH_OP_CLAIM_YOUNG_NS;
    for (const struct sch_link *link = node->attempts.next; link != &node->attempts;
         link = link->next) {
        const struct sch_attempt *a = sy_container_of((struct sch_link *)(uintptr_t)link,
                                                      struct sch_attempt, place);
        bool in_way = !sch_resources_has_gpu(request) || sch_resources_has_gpu(&a->kind->request);
        int64_t age_ns = sch_attempt_state(a) == SCH_ATTEMPT_STARTED ? op->now_ns - a->since_ns : 0;
        if (in_way && age_ns > most_ns)
            most_ns = age_ns;
        *looks -= *looks > 0;
    }
    return most_ns;
}

static bool is_better(const struct candidate *a, const struct candidate *b, bool had)
{
    if (!b->node || a->missing == 0 || b->missing == 0)
        return !b->node || a->missing < b->missing;
    if (had)
        return a->missing < b->missing && a->age_ns <= b->age_ns;
    return a->age_ns < b->age_ns || (a->age_ns == b->age_ns && a->missing < b->missing);
}

static struct candidate candidate(const struct sch_operator *op, struct sch_node *node,
                                  const struct sch_resources *request, uint32_t *looks)
{
    return (struct candidate){node, missing(node, request), age_of(op, node, request, looks)};
}

/* Of all nodes, or as many as it may look at: those behind them the next time. */
static void choose(struct sch_operator *op, struct sch_op_claim *claim, uint32_t *looks)
{
    const struct sch_resources *request = &claim->class->kind->request;
    struct candidate best = {0};
    bool had = claim->node;
    if (had)
        best = candidate(op, claim->node, request, looks);
    uint32_t seen = 0;
    for (; seen<op->node_count && * looks> 0; seen++, *looks -= *looks > 0) {
        struct sch_node *node = op->nodes[(claim->from + seen) % op->node_count];
        if (!may_keep(op, claim, node))
            continue;
        struct candidate other = candidate(op, node, request, looks);
        if (is_better(&other, &best, had))
            best = other;
    }
    claim->from = seen < op->node_count ? (claim->from + seen) % op->node_count : 0;
    if (best.node != claim->node)
        keep(op, claim, best.node);
}

/* Those that have no node at once, of the others one at a time. */
static void choose_next(struct sch_operator *op)
{
    bool more = true;
    uint32_t looks = SCH_OP_CLAIM_LOOKS;
    for (uint32_t i = 0; i < op->claim_count && more && looks > 0; i++) {
        struct sch_op_claim *claim = sy_container_of(sch_list_pop(&op->claims), struct sch_op_claim,
                                                     link);
        more = !claim->node;
        choose(op, claim, &looks);
        sch_list_push_back(&op->claims, &claim->link);
    }
    op->claim_due_ns = op->claim_count > 0 ? op->now_ns + SCH_OP_CLAIM_INTERVAL_NS : SY_TIME_NEVER;
}

static void look_at(struct sch_operator *op, struct sch_op_claim *claim)
{
    struct sch_node *node = claim->node;
    if (!sch_node_serves(node) || node->health.state == SCH_HEALTH_AVOIDED) {
        sch_claim_leave(op, node);
        return;
    }
    bool ready = node->backlog_count == 0 && sch_node_fits(node, &claim->class->kind->request) > 0;
    if (ready && !claim->ready && is_made(claim))
        sch_heap_set(&op->made, &claim->end, op->now_ns + SCH_OP_MADE_READY_NS);
    set_ready(op, claim, ready);
}

void sch_claims_end_step(struct sch_operator *op)
{
    for (bool more = true; more; more = op->claims_changed) { /* one may have gone meanwhile */
        if (op->claims_changed)
            settle(op);
        if (op->claim_due_ns <= op->now_ns)
            choose_next(op);
        while (!sch_list_empty(&op->claims_touched)) {
            struct sch_op_claim *claim = sy_container_of(sch_list_pop(&op->claims_touched),
                                                         struct sch_op_claim, changed);
            if (claim->node)
                look_at(op, claim);
        }
    }
}

/* ---- who is more urgent than a gang ---- */

static struct sch_node *reserved_with_room(const struct sch_operator *op,
                                           const struct sch_resources *request)
{
    for (struct sch_link *link = op->reserved.next; link != &op->reserved; link = link->next) {
        struct sch_node *node = sy_container_of(link, struct sch_node, kept);
        if (sch_node_serves(node) && node->health.state == SCH_HEALTH_TRUSTED &&
            node->backlog_count == 0 && sch_node_fits(node, request) > 0)
            return node;
    }
    return NULL;
}

static void pass_with(struct sch_operator *op, struct sch_kind *kind)
{
    struct sch_node *node = reserved_with_room(op, &kind->request);
    bool room = true;
    if (node)
        (void)sch_kind_choose(op, kind, &room);
    for (struct sch_link *link = kind->classes.next; !room && node && link != &kind->classes;
         link = link->next) {
        struct sch_op_class *class = sy_container_of(link, struct sch_op_class, kind_link);
        if (class->gang.size > 0 || class->waiting == 0 || class->made ||
            class->top_priority <= op->reserver_standing)
            continue;
        sch_node_reserve(op, node, false);
        sch_claim_make(op, class, node);
        op->gangs_due = true; /* it chooses another one */
        node = reserved_with_room(op, &kind->request);
    }
}

/* Some at a time: those that were looked at go behind the others. */
void sch_claims_pass_gang(struct sch_operator *op)
{
    SY_ASSERT(op->reserver);
    size_t count = op->asking_count < SCH_OP_PASS_KINDS ? op->asking_count : SCH_OP_PASS_KINDS;
    for (; count > 0; count--) {
        struct sch_link *link = sch_list_pop(&op->kinds_asking);
        sch_list_push_back(&op->kinds_asking, link);
        pass_with(op, sy_container_of(link, struct sch_kind, asking));
    }
    op->pass_due_ns = op->now_ns + SCH_OP_CLAIM_INTERVAL_NS;
}

void sch_claims_tick(struct sch_operator *op)
{
    if (op->pass_due_ns <= op->now_ns)
        sch_claims_pass_gang(op);
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&op->made)) && top->key <= op->now_ns && sch_op_may_look(op)) {
        op->due_looks += SCH_OP_DUE_LOOKS;
        claim_free(op, sy_container_of(top, struct sch_op_claim, end));
    }
}

/* ---- what shards say ---- */

void sch_class_keep(struct sch_operator *op, struct sch_op_class *class, uint32_t nodes)
{
    op->claims_changed |= class->keep > 0 || nodes > 0; /* or what waits has changed */
    if (class->keep > 0 && nodes == 0)
        sch_list_remove(&class->claiming);
    if (class->keep == 0 && nodes > 0)
        sch_list_push_back(&op->claiming, &class->claiming);
    if (nodes == 0)
        class->claims_allowed = 0;
    class->keep = nodes;
}

void sch_class_drop_claims(struct sch_operator *op, struct sch_op_class *class)
{
    sch_class_keep(op, class, 0);
    sch_claim_forget_made(op, class);
    for (struct sch_link *link = op->claims.next, *next; link != &op->claims; link = next) {
        next = link->next;
        struct sch_op_claim *claim = sy_container_of(link, struct sch_op_claim, link);
        if (claim->class == class)
            claim_free(op, claim);
    }
    SY_ASSERT(class->claims == 0 && class->claims_ready == 0);
}

static struct sch_op_claim *first_ready(const struct sch_operator *op,
                                        const struct sch_op_class *class)
{
    struct sch_link *link = op->claims.next;
    if (class->made && class->made->ready)
        return class->made;
    while (!sy_container_of(link, struct sch_op_claim, link)->ready ||
           sy_container_of(link, struct sch_op_claim, link)->class != class)
        link = link->next;
    SY_ASSERT(link != &op->claims);
    return sy_container_of(link, struct sch_op_claim, link);
}

bool sch_claim_place(struct sch_operator *op, struct sch_attempt *a)
{
    struct sch_op_class *class = a->class;
    if (class->claims_ready == 0)
        return false;
    struct sch_op_claim *claim = first_ready(op, class);
    SY_ASSERT(sch_node_fits(claim->node, &a->kind->request) > 0);
    (void)sch_attempt_place(op, a, claim->node, true);
    claim_free(op, claim);
    uint32_t left = class->keep > 0 ? class->keep - 1 : 0;
    sch_class_keep(op, class, 0); /* others come first now */
    sch_class_keep(op, class, left);
    return true;
}
