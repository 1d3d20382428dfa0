/*
 * What each queue is entitled to: what the region gave out in all, divided down the tree of
 * projects, domains and queues (scheduler/queue.h) by weight, where nobody gets more than it asks
 * for (max-min fairness). A measure for reports: priorities and limits are left out, on purpose.
 */
#pragma once

#include "tools/src/sim_region.h"
#include "tools/src/sim_trace.h"

struct sim_shares;
struct sim_shares *sim_shares_new(const struct sim_region *region, const struct sim_trace *trace);
void sim_shares_free(struct sim_shares *shares);
/* `demand`: of each queue of the trace, the dominant share of what runs and what waits. Fills
 * ret[queue]; together at most `total`. */
void sim_shares_entitle(struct sim_shares *shares, const double *demand, double total, double *ret);
