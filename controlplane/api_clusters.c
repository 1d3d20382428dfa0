/*
 * switchyard.v1.ClusterService: registration of clusters. A call decides from the record that this
 * shard sees what the next one is, writes that on the condition that it still is so, and begins
 * anew when it is not. A refusal is checked in the same way, since our copy may be behind: it holds
 * when the record that it was decided from is still the newest.
 */
#include "controlplane/cluster_rolls.h"

#include "base/mem.h"
#include "proto/pb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct order {
    struct cp_region_watch watch;
    struct cp_cluster_write *write;
    const char *name;          /* of the cluster; the request's */
    struct cp_new_token token; /* of what makes one */
    uint8_t secret[CP_SECRET_BYTES];
    struct cp_token shown; /* of JoinCluster */
    uint8_t identity[SY_SHA256_BYTES];
    struct cp_cluster_order said; /* of what people say of it */
    struct sy_buf record;         /* decided; empty: the one that is there */
    enum sy_code code;            /* decided */
    struct sy_error_text why;
    int64_t decided; /* from this revision of the copy; 0: not yet */
    enum cp_coord_result result;
    bool written;
};

static struct cp_coord *coord_of(const struct cp_request *req)
{
    return cp_cluster_coord(req->lane->shard);
}

static int64_t realtime(const struct cp_request *req)
{
    return sy_loop_realtime_ns(req->lane->loop);
}

static char *copy(struct cp_request *req, const char *s)
{
    size_t size = strlen(s) + 1;
    return memcpy(cp_request_alloc(req, size), s, size);
}

/* ---- writes ---- */

static void on_written(void *ctx, enum cp_coord_result result)
{
    struct order *order = ctx;
    order->write = NULL;
    order->written = true;
    order->result = result;
    cp_stream_again_in(order->watch.req, 0);
}

/* Of those that were deleted the one that was so first; NULL: none. */
static const struct cp_registered *oldest_deleted(const struct cp_roll *roll)
{
    const struct cp_registered *oldest = NULL;
    for (size_t i = 0; i < roll->count; i++) {
        const struct cp_registered *one = &roll->clusters[i];
        if (cp_registered_deleted(one) &&
            (oldest == NULL || one->record->deleted_ns < oldest->record->deleted_ns))
            oldest = one;
    }
    return oldest;
}

/* What was decided, if the record is still the one that it was decided from. */
static void write_record(struct cp_request *req, const struct cp_registered *now)
{
    struct order *order = req->state;
    struct cp_shard *shard = req->lane->shard;
    const struct cp_roll *roll = cp_cluster_roll(shard);
    const struct cp_registered *oldest = NULL;
    char key[CP_CLUSTER_KEY_SIZE], oldest_key[CP_CLUSTER_KEY_SIZE];
    bool puts = order->record.len > 0;
    struct cp_coord_op ops[2] = {{puts ? CP_COORD_PUT : CP_COORD_CHECK, key,
                                  sy_buf_span(&order->record),
                                  now != NULL ? now->revision : CP_COORD_ABSENT}};
    size_t count = 1;
    snprintf(key, sizeof(key), CP_CLUSTER_KEYS "%s", order->name);
    if (now == NULL && puts && roll->count >= CP_CLUSTER_RECORDS_MAX)
        oldest = oldest_deleted(roll);
    if (oldest != NULL) {
        snprintf(oldest_key, sizeof(oldest_key), CP_CLUSTER_KEYS "%s", oldest->name);
        ops[count++] = (struct cp_coord_op){CP_COORD_DELETE, oldest_key, {0}, oldest->revision};
    }
    order->decided = cp_coord_revision(coord_of(req));
    order->write = cp_cluster_write(shard, ops, count, on_written, order);
}

/* ---- orders in progress ---- */

/* Fills order->record, code and why from the record as it is. */
typedef void (*decide_fn)(struct cp_request *req, const struct cp_registered *now);
typedef void (*answer_fn)(struct cp_request *req);

