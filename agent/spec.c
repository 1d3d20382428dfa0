#include "agent/spec_impl.h"

#include "flyteidl2/task/task_definition.pb-c.h"
#include "proto/pb.h"

#include <stdlib.h>
#include <string.h>

#define SPEC_ARENA_BYTES ((size_t)64 << 20)
/* Of a task that says nothing, as the control plane has it. */
#define CPU_MILLI_PROCESS 1000
#define CPU_MILLI_FLYTE 100

typedef Flyteidl2__Core__Container container_msg;
typedef Flyteidl2__Core__Resources__ResourceEntry entry_msg;

/* ---- quantities ---- */

/* The factor of a suffix as a fraction; false: unknown. */
static bool read_suffix(const char *text, uint64_t *ret_times, uint64_t *ret_over)
{
    static const struct {
        const char *text;
        uint64_t times, over;
    } suffixes[] = {
        {"", 1, 1},
        {"n", 1, 1000000000},
        {"u", 1, 1000000},
        {"m", 1, 1000},
        {"k", 1000, 1},
        {"M", 1000000, 1},
        {"G", 1000000000, 1},
        {"T", 1000000000000, 1},
        {"P", 1000000000000000, 1},
        {"E", 1000000000000000000, 1},
        {"Ki", UINT64_C(1) << 10, 1},
        {"Mi", UINT64_C(1) << 20, 1},
        {"Gi", UINT64_C(1) << 30, 1},
        {"Ti", UINT64_C(1) << 40, 1},
        {"Pi", UINT64_C(1) << 50, 1},
        {"Ei", UINT64_C(1) << 60, 1},
    };
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (strcmp(suffixes[i].text, text) == 0) {
            *ret_times = suffixes[i].times;
            *ret_over = suffixes[i].over;
            return true;
        }
    }
    char *end;
    long exponent = text[0] == 'e' || text[0] == 'E' ? strtol(text + 1, &end, 10) : 99;
    if (exponent < -18 || exponent > 18 || end == text + 1 || *end != '\0' || text[1] == ' ')
        return false;
    *ret_times = *ret_over = 1;
    for (; exponent > 0; exponent--)
        *ret_times *= 10;
    for (; exponent < 0; exponent++)
        *ret_over *= 10;
    return true;
}

int ag_quantity_parse(const char *text, bool milli, uint64_t *ret)
{
    unsigned __int128 digits = 0, over = 1;
    bool any = false, point = false;
    for (; *text == '.' || (*text >= '0' && *text <= '9'); text++) {
        if (*text == '.') {
            if (point)
                return -EINVAL;
            point = true;
            continue;
        }
        any = true;
        digits = digits * 10 + (unsigned)(*text - '0');
        if (point)
            over *= 10;
        if (digits > UINT64_MAX || over > UINT64_MAX)
            return -ERANGE;
    }
    uint64_t times, divide;
    if (!any || !read_suffix(text, &times, &divide))
        return -EINVAL;
    unsigned __int128 most = ~(unsigned __int128)0;
    if (digits > most / 1000 / times)
        return -ERANGE;
    digits = digits * times * (milli ? 1000 : 1);
    if (over > most / divide)
        return -ERANGE;
    over *= divide;
    unsigned __int128 value = digits / over + (digits % over != 0);
    if (value > UINT64_MAX)
        return -ERANGE;
    *ret = (uint64_t)value;
    return 0;
}

/* ---- resources ---- */

struct amounts {
    uint64_t amount[3]; /* cpu and gpus in thousandths, memory in bytes */
    bool given[3];
};

static int read_entries(entry_msg *const *entries, size_t count, struct amounts *ret,
                        struct sy_error_text *error)
{
    static const uint64_t most[3] = {SCH_CPU_MILLI_MAX, SCH_MEMORY_BYTES_MAX,
                                     (uint64_t)SCH_GPUS_MAX * SCH_GPU_MILLI};
    for (size_t i = 0; i < count; i++) {
        int kind = entries[i]->name == FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__CPU      ? 0
                   : entries[i]->name == FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__MEMORY ? 1
                   : entries[i]->name == FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__GPU    ? 2
                                                                                           : -1;
        if (kind < 0)
            continue;
        uint64_t value;
        if (ag_quantity_parse(entries[i]->value, kind != 1, &value) < 0 || value > most[kind]) {
            sy_error_text_set(error,
                              "resource amount '%s': expected a quantity such as 500m or 2Gi",
                              entries[i]->value);
            return -EINVAL;
        }
        ret->amount[kind] = value;
        ret->given[kind] = true;
    }
    return 0;
}

static uint32_t cpu_milli_default(const char *type)
{
    if (strcmp(type, "switchyard.function") == 0)
        return 0;
    return strcmp(type, "switchyard.process") == 0 ? CPU_MILLI_PROCESS : CPU_MILLI_FLYTE;
}

static int read_resources(struct sch_resources *ret, const container_msg *container,
                          uint32_t cpu_milli_default, struct sy_error_text *error)
{
    struct amounts requests = {0}, limits = {0};
    const Flyteidl2__Core__Resources *resources = container->resources;
    if (resources != NULL) {
        int r = read_entries(resources->requests, resources->n_requests, &requests, error);
        if (r == 0)
            r = read_entries(resources->limits, resources->n_limits, &limits, error);
        if (r < 0)
            return r;
    }
    if (!requests.given[0] && !limits.given[0])
        limits.amount[0] = cpu_milli_default;
    const uint64_t *from[3];
    for (unsigned i = 0; i < 3; i++)
        from[i] = requests.given[i] ? &requests.amount[i] : &limits.amount[i];
    ret->cpu_milli = (uint32_t)*from[0];
    ret->memory_bytes = *from[1];
    return sch_request_set_gpus(ret, *from[2], error);
}

