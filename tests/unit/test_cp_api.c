/* links: cp */
#include "tests/unit/cp_world.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/cluster/payload.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"
#include "tests/unit/cp_requests.h"

/* ---- runs ---- */

START_TEST(a_run_from_creation_to_data)
{
    struct world w;
    world_init_for(&w, _i);
    struct create_request c;
    create_init(&w, &c, NULL, "switchyard.process");
    Flyteidl2__Workflow__CreateRunResponse *created = call_ok(
        &w, RUN "CreateRun", &c.request.base,
        &flyteidl2__workflow__create_run_response__descriptor);
    const Flyteidl2__Workflow__Action *root = created->run->action;
    ck_assert_str_eq(root->id->name, "a0");
    ck_assert_str_eq(root->id->run->org, "acme");
    ck_assert_str_eq(root->id->run->project, "p");
    ck_assert_str_eq(root->id->run->domain, "d");
    ck_assert_uint_le(strlen(root->id->run->name), 30);
    ck_assert_int_eq(root->status->phase, 1);
    ck_assert_str_eq(root->metadata->task->id->name, "demo.task");

    struct run_ids ids;
    ids_init(&ids, root->id->run->name, "a0");
    finish_task(&w, "a0", OUTCOME(SUCCEEDED));
    Flyteidl2__Workflow__GetRunDetailsRequest get =
        FLYTEIDL2__WORKFLOW__GET_RUN_DETAILS_REQUEST__INIT;
    get.run_id = &ids.run;
    Flyteidl2__Workflow__GetRunDetailsResponse *details;
    world_until(&w, (details = call_ok(&w, RUN "GetRunDetails", &get.base,
                                       &flyteidl2__workflow__get_run_details_response__descriptor))
                            ->details->action->status->phase == 5);
    ck_assert_uint_eq(details->details->action->n_attempts, 1);
    ck_assert_str_eq(details->details->action->attempts[0]->cluster, "c1");
    ck_assert_uint_eq(details->details->action->task.len, c.spec.len);
    ck_assert_int_eq(memcmp(details->details->action->task.data, c.spec.data, c.spec.len), 0);
    ck_assert_str_eq(details->details->run_spec->queue, "default");

    Flyteidl2__Workflow__GetActionDataRequest data =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DATA_REQUEST__INIT;
    data.action_id = &ids.action;
    Flyteidl2__Workflow__GetActionDataResponse *got = call_ok(
        &w, RUN "GetActionData", &data.base,
        &flyteidl2__workflow__get_action_data_response__descriptor);
    ck_assert_int_eq(memcmp(got->outputs.data, "done", 4), 0);
    world_deinit(&w);
}
END_TEST

static const char *create_with_id(struct world *w, const char *name, const char *request_id,
                                  enum sy_code expect)
{
    struct create_request c;
    create_init(w, &c, name, "switchyard.process");
    struct call call = {.method = RUN "CreateRun",
                        .request = &c.request.base,
                        .metadata = {{"x-request-id", request_id}}};
    Flyteidl2__Workflow__CreateRunResponse *response = NULL;
    struct sy_error_text text;
    enum sy_code code = call_full(w, &call, &flyteidl2__workflow__create_run_response__descriptor,
                                  (void **)&response, &text);
    ck_assert_msg(code == expect, "%s: %s", sy_code_name(code), text.text);
    return response != NULL ? response->run->action->id->run->name : NULL;
}

START_TEST(a_repeated_request_meets_the_same_run)
{
    struct world w;
    world_init_for(&w, _i);
    const char *first = create_with_id(&w, NULL, "req-1", SY_CODE_OK);
    ck_assert_str_eq(create_with_id(&w, NULL, "req-1", SY_CODE_OK), first);
    ck_assert_str_ne(create_with_id(&w, NULL, "req-2", SY_CODE_OK), first);
    create_with_id(&w, "mine", "req-3", SY_CODE_OK);
    create_with_id(&w, "mine", "req-3", SY_CODE_OK);
    create_with_id(&w, "mine", "req-4", SY_CODE_ALREADY_EXISTS);
    ck_assert_uint_eq(runs_live(&w), 3);
    world_deinit(&w);
}
END_TEST

