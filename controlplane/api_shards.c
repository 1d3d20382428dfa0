/*
 * switchyard.v1.RegionService: people's orders about which shard has what. An order writes what is
 * wanted into the region's records, or changes the mode of the shard that it names;
 * the shards then do the rest by themselves (ownership.h). What stays here is to watch the records
 * until it is so, and to say it: an order in progress is looked at again whenever they change.
 *
 * An order that names a shard is carried out by that one: only it writes its own record, and it
 * knows why it cannot open a partition.
 */
#include "controlplane/shard_impl.h"

#include "base/mem.h"
#include "controlplane/names.h"
#include "controlplane/region_plan.h"
#include "proto/pb.h"

#include "switchyard/v1/region_service.pb-c.h"

#include <stdlib.h>
#include <string.h>

/* An order is answered that long before its deadline, so that the caller reads why. */
#define MARGIN_NS (200 * SY_NS_PER_MS)

struct order {
    struct cp_region_watch watch;
    struct cp_region_want *want; /* a write that etcd has not answered yet */
    uint32_t epoch;              /* of a split: of the record that it was decided from */
    int64_t decided;             /* revision of the map that it was decided from */
    bool unanswered;             /* etcd did not, in time */
    bool fresh;                  /* our copy shows all that was written before the order came */
    bool wished;                 /* the records have shown what we wrote */
    struct sy_buf told;          /* a stream's last message */
    bool telling;                /* there is one */
};

static struct cp_region *region_of(const struct cp_request *req)
{
    return req->lane->shard->in_region;
}

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; /* packing only reads */
}

/* ---- which shard ---- */

/* False: the request has failed. */
static bool has_records(struct cp_request *req)
{
    const struct cp_shard *shard = req->lane->shard;
    if (shard->in_region == NULL)
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                "region %s is one shard, without an etcd: there is nothing to move or to split",
                shard->region);
    else if (cp_region_map(shard->in_region)->revision == 0)
        cp_fail(req, SY_CODE_UNAVAILABLE,
                "shard %s has not read the records of region %s yet (%s); nothing was changed",
                shard->name, shard->region, cp_region_trouble(shard->in_region));
    else
        return true;
    return false;
}

/* False: the request has failed, or has gone to the shard that it names. */
static bool is_here(struct cp_request *req, const char *name)
{
    struct cp_shard *shard = req->lane->shard;
    if (!has_records(req))
        return false;
    if (strcmp(name, shard->name) == 0)
        return true;
    const struct cp_map *map = cp_region_map(shard->in_region);
    uint32_t at = cp_map_shard(map, name);
    if (at == CP_MAP_NONE)
        cp_fail(req, SY_CODE_NOT_FOUND, "there is no shard '%s' in region %s now", name,
                shard->region);
    else if (sy_call_metadata(req->call, CP_FORWARDED_KEY) != NULL)
        cp_fail(req, SY_CODE_UNAVAILABLE,
                "where shard '%s' should be, shard %s answers; nothing was changed", name,
                shard->name);
    else
        cp_request_forward_to(req, cp_shard_channel(shard, map->shards[at].endpoint));
    return false;
}

/* False: the request has failed. This shard can neither write nor tell what others have done. */
static bool can_act(struct cp_request *req)
{
    const struct order *order = req->state;
    if (cp_region_self(region_of(req)) != NULL)
        return true;
    const char *become = order == NULL || order->decided == 0 ? "nothing was changed"
                         : order->wished ? "the order stands, and goes on when it is back"
                                         : "whether the order was taken is not known";
    if (cp_region_mode(region_of(req)) >= CP_OWNERSHIP_STOPS)
        cp_fail(req, SY_CODE_UNAVAILABLE, "shard %s is stopping; %s", req->lane->shard->name,
                become);
    else
        cp_fail(req, SY_CODE_UNAVAILABLE, "shard %s has lost touch with etcd (%s); %s",
                req->lane->shard->name, cp_region_trouble(region_of(req)), become);
    return false;
}

/* ---- orders in progress ---- */

static void release(struct cp_request *req)
{
    struct order *order = req->state;
    cp_region_want_forget(order->want);
    cp_region_watch_end(&order->watch);
    sy_buf_deinit(&order->told);
}

static void begin(struct cp_request *req, void (*pump)(struct cp_request *req))
{
    struct order *order = cp_request_alloc(req, sizeof(*order));
    cp_region_watch_start(req, &order->watch, pump, release);
}

