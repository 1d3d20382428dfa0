/*
 * Clusters that are drained, inside of the partition core. A drained cluster is cordoned, and each
 * of its attempts is asked to leave: what has not started there is asked back, which costs it
 * nothing; what runs is stopped once the deadline has passed, and ends PREEMPTED. Of a gang nobody
 * is asked back when one of it runs, since it would break up.
 *
 * Who was asked stands in front of who was not in the list of attempts, so some are asked in each
 * step, from the back, whatever comes and goes meanwhile. All are asked anew when the deadline
 * passes, and each one that its cluster names or says has started: it may have been asked for
 * something else. To be asked twice does no harm.
 *
 * All this is said with each CLUSTER_UP, so a cluster that is down has no drain: it begins anew
 * when it is back.
 */
#pragma once

#include "scheduler/partition_impl.h"

/* What CLUSTER_UP says of it. */
void sch_drain_said(struct sch_partition *p, struct sch_cluster *cluster,
                    const struct sch_cluster_said *said);
void sch_drain_pause(struct sch_partition *p, struct sch_cluster *cluster);
/* Some of its attempts were not asked. */
void sch_drain_look(struct sch_partition *p, struct sch_cluster *cluster);
/* Once in each step: some of those. */
void sch_drain_go_on(struct sch_partition *p);
void sch_drain_tick(struct sch_partition *p);
/* Why it stopped an attempt of its own accord, or was asked to. */
const char *sch_preempted_why(const struct sch_cluster *cluster);
