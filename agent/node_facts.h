/* What a node has and is: as configured, or as found on the machine. */
#pragma once

#include "agent/config.h"
#include "agent/devices.h"
#include "base/log.h"

struct ag_node_facts {
    struct sch_resources capacity;
    struct sch_traits traits;
    bool grouped;
    uint8_t gpu_groups[SCH_GPUS_MAX];
    const char *const *slice_names[SCH_GPU_SLICES_MAX]; /* into the configuration */
};

/* -EINVAL with a sentence: labels, taints, slices or groups that are none. `log` may be NULL. */
int ag_node_facts_init(struct ag_node_facts *ret, const struct ag_config *config,
                       struct sy_log *log, struct sy_error_text *error) SY_MUST_USE;
