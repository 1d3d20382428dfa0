/* links: dp */
/* UploadInputs, GetActionData, CreateDownloadLink. */
#include "tests/unit/test_dp_data.h"

/* ---- inputs ---- */

/* Inputs{x = integer 1}, and its hash as the SDK has it. */
static uint8_t inputs_x1[] = {0x0a, 0x0b, 0x0a, 0x01, 0x78, 0x12, 0x06,
                              0x0a, 0x04, 0x0a, 0x02, 0x08, 0x01};
#define HASH_X1 "mwz8D2D27AaNIuSl3c0hyVeHhgDGpyQZdtnWBWKxGAc="

static void pack_spec(struct sy_buf *spec_bytes, const char *ignored)
{
    Flyteidl2__Task__TaskSpec spec = FLYTEIDL2__TASK__TASK_SPEC__INIT;
    Flyteidl2__Core__TaskTemplate template = FLYTEIDL2__CORE__TASK_TEMPLATE__INIT;
    Flyteidl2__Core__TaskMetadata metadata = FLYTEIDL2__CORE__TASK_METADATA__INIT;
    char *names[] = {(char *)(uintptr_t)ignored};
    metadata.cache_ignore_input_vars = names;
    metadata.n_cache_ignore_input_vars = 1;
    template.metadata = &metadata;
    spec.task_template = &template;
    pb_pack(&spec.base, spec_bytes);
}

static void expect_inputs(struct world *w, const Flyteidl2__Dataproxy__UploadInputsRequest *request,
                          const char *hash)
{
    struct reply reply = {0};
    struct sy_buf bytes = {0};
    ck_assert_msg(call(w, SERVICE "UploadInputs", &request->base, &reply) == SY_CODE_OK, "%s",
                  reply.text.text);
    Flyteidl2__Dataproxy__UploadInputsResponse *response = message_of(
        &reply, &flyteidl2__dataproxy__upload_inputs_response__descriptor);
    ck_assert_str_eq(response->offloaded_input_data->inputs_hash, hash);
    ck_assert_int_eq(sy_file_read(response->offloaded_input_data->uri, 1000, &bytes), 0);
    ck_assert_uint_eq(bytes.len, request->inputs.len);
    ck_assert(bytes.len == 0 || memcmp(bytes.data, request->inputs.data, bytes.len) == 0);
    ck_assert_ptr_nonnull(strstr(response->offloaded_input_data->uri, "/uploads/p/d/"));
    protobuf_c_message_free_unpacked(&response->base, NULL);
    sy_buf_deinit(&bytes);
    sy_buf_deinit(&reply.bytes);
}

START_TEST(inputs_are_stored_and_hashed)
{
    struct world w;
    struct sy_buf spec = {0};
    world_init(&w);
    Flyteidl2__Dataproxy__UploadInputsRequest request =
        FLYTEIDL2__DATAPROXY__UPLOAD_INPUTS_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    Flyteidl2__Task__TaskIdentifier task = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
    run.org = TEXT("127"); /* any */
    run.project = TEXT("p");
    run.domain = TEXT("d");
    run.name = TEXT("r1");
    request.run_id = &run;
    request.id_case = FLYTEIDL2__DATAPROXY__UPLOAD_INPUTS_REQUEST__ID_RUN_ID;
    request.inputs.data = inputs_x1;
    request.inputs.len = sizeof(inputs_x1);
    pack_spec(&spec, "y");
    request.task_spec.data = spec.data;
    request.task_spec.len = spec.len;
    request.task_case = FLYTEIDL2__DATAPROXY__UPLOAD_INPUTS_REQUEST__TASK_TASK_SPEC;
    expect_inputs(&w, &request, HASH_X1);
    sy_buf_clear(&spec);
    pack_spec(&spec, "x");
    request.task_spec.data = spec.data;
    expect_inputs(&w, &request, PB_NO_INPUTS_HASH);
    ck_assert_int_eq(w.asked, 0);
    pack_spec(&w.task_spec, "x"); /* a deployed task's spec is asked for */
    request.task_id = &task;
    request.task_case = FLYTEIDL2__DATAPROXY__UPLOAD_INPUTS_REQUEST__TASK_TASK_ID;
    expect_inputs(&w, &request, PB_NO_INPUTS_HASH);
    ck_assert_int_eq(w.asked, 1);
    request.inputs.len = 0;
    expect_inputs(&w, &request, PB_NO_INPUTS_HASH);
    sy_buf_deinit(&spec);
    world_deinit(&w);
}
END_TEST

