#include "scheduler/operator_impl.h"

#include <string.h>

/* What is there, or left, of everything that requests ask for. */
struct amounts {
    const struct sch_shape *shape;
    uint64_t gpus, cpu_milli, memory_bytes;
    const uint32_t *environment_used, *slices_used; /* NULL: nothing */
    const uint16_t *shares;
    uint32_t share_count;
};

static uint64_t left(uint64_t capacity, uint64_t used)
{
    return capacity > used ? capacity - used : 0;
}

/* -1: the shape has no such environment. */
static int find_environment(const struct sch_shape *shape, const char *name)
{
    for (uint32_t i = 0; i < shape->environment_count; i++) {
        if (strncmp(shape->environments[i].name, name, SCH_ENVIRONMENT_MAX) == 0)
            return (int)i;
    }
    return -1;
}

static uint64_t slots_left(const struct amounts *there, int environment)
{
    uint64_t slots = there->shape->environments[environment].slots;
    return left(slots, there->environment_used ? there->environment_used[environment] : 0);
}

static uint64_t slices_left(const struct amounts *there, int slices)
{
    uint64_t count = there->shape->traits.slices[slices].count;
    return left(count, there->slices_used ? there->slices_used[slices] : 0);
}

static struct amounts amounts_left(const struct sch_node *node)
{
    const struct sch_resources *capacity = &node->shape->shape.capacity;
    return (struct amounts){.shape = &node->shape->shape,
                            .gpus = left(capacity->gpus, node->used_gpus),
                            .cpu_milli = left(capacity->cpu_milli, node->used_cpu_milli),
                            .memory_bytes = left(capacity->memory_bytes, node->used_memory_bytes),
                            .environment_used = node->environment_used,
                            .slices_used = node->slices_used,
                            .shares = node->shares,
                            .share_count = node->share_count};
}

/* ---- how often a request fits ---- */

static uint64_t fits_in(uint64_t room, uint64_t request, uint64_t most)
{
    if (request == 0)
        return most;
    return room / request < most ? room / request : most;
}

static uint64_t shares_left(const struct amounts *there, uint32_t milli)
{
    uint64_t fits = there->gpus * (SCH_GPU_MILLI / milli);
    for (uint32_t i = 0; i < there->share_count; i++) {
        if (there->shares[i] > 0)
            fits += (SCH_GPU_MILLI - there->shares[i]) / milli;
    }
    return fits;
}

static uint64_t gpu_fits(const struct amounts *there, const struct sch_resources *request,
                         uint64_t most)
{
    if (request->gpu_partition[0]) {
        int slices = sch_traits_find_slices(&there->shape->traits, request->gpu_partition);
        return slices >= 0 ? fits_in(slices_left(there, slices), request->gpus, most) : 0;
    }
    if (request->gpu_milli > 0)
        return fits_in(shares_left(there, request->gpu_milli), 1, most);
    return fits_in(there->gpus, request->gpus, most);
}

static uint32_t fits(const struct amounts *there, const struct sch_resources *request)
{
    uint64_t most = SCH_FIT_ROOM_MAX;
    if (request->environment[0]) {
        int environment = find_environment(there->shape, request->environment);
        SY_ASSERT(environment >= 0);
        most = fits_in(slots_left(there, environment), 1, most);
    }
    most = fits_in(there->cpu_milli, request->cpu_milli, most);
    most = fits_in(there->memory_bytes, request->memory_bytes, most);
    return (uint32_t)gpu_fits(there, request, most);
}

uint32_t sch_shape_slots(const struct sch_shape *shape, const struct sch_resources *request)
{
    struct amounts all = {.shape = shape,
                          .gpus = shape->capacity.gpus,
                          .cpu_milli = shape->capacity.cpu_milli,
                          .memory_bytes = shape->capacity.memory_bytes};
    return sch_shape_fits(shape, request, NULL) ? fits(&all, request) : 0;
}

uint32_t sch_node_fits(const struct sch_node *node, const struct sch_resources *request)
{
    struct amounts there = amounts_left(node);
    SY_ASSERT(request);
    return sch_shape_fits(there.shape, request, NULL) ? fits(&there, request) : 0;
}

