/* links: cp */
#include "tests/unit/cp_requests.h"

#include "controlplane/names.h"
#include "flyteidl2/task/task_service.pb-c.h"
#include "flyteidl2/trigger/trigger_service.pb-c.h"

#define TASK "/flyteidl2.task.TaskService/"
#define TRIGGER "/flyteidl2.trigger.TriggerService/"
#define MINUTE (60 * SY_NS_PER_S)

static void deploy_task(struct world *w, const char *name, const char *version)
{
    Flyteidl2__Task__DeployTaskRequest request = FLYTEIDL2__TASK__DEPLOY_TASK_REQUEST__INIT;
    Flyteidl2__Task__TaskIdentifier id = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
    id.project = text_of("p");
    id.domain = text_of("d");
    id.name = text_of(name);
    id.version = text_of(version);
    request.task_id = &id;
    request.spec = bytes_of(task_spec(w, "switchyard.group", "1"));
    call_ok(w, TASK "DeployTask", &request.base, NULL);
}

static void name_init(Flyteidl2__Common__TriggerName *n, const char *task, const char *name)
{
    flyteidl2__common__trigger_name__init(n);
    n->org = text_of("acme");
    n->project = text_of("p");
    n->domain = text_of("d");
    n->task_name = text_of(task);
    n->name = text_of(name);
}

struct automation {
    Flyteidl2__Task__TriggerAutomationSpec spec;
    Flyteidl2__Task__Schedule schedule;
    Flyteidl2__Task__Cron cron;
    Flyteidl2__Task__FixedRate rate;
};

/* `cron` NULL: a fixed rate of so many minutes. */
static void automation_init(struct automation *a, const char *cron, uint32_t minutes)
{
    flyteidl2__task__trigger_automation_spec__init(&a->spec);
    flyteidl2__task__schedule__init(&a->schedule);
    flyteidl2__task__cron__init(&a->cron);
    flyteidl2__task__fixed_rate__init(&a->rate);
    a->spec.type = FLYTEIDL2__TASK__TRIGGER_AUTOMATION_SPEC_TYPE__TYPE_SCHEDULE;
    a->spec.automation_case = FLYTEIDL2__TASK__TRIGGER_AUTOMATION_SPEC__AUTOMATION_SCHEDULE;
    a->spec.schedule = &a->schedule;
    a->schedule.expression_case = cron != NULL ? FLYTEIDL2__TASK__SCHEDULE__EXPRESSION_CRON
                                               : FLYTEIDL2__TASK__SCHEDULE__EXPRESSION_RATE;
    a->cron.expression = text_of(cron);
    a->rate.value = minutes;
    a->rate.unit = FLYTEIDL2__TASK__FIXED_RATE_UNIT__FIXED_RATE_UNIT_MINUTE;
    if (cron != NULL)
        a->schedule.cron = &a->cron;
    else
        a->schedule.rate = &a->rate;
}

struct deploy {
    Flyteidl2__Trigger__DeployTriggerRequest request;
    Flyteidl2__Common__TriggerName name;
    Flyteidl2__Trigger__TriggerSpec spec;
    struct automation automation;
};

static void deploy_init(struct deploy *d, const char *task, const char *name, const char *cron,
                        uint32_t minutes)
{
    flyteidl2__trigger__deploy_trigger_request__init(&d->request);
    flyteidl2__trigger__trigger_spec__init(&d->spec);
    name_init(&d->name, task, name);
    automation_init(&d->automation, cron, minutes);
    d->spec.active = true;
    d->spec.task_version = text_of("v1");
    d->request.name = &d->name;
    d->request.spec = &d->spec;
    d->request.automation_spec = &d->automation.spec;
}

static Flyteidl2__Trigger__TriggerDetails *deploy(struct world *w, const struct deploy *d)
{
    Flyteidl2__Trigger__DeployTriggerResponse *response = call_ok(
        w, TRIGGER "DeployTrigger", &d->request.base,
        &flyteidl2__trigger__deploy_trigger_response__descriptor);
    return response->trigger;
}

static Flyteidl2__Trigger__TriggerDetails *details(struct world *w, const char *task,
                                                   const char *name)
{
    Flyteidl2__Trigger__GetTriggerDetailsRequest request =
        FLYTEIDL2__TRIGGER__GET_TRIGGER_DETAILS_REQUEST__INIT;
    Flyteidl2__Common__TriggerName id;
    name_init(&id, task, name);
    request.name = &id;
    Flyteidl2__Trigger__GetTriggerDetailsResponse *response = call_ok(
        w, TRIGGER "GetTriggerDetails", &request.base,
        &flyteidl2__trigger__get_trigger_details_response__descriptor);
    return response->trigger;
}

