/* links: cp */
/* The partition shell when it is given to another shard, or lost to one, and when its store is slow
 * to close. */
#include "cp_partition_job.h"

#include "controlplane/registry.h"

/* ---- it is given to another shard, or lost to one, and comes back ---- */

static void on_given(void *ctx)
{
    *(bool *)ctx = true;
}

/* After k turns; closing its store takes some of them. */
static unsigned away_sweep(bool give, bool keep_in_flight, int64_t close_ns)
{
    for (unsigned k = 0;; k++) {
        struct job job;
        struct world *w = job_start(&job);
        bool given = false;
        bool away = true;
        cp_mem_disk_keep_in_flight(w->disk, keep_in_flight);
        cp_mem_disk_set_close(w->disk, close_ns);
        for (unsigned steps = 0; steps < k && !job_ended(w); steps++)
            job_step(w);
        bool over = job_ended(w);
        uint32_t epoch = cp_partition_epoch(w->p);
        if (give)
            cp_partition_give(w->p, on_given, &given);
        else
            away = cp_partition_abandon(w->p, "the session of shard s1 may be over", on_given,
                                        &given);
        ck_assert(give || cp_partition_away(w->p) == away);
        ck_assert(give || away || close_ns > 0);
        if (!give && !away && k % 2) /* both at once */
            cp_partition_give(w->p, on_given, &given);
        ck_assert(!given);
        for (unsigned turns = 0; turns < 50; turns++)
            job_step(w);
        ck_assert(given == (give || !away) && cp_partition_away(w->p));
        ck_assert_str_eq(cp_partition_state_word(w->p), "away");
        struct cp_store *store; /* it has let go of it */
        ck_assert_int_eq(cp_store_mem_open(&store, w->disk, 0, w->loop, NULL, NULL), 0);
        cp_store_close(store);
        cp_partition_take(w->p, epoch + 10);
        job_finish(w);
        ck_assert_uint_eq(cp_partition_epoch(w->p), epoch + 10);
        world_free(w);
        if (over)
            return k;
    }
}

START_TEST(what_is_given_is_whole)
{
    ck_assert_uint_gt(away_sweep(true, false, 0), 20);
    ck_assert_uint_gt(away_sweep(true, false, 3 * MS), 20);
}
END_TEST

START_TEST(what_is_abandoned_keeps_what_was_answered)
{
    ck_assert_uint_gt(away_sweep(false, false, 0), 20);
    ck_assert_uint_gt(away_sweep(false, true, 0), 20);
    ck_assert_uint_gt(away_sweep(false, true, 3 * MS), 20);
}
END_TEST

/* The lease lapses while it is being given. */
START_TEST(a_give_that_takes_too_long_ends_at_once)
{
    struct job job;
    struct world *w = job_start(&job);
    bool given = false;
    while (!job.created)
        job_step(w);
    cp_mem_disk_set(w->disk, SY_NS_PER_S, -1);
    struct answer answer;
    create_run(w, "r2", "", "switchyard.process", &answer);
    world_run(w, 10 * MS);
    cp_partition_give(w->p, on_given, &given);
    world_run(w, 10 * MS);
    ck_assert(!given && answer.calls == 0); /* it is being written */
    (void)cp_partition_abandon(w->p, "the session of shard s1 may be over", NULL, NULL);
    world_run(w, 1 * MS);
    ck_assert(given && cp_partition_away(w->p));
    ck_assert_int_eq(answer.code, SY_CODE_UNAVAILABLE);
    ck_assert_str_eq(answer.text, "the session of shard s1 may be over; try again");
    cp_mem_disk_set(w->disk, 100 * SY_NS_PER_US, -1);
    cp_partition_take(w->p, 0);
    job_finish(w);
    world_free(w);
}
END_TEST

/* The disk hangs: our loop does not. It is not ours to take again before it is closed. */
START_TEST(a_store_that_is_slow_to_close_holds_nobody_up)
{
    struct job job;
    struct world *w = job_start(&job);
    bool gone = false;
    while (!job.created)
        job_step(w);
    cp_mem_disk_set(w->disk, SY_NS_PER_S, -1);
    cp_mem_disk_set_close(w->disk, 10 * SY_NS_PER_S);
    struct answer answer;
    create_run(w, "r2", "", "switchyard.process", &answer);
    world_run(w, 10 * MS);
    ck_assert(!cp_partition_abandon(w->p, "gone", on_given, &gone));
    world_run(w, 1 * MS);
    ck_assert_int_eq(answer.code, SY_CODE_UNAVAILABLE);
    ck_assert_str_eq(cp_partition_state_word(w->p), "stopping");
    world_run(w, 5 * SY_NS_PER_S);
    ck_assert(!gone && !cp_partition_away(w->p));
    world_run(w, 6 * SY_NS_PER_S);
    ck_assert(gone && cp_partition_away(w->p));
    cp_partition_take(w->p, 0);
    world_run(w, 5 * SY_NS_PER_S);
    ck_assert(!cp_partition_abandon(w->p, "gone", NULL, NULL));
    world_free(w); /* while it is being closed */
}
END_TEST

