/* One question to every partition, each asked in its own lane, there or through the shard that has
 * it; the request's lane answers. */
#include "base/mem.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include "switchyard/internal/parts.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_BYTES_MAX ((size_t)64 << 20)

typedef Switchyard__Internal__PartReply PartReply;

static void gather_release(struct cp_request *req)
{
    struct cp_gather *gather = req->state;
    for (uint32_t i = 0; i < gather->count; i++) {
        cp_ask_free(gather->parts[i].ask);
        sy_arena_deinit(&gather->parts[i].arena);
        sy_buf_deinit(&gather->parts[i].buf);
        sy_status_deinit(&gather->parts[i].status);
    }
    free(gather->authorization);
    free(gather);
}

/* ---- back in the request's lane ---- */

/* For the shard that asked. */
static void reply_part(struct cp_gather *gather)
{
    const struct cp_gather_part *part = &gather->parts[0];
    PartReply reply = SWITCHYARD__INTERNAL__PART_REPLY__INIT;
    if (part->status.code == SY_CODE_OK)
        gather->kind.pack(part, &reply);
    reply.code = (uint32_t)part->status.code;
    reply.message = (char *)(uintptr_t)part->status.message.text;
    cp_reply_message(gather->req, &reply.base);
}

static void part_returned(struct cp_gather_part *part)
{
    struct cp_gather *gather = part->gather;
    SY_ASSERT(gather->waiting > 0);
    if (--gather->waiting > 0)
        return;
    if (gather->req->of_part) {
        reply_part(gather);
        return;
    }
    if (gather->ranges != NULL && gather->kind.absent == NULL &&
        cp_ranges_get(&gather->req->lane->shard->ranges) != gather->ranges) {
        cp_fail(gather->req, SY_CODE_UNAVAILABLE, "a partition was split just now; try again");
        return;
    }
    for (uint32_t i = 0; i < gather->count; i++) {
        if (gather->parts[i].status.code != SY_CODE_OK) {
            cp_fail_status(gather->req, &gather->parts[i].status);
            return;
        }
    }
    gather->kind.finish(gather);
}

static void part_done(struct cp_gather_part *part)
{
    struct cp_lane *asks = part->gather->req->lane;
    part->returning = true;
    if (part->lane->loop == asks->loop)
        part_returned(part);
    else
        cp_lane_post(part->lane, asks, &part->post);
}

/* ---- through another shard ---- */

static void part_absent(struct cp_gather_part *part)
{
    sy_arena_reset(&part->arena); /* an answer that cannot be read may have filled it */
    part->gather->kind.absent(part);
    sy_status_deinit(&part->status);
    part->status = (struct sy_status){0};
}

static void read_reply(struct cp_gather_part *part, struct sy_span bytes)
{
    const PartReply *reply = pb_unpack(&switchyard__internal__part_reply__descriptor, &part->arena,
                                       bytes);
    if (reply != NULL && reply->code != 0 && reply->code <= SY_CODE_UNAUTHENTICATED)
        sy_status_set(&part->status, (enum sy_code)reply->code, "%s", reply->message);
    else if (reply == NULL || reply->code != 0 || part->gather->kind.unpack(part, reply) < 0)
        sy_status_set(&part->status, SY_CODE_INTERNAL,
                      "what the shard of partition %u answered to %s cannot be read",
                      part->lane->index, part->gather->req->method->path);
}

static void on_message(void *ctx, struct sy_span bytes)
{
    read_reply(ctx, bytes);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct cp_gather_part *part = ctx;
    if (status->code != SY_CODE_OK)
        sy_status_set(&part->status, status->code, "%s", status->message.text);
    cp_ask_free(sy_take(part->ask));
    if (part->status.code != SY_CODE_OK && part->gather->kind.absent != NULL)
        part_absent(part);
    part_done(part);
}

