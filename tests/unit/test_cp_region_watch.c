/* links: cp sy_test_etcd */
/* Streams over all partitions of a region of several shards: what a client sees through any of
 * them while partitions move, shards die, stand still and are restarted one by one. */
#include "tests/unit/cp_region_watches.h"

#include "switchyard/v1/region_service.pb-c.h"

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
    UNTIL(w, owned_by(w, 0) + owned_by(w, 2) == PARTITIONS);
    check_places(w, 0);
    check_places(w, 2);
    abort_runs(w, 15, 30, 0);
    make_runs(w, 20, 2);
    for (size_t n = 0; n < w->made; n++) {
        int phase = n < 30 ? PHASE(ABORTED) : PHASE(QUEUED);
        UNTIL(w, watches[0].phases[n] == phase && watches[2].phases[n] == phase);
    }
    UNTIL(w, watches[SHARDS].by_phase[PHASE(ABORTED)] == 30 && watches[SHARDS].total == 60);
    w->shards[1].paused = false;
    UNTIL(w, even(w, 3));
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

static bool serves(const struct world *w, size_t shard, uint32_t partition)
{
    return cp_partition_serving(cp_shard_partition(w->shards[shard].shard, partition));
}

static void move(struct world *w, uint32_t partition, size_t to)
{
    Switchyard__V1__MovePartitionRequest m = SWITCHYARD__V1__MOVE_PARTITION_REQUEST__INIT;
    m.partition = partition;
    m.shard = w->shards[to].name;
    struct call *c = send_call(w, to, "/switchyard.v1.RegionService/MovePartition", &m.base);
    c->reads = true;
    while (!serves(w, to, partition))
        run_for(w, MS);
    expect_ok(w, c);
    forget_call(w);
}

/* Partitions move while runs are made and end: no stream ends. One that is back before its shard
 * looks again has changed all the same. */
START_TEST(a_stream_goes_on_when_a_partition_moves)
{
    struct world *w = &world;
    open_world(w, 11);
    make_runs(w, 30, 0);
    open_watches(w);
    check_watches(w);
    for (uint32_t part = 0; part < PARTITIONS; part++) {
        size_t from = 0, n = w->made;
        while (!serves(w, from, part))
            from++;
        make_runs(w, 12, from);
        check_watches(w);
        run_for(w, 900 * MS + (int64_t)part * 20 * MS); /* into the rest between two passes */
        int64_t begun_ns = w->now_ns;
        move(w, part, (from + 1) % SHARDS);
        abort_runs(w, n, n + 12, (from + 1) % SHARDS);
        move(w, part, from);
        ck_assert_int_lt(w->now_ns - begun_ns, SY_NS_PER_S);
        check_watches(w);
    }
    close_watches();
    for (size_t i = 0; i < SHARDS; i++)
        UNTIL(w, is_free(w, i));
    close_world(w);
}
END_TEST

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

static struct call *watch_details(struct world *w, size_t shard, char *name)
{
    Flyteidl2__Workflow__WatchRunDetailsRequest m =
        FLYTEIDL2__WORKFLOW__WATCH_RUN_DETAILS_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    run.project = text_of("p");
    run.domain = text_of("d");
    run.name = name;
    m.run_id = &run;
    struct call *c = send_call(w, shard, RUN "WatchRunDetails", &m.base);
    c->reads = true;
    UNTIL(w, c->answer.len > 0);
    return c;
}

/* A relayed stream of one run from a shard that stands still ends when another has the run. */
START_TEST(a_relayed_stream_is_not_left_behind)
{
    struct world *w = &world;
    open_world(w, 9);
    char name[16];
    snprintf(name, sizeof(name), "run-%zu", next_in(w, first_owned(w, 1), 0));
    expect_ok(w, create(w, 0, name));
    struct call *c = watch_details(w, 0, name);
    w->shards[1].paused = true;
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(c->text, "at another shard now"));
    w->shards[1].paused = false;
    UNTIL(w, even(w, 3));
    watch_details(w, 0, name);
    close_world(w);
}
END_TEST

/* One that has no partition only passes streams on: they end when it stops, not with its grace. */
START_TEST(a_shard_that_stops_waits_for_no_stream)
{
    struct world *w = &world;
    open_world(w, 12);
    Switchyard__V1__OrderShardRequest drain = SWITCHYARD__V1__ORDER_SHARD_REQUEST__INIT;
    struct shard *s = &w->shards[1];
    drain.shard = s->name;
    struct call *c = send_call(w, 0, "/switchyard.v1.RegionService/DrainShard", &drain.base);
    c->reads = true;
    expect_ok(w, c);
    UNTIL(w, even(w, 2) && owned_by(w, 1) == 0);
    make_runs(w, 10, 1);
    open_watches(w);
    check_watches(w);
    c = watch_details(w, 1, text_of("run-0"));
    int64_t begun_ns = w->now_ns;
    cp_shard_stop(s->shard, 30 * SY_NS_PER_S, on_stopped, s);
    UNTIL(w, s->stopped);
    ck_assert_int_lt(w->now_ns - begun_ns, 2 * SY_NS_PER_S);
    UNTIL(w, c->call == NULL && watches[1].call == NULL && watches[SHARDS + 1].call == NULL);
    const char *const texts[] = {c->text, watches[1].text, watches[SHARDS + 1].text};
    for (size_t i = 0; i < SY_COUNT_OF(texts); i++)
        ck_assert_msg(strstr(texts[i], "this shard stops") != NULL, "%s", texts[i]);
    ck_assert_int_eq(c->code, SY_CODE_UNAVAILABLE);
    cp_shard_free(sy_take(s->shard));
    expect_open(&watches[0]);
    expect_open(&watches[SHARDS]);
    close_watches();
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
    struct seeds seeds = storm_seeds(10);
    for (uint64_t i = 0; i < seeds.count; i++)
        storm(seeds.first + i);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_stream_through_any_shard_is_of_all_partitions,
                                  a_stream_goes_on_when_a_shard_dies,
                                  a_stream_goes_on_when_a_shard_stands_still,
                                  a_stream_goes_on_while_a_region_is_rolled,
                                  a_stream_goes_on_when_a_partition_moves,
                                  a_slow_client_holds_nothing,
                                  who_goes_leaves_nothing,
                                  nobody_is_blind_for_long,
                                  a_change_is_not_lost_between_two_places,
                                  a_relayed_stream_is_not_left_behind,
                                  a_shard_that_stops_waits_for_no_stream,
                                  a_part_is_one_of_the_partitions,
                                  nothing_is_missed_whatever_fails,
                                  NULL};
    return sy_test_run("region_watch", tests);
}
