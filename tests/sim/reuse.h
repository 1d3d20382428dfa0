/*
 * The books of actions whose output is cached and made by one at a time: when each ran, as its
 * events told, and what it gave. A cache is its partition's own, so actions of two partitions never
 * have the same key.
 */
#pragma once

#include "switchyard/v1/action_service.pb-c.h"
#include "tests/sim/world.h"

struct sim_keyed {
    char path[2 * SCH_NAME_MAX]; /* "run/action" */
    uint32_t key;
    int64_t started_ns, ended_ns; /* realtime; 0: it never ran, has not ended */
    Switchyard__V1__Phase phase;
    char output[4 * SCH_NAME_MAX];
};

void sim_keyed_event(struct sim_keyed *keyed, const Switchyard__V1__Event *event);
void sim_keyed_outcome(struct sim_keyed *keyed, const Switchyard__V1__ChildOutcome *child);

/* Of all actions with one key no two ran at the same time, at most one ran and succeeded, and all
 * others that succeeded have its output. Reorders the list. */
void sim_reuse_audit(struct sim_world *world, struct sim_keyed **all, size_t count);
