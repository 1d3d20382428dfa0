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

/* Of a node, how many members: they fit now, or soon; they would fit when it is empty. But for
 * EMPTY both are the same. */
struct spot {
    struct sch_node *node;
    uint64_t fits, slots;
};

struct spots {
    struct spot *items;
    uint32_t count;
};

/* Those that hold most first: few nodes, and ranks that are near each other. */
static int compare_now(const void *left, const void *right)
{
    const struct spot *a = left, *b = right;
    int order = (a->fits < b->fits) - (a->fits > b->fits);
    return order != 0 ? order
                      : (a->node->index > b->node->index) - (a->node->index < b->node->index);
}

/* Those with the least in the way first. */
static int compare_empty(const void *left, const void *right)
{
    const struct spot *a = left, *b = right;
    uint64_t in_way_a = a->slots - a->fits, in_way_b = b->slots - b->fits;
    int order = (in_way_a > in_way_b) - (in_way_a < in_way_b);
    if (order == 0)
        order = (a->slots < b->slots) - (a->slots > b->slots);
    return order != 0 ? order
                      : (a->node->index > b->node->index) - (a->node->index < b->node->index);
}

bool sch_op_gang_is_reserver(const struct sch_operator *op, const struct sch_op_gang *gang)
{
    return gang && op->reserver == gang->partition && op->reserver_id == gang->id;
}

bool sch_op_gang_is_open(const struct sch_operator *op, const struct sch_node *node,
                         const struct sch_op_gang *gang, enum sch_when when)
{
    if (!sch_node_serves(node) || node->health.state == SCH_HEALTH_AVOIDED)
        return false;
    if (when == SCH_EMPTY)
        return !gang || !node->claim || !sch_claim_is_before_gang(op, node->claim);
    return node->backlog_count == 0 && !node->claim &&
           (!node->reserved || sch_op_gang_is_reserver(op, gang));
}

bool sch_op_gang_may_use(const struct sch_operator *op, const struct sch_node *node,
                         const struct sch_op_gang *gang)
{
    return sch_op_gang_is_open(op, node, gang, SCH_SOON);
}

static uint32_t slots_of(const struct sch_node *node, const struct sch_resources *request)
{
    return sch_shape_slots(&node->shape->shape, request);
}

static uint32_t fits_of(struct sch_node *node, const struct sch_resources *request,
                        enum sch_when when)
{
    return when == SCH_NOW ? sch_node_fits(node, request) : sch_node_fits_soon(node, request);
}

/* ---- from the index, since a gang is tried whenever room comes ---- */

struct walk {
    struct sch_operator *op;
    const struct sch_op_gang *gang;
    const struct sch_resources *request;
    const char *key;                    /* of the domain */
    const struct sch_op_domain *domain; /* only there; NULL: anywhere */
    enum sch_when when;
    uint64_t room, wanted;
    struct spots *spots; /* NULL: only counted */
    uint32_t cap;
    const struct sch_op_group *group; /* of the last one */
    uint32_t of_group;
};

static void spot_add(struct walk *walk, const struct spot *spot)
{
    struct spots *spots = walk->spots;
    if (spots->count == walk->cap) {
        walk->cap = walk->cap ? walk->cap * 2 : 64;
        spots->items = sy_realloc(spots->items, walk->cap * sizeof(*spots->items));
    }
    SY_ASSERT(spots->items);
    spots->items[spots->count++] = *spot;
}

/* False: enough of this group. */
static bool walk_node(void *ctx, void *owner)
{
    struct walk *walk = ctx;
    struct sch_node *node = owner;
    struct spot spot = {.node = node};
    if (!walk->spots && walk->room >= walk->wanted)
        return false;
    walk->op->looks++;
    if (!sch_op_gang_is_open(walk->op, node, walk->gang, walk->when))
        return true;
    if (node->backlog_count == 0)
        spot.fits = fits_of(node, walk->request, walk->when);
    spot.slots = walk->when == SCH_EMPTY ? slots_of(node, walk->request) : spot.fits;
    if (spot.slots == 0)
        return true;
    bool told = walk->domain || walk->request->labels[0];
    const struct sch_op_group *group = told ? node->told.group : node->all.group;
    walk->of_group = group == walk->group ? walk->of_group + 1 : 1;
    walk->group = group;
    walk->room += spot.slots;
    if (!walk->spots)
        return walk->room < walk->wanted;
    spot_add(walk, &spot);
    bool enough = walk->when == SCH_EMPTY || walk->room >= walk->wanted;
    return !enough || walk->of_group < SCH_OP_GANG_NODES;
}

/* One that is in no index. */
static void walk_other(struct walk *walk, struct sch_node *node)
{
    struct sy_span there = {0};
    if (walk->domain)
        there = sch_op_domain_of(&node->shape->shape, walk->key);
    if (!walk->domain ||
        (there.data && sch_label_values_compare(&there, &walk->domain->value) == 0))
        (void)walk_node(walk, node);
}

