/* Inside of the world: world.c (time), processes.c, region.c (what is there only with several
 * shards), disks.c, patience.c, faults.c, drains.c; owners.c, check.c, rebuild.c (what must hold).
 */
#pragma once

#include "base/mem.h"
#include "controlplane/copies.h"
#include "controlplane/disk_probe.h"
#include "controlplane/partition.h"
#include "controlplane/ranges.h"
#include "controlplane/store.h"
#include "tests/etcd/etcd.h"
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

/* Alone: one loop for each partition, the first is the front's too. Else one for the front, then
 * those that the partitions share. */
#define SIM_LOOPS_MAX 5

/* A partition's copy on a shard's own disk: disks.c. */
struct sim_own {
    struct sim_world *world;
    struct cp_mem_disk *mem;
    uint64_t copy;         /* its id; 0: none */
    bool begun;            /* it may have been written to */
    struct sy_buf filling; /* the image of another one, as far as it came */
};

struct sim_shard {
    struct sim_process process; /* its loop is the front's, its name the address */
    char name[16];
    struct sy_loop *loops[SIM_LOOPS_MAX];
    int64_t stands_until_ns[SIM_LOOPS_MAX];
    struct cp_shard *shard;
    unsigned boots;
    struct cp_store_opener openers[SIM_PARTITIONS_MAX];
    struct sim_own own[SIM_PARTITIONS_MAX]; /* with local storage, as the next two */
    struct cp_copies copies;
    struct cp_disk_probe probe; /* patience.c, as the next three */
    bool probed, slow;          /* it is watched; the last look found it slow */
    bool shown_slow;            /* the shard said so at the last look */
    int64_t overdue_ns[SIM_PARTITIONS_MAX];
    bool disk_goes;                       /* it died, and so may its disk */
    bool stopping, stopped;               /* as it was told to; it has */
    uint64_t commits[SIM_PARTITIONS_MAX]; /* at the last look */
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

struct sim_links {
    struct sim_link {
        const char *from, *to; /* processes, or all of a kind: "etcd-*"; as long as the world */
        bool both_ways;
        int64_t until_ns;
    } at[8];
    unsigned count;
};

/* etcd, and what goes on with several shards. */
struct sim_region {
    struct sy_loop *loop; /* etcd's; NULL: one shard, without */
    struct fake_etcd *etcd;
    int64_t etcd_mended_ns; /* what has happened to it is over then */
    unsigned roll;          /* the next one to be stopped; the number of shards: none */
};

/* Who has a partition, as far as was seen: owners.c. */
struct sim_owner {
    uint32_t epoch; /* the greatest under which it was served; 0: never */
    unsigned shard, boot;
    bool serving;  /* at the last look */
    uint32_t over; /* up to this one it was one with what was split from it; 0: nothing was */
    int64_t served_ns[SIM_SHARDS_MAX];
};

/* A partition's; what one that is to be split off has, and what it begins with. */
struct sim_disk {
    struct sim_world *world;
    unsigned partition;
    struct cp_mem_disk *mem;       /* NULL: it has not begun */
    uint32_t parent, parent_epoch; /* 0: it was split from none */
};
struct sim_halves {
    struct sy_rng rng;
    unsigned count; /* of partitions, as far as was seen, and what each has */
    struct cp_range ranges[SIM_PARTITIONS_MAX];
    struct sim_fork {
        uint32_t parent, epoch;
        struct cp_mem_disk *mem; /* NULL: it was taken */
        bool gone;
    } forks[128];
    unsigned fork_count;
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
    struct sim_disk disks[SIM_PARTITIONS_MAX];
    struct sim_halves halves;
    struct sim_shard shards[SIM_SHARDS_MAX];
    struct sy_channel *to_shards[SIM_SHARDS_MAX]; /* the client's */
    struct sim_region region;
    struct sim_owner owners[SIM_PARTITIONS_MAX];
    struct sim_operator operators[SIM_OPERATORS_MAX];
    struct sim_agent agents[SIM_AGENTS_MAX];
    struct sim_process client_process;
    struct sim_client *client;
    struct sim_verbs *verbs;
    struct sim_drains *drains;
    struct sim_queues *queues;
    struct sim_gangs *gangs;
    struct sim_links links, links_of_shards; /* that are cut */
    int64_t next_fault_ns;
    uint32_t kinds; /* of tasks that come up, and that a node can run */
    struct sim_checks checks;
    struct sim_fair fair;
    struct sim_result result;
};

struct sy_loop *sim_loop_new(struct sim_world *world);

/* processes.c: the process dies, and is started again in a while. */
void sim_shard_crash(struct sim_world *world, unsigned i);
void sim_operator_crash(struct sim_world *world, unsigned i);
void sim_agent_crash(struct sim_world *world, unsigned i);

/* It stops as it should; and has: it ends, and is started again soon. */
void sim_shard_stop(struct sim_world *world, unsigned i);
void sim_shard_ended(struct sim_world *world, unsigned i);
void sim_restart_what_is_due(struct sim_world *world);
int64_t sim_earliest_restart(const struct sim_world *world);
void sim_processes_name(struct sim_world *world);
void sim_processes_stop(struct sim_world *world);
/* On which of a shard's loops the partition is. */
unsigned sim_loop_of(const struct sim_world *world, unsigned partition);
unsigned sim_loops_of_shard(const struct sim_world *world);

/* region.c */
void sim_region_init(struct sim_world *world);
void sim_region_deinit(struct sim_world *world);
void sim_region_turn(struct sim_world *world, bool heal); /* each simulated second */
extern const char *const sim_etcd_members[SIM_ETCD_MEMBERS];

/* faults.c: each simulated second, and of each message. */
void sim_faults_turn(struct sim_world *world);
struct sy_rpc_mem_plan sim_faults_plan(struct sim_world *world);

void sim_cut(struct sim_world *world, struct sim_links *links, const char *one, const char *other);

/* drains.c: each simulated second; after each turn of a shard, or when the attempts were looked at;
 * whether the partition has known since then, all the time, that nothing may go there. */
void sim_drains_turn(struct sim_world *world, bool heal);
void sim_drains_look(struct sim_world *world, bool again);
bool sim_drains_closed(const struct sim_world *world, unsigned partition, const char *cluster);

/* owners.c: after each turn of a shard. */
void sim_owners_look(struct sim_world *world, unsigned shard, unsigned loop);
/* Of who has the partition; NULL: nobody serves it. */
struct sch_partition *sim_core(const struct sim_world *world, unsigned partition);
bool sim_all_served(const struct sim_world *world);
/* At some moment since then. */
bool sim_served(const struct sim_world *world, unsigned partition, const char *shard,
                int64_t since_ns);

/* check.c: invariants. After each turn of a shard; now and then, those that cost more. */
void sim_check_limits(struct sim_world *world);
void sim_check_all(struct sim_world *world);
bool sim_same_settings(const struct sch_queue_config *a, const struct sch_queue_config *b);
/* A few lines on what is live in the cores. */
void sim_check_describe(struct sim_world *world);

/* halves.c */
void sim_halves_init(struct sim_world *world);
void sim_halves_deinit(struct sim_world *world);
struct cp_store_opener sim_disk_opener(struct sim_world *world, unsigned partition);
void sim_halves_look(struct sim_world *world, unsigned shard); /* before sim_owners_look() */
unsigned sim_partitions(const struct sim_world *world);        /* that there are by now */
unsigned sim_partition_of(const struct sim_world *world, const char *run);
struct cp_partition_lot sim_lot_of(const struct sim_world *world, unsigned partition);
/* Of what is live in its core. */
void sim_halves_check_run(struct sim_world *world, unsigned partition, const struct sch_run *run);
void sim_halves_check_id(struct sim_world *world, const struct sch_action *action,
                         struct sim_child *child);
void sim_halves_check_attempt(struct sim_world *world, unsigned partition,
                              const struct sch_action *action);

/* disks.c: what lies under a partition as that shard has it; NULL: it has not begun. */
struct cp_mem_disk *sim_disk_under(const struct sim_world *world, unsigned shard,
                                   unsigned partition);
/* The copy that the records name beside that shard's; NULL: there is none. */
struct cp_mem_disk *sim_disk_beside(const struct sim_world *world, unsigned shard,
                                    unsigned partition);
/* With local storage. A shard is about to die, and its disk may with it; if so, and if others have
 * all that was on it, it comes back without. */
void sim_own_disks_init(struct sim_world *world);
void sim_own_disks_deinit(struct sim_world *world);
struct cp_store_opener sim_own_opener(struct sim_world *world, unsigned shard, unsigned partition);
void sim_own_disk_may_go(struct sim_world *world, unsigned shard);
void sim_own_disk_goes(struct sim_world *world, unsigned shard);

/* patience.c: disks that do not answer. An opening has begun on that loop; each simulated second;
 * after each turn of a shard. */
void sim_patience_init(struct sim_world *world);
void sim_opening_may_hang(struct sim_world *world, const struct sy_loop *loop);
void sim_patience_turn(struct sim_world *world);
void sim_patience_look(struct sim_world *world, unsigned shard);
/* Some shard takes no partitions as its disk was slow. */
bool sim_some_are_slow(const struct sim_world *world);

/* fair.c: after each turn of a shard. */
void sim_fair_look(struct sim_world *world);

/* rebuild.c: a partition that is opened on a copy of the disk, or of the standby's, knows what this
 * one knows. Nothing is done while something is on its way to the disk. After a turn of the loop.
 */
void sim_check_rebuild(struct sim_world *world, unsigned shard, unsigned loop);
