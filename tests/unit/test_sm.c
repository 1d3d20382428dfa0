/* links: sy_base */
#include "base/mem.h"
#include "base/sm.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

enum { WAITING, RUNNING, DONE, FAILED };

static const struct sm_state states[] = {
    [WAITING] = {"waiting", SM_BIT(RUNNING) | SM_BIT(FAILED), true, false},
    [RUNNING] = {"running", SM_BIT(WAITING) | SM_BIT(DONE) | SM_BIT(FAILED), false, false},
    [DONE] = {"done", 0, false, true},
    [FAILED] = {"failed", 0, false, true},
};

/* The owner says which states it may be in, and counts how often it was asked. */
struct owner {
    uint32_t allowed;
    unsigned *asked;
};

static bool owner_invariant(const void *owner, unsigned state)
{
    const struct owner *o = owner;
    ++*o->asked;
    return o->allowed & SM_BIT(state);
}

static const struct sm_table table = {"task", states, SY_COUNT_OF(states), NULL};
static const struct sm_table guarded = {"task", states, SY_COUNT_OF(states), owner_invariant};

START_TEST(test_every_move)
{
    for (unsigned from = 0; from < table.count; from++) {
        for (unsigned to = 0; to < table.count; to++) {
            struct sm sm = {(uint8_t)from};
            bool allowed = states[from].next & SM_BIT(to);
            ck_assert_int_eq(sm_may_move(&sm, &table, to), allowed);
            if (!allowed)
                continue;
            sm_move(&sm, &table, to, NULL);
            ck_assert_uint_eq(sm.state, to);
        }
    }
}
END_TEST

struct move {
    unsigned from, to;
};

static void do_move(void *arg)
{
    const struct move *move = arg;
    struct sm sm = {(uint8_t)move->from};
    sm_move(&sm, &table, move->to, NULL);
}

START_TEST(test_forbidden_moves_abort)
{
    ck_assert(!aborts(do_move, &(struct move){WAITING, RUNNING}));
    ck_assert(aborts(do_move, &(struct move){WAITING, DONE}));
    ck_assert(aborts(do_move, &(struct move){WAITING, WAITING}));
    ck_assert(aborts(do_move, &(struct move){DONE, RUNNING}));
    ck_assert(aborts(do_move, &(struct move){WAITING, 4})); /* no such state */
    ck_assert(aborts(do_move, &(struct move){200, RUNNING}));
}
END_TEST

static void do_init(void *arg)
{
    struct sm sm;
    sm_init(&sm, &table, *(unsigned *)arg);
}

START_TEST(test_only_initial_states_begin)
{
    struct sm sm = {9};
    sm_init(&sm, &table, WAITING);
    ck_assert_uint_eq(sm.state, WAITING);
    ck_assert(aborts(do_init, &(unsigned){RUNNING}));
    ck_assert(aborts(do_init, &(unsigned){4}));
}
END_TEST

START_TEST(test_names_and_finals)
{
    ck_assert_str_eq(sm_name(&(struct sm){RUNNING}, &table), "running");
    ck_assert(!sm_is_final(&(struct sm){RUNNING}, &table));
    ck_assert(sm_is_final(&(struct sm){DONE}, &table));
}
END_TEST

static void move_guarded(void *arg)
{
    struct sm sm;
    sm_init(&sm, &guarded, WAITING);
    sm_move(&sm, &guarded, RUNNING, arg);
}

START_TEST(test_invariant_is_checked_before_and_after)
{
    unsigned asked = 0;
    struct owner owner = {SM_BIT(WAITING) | SM_BIT(RUNNING), &asked};
    move_guarded(&owner);
    ck_assert_uint_eq(asked, 2);
    owner.allowed = SM_BIT(RUNNING);
    ck_assert(aborts(move_guarded, &owner));
    owner.allowed = SM_BIT(WAITING);
    ck_assert(aborts(move_guarded, &owner));
}
END_TEST

static void check_table(void *arg)
{
    sm_table_check(arg);
}

static bool table_is_bad(const struct sm_state *rows, unsigned count)
{
    struct sm_table t = {"t", rows, count, NULL};
    return aborts(check_table, &t);
}

START_TEST(test_table_check)
{
    sm_table_check(&table);
    ck_assert(!table_is_bad(states, SY_COUNT_OF(states)));
    ck_assert(table_is_bad(states, 0));
    ck_assert(table_is_bad(states, 33));
    /* a successor that does not exist */
    ck_assert(table_is_bad(states, 3));
    /* no initial state */
    ck_assert(table_is_bad(states + 2, 1));
    /* a final state with a successor */
    ck_assert(table_is_bad(
        (struct sm_state[]){{"a", SM_BIT(1), true, false}, {"b", SM_BIT(0), false, true}}, 2));
    /* a dead end that is not final */
    ck_assert(table_is_bad(
        (struct sm_state[]){{"a", SM_BIT(1), true, false}, {"b", 0, false, false}}, 2));
    /* out of reach */
    ck_assert(table_is_bad((struct sm_state[]){{"a", 0, true, true}, {"b", 0, false, true}}, 2));
    /* the same name twice, and none */
    ck_assert(
        table_is_bad((struct sm_state[]){{"a", SM_BIT(1), true, false}, {"a", 0, false, true}}, 2));
    ck_assert(table_is_bad((struct sm_state[]){{NULL, 0, true, true}}, 1));
}
END_TEST

/* All 32 bits are usable, and a chain written backwards is followed to its end. */
START_TEST(test_largest_table)
{
    static const char names[][3] = {"0",  "1",  "2",  "3",  "4",  "5",  "6",  "7",
                                    "8",  "9",  "10", "11", "12", "13", "14", "15",
                                    "16", "17", "18", "19", "20", "21", "22", "23",
                                    "24", "25", "26", "27", "28", "29", "30", "31"};
    struct sm_state rows[SM_STATES_MAX];
    for (unsigned i = 0; i < SM_STATES_MAX; i++)
        rows[i] = (struct sm_state){names[i], i ? SM_BIT(i - 1) : 0, i == 31, i == 0};
    struct sm_table t = {"chain", rows, SM_STATES_MAX, NULL};
    sm_table_check(&t);
    struct sm sm;
    sm_init(&sm, &t, 31);
    for (unsigned i = 31; i > 0; i--)
        sm_move(&sm, &t, i - 1, NULL);
    ck_assert(sm_is_final(&sm, &t));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_every_move,
        test_forbidden_moves_abort,
        test_only_initial_states_begin,
        test_names_and_finals,
        test_invariant_is_checked_before_and_after,
        test_table_check,
        test_largest_table,
        NULL,
    };
    return sy_test_run("sm", tests);
}
