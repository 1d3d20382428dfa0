/* links: cl */
#include "base/mem.h"
#include "proto/pb.h"
#include "tests/lib/test.h"
#include "tools/src/cl_enqueue.h"
#include "tools/src/cl_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A server in memory, on the client's own loop, that answers as each test asks. */

#define ENDPOINT "shard:1"
#define NAMES_MAX 64

struct world {
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_server *server;
    struct cl_client *client;
    struct sy_arena arena;
    /* region status, create run */
    enum sy_code answer_code;
    const char *answer_text;
    bool garbage;
    unsigned creates, create_failures; /* the first so many answers are lost */
    char request_ids[8][40];
    /* enqueue */
    unsigned refusals; /* the first so many calls find the queue full */
    enum sy_code refusal_code;
    char names[NAMES_MAX][64];
    unsigned name_count, sealed_after;
    /* watch */
    unsigned watches;
    uint64_t afters[8];
    uint64_t break_after[8]; /* the n-th watch breaks after this event; 0 = goes to the end */
    enum sy_code break_code;
    uint64_t events;
    /* what the client saw */
    uint64_t seen[NAMES_MAX];
    unsigned seen_count;
};

static void reply(struct sy_call *call, const ProtobufCMessage *message)
{
    struct sy_buf buf = {0};
    pb_pack(message, &buf);
    sy_call_reply(call, &buf);
}

static void on_status(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct world *w = ctx;
    (void)request;
    if (w->answer_code != SY_CODE_OK) {
        sy_call_fail(call, w->answer_code, "%s", w->answer_text);
        return;
    }
    if (w->garbage) {
        struct sy_buf buf = sy_buf_copy("\xff\xff\xff", 3);
        sy_call_reply(call, &buf);
        return;
    }
    Switchyard__V1__GetRegionStatusResponse response =
        SWITCHYARD__V1__GET_REGION_STATUS_RESPONSE__INIT;
    response.region = cl_unconst("test");
    reply(call, &response.base);
}

static void on_create(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct world *w = ctx;
    (void)request;
    const char *id = sy_call_metadata(call, "x-request-id");
    snprintf(w->request_ids[w->creates % 8], sizeof(w->request_ids[0]), "%s", id ? id : "");
    if (w->creates++ < w->create_failures) {
        sy_call_fail(call, SY_CODE_UNAVAILABLE, "recovering");
        return;
    }
    if (w->answer_code != SY_CODE_OK) {
        sy_call_fail(call, w->answer_code, "%s", w->answer_text);
        return;
    }
    Flyteidl2__Workflow__CreateRunResponse response =
        FLYTEIDL2__WORKFLOW__CREATE_RUN_RESPONSE__INIT;
    Flyteidl2__Workflow__Run run = FLYTEIDL2__WORKFLOW__RUN__INIT;
    Flyteidl2__Workflow__Action action = FLYTEIDL2__WORKFLOW__ACTION__INIT;
    Flyteidl2__Common__ActionIdentifier action_id = FLYTEIDL2__COMMON__ACTION_IDENTIFIER__INIT;
    Flyteidl2__Common__RunIdentifier run_id = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    run_id.name = cl_unconst("r-made");
    action_id.run = &run_id;
    action.id = &action_id;
    run.action = &action;
    response.run = &run;
    reply(call, &response.base);
}

