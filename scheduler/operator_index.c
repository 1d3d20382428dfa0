#include "scheduler/operator_impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- shapes and groups ---- */

static uint32_t shape_hash(const struct sch_shape *shape)
{
    uint64_t hash = sch_resources_hash(&shape->capacity);
    hash = sch_hash_bytes(&shape->traits, sizeof(shape->traits), hash);
    return (uint32_t)sch_hash_bytes(shape->environments, sizeof(shape->environments), hash);
}

static bool shapes_equal(const struct sch_shape *a, const struct sch_shape *b)
{
    return sch_resources_equal(&a->capacity, &b->capacity) &&
           memcmp(&a->traits, &b->traits, sizeof(a->traits)) == 0 &&
           memcmp(a->environments, b->environments, sizeof(a->environments)) == 0;
}

static struct sch_op_shape *shape_get(struct sch_operator *op, const struct sch_shape *wanted)
{
    uint32_t hash = shape_hash(wanted);
    struct sch_table_link *link = sch_table_first(&op->shapes_by_bytes, hash);
    for (; link; link = sch_table_next(link)) {
        struct sch_op_shape *shape = sy_container_of(link, struct sch_op_shape, by_bytes);
        if (shapes_equal(&shape->shape, wanted))
            return shape;
    }
    struct sch_op_shape *shape = sy_new(struct sch_op_shape);
    shape->shape = *wanted;
    shape->shape.nodes = 0;
    sch_table_add(&op->shapes_by_bytes, &shape->by_bytes, hash);
    sch_list_push_back(&op->shapes, &shape->link);
    return shape;
}

static struct sch_op_group *group_get(struct sch_operator *op, const struct sch_shape *wanted)
{
    uint32_t hash = shape_hash(wanted);
    struct sch_table_link *link = sch_table_first(&op->groups_by_bytes, hash);
    for (; link; link = sch_table_next(link)) {
        struct sch_op_group *group = sy_container_of(link, struct sch_op_group, by_bytes);
        if (shapes_equal(&group->shape, wanted))
            return group;
    }
    struct sch_op_group *group = sy_new(struct sch_op_group);
    group->shape = *wanted;
    group->shape.nodes = 0;
    group->serial = ++op->group_serial;
    for (unsigned i = 0; i < SCH_TIERS; i++)
        group->tiers[i].fit.dims = sch_room_dims(wanted);
    sch_table_add(&op->groups_by_bytes, &group->by_bytes, hash);
    sch_list_push_back(&op->groups, &group->link);
    return group;
}

static void kind_forget_group(struct sch_kind *kind, const struct sch_op_group *group)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < kind->group_count; i++) {
        if (kind->groups[i].group != group)
            kind->groups[kept++] = kind->groups[i];
    }
    if (kept == kind->group_count)
        return;
    kind->group_count = kept;
    free(sy_take(kind->domains));
}

static void group_unref(struct sch_operator *op, struct sch_op_group *group)
{
    SY_ASSERT(group->refs > 0);
    if (--group->refs > 0)
        return;
    SY_ASSERT(group->shape.nodes == 0);
    for (struct sch_link *link = op->kinds.next; link != &op->kinds; link = link->next)
        kind_forget_group(sy_container_of(link, struct sch_kind, link), group);
    for (unsigned i = 0; i < SCH_TIERS; i++) {
        SY_ASSERT(group->tiers[i].ready == 0 && sch_fit_count(&group->tiers[i].fit) == 0);
        sch_heap_deinit(&group->tiers[i].over);
    }
    sch_table_remove(&op->groups_by_bytes, &group->by_bytes);
    sch_list_remove(&group->link);
    free(group);
}

/* Where its nodes belong, by what is asked for now. */
static struct sch_op_group *group_of(struct sch_operator *op, struct sch_op_shape *shape)
{
    struct sch_op_group *before = shape->group;
    char labels[SCH_NODE_LABELS_MAX];
    if (before && shape->seen == op->labels.serial)
        return before;
    shape->seen = op->labels.serial;
    sch_labels_asked(op, shape->shape.traits.labels, labels);
    if (before && memcmp(before->shape.traits.labels, labels, sizeof(labels)) == 0)
        return before;
    struct sch_shape wanted = shape->shape;
    memcpy(wanted.traits.labels, labels, sizeof(labels));
    shape->group = group_get(op, &wanted);
    shape->group->refs++;
    if (before)
        group_unref(op, before);
    return shape->group;
}

static void shape_unref(struct sch_operator *op, struct sch_op_shape *shape)
{
    SY_ASSERT(shape->shape.nodes > 0);
    if (--shape->shape.nodes > 0)
        return;
    group_unref(op, shape->group);
    sch_table_remove(&op->shapes_by_bytes, &shape->by_bytes);
    sch_list_remove(&shape->link);
    free(shape);
}

