/*
 * Resource vectors. A request and what a node has are both struct sch_resources; a resource class
 * is a distinct request. Zero-padded, so that two requests are equal when their bytes are.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define SCH_GPU_MODEL_MAX 24
#define SCH_ENVIRONMENT_MAX 40
#define SCH_CPU_MILLI_MAX 100000000u      /* 100,000 cores */
#define SCH_MEMORY_BYTES_MAX (1ull << 50) /* 1 PiB */
#define SCH_GPUS_MAX 1024u

struct sch_resources {
    uint64_t memory_bytes;
    uint32_t cpu_milli;
    uint32_t gpus;
    char gpu_model[SCH_GPU_MODEL_MAX];     /* "" = any */
    char environment[SCH_ENVIRONMENT_MAX]; /* warm pool that the task needs; "" = cold process */
};

/* How many workers x concurrency a node can keep for an environment. */
struct sch_environment {
    char name[SCH_ENVIRONMENT_MAX];
    uint32_t slots;
};

/* A distinct kind of node of a cluster, and how many there are. */
struct sch_shape {
    struct sch_resources capacity;
    uint32_t nodes;
    uint32_t environment_count;
    struct sch_environment environments[16];
};

bool sch_resources_equal(const struct sch_resources *a, const struct sch_resources *b);
uint64_t sch_resources_hash(const struct sch_resources *r);
/* Whether an empty node of this shape could ever hold one such task. When not, *ret_miss (may be
 * NULL) names the first amount that is missing: "8 x H100 asked, 4 x H100 there". */
bool sch_shape_fits(const struct sch_shape *shape, const struct sch_resources *request,
                    struct sy_error_text *ret_miss);
