/* links: ag */
/* Several operators of a cluster, and which of them an agent attaches to. */
#include "tests/lib/test.h"
#include "tests/unit/test_ag_world.h"

#include "agent/operators.h"

/* ---- operators that only say whether they are active ---- */

struct fake_operator {
    struct sy_server *server;
    char name[8];
    bool active;
    uint64_t term;
    size_t asked;
};

static struct fake_operator ops[3];
static struct ag_operators *operators;
static size_t moved;

static void on_lead(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct fake_operator *op = ctx;
    Switchyard__Internal__LeadResponse response = SWITCHYARD__INTERNAL__LEAD_RESPONSE__INIT;
    (void)request;
    response.active = op->active;
    response.term = op->term;
    op->asked++;
    struct sy_buf bytes = {0};
    pb_pack(&response.base, &bytes);
    sy_call_reply(call, &bytes);
}

static void on_moved(void *ctx)
{
    (void)ctx;
    moved++;
}

static void open_operators(size_t count)
{
    static const struct sy_bearer none;
    const char *targets[4] = {NULL};
    open_world();
    moved = 0;
    for (size_t i = 0; i < count; i++) {
        struct fake_operator *op = &ops[i];
        *op = (struct fake_operator){0};
        snprintf(op->name, sizeof(op->name), "op-%zu", i);
        targets[i] = op->name;
        sy_rpc_mem_set_origin(w->rpc, op->name);
        struct sy_server_options options = {.address = op->name};
        ck_assert_int_eq(sy_server_new(&op->server, w->rpc, &options, NULL), 0);
        sy_server_add(op->server, &(struct sy_method){.path = "/switchyard.internal.DataPlane/Lead",
                                                      .kind = SY_METHOD_UNARY,
                                                      .handler = on_lead,
                                                      .ctx = op,
                                                      .loop = w->loop});
        ck_assert_int_eq(sy_server_start(op->server, NULL), 0);
    }
    sy_rpc_mem_set_origin(w->rpc, "agent");
    operators = ag_operators_new(w->rpc, w->loop, targets, &none, on_moved, NULL);
}

static void close_operators(void)
{
    ag_operators_free(operators);
    for (size_t i = 0; i < SY_COUNT_OF(ops); i++) {
        if (ops[i].server != NULL)
            sy_server_free(sy_take(ops[i].server));
    }
    close_world();
}

START_TEST(they_are_tried_in_turn)
{
    open_operators(2);
    ck_assert_str_eq(ag_operators_target(operators), "op-0");
    ck_assert(!ag_operators_next(operators));
    ck_assert_str_eq(ag_operators_target(operators), "op-1");
    ck_assert(ag_operators_next(operators)); /* all had their turn */
    ck_assert_str_eq(ag_operators_target(operators), "op-0");
    ck_assert(ag_operators_welcome(operators, 3));
    ck_assert(!ag_operators_next(operators)); /* a new round */
    close_operators();
    open_operators(1);
    ck_assert(ag_operators_next(operators));
    ck_assert(ag_operators_welcome(operators, 3));
    run(10 * SY_NS_PER_S);
    ck_assert_uint_eq(ops[0].asked, 0); /* there is no other to ask */
    close_operators();
}
END_TEST

START_TEST(a_smaller_term_than_was_seen_is_not_taken)
{
    open_operators(2);
    ck_assert(ag_operators_welcome(operators, 3));
    ck_assert(ag_operators_welcome(operators, 3));
    ck_assert(!ag_operators_welcome(operators, 2));
    ck_assert_uint_eq(ag_operators_term(operators), 3);
    ck_assert(ag_operators_welcome(operators, 0)); /* it was told of none */
    ck_assert(ag_operators_welcome(operators, 4));
    ck_assert(!ag_operators_welcome(operators, 3));
    close_operators();
}
END_TEST

START_TEST(one_that_is_active_under_a_later_term_is_found)
{
    open_operators(3);
    run(10 * SY_NS_PER_S);
    ck_assert_uint_eq(moved, 0); /* none is active */
    ck_assert(ag_operators_welcome(operators, 3));
    ops[1].term = ops[2].term = 3;
    ops[1].active = true; /* the same term is no reason */
    ops[2].term = 9;      /* nor one that is not active */
    run(10 * SY_NS_PER_S);
    ck_assert(ops[1].asked > 2 && ops[2].asked > 2 && ops[0].asked == 0);
    ck_assert_uint_eq(moved, 0);
    ops[2].active = true;
    run(4 * SY_NS_PER_S);
    ck_assert_uint_eq(moved, 1);
    ck_assert(!ag_operators_next(operators)); /* it has left the other */
    ck_assert_str_eq(ag_operators_target(operators), "op-2");
    close_operators();
}
END_TEST

START_TEST(one_that_is_not_there_is_no_reason_to_leave)
{
    open_operators(3);
    ck_assert(ag_operators_welcome(operators, 3));
    sy_rpc_mem_kill(w->rpc, "op-1");
    ops[2].active = true;
    ops[2].term = 4;
    run(10 * SY_NS_PER_S);
    ck_assert_uint_eq(moved, 1); /* the third one is asked all the same */
    close_operators();
}
END_TEST

/* The one that it dials is dead, and its machine does not say so. */
START_TEST(while_one_does_not_answer_another_is_looked_for)
{
    open_operators(2);
    ck_assert(ag_operators_welcome(operators, 3));
    ck_assert(!ag_operators_next(operators));
    ck_assert(ag_operators_next(operators)); /* back at the first, which does not answer */
    ops[1].active = true;
    ops[1].term = 2;
    run(3 * SY_NS_PER_S);
    ck_assert_uint_eq(moved, 0); /* a smaller term is never taken */
    ops[1].term = 3;             /* it was lost by mistake, and is there */
    run(3 * SY_NS_PER_S);
    ck_assert_uint_eq(moved, 1);
    ck_assert_str_eq(ag_operators_target(operators), "op-1");
    close_operators();
}
END_TEST

/* ---- the agent ---- */

START_TEST(an_agent_leaves_an_operator_whose_term_is_over)
{
    open_world();
    w->term = 5;
    run(SY_NS_PER_S);
    ck_assert_ptr_nonnull(w->call);
    send_spec(1, "native", 100, 10, 0);
    assign(1, 1);
    run(SY_NS_PER_S);
    ck_assert_uint_eq(w->fake->started, 1);
    w->term = 4; /* it stood still, and goes on */
    struct sy_status gone = {.code = SY_CODE_UNAVAILABLE};
    sy_call_finish(w->call, &gone);
    run(20 * SY_NS_PER_S);
    unsigned hellos = w->hellos;
    ck_assert_uint_gt(hellos, 2); /* again and again, in vain */
    ck_assert_uint_eq(w->shown_term, 5);
    ck_assert_uint_eq(w->fake->cancels, 0);
    w->term = 6;
    run(20 * SY_NS_PER_S);
    hellos = w->hellos;
    run(20 * SY_NS_PER_S);
    ck_assert_uint_eq(w->hellos, hellos); /* it stays */
    ck_assert_ptr_nonnull(w->call);
    ck_assert_uint_eq(w->inventory, 1);
    close_world();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        they_are_tried_in_turn,
        a_smaller_term_than_was_seen_is_not_taken,
        one_that_is_active_under_a_later_term_is_found,
        one_that_is_not_there_is_no_reason_to_leave,
        while_one_does_not_answer_another_is_looked_for,
        an_agent_leaves_an_operator_whose_term_is_over,
        NULL,
    };
    return sy_test_run("ag_operators", tests);
}
