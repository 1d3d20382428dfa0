/* links: ag */
#include "tests/lib/test.h"
#include "tests/unit/test_ag_world.h"

START_TEST(an_attempt_from_assignment_to_acknowledgement)
{
    open_world();
    run(SY_NS_PER_S);
    ck_assert_uint_eq(w->hellos, 1);
    send_spec(1, "native", 500, 10, 0);
    assign(7, 1);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 1);
    assign(7, 1); /* twice is once */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 1);
    w->fake->events->on_started(w->fake->ctx, 1, w->now_ns);
    run(10 * SY_NS_PER_MS);
    ck_assert_uint_eq(w->started, 0); /* not yet worth a message */
    run(15 * SY_NS_PER_MS);
    ck_assert_uint_eq(w->started, 1);
    fake_end(w->fake, 1, AG_RESULT_SUCCEEDED);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->outcomes, 1);
    ck_assert_int_eq(w->last_kind, SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_SUCCEEDED);
    assign(7, 1); /* while its outcome is not acknowledged */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 1);
    send_ack(7);
    run(SY_NS_PER_MS);
    w->inventory = 99;
    sy_call_finish(w->call, NULL); /* the operator goes */
    run(SY_NS_PER_S);
    ck_assert_uint_eq(w->hellos, 2);
    ck_assert_uint_eq(w->inventory, 0);
    ck_assert_uint_eq(w->outcomes, 1);
    close_world();
}
END_TEST

START_TEST(short_attempts_report_no_start)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 500, 10, 0);
    assign(1, 1);
    run(SY_NS_PER_MS);
    w->fake->events->on_started(w->fake->ctx, 1, w->now_ns);
    fake_end(w->fake, 1, AG_RESULT_FAILED);
    run(SY_NS_PER_S);
    ck_assert_uint_eq(w->started, 0);
    ck_assert_uint_eq(w->outcomes, 1);
    ck_assert_str_eq(w->last_message, "bad ? text"); /* protobuf strings are UTF-8 */
    close_world();
}
END_TEST

/* The inventory has gone with the hello, and does not say it. */
START_TEST(a_start_before_the_welcome_is_told)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 500, 10, 0);
    assign(1, 1);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 1);
    w->welcomed = false;
    sy_call_finish(w->call, NULL);
    run(SY_NS_PER_S);
    ck_assert_uint_eq(w->hellos, 2);
    w->fake->events->on_started(w->fake->ctx, 1, w->now_ns);
    run(SY_NS_PER_S);
    ck_assert_uint_eq(w->started, 0);
    send_welcome();
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->started, 1);
    close_world();
}
END_TEST

START_TEST(outcomes_are_kept_until_acknowledged)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 100, 10, 0);
    for (uint64_t i = 1; i <= 3; i++)
        assign(i, 1);
    run(SY_NS_PER_MS);
    w->fake->events->on_started(w->fake->ctx, 3, w->now_ns);
    run(SY_NS_PER_MS);
    sy_call_finish(w->call, NULL);
    run(SY_NS_PER_MS);
    ck_assert_ptr_null(w->call);
    w->welcomed = false; /* it listens, but does not welcome */
    fake_end(w->fake, 1, AG_RESULT_SUCCEEDED);
    fake_end(w->fake, 2, AG_RESULT_SUCCEEDED);
    run(8 * SY_NS_PER_S);
    ck_assert_uint_eq(w->outcomes, 0);
    w->welcomed = true;
    run(30 * SY_NS_PER_S);
    ck_assert_uint_eq(w->inventory, 3); /* those that are done are named as well */
    ck_assert(w->inventory_queue > 40 &&
              w->inventory_queue <= 43); /* a new operator knows no queues */
    ck_assert(w->inventory_ran_ns > 8 * SY_NS_PER_S && w->inventory_ran_ns < 60 * SY_NS_PER_S);
    ck_assert_uint_eq(w->outcomes, 2);
    sy_call_finish(w->call, NULL);
    run(10 * SY_NS_PER_S);
    ck_assert_uint_eq(w->outcomes, 4); /* again */
    w->acks = true;
    run(40 * SY_NS_PER_S);
    ck_assert_uint_ge(w->outcomes, 6); /* and again without a new stream, after a while */
    unsigned before = w->outcomes;
    run(100 * SY_NS_PER_S);
    ck_assert_uint_eq(w->outcomes, before);
    close_world();
}
END_TEST

