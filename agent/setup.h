/* An agent with all that belongs to it in production, made from its configuration: what main.c
 * runs. */
#pragma once

#include "agent/agent.h"
#include "agent/cgroup.h"
#include "agent/config.h"
#include "agent/exec.h"
#include "agent/flyte.h"
#include "agent/logs.h"
#include "agent/objects.h"

struct ag_setup {
    const struct ag_config *config;
    struct sy_loop *loop;
    struct sy_log *log;
    char *node;
    struct ag_spawner *spawner;
    struct ag_cgroups *cgroups;
    struct ag_io *io;
    struct ag_journal *journal;
    struct ag_executor *executor;
    struct sy_blobs *blobs;
    struct sy_bearer bearer; /* for the operator */
    struct sy_channel *secrets;
    uint64_t operators_met; /* how often one has welcomed the agent */
    struct ag_logs *logs;
    struct ag_objects *objects;
    struct sy_rpc *rpc;
    struct ag_agent *agent;
};

/* Starts the spawner before anything has threads. On failure call ag_setup_close() too. `setup` is
 * zeroed but for config, loop and log, which it borrows. */
int ag_setup_open(struct ag_setup *setup, struct sy_error_text *error) SY_MUST_USE;
/* The storage, and Flyte's executor round the other one; a part of ag_setup_open(). */
int ag_setup_flyte(struct ag_setup *setup, struct sy_error_text *error) SY_MUST_USE;
void ag_setup_close(struct ag_setup *setup);
