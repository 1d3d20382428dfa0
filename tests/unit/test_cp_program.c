/* links: cp */
/* What an action of a Flyte program is told, and what its parent hears of it. */
#include "tests/unit/cp_world.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/workflow/queue_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"
#include "tests/unit/cp_program.h"
#include "tests/unit/cp_queue_requests.h"

#define QUEUE "/flyteidl2.workflow.QueueService/"
#define STATE "/flyteidl2.workflow.StateService/"

typedef Switchyard__Internal__FlyteContext context_msg;

/* ---- what a task is told ---- */

START_TEST(a_root_is_told_of_its_run)
{
    struct world w;
    world_init_for(&w, _i);
    struct create_request c;
    create_init(&w, &c, "r", "python");
    Flyteidl2__Core__KeyValuePair env = FLYTEIDL2__CORE__KEY_VALUE_PAIR__INIT, *env_list[] = {&env};
    Flyteidl2__Task__Envs envs = FLYTEIDL2__TASK__ENVS__INIT;
    Flyteidl2__Task__RawDataStorage raw = FLYTEIDL2__TASK__RAW_DATA_STORAGE__INIT;
    env.key = text_of("LOG_LEVEL");
    env.value = text_of("10");
    envs.n_values = 1;
    envs.values = env_list;
    raw.raw_data_prefix = text_of("/raw");
    c.run_spec.envs = &envs;
    c.run_spec.raw_data_storage = &raw;
    c.run_spec.run_base_dir = text_of("/base/");
    call_ok(&w, RUN "CreateRun", &c.request.base, NULL);

    struct fake_stream *s;
    struct fake_attempt *a = assigned(&w, "a0", &s);
    const context_msg *f = a->flyte;
    ck_assert_ptr_nonnull(f);
    ck_assert_str_eq(f->org, "acme");
    ck_assert_str_eq(f->run_output_base, "/base/p/d/r");
    ck_assert_str_eq(f->raw_data_prefix, "/raw");
    ck_assert_str_eq(f->queue, "default");
    ck_assert_str_eq(f->endpoint, "shard-0.example:8090");
    ck_assert_uint_eq(f->n_envs, 1);
    ck_assert_str_eq(f->envs[0]->key, "LOG_LEVEL");
    ck_assert_str_eq(f->envs[0]->value, "10");
    ck_assert_int_gt(f->run_start_ns, 1700000000 * SY_NS_PER_S);
    int64_t start_ns = f->run_start_ns;

    /* The next attempt is told the same. */
    fake_finish(s, a, OUTCOME(LOST), "");
    a = assigned(&w, "a0", &s);
    ck_assert_int_eq(a->flyte->run_start_ns, start_ns);
    ck_assert_uint_eq(a->flyte->n_envs, 1);
    world_deinit(&w);
}
END_TEST

START_TEST(a_child_is_told_of_its_place)
{
    struct world w;
    world_init_for(&w, _i);
    struct create_request c;
    create_init(&w, &c, "r", "python");
    call_ok(&w, RUN "CreateRun", &c.request.base, NULL);
    struct fake_stream *s;
    ck_assert_str_eq(assigned(&w, "a0", &s)->flyte->run_output_base, ""); /* the cluster's */
    struct enqueue_request e;
    enqueue_init(&w, &e, "r", "a0", "kid");
    e.task.spec = bytes_of(task_spec(&w, "python", "1"));
    queue_create(&w, "p", "d", "slow");
    e.task.queue = text_of("slow");
    call_ok(&w, ACTIONS "Enqueue", &e.request.base, NULL);
    const context_msg *f = assigned(&w, "kid", &s)->flyte;
    ck_assert_str_eq(f->run_output_base, "/data");
    ck_assert_str_eq(f->queue, "slow");
    ck_assert_str_eq(f->org, "acme");

    enqueue_init(&w, &e, "r", "a0", "native");
    call_ok(&w, ACTIONS "Enqueue", &e.request.base, NULL);
    ck_assert_ptr_null(assigned(&w, "native", &s)->flyte);
    world_deinit(&w);
}
END_TEST

/* ---- what a parent hears ---- */