START_TEST(an_outcome_says_how_long_it_waited_here)
{
    open_world();
    w->acks = true;
    run(SY_NS_PER_S);
    send_spec(1, "native", 2000, 10, 0);
    assign(1, 1);
    assign(2, 1); /* waits: there is room for one */
    run(3 * SY_NS_PER_S);
    fake_end(w->fake, 1, AG_RESULT_SUCCEEDED);
    run(SY_NS_PER_MS);
    ck_assert_int_eq(w->last_waited_ns, 0); /* its start is told as before it came */
    w->fake->told_started_ns = sy_loop_realtime_ns(w->loop);
    run(5 * SY_NS_PER_S);
    fake_end(w->fake, 2, AG_RESULT_SUCCEEDED);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->outcome_of[2], 1);
    ck_assert_int_ge(w->last_waited_ns, 3 * SY_NS_PER_S);
    ck_assert_int_le(w->last_waited_ns, 3 * SY_NS_PER_S + 2 * SY_NS_PER_MS);
    close_world();
}
END_TEST

START_TEST(heartbeats_and_silence)
{
    open_world();
    run(SY_NS_PER_S);
    run(4 * SY_NS_PER_S);
    ck_assert_uint_ge(w->heartbeats, 3);
    ck_assert_uint_eq(w->hellos, 1);
    w->silent = true;
    run(7 * SY_NS_PER_S); /* the operator has been silent for longer than its lease */
    ck_assert_uint_ge(w->hellos, 2);
    close_world();
}
END_TEST

/* A restarted operator is back within seconds: it waits for no long back-off. */
START_TEST(an_operator_that_is_back_soon_is_found_at_once)
{
    open_world();
    run(SY_NS_PER_S);
    for (unsigned i = 1; i <= 40; i++) {
        w->away = true;
        sy_call_finish(w->call, NULL);
        run((int64_t)i * 100 * SY_NS_PER_MS);
        ck_assert_uint_eq(w->hellos, i);
        w->away = false;
        run(320 * SY_NS_PER_MS);
        ck_assert_msg(w->hellos == i + 1, "after %u00 ms it was not found within 320", i);
    }
    w->away = true;
    sy_call_finish(w->call, NULL);
    run(10 * SY_NS_PER_S);
    w->refused = 0;
    run(60 * SY_NS_PER_S); /* one that stays away is asked 0.1 to 0.4 times a second */
    ck_assert_uint_ge(w->refused, 60 / 8);
    ck_assert_uint_le(w->refused, 60 * 2 / 5);
    close_world();
}
END_TEST

START_TEST(older_epochs_are_refused)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 100, 10, 0);
    send_assignment_epoch(1, 1, 5); /* its spec is not there for that epoch */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->outcomes, 1);
    ck_assert_int_eq(w->last_kind, SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_REFUSED);
    send_assignment_epoch(2, 1, 1);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 0);
    ck_assert_uint_eq(w->returned, 1);
    ck_assert_ptr_nonnull(strstr(w->last_reason, "newer epoch"));
    close_world();
}
END_TEST

START_TEST(what_can_never_run_is_refused)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "other", 100, 10, 0);
    send_spec(2, "native", 5000, 10, 0);
    assign(1, 1);
    run(SY_NS_PER_MS);
    ck_assert_int_eq(w->last_kind, SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_REFUSED);
    assign(2, 2);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->outcomes, 2);
    ck_assert_ptr_nonnull(strstr(w->last_message, "5.000 cores asked"));
    close_world();
}
END_TEST

