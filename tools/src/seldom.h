/* Steps that come seldom and reach much: many nodes come, go, are drained or lost at once, a
 * shard's stream opens, a person asks, room is made for a gang; with thousands of kinds of work.
 * What counts is the longest step. See decisions.h. */
#pragma once

#include "tools/src/decisions.h"

/* Calls `print` with the result of each sort of step: place_us is CPU of all steps of that sort for
 * each that is meant to come about, finish_us of a step. */
void seldom_steps(uint32_t nodes, uint32_t kinds,
                  void (*print)(void *ctx, const char *name, const struct decisions_result *result),
                  void *ctx);
