/*
 * Inside of the operator core; only scheduler/operator*.c include it.
 *
 *   operator.c         set-up, the dispatch of events, reading
 *   operator_shard.c   what shards say: streams, demand, assignments, cancels, acknowledgements
 *   operator_node.c    what agents say: nodes up and down, inventories, reports, leases
 *   operator_place.c   room: kinds of requests, best fit, backlogs, what is held
 *   operator_grant.c   how much each shard may send
 *   operator_check.c   every invariant
 *
 * Room. A node's `used` is the sum of the requests of its charged attempts. An attempt is charged
 * when it is placed into free room; or, from the node's backlog, when room comes free for it (the
 * agent will start it next); or at the latest when the agent says that it started. The agent admits
 * in its own order, and one message carries starts before outcomes, so the last case may push
 * `used` above the capacity for a moment. What never exceeds it is the sum of those charged into
 * room that was free in our eyes (`room`), and sch_operator_check() checks that.
 *
 * A kind is a distinct request over all shards. It keeps, for each node, how many more fit; nodes
 * are listed by their latest change, and what changed since is read when the kind is used: kinds at
 * rest cost nothing.
 */
#pragma once

#include "base/mem.h"
#include "scheduler/heap.h"
#include "scheduler/list.h"
#include "scheduler/operator.h"
#include "scheduler/table.h"

/* Grants are worked out again at most this often; with many kinds less often, for it costs (kinds x
 * nodes that changed). */
#define SCH_OP_GRANT_INTERVAL_NS SY_NS_PER_MS
#define SCH_OP_GRANT_KINDS 16u
#define SCH_OP_SHAPES_INTERVAL_NS (100 * SY_NS_PER_MS)
#define SCH_OP_ROUND_TRIP_NS (20 * SY_NS_PER_MS) /* that a backlog hides */
#define SCH_OP_RATE_WINDOW_NS (100 * SY_NS_PER_MS)
#define SCH_OP_BACKLOG_MIN 2u
#define SCH_OP_BACKLOG_MAX 4096u
#define SCH_OP_FITS_MAX 4096u /* of a request that asks for nothing, on one node */
#define SCH_OP_ENVIRONMENTS_MAX 16u
#define SCH_OP_WAITING_MAX (1u << 28) /* of one class: sums and products stay in 64 bits */

/* Completions in the current and the previous window. */
struct sch_rate {
    int64_t start_ns;
    uint32_t current, previous;
};

/* Amounts of all that is free, held or granted. */
struct sch_amount {
    uint64_t cpu_milli, memory_bytes, gpus;
};

struct sch_op_partition {
    uint32_t id;
    uint32_t epoch; /* the newest seen */
    bool up;
    uint64_t waiting, unstarted;      /* over its classes */
    struct sch_amount assigned, room; /* since the stream opened: came; may come */
    struct sch_table_link by_id;
    struct sch_link link;     /* op->partitions */
    struct sch_link attempts; /* all of its attempts here */
    struct sch_link classes;  /* of the open stream */
};

/* A class of a partition, as long as its stream is open. */
struct sch_op_class {
    uint32_t id;
    struct sch_op_partition *partition;
    struct sch_kind *kind;
    struct sch_table_link by_id;
    struct sch_link partition_link, kind_link;
    uint64_t waiting;           /* there, as last told */
    uint64_t assigned, granted; /* since the stream opened */
    uint64_t unstarted;         /* here: held, or placed without room */
};

/* A kind on a node. */
struct sch_slot {
    struct sch_heap_entry best; /* in kind->best while fits > 0 */
    struct sch_heap_entry over; /* in kind->over while the node's backlog has room */
    uint32_t fits;              /* how many more now */
    uint32_t slots;             /* how many on the empty node */
};

struct sch_kind {
    struct sch_resources request;
    uint32_t refs; /* classes, and attempts that are not DONE */
    struct sch_table_link by_request;
    struct sch_link link; /* op->kinds */
    struct sch_link classes;
    struct sch_link held;   /* attempts that wait here, first in first out */
    struct sch_link parked; /* op->kinds_parked while something is held */
    struct sch_link asking; /* op->kinds_asking while a shard has some waiting */
    struct sch_link dirty;  /* op->kinds_dirty: its grants are worked out again */
    uint64_t held_count, backlog_count;
    uint64_t waiting; /* over its classes */
    struct sch_rate rate;
    struct sch_slot *slots; /* by node index */
    uint32_t slot_count, capable;
    uint64_t room; /* sum of fits */
    struct sch_heap best, over;
    uint64_t layout;    /* op->layout when slots were made; else make them again */
    uint64_t synced_at; /* op->change when it was brought up to date */
};

