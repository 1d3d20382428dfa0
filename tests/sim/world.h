/*
 * A simulated region: the real shard, operator and agent code, several of each, single-threaded, on
 * a virtual clock. Nothing here sleeps; an hour takes seconds.
 *
 * Time moves to the earliest deadline of any loop; ties go to the loop that was made first. Every
 * random choice comes from the seed, so the same seed gives the same trace hash. The network is
 * rpc_mem: messages of one stream keep their order (as HTTP/2 does); streams overtake each other; a
 * loss is the loss of a connection, after which both sides repeat themselves: that is where
 * duplicates come from.
 */
#pragma once

#include "agent/agent.h"
#include "agent/journal.h"
#include "base/rng.h"
#include "base/rpc.h"
#include "controlplane/shard.h"
#include "dataplane/operator.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_SHARDS_MAX 2
#define SIM_OPERATORS_MAX 3
#define SIM_AGENTS_MAX 6
#define SIM_PARTITIONS_MAX 3

/* How wild a world is; drawn from its seed (swarm testing: each seed uses some of the faults). */
struct sim_options {
    uint64_t seed;
    unsigned partitions, operators, agents_each;
    unsigned runs, actions_each;
    uint32_t crash_shard_pct, crash_operator_pct, crash_agent_pct; /* each simulated second */
    uint32_t drop_connection_ppm;                                  /* for each message */
    uint32_t cut_link_pct;    /* each second: cut one link for a while */
    uint32_t verb_pct;        /* each second: somebody cordons, drains or uncordons a node */
    uint32_t fail_commit_pct; /* each second: the next commit but few fails with a full disk */
    int64_t delay_ns_max;
    int64_t sync_ns_max;
    int64_t task_ns_max;
    uint32_t task_fail_pct, task_lost_pct;
    bool verbose;
};
void sim_options_draw(struct sim_options *ret, uint64_t seed);

struct sim_world;
struct sim_executor;
struct sim_gangs; /* gangs.h */

/* Runs the world until every run has ended or the virtual time limit passed. Returns the trace
 * hash; aborts with the seed when an invariant does not hold. */
struct sim_result {
    uint64_t trace_hash;
    uint64_t turns, messages, crashes, commits_failed, drops;
    int64_t virtual_ns;
    uint64_t actions, attempts, verbs, gangs;
};
void sim_run(const struct sim_options *options, struct sim_result *ret);

/* ---- for the parts of the simulator ---- */

struct sim_process {
    char name[24];
    struct sy_loop *loop;
    bool up;
    int64_t restart_at_ns;
};

int64_t sim_now(const struct sim_world *world);
struct sy_rng *sim_rng(struct sim_world *world);
struct sim_gangs *sim_world_gangs(struct sim_world *world);
void sim_trace(struct sim_world *world, const char *what, const char *who, uint64_t value);
_Noreturn void sim_fail(struct sim_world *world, const char *format, ...) SY_PRINTF(2, 3);

/* A node's executor: ends tasks after a virtual time, and checks that no room is given twice. The
 * output of a task is its name reversed, so that the auditor can tell whose it is; of a task of a
 * Flyte program, which others may be given, "project/domain/run/action". */
struct ag_executor *sim_executor_new(struct sim_world *world, struct sy_loop *loop,
                                     const char *node, const struct sch_resources *capacity,
                                     uint32_t slots, const struct sim_options *options);

/* Who cordons and drains nodes, by calls to the shard. */
struct sim_verbs;
struct sim_verbs *sim_verbs_new(struct sim_world *world, struct sy_loop *loop, struct sy_rpc *rpc,
                                const char *target);
void sim_verbs_free(struct sim_verbs *verbs);
uint64_t sim_verbs_done(const struct sim_verbs *verbs);
/* A random order for a node. */
void sim_verbs_draw(struct sim_verbs *verbs, const char *cluster, const char *node);
void sim_verbs_open(struct sim_verbs *verbs, const char *cluster, const char *node);

/* The client: submits runs, repeats what was not answered, watches, and keeps the books. */
struct sim_client;
struct sim_client *sim_client_new(struct sim_world *world, struct sy_loop *loop, struct sy_rpc *rpc,
                                  const char *target, const struct sim_options *options);
void sim_client_free(struct sim_client *client);
bool sim_client_done(const struct sim_client *client);
/* What the books say at the end; aborts on a discrepancy. */
void sim_client_audit(struct sim_client *client);
uint64_t sim_client_actions(const struct sim_client *client);
/* One line on what is not finished yet. */
void sim_client_describe(const struct sim_client *client);
