/* links: cp */
#include "tests/unit/cp_requests.h"

#include "base/clock.h"
#include "controlplane/task_groups.h"

#define FLYTE_PHASE(name) FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_##name
#define BEGIN_S 1700000000

/* ---- the sums ---- */

static void add(struct cp_task_groups *groups, const char *task, int at_s,
                Flyteidl2__Common__ActionPhase phase, const Flyteidl2__Core__ExecutionError *error)
{
    char name[16];
    snprintf(name, sizeof(name), "run-%d", at_s);
    struct cp_task_group_run run = {.task = task,
                                    .environment = at_s < 10 ? "old" : "new",
                                    .short_name = "short",
                                    .name = name,
                                    .phase = phase,
                                    .created_ns = at_s * SY_NS_PER_S,
                                    .error = error};
    if (phase != FLYTE_PHASE(QUEUED))
        run.started_ns = run.created_ns + SY_NS_PER_S;
    if (phase >= FLYTE_PHASE(SUCCEEDED))
        run.finished_ns = run.created_ns + at_s * SY_NS_PER_S;
    cp_task_groups_add(groups, &run);
}

/* As another shard gets them. */
static void send_sums(struct cp_task_groups *groups)
{
    struct cp_task_groups got = {0};
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    SY_MAP_EACH(&groups->map, at, next)
    {
        struct cp_task_group *group = sy_map_entry(at, struct cp_task_group, link);
        SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = {0};
        pb_pack(&cp_task_group_sums(&arena, group)->base, &bytes);
        const Switchyard__Internal__GroupSums *sums = pb_unpack(
            &switchyard__internal__group_sums__descriptor, &arena, sy_buf_span(&bytes));
        ck_assert_ptr_nonnull(sums);
        cp_task_groups_add_sums(&got, sums);
    }
    sy_arena_deinit(&arena);
    cp_task_groups_clear(groups);
    *groups = got;
}

/* The same, whether the runs lie in one partition or in two, here or at another shard. */
START_TEST(sums_of_one_task)
{
    struct cp_task_groups parts[2] = {0}, all = {0};
    Flyteidl2__Core__ExecutionError user = FLYTEIDL2__CORE__EXECUTION_ERROR__INIT;
    Flyteidl2__Core__ExecutionError system = user, other = user;
    user.kind = FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__USER;
    system.kind = FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__SYSTEM;
    other.kind = FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__UNKNOWN;
    for (int i = 1; i <= 12; i++)
        add(&parts[i % 2 * (_i > 0)], "t", i, FLYTE_PHASE(SUCCEEDED), NULL);
    add(&parts[0], "t", 20, FLYTE_PHASE(FAILED), &user);
    add(&parts[_i > 0], "t", 21, FLYTE_PHASE(TIMED_OUT), &system);
    add(&parts[0], "t", 22, FLYTE_PHASE(FAILED), &other);
    add(&parts[_i > 0], "t", 23, FLYTE_PHASE(ABORTED), NULL);
    add(&parts[0], "t", 24, FLYTE_PHASE(QUEUED), NULL);
    cp_task_groups_merge(&all, &parts[0]);
    cp_task_groups_merge(&all, &parts[1]);
    const struct cp_task_group *group = cp_task_groups_find(&all, "t");
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    Flyteidl2__Workflow__TaskGroup *m = cp_task_group_message(&arena, group);
    ck_assert_str_eq(m->task_name, "t");
    ck_assert_str_eq(m->environment_name, "new");
    ck_assert_str_eq(m->short_name, "short");
    ck_assert_int_eq(m->total_runs, 17);
    ck_assert_int_eq(m->latest_run_time->seconds, 24);
    ck_assert_int_eq(m->latest_finished_time->seconds, 46);
    ck_assert_double_eq(m->average_failure_rate, 3.0 / 16);
    ck_assert_int_eq(m->average_duration->seconds, 10); /* (1 + ... + 12 + 20 + ... + 23) / 16 */
    ck_assert_int_eq(m->average_duration->nanos, 250 * SY_NS_PER_MS);
    ck_assert_int_eq(m->average_time_to_running->seconds, 1);
    ck_assert_int_eq(m->error_counts->user_error, 1);
    ck_assert_int_eq(m->error_counts->system_error, 1);
    ck_assert_int_eq(m->error_counts->unspecified_error, 1);
    ck_assert_uint_eq(m->n_phase_counts, 5);
    ck_assert_int_eq(m->phase_counts[1]->phase, FLYTE_PHASE(SUCCEEDED));
    ck_assert_int_eq(m->phase_counts[1]->count, 12);
    static const char *const newest[] = {"run-24", "run-23", "run-22", "run-21", "run-20",
                                         "run-12", "run-11", "run-10", "run-9",  "run-8"};
    ck_assert_uint_eq(m->n_recent_statuses, SY_COUNT_OF(newest));
    for (size_t i = 0; i < SY_COUNT_OF(newest); i++)
        ck_assert_str_eq(m->recent_statuses[i]->run_name, newest[i]);
    ck_assert_int_eq(m->recent_statuses[1]->phase, FLYTE_PHASE(ABORTED));
    struct sy_buf here = {0}, there = {0};
    pb_pack(&m->base, &here);
    cp_task_groups_clear(&all);
    for (size_t i = 0; i < 2; i++) {
        send_sums(&parts[i]);
        cp_task_groups_merge(&all, &parts[i]);
    }
    pb_pack(&cp_task_group_message(&arena, cp_task_groups_find(&all, "t"))->base, &there);
    ck_assert_uint_eq(here.len, there.len);
    ck_assert_mem_eq(here.data, there.data, here.len);
    sy_buf_deinit(&here);
    sy_buf_deinit(&there);
    sy_arena_deinit(&arena);
    cp_task_groups_clear(&parts[0]);
    cp_task_groups_clear(&parts[1]);
    cp_task_groups_clear(&all);
}
END_TEST

