/*
 * Inside of the partition core: its state. Only scheduler/partition*.c and action*.c include it;
 * what the files below offer each other is here, or in headers of their own.
 *
 *   partition.c          set-up, the dispatch of events, end of a step, reading
 *   partition_submit.c   what comes, and who is let in
 *   action.c             life cycle of an action: create, assign, end, abort of a subtree
 *   action_retry.c       what follows the end of an attempt
 *   partition_fifo.c     FIFOs by priority
 *   partition_gate.c     the slots of runs with a limit of concurrency, and who waits for one
 *   partition_cache.c    actions with the same cache key: one runs, the others wait
 *   partition_gang.c     gangs: many actions that wait, run and are lost as one
 *   partition_share.c    the tree by which room is shared: projects, domains, queues; their limits
 *   partition_queue.c    queues as configured: created, changed, moved below another one
 *   partition_elsewhere.c what other partitions have of its queues
 *   partition_ticket.c   limits that hold over several partitions
 *   partition_fair.c     who is next: the order of priority and fair share within a class
 *   partition_turn.c     whose turn it is over all classes, and among those that a limit stops
 *   partition_lane.c     queued actions of a class and a queue: in, out, assigned
 *   partition_class.c    resource classes: a request, and the rules of a queue
 *   partition_route.c    a class on each cluster: grants, room, which cluster is chosen
 *   partition_slice.c    what changed in a cluster, and reaches the classes in slices
 *   partition_reserve.c  nodes that are kept for those who wait too long
 *   partition_reclaim.c  room for those who wait, from work that may be stopped
 *   partition_demand.c   what clusters are told; what was let in unchecked
 *   partition_cluster.c  clusters up and down, leases, inventories, what reports mean
 *   partition_drain.c    what a drained cluster has is asked back, and stopped at the deadline
 *   partition_restore.c  rebuild from the live index, the recovery wait
 *   partition_explain.c  why an action waits; what would start it: partition_change.c,
 *                        partition_ahead.c
 *   partition_check.c    every invariant
 *
 * Where an action's `link` is: QUEUED and HELD in its level; ASSIGNED and RUNNING in its cluster's
 * list of attempts (or of those that the open inventory has not named yet); RECOVERING in
 * p->recovering; CACHE_WAIT in the waiters of its cache key. Of a gang that is HELD only the first
 * is in a level.
 */
#pragma once

#include "base/arena.h"
#include "base/mem.h"
#include "scheduler/heap.h"
#include "scheduler/list.h"
#include "scheduler/partition.h"
#include "scheduler/share.h"
#include "scheduler/starts.h"
#include "scheduler/table.h"
#include "scheduler/tokens.h"

#define SCH_DEMAND_INTERVAL_NS (2 * SY_NS_PER_MS)
#define SCH_USER_BACKOFF_MAX_NS (86400 * SY_NS_PER_S)
/* The first lost attempt is queued again at once; then 100 ms, doubled each time: a task that kills
 * its node, or that no agent can start, must not burn its budget in a second. */
#define SCH_SYSTEM_BACKOFF_NS (100 * SY_NS_PER_MS)
#define SCH_SYSTEM_BACKOFF_MAX_NS (10 * SY_NS_PER_S)
/* Classes without live actions that are kept, for their standing grants. */
#define SCH_CLASSES_IDLE_MAX 256u
/* A class keeps this many levels when they are empty, so that a short queue allocates nothing. */
#define SCH_LEVELS_KEPT 8u
/* After the last cluster has told what it holds: for what its nodes say just then. */
#define SCH_VERIFY_DELAY_NS SY_NS_PER_S
/* In one step; a tick at once goes on. A step stays below a millisecond. */
#define SCH_ASSIGN_MAX 256u
/* Likewise: classes that are decided; seats that move as their share changes; clusters that hear of
 * a class for the first time, and that hear of other demand, then of one class more; and whatever
 * else is done in slices. */
#define SCH_DECIDE_MAX 512u
#define SCH_MOVE_MAX 1024u
#define SCH_TELL_MAX 512u
#define SCH_LOOKS_MAX 128u
/* So long what waits is kept for a better cluster that is asked: the gathering of demand and of
 * grants, and the way to and fro. */
#define SCH_ANSWER_PATIENCE_NS (10 * SY_NS_PER_MS)
#define SCH_FIRST_ANSWER_NS (200 * SY_NS_PER_MS) /* for one that was never heard, but answers */
#define SCH_FAIL_MAX 256u                        /* likewise: of what no cluster can run */
#define SCH_TICKET_INTERVAL_NS (10 * SY_NS_PER_MS)
#define SCH_TICKET_AGAIN_NS SY_NS_PER_S
#define SCH_BOOST_MAX (2 * SCH_QUEUE_PRIORITY_MAX)
/* So many failures in a row, and a cluster is avoided for a class: 10 s, doubled up to 10 min. */
#define SCH_AVOID_AFTER 3u
#define SCH_AVOID_NS (10 * SY_NS_PER_S)
#define SCH_AVOID_MAX_NS (600 * SY_NS_PER_S)
/* Below that a cluster is behind others for a class by how much of it failed there lately, in
 * quarters. The part of all attempts, in 1024ths: each that ends counts for an eighth; what nothing
 * ends for a minute is halved. */