START_TEST(bad_inputs)
{
    struct world w;
    struct reply reply = {0};
    world_init(&w);
    Flyteidl2__Dataproxy__UploadInputsRequest request =
        FLYTEIDL2__DATAPROXY__UPLOAD_INPUTS_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    Flyteidl2__Task__TaskIdentifier task = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
    const char *method = SERVICE "UploadInputs";
    ck_assert_int_eq(call(&w, method, &request.base, &reply), SY_CODE_INVALID_ARGUMENT);
    project.name = TEXT("..");
    project.domain = TEXT("d");
    request.project_id = &project;
    request.id_case = FLYTEIDL2__DATAPROXY__UPLOAD_INPUTS_REQUEST__ID_PROJECT_ID;
    ck_assert_int_eq(call(&w, method, &request.base, &reply), SY_CODE_INVALID_ARGUMENT);
    project.name = TEXT("p");
    request.inputs.data = inputs_x1;
    request.inputs.len = sizeof(inputs_x1) - 1; /* cut */
    ck_assert_int_eq(call(&w, method, &request.base, &reply), SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(reply.text.text, "inputs"));
    request.inputs.len++;
    request.task_id = &task;
    request.task_case = FLYTEIDL2__DATAPROXY__UPLOAD_INPUTS_REQUEST__TASK_TASK_ID;
    w.code = SY_CODE_NOT_FOUND;
    ck_assert_int_eq(call(&w, method, &request.base, &reply), SY_CODE_NOT_FOUND);
    ck_assert_uint_eq(files_in(w.store), 0);
    sy_buf_deinit(&reply.bytes);
    world_deinit(&w);
}
END_TEST

/* ---- reading ---- */

static Flyteidl2__Common__RunIdentifier a_run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
static Flyteidl2__Common__ActionIdentifier an_action = FLYTEIDL2__COMMON__ACTION_IDENTIFIER__INIT;

static Flyteidl2__Common__ActionIdentifier *action(void)
{
    a_run.project = TEXT("p");
    a_run.domain = TEXT("d");
    a_run.name = TEXT("r1");
    an_action.run = &a_run;
    an_action.name = TEXT("a0");
    return &an_action;
}

static void store(struct world *w, const char *name, const char *text, size_t len)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", w->store, name);
    *strrchr(path, '/') = '\0';
    ck_assert_int_eq(sy_mkdir_p(path, 0700), 0);
    path[strlen(path)] = '/';
    ck_assert_int_eq(sy_file_write_atomic(path, text, len), 0);
}

static Flyteidl2__Dataproxy__GetActionDataResponse *read_data(struct world *w, enum sy_code code)
{
    struct reply reply = {0};
    Flyteidl2__Dataproxy__GetActionDataRequest request =
        FLYTEIDL2__DATAPROXY__GET_ACTION_DATA_REQUEST__INIT;
    request.action_id = action();
    ck_assert_msg(call(w, SERVICE "GetActionData", &request.base, &reply) == code, "%d %s",
                  reply.code, reply.text.text);
    Flyteidl2__Dataproxy__GetActionDataResponse *response =
        code == SY_CODE_OK
            ? message_of(&reply, &flyteidl2__dataproxy__get_action_data_response__descriptor)
            : NULL;
    sy_buf_deinit(&reply.bytes);
    return response;
}

static void expect_data(struct world *w, const char *inputs, const char *outputs)
{
    Flyteidl2__Dataproxy__GetActionDataResponse *data = read_data(w, SY_CODE_OK);
    ck_assert_uint_eq(data->inputs.len, strlen(inputs));
    ck_assert_int_eq(strncmp((const char *)data->inputs.data, inputs, data->inputs.len), 0);
    ck_assert_uint_eq(data->outputs.len, strlen(outputs));
    ck_assert(!outputs[0] ||
              strncmp((const char *)data->outputs.data, outputs, data->outputs.len) == 0);
    ck_assert_str_eq(data->inputs_uri, w->inputs_uri);
    protobuf_c_message_free_unpacked(&data->base, NULL);
}

