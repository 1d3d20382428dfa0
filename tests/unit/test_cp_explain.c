/* links: cp */
/* switchyard.v1.ExplainService, over one partition and several. */
#include "tests/unit/cp_queue_requests.h"

#include "switchyard/v1/explain_service.pb-c.h"

#define EXPLAIN "/switchyard.v1.ExplainService/"

static Switchyard__V1__ExplainActionResponse *explain(struct world *w, const char *run,
                                                      const char *action)
{
    Switchyard__V1__ExplainActionRequest request = SWITCHYARD__V1__EXPLAIN_ACTION_REQUEST__INIT;
    struct run_ids ids;
    ids_init(&ids, run, action);
    request.run = &ids.native;
    request.action = text_of(action);
    return call_ok(w, EXPLAIN "ExplainAction", &request.base,
                   &switchyard__v1__explain_action_response__descriptor);
}

static enum sy_code explain_code(struct world *w, const char *run, const char *action)
{
    Switchyard__V1__ExplainActionRequest request = SWITCHYARD__V1__EXPLAIN_ACTION_REQUEST__INIT;
    struct run_ids ids;
    ids_init(&ids, run, action);
    request.run = &ids.native;
    request.action = text_of(action);
    struct call call = {.method = EXPLAIN "ExplainAction", .request = &request.base};
    struct sy_error_text text;
    return call_full(w, &call, NULL, NULL, &text);
}

struct dry_request {
    Switchyard__V1__DryRunRequest request;
    struct run_ids ids;
};

static void dry_init(struct world *w, struct dry_request *d, const char *run, const char *queue,
                     const char *cpu)
{
    switchyard__v1__dry_run_request__init(&d->request);
    ids_init(&d->ids, run, "");
    d->request.run = &d->ids.native;
    d->request.queue = text_of(queue);
    d->request.priority = 3;
    d->request.task_spec = bytes_of(task_spec(w, "switchyard.process", cpu));
}

static Switchyard__V1__DryRunResponse *dry_run(struct world *w, const char *run, const char *queue,
                                               const char *cpu)
{
    struct dry_request d;
    dry_init(w, &d, run, queue, cpu);
    return call_ok(w, EXPLAIN "DryRun", &d.request.base,
                   &switchyard__v1__dry_run_response__descriptor);
}

static void configure(struct world *w, const char *name, uint64_t actions_max, bool paused)
{
    struct queue_request q;
    queue_init(&q, "p", "d", name);
    q.settings.actions_max = actions_max;
    q.settings.paused = paused;
    queue_call(w, QUEUES "CreateQueue", &q);
}

static void submit(struct world *w, const char *run, const char *queue)
{
    struct create_request c;
    create_init(w, &c, run, "switchyard.process");
    c.run_spec.queue = text_of(queue);
    call_ok(w, RUN "CreateRun", &c.request.base, NULL);
    world_for(w, 100 * SY_NS_PER_MS);
}

START_TEST(a_paused_queue_is_named)
{
    struct world w;
    world_init_for(&w, _i);
    configure(&w, "q", 0, true);
    submit(&w, "r", "q");
    const Switchyard__V1__ExplainActionResponse *r = explain(&w, "r", "");
    ck_assert_str_eq(r->action, "a0");
    const Switchyard__V1__Explanation *e = r->explanation;
    ck_assert_str_eq(e->state, "queued");
    ck_assert(e->waits && e->since_ns > 0 && e->since_ns <= world_realtime(&w));
    ck_assert_str_eq(e->queue->name, "q");
    ck_assert_uint_eq(e->n_limits, 1);
    ck_assert_int_eq(e->limits[0]->kind, SWITCHYARD__V1__LIMIT_KIND__LIMIT_KIND_PAUSED);
    ck_assert_uint_eq(e->n_changes, 1);
    ck_assert_int_eq(e->changes[0]->kind, SWITCHYARD__V1__CHANGE_KIND__CHANGE_KIND_RESUME);
    ck_assert_str_eq(e->changes[0]->queue->project, "p");
    ck_assert_uint_eq(e->n_clusters, 1);
    ck_assert_str_eq(e->clusters[0]->name, "c1");
    ck_assert(e->clusters[0]->eligible && e->clusters[0]->room);
    ck_assert_int_eq(e->estimate->basis, SWITCHYARD__V1__BASIS__BASIS_NEEDS_CHANGE);
    struct queue_request q;
    queue_init(&q, "p", "d", "q");
    queue_call(&w, QUEUES "ResumeQueue", &q);
    world_for(&w, SY_NS_PER_S);
    e = explain(&w, "r", "a0")->explanation;
    ck_assert_str_eq(e->state, "assigned"); /* as was said */
    ck_assert_str_eq(e->cluster, "c1");
    world_deinit(&w);
}
END_TEST