#define SCH_FAILING_ALL 1024u
#define SCH_FAILING_QUARTER (SCH_FAILING_ALL / 4)
#define SCH_FAILING_WEIGHT 8u
#define SCH_FAILING_FADE_NS (60 * SY_NS_PER_S)
/* So long a gang waits for the clusters to say whether they have room for it now, before it goes to
 * one that has not. */
#define SCH_GANG_PATIENCE_NS SY_NS_PER_S
/* A cluster that gave a gang back is tried after the others for so long. */
#define SCH_GANG_AVOID_NS (600 * SY_NS_PER_S)
/* So long at most a class waits for another round of reclaim after those that were in vain. */
#define SCH_RECLAIM_WAIT_MAX_NS (600 * SY_NS_PER_S)
#define SCH_RESERVE_CLASSES_MAX 16u /* at a time, the first in order */
#define SCH_ID_COUNTER_BITS 40      /* of these the last ones are the place */
#define SCH_ID_PLACE_BITS 8
/* No action is assigned so often: an attempt with a higher number is none of ours, and would leave
 * no numbers for those that follow. */
#define SCH_ATTEMPT_NUMBER_MAX (1u << 31)
#define SCH_EPOCH_MAX ((1u << 24) - 1)

struct sch_run_impl {
    struct sch_run base; /* first */
    struct sch_table_link by_id, by_name;
    struct sch_link link;  /* p->runs, in order of creation */
    uint32_t refs;         /* its actions, and being live */
    uint8_t place;         /* of its name; ids of its actions end in it */
    struct sch_gate *gate; /* NULL: no limit */
};

/* What few actions have. */
struct sch_gang; /* partition_gang.h */
struct sch_rare {
    int64_t end_ns;          /* deadline, or timeout of a condition; SY_TIME_NEVER: none */
    int64_t queued_ns;       /* of its queue when it came: most time in it; SY_TIME_NEVER: none */
    struct sch_cache *cache; /* NULL: its key, if any, is nobody's business */
    uint64_t memory_bytes;   /* see sch_action_memory_bytes() */
    struct sch_gang *gang;   /* NULL: in none; a reference */
    uint32_t rank;           /* in it */
};

/* What a pick reads and writes is together: with a million actions each cache line is a miss. */
struct sch_action_impl {
    struct sch_action base;      /* first */
    struct sch_link link;        /* see above */
    struct sch_heap_entry timer; /* see sch_action_timer_ns() */
    struct sch_lane *lane;       /* NULL: needs no worker */
    union {
        struct sch_level *level;            /* while QUEUED or HELD */
        struct sch_action_impl *grave_next; /* ended in this step */
    };
    struct sch_rare *rare; /* mostly NULL */
    uint32_t refs;         /* being live, children, the shell's */
    uint32_t asked;        /* cluster->asking when it was asked to leave; 0: it was not */
    /* from here on not by a pick */
    struct sch_action_impl *child_first;                 /* live children, oldest first */
    struct sch_action_impl *sibling_prev, *sibling_next; /* circular */
    struct sch_table_link by_id, by_name;                /* while it lives */
    char name[];
};

/* Highest priority first, first in, first out within it. */
struct sch_fifo {
    uint64_t id;            /* for the hash of its levels */
    struct sch_heap levels; /* those that are not empty; highest priority on top */
    struct sch_link levels_all;
    uint32_t level_count;
    uint64_t waiting;
    struct sch_lane *lane; /* what waits in it ages; NULL: it does not */
};

/* Actions of one priority in a FIFO. */
struct sch_level {
    struct sch_heap_entry entry; /* in fifo->levels while not empty; key = -(priority + boost) */
    struct sch_link actions;
    uint64_t count;
    struct sch_fifo *fifo;
    int32_t priority;
    int32_t boost; /* one for each ageing_ns that its first has waited */
    /* from here on not by a pick */
    struct sch_heap_entry age; /* p->ages while not empty: its first may be due for a boost */
    struct sch_link link;      /* fifo->levels_all */
    struct sch_table_link by_priority;
};

/* The region, a project, a domain of it, a queue; below a queue those (project, domain) that use
 * it: its tenants, where actions are. */
enum sch_share_level {
    SCH_SHARE_REGION,
    SCH_SHARE_PROJECT,
    SCH_SHARE_DOMAIN,
    SCH_SHARE_QUEUE,
    SCH_SHARE_TENANT,
};

