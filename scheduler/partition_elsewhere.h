/* What other partitions have, inside of the partition core; partition_elsewhere.c. */
#pragma once

#include "scheduler/partition_impl.h"

/* An operator says what others have of a queue, or of a level, in its cluster. */
void sch_elsewhere_told(struct sch_partition *p, const char *cluster,
                        const struct sch_share_path *place, const struct sch_use *use);
/* Its stream is closed: what it said counts no more. */
void sch_elsewhere_close(struct sch_partition *p, struct sch_cluster *cluster);
/* Of what counts no more, as much as the step may. */
void sch_elsewhere_forget(struct sch_partition *p);
/* What was said of this share, which moves, and of those below it. */
void sch_elsewhere_moves(struct sch_partition *p, const struct sch_share *share);
void sch_elsewhere_free(struct sch_partition *p);
void sch_elsewhere_check(const struct sch_share *share);
