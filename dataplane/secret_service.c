#include "dataplane/secret_service.h"

#include "base/arena.h"
#include "base/mem.h"
#include "dataplane/events.h"
#include "dataplane/secrets.h"
#include "dataplane/wire.h"
#include "proto/pb.h"

#include "flyteidl2/secret/payload.pb-c.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE "/flyteidl2.secret.SecretService/"
#define ARENA_BYTES_MAX ((size_t)1 << 20)
#define REQUEST_BYTES_MAX (DP_SECRET_BYTES_MAX + 4096)
#define PAGE_DEFAULT 100
#define PAGE_MAX 1000
#define KEYS_MAX 256
#define TOKEN_SEPARATOR '\n' /* in no name */

struct dp_secret_service {
    struct dp_secrets *secrets;
    char *cluster;
    const struct dp_gate *gate;
    struct sy_loop *loop;
    struct sy_log *log;
    struct sy_arena arena; /* of the request at hand; may have held a value */
};

typedef Flyteidl2__Secret__SecretIdentifier secret_identifier;

/* ---- requests ---- */

static bool is_text(const char *text, size_t max, bool may_be_empty)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return false;
    }
    return len <= max && (len > 0 || may_be_empty);
}

/* False: the call has failed. */
static bool take_id(struct sy_call *call, const secret_identifier *id, struct dp_secret_id *ret)
{
    if (!id || !is_text(id->name, DP_SECRET_NAME_MAX, false)) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT,
                     "id.name: 1 to %d printable characters are needed", DP_SECRET_NAME_MAX);
        return false;
    }
    if (!is_text(id->project, DP_SECRET_NAME_MAX, true) ||
        !is_text(id->domain, DP_SECRET_NAME_MAX, true) ||
        !is_text(id->organization, DP_SECRET_NAME_MAX, true)) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT,
                     "id.project, id.domain, id.organization: at most %d printable characters each",
                     DP_SECRET_NAME_MAX);
        return false;
    }
    *ret = (struct dp_secret_id){id->project, id->domain, id->name};
    return true;
}

static void fail_missing(struct sy_call *call, const struct dp_secret_id *id)
{
    sy_call_fail(call, SY_CODE_NOT_FOUND,
                 "there is no secret '%.100s' in project '%.60s', domain "
                 "'%.60s'",
                 id->name, id->project, id->domain);
}

/* NULL: the call has failed. The message lives until the next request. */
static const void *decode(struct dp_secret_service *service, struct sy_call *call,
                          const ProtobufCMessageDescriptor *descriptor, struct sy_span span)
{
    sy_arena_reset(&service->arena);
    const void *message = pb_unpack(descriptor, &service->arena, span);
    if (message && !pb_find_nul(descriptor, span))
        return message;
    sy_call_fail(call, SY_CODE_INVALID_ARGUMENT, "malformed request, or a NUL byte in a string");
    return NULL;
}

static void reply_empty(struct sy_call *call)
{
    sy_call_reply(call, &(struct sy_buf){0});
}

/* ---- changing ---- */

static bool take_value(struct sy_call *call, const Flyteidl2__Secret__SecretSpec *spec,
                       struct sy_buf *ret)
{
    struct sy_span value = {0};
    if (spec && spec->value_case == FLYTEIDL2__SECRET__SECRET_SPEC__VALUE_STRING_VALUE)
        value = (struct sy_span){(const uint8_t *)spec->string_value, strlen(spec->string_value)};
    else if (spec && spec->value_case == FLYTEIDL2__SECRET__SECRET_SPEC__VALUE_BINARY_VALUE)
        value = (struct sy_span){spec->binary_value.data, spec->binary_value.len};
    if (value.len == 0 || value.len > DP_SECRET_BYTES_MAX) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT,
                     "secret_spec: a value of 1 to %zu bytes is needed", DP_SECRET_BYTES_MAX);
        return false;
    }
    *ret = sy_buf_copy(value.data, value.len);
    return true;
}

