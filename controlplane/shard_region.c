/*
 * A shard in its region: what ownership decides on the front goes to the lanes, what becomes of it
 * comes back, and calls for other shards' partitions go there.
 *
 *     front                                 lane
 *       | -- open (epoch) -----------------> | takes the partition
 *       | <-- opened ----------------------- | it serves, or was tried in vain
 *       | -- give, lose -------------------> | stops; at once
 *       | <-- closed ----------------------- | nothing of it is left (or it lapsed by itself)
 *       | <-- stalled ---------------------- | its disk is waited for (where the lane itself waits
 *       |                                    | for it, in an opening, the front has to see that)
 *
 *       | -- fork -------------------------> | its files, which nobody has open, are forked
 *       | <-- forked ----------------------- |
 *
 * Each of the eight is under way at most once, and those from one lane to another stay in order.
 */
#include "controlplane/shard_impl.h"

#include "base/mem.h"
#include "controlplane/events.h"
#include "controlplane/names.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANES_LOOK_NS (500 * SY_NS_PER_MS)
#define STAND_NS_MAX (3600 * SY_NS_PER_S)

/* ---- in the lane ---- */

static void tell_closed(struct cp_lane *lane)
{
    struct cp_owned *owned = &lane->owned;
    SY_ASSERT(owned->held);
    owned->held = false;
    owned->seen = cp_partition_epoch(lane->partition);
    cp_lane_post(lane, cp_front(lane->shard), &owned->closed);
}

static void given(void *arg)
{
    tell_closed(arg);
}

static void take(void *arg)
{
    struct cp_lane *lane = arg;
    lane->owned.taking = false;
    if (!lane->owned.held)
        return; /* it was lost meanwhile */
    cp_partition_take(lane->partition, lane->owned.epoch);
    cp_shard_look_soon(lane);
}

static void run_open(struct cp_post *post)
{
    struct cp_lane *lane = sy_container_of(post, struct cp_lane, owned.open);
    struct cp_owned *owned = &lane->owned;
    SY_ASSERT(!owned->held);
    owned->held = true;
    owned->told = owned->giving = false;
    owned->taking = true;
    cp_partition_set_lot(lane->partition, &owned->lot);
    if (cp_copying_yield(lane, take, lane))
        take(lane);
}

static void run_give(struct cp_post *post)
{
    struct cp_lane *lane = sy_container_of(post, struct cp_lane, owned.give);
    if (!lane->owned.held)
        return; /* it lapsed, and that was told */
    lane->owned.giving = true;
    lane->owned.no_split.text[0] = '\0';
    if (!cp_partition_splits(lane->partition, &lane->owned.no_split) &&
        lane->owned.no_split.text[0] == '\0')
        sy_error_text_set(&lane->owned.no_split, "it does not serve");
    if (cp_partition_away(lane->partition))
        tell_closed(lane);
    else
        cp_partition_give(lane->partition, given, lane);
}

static bool waits_for_disk(const struct cp_lane *lane)
{
    int64_t patience_ns = lane->shard->options.disk_patience_ns;
    return patience_ns > 0 && cp_partition_disk_waited_ns(lane->partition) >= patience_ns;
}

static void tell_forked(struct cp_lane *lane, const struct cp_forked_copies *made, const char *why)
{
    lane->owned.made = *made;
    sy_error_text_set(&lane->owned.why, "%s", why);
    cp_lane_post(lane, cp_front(lane->shard), &lane->owned.forked);
}

static void run_fork(struct cp_post *post)
{
    struct cp_lane *lane = sy_container_of(post, struct cp_lane, owned.fork);
    struct cp_owned *owned = &lane->owned;
    struct sy_error_text why = owned->no_split;
    SY_ASSERT(!owned->held);
    if (why.text[0] == '\0' && cp_copying_fork(lane, owned->epoch, tell_forked))
        return;
    int r = 0;
    if (why.text[0] == '\0')
        r = cp_partition_fork(lane->partition, owned->epoch, &why);
    if (r < 0 && why.text[0] == '\0')
        sy_error_text_set(&why, "%s", strerror(-r));
    tell_forked(lane, &(struct cp_forked_copies){0}, why.text);
}