START_TEST(a_limit_is_named_and_the_oldest_that_waits)
{
    struct world w;
    world_init(&w, 1);
    configure(&w, "q", 1, false);
    struct create_request c;
    create_init(&w, &c, "r", "switchyard.group");
    c.run_spec.queue = text_of("q");
    call_ok(&w, RUN "CreateRun", &c.request.base, NULL);
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 3);
    enqueue_batch(&w, &b);
    world_for(&w, 100 * SY_NS_PER_MS);
    const Switchyard__V1__ExplainActionResponse *r = explain(&w, "r", "");
    ck_assert_str_eq(r->action, "n-000001");
    ck_assert_uint_eq(r->explanation->n_changes, 1);
    ck_assert_uint_eq(r->explanation->changes[0]->least, 2);
    ck_assert(r->explanation->ahead->own == 0 && r->explanation->behind->own == 1);
    ck_assert_uint_eq(explain(&w, "r", "n-000002")->explanation->n_changes, 2);
    r = explain(&w, "r", "a0");
    ck_assert(!r->explanation->waits && r->explanation->children == 3);
    ck_assert_int_eq(explain_code(&w, "r", "nobody"), SY_CODE_NOT_FOUND);
    ck_assert_int_eq(explain_code(&w, "nowhere", "a0"), SY_CODE_NOT_FOUND);
    ck_assert_int_eq(explain_code(&w, "r", "no name"), SY_CODE_INVALID_ARGUMENT);
    world_deinit(&w);
}
END_TEST

/* Lost once, then run to its end: two attempts, each with its times. */
START_TEST(a_finished_one_says_where_its_time_went)
{
    struct world w;
    world_init(&w, 1);
    submit(&w, "r", "");
    struct fake_stream *s = &w.streams[0];
    for (int attempt = 0; attempt < 2; attempt++) {
        ck_assert_uint_eq(s->count, (size_t)attempt + 1);
        world_for(&w, SY_NS_PER_S);
        if (attempt == 0) {
            fake_finish(s, &s->attempts[0], OUTCOME(LOST), "");
        } else {
            fake_start(s, &s->attempts[1]);
            world_for(&w, SY_NS_PER_S);
            const Switchyard__V1__ExplainActionResponse *live = explain(&w, "r", "a0");
            ck_assert_str_eq(live->explanation->state, "running");
            ck_assert_uint_eq(live->timeline->n_attempts, 2);
            ck_assert_int_gt(live->timeline->attempts[1]->started_ns, 0);
            fake_finish(s, &s->attempts[1], OUTCOME(SUCCEEDED), "out");
        }
        world_for(&w, SY_NS_PER_S);
    }
    const Switchyard__V1__ExplainActionResponse *r = explain(&w, "r", "");
    const Switchyard__V1__Timeline *t = r->timeline;
    ck_assert_ptr_null(r->explanation);
    ck_assert_int_eq(r->phase, SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED);
    ck_assert_uint_eq(t->n_attempts, 2);
    ck_assert(!t->reused && t->created_ns > 0 && t->finished_ns == t->attempts[1]->ended_ns);
    ck_assert_int_eq(t->attempts[0]->queued_ns, t->created_ns);
    ck_assert_ptr_nonnull(t->attempts[0]->error);
    ck_assert_int_eq(t->attempts[1]->queued_ns, t->attempts[0]->ended_ns);
    ck_assert(t->attempts[1]->started_ns >= t->attempts[1]->queued_ns);
    ck_assert_str_eq(t->attempts[1]->cluster, "c1");
    ck_assert_str_eq(t->attempts[1]->node, "n1");
    world_deinit(&w);
}
END_TEST