/* False: the call has failed. */
static bool is_ours(const struct dp_secret_service *service, struct sy_call *call)
{
    if (dp_gate_is_ours(service->gate))
        return true;
    sy_call_fail(call, SY_CODE_UNAVAILABLE,
                 "this operator cannot tell whether it still is its cluster's active one, which "
                 "keeps the secrets");
    return false;
}

static void reply_changed(struct dp_secret_service *service, struct sy_call *call, int r)
{
    if (!is_ours(service, call))
        return;
    if (r == 0) {
        reply_empty(call);
        return;
    }
    sy_log(service->log, &dp_events, DP_EV_STORAGE_FAILED, SY_STR("action", "secrets"),
           SY_STR("why", strerror(-r)));
    sy_call_fail(call, r == -ENOSPC || r == -EDQUOT ? SY_CODE_RESOURCE_EXHAUSTED : SY_CODE_INTERNAL,
                 r == -ENOSPC ? "no room: the disk is full, or there are %d secrets"
                              : "cannot write the secrets down",
                 DP_SECRETS_MAX);
}

static void change(struct dp_secret_service *service, struct sy_call *call,
                   const secret_identifier *given, const Flyteidl2__Secret__SecretSpec *spec,
                   bool create)
{
    struct dp_secret_id id;
    struct sy_buf value = {0};
    if (!take_id(call, given, &id) || !is_ours(service, call))
        return;
    bool exists = dp_secrets_find(service->secrets, &id) != NULL;
    if (create && exists) {
        sy_call_fail(call, SY_CODE_ALREADY_EXISTS, "secret '%.100s' exists in that scope", id.name);
    } else if (!create && !exists) {
        fail_missing(call, &id);
    } else if (take_value(call, spec, &value)) {
        int64_t now_s = sy_loop_realtime_ns(service->loop) / SY_NS_PER_S;
        reply_changed(service, call,
                      dp_secrets_put(service->secrets, &id, given->organization,
                                     (uint32_t)spec->type, now_s, &value));
    }
}

static void create_secret(void *ctx, struct sy_call *call, struct sy_span span)
{
    const Flyteidl2__Secret__CreateSecretRequest *request = decode(
        ctx, call, &flyteidl2__secret__create_secret_request__descriptor, span);
    if (request)
        change(ctx, call, request->id, request->secret_spec, true);
}

static void update_secret(void *ctx, struct sy_call *call, struct sy_span span)
{
    const Flyteidl2__Secret__UpdateSecretRequest *request = decode(
        ctx, call, &flyteidl2__secret__update_secret_request__descriptor, span);
    if (request)
        change(ctx, call, request->id, request->secret_spec, false);
}

static void delete_secret(void *ctx, struct sy_call *call, struct sy_span span)
{
    struct dp_secret_service *service = ctx;
    struct dp_secret_id id;
    const Flyteidl2__Secret__DeleteSecretRequest *request = decode(
        service, call, &flyteidl2__secret__delete_secret_request__descriptor, span);
    if (!request || !take_id(call, request->id, &id) || !is_ours(service, call))
        return;
    int r = dp_secrets_remove(service->secrets, &id);
    if (r == -ENOENT)
        fail_missing(call, &id);
    else
        reply_changed(service, call, r);
}

/* ---- looking ---- */

