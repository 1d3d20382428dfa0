#include "scheduler/operator_impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- shapes ---- */

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
    shape->serial = ++op->shape_serial;
    for (unsigned i = 0; i < SCH_TIERS; i++)
        shape->tiers[i].fit.dims = sch_room_dims(wanted);
    sch_table_add(&op->shapes_by_bytes, &shape->by_bytes, hash);
    sch_list_push_back(&op->shapes, &shape->link);
    return shape;
}

static void kind_forget_shape(struct sch_kind *kind, const struct sch_op_shape *shape)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < kind->shape_count; i++) {
        if (kind->shapes[i].shape != shape)
            kind->shapes[kept++] = kind->shapes[i];
    }
    kind->shape_count = kept;
    free(sy_take(kind->domains));
}

static void shape_free(struct sch_operator *op, struct sch_op_shape *shape)
{
    for (struct sch_link *link = op->kinds.next; link != &op->kinds; link = link->next)
        kind_forget_shape(sy_container_of(link, struct sch_kind, link), shape);
    for (unsigned i = 0; i < SCH_TIERS; i++) {
        SY_ASSERT(shape->tiers[i].ready == 0 && sch_fit_count(&shape->tiers[i].fit) == 0);
        sch_heap_deinit(&shape->tiers[i].over);
    }
    sch_table_remove(&op->shapes_by_bytes, &shape->by_bytes);
    sch_list_remove(&shape->link);
    free(shape);
}

/* ---- a node in the index of its shape ---- */

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
    struct sch_tier *tier = &node->shape->tiers[node->tier];
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
    struct sch_tier *tier = &node->shape->tiers[wanted];
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

void sch_node_leave_index(struct sch_operator *op, struct sch_node *node)
{
    if (sch_link_in_list(&node->changed))
        sch_list_remove(&node->changed);
    if (sch_link_in_list(&node->freed))
        sch_list_remove(&node->freed);
    if (!node->shape)
        return;
    count_free(op, node, false);
    leave_tier(node);
    free(sy_take(node->fit));
    struct sch_op_shape *shape = sy_take(node->shape);
    if (--shape->shape.nodes == 0)
        shape_free(op, shape);
}

void sch_node_set_shape(struct sch_operator *op, struct sch_node *node,
                        const struct sch_shape *wanted)
{
    struct sch_op_shape *shape = shape_get(op, wanted);
    if (shape != node->shape) {
        shape->shape.nodes++;
        sch_node_leave_index(op, node);
        node->shape = shape;
        node->fit = sch_fit_entry_new(shape->tiers[0].fit.dims, ++op->node_serial, node);
        node->over.tie = (uint32_t)op->node_serial;
    }
    sch_node_changed(op, node);
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
    sch_table_remove(&op->kinds_by_request, &kind->by_request);
    sch_list_remove(&kind->link);
    free(kind->domains);
    free(kind->shapes);
    free(kind);
}

/* Whether nodes of this shape are a last resort for it: cpu-only work leaves GPUs to others. */
static bool is_waste(const struct sch_kind *kind, const struct sch_op_shape *shape)
{
    return !sch_resources_has_gpu(&kind->request) &&
           (shape->shape.capacity.gpus > 0 || shape->shape.traits.slice_count > 0);
}

static void kind_add_shape(struct sch_kind *kind, struct sch_op_shape *shape, uint32_t slots)
{
    if (kind->shape_count == kind->shape_cap) {
        kind->shape_cap = kind->shape_cap ? kind->shape_cap * 2 : 4;
        kind->shapes = sy_realloc(kind->shapes, kind->shape_cap * sizeof(*kind->shapes));
    }
    free(sy_take(kind->domains));
    uint32_t at = kind->shape_count++;
    for (; !is_waste(kind, shape) && at > 0 && is_waste(kind, kind->shapes[at - 1].shape); at--)
        kind->shapes[at] = kind->shapes[at - 1];
    kind->shapes[at] = (struct sch_kind_shape){
        .shape = shape, .slots = slots, .most_version = UINT64_MAX, .counted_version = UINT64_MAX};
    sch_room_least(&shape->shape, &kind->request, kind->shapes[at].least);
}

/* Shapes that came since it was used last. */
static void kind_sync_shapes(struct sch_operator *op, struct sch_kind *kind)
{
    struct sch_link *link = op->shapes.prev;
    while (link != &op->shapes &&
           sy_container_of(link, struct sch_op_shape, link)->serial > kind->shapes_seen)
        link = link->prev;
    for (link = link->next; link != &op->shapes; link = link->next) {
        struct sch_op_shape *shape = sy_container_of(link, struct sch_op_shape, link);
        uint32_t slots = sch_shape_slots(&shape->shape, &kind->request);
        if (slots > 0)
            kind_add_shape(kind, shape, slots);
        kind->shapes_seen = shape->serial;
    }
}

