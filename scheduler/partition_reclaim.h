/* Room from work that may be stopped, inside of the partition core; partition_reclaim.c says who.
 */
#pragma once

#include "scheduler/partition_impl.h"

/* It has somebody who may run, and no cluster for him. Gangs go to busy clusters, and wait there.
 */
bool sch_class_is_short(const struct sch_partition *p, const struct sch_class *class);
/* It has work out that may be stopped, or not any more. */
bool sch_share_may_stop(const struct sch_share *share);
void sch_share_list_preemptible(struct sch_partition *p, struct sch_share *share);
void sch_reclaim_end_step(struct sch_partition *p);
void sch_reclaim_tick(struct sch_partition *p);
/* Whose work may stop for somebody with this need and priority of his own: the first of them, and
 * how many more there are (of the first LOOKS_MAX queues with such work). */
uint32_t sch_reclaim_victims(const struct sch_partition *p, const struct sch_share *tenant,
                             const struct sch_use *need, int32_t priority,
                             struct sch_reclaim_queue ret[SCH_RECLAIM_QUEUES_MAX],
                             uint32_t *ret_more);

/* ---- what a branch of the tree has: partition_share.c ---- */
/* Of this partition alone, or of all of them. */
enum sch_scope { SCH_SCOPE_PARTITION, SCH_SCOPE_REGION };
/* So many of them that are out wait in their cluster; or no more. */
void sch_share_wait(struct sch_share *tenant, const struct sch_resources *request, uint32_t count,
                    bool more);
/* Its weighted share with so much more out; with so much less. Gangs that wait in their clusters do
 * not count here: they have nothing yet. */
double sch_share_with(const struct sch_partition *p, const struct sch_share *share,
                      const struct sch_use *more, enum sch_scope scope);
double sch_share_without(const struct sch_partition *p, const struct sch_share *share,
                         const struct sch_use *gone, enum sch_scope scope);
/* Whether it is next before the other one, once that much of the other is gone: as turns count. */
bool sch_share_is_before(const struct sch_partition *p, const struct sch_share *share,
                         const struct sch_share *other, const struct sch_use *gone,
                         enum sch_scope scope);
/* What it has beyond a weighted share: it keeps that when less than this of any one amount goes. */
struct sch_use sch_share_beyond(const struct sch_partition *p, const struct sch_share *share,
                                double weighted, enum sch_scope scope);