static void on_written(void *ctx, enum cp_coord_result result)
{
    struct order *order = ctx;
    order->want = NULL;
    order->unanswered = result == CP_COORD_UNKNOWN;
    order->fresh = order->fresh || result == CP_COORD_DONE; /* it shows what we wrote */
    cp_stream_again_in(order->watch.req, 0);
}

/* Writes that these be on `wanted`. After a write that came too late it waits for what came before
 * it. False: the request has failed. */
static bool wish(struct cp_request *req, const uint32_t *partitions, size_t count,
                 const char *wanted)
{
    struct order *order = req->state;
    int64_t revision = cp_region_map(region_of(req))->revision;
    SY_ASSERT(order->want == NULL && !order->wished);
    if (order->unanswered) {
        cp_fail(req, SY_CODE_UNAVAILABLE,
                "etcd did not answer: whether the order was taken is not known, `switchyard region "
                "map` shows it later");
        return false;
    }
    if (order->decided < revision) {
        order->decided = revision;
        order->want = cp_region_want(region_of(req), partitions, count, wanted, on_written, order);
    }
    return true;
}

/* True: there is no time left, and the request has failed with that sentence. */
static bool is_late(struct cp_request *req, const char *why)
{
    int64_t left_ns = sy_call_deadline_ns(req->call) - MARGIN_NS - sy_loop_now_ns(req->lane->loop);
    if (left_ns <= 0)
        cp_fail(req, SY_CODE_DEADLINE_EXCEEDED, "not done yet, it goes on: %s", why);
    else if (sy_call_deadline_ns(req->call) != SY_TIME_NEVER && !sy_timer_running(&req->timer))
        cp_stream_again_in(req, left_ns);
    return left_ns <= 0;
}

/* ---- MovePartition ---- */

static int move_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__MovePartitionRequest *m = req->message;
    const struct cp_shard *shard = req->lane->shard;
    if (m->partition >= cp_shard_partitions(shard)) {
        sy_error_text_set(error, "partition %u: region %s has partitions 0 to %u", m->partition,
                          shard->region, cp_shard_partitions(shard) - 1);
        return -EINVAL;
    }
    return m->shard[0] != '\0' ? cp_name_check("shard", m->shard, error) : 0;
}

static void reply_move(struct cp_request *req, const char *shard)
{
    Switchyard__V1__MovePartitionResponse response = SWITCHYARD__V1__MOVE_PARTITION_RESPONSE__INIT;
    response.shard = text(shard);
    cp_reply_message(req, &response.base);
}

/* It is wanted here; the records say so. */
static void wait_here(struct cp_request *req, const char *owner, uint32_t partition)
{
    const struct cp_shard *shard = req->lane->shard;
    struct sy_error_text why;
    if (strcmp(owner, shard->name) != 0)
        sy_error_text_set(&why, "partition %u is not here yet, shard '%s' has it", partition,
                          owner);
    else
        sy_error_text_set(&why, "partition %u is being opened", partition);
    if (strcmp(owner, shard->name) == 0 && cp_shard_serves(shard, partition))
        reply_move(req, shard->name);
    else if (shard->lanes[partition].owned.trouble.text[0] != '\0')
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                "shard %s has partition %u and cannot open it, it goes on trying: %s", shard->name,
                partition, shard->lanes[partition].owned.trouble.text);
    else
        (void)is_late(req, why.text);
}

/* It may be anywhere, which others decide. */
static void wait_there(struct cp_request *req, const struct cp_map *map, uint32_t at)
{
    uint32_t *targets SY_AUTOFREE = sy_calloc(map->partition_count, sizeof(*targets));
    const struct cp_map_partition *p = &map->partitions[at];
    uint32_t owner = cp_map_owner(map, p);
    cp_plan(map, targets);
    bool there = owner != CP_MAP_NONE && (targets[at] == owner || targets[at] == CP_MAP_NONE);
    if (there && !p->moving)
        reply_move(req, map->shards[owner].name);
    else
        (void)is_late(req, "the partition is still under way");
}

