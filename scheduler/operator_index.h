/*
 * Inside of the operator core: which nodes are alike, and which takes a request.
 *
 * Nodes alike in everything are of one shape, as shards are told. Nodes alike but for their labels
 * are of one group; and those with labels that somebody asks for (operator_labels.c) are also of a
 * second one, with all that have the same of these. What is left on each node is one vector in the
 * index (fit.h) of each of its groups. So thousands of nodes, each with its name among its labels,
 * are one group, and a request for one of these names makes one more of that node alone.
 *
 * A kind is a distinct request over all shards; it knows which groups could hold it, and what it
 * asks as a vector of each: of the first sort when it asks for no label, whatever others ask for;
 * of the second when it does. So a change of a node is two changes of an index at most, whatever
 * the number of kinds, and a decision asks each group once. Changes are gathered, and carried out
 * when somebody asks. Which node takes a request does not depend on how nodes are grouped.
 */
#pragma once

#include "scheduler/fit.h"
#include "scheduler/heap.h"
#include "scheduler/list.h"
#include "scheduler/operator.h"
#include "scheduler/table.h"

struct sch_kind;
struct sch_node;

/* What nobody asks for any more is asked for so much longer, as kinds come and go: so many, and
 * beyond these the oldest half goes at once. */
#define SCH_OP_LABELS_IDLE_MAX 64u
/* A node that goes to another group counts as so many that are looked at. */
#define SCH_OP_REGROUP_LOOKS 4u

/* Nodes that are placed on: TRUSTED ones first; the others only by kinds that no trusted one could
 * ever hold. */
enum sch_tier_id { SCH_TIER_TRUSTED, SCH_TIER_AVOIDED, SCH_TIERS };
struct sch_tier {
    struct sch_fit fit;   /* what is left; see sch_room_vector() */
    struct sch_heap over; /* nodes whose backlog has room, or had it a moment ago, by its length */
    uint32_t ready;
    uint64_t version;                /* goes up with each change of one of its nodes */
    uint64_t left[SCH_FIT_DIMS_MAX]; /* sums of what is left of its nodes */
};

/* Nodes alike but for their labels; or also in those that are asked for, of which they have some.
 */
struct sch_op_group {
    struct sch_shape shape; /* its labels are those asked for, or none; nodes: that are in it */
    uint32_t refs;          /* its nodes, and shapes whose nodes belong there */
    uint64_t serial;        /* op->group_serial; kinds look at newer ones */
    struct sch_table_link by_bytes;
    struct sch_link link; /* op->groups, by serial */
    struct sch_tier tiers[SCH_TIERS];
};

/* Nodes alike. */
struct sch_op_shape {
    struct sch_shape shape; /* nodes: that are known; 0: it goes */
    struct sch_op_group *group;
    struct sch_op_group
        *told;     /* by their labels, as of `seen`; NULL: nobody asks for one of them */
    uint64_t seen; /* op->labels.serial */
    struct sch_table_link by_bytes;
    struct sch_link link; /* op->shapes, the oldest first */
};

/* A node in one of its groups. */
struct sch_place {
    struct sch_op_group *group; /* NULL: in none */
    struct sch_node *node;
    struct sch_fit_entry *fit;
    struct sch_heap_entry over;
};

/* A part of a kind, in the order of domains. */
struct sch_domain_part {
    uint64_t hash; /* of its domain */
    uint32_t part;
};

/* A group that could hold a kind. */
struct sch_kind_group {
    struct sch_op_group *group;
    uint32_t slots; /* how many on an empty node */
    /* Of the trusted tier when it had that version: how many fit, at most; as counted. */
    uint64_t most_version, most;
    uint64_t counted_version, counted, counted_max; /* see sch_kind_count() */
    uint64_t least[SCH_FIT_DIMS_MAX];
};
/* For a kind without GPUs those without first. */
struct sch_kind_groups {
    struct sch_kind_group *items;
    uint32_t count, cap;
    uint64_t seen; /* serial of the newest group that was looked at */
};

/* What is asked of nodes' labels: see operator_labels.c. */
struct sch_op_labels {
    struct sch_table asked;
    struct sch_link idle; /* of these, those that nobody asks for now, the oldest first */
    uint32_t idle_count;
    uint64_t serial;         /* goes up when one comes, or goes */
    struct sch_link nodes;   /* all, by node->seen */
    struct sch_link waiting; /* kinds that are not known yet, first in first out */
    uint32_t looks;          /* at nodes, in this step */
};

static inline bool sch_op_group_is_told(const struct sch_op_group *group)
{
    return group->shape.traits.labels[0] != '\0';
}

