/* links: cp */
/* The partition shell on a memory store, with a made-up operator: what callers, watchers and
 * operators see, also when the shard dies at any moment or its disk fails at any commit. */
#include "cp_partition_world.h"

/* ---- reading the event log ---- */

struct log {
    struct sy_arena arena;
    Switchyard__V1__Event *events[8192];
    size_t count;
    bool ended;
};

static void on_more(void *ctx)
{
    ++*(int *)ctx;
}

/* All events after `after`, through a watch. */
static void read_log(struct world *w, const char *run, uint64_t after, size_t bytes,
                     struct log *log)
{
    int told = 0;
    struct cp_watch *watch = cp_watch_run(w->p, run_id(w, run), after, on_more, &told);
    *log = (struct log){.count = 0};
    sy_arena_init(&log->arena, 64 << 20);
    for (size_t count = 1; count > 0 && !log->ended;) {
        Switchyard__V1__Event **events;
        ck_assert_int_eq(
            cp_watch_read_events(watch, &log->arena, bytes, &events, &count, &log->ended), 0);
        ck_assert_uint_le(log->count + count, SY_COUNT_OF(log->events));
        for (size_t i = 0; i < count; i++)
            log->events[log->count++] = events[i];
    }
    cp_watch_free(watch);
}

static void log_free(struct log *log)
{
    sy_arena_deinit(&log->arena);
    free(log);
}

/* Numbered without gaps, each action begins with its parent named and ends once, at its last event.
 */
static void check_log(const struct log *log, size_t actions)
{
    size_t begun = 0, finals = 0;
    for (size_t i = 0; i < log->count; i++) {
        const Switchyard__V1__Event *event = log->events[i];
        ck_assert_uint_eq(event->sequence, log->events[0]->sequence + i);
        bool first = true;
        for (size_t j = 0; j < i; j++) {
            if (strcmp(log->events[j]->action, event->action) != 0)
                continue;
            first = false;
            ck_assert_int_lt(log->events[j]->phase, PHASE(SUCCEEDED));
        }
        begun += first;
        finals += event->phase >= PHASE(SUCCEEDED);
        if (first)
            ck_assert_int_eq(event->parent[0] != '\0', strcmp(event->action, "a0") != 0);
    }
    ck_assert_uint_eq(begun, actions);
    if (log->ended)
        ck_assert_uint_eq(finals, actions);
}

static void check_whole_log(struct world *w, const char *run, size_t actions)
{
    struct log *log = sy_new(struct log);
    read_log(w, run, 0, 4000, log);
    ck_assert(log->ended);
    ck_assert_uint_eq(log->events[0]->sequence, 1);
    check_log(log, actions);
    log_free(log);
}

/* ---- a life ---- */

START_TEST(test_one_run)
{
    struct world *w = world_new();
    struct answer answer;
    ck_assert_str_eq(cp_partition_state_word(w->p), "opening");
    world_run(w, 50 * MS);
    ck_assert(cp_partition_serving(w->p));
    ck_assert_str_eq(cp_partition_state_word(w->p), "serving");
    ck_assert_str_eq(cp_partition_reason(w->p), "");
    ck_assert_uint_eq(cp_partition_epoch(w->p), 1);
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_run(w, 50 * MS);
    ck_assert_int_eq(action_phase(w, "r1", "a0"), PHASE(SUCCEEDED));
    const struct attempt *root = operator_find_name(w, "a0");
    ck_assert(root->acked);
    ck_assert_str_eq(root->run, "p/d/r1");
    ck_assert_uint_eq(w->specs, 1);

    struct log *log = sy_new(struct log);
    read_log(w, "r1", 0, 1 << 20, log);
    ck_assert(log->ended);
    ck_assert_uint_eq(log->count, 3);
    ck_assert_int_eq(log->events[0]->phase, PHASE(QUEUED));
    ck_assert_int_eq(log->events[1]->phase, PHASE(RUNNING));
    ck_assert_str_eq(log->events[1]->node, "n1");
    ck_assert_str_eq(log->events[1]->cluster, "c1");
    ck_assert_int_eq(log->events[2]->phase, PHASE(SUCCEEDED));
    ck_assert_int_eq(log->events[2]->started_ns, 1000);
    check_log(log, 1);
    log_free(log);

    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    struct cp_run_view run;
    ck_assert_int_eq(cp_partition_get_run(w->p, &arena, "p", "d", "r1", &run), 0);
    ck_assert_int_eq(run.row->phase, PHASE(SUCCEEDED));
    ck_assert_uint_eq(run.row->actions_total, 1);
    ck_assert_int_gt(run.row->finished_ns, run.row->created_ns);
    ck_assert_ptr_null(run.live);
    struct cp_action_view action;
    ck_assert_int_eq(cp_partition_get_action(w->p, &arena, run.id, "a0", &action), 0);
    ck_assert_uint_eq(action.number, 1);
    ck_assert_str_eq(action.outcome->node, "n1");
    ck_assert_str_eq(action.outcome->cluster, "c1");
    SY_CLEANUP(sy_buf_deinit) struct sy_buf spec = {0}, expected = {0};
    ck_assert_int_eq(cp_partition_get_spec(w->p, &action, &spec), 0);
    expected = make_spec("switchyard.process", 0, "100m");
    ck_assert_uint_eq(spec.len, expected.len);
    ck_assert_int_eq(cp_partition_get_run(w->p, &arena, "p", "d", "r2", &run),
                     CP_PARTITION_E_NOT_FOUND);
    ck_assert_int_eq(cp_partition_get_action(w->p, &arena, run.id, "b", &action),
                     CP_PARTITION_E_NOT_FOUND);
    sy_arena_deinit(&arena);
    ck_assert_uint_eq(cp_partition_counts(w->p).finished, 1);
    world_free(w);
}
END_TEST