/* Of a share in a tree of turns: the best of its children; of a tenant, its heads. See
 * partition_turn.c. */
struct sch_front {
    struct sch_share *share;
    struct sch_heap_entry entry; /* in its parent's heap */
    struct sch_heap heap;
};

/* What a pick reads and writes of each share above its action comes first. */
struct sch_share {
    enum sch_share_level level;
    bool bounded;     /* by its configuration: it has limits, or is paused */
    bool yields;      /* likewise: a queue whose work may be stopped */
    bool moves_again; /* its share changed while its seats moved: those before moves_at, too */
    uint32_t weight;  /* likewise */
    uint32_t id;      /* order of creation */
    /* Of the resource of which it has most, over its weight, as the bits of a float: they order as
     * the numbers do. The least goes first among siblings. */
    uint32_t weighted_share;
    int32_t priority; /* a tenant's: of the queues above, added to each action's */
    struct sch_share *parent;
    struct sch_use use;
    struct sch_front front;    /* in the tree of all classes */
    struct sch_stops *stops;   /* partition_turn.h; NULL: they never stopped any */
    struct sch_link seats;     /* that its limits do not stop; contested ones first */
    struct sch_link *moves_at; /* of these: the next one that is where its former share put it */
    /* from here on not by every pick */
    struct sch_use elsewhere; /* of other partitions, as clusters tell it: counts in the order */
    struct sch_link elsewheres;
    struct sch_front *held;    /* [i] in the tree of the share i levels up; NULL: in none yet */
    struct sch_ticket *ticket; /* of a limit that several partitions share; else NULL */
    struct sch_use waits;      /* of `use`: gangs that are out, and have not started */
    uint64_t live;             /* actions that need a worker, here and below */
    int32_t urgency;      /* the highest priority of their own that these had since live was 0 */
    uint32_t refs;        /* children, seats, being configured */
    uint32_t tag;         /* from its key: names it to operators, with those of the levels above */
    uint32_t check_index; /* of sch_partition_check() */
    int64_t queued_timeout_ns;       /* a tenant's: of the queues above, the least; SY_TIME_NEVER:
                                        none */
    const struct sch_rule *rule;     /* a tenant's; held */
    struct sch_queue_config *config; /* NULL: default; ends with its last cluster */
    struct sch_tokens *tokens;       /* at the home of such a limit, once somebody has reported */
    struct sch_link preemptible;     /* p->preemptible: a queue with work out that may be stopped */
    struct sch_link misplaced;       /* p->misplaced: not below its configured parent yet */
    struct sch_link moving;          /* p->moving: some of its seats are to move; p->moved */
    struct sch_link link;            /* p->shares */
    struct sch_link weighing;        /* p->weighing */
    struct sch_table_link by_key;
    struct sch_table_link by_tag; /* with its parent */
    struct sch_queue_key key;     /* a tenant's: its project and domain */
};

/* What one cluster said that other partitions have there of a share. */
struct sch_elsewhere {
    struct sch_share *share; /* a reference */
    const struct sch_cluster *cluster;
    uint32_t stream; /* of the cluster, on which that was said */
    struct sch_use use;
    struct sch_table_link by_share;
    struct sch_link link;       /* cluster->elsewhere; p->elsewhere_gone once that is closed */
    struct sch_link share_link; /* share->elsewheres */
};

/* What this partition may use of a limit that the region's partitions share. */
struct sch_ticket {
    struct sch_share *share;
    uint32_t sequence; /* of the newest allowance; 0: none yet */
    uint64_t term;     /* of the home that it obeys; 0: none yet */
    struct sch_use allowed;
    struct sch_use limits; /* that the home had when it said so; 0: it has said nothing yet */
    struct sch_token_report told;
    int64_t told_ns;
    struct sch_link touched;     /* p->tickets_touched: something to report may have changed */
    struct sch_heap_entry flush; /* p->ticket_flushes: it is reported at that time */
};

/* A node of the tree within one class; what it orders are its children's seats. A seat that may not
 * run more, by its share's limits, is out of its parent's heap until something of it ends. */
struct sch_seat {
    struct sch_heap_entry entry; /* in parent->children; see sch_seat_key() */
    struct sch_heap children;    /* of a lane: empty */
    struct sch_seat *parent;     /* NULL: the root, in sch_class */
    struct sch_share *share;
    struct sch_class *class;
    uint64_t ready; /* QUEUED actions below that no stopped seat up to here holds back */
    uint32_t refs;  /* seats below; of a lane: its live actions */
    bool stopped, aside;
    bool contested;                 /* not alone in its parent's heap, so its share matters there */
    struct sch_link link;           /* share->seats, or in share->stops */
    struct sch_lane *turn_lane;     /* of a head: its next one, where it stands; NULL: nowhere */
    struct sch_heap_entry turn;     /* of a head, in the tree of turns of its share */
    struct sch_table_link by_share; /* p->seats */
};

