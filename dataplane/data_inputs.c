/*
 * UploadInputs: the inputs of a run to come become a blob named by its content, so that the same
 * inputs are there once, and a client's retry changes nothing. The control plane is told where they
 * are and what they hash to, less the inputs that the task's cache ignores.
 */
#include "dataplane/data_impl.h"

#include "base/mem.h"
#include "dataplane/inputs_hash.h"

#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"
#include "flyteidl2/task/task_definition.pb-c.h"
#include "flyteidl2/task/task_service.pb-c.h"

#include <string.h>

typedef Flyteidl2__Dataproxy__UploadInputsRequest inputs_request;

#define CASE(name) FLYTEIDL2__DATAPROXY__UPLOAD_INPUTS_REQUEST__##name

static struct sy_span inputs_of(const struct dp_job *job)
{
    const inputs_request *request = job->request;
    return (struct sy_span){request->inputs.data, request->inputs.len};
}

/* ---- storing ---- */

/* job->outputs is the hash by now. */
static void on_put(void *ctx, int r, const struct sy_error_text *error)
{
    struct dp_job *job = ctx;
    if (r < 0) {
        dp_job_fail_blob(job, r, error);
        return;
    }
    struct sy_buf offloaded = {0}, response = {0};
    dp_wire_put_text(&offloaded, 1, job->inputs_uri);
    dp_wire_put_bytes(&offloaded, 2, sy_buf_span(&job->outputs));
    dp_wire_put_record(&response, 1, sy_buf_span(&offloaded));
    sy_buf_deinit(&offloaded);
    dp_job_reply(job, &response);
}

static char *inputs_uri(const struct dp_job *job)
{
    const inputs_request *request = job->request;
    bool run = request->id_case == CASE(ID_RUN_ID);
    uint8_t digest[SY_SHA256_BYTES];
    struct sy_buf hex = {0}, uri = {0};
    sy_sha256(inputs_of(job), digest);
    sy_hex_put(&hex, digest, sizeof(digest));
    sy_buf_append(&hex, "", 1);
    pb_path_upload(&uri, sy_blobs_root(job->data->blobs),
                   run ? request->run_id->project : request->project_id->name,
                   run ? request->run_id->domain : request->project_id->domain,
                   (const char *)hex.data, PB_INPUTS_FILE);
    sy_buf_deinit(&hex);
    return (char *)uri.data; /* printf has put a NUL behind it */
}

static void store(struct dp_job *job, char *const *ignored, size_t ignored_count)
{
    struct sy_span inputs = inputs_of(job);
    if (dp_inputs_hash(inputs, ignored, ignored_count, &job->outputs) < 0) {
        dp_job_fail(job, SY_CODE_INVALID_ARGUMENT,
                    "inputs: not a flyteidl2.task.Inputs, or nested too deeply");
        return;
    }
    struct sy_buf bytes = sy_buf_copy(inputs.data, inputs.len);
    job->inputs_uri = inputs_uri(job);
    sy_blob_put(job->data->blobs, job->inputs_uri, &bytes, on_put, job);
}

/* ---- which inputs are ignored ---- */

static void store_with_spec(struct dp_job *job, struct sy_span bytes)
{
    const Flyteidl2__Task__TaskSpec *spec = pb_unpack(&flyteidl2__task__task_spec__descriptor,
                                                      &job->arena, bytes);
    if (!spec) {
        dp_job_fail(job, SY_CODE_INVALID_ARGUMENT, "task_spec: malformed");
        return;
    }
    const Flyteidl2__Core__TaskMetadata *metadata = spec->task_template
                                                        ? spec->task_template->metadata
                                                        : NULL;
    store(job, metadata ? metadata->cache_ignore_input_vars : NULL,
          metadata ? metadata->n_cache_ignore_input_vars : 0);
}

static void on_task(struct dp_job *job, struct sy_span span)
{
    const Flyteidl2__Task__GetTaskDetailsResponse *response = dp_job_unpack(
        job, &flyteidl2__task__get_task_details_response__descriptor, span);
    if (response && !response->details)
        dp_job_fail(job, SY_CODE_INTERNAL, "the control plane sent no details");
    else if (response)
        store_with_spec(
            job, (struct sy_span){response->details->spec.data, response->details->spec.len});
}

static void ask_task(struct dp_job *job, Flyteidl2__Task__TaskIdentifier *id)
{
    Flyteidl2__Task__GetTaskDetailsRequest ask = FLYTEIDL2__TASK__GET_TASK_DETAILS_REQUEST__INIT;
    struct sy_buf question = {0};
    ask.task_id = id;
    pb_pack(&ask.base, &question);
    dp_job_ask(job, "/flyteidl2.task.TaskService/GetTaskDetails", &question, on_task);
}

/* ---- the call ---- */

static int check_request(const inputs_request *request, struct sy_error_text *error)
{
    switch (request->id_case) {
    case CASE(ID_RUN_ID):
        return dp_check_names(request->run_id->project, request->run_id->domain, error);
    case CASE(ID_PROJECT_ID):
        return dp_check_names(request->project_id->name, request->project_id->domain, error);
    default:
        sy_error_text_set(error, "id: run_id or project_id is needed");
        return -EINVAL;
    }
}

void dp_data_upload_inputs(void *ctx, struct sy_call *call, struct sy_span span)
{
    struct sy_error_text error = {{"malformed request, or a NUL byte in a string"}};
    struct dp_job *job = dp_job_new(ctx, call);
    if (!job)
        return;
    const inputs_request *request = dp_decode(
        &flyteidl2__dataproxy__upload_inputs_request__descriptor, &job->arena, span);
    job->request = request;
    if (!request || check_request(request, &error) < 0) {
        dp_job_fail(job, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    switch (request->task_case) {
    case CASE(TASK_TASK_SPEC):
        store_with_spec(job, (struct sy_span){request->task_spec.data, request->task_spec.len});
        break;
    case CASE(TASK_TASK_ID):
        ask_task(job, request->task_id);
        break;
    default: /* a trigger names its task itself; what it ignores is looked at when it fires */
        store(job, NULL, 0);
        break;
    }
}
