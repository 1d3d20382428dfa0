/*
 * Whether a disk that was slow to sync is well again, before a shard takes partitions anew: a small
 * file is written, synced and removed now and then, by a thread of its own.
 *
 * A port with one adapter; tests have their own. Everything is called on the region's loop.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

#include <stdbool.h>

struct cp_disk_probe;
struct cp_disk_probe_ops {
    /* Whether it is to be looked at, from now on. The first look is at once. */
    void (*watch)(struct cp_disk_probe *probe, bool on);
};
struct cp_disk_probe {
    const struct cp_disk_probe_ops *ops;
    sy_fn on_slow; /* while it is watched: it is slow, or fails. Not within the call above */
    void *ctx;
};

struct cp_disk_probe_options {
    int64_t every_ns;    /* from one look to the next; 0: 5 s */
    int64_t slow_ns;     /* a look that takes longer finds it slow; 0: 1 s */
    int (*sync)(int fd); /* NULL: fsync(); tests have their own */
};
/* Of the disk under that directory; the file is named after the shard. `options` NULL: the
 * defaults. */
struct cp_disk_probe *cp_disk_probe_new(struct sy_loop *loop, const char *directory,
                                        const char *shard,
                                        const struct cp_disk_probe_options *options);
void cp_disk_probe_free(struct cp_disk_probe *probe); /* waits for a look; NULL is nothing */
