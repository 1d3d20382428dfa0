/* Which cluster, inside of the partition core; partition_route.c says how it is chosen. */
#pragma once

#include "scheduler/partition_impl.h"

/* Whether a cluster is known that could run it: what nobody has told does not count. */
bool sch_is_runnable(const struct sch_partition *p, const struct sch_resources *request,
                     const struct sch_gang_shape *gang, const struct sch_rule *rule);
void sch_class_add_cluster(struct sch_partition *p, struct sch_class *class,
                           struct sch_cluster *cluster);
/* The cluster's connection or shapes changed. */
void sch_class_update_cluster(struct sch_partition *p, struct sch_class *class,
                              struct sch_cluster *cluster);
void sch_class_reset_cluster(struct sch_partition *p, struct sch_class *class,
                             struct sch_cluster *cluster);
void sch_class_grant(struct sch_partition *p, struct sch_class *class, struct sch_cluster *cluster,
                     uint64_t granted, uint64_t startable);
void sch_cluster_room(struct sch_partition *p, struct sch_cluster *cluster,
                      const struct sch_use *granted);
/* Where the next one goes; NULL: no cluster has room now. */
struct sch_pair *sch_class_route(struct sch_partition *p, struct sch_class *class);
void sch_pair_take(struct sch_partition *p, struct sch_pair *pair);
void sch_pair_free(struct sch_partition *p, struct sch_pair *pair);
/* An attempt of the class ended there: well, or by the cluster's fault. */
void sch_pair_report(struct sch_partition *p, struct sch_class *class, struct sch_cluster *cluster,
                     bool well);
void sch_avoided_tick(struct sch_partition *p);
/* Whether the cluster has room now is not known any more. */
void sch_pair_ask(struct sch_partition *p, struct sch_pair *pair);
/* The others first, for so long. */
void sch_pair_avoid(struct sch_partition *p, struct sch_pair *pair, int64_t ns);
/* Whether a queue's work may run on the cluster; says why not. */
bool sch_rule_fits(const struct sch_rule *rule, const struct sch_cluster *cluster,
                   struct sy_error_text *ret_misses);
