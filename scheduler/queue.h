/*
 * Queues as people configure them, and what is checked of that. Pure values: how a partition shares
 * room by them is in scheduler/share.h.
 *
 * A queue is named by (project, domain, name). What is left out says how far it reaches:
 *
 *     project  domain  name
 *     fraud    prod    batch     a queue of that project and domain
 *     fraud    ""      batch     a queue of the whole project
 *     ""       ""      gpu       a queue of the region
 *     fraud    prod    ""        no queue: what the project has in that domain, all queues together
 *     fraud    ""      ""        no queue: what the project has in all
 *
 * The tree by which room is shared: region > project > domain > queues; a region's queue is beside
 * the projects, a project's beside its domains; a queue with a parent is below that one. Under a
 * queue that several (project, domain) use, these share equally. Limits and weights hold at every
 * level.
 *
 * Which queue an action waits in: the one it names, first of its project and domain, then of its
 * project, then of the region. Without a name: "default" of its project and domain, which need not
 * be configured.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCH_QUEUE_NAME_MAX 64 /* with the NUL */
#define SCH_QUEUE_DEFAULT "default"
#define SCH_QUEUE_CLUSTERS_MAX 16u
#define SCH_QUEUE_PREFERRED_MAX 4u
#define SCH_QUEUE_REGIONS_MAX 4u
#define SCH_QUEUE_DEPTH_MAX 4u /* queues above each other */
#define SCH_RECLAIM_QUEUES_MAX                                                                     \
    32u /* named at a time, in turns, as those whose work may be stopped */
#define SCH_QUEUE_WEIGHT_DEFAULT 100u
#define SCH_QUEUE_WEIGHT_MAX 10000u
#define SCH_QUEUE_PRIORITY_MAX 1000 /* and its negative */

/* How a cluster is chosen among those that have room. */
enum sch_policy {
    SCH_POLICY_SPREAD,        /* most free room first; the default */
    SCH_POLICY_PACK,          /* least free room first */
    SCH_POLICY_CHEAPEST,      /* lowest price, then most free room */
    SCH_POLICY_FASTEST_START, /* where most would start at once, then most free room */
    SCH_POLICY_LOCALITY,      /* where its parent runs or ran, then most free room */
    SCH_POLICIES,
};

/* What becomes of an action that waits when no cluster is left that could ever run it. */
enum sch_infeasible {
    SCH_INFEASIBLE_INHERIT, /* as above it says; nowhere: sch_partition_options.infeasible */
    SCH_INFEASIBLE_HOLD,    /* it waits for one to come */
    SCH_INFEASIBLE_FAIL,    /* it ends FAILED after sch_partition_options.infeasible_grace_ns */
    SCH_INFEASIBLES,
};

struct sch_queue_key {
    char project[SCH_QUEUE_NAME_MAX], domain[SCH_QUEUE_NAME_MAX], name[SCH_QUEUE_NAME_MAX];
};

/* How far the queue reaches in which an action was let in. */
enum sch_queue_reach {
    SCH_REACH_NEAREST, /* not known: by its name, as for a new action */
    SCH_REACH_DOMAIN,
    SCH_REACH_PROJECT,
    SCH_REACH_REGION,
    SCH_REACHES,
};

struct sch_queue_config {
    struct sch_queue_key key;
    char parent[SCH_QUEUE_NAME_MAX]; /* a queue of the same project and domain; "" = none. A change
                                        takes effect when nothing is in the queue */
    uint32_t weight;                 /* among its siblings; 1 to SCH_QUEUE_WEIGHT_MAX */
    int32_t priority;                /* added to that of its actions */
    /* Of what is out (assigned or running) at a time; 0 = no limit. */
    uint64_t actions_max, cpu_milli_max, memory_bytes_max;
    uint32_t gpus_max;
    uint64_t length_max;       /* actions that are there and not out; 0 = no limit */
    int64_t queued_timeout_ns; /* as sch_spec.queued_timeout_ns, the smaller counts; 0 = none. A
                                  change holds for actions that come after it */
    int64_t price_max; /* of a cluster, in millionths of a currency an hour for a core; 0 = any */
    bool preemptible;  /* its actions may be stopped and queued again for others' sake */
    bool paused;       /* nothing of it starts */
    bool preemptible_nodes; /* its actions may run on nodes that can be taken away (spot) */
    enum sch_policy policy;
    enum sch_infeasible infeasible;
    uint32_t preferred_count, region_count, cluster_count;
    /* The names come last: a copy may end behind the last one that is used. */
    /* Where its actions go as long as there is room, before the policy is asked; none: as above. */
    char preferred[SCH_QUEUE_PREFERRED_MAX][SCH_QUEUE_NAME_MAX];
    /* Regions of clusters where its actions may run, and so their data may be; those of the levels
     * above hold too. None: as above it. */
    char regions[SCH_QUEUE_REGIONS_MAX][SCH_QUEUE_NAME_MAX];
    char clusters[SCH_QUEUE_CLUSTERS_MAX][SCH_QUEUE_NAME_MAX]; /* none: all */
};

/* Up to behind its last name. */
size_t sch_queue_config_size(const struct sch_queue_config *config);
/* What a queue is that nobody configured. */
struct sch_queue_config sch_queue_config_default(const struct sch_queue_key *key);
/* 0, or -EINVAL with a sentence that names the field, the value and what would be right. Whether
 * the parent exists and is not below the queue itself the caller sees to. */
int sch_queue_config_check(const struct sch_queue_config *config,
                           struct sy_error_text *error) SY_MUST_USE;
/* Whether the name is one of them. */
bool sch_names_have(const char names[][SCH_QUEUE_NAME_MAX], uint32_t count, const char *name);
enum sch_queue_reach sch_queue_key_reach(const struct sch_queue_key *key);
/* "fraud/prod/batch", "gpu": for people. */
void sch_queue_key_print(const struct sch_queue_key *key, struct sy_error_text *ret);
const char *sch_policy_name(enum sch_policy policy);
/* 0, or -EINVAL: no policy has that name. */
int sch_policy_parse(const char *name, enum sch_policy *ret) SY_MUST_USE;
