/* Inside of the world: world.c (processes, time), faults.c, check.c, rebuild.c. */
#pragma once

#include "base/mem.h"
#include "controlplane/store.h"
#include "tests/sim/executor.h"
#include "tests/sim/gangs.h"
#include "tests/sim/queues.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIM_LIMIT_NS (3600 * SY_NS_PER_S)
#define SIM_START_NS (1000 * SY_NS_PER_S)
#define SIM_HEAL_AT_NS (SIM_START_NS + 40 * SY_NS_PER_S) /* faults stop; then all must end */

struct sim_process {
    char name[24];
    struct sy_loop *loop;
    bool up;
    int64_t restart_at_ns;
};

struct sim_shard {
    struct sim_process process;
    struct sy_loop *loops[SIM_PARTITIONS_MAX]; /* loops[0] is process.loop */
    struct cp_mem_disk *disks[SIM_PARTITIONS_MAX];
    struct cp_shard *shard;
};
struct sim_operator {
    struct sim_process process;
    struct dp_operator *daemon;
};
struct sim_agent {
    struct sim_process process;
    struct sim_node node;
    unsigned operator_index, boot;
    struct ag_journal *journal;
    struct ag_executor *executor;
    struct ag_agent *agent;
};

struct sim_link {
    const char *from, *to; /* processes; the names live as long as the world */
    bool both_ways;
    int64_t until_ns;
};

/* What the checks remember. */
struct sim_checks {
    struct sim_ceiling {
        bool known;
        struct sch_use out;  /* when it was last known for sure */
        struct sch_use most; /* the largest limit in force since then */
        bool paused;         /* since the last look at the attempts, all the time */
        uint32_t permitted;  /* since then, at some moment: a bit for each operator */
    } queues[SIM_QUEUES_MAX];
    uint32_t epochs[SIM_PARTITIONS_MAX];
    int64_t rebuild_at_ns;
    unsigned rebuild_next;
};

/* fair.c's. */
struct sim_fair {
    int running[SIM_QUEUES_MAX];
    double spent[SIM_QUEUES_MAX]; /* ns of all places */
    int64_t counted_ns, enqueued_ns;
    int64_t since_ns; /* of the window; 0: not yet */
    bool over;
};

struct sim_world {
    struct sim_options options;
    struct sy_rng rng;
    struct sy_clock clock;
    int64_t now_ns, realtime_ahead_ns;
    struct sy_rpc *rpc;
    struct cp_partition_options partition;
    struct sim_shard shard;
    struct sim_operator operators[SIM_OPERATORS_MAX];
    struct sim_agent agents[SIM_AGENTS_MAX];
    struct sim_process client_process;
    struct sim_client *client;
    struct sim_verbs *verbs;
    struct sim_queues *queues;
    struct sim_gangs *gangs;
    struct sim_link links[8]; /* cut */
    unsigned link_count;
    int64_t next_fault_ns;
    uint32_t kinds; /* of tasks that come up, and that a node can run */
    struct sim_checks checks;
    struct sim_fair fair;
    struct sim_result result;
};

struct sy_loop *sim_loop_new(struct sim_world *world);

/* world.c: the process dies, and is started again in a while. */
void sim_shard_crash(struct sim_world *world);
void sim_operator_crash(struct sim_world *world, unsigned i);
void sim_agent_crash(struct sim_world *world, unsigned i);

/* faults.c: each simulated second, and of each message. */
void sim_faults_turn(struct sim_world *world);
struct sy_rpc_mem_plan sim_faults_plan(struct sim_world *world);

/* check.c: invariants. After each turn of a shard; now and then, those that cost more. */
void sim_check_limits(struct sim_world *world);
void sim_check_all(struct sim_world *world);
bool sim_same_settings(const struct sch_queue_config *a, const struct sch_queue_config *b);
/* A few lines on what is live in the cores. */
void sim_check_describe(struct sim_world *world);

/* fair.c: after each turn of a shard. */
void sim_fair_look(struct sim_world *world);

/* rebuild.c: a partition that is opened on a copy of the disk knows what this one knows. Nothing is
 * done while something is on its way to the disk. */
void sim_check_rebuild(struct sim_world *world, unsigned partition);
