/* Which cluster, inside of the partition core; partition_route.c says how it is chosen. */
#pragma once

#include "scheduler/partition_impl.h"

/* Whether a cluster is known that could run it: what nobody has told does not count. */
bool sch_is_runnable(const struct sch_partition *p, const struct sch_resources *request,
                     const struct sch_gang_shape *gang, const struct sch_rule *rule);
/* A pair with the first cluster of those that it has none with. */
void sch_class_add_cluster(struct sch_partition *p, struct sch_class *class);
/* It follows its cluster, if it has not yet: connection, shapes and what it says of itself. */
void sch_pair_sync(struct sch_partition *p, struct sch_pair *pair);
void sch_class_grant(struct sch_partition *p, struct sch_class *class, struct sch_cluster *cluster,
                     uint64_t granted, uint64_t startable);
/* Of all classes together, for so much more. */
bool sch_cluster_has_room(const struct sch_cluster *cluster, const struct sch_use *need);
/* Those that found it too small are to look again. */
void sch_cluster_room(struct sch_partition *p, struct sch_cluster *cluster,
                      const struct sch_use *granted);
/* It was short of room; that is over if there is enough now. */
void sch_pair_wake(struct sch_partition *p, struct sch_pair *pair);
/* Where the next one goes; NULL: no cluster has room now. */
struct sch_pair *sch_class_route(struct sch_partition *p, struct sch_class *class);
void sch_pair_take(struct sch_partition *p, struct sch_pair *pair);
void sch_pair_free(struct sch_partition *p, struct sch_pair *pair);
/* An attempt of the class ended there: well, or by the cluster's fault. */
void sch_pair_report(struct sch_partition *p, struct sch_class *class, struct sch_cluster *cluster,
                     bool well);
/* 0 to 3: how far it is behind others for what failed there lately. */
static inline unsigned sch_pair_failing(const struct sch_pair *pair)
{
    unsigned quarters = pair->failing / SCH_FAILING_QUARTER;
    return quarters < 3 ? quarters : 3;
}
void sch_avoided_tick(struct sch_partition *p);
/* Whether the cluster has room now is not known any more. */
void sch_pair_ask(struct sch_partition *p, struct sch_pair *pair);
/* The others first, for so long. */
void sch_pair_avoid(struct sch_partition *p, struct sch_pair *pair, int64_t ns);
/* What clusters are asked for: with the queue's word that its work may run on spot nodes, where the
 * request's tolerations have room for that. */
struct sch_resources sch_rule_request(const struct sch_rule *rule,
                                      const struct sch_resources *asked);
/* Whether the cluster is in a region where a queue's work may run; true while that is not known. */
bool sch_rule_has_region(const struct sch_rule *rule, const struct sch_cluster *cluster);
bool sch_rule_prefers(const struct sch_rule *rule, const struct sch_cluster *cluster);
/* Whether a queue's work may run on the cluster; says why not. */
bool sch_rule_fits(const struct sch_rule *rule, const struct sch_cluster *cluster,
                   struct sy_error_text *ret_misses);
/* A class whose policy has an order between clusters waits for the better ones: from when somebody
 * waits in it. */
void sch_class_be_patient(struct sch_partition *p, struct sch_class *class);
/* The first of its pairs has not answered yet. */
bool sch_class_is_patient(const struct sch_class *class);
/* The cluster was asked, for the first time. */
void sch_pair_expect(struct sch_partition *p, struct sch_pair *pair);
void sch_patience_tick(struct sch_partition *p);
/* Instead of the best one by the class's policy, for this action: as good, and where its parent
 * is. */
struct sch_pair *sch_pair_near(const struct sch_action_impl *a, struct sch_pair *best);
