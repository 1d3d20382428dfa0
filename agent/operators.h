/*
 * The operators of the cluster, of which one at a time is active. The agent attaches to one after
 * the other until one welcomes it, and takes no welcome of a smaller term than it has seen. Once a
 * second it asks one of the others whether that has become active under a later term: the one that
 * it is attached to may be cut off, and not know; one that it dials may be dead, and not answer. On
 * the agent's loop.
 */
#pragma once

#include "base/bearer.h"
#include "base/rpc.h"

#include <stdbool.h>

struct ag_operators;

/* `targets`: NULL-terminated, at least one; copied. `bearer` is borrowed. `moved`: another one is
 * active, and is the current one now: what there is with the one before is to be left. */
struct ag_operators *ag_operators_new(struct sy_rpc *rpc, struct sy_loop *loop,
                                      const char *const *targets, const struct sy_bearer *bearer,
                                      sy_fn moved, void *ctx);
void ag_operators_free(struct ag_operators *operators);

/* The current one. */
const char *ag_operators_target(const struct ag_operators *operators);
struct sy_channel *ag_operators_channel(const struct ag_operators *operators);
/* The greatest term that was seen. */
uint64_t ag_operators_term(const struct ag_operators *operators);
/* The current one has welcomed the agent, with that term; 0: it was told none. False: its term is
 * over, and it is to be left. */
bool ag_operators_welcome(struct ag_operators *operators, uint64_t term);
/* The agent is not attached any more: the next one's turn. True: all had theirs. */
bool ag_operators_next(struct ag_operators *operators);
