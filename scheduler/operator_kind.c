#include "scheduler/operator_impl.h"

#include <stdlib.h>
#include <string.h>

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
        kind->decided = op->kinds_serial;
        sch_list_push_back(&op->kinds_decided, &kind->decision);
        sch_kind_ask(op, kind);
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
    sch_list_remove(&kind->decision);
    if (sch_link_in_list(&kind->unsure))
        sch_list_remove(&kind->unsure);
    if (sch_link_in_list(&kind->rated))
        sch_list_remove(&kind->rated);
    sch_kind_unask(op, kind);
    sch_table_remove(&op->kinds_by_request, &kind->by_request);
    sch_list_remove(&kind->link);
    sch_kind_forget_parts(kind);
    free(kind->groups.items);
    free(kind->parts.items);
    free(kind);
}

/* Whether nodes of this group are a last resort for it: cpu-only work leaves GPUs to others. */
static bool is_waste(const struct sch_kind *kind, const struct sch_op_group *group)
{
    return !sch_resources_has_gpu(&kind->request) &&
           (group->shape.capacity.gpus > 0 || group->shape.traits.slice_count > 0);
}

static void add_group(const struct sch_kind *kind, struct sch_kind_groups *to,
                      struct sch_op_group *group, uint32_t slots)
{
    if (to->count == to->cap) {
        to->cap = to->cap ? to->cap * 2 : 4;
        to->items = sy_realloc(to->items, to->cap * sizeof(*to->items));
    }
    uint32_t at = to->count++;
    for (; !is_waste(kind, group) && at > 0 && is_waste(kind, to->items[at - 1].group); at--)
        to->items[at] = to->items[at - 1];
    to->items[at] = (struct sch_kind_group){
        .group = group, .slots = slots, .most_version = UINT64_MAX, .counted_version = UINT64_MAX};
    sch_room_least(&group->shape, &kind->request, to->items[at].least);
}

/* Groups that came since: those told by labels, that have `key`; or for "" those that the request
 * is about. Returns whether there were some for it. */
static bool add_new(struct sch_operator *op, const struct sch_kind *kind, const char *key,
                    struct sch_kind_groups *to)
{
    bool told = key[0] || kind->request.labels[0];
    uint32_t before = to->count;
    struct sch_link *link = op->groups.prev;
    while (link != &op->groups &&
           sy_container_of(link, struct sch_op_group, link)->serial > to->seen)
        link = link->prev;
    for (link = link->next; link != &op->groups; link = link->next) {
        struct sch_op_group *group = sy_container_of(link, struct sch_op_group, link);
        to->seen = group->serial;
        if (told != sch_op_group_is_told(group) ||
            (key[0] && !sch_op_domain_of(&group->shape, key).data))
            continue;
        uint32_t slots = sch_shape_slots(&group->shape, &kind->request);
        if (slots > 0)
            add_group(kind, to, group, slots);
    }
    return to->count > before;
}

void sch_kind_look(struct sch_operator *op, struct sch_kind *kind)
{
    sch_index_sync(op);
    if (sch_kind_is_known(op, kind)) /* else it has none */
        (void)add_new(op, kind, "", &kind->groups);
}

void sch_kind_look_at_parts(struct sch_operator *op, struct sch_kind *kind)
{
    SY_ASSERT(kind->domain_key[0]);
    sch_index_sync(op);
    if (sch_kind_is_known(op, kind) && add_new(op, kind, kind->domain_key, &kind->parts))
        free(sy_take(kind->domains));
}

static bool forget(struct sch_kind_groups *groups, const struct sch_op_group *group)
{
    uint32_t kept = 0, before = groups->count;
    for (uint32_t i = 0; i < groups->count; i++) {
        if (groups->items[i].group != group)
            groups->items[kept++] = groups->items[i];
    }
    groups->count = kept;
    return kept < before;
}