START_TEST(a_parent_hears_typed_ends)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "python");
    const char *const names[] = {"good", "user", "system", "refused", "late"};
    for (size_t i = 0; i < SY_COUNT_OF(names); i++)
        enqueue_flyte(&w, names[i]);
    struct stream *s = sy_new(struct stream);
    struct run_ids ids;
    watch(&w, s, &ids);
#define KIND(kind) SWITCHYARD__INTERNAL__ERROR_KIND__ERROR_KIND_##kind
    end_child(&w, "good", OUTCOME(SUCCEEDED), "", KIND(UNKNOWN));
    end_child(&w, "user", OUTCOME(FAILED), "ValueError", KIND(USER));
    end_child(&w, "system", OUTCOME(FAILED), "StorageError", KIND(SYSTEM));
    end_child(&w, "late", OUTCOME(TIMED_OUT), "", KIND(UNKNOWN));
    for (int i = 0; i < 2; i++) {
        struct fake_stream *stream;
        struct fake_attempt *a = assigned(&w, "refused", &stream);
        Switchyard__Internal__Outcome outcome = SWITCHYARD__INTERNAL__OUTCOME__INIT;
        outcome.kind = OUTCOME(REFUSED);
        outcome.error_code = text_of("InvalidImageName");
        outcome.error_message = text_of("no environment for it");
        fake_end(stream, a, &outcome);
        if (i == 0)
            world_for(&w, SY_NS_PER_S);
        if (heard(s, "refused", 6))
            break;
    }
    world_until(&w, heard(s, "good", 5) && heard(s, "user", 6) && heard(s, "system", 6) &&
                        heard(s, "late", 8) && heard(s, "refused", 6));
    ck_assert_str_eq(last_update(s, "good")->output_uri, "/data/kid/1");
    ck_assert_ptr_null(last_update(s, "good")->error);
    const Flyteidl2__Core__ExecutionError *error = last_update(s, "user")->error;
    ck_assert_str_eq(error->code, "ValueError");
    ck_assert_str_eq(error->message, "it went wrong");
    ck_assert_int_eq(error->kind, FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__USER);
    error = last_update(s, "system")->error;
    ck_assert_int_eq(error->kind, FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__SYSTEM);
    ck_assert_str_eq(last_update(s, "late")->error->code, "MAX_RUNTIME_EXCEEDED");
    ck_assert_str_eq(last_update(s, "refused")->error->code, "InvalidImageName");
    stream_close(s);
    free(s);

    Flyteidl2__Workflow__GetActionDataURIsRequest uris =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DATA_URIS_REQUEST__INIT;
    ids_init(&ids, "r", "good");
    uris.action_id = &ids.action;
    Flyteidl2__Workflow__GetActionDataURIsResponse *got = call_ok(
        &w, RUN "GetActionDataURIs", &uris.base,
        &flyteidl2__workflow__get_action_data_uris_response__descriptor);
    ck_assert_str_eq(got->inputs_uri, "/data/inputs.pb");
    ck_assert_str_eq(got->outputs_uri, "/data/kid/1/outputs.pb");
    world_deinit(&w);
}
END_TEST

