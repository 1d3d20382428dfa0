/*
 * How changes of queues get from their home to the other partitions: queue_sync.c (the home's side)
 * and queue_take.c (the others'). What lies between is a hand-over from lane to lane, or a call to
 * another shard (api_peers.c).
 *
 * Threads: all of a lane's is of its loop.
 */
#pragma once

#include "controlplane/queues.h"
#include "controlplane/shard_impl.h"

/* One message of a home on its way into the registry of a lane's partition. Its owner's; kept until
 * `done` or `drop` has run. */
struct cp_queue_taking {
    struct cp_queue_taking *next;
    uint32_t home;
    struct sy_span copies; /* internal.QueueCopies, of anybody's making */
    bool anew;             /* see TakeQueuesRequest */
    /* Once it is durable, or refused. */
    void (*done)(struct cp_queue_taking *taking);
    void (*drop)(struct cp_queue_taking *taking); /* instead, when the shard ends; NULL: nothing */
    struct sy_status status;                      /* for done(), whose it is then */
    bool behind;                                  /* with OK: see cp_queue_copies_take() */
};

/* In the lane of who takes. */
void cp_queue_take(struct cp_lane *lane, struct cp_queue_taking *taking);

/* ---- what a lane keeps ---- */

#define CP_QUEUE_RECENT 32u

struct cp_queue_link; /* to one of the other partitions */
struct cp_queue_waiter;

struct cp_queue_sync {
    struct cp_lane *lane;
    struct cp_queue_mark mark; /* of our own queues; epoch 0: not yet */
    /* [n % CP_QUEUE_RECENT]: what the n-th change was about */
    struct sch_queue_key recent[CP_QUEUE_RECENT];
    struct cp_queue_link *links; /* [partition]; NULL: never served */
    uint32_t wholes;             /* sets that are under way */
    struct sy_buf set;           /* the last one */
    struct cp_queue_mark set_mark;
    uint32_t set_partitions; /* that there were then */
    struct cp_queue_waiter *waiters;
    struct sy_timer again;
    struct sy_error_text why; /* one of them could not be told, last */

    struct cp_queue_taking *incoming, *round; /* waiting; in the registry's change */
};

/* Somebody has opened it, and does not know what is at home here. */
void cp_queue_sync_greeted(struct cp_lane *lane, uint32_t partition);
/* In cp_shard_free(), of all lanes before any is deinitialized. */
void cp_queue_take_drop(struct cp_lane *lane);

/* ---- in api_peers.c: TakeQueues at another shard ---- */

/* One try. `answered` is called later, with what was said, or why nothing was; the caller frees it
 * there, or before. NULL: nobody has the partition. */
struct cp_peer_call;
typedef void (*cp_peer_answered_fn)(void *ctx, const struct sy_status *status, bool behind);
struct cp_peer_call *cp_peer_take_queues(struct cp_lane *lane, uint32_t partition, bool anew,
                                         struct sy_span copies, cp_peer_answered_fn answered,
                                         void *ctx);
/* Nothing more is heard. NULL is nothing. */
void cp_peer_call_free(struct cp_peer_call *call);
