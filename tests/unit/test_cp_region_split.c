/* links: cp sy_test_etcd */
/* Partitions of a region are split, under a load of runs that are made, read and listed, whatever
 * fails meanwhile: each run that was acknowledged is there afterwards, once. */
#define ROOM 12
#include "controlplane/shard_impl.h"
#include "tests/unit/cp_region_splits.h"

#include "switchyard/internal/dataplane.pb-c.h"

#define RUNS "/flyteidl2.workflow.RunService/"

static uint32_t partitions_of(const struct world *w, size_t shard)
{
    return cp_shard_partitions(w->shards[shard].shard);
}

static uint32_t splits; /* that were made in storms */

static size_t some_shard_or_none(struct world *w)
{
    size_t i = sy_rng_below(&w->rng, SHARDS);
    return w->shards[i].shard != NULL && !w->shards[i].paused ? i : SHARDS;
}

/* All of so many are served. */
static bool even_all(const struct world *w, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < SHARDS; i++)
        total += owned_by(w, i);
    return total == count;
}

/* ---- a list of all runs, page by page ---- */

struct listing {
    char token[16 * ROOM + 2];
    size_t count;
    char names[CALLS][32];
    bool end;
};

static void list_page(struct world *w, size_t shard, struct listing *l, uint32_t limit)
{
    Flyteidl2__Workflow__ListRunsRequest m = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__INIT;
    Flyteidl2__Common__ListRequest list = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    project.name = text_of("p");
    project.domain = text_of("d");
    list.limit = limit;
    list.token = l->token;
    m.request = &list;
    m.scope_by_case = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_PROJECT_ID;
    m.project_id = &project;
    struct call *c;
    for (;;) { /* one that a split comes between is repeated, as clients do */
        c = send_call(w, shard, RUNS "ListRuns", &m.base);
        c->reads = true;
        UNTIL(w, c->call == NULL);
        if (c->code != SY_CODE_UNAVAILABLE)
            break;
        forget_call(w);
    }
    ck_assert_msg(c->code == SY_CODE_OK, "%s: %s", sy_code_name(c->code), c->text);
    struct sy_arena arena;
    sy_arena_init(&arena, 16 << 20);
    const Flyteidl2__Workflow__ListRunsResponse *page = pb_unpack(
        &flyteidl2__workflow__list_runs_response__descriptor, &arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(page);
    for (size_t i = 0; i < page->n_runs; i++)
        snprintf(l->names[l->count++], sizeof(l->names[0]), "%s",
                 page->runs[i]->action->id->run->name);
    snprintf(l->token, sizeof(l->token), "%s", page->token);
    l->end = l->token[0] == '\0';
    sy_arena_deinit(&arena);
    forget_call(w);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Every run of the load that was acknowledged, and none twice. */
static void check_listing(struct world *w, struct listing *l)
{
    qsort(l->names, l->count, sizeof(l->names[0]), by_name);
    for (size_t i = 1; i < l->count; i++)
        ck_assert_str_ne(l->names[i - 1], l->names[i]);
    for (size_t i = 0; i < w->call_count; i++) {
        const struct call *c = &w->calls[i];
        if (!c->reads && c->call == NULL && c->code == SY_CODE_OK)
            ck_assert_msg(bsearch(c->run, l->names, l->count, sizeof(l->names[0]), by_name) != NULL,
                          "run %s is not listed", c->run);
    }
}

static void check_all(struct world *w)
{
    static struct listing l;
    memset(&l, 0, sizeof(l));
    check_runs(w);
    while (!l.end)
        list_page(w, some_shard(w), &l, 7);
    check_listing(w, &l);
}

static void make_runs(struct world *w, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        create_some(w, some_shard(w));
        run_for(w, 3 * MS);
    }
}

/* Of runs on its disk; none is another's by now. */
static size_t count_rows(struct world *w, uint32_t partition)
{
    const struct cp_ranges *ranges = cp_ranges_get(&w->shards[0].shard->ranges);
    struct cp_range range = cp_ranges_of(ranges, partition);
    struct cp_mem_disk *disk = cp_mem_disk_copy(w->disks[partition].disk);
    struct cp_store *store;
    uint32_t epoch;
    size_t count = 0;
    ck_assert_int_eq(cp_store_mem_open(&store, disk, 0, w->loop, &epoch, NULL), 0);
    static const enum cp_family families[] = {CP_FAMILY_RUN_NAMES, CP_FAMILY_RUNS};
    for (size_t i = 0; i < SY_COUNT_OF(families); i++) {
        struct cp_iter *iter = cp_iter_new(store, families[i], (struct sy_span){0},
                                           (struct sy_span){0}, false);
        for (; cp_iter_valid(iter); cp_iter_next(iter)) {
            count += i == 0;
            if (i > 0)
                continue;
            struct sy_span key = cp_iter_key(iter); /* "p\0d\0run-7" */
            char name[32] = {0};
            memcpy(name, key.data + 4, key.len - 4);
            uint64_t hash = cp_name_hash("p", "d", name);
            ck_assert_msg(cp_range_has(&range, hash), "%s is in partition %u", name, partition);
        }
        cp_iter_free(iter);
    }
    cp_store_close(store);
    cp_mem_disk_free(disk);
    return count;
}

START_TEST(both_halves_have_what_was_acknowledged)
{
    struct world *w = &world;
    open_world(w, 1);
    make_runs(w, 60);
    run_for(w, 100 * MS);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        make_runs(w, 5);
        ck_assert_uint_eq(split(w, i % SHARDS, i), PARTITIONS + i);
        make_runs(w, 5);
    }
    run_for(w, SY_NS_PER_S);
    for (size_t i = 0; i < w->call_count; i++)
        ck_assert_msg(w->calls[i].code == SY_CODE_OK, "%s: %s", w->calls[i].run, w->calls[i].text);
    for (size_t s = 0; s < SHARDS; s++)
        ck_assert_uint_eq(partitions_of(w, s), ROOM);
    check_all(w);
    run_for(w, SY_NS_PER_S);
    size_t rows = 0;
    for (uint32_t i = 0; i < ROOM; i++)
        rows += count_rows(w, i);
    ck_assert_uint_eq(rows, w->call_count);
    close_world(w);
}
END_TEST

