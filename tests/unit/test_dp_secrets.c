/* links: dp */
/* Secrets: sealing, the file, and the services over rpc_mem. */
#pragma GCC diagnostic ignored "-Wcast-qual" /* protobuf-c's __INIT macros */

#include "dataplane/secrets.h"

#include "base/file.h"
#include "base/mem.h"
#include "dataplane/seal.h"
#include "dataplane/secret_service.h"
#include "flyteidl2/secret/payload.pb-c.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVICE "/flyteidl2.secret.SecretService/"
#define TEXT(text_) ((char *)(uintptr_t)(text_))

static const uint8_t key[DP_KEY_BYTES] = {7, 7, 7};

static struct sy_span span_of(const char *text)
{
    return (struct sy_span){(const uint8_t *)text, strlen(text)};
}

/* ---- sealing ---- */

START_TEST(what_was_sealed_opens)
{
    struct sy_buf sealed = {0}, again = {0}, text = {0};
    dp_seal(span_of("a value"), "label", key, &sealed);
    dp_seal(span_of("a value"), "label", key, &again);
    ck_assert_uint_eq(sealed.len, strlen("a value") + DP_SEAL_EXTRA);
    ck_assert_int_ne(memcmp(sealed.data, again.data, sealed.len), 0); /* a nonce of its own */
    ck_assert_ptr_null(memmem(sealed.data, sealed.len, "value", 5));
    ck_assert_int_eq(dp_unseal(sy_buf_span(&sealed), "label", key, &text), 0);
    ck_assert_uint_eq(text.len, strlen("a value"));
    ck_assert_int_eq(memcmp(text.data, "a value", text.len), 0);
    sy_buf_clear(&sealed);
    sy_buf_clear(&text);
    dp_seal((struct sy_span){0}, "", key, &sealed);
    ck_assert_int_eq(dp_unseal(sy_buf_span(&sealed), "", key, &text), 0);
    ck_assert_uint_eq(text.len, 0);
    sy_buf_deinit(&sealed);
    sy_buf_deinit(&again);
    sy_buf_deinit(&text);
}
END_TEST

START_TEST(nothing_else_opens)
{
    static const uint8_t other[DP_KEY_BYTES] = {7, 7, 8};
    struct sy_buf sealed = {0}, text = {0};
    dp_seal(span_of("a value"), "label", key, &sealed);
    ck_assert_int_eq(dp_unseal(sy_buf_span(&sealed), "label", other, &text), -EBADMSG);
    ck_assert_int_eq(dp_unseal(sy_buf_span(&sealed), "Label", key, &text), -EBADMSG);
    for (size_t i = 0; i < sealed.len; i++) {
        sealed.data[i] ^= 1;
        ck_assert_int_eq(dp_unseal(sy_buf_span(&sealed), "label", key, &text), -EBADMSG);
        sealed.data[i] ^= 1;
        ck_assert_int_eq(dp_unseal((struct sy_span){sealed.data, i}, "label", key, &text),
                         -EBADMSG);
    }
    ck_assert_uint_eq(text.len, 0);
    sy_buf_deinit(&sealed);
    sy_buf_deinit(&text);
}
END_TEST

/* ---- the file ---- */

struct files {
    char dir[64], path[80];
};

static void files_init(struct files *f)
{
    snprintf(f->dir, sizeof(f->dir), "/tmp/test_dp_secrets.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/secrets.sealed", f->dir);
}

static void files_deinit(const struct files *f)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
    ck_assert_int_eq(system(command), 0); /* a name of our own making */
}

static struct dp_secrets *reopen(struct files *f, struct dp_secrets *secrets)
{
    struct sy_error_text error = {0};
    dp_secrets_close(secrets);
    ck_assert_msg(dp_secrets_open(&secrets, f->path, key, &error) == 0, "%s", error.text);
    return secrets;
}

static int put(struct dp_secrets *secrets, const char *project, const char *domain,
               const char *name, const char *value, int64_t now_s)
{
    struct sy_buf bytes = sy_buf_copy(value, strlen(value));
    struct dp_secret_id id = {project, domain, name};
    return dp_secrets_put(secrets, &id, "org", 1, now_s, &bytes);
}

static void expect(const struct dp_secret *secret, const char *value)
{
    ck_assert_ptr_nonnull(secret);
    ck_assert_uint_eq(secret->value.len, strlen(value));
    ck_assert_int_eq(memcmp(secret->value.data, value, secret->value.len), 0);
}

