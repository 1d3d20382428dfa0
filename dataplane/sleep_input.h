/* What a core-sleep task waits for: pure, and fuzzed. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>

/* How long a task with these inputs (a flyteidl2.task.Inputs) waits: its first input that is a
 * duration, or a number of seconds. -EINVAL with a sentence: none is, or it is negative or above
 * ten years. */
int dp_sleep_read(struct sy_span inputs, int64_t *ret_ns, struct sy_error_text *error) SY_MUST_USE;
