/*
 * What an operator answers while another one of its cluster is active: agents are told that, and
 * where. On one loop.
 */
#pragma once

#include "base/log.h"
#include "base/rpc.h"

struct dp_standby;

/* -EADDRINUSE and so on, with a sentence. */
int dp_standby_new(struct dp_standby **ret, struct sy_rpc *rpc, struct sy_loop *loop,
                   const char *cluster, const char *listen,
                   struct sy_error_text *error) SY_MUST_USE;
int dp_standby_port(const struct dp_standby *standby);
/* Where the active one is, as far as is known; "": not known. */
void dp_standby_set_active(struct dp_standby *standby, const char *endpoint);
/* `done` runs when its port is free, but for what dp_standby_free() does. */
void dp_standby_stop(struct dp_standby *standby, sy_fn done, void *ctx);
/* After stop. NULL is nothing. */
void dp_standby_free(struct dp_standby *standby);