START_TEST(secrets_outlive_the_process)
{
    struct files f;
    struct dp_secret_id id = {"p", "d", "n"};
    files_init(&f);
    struct dp_secrets *secrets = reopen(&f, NULL);
    ck_assert_int_eq(put(secrets, "p", "d", "n", "first", 100), 0);
    ck_assert_int_eq(put(secrets, "p", "d", "m", "other", 101), 0);
    ck_assert_int_eq(put(secrets, "p", "d", "n", "second", 102), 0);
    secrets = reopen(&f, secrets);
    const struct dp_secret *secret = dp_secrets_find(secrets, &id);
    expect(secret, "second");
    ck_assert_int_eq(secret->created_s, 100);
    ck_assert_uint_eq(secret->type, 1);
    ck_assert_str_eq(secret->org, "org");
    ck_assert_str_eq(dp_secrets_first(secrets)->name, "m"); /* in order */
    ck_assert_int_eq(dp_secrets_remove(secrets, &id), 0);
    ck_assert_int_eq(dp_secrets_remove(secrets, &id), -ENOENT);
    secrets = reopen(&f, secrets);
    ck_assert_ptr_null(dp_secrets_find(secrets, &id));
    dp_secrets_close(secrets);
    files_deinit(&f);
}
END_TEST

START_TEST(the_narrowest_scope_counts)
{
    struct files f;
    struct dp_secret_id id = {"p", "d", "n"};
    files_init(&f);
    struct dp_secrets *secrets = reopen(&f, NULL);
    ck_assert_ptr_null(dp_secrets_for(secrets, &id));
    ck_assert_int_eq(put(secrets, "", "", "n", "all", 1), 0);
    expect(dp_secrets_for(secrets, &id), "all");
    ck_assert_int_eq(put(secrets, "", "d", "n", "domain", 1), 0);
    expect(dp_secrets_for(secrets, &id), "domain");
    ck_assert_int_eq(put(secrets, "p", "", "n", "project", 1), 0);
    expect(dp_secrets_for(secrets, &id), "project");
    ck_assert_int_eq(put(secrets, "p", "d", "n", "both", 1), 0);
    expect(dp_secrets_for(secrets, &id), "both");
    id.project = "q";
    expect(dp_secrets_for(secrets, &id), "domain");
    dp_secrets_close(secrets);
    files_deinit(&f);
}
END_TEST

START_TEST(a_damaged_file_is_told)
{
    struct files f;
    struct sy_buf bytes = {0};
    struct sy_error_text error = {0};
    files_init(&f);
    struct dp_secrets *secrets = reopen(&f, NULL);
    ck_assert_int_eq(put(secrets, "p", "d", "name-of-it", "value-of-it", 1), 0);
    dp_secrets_close(secrets);
    ck_assert_int_eq(sy_file_read(f.path, 10000, &bytes), 0);
    ck_assert_ptr_null(memmem(bytes.data, bytes.len, "of-it", 5)); /* not even its name */
    bytes.data[bytes.len / 2] ^= 1;
    ck_assert_int_eq(sy_file_write_atomic(f.path, bytes.data, bytes.len), 0);
    ck_assert_int_eq(dp_secrets_open(&secrets, f.path, key, &error), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(error.text, f.path));
    ck_assert_int_eq(sy_file_write_atomic(f.path, "", 0), 0);
    ck_assert_int_eq(dp_secrets_open(&secrets, f.path, key, &error), -EBADMSG);
    sy_buf_deinit(&bytes);
    files_deinit(&f);
}
END_TEST

/* The directory is gone: nothing can be written. What was there stays. */
START_TEST(a_change_that_fails_changes_nothing)
{
    struct files f;
    struct dp_secret_id id = {"p", "d", "n"}, new_id = {"p", "d", "o"};
    files_init(&f);
    struct dp_secrets *secrets = reopen(&f, NULL);
    ck_assert_int_eq(put(secrets, "p", "d", "n", "first", 1), 0);
    files_deinit(&f);
    ck_assert_int_lt(put(secrets, "p", "d", "n", "second", 1), 0);
    expect(dp_secrets_find(secrets, &id), "first");
    ck_assert_int_lt(put(secrets, "p", "d", "o", "new", 1), 0);
    ck_assert_ptr_null(dp_secrets_find(secrets, &new_id));
    ck_assert_int_lt(dp_secrets_remove(secrets, &id), 0);
    expect(dp_secrets_find(secrets, &id), "first");
    dp_secrets_close(secrets);
}
END_TEST

/* ---- the services ---- */

struct world {
    struct files files;
    char key_file[80];
    int64_t now_ns;
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_server *server;
    struct sy_channel *channel;
    struct dp_secret_service *service;
    struct dp_gate gate;
    struct sy_metadata sent; /* with every call; zeroed: nothing */
    enum sy_code code;
    struct sy_error_text text;
    struct sy_buf reply;
};

