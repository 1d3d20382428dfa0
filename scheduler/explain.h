/*
 * Why an action waits, and what it would take for it to start: read from a partition core, which
 * stays as it is. Never looks at the actions that wait, but for its place in its own level (up to a
 * bound): only at clusters, at the queues on its path, and at lanes (a bound again), so it is fit
 * for a loop that decides.
 *
 * The smallest set of changes. A change lifts one thing that holds the action back, by exactly what
 * the action itself needs: a limit of a queue, room of its request in a cluster, and so on; that it
 * goes before those that are ahead of it is a change too (SCH_CHANGE_FIRST). With all changes of
 * the set the action starts at once; without any one of them it does not; and no smaller set of
 * such changes would do. Of several sets of the least size: the one whose hardest change (the last
 * in enum sch_change_type) is the least hard, then the first cluster by name. What is not known
 * here is taken for the best: a cluster that was not asked for such an action yet (its queue does
 * not allow it, or is stopped) counts by its room alone, though that may lie in pieces on many
 * nodes; and only this partition's actions are seen.
 *
 * A gang is explained as a whole, whichever member is asked about: its limits, slots, amounts and
 * changes are those of all members, and it starts when all of them do. A cluster counts by its room
 * and by what its nodes could hold at once; in which pieces its room lies only its operator knows,
 * which says so when it has been asked (NO_GRANT). A gang that was sent to a busy cluster waits
 * there, in ASSIGNED (`held`): its operator keeps nodes for it.
 *
 * Where more lanes wait than are looked at, that it goes first is stated when anybody is ahead.
 *
 * Ownership: an explanation is the caller's, sch_explanation_free(); names of clusters in it are
 * valid until the next step.
 */
#pragma once

#include "scheduler/partition.h"
#include "scheduler/tokens.h"

#define SCH_EXPLAIN_CHANGES_MAX 48u
#define SCH_EXPLAIN_LIMITS_MAX 40u
#define SCH_EXPLAIN_QUEUES_MAX 8u

/* What may hold actions back at a level of the tree of queues. */
enum sch_limit {
    SCH_LIMIT_PAUSED,
    SCH_LIMIT_ACTIONS,
    SCH_LIMIT_CPU,    /* thousandths of a core */
    SCH_LIMIT_MEMORY, /* bytes */
    SCH_LIMIT_GPUS,   /* thousandths of a GPU */
};

/* A limit that the action does not fit under: used + need > allowed, which is `max`, or of a limit
 * that several partitions share what this one may use of it. Of SCH_LIMIT_PAUSED all are 0. */
struct sch_explain_limit {
    struct sch_queue_key queue;
    enum sch_limit limit;
    uint64_t used, need, allowed, max;
};

enum sch_change_type {
    SCH_CHANGE_TIME,    /* at_ns has come: the end of its back-off */
    SCH_CHANGE_FIRST,   /* it goes before those that are ahead of it */
    SCH_CHANGE_ROOM,    /* cluster: `amounts` more free, and where the action fits (then maybe 0) */
    SCH_CHANGE_SLOT,    /* its run may have so many more actions out: `least` in all */
    SCH_CHANGE_LIMIT,   /* queue, limit: `least` at least */
    SCH_CHANGE_RESUME,  /* queue is not paused */
    SCH_CHANGE_ALLOW,   /* queue may use the cluster */
    SCH_CHANGE_REGION,  /* queue's work may run in `region`; "": its regions do not count */
    SCH_CHANGE_PRICE,   /* queue pays `least`, in millionths an hour for a core */
    SCH_CHANGE_CONNECT, /* the cluster connects, with room for it; "": any that could run it */
    SCH_CHANGE_NODE, /* the cluster has another node, with `amounts` free; for a gang nodes, in one
                        domain if that is required */
    SCH_CHANGE_UNCORDON, /* the cluster is uncordoned */
};

struct sch_change {
    enum sch_change_type type;
    struct sch_queue_key queue; /* LIMIT, RESUME, ALLOW, REGION, PRICE */
    enum sch_limit limit;
    const char *cluster; /* ROOM, ALLOW, REGION, PRICE, CONNECT, NODE */
    const char *region;  /* REGION: of the cluster; "" when that is not known */
    uint64_t now, least; /* SLOT, LIMIT, PRICE: the value that is and the least that would do */
    struct sch_use amounts;
    int64_t at_ns; /* monotonic */
};

/* Why a cluster cannot take it now; a bit for each that holds. */
enum sch_why_not {
    SCH_WHY_NOT_CONNECTED = 1u << 0,
    SCH_WHY_NOT_ALLOWED = 1u << 1, /* not in the list of clusters of its queue */
    SCH_WHY_PRICE = 1u << 2,       /* above what its queue pays */
    SCH_WHY_SHAPE = 1u << 3,       /* no node could ever hold it; `miss` */
    SCH_WHY_NO_GRANT = 1u << 4,    /* the operator granted none: no node has it free in one piece,
                                      or it has not answered yet */
    SCH_WHY_ROOM = 1u << 5,        /* room is short by `missing` */
    SCH_WHY_REGION = 1u << 6,      /* not in a region where its queue's work may run */
    SCH_WHY_CORDONED = 1u << 7,    /* a person lets nothing new go there */
    SCH_WHY_DRAINED = 1u << 8,     /* the same, and what is there leaves */
};