/* False: the request has failed. */
static bool can_act(struct cp_request *req)
{
    const struct order *order = req->state;
    struct cp_shard *shard = req->lane->shard;
    if (shard->stopping)
        cp_fail(req, SY_CODE_UNAVAILABLE, "shard %s is stopping", shard->name);
    else if (cp_cluster_roll(shard) == NULL)
        cp_fail(req, SY_CODE_UNAVAILABLE,
                "shard %s has not read the clusters of region %s yet (%s); nothing was changed",
                shard->name, shard->region, cp_cluster_trouble(shard));
    else if (order->written && order->result == CP_COORD_UNKNOWN)
        cp_fail(req, SY_CODE_UNAVAILABLE,
                "no answer came in time: whether cluster %s was changed is not known, `switchyard "
                "cluster get` shows it later",
                order->name);
    else
        return true;
    return false;
}

static void pump(struct cp_request *req, decide_fn decide, answer_fn answer)
{
    struct order *order = req->state;
    struct cp_shard *shard = req->lane->shard;
    (void)cp_cluster_rolls_refresh(shard);
    if (order->write != NULL || !can_act(req))
        return;
    if (order->written && order->result == CP_COORD_DONE) {
        if (order->code != SY_CODE_OK)
            cp_fail(req, order->code, "%s", order->why.text);
        else
            answer(req);
        return;
    }
    if (order->written && order->decided == cp_coord_revision(coord_of(req)))
        return; /* what came before is not shown here yet; we are called when it is */
    const struct cp_registered *now = cp_roll_find(cp_cluster_roll(shard), order->name);
    sy_buf_clear(&order->record);
    decide(req, now);
    SY_ASSERT(order->code == SY_CODE_OK || order->record.len == 0);
    write_record(req, now);
}

static void release(struct cp_request *req)
{
    struct order *order = req->state;
    cp_cluster_write_forget(order->write);
    explicit_bzero(order->secret, sizeof(order->secret));
    sy_buf_deinit(&order->record);
    cp_region_watch_end(&order->watch);
}

static struct order *begin(struct cp_request *req, const char *name)
{
    struct order *order = cp_request_alloc(req, sizeof(*order));
    order->name = name;
    return order;
}

/* False: the request has failed. */
static bool make_secret(struct cp_request *req, struct order *order)
{
    ssize_t n = getrandom(order->secret, sizeof(order->secret), 0); /* whole below 256 bytes */
    if (n != (ssize_t)sizeof(order->secret)) {
        cp_fail(req, SY_CODE_INTERNAL, "the kernel gives no random bytes");
        return false;
    }
    sy_sha256((struct sy_span){order->secret, sizeof(order->secret)}, order->token.digest);
    return true;
}

/* ---- CreateCluster, CreateJoinToken ---- */

static void fill_token(Switchyard__V1__JoinToken *to,
                       const Switchyard__Internal__Region__TokenRecord *from, int64_t now_ns)
{
    switchyard__v1__join_token__init(to);
    to->number = from->number;
    to->uses = from->uses;
    to->uses_max = from->uses_max;
    to->created_ns = from->created_ns;
    to->expires_ns = from->expires_ns;
    to->state = (char *)(uintptr_t)cp_token_state(from, now_ns);
}

/* The newest token of what was written, and its secret. */
static char *made_token(struct cp_request *req, Switchyard__V1__JoinToken *ret)
{
    const struct order *order = req->state;
    const cp_cluster_record *record = pb_unpack(
        &switchyard__internal__region__cluster_record__descriptor, cp_scratch(req->lane),
        sy_buf_span(&order->record));
    SY_ASSERT(record != NULL && record->n_tokens > 0);
    fill_token(ret, record->tokens[record->n_tokens - 1], realtime(req));
    SY_CLEANUP(sy_buf_deinit) struct sy_buf text = {0};
    cp_token_put(&text, req->lane->shard->region, order->name, order->secret);
    sy_buf_append(&text, "", 1);
    char *secret = copy(req, (const char *)text.data);
    explicit_bzero(text.data, text.len);
    return secret;
}