START_TEST(create_run_refuses_bad_input)
{
    struct world w;
    world_init_for(&w, _i);
    struct create_request c;
    create_init(&w, &c, NULL, "switchyard.process");
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_OK, "");
    c.project.name = text_of("bad\nname");
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "project_id.name");
    create_init(&w, &c, "a/b", "switchyard.process");
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "run_id.name");
    create_init(&w, &c, NULL, "switchyard.process");
    c.request.id_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID__NOT_SET;
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "id: missing");
    create_init(&w, &c, NULL, "switchyard.process");
    c.request.task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK__NOT_SET;
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT,
               "task_spec: missing");
    Flyteidl2__Task__TaskIdentifier id = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
    c.request.task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_ID;
    c.request.task_id = &id;
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "task_id.project");
    create_init(&w, &c, NULL, "switchyard.process");
    Flyteidl2__Common__OffloadedInputData data = FLYTEIDL2__COMMON__OFFLOADED_INPUT_DATA__INIT;
    c.request.input_wrapper_case =
        FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER_OFFLOADED_INPUT_DATA;
    c.request.offloaded_input_data = &data;
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "uri: missing");
    create_init(&w, &c, NULL, "switchyard.process");
    c.project.name = text_of("project#");
    struct sy_buf packed = {0};
    pb_pack(&c.request.base, &packed);
    *(uint8_t *)memchr(packed.data, '#', packed.len) = '\0'; /* for C it would be "project" */
    struct call nul = {.method = RUN "CreateRun", .bytes = sy_buf_span(&packed)};
    struct sy_error_text text;
    ck_assert_int_eq(call_full(&w, &nul, NULL, NULL, &text), SY_CODE_INVALID_ARGUMENT);
    ck_assert_str_eq(text.text, "name: a NUL byte is not allowed in a string");
    sy_buf_deinit(&packed);
    create_init(&w, &c, NULL, "switchyard.process");
    uint8_t *large = sy_calloc(1, 65537);
    c.request.input_wrapper_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER_INPUTS;
    c.request.inputs = (ProtobufCBinaryData){65537, large};
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT,
               "65537 bytes, at most");
    c.request.inputs.len = 65536;
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_OK, "");
    free(large);
    world_deinit(&w);
}
END_TEST

START_TEST(specs_are_checked_at_submit)
{
    struct world w;
    world_init_for(&w, _i);
    struct create_request c;
    create_init(&w, &c, NULL, "switchyard.process");
    c.request.task_spec = bytes_of(task_spec(&w, "switchyard.process", "1000"));
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT,
               "1000.000 cores asked");
    c.request.task_spec = bytes_of(task_spec(&w, "switchyard.process", "2x"));
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "2x");
    static uint8_t nonsense[] = {0xff, 0xff, 0xff};
    c.request.task_spec = (ProtobufCBinaryData){sizeof(nonsense), nonsense};
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "TaskSpec");
    ck_assert_uint_eq(runs_live(&w), 0);
    world_deinit(&w);
}
END_TEST

START_TEST(what_does_not_exist_is_named)
{
    struct world w;
    world_init_for(&w, _i);
    char *run = create_run(&w, "real", "switchyard.group");
    ck_assert_str_eq(run, "real");
    struct run_ids no_run, no_action;
    ids_init(&no_run, "ghost", "a0");
    ids_init(&no_action, "real", "phantom");
    Flyteidl2__Workflow__GetRunDetailsRequest details =
        FLYTEIDL2__WORKFLOW__GET_RUN_DETAILS_REQUEST__INIT;
    details.run_id = &no_run.run;
    call_fails(&w, RUN "GetRunDetails", &details.base, SY_CODE_NOT_FOUND, "p/d/ghost");
    Flyteidl2__Workflow__AbortRunRequest abort_run = FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST__INIT;
    abort_run.run_id = &no_run.run;
    call_fails(&w, RUN "AbortRun", &abort_run.base, SY_CODE_NOT_FOUND, "ghost");
    Flyteidl2__Workflow__ListActionsRequest list = FLYTEIDL2__WORKFLOW__LIST_ACTIONS_REQUEST__INIT;
    list.run_id = &no_run.run;
    call_fails(&w, RUN "ListActions", &list.base, SY_CODE_NOT_FOUND, "ghost");
    struct run_ids *const both[] = {&no_run, &no_action};
    for (int i = 0; i < 2; i++) {
        const char *says = i == 0 ? "ghost" : "phantom";
        Flyteidl2__Workflow__GetActionDetailsRequest get =
            FLYTEIDL2__WORKFLOW__GET_ACTION_DETAILS_REQUEST__INIT;
        get.action_id = &both[i]->action;
        call_fails(&w, RUN "GetActionDetails", &get.base, SY_CODE_NOT_FOUND, says);
        Flyteidl2__Workflow__AbortActionRequest abort_action =
            FLYTEIDL2__WORKFLOW__ABORT_ACTION_REQUEST__INIT;
        abort_action.action_id = &both[i]->action;
        call_fails(&w, RUN "AbortAction", &abort_action.base, SY_CODE_NOT_FOUND, says);
        Switchyard__V1__WaitChildrenRequest wait = SWITCHYARD__V1__WAIT_CHILDREN_REQUEST__INIT;
        wait.run = &both[i]->native;
        wait.parent = both[i]->action.name;
        call_fails(&w, NATIVE "WaitChildren", &wait.base, SY_CODE_NOT_FOUND, says);
        Flyteidl2__Cluster__SelectClusterRequest select =
            FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__INIT;
        select.resource_case = FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_ACTION_ID;
        select.action_id = &both[i]->action;
        call_fails(&w, CLUSTER "SelectCluster", &select.base, SY_CODE_NOT_FOUND, says);
    }
    world_deinit(&w);
}
END_TEST

