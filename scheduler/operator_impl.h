/*
 * Inside of the operator core; only scheduler/operator*.c include it.
 *
 *   operator.c         set-up, the dispatch of events, reading
 *   operator_shard.c   what shards say: streams, demand, assignments, cancels, acknowledgements
 *   operator_owner.c   which partition speaks for an attempt, after splits
 *   operator_node.c    what agents say: nodes, inventories, reports, leases; operator_wait.c too
 *   operator_verbs.c   cordon, drain, fence; nodes that are avoided for a while
 *   operator_room.c    what is used of a node, and what is left
 *   operator_index.c   which nodes are alike; operator_index.h
 *   operator_kind.c    kinds: which node takes a request
 *   operator_labels.c  which labels of nodes anybody asks for
 *   operator_place.c   placing, backlogs, what is held
 *   operator_gang.c    gangs that wait, the nodes that are kept for one, and their placement
 *   operator_claim.c   the nodes that are kept for single actions that nothing else has room for
 *   operator_share.c   what projects, domains and queues have here, over all shards
 *   operator_elsewhere.c what shards are told of what others have of their queues here
 *   operator_grant.c   how much each shard may send
 *   operator_order.c   in which order, when several want room
 *   operator_reclaim.c which attempts stop for others
 *   operator_survey.c  what somebody would displace, and what is kept for him
 *   operator_check.c   every invariant
 *
 * Room. A node's `used` is the sum of the requests of its charged attempts. An attempt is charged
 * when it is placed into free room; or, from the node's backlog, when room comes free for it (the
 * agent will start it next); or at the latest when the agent says that it started. The agent admits
 * in its own order, and one message carries starts before outcomes, so the last case may push
 * `used` above the capacity for a moment. What never exceeds it is the sum of those charged into
 * room that was free in our eyes (`room`), and sch_operator_check() checks that.
 */
#pragma once

#include "base/buf.h"
#include "base/mem.h"
#include "scheduler/fit.h"
#include "scheduler/heap.h"
#include "scheduler/list.h"
#include "scheduler/operator.h"
#include "scheduler/operator_index.h"
#include "scheduler/share.h"
#include "scheduler/table.h"

/* Grants are worked out again at most this often; with many kinds less often, for it costs (kinds x
 * nodes that changed). */
#define SCH_OP_GRANT_INTERVAL_NS SY_NS_PER_MS
#define SCH_OP_GRANT_KINDS 16u
/* What was granted and is not taken for so long, though it waits, is not kept for it any more. */
#define SCH_OP_GRANT_TRUST_NS (500 * SY_NS_PER_MS)
#define SCH_OP_SILENCES 6 /* of these spans it is kept for it in one */
/* Room is given in steps of this part of what is free, or one by one. */
#define SCH_OP_ORDER_PARTS 128u
#define SCH_OP_ORDER_LOOKS 512u /* at classes, in a step, */
#define SCH_OP_KIND_LOOKS 8u    /* one of kinds, whose room is counted, counts as so many */
#define SCH_OP_PARKED_LOOKS 2u  /* at one that holds some, at nodes for it; to place one */
#define SCH_OP_DUE_LOOKS 4u     /* an attempt that is given up, or a node, counts as so many */
#define SCH_OP_CHANGED_MAX                                                                         \
    64u /* nodes; when so many have changed the index is brought up to date */
/* What others have of its queues a partition is told so often, of so many seats at a time; seats
 * that nobody needs any more are kept, so many for a partition. */
#define SCH_OP_ELSEWHERE_INTERVAL_NS (50 * SY_NS_PER_MS)
#define SCH_OP_ELSEWHERE_LOOKS 512u
#define SCH_OP_SEATS_IDLE_MAX 64u
#define SCH_OP_SHAPES_INTERVAL_NS (100 * SY_NS_PER_MS)
#define SCH_OP_ROUND_TRIP_NS (20 * SY_NS_PER_MS) /* that a backlog hides */
#define SCH_OP_RATE_WINDOW_NS (100 * SY_NS_PER_MS)

#define SCH_OP_BACKLOG_MAX 4096u
#define SCH_OP_ROOM_BUDGET 256u /* nodes that are looked at for a grant; see fit.h */
#define SCH_OP_ENVIRONMENTS_MAX 16u
/* A node is avoided when so many attempts were refused or lost there within the window, and more
 * than half of those that ended. */
#define SCH_OP_FAULTS_MAX 5u
#define SCH_OP_FAULT_WINDOW_NS (60 * SY_NS_PER_S)
#define SCH_OP_AVOID_NS (60 * SY_NS_PER_S)
/* A node that is lost so soon after an attempt began there may have been killed by it. */
#define SCH_OP_SUSPECT_NS (10 * 60 * SY_NS_PER_S)
/* So long ago began, at most, what an agent names that we did not know, and what it cannot date. */
#define SCH_OP_ADOPTED_AGE_NS (30 * 24 * 3600 * SY_NS_PER_S)
/* What comes back so soon after its node was asked for all it had may have been on the way. */
#define SCH_OP_GIVE_BACK_NS SY_NS_PER_S
#define SCH_OP_GANG_HOLD_NS (60 * SY_NS_PER_S)
/* The nodes that are kept for a gang are chosen anew at most this often; where there are many nodes
 * less often, for one with a topology looks at each. */
