/*
 * Which GPUs an attempt gets: whole ones, a share of one, or MIG slices; never one twice. Pure.
 *
 * Whole ones: from the group (GPUs that NVLink or a NUMA node joins, as configured) that has enough
 * of them free and the fewest left over; when none has, from as few groups as possible. A share
 * goes to the GPU that is used most among those that are shared already and have it left; else it
 * takes a free one. So whole GPUs, and whole groups, stay free as long as they can.
 */
#pragma once

#include "scheduler/resources.h"

#define AG_GPU_GROUPS_MAX 64

struct ag_devices {
    uint32_t count, free_count; /* of GPUs; free: none of it is used */
    uint16_t used_milli[SCH_GPUS_MAX];
    uint8_t group[SCH_GPUS_MAX]; /* 0: none of its own */
    uint16_t group_free[AG_GPU_GROUPS_MAX];
    struct sch_traits traits;                                    /* slices, sharing */
    uint64_t slices_used[SCH_GPU_SLICES_MAX][SCH_GPUS_MAX / 64]; /* bit n: slice n */
    uint32_t slices_free[SCH_GPU_SLICES_MAX];
};

/* `groups`: for each GPU, below AG_GPU_GROUPS_MAX; NULL: not known. */
void ag_devices_init(struct ag_devices *devices, uint32_t count, const uint8_t *groups,
                     const struct sch_traits *traits);
/* How many numbers a request takes. */
uint32_t ag_devices_asked(const struct sch_resources *request);
/* Whether it fits now. */
bool ag_devices_fit(const struct ag_devices *devices, const struct sch_resources *request);
/* It must fit. Numbers of GPUs; with a gpu_partition of slices of that profile. */
void ag_devices_take(struct ag_devices *devices, const struct sch_resources *request,
                     uint16_t *ret_numbers);
void ag_devices_give(struct ag_devices *devices, const struct sch_resources *request,
                     const uint16_t *numbers);