START_TEST(aborting)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.process");
    struct fake_stream *s;
    struct fake_attempt *a = assigned(&w, "a0", &s);
    fake_start(s, a);
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Flyteidl2__Workflow__AbortRunRequest request = FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST__INIT;
    request.run_id = &ids.run;
    request._reason_case = FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST___REASON_REASON;
    request.reason = text_of("too\nlong");
    call_fails(&w, RUN "AbortRun", &request.base, SY_CODE_INVALID_ARGUMENT, "reason");
    request.reason = text_of("changed my mind");
    call_ok(&w, RUN "AbortRun", &request.base, NULL);
    Flyteidl2__Workflow__GetActionDetailsRequest get =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DETAILS_REQUEST__INIT;
    get.action_id = &ids.action;
    Flyteidl2__Workflow__GetActionDetailsResponse *got = call_ok(
        &w, RUN "GetActionDetails", &get.base,
        &flyteidl2__workflow__get_action_details_response__descriptor);
    ck_assert_int_eq(got->details->status->phase, 7);
    ck_assert_ptr_nonnull(strstr(got->details->abort_info->reason, "changed my mind"));
    world_until(&w, s->cancels == 1);
    call_fails(&w, RUN "AbortRun", &request.base, SY_CODE_FAILED_PRECONDITION, "ended");
    world_deinit(&w);
}
END_TEST

/* ---- ActionsService ---- */

START_TEST(flyte_children)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct enqueue_request e;
    enqueue_init(&w, &e, "r", "a0", "child");
    call_ok(&w, ACTIONS "Enqueue", &e.request.base, NULL);
    call_ok(&w, ACTIONS "Enqueue", &e.request.base, NULL); /* alive: OK again */
    finish_task(&w, "child", OUTCOME(SUCCEEDED));
    world_for(&w, 10 * SY_NS_PER_MS);
    call_ok(&w, ACTIONS "Enqueue", &e.request.base, NULL); /* ended: OK again */
    enqueue_init(&w, &e, "r", "a0", "other");
    call_ok(&w, ACTIONS "Enqueue", &e.request.base, NULL);
    /* The SDK takes ALREADY_EXISTS for success, so another parent must not give that. */
    enqueue_init(&w, &e, "r", "other", "child");
    call_fails(&w, ACTIONS "Enqueue", &e.request.base, SY_CODE_INVALID_ARGUMENT, "child");
    enqueue_init(&w, &e, "r", "nobody", "x");
    call_fails(&w, ACTIONS "Enqueue", &e.request.base, SY_CODE_NOT_FOUND, "nobody");
    enqueue_init(&w, &e, "nothing", "a0", "x");
    call_fails(&w, ACTIONS "Enqueue", &e.request.base, SY_CODE_NOT_FOUND, "nothing");
    enqueue_init(&w, &e, "r", "child", "grandchild"); /* its parent has ended */
    call_fails(&w, ACTIONS "Enqueue", &e.request.base, SY_CODE_ABORTED, "ended");
    enqueue_init(&w, &e, "r", "a0", "x");
    e.action._parent_action_name_case = FLYTEIDL2__ACTIONS__ACTION___PARENT_ACTION_NAME__NOT_SET;
    call_fails(&w, ACTIONS "Enqueue", &e.request.base, SY_CODE_INVALID_ARGUMENT, "CreateRun");
    enqueue_init(&w, &e, "r", "a0", "x");
    e.task.spec.len = 0;
    call_fails(&w, ACTIONS "Enqueue", &e.request.base, SY_CODE_INVALID_ARGUMENT, "task.spec");
    e.action.spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC__NOT_SET;
    call_fails(&w, ACTIONS "Enqueue", &e.request.base, SY_CODE_INVALID_ARGUMENT, "condition");
    e.request.action = NULL;
    call_fails(&w, ACTIONS "Enqueue", &e.request.base, SY_CODE_INVALID_ARGUMENT, "action: missing");
    world_deinit(&w);
}
END_TEST

