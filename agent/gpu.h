/* Which GPUs this machine has, asked of NVIDIA's libraries when they are installed. */
#pragma once

#include "scheduler/resources.h"

struct ag_gpus {
    uint32_t count;
    char model[SCH_GPU_MODEL_MAX]; /* "H100", "A100", "RTX-4090"; of the first */
};

/* Nothing found is 0 GPUs, not an error. Takes some 100 ms where there is a driver. */
void ag_gpus_find(struct ag_gpus *ret);
/* "NVIDIA A100-SXM4-80GB" -> "A100", as people ask for it. */
void ag_gpu_model(const char *name, char ret[SCH_GPU_MODEL_MAX]);
