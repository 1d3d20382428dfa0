/*
 * flyteidl2.cluster.ClusterService: where a client finds the data of an action. Every cluster is
 * registered with every partition, so that the partition at hand can answer; one that has just
 * moved to this shard may know it by name only until its operator has come too, and then all are
 * asked.
 */
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"

#include "flyteidl2/cluster/payload.pb-c.h"
#include "switchyard/internal/parts.pb-c.h"

#include <string.h>

typedef Flyteidl2__Cluster__SelectClusterRequest select_request;

static int select_address(struct cp_request *req, struct sy_error_text *error)
{
    const select_request *m = req->message;
    switch (m->resource_case) {
    case FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_ACTION_ID:
        return cp_address_action(req, m->action_id, error);
    case FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_ACTION_ATTEMPT_ID:
        return cp_address_action(req, m->action_attempt_id->action_id, error);
    case FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_CLUSTER_ID:
        return cp_name_check("cluster_id.name", m->cluster_id->name, error);
    default:
        return 0;
    }
}

/* ---- which one ---- */

struct choice {
    const char *wanted; /* NULL: any that is ready */
    struct sy_arena *arena;
    char *name, *endpoint; /* NULL: none yet */
};

/* Among ready ones the first by name, so that a client's calls meet at one place. */
static void consider(struct choice *choice, const char *name, const char *endpoint, bool ready)
{
    bool fits = choice->wanted != NULL ? strcmp(choice->wanted, name) == 0
                                       : ready && endpoint[0] != '\0';
    if (!fits || (choice->name != NULL && strcmp(choice->name, name) <= 0))
        return;
    choice->name = sy_arena_strdup(choice->arena, name);
    choice->endpoint = sy_arena_strdup(choice->arena, endpoint);
    SY_ASSERT(choice->name != NULL && choice->endpoint != NULL);
}

static bool is_ready(const struct cp_cluster_view *cluster)
{
    return strcmp(cluster->state, "ready") == 0;
}

static bool consider_view(void *ctx, const struct cp_cluster_view *cluster)
{
    consider(ctx, cluster->name, cluster->endpoint, is_ready(cluster));
    return true;
}

static void reply_choice(struct cp_request *req, const struct choice *choice, bool must_exist)
{
    if (choice->name == NULL && must_exist) {
        cp_fail(req, SY_CODE_NOT_FOUND, "cluster '%s' is not registered", choice->wanted);
        return;
    }
    Flyteidl2__Cluster__SelectClusterResponse response =
        FLYTEIDL2__CLUSTER__SELECT_CLUSTER_RESPONSE__INIT;
    if (choice->name != NULL) {
        response.cluster = choice->name;
        response.cluster_endpoint = choice->endpoint;
    }
    cp_reply_message(req, &response.base);
}

/* ---- when the partition at hand knows none: it may just have come to its shard ---- */

struct query {
    const char *wanted;
    bool must_exist;
};

typedef Switchyard__Internal__ClustersPart ClustersPart;

static void *make(struct cp_gather_part *part, size_t size)
{
    void *memory = sy_arena_alloc(&part->arena, size);
    SY_ASSERT(memory != NULL); /* clusters are few */
    return memset(memory, 0, size);
}

static ClustersPart *new_result(struct cp_gather_part *part)
{
    ClustersPart *result = make(part, sizeof(*result));
    switchyard__internal__clusters_part__init(result);
    part->result = result;
    return result;
}

static bool count_known(void *ctx, const struct cp_cluster_view *cluster)
{
    (void)cluster;
    ++*(size_t *)ctx;
    return true;
}

static bool add_known(void *ctx, const struct cp_cluster_view *cluster)
{
    struct cp_gather_part *part = ctx;
    ClustersPart *result = part->result;
    Switchyard__Internal__KnownCluster *known = make(part, sizeof(*known));
    switchyard__internal__known_cluster__init(known);
    known->name = sy_arena_strdup(&part->arena, cluster->name);
    known->endpoint = sy_arena_strdup(&part->arena, cluster->endpoint);
    known->ready = is_ready(cluster);
    SY_ASSERT(known->name != NULL && known->endpoint != NULL);
    result->clusters[result->n_clusters++] = known;
    return true;
}