START_TEST(traces_are_recorded)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct enqueue_request e;
    struct run_ids ids;
    enqueue_init(&w, &e, "r", "a0", "t1");
    Flyteidl2__Workflow__TraceAction trace = FLYTEIDL2__WORKFLOW__TRACE_ACTION__INIT;
    Flyteidl2__Task__OutputReferences outputs = FLYTEIDL2__TASK__OUTPUT_REFERENCES__INIT;
    Google__Protobuf__Timestamp start = GOOGLE__PROTOBUF__TIMESTAMP__INIT, end = start;
    start.seconds = 1700000000;
    end.seconds = 1700000003;
    outputs.output_uri = text_of("/data/t1/outputs.pb");
    trace.name = text_of("fetch");
    trace.start_time = &start;
    trace.end_time = &end;
    trace.outputs = &outputs;
    trace.phase = 4;
    e.action.spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_TRACE;
    e.action.trace = &trace;
    call_fails(&w, ACTIONS "Enqueue", &e.request.base, SY_CODE_INVALID_ARGUMENT, "trace.phase");
    trace.phase = 5;
    call_ok(&w, ACTIONS "Enqueue", &e.request.base, NULL);
    call_ok(&w, ACTIONS "Enqueue", &e.request.base, NULL);
    ids_init(&ids, "r", "t1");
    Flyteidl2__Workflow__GetActionDetailsRequest get =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DETAILS_REQUEST__INIT;
    get.action_id = &ids.action;
    Flyteidl2__Workflow__GetActionDetailsResponse *got = call_ok(
        &w, RUN "GetActionDetails", &get.base,
        &flyteidl2__workflow__get_action_details_response__descriptor);
    ck_assert_int_eq(got->details->status->phase, 5);
    ck_assert_uint_eq(got->details->status->duration_ms, 3000);
    ck_assert_int_eq(got->details->metadata->action_type,
                     FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_TRACE);
    ck_assert_str_eq(got->details->metadata->trace->name, "fetch");
    world_deinit(&w);
}
END_TEST

START_TEST(flyte_abort_and_update)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Flyteidl2__Actions__UpdateRequest update = FLYTEIDL2__ACTIONS__UPDATE_REQUEST__INIT;
    Flyteidl2__Workflow__ActionStatus status = FLYTEIDL2__WORKFLOW__ACTION_STATUS__INIT;
    update.action_id = &ids.action;
    update.status = &status;
    status.phase = 5;
    call_fails(&w, ACTIONS "Update", &update.base, SY_CODE_FAILED_PRECONDITION, "cluster");
    Flyteidl2__Actions__AbortRequest request = FLYTEIDL2__ACTIONS__ABORT_REQUEST__INIT;
    request.action_id = &ids.action;
    call_ok(&w, ACTIONS "Abort", &request.base, NULL);
    call_fails(&w, ACTIONS "Abort", &request.base, SY_CODE_FAILED_PRECONDITION, "ended");
    status.phase = 7;
    call_ok(&w, ACTIONS "Update", &update.base, NULL); /* says what is known */
    Flyteidl2__Actions__SignalRequest signal = FLYTEIDL2__ACTIONS__SIGNAL_REQUEST__INIT;
    call_fails(&w, ACTIONS "Signal", &signal.base, SY_CODE_INVALID_ARGUMENT, "action_id");
    call_fails(&w, RUN "NoSuchMethod", &signal.base, SY_CODE_UNIMPLEMENTED, "");
    world_deinit(&w);
}
END_TEST

/* ---- switchyard.v1 ---- */

START_TEST(batches_of_children)
{
    struct world w;
    world_init_for(&w, _i);
    w.automatic = true;
    create_run(&w, "r", "switchyard.group");
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 1000);
    Switchyard__V1__EnqueueActionsResponse *r = enqueue_batch(&w, &b);
    ck_assert_uint_eq(r->created, 1000);
    ck_assert_uint_eq(r->n_existing, 0);
    batch_init(&w, &b, "r", "a0", 990, 20); /* ten of them exist */
    b.request.seal = true;
    r = enqueue_batch(&w, &b);
    ck_assert_uint_eq(r->created, 10);
    ck_assert_uint_eq(r->n_existing, 10);
    ck_assert_uint_eq(r->existing[9]->index, 9);

    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Switchyard__V1__WaitChildrenRequest wait = SWITCHYARD__V1__WAIT_CHILDREN_REQUEST__INIT;
    wait.run = &ids.native;
    wait.parent = ids.action.name;
    wait.max = 300;
    unsigned seen = 0;
    for (;;) {
        Switchyard__V1__WaitChildrenResponse *page = call_ok(
            &w, NATIVE "WaitChildren", &wait.base,
            &switchyard__v1__wait_children_response__descriptor);
        if (page->n_children == 0)
            break;
        ck_assert_uint_le(page->n_children, 300);
        for (size_t i = 0; i < page->n_children; i++) {
            const Switchyard__V1__ChildOutcome *child = page->children[i];
            ck_assert_int_eq(child->phase, SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED);
            ck_assert_uint_eq(child->output.len, strlen(child->name));
        }
        seen += (unsigned)page->n_children;
        wait.after = page->next;
    }
    ck_assert_uint_eq(seen, 1010);
    world_deinit(&w);
}
END_TEST