static void on_enqueue(void *ctx, struct sy_call *call, struct sy_span bytes)
{
    struct world *w = ctx;
    if (w->refusals > 0) {
        w->refusals--;
        sy_call_fail(call, w->refusal_code, "the queue is full");
        return;
    }
    sy_arena_reset(&w->arena);
    const Switchyard__V1__EnqueueActionsRequest *request = pb_unpack(
        &switchyard__v1__enqueue_actions_request__descriptor, &w->arena, bytes);
    ck_assert_ptr_nonnull(request);
    ck_assert_str_eq(request->run->name, "r1");
    ck_assert_str_eq(request->run->domain, "d");
    ck_assert_str_eq(request->parent, "a0");
    ck_assert_uint_eq(w->sealed_after, 0); /* nothing follows a seal */
    Switchyard__V1__EnqueueActionsResponse response =
        SWITCHYARD__V1__ENQUEUE_ACTIONS_RESPONSE__INIT;
    for (size_t i = 0; i < request->n_actions; i++) {
        ck_assert_uint_lt(w->name_count, NAMES_MAX);
        snprintf(w->names[w->name_count++], 64, "%s=%.*s", request->actions[i]->name,
                 (int)request->actions[i]->input.len,
                 request->actions[i]->input.len ? (const char *)request->actions[i]->input.data
                                                : "");
        response.created++;
    }
    if (request->seal)
        w->sealed_after = w->name_count;
    reply(call, &response.base);
}

static void send_event(struct world *w, struct sy_call *call, uint64_t sequence)
{
    Switchyard__V1__WatchRunResponse response = SWITCHYARD__V1__WATCH_RUN_RESPONSE__INIT;
    Switchyard__V1__Event event = SWITCHYARD__V1__EVENT__INIT, *events[] = {&event};
    Switchyard__V1__Error error = SWITCHYARD__V1__ERROR__INIT;
    event.sequence = sequence;
    event.action = cl_unconst(sequence == w->events ? "a0" : "n");
    event.phase = SWITCHYARD__V1__PHASE__PHASE_FAILED;
    error.message = cl_unconst("why");
    event.error = &error;
    response.events = events;
    response.n_events = 1;
    struct sy_buf buf = {0};
    pb_pack(&response.base, &buf);
    ck_assert_int_eq(sy_call_send(call, &buf), 0);
}

static void on_watch(void *ctx, struct sy_call *call, struct sy_span bytes)
{
    struct world *w = ctx;
    static const struct sy_call_sink sink = {.on_message = NULL};
    sy_arena_reset(&w->arena);
    const Switchyard__V1__WatchRunRequest *request = pb_unpack(
        &switchyard__v1__watch_run_request__descriptor, &w->arena, bytes);
    ck_assert_ptr_nonnull(request);
    unsigned n = w->watches++;
    ck_assert_uint_lt(n, 8);
    w->afters[n] = request->after_sequence;
    uint64_t last = w->break_after[n] ? w->break_after[n] : w->events;
    sy_call_set_sink(call, &sink, w);
    for (uint64_t s = request->after_sequence + 1; s <= last; s++)
        send_event(w, call, s);
    if (w->break_after[n] || w->break_code == SY_CODE_NOT_FOUND) {
        struct sy_status status = {.code = w->break_code, .message = {"broken"}};
        sy_call_finish(call, w->break_code == SY_CODE_OK ? NULL : &status);
    } else {
        sy_call_finish(call, NULL);
    }
    sy_call_unref(call);
}

static void world_init(struct world *w)
{
    *w = (struct world){.answer_text = "", .refusal_code = SY_CODE_RESOURCE_EXHAUSTED};
    struct sy_error_text error;
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    sy_arena_init(&w->arena, (size_t)1 << 20);
    struct sy_server_options options = {.address = ENDPOINT};
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &options, &error), 0);
    const struct sy_method methods[] = {
        {cl_get_region_status.path, SY_METHOD_UNARY, on_status, w, w->loop, 0},
        {cl_create_run.path, SY_METHOD_UNARY, on_create, w, w->loop, 0},
        {cl_enqueue_actions.path, SY_METHOD_UNARY, on_enqueue, w, w->loop, 0},
        {cl_watch_run.path, SY_METHOD_SERVER_STREAM, on_watch, w, w->loop, 0},
    };
    for (size_t i = 0; i < SY_COUNT_OF(methods); i++)
        sy_server_add(w->server, &methods[i]);
    ck_assert_int_eq(sy_server_start(w->server, &error), 0);
    struct cl_options client = {
        .endpoint = ENDPOINT, .project = "p", .domain = "d", .timeout_ns = 60 * SY_NS_PER_S};
    w->client = cl_client_new_on(w->rpc, w->loop, &client);
}

