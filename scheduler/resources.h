/*
 * Resource vectors. A request and the amounts of a node are both struct sch_resources; a resource
 * class is a distinct request. Zero-padded, so that two requests are equal when their bytes are.
 * They are kept once for each class, never for each action.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define SCH_GPU_MODEL_MAX 24
#define SCH_GPU_PARTITION_MAX 20
#define SCH_ENVIRONMENT_MAX 40
#define SCH_LABELS_MAX 96       /* that a request wants */
#define SCH_TOLERATIONS_MAX 64  /* of a request */
#define SCH_NODE_LABELS_MAX 384 /* that a node has */
#define SCH_TAINTS_MAX 128      /* of a node */
#define SCH_GPU_SLICES_MAX 8
#define SCH_CPU_MILLI_MAX 100000000u      /* 100,000 cores */
#define SCH_MEMORY_BYTES_MAX (1ull << 50) /* 1 PiB */
#define SCH_GPUS_MAX 1024u
#define SCH_GPU_MILLI 1000u /* a whole GPU */

/* A node that may be taken away at short notice has both; a request that may be interrupted
 * tolerates it. */
#define SCH_LABEL_SPOT "switchyard.dev/spot"

struct sch_resources {
    uint64_t memory_bytes;
    uint32_t cpu_milli;
    uint32_t gpus;      /* whole ones; with gpu_partition: slices of that name */
    uint32_t gpu_milli; /* of a request: a share of one GPU, 1 to 999; then gpus is 0 */
    char gpu_model[SCH_GPU_MODEL_MAX];         /* "" = any; spelled as sch_gpu_model_set() does */
    char gpu_partition[SCH_GPU_PARTITION_MAX]; /* of a request: a MIG profile, "1g.5gb" */
    char environment[SCH_ENVIRONMENT_MAX]; /* warm pool that the task needs; "" = cold process */
    char labels[SCH_LABELS_MAX];           /* of a request: the node has them all; see labels.h */
    char tolerations[SCH_TOLERATIONS_MAX]; /* of a request */
};

/* How many workers x concurrency a node can keep for an environment. */
struct sch_environment {
    char name[SCH_ENVIRONMENT_MAX];
    uint32_t slots;
};

/* MIG slices of one profile that a node has, beside its whole GPUs. */
struct sch_gpu_slices {
    char name[SCH_GPU_PARTITION_MAX];
    uint32_t count;
};

/* What a node is, beside its amounts. Zero-padded too. */
struct sch_traits {
    char labels[SCH_NODE_LABELS_MAX]; /* see labels.h */
    char taints[SCH_TAINTS_MAX];      /* nothing is placed there that does not tolerate them all */
    uint32_t gpus_shared;             /* 1: its GPUs are given in parts too */
    uint32_t slice_count;
    struct sch_gpu_slices slices[SCH_GPU_SLICES_MAX]; /* by name */
};

/* A distinct kind of node of a cluster, and how many there are. */
struct sch_shape {
    struct sch_resources capacity;
    struct sch_traits traits;
    uint32_t nodes;
    uint32_t environment_count;
    struct sch_environment environments[16];
};

bool sch_resources_equal(const struct sch_resources *a, const struct sch_resources *b);
uint64_t sch_resources_hash(const struct sch_resources *r);
/* Thousandths of whole GPUs; slices are no part of these. */
uint64_t sch_resources_gpu_milli(const struct sch_resources *r);
/* Whether it asks for GPUs, whole, in part or as slices. */
bool sch_resources_has_gpu(const struct sch_resources *r);
/* Whether an empty node of this shape could ever hold one such task. When not, *ret_miss (may be
 * NULL) names the first thing that is missing: "8 x H100 asked, 4 x H100 there". */
bool sch_shape_fits(const struct sch_shape *shape, const struct sch_resources *request,
                    struct sy_error_text *ret_miss);
/* Whether one of them could; when not, the miss is that of the nearest: with the environment, then
 * with most GPUs if these are asked for, then with most memory and cpu. */
bool sch_shapes_fit(const struct sch_shape *shapes, size_t count,
                    const struct sch_resources *request, struct sy_error_text *ret_miss);
/* How many such tasks an empty node of this shape holds at a time. In operator_room.c. */
uint32_t sch_shape_slots(const struct sch_shape *shape, const struct sch_resources *request);
/* -1: the node has none of that name. */
int sch_traits_find_slices(const struct sch_traits *traits, const char *name);

/* ---- what a task's definition says, read alike by shards and agents; all -EINVAL with a sentence
 * ---- */

/* The spelling that models are compared in: Flyte's names, upper case, words joined by "_", without
 * the maker: "nvidia-tesla-t4" and "T4" are "T4", "A100 80G" and "nvidia-a100-80gb" are "A100_80G".
 * A request for a "T4 shared" asks for a share of a T4 (SCH_GPU_SHARED_MILLI each). */
#define SCH_GPU_SHARED_MILLI 250u
int sch_gpu_model_set(char ret[SCH_GPU_MODEL_MAX], const char *model,
                      struct sy_error_text *error) SY_MUST_USE;
/* Thousandths of GPUs: whole ones, or a part of one. */
int sch_request_set_gpus(struct sch_resources *request, uint64_t gpu_milli,
                         struct sy_error_text *error) SY_MUST_USE;
/* Flyte's accelerator, after the amount; `partition` may be "". */
int sch_request_set_device(struct sch_resources *request, const char *device, const char *partition,
                           struct sy_error_text *error) SY_MUST_USE;
/* What becomes of a running attempt that cannot be heard: given up and begun elsewhere when the
 * lease of its node or cluster is over; or never given up for silence: only when its node comes
 * back without it, or a person fences or deletes what holds it; or as the first, and its agent
 * stops it before that (scheduler/stop.h). */
enum sch_on_partition {
    SCH_ON_PARTITION_REPLACE,
    SCH_ON_PARTITION_WAIT,
    SCH_ON_PARTITION_STOP,
};
/* "replace", "wait", "stop-on-agent". */
int sch_on_partition_parse(const char *value, enum sch_on_partition *ret,
                           struct sy_error_text *error) SY_MUST_USE;
/* An environment variable of the task, for what Flyte's SDK has no field:
 *   SWITCHYARD_NODE_LABELS  "disk=ssd,zone=a": nodes with all of these
 *   SWITCHYARD_TOLERATIONS  "dedicated=ml,spot" or "all": taints it may run in spite of
 *   SWITCHYARD_GPU_SHARE    "0.25": a part of one GPU, in place of whole ones
 * Others are 0 and nothing. */
int sch_request_set_variable(struct sch_resources *request, const char *key, const char *value,
                             struct sy_error_text *error) SY_MUST_USE;