START_TEST(large_outputs_are_paged)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 8);
    b.request.seal = true;
    enqueue_batch(&w, &b);
    char *large = sy_malloc(60001);
    memset(large, 'x', 60000);
    large[60000] = '\0';
    for (size_t i = 0; i < 8; i++) {
        struct fake_stream *s;
        struct fake_attempt *a = assigned(&w, b.names[i], &s);
        fake_finish(s, a, OUTCOME(SUCCEEDED), large);
    }
    free(large);
    world_for(&w, 100 * SY_NS_PER_MS);
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Switchyard__V1__WaitChildrenRequest wait = SWITCHYARD__V1__WAIT_CHILDREN_REQUEST__INIT;
    wait.run = &ids.native;
    wait.parent = ids.action.name;
    size_t seen = 0, pages = 0;
    while (seen < 8) {
        Switchyard__V1__WaitChildrenResponse *page = call_ok(
            &w, NATIVE "WaitChildren", &wait.base,
            &switchyard__v1__wait_children_response__descriptor);
        ck_assert_uint_gt(page->n_children, 0);
        ck_assert_uint_lt(page->n_children, 8); /* bounded by bytes, and the cursor follows */
        for (size_t i = 0; i < page->n_children; i++)
            ck_assert_uint_eq(page->children[i]->output.len, 60000);
        seen += page->n_children;
        wait.after = page->next;
        pages++;
    }
    ck_assert_uint_eq(seen, 8);
    ck_assert_uint_ge(pages, 2);
    world_deinit(&w);
}
END_TEST

START_TEST(waiting_ends_in_time)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 1);
    enqueue_batch(&w, &b);
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Switchyard__V1__WaitChildrenRequest wait = SWITCHYARD__V1__WAIT_CHILDREN_REQUEST__INIT;
    wait.run = &ids.native;
    wait.parent = ids.action.name;
    int64_t before_ns = w.now_ns;
    Switchyard__V1__WaitChildrenResponse *page = call_ok(
        &w, NATIVE "WaitChildren", &wait.base, &switchyard__v1__wait_children_response__descriptor);
    ck_assert_uint_eq(page->n_children, 0);
    ck_assert_uint_eq(page->running, 1);
    ck_assert_int_ge(w.now_ns - before_ns, 29 * SY_NS_PER_S);
    ck_assert_int_le(w.now_ns - before_ns, 31 * SY_NS_PER_S);
    /* Before the caller's deadline, if that is sooner. */
    struct call call = {
        .method = NATIVE "WaitChildren", .request = &wait.base, .timeout_ns = 2 * SY_NS_PER_S};
    void *response;
    ck_assert_int_eq(
        call_full(&w, &call, &switchyard__v1__wait_children_response__descriptor, &response, NULL),
        SY_CODE_OK);
    /* And as soon as a child ends. */
    struct reply reply;
    call.timeout_ns = 0;
    call_start(&w, &call, &reply);
    world_for(&w, SY_NS_PER_S);
    ck_assert(!reply.done);
    before_ns = w.now_ns;
    finish_task(&w, b.names[0], OUTCOME(FAILED));
    world_until(&w, reply.done);
    ck_assert_int_lt(w.now_ns - before_ns, SY_NS_PER_S);
    sy_buf_deinit(&reply.bytes);
    world_deinit(&w);
}
END_TEST

START_TEST(batches_that_are_refused)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 3);
    b.actions[1].name = text_of("bad name");
    call_fails(&w, NATIVE "EnqueueActions", &b.request.base, SY_CODE_INVALID_ARGUMENT,
               "actions[1].name");
    batch_init(&w, &b, "r", "a0", 0, 0);
    call_fails(&w, NATIVE "EnqueueActions", &b.request.base, SY_CODE_INVALID_ARGUMENT, "empty");
    batch_init(&w, &b, "r", "a0", 0, 3);
    b.request.task_spec.len = 0;
    call_fails(&w, NATIVE "EnqueueActions", &b.request.base, SY_CODE_INVALID_ARGUMENT, "task_spec");
    batch_init(&w, &b, "r", "", 0, 3);
    call_fails(&w, NATIVE "EnqueueActions", &b.request.base, SY_CODE_INVALID_ARGUMENT, "parent");
    batch_init(&w, &b, "r", "a0", 0, 3);
    b.request.run = NULL;
    call_fails(&w, NATIVE "EnqueueActions", &b.request.base, SY_CODE_INVALID_ARGUMENT,
               "run: missing");
    Switchyard__V1__NewAction **many = sy_calloc(10001, sizeof(void *));
    batch_init(&w, &b, "r", "a0", 0, 1);
    for (size_t i = 0; i < 10001; i++)
        many[i] = &b.actions[0];
    b.request.actions = many;
    b.request.n_actions = 10001;
    call_fails(&w, NATIVE "EnqueueActions", &b.request.base, SY_CODE_INVALID_ARGUMENT, "10001");
    free(many);
    world_deinit(&w);
}
END_TEST