/* A Secret without its value: where it is and since when. */
static void put_secret(const struct dp_secret_service *service, const struct dp_secret *secret,
                       struct sy_buf *message)
{
    Flyteidl2__Secret__Secret whole = FLYTEIDL2__SECRET__SECRET__INIT;
    secret_identifier id = FLYTEIDL2__SECRET__SECRET_IDENTIFIER__INIT;
    Flyteidl2__Secret__SecretMetadata metadata = FLYTEIDL2__SECRET__SECRET_METADATA__INIT;
    Flyteidl2__Secret__SecretStatus status = FLYTEIDL2__SECRET__SECRET_STATUS__INIT;
    Flyteidl2__Secret__ClusterSecretStatus here = FLYTEIDL2__SECRET__CLUSTER_SECRET_STATUS__INIT;
    Flyteidl2__Secret__ClusterSecretStatus *clusters[] = {&here};
    Flyteidl2__Common__ClusterIdentifier cluster = FLYTEIDL2__COMMON__CLUSTER_IDENTIFIER__INIT;
    Google__Protobuf__Timestamp created = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    struct sy_buf bytes = {0};
    id.name = secret->name;
    id.organization = secret->org;
    id.project = secret->project;
    id.domain = secret->domain;
    cluster.name = service->cluster;
    here.cluster = &cluster;
    here.presence_status = FLYTEIDL2__SECRET__SECRET_PRESENCE_STATUS__PRESENT;
    status.overall_status = FLYTEIDL2__SECRET__OVERALL_STATUS__FULLY_PRESENT;
    status.cluster_status = clusters;
    status.n_cluster_status = SY_COUNT_OF(clusters);
    created.seconds = secret->created_s;
    metadata.created_time = &created;
    metadata.secret_status = &status;
    metadata.type = (Flyteidl2__Secret__SecretType)secret->type;
    whole.id = &id;
    whole.secret_metadata = &metadata;
    pb_pack(&whole.base, &bytes);
    dp_wire_put_record(message, 1, sy_buf_span(&bytes)); /* both answers have it in field 1 */
    sy_buf_deinit(&bytes);
}

static void get_secret(void *ctx, struct sy_call *call, struct sy_span span)
{
    struct dp_secret_service *service = ctx;
    struct dp_secret_id id;
    const Flyteidl2__Secret__GetSecretRequest *request = decode(
        service, call, &flyteidl2__secret__get_secret_request__descriptor, span);
    if (!request || !take_id(call, request->id, &id))
        return;
    const struct dp_secret *secret = dp_secrets_find(service->secrets, &id);
    if (!secret) {
        fail_missing(call, &id);
        return;
    }
    struct sy_buf response = {0};
    put_secret(service, secret, &response);
    sy_call_reply(call, &response);
}

/* Where a page ends: project, domain and name of its last secret. */
static void put_token(const struct dp_secret *last, struct sy_buf *response)
{
    struct sy_buf token = {0};
    sy_buf_printf(&token, "%s%c%s%c%s", last->project, TOKEN_SEPARATOR, last->domain,
                  TOKEN_SEPARATOR, last->name);
    dp_wire_put_bytes(response, 2, sy_buf_span(&token));
    sy_buf_deinit(&token);
}

/* Whether the secret comes after the one that the token names. */
static bool is_after(const struct dp_secret *secret, const char *token)
{
    struct sy_buf name = {0};
    sy_buf_printf(&name, "%s%c%s%c%s", secret->project, TOKEN_SEPARATOR, secret->domain,
                  TOKEN_SEPARATOR, secret->name);
    sy_buf_append(&name, "", 1);
    bool after = !token[0] || strcmp((const char *)name.data, token) > 0;
    sy_buf_deinit(&name);
    return after;
}

static void list_secrets(void *ctx, struct sy_call *call, struct sy_span span)
{
    struct dp_secret_service *service = ctx;
    const Flyteidl2__Secret__ListSecretsRequest *request = decode(
        service, call, &flyteidl2__secret__list_secrets_request__descriptor, span);
    if (!request)
        return;
    if (request->limit < 0 || request->limit > PAGE_MAX) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT, "limit: %d; expected 0 to %d", request->limit,
                     PAGE_MAX);
        return;
    }
    struct sy_buf response = {0};
    const struct dp_secret *secret = dp_secrets_first(service->secrets), *last = NULL;
    int left = request->limit > 0 ? request->limit : PAGE_DEFAULT;
    for (; secret; secret = secret->next) {
        if ((request->project[0] && strcmp(request->project, secret->project) != 0) ||
            (request->domain[0] && strcmp(request->domain, secret->domain) != 0) ||
            !is_after(secret, request->token))
            continue;
        if (left-- == 0) {
            put_token(last, &response);
            break;
        }
        put_secret(service, secret, &response);
        last = secret;
    }
    sy_call_reply(call, &response);
}

/* ---- for agents ---- */

