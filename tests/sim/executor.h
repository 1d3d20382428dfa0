/*
 * A node's executor: ends tasks after a virtual time, and checks that no room is given twice: cpu,
 * memory, slots, and each GPU and slice by its name. The output of a task is its name reversed, so
 * that the auditor can tell whose it is; of a task of a Flyte program, which others may be given,
 * "project/domain/run/action".
 */
#pragma once

#include "agent/executor.h"
#include "tests/sim/nodes.h"
#include "tests/sim/world.h"

struct ag_executor *sim_executor_new(struct sim_world *world, struct sy_loop *loop,
                                     const char *name, const struct sim_node *node,
                                     const struct sim_options *options);

/* An attempt that runs. */
struct sim_attempt {
    char run[SCH_NAME_MAX], name[SCH_NAME_MAX];
    uint32_t number, epoch;
    struct sch_resources request;
    bool disowned; /* its partition counts on it no longer: it was aborted, late, or given up */
};
void sim_executor_each(struct ag_executor *executor,
                       void (*fn)(void *ctx, struct sim_attempt *attempt), void *ctx);