/* ---- clusters and region ---- */

START_TEST(selecting_a_cluster)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.process");
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Flyteidl2__Cluster__SelectClusterRequest request =
        FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__INIT;
    Flyteidl2__Cluster__SelectClusterResponse *r;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    Flyteidl2__Common__ClusterIdentifier cluster = FLYTEIDL2__COMMON__CLUSTER_IDENTIFIER__INIT;
    const ProtobufCMessageDescriptor *d = &flyteidl2__cluster__select_cluster_response__descriptor;
    request.resource_case = FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_PROJECT_ID;
    request.project_id = &project;
    r = call_ok(&w, CLUSTER "SelectCluster", &request.base, d);
    ck_assert_str_eq(r->cluster_endpoint, "cluster-1:9000");
    request.resource_case = FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_ACTION_ID;
    request.action_id = &ids.action;
    finish_task(&w, "a0", OUTCOME(SUCCEEDED));
    r = call_ok(&w, CLUSTER "SelectCluster", &request.base, d);
    ck_assert_str_eq(r->cluster, "c1");
    ck_assert_str_eq(r->cluster_endpoint, "cluster-1:9000");
    request.resource_case = FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_CLUSTER_ID;
    request.cluster_id = &cluster;
    cluster.name = text_of("nowhere");
    call_fails(&w, CLUSTER "SelectCluster", &request.base, SY_CODE_NOT_FOUND, "nowhere");
    cluster.name = text_of("c\x01");
    call_fails(&w, CLUSTER "SelectCluster", &request.base, SY_CODE_INVALID_ARGUMENT, "cluster_id");
    request.operation =
        FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__OPERATION__OPERATION_UPLOAD_TRIGGER;
    cluster.name = text_of("c1");
    r = call_ok(&w, CLUSTER "SelectCluster", &request.base, d);
    ck_assert_str_eq(r->cluster_endpoint, "cluster-1:9000");
    world_deinit(&w);
}
END_TEST