static int create_address(struct cp_request *req, struct sy_error_text *error)
{
    return cp_cluster_request_check(req->message, error);
}

static void decide_create(struct cp_request *req, const struct cp_registered *now)
{
    struct order *order = req->state;
    const struct cp_roll *roll = cp_cluster_roll(req->lane->shard);
    if (now == NULL && roll->count >= CP_CLUSTER_RECORDS_MAX && oldest_deleted(roll) == NULL) {
        sy_error_text_set(&order->why, "region %s has %u clusters: no more are registered",
                          roll->region, CP_CLUSTER_RECORDS_MAX);
        order->code = SY_CODE_RESOURCE_EXHAUSTED;
        return;
    }
    order->code = cp_cluster_create(now, req->message, &order->token, realtime(req), &order->record,
                                    &order->why);
}

static void answer_create(struct cp_request *req)
{
    Switchyard__V1__CreateClusterResponse response = SWITCHYARD__V1__CREATE_CLUSTER_RESPONSE__INIT;
    Switchyard__V1__JoinToken token;
    response.secret = made_token(req, &token);
    response.token = &token;
    cp_reply_message(req, &response.base);
}

static void pump_create(struct cp_request *req)
{
    pump(req, decide_create, answer_create);
}

static void create_cluster(struct cp_request *req)
{
    const Switchyard__V1__CreateClusterRequest *m = req->message;
    struct order *order = begin(req, m->name);
    order->token.settings = m->token;
    if (make_secret(req, order))
        cp_region_watch_start(req, &order->watch, pump_create, release);
}

static int token_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__CreateJoinTokenRequest *m = req->message;
    int r = cp_name_check("cluster", m->cluster, error);
    return r < 0 ? r : cp_token_settings_check(m->token, error);
}

static void decide_token(struct cp_request *req, const struct cp_registered *now)
{
    struct order *order = req->state;
    order->code = cp_cluster_add_token(now, order->name, &order->token, realtime(req),
                                       &order->record, &order->why);
}

static void answer_token(struct cp_request *req)
{
    Switchyard__V1__CreateJoinTokenResponse response =
        SWITCHYARD__V1__CREATE_JOIN_TOKEN_RESPONSE__INIT;
    Switchyard__V1__JoinToken token;
    response.secret = made_token(req, &token);
    response.token = &token;
    cp_reply_message(req, &response.base);
}

static void pump_token(struct cp_request *req)
{
    pump(req, decide_token, answer_token);
}

static void create_join_token(struct cp_request *req)
{
    const Switchyard__V1__CreateJoinTokenRequest *m = req->message;
    struct order *order = begin(req, m->cluster);
    order->token.settings = m->token;
    if (make_secret(req, order))
        cp_region_watch_start(req, &order->watch, pump_token, release);
}

/* ---- RevokeJoinToken ---- */

static int revoke_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__RevokeJoinTokenRequest *m = req->message;
    return cp_name_check("cluster", m->cluster, error);
}

static void decide_revoke(struct cp_request *req, const struct cp_registered *now)
{
    const Switchyard__V1__RevokeJoinTokenRequest *m = req->message;
    struct order *order = req->state;
    order->code = cp_cluster_revoke_token(now, order->name, m->token, &order->record, &order->why);
}

static void answer_revoke(struct cp_request *req)
{
    Switchyard__V1__RevokeJoinTokenResponse response =
        SWITCHYARD__V1__REVOKE_JOIN_TOKEN_RESPONSE__INIT;
    cp_reply_message(req, &response.base);
}

static void pump_revoke(struct cp_request *req)
{
    pump(req, decide_revoke, answer_revoke);
}

static void revoke_join_token(struct cp_request *req)
{
    const Switchyard__V1__RevokeJoinTokenRequest *m = req->message;
    struct order *order = begin(req, m->cluster);
    cp_region_watch_start(req, &order->watch, pump_revoke, release);
}

/* ---- DeleteCluster ---- */