static void job_steps(struct world *w, int64_t ns)
{
    int64_t until_ns = w->now_ns + ns;
    while (w->now_ns < until_ns)
        job_step(w);
}

/* After a commit, or an opening, that failed; then nothing comes between, or it is given, or
 * abandoned. */
static void slow_close_sweep(bool opening)
{
    for (int given_up = 0; given_up < 3; given_up++) {
        struct job job;
        struct world *w = job_start(&job);
        bool gone = false;
        while (!job.created)
            job_step(w);
        if (opening)
            world_crash(w);
        cp_mem_disk_set_close(w->disk, 10 * SY_NS_PER_S);
        cp_mem_disk_set(w->disk, MS, 0);
        if (opening)
            world_start(w);
        job_steps(w, 5 * SY_NS_PER_S);
        ck_assert_str_eq(cp_partition_state_word(w->p), "opening");
        cp_mem_disk_set_close(w->disk, 0);
        if (given_up == 1)
            cp_partition_give(w->p, on_given, &gone);
        if (given_up == 2)
            ck_assert(!cp_partition_abandon(w->p, "gone", on_given, &gone));
        job_steps(w, 4 * SY_NS_PER_S);
        ck_assert(!gone && !cp_partition_serving(w->p));
        job_steps(w, 2 * SY_NS_PER_S);
        ck_assert(gone == (given_up > 0) && cp_partition_away(w->p) == gone);
        if (gone)
            cp_partition_take(w->p, 0);
        job_finish(w);
        world_free(w);
    }
}

START_TEST(a_store_that_failed_is_opened_when_it_is_closed)
{
    slow_close_sweep(false);
    slow_close_sweep(true);
}
END_TEST

/* No turn after the other is made of that. */
START_TEST(what_lapses_and_is_slow_to_close_is_abandoned_once)
{
    struct world *w = world_new();
    _Atomic int64_t until_ns = INT64_MAX;
    world_crash(w);
    w->options.right_until_ns = &until_ns;
    world_start(w);
    world_run(w, 100 * MS);
    cp_mem_disk_set_close(w->disk, SY_NS_PER_S);
    bool given = false;
    until_ns = w->now_ns + 10 * MS;
    world_run(w, 50 * MS);
    struct answer answer; /* makes a turn */
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_UNAVAILABLE, "has lapsed");
    ck_assert_str_eq(cp_partition_state_word(w->p), "stopping");
    cp_partition_give(w->p, on_given, &given); /* the region has heard of it too */
    world_run(w, 500 * MS);
    ck_assert(!given && sy_loop_next_ns(w->loop) > w->now_ns);
    world_run(w, SY_NS_PER_S);
    ck_assert(given && cp_partition_away(w->p));
    world_free(w);
}
END_TEST

static void on_told(void *ctx)
{
    ++*(int *)ctx;
}

/* Its process stands still while a commit is in flight, beyond what it has a right to. */
START_TEST(what_lapses_while_it_is_written_is_not_answered)
{
    struct world *w = world_new();
    _Atomic int64_t until_ns = INT64_MAX;
    struct answer answer;
    world_crash(w);
    w->options.right_until_ns = &until_ns;
    world_start(w);
    world_run(w, 100 * MS);
    ck_assert(cp_partition_serving(w->p));
    cp_mem_disk_set(w->disk, 100 * MS, -1);
    cp_mem_disk_keep_in_flight(w->disk, true);
    create_run(w, "r1", "", "switchyard.process", &answer);
    world_run(w, 10 * MS);
    ck_assert_uint_eq(answer.calls, 0);
    until_ns = w->now_ns + 50 * MS;
    w->now_ns += SY_NS_PER_S; /* and goes on */
    ck_assert(!cp_partition_away(w->p));
    world_run(w, 1 * MS);
    ck_assert(cp_partition_away(w->p));
    ck_assert_int_eq(answer.code, SY_CODE_UNAVAILABLE);
    ck_assert_str_eq(answer.text, "the session of shard s1 has lapsed: partition 0 may be "
                                  "another's; try again");
    until_ns = INT64_MAX;
    cp_partition_take(w->p, 0);
    world_run(w, SY_NS_PER_S);
    ck_assert(cp_partition_serving(w->p) && run_id(w, "r1") != 0);
    int told = 0;
    struct cp_watch *watch = cp_watch_runs(w->p, "", "", on_told, &told);
    world_run(w, MS);
    ck_assert(told == 1 && cp_watch_can_read(watch));
    until_ns = sy_loop_now_ns(w->loop);   /* nothing wakes it: what it is asked, it does not know */
    ck_assert(!cp_watch_can_read(watch)); /* nor that nothing has changed */
    cp_watch_free(watch);
    struct sy_arena arena;
    struct cp_run_view run;
    sy_arena_init(&arena, 1 << 20);
    ck_assert_int_eq(cp_partition_get_run(w->p, &arena, "p", "d", "r1", &run),
                     CP_PARTITION_E_NOT_SERVING);
    create_run(w, "r2", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_UNAVAILABLE, "another's");
    sy_arena_deinit(&arena);
    world_free(w);
}
END_TEST

