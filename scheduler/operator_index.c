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

static void group_unref(struct sch_operator *op, struct sch_op_group *group)
{
    SY_ASSERT(group->refs > 0);
    if (--group->refs > 0)
        return;
    SY_ASSERT(group->shape.nodes == 0);
    for (struct sch_link *link = op->kinds.next; link != &op->kinds; link = link->next)
        sch_kind_forget_group(sy_container_of(link, struct sch_kind, link), group);
    for (unsigned i = 0; i < SCH_TIERS; i++) {
        SY_ASSERT(group->tiers[i].ready == 0 && sch_fit_count(&group->tiers[i].fit) == 0);
        sch_heap_deinit(&group->tiers[i].over);
    }
    sch_table_remove(&op->groups_by_bytes, &group->by_bytes);
    sch_list_remove(&group->link);
    free(group);
}

/* Of nodes of that shape, with these labels instead of theirs; referenced. */
static struct sch_op_group *group_with(struct sch_operator *op, const struct sch_op_shape *shape,
                                       const char *labels)
{
    struct sch_shape wanted = shape->shape;
    memset(wanted.traits.labels, 0, sizeof(wanted.traits.labels));
    memcpy(wanted.traits.labels, labels, strlen(labels));
    struct sch_op_group *group = group_get(op, &wanted);
    group->refs++;
    return group;
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
    shape->group = group_with(op, shape, "");
    sch_table_add(&op->shapes_by_bytes, &shape->by_bytes, hash);
    sch_list_push_back(&op->shapes, &shape->link);
    return shape;
}

/* Where its nodes belong, by those of their labels that are asked for now; NULL: these are none. */
static struct sch_op_group *told(struct sch_operator *op, struct sch_op_shape *shape)
{
    struct sch_op_group *before = shape->told;
    char labels[SCH_NODE_LABELS_MAX];
    if (shape->seen == op->labels.serial)
        return before;
    shape->seen = op->labels.serial;
    sch_labels_asked(op, shape->shape.traits.labels, labels);
    if (strcmp(before ? before->shape.traits.labels : "", labels) == 0)
        return before;
    shape->told = labels[0] ? group_with(op, shape, labels) : NULL;
    if (before)
        group_unref(op, before);
    return shape->told;
}

static void shape_unref(struct sch_operator *op, struct sch_op_shape *shape)
{
    SY_ASSERT(shape->shape.nodes > 0);
    if (--shape->shape.nodes > 0)
        return;
    group_unref(op, shape->group);
    if (shape->told)
        group_unref(op, shape->told);
    sch_table_remove(&op->shapes_by_bytes, &shape->by_bytes);
    sch_list_remove(&shape->link);
    free(shape);
}

static void count_capacity(struct sch_operator *op, const struct sch_node *node, bool comes)
{
    struct sch_use all = sch_use_of(&node->shape->shape.capacity);
    all.actions = 0;
    if (comes)
        sch_use_add(&op->capacity, &all);
    else
        sch_use_subtract(&op->capacity, &all);
}

/* ---- a node in the indexes of its groups ---- */

bool sch_node_backlogs(const struct sch_operator *op, const struct sch_node *node)
{
    uint32_t most = sch_rate_backlog(&node->rate, op->now_ns);
    return node->backlog_count < (most < SCH_OP_BACKLOG_MAX ? most : SCH_OP_BACKLOG_MAX);
}

static void push_changed(struct sch_operator *op, struct sch_node *node)
{
    if (sch_link_in_list(&node->changed))
        return;
    sch_list_push_back(&op->changed, &node->changed);
    op->changed_count++;
}