/* ---- a node in the index of its group ---- */

bool sch_node_backlogs(const struct sch_operator *op, const struct sch_node *node)
{
    uint32_t most = sch_rate_backlog(&node->rate, op->now_ns);
    return node->backlog_count < (most < SCH_OP_BACKLOG_MAX ? most : SCH_OP_BACKLOG_MAX);
}

void sch_node_changed(struct sch_operator *op, struct sch_node *node)
{
    SY_ASSERT(sch_node_state(node) != SCH_NODE_GONE || !sch_link_in_list(&node->changed));
    if (sch_node_state(node) != SCH_NODE_GONE && !sch_link_in_list(&node->changed))
        sch_list_push_back(&op->changed, &node->changed);
    if (node->claim && !sch_link_in_list(&node->claim->changed))
        sch_list_push_back(&op->claims_touched, &node->claim->changed);
}

/* What is left of a node comes, or goes. */
static void count_left(struct sch_tier *tier, const struct sch_fit_entry *entry, bool comes)
{
    for (uint32_t d = 0; d < tier->fit.dims; d++) {
        SY_ASSERT(comes || tier->left[d] >= entry->values[d]);
        tier->left[d] += comes ? entry->values[d] : -entry->values[d];
    }
}

static void leave_tier(struct sch_node *node)
{
    if (node->tier < 0)
        return;
    struct sch_tier *tier = &node->group->tiers[node->tier];
    SY_ASSERT(tier->ready > 0);
    tier->ready--;
    tier->version++;
    count_left(tier, node->fit, false);
    sch_fit_remove(&tier->fit, node->fit);
    sch_heap_remove(&tier->over, &node->over);
    node->tier = -1;
}

static int tier_of(const struct sch_node *node)
{
    if (!sch_node_placeable(node))
        return -1;
    return node->health.state == SCH_HEALTH_AVOIDED ? SCH_TIER_AVOIDED : SCH_TIER_TRUSTED;
}

static uint64_t left(uint64_t capacity, uint64_t used)
{
    return capacity > used ? capacity - used : 0;
}

/* Of a GPU that is given in parts what is left counts too. */
static struct sch_amount free_of(const struct sch_node *node)
{
    const struct sch_resources *capacity = &node->shape->shape.capacity;
    struct sch_amount free = {.cpu_milli = left(capacity->cpu_milli, node->used_cpu_milli),
                              .memory_bytes = left(capacity->memory_bytes, node->used_memory_bytes),
                              .gpu_milli = left(capacity->gpus, node->used_gpus) * SCH_GPU_MILLI};
    for (uint32_t i = 0; i < node->share_count; i++)
        free.gpu_milli += node->shares[i] > 0 ? left(SCH_GPU_MILLI, node->shares[i]) : 0;
    return free;
}

static void count_free(struct sch_operator *op, struct sch_node *node, bool placeable)
{
    struct sch_amount now = placeable ? free_of(node) : (struct sch_amount){0};
    op->free.cpu_milli += now.cpu_milli - node->free.cpu_milli;
    op->free.memory_bytes += now.memory_bytes - node->free.memory_bytes;
    op->free.gpu_milli += now.gpu_milli - node->free.gpu_milli;
    node->free = now;
}

static void node_sync(struct sch_operator *op, struct sch_node *node)
{
    int wanted = tier_of(node);
    count_free(op, node, wanted >= 0);
    if (wanted != node->tier)
        leave_tier(node);
    if (wanted < 0)
        return;
    struct sch_tier *tier = &node->group->tiers[wanted];
    uint64_t values[SCH_FIT_DIMS_MAX];
    tier->ready += node->tier < 0;
    tier->version++;
    if (node->tier >= 0)
        count_left(tier, node->fit, false);
    node->tier = wanted;
    sch_room_vector(node, values);
    sch_fit_set(&tier->fit, node->fit, values);
    count_left(tier, node->fit, true);
    if (sch_node_backlogs(op, node))
        sch_heap_set(&tier->over, &node->over, node->backlog_count);
    else
        sch_heap_remove(&tier->over, &node->over);
}

void sch_index_sync(struct sch_operator *op)
{
    while (!sch_list_empty(&op->changed)) {
        struct sch_link *link = sch_list_pop(&op->changed);
        node_sync(op, sy_container_of(link, struct sch_node, changed));
    }
}

static void join_group(struct sch_operator *op, struct sch_node *node, struct sch_op_group *group)
{
    SY_ASSERT(!node->group && node->tier < 0);
    node->group = group;
    group->refs++;
    group->shape.nodes++;
    node->seen = op->labels.serial;
}

static void leave_group(struct sch_operator *op, struct sch_node *node)
{
    leave_tier(node);
    struct sch_op_group *group = sy_take(node->group);
    group->shape.nodes--;
    group_unref(op, group);
}