#define SCH_OP_RESERVE_INTERVAL_NS (100 * SY_NS_PER_MS)
#define SCH_OP_RESERVE_NODES 4096u
/* A gang without a topology looks at so many nodes of each group, those with most free. */
#define SCH_OP_GANG_NODES 1024u
/* And for one that went back they are kept so long: its shard may have no other cluster for it. */
#define SCH_OP_RESERVE_GRACE_NS (2 * SY_NS_PER_S)
/* For single actions one node in so many is kept, at least one; each is chosen anew in turns. */
#define SCH_OP_CLAIM_NODES 48u
#define SCH_OP_CLAIMS_MAX 16u
#define SCH_OP_CLAIM_INTERVAL_NS (100 * SY_NS_PER_MS)
#define SCH_OP_PASS_KINDS 256u   /* that are looked at for who is more urgent than a gang */
#define SCH_OP_CLAIM_LOOKS 2048u /* at nodes and attempts, in each; the next one goes on there */
#define SCH_OP_CLAIM_YOUNG_NS (300 * SY_NS_PER_S) /* what ran for less is as good as new */
/* The room that is made by stopping others is kept for who asked: until they have stopped, and then
 * until he comes, who is told at once. */
#define SCH_OP_MADE_NS (60 * SY_NS_PER_S)
#define SCH_OP_MADE_READY_NS (5 * SY_NS_PER_S)
#define SCH_OP_GANGS_TRIED 16u /* when room comes, the first so many */
/* Nodes whose room is counted for domains of gangs in a step; one of a group that it has begun with
 * is counted to its end, which is as many as the gang has members. */
#define SCH_OP_GANG_LOOKS 512u
#define SCH_OP_WAITING_MAX (1u << 28) /* of one class: sums and products stay in 64 bits */

/* Completions in the current and the previous window. */
struct sch_rate {
    int64_t start_ns;
    uint32_t current, previous;
};

/* Amounts of all that is free, held or granted. */
struct sch_amount {
    uint64_t cpu_milli, memory_bytes, gpu_milli;
};

struct sch_op_partition {
    uint32_t id;
    uint32_t epoch; /* of the newest stream; 0: only agents have named it */
    bool up;
    uint8_t first_place, places_above; /* as it said last */
    struct sch_op_origin *origins;
    size_t origin_count;
    uint64_t waiting, unstarted;      /* over its classes */
    struct sch_amount assigned, room; /* since the stream opened: came; may come */
    struct sch_amount claimed;        /* requests of its claims that are ready */
    uint32_t asking;                  /* of its classes, those of single actions that wait */
    struct sch_amount given;          /* within operator_order.c: that may come and is to be used */
    struct sch_link seats_idle;       /* that nobody needs, the oldest first */
    uint32_t seats_idle_count;
    struct sch_table_link by_id;
    struct sch_link link;     /* op->partitions */
    struct sch_link attempts; /* all of its attempts here */
    struct sch_link classes;  /* of the open stream */
};

/* A project, domain, queue or tenant, over all partitions; see operator_share.c. */
struct sch_op_share {
    uint64_t id; /* from its tag and those above it */
    uint32_t tag, weight;
    uint32_t refs;               /* shares and seats below it */
    struct sch_op_share *parent; /* NULL: the region */
    struct sch_use use;
    struct sch_table_link by_id;
    struct sch_link seats;
    struct sch_link changed; /* op->shares_changed: partitions are to be told */
    /* Within operator_order.c: what it is to get beside, and those below that want room. */
    struct sch_use given;
    struct sch_heap_entry entry;
    struct sch_heap children, classes;
};

/* What one partition has of a share. */
struct sch_op_seat {
    struct sch_op_share *share;
    struct sch_op_partition *partition;
    struct sch_op_seat *parent;
    uint32_t refs; /* seats below it, attempts, classes that stand there */
    struct sch_use use;
    struct sch_use told; /* to the partition: what others have of the share */
    struct sch_table_link by_share;
    struct sch_link link; /* share->seats */
    struct sch_link idle; /* partition->seats_idle while refs is 0 */
};

/* A class of a partition, as long as its stream is open. */
struct sch_op_class {
    uint32_t id;
    struct sch_op_partition *partition;
    struct sch_kind *kind;
    struct sch_table_link by_id;
    struct sch_link partition_link, kind_link;
    uint64_t waiting;           /* there, as last told */
    int32_t top_priority;       /* of these, with its queues' and what waiting has gained */
    uint64_t assigned, granted; /* since the stream opened */
    uint64_t unstarted;         /* here: held, or placed without room; no gangs */
    struct sch_gang_shape gang; /* size 0: none; else all numbers but unstarted are of gangs */
    uint64_t startable;         /* as last told; of gangs */
    uint32_t gangs_held;
    uint32_t keep; /* of single actions: for so many nodes are to be kept */
    uint32_t claims, claims_allowed;
    uint32_t claims_ready;     /* `made` included */
    struct sch_link claiming;  /* op->claiming while `keep` is not 0 */
    struct sch_op_claim *made; /* others were stopped there for one of the class; NULL */
    struct sch_op_seat *seat;  /* of its first that waits; NULL: not told */
    int64_t oldest_ns;         /* since when that waits */
    int64_t heard_ns;          /* it was told of, came, or was granted more */
    bool owed;                 /* its shard asked for the first time, and has no answer yet */
    /* Within operator_order.c, as those below: its seat as it was; NULL: it is not in one. */
    struct sch_op_seat *place;
    struct sch_heap_entry turn;
    uint64_t taken, given; /* granted already, and surely to come; beside these */
};

