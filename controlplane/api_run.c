/*
 * flyteidl2.workflow.RunService: creating, reading and aborting runs. Lists are in api_list.c,
 * watches in api_watch.c.
 */
#include "controlplane/flyte.h"
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"
#include "proto/run_paths.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

typedef Flyteidl2__Workflow__CreateRunRequest create_request;

/* ---- CreateRun ---- */

/* "" without one. */
static const char *request_id(const struct cp_request *req)
{
    const char *id = sy_call_metadata(req->call, "x-request-id");
    return id != NULL ? id : "";
}

/* The partition of the run that this one recovers, whose rows it will read; UINT32_MAX: it may lie
 * in any. -EINVAL with a sentence. */
static int partition_wanted(const struct cp_request *req, uint32_t *ret,
                            struct sy_error_text *error)
{
    const create_request *m = req->message;
    const Flyteidl2__Common__Relation *relation = m->run_spec != NULL ? m->run_spec->relation
                                                                      : NULL;
    *ret = UINT32_MAX;
    if (relation == NULL ||
        relation->relation_type != FLYTEIDL2__COMMON__RELATION_TYPE__RELATION_TYPE_RECOVER)
        return 0;
    const Flyteidl2__Common__RunIdentifier *run = relation->related_to;
    if (run == NULL) {
        sy_error_text_set(error, "run_spec.relation.related_to: missing");
        return -EINVAL;
    }
    if (cp_name_check("run_spec.relation.related_to.project", run->project, error) < 0 ||
        cp_name_check("run_spec.relation.related_to.domain", run->domain, error) < 0 ||
        cp_name_check("run_spec.relation.related_to.name", run->name, error) < 0)
        return -EINVAL;
    *ret = cp_shard_partition_of(req->lane->shard, run->project, run->domain, run->name);
    return 0;
}

static uint32_t partition_of(const struct cp_request *req)
{
    const struct cp_address *a = &req->address;
    return cp_shard_partition_of(req->lane->shard, a->project, a->domain, a->run);
}

/* Another shard has made it. */
static bool forwarded_name(const struct cp_request *req, char ret[CP_NAME_MADE_SIZE])
{
    const char *run = sy_call_metadata(req->call, CP_RUN_KEY);
    const char *name = run != NULL ? strrchr(run, '/') : NULL;
    if (sy_call_metadata(req->call, CP_FORWARDED_KEY) == NULL || name == NULL ||
        strlen(name + 1) >= CP_NAME_MADE_SIZE || cp_name_check("run", name + 1, NULL) < 0)
        return false;
    snprintf(ret, CP_NAME_MADE_SIZE, "%s", name + 1);
    return true;
}

static int made_name(struct cp_request *req, uint32_t wanted, struct sy_error_text *error)
{
    struct cp_address *a = &req->address;
    const char *id = request_id(req);
    char *name = cp_request_alloc(req, CP_NAME_MADE_SIZE);
    if (cp_text_check("metadata x-request-id", id, CP_REQUEST_ID_LENGTH_MAX, error) < 0)
        return -EINVAL;
    a->run = name;
    for (uint32_t salt = 0;; salt++) {
        if (forwarded_name(req, name))
            return 0;
        if (id[0] != '\0')
            cp_name_from_request(name, a->project, a->domain, id, salt);
        else
            cp_name_random(name, &req->lane->shard->rng); /* addresses are made on the front */
        if (wanted == UINT32_MAX || partition_of(req) == wanted)
            return 0; /* partitions are as large as each other: some tries will do */
    }
}

static int given_name(struct cp_request *req, uint32_t wanted, struct sy_error_text *error)
{
    const create_request *m = req->message;
    if (cp_address_run(req, m->run_id, error) < 0 ||
        cp_text_check("metadata x-request-id", request_id(req), CP_REQUEST_ID_LENGTH_MAX, error) <
            0)
        return -EINVAL;
    if (wanted == UINT32_MAX || partition_of(req) == wanted)
        return 0;
    sy_error_text_set(error,
                      "run_id '%s': a run that recovers another must lie in its partition; "
                      "leave the name out to have one made that does",
                      req->address.run);
    return -EINVAL;
}