void sch_node_leave_index(struct sch_operator *op, struct sch_node *node)
{
    if (sch_link_in_list(&node->changed))
        sch_list_remove(&node->changed);
    if (sch_link_in_list(&node->freed))
        sch_list_remove(&node->freed);
    if (!node->shape)
        return;
    count_free(op, node, false);
    leave_group(op, node);
    sch_list_remove(&node->by_seen);
    free(sy_take(node->fit));
    shape_unref(op, sy_take(node->shape));
}

void sch_node_set_shape(struct sch_operator *op, struct sch_node *node,
                        const struct sch_shape *wanted)
{
    struct sch_op_shape *shape = shape_get(op, wanted);
    if (shape != node->shape) {
        struct sch_op_group *group = group_of(op, shape);
        shape->shape.nodes++;
        sch_node_leave_index(op, node);
        node->shape = shape;
        join_group(op, node, group);
        sch_list_push_back(&op->labels.nodes, &node->by_seen);
        node->fit = sch_fit_entry_new(node->group->tiers[0].fit.dims, ++op->node_serial, node);
        node->over.tie = (uint32_t)op->node_serial;
    }
    sch_node_changed(op, node);
}

/* Its entry stays: what can be left of it does not depend on labels. */
bool sch_node_regroup(struct sch_operator *op, struct sch_node *node)
{
    struct sch_op_group *group = group_of(op, node->shape);
    node->seen = op->labels.serial;
    if (group == node->group)
        return false;
    leave_group(op, node);
    join_group(op, node, group);
    if (!sch_link_in_list(&node->changed))
        sch_list_push_back(&op->changed, &node->changed);
    return true;
}

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
    if (sch_link_in_list(&kind->dirty))
        sch_list_remove(&kind->dirty);
    if (sch_link_in_list(&kind->unsure))
        sch_list_remove(&kind->unsure);
    if (sch_link_in_list(&kind->rated))
        sch_list_remove(&kind->rated);
    if (sch_link_in_list(&kind->ordered))
        sch_list_remove(&kind->ordered);
    sch_kind_unask(op, kind);
    sch_table_remove(&op->kinds_by_request, &kind->by_request);
    sch_list_remove(&kind->link);
    free(kind->domains);
    free(kind->groups);
    free(kind);
}

/* Whether nodes of this group are a last resort for it: cpu-only work leaves GPUs to others. */
static bool is_waste(const struct sch_kind *kind, const struct sch_op_group *group)
{
    return !sch_resources_has_gpu(&kind->request) &&
           (group->shape.capacity.gpus > 0 || group->shape.traits.slice_count > 0);
}

static void kind_add_group(struct sch_kind *kind, struct sch_op_group *group, uint32_t slots)
{
    if (kind->group_count == kind->group_cap) {
        kind->group_cap = kind->group_cap ? kind->group_cap * 2 : 4;
        kind->groups = sy_realloc(kind->groups, kind->group_cap * sizeof(*kind->groups));
    }
    free(sy_take(kind->domains));
    uint32_t at = kind->group_count++;
    for (; !is_waste(kind, group) && at > 0 && is_waste(kind, kind->groups[at - 1].group); at--)
        kind->groups[at] = kind->groups[at - 1];
    kind->groups[at] = (struct sch_kind_group){
        .group = group, .slots = slots, .most_version = UINT64_MAX, .counted_version = UINT64_MAX};
    sch_room_least(&group->shape, &kind->request, kind->groups[at].least);
}

/* Groups that came since it was used last. */
static void kind_sync_groups(struct sch_operator *op, struct sch_kind *kind)
{
    struct sch_link *link = op->groups.prev;
    if (!sch_kind_is_known(op, kind))
        return; /* it has none */
    while (link != &op->groups &&
           sy_container_of(link, struct sch_op_group, link)->serial > kind->groups_seen)
        link = link->prev;
    for (link = link->next; link != &op->groups; link = link->next) {
        struct sch_op_group *group = sy_container_of(link, struct sch_op_group, link);
        uint32_t slots = sch_shape_slots(&group->shape, &kind->request);
        if (slots > 0)
            kind_add_group(kind, group, slots);
        kind->groups_seen = group->serial;
    }
}

static uint32_t capable_in(const struct sch_kind *kind, enum sch_tier_id tier)
{
    uint32_t capable = 0;
    for (uint32_t i = 0; i < kind->group_count; i++)
        capable += kind->groups[i].group->tiers[tier].ready;
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
    sch_index_sync(op);
    kind_sync_groups(op, kind);
    enum sch_tier_id tier = tier_for(kind);
    kind->capable = capable_in(kind, tier);
    kind->room = 0;
    for (uint32_t i = 0; i < kind->group_count; i++) {
        const struct sch_fit *fit = &kind->groups[i].group->tiers[tier].fit;
        uint64_t share = kind->capable > 0
                             ? (uint64_t)SCH_OP_ROOM_BUDGET * sch_fit_count(fit) / kind->capable
                             : 0;
        kind->room += room_in(kind, &kind->groups[i], fit, (uint32_t)share + 1);
    }
}

