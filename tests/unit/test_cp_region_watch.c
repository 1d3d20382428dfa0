/* links: cp sy_test_etcd */
/* Streams over all partitions of a region of several shards: what a client sees through any of
 * them while partitions move, shards die, stand still and are restarted one by one. */
#include "tests/unit/cp_region_world.h"

#include "controlplane/follow.h"

#define RUN "/flyteidl2.workflow.RunService/"
#define PHASE(name) FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_##name
#define BEGIN_S 1700000000

enum { RUNS_MAX = 10000, WATCHES = 2 * SHARDS };

/* A client's stream; what it has told so far. */
struct watch {
    struct world *world;
    struct sy_call *call; /* NULL: closed, or not opened */
    size_t shard;
    bool groups, sleeps; /* it does not read */
    size_t messages;
    enum sy_code code;
    char text[400];
    int phases[RUNS_MAX]; /* by the number in "run-N"; 0: not told */
    /* groups */
    bool sentinel;
    int64_t total, by_phase[16];
};

static struct watch watches[WATCHES];

/* ---- streams ---- */

static void see_run(struct watch *watch, const Flyteidl2__Workflow__Run *run)
{
    const char *name = run->action->id->run->name;
    ck_assert_int_eq(strncmp(name, "run-", 4), 0);
    size_t n = strtoul(name + 4, NULL, 10);
    if (n < RUNS_MAX)
        watch->phases[n] = (int)run->action->status->phase;
}

static void see_group(struct watch *watch, const Flyteidl2__Workflow__TaskGroup *group)
{
    ck_assert_str_eq(group->task_name, "demo.task");
    watch->total = group->total_runs;
    memset(watch->by_phase, 0, sizeof(watch->by_phase));
    for (size_t i = 0; i < group->n_phase_counts; i++)
        watch->by_phase[group->phase_counts[i]->phase] = group->phase_counts[i]->count;
}

static void on_watch_message(void *ctx, struct sy_span bytes)
{
    struct watch *watch = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, 16 << 20);
    watch->messages++;
    if (watch->groups) {
        const Flyteidl2__Workflow__WatchGroupsResponse *m = pb_unpack(
            &flyteidl2__workflow__watch_groups_response__descriptor, &arena, bytes);
        ck_assert_ptr_nonnull(m);
        watch->sentinel = watch->sentinel || m->sentinel;
        for (size_t i = 0; i < m->n_task_groups; i++)
            see_group(watch, m->task_groups[i]);
    } else {
        const Flyteidl2__Workflow__WatchRunsResponse *m = pb_unpack(
            &flyteidl2__workflow__watch_runs_response__descriptor, &arena, bytes);
        ck_assert_ptr_nonnull(m);
        for (size_t i = 0; i < m->n_runs; i++)
            see_run(watch, m->runs[i]);
    }
    sy_arena_deinit(&arena);
}

static void on_watch_closed(void *ctx, const struct sy_status *status)
{
    struct watch *watch = ctx;
    watch->code = status->code;
    snprintf(watch->text, sizeof(watch->text), "%s", status->message.text);
    sy_call_unref(sy_take(watch->call));
}

static const struct sy_call_sink watch_sink = {.on_message = on_watch_message,
                                               .on_closed = on_watch_closed};

static void open_call(struct watch *watch, const char *method, const ProtobufCMessage *m,
                      const struct sy_metadata *metadata, size_t count)
{
    struct world *w = watch->world;
    sy_rpc_mem_set_origin(w->rpc, "client");
    watch->call = sy_channel_open(
        w->shards[watch->shard].channel, w->loop,
        &(struct sy_call_options){.method = method, .metadata = metadata, .metadata_count = count},
        watch->sleeps ? NULL : &watch_sink, watch);
    struct sy_buf bytes = {0};
    pb_pack(m, &bytes);
    ck_assert_int_eq(sy_call_send(watch->call, &bytes), 0);
    sy_call_half_close(watch->call);
}