/* A node that is kept for one more of a class; see operator_claim.c. */
struct sch_op_claim {
    struct sch_op_class *class;
    struct sch_node *node; /* NULL: none could be kept */
    bool ready;            /* there is room by now */
    uint32_t from;         /* where in op->nodes it goes on looking */
    int64_t since_ns;
    struct sch_link link;      /* op->claims, in the order in which they choose */
    struct sch_link changed;   /* op->claims_touched: it may be ready, or not any more */
    struct sch_heap_entry end; /* op->made, instead of op->claims: until when; never chosen anew */
};

/* A gang that waits: some of its members on the way, or all of them here. */
struct sch_op_gang {
    uint64_t id;
    uint32_t number;
    int32_t priority;
    int32_t standing; /* as the class's top_priority, when it came */
    struct sch_op_partition *partition;
    struct sch_op_class *class; /* NULL: its stream has closed */
    struct sch_gang_shape shape;
    uint32_t came;            /* members that were assigned; all: it can be placed */
    uint32_t count;           /* of these here: fewer when one was cancelled */
    struct sch_link link;     /* op->gangs: the highest priority first, then first come */
    struct sch_link attempts; /* HELD, by rank */
    int64_t held_until_ns;
};

/* The members of a gang that was placed and may be stopped: together, and only while none of them
 * has ended. What they have done is counted in sums, so that it need not be added up. */
struct sch_op_placed {
    uint32_t size, count, started;
    int64_t started_sum_ms; /* of those started */
    bool cancelled;         /* a member is: it ends */
    struct sch_link members;
    uint32_t seen; /* within operator_reclaim.c: which victim it is, from 1; else 0 */
};

struct sch_kind {
    struct sch_resources request;
    uint32_t refs; /* classes, and attempts that are not DONE */
    struct sch_table_link by_request;
    struct sch_link link; /* op->kinds */
    struct sch_link classes;
    struct sch_link held;     /* attempts that wait here, first in first out */
    struct sch_link parked;   /* op->parked while something is held */
    struct sch_link asking;   /* op->kinds_asking while a shard has some waiting */
    struct sch_link decision; /* op->kinds_decided, op->kinds_dirty or op->order.kinds */
    uint64_t decided;       /* op->kinds_serial when its grants were; less: they are to be again */
    bool ordered;           /* by the order that is under way; of op->order.kinds */
    struct sch_link unsure; /* op->kinds_unsure: they are to be, for not all was counted */
    struct sch_link rated;  /* op->kinds_rated while some have ended lately */
    uint64_t held_count, backlog_count;
    uint64_t waiting; /* over its classes */
    struct sch_rate rate;
    struct sch_kind_groups groups; /* that could hold it */
    uint64_t asked;                /* known of nodes that were seen then, of op->labels.serial */
    struct sch_link unknown;       /* op->labels.waiting */
    /* Those told by the label that domains were asked of last, that have it and could hold it; by
     * its values, NULL: not since they changed. */
    struct sch_kind_groups parts;
    struct sch_domain_part *domains;
    uint32_t domain_count;
    char domain_key[SCH_GANG_KEY_MAX]; /* "": none was */
    /* As of the last sch_kind_sync(): nodes that could hold it, and how many more fit now. */
    uint32_t capable;
    uint64_t room;
    uint64_t left; /* within operator_order.c: of that and its backlog nobody has */
};

/* What the people who run the cluster said of a node; see operator.h. Outlives the node. */
struct sch_op_service {
    char *name;
    struct sm sm;
    int64_t
        deadline_ns; /* DRAINING: then what runs is cancelled; SY_TIME_NEVER: that has been done */
    struct sch_table_link by_name;
    struct sch_link link;      /* op->services, by name */
    struct sch_heap_entry due; /* op->drains while a deadline is to come */
};

