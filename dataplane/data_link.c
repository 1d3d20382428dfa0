/*
 * CreateDownloadLink: a signed URL of an attempt's report, or of a task's code bundle. Where an
 * attempt's files lie follows from where its action's do; where the code is, its task's spec says.
 */
#include "dataplane/data_impl.h"

#include "base/mem.h"

#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"
#include "flyteidl2/task/task_definition.pb-c.h"
#include "flyteidl2/task/task_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Flyteidl2__Dataproxy__CreateDownloadLinkRequest link_request;

/* ---- the link; job->outputs_uri is what it leads to ---- */

static void on_stat(void *ctx, int r, uint64_t size, const struct sy_error_text *error)
{
    struct dp_job *job = ctx;
    (void)size;
    if (r < 0) {
        dp_job_fail_blob(job, r, error);
        return;
    }
    struct dp_token token = {.bytes = UINT64_MAX, .expires_s = job->expires_s};
    struct sy_buf url = {0}, urls = {0}, response = {0};
    dp_put_signed_url(job->data, job->outputs_uri, &token, &url);
    dp_wire_put_bytes(&urls, 1, sy_buf_span(&url));
    dp_put_timestamp(&urls, 2, job->expires_s);
    dp_wire_put_record(&response, 1, sy_buf_span(&urls));
    dp_job_reply(job, &response);
    sy_buf_deinit(&url);
    sy_buf_deinit(&urls);
}

static void link_to(struct dp_job *job, char *uri)
{
    job->outputs_uri = uri;
    sy_blob_stat(job->data->blobs, uri, on_stat, job);
}

/* ---- reports ---- */

/* An attempt's directory, without or with its outputs.pb, ends in its number: with another number
 * it is another attempt's. Appends nothing when the URI is not of that form. */
static void put_report(const char *outputs_uri, unsigned attempt, struct sy_buf *uri)
{
    static const char file[] = "/" PB_OUTPUTS_FILE;
    size_t len = strlen(outputs_uri), front;
    if (len >= sizeof(file) && strcmp(outputs_uri + len - (sizeof(file) - 1), file) == 0)
        len -= sizeof(file) - 1;
    while (len > 0 && outputs_uri[len - 1] == '/')
        len--;
    for (front = len; front > 0 && strchr("0123456789", outputs_uri[front - 1]);)
        front--;
    if (front > 0 && front < len && strchr("/-", outputs_uri[front - 1]))
        sy_buf_printf(uri, "%.*s%u/" PB_REPORT_FILE, (int)front, outputs_uri, attempt);
}

static void on_uris(struct dp_job *job, struct sy_span span)
{
    const Flyteidl2__Workflow__GetActionDataURIsResponse *uris = dp_job_unpack(
        job, &flyteidl2__workflow__get_action_data_uris_response__descriptor, span);
    if (!uris)
        return;
    struct sy_buf uri = {0};
    const link_request *request = job->request;
    put_report(uris->outputs_uri, request->action_attempt_id->attempt, &uri);
    if (uri.len > 0)
        link_to(job, (char *)uri.data); /* printf has put a NUL behind it */
    else
        dp_job_fail(job, SY_CODE_NOT_FOUND, "the action has no report (yet)");
}

/* ---- code bundles ---- */

/* The SDK puts it among the arguments that start the task. */
static const char *bundle_in(const Flyteidl2__Task__TaskSpec *spec)
{
    const Flyteidl2__Core__TaskTemplate *template = spec->task_template;
    if (!template)
        return "";
    bool container = template->target_case == FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER;
    size_t count = container ? template->container->n_args : 0;
    for (size_t i = 0; i + 1 < count; i++) {
        const char *arg = template->container->args[i];
        if (strcmp(arg, "--tgz") == 0 || strcmp(arg, "--pkl") == 0)
            return template->container->args[i + 1];
    }
    return template->metadata ? template->metadata->code_bundle_uri : "";
}

static void link_to_bundle(struct dp_job *job, ProtobufCBinaryData bytes)
{
    const Flyteidl2__Task__TaskSpec *spec = pb_unpack(&flyteidl2__task__task_spec__descriptor,
                                                      &job->arena,
                                                      (struct sy_span){bytes.data, bytes.len});
    const char *uri = spec ? bundle_in(spec) : "";
    if (uri[0])
        link_to(job, sy_strdup(uri));
    else
        dp_job_fail(job, SY_CODE_NOT_FOUND, "the task has no code bundle");
}