static void drained(void *ctx)
{
    struct world *w = ctx;
    sy_loop_stop(w->loop);
}

static void world_deinit(struct world *w)
{
    cl_client_free(w->client);
    sy_server_drain(w->server, 0, w->loop, drained, w);
    ck_assert_int_eq(sy_loop_run(w->loop), 0);
    sy_server_free(w->server);
    sy_rpc_free(w->rpc);
    sy_arena_deinit(&w->arena);
    sy_loop_free(w->loop);
}

/* ---- calls ---- */

static const void *status(struct world *w, struct sy_arena *arena, struct cl_error *error)
{
    Switchyard__V1__GetRegionStatusRequest request =
        SWITCHYARD__V1__GET_REGION_STATUS_REQUEST__INIT;
    return cl_call(w->client, &cl_get_region_status, &request.base, arena, error);
}

START_TEST(test_a_call_gives_the_answer_or_one_sentence)
{
    static const struct {
        enum sy_code code;
        enum cl_exit exit;
    } codes[] = {
        {SY_CODE_NOT_FOUND, CL_NOT_FOUND},         {SY_CODE_UNAVAILABLE, CL_UNREACHABLE},
        {SY_CODE_INVALID_ARGUMENT, CL_REFUSED},    {SY_CODE_RESOURCE_EXHAUSTED, CL_REFUSED},
        {SY_CODE_FAILED_PRECONDITION, CL_REFUSED}, {SY_CODE_DEADLINE_EXCEEDED, CL_TIMED_OUT},
        {SY_CODE_INTERNAL, CL_INTERNAL},           {SY_CODE_UNIMPLEMENTED, CL_INTERNAL},
        {SY_CODE_ALREADY_EXISTS, CL_REFUSED},
    };
    struct world w;
    struct cl_error error;
    struct sy_arena arena;
    world_init(&w);
    sy_arena_init(&arena, (size_t)1 << 20);
    const Switchyard__V1__GetRegionStatusResponse *answer = status(&w, &arena, &error);
    ck_assert_ptr_nonnull(answer);
    ck_assert_str_eq(answer->region, "test");
    ck_assert_int_eq(error.exit, CL_OK);
    for (size_t i = 0; i < SY_COUNT_OF(codes); i++) {
        w.answer_code = codes[i].code;
        w.answer_text = i % 2 ? "" : "a reason";
        ck_assert_ptr_null(status(&w, &arena, &error));
        ck_assert_int_eq(error.exit, codes[i].exit);
        ck_assert_int_eq(error.code, codes[i].code);
        ck_assert_uint_gt(strlen(error.text.text), 0);
    }
    w.answer_code = SY_CODE_OK;
    w.garbage = true;
    ck_assert_ptr_null(status(&w, &arena, &error));
    ck_assert_int_eq(error.exit, CL_INTERNAL);
    ck_assert_ptr_nonnull(strstr(error.text.text, "GetRegionStatus"));
    sy_arena_deinit(&arena);
    world_deinit(&w);
}
END_TEST

START_TEST(test_creating_a_run_survives_a_lost_answer)
{
    struct world w;
    struct cl_error error;
    char name[CL_RUN_NAME_MAX] = "";
    struct cl_new_run run = {.task_spec = {(const uint8_t *)"spec", 4}};
    world_init(&w);
    w.create_failures = 2;
    ck_assert_int_eq(cl_run_create(w.client, &run, name, &error), CL_OK);
    ck_assert_str_eq(name, "r-made");
    ck_assert_uint_eq(w.creates, 3);
    ck_assert_uint_gt(strlen(w.request_ids[0]), 10);
    ck_assert_str_eq(w.request_ids[0], w.request_ids[1]); /* one run, not three */
    ck_assert_str_eq(w.request_ids[0], w.request_ids[2]);

    w.answer_code = SY_CODE_INVALID_ARGUMENT;
    w.answer_text = "8 x H100 asked, 4 x H100 there";
    ck_assert_int_eq(cl_run_create(w.client, &run, name, &error), CL_REFUSED);
    ck_assert_str_eq(error.text.text, "8 x H100 asked, 4 x H100 there");
    ck_assert_str_ne(w.request_ids[0], w.request_ids[3]);
    world_deinit(&w);
}
END_TEST

