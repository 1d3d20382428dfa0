/* Nodes that are kept for those who wait too long; partition_reserve.c says how. */
#pragma once

#include "scheduler/partition_impl.h"

#define SCH_RESERVE_INTERVAL_NS SY_NS_PER_S
#define SCH_RESERVE_OF_CLASS_MAX 16u /* nodes of one class, over all clusters */
#define SCH_RESERVES_MAX 64u         /* nodes of all classes */
#define SCH_RESERVE_SLOTS_MAX 2u     /* of a class, on an empty node */

/* One of the class was assigned there, maybe to a node that was kept. */
void sch_pair_reserved(struct sch_partition *p, struct sch_pair *pair);
/* The cluster knows nothing of it any more. */
void sch_pair_reset_reserves(struct sch_partition *p, struct sch_pair *pair);
/* partition_demand.c: what waits of the class, to one cluster, at once. */
void sch_demand_tell(struct sch_partition *p, struct sch_class *class, struct sch_pair *pair);
void sch_reserve_end_step(struct sch_partition *p);
void sch_reserve_tick(struct sch_partition *p);