struct sch_explain_cluster {
    const struct sch_cluster *cluster;
    const char *name;
    const char *region;        /* "": not known */
    const char *state;         /* of sch_cluster_table */
    bool eligible;             /* it could run it: allowed, and large enough */
    bool room;                 /* and now */
    bool awaited;              /* its inventory is waited for after a restart */
    uint32_t why_not;          /* enum sch_why_not */
    struct sy_error_text miss; /* SHAPE, for people; else "" */
    int64_t price;             /* of a core, millionths an hour; 0 = not known */
    int64_t price_max;         /* PRICE: what the queue pays */
    struct sch_use free;       /* room left; only when room_known */
    bool room_known;
    struct sch_use missing;
    /* Of a gang, members: that its nodes, or those of its best domain, could hold at once when they
     * are empty; that there is room for now, at most (only when room_known). Up to its size. */
    uint32_t holds, fits;
    int64_t avoided_until_ns; /* monotonic; its class failed there, so others come before it; 0: not
                               */
    uint32_t failures;        /* of the class there, one after the other */
    uint32_t failing_percent; /* of the class there lately, when others come before it for that */
    /* Nodes that it is asked to keep for actions of this size, and for others. */
    uint32_t kept, kept_for_others;
};

/* Others in the same partition that wait, in one queue and of one size. */
struct sch_explain_lane {
    struct sch_queue_key queue;
    char project[SCH_QUEUE_NAME_MAX], domain[SCH_QUEUE_NAME_MAX];
    struct sch_resources request;
    uint64_t actions;
    int32_t priority; /* of its first */
};

struct sch_explain_line {
    uint64_t own; /* in its own queue and of its size */
    bool own_exact;
    uint64_t others; /* at most so many elsewhere: fair share lets others in between */
    bool complete;   /* else there are more lanes than were looked at */
    struct sch_explain_lane lanes[SCH_EXPLAIN_QUEUES_MAX]; /* some of those others */
    size_t lane_count;
};

enum sch_basis {
    SCH_BASIS_NONE,         /* too few starts lately to say */
    SCH_BASIS_NEEDS_CHANGE, /* it does not start by waiting: see the changes */
    SCH_BASIS_NOW,
    SCH_BASIS_TIME,  /* its back-off */
    SCH_BASIS_QUEUE, /* `starts` of its queue and size in the last `span_ns` */
    SCH_BASIS_CLASS, /* `starts` of its size from all queues with the same rules */
};

struct sch_estimate {
    enum sch_basis basis;
    int64_t wait_ns; /* from now; not of NONE and NEEDS_CHANGE */
    uint64_t starts;
    int64_t span_ns;
};

struct sch_explanation {
    enum sch_action_state state;
    bool waits; /* the fields below say for what; else only state, cluster, children */
    struct sch_queue_key queue;
    int32_t priority;             /* with its queues' and what waiting has gained */
    struct sch_resources request; /* of a gang: of each member */
    struct sch_gang_shape gang;   /* size 0: none. It is set of what does not wait, too */
    bool held;            /* ASSIGNED: it waits in its cluster until there is room for all of it */
    int64_t now_ns;       /* monotonic, of the last step: what other times are to be seen from */
    int64_t since_ns;     /* monotonic: it has been waiting since */
    int64_t until_ns;     /* BACKOFF, RECOVERING: at the latest; SY_TIME_NEVER: no such time */
    int64_t times_out_ns; /* its queued timeout, deadline, or it ends since no cluster is left that
                             could run it; SY_TIME_NEVER: none */
    const struct sch_action *producer; /* CACHE_WAIT */
    uint32_t children;                 /* live ones; of a group: it waits for them */
    uint32_t class_id;                 /* when it `wants_room`; 0: there is none yet */
    const char *cluster; /* ASSIGNED, RUNNING; of a submit: where it would go; else NULL */
    uint64_t slots_used, slots_max, slots_ahead; /* of its run; max 0: no limit */
    struct sch_explain_limit limits[SCH_EXPLAIN_LIMITS_MAX];
    size_t limit_count;
    struct sch_explain_cluster *clusters; /* by name */
    size_t cluster_count;
    struct sch_explain_line ahead, behind;
    /* None, and `starts_now` false: nobody can change it (it waits for another's result, for
     * children, for inventories). */
    struct sch_change changes[SCH_EXPLAIN_CHANGES_MAX];
    size_t change_count;
    bool starts_now; /* with the next step */
    struct sch_estimate estimate;
    /* Room is all that it waits for, or would: what an operator can be asked about (struct
     * sch_op_survey), with whose work may stop for it by the rules of priority and share, the first
     * SCH_RECLAIM_QUEUES_MAX queues. `request` and `gang` are set. */
    bool wants_room;
    uint32_t victim_count;
    uint32_t victims_more; /* queues beyond these */
    uint64_t gang_id;      /* `held`: of the gang */
    struct sch_reclaim_queue victims[SCH_RECLAIM_QUEUES_MAX];
    /* Of a submit only. */
    bool refused;
    enum sch_reject why;
    struct sy_error_text text;
};

struct sch_explanation *sch_explain(const struct sch_partition *p, const struct sch_action *action);

/* A root action, or a gang, that is not there: as if it had been submitted just now. */
struct sch_submit {
    const char *project, *domain;
    const char *queue; /* NULL or "": the default one */
    const struct sch_resources *request;
    const struct sch_gang_shape *gang; /* NULL: one action */
    int32_t priority;
};
struct sch_explanation *sch_explain_submit(struct sch_partition *p,
                                           const struct sch_submit *submit);
void sch_explanation_free(struct sch_explanation *explanation);

/* "actions", "cpu_milli", ...: the name of the limit in a queue's settings. */
const char *sch_limit_name(enum sch_limit limit);
