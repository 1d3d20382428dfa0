#include "tools/src/cl_methods.h"

#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

#define RUNS "/flyteidl2.workflow.RunService/"
#define ACTIONS "/switchyard.v1.ActionService/"
#define REGION "/switchyard.v1.RegionService/"
#define CLUSTERS "/switchyard.v1.ClusterService/"
#define QUEUES "/switchyard.v1.QueueService/"
#define EXPLAIN "/switchyard.v1.ExplainService/"

const struct cl_method cl_create_run = {RUNS "CreateRun",
                                        &flyteidl2__workflow__create_run_response__descriptor};
const struct cl_method cl_abort_run = {RUNS "AbortRun",
                                       &flyteidl2__workflow__abort_run_response__descriptor};
const struct cl_method cl_abort_action = {RUNS "AbortAction",
                                          &flyteidl2__workflow__abort_action_response__descriptor};
const struct cl_method cl_get_run_details = {
    RUNS "GetRunDetails", &flyteidl2__workflow__get_run_details_response__descriptor};
const struct cl_method cl_get_action_details = {
    RUNS "GetActionDetails", &flyteidl2__workflow__get_action_details_response__descriptor};
const struct cl_method cl_get_action_data = {
    RUNS "GetActionData", &flyteidl2__workflow__get_action_data_response__descriptor};
const struct cl_method cl_get_action_data_uris = {
    RUNS "GetActionDataURIs", &flyteidl2__workflow__get_action_data_uris_response__descriptor};
const struct cl_method cl_get_object = {"/switchyard.internal.ObjectStore/GetObject",
                                        &switchyard__internal__get_object_response__descriptor};
const struct cl_method cl_list_runs = {RUNS "ListRuns",
                                       &flyteidl2__workflow__list_runs_response__descriptor};
const struct cl_method cl_list_actions = {RUNS "ListActions",
                                          &flyteidl2__workflow__list_actions_response__descriptor};
const struct cl_method cl_watch_runs = {RUNS "WatchRuns",
                                        &flyteidl2__workflow__watch_runs_response__descriptor};
const struct cl_method cl_select_cluster = {
    "/flyteidl2.cluster.ClusterService/SelectCluster",
    &flyteidl2__cluster__select_cluster_response__descriptor};
const struct cl_method cl_enqueue_actions = {ACTIONS "EnqueueActions",
                                             &switchyard__v1__enqueue_actions_response__descriptor};
const struct cl_method cl_wait_children = {ACTIONS "WaitChildren",
                                           &switchyard__v1__wait_children_response__descriptor};
const struct cl_method cl_watch_run = {ACTIONS "WatchRun",
                                       &switchyard__v1__watch_run_response__descriptor};
const struct cl_method cl_read_logs = {"/switchyard.v1.LogService/ReadLogs",
                                       &switchyard__v1__read_logs_response__descriptor};
const struct cl_method cl_get_region_status = {
    REGION "GetRegionStatus", &switchyard__v1__get_region_status_response__descriptor};
const struct cl_method cl_list_clusters = {REGION "ListClusters",
                                           &switchyard__v1__list_clusters_response__descriptor};
const struct cl_method cl_list_nodes = {REGION "ListNodes",
                                        &switchyard__v1__list_nodes_response__descriptor};
const struct cl_method cl_create_cluster = {CLUSTERS "CreateCluster",
                                            &switchyard__v1__create_cluster_response__descriptor};
const struct cl_method cl_create_join_token = {
    CLUSTERS "CreateJoinToken", &switchyard__v1__create_join_token_response__descriptor};
const struct cl_method cl_revoke_join_token = {
    CLUSTERS "RevokeJoinToken", &switchyard__v1__revoke_join_token_response__descriptor};
const struct cl_method cl_delete_cluster = {CLUSTERS "DeleteCluster",
                                            &switchyard__v1__delete_cluster_response__descriptor};
const struct cl_method cl_cordon_cluster = {CLUSTERS "CordonCluster",
                                            &switchyard__v1__order_cluster_response__descriptor};
const struct cl_method cl_uncordon_cluster = {CLUSTERS "UncordonCluster",
                                              &switchyard__v1__order_cluster_response__descriptor};