static void run_lose(struct cp_post *post)
{
    struct cp_lane *lane = sy_container_of(post, struct cp_lane, owned.lose);
    struct cp_owned *owned = &lane->owned;
    if (!owned->held)
        return;
    bool giving = owned->giving;
    const char *why = waits_for_disk(lane) ? "the disk of this shard does not answer"
                                           : "the session of this shard may be over";
    bool away = cp_partition_away(lane->partition) ||
                cp_partition_abandon(lane->partition, why, given, lane);
    if (away && !giving)
        tell_closed(lane);
}

static void stalled_heard(struct cp_post *post)
{
    struct cp_lane *lane = sy_container_of(post, struct cp_lane, owned.stalled);
    lane->owned.stalling = false;
}

/* What is open at this moment is what the front knows to be: it is told in order. */
static void run_stalled(struct cp_post *post)
{
    struct cp_lane *lane = sy_container_of(post, struct cp_lane, owned.stalled);
    post->run = stalled_heard;
    cp_lane_post(cp_front(lane->shard), lane, post);
    cp_region_stalled(lane->shard->in_region, lane->index, lane->owned.epoch);
}

void cp_shard_region_look(struct cp_lane *lane)
{
    struct cp_owned *owned = &lane->owned;
    atomic_fetch_add(&owned->looks, 1);
    if (!owned->held || owned->taking)
        return;
    if (!owned->stalling && waits_for_disk(lane)) {
        owned->stalling = true;
        owned->stalled.run = run_stalled;
        cp_lane_post(lane, cp_front(lane->shard), &owned->stalled);
    }
    if (!owned->told &&
        (cp_partition_serving(lane->partition) || cp_partition_tried(lane->partition))) {
        owned->told = true;
        sy_error_text_set(&owned->why, "%s", cp_partition_reason(lane->partition));
        cp_lane_post(lane, cp_front(lane->shard), &owned->opened);
    }
    if (!owned->giving && cp_partition_away(lane->partition))
        tell_closed(lane);
}

/* ---- on the front ---- */

static void run_opened(struct cp_post *post)
{
    struct cp_lane *lane = sy_container_of(post, struct cp_lane, owned.opened);
    lane->owned.stand_ns_max = lane->shard->options.disk_patience_ns;
    lane->owned.stands = false;
    lane->owned.trouble = lane->owned.why;
    lane->owned.answered = true;
    cp_region_opened(lane->shard->in_region, lane->index, lane->owned.epoch);
    cp_shard_changed(lane->shard);
}

static void run_closed(struct cp_post *post)
{
    struct cp_lane *lane = sy_container_of(post, struct cp_lane, owned.closed);
    lane->owned.wanted = lane->owned.has = false;
    cp_region_closed(lane->shard->in_region, lane->index, lane->owned.epoch, lane->owned.seen);
}

/* Where the map is whole it shows all splits of the partition before its epoch: a split is one
 * write with a claim of the partition, and so was ours, which came after them. */
static void name_forks(const struct cp_map *map, const struct cp_map_partition *p,
                       struct cp_partition_lot *lot)
{
    struct cp_ranges *ranges = cp_map_ranges(map);
    bool whole = ranges != NULL;
    cp_ranges_free(ranges);
    for (size_t i = 0; whole && i < map->partition_count; i++) {
        const struct cp_map_partition *half = &map->partitions[i];
        if (half->parent_epoch == 0 || half->parent != p->number)
            continue;
        whole = lot->fork_count < CP_LOT_FORKS_MAX;
        if (whole)
            lot->forks[lot->fork_count++] = half->parent_epoch;
    }
    lot->forks_before = whole ? p->epoch : 0;
}

