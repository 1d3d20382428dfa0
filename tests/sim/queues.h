/*
 * Queues, as a person changes them: creates, changes, pauses, resumes and deletes them by calls to
 * the shard while all else goes on, one change of a queue at a time, repeated until it is answered.
 * Keeps what was acknowledged.
 */
#pragma once

#include "base/rpc.h"
#include "scheduler/queue.h"
#include "tests/sim/world.h"

struct sim_queue {
    struct sch_queue_config config; /* its key, and what was acknowledged last */
    bool exists;
    bool changing; /* a call is out: what holds is as before, or as asked for */
};

struct sim_queues;
struct sim_queues *sim_queues_new(struct sim_world *world, struct sy_loop *loop,
                                  const struct sim_options *options);
void sim_queues_free(struct sim_queues *queues);
/* Each simulated second. Healing lifts limits and pauses, so that everything can end. */
void sim_queues_turn(struct sim_queues *queues, bool heal);
uint64_t sim_queues_changes(const struct sim_queues *queues);
unsigned sim_queues_count(const struct sim_queues *queues);
const struct sim_queue *sim_queues_at(const struct sim_queues *queues, unsigned i);
/* The name of one in which actions of the run may wait; "" = the default one, NULL: not now. */
const char *sim_queues_draw(const struct sim_queues *queues, const char *run);
