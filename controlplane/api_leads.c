/*
 * switchyard.v1.ClusterService/LeadCluster: which operator of a cluster is the active one. What is
 * decided from the record is written on the condition that it still is the newest one, and so is
 * that it stands: two that ask different shards cannot both have it.
 */
#include "controlplane/cluster_rolls.h"
#include "controlplane/leads.h"

#include "base/mem.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

#define KEY_SIZE (sizeof(CP_LEAD_KEYS) + CP_NAME_LENGTH_MAX)

struct lead {
    struct cp_region_watch watch;
    struct cp_cluster_write *write;
    char cluster[CP_NAME_LENGTH_MAX + 1];
    struct cp_identity identity;
    Switchyard__V1__LeadClusterResponse response; /* decided; `endpoint` is the request's memory */
    int64_t decided;                              /* from this revision of the copy */
    enum cp_coord_result result;
    bool written;
};

static const struct cp_coord_record *find_record(struct cp_request *req, const char *cluster,
                                                 char key[KEY_SIZE], const cp_lead_record **ret)
{
    snprintf(key, KEY_SIZE, CP_LEAD_KEYS "%s", cluster);
    const struct cp_coord_record *record = cp_coord_find(cp_cluster_coord(req->lane->shard), key);
    *ret = record == NULL ? NULL
                          : pb_unpack(&switchyard__internal__region__lead_record__descriptor,
                                      cp_scratch(req->lane), sy_buf_span(&record->value));
    return record;
}

static char *copy(struct cp_request *req, const char *s)
{
    size_t size = strlen(s) + 1;
    return memcpy(cp_request_alloc(req, size), s, size);
}

/* ---- what lists show ---- */

Switchyard__V1__Lead *cp_lead_of(struct cp_request *req, const char *cluster)
{
    char key[KEY_SIZE];
    const cp_lead_record *from;
    (void)find_record(req, cluster, key, &from);
    if (from == NULL)
        return NULL;
    Switchyard__V1__Lead *to = cp_request_alloc(req, sizeof(*to));
    Switchyard__V1__Standby *standbys = cp_request_alloc(req, from->n_standbys * sizeof(*standbys));
    switchyard__v1__lead__init(to);
    to->term = from->term;
    to->active = copy(req, from->endpoint);
    to->since_ns = from->since_ns;
    to->standbys = cp_request_alloc(req, from->n_standbys * sizeof(void *));
    int64_t now_ns = sy_loop_realtime_ns(req->lane->loop);
    for (size_t i = 0; i < from->n_standbys; i++) {
        if (now_ns - from->standbys[i]->asked_ns >= CP_LEAD_GONE_NS)
            continue;
        Switchyard__V1__Standby *standby = &standbys[i];
        switchyard__v1__standby__init(standby);
        standby->endpoint = copy(req, from->standbys[i]->endpoint);
        standby->asked_ns = from->standbys[i]->asked_ns;
        to->standbys[to->n_standbys++] = standby;
    }
    return to;
}

/* ---- the question ---- */

static int lead_address(struct cp_request *req, struct sy_error_text *error)
{
    const char *cluster = sy_call_metadata(req->call, CP_CLUSTER_METADATA);
    if (cp_name_check(CP_CLUSTER_METADATA, cluster != NULL ? cluster : "", error) < 0)
        return -EINVAL;
    return cp_lead_request_check(req->message, error);
}

static void on_written(void *ctx, enum cp_coord_result result)
{
    struct lead *lead = ctx;
    lead->write = NULL;
    lead->written = true;
    lead->result = result;
    cp_stream_again_in(lead->watch.req, 0);
}

/* NULL: the request has failed. One of a fenced cluster may ask too: the active one is told to stop
 * what it runs, which its agents do not hear from one that stands by. */
static const cp_cluster_record *admit(struct cp_request *req)
{
    const struct lead *lead = req->state;
    struct cp_shard *shard = req->lane->shard;
    const struct cp_roll *roll = cp_cluster_roll(shard);
    struct sy_error_text why;
    if (shard->stopping) {
        cp_fail(req, SY_CODE_UNAVAILABLE, "shard %s is stopping", shard->name);
        return NULL;
    }
    enum cp_admission admission = cp_roll_admit(roll, true, lead->cluster, &lead->identity, &why);
    const struct cp_registered *registered = roll != NULL ? cp_roll_find(roll, lead->cluster)
                                                          : NULL;
    const cp_cluster_record *record = registered != NULL ? registered->record : NULL;
    bool fenced = admission == CP_ADMISSION_FENCED && lead->identity.shown && record != NULL &&
                  cp_cluster_has_operator(record, lead->identity.digest);
    if (admission != CP_ADMITTED && !fenced) {
        cp_fail(req, cp_admission_code(admission), "%s", why.text);
        return NULL;
    }
    SY_ASSERT(record != NULL); /* who is not registered is not admitted */
    return record;
}