struct sch_node {
    char *name;
    struct sm sm;
    bool listing;         /* its inventory is coming in: nothing is placed */
    bool grace_restarted; /* once for each time it is LOST */
    uint32_t refs;        /* being known, attempts */
    uint32_t index;       /* in op->nodes, by name */
    struct sch_table_link by_name;
    struct sch_heap_entry lease;           /* op->leases while LOST */
    struct sch_link changed;               /* op->changed */
    uint64_t changed_at, shape_changed_at; /* op->change; shape: readiness or capacity */
    struct sch_amount free;                /* as counted in op->free */
    struct sch_resources capacity;
    struct sch_environment environments[SCH_OP_ENVIRONMENTS_MAX]; /* by name */
    uint32_t environment_used[SCH_OP_ENVIRONMENTS_MAX];
    uint32_t environment_count;
    uint64_t used_cpu_milli, used_memory_bytes, used_gpus;
    uint32_t running, backlog_count;
    uint64_t finished;
    struct sch_rate rate;
    struct sch_link attempts, unnamed; /* PLACED and STARTED; unnamed by the open inventory */
    struct sch_link backlog;           /* PLACED and not charged, in the order sent */
};

struct sch_attempt {
    struct sch_attempt_key key;
    struct sm sm;
    bool charged, room, cancelled;
    struct sch_table_link by_key;
    struct sch_op_partition *partition;
    struct sch_op_class *class; /* NULL: adopted, or its stream has closed */
    struct sch_kind *kind;      /* NULL when DONE */
    struct sch_node *node;      /* NULL while HELD */
    struct sch_blob blob;       /* HELD: the assignment; DONE: the outcome, NULL = LOST */
    int64_t started_ns, held_until_ns;
    struct sch_link partition_link; /* partition->attempts */
    struct sch_link place;          /* HELD: op->held; PLACED, STARTED: node->attempts or unnamed */
    struct sch_link queue;          /* HELD: kind->held; PLACED: node->backlog while not charged */
};

struct sch_operator {
    struct sch_operator_options options;
    struct sch_amount free;      /* of ready nodes, what no charged attempt has */
    struct sch_amount unstarted; /* requests of what is held or in backlogs */
    int64_t now_ns;
    struct sch_op_effects *out;
    struct sch_table partitions_by_id, classes_by_id, kinds_by_request, nodes_by_name, attempts;
    struct sch_link partitions, kinds, kinds_parked, kinds_asking, kinds_dirty;
    struct sch_link held; /* all that is HELD, by held_until_ns */
    size_t parked_count, asking_count;
    /* nodes that are not GONE, by name */
    struct sch_node **nodes;
    uint32_t node_count, node_cap;
    struct sch_heap leases;
    uint64_t layout;         /* goes up when node indexes change */
    uint64_t change;         /* counts changes of nodes */
    struct sch_link changed; /* nodes, latest change first */
    bool room_came;          /* in this step: what is parked may fit */
    bool join_restarted;
    int64_t join_end_ns; /* SY_TIME_NEVER: over */
    int64_t granted_ns, grant_due_ns;
    int64_t shapes_ns, shapes_due_ns;
};

static inline enum sch_attempt_state sch_attempt_state(const struct sch_attempt *a)
{
    return (enum sch_attempt_state)a->sm.state;
}
static inline enum sch_node_state sch_node_state(const struct sch_node *n)
{
    return (enum sch_node_state)n->sm.state;
}

/* ---- operator.c ---- */
struct sch_op_effect *sch_op_effect_add(struct sch_operator *op, enum sch_op_effect_type type);
void sch_blob_release(struct sch_blob *blob);
void sch_rate_add(struct sch_rate *rate, int64_t now_ns);
/* Completions of one round trip. */
uint32_t sch_rate_backlog(const struct sch_rate *rate);
struct sch_attempt *sch_attempt_find(const struct sch_operator *op,
                                     const struct sch_attempt_key *key);
/* In no list yet but the partition's; takes a reference of the kind (NULL for DONE). */
struct sch_attempt *sch_attempt_new(struct sch_operator *op, const struct sch_attempt_key *key,
                                    struct sch_kind *kind, enum sch_attempt_state state);
/* Ends what is not DONE yet: the outcome is kept (NULL: LOST) and told. */
void sch_attempt_done(struct sch_operator *op, struct sch_attempt *a, struct sch_blob blob);
void sch_attempt_returned(struct sch_operator *op, struct sch_attempt *a, const char *reason);
/* Out of everything, and its memory. */
void sch_attempt_free(struct sch_operator *op, struct sch_attempt *a);
void sch_attempt_send_outcome(struct sch_operator *op, struct sch_attempt *a);
void sch_attempt_send_inventory(struct sch_operator *op, struct sch_attempt *a);

