/*
 * What the files of the memory store share: store_mem.c (rows, batches, iterators) and
 * store_mem_log.c (its log and images, for copies). Nobody else includes this header.
 */
#pragma once

#include "controlplane/store_impl.h"

#define LEVELS_MAX 20

struct version {
    struct version *older;
    uint64_t sequence;
    bool deleted;
    size_t len;
    uint8_t data[];
};

struct node {
    struct version *newest; /* NULL only in the head */
    struct node *previous;  /* on level 0 */
    struct node *dirty_next;
    bool dirty;
    uint8_t levels, family;
    uint8_t *key;
    size_t key_len;
    struct node *next[];
};

struct family {
    struct node *head;
    struct node *last; /* the head when empty */
};

/* A batch of the log. */
struct logged {
    uint64_t after, upto;
    struct sy_buf records;
};

/* What one directory of store_dirs.h is to a store on a real disk. */
struct mem_data {
    struct family families[CP_FAMILIES];
    struct node *dirty; /* have more than one version, or are deleted */
    uint64_t sequence;
    size_t iterators; /* and who holds */
    uint64_t position;
    struct logged *log; /* the last log_count of log_max batches, oldest first */
    size_t log_count, log_max;
};

struct cp_mem_disk {
    struct mem_data *data;
    int64_t sync_ns, fail_after, close_ns;
    bool keep_in_flight;
    uint32_t epoch;          /* the greatest that it was opened under */
    struct mem_store *owner; /* has it open; NULL: nobody */
    size_t stores;           /* that, and those that it was taken over from */
};

struct mem_store {
    struct cp_store base;
    struct cp_mem_disk *disk;
    struct mem_data *data; /* the disk's, or its own since it was taken over from */
    struct sy_timer sync;
    struct mem_batch *in_flight;
    int result; /* of the commit in flight */
    int failed;
    uint64_t bytes;
    bool holds; /* reads are of `held` */
    uint64_t held;
};

struct mem_batch {
    struct cp_batch base;
    struct sy_buf records; /* struct record, key, value */
};

struct record {
    uint8_t family;
    bool deleted;
    uint32_t key_len;
    size_t value_len;
};

/* store_mem.c */
struct mem_data *cp_mem_data_new(void);
void cp_mem_data_free(struct mem_data *data);
void cp_mem_write_version(struct mem_data *data, unsigned family_index, struct sy_span key,
                          struct sy_span value, bool deleted);
/* Nobody iterates any more: only newest versions count. */
void cp_mem_prune(struct mem_data *data);
struct cp_batch *cp_mem_batch_new(struct cp_store *store);
void cp_mem_batch_free(struct cp_batch *base);

/* store_mem_log.c */
void cp_mem_log_keep(struct mem_data *data, size_t max);
void cp_mem_log_add(struct mem_data *data, const struct mem_batch *batch); /* and its position */
void cp_mem_log_copy(struct mem_data *to, const struct mem_data *from);
void cp_mem_log_deinit(struct mem_data *data);
struct cp_batch *cp_mem_batch_read(struct cp_store *store, struct sy_span data);
void cp_mem_dump(const struct cp_store *store, struct sy_buf *buf);
void cp_mem_hold(struct cp_store *store);
void cp_mem_show(struct cp_store *store);
struct cp_log_reader *cp_mem_log_reader_new(struct cp_store *store, uint64_t after);
int cp_mem_log_reader_next(struct cp_log_reader *reader, uint64_t limit, size_t bytes_max,
                           struct sy_buf *ret_data, uint64_t *ret_upto);
void cp_mem_log_reader_free(struct cp_log_reader *reader);