/* Actions of a class and a tenant; a leaf of the tree. */
struct sch_lane {
    struct sch_seat seat; /* first */
    struct sch_fifo queue;
    struct sch_link link; /* class->lanes */
    struct sch_starts starts;
};

/* Where a queue's work may run, and how its cluster is chosen; interned, part of a class's key. */
struct sch_rule {
    struct sch_table_link by_content;
    uint32_t refs;
    /* compared and hashed from here on: bytes */
    struct sch_rule_content {
        int64_t price_max;
        uint32_t policy; /* enum sch_policy */
        uint32_t preemptible_nodes, cluster_count;
        uint32_t infeasible; /* enum sch_infeasible: HOLD or FAIL */
        uint32_t preferred_count;
        uint32_t resident; /* 1: only in `regions`; of levels that contradict each other in none */
        uint32_t region_count;
        uint32_t zero;
        char preferred[SCH_QUEUE_PREFERRED_MAX][SCH_QUEUE_NAME_MAX];
        char regions[SCH_QUEUE_REGIONS_MAX][SCH_QUEUE_NAME_MAX];
        char clusters[SCH_QUEUE_CLUSTERS_MAX][SCH_QUEUE_NAME_MAX];
    } content;
};

/* The slots of a run; how many are used is in sch_run. */
struct sch_gate {
    struct sch_run *run;
    struct sch_fifo held;
    uint32_t recovering;     /* actions: each may turn out to have a slot */
    struct sch_link touched; /* p->gates_touched: a slot may have come free in this step */
};

/* A cache key that live actions have. */
struct sch_cache {
    struct sch_table_link by_key;
    uint8_t key[SCH_CACHE_KEY_BYTES];
    struct sch_action_impl *producer; /* NULL only within a step, while touched */
    struct sch_action_impl *source;   /* the producer that succeeded in this step */
    struct sch_link waiters;          /* oldest first */
    struct sch_link touched;          /* p->caches_touched */
};

struct sch_keyed {
    struct sch_action_impl *action;
    uint8_t key[SCH_CACHE_KEY_BYTES];
};

/* A class on a cluster. In class->open while something is granted, or expected, by the class's
 * policy; but in cluster->short_of_room after the cluster's room was found too small for one more
 * (in both while more room is expected). */
struct sch_pair {
    struct sch_heap_entry entry;
    struct sch_link short_link;
    struct sch_class *class;
    struct sch_cluster *cluster;
    struct sch_link follows; /* cluster->pairs; p->stale while it has not followed the cluster */
    uint32_t version;        /* of the cluster, that it has followed; see partition_slice.h */
    uint32_t stream;
    struct sch_link untold;     /* p->untold: the cluster is to hear of the class */
    uint64_t granted, assigned; /* since CLUSTER_UP */
    uint64_t startable;         /* of those granted, up to this count into room that was free */
    int64_t expected_ns; /* = class->patience.key: it is asked, and others wait for its answer that
                            long; else that is over, or never was */
    bool feasible;       /* a node of it that is known, or was before it was gone, could run it */
    bool preferred;      /* by the class's rule, or that prefers none */
    bool capable;        /* it may run it: it is not gone, and does not say that it could not */
    bool told;           /* the cluster heard of this class since CLUSTER_UP */
    bool answered;       /* on its stream, or not waited for; of gangs: since the last came */
    uint32_t reserves;   /* nodes that it is asked to keep for the class */
    uint32_t failures;   /* refusals and losses one after the other */
    uint32_t failing;    /* of SCH_FAILING_ALL; 0 once it is avoided */
    int64_t failing_ns;  /* it is halved then */
    int64_t avoided_until_ns;      /* another cluster is taken if one has room; 0: not */
    struct sch_heap_entry avoided; /* p->avoided while it is, or is failing: when that changes */
};

