/* links: ag */
#include "flyteidl2/task/task_definition.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"
#include "tests/lib/test.h"
#include "tests/unit/test_ag_exec_util.h"

/* A control plane of one task: what is enqueued ends at once, its output is its input. */
struct child {
    char name[64], input[64];
};

static struct child *children;
static size_t child_count;
static unsigned enqueues, waits;
static char spec_text[512];

static void reply(uint32_t code, const char *message, struct sy_span body)
{
    bench->executor->ops->reply(bench->executor, bench->call_id, bench->call, code, message, body);
    bench->executor->ops->flush(bench->executor);
}

static void read_spec(struct sy_span bytes)
{
    Flyteidl2__Task__TaskSpec *spec = flyteidl2__task__task_spec__unpack(NULL, bytes.len,
                                                                         bytes.data);
    ck_assert_ptr_nonnull(spec);
    const Flyteidl2__Core__TaskTemplate *t = spec->task_template;
    ck_assert_int_eq(t->target_case, FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER);
    const Flyteidl2__Core__Container *c = t->container;
    ck_assert_uint_eq(c->n_args, 2);
    ck_assert_uint_eq(c->resources->n_requests, 2);
    snprintf(spec_text, sizeof(spec_text), "%s %s %s cpu=%s memory=%s retries=%u", t->type,
             c->image, c->args[1], c->resources->requests[0]->value,
             c->resources->requests[1]->value, t->metadata->retries->retries);
    ck_assert_int_eq(c->resources->requests[0]->name,
                     FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__CPU);
    ck_assert_int_eq(c->resources->requests[1]->name,
                     FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__MEMORY);
    flyteidl2__task__task_spec__free_unpacked(spec, NULL);
}

static void serve_enqueue(void)
{
    Switchyard__V1__EnqueueActionsRequest *request =
        switchyard__v1__enqueue_actions_request__unpack(NULL, bench->call_body.len,
                                                        bench->call_body.data);
    ck_assert_ptr_nonnull(request);
    ck_assert_uint_le(request->n_actions, 1000);
    read_spec((struct sy_span){request->task_spec.data, request->task_spec.len});
    for (size_t i = 0; i < request->n_actions; i++) {
        children = sy_realloc(children, (child_count + 1) * sizeof(*children));
        struct child *child = &children[child_count++];
        snprintf(child->name, sizeof(child->name), "%s", request->actions[i]->name);
        snprintf(child->input, sizeof(child->input), "%.*s", (int)request->actions[i]->input.len,
                 (const char *)request->actions[i]->input.data);
    }
    switchyard__v1__enqueue_actions_request__free_unpacked(request, NULL);
    reply(0, "", (struct sy_span){0});
}

static void serve_wait(void)
{
    Switchyard__V1__WaitChildrenRequest *request = switchyard__v1__wait_children_request__unpack(
        NULL, bench->call_body.len, bench->call_body.data);
    Switchyard__V1__WaitChildrenResponse response = SWITCHYARD__V1__WAIT_CHILDREN_RESPONSE__INIT;
    size_t first = (size_t)request->after, n = child_count - first;
    if (n > request->max)
        n = request->max;
    Switchyard__V1__ChildOutcome *outcomes = sy_calloc(n, sizeof(*outcomes));
    Switchyard__V1__ChildOutcome **pointers = sy_calloc(n, sizeof(*pointers));
    for (size_t i = 0; i < n; i++) {
        switchyard__v1__child_outcome__init(&outcomes[i]);
        outcomes[i].name = children[first + i].name;
        outcomes[i].phase = SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED;
        outcomes[i].output.data = (uint8_t *)children[first + i].input;
        outcomes[i].output.len = strlen(children[first + i].input);
        pointers[i] = &outcomes[i];
    }
    response.children = pointers;
    response.n_children = n;
    response.next = first + n;
    uint8_t *body = sy_malloc(switchyard__v1__wait_children_response__get_packed_size(&response) +
                              1);
    size_t size = switchyard__v1__wait_children_response__pack(&response, body);
    reply(0, "", (struct sy_span){body, size});
    free(body);
    free(outcomes);
    free(pointers);
    switchyard__v1__wait_children_request__free_unpacked(request, NULL);
}