/* Its node's clock is a day off: what is told are durations. */
START_TEST(parts_of_an_attempt_are_measured_by_one_clock_each)
{
    struct world w;
    world_init(&w, 1);
    int64_t created_ns = world_realtime(&w);
    submit(&w, "r", "");
    struct fake_stream *s = &w.streams[0];
    world_for(&w, 10 * SY_NS_PER_S);
    const Switchyard__V1__Attempt *live = explain(&w, "r", "")->timeline->attempts[0];
    ck_assert(live->granted_ns >= created_ns && live->granted_ns < created_ns + SY_NS_PER_S);
    ck_assert(live->started_ns == 0 && live->reported_ns == 0);
    Switchyard__Internal__Outcome outcome = SWITCHYARD__INTERNAL__OUTCOME__INIT;
    outcome.kind = OUTCOME(LOST);
    outcome.held_ns = 2 * SY_NS_PER_S;
    outcome.waited_ns = 3 * SY_NS_PER_S;
    outcome.started_ns = created_ns - 86400 * SY_NS_PER_S;
    outcome.finished_ns = outcome.started_ns + 4 * SY_NS_PER_S;
    outcome.error_code = outcome.error_message = (char *)(uintptr_t) "x";
    fake_end(s, &s->attempts[0], &outcome);
    world_for(&w, SY_NS_PER_S);
    const Switchyard__V1__Timeline *t = explain(&w, "r", "")->timeline;
    const Switchyard__V1__Attempt *a = t->attempts[0];
    ck_assert(a->held_ns == 2 * SY_NS_PER_S && a->waited_ns == 3 * SY_NS_PER_S);
    ck_assert(a->ran_ns == 4 * SY_NS_PER_S && a->granted_ns == live->granted_ns);
    ck_assert(a->reported_ns >= created_ns + 10 * SY_NS_PER_S);
    ck_assert(a->reported_ns < created_ns + 11 * SY_NS_PER_S);
    ck_assert(t->attempts[1]->queued_ns == a->reported_ns);
    ck_assert(t->attempts[1]->granted_ns >= a->reported_ns); /* the next one is out */
    world_restart(&w); /* the operator knows of none: it is lost, and nobody knows since when */
    world_for(&w, SY_NS_PER_S);
    finish_task(&w, "a0", OUTCOME(SUCCEEDED));
    world_for(&w, SY_NS_PER_S);
    t = explain(&w, "r", "")->timeline;
    ck_assert(t->attempts[0]->held_ns == 2 * SY_NS_PER_S);
    ck_assert_int_gt(t->attempts[t->n_attempts - 1]->reported_ns, 0);
    world_deinit(&w);
}
END_TEST

START_TEST(a_dry_run_writes_nothing)
{
    struct world w;
    world_init_for(&w, _i);
    configure(&w, "q", 0, true);
    submit(&w, "taken", "q");
    const Switchyard__V1__DryRunResponse *r = dry_run(&w, "r", "", "1");
    ck_assert_str_eq(r->refused, "");
    ck_assert(r->explanation->starts_now && r->explanation->n_changes == 0);
    ck_assert_str_eq(r->explanation->cluster, "c1");
    ck_assert_str_eq(r->explanation->queue->name, "default");
    ck_assert_int_eq(r->explanation->priority, 3);
    r = dry_run(&w, "taken2", "q", "1");
    ck_assert(!r->explanation->starts_now && r->explanation->cluster[0] == '\0');
    ck_assert_int_eq(r->explanation->changes[0]->kind,
                     SWITCHYARD__V1__CHANGE_KIND__CHANGE_KIND_RESUME);
    ck_assert_ptr_nonnull(strstr(dry_run(&w, "r", "nowhere", "1")->refused, "no queue 'nowhere'"));
    ck_assert_ptr_nonnull(strstr(dry_run(&w, "taken", "", "1")->refused, "exists already"));
    r = dry_run(&w, "", "", "100");
    ck_assert_ptr_nonnull(strstr(r->refused, "100.000 cores asked, 64.000 cores there"));
    ck_assert_int_eq(r->explanation->changes[0]->kind,
                     SWITCHYARD__V1__CHANGE_KIND__CHANGE_KIND_NODE);
    ck_assert_uint_eq(r->explanation->changes[0]->space->cpu_milli, 100000);
    ck_assert_int_eq(explain_code(&w, "r", "a0"), SY_CODE_NOT_FOUND);
    world_deinit(&w);
}
END_TEST