START_TEST(the_region)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.process");
    Switchyard__V1__GetRegionStatusRequest request =
        SWITCHYARD__V1__GET_REGION_STATUS_REQUEST__INIT;
    Switchyard__V1__GetRegionStatusResponse *status = call_ok(
        &w, REGION "GetRegionStatus", &request.base,
        &switchyard__v1__get_region_status_response__descriptor);
    ck_assert_str_eq(status->region, "test");
    ck_assert_uint_eq(status->n_partitions, w.partitions);
    uint64_t live = 0;
    for (size_t i = 0; i < status->n_partitions; i++) {
        ck_assert_uint_eq(status->partitions[i]->id, i);
        ck_assert_str_eq(status->partitions[i]->state, "serving");
        ck_assert_str_eq(status->partitions[i]->shard, "shard-1");
        ck_assert_uint_eq(status->partitions[i]->epoch, 1);
        live += status->partitions[i]->runs_live;
    }
    ck_assert_uint_eq(live, 1);
    ck_assert_uint_eq(status->n_clusters, 1); /* not one for each partition */
    ck_assert_str_eq(status->clusters[0]->name, "c1");
    ck_assert_str_eq(status->clusters[0]->state, "ready");
    ck_assert_uint_eq(status->clusters[0]->nodes, 1);
    ck_assert_uint_eq(status->clusters[0]->running, 2);
    ck_assert_uint_eq(status->clusters[0]->capacity->cpu_milli, 64000);
    Switchyard__V1__ListClustersRequest clusters = SWITCHYARD__V1__LIST_CLUSTERS_REQUEST__INIT;
    Switchyard__V1__ListClustersResponse *listed = call_ok(
        &w, REGION "ListClusters", &clusters.base,
        &switchyard__v1__list_clusters_response__descriptor);
    ck_assert_uint_eq(listed->n_clusters, 1);
    Switchyard__V1__ListNodesRequest nodes = SWITCHYARD__V1__LIST_NODES_REQUEST__INIT;
    Switchyard__V1__ListNodesResponse *found = call_ok(
        &w, REGION "ListNodes", &nodes.base, &switchyard__v1__list_nodes_response__descriptor);
    ck_assert_uint_eq(found->n_nodes, 1);
    ck_assert_str_eq(found->nodes[0]->name, "n1");
    ck_assert_str_eq(found->nodes[0]->cluster, "c1");
    ck_assert_str_eq(found->nodes[0]->state, "ready");
    for (uint32_t i = 0; i < w.partitions; i++)
        sy_call_finish(w.streams[i].call, NULL);
    world_for(&w, SY_NS_PER_S);
    found = call_ok(&w, REGION "ListNodes", &nodes.base,
                    &switchyard__v1__list_nodes_response__descriptor);
    ck_assert_str_eq(found->nodes[0]->state, "unreachable");
    ck_assert_ptr_nonnull(strstr(found->nodes[0]->reason, "no word of its cluster since 20"));
    /* Of nodes that an earlier stream told of a new one says nothing until it tells of them. */
    for (uint32_t i = 0; i < w.partitions; i++) {
        sy_call_unref(w.streams[i].call);
        free(w.streams[i].attempts);
        w.streams[i] = (struct fake_stream){0};
    }
    w.no_nodes = true;
    operator_connect(&w);
    world_for(&w, SY_NS_PER_S);
    listed = call_ok(&w, REGION "ListClusters", &clusters.base,
                     &switchyard__v1__list_clusters_response__descriptor);
    ck_assert_str_eq(listed->clusters[0]->state, "ready");
    found = call_ok(&w, REGION "ListNodes", &nodes.base,
                    &switchyard__v1__list_nodes_response__descriptor);
    ck_assert_str_eq(found->nodes[0]->state, "unreachable");
    w.no_nodes = false;
    for (uint32_t i = 0; i < w.partitions; i++)
        stream_hello(&w.streams[i]);
    world_for(&w, SY_NS_PER_S);
    found = call_ok(&w, REGION "ListNodes", &nodes.base,
                    &switchyard__v1__list_nodes_response__descriptor);
    ck_assert_str_eq(found->nodes[0]->state, "ready");
    nodes.cluster = text_of("nowhere");
    call_fails(&w, REGION "ListNodes", &nodes.base, SY_CODE_NOT_FOUND, "nowhere");
    world_deinit(&w);
}
END_TEST

/* Without an etcd: all of it is here, and there is nothing to move. */
START_TEST(the_map_of_one_shard)
{
    struct world w;
    world_init_for(&w, _i);
    Switchyard__V1__GetRegionMapRequest request = SWITCHYARD__V1__GET_REGION_MAP_REQUEST__INIT;
    Switchyard__V1__GetRegionMapResponse *map = call_ok(
        &w, REGION "GetRegionMap", &request.base,
        &switchyard__v1__get_region_map_response__descriptor);
    ck_assert_str_eq(map->region, "test");
    ck_assert_str_eq(map->shard, "shard-1");
    ck_assert(map->n_shards == 1 && map->n_partitions == w.partitions && map->revision == 0);
    ck_assert_str_eq(map->shards[0]->name, "shard-1");
    ck_assert_str_eq(map->shards[0]->endpoint, "");
    ck_assert_uint_eq(map->shards[0]->partitions, w.partitions);
    for (uint32_t i = 0; i < w.partitions; i++) {
        ck_assert_uint_eq(map->partitions[i]->partition, i);
        ck_assert_str_eq(map->partitions[i]->shard, "shard-1");
    }
    Switchyard__V1__MovePartitionRequest move = SWITCHYARD__V1__MOVE_PARTITION_REQUEST__INIT;
    Switchyard__V1__OrderShardRequest order = SWITCHYARD__V1__ORDER_SHARD_REQUEST__INIT;
    Switchyard__V1__RebalanceRegionRequest even = SWITCHYARD__V1__REBALANCE_REGION_REQUEST__INIT;
    move.shard = order.shard = text_of("shard-1");
    call_fails(&w, REGION "MovePartition", &move.base, SY_CODE_FAILED_PRECONDITION, "one shard");
    call_fails(&w, REGION "RebalanceRegion", &even.base, SY_CODE_FAILED_PRECONDITION, "one shard");
    call_fails(&w, REGION "DrainShard", &order.base, SY_CODE_FAILED_PRECONDITION, "one shard");
    call_fails(&w, REGION "UndrainShard", &order.base, SY_CODE_FAILED_PRECONDITION, "one shard");
    world_deinit(&w);
}
END_TEST

#define ORDERED &switchyard__v1__order_node_response__descriptor

