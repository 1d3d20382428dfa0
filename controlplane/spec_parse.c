/* From a flyteidl2.task.TaskSpec to what the scheduler needs of it. */
#include "base/arena.h"
#include "base/clock.h"
#include "controlplane/rows.h"
#include "controlplane/spec.h"

#include "flyteidl2/core/tasks.pb-c.h"
#include "flyteidl2/task/task_definition.pb-c.h"
#include "proto/pb.h"
#include "scheduler/labels.h"

#include <stdlib.h>
#include <string.h>

typedef Flyteidl2__Core__TaskTemplate Template;
typedef Flyteidl2__Core__Resources__ResourceEntry Entry;

#define UNPACKED_BYTES_MAX ((size_t)64 << 20)
#define BACKOFF_FACTOR_MAX 1000.0
#define OOM_FACTOR_MILLI_DEFAULT 2000u
#define DURATION_S_MAX 315360000LL /* ten years */

/* ---- quantities ---- */

/* A decimal number as digits x 10^exponent10; 38 digits and beyond are refused. */
struct decimal {
    unsigned __int128 digits;
    int exponent10;
};

static const char *read_decimal(const char *at, struct decimal *ret)
{
    const unsigned __int128 max = (unsigned __int128)1 << 100;
    bool any = false, point = false;
    *ret = (struct decimal){0};
    for (;; at++) {
        if (*at == '.' && !point) {
            point = true;
            continue;
        }
        if (*at < '0' || *at > '9')
            return any ? at : NULL;
        any = true;
        if (ret->digits > max)
            return NULL;
        ret->digits = ret->digits * 10 + (unsigned)(*at - '0');
        ret->exponent10 -= point;
    }
}

/* "", "m", "k", "Mi", "e3", ...: powers of ten and of two. */
static bool read_suffix(const char *at, int *ret_exponent10, int *ret_exponent2)
{
    static const char decimal[] = "num kMGTPE", binary[] = "KMGTPE";
    *ret_exponent10 = *ret_exponent2 = 0;
    if (*at == '\0')
        return true;
    if ((*at == 'e' || *at == 'E') && at[1] != '\0' && at[1] != 'i') {
        char *end;
        if (at[1] == ' ')
            return false;
        long exponent = strtol(at + 1, &end, 10);
        *ret_exponent10 = (int)exponent;
        return *end == '\0' && exponent >= -30 && exponent <= 30;
    }
    const char *found;
    if (at[1] == 'i' && at[2] == '\0' && (found = strchr(binary, *at))) {
        *ret_exponent2 = (int)(found - binary + 1) * 10;
        return true;
    }
    if (at[1] != '\0' || *at == ' ' || !(found = strchr(decimal, *at)))
        return false;
    *ret_exponent10 = (int)(found - decimal - 3) * 3;
    return true;
}

static bool multiply(unsigned __int128 *value, unsigned factor)
{
    if (*value > ~(unsigned __int128)0 / factor)
        return false;
    *value *= factor;
    return true;
}

int cp_quantity_parse(const char *text, bool milli, uint64_t *ret)
{
    struct decimal number;
    int exponent10, exponent2;
    const char *at = read_decimal(text, &number);
    if (!at || !read_suffix(at, &exponent10, &exponent2))
        return -EINVAL;
    exponent10 += number.exponent10 + (milli ? 3 : 0);
    unsigned __int128 value = number.digits;
    for (; exponent2 > 0; exponent2--) {
        if (!multiply(&value, 2))
            return -ERANGE;
    }
    for (; exponent10 > 0 && value > 0; exponent10--) {
        if (!multiply(&value, 10))
            return -ERANGE;
    }
    bool rest = false;
    for (; exponent10 < 0 && value > 0; exponent10++) {
        rest |= value % 10 != 0;
        value /= 10;
    }
    value += rest;
    if (value > UINT64_MAX)
        return -ERANGE;
    *ret = (uint64_t)value;
    return 0;
}

/* ---- resources ---- */

static int amount(const Entry *entry, const char *name, bool milli, uint64_t max, uint64_t *ret,
                  struct sy_error_text *error)
{
    uint64_t value = 0;
    int r = cp_quantity_parse(entry->value, milli, &value);
    if (r == -EINVAL) {
        sy_error_text_set(error, "%s '%s': expected a quantity such as %s", name, entry->value,
                          milli ? "500m or 2" : "64Mi or 1G");
        return -EINVAL;
    }
    if (r < 0 || value > max) {
        sy_error_text_set(error, "%s '%s': more than can ever be given (%llu%s)", name,
                          entry->value, (unsigned long long)max, milli ? "m" : "");
        return -EINVAL;
    }
    *ret = value;
    return 0;
}

