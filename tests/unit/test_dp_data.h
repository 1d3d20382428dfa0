/*
 * A small world for tests of the data service: rpc_mem, real files in a temporary directory, and a
 * control plane that answers what it is told to.
 */
#pragma once

#pragma GCC diagnostic ignored "-Wcast-qual" /* protobuf-c's __INIT macros */

#include "base/blob_impl.h"
#include "base/file.h"
#include "base/mem.h"
#include "dataplane/data_impl.h"
#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"
#include "flyteidl2/task/task_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "tests/lib/test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVICE "/flyteidl2.dataproxy.DataProxyService/"
#define TEXT(text_) ((char *)(uintptr_t)(text_))
#define LIMIT ((int64_t)1 << 20)
#define MD5_HELLO "XUFAKrxLKna5cZ2REBfFkg==" /* of "hello" */

struct world {
    int64_t now_ns;
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_server *server, *shard;
    struct sy_channel *channel;
    struct dp_data *data;
    char dir[64], store[80];
    /* What the control plane answers. */
    char inputs_uri[256], outputs_uri[256];
    const char *inline_inputs;
    enum sy_code code;
    int asked;
    const char *const *shard_gone; /* while it is asked: the one that there is instead */
    struct sy_buf task_spec;
};

static inline int64_t clock_ns(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static inline void run_for(struct world *w, int64_t for_ns)
{
    int64_t end_ns = w->now_ns + for_ns;
    while (sy_loop_next_ns(w->loop) <= end_ns) {
        if (sy_loop_next_ns(w->loop) > w->now_ns)
            w->now_ns = sy_loop_next_ns(w->loop);
        sy_loop_turn(w->loop);
    }
    w->now_ns = end_ns;
    sy_loop_turn(w->loop); /* it reads the clock */
}

/* ---- the control plane ---- */

static inline void answer(struct world *w, struct sy_call *call, const ProtobufCMessage *message)
{
    struct sy_buf bytes = {0};
    w->asked++;
    if (w->shard_gone) /* it is posted before the answer */
        dp_data_set_shards(w->data, w->shard_gone, 1);
    if (w->code != SY_CODE_OK) {
        sy_call_fail(call, w->code, "no such thing");
        return;
    }
    pb_pack(message, &bytes);
    sy_call_reply(call, &bytes);
}

static inline void get_uris(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct world *w = ctx;
    Flyteidl2__Workflow__GetActionDataURIsRequest *asked =
        flyteidl2__workflow__get_action_data_uris_request__unpack(NULL, request.len, request.data);
    ck_assert_ptr_nonnull(asked);
    ck_assert_str_eq(asked->action_id->name, "a0");
    ck_assert_str_eq(asked->action_id->run->name, "r1");
    flyteidl2__workflow__get_action_data_uris_request__free_unpacked(asked, NULL);
    Flyteidl2__Workflow__GetActionDataURIsResponse response =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DATA_URIS_RESPONSE__INIT;
    response.inputs_uri = w->inputs_uri;
    response.outputs_uri = w->outputs_uri;
    answer(w, call, &response.base);
}

static inline void get_inline(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct world *w = ctx;
    (void)request;
    Flyteidl2__Workflow__GetActionDataResponse response =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DATA_RESPONSE__INIT;
    if (w->inline_inputs) {
        response.inputs.data = (uint8_t *)(uintptr_t)w->inline_inputs;
        response.inputs.len = strlen(w->inline_inputs);
    }
    answer(w, call, &response.base);
}

static inline void get_task(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct world *w = ctx;
    (void)request;
    Flyteidl2__Task__GetTaskDetailsResponse response =
        FLYTEIDL2__TASK__GET_TASK_DETAILS_RESPONSE__INIT;
    Flyteidl2__Task__TaskDetails details = FLYTEIDL2__TASK__TASK_DETAILS__INIT;
    details.spec.data = w->task_spec.data;
    details.spec.len = w->task_spec.len;
    response.details = &details;
    answer(w, call, &response.base);
}

static inline void get_action(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct world *w = ctx;
    (void)request;
    Flyteidl2__Workflow__GetActionDetailsResponse response =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DETAILS_RESPONSE__INIT;
    Flyteidl2__Workflow__ActionDetails details = FLYTEIDL2__WORKFLOW__ACTION_DETAILS__INIT;
    details.task.data = w->task_spec.data;
    details.task.len = w->task_spec.len;
    details.spec_case = FLYTEIDL2__WORKFLOW__ACTION_DETAILS__SPEC_TASK;
    response.details = &details;
    answer(w, call, &response.base);
}

static inline void listen_shard(struct world *w)
{
    static const struct sy_method methods[] = {
        {.path = "/flyteidl2.workflow.RunService/GetActionDataURIs", .handler = get_uris},
        {.path = "/flyteidl2.workflow.RunService/GetActionData", .handler = get_inline},
        {.path = "/flyteidl2.workflow.RunService/GetActionDetails", .handler = get_action},
        {.path = "/flyteidl2.task.TaskService/GetTaskDetails", .handler = get_task},
    };
    struct sy_error_text error = {0};
    struct sy_server_options options = {.address = "shard1"};
    sy_rpc_mem_set_origin(w->rpc, "shard1");
    ck_assert_int_eq(sy_server_new(&w->shard, w->rpc, &options, &error), 0);
    for (size_t i = 0; i < SY_COUNT_OF(methods); i++) {
        struct sy_method method = methods[i];
        method.kind = SY_METHOD_UNARY;
        method.ctx = w;
        method.loop = w->loop;
        sy_server_add(w->shard, &method);
    }
    ck_assert_int_eq(sy_server_start(w->shard, &error), 0);
}

/* ---- the world ---- */

static inline void open_data(struct world *w)
{
    static const char *const shards[] = {"shard0", "shard1"}; /* the first is down */
    struct sy_error_text error = {0};
    struct sy_blob_options storage = {.root = w->store};
    struct dp_data_options options = {
        .dir = w->dir,
        .cluster = "c1",
        .storage = &storage,
        .upload_bytes_max = LIMIT,
        .rpc = w->rpc,
        .loop = w->loop,
    };
    sy_rpc_mem_set_origin(w->rpc, "operator");
    ck_assert_msg(dp_data_new(&w->data, &options, &error) == 0, "%s", error.text);
    dp_data_set_shards(w->data, shards, SY_COUNT_OF(shards));
    dp_data_set_endpoint(w->data, "10.0.0.1:8091");
    struct sy_server_options server = {.address = "operator"};
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &server, &error), 0);
    dp_data_serve(w->data, w->server);
    ck_assert_int_eq(sy_server_start(w->server, &error), 0);
}

