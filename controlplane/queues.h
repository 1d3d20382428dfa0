/*
 * The queues of the region (scheduler/queue.h says what they are) as rows of the registry.
 *
 * Every partition knows all of them: a row with a revision in its registry, and its core's copy. A
 * queue is at home in one partition, that of its project and domain, so that a tree of queues lies
 * in one. Its home checks and writes a change first; then it is copied to the others
 * (queue_sync.c). The home's word counts, in the order of its marks.
 *
 * Pure, but for the functions of a partition at the end.
 */
#pragma once

#include "controlplane/registry.h"

#include "switchyard/v1/queue_service.pb-c.h"

#define CP_QUEUES_MAX_DEFAULT 10000u

/* 0, or -EINVAL with a sentence. */
int cp_queue_id_check(const Switchyard__V1__QueueId *id, struct sy_error_text *error) SY_MUST_USE;
/* Of an id that has been checked. */
struct sch_queue_key cp_queue_key(const Switchyard__V1__QueueId *id);
struct cp_registry_key cp_queue_row_key(const struct sch_queue_key *key);
/* Of a row's key; false: it is none. */
bool cp_queue_key_read(struct sy_span row_key, struct sch_queue_key *ret);
int cp_queue_key_compare(const void *a, const void *b); /* as rows are ordered */
/* It is at home in the partition that has it (ranges.h); all of one project and domain in the same.
 */
uint64_t cp_queue_hash(const char *project, const char *domain);

/* 0, or -EINVAL with a sentence: see sch_queue_config_check(). */
int cp_queue_config_read(struct sch_queue_config *ret, const struct sch_queue_key *key,
                         const Switchyard__V1__QueueSettings *settings,
                         struct sy_error_text *error) SY_MUST_USE;

/* ---- of a partition ---- */

/* 0, CP_PARTITION_E_NOT_FOUND, CP_PARTITION_E_NOT_SERVING, or an errno. The row is in `arena`, with
 * its settings. */
int cp_queue_get(struct cp_partition *p, struct sy_arena *arena, const struct sch_queue_key *key,
                 Switchyard__Internal__Store__QueueRow **ret) SY_MUST_USE;
/* How many the region has. */
size_t cp_queue_count(const struct cp_partition *p);

/* Only inside a change of the registry, in the queue's home: writes the row and tells the core. The
 * settings have been read by cp_queue_config_read(). */
void cp_queue_put(struct cp_partition *p, const struct sch_queue_key *key,
                  const Switchyard__Internal__Store__QueueRow *row);
void cp_queue_remove(struct cp_partition *p, const struct sch_queue_key *key);
/* The revision of a change that is made now; negative: reading failed. */
int cp_queue_next_revision(struct cp_partition *p, uint64_t *ret) SY_MUST_USE;
/* Whether `key` may have this parent, which is not empty: OK, or FAILED_PRECONDITION with a
 * sentence. */
enum sy_code cp_queue_parent_check(struct cp_partition *p, const struct sch_queue_key *key,
                                   const char *parent, struct sy_error_text *error);
/* How many have it as their parent. */
int cp_queue_children(struct cp_partition *p, const struct sch_queue_key *key,
                      size_t *ret) SY_MUST_USE;

/* Where a home's queues stand: after so many changes since it was opened for the epoch-th time. */
struct cp_queue_mark {
    uint32_t epoch;
    uint64_t changes;
};
/* Packs internal.QueueCopies: all whose home this partition is, or, when `keys` is not NULL, those,
 * in order, as they are now: all that changed since `follows`, for who knows the rest. */
struct cp_queue_packing {
    struct cp_queue_mark mark;
    const struct sch_queue_key *keys;
    size_t count;
    uint64_t follows;
};
int cp_queue_copies_pack(struct cp_partition *p, const struct cp_queue_packing *packing,
                         struct sy_buf *ret) SY_MUST_USE;
/* Inside a change of the registry, of copies of `home`: takes over what differs, unless more of
 * this home is known. OK with *ret_behind: nothing of it, since what it follows is not known here.
 * INVALID_ARGUMENT: it is no such message; ABORTED: the home has been opened again since;
 * UNAVAILABLE: reading failed, and when something was put the partition steps down. */
enum sy_code cp_queue_copies_take(struct cp_partition *p, uint32_t home, struct sy_span copies,
                                  bool *ret_behind, struct sy_error_text *error);

/* sch_partition_each_queue(), of nothing while it does not serve. */
void cp_partition_each_queue(struct cp_partition *p,
                             bool (*fn)(void *ctx, const struct sch_queue_view *view), void *ctx);
