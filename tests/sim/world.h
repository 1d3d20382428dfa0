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
#include "tests/sim/books.h"
#include "tests/sim/nodes.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_SHARDS_MAX 24
#define SIM_OPERATORS_MAX 12
#define SIM_AGENTS_MAX 24
#define SIM_PARTITIONS_MAX 32 /* after splits */
#define SIM_QUEUES_MAX 8
#define SIM_ETCD_MEMBERS 3
#define SIM_SYSTEM_RETRIES 1000

enum sim_size {
    SIM_SMALL,
    SIM_LARGE,
    SIM_FAIR,         /* no faults, queues that contend; see fair.c */
    SIM_REGION,       /* the small world of the seed, with several shards and an etcd; region.c */
    SIM_LARGE_REGION, /* the large one, with up to two dozen */
};

/* How wild a world is; drawn from its seed. */
struct sim_options {
    uint64_t seed;
    enum sim_size size;
    unsigned partitions, operators, agents; /* at least one agent an operator */
    unsigned room;                          /* for partitions, after splits */
    unsigned shards;                        /* 1: without an etcd */
    unsigned lanes;    /* several shards: loops of each that its partitions share, */
    unsigned contacts; /* and how many of them operators are configured with */
    bool local;        /* the same: each has a disk of its own */
    unsigned runs, actions_each;
    int64_t begin_ns_max; /* until when runs begin */
    unsigned queues;
    uint32_t queue_pct; /* each second and queue: it is changed */
    uint32_t kinds;     /* of tasks that come up; bits as sim_task_kind() counts them */
    uint32_t crash_shard_pct, crash_operator_pct, crash_agent_pct; /* each simulated second */
    uint32_t drop_connection_ppm;                                  /* for each message */
    uint32_t cut_link_pct;    /* each second: cut one link for a while, */
    bool one_way;             /* maybe in one direction only */
    uint32_t verb_pct;        /* each second: somebody cordons, drains, fences or opens a node */
    uint32_t drain_pct;       /* each second and cluster: it is cordoned, drained or opened */
    uint32_t fail_commit_pct; /* each second: the next commit but few fails with a full disk */
    uint32_t slow_disk_pct;   /* each second: commits of one disk take long until the next */
    uint32_t clock_step_pct;  /* each second: people's clock is set forward or back */
    /* Several shards: each second, for the region or for each shard. */
    uint32_t etcd_pct;       /* something happens to etcd */
    uint32_t pause_pct;      /* the shard, or one of its loops, stands still for a while */
    uint32_t cut_shard_pct;  /* it is cut off from etcd, shards or operators */
    uint32_t shard_verb_pct; /* somebody moves a partition, evens out, drains or undrains */
    uint32_t split_pct;      /* somebody splits a partition */
    uint32_t stop_pct;       /* it is stopped, and started again */
    uint32_t roll_pct;       /* all of them are, one after the other */
    int64_t disk_patience_ns, slow_rest_ns; /* as in struct cp_shard_options; 0: never */
    uint32_t stall_disk_pct; /* commits of one disk take up to far longer than that */
    uint32_t hang_open_pct;  /* for each opening: the same */
    uint32_t lose_disk_pct;  /* one that dies loses its disk, if others have all of it */
    int64_t standby_patience_ns, standby_wait_ns; /* as in struct cp_shard_options */
    uint32_t late_ppm;    /* for each message: it, and what follows it, is seconds late */
    int64_t close_ns_max; /* of a store */
    int64_t delay_ns_max;
    int64_t sync_ns_max;
    int64_t task_ns_max;
    uint32_t task_fail_pct, task_lost_pct, task_oom_pct;
    uint32_t task_refused_pct, task_late_pct, task_final_pct;
    uint32_t stops_pct;  /* runs whose agents stop what they cannot show to be heard */
    uint32_t meddle_pct; /* each second and run: something befalls one of its actions */
    int64_t reclaim_delay_ns, ageing_ns; /* 0: never */
    int64_t infeasible_grace_ns, reserve_after_ns;
    bool verbose;
};
void sim_options_draw(struct sim_options *ret, uint64_t seed, enum sim_size size);
/* Whether anything is lost in it but by tasks themselves. */
bool sim_options_lose(const struct sim_options *options);

