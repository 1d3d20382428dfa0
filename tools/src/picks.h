/*
 * switchyard-bench-decisions: how fast the partition core decides, by itself: whose turn it is and
 * which cluster. In one process and one thread, without daemons, streams or a disk.
 *
 * - routing: actions come one by one and each is assigned at once, to one of 1 to 1,000 clusters
 *   that have room; the queue's policy chooses.
 * - queues: 1,000,000 actions wait in 10,000 queues of different weights in 100 projects; room
 *   comes for all of them, in the order that shares and priorities give.
 * - classes: 100,000 actions of 10 to 10,000 classes (requests that differ) wait in 100 queues;
 *   room comes for all of them, or for one at a time. Each class in one queue, or each in ten.
 * - limits: so many queues of one class, or so many classes of one queue, wait for a limit that is
 *   full; one action after the other ends, and lets the next one out.
 * - comings: so many classes wait and have no room; a cluster goes, comes back, another one comes,
 *   and has a core more at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct picks_result {
    const char *policy; /* routing */
    uint32_t clusters, queues, classes;
    uint64_t actions;
    double decide_us;        /* of CPU, mean for an action: to let it in and route it; to pick and
                                route it; to end it, and pick and route the next; of all that
                                a coming and going costs for a class */
    double longest_us;       /* step */
    double bytes_per_action; /* of the core, with its queues; queues only */
};

/* `repeat` is odd: the one with the median mean. */
void picks_routing(uint32_t clusters, int policy, unsigned repeat, struct picks_result *ret);
void picks_queues(uint32_t queues, uint64_t actions, unsigned repeat, struct picks_result *ret);
/* Each class in `spread` of the queues; `slowly`: room comes a core at a time. */
void picks_classes(uint32_t classes, uint32_t spread, bool slowly, unsigned repeat,
                   struct picks_result *ret);
/* The one with the shortest of the longest steps: what other processes took does not count. */
void picks_comings(uint32_t clusters, uint32_t classes, unsigned repeat, struct picks_result *ret);
/* One action of each queue may be out at a time. */
void picks_limits(uint32_t queues, uint32_t classes, unsigned repeat, struct picks_result *ret);
