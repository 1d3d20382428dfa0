/*
 * Calls about a run that go straight to the shard that has it, in a region of several. The client
 * follows the region's map (WatchRegionMap) through its endpoint, which need not have the run
 * itself. An old map costs time only: whoever gets a call for another shard's run passes it on. A
 * shard that does not answer is avoided until the map changes. Unary calls to one shard go over one
 * stream, many in one message (sy_channel_carry()).
 *
 * Everything on the client's loop. For programs that make many calls: one pays more for the map
 * than for a hop.
 */
#pragma once

#include "tools/src/client.h"

/* Once for a client; until the first map has come, calls go to the endpoint. It ends with it. */
void cl_straight_begin(struct cl_client *client);
/* Where calls about that run of the client's project and domain go. */
struct sy_channel *cl_straight_channel(const struct cl_client *client, const char *run);
/* Through that channel no answer came. */
void cl_straight_avoid(struct cl_client *client, const struct sy_channel *channel);
void cl_straight_end(struct cl_client *client);

/* As region_service.proto says; names have 1 to 63 characters. */
uint64_t cl_hash_of(const char *project, const char *domain, const char *run);
/* Of so many partitions that have as much as each other. */
uint32_t cl_partition_of(const char *project, const char *domain, const char *run, uint32_t count);
