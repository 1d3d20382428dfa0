/*
 * One partition's part of a stream over all of them, wherever that partition is.
 *
 *                 +--> here -------+     its stream is read in its lane
 *     nowhere ----+                +---> nowhere
 *                 +--> elsewhere --+     the client's call was sent there, for this part alone
 *
 * From nowhere it looks where the partition is: at once when the map changes, else with jittered
 * back-off. It goes there when the lane says that it does not serve any more, when the other shard
 * ends its stream UNAVAILABLE (it stops, died, or gave the partition away), and when that shard is
 * silent while the map names another (it stands still). The client's stream goes on meanwhile; it
 * ends when nobody served the partition for CP_FOLLOW_BLIND_NS, so that no client is blind to a
 * part of the region without knowing.
 *
 * One that stays is here for good: the region is this shard, or another shard asks for this part.
 *
 * Threads: all on the front's loop.
 */
#pragma once

#include "controlplane/shard_impl.h"

#define CP_FOLLOW_BLIND_NS (30 * SY_NS_PER_S)
#define CP_FOLLOW_RESUME_MAX 48
/* With CP_PART_KEY: what who asks has of the part already. The method says what its text means. */
#define CP_RESUME_KEY "x-switchyard-resume"

struct cp_follow;

struct cp_follow_sink {
    /* It is here now: read it from where the stream stands. */
    void (*here)(struct cp_follow *follow);
    /* One message of the part's stream, from elsewhere; the first soon after it began there. */
    void (*message)(struct cp_follow *follow, struct sy_span bytes);
    /* Nothing more comes. OK: the other shard has sent all there is; else the client's stream is to
     * end with it. */
    void (*ended)(struct cp_follow *follow, const struct sy_status *status);
};

enum cp_place { CP_NOWHERE, CP_HERE, CP_ELSEWHERE, CP_ENDED };

struct cp_follow {
    struct cp_follow *next, **prev; /* in shard->followed, unless it stays */
    struct cp_request *req;
    struct sy_span request; /* what is sent to other shards */
    const struct cp_follow_sink *sink;
    uint32_t partition;
    enum cp_place place;
    bool stays, held;
    char resume[CP_FOLLOW_RESUME_MAX]; /* the owner's: CP_RESUME_KEY; "": none */
    struct cp_ask *ask;
    struct sy_timer timer;
    struct sy_error_text why; /* it is not where it was */
    int64_t lost_ns;          /* since when nobody served it; 0: somebody does */
    int64_t placed_ns, retry_ns;
};

/* `follow` is zeroed; `req` and the bytes of `request` outlive it. Goes here or elsewhere at once
 * when it can. */
void cp_follow_start(struct cp_follow *follow, struct cp_request *req, uint32_t partition,
                     bool stays, struct sy_span request, const struct cp_follow_sink *sink);
/* It is here, and the lane does not serve it: `status` says why. */
void cp_follow_away(struct cp_follow *follow, const struct sy_status *status);
/* While it is held nothing is heard of it, and what other shards have for it waits there. */
void cp_follow_hold(struct cp_follow *follow, bool hold);
/* Ends it; nothing more is heard. */
void cp_follow_stop(struct cp_follow *follow);

/* The map, or what is served here, is another than before. */
void cp_follows_look(struct cp_shard *shard);
/* True: a stream over `count` partitions has ended, since there are more by now. `part`: it is over
 * one for another shard. */
bool cp_watch_was_split(struct cp_request *req, bool part, uint32_t count);
/* The shard stops, and has no partition any more: what is elsewhere ends UNAVAILABLE. */
void cp_follows_end(struct cp_shard *shard);