/* Our claim is over, or the records of the region were lost: it says which epoch it has seen. */
START_TEST(what_was_taken_under_a_later_epoch_is_not_ours)
{
    struct world *w = world_new();
    struct cp_store *store;
    uint32_t newer;
    world_crash(w);
    ck_assert_int_eq(cp_store_mem_open(&store, w->disk, 30, w->loop, &newer, NULL), 0);
    w->options.away = true;
    world_start(w);
    cp_partition_take(w->p, 29);
    world_run(w, SY_NS_PER_S);
    ck_assert(cp_partition_away(w->p));
    ck_assert_uint_eq(cp_partition_epoch(w->p), 30);
    cp_partition_take(w->p, 31); /* from whoever has it open */
    world_run(w, SY_NS_PER_S);
    ck_assert(cp_partition_serving(w->p));
    ck_assert_uint_eq(cp_partition_epoch(w->p), 31);
    cp_store_close(store);
    world_free(w);
}
END_TEST

struct changing {
    bool changed, ended;
};

static enum sy_code change_nothing(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    (void)p;
    (void)error;
    ((struct changing *)ctx)->changed = true;
    return SY_CODE_OK;
}

static void on_change_refused(void *ctx, const struct sy_status *status)
{
    ((struct changing *)ctx)->ended = true;
    ck_assert_int_eq(status->code, SY_CODE_UNAVAILABLE);
    ck_assert_str_eq(status->message.text, "partition 0 is not of this shard; try again");
}

START_TEST(what_is_away_is_refused_until_it_is_taken)
{
    struct world *w = world_new();
    struct answer answer;
    world_crash(w);
    w->opens = 0;
    w->options.away = true;
    world_start(w);
    world_run(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->opens, 0);
    ck_assert_int_eq(w->closed_code, SY_CODE_UNAVAILABLE);
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_UNAVAILABLE, "partition 0 is not of this shard; try again");
    struct changing changing = {0};
    cp_partition_registry_change(w->p, change_nothing, on_change_refused, &changing);
    world_run(w, MS);
    ck_assert(changing.ended && !changing.changed);
    cp_partition_take(w->p, 0);
    world_run(w, SY_NS_PER_S);
    ck_assert(cp_partition_serving(w->p) && w->welcomed);
    (void)cp_partition_abandon(w->p, "gone", NULL, NULL);
    w->open_error = -EUCLEAN; /* FAILED, and then no longer ours */
    cp_partition_take(w->p, 0);
    world_run(w, SY_NS_PER_S);
    ck_assert_str_eq(cp_partition_state_word(w->p), "failed");
    (void)cp_partition_abandon(w->p, "gone", NULL, NULL);
    w->open_error = -EBUSY; /* WAITING */
    cp_partition_take(w->p, 0);
    world_run(w, SY_NS_PER_S);
    ck_assert_str_eq(cp_partition_state_word(w->p), "reopening");
    (void)cp_partition_abandon(w->p, "gone", NULL, NULL);
    w->opens = 0;
    world_run(w, 10 * SY_NS_PER_S);
    ck_assert_uint_eq(w->opens, 0);
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_is_given_is_whole,
                                  what_is_abandoned_keeps_what_was_answered,
                                  a_give_that_takes_too_long_ends_at_once,
                                  a_store_that_is_slow_to_close_holds_nobody_up,
                                  a_store_that_failed_is_opened_when_it_is_closed,
                                  what_lapses_and_is_slow_to_close_is_abandoned_once,
                                  what_lapses_while_it_is_written_is_not_answered,
                                  what_was_taken_under_a_later_epoch_is_not_ours,
                                  what_is_away_is_refused_until_it_is_taken,
                                  NULL};
    return sy_test_run("cp_partition_away", tests);
}