static int delete_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__DeleteClusterRequest *m = req->message;
    return cp_name_check("name", m->name, error);
}

static void decide_delete(struct cp_request *req, const struct cp_registered *now)
{
    struct order *order = req->state;
    order->code = cp_cluster_delete(now, order->name, realtime(req), &order->record, &order->why);
}

static void answer_delete(struct cp_request *req)
{
    Switchyard__V1__DeleteClusterResponse response = SWITCHYARD__V1__DELETE_CLUSTER_RESPONSE__INIT;
    cp_reply_message(req, &response.base);
}

static void pump_delete(struct cp_request *req)
{
    pump(req, decide_delete, answer_delete);
}

static void delete_cluster(struct cp_request *req)
{
    const Switchyard__V1__DeleteClusterRequest *m = req->message;
    struct order *order = begin(req, m->name);
    cp_region_watch_start(req, &order->watch, pump_delete, release);
}

/* ---- CordonCluster and so on ---- */

static int order_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__OrderClusterRequest *m = req->message;
    if (m->deadline_ns < 0 || m->deadline_ns > CP_DRAIN_DEADLINE_MAX_NS) {
        sy_error_text_set(error, "deadline_ns: %lld; expected 0 to %lld, which is 365 days",
                          (long long)m->deadline_ns, (long long)CP_DRAIN_DEADLINE_MAX_NS);
        return -EINVAL;
    }
    return cp_name_check("name", m->name, error);
}

static void decide_order(struct cp_request *req, const struct cp_registered *now)
{
    struct order *order = req->state;
    order->code = cp_cluster_order(now, order->name, &order->said, &order->record, &order->why);
}

static void answer_order(struct cp_request *req)
{
    Switchyard__V1__OrderClusterResponse response = SWITCHYARD__V1__ORDER_CLUSTER_RESPONSE__INIT;
    cp_reply_message(req, &response.base);
}

static void pump_order(struct cp_request *req)
{
    pump(req, decide_order, answer_order);
}

static void order_cluster(struct cp_request *req, enum cp_cluster_verb verb)
{
    const Switchyard__V1__OrderClusterRequest *m = req->message;
    struct order *order = begin(req, m->name);
    order->said.verb = verb;
    if (verb == CP_CLUSTER_DRAIN && m->deadline_ns > 0) {
        order->said.deadline_ns = realtime(req) + m->deadline_ns;
        order->said.asked_ns = m->deadline_ns;
    }
    cp_region_watch_start(req, &order->watch, pump_order, release);
}

static void cordon_cluster(struct cp_request *req)
{
    order_cluster(req, CP_CLUSTER_CORDON);
}

static void uncordon_cluster(struct cp_request *req)
{
    order_cluster(req, CP_CLUSTER_UNCORDON);
}

static void drain_cluster(struct cp_request *req)
{
    order_cluster(req, CP_CLUSTER_DRAIN);
}

static void fence_cluster(struct cp_request *req)
{
    order_cluster(req, CP_CLUSTER_FENCE);
}

static void unfence_cluster(struct cp_request *req)
{
    order_cluster(req, CP_CLUSTER_UNFENCE);
}

/* ---- JoinCluster ---- */

static int join_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__JoinClusterRequest *m = req->message;
    if (m->identity.len == CP_SECRET_BYTES)
        return 0;
    sy_error_text_set(error, "identity: %zu bytes; expected %d random ones", m->identity.len,
                      CP_SECRET_BYTES);
    return -EINVAL;
}

static void decide_join(struct cp_request *req, const struct cp_registered *now)
{
    struct order *order = req->state;
    order->code = cp_cluster_join(now, &order->shown, order->identity, realtime(req),
                                  &order->record, &order->why);
}

