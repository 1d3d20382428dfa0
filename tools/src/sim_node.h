/*
 * A node's room. The GPUs of a node that gives them in parts are told apart: the parts of one add
 * up to one, and a whole one is one that nobody has a part of. Others, and slices, are counted.
 */
#pragma once

#include "base/map.h"
#include "base/rng.h"
#include "scheduler/queue.h"
#include "scheduler/resources.h"

#define SIM_SHARED_GPUS_MAX 64u /* of a node that gives them in parts: a bit each */

struct sim_node {
    char name[SCH_QUEUE_NAME_MAX + 16];
    uint32_t cluster;
    struct sch_resources capacity, used; /* used: by tasks that run; its gpus: where not in parts */
    const struct sch_traits *traits;
    uint32_t slices_used[SCH_GPU_SLICES_MAX];
    uint16_t parts[SIM_SHARED_GPUS_MAX]; /* thousandths used of each GPU that is given in parts */
    struct sy_map_link by_name;          /* of its cluster; the policy's */
    int64_t price;          /* of a core, in millionths of a currency an hour; 0 = not known */
    int64_t reclaim_ns;     /* mean time until it is taken away; 0: it never is */
    int64_t reclaimed_ns;   /* for so long */
    struct sy_rng reclaims; /* its own, so that they are the same under each policy */
    uint32_t first;         /* task + 1 that runs there, of a list; 0: none */
    bool away;              /* it was taken away */
};

/* `empty`: whether it could when nothing ran there. */
bool sim_node_fits(const struct sim_node *node, const struct sch_resources *request, bool empty);
/* The same, as far as GPUs and slices go: enough are there, of that model. */
bool sim_node_has_gpus(const struct sim_node *node, const struct sch_resources *request,
                       bool empty);
/* It fits. Returns which GPUs it has, a bit each; 0: none that are told apart. `gpus`: these, or 0
 * for the choice of agents (of those with room the one that is used most). */
uint64_t sim_node_take(struct sim_node *node, const struct sch_resources *request, uint64_t gpus);
void sim_node_give(struct sim_node *node, const struct sch_resources *request, uint64_t gpus);
double sim_node_free_gpus(const struct sim_node *node);
