/*
 * What changed in a cluster reaches the classes in slices, inside of the partition core. A region
 * has thousands of classes and a thousand clusters, so no step may look at all classes, or at all
 * pairs of a cluster: what is to be looked at is put on a list as a whole, and each step takes some
 * of it (sch_may_look()); while anything is left a tick at once goes on.
 *
 * A cluster's version goes up with each change that matters to its pairs: its stream, its shapes,
 * its price, what is known of it. A pair that has not followed (sch_pair_is_current()) is used by
 * nobody, so a decision between two slices never goes to a cluster that is down, nor by a grant of
 * a stream that is closed; a cluster that has come is just not used yet. Who needs the pair before
 * its turn comes lets it follow first (sch_pair_sync(), sch_pair_get()).
 *
 * When a cluster has more room those pairs that were short of it look again, and nobody is assigned
 * before all of them have: the first may be among them. What is told meanwhile is the next round.
 */
#pragma once

#include "scheduler/partition_impl.h"

void sch_slices_init(struct sch_partition *p);
/* Once in each step. */
void sch_slices(struct sch_partition *p);
/* The next step is to go on. */
bool sch_slices_left(const struct sch_partition *p);

static inline bool sch_pair_is_current(const struct sch_pair *pair)
{
    return pair->version == pair->cluster->version;
}
/* Its cluster is there, and could run it; a pair that has not followed does not know. */
static inline bool sch_pair_is_able(const struct sch_pair *pair)
{
    return sch_pair_is_current(pair) && sch_cluster_connected(pair->cluster) &&
           !pair->cluster->cordoned && pair->feasible;
}
/* The pair, which has followed. */
struct sch_pair *sch_pair_get(struct sch_partition *p, struct sch_class *class,
                              struct sch_cluster *cluster);
/* Only to look; NULL: there is none that has followed. */
const struct sch_pair *sch_pair_peek(const struct sch_class *class,
                                     const struct sch_cluster *cluster);
/* All pairs of the class follow. */
void sch_class_sync(struct sch_partition *p, struct sch_class *class);