static bool collect(struct cp_gather_part *part)
{
    struct cp_partition *p = part->lane->partition;
    size_t count = 0;
    cp_partition_each_cluster(p, count_known, &count);
    ClustersPart *result = new_result(part);
    result->clusters = make(part, count * sizeof(void *));
    cp_partition_each_cluster(p, add_known, part);
    return true;
}

static void pack(const struct cp_gather_part *part, cp_part_reply *reply)
{
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_CLUSTERS;
    reply->clusters = part->result;
}

static int unpack(struct cp_gather_part *part, const cp_part_reply *reply)
{
    if (reply->part_case != SWITCHYARD__INTERNAL__PART_REPLY__PART_CLUSTERS)
        return -EBADMSG;
    part->result = reply->clusters;
    return 0;
}

static void absent(struct cp_gather_part *part)
{
    (void)new_result(part);
}

static void finish(struct cp_gather *gather)
{
    const struct query *query = gather->query;
    struct choice choice = {.wanted = query->wanted, .arena = cp_scratch(gather->req->lane)};
    for (uint32_t i = 0; i < gather->count; i++) {
        const ClustersPart *part = gather->parts[i].result;
        for (size_t k = 0; k < part->n_clusters; k++)
            consider(&choice, part->clusters[k]->name, part->clusters[k]->endpoint,
                     part->clusters[k]->ready);
    }
    reply_choice(gather->req, &choice, query->must_exist);
}

static void ask_all(struct cp_request *req, const char *wanted, bool must_exist)
{
    static const struct cp_gather_kind kind = {
        .collect = collect, .pack = pack, .unpack = unpack, .absent = absent, .finish = finish};
    struct query *query = cp_request_alloc(req, sizeof(*query));
    query->must_exist = must_exist;
    if (wanted != NULL) {
        size_t size = strlen(wanted) + 1;
        query->wanted = memcpy(cp_request_alloc(req, size), wanted, size);
    }
    cp_gather_all(req, query, &kind);
}

/* ---- SelectCluster ---- */

static void answer(struct cp_request *req, const char *wanted, bool must_exist)
{
    struct choice choice = {.wanted = wanted, .arena = &req->lane->scratch};
    cp_partition_each_cluster(req->lane->partition, consider_view, &choice);
    if (choice.name == NULL && req->lane->shard->in_region != NULL)
        ask_all(req, wanted, must_exist);
    else
        reply_choice(req, &choice, must_exist);
}

static void select_cluster(struct cp_request *req)
{
    const select_request *m = req->message;
    struct sy_arena *arena = cp_scratch(req->lane);
    if (req->of_part) {
        ask_all(req, NULL, false);
        return;
    }
    if (!cp_partition_serving(req->lane->partition)) {
        cp_fail_not_serving(req);
        return;
    }
    if (m->resource_case == FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_CLUSTER_ID) {
        answer(req, m->cluster_id->name, true);
        return;
    }
    const char *cluster = "";
    if (req->address.action != NULL) {
        struct cp_run_view run;
        struct cp_action_view action;
        if (!cp_view_run(req, arena, &run) ||
            !cp_view_action(req, arena, run.id, req->address.action, &action))
            return;
        cluster = action.cluster != NULL ? action.cluster : "";
    }
    answer(req, cluster[0] != '\0' ? cluster : NULL, false);
}

const struct cp_method cp_cluster_methods[] = {
    {.path = "/flyteidl2.cluster.ClusterService/SelectCluster",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__cluster__select_cluster_request__descriptor,
     .address = select_address,
     .serve = select_cluster,
     .anywhere = true,
     .parts = true},
    {0},
};
