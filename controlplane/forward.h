/*
 * Calls that are for another shard: carried there and back, bytes for bytes.
 *
 * While nobody has the partition, or who was asked does not have it any more, the call waits and
 * tries again, for CP_FORWARD_WAIT_NS at most and not beyond its deadline: so a partition that
 * moves is not seen by callers. That is safe because nothing was done yet. Any other failure is the
 * caller's, who knows whether it may ask again. A stream then goes on until either side ends it;
 * what the client does not take the other shard keeps.
 *
 * Threads: a relay lives on the loop of its call.
 */
#pragma once

#include "base/rpc.h"

struct cp_forwards; /* those in progress, of one loop */

#define CP_FORWARD_WAIT_NS (5 * SY_NS_PER_S)

/* Who has the partition; NULL: nobody that is known. Asked at each try. */
typedef struct sy_channel *(*cp_forward_route_fn)(void *ctx, uint32_t partition);

void cp_forwards_new(struct cp_forwards **ret_forwards, struct sy_loop *loop,
                     cp_forward_route_fn route, void *ctx);
/* Those in progress are forgotten (their calls hear nothing): the shard ends. */
void cp_forwards_free(struct cp_forwards *forwards);
size_t cp_forwards_count(const struct cp_forwards *forwards);

/* A unary call or a server stream, in its handler; takes its reference. `request` is copied, as is
 * `run`: "project/domain/name" of what it is about, for the metadata; NULL: as it came. */
void cp_forward(struct cp_forwards *forwards, struct sy_call *call, uint32_t partition,
                const char *run, struct sy_span request);

/* With it a call has been forwarded, and goes no further. */
#define CP_FORWARDED_KEY "x-switchyard-forwarded"
#define CP_RUN_KEY "x-switchyard-run"
/* The answer to such a call for what is not ours: nothing was done. */
void cp_forward_refuse(struct sy_call *call, uint32_t partition, const char *shard);
