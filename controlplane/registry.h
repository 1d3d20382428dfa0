/*
 * The registry: deployed tasks, triggers, projects and queues, in the family of that name (formats
 * in proto/switchyard/internal/store.proto).
 *
 * A key is a letter for its kind, then names, each followed by a NUL: what has the first names in
 * common lies together. Tasks and triggers live in the partition of their task's name, projects in
 * that of their id, queues in all of them (queues.h).
 *
 * Pure, but for the functions of a partition at the end.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "controlplane/names.h"
#include "controlplane/partition.h"

/* Of tasks, versions and triggers; the names of projects and domains are shorter. */
#define CP_REGISTRY_NAME_MAX 255

enum cp_registry_kind {
    CP_REGISTRY_TASK = 't',
    CP_REGISTRY_SPEC = 's',
    CP_REGISTRY_TRIGGER = 'g',
    CP_REGISTRY_REVISION = 'h',
    CP_REGISTRY_DUE = 'd',
    CP_REGISTRY_PROJECT = 'p',
    CP_REGISTRY_QUEUE = 'q',
    CP_REGISTRY_QUEUE_REVISION = 'n',
    CP_REGISTRY_QUEUE_HEARD = 'k',
    CP_REGISTRY_RECORD = 'c', /* of the coordination port, where there is no etcd */
};

struct cp_registry_key {
    size_t len;
    uint8_t data[1 + 2 * 8 + 2 * (CP_NAME_LENGTH_MAX + 1) + 2 * (CP_REGISTRY_NAME_MAX + 1)];
};
static inline struct sy_span cp_registry_span(const struct cp_registry_key *key)
{
    return (struct sy_span){key->data, key->len};
}

/* `names` ends with NULL; they have been checked. */
struct cp_registry_key cp_registry_key(enum cp_registry_kind kind, const char *const names[]);
#define CP_REGISTRY_KEY(kind, ...) cp_registry_key((kind), (const char *const[]){__VA_ARGS__})
/* Of DUE, REVISION and QUEUE_HEARD. */
void cp_registry_add_u64(struct cp_registry_key *key, uint64_t v);
struct cp_registry_key cp_registry_due_key(uint64_t due_ns, const struct cp_registry_key *trigger);
/* The first key that does not begin with these bytes. */
struct cp_registry_key cp_registry_after(const struct cp_registry_key *prefix);
/* In the order of the store. */
int cp_registry_compare(struct sy_span a, struct sy_span b);
/* The names of a key, borrowed from it; false: it has not exactly so many. */
bool cp_registry_names(struct sy_span key, const char **ret_names, size_t count);

/* A task's, version's or trigger's: up to 255 bytes of text. */
int cp_registry_name_check(const char *what, const char *name,
                           struct sy_error_text *error) SY_MUST_USE;
/* The partition that has it (ranges.h) has the tasks and triggers of this name. */
uint64_t cp_registry_hash(const char *project, const char *domain, const char *name);

/* ---- of a partition ---- */

/* 0, CP_PARTITION_E_NOT_FOUND, CP_PARTITION_E_NOT_SERVING, or an errno. */
int cp_partition_registry_get(struct cp_partition *p, struct sy_span key,
                              struct sy_buf *ret) SY_MUST_USE;
/* Rows of [from, to) in order; fn returns false to stop. */
int cp_partition_registry_scan(struct cp_partition *p, struct sy_span from, struct sy_span to,
                               bool (*fn)(void *ctx, struct sy_span key, struct sy_span value),
                               void *ctx) SY_MUST_USE;

/*
 * Changes are made one after the other: `change` runs when the one before is durable, so that what
 * it reads is what is. It refuses with a code and a sentence before it has put anything. `done`
 * follows when its rows are durable. People deploy; a commit for each is fast enough.
 */
typedef enum sy_code (*cp_change_fn)(void *ctx, struct cp_partition *p,
                                     struct sy_error_text *error);
void cp_partition_registry_change(struct cp_partition *p, cp_change_fn change, cp_done_fn done,
                                  void *ctx);
/* Only inside a change. */
void cp_partition_registry_put(struct cp_partition *p, const struct cp_registry_key *key,
                               struct sy_span value);
void cp_partition_registry_delete(struct cp_partition *p, const struct cp_registry_key *key);
/* Reading failed after something was put: the partition steps down, nothing of it is kept. */
void cp_partition_registry_fail(struct cp_partition *p, int error);
