/* links: dp */
/*
 * Proof for agents: a question goes on to whoever speaks for those attempts, and comes back when he
 * has answered a probe that was sent after it came.
 */
#include "tests/unit/test_dp_agents.h"

static void ask(struct fake_agent *agent, uint32_t partition, uint32_t epoch, uint64_t sent_ns)
{
    PB(AttemptProbe) probe = PB_INIT(ATTEMPT_PROBE), *probes[] = {&probe};
    probe.partition = partition;
    probe.epoch = epoch;
    probe.place = 9;
    probe.sent_ns = sent_ns;
    PB(AgentMessage) message = PB_INIT(AGENT_MESSAGE);
    message.probes = probes;
    message.n_probes = 1;
    agent_send(agent, &message);
}

static void echo(struct fake_partition *p, uint64_t number)
{
    PB(Probe) probe = PB_INIT(PROBE);
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    probe.number = number;
    message.echo = &probe;
    shard_send(p, &message);
}

START_TEST(it_comes_back_with_the_echo)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    world_run(&w, 3 * SEC);
    ck_assert_uint_eq(p->probes, 0); /* nobody asks */
    ask(agent, p->id, p->epoch, 100);
    world_run(&w, 10 * MS);
    ck_assert(p->probes == 1 && p->probe > 0);
    ck_assert_uint_eq(agent->proofs, 0);
    echo(p, p->probe);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->proofs, 1);
    ck_assert_uint_eq(agent->proven_ns, 100);
    ck_assert_int_eq(agent->proof_lease_ns, 15 * SEC); /* of the node; a cluster's is longer */
    world_run(&w, 3 * SEC);
    ck_assert_uint_eq(p->probes, 1);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

/* An echo proves nothing of what came after its probe. */
START_TEST(what_comes_meanwhile_waits_for_the_next_probe)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    struct fake_agent *other = agent_join(&w, "node2", "s", 4000);
    world_run(&w, 10 * MS);
    ask(agent, p->id, p->epoch, 100);
    world_run(&w, 10 * MS);
    uint64_t first = p->probe;
    for (uint64_t at = 200; at < 300; at++) {
        ask(agent, p->id, p->epoch, at);
        ask(other, p->id, p->epoch, at);
    }
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(p->probes, 1); /* one is on its way at a time */
    echo(p, first);
    world_run(&w, 10 * MS);
    ck_assert(agent->proofs == 1 && agent->proven_ns == 100 && other->proofs == 0);
    ck_assert(p->probes == 2 && p->probe != first);
    echo(p, first); /* again: it is of no probe that is out */
    world_run(&w, 10 * MS);
    ck_assert(agent->proofs == 1 && other->proofs == 0);
    echo(p, p->probe);
    world_run(&w, 10 * MS);
    ck_assert(agent->proofs == 2 && agent->proven_ns == 299);
    ck_assert(other->proofs == 1 && other->proven_ns == 299);
    agent_free(other);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

/* What is not wanted is told before. */
START_TEST(a_proof_does_not_overtake_a_cancel)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 9, 1);
    world_run(&w, 10 * MS);
    ask(agent, p->id, p->epoch, 100);
    world_run(&w, 10 * MS);
    shard_cancel(p, 9);
    echo(p, p->probe);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->proofs, 1);
    ck_assert_uint_eq(agent->proof_cancels, 1);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(nobody_answers_for_another)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    ask(agent, p->id + 17, p->epoch, 100); /* that nobody serves */
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(p->probes, 0);
    ask(agent, p->id, p->epoch, 200);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(p->probes, 1);
    shard_kill(w.shards[0]); /* its question goes with it, */
    world_run(&w, 10 * MS);
    shard_listen(w.shards[0]);
    world_run(&w, 5 * SEC);
    ck_assert_ptr_nonnull(p->call);
    ck_assert_uint_eq(p->probes, 0); /* as these are of the new stream */
    ask(agent, p->id, p->epoch, 300);
    world_run(&w, 10 * MS);
    agent_kill(agent); /* and with its agent */
    world_run(&w, 10 * MS);
    echo(p, p->probe);
    world_run(&w, 10 * MS);
    ck_assert_ptr_nonnull(p->call);
    ck_assert_uint_eq(agent->proofs, 0);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(the_shorter_lease_counts)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    p->shard->lease_ns = 9 * SEC;
    shard_kill(p->shard);
    world_run(&w, 10 * MS);
    shard_listen(p->shard);
    world_run(&w, 5 * SEC);
    ask(agent, p->id, p->epoch, 100);
    world_run(&w, 10 * MS);
    echo(p, p->probe);
    world_run(&w, 10 * MS);
    ck_assert_int_eq(agent->proof_lease_ns, 9 * SEC);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(an_echo_of_no_probe_ends_the_stream)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    echo(p, 1);
    world_run(&w, 10 * MS);
    ck_assert_ptr_null(p->call);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {it_comes_back_with_the_echo,
                                  what_comes_meanwhile_waits_for_the_next_probe,
                                  a_proof_does_not_overtake_a_cancel,
                                  nobody_answers_for_another,
                                  the_shorter_lease_counts,
                                  an_echo_of_no_probe_ends_the_stream,
                                  NULL};
    return sy_test_run("dp_proof", tests);
}