struct sch_node {
    char *name;
    struct sm sm;
    struct sm health;
    bool listing;               /* its inventory is coming in: nothing is placed */
    bool reserved;              /* for a gang: nothing else is placed */
    struct sch_op_claim *claim; /* it is kept for that one; NULL */
    bool grace_restarted;       /* once for each time it is LOST */
    uint32_t refs;              /* being known, attempts */
    uint32_t index;             /* in op->nodes */
    struct sch_table_link by_name;
    struct sch_heap_entry lease;     /* op->leases while LOST */
    struct sch_heap_entry probation; /* op->probations while AVOIDED */
    struct sch_heap_entry recall;    /* op->recalls while it has a backlog */
    struct sch_link freed;           /* op->freed, or op->parked_at */
    struct sch_link kept;            /* op->reserved while it is `reserved` */
    struct sch_link changed;         /* op->changed: the index does not know yet */
    struct sch_amount free;          /* as counted in op->free */
    struct sch_op_shape *shape;
    struct sch_place all, told;     /* in the group of its shape; and by its labels */
    uint64_t seen;                  /* op->labels.serial when these were looked at */
    struct sch_link by_seen;        /* op->labels.nodes */
    int tier;                       /* in whose index it is; -1: nothing is placed there */
    struct sch_op_service *service; /* NULL: in service */
    uint32_t environment_used[SCH_OP_ENVIRONMENTS_MAX];
    uint32_t environment_warm[SCH_OP_ENVIRONMENTS_MAX]; /* most at a time since it came */
    uint64_t used_cpu_milli, used_memory_bytes;
    uint64_t used_gpus; /* whole ones, and those of which a share is used */
    uint32_t slices_used[SCH_GPU_SLICES_MAX];
    uint16_t *shares; /* thousandths used, of each GPU that is given in parts; 0: an unused place */
    uint32_t share_count;
    uint32_t running, backlog_count, waits; /* waits: attempts not given up for silence */
    uint32_t leaving;       /* charged attempts that were cancelled: their room comes free */
    struct sch_link leaves; /* op->nodes_leaving while there are some */
    bool chosen;            /* within operator_gang.c: to be reserved */
    uint32_t site; /* within operator_reclaim.c: its place among those looked at, from 1; else 0 */
    uint64_t finished;
    struct sch_rate rate;
    int64_t asked_ns;                  /* when it was last asked to give back what it has */
    int64_t faults_since_ns;           /* of the window */
    uint32_t faults, ends;             /* in it: attempts refused or lost; all that ended */
    struct sch_link attempts, unnamed; /* PLACED and STARTED; unnamed by the open inventory */
    struct sch_link backlog;           /* PLACED and not charged, in the order sent */
};

struct sch_attempt {
    struct sch_attempt_key key;
    struct sm sm;
    bool charged, room, cancelled, suspect, waits;
    bool alone;            /* DONE, its node was lost: it alone had started there, not long ago */
    bool single;           /* it was placed as a single action; false also when adopted */
    bool asked_back;       /* by us: that it comes back is no fault of the node */
    const char *preempted; /* why we cancelled it: it ends so, no fault of its node; or NULL */
    uint32_t queue_tag;    /* it may be stopped for others that name this; 0: not */
    uint16_t share;        /* charged with a part of a GPU: of which, in node->shares */
    struct sch_table_link by_key;
    struct sch_op_partition *partition; /* that speaks for it: see operator_owner.c */
    struct sch_op_seat *seat;           /* whose use it is, until it is DONE; NULL: not known */
    struct sch_op_class *class;         /* NULL: adopted, or its stream has closed */
    struct sch_kind *kind;              /* NULL when DONE */
    struct sch_node *node;              /* NULL while HELD */
    struct sch_op_gang *gang;           /* while HELD as a member */
    struct sch_op_placed *placed; /* while PLACED or STARTED as a member that may be stopped */
    struct sch_link placed_link;
    int64_t since_ns;     /* STARTED: since when, on our clock; adopted: long ago */
    struct sch_blob blob; /* HELD: the assignment; DONE: the outcome, NULL = LOST */
    int64_t started_ns, held_until_ns;
    int64_t held_ns;                /* HELD: since when; then for how long; 0: adopted */
    struct sch_link partition_link; /* partition->attempts */
    /* HELD: op->held, or gang->attempts; PLACED, STARTED: node->attempts or unnamed */
    struct sch_link place;
    /* HELD in no gang: kind->held; PLACED: node->backlog while not charged */
    struct sch_link queue;
};

/* A decision over all who want room, that may take several steps; see operator_order.c. */
enum sch_op_order_phase {
    SCH_OP_ORDER_NONE,
    SCH_OP_ORDER_GATHER,
    SCH_OP_ORDER_COUNT,
    SCH_OP_ORDER_ENTER,
    SCH_OP_ORDER_GIVE,
    SCH_OP_ORDER_TELL
};
struct sch_op_order {
    enum sch_op_order_phase phase;
    struct sch_round kinds; /* that it is about; or grants in no order, these in `todo` */
    struct sch_use left;    /* of what was free nobody has it yet */
    struct sch_use steps;   /* so much is given at a time */
    bool watch;             /* some was granted to who waits, and is to come */
    uint32_t looks;         /* in this step, also without an order */
};

