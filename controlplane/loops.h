/*
 * The loops of a shard's process: the front's, where it has one of its own, then one for each
 * partition. The first runs on the thread that calls
 * cp_loops_run(), the others on threads of their own.
 */
#pragma once

#include "base/loop.h"
#include "base/rpc.h"

#include <stdbool.h>

struct cp_loops {
    struct sy_loop **loops;
    struct cp_loops_thread *threads;
    size_t count;
};

/* Makes the loops; cp_loops_deinit() also after an error. */
int cp_loops_init(struct cp_loops *loops, size_t count) SY_MUST_USE;
/* Returns after cp_loops_stop(), which any thread may call, when every thread has ended. */
int cp_loops_run(struct cp_loops *loops) SY_MUST_USE;
void cp_loops_stop(void *loops); /* a sy_fn */
/* When they run no more and all that used `rpc` (NULL: none) is freed: turns them until the calls
 * that were under way have ended, which sy_rpc_free() needs. 5 s at most. */
void cp_loops_settle(struct cp_loops *loops, struct sy_rpc *rpc);
void cp_loops_deinit(struct cp_loops *loops);
