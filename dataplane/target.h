/* Where a daemon is reached, HOST:PORT: a shard as another shard tells it, or this one. */
#pragma once

#include <stdbool.h>

#define DP_TARGET_SIZE 256 /* with the NUL */

/* It may be dialled; that something is there is another matter. */
bool dp_target_ok(const char *text);
/* This one: as it was configured, else ("") where it listens, with the port that was bound for one
 * that ends in ":0". The caller's. */
char *dp_target_own(const char *given, const char *listen, int port);
