/*
 * The world that is simulated: nodes, the virtual clock, tasks that arrive, run and end. How tasks
 * get to nodes is a policy's affair: Switchyard's own cores (sim_switchyard.c) or one of the
 * baselines (sim_baseline.c). All see the same arrivals, nodes and delays.
 *
 * Time on the clock begins at 0; the first task arrives at SIM_ORIGIN_NS, when the daemons have
 * met. What measures looks on, and decides nothing.
 */
#pragma once

#include "tools/src/sim_events.h"
#include "tools/src/sim_measure.h"
#include "tools/src/sim_node.h"
#include "tools/src/sim_region.h"
#include "tools/src/sim_trace.h"

#define SIM_ORIGIN_NS INT64_C(1000000000)
/* When nothing runs and nothing has changed for so long, what waits is never placed. */
#define SIM_STALL_NS (3600 * INT64_C(1000000000))

struct sim_world;

struct sim_policy {
    const char *name;
    void *(*new)(struct sim_world *world);
    void (*arrive)(void *scheduler, uint32_t task);
    void (*ended)(void *scheduler, uint32_t task, uint32_t node); /* on its node, now */
    /* The node is taken away; then each task that ran there has stopped, and waits again. */
    void (*gone)(void *scheduler, uint32_t node);
    void (*lost)(void *scheduler, uint32_t task, uint32_t node); /* NULL: gone() says it */
    void (*back)(void *scheduler, uint32_t node);
    void (*free)(void *scheduler);
};

struct sim_options {
    const struct sim_policy *policy;
    int cluster_policy; /* Switchyard: of every queue, an enum sch_policy; -1: as configured */
    int64_t delay_ns;   /* of a message on one stream */
    bool check;         /* Switchyard: the cores' invariants after each step; slow */
};

struct sim_progress {
    int64_t end_ns;
    uint64_t gpus; /* as sim_node_take() says */
    uint32_t node;
    uint32_t next, previous; /* task + 1, that run on its node; 0: none */
    bool started, running, over;
};

struct sim_world {
    const struct sim_region *region;
    const struct sim_trace *trace;
    struct sim_options options;
    int64_t now_ns, changed_ns;
    struct sim_events events;
    struct sim_node *nodes;
    uint32_t node_count;
    struct sim_progress *tasks;
    uint64_t left, running; /* tasks that are not over; that run */
    uint32_t arrived;
    struct sim_measure *measure;
    void *scheduler;
};

/* Sets policy and cluster_policy. -EINVAL: there is none of that name. */
#define SIM_POLICY_NAMES                                                                           \
    "configured, spread, pack, cheapest, fastest-start, locality, fifo, first-fit or kubernetes"
int sim_policy_parse(const char *name, struct sim_options *ret) SY_MUST_USE;
extern const struct sim_policy sim_policy_switchyard, sim_policy_fifo, sim_policy_first_fit,
    sim_policy_kubernetes;

/* Replays the trace until all has ended, or nothing more can happen. The caller frees the result.
 */
struct sim_result *sim_run(const struct sim_region *region, const struct sim_trace *trace,
                           const struct sim_options *options);

/* ---- for policies ---- */
void sim_world_at(struct sim_world *world, int64_t at_ns, sim_event_fn fn, void *owner, void *arg);
/* It fits: the room of a node is never given twice. `gpus` as for sim_node_take(). */
void sim_world_start(struct sim_world *world, uint32_t task, uint32_t node, uint64_t gpus);
/* Ends a running task early (preempted, cancelled): ended() is not called. */
void sim_world_stop(struct sim_world *world, uint32_t task);
/* It will never run: refused when it came, or given up while it waited. */
void sim_world_refuse(struct sim_world *world, uint32_t task, const char *why);
void sim_world_give_up(struct sim_world *world, uint32_t task);
