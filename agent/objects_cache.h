/* The node's cache of inputs: files named by their content, bounded in bytes, the least recently
 * used unpinned one going first. Used by objects.c. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define AG_DIGEST_CHARS 32

struct ag_cache;

int ag_cache_new(struct ag_cache **ret_cache, const char *dir, uint64_t bytes_max,
                 struct sy_error_text *error) SY_MUST_USE;
void ag_cache_free(struct ag_cache *cache);
/* The path, to be freed and to be unpinned; NULL: not there. */
char *ag_cache_pin(struct ag_cache *cache, const char *digest);
void ag_cache_unpin(struct ag_cache *cache, const char *path);
/* A new file to be filled; -1 with errno. `name` is unique. */
int ag_cache_open(struct ag_cache *cache, const char *name);
/* It is whole: takes its place, pinned. NULL: there is no room for it, or it cannot be renamed; it
 * is removed then. */
char *ag_cache_commit(struct ag_cache *cache, const char *name, const char *digest, uint64_t size);
/* Removes what was opened and not committed, if anything. */
void ag_cache_abandon(struct ag_cache *cache, const char *name);
/* Exactly 32 digits 0-9a-f. */
bool ag_digest_valid(const char *digest);