START_TEST(groups_in_order)
{
    struct cp_task_groups groups = {0};
    struct cp_task_group *sorted[3];
    cp_task_groups_sort(&groups, true, sorted); /* none: nothing */
    add(&groups, "b", 5, FLYTE_PHASE(QUEUED), NULL);
    add(&groups, "a", 3, FLYTE_PHASE(QUEUED), NULL);
    add(&groups, "c", 4, FLYTE_PHASE(QUEUED), NULL);
    cp_task_groups_sort(&groups, true, sorted);
    ck_assert_str_eq(sorted[0]->task, "a");
    ck_assert_str_eq(sorted[2]->task, "b");
    cp_task_groups_sort(&groups, false, sorted);
    ck_assert_str_eq(sorted[0]->task, "b");
    ck_assert_ptr_null(cp_task_groups_find(&groups, "d"));
    cp_task_groups_clear(&groups);
}
END_TEST

/* ---- the stream ---- */

struct groups_request {
    Flyteidl2__Workflow__WatchGroupsRequest request;
    Flyteidl2__Common__ProjectIdentifier project;
    Google__Protobuf__Timestamp start, end;
};

static void groups_init(struct groups_request *g)
{
    flyteidl2__workflow__watch_groups_request__init(&g->request);
    flyteidl2__common__project_identifier__init(&g->project);
    google__protobuf__timestamp__init(&g->start);
    google__protobuf__timestamp__init(&g->end);
    g->project.name = text_of("p");
    g->project.domain = text_of("d");
    g->request.scope_by_case = FLYTEIDL2__WORKFLOW__WATCH_GROUPS_REQUEST__SCOPE_BY_PROJECT_ID;
    g->request.project_id = &g->project;
    g->start.seconds = BEGIN_S;
    g->request.start_date = &g->start;
}

static struct stream *groups_open(struct world *w, const struct groups_request *g)
{
    struct stream *s = sy_new(struct stream);
    stream_open(w, s, RUN "WatchGroups", &g->request.base,
                &flyteidl2__workflow__watch_groups_response__descriptor, true);
    return s;
}

static void groups_close(struct stream *s)
{
    stream_close(s);
    free(s);
}

/* As it was told last; NULL: not told. */
static const Flyteidl2__Workflow__TaskGroup *told(const struct stream *s, const char *task)
{
    const Flyteidl2__Workflow__TaskGroup *last = NULL;
    for (size_t i = 0; i < s->count; i++) {
        const Flyteidl2__Workflow__WatchGroupsResponse *m = s->messages[i];
        for (size_t n = 0; n < m->n_task_groups; n++) {
            if (strcmp(m->task_groups[n]->task_name, task) == 0)
                last = m->task_groups[n];
        }
    }
    return last;
}

static int64_t phase_count(const Flyteidl2__Workflow__TaskGroup *group,
                           Flyteidl2__Common__ActionPhase phase)
{
    for (size_t i = 0; group != NULL && i < group->n_phase_counts; i++) {
        if (group->phase_counts[i]->phase == phase)
            return group->phase_counts[i]->count;
    }
    return 0;
}

/* Messages up to the sentinel; 0: it has not come. */
static size_t sentinel_at(const struct stream *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const Flyteidl2__Workflow__WatchGroupsResponse *m = s->messages[i];
        if (m->sentinel)
            return i + 1;
    }
    return 0;
}