struct sch_operator {
    struct sch_operator_options options;
    struct sch_amount free;      /* of ready nodes, what no charged attempt has */
    struct sch_amount unstarted; /* requests of what is held or in backlogs */
    uint32_t reclaim_next;       /* where the next search for room begins */
    int64_t now_ns;
    struct sch_op_effects *out;
    struct sch_table partitions_by_id, classes_by_id, kinds_by_request, nodes_by_name, attempts;
    struct sch_table shares_by_id, seats;
    struct sch_link shares_changed;
    int64_t elsewhere_told_ns, elsewhere_due_ns;
    struct sch_op_order order;
    size_t grants_left; /* so many of kinds_asking are to be looked at, or gathered in an order */
    uint64_t kinds_serial;      /* goes up when grants of all kinds are to be worked out again */
    struct sch_op_share region; /* within operator_order.c; the root, with no seats of its own */
    uint32_t partitions_asking; /* some single action of theirs waits */
    uint32_t classes_unseated;  /* of these classes, those of which the place is not known */
    struct sch_link partitions, kinds, kinds_asking, kinds_unsure;
    struct sch_link kinds_dirty;   /* their grants are worked out with the next decision */
    struct sch_link kinds_decided; /* nothing has changed for them since */
    struct sch_round parked;       /* kinds that hold some: `todo` may have room by now */
    struct sch_link parked_at;     /* on these nodes, that became free */
    size_t descended;              /* partitions that were split from others */
    struct sch_link held;          /* all that is HELD, by held_until_ns */
    size_t asking_count;
    struct sch_link gangs; /* that wait here */
    /* Whose the reserved nodes are; partition NULL: none are. */
    struct sch_op_partition *reserver;
    uint64_t reserver_id;
    int64_t reserver_since_ns;
    int32_t reserver_standing;
    uint64_t
        reserver_free;   /* members that its nodes had room for, at most, when that was looked at */
    int64_t pass_due_ns; /* who is more urgent is looked for; SY_TIME_NEVER: nothing is reserved */
    int64_t reserve_end_ns;  /* it went back: until when they are kept; SY_TIME_NEVER: it is here */
    int64_t reserve_next_ns; /* not chosen anew before */
    int64_t reserve_due_ns;  /* when that is to be done; SY_TIME_NEVER: with the next change */
    struct sch_link claims, claiming; /* classes: those that wait for longest first */
    struct sch_link claims_touched;
    struct sch_heap made;
    uint32_t claim_count;    /* in `claims` */
    int64_t claim_due_ns;    /* the next one chooses; SY_TIME_NEVER: there is none */
    struct sch_node **nodes; /* that are not GONE, in no order */
    uint32_t node_count, node_cap;
    uint64_t node_serial; /* ties are decided by age */
    struct sch_table shapes_by_bytes, groups_by_bytes, services_by_name;
    struct sch_link shapes, groups, services, kinds_rated, owed;
    uint64_t group_serial;
    struct sch_op_labels labels;
    struct sch_heap leases, drains, probations, recalls;
    struct sch_link changed; /* nodes whose index entry is stale */
    uint32_t changed_count;
    struct sch_use capacity; /* of all nodes */
    uint32_t due_looks;      /* in this step, at what is due at once; see sch_op_may_look() */
    uint32_t parked_looks;   /* in this step */
    struct sch_link reserved;
    struct sch_link nodes_leaving; /* where charged attempts were cancelled */
    uint64_t looks;                /* at nodes, for gangs, in this step */
    struct sch_link freed; /* nodes where room came in this step: what is parked may fit there */
    int64_t join_end_ns;   /* SY_TIME_NEVER: over */
    int64_t granted_ns, grant_due_ns;
    int64_t shapes_ns, shapes_due_ns;
    bool granting;        /* to all who want room, in no order */
    bool parked_anywhere; /* what is parked may have room on any node, not on parked_at alone */
    bool gangs_due;       /* one came, or left; or not all were looked at in this step */
    bool join_restarted;
    /* In this step: */
    bool gangs_later;    /* there was more to count than it may look at */
    bool claims_changed; /* how many each class has */
    bool choice_came;    /* what is parked may fit on other nodes than freed, too */
};

/* Whether this step may take more of what is due at once: nodes and attempts that are given up,
 * asked for or sent back. The others are due still, and the next tick goes on at once. */
static inline bool sch_op_may_look(const struct sch_operator *op)
{
    return op->due_looks < op->options.looks_max;
}

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
uint32_t sch_rate_backlog(const struct sch_rate *rate, int64_t now_ns);
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
struct sch_op_partition *sch_op_partition_find(const struct sch_operator *op, uint32_t id);
void sch_op_partition_up(struct sch_operator *op, const struct sch_op_event *event);
void sch_op_partition_down(struct sch_operator *op, uint32_t id);
static inline bool sch_op_partition_is_served(const struct sch_op_partition *partition)
{
    return partition->epoch > 0;
}
/* An attempt of it is gone. */
void sch_op_partition_left(struct sch_operator *op, struct sch_op_partition *partition);
/* Outcomes of this node, of partitions that no shard has served, go with it: the agent keeps them
 * and tells them again. */
void sch_op_node_left(struct sch_operator *op, const struct sch_node *node);
void sch_op_partition_free(struct sch_operator *op, struct sch_op_partition *partition);
void sch_op_demand(struct sch_operator *op, const struct sch_op_event *event);
void sch_op_assign(struct sch_operator *op, const struct sch_op_event *event);
void sch_op_cancel(struct sch_operator *op, const struct sch_attempt_key *key, const char *reason);
void sch_op_preempt(struct sch_operator *op, const struct sch_attempt_key *key, const char *reason);
void sch_op_give_back(struct sch_operator *op, const struct sch_attempt_key *key);
void sch_op_cancel_all(struct sch_operator *op, const char *reason);
void sch_op_forget_held(struct sch_operator *op);
void sch_op_ack(struct sch_operator *op, const struct sch_attempt_key *key);
void sch_op_join_tick(struct sch_operator *op);
struct sch_op_class *sch_op_class_find(const struct sch_operator *op, uint32_t partition,
                                       uint32_t id);