struct sch_class {
    uint32_t id;
    uint32_t refs;                       /* live actions */
    struct sch_resources asked, request; /* the latter with what the rule adds */
    const struct sch_rule *rule;
    struct sch_gang_shape gang; /* size 0: none; else what is queued, granted and routed is gangs */
    struct sch_table_link by_request, by_id;
    struct sch_heap_entry patience; /* p->patience while it waits for answers of clusters */
    struct sch_link link;           /* p->classes, in order of creation */
    struct sch_link idle;           /* p->classes_idle while refs is 0 */
    struct sch_link touched;        /* p->touched: queue changed in this step */
    struct sch_link undecided;      /* p->undecided: runnable, but who is next is to be found; until
                                       then it stands with who was */
    struct sch_seat root;           /* a head while it is runnable */
    struct sch_link lanes;
    uint64_t waiting; /* QUEUED actions, those that limits hold back too */
    struct sch_starts starts;
    struct sch_pair **pairs; /* by cluster index; of the newest clusters maybe none yet */
    size_t pair_count;
    struct sch_link width;      /* p->widening */
    struct sch_link unchecked;  /* p->unchecked; see unchecked_from */
    struct sch_link reclaiming; /* p->reclaiming */
    struct sch_link reserving;  /* p->reserving */
    struct sch_link reserved;   /* p->reserved: nodes are kept for it */
    struct sch_heap open;       /* pairs with grants left; the next one on top */
    int64_t short_since_ns; /* that, as the rounds of reclaim saw it; SY_TIME_NEVER: it is not */
    size_t reclaim_next;
    /* Which cluster was asked last to stop others for it, and how many had stopped there by then.
     * How often some did, without that one of the class could start. */
    const struct sch_cluster *reclaim_asked;
    uint64_t reclaim_seen;
    uint32_t reclaim_in_vain;
    int64_t reclaim_after_ns;    /* not before */
    uint32_t reserves;           /* over its pairs */
    struct sch_heap_entry flush; /* p->flushes: demand is told again at that time */
    uint32_t feasible, capable;  /* of its pairs */
    int64_t incapable_ns;        /* capable is 0: since when, as sch_awake_ns() */
    struct sch_heap_entry doom;  /* p->doomed: what waits ends at that time, likewise */
    uint64_t unchecked_from; /* id: those from it on were accepted while it was not known whether
                                any cluster could run them; 0: none */
    uint64_t told_waiting;   /* as told to all clusters */
    int32_t told_priority;
    uint32_t told_place; /* a hash of the place of its first; 0: none was told */
    int64_t told_ns;
};

/*  (restore) --> EXPECTED --> GONE      DOWN again: READY, JOINING --> DOWN --> GONE
 *  (first CLUSTER_UP) --> JOINING --> READY       back: EXPECTED, DOWN, GONE --> JOINING
 * JOINING: the stream is open, the inventory is not complete. DOWN: its lease runs. */
enum sch_cluster_state {
    SCH_CLUSTER_EXPECTED,
    SCH_CLUSTER_JOINING,
    SCH_CLUSTER_READY,
    SCH_CLUSTER_DOWN,
    SCH_CLUSTER_GONE,
    SCH_CLUSTER_STATES,
};
extern const struct sm_table sch_cluster_table;

struct sch_cluster {
    char name[SCH_NAME_MAX];
    struct sm sm;
    bool awaited;         /* recovery waits for its inventory */
    bool grace_restarted; /* once for each time it is DOWN */
    uint32_t index;       /* in p->clusters and in each class's pairs */
    uint32_t rank;        /* in the order of names */
    struct sch_table_link by_name;
    struct sch_shape *shapes;
    size_t shape_count;
    struct sch_use capacity;   /* of its nodes, by its shapes; actions: its nodes */
    int64_t price;             /* of a core, in millionths an hour */
    char region[SCH_NAME_MAX]; /* "": not known */
    bool cordoned;             /* nothing is assigned there */
    uint32_t version;          /* goes up with each change that its pairs follow */
    uint32_t stream;           /* and with each CLUSTER_UP after a time without */
    struct sch_link pairs;     /* that have followed */
    struct sch_link elsewhere;
    bool room_known;                            /* else only the grants of its classes count */
    struct sch_use room_granted, room_assigned; /* since CLUSTER_UP */
    struct sch_link short_of_room;
    struct sch_link roomy; /* p->roomy: its room changed, those that are short are to look again */
    uint64_t preempted;    /* attempts that it has stopped for others, or for a drain */
    uint32_t reserves;     /* nodes that it is asked to keep */
    struct sch_link attempts, unnamed; /* unnamed: by the inventory that is coming in */
    struct sch_link kept; /* that wait for it: after its lease, or for nodes of it that are away;
                             or that nodes which are away may not have stopped yet */
    int64_t stopped_ns;   /* by then those have: a lease after it has come */
    struct sch_heap_entry stopping; /* p->stopping while it keeps such */
    uint64_t assigned, running;     /* of both */
    bool draining, stops;           /* stops: its deadline has passed */
    uint32_t asking; /* that all of its attempts are asked. Who was is in front of who was not */
    struct sch_link drain;           /* p->draining: some were not asked yet */
    struct sch_heap_entry drain_due; /* p->drains until its deadline */
    struct sch_link losing; /* p->losing: what is unnamed is lost, some of it in each step */
    const char *lost_why;
    struct sch_heap_entry lease; /* p->leases while DOWN */
};

/* A restored action whose attempt is waited for. */
struct sch_restored_out {
    struct sch_action_impl *action;
    struct sch_out out;
};

/* A restored action whose parent was not there yet. */
struct sch_orphan {
    struct sch_action_impl *action;
    char parent[SCH_NAME_MAX];
};