static void hold_root(struct world *w, struct attempt *root)
{
    (void)w;
    (void)root;
}

/* A world with the run "r1", whose root runs and does nothing. */
static struct world *world_with_root(void)
{
    struct world *w = world_new();
    struct answer answer;
    w->on_root = hold_root;
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_UNAVAILABLE, "being opened"); /* not yet */
    world_run(w, 50 * MS);
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_run(w, 50 * MS);
    return w;
}

START_TEST(test_enqueue_is_idempotent)
{
    struct world *w = world_with_root();
    struct answer answer, second;
    const struct cp_new_action actions[] = {{.name = "b", .input = {(const uint8_t *)"in", 2}},
                                            {.name = "hold1"},
                                            {.name = "a", .input_uri = "sy://c1/00"},
                                            {.name = "b"}};
    enqueue(w, "r1", "a0", actions, 4, false, &answer);
    enqueue(w, "r1", "a0", actions, 4, false, &second); /* before the first is durable */
    expect(w, &answer, SY_CODE_OK, "");
    ck_assert_uint_eq(answer.created, 3);
    ck_assert_uint_eq(answer.existing_count, 1);
    ck_assert_uint_eq(answer.existing[0].index, 3);
    expect(w, &second, SY_CODE_OK, "");
    ck_assert_uint_eq(second.created, 0);
    ck_assert_uint_eq(second.existing_count, 4);
    world_run(w, 50 * MS);
    enqueue(w, "r1", "a0", actions, 3, false, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    ck_assert_uint_eq(answer.created, 0);
    ck_assert_int_eq(answer.existing[0].phase, PHASE(SUCCEEDED));
    ck_assert_int_eq(answer.existing[1].phase, PHASE(RUNNING));
    ck_assert_str_eq(operator_find_name(w, "b")->input, "in");

    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    struct cp_action_view view;
    ck_assert_int_eq(cp_partition_get_action(w->p, &arena, run_id(w, "r1"), "b", &view), 0);
    ck_assert_uint_eq(view.outcome->output.len, 2);
    ck_assert_int_eq(cp_partition_get_action(w->p, &arena, run_id(w, "r1"), "hold1", &view), 0);
    ck_assert_int_eq(view.phase, PHASE(RUNNING));
    ck_assert_str_eq(view.node, "n1");
    ck_assert_int_eq(view.started_ns, 1000);
    ck_assert_ptr_nonnull(view.live);
    sy_arena_deinit(&arena);

    /* Under another parent the name is taken. */
    enqueue(w, "r1", "hold1", actions, 1, false, &answer);
    expect(w, &answer, SY_CODE_ALREADY_EXISTS, "action 'b' exists already, with another parent");
    world_free(w);
}
END_TEST

static void enqueue_patiently(struct world *w, const char *name, struct answer *answer)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf spec = make_spec("python", 0, "100m");
    const struct cp_new_action action = {.name = name};
    struct cp_enqueue request = {.project = "p",
                                 .domain = "d",
                                 .run = "r1",
                                 .parent = "a0",
                                 .task_spec = sy_buf_span(&spec),
                                 .actions = &action,
                                 .count = 1,
                                 .patient = true};
    *answer = (struct answer){0};
    cp_partition_enqueue(w->p, &request, on_enqueued, answer);
}

