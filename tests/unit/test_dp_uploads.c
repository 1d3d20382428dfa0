/* links: dp */
/* CreateUploadLocation, and what a PUT brings. */
#include "tests/unit/test_dp_data.h"

/* ---- uploads ---- */

typedef Flyteidl2__Dataproxy__CreateUploadLocationRequest location_request;
typedef Flyteidl2__Dataproxy__CreateUploadLocationResponse location_response;

static uint8_t md5_hello[SY_MD5_BYTES];

static location_request hello_request(void)
{
    location_request request = FLYTEIDL2__DATAPROXY__CREATE_UPLOAD_LOCATION_REQUEST__INIT;
    ck_assert_int_eq(sy_base64_take(MD5_HELLO, md5_hello, sizeof(md5_hello)), 0);
    request.project = TEXT("p");
    request.domain = TEXT("d");
    request.filename = TEXT("code 1.tar.gz");
    request.content_md5.data = md5_hello;
    request.content_md5.len = sizeof(md5_hello);
    return request;
}

struct location {
    char blob[256], token[256], native_url[256];
};

/* The path and the token of a signed URL, as a server sees them. */
static struct location locate(struct world *w, const location_request *request)
{
    struct reply reply = {0};
    struct location location = {0};
    ck_assert_msg(call(w, SERVICE "CreateUploadLocation", &request->base, &reply) == SY_CODE_OK,
                  "%s", reply.text.text);
    location_response *response = message_of(
        &reply, &flyteidl2__dataproxy__create_upload_location_response__descriptor);
    static const char front[] = "http://10.0.0.1:8091" DP_DATA_PATH;
    ck_assert_int_eq(strncmp(response->signed_url, front, strlen(front)), 0);
    const char *token = strstr(response->signed_url, "?token=");
    ck_assert_ptr_nonnull(token);
    snprintf(location.token, sizeof(location.token), "%s", token + strlen("?token="));
    snprintf(location.native_url, sizeof(location.native_url), "%s", response->native_url);
    ck_assert_int_eq(strncmp(response->native_url, w->store, strlen(w->store)), 0);
    snprintf(location.blob, sizeof(location.blob), "%s",
             response->native_url + strlen(w->store) + 1);
    ck_assert_int_gt(response->expires_at->seconds, w->now_ns / SY_NS_PER_S);
    protobuf_c_message_free_unpacked(&response->base, NULL);
    sy_buf_deinit(&reply.bytes);
    return location;
}

struct put {
    int count;
    unsigned status;
    struct sy_error_text why;
};

static void on_put(void *ctx, unsigned status, const char *text)
{
    struct put *put = ctx;
    put->count++;
    put->status = status;
    sy_error_text_set(&put->why, "%s", text);
}

/* As the route does it; the status. */
static unsigned put(struct world *w, const struct dp_upload_request *request, const char *text,
                    struct put *put)
{
    struct dp_upload *upload;
    *put = (struct put){0};
    unsigned status = dp_upload_new(&upload, w->data, request, &put->why);
    if (status != 0)
        return status;
    status = dp_upload_piece(upload, (struct sy_span){(const uint8_t *)text, strlen(text)},
                             &put->why);
    if (status != 0) {
        dp_upload_free(upload);
        return status;
    }
    dp_upload_end(upload, on_put, put);
    ck_assert_int_eq(put->count, 0);
    run_for(w, SY_NS_PER_S);
    ck_assert_int_eq(put->count, 1);
    dp_upload_free(upload);
    ck_assert_uint_eq(w->data->upload_count, 0);
    return put->status;
}

static void expect_content(const char *path, const char *text)
{
    struct sy_buf bytes = {0};
    ck_assert_int_eq(sy_file_read(path, 1000, &bytes), 0);
    ck_assert_uint_eq(bytes.len, strlen(text));
    ck_assert_int_eq(memcmp(bytes.data, text, bytes.len), 0);
    sy_buf_deinit(&bytes);
}

START_TEST(an_upload_becomes_a_blob)
{
    struct world w;
    struct put result;
    world_init(&w);
    location_request request = hello_request();
    struct location at = locate(&w, &request), again = locate(&w, &request);
    ck_assert_str_eq(at.blob, "uploads/p/d/5d41402abc4b2a76b9719d911017c592/code 1.tar.gz");
    ck_assert_str_eq(at.native_url, again.native_url);
    struct dp_upload_request head = {at.blob, at.token, MD5_HELLO, 5};
    ck_assert_msg(put(&w, &head, "hello", &result) == 200, "%s", result.why.text);
    expect_content(at.native_url, "hello");
    ck_assert_uint_eq(put(&w, &head, "hello", &result), 200); /* a replay */
    head.bytes = UINT64_MAX;                                  /* chunked */
    head.md5 = NULL;                                          /* the URL has it */
    ck_assert_uint_eq(put(&w, &head, "hello", &result), 200);
    ck_assert_uint_eq(files_in(w.data->staging), 0);
    request.filename_root = TEXT("some/place");
    at = locate(&w, &request);
    ck_assert_str_eq(at.blob, "uploads/p/d/some/place/code 1.tar.gz");
    world_deinit(&w);
}
END_TEST