static void pump_move(struct cp_request *req)
{
    const Switchyard__V1__MovePartitionRequest *m = req->message;
    struct order *order = req->state;
    const struct cp_map *map = cp_region_map(region_of(req));
    uint32_t at = cp_map_partition(map, m->partition);
    if (order->want != NULL || !can_act(req))
        return;
    if (at == CP_MAP_NONE) {
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                "the region's record of partition %u is missing or damaged", m->partition);
        return;
    }
    const struct cp_map_partition *p = &map->partitions[at];
    bool shown = strcmp(p->wanted, m->shard) == 0;
    order->wished = order->fresh; /* else our copy may be behind: it is written anyway */
    if (m->shard[0] != '\0' && cp_region_self(region_of(req))->draining) {
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                "shard %s is draining and takes no partition; undrain it first", m->shard);
    } else if (!order->wished) {
        (void)wish(req, &m->partition, 1, m->shard);
    } else if (!shown) {
        cp_fail(req, SY_CODE_ABORTED, "a later order wants partition %u on %s%s: that one holds",
                m->partition, p->wanted[0] != '\0' ? "shard " : "any shard", p->wanted);
    } else {
        uint32_t owner = cp_map_owner(map, p);
        if (m->shard[0] == '\0')
            wait_there(req, map, at);
        else
            wait_here(req, owner != CP_MAP_NONE ? map->shards[owner].name : "", m->partition);
    }
}

static void move_partition(struct cp_request *req)
{
    const Switchyard__V1__MovePartitionRequest *m = req->message;
    if (m->shard[0] != '\0' ? is_here(req, m->shard) : has_records(req))
        begin(req, pump_move);
}

/* ---- SplitPartition ---- */

static int split_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__SplitPartitionRequest *m = req->message;
    const struct cp_shard *shard = req->lane->shard;
    if (m->partition >= cp_shard_partitions(shard)) {
        sy_error_text_set(error, "partition %u: region %s has partitions 0 to %u", m->partition,
                          shard->region, cp_shard_partitions(shard) - 1);
        return -EINVAL;
    }
    if (m->at <= UINT8_MAX)
        return 0;
    sy_error_text_set(error, "at %u: expected 1 to 255", m->at);
    return -EINVAL;
}

/* NULL: the records do not show it. */
static const struct cp_map_partition *find_half(const struct cp_map *map, uint32_t parent,
                                                uint32_t epoch)
{
    for (size_t i = 0; i < map->partition_count; i++) {
        const struct cp_map_partition *p = &map->partitions[i];
        if (p->parent_epoch == epoch && p->parent == parent)
            return p;
    }
    return NULL;
}

/* What another shard has may only have been tried, of that the records tell no more. */
static bool is_served(const struct cp_request *req, const struct cp_map *map,
                      const struct cp_map_partition *p)
{
    const struct cp_shard *shard = req->lane->shard;
    uint32_t owner = cp_map_owner(map, p);
    if (owner == CP_MAP_NONE || p->moving)
        return false;
    return strcmp(map->shards[owner].name, shard->name) != 0 || cp_shard_serves(shard, p->number);
}

static void begin_split(struct cp_request *req, uint32_t epoch)
{
    const Switchyard__V1__SplitPartitionRequest *m = req->message;
    struct order *order = req->state;
    struct sy_error_text error;
    uint8_t place = (uint8_t)m->at;
    order->decided = cp_region_map(region_of(req))->revision;
    order->epoch = epoch;
    if (cp_region_split(region_of(req), m->partition, m->at != 0 ? &place : NULL, &error) < 0)
        cp_fail(req, SY_CODE_FAILED_PRECONDITION, "%s; nothing was changed", error.text);
}

static void pump_split(struct cp_request *req)
{
    const Switchyard__V1__SplitPartitionRequest *m = req->message;
    struct order *order = req->state;
    const struct cp_map *map = cp_region_map(region_of(req));
    uint32_t at = cp_map_partition(map, m->partition);
    const struct cp_map_partition *half = find_half(map, m->partition, order->epoch);
    order->wished = half != NULL;
    if (!can_act(req))
        return;
    if (at == CP_MAP_NONE) {
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                "the region's record of partition %u is missing or damaged", m->partition);
    } else if (order->epoch == 0) {
        begin_split(req, map->partitions[at].epoch);
    } else if (half != NULL && is_served(req, map, half) &&
               is_served(req, map, &map->partitions[at])) {
        Switchyard__V1__SplitPartitionResponse response =
            SWITCHYARD__V1__SPLIT_PARTITION_RESPONSE__INIT;
        response.partition = half->number;
        cp_reply_message(req, &response.base);
    } else if (half == NULL && map->partitions[at].epoch != order->epoch) {
        const char *why = cp_region_split_why(region_of(req), m->partition);
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                "partition %u was not split, and goes on as it was: %s", m->partition,
                why[0] != '\0' ? why : "another order, or shard, came between");
    } else {
        (void)is_late(req, half != NULL ? "the halves are being opened"
                                        : "the partition is being closed and forked");
    }
}