/* All that was enqueued runs, and the loop has read the clock. */
static void settle(struct world *w)
{
    world_run(w, 50 * MS);
    sy_loop_turn(w->loop);
}

/* The answer comes `ns` from now, but for what a sync takes. */
static void expect_after(struct world *w, const struct answer *answer, int64_t ns)
{
    int64_t begin_ns = w->now_ns;
    expect(w, answer, SY_CODE_OK, "");
    ck_assert_int_ge(w->now_ns - begin_ns, ns);
    ck_assert_int_lt(w->now_ns - begin_ns, ns + MS);
}

static void enqueue_two(struct world *w, const char *first, const char *second)
{
    struct answer answers[2];
    enqueue_patiently(w, first, &answers[0]);
    enqueue_patiently(w, second, &answers[1]);
    expect_after(w, &answers[0], 0);
    ck_assert_int_eq(answers[1].calls, 1);
    settle(w);
}

START_TEST(test_patient_callers_share_a_commit)
{
    struct world *w = world_with_root();
    struct answer answer, other;
    const struct cp_new_action native = {.name = "hold-native"};
    enqueue_patiently(w, "hold0", &answer); /* who is alone does not wait */
    expect_after(w, &answer, 0);
    settle(w);
    enqueue_two(w, "hold1", "hold2");
    enqueue_patiently(w, "hold3", &answer); /* the other does not come: once, not again */
    expect_after(w, &answer, 10 * MS);
    enqueue_patiently(w, "hold4", &answer);
    expect_after(w, &answer, 0);
    enqueue_two(w, "hold5", "hold6");
    enqueue_patiently(w, "hold7", &answer); /* it comes */
    world_run(w, 3 * MS);
    ck_assert_int_eq(answer.calls, 0);
    enqueue_patiently(w, "hold8", &other);
    expect_after(w, &other, 0);
    ck_assert_int_eq(answer.calls, 1);
    enqueue_patiently(w, "hold9", &answer); /* somebody else comes, who is not patient */
    world_run(w, 3 * MS);
    ck_assert_int_eq(answer.calls, 0);
    enqueue(w, "r1", "a0", &native, 1, false, &other);
    expect_after(w, &other, 0);
    ck_assert_int_eq(answer.calls, 1);
    world_free(w);
}
END_TEST

static void on_stopped(void *arg)
{
    ++*(int *)arg;
}

/* It does not wait for callers that cannot come any more. */
START_TEST(test_stop_does_not_linger)
{
    struct world *w = world_with_root();
    struct answer answer;
    int stopped = 0;
    enqueue_two(w, "hold1", "hold2");
    enqueue_patiently(w, "hold3", &answer);
    world_run(w, MS);
    ck_assert_int_eq(answer.calls, 0);
    cp_partition_stop(w->p, on_stopped, &stopped);
    expect_after(w, &answer, 0);
    world_run(w, MS);
    ck_assert_int_eq(stopped, 1);
    world_free(w);
}
END_TEST

