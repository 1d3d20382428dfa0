/* links: sy_proto */
/* Health and reflection, as grpcurl and Kubernetes ask them, over the in-memory transport. */
#include "base/arena.h"
#include "base/mem.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "proto/pb.h"
#include "proto/rpc_health.h"
#include "proto/rpc_reflection.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct world {
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_server *server;
    struct sy_channel *channel;
    struct pb_health *health;
    struct sy_arena arena;
    /* What the client heard last. */
    struct sy_call *call;
    struct sy_buf last;
    int messages, closes;
    enum sy_code code;
};

static void keep(struct world *w, struct sy_span message)
{
    sy_buf_clear(&w->last);
    if (message.len > 0)
        sy_buf_append(&w->last, message.data, message.len);
    w->messages++;
}

static void on_message(void *ctx, struct sy_span message)
{
    keep(ctx, message);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct world *w = ctx;
    w->code = status->code;
    w->closes++;
}

static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    keep(ctx, response);
    on_closed(ctx, status);
}

static void run(struct world *w)
{
    for (int i = 0; i < 20; i++)
        sy_loop_turn(w->loop);
}

static void open_world(struct world *w)
{
    struct sy_error_text error;
    *w = (struct world){0};
    sy_arena_init(&w->arena, (size_t)64 << 20);
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    struct sy_server_options options = {.address = "server"};
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &options, &error), 0);
    w->health = pb_health_new(w->server, w->loop);
    pb_reflection_add(w->server, w->loop);
    ck_assert_int_eq(sy_server_start(w->server, &error), 0);
    w->channel = sy_channel_new(w->rpc, "server");
}

static void count_up(void *arg)
{
    int *count = arg;
    (*count)++;
}

static void drain(struct world *w, int64_t grace_ns)
{
    int drained = 0;
    sy_server_drain(w->server, grace_ns, w->loop, count_up, &drained);
    run(w);
    ck_assert_int_eq(drained, 1);
}

static void free_world(struct world *w)
{
    if (w->call != NULL)
        sy_call_unref(w->call);
    pb_health_free(w->health);
    sy_server_free(w->server);
    sy_channel_free(w->channel);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
    sy_buf_deinit(&w->last);
    sy_arena_deinit(&w->arena);
}

static void close_world(struct world *w)
{
    drain(w, 0);
    free_world(w);
}

static void open_stream(struct world *w, const char *method)
{
    struct sy_call_options options = {.method = method};
    if (w->call != NULL)
        sy_call_unref(w->call);
    w->messages = w->closes = 0;
    w->call = sy_channel_open(w->channel, w->loop, &options, &sink, w);
}

static void send_message(struct world *w, const ProtobufCMessage *message)
{
    struct sy_buf bytes = {0};
    pb_pack(message, &bytes);
    ck_assert_int_eq(sy_call_send(w->call, &bytes), 0);
    run(w);
}

/* ---- health ---- */

static struct sy_buf health_request(const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request;
    struct sy_buf bytes = {0};
    grpc__health__v1__health_check_request__init(&request);
    request.service = (char *)(uintptr_t)service;
    pb_pack(&request.base, &bytes);
    return bytes;
}

static int last_status(struct world *w)
{
    Grpc__Health__V1__HealthCheckResponse *response = pb_unpack(
        &grpc__health__v1__health_check_response__descriptor, &w->arena, sy_buf_span(&w->last));
    ck_assert_ptr_nonnull(response);
    return (int)response->status;
}

static enum sy_code check(struct world *w, const char *service)
{
    struct sy_call_options options = {.method = "/grpc.health.v1.Health/Check"};
    struct sy_buf request = health_request(service);
    int before = w->closes;
    sy_channel_call(w->channel, w->loop, &options, &request, on_reply, w);
    run(w);
    ck_assert_int_eq(w->closes, before + 1);
    return w->code;
}

