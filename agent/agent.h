/*
 * An agent: runs attempts on one node. A library without globals; the simulator holds dozens.
 *
 * It dials its operator, tells what the node has and what it holds, receives assignments, admits
 * each when its request fits (the agent has the last word on room), hands it to an executor, and
 * keeps the outcome in a journal until it is acknowledged.
 */
#pragma once

#include "agent/executor.h"
#include "base/bearer.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/rpc.h"
#include "scheduler/resources.h"

struct ag_agent;

struct ag_agent_options {
    const char *node;
    const char *boot_id;
    const char *operator_target;  /* "127.0.0.1:8091", or */
    const char *const *operators; /* of a cluster with several: all of them; NULL-terminated */
    const char *address; /* where other nodes reach this one; NULL or "": as the operator sees it */
    struct sy_bearer bearer; /* for the operator; borrowed; zeroed: none */
    struct sch_resources capacity;
    const struct sch_environment *environments; /* warm pools: name and slots */
    size_t environment_count;
    const struct sch_traits *traits; /* NULL: no labels, taints, shared GPUs or slices */
    const uint8_t *gpu_groups;       /* see devices.h; NULL: not known */
    /* For each profile of traits->slices the names of its slices, as CUDA_VISIBLE_DEVICES takes
     * them; borrowed for the agent's life. NULL with no profiles. */
    const char *const *const *slice_names;
    size_t inline_bytes_max;
    int64_t started_report_delay_ns; /* a start is reported when the task still runs after this;
                                        default 20 ms */
};

struct ag_agent_ports {
    struct sy_rpc *rpc;
    struct sy_loop *loop;
    struct ag_executor *executor;
    struct ag_journal *journal;
    struct ag_logs *logs;       /* NULL: no logs */
    struct ag_objects *objects; /* NULL: no references, inline only */
    /* The agent is attached to that one from now on; may be NULL. */
    void (*on_operator)(void *ctx, const char *target);
    void *on_operator_ctx;
    uint64_t seed;
    struct sy_log *log;
};

int ag_agent_new(struct ag_agent **ret_agent, const struct ag_agent_options *options,
                 const struct ag_agent_ports *ports, struct sy_error_text *error) SY_MUST_USE;
/* Stops taking work, lets running attempts end for up to grace_ns, then cancels them. */
void ag_agent_stop(struct ag_agent *agent, int64_t grace_ns, sy_fn done, void *ctx);
/* After stop, or instead of it (a crash in the simulator). */
void ag_agent_free(struct ag_agent *agent);