START_TEST(test_create_run_is_idempotent)
{
    struct world *w = world_with_root();
    struct answer answer;
    create_run(w, "r1", "x", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_ALREADY_EXISTS, "run p/d/r1 exists already");
    w->on_root = NULL;
    struct answer first, again;
    create_run(w, "r2", "id-2", "switchyard.process", &first);
    create_run(w, "r2", "id-2", "switchyard.process", &again);
    expect(w, &first, SY_CODE_OK, "");
    expect(w, &again, SY_CODE_OK, "");
    world_run(w, 50 * MS);
    ck_assert_int_eq(action_phase(w, "r2", "a0"), PHASE(SUCCEEDED));
    create_run(w, "r2", "id-2", "switchyard.process", &again); /* it has ended */
    expect(w, &again, SY_CODE_OK, "");
    create_run(w, "r2", "id-3", "switchyard.process", &again);
    expect(w, &again, SY_CODE_ALREADY_EXISTS, "");
    /* Made and ended within one batch. */
    w->offline = true;
    create_run(w, "r3", "id-4", "switchyard.process", &first);
    struct answer aborted;
    memset(&aborted, 0, sizeof(aborted));
    cp_partition_abort(w->p, "p", "d", "r3", "a0", "no", on_answer, &aborted);
    create_run(w, "r3", "id-4", "switchyard.process", &again);
    struct answer other;
    create_run(w, "r3", "id-5", "switchyard.process", &other);
    expect(w, &first, SY_CODE_OK, "");
    expect(w, &aborted, SY_CODE_OK, "");
    expect(w, &again, SY_CODE_OK, "");
    expect(w, &other, SY_CODE_ALREADY_EXISTS, "");
    ck_assert_int_eq(action_phase(w, "r3", "a0"), PHASE(ABORTED));
    world_free(w);
}
END_TEST