/* Answers calls until the attempt ends; the first `refusals` of each kind are UNAVAILABLE. */
static void serve(uint64_t id, unsigned refusals)
{
    enqueues = waits = child_count = 0;
    bench->executor->ops->flush(bench->executor);
    unsigned seen = bench->calls;
    while (RUN_UNTIL(bench->loop, bench->calls > seen || bench->attempts[id - 1].ended) &&
           !bench->attempts[id - 1].ended) {
        ck_assert_uint_eq(bench->call_id, id);
        seen = bench->calls;
        bool enqueue = strcmp(bench->call_method, "EnqueueActions") == 0;
        ck_assert(enqueue || strcmp(bench->call_method, "WaitChildren") == 0);
        unsigned *count = enqueue ? &enqueues : &waits;
        if ((*count)++ < refusals)
            reply(14, "not now", (struct sy_span){0});
        else if (enqueue)
            serve_enqueue();
        else
            serve_wait();
    }
    ck_assert(bench->attempts[id - 1].ended);
}

static void open_pool(uint32_t concurrency)
{
    struct ag_pool_options pool = bench_pool(1, concurrency);
    bench_open(&pool, 1, AG_CGROUP_NONE);
}

static void close_pool(void)
{
    bench_close();
    free(children);
    children = NULL;
}

START_TEST(enqueue_and_wait)
{
    open_pool(1);
    uint64_t id = bench_run_function("sum_children", "2500");
    serve(id, 0);
    const struct bench_attempt *a = &bench->attempts[id - 1];
    ck_assert_msg(a->result.kind == AG_RESULT_SUCCEEDED, "%s", a->message);
    ck_assert_str_eq(a->output, "3123750 of 2500");
    ck_assert_uint_eq(enqueues, 3); /* 1,000 each */
    ck_assert_uint_eq(waits, 4);    /* and an empty page */
    ck_assert_str_eq(spec_text,
                     "switchyard.function native echo cpu=250m memory=67108864 retries=2");
    close_pool();
}
END_TEST

START_TEST(what_cannot_be_reached_is_asked_again)
{
    open_pool(2);
    uint64_t id = bench_run_function("sum_children", "3");
    serve(id, 2);
    ck_assert_str_eq(bench->attempts[id - 1].output, "3 of 3");
    ck_assert_uint_eq(enqueues, 3);
    close_pool();
}
END_TEST

START_TEST(a_refusal_fails_the_task)
{
    open_pool(1);
    uint64_t id = bench_run_function("sum_children", "3");
    bench->executor->ops->flush(bench->executor);
    ck_assert(RUN_UNTIL(bench->loop, bench->calls == 1));
    reply(3, "no cluster could ever run it", (struct sy_span){0});
    const struct bench_attempt *a = bench_wait(id);
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED);
    ck_assert_str_eq(a->message, "EnqueueActions: code 3: no cluster could ever run it");
    close_pool();
}
END_TEST

START_TEST(cancelled_while_it_waits_for_an_answer)
{
    for (uint32_t concurrency = 1; concurrency <= 2; concurrency++) {
        open_pool(concurrency);
        uint64_t id = bench_run_function("sum_children", "3");
        bench->executor->ops->flush(bench->executor);
        ck_assert(RUN_UNTIL(bench->loop, bench->calls == 1));
        bench->executor->ops->cancel(bench->executor, id, "test");
        const struct bench_attempt *a = bench_wait(id);
        ck_assert_int_eq(a->result.kind, AG_RESULT_CANCELLED);
        ck_assert_uint_eq(bench_status().died, 0);
        ck_assert_int_eq(bench_wait(bench_run_function("noop", ""))->result.kind,
                         AG_RESULT_SUCCEEDED);
        close_pool();
    }
}
END_TEST

START_TEST(others_run_while_one_waits)
{
    open_pool(3);
    uint64_t root = bench_run_function("sum_children", "10");
    bench->executor->ops->flush(bench->executor);
    ck_assert(RUN_UNTIL(bench->loop, bench->calls == 1));
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(bench_wait(bench_run_function("echo", "x"))->result.kind,
                         AG_RESULT_SUCCEEDED);
    ck_assert(!bench->attempts[root - 1].ended);
    reply(14, "go on", (struct sy_span){0});
    serve(root, 0);
    ck_assert_str_eq(bench->attempts[root - 1].output, "45 of 10");
    close_pool();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        enqueue_and_wait,           what_cannot_be_reached_is_asked_again,
        a_refusal_fails_the_task,   cancelled_while_it_waits_for_an_answer,
        others_run_while_one_waits, NULL,
    };
    return sy_test_run("worker_children", tests);
}
