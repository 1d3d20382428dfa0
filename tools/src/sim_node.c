#include "tools/src/sim_node.h"

#include "base/error.h"
#include "scheduler/labels.h"

#include <string.h>

/* ---- GPUs ---- */

static bool by_number(const struct sch_resources *request)
{
    return request->gpus > 0 && !request->gpu_partition[0];
}

static bool told_apart(const struct sim_node *node, const struct sch_resources *request)
{
    return node->traits->gpus_shared && (by_number(request) || request->gpu_milli > 0);
}

/* With room for the part, or the whole; the one that is used most; -1: none. */
static int choose(const struct sim_node *node, uint32_t milli, uint64_t taken)
{
    int best = -1;
    for (uint32_t i = 0; i < node->capacity.gpus; i++) {
        bool room = node->parts[i] + milli <= SCH_GPU_MILLI && !(taken >> i & 1);
        if (room && (best < 0 || node->parts[i] > node->parts[best]))
            best = (int)i;
    }
    return best;
}

/* A bit for each; 0: there are not as many. */
static uint64_t choose_all(const struct sim_node *node, const struct sch_resources *request)
{
    uint32_t milli = request->gpu_milli > 0 ? request->gpu_milli : SCH_GPU_MILLI;
    uint64_t gpus = 0;
    for (uint32_t i = 0; i < (request->gpu_milli > 0 ? 1 : request->gpus); i++) {
        int next = choose(node, milli, gpus);
        if (next < 0)
            return 0;
        gpus |= UINT64_C(1) << next;
    }
    return gpus;
}

static bool has_slices(const struct sim_node *node, const struct sch_resources *request, bool empty)
{
    int at = sch_traits_find_slices(node->traits, request->gpu_partition);
    uint32_t used = at >= 0 && !empty ? node->slices_used[at] : 0;
    return at >= 0 && used + request->gpus <= node->traits->slices[at].count;
}

bool sim_node_has_gpus(const struct sim_node *node, const struct sch_resources *request, bool empty)
{
    if (!sch_resources_has_gpu(request))
        return true;
    if (request->gpu_model[0] &&
        strncmp(request->gpu_model, node->capacity.gpu_model, SCH_GPU_MODEL_MAX) != 0)
        return false;
    if (request->gpu_partition[0])
        return has_slices(node, request, empty);
    if (request->gpu_milli > 0 && !node->traits->gpus_shared)
        return false;
    if (empty)
        return (request->gpus > 0 ? request->gpus : 1) <= node->capacity.gpus;
    return told_apart(node, request) ? choose_all(node, request) != 0
                                     : node->used.gpus + request->gpus <= node->capacity.gpus;
}

static void use_gpus(struct sim_node *node, const struct sch_resources *request, uint64_t gpus,
                     bool more)
{
    uint32_t part = request->gpu_milli > 0 ? request->gpu_milli : SCH_GPU_MILLI;
    for (uint32_t i = 0; i < SIM_SHARED_GPUS_MAX; i++) {
        if (!(gpus >> i & 1))
            continue;
        SY_ASSERT(more ? node->parts[i] + part <= SCH_GPU_MILLI : node->parts[i] >= part);
        node->parts[i] = (uint16_t)(more ? node->parts[i] + part : node->parts[i] - part);
    }
}

static uint32_t moved(uint32_t amount, uint32_t by, bool more)
{
    SY_ASSERT(more || amount >= by);
    return more ? amount + by : amount - by;
}

double sim_node_free_gpus(const struct sim_node *node)
{
    double used = node->used.gpus;
    for (uint32_t i = 0; i < SIM_SHARED_GPUS_MAX && node->traits->gpus_shared; i++)
        used += node->parts[i] / (double)SCH_GPU_MILLI;
    return node->capacity.gpus - used;
}

/* ---- all of it ---- */

bool sim_node_fits(const struct sim_node *node, const struct sch_resources *request, bool empty)
{
    uint32_t cpu_milli = empty ? 0 : node->used.cpu_milli;
    uint64_t memory_bytes = empty ? 0 : node->used.memory_bytes;
    return cpu_milli + request->cpu_milli <= node->capacity.cpu_milli &&
           memory_bytes + request->memory_bytes <= node->capacity.memory_bytes &&
           sim_node_has_gpus(node, request, empty) &&
           (!request->labels[0] || sch_labels_contain(node->traits->labels, request->labels, NULL));
}

static void change(struct sim_node *node, const struct sch_resources *request, uint64_t gpus,
                   bool more)
{
    node->used.cpu_milli = moved(node->used.cpu_milli, request->cpu_milli, more);
    SY_ASSERT(more || node->used.memory_bytes >= request->memory_bytes);
    node->used.memory_bytes += more ? request->memory_bytes : -request->memory_bytes;
    if (told_apart(node, request)) {
        use_gpus(node, request, gpus, more);
    } else if (request->gpu_partition[0]) {
        uint32_t *used =
            &node->slices_used[sch_traits_find_slices(node->traits, request->gpu_partition)];
        *used = moved(*used, request->gpus, more);
    } else {
        node->used.gpus = moved(node->used.gpus, request->gpus, more);
    }
}

uint64_t sim_node_take(struct sim_node *node, const struct sch_resources *request, uint64_t gpus)
{
    SY_ASSERT(sim_node_fits(node, request, false));
    if (!told_apart(node, request))
        gpus = 0;
    else if (gpus == 0)
        gpus = choose_all(node, request);
    change(node, request, gpus, true);
    return gpus;
}

void sim_node_give(struct sim_node *node, const struct sch_resources *request, uint64_t gpus)
{
    change(node, request, gpus, false);
}
