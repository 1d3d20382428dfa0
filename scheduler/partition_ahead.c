/*
 * Whether those ahead of an action would take what changes give: the core's next starts are played
 * through on a few numbers, in the core's order, until the action's turn has come or it does not
 * fit any more. Which cluster others take where several have room is not played through: the
 * changed one if it has room, else any.
 */
#include "scheduler/explain_impl.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_slice.h"

#include <string.h>

/* Shares that are kept apart, lanes that are looked at, starts that are played through. */
#define TAKEN_MAX 64u
#define LANES_MAX 256u
#define STARTS_MAX 256u

/* With the changes made: what is left, of which those ahead take. */
struct left {
    struct taken { /* below a share: the action's path first, from its tenant up */
        const struct sch_share *share;
        struct sch_use use;
    } taken[TAKEN_MAX];
    unsigned taken_count, depth;
    const struct sch_cluster *cluster; /* with the changes */
    bool room_known;
    struct sch_use room;
    uint64_t grants; /* of the action's own class */
    /* In other clusters. */
    struct sch_use elsewhere;
    uint64_t own_elsewhere; /* of the action's own class */
    struct sch_shape node;  /* that the changes bring; nodes 0: none */
};

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void add_use(struct sch_use *use, const struct sch_use *one)
{
    use->actions += one->actions;
    use->cpu_milli += one->cpu_milli;
    use->memory_bytes += one->memory_bytes;
    use->gpu_milli += one->gpu_milli;
}

static struct sch_use at_least(const struct sch_use *a, const struct sch_use *b)
{
    return (struct sch_use){most(a->actions, b->actions), most(a->cpu_milli, b->cpu_milli),
                            most(a->memory_bytes, b->memory_bytes),
                            most(a->gpu_milli, b->gpu_milli)};
}

/* A node that can hold one such request and nothing else. */
static struct sch_shape node_for(const struct sch_resources *request)
{
    struct sch_shape node = {.capacity = *request, .nodes = 1};
    memcpy(node.traits.labels, request->labels, sizeof(request->labels));
    memcpy(node.environments[0].name, request->environment, sizeof(request->environment));
    node.environments[0].slots = 1;
    node.environment_count = request->environment[0] != '\0';
    memcpy(node.traits.slices[0].name, request->gpu_partition, sizeof(request->gpu_partition));
    node.traits.slices[0].count = request->gpus;
    node.traits.slice_count = request->gpu_partition[0] != '\0';
    if (request->gpu_milli > 0)
        node.capacity.gpus = node.traits.gpus_shared = 1;
    return node;
}

static struct left left_of(const struct sch_query *q, const struct sch_explain_cluster *facts)
{
    const struct sch_cluster *cluster = facts->cluster;
    struct left left = {.cluster = cluster, .room = facts->free};
    const struct sch_resources *request = q->request;
    struct sch_use one = q->need;
    bool connects = facts->why_not & SCH_WHY_NOT_CONNECTED, node = facts->why_not & SCH_WHY_SHAPE;
    for (const struct sch_share *at = q->tenant; at; at = at->parent)
        left.taken[left.depth++].share = at;
    left.taken_count = left.depth;
    left.room_known = facts->room_known || connects;
    if (node && !connects)
        add_use(&left.room, &one);
    else
        left.room = at_least(&left.room, &one);
    if (node || (connects && cluster->shape_count == 0))
        left.node = node_for(request);
    const struct sch_pair *pair = q->class ? sch_pair_peek(q->class, cluster) : NULL;
    bool asked = pair && !connects && sch_grant_is_known(q->class, pair);
    bool anew = node || (facts->why_not & SCH_WHY_ROOM); /* then it grants as the room says */
    left.grants = node || !left.room_known ? 1 : UINT64_MAX;
    if (pair && !connects && !anew && (asked || !left.room_known))
        left.grants = most(pair->granted, pair->assigned + 1) - pair->assigned;
    return left;
}

/* Whether a share lets one more out, after what was taken; `own`: with its limits raised as far as
 * the explained action needs. */