/* What the record that was claimed says; the whole map may be damaged elsewhere. */
struct cp_partition_lot cp_shard_lot(const struct cp_shard *shard, uint32_t partition)
{
    const struct cp_map *map = cp_region_map(shard->in_region);
    uint32_t at = cp_map_partition(map, partition);
    SY_ASSERT(at != CP_MAP_NONE);
    const struct cp_map_partition *p = &map->partitions[at];
    struct cp_partition_lot lot = {.range = cp_map_range(map, p),
                                   .split = p->parent_epoch != 0,
                                   .parent = p->parent,
                                   .parent_epoch = p->parent_epoch};
    name_forks(map, p, &lot);
    return lot;
}

/* Those of the records, once they are whole; until then as they were. */
static void read_ranges(struct cp_shard *shard)
{
    struct cp_ranges *ranges = cp_map_ranges(cp_region_map(shard->in_region));
    bool fits = ranges != NULL && cp_ranges_count(ranges) >= cp_shard_partitions(shard) &&
                cp_ranges_count(ranges) <= shard->room;
    if (fits && !cp_ranges_same(ranges, cp_ranges_get(&shard->ranges)))
        cp_ranges_set(&shard->ranges, ranges);
    else
        cp_ranges_free(sy_take(ranges));
    if (ranges != NULL) {
        cp_runs_watches_look(shard);
        cp_groups_watches_look(shard);
    }
}

/* Whoever else can have it is to: under a later epoch nothing is needed of what is open, or half
 * open, here (store_dirs.h), and the lane hears that it has lost it when the disk answers. It has
 * more time here the next time: it may be that partition that takes long, not the disk. */
static void stands_still(struct cp_lane *lane, int64_t stood_ns)
{
    struct cp_owned *owned = &lane->owned;
    uint64_t seconds = (uint64_t)(stood_ns / SY_NS_PER_S);
    cp_region_stalled(lane->shard->in_region, lane->index, owned->epoch);
    bool given_up = !owned->has;
    if (given_up && owned->stand_ns_max < STAND_NS_MAX)
        owned->stand_ns_max *= 2;
    if (owned->stands && !given_up)
        return;
    owned->stands = true;
    sy_error_text_set(&owned->trouble, "it waits for its disk, for %llu s by now",
                      (unsigned long long)seconds);
    sy_log(lane->shard->log, &cp_shard_events, CP_SHARD_EV_STANDS_STILL,
           SY_U64("partition", lane->index), SY_U64("seconds", seconds),
           SY_STR("what", given_up ? "given up, so that another shard takes it"
                                   : "it stays: no other shard can have it"));
}

/* An opening, and a read, wait for the disk in the lane's own turn, so it is the front that looks
 * whether a lane turns. It counts its own looks: who stood still with all of its process for a
 * while has not been unheard meanwhile. */
static void look_at_lanes(void *arg)
{
    struct cp_shard *shard = arg;
    for (uint32_t i = 0; i < shard->room; i++) {
        struct cp_lane *lane = &shard->lanes[i];
        struct cp_owned *owned = &lane->owned;
        uint32_t looks = atomic_load(&owned->looks);
        owned->unheard = looks == owned->looks_seen ? owned->unheard + 1 : 0;
        owned->looks_seen = looks;
        int64_t stood_ns = owned->unheard * LANES_LOOK_NS;
        if (owned->has && stood_ns > owned->stand_ns_max)
            stands_still(lane, stood_ns);
    }
    sy_timer_start_in(cp_front(shard)->loop, &shard->lanes_look, LANES_LOOK_NS);
}

static void open_partition(void *ctx, uint32_t partition, uint32_t epoch)
{
    struct cp_shard *shard = ctx;
    struct cp_lane *lane = &shard->lanes[partition];
    read_ranges(shard); /* it opens as one of so many */
    lane->owned.epoch = epoch;
    lane->owned.lot = cp_shard_lot(shard, partition);
    lane->owned.wanted = lane->owned.has = true;
    lane->owned.answered = false;
    lane->owned.trouble.text[0] = '\0';
    lane->owned.stands = false;
    lane->owned.unheard = 0;
    cp_copying_tell(lane);
    cp_lane_post(cp_front(shard), lane, &lane->owned.open);
}

