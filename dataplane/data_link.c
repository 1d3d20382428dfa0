/*
 * CreateDownloadLink: a signed URL of an attempt's report. Where the attempt's files lie follows
 * from where its action's do.
 */
#include "dataplane/data_impl.h"

#include "base/mem.h"

#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Flyteidl2__Dataproxy__CreateDownloadLinkRequest link_request;

/* job->outputs_uri is the report's. */
static void on_stat(void *ctx, int r, uint64_t size, const struct sy_error_text *error)
{
    struct dp_job *job = ctx;
    const link_request *request = job->request;
    (void)size;
    if (r == -ENOENT) {
        dp_job_fail(job, SY_CODE_NOT_FOUND, "attempt %u of action '%.80s' has no report",
                    request->action_attempt_id->attempt,
                    request->action_attempt_id->action_id->name);
        return;
    }
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

/* DIR/N of the last attempt, less the N: with the number of another one behind it that is its
 * directory. 0: no such directory. */
static size_t attempts_dir(const char *outputs_uri)
{
    size_t len = strlen(outputs_uri), digits = 0;
    while (len > 0 && outputs_uri[len - 1] == '/')
        len--;
    while (digits < len && outputs_uri[len - 1 - digits] >= '0' &&
           outputs_uri[len - 1 - digits] <= '9')
        digits++;
    return digits > 0 && digits < len && outputs_uri[len - 1 - digits] == '/' ? len - 1 - digits
                                                                              : 0;
}

static void put_report(const struct dp_job *job, const char *outputs_uri, struct sy_buf *uri)
{
    const link_request *request = job->request;
    const Flyteidl2__Common__ActionIdentifier *action = request->action_attempt_id->action_id;
    size_t dir = attempts_dir(outputs_uri);
    if (dir > 0) {
        sy_buf_printf(uri, "%.*s/%u", (int)dir, outputs_uri, request->action_attempt_id->attempt);
    } else { /* it still runs */
        struct sy_buf base = {0};
        pb_path_run_base(&base, sy_blobs_root(job->data->blobs), action->run->project,
                         action->run->domain, action->run->name);
        sy_buf_append(&base, "", 1);
        pb_path_attempt(uri, (const char *)base.data, action->name,
                        request->action_attempt_id->attempt);
        sy_buf_deinit(&base);
    }
    sy_buf_printf(uri, "/" PB_REPORT_FILE);
}

static void on_uris(struct dp_job *job, const struct sy_status *status, struct sy_span span)
{
    if (status->code != SY_CODE_OK) {
        dp_job_forward(job, status);
        return;
    }
    const Flyteidl2__Workflow__GetActionDataURIsResponse *uris = pb_unpack(
        &flyteidl2__workflow__get_action_data_uris_response__descriptor, &job->arena, span);
    if (!uris) {
        dp_job_fail(job, SY_CODE_INTERNAL, "the control plane sent a malformed answer");
        return;
    }
    struct sy_buf uri = {0};
    put_report(job, uris->outputs_uri, &uri);
    job->outputs_uri = (char *)uri.data; /* printf has put a NUL behind it */
    sy_blob_stat(job->data->blobs, job->outputs_uri, on_stat, job);
}

static int check_link(const link_request *request, struct sy_error_text *error)
{
    const Flyteidl2__Common__ActionAttemptIdentifier *attempt =
        request->source_case ==
                FLYTEIDL2__DATAPROXY__CREATE_DOWNLOAD_LINK_REQUEST__SOURCE_ACTION_ATTEMPT_ID
            ? request->action_attempt_id
            : NULL;
    if (request->artifact_type != FLYTEIDL2__DATAPROXY__ARTIFACT_TYPE__ARTIFACT_TYPE_REPORT)
        sy_error_text_set(error, "artifact_type: only reports have links; code bundles are read "
                                 "from storage");
    else if (!attempt || !attempt->action_id || !attempt->action_id->run || attempt->attempt == 0)
        sy_error_text_set(error, "action_attempt_id: is needed, with attempts counted from 1");
    else
        return 0;
    return -EINVAL;
}

void dp_data_create_download_link(void *ctx, struct sy_call *call, struct sy_span span)
{
    struct sy_error_text error = {{"malformed request, or a NUL byte in a string"}};
    struct dp_job *job = dp_job_new(ctx, call);
    if (!job)
        return;
    const link_request *request = dp_decode(
        &flyteidl2__dataproxy__create_download_link_request__descriptor, &job->arena, span);
    job->request = request;
    if (!request || check_link(request, &error) < 0 ||
        dp_expiry(job->data, request->expires_in, &job->expires_s, &error) < 0) {
        dp_job_fail(job, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    Flyteidl2__Workflow__GetActionDataURIsRequest ask =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DATA_URIS_REQUEST__INIT;
    struct sy_buf question = {0};
    ask.action_id = request->action_attempt_id->action_id;
    pb_pack(&ask.base, &question);
    dp_job_ask(job, "/flyteidl2.workflow.RunService/GetActionDataURIs", &question, on_uris);
}