struct amounts {
    uint64_t cpu_milli, memory_bytes, gpu_milli;
    bool has_cpu, has_memory, has_gpus;
};

static int read_entry(const Entry *entry, struct amounts *amounts, struct sy_error_text *error)
{
    switch (entry->name) {
    case FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__CPU:
        amounts->has_cpu = true;
        return amount(entry, "cpu", true, SCH_CPU_MILLI_MAX, &amounts->cpu_milli, error);
    case FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__MEMORY:
        amounts->has_memory = true;
        return amount(entry, "memory", false, SCH_MEMORY_BYTES_MAX, &amounts->memory_bytes, error);
    case FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__GPU:
        amounts->has_gpus = true;
        return amount(entry, "gpu", true, (uint64_t)SCH_GPUS_MAX * SCH_GPU_MILLI,
                      &amounts->gpu_milli, error);
    default: /* storage: not scheduled by */
        return 0;
    }
}

static int read_entries(Entry *const *entries, size_t count, struct amounts *amounts,
                        struct sy_error_text *error)
{
    for (size_t i = 0; i < count; i++) {
        int r = read_entry(entries[i], amounts, error);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Of a task that says nothing: bounded by something. Flyte's tasks are often parents, which hold
 * their room while they wait for children: a tree of whole cpus would fill a small node and stand
 * still. */
static uint32_t cpu_milli_default(const char *type)
{
    if (strcmp(type, "switchyard.function") == 0)
        return 0; /* bounded by its worker */
    return strcmp(type, "switchyard.process") == 0 ? 1000 : 100;
}

static int read_resources(struct sch_resources *ret, const Flyteidl2__Core__Resources *resources,
                          uint32_t cpu_milli_default, struct sy_error_text *error)
{
    struct amounts request = {0}, limit = {0};
    if (resources) {
        int r = read_entries(resources->requests, resources->n_requests, &request, error);
        if (r == 0)
            r = read_entries(resources->limits, resources->n_limits, &limit, error);
        if (r < 0)
            return r;
    }
    if (!request.has_cpu && !limit.has_cpu)
        limit.cpu_milli = cpu_milli_default;
    ret->cpu_milli = (uint32_t)(request.has_cpu ? request.cpu_milli : limit.cpu_milli);
    ret->memory_bytes = request.has_memory ? request.memory_bytes : limit.memory_bytes;
    return sch_request_set_gpus(ret, request.has_gpus ? request.gpu_milli : limit.gpu_milli, error);
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
    size_t len = strlen(value);
    if (len >= size) {
        sy_error_text_set(error, "%s '%s': %zu characters, at most %zu are allowed", what, value,
                          len, size - 1);
        return -EINVAL;
    }
    memcpy(ret, value, len + 1);
    return 0;
}

static int read_gpu(struct sch_resources *ret, const Flyteidl2__Core__ExtendedResources *extended,
                    struct sy_error_text *error)
{
    const Flyteidl2__Core__GPUAccelerator *gpu = extended ? extended->gpu_accelerator : NULL;
    if (!gpu)
        return 0;
    bool sliced = gpu->partition_size_value_case ==
                  FLYTEIDL2__CORE__GPUACCELERATOR__PARTITION_SIZE_VALUE_PARTITION_SIZE;
    return sch_request_set_device(ret, gpu->device, sliced ? gpu->partition_size : "", error);
}

/* What follows when an attempt ran out of memory: not a matter of nodes, so not in sch_request. */
static int read_oom(struct sch_spec *ret, const char *key, const char *value,
                    struct sy_error_text *error)
{
    if (strcmp(key, "SWITCHYARD_OOM_MEMORY_MAX") == 0 &&
        (cp_quantity_parse(value, false, &ret->oom_memory_bytes_max) < 0 ||
         ret->oom_memory_bytes_max > SCH_MEMORY_BYTES_MAX)) {
        sy_error_text_set(
            error, "SWITCHYARD_OOM_MEMORY_MAX '%.40s': expected a quantity such as 16Gi", value);
        return -EINVAL;
    }
    if (strcmp(key, "SWITCHYARD_OOM_FACTOR") != 0)
        return 0;
    uint64_t milli;
    if (cp_quantity_parse(value, true, &milli) < 0 || milli < 1100 || milli > 16000) {
        sy_error_text_set(error, "SWITCHYARD_OOM_FACTOR '%.40s': expected 1.1 to 16", value);
        return -EINVAL;
    }
    ret->oom_factor_milli = (uint32_t)milli;
    return 0;
}

static int read_variables(struct sch_spec *ret, const Flyteidl2__Core__Container *container,
                          struct sy_error_text *error)
{
    int r = 0;
    ret->oom_factor_milli = OOM_FACTOR_MILLI_DEFAULT;
    for (size_t i = 0; r == 0 && i < container->n_env; i++) {
        const char *key = container->env[i]->key, *value = container->env[i]->value;
        r = sch_request_set_variable(&ret->request, key, value, error);
        if (r == 0)
            r = read_oom(ret, key, value, error);
        if (r == 0 && strcmp(key, "SWITCHYARD_ON_PARTITION") == 0)
            r = sch_on_partition_parse(value, &ret->on_partition, error);
    }
    return r;
}

static int read_interruptible(struct sch_resources *ret,
                              const Flyteidl2__Core__TaskMetadata *metadata,
                              struct sy_error_text *error)
{
    if (!metadata || !metadata->interruptible)
        return 0;
    return sch_labels_put(ret->tolerations, sizeof(ret->tolerations), SCH_LABEL_SPOT, "", error) < 0
               ? -EINVAL
               : 0;
}

/* ---- times and retries ---- */

static int read_duration(int64_t *ret_ns, const Google__Protobuf__Duration *duration,
                         const char *what, struct sy_error_text *error)
{
    if (!duration)
        return 0;
    if (duration->seconds < 0 || duration->nanos < 0 || duration->nanos >= SY_NS_PER_S ||
        duration->seconds > DURATION_S_MAX) {
        sy_error_text_set(error, "%s of %lld s and %d ns: expected 0 s to %lld s", what,
                          (long long)duration->seconds, (int)duration->nanos,
                          (long long)DURATION_S_MAX);
        return -EINVAL;
    }
    *ret_ns = duration->seconds * SY_NS_PER_S + duration->nanos;
    return 0;
}

/* Odd factors are taken as the nearest sane one: specs that are stored must stay readable. */
static int read_backoff(struct sch_spec *ret, const Flyteidl2__Core__Backoff *backoff,
                        struct sy_error_text *error)
{
    double factor = backoff->_factor_case ? backoff->factor : 1.0;
    if (!(factor >= 1.0))
        factor = 1.0;
    factor = factor < BACKOFF_FACTOR_MAX ? factor : BACKOFF_FACTOR_MAX;
    ret->backoff_factor_milli = (uint32_t)(factor * 1000 + 0.5);
    int r = read_duration(&ret->backoff_ns, backoff->base_value, "backoff", error);
    if (r == 0)
        r = read_duration(&ret->backoff_cap_ns, backoff->cap, "backoff cap", error);
    if (backoff->cap && ret->backoff_cap_ns == 0)
        ret->backoff_ns = 0; /* a cap of zero: at once */
    return r;
}

static int read_metadata(struct sch_spec *ret, const Flyteidl2__Core__TaskMetadata *metadata,
                         struct sy_error_text *error)
{
    if (!metadata)
        return 0;
    int r = read_duration(&ret->timeout_ns, metadata->timeout, "timeout", error);
    if (r == 0 && metadata->timeouts)
        r = read_duration(&ret->queued_timeout_ns, metadata->timeouts->queued_timeout,
                          "queued_timeout", error);
    if (r == 0 && metadata->timeouts)
        r = read_duration(&ret->deadline_ns, metadata->timeouts->deadline, "deadline", error);
    if (r < 0 || !metadata->retries)
        return r;
    if (metadata->retries->retries > CP_SPEC_RETRIES_MAX) {
        sy_error_text_set(error, "retries %u: at most %d are allowed", metadata->retries->retries,
                          CP_SPEC_RETRIES_MAX);
        return -EINVAL;
    }
    ret->retries = metadata->retries->retries;
    if (metadata->retries->backoff)
        r = read_backoff(ret, metadata->retries->backoff, error);
    return r;
}

/* ---- kinds ---- */

#define SLEEP "core-sleep" /* a task's type, and the environment of it that operators have */

static int read_template(struct sch_spec *ret, const Template *template,
                         struct sy_error_text *error)
{
    const Flyteidl2__Core__Container *container =
        template->target_case == FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER
            ? template->container
            : NULL;
    int r = read_metadata(ret, template->metadata, error);
    if (r < 0)
        return r;
    if (strcmp(template->type, "switchyard.group") == 0) {
        ret->group = true;
        return 0;
    }
    bool function = strcmp(template->type, "switchyard.function") == 0;
    if (template->target_case == FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_K8S_POD) {
        sy_error_text_set(error,
                          "task of type '%s': it comes with a pod template, and nodes run "
                          "processes: give it image, resources and env_vars instead",
                          template->type);
        return -EINVAL;
    }
    if (!container || container->n_args + container->n_command == 0) {
        sy_error_text_set(error, "task of type '%s': no command (container.args is empty)",
                          template->type);
        return -EINVAL;
    }
    if (function && (container->n_args != 2 || !container->image[0])) {
        sy_error_text_set(error,
                          "switchyard.function: expected container.image (the environment) "
                          "and args [library, function], got image '%s' and %zu args",
                          container->image, container->n_args);
        return -EINVAL;
    }
    if (strcmp(template->type, SLEEP) == 0) /* its operator waits: it needs nothing of a node */
        return read_name(ret->request.environment, sizeof(ret->request.environment), "environment",
                         SLEEP, error);
    if (function && strcmp(container->image, SLEEP) == 0) {
        sy_error_text_set(error, "environment '" SLEEP "': it is that of tasks of this type");
        return -EINVAL;
    }
    r = read_resources(&ret->request, container->resources, cpu_milli_default(template->type),
                       error);
    if (r == 0 && template->reuse_policy && template->reuse_policy->concurrency > 1)
        share_request(&ret->request, (uint32_t) template->reuse_policy->concurrency);
    if (r == 0)
        r = read_gpu(&ret->request, template->extended_resources, error);
    if (r == 0)
        r = read_variables(ret, container, error);
    if (r == 0)
        r = read_interruptible(&ret->request, template->metadata, error);
    if (r == 0 && function)
        r = read_name(ret->request.environment, sizeof(ret->request.environment), "environment",
                      container->image, error);
    return r;
}

static int read_traits(struct cp_spec_traits *ret, const Template *template,
                       struct sy_error_text *error)
{
    static const char native[] = "switchyard.";
    const Flyteidl2__Core__TaskMetadata *metadata = template->metadata;
    ret->flyte = strncmp(template->type, native, sizeof(native) - 1) != 0;
    if (!metadata || !ret->flyte)
        return 0;
    ret->cached = metadata->discoverable;
    ret->serialized = ret->cached && metadata->cache_serializable;
    return read_duration(&ret->cache_max_age_ns, metadata->cache_max_age, "cache_max_age", error);
}

int cp_spec_parse_all(struct sch_spec *ret, struct cp_spec_traits *ret_traits, struct sy_span bytes,
                      struct sy_error_text *error)
{
    if (bytes.len == 0 || bytes.len > CP_SPEC_BYTES_MAX) {
        sy_error_text_set(error, "task_spec of %zu bytes: expected 1 to %zu", bytes.len,
                          CP_SPEC_BYTES_MAX);
        return -EINVAL;
    }
    struct sy_arena arena;
    sy_arena_init(&arena, UNPACKED_BYTES_MAX);
    struct sch_spec parsed = {0};
    struct cp_spec_traits traits = {0};
    const Flyteidl2__Task__TaskSpec *spec = CP_UNPACK(
        Flyteidl2__Task__TaskSpec, flyteidl2__task__task_spec__descriptor, &arena, bytes);
    const char *nul;
    int r = -EINVAL;
    if (!spec)
        sy_error_text_set(error, "task_spec: %zu bytes that are not a TaskSpec", bytes.len);
    else if ((nul = pb_find_nul(&flyteidl2__task__task_spec__descriptor, bytes)) != NULL)
        sy_error_text_set(error, "task_spec: %s: a NUL byte is not allowed in a string", nul);
    else if (!spec->task_template)
        sy_error_text_set(error, "task_spec: task_template is missing");
    else
        r = read_template(&parsed, spec->task_template, error);
    if (r == 0)
        r = read_traits(&traits, spec->task_template, error);
    if (r == 0) {
        *ret = parsed;
        *ret_traits = traits;
    }
    sy_arena_deinit(&arena);
    return r;
}

int cp_spec_parse(struct sch_spec *ret, struct sy_span bytes, struct sy_error_text *error)
{
    struct cp_spec_traits traits;
    return cp_spec_parse_all(ret, &traits, bytes, error);
}

int cp_spec_check_gang(const struct sch_spec *spec, const struct cp_spec_traits *traits,
                       struct sy_error_text *error)
{
    if (spec->group || traits->flyte) {
        sy_error_text_set(error, "gang: expected a switchyard.process or switchyard.function");
        return -EINVAL;
    }
    if (spec->on_partition != SCH_ON_PARTITION_REPLACE) {
        sy_error_text_set(error, "gang: of SWITCHYARD_ON_PARTITION only replace goes with it: a "
                                 "gang goes on whole, or not at all");
        return -EINVAL;
    }
    return 0;
}
