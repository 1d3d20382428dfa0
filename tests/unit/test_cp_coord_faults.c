/* links: cp sy_test_etcd */
/* What the coordination port does when etcd fails: on a virtual clock, with the etcd of tests/etcd.
 */
#include "controlplane/events.h"
#include "tests/unit/test_coord_world.h"

static struct world world;

static struct world *start(uint64_t seed, size_t shards)
{
    world_init(&world, KIND_FAKE, seed, NULL);
    for (size_t i = 0; i < shards; i++)
        shard_start(&world, i);
    return &world;
}

static bool held(const struct world *w, size_t i)
{
    return cp_coord_held_until_ns(w->shards[i].coord) > world_now_ns(w);
}

/* Both copies hold the same records. */
static bool alike(const struct world *w, size_t a, size_t b)
{
    const struct cp_coord *x = w->shards[a].coord, *y = w->shards[b].coord;
    const struct cp_coord_record *r = cp_coord_next(x, "", NULL), *s = cp_coord_next(y, "", NULL);
    for (; r != NULL && s != NULL;
         r = cp_coord_next(x, "", r->key), s = cp_coord_next(y, "", s->key))
        if (strcmp(r->key, s->key) != 0 || r->revision != s->revision ||
            r->value.len != s->value.len || memcmp(r->value.data, s->value.data, r->value.len) != 0)
            return false;
    return r == NULL && s == NULL;
}

START_TEST(a_member_that_dies_is_left_for_another)
{
    struct world *w = start(1, 2);
    int64_t session = cp_coord_session(w->shards[0].coord);
    for (size_t member = 0; member < MEMBERS; member++) {
        char key[8];
        snprintf(key, sizeof(key), "k%zu", member);
        fake_etcd_kill(w->fake, member);
        WORLD_UNTIL(w, fake_etcd_has_leader(w->fake));
        WORLD_UNTIL(w, shard_put(w, 0, key, "x", CP_COORD_ANY) == CP_COORD_DONE);
        WORLD_UNTIL(w, shard_sees(w, 1, key, "x"));
        fake_etcd_start(w->fake, member);
        world_run(w, 3 * SY_NS_PER_S);
        ck_assert(held(w, 0) && held(w, 1));
    }
    ck_assert(alike(w, 0, 1));
    ck_assert_int_eq(cp_coord_session(w->shards[0].coord), session);
    world_deinit(w);
}
END_TEST

/* It is not asked for what only its likes can tell, and so is left. */
START_TEST(a_member_that_is_cut_off_is_left_for_another)
{
    struct world *w = start(2, 2);
    for (size_t member = 0; member < MEMBERS; member++) {
        fake_etcd_cut(w->fake, member);
        WORLD_UNTIL(w, shard_put(w, 0, "k", "x", CP_COORD_ANY) == CP_COORD_DONE);
        WORLD_UNTIL(w, alike(w, 0, 1) && held(w, 0) && held(w, 1));
        fake_etcd_mend(w->fake, member);
        world_run(w, 3 * SY_NS_PER_S);
    }
    world_deinit(w);
}
END_TEST

START_TEST(without_a_quorum_nothing_is_held_and_nothing_is_promised)
{
    struct world *w = start(3, 2);
    struct cp_coord_op op = {CP_COORD_PUT_BOUND, "shards/a", text_span("x"), CP_COORD_ABSENT};
    ck_assert_int_eq(shard_write(w, 0, &op, 1), CP_COORD_DONE);
    int64_t held_until_ns = cp_coord_held_until_ns(w->shards[0].coord);
    fake_etcd_set_quorum(w->fake, false);
    world_run(w, TTL_NS + 2 * SY_NS_PER_S);
    ck_assert(!held(w, 0) && !held(w, 1));
    ck_assert_int_lt(cp_coord_held_until_ns(w->shards[0].coord) - held_until_ns, TTL_NS);
    ck_assert_str_ne(cp_coord_trouble(w->shards[0].coord), "");
    ck_assert_int_eq(shard_put(w, 0, "k", "x", CP_COORD_ANY), CP_COORD_UNKNOWN);
    ck_assert(shard_sees(w, 1, "shards/a", "x")); /* what is known is still known */
    fake_etcd_set_quorum(w->fake, true);
    unsigned before = w->shards[0].changes;
    WORLD_UNTIL(w, held(w, 0) && held(w, 1));
    WORLD_UNTIL(w, w->shards[0].changes > before);
    ck_assert_int_eq(shard_put(w, 0, "l", "x", CP_COORD_ANY), CP_COORD_DONE);
    WORLD_UNTIL(w, alike(w, 0, 1));
    world_deinit(w);
}
END_TEST

