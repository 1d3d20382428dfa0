/* links: cp */
/* Results that exist already: a retried parent, a recovered run, the cache. */
#include "tests/unit/cp_world.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"
#include "tests/unit/cp_program.h"

#define KIND_USER SWITCHYARD__INTERNAL__ERROR_KIND__ERROR_KIND_USER

static void end_ok(struct world *w, const char *name)
{
    end_child(w, name, OUTCOME(SUCCEEDED), "", 0);
}

static void end_failed(struct world *w, const char *name)
{
    end_child(w, name, OUTCOME(FAILED), "ValueError", KIND_USER);
}

/* How often the operator was given an action of this name. */
static unsigned times_assigned(struct world *w, const char *name)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < w->partitions; i++) {
        for (size_t n = 0; n < w->streams[i].count; n++)
            count += strcmp(w->streams[i].attempts[n].name, name) == 0;
    }
    return count;
}

static void settle(struct world *w)
{
    world_for(w, 100 * SY_NS_PER_MS);
}

static bool synced(const struct stream *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const Flyteidl2__Actions__WatchForUpdatesResponse *m = s->messages[i];
        if (m->message_case ==
            FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_RESPONSE__MESSAGE_CONTROL_MESSAGE)
            return true;
    }
    return false;
}

/* A new watch of that parent, when its snapshot is complete. */
static struct stream *snapshot(struct world *w, const char *run, const char *parent)
{
    struct stream *s = sy_new(struct stream);
    struct run_ids ids;
    Flyteidl2__Actions__WatchForUpdatesRequest request =
        FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_REQUEST__INIT;
    request.filter_case = FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_REQUEST__FILTER_PARENT_ACTION_ID;
    ids_init(&ids, run, parent);
    request.parent_action_id = &ids.action;
    stream_open(w, s, ACTIONS "WatchForUpdates", &request.base,
                &flyteidl2__actions__watch_for_updates_response__descriptor, true);
    world_until(w, synced(s));
    return s;
}

static void close_stream(struct stream *s)
{
    stream_close(s);
    free(s);
}

static void enqueue_below(struct world *w, const char *run, const char *parent, const char *name)
{
    struct enqueue_request e;
    enqueue_init(w, &e, run, parent, name);
    e.task.spec = bytes_of(task_spec(w, "python", "1"));
    call_ok(w, ACTIONS "Enqueue", &e.request.base, NULL);
}

static Flyteidl2__Workflow__ActionDetails *details(struct world *w, const char *run,
                                                   const char *name)
{
    struct run_ids ids;
    ids_init(&ids, run, name);
    Flyteidl2__Workflow__GetActionDetailsRequest get =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DETAILS_REQUEST__INIT;
    get.action_id = &ids.action;
    Flyteidl2__Workflow__GetActionDetailsResponse *response = call_ok(
        w, RUN "GetActionDetails", &get.base,
        &flyteidl2__workflow__get_action_details_response__descriptor);
    return response->details;
}

/* ---- a parent that is retried ---- */

static void retried_parent(struct world *w, bool restart)
{
    create_run(w, "r", "python");
    struct fake_stream *operator;
    struct fake_attempt *root = assigned(w, "a0", &operator);
    enqueue_flyte(w, "good");
    enqueue_flyte(w, "bad");
    enqueue_flyte(w, "slow");
    struct stream *s = snapshot(w, "r", "a0");
    end_ok(w, "good");
    end_failed(w, "bad");
    world_until(w, heard(s, "good", 5) && heard(s, "bad", 6)); /* this attempt hears of it */
    close_stream(s);
    fake_finish(operator, root, OUTCOME(LOST), "");
    settle(w);
    if (restart)
        world_restart(w);
    root = assigned(w, "a0", &operator);
    ck_assert_uint_eq(root->number, 2);
    s = snapshot(w, "r", "a0");
    ck_assert(heard(s, "good", 5));
    ck_assert_ptr_null(last_update(s, "bad")); /* it failed under another attempt */
    ck_assert_ptr_nonnull(last_update(s, "slow"));
    unsigned good = times_assigned(w, "good"), slow = times_assigned(w, "slow");
    enqueue_flyte(w, "good");
    enqueue_flyte(w, "slow");
    enqueue_flyte(w, "bad");
    (void)assigned(w, "bad", &operator); /* it runs again; the others do not */
    ck_assert_uint_eq(times_assigned(w, "good"), good);
    ck_assert_uint_eq(times_assigned(w, "slow"), slow);
    enqueue_flyte(w, "bad"); /* repeated */
    end_ok(w, "bad");
    world_until(w, heard(s, "bad", 5));
    close_stream(s);
    s = snapshot(w, "r", "a0");
    ck_assert(heard(s, "bad", 5));
    close_stream(s);
    ck_assert_int_eq(details(w, "r", "bad")->status->phase, 5);
}