const struct cl_method cl_drain_cluster = {CLUSTERS "DrainCluster",
                                           &switchyard__v1__order_cluster_response__descriptor};
const struct cl_method cl_fence_cluster = {CLUSTERS "FenceCluster",
                                           &switchyard__v1__order_cluster_response__descriptor};
const struct cl_method cl_unfence_cluster = {CLUSTERS "UnfenceCluster",
                                             &switchyard__v1__order_cluster_response__descriptor};
const struct cl_method cl_cordon_node = {REGION "CordonNode",
                                         &switchyard__v1__order_node_response__descriptor};
const struct cl_method cl_uncordon_node = {REGION "UncordonNode",
                                           &switchyard__v1__order_node_response__descriptor};
const struct cl_method cl_drain_node = {REGION "DrainNode",
                                        &switchyard__v1__order_node_response__descriptor};
const struct cl_method cl_fence_node = {REGION "FenceNode",
                                        &switchyard__v1__order_node_response__descriptor};
const struct cl_method cl_unfence_node = {REGION "UnfenceNode",
                                          &switchyard__v1__order_node_response__descriptor};
const struct cl_method cl_get_region_map = {REGION "GetRegionMap",
                                            &switchyard__v1__get_region_map_response__descriptor};
const struct cl_method cl_watch_region_map = {REGION "WatchRegionMap",
                                              &switchyard__v1__get_region_map_response__descriptor};
const struct cl_method cl_split_partition = {REGION "SplitPartition",
                                             &switchyard__v1__split_partition_response__descriptor};
const struct cl_method cl_move_partition = {REGION "MovePartition",
                                            &switchyard__v1__move_partition_response__descriptor};
const struct cl_method cl_rebalance_region = {REGION "RebalanceRegion",
                                              &switchyard__v1__region_moves__descriptor};
const struct cl_method cl_drain_shard = {REGION "DrainShard",
                                         &switchyard__v1__region_moves__descriptor};
const struct cl_method cl_use_copy = {REGION "UseCopy",
                                      &switchyard__v1__use_copy_response__descriptor};
const struct cl_method cl_undrain_shard = {REGION "UndrainShard",
                                           &switchyard__v1__order_shard_response__descriptor};

#define QUEUE_METHOD(name)                                                                         \
    {                                                                                              \
        QUEUES name, &switchyard__v1__get_queue_response__descriptor                               \
    }
const struct cl_method cl_create_queue = QUEUE_METHOD("CreateQueue");
const struct cl_method cl_update_queue = QUEUE_METHOD("UpdateQueue");
const struct cl_method cl_pause_queue = QUEUE_METHOD("PauseQueue");
const struct cl_method cl_resume_queue = QUEUE_METHOD("ResumeQueue");
const struct cl_method cl_describe_queue = QUEUE_METHOD("GetQueue");
const struct cl_method cl_delete_queue = {QUEUES "DeleteQueue",
                                          &switchyard__v1__delete_queue_response__descriptor};
const struct cl_method cl_list_queues = {QUEUES "ListQueues",
                                         &switchyard__v1__list_queues_response__descriptor};

const struct cl_method cl_explain_action = {EXPLAIN "ExplainAction",
                                            &switchyard__v1__explain_action_response__descriptor};
const struct cl_method cl_dry_run = {EXPLAIN "DryRun",
                                     &switchyard__v1__dry_run_response__descriptor};

void cl_run_id(const struct cl_client *client, const char *name, Switchyard__V1__RunId *ret)
{
    switchyard__v1__run_id__init(ret);
    ret->project = cl_unconst(client->options.project);
    ret->domain = cl_unconst(client->options.domain);
    ret->name = cl_unconst(name);
}

void cl_run_identifier(const struct cl_client *client, const char *name,
                       Flyteidl2__Common__RunIdentifier *ret)
{
    flyteidl2__common__run_identifier__init(ret);
    ret->project = cl_unconst(client->options.project);
    ret->domain = cl_unconst(client->options.domain);
    ret->name = cl_unconst(name);
}

