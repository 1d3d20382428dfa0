/*
 * The operator core: inventory of a cluster's nodes, grants to shards, placement of attempts on
 * nodes, as a pure state machine like the partition core (scheduler/partition.h).
 *
 * What it knows of an attempt: identity, request, node, state. It keeps an attempt until the
 * partition has acknowledged its outcome.
 *
 * Grants. For each (partition, class) with demand now or lately, the core works out how many more
 * attempts it could hold if nothing else came: free room on ready nodes plus a backlog that hides
 * the round trip (completions of the class in the last tenth of a second x 20 ms, at most 4,096;
 * none of what takes long), less what it holds unstarted. When several partitions wait for room it
 * goes to who is first by priority and share (operator_order.c). Else it is split over them in
 * proportion to demand, with any room at least 1 to each that asks: which class gets the room is
 * the partition's affair (priorities, fair shares), so each is granted what it alone could have,
 * and the partition's room bounds them all together: cpu, memory and GPUs that are free, plus the
 * largest backlog of a class, less what is unstarted, split in the same way. A grant is cumulative:
 * what was assigned on this stream since it opened + what may come, never lower than before.
 * Standing grants for idle, known classes let a shard assign without a round trip. The first demand
 * of a class is answered even where nothing is granted: so who prefers this cluster need not guess.
 *
 * Placement. First nodes with a warm worker of the environment (that our attempts have started
 * there and left), or with a GPU that is given in parts already; among them, else among all with
 * free room, best fit: fewest free GPUs, then least free cpu, then the node that came first. Work
 * without GPUs goes to nodes with some only when no other has room. Without free room the attempt
 * is still handed to the node with the shortest backlog relative to its slots (the agent starts it
 * when room comes), while that node's backlog is below its bound; else it waits here. What has
 * waited here or in a backlog for hold_ns is returned (from a backlog, asked back from its agent):
 * it could start elsewhere. The agent has the last word on room: it never runs more than fits.
 *
 * Gangs. A class of gangs is granted and counted in gangs, one at a time, also without room for it:
 * its members wait here until all of them fit at the same moment, and are placed in that step. The
 * first that waits (highest priority, then first come) reserves nodes; see operator_gang.c. A gang
 * that waits longer than gang_hold_ns goes back whole.
 */
#pragma once

#include "base/clock.h"
#include "base/sm.h"
#include "scheduler/gang.h"
#include "scheduler/queue.h"
#include "scheduler/resources.h"
#include "scheduler/share.h"
#include "scheduler/tokens.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- life cycle of an attempt, as its cluster sees it ----
 *
 *   HELD --> PLACED --> STARTED --> DONE (outcome kept until acknowledged) --> gone
 *    |         |  |                  ^
 *    |         |  +------------------+ refused, or its node was lost
 *    |         | the agent gives it back unstarted
 *    +---------+--> RETURNED (told to the partition, or cancelled while held) --> gone
 *
 * An attempt that an agent names and this operator does not know (it restarted) begins as PLACED,
 * STARTED or DONE.
 */
enum sch_attempt_state {
    SCH_ATTEMPT_HELD,
    SCH_ATTEMPT_PLACED,
    SCH_ATTEMPT_STARTED,
    SCH_ATTEMPT_DONE,
    SCH_ATTEMPT_RETURNED,
    SCH_ATTEMPT_STATES,
};
extern const struct sm_table sch_attempt_table;

/* ---- a node: NEW --> READY <--> LOST (silent, within its lease) --> GONE ----
 * Beyond its lease too, while it has attempts that are not given up for silence (`waits`): all
 * others are LOST then. It is GONE when the last of them has been cancelled, or was fenced. An
 * operator that was started anew knows by name which nodes had such (NODE_OWED): until they are
 * back, or fenced, it does not say that what it lacks is nowhere (SEND_INVENTORY_OWED). */
enum sch_node_state { SCH_NODE_READY, SCH_NODE_LOST, SCH_NODE_GONE, SCH_NODE_STATES };
extern const struct sm_table sch_node_table;