/* Of all runs of the project, with metadata of the test's own. */
static void open_runs_with(struct watch *watch, const struct sy_metadata *metadata, size_t count)
{
    Flyteidl2__Workflow__WatchRunsRequest m = FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    project.name = text_of("p");
    project.domain = text_of("d");
    m.target_case = FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__TARGET_PROJECT_ID;
    m.project_id = &project;
    open_call(watch, RUN "WatchRuns", &m.base, metadata, count);
}

static void open_groups(struct watch *watch, bool once)
{
    Flyteidl2__Workflow__WatchGroupsRequest m = FLYTEIDL2__WORKFLOW__WATCH_GROUPS_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    Google__Protobuf__Timestamp start = GOOGLE__PROTOBUF__TIMESTAMP__INIT, end = start;
    project.name = text_of("p");
    project.domain = text_of("d");
    start.seconds = BEGIN_S;
    end.seconds = BEGIN_S * 2L;
    m.scope_by_case = FLYTEIDL2__WORKFLOW__WATCH_GROUPS_REQUEST__SCOPE_BY_PROJECT_ID;
    m.project_id = &project;
    m.start_date = &start;
    m.end_date = once ? &end : NULL;
    open_call(watch, RUN "WatchGroups", &m.base, NULL, 0);
}

/* What was told before is forgotten: a client that begins anew. */
static struct watch *open_watch(struct world *w, size_t i)
{
    struct watch *watch = &watches[i];
    *watch = (struct watch){.world = w, .shard = i % SHARDS, .groups = i >= SHARDS};
    if (watch->groups)
        open_groups(watch, false);
    else
        open_runs_with(watch, NULL, 0);
    return watch;
}

static void open_watches(struct world *w)
{
    for (size_t i = 0; i < WATCHES; i++)
        open_watch(w, i);
}

static void wake(struct watch *watch, bool reads)
{
    watch->sleeps = !reads;
    if (watch->call != NULL)
        sy_call_set_sink(watch->call, reads ? &watch_sink : NULL, watch);
}

static void close_watch(struct watch *watch)
{
    if (watch->call == NULL)
        return;
    sy_call_set_sink(watch->call, NULL, NULL);
    sy_call_finish(watch->call, NULL);
    sy_call_unref(sy_take(watch->call));
}

static void close_watches(void)
{
    for (size_t i = 0; i < WATCHES; i++)
        close_watch(&watches[i]);
}

static void expect_open(const struct watch *watch)
{
    ck_assert_msg(watch->call != NULL, "through shard-%zu: %s: %s", watch->shard,
                  sy_code_name(watch->code), watch->text);
}

static void expect_all_open(void)
{
    for (size_t i = 0; i < WATCHES; i++)
        expect_open(&watches[i]);
}

/* ---- the truth ---- */

static struct call *abort_run(struct world *w, size_t shard, size_t n)
{
    Flyteidl2__Workflow__AbortRunRequest m = FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    char name[16];
    snprintf(name, sizeof(name), "run-%zu", n);
    run.project = text_of("p");
    run.domain = text_of("d");
    run.name = name;
    m.run_id = &run;
    struct call *c = send_call(w, shard, RUN "AbortRun", &m.base);
    c->reads = true;
    return c;
}

static int phase_in(const struct call *c)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const Flyteidl2__Workflow__GetRunDetailsResponse *m = pb_unpack(
        &flyteidl2__workflow__get_run_details_response__descriptor, &arena,
        sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(m);
    int phase = (int)m->details->action->status->phase;
    sy_arena_deinit(&arena);
    return phase;
}