/* A page that was begun before a split goes on after it. */
START_TEST(a_list_goes_on_over_splits)
{
    static struct listing l;
    struct world *w = &world;
    memset(&l, 0, sizeof(l));
    open_world(w, 2);
    make_runs(w, 80);
    run_for(w, 100 * MS);
    for (uint32_t i = 0; !l.end; i++) {
        list_page(w, some_shard(w), &l, 9);
        if (i < PARTITIONS)
            (void)split(w, some_shard(w), i);
    }
    ck_assert_uint_eq(l.count, 80);
    check_listing(w, &l);
    close_world(w);
}
END_TEST

START_TEST(a_storage_that_cannot_fork_changes_nothing)
{
    struct world *w = &world;
    open_world(w, 3);
    make_runs(w, 20);
    w->no_forks = true;
    struct call *c = send_split(w, 0, 2, 0);
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_FAILED_PRECONDITION);
    ck_assert_ptr_nonnull(strstr(c->text, "has no room for a fork"));
    forget_call(w);
    UNTIL(w, even(w, SHARDS));
    for (size_t s = 0; s < SHARDS; s++)
        ck_assert_uint_eq(partitions_of(w, s), PARTITIONS);
    make_runs(w, 20);
    w->no_forks = false;
    ck_assert_uint_eq(split(w, 1, 2), PARTITIONS);
    make_runs(w, 20);
    check_all(w);
    close_world(w);
}
END_TEST

START_TEST(what_cannot_be_split_is_refused)
{
    static const struct {
        uint32_t partition, at;
        enum sy_code code;
        const char *why;
    } bad[] = {{PARTITIONS, 0, SY_CODE_INVALID_ARGUMENT, "partitions 0 to 5"},
               {0, 256, SY_CODE_INVALID_ARGUMENT, "1 to 255"},
               {0, 200, SY_CODE_FAILED_PRECONDITION, "has places 0 to 42"},
               {5, 10, SY_CODE_FAILED_PRECONDITION, "has places 213 to 255"}};
    struct world *w = &world;
    open_world(w, 4);
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        struct call *c = send_split(w, i % SHARDS, bad[i].partition, bad[i].at);
        UNTIL(w, c->call == NULL);
        ck_assert_int_eq(c->code, bad[i].code);
        ck_assert_msg(strstr(c->text, bad[i].why) != NULL, "%s", c->text);
        forget_call(w);
    }
    for (uint32_t i = 0; i < PARTITIONS; i++)
        (void)split(w, 0, i);
    struct call *c = send_split(w, 0, 0, 0);
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_FAILED_PRECONDITION);
    ck_assert_msg(strstr(c->text, "has no room for one more partition than 12") != NULL, "%s",
                  c->text);
    forget_call(w);
    UNTIL(w, even_all(w, ROOM));
    close_world(w);
}
END_TEST

