/* One question to every partition, each asked in its own lane; the request's lane answers. */
#include "controlplane/shard_impl.h"

#include "base/mem.h"

#include <stdlib.h>

#define PART_BYTES_MAX ((size_t)64 << 20)

static void gather_release(struct cp_request *req)
{
    struct cp_gather *gather = req->state;
    for (uint32_t i = 0; i < gather->count; i++) {
        sy_arena_deinit(&gather->parts[i].arena);
        sy_buf_deinit(&gather->parts[i].buf);
        sy_status_deinit(&gather->parts[i].status);
    }
    free(gather);
}

static void part_returned(struct cp_gather_part *part)
{
    struct cp_gather *gather = part->gather;
    SY_ASSERT(gather->waiting > 0);
    if (--gather->waiting > 0)
        return;
    for (uint32_t i = 0; i < gather->count; i++) {
        if (gather->parts[i].status.code != SY_CODE_OK) {
            cp_fail_status(gather->req, &gather->parts[i].status);
            return;
        }
    }
    gather->finish(gather);
}

static void part_run(struct cp_post *post)
{
    struct cp_gather_part *part = sy_container_of(post, struct cp_gather_part, post);
    struct cp_lane *asks = part->gather->req->lane;
    if (part->returning) {
        part_returned(part);
        return;
    }
    if (!part->gather->collect(part)) {
        if (!part->waits)
            cp_lane_post(part->lane, part->lane, post);
        return;
    }
    part->returning = true;
    if (part->lane->loop == asks->loop)
        part_returned(part);
    else
        cp_lane_post(part->lane, asks, post);
}

void cp_gather_go_on(struct cp_gather_part *part)
{
    SY_ASSERT(part->waits);
    part->waits = false;
    cp_lane_post(part->lane, part->lane, &part->post);
}

void cp_gather_start(struct cp_request *req, void *query,
                     bool (*collect)(struct cp_gather_part *part),
                     void (*finish)(struct cp_gather *gather))
{
    struct cp_shard *shard = req->lane->shard;
    uint32_t count = shard->options.partitions;
    if (req->release == gather_release) /* an earlier question has been answered */
        gather_release(req);
    else
        SY_ASSERT(req->release == NULL);
    struct cp_gather *gather = sy_calloc(1, sizeof(*gather) + count * sizeof(gather->parts[0]));
    gather->req = req;
    gather->query = query;
    gather->collect = collect;
    gather->finish = finish;
    gather->waiting = gather->count = count;
    req->state = gather;
    req->release = gather_release;
    for (uint32_t i = 0; i < count; i++) {
        struct cp_gather_part *part = &gather->parts[i];
        part->gather = gather;
        part->lane = &shard->lanes[i];
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