struct sch_partition {
    struct sch_partition_options options;
    uint64_t last_id;
    uint32_t last_class_id, last_share_id;
    uint32_t terms;         /* as a home of limits: how many it began, see tokens.h */
    uint32_t reclaim_from;  /* the next round goes on behind this class */
    uint32_t reclaim_after; /* and this one behind that */
    /* In the round of reclaim that is on: so many may still ask, and so many queues be looked at.
     */
    uint32_t reclaim_classes, reclaim_gangs, reclaim_looks;
    uint32_t reserve_found[SCH_RESERVE_CLASSES_MAX]; /* by that round so far, in their order: ids */
    uint32_t reserve_found_count;
    /* of the step that runs */
    int64_t now_ns, realtime_ns;
    struct sch_effects *out;
    struct sy_arena kept; /* what effects point to: until the next step */
    struct sch_link touched, gates_touched, caches_touched;
    struct sch_action_impl *graves;
    struct sch_spec **specs_unused;
    size_t spec_unused_count, spec_unused_cap;
    struct sy_error_text misses;
    struct sch_report
        inventory;           /* an entry of an inventory, as a report: effects may point to it */
    uint32_t looks;          /* at what is looked at in slices */
    uint32_t decisions_left; /* classes */
    uint32_t moves_left;     /* seats */
    uint32_t tells_left;     /* pairs whose clusters hear of other demand */
    /* runs and actions that live */
    struct sch_table runs_by_id, runs_by_name, actions_by_id, actions_by_name;
    struct sch_link runs;
    uint64_t state_counts[SCH_ACTION_STATES]; /* final states: since the start */
    uint64_t actions_live;
    struct sch_heap timers;
    struct sch_table caches, gangs_by_id;
    struct sch_link gangs, gangs_broken, gangs_sent;
    /* queues */
    struct sch_table shares_by_key, shares_by_tag, seats, rules, elsewheres;
    struct sch_link elsewhere_gone;
    struct sch_link shares;    /* in order of creation */
    struct sch_round weighing; /* shares; of other capacity */
    struct sch_share *region;
    struct sch_share *last_tenant; /* that was looked for; held. NULL: none */
    struct sch_link preemptible;
    struct sch_link misplaced;
    struct sch_link moving; /* shares; nobody is next before all of their seats have moved */
    struct sch_link moved;  /* shares that changed meanwhile: again in the next step */
    bool last_unnamed;      /* last_tenant was, without naming a queue */
    bool turns_looked;      /* whether a cluster has room for turns_least is known */
    bool emptied;           /* in this step a share lost its last action */
    int64_t reclaim_at_ns;  /* the next round; SY_TIME_NEVER: nothing may be stopped */
    int64_t reserve_at_ns;  /* the next round; SY_TIME_NEVER: nobody waits */
    uint32_t reserves;      /* over all classes */
    struct sch_link tickets_touched;
    struct sch_heap ticket_flushes;
    uint64_t last_fifo_id;
    struct sch_use capacity; /* of the clusters that are not gone; near enough: a small change of it
                                changes no share */
    struct sch_heap ages;
    /* classes */
    struct sch_table classes_by_id, classes_by_request, levels;
    struct sch_link classes, classes_idle, undecided;
    struct sch_link untold;                 /* pairs */
    struct sch_link stale;                  /* pairs whose cluster has changed since they looked */
    struct sch_link waking;                 /* pairs that were short of room, which changed */
    struct sch_link roomy;                  /* clusters, see there */
    struct sch_round reclaiming, reserving; /* classes; rounds that begin from time to time */
    struct sch_link reserved;               /* classes */
    struct sch_round widening;  /* classes, that may have no pairs with the newest clusters */
    struct sch_round unchecked; /* classes; that round is on while verify_at_ns is past */
    struct sch_use turns_least; /* nobody who stands in the tree of turns needs less */
    int64_t turns_closed_ns;    /* no cluster has room for that: until then nobody is asked */
    struct sch_heap avoided, patience;
    size_t class_count, class_idle_count;
    struct sch_heap doomed;
    int64_t stood_still_ns; /* that long nobody looked, so silence proved nothing */
    int64_t verify_at_ns;   /* look at the unchecked classes; SY_TIME_NEVER: when clusters change */
    struct sch_heap flushes;
    /* clusters */
    struct sch_table clusters_by_name;
    struct sch_cluster **clusters;
    size_t cluster_count, cluster_cap;
    struct sch_heap leases, drains, stopping;
    struct sch_link losing, draining; /* clusters */
    /* recovery */
    struct sch_link recovering;
    size_t clusters_awaited;
    int64_t recovery_end_ns; /* SY_TIME_NEVER: over */
    bool recovery_restarted;
    bool recovery_ends; /* what nobody reported is queued again, some in each step; nobody is
                           assigned before all of it is */
    struct sch_orphan *orphans; /* restored before their parent */
    size_t orphan_count, orphan_cap;
    struct sch_restored_out *outs;
    size_t out_count, out_cap;
    struct sch_keyed *keyed; /* restored with a cache key */
    size_t keyed_count, keyed_cap;
};