/* ---- what people said of a node: cordoned, draining; kept by name until they take it back, also
 * while the node is away ----
 *
 *   OPEN (no entry) <--> CORDONED --> DRAINING <--> DRAINED
 *         ^                 ^            |  |           |
 *         |                 +------------+--|-----------+
 *         +---------------------------------+-----------+
 *         +--> FENCED, from each of them; and back to OPEN only
 *
 * Nothing is placed on a node that is not OPEN. DRAINING: what its agent has not started it gives
 * back; what runs may go on until the deadline, then it is cancelled, and ends PREEMPTED with a
 * reason, so that it is queued again without using one of the user's retries. DRAINED: nothing is
 * left there. An agent that is away when the drain begins may start what it was sent until it is
 * back.
 *
 * FENCED: a person says that the node is dead, whatever can be seen of it. What it has is given up
 * in that step, and ends PREEMPTED with a reason. From then on nothing that its agent says of
 * attempts counts: what it names is cancelled, an outcome is acknowledged to it and dropped. Only
 * UNFENCE ends it; the other verbs change nothing.
 */
enum sch_service_state {
    SCH_SERVICE_OPEN,
    SCH_SERVICE_CORDONED,
    SCH_SERVICE_DRAINING,
    SCH_SERVICE_DRAINED,
    SCH_SERVICE_FENCED,
    SCH_SERVICE_STATES,
};
extern const struct sm_table sch_service_table;

/* ---- whether a node is trusted: TRUSTED <--> AVOIDED ----
 * AVOIDED for 60 s: 5 attempts or more, and more than half of those that ended there within 60 s,
 * were refused or lost. Then only what could run on no trusted node is placed there. */
enum sch_health_state { SCH_HEALTH_TRUSTED, SCH_HEALTH_AVOIDED, SCH_HEALTH_STATES };
extern const struct sm_table sch_health_table;

/* Up to that epoch of its own the partition was one with another. */
struct sch_op_origin {
    uint32_t partition, epoch;
};

struct sch_attempt_key {
    uint64_t action;
    uint32_t partition, number, epoch;
};

struct sch_operator_options {
    int64_t hold_ns;       /* default 2 s */
    int64_t gang_hold_ns;  /* of gangs; 0 = 60 s */
    int64_t node_lease_ns; /* silence after which a node's attempts are LOST; default 15 s */
    int64_t join_grace_ns; /* after the start: how long to wait for agents before the inventory is
                              called complete; default 5 s */
    uint32_t looks_max;    /* in a step, at who wants room; 0 = 512 */
};

struct sch_operator;
struct sch_operator *sch_operator_new(const struct sch_operator_options *options, int64_t now_ns);
void sch_operator_free(struct sch_operator *op);

enum sch_op_event_type {
    SCH_OP_PARTITION_UP,   /* u.partition: stream opened, welcome received */
    SCH_OP_PARTITION_DOWN, /* u.partition.partition */
    SCH_OP_DEMAND,         /* u.demand */
    SCH_OP_ASSIGN,         /* u.assign */
    SCH_OP_CANCEL,         /* u.cancel */
    SCH_OP_GIVE_BACK,      /* u.key: unless it has started it is to come back, RETURNED */
    SCH_OP_CANCEL_ALL,     /* u.reason: as CANCEL, of all that is here */
    SCH_OP_FORGET_HELD, /* what has no node yet is forgotten, and nobody is told: the operator may
                           not be its cluster's active one any more. No partition is up */
    SCH_OP_ACK,         /* u.key */
    SCH_OP_RECLAIM,     /* u.reclaim: room for one of the class, or for a gang that is held here,
                           from attempts of these queues */
    SCH_OP_NODE_UP, /* u.node: agent's hello; its inventory follows as NODE_INVENTORY events, then
                       NODE_INVENTORY_COMPLETE */
    SCH_OP_NODE_INVENTORY,          /* u.inventory */
    SCH_OP_NODE_INVENTORY_COMPLETE, /* u.node.name: attempts placed there and not named are LOST */
    SCH_OP_NODE_DOWN,               /* u.node.name: its stream closed */
    SCH_OP_NODE_OWED,     /* u.node.name: before anything else: an earlier operator gave it attempts
                             that     are waited for */
    SCH_OP_STARTED,       /* u.report */
    SCH_OP_OUTCOME,       /* u.report; `blob` is kept until acknowledged */
    SCH_OP_NODE_RETURNED, /* u.report: the agent gives it back unstarted */
    SCH_OP_NODE_CORDON,   /* u.verb.node; of a node not known, too */
    SCH_OP_NODE_UNCORDON, /* u.verb.node; ends a drain, too */
    SCH_OP_NODE_DRAIN,    /* u.verb; again: another deadline */
    SCH_OP_NODE_FENCE,    /* u.verb.node; of a node not known, too */
    SCH_OP_NODE_UNFENCE,  /* u.verb.node; of one that is not fenced: nothing */
    SCH_OP_TICK,
    SCH_OP_EVENT_TYPES,
};