/* SHARDS: nobody serves it now. */
static size_t server_of(const struct world *w, uint32_t partition)
{
    size_t s = 0;
    while (s < SHARDS && !cp_partition_serving(cp_shard_partition(w->shards[s].shard, partition)))
        s++;
    return s;
}

/* A disk that fails when the lower half opens: it is tried again, and the answer waits for that. */
START_TEST(a_split_is_answered_when_the_lower_half_serves)
{
    struct world *w = &world;
    open_world(w, 6);
    make_runs(w, 20);
    run_for(w, 100 * MS);
    struct call *c = send_split(w, 0, 1, 0);
    UNTIL(w, w->fork_count == 1);
    cp_mem_disk_set(w->disks[1].disk, MS, 0);
    UNTIL(w, c->call == NULL);
    ck_assert_msg(c->code == SY_CODE_OK, "%s", c->text);
    ck_assert_uint_lt(server_of(w, 1), SHARDS);
    ck_assert_uint_lt(server_of(w, PARTITIONS), SHARDS);
    forget_call(w);
    check_all(w);
    close_world(w);
}
END_TEST

/* Two splits at once find room for one more: the one that takes longer comes to nothing. */
START_TEST(splits_at_once_make_no_more_than_there_is_room_for)
{
    struct world *w = &world;
    open_world(w, 7);
    for (uint32_t i = 0; i + 1 < ROOM - PARTITIONS; i++)
        (void)split(w, 0, i);
    UNTIL(w, even_all(w, ROOM - 1));
    cp_mem_disk_set_close(w->disks[0].disk, SY_NS_PER_S);
    struct call *slow = send_split(w, 1, 0, 0);
    run_for(w, 50 * MS);
    struct call *quick = send_split(w, 0, PARTITIONS - 1, 0);
    UNTIL(w, quick->call == NULL && slow->call == NULL);
    ck_assert_msg(quick->code == SY_CODE_OK, "%s", quick->text);
    ck_assert_msg(slow->code == SY_CODE_FAILED_PRECONDITION, "%s", slow->text);
    ck_assert_msg(strstr(slow->text, "goes on as it was") != NULL, "%s", slow->text);
    forget_call(w);
    forget_call(w);
    UNTIL(w, even_all(w, ROOM));
    make_runs(w, 20);
    check_all(w);
    close_world(w);
}
END_TEST

static size_t forks_left(const struct world *w)
{
    size_t count = 0;
    for (size_t i = 0; i < w->fork_count; i++)
        count += w->forks[i].disk != NULL;
    return count;
}

/* The shard dies before it can write the records: what it forked goes with the next opening. */
START_TEST(what_a_split_left_behind_goes)
{
    struct world *w = &world;
    open_world(w, 8);
    make_runs(w, 20);
    size_t owner = server_of(w, 1);
    fake_etcd_set_quorum(w->etcd, false);
    (void)send_split(w, owner, 1, 0);
    UNTIL(w, w->fork_count == 1);
    kill_shard(w, owner);
    ck_assert_uint_eq(forks_left(w), 1);
    fake_etcd_set_quorum(w->etcd, true);
    run_for(w, 6 * SY_NS_PER_S);
    start_shard(w, owner);
    UNTIL(w, even(w, SHARDS));
    ck_assert_uint_eq(forks_left(w), 0);
    ck_assert_uint_eq(partitions_of(w, 0), PARTITIONS);
    forget_call(w);
    ck_assert_uint_eq(split(w, 0, 1), PARTITIONS);
    UNTIL(w, even_all(w, PARTITIONS + 1));
    check_all(w);
    close_world(w);
}
END_TEST

/* ---- operators of before ---- */

