/* The region's first records: who comes first makes them, whoever comes later must be of that
 * region. */
#include "controlplane/region_impl.h"

#include <stdio.h>
#include <string.h>

#define STORAGE_KEY CP_MAP_STORAGE_KEY

static void on_made(void *ctx, enum cp_coord_result result)
{
    struct cp_region_writing *writing = ctx;
    struct cp_region *region = writing->region;
    cp_region_writing_free(writing);
    (void)result; /* the copy tells */
    region->making = false;
    sy_timer_start_in(region->loop, &region->wake, 0);
}

/* A partition that was begun before the region was. */
static bool holds(const struct cp_region *region, uint32_t partition)
{
    return region->copies != NULL && region->copies[partition].id != 0 &&
           !region->copies[partition].empty;
}

/* Those that are missing, as many as one write takes. False: none is. */
static bool make_partitions(struct cp_region *region)
{
    char keys[CP_COORD_OPS_MAX][CP_MAP_KEY_SIZE];
    struct sy_buf rows[CP_COORD_OPS_MAX] = {{0}};
    struct cp_coord_op ops[CP_COORD_OPS_MAX];
    uint32_t made = region->options.partitions;
    size_t count = 0;
    for (uint32_t i = 0; i < made && count < CP_COORD_OPS_MAX; i++) {
        struct cp_map_partition row = {.number = i, .range = cp_range_even(i, made)};
        cp_map_partition_key(keys[count], i);
        if (cp_coord_find(region->coord, keys[count]) != NULL)
            continue;
        if (holds(region, i)) { /* of when this shard was alone */
            row.in_sync_count = 1;
            row.in_sync[0].id = region->copies[i].id;
            snprintf(row.in_sync[0].shard, sizeof(row.in_sync[0].shard), "%s",
                     region->options.shard);
        }
        cp_map_put_partition(&rows[count], &row);
        ops[count] = (struct cp_coord_op){CP_COORD_PUT, keys[count], sy_buf_span(&rows[count]),
                                          CP_COORD_ABSENT};
        count++;
    }
    if (count > 0)
        cp_coord_write(region->coord, ops, count, on_made, cp_region_writing_new(region, 0));
    for (size_t i = 0; i < count; i++)
        sy_buf_deinit(&rows[i]);
    return count > 0;
}

static void make_record(struct cp_region *region, const char *key, const char *text)
{
    struct cp_coord_op op = {
        CP_COORD_PUT, key, {(const uint8_t *)text, strlen(text)}, CP_COORD_ABSENT};
    cp_coord_write(region->coord, &op, 1, on_made, cp_region_writing_new(region, 0));
}

/* False: all is there. */
static bool make_missing(struct cp_region *region)
{
    char text[sizeof(CP_MAP_LOCAL) + CP_IDENTITY_SIZE];
    if (region->map.made == 0) {
        snprintf(text, sizeof(text), "%u", region->options.partitions);
        make_record(region, CP_MAP_REGION_KEY, text);
    } else if (region->copies != NULL && cp_coord_find(region->coord, STORAGE_KEY) == NULL) {
        snprintf(text, sizeof(text), CP_MAP_LOCAL "%016llx%016llx",
                 (unsigned long long)sy_rng_u64(region->rng),
                 (unsigned long long)sy_rng_u64(region->rng));
        make_record(region, STORAGE_KEY, text);
    } else if (region->options.storage != NULL &&
               cp_coord_find(region->coord, STORAGE_KEY) == NULL) {
        SY_ASSERT(region->options.storage->identity[0] != '\0');
        make_record(region, STORAGE_KEY, region->options.storage->identity);
    } else {
        return make_partitions(region);
    }
    return true;
}

static bool is_local(const struct cp_coord_record *storage)
{
    size_t len = sizeof(CP_MAP_LOCAL) - 1;
    return storage->value.len >= len && memcmp(storage->value.data, CP_MAP_LOCAL, len) == 0;
}

/* Copies that another region's shard made, or one of this region before its records were lost, are
 * not taken for this one's. */