int64_t cl_timestamp_ns(const Google__Protobuf__Timestamp *timestamp)
{
    return timestamp ? timestamp->seconds * SY_NS_PER_S + timestamp->nanos : 0;
}

/* ---- runs ---- */

struct creation {
    struct cl_error *error;
    char *name;
    bool done;
};

static void on_created(void *ctx, const struct cl_error *error, const void *response)
{
    struct creation *creation = ctx;
    const Flyteidl2__Workflow__CreateRunResponse *created = response;
    *creation->error = *error;
    creation->done = true;
    if (!created)
        return;
    const Flyteidl2__Workflow__Run *run = created->run;
    if (run && run->action && run->action->id && run->action->id->run)
        snprintf(creation->name, CL_RUN_NAME_MAX, "%s", run->action->id->run->name);
    if (!*creation->name)
        cl_fail(creation->error, CL_INTERNAL, "the answer to CreateRun does not name the run");
}

static bool creation_done(void *ctx)
{
    const struct creation *creation = ctx;
    return creation->done;
}

void cl_run_pack_create(struct cl_client *client, const struct cl_new_run *run, const char *name,
                        struct sy_buf *append)
{
    Flyteidl2__Workflow__CreateRunRequest request = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier id;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    Flyteidl2__Task__RunSpec run_spec = FLYTEIDL2__TASK__RUN_SPEC__INIT;
    cl_run_identifier(client, name, &id);
    project.name = cl_unconst(client->options.project);
    project.domain = cl_unconst(client->options.domain);
    if (*name) {
        request.id_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID_RUN_ID;
        request.run_id = &id;
    } else {
        request.id_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID_PROJECT_ID;
        request.project_id = &project;
    }
    uint8_t *bytes = (uint8_t *)cl_unconst((const char *)run->task_spec.data);
    request.task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_SPEC;
    request.task_spec = (ProtobufCBinaryData){run->task_spec.len, bytes};
    if (run->input.len > 0) {
        bytes = (uint8_t *)cl_unconst((const char *)run->input.data);
        request.input_wrapper_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER_INPUTS;
        request.inputs = (ProtobufCBinaryData){run->input.len, bytes};
    }
    if (run->queue) {
        run_spec.queue = cl_unconst(run->queue);
        request.run_spec = &run_spec;
    }
    request.source = FLYTEIDL2__WORKFLOW__RUN_SOURCE__RUN_SOURCE_CLI;
    pb_pack(&request.base, append);
}

enum cl_exit cl_run_create(struct cl_client *client, const struct cl_new_run *run,
                           char name[CL_RUN_NAME_MAX], struct cl_error *error)
{
    char request_id[27];
    cl_random_name(client, request_id, sizeof(request_id) - 1);
    struct cl_start_options options = {.request_id = request_id};
    struct sy_buf packed SY_CLEANUP(sy_buf_deinit) = {0};
    cl_run_pack_create(client, run, name, &packed);
    struct creation creation = {.error = error, .name = name};
    for (int attempt = 0; attempt < 3; attempt++) {
        struct sy_buf bytes = sy_buf_copy(packed.data, packed.len);
        creation.done = false;
        cl_start(client, &cl_create_run, &bytes, &options, on_created, &creation);
        if (!cl_wait(client, creation_done, &creation, 0)) {
            cl_cancel_all(client);
            return cl_fail(error, CL_INTERRUPTED, "interrupted");
        }
        if (error->exit != CL_UNREACHABLE)
            break;
        cl_sleep(client, 100 * SY_NS_PER_MS);
    }
    return error->exit;
}

enum cl_exit cl_run_abort(struct cl_client *client, const char *name, const char *reason,
                          struct cl_error *error)
{
    Flyteidl2__Workflow__AbortRunRequest request = FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier id;
    cl_run_identifier(client, name, &id);
    request.run_id = &id;
    if (reason) {
        request._reason_case = FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST___REASON_REASON;
        request.reason = cl_unconst(reason);
    }
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    (void)cl_call(client, &cl_abort_run, &request.base, &arena, error);
    sy_arena_deinit(&arena);
    return error->exit;
}