START_TEST(a_retried_parent_finds_what_succeeded)
{
    struct world w;
    world_init_for(&w, _i);
    retried_parent(&w, false);
    world_deinit(&w);
}
END_TEST

START_TEST(a_retried_parent_after_a_restart)
{
    struct world w;
    world_init_for(&w, _i);
    retried_parent(&w, true);
    world_deinit(&w);
}
END_TEST

START_TEST(a_child_that_is_made_again_finds_its_children)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "python");
    struct fake_stream *operator;
    struct fake_attempt *root = assigned(&w, "a0", &operator);
    enqueue_flyte(&w, "kid");
    (void)assigned(&w, "kid", &operator);
    enqueue_below(&w, "r", "kid", "good");
    enqueue_below(&w, "r", "kid", "bad");
    end_ok(&w, "good");
    end_failed(&w, "bad");
    end_failed(&w, "kid");
    settle(&w);
    fake_finish(operator, root, OUTCOME(LOST), "");
    settle(&w);
    (void)assigned(&w, "a0", &operator);
    enqueue_flyte(&w, "kid");
    ck_assert_uint_eq(assigned(&w, "kid", &operator)->number, 1); /* a new action */
    struct stream *s = snapshot(&w, "r", "kid");
    ck_assert_ptr_null(last_update(s, "bad"));
    unsigned good = times_assigned(&w, "good");
    enqueue_below(&w, "r", "kid", "good");
    enqueue_below(&w, "r", "kid", "bad");
    world_until(&w, heard(s, "good", 5));
    ck_assert_str_eq(last_update(s, "good")->output_uri, "/data/kid/1");
    ck_assert_uint_eq(times_assigned(&w, "good"), good);
    end_ok(&w, "bad");
    world_until(&w, heard(s, "bad", 5));
    close_stream(s);
    world_deinit(&w);
}
END_TEST

/* Native parents decide themselves: what failed is reported to them. */
START_TEST(native_children_stay_as_they_are)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.process");
    struct fake_stream *operator;
    struct fake_attempt *root = assigned(&w, "a0", &operator);
    enqueue_flyte(&w, "bad");
    end_failed(&w, "bad");
    settle(&w);
    fake_finish(operator, root, OUTCOME(LOST), "");
    settle(&w);
    (void)assigned(&w, "a0", &operator);
    unsigned bad = times_assigned(&w, "bad");
    enqueue_flyte(&w, "bad");
    settle(&w);
    ck_assert_uint_eq(times_assigned(&w, "bad"), bad);
    struct stream *s = snapshot(&w, "r", "a0");
    ck_assert(heard(s, "bad", 6));
    close_stream(s);
    world_deinit(&w);
}
END_TEST

/* ---- cache ---- */

/* A Python task whose outputs are cached. */
static struct sy_span cached_spec(struct world *w, bool serialized, int64_t max_age_s)
{
    Flyteidl2__Task__TaskSpec *spec = pb_unpack(&flyteidl2__task__task_spec__descriptor, &w->arena,
                                                task_spec(w, "python", "1"));
    Flyteidl2__Core__TaskMetadata metadata = FLYTEIDL2__CORE__TASK_METADATA__INIT;
    Google__Protobuf__Duration max_age = GOOGLE__PROTOBUF__DURATION__INIT;
    max_age.seconds = max_age_s;
    metadata.discoverable = true;
    metadata.discovery_version = text_of("v1");
    metadata.cache_serializable = serialized;
    metadata.cache_max_age = max_age_s > 0 ? &max_age : NULL;
    spec->task_template->metadata = &metadata;
    struct sy_buf SY_CLEANUP(sy_buf_deinit) buf = {0};
    pb_pack(&spec->base, &buf);
    uint8_t *copy = sy_arena_alloc(&w->arena, buf.len);
    memcpy(copy, buf.data, buf.len);
    return (struct sy_span){copy, buf.len};
}

static void enqueue_cached(struct world *w, const char *run, const char *name, const char *key,
                           struct sy_span spec)
{
    struct enqueue_request e;
    Google__Protobuf__StringValue value = GOOGLE__PROTOBUF__STRING_VALUE__INIT;
    enqueue_init(w, &e, run, "a0", name);
    value.value = text_of(key);
    e.task.spec = bytes_of(spec);
    e.task.cache_key = &value;
    call_ok(w, ACTIONS "Enqueue", &e.request.base, NULL);
}

