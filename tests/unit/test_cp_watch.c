/* links: cp */
#include "tests/unit/cp_world.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"
#include "tests/unit/cp_requests.h"

#define PHASE(name) SWITCHYARD__V1__PHASE__PHASE_##name

/* ---- WatchRun ---- */

static void open_run_watch(struct world *w, struct stream *s, uint64_t after, bool final_only,
                           bool reads)
{
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Switchyard__V1__WatchRunRequest request = SWITCHYARD__V1__WATCH_RUN_REQUEST__INIT;
    request.run = &ids.native;
    request.after_sequence = after;
    request.final_only = final_only;
    stream_open(w, s, NATIVE "WatchRun", &request.base,
                &switchyard__v1__watch_run_response__descriptor, reads);
}

/* All events that came, and how often caught_up did. */
static size_t events_of(const struct stream *s, const Switchyard__V1__Event **ret, size_t max,
                        unsigned *ret_caught_up)
{
    size_t count = 0;
    *ret_caught_up = 0;
    for (size_t i = 0; i < s->count; i++) {
        const Switchyard__V1__WatchRunResponse *m = s->messages[i];
        *ret_caught_up += m->caught_up;
        for (size_t n = 0; n < m->n_events; n++) {
            ck_assert_uint_lt(count, max);
            ret[count++] = m->events[n];
        }
    }
    return count;
}

/* A run of COUNT children, ended. Returns how many events it has. */
static size_t finished_run(struct world *w, unsigned count)
{
    w->automatic = true;
    create_run(w, "r", "switchyard.group");
    struct batch b;
    for (unsigned first = 0; first < count; first += 500) {
        batch_init(w, &b, "r", "a0", first, count - first < 500 ? count - first : 500);
        b.request.seal = first + 500 >= count;
        enqueue_batch(w, &b);
    }
    struct stream *s = sy_new(struct stream);
    open_run_watch(w, s, 0, false, true);
    world_until(w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_OK);
    size_t events = 0;
    for (size_t i = 0; i < s->count; i++)
        events += ((const Switchyard__V1__WatchRunResponse *)s->messages[i])->n_events;
    stream_close(s);
    free(s);
    return events;
}

START_TEST(every_event_in_order_from_any_sequence)
{
    struct world w;
    world_init_for(&w, _i);
    size_t total = finished_run(&w, 40);
    const Switchyard__V1__Event **events = sy_calloc(total + 1, sizeof(void *));
    struct stream *s = sy_new(struct stream);
    for (size_t after = 0; after <= total; after++) {
        unsigned caught_up;
        open_run_watch(&w, s, after, false, true);
        world_until(&w, s->closed);
        ck_assert_int_eq(s->code, SY_CODE_OK);
        size_t count = events_of(s, events, total + 1, &caught_up);
        ck_assert_uint_eq(count, total - after);
        ck_assert_uint_eq(caught_up, 1);
        for (size_t i = 0; i < count; i++)
            ck_assert_uint_eq(events[i]->sequence, after + i + 1);
        if (count > 0) {
            ck_assert_str_eq(events[count - 1]->action, "a0");
            ck_assert_int_eq(events[count - 1]->phase, PHASE(SUCCEEDED));
        }
        stream_close(s);
    }
    free(events);
    free(s);
    world_deinit(&w);
}
END_TEST