START_TEST(a_dry_run_of_a_gang)
{
    struct world w;
    struct dry_request d;
    Switchyard__V1__Gang gang = SWITCHYARD__V1__GANG__INIT;
    world_init_for(&w, _i);
    configure(&w, "q", 2, false);
    dry_init(&w, &d, "r", "q", "20");
    d.request.members = 3;
    const ProtobufCMessageDescriptor *type = &switchyard__v1__dry_run_response__descriptor;
    const Switchyard__V1__DryRunResponse *r = call_ok(&w, EXPLAIN "DryRun", &d.request.base, type);
    ck_assert_str_eq(r->refused, "");
    ck_assert_uint_eq(r->explanation->members, 3);
    ck_assert_uint_eq(r->explanation->n_limits, 1);
    ck_assert_uint_eq(r->explanation->limits[0]->need, 3);
    ck_assert_uint_ge(r->explanation->changes[0]->least, 3);
    ck_assert_uint_eq(r->explanation->clusters[0]->holds, 3);
    d.request.members = 1000;
    r = call_ok(&w, EXPLAIN "DryRun", &d.request.base, type);
    ck_assert_ptr_nonnull(strstr(r->refused, "1000 x (20.000 cores) asked together, it holds "));
    ck_assert_uint_lt(r->explanation->clusters[0]->holds, 1000);
    ck_assert(!r->explanation->clusters[0]->eligible);
    struct sy_error_text text;
    struct call call = {.method = EXPLAIN "DryRun", .request = &d.request.base};
    d.request.gang = &gang;
    gang.topology = SWITCHYARD__V1__GANG__TOPOLOGY__TOPOLOGY_REQUIRE;
    ck_assert_int_eq(call_full(&w, &call, NULL, NULL, &text), SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(text.text, "gang.topology_key"));
    d.request.members = 1;
    ck_assert_int_eq(call_full(&w, &call, NULL, NULL, &text), SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(text.text, "1 members"));
    d.request.members = 3;
    d.request.gang = NULL;
    d.request.task_spec = bytes_of(task_spec(&w, "switchyard.group", "1"));
    ck_assert_int_eq(call_full(&w, &call, NULL, NULL, &text), SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(text.text, "gang: expected a switchyard.process"));
    world_deinit(&w);
}
END_TEST

/* One of "spare" runs, and there is no more room. */
static void world_that_is_full(struct world *w)
{
    struct queue_request q;
    world_init_stopped(w, 1);
    w->options.partition.reclaim_delay_ns = 60 * SY_NS_PER_S;
    world_connect(w);
    operator_connect(w);
    world_for(w, 10 * SY_NS_PER_MS);
    queue_init(&q, "p", "d", "spare");
    q.settings.preemptible = true;
    queue_call(w, QUEUES "CreateQueue", &q);
    queue_init(&q, "p", "d", "firm");
    q.settings.priority = 5;
    queue_call(w, QUEUES "CreateQueue", &q);
    submit(w, "low", "spare");
    world_for(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->streams[0].count, 1);
    fake_start(&w->streams[0], &w->streams[0].attempts[0]);
    world_for(w, SY_NS_PER_S);
    w->no_grants = true;
    struct create_request c;
    create_init(w, &c, "high", "switchyard.process");
    c.run_spec.queue = text_of("firm");
    c.spec = task_spec(w, "switchyard.process", "2");
    c.request.task_spec = bytes_of(c.spec);
    call_ok(w, RUN "CreateRun", &c.request.base, NULL);
    world_for(w, 100 * SY_NS_PER_MS);
}

