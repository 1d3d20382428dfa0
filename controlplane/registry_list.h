/*
 * Lists of registry rows: every partition is asked for its rows below a prefix, the front merges
 * what they found. The registry is small, so each page looks at all rows of its scope; it sorts
 * them by a text that the caller makes of each, and its token is the text of the last one.
 */
#pragma once

#include "controlplane/filter.h"
#include "controlplane/registry.h"
#include "controlplane/shard_impl.h"

#include <stdatomic.h>

#define CP_REGISTRY_LIST_MAX 200000 /* rows of one partition that a list looks at */

struct cp_registry_list {
    struct cp_registry_key prefix;
    struct cp_list_options options;
    /* Of one row, in `arena`: NULL leaves it out. With *ret_group two neighbours of the same group
     * are one item, that of the greater text. */
    const char *(*order)(struct cp_registry_list *list, struct sy_arena *arena, struct sy_span key,
                         struct sy_span value, const char **ret_group);
    /* Adds a response with this item alone: responses joined are one with all their items. */
    void (*pack)(const struct cp_registry_list *list, struct cp_lane *lane, struct sy_span key,
                 struct sy_span value, struct sy_buf *buf);
    /* Adds the rest of the response and answers. */
    void (*reply)(struct cp_request *req, const struct cp_registry_list *list, size_t total,
                  const char *token, struct sy_buf *response);
    const void *query;
    /* order() may set it, in any lane and for whatever reason: reply() sees it. */
    atomic_bool marked;
};

/* `list` lies in the request's memory. */
void cp_registry_list_start(struct cp_request *req, struct cp_registry_list *list);
/* Sort keys that every list knows: created_at (and "", the default) and name. */
const char *cp_registry_order(const struct cp_registry_list *list, struct sy_arena *arena,
                              int64_t created_ns, const char *name, const char *detail);