/* Its worker dies each time, also over a restart: the parent is told, with the nodes. */
START_TEST(a_parent_hears_of_poison)
{
    struct world w;
    world_init_stopped(&w, 1);
    w.options.partition.worker_deaths_max = 3;
    world_connect(&w);
    operator_connect(&w);
    create_run(&w, "r", "python");
    enqueue_flyte(&w, "kid");
    for (int i = 0; i < 3; i++) {
        struct fake_stream *stream;
        struct fake_attempt *a = assigned(&w, "kid", &stream);
        ck_assert_int_eq(a->suspect, i > 0);
        Switchyard__Internal__Outcome outcome = SWITCHYARD__INTERNAL__OUTCOME__INIT;
        outcome.kind = OUTCOME(LOST);
        outcome.death = SWITCHYARD__INTERNAL__DEATH__DEATH_ALONE;
        outcome.error_code = text_of("Interrupted");
        outcome.error_message = text_of("it was killed");
        outcome.error_kind = SWITCHYARD__INTERNAL__ERROR_KIND__ERROR_KIND_USER;
        fake_end(stream, a, &outcome);
        world_for(&w, 100 * SY_NS_PER_MS);
        if (i == 1)
            world_restart(&w);
    }
    struct stream *s = sy_new(struct stream);
    struct run_ids ids;
    watch(&w, s, &ids);
    world_until(&w, heard(s, "kid", 6));
    const Flyteidl2__Core__ExecutionError *error = last_update(s, "kid")->error;
    ck_assert_str_eq(error->code, "PoisonTask");
    ck_assert_ptr_nonnull(strstr(error->message, "3 times; attempts lost: 1 on n1, 2 on n1, 3 on "
                                                 "n1 (Interrupted: it was killed)"));
    ck_assert_int_eq(error->kind, FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__USER);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

/* ---- conditions ---- */

/* Kinds of flyteidl2.core.SimpleType. */
enum { INTEGER = 1, STRING = 3, BOOLEAN = 4 };

static void enqueue_condition(struct world *w, const char *name, uint8_t simple_type,
                              int64_t timeout_s)
{
    struct enqueue_request e;
    enqueue_init(w, &e, "r", "a0", name);
    Flyteidl2__Workflow__ConditionAction condition = FLYTEIDL2__WORKFLOW__CONDITION_ACTION__INIT;
    Google__Protobuf__Duration timeout = GOOGLE__PROTOBUF__DURATION__INIT;
    uint8_t type[] = {1 << 3, simple_type}; /* LiteralType.simple */
    condition.name = text_of("approval");
    condition.prompt = text_of("go on?");
    condition.type = (ProtobufCBinaryData){sizeof(type), type};
    timeout.seconds = timeout_s;
    condition.timeout = timeout_s > 0 ? &timeout : NULL;
    e.action.spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_CONDITION;
    e.action.condition = &condition;
    call_ok(w, ACTIONS "Enqueue", &e.request.base, NULL);
}

struct signal_request {
    Flyteidl2__Workflow__SignalEventRequest request;
    Flyteidl2__Workflow__EventPayload payload;
    struct run_ids ids;
};

static void signal_init(struct signal_request *s, const char *name)
{
    flyteidl2__workflow__signal_event_request__init(&s->request);
    flyteidl2__workflow__event_payload__init(&s->payload);
    ids_init(&s->ids, "r", name);
    s->request.action_id = &s->ids.action;
    s->request.payload = &s->payload;
    s->payload.value_case = FLYTEIDL2__WORKFLOW__EVENT_PAYLOAD__VALUE_BOOL_VALUE;
}

/* How many actions of the run are conditions, and how many runs have one that waits. */
static void count_conditions(struct world *w, size_t *ret_actions, size_t *ret_runs)
{
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Flyteidl2__Common__Filter filter = FLYTEIDL2__COMMON__FILTER__INIT, *filters[] = {&filter};
    Flyteidl2__Common__ListRequest list = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    Flyteidl2__Workflow__ListActionsRequest actions =
        FLYTEIDL2__WORKFLOW__LIST_ACTIONS_REQUEST__INIT;
    Flyteidl2__Workflow__ListRunsRequest runs = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__INIT;
    char *three[] = {text_of("3")};
    filter.function = FLYTEIDL2__COMMON__FILTER__FUNCTION__EQUAL;
    filter.field = text_of("action_type");
    filter.n_values = 1;
    filter.values = three;
    list.n_filters = 1;
    list.filters = filters;
    actions.run_id = &ids.run;
    actions.request = &list;
    *ret_actions = ((Flyteidl2__Workflow__ListActionsResponse *)call_ok(
                        w, RUN "ListActions", &actions.base,
                        &flyteidl2__workflow__list_actions_response__descriptor))
                       ->n_actions;
    runs.paused_actions_only = true;
    *ret_runs =
        ((Flyteidl2__Workflow__ListRunsResponse *)call_ok(
             w, RUN "ListRuns", &runs.base, &flyteidl2__workflow__list_runs_response__descriptor))
            ->n_runs;
}

START_TEST(a_signal_reaches_the_parent)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "python");
    struct fake_stream *operator;
    (void)assigned(&w, "a0", &operator);
    enqueue_condition(&w, "cond", BOOLEAN, 0);
    enqueue_condition(&w, "cond", BOOLEAN, 0); /* repeated */
    struct stream *s = sy_new(struct stream);
    struct run_ids ids;
    watch(&w, s, &ids);
    world_until(&w, heard(s, "cond", 9)); /* PAUSED */
    size_t actions, runs;
    count_conditions(&w, &actions, &runs);
    ck_assert_uint_eq(actions, 1);
    ck_assert_uint_eq(runs, 1);
    struct signal_request signal;
    signal_init(&signal, "cond");
    signal.payload.value_case = FLYTEIDL2__WORKFLOW__EVENT_PAYLOAD__VALUE_STRING_VALUE;
    signal.payload.string_value = text_of("yes");
    call_fails(&w, RUN "SignalEvent", &signal.request.base, SY_CODE_INVALID_ARGUMENT,
               "waits for a bool, got str");
    signal_init(&signal, "a0");
    call_fails(&w, RUN "SignalEvent", &signal.request.base, SY_CODE_FAILED_PRECONDITION,
               "not a condition");
    signal_init(&signal, "nobody");
    call_fails(&w, RUN "SignalEvent", &signal.request.base, SY_CODE_NOT_FOUND, "nobody");
    signal_init(&signal, "cond"); /* false: a value like any other */
    call_ok(&w, RUN "SignalEvent", &signal.request.base, NULL);
    world_until(&w, heard(s, "cond", 5));
    count_conditions(&w, &actions, &runs);
    ck_assert_uint_eq(actions, 1);
    ck_assert_uint_eq(runs, 0);
    static const uint8_t literal[] = {0x0a, 4, 0x0a, 2, 4 << 3, 0};
    const update_msg *update = last_update(s, "cond");
    ck_assert_uint_eq(update->value.len, sizeof(literal));
    ck_assert_int_eq(memcmp(update->value.data, literal, sizeof(literal)), 0);
    call_fails(&w, RUN "SignalEvent", &signal.request.base, SY_CODE_FAILED_PRECONDITION, "ended");
    stream_close(s);
    free(s);
    Flyteidl2__Workflow__GetActionDetailsRequest get =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DETAILS_REQUEST__INIT;
    ids_init(&ids, "r", "cond");
    get.action_id = &ids.action;
    Flyteidl2__Workflow__GetActionDetailsResponse *d = call_ok(
        &w, RUN "GetActionDetails", &get.base,
        &flyteidl2__workflow__get_action_details_response__descriptor);
    ck_assert_str_eq(d->details->metadata->condition->name, "approval");
    ck_assert_str_eq(d->details->condition->prompt, "go on?");
    ck_assert_uint_eq(d->details->signal_info->output.len, sizeof(literal));
    world_deinit(&w);
}
END_TEST