static void set_active(struct world *w, const char *task, const char *name, bool active)
{
    Flyteidl2__Trigger__UpdateTriggersRequest request =
        FLYTEIDL2__TRIGGER__UPDATE_TRIGGERS_REQUEST__INIT;
    Flyteidl2__Common__TriggerName id, *names[] = {&id};
    name_init(&id, task, name);
    request.names = names;
    request.n_names = 1;
    request.active = active;
    call_ok(w, TRIGGER "UpdateTriggers", &request.base, NULL);
}

/* All runs, oldest first, as "minute minute ..." of the due times after the first run's. */
static size_t run_times(struct world *w, int64_t *ret_s, size_t max)
{
    Flyteidl2__Workflow__ListRunsRequest request = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__INIT;
    Flyteidl2__Common__ListRequest list = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    Flyteidl2__Common__Sort sort = FLYTEIDL2__COMMON__SORT__INIT;
    sort.direction = FLYTEIDL2__COMMON__SORT__DIRECTION__ASCENDING;
    list.limit = 1000;
    list.sort_by = &sort;
    request.request = &list;
    Flyteidl2__Workflow__ListRunsResponse *runs = call_ok(
        w, RUN "ListRuns", &request.base, &flyteidl2__workflow__list_runs_response__descriptor);
    ck_assert_uint_le(runs->n_runs, max);
    for (size_t i = 0; i < runs->n_runs; i++) {
        Flyteidl2__Workflow__GetRunDetailsRequest get =
            FLYTEIDL2__WORKFLOW__GET_RUN_DETAILS_REQUEST__INIT;
        get.run_id = runs->runs[i]->action->id->run;
        Flyteidl2__Workflow__GetRunDetailsResponse *response = call_ok(
            w, RUN "GetRunDetails", &get.base,
            &flyteidl2__workflow__get_run_details_response__descriptor);
        ck_assert_ptr_nonnull(response->details->run_spec->run_start_time);
        ret_s[i] = response->details->run_spec->run_start_time->seconds;
    }
    return runs->n_runs;
}

/* Each due time of [first_s, last_s] in steps of `period_s` was fired once, in order. */
static void expect_times(struct world *w, int64_t first_s, int64_t last_s, int64_t period_s)
{
    static int64_t times[1000];
    size_t count = run_times(w, times, SY_COUNT_OF(times));
    ck_assert_int_eq((int64_t)count, (last_s - first_s) / period_s + 1);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(times[i], first_s + (int64_t)i * period_s);
}

static int64_t next_minute_s(struct world *w)
{
    return (world_realtime(w) / SY_NS_PER_S / 60 + 1) * 60;
}

static void run_until(struct world *w, int64_t realtime_s)
{
    world_for(w, realtime_s * SY_NS_PER_S - world_realtime(w));
}

START_TEST(a_cron_trigger_fires)
{
    struct world w;
    world_init_for(&w, _i);
    deploy_task(&w, "env.one", "v1");
    struct deploy d;
    deploy_init(&d, "env.one", "each-minute", "* * * * *", 0);
    d.spec.description = text_of("often");
    const Flyteidl2__Trigger__TriggerDetails *got = deploy(&w, &d);
    ck_assert_uint_eq(got->id->revision, 1);
    ck_assert_str_eq(got->id->name->org, "acme");
    ck_assert_str_eq(got->description, "often");
    ck_assert_ptr_null(got->status->triggered_at);
    int64_t first_s = next_minute_s(&w);
    run_until(&w, first_s + 4 * 60 + 30);
    expect_times(&w, first_s, first_s + 4 * 60, 60);
    got = details(&w, "env.one", "each-minute");
    ck_assert_int_eq(got->status->triggered_at->seconds, first_s + 4 * 60);
    ck_assert_uint_eq(got->id->revision, 1);
    world_deinit(&w);
}
END_TEST

