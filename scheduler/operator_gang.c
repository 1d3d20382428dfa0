/*
 * Gangs in a cluster: all members at once, or none.
 *
 * A gang waits until all of its members are here and fit at the same moment; then that step places
 * them. Only nodes with an empty backlog count, so that all of them start at once.
 *
 * One that waits would starve behind smaller work, so the first of them (the highest priority, then
 * first come) reserves nodes: those where the least is in its way, as many as hold it when they are
 * empty. Nothing new is placed there, so what is free on them only grows; the others take work as
 * before. Nodes that become freer than those reserved take their place, so the sum of what is free
 * on them only grows as well, and it is placed when what is there now has ended, at the latest. One
 * reservation at a time: two gangs that together are too large for the cluster come one after the
 * other, and none keeps a part of what the other needs.
 *
 * Single actions that are more urgent than the gang and have room nowhere else get one of its
 * nodes, when that has room for one (operator_claim.c).
 *
 * A reservation outlives the gang by a moment when it goes back after gang_hold_ns: its shard may
 * know no other cluster, and then it would start from nothing each time.
 */
#include "scheduler/labels.h"
#include "scheduler/operator_impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- which nodes ---- */

/* Whether room is counted as it is, as it will be when what was cancelled has ended, or as if the
 * nodes were empty. */
enum when { NOW, SOON, EMPTY };

/* Of a node, how many members: they fit now, or soon; they would fit when it is empty. But for
 * EMPTY both are the same. */
struct spot {
    struct sch_node *node;
    struct sy_span domain;
    uint64_t fits, slots; /* of a shape: of all its nodes */
};

struct spots {
    struct spot *items;
    uint32_t count;
};

/* Domain by domain; in each those that hold most first: few nodes, and ranks that are near each
 * other. */
static int compare_now(const void *left, const void *right)
{
    const struct spot *a = left, *b = right;
    int order = sch_label_values_compare(&a->domain, &b->domain);
    if (order == 0)
        order = (a->fits < b->fits) - (a->fits > b->fits);
    return order != 0 ? order
                      : (a->node->index > b->node->index) - (a->node->index < b->node->index);
}

/* In each domain those with the least in the way first. */
static int compare_empty(const void *left, const void *right)
{
    const struct spot *a = left, *b = right;
    uint64_t in_way_a = a->slots - a->fits, in_way_b = b->slots - b->fits;
    int order = sch_label_values_compare(&a->domain, &b->domain);
    if (order == 0)
        order = (in_way_a > in_way_b) - (in_way_a < in_way_b);
    if (order == 0)
        order = (a->slots < b->slots) - (a->slots > b->slots);
    return order != 0 ? order
                      : (a->node->index > b->node->index) - (a->node->index < b->node->index);
}

static bool is_reserver(const struct sch_operator *op, const struct sch_op_gang *gang)
{
    return gang && op->reserver == gang->partition && op->reserver_id == gang->id;
}

static bool is_open_to(const struct sch_operator *op, const struct sch_node *node,
                       const struct sch_op_gang *gang, enum when when)
{
    if (!sch_node_serves(node) || node->health.state == SCH_HEALTH_AVOIDED)
        return false;
    if (when == EMPTY)
        return !gang || !node->claim || !sch_claim_is_before_gang(op, node->claim);
    return node->backlog_count == 0 && !node->claim && (!node->reserved || is_reserver(op, gang));
}

bool sch_op_gang_may_use(const struct sch_operator *op, const struct sch_node *node,
                         const struct sch_op_gang *gang)
{
    return is_open_to(op, node, gang, SOON);
}

static uint32_t slots_of(const struct sch_node *node, const struct sch_resources *request)
{
    return sch_shape_slots(&node->shape->shape, request);
}

static uint32_t fits_of(struct sch_node *node, const struct sch_resources *request, enum when when)
{
    return when == NOW ? sch_node_fits(node, request) : sch_node_fits_soon(node, request);
}

/* ---- from the index, since a gang is tried whenever room comes ---- */

struct walk {
    struct sch_operator *op;
    const struct sch_op_gang *gang;
    const struct sch_resources *request;
    const char *key;
    const struct sy_span *domain; /* only in this one; NULL: in all */
    enum when when;
    uint64_t room, wanted;
    struct spots *spots; /* NULL: only counted */
    bool sums;           /* one for each shape: nodes alike are in one domain */
    bool counted;        /* slots are: only what is free is added */
    uint32_t cap;
    const struct sch_op_shape *shape; /* of the last one */
    struct sy_span of_domain;
    uint32_t of_shape;
};

