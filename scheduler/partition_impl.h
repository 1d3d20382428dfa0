/*
 * Inside of the partition core; only scheduler/partition*.c and action.c include it.
 *
 *   partition.c          set-up, the dispatch of events, end of a step, reading
 *   action.c             life cycle of an action: create, assign, retry, end, abort of a subtree
 *   partition_fifo.c     FIFOs by priority
 *   partition_gate.c     the slots of runs with a limit of concurrency, and who waits for one
 *   partition_cache.c    actions with the same cache key: one runs, the others wait
 *   partition_queue.c    resource classes, their queues, grants -> assignments, demand
 *   partition_cluster.c  clusters up and down, leases, inventories, what reports mean
 *   partition_restore.c  rebuild from the live index, the recovery wait
 *   partition_check.c    every invariant
 *
 * Where an action's `link` is: QUEUED and HELD in its level; ASSIGNED and RUNNING in its cluster's
 * list of attempts (or of those that the open inventory has not named yet); RECOVERING in
 * p->recovering; CACHE_WAIT in the waiters of its cache key.
 */
#pragma once

#include "base/mem.h"
#include "scheduler/heap.h"
#include "scheduler/list.h"
#include "scheduler/partition.h"
#include "scheduler/table.h"

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
#define SCH_ID_COUNTER_BITS 40
#define SCH_EPOCH_MAX ((1u << 24) - 1)

struct sch_run_impl {
    struct sch_run base; /* first */
    struct sch_table_link by_id, by_name;
    struct sch_link link;  /* p->runs, in order of creation */
    uint32_t refs;         /* its actions, and being live */
    struct sch_gate *gate; /* NULL: no limit */
};

/* What few actions have. */
struct sch_rare {
    int64_t end_ns;          /* deadline, or timeout of a condition; SY_TIME_NEVER: none */
    struct sch_cache *cache; /* NULL: its key, if any, is nobody's business */
};

struct sch_action_impl {
    struct sch_action base;                              /* first */
    struct sch_link link;                                /* see above */
    struct sch_action_impl *child_first;                 /* live children, oldest first */
    struct sch_action_impl *sibling_prev, *sibling_next; /* circular */
    struct sch_table_link by_id, by_name;                /* while it lives */
    struct sch_heap_entry timer;                         /* see sch_action_timer_ns() */
    struct sch_class *class;                             /* NULL: needs no worker */
    union {
        struct sch_level *level;            /* while QUEUED or HELD */
        struct sch_action_impl *grave_next; /* ended in this step */
    };
    struct sch_rare *rare; /* mostly NULL */
    uint32_t refs;         /* being live, children, the shell's */
    char name[];
};

/* Highest priority first, first in, first out within it. */
struct sch_fifo {
    uint64_t id;            /* for the hash of its levels */
    struct sch_heap levels; /* those that are not empty; highest priority on top */
    struct sch_link levels_all;
    uint32_t level_count;
    uint64_t waiting;
};