static inline void world_init(struct world *w)
{
    *w = (struct world){.now_ns = 1000 * SY_NS_PER_S};
    snprintf(w->dir, sizeof(w->dir), "/tmp/test_dp_data.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    snprintf(w->store, sizeof(w->store), "%s/store", w->dir);
    struct sy_clock clock = {clock_ns, clock_ns, w};
    struct sy_loop_options loop = {.clock = &clock, .without_epoll = true};
    ck_assert_int_eq(sy_loop_new(&w->loop, &loop), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    sy_rpc_mem_set_origin(w->rpc, "client");
    w->channel = sy_channel_new(w->rpc, "operator");
    listen_shard(w);
    open_data(w);
}

static inline void world_deinit(struct world *w)
{
    char command[128];
    dp_data_free(w->data);
    sy_server_free(w->server);
    sy_server_free(w->shard);
    run_for(w, SY_NS_PER_S);
    sy_channel_free(w->channel);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
    sy_buf_deinit(&w->task_spec);
    snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
    ck_assert_int_eq(system(command), 0); /* a name of our own making */
}

struct reply {
    int count;
    enum sy_code code;
    struct sy_error_text text;
    struct sy_buf bytes;
};

static inline void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct reply *reply = ctx;
    reply->count++;
    reply->code = status->code;
    reply->text = status->message;
    sy_buf_clear(&reply->bytes);
    sy_buf_append(&reply->bytes, response.data, response.len);
}

static inline enum sy_code call(struct world *w, const char *method,
                                const ProtobufCMessage *request, struct reply *reply)
{
    struct sy_buf bytes = {0};
    struct sy_call_options options = {.method = method};
    pb_pack(request, &bytes);
    reply->count = 0;
    sy_channel_call(w->channel, w->loop, &options, &bytes, on_reply, reply);
    run_for(w, SY_NS_PER_S);
    ck_assert_int_eq(reply->count, 1);
    return reply->code;
}

static inline void *message_of(const struct reply *reply,
                               const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, NULL, reply->bytes.len,
                                                          reply->bytes.data);
    ck_assert_ptr_nonnull(message);
    return message;
}

static inline size_t files_in(const char *dir)
{
    DIR *entries = opendir(dir);
    size_t count = 0;
    ck_assert_ptr_nonnull(entries);
    for (const struct dirent *e; (e = readdir(entries)) != NULL;)
        count += e->d_name[0] != '.';
    closedir(entries);
    return count;
}