static const struct sy_bearer agents_token = {{"authorization", "Bearer of-the-agents"}, 1};

static int64_t clock_ns(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static void world_init(struct world *w)
{
    struct sy_error_text error = {0};
    *w = (struct world){.now_ns = 1000 * SY_NS_PER_S};
    files_init(&w->files);
    snprintf(w->key_file, sizeof(w->key_file), "%s/secrets.key", w->files.dir);
    struct sy_clock clock = {clock_ns, clock_ns, w};
    struct sy_loop_options loop = {.clock = &clock, .without_epoll = true};
    ck_assert_int_eq(sy_loop_new(&w->loop, &loop), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    w->channel = sy_channel_new(w->rpc, "operator");
    sy_bearer_copy(&w->gate.bearer, &agents_token);
    w->sent = agents_token.metadata;
    struct dp_secret_service_options options = {.dir = w->files.dir,
                                                .key_file = w->key_file,
                                                .cluster = "c1",
                                                .gate = &w->gate,
                                                .loop = w->loop};
    ck_assert_msg(dp_secret_service_new(&w->service, &options, &error) == 0, "%s", error.text);
    struct sy_server_options server = {.address = "operator"};
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &server, &error), 0);
    dp_secret_service_serve(w->service, w->server);
    ck_assert_int_eq(sy_server_start(w->server, &error), 0);
}

static void world_deinit(struct world *w)
{
    dp_secret_service_free(w->service);
    sy_bearer_deinit(&w->gate.bearer);
    sy_server_free(w->server);
    sy_channel_free(w->channel);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
    sy_buf_deinit(&w->reply);
    files_deinit(&w->files);
}

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct world *w = ctx;
    w->code = status->code;
    w->text = status->message;
    sy_buf_clear(&w->reply);
    sy_buf_append(&w->reply, response.data, response.len);
}

static enum sy_code call(struct world *w, const char *method, const ProtobufCMessage *request)
{
    struct sy_buf bytes = {0};
    struct sy_call_options options = {
        .method = method, .metadata = &w->sent, .metadata_count = w->sent.key != NULL};
    pb_pack(request, &bytes);
    w->code = SY_CODE_UNKNOWN;
    sy_channel_call(w->channel, w->loop, &options, &bytes, on_reply, w);
    while (sy_loop_next_ns(w->loop) <= w->now_ns)
        sy_loop_turn(w->loop);
    return w->code;
}

typedef Flyteidl2__Secret__SecretIdentifier secret_id;

static secret_id id_of(const char *project, const char *name)
{
    secret_id id = FLYTEIDL2__SECRET__SECRET_IDENTIFIER__INIT;
    id.organization = TEXT("127");
    id.project = TEXT(project);
    id.domain = TEXT(project[0] ? "d" : "");
    id.name = TEXT(name);
    return id;
}

static enum sy_code create(struct world *w, const char *project, const char *name,
                           const char *value)
{
    secret_id id = id_of(project, name);
    Flyteidl2__Secret__SecretSpec spec = FLYTEIDL2__SECRET__SECRET_SPEC__INIT;
    Flyteidl2__Secret__CreateSecretRequest request = FLYTEIDL2__SECRET__CREATE_SECRET_REQUEST__INIT;
    spec.string_value = TEXT(value);
    spec.value_case = FLYTEIDL2__SECRET__SECRET_SPEC__VALUE_STRING_VALUE;
    request.id = &id;
    request.secret_spec = &spec;
    return call(w, SERVICE "CreateSecret", &request.base);
}

static enum sy_code update(struct world *w, const char *name, const char *value)
{
    secret_id id = id_of("p", name);
    Flyteidl2__Secret__SecretSpec spec = FLYTEIDL2__SECRET__SECRET_SPEC__INIT;
    Flyteidl2__Secret__UpdateSecretRequest request = FLYTEIDL2__SECRET__UPDATE_SECRET_REQUEST__INIT;
    spec.binary_value = (ProtobufCBinaryData){strlen(value), (uint8_t *)TEXT(value)};
    spec.value_case = FLYTEIDL2__SECRET__SECRET_SPEC__VALUE_BINARY_VALUE;
    request.id = &id;
    request.secret_spec = &spec;
    return call(w, SERVICE "UpdateSecret", &request.base);
}

static enum sy_code get(struct world *w, const char *name)
{
    secret_id id = id_of("p", name);
    Flyteidl2__Secret__GetSecretRequest request = FLYTEIDL2__SECRET__GET_SECRET_REQUEST__INIT;
    request.id = &id;
    return call(w, SERVICE "GetSecret", &request.base);
}

