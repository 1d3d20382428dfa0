/* links: cp sy_test_etcd */
/* What every adapter of the coordination port promises (controlplane/coord.h): without an etcd,
 * with that of tests/etcd, with a real one. */
#include "tests/unit/test_coord_world.h"

/* The shard that a second look is taken from: without an etcd there is but one. */
static size_t other(const struct world *w)
{
    return w->kind == KIND_NONE ? 0 : 1;
}

static void start_two(struct world *w)
{
    shard_start(w, 0);
    if (other(w) == 1)
        shard_start(w, 1);
}

/* ---- all adapters ---- */

static void a_shard_gets_a_copy_and_a_session(struct world *w)
{
    struct cp_coord *coord = shard_start(w, 0);
    WORLD_UNTIL(w, w->shards[0].changes > 0 && cp_coord_trouble(coord)[0] == '\0');
    ck_assert_int_gt(cp_coord_held_until_ns(coord), world_now_ns(w));
    ck_assert_ptr_null(cp_coord_next(coord, "", NULL));
    int64_t session = cp_coord_session(coord);
    world_run(w, 2 * world_ttl_ns(w)); /* it is renewed */
    ck_assert_int_eq(cp_coord_session(coord), session);
    ck_assert_int_gt(cp_coord_held_until_ns(coord), world_now_ns(w));
}

static void what_is_written_is_seen_by_all(struct world *w)
{
    start_two(w);
    unsigned before = w->shards[0].changes;
    ck_assert_int_eq(shard_put(w, 0, "a/1", "one", CP_COORD_ABSENT), CP_COORD_DONE);
    ck_assert(shard_sees(w, 0, "a/1", "one")); /* at once, for who wrote it */
    int64_t revision = cp_coord_find(w->shards[0].coord, "a/1")->revision;
    ck_assert_int_gt(revision, 0);
    WORLD_UNTIL(w, w->shards[0].changes > before);
    WORLD_UNTIL(w, shard_sees(w, other(w), "a/1", "one"));
    ck_assert_int_eq(cp_coord_find(w->shards[other(w)].coord, "a/1")->revision, revision);
    ck_assert_int_eq(shard_put(w, other(w), "a/1", "", CP_COORD_ANY), CP_COORD_DONE);
    WORLD_UNTIL(w, shard_sees(w, 0, "a/1", ""));
    ck_assert_int_gt(cp_coord_find(w->shards[0].coord, "a/1")->revision, revision);
}

static void a_write_happens_when_all_its_conditions_hold(struct world *w)
{
    shard_start(w, 0);
    ck_assert_int_eq(shard_put(w, 0, "k", "1", CP_COORD_ABSENT), CP_COORD_DONE);
    ck_assert_int_eq(shard_put(w, 0, "k", "2", CP_COORD_ABSENT), CP_COORD_CONFLICT);
    int64_t first = cp_coord_find(w->shards[0].coord, "k")->revision;
    ck_assert_int_eq(shard_put(w, 0, "k", "2", first), CP_COORD_DONE);
    ck_assert_int_eq(shard_put(w, 0, "k", "3", first), CP_COORD_CONFLICT);
    int64_t second = cp_coord_find(w->shards[0].coord, "k")->revision;
    struct cp_coord_op ops[] = {{CP_COORD_PUT, "l", text_span("x"), CP_COORD_ABSENT},
                                {CP_COORD_CHECK, "k", {0}, first},
                                {CP_COORD_PUT, "m", text_span("x"), CP_COORD_ANY}};
    ck_assert_int_eq(shard_write(w, 0, ops, 3), CP_COORD_CONFLICT);
    ck_assert(shard_sees(w, 0, "l", NULL) && shard_sees(w, 0, "m", NULL));
    ops[1].if_revision = second;
    ck_assert_int_eq(shard_write(w, 0, ops, 3), CP_COORD_DONE);
    ck_assert(shard_sees(w, 0, "l", "x") && shard_sees(w, 0, "m", "x"));
    ck_assert_int_eq(cp_coord_find(w->shards[0].coord, "l")->revision,
                     cp_coord_find(w->shards[0].coord, "m")->revision);
    ck_assert_int_eq(cp_coord_find(w->shards[0].coord, "k")->revision, second);
}

