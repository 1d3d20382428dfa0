/* links: cp sy_test_etcd */
/* What people order in a region of several shards: partitions that move, shards that drain, while
 * clients call. ORDERS_VERBOSE=1 says where the time of a move goes. */
#include "tests/unit/cp_region_world.h"

#include "controlplane/names.h"
#include "controlplane/region_map.h"

#include "switchyard/v1/region_service.pb-c.h"

#define REGION "/switchyard.v1.RegionService/"

/* As a region has it: 2 to 10 ms of etcd, 1 to 5 ms for a commit. */
static void open_usual(struct world *w, uint64_t seed)
{
    open_world(w, seed);
    for (size_t i = 0; i < MEMBERS; i++)
        fake_etcd_set_delay(w->etcd, i, MS, 5 * MS);
    for (size_t i = 0; i < PARTITIONS; i++)
        cp_mem_disk_set(w->disks[i].disk, (int64_t)(1 + i % 5) * MS, -1);
}

/* ---- orders ---- */

static struct call *move(struct world *w, size_t asked, uint32_t partition, const char *to)
{
    Switchyard__V1__MovePartitionRequest m = SWITCHYARD__V1__MOVE_PARTITION_REQUEST__INIT;
    m.partition = partition;
    m.shard = text_of(to);
    struct call *c = send_call(w, asked, REGION "MovePartition", &m.base);
    c->reads = true;
    return c;
}

static struct call *order_shard(struct world *w, size_t asked, const char *method, const char *name)
{
    Switchyard__V1__OrderShardRequest m = SWITCHYARD__V1__ORDER_SHARD_REQUEST__INIT;
    m.shard = text_of(name);
    struct call *c = send_call(w, asked, method, &m.base);
    c->reads = true;
    return c;
}

static struct call *drain(struct world *w, size_t asked, const char *name)
{
    return order_shard(w, asked, REGION "DrainShard", name);
}

static struct call *undrain(struct world *w, size_t asked, const char *name)
{
    return order_shard(w, asked, REGION "UndrainShard", name);
}

static struct call *rebalance(struct world *w, size_t asked, bool dry_run)
{
    Switchyard__V1__RebalanceRegionRequest m = SWITCHYARD__V1__REBALANCE_REGION_REQUEST__INIT;
    m.dry_run = dry_run;
    struct call *c = send_call(w, asked, REGION "RebalanceRegion", &m.base);
    c->reads = true;
    return c;
}

static void expect_ends(struct world *w, struct call *c, enum sy_code code, const char *words)
{
    UNTIL(w, c->call == NULL);
    ck_assert_msg(c->code == code && strstr(c->text, words) != NULL, "%s: %s",
                  sy_code_name(c->code), c->text);
}

static size_t moves_in(const struct call *c)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const Switchyard__V1__RegionMoves *m = pb_unpack(&switchyard__v1__region_moves__descriptor,
                                                     &arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(m);
    size_t count = m->n_moves;
    sy_arena_deinit(&arena);
    return count;
}

static bool has(const struct world *w, size_t shard, uint32_t partition)
{
    struct cp_shard *s = w->shards[shard].shard;
    return s != NULL && cp_partition_serving(cp_shard_partition(s, partition));
}

static size_t owner_of(const struct world *w, uint32_t partition)
{
    for (size_t i = 0; i < SHARDS; i++)
        if (has(w, i, partition))
            return i;
    ck_abort_msg("nobody has partition %u", partition);
    return 0;
}