/* ---- enqueue ---- */

START_TEST(test_batches_arrive_whole_and_the_seal_comes_last)
{
    struct world w;
    struct cl_enqueue enqueue;
    struct cl_batcher batcher;
    struct sy_buf spec = sy_buf_copy("spec", 4);
    world_init(&w);
    cl_enqueue_init(&enqueue, w.client, "r1", "a0", 4);
    cl_batcher_init(&batcher, &enqueue, &spec, "n", 3);
    for (unsigned i = 0; i < 20; i++) {
        char input[16];
        int n = snprintf(input, sizeof(input), "in%u", i);
        struct sy_span span = {(const uint8_t *)input, (size_t)n};
        ck_assert_int_eq(cl_batcher_add(&batcher, span), CL_OK);
    }
    ck_assert_int_eq(cl_batcher_finish(&batcher, true), CL_OK);
    ck_assert_uint_eq(enqueue.created, 20);
    ck_assert_uint_eq(w.name_count, 20);
    ck_assert_uint_eq(w.sealed_after, 20);
    ck_assert_str_eq(w.names[0], "n0000000=in0");
    ck_assert_str_eq(w.names[19], "n0000019=in19");
    cl_batcher_deinit(&batcher);
    cl_enqueue_deinit(&enqueue);
    world_deinit(&w);
}
END_TEST

START_TEST(test_a_full_queue_makes_the_caller_wait)
{
    struct world w;
    struct cl_enqueue enqueue;
    struct cl_batcher batcher;
    struct sy_buf spec = sy_buf_copy("spec", 4);
    world_init(&w);
    w.refusals = 5;
    cl_enqueue_init(&enqueue, w.client, "r1", "a0", 2);
    cl_batcher_init(&batcher, &enqueue, &spec, "n", 1);
    for (unsigned i = 0; i < 6; i++)
        ck_assert_int_eq(cl_batcher_add(&batcher, (struct sy_span){NULL, 0}), CL_OK);
    ck_assert_int_eq(cl_batcher_finish(&batcher, true), CL_OK);
    ck_assert_uint_eq(enqueue.refused, 5);
    ck_assert_uint_eq(enqueue.created, 6);
    ck_assert_uint_eq(w.sealed_after, 6);
    cl_batcher_deinit(&batcher);
    cl_enqueue_deinit(&enqueue);
    world_deinit(&w);
}
END_TEST

START_TEST(test_a_refusal_for_good_ends_it)
{
    struct world w;
    struct cl_enqueue enqueue;
    struct cl_batcher batcher;
    struct sy_buf spec = sy_buf_copy("spec", 4);
    world_init(&w);
    w.refusals = 1000;
    w.refusal_code = SY_CODE_INVALID_ARGUMENT;
    cl_enqueue_init(&enqueue, w.client, "r1", "a0", 2);
    cl_batcher_init(&batcher, &enqueue, &spec, "n", 1);
    enum cl_exit exit_code = CL_OK;
    for (unsigned i = 0; i < 100 && exit_code == CL_OK; i++)
        exit_code = cl_batcher_add(&batcher, (struct sy_span){NULL, 0});
    ck_assert_int_eq(exit_code, CL_REFUSED);
    ck_assert_str_eq(enqueue.error.text.text, "the queue is full");
    ck_assert_int_eq(cl_batcher_finish(&batcher, true), CL_REFUSED);
    ck_assert_uint_eq(w.sealed_after, 0);
    cl_batcher_deinit(&batcher);
    cl_enqueue_deinit(&enqueue);
    world_deinit(&w);
}
END_TEST

/* ---- watch ---- */

static void on_event(void *ctx, const Switchyard__V1__Event *event)
{
    struct world *w = ctx;
    ck_assert_uint_lt(w->seen_count, NAMES_MAX);
    w->seen[w->seen_count++] = event->sequence;
}