static void answer_join(struct cp_request *req)
{
    const struct order *order = req->state;
    const struct cp_registered *now = cp_roll_find(cp_cluster_roll(req->lane->shard), order->name);
    Switchyard__V1__JoinClusterResponse response = SWITCHYARD__V1__JOIN_CLUSTER_RESPONSE__INIT;
    if (now == NULL || now->record == NULL || now->record->deleted) {
        cp_fail(req, SY_CODE_NOT_FOUND, "cluster %s was deleted meanwhile", order->name);
        return;
    }
    response.cluster = copy(req, order->name);
    response.region = now->record->region;
    response.labels = now->record->labels;
    response.core_price_micros = now->record->core_price_micros;
    cp_reply_message(req, &response.base);
}

static void pump_join(struct cp_request *req)
{
    pump(req, decide_join, answer_join);
}

static void join_cluster(struct cp_request *req)
{
    const Switchyard__V1__JoinClusterRequest *m = req->message;
    const char *region = req->lane->shard->region;
    struct sy_error_text error;
    struct order *order = begin(req, NULL);
    order->name = order->shown.cluster;
    if (cp_token_read(m->token, &order->shown, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    if (strcmp(order->shown.region, region) != 0) {
        cp_fail(req, SY_CODE_FAILED_PRECONDITION, "the token is of region %s, this is region %s",
                order->shown.region, region);
        return;
    }
    sy_sha256((struct sy_span){m->identity.data, m->identity.len}, order->identity);
    cp_region_watch_start(req, &order->watch, pump_join, release);
}

/* ---- what lists show ---- */

Switchyard__V1__Registration *cp_registration_of(struct cp_request *req,
                                                 const cp_cluster_record *from)
{
    Switchyard__V1__Registration *to = cp_request_alloc(req, sizeof(*to));
    Switchyard__V1__JoinToken *tokens = cp_request_alloc(req, from->n_tokens * sizeof(*tokens));
    switchyard__v1__registration__init(to);
    to->created_ns = from->created_ns;
    to->region = copy(req, from->region);
    to->labels = copy(req, from->labels);
    to->core_price_micros = from->core_price_micros;
    to->operators = (uint32_t)from->n_operators;
    to->tokens = cp_request_alloc(req, from->n_tokens * sizeof(void *));
    to->n_tokens = from->n_tokens;
    for (size_t i = 0; i < from->n_tokens; i++) {
        fill_token(&tokens[i], from->tokens[i], realtime(req));
        to->tokens[i] = &tokens[i];
    }
    return to;
}

#define CLUSTER_SERVICE "/switchyard.v1.ClusterService/"

const struct cp_method cp_clusters_methods[] = {
    {.path = CLUSTER_SERVICE "CreateCluster",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__create_cluster_request__descriptor,
     .address = create_address,
     .serve = create_cluster},
    {.path = CLUSTER_SERVICE "CreateJoinToken",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__create_join_token_request__descriptor,
     .address = token_address,
     .serve = create_join_token},
    {.path = CLUSTER_SERVICE "RevokeJoinToken",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__revoke_join_token_request__descriptor,
     .address = revoke_address,
     .serve = revoke_join_token},
    {.path = CLUSTER_SERVICE "DeleteCluster",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__delete_cluster_request__descriptor,
     .address = delete_address,
     .serve = delete_cluster},
    {.path = CLUSTER_SERVICE "CordonCluster",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__order_cluster_request__descriptor,
     .address = order_address,
     .serve = cordon_cluster},
    {.path = CLUSTER_SERVICE "UncordonCluster",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__order_cluster_request__descriptor,
     .address = order_address,
     .serve = uncordon_cluster},
    {.path = CLUSTER_SERVICE "DrainCluster",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__order_cluster_request__descriptor,
     .address = order_address,
     .serve = drain_cluster},
    {.path = CLUSTER_SERVICE "FenceCluster",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__order_cluster_request__descriptor,
     .address = order_address,
     .serve = fence_cluster},
    {.path = CLUSTER_SERVICE "UnfenceCluster",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__order_cluster_request__descriptor,
     .address = order_address,
     .serve = unfence_cluster},
    {.path = CLUSTER_SERVICE "JoinCluster",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__join_cluster_request__descriptor,
     .address = join_address,
     .serve = join_cluster},
    {0},
};