void sch_kind_forget_group(struct sch_kind *kind, const struct sch_op_group *group)
{
    (void)forget(&kind->groups, group);
    if (forget(&kind->parts, group))
        free(sy_take(kind->domains));
}

void sch_kind_forget_parts(struct sch_kind *kind)
{
    kind->parts.count = 0;
    kind->parts.seen = 0;
    free(sy_take(kind->domains));
}

static uint32_t capable_in(const struct sch_kind *kind, enum sch_tier_id tier)
{
    uint32_t capable = 0;
    for (uint32_t i = 0; i < kind->groups.count; i++)
        capable += kind->groups.items[i].group->tiers[tier].ready;
    return capable;
}

static enum sch_tier_id tier_for(const struct sch_kind *kind)
{
    return capable_in(kind, SCH_TIER_TRUSTED) > 0 ? SCH_TIER_TRUSTED : SCH_TIER_AVOIDED;
}

/* A share fits several times on each free GPU, and beside others on those that are shared. */
static uint64_t room_in(const struct sch_kind *kind, const struct sch_kind_group *on,
                        const struct sch_fit *fit, uint32_t budget)
{
    uint64_t room = sch_fit_room(fit, on->least, budget);
    uint32_t milli = kind->request.gpu_milli;
    if (milli == 0)
        return room;
    uint64_t shared[SCH_FIT_DIMS_MAX];
    memcpy(shared, on->least, sizeof(shared));
    sch_room_prefer(&on->group->shape, &kind->request, shared);
    return room * (SCH_GPU_MILLI / milli) + sch_fit_room(fit, shared, budget);
}

void sch_kind_sync(struct sch_operator *op, struct sch_kind *kind)
{
    sch_kind_look(op, kind);
    enum sch_tier_id tier = tier_for(kind);
    kind->capable = capable_in(kind, tier);
    kind->room = 0;
    for (uint32_t i = 0; i < kind->groups.count; i++) {
        const struct sch_fit *fit = &kind->groups.items[i].group->tiers[tier].fit;
        uint64_t share = kind->capable > 0
                             ? (uint64_t)SCH_OP_ROOM_BUDGET * sch_fit_count(fit) / kind->capable
                             : 0;
        kind->room += room_in(kind, &kind->groups.items[i], fit, (uint32_t)share + 1);
    }
}

static void each_of(const struct sch_kind *kind, const struct sch_kind_group *on, bool room,
                    bool (*fn)(void *ctx, void *node), void *ctx)
{
    uint64_t least[SCH_FIT_DIMS_MAX] = {0};
    if (room) {
        memcpy(least, on->least, sizeof(least));
        sch_room_widen(&kind->request, least);
    }
    (void)sch_fit_each_last(&on->group->tiers[SCH_TIER_TRUSTED].fit, least, fn, ctx);
}

void sch_kind_each_of(struct sch_kind *kind, uint32_t i, bool room,
                      bool (*fn)(void *ctx, void *node), void *ctx)
{
    SY_ASSERT(i < kind->parts.count);
    each_of(kind, &kind->parts.items[i], room, fn, ctx);
}

void sch_kind_each(struct sch_operator *op, struct sch_kind *kind, bool room,
                   bool (*fn)(void *ctx, void *node), void *ctx)
{
    sch_kind_look(op, kind);
    for (uint32_t i = 0; i < kind->groups.count; i++)
        each_of(kind, &kind->groups.items[i], room, fn, ctx);
}

static uint64_t fits_most(const struct sch_kind *kind, const struct sch_kind_group *on)
{
    const struct sch_tier *tier = &on->group->tiers[SCH_TIER_TRUSTED];
    uint64_t least[SCH_FIT_DIMS_MAX], most = tier->fit.root ? UINT32_MAX : 0;
    memcpy(least, on->least, sizeof(least));
    sch_room_widen(&kind->request, least);
    for (uint32_t d = 0; d < tier->fit.dims; d++) {
        if (least[d] > 0 && tier->left[d] / least[d] < most)
            most = tier->left[d] / least[d];
    }
    return most;
}