/* The shard that has it does it. */
static void split_partition(struct cp_request *req)
{
    const Switchyard__V1__SplitPartitionRequest *m = req->message;
    if (!has_records(req))
        return;
    const struct cp_map *map = cp_region_map(region_of(req));
    uint32_t at = cp_map_partition(map, m->partition);
    uint32_t owner = at != CP_MAP_NONE ? cp_map_owner(map, &map->partitions[at]) : CP_MAP_NONE;
    if (owner == CP_MAP_NONE)
        cp_fail(req, SY_CODE_UNAVAILABLE, "no shard has partition %u now; nothing was changed",
                m->partition);
    else if (is_here(req, map->shards[owner].name))
        begin(req, pump_split);
}

/* ---- moves ---- */

struct moves {
    Switchyard__V1__PartitionMove *items, **list;
    size_t count;
};

static void add_move(struct moves *moves, const struct cp_map *map,
                     const struct cp_map_partition *p, uint32_t target)
{
    uint32_t owner = cp_map_owner(map, p);
    Switchyard__V1__PartitionMove *move = &moves->items[moves->count];
    switchyard__v1__partition_move__init(move);
    move->partition = p->number;
    move->from = text(owner != CP_MAP_NONE && owner != target ? map->shards[owner].name : "");
    move->to = text(target != CP_MAP_NONE ? map->shards[target].name : "");
    move->state = text(owner == CP_MAP_NONE ? "moves" : owner == target ? "opens" : "waits");
    moves->list[moves->count++] = move;
}

/* What is not where the plan wants it, or not open yet; `from`: only what that shard has. Lives in
 * the arena. */
static struct moves find_moves(const struct cp_map *map, uint32_t from, struct sy_arena *arena)
{
    size_t n = map->partition_count;
    uint32_t *targets SY_AUTOFREE = sy_calloc(n, sizeof(*targets));
    struct moves moves = {.items = sy_arena_alloc(arena, n * sizeof(*moves.items)),
                          .list = sy_arena_alloc(arena, n * sizeof(void *))};
    SY_ASSERT(moves.items != NULL && moves.list != NULL); /* CP_MAP_PARTITIONS_MAX at most */
    cp_plan(map, targets);
    for (size_t i = 0; i < n; i++) {
        uint32_t owner = cp_map_owner(map, &map->partitions[i]);
        bool stays = owner == targets[i] && !map->partitions[i].moving;
        if (from != CP_MAP_NONE ? owner == from : !stays)
            add_move(&moves, map, &map->partitions[i], targets[i]);
    }
    return moves;
}

/* Unless it was told last. */
static void tell(struct cp_request *req, const struct moves *moves)
{
    Switchyard__V1__RegionMoves message = SWITCHYARD__V1__REGION_MOVES__INIT;
    message.n_moves = moves->count;
    message.moves = moves->list;
    struct order *order = req->state;
    struct sy_buf packed = {0};
    pb_pack(&message.base, &packed);
    if (order->telling && packed.len == order->told.len &&
        (packed.len == 0 || memcmp(packed.data, order->told.data, packed.len) == 0)) {
        sy_buf_deinit(&packed);
        return;
    }
    sy_buf_deinit(&order->told);
    order->told = sy_buf_copy(packed.data, packed.len);
    order->telling = true;
    cp_stream_send(req, &packed);
}

/* ---- RebalanceRegion ---- */

/* Takes the wishes away, as many as one write takes, and writes once where there are none: else a
 * copy that is behind might show nothing to do. True: there are none any more. */
static bool forget_wishes(struct cp_request *req, const struct cp_map *map)
{
    struct order *order = req->state;
    uint32_t numbers[CP_COORD_OPS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < map->partition_count && count < CP_COORD_OPS_MAX; i++) {
        if (map->partitions[i].wanted[0] != '\0')
            numbers[count++] = map->partitions[i].number;
    }
    if (count == 0 && !order->fresh && map->partition_count > 0)
        numbers[count++] = map->partitions[0].number;
    order->wished = order->wished || count == 0;
    if (!order->wished)
        (void)wish(req, numbers, count, "");
    return order->wished;
}

