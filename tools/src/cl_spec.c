#include "tools/src/cl_spec.h"

#include "base/clock.h"
#include "base/mem.h"
#include "proto/pb.h"
#include "tools/src/client.h"

#include "flyteidl2/task/task_definition.pb-c.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OWN_VARIABLES 3u
#define REQUESTS_MAX 3

static const char *const type_names[] = {
    [CL_SPEC_FUNCTION] = "switchyard.function",
    [CL_SPEC_PROCESS] = "switchyard.process",
    [CL_SPEC_GROUP] = "switchyard.group",
};

const char *cl_environment(void)
{
    const char *value = getenv("SWITCHYARD_ENVIRONMENT");
    return value && *value ? value : CL_ENVIRONMENT_DEFAULT;
}

char *cl_task_library(const char *given, const char *name, struct sy_error_text *error)
{
    char path[PATH_MAX] = "";
    if (given) {
        snprintf(path, sizeof(path), "%s", given);
    } else {
        ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - strlen(name) - 1);
        char *slash = n > 0 ? strrchr(path, '/') : NULL;
        if (slash)
            snprintf(slash + 1, sizeof(path) - (size_t)(slash + 1 - path), "%s", name);
    }
    char *absolute = realpath(path, NULL);
    if (!absolute)
        sy_error_text_set(error, "the task library '%s' is not there: %s", path, strerror(errno));
    return absolute;
}

/* "1.5": 15 and one digit of fraction; the end of it, or NULL: no number, or more than 18 digits.
 */
static const char *read_decimal(const char *text, uint64_t *ret_digits, unsigned *ret_fraction)
{
    const char *s = text;
    unsigned count = 0;
    bool dot = false;
    *ret_digits = 0;
    *ret_fraction = 0;
    for (; isdigit((unsigned char)*s) || (*s == '.' && !dot); s++) {
        if (*s == '.') {
            dot = true;
            continue;
        }
        *ret_digits = *ret_digits * 10 + (unsigned)(*s - '0');
        *ret_fraction += dot;
        count++;
    }
    return count > 0 && count <= 18 ? s : NULL;
}

/* digits * scale / 10^fraction, rounded up; false: more than fits. */
static bool scale_decimal(uint64_t digits, unsigned fraction, uint64_t scale, uint64_t *ret)
{
    unsigned __int128 value = (unsigned __int128)digits * scale;
    for (; fraction > 0; fraction--)
        value = value / 10 + (value % 10 != 0);
    *ret = (uint64_t)value;
    return value <= UINT64_MAX;
}

int cl_quantity_parse(const char *text, bool milli, uint64_t *ret)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } suffixes[] = {{"", 1},
                    {"k", 1000},
                    {"M", 1000000},
                    {"G", 1000000000},
                    {"T", 1000000000000},
                    {"P", 1000000000000000},
                    {"Ki", 1ull << 10},
                    {"Mi", 1ull << 20},
                    {"Gi", 1ull << 30},
                    {"Ti", 1ull << 40},
                    {"Pi", 1ull << 50}};
    uint64_t digits, factor = milli ? 1000 : 1;
    unsigned fraction;
    const char *suffix = read_decimal(text, &digits, &fraction);
    if (!suffix)
        return -EINVAL;
    if (milli && strcmp(suffix, "m") == 0)
        return scale_decimal(digits, fraction, 1, ret) ? 0 : -EINVAL;
    for (size_t i = 0; i < SY_COUNT_OF(suffixes); i++) {
        if (strcmp(suffix, suffixes[i].name) == 0)
            return scale_decimal(digits, fraction, factor * suffixes[i].factor, ret) ? 0 : -EINVAL;
    }
    return -EINVAL;
}

int cl_price_parse(const char *text, int64_t *ret)
{
    uint64_t digits, value;
    unsigned fraction;
    const char *end = read_decimal(text, &digits, &fraction);
    if (!end || *end || fraction > 6 || !scale_decimal(digits, fraction, 1000000, &value) ||
        value > INT64_MAX)
        return -EINVAL;
    *ret = (int64_t)value;
    return 0;
}

int cl_gpu_parse(const char *text, uint32_t *ret_milli, const char **ret_model)
{
    char *end = NULL;
    errno = 0;
    double count = isdigit((unsigned char)*text) ? strtod(text, &end) : 0;
    if (!end || errno || !(count <= 1024) || (*end != '\0' && *end != ':'))
        return -EINVAL;
    if (*end == ':' && end[1] == '\0')
        return -EINVAL;
    uint32_t milli = (uint32_t)(count * 1000 + 0.5);
    if ((milli > 1000 && milli % 1000 != 0) || (milli == 0 && count > 0))
        return -EINVAL;
    *ret_milli = milli;
    *ret_model = *end == ':' ? end + 1 : NULL;
    return 0;
}

