/*
 * What the operators of a cluster share: a directory, with objects, the storage's files and keys,
 * which any of them may add to; and, in `terms/N`, the few files that the active one replaces, what
 * was said of nodes, which of them have attempts that are waited for, and the secrets. Who becomes
 * active under term N copies them there from the term before: whoever was active then may go on
 * writing, where nobody looks any more.
 *
 * Blocking; for the start.
 */
#pragma once

#include "base/error.h"
#include "dataplane/lead.h"

#include <limits.h>
#include <stdint.h>

/* Its identity, made when it has none, and the greatest term under which it was used. Errors of the
 * file system, with a sentence. */
int dp_shared_open(const char *dir, char ret_id[DP_STORE_ID_SIZE], uint64_t *ret_term,
                   struct sy_error_text *error) SY_MUST_USE;
/* Makes `terms/TERM`, and tells its path. -EEXIST: it was used under that term, or a later one. */
int dp_shared_take(const char *dir, uint64_t term, char ret[PATH_MAX],
                   struct sy_error_text *error) SY_MUST_USE;
