/* The front's part of standby_impl.h: records to lanes, their writes, and streams on their way. */
#include "controlplane/standby_impl.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cp_region *region_of(const struct cp_copying *copying)
{
    return copying->lane->shard->in_region;
}

/* ---- records ---- */

struct telling {
    struct cp_post post;
    struct cp_copying *copying;
    struct cp_copy_record record;
    struct cp_partition_lot *lot; /* NULL: its epoch is the same as before */
    bool wrote;
};

static void free_telling(struct telling *telling)
{
    free(telling->lot);
    free(telling);
}

static void drop_telling(struct cp_post *post)
{
    free_telling(sy_container_of(post, struct telling, post));
}

/* An epoch is over: what was forked under it is named by now, or comes to nothing. */
static void drop_forks(const struct cp_copying *copying, const struct cp_partition_lot *lot)
{
    const struct cp_store_opener *opener = copying->opener;
    if (lot != NULL && lot->forks_before != 0 && opener->drop_forks != NULL)
        opener->drop_forks(opener->ctx, lot->forks_before, lot->forks, lot->fork_count);
}

static void hear(struct cp_post *post)
{
    struct telling *telling = sy_container_of(post, struct telling, post);
    struct cp_copying *copying = telling->copying;
    bool wrote = telling->wrote;
    copying->record = telling->record;
    if (copying->copy == 0)
        copying->copy = telling->record.here;
    cp_copying_adopt(copying);
    drop_forks(copying, telling->lot);
    free_telling(telling);
    if (wrote)
        cp_owner_wrote(copying);
    else
        cp_owner_look(copying);
}

static struct cp_copy_record read_record(const struct cp_copying *copying)
{
    struct cp_shard *shard = copying->lane->shard;
    const struct cp_map *map = cp_region_map(shard->in_region);
    uint32_t number = copying->lane->index, at = cp_map_partition(map, number);
    struct cp_copy_record record = {0};
    record.here = cp_region_copy(shard->in_region, number).id;
    if (at == CP_MAP_NONE)
        return record;
    const struct cp_map_partition *p = &map->partitions[at];
    const struct cp_map_copy *own = cp_map_copy_on(p, shard->name);
    const struct cp_map_copy *beside = cp_map_copy_beside(p, shard->name);
    record.revision = p->revision;
    record.epoch = p->epoch;
    record.ours = cp_region_ours(shard->in_region, number);
    record.own = own != NULL ? own->id : 0;
    record.beside = beside != NULL ? beside->id : 0;
    const char *chosen = strcmp(p->standby, shard->name) != 0 ? p->standby : "";
    snprintf(record.peer, sizeof(record.peer), "%s", beside != NULL ? beside->shard : chosen);
    record.replaced = beside != NULL && chosen[0] != '\0' && strcmp(chosen, beside->shard) != 0;
    record.parent = p->parent;
    record.parent_epoch = p->parent_epoch;
    uint32_t peer = record.peer[0] != '\0' ? cp_map_shard(map, record.peer) : CP_MAP_NONE;
    if (record.ours && peer != CP_MAP_NONE)
        record.channel = cp_shard_channel(shard, map->shards[peer].endpoint);
    return record;
}

static bool same(const struct cp_copy_record *a, const struct cp_copy_record *b)
{
    return a->revision == b->revision && a->ours == b->ours && a->own == b->own &&
           a->here == b->here && a->channel == b->channel && strcmp(a->peer, b->peer) == 0;
}

static void tell(struct cp_copying *copying, bool wrote)
{
    struct cp_copy_record record = read_record(copying);
    if (!wrote && same(&record, &copying->told))
        return;
    struct telling *telling = sy_new(struct telling);
    *telling = (struct telling){.post = {.run = hear, .drop = drop_telling},
                                .copying = copying,
                                .record = record,
                                .wrote = wrote};
    if (record.revision != 0 && record.epoch != copying->told.epoch) {
        telling->lot = sy_new(struct cp_partition_lot);
        *telling->lot = cp_shard_lot(copying->lane->shard, copying->lane->index);
    }
    copying->told = record;
    cp_lane_post(cp_front(copying->lane->shard), copying->lane, &telling->post);
}

void cp_copying_tell(struct cp_lane *lane)
{
    if (lane->copying != NULL)
        tell(lane->copying, false);
}

/* ---- writes ---- */

struct writing {
    struct cp_post post;
    struct cp_copying *copying;
    int64_t if_revision;
    uint64_t id;
    char shard[CP_NAME_LENGTH_MAX + 1];
};

static void drop_writing(struct cp_post *post)
{
    free(sy_container_of(post, struct writing, post));
}

static void on_written(void *ctx, enum cp_coord_result result)
{
    struct cp_copying *copying = ctx;
    (void)result; /* the record says what is so */
    copying->want = NULL;
    tell(copying, true);
}

