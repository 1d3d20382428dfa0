/*
 * What Flyte's lists show of a task beside its state: its identifier, type and short name. They
 * stand in the TaskSpec, which is stored by content; a small cache by digest spares reading and
 * unpacking the same spec for each of the thousand actions that share it.
 *
 * Belongs to one lane. Entries are replaced in turn.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "controlplane/spec.h"

#define CP_TASK_NAMES_CACHED 64

/* Strings are "" when the spec does not say. UTF-8 in any case. */
struct cp_task_names {
    const char *org, *project, *domain, *name, *version;
    const char *type, *short_name, *environment;
};

struct cp_task_names_cache {
    struct cp_task_names_entry {
        uint8_t digest[CP_SPEC_DIGEST_BYTES];
        struct cp_task_names names;
        char *text; /* owns the strings; NULL = free */
    } entries[CP_TASK_NAMES_CACHED];
};
void cp_task_names_deinit(struct cp_task_names_cache *cache);

/* NULL: not there. Valid until the next insertion. */
const struct cp_task_names *cp_task_names_find(const struct cp_task_names_cache *cache,
                                               const uint8_t digest[CP_SPEC_DIGEST_BYTES]);
/* Reads the names out of a TaskSpec (all "" when it is none). Uses `arena` for the time of the
 * call. */
const struct cp_task_names *cp_task_names_add(struct cp_task_names_cache *cache,
                                              const uint8_t digest[CP_SPEC_DIGEST_BYTES],
                                              struct sy_span task_spec, struct sy_arena *arena);
/* Of an action without a spec. */
extern const struct cp_task_names cp_task_names_none;
