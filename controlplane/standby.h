/*
 * A partition's synchronous standby: what its owner may show, whom it waits for and what it writes
 * to the record; what a follower may append. The rules are those of docs/replication.md, whose
 * models (tests/model) have them too. Pure: no I/O, clock or threads. Its shell: standby_impl.h.
 *
 * A position is where a log ends after a batch: larger for each, and the same in each copy. A mark
 * adds the epoch of that batch. Since one owner makes one log under one epoch, copies that have a
 * mark in common are the same up to it.
 */
#pragma once

#include "base/sm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- logs ---- */

struct cp_log_mark { /* zeroed: of an empty log */
    uint32_t epoch;
    uint64_t position;
};

/* Which epochs made a log. Of more than so many the oldest are forgotten: their marks are not
 * known then, and a copy that ends there begins anew. */
#define CP_LOG_EPOCHS_MAX 32
struct cp_log { /* zeroed: empty */
    struct cp_log_epoch {
        uint32_t epoch;
        uint64_t after; /* its first batch follows this position */
    } epochs[CP_LOG_EPOCHS_MAX];
    size_t count;
    uint64_t end;
};
/* A batch of `epoch` was appended, up to `upto`. Epochs and positions only grow. */
void cp_log_append(struct cp_log *log, uint32_t epoch, uint64_t upto);
struct cp_log_mark cp_log_end(const struct cp_log *log);
bool cp_log_has(const struct cp_log *log, struct cp_log_mark mark);
/* The end of the piece that follows `position` (less than the log's end) and is of one epoch. */
struct cp_log_mark cp_log_piece(const struct cp_log *log, uint64_t position);

/* ---- what owner and follower tell each other ---- */

/* A copy and where its log ends, synced. Copies are known by ids that are never used again. */
struct cp_standby_hello {
    uint64_t copy; /* 0: it has none */
    struct cp_log_mark end;
};
struct cp_standby_piece { /* of the log, by the owner of `owner_epoch` */
    uint32_t owner_epoch;
    uint64_t copy;                 /* whom it is for */
    struct cp_log_mark after, end; /* all that is between them is of end.epoch */
};
struct cp_standby_stored {
    uint32_t owner_epoch;
    uint64_t copy;
    uint64_t upto; /* of the owner's log */
};
struct cp_standby_order { /* to begin anew */
    uint32_t owner_epoch;
    uint64_t copy; /* instead of this one */
};

/* ---- the owner ----
 *
 *      OUT --> JOINING --> IN_SYNC --> LEAVING --> OUT
 *       ^         |           ^           |
 *       +---------+           +-----------+ the record was changed by others before
 *
 * In all but OUT nothing is released that the standby has not stored. */
enum cp_standby_state {
    CP_STANDBY_OUT,
    CP_STANDBY_JOINING, /* it catches up with what waits; then is written to be in sync */
    CP_STANDBY_IN_SYNC,
    CP_STANDBY_LEAVING, /* it is written to be out */
    CP_STANDBY_STATES,
};
extern const struct sm_table cp_standby_table;

/* What its last hello told. */
enum cp_standby_log {
    CP_STANDBY_LOG_UNKNOWN, /* none since it was gone */
    CP_STANDBY_LOG_FITS,    /* it is the beginning of ours, and is fed */
    CP_STANDBY_LOG_UNFIT,
};

struct cp_standby_options {
    int64_t patience_ns;                /* something waits, and the standby says nothing */
    int64_t retry_ns;                   /* of a write that was not answered, or refused */
    int64_t backoff_ns, backoff_max_ns; /* who was put out is taken in after that; doubles */
    uint64_t near;                      /* it may join when it lacks at most so many positions */
};
struct cp_standby_options cp_standby_options_default(void);

struct cp_standby_view {
    int64_t now_ns;
    int64_t revision;  /* of the partition's record, as the copy of the records shows it */
    uint32_t epoch;    /* that it names */
    uint64_t in_sync;  /* the copy that it names beside the owner's; 0: none */
    bool present;      /* the standby's shard has a session */
    bool replaced;     /* it is to be another shard: it is let go, and none joins */
    uint64_t log_from; /* the log can be read after this position */
};

