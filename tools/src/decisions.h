/*
 * switchyard-bench-decisions: how fast the operator core decides, by itself: in one process and one
 * thread, without daemons, streams or a disk. It plays the shards and the agents.
 *
 *   packing  1,000 nodes of 32 cores; 32,000 tasks of one core are placed (the instance that Armada
 *            publishes)
 *   churn    10 to 100,000 nodes of four shapes, about four fifths full of 100 kinds of tasks;
 *            each step of the sequence ends one at random and places another
 *   racks    see racks.h; hosts: see hosts.h; seldom: see seldom.h
 *
 * The sequence of steps is the same in each repetition. A mean is that of the repetition with the
 * median one; the longest step is the longest of the sequence, each step taken at its fastest: what
 * the operating system took away from one repetition is not counted, what the core needs is.
 */
#pragma once

#include <stdint.h>

struct decisions_result {
    uint32_t nodes, kinds;
    uint64_t placed;
    double per_s;               /* placements, of all that was done */
    double place_us, finish_us; /* mean of a step */
    double longest_us;          /* step, of any sort but those that set the cluster up */
    double filled;              /* of the cores */
    const char *longest;        /* which sort of step that was */
};

/* `repeat` is odd. */
void decisions_packing(unsigned repeat, struct decisions_result *ret);
void decisions_churn(uint32_t nodes, uint64_t steps, unsigned repeat, struct decisions_result *ret);