/* The answer may wait for a write, and the map be another by then. */
static void put_shards(struct cp_request *req, Switchyard__V1__LeadClusterResponse *ret)
{
    const struct cp_shard *shard = req->lane->shard;
    const struct cp_map *map = shard->in_region ? cp_region_map(shard->in_region) : NULL;
    if (map == NULL)
        return;
    ret->shards = cp_request_alloc(req, (map->shard_count + 1) * sizeof(*ret->shards));
    ret->n_shards = cp_map_endpoints(map, ret->shards);
    for (size_t i = 0; i < ret->n_shards; i++)
        ret->shards[i] = copy(req, ret->shards[i]);
}

static void prepare(struct cp_request *req, const struct cp_lead_answer *answer)
{
    const Switchyard__V1__LeadClusterRequest *request = req->message;
    struct lead *lead = req->state;
    const cp_lead_record *record = &answer->next;
    Switchyard__V1__LeadClusterResponse *response = &lead->response;
    switchyard__v1__lead_cluster_response__init(response);
    response->active = answer->active;
    response->term = record->term;
    response->renewals = record->renewals;
    response->lease_ns = answer->active && record->n_standbys == 0 ? 0 : record->lease_ns;
    response->endpoint = copy(req, record->endpoint);
    put_shards(req, response);
    response->other_store = record->session[0] != '\0' &&
                            strcmp(record->store, request->store) != 0;
}

static void decide(struct cp_request *req, const cp_cluster_record *cluster)
{
    struct lead *lead = req->state;
    char key[KEY_SIZE];
    struct cp_lead_question question = {.request = req->message,
                                        .identity = lead->identity.digest,
                                        .now_ns = sy_loop_realtime_ns(req->lane->loop)};
    const struct cp_coord_record *record = find_record(req, lead->cluster, key, &question.now);
    if (question.now != NULL)
        question.holder_left = question.now->identity.len != SY_SHA256_BYTES ||
                               !cp_cluster_has_operator(cluster, question.now->identity.data);
    struct cp_lead_answer answer;
    cp_lead_decide(&question, &answer);
    prepare(req, &answer);
    if (!answer.write && !answer.active) {
        cp_reply_message(req, &lead->response.base);
        return;
    }
    SY_CLEANUP(sy_buf_deinit) struct sy_buf row = {0};
    if (answer.write)
        pb_pack(&answer.next.base, &row);
    struct cp_coord_op op = {answer.write ? CP_COORD_PUT : CP_COORD_CHECK, key, sy_buf_span(&row),
                             record != NULL ? record->revision : CP_COORD_ABSENT};
    lead->decided = cp_coord_revision(cp_cluster_coord(req->lane->shard));
    lead->write = cp_cluster_write(req->lane->shard, &op, 1, on_written, lead);
}

static void pump(struct cp_request *req)
{
    struct lead *lead = req->state;
    struct cp_shard *shard = req->lane->shard;
    (void)cp_cluster_rolls_refresh(shard);
    const cp_cluster_record *cluster = lead->write == NULL ? admit(req) : NULL;
    if (cluster == NULL)
        return;
    if (lead->written && lead->result == CP_COORD_DONE)
        cp_reply_message(req, &lead->response.base);
    else if (lead->written && lead->result == CP_COORD_UNKNOWN)
        cp_fail(req, SY_CODE_UNAVAILABLE, "no answer came in time (%s)", cp_cluster_trouble(shard));
    else if (!lead->written || lead->decided != cp_coord_revision(cp_cluster_coord(shard)))
        decide(req, cluster);
}

static void release(struct cp_request *req)
{
    struct lead *lead = req->state;
    cp_cluster_write_forget(lead->write);
    cp_region_watch_end(&lead->watch);
}

static void lead_cluster(struct cp_request *req)
{
    struct lead *lead = cp_request_alloc(req, sizeof(*lead));
    snprintf(lead->cluster, sizeof(lead->cluster), "%s",
             sy_call_metadata(req->call, CP_CLUSTER_METADATA));
    lead->identity = cp_identity_of(req->call);
    cp_region_watch_start(req, &lead->watch, pump, release);
}

const struct cp_method cp_leads_methods[] = {
    {.path = "/switchyard.v1.ClusterService/LeadCluster",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__lead_cluster_request__descriptor,
     .address = lead_address,
     .serve = lead_cluster},
    {0},
};