START_TEST(a_rate_counts_from_its_activation)
{
    struct world w;
    world_init_for(&w, _i);
    deploy_task(&w, "env.one", "v1");
    struct deploy d;
    deploy_init(&d, "env.one", "rate", NULL, 7);
    deploy(&w, &d);
    static int64_t times[100];
    int64_t start_s = world_realtime(&w) / SY_NS_PER_S;
    world_for(&w, 22 * MINUTE);
    ck_assert_uint_eq(run_times(&w, times, 100), 3);
    ck_assert_int_le(llabs(times[0] - start_s - 420), 1);
    ck_assert_int_eq(times[1] - times[0], 420);
    ck_assert_int_eq(times[2] - times[1], 420);
    deploy(&w, &d); /* the same again: it goes on */
    ck_assert_uint_eq(details(&w, "env.one", "rate")->id->revision, 1);
    world_for(&w, 7 * MINUTE);
    ck_assert_uint_eq(run_times(&w, times, 100), 4);
    ck_assert_int_eq(times[3] - times[2], 420);
    world_deinit(&w);
}
END_TEST

static Flyteidl2__Workflow__ListRunsResponse *runs_of(struct world *w, const char *task,
                                                      const char *trigger)
{
    Flyteidl2__Workflow__ListRunsRequest request = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__INIT;
    Flyteidl2__Common__TriggerName name;
    name_init(&name, task, trigger);
    request.scope_by_case = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_TRIGGER_NAME;
    request.trigger_name = &name;
    return call_ok(w, RUN "ListRuns", &request.base,
                   &flyteidl2__workflow__list_runs_response__descriptor);
}

/* Also when they have ended, and after the shard was down. */
START_TEST(runs_know_their_trigger)
{
    struct world w;
    world_init_for(&w, _i);
    deploy_task(&w, "env.one", "v1");
    struct deploy d;
    deploy_init(&d, "env.one", "each", "* * * * *", 0);
    deploy(&w, &d);
    deploy_init(&d, "env.one", "second", "*/2 * * * *", 0);
    deploy(&w, &d);
    create_run(&w, "by-hand", "switchyard.group");
    int64_t first_s = next_minute_s(&w);
    run_until(&w, first_s + 3 * 60 + 30);
    ck_assert_uint_eq(runs_of(&w, "env.one", "each")->n_runs, 4);
    Flyteidl2__Workflow__ListRunsResponse *runs = runs_of(&w, "env.one", "second");
    ck_assert_uint_eq(runs->n_runs, 2);
    Flyteidl2__Workflow__AbortRunRequest abort_run = FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST__INIT;
    abort_run.run_id = runs->runs[0]->action->id->run;
    call_ok(&w, RUN "AbortRun", &abort_run.base, NULL);
    cp_shard_free(w.shard);
    world_start_shard(&w);
    runs = runs_of(&w, "env.one", "second");
    ck_assert_uint_eq(runs->n_runs, 2);
    for (size_t i = 0; i < runs->n_runs; i++) {
        const Flyteidl2__Workflow__ActionMetadata *m = runs->runs[i]->action->metadata;
        ck_assert_str_eq(m->trigger_name, "second");
        ck_assert_str_eq(m->trigger_id->name->org, "acme");
        ck_assert_str_eq(m->trigger_id->name->task_name, "env.one");
        ck_assert_uint_eq(m->trigger_id->revision, 1);
        ck_assert_int_eq(m->source, FLYTEIDL2__WORKFLOW__RUN_SOURCE__RUN_SOURCE_SCHEDULE_TRIGGER);
    }
    ck_assert_uint_eq(runs_of(&w, "env.two", "second")->n_runs, 0);
    ck_assert_uint_eq(runs_of(&w, "env.one", "eac")->n_runs, 0);
    world_deinit(&w);
}
END_TEST

