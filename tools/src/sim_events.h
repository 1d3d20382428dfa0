/*
 * What is to happen on the virtual clock: one heap ordered by (time, sequence), so that what is due
 * at once happens in the order in which it was added, and a run is the same each time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void (*sim_event_fn)(void *owner, void *arg);

struct sim_event {
    int64_t at_ns;
    uint64_t sequence;
    sim_event_fn fn;
    void *owner, *arg;
};

struct sim_events { /* zeroed: empty */
    struct sim_event *items;
    size_t count, cap;
    uint64_t sequence;
};

void sim_events_deinit(struct sim_events *events);
void sim_events_add(struct sim_events *events, int64_t at_ns, sim_event_fn fn, void *owner,
                    void *arg);
/* Takes the first one out; false: there is none. */
bool sim_events_pop(struct sim_events *events, struct sim_event *ret);