/* Actions of one priority in a FIFO. */
struct sch_level {
    struct sch_table_link by_priority;
    struct sch_heap_entry entry; /* in fifo->levels while not empty; key = -priority */
    struct sch_link link;        /* fifo->levels_all */
    struct sch_link actions;
    struct sch_fifo *fifo;
    int32_t priority;
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

/* A class on a cluster. */
struct sch_pair {
    struct sch_heap_entry entry; /* in class->open while something is granted; key = -free */
    struct sch_cluster *cluster;
    uint64_t granted, assigned; /* since CLUSTER_UP */
    bool feasible;
    bool told; /* the cluster heard of this class since CLUSTER_UP */
};

struct sch_class {
    uint32_t id;
    uint32_t refs; /* live actions */
    struct sch_resources request;
    struct sch_table_link by_request, by_id;
    struct sch_link link;    /* p->classes, in order of creation */
    struct sch_link idle;    /* p->classes_idle while refs is 0 */
    struct sch_link touched; /* p->touched: queue changed in this step */
    struct sch_fifo queue;
    struct sch_pair **pairs; /* by cluster index */
    size_t pair_count;
    struct sch_heap open;        /* pairs with grants left; most on top */
    struct sch_heap_entry flush; /* p->flushes: demand is told again at that time */
    bool tell_new;               /* a cluster may not have heard of it yet */
    uint64_t unchecked_from; /* id: those from it on were accepted while it was not known whether
                                any cluster could run them; 0: none */
    uint64_t told_waiting;   /* as told to all clusters */
    int32_t told_priority;
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
    struct sch_link attempts, unnamed; /* unnamed: by the inventory that is coming in */
    struct sch_heap_entry lease;       /* p->leases while DOWN */
};

/* A restored action whose parent was not there yet. */
struct sch_orphan {
    struct sch_action_impl *action;
    char parent[SCH_NAME_MAX];
};

struct sch_partition {
    struct sch_partition_options options;
    uint64_t last_id;
    uint32_t last_class_id;
    /* of the step that runs */
    int64_t now_ns, realtime_ns;
    struct sch_effects *out;
    struct sch_link touched, gates_touched, caches_touched;
    struct sch_action_impl *graves;
    struct sch_spec **specs_unused;
    size_t spec_unused_count, spec_unused_cap;
    struct sy_error_text misses;
    struct sch_report
        inventory; /* an entry of an inventory, as a report: effects may point to it */
    /* runs and actions that live */
    struct sch_table runs_by_id, runs_by_name, actions_by_id, actions_by_name;
    struct sch_link runs;
    uint64_t state_counts[SCH_ACTION_STATES]; /* final states: since the start */
    uint64_t actions_live;
    struct sch_heap timers;
    struct sch_table caches;
    /* classes */
    struct sch_table classes_by_id, classes_by_request, levels;
    struct sch_link classes, classes_idle;
    size_t class_count, class_idle_count, classes_unchecked;
    int64_t verify_at_ns; /* look at the unchecked classes; SY_TIME_NEVER: when clusters change */
    struct sch_heap flushes;
    /* clusters */
    struct sch_table clusters_by_name;
    struct sch_cluster **clusters;
    size_t cluster_count, cluster_cap;
    struct sch_heap leases;
    /* recovery */
    struct sch_link recovering;
    size_t clusters_awaited;
    int64_t recovery_end_ns; /* SY_TIME_NEVER: over */
    bool recovery_restarted;
    struct sch_orphan *orphans; /* restored before their parent */
    size_t orphan_count, orphan_cap;
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
static inline bool sch_cluster_connected(const struct sch_cluster *c)
{
    return c->sm.state == SCH_CLUSTER_JOINING || c->sm.state == SCH_CLUSTER_READY;
}

/* ---- partition.c ---- */
struct sch_effect *sch_effect_add(struct sch_partition *p, enum sch_effect_type type);
uint64_t sch_partition_new_id(struct sch_partition *p);
void sch_spec_released(struct sch_partition *p, struct sch_spec *spec);
struct sch_run_impl *sch_run_new(struct sch_partition *p, uint64_t id, const char *project,
                                 const char *domain, const char *name);
void sch_run_unref(struct sch_run_impl *run);

/* ---- action.c ---- */
struct sch_action_new {
    uint64_t id;
    struct sch_run_impl *run;
    struct sch_action_impl *parent;
    const char *name;
    struct sch_spec *spec; /* NULL: never runs */
    int32_t priority;
    int64_t created_ns;
    int64_t timeout_ns;          /* of a condition */
    int64_t spent_ns;            /* of that or of the deadline, before a restart */
    enum sch_action_state state; /* an initial one; it is in no queue yet */
};
/* How an action ends; see sch_effect.u.final. */
struct sch_end {
    enum sch_action_state state;
    const char *code, *message;
    const struct sch_report *report;
    struct sch_action *reused;
    void *shell;
};
struct sch_action_impl *sch_action_create(struct sch_partition *p,
                                          const struct sch_action_new *new);
void sch_action_link_parent(struct sch_action_impl *a, struct sch_action_impl *parent);
struct sch_action_impl *sch_action_find(struct sch_partition *p, uint64_t id);
struct sch_action_impl *sch_action_find_by_name(struct sch_partition *p, const struct sch_run *run,
                                                const char *name);
void sch_action_move(struct sch_partition *p, struct sch_action_impl *a, enum sch_action_state to);
struct sch_effect *sch_action_event(struct sch_partition *p, struct sch_action_impl *a,
                                    const char *code, const char *message,
                                    const struct sch_report *report);
/* Made on first use. */
struct sch_rare *sch_action_rare(struct sch_action_impl *a);
/* When its timer is due: deadline, timeout of a condition or of waiting, end of the backoff. */
int64_t sch_action_timer_ns(const struct sch_action_impl *a);
/* Of what began at `created_ns` and lasts `limit_ns`, `spent_ns` are over: ends when (monotonic).
 */
void sch_action_limit(struct sch_partition *p, struct sch_action_impl *a, int64_t limit_ns,
                      int64_t spent_ns);
/* It is QUEUED or HELD: put it there; a queue may assign it. */
void sch_action_place(struct sch_partition *p, struct sch_action_impl *a, bool front);
/* It is in nothing: it wants to run, so it is QUEUED, or HELD without a slot. */
void sch_action_wait(struct sch_partition *p, struct sch_action_impl *a, bool front);
/* QUEUED, RECOVERING -> ASSIGNED or RUNNING on a cluster; the caller sets number and epoch. */
void sch_action_occupy(struct sch_partition *p, struct sch_action_impl *a,
                       struct sch_cluster *cluster, enum sch_action_state to);
/* The current attempt has ended; what follows is decided by its outcome. */
void sch_action_outcome(struct sch_partition *p, struct sch_action_impl *a,
                        const struct sch_report *report);
void sch_action_lost(struct sch_partition *p, struct sch_action_impl *a, const char *message,
                     const struct sch_report *report);
/* The attempt never ran: back to the front of its queue. */
void sch_action_returned(struct sch_partition *p, struct sch_action_impl *a);
/* Ends it, first everything below it, then groups above it that wait for nothing more. */
void sch_action_end(struct sch_partition *p, struct sch_action_impl *a, enum sch_action_state state,
                    const char *code, const char *message, const struct sch_report *report);
void sch_action_end_as(struct sch_partition *p, struct sch_action_impl *a,
                       const struct sch_end *end);
void sch_action_timer(struct sch_partition *p, struct sch_action_impl *a);
void sch_action_seal(struct sch_partition *p, struct sch_action_impl *a);

/* ---- partition_fifo.c ---- */
void sch_fifo_init(struct sch_fifo *fifo, uint64_t id);
void sch_fifo_deinit(struct sch_partition *p, struct sch_fifo *fifo);
void sch_fifo_push(struct sch_partition *p, struct sch_fifo *fifo, struct sch_action_impl *a,
                   bool front);
void sch_fifo_remove(struct sch_partition *p, struct sch_fifo *fifo, struct sch_action_impl *a);
struct sch_action_impl *sch_fifo_first(const struct sch_fifo *fifo); /* NULL: empty */
int64_t sch_fifo_oldest_ns(const struct sch_fifo *fifo, int64_t now_ns);

/* ---- partition_gate.c ---- */
void sch_gate_new(struct sch_run_impl *run, uint32_t concurrency_max);
void sch_gate_free(struct sch_partition *p, struct sch_run_impl *run);
/* The action comes into the state, or leaves it: counts, and notes that a slot is free. */
void sch_gate_enter(const struct sch_action_impl *a, enum sch_action_state state);
void sch_gate_leave(struct sch_partition *p, const struct sch_action_impl *a,
                    enum sch_action_state state);
/* It has got its first live child, or lost its last one. */
void sch_gate_parent(const struct sch_action_impl *parent, bool is_parent);
/* Whether it is QUEUED or HELD: a new action of the run; one that waits again. */
enum sch_action_state sch_gate_first(const struct sch_run_impl *run);
enum sch_action_state sch_gate_next(const struct sch_action_impl *a);
void sch_gate_hold(struct sch_partition *p, struct sch_action_impl *a, bool front);
void sch_gate_unhold(struct sch_partition *p, struct sch_action_impl *a);
void sch_gates_release(struct sch_partition *p);

/* ---- partition_cache.c ---- */
struct sch_cache *sch_cache_find(struct sch_partition *p, const uint8_t *key);
/* It is CACHE_WAIT when the key was found; else it becomes the producer. */
void sch_cache_join(struct sch_partition *p, struct sch_action_impl *a, const uint8_t *key);
void sch_cache_leave(struct sch_partition *p, struct sch_action_impl *a);
void sch_cache_free(struct sch_partition *p, struct sch_cache *cache);
void sch_caches_settle(struct sch_partition *p);
void sch_cache_restore(struct sch_partition *p, struct sch_action_impl *a, const uint8_t *key);
void sch_cache_restored(struct sch_partition *p);

/* ---- partition_queue.c ---- */
struct sch_class *sch_class_ref(struct sch_partition *p, const struct sch_resources *request);
void sch_class_unref(struct sch_partition *p, struct sch_class *class);
struct sch_class *sch_class_find(struct sch_partition *p, uint32_t id);
void sch_class_add_cluster(struct sch_partition *p, struct sch_class *class,
                           struct sch_cluster *cluster);
/* The cluster's connection or shapes changed. */
void sch_class_update_cluster(struct sch_partition *p, struct sch_class *class,
                              struct sch_cluster *cluster);
void sch_class_reset_cluster(struct sch_partition *p, struct sch_class *class,
                             struct sch_cluster *cluster);
void sch_class_grant(struct sch_partition *p, struct sch_class *class, struct sch_cluster *cluster,
                     uint64_t granted);
void sch_class_free(struct sch_partition *p, struct sch_class *class);
/* The action is QUEUED: in or out of its level. Pushing assigns when something is granted. */
void sch_queue_push(struct sch_partition *p, struct sch_action_impl *a, bool front);
void sch_queue_remove(struct sch_partition *p, struct sch_action_impl *a);
void sch_queue_drain(struct sch_partition *p, struct sch_class *class);
/* A new action of the class was let in: note it when no known node could run it. */
void sch_class_accepted(struct sch_partition *p, struct sch_class *class, uint64_t action_id);
/* An action was held, or waited for another's result, and wants to run now. */
void sch_class_waits(struct sch_partition *p, const struct sch_action_impl *a);
/* Something became known of a cluster: what was let in unchecked is looked at soon. */
void sch_verify_later(struct sch_partition *p);
void sch_verify_tick(struct sch_partition *p);
void sch_demand_end_step(struct sch_partition *p);
void sch_demand_flush(struct sch_partition *p);

/* ---- partition_cluster.c ---- */
struct sch_cluster *sch_cluster_find(struct sch_partition *p, const char *name);
struct sch_cluster *sch_cluster_add(struct sch_partition *p, const char *name,
                                    enum sch_cluster_state state);
void sch_cluster_free(struct sch_cluster *cluster);
bool sch_cluster_fits(const struct sch_cluster *cluster, const struct sch_resources *request,
                      struct sy_error_text *ret_misses);
void sch_cluster_up(struct sch_partition *p, const char *name, const struct sch_shape *shapes,
                    size_t shape_count, bool keep_shapes);
void sch_cluster_down(struct sch_partition *p, const char *name);
void sch_cluster_inventory(struct sch_partition *p, const struct sch_report *attempt, bool started);
void sch_cluster_inventory_complete(struct sch_partition *p, const char *name);
void sch_cluster_started(struct sch_partition *p, const struct sch_report *report);
void sch_cluster_outcome(struct sch_partition *p, const struct sch_report *report);
void sch_cluster_returned(struct sch_partition *p, const struct sch_report *report);
void sch_cluster_leases(struct sch_partition *p);
/* Before each event: if nobody looked for long, silence proves nothing; restart the graces, once.
 */
void sch_cluster_watch(struct sch_partition *p, int64_t now_ns);
/* SY_TIME_NEVER when no grace runs. */
int64_t sch_cluster_watch_ns(const struct sch_partition *p);

/* ---- partition_restore.c ---- */
void sch_recovery_cluster_done(struct sch_partition *p, struct sch_cluster *cluster);
void sch_recovery_tick(struct sch_partition *p);
void sch_recovery_free(struct sch_partition *p);
