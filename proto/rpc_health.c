#include "proto/rpc_health.h"

#include "base/arena.h"
#include "base/mem.h"
#include "grpc/health/v1/health.pb-c.h"
#include "proto/pb.h"

#include <stdlib.h>
#include <string.h>

#define REQUEST_BYTES_MAX 4096

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;
#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct health_watch {
    struct pb_health *health;
    struct sy_call *call;
    bool known, behind; /* behind: the newest status is not sent yet */
    struct health_watch *next;
};

struct pb_health {
    struct sy_server *server;
    bool serving, stopped;
    struct health_watch *watches;
};

/* Whether a call's request names this server or one of its services. False also when malformed. */
static bool is_known(struct pb_health *health, struct sy_span request)
{
    struct sy_arena arena;
    sy_arena_init(&arena, REQUEST_BYTES_MAX);
    Grpc__Health__V1__HealthCheckRequest *message = pb_unpack(
        &grpc__health__v1__health_check_request__descriptor, &arena, request);
    bool known = message != NULL && message->service[0] == '\0';
    size_t length = message != NULL ? strlen(message->service) : 0;
    const char *path;
    for (size_t i = 0; length > 0 && !known && (path = sy_server_method(health->server, i)); i++)
        known = strncmp(path + 1, message->service, length) == 0 && path[length + 1] == '/';
    sy_arena_deinit(&arena);
    return known;
}

static void pack(serving_status status, struct sy_buf *ret)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status;
    pb_pack(&response.base, ret);
}

static void on_check(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct pb_health *health = ctx;
    if (!is_known(health, request)) {
        sy_call_fail(call, SY_CODE_NOT_FOUND, "this server has no such service");
        return;
    }
    struct sy_buf response = {0};
    pack(health->serving ? STATUS(SERVING) : STATUS(NOT_SERVING), &response);
    sy_call_reply(call, &response);
}

static void watch_send(struct health_watch *watch)
{
    watch->behind = !sy_call_ready(watch->call);
    if (watch->behind)
        return; /* on_writable follows */
    struct sy_buf message = {0};
    serving_status status = !watch->known            ? STATUS(SERVICE_UNKNOWN)
                            : watch->health->serving ? STATUS(SERVING)
                                                     : STATUS(NOT_SERVING);
    pack(status, &message);
    if (sy_call_send(watch->call, &message) == SY_RPC_E_FULL)
        sy_buf_deinit(&message);
}

/* A newest status that was not sent yet is dropped: UNAVAILABLE says as much. on_closed follows. */
static void watch_end(struct health_watch *watch)
{
    struct sy_status status = {.code = SY_CODE_UNAVAILABLE};
    sy_error_text_set(&status.message, "the server is stopping");
    watch->behind = false;
    sy_call_finish(watch->call, &status);
}

static void watch_writable(void *ctx)
{
    struct health_watch *watch = ctx;
    if (watch->behind)
        watch_send(watch);
}

static void watch_closed(void *ctx, const struct sy_status *status)
{
    (void)status;
    struct health_watch *watch = ctx;
    struct health_watch **at = &watch->health->watches;
    while (*at != watch)
        at = &(*at)->next;
    *at = watch->next;
    sy_call_unref(watch->call);
    free(watch);
}

static void on_watch(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink sink = {.on_writable = watch_writable,
                                             .on_closed = watch_closed};
    struct pb_health *health = ctx;
    struct health_watch *watch = sy_new(struct health_watch);
    watch->health = health;
    watch->call = call;
    watch->known = is_known(health, request);
    watch->next = health->watches;
    health->watches = watch;
    sy_call_set_sink(call, &sink, watch);
    watch_send(watch);
    if (health->stopped)
        watch_end(watch);
}

struct pb_health *pb_health_new(struct sy_server *server, struct sy_loop *loop)
{
    struct pb_health *health = sy_new(struct pb_health);
    health->server = server;
    const struct sy_method check = {.path = "/grpc.health.v1.Health/Check",
                                    .kind = SY_METHOD_UNARY,
                                    .handler = on_check,
                                    .ctx = health,
                                    .loop = loop,
                                    .request_bytes_max = REQUEST_BYTES_MAX};
    struct sy_method watch = check;
    watch.path = "/grpc.health.v1.Health/Watch";
    watch.kind = SY_METHOD_SERVER_STREAM;
    watch.handler = on_watch;
    sy_server_add(server, &check);
    sy_server_add(server, &watch);
    return health;
}

void pb_health_set_serving(struct pb_health *health, bool serving)
{
    if (health->serving == serving || health->stopped)
        return;
    health->serving = serving;
    for (struct health_watch *watch = health->watches; watch != NULL; watch = watch->next)
        watch_send(watch);
}

void pb_health_stop(struct pb_health *health)
{
    pb_health_set_serving(health, false);
    health->stopped = true;
    for (struct health_watch *watch = health->watches; watch != NULL; watch = watch->next)
        watch_end(watch);
}

void pb_health_free(struct pb_health *health)
{
    if (health == NULL)
        return;
    while (health->watches != NULL) {
        struct health_watch *watch = health->watches;
        health->watches = watch->next;
        sy_call_unref(watch->call);
        free(watch);
    }
    free(health);
}