/* ---- operator_owner.c ---- */
/* Who speaks for it, as far as is known; made when it is not known at all. */
struct sch_op_partition *sch_op_partition_of(struct sch_operator *op,
                                             const struct sch_attempt_key *key);
/* And its stream is open. */
bool sch_attempt_is_heard(const struct sch_attempt *a);
/* What its stream says, before it is up: others' attempts may become its own. */
void sch_op_partition_says(struct sch_operator *op, struct sch_op_partition *partition,
                           const struct sch_op_event *event);

/* ---- operator_node.c ---- */
struct sch_node *sch_node_find(const struct sch_operator *op, const char *name);
void sch_node_unref(struct sch_node *node);
void sch_node_up(struct sch_operator *op, const struct sch_op_event *event);
void sch_node_inventory(struct sch_operator *op, const struct sch_op_event *event);
void sch_node_inventory_complete(struct sch_operator *op, const char *name);
void sch_node_down(struct sch_operator *op, const char *name);
void sch_node_leases(struct sch_operator *op);
/* All of a list of its attempts end: LOST, or as `preempted` says. */
void sch_node_lose(struct sch_operator *op, const struct sch_node *node, struct sch_link *attempts);
void sch_node_send_ack(struct sch_operator *op, const struct sch_node *node,
                       const struct sch_attempt_key *key);
void sch_node_started(struct sch_operator *op, const struct sch_op_event *event);
void sch_node_outcome(struct sch_operator *op, const struct sch_op_event *event);
void sch_node_returned(struct sch_operator *op, const struct sch_op_event *event);
void sch_node_watch(struct sch_operator *op, int64_t now_ns);
int64_t sch_node_watch_ns(const struct sch_operator *op);

/* ---- operator_verbs.c ---- */
void sch_node_verb(struct sch_operator *op, const struct sch_op_event *event);
bool sch_node_fenced(const struct sch_node *node);
/* The node is known again: what was said of it holds. */
void sch_node_service_attach(struct sch_operator *op, struct sch_node *node);
/* Its inventory is complete: a drain goes on. */
void sch_node_service_resume(struct sch_operator *op, struct sch_node *node);
/* Its agent has started anew, or the time is over. */
void sch_node_trust(struct sch_operator *op, struct sch_node *node);
/* An attempt ended there, or came back; `fault`: the node may be the cause. */
void sch_node_ended(struct sch_operator *op, struct sch_node *node, bool fault);
/* Its agent is to give back all that has not started. */
void sch_node_give_back(struct sch_operator *op, struct sch_node *node);
/* A drain may be complete. */
void sch_node_drained(struct sch_operator *op, struct sch_node *node);
void sch_verbs_tick(struct sch_operator *op);
/* It takes work: anything; what it is not kept for. */
bool sch_node_serves(const struct sch_node *node);
bool sch_node_placeable(const struct sch_node *node);
struct sch_op_service *sch_service_find(const struct sch_operator *op, const char *name);
void sch_services_free(struct sch_operator *op);

/* ---- operator_room.c ---- */
/* How many more fit now. */
uint32_t sch_node_fits(const struct sch_node *node, const struct sch_resources *request);
/* The dimensions of a shape's index: free GPUs, cpu, memory, the most that is left of a GPU given
 * in parts; slots left of each environment; warm ones of them; slices left of each profile. */
uint32_t sch_room_dims(const struct sch_shape *shape);
void sch_room_vector(const struct sch_node *node, uint64_t ret[SCH_FIT_DIMS_MAX]);
/* What a request needs at least. */
void sch_room_least(const struct sch_shape *shape, const struct sch_resources *request,
                    uint64_t ret[SCH_FIT_DIMS_MAX]);
/* Also what part of a GPU is left of one that is given in parts is room. */
void sch_room_widen(const struct sch_resources *request, uint64_t least[SCH_FIT_DIMS_MAX]);
/* Narrows it to nodes with a warm worker, or a GPU given in parts already. False: no difference. */
bool sch_room_prefer(const struct sch_shape *shape, const struct sch_resources *request,
                     uint64_t least[SCH_FIT_DIMS_MAX]);
void sch_node_use(struct sch_node *node, struct sch_attempt *a);
void sch_node_unuse(struct sch_node *node, struct sch_attempt *a);
/* What unuse took away, exactly as it was. */
void sch_node_reuse(struct sch_node *node, struct sch_attempt *a);
/* How many more fit when what is cancelled there has ended. */
uint32_t sch_node_fits_soon(struct sch_node *node, const struct sch_resources *request);

/* ---- operator_place.c ---- */
void sch_node_charge(struct sch_operator *op, struct sch_attempt *a, bool room);
/* So many more, or less, of its charged attempts were cancelled. */
void sch_node_leaving(struct sch_operator *op, struct sch_node *node, int delta);
void sch_node_uncharge(struct sch_operator *op, struct sch_attempt *a);
void sch_node_backlog_push(struct sch_operator *op, struct sch_attempt *a);
void sch_node_backlog_remove(struct sch_operator *op, struct sch_attempt *a);
/* What has not started there is asked back, if it may be. */
void sch_node_recall(struct sch_operator *op, struct sch_node *node);
/* What has waited in a backlog for hold_ns is asked back. */
void sch_backlogs_tick(struct sch_operator *op);
/* Room may have come free: it goes to the node's own backlog first. */
void sch_node_promote(struct sch_operator *op, struct sch_node *node);
void sch_attempt_hold(struct sch_operator *op, struct sch_attempt *a);
void sch_attempt_unhold(struct sch_operator *op, struct sch_attempt *a);
/* HELD -> PLACED on the node; into its room, or its backlog. */
struct sch_op_effect *sch_attempt_place(struct sch_operator *op, struct sch_attempt *a,
                                        struct sch_node *node, bool room);