START_TEST(pause_resume_delete)
{
    struct world w;
    world_init_for(&w, _i);
    deploy_task(&w, "env.one", "v1");
    struct deploy d;
    deploy_init(&d, "env.one", "t", "* * * * *", 0);
    d.spec.active = false;
    deploy(&w, &d);
    static int64_t times[100];
    world_for(&w, 5 * MINUTE);
    ck_assert_uint_eq(run_times(&w, times, 100), 0);
    set_active(&w, "env.one", "t", true);
    ck_assert(details(&w, "env.one", "t")->spec->active);
    world_for(&w, 3 * MINUTE);
    ck_assert_uint_eq(run_times(&w, times, 100), 3);
    set_active(&w, "env.one", "t", false);
    world_for(&w, 10 * MINUTE);
    ck_assert_uint_eq(run_times(&w, times, 100), 3);
    set_active(&w, "env.one", "t", true); /* what was due in the pause is not fired */
    set_active(&w, "env.one", "t", true);
    world_for(&w, 2 * MINUTE);
    ck_assert_uint_eq(run_times(&w, times, 100), 5);
    Flyteidl2__Trigger__DeleteTriggersRequest gone =
        FLYTEIDL2__TRIGGER__DELETE_TRIGGERS_REQUEST__INIT;
    Flyteidl2__Common__TriggerName *names[] = {&d.name};
    gone.names = names;
    gone.n_names = 1;
    call_ok(&w, TRIGGER "DeleteTriggers", &gone.base, NULL);
    call_fails(&w, TRIGGER "DeleteTriggers", &gone.base, SY_CODE_NOT_FOUND, "'t'");
    world_for(&w, 5 * MINUTE);
    ck_assert_uint_eq(run_times(&w, times, 100), 5);

    Flyteidl2__Trigger__GetTriggerRevisionHistoryRequest history =
        FLYTEIDL2__TRIGGER__GET_TRIGGER_REVISION_HISTORY_REQUEST__INIT;
    history.name = &d.name;
    const Flyteidl2__Trigger__GetTriggerRevisionHistoryResponse *got = call_ok(
        &w, TRIGGER "GetTriggerRevisionHistory", &history.base,
        &flyteidl2__trigger__get_trigger_revision_history_response__descriptor);
    static const int actions[] = {4, 2, 3, 2, 1}; /* newest first */
    ck_assert_uint_eq(got->n_triggers, SY_COUNT_OF(actions));
    for (size_t i = 0; i < got->n_triggers; i++) {
        ck_assert_int_eq((int)got->triggers[i]->action, actions[i]);
        ck_assert_uint_eq(got->triggers[i]->id->revision, 5 - i);
    }
    ck_assert_ptr_nonnull(got->triggers[0]->status->deleted_at);
    ck_assert_uint_eq(deploy(&w, &d)->id->revision, 6); /* revisions go on after a deletion */
    world_deinit(&w);
}
END_TEST

static void crash(struct world *w, bool keep)
{
    for (uint32_t i = 0; i < w->partitions; i++)
        cp_mem_disk_keep_in_flight(w->disks[i], keep);
    cp_shard_free(w->shard);
    world_start_shard(w);
}

/* The shard dies round each due time: before, between the firing and its commit, after. */
START_TEST(each_due_time_once_through_crashes)
{
    struct world w;
    world_init_for(&w, _i);
    deploy_task(&w, "env.one", "v1");
    struct deploy d;
    deploy_init(&d, "env.one", "t", "* * * * *", 0);
    deploy(&w, &d);
    int64_t first_s = next_minute_s(&w), due_s = first_s;
    /* A commit takes 100 us. */
    static const int64_t offsets_us[] = {-1000, 0, 1, 10, 50, 99, 100, 101, 150, 200, 250, 1000};
    for (size_t i = 0; i < 2 * SY_COUNT_OF(offsets_us); i++, due_s += 60) {
        int64_t at_ns = due_s * SY_NS_PER_S + offsets_us[i / 2] * SY_NS_PER_US;
        while (world_realtime(&w) < at_ns)
            world_turn(&w);
        crash(&w, i % 2 == 0);
    }
    run_until(&w, due_s + 30);
    expect_times(&w, first_s, due_s, 60);
    world_deinit(&w);
}
END_TEST

START_TEST(an_outage_is_caught_up_in_part)
{
    struct world w;
    world_init_for(&w, _i);
    deploy_task(&w, "env.one", "v1");
    struct deploy d;
    deploy_init(&d, "env.one", "t", "* * * * *", 0);
    deploy(&w, &d);
    int64_t first_s = next_minute_s(&w);
    cp_shard_free(w.shard);
    w.now_ns += 60 * MINUTE;
    world_start_shard(&w);
    int64_t last_s = next_minute_s(&w) - 60;
    ck_assert_int_gt(last_s, first_s + 50 * 60);
    world_for(&w, 10 * SY_NS_PER_S);
    expect_times(&w, last_s - 9 * 60, last_s, 60); /* the latest ten */
    run_until(&w, last_s + 60 + 10);
    expect_times(&w, last_s - 9 * 60, last_s + 60, 60);
    world_deinit(&w);
}
END_TEST

