/* links: ag */
/*
 * Attempts that run only while there is proof that they are heard of: none starts without, and each
 * is stopped in time, by the time at which the question that came back was sent.
 */
#include "tests/lib/test.h"
#include "tests/unit/test_ag_world.h"

#define LEASE (20 * SY_NS_PER_S) /* asked at 10 s, killed at 15 s */

static void assign_stops(uint64_t action)
{
    w->stops = true;
    assign(action, 1);
    w->stops = false;
}

static void send_proof(uint64_t place, uint64_t sent_ns, int64_t lease_ns)
{
    Switchyard__Internal__NodeMessage msg = SWITCHYARD__INTERNAL__NODE_MESSAGE__INIT;
    Switchyard__Internal__AttemptProbe proof = SWITCHYARD__INTERNAL__ATTEMPT_PROBE__INIT,
                                       *proofs[] = {&proof};
    proof.partition = proof.epoch = 1;
    proof.place = (uint32_t)place;
    proof.sent_ns = sent_ns;
    proof.lease_ns = lease_ns;
    msg.proofs = proofs;
    msg.n_proofs = 1;
    send_message(&msg);
}

/* The last question comes back; `run()` keeps the stream alive without. */
static void prove(void)
{
    send_proof(w->probe_place, w->probe_sent_ns, LEASE);
    run(SY_NS_PER_MS);
}

static void open_with_one(void)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 500, 10, 0);
    assign_stops(7);
    run(SY_NS_PER_MS);
}

/* As run(), until that time after the question that the first proof answered. */
static void run_to(int64_t proven_ns, int64_t age_ns)
{
    run(proven_ns + age_ns - w->now_ns);
}

START_TEST(none_starts_without_proof)
{
    open_with_one();
    ck_assert_uint_eq(w->probes, 1);
    ck_assert_uint_eq(w->probe_place, 7);
    assign(8, 1); /* of another policy: it waits for nothing */
    run(SY_NS_PER_MS);
    ck_assert_str_eq(w->fake->order, "8 ");
    run(5 * SY_NS_PER_S); /* as an old shard, which answers none */
    ck_assert_uint_ge(w->probes, 4);
    ck_assert_uint_eq(w->fake->started, 1);
    prove();
    ck_assert_str_eq(w->fake->order, "8 7 ");
    assign_stops(7 + 256); /* its partition hears of it with the other one */
    run(SY_NS_PER_MS);
    ck_assert_str_eq(w->fake->order, "8 7 263 ");
    close_world();
}
END_TEST

START_TEST(asked_at_half_and_killed_at_three_quarters)
{
    open_with_one();
    int64_t proven_ns = (int64_t)w->probe_sent_ns;
    prove();
    run_to(proven_ns, LEASE / 2 - SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->cancels, 0);
    run_to(proven_ns, LEASE / 2);
    ck_assert_uint_eq(w->fake->cancels, 1);
    run_to(proven_ns, 3 * LEASE / 4 - SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->cancels + w->fake->kills, 1);
    run_to(proven_ns, 3 * LEASE / 4);
    ck_assert_uint_eq(w->fake->kills, 1);
    fake_end(w->fake, 1, AG_RESULT_CANCELLED);
    run(SY_NS_PER_MS);
    ck_assert_int_eq(w->last_kind, SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_LOST);
    ck_assert_int_eq(w->last_death, SWITCHYARD__INTERNAL__DEATH__DEATH_NONE);
    ck_assert_ptr_nonnull(strstr(w->last_message, "its agent stopped it"));
    close_world();
}
END_TEST

START_TEST(it_runs_on_while_it_is_heard_of)
{
    open_with_one();
    for (int i = 0; i < 100; i++) {
        prove();
        run(SY_NS_PER_S);
    }
    ck_assert_uint_eq(w->fake->started, 1);
    ck_assert_uint_eq(w->fake->cancels + w->fake->kills, 0);
    ck_assert_uint_ge(w->probes, 90);
    ck_assert_uint_le(w->probes, 110);
    fake_end(w->fake, 1, AG_RESULT_SUCCEEDED);
    unsigned probes = w->probes;
    run(10 * SY_NS_PER_S);
    ck_assert_uint_eq(w->probes, probes); /* nobody needs one */
    close_world();
}
END_TEST