START_TEST(final_events_only)
{
    struct world w;
    world_init_for(&w, _i);
    finished_run(&w, 30);
    const Switchyard__V1__Event *events[32];
    unsigned caught_up;
    struct stream *s = sy_new(struct stream);
    open_run_watch(&w, s, 0, true, true);
    world_until(&w, s->closed);
    ck_assert_uint_eq(events_of(s, events, 32, &caught_up), 31);
    for (size_t i = 0; i < 31; i++)
        ck_assert_int_eq(events[i]->phase, PHASE(SUCCEEDED));
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

/* While the run goes on, the client stops reading, resumes, and finds all of it, once. */
START_TEST(a_reader_that_stops_loses_nothing)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct stream *s = sy_new(struct stream);
    open_run_watch(&w, s, 0, false, false);
    world_for(&w, 10 * SY_NS_PER_MS);
    w.automatic = true;
    struct batch b;
    for (unsigned first = 0; first < 4000; first += 500) {
        batch_init(&w, &b, "r", "a0", first, 500);
        b.request.seal = first == 3500;
        enqueue_batch(&w, &b);
        world_for(&w, 20 * SY_NS_PER_MS);
    }
    world_for(&w, SY_NS_PER_S);
    ck_assert_uint_eq(s->count, 0);
    stream_resume(s);
    world_until(&w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_OK);
    ck_assert_uint_le(s->bytes_max, 300 * 1024);
    size_t max = 30000;
    const Switchyard__V1__Event **events = sy_calloc(max, sizeof(void *));
    unsigned caught_up;
    size_t count = events_of(s, events, max, &caught_up);
    ck_assert_uint_ge(count, 2 * 4000 + 2);
    for (size_t i = 0; i < count; i++)
        ck_assert_uint_eq(events[i]->sequence, i + 1);
    free(events);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

START_TEST(a_live_watch_follows)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.process");
    struct stream *s = sy_new(struct stream);
    open_run_watch(&w, s, 0, false, true);
    const Switchyard__V1__Event *events[16];
    unsigned caught_up = 0;
    world_until(&w, (events_of(s, events, 16, &caught_up), caught_up == 1));
    struct fake_stream *f;
    struct fake_attempt *a = assigned(&w, "a0", &f);
    fake_start(f, a);
    size_t count;
    world_until(&w, (count = events_of(s, events, 16, &caught_up)) > 0 &&
                        events[count - 1]->phase == PHASE(RUNNING));
    ck_assert_str_eq(events[count - 1]->cluster, "c1");
    ck_assert(!s->closed);
    fake_finish(f, a, OUTCOME(FAILED_FINAL), "");
    world_until(&w, s->closed);
    count = events_of(s, events, 16, &caught_up);
    ck_assert_int_eq(events[count - 1]->phase, PHASE(FAILED));
    ck_assert_str_eq(events[count - 1]->error->code, "TaskError");
    ck_assert_uint_eq(caught_up, 1);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

/* ---- details ---- */

static const Flyteidl2__Workflow__ActionDetails *last_details(const struct stream *s)
{
    ck_assert_uint_gt(s->count, 0);
    return ((const Flyteidl2__Workflow__WatchActionDetailsResponse *)s->messages[s->count - 1])
        ->details;
}

static void open_details_watch(struct world *w, struct stream *s, const char *action)
{
    struct run_ids ids;
    ids_init(&ids, "r", action);
    Flyteidl2__Workflow__WatchActionDetailsRequest request =
        FLYTEIDL2__WORKFLOW__WATCH_ACTION_DETAILS_REQUEST__INIT;
    request.action_id = &ids.action;
    stream_open(w, s, RUN "WatchActionDetails", &request.base,
                &flyteidl2__workflow__watch_action_details_response__descriptor, true);
}

START_TEST(details_at_once_and_after_each_change)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.process");
    struct fake_stream *f;
    struct fake_attempt *a = assigned(&w, "a0", &f);
    struct stream *s = sy_new(struct stream);
    open_details_watch(&w, s, "a0");
    world_until(&w, s->count == 1);
    ck_assert_int_lt(last_details(s)->status->phase, 5);
    world_for(&w, SY_NS_PER_S);
    ck_assert_uint_eq(s->count, 1); /* nothing new, nothing sent */
    fake_start(f, a);
    world_until(&w, s->count == 2);
    ck_assert_int_eq(last_details(s)->status->phase, 4);
    ck_assert(last_details(s)->attempts[0]->logs_available);
    fake_finish(f, a, OUTCOME(FAILED_FINAL), "");
    world_until(&w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_OK);
    ck_assert_uint_eq(s->count, 3);
    ck_assert_int_eq(last_details(s)->status->phase, 6);
    ck_assert_str_eq(last_details(s)->error_info->message, "it went wrong");
    stream_close(s);
    open_details_watch(&w, s, "a0"); /* ended before: one message and the end */
    world_until(&w, s->closed);
    ck_assert_uint_eq(s->count, 1);
    ck_assert_int_eq(last_details(s)->status->phase, 6);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

/* One action of a run in which much else happens: its end is told all the same, and soon. */
START_TEST(details_in_a_busy_run)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 1);
    enqueue_batch(&w, &b);
    struct fake_stream *f;
    struct fake_attempt *a = assigned(&w, b.names[0], &f);
    struct stream *s = sy_new(struct stream);
    open_details_watch(&w, s, b.names[0]);
    w.automatic = true;
    for (unsigned i = 1; i < 300; i++) {
        batch_init(&w, &b, "r", "a0", i * 10, 10);
        enqueue_batch(&w, &b);
    }
    int64_t before_ns = w.now_ns;
    fake_finish(f, a, OUTCOME(SUCCEEDED), "");
    world_until(&w, s->closed);
    ck_assert_int_eq(last_details(s)->status->phase, 5);
    ck_assert_int_lt(w.now_ns - before_ns, 50 * SY_NS_PER_MS);
    ck_assert_uint_le(s->count, 4);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