static void spot_add(struct walk *walk, const struct spot *spot)
{
    struct spots *spots = walk->spots;
    struct spot *last = spots->count > 0 ? &spots->items[spots->count - 1] : NULL;
    if (walk->sums && last && last->node->shape == spot->node->shape) {
        last->fits += spot->fits;
        last->slots += spot->slots;
        return;
    }
    if (spots->count == walk->cap) {
        walk->cap = walk->cap ? walk->cap * 2 : 64;
        spots->items = sy_realloc(spots->items, walk->cap * sizeof(*spots->items));
    }
    SY_ASSERT(spots->items);
    spots->items[spots->count++] = *spot;
}

/* False: enough of this shape. */
static bool walk_node(void *ctx, void *owner)
{
    struct walk *walk = ctx;
    struct sch_node *node = owner;
    struct spot spot = {.node = node, .domain = {(const uint8_t *)"", 0}};
    walk->op->looks++;
    if (walk->key[0] && node->shape == walk->shape)
        spot.domain = walk->of_domain;
    else if (walk->key[0])
        spot.domain = sch_label_value(node->shape->shape.traits.labels, walk->key);
    if (!spot.domain.data ||
        (walk->domain && sch_label_values_compare(&spot.domain, walk->domain) != 0))
        return false;
    if (!is_open_to(walk->op, node, walk->gang, walk->when))
        return true;
    if (node->backlog_count == 0)
        spot.fits = fits_of(node, walk->request, walk->when);
    spot.slots = walk->when == EMPTY ? slots_of(node, walk->request) : spot.fits;
    if (spot.slots == 0)
        return true;
    spot.slots = walk->counted ? 0 : spot.slots;
    walk->of_shape = node->shape == walk->shape ? walk->of_shape + 1 : 1;
    walk->shape = node->shape;
    walk->of_domain = spot.domain;
    walk->room += spot.slots;
    if (walk->spots)
        spot_add(walk, &spot);
    if (walk->key[0])
        return true; /* there may be more of its domain */
    bool enough = (walk->spots && walk->when == EMPTY) || walk->room >= walk->wanted;
    return !enough || (walk->spots && walk->of_shape < SCH_OP_GANG_NODES);
}

/* Of nodes alike that are in the index: how many, one of them. */
static void walk_shape(void *ctx, void *owner, uint32_t count)
{
    struct walk *walk = ctx;
    struct sch_node *node = owner;
    struct spot spot = {.node = node,
                        .domain = sch_label_value(node->shape->shape.traits.labels, walk->key),
                        .slots = (uint64_t)slots_of(node, walk->request) * count};
    if (spot.domain.data)
        spot_add(walk, &spot);
}

/* Nodes that are kept are in no index, nor, for SOON, those where room only comes. What is kept for
 * it already is always looked at, so what it chooses anew is no worse. */
static void walk_nodes(struct sch_operator *op, struct sch_kind *kind, struct walk *walk)
{
    struct sch_link *link;
    bool kept = walk->when == EMPTY || is_reserver(op, walk->gang);
    for (link = op->reserved.next; kept && link != &op->reserved; link = link->next)
        (void)walk_node(walk, sy_container_of(link, struct sch_node, kept));
    for (link = op->claims.next; walk->when == EMPTY && link != &op->claims; link = link->next) {
        struct sch_op_claim *claim = sy_container_of(link, struct sch_op_claim, link);
        if (claim->node)
            (void)walk_node(walk, claim->node);
    }
    for (link = op->nodes_leaving.next; walk->when == SOON && link != &op->nodes_leaving;
         link = link->next) {
        struct sch_node *node = sy_container_of(link, struct sch_node, leaves);
        if (!node->reserved && sch_node_fits(node, walk->request) == 0)
            (void)walk_node(walk, node);
    }
    if (walk->sums && walk->when == EMPTY) {
        sch_kind_each_shape(op, kind, walk_shape, walk);
        walk->counted = true;
    }
    if (!walk->counted || walk->gang) /* for one that is not here it does not matter what is free */
        sch_kind_each(op, kind, walk->when != EMPTY || walk->counted, walk_node, walk);
}