/* ---- operator_index.c ---- */
/* Whether it is sent some more than fit now: as many as end there in a round trip. */
bool sch_node_backlogs(const struct sch_operator *op, const struct sch_node *node);
/* Its room, its backlog, or whether anything is placed there. */
void sch_node_changed(struct sch_operator *op, struct sch_node *node);
/* Zero-padded, environments sorted by name. */
void sch_node_set_shape(struct sch_operator *op, struct sch_node *node,
                        const struct sch_shape *shape);
/* To the group where it belongs by its labels that are asked for now; false: it is there. */
bool sch_node_regroup(struct sch_operator *op, struct sch_node *node);
void sch_node_leave_index(struct sch_operator *op, struct sch_node *node);
/* Carries out what changed. */
void sch_index_sync(struct sch_operator *op);

/* ---- operator_kind.c ---- */
struct sch_kind *sch_kind_ref(struct sch_operator *op, const struct sch_resources *request);
void sch_kind_unref(struct sch_operator *op, struct sch_kind *kind);
/* Brings its room and capable up to date. */
void sch_kind_sync(struct sch_operator *op, struct sch_kind *kind);
/* Trusted nodes that could hold one, or with `room` have room for one; of each group those with
 * most GPUs and cores free first, until `fn` returns false. Nodes that are kept for somebody are
 * left out. */
void sch_kind_each(struct sch_operator *op, struct sch_kind *kind, bool room,
                   bool (*fn)(void *ctx, void *node), void *ctx);
/* Brings its groups up to date. */
void sch_kind_look(struct sch_operator *op, struct sch_kind *kind);
/* Brings its parts up to date, once the label that it asks domains of is known. */
void sch_kind_look_at_parts(struct sch_operator *op, struct sch_kind *kind);
/* A group has gone. */
void sch_kind_forget_group(struct sch_kind *kind, const struct sch_op_group *group);
/* The parts are of another label now. */
void sch_kind_forget_parts(struct sch_kind *kind);
/* Not more than this fit now on trusted nodes of the i-th part, without looking at them. */
uint64_t sch_kind_fits_most(struct sch_kind *kind, uint32_t i);
/* Like sch_kind_each(), of the i-th part. */
void sch_kind_each_of(struct sch_kind *kind, uint32_t i, bool room,
                      bool (*fn)(void *ctx, void *node), void *ctx);
/* What was counted of that before; false: it has changed since, or that was not enough. */
bool sch_kind_counted(const struct sch_kind *kind, uint32_t i, uint64_t most, uint64_t *ret);
/* How many do, `most` at most, on those without a backlog: looked at only when one of them has
 * changed. False: this step has looked at enough, and another one has to go on (gangs_later). */
bool sch_kind_count(struct sch_operator *op, struct sch_kind *kind, uint32_t i, uint64_t most,
                    uint64_t *ret);
void sch_kind_count_check(struct sch_kind *kind);
/* How many these nodes would hold, empty. */
uint64_t sch_kind_slots(struct sch_operator *op, struct sch_kind *kind);
/* Whether there is room for it, or its backlog takes it; known already that no other node has. */
bool sch_kind_takes(struct sch_operator *op, struct sch_kind *kind, const struct sch_node *node);
/* The node with room for one more; or, without, whose backlog takes it (*ret_room false); NULL. Of
 * several: those without GPUs for who asks for none, then the fewest free GPUs, the least free cpu,
 * who came first. */
struct sch_node *sch_kind_choose(struct sch_operator *op, struct sch_kind *kind, bool *ret_room);

/* ---- operator_labels.c ---- */
void sch_labels_init(struct sch_op_labels *labels);
void sch_labels_deinit(struct sch_op_labels *labels);
/* The labels of its request are asked for, as long as it lives. */
void sch_kind_ask(struct sch_operator *op, struct sch_kind *kind);
void sch_kind_unask(struct sch_operator *op, struct sch_kind *kind);
/* Whether they are known of each node. Until then it has no groups, and no room. */
bool sch_kind_is_known(const struct sch_operator *op, const struct sch_kind *kind);
/* Asks for all values of a label, one label at a time; false: they are not known of each node yet.
 */
bool sch_kind_ask_domains(struct sch_operator *op, struct sch_kind *kind, const char *key);
/* Of these labels those that are asked for, zero-padded. */
void sch_labels_asked(const struct sch_operator *op, const char *labels,
                      char ret[SCH_NODE_LABELS_MAX]);
/* Looks at nodes that were not since something came or went, as many as a step may. */
void sch_labels_go_on(struct sch_operator *op);
/* At all of them: somebody wants to know, and nobody waits for the next step. */
void sch_labels_settle(struct sch_operator *op);
/* Goes on, and who waited for it may be placed. */
void sch_labels_end_step(struct sch_operator *op);
/* There is more to do at once. */
bool sch_labels_due(const struct sch_operator *op);
void sch_labels_check(const struct sch_operator *op);