static inline struct sch_action_impl *sch_action_impl(struct sch_action *action)
{
    return (struct sch_action_impl *)action;
}
static inline const struct sch_action_impl *sch_action_impl_const(const struct sch_action *action)
{
    return (const struct sch_action_impl *)action;
}
static inline struct sch_run_impl *sch_run_impl(struct sch_run *run)
{
    return (struct sch_run_impl *)run;
}
static inline enum sch_action_state sch_action_state(const struct sch_action_impl *a)
{
    return (enum sch_action_state)a->base.sm.state;
}
static inline enum sch_cluster_state sch_cluster_state(const struct sch_cluster *c)
{
    return (enum sch_cluster_state)c->sm.state;
}
static inline struct sch_class *sch_action_class(const struct sch_action_impl *a)
{
    return a->lane ? a->lane->seat.class : NULL;
}
/* Its current attempt is counted, and over. */
static inline void sch_action_end_attempt(struct sch_action_impl *a)
{
    a->base.attempts = sch_action_attempt(&a->base);
    a->base.ended = a->base.number;
}
static inline struct sch_gang *sch_action_gang_of(const struct sch_action_impl *a)
{
    return a->rare ? a->rare->gang : NULL;
}
/* How many actions one that waits in the class stands for. */
static inline uint32_t sch_class_unit(const struct sch_class *class)
{
    return class->gang.size > 0 ? class->gang.size : 1;
}
static inline struct sch_lane *sch_seat_lane(struct sch_seat *seat)
{
    return (struct sch_lane *)seat;
}
static inline bool sch_seat_is_lane(const struct sch_seat *seat)
{
    return seat->share->level == SCH_SHARE_TENANT;
}
static inline bool sch_state_is_out(enum sch_action_state state)
{
    return state == SCH_ACTION_ASSIGNED || state == SCH_ACTION_RUNNING;
}
/* What counts as used of a share: what is out, and what may turn out to be. */
static inline bool sch_state_is_used(enum sch_action_state state)
{
    return sch_state_is_out(state) || state == SCH_ACTION_RECOVERING;
}
static inline bool sch_cluster_connected(const struct sch_cluster *c)
{
    return c->sm.state == SCH_CLUSTER_JOINING || c->sm.state == SCH_CLUSTER_READY;
}

/* The clock by which graces run: it leaves out what the loop stood still. */
static inline int64_t sch_awake_ns(const struct sch_partition *p)
{
    return p->now_ns - p->stood_still_ns;
}

/* Sums of priorities, which are told and compared as 32 bits. */
static inline int32_t sch_priority_clamp(int64_t priority)
{
    return priority > INT32_MAX    ? INT32_MAX
           : priority < -INT32_MAX ? -INT32_MAX
                                   : (int32_t)priority;
}

/* Whether this step may look at one more; counts it. */
static inline bool sch_may_look(struct sch_partition *p)
{
    bool may = p->looks < p->options.looks_max;
    p->looks += may;
    return may;
}

/* ---- partition.c ---- */
struct sch_effect *sch_effect_add(struct sch_partition *p, enum sch_effect_type type);
/* A copy for an effect to point to. */
void *sch_effect_keep(struct sch_partition *p, const void *data, size_t size);
uint64_t sch_partition_new_id(struct sch_partition *p, uint8_t place);
void sch_spec_released(struct sch_partition *p, struct sch_spec *spec);
/* As sch_partition_feasible(), for a gang of that shape (size 0: one action), under these rules
 * (NULL: none). */
bool sch_feasible(const struct sch_partition *p, const struct sch_resources *asked,
                  const struct sch_gang_shape *gang, const struct sch_rule *rule,
                  struct sy_error_text *ret_misses);
/* Whether the cluster could ever run it, as far as is known; says why not. */
bool sch_cluster_may_run(const struct sch_cluster *cluster, const struct sch_resources *request,
                         const struct sch_gang_shape *gang, const struct sch_rule *rule,
                         struct sy_error_text *ret_misses);
struct sch_run_impl *sch_run_new(struct sch_partition *p, uint64_t id, const char *project,
                                 const char *domain, const char *name);
void sch_run_unref(struct sch_run_impl *run);

/* ---- partition_gate.c ---- */
void sch_gate_new(struct sch_run_impl *run, uint32_t concurrency_max);
void sch_gate_free(struct sch_partition *p, struct sch_run_impl *run);
/* The action comes into the state, or leaves it: counts, and notes that a slot is free. */
void sch_gate_enter(const struct sch_action_impl *a, enum sch_action_state state);
void sch_gate_leave(struct sch_partition *p, const struct sch_action_impl *a,
                    enum sch_action_state state, enum sch_action_state to);