static bool admits_after(const struct taken *taken, const struct sch_use *own,
                         const struct sch_use *one)
{
    if (!taken->share->config)
        return true;
    if (taken->share->config->paused && !own)
        return false;
    struct sch_use sum = taken->share->use, allowed = sch_share_allowed(taken->share);
    if (own) {
        struct sch_use needed = sum;
        add_use(&needed, own);
        allowed = at_least(&allowed, &needed);
    }
    add_use(&sum, &taken->use);
    add_use(&sum, one);
    return sum.actions <= allowed.actions && sch_room_fits(&allowed, &sum);
}

/* NULL: too many shares to keep apart. */
static struct taken *taken_of(struct left *left, const struct sch_share *share)
{
    for (unsigned i = 0; i < left->taken_count; i++) {
        if (left->taken[i].share == share)
            return &left->taken[i];
    }
    if (left->taken_count == TAKEN_MAX)
        return NULL;
    left->taken[left->taken_count] = (struct taken){.share = share};
    return &left->taken[left->taken_count++];
}

static bool is_own(const struct left *left, const struct taken *taken)
{
    return taken < left->taken + left->depth;
}

/* Of one that waits in the class: an action, or a gang. */
static struct sch_use use_of(const struct sch_class *class)
{
    return sch_use_times(&class->request, sch_class_unit(class));
}

static bool lane_is_admitted(const struct sch_query *q, struct left *left,
                             const struct sch_lane *lane)
{
    struct sch_use own = q->need, one = use_of(lane->seat.class);
    for (const struct sch_share *at = lane->seat.share; at; at = at->parent) {
        const struct taken *taken = taken_of(left, at);
        if (!taken || !admits_after(taken, is_own(left, taken) ? &own : NULL, &one))
            return false;
    }
    return true;
}

static bool room_for(const struct left *left, const struct sch_use *one)
{
    return !left->room_known || sch_room_fits(&left->room, one);
}

static bool cluster_has_room(const struct sch_cluster *cluster, const struct sch_use *taken,
                             const struct sch_use *one)
{
    struct sch_use room = sch_cluster_free_room(cluster), sum = *one;
    add_use(&sum, taken);
    return !cluster->room_known || sch_room_fits(&room, &sum);
}

/* Whether the lane may use the cluster when the action may: what it shares with it has changed. */
static bool lane_is_allowed(struct left *left, const struct sch_lane *lane)
{
    const struct sch_share *list = sch_share_with_list(lane->seat.share);
    bool listed = !list || list == sch_share_with_list(left->taken[0].share);
    for (uint32_t i = 0; !listed && i < list->config->cluster_count; i++)
        listed = strcmp(list->config->clusters[i], left->cluster->name) == 0;
    if (!listed)
        return false;
    for (const struct sch_share *at = lane->seat.share; at; at = at->parent) {
        const struct taken *taken = taken_of(left, at);
        bool kept_out = sch_price_is_short(at, left->cluster->price) ||
                        sch_region_is_out(at, left->cluster->region);
        if (kept_out && !(taken && is_own(left, taken)))
            return false;
    }
    return true;
}

static bool shape_fits_after(const struct left *left, const struct sch_resources *request)
{
    for (size_t i = 0; i < left->cluster->shape_count; i++) {
        if (sch_shape_fits(&left->cluster->shapes[i], request, NULL))
            return true;
    }
    return left->node.nodes > 0 && sch_shape_fits(&left->node, request, NULL);
}

/* It starts in the changed cluster. */
static bool goes_there(const struct sch_query *q, struct left *left, const struct sch_lane *lane)
{
    static const struct sch_use nothing;
    const struct sch_class *class = lane->seat.class;
    struct sch_use one = use_of(class);
    const struct sch_pair *pair = sch_pair_peek(class, left->cluster);
    bool pieces = pair && sch_cluster_connected(left->cluster) && sch_grant_is_known(class, pair) &&
                  pair->granted <= pair->assigned &&
                  cluster_has_room(left->cluster, &nothing, &one);
    bool granted = class == q->class ? left->grants > 0 : !pieces;
    return granted && room_for(left, &one) && lane_is_allowed(left, lane) &&
           shape_fits_after(left, &class->request);
}