/* Each member is tried every second or so, by two lines. */
START_TEST(an_outage_of_etcd_does_not_fill_the_log)
{
    struct world *w = start(6, 1);
    uint64_t before = sy_log_count(w->log, &cp_coord_events, CP_COORD_EV_TROUBLE);
    fake_etcd_set_quorum(w->fake, false);
    world_run(w, 60 * SY_NS_PER_S);
    uint64_t told = sy_log_count(w->log, &cp_coord_events, CP_COORD_EV_TROUBLE) - before;
    ck_assert_uint_ge(told, MEMBERS); /* each is named */
    ck_assert_uint_le(told, MEMBERS * 6);
    world_deinit(w);
}
END_TEST

START_TEST(a_session_that_etcd_lost_is_followed_by_another)
{
    struct world *w = start(4, 2);
    struct cp_coord_op op = {CP_COORD_PUT_BOUND, "shards/a", text_span("x"), CP_COORD_ABSENT};
    ck_assert_int_eq(shard_write(w, 0, &op, 1), CP_COORD_DONE);
    int64_t session = cp_coord_session(w->shards[0].coord);
    /* Its process stands still for longer than its session lasts. */
    w->paused = &w->shards[0];
    world_run(w, TTL_NS + SY_NS_PER_S);
    ck_assert(!fake_etcd_has_lease(w->fake, session));
    ck_assert(!held(w, 0) && shard_sees(w, 1, "shards/a", NULL));
    w->paused = NULL;
    WORLD_UNTIL(w, held(w, 0) && cp_coord_session(w->shards[0].coord) != session);
    ck_assert(shard_sees(w, 0, "shards/a", NULL));
    ck_assert_int_eq(shard_write(w, 0, &op, 1), CP_COORD_DONE);
    world_deinit(w);
}
END_TEST

/* The watch breaks, much happens, and what happened first is compacted away. */
START_TEST(a_copy_that_missed_what_is_compacted_is_read_anew)
{
    struct world *w = start(5, 2);
    ck_assert_int_eq(shard_put(w, 1, "gone", "x", CP_COORD_ABSENT), CP_COORD_DONE);
    WORLD_UNTIL(w, alike(w, 0, 1));
    w->cut = shard_names[0];
    world_run(w, 100 * SY_NS_PER_MS);
    struct cp_coord_op gone = {CP_COORD_DELETE, "gone", {0}, CP_COORD_ANY};
    ck_assert_int_eq(shard_write(w, 1, &gone, 1), CP_COORD_DONE);
    for (int i = 0; i < 20; i++) {
        char key[8];
        snprintf(key, sizeof(key), "k%d", i % 7);
        ck_assert_int_eq(shard_put(w, 1, key, key, CP_COORD_ANY), CP_COORD_DONE);
    }
    fake_etcd_compact(w->fake);
    w->cut = NULL;
    WORLD_UNTIL(w, alike(w, 0, 1));
    ck_assert_int_eq(shard_put(w, 0, "after", "x", CP_COORD_ABSENT), CP_COORD_DONE);
    WORLD_UNTIL(w, alike(w, 0, 1));
    world_deinit(w);
}
END_TEST

/* ---- any fault, at any time ---- */

/* Each shard adds one to a counter, on the condition that nobody did so meanwhile, again and again;
 * who hears DONE has counted, who hears CONFLICT has not, and UNKNOWN may be either. */
struct adder {
    struct world *w;
    size_t shard;
    uint64_t wrote;
    bool busy;
};
static uint64_t done_count, unknown_count;

static uint64_t counter_in(const struct cp_coord_record *record)
{
    return record != NULL ? strtoull((const char *)record->value.data, NULL, 10) : 0;
}

static void on_added(void *ctx, enum cp_coord_result result)
{
    struct adder *adder = ctx;
    adder->busy = false;
    done_count += result == CP_COORD_DONE;
    unknown_count += result == CP_COORD_UNKNOWN;
    if (result != CP_COORD_DONE)
        return;
    const struct cp_coord *coord = adder->w->shards[adder->shard].coord;
    ck_assert(counter_in(cp_coord_find(coord, "counter")) >= adder->wrote);
}

static void add(struct adder *adder)
{
    struct cp_coord *coord = adder->w->shards[adder->shard].coord;
    const struct cp_coord_record *record = cp_coord_find(coord, "counter");
    char text[24];
    adder->wrote = counter_in(record) + 1;
    adder->busy = true;
    int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)adder->wrote);
    struct cp_coord_op op = {CP_COORD_PUT,
                             "counter",
                             {(const uint8_t *)text, (size_t)len + 1},
                             record != NULL ? record->revision : CP_COORD_ABSENT};
    cp_coord_write(coord, &op, 1, on_added, adder);
}