START_TEST(data_of_an_action)
{
    struct world w;
    world_init(&w);
    store(&w, "p/d/r1/a0/inputs.pb", "IN", 2);
    snprintf(w.inputs_uri, sizeof(w.inputs_uri), "%s/p/d/r1/a0/inputs.pb", w.store);
    expect_data(&w, "IN", ""); /* it runs */
    snprintf(w.outputs_uri, sizeof(w.outputs_uri), "%s/p/d/r1/a0/1", w.store);
    expect_data(&w, "IN", ""); /* it has none */
    store(&w, "p/d/r1/a0/1/outputs.pb", "OUT", 3);
    expect_data(&w, "IN", "OUT");
    snprintf(w.outputs_uri, sizeof(w.outputs_uri), "%s/p/d/r1/a0/1/outputs.pb", w.store);
    expect_data(&w, "IN", "OUT"); /* of a trace: the file */
    size_t len = (size_t)11 << 20;
    char *large = sy_calloc(1, len);
    store(&w, "p/d/r1/a0/1/outputs.pb", large, len);
    Flyteidl2__Dataproxy__GetActionDataResponse *data = read_data(&w, SY_CODE_OK);
    ck_assert_uint_eq(data->outputs.len, len);
    protobuf_c_message_free_unpacked(&data->base, NULL);
    free(large);
    world_deinit(&w);
}
END_TEST

START_TEST(data_that_is_elsewhere)
{
    struct world w;
    world_init(&w);
    w.inline_inputs = "SMALL"; /* native: the control plane has it */
    expect_data(&w, "SMALL", "");
    snprintf(w.outputs_uri, sizeof(w.outputs_uri), "sy://c1/0123");
    expect_data(&w, "SMALL", "");
    snprintf(w.outputs_uri, sizeof(w.outputs_uri), "s3://other/bucket");
    ck_assert_ptr_null(read_data(&w, SY_CODE_FAILED_PRECONDITION));
    snprintf(w.outputs_uri, sizeof(w.outputs_uri), "%s/../../etc", w.store);
    ck_assert_ptr_null(read_data(&w, SY_CODE_FAILED_PRECONDITION));
    snprintf(w.inputs_uri, sizeof(w.inputs_uri), "%s/gone/inputs.pb", w.store);
    w.outputs_uri[0] = '\0';
    ck_assert_ptr_null(read_data(&w, SY_CODE_NOT_FOUND));
    w.code = SY_CODE_NOT_FOUND;
    ck_assert_ptr_null(read_data(&w, SY_CODE_NOT_FOUND));
    sy_server_free(sy_take(w.shard));
    ck_assert_ptr_null(read_data(&w, SY_CODE_UNAVAILABLE));
    world_deinit(&w);
}
END_TEST

/* The operator's shards come and go; a question that is under way is answered. */
START_TEST(it_asks_the_shards_that_there_are)
{
    static const char *const some[] = {"shard2", "shard1", "shard0"}, *const none[] = {"shard2"};
    struct world w;
    world_init(&w);
    store(&w, "inputs.pb", "IN", 2);
    store(&w, "outputs.pb", "OUT", 3);
    snprintf(w.inputs_uri, sizeof(w.inputs_uri), "%s/inputs.pb", w.store);
    snprintf(w.outputs_uri, sizeof(w.outputs_uri), "%s/outputs.pb", w.store);
    dp_data_set_shards(w.data, none, 1);
    ck_assert_ptr_null(read_data(&w, SY_CODE_UNAVAILABLE));
    dp_data_set_shards(w.data, NULL, 0);
    ck_assert_ptr_null(read_data(&w, SY_CODE_UNAVAILABLE));
    dp_data_set_shards(w.data, none, 1);
    dp_data_set_shards(w.data, some, 3); /* the last word counts */
    expect_data(&w, "IN", "OUT");
    dp_data_set_shards(w.data, some, 2);
    expect_data(&w, "IN", "OUT");
    w.shard_gone = none;
    expect_data(&w, "IN", "OUT");
    w.shard_gone = NULL;
    ck_assert_ptr_null(read_data(&w, SY_CODE_UNAVAILABLE));
    dp_data_set_shards(w.data, some, 3); /* and is not waited for when it ends */
    world_deinit(&w);
}
END_TEST

