#include "tests/sim/nodes.h"

#include "scheduler/labels.h"

#include <string.h>

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

const char *const sim_slice_names[SIM_SLICES_MAX] = {"slice-0", "slice-1", "slice-2", "slice-3"};

static void put_text(char *ret, size_t size, const char *text)
{
    SY_ASSERT(strlen(text) < size);
    memcpy(ret, text, strlen(text) + 1);
}

static void put_label(char *set, size_t size, const char *label)
{
    struct sy_error_text error;
    int r = sch_labels_parse(set, size, label, &error);
    SY_ASSERT(r == 0);
}

static void add_gpus(struct sim_node *node, struct sy_rng *rng)
{
    node->capacity.gpus = 1 + (uint32_t)sy_rng_below(rng, 3);
    bool slices = sy_rng_chance(rng, 1, 3);
    put_text(node->capacity.gpu_model, sizeof(node->capacity.gpu_model), slices ? "A100" : "T4");
    node->traits.gpus_shared = !slices && sy_rng_chance(rng, 2, 3);
    if (slices) {
        node->traits.slice_count = 1;
        put_text(node->traits.slices[0].name, sizeof(node->traits.slices[0].name), SIM_SLICE);
        node->traits.slices[0].count = 1 + (uint32_t)sy_rng_below(rng, SIM_SLICES_MAX);
    }
}

void sim_node_draw(struct sim_node *ret, struct sy_rng *rng, bool plain)
{
    *ret = (struct sim_node){.environment = {"native", 1 + (uint32_t)sy_rng_below(rng, 6)}};
    ret->capacity.cpu_milli = 1000 * (2 + (uint32_t)sy_rng_below(rng, 7));
    ret->capacity.memory_bytes = GIB * (2 + sy_rng_below(rng, 7));
    if (plain)
        return;
    if (sy_rng_chance(rng, 1, 3))
        add_gpus(ret, rng);
    if (sy_rng_chance(rng, 1, 3))
        put_label(ret->traits.labels, sizeof(ret->traits.labels), "disk=ssd");
    if (sy_rng_chance(rng, 1, 5)) {
        put_label(ret->traits.labels, sizeof(ret->traits.labels), SCH_LABEL_SPOT);
        put_label(ret->traits.taints, sizeof(ret->traits.taints), SCH_LABEL_SPOT);
    }
}

#define FUNCTION .type = CL_SPEC_FUNCTION, .library = "lib.so", .function = "fn", .retries = 2

const struct sim_task_kind *sim_task_kind(unsigned kind)
{
    static const struct sim_task_kind kinds[SIM_TASK_KINDS] = {
        {.spec = {FUNCTION, .environment = "native", .cpu = "500m", .memory = "1Mi"}},
        {.spec = {FUNCTION, .environment = "native", .cpu = "1500m", .memory = "64Mi"}},
        {.spec = {FUNCTION, .environment = "native", .cpu = "250m", .memory = "600Mi"},
         .memory_max = "3Gi"},
        {.spec = {FUNCTION, .environment = "native", .cpu = "100m", .memory = "1Mi",
                  .gpu_milli = 1000}},
        {.spec = {FUNCTION, .environment = "native", .cpu = "100m", .memory = "1Mi",
                  .gpu_milli = 400, .gpu_model = "T4"}},
        {.spec = {FUNCTION, .environment = "native", .cpu = "100m", .memory = "1Mi",
                  .gpu_milli = 1000, .gpu_model = "A100"},
         .slice = SIM_SLICE},
        {.spec = {FUNCTION, .environment = "native", .cpu = "1", .memory = "1Mi",
                  .node_labels = "disk=ssd", .tolerations = SCH_LABEL_SPOT}},
    };
    SY_ASSERT(kind < SIM_TASK_KINDS);
    return &kinds[kind];
}

static struct sch_resources request_of(const struct sim_task_kind *kind)
{
    struct sch_resources request = {0};
    struct sy_error_text error;
    uint64_t cpu_milli, memory_bytes;
    int r = cl_quantity_parse(kind->spec.cpu, true, &cpu_milli);
    r |= cl_quantity_parse(kind->spec.memory, false, &memory_bytes);
    request.cpu_milli = (uint32_t)cpu_milli;
    request.memory_bytes = memory_bytes;
    if (kind->spec.gpu_milli > 0)
        r |= sch_request_set_gpus(&request, kind->spec.gpu_milli, &error);
    if (kind->spec.gpu_model || kind->slice)
        r |= sch_request_set_device(&request, kind->spec.gpu_model, kind->slice ? kind->slice : "",
                                    &error);
    put_text(request.environment, sizeof(request.environment), "native");
    if (kind->spec.node_labels)
        put_label(request.labels, sizeof(request.labels), kind->spec.node_labels);
    if (kind->spec.tolerations)
        put_label(request.tolerations, sizeof(request.tolerations), kind->spec.tolerations);
    SY_ASSERT(r == 0);
    return request;
}

bool sim_task_fits(unsigned kind, const struct sim_node *node)
{
    struct sch_resources request = request_of(sim_task_kind(kind));
    struct sch_shape shape = {.capacity = node->capacity,
                              .traits = node->traits,
                              .nodes = 1,
                              .environment_count = 1,
                              .environments = {node->environment}};
    return sch_shape_fits(&shape, &request, NULL);
}

uint32_t sim_task_places(unsigned kind, const struct sim_node *node)
{
    struct sch_resources request = request_of(sim_task_kind(kind));
    if (!sim_task_fits(kind, node))
        return 0;
    uint64_t places = node->capacity.cpu_milli / request.cpu_milli;
    uint64_t by_memory = node->capacity.memory_bytes / request.memory_bytes;
    places = by_memory < places ? by_memory : places;
    places = node->environment.slots < places ? node->environment.slots : places;
    return sch_resources_has_gpu(&request) ? 1 : (uint32_t)places;
}
