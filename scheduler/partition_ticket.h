/* Limits over several partitions, inside of the partition core; scheduler/tokens.h says how. */
#pragma once

#include "scheduler/partition_impl.h"

/* What is out, or may be, and what waits for more, may have changed. */
void sch_ticket_touch(struct sch_partition *p, struct sch_share *share);
/* The share's limits changed, or it has none any more. */
void sch_ticket_limits(struct sch_partition *p, struct sch_share *share);
void sch_ticket_free(struct sch_partition *p, struct sch_share *share);
/* Of each amount that is limited, as of now. */
struct sch_use sch_ticket_allowed(const struct sch_ticket *ticket);
bool sch_ticket_admits(const struct sch_ticket *ticket, const struct sch_use *one);
void sch_tickets_end_step(struct sch_partition *p);
void sch_tickets_tick(struct sch_partition *p);
/* At the home. */
void sch_token_report(struct sch_partition *p, const struct sch_queue_key *key,
                      const struct sch_token_report *report);
/* At the partition. */
void sch_token_allow(struct sch_partition *p, const struct sch_queue_key *key,
                     const struct sch_token_allowance *allowance);
/* The home asks in its term; 0: it may not have heard what was said. */
void sch_token_ask(struct sch_partition *p, const struct sch_queue_key *key, uint64_t term);