/* A run with its root in its first attempt. One partition: that is what a cache spans. */
static void start_run(struct world *w, const char *name, Flyteidl2__Task__CacheConfig *cache)
{
    struct create_request c;
    create_init(w, &c, name, "python");
    c.run_spec.cache_config = cache;
    call_ok(w, RUN "CreateRun", &c.request.base, NULL);
    struct fake_stream *operator;
    assigned(w, "a0", &operator)->ended = true; /* it runs on; the next "a0" is another's */
}

static Flyteidl2__Core__CatalogCacheStatus cache_status(struct world *w, const char *run,
                                                        const char *name)
{
    return details(w, run, name)->status->cache_status;
}
#define CACHE(status) FLYTEIDL2__CORE__CATALOG_CACHE_STATUS__CACHE_##status

START_TEST(outputs_are_taken_from_the_cache)
{
    struct world w;
    world_init(&w, 1);
    struct sy_span spec = cached_spec(&w, false, 0), young = cached_spec(&w, false, 60);
    start_run(&w, "r1", NULL);
    enqueue_cached(&w, "r1", "first", "k", spec);
    enqueue_cached(&w, "r1", "broken", "k2", spec);
    end_ok(&w, "first");
    end_failed(&w, "broken");
    settle(&w);
    ck_assert_int_eq(cache_status(&w, "r1", "first"), CACHE(POPULATED));
    ck_assert_int_eq(cache_status(&w, "r1", "broken"), CACHE(MISS));

    start_run(&w, "r2", NULL);
    struct stream *s = snapshot(&w, "r2", "a0");
    enqueue_cached(&w, "r2", "hit", "k", spec);
    world_until(&w, heard(s, "hit", 5));
    ck_assert_str_eq(last_update(s, "hit")->output_uri, "/data/kid/1");
    ck_assert_uint_eq(times_assigned(&w, "hit"), 0);
    const Flyteidl2__Workflow__ActionDetails *d = details(&w, "r2", "hit");
    ck_assert_int_eq(d->status->cache_status, CACHE(HIT));
    ck_assert_uint_eq(d->n_attempts, 1);
    const Flyteidl2__Common__ActionIdentifier *source =
        d->attempts[0]->cache_metadata->source_action_attempt->action_id;
    ck_assert_str_eq(source->name, "first");
    ck_assert_str_eq(source->run->name, "r1");
    ck_assert_str_eq(d->attempts[0]->cluster, "c1");
    enqueue_cached(&w, "r2", "failed-before", "k2", spec); /* a failure is no output */
    (void)end_ok(&w, "failed-before");

    Flyteidl2__Task__CacheConfig overwrite = FLYTEIDL2__TASK__CACHE_CONFIG__INIT;
    overwrite.overwrite_cache = true;
    start_run(&w, "r3", &overwrite);
    enqueue_cached(&w, "r3", "anew", "k", spec);
    end_ok(&w, "anew");
    settle(&w);
    ck_assert_int_eq(cache_status(&w, "r3", "anew"), CACHE(POPULATED));

    world_restart(&w); /* the cache outlives the shard; outputs may be too old for a task */
    world_for(&w, 61 * SY_NS_PER_S);
    enqueue_cached(&w, "r2", "later", "k", spec);
    settle(&w);
    ck_assert_int_eq(cache_status(&w, "r2", "later"), CACHE(HIT));
    enqueue_cached(&w, "r2", "too-old", "k", young);
    end_ok(&w, "too-old");
    close_stream(s);
    world_deinit(&w);
}
END_TEST

START_TEST(the_scope_of_a_lookup)
{
    struct world w;
    world_init(&w, 1);
    struct sy_span spec = cached_spec(&w, false, 0);
    struct create_request c;
    create_init(&w, &c, "r1", "python");
    c.ids.run.project = text_of("other");
    call_ok(&w, RUN "CreateRun", &c.request.base, NULL);
    struct fake_stream *operator;
    assigned(&w, "a0", &operator)->ended = true;
    struct enqueue_request e;
    Google__Protobuf__StringValue value = GOOGLE__PROTOBUF__STRING_VALUE__INIT;
    enqueue_init(&w, &e, "r1", "a0", "first");
    e.ids.run.project = text_of("other");
    value.value = text_of("k");
    e.task.spec = bytes_of(spec);
    e.task.cache_key = &value;
    call_ok(&w, ACTIONS "Enqueue", &e.request.base, NULL);
    end_ok(&w, "first");
    settle(&w);

    Flyteidl2__Task__CacheConfig narrow = FLYTEIDL2__TASK__CACHE_CONFIG__INIT;
    narrow.cache_lookup_scope =
        FLYTEIDL2__TASK__CACHE_LOOKUP_SCOPE__CACHE_LOOKUP_SCOPE_PROJECT_DOMAIN;
    start_run(&w, "r2", &narrow);
    enqueue_cached(&w, "r2", "here-only", "k", spec);
    (void)assigned(&w, "here-only", &operator);
    start_run(&w, "r3", NULL);
    enqueue_cached(&w, "r3", "anywhere", "k", spec);
    settle(&w);
    ck_assert_int_eq(cache_status(&w, "r3", "anywhere"), CACHE(HIT));
    world_deinit(&w);
}
END_TEST