static void give_partition(void *ctx, uint32_t partition)
{
    struct cp_shard *shard = ctx;
    struct cp_lane *lane = &shard->lanes[partition];
    lane->owned.wanted = false;
    cp_lane_post(cp_front(shard), lane, &lane->owned.give);
}

static void lose_partition(void *ctx, uint32_t partition)
{
    struct cp_shard *shard = ctx;
    struct cp_lane *lane = &shard->lanes[partition];
    lane->owned.wanted = lane->owned.has = false;
    cp_lane_post(cp_front(shard), lane, &lane->owned.lose);
}

static void fork_partition(void *ctx, uint32_t partition, uint32_t epoch)
{
    struct cp_shard *shard = ctx;
    struct cp_lane *lane = &shard->lanes[partition];
    SY_ASSERT(lane->owned.epoch == epoch);
    cp_lane_post(cp_front(shard), lane, &lane->owned.fork);
}

static void run_forked(struct cp_post *post)
{
    struct cp_lane *lane = sy_container_of(post, struct cp_lane, owned.forked);
    cp_region_forked(lane->shard->in_region, lane->index, lane->owned.epoch, &lane->owned.made,
                     lane->owned.why.text);
}

static void misfit(void *ctx, const char *why)
{
    struct cp_shard *shard = ctx;
    sy_log(shard->log, &cp_shard_events, CP_SHARD_EV_START_FAILED, SY_STR("error", why));
    if (shard->on_misfit != NULL)
        shard->on_misfit(shard->misfit_ctx, why);
}

/* ---- calls for other shards ---- */

struct cp_peer {
    struct cp_peer *next;
    char *endpoint;
    struct sy_channel *channel;
    struct sy_channel *carrier; /* through that one, on the front's loop */
};

/* Those who have left, on their way through all lanes: who found the channel there has used it
 * when they come by. Calls that it has begun keep it. */
struct leaving {
    struct cp_post post;
    struct cp_shard *shard;
    struct cp_peer *peers;
    uint32_t lane;
};

static void peers_free(struct cp_peer *peers)
{
    struct cp_peer *next;
    for (; peers != NULL; peers = next) {
        next = peers->next;
        sy_channel_free(peers->carrier);
        sy_channel_free(peers->channel);
        free(peers->endpoint);
        free(peers);
    }
}

static void drop_leaving(struct cp_post *post)
{
    struct leaving *leaving = sy_container_of(post, struct leaving, post);
    peers_free(leaving->peers);
    free(leaving);
}

static void pass_lane(struct cp_post *post)
{
    struct leaving *leaving = sy_container_of(post, struct leaving, post);
    struct cp_lane *lanes = leaving->shard->lanes;
    uint32_t at = leaving->lane++;
    if (leaving->lane < leaving->shard->lane_count)
        cp_lane_post(&lanes[at], &lanes[leaving->lane], post);
    else
        drop_leaving(post);
}

static bool has_left(const struct cp_shard *shard, const struct cp_map *map,
                     const struct cp_peer *peer)
{
    if (peer->channel == shard->self)
        return false;
    for (size_t i = 0; i < map->shard_count; i++) {
        if (strcmp(map->shards[i].endpoint, peer->endpoint) == 0)
            return false;
    }
    return true;
}

