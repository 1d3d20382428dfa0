/*
 * Whether another shard's process has ended, for certain: sooner than its session can tell, where
 * both run on one kernel. A process says who it is in a text that no other has, now or later; it
 * lies in the shard's record. What has ended acts no more, so its record may go.
 *
 * A port with one adapter; tests have their own. Everything is called on the region's loop.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

#include <stdbool.h>

#define CP_WITNESS_TEXT_SIZE 192
#define CP_BOOT_ID_SIZE 64

struct cp_witness;
struct cp_witness_ops {
    /* True: that process has ended. False: it runs, or cannot be known; it is watched from now on
     * if it can be. */
    bool (*has_ended)(struct cp_witness *witness, const char *process);
    /* Those that were not asked about since the last call are watched no longer. */
    void (*forget)(struct cp_witness *witness);
};
struct cp_witness {
    const struct cp_witness_ops *ops;
    sy_fn on_ended; /* one that is watched has; set by who asks. Not within the calls above */
    void *ctx;
};

/* By the kernel's handles of processes (pidfd): readable once the last thread is gone, so after its
 * last write and message. Only of processes of the same running kernel and the same namespaces of
 * processes and of time: who is elsewhere is never known to have ended. */
struct cp_witness *cp_witness_proc_new(struct sy_loop *loop);
void cp_witness_proc_free(struct cp_witness *witness); /* NULL is nothing */
/* This process; "": it cannot be told. */
const char *cp_witness_proc_self(const struct cp_witness *witness);
/* The running kernel; "": unknown. */
void cp_boot_id(char ret[CP_BOOT_ID_SIZE]);