START_TEST(conditions_outlive_the_shard_and_time_out)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "python");
    struct fake_stream *operator;
    (void)assigned(&w, "a0", &operator);
    enqueue_condition(&w, "cond", INTEGER, 0);
    enqueue_condition(&w, "late", STRING, 30);
    world_restart(&w);
    (void)assigned(&w, "a0", &operator);
    struct stream *s = sy_new(struct stream);
    struct run_ids ids;
    watch(&w, s, &ids);
    world_until(&w, heard(s, "late", 8)); /* TIMED_OUT */
    ck_assert(heard(s, "cond", 9));
    Flyteidl2__Actions__SignalRequest signal = FLYTEIDL2__ACTIONS__SIGNAL_REQUEST__INIT;
    uint8_t seven[] = {0x0a, 4, 0x0a, 2, 1 << 3, 7},
            text[] = {0x0a, 5, 0x0a, 3, 3 << 3 | 2, 1, 'x'};
    ids_init(&ids, "r", "cond");
    signal.action_id = &ids.action;
    signal.value = (ProtobufCBinaryData){sizeof(text), text};
    call_fails(&w, ACTIONS "Signal", &signal.base, SY_CODE_INVALID_ARGUMENT, "waits for a int");
    signal.value = (ProtobufCBinaryData){sizeof(seven), seven};
    call_ok(&w, ACTIONS "Signal", &signal.base, NULL);
    world_until(&w, heard(s, "cond", 5));
    ck_assert_int_eq(memcmp(last_update(s, "cond")->value.data, seven, sizeof(seven)), 0);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

/* ---- the older services ---- */

