/* What the files of a region share: its state, and writes in flight. */
#pragma once

#include "controlplane/region.h"

/* One write of the core's, or of the region's making, in flight. */
struct cp_region_writing {
    struct cp_region_writing *next, **prev;
    struct cp_region *region;
    uint32_t partition;
    int64_t buries; /* the revision of the record that it deletes; 0: none */
};

struct cp_region {
    struct cp_region_options options;
    struct cp_region_sink sink;
    struct sy_loop *loop;
    struct sy_log *log;
    struct cp_coord *coord;
    struct cp_map map;
    struct cp_ownership *core;
    struct cp_ownership_effects effects;
    struct cp_region_writing *writings;
    struct cp_region_want *wants;
    struct sy_timer wake, bury_again;
    _Atomic int64_t *right_until_ns; /* of each partition */
    struct cp_own_copy *copies;      /* the same; NULL: storage is shared */
    struct sy_rng *rng;
    struct sy_error_text *split_why; /* likewise */
    bool making;                     /* the region's first records are being written */
    bool made;
    bool misfit, left;
    struct sy_error_text why_misfit; /* "": it was told */
    int64_t namesake;                /* the session of another shard of our name that was told of */
    struct sy_error_text waits;      /* for whose end; "": for nobody's */
    struct sy_error_text unreadable; /* the first record that is; "": none is */
    sy_fn on_left;
    void *left_ctx;
};

struct cp_region_writing *cp_region_writing_new(struct cp_region *region, uint32_t partition);
void cp_region_writing_free(struct cp_region_writing *writing);

/* region_make.c. True: the region is made, and is the one that this shard is for. */
bool cp_region_is_made(struct cp_region *region);
