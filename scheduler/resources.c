#include "scheduler/resources.h"

#include "scheduler/labels.h"
#include "scheduler/table.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* Requests are compared and hashed as bytes. */
_Static_assert(sizeof(struct sch_resources) == sizeof(uint64_t) + 3 * sizeof(uint32_t) +
                                                   SCH_GPU_MODEL_MAX + SCH_GPU_PARTITION_MAX +
                                                   SCH_ENVIRONMENT_MAX + SCH_LABELS_MAX +
                                                   SCH_TOLERATIONS_MAX,
               "no padding");

bool sch_resources_equal(const struct sch_resources *a, const struct sch_resources *b)
{
    SY_ASSERT(a && b);
    return memcmp(a, b, sizeof(*a)) == 0;
}

uint64_t sch_resources_hash(const struct sch_resources *r)
{
    SY_ASSERT(r);
    return sch_hash_bytes(r, sizeof(*r), 0);
}

uint64_t sch_resources_gpu_milli(const struct sch_resources *r)
{
    return r->gpu_partition[0] ? 0 : (uint64_t)r->gpus * SCH_GPU_MILLI + r->gpu_milli;
}

bool sch_resources_has_gpu(const struct sch_resources *r)
{
    SY_ASSERT(r);
    return r->gpus > 0 || r->gpu_milli > 0;
}

int sch_traits_find_slices(const struct sch_traits *traits, const char *name)
{
    SY_ASSERT(traits->slice_count <= SCH_GPU_SLICES_MAX);
    for (uint32_t i = 0; i < traits->slice_count; i++) {
        if (strncmp(traits->slices[i].name, name, SCH_GPU_PARTITION_MAX) == 0)
            return (int)i;
    }
    return -1;
}

/* ---- shapes ---- */

static const struct sch_environment *find_environment(const struct sch_shape *shape,
                                                      const char *name)
{
    SY_ASSERT(shape->environment_count <=
              sizeof(shape->environments) / sizeof(*shape->environments));
    for (uint32_t i = 0; i < shape->environment_count; i++) {
        if (strncmp(shape->environments[i].name, name, SCH_ENVIRONMENT_MAX) == 0)
            return &shape->environments[i];
    }
    return NULL;
}

static bool environment_fits(const struct sch_shape *shape, const char *name,
                             struct sy_error_text *ret_miss)
{
    if (!name[0])
        return true;
    const struct sch_environment *environment = find_environment(shape, name);
    if (environment && environment->slots > 0)
        return true;
    sy_error_text_set(ret_miss, "environment '%s' asked, %s there", name,
                      environment ? "no slot of it" : "not");
    return false;
}

static const char *model_or_gpu(const char *model)
{
    return model[0] ? model : "GPU";
}

static bool slices_fit(const struct sch_shape *shape, const struct sch_resources *request,
                       struct sy_error_text *ret_miss)
{
    int at = sch_traits_find_slices(&shape->traits, request->gpu_partition);
    uint32_t there = at >= 0 ? shape->traits.slices[at].count : 0;
    if (request->gpus <= there)
        return true;
    sy_error_text_set(ret_miss, "%" PRIu32 " x %s %s asked, %" PRIu32 " there", request->gpus,
                      model_or_gpu(request->gpu_model), request->gpu_partition, there);
    return false;
}

static bool share_fits(const struct sch_shape *shape, const struct sch_resources *request,
                       struct sy_error_text *ret_miss)
{
    if (shape->traits.gpus_shared && shape->capacity.gpus > 0)
        return true;
    sy_error_text_set(ret_miss, "%.3f of a %s asked, %s there", request->gpu_milli / 1000.0,
                      model_or_gpu(request->gpu_model),
                      shape->capacity.gpus > 0 ? "only whole ones" : "none");
    return false;
}

static bool gpus_fit(const struct sch_shape *shape, const struct sch_resources *request,
                     struct sy_error_text *ret_miss)
{
    const struct sch_resources *capacity = &shape->capacity;
    if (!sch_resources_has_gpu(request))
        return true;
    bool model_fits = !request->gpu_model[0] ||
                      strncmp(request->gpu_model, capacity->gpu_model, SCH_GPU_MODEL_MAX) == 0;
    if (model_fits && request->gpu_partition[0])
        return slices_fit(shape, request, ret_miss);
    if (model_fits && request->gpu_milli > 0)
        return share_fits(shape, request, ret_miss);
    if (model_fits && request->gpus <= capacity->gpus)
        return true;
    sy_error_text_set(ret_miss, "%" PRIu32 " x %s asked, %" PRIu32 " x %s there",
                      request->gpus > 0 ? request->gpus : 1, model_or_gpu(request->gpu_model),
                      capacity->gpus, model_or_gpu(capacity->gpu_model));
    return false;
}

static bool labels_fit(const struct sch_traits *traits, const struct sch_resources *request,
                       struct sy_error_text *ret_miss)
{
    const char *item;
    if (!sch_labels_contain(traits->labels, request->labels, &item)) {
        sy_error_text_set(ret_miss, "label '%.*s' asked, not there", (int)strcspn(item, ","), item);
        return false;
    }
    if (!sch_taints_tolerated(traits->taints, request->tolerations, &item)) {
        sy_error_text_set(ret_miss, "taint '%.*s' there, not tolerated", (int)strcspn(item, ","),
                          item);
        return false;
    }
    return true;
}

bool sch_shape_fits(const struct sch_shape *shape, const struct sch_resources *request,
                    struct sy_error_text *ret_miss)
{
    SY_ASSERT(shape && request);
    const struct sch_resources *capacity = &shape->capacity;
    if (!environment_fits(shape, request->environment, ret_miss) ||
        !gpus_fit(shape, request, ret_miss) || !labels_fit(&shape->traits, request, ret_miss))
        return false;
    if (request->memory_bytes > capacity->memory_bytes) {
        sy_error_text_set(ret_miss, "%.1f GiB memory asked, %.1f GiB there",
                          (double)request->memory_bytes / (1 << 30),
                          (double)capacity->memory_bytes / (1 << 30));
        return false;
    }
    if (request->cpu_milli > capacity->cpu_milli) {
        sy_error_text_set(ret_miss, "%.3f cores asked, %.3f cores there",
                          request->cpu_milli / 1000.0, capacity->cpu_milli / 1000.0);
        return false;
    }
    return true;
}

static bool is_nearer(const struct sch_shape *a, const struct sch_shape *b,
                      const struct sch_resources *request)
{
    bool fits_a = environment_fits(a, request->environment, NULL);
    bool fits_b = environment_fits(b, request->environment, NULL);
    if (fits_a != fits_b)
        return fits_a;
    if (sch_resources_has_gpu(request) && a->capacity.gpus != b->capacity.gpus)
        return a->capacity.gpus > b->capacity.gpus;
    if (a->capacity.memory_bytes != b->capacity.memory_bytes)
        return a->capacity.memory_bytes > b->capacity.memory_bytes;
    return a->capacity.cpu_milli > b->capacity.cpu_milli;
}

bool sch_shapes_fit(const struct sch_shape *shapes, size_t count,
                    const struct sch_resources *request, struct sy_error_text *ret_miss)
{
    const struct sch_shape *nearest = NULL;
    SY_ASSERT(request && (shapes || count == 0));
    for (size_t i = 0; i < count; i++) {
        if (sch_shape_fits(&shapes[i], request, NULL))
            return true;
        if (!nearest || is_nearer(&shapes[i], nearest, request))
            nearest = &shapes[i];
    }
    return nearest != NULL && sch_shape_fits(nearest, request, ret_miss);
}