START_TEST(run_details)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.process");
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    struct stream *s = sy_new(struct stream);
    Flyteidl2__Workflow__WatchRunDetailsRequest request =
        FLYTEIDL2__WORKFLOW__WATCH_RUN_DETAILS_REQUEST__INIT;
    request.run_id = &ids.run;
    stream_open(&w, s, RUN "WatchRunDetails", &request.base,
                &flyteidl2__workflow__watch_run_details_response__descriptor, true);
    world_until(&w, s->count == 1);
    const Flyteidl2__Workflow__WatchRunDetailsResponse *m = s->messages[0];
    ck_assert_str_eq(m->details->run_spec->queue, "default");
    ck_assert_str_eq(m->details->action->id->name, "a0");
    ck_assert_uint_gt(m->details->action->task.len, 0);
    finish_task(&w, "a0", OUTCOME(SUCCEEDED));
    world_until(&w, s->closed);
    m = s->messages[s->count - 1];
    ck_assert_int_eq(m->details->action->status->phase, 5);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

/* ---- WatchActions ---- */

static void open_actions_watch(struct world *w, struct stream *s, Flyteidl2__Common__Filter *filter)
{
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Flyteidl2__Workflow__WatchActionsRequest request =
        FLYTEIDL2__WORKFLOW__WATCH_ACTIONS_REQUEST__INIT;
    request.run_id = &ids.run;
    if (filter != NULL) {
        request.n_filter = 1;
        request.filter = &filter;
    }
    stream_open(w, s, RUN "WatchActions", &request.base,
                &flyteidl2__workflow__watch_actions_response__descriptor, true);
}

/* The last phase that the stream told of an action; 0: nothing. */
static int phase_told(const struct stream *s, const char *name)
{
    int phase = 0;
    for (size_t i = 0; i < s->count; i++) {
        const Flyteidl2__Workflow__WatchActionsResponse *m = s->messages[i];
        for (size_t n = 0; n < m->n_enriched_actions; n++) {
            if (strcmp(m->enriched_actions[n]->action->id->name, name) == 0)
                phase = (int)m->enriched_actions[n]->action->status->phase;
        }
    }
    return phase;
}

