/*
 * The store port of one partition: ordered keys in column families, atomic batches, one commit in
 * flight. Adapters: store_rocksdb (production), store_mem (simulator and tests; it can lose
 * what was not synced). Both pass tests/unit/test_store_contract.c.
 *
 * Commit contract: `done` runs on the loop after the batch is durable, and only then may anything
 * that it contains be shown. Reads see committed batches only. After any write error the store is
 * failed for good: every commit reports -EIO (or -ENOSPC) and the partition closes and reopens it
 * (RocksDB's C API has no Resume()).
 *
 * Threads: everything is called on the loop; the RocksDB adapter owns one committer thread.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum cp_family {
    CP_FAMILY_META,
    CP_FAMILY_RUNS,
    CP_FAMILY_RUN_NAMES,
    CP_FAMILY_ACTIONS,
    CP_FAMILY_OUTCOMES,
    CP_FAMILY_LIVE,
    CP_FAMILY_EVENTS,
    CP_FAMILY_CHILDREN,
    CP_FAMILY_SPECS,
    CP_FAMILY_CACHE,
    CP_FAMILY_REGISTRY,
    CP_FAMILY_ATTEMPTS,
    CP_FAMILIES,
};

struct cp_store;
struct cp_batch;

#define CP_STORE_E_NOT_FOUND 1
#define CP_STORE_E_NEWER 2

/* Opens or creates, in the directories of store_dirs.h: `epoch` is the one under which the region
 * gave the partition; what an owner of an earlier one still has open is taken over. 0: there is no
 * region, and what is open is not. CP_STORE_E_NEWER: another has taken it since, under *ret_epoch.
 * Errors with a sentence: locked by another process, missing, damaged, no space, a newer format
 * (checked by the partition, not here). */
int cp_store_rocksdb_open(struct cp_store **ret_store, const char *path, uint32_t epoch,
                          struct sy_loop *loop, uint32_t *ret_epoch,
                          struct sy_error_text *error) SY_MUST_USE;
/* The same within so much memory: what is not written to tables yet, and cached blocks. */
int cp_store_rocksdb_open_within(struct cp_store **ret_store, const char *path, uint32_t epoch,
                                 size_t memory_bytes, struct sy_loop *loop, uint32_t *ret_epoch,
                                 struct sy_error_text *error) SY_MUST_USE;
/* The same, and its log can be read for an hour, or 1 GiB of it: see below. */
int cp_store_rocksdb_open_logged(struct cp_store **ret_store, const char *path, uint32_t epoch,
                                 size_t memory_bytes, struct sy_loop *loop, uint32_t *ret_epoch,
                                 struct sy_error_text *error) SY_MUST_USE;
/* The store below `path`, which is closed, as one of another partition below `to`: in hard links
 * and copies of its logs. It stays as it is. An errno with a sentence. */
int cp_store_rocksdb_fork(const char *path, const char *to,
                          struct sy_error_text *error) SY_MUST_USE;
#define CP_STORE_MEMORY_MAX ((size_t)320 << 20) /* more brings nothing; the one above has it */
#define CP_STORE_MEMORY_MIN ((size_t)16 << 20)

/* The disk under memory stores outlives them, as a real disk outlives a process. */
struct cp_mem_disk;
struct cp_mem_disk *cp_mem_disk_new(void);
void cp_mem_disk_free(struct cp_mem_disk *disk);
/* What is on it now, without the batch in flight, on a disk of its own whose commits take no time
 * and do not fail. Nobody iterates over `disk` meanwhile. */
struct cp_mem_disk *cp_mem_disk_copy(const struct cp_mem_disk *disk);
/* Commits take sync_ns; with fail_after >= 0 the commit after so many more fails with -ENOSPC, once
 * (0 = the next one; the store that met it stays failed until it is opened again). */
void cp_mem_disk_set(struct cp_mem_disk *disk, int64_t sync_ns, int64_t fail_after);
/* How long cp_store_close_begin() takes. */
void cp_mem_disk_set_close(struct cp_mem_disk *disk, int64_t close_ns);
/* Whether a close keeps the batch in flight instead of losing it: a crash between the sync and
 * `done`. */
void cp_mem_disk_keep_in_flight(struct cp_mem_disk *disk, bool keep);
/* Keeps a log of the last so many batches; 0: none. */
void cp_mem_disk_keep_log(struct cp_mem_disk *disk, size_t batches);
/* Holds what an image (cp_image_new()) of another one held, and nothing else; nobody has it open.
 * -EBADMSG: it is none. */
int cp_mem_disk_load(struct cp_mem_disk *disk, struct sy_span image) SY_MUST_USE;
/* Epochs as above. A store that is taken over goes on with what was on the disk until then, which
 * nobody else sees any more; with keep_in_flight, what it was writing counts as synced before. */
int cp_store_mem_open(struct cp_store **ret_store, struct cp_mem_disk *disk, uint32_t epoch,
                      struct sy_loop *loop, uint32_t *ret_epoch,
                      struct sy_error_text *error) SY_MUST_USE;

/* Waits for a commit in flight, without calling its `done`. With the memory store this is also what
 * a crash does: a batch whose time has not come is lost. Batches and iterators are freed before. */
void cp_store_close(struct cp_store *store);
/* The same without waiting for the disk. True: it is closed. False: `done` runs in a later turn,
 * when it is; until then nothing but cp_store_close() is called, which waits after all. */