/* Whether all nodes together have room: most often not, and then nothing needs to be sorted. */
static bool holds_all(struct sch_operator *op, struct sch_kind *kind,
                      const struct sch_op_gang *gang, uint32_t size, enum when when)
{
    struct walk walk = {
        .op = op, .gang = gang, .request = &kind->request, .key = "", .when = when, .wanted = size};
    if (when == EMPTY && sch_kind_slots(op, kind) >= size)
        return true; /* without those that are kept */
    walk_nodes(op, kind, &walk);
    return walk.room >= size;
}

static void sort(struct spots *spots, enum when when)
{
    if (spots->count > 1)
        qsort(spots->items, spots->count, sizeof(*spots->items),
              when == EMPTY ? compare_empty : compare_now);
}

/* Those that could hold a member; with a topology only what is in a domain. To be freed. */
static struct spots spots_of(struct sch_operator *op, struct sch_kind *kind,
                             const struct sch_op_gang *gang, uint32_t size, const char *key,
                             const struct sy_span *domain, enum when when)
{
    struct spots spots = {0};
    struct walk walk = {.op = op,
                        .gang = gang,
                        .request = &kind->request,
                        .key = key,
                        .domain = domain,
                        .when = when,
                        .wanted = size,
                        .spots = &spots,
                        .sums = key[0] && !domain};
    walk_nodes(op, kind, &walk);
    sort(&spots, walk.sums ? NOW : when); /* of sums only the domains count */
    return spots;
}

/* Leaves those of one domain that has room for `size`: when they are empty the one with the most
 * free now; else the one that has the least room, so that larger ones stay whole. */
static bool keep_domain(struct spots *spots, uint32_t size, enum when when)
{
    uint64_t best_room = 0;
    uint32_t best = 0, best_count = 0;
    for (uint32_t from = 0, to; from < spots->count; from = to) {
        uint64_t fits = 0, slots = 0;
        for (to = from;
             to < spots->count &&
             sch_label_values_compare(&spots->items[to].domain, &spots->items[from].domain) == 0;
             to++) {
            fits += spots->items[to].fits;
            slots += spots->items[to].slots;
        }
        bool worse = when == EMPTY ? fits <= best_room : fits >= best_room;
        if (slots < size || (best_count > 0 && worse))
            continue;
        best = from;
        best_count = to - from;
        best_room = fits;
    }
    spots->count = best_count;
    if (best_count > 0)
        memmove(spots->items, spots->items + best, best_count * sizeof(*spots->items));
    return best_count > 0;
}

/* The domain for it; false: none has room. */
static bool find_domain(struct sch_operator *op, struct sch_kind *kind,
                        const struct sch_gang_shape *shape, const struct sch_op_gang *gang,
                        enum when when, struct sy_span *ret)
{
    struct spots sums = spots_of(op, kind, gang, shape->size, shape->key, NULL, when);
    bool found = keep_domain(&sums, shape->size, when);
    if (found)
        *ret = sums.items[0].domain; /* the shape has it */
    free(sums.items);
    return found;
}

/* In one domain, or without one where that is allowed. False: no room. *ret is to be freed. */
static bool choose(struct sch_operator *op, struct sch_kind *kind,
                   const struct sch_gang_shape *shape, const struct sch_op_gang *gang,
                   enum when when, struct spots *ret)
{
    struct sy_span domain;
    SY_ASSERT(shape->size > 0);
    *ret = (struct spots){0};
    if (!holds_all(op, kind, gang, shape->size, when))
        return false;
    if (shape->topology != SCH_TOPOLOGY_NONE && find_domain(op, kind, shape, gang, when, &domain)) {
        *ret = spots_of(op, kind, gang, shape->size, shape->key, &domain, when);
        return true;
    }
    if (shape->topology == SCH_TOPOLOGY_REQUIRE)
        return false;
    *ret = spots_of(op, kind, gang, shape->size, "", NULL, when);
    return keep_domain(ret, shape->size, when);
}

static bool has_room(struct sch_operator *op, struct sch_kind *kind,
                     const struct sch_gang_shape *shape, enum when when)
{
    struct sy_span domain;
    return holds_all(op, kind, NULL, shape->size, when) &&
           (shape->topology != SCH_TOPOLOGY_REQUIRE ||
            find_domain(op, kind, shape, NULL, when, &domain));
}