START_TEST(one_produces_while_others_wait)
{
    struct world w;
    world_init(&w, 1);
    struct sy_span spec = cached_spec(&w, true, 0);
    start_run(&w, "r1", NULL);
    start_run(&w, "r2", NULL);
    enqueue_cached(&w, "r1", "one", "k", spec);
    enqueue_cached(&w, "r2", "two", "k", spec);
    enqueue_cached(&w, "r2", "other", "k2", spec);
    struct fake_stream *operator;
    (void)assigned(&w, "one", &operator);
    (void)assigned(&w, "other", &operator);
    settle(&w);
    ck_assert_uint_eq(times_assigned(&w, "two"), 0);
    world_restart(&w);
    (void)assigned(&w, "one", &operator);
    settle(&w);
    ck_assert_uint_eq(times_assigned(&w, "two"), 0);
    end_ok(&w, "one");
    settle(&w);
    ck_assert_uint_eq(times_assigned(&w, "two"), 0);
    const Flyteidl2__Workflow__ActionDetails *d = details(&w, "r2", "two");
    ck_assert_int_eq(d->status->phase, 5);
    ck_assert_int_eq(d->status->cache_status, CACHE(HIT));
    ck_assert_str_eq(d->attempts[0]->outputs->output_uri, "/data/kid/1");
    world_deinit(&w);
}
END_TEST

START_TEST(a_root_is_cached_by_its_inputs)
{
    struct world w;
    world_init(&w, 1);
    Flyteidl2__Common__OffloadedInputData inputs = FLYTEIDL2__COMMON__OFFLOADED_INPUT_DATA__INIT;
    inputs.uri = text_of("/in/inputs.pb");
    struct fake_stream *operator;
    const char *const runs[] = {"r1", "r2", "r3"}, *const hashes[] = {"h", "h", "i"};
    for (int i = 0; i < 3; i++) {
        struct create_request c;
        create_init(&w, &c, runs[i], "python");
        inputs.inputs_hash = text_of(hashes[i]);
        c.request.task_spec = bytes_of(cached_spec(&w, false, 0));
        c.request.input_wrapper_case =
            FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER_OFFLOADED_INPUT_DATA;
        c.request.offloaded_input_data = &inputs;
        call_ok(&w, RUN "CreateRun", &c.request.base, NULL);
        if (i != 1)
            end_ok(&w, "a0");
        settle(&w);
        ck_assert_int_eq(details(&w, runs[i], "a0")->status->phase, 5);
        ck_assert_int_eq(cache_status(&w, runs[i], "a0"), i == 1 ? CACHE(HIT) : CACHE(POPULATED));
    }
    ck_assert_uint_eq(times_assigned(&w, "a0"), 2);
    (void)operator;
    world_deinit(&w);
}
END_TEST

/* ---- recovery ---- */

static void record_trace(struct world *w, const char *run, const char *name)
{
    struct enqueue_request e;
    Flyteidl2__Workflow__TraceAction trace = FLYTEIDL2__WORKFLOW__TRACE_ACTION__INIT;
    Flyteidl2__Task__OutputReferences outputs = FLYTEIDL2__TASK__OUTPUT_REFERENCES__INIT;
    enqueue_init(w, &e, run, "a0", name);
    outputs.output_uri = text_of("/trace.pb");
    trace.name = text_of("traced");
    trace.phase = 5;
    trace.outputs = &outputs;
    e.action.spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_TRACE;
    e.action.trace = &trace;
    call_ok(w, ACTIONS "Enqueue", &e.request.base, NULL);
}

/* p/d/r with two children that succeeded, one that failed, a trace; then it fails. */
static void failed_run(struct world *w)
{
    create_run(w, "r", "python");
    const char *const names[] = {"good", "forced", "bad"};
    for (int i = 0; i < 3; i++)
        enqueue_flyte(w, names[i]);
    record_trace(w, "r", "traced");
    end_ok(w, "good");
    end_ok(w, "forced");
    end_failed(w, "bad");
    settle(w);
    end_failed(w, "a0");
    settle(w);
}