static void pump_rebalance(struct cp_request *req)
{
    const struct order *order = req->state;
    const struct cp_map *map = cp_region_map(region_of(req));
    if (order->want != NULL || !cp_stream_ready(req) || !can_act(req) || !forget_wishes(req, map))
        return;
    struct moves moves = find_moves(map, CP_MAP_NONE, cp_scratch(req->lane));
    tell(req, &moves);
    if (moves.count == 0)
        cp_stream_end(req);
    else
        (void)is_late(req, "partitions are still under way");
}

/* What would be, if nobody wanted anything. */
static void pump_dry_run(struct cp_request *req)
{
    const struct cp_map *map = cp_region_map(region_of(req));
    struct cp_map_partition *without SY_AUTOFREE = sy_calloc(map->partition_count,
                                                             sizeof(*without));
    struct cp_map copy = *map;
    copy.partitions = without;
    for (size_t i = 0; i < map->partition_count; i++) {
        without[i] = map->partitions[i];
        without[i].wanted[0] = '\0';
    }
    struct moves moves = find_moves(&copy, CP_MAP_NONE, cp_scratch(req->lane));
    tell(req, &moves);
    cp_stream_end(req);
}

static void rebalance_region(struct cp_request *req)
{
    const Switchyard__V1__RebalanceRegionRequest *m = req->message;
    if (has_records(req))
        begin(req, m->dry_run ? pump_dry_run : pump_rebalance);
}

/* ---- DrainShard, UndrainShard ---- */

static int order_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__OrderShardRequest *m = req->message;
    return cp_name_check("shard", m->shard, error);
}

/* Some other shard takes partitions. */
static bool others_take(const struct cp_map *map, const struct cp_map_shard *self)
{
    for (size_t i = 0; i < map->shard_count; i++) {
        if (&map->shards[i] != self && !map->shards[i].draining)
            return true;
    }
    return false;
}

/* False: the request has failed: another order came, or the shard ends. */
static bool is_in_mode(struct cp_request *req, enum cp_ownership_mode mode)
{
    const char *name = req->lane->shard->name;
    enum cp_ownership_mode now = cp_region_mode(region_of(req));
    if (now == mode)
        return true;
    if (now >= CP_OWNERSHIP_STOPS)
        cp_fail(req, SY_CODE_UNAVAILABLE, "shard %s is stopping", name);
    else
        cp_fail(req, SY_CODE_ABORTED, "a later order %s shard %s: that one holds",
                now == CP_OWNERSHIP_DRAINS ? "drains" : "undrains", name);
    return false;
}

static void pump_drain(struct cp_request *req)
{
    struct order *order = req->state;
    const struct cp_map *map = cp_region_map(region_of(req));
    order->decided = map->revision;
    if (!cp_stream_ready(req) || !is_in_mode(req, CP_OWNERSHIP_DRAINS))
        return;
    order->wished = true; /* in this process: it needs no etcd for that */
    if (!can_act(req))
        return;
    const struct cp_map_shard *self = cp_region_self(region_of(req));
    if (!self->draining)
        return;
    struct moves moves = find_moves(map, (uint32_t)(self - map->shards), cp_scratch(req->lane));
    tell(req, &moves);
    if (moves.count == 0)
        cp_stream_end(req);
    else if (!others_take(map, self))
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                "no other shard takes partitions any more: shard %s goes on with %zu of them",
                self->name, moves.count);
    else
        (void)is_late(req, "partitions are still here");
}

static void drain_shard(struct cp_request *req)
{
    const Switchyard__V1__OrderShardRequest *m = req->message;
    if (!is_here(req, m->shard) || !can_act(req))
        return;
    const struct cp_map *map = cp_region_map(region_of(req));
    if (!others_take(map, cp_region_self(region_of(req)))) {
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                "no other shard takes partitions: shard %s is not drained, nobody would have them",
                m->shard);
        return;
    }
    cp_region_drain(region_of(req), true);
    begin(req, pump_drain);
}

static void pump_undrain(struct cp_request *req)
{
    struct order *order = req->state;
    order->decided = cp_region_map(region_of(req))->revision;
    if (!is_in_mode(req, CP_OWNERSHIP_TAKES))
        return;
    order->wished = true;
    if (!can_act(req))
        return;
    Switchyard__V1__OrderShardResponse response = SWITCHYARD__V1__ORDER_SHARD_RESPONSE__INIT;
    if (!cp_region_self(region_of(req))->draining)
        cp_reply_message(req, &response.base);
    else
        (void)is_late(req, "etcd has not taken it yet");
}