static void create_typed(struct world *w, const char *task, const char *name, const char *type)
{
    struct create_request c;
    create_init(w, &c, name, type);
    Flyteidl2__Task__TaskSpec *spec = pb_unpack(&flyteidl2__task__task_spec__descriptor, &w->arena,
                                                c.spec);
    spec->task_template->id->name = text_of(task);
    struct sy_buf SY_CLEANUP(sy_buf_deinit) buf = {0};
    pb_pack(&spec->base, &buf);
    c.request.task_spec = bytes_of(sy_buf_span(&buf));
    call_ok(w, RUN "CreateRun", &c.request.base, NULL);
}

static void create_of(struct world *w, const char *task, const char *name)
{
    create_typed(w, task, name, "switchyard.process");
}

START_TEST(groups_of_all_partitions_and_their_changes)
{
    struct world w;
    world_init_for(&w, _i);
    w.automatic = true;
    char name[16];
    for (int i = 0; i < 150; i++) {
        snprintf(name, sizeof(name), "run-%d", i);
        create_of(&w, i % 3 == 0 ? "one" : "two", name);
    }
    world_for(&w, SY_NS_PER_S);
    struct groups_request g;
    groups_init(&g);
    struct stream *s = groups_open(&w, &g);
    world_until(&w, sentinel_at(s) > 0);
    ck_assert_uint_eq(sentinel_at(s), s->count);
    ck_assert_int_eq(told(s, "one")->total_runs, 50);
    ck_assert_int_eq(told(s, "two")->total_runs, 100);
    ck_assert_int_eq(phase_count(told(s, "two"), FLYTE_PHASE(SUCCEEDED)), 100);
    ck_assert_str_eq(told(s, "two")->short_name, "task");
    ck_assert_uint_eq(told(s, "two")->n_recent_statuses, CP_TASK_GROUP_RECENT);
    ck_assert_str_eq(told(s, "two")->recent_statuses[0]->run_name, "run-149");
    size_t count = s->count;
    world_for(&w, 20 * SY_NS_PER_S); /* nothing changes, nothing is told */
    ck_assert_uint_eq(s->count, count);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "more-%d", i);
        create_of(&w, "two", name);
    }
    world_until(&w, phase_count(told(s, "two"), FLYTE_PHASE(SUCCEEDED)) == 120);
    ck_assert_int_eq(told(s, "two")->total_runs, 120);
    ck_assert_uint_le(s->count, count + 3); /* many changes are few messages */
    for (size_t i = count; i < s->count; i++) {
        const Flyteidl2__Workflow__WatchGroupsResponse *m = s->messages[i];
        ck_assert(!m->sentinel && m->n_task_groups == 1); /* not the group that is as it was */
    }
    ck_assert(!s->closed);
    groups_close(s);
    world_deinit(&w);
}
END_TEST

START_TEST(groups_between_two_dates)
{
    struct world w;
    world_init_for(&w, _i);
    w.automatic = true;
    create_of(&w, "old", "early");
    world_for(&w, 100 * SY_NS_PER_S);
    create_of(&w, "t", "within");
    world_for(&w, 100 * SY_NS_PER_S);
    create_of(&w, "t", "late");
    world_for(&w, SY_NS_PER_S);
    struct groups_request g;
    groups_init(&g);
    g.start.seconds = BEGIN_S + (w.now_ns / SY_NS_PER_S) - 150;
    g.end.seconds = g.start.seconds + 100;
    g.request.end_date = &g.end;
    struct stream *s = groups_open(&w, &g);
    world_until(&w, s->closed); /* it ends by itself */
    ck_assert_int_eq(s->code, SY_CODE_OK);
    ck_assert_uint_eq(sentinel_at(s), s->count);
    ck_assert_ptr_null(told(s, "old"));
    ck_assert_int_eq(told(s, "t")->total_runs, 1);
    ck_assert_str_eq(told(s, "t")->recent_statuses[0]->run_name, "within");
    groups_close(s);
    g.project.domain = text_of("another");
    s = groups_open(&w, &g);
    world_until(&w, s->closed);
    ck_assert_uint_eq(s->count, 1); /* the sentinel */
    groups_close(s);
    world_deinit(&w);
}
END_TEST

static void refused(struct world *w, const struct groups_request *g, const char *says)
{
    struct stream *s = groups_open(w, g);
    world_until(w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_INVALID_ARGUMENT);
    ck_assert_msg(strstr(s->text.text, says) != NULL, "'%s'", s->text.text);
    groups_close(s);
}

START_TEST(groups_that_are_refused)
{
    struct world w;
    world_init_for(&w, _i);
    struct groups_request g;
    groups_init(&g);
    g.request.start_date = NULL;
    refused(&w, &g, "start_date");
    groups_init(&g);
    g.request.end_date = &g.end;
    refused(&w, &g, "end_date");
    groups_init(&g);
    g.request.scope_by_case = FLYTEIDL2__WORKFLOW__WATCH_GROUPS_REQUEST__SCOPE_BY__NOT_SET;
    refused(&w, &g, "project_id");
    groups_init(&g);
    g.project.domain = text_of("a/b");
    refused(&w, &g, "project_id.domain");
    groups_init(&g);
    Flyteidl2__Common__ListRequest list = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    list.token = text_of("x");
    g.request.request = &list;
    refused(&w, &g, "filters");
    world_deinit(&w);
}
END_TEST

