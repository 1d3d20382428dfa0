#include "scheduler/resources.h"

#include "scheduler/table.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* Requests are compared and hashed as bytes. */
_Static_assert(sizeof(struct sch_resources) == sizeof(uint64_t) + 2 * sizeof(uint32_t) +
                                                   SCH_GPU_MODEL_MAX + SCH_ENVIRONMENT_MAX,
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

static bool gpus_fit(const struct sch_resources *capacity, const struct sch_resources *request,
                     struct sy_error_text *ret_miss)
{
    if (request->gpus == 0)
        return true;
    bool model_fits = !request->gpu_model[0] ||
                      strncmp(request->gpu_model, capacity->gpu_model, SCH_GPU_MODEL_MAX) == 0;
    if (model_fits && request->gpus <= capacity->gpus)
        return true;
    sy_error_text_set(ret_miss, "%" PRIu32 " x %s asked, %" PRIu32 " x %s there", request->gpus,
                      model_or_gpu(request->gpu_model), capacity->gpus,
                      model_or_gpu(capacity->gpu_model));
    return false;
}

bool sch_shape_fits(const struct sch_shape *shape, const struct sch_resources *request,
                    struct sy_error_text *ret_miss)
{
    SY_ASSERT(shape && request);
    const struct sch_resources *capacity = &shape->capacity;
    if (!environment_fits(shape, request->environment, ret_miss) ||
        !gpus_fit(capacity, request, ret_miss))
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
