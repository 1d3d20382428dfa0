/*
 * Between partition_explain.c (what is: clusters, limits, who is ahead), partition_change.c (the
 * smallest set of changes) and partition_ahead.c (whether others would take what these give).
 */
#pragma once

#include "scheduler/explain.h"
#include "scheduler/partition_impl.h"

/* Lanes and clusters of other classes that an explanation looks at, at most: to count who is ahead,
 * and again to find changes. */
#define SCH_EXPLAIN_STEPS_MAX 5000u
#define SCH_EXPLAIN_CHANGE_STEPS_MAX 2000u

/* An action that waits, or one that is only asked about. */
struct sch_query {
    const struct sch_partition *p;
    const struct sch_resources *request;
    const struct sch_gang_shape *gang; /* size 0: none */
    struct sch_use need;               /* of all of it */
    const struct sch_share *tenant;
    const struct sch_class *class; /* NULL: there is none yet */
    const struct sch_lane *lane;   /* likewise */
    uint64_t id;
    int32_t priority; /* as sch_lane_priority() */
    bool slot;        /* its run has none for it */
    unsigned steps;   /* left to look at */
    struct sch_explanation *e;
};

/* Whether the lane's first goes before the action, if that is the first of its own lane. */
bool sch_query_is_behind(const struct sch_query *q, const struct sch_lane *lane);
/* One step of looking; false: no more. */
bool sch_query_step(struct sch_query *q);
/* What the operator granted of the class counts: it was asked. */
bool sch_grant_is_known(const struct sch_class *class, const struct sch_pair *pair);
/* The level whose list of clusters holds for the tenant; NULL: all clusters. */
const struct sch_share *sch_share_with_list(const struct sch_share *tenant);
/* A queue, or a level, pays less. */
static inline bool sch_price_is_short(const struct sch_share *share, int64_t price)
{
    return share->config && share->config->price_max > 0 && price > share->config->price_max;
}
/* It keeps its work out of the region; "": of a cluster that does not say. */
static inline bool sch_region_is_out(const struct sch_share *share, const char *region)
{
    const struct sch_queue_config *config = share->config;
    return config && config->region_count > 0 &&
           !sch_names_have(config->regions, config->region_count, region);
}
struct sch_use sch_cluster_free_room(const struct sch_cluster *cluster);
static inline bool sch_room_fits(const struct sch_use *room, const struct sch_use *one)
{
    return room->cpu_milli >= one->cpu_milli && room->memory_bytes >= one->memory_bytes &&
           room->gpu_milli >= one->gpu_milli;
}
/* What the partition may use of each amount: the limits of the level, less what other partitions
 * have. UINT64_MAX: no limit. */
struct sch_use sch_share_allowed(const struct sch_share *share);

/* ---- partition_change.c ---- */
/* Fills e->changes and e->starts_now; everything else of it is there. */
void sch_query_changes(struct sch_query *q);

/* ---- partition_ahead.c ---- */
/* With the changes that make it start in the cluster: whether others would start instead. When
 * there are too many to say: whether anybody is ahead. */
bool sch_query_others_first(struct sch_query *q, const struct sch_explain_cluster *facts);
