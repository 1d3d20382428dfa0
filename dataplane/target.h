/* Where a shard is reached, HOST:PORT, as another shard tells it. */
#pragma once

#include <stdbool.h>

#define DP_TARGET_SIZE 256 /* with the NUL */

/* It may be dialled; that something is there is another matter. */
bool dp_target_ok(const char *text);