/* Nodes that are kept are in no index, nor, for SCH_SOON, those where room only comes. What is kept
 * for it already is always looked at, so what it chooses anew is no worse. */
static void walk_nodes(struct sch_operator *op, struct sch_kind *kind, struct walk *walk)
{
    struct sch_link *link;
    bool kept = walk->when == SCH_EMPTY || sch_op_gang_is_reserver(op, walk->gang);
    for (link = op->reserved.next; kept && link != &op->reserved; link = link->next)
        walk_other(walk, sy_container_of(link, struct sch_node, kept));
    for (link = op->claims.next; walk->when == SCH_EMPTY && link != &op->claims;
         link = link->next) {
        struct sch_op_claim *claim = sy_container_of(link, struct sch_op_claim, link);
        if (claim->node)
            walk_other(walk, claim->node);
    }
    for (link = op->nodes_leaving.next; walk->when == SCH_SOON && link != &op->nodes_leaving;
         link = link->next) {
        struct sch_node *node = sy_container_of(link, struct sch_node, leaves);
        if (!node->reserved && sch_node_fits(node, walk->request) == 0)
            walk_other(walk, node);
    }
    bool room = walk->when != SCH_EMPTY;
    for (uint32_t i = 0; walk->domain && i < walk->domain->count; i++)
        sch_kind_each_of(kind, walk->domain->parts[i].part, room, walk_node, walk);
    if (!walk->domain)
        sch_kind_each(op, kind, room, walk_node, walk);
}

/* Whether all nodes together have room: most often not, and then nothing needs to be sorted. */
static bool holds_all(struct sch_operator *op, struct sch_kind *kind,
                      const struct sch_op_gang *gang, uint32_t size, enum sch_when when)
{
    struct walk walk = {
        .op = op, .gang = gang, .request = &kind->request, .when = when, .wanted = size};
    if (when == SCH_EMPTY && sch_kind_slots(op, kind) >= size)
        return true; /* without those that are kept */
    walk_nodes(op, kind, &walk);
    return walk.room >= size;
}

static void sort(struct spots *spots, enum sch_when when)
{
    if (spots->count > 1)
        qsort(spots->items, spots->count, sizeof(*spots->items),
              when == SCH_EMPTY ? compare_empty : compare_now);
}

/* Those that could hold a member; with a domain only what is there. To be freed. */
static struct spots spots_of(struct sch_operator *op, struct sch_kind *kind,
                             const struct sch_op_gang *gang, const struct sch_gang_shape *shape,
                             const struct sch_op_domain *domain, enum sch_when when)
{
    struct spots spots = {0};
    struct walk walk = {.op = op,
                        .gang = gang,
                        .request = &kind->request,
                        .key = shape->key,
                        .domain = domain,
                        .when = when,
                        .wanted = shape->size,
                        .spots = &spots};
    walk_nodes(op, kind, &walk);
    sort(&spots, when);
    return spots;
}

/* In one domain, or without one where that is allowed. False: no room, or that is not known yet.
 * *ret is to be freed. */
static bool choose(struct sch_operator *op, struct sch_kind *kind,
                   const struct sch_gang_shape *shape, const struct sch_op_gang *gang,
                   enum sch_when when, struct spots *ret)
{
    struct sch_op_domain domain;
    SY_ASSERT(shape->size > 0);
    *ret = (struct spots){0};
    bool in_one = shape->topology != SCH_TOPOLOGY_NONE &&
                  sch_op_domain_find(op, kind, shape, gang, when, &domain);
    if (!in_one && (shape->topology == SCH_TOPOLOGY_REQUIRE || op->gangs_later ||
                    !holds_all(op, kind, gang, shape->size, when)))
        return false;
    *ret = spots_of(op, kind, gang, shape, in_one ? &domain : NULL, when);
    return true;
}

static bool has_room(struct sch_operator *op, struct sch_kind *kind,
                     const struct sch_gang_shape *shape, enum sch_when when)
{
    struct sch_op_domain domain;
    return shape->topology == SCH_TOPOLOGY_REQUIRE
               ? sch_op_domain_find(op, kind, shape, NULL, when, &domain)
               : holds_all(op, kind, NULL, shape->size, when);
}