/* While the disk is full nothing fires; then what was due does, once. */
START_TEST(a_full_disk_delays)
{
    struct world w;
    world_init(&w, 1);
    deploy_task(&w, "env.one", "v1");
    struct deploy d;
    deploy_init(&d, "env.one", "t", "* * * * *", 0);
    deploy(&w, &d);
    int64_t first_s = next_minute_s(&w);
    for (int i = 0; i < 3; i++) {
        run_until(&w, first_s + i * 60 - 1);
        cp_mem_disk_set(w.disks[0], 100 * SY_NS_PER_US, 0);
        run_until(&w, first_s + i * 60 + 30);
    }
    expect_times(&w, first_s, first_s + 2 * 60, 60);
    world_deinit(&w);
}
END_TEST

START_TEST(triggers_come_with_their_task)
{
    struct world w;
    world_init_for(&w, _i);
    Flyteidl2__Task__DeployTaskRequest request = FLYTEIDL2__TASK__DEPLOY_TASK_REQUEST__INIT;
    Flyteidl2__Task__TaskIdentifier id = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
    Flyteidl2__Task__TaskTrigger one = FLYTEIDL2__TASK__TASK_TRIGGER__INIT,
                                 two = FLYTEIDL2__TASK__TASK_TRIGGER__INIT;
    Flyteidl2__Task__TaskTriggerSpec spec = FLYTEIDL2__TASK__TASK_TRIGGER_SPEC__INIT;
    Flyteidl2__Task__TaskTrigger *triggers[] = {&one, &two};
    struct automation automation;
    automation_init(&automation, "* * * * *", 0);
    id.project = text_of("p");
    id.domain = text_of("d");
    id.name = text_of("env.one");
    id.version = text_of("v1");
    request.task_id = &id;
    request.spec = bytes_of(task_spec(&w, "switchyard.group", "1"));
    request.n_triggers = 2;
    request.triggers = triggers;
    spec.active = true;
    one.name = two.name = text_of("one");
    one.spec = two.spec = &spec;
    one.automation_spec = two.automation_spec = &automation.spec;
    call_fails(&w, TASK "DeployTask", &request.base, SY_CODE_INVALID_ARGUMENT, "twice");
    two.name = text_of("two");
    automation.cron.expression = text_of("61 * * * *");
    call_fails(&w, TASK "DeployTask", &request.base, SY_CODE_INVALID_ARGUMENT, "minute");
    automation.cron.expression = text_of("* * * * *");
    call_ok(&w, TASK "DeployTask", &request.base, NULL);
    static int64_t times[100];
    world_for(&w, 2 * MINUTE);
    ck_assert_uint_eq(run_times(&w, times, 100), 4); /* both */
    ck_assert_str_eq(details(&w, "env.one", "two")->spec->task_version, "v1");
    request.n_triggers = 1; /* the next version has only one */
    id.version = text_of("v2");
    call_ok(&w, TASK "DeployTask", &request.base, NULL);
    ck_assert_str_eq(details(&w, "env.one", "one")->spec->task_version, "v2");
    world_for(&w, 2 * MINUTE);
    ck_assert_uint_eq(run_times(&w, times, 100), 6);

    Flyteidl2__Trigger__ListTriggersRequest list = FLYTEIDL2__TRIGGER__LIST_TRIGGERS_REQUEST__INIT;
    list.scope_by_case = FLYTEIDL2__TRIGGER__LIST_TRIGGERS_REQUEST__SCOPE_BY_TASK_ID;
    list.task_id = &id;
    const Flyteidl2__Trigger__ListTriggersResponse *got = call_ok(
        &w, TRIGGER "ListTriggers", &list.base,
        &flyteidl2__trigger__list_triggers_response__descriptor);
    ck_assert_uint_eq(got->n_triggers, 1);
    ck_assert_str_eq(got->triggers[0]->id->name->name, "one");
    ck_assert(got->triggers[0]->active);
    id.version = text_of("v1");
    got = call_ok(&w, TRIGGER "ListTriggers", &list.base,
                  &flyteidl2__trigger__list_triggers_response__descriptor);
    ck_assert_uint_eq(got->n_triggers, 0);
    world_deinit(&w);
}
END_TEST

