/*
 * GetActionData: the content of an action's inputs.pb and outputs.pb. Where they are is asked of
 * the control plane, which also has what is small and native. Outputs that are not there yet are
 * empty.
 */
#include "dataplane/data_impl.h"

#include "base/mem.h"

#include "flyteidl2/workflow/run_service.pb-c.h"

#include <string.h>

#define NATIVE_SCHEME "sy://" /* objects of native tasks: not Flyte's to read */

/* ---- the answer ---- */

static void reply(struct dp_job *job)
{
    struct sy_buf response = {0};
    sy_buf_reserve(&response, job->inputs.len + job->outputs.len + 64);
    dp_wire_put_bytes(&response, 1, sy_buf_span(&job->inputs));
    dp_wire_put_bytes(&response, 2, sy_buf_span(&job->outputs));
    dp_wire_put_text(&response, 3, job->inputs_uri);
    dp_wire_put_text(&response, 4, job->outputs_uri);
    dp_job_reply(job, &response);
}

/* Whether there is something to read; false also when the job failed. */
static bool readable(const char *uri)
{
    return uri[0] && strncmp(uri, NATIVE_SCHEME, strlen(NATIVE_SCHEME)) != 0;
}

static bool owned(struct dp_job *job, const char *uri)
{
    if (sy_blobs_owns(job->data->blobs, uri))
        return true;
    dp_job_fail(job, SY_CODE_FAILED_PRECONDITION,
                "'%.300s' is not in the storage of cluster '%s' (%s)", uri, job->data->cluster,
                sy_blobs_root(job->data->blobs));
    return false;
}

static void on_outputs(void *ctx, int r, struct sy_span bytes, const struct sy_error_text *error)
{
    struct dp_job *job = ctx;
    if (r < 0 && r != -ENOENT) {
        dp_job_fail_blob(job, r, error);
        return;
    }
    if (r == 0)
        sy_buf_append(&job->outputs, bytes.data, bytes.len);
    reply(job);
}

static void read_outputs(struct dp_job *job)
{
    if (!readable(job->outputs_uri))
        reply(job);
    else if (owned(job, job->outputs_uri))
        sy_blob_get(job->data->blobs, job->outputs_uri, DP_INLINE_BYTES_MAX, on_outputs, job);
}

static void on_inputs(void *ctx, int r, struct sy_span bytes, const struct sy_error_text *error)
{
    struct dp_job *job = ctx;
    if (r < 0) {
        dp_job_fail_blob(job, r, error);
        return;
    }
    sy_buf_append(&job->inputs, bytes.data, bytes.len);
    read_outputs(job);
}

static void read_inputs(struct dp_job *job)
{
    if (!readable(job->inputs_uri))
        read_outputs(job);
    else if (owned(job, job->inputs_uri))
        sy_blob_get(job->data->blobs, job->inputs_uri, DP_INLINE_BYTES_MAX, on_inputs, job);
}

/* ---- asking ---- */

static void on_inline(struct dp_job *job, struct sy_span reply_span)
{
    struct dp_wire_field field;
    while (dp_wire_next(&reply_span, &field) == 0) {
        if (field.type != DP_WIRE_BYTES)
            continue;
        struct sy_buf *to = field.number == 1   ? &job->inputs
                            : field.number == 2 ? &job->outputs
                                                : NULL;
        const char *uri = field.number == 1 ? job->inputs_uri : job->outputs_uri;
        if (to && !uri[0])
            sy_buf_append(to, field.bytes.data, field.bytes.len);
    }
    read_inputs(job);
}

/* A task's outputs are named by the attempt's directory, a trace's by the file. */
static char *outputs_file(const char *uri)
{
    static const char suffix[] = ".pb";
    size_t len = strlen(uri);
    bool file = len > strlen(suffix) && strcmp(uri + len - strlen(suffix), suffix) == 0;
    if (len == 0 || file || !readable(uri))
        return sy_strdup(uri);
    struct sy_buf text = {0};
    sy_buf_printf(&text, "%s%s" PB_OUTPUTS_FILE, uri, uri[len - 1] == '/' ? "" : "/");
    return (char *)text.data; /* printf has put a NUL behind it */
}

static void on_uris(struct dp_job *job, struct sy_span span)
{
    const Flyteidl2__Workflow__GetActionDataURIsResponse *uris = dp_job_unpack(
        job, &flyteidl2__workflow__get_action_data_uris_response__descriptor, span);
    if (!uris)
        return;
    job->inputs_uri = sy_strdup(uris->inputs_uri);
    job->outputs_uri = outputs_file(uris->outputs_uri);
    if (uris->inputs_uri[0] && uris->outputs_uri[0]) {
        read_inputs(job);
        return;
    }
    struct sy_buf question = sy_buf_copy(job->question.data, job->question.len);
    dp_job_ask(job, "/flyteidl2.workflow.RunService/GetActionData", &question, on_inline);
}

/* Both questions have the form of the request: the action in field 1. Whether it is one, the
 * control plane says. */
void dp_data_get_action_data(void *ctx, struct sy_call *call, struct sy_span span)
{
    struct dp_job *job = dp_job_new(ctx, call);
    struct dp_wire_field field;
    struct sy_span action = {0};
    int r;
    if (!job)
        return;
    while ((r = dp_wire_next(&span, &field)) == 0) {
        if (field.number == 1 && field.type == DP_WIRE_BYTES)
            action = field.bytes;
    }
    if (r != DP_WIRE_E_END || !action.data) {
        dp_job_fail(job, SY_CODE_INVALID_ARGUMENT, "action_id: is needed");
        return;
    }
    struct sy_buf question = {0};
    dp_wire_put_record(&question, 1, action);
    dp_job_ask(job, "/flyteidl2.workflow.RunService/GetActionDataURIs", &question, on_uris);
}
