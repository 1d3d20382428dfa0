/* links: cp */
#include "base/clock.h"
#include "controlplane/flyte.h"
#include "proto/pb.h"
#include "proto/run_paths.h"
#include "tests/lib/test.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <string.h>

#define PHASE(name) SWITCHYARD__V1__PHASE__PHASE_##name
#define FLYTE_PHASE(name) FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_##name

static struct sy_arena arena;
static Switchyard__Internal__Store__ActionRow row;
static Switchyard__Internal__Store__OutcomeRow outcome;
static Switchyard__V1__Error error;
static struct cp_action_view view;
static struct cp_flyte flyte;
static uint8_t digest[16];
static const struct cp_task_names names = {"org", "proj",   "dev", "pkg.fn",
                                           "v1",  "python", "fn",  "env"};

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* A task in its second attempt. */
static void set_up(void)
{
    sy_arena_init(&arena, 1 << 20);
    switchyard__internal__store__action_row__init(&row);
    switchyard__internal__store__outcome_row__init(&outcome);
    switchyard__v1__error__init(&error);
    row.id = 7;
    row.parent = text("a0");
    row.group = text("grp");
    row.created_ns = 10 * SY_NS_PER_S;
    row.spec_digest = (ProtobufCBinaryData){sizeof(digest), digest};
    view = (struct cp_action_view){.run_id = 3,
                                   .name = "child",
                                   .row = &row,
                                   .phase = PHASE(RUNNING),
                                   .started_ns = 12 * SY_NS_PER_S,
                                   .number = 2,
                                   .cluster = "c1",
                                   .node = "n1"};
    flyte = (struct cp_flyte){&arena, "acme", "p", "d", "r1"};
}

static void end_as(Switchyard__V1__Phase phase)
{
    outcome.phase = view.phase = phase;
    outcome.number = view.number;
    outcome.started_ns = view.started_ns;
    outcome.finished_ns = 15 * SY_NS_PER_S;
    outcome.output_uri = text("/data/child/2");
    outcome.has_logs = true;
    view.outcome = &outcome;
}