struct recover_request {
    struct create_request create;
    Flyteidl2__Common__Relation relation;
    Flyteidl2__Common__RunIdentifier source;
    Flyteidl2__Task__Recover recover;
    char *forced[1];
};

static void recover_init(struct world *w, struct recover_request *r, const char *name)
{
    create_init(w, &r->create, name, "python");
    flyteidl2__common__relation__init(&r->relation);
    flyteidl2__common__run_identifier__init(&r->source);
    flyteidl2__task__recover__init(&r->recover);
    r->source.project = text_of("p");
    r->source.domain = text_of("d");
    r->source.name = text_of("r");
    r->relation.related_to = &r->source;
    r->relation.relation_type = FLYTEIDL2__COMMON__RELATION_TYPE__RELATION_TYPE_RECOVER;
    r->forced[0] = text_of("forced");
    r->recover.n_force_rerun_actions = 1;
    r->recover.force_rerun_actions = r->forced;
    r->create.run_spec.relation = &r->relation;
    r->create.run_spec.recover = &r->recover;
}

START_TEST(a_recovered_run)
{
    struct world w;
    world_init_for(&w, _i);
    failed_run(&w);
    struct recover_request r;
    recover_init(&w, &r, NULL);
    Flyteidl2__Workflow__CreateRunResponse *created = call_ok(
        &w, RUN "CreateRun", &r.create.request.base,
        &flyteidl2__workflow__create_run_response__descriptor);
    const char *run = created->run->action->id->run->name;
    struct fake_stream *operator;
    (void)assigned(&w, "a0", &operator); /* the root did not succeed */
    struct stream *s = snapshot(&w, run, "a0");
    ck_assert(heard(s, "traced", 10)); /* RECOVERED */
    ck_assert_str_eq(last_update(s, "traced")->output_uri, "/trace.pb");
    ck_assert_ptr_null(last_update(s, "good"));
    unsigned good = times_assigned(&w, "good"), forced = times_assigned(&w, "forced");
    enqueue_below(&w, run, "a0", "good");
    enqueue_below(&w, run, "a0", "forced");
    enqueue_below(&w, run, "a0", "bad");
    world_until(&w, heard(s, "good", 10));
    ck_assert_str_eq(last_update(s, "good")->output_uri, "/data/kid/1");
    (void)assigned(&w, "bad", &operator);
    (void)assigned(&w, "forced", &operator);
    ck_assert_uint_eq(times_assigned(&w, "good"), good);
    ck_assert_uint_eq(times_assigned(&w, "forced"), forced + 1);
    const Flyteidl2__Workflow__ActionDetails *d = details(&w, run, "good");
    ck_assert_int_eq(d->status->phase, 10);
    ck_assert_str_eq(d->metadata->recovered_from->name, "good");
    ck_assert_str_eq(d->metadata->recovered_from->run->name, "r");
    close_stream(s);

    recover_init(&w, &r, NULL);
    r.source.name = text_of("never-was");
    call_fails(&w, RUN "CreateRun", &r.create.request.base, SY_CODE_NOT_FOUND, "to recover");
    r.source.domain = text_of("");
    call_fails(&w, RUN "CreateRun", &r.create.request.base, SY_CODE_INVALID_ARGUMENT, "related_to");
    world_deinit(&w);
}
END_TEST

START_TEST(a_recovered_run_lies_with_its_source)
{
    struct world w;
    world_init(&w, 3);
    failed_run(&w);
    unsigned refused = 0;
    char name[16];
    for (unsigned i = 0; i < 20; i++) {
        struct recover_request r;
        snprintf(name, sizeof(name), "again-%u", i);
        recover_init(&w, &r, name);
        struct call call = {.method = RUN "CreateRun", .request = &r.create.request.base};
        struct sy_error_text text;
        enum sy_code code = call_full(&w, &call, NULL, NULL, &text);
        ck_assert(code == SY_CODE_OK || strstr(text.text, "leave the name out"));
        refused += code != SY_CODE_OK;
    }
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_lt(refused, 20);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {a_retried_parent_finds_what_succeeded,
                                 a_retried_parent_after_a_restart,
                                 a_child_that_is_made_again_finds_its_children,
                                 native_children_stay_as_they_are,
                                 a_recovered_run,
                                 NULL};
    const TTest *const once[] = {
        outputs_are_taken_from_the_cache,     the_scope_of_a_lookup,
        one_produces_while_others_wait,       a_root_is_cached_by_its_inputs,
        a_recovered_run_lies_with_its_source, NULL};
    return world_tests("cp_reuse", each, once);
}