/* Something of the shell's that the core only carries; released through `release` exactly once. */
struct sch_blob {
    void *data;
    void (*release)(void *data);
};

struct sch_op_event {
    enum sch_op_event_type type;
    int64_t now_ns;
    union {
        struct {
            uint32_t partition, epoch;
            /* Which attempts it speaks for: see operator_owner.c. */
            uint8_t first_place, places_above;   /* the last one is 255 - places_above */
            const struct sch_op_origin *origins; /* eldest first; epochs grow */
            size_t origin_count;
        } partition;
        struct {
            uint32_t partition, class_id;
            struct sch_resources request;
            const struct sch_gang_shape *gang; /* NULL: single actions */
            uint64_t waiting;                  /* gangs, of a class of gangs */
            uint32_t keep; /* nodes that are to be kept for them; see operator_claim.c */
            int64_t oldest_age_ns;
            int32_t top_priority;
            const struct sch_share_standing *standing; /* of the first; NULL: not known */
        } demand;
        struct {
            struct sch_attempt_key key;
            uint32_t class_id;
            uint32_t queue; /* it may be stopped for others that name this; 0: not */
            bool suspect;   /* a worker died under it: a loss of it says nothing of the node */
            bool waits;     /* it is not given up because its node is silent */
            struct sch_blob blob; /* the assignment, handed on with SEND_ASSIGN; kept while HELD */
            /* Of a member of a gang, whose members come in the order of ranks; 0: of none. */
            uint64_t gang_id;
            uint32_t rank;
            int32_t priority;                   /* with that of its queues */
            const struct sch_share_path *place; /* NULL: not known */
        } assign;
        struct {
            struct sch_attempt_key key;
            const char *reason;
            bool preempts; /* its partition wants it still: it ends PREEMPTED, or is RETURNED */
        } cancel;
        struct {
            uint32_t partition, class_id, queue_count;
            uint64_t gang_id; /* the room is for this one, which is held here; 0: for one action */
            const struct sch_reclaim_queue *queues;
        } reclaim;
        struct sch_attempt_key key;
        const char *reason;
        struct {
            const char *name;
            struct sch_resources capacity;
            const struct sch_traits *traits; /* NULL: none */
            const struct sch_environment *environments;
            size_t environment_count;
        } node;
        struct {
            const char *node;
            struct sch_attempt_key key;
            struct sch_resources request;
            bool started;
            int64_t started_ns;                 /* realtime */
            int64_t ran_ns;                     /* a duration; 0: not known, so for long */
            uint32_t queue;                     /* as in assign */
            const struct sch_share_path *place; /* likewise */
            bool waits;                         /* likewise */
        } inventory;
        struct {
            const char *node;
            struct sch_attempt_key key;
            int64_t started_ns;
            const char *reason;
            bool cancelled;       /* OUTCOME: it ended because it was cancelled */
            bool fault;           /* OUTCOME: refused or lost: the node may be the cause */
            struct sch_blob blob; /* OUTCOME */
        } report;
        struct {
            const char *node;
            int64_t deadline_ns; /* DRAIN: on the clock of now_ns; SY_TIME_NEVER: none */
        } verb;
    } u;
};

