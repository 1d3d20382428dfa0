#include "agent/node_facts.h"

#include "agent/events.h"
#include "agent/gpu.h"
#include "scheduler/labels.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GIB ((uint64_t)1 << 30)

/* ---- amounts ---- */

static uint32_t count_cpus(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return (uint32_t)(count > 0 ? count : 1);
}

/* Whole GiB where there are many: machines of one kind report a few pages more or less, and would
 * be as many kinds of nodes. */
static uint64_t count_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGE_SIZE);
    uint64_t bytes = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size / 10 * 9 : GIB;
    return bytes >= 8 * GIB ? bytes / GIB * GIB : bytes;
}

static int find_capacity(struct sch_resources *ret, const struct ag_config *config,
                         struct sy_log *log, struct sy_error_text *error)
{
    ret->cpu_milli = config->cpu_milli ? (uint32_t)config->cpu_milli : count_cpus() * 1000;
    ret->memory_bytes = config->memory_bytes ? (uint64_t)config->memory_bytes : count_memory();
    struct ag_gpus gpus = {0};
    if (config->gpus != 0)
        ag_gpus_find(&gpus);
    ret->gpus = config->gpus >= 0 ? (uint32_t)config->gpus : gpus.count;
    if (gpus.count > 0)
        sy_log(log, &ag_events, AG_EV_GPUS, SY_U64("count", gpus.count),
               SY_STR("model", gpus.model));
    if (ret->gpus == 0 && config->gpu_slices.count == 0)
        return 0;
    const char *model = config->gpu_model[0] != '\0' ? config->gpu_model : gpus.model;
    return sch_gpu_model_set(ret->gpu_model, model, error);
}

/* ---- traits ---- */

static int read_labels(struct sch_traits *ret, const struct ag_config *config,
                       struct sy_error_text *error)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < config->labels.count; i++)
        r = sch_labels_put(ret->labels, sizeof(ret->labels), config->labels.pairs[i].key,
                           config->labels.pairs[i].value, error);
    char *const *taints = config->taints.items;
    for (size_t i = 0; r == 0 && i < config->taints.count; i++)
        r = sch_labels_parse(ret->taints, sizeof(ret->taints), taints[i], error);
    if (r == 0 && config->spot)
        r = sch_labels_put(ret->labels, sizeof(ret->labels), SCH_LABEL_SPOT, "true", error);
    if (r == 0 && config->spot)
        r = sch_labels_put(ret->taints, sizeof(ret->taints), SCH_LABEL_SPOT, "", error);
    return r < 0 ? -EINVAL : 0;
}

static int compare_profiles(const void *a, const void *b)
{
    const struct ag_config_slices *const *left = a, *const *right = b;
    return strcmp((*left)->profile, (*right)->profile);
}

static int read_slices(struct ag_node_facts *ret, const struct ag_config *config,
                       struct sy_error_text *error)
{
    const struct ag_config_slices *slices = config->gpu_slices.items;
    const struct ag_config_slices *sorted[SCH_GPU_SLICES_MAX];
    size_t count = config->gpu_slices.count;
    for (size_t i = 0; i < count && count <= SCH_GPU_SLICES_MAX; i++)
        sorted[i] = &slices[i];
    if (count > 0 && count <= SCH_GPU_SLICES_MAX)
        qsort(sorted, count, sizeof(const struct ag_config_slices *), compare_profiles);
    for (size_t i = 0; i < count; i++) {
        struct sch_gpu_slices *to = &ret->traits.slices[i];
        if (count > SCH_GPU_SLICES_MAX || strlen(sorted[i]->profile) >= sizeof(to->name) ||
            sorted[i]->devices.count > SCH_GPUS_MAX ||
            sch_traits_find_slices(&ret->traits, sorted[i]->profile) >= 0) {
            sy_error_text_set(error,
                              "gpu_slices: at most %d profiles, each once, with a name below %d "
                              "characters and at most %u devices",
                              SCH_GPU_SLICES_MAX, SCH_GPU_PARTITION_MAX, SCH_GPUS_MAX);
            return -EINVAL;
        }
        snprintf(to->name, sizeof(to->name), "%s", sorted[i]->profile);
        to->count = (uint32_t)sorted[i]->devices.count;
        ret->slice_names[i] = (const char *const *)sorted[i]->devices.items;
        ret->traits.slice_count++;
    }
    return 0;
}

/* ---- groups ---- */

/* "0-3,6": each of its GPUs gets the group. */
static bool read_group(struct ag_node_facts *ret, const char *text, uint8_t group)
{
    while (*text) {
        char *end;
        unsigned long first = strtoul(text, &end, 10), last = first;
        if (end == text)
            return false;
        if (*end == '-') {
            text = end + 1;
            last = strtoul(text, &end, 10);
            if (end == text)
                return false;
        }
        if (last >= ret->capacity.gpus || first > last || (*end != ',' && *end != '\0'))
            return false;
        for (unsigned long i = first; i <= last; i++) {
            if (ret->gpu_groups[i] != 0)
                return false;
            ret->gpu_groups[i] = group;
        }
        text = end + (*end == ',');
    }
    return true;
}

static int read_groups(struct ag_node_facts *ret, const struct ag_config *config,
                       struct sy_error_text *error)
{
    char *const *groups = config->gpu_groups.items;
    size_t count = config->gpu_groups.count;
    for (size_t i = 0; i < count; i++) {
        if (count < AG_GPU_GROUPS_MAX && read_group(ret, groups[i], (uint8_t)(i + 1)))
            continue;
        sy_error_text_set(error,
                          "gpu_groups: '%s': expected numbers below %u such as 0-3 or 0,2, each "
                          "in one group, and at most %d groups",
                          groups[i], ret->capacity.gpus, AG_GPU_GROUPS_MAX - 1);
        return -EINVAL;
    }
    ret->grouped = count > 0;
    return 0;
}

int ag_node_facts_init(struct ag_node_facts *ret, const struct ag_config *config,
                       struct sy_log *log, struct sy_error_text *error)
{
    memset(ret, 0, sizeof(*ret));
    int r = find_capacity(&ret->capacity, config, log, error);
    ret->traits.gpus_shared = config->gpu_sharing;
    if (r == 0)
        r = read_labels(&ret->traits, config, error);
    if (r == 0)
        r = read_slices(ret, config, error);
    if (r == 0)
        r = read_groups(ret, config, error);
    return r;
}