/* The call that came, to whoever has the partition. */
static void ask_elsewhere(struct cp_gather_part *part)
{
    static const struct cp_ask_sink sink = {on_message, on_closed};
    const struct cp_gather *gather = part->gather;
    struct cp_lane *lane = part->lane;
    bool may_be_absent = gather->kind.absent != NULL;
    sy_arena_reset(&part->arena);
    sy_buf_clear(&part->buf);
    sy_status_deinit(&part->status);
    part->status = (struct sy_status){0};
    part->result = NULL;
    if (may_be_absent && cp_shard_route(lane->shard, lane->index) == NULL) {
        sy_status_set(&part->status, SY_CODE_UNAVAILABLE, "no shard has partition %u just now",
                      lane->index);
        part_absent(part);
        part_done(part);
        return;
    }
    char number[CP_PART_TEXT_SIZE];
    cp_part_text(number, lane->shard, lane->index);
    const struct sy_metadata metadata[] = {{CP_PART_KEY, number},
                                           {"authorization", gather->authorization}};
    struct cp_ask_options options = {.route = cp_shard_route,
                                     .route_ctx = lane->shard,
                                     .loop = lane->loop,
                                     .partition = lane->index,
                                     .method = gather->req->method->path,
                                     .metadata = metadata,
                                     .metadata_count = gather->authorization != NULL ? 2 : 1,
                                     .deadline_ns = gather->deadline_ns,
                                     .repeatable = true};
    int64_t soon_ns = sy_loop_now_ns(lane->loop) + CP_GATHER_ABSENT_NS;
    if (may_be_absent && soon_ns < options.deadline_ns)
        options.deadline_ns = soon_ns;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf request = {0};
    pb_pack(gather->req->message, &request);
    part->ask = cp_ask_new(&options, sy_buf_span(&request), &sink, part);
}

/* ---- in the part's lane ---- */

static bool may_be_elsewhere(const struct cp_gather_part *part)
{
    return part->lane->shard->in_region != NULL;
}

/* It is not served here, and not because something is wrong with it. */
static bool went_away(const struct cp_gather_part *part)
{
    const struct cp_partition *p = part->lane->partition;
    return part->status.code != SY_CODE_OK &&
           (!cp_partition_ours(p) ||
            (part->status.code == SY_CODE_UNAVAILABLE && !cp_partition_tried(p)));
}

static void part_run(struct cp_post *post)
{
    struct cp_gather_part *part = sy_container_of(post, struct cp_gather_part, post);
    struct cp_request *req = part->gather->req;
    if (part->returning) {
        part_returned(part);
        return;
    }
    bool elsewhere = may_be_elsewhere(part) && !cp_partition_ours(part->lane->partition);
    if (!elsewhere && !part->gather->kind.collect(part)) {
        cp_lane_post(part->lane, part->lane, post);
        return;
    }
    elsewhere = elsewhere || (may_be_elsewhere(part) && went_away(part));
    if (!elsewhere)
        part_done(part);
    else if (!req->of_part)
        ask_elsewhere(part);
    else
        cp_refuse(req);
}

/* ---- start ---- */

static struct cp_gather *gather_new(struct cp_request *req, uint32_t count)
{
    if (req->release == gather_release) /* an earlier question has been answered */
        gather_release(req);
    else
        SY_ASSERT(req->release == NULL);
    struct cp_gather *gather = sy_calloc(1, sizeof(*gather) + count * sizeof(gather->parts[0]));
    const char *authorization = sy_call_metadata(req->call, "authorization");
    gather->req = req;
    gather->authorization = authorization != NULL ? sy_strdup(authorization) : NULL;
    gather->deadline_ns = sy_call_deadline_ns(req->call);
    gather->waiting = gather->count = count;
    req->state = gather;
    req->release = gather_release;
    return gather;
}

/* `count` lanes from `first` on. `ranges`: all that there are by these; NULL: one of them. */
static void start(struct cp_request *req, void *query, const struct cp_gather_kind *kind,
                  struct cp_lane *first, uint32_t count, const struct cp_ranges *ranges)
{
    SY_ASSERT(req->method->parts);
    struct cp_gather *gather = gather_new(req, count);
    gather->query = query;
    gather->kind = *kind;
    gather->ranges = ranges;
    for (uint32_t i = 0; i < count; i++) {
        struct cp_gather_part *part = &gather->parts[i];
        part->gather = gather;
        part->lane = first + i;
        part->post.run = part_run;
        sy_arena_init(&part->arena, PART_BYTES_MAX);
    }
    /* The last return may free the gather, so nothing of it is touched after the last start. */
    for (uint32_t i = 0; i < count; i++) {
        struct cp_gather_part *part = &gather->parts[i];
        if (part->lane->loop == req->lane->loop)
            part_run(&part->post);
        else
            cp_lane_post(req->lane, part->lane, &part->post);
    }
}

void cp_gather_all(struct cp_request *req, void *query, const struct cp_gather_kind *kind)
{
    struct cp_shard *shard = req->lane->shard;
    const struct cp_ranges *ranges = cp_ranges_get(&shard->ranges);
    if (req->of_part)
        start(req, query, kind, req->lane, 1, NULL);
    else
        start(req, query, kind, shard->lanes, cp_ranges_count(ranges), ranges);
}

void cp_gather_one(struct cp_request *req, void *query, const struct cp_gather_kind *kind,
                   uint32_t partition)
{
    start(req, query, kind, req->of_part ? req->lane : &req->lane->shard->lanes[partition], 1,
          NULL);
}