/* Its phase as the region knows it; 0: there is no such run. */
static int phase_of(struct world *w, size_t n)
{
    char name[16];
    snprintf(name, sizeof(name), "run-%zu", n);
    struct call *c = read_run(w, some_shard(w), name);
    UNTIL(w, c->call == NULL);
    ck_assert_msg(c->code == SY_CODE_OK || c->code == SY_CODE_NOT_FOUND, "%s: %s",
                  sy_code_name(c->code), c->text);
    int phase = c->code == SY_CODE_OK ? phase_in(c) : 0;
    forget_call(w);
    return phase;
}

static bool groups_are(const struct watch *watch, int64_t total, const int64_t *by_phase)
{
    return watch->sentinel && watch->total == total &&
           memcmp(watch->by_phase, by_phase, sizeof(watch->by_phase)) == 0;
}

/* While nothing changes any more each stream comes to show each run as it is. */
static void check_watches(struct world *w)
{
    int64_t total = 0, by_phase[16] = {0};
    int phases[RUNS_MAX];
    SY_ASSERT(w->made <= RUNS_MAX);
    for (size_t n = 0; n < w->made; n++) {
        phases[n] = phase_of(w, n);
        total += phases[n] != 0;
        by_phase[phases[n]] += phases[n] != 0;
    }
    for (size_t i = 0; i < WATCHES; i++) {
        struct watch *watch = &watches[i];
        expect_open(watch);
        if (watch->groups)
            UNTIL(w, watch->call == NULL || groups_are(watch, total, by_phase));
        for (size_t n = 0; n < w->made && !watch->groups; n++)
            UNTIL(w, watch->call == NULL || watch->phases[n] == phases[n]);
        expect_open(watch);
    }
}

static void make_runs(struct world *w, size_t count, size_t shard)
{
    for (size_t i = 0; i < count; i++)
        create_some(w, shard);
    for (size_t i = 0; i < count; i++) {
        expect_ok(w, &w->calls[w->call_count - 1]);
        forget_call(w);
    }
}

static void abort_runs(struct world *w, size_t from, size_t to, size_t shard)
{
    for (size_t n = from; n < to; n++) {
        expect_ok(w, abort_run(w, shard, n));
        forget_call(w);
    }
}

/* Nothing of any stream is left at a shard. */
static bool is_free(const struct world *w, size_t i)
{
    const struct cp_shard *shard = w->shards[i].shard;
    bool free = shard->followed == NULL && shard->runs_watches == NULL &&
                shard->groups_watches == NULL && sy_server_calls(shard->server) == 0;
    for (size_t k = 0; free && k < PARTITIONS; k++)
        free = shard->lanes[k].requests == NULL;
    return free;
}

/* Where a stream believes to hear of a partition somebody serves it. */
static void check_places(const struct world *w, size_t i)
{
    for (const struct cp_follow *f = w->shards[i].shard->followed; f != NULL; f = f->next) {
        size_t serving = 0;
        for (size_t k = 0; k < SHARDS; k++) {
            const struct shard *s = &w->shards[k];
            serving += s->shard != NULL && !s->paused &&
                       cp_partition_serving(cp_shard_partition(s->shard, f->partition));
        }
        ck_assert_msg(f->lost_ns != 0 || serving > 0, "partition %u through shard-%zu",
                      f->partition, i);
    }
}

/* The partitions of one shard, as it knows them. */
static uint32_t first_owned(const struct world *w, size_t shard)
{
    for (uint32_t i = 0; i < PARTITIONS; i++)
        if (cp_partition_serving(cp_shard_partition(w->shards[shard].shard, i)))
            return i;
    ck_abort_msg("shard-%zu has no partition", shard);
    return 0;
}

/* ---- tests ---- */

