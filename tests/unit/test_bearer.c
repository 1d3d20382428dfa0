/* links: sy_blob */
/* The token that processes share: its file, and calls that carry it. */
#include "base/bearer.h"

#include "base/file.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN "a-token-that-nobody-guesses"
#define KEY "agent_token_file"

struct world {
    char dir[64], path[80];
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_server *server;
    struct sy_channel *channel;
    struct sy_bearer bearer;
    enum sy_code code;
};

static void write_token(struct world *w, const char *text)
{
    ck_assert_int_eq(sy_file_write_atomic(w->path, text, strlen(text)), 0);
}

static void on_call(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct world *w = ctx;
    (void)request;
    if (sy_bearer_sent(&w->bearer, call))
        sy_call_reply(call, &(struct sy_buf){0});
    else
        sy_call_fail(call, SY_CODE_UNAUTHENTICATED, "no");
}

static void world_init(struct world *w)
{
    static const struct sy_server_options options = {.address = "server"};
    struct sy_error_text error;
    *w = (struct world){.dir = "/tmp/test_bearer.XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/token", w->dir);
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &options, &error), 0);
    sy_server_add(w->server, &(struct sy_method){"/s/m", SY_METHOD_UNARY, on_call, w, w->loop, 0});
    ck_assert_int_eq(sy_server_start(w->server, &error), 0);
    w->channel = sy_channel_new(w->rpc, "server");
}

static void world_deinit(struct world *w)
{
    sy_bearer_deinit(&w->bearer);
    sy_server_free(w->server);
    sy_channel_free(w->channel);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
    (void)unlink(w->path);
    ck_assert_int_eq(rmdir(w->dir), 0);
}

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)response;
    ((struct world *)ctx)->code = status->code;
}

static enum sy_code call_with(struct world *w, const struct sy_metadata *metadata, size_t count)
{
    struct sy_call_options options = {
        .method = "/s/m", .metadata = metadata, .metadata_count = count};
    w->code = SY_CODE_UNKNOWN;
    sy_channel_call(w->channel, w->loop, &options, &(struct sy_buf){0}, on_reply, w);
    while (w->code == SY_CODE_UNKNOWN)
        sy_loop_turn(w->loop);
    return w->code;
}

static enum sy_code call_saying(struct world *w, const char *value)
{
    struct sy_metadata metadata = {"authorization", value};
    return call_with(w, &metadata, 1);
}

START_TEST(only_the_bearer_is_let_in)
{
    struct world w;
    struct sy_error_text error;
    struct sy_bearer copy;
    world_init(&w);
    write_token(&w, TOKEN "\n");
    ck_assert_int_eq(sy_bearer_load(&w.bearer, KEY, w.path, &error), 0);
    sy_bearer_copy(&copy, &w.bearer);
    ck_assert_uint_eq(copy.metadata_count, 1);
    ck_assert_int_eq(call_with(&w, &copy.metadata, copy.metadata_count), SY_CODE_OK);
    sy_bearer_deinit(&copy);
    ck_assert_int_eq(call_saying(&w, "Bearer " TOKEN), SY_CODE_OK);
    ck_assert_int_eq(call_with(&w, NULL, 0), SY_CODE_UNAUTHENTICATED);
    ck_assert_int_eq(call_saying(&w, ""), SY_CODE_UNAUTHENTICATED);
    ck_assert_int_eq(call_saying(&w, "Bearer "), SY_CODE_UNAUTHENTICATED);
    ck_assert_int_eq(call_saying(&w, TOKEN), SY_CODE_UNAUTHENTICATED);
    ck_assert_int_eq(call_saying(&w, "Basic " TOKEN), SY_CODE_UNAUTHENTICATED);
    ck_assert_int_eq(call_saying(&w, "Bearer " TOKEN "x"), SY_CODE_UNAUTHENTICATED);
    ck_assert_int_eq(call_saying(&w, "Bearer A-token-that-nobody-guesses"),
                     SY_CODE_UNAUTHENTICATED);
    world_deinit(&w);
}
END_TEST

START_TEST(no_path_is_no_token)
{
    struct sy_error_text error;
    struct sy_bearer bearer, copy;
    ck_assert_int_eq(sy_bearer_load(&bearer, KEY, "", &error), 0);
    sy_bearer_copy(&copy, &bearer);
    ck_assert_uint_eq(bearer.metadata_count, 0);
    ck_assert_uint_eq(copy.metadata_count, 0);
    sy_bearer_deinit(&bearer);
    sy_bearer_deinit(&copy);
}
END_TEST

static void expect_error(struct world *w, int code, const char *words)
{
    struct sy_error_text error = {0};
    ck_assert_int_eq(sy_bearer_load(&w->bearer, KEY, w->path, &error), code);
    ck_assert_msg(strstr(error.text, KEY) == error.text, "%s", error.text);
    ck_assert_msg(strstr(error.text, w->path) != NULL, "%s", error.text);
    ck_assert_msg(strstr(error.text, words) != NULL, "%s", error.text);
    ck_assert_msg(strstr(error.text, "nobody") == NULL, "%s", error.text);
}

START_TEST(bad_files_are_named_and_never_quoted)
{
    struct world w;
    char large[SY_BEARER_TOKEN_MAX + 64];
    world_init(&w);
    expect_error(&w, -ENOENT, "cannot read");
    write_token(&w, TOKEN);
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0644};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        ck_assert_int_eq(chmod(w.path, modes[i]), 0);
        expect_error(&w, -EACCES, "0600");
    }
    static const char *const bad[] = {"",
                                      "\n",
                                      "nobody-short",
                                      TOKEN " " TOKEN,
                                      "nobody-is-\x01-here",
                                      "nobody-knows-\xc3\xa4\xc3\xb6"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_token(&w, bad[i]);
        expect_error(&w, -EINVAL, "16 to 256");
    }
    memset(large, 'n', sizeof(large));
    large[SY_BEARER_TOKEN_MAX + 1] = '\0';
    write_token(&w, large);
    expect_error(&w, -EINVAL, "16 to 256");
    large[SY_BEARER_TOKEN_MAX + 1] = 'n';
    large[sizeof(large) - 1] = '\0';
    write_token(&w, large);
    expect_error(&w, -EINVAL, "16 to 256");
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {only_the_bearer_is_let_in, no_path_is_no_token,
                                  bad_files_are_named_and_never_quoted, NULL};
    return sy_test_run("bearer", tests);
}