/* Places the first that the kind holds; false when no node takes it. */
bool sch_kind_place(struct sch_operator *op, struct sch_kind *kind);
void sch_place_parked(struct sch_operator *op);
void sch_held_tick(struct sch_operator *op);

/* ---- operator_reclaim.c ---- */
/* Who wants room, and whose work may stop for it. */
struct sch_op_wish {
    uint32_t partition, queue_count;
    const struct sch_reclaim_queue *queues;
    const struct sch_resources *request;
    const struct sch_gang_shape *shape; /* of a gang; NULL: one action */
    struct sch_op_class *class;         /* of one action; NULL: not known here */
    const struct sch_op_gang *gang;     /* that nodes are kept for; NULL: it is not here */
};
void sch_op_reclaim(struct sch_operator *op, const struct sch_op_event *event);
/* Who would stop; nobody does. False: nobody would, since there is room, or would be in vain. */
bool sch_op_reclaim_would(struct sch_operator *op, const struct sch_op_wish *wish,
                          void (*stops)(void *ctx, const struct sch_attempt *a), void *ctx);
/* Its members are PLACED from now on: each joins as it is placed. */
struct sch_op_placed *sch_op_placed_new(uint32_t size);
void sch_op_placed_join(struct sch_op_placed *placed, struct sch_attempt *a);
/* The member has started; has ended, or came back. */
void sch_op_placed_started(struct sch_attempt *a);
void sch_op_placed_leave(struct sch_attempt *a);

/* ---- operator_domain.c ---- */
/* Whether room is counted as it is, as it will be when what was cancelled has ended, or as if the
 * nodes were empty. */
enum sch_when { SCH_NOW, SCH_SOON, SCH_EMPTY };
/* Until the parts of the kind change. */
struct sch_op_domain {
    struct sy_span value; /* of the label */
    const struct sch_domain_part *parts;
    uint32_t count;
};
/* The value of a label that nodes of that shape have; data NULL: none. */
struct sy_span sch_op_domain_of(const struct sch_shape *shape, const char *key);
/* Of the domains by gang's label one that has room for all of it; false: none has, or that is not
 * known yet (gangs_later). `here`: the gang itself; NULL: it is not here. */
bool sch_op_domain_find(struct sch_operator *op, struct sch_kind *kind,
                        const struct sch_gang_shape *gang, const struct sch_op_gang *here,
                        enum sch_when when, struct sch_op_domain *ret);

/* ---- operator_gang.c ---- */
/* Members of it may be placed there. */
bool sch_op_gang_is_open(const struct sch_operator *op, const struct sch_node *node,
                         const struct sch_op_gang *gang, enum sch_when when);
bool sch_op_gang_is_reserver(const struct sch_operator *op, const struct sch_op_gang *gang);
/* A member came, of a class that was found; false: it is refused. */
bool sch_op_gang_assign(struct sch_operator *op, struct sch_op_class *class,
                        const struct sch_op_event *event);
/* It is HELD no more. */
void sch_op_gang_leave(struct sch_operator *op, struct sch_attempt *a);
/* Says whether the cluster takes a gang of the class, and has room for it now; with `answer` also
 * when it has said so before. */
void sch_op_gang_grant(struct sch_operator *op, struct sch_op_class *class, bool answer);
/* Whether one that is not here would be placed at once. */
bool sch_op_gang_has_room(struct sch_operator *op, struct sch_kind *kind,
                          const struct sch_gang_shape *shape);
/* It is kept for the gang that nodes are kept for, or not any more. */
void sch_node_reserve(struct sch_operator *op, struct sch_node *node, bool reserved);
/* At the end of the step. */
void sch_op_gangs_place(struct sch_operator *op);
void sch_op_gangs_tick(struct sch_operator *op);
/* The gang that nodes are kept for, when it is that one; else NULL. */
struct sch_op_gang *sch_op_gang_reserver(const struct sch_operator *op, uint32_t partition,
                                         uint64_t id);
struct sch_kind *sch_op_gang_kind(const struct sch_op_gang *gang);
/* Whether a member may be placed there once there is room. */
bool sch_op_gang_may_use(const struct sch_operator *op, const struct sch_node *node,
                         const struct sch_op_gang *gang);
int64_t sch_op_gangs_next_ns(const struct sch_operator *op);