START_TEST(a_stream_through_any_shard_is_of_all_partitions)
{
    struct world *w = &world;
    open_world(w, 1);
    make_runs(w, 40, 0);
    open_watches(w);
    check_watches(w);
    make_runs(w, 40, 1);
    abort_runs(w, 20, 60, 2);
    check_watches(w);
    /* With an end it ends, and says the same. */
    struct watch *once = &watches[SHARDS];
    close_watch(once);
    *once = (struct watch){.world = w, .shard = 1, .groups = true};
    open_groups(once, true);
    UNTIL(w, once->call == NULL);
    ck_assert_msg(once->code == SY_CODE_OK, "%s", once->text);
    ck_assert(once->sentinel);
    ck_assert_int_eq(once->total, 80);
    ck_assert_int_eq(once->by_phase[PHASE(ABORTED)], 40);
    close_watches();
    for (size_t i = 0; i < SHARDS; i++)
        UNTIL(w, is_free(w, i));
    close_world(w);
}
END_TEST

START_TEST(a_stream_goes_on_when_a_shard_dies)
{
    struct world *w = &world;
    open_world(w, 2);
    make_runs(w, 40, 0);
    open_watches(w);
    check_watches(w);
    abort_runs(w, 0, 20, 1);
    kill_shard(w, 1); /* what it has just acknowledged is on its way to the streams, or lost */
    UNTIL(w, watches[1].call == NULL && watches[SHARDS + 1].call == NULL);
    ck_assert_int_eq(watches[1].code, SY_CODE_UNAVAILABLE);
    UNTIL(w, even(w, 2));
    make_runs(w, 20, 2);
    for (size_t i = 0; i < WATCHES; i++)
        if (i % SHARDS != 1)
            expect_open(&watches[i]);
    start_shard(w, 1);
    UNTIL(w, even(w, 3));
    open_watch(w, 1);
    open_watch(w, SHARDS + 1);
    abort_runs(w, 20, 30, 1);
    check_watches(w);
    close_watches();
    close_world(w);
}
END_TEST

START_TEST(a_stream_goes_on_when_a_shard_stands_still)
{
    struct world *w = &world;
    open_world(w, 3);
    make_runs(w, 40, 0);
    open_watches(w);
    check_watches(w);
    abort_runs(w, 0, 15, 1);
    w->shards[1].paused = true;
    run_for(w, 10 * SY_NS_PER_S); /* others have the right to its partitions, it has the stores */
    check_places(w, 0);
    check_places(w, 2);
    w->shards[1].paused = false;
    UNTIL(w, even(w, 3));
    abort_runs(w, 15, 30, 0);
    make_runs(w, 20, 2);
    check_watches(w); /* that of the one which stood still, too */
    close_watches();
    for (size_t i = 0; i < SHARDS; i++)
        UNTIL(w, is_free(w, i));
    close_world(w);
}
END_TEST

/* One shard after the other is stopped and started, while runs are made and end. */
START_TEST(a_stream_goes_on_while_a_region_is_rolled)
{
    struct world *w = &world;
    open_world(w, 4);
    open_watches(w);
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &w->shards[i];
        size_t other = (i + 1) % SHARDS, made = w->made;
        make_runs(w, 20, other);
        int64_t stop_ns = w->now_ns;
        cp_shard_stop(s->shard, 30 * SY_NS_PER_S, on_stopped, s);
        abort_runs(w, made, made + 10, other);
        UNTIL(w, s->stopped);
        /* Its own clients were told to ask another, and it did not wait for them. */
        ck_assert_int_lt(w->now_ns - stop_ns, 10 * SY_NS_PER_S);
        UNTIL(w, watches[i].call == NULL && watches[SHARDS + i].call == NULL);
        ck_assert_int_eq(watches[i].code, SY_CODE_UNAVAILABLE);
        cp_shard_free(sy_take(s->shard));
        make_runs(w, 10, other);
        start_shard(w, i);
        UNTIL(w, even(w, 3));
        open_watch(w, i);
        open_watch(w, SHARDS + i);
        abort_runs(w, made + 10, made + 15, other);
        check_watches(w);
    }
    close_watches();
    close_world(w);
}
END_TEST

/* What it does not read waits at the shards that have it, and there as one message for each
 * partition (and what the windows of the streams between hold); it does not miss what changed last.
 */