static enum sy_code remove_secret(struct world *w, const char *name)
{
    secret_id id = id_of("p", name);
    Flyteidl2__Secret__DeleteSecretRequest request = FLYTEIDL2__SECRET__DELETE_SECRET_REQUEST__INIT;
    request.id = &id;
    return call(w, SERVICE "DeleteSecret", &request.base);
}

/* The one value that a task of p/d would get; NULL: none. */
static const char *read_one(struct world *w, const char *group, const char *name)
{
    static char value[64];
    Switchyard__Internal__ReadSecretsRequest request =
        SWITCHYARD__INTERNAL__READ_SECRETS_REQUEST__INIT;
    Switchyard__Internal__SecretKey secret_key = SWITCHYARD__INTERNAL__SECRET_KEY__INIT;
    Switchyard__Internal__SecretKey *keys[] = {&secret_key};
    request.project = TEXT("p");
    request.domain = TEXT("d");
    request.keys = keys;
    request.n_keys = 1;
    secret_key.group = TEXT(group);
    secret_key.key = TEXT(name);
    if (call(w, "/switchyard.internal.SecretStore/ReadSecrets", &request.base) != SY_CODE_OK)
        return NULL;
    Switchyard__Internal__ReadSecretsResponse *response =
        switchyard__internal__read_secrets_response__unpack(NULL, w->reply.len, w->reply.data);
    ck_assert_ptr_nonnull(response);
    ck_assert_uint_eq(response->n_values, 1);
    snprintf(value, sizeof(value), "%.*s", (int)response->values[0].len,
             (const char *)response->values[0].data);
    switchyard__internal__read_secrets_response__free_unpacked(response, NULL);
    return value;
}

START_TEST(a_secret_goes_in_and_out_to_tasks_only)
{
    struct world w;
    world_init(&w);
    ck_assert_int_eq(create(&w, "p", "token", "hush"), SY_CODE_OK);
    ck_assert_int_eq(create(&w, "p", "token", "again"), SY_CODE_ALREADY_EXISTS);
    ck_assert_str_eq(read_one(&w, "", "token"), "hush");
    ck_assert_int_eq(get(&w, "token"), SY_CODE_OK);
    ck_assert_ptr_null(memmem(w.reply.data, w.reply.len, "hush", 4));
    Flyteidl2__Secret__GetSecretResponse *got = flyteidl2__secret__get_secret_response__unpack(
        NULL, w.reply.len, w.reply.data);
    ck_assert_ptr_nonnull(got);
    ck_assert_str_eq(got->secret->id->name, "token");
    ck_assert_str_eq(got->secret->id->organization, "127");
    ck_assert_int_eq(got->secret->secret_metadata->created_time->seconds, 1000);
    ck_assert_str_eq(got->secret->secret_metadata->secret_status->cluster_status[0]->cluster->name,
                     "c1");
    flyteidl2__secret__get_secret_response__free_unpacked(got, NULL);
    ck_assert_int_eq(update(&w, "token", "changed"), SY_CODE_OK);
    ck_assert_str_eq(read_one(&w, "", "token"), "changed");
    ck_assert_str_eq(read_one(&w, "group", "token"), "changed");
    ck_assert_int_eq(create(&w, "", "group/token", "grouped"), SY_CODE_OK);
    ck_assert_str_eq(read_one(&w, "group", "token"), "grouped");
    ck_assert_int_eq(remove_secret(&w, "token"), SY_CODE_OK);
    ck_assert_ptr_null(read_one(&w, "", "token"));
    ck_assert_int_eq(w.code, SY_CODE_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(w.text.text, "token"));
    ck_assert_int_eq(remove_secret(&w, "token"), SY_CODE_NOT_FOUND);
    ck_assert_int_eq(update(&w, "token", "x"), SY_CODE_NOT_FOUND);
    ck_assert_int_eq(get(&w, "token"), SY_CODE_NOT_FOUND);
    world_deinit(&w);
}
END_TEST

