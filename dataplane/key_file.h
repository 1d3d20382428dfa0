/*
 * A key of 32 random bytes in a file that only we may read; made at the first start. Blocking.
 */
#pragma once

#include "base/error.h"

#include <stdint.h>

#define DP_KEY_BYTES 32

/* -EINVAL for a file of another length, -EACCES for one that others may read, and errors of the
 * file system; each with a sentence. */
int dp_key_file(const char *path, uint8_t ret[DP_KEY_BYTES],
                struct sy_error_text *error) SY_MUST_USE;
