/*
 * Single values of a configuration: text to number, limits, and how a value is described to the
 * person who wrote it. Internal to base/config*.c.
 */
#pragma once

#include "base/config.h"

/* Stores a scalar (all types but MAP, LIST and STRINGS) into the struct. -EINVAL with one sentence
 * that names the key, the value and what is allowed. */
int sy_config_set_scalar(void *config, const struct sy_config_key *key, const char *text,
                         struct sy_error_text *error) SY_MUST_USE;

/* "a duration such as 250ms, from 1s to 24h": completes "expected ...". */
void sy_config_describe(const struct sy_config_key *key, char *ret_text, size_t size);

bool sy_config_is_collection(enum sy_config_type type);

/* The known key that is the fewest edits away; the keys are at least one. */
const char *sy_config_nearest(const struct sy_config_key *keys, size_t count, const char *name);

static inline void *sy_config_field(void *config, const struct sy_config_key *key)
{
    return (char *)config + key->offset;
}
