/* switchyard.v1.RegionService: which shard has what, by the region's records as this shard has read
 * them. */
#include "controlplane/region_plan.h"
#include "controlplane/shard_impl.h"

#include "base/mem.h"
#include "version.h"

#include "switchyard/v1/region_service.pb-c.h"

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; /* packing only reads */
}

struct map_answer {
    Switchyard__V1__GetRegionMapResponse message;
    Switchyard__V1__Shard *shards, **shard_list;
    Switchyard__V1__PartitionPlace *places, **place_list;
};

static struct map_answer *answer_new(struct cp_request *req, size_t shards, size_t places)
{
    struct map_answer *answer = cp_request_alloc(req, sizeof(*answer));
    answer->shards = cp_request_alloc(req, shards * sizeof(*answer->shards));
    answer->shard_list = cp_request_alloc(req, shards * sizeof(void *));
    answer->places = cp_request_alloc(req, places * sizeof(*answer->places));
    answer->place_list = cp_request_alloc(req, places * sizeof(void *));
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

/* Without an etcd. */
static void reply_map_of_one(struct cp_request *req)
{
    const struct cp_shard *shard = req->lane->shard;
    struct map_answer *answer = answer_new(req, 1, shard->options.partitions);
    answer->shards[0].name = shard->name;
    answer->shards[0].version = text(SY_VERSION);
    answer->shards[0].state = text("ready");
    answer->shards[0].partitions = shard->options.partitions;
    for (uint32_t i = 0; i < shard->options.partitions; i++) {
        answer->places[i].partition = i;
        answer->places[i].shard = shard->name;
    }
    cp_reply_message(req, &answer->message.base);
}

static void describe_partition(struct map_answer *answer, const struct cp_map *map, size_t i,
                               uint32_t target)
{
    const struct cp_map_partition *p = &map->partitions[i];
    Switchyard__V1__PartitionPlace *place = &answer->places[i];
    uint32_t owner = cp_map_owner(map, p);
    place->partition = p->number;
    place->opening = owner != CP_MAP_NONE && p->moving;
    place->wanted = text(p->wanted);
    if (owner != CP_MAP_NONE) {
        place->shard = text(map->shards[owner].name);
        answer->shards[owner].partitions++;
    }
    if (target != CP_MAP_NONE && target != owner)
        place->target = text(map->shards[target].name);
}

static void get_region_map(struct cp_request *req)
{
    struct cp_region *region = req->lane->shard->in_region;
    if (region == NULL) {
        reply_map_of_one(req);
        return;
    }
    const struct cp_map *map = cp_region_map(region);
    uint32_t *targets SY_AUTOFREE = sy_calloc(map->partition_count, sizeof(*targets));
    struct map_answer *answer = answer_new(req, map->shard_count, map->partition_count);
    answer->message.revision = map->revision;
    answer->message.session_left_ns = cp_region_session_left_ns(region);
    answer->message.trouble = text(cp_region_trouble(region));
    cp_plan(map, targets);
    for (size_t i = 0; i < map->partition_count; i++)
        describe_partition(answer, map, i, targets[i]);
    for (size_t i = 0; i < map->shard_count; i++) {
        const struct cp_map_shard *from = &map->shards[i];
        Switchyard__V1__Shard *to = &answer->shards[i];
        to->name = text(from->name);
        to->endpoint = text(from->endpoint);
        to->version = text(from->version);
        to->since_ns = from->since_ns;
        to->state = text(!from->draining ? "ready" : to->partitions > 0 ? "draining" : "drained");
    }
    cp_reply_message(req, &answer->message.base);
}

const struct cp_method cp_region_map_methods[] = {
    {.path = "/switchyard.v1.RegionService/GetRegionMap",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__get_region_map_request__descriptor,
     .serve = get_region_map},
    {0},
};
