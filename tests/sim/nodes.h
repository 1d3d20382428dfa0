/*
 * What nodes have, and what tasks ask for: a few kinds of both, drawn for each world. Only kinds of
 * tasks that some node of the world could run come up. Pure.
 */
#pragma once

#include "base/rng.h"
#include "scheduler/resources.h"
#include "tools/src/cl_spec.h"

#define SIM_TASK_KINDS 7
#define SIM_SLICE "1g.5gb"
#define SIM_SLICES_MAX 4

extern const char *const sim_slice_names[SIM_SLICES_MAX];

struct sim_node {
    struct sch_resources capacity;
    struct sch_traits traits;
    struct sch_environment environment;
};

/* `plain`: what every world has at least one of, so that its simplest tasks can run. */
void sim_node_draw(struct sim_node *ret, struct sy_rng *rng, bool plain);

struct sim_task_kind {
    struct cl_spec spec;
    const char *slice;      /* a MIG profile, in place of a whole GPU; NULL: none */
    const char *memory_max; /* it may be given so much after it ran out of memory; NULL: it fails */
};
/* Kind 0 runs on plain nodes. */
const struct sim_task_kind *sim_task_kind(unsigned kind);
/* Whether a node could ever run it. */
bool sim_task_fits(unsigned kind, const struct sim_node *node);
/* How many of it an empty node holds; without counting GPUs beyond the first. */
uint32_t sim_task_places(unsigned kind, const struct sim_node *node);
