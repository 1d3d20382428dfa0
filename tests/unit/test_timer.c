/* links: sy_base */
#include "base/mem.h"
#include "base/rng.h"
#include "base/timer.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

#include <stdlib.h>

static void nothing(void *arg)
{
    (void)arg;
}

static void check_heap(const struct sy_timers *timers)
{
    for (size_t i = 1; i <= timers->count; i++) {
        const struct sy_timer_entry *entry = &timers->entries[i];
        ck_assert_uint_eq(entry->timer->heap_index, i);
        ck_assert_uint_eq(entry->timer->sequence, entry->sequence);
        if (i == 1)
            continue;
        const struct sy_timer_entry *parent = &timers->entries[i / 2];
        ck_assert(
            parent->deadline_ns < entry->deadline_ns ||
            (parent->deadline_ns == entry->deadline_ns && parent->sequence < entry->sequence));
    }
}

START_TEST(test_empty)
{
    struct sy_timers timers = {0};
    ck_assert_int_eq(sy_timers_next_ns(&timers), SY_TIME_NEVER);
    ck_assert_ptr_null(sy_timers_pop_due(&timers, SY_TIME_NEVER - 1, UINT64_MAX));
    sy_timers_deinit(&timers);
}
END_TEST

START_TEST(test_equal_deadlines_in_start_order)
{
    struct sy_timers timers = {0};
    struct sy_timer t[100];
    for (int i = 0; i < 100; i++) {
        sy_timer_init(&t[i], nothing, NULL);
        sy_timers_insert(&timers, &t[i], 5);
    }
    for (int i = 0; i < 100; i++)
        ck_assert_ptr_eq(sy_timers_pop_due(&timers, 5, UINT64_MAX), &t[i]);
    sy_timers_deinit(&timers);
}
END_TEST

START_TEST(test_due_means_at_or_before_now)
{
    struct sy_timers timers = {0};
    struct sy_timer t;
    sy_timer_init(&t, nothing, NULL);
    sy_timers_insert(&timers, &t, 10);
    ck_assert_int_eq(sy_timers_next_ns(&timers), 10);
    ck_assert_ptr_null(sy_timers_pop_due(&timers, 9, UINT64_MAX));
    ck_assert_ptr_null(sy_timers_pop_due(&timers, 10, t.sequence));
    ck_assert_ptr_eq(sy_timers_pop_due(&timers, 10, t.sequence + 1), &t);
    ck_assert(!sy_timer_running(&t));
    sy_timers_deinit(&timers);
}
END_TEST

START_TEST(test_extreme_deadlines)
{
    struct sy_timers timers = {0};
    struct sy_timer first, last;
    sy_timer_init(&first, nothing, NULL);
    sy_timer_init(&last, nothing, NULL);
    sy_timers_insert(&timers, &last, SY_TIME_NEVER);
    sy_timers_insert(&timers, &first, INT64_MIN);
    ck_assert_int_eq(sy_timers_next_ns(&timers), INT64_MIN);
    ck_assert_ptr_eq(sy_timers_pop_due(&timers, 0, UINT64_MAX), &first);
    ck_assert_ptr_null(sy_timers_pop_due(&timers, SY_TIME_NEVER - 1, UINT64_MAX));
    ck_assert_int_eq(sy_timers_next_ns(&timers), SY_TIME_NEVER);
    sy_timers_deinit(&timers);
    ck_assert(!sy_timer_running(&last));
}
END_TEST

enum { MANY = 700 };

struct model {
    struct sy_timers timers;
    struct sy_timer t[MANY];
    int64_t deadline[MANY]; /* -1 = not running */
    struct sy_rng rng;
};

/* The running timer that should come first, by looking at them all. */
static struct sy_timer *model_first(struct model *m)
{
    struct sy_timer *first = NULL;
    int64_t deadline = 0;
    for (size_t i = 0; i < MANY; i++) {
        if (m->deadline[i] < 0)
            continue;
        if (!first || m->deadline[i] < deadline ||
            (m->deadline[i] == deadline && m->t[i].sequence < first->sequence)) {
            first = &m->t[i];
            deadline = m->deadline[i];
        }
    }
    return first;
}

static void model_step(struct model *m, uint64_t insert_percent)
{
    size_t i = sy_rng_below(&m->rng, MANY);
    if (m->deadline[i] >= 0) {
        sy_timers_remove(&m->timers, &m->t[i]);
        ck_assert(!sy_timer_running(&m->t[i]));
        m->deadline[i] = -1;
    }
    if (sy_rng_below(&m->rng, 100) < insert_percent) {
        m->deadline[i] = (int64_t)sy_rng_below(&m->rng, 50); /* many are equal */
        sy_timers_insert(&m->timers, &m->t[i], m->deadline[i]);
    }
    if (sy_rng_chance(&m->rng, 1, 4)) {
        struct sy_timer *expected = model_first(m);
        ck_assert_ptr_eq(sy_timers_pop_due(&m->timers, 100, UINT64_MAX), expected);
        if (expected)
            m->deadline[expected - m->t] = -1;
    }
}

/* Grows, shrinks and empties again, compared at each step with a search of everything. */
START_TEST(test_against_a_model)
{
    struct model *m = sy_new(struct model);
    sy_rng_init(&m->rng, 20261120);
    for (size_t i = 0; i < MANY; i++) {
        sy_timer_init(&m->t[i], nothing, NULL);
        m->deadline[i] = -1;
    }
    for (int i = 0; i < 12000; i++) {
        model_step(m, i / 3000 % 2 == 0 ? 90 : 10);
        if (i % 100 == 0)
            check_heap(&m->timers);
    }
    struct sy_timer *expected;
    while ((expected = model_first(m))) {
        ck_assert_ptr_eq(sy_timers_pop_due(&m->timers, 100, UINT64_MAX), expected);
        m->deadline[expected - m->t] = -1;
    }
    ck_assert_uint_eq(m->timers.count, 0);
    ck_assert_uint_le(m->timers.cap, 64); /* the memory was given back */
    sy_timers_deinit(&m->timers);
    free(m);
}
END_TEST

static void insert_twice(void *arg)
{
    struct sy_timers timers = {0};
    sy_timers_insert(&timers, arg, 1);
    sy_timers_insert(&timers, arg, 1);
}

static void remove_from_another(void *arg)
{
    struct sy_timers a = {0}, b = {0};
    struct sy_timer other = {.fn = nothing};
    sy_timers_insert(&a, arg, 1);
    sy_timers_insert(&b, &other, 1);
    sy_timers_remove(&b, arg);
}

START_TEST(test_misuse_aborts)
{
    struct sy_timer t;
    sy_timer_init(&t, nothing, NULL);
    ck_assert(aborts(insert_twice, &t));
    ck_assert(aborts(remove_from_another, &t));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_empty,
        test_equal_deadlines_in_start_order,
        test_due_means_at_or_before_now,
        test_extreme_deadlines,
        test_against_a_model,
        test_misuse_aborts,
        NULL,
    };
    return sy_test_run("timer", tests);
}