START_TEST(test_bad_input)
{
    struct world *w = world_with_root();
    struct answer answer;
    create_run(w, "tab\there", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_INVALID_ARGUMENT, "'tab?here'");
    create_run(w, "", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_INVALID_ARGUMENT, "missing");
    create_run(w, "x", "", "raw", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    struct cp_new_action action = {.name = "a/b"};
    enqueue(w, "r1", "a0", &action, 1, false, &answer);
    expect(w, &answer, SY_CODE_INVALID_ARGUMENT, "'a/b'");
    action = (struct cp_new_action){.name = "big", .input = {(const uint8_t[33]){0}, 33}};
    enqueue(w, "r1", "a0", &action, 1, false, &answer);
    expect(w, &answer, SY_CODE_INVALID_ARGUMENT, "input of 33 bytes: at most 32");
    action = (struct cp_new_action){.name = "x"};
    enqueue(w, "r1", "nobody", &action, 1, false, &answer);
    expect(w, &answer, SY_CODE_NOT_FOUND, "parent 'nobody'");
    enqueue(w, "r9", "a0", &action, 1, false, &answer);
    expect(w, &answer, SY_CODE_NOT_FOUND, "run p/d/r9");
    enqueue(w, "r1", "a0", &action, 10001, false, &answer);
    expect(w, &answer, SY_CODE_INVALID_ARGUMENT, "10001 actions in one call, at most 10000");
    /* All or none: the second name is bad. */
    const struct cp_new_action two[] = {{.name = "good"}, {.name = "\x01"}};
    enqueue(w, "r1", "a0", two, 2, false, &answer);
    expect(w, &answer, SY_CODE_INVALID_ARGUMENT, "'?'");
    world_run(w, 50 * MS);
    ck_assert_ptr_null(operator_find_name(w, "good"));
    struct cp_enqueue request = {.project = "p",
                                 .domain = "d",
                                 .run = "r1",
                                 .parent = "a0",
                                 .task_spec = {(const uint8_t *)"\xff", 1},
                                 .actions = two,
                                 .count = 1};
    answer = (struct answer){0};
    cp_partition_enqueue(w->p, &request, on_enqueued, &answer);
    expect(w, &answer, SY_CODE_INVALID_ARGUMENT, "not a TaskSpec");
    SY_CLEANUP(sy_buf_deinit) struct sy_buf huge = make_spec("x", 0, "65");
    request.task_spec = sy_buf_span(&huge);
    answer = (struct answer){0};
    cp_partition_enqueue(w->p, &request, on_enqueued, &answer);
    expect(w, &answer, SY_CODE_INVALID_ARGUMENT, "no cluster can run this; cluster c1");
    answer = (struct answer){0};
    cp_partition_abort(w->p, "p", "d", "r1", "never", "", on_answer, &answer);
    expect(w, &answer, SY_CODE_NOT_FOUND, "action 'never'");
    world_free(w);
}
END_TEST

START_TEST(test_full)
{
    struct world *w = world_new();
    struct answer answer;
    w->options.actions_max = 3;
    world_crash(w);
    world_start(w);
    w->on_root = hold_root;
    world_run(w, 50 * MS);
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    const struct cp_new_action actions[] = {
        {.name = "hold1"}, {.name = "hold2"}, {.name = "hold3"}};
    enqueue(w, "r1", "a0", actions, 3, false, &answer);
    expect(w, &answer, SY_CODE_RESOURCE_EXHAUSTED, "retry in 1 s");
    enqueue(w, "r1", "a0", actions, 2, false, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    enqueue(w, "r1", "a0", actions, 2, false, &answer); /* nothing new: no room needed */
    expect(w, &answer, SY_CODE_OK, "");
    create_run(w, "r2", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_RESOURCE_EXHAUSTED, "at most 3");
    world_free(w);
}
END_TEST

START_TEST(test_group)
{
    struct world *w = world_new();
    struct answer answer;
    world_run(w, 50 * MS);
    create_run(w, "good", "", "switchyard.group", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    create_run(w, "bad", "", "switchyard.group", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    const struct cp_new_action actions[] = {{.name = "c1"}, {.name = "c2"}, {.name = "bad3"}};
    enqueue(w, "good", "a0", actions, 2, false, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    enqueue(w, "bad", "a0", actions, 3, true, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_run(w, 50 * MS);
    ck_assert_int_eq(action_phase(w, "good", "a0"), PHASE(RUNNING));
    ck_assert_int_eq(action_phase(w, "bad", "bad3"), PHASE(FAILED));
    ck_assert_int_eq(action_phase(w, "bad", "a0"), PHASE(FAILED));
    enqueue(w, "good", "a0", NULL, 0, true, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    ck_assert_int_eq(action_phase(w, "good", "a0"), PHASE(SUCCEEDED));
    enqueue(w, "good", "a0", actions, 2, true, &answer); /* a repeat: its answer was lost */
    expect(w, &answer, SY_CODE_OK, "");
    ck_assert_uint_eq(answer.existing_count, 2);
    enqueue(w, "good", "a0", actions, 3, false, &answer);
    expect(w, &answer, SY_CODE_FAILED_PRECONDITION, "run p/d/good has ended");

    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    struct cp_action_view view;
    ck_assert_int_eq(cp_partition_get_action(w->p, &arena, run_id(w, "bad"), "bad3", &view), 0);
    ck_assert_str_eq(view.outcome->error->code, "Oops");
    ck_assert_str_eq(view.outcome->error->message, "it ? broke"); /* was not UTF-8 */
    sy_arena_deinit(&arena);
    check_whole_log(w, "bad", 4);
    world_free(w);
}
END_TEST

START_TEST(test_abort)
{
    struct world *w = world_with_root();
    struct answer answer = {0};
    const struct cp_new_action actions[] = {{.name = "hold1"}, {.name = "hold2"}};
    enqueue(w, "r1", "a0", actions, 2, false, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_run(w, 50 * MS);
    answer = (struct answer){0};
    cp_partition_abort(w->p, "p", "d", "r1", "hold1", "not needed", on_answer, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_run(w, 50 * MS);
    ck_assert(operator_find_name(w, "hold1")->cancelled);
    ck_assert(operator_find_name(w, "hold1")->acked);
    ck_assert(!operator_find_name(w, "hold2")->cancelled);
    answer = (struct answer){0};
    cp_partition_abort(w->p, "p", "d", "r1", "hold1", "", on_answer, &answer);
    expect(w, &answer, SY_CODE_FAILED_PRECONDITION, "has ended");
    answer = (struct answer){0};
    cp_partition_abort(w->p, "p", "d", "r1", "a0", "all of it", on_answer, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    ck_assert_int_eq(action_phase(w, "r1", "a0"), PHASE(ABORTED));
    ck_assert_int_eq(action_phase(w, "r1", "hold2"), PHASE(ABORTED));
    world_run(w, 50 * MS);
    ck_assert_uint_eq(w->cancels, 3);
    check_whole_log(w, "r1", 3);
    world_free(w);
}
END_TEST

START_TEST(test_record)
{
    struct world *w = world_with_root();
    struct answer answer = {0}, again = {0}, taken = {0};
    struct cp_record record = {
        .child = {.project = "p", .domain = "d", .run = "r1", .parent = "a0", .name = "trace-1"},
        .phase = PHASE(FAILED),
        .started_ns = 5,
        .finished_ns = 6,
        .output_uri = "s3://x",
        .error_code = "E",
        .error_message = "m"};
    cp_partition_record(w->p, &record, on_answer, &answer);
    cp_partition_record(w->p, &record, on_answer, &again); /* not durable yet */
    enqueue(w, "r1", "a0", (const struct cp_new_action[]){{.name = "trace-1"}}, 1, false, &taken);
    expect(w, &answer, SY_CODE_OK, "");
    expect(w, &again, SY_CODE_OK, "");
    expect(w, &taken, SY_CODE_OK, "");
    ck_assert_uint_eq(taken.existing_count, 1);
    again = (struct answer){0};
    cp_partition_record(w->p, &record, on_answer, &again);
    expect(w, &again, SY_CODE_OK, "");
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    struct cp_action_view view;
    ck_assert_int_eq(cp_partition_get_action(w->p, &arena, run_id(w, "r1"), "trace-1", &view), 0);
    ck_assert_int_eq(view.phase, PHASE(FAILED));
    ck_assert_int_eq(view.outcome->started_ns, 5);
    ck_assert_int_eq(view.outcome->finished_ns, 6);
    ck_assert_str_eq(view.outcome->error->code, "E");
    ck_assert_uint_eq(view.row->spec_digest.len, 0);
    sy_arena_deinit(&arena);
    ck_assert_ptr_null(operator_find_name(w, "trace-1"));
    world_crash(w); /* a record is not in the live index */
    world_start(w);
    world_run(w, 50 * MS);
    ck_assert_int_eq(action_phase(w, "r1", "trace-1"), PHASE(FAILED));
    world_free(w);
}
END_TEST

struct list {
    char names[128];
    int left;
    uint64_t last;
    bool ended[16];
    int count;
};

static bool take(struct list *list, const char *name)
{
    size_t len = strlen(list->names);
    snprintf(list->names + len, sizeof(list->names) - len, "%s%s", len ? " " : "", name);
    list->count++;
    return --list->left > 0;
}

static bool take_run(void *ctx, const struct cp_run_view *run)
{
    struct list *list = ctx;
    list->last = run->id;
    return take(list, run->row->name);
}

static bool take_action(void *ctx, const struct cp_action_view *action)
{
    struct list *list = ctx;
    list->ended[list->count] = action->outcome != NULL;
    ck_assert_int_eq(action->outcome != NULL, action->phase >= PHASE(SUCCEEDED));
    return take(list, action->name);
}

START_TEST(test_lists)
{
    struct world *w = world_with_root();
    struct answer answer;
    w->on_root = NULL;
    for (int i = 2; i < 6; i++) {
        char name[8];
        snprintf(name, sizeof(name), "r%d", i);
        create_run(w, name, "", "switchyard.process", &answer);
        expect(w, &answer, SY_CODE_OK, "");
    }
    const struct cp_new_action actions[] = {{.name = "b"}, {.name = "hold"}, {.name = "a"}};
    enqueue(w, "r1", "a0", actions, 3, false, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_run(w, 50 * MS);
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    struct list list = {.left = 2};
    ck_assert_int_eq(cp_partition_list_runs(w->p, &arena, 0, false, take_run, &list), 0);
    ck_assert_str_eq(list.names, "r5 r4");
    list = (struct list){.left = 10, .last = list.last};
    ck_assert_int_eq(cp_partition_list_runs(w->p, &arena, list.last, false, take_run, &list), 0);
    ck_assert_str_eq(list.names, "r3 r2 r1");
    list = (struct list){.left = 3};
    ck_assert_int_eq(
        cp_partition_list_actions(w->p, &arena, run_id(w, "r1"), "", take_action, &list), 0);
    ck_assert_str_eq(list.names, "a a0 b");
    ck_assert(list.ended[0] && !list.ended[1] && list.ended[2]);
    list = (struct list){.left = 10};
    ck_assert_int_eq(
        cp_partition_list_actions(w->p, &arena, run_id(w, "r1"), "a", take_action, &list), 0);
    ck_assert_str_eq(list.names, "a0 b hold");
    ck_assert(!list.ended[0] && list.ended[1] && !list.ended[2]);
    sy_arena_deinit(&arena);
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_one_run,
        test_enqueue_is_idempotent,
        test_patient_callers_share_a_commit,
        test_stop_does_not_linger,
        test_create_run_is_idempotent,
        test_bad_input,
        test_full,
        test_group,
        test_abort,
        test_record,
        test_lists,
        NULL,
    };
    return sy_test_run("cp_partition", tests);
}