START_TEST(a_slow_client_holds_nothing)
{
    struct world *w = &world;
    open_world(w, 5);
    open_watches(w);
    make_runs(w, 30, 1);
    check_watches(w);
    wake(&watches[0], false);
    close_watch(&watches[SHARDS]); /* its shard hears of one stream only */
    w->counted = "process-0";
    size_t rounds = 0;
    do { /* until the way to the client is full */
        ck_assert_uint_lt(rounds++, 40);
        w->count = 0;
        make_runs(w, 200, 1);
        run_for(w, SY_NS_PER_S);
    } while (w->count > 0);
    abort_runs(w, 0, 200, 1);
    run_for(w, 5 * SY_NS_PER_S);
    ck_assert_uint_eq(w->count, 0);
    ck_assert_uint_gt(rounds, 1);
    kill_shard(w, 2); /* and one of them dies meanwhile */
    UNTIL(w, even(w, 2));
    start_shard(w, 2);
    UNTIL(w, even(w, 3));
    wake(&watches[0], true);
    for (size_t i = 0; i < WATCHES; i++)
        if (i % SHARDS == 2 || i == SHARDS)
            open_watch(w, i);
    check_watches(w);
    close_watches();
    close_world(w);
}
END_TEST

/* A client that goes frees what it had, here and elsewhere; so does a shard, with its clients. */
START_TEST(who_goes_leaves_nothing)
{
    struct world *w = &world;
    open_world(w, 6);
    make_runs(w, 30, 0);
    for (size_t k = 0; k < 4; k++) {
        open_watches(w);
        run_for(w, (int64_t)k * MS);
        close_watches();
    }
    for (size_t i = 0; i < SHARDS; i++)
        UNTIL(w, is_free(w, i));
    open_watches(w);
    run_for(w, 3 * MS);
    kill_shard(w, 1);
    close_watches();
    UNTIL(w, is_free(w, 0) && is_free(w, 2));
    start_shard(w, 1);
    UNTIL(w, even(w, 3));
    open_watches(w);
    check_watches(w);
    for (size_t i = 0; i < SHARDS; i++)
        kill_shard(w, i);
    close_watches();
    close_world(w);
}
END_TEST

/* A partition that nobody has: the others' changes are seen, and in the end the client hears. */
START_TEST(nobody_is_blind_for_long)
{
    struct world *w = &world;
    open_world(w, 7);
    open_watches(w);
    make_runs(w, 30, 0);
    check_watches(w);
    fake_etcd_set_quorum(w->etcd, false);
    run_for(w, CP_FOLLOW_BLIND_NS - 5 * SY_NS_PER_S);
    expect_all_open();
    fake_etcd_set_quorum(w->etcd, true);
    UNTIL(w, even(w, 3));
    make_runs(w, 10, 0);
    check_watches(w);
    fake_etcd_set_quorum(w->etcd, false);
    run_for(w, CP_FOLLOW_BLIND_NS + 10 * SY_NS_PER_S);
    for (size_t i = 0; i < WATCHES; i++) {
        ck_assert_ptr_null(watches[i].call);
        ck_assert_int_eq(watches[i].code, SY_CODE_UNAVAILABLE);
        ck_assert_msg(strstr(watches[i].text, "nobody has served partition") != NULL, "%s",
                      watches[i].text);
    }
    fake_etcd_set_quorum(w->etcd, true);
    UNTIL(w, even(w, 3));
    close_world(w);
}
END_TEST

/* Runs whose place is in one partition, by their numbers. */
static size_t next_in(const struct world *w, uint32_t part, size_t from)
{
    char name[16];
    do
        snprintf(name, sizeof(name), "run-%zu", from++);
    while (cp_shard_partition_of(w->shards[1].shard, "p", "d", name) != part);
    return from - 1;
}