/* It has got its first live child, or lost its last one. */
void sch_gate_parent(const struct sch_action_impl *parent, bool is_parent);
/* Whether it is QUEUED or HELD: a new action of the run; one that waits again. */
enum sch_action_state sch_gate_first(const struct sch_run_impl *run, uint32_t slots);
enum sch_action_state sch_gate_next(const struct sch_action_impl *a);
void sch_gate_hold(struct sch_partition *p, struct sch_action_impl *a, bool front);
void sch_gate_unhold(struct sch_partition *p, struct sch_action_impl *a);
void sch_gates_release(struct sch_partition *p);

/* ---- partition_class.c ---- */
struct sch_class *sch_class_ref(struct sch_partition *p, const struct sch_resources *request,
                                const struct sch_gang_shape *gang, const struct sch_rule *rule);
/* Without making it; NULL: there is none. */
struct sch_class *sch_class_peek(const struct sch_partition *p, const struct sch_resources *request,
                                 const struct sch_gang_shape *gang, const struct sch_rule *rule);
void sch_class_unref(struct sch_partition *p, struct sch_class *class);
void sch_class_move_refs(struct sch_partition *p, struct sch_class *from, struct sch_class *to,
                         uint32_t count);
struct sch_class *sch_class_find(struct sch_partition *p, uint32_t id);
void sch_class_free(struct sch_partition *p, struct sch_class *class);
/* Whether it has somebody who may run and a cluster for him. */
bool sch_class_is_runnable(const struct sch_class *class);
/* Who is next in it, or whether it is runnable, may have changed. */
void sch_class_changed(struct sch_partition *p, struct sch_class *class);
const struct sch_rule *sch_rule_ref(struct sch_partition *p,
                                    const struct sch_rule_content *content);
void sch_rule_unref(struct sch_partition *p, const struct sch_rule *rule);

/* ---- partition_demand.c ---- */
void sch_class_touch(struct sch_partition *p, struct sch_class *class);
void sch_demand_end_step(struct sch_partition *p);
void sch_demand_flush(struct sch_partition *p);

/* ---- partition_cluster.c ---- */
struct sch_cluster *sch_cluster_find(struct sch_partition *p, const char *name);
struct sch_cluster *sch_cluster_add(struct sch_partition *p, const char *name,
                                    enum sch_cluster_state state);
void sch_cluster_free(struct sch_cluster *cluster);
bool sch_cluster_fits(const struct sch_cluster *cluster, const struct sch_resources *request,
                      struct sy_error_text *ret_misses);
/* The action is one more, or one less, of what is out in its cluster, if it is out. */
void sch_cluster_count(const struct sch_action_impl *a, int by);
/* It is out there, and in no list: into that of the cluster's attempts. */
void sch_cluster_take(struct sch_partition *p, struct sch_cluster *cluster,
                      struct sch_action_impl *a);
void sch_cluster_up(struct sch_partition *p, const struct sch_cluster_said *said);
void sch_cluster_down(struct sch_partition *p, const char *name);
/* It is deleted, or else fenced: what it has is lost now. */
void sch_cluster_give_up(struct sch_partition *p, const char *name, bool deleted);
/* Whether it is there, or what it has, is known better than before: its pairs are to follow. */
void sch_cluster_learned(struct sch_partition *p, struct sch_cluster *cluster);
void sch_cluster_inventory(struct sch_partition *p, const struct sch_report *attempt, bool started);
void sch_cluster_inventory_complete(struct sch_partition *p, const struct sch_cluster_said *said);
/* Once in each step: some of what clusters do not have any more. */
void sch_cluster_lose(struct sch_partition *p);
void sch_cluster_started(struct sch_partition *p, const struct sch_report *report);
void sch_cluster_outcome(struct sch_partition *p, const struct sch_report *report);
void sch_cluster_returned(struct sch_partition *p, const struct sch_report *report);
void sch_cluster_leases(struct sch_partition *p);
/* What clusters have kept until agents that are cut off have stopped it is lost. */
void sch_cluster_stopped(struct sch_partition *p);
/* No cluster is connected: then nothing that may be out is lost. */
bool sch_cluster_blind(const struct sch_partition *p);
/* Before each event: if nobody looked for long, silence proves nothing; restart the graces, once.
 */
void sch_cluster_watch(struct sch_partition *p, int64_t now_ns);
/* SY_TIME_NEVER when no grace runs. */
int64_t sch_cluster_watch_ns(const struct sch_partition *p);

/* ---- partition_restore.c ---- */
void sch_recovery_cluster_done(struct sch_partition *p, struct sch_cluster *cluster);
void sch_recovery_tick(struct sch_partition *p);
/* Once in each step: some of what recovery queues again. */
void sch_recovery_go_on(struct sch_partition *p);
void sch_recovery_free(struct sch_partition *p);