/* Or in another one. All that was taken in others counts against each: which one the core would
 * choose for it is not played through. */
static bool goes_elsewhere(struct sch_query *q, const struct left *left,
                           const struct sch_class *class)
{
    uint64_t gone = class == q->class ? left->own_elsewhere : 0;
    struct sch_use one = use_of(class);
    for (size_t i = 0; i < class->pair_count; i++) {
        const struct sch_pair *pair = class->pairs[i];
        if (pair->cluster == left->cluster || !sch_pair_is_able(pair))
            continue;
        if (!sch_query_step(q))
            return false;
        bool known = sch_grant_is_known(class, pair) || !pair->cluster->room_known;
        bool asked = sch_grant_is_known(class, pair);
        uint64_t granted = asked ? pair->granted : most(pair->granted, pair->assigned + 1);
        if ((!known || granted > pair->assigned + gone) &&
            cluster_has_room(pair->cluster, &left->elsewhere, &one))
            return true;
    }
    return false;
}

static void take(struct left *left, const struct sch_query *q, const struct sch_lane *lane,
                 bool there)
{
    struct sch_use one = use_of(lane->seat.class);
    bool own = lane->seat.class == q->class;
    for (const struct sch_share *at = lane->seat.share; at; at = at->parent)
        add_use(&taken_of(left, at)->use, &one); /* it was admitted, so it is there */
    if (!there) {
        add_use(&left->elsewhere, &one);
        left->own_elsewhere += own;
        return;
    }
    if (left->room_known) {
        left->room.cpu_milli -= one.cpu_milli;
        left->room.memory_bytes -= one.memory_bytes;
        left->room.gpu_milli -= one.gpu_milli;
    }
    if (own && left->grants != UINT64_MAX)
        left->grants--;
}

static bool starts(struct sch_query *q, struct left *left, const struct sch_lane *lane)
{
    if (!lane_is_admitted(q, left, lane))
        return false;
    bool there = goes_there(q, left, lane);
    if (!there && !goes_elsewhere(q, left, lane->seat.class))
        return false;
    take(left, q, lane, there);
    return true;
}

/* Whether the action itself would still start. */
static bool action_fits(struct sch_query *q, const struct left *left)
{
    struct sch_use one = q->need;
    bool admitted = true;
    for (unsigned i = 0; admitted && i < left->depth; i++)
        admitted = admits_after(&left->taken[i], &one, &one);
    bool there = left->grants > 0 && room_for(left, &one);
    return admitted && (there || (q->class && goes_elsewhere(q, left, q->class)));
}

/* ---- who is next, as the core would choose ---- */

/* A lane and who of it is next; `action` NULL: none. */
struct head {
    const struct sch_lane *lane;
    const struct sch_action_impl *action;
    uint64_t gone;
    /* Of that action, or of the one that is explained. */
    const struct sch_share *tenant;
    int32_t priority;
    uint64_t id;
};

static int64_t level_priority(const struct sch_level *level)
{
    return (int64_t)level->priority + level->boost;
}

static bool level_is_before(const struct sch_level *a, const struct sch_level *b)
{
    int64_t priority_a = level_priority(a), priority_b = level_priority(b);
    return priority_a > priority_b || (priority_a == priority_b && a->priority > b->priority);
}

/* The first of the level that comes after `level`; of the first one with NULL. */
static const struct sch_action_impl *first_after(const struct sch_lane *lane,
                                                 const struct sch_level *level)
{
    const struct sch_level *best = NULL;
    for (struct sch_link *link = lane->queue.levels_all.next; link != &lane->queue.levels_all;
         link = link->next) {
        const struct sch_level *at = sy_container_of(link, struct sch_level, link);
        if (at->count > 0 && (!level || level_is_before(level, at)) &&
            (!best || level_is_before(at, best)))
            best = at;
    }
    return best ? sy_container_of(best->actions.next, struct sch_action_impl, link) : NULL;
}