static void what_is_deleted_can_be_made_again(struct world *w)
{
    start_two(w);
    ck_assert_int_eq(shard_put(w, 0, "k", "1", CP_COORD_ABSENT), CP_COORD_DONE);
    int64_t first = cp_coord_find(w->shards[0].coord, "k")->revision;
    struct cp_coord_op gone = {CP_COORD_DELETE, "k", {0}, first};
    ck_assert_int_eq(shard_write(w, 0, &gone, 1), CP_COORD_DONE);
    ck_assert(shard_sees(w, 0, "k", NULL));
    WORLD_UNTIL(w, shard_sees(w, other(w), "k", NULL));
    ck_assert_int_eq(shard_write(w, 0, &gone, 1), CP_COORD_CONFLICT);
    gone.if_revision = CP_COORD_ANY;
    ck_assert_int_eq(shard_write(w, 0, &gone, 1), CP_COORD_DONE);
    ck_assert_int_eq(shard_put(w, other(w), "k", "2", CP_COORD_ABSENT), CP_COORD_DONE);
    WORLD_UNTIL(w, shard_sees(w, 0, "k", "2"));
    ck_assert_int_gt(cp_coord_find(w->shards[0].coord, "k")->revision, first);
}

static void records_are_listed_in_order_of_keys(struct world *w)
{
    static const char *const keys[] = {"b/2", "a/1", "b/10", "c", "b/1", "b"};
    shard_start(w, 0);
    struct cp_coord *coord = w->shards[0].coord;
    for (size_t i = 0; i < SY_COUNT_OF(keys); i++)
        ck_assert_int_eq(shard_put(w, 0, keys[i], "", CP_COORD_ABSENT), CP_COORD_DONE);
    SY_CLEANUP(sy_buf_deinit) struct sy_buf list = {0};
    const char *after = NULL;
    for (const struct cp_coord_record *r; (r = cp_coord_next(coord, "b/", after)) != NULL;
         after = r->key)
        sy_buf_printf(&list, "%s ", r->key);
    ck_assert_str_eq((const char *)list.data, "b/1 b/10 b/2 ");
    ck_assert_str_eq(cp_coord_next(coord, "b/", "b/1a")->key, "b/2");
    ck_assert_str_eq(cp_coord_next(coord, "", "b/2")->key, "c");
    ck_assert_ptr_null(cp_coord_next(coord, "d", NULL));
}

static void on_left(void *arg)
{
    struct shard *s = arg;
    s->left = true;
}

static void what_is_bound_goes_when_the_shard_leaves(struct world *w)
{
    start_two(w);
    struct cp_coord_op ops[] = {{CP_COORD_PUT_BOUND, "shards/a", text_span("x"), CP_COORD_ABSENT},
                                {CP_COORD_PUT, "other", text_span("y"), CP_COORD_ABSENT}};
    ck_assert_int_eq(shard_write(w, 0, ops, 2), CP_COORD_DONE);
    WORLD_UNTIL(w, shard_sees(w, other(w), "shards/a", "x"));
    struct shard *s = &w->shards[0];
    ck_assert_int_eq(cp_coord_find(w->shards[other(w)].coord, "shards/a")->session,
                     cp_coord_session(s->coord));
    ck_assert_int_eq(cp_coord_find(w->shards[other(w)].coord, "other")->session, 0);
    int64_t left_ns = world_now_ns(w);
    cp_coord_leave(s->coord, on_left, s);
    ck_assert(!s->left);
    WORLD_UNTIL(w, s->left && shard_sees(w, other(w), "shards/a", NULL));
    if (w->kind != KIND_REAL)
        ck_assert_int_lt(world_now_ns(w) - left_ns, TTL_NS);
    ck_assert(shard_sees(w, other(w), "other", "y"));
    ck_assert_int_eq(cp_coord_session(s->coord), 0);
    ck_assert_int_eq(shard_write(w, 0, ops, 1), CP_COORD_CONFLICT);
    world_run(w, world_ttl_ns(w));
    ck_assert_int_eq(cp_coord_session(s->coord), 0); /* no other begins */
}

/* ---- with an etcd ---- */