/* The map as that shard tells it, in `arena`. */
static const Switchyard__V1__GetRegionMapResponse *map_of(struct world *w, size_t shard,
                                                          struct sy_arena *arena)
{
    Switchyard__V1__GetRegionMapRequest m = SWITCHYARD__V1__GET_REGION_MAP_REQUEST__INIT;
    struct call *c = send_call(w, shard, REGION "GetRegionMap", &m.base);
    c->reads = true;
    expect_ok(w, c);
    const Switchyard__V1__GetRegionMapResponse *map = pb_unpack(
        &switchyard__v1__get_region_map_response__descriptor, arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(map);
    forget_call(w);
    return map;
}

/* ---- a load on one partition ---- */

static struct call *create_in(struct world *w, size_t shard, uint32_t partition)
{
    char name[16];
    do
        snprintf(name, sizeof(name), "run-%zu", w->made++);
    while (cp_range_even_of(cp_name_hash("p", "d", name), PARTITIONS) != partition);
    return create(w, shard, name);
}

static int later(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

struct seen {
    int64_t gap_ns;     /* the longest time in which none was answered */
    int64_t longest_ns; /* of one call */
};

/* What clients saw, whose calls all succeed. Forgets those. */
static struct seen see_load(struct world *w, size_t first)
{
    static int64_t ends[CALLS];
    struct seen seen = {0};
    size_t count = 0;
    for (size_t i = first; i < w->call_count; i++) {
        struct call *c = &w->calls[i];
        expect_ok(w, c);
        if (c->reads)
            continue;
        ends[count++] = c->ended_ns;
        int64_t took_ns = c->ended_ns - c->begun_ns;
        seen.longest_ns = took_ns > seen.longest_ns ? took_ns : seen.longest_ns;
    }
    qsort(ends, count, sizeof(*ends), later);
    for (size_t i = 1; i < count; i++)
        seen.gap_ns = ends[i] - ends[i - 1] > seen.gap_ns ? ends[i] - ends[i - 1] : seen.gap_ns;
    check_runs(w);
    while (w->call_count > first)
        forget_call(w);
    return seen;
}

/* ---- where the time goes ---- */

enum { ORDERED, CLOSING, CLOSED, FREED, CLAIMED, OPENED, SERVES, STEPS };
static const char *const step_names[STEPS] = {"ordered", "closing", "closed", "freed",
                                              "claimed", "opened",  "serves"};

/* In the records of etcd itself. */
static bool record_says(const struct world *w, uint32_t partition, const char *owner)
{
    char key[64];
    struct sy_span value;
    snprintf(key, sizeof(key), "/switchyard/eu/partitions/%05u", partition);
    ck_assert(fake_etcd_find(w->etcd, key, &value));
    struct cp_map map = {0};
    cp_map_begin(&map, INT64_MAX);
    struct cp_coord_record record = {.key = key + strlen("/switchyard/eu/"), .revision = 1};
    record.value = sy_buf_copy(value.data, value.len);
    ck_assert_int_eq(cp_map_add(&map, &record, NULL), 0);
    bool so = strcmp(map.partitions[0].owner, owner) == 0;
    sy_buf_deinit(&record.value);
    cp_map_deinit(&map);
    return so;
}

static void note(const struct world *w, int64_t at[STEPS], uint32_t partition, size_t from,
                 size_t to)
{
    struct cp_partition *old = cp_shard_partition(w->shards[from].shard, partition);
    const bool is[STEPS] = {[ORDERED] = true,
                            [CLOSING] = !cp_partition_serving(old),
                            [CLOSED] = cp_partition_away(old),
                            [FREED] = !record_says(w, partition, w->shards[from].name),
                            [CLAIMED] = record_says(w, partition, w->shards[to].name),
                            [OPENED] = has(w, to, partition),
                            [SERVES] = false};
    for (int i = 0; i < STEPS; i++)
        if (at[i] == 0 && is[i])
            at[i] = w->now_ns;
}

static void say(const int64_t at[STEPS], const struct seen *seen)
{
    if (getenv("ORDERS_VERBOSE") == NULL)
        return;
    for (int i = 1; i < STEPS; i++)
        printf("%s %+.1f ms, ", step_names[i], (double)(at[i] - at[i - 1]) / MS);
    printf("gap %.1f ms, longest %.1f ms\n", (double)seen->gap_ns / MS,
           (double)seen->longest_ns / MS);
}

/* A partition moves from its shard to the next one, under a call every 2 ms through any of them. */
static struct seen move_under_load(struct world *w, uint32_t partition)
{
    size_t first = w->call_count, from = owner_of(w, partition), to = (from + 1) % SHARDS;
    int64_t at[STEPS] = {0};
    struct call *order = NULL;
    for (size_t i = 0; i < 180; i++) {
        if (i == 20)
            order = move(w, i % SHARDS, partition, w->shards[to].name);
        create_in(w, i % SHARDS, partition);
        for (int64_t end_ns = w->now_ns + 2 * MS; w->now_ns < end_ns;) {
            turn(w, end_ns);
            if (order != NULL)
                note(w, at, partition, from, to);
            if (order != NULL && order->call == NULL && at[SERVES] == 0)
                at[SERVES] = w->now_ns;
        }
    }
    expect_ok(w, order);
    ck_assert(has(w, to, partition));
    struct seen seen = see_load(w, first);
    say(at, &seen);
    return seen;
}

/* ---- tests ---- */

START_TEST(a_moved_partition_is_away_for_less_than_200_ms)
{
    struct world *w = &world;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        open_usual(w, seed);
        for (uint32_t i = 0; i < 2 * PARTITIONS; i++) {
            struct seen seen = move_under_load(w, i % PARTITIONS);
            ck_assert_int_lt(seen.gap_ns, 200 * MS);
            ck_assert_int_lt(seen.longest_ns, 500 * MS);
        }
        close_world(w);
    }
}
END_TEST

/* Wanted there, it stays there, whatever would be even; until it may be anywhere. */
START_TEST(what_is_wanted_somewhere_stays_there)
{
    struct world *w = &world;
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    open_usual(w, 11);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct call *c = move(w, p % SHARDS, p, "shard-1");
        expect_ok(w, c);
        ck_assert(has(w, 1, p)); /* it is answered when that is so */
        expect_ok(w, create_in(w, (p + 1) % SHARDS, p));
    }
    run_for(w, 3 * SY_NS_PER_S);
    ck_assert_uint_eq(owned_by(w, 1), PARTITIONS);
    for (size_t i = 0; i < SHARDS; i++) {
        const Switchyard__V1__GetRegionMapResponse *map = map_of(w, i, &arena);
        ck_assert_str_eq(map->region, "eu");
        ck_assert_str_eq(map->shard, w->shards[i].name);
        ck_assert(map->n_shards == SHARDS && map->n_partitions == PARTITIONS);
        ck_assert(map->revision > 0 && map->session_left_ns > 0);
        ck_assert_str_eq(map->trouble, "");
        ck_assert_str_eq(map->shards[2]->endpoint, "shard-2:8090");
        ck_assert_str_eq(map->shards[2]->state, "ready");
        ck_assert(map->shards[1]->partitions == PARTITIONS && map->shards[2]->partitions == 0);
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            ck_assert_uint_eq(map->partitions[p]->partition, p);
            ck_assert_str_eq(map->partitions[p]->shard, "shard-1");
            ck_assert_str_eq(map->partitions[p]->wanted, "shard-1");
            ck_assert_str_eq(map->partitions[p]->target, "");
            ck_assert(!map->partitions[p]->opening);
        }
    }
    struct call *c = move(w, 2, 3, "");
    expect_ok(w, c);
    check_runs(w);

    c = rebalance(w, 0, true);
    expect_ok(w, c);
    ck_assert_uint_ge(moves_in(c), PARTITIONS / 2);
    run_for(w, SY_NS_PER_S);
    ck_assert_uint_ge(owned_by(w, 1), PARTITIONS - 1); /* that was only a question */
    c = rebalance(w, 0, false);
    expect_ok(w, c);
    ck_assert_uint_eq(moves_in(c), 0);
    ck_assert(even(w, SHARDS));
    c = rebalance(w, 1, false); /* nothing is left to do */
    expect_ok(w, c);
    ck_assert(even(w, SHARDS));
    close_world(w);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(a_shard_drains_under_load_and_takes_again)
{
    struct world *w = &world;
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    open_usual(w, 12);
    struct call *order = NULL;
    for (size_t i = 0; i < 300; i++) {
        if (i == 20)
            order = drain(w, 0, "shard-2");
        create_some(w, i % SHARDS);
        run_for(w, 5 * MS);
    }
    expect_ok(w, order);
    ck_assert_uint_eq(moves_in(order), 0);
    ck_assert(owned_by(w, 2) == 0 && even(w, 2));
    ck_assert_int_lt(see_load(w, 0).longest_ns, 500 * MS);
    const Switchyard__V1__GetRegionMapResponse *map = map_of(w, 0, &arena);
    ck_assert_str_eq(map->shards[2]->state, "drained");
    expect_ends(w, move(w, 0, 1, "shard-2"), SY_CODE_FAILED_PRECONDITION, "shard-2 is draining");
    expect_ok(w, drain(w, 2, "shard-2")); /* once more changes nothing */

    expect_ok(w, drain(w, 1, "shard-1"));
    ck_assert_uint_eq(owned_by(w, 1), 0);
    UNTIL(w, owned_by(w, 0) == PARTITIONS);
    expect_ends(w, drain(w, 1, "shard-0"), SY_CODE_FAILED_PRECONDITION, "no other shard takes");
    ck_assert_uint_eq(owned_by(w, 0), PARTITIONS);

    expect_ok(w, undrain(w, 0, "shard-2"));
    expect_ok(w, undrain(w, 0, "shard-1"));
    UNTIL(w, even(w, SHARDS));
    expect_ok(w, drain(w, 0, "shard-1"));
    kill_shard(w, 1); /* a process that begins anew takes partitions */
    start_shard(w, 1);
    UNTIL(w, even(w, SHARDS));
    close_world(w);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(of_two_orders_the_later_one_holds)
{
    struct world *w = &world;
    open_usual(w, 13);
    for (int round = 0; round < 20; round++) {
        uint32_t p = (uint32_t)round % PARTITIONS;
        struct call *a = move(w, 0, p, w->shards[(round + 1) % SHARDS].name);
        if (round % 2 > 0)
            run_for(w, (int64_t)sy_rng_below(&w->rng, 60 * MS));
        struct call *b = move(w, 1, p, w->shards[(round + 2) % SHARDS].name);
        UNTIL(w, a->call == NULL && b->call == NULL);
        bool a_ok = a->code == SY_CODE_OK, b_ok = b->code == SY_CODE_OK;
        ck_assert(a_ok || b_ok);
        ck_assert(a_ok || (a->code == SY_CODE_ABORTED && strstr(a->text, "a later order") != NULL));
        ck_assert(b_ok || (b->code == SY_CODE_ABORTED && strstr(b->text, "a later order") != NULL));
        run_for(w, SY_NS_PER_S);
        size_t owner = owner_of(w, p);
        ck_assert((b_ok && owner == (size_t)(round + 2) % SHARDS) ||
                  (a_ok && owner == (size_t)(round + 1) % SHARDS));
        ck_assert(round % 2 == 0 || b_ok); /* it was sent when the first was there */
        while (w->call_count > 0)
            forget_call(w);
    }
    struct call *a = drain(w, 0, "shard-0"), *b = undrain(w, 1, "shard-0");
    UNTIL(w, a->call == NULL && b->call == NULL);
    ck_assert(a->code == SY_CODE_OK || a->code == SY_CODE_ABORTED);
    ck_assert(b->code == SY_CODE_OK || b->code == SY_CODE_ABORTED);
    expect_ok(w, undrain(w, 1, "shard-0"));
    expect_ok(w, rebalance(w, 0, false)); /* by the map that has shown it */
    UNTIL(w, even(w, SHARDS));            /* what was taken back in the middle is opened anew */
    close_world(w);
}
END_TEST

/* What a shard's copy of the records does not show yet was ordered all the same. */
START_TEST(an_order_knows_what_was_ordered_before_it)
{
    struct world *w = &world;
    open_usual(w, 16);
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    uint32_t p = 0;
    while (owner_of(w, p) != 0)
        p++;
    w->cut = w->shards[2].origin; /* it hears nothing of etcd for a while */
    expect_ok(w, move(w, 1, p, "shard-1"));
    w->cut = NULL;
    expect_ok(w, move(w, 2, p, "")); /* where its copy shows no wish yet */
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(map_of(w, 1, &arena)->partitions[p]->wanted, "");
    expect_ok(w, move(w, 0, p, "shard-0"));
    w->cut = w->shards[0].origin;
    expect_ok(w, move(w, 2, p, ""));
    w->cut = NULL;
    expect_ok(w, move(w, 0, p, "shard-0"));
    run_for(w, SY_NS_PER_S);
    ck_assert_str_eq(map_of(w, 1, &arena)->partitions[p]->wanted, "shard-0");
    close_world(w);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(wrong_orders_are_refused_with_a_sentence)
{
    struct world *w = &world;
    open_usual(w, 14);
    expect_ends(w, move(w, 0, PARTITIONS, "shard-1"), SY_CODE_INVALID_ARGUMENT,
                "partitions 0 to 5");
    expect_ends(w, move(w, 0, 1, "shard-9"), SY_CODE_NOT_FOUND, "no shard 'shard-9' in region eu");
    expect_ends(w, move(w, 0, 1, "a b"), SY_CODE_INVALID_ARGUMENT, "shard 'a b'");
    expect_ends(w, drain(w, 0, "shard-9"), SY_CODE_NOT_FOUND, "no shard 'shard-9'");
    expect_ends(w, drain(w, 0, ""), SY_CODE_INVALID_ARGUMENT, "shard: missing");
    expect_ends(w, undrain(w, 0, "shard-9"), SY_CODE_NOT_FOUND, "no shard 'shard-9'");
    run_for(w, SY_NS_PER_S);
    ck_assert(even(w, SHARDS));
    kill_shard(w, 1);
    run_for(w, 5 * SY_NS_PER_S);
    expect_ends(w, move(w, 0, 1, "shard-1"), SY_CODE_NOT_FOUND, "no shard 'shard-1'");
    close_world(w);
}
END_TEST

/* What is answered is so, or is said not to be known; what was refused is not done later. */
START_TEST(orders_while_etcd_does_not_answer)
{
    struct world *w = &world;
    open_usual(w, 15);
    size_t owner = owner_of(w, 2), other = (owner + 1) % SHARDS;
    fake_etcd_set_quorum(w->etcd, false);
    struct call *early = move(w, owner, 2, w->shards[other].name);
    struct call *leaves = drain(w, owner, w->shards[owner].name);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert(early->call == NULL && early->code == SY_CODE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(early->text, "whether the order was taken is not known"));
    ck_assert(leaves->call == NULL && leaves->code == SY_CODE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(leaves->text, "the order stands"));
    struct call *late = move(w, other, 3, w->shards[owner].name);
    struct call *stays = drain(w, owner, w->shards[other].name);
    struct call *evens = rebalance(w, owner, false);
    run_for(w, 5 * SY_NS_PER_S);
    struct call *const refused[] = {late, stays, evens};
    for (size_t i = 0; i < 3; i++) {
        ck_assert(refused[i]->call == NULL && refused[i]->code == SY_CODE_UNAVAILABLE);
        ck_assert_ptr_nonnull(strstr(refused[i]->text, "nothing was changed"));
    }
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const Switchyard__V1__GetRegionMapResponse *map = map_of(w, 0, &arena);
    ck_assert_int_eq(map->session_left_ns, 0);
    ck_assert_str_ne(map->trouble, "");
    fake_etcd_set_quorum(w->etcd, true);
    UNTIL(w, owned_by(w, other) + owned_by(w, 3 - owner - other) == PARTITIONS);
    run_for(w, 3 * SY_NS_PER_S);
    ck_assert_uint_eq(owned_by(w, owner), 0); /* as was said */
    ck_assert_uint_eq(owned_by(w, other), PARTITIONS / 2);
    expect_ok(w, undrain(w, 0, w->shards[owner].name));
    expect_ok(w, rebalance(w, 0, false));
    ck_assert(even(w, SHARDS));
    close_world(w);
    sy_arena_deinit(&arena);
}
END_TEST

/* Whoever has no more time hears why it is not done; it is done later. */
START_TEST(an_order_that_takes_longer_than_its_caller_has)
{
    struct world *w = &world;
    open_usual(w, 19);
    size_t owner = owner_of(w, 0), other = (owner + 1) % SHARDS;
    w->shards[owner].paused = true;
    w->timeout_ns = SY_NS_PER_S;
    struct call *c = move(w, other, 0, w->shards[other].name);
    expect_ends(w, c, SY_CODE_DEADLINE_EXCEEDED, "it goes on: partition 0 is not here yet");
    c = rebalance(w, other, true);
    expect_ok(w, c);
    w->timeout_ns = 0;
    w->shards[owner].paused = false;
    UNTIL(w, has(w, other, 0));
    close_world(w);
}
END_TEST

/* The shard that is asked, or the one that is named, dies in the middle. */
START_TEST(an_order_outlives_who_took_it)
{
    struct world *w = &world;
    open_usual(w, 16);
    size_t owner = owner_of(w, 0), other = (owner + 1) % SHARDS, third = (owner + 2) % SHARDS;
    struct call *c = move(w, third, 0, w->shards[other].name);
    run_for(w, 15 * MS); /* it is written down */
    kill_shard(w, third);
    UNTIL(w, has(w, other, 0));
    ck_assert(c->call == NULL && c->code == SY_CODE_UNAVAILABLE);
    start_shard(w, third);
    UNTIL(w, even(w, SHARDS));
    c = move(w, owner, 0, w->shards[third].name);
    run_for(w, 15 * MS);
    kill_shard(w, third);
    UNTIL(w, even(w, 2)); /* nobody waits for it */
    ck_assert(c->call == NULL && c->code == SY_CODE_UNAVAILABLE);
    start_shard(w, third);
    UNTIL(w, even(w, SHARDS));
    close_world(w);
}
END_TEST

/* An order in progress when its client goes, or its shard is freed or stops. */
START_TEST(orders_that_are_not_waited_for)
{
    struct world *w = &world;
    open_usual(w, 17);
    for (size_t i = 0; i < 20; i++) {
        uint32_t p = (uint32_t)i % PARTITIONS;
        size_t to = (owner_of(w, p) + 1) % SHARDS;
        struct call *c = move(w, (to + i) % SHARDS, p, w->shards[to].name);
        run_for(w, (int64_t)i * 2 * MS);
        if (c->call != NULL)
            sy_call_finish(c->call, NULL);
        UNTIL(w, c->call == NULL);
        UNTIL(w, has(w, to, p) || i < 6); /* the first may not have been written */
        run_for(w, SY_NS_PER_S);
    }
    struct shard *s = &w->shards[2];
    struct call *c = drain(w, 2, s->name);
    cp_shard_stop(s->shard, SY_NS_PER_S, on_stopped, s);
    UNTIL(w, s->stopped);
    UNTIL(w, c->call == NULL);
    cp_shard_free(sy_take(s->shard));
    drain(w, 0, "shard-0"); /* is left in progress */
    run_for(w, 8 * MS);
    close_world(w);
}
END_TEST

static bool broken;

static int open_or_not(void *ctx, struct cp_store **ret, uint32_t epoch, struct sy_loop *loop,
                       uint32_t *ret_epoch, struct sy_error_text *error)
{
    if (broken) {
        sy_error_text_set(error, "the volume is not mounted");
        return -EIO;
    }
    return open_mem(ctx, ret, epoch, loop, ret_epoch, error);
}

START_TEST(a_partition_that_can_not_be_opened_there)
{
    struct world *w = &world;
    open_usual(w, 18);
    w->openers[2].open = open_or_not;
    for (size_t i = 0; i < SHARDS; i++) {
        kill_shard(w, i);
        start_shard(w, i);
    }
    UNTIL(w, even(w, SHARDS));
    size_t owner = owner_of(w, 2), other = (owner + 1) % SHARDS;
    broken = true;
    struct call *c = move(w, owner, 2, w->shards[other].name);
    expect_ends(w, c, SY_CODE_FAILED_PRECONDITION, "cannot open it, it goes on trying");
    ck_assert_ptr_nonnull(strstr(c->text, "the volume is not mounted"));
    broken = false;
    UNTIL(w, has(w, other, 2));
    expect_ok(w, move(w, owner, 2, w->shards[owner].name));
    close_world(w);
}
END_TEST

/* Where the last message of a watch says that the partition is. */
static void expect_shown(struct world *w, const struct call *watch, uint32_t partition,
                         const char *shard)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    run_for(w, 200 * MS);
    const Switchyard__V1__GetRegionMapResponse *map = pb_unpack(
        &switchyard__v1__get_region_map_response__descriptor, &arena, sy_buf_span(&watch->answer));
    ck_assert(map != NULL && map->n_partitions == PARTITIONS);
    ck_assert_str_eq(map->partitions[partition]->shard, shard);
    ck_assert_str_eq(map->partitions[partition]->target, "");
    ck_assert(!map->partitions[partition]->opening);
    sy_arena_deinit(&arena);
}

START_TEST(the_map_is_told_when_it_changes)
{
    struct world *w = &world;
    open_usual(w, 26);
    Switchyard__V1__GetRegionMapRequest m = SWITCHYARD__V1__GET_REGION_MAP_REQUEST__INIT;
    struct call *watch = send_call(w, 0, REGION "WatchRegionMap", &m.base);
    struct call *second = send_call(w, 0, REGION "WatchRegionMap", &m.base);
    watch->reads = second->reads = true;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        size_t to = (owner_of(w, p) + 1) % SHARDS;
        expect_ok(w, move(w, 1, p, w->shards[to].name));
        expect_shown(w, watch, p, w->shards[to].name);
    }
    size_t calls = w->call_count;
    struct sy_buf last = sy_buf_copy(watch->answer.data, watch->answer.len);
    run_for(w, 10 * SY_NS_PER_S); /* nothing changes, nothing is told */
    ck_assert(watch->call != NULL && watch->answer.len == last.len);
    ck_assert(memcmp(watch->answer.data, last.data, last.len) == 0);
    ck_assert(second->answer.len == last.len); /* all are told the same */
    ck_assert(memcmp(second->answer.data, last.data, last.len) == 0);
    sy_buf_deinit(&last);
    ck_assert_uint_eq(w->call_count, calls);
    struct shard *s = &w->shards[0];
    cp_shard_stop(s->shard, 5 * SY_NS_PER_S, on_stopped, s);
    int64_t stops_ns = w->now_ns;
    UNTIL(w, watch->call == NULL);
    ck_assert(watch->code == SY_CODE_UNAVAILABLE && watch->ended_ns - stops_ns < SY_NS_PER_S);
    UNTIL(w, s->stopped);
    cp_shard_free(sy_take(s->shard));
    close_world(w);
}
END_TEST