uint64_t sch_kind_fits_most(struct sch_kind *kind, uint32_t i)
{
    struct sch_kind_group *on = &kind->parts.items[i];
    uint64_t version = on->group->tiers[SCH_TIER_TRUSTED].version;
    if (on->most_version != version) {
        on->most = fits_most(kind, on);
        on->most_version = version;
    }
    return on->most;
}

struct counting {
    struct sch_operator *op; /* NULL: nobody counts the looks */
    const struct sch_resources *request;
    uint64_t found, most;
};

static bool count_node(void *ctx, void *owner)
{
    struct counting *counting = ctx;
    const struct sch_node *node = owner;
    if (counting->op)
        counting->op->looks++;
    if (node->backlog_count == 0)
        counting->found += sch_node_fits(node, counting->request);
    return counting->found < counting->most;
}

static uint64_t count_nodes(struct sch_operator *op, const struct sch_kind *kind,
                            const struct sch_kind_group *on, uint64_t most)
{
    struct counting counting = {.op = op, .request = &kind->request, .most = most};
    uint64_t least[SCH_FIT_DIMS_MAX];
    memcpy(least, on->least, sizeof(least));
    sch_room_widen(&kind->request, least);
    (void)sch_fit_each_last(&on->group->tiers[SCH_TIER_TRUSTED].fit, least, count_node, &counting);
    return counting.found;
}

bool sch_kind_counted(const struct sch_kind *kind, uint32_t i, uint64_t most, uint64_t *ret)
{
    const struct sch_kind_group *on = &kind->parts.items[i];
    if (on->counted_version != on->group->tiers[SCH_TIER_TRUSTED].version ||
        (on->counted >= on->counted_max && on->counted < most))
        return false;
    *ret = on->counted;
    return true;
}

bool sch_kind_count(struct sch_operator *op, struct sch_kind *kind, uint32_t i, uint64_t most,
                    uint64_t *ret)
{
    struct sch_kind_group *on = &kind->parts.items[i];
    SY_ASSERT(most > 0 && sch_list_empty(&op->changed));
    if (sch_kind_counted(kind, i, most, ret))
        return true;
    if (op->looks >= SCH_OP_GANG_LOOKS) {
        op->gangs_later = true;
        return false;
    }
    on->counted_version = on->group->tiers[SCH_TIER_TRUSTED].version;
    on->counted_max = most;
    on->counted = count_nodes(op, kind, on, most);
    *ret = on->counted;
    return true;
}

/* Counted again, it is as much. */
void sch_kind_count_check(struct sch_kind *kind)
{
    for (uint32_t i = 0; i < kind->parts.count; i++) {
        const struct sch_kind_group *on = &kind->parts.items[i];
        SY_ASSERT(sch_kind_fits_most(kind, i) == fits_most(kind, on));
        if (on->counted_version != on->group->tiers[SCH_TIER_TRUSTED].version)
            continue;
        uint64_t now = count_nodes(NULL, kind, on, UINT64_MAX);
        SY_ASSERT(on->counted < on->counted_max ? now == on->counted : now >= on->counted);
        SY_ASSERT(now <= sch_kind_fits_most(kind, i));
    }
}

uint64_t sch_kind_slots(struct sch_operator *op, struct sch_kind *kind)
{
    uint64_t slots = 0;
    sch_kind_look(op, kind);
    for (uint32_t i = 0; i < kind->groups.count; i++)
        slots += (uint64_t)kind->groups.items[i].slots *
                 kind->groups.items[i].group->tiers[SCH_TIER_TRUSTED].ready;
    return slots;
}

/* ---- choosing ---- */

/* Fewest free GPUs first, then least free cpu: what is nearly full fills up, what is empty stays
 * whole. Then by age, as within a group. */
