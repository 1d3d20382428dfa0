/*
 * Disks of shards' own, in worlds where each has one: the copies of partitions that lie on it, and
 * that it is lost.
 *
 * A shard that dies may lose its disk: docs/replication.md promises that nothing acknowledged is
 * lost with any one disk, as long as the records name two copies that are there. Whether that is
 * so is decided when the shard is started again. Nobody but its process has seen the disk since
 * then, so it is as if it had gone with it; and what it had asked of etcd has happened by then or
 * never will. A shard that died while it was writing who is in sync keeps its disk: from when it
 * asks that a standby be out its own may be the only one.
 */
#include "controlplane/region_impl.h"
#include "controlplane/shard_impl.h"
#include "controlplane/standby_impl.h"
#include "tests/sim/world_impl.h"

#define LOG_BATCHES 200

struct cp_mem_disk *sim_disk_under(const struct sim_world *world, unsigned shard,
                                   unsigned partition)
{
    return world->options.local ? world->shards[shard].own[partition].mem
                                : world->disks[partition].mem;
}

/* ---- the port ---- */

static int open_own(void *ctx, struct cp_store **ret_store, uint32_t epoch, struct sy_loop *loop,
                    uint32_t *ret_epoch, struct sy_error_text *error)
{
    struct sim_own *own = ctx;
    SY_ASSERT(own->copy != 0);
    sim_opening_may_hang(own->world, loop);
    own->begun = true;
    return cp_store_mem_open(ret_store, own->mem, epoch, loop, ret_epoch, error);
}

static int read_copy(void *ctx, uint32_t partition, struct cp_own_copy *ret,
                     struct sy_error_text *error)
{
    const struct sim_own *own = &((struct sim_shard *)ctx)->own[partition];
    (void)error;
    *ret = (struct cp_own_copy){.id = own->copy, .empty = own->copy != 0 && !own->begun};
    return 0;
}

static int make_copy(void *ctx, uint32_t partition, uint64_t id, struct sy_error_text *error)
{
    struct sim_own *own = &((struct sim_shard *)ctx)->own[partition];
    (void)error;
    SY_ASSERT(own->copy == 0 && !own->begun);
    own->copy = id;
    return 0;
}

static int fill_copy(void *ctx, uint32_t partition, const char *name, struct sy_span bytes,
                     struct sy_error_text *error)
{
    struct sim_own *own = &((struct sim_shard *)ctx)->own[partition];
    (void)error;
    if (name == NULL)
        sy_buf_clear(&own->filling);
    else
        sy_buf_append(&own->filling, bytes.data, bytes.len);
    return 0;
}

static int filled_copy(void *ctx, uint32_t partition, uint64_t id, struct sy_error_text *error)
{
    struct sim_own *own = &((struct sim_shard *)ctx)->own[partition];
    (void)error;
    int r = cp_mem_disk_load(own->mem, sy_buf_span(&own->filling));
    sy_buf_deinit(&own->filling);
    own->copy = id;
    own->begun = true;
    return r;
}

static const char *image_path(void *ctx, uint32_t partition)
{
    (void)ctx, (void)partition;
    return "";
}

static int adopt_region(void *ctx, const char *identity, struct sy_error_text *error)
{
    (void)error;
    memcpy(((struct sim_shard *)ctx)->copies.identity, identity, CP_IDENTITY_SIZE);
    return 0;
}

struct cp_store_opener sim_own_opener(struct sim_world *world, unsigned shard, unsigned partition)
{
    return (struct cp_store_opener){.open = open_own, .ctx = &world->shards[shard].own[partition]};
}

/* ---- disks that come and go ---- */

static void new_disk(struct sim_world *world, unsigned shard)
{
    struct sim_shard *s = &world->shards[shard];
    for (unsigned p = 0; p < world->options.partitions; p++) {
        s->own[p] = (struct sim_own){.world = world, .mem = cp_mem_disk_new()};
        cp_mem_disk_set(s->own[p].mem, world->options.sync_ns_max, -1);
        cp_mem_disk_keep_log(s->own[p].mem, LOG_BATCHES);
    }
    s->copies = (struct cp_copies){.read = read_copy,
                                   .make = make_copy,
                                   .fill = fill_copy,
                                   .filled = filled_copy,
                                   .image_path = image_path,
                                   .adopt = adopt_region,
                                   .ctx = s};
}