/* The stream of an operator with one partition, which lasts until it is refused. */
static struct call *attend(struct world *w, uint32_t partition, bool knows)
{
    static const struct sy_call_sink sink = {.on_closed = on_call_closed};
    Switchyard__Internal__OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__OperatorHello hello = SWITCHYARD__INTERNAL__OPERATOR_HELLO__INIT;
    char number[16];
    snprintf(number, sizeof(number), "%u", partition);
    const struct sy_metadata metadata = {"x-switchyard-partition", number};
    struct sy_call_options options = {.method = "/switchyard.internal.ControlPlane/Operate",
                                      .metadata = &metadata,
                                      .metadata_count = 1};
    struct call *c = &w->calls[w->call_count++];
    size_t owner = server_of(w, partition);
    ck_assert_uint_lt(owner, SHARDS);
    *c = (struct call){.world = w, .reads = true};
    c->call = sy_channel_open(w->shards[owner].channel, w->loop, &options, &sink, c);
    hello.partition = partition;
    hello.cluster = text_of("c1");
    hello.session = text_of("s1");
    hello.endpoint = text_of("cluster-1:9000");
    hello.splits = knows;
    m.hello = &hello;
    m.inventory_complete = true;
    struct sy_buf bytes = {0};
    pb_pack(&m.base, &bytes);
    ck_assert_int_eq(sy_call_send(c->call, &bytes), 0);
    run_for(w, 50 * MS);
    return c;
}

/* It would take what one half says for all that there is to say of the attempts of both. */
START_TEST(an_operator_that_knows_no_splits_prevents_them)
{
    struct world *w = &world;
    open_world(w, 5);
    struct call *operator= attend(w, 2, false);
    ck_assert_ptr_nonnull(operator->call);
    struct call *c = send_split(w, 0, 2, 0);
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_FAILED_PRECONDITION);
    ck_assert_msg(
        strstr(c->text, "the operator of cluster c1 is of a version that does not know") != NULL,
        "%s", c->text);
    forget_call(w);
    UNTIL(w, operator->call == NULL && server_of(w, 2) < SHARDS); /* it had been given */
    run_for(w, 50 * MS);                                          /* its shard hears of it */
    forget_call(w);
    ck_assert_uint_eq(split(w, 0, 2), PARTITIONS);
    UNTIL(w, even_all(w, PARTITIONS + 1));
    for (uint32_t i = 2; i <= PARTITIONS; i++) {
        operator= attend(w, i, false);
        ck_assert_int_eq(operator->code, SY_CODE_FAILED_PRECONDITION);
        ck_assert_msg(strstr(operator->text, "update it") != NULL, "%s", operator->text);
        forget_call(w);
        operator= attend(w, i, true);
        ck_assert_ptr_nonnull(operator->call);
        sy_call_half_close(operator->call);
        UNTIL(w, operator->call == NULL);
        forget_call(w);
    }
    close_world(w);
}
END_TEST

/* ---- whatever fails ---- */

static void storm(uint64_t seed)
{
    struct world *w = &world;
    open_world(w, seed);
    for (int i = 0; i < 40; i++) {
        if (sy_rng_chance(&w->rng, 1, 3))
            storm_step(w);
        if (sy_rng_chance(&w->rng, 1, 4) && w->call_count < CALLS - 60) {
            size_t shard = some_shard_or_none(w);
            if (shard < SHARDS)
                (void)send_split(w, shard, (uint32_t)sy_rng_below(&w->rng, partitions_of(w, shard)),
                                 0);
        }
        for (int k = 0; k < 3 && w->call_count < CALLS - 60; k++) {
            size_t shard = some_shard_or_none(w);
            if (shard < SHARDS)
                create_some(w, shard);
        }
        run_for(w, (int64_t)sy_rng_below(&w->rng, 400 * MS));
    }
    mend(w);
    uint32_t count = 0;
    run_for(w, 10 * SY_NS_PER_S);
    for (size_t s = 0; s < SHARDS; s++)
        count = partitions_of(w, s) > count ? partitions_of(w, s) : count;
    UNTIL(w, even_all(w, count));
    for (size_t i = 0; i < w->call_count; i++)
        UNTIL(w, w->calls[i].call == NULL);
    check_all(w);
    splits += count - PARTITIONS;
    close_world(w);
}

START_TEST(nothing_is_lost_or_doubled_whatever_fails)
{
    struct seeds seeds = storm_seeds(12);
    for (uint64_t i = 0; i < seeds.count; i++)
        storm(seeds.first + i);
    ck_assert(seeds.count < 12 || splits > 12);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {both_halves_have_what_was_acknowledged,
                                  a_list_goes_on_over_splits,
                                  a_storage_that_cannot_fork_changes_nothing,
                                  what_cannot_be_split_is_refused,
                                  a_split_is_answered_when_the_lower_half_serves,
                                  splits_at_once_make_no_more_than_there_is_room_for,
                                  what_a_split_left_behind_goes,
                                  an_operator_that_knows_no_splits_prevents_them,
                                  nothing_is_lost_or_doubled_whatever_fails,
                                  NULL};
    return sy_test_run("region_split", tests);
}
