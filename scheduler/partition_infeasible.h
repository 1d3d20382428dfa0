/* What no cluster could run, inside of the partition core; partition_infeasible.c says how it is
 * found. */
#pragma once

#include "scheduler/partition_impl.h"

/* Whether the pair is capable may have changed. */
void sch_pair_capable(struct sch_partition *p, struct sch_pair *pair);
/* Some of it came from a class that was like that since then only: the whole class has the grace.
 */
void sch_class_spare(struct sch_partition *p, struct sch_class *class, int64_t since_ns);
/* Who waits, or what clusters could run it, may have changed: whether the class is doomed. */
void sch_class_doom(struct sch_partition *p, struct sch_class *class);
bool sch_class_is_doomed(const struct sch_class *class);
/* A new action of the class was let in: note it when no known node could run it. */
void sch_class_accepted(struct sch_partition *p, struct sch_class *class, uint64_t action_id);
/* An action was held, or waited for another's result, and wants to run now. */
void sch_class_waits(struct sch_partition *p, const struct sch_action_impl *a);
/* Nothing of it is unchecked any more. */
void sch_class_checked(struct sch_partition *p, struct sch_class *class);
/* Something became known of a cluster: what was let in unchecked is looked at soon. */
void sch_verify_later(struct sch_partition *p);
void sch_infeasible_tick(struct sch_partition *p);
/* When what waits in some class ends; in this one. SY_TIME_NEVER: it does not. */
int64_t sch_infeasible_next_ns(const struct sch_partition *p);
int64_t sch_class_doom_ns(const struct sch_partition *p, const struct sch_class *class);
/* The loop stood still for so long: that is no part of a grace. */
void sch_infeasible_postpone(struct sch_partition *p, int64_t ns);
