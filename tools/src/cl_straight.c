#include "tools/src/cl_straight.h"

#include "base/mem.h"
#include "proto/pb.h"
#include "tools/src/cl_methods.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define AGAIN_NS SY_NS_PER_S
#define KEY_MAX 1024

struct peer {
    struct peer *next;
    char *endpoint;
    struct sy_channel *channel, *carrier;
};

struct cl_straight {
    struct cl_client *client;
    struct sy_call *call; /* WatchRegionMap; NULL: between two */
    struct sy_timer again;
    struct sy_channel *carrier; /* to the endpoint */
    struct peer *peers;         /* all that were ever told of */
    struct part {
        uint64_t first, last;       /* hashes of its runs */
        struct sy_channel *channel; /* NULL: the endpoint's */
    } * parts;
    uint32_t count;
};

uint64_t cl_hash_of(const char *project, const char *domain, const char *run)
{
    const char *const parts[] = {project, domain, run};
    char key[KEY_MAX];
    size_t len = 0;
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(parts[i]) + 1;
        if (n > sizeof(key) - len)
            return 0; /* no name of a run: whoever is asked says so */
        memcpy(key + len, parts[i], n);
        len += n;
    }
    return XXH3_64bits(key, len);
}

static uint32_t even_part(uint64_t hash, uint32_t count)
{
    return (uint32_t)(((unsigned __int128)hash * count) >> 64);
}

uint32_t cl_partition_of(const char *project, const char *domain, const char *run, uint32_t count)
{
    return even_part(cl_hash_of(project, domain, run), count);
}

/* ---- the map ---- */

static struct sy_channel *channel_to(struct cl_straight *straight, const char *endpoint)
{
    struct peer *peer = straight->peers;
    if (*endpoint == '\0' || strcmp(endpoint, straight->client->options.endpoint) == 0)
        return NULL;
    while (peer && strcmp(peer->endpoint, endpoint) != 0)
        peer = peer->next;
    if (!peer) {
        peer = sy_new(struct peer);
        struct sy_channel *channel = sy_channel_new(straight->client->rpc, endpoint);
        *peer = (struct peer){straight->peers, sy_strdup(endpoint), channel,
                              sy_channel_carry(channel, straight->client->loop)};
        straight->peers = peer;
    }
    return peer->carrier;
}

static struct sy_channel *owner(struct cl_straight *straight,
                                const Switchyard__V1__GetRegionMapResponse *map, const char *shard)
{
    for (size_t i = 0; i < map->n_shards; i++) {
        if (strcmp(map->shards[i]->name, shard) == 0)
            return channel_to(straight, map->shards[i]->endpoint);
    }
    return NULL;
}

static void on_map(void *ctx, struct sy_span bytes)
{
    struct cl_straight *straight = ctx;
    struct sy_arena arena SY_CLEANUP(sy_arena_deinit);
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__GetRegionMapResponse *map = pb_unpack(
        &switchyard__v1__get_region_map_response__descriptor, &arena, bytes);
    if (!map)
        return;
    free(straight->parts);
    straight->count = (uint32_t)map->n_partitions;
    straight->parts = sy_calloc(straight->count, sizeof(*straight->parts));
    for (uint32_t i = 0; i < straight->count; i++) {
        const Switchyard__V1__PartitionPlace *place = map->partitions[i];
        straight->parts[i] = (struct part){place->first_hash, place->last_hash,
                                           owner(straight, map, place->shard)};
    }
}

static void on_map_closed(void *ctx, const struct sy_status *status)
{
    struct cl_straight *straight = ctx;
    sy_call_unref(sy_take(straight->call));
    cl_wake(straight->client);
    if (status->code != SY_CODE_UNIMPLEMENTED) /* by a shard of an older version */
        sy_timer_start_in(straight->client->loop, &straight->again, AGAIN_NS);
}

static void ask(void *arg)
{
    static const struct sy_call_sink sink = {.on_message = on_map, .on_closed = on_map_closed};
    struct cl_straight *straight = arg;
    struct cl_client *client = straight->client;
    struct sy_call_options options = {.method = cl_watch_region_map.path};
    struct sy_buf request = {0};
    straight->call = sy_channel_open(client->channel, client->loop, &options, &sink, straight);
    int r = sy_call_send(straight->call, &request); /* an empty message has no bytes */
    SY_ASSERT(r == 0);
    sy_call_half_close(straight->call);
}

/* ---- what others use ---- */

void cl_straight_begin(struct cl_client *client)
{
    SY_ASSERT(!client->straight);
    client->straight = sy_new(struct cl_straight);
    *client->straight = (struct cl_straight){.client = client};
    client->straight->carrier = sy_channel_carry(client->channel, client->loop);
    sy_timer_init(&client->straight->again, ask, client->straight);
    ask(client->straight);
}

/* NULL: no map that has all is known. */
static const struct part *part_of(const struct cl_straight *straight, uint64_t hash)
{
    for (uint32_t i = 0; i < straight->count; i++) {
        const struct part *part = &straight->parts[i];
        if (hash >= part->first && hash <= part->last && part->last != 0)
            return part;
    }
    bool older = straight->count > 0 && straight->parts[straight->count - 1].last == 0;
    return older ? &straight->parts[even_part(hash, straight->count)] : NULL;
}

struct sy_channel *cl_straight_channel(const struct cl_client *client, const char *run)
{
    const struct cl_options *o = &client->options;
    if (!client->straight)
        return client->channel;
    const struct part *part = part_of(client->straight, cl_hash_of(o->project, o->domain, run));
    return part && part->channel ? part->channel : client->straight->carrier;
}

void cl_straight_avoid(struct cl_client *client, const struct sy_channel *channel)
{
    struct cl_straight *straight = client->straight;
    for (uint32_t i = 0; straight && i < straight->count; i++) {
        if (straight->parts[i].channel == channel)
            straight->parts[i].channel = NULL;
    }
}

void cl_straight_end(struct cl_client *client)
{
    struct cl_straight *straight = client->straight;
    if (!straight)
        return;
    if (straight->call)
        sy_call_finish(straight->call, NULL);
    while (straight->call) { /* its end comes soon */
        int r = sy_loop_run(client->loop);
        SY_ASSERT(r == 0);
    }
    sy_timer_stop(client->loop, &straight->again);
    client->straight = NULL;
    while (straight->peers) {
        struct peer *peer = straight->peers;
        straight->peers = peer->next;
        sy_channel_free(peer->carrier);
        sy_channel_free(peer->channel);
        free(peer->endpoint);
        free(peer);
    }
    sy_channel_free(straight->carrier);
    free(straight->parts);
    free(straight);
}