int cl_function_parse(const char *text, char **ret_library, char **ret_function)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || colon[1] == '\0')
        return -EINVAL;
    char *library = sy_strndup(text, (size_t)(colon - text));
    char *absolute = realpath(library, NULL);
    if (absolute) {
        free(library);
        library = sy_strdup(absolute);
        free(absolute);
    }
    *ret_library = library;
    *ret_function = sy_strdup(colon + 1);
    return 0;
}

/* What people see: the function, or the command without its folder. */
static const char *display_name(const struct cl_spec *spec)
{
    if (spec->name)
        return spec->name;
    if (spec->type == CL_SPEC_FUNCTION)
        return spec->function;
    if (spec->type == CL_SPEC_GROUP)
        return "group";
    const char *slash = strrchr(spec->args[0], '/');
    return slash && slash[1] ? slash + 1 : spec->args[0];
}

int cl_variable_check(const char *text)
{
    size_t length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
    bool starts_well = length > 0 && (text[0] < '0' || text[0] > '9');
    return starts_well && text[length] == '=' ? 0 : -EINVAL;
}

static int check(const struct cl_spec *spec, struct sy_error_text *error)
{
    if (spec->type == CL_SPEC_PROCESS && (spec->arg_count == 0 || !*spec->args[0])) {
        sy_error_text_set(error, "there is no command to run");
        return -EINVAL;
    }
    if (spec->type == CL_SPEC_FUNCTION && (!spec->library || !spec->function)) {
        sy_error_text_set(error, "there is no function to run");
        return -EINVAL;
    }
    for (size_t i = 0; i < spec->variable_count; i++) {
        if (cl_variable_check(spec->variables[i]) == 0)
            continue;
        sy_error_text_set(error, "variable '%s': expected KEY=VALUE", spec->variables[i]);
        return -EINVAL;
    }
    uint64_t unused;
    if (spec->cpu && cl_quantity_parse(spec->cpu, true, &unused) < 0) {
        sy_error_text_set(error, "cpu '%s': expected a quantity such as 500m or 2", spec->cpu);
        return -EINVAL;
    }
    if (spec->memory && cl_quantity_parse(spec->memory, false, &unused) < 0) {
        sy_error_text_set(error, "memory '%s': expected a quantity such as 64Mi or 2G",
                          spec->memory);
        return -EINVAL;
    }
    return 0;
}

/* The storage behind the pointers of one message. */
struct parts {
    Flyteidl2__Core__Resources__ResourceEntry entries[REQUESTS_MAX];
    Flyteidl2__Core__Resources__ResourceEntry *requests[REQUESTS_MAX];
    Flyteidl2__Core__KeyValuePair *variables, **env; /* freed after packing */
    char **keys;
    char gpus[16];
    const char *args[2];
    Flyteidl2__Core__Resources resources;
    Flyteidl2__Core__Container container;
    Flyteidl2__Core__GPUAccelerator accelerator;
    Flyteidl2__Core__ExtendedResources extended;
    Flyteidl2__Core__RetryStrategy retries;
    Google__Protobuf__Duration timeout;
    Flyteidl2__Core__TaskMetadata metadata;
};

static void add_request(struct parts *parts, Flyteidl2__Core__Resources__ResourceName name,
                        const char *value)
{
    size_t i = parts->resources.n_requests++;
    flyteidl2__core__resources__resource_entry__init(&parts->entries[i]);
    parts->entries[i].name = name;
    parts->entries[i].value = cl_unconst(value);
    parts->requests[i] = &parts->entries[i];
    parts->resources.requests = parts->requests;
}

static void add_variable(struct parts *parts, const char *key, const char *value)
{
    size_t i = parts->container.n_env;
    if (!value)
        return;
    flyteidl2__core__key_value_pair__init(&parts->variables[i]);
    parts->variables[i].key = cl_unconst(key);
    parts->variables[i].value = cl_unconst(value);
    parts->env[i] = &parts->variables[i];
    parts->container.env = parts->env;
    parts->container.n_env++;
}