static void what_is_bound_outlives_a_dead_shard_until_it_could_not_act(struct world *w)
{
    start_two(w);
    struct cp_coord_op op = {CP_COORD_PUT_BOUND, "shards/a", text_span("x"), CP_COORD_ABSENT};
    ck_assert_int_eq(shard_write(w, 0, &op, 1), CP_COORD_DONE);
    WORLD_UNTIL(w, shard_sees(w, 1, "shards/a", "x"));
    int64_t held_until_ns = cp_coord_held_until_ns(w->shards[0].coord);
    shard_die(w, 0);
    WORLD_UNTIL(w, shard_sees(w, 1, "shards/a", NULL));
    ck_assert_int_ge(world_now_ns(w), held_until_ns);
    shard_start(w, 0);
    ck_assert_int_eq(shard_write(w, 0, &op, 1), CP_COORD_DONE);
    WORLD_UNTIL(w, shard_sees(w, 1, "shards/a", "x"));
}

static void regions_do_not_see_each_other(struct world *w)
{
    char near[32];
    snprintf(near, sizeof(near), "%s2", w->region);
    shard_start(w, 0);
    shard_start_in(w, 1, near);
    WORLD_UNTIL(w, cp_coord_session(w->shards[1].coord) != 0 &&
                       cp_coord_revision(w->shards[1].coord) > 0);
    ck_assert_int_eq(shard_put(w, 0, "k", "eu", CP_COORD_ABSENT), CP_COORD_DONE);
    ck_assert_int_eq(shard_put(w, 1, "k", "eu2", CP_COORD_ABSENT), CP_COORD_DONE);
    ck_assert(shard_sees(w, 0, "k", "eu") && shard_sees(w, 1, "k", "eu2"));
    shard_die(w, 1);
    shard_start_in(w, 1, near); /* what is read, not only what is heard */
    WORLD_UNTIL(w, cp_coord_revision(w->shards[1].coord) > 0);
    ck_assert(shard_sees(w, 1, "k", "eu2"));
    ck_assert_ptr_null(cp_coord_next(w->shards[1].coord, "", "k"));
}

static void large_records_and_writes_pass(struct world *w)
{
    start_two(w);
    static char keys[CP_COORD_OPS_MAX][CP_COORD_KEY_MAX];
    static char value[CP_COORD_VALUE_MAX / 8];
    struct cp_coord_op ops[CP_COORD_OPS_MAX];
    memset(value, 'v', sizeof(value));
    struct sy_span span = {(const uint8_t *)value, sizeof(value)};
    for (int i = 0; i < CP_COORD_OPS_MAX; i++) {
        memset(keys[i], 'k', CP_COORD_KEY_MAX - 1);
        snprintf(keys[i], 8, "%d", i);
        keys[i][strlen(keys[i])] = '-';
        ops[i] = (struct cp_coord_op){CP_COORD_PUT, keys[i], span, CP_COORD_ABSENT};
    }
    ck_assert_int_eq(shard_write(w, 0, ops, CP_COORD_OPS_MAX), CP_COORD_DONE);
    WORLD_UNTIL(w, cp_coord_find(w->shards[1].coord, keys[CP_COORD_OPS_MAX - 1]) != NULL);
    ck_assert(cp_coord_find(w->shards[1].coord, keys[0])->value.len == sizeof(value));
}

/* ---- running ---- */

struct promise {
    const char *name;
    void (*fn)(struct world *w);
    bool needs_etcd;
};
#define CASE(fn, needs_etcd)                                                                       \
    {                                                                                              \
#fn, fn, needs_etcd                                                                        \
    }
static const struct promise contract[] = {
    CASE(a_shard_gets_a_copy_and_a_session, false),
    CASE(what_is_written_is_seen_by_all, false),
    CASE(a_write_happens_when_all_its_conditions_hold, false),
    CASE(what_is_deleted_can_be_made_again, false),
    CASE(records_are_listed_in_order_of_keys, false),
    CASE(what_is_bound_goes_when_the_shard_leaves, false),
    CASE(what_is_bound_outlives_a_dead_shard_until_it_could_not_act, true),
    CASE(regions_do_not_see_each_other, true),
    CASE(large_records_and_writes_pass, true),
};

static void run_contract(enum kind kind, const struct real *real)
{
    for (size_t i = 0; i < SY_COUNT_OF(contract); i++) {
        struct world w;
        if (kind == KIND_NONE && contract[i].needs_etcd)
            continue;
        world_init(&w, kind, i, real);
        contract[i].fn(&w);
        world_deinit(&w);
    }
}

/* ---- without an etcd, but kept ---- */

struct keeper {
    struct cp_coord *coord;
    const struct cp_coord_op *ops; /* of the write that it has not answered */
    size_t count;
};

static void keep(void *ctx, const struct cp_coord_op *ops, size_t count)
{
    struct keeper *keeper = ctx;
    ck_assert_ptr_null(keeper->ops);
    keeper->ops = ops;
    keeper->count = count;
}

