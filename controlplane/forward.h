/*
 * Calls of clients that are for another shard: carried there and back, bytes for bytes. A partition
 * that moves is waited for, as ask.h says. A stream goes on until either side ends it; what the
 * client does not take the other shard keeps.
 *
 * Threads: a relay lives on the loop of its call.
 */
#pragma once

#include "controlplane/ask.h"

struct cp_forwards; /* those in progress, of one loop */

void cp_forwards_new(struct cp_forwards **ret_forwards, struct sy_loop *loop, cp_route_fn route,
                     void *ctx);
/* Those in progress are forgotten (their calls hear nothing): the shard ends. */
void cp_forwards_free(struct cp_forwards *forwards);
size_t cp_forwards_count(const struct cp_forwards *forwards);

/* What a call is about: a partition, or what has a hash (find: see ask.h; NULL: a partition). */
struct cp_forward_to {
    uint32_t partition;
    uint32_t (*find)(void *ctx, uint64_t hash);
    uint64_t hash;
};
/* A unary call or a server stream, in its handler; takes its reference. `request` is copied, as is
 * `run`: "project/domain/name" of what it is about, for the metadata; NULL: as it came. */
void cp_forward(struct cp_forwards *forwards, struct sy_call *call, const struct cp_forward_to *to,
                const char *run, bool stream, struct sy_span request);
/* The same for a call that is about a shard, behind that channel. */
void cp_forward_to(struct cp_forwards *forwards, struct sy_call *call, struct sy_channel *channel,
                   bool stream, struct sy_span request);
/* Another shard may have what is relayed: what waits is tried now; one that stands still would say
 * nothing any more, so what strayed ends UNAVAILABLE, and its client asks again: a stream at once,
 * any other call when its answer should have been here. Call it when the routes have changed. */
void cp_forwards_look(struct cp_forwards *forwards);
/* Who is behind these has left: what cp_forward_to() sent to `channel` ends UNAVAILABLE, what went
 * to `routed` by a route strays. */
void cp_forwards_end_to(struct cp_forwards *forwards, const struct sy_channel *channel,
                        const struct sy_channel *routed);
/* This shard stops: streams, which may go on for ever, end UNAVAILABLE. */
void cp_forwards_end_streams(struct cp_forwards *forwards);

#define CP_RUN_KEY "x-switchyard-run"