/* A reused worker has what its container asks for; the tasks that it runs at a time share that. */
static void share_request(struct sch_resources *request, uint32_t tasks)
{
    request->cpu_milli = (request->cpu_milli + tasks - 1) / tasks;
    request->memory_bytes = (request->memory_bytes + tasks - 1) / tasks;
}

static int read_name(char *ret, size_t size, const char *what, const char *value,
                     struct sy_error_text *error)
{
    if (strlen(value) >= size) {
        sy_error_text_set(error, "%s '%.80s': longer than %zu characters", what, value, size - 1);
        return -EINVAL;
    }
    memcpy(ret, value, strlen(value) + 1);
    return 0;
}

static int read_gpu(struct sch_resources *ret, const Flyteidl2__Core__ExtendedResources *extended,
                    struct sy_error_text *error)
{
    const Flyteidl2__Core__GPUAccelerator *gpu = extended != NULL ? extended->gpu_accelerator
                                                                  : NULL;
    if (gpu == NULL)
        return 0;
    bool sliced = gpu->partition_size_value_case ==
                  FLYTEIDL2__CORE__GPUACCELERATOR__PARTITION_SIZE_VALUE_PARTITION_SIZE;
    return sch_request_set_device(ret, gpu->device, sliced ? gpu->partition_size : "", error);
}

/* ---- the whole ---- */

static const char *const *read_args(struct sy_arena *arena, const container_msg *c)
{
    const char **args = sy_arena_alloc(arena, (c->n_command + c->n_args + 1) * sizeof(*args));
    if (args == NULL)
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < c->n_command; i++)
        args[n++] = c->command[i];
    for (size_t i = 0; i < c->n_args; i++)
        args[n++] = c->args[i];
    args[n] = NULL;
    return args;
}

static const char *const *read_env(struct sy_arena *arena, const container_msg *c)
{
    const char **env = sy_arena_alloc(arena, (c->n_env + 1) * sizeof(*env));
    for (size_t i = 0; env != NULL && i < c->n_env; i++) {
        env[i] = sy_arena_printf(arena, "%s=%s", c->env[i]->key, c->env[i]->value);
        if (env[i] == NULL)
            return NULL;
    }
    if (env != NULL)
        env[c->n_env] = NULL;
    return env;
}

static int read_template(struct ag_spec *ret, const Flyteidl2__Core__TaskTemplate *template,
                         struct sy_error_text *error)
{
    const container_msg *container = template->target_case ==
                                             FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER
                                         ? template->container
                                         : NULL;
    bool function = strcmp(template->type, "switchyard.function") == 0;
    if (template->target_case == FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_K8S_POD) {
        sy_error_text_set(error,
                          "task of type '%.80s': it comes with a pod template, and this "
                          "cluster runs processes: give it image, resources and env_vars "
                          "instead",
                          template->type);
        return -EINVAL;
    }
    if (container == NULL || container->n_command + container->n_args == 0) {
        sy_error_text_set(error, "task of type '%.80s': no command (container.args is empty)",
                          template->type);
        return -EINVAL;
    }
    if (function && (container->n_command + container->n_args != 2 || !container->image[0])) {
        sy_error_text_set(error, "switchyard.function: expected an environment in container.image, "
                                 "and args [library, function]");
        return -EINVAL;
    }
    ret->type = template->type;
    ret->args = read_args(&ret->arena, container);
    ret->env = read_env(&ret->arena, container);
    if (ret->args == NULL || ret->env == NULL || !ag_spec_read_flyte(ret, template)) {
        sy_error_text_set(error, "the task's definition is too large");
        return -EINVAL;
    }
    int r = read_resources(&ret->request, container, cpu_milli_default(template->type), error);
    if (r == 0 && template->reuse_policy != NULL && template->reuse_policy->concurrency > 1)
        share_request(&ret->request, (uint32_t) template->reuse_policy->concurrency);
    if (r == 0)
        r = read_gpu(&ret->request, template->extended_resources, error);
    for (size_t i = 0; r == 0 && i < container->n_env; i++)
        r = sch_request_set_variable(&ret->request, container->env[i]->key,
                                     container->env[i]->value, error);
    if (r == 0 && function)
        r = read_name(ret->request.environment, sizeof(ret->request.environment), "environment",
                      container->image, error);
    return r;
}

int ag_spec_parse(struct ag_spec *ret, struct sy_span bytes, struct sy_error_text *error)
{
    memset(ret, 0, sizeof(*ret));
    sy_arena_init(&ret->arena, SPEC_ARENA_BYTES);
    const Flyteidl2__Task__TaskSpec *spec = pb_unpack(&flyteidl2__task__task_spec__descriptor,
                                                      &ret->arena, bytes);
    int r = -EINVAL;
    if (spec == NULL || spec->task_template == NULL ||
        pb_find_nul(&flyteidl2__task__task_spec__descriptor, bytes) != NULL)
        sy_error_text_set(error, "%zu bytes that are not a TaskSpec", bytes.len);
    else
        r = read_template(ret, spec->task_template, error);
    if (r < 0)
        ag_spec_deinit(ret);
    return r;
}

void ag_spec_deinit(struct ag_spec *spec)
{
    sy_arena_deinit(&spec->arena);
    memset(spec, 0, sizeof(*spec));
}