/* A run that is not among the newest of its partition ends while the way to its shard is cut. When
 * it is not any more the client hears of that, and not of all runs again. */
START_TEST(a_change_is_not_lost_between_two_places)
{
    struct world *w = &world;
    open_world(w, 8);
    uint32_t part = first_owned(w, 1);
    size_t old = next_in(w, part, 0), n = old;
    char name[16];
    for (size_t made = 0; made < 1100; made++, n = next_in(w, part, n + 1)) {
        snprintf(name, sizeof(name), "run-%zu", n);
        expect_ok(w, create(w, 1, name));
        forget_call(w);
        if (made > 10 && made < 1000) { /* most of them have ended long ago */
            abort_runs(w, n, n + 1, 1);
        }
    }
    run_for(w, 100 * SY_NS_PER_S);
    struct watch *watch = open_watch(w, 0);
    run_for(w, SY_NS_PER_S);
    expect_open(watch);
    ck_assert_int_eq(watch->phases[old], 0); /* ListRuns has it */
    memset(watch->phases, 0, sizeof(watch->phases));
    w->cut = "process-0";
    run_for(w, 20 * MS);
    abort_runs(w, old, old + 1, 1);
    run_for(w, 20 * MS);
    ck_assert_int_eq(watch->phases[old], 0);
    w->cut = NULL;
    UNTIL(w, watch->phases[old] == PHASE(ABORTED));
    run_for(w, SY_NS_PER_S);
    size_t told = 0;
    for (size_t i = 0; i < RUNS_MAX; i++)
        told += watch->phases[i] != 0;
    ck_assert_uint_eq(told, 111); /* the first and the last live */
    expect_open(watch);
    close_watch(watch);
    close_world(w);
}
END_TEST

/* A relayed stream of one run from a shard that stands still ends when another has the run. */
START_TEST(a_relayed_stream_is_not_left_behind)
{
    struct world *w = &world;
    open_world(w, 9);
    char name[16];
    snprintf(name, sizeof(name), "run-%zu", next_in(w, first_owned(w, 1), 0));
    expect_ok(w, create(w, 0, name));
    Flyteidl2__Workflow__WatchRunDetailsRequest m =
        FLYTEIDL2__WORKFLOW__WATCH_RUN_DETAILS_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    run.project = text_of("p");
    run.domain = text_of("d");
    run.name = name;
    m.run_id = &run;
    struct call *c = send_call(w, 0, RUN "WatchRunDetails", &m.base);
    c->reads = true;
    UNTIL(w, c->answer.len > 0);
    w->shards[1].paused = true;
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(c->text, "is at another shard now"));
    w->shards[1].paused = false;
    UNTIL(w, even(w, 3));
    c = send_call(w, 0, RUN "WatchRunDetails", &m.base);
    c->reads = true;
    UNTIL(w, c->answer.len > 0);
    close_world(w);
}
END_TEST

/* The metadata of shards is for shards. */
START_TEST(a_part_is_one_of_the_partitions)
{
    struct world *w = &world;
    open_world(w, 10);
    static const struct {
        const char *part, *resume;
        bool forwarded;
    } cases[] = {{"0", NULL, false}, {"6", NULL, true},         {"-1", NULL, true},
                 {"", NULL, true},   {"1 ", NULL, true},        {"x", NULL, true},
                 {"0", "1", true},   {"0", "1.2x", true},       {"0", "a.b", true},
                 {"0", "", true},    {"4294967296", NULL, true}};
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        struct watch *watch = &watches[0];
        struct sy_metadata metadata[3] = {{CP_PART_KEY, cases[i].part}};
        size_t count = 1;
        if (cases[i].forwarded)
            metadata[count++] = (struct sy_metadata){CP_FORWARDED_KEY, "1"};
        if (cases[i].resume != NULL)
            metadata[count++] = (struct sy_metadata){CP_RESUME_KEY, cases[i].resume};
        *watch = (struct watch){.world = w};
        while (!cp_partition_serving(cp_shard_partition(w->shards[watch->shard].shard, 0)))
            watch->shard++;
        open_runs_with(watch, metadata, count);
        UNTIL(w, watch->call == NULL);
        ck_assert_msg(watch->code == SY_CODE_INVALID_ARGUMENT, "case %zu: %s: %s", i,
                      sy_code_name(watch->code), watch->text);
        /* One that is not here. */
        struct sy_metadata good[] = {{CP_PART_KEY, "0"}, {CP_FORWARDED_KEY, "1"}};
        *watch = (struct watch){.world = w, .shard = (watch->shard + 1) % SHARDS};
        open_runs_with(watch, good, 2);
        UNTIL(w, watch->call == NULL);
        ck_assert_int_eq(watch->code, SY_CODE_UNAVAILABLE);
        ck_assert_ptr_nonnull(strstr(watch->text, "does not have partition 0"));
    }
    close_world(w);
}
END_TEST