void sch_kind_each_of(struct sch_kind *kind, uint32_t i, bool room,
                      bool (*fn)(void *ctx, void *node), void *ctx)
{
    const struct sch_fit *fit = &kind->groups[i].group->tiers[SCH_TIER_TRUSTED].fit;
    uint64_t least[SCH_FIT_DIMS_MAX] = {0};
    if (room) {
        memcpy(least, kind->groups[i].least, sizeof(least));
        sch_room_widen(&kind->request, least);
    }
    (void)sch_fit_each_last(fit, least, fn, ctx);
}

void sch_kind_each(struct sch_operator *op, struct sch_kind *kind, bool room,
                   bool (*fn)(void *ctx, void *node), void *ctx)
{
    sch_kind_groups(op, kind);
    for (uint32_t i = 0; i < kind->group_count; i++)
        sch_kind_each_of(kind, i, room, fn, ctx);
}

void sch_kind_groups(struct sch_operator *op, struct sch_kind *kind)
{
    sch_index_sync(op);
    kind_sync_groups(op, kind);
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
    struct sch_kind_group *on = &kind->groups[i];
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
    const struct sch_kind_group *on = &kind->groups[i];
    if (on->counted_version != on->group->tiers[SCH_TIER_TRUSTED].version ||
        (on->counted >= on->counted_max && on->counted < most))
        return false;
    *ret = on->counted;
    return true;
}

bool sch_kind_count(struct sch_operator *op, struct sch_kind *kind, uint32_t i, uint64_t most,
                    uint64_t *ret)
{
    struct sch_kind_group *on = &kind->groups[i];
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
    for (uint32_t i = 0; i < kind->group_count; i++) {
        const struct sch_kind_group *on = &kind->groups[i];
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
    sch_kind_groups(op, kind);
    for (uint32_t i = 0; i < kind->group_count; i++)
        slots += (uint64_t)kind->groups[i].slots *
                 kind->groups[i].group->tiers[SCH_TIER_TRUSTED].ready;
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
    for (uint32_t i = 0; i < kind->group_count; i++) {
        const struct sch_kind_group *on = &kind->groups[i];
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
           !sch_node_backlogs(op, sy_container_of(top, struct sch_node, over)))
        sch_heap_remove(&tier->over, top);
    return top;
}

/* The shortest backlog relative to how many the node holds. */
static struct sch_node *find_backlog(struct sch_operator *op, const struct sch_kind *kind,
                                     enum sch_tier_id tier)
{
    struct sch_node *best = NULL;
    int64_t best_key = 0;
    for (uint32_t i = 0; i < kind->group_count; i++) {
        const struct sch_kind_group *on = &kind->groups[i];
        struct sch_heap_entry *top = first_over(op, &on->group->tiers[tier]);
        if (!top)
            continue;
        int64_t key = (top->key << 20) / on->slots;
        if (best && (key > best_key || (key == best_key && top->tie > best->over.tie)))
            continue;
        best = sy_container_of(top, struct sch_node, over);
        best_key = key;
    }
    return best;
}

static bool has_room(const struct sch_kind *kind, const struct sch_kind_group *on,
                     const struct sch_node *node)
{
    uint64_t least[SCH_FIT_DIMS_MAX];
    uint32_t dims = sch_room_dims(&on->group->shape);
    if (sch_fit_enough(node->fit->values, on->least, dims))
        return true;
    memcpy(least, on->least, sizeof(least));
    return kind->request.gpu_milli > 0 &&
           sch_room_prefer(&on->group->shape, &kind->request, least) &&
           sch_fit_enough(node->fit->values, least, dims);
}

bool sch_kind_takes(struct sch_operator *op, struct sch_kind *kind, const struct sch_node *node)
{
    sch_index_sync(op);
    kind_sync_groups(op, kind);
    for (uint32_t i = 0; node->tier >= 0 && i < kind->group_count; i++) {
        if (kind->groups[i].group == node->group)
            return sch_node_backlogs(op, node) || has_room(kind, &kind->groups[i], node);
    }
    return false;
}

struct sch_node *sch_kind_choose(struct sch_operator *op, struct sch_kind *kind, bool *ret_room)
{
    sch_index_sync(op);
    kind_sync_groups(op, kind);
    enum sch_tier_id tier = tier_for(kind);
    struct sch_node *node = find_room(kind, tier, true);
    if (!node)
        node = find_room(kind, tier, false);
    *ret_room = node != NULL;
    return node ? node : find_backlog(op, kind, tier);
}