static void drop_disk(struct sim_world *world, unsigned shard)
{
    struct sim_shard *s = &world->shards[shard];
    for (unsigned p = 0; p < world->options.partitions; p++) {
        cp_mem_disk_free(s->own[p].mem);
        sy_buf_deinit(&s->own[p].filling);
    }
}

void sim_own_disks_init(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.shards; i++)
        new_disk(world, i);
}

void sim_own_disks_deinit(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.shards; i++)
        drop_disk(world, i);
}

/* ---- which may be lost ---- */

/* Whose that copy is; options.shards: it is on no disk. */
static unsigned disk_with(const struct sim_world *world, unsigned partition,
                          const struct cp_map_copy *copy)
{
    unsigned i = 0;
    while (i < world->options.shards && (strcmp(world->shards[i].name, copy->shard) != 0 ||
                                         world->shards[i].own[partition].copy != copy->id))
        i++;
    return i;
}

/* As etcd has it now; false: it has no such record. */
static bool read_record(const struct sim_world *world, struct cp_map *map, unsigned partition)
{
    char key[CP_MAP_KEY_SIZE], path[sizeof("/switchyard/sim/") + CP_MAP_KEY_SIZE];
    struct sy_error_text error = {0};
    struct sy_span value;
    cp_map_partition_key(key, partition);
    snprintf(path, sizeof(path), "/switchyard/sim/%s", key);
    if (!fake_etcd_find(world->region.etcd, path, &value))
        return false;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf copy = sy_buf_copy(value.data, value.len);
    const struct cp_coord_record record = {.key = key, .value = copy, .revision = 1};
    int r = cp_map_add(map, &record, &error);
    SY_ASSERT(r == 0);
    return true;
}

struct cp_mem_disk *sim_disk_beside(const struct sim_world *world, unsigned shard,
                                    unsigned partition)
{
    struct cp_mem_disk *disk = NULL;
    struct cp_map map = {0};
    cp_map_begin(&map, 1);
    if (world->options.local && read_record(world, &map, partition)) {
        const struct cp_map_copy *other = cp_map_copy_beside(&map.partitions[0],
                                                             world->shards[shard].name);
        unsigned i = other != NULL ? disk_with(world, partition, other) : world->options.shards;
        if (i < world->options.shards)
            disk = world->shards[i].own[partition].mem;
    }
    cp_map_deinit(&map);
    return disk;
}

/* All that the records say lies on it lies on another disk, too. */
static bool is_spare(const struct sim_world *world, unsigned shard)
{
    const char *name = world->shards[shard].name;
    struct cp_map map = {0};
    bool spare = fake_etcd_settled(world->region.etcd);
    cp_map_begin(&map, 1);
    for (unsigned i = 0; i < world->options.partitions && spare; i++) {
        if (!read_record(world, &map, i))
            continue;
        const struct cp_map_partition *p = &map.partitions[map.partition_count - 1];
        const struct cp_map_copy *other = cp_map_copy_beside(p, name);
        if (cp_map_copy_on(p, name) != NULL)
            spare = other != NULL && disk_with(world, i, other) < world->options.shards;
    }
    cp_map_deinit(&map);
    return spare;
}

/* Some write of it may change which copies a record names. */
static bool writes_copies(const struct sim_world *world, const struct cp_shard *shard)
{
    for (unsigned i = 0; i < world->options.partitions; i++) {
        if (shard->lanes[i].copying->want != NULL ||
            cp_ownership_state(shard->in_region->core, i) == CP_OWNED_CLAIMING)
            return true;
    }
    return false;
}

void sim_own_disk_may_go(struct sim_world *world, unsigned shard)
{
    struct sim_shard *s = &world->shards[shard];
    const struct sim_options *o = &world->options;
    s->disk_goes = o->lose_disk_pct > 0 && sy_rng_chance(&world->rng, o->lose_disk_pct, 100) &&
                   !writes_copies(world, s->shard);
}

void sim_own_disk_goes(struct sim_world *world, unsigned shard)
{
    struct sim_shard *s = &world->shards[shard];
    bool lost = s->disk_goes && is_spare(world, shard);
    s->disk_goes = false;
    if (!lost)
        return;
    sim_trace(world, "disk lost", s->name, 0);
    world->result.disks++;
    drop_disk(world, shard);
    new_disk(world, shard);
}
