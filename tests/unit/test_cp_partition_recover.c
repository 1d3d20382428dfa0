/* links: cp */
/* The partition shell while it recovers from its store: in slices, and whatever comes between. */
#include "cp_partition_world.h"

#include <stdatomic.h>

enum { RUNS = 3, CHILDREN = 700, ACTIONS = RUNS * (CHILDREN + 1) };

static const char *run_name(unsigned i)
{
    static char name[16];
    snprintf(name, sizeof(name), "run-%u", i);
    return name;
}

/* Runs whose actions wait for a cluster. */
static struct world *filled_world(void)
{
    static char names[CHILDREN][16];
    struct cp_new_action actions[CHILDREN] = {0};
    struct world *w = world_new();
    struct answer answer;
    w->offline = true;
    world_run(w, 10 * MS);
    for (unsigned i = 0; i < CHILDREN; i++) {
        snprintf(names[i], sizeof(names[i]), "c%05u", i);
        actions[i].name = names[i];
    }
    for (unsigned i = 0; i < RUNS; i++) {
        create_run(w, run_name(i), "", "switchyard.process", &answer);
        expect(w, &answer, SY_CODE_OK, "");
        enqueue(w, run_name(i), "a0", actions, CHILDREN, false, &answer);
        expect(w, &answer, SY_CODE_OK, "");
        ck_assert_uint_eq(answer.created, CHILDREN);
    }
    return w;
}

static void restart(struct world *w)
{
    world_crash(w);
    world_start(w);
}

static void until_serving(struct world *w)
{
    for (int i = 0; i < 100000 && !cp_partition_serving(w->p); i++)
        world_step(w, w->now_ns + SY_NS_PER_S);
    ck_assert(cp_partition_serving(w->p));
}

static void expect_all(struct world *w)
{
    struct sch_partition_counts counts = cp_partition_counts(w->p);
    ck_assert_uint_eq(counts.runs_live, RUNS);
    ck_assert_uint_eq(counts.recovering + counts.groups + counts.queued, ACTIONS);
    cp_partition_check(w->p);
}

/* ---- tests ---- */

struct other { /* what else is on the loop */
    struct world *w;
    struct sy_timer timer;
    unsigned runs;
};

static void on_other(void *arg)
{
    struct other *other = arg;
    other->runs++;
    sy_timer_start_in(other->w->loop, &other->timer, 0);
}

START_TEST(a_large_partition_does_not_stop_its_loop)
{
    struct world *w = filled_world();
    struct other other = {.w = w};
    struct answer answer = {0};
    bool asked = false;
    restart(w);
    uint64_t before = cp_partition_epoch(w->p);
    while (cp_partition_epoch(w->p) == before) /* it has not read the store */
        world_step(w, w->now_ns + SY_NS_PER_S);
    sy_timer_init(&other.timer, on_other, &other);
    world_run(w, MS / 20); /* its epoch is being written */
    sy_timer_start_in(w->loop, &other.timer, 0);
    while (!cp_partition_serving(w->p)) {
        ck_assert_str_eq(cp_partition_state_word(w->p), "opening");
        ck_assert_uint_eq(cp_partition_counts(w->p).runs_live, 0); /* nothing is shown before */
        ck_assert_ptr_null(cp_partition_core(w->p));
        if (other.runs >= 3 && !asked)
            create_run(w, "new", "", "switchyard.process", &answer);
        asked |= other.runs >= 3;
        w->now_ns += MS; /* turns take time */
        world_step(w, w->now_ns);
        ck_assert_uint_lt(other.runs, 1000);
    }
    ck_assert_uint_ge(other.runs, ACTIONS / 300);
    expect(w, &answer, SY_CODE_UNAVAILABLE, "partition 0 is being opened; try again");
    sy_timer_stop(w->loop, &other.timer);
    expect_all(w);
    create_run(w, "new", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_free(w);
}
END_TEST

static _Atomic int64_t until_ns;

static void on_done(void *ctx)
{
    *(bool *)ctx = true;
}

enum how { ABANDONED, GIVEN, STOPPED, KILLED, LAPSED, WAYS };

static void end(struct world *w, enum how how)
{
    bool done = false;
    switch (how) {
    case ABANDONED:
        if (!cp_partition_abandon(w->p, "gone", on_done, &done)) {
            while (!done)
                world_step(w, w->now_ns + SY_NS_PER_S);
        }
        break;
    case GIVEN:
        cp_partition_give(w->p, on_done, &done);
        while (!done)
            world_step(w, w->now_ns + SY_NS_PER_S);
        break;
    case STOPPED:
        cp_partition_stop(w->p, on_done, &done);
        while (!done)
            world_step(w, w->now_ns + SY_NS_PER_S);
        break;
    case LAPSED:
        until_ns = w->now_ns;
        world_run(w, SY_NS_PER_S);
        until_ns = SY_TIME_NEVER;
        break;
    default:
        break;
    }
    bool away = how != STOPPED && how != KILLED;
    ck_assert(cp_partition_away(w->p) == away);
    if (away)
        cp_partition_take(w->p, 0);
    else
        restart(w);
}

START_TEST(it_may_end_in_the_middle)
{
    struct world *w = filled_world();
    w->options.right_until_ns = &until_ns;
    until_ns = SY_TIME_NEVER;
    for (int turns = 1; turns < 16; turns += 2) {
        for (enum how how = 0; how < WAYS; how++) {
            restart(w);
            for (int i = 0; i < turns; i++)
                world_step(w, w->now_ns + SY_NS_PER_S);
            end(w, how);
            until_serving(w);
            expect_all(w);
        }
    }
    world_free(w);
}
END_TEST

static void on_written(void *ctx, int error)
{
    ck_assert_int_eq(error, 0);
    *(bool *)ctx = true;
}

START_TEST(damage_that_comes_late_is_found)
{
    struct world *w = filled_world();
    struct cp_store *store;
    uint32_t epoch;
    bool written = false;
    uint64_t run = run_id(w, run_name(RUNS - 1));
    world_crash(w);
    ck_assert_int_eq(cp_store_mem_open(&store, w->disk, 0, w->loop, &epoch, NULL), 0);
    struct cp_key key = cp_key_action(run, "c00690");
    struct cp_batch *batch = cp_batch_new(store);
    cp_batch_put(batch, CP_FAMILY_LIVE, cp_key_span(&key),
                 (struct sy_span){(const uint8_t *)"\xff", 1});
    cp_store_commit(store, batch, on_written, &written);
    while (!written)
        world_step(w, w->now_ns + SY_NS_PER_S);
    cp_store_close(store);
    world_start(w);
    world_run(w, SY_NS_PER_S);
    ck_assert_str_eq(cp_partition_state_word(w->p), "failed");
    ck_assert_ptr_nonnull(
        strstr(cp_partition_reason(w->p), "the store is damaged: the row of run"));
    ck_assert_ptr_nonnull(strstr(cp_partition_reason(w->p), "'c00690'"));
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_large_partition_does_not_stop_its_loop,
                                  it_may_end_in_the_middle, damage_that_comes_late_is_found, NULL};
    return sy_test_run("cp_partition_recover", tests);
}