bool sch_op_gang_has_room(struct sch_operator *op, struct sch_kind *kind,
                          const struct sch_gang_shape *shape)
{
    return has_room(op, kind, shape, NOW);
}

/* ---- the reservation ---- */

void sch_node_reserve(struct sch_operator *op, struct sch_node *node, bool reserved)
{
    if (node->reserved == reserved)
        return;
    node->reserved = reserved;
    if (reserved)
        sch_list_push_back(&op->reserved, &node->kept);
    else
        sch_list_remove(&node->kept);
}

static void set_reserved(struct sch_operator *op, struct sch_node *node, bool reserved)
{
    if (node->reserved == reserved)
        return;
    sch_claim_leave(op, node);
    sch_node_reserve(op, node, reserved);
    op->choice_came = true; /* here, or on avoided nodes for those that could only run here */
    sch_node_changed(op, node);
    sch_kinds_dirty(op);
}

static void give_up_nodes(struct sch_operator *op)
{
    while (!sch_list_empty(&op->reserved))
        set_reserved(op, sy_container_of(op->reserved.next, struct sch_node, kept), false);
    op->reserver = NULL;
    op->pass_due_ns = SY_TIME_NEVER;
    op->reserve_end_ns = op->reserve_due_ns = SY_TIME_NEVER;
    op->reserve_next_ns = op->now_ns;
}

struct sch_kind *sch_op_gang_kind(const struct sch_op_gang *gang)
{
    SY_ASSERT(gang->count > 0);
    return sy_container_of(gang->attempts.next, struct sch_attempt, place)->kind;
}

static void look_at_free(struct sch_operator *op, const struct sch_op_gang *gang)
{
    uint64_t fits = 0;
    for (struct sch_link *link = op->reserved.next; link != &op->reserved; link = link->next)
        fits += sch_node_fits(sy_container_of(link, struct sch_node, kept),
                              &sch_op_gang_kind(gang)->request);
    op->reserver_free = fits > op->reserver_free ? fits : op->reserver_free;
}

/* The first of them that hold so many, and no others. */
static void keep_nodes(struct sch_operator *op, const struct spots *spots, uint32_t size)
{
    uint64_t slots = 0;
    uint32_t count = 0;
    for (; slots < size; slots += spots->items[count++].slots)
        spots->items[count].node->chosen = true;
    for (struct sch_link *link = op->reserved.next; link != &op->reserved;) {
        struct sch_node *node = sy_container_of(link, struct sch_node, kept);
        link = link->next;
        if (!node->chosen)
            set_reserved(op, node, false);
    }
    for (uint32_t i = 0; i < count; i++) {
        set_reserved(op, spots->items[i].node, true);
        spots->items[i].node->chosen = false;
    }
}

static void reserve(struct sch_operator *op, const struct sch_op_gang *gang)
{
    if (!is_reserver(op, gang)) {
        give_up_nodes(op);
        op->reserver = gang->partition;
        op->reserver_id = gang->id;
        op->reserver_since_ns = op->now_ns;
        op->reserver_standing = gang->standing;
        op->reserver_free = UINT64_MAX; /* not looked at */
        op->pass_due_ns = op->now_ns + SCH_OP_CLAIM_INTERVAL_NS;
    }
    op->reserve_end_ns = SY_TIME_NEVER;
    if (op->now_ns < op->reserve_next_ns) {
        op->reserve_due_ns = op->reserve_next_ns;
        return;
    }
    op->reserve_due_ns = SY_TIME_NEVER;
    op->reserve_next_ns = op->now_ns +
                          SCH_OP_RESERVE_INTERVAL_NS * (1 + op->node_count / SCH_OP_RESERVE_NODES);
    struct spots spots = {0};
    struct sch_kind *kind = sch_op_gang_kind(gang);
    bool found = !sch_list_empty(&op->nodes_leaving) &&
                 choose(op, kind, &gang->shape, gang, SOON, &spots);
    if (!found)
        found = choose(op, kind, &gang->shape, gang, EMPTY, &spots);
    keep_nodes(op, &spots, found ? gang->shape.size : 0);
    if (op->reserver_free == UINT64_MAX) {
        op->reserver_free = 0;
        look_at_free(op, gang);
    }
    free(spots.items);
}

/* ---- placing ---- */

