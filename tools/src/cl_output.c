/* What an action gave: inline from the region, or by reference from the object store of its
 * cluster. */
#include "tools/src/cl_methods.h"

#include <string.h>

struct address {
    Flyteidl2__Common__RunIdentifier run;
    Flyteidl2__Common__ActionIdentifier action;
};

/* `ret` must stay where it is: the action points to the run. */
static void fill_address(struct cl_client *client, const char *run, const char *action,
                         struct address *ret)
{
    cl_run_identifier(client, run, &ret->run);
    flyteidl2__common__action_identifier__init(&ret->action);
    ret->action.run = &ret->run;
    ret->action.name = cl_unconst(action);
}

enum cl_exit cl_find_operator(struct cl_client *client, const char *run, const char *action,
                              struct sy_buf *ret, struct cl_error *error)
{
    Flyteidl2__Cluster__SelectClusterRequest request =
        FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__INIT;
    struct address address;
    fill_address(client, run, action, &address);
    request.resource_case = FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_ACTION_ID;
    request.action_id = &address.action;
    request.operation = FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__OPERATION__OPERATION_TAIL_LOGS;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Flyteidl2__Cluster__SelectClusterResponse *response = cl_call(
        client, &cl_select_cluster, &request.base, &arena, error);
    if (response)
        sy_buf_append_str(ret, response->cluster_endpoint);
    sy_buf_append(ret, "", 1);
    sy_arena_deinit(&arena);
    return error->exit;
}

/* ---- by reference ---- */

struct fetch {
    struct sy_buf *ret;
    bool too_large;
};

static void on_piece(void *ctx, const void *message)
{
    struct fetch *fetch = ctx;
    const Switchyard__Internal__GetObjectResponse *piece = message;
    fetch->too_large |= fetch->ret->len + piece->data.len > CL_OUTPUT_BYTES_MAX;
    if (!fetch->too_large && piece->data.len > 0)
        sy_buf_append(fetch->ret, piece->data.data, piece->data.len);
}

static bool stream_ended(void *ctx)
{
    return cl_stream_ended(ctx);
}

static enum cl_exit fetch_object(struct cl_client *client, const char *run, const char *action,
                                 const char *uri, struct sy_buf *ret, struct cl_error *error)
{
    struct sy_buf endpoint SY_CLEANUP(sy_buf_deinit) = {0};
    if (cl_find_operator(client, run, action, &endpoint, error) != CL_OK)
        return error->exit;
    const char *target = (const char *)endpoint.data;
    struct sy_channel *channel = *target ? sy_channel_new(client->rpc, target) : NULL;
    Switchyard__Internal__GetObjectRequest request = SWITCHYARD__INTERNAL__GET_OBJECT_REQUEST__INIT;
    request.uri = cl_unconst(uri);
    struct fetch fetch = {.ret = ret};
    struct cl_stream *stream = cl_stream_open(client, channel, &cl_get_object, &request.base,
                                              on_piece, &fetch);
    if (!cl_wait(client, stream_ended, stream, 0))
        cl_fail(error, CL_INTERRUPTED, "interrupted");
    else if (fetch.too_large)
        cl_fail(error, CL_REFUSED, "the output of action '%s' is larger than 256 MiB: %s", action,
                uri);
    else
        *error = *cl_stream_error(stream);
    cl_stream_close(stream);
    if (channel)
        sy_channel_free(channel);
    return error->exit;
}

enum cl_exit cl_action_output(struct cl_client *client, const char *run, const char *action,
                              struct sy_buf *ret, struct cl_error *error)
{
    Flyteidl2__Workflow__GetActionDataRequest request =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DATA_REQUEST__INIT;
    Flyteidl2__Workflow__GetActionDataURIsRequest uris_request =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DATA_URIS_REQUEST__INIT;
    struct address address;
    struct sy_arena arena;
    fill_address(client, run, action, &address);
    request.action_id = &address.action;
    uris_request.action_id = &address.action;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Flyteidl2__Workflow__GetActionDataResponse *response = cl_call(
        client, &cl_get_action_data, &request.base, &arena, error);
    const Flyteidl2__Workflow__GetActionDataURIsResponse *uris = NULL;
    if (response && response->outputs.len > 0)
        sy_buf_append(ret, response->outputs.data, response->outputs.len);
    else if (response)
        uris = cl_call(client, &cl_get_action_data_uris, &uris_request.base, &arena, error);
    if (uris && strncmp(uris->outputs_uri, "sy://", 5) == 0)
        fetch_object(client, run, action, uris->outputs_uri, ret, error);
    sy_arena_deinit(&arena);
    return error->exit;
}