/* At once, in as many slices as it takes: somebody asks, and nobody waits for the next step. */
bool sch_op_gang_has_room(struct sch_operator *op, struct sch_kind *kind,
                          const struct sch_gang_shape *shape)
{
    bool room = false, later = op->gangs_later;
    do {
        op->looks = 0;
        op->gangs_later = false;
        sch_labels_settle(op);
        room = has_room(op, kind, shape, SCH_NOW);
    } while (op->gangs_later);
    op->gangs_later = later;
    return room;
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

/* The first of them that hold so many, and no others. Whether that gives somebody room: some were
 * kept for single actions, or others are free again. */
static bool keep_nodes(struct sch_operator *op, const struct spots *spots, uint32_t size)
{
    uint64_t slots = 0;
    uint32_t count = 0;
    bool room = false;
    for (; slots < size; slots += spots->items[count++].slots) {
        const struct spot *spot = &spots->items[count];
        room |= spot->node->claim && spot->fits > 0;
        spot->node->chosen = true;
    }
    for (struct sch_link *link = op->reserved.next; link != &op->reserved;) {
        struct sch_node *node = sy_container_of(link, struct sch_node, kept);
        link = link->next;
        room |= !node->chosen;
        if (!node->chosen)
            set_reserved(op, node, false);
    }
    for (uint32_t i = 0; i < count; i++) {
        set_reserved(op, spots->items[i].node, true);
        spots->items[i].node->chosen = false;
    }
    return room;
}

/* Whether gangs may have room that they had not. */
static bool reserve(struct sch_operator *op, const struct sch_op_gang *gang)
{
    bool room = false;
    if (!sch_op_gang_is_reserver(op, gang)) {
        room = !sch_list_empty(&op->reserved);
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
        return room;
    }
    op->reserve_due_ns = SY_TIME_NEVER;
    op->reserve_next_ns = op->now_ns +
                          SCH_OP_RESERVE_INTERVAL_NS * (1 + op->node_count / SCH_OP_RESERVE_NODES);
    struct spots spots = {0};
    struct sch_kind *kind = sch_op_gang_kind(gang);
    bool found = !sch_list_empty(&op->nodes_leaving) &&
                 choose(op, kind, &gang->shape, gang, SCH_SOON, &spots);
    if (!found)
        found = choose(op, kind, &gang->shape, gang, SCH_EMPTY, &spots);
    room |= keep_nodes(op, &spots, found ? gang->shape.size : 0);
    if (op->reserver_free == UINT64_MAX) {
        op->reserver_free = 0;
        look_at_free(op, gang);
    }
    free(spots.items);
    return room;
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
            return sch_op_gang_is_reserver(op, gang) && is_whole(gang) ? gang : NULL;
    }
    return NULL;
}

static bool try_gang(struct sch_operator *op, struct sch_op_gang *gang)
{
    struct spots spots;
    bool found = choose(op, sch_op_gang_kind(gang), &gang->shape, gang, SCH_NOW, &spots);
    bool reserves = sch_op_gang_is_reserver(op, gang);
    if (found) {
        place(op, gang, &spots);
        if (reserves)
            give_up_nodes(op);
    }
    free(spots.items);
    return found;
}

/* The first that has no room; NULL: none, or that is not known yet. */
static struct sch_op_gang *try_gangs(struct sch_operator *op)
{
    struct sch_op_gang *first = NULL;
    struct sch_link *link = op->gangs.next;
    for (unsigned tried = 0;
         link != &op->gangs && tried < SCH_OP_GANGS_TRIED && !op->gangs_later;) {
        struct sch_op_gang *gang = sy_container_of(link, struct sch_op_gang, link);
        link = link->next;
        if (!is_whole(gang))
            continue;
        tried++;
        if (!try_gang(op, gang) && !first && !op->gangs_later)
            first = gang;
    }
    return first;
}

void sch_op_gangs_place(struct sch_operator *op)
{
    const struct sch_op_gang *first = try_gangs(op);
    while (first && reserve(op, first)) /* the next one after it only when it was placed */
        first = try_gangs(op);
    if (first || op->gangs_later)
        return;
    op->reserve_due_ns = SY_TIME_NEVER;
    if (op->reserver && op->reserve_end_ns == SY_TIME_NEVER)
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
    sch_attempt_sit(op, a, event->u.assign.place);
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
    if (class->waiting == 0 || class->gangs_held > 0)
        return;
    bool later = op->gangs_later;
    op->gangs_later = false;
    bool takes = has_room(op, kind, &class->gang, SCH_EMPTY);
    uint64_t startable = class->assigned + (takes && has_room(op, kind, &class->gang, SCH_NOW));
    if (op->gangs_later && !sch_link_in_list(&kind->unsure))
        sch_list_push_back(&op->kinds_unsure, &kind->unsure);
    op->gangs_later = later;
    if (!takes)
        return;
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
    if (sch_op_gang_is_reserver(op, gang))
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
    if (!sch_op_gang_is_reserver(op, gang) || !is_whole(gang))
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
        const struct sch_attempt *any = sy_container_of(gang->attempts.next, struct sch_attempt,
                                                        place);
        if (sch_attempt_is_heard(any) && !comes_closer(op, gang))
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