/* What counts is when it was sent, however late it comes; and it is no newer for coming twice. */
START_TEST(a_proof_is_as_old_as_its_question)
{
    open_with_one();
    uint64_t first_ns = w->probe_sent_ns;
    prove();
    run(SY_NS_PER_S);
    run_to((int64_t)first_ns, LEASE / 2 - SY_NS_PER_S);
    send_proof(7, first_ns, LEASE);
    run(2 * SY_NS_PER_S);
    ck_assert_uint_eq(w->fake->cancels, 1);
    uint64_t second_ns = w->probe_sent_ns;
    assign_stops(7 + 256);
    run(12 * SY_NS_PER_S);
    ck_assert_uint_eq(w->fake->kills, 1);
    send_proof(7, second_ns, LEASE); /* half a lease old by now: nothing starts on it */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 1);
    send_proof(7, (uint64_t)w->now_ns + 1, LEASE); /* nobody has asked that */
    send_proof(8, w->probe_sent_ns, LEASE);        /* or that */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 1);
    prove();
    ck_assert_uint_eq(w->fake->started, 2);
    close_world();
}
END_TEST

/* It was handed over, and waits for room: it does not start when room comes too late. */
START_TEST(one_that_waits_for_room_needs_it_again)
{
    open_world();
    run(SY_NS_PER_S);
    send_spec(1, "native", 2000, 10, 0);
    assign(1, 1);
    assign_stops(2);
    run(SY_NS_PER_MS);
    prove();
    run(LEASE);
    fake_end(w->fake, 1, AG_RESULT_SUCCEEDED);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 1);
    prove();
    ck_assert_str_eq(w->fake->order, "1 2 ");
    close_world();
}
END_TEST

/* The stream is lost: the clock runs on. When it is back it is asked for at once. */
START_TEST(a_lost_stream_proves_nothing)
{
    open_with_one();
    int64_t proven_ns = (int64_t)w->probe_sent_ns;
    prove();
    w->away = true;
    sy_call_finish(w->call, NULL);
    run_within(proven_ns + 3 * LEASE / 4 - w->now_ns);
    ck_assert_uint_eq(w->fake->cancels, 1);
    ck_assert_uint_eq(w->fake->kills, 1);
    w->away = false;
    run_within(10 * SY_NS_PER_S);
    ck_assert_uint_eq(w->hellos, 2);
    ck_assert_int_gt((int64_t)w->probe_sent_ns, proven_ns + 3 * LEASE / 4);
    fake_end(w->fake, 1, AG_RESULT_CANCELLED);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->outcomes, 1);
    close_world();
}
END_TEST

/* It stood still (its clock did not): before it reads what has come it kills. */
START_TEST(who_has_stood_still_kills_first)
{
    open_with_one();
    prove();
    send_proof(7, w->probe_sent_ns, LEASE);
    w->now_ns += LEASE;
    sy_loop_turn(w->loop);
    ck_assert_uint_eq(w->fake->kills, 1);
    close_world();
}
END_TEST

START_TEST(what_waits_for_proof_is_given_back_or_cancelled)
{
    open_with_one();
    assign_stops(8);
    run(SY_NS_PER_MS);
    send_cancel(8);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->outcomes, 1);
    ck_assert_int_eq(w->last_kind, SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_CANCELLED);
    send_give_back();
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->returned, 1);
    ck_assert_uint_eq(w->fake->started, 0);
    assign_stops(9); /* and one is left when the agent ends */
    run(SY_NS_PER_MS);
    close_world();
}
END_TEST

START_TEST(a_lease_that_is_too_short_is_refused)
{
    open_with_one();
    send_proof(7, w->probe_sent_ns, 8 * SY_NS_PER_S - 1); /* heartbeats of 1 s */
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 0);
    ck_assert_int_eq(w->last_kind, SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_REFUSED);
    ck_assert_ptr_nonnull(strstr(w->last_message, "stop-on-agent needs a node_lease"));
    close_world();
}
END_TEST

/* Nobody has asked while nothing was here: the first one that comes does not begin with little. */
START_TEST(an_idle_proof_is_renewed_first)
{
    open_with_one();
    prove();
    fake_end(w->fake, 1, AG_RESULT_SUCCEEDED);
    run(LEASE / 8);
    assign_stops(7 + 256);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 2); /* young enough */
    fake_end(w->fake, 2, AG_RESULT_SUCCEEDED);
    run(LEASE / 4);
    assign_stops(7 + 512);
    run(SY_NS_PER_MS);
    ck_assert_uint_eq(w->fake->started, 2);
    prove();
    ck_assert_uint_eq(w->fake->started, 3);
    close_world();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {none_starts_without_proof,
                                  asked_at_half_and_killed_at_three_quarters,
                                  it_runs_on_while_it_is_heard_of,
                                  a_proof_is_as_old_as_its_question,
                                  one_that_waits_for_room_needs_it_again,
                                  a_lost_stream_proves_nothing,
                                  who_has_stood_still_kills_first,
                                  what_waits_for_proof_is_given_back_or_cancelled,
                                  a_lease_that_is_too_short_is_refused,
                                  an_idle_proof_is_renewed_first,
                                  NULL};
    return sy_test_run("ag_proof", tests);
}