/* ---- as vectors ---- */

enum { GPUS, CPU, MEMORY, SHARE, FIXED };

static uint32_t slots_at(int environment)
{
    return FIXED + (uint32_t)environment;
}

static uint32_t warm_at(const struct sch_shape *shape, int environment)
{
    return FIXED + shape->environment_count + (uint32_t)environment;
}

static uint32_t slices_at(const struct sch_shape *shape, int slices)
{
    return FIXED + 2 * shape->environment_count + (uint32_t)slices;
}

uint32_t sch_room_dims(const struct sch_shape *shape)
{
    uint32_t dims = FIXED + 2 * shape->environment_count + shape->traits.slice_count;
    SY_ASSERT(dims <= SCH_FIT_DIMS_MAX);
    return dims;
}

static uint64_t most_left_of_one(const struct amounts *there)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < there->share_count; i++) {
        uint64_t here = there->shares[i] > 0 ? SCH_GPU_MILLI - there->shares[i] : 0;
        most = here > most ? here : most;
    }
    return most;
}

void sch_room_vector(const struct sch_node *node, uint64_t ret[SCH_FIT_DIMS_MAX])
{
    struct amounts there = amounts_left(node);
    ret[GPUS] = there.gpus;
    ret[CPU] = there.cpu_milli;
    ret[MEMORY] = there.memory_bytes;
    ret[SHARE] = most_left_of_one(&there);
    for (int i = 0; i < (int)there.shape->environment_count; i++) {
        uint64_t slots = slots_left(&there, i);
        uint64_t warm = left(node->environment_warm[i], node->environment_used[i]);
        ret[slots_at(i)] = slots;
        ret[warm_at(there.shape, i)] = warm < slots ? warm : slots;
    }
    for (int i = 0; i < (int)there.shape->traits.slice_count; i++)
        ret[slices_at(there.shape, i)] = slices_left(&there, i);
}

void sch_room_least(const struct sch_shape *shape, const struct sch_resources *request,
                    uint64_t ret[SCH_FIT_DIMS_MAX])
{
    memset(ret, 0, SCH_FIT_DIMS_MAX * sizeof(*ret));
    ret[CPU] = request->cpu_milli;
    ret[MEMORY] = request->memory_bytes;
    if (request->gpu_partition[0])
        ret[slices_at(shape, sch_traits_find_slices(&shape->traits, request->gpu_partition))] =
            request->gpus;
    else
        ret[GPUS] = request->gpu_milli > 0 ? 1 : request->gpus;
    if (request->environment[0])
        ret[slots_at(find_environment(shape, request->environment))] = 1;
}

void sch_room_widen(const struct sch_resources *request, uint64_t least[SCH_FIT_DIMS_MAX])
{
    if (request->gpu_milli > 0)
        least[GPUS] = 0;
}

bool sch_room_prefer(const struct sch_shape *shape, const struct sch_resources *request,
                     uint64_t least[SCH_FIT_DIMS_MAX])
{
    if (request->gpu_milli > 0) {
        least[GPUS] = 0;
        least[SHARE] = request->gpu_milli;
        return true;
    }
    if (!request->environment[0])
        return false;
    least[warm_at(shape, find_environment(shape, request->environment))] = 1;
    return true;
}

/* ---- using ---- */

/* The GPU that is used most and has it left; else one of which nothing is. */
static uint32_t choose_share(const struct sch_node *node, uint32_t milli)
{
    uint32_t best = node->share_count, unused = best;
    for (uint32_t i = 0; i < node->share_count; i++) {
        if (node->shares[i] == 0)
            unused = i;
        else if (node->shares[i] + milli <= SCH_GPU_MILLI &&
                 (best == node->share_count || node->shares[i] > node->shares[best]))
            best = i;
    }
    return best < node->share_count ? best : unused;
}