static void add_variables(struct parts *parts, const struct cl_spec *spec)
{
    size_t most = spec->variable_count + OWN_VARIABLES;
    parts->variables = sy_calloc(most, sizeof(*parts->variables));
    parts->env = sy_calloc(most, sizeof(Flyteidl2__Core__KeyValuePair *));
    parts->keys = sy_calloc(spec->variable_count + 1, sizeof(*parts->keys));
    for (size_t i = 0; i < spec->variable_count; i++) {
        const char *value = strchr(spec->variables[i], '=');
        SY_ASSERT(value);
        parts->keys[i] = sy_strndup(spec->variables[i], (size_t)(value - spec->variables[i]));
        add_variable(parts, parts->keys[i], value + 1);
    }
    add_variable(parts, "SWITCHYARD_NODE_LABELS", spec->node_labels);
    add_variable(parts, "SWITCHYARD_TOLERATIONS", spec->tolerations);
    add_variable(parts, "SWITCHYARD_ON_PARTITION", spec->on_partition);
    SY_ASSERT(parts->container.n_env <= most);
}

static void free_variables(struct parts *parts)
{
    for (size_t i = 0; parts->keys && parts->keys[i]; i++)
        free(parts->keys[i]);
    free(parts->keys);
    free(parts->variables);
    free(parts->env);
}

static void fill_container(struct parts *parts, const struct cl_spec *spec)
{
    bool function = spec->type == CL_SPEC_FUNCTION;
    flyteidl2__core__resources__init(&parts->resources);
    flyteidl2__core__container__init(&parts->container);
    parts->container.resources = &parts->resources;
    add_request(parts, FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__CPU,
                spec->cpu ? spec->cpu : CL_SPEC_CPU);
    add_request(parts, FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__MEMORY,
                spec->memory ? spec->memory : CL_SPEC_MEMORY);
    if (spec->gpu_milli > 0) {
        snprintf(parts->gpus, sizeof(parts->gpus), "%um", spec->gpu_milli);
        add_request(parts, FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__GPU, parts->gpus);
    }
    add_variables(parts, spec);
    const char *const *args = spec->args;
    size_t count = spec->arg_count;
    if (function) {
        parts->args[0] = spec->library;
        parts->args[1] = spec->function;
        args = parts->args;
        count = 2;
    }
    if (spec->environment)
        parts->container.image = cl_unconst(spec->environment);
    parts->container.n_args = count;
    parts->container.args = cl_unconst_list(args);
}

static void fill_metadata(struct parts *parts, const struct cl_spec *spec)
{
    flyteidl2__core__task_metadata__init(&parts->metadata);
    if (spec->retries > 0) {
        flyteidl2__core__retry_strategy__init(&parts->retries);
        parts->retries.retries = spec->retries;
        parts->metadata.retries = &parts->retries;
    }
    if (spec->timeout_ns > 0) {
        google__protobuf__duration__init(&parts->timeout);
        parts->timeout.seconds = spec->timeout_ns / SY_NS_PER_S;
        parts->timeout.nanos = (int32_t)(spec->timeout_ns % SY_NS_PER_S);
        parts->metadata.timeout = &parts->timeout;
    }
}

int cl_spec_pack(const struct cl_spec *spec, struct sy_buf *append, struct sy_error_text *error)
{
    int r = check(spec, error);
    if (r < 0)
        return r;
    struct parts parts = {0};
    Flyteidl2__Core__Identifier id = FLYTEIDL2__CORE__IDENTIFIER__INIT;
    id.resource_type = FLYTEIDL2__CORE__RESOURCE_TYPE__TASK;
    id.name = cl_unconst(display_name(spec));
    Flyteidl2__Core__TaskTemplate task = FLYTEIDL2__CORE__TASK_TEMPLATE__INIT;
    task.id = &id;
    task.type = cl_unconst(type_names[spec->type]);
    fill_metadata(&parts, spec);
    task.metadata = &parts.metadata;
    if (spec->type != CL_SPEC_GROUP) {
        fill_container(&parts, spec);
        task.target_case = FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER;
        task.container = &parts.container;
    }
    if (spec->gpu_model) {
        flyteidl2__core__gpuaccelerator__init(&parts.accelerator);
        flyteidl2__core__extended_resources__init(&parts.extended);
        parts.accelerator.device = cl_unconst(spec->gpu_model);
        parts.extended.gpu_accelerator = &parts.accelerator;
        task.extended_resources = &parts.extended;
    }
    Flyteidl2__Task__TaskSpec message = FLYTEIDL2__TASK__TASK_SPEC__INIT;
    message.task_template = &task;
    message.short_name = cl_unconst(display_name(spec));
    pb_pack(&message.base, append);
    free_variables(&parts);
    return 0;
}