static void write_it(struct cp_post *post)
{
    struct writing *writing = sy_container_of(post, struct writing, post);
    struct cp_copying *copying = writing->copying;
    struct cp_region_want *want = NULL;
    if (copying->want == NULL)
        want = cp_region_write_in_sync(region_of(copying), copying->lane->index,
                                       writing->if_revision, writing->shard, writing->id,
                                       on_written, copying);
    if (want != NULL)
        copying->want = want;
    else
        tell(copying, true); /* the record is another by now, or an earlier epoch's write is out */
    free(writing);
}

void cp_copying_write(struct cp_copying *copying, int64_t if_revision, const char *shard,
                      uint64_t id)
{
    struct writing *writing = sy_new(struct writing);
    *writing = (struct writing){.post = {.run = write_it, .drop = drop_writing},
                                .copying = copying,
                                .if_revision = if_revision,
                                .id = id};
    snprintf(writing->shard, sizeof(writing->shard), "%s", shard);
    cp_lane_post(copying->lane, cp_front(copying->lane->shard), &writing->post);
}

/* ---- copies ---- */

struct making {
    struct cp_post post;
    struct cp_copying *copying;
    uint64_t id;
};

static void drop_making(struct cp_post *post)
{
    free(sy_container_of(post, struct making, post));
}

static void set_copy(struct cp_post *post)
{
    struct making *making = sy_container_of(post, struct making, post);
    struct cp_own_copy copy = {.id = making->id};
    cp_region_set_copy(region_of(making->copying), making->copying->lane->index, &copy);
    free(making);
}

void cp_copying_made(struct cp_copying *copying, uint64_t id)
{
    struct making *making = sy_new(struct making);
    *making = (struct making){
        .post = {.run = set_copy, .drop = drop_making}, .copying = copying, .id = id};
    copying->copy = id;
    cp_lane_post(copying->lane, cp_front(copying->lane->shard), &making->post);
}

/* ---- streams ---- */

struct arrival {
    struct cp_post post;
    struct cp_copying *copying;
    struct sy_call *call;
};

static void drop_arrival(struct cp_post *post)
{
    struct arrival *arrival = sy_container_of(post, struct arrival, post);
    sy_call_unref(arrival->call);
    free(arrival);
}

static void arrived(struct cp_post *post)
{
    struct arrival *arrival = sy_container_of(post, struct arrival, post);
    cp_follower_side_arrived(arrival->copying, arrival->call);
    free(arrival);
}

static void arrives(void *arg)
{
    struct arrival *arrival = arg;
    cp_lane_post(arrival->copying->lane, arrival->copying->lane, &arrival->post);
}

static void follow(void *ctx, struct sy_call *call, struct sy_span bytes)
{
    (void)bytes;
    struct cp_shard *shard = ctx;
    const char *text = sy_call_metadata(call, "x-switchyard-partition");
    char *end = NULL;
    unsigned long index = text != NULL ? strtoul(text, &end, 10) : 0;
    if (text == NULL || end == text || *end != '\0' || index >= shard->room ||
        shard->lanes[index].copying == NULL) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT,
                     "expected one of this region's %u partitions, whose shards have disks of "
                     "their own",
                     cp_shard_partitions(shard));
        return;
    }
    struct arrival *arrival = sy_new(struct arrival);
    *arrival = (struct arrival){.post = {.run = arrived, .drop = drop_arrival},
                                .copying = shard->lanes[index].copying,
                                .call = call};
    if (arrival->copying->lane->loop == sy_call_loop(call))
        arrives(arrival);
    else
        sy_call_rehome(call, arrival->copying->lane->loop, arrives, arrival);
}

void cp_copying_serve(struct cp_shard *shard, struct sy_loop *loop)
{
    sy_server_add(shard->server, &(struct sy_method){.path = CP_FOLLOW,
                                                     .kind = SY_METHOD_BIDI,
                                                     .handler = follow,
                                                     .ctx = shard,
                                                     .loop = loop});
}

/* ---- life ---- */

void cp_copying_new(struct cp_lane *lane, struct cp_copies *port,
                    const struct cp_store_opener *opener)
{
    struct cp_copying *copying = sy_new(struct cp_copying);
    *copying = (struct cp_copying){.lane = lane, .port = port, .opener = opener};
    copying->copy = cp_region_copy(lane->shard->in_region, lane->index).id;
    cp_owner_init(copying);
    cp_follower_side_init(copying);
    lane->copying = copying;
}

const struct cp_replication *cp_copying_replication(const struct cp_lane *lane)
{
    return lane->copying != NULL ? &lane->copying->replication : NULL;
}

void cp_copying_free(struct cp_lane *lane)
{
    struct cp_copying *copying = sy_take(lane->copying);
    if (copying == NULL)
        return;
    cp_region_want_forget(copying->want);
    cp_forking_end(copying);
    cp_owner_deinit(copying);
    cp_follower_side_deinit(copying);
    free(copying);
}