START_TEST(actions_and_their_changes)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 100);
    enqueue_batch(&w, &b);
    struct stream *s = sy_new(struct stream);
    open_actions_watch(&w, s, NULL);
    world_until(&w, phase_told(s, "n-000099") != 0);
    ck_assert_int_ne(phase_told(s, "a0"), 0);
    ck_assert_int_ne(phase_told(s, "n-000000"), 0);
    finish_task(&w, "n-000042", OUTCOME(FAILED_FINAL));
    world_until(&w, phase_told(s, "n-000042") == 6);
    struct batch more;
    batch_init(&w, &more, "r", "a0", 100, 50);
    more.request.seal = true;
    w.automatic = true;
    enqueue_batch(&w, &more);
    for (unsigned i = 0; i < 100; i++) {
        if (i != 42)
            finish_task(&w, b.names[i], OUTCOME(SUCCEEDED));
    }
    world_until(&w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_OK);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_eq(phase_told(s, b.names[i]), i == 42 ? 6 : 5);
    for (unsigned i = 0; i < 50; i++)
        ck_assert_int_eq(phase_told(s, more.names[i]), 5);
    ck_assert_int_eq(phase_told(s, "a0"), 6); /* a child failed */
    stream_close(s);
    open_actions_watch(&w, s, NULL); /* of a run that has ended: all of it, then the end */
    world_until(&w, s->closed);
    ck_assert_int_eq(phase_told(s, "a0"), 6);
    ck_assert_int_eq(phase_told(s, "n-000149"), 5);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

/* The watch begins at every possible moment of a run: its last word is always the truth. */
START_TEST(no_update_is_lost_between_list_and_changes)
{
    for (int turns = 0; turns < 60; turns += 1 + _i) {
        struct world w;
        world_init_for(&w, _i);
        create_run(&w, "r", "switchyard.group");
        w.automatic = true;
        struct batch b;
        batch_init(&w, &b, "r", "a0", 0, 20);
        b.request.seal = true;
        struct reply reply;
        call_start(&w,
                   &(struct call){.method = NATIVE "EnqueueActions", .request = &b.request.base},
                   &reply);
        for (int i = 0; i < turns; i++)
            world_turn(&w);
        struct stream *s = sy_new(struct stream);
        open_actions_watch(&w, s, NULL);
        world_until(&w, s->closed);
        ck_assert_int_eq(s->code, SY_CODE_OK);
        for (unsigned i = 0; i < 20; i++)
            ck_assert_msg(phase_told(s, b.names[i]) == 5, "turn %d, %s: %d", turns, b.names[i],
                          phase_told(s, b.names[i]));
        ck_assert_int_eq(phase_told(s, "a0"), 5);
        stream_close(s);
        free(s);
        sy_buf_deinit(&reply.bytes);
        world_deinit(&w);
    }
}
END_TEST

START_TEST(filtered_actions)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 5);
    enqueue_batch(&w, &b);
    char *names[] = {b.names[3]};
    Flyteidl2__Common__Filter filter = FLYTEIDL2__COMMON__FILTER__INIT;
    filter.field = text_of("name");
    filter.n_values = 1;
    filter.values = names;
    struct stream *s = sy_new(struct stream);
    open_actions_watch(&w, s, &filter);
    world_until(&w, phase_told(s, b.names[3]) != 0);
    ck_assert_int_eq(phase_told(s, b.names[2]), 0);
    stream_close(s);
    filter.field = text_of("created_at");
    open_actions_watch(&w, s, &filter);
    world_until(&w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(s->text.text, "created_at"));
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

/* ---- WatchRuns ---- */

static int run_phase_told(const struct stream *s, const char *name)
{
    int phase = 0;
    for (size_t i = 0; i < s->count; i++) {
        const Flyteidl2__Workflow__WatchRunsResponse *m = s->messages[i];
        for (size_t n = 0; n < m->n_runs; n++) {
            if (strcmp(m->runs[n]->action->id->run->name, name) == 0)
                phase = (int)m->runs[n]->action->status->phase;
        }
    }
    return phase;
}

/* Of each partition: two at once, and one for each 10 ms. */
static size_t runs_messages_max(const struct world *w, int64_t since_ns)
{
    return w->partitions * (2 + (size_t)((w->now_ns - since_ns) / (10 * SY_NS_PER_MS)));
}

