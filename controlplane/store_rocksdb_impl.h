/*
 * What the files of the RocksDB adapter share: store_rocksdb.c (the committer, batches, reads),
 * store_rocksdb_open.c (its files, opened and closed), store_rocksdb_log.c (its log, for copies)
 * and store_rocksdb_source.c (for other threads). Nobody else includes this header.
 */
#pragma once

#include "controlplane/store_dirs.h"
#include "controlplane/store_impl.h"

#include <pthread.h>
#include <rocksdb/c.h>

#define ROCKS_SPARE_BATCHES 2
#define ROCKS_BATCH_HEADER                                                                         \
    ((size_t)12) /* of a batch as bytes: sequence, then a count of 4 bytes                         \
                  */

struct rocks_store {
    struct cp_store base;
    struct cp_dirs *dirs;
    rocksdb_t *db;
    struct cp_store_source *source;
    rocksdb_options_t *options; /* of the database; holds the statistics */
    rocksdb_options_t *family_options[CP_FAMILIES];
    rocksdb_cache_t *cache;
    rocksdb_column_family_handle_t *families[CP_FAMILIES];
    rocksdb_readoptions_t *read;
    const rocksdb_snapshot_t *held; /* reads see this; NULL: all */
    rocksdb_writeoptions_t *write;
    struct rocks_batch *spare[ROCKS_SPARE_BATCHES];
    struct sy_io io;
    struct rocks_batch *in_flight;
    int failed; /* every further commit reports it */

    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    /* Under the mutex. */
    rocksdb_writebatch_t *job;
    bool stopping, finished;
    bool closes, closed; /* closes: when it stops, the committer closes the database */
    int result;
    struct sy_error_text result_text;
};

/* RocksDB gives texts, no codes. `text` is freed. */
int cp_rocks_error(char *text, struct sy_error_text *ret_text);

/* Takes the directory and opens the database in it. CP_STORE_E_NEWER, or an error with a sentence;
 * cp_rocks_close() also after these. */
int cp_rocks_open(struct rocks_store *store, const char *path, uint32_t epoch, size_t memory_bytes,
                  bool logged, uint32_t *ret_epoch, struct sy_error_text *error) SY_MUST_USE;
/* Waits for who copies it (source), and for what RocksDB has begun. Any thread. */
void cp_rocks_close(struct rocks_store *store);

/* store_rocksdb_log.c */
uint64_t cp_rocks_position(const struct cp_store *store);
void cp_rocks_hold(struct cp_store *store);
void cp_rocks_show(struct cp_store *store);
struct cp_log_reader *cp_rocks_log_reader_new(struct cp_store *store, uint64_t after);
int cp_rocks_log_reader_next(struct cp_log_reader *reader, uint64_t limit, size_t bytes_max,
                             struct sy_buf *ret_data, uint64_t *ret_upto);
void cp_rocks_log_reader_free(struct cp_log_reader *reader);

struct cp_store_source *cp_rocks_source_new(rocksdb_t *db, const char *path);
struct cp_store_source *cp_rocks_source_ref(struct cp_store_source *source);
/* Waits for a checkpoint that is being made; from then on none is. Gives the reference back. */
void cp_rocks_source_close(struct cp_store_source *source);