static uint32_t capable_in(const struct sch_kind *kind, enum sch_tier_id tier)
{
    uint32_t capable = 0;
    for (uint32_t i = 0; i < kind->shape_count; i++)
        capable += kind->shapes[i].shape->tiers[tier].ready;
    return capable;
}

static enum sch_tier_id tier_for(const struct sch_kind *kind)
{
    return capable_in(kind, SCH_TIER_TRUSTED) > 0 ? SCH_TIER_TRUSTED : SCH_TIER_AVOIDED;
}

/* A share fits several times on each free GPU, and beside others on those that are shared. */
static uint64_t room_in(const struct sch_kind *kind, const struct sch_kind_shape *on,
                        const struct sch_fit *fit, uint32_t budget)
{
    uint64_t room = sch_fit_room(fit, on->least, budget);
    uint32_t milli = kind->request.gpu_milli;
    if (milli == 0)
        return room;
    uint64_t shared[SCH_FIT_DIMS_MAX];
    memcpy(shared, on->least, sizeof(shared));
    sch_room_prefer(&on->shape->shape, &kind->request, shared);
    return room * (SCH_GPU_MILLI / milli) + sch_fit_room(fit, shared, budget);
}

void sch_kind_sync(struct sch_operator *op, struct sch_kind *kind)
{
    sch_index_sync(op);
    kind_sync_shapes(op, kind);
    enum sch_tier_id tier = tier_for(kind);
    kind->capable = capable_in(kind, tier);
    kind->room = 0;
    for (uint32_t i = 0; i < kind->shape_count; i++) {
        const struct sch_fit *fit = &kind->shapes[i].shape->tiers[tier].fit;
        uint64_t share = kind->capable > 0
                             ? (uint64_t)SCH_OP_ROOM_BUDGET * sch_fit_count(fit) / kind->capable
                             : 0;
        kind->room += room_in(kind, &kind->shapes[i], fit, (uint32_t)share + 1);
    }
}

void sch_kind_each_of(struct sch_kind *kind, uint32_t i, bool room,
                      bool (*fn)(void *ctx, void *node), void *ctx)
{
    const struct sch_fit *fit = &kind->shapes[i].shape->tiers[SCH_TIER_TRUSTED].fit;
    uint64_t least[SCH_FIT_DIMS_MAX] = {0};
    if (room) {
        memcpy(least, kind->shapes[i].least, sizeof(least));
        sch_room_widen(&kind->request, least);
    }
    (void)sch_fit_each_last(fit, least, fn, ctx);
}

void sch_kind_each(struct sch_operator *op, struct sch_kind *kind, bool room,
                   bool (*fn)(void *ctx, void *node), void *ctx)
{
    sch_kind_shapes(op, kind);
    for (uint32_t i = 0; i < kind->shape_count; i++)
        sch_kind_each_of(kind, i, room, fn, ctx);
}

void sch_kind_shapes(struct sch_operator *op, struct sch_kind *kind)
{
    sch_index_sync(op);
    kind_sync_shapes(op, kind);
}

static uint64_t fits_most(const struct sch_kind *kind, const struct sch_kind_shape *on)
{
    const struct sch_tier *tier = &on->shape->tiers[SCH_TIER_TRUSTED];
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
    struct sch_kind_shape *on = &kind->shapes[i];
    uint64_t version = on->shape->tiers[SCH_TIER_TRUSTED].version;
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
                            const struct sch_kind_shape *on, uint64_t most)
{
    struct counting counting = {.op = op, .request = &kind->request, .most = most};
    uint64_t least[SCH_FIT_DIMS_MAX];
    memcpy(least, on->least, sizeof(least));
    sch_room_widen(&kind->request, least);
    (void)sch_fit_each_last(&on->shape->tiers[SCH_TIER_TRUSTED].fit, least, count_node, &counting);
    return counting.found;
}

bool sch_kind_counted(const struct sch_kind *kind, uint32_t i, uint64_t most, uint64_t *ret)
{
    const struct sch_kind_shape *on = &kind->shapes[i];
    if (on->counted_version != on->shape->tiers[SCH_TIER_TRUSTED].version ||
        (on->counted >= on->counted_max && on->counted < most))
        return false;
    *ret = on->counted;
    return true;
}

