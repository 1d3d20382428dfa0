/*
 * Plots of one or several runs of the same trace, side by side:
 *
 *   utilisation.svg    GPUs, cpu and memory in use over time, a line for each run
 *   waits.svg          how long tasks waited (CDF), a line for each run
 *   queue-waits.svg    the same by queue, a panel for each run
 *   fairness.svg       what queues had and were entitled to over time, a panel for each run
 *   queue-length.svg   how many waited over time, a panel for each run
 */
#pragma once

#include "tools/src/sim_measure.h"

struct sim_variant {
    const char *name;
    const struct sim_result *result;
};

/* Into a folder, which is made when it is not there. Errors of the file system, with a sentence. */
int sim_plot_all(const char *folder, const struct sim_variant *variants, size_t count,
                 struct sy_error_text *error) SY_MUST_USE;