static int create_address(struct cp_request *req, struct sy_error_text *error)
{
    const create_request *m = req->message;
    uint32_t wanted;
    if (partition_wanted(req, &wanted, error) < 0)
        return -EINVAL;
    if (m->id_case == FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID_RUN_ID)
        return given_name(req, wanted, error);
    if (m->id_case != FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID_PROJECT_ID ||
        m->project_id == NULL) {
        sy_error_text_set(error, "id: missing; give run_id, or project_id to have a name made");
        return -EINVAL;
    }
    if (cp_address_org(req, m->project_id->organization, error) < 0 ||
        cp_name_check("project_id.name", m->project_id->name, error) < 0 ||
        cp_name_check("project_id.domain", m->project_id->domain, error) < 0)
        return -EINVAL;
    req->address.project = m->project_id->name;
    req->address.domain = m->project_id->domain;
    return made_name(req, wanted, error);
}

static enum sy_code read_task(const create_request *m, struct sy_span *ret,
                              struct sy_error_text *error)
{
    switch (m->task_case) {
    case FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_SPEC:
        *ret = (struct sy_span){m->task_spec.data, m->task_spec.len};
        if (ret->len > 0)
            return SY_CODE_OK;
        break;
    default:
        break;
    }
    sy_error_text_set(error, "task_spec: missing");
    return SY_CODE_INVALID_ARGUMENT;
}

static enum sy_code read_input(const create_request *m, size_t inline_max,
                               struct cp_new_action *root, struct sy_error_text *error)
{
    switch (m->input_wrapper_case) {
    case FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER_OFFLOADED_INPUT_DATA:
        root->input_uri = m->offloaded_input_data != NULL ? m->offloaded_input_data->uri : "";
        if (root->input_uri[0] == '\0') {
            sy_error_text_set(error, "offloaded_input_data.uri: missing");
            return SY_CODE_INVALID_ARGUMENT;
        }
        return cp_text_check("offloaded_input_data.uri", root->input_uri, CP_TEXT_MAX, error) < 0
                   ? SY_CODE_INVALID_ARGUMENT
                   : SY_CODE_OK;
    case FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER_INPUTS:
        root->input = (struct sy_span){m->inputs.data, m->inputs.len};
        if (m->inputs.len <= inline_max)
            return SY_CODE_OK;
        sy_error_text_set(error,
                          "inputs: %zu bytes, at most %zu may be inline; upload them and give "
                          "offloaded_input_data",
                          m->inputs.len, inline_max);
        return SY_CODE_INVALID_ARGUMENT;
    default:
        return SY_CODE_OK;
    }
}

/* What CreateRun answers: the root as it was when it was submitted. The row is made up, not read: a
 * retried request hears the same. */
static void created(void *arg, const struct sy_status *status)
{
    struct cp_request *req = arg;
    if (status->code != SY_CODE_OK) {
        cp_fail_status(req, status);
        return;
    }
    const create_request *m = req->message;
    struct cp_lane *lane = req->lane;
    struct sy_arena *arena = cp_scratch(lane);
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits(m->task_spec.data, m->task_spec.len));
    const struct cp_task_names *names = cp_task_names_find(&lane->names, digest.digest);
    if (names == NULL)
        names = cp_task_names_add(&lane->names, digest.digest,
                                  (struct sy_span){m->task_spec.data, m->task_spec.len}, arena);
    Switchyard__Internal__Store__ActionRow row = SWITCHYARD__INTERNAL__STORE__ACTION_ROW__INIT;
    row.spec_digest = (ProtobufCBinaryData){sizeof(digest.digest), digest.digest};
    row.created_ns = sy_loop_realtime_ns(lane->loop);
    struct cp_action_view root = {
        .name = SCH_ROOT_NAME, .row = &row, .phase = SWITCHYARD__V1__PHASE__PHASE_QUEUED};
    struct cp_flyte f = cp_request_flyte(req);
    Flyteidl2__Workflow__CreateRunResponse response =
        FLYTEIDL2__WORKFLOW__CREATE_RUN_RESPONSE__INIT;
    response.run = cp_flyte_run(&f, &root, names, NULL);
    cp_reply_message(req, &response.base);
}