START_TEST(runs_of_all_partitions)
{
    struct world w;
    world_init_for(&w, _i);
    w.automatic = true;
    char name[16];
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof(name), "run-%u", i);
        create_run(&w, name, "switchyard.group");
    }
    struct stream *s = sy_new(struct stream);
    Flyteidl2__Workflow__WatchRunsRequest request = FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    request.target_case = FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__TARGET_PROJECT_ID;
    request.project_id = &project;
    project.name = text_of("p");
    project.domain = text_of("d");
    stream_open(&w, s, RUN "WatchRuns", &request.base,
                &flyteidl2__workflow__watch_runs_response__descriptor, true);
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof(name), "run-%u", i);
        world_until(&w, run_phase_told(s, name) != 0);
    }
    world_for(&w, SY_NS_PER_S);
    size_t before = s->count;
    int64_t since_ns = w.now_ns;
    for (unsigned i = 60; i < 90; i++) { /* new ones, and their end */
        snprintf(name, sizeof(name), "run-%u", i);
        create_run(&w, name, "switchyard.process");
    }
    for (unsigned i = 60; i < 90; i++) {
        snprintf(name, sizeof(name), "run-%u", i);
        world_until(&w, run_phase_told(s, name) == 5);
    }
    ck_assert_uint_le(s->count - before, runs_messages_max(&w, since_ns));
    ck_assert(!s->closed);
    stream_close(s);
    project.name = text_of("another");
    stream_open(&w, s, RUN "WatchRuns", &request.base,
                &flyteidl2__workflow__watch_runs_response__descriptor, true);
    world_for(&w, SY_NS_PER_S);
    ck_assert_uint_eq(s->count, 0);
    stream_close(s);
    world_for(&w, 10 * SY_NS_PER_MS);
    free(s);
    world_deinit(&w);
}
END_TEST

/* ---- WatchForUpdates ---- */

static void open_updates_watch(struct world *w, struct stream *s, const char *parent, bool reads)
{
    struct run_ids ids;
    ids_init(&ids, "r", parent);
    Flyteidl2__Actions__WatchForUpdatesRequest request =
        FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_REQUEST__INIT;
    request.filter_case = FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_REQUEST__FILTER_PARENT_ACTION_ID;
    request.parent_action_id = &ids.action;
    stream_open(w, s, ACTIONS "WatchForUpdates", &request.base,
                &flyteidl2__actions__watch_for_updates_response__descriptor, reads);
}

/* Where the sentinel is; -1: not there. */
static int sentinel_at(const struct stream *s)
{
    int at = -1;
    for (size_t i = 0; i < s->count; i++) {
        const Flyteidl2__Actions__WatchForUpdatesResponse *m = s->messages[i];
        if (m->message_case ==
            FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_RESPONSE__MESSAGE_CONTROL_MESSAGE) {
            ck_assert_int_eq(at, -1);
            ck_assert(m->control_message->sentinel);
            at = (int)i;
        }
    }
    return at;
}

static const Flyteidl2__Workflow__ActionUpdate *update_of(const struct stream *s, const char *name,
                                                          size_t *ret_at)
{
    const Flyteidl2__Workflow__ActionUpdate *found = NULL;
    for (size_t i = 0; i < s->count; i++) {
        const Flyteidl2__Actions__WatchForUpdatesResponse *m = s->messages[i];
        if (m->message_case ==
                FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_RESPONSE__MESSAGE_ACTION_UPDATE &&
            strcmp(m->action_update->action_id->name, name) == 0) {
            found = m->action_update;
            *ret_at = i;
        }
    }
    return found;
}