/* ---- operator_shard.c ---- */
struct sch_op_partition *sch_op_partition_get(struct sch_operator *op, uint32_t id);
void sch_op_partition_up(struct sch_operator *op, uint32_t id, uint32_t epoch);
void sch_op_partition_down(struct sch_operator *op, uint32_t id);
void sch_op_partition_free(struct sch_operator *op, struct sch_op_partition *partition);
void sch_op_demand(struct sch_operator *op, const struct sch_op_event *event);
void sch_op_assign(struct sch_operator *op, const struct sch_op_event *event);
void sch_op_cancel(struct sch_operator *op, const struct sch_attempt_key *key, const char *reason);
void sch_op_ack(struct sch_operator *op, const struct sch_attempt_key *key);
void sch_op_join_tick(struct sch_operator *op);
struct sch_op_class *sch_op_class_find(const struct sch_operator *op, uint32_t partition,
                                       uint32_t id);

/* ---- operator_node.c ---- */
struct sch_node *sch_node_find(const struct sch_operator *op, const char *name);
void sch_node_unref(struct sch_node *node);
void sch_node_up(struct sch_operator *op, const struct sch_op_event *event);
void sch_node_inventory(struct sch_operator *op, const struct sch_op_event *event);
void sch_node_inventory_complete(struct sch_operator *op, const char *name);
void sch_node_down(struct sch_operator *op, const char *name);
void sch_node_leases(struct sch_operator *op);
void sch_node_started(struct sch_operator *op, const struct sch_op_event *event);
void sch_node_outcome(struct sch_operator *op, const struct sch_op_event *event);
void sch_node_returned(struct sch_operator *op, const struct sch_op_event *event);
void sch_node_watch(struct sch_operator *op, int64_t now_ns);
int64_t sch_node_watch_ns(const struct sch_operator *op);

/* ---- operator_place.c ---- */
struct sch_kind *sch_kind_ref(struct sch_operator *op, const struct sch_resources *request);
void sch_kind_unref(struct sch_operator *op, struct sch_kind *kind);
/* Brings its slots up to date. */
void sch_kind_sync(struct sch_operator *op, struct sch_kind *kind);
uint32_t sch_node_fits(const struct sch_node *node, const struct sch_resources *request,
                       bool empty);
uint32_t sch_node_backlog_max(const struct sch_node *node);
void sch_node_changed(struct sch_operator *op, struct sch_node *node);
/* Also what fits on it when it is empty. */
void sch_node_shape_changed(struct sch_operator *op, struct sch_node *node);
/* The set of nodes changed: indexes of all. */
void sch_nodes_renumber(struct sch_operator *op);
void sch_node_charge(struct sch_operator *op, struct sch_attempt *a, bool room);
void sch_node_uncharge(struct sch_operator *op, struct sch_attempt *a);
void sch_node_backlog_push(struct sch_operator *op, struct sch_attempt *a);
void sch_node_backlog_remove(struct sch_operator *op, struct sch_attempt *a);
/* Room may have come free: it goes to the node's own backlog first. */
void sch_node_promote(struct sch_operator *op, struct sch_node *node);
void sch_attempt_hold(struct sch_operator *op, struct sch_attempt *a);
void sch_attempt_unhold(struct sch_operator *op, struct sch_attempt *a);
/* Places the first that the kind holds; false when no node takes it. */
bool sch_kind_place(struct sch_operator *op, struct sch_kind *kind);
void sch_place_parked(struct sch_operator *op);
void sch_held_tick(struct sch_operator *op);

/* ---- operator_grant.c ---- */
void sch_amount_add(struct sch_amount *amount, const struct sch_resources *request, bool add);
/* A new attempt waits here, or starts: of its class, its partition and the whole cluster. */
void sch_attempt_unstarted(struct sch_operator *op, struct sch_attempt *a, bool more);
void sch_kind_dirty(struct sch_operator *op, struct sch_kind *kind);
void sch_grant_end_step(struct sch_operator *op);
void sch_grant_tick(struct sch_operator *op);
void sch_kind_grant(struct sch_operator *op, struct sch_kind *kind);
/* The most that one kind may hold beyond free room, of each amount. */
struct sch_amount sch_backlog_amount(const struct sch_operator *op);
void sch_room_grant(struct sch_operator *op, struct sch_op_partition *partition,
                    const struct sch_amount *backlog);