static void on_action(struct dp_job *job, struct sy_span span)
{
    const Flyteidl2__Workflow__GetActionDetailsResponse *response = dp_job_unpack(
        job, &flyteidl2__workflow__get_action_details_response__descriptor, span);
    if (!response)
        return;
    const Flyteidl2__Workflow__ActionDetails *details = response->details;
    if (!details || details->spec_case != FLYTEIDL2__WORKFLOW__ACTION_DETAILS__SPEC_TASK)
        dp_job_fail(job, SY_CODE_NOT_FOUND, "the action is not of a task with code");
    else
        link_to_bundle(job, details->task);
}

static void on_task(struct dp_job *job, struct sy_span span)
{
    const Flyteidl2__Task__GetTaskDetailsResponse *response = dp_job_unpack(
        job, &flyteidl2__task__get_task_details_response__descriptor, span);
    if (response && !response->details)
        dp_job_fail(job, SY_CODE_INTERNAL, "the control plane sent no details");
    else if (response)
        link_to_bundle(job, response->details->spec);
}

/* ---- the call ---- */

#define SOURCE(name) FLYTEIDL2__DATAPROXY__CREATE_DOWNLOAD_LINK_REQUEST__SOURCE_##name
#define REPORT FLYTEIDL2__DATAPROXY__ARTIFACT_TYPE__ARTIFACT_TYPE_REPORT
#define CODE_BUNDLE FLYTEIDL2__DATAPROXY__ARTIFACT_TYPE__ARTIFACT_TYPE_CODE_BUNDLE

static int check_link(const link_request *request, struct sy_error_text *error)
{
    const Flyteidl2__Common__ActionAttemptIdentifier *attempt =
        request->source_case == SOURCE(ACTION_ATTEMPT_ID) ? request->action_attempt_id : NULL;
    bool task = request->source_case == SOURCE(TASK_ID);
    if (request->artifact_type != REPORT && request->artifact_type != CODE_BUNDLE)
        sy_error_text_set(error, "artifact_type: expected REPORT or CODE_BUNDLE");
    else if (task && request->artifact_type != CODE_BUNDLE)
        sy_error_text_set(error, "task_id: a task has no report; its actions have");
    else if (!task &&
             (!attempt || !attempt->action_id || !attempt->action_id->run || attempt->attempt == 0))
        sy_error_text_set(error, "action_attempt_id: is needed, with attempts counted from 1");
    else
        return 0;
    return -EINVAL;
}

static void ask(struct dp_job *job, const link_request *request)
{
    struct sy_buf question = {0};
    if (request->source_case == SOURCE(TASK_ID)) {
        Flyteidl2__Task__GetTaskDetailsRequest task =
            FLYTEIDL2__TASK__GET_TASK_DETAILS_REQUEST__INIT;
        task.task_id = request->task_id;
        pb_pack(&task.base, &question);
        dp_job_ask(job, "/flyteidl2.task.TaskService/GetTaskDetails", &question, on_task);
        return;
    }
    /* Both questions have the same form. */
    Flyteidl2__Workflow__GetActionDataURIsRequest action =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DATA_URIS_REQUEST__INIT;
    action.action_id = request->action_attempt_id->action_id;
    pb_pack(&action.base, &question);
    if (request->artifact_type == CODE_BUNDLE)
        dp_job_ask(job, "/flyteidl2.workflow.RunService/GetActionDetails", &question, on_action);
    else
        dp_job_ask(job, "/flyteidl2.workflow.RunService/GetActionDataURIs", &question, on_uris);
}

void dp_data_link(struct dp_job *job, const link_request *request)
{
    struct sy_error_text error = {{"malformed request, or a NUL byte in a string"}};
    job->request = request;
    if (!request || check_link(request, &error) < 0 ||
        dp_expiry(job->data, request->expires_in, &job->expires_s, &error) < 0)
        dp_job_fail(job, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
    else
        ask(job, request);
}

void dp_data_create_download_link(void *ctx, struct sy_call *call, struct sy_span span)
{
    struct dp_job *job = dp_job_new(ctx, call);
    if (job)
        dp_data_link(job, dp_decode(&flyteidl2__dataproxy__create_download_link_request__descriptor,
                                    &job->arena, span));
}
