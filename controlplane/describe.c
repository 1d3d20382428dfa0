/*
 * ControlPlane.Describe: which partitions this shard has, and where the others are; told again
 * whenever that is another. On the front.
 */
#include "base/mem.h"
#include "controlplane/cluster_rolls.h"
#include "proto/pb.h"

#include "switchyard/internal/dataplane.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cp_described {
    struct cp_described *next, **prev;
    struct cp_request *req;
    bool follows;
    bool named; /* it said which cluster it is; those of before did not */
    char cluster[CP_NAME_LENGTH_MAX + 1];
    struct cp_identity identity;
    struct sy_buf told; /* the last answer */
};

static void describe(struct cp_request *req, struct sy_buf *ret)
{
    const struct cp_described *follower = req->state;
    const struct cp_shard *shard = req->lane->shard;
    const struct cp_map *map = shard->in_region ? cp_region_map(shard->in_region) : NULL;
    size_t partitions = cp_shard_partitions(shard), shards = map != NULL ? map->shard_count : 0;
    uint32_t *ids SY_AUTOFREE = sy_calloc(partitions, sizeof(*ids));
    char **endpoints SY_AUTOFREE = sy_calloc(shards + 1, sizeof(*endpoints));
    Switchyard__Internal__DescribeResponse response = SWITCHYARD__INTERNAL__DESCRIBE_RESPONSE__INIT;
    response.shard = shard->name;
    response.partitions = ids;
    response.endpoints = endpoints;
    response.fences = cp_roll_fences(cp_cluster_roll(shard), follower->cluster);
    for (uint32_t i = 0; i < partitions; i++) {
        if (shard->in_region == NULL || cp_shard_serves(shard, i))
            ids[response.n_partitions++] = i;
    }
    if (map != NULL)
        response.n_endpoints = cp_map_endpoints(map, endpoints);
    pb_pack(&response.base, ret);
}

static bool same(const struct sy_buf *a, const struct sy_buf *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* The operator is not to be told anything, but that. Of a fence only by a shard that hears of it
 * when that is over: a deletion never is. */
static void refuse(struct cp_request *req, enum cp_admission admission, const char *why)
{
    Switchyard__Internal__DescribeResponse response = SWITCHYARD__INTERNAL__DESCRIBE_RESPONSE__INIT;
    const struct cp_shard *shard = req->lane->shard;
    const struct cp_described *follower = req->state;
    response.shard = req->lane->shard->name;
    if (admission == CP_ADMISSION_DELETED) {
        response.deleted = (char *)(uintptr_t)why; /* packing only reads */
        cp_stream_send_message(req, &response.base);
    } else if (admission == CP_ADMISSION_FENCED && cp_cluster_trouble(shard)[0] == '\0') {
        response.fenced = (char *)(uintptr_t)why;
        response.fences = cp_roll_fences(cp_cluster_roll(shard), follower->cluster);
        cp_stream_send_message(req, &response.base);
    }
    cp_fail(req, cp_admission_code(admission), "%s", why);
}

static enum cp_admission admit(const struct cp_request *req, struct sy_error_text *error)
{
    const struct cp_shard *shard = req->lane->shard;
    const struct cp_described *follower = req->state;
    if (!follower->named && !shard->options.registration_required)
        return CP_ADMITTED; /* its streams say who it is */
    return cp_roll_admit(cp_cluster_roll(shard), shard->options.registration_required,
                         follower->cluster, &follower->identity, error);
}

static void pump(struct cp_request *req)
{
    struct cp_described *follower = req->state;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf now = {0};
    struct sy_error_text why;
    if (!cp_stream_ready(req))
        return;
    enum cp_admission admission = admit(req, &why);
    if (admission != CP_ADMITTED) {
        refuse(req, admission, why.text);
        return;
    }
    describe(req, &now);
    if (!same(&now, &follower->told)) { /* never empty: the shard has a name */
        struct sy_buf message = sy_buf_copy(now.data, now.len);
        struct sy_buf before = follower->told;
        follower->told = now;
        now = before;
        cp_stream_send(req, &message);
    }
    if (!follower->follows)
        cp_stream_end(req);
}

static void release(struct cp_request *req)
{
    struct cp_described *follower = req->state;
    *follower->prev = follower->next;
    if (follower->next != NULL)
        follower->next->prev = follower->prev;
    sy_buf_deinit(&follower->told);
    free(follower);
}

static void serve(struct cp_request *req)
{
    const Switchyard__Internal__DescribeRequest *request = req->message;
    struct cp_shard *shard = req->lane->shard;
    struct cp_described *follower = sy_new(struct cp_described);
    const char *cluster = sy_call_metadata(req->call, CP_CLUSTER_METADATA);
    *follower = (struct cp_described){.next = shard->followers,
                                      .prev = &shard->followers,
                                      .req = req,
                                      .follows = request->follow,
                                      .named = cluster != NULL,
                                      .identity = cp_identity_of(req->call)};
    if (cluster != NULL)
        snprintf(follower->cluster, sizeof(follower->cluster), "%s", cluster);
    if (follower->next != NULL)
        follower->next->prev = &follower->next;
    shard->followers = follower;
    req->state = follower;
    cp_stream_start(req, pump, release);
}

void cp_describe_changed(struct cp_shard *shard)
{
    struct cp_described *next;
    for (struct cp_described *follower = shard->followers; follower != NULL; follower = next) {
        next = follower->next;
        cp_stream_more(follower->req);
    }
}

void cp_describe_end(struct cp_shard *shard)
{
    for (struct cp_described *f = shard->followers; f != NULL; f = f->next)
        f->follows = false;
    cp_describe_changed(shard);
}

const struct cp_method cp_control_methods[] = {
    {.path = "/switchyard.internal.ControlPlane/Describe",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &switchyard__internal__describe_request__descriptor,
     .serve = serve},
    {0},
};