/* A group makes a name of its own, "group/key", if there is such a secret; else it is the key's. */
static const struct dp_secret *look_up(const struct dp_secret_service *service,
                                       const Switchyard__Internal__ReadSecretsRequest *request,
                                       const Switchyard__Internal__SecretKey *key)
{
    struct dp_secret_id id = {request->project, request->domain, key->key};
    const struct dp_secret *secret = NULL;
    if (key->group[0]) {
        struct sy_buf name = {0};
        sy_buf_printf(&name, "%s/%s", key->group, key->key);
        id.name = (const char *)name.data; /* printf has put a NUL behind it */
        secret = dp_secrets_for(service->secrets, &id);
        sy_buf_deinit(&name);
        id.name = key->key;
    }
    return secret ? secret : dp_secrets_for(service->secrets, &id);
}

static void read_secrets(void *ctx, struct sy_call *call, struct sy_span span)
{
    struct dp_secret_service *service = ctx;
    struct sy_buf response = {0};
    if (!dp_gate_admits_bearer(service->gate, call))
        return;
    const Switchyard__Internal__ReadSecretsRequest *request = decode(
        service, call, &switchyard__internal__read_secrets_request__descriptor, span);
    if (!request)
        return;
    if (request->n_keys > KEYS_MAX) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT, "keys: %zu; at most %d", request->n_keys,
                     KEYS_MAX);
        return;
    }
    for (size_t i = 0; i < request->n_keys; i++) {
        const struct dp_secret *secret = look_up(service, request, request->keys[i]);
        if (!secret) {
            sy_buf_deinit(&response);
            sy_call_fail(call, SY_CODE_NOT_FOUND,
                         "there is no secret '%.100s' for project '%.60s', domain '%.60s'",
                         request->keys[i]->key, request->project, request->domain);
            return;
        }
        dp_wire_put_record(&response, 1, sy_buf_span(&secret->value));
    }
    sy_call_reply(call, &response);
}

/* ---- set-up ---- */

int dp_secret_service_new(struct dp_secret_service **ret,
                          const struct dp_secret_service_options *options,
                          struct sy_error_text *error)
{
    uint8_t key[DP_KEY_BYTES];
    struct sy_buf path = {0};
    struct dp_secret_service *service = sy_new(struct dp_secret_service);
    service->cluster = sy_strdup(options->cluster);
    service->gate = options->gate;
    service->loop = options->loop;
    service->log = options->log;
    sy_arena_init(&service->arena, ARENA_BYTES_MAX);
    sy_buf_printf(&path, "%s/secrets.sealed", options->dir);
    int r = dp_key_file(options->key_file, key, error);
    if (r == 0)
        r = dp_secrets_open(&service->secrets, (const char *)path.data, key, error);
    explicit_bzero(key, sizeof(key));
    sy_buf_deinit(&path);
    if (r < 0) {
        dp_secret_service_free(service);
        return sy_trace(r);
    }
    *ret = service;
    return 0;
}

void dp_secret_service_free(struct dp_secret_service *service)
{
    if (!service)
        return;
    dp_secrets_close(service->secrets);
    sy_arena_deinit(&service->arena);
    free(service->cluster);
    free(service);
}

void dp_secret_service_serve(struct dp_secret_service *service, struct sy_server *server)
{
    static const struct sy_method methods[] = {
        {.path = SERVICE "CreateSecret", .handler = create_secret},
        {.path = SERVICE "UpdateSecret", .handler = update_secret},
        {.path = SERVICE "GetSecret", .handler = get_secret},
        {.path = SERVICE "DeleteSecret", .handler = delete_secret},
        {.path = SERVICE "ListSecrets", .handler = list_secrets},
        {.path = "/switchyard.internal.SecretStore/ReadSecrets", .handler = read_secrets},
    };
    for (size_t i = 0; i < SY_COUNT_OF(methods); i++) {
        struct sy_method method = methods[i];
        method.kind = SY_METHOD_UNARY;
        method.ctx = service;
        method.loop = service->loop;
        method.request_bytes_max = REQUEST_BYTES_MAX;
        sy_server_add(server, &method);
    }
}