/* ---- whatever fails ---- */

static void client_step(struct world *w)
{
    for (size_t i = 0; i < WATCHES; i++) {
        bool up = w->shards[i % SHARDS].shard != NULL;
        if (up && watches[i].call == NULL)
            open_watch(w, i);
        else if (sy_rng_chance(&w->rng, 1, 30))
            wake(&watches[i], watches[i].sleeps);
        else if (sy_rng_chance(&w->rng, 1, 100))
            close_watch(&watches[i]);
    }
    for (size_t i = 0; i < SHARDS; i++) {
        if (w->shards[i].shard == NULL || w->call_count + 2 > CALLS / 2)
            continue;
        create_some(w, i);
        if (sy_rng_chance(&w->rng, 1, 2))
            abort_run(w, i, sy_rng_below(&w->rng, w->made));
    }
}

static void storm(uint64_t seed)
{
    struct world *w = &world;
    open_world(w, seed);
    open_watches(w);
    for (int step = 0; step < 150; step++) {
        if (sy_rng_chance(&w->rng, 1, 5))
            storm_step(w);
        client_step(w);
        run_for(w, (int64_t)sy_rng_below(&w->rng, 400 * MS));
    }
    heal(w);
    for (size_t i = 0; i < WATCHES; i++)
        wake(&watches[i], true);
    run_for(w, 10 * SY_NS_PER_S);
    for (size_t i = 0; i < WATCHES; i++)
        if (watches[i].call == NULL) /* its shard died, or there was no etcd for too long */
            open_watch(w, i);
    for (size_t i = 0; i < w->call_count; i++)
        ck_assert_ptr_null(w->calls[i].call);
    check_watches(w);
    close_watches();
    for (size_t i = 0; i < SHARDS; i++)
        UNTIL(w, is_free(w, i));
    close_world(w);
}

START_TEST(nothing_is_missed_whatever_fails)
{
    const char *text = getenv("REGION_SEEDS");
    uint64_t count = text != NULL ? strtoull(text, NULL, 10) : 10;
    const char *first = getenv("REGION_FIRST");
    uint64_t from = first != NULL ? strtoull(first, NULL, 10) : 1;
    for (uint64_t seed = from; seed < from + count; seed++)
        storm(seed);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_stream_through_any_shard_is_of_all_partitions,
                                  a_stream_goes_on_when_a_shard_dies,
                                  a_stream_goes_on_when_a_shard_stands_still,
                                  a_stream_goes_on_while_a_region_is_rolled,
                                  a_slow_client_holds_nothing,
                                  who_goes_leaves_nothing,
                                  nobody_is_blind_for_long,
                                  a_change_is_not_lost_between_two_places,
                                  a_relayed_stream_is_not_left_behind,
                                  a_part_is_one_of_the_partitions,
                                  nothing_is_missed_whatever_fails,
                                  NULL};
    return sy_test_run("region_watch", tests);
}
