/* switchyard.v1.RegionService: which shard has what, by the region's records as this shard has read
 * them; and what waits for their changes. */
#include "controlplane/region_plan.h"
#include "controlplane/shard_impl.h"

#include "base/mem.h"
#include "proto/pb.h"
#include "version.h"

#include "switchyard/v1/region_service.pb-c.h"

#include <string.h>

/* No message of WatchRegionMap comes sooner after another. */
#define INTERVAL_NS (100 * SY_NS_PER_MS)

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; /* packing only reads */
}

/* ---- what waits for the region ---- */

void cp_region_watches_look(struct cp_shard *shard)
{
    struct cp_region_watch *watch = shard->region_watches;
    shard->map_told.stale = true;
    for (; watch != NULL; watch = watch->next)
        cp_stream_again_in(watch->req, 0); /* not within what has changed */
}

void cp_region_watch_start(struct cp_request *req, struct cp_region_watch *watch,
                           void (*pump)(struct cp_request *req),
                           void (*release)(struct cp_request *req))
{
    struct cp_shard *shard = req->lane->shard;
    SY_ASSERT(req->lane == cp_front(shard));
    watch->req = req;
    watch->next = shard->region_watches;
    watch->prev = &shard->region_watches;
    if (watch->next != NULL)
        watch->next->prev = &watch->next;
    shard->region_watches = watch;
    req->state = watch;
    cp_stream_start(req, pump, release);
}

void cp_region_watch_end(struct cp_region_watch *watch)
{
    *watch->prev = watch->next;
    if (watch->next != NULL)
        watch->next->prev = watch->prev;
}

/* ---- the map ---- */

struct map_answer {
    Switchyard__V1__GetRegionMapResponse message;
    Switchyard__V1__Shard *shards, **shard_list;
    Switchyard__V1__PartitionPlace *places, **place_list;
};

/* Lives in the lane's scratch memory, like all that it holds. */
static struct map_answer *answer_new(struct cp_request *req, size_t shards, size_t places)
{
    struct sy_arena *arena = cp_scratch(req->lane);
    struct map_answer *answer = sy_arena_alloc(arena, sizeof(*answer));
    answer->shards = sy_arena_alloc(arena, shards * sizeof(*answer->shards));
    answer->shard_list = sy_arena_alloc(arena, shards * sizeof(void *));
    answer->places = sy_arena_alloc(arena, places * sizeof(*answer->places));
    answer->place_list = sy_arena_alloc(arena, places * sizeof(void *));
    SY_ASSERT(answer->shard_list != NULL && answer->place_list != NULL); /* some thousands */
    switchyard__v1__get_region_map_response__init(&answer->message);
    answer->message.region = req->lane->shard->region;
    answer->message.shard = req->lane->shard->name;
    answer->message.n_shards = shards;
    answer->message.shards = answer->shard_list;
    answer->message.n_partitions = places;
    answer->message.partitions = answer->place_list;
    for (size_t i = 0; i < shards; i++) {
        answer->shard_list[i] = &answer->shards[i];
        switchyard__v1__shard__init(&answer->shards[i]);
    }
    for (size_t i = 0; i < places; i++) {
        answer->place_list[i] = &answer->places[i];
        switchyard__v1__partition_place__init(&answer->places[i]);
    }
    return answer;
}

static void describe_range(Switchyard__V1__PartitionPlace *place, struct cp_range range)
{
    place->first_hash = range.first;
    place->last_hash = range.last;
}

/* Without an etcd. */
static struct map_answer *map_of_one(struct cp_request *req)
{
    const struct cp_shard *shard = req->lane->shard;
    struct map_answer *answer = answer_new(req, 1, cp_shard_partitions(shard));
    answer->shards[0].name = shard->name;
    answer->shards[0].version = text(SY_VERSION);
    answer->shards[0].state = text("ready");
    answer->shards[0].partitions = cp_shard_partitions(shard);
    for (uint32_t i = 0; i < cp_shard_partitions(shard); i++) {
        answer->places[i].partition = i;
        answer->places[i].shard = shard->name;
        describe_range(&answer->places[i], cp_ranges_of(cp_ranges_get(&shard->ranges), i));
    }
    return answer;
}

static void describe_copies(struct sy_arena *arena, Switchyard__V1__PartitionPlace *place,
                            const struct cp_map_partition *p, bool owned)
{
    const struct cp_map_copy *beside = owned ? cp_map_copy_beside(p, p->owner) : NULL;
    place->in_sync = beside != NULL;
    place->standby = text(beside != NULL ? beside->shard : p->standby);
    place->alone_since_ns = p->alone_since_ns;
    if (owned)
        return;
    place->waits_for = sy_arena_alloc(arena, CP_MAP_COPIES_MAX * sizeof(char *));
    SY_ASSERT(place->waits_for != NULL);
    for (size_t i = 0; i < p->in_sync_count; i++)
        place->waits_for[place->n_waits_for++] = text(p->in_sync[i].shard);
}

