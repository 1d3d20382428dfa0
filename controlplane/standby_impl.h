/*
 * What each lane does for the copies of its partition, when shards have disks of their own
 * (docs/replication.md): as its owner it feeds the standby (standby_owner.c), or it is that standby
 * (standby_follower.c). standby_front.c: the partition's record, which only the front reads and
 * writes. standby_fork.c: both sides' forks, when the partition is split.
 *
 *     front                             lane
 *       | -- record (what it says) ------> | the view of the core (standby.h)
 *       | <------------ write (in sync) -- |
 *       | -- record, wrote --------------> |
 *       | <------------ copy (its id) ---- | one was made anew
 *
 * The owner dials. One piece of the log is under way at a time: live it is the batch that is being
 * committed, so nothing is lost by that, and the follower needs no queue.
 *
 * Each side is of the lane, on its loop; cp_copying_*() are for the shard's other files.
 */
#pragma once

#include "controlplane/shard_impl.h"
#include "controlplane/standby.h"

#include "switchyard/internal/standby.pb-c.h"

#define CP_FOLLOW "/switchyard.internal.Standby/Follow"
#define CP_COPY_CHUNK ((size_t)256 << 10) /* of images, and of large pieces */

/* What the partition's record says, as far as it concerns its copies. Zeroed: nothing is known. */
struct cp_copy_record {
    int64_t revision;
    uint32_t epoch;
    bool ours;
    uint64_t own;                      /* our copy that it names; 0: none */
    uint64_t here;                     /* the one on our disk */
    uint64_t beside;                   /* the copy in sync on another shard; 0: none */
    char peer[CP_NAME_LENGTH_MAX + 1]; /* that shard, else the chosen standby; "": none */
    bool replaced;                     /* another than that shard was chosen */
    uint32_t parent, parent_epoch;     /* that it was split from; 0: from none */
    struct sy_channel *channel;        /* to it; NULL: it is not there */
};

struct cp_owner_side;
struct cp_follower_side;
struct cp_forking;

struct cp_copying { /* lane->copying */
    struct cp_lane *lane;
    struct cp_copies *port;
    const struct cp_store_opener *opener;
    struct cp_replication replication; /* what the partition is given */
    struct cp_copy_record record;
    uint64_t copy; /* on our disk, as this lane knows; 0: none */
    struct cp_owner_side *owner;
    struct cp_follower_side *follower;
    struct cp_forking *forking; /* NULL: it is not being split */
    /* The front's. */
    struct cp_copy_record told;
    struct cp_region_want *want; /* the write that is under way */
};

/* standby_front.c */
/* In the lane: asks for that write; cp_owner_wrote() follows. */
void cp_copying_write(struct cp_copying *copying, int64_t if_revision, const char *shard,
                      uint64_t id);
/* In the lane: that copy lies here now. */
void cp_copying_made(struct cp_copying *copying, uint64_t id);

/* standby_owner.c */
void cp_owner_init(struct cp_copying *copying);
void cp_owner_deinit(struct cp_copying *copying);
void cp_owner_look(struct cp_copying *copying); /* the record is new */
void cp_owner_wrote(struct cp_copying *copying);
/* Where its log ended when it was closed last, under that epoch; zeroed: that is not known, or not
 * all of it is durable. */
struct cp_log_mark cp_owner_closed(const struct cp_copying *copying, uint32_t epoch);

/* standby_fork.c */
/* Our copy, which nobody has open, as it was left by the owner of that epoch: another one, and its
 * id. */
int cp_copying_fork_own(struct cp_copying *copying, uint32_t epoch, uint64_t *ret_id,
                        struct sy_error_text *error) SY_MUST_USE;
/* The record is new: takes what the partition begins with here, if it came of a split. */
void cp_copying_adopt(struct cp_copying *copying);
void cp_forking_end(struct cp_copying *copying);

/* standby_follower.c */
bool cp_follower_side_idle(const struct cp_copying *copying); /* nobody feeds it */
void cp_follower_side_init(struct cp_copying *copying);
void cp_follower_side_deinit(struct cp_copying *copying);
/* A stream has come to the lane; owned. */
void cp_follower_side_arrived(struct cp_copying *copying, struct sy_call *call);
