/* Results for people (tables) and for machines (JSON): runs beneath each other, for comparison. */
#pragma once

#include "tools/src/sim_plot.h"

#include <stdio.h>

/* `width` as in cl_table.h. */
void sim_report_tables(const struct sim_variant *variants, size_t count, FILE *file,
                       unsigned width);
/* One document: {"runs": [{"name", "tasks", "queues": [...], "clusters": [...]}, ...]}. Seconds,
 * and fractions of 1. */
void sim_report_json(const struct sim_variant *variants, size_t count, FILE *file);