enum cp_standby_event_type {
    CP_STANDBY_LOOK,     /* the view is new, or it is time */
    CP_STANDBY_APPENDED, /* upto: handed to the store */
    CP_STANDBY_SYNCED,   /* upto: durable here */
    CP_STANDBY_HELLO,    /* hello: of the chosen standby; a later one replaces it */
    CP_STANDBY_STORED,   /* stored */
    CP_STANDBY_GONE,     /* the connection to it is */
    CP_STANDBY_WROTE,    /* the answer to a write; the view shows what is done */
};
struct cp_standby_event {
    enum cp_standby_event_type type;
    uint64_t upto;
    struct cp_standby_hello hello;
    struct cp_standby_stored stored;
};

struct cp_standby_effects {
    uint64_t release; /* all up to here may be shown; 0: nothing new */
    bool feed;        /* send the log from here on, to the copy that said hello */
    struct cp_log_mark from;
    bool anew; /* send that order */
    struct cp_standby_order order;
    bool write; /* in_sync and nothing else, on that condition; answered by WROTE */
    uint64_t in_sync;
    int64_t if_revision;
    int64_t wake_ns; /* step it again then; SY_TIME_NEVER */
};

#define CP_STANDBY_REFUSED_MAX 16
struct cp_standby {
    struct cp_standby_options options;
    struct sm sm;
    uint32_t epoch;
    struct cp_log log;       /* ours */
    uint64_t first;          /* the end of this epoch's marker */
    uint64_t synced, stored; /* here, there */
    uint64_t released;
    uint64_t copy; /* of the standby, in sync or tried; 0: not known */
    enum cp_standby_log its_log;
    bool fenced;   /* another owns the partition: nothing is released any more */
    int64_t asked; /* the revision that a write under way would replace; 0: there is none */
    int64_t retry_at_ns;
    int64_t waiting_since_ns; /* for the standby, without a word of it; SY_TIME_NEVER: nothing is */
    int64_t join_at_ns, backoff_ns;
    uint64_t refused[CP_STANDBY_REFUSED_MAX]; /* copies that were told to begin anew */
    size_t refused_count;
};
/* `log` is what was found; the marker is the first batch that is appended. The view shows the
 * record that the claim wrote. */
void cp_standby_init(struct cp_standby *s, const struct cp_standby_options *options,
                     const struct cp_standby_view *view, const struct cp_log *log);
void cp_standby_step(struct cp_standby *s, const struct cp_standby_view *view,
                     const struct cp_standby_event *event, struct cp_standby_effects *ret_fx);

/* ---- the follower ---- */

struct cp_follower {
    uint64_t copy;
    struct cp_log log;
    uint64_t synced;
    uint32_t seen;    /* the greatest epoch that it was told; not kept over a restart */
    uint64_t matched; /* up to here its log is that owner's */
};
/* With what is on the disk: the copy's id (0: none) and its log. */
void cp_follower_init(struct cp_follower *f, uint64_t copy, const struct cp_log *log);
/* An owner asks where it is; nothing is being synced. False: an older owner, refuse it. */
bool cp_follower_meet(struct cp_follower *f, uint32_t owner_epoch,
                      struct cp_standby_hello *ret_hello);

enum cp_follower_verdict {
    CP_FOLLOWER_TAKE,  /* append it and sync; the log has it now */
    CP_FOLLOWER_HAVE,  /* it is there; say what is stored */
    CP_FOLLOWER_OLD,   /* refused: of an older owner */
    CP_FOLLOWER_UNFIT, /* not for this copy, or not where its log ends: say hello */
};
enum cp_follower_verdict cp_follower_take(struct cp_follower *f,
                                          const struct cp_standby_piece *piece);
void cp_follower_synced(struct cp_follower *f, uint64_t upto);
/* What to tell the owner after a sync; owner_epoch 0: nothing. */
struct cp_standby_stored cp_follower_stored(const struct cp_follower *f);
/* Whether a partition that its owner has closed may be forked here: this copy has all of the
 * owner's log, up to that end, and nothing else. */
bool cp_follower_forks(struct cp_follower *f, uint32_t owner_epoch, uint64_t copy,
                       struct cp_log_mark end);
/* Whether it obeys: then the shell makes another copy and calls cp_follower_init(). `named`: the
 * record names this copy, as far as is known here. */
bool cp_follower_obeys(const struct cp_follower *f, const struct cp_standby_order *order,
                       bool named);