bool cp_store_close_begin(struct cp_store *store, sy_fn done, void *ctx) SY_MUST_USE;
/* What the adapter said about the commit or read that failed last; "" = none. */
const char *cp_store_error(const struct cp_store *store);

struct cp_batch *cp_batch_new(struct cp_store *store);
void cp_batch_free(struct cp_batch *batch);
void cp_batch_put(struct cp_batch *batch, enum cp_family family, struct sy_span key,
                  struct sy_span value);
void cp_batch_delete(struct cp_batch *batch, enum cp_family family, struct sy_span key);
size_t cp_batch_count(const struct cp_batch *batch);
size_t cp_batch_bytes(const struct cp_batch *batch);

/* Takes the batch. Only one at a time. error: 0, -ENOSPC, -EIO. */
void cp_store_commit(struct cp_store *store, struct cp_batch *batch,
                     void (*done)(void *ctx, int error), void *ctx);
bool cp_store_committing(const struct cp_store *store);

/* Replaces *ret_value's content. CP_STORE_E_NOT_FOUND, or -EIO. */
int cp_store_get(struct cp_store *store, enum cp_family family, struct sy_span key,
                 struct sy_buf *ret_value) SY_MUST_USE;

/* An iterator over [from, to) as of its creation; `to` empty = to the end. Keys and values are
 * borrowed until it moves. Always give a lower bound at the live head: deleted keys cost time to
 * pass. */
struct cp_iter;
struct cp_iter *cp_iter_new(struct cp_store *store, enum cp_family family, struct sy_span from,
                            struct sy_span to, bool reverse);
bool cp_iter_valid(struct cp_iter *iter);
void cp_iter_next(struct cp_iter *iter);
struct sy_span cp_iter_key(struct cp_iter *iter);
struct sy_span cp_iter_value(struct cp_iter *iter);
/* 0, or -EIO when the iteration ended because of an error (a corrupted block). */
int cp_iter_error(struct cp_iter *iter) SY_MUST_USE;
/* Positions at the last key <= `key` within the bounds (forward iteration goes on from there). */
void cp_iter_seek_for_prev(struct cp_iter *iter, struct sy_span key);
void cp_iter_free(struct cp_iter *iter);

/* A way to what a store holds that outlives it, for any thread; NULL: the store has none (memory).
 * Freed when both it and the store are done with. */
struct cp_store_source;
struct cp_store_source *cp_store_source(struct cp_store *store);
void cp_store_source_free(struct cp_store_source *source);
const char *cp_store_source_path(const struct cp_store_source *source); /* of its directory */
/* All that is committed at one moment between begin and return, as a store of its own: in hard
 * links where its file system is the store's. Blocks, and a close of the store waits for it:
 * cp_store_close() on the loop, cp_store_close_begin() off it. -EEXIST; -ECANCELED: the store is
 * closed; -EIO, -ENOSPC. */
int cp_store_checkpoint(struct cp_store_source *source, const char *path,
                        struct sy_error_text *error) SY_MUST_USE;

/* ---- copies on other shards (standby.h) ----
 *
 * A position counts the records of all batches that were committed since the store was made. So
 * batches that are applied in one order to one content get the same positions in each copy, however
 * they were put together: what was read from the log as one batch had been several. (RocksDB: its
 * sequence numbers; test_store_log.c holds it to that.)
 */
uint64_t cp_store_position(const struct cp_store *store); /* none is in flight */

/* A batch as bytes, for another store of the same kind; borrowed until it is changed. */
struct sy_span cp_batch_data(const struct cp_batch *batch);
/* From those. NULL: they are none. */
struct cp_batch *cp_batch_read(struct cp_store *store, struct sy_span data);

/* Between the two, reads see what was committed at the first; also what is committed after a second
 * hold without a show between. */
void cp_store_hold(struct cp_store *store);
void cp_store_show(struct cp_store *store);

/* Reads the log that follows `after`. NULL: there is none, or it does not reach back so far. */
struct cp_log_reader;
struct cp_log_reader *cp_log_reader_new(struct cp_store *store, uint64_t after);
/* What follows, up to the end of some batch that is not beyond `limit`, as one batch of about
 * `bytes_max`; its end. CP_STORE_E_NOT_FOUND: that is all there is; -EIO. */
int cp_log_reader_next(struct cp_log_reader *reader, uint64_t limit, size_t bytes_max,
                       struct sy_buf *ret_data, uint64_t *ret_upto) SY_MUST_USE;
void cp_log_reader_free(struct cp_log_reader *reader); /* before the store is closed */

/* All that is committed at one moment after this, to be carried elsewhere in pieces. `path`: where
 * it may lie until it is freed; what is there is removed. `done` runs once, in a later turn; after
 * 0 it can be read. */
struct cp_image;
struct cp_image *cp_image_new(struct cp_store *store, const char *path,
                              void (*done)(void *ctx, int error), void *ctx);
const char *cp_image_error(const struct cp_image *image);
/* The next piece of it: of a file with this name, in order. CP_STORE_E_NOT_FOUND: that was all. */
int cp_image_next(struct cp_image *image, size_t bytes_max, const char **ret_name,
                  struct sy_buf *ret_bytes) SY_MUST_USE;
void cp_image_free(struct cp_image *image); /* before the store; waits for what has begun */

/* Bytes written to disk since the open (log and tables), for the benchmarks. */
uint64_t cp_store_bytes_written(const struct cp_store *store);