/* People need no token: they are told no value. */
START_TEST(values_are_for_the_bearer_of_the_token)
{
    static const struct sy_metadata nothing = {0}, wrong = {"authorization", "Bearer of-another"};
    struct world w;
    world_init(&w);
    w.sent = nothing;
    ck_assert_int_eq(create(&w, "p", "token", "hush"), SY_CODE_OK);
    ck_assert_int_eq(get(&w, "token"), SY_CODE_OK);
    ck_assert_ptr_null(read_one(&w, "", "token"));
    ck_assert_int_eq(w.code, SY_CODE_UNAUTHENTICATED);
    ck_assert_ptr_nonnull(strstr(w.text.text, "agent_token_file"));
    w.sent = wrong;
    ck_assert_ptr_null(read_one(&w, "", "token"));
    ck_assert_int_eq(w.code, SY_CODE_UNAUTHENTICATED);
    ck_assert_ptr_null(strstr(w.text.text, "of-the-agents"));
    ck_assert_ptr_null(strstr(w.text.text, "of-another"));
    ck_assert_ptr_null(read_one(&w, "", "no-such"));
    ck_assert_int_eq(w.code, SY_CODE_UNAUTHENTICATED); /* not even whether there is one */
    w.sent = agents_token.metadata;
    ck_assert_str_eq(read_one(&w, "", "token"), "hush");
    world_deinit(&w);
}
END_TEST

START_TEST(without_a_token_values_are_for_nobody)
{
    struct world w;
    world_init(&w);
    ck_assert_int_eq(create(&w, "p", "token", "hush"), SY_CODE_OK);
    sy_bearer_deinit(&w.gate.bearer);
    ck_assert_ptr_null(read_one(&w, "", "token"));
    ck_assert_int_eq(w.code, SY_CODE_FAILED_PRECONDITION);
    ck_assert_ptr_nonnull(strstr(w.text.text, "agent_token_file"));
    world_deinit(&w);
}
END_TEST

START_TEST(bad_secrets)
{
    struct world w;
    world_init(&w);
    char *large = sy_malloc(DP_SECRET_BYTES_MAX + 2);
    memset(large, 'x', DP_SECRET_BYTES_MAX + 1);
    large[DP_SECRET_BYTES_MAX + 1] = '\0';
    ck_assert_int_eq(create(&w, "p", "", "v"), SY_CODE_INVALID_ARGUMENT);
    ck_assert_int_eq(create(&w, "p", "a\nb", "v"), SY_CODE_INVALID_ARGUMENT);
    ck_assert_int_eq(create(&w, "p\n", "a", "v"), SY_CODE_INVALID_ARGUMENT);
    ck_assert_int_eq(create(&w, "p", "a", ""), SY_CODE_INVALID_ARGUMENT);
    ck_assert_int_eq(create(&w, "p", "a", large), SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_null(strstr(w.text.text, "xxx")); /* a value is in no error */
    large[DP_SECRET_BYTES_MAX] = '\0';
    ck_assert_int_eq(create(&w, "p", "a", large), SY_CODE_OK);
    free(large);
    world_deinit(&w);
}
END_TEST

START_TEST(secrets_are_listed_in_pages)
{
    struct world w;
    size_t seen = 0, pages = 0;
    char token[256] = "", name[32];
    world_init(&w);
    for (int i = 0; i < 25; i++) {
        snprintf(name, sizeof(name), "s%02d", i);
        ck_assert_int_eq(create(&w, "p", name, "v"), SY_CODE_OK);
    }
    ck_assert_int_eq(create(&w, "q", "elsewhere", "v"), SY_CODE_OK);
    do {
        Flyteidl2__Secret__ListSecretsRequest request =
            FLYTEIDL2__SECRET__LIST_SECRETS_REQUEST__INIT;
        request.project = TEXT("p");
        request.domain = TEXT("d");
        request.limit = 10;
        request.token = token;
        ck_assert_int_eq(call(&w, SERVICE "ListSecrets", &request.base), SY_CODE_OK);
        Flyteidl2__Secret__ListSecretsResponse *page =
            flyteidl2__secret__list_secrets_response__unpack(NULL, w.reply.len, w.reply.data);
        ck_assert_ptr_nonnull(page);
        for (size_t i = 0; i < page->n_secrets; i++) {
            snprintf(name, sizeof(name), "s%02zu", seen++);
            ck_assert_str_eq(page->secrets[i]->id->name, name);
        }
        snprintf(token, sizeof(token), "%s", page->token);
        flyteidl2__secret__list_secrets_response__free_unpacked(page, NULL);
        pages++;
    } while (token[0]);
    ck_assert_uint_eq(seen, 25);
    ck_assert_uint_eq(pages, 3);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {what_was_sealed_opens,
                            nothing_else_opens,
                            secrets_outlive_the_process,
                            the_narrowest_scope_counts,
                            a_damaged_file_is_told,
                            a_change_that_fails_changes_nothing,
                            a_secret_goes_in_and_out_to_tasks_only,
                            values_are_for_the_bearer_of_the_token,
                            without_a_token_values_are_for_nobody,
                            bad_secrets,
                            secrets_are_listed_in_pages,
                            NULL};
    return sy_test_run("secrets", tests);
}
