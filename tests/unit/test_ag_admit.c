/* links: ag */
#include "tests/lib/test.h"
#include "tests/unit/test_ag_world.h"

START_TEST(a_large_one_is_not_starved)
{
    open_world();
    w->acks = true;
    run(SY_NS_PER_S);
    send_spec(1, "", 500, 1, 0);
    send_spec(2, "", 2000, 1, 0);
    for (uint64_t i = 1; i <= 4; i++)
        assign(i, 1);
    assign(5, 2);
    for (uint64_t i = 6; i <= 60; i++)
        assign(i, 1);
    run(SY_NS_PER_MS);
    uint64_t next = 1;
    for (int step = 0; step < 60; step++) { /* one ends each 100 ms, so that four always run */
        while (next < w->fake->last_id && !w->fake->tasks[next].live)
            next++;
        if (w->fake->tasks[next].live)
            fake_end(w->fake, next, AG_RESULT_SUCCEEDED);
        run(100 * SY_NS_PER_MS);
    }
    const char *large = strstr(w->fake->order, " 5 ");
    ck_assert_ptr_nonnull(large);
    ck_assert_int_lt(large - w->fake->order, 70); /* after a second, not at the end */
    close_world();
}
END_TEST

/* Any mix, any times: the executor checks each start; in the end everything has run once. */
START_TEST(never_above_room)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        open_world();
        w->acks = true;
        struct sy_rng rng;
        sy_rng_init(&rng, seed);
        w->fake->pipeline_max = (uint32_t)sy_rng_below(&rng, 4) * 3;
        run(SY_NS_PER_S);
        send_spec(1, "native", 100, 10, 0);
        send_spec(2, "native", 900, 100, 0);
        send_spec(3, "", 300, 400, 0);
        send_spec(4, "", 0, 0, 1);
        send_spec(5, "native", 50, 50, 3);
        send_spec(6, "", 2000, 1000, 0);
        uint64_t assigned = 0;
        unsigned steps = 0;
        while ((w->outcomes < 300 || assigned < 300) && steps++ < 5000) {
            if (assigned < 300 && w->call != NULL && sy_rng_chance(&rng, 1, 2))
                assign(++assigned, 1 + (uint32_t)sy_rng_below(&rng, 6));
            for (uint64_t id = 1; id <= w->fake->last_id; id++) {
                struct fake_task *t = &w->fake->tasks[id];
                if (t->live && !t->pipelined && sy_rng_chance(&rng, 1, 6))
                    fake_end(w->fake, id, (enum ag_result_kind)(1 + sy_rng_below(&rng, 7)));
            }
            run((int64_t)sy_rng_below(&rng, 5) * SY_NS_PER_MS);
        }
        ck_assert_uint_eq(w->fake->started, 300);
        ck_assert_uint_eq(w->outcomes, 300);
        for (uint64_t i = 1; i <= 300; i++)
            ck_assert_uint_eq(w->outcome_of[i], 1);
        close_world();
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_large_one_is_not_starved, never_above_room, NULL};
    return sy_test_run("ag_admit", tests);
}
