/*
 * A region as a file describes it: clusters with groups of equal nodes, and queues. What a file may
 * say is in the tables of sim_region.c; `switchyard-simulate --print-region` prints them.
 */
#pragma once

#include "scheduler/queue.h"
#include "scheduler/resources.h"

#include <stddef.h>
#include <stdint.h>

#define SIM_NODES_MAX 100000u /* of all clusters */

struct sim_node_group {
    char name[SCH_QUEUE_NAME_MAX];
    struct sch_resources capacity;
    struct sch_traits traits;
    uint32_t count;
    int64_t price; /* of a core, instead of its cluster's; 0 = that */
    /* Spot nodes: so many times a day, on average, one is taken away, with what runs there. */
    uint32_t reclaims_per_day;
    int64_t reclaimed_ns; /* and comes back after that */
};

struct sim_cluster_config {
    char name[SCH_QUEUE_NAME_MAX];
    char region[SCH_QUEUE_NAME_MAX]; /* "" = not known */
    int64_t price; /* of a core, in millionths of a currency an hour; 0 = not known */
    struct sim_node_group *groups;
    size_t group_count;
};

struct sim_region {
    int64_t ageing_ns, reclaim_delay_ns, reserve_after_ns;
    struct sim_cluster_config *clusters;
    struct sch_queue_config *queues; /* parents before their children */
    size_t cluster_count, queue_count;
    uint32_t node_count;
};

/* -EINVAL with every problem; errors of open(2) and read(2). The caller frees. */
int sim_region_load(struct sim_region *ret, const char *path,
                    struct sy_error_text *error) SY_MUST_USE;
int sim_region_parse(struct sim_region *ret, const char *name, const char *text, size_t len,
                     struct sy_error_text *error) SY_MUST_USE;
void sim_region_deinit(struct sim_region *region);
void sim_region_print(int fd);

/* The most of each amount that a node has; the model is empty. */
struct sch_resources sim_region_largest_node(const struct sim_region *region);
/* The configured queue that a task of this project, domain and queue name waits in, as
 * scheduler/queue.h says; NULL: none is configured. */
const struct sch_queue_config *sim_region_queue(const struct sim_region *region,
                                                const struct sch_queue_key *key);
/* Exactly this one; NULL: it is not configured. */
const struct sch_queue_config *sim_region_find(const struct sim_region *region, const char *project,
                                               const char *domain, const char *name);
/* Whether what waits in that queue may run on the cluster: by its and all upper levels' regions and
 * price limits, and by the nearest level's list of clusters. */
bool sim_region_permits(const struct sim_region *region, const struct sch_queue_key *key,
                        const struct sim_cluster_config *cluster);
/* Whether what waits in that queue may run on nodes with these taints: by what it tolerates itself,
 * and spot nodes where its queue, or a level above, says so. */
bool sim_region_tolerates(const struct sim_region *region, const struct sch_queue_key *key,
                          const struct sch_resources *request, const char *taints);