START_TEST(times)
{
    set_up();
    ck_assert_ptr_null(cp_flyte_time(&arena, 0));
    Google__Protobuf__Timestamp *time = cp_flyte_time(&arena, 1234567890123456789);
    ck_assert_int_eq(time->seconds, 1234567890);
    ck_assert_int_eq(time->nanos, 123456789);
    ck_assert_int_eq(cp_flyte_time_ns(time), 1234567890123456789);
    ck_assert_int_eq(cp_flyte_time_ns(NULL), 0);
    time->seconds = -1;
    ck_assert_int_eq(cp_flyte_time_ns(time), 0);
    time->seconds = INT64_MAX;
    ck_assert_int_eq(cp_flyte_time_ns(time), 0);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(phases_have_the_same_numbers)
{
    ck_assert_int_eq(cp_flyte_phase(PHASE(QUEUED)), FLYTE_PHASE(QUEUED));
    ck_assert_int_eq(cp_flyte_phase(PHASE(RUNNING)), FLYTE_PHASE(RUNNING));
    ck_assert_int_eq(cp_flyte_phase(PHASE(SUCCEEDED)), FLYTE_PHASE(SUCCEEDED));
    ck_assert_int_eq(cp_flyte_phase(PHASE(FAILED)), FLYTE_PHASE(FAILED));
    ck_assert_int_eq(cp_flyte_phase(PHASE(ABORTED)), FLYTE_PHASE(ABORTED));
    ck_assert_int_eq(cp_flyte_phase(PHASE(TIMED_OUT)), FLYTE_PHASE(TIMED_OUT));
}
END_TEST

START_TEST(a_running_task)
{
    set_up();
    static const uint8_t spec[] = "spec bytes";
    Flyteidl2__Workflow__ActionDetails *d = cp_flyte_details(&flyte, &view, &names,
                                                             (struct sy_span){spec, sizeof(spec)});
    ck_assert_str_eq(d->id->name, "child");
    ck_assert_str_eq(d->id->run->org, "acme");
    ck_assert_str_eq(d->id->run->project, "p");
    ck_assert_str_eq(d->id->run->domain, "d");
    ck_assert_str_eq(d->id->run->name, "r1");
    ck_assert_str_eq(d->metadata->parent, "a0");
    ck_assert_str_eq(d->metadata->group, "grp");
    ck_assert_int_eq(d->metadata->action_type, FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_TASK);
    ck_assert_str_eq(d->metadata->task->id->name, "pkg.fn");
    ck_assert_str_eq(d->metadata->task->task_type, "python");
    ck_assert_str_eq(d->metadata->environment_name, "env");
    ck_assert_int_eq(d->status->phase, FLYTE_PHASE(RUNNING));
    ck_assert_int_eq(d->status->start_time->seconds, 10);
    ck_assert_ptr_null(d->status->end_time);
    ck_assert_uint_eq(d->status->attempts, 2);
    ck_assert_int_eq(d->status->_duration_ms_case,
                     FLYTEIDL2__WORKFLOW__ACTION_STATUS___DURATION_MS__NOT_SET);
    ck_assert_int_eq(d->result_case, FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT__NOT_SET);
    ck_assert_int_eq(d->spec_case, FLYTEIDL2__WORKFLOW__ACTION_DETAILS__SPEC_TASK);
    ck_assert_uint_eq(d->task.len, sizeof(spec));
    ck_assert_uint_eq(d->n_attempts, 2); /* clients index by attempt - 1 */
    ck_assert_uint_eq(d->attempts[0]->attempt, 1);
    ck_assert_int_eq(d->attempts[0]->phase, FLYTE_PHASE(FAILED));
    ck_assert_uint_eq(d->attempts[1]->attempt, 2);
    ck_assert_int_eq(d->attempts[1]->start_time->seconds, 12);
    ck_assert(d->attempts[1]->logs_available);
    ck_assert_str_eq(d->attempts[1]->cluster, "c1");
    ck_assert_str_eq(d->attempts[1]->log_context->primary_pod_name, "n1");
    sy_arena_deinit(&arena);
}
END_TEST

/* An attempt waits from the end of the one before it on. */
static void expect_transition(const Flyteidl2__Workflow__ActionAttempt *attempt, size_t i,
                              Flyteidl2__Common__ActionPhase phase, int64_t start_s, int64_t end_s)
{
    ck_assert_uint_lt(i, attempt->n_phase_transitions);
    const Flyteidl2__Workflow__PhaseTransition *transition = attempt->phase_transitions[i];
    ck_assert_int_eq(transition->phase, phase);
    ck_assert_int_eq(transition->start_time->seconds, start_s);
    if (end_s > 0)
        ck_assert_int_eq(transition->end_time->seconds, end_s);
    else
        ck_assert_ptr_null(transition->end_time);
}

START_TEST(earlier_attempts)
{
    set_up();
    error.code = text("ValueError");
    error.message = text("no");
    Switchyard__Internal__Store__OutcomeRow first = SWITCHYARD__INTERNAL__STORE__OUTCOME_ROW__INIT,
                                            second = SWITCHYARD__INTERNAL__STORE__OUTCOME_ROW__INIT,
                                            *rows[] = {&first, &second};
    first.number = 1;
    first.phase = PHASE(FAILED);
    first.started_ns = 10500 * SY_NS_PER_MS;
    first.finished_ns = 11 * SY_NS_PER_S;
    first.error = &error;
    first.cluster = text("c0");
    first.node = text("n0");
    first.has_logs = true;
    second = first;
    second.number = 3; /* of the second nothing is left */
    second.phase = PHASE(TIMED_OUT);
    second.started_ns = 0; /* nobody saw it start */
    view.earlier = rows;
    view.earlier_count = 2;
    view.number = 4;
    Flyteidl2__Workflow__ActionDetails *d = cp_flyte_details(&flyte, &view, &names,
                                                             (struct sy_span){0});
    ck_assert_uint_eq(d->n_attempts, 4);
    const Flyteidl2__Workflow__ActionAttempt *attempt = d->attempts[0];
    ck_assert_uint_eq(attempt->attempt, 1);
    ck_assert_int_eq(attempt->phase, FLYTE_PHASE(FAILED));
    ck_assert_int_eq(attempt->start_time->seconds, 10);
    ck_assert_int_eq(attempt->end_time->seconds, 11);
    ck_assert_str_eq(attempt->error_info->code, "ValueError");
    ck_assert_str_eq(attempt->cluster, "c0");
    ck_assert_str_eq(attempt->log_context->primary_pod_name, "n0");
    ck_assert(attempt->logs_available);
    ck_assert_ptr_null(attempt->outputs);
    ck_assert_uint_eq(attempt->n_phase_transitions, 3);
    expect_transition(attempt, 0, FLYTE_PHASE(QUEUED), 10, 10);
    expect_transition(attempt, 1, FLYTE_PHASE(RUNNING), 10, 11);
    expect_transition(attempt, 2, FLYTE_PHASE(FAILED), 11, 11);
    ck_assert_uint_eq(d->attempts[1]->attempt, 2);
    ck_assert_ptr_null(d->attempts[1]->start_time);
    attempt = d->attempts[2];
    ck_assert_uint_eq(attempt->attempt, 3);
    ck_assert_int_eq(attempt->phase, FLYTE_PHASE(TIMED_OUT));
    ck_assert_ptr_null(attempt->start_time);
    ck_assert_uint_eq(attempt->n_phase_transitions, 1);
    attempt = d->attempts[3];
    ck_assert_int_eq(attempt->phase, FLYTE_PHASE(RUNNING));
    ck_assert_uint_eq(attempt->n_phase_transitions, 2);
    expect_transition(attempt, 0, FLYTE_PHASE(QUEUED), 11, 12);
    expect_transition(attempt, 1, FLYTE_PHASE(RUNNING), 12, 0);
    view.number = 3; /* it has ended, and the next has not begun */
    d = cp_flyte_details(&flyte, &view, &names, (struct sy_span){0});
    ck_assert_uint_eq(d->n_attempts, 3);
    ck_assert_int_eq(d->attempts[2]->phase, FLYTE_PHASE(TIMED_OUT));
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(one_that_waits)
{
    set_up();
    view.phase = PHASE(QUEUED);
    view.number = 0;
    view.started_ns = 0;
    view.cluster = view.node = "";
    Flyteidl2__Workflow__ActionDetails *d = cp_flyte_details(&flyte, &view, &names,
                                                             (struct sy_span){0});
    ck_assert_int_eq(d->status->phase, FLYTE_PHASE(QUEUED));
    ck_assert_uint_eq(d->status->attempts, 1);
    ck_assert_uint_eq(d->n_attempts, 0);
    Flyteidl2__Workflow__ActionUpdate *u = cp_flyte_update(&flyte, &view);
    ck_assert_int_eq(u->phase, FLYTE_PHASE(QUEUED));
    ck_assert_ptr_null(u->error);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(success)
{
    set_up();
    end_as(PHASE(SUCCEEDED));
    Flyteidl2__Workflow__ActionDetails *d = cp_flyte_details(&flyte, &view, &names,
                                                             (struct sy_span){0});
    ck_assert_int_eq(d->status->end_time->seconds, 15);
    ck_assert_uint_eq(d->status->duration_ms, 5000);
    ck_assert_str_eq(d->attempts[1]->outputs->output_uri, "/data/child/2");
    ck_assert_uint_eq(d->attempts[1]->n_phase_transitions, 2);
    Flyteidl2__Workflow__ActionUpdate *u = cp_flyte_update(&flyte, &view);
    ck_assert_str_eq(u->output_uri, "/data/child/2");
    ck_assert_ptr_null(u->error);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(failures)
{
    set_up();
    end_as(PHASE(FAILED));
    outcome.error = &error;
    error.code = text("ValueError");
    error.message = text("bad \xff byte");
    Flyteidl2__Workflow__ActionDetails *d = cp_flyte_details(&flyte, &view, &names,
                                                             (struct sy_span){0});
    ck_assert_int_eq(d->result_case, FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT_ERROR_INFO);
    ck_assert_str_eq(d->error_info->message, "bad ? byte"); /* Python refuses what is not UTF-8 */
    ck_assert_int_eq(d->error_info->kind, FLYTEIDL2__WORKFLOW__ERROR_INFO__KIND__KIND_USER);
    Flyteidl2__Core__ExecutionError *e = cp_flyte_error(&arena, &view);
    ck_assert_str_eq(e->code, "ValueError");
    ck_assert_int_eq(e->kind, FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__USER);
    ck_assert_str_eq(e->worker, "n1");
    error.code = text("OutOfMemory");
    ck_assert_ptr_nonnull(strstr(cp_flyte_error(&arena, &view)->code, "OOM"));
    error.code = text("RetriesExhausted|OutOfMemory");
    ck_assert_str_eq(cp_flyte_error(&arena, &view)->code, "RetriesExhausted|OOMKilled");
    error.code = text("DiskBroken");
    outcome.error_kind = SWITCHYARD__INTERNAL__ERROR_KIND__ERROR_KIND_SYSTEM;
    ck_assert_int_eq(cp_flyte_error(&arena, &view)->kind,
                     FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__SYSTEM);
    error.code = text("SystemRetriesExhausted"); /* to the SDK an interruption is the user's */
    error.system = true;
    e = cp_flyte_error(&arena, &view);
    ck_assert_str_eq(e->code, "Interrupted");
    ck_assert_int_eq(e->kind, FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__USER);
    outcome.error = NULL; /* the SDK must get an error with every FAILED */
    e = cp_flyte_error(&arena, &view);
    ck_assert_str_eq(e->code, "Unknown");
    ck_assert_str_ne(e->message, "");
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(aborts_and_timeouts)
{
    set_up();
    end_as(PHASE(ABORTED));
    outcome.error = &error;
    error.message = text("not needed");
    Flyteidl2__Workflow__ActionDetails *d = cp_flyte_details(&flyte, &view, &names,
                                                             (struct sy_span){0});
    ck_assert_int_eq(d->result_case, FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT_ABORT_INFO);
    ck_assert_str_eq(d->abort_info->reason, "not needed");
    ck_assert_ptr_null(cp_flyte_error(&arena, &view));
    end_as(PHASE(TIMED_OUT));
    error.code = text("QueuedTimeout");
    d = cp_flyte_details(&flyte, &view, &names, (struct sy_span){0});
    ck_assert_str_eq(d->error_info->code, "QUEUED_TIMEOUT_EXCEEDED");
    ck_assert_int_eq(d->status->phase, FLYTE_PHASE(TIMED_OUT));
    ck_assert_int_eq(d->result_case, FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT_ERROR_INFO);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(traces)
{
    set_up();
    end_as(PHASE(SUCCEEDED));
    row.spec_digest.len = 0;
    Flyteidl2__Actions__Action stored = FLYTEIDL2__ACTIONS__ACTION__INIT;
    Flyteidl2__Workflow__TraceAction trace = FLYTEIDL2__WORKFLOW__TRACE_ACTION__INIT;
    Flyteidl2__Task__TraceSpec spec = FLYTEIDL2__TASK__TRACE_SPEC__INIT;
    uint8_t interface[] = {0x0a, 0x00};
    spec.interface = (ProtobufCBinaryData){sizeof(interface), interface};
    trace.name = text("fetch");
    trace.spec = &spec;
    stored.spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_TRACE;
    stored.trace = &trace;
    struct sy_buf buf = {0};
    pb_pack(&stored.base, &buf);
    row.flyte = (ProtobufCBinaryData){buf.len, buf.data};
    Flyteidl2__Workflow__ActionDetails *d = cp_flyte_details(&flyte, &view, &cp_task_names_none,
                                                             (struct sy_span){0});
    ck_assert_int_eq(d->metadata->action_type, FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_TRACE);
    ck_assert_str_eq(d->metadata->trace->name, "fetch");
    ck_assert_int_eq(d->spec_case, FLYTEIDL2__WORKFLOW__ACTION_DETAILS__SPEC_TRACE);
    ck_assert_uint_eq(d->trace->interface.len, sizeof(interface));
    sy_buf_deinit(&buf);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(runs_carry_labels_and_relation)
{
    set_up();
    Flyteidl2__Task__RunSpec spec = FLYTEIDL2__TASK__RUN_SPEC__INIT;
    Flyteidl2__Task__Labels labels = FLYTEIDL2__TASK__LABELS__INIT;
    Flyteidl2__Task__Labels__ValuesEntry entry = FLYTEIDL2__TASK__LABELS__VALUES_ENTRY__INIT;
    Flyteidl2__Task__Labels__ValuesEntry *entries[] = {&entry};
    Flyteidl2__Common__Relation relation = FLYTEIDL2__COMMON__RELATION__INIT;
    entry.key = text("team");
    entry.value = text("fraud");
    labels.n_values = 1;
    labels.values = entries;
    spec.labels = &labels;
    relation.relation_type = FLYTEIDL2__COMMON__RELATION_TYPE__RELATION_TYPE_RERUN;
    spec.relation = &relation;
    struct sy_buf buf = {0};
    pb_pack(&spec.base, &buf);
    Switchyard__Internal__Store__RunRow run_row = SWITCHYARD__INTERNAL__STORE__RUN_ROW__INIT;
    run_row.run_spec = (ProtobufCBinaryData){buf.len, buf.data};
    Flyteidl2__Workflow__Run *run = cp_flyte_run(&flyte, &view, &names, &run_row);
    ck_assert_str_eq(run->action->metadata->trigger_name, "");
    ck_assert_uint_eq(run->n_labels, 1);
    ck_assert_str_eq(run->labels[0]->key, "team");
    ck_assert_int_eq(run->action->metadata->relation->relation_type,
                     FLYTEIDL2__COMMON__RELATION_TYPE__RELATION_TYPE_RERUN);
    Flyteidl2__Workflow__RunDetails *d = cp_flyte_run_details(&flyte, &view, &names,
                                                              (struct sy_span){0}, &run_row);
    ck_assert_str_eq(d->run_spec->labels->values[0]->value, "fraud");
    sy_buf_deinit(&buf);
    sy_arena_deinit(&arena);
}
END_TEST

/* What Flyte's SDK 2.12 makes of the same spec for a child (generate_cache_key_hash), so that roots
 * and children find each other's outputs. Its variables are "zeta" and "alpha", in that order. */
START_TEST(cache_keys_are_the_sdks)
{
    static const char spec[] =
        "\x0a\x5a\x0a\x0a\x22\x08"
        "env.task\x12\x06python\x1a\x06\x08\x01\x32\x02v1\x22\x3c\x0a\x2c\x0a\x13\x0a\x04zeta"
        "\x12\x0b\x0a\x02\x08\x01\x12\x05"
        "dzeta\x0a\x15\x0a\x05"
        "alpha\x12\x0c\x0a\x02\x08\x01\x12\x06"
        "dalpha\x12\x0c\x0a\x0a\x0a\x02o0\x12\x04\x0a\x02\x08\x03";
    struct sy_span bytes = {(const uint8_t *)spec, sizeof(spec) - 1};
    set_up();
    ck_assert_str_eq(cp_flyte_cache_key(&arena, bytes, "hash=="),
                     "KTqN3lIcXYmjkKuUYZcn5IbdfRRPa6K2V2E9mP7Fo60=");
    ck_assert_str_eq(cp_flyte_cache_key(&arena, bytes, PB_NO_INPUTS_HASH),
                     "TZbOJfxi4LTN2+2VccQdPo0vBxyNSd7Uxsc33zzEjW0=");
    ck_assert_ptr_null(cp_flyte_cache_key(&arena, bytes, ""));
    ck_assert_ptr_null(cp_flyte_cache_key(&arena, (struct sy_span){0}, "hash=="));
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(task_names_are_cached)
{
    struct cp_task_names_cache cache = {0};
    Flyteidl2__Task__TaskSpec spec = FLYTEIDL2__TASK__TASK_SPEC__INIT;
    Flyteidl2__Core__TaskTemplate template = FLYTEIDL2__CORE__TASK_TEMPLATE__INIT;
    Flyteidl2__Core__Identifier id = FLYTEIDL2__CORE__IDENTIFIER__INIT;
    spec.task_template = &template;
    spec.short_name = text("f\xfe");
    template.id = &id;
    template.type = text("core-sleep");
    id.name = text("mod.f");
    struct sy_buf buf = {0};
    pb_pack(&spec.base, &buf);
    set_up();
    ck_assert_ptr_null(cp_task_names_find(&cache, digest));
    const struct cp_task_names *n = cp_task_names_add(&cache, digest, sy_buf_span(&buf), &arena);
    ck_assert_str_eq(n->name, "mod.f");
    ck_assert_str_eq(n->type, "core-sleep");
    ck_assert_str_eq(n->short_name, "f?");
    ck_assert_str_eq(n->environment, "");
    ck_assert_ptr_eq(cp_task_names_find(&cache, digest), n);
    uint8_t other[16] = {digest[0], 1};
    ck_assert_ptr_null(cp_task_names_find(&cache, other));
    n = cp_task_names_add(&cache, other, (struct sy_span){(const uint8_t *)"\xff", 1}, &arena);
    ck_assert_str_eq(n->name, ""); /* not a TaskSpec: shown without names */
    cp_task_names_deinit(&cache);
    sy_buf_deinit(&buf);
    sy_arena_deinit(&arena);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {times,
                                  phases_have_the_same_numbers,
                                  a_running_task,
                                  earlier_attempts,
                                  one_that_waits,
                                  success,
                                  failures,
                                  aborts_and_timeouts,
                                  traces,
                                  runs_carry_labels_and_relation,
                                  cache_keys_are_the_sdks,
                                  task_names_are_cached,
                                  NULL};
    return sy_test_run("cp_flyte", tests);
}
