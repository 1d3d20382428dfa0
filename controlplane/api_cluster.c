/*
 * flyteidl2.cluster.ClusterService: where a client finds the data of an action. Every cluster is
 * registered with every partition, so that the partition at hand can answer.
 */
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"

#include "flyteidl2/cluster/payload.pb-c.h"

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

struct choice {
    const char *wanted; /* NULL: any that is ready */
    struct sy_arena *arena;
    char *name, *endpoint; /* NULL: none yet */
};

/* Among ready ones the first by name, so that a client's calls meet at one place. */
static bool consider(void *ctx, const struct cp_cluster_view *cluster)
{
    struct choice *choice = ctx;
    bool fits = choice->wanted != NULL
                    ? strcmp(choice->wanted, cluster->name) == 0
                    : strcmp(cluster->state, "ready") == 0 && cluster->endpoint[0] != '\0';
    if (!fits || (choice->name != NULL && strcmp(choice->name, cluster->name) <= 0))
        return true;
    choice->name = sy_arena_strdup(choice->arena, cluster->name);
    choice->endpoint = sy_arena_strdup(choice->arena, cluster->endpoint);
    SY_ASSERT(choice->name != NULL && choice->endpoint != NULL);
    return true;
}

static void answer(struct cp_request *req, const char *wanted, bool must_exist)
{
    struct choice choice = {.wanted = wanted, .arena = &req->lane->scratch};
    cp_partition_each_cluster(req->lane->partition, consider, &choice);
    if (choice.name == NULL && must_exist) {
        cp_fail(req, SY_CODE_NOT_FOUND, "cluster '%s' is not registered", wanted);
        return;
    }
    Flyteidl2__Cluster__SelectClusterResponse response =
        FLYTEIDL2__CLUSTER__SELECT_CLUSTER_RESPONSE__INIT;
    if (choice.name != NULL) {
        response.cluster = choice.name;
        response.cluster_endpoint = choice.endpoint;
    }
    cp_reply_message(req, &response.base);
}

static void select_cluster(struct cp_request *req)
{
    const select_request *m = req->message;
    struct sy_arena *arena = cp_scratch(req->lane);
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
     .anywhere = true},
    {0},
};