START_TEST(snapshot_sentinel_live)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct stream *s = sy_new(struct stream);
    open_updates_watch(&w, s, "a0", true);
    world_until(&w, s->count == 1); /* without children: the sentinel alone */
    ck_assert_int_eq(sentinel_at(s), 0);
    stream_close(s);
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 100);
    enqueue_batch(&w, &b);
    for (unsigned i = 0; i < 50; i++)
        finish_task(&w, b.names[i], i == 7 ? OUTCOME(FAILED_FINAL) : OUTCOME(SUCCEEDED));
    world_for(&w, 10 * SY_NS_PER_MS);
    open_updates_watch(&w, s, "a0", true);
    world_until(&w, sentinel_at(s) >= 0);
    ck_assert_int_eq(sentinel_at(s), 100);
    size_t at;
    for (unsigned i = 0; i < 100; i++) {
        const Flyteidl2__Workflow__ActionUpdate *u = update_of(s, b.names[i], &at);
        ck_assert_ptr_nonnull(u);
        ck_assert_uint_lt(at, 100);
        if (i >= 50)
            ck_assert_int_lt(u->phase, 5);
        else
            ck_assert_int_eq(u->phase, i == 7 ? 6 : 5);
        if (i == 7) {
            ck_assert_str_eq(u->error->code, "TaskError");
            ck_assert_int_eq(u->error->kind, FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__USER);
        }
    }
    finish_task(&w, b.names[77], OUTCOME(SUCCEEDED));
    world_until(&w, s->count > 101);
    ck_assert_int_eq(update_of(s, b.names[77], &at)->phase, 5);
    ck_assert_uint_ge(at, 101);
    ck_assert(!s->closed);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

/* The stream is opened at every moment of the children's lives, and each one's end is told. */
START_TEST(no_child_is_lost)
{
    for (int turns = 0; turns < 60; turns += 1 + _i) {
        struct world w;
        world_init_for(&w, _i);
        create_run(&w, "r", "switchyard.group");
        w.automatic = true;
        struct batch b;
        batch_init(&w, &b, "r", "a0", 0, 40);
        struct reply reply;
        call_start(&w,
                   &(struct call){.method = NATIVE "EnqueueActions", .request = &b.request.base},
                   &reply);
        for (int i = 0; i < turns; i++)
            world_turn(&w);
        struct stream *s = sy_new(struct stream);
        open_updates_watch(&w, s, "a0", true);
        world_for(&w, SY_NS_PER_S);
        ck_assert_int_ge(sentinel_at(s), 0);
        for (unsigned i = 0; i < 40; i++) {
            size_t at;
            const Flyteidl2__Workflow__ActionUpdate *u = update_of(s, b.names[i], &at);
            ck_assert_msg(u != NULL && u->phase == 5, "turn %d: %s", turns, b.names[i]);
        }
        stream_close(s);
        free(s);
        sy_buf_deinit(&reply.bytes);
        world_deinit(&w);
    }
}
END_TEST

START_TEST(updates_for_a_reader_that_stops)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    w.automatic = true;
    struct batch b;
    struct stream *s = sy_new(struct stream);
    open_updates_watch(&w, s, "a0", false);
    for (unsigned first = 0; first < 3000; first += 500) {
        batch_init(&w, &b, "r", "a0", first, 500);
        b.request.seal = first == 2500;
        enqueue_batch(&w, &b);
    }
    world_for(&w, SY_NS_PER_S);
    stream_resume(s);
    world_until(&w, s->closed); /* the parent has ended: nothing more can come */
    ck_assert_int_eq(s->code, SY_CODE_OK);
    ck_assert_int_ge(sentinel_at(s), 0);
    char name[16];
    size_t at;
    for (unsigned i = 0; i < 3000; i += 37) {
        snprintf(name, sizeof(name), "n-%06u", i);
        const Flyteidl2__Workflow__ActionUpdate *u = update_of(s, name, &at);
        ck_assert_msg(u != NULL && u->phase == 5, "%s", name);
    }
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

/* ---- faults ---- */