START_TEST(cancel_in_every_state)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 2000, 10, 0);
    assign(1, 1);
    assign(2, 1); /* waits: there is room for one */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 1);
    send_cancel(2);
    send_cancel(99);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->outcomes, 1);
    ck_assert_int_eq(w->last_kind, SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_CANCELLED);
    ck_assert_str_eq(w->last_message, "because");
    send_cancel(1);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->cancels, 1);
    ck_assert_uint_eq(w->outcomes, 1);
    fake_end(w->fake, 1, AG_RESULT_CANCELLED);
    send_cancel(1);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->outcomes, 2);
    ck_assert_int_eq(w->last_kind, SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_CANCELLED);
    close_world();
}
END_TEST

START_TEST(what_has_not_started_is_given_back)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 2000, 10, 0);
    assign(1, 1);
    assign(2, 1); /* waits: there is room for one */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 1);
    send_give_back();
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->returned, 1);
    ck_assert_uint_eq(w->outcomes, 0); /* it costs no attempt, and what runs may end */
    fake_end(w->fake, 1, AG_RESULT_SUCCEEDED);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->outcomes, 1);
    ck_assert_uint_eq(w->fake->started, 1);
    assign(3, 1); /* it was an order for once: who places there again wants it to run */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 2);
    close_world();
}
END_TEST

START_TEST(a_restarted_agent_reports_what_ran)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 1000, 10, 0);
    for (uint64_t i = 1; i <= 4; i++)
        assign(i, 1);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 2);
    fake_end(w->fake, 1, AG_RESULT_SUCCEEDED); /* 3 starts */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->outcomes, 1);
    crash_agent();
    memset(w->outcome_of, 0, sizeof(w->outcome_of));
    start_agent();
    run(SY_NS_PER_S);
    ck_assert_uint_eq(w->outcome_of[1], 1); /* succeeded, not acknowledged */
    ck_assert_uint_eq(w->outcome_of[2], 1); /* lost */
    ck_assert_uint_eq(w->outcome_of[3], 1); /* lost */
    ck_assert_uint_eq(w->outcome_of[4], 0); /* never started: the inventory does not name it */
    ck_assert_uint_eq(w->inventory, 3);
    ck_assert_int_eq(w->last_death, SWITCHYARD__INTERNAL__DEATH__DEATH_NONE); /* two ran */
    close_world();
}
END_TEST

START_TEST(what_ran_alone_may_have_killed_the_agent)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 1000, 10, 0);
    assign(1, 1);
    run(SY_NS_PER_MS);
    crash_agent();
    start_agent();
    run(SY_NS_PER_S);
    ck_assert_uint_eq(w->outcomes, 1);
    ck_assert_int_eq(w->last_kind, SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_LOST);
    ck_assert_int_eq(w->last_death, SWITCHYARD__INTERNAL__DEATH__DEATH_ALONE);
    close_world();
}
END_TEST

START_TEST(calls_are_relayed_and_bounded)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 1000, 10, 0);
    assign(1, 1);
    run(SY_NS_PER_MS);
    struct sy_span body = {(const uint8_t *)"x", 1};
    for (uint64_t i = 1; i <= 20; i++)
        w->fake->events->on_call(w->fake->ctx, 1, i, "WaitChildren", body);
    ck_assert_uint_eq(w->fake->replies, 4);
    ck_assert_uint_eq(w->fake->last_code, SY_CODE_RESOURCE_EXHAUSTED);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->calls, 16);
    send_reply(1, w->last_call);
    send_reply(1, w->last_call); /* the second is nobody's */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->replies, 5);
    ck_assert_uint_eq(w->fake->last_code, 0);
    sy_call_finish(w->call, NULL);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->replies, 20);
    ck_assert_uint_eq(w->fake->last_code, SY_CODE_UNAVAILABLE);
    close_world();
}
END_TEST