static void place(struct sch_operator *op, struct sch_op_gang *gang, const struct spots *spots)
{
    const char *first_node = spots->items[0].node->name;
    uint32_t size = gang->shape.size, rank = 0;
    uint64_t id = gang->id;
    struct sch_kind *kind = sch_op_gang_kind(gang);
    struct sch_op_placed *placed = NULL;
    for (uint32_t i = 0; rank < size; i++) {
        SY_ASSERT(i < spots->count);
        for (uint32_t k = 0; k < spots->items[i].fits && rank < size; k++, rank++) {
            struct sch_attempt *a = sy_container_of(gang->attempts.next, struct sch_attempt, place);
            struct sch_op_effect *effect = sch_attempt_place(op, a, spots->items[i].node, true);
            if (a->queue_tag != 0 && !placed)
                placed = sch_op_placed_new(size);
            if (placed)
                sch_op_placed_join(placed, a);
            effect->u.assign.first_node = first_node;
            effect->u.assign.gang_id = id;
            effect->u.assign.rank = rank;
            effect->u.assign.size = size;
        } /* with the last one the gang is gone */
    }
    sch_kind_dirty(op, kind);
}

static bool is_whole(const struct sch_op_gang *gang)
{
    return gang->came == gang->shape.size && gang->count == gang->came;
}

struct sch_op_gang *sch_op_gang_reserver(const struct sch_operator *op, uint32_t partition,
                                         uint64_t id)
{
    for (struct sch_link *link = op->gangs.next; link != &op->gangs; link = link->next) {
        struct sch_op_gang *gang = sy_container_of(link, struct sch_op_gang, link);
        if (gang->id == id && gang->partition->id == partition)
            return is_reserver(op, gang) && is_whole(gang) ? gang : NULL;
    }
    return NULL;
}

static bool try_gang(struct sch_operator *op, struct sch_op_gang *gang)
{
    struct spots spots;
    bool found = choose(op, sch_op_gang_kind(gang), &gang->shape, gang, NOW, &spots);
    bool reserves = is_reserver(op, gang);
    if (found) {
        place(op, gang, &spots);
        if (reserves)
            give_up_nodes(op);
    }
    free(spots.items);
    return found;
}

void sch_op_gangs_place(struct sch_operator *op)
{
    const struct sch_op_gang *first = NULL;
    struct sch_link *link = op->gangs.next;
    for (unsigned tried = 0; link != &op->gangs && tried < SCH_OP_GANGS_TRIED;) {
        struct sch_op_gang *gang = sy_container_of(link, struct sch_op_gang, link);
        link = link->next;
        if (!is_whole(gang))
            continue;
        tried++;
        if (!try_gang(op, gang) && !first)
            first = gang;
    }
    if (!first)
        op->reserve_due_ns = SY_TIME_NEVER;
    if (first)
        reserve(op, first);
    else if (op->reserver && op->reserve_end_ns == SY_TIME_NEVER)
        give_up_nodes(op);
}

/* ---- in and out ---- */

static struct sch_op_gang *gang_find(const struct sch_operator *op,
                                     const struct sch_op_event *event)
{
    for (struct sch_link *link = op->gangs.next; link != &op->gangs; link = link->next) {
        struct sch_op_gang *gang = sy_container_of(link, struct sch_op_gang, link);
        if (gang->id == event->u.assign.gang_id && gang->number == event->u.assign.key.number &&
            gang->partition->id == event->u.assign.key.partition)
            return gang;
    }
    return NULL;
}

static struct sch_op_gang *gang_new(struct sch_operator *op, struct sch_op_class *class,
                                    const struct sch_op_event *event)
{
    struct sch_op_gang *gang = sy_new(struct sch_op_gang);
    gang->id = event->u.assign.gang_id;
    gang->number = event->u.assign.key.number;
    gang->priority = event->u.assign.priority;
    gang->standing = class->top_priority;
    gang->partition = class->partition;
    gang->class = class;
    gang->shape = class->gang;
    gang->held_until_ns = op->now_ns + op->options.gang_hold_ns;
    sch_list_init(&gang->attempts);
    class->gangs_held++;
    struct sch_link *at = op->gangs.prev;
    while (at != &op->gangs &&
           sy_container_of(at, struct sch_op_gang, link)->priority < gang->priority)
        at = at->prev;
    sch_list_insert_after(at, &gang->link);
    return gang;
}