START_TEST(a_wrong_upload_leaves_nothing)
{
    struct world w;
    struct put result;
    world_init(&w);
    location_request request = hello_request();
    request.content_length = 5;
    struct location at = locate(&w, &request);
    struct dp_upload_request head = {at.blob, at.token, MD5_HELLO, UINT64_MAX};
    ck_assert_uint_eq(put(&w, &head, "hullo", &result), 400);
    ck_assert_ptr_nonnull(strstr(result.why.text, "MD5"));
    ck_assert_uint_eq(put(&w, &head, "hell", &result), 400); /* short */
    ck_assert_ptr_nonnull(strstr(result.why.text, "4 bytes"));
    ck_assert_uint_eq(put(&w, &head, "hello!", &result), 400); /* long */
    head.bytes = 6;
    ck_assert_uint_eq(put(&w, &head, "hello!", &result), 400); /* says so itself */
    head.bytes = 5;
    head.md5 = "1B2M2Y8AsgTpgAmY7PhCfg=="; /* of nothing */
    ck_assert_uint_eq(put(&w, &head, "hello", &result), 400);
    head.md5 = "not base64";
    ck_assert_uint_eq(put(&w, &head, "hello", &result), 400);
    ck_assert_int_ne(access(at.native_url, F_OK), 0);
    ck_assert_uint_eq(files_in(w.data->staging), 0);
    ck_assert_uint_eq(files_in(w.store), 0);
    world_deinit(&w);
}
END_TEST

START_TEST(only_the_signed_blob_and_in_time)
{
    struct world w;
    struct put result;
    world_init(&w);
    location_request request = hello_request();
    Google__Protobuf__Duration expires_in = GOOGLE__PROTOBUF__DURATION__INIT;
    expires_in.seconds = 60;
    request.expires_in = &expires_in;
    struct location at = locate(&w, &request);
    struct dp_upload_request head = {"uploads/p/d/other", at.token, MD5_HELLO, 5};
    ck_assert_uint_eq(put(&w, &head, "hello", &result), 403);
    static const char *const outside[] = {"../up", "uploads/../../x", "", "/etc/passwd", "a//b"};
    for (size_t i = 0; i < SY_COUNT_OF(outside); i++) {
        head.blob = outside[i];
        ck_assert_uint_eq(put(&w, &head, "hello", &result), 400);
    }
    head.blob = at.blob;
    head.token = NULL;
    ck_assert_uint_eq(put(&w, &head, "hello", &result), 403);
    head.token = at.token;
    struct dp_token token;
    struct sy_error_text error;
    ck_assert_uint_eq(dp_authorize(w.data, at.blob, at.token, false, &token, &error), 403);
    run_for(&w, 61 * SY_NS_PER_S);
    ck_assert_uint_eq(put(&w, &head, "hello", &result), 403);
    ck_assert_ptr_nonnull(
        strstr(result.why.text, "Request has expired")); /* the SDK looks for it */
    ck_assert_uint_eq(files_in(w.store), 0);
    world_deinit(&w);
}
END_TEST

START_TEST(too_large_an_upload)
{
    struct world w;
    struct put result;
    struct dp_upload *upload;
    struct sy_error_text error;
    world_init(&w);
    location_request request = hello_request();
    struct location at = locate(&w, &request);
    struct dp_upload_request head = {at.blob, at.token, NULL, (uint64_t)LIMIT + 1};
    ck_assert_uint_eq(put(&w, &head, "", &result), 413);
    head.bytes = UINT64_MAX;
    ck_assert_uint_eq(dp_upload_new(&upload, w.data, &head, &error), 0);
    uint8_t *piece = sy_calloc(1, (size_t)LIMIT);
    ck_assert_uint_eq(dp_upload_piece(upload, (struct sy_span){piece, (size_t)LIMIT}, &error), 0);
    ck_assert_uint_eq(dp_upload_piece(upload, (struct sy_span){piece, 1}, &error), 413);
    dp_upload_free(upload);
    free(piece);
    ck_assert_uint_eq(files_in(w.data->staging), 0);
    world_deinit(&w);
}
END_TEST