static bool fits_local(const struct cp_region *region, uint32_t made,
                       const struct cp_coord_record *storage, struct sy_error_text *ret_why)
{
    const struct cp_region_options *options = &region->options;
    struct cp_copies *port = options->copies;
    char identity[CP_IDENTITY_SIZE] = "";
    if (made == 0 && port->identity[0] != '\0') {
        sy_error_text_set(ret_why,
                          "the data_dir of shard %s holds copies of a region, and etcd knows none "
                          "of the name %s: expected the etcd that is theirs; if its records are "
                          "lost, see \"records lost\" in docs/operations.md",
                          options->shard, options->name);
        return false;
    }
    if (storage == NULL)
        return true;
    if (!is_local(storage)) {
        sy_error_text_set(ret_why,
                          "the shards of region %s share their storage, shard %s is configured for "
                          "storage: local; expected storage: shared",
                          options->name, options->shard);
        return false;
    }
    size_t len = storage->value.len - (sizeof(CP_MAP_LOCAL) - 1);
    if (len == CP_IDENTITY_SIZE - 1)
        memcpy(identity, storage->value.data + sizeof(CP_MAP_LOCAL) - 1, len);
    if (identity[0] == '\0' ||
        (port->identity[0] != '\0' && strcmp(identity, port->identity) != 0)) {
        sy_error_text_set(ret_why,
                          "the data_dir of shard %s holds copies of another region than %s is now: "
                          "expected the etcd that is theirs, or another data_dir",
                          options->shard, options->name);
        return false;
    }
    return port->identity[0] != '\0' || port->adopt(port->ctx, identity, ret_why) == 0;
}

/* Only who finds that the region has no storage yet makes its own that: what is refused stays as it
 * is. */
static bool fits_shared(const struct cp_region *region, const struct cp_coord_record *storage,
                        struct sy_error_text *ret_why)
{
    const struct cp_region_options *options = &region->options;
    struct cp_storage *own = options->storage;
    if (storage != NULL && is_local(storage)) {
        sy_error_text_set(ret_why,
                          "each shard of region %s has a disk of its own, shard %s is configured "
                          "for storage: shared; expected storage: local",
                          options->name, options->shard);
        return false;
    }
    if (own == NULL)
        return true;
    if (storage == NULL)
        return own->identity[0] != '\0' || own->mark(own->ctx, ret_why) == 0;
    if (storage->value.len == strlen(own->identity) &&
        memcmp(storage->value.data, own->identity, storage->value.len) == 0)
        return true;
    sy_error_text_set(
        ret_why,
        "the data_dir of shard %s is not the storage that the other shards of region "
        "%s share: expected all to mount the same, and an etcd that is theirs; if it was "
        "replaced or restored, delete the region's record 'storage'",
        options->shard, options->name);
    return false;
}

/* Whether what is there is of a region that this shard is for. */
static bool fits(const struct cp_region *region, struct sy_error_text *ret_why)
{
    const struct cp_region_options *options = &region->options;
    uint32_t made = region->map.made;
    if (made != 0 && made != options->partitions) {
        sy_error_text_set(ret_why, "region %s has %u partitions, shard %s is configured for %u",
                          options->name, made, options->shard, options->partitions);
        return false;
    }
    if (region->map.partition_count > options->partitions_max) {
        sy_error_text_set(ret_why,
                          "region %s has %zu partitions by now, shard %s has room for %u: expected "
                          "partitions_max to be at least as many",
                          options->name, region->map.partition_count, options->shard,
                          options->partitions_max);
        return false;
    }
    const struct cp_coord_record *storage = cp_coord_find(region->coord, STORAGE_KEY);
    return region->copies != NULL ? fits_local(region, made, storage, ret_why)
                                  : fits_shared(region, storage, ret_why);
}

bool cp_region_is_made(struct cp_region *region)
{
    if (region->made)
        return true;
    if (cp_coord_revision(region->coord) == 0 || region->making || region->misfit)
        return false;
    if (region->map.made == 0 && cp_coord_find(region->coord, CP_MAP_REGION_KEY) != NULL)
        return false; /* it cannot be read */
    region->misfit = !fits(region, &region->why_misfit);
    if (region->misfit)
        return false;
    region->making = make_missing(region);
    region->made = !region->making;
    SY_ASSERT(!region->made || region->copies == NULL || region->options.copies->identity[0]);
    return region->made;
}