void sch_node_changed(struct sch_operator *op, struct sch_node *node)
{
    SY_ASSERT(sch_node_state(node) != SCH_NODE_GONE || !sch_link_in_list(&node->changed));
    if (sch_node_state(node) != SCH_NODE_GONE)
        push_changed(op, node);
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

static bool place_is_in(const struct sch_place *place)
{
    return place->fit && place->fit->count > 0;
}

static void place_leave_tier(struct sch_place *place, int at)
{
    if (!place_is_in(place))
        return;
    struct sch_tier *tier = &place->group->tiers[at];
    SY_ASSERT(tier->ready > 0);
    tier->ready--;
    tier->version++;
    count_left(tier, place->fit, false);
    sch_fit_remove(&tier->fit, place->fit);
    sch_heap_remove(&tier->over, &place->over);
}

static void place_set(struct sch_operator *op, struct sch_place *place, const uint64_t *values)
{
    struct sch_tier *tier = &place->group->tiers[place->node->tier];
    tier->version++;
    if (place_is_in(place))
        count_left(tier, place->fit, false);
    else
        tier->ready++;
    sch_fit_set(&tier->fit, place->fit, values);
    count_left(tier, place->fit, true);
    if (sch_node_backlogs(op, place->node))
        sch_heap_set(&tier->over, &place->over, place->node->backlog_count);
    else
        sch_heap_remove(&tier->over, &place->over);
}

static void leave_tier(struct sch_node *node)
{
    place_leave_tier(&node->all, node->tier);
    place_leave_tier(&node->told, node->tier);
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
    uint64_t values[SCH_FIT_DIMS_MAX];
    node->tier = wanted;
    sch_room_vector(node, values);
    place_set(op, &node->all, values);
    if (node->told.group)
        place_set(op, &node->told, values);
}

void sch_index_sync(struct sch_operator *op)
{
    while (!sch_list_empty(&op->changed)) {
        struct sch_link *link = sch_list_pop(&op->changed);
        op->changed_count--;
        node_sync(op, sy_container_of(link, struct sch_node, changed));
    }
}

/* `group` NULL: into none. */
static void place_join(struct sch_node *node, struct sch_place *place, struct sch_op_group *group,
                       uint64_t tie)
{
    SY_ASSERT(!place->group);
    if (!group)
        return;
    place->group = group;
    group->refs++;
    group->shape.nodes++;
    place->node = node;
    place->fit = sch_fit_entry_new(group->tiers[0].fit.dims, tie, node);
    place->over.tie = (uint32_t)tie;
}

static void place_leave(struct sch_operator *op, struct sch_place *place, int tier)
{
    struct sch_op_group *group = place->group;
    if (!group)
        return;
    place_leave_tier(place, tier);
    free(sy_take(place->fit));
    place->group = NULL;
    group->shape.nodes--;
    group_unref(op, group);
}

void sch_node_leave_index(struct sch_operator *op, struct sch_node *node)
{
    if (sch_link_in_list(&node->changed)) {
        sch_list_remove(&node->changed);
        op->changed_count--;
    }
    if (sch_link_in_list(&node->freed))
        sch_list_remove(&node->freed);
    if (!node->shape)
        return;
    count_free(op, node, false);
    count_capacity(op, node, false);
    place_leave(op, &node->all, node->tier);
    place_leave(op, &node->told, node->tier);
    node->tier = -1;
    sch_list_remove(&node->by_seen);
    shape_unref(op, sy_take(node->shape));
}

void sch_node_set_shape(struct sch_operator *op, struct sch_node *node,
                        const struct sch_shape *wanted)
{
    struct sch_op_shape *shape = shape_get(op, wanted);
    if (shape != node->shape) {
        struct sch_op_group *by_labels = told(op, shape);
        shape->shape.nodes++;
        sch_node_leave_index(op, node);
        node->shape = shape;
        count_capacity(op, node, true);
        node->seen = op->labels.serial;
        sch_list_push_back(&op->labels.nodes, &node->by_seen);
        place_join(node, &node->all, shape->group, ++op->node_serial);
        place_join(node, &node->told, by_labels, op->node_serial);
    }
    sch_node_changed(op, node);
}

bool sch_node_regroup(struct sch_operator *op, struct sch_node *node)
{
    struct sch_op_group *group = told(op, node->shape);
    node->seen = op->labels.serial;
    if (group == node->told.group)
        return false;
    place_leave(op, &node->told, node->tier);
    place_join(node, &node->told, group, node->all.fit->tie);
    push_changed(op, node);
    return true;
}