/* No lane leads to them any more. */
static void let_go(struct cp_shard *shard)
{
    const struct cp_map *map = cp_region_map(shard->in_region);
    struct cp_peer **at = &shard->peers, *gone = NULL, *peer;
    if (shard->peers_revision == map->revision)
        return;
    shard->peers_revision = map->revision;
    while ((peer = *at) != NULL) {
        if (!has_left(shard, map, peer)) {
            at = &peer->next;
            continue;
        }
        *at = peer->next;
        peer->next = gone;
        gone = peer;
        cp_tokens_forget(shard, peer->channel);
        cp_forwards_end_to(shard->forwards, peer->channel, peer->carrier);
    }
    if (gone == NULL)
        return;
    struct leaving *leaving = sy_new(struct leaving);
    *leaving = (struct leaving){{.run = pass_lane, .drop = drop_leaving}, shard, gone, 0};
    cp_lane_post(cp_front(shard), &shard->lanes[0], &leaving->post);
}

static struct cp_peer *find_peer(struct cp_shard *shard, const char *endpoint)
{
    struct cp_peer *peer = shard->peers;
    while (peer != NULL && strcmp(peer->endpoint, endpoint) != 0)
        peer = peer->next;
    if (peer == NULL) {
        peer = sy_new(struct cp_peer);
        struct sy_channel *channel = sy_channel_new(shard->rpc, endpoint);
        *peer = (struct cp_peer){shard->peers, sy_strdup(endpoint), channel,
                                 sy_channel_carry(channel, cp_front(shard)->loop)};
        shard->peers = peer;
    }
    return peer;
}

struct sy_channel *cp_shard_channel(struct cp_shard *shard, const char *endpoint)
{
    return find_peer(shard, endpoint)->channel;
}

size_t cp_shard_peers(const struct cp_shard *shard)
{
    size_t count = 0;
    for (const struct cp_peer *peer = shard->peers; peer != NULL; peer = peer->next)
        count++;
    return count;
}

struct sy_channel *cp_shard_route(void *arg, uint32_t partition)
{
    const struct cp_shard *shard = arg;
    return atomic_load(&shard->lanes[partition].owned.channel);
}

/* Of what the front passes on. */
static struct sy_channel *route_carried(void *arg, uint32_t partition)
{
    const struct cp_shard *shard = arg;
    return shard->lanes[partition].owned.carrier;
}

bool cp_shard_has(const struct cp_shard *shard, uint32_t partition)
{
    return shard->in_region == NULL ||
           atomic_load(&shard->lanes[partition].owned.channel) == shard->self;
}

static void changed(void *ctx)
{
    struct cp_shard *shard = ctx;
    read_ranges(shard);
    for (uint32_t i = 0; i < shard->room; i++) {
        const char *endpoint = cp_region_elsewhere(shard->in_region, i);
        if (endpoint == NULL && cp_region_ours(shard->in_region, i))
            endpoint = shard->options.endpoint; /* it is being opened: asked until it is */
        struct cp_peer *peer = endpoint != NULL ? find_peer(shard, endpoint) : NULL;
        shard->lanes[i].owned.carrier = peer != NULL ? peer->carrier : NULL;
        atomic_store(&shard->lanes[i].owned.channel, peer != NULL ? peer->channel : NULL);
        cp_copying_tell(&shard->lanes[i]);
    }
    let_go(shard);
    cp_shard_changed(shard);
}

bool cp_shard_serves(const struct cp_shard *shard, uint32_t partition)
{
    const struct cp_lane *lane = &shard->lanes[partition];
    const struct cp_owned *owned = &lane->owned;
    /* What was heard may be of when we had it before. */
    return lane->serving.heard && (shard->in_region == NULL || (owned->wanted && owned->answered));
}

uint32_t cp_shard_any(const struct cp_shard *shard)
{
    uint32_t elsewhere = 0;
    for (uint32_t i = 0; i < cp_shard_partitions(shard); i++) {
        if (cp_shard_serves(shard, i))
            return i;
        if (shard->in_region != NULL && cp_region_elsewhere(shard->in_region, i) != NULL)
            elsewhere = i;
    }
    return elsewhere;
}

static uint32_t find_now(void *ctx, uint64_t hash)
{
    return cp_shard_find(ctx, hash);
}

