/* The files of Flyte's tasks that an agent reads. Pure. */
#pragma once

#include "agent/executor.h"
#include "base/arena.h"

/* error.pb, whose presence is what "failed" means. False: it is no ErrorDocument. Texts live in the
 * arena. */
bool ag_flyte_read_error(struct sy_arena *arena, struct sy_span bytes, struct ag_result *ret);

/* How long a core-sleep task waits: its first input that is a duration, or a number of seconds. 0
 * or -EINVAL with a sentence. */
int ag_flyte_read_sleep(struct sy_span inputs, int64_t *ret_ns,
                        struct sy_error_text *error) SY_MUST_USE;