/* Orders at random while all kinds of things fail: each ends, and in the end all are undone. */
START_TEST(orders_in_a_storm)
{
    struct world *w = &world;
    for (uint64_t seed = 21; seed < 25; seed++) {
        open_usual(w, seed);
        for (int step = 0; step < 120; step++) {
            size_t asked = some_shard(w);
            const char *name = w->shards[sy_rng_below(&w->rng, SHARDS)].name;
            uint32_t p = (uint32_t)sy_rng_below(&w->rng, PARTITIONS);
            uint64_t what = sy_rng_below(&w->rng, 8);
            if (what < 3)
                move(w, asked, p, name);
            else if (what < 6)
                (void)(what == 3 ? drain : undrain)(w, asked, name);
            else
                rebalance(w, asked, what == 6);
            create_some(w, asked);
            if (sy_rng_chance(&w->rng, 1, 4))
                storm_step(w);
            bool any = false;
            for (size_t i = 0; i < SHARDS; i++)
                any |= w->shards[i].shard != NULL && !w->shards[i].paused;
            if (!any)
                mend(w);
            run_for(w, (int64_t)sy_rng_below(&w->rng, 300 * MS));
        }
        mend(w);
        run_for(w, 20 * SY_NS_PER_S);
        for (size_t i = 0; i < SHARDS; i++)
            expect_ok(w, undrain(w, 0, w->shards[i].name));
        run_for(w, SY_NS_PER_S);
        expect_ok(w, rebalance(w, 1, false));
        UNTIL(w, even(w, SHARDS));
        for (size_t i = 0; i < w->call_count; i++) {
            const struct call *c = &w->calls[i];
            ck_assert_msg(c->call == NULL, "seed %llu: call %zu has no end",
                          (unsigned long long)seed, i);
            ck_assert_msg(c->code == SY_CODE_OK || c->code == SY_CODE_UNAVAILABLE ||
                              c->code == SY_CODE_ABORTED || c->code == SY_CODE_NOT_FOUND ||
                              c->code == SY_CODE_FAILED_PRECONDITION,
                          "seed %llu: %s: %s", (unsigned long long)seed, sy_code_name(c->code),
                          c->text);
        }
        check_runs(w);
        close_world(w);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_moved_partition_is_away_for_less_than_200_ms,
                                  what_is_wanted_somewhere_stays_there,
                                  a_shard_drains_under_load_and_takes_again,
                                  of_two_orders_the_later_one_holds,
                                  an_order_knows_what_was_ordered_before_it,
                                  wrong_orders_are_refused_with_a_sentence,
                                  orders_while_etcd_does_not_answer,
                                  an_order_that_takes_longer_than_its_caller_has,
                                  an_order_outlives_who_took_it,
                                  orders_that_are_not_waited_for,
                                  a_partition_that_can_not_be_opened_there,
                                  the_map_is_told_when_it_changes,
                                  orders_in_a_storm,
                                  NULL};
    return sy_test_run("orders", tests);
}