static void describe_partition(struct sy_arena *arena, struct map_answer *answer,
                               const struct cp_map *map, size_t i, uint32_t target)
{
    const struct cp_map_partition *p = &map->partitions[i];
    Switchyard__V1__PartitionPlace *place = &answer->places[i];
    uint32_t owner = cp_map_owner(map, p);
    place->partition = p->number;
    place->opening = owner != CP_MAP_NONE && p->moving;
    place->wanted = text(p->wanted);
    describe_range(place, cp_map_range(map, p));
    if (owner != CP_MAP_NONE) {
        place->shard = text(map->shards[owner].name);
        answer->shards[owner].partitions++;
    }
    if (target != CP_MAP_NONE && target != owner)
        place->target = text(map->shards[target].name);
    if (map->local)
        describe_copies(arena, place, p, owner != CP_MAP_NONE);
}

static void describe_shard(Switchyard__V1__Shard *to, const struct cp_map_shard *from)
{
    to->name = text(from->name);
    to->endpoint = text(from->endpoint);
    to->version = text(from->version);
    to->since_ns = from->since_ns;
    to->state = text(!from->draining      ? "ready"
                     : from->slow         ? "slow disk"
                     : to->partitions > 0 ? "draining"
                                          : "drained");
}

static Switchyard__V1__GetRegionMapResponse *make_map(struct cp_request *req)
{
    struct cp_region *region = req->lane->shard->in_region;
    if (region == NULL)
        return &map_of_one(req)->message;
    const struct cp_map *map = cp_region_map(region);
    uint32_t *targets SY_AUTOFREE = sy_calloc(map->partition_count, sizeof(*targets));
    struct map_answer *answer = answer_new(req, map->shard_count, map->partition_count);
    answer->message.revision = map->revision;
    answer->message.local = map->local;
    answer->message.trouble = text(cp_region_trouble(region));
    cp_plan(map, targets);
    for (size_t i = 0; i < map->partition_count; i++)
        describe_partition(&req->lane->scratch, answer, map, i, targets[i]);
    for (size_t i = 0; i < map->shard_count; i++)
        describe_shard(&answer->shards[i], &map->shards[i]);
    return &answer->message;
}

static void get_region_map(struct cp_request *req)
{
    const struct cp_region *region = req->lane->shard->in_region;
    Switchyard__V1__GetRegionMapResponse *message = make_map(req);
    if (region != NULL)
        message->session_left_ns = cp_region_session_left_ns(region);
    cp_reply_message(req, &message->base);
}

/* ---- WatchRegionMap ---- */

struct map_watch {
    struct cp_region_watch watch;
    uint64_t told;   /* version */
    int64_t next_ns; /* nothing is sent before */
};

/* Once for all who watch. */
static const struct cp_map_told *map_now(struct cp_request *req)
{
    struct cp_map_told *map = &req->lane->shard->map_told;
    struct sy_buf packed = {0};
    if (map->version > 0 && !map->stale)
        return map;
    pb_pack(&make_map(req)->base, &packed);
    map->stale = false;
    if (map->version > 0 && packed.len == map->message.len &&
        memcmp(packed.data, map->message.data, packed.len) == 0) { /* its region's name is in it */
        sy_buf_deinit(&packed);
        return map;
    }
    sy_buf_deinit(&map->message);
    map->message = packed;
    map->version++;
    return map;
}

static void tell_map(struct cp_request *req, int64_t now_ns)
{
    struct map_watch *w = req->state;
    const struct cp_map_told *map = map_now(req);
    if (w->told == map->version)
        return;
    struct sy_buf message = sy_buf_copy(map->message.data, map->message.len);
    w->told = map->version;
    w->next_ns = now_ns + INTERVAL_NS;
    cp_stream_send(req, &message);
}

static void pump_map(struct cp_request *req)
{
    struct map_watch *w = req->state;
    int64_t now_ns = sy_loop_now_ns(req->lane->loop);
    if (req->lane->shard->stopping) {
        cp_fail(req, SY_CODE_UNAVAILABLE, "shard %s is stopping", req->lane->shard->name);
    } else if (now_ns < w->next_ns) {
        cp_stream_again_in(req, w->next_ns - now_ns);
    } else if (cp_stream_ready(req)) {
        tell_map(req, now_ns);
    }
}

static void release_map(struct cp_request *req)
{
    struct map_watch *w = req->state;
    cp_region_watch_end(&w->watch);
}

static void watch_region_map(struct cp_request *req)
{
    struct map_watch *w = cp_request_alloc(req, sizeof(*w));
    cp_region_watch_start(req, &w->watch, pump_map, release_map);
}

#define REGION_SERVICE "/switchyard.v1.RegionService/"

const struct cp_method cp_region_map_methods[] = {
    {.path = REGION_SERVICE "GetRegionMap",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__get_region_map_request__descriptor,
     .serve = get_region_map},
    {.path = REGION_SERVICE "WatchRegionMap",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &switchyard__v1__get_region_map_request__descriptor,
     .serve = watch_region_map},
    {0},
};