/* `hash`: of what it is about; NULL: the partition. */
static void pass_on(const struct cp_shard *shard, struct cp_forwards *forwards,
                    struct sy_call *call, uint32_t partition, const uint64_t *hash,
                    const struct cp_address *about, bool stream, struct sy_span request)
{
    struct cp_forward_to to = {.partition = partition};
    char run[3 * (CP_NAME_LENGTH_MAX + 1)];
    bool named = about->run != NULL; /* it may have been made here */
    if (hash != NULL) {
        to.find = find_now;
        to.hash = *hash;
    }
    if (named)
        snprintf(run, sizeof(run), "%s/%s/%s", about->project, about->domain, about->run);
    if (sy_call_metadata(call, CP_FORWARDED_KEY) != NULL)
        cp_ask_refuse(call, partition, shard->name);
    else
        cp_forward(forwards, call, &to, named ? run : NULL, stream, request);
}

bool cp_shard_forward(struct cp_shard *shard, struct sy_call *call, uint32_t partition,
                      const uint64_t *hash, const struct cp_address *about, bool stream,
                      struct sy_span request)
{
    if (shard->in_region == NULL || cp_shard_serves(shard, partition))
        return false;
    pass_on(shard, shard->forwards, call, partition, hash, about, stream, request);
    return true;
}

bool cp_lane_gone(const struct cp_lane *lane)
{
    const struct cp_owned *owned = &lane->owned;
    return lane->shard->in_region != NULL &&
           (!owned->held || owned->giving || cp_partition_away(lane->partition));
}

void cp_lane_forward(struct cp_lane *lane, struct sy_call *call, const uint64_t *hash,
                     const struct cp_address *about, struct sy_span request)
{
    pass_on(lane->shard, lane->forwards, call, lane->index, hash, about, false, request);
}

/* ---- life ---- */

void cp_shard_on_misfit(struct cp_shard *shard, void (*fn)(void *ctx, const char *why), void *ctx)
{
    SY_ASSERT(shard->on_misfit == NULL);
    shard->on_misfit = fn;
    shard->misfit_ctx = ctx;
}

void cp_shard_region_init(struct cp_shard *shard, struct sy_loop *loop,
                          const struct cp_region_options *options)
{
    struct cp_region_sink sink = {.open = open_partition,
                                  .give = give_partition,
                                  .lose = lose_partition,
                                  .fork = fork_partition,
                                  .changed = changed,
                                  .misfit = misfit,
                                  .ctx = shard};
    for (uint32_t i = 0; i < shard->room; i++) {
        struct cp_owned *owned = &shard->lanes[i].owned;
        owned->stand_ns_max = shard->options.disk_patience_ns;
        owned->open.run = run_open;
        owned->give.run = run_give;
        owned->lose.run = run_lose;
        owned->opened.run = run_opened;
        owned->closed.run = run_closed;
        owned->fork.run = run_fork;
        owned->forked.run = run_forked;
    }
    sy_timer_init(&shard->lanes_look, look_at_lanes, shard);
    if (shard->options.disk_patience_ns > 0)
        sy_timer_start_in(loop, &shard->lanes_look, LANES_LOOK_NS);
    shard->self = cp_shard_channel(shard, shard->options.endpoint);
    cp_forwards_new(&shard->forwards, loop, route_carried, shard);
    for (uint32_t i = 0; i < shard->room; i++)
        cp_forwards_new(&shard->lanes[i].forwards, shard->lanes[i].loop, cp_shard_route, shard);
    cp_region_new(&shard->in_region, shard->rpc, loop, &shard->rng, shard->log, options, &sink);
}

void cp_shard_region_deinit(struct cp_shard *shard)
{
    sy_timer_stop(cp_front(shard)->loop, &shard->lanes_look);
    cp_forwards_free(shard->forwards);
    for (uint32_t i = 0; i < shard->room; i++)
        cp_forwards_free(shard->lanes[i].forwards);
    cp_region_free(shard->in_region);
    peers_free(sy_take(shard->peers));
    sy_buf_deinit(&shard->map_told.message);
}
