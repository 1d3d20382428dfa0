/*
 * A shard's own disk, in memory: the copies of partitions that it has (copies.h), and what was
 * forked from them.
 */
#pragma once

#include "controlplane/copies.h"
#include "controlplane/partition.h"
#include "controlplane/store.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#define MS SY_NS_PER_MS
#ifndef ROOM /* for partitions, after splits */
#define ROOM 6
#endif

struct own_disks {
    struct own { /* a partition's copy */
        struct own_disks *on;
        struct cp_mem_disk *disk;
        uint64_t copy;         /* its id; 0: none */
        struct sy_buf filling; /* the image of another one, as far as it came */
    } own[ROOM];
    struct own_fork { /* of such a copy; complete with its id */
        uint32_t parent, epoch;
        uint64_t copy;
        struct cp_mem_disk *disk; /* NULL: it was taken, or is gone */
    } own_forks[32];
    size_t own_fork_count;
    bool no_forks; /* its disk refuses them */
    size_t filled; /* copies that were made anew from an image */
    struct cp_store_opener openers[ROOM];
    struct cp_copies copies;
};

static void hang(const struct sy_loop *loop); /* the world's: an opening may */

static int open_own(void *ctx, struct cp_store **ret, uint32_t epoch, struct sy_loop *loop,
                    uint32_t *ret_epoch, struct sy_error_text *error)
{
    hang(loop);
    return cp_store_mem_open(ret, ((struct own *)ctx)->disk, epoch, loop, ret_epoch, error);
}

static int own_read(void *ctx, uint32_t partition, struct cp_own_copy *ret,
                    struct sy_error_text *error)
{
    const struct own_disks *d = ctx;
    (void)error;
    *ret = (struct cp_own_copy){.id = d->own[partition].copy};
    return 0;
}

static int own_make(void *ctx, uint32_t partition, uint64_t id, struct sy_error_text *error)
{
    struct own_disks *d = ctx;
    (void)error;
    ck_assert_uint_eq(d->own[partition].copy, 0);
    d->own[partition].copy = id;
    return 0;
}

static int own_fill(void *ctx, uint32_t partition, const char *name, struct sy_span bytes,
                    struct sy_error_text *error)
{
    struct own *own = &((struct own_disks *)ctx)->own[partition];
    (void)error;
    if (name == NULL)
        sy_buf_clear(&own->filling);
    else
        sy_buf_append(&own->filling, bytes.data, bytes.len);
    return 0;
}

static int own_filled(void *ctx, uint32_t partition, uint64_t id, struct sy_error_text *error)
{
    struct own *own = &((struct own_disks *)ctx)->own[partition];
    (void)error;
    int r = cp_mem_disk_load(own->disk, sy_buf_span(&own->filling));
    sy_buf_deinit(&own->filling);
    own->copy = id;
    own->on->filled++;
    return r;
}

static const char *own_image_path(void *ctx, uint32_t partition)
{
    (void)ctx, (void)partition;
    return "";
}

static int own_adopt(void *ctx, const char *identity, struct sy_error_text *error)
{
    (void)error;
    memcpy(((struct own_disks *)ctx)->copies.identity, identity, CP_IDENTITY_SIZE);
    return 0;
}

static int own_fork(void *ctx, uint32_t epoch, struct sy_error_text *error)
{
    const struct own *own = ctx;
    struct own_disks *d = own->on;
    size_t i = 0;
    while (i < d->own_fork_count && d->own_forks[i].disk != NULL)
        i++;
    SY_ASSERT(i < SY_COUNT_OF(d->own_forks));
    sy_error_text_set(error, "the storage has no room for a fork");
    if (d->no_forks)
        return -ENOSPC;
    struct cp_mem_disk *disk = cp_mem_disk_copy(own->disk);
    cp_mem_disk_set(disk, MS, -1);
    d->own_fork_count += i == d->own_fork_count;
    d->own_forks[i] = (struct own_fork){
        .parent = (uint32_t)(own - d->own), .epoch = epoch, .disk = disk};
    error->text[0] = '\0';
    return 0;
}

static struct own_fork *find_own_fork(struct own_disks *d, uint32_t parent, uint32_t epoch)
{
    for (size_t i = 0; i < d->own_fork_count; i++) {
        struct own_fork *fork = &d->own_forks[i];
        if (fork->parent == parent && fork->epoch == epoch && fork->disk != NULL)
            return fork;
    }
    return NULL;
}

static int own_name_fork(void *ctx, uint32_t partition, uint32_t epoch, uint64_t id,
                         struct sy_error_text *error)
{
    struct own_fork *fork = find_own_fork(ctx, partition, epoch);
    (void)error;
    SY_ASSERT(fork != NULL && fork->copy == 0);
    fork->copy = id;
    return 0;
}

static int own_adopt_fork(void *ctx, uint32_t parent, uint32_t epoch, struct sy_error_text *error)
{
    struct own *own = ctx;
    struct own_fork *fork = find_own_fork(own->on, parent, epoch);
    if (own->copy != 0)
        return 0;
    sy_error_text_set(error, "nothing was forked from partition %u", parent);
    if (fork == NULL)
        return -ENOENT;
    ck_assert_uint_ne(fork->copy, 0);
    cp_mem_disk_free(own->disk);
    own->disk = sy_take(fork->disk);
    own->copy = fork->copy;
    return 0;
}

static void own_drop_forks(void *ctx, uint32_t before, const uint32_t *kept, size_t kept_count)
{
    const struct own *own = ctx;
    struct own_disks *d = own->on;
    for (size_t i = 0; i < d->own_fork_count; i++) {
        struct own_fork *fork = &d->own_forks[i];
        bool stays = fork->parent != (uint32_t)(own - d->own) || fork->epoch >= before;
        for (size_t k = 0; !stays && k < kept_count; k++)
            stays = kept[k] == fork->epoch;
        if (!stays && fork->disk != NULL)
            cp_mem_disk_free(sy_take(fork->disk));
    }
}

static void new_disk(struct own_disks *d, struct own *own)
{
    *own = (struct own){.on = d, .disk = cp_mem_disk_new()};
    cp_mem_disk_set(own->disk, MS, -1);
    cp_mem_disk_keep_log(own->disk, 200);
}

static void init_disks(struct own_disks *d)
{
    d->own_fork_count = 0;
    for (uint32_t p = 0; p < ROOM; p++) {
        new_disk(d, &d->own[p]);
        d->openers[p] = (struct cp_store_opener){.open = open_own,
                                                 .fork = own_fork,
                                                 .adopt = own_adopt_fork,
                                                 .drop_forks = own_drop_forks,
                                                 .ctx = &d->own[p]};
    }
    d->copies = (struct cp_copies){.read = own_read,
                                   .make = own_make,
                                   .fill = own_fill,
                                   .filled = own_filled,
                                   .name_fork = own_name_fork,
                                   .image_path = own_image_path,
                                   .adopt = own_adopt,
                                   .ctx = d};
}

static void free_disks(struct own_disks *d)
{
    for (uint32_t p = 0; p < ROOM; p++) {
        cp_mem_disk_free(d->own[p].disk);
        sy_buf_deinit(&d->own[p].filling);
    }
    for (size_t i = 0; i < d->own_fork_count; i++)
        cp_mem_disk_free(d->own_forks[i].disk);
}