/* The RunSpec as it came (unknown fields are kept), with the start time that the request sets. */
static struct sy_span pack_run_spec(struct cp_request *req)
{
    const create_request *m = req->message;
    struct sy_buf *buf = &req->lane->buf;
    sy_buf_clear(buf);
    Flyteidl2__Task__RunSpec empty = FLYTEIDL2__TASK__RUN_SPEC__INIT;
    Flyteidl2__Task__RunSpec *spec = m->run_spec != NULL ? m->run_spec : &empty;
    if (m->run_start_time != NULL && spec->run_start_time == NULL)
        spec->run_start_time = m->run_start_time;
    pb_pack(&spec->base, buf);
    return sy_buf_span(buf);
}

/* "" without one. */
static const char *inputs_hash(const create_request *m)
{
    bool offloaded = m->input_wrapper_case ==
                     FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER_OFFLOADED_INPUT_DATA;
    return offloaded && m->offloaded_input_data != NULL ? m->offloaded_input_data->inputs_hash : "";
}

/* What the root's row keeps for Flyte's API: the organization, which tasks are told, and the cache
 * key, which a child's parent sends and a root's client does not. */
static struct sy_span pack_root(struct cp_request *req, struct sy_buf *buf)
{
    const create_request *m = req->message;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    Flyteidl2__Common__ActionIdentifier id = FLYTEIDL2__COMMON__ACTION_IDENTIFIER__INIT;
    Flyteidl2__Actions__Action root = FLYTEIDL2__ACTIONS__ACTION__INIT;
    Flyteidl2__Workflow__TaskAction task = FLYTEIDL2__WORKFLOW__TASK_ACTION__INIT;
    Google__Protobuf__StringValue key = GOOGLE__PROTOBUF__STRING_VALUE__INIT;
    const char *org = req->address.org != NULL ? req->address.org : "";
    struct sy_span spec = {m->task_spec.data, m->task_spec.len};
    key.value = cp_flyte_cache_key(&req->arena, spec, inputs_hash(m));
    if (org[0] == '\0' && key.value == NULL)
        return (struct sy_span){0};
    run.org = (char *)(uintptr_t)org;
    id.run = &run;
    root.action_id = &id;
    if (key.value != NULL) {
        task.cache_key = &key;
        root.spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_TASK;
        root.task = &task;
    }
    pb_pack(&root.base, buf);
    return sy_buf_span(buf);
}

static void create_run(struct cp_request *req)
{
    if (cp_task_resolve(req, create_run))
        return;
    const create_request *m = req->message;
    struct cp_create_run create = {
        .project = req->address.project,
        .domain = req->address.domain,
        .name = req->address.run,
        .request_id = request_id(req),
        .inputs_hash = inputs_hash(m),
    };
    struct sy_error_text error = {0};
    enum sy_code code = read_task(m, &create.task_spec, &error);
    if (code == SY_CODE_OK)
        code = read_input(m, req->lane->shard->options.partition.inline_bytes_max, &create.root,
                          &error);
    if (code != SY_CODE_OK) {
        cp_fail(req, code, "%s", error.text);
        return;
    }
    struct sy_buf SY_CLEANUP(sy_buf_deinit) root = {0};
    create.run_spec = pack_run_spec(req);
    create.flyte = pack_root(req, &root);
    cp_partition_create_run(req->lane->partition, &create, created, req);
}

/* ---- reading ---- */