START_TEST(health_check)
{
    struct world w;
    open_world(&w);
    ck_assert_int_eq(check(&w, ""), SY_CODE_OK);
    ck_assert_int_eq(last_status(&w), STATUS(NOT_SERVING));
    pb_health_set_serving(w.health, true);
    ck_assert_int_eq(check(&w, ""), SY_CODE_OK);
    ck_assert_int_eq(last_status(&w), STATUS(SERVING));
    ck_assert_int_eq(check(&w, "grpc.health.v1.Health"), SY_CODE_OK);
    ck_assert_int_eq(last_status(&w), STATUS(SERVING));
    ck_assert_int_eq(check(&w, "grpc.health.v1.Healt"), SY_CODE_NOT_FOUND);
    ck_assert_int_eq(check(&w, "grpc.health.v1.Health/Check"), SY_CODE_NOT_FOUND);
    close_world(&w);
}
END_TEST

START_TEST(health_watch)
{
    struct world w;
    open_world(&w);
    open_stream(&w, "/grpc.health.v1.Health/Watch");
    struct sy_buf request = health_request("");
    ck_assert_int_eq(sy_call_send(w.call, &request), 0);
    sy_call_half_close(w.call);
    run(&w);
    ck_assert_int_eq(w.messages, 1); /* at once */
    ck_assert_int_eq(last_status(&w), STATUS(NOT_SERVING));
    pb_health_set_serving(w.health, true);
    run(&w);
    ck_assert_int_eq(w.messages, 2);
    ck_assert_int_eq(last_status(&w), STATUS(SERVING));
    pb_health_set_serving(w.health, true); /* no change */
    run(&w);
    ck_assert_int_eq(w.messages, 2);
    pb_health_set_serving(w.health, false); /* faster than it can be sent: the newest counts */
    pb_health_set_serving(w.health, true);
    pb_health_set_serving(w.health, false);
    run(&w);
    ck_assert_int_ge(w.messages, 3);
    ck_assert_int_eq(last_status(&w), STATUS(NOT_SERVING));
    ck_assert_int_eq(w.closes, 0);
    sy_call_finish(w.call, NULL);
    run(&w);
    ck_assert_int_eq(w.closes, 1);
    ck_assert_uint_eq(sy_server_calls(w.server), 0);

    open_stream(&w, "/grpc.health.v1.Health/Watch");
    request = health_request("no.such.Service");
    ck_assert_int_eq(sy_call_send(w.call, &request), 0);
    run(&w);
    ck_assert_int_eq(last_status(&w), STATUS(SERVICE_UNKNOWN));
    close_world(&w);
}
END_TEST

/* A drain with a grace of a day: it must not wait for who only watches. */
START_TEST(health_watches_end_before_a_drain)
{
    struct world w;
    open_world(&w);
    pb_health_set_serving(w.health, true);
    open_stream(&w, "/grpc.health.v1.Health/Watch");
    struct sy_buf request = health_request("");
    ck_assert_int_eq(sy_call_send(w.call, &request), 0);
    run(&w);
    ck_assert_int_eq(last_status(&w), STATUS(SERVING));
    pb_health_stop(w.health);
    drain(&w, 86400 * SY_NS_PER_S);
    ck_assert_int_eq(last_status(&w), STATUS(NOT_SERVING));
    ck_assert_int_eq(w.closes, 1);
    ck_assert_int_eq(w.code, SY_CODE_UNAVAILABLE);
    free_world(&w);
    pb_health_free(NULL);
}
END_TEST

/* ---- reflection ---- */

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;
#define REQUEST(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

static reflection_response *ask(struct world *w, int what, const char *text)
{
    reflection_request request;
    grpc__reflection__v1__server_reflection_request__init(&request);
    request.message_request_case =
        (Grpc__Reflection__V1__ServerReflectionRequest__MessageRequestCase)what;
    request.list_services = (char *)(uintptr_t)text; /* all of them are strings */
    int before = w->messages;
    send_message(w, &request.base);
    ck_assert_int_eq(w->messages, before + 1);
    reflection_response *response = pb_unpack(
        &grpc__reflection__v1__server_reflection_response__descriptor, &w->arena,
        sy_buf_span(&w->last));
    ck_assert_ptr_nonnull(response);
    return response;
}

static void assert_file(struct world *w, const reflection_response *response, const char *name)
{
    ck_assert_int_eq((int)response->message_response_case, RESPONSE(FILE_DESCRIPTOR_RESPONSE));
    const Grpc__Reflection__V1__FileDescriptorResponse *files = response->file_descriptor_response;
    ck_assert_uint_ge(files->n_file_descriptor_proto, 1);
    struct sy_span bytes = {files->file_descriptor_proto[0].data,
                            files->file_descriptor_proto[0].len};
    Google__Protobuf__FileDescriptorProto *file = pb_unpack(
        &google__protobuf__file_descriptor_proto__descriptor, &w->arena, bytes);
    ck_assert_ptr_nonnull(file);
    ck_assert_str_eq(file->name, name);
}

