/* links: ag */
#include "tests/lib/test.h"
#include "tests/unit/test_ag_world.h"

#include <inttypes.h>

/* Small tasks without end, each of `small_ns` at most: as many wait as the node could run, so that
 * a free place is taken at once. Returns how many were started in `ns`. */
static uint64_t stream(int64_t ns, int64_t small_ns, uint64_t *next)
{
    uint64_t before = w->fake->started;
    for (int64_t end_ns = w->now_ns + ns; w->now_ns < end_ns;) {
        uint64_t waiting = *next - 1 - w->fake->started;
        for (; waiting < 4; waiting++)
            assign((*next)++, 1);
        run(20 * SY_NS_PER_MS);
        for (uint64_t id = 1; id <= w->fake->last_id; id++) {
            struct fake_task *t = &w->fake->tasks[id];
            if (!t->live || t->request.cpu_milli != 500)
                continue;
            t->end_ns = t->end_ns == 0 ? w->now_ns + small_ns * (int64_t)(4 + id % 4) / 7
                                       : t->end_ns;
            if (t->end_ns <= w->now_ns)
                fake_end(w->fake, id, AG_RESULT_SUCCEEDED);
        }
    }
    return w->fake->started - before;
}

static bool has_started(const char *name)
{
    char word[16];
    snprintf(word, sizeof(word), " %s ", name);
    return strstr(w->fake->order, word) != NULL;
}

static void open_stream(void)
{
    open_world();
    w->acks = true;
    run(SY_NS_PER_S);
    send_spec(1, "", 500, 1, 0);  /* small: four run */
    send_spec(2, "", 2000, 1, 0); /* large: needs the whole node */
    send_spec(3, "", 400, 1, 0);  /* long */
}

START_TEST(a_large_one_is_not_starved)
{
    open_stream();
    uint64_t next = 1;
    stream(SY_NS_PER_S, 300 * SY_NS_PER_MS, &next);
    char large[16];
    snprintf(large, sizeof(large), "%" PRIu64, next);
    assign(next++, 2);
    stream(900 * SY_NS_PER_MS, 300 * SY_NS_PER_MS, &next);
    ck_assert(!has_started(large)); /* else this shows nothing */
    stream(8 * 300 * SY_NS_PER_MS, 300 * SY_NS_PER_MS, &next);
    ck_assert(has_started(large));
    close_world();
}
END_TEST

/* A long task is in the way of a large one: the small ones get three quarters of what they would
 * have without it, and never wait for much longer than a quarter of its waiting. */
START_TEST(a_blocked_large_one_does_not_stop_the_small_ones)
{
    const int64_t small_ns = 100 * SY_NS_PER_MS;
    open_stream();
    assign(1, 3);
    run(SY_NS_PER_MS);
    uint64_t next = 2;
    stream(SY_NS_PER_S, small_ns, &next);
    uint64_t alone = stream(30 * SY_NS_PER_S, small_ns, &next);
    ck_assert_uint_gt(alone, 500);
    char large[16];
    snprintf(large, sizeof(large), "%" PRIu64, next);
    assign(next++, 2);
    uint64_t beside = stream(30 * SY_NS_PER_S, small_ns, &next);
    ck_assert(!has_started(large));
    ck_assert_uint_gt(beside, alone * 7 / 10);
    fake_end(w->fake, 1, AG_RESULT_SUCCEEDED); /* the long one */
    stream(10 * SY_NS_PER_S, small_ns, &next); /* 32 s to 40 s after its coming it reserves */
    ck_assert(has_started(large));
    close_world();
}
END_TEST

/* Nothing happens on the node, and yet the reservation ends. */
START_TEST(a_reservation_ends_by_itself)
{
    open_stream();
    assign(1, 3);
    assign(2, 2);
    run(1100 * SY_NS_PER_MS);
    assign(3, 1);
    run(SY_NS_PER_MS);
    ck_assert(!has_started("3"));
    run(200 * SY_NS_PER_MS);
    ck_assert(has_started("3"));
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
    const TTest *const tests[] = {
        a_large_one_is_not_starved,
        a_blocked_large_one_does_not_stop_the_small_ones,
        a_reservation_ends_by_itself,
        never_above_room,
        NULL,
    };
    return sy_test_run("ag_admit", tests);
}