static void use_share(struct sch_node *node, struct sch_attempt *a, bool again)
{
    uint32_t milli = a->kind->request.gpu_milli;
    uint32_t share = again ? a->share : choose_share(node, milli);
    SY_ASSERT(share < UINT16_MAX && share <= node->share_count);
    if (share == node->share_count) {
        node->shares = sy_realloc(node->shares, ++node->share_count * sizeof(*node->shares));
        node->shares[share] = 0;
    }
    node->used_gpus += node->shares[share] == 0;
    node->shares[share] += (uint16_t)milli;
    a->share = (uint16_t)share;
}

static void unuse_share(struct sch_node *node, const struct sch_attempt *a)
{
    uint32_t milli = a->kind->request.gpu_milli;
    SY_ASSERT(a->share < node->share_count && node->shares[a->share] >= milli);
    node->shares[a->share] -= (uint16_t)milli;
    if (node->shares[a->share] > 0)
        return;
    SY_ASSERT(node->used_gpus > 0);
    node->used_gpus--;
}

static void add_environment(struct sch_node *node, const char *name, bool add)
{
    int at = name[0] ? find_environment(&node->shape->shape, name) : -1;
    if (at < 0) /* a new agent may have dropped it */
        return;
    SY_ASSERT(add || node->environment_used[at] > 0);
    node->environment_used[at] += add ? 1 : UINT32_MAX;
    if (node->environment_used[at] > node->environment_warm[at])
        node->environment_warm[at] = node->environment_used[at];
}

/* NULL: whole GPUs, or a profile that a new agent has dropped. */
static uint32_t *slices_used(struct sch_node *node, const struct sch_resources *request)
{
    int at = request->gpu_partition[0]
                 ? sch_traits_find_slices(&node->shape->shape.traits, request->gpu_partition)
                 : -1;
    return at >= 0 ? &node->slices_used[at] : NULL;
}

static void use(struct sch_node *node, struct sch_attempt *a, bool again)
{
    const struct sch_resources *request = &a->kind->request;
    uint32_t *slices = slices_used(node, request);
    node->used_cpu_milli += request->cpu_milli;
    node->used_memory_bytes += request->memory_bytes;
    if (slices)
        *slices += request->gpus;
    else if (request->gpu_milli > 0)
        use_share(node, a, again);
    else if (!request->gpu_partition[0])
        node->used_gpus += request->gpus;
    add_environment(node, request->environment, true);
}

void sch_node_use(struct sch_node *node, struct sch_attempt *a)
{
    use(node, a, false);
}

void sch_node_reuse(struct sch_node *node, struct sch_attempt *a)
{
    use(node, a, true);
}

void sch_node_unuse(struct sch_node *node, struct sch_attempt *a)
{
    const struct sch_resources *request = &a->kind->request;
    uint32_t *slices = slices_used(node, request);
    SY_ASSERT(node->used_cpu_milli >= request->cpu_milli);
    SY_ASSERT(node->used_memory_bytes >= request->memory_bytes);
    node->used_cpu_milli -= request->cpu_milli;
    node->used_memory_bytes -= request->memory_bytes;
    if (slices) {
        SY_ASSERT(*slices >= request->gpus);
        *slices -= request->gpus;
    } else if (request->gpu_milli > 0) {
        unuse_share(node, a);
    } else if (!request->gpu_partition[0]) {
        SY_ASSERT(node->used_gpus >= request->gpus);
        node->used_gpus -= request->gpus;
    }
    add_environment(node, request->environment, false);
}

uint32_t sch_node_fits_soon(struct sch_node *node, const struct sch_resources *request)
{
    struct sch_link *link;
    if (node->leaving == 0)
        return sch_node_fits(node, request);
    for (link = node->attempts.next; link != &node->attempts; link = link->next) {
        struct sch_attempt *a = sy_container_of(link, struct sch_attempt, place);
        if (a->charged && a->cancelled)
            sch_node_unuse(node, a);
    }
    uint32_t fits = sch_node_fits(node, request);
    for (link = node->attempts.next; link != &node->attempts; link = link->next) {
        struct sch_attempt *a = sy_container_of(link, struct sch_attempt, place);
        if (a->charged && a->cancelled)
            sch_node_reuse(node, a);
    }
    return fits;
}