static enum sy_code make_link(struct world *w, unsigned attempt, char url[512])
{
    struct reply reply = {0};
    Flyteidl2__Dataproxy__CreateDownloadLinkRequest request =
        FLYTEIDL2__DATAPROXY__CREATE_DOWNLOAD_LINK_REQUEST__INIT;
    Flyteidl2__Common__ActionAttemptIdentifier id =
        FLYTEIDL2__COMMON__ACTION_ATTEMPT_IDENTIFIER__INIT;
    id.action_id = action();
    id.attempt = attempt;
    request.artifact_type = FLYTEIDL2__DATAPROXY__ARTIFACT_TYPE__ARTIFACT_TYPE_REPORT;
    request.action_attempt_id = &id;
    request.source_case =
        FLYTEIDL2__DATAPROXY__CREATE_DOWNLOAD_LINK_REQUEST__SOURCE_ACTION_ATTEMPT_ID;
    if (call(w, SERVICE "CreateDownloadLink", &request.base, &reply) == SY_CODE_OK) {
        Flyteidl2__Dataproxy__CreateDownloadLinkResponse *response = message_of(
            &reply, &flyteidl2__dataproxy__create_download_link_response__descriptor);
        ck_assert_uint_eq(response->pre_signed_urls->n_signed_url, 1);
        snprintf(url, 512, "%s", response->pre_signed_urls->signed_url[0]);
        protobuf_c_message_free_unpacked(&response->base, NULL);
    }
    sy_buf_deinit(&reply.bytes);
    return reply.code;
}

START_TEST(links_to_reports)
{
    struct world w;
    char url[512];
    struct dp_token token;
    struct sy_error_text error;
    world_init(&w);
    ck_assert_int_eq(make_link(&w, 1, url), SY_CODE_NOT_FOUND);
    ck_assert_int_eq(make_link(&w, 0, url), SY_CODE_INVALID_ARGUMENT);
    snprintf(w.outputs_uri, sizeof(w.outputs_uri), "%s/own/base/a0/1a2-3", w.store);
    store(&w, "own/base/a0/1a2-1/report.html", "<p>", 3);
    ck_assert_int_eq(make_link(&w, 3, url), SY_CODE_NOT_FOUND);
    ck_assert_int_eq(make_link(&w, 1, url), SY_CODE_OK);
    snprintf(w.outputs_uri, sizeof(w.outputs_uri), "%s/own/base/a0/1a2-3/outputs.pb", w.store);
    ck_assert_int_eq(make_link(&w, 1, url), SY_CODE_OK);
    const char *text = strstr(url, "?token=") + strlen("?token=");
    const char *blob = "own/base/a0/1a2-1/report.html";
    ck_assert_uint_eq(dp_authorize(w.data, blob, text, false, &token, &error), 0);
    ck_assert_uint_eq(dp_authorize(w.data, blob, text, true, &token, &error), 403);
    world_deinit(&w);
}
END_TEST

/* A spec whose task is started with a code bundle, in its arguments or its metadata. */
static void pack_bundle(struct sy_buf *bytes, const char *flag, const char *uri)
{
    Flyteidl2__Task__TaskSpec spec = FLYTEIDL2__TASK__TASK_SPEC__INIT;
    Flyteidl2__Core__TaskTemplate template = FLYTEIDL2__CORE__TASK_TEMPLATE__INIT;
    Flyteidl2__Core__TaskMetadata metadata = FLYTEIDL2__CORE__TASK_METADATA__INIT;
    Flyteidl2__Core__Container container = FLYTEIDL2__CORE__CONTAINER__INIT;
    char *args[] = {TEXT("a0"), TEXT(flag), TEXT(uri), TEXT("--dest")};
    sy_buf_clear(bytes);
    container.args = args;
    container.n_args = SY_COUNT_OF(args);
    metadata.code_bundle_uri = TEXT(flag[0] ? "" : uri);
    template.container = &container;
    template.target_case = FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER;
    template.metadata = &metadata;
    spec.task_template = &template;
    pb_pack(&spec.base, bytes);
}

