/*
 * Every partition knows every queue: how changes get from a queue's home to the others.
 *
 * Each change goes to all others before its caller hears OK. A partition that was away, or a shard
 * that died in between, may lack some: so whoever begins to serve exchanges whole sets with each
 * partition that serves, one after the other; who does not serve does the same when it does.
 * Until a partition has done that it takes and sends no single change: those fit only what they
 * were made for.
 *
 * Hand-overs between two lanes stay in order, and so do changes of a registry, so that what a home
 * says last is what counts in the end. Only this file knows that all lanes are in one process.
 */
#include "base/mem.h"
#include "controlplane/queues.h"
#include "controlplane/shard_impl.h"

#include <string.h>

/* ---- whole sets: a lane with each of the others ---- */

static void next_lane(struct cp_queue_sync *sync);

static enum sy_code take_sync(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    const struct cp_queue_sync *sync = ctx;
    return cp_queue_copies_take(p, sy_buf_span(&sync->copies), error);
}

static bool pack_set(struct cp_queue_sync *sync, struct cp_lane *lane)
{
    sy_buf_clear(&sync->copies);
    return cp_queue_copies_pack(lane->partition, NULL, &sync->copies) == 0;
}

static struct cp_lane *other_of(const struct cp_queue_sync *sync)
{
    return &sync->lane->shard->lanes[sync->other];
}

static void stop(struct cp_queue_sync *sync)
{
    sync->epoch = 0; /* begins again when it serves */
    sync->running = false;
}

/* 4: theirs are known here. */
static void took_theirs(void *arg, const struct sy_status *status)
{
    struct cp_queue_sync *sync = arg;
    if (status->code != SY_CODE_OK) {
        stop(sync);
        return;
    }
    sync->other++;
    next_lane(sync);
}

/* 3: back here, with theirs. */
static void come_back(struct cp_post *post)
{
    struct cp_queue_sync *sync = sy_container_of(post, struct cp_queue_sync, post);
    if (!sync->failed) {
        cp_partition_registry_change(sync->lane->partition, take_sync, took_theirs, sync);
        return;
    }
    sync->other++; /* it does not serve: the exchange is its business when it does */
    next_lane(sync);
}

/* 2: ours are known there. */
static void took_ours(void *arg, const struct sy_status *status)
{
    struct cp_queue_sync *sync = arg;
    struct cp_lane *other = other_of(sync);
    sync->failed = status->code != SY_CODE_OK || !pack_set(sync, other);
    sync->post.run = come_back;
    cp_lane_post(other, sync->lane, &sync->post);
}

/* 1: there, with ours. */
static void go_there(struct cp_post *post)
{
    struct cp_queue_sync *sync = sy_container_of(post, struct cp_queue_sync, post);
    cp_partition_registry_change(other_of(sync)->partition, take_sync, took_ours, sync);
}

static void next_lane(struct cp_queue_sync *sync)
{
    struct cp_lane *lane = sync->lane;
    if (sync->other == lane->index)
        sync->other++;
    if (sync->other >= lane->shard->options.partitions) {
        sync->running = false;
        return;
    }
    if (!pack_set(sync, lane)) {
        stop(sync);
        return;
    }
    sync->post.run = go_there;
    cp_lane_post(lane, other_of(sync), &sync->post);
}

void cp_queue_sync_init(struct cp_lane *lane)
{
    lane->sync = (struct cp_queue_sync){.lane = lane};
}

void cp_queue_sync_look(struct cp_lane *lane)
{
    struct cp_queue_sync *sync = &lane->sync;
    uint32_t epoch = cp_partition_epoch(lane->partition);
    if (sync->running || !cp_partition_serving(lane->partition) || sync->epoch == epoch)
        return;
    sync->epoch = epoch;
    sync->running = true;
    sync->other = 0;
    next_lane(sync);
}

void cp_queue_sync_deinit(struct cp_lane *lane)
{
    sy_buf_deinit(&lane->sync.copies);
}

/* ---- single changes: a request with all the others ---- */

struct spread {
    sy_fn done;
    void *ctx;
    struct sy_span copies; /* in the request's memory */
};

bool cp_queue_sync_ready(struct cp_lane *lane, struct sy_status *ret_why)
{
    cp_queue_sync_look(lane);
    if (cp_partition_serving(lane->partition) && !lane->sync.running)
        return true;
    if (!cp_partition_serving(lane->partition))
        cp_status_not_serving(ret_why, lane);
    else
        sy_status_set(ret_why, SY_CODE_UNAVAILABLE,
                      "partition %u has not heard of all queues yet; try again", lane->index);
    return false;
}

static enum sy_code take_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    const struct cp_gather_part *part = ctx;
    const struct spread *spread = part->gather->query;
    return cp_queue_copies_take(p, spread->copies, error);
}

static void took_change(void *arg, const struct sy_status *status)
{
    struct cp_gather_part *part = arg;
    if (status->code != SY_CODE_OK)
        sy_status_set(&part->status, status->code, "%s", status->message.text);
    part->result = part; /* has been here */
    cp_gather_go_on(part);
}

static bool copy(struct cp_gather_part *part)
{
    bool here = part->lane == part->gather->req->lane;
    if (here || part->result != NULL || !cp_queue_sync_ready(part->lane, &part->status))
        return true;
    part->waits = true;
    cp_partition_registry_change(part->lane->partition, take_change, took_change, part);
    return false;
}

static void copied(struct cp_gather *gather)
{
    const struct spread *spread = gather->query;
    spread->done(spread->ctx);
}

void cp_queue_sync_change(struct cp_request *req, const struct sch_queue_key *key, sy_fn done,
                          void *ctx)
{
    struct sy_buf *buf = &req->lane->buf;
    sy_buf_clear(buf);
    if (cp_queue_copies_pack(req->lane->partition, key, buf) != 0) {
        cp_fail_not_serving(req); /* the change is durable; the others hear of it when it serves */
        return;
    }
    struct spread *spread = cp_request_alloc(req, sizeof(*spread));
    uint8_t *bytes = cp_request_alloc(req, buf->len);
    memcpy(bytes, buf->data, buf->len);
    *spread = (struct spread){done, ctx, {bytes, buf->len}};
    cp_gather_start(req, spread, copy, copied);
}