enum sch_op_effect_type {
    SCH_OP_SEND_ASSIGN,     /* u.assign: blob to node (the blob is the shell's again) */
    SCH_OP_SEND_CANCEL,     /* u.attempt: to node */
    SCH_OP_SEND_ACK,        /* u.attempt: to node: forget the outcome */
    SCH_OP_SEND_GIVE_BACK,  /* u.attempt.node: give back all that has not started */
    SCH_OP_SERVICE_CHANGED, /* u.service: to be kept over restarts */
    SCH_OP_NODE_WAITED,     /* u.waited: the same, before what follows is sent */
    SCH_OP_SEND_GRANT,      /* u.grant: to partition */
    SCH_OP_SEND_ROOM,       /* u.room: to partition */
    SCH_OP_SEND_STARTED,    /* u.report: to partition */
    SCH_OP_SEND_OUTCOME,    /* u.report: to partition; blob borrowed until the next step; NULL blob:
                               LOST */
    SCH_OP_SEND_RETURNED,   /* u.report: to partition */
    SCH_OP_SEND_INVENTORY,  /* u.inventory: to partition, after PARTITION_UP or NODE_UP */
    SCH_OP_SEND_INVENTORY_COMPLETE, /* u.partition */
    SCH_OP_SEND_INVENTORY_OWED,     /* u.partition: instead, while nodes are owed */
    SCH_OP_SHAPES_CHANGED,          /* to every partition: sch_operator_shapes() */
    SCH_OP_SEND_ELSEWHERE,          /* u.elsewhere: to partition */
};

struct sch_op_effect {
    enum sch_op_effect_type type;
    union {
        uint32_t partition;
        struct {
            const char *node;
            struct sch_attempt_key key;
            struct sch_blob blob;
            /* Of a gang, whose members follow one another in the order of ranks, all of them. */
            const char *first_node; /* where rank 0 goes; NULL: no gang */
            uint64_t gang_id;
            uint32_t rank, size;
        } assign;
        struct {
            const char *node;
            struct sch_attempt_key key;
            const char *reason;
        } attempt;
        struct {
            uint32_t partition, class_id;
            uint64_t granted, startable; /* startable: of these, into room that is free now */
        } grant;
        struct {
            uint32_t partition;
            uint64_t cpu_milli, memory_bytes, gpu_milli; /* cumulative, as a grant */
        } room;
        struct { /* what other partitions have here of a queue or level of which it has some too */
            uint32_t partition;
            struct sch_share_path place;
            struct sch_use use;
        } elsewhere;
        struct {
            struct sch_attempt_key key;
            uint32_t partition; /* to which it goes */
            const char *node;   /* may be "" */
            int64_t started_ns;
            const char *reason; /* RETURNED; OUTCOME without blob: why, NULL: its node was lost */
            bool alone;         /* its node was lost soon after it had started, alone there */
            int64_t held_ns;    /* OUTCOME: how long it waited here for a node; 0: not known */
            void *blob;
        } report;
        struct {
            const char *node; /* valid until the next step, or as long as the event's */
            enum sch_service_state state;
            int64_t deadline_ns; /* SY_TIME_NEVER: none */
        } service;
        struct {
            const char *node; /* likewise; NULL: some node has none any more */
            bool begins;      /* it has attempts that wait from now on */
        } waited;
        struct {
            struct sch_attempt_key key;
            uint32_t partition; /* to which it goes */
            const char *node;
            bool started;
            int64_t started_ns;
        } inventory;
    } u;
};

struct sch_op_effects {
    struct sch_op_effect *items;
    size_t count, cap;
};
void sch_op_effects_deinit(struct sch_op_effects *effects);

void sch_operator_step(struct sch_operator *op, const struct sch_op_event *event,
                       struct sch_op_effects *effects);
int64_t sch_operator_next_ns(const struct sch_operator *op);

/* ---- reading ---- */

/* For whom nothing new is placed on a node: a gang that waits here, actions that smaller ones pass,
 * one for which others were stopped there. */
enum sch_kept { SCH_KEPT_FOR_NOBODY, SCH_KEPT_FOR_GANG, SCH_KEPT_FOR_LARGE, SCH_KEPT_FOR_NEXT };