static void reflect(const char *method)
{
    static const char health_file[] = "grpc/health/v1/health.proto";
    struct world w;
    open_world(&w);
    open_stream(&w, method);

    reflection_response *response = ask(&w, REQUEST(LIST_SERVICES), "*");
    ck_assert_int_eq((int)response->message_response_case, RESPONSE(LIST_SERVICES_RESPONSE));
    const Grpc__Reflection__V1__ListServiceResponse *list = response->list_services_response;
    ck_assert_uint_eq(list->n_service, 3); /* those that were added, each once */
    ck_assert_str_eq(list->service[0]->name, "grpc.health.v1.Health");
    ck_assert_str_eq(list->service[1]->name, "grpc.reflection.v1.ServerReflection");
    ck_assert_str_eq(list->service[2]->name, "grpc.reflection.v1alpha.ServerReflection");

    static const char *const symbols[] = {
        "grpc.health.v1.Health",
        "grpc.health.v1.Health.Check",
        "grpc.health.v1.HealthCheckRequest",
        "grpc.health.v1.HealthCheckResponse.ServingStatus",
    };
    for (size_t i = 0; i < SY_COUNT_OF(symbols); i++)
        assert_file(&w, ask(&w, REQUEST(FILE_CONTAINING_SYMBOL), symbols[i]), health_file);
    assert_file(&w, ask(&w, REQUEST(FILE_BY_FILENAME), health_file), health_file);

    static const char *const unknown[] = {
        "",
        ".",
        "grpc",
        "grpc.health.v1",
        "grpc.health.v1.Healt",
        "grpc.health.v1.Health.Nothing",
        "grpc.health.v1.HealthCheckRequest.Nothing",
    };
    for (size_t i = 0; i < SY_COUNT_OF(unknown); i++) {
        response = ask(&w, REQUEST(FILE_CONTAINING_SYMBOL), unknown[i]);
        ck_assert_int_eq((int)response->message_response_case, RESPONSE(ERROR_RESPONSE));
        ck_assert_int_eq(response->error_response->error_code, SY_CODE_NOT_FOUND);
    }
    sy_call_half_close(w.call);
    run(&w);
    ck_assert_int_eq(w.closes, 1);
    ck_assert_int_eq(w.code, SY_CODE_OK);
    close_world(&w);
}

START_TEST(reflection)
{
    reflect("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    reflect("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
}
END_TEST

START_TEST(reflection_of_nonsense)
{
    struct world w;
    open_world(&w);
    open_stream(&w, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    struct sy_buf nonsense = sy_buf_copy("\xff\xff\xff\xff", 4);
    ck_assert_int_eq(sy_call_send(w.call, &nonsense), 0);
    run(&w);
    ck_assert_int_eq(w.closes, 1);
    ck_assert_int_eq(w.code, SY_CODE_INVALID_ARGUMENT);
    close_world(&w);
}
END_TEST

/* ---- pb.h ---- */

START_TEST(unpack_within_the_cap)
{
    struct sy_arena arena;
    struct sy_buf bytes = health_request("a service with a name that takes some room");
    sy_arena_init(&arena, 4096);
    Grpc__Health__V1__HealthCheckRequest *request = pb_unpack(
        &grpc__health__v1__health_check_request__descriptor, &arena, sy_buf_span(&bytes));
    ck_assert_ptr_nonnull(request);
    ck_assert_str_eq(request->service, "a service with a name that takes some room");
    sy_arena_deinit(&arena);
    sy_arena_init(&arena, 64); /* too small: refused, not cut */
    ck_assert_ptr_null(pb_unpack(&grpc__health__v1__health_check_request__descriptor, &arena,
                                 sy_buf_span(&bytes)));
    sy_arena_deinit(&arena);
    sy_buf_deinit(&bytes);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        health_check, health_watch,           health_watches_end_before_a_drain,
        reflection,   reflection_of_nonsense, unpack_within_the_cap,
        NULL,
    };
    return sy_test_run("proto_services", tests);
}