static void watch_to_the_end(struct world *w, struct cl_watch *watch)
{
    cl_watch_start(watch, w->client, "r1", 0, true, on_event, w);
    while (cl_watch_turn(watch, 0))
        ;
}

START_TEST(test_a_broken_watch_goes_on_where_it_broke)
{
    struct world w;
    struct cl_watch watch;
    world_init(&w);
    w.events = 10;
    w.break_code = SY_CODE_UNAVAILABLE;
    w.break_after[0] = 3;
    w.break_after[1] = 3; /* nothing new, broken again */
    w.break_after[2] = 7;
    watch_to_the_end(&w, &watch);
    ck_assert_uint_eq(w.watches, 4);
    ck_assert_uint_eq(w.afters[0], 0);
    ck_assert_uint_eq(w.afters[1], 3);
    ck_assert_uint_eq(w.afters[2], 3);
    ck_assert_uint_eq(w.afters[3], 7);
    ck_assert_uint_eq(w.seen_count, 10);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_eq(w.seen[i], i + 1); /* each once, in order */
    ck_assert_int_eq(cl_watch_result(&watch), CL_FAILED);
    ck_assert_str_eq(watch.root_error->message, "why");
    cl_watch_stop(&watch);
    world_deinit(&w);
}
END_TEST

START_TEST(test_an_early_end_is_not_the_end_of_the_run)
{
    struct world w;
    struct cl_watch watch;
    world_init(&w);
    w.events = 5;
    w.break_code = SY_CODE_OK; /* a shard that drains */
    w.break_after[0] = 2;
    watch_to_the_end(&w, &watch);
    ck_assert_uint_eq(w.watches, 2);
    ck_assert_uint_eq(w.seen_count, 5);
    cl_watch_stop(&watch);
    world_deinit(&w);
}
END_TEST

START_TEST(test_a_run_that_is_not_there)
{
    struct world w;
    struct cl_watch watch;
    world_init(&w);
    w.break_code = SY_CODE_NOT_FOUND;
    watch_to_the_end(&w, &watch);
    ck_assert_uint_eq(w.watches, 1);
    ck_assert_int_eq(cl_watch_result(&watch), CL_NOT_FOUND);
    ck_assert_str_eq(watch.error.text.text, "broken");
    cl_watch_stop(&watch);
    world_deinit(&w);
}
END_TEST

/* ---- interruption ---- */

static void interrupt(void *arg)
{
    struct world *w = arg;
    w->client->interrupted = true;
    cl_wake(w->client);
}

START_TEST(test_an_interrupt_ends_what_waits)
{
    struct world w;
    struct cl_enqueue enqueue;
    struct cl_batcher batcher;
    struct sy_buf spec = sy_buf_copy("spec", 4);
    struct sy_timer timer;
    world_init(&w);
    w.refusals = 1000000; /* it would wait for room for long */
    cl_enqueue_init(&enqueue, w.client, "r1", "a0", 1);
    cl_batcher_init(&batcher, &enqueue, &spec, "n", 1);
    sy_timer_init(&timer, interrupt, &w);
    sy_timer_start_in(w.loop, &timer, 50 * SY_NS_PER_MS);
    ck_assert_int_eq(cl_batcher_add(&batcher, (struct sy_span){NULL, 0}), CL_OK);
    ck_assert_int_eq(cl_batcher_finish(&batcher, true), CL_INTERRUPTED);
    cl_batcher_deinit(&batcher);
    cl_enqueue_deinit(&enqueue);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_a_call_gives_the_answer_or_one_sentence,
        test_creating_a_run_survives_a_lost_answer,
        test_batches_arrive_whole_and_the_seal_comes_last,
        test_a_full_queue_makes_the_caller_wait,
        test_a_refusal_for_good_ends_it,
        test_a_broken_watch_goes_on_where_it_broke,
        test_an_early_end_is_not_the_end_of_the_run,
        test_a_run_that_is_not_there,
        test_an_interrupt_ends_what_waits,
        NULL,
    };
    return sy_test_run("cl_client", tests);
}