bool sch_op_gang_assign(struct sch_operator *op, struct sch_op_class *class,
                        const struct sch_op_event *event)
{
    uint32_t rank = event->u.assign.rank;
    struct sch_op_gang *gang = gang_find(op, event);
    if (event->u.assign.gang_id == 0 || rank >= class->gang.size ||
        (gang ? gang->came != rank || gang->class != class : rank != 0))
        return false; /* the first was refused, or it is no gang */
    if (!gang)
        gang = gang_new(op, class, event);
    sch_kind_ref(op, &class->kind->request);
    struct sch_attempt *a = sch_attempt_new(op, &event->u.assign.key, class->kind,
                                            SCH_ATTEMPT_HELD);
    a->class = class;
    a->suspect = event->u.assign.suspect;
    a->queue_tag = event->u.assign.queue;
    a->held_ns = op->now_ns;
    a->blob = event->u.assign.blob;
    a->gang = gang;
    sch_list_push_back(&gang->attempts, &a->place);
    gang->count++;
    gang->came++;
    op->gangs_due |= is_whole(gang);
    return true;
}

void sch_op_gang_leave(struct sch_operator *op, struct sch_attempt *a)
{
    struct sch_op_gang *gang = sy_take(a->gang);
    SY_ASSERT(gang->count > 0);
    sch_list_remove(&a->place);
    op->gangs_due = true;
    if (--gang->count > 0)
        return;
    if (gang->class) {
        SY_ASSERT(gang->class->gangs_held > 0);
        gang->class->gangs_held--;
    }
    sch_list_remove(&gang->link);
    free(gang);
}

/* ---- grants ---- */

/* One of each class at a time, whether there is room for it now or not. */
void sch_op_gang_grant(struct sch_operator *op, struct sch_op_class *class, bool answer)
{
    struct sch_kind *kind = class->kind;
    SY_ASSERT(class->gang.size > 0 && class->partition->up);
    if (class->waiting == 0 || class->gangs_held > 0 || !has_room(op, kind, &class->gang, EMPTY))
        return;
    uint64_t startable = class->assigned + has_room(op, kind, &class->gang, NOW);
    bool new = class->granted <= class->assigned;
    if (!new && !answer &&class->startable == startable)
        return;
    if (new)
        class->granted = class->assigned + 1;
    class->startable = startable;
    sch_class_send_grant(op, class, startable);
}

/* ---- time ---- */

static void give_back(struct sch_operator *op, struct sch_op_gang *gang)
{
    if (is_reserver(op, gang))
        op->reserve_end_ns = op->now_ns + SCH_OP_RESERVE_GRACE_NS;
    for (uint32_t left = gang->count; left > 0; left--)
        sch_attempt_returned(op, sy_container_of(gang->attempts.next, struct sch_attempt, place),
                             "the cluster had no room for the whole gang in time");
}

/* More has come free on its nodes since it was looked at the last time: elsewhere it would begin
 * anew. */
static bool comes_closer(struct sch_operator *op, const struct sch_op_gang *gang)
{
    uint64_t before = op->reserver_free;
    if (!is_reserver(op, gang) || !is_whole(gang))
        return false;
    look_at_free(op, gang);
    return op->reserver_free > before;
}

void sch_op_gangs_tick(struct sch_operator *op)
{
    struct sch_link *link = op->gangs.next;
    while (link != &op->gangs) {
        struct sch_op_gang *gang = sy_container_of(link, struct sch_op_gang, link);
        link = link->next;
        if (gang->held_until_ns > op->now_ns)
            continue;
        if (gang->partition->up && !comes_closer(op, gang))
            give_back(op, gang);
        else
            gang->held_until_ns = op->now_ns + op->options.gang_hold_ns; /* or to nobody */
    }
    if (op->reserve_end_ns <= op->now_ns)
        give_up_nodes(op);
    op->gangs_due |= op->reserve_due_ns <= op->now_ns;
}

int64_t sch_op_gangs_next_ns(const struct sch_operator *op)
{
    int64_t at = op->reserve_end_ns < op->reserve_due_ns ? op->reserve_end_ns : op->reserve_due_ns;
    for (const struct sch_link *link = op->gangs.next; link != &op->gangs; link = link->next) {
        const struct sch_op_gang *gang = sy_container_of((struct sch_link *)(uintptr_t)link,
                                                         struct sch_op_gang, link);
        at = gang->held_until_ns < at ? gang->held_until_ns : at;
    }
    return at;
}