/* A client that leaves, and a shard that goes, in the middle of a pass. */
START_TEST(passes_that_are_cut_off)
{
    struct world w;
    world_init_for(&w, _i);
    for (int i = 0; i < 9; i++) {
        char name[16];
        snprintf(name, sizeof(name), "run-%d", i);
        create_run(&w, name, "switchyard.group");
    }
    struct groups_request g;
    groups_init(&g);
    for (int turns = 0; turns < 8; turns++) {
        struct stream *s = groups_open(&w, &g);
        for (int i = 0; i < turns; i++)
            world_turn(&w);
        groups_close(s);
    }
    struct stream *s = groups_open(&w, &g);
    for (int i = 0; i < 3; i++)
        world_turn(&w);
    sy_rpc_mem_kill(w.rpc, "shard:1");
    cp_shard_free(w.shard);
    w.shard = NULL;
    world_until(&w, s->closed);
    groups_close(s);
    world_deinit(&w);
}
END_TEST

/* More than one message holds, for a client that reads late; then more than a stream keeps. */
START_TEST(many_groups)
{
    struct world w;
    world_init_for(&w, 0);
    char name[16];
    struct groups_request g;
    groups_init(&g);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "t-%d", i);
        create_typed(&w, name, name, "switchyard.group");
    }
    struct stream *s = sy_new(struct stream);
    stream_open(&w, s, RUN "WatchGroups", &g.request.base,
                &flyteidl2__workflow__watch_groups_response__descriptor, false);
    world_for(&w, 5 * SY_NS_PER_S);
    stream_resume(s);
    world_until(&w, sentinel_at(s) > 0);
    size_t groups = 0;
    for (size_t i = 0; i < s->count; i++) {
        const Flyteidl2__Workflow__WatchGroupsResponse *m = s->messages[i];
        groups += m->n_task_groups;
    }
    ck_assert_uint_eq(groups, 3000);
    ck_assert_uint_gt(s->count, 2);
    ck_assert_uint_lt(s->bytes_max, 128 * 1024);
    for (int i = 3000; i < 5100; i++) {
        snprintf(name, sizeof(name), "t-%d", i);
        create_typed(&w, name, name, "switchyard.group");
    }
    world_until(&w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_RESOURCE_EXHAUSTED);
    ck_assert_ptr_nonnull(strstr(s->text.text, "start_date"));
    groups_close(s);
    world_deinit(&w);
}
END_TEST

/* ---- GetActionLogContext ---- */

START_TEST(where_an_attempts_log_is)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.process");
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Flyteidl2__Workflow__GetActionLogContextRequest get =
        FLYTEIDL2__WORKFLOW__GET_ACTION_LOG_CONTEXT_REQUEST__INIT;
    get.action_id = &ids.action;
    get.attempt = 2;
    call_fails(&w, RUN "GetActionLogContext", &get.base, SY_CODE_NOT_FOUND, "no attempt 2");
    finish_task(&w, "a0", OUTCOME(LOST));
    world_for(&w, SY_NS_PER_S);
    finish_task(&w, "a0", OUTCOME(SUCCEEDED));
    world_for(&w, SY_NS_PER_S);
    for (get.attempt = 0; get.attempt <= 2; get.attempt++) { /* 0: the last */
        const Flyteidl2__Workflow__GetActionLogContextResponse *got = call_ok(
            &w, RUN "GetActionLogContext", &get.base,
            &flyteidl2__workflow__get_action_log_context_response__descriptor);
        ck_assert_str_eq(got->cluster, "c1");
        ck_assert_int_ge(got->start_time->seconds, BEGIN_S);
        ck_assert_int_ge(got->end_time->seconds, got->start_time->seconds);
        ck_assert_str_eq(got->log_context->pods[0]->namespace_, "c1");
    }
    ids_init(&ids, "r", "phantom");
    call_fails(&w, RUN "GetActionLogContext", &get.base, SY_CODE_NOT_FOUND, "phantom");
    ids_init(&ids, "ghost", "a0");
    call_fails(&w, RUN "GetActionLogContext", &get.base, SY_CODE_NOT_FOUND, "ghost");
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {sums_of_one_task,
                                 groups_of_all_partitions_and_their_changes,
                                 groups_between_two_dates,
                                 groups_that_are_refused,
                                 passes_that_are_cut_off,
                                 where_an_attempts_log_is,
                                 NULL};
    const TTest *const once[] = {groups_in_order, many_groups, NULL};
    return world_tests("cp_groups", each, once);
}