/* ---- operator_claim.c ---- */
/* A shard asks for so many nodes to be kept, or has another number waiting. */
void sch_class_keep(struct sch_operator *op, struct sch_op_class *class, uint32_t nodes);
void sch_class_drop_claims(struct sch_operator *op, struct sch_op_class *class);
/* The node is for others now, or goes. */
void sch_claim_leave(struct sch_operator *op, struct sch_node *node);
/* Others stop there for one of the class: it is kept for that one from now on. */
void sch_claim_make(struct sch_operator *op, struct sch_op_class *class, struct sch_node *node);
/* It began to keep its node before the gang that does, or others were stopped for it. */
bool sch_claim_is_before_gang(const struct sch_operator *op, const struct sch_op_claim *claim);
/* A HELD attempt goes to a node that is kept for its class, and has room; false: there is none. */
bool sch_claim_place(struct sch_operator *op, struct sch_attempt *a);
/* While nodes are kept for a gang: those who are more urgent and have no room elsewhere get one
 * that has room for one of them. */
void sch_claims_pass_gang(struct sch_operator *op);
/* Nothing of the class waits any more. */
void sch_claim_forget_made(struct sch_operator *op, struct sch_op_class *class);
void sch_claims_end_step(struct sch_operator *op);
void sch_claims_tick(struct sch_operator *op);

/* ---- operator_share.c ---- */
/* NULL: the path is not known. */
struct sch_op_seat *sch_op_seat_ref(struct sch_operator *op, struct sch_op_partition *partition,
                                    const struct sch_share_path *path);
void sch_op_seat_unref(struct sch_operator *op, struct sch_op_seat *seat);
bool sch_op_seat_is(const struct sch_op_seat *seat, const struct sch_share_path *path);
void sch_op_seat_weigh(struct sch_op_seat *seat, const struct sch_share_standing *standing);
/* Its use counts there; a DONE one's does not any more. */
void sch_attempt_sit(struct sch_operator *op, struct sch_attempt *a,
                     const struct sch_share_path *place);
void sch_attempt_rise(struct sch_operator *op, struct sch_attempt *a);
/* It is another partition's now. */
void sch_attempt_change_seat(struct sch_operator *op, struct sch_attempt *a);

void sch_op_seat_free(struct sch_operator *op, struct sch_op_seat *seat);

/* ---- operator_elsewhere.c ---- */
/* What somebody has of it, or who has some. */
void sch_op_share_changed(struct sch_operator *op, struct sch_op_share *share);
void sch_op_elsewhere_end_step(struct sch_operator *op);
void sch_op_seat_park(struct sch_operator *op, struct sch_op_seat *seat);
void sch_op_seat_unpark(struct sch_op_seat *seat);
void sch_op_elsewhere_open(struct sch_operator *op, struct sch_op_partition *partition);
void sch_op_elsewhere_close(struct sch_operator *op, struct sch_op_partition *partition);

/* ---- operator_order.c ---- */
/* Several partitions want room, and it is known where each of their classes stands. */
bool sch_op_is_contended(const struct sch_operator *op);
/* To all of them, and standing grants of what is left; begins, and none is under way. */
void sch_op_grant_in_order(struct sch_operator *op);
/* The next slice, of one that is under way. */
void sch_op_order_go_on(struct sch_operator *op);
/* One of the class came. */
void sch_op_order_came(struct sch_op_class *class);
/* The class is in it no more; nothing happens when it was not. */
void sch_op_order_forget(struct sch_operator *op, struct sch_op_class *class);

/* ---- operator_grant.c ---- */
void sch_amount_add(struct sch_amount *amount, const struct sch_resources *request, bool add);
/* A new attempt waits here, or starts: of its class, its partition and the whole cluster. */
void sch_attempt_unstarted(struct sch_operator *op, struct sch_attempt *a, bool more);
void sch_kind_dirty(struct sch_operator *op, struct sch_kind *kind);
/* At no cost that grows with them. */
void sch_kinds_dirty(struct sch_operator *op);
bool sch_kind_is_dirty(const struct sch_operator *op, const struct sch_kind *kind);
/* Of those that ask the next one, each once in a decision; NULL: all were. */
struct sch_kind *sch_kind_next_asking(struct sch_operator *op);
/* It is in no decision any more. */
void sch_kind_decision_ends(struct sch_operator *op, struct sch_kind *kind);
void sch_grant_end_step(struct sch_operator *op);
void sch_grant_tick(struct sch_operator *op);
/* How many more it could hold now, beyond what has come. */
uint64_t sch_kind_free(struct sch_operator *op, struct sch_kind *kind);
void sch_kind_grant(struct sch_operator *op, struct sch_kind *kind);
/* So many may come beyond those that are there; of these into room that is free. */
void sch_class_grant_share(struct sch_operator *op, struct sch_op_class *class, uint64_t share,
                           bool exact);
/* Likewise, of amounts: `least` is told whatever of it is left. */
void sch_partition_grant_room(struct sch_operator *op, struct sch_op_partition *partition,
                              struct sch_amount share, struct sch_amount least);
void sch_class_send_grant(struct sch_operator *op, struct sch_op_class *class, uint64_t startable);
/* The most that one kind may hold beyond free room, of each amount. */
struct sch_amount sch_backlog_amount(struct sch_operator *op);
void sch_kind_ended(struct sch_operator *op, struct sch_kind *kind); /* one of it has */
/* Of all partitions. */
uint64_t sch_room_weights(const struct sch_operator *op);
void sch_room_grant(struct sch_operator *op, struct sch_op_partition *partition,
                    const struct sch_amount *backlog, uint64_t weights);
