/* What partition_watch.c and partition_runs.c share. */
#pragma once

#include "controlplane/partition_impl.h"

struct cp_watch_list;

struct cp_watch {
    struct cp_watch *prev, *next;             /* in its list, or p->runs_watches */
    struct cp_watch *ready_prev, *ready_next; /* p->ready_watches */
    struct cp_partition *p;                   /* NULL: it was freed */
    enum cp_watch_kind kind;
    bool attached; /* false: the partition stepped down or stops */
    bool ready;
    struct cp_watch_list *list;
    uint64_t run_id, parent_id;
    uint64_t cursor;     /* the last sequence number that was delivered */
    bool between_chunks; /* the cursor is the last entry of a chunk */
    void (*on_more)(void *ctx);
    void *ctx;
    /* RUNS */
    char project[SCH_NAME_MAX], domain[SCH_NAME_MAX];
    bool no_match;     /* no run can have such a project or domain */
    uint64_t *changed; /* in ascending order, each once */
    size_t changed_count, changed_cap;
    uint64_t scan_from; /* not 0: too many changed; runs from this id on are all given */
};

struct cp_watch *cp_watch_new(struct cp_partition *p, enum cp_watch_kind kind,
                              void (*on_more)(void *ctx), void *ctx);
void cp_watch_make_ready(struct cp_partition *p, struct cp_watch *watch);
void cp_watch_runs_deinit(struct cp_watch *watch);