START_TEST(what_would_stop_is_named_and_the_nodes_that_are_kept)
{
    struct world w;
    world_that_is_full(&w);
    const Switchyard__V1__Explanation *e = explain(&w, "high", "")->explanation;
    const Switchyard__V1__Displaced *d = e->clusters[0]->displaced;
    ck_assert(!e->clusters[0]->room && w.surveys == 1 && w.survey_queues == 1);
    ck_assert(w.survey_class > 0 && w.survey_cpu_milli == 2000);
    ck_assert(d && !d->room && d->count == 1 && d->n_attempts == 1);
    ck_assert_str_eq(d->attempts[0]->run->name, "low");
    ck_assert_str_eq(d->attempts[0]->action, "a0");
    ck_assert_str_eq(d->attempts[0]->queue->name, "spare");
    ck_assert_str_eq(d->attempts[0]->node, "n1");
    ck_assert_int_gt(d->attempts[0]->started_ns, 0);
    ck_assert_uint_eq(d->attempts[0]->attempt, 1);
    ck_assert_uint_eq(e->clusters[0]->n_kept_nodes, 1);
    ck_assert_str_eq(e->clusters[0]->kept_nodes[0]->node, "n1");
    ck_assert_uint_eq(e->clusters[0]->kept_nodes[0]->missing->cpu_milli, 500);
    e = dry_run(&w, "r", "firm", "2")->explanation;
    ck_assert_str_eq(e->clusters[0]->displaced->attempts[0]->run->name, "low");
    (void)dry_run(&w, "r", "spare", "2"); /* of the same: nobody stops for it */
    ck_assert(w.surveys == 3 && w.survey_queues == 0);
    world_deinit(&w);
}
END_TEST

/* No attempt of others runs there: the operator says that its room goes to others. */
START_TEST(room_that_others_get_is_said)
{
    struct world w;
    world_init(&w, 1);
    w.no_grants = true;
    submit(&w, "low", "");
    world_for(&w, 100 * SY_NS_PER_MS);
    const Switchyard__V1__Explanation *e = explain(&w, "low", "")->explanation;
    const Switchyard__V1__Displaced *d = e->clusters[0]->displaced;
    ck_assert(!e->clusters[0]->room && d && d->room && d->withheld && d->count == 0);
    world_deinit(&w);
}
END_TEST

/* Nobody waits for an operator for long, nor for one that leaves, nor does he when he hangs up. */
START_TEST(an_operator_that_does_not_answer_is_left_out)
{
    struct world w;
    world_that_is_full(&w);
    w.surveys_unanswered = true;
    int64_t before_ns = w.now_ns;
    const Switchyard__V1__Explanation *e = explain(&w, "high", "")->explanation;
    ck_assert(w.now_ns >= before_ns + 2 * SY_NS_PER_S && w.now_ns < before_ns + 3 * SY_NS_PER_S);
    ck_assert(w.surveys == 1 && !e->clusters[0]->displaced);
    ck_assert_str_eq(e->state, "queued");
    world_deinit(&w);
}
END_TEST

START_TEST(what_is_wrong_is_said)
{
    struct world w;
    world_init(&w, 1);
    struct dry_request d;
    struct sy_error_text text;
    struct call call = {.method = EXPLAIN "DryRun", .request = &d.request.base};
    dry_init(&w, &d, "r", "", "1");
    d.request.task_spec = (ProtobufCBinaryData){0};
    ck_assert_int_eq(call_full(&w, &call, NULL, NULL, &text), SY_CODE_INVALID_ARGUMENT);
    dry_init(&w, &d, "r", "no name", "1");
    ck_assert_int_eq(call_full(&w, &call, NULL, NULL, &text), SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(text.text, "queue"));
    dry_init(&w, &d, "r", "", "1");
    d.request.run = NULL;
    ck_assert_int_eq(call_full(&w, &call, NULL, NULL, &text), SY_CODE_INVALID_ARGUMENT);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {a_paused_queue_is_named, a_dry_run_writes_nothing,
                                 a_dry_run_of_a_gang, NULL};
    const TTest *const once[] = {a_limit_is_named_and_the_oldest_that_waits,
                                 a_finished_one_says_where_its_time_went,
                                 parts_of_an_attempt_are_measured_by_one_clock_each,
                                 what_would_stop_is_named_and_the_nodes_that_are_kept,
                                 room_that_others_get_is_said,
                                 an_operator_that_does_not_answer_is_left_out,
                                 what_is_wrong_is_said,
                                 NULL};
    return world_tests("cp_explain", each, once);
}