START_TEST(bad_locations)
{
    static const struct {
        const char *project, *domain, *filename, *root;
        size_t md5;
    } bad[] = {
        {"", "d", "f", "", 16},       {"p", "a/b", "f", "", 16},    {"..", "d", "f", "", 16},
        {"p", ".", "f", "", 16},      {"p", "d", "", "", 16},       {"p", "d", "../f", "", 16},
        {"p", "d", "a/../f", "", 16}, {"p", "d", "/etc/f", "", 16}, {"p", "d", "f", "../..", 16},
        {"p", "d", "f", "", 0},       {"p", "d", "f", "", 15},      {"p", "d", "f", "root", 3},
        {"p", "d", "a\nb", "", 16},
    };
    struct world w;
    world_init(&w);
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        struct reply reply = {0};
        location_request request = hello_request();
        request.project = TEXT(bad[i].project);
        request.domain = TEXT(bad[i].domain);
        request.filename = TEXT(bad[i].filename);
        request.filename_root = TEXT(bad[i].root);
        request.content_md5.len = bad[i].md5;
        ck_assert_msg(call(&w, SERVICE "CreateUploadLocation", &request.base, &reply) ==
                          SY_CODE_INVALID_ARGUMENT,
                      "%zu", i);
        sy_buf_deinit(&reply.bytes);
    }
    ck_assert_uint_eq(files_in(w.store), 0);
    world_deinit(&w);
}
END_TEST

/* A client that goes away in the middle; one that goes while its blob is being stored. */
START_TEST(clients_that_go_away)
{
    struct world w;
    struct dp_upload *upload;
    struct put result = {0};
    struct sy_error_text error;
    world_init(&w);
    location_request request = hello_request();
    struct location at = locate(&w, &request);
    struct dp_upload_request head = {at.blob, at.token, MD5_HELLO, 5};
    struct sy_span hello = {(const uint8_t *)"hello", 5};
    ck_assert_uint_eq(dp_upload_new(&upload, w.data, &head, &error), 0);
    ck_assert_uint_eq(dp_upload_piece(upload, hello, &error), 0);
    dp_upload_free(upload);
    ck_assert_uint_eq(files_in(w.data->staging), 0);
    ck_assert_uint_eq(dp_upload_new(&upload, w.data, &head, &error), 0);
    ck_assert_uint_eq(dp_upload_piece(upload, hello, &error), 0);
    dp_upload_end(upload, on_put, &result);
    dp_upload_free(upload);
    run_for(&w, SY_NS_PER_S);
    ck_assert_int_eq(result.count, 0);
    ck_assert_uint_eq(w.data->upload_count, 0);
    expect_content(at.native_url, "hello");
    ck_assert_uint_eq(dp_upload_new(&upload, w.data, &head, &error), 0); /* when we stop */
    world_deinit(&w);
}
END_TEST

/* ---- a store that fails ---- */

static void failing_start(void *ctx, struct sy_blob_op *op)
{
    sy_blob_op_done(op, *(int *)ctx);
}

static void failing_free(void *ctx)
{
    (void)ctx;
}

static const struct sy_blob_adapter failing = {.start = failing_start, .free = failing_free};

START_TEST(a_full_disk_is_told)
{
    struct world w;
    struct put result;
    struct reply reply = {0};
    int r = -ENOSPC;
    world_init(&w);
    location_request request = hello_request();
    struct location at = locate(&w, &request);
    struct dp_upload_request head = {at.blob, at.token, MD5_HELLO, 5};
    sy_blobs_free(w.data->blobs);
    w.data->blobs = sy_blobs_with(w.loop, w.store, &failing, &r);
    ck_assert_uint_eq(put(&w, &head, "hello", &result), 507);
    ck_assert_uint_eq(files_in(w.data->staging), 0);
    Flyteidl2__Dataproxy__UploadInputsRequest inputs =
        FLYTEIDL2__DATAPROXY__UPLOAD_INPUTS_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    project.name = TEXT("p");
    project.domain = TEXT("d");
    inputs.project_id = &project;
    inputs.id_case = FLYTEIDL2__DATAPROXY__UPLOAD_INPUTS_REQUEST__ID_PROJECT_ID;
    ck_assert_int_eq(call(&w, SERVICE "UploadInputs", &inputs.base, &reply),
                     SY_CODE_RESOURCE_EXHAUSTED);
    r = -EIO;
    ck_assert_uint_eq(put(&w, &head, "hello", &result), 503);
    sy_buf_deinit(&reply.bytes);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {an_upload_becomes_a_blob,
                            a_wrong_upload_leaves_nothing,
                            only_the_signed_blob_and_in_time,
                            too_large_an_upload,
                            bad_locations,
                            clients_that_go_away,
                            a_full_disk_is_told,
                            NULL};
    return sy_test_run("uploads", tests);
}