struct sch_node_view {
    const char *name;
    enum sch_node_state state;
    enum sch_service_state service;
    int64_t deadline_ns; /* of a drain; SY_TIME_NEVER: none */
    enum sch_health_state health;
    uint32_t faults, ends; /* AVOIDED: because of how many, of how many */
    enum sch_kept kept;
    uint32_t kept_partition, kept_class; /* whose; the class is 0 for a gang */
    uint64_t kept_gang;                  /* its id; 0: for no gang */
    struct sch_resources capacity;
    const struct sch_traits *traits;
    uint32_t used_cpu_milli, used_gpus;
    uint64_t used_memory_bytes;
    uint32_t running, backlog;
    uint64_t finished;
    const struct sch_environment *environments;
    size_t environment_count;
};
void sch_operator_each_node(const struct sch_operator *op,
                            bool (*fn)(void *ctx, const struct sch_node_view *node), void *ctx);
/* Names of the nodes that have attempts that wait, or may. */
void sch_operator_each_waited(const struct sch_operator *op,
                              void (*fn)(void *ctx, const char *node), void *ctx);
/* Distinct shapes of the nodes that are not GONE; returns how many there are (at most `max`
 * filled). */
size_t sch_operator_shapes(const struct sch_operator *op, struct sch_shape *ret, size_t max);
/* What it would take to start an action, or a gang, that may not be here yet. Nothing is changed by
 * asking. */
struct sch_op_survey {
    uint32_t partition;
    const struct sch_resources *request;
    const struct sch_gang_shape *gang;      /* NULL: one action */
    uint32_t class_id;                      /* of one that waits; 0: of none that is known here */
    uint64_t gang_id;                       /* that waits here; 0: none */
    const struct sch_reclaim_queue *queues; /* whose work may stop for it, as in RECLAIM */
    uint32_t queue_count;
};
struct sch_op_victim {
    struct sch_attempt_key key;
    const char *node;
};
struct sch_op_kept {
    const char *node;
    struct sch_use missing; /* for one of them to fit there now; in pieces it may be there */
};
#define SCH_OP_KEPT_MAX 64u /* that are named */
struct sch_op_survey_answer {
    bool room;      /* there is for all of it: nothing stops */
    bool withheld;  /* but it is granted none: what there is goes to others that come first */
    bool displaces; /* there would be, if all of `victims` stopped */
    struct sch_op_victim *victims;
    size_t victim_count, victim_cap;
    struct sch_op_kept kept[SCH_OP_KEPT_MAX]; /* nodes that take nothing else meanwhile */
    size_t kept_count;                        /* in all */
};
/* Names are valid until the next step. */
void sch_operator_survey(struct sch_operator *op, const struct sch_op_survey *survey,
                         struct sch_op_survey_answer *ret);
void sch_op_survey_answer_deinit(struct sch_op_survey_answer *answer);
/* The node that holds (or held, while unacknowledged) an attempt; NULL when unknown. */
const char *sch_operator_node_of(const struct sch_operator *op, const struct sch_attempt_key *key);
/* Whether the stream of that partition is open and speaks for such an attempt, here or not. */
bool sch_operator_speaks_for(const struct sch_operator *op, uint32_t partition,
                             const struct sch_attempt_key *key);
/* The partition whose stream speaks for an attempt that is here; false: none does just now. */
bool sch_operator_partition_of(const struct sch_operator *op, const struct sch_attempt_key *key,
                               uint32_t *ret);
/* Nodes that are not OPEN, in the order they came to be so; also those that are away. */
void sch_operator_each_service(const struct sch_operator *op,
                               bool (*fn)(void *ctx, const char *node, enum sch_service_state state,
                                          int64_t deadline_ns),
                               void *ctx);
/* What was said of a node. */
enum sch_service_state sch_operator_service_of(const struct sch_operator *op, const char *node);
/* Whether there is such a node, or something was said of it. */
bool sch_operator_knows_node(const struct sch_operator *op, const char *name);
bool sch_operator_inventory_complete(const struct sch_operator *op);
void sch_operator_check(const struct sch_operator *op);