static void kept(struct keeper *keeper, bool fine)
{
    keeper->ops = NULL;
    cp_coord_none_kept(keeper->coord, fine);
}

static void add_two(void *ctx, struct cp_coord *coord)
{
    (void)ctx;
    cp_coord_none_add(coord, "a", text_span("1"));
    cp_coord_none_add(coord, "b", text_span("2"));
}

static void add_one(void *ctx, struct cp_coord *coord)
{
    (void)ctx;
    cp_coord_none_add(coord, "a", text_span("1"));
}

static void on_result(void *ctx, enum cp_coord_result result)
{
    *(int *)ctx = (int)result;
}

static void ignore_changes(void *ctx)
{
    (void)ctx;
}

START_TEST(records_are_shown_when_they_are_kept)
{
    struct world w;
    struct keeper keeper = {0};
    int first = -1, second = -1;
    world_init(&w, KIND_NONE, 1, NULL);
    struct sy_loop *loop = world_loop(&w);
    cp_coord_none_new(&keeper.coord, loop, &(struct cp_coord_keep){keep, &keeper},
                      &(struct cp_coord_sink){ignore_changes, NULL});
    struct cp_coord_op put = {CP_COORD_PUT, "c", text_span("3"), CP_COORD_ABSENT};
    ck_assert_int_eq(cp_coord_revision(keeper.coord), 0);
    cp_coord_write(keeper.coord, &put, 1, on_result, &first); /* nothing was read yet */
    sy_loop_turn(loop);
    ck_assert_int_eq(first, CP_COORD_CONFLICT);
    cp_coord_none_read(keeper.coord, add_two, NULL);
    ck_assert_ptr_nonnull(cp_coord_find(keeper.coord, "b"));
    cp_coord_write(keeper.coord, &put, 1, on_result, &first);
    ck_assert_uint_eq(keeper.count, 1);
    ck_assert_ptr_null(cp_coord_find(keeper.coord, "c")); /* not yet */
    struct cp_coord_op other = {CP_COORD_PUT, "d", text_span(""), CP_COORD_ANY};
    cp_coord_write(keeper.coord, &other, 1, on_result, &second);
    sy_loop_turn(loop);
    ck_assert_int_eq(second, CP_COORD_CONFLICT); /* one at a time */
    kept(&keeper, true);
    sy_loop_turn(loop);
    ck_assert_int_eq(first, CP_COORD_DONE);
    ck_assert_ptr_nonnull(cp_coord_find(keeper.coord, "c"));
    int64_t revision = cp_coord_find(keeper.coord, "a")->revision;
    struct cp_coord_op check = {CP_COORD_CHECK, "a", {0}, revision};
    cp_coord_write(keeper.coord, &check, 1, on_result, &first); /* nothing is kept */
    sy_loop_turn(loop);
    ck_assert_ptr_null(keeper.ops);
    ck_assert_int_eq(first, CP_COORD_DONE);
    cp_coord_write(keeper.coord, &other, 1, on_result, &second);
    kept(&keeper, false);
    sy_loop_turn(loop);
    ck_assert_int_eq(second, CP_COORD_UNKNOWN);
    ck_assert_ptr_null(cp_coord_find(keeper.coord, "d"));
    cp_coord_none_read(keeper.coord, add_one, NULL);
    ck_assert_ptr_null(cp_coord_find(keeper.coord, "b"));
    ck_assert_int_gt(cp_coord_find(keeper.coord, "a")->revision, revision);
    cp_coord_write(keeper.coord, &other, 1, on_result, &second);
    cp_coord_free(keeper.coord); /* with one in flight */
    sy_loop_free(loop);
    world_deinit(&w);
}
END_TEST

START_TEST(without_an_etcd)
{
    run_contract(KIND_NONE, NULL);
}
END_TEST

START_TEST(with_the_etcd_of_the_tests)
{
    run_contract(KIND_FAKE, NULL);
}
END_TEST

static struct real real;

START_TEST(with_a_real_etcd)
{
    if (real.runs)
        run_contract(KIND_REAL, &real);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {records_are_shown_when_they_are_kept, without_an_etcd,
                                  with_the_etcd_of_the_tests, with_a_real_etcd, NULL};
    real_start(&real, 1);
    int r = sy_test_run("coord", tests);
    real_stop(&real);
    return r;
}