bool sch_kind_count(struct sch_operator *op, struct sch_kind *kind, uint32_t i, uint64_t most,
                    uint64_t *ret)
{
    struct sch_kind_shape *on = &kind->shapes[i];
    SY_ASSERT(most > 0 && sch_list_empty(&op->changed));
    if (sch_kind_counted(kind, i, most, ret))
        return true;
    if (op->looks >= SCH_OP_GANG_LOOKS) {
        op->gangs_later = true;
        return false;
    }
    on->counted_version = on->shape->tiers[SCH_TIER_TRUSTED].version;
    on->counted_max = most;
    on->counted = count_nodes(op, kind, on, most);
    *ret = on->counted;
    return true;
}

/* Counted again, it is as much. */
void sch_kind_count_check(struct sch_kind *kind)
{
    for (uint32_t i = 0; i < kind->shape_count; i++) {
        const struct sch_kind_shape *on = &kind->shapes[i];
        SY_ASSERT(sch_kind_fits_most(kind, i) == fits_most(kind, on));
        if (on->counted_version != on->shape->tiers[SCH_TIER_TRUSTED].version)
            continue;
        uint64_t now = count_nodes(NULL, kind, on, UINT64_MAX);
        SY_ASSERT(on->counted < on->counted_max ? now == on->counted : now >= on->counted);
        SY_ASSERT(now <= sch_kind_fits_most(kind, i));
    }
}

uint64_t sch_kind_slots(struct sch_operator *op, struct sch_kind *kind)
{
    uint64_t slots = 0;
    sch_kind_shapes(op, kind);
    for (uint32_t i = 0; i < kind->shape_count; i++)
        slots += (uint64_t)kind->shapes[i].slots *
                 kind->shapes[i].shape->tiers[SCH_TIER_TRUSTED].ready;
    return slots;
}

/* ---- choosing ---- */

/* Fewest free GPUs first, then least free cpu: what is nearly full fills up, what is empty stays
 * whole. */
static bool better(const struct sch_fit_entry *a, const struct sch_fit_entry *b)
{
    if (!a || !b)
        return a != NULL;
    return a->values[0] != b->values[0] ? a->values[0] < b->values[0] : a->values[1] < b->values[1];
}

/* `preferring`: only where a worker is warm, or a GPU shared already. */
static struct sch_node *find_room(const struct sch_kind *kind, enum sch_tier_id tier,
                                  bool preferring)
{
    const struct sch_fit_entry *best = NULL;
    for (uint32_t i = 0; i < kind->shape_count; i++) {
        const struct sch_kind_shape *on = &kind->shapes[i];
        if (best && is_waste(kind, on->shape))
            break; /* they are the last */
        uint64_t least[SCH_FIT_DIMS_MAX];
        const uint64_t *asked = on->least;
        if (preferring) {
            memcpy(least, on->least, sizeof(least));
            if (!sch_room_prefer(&on->shape->shape, &kind->request, least))
                return NULL;
            asked = least;
        }
        const struct sch_fit_entry *found = sch_fit_find(&on->shape->tiers[tier].fit, asked);
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
    for (uint32_t i = 0; i < kind->shape_count; i++) {
        const struct sch_kind_shape *on = &kind->shapes[i];
        struct sch_heap_entry *top = first_over(op, &on->shape->tiers[tier]);
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

static bool has_room(const struct sch_kind *kind, const struct sch_kind_shape *on,
                     const struct sch_node *node)
{
    uint64_t least[SCH_FIT_DIMS_MAX];
    uint32_t dims = sch_room_dims(&on->shape->shape);
    if (sch_fit_enough(node->fit->values, on->least, dims))
        return true;
    memcpy(least, on->least, sizeof(least));
    return kind->request.gpu_milli > 0 &&
           sch_room_prefer(&on->shape->shape, &kind->request, least) &&
           sch_fit_enough(node->fit->values, least, dims);
}

bool sch_kind_takes(struct sch_operator *op, struct sch_kind *kind, const struct sch_node *node)
{
    sch_index_sync(op);
    kind_sync_shapes(op, kind);
    for (uint32_t i = 0; node->tier >= 0 && i < kind->shape_count; i++) {
        if (kind->shapes[i].shape == node->shape)
            return sch_node_backlogs(op, node) || has_room(kind, &kind->shapes[i], node);
    }
    return false;
}

struct sch_node *sch_kind_choose(struct sch_operator *op, struct sch_kind *kind, bool *ret_room)
{
    sch_index_sync(op);
    kind_sync_shapes(op, kind);
    enum sch_tier_id tier = tier_for(kind);
    struct sch_node *node = find_room(kind, tier, true);
    if (!node)
        node = find_room(kind, tier, false);
    *ret_room = node != NULL;
    return node ? node : find_backlog(op, kind, tier);
}