static enum sy_code bundle_link(struct world *w, bool of_task)
{
    struct reply reply = {0};
    Flyteidl2__Dataproxy__CreateDownloadLinkRequest request =
        FLYTEIDL2__DATAPROXY__CREATE_DOWNLOAD_LINK_REQUEST__INIT;
    Flyteidl2__Common__ActionAttemptIdentifier id =
        FLYTEIDL2__COMMON__ACTION_ATTEMPT_IDENTIFIER__INIT;
    Flyteidl2__Task__TaskIdentifier task = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
    request.artifact_type = FLYTEIDL2__DATAPROXY__ARTIFACT_TYPE__ARTIFACT_TYPE_CODE_BUNDLE;
    id.action_id = action();
    id.attempt = 1;
    if (of_task) {
        request.task_id = &task;
        request.source_case = FLYTEIDL2__DATAPROXY__CREATE_DOWNLOAD_LINK_REQUEST__SOURCE_TASK_ID;
    } else {
        request.action_attempt_id = &id;
        request.source_case =
            FLYTEIDL2__DATAPROXY__CREATE_DOWNLOAD_LINK_REQUEST__SOURCE_ACTION_ATTEMPT_ID;
    }
    enum sy_code code = call(w, SERVICE "CreateDownloadLink", &request.base, &reply);
    ck_assert(code != SY_CODE_OK ||
              memmem(reply.bytes.data, reply.bytes.len, "/data/uploads/p/d/x/code.tgz?token=", 35));
    sy_buf_deinit(&reply.bytes);
    return code;
}

START_TEST(links_to_code)
{
    struct world w;
    char uri[256];
    world_init(&w);
    snprintf(uri, sizeof(uri), "%s/uploads/p/d/x/code.tgz", w.store);
    pack_bundle(&w.task_spec, "--tgz", uri);
    ck_assert_int_eq(bundle_link(&w, false), SY_CODE_NOT_FOUND); /* the bundle is gone */
    store(&w, "uploads/p/d/x/code.tgz", "code", 4);
    ck_assert_int_eq(bundle_link(&w, false), SY_CODE_OK);
    ck_assert_int_eq(bundle_link(&w, true), SY_CODE_OK);
    pack_bundle(&w.task_spec, "", uri);
    ck_assert_int_eq(bundle_link(&w, true), SY_CODE_OK);
    pack_bundle(&w.task_spec, "--verbose", uri);
    ck_assert_int_eq(bundle_link(&w, true), SY_CODE_NOT_FOUND);
    pack_bundle(&w.task_spec, "--tgz", "/etc/passwd"); /* never from outside of the store */
    ck_assert_int_eq(bundle_link(&w, true), SY_CODE_INVALID_ARGUMENT);
    world_deinit(&w);
}
END_TEST

/* Calls that wait when the service goes. */
START_TEST(calls_under_way_when_it_ends)
{
    struct world w;
    struct reply reply = {0};
    world_init(&w);
    Flyteidl2__Dataproxy__GetActionDataRequest request =
        FLYTEIDL2__DATAPROXY__GET_ACTION_DATA_REQUEST__INIT;
    request.action_id = action();
    for (int turns = 1; turns < 8; turns++) {
        struct sy_buf bytes = {0};
        struct sy_call_options options = {.method = SERVICE "GetActionData"};
        pb_pack(&request.base, &bytes);
        reply.count = 0;
        sy_channel_call(w.channel, w.loop, &options, &bytes, on_reply, &reply);
        for (int i = 0; i < turns; i++)
            sy_loop_turn(w.loop);
        dp_data_free(sy_take(w.data));
        sy_server_free(sy_take(w.server));
        run_for(&w, SY_NS_PER_S);
        open_data(&w);
    }
    sy_buf_deinit(&reply.bytes);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {inputs_are_stored_and_hashed,
                            bad_inputs,
                            data_of_an_action,
                            data_that_is_elsewhere,
                            it_asks_the_shards_that_there_are,
                            links_to_reports,
                            links_to_code,
                            calls_under_way_when_it_ends,
                            NULL};
    return sy_test_run("data service", tests);
}