static void undrain_shard(struct cp_request *req)
{
    const Switchyard__V1__OrderShardRequest *m = req->message;
    if (!is_here(req, m->shard) || !can_act(req))
        return;
    cp_region_drain(region_of(req), false);
    begin(req, pump_undrain);
}

/* ---- UseCopy ---- */

static int use_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__UseCopyRequest *m = req->message;
    const struct cp_shard *shard = req->lane->shard;
    uint32_t count = cp_shard_partitions(shard);
    if (m->partition >= count) {
        sy_error_text_set(error, "partition %u: region %s has partitions 0 to %u", m->partition,
                          shard->region, count - 1);
        return -EINVAL;
    }
    return cp_name_check("shard", m->shard, error);
}

/* False: the request has failed. */
static bool may_use(struct cp_request *req, struct cp_own_copy *ret)
{
    const Switchyard__V1__UseCopyRequest *m = req->message;
    const struct cp_shard *shard = req->lane->shard;
    const struct cp_map *map = cp_region_map(region_of(req));
    uint32_t at = cp_map_partition(map, m->partition);
    uint32_t owner = at != CP_MAP_NONE ? cp_map_owner(map, &map->partitions[at]) : CP_MAP_NONE;
    struct cp_copies *port = shard->options.copies;
    struct sy_error_text why = {0};
    int r = port != NULL ? port->read(port->ctx, m->partition, ret, &why) : 0;
    if (port == NULL || at == CP_MAP_NONE)
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                at == CP_MAP_NONE ? "the region's record of partition %u is missing or damaged"
                                  : "the storage of this region is shared: partition %u has no "
                                    "other copies",
                m->partition);
    else if (owner != CP_MAP_NONE)
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                "partition %u is not lost: shard %s has it; nothing was changed", m->partition,
                map->shards[owner].name);
    else if (r < 0 || ret->id == 0 || ret->empty ||
             ret->id != cp_region_copy(region_of(req), m->partition).id)
        cp_fail(req, SY_CODE_FAILED_PRECONDITION, "shard %s has no copy of partition %u%s%s",
                shard->name, m->partition, r < 0 ? ": " : "", why.text);
    else
        return true;
    return false;
}

static void pump_use(struct cp_request *req)
{
    const Switchyard__V1__UseCopyRequest *m = req->message;
    struct order *order = req->state;
    Switchyard__V1__UseCopyResponse response = SWITCHYARD__V1__USE_COPY_RESPONSE__INIT;
    struct cp_own_copy copy = {0};
    if (order->want != NULL)
        return;
    if (order->fresh) {
        cp_reply_message(req, &response.base);
    } else if (order->unanswered) {
        cp_fail(req, SY_CODE_UNAVAILABLE,
                "etcd did not answer: whether the order was taken is not known, `switchyard region "
                "map` shows it later");
    } else if (can_act(req) && may_use(req, &copy)) {
        order->want = cp_region_use_copy(region_of(req), m->partition, on_written, order);
    }
}

static void use_copy(struct cp_request *req)
{
    const Switchyard__V1__UseCopyRequest *m = req->message;
    Switchyard__V1__UseCopyResponse response = SWITCHYARD__V1__USE_COPY_RESPONSE__INIT;
    struct cp_own_copy copy = {0};
    if (!is_here(req, m->shard) || !can_act(req) || !may_use(req, &copy))
        return;
    response.changed_ns = copy.changed_ns;
    if (m->sure)
        begin(req, pump_use);
    else
        cp_reply_message(req, &response.base);
}

#define REGION_SERVICE "/switchyard.v1.RegionService/"

const struct cp_method cp_shards_methods[] = {
    {.path = REGION_SERVICE "MovePartition",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__move_partition_request__descriptor,
     .address = move_address,
     .serve = move_partition},
    {.path = REGION_SERVICE "SplitPartition",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__split_partition_request__descriptor,
     .address = split_address,
     .serve = split_partition},
    {.path = REGION_SERVICE "RebalanceRegion",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &switchyard__v1__rebalance_region_request__descriptor,
     .serve = rebalance_region},
    {.path = REGION_SERVICE "DrainShard",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &switchyard__v1__order_shard_request__descriptor,
     .address = order_address,
     .serve = drain_shard},
    {.path = REGION_SERVICE "UndrainShard",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__order_shard_request__descriptor,
     .address = order_address,
     .serve = undrain_shard},
    {.path = REGION_SERVICE "UseCopy",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__use_copy_request__descriptor,
     .address = use_address,
     .serve = use_copy},
    {0},
};
