/*
 * Inside of the policy that is Switchyard itself: one partition core, an operator core for each
 * cluster, and a model agent for each node, with streams between them that take their time.
 *
 *   sim_switchyard.c   set-up, the partition core
 *   sim_operator.c     the operator cores
 *   sim_agent.c        the agents: what agent/agent_admit.c does, without processes
 */
#pragma once

#include "scheduler/list.h"
#include "scheduler/operator.h"
#include "scheduler/partition.h"
#include "tools/src/sim_world.h"

struct sim_waiting { /* an attempt that an agent has not started */
    struct sch_attempt_key key;
    uint32_t task;
    int64_t arrived_ns;
};

struct sim_agent {
    struct sim_switchyard *all;
    uint32_t node;
    struct sim_waiting *waiting; /* oldest first */
    size_t count, cap;
    int64_t timer_ns; /* when it looks again; SY_TIME_NEVER: not by itself */
};

struct sim_cluster {
    struct sim_switchyard *all;
    const char *name;
    uint32_t index;
    struct sch_operator *core;
    struct sch_op_effects effects;
    struct sy_map nodes; /* struct sim_node.by_name */
    int64_t tick_ns;
};

struct sim_switchyard {
    struct sim_world *world;
    struct sch_partition *core;
    struct sch_effects effects;
    int64_t tick_ns;
    struct sim_cluster *clusters;
    struct sim_agent *agents;          /* by node */
    struct sch_spec root_spec, *specs; /* by kind */
    struct sch_action **roots; /* by queue of the trace: the run of its project and domain */
    uint32_t *task_of;         /* by counter of an action's id */
    size_t task_of_cap;
    struct sch_attempt_key *keys;          /* by task: of what runs */
    enum sch_outcome succeeded, cancelled; /* what outcomes' blobs point to */
    struct sch_link messages;              /* under way */
};

/* ---- streams: each arrives after the delay, in the order sent ---- */
struct sch_event *sim_to_partition(struct sim_switchyard *s, enum sch_event_type type);
/* CLUSTER_UP; takes the shapes. */
void sim_shapes_to_partition(struct sim_cluster *cluster, struct sch_shape *shapes, size_t count);
struct sch_op_event *sim_to_operator(struct sim_cluster *cluster, enum sch_op_event_type type);
/* ASSIGN, CANCEL, GIVE_BACK (no key); an agent of the simulation has no use for ACK. */
void sim_to_agent(struct sim_cluster *cluster, enum sch_op_effect_type order, const char *node,
                  const struct sch_attempt_key *key);

uint32_t sim_task_of(const struct sim_switchyard *s, uint64_t action);

/* ---- sim_operator.c ---- */
void sim_cluster_init(struct sim_cluster *cluster, struct sim_switchyard *s, uint32_t index);
void sim_cluster_deinit(struct sim_cluster *cluster);
void sim_cluster_step(struct sim_cluster *cluster, struct sch_op_event *event);

/* ---- sim_agent.c ---- */
void sim_agent_assign(struct sim_agent *agent, const struct sch_attempt_key *key);
void sim_agent_cancel(struct sim_agent *agent, const struct sch_attempt_key *key);
/* All that it has not started. */
void sim_agent_give_back(struct sim_agent *agent);
/* Its node is taken away, with what ran there; is back, empty. */
void sim_agent_gone(struct sim_agent *agent);
void sim_agent_back(struct sim_agent *agent);
/* A task of its has ended. */
void sim_agent_ended(struct sim_agent *agent, uint32_t task);