START_TEST(late_replies_match_no_other_call)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 500, 10, 0);
    assign(1, 1);
    assign(2, 1);
    run(SY_NS_PER_MS);
    struct sy_span body = {(const uint8_t *)"x", 1};
    w->fake->events->on_call(w->fake->ctx, 1, 1, "WaitChildren", body);
    run(SY_NS_PER_MS);
    uint64_t first = w->last_call;
    sy_call_finish(w->call, NULL);
    run(SY_NS_PER_S);
    ck_assert_uint_eq(w->hellos, 2);
    ck_assert_uint_eq(w->fake->replies, 1); /* UNAVAILABLE; it asks again */
    w->fake->events->on_call(w->fake->ctx, 1, 2, "WaitChildren", body);
    run(SY_NS_PER_MS);
    ck_assert_uint_gt(w->last_call, first);
    send_reply(1, first);        /* to what was asked on the stream before */
    send_reply(2, w->last_call); /* another attempt's */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->replies, 1);
    send_reply(1, w->last_call);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->replies, 2);
    ck_assert_uint_eq(w->fake->last_code, 0);
    close_world();
}
END_TEST

/* An agent that was started again counts from elsewhere. */
START_TEST(two_agents_number_their_calls_differently)
{
    uint64_t last[2];
    open_world();
    for (unsigned i = 0; i < 2; i++) {
        run(SY_NS_PER_S);
        send_spec(1, "native", 500, 10, 0);
        assign(i + 1, 1);
        run(SY_NS_PER_MS);
        struct sy_span body = {(const uint8_t *)"x", 1};
        w->fake->events->on_call(w->fake->ctx, w->fake->last_id, 1, "WaitChildren", body);
        run(SY_NS_PER_MS);
        ck_assert_uint_eq(w->calls, i + 1);
        last[i] = w->last_call;
        if (i == 0) {
            crash_agent();
            w->seed++;
            start_agent();
        }
    }
    ck_assert_uint_ne(last[0], last[1]);
    close_world();
}
END_TEST

static bool stopped;

static void on_stopped(void *ctx)
{
    (void)ctx;
    stopped = true;
}

START_TEST(stop)
{
    open_world();
    w->acks = true;
    run(SY_NS_PER_S);
    send_spec(1, "native", 2000, 10, 0);
    assign(1, 1);
    assign(2, 1);
    run(SY_NS_PER_MS);
    stopped = false;
    ag_agent_stop(w->agent, SY_NS_PER_S, on_stopped, NULL);
    run(100 * SY_NS_PER_MS);
    ck_assert_uint_eq(w->returned, 1);
    assign(3, 1);
    run(100 * SY_NS_PER_MS);
    ck_assert_uint_eq(w->returned, 2);
    ck_assert(!stopped);
    run(SY_NS_PER_S); /* the grace is over */
    ck_assert_uint_eq(w->fake->cancels, 1);
    fake_end(w->fake, 1, AG_RESULT_CANCELLED);
    run(SY_NS_PER_S);
    ck_assert(stopped);
    ck_assert_int_eq(w->last_kind,
                     SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_LOST); /* runs again elsewhere */
    close_world();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        an_attempt_from_assignment_to_acknowledgement,
        short_attempts_report_no_start,
        a_start_before_the_welcome_is_told,
        outcomes_are_kept_until_acknowledged,
        an_outcome_says_how_long_it_waited_here,
        heartbeats_and_silence,
        an_operator_that_is_back_soon_is_found_at_once,
        older_epochs_are_refused,
        what_can_never_run_is_refused,
        cancel_in_every_state,
        what_has_not_started_is_given_back,
        a_restarted_agent_reports_what_ran,
        what_ran_alone_may_have_killed_the_agent,
        calls_are_relayed_and_bounded,
        late_replies_match_no_other_call,
        two_agents_number_their_calls_differently,
        stop,
        NULL,
    };
    return sy_test_run("ag_agent", tests);
}