START_TEST(orders_for_nodes)
{
    struct world w;
    world_init_for(&w, _i);
    Switchyard__V1__OrderNodeRequest order = SWITCHYARD__V1__ORDER_NODE_REQUEST__INIT;
    order.node = text_of("n1"); /* only one cluster has such a node */
    order.deadline_ns = 7;
    (void)call_ok(&w, REGION "DrainNode", &order.base, ORDERED);
    ck_assert_int_eq(w.order_verb, SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_DRAIN);
    ck_assert_int_eq(w.order_deadline_ns, 7);
    ck_assert_str_eq(w.order_node, "n1");
    (void)call_ok(&w, REGION "CordonNode", &order.base, ORDERED);
    ck_assert_int_eq(w.order_verb, SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_CORDON);
    order.cluster = text_of("c1");
    order.node = text_of("away"); /* its operator may know it */
    (void)call_ok(&w, REGION "UncordonNode", &order.base, ORDERED);
    ck_assert_int_eq(w.order_verb, SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_UNCORDON);
    ck_assert_str_eq(w.order_node, "away");
    w.order_code = SY_CODE_NOT_FOUND;
    call_fails(&w, REGION "DrainNode", &order.base, SY_CODE_NOT_FOUND, "says the operator");
    ck_assert_uint_eq(w.orders, 4);
    w.order_code = SY_CODE_OK;
    (void)call_ok(&w, REGION "FenceNode", &order.base, ORDERED);
    ck_assert_int_eq(w.order_verb, SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_FENCE);
    (void)call_ok(&w, REGION "UnfenceNode", &order.base, ORDERED);
    ck_assert_int_eq(w.order_verb, SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_UNFENCE);
    ck_assert_uint_eq(w.orders, 6);
    order.cluster = text_of("nowhere");
    call_fails(&w, REGION "DrainNode", &order.base, SY_CODE_NOT_FOUND, "nowhere");
    order.cluster = text_of("");
    call_fails(&w, REGION "DrainNode", &order.base, SY_CODE_NOT_FOUND, "no cluster has a node");
    order.node = text_of("");
    call_fails(&w, REGION "DrainNode", &order.base, SY_CODE_INVALID_ARGUMENT, "node ''");
    order.node = text_of("n1");
    order.deadline_ns = -1;
    call_fails(&w, REGION "DrainNode", &order.base, SY_CODE_INVALID_ARGUMENT, "deadline_ns -1");
    ck_assert_uint_eq(w.orders, 6);
    world_deinit(&w);
}
END_TEST

START_TEST(operators_ask_and_choose_partitions)
{
    struct world w;
    world_init_stopped(&w, 3);
    w.one_loop = true;
    world_connect(&w);
    Switchyard__Internal__DescribeRequest request = SWITCHYARD__INTERNAL__DESCRIBE_REQUEST__INIT;
    Switchyard__Internal__DescribeResponse *r = call_ok(
        &w, "/switchyard.internal.ControlPlane/Describe", &request.base,
        &switchyard__internal__describe_response__descriptor);
    ck_assert_str_eq(r->shard, "shard-1");
    ck_assert_uint_eq(r->n_partitions, 3);
    ck_assert_uint_eq(r->partitions[2], 2);
    static const struct {
        const char *partition;
        enum sy_code code;
    } bad[] = {{NULL, SY_CODE_INVALID_ARGUMENT},
               {"", SY_CODE_INVALID_ARGUMENT},
               {"1x", SY_CODE_INVALID_ARGUMENT},
               {"3", SY_CODE_NOT_FOUND}};
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        struct stream *s = sy_new(struct stream);
        struct sy_metadata metadata = {"x-switchyard-partition", bad[i].partition};
        struct sy_call_options options = {.method = "/switchyard.internal.ControlPlane/Operate",
                                          .metadata = &metadata,
                                          .metadata_count = bad[i].partition != NULL};
        s->world = &w;
        s->call = sy_channel_open(w.channel, w.client_loop, &options, &stream_sink, s);
        world_until(&w, s->closed);
        ck_assert_int_eq(s->code, bad[i].code);
        stream_close(s);
        free(s);
    }
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {a_run_from_creation_to_data,
                                 a_repeated_request_meets_the_same_run,
                                 create_run_refuses_bad_input,
                                 specs_are_checked_at_submit,
                                 what_does_not_exist_is_named,
                                 aborting,
                                 flyte_children,
                                 traces_are_recorded,
                                 flyte_abort_and_update,
                                 batches_of_children,
                                 large_outputs_are_paged,
                                 waiting_ends_in_time,
                                 batches_that_are_refused,
                                 selecting_a_cluster,
                                 the_region,
                                 the_map_of_one_shard,
                                 orders_for_nodes,
                                 NULL};
    const TTest *const once[] = {operators_ask_and_choose_partitions, NULL};
    return world_tests("cp_api", each, once);
}