struct sim_world;
struct sim_queues;
struct sim_gangs; /* gangs.h */

/* Runs the world until every run has ended or the virtual time limit passed. Returns the trace
 * hash; aborts with the seed when an invariant does not hold. */
struct sim_result {
    uint64_t trace_hash;
    uint64_t turns, messages, crashes, commits_failed, drops;
    int64_t virtual_ns;
    uint64_t actions, attempts, verbs, gangs, changes, rebuilds, windows, epochs, moves;
    uint64_t disks, stalls; /* that were lost; shards whose disk was found to be slow */
    uint64_t splits, heard; /* heard: looks at attempts of before, in operators */
};
void sim_run(const struct sim_options *options, struct sim_result *ret);

/* ---- for the parts of the simulator ---- */

int64_t sim_now(const struct sim_world *world);
struct sy_rng *sim_rng(struct sim_world *world);
struct sim_gangs *sim_world_gangs(struct sim_world *world);
const struct sim_options *sim_world_options(const struct sim_world *world);
void sim_trace(struct sim_world *world, const char *what, const char *who, uint64_t value);
_Noreturn void sim_fail(struct sim_world *world, const char *format, ...) SY_PRINTF(2, 3);

/* To a shard; any of them, drawn, when there are several. */
struct sy_channel *sim_any_shard(struct sim_world *world);
const char *sim_shard_name(const struct sim_world *world, unsigned shard);

/* A kind of task that some node of the world can run. */
unsigned sim_draw_kind(struct sim_world *world, struct sy_rng *rng);
/* How many of the kind run at once in the cluster that has most room for them. */
uint32_t sim_places(const struct sim_world *world, unsigned kind);
/* Of "project/domain/run" or the run's name; NULL: nobody asked for such an action. */
struct sim_child *sim_find_child(struct sim_world *world, const char *run, const char *name);
/* Of the n-th operator. */
static inline const char *sim_region_of(unsigned operator)
{
    return operator% 2 == 0 ? "eu" : "us";
}
/* SIM_FAIR: whose queue is its number modulo theirs. */
unsigned sim_queue_of_run(const struct sim_world *world, const char *run);
/* SIM_FAIR: one of the run's tasks started (1), ended (-1). */
void sim_fair_count(struct sim_world *world, const char *run, int delta);
const struct sim_queues *sim_queues_of(const struct sim_world *world);

/* Who cordons, drains and fences nodes, and moves partitions, by calls to the shards. */
struct sim_verbs;
struct sim_verbs *sim_verbs_new(struct sim_world *world, struct sy_loop *loop);
void sim_verbs_free(struct sim_verbs *verbs);
uint64_t sim_verbs_done(const struct sim_verbs *verbs);
/* A random order for a node. */
void sim_verbs_draw(struct sim_verbs *verbs, const char *cluster, const char *node);
void sim_verbs_open(struct sim_verbs *verbs, const char *cluster, const char *node);
/* A random order about which shard has what; to split a partition. */
void sim_verbs_draw_shards(struct sim_verbs *verbs);
void sim_verbs_draw_split(struct sim_verbs *verbs);

/* Who cordons, drains and opens clusters: drains.c. */
struct sim_drains;
struct sim_drains *sim_drains_new(struct sim_world *world, struct sy_loop *loop);
void sim_drains_free(struct sim_drains *drains);
uint64_t sim_drains_done(const struct sim_drains *drains);

/* The client: submits runs, repeats what was not answered, watches, and keeps the books. */
struct sim_client;
struct sim_client *sim_client_new(struct sim_world *world, struct sy_loop *loop,
                                  const struct sim_options *options);
void sim_client_free(struct sim_client *client);
bool sim_client_done(const struct sim_client *client);
bool sim_client_enqueued(const struct sim_client *client); /* all that will be */
/* Each simulated second: client_meddle.c. */
void sim_client_meddle(struct sim_client *client);
/* What the books say at the end; aborts on a discrepancy. */
void sim_client_audit(struct sim_client *client);
uint64_t sim_client_actions(const struct sim_client *client);
struct sim_child *sim_client_find(struct sim_client *client, const char *run, const char *name);
/* One line on what is not finished yet. */
void sim_client_describe(const struct sim_client *client);