START_TEST(queue_and_state_service)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "python");
    struct enqueue_request e;
    enqueue_init(&w, &e, "r", "a0", "kid");
    Flyteidl2__Workflow__EnqueueActionRequest old =
        FLYTEIDL2__WORKFLOW__ENQUEUE_ACTION_REQUEST__INIT;
    old.action_id = &e.ids.action;
    call_fails(&w, QUEUE "EnqueueAction", &old.base, SY_CODE_INVALID_ARGUMENT,
               "parent_action_name");
    old._parent_action_name_case =
        FLYTEIDL2__WORKFLOW__ENQUEUE_ACTION_REQUEST___PARENT_ACTION_NAME_PARENT_ACTION_NAME;
    old.parent_action_name = text_of("a0");
    old.input_uri = text_of("/in");
    old.run_output_base = text_of("/base");
    old.spec_case = FLYTEIDL2__WORKFLOW__ENQUEUE_ACTION_REQUEST__SPEC_TASK;
    e.task.spec = bytes_of(task_spec(&w, "python", "1"));
    old.task = &e.task;
    call_ok(&w, QUEUE "EnqueueAction", &old.base, NULL);
    struct fake_stream *operator;
    ck_assert_str_eq(assigned(&w, "kid", &operator)->flyte->run_output_base, "/base");

    Flyteidl2__Workflow__WatchRequest request = FLYTEIDL2__WORKFLOW__WATCH_REQUEST__INIT;
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    request.filter_case = FLYTEIDL2__WORKFLOW__WATCH_REQUEST__FILTER_PARENT_ACTION_ID;
    request.parent_action_id = &ids.action;
    struct stream *s = sy_new(struct stream);
    stream_open(&w, s, STATE "Watch", &request.base,
                &flyteidl2__workflow__watch_response__descriptor, true);
    Flyteidl2__Workflow__AbortQueuedActionRequest abort =
        FLYTEIDL2__WORKFLOW__ABORT_QUEUED_ACTION_REQUEST__INIT;
    abort.action_id = &e.ids.action;
    call_ok(&w, QUEUE "AbortQueuedAction", &abort.base, NULL);
    const Flyteidl2__Workflow__WatchResponse *last = NULL;
    world_until(&w, s->count > 0 && (last = s->messages[s->count - 1])->action_update != NULL &&
                        last->action_update->phase == 7);
    stream_close(s);
    free(s);
    Flyteidl2__Workflow__AbortQueuedRunRequest all =
        FLYTEIDL2__WORKFLOW__ABORT_QUEUED_RUN_REQUEST__INIT;
    all.run_id = &ids.run;
    call_ok(&w, QUEUE "AbortQueuedRun", &all.base, NULL);
    ck_assert_uint_eq(runs_live(&w), 0);
    world_deinit(&w);
}
END_TEST

START_TEST(a_limit_of_concurrency)
{
    struct world w;
    world_init_for(&w, _i);
    struct create_request c;
    create_init(&w, &c, "r", "python");
    c.run_spec.max_action_concurrency = 1;
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "2 or more");
    c.run_spec.max_action_concurrency = 2;
    call_ok(&w, RUN "CreateRun", &c.request.base, NULL);
    struct fake_stream *operator;
    (void)assigned(&w, "a0", &operator);
    enqueue_flyte(&w, "one");
    enqueue_flyte(&w, "two");
    world_for(&w, SY_NS_PER_S);
    ck_assert_uint_eq(operator->count, 2); /* a0 and one of them */
    world_restart(&w);
    (void)assigned(&w, "a0", &operator);
    world_for(&w, 20 * SY_NS_PER_S);
    ck_assert_uint_eq(operator->count, 2);
    finish_task(&w, "one", OUTCOME(SUCCEEDED));
    (void)assigned(&w, "two", &operator);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {a_root_is_told_of_its_run,
                                 a_child_is_told_of_its_place,
                                 a_parent_hears_typed_ends,
                                 a_signal_reaches_the_parent,
                                 conditions_outlive_the_shard_and_time_out,
                                 queue_and_state_service,
                                 a_limit_of_concurrency,
                                 NULL};
    const TTest *const once[] = {a_parent_hears_of_poison, NULL};
    return world_tests("cp_program", each, once);
}