static int run_of_details(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__GetRunDetailsRequest *m = req->message;
    return cp_address_run(req, m->run_id, error);
}

static void get_run_details(struct cp_request *req)
{
    struct cp_details details = {0};
    struct sy_buf response = {0};
    if (cp_details_read(req, SCH_ROOT_NAME, &details)) {
        cp_details_pack_run(req, &details, &response);
        cp_reply(req, &response);
    }
    sy_buf_deinit(&details.spec);
}

/* All requests about one action have the same form: `action_id`, field 1. */
static int action_of_details(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__GetActionDetailsRequest *m = req->message;
    return cp_address_action(req, m->action_id, error);
}

static void get_action_details(struct cp_request *req)
{
    struct cp_details details = {0};
    struct sy_buf response = {0};
    if (cp_details_read(req, req->address.action, &details)) {
        cp_details_pack_action(req, &details, &response);
        cp_reply(req, &response);
    }
    sy_buf_deinit(&details.spec);
}

static int action_of_uris(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__GetActionDataURIsRequest *m = req->message;
    return cp_address_action(req, m->action_id, error);
}

/* The file itself: of a Flyte task the outcome names the attempt's directory. A trace names a file,
 * a native task an object. */
static char *outputs_uri(struct sy_arena *arena, const struct cp_action_view *action)
{
    char *uri = action->outcome != NULL ? action->outcome->output_uri : NULL;
    if (uri == NULL || uri[0] == '\0')
        return (char *)(uintptr_t) "";
    if (action->row->spec_digest.len == 0 || strncmp(uri, "sy://", 5) == 0)
        return uri;
    char *file = sy_arena_printf(arena, "%s/" PB_OUTPUTS_FILE, uri);
    SY_ASSERT(file != NULL);
    return file;
}

static void get_action_data_uris(struct cp_request *req)
{
    struct sy_arena *arena = cp_scratch(req->lane);
    struct cp_run_view run;
    struct cp_action_view action;
    if (!cp_view_run(req, arena, &run) ||
        !cp_view_action(req, arena, run.id, req->address.action, &action))
        return;
    Flyteidl2__Workflow__GetActionDataURIsResponse response =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DATA_URIS_RESPONSE__INIT;
    response.inputs_uri = action.row->input_uri;
    response.outputs_uri = outputs_uri(arena, &action);
    cp_reply_message(req, &response.base);
}

static int action_of_data(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__GetActionDataRequest *m = req->message;
    return cp_address_action(req, m->action_id, error);
}

/* What is kept here: inline bytes, as the client or the task gave them. What was offloaded lies
 * with the cluster, and its address is in GetActionDataURIs. */
static void get_action_data(struct cp_request *req)
{
    struct sy_arena *arena = cp_scratch(req->lane);
    struct cp_run_view run;
    struct cp_action_view action;
    if (!cp_view_run(req, arena, &run) ||
        !cp_view_action(req, arena, run.id, req->address.action, &action))
        return;
    Flyteidl2__Workflow__GetActionDataResponse response =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DATA_RESPONSE__INIT;
    response.inputs = action.row->input;
    if (action.outcome != NULL)
        response.outputs = action.outcome->output;
    cp_reply_message(req, &response.base);
}

static int action_of_log_context(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__GetActionLogContextRequest *m = req->message;
    return cp_address_action(req, m->action_id, error);
}

/* Where the attempt's log is; 0 asks for the last. */
static void reply_log_context(struct cp_request *req, const struct cp_details *details)
{
    const Flyteidl2__Workflow__GetActionLogContextRequest *m = req->message;
    struct cp_flyte f = cp_request_flyte(req);
    const Flyteidl2__Workflow__ActionDetails *action = cp_flyte_details(
        &f, &details->action, details->names, sy_buf_span(&details->spec));
    size_t number = m->attempt > 0 ? m->attempt : action->n_attempts;
    if (number == 0 || number > action->n_attempts) {
        cp_fail(req, SY_CODE_NOT_FOUND, "action '%s' has no attempt %zu", details->action.name,
                number > 0 ? number : 1);
        return;
    }
    const Flyteidl2__Workflow__ActionAttempt *attempt = action->attempts[number - 1];
    Flyteidl2__Workflow__GetActionLogContextResponse response =
        FLYTEIDL2__WORKFLOW__GET_ACTION_LOG_CONTEXT_RESPONSE__INIT;
    response.log_context = attempt->log_context;
    response.cluster = attempt->cluster;
    response.start_time = attempt->start_time;
    response.end_time = attempt->end_time;
    cp_reply_message(req, &response.base);
}