START_TEST(a_run_by_trigger_name)
{
    struct world w;
    world_init_for(&w, _i);
    deploy_task(&w, "env.one", "v1");
    struct deploy d;
    deploy_init(&d, "env.one", "by-hand", NULL, 1);
    d.automation.spec =
        (Flyteidl2__Task__TriggerAutomationSpec)FLYTEIDL2__TASK__TRIGGER_AUTOMATION_SPEC__INIT;
    d.automation.spec.type = FLYTEIDL2__TASK__TRIGGER_AUTOMATION_SPEC_TYPE__TYPE_NONE;
    deploy(&w, &d);
    for (int i = 0; i < 6; i++) {
        char name[16];
        snprintf(name, sizeof(name), "run-%d", i);
        struct create_request c;
        create_init(&w, &c, name, "switchyard.group");
        c.request.task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TRIGGER_NAME;
        c.request.trigger_name = &d.name;
        c.request.run_spec = NULL;
        call_ok(&w, RUN "CreateRun", &c.request.base, NULL);
        Flyteidl2__Common__TriggerName none;
        name_init(&none, "env.one", "none");
        c.request.trigger_name = &none;
        call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_NOT_FOUND, "none");
    }
    world_deinit(&w);
}
END_TEST

START_TEST(triggers_that_are_refused)
{
    struct world w;
    world_init_for(&w, _i);
    deploy_task(&w, "env.one", "v1");
    struct deploy d;
    deploy_init(&d, "env.one", "t", "* * * *", 0);
    call_fails(&w, TRIGGER "DeployTrigger", &d.request.base, SY_CODE_INVALID_ARGUMENT, "cron");
    deploy_init(&d, "env.one", "t", "* * * * *", 0);
    d.automation.cron.timezone = text_of("Mars/Olympus");
    call_fails(&w, TRIGGER "DeployTrigger", &d.request.base, SY_CODE_INVALID_ARGUMENT, "time zone");
    deploy_init(&d, "env.one", "t", NULL, 0);
    call_fails(&w, TRIGGER "DeployTrigger", &d.request.base, SY_CODE_INVALID_ARGUMENT, "rate");
    deploy_init(&d, "env.one", "t", "* * * * *", 0);
    d.spec.task_version = text_of("v9");
    call_fails(&w, TRIGGER "DeployTrigger", &d.request.base, SY_CODE_NOT_FOUND, "'v9'");
    d.spec.task_version = text_of("v1");
    d.request.spec = NULL;
    call_fails(&w, TRIGGER "DeployTrigger", &d.request.base, SY_CODE_INVALID_ARGUMENT, "spec");
    d.request.spec = &d.spec;
    d.name.name = text_of("");
    call_fails(&w, TRIGGER "DeployTrigger", &d.request.base, SY_CODE_INVALID_ARGUMENT, "name.name");
    d.name.name = text_of("t");
    deploy(&w, &d);
    d.request.revision = 7;
    call_fails(&w, TRIGGER "DeployTrigger", &d.request.base, SY_CODE_FAILED_PRECONDITION,
               "revision 1");
    Flyteidl2__Trigger__UpdateTriggersRequest update =
        FLYTEIDL2__TRIGGER__UPDATE_TRIGGERS_REQUEST__INIT;
    call_fails(&w, TRIGGER "UpdateTriggers", &update.base, SY_CODE_INVALID_ARGUMENT, "names");
    Flyteidl2__Common__TriggerName other, *names[] = {&d.name, &other};
    name_init(&other, "env.two", "t");
    update.names = names;
    update.n_names = 2;
    call_fails(&w, TRIGGER "UpdateTriggers", &update.base, SY_CODE_INVALID_ARGUMENT, "several");
    name_init(&other, "env.one", "unknown");
    call_fails(&w, TRIGGER "UpdateTriggers", &update.base, SY_CODE_NOT_FOUND, "unknown");
    ck_assert(details(&w, "env.one", "t")->spec->active); /* none of them was changed */
    name_init(&other, "env.one", "t");
    call_fails(&w, TRIGGER "UpdateTriggers", &update.base, SY_CODE_INVALID_ARGUMENT, "twice");
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {a_cron_trigger_fires,
                                 a_rate_counts_from_its_activation,
                                 pause_resume_delete,
                                 each_due_time_once_through_crashes,
                                 an_outage_is_caught_up_in_part,
                                 triggers_come_with_their_task,
                                 a_run_by_trigger_name,
                                 runs_know_their_trigger,
                                 triggers_that_are_refused,
                                 NULL};
    const TTest *const once[] = {a_full_disk_delays, NULL};
    return world_tests("cp_triggers", each, once);
}