static void set_head(struct head *head, const struct sch_action_impl *action)
{
    head->action = action;
    if (!action)
        return;
    head->priority = sch_priority_clamp(level_priority(action->level) + head->tenant->priority);
    head->id = action->base.id;
}

static void pass(struct head *head)
{
    const struct sch_level *level = head->action->level;
    struct sch_link *next = head->action->link.next;
    bool last = next == &level->actions;
    head->gone++;
    set_head(head, last ? first_after(head->lane, level)
                        : sy_container_of(next, struct sch_action_impl, link));
}

static uint32_t weight_after(const struct sch_query *q, struct left *left,
                             const struct sch_share *share)
{
    const struct taken *taken = taken_of(left, share);
    if (!taken || taken->use.actions == 0)
        return share->weighted_share;
    struct sch_use use = share->use;
    add_use(&use, &taken->use);
    return sch_share_weigh(q->p, share, &use);
}

/* As sch_lane_before(), with what was taken. */
static bool is_before(const struct sch_query *q, struct left *left, const struct head *a,
                      const struct head *b)
{
    const struct sch_share *fork_a, *fork_b;
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (!sch_share_fork(a->tenant, b->tenant, &fork_a, &fork_b))
        return a->id < b->id;
    uint32_t weight_a = weight_after(q, left, fork_a), weight_b = weight_after(q, left, fork_b);
    return weight_a != weight_b ? weight_a < weight_b : fork_a->id < fork_b->id;
}

/* UINT32_MAX: they are too many. */
static uint32_t find_heads(struct sch_query *q, struct head ret[LANES_MAX])
{
    const struct sch_partition *p = q->p;
    uint32_t count = 0;
    for (struct sch_link *at = p->classes.next; at != &p->classes; at = at->next) {
        const struct sch_class *class = sy_container_of(at, struct sch_class, link);
        if (class->waiting == 0)
            continue;
        for (struct sch_link *link = class->lanes.next; link != &class->lanes; link = link->next) {
            const struct sch_lane *lane = sy_container_of(link, struct sch_lane, link);
            if (lane->queue.waiting == 0)
                continue;
            if (count == LANES_MAX || !sch_query_step(q))
                return UINT32_MAX;
            ret[count] = (struct head){.lane = lane, .tenant = lane->seat.share};
            set_head(&ret[count++], first_after(lane, NULL));
        }
    }
    return count;
}

/* Who starts next and is before `own`; it has started then. */
static struct head *start_next(struct sch_query *q, struct left *left, struct head *heads,
                               uint32_t count, const struct head *own, bool own_waits)
{
    for (;;) {
        struct head *best = NULL;
        for (uint32_t i = 0; i < count; i++) {
            if (heads[i].action && sch_query_step(q) &&
                (!best || is_before(q, left, &heads[i], best)))
                best = &heads[i];
        }
        if (!best || (!own_waits && is_before(q, left, own, best)))
            return NULL;
        if (starts(q, left, best->lane))
            return best;
        best->action = NULL; /* what is left only gets less */
    }
}

bool sch_query_others_first(struct sch_query *q, const struct sch_explain_cluster *facts)
{
    struct head heads[LANES_MAX];
    struct head own = {.tenant = q->tenant, .priority = q->priority, .id = q->id};
    if (q->slot && q->e->slots_ahead > 0)
        return true;
    struct left left = left_of(q, facts);
    bool somebody = q->e->ahead.own > 0 || q->e->ahead.others > 0;
    uint32_t count = find_heads(q, heads);
    if (count == UINT32_MAX)
        return somebody;
    struct head *lane = NULL;
    for (uint32_t i = 0; i < count; i++)
        lane = heads[i].lane == q->lane ? &heads[i] : lane;
    for (unsigned i = 0; i < STARTS_MAX; i++) {
        bool own_waits = lane && lane->gone < q->e->ahead.own;
        if (lane && !own_waits)
            lane->action = NULL; /* from here on they are behind it */
        struct head *next = start_next(q, &left, heads, count, &own, own_waits);
        if (!next)
            return own_waits || (q->steps == 0 && somebody);
        pass(next);
        if (!action_fits(q, &left))
            return true;
    }
    return true;
}