START_TEST(watches_end_when_the_partition_steps_down)
{
    struct world w;
    world_init(&w, 1);
    create_run(&w, "r", "switchyard.group");
    struct stream *s = sy_calloc(6, sizeof(*s));
    open_run_watch(&w, &s[0], 0, false, true);
    open_details_watch(&w, &s[1], "a0");
    open_actions_watch(&w, &s[2], NULL);
    open_updates_watch(&w, &s[3], "a0", true);
    Flyteidl2__Workflow__WatchRunsRequest runs = FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__INIT;
    stream_open(&w, &s[4], RUN "WatchRuns", &runs.base,
                &flyteidl2__workflow__watch_runs_response__descriptor, true);
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Flyteidl2__Workflow__WatchRunDetailsRequest details =
        FLYTEIDL2__WORKFLOW__WATCH_RUN_DETAILS_REQUEST__INIT;
    details.run_id = &ids.run;
    stream_open(&w, &s[5], RUN "WatchRunDetails", &details.base,
                &flyteidl2__workflow__watch_run_details_response__descriptor, true);
    world_for(&w, 50 * SY_NS_PER_MS);
    for (int i = 0; i < 6; i++)
        ck_assert_msg(!s[i].closed && s[i].count > 0, "stream %d", i);
    cp_mem_disk_set(w.disks[0], 100 * SY_NS_PER_US, 0);
    struct create_request c;
    create_init(&w, &c, "x", "switchyard.group");
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_RESOURCE_EXHAUSTED, "disk");
    for (int i = 0; i < 6; i++) {
        world_until(&w, s[i].closed);
        ck_assert_msg(s[i].code == SY_CODE_UNAVAILABLE, "stream %d: %s", i,
                      sy_code_name(s[i].code));
        stream_close(&s[i]);
    }
    cp_mem_disk_set(w.disks[0], 100 * SY_NS_PER_US, -1);
    world_until(&w, cp_partition_serving(cp_shard_partition(w.shard, 0)));
    open_details_watch(&w, &s[0], "a0"); /* and clients watch again */
    world_until(&w, s[0].count == 1);
    stream_close(&s[0]);
    free(s);
    world_deinit(&w);
}
END_TEST

START_TEST(watches_of_what_does_not_exist)
{
    struct world w;
    world_init_for(&w, _i);
    struct stream *s = sy_new(struct stream);
    open_run_watch(&w, s, 0, false, true);
    world_until(&w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_NOT_FOUND);
    stream_close(s);
    create_run(&w, "r", "switchyard.group");
    open_details_watch(&w, s, "ghost");
    world_until(&w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(s->text.text, "ghost"));
    stream_close(s);
    open_updates_watch(&w, s, "gh\x02st", true);
    world_until(&w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_INVALID_ARGUMENT);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

START_TEST(cluster_events_end_at_once)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "events", "switchyard.process");
    struct run_ids ids;
    ids_init(&ids, "events", "a0");
    Flyteidl2__Workflow__WatchClusterEventsRequest request =
        FLYTEIDL2__WORKFLOW__WATCH_CLUSTER_EVENTS_REQUEST__INIT;
    request.id = &ids.action;
    struct stream *s = sy_new(struct stream);
    stream_open(&w, s, RUN "WatchClusterEvents", &request.base,
                &flyteidl2__workflow__watch_cluster_events_response__descriptor, true);
    world_until(&w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_OK);
    ck_assert_uint_eq(s->count, 0);
    stream_close(s);
    ids.action.name = text_of("none");
    stream_open(&w, s, RUN "WatchClusterEvents", &request.base,
                &flyteidl2__workflow__watch_cluster_events_response__descriptor, true);
    world_until(&w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_NOT_FOUND);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {cluster_events_end_at_once,
                                 every_event_in_order_from_any_sequence,
                                 final_events_only,
                                 a_reader_that_stops_loses_nothing,
                                 a_live_watch_follows,
                                 details_at_once_and_after_each_change,
                                 details_in_a_busy_run,
                                 run_details,
                                 actions_and_their_changes,
                                 no_update_is_lost_between_list_and_changes,
                                 filtered_actions,
                                 runs_of_all_partitions,
                                 snapshot_sentinel_live,
                                 no_child_is_lost,
                                 updates_for_a_reader_that_stops,
                                 watches_of_what_does_not_exist,
                                 NULL};
    const TTest *const once[] = {watches_end_when_the_partition_steps_down, NULL};
    return world_tests("cp_watch", each, once);
}
