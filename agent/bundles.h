/*
 * Working directories by code bundle: the SDK unpacks a bundle into the working directory once and
 * marks that, so all attempts with the same bundle get the same directory. Bounded: beyond `max`
 * the least recently used that nobody holds is removed.
 */
#pragma once

#include "base/error.h"

#include <stddef.h>

struct ag_bundles;

/* What an earlier agent left in `dir` is used again. */
int ag_bundles_new(struct ag_bundles **ret, const char *dir, size_t max,
                   struct sy_error_text *error) SY_MUST_USE;
void ag_bundles_free(struct ag_bundles *bundles);
/* The directory of the bundle at `uri`, made when it lacks; held until it is put back. NULL: errno
 * says why. */
const char *ag_bundles_take(struct ag_bundles *bundles, const char *uri);
void ag_bundles_put(struct ag_bundles *bundles, const char *path);
