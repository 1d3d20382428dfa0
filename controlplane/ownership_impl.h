/* What the files of ownership share: its state, and one step. */
#pragma once

#include "controlplane/ownership.h"

/* Back-off of one record. */
struct cp_owned_retry {
    bool writing; /* the answer to a write is awaited; there is one at a time */
    unsigned tries;
    int64_t at_ns; /* nothing before that */
};

struct cp_owned_slot {
    struct sm sm;
    struct cp_owned_retry retry;
    uint32_t epoch;    /* CLAIMING: the one written; from OPENING to closed: the one opened */
    uint32_t floor;    /* none up to this is opened any more */
    int64_t session;   /* under which it was claimed */
    int64_t claimed;   /* CLAIMING: revision of the record that the claim replaces */
    bool yielded;      /* LOST: its record is to be free, whatever is open here */
    uint64_t split_at; /* GIVING, SPLITTING: it is to be split there; 0: not */
    /* With local storage; 0: it is not so. */
    int64_t free_since_ns;   /* nobody has it */
    int64_t absent_since_ns; /* it is ours, and its standby is not there */
    int64_t stays_until_ns;  /* it was given, and whoever was to have it did not claim it */
    unsigned stays;          /* so often, one after the other */
};

struct cp_ownership {
    struct cp_ownership_options options;
    struct sm mode;
    struct cp_owned_slot *slots; /* by number */
    size_t slot_count;
    struct cp_owned_retry member; /* of our own record */
    int64_t joined_session;       /* the last one that our record was seen with */
    int64_t settled_ns;           /* before that only what was given back is claimed */
    int64_t slow_until_ns;        /* 0: its disk is not slow */
    uint32_t *plan;               /* for the map of plan_revision */
    uint32_t *standbys;           /* the same */
    int64_t plan_revision;
    size_t plan_size;
};

struct cp_owned_step {
    struct cp_ownership *o;
    const struct cp_ownership_view *view;
    const struct cp_map *map;
    struct cp_ownership_effects *fx;
    const struct cp_map_shard *member; /* our own record, when it is bound to our session */
    uint32_t self;                     /* its index */
    int64_t right_until_ns;
    bool held;      /* our record is there, and our right has not ended */
    size_t opening; /* partitions that are being claimed or opened */
    size_t leaving; /* GIVING, or closed and not yet written free */
};

/* ---- ownership.c ---- */

void cp_owned_move(struct cp_owned_slot *slot, enum cp_owned_state to);
/* About a partition, under the epoch that it has here. */
void cp_owned_effect(struct cp_owned_step *s, enum cp_ownership_effect_type type, uint32_t number);
/* Whether that time has come; it is woken then. */
bool cp_owned_due(struct cp_owned_step *s, int64_t at_ns);
bool cp_owned_stopping(const struct cp_owned_step *s);
/* Its record names us, under the session that we have. */
bool cp_owned_by_us(const struct cp_owned_step *s, const struct cp_map_partition *p);
/* Writes `row`, which replaces `p`, as our claim; the rest of it is as it was given. */
struct cp_ownership_effect *cp_owned_claim(struct cp_owned_step *s,
                                           const struct cp_map_partition *p,
                                           struct cp_map_partition *row);
void cp_owned_give(struct cp_owned_step *s, uint32_t number);

/* ---- ownership_copies.c: local storage ---- */

/* Whether the copy that is needed for it lies here. */
bool cp_owned_has_copy(struct cp_owned_step *s, const struct cp_map_partition *p);
/* In the record of a claim. Who had the other copy in sync is the standby. */
void cp_owned_name_copies(const struct cp_owned_step *s, struct cp_map_partition *row);
/* In the record of what was split from `p`: as many as that has in sync. False: they are not all
 * there. */
bool cp_owned_name_forked(const struct cp_owned_step *s, const struct cp_map_partition *p,
                          const struct cp_forked_copies *forked, struct cp_map_partition *half);
/* Into the row; true: it is another than before. */
bool cp_owned_choose_standby(struct cp_owned_step *s, struct cp_map_partition *row,
                             struct cp_owned_slot *slot);
/* It is claimed by us since `target` did not, who was to: it is not given again at once. */
void cp_owned_take_back(struct cp_owned_step *s, struct cp_owned_slot *slot, uint32_t target);

/* ---- ownership_split.c ---- */

void cp_owned_take_split(struct cp_owned_step *s, const struct cp_ownership_event *event);
void cp_owned_take_closed(struct cp_owned_step *s, uint32_t number, struct cp_owned_slot *slot);
void cp_owned_take_forked(struct cp_owned_step *s, const struct cp_ownership_event *event,
                          struct cp_owned_slot *slot);
