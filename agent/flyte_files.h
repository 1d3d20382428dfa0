/* The files of Flyte's tasks that an agent reads. Pure. */
#pragma once

#include "agent/executor.h"
#include "base/arena.h"

/* error.pb, whose presence is what "failed" means. False: it is no ErrorDocument. Texts live in the
 * arena. */
bool ag_flyte_read_error(struct sy_arena *arena, struct sy_span bytes, struct ag_result *ret);