static void get_action_log_context(struct cp_request *req)
{
    struct cp_details details = {0};
    if (cp_details_read(req, req->address.action, &details))
        reply_log_context(req, &details);
    sy_buf_deinit(&details.spec);
}

/* ---- aborting ---- */

static int run_to_abort(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__AbortRunRequest *m = req->message;
    if (m->_reason_case == FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST___REASON_REASON &&
        cp_text_check("reason", m->reason, CP_TEXT_MAX, error) < 0)
        return -EINVAL;
    return cp_address_run(req, m->run_id, error);
}

static void abort_run(struct cp_request *req)
{
    const Flyteidl2__Workflow__AbortRunRequest *m = req->message;
    const struct cp_address *a = &req->address;
    bool given = m->_reason_case == FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST___REASON_REASON;
    cp_partition_abort(req->lane->partition, a->project, a->domain, a->run, SCH_ROOT_NAME,
                       given ? m->reason : "", cp_done_empty, req);
}

static int action_to_abort(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__AbortActionRequest *m = req->message;
    if (cp_text_check("reason", m->reason, CP_TEXT_MAX, error) < 0)
        return -EINVAL;
    return cp_address_action(req, m->action_id, error);
}

static void abort_action(struct cp_request *req)
{
    const Flyteidl2__Workflow__AbortActionRequest *m = req->message;
    const struct cp_address *a = &req->address;
    cp_partition_abort(req->lane->partition, a->project, a->domain, a->run, a->action, m->reason,
                       cp_done_empty, req);
}

#define RUN_SERVICE "/flyteidl2.workflow.RunService/"

const struct cp_method cp_run_methods[] = {
    {.path = RUN_SERVICE "CreateRun",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__create_run_request__descriptor,
     .address = create_address,
     .serve = create_run,
     .parts = true},
    {.path = RUN_SERVICE "GetRunDetails",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__get_run_details_request__descriptor,
     .address = run_of_details,
     .serve = get_run_details},
    {.path = RUN_SERVICE "GetActionDetails",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__get_action_details_request__descriptor,
     .address = action_of_details,
     .serve = get_action_details},
    {.path = RUN_SERVICE "GetActionData",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__get_action_data_request__descriptor,
     .address = action_of_data,
     .serve = get_action_data},
    {.path = RUN_SERVICE "GetActionDataURIs",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__get_action_data_uris_request__descriptor,
     .address = action_of_uris,
     .serve = get_action_data_uris},
    {.path = RUN_SERVICE "AbortRun",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__abort_run_request__descriptor,
     .address = run_to_abort,
     .serve = abort_run},
    {.path = RUN_SERVICE "AbortAction",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__abort_action_request__descriptor,
     .address = action_to_abort,
     .serve = abort_action},
    {.path = "/flyteidl2.workflow.QueueService/AbortQueuedRun", /* the same on the wire */
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__abort_run_request__descriptor,
     .address = run_to_abort,
     .serve = abort_run},
    {.path = RUN_SERVICE "GetActionLogContext",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__get_action_log_context_request__descriptor,
     .address = action_of_log_context,
     .serve = get_action_log_context},
    {.path = RUN_SERVICE "WatchGroups",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &flyteidl2__workflow__watch_groups_request__descriptor,
     .serve = cp_groups_watch_serve,
     .parts = true},
    {0},
};
