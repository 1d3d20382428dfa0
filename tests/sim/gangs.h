/*
 * Gangs, as their nodes see them: within an attempt all members are told the same place to meet and
 * the same secret, each has a rank of its own, and none is started twice.
 */
#pragma once

#include "tests/sim/world.h"

#define SIM_GANG_SIZE_MAX                                                                          \
    3u /* as many as the smallest node holds: what fits nowhere waits for ever */

struct sim_gangs *sim_gangs_new(void);
void sim_gangs_free(struct sim_gangs *gangs);
void sim_gang_started(struct sim_world *world, struct sim_gangs *gangs, const struct ag_work *work);
/* Attempts of gangs of which every member has started. */
uint64_t sim_gangs_complete(const struct sim_gangs *gangs);