static bool better(const struct sch_fit_entry *a, const struct sch_fit_entry *b)
{
    if (!a || !b)
        return a != NULL;
    if (a->values[0] != b->values[0])
        return a->values[0] < b->values[0];
    return a->values[1] != b->values[1] ? a->values[1] < b->values[1] : a->tie < b->tie;
}

/* `preferring`: only where a worker is warm, or a GPU shared already. */
static struct sch_node *find_room(const struct sch_kind *kind, enum sch_tier_id tier,
                                  bool preferring)
{
    const struct sch_fit_entry *best = NULL;
    bool waste = false; /* they are the last */
    for (uint32_t i = 0; i < kind->groups.count; i++) {
        const struct sch_kind_group *on = &kind->groups.items[i];
        if (best && !waste && is_waste(kind, on->group))
            break;
        waste = is_waste(kind, on->group);
        uint64_t least[SCH_FIT_DIMS_MAX];
        const uint64_t *asked = on->least;
        if (preferring) {
            memcpy(least, on->least, sizeof(least));
            if (!sch_room_prefer(&on->group->shape, &kind->request, least))
                return NULL;
            asked = least;
        }
        const struct sch_fit_entry *found = sch_fit_find(&on->group->tiers[tier].fit, asked);
        best = better(found, best) ? found : best;
    }
    return best ? best->owner : NULL;
}

/* Of those that still take something: what ended there is forgotten with time. */
static struct sch_heap_entry *first_over(struct sch_operator *op, struct sch_tier *tier)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&tier->over)) &&
           !sch_node_backlogs(op, sy_container_of(top, struct sch_place, over)->node))
        sch_heap_remove(&tier->over, top);
    return top;
}

/* The shortest backlog relative to how many the node holds. */
static struct sch_node *find_backlog(struct sch_operator *op, const struct sch_kind *kind,
                                     enum sch_tier_id tier)
{
    struct sch_node *best = NULL;
    int64_t best_key = 0;
    for (uint32_t i = 0; i < kind->groups.count; i++) {
        const struct sch_kind_group *on = &kind->groups.items[i];
        struct sch_heap_entry *top = first_over(op, &on->group->tiers[tier]);
        if (!top)
            continue;
        int64_t key = (top->key << 20) / on->slots;
        if (best && (key > best_key || (key == best_key && top->tie > best->all.over.tie)))
            continue;
        best = sy_container_of(top, struct sch_place, over)->node;
        best_key = key;
    }
    return best;
}

static bool has_room(const struct sch_kind *kind, const struct sch_kind_group *on,
                     const struct sch_node *node)
{
    uint64_t least[SCH_FIT_DIMS_MAX];
    uint32_t dims = sch_room_dims(&on->group->shape);
    if (sch_fit_enough(node->all.fit->values, on->least, dims))
        return true;
    memcpy(least, on->least, sizeof(least));
    return kind->request.gpu_milli > 0 &&
           sch_room_prefer(&on->group->shape, &kind->request, least) &&
           sch_fit_enough(node->all.fit->values, least, dims);
}

bool sch_kind_takes(struct sch_operator *op, struct sch_kind *kind, const struct sch_node *node)
{
    sch_kind_look(op, kind);
    const struct sch_op_group *group = kind->request.labels[0] ? node->told.group : node->all.group;
    for (uint32_t i = 0; node->tier >= 0 && i < kind->groups.count; i++) {
        if (kind->groups.items[i].group == group)
            return sch_node_backlogs(op, node) || has_room(kind, &kind->groups.items[i], node);
    }
    return false;
}

struct sch_node *sch_kind_choose(struct sch_operator *op, struct sch_kind *kind, bool *ret_room)
{
    sch_kind_look(op, kind);
    enum sch_tier_id tier = tier_for(kind);
    struct sch_node *node = find_room(kind, tier, true);
    if (!node)
        node = find_room(kind, tier, false);
    *ret_room = node != NULL;
    return node ? node : find_backlog(op, kind, tier);
}