static void break_something(struct world *w)
{
    size_t member = sy_rng_below(&w->rng, MEMBERS);
    switch (sy_rng_below(&w->rng, 9)) {
    case 0:
        if (fake_etcd_up(w->fake, member))
            fake_etcd_kill(w->fake, member);
        else
            fake_etcd_start(w->fake, member);
        break;
    case 1:
        fake_etcd_cut(w->fake, member);
        break;
    case 2:
        fake_etcd_mend(w->fake, member);
        break;
    case 3:
        fake_etcd_set_quorum(w->fake, sy_rng_chance(&w->rng, 2, 3));
        break;
    case 4:
        fake_etcd_change_leader(w->fake);
        break;
    case 5:
        fake_etcd_set_delay(w->fake, member, 0,
                            (int64_t)sy_rng_below(&w->rng, SY_NS_PER_S) + SY_NS_PER_US);
        break;
    case 6:
        fake_etcd_compact(w->fake);
        break;
    case 7:
        w->cut = sy_rng_chance(&w->rng, 1, 2) ? shard_names[sy_rng_below(&w->rng, 3)] : NULL;
        break;
    default:
        w->drop_ppm = (unsigned)sy_rng_below(&w->rng, 20000);
    }
}

static void heal(struct world *w)
{
    fake_etcd_set_quorum(w->fake, true);
    w->drop_ppm = 0;
    w->cut = NULL;
    for (size_t i = 0; i < MEMBERS; i++) {
        fake_etcd_mend(w->fake, i);
        fake_etcd_set_delay(w->fake, i, 0, 0);
        if (!fake_etcd_up(w->fake, i))
            fake_etcd_start(w->fake, i);
    }
}

static uint64_t count_in_a_storm(uint64_t seed)
{
    struct world *w = start(seed, 3);
    struct adder adders[3];
    done_count = unknown_count = 0;
    for (size_t i = 0; i < 3; i++)
        adders[i] = (struct adder){.w = w, .shard = i};
    for (int step = 0; step < 600; step++) {
        if (sy_rng_chance(&w->rng, 1, 20))
            break_something(w);
        for (size_t i = 0; i < 3; i++)
            if (!adders[i].busy)
                add(&adders[i]);
        world_run(w, (int64_t)sy_rng_below(&w->rng, 100 * SY_NS_PER_MS));
        for (size_t i = 0; i < 3; i++)
            ck_assert_msg(!held(w, i) ||
                              fake_etcd_has_lease(w->fake, cp_coord_session(w->shards[i].coord)),
                          "seed %llu: shard %zu holds what is gone", (unsigned long long)seed, i);
    }
    heal(w);
    WORLD_UNTIL(w, !adders[0].busy && !adders[1].busy && !adders[2].busy);
    WORLD_UNTIL(w, shard_put(w, 0, "end", "x", CP_COORD_ANY) == CP_COORD_DONE);
    WORLD_UNTIL(w, held(w, 0) && held(w, 1) && held(w, 2));
    WORLD_UNTIL(w, shard_sees(w, 1, "end", "x") && shard_sees(w, 2, "end", "x"));
    world_run(w, 2 * SY_NS_PER_S); /* what was unknown has happened by now, or never will */
    ck_assert_msg(alike(w, 0, 1) && alike(w, 0, 2), "seed %llu", (unsigned long long)seed);
    uint64_t counter = counter_in(cp_coord_find(w->shards[0].coord, "counter"));
    ck_assert_msg(done_count <= counter && counter <= done_count + unknown_count,
                  "seed %llu: %llu counted, %llu done, %llu unknown", (unsigned long long)seed,
                  (unsigned long long)counter, (unsigned long long)done_count,
                  (unsigned long long)unknown_count);
    world_deinit(w);
    return counter;
}

START_TEST(no_answer_lies_whatever_fails)
{
    const char *text = getenv("COORD_SEEDS");
    uint64_t count = text != NULL ? strtoull(text, NULL, 10) : 60, counted = 0;
    for (uint64_t seed = 1; seed <= count; seed++)
        counted += count_in_a_storm(seed);
    ck_assert_uint_gt(counted, 100 * count); /* storms stop much, but not all */
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_member_that_dies_is_left_for_another,
                                  a_member_that_is_cut_off_is_left_for_another,
                                  without_a_quorum_nothing_is_held_and_nothing_is_promised,
                                  an_outage_of_etcd_does_not_fill_the_log,
                                  a_session_that_etcd_lost_is_followed_by_another,
                                  a_copy_that_missed_what_is_compacted_is_read_anew,
                                  no_answer_lies_whatever_fails,
                                  NULL};
    return sy_test_run("coord faults", tests);
}
