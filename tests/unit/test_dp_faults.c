/* links: dp */
/* The operator when others misbehave: slow, silent, malformed, too many; and after its own stall.
 */
#include "dataplane/operator_impl.h"
#include "tests/unit/test_dp_agents.h"

START_TEST(own_stall_forgives_everybody)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    shard_kill(p->shard);
    p->shard->lease_ns = 5 * SEC;
    shard_listen(p->shard);
    world_run(&w, SEC);
    size_t opened = p->opened;
    w.now_ns += 60 * SEC; /* the machine slept; everybody's heartbeats would have come */
    sy_loop_turn(w.loop);
    world_run(&w, 100 * MS);
    ck_assert_uint_eq(p->opened, opened);
    ck_assert_ptr_nonnull(p->call);
    ck_assert_ptr_nonnull(agent->call);
    world_run(&w, 20 * SEC); /* but only once: the shard stays silent */
    ck_assert_uint_gt(p->opened, opened);
    ck_assert_ptr_nonnull(agent->call);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(slow_shard_is_bounded)
{
    struct world w;
    struct fake_agent *agent;
    world_init(&w);
    w.options.peer_bytes_max = 1 << 20;
    struct fake_shard *shard = shard_new(&w, 0, 1, 5);
    shard->lease_ns = 600 * SEC;
    world_start(&w);
    agent = agent_join(&w, "node1", "s1", 1000000);
    agent->output_bytes = 64 << 10;
    agent->hold = true;
    world_run(&w, SEC);
    struct fake_partition *p = &shard->partitions[0];
    shard_demand(p, CLASS, 1000, "", 100);
    world_run(&w, 50 * MS);
    ck_assert_uint_ge(p->granted[CLASS], 100);
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 100);
    world_run(&w, 50 * MS);
    ck_assert_uint_eq(agent->held_count, 100);
    w.delay_to_shard_ns = 50 * SEC; /* 6 MiB of outcomes, and it reads nothing */
    for (size_t i = 0; i < 100; i++) {
        agent_outcomes(agent, &agent->held[i], 1);
        world_run(&w, MS);
    }
    world_run(&w, SEC);
    w.delay_to_shard_ns = 0;
    world_run(&w, 60 * SEC); /* all that it missed is more than the bound, and comes all the same */
    ck_assert_uint_eq(p->opened, 2);
    ck_assert_ptr_nonnull(p->call);
    ck_assert_uint_ge(p->outcomes, 100); /* one may come over the old stream too */
    ck_assert_uint_le(p->outcomes, 101);
    ck_assert_uint_eq(agent->acks, 100);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(slow_agent_is_bounded)
{
    struct world w;
    world_init(&w);
    w.options.peer_bytes_max = 1 << 20;
    struct fake_shard *shard = shard_new(&w, 0, 1, 5);
    world_start(&w);
    struct fake_agent *agent = agent_join(&w, "node1", "s1", 1000000);
    world_run(&w, SEC);
    struct fake_partition *p = &shard->partitions[0];
    shard_demand(p, CLASS, 1000, "", 100);
    world_run(&w, 50 * MS);
    ck_assert_uint_ge(p->granted[CLASS], 60);
    shard_spec(p, SPEC);
    w.delay_to_agent_ns = 50 * SEC;
    uint8_t *input = sy_calloc(1, 64 << 10);
    for (uint64_t i = 0; i < 60; i++) {
        shard_assign_epoch(p, 5, CLASS, SPEC, 1 + i, 1, (struct sy_span){input, 64 << 10});
        world_run(&w, MS);
    }
    free(input);
    w.delay_to_agent_ns = 0;
    world_run(&w, 60 * SEC);
    ck_assert_ptr_null(agent->call);
    ck_assert_int_eq(agent->closed, SY_CODE_RESOURCE_EXHAUSTED);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(agent_that_reads_nothing_is_closed)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    shard_spec(p, SPEC);
    w.delay_to_agent_ns = 100 * SEC; /* its own heartbeats come */
    uint8_t *input = sy_calloc(1, 64 << 10);
    for (uint64_t i = 0; i < 4; i++) {
        shard_assign_epoch(p, 5, CLASS, SPEC, 1 + i, 1, (struct sy_span){input, 64 << 10});
        world_run(&w, MS);
    }
    free(input);
    size_t nodes = p->messages;
    world_run(&w, 30 * SEC);
    ck_assert_uint_gt(p->messages, nodes);
    ck_assert_uint_eq(p->lost, 4); /* closed after 5 s, lost 15 s later */
    w.delay_to_agent_ns = 0;
    world_run(&w, 100 * SEC);
    ck_assert_ptr_null(agent->call);
    ck_assert_int_eq(agent->closed, SY_CODE_RESOURCE_EXHAUSTED);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

static void send_raw(struct fake_agent *agent, const void *bytes, size_t len)
{
    struct sy_buf buf = sy_buf_copy(bytes, len);
    int r = sy_call_send(agent->call, &buf);
    ck_assert_int_eq(r, 0);
}

static void expect_refused(struct fake_agent *agent, enum sy_code code)
{
    world_run(agent->w, 10 * MS);
    ck_assert_ptr_null(agent->call);
    ck_assert_int_eq(agent->closed, code);
    agent_open(agent);
}

START_TEST(bad_agents_are_refused_with_a_sentence)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    struct fake_agent *agent = agent_new(&w, "node1", "s1");
    agent->beat = false;
    agent_open(agent);
    send_raw(agent, "\xff\xff\xff", 3);
    expect_refused(agent, SY_CODE_INVALID_ARGUMENT);
    send_raw(agent, "\x40\x01", 2); /* a heartbeat first */
    expect_refused(agent, SY_CODE_FAILED_PRECONDITION);
    send_raw(agent, "\x08\x01", 2); /* hello as a number */
    expect_refused(agent, SY_CODE_INVALID_ARGUMENT);
    send_raw(agent, "\x0a\x02\xff\xff", 4); /* a hello that cannot be decoded */
    expect_refused(agent, SY_CODE_INVALID_ARGUMENT);
    snprintf(agent->node, sizeof(agent->node), "no de");
    agent_hello(agent, 1000, 1, NULL, 0, false);
    expect_refused(agent, SY_CODE_INVALID_ARGUMENT);
    snprintf(agent->node, sizeof(agent->node), "node1");
    agent_hello(agent, 200000000, 1, NULL, 0, false);
    expect_refused(agent, SY_CODE_INVALID_ARGUMENT);
    agent_hello(agent, 1000, 70000, NULL, 0, false);
    expect_refused(agent, SY_CODE_INVALID_ARGUMENT);
    static const struct held two[] = {{.partition = 1, .number = 1, .epoch = 3, .action = 1},
                                      {.partition = 1, .number = 1, .epoch = 3, .action = 2}};
    agent->entry_memory = UINT64_MAX; /* such amounts cannot be added up */
    agent_hello(agent, 1000, 1, two, 2, false);
    expect_refused(agent, SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(agent->closed_text, "inventory"));
    agent->entry_memory = 1 << 20;
    agent_hello(agent, 1000, 1, two, 2, false);
    world_run(&w, 10 * MS);
    ck_assert_ptr_nonnull(agent->call);
    agent_kill(agent);
    agent_open(agent);
    agent_hello(agent, 1000, 1, NULL, 0, false);
    agent_hello(agent, 1000, 1, NULL, 0, false);
    expect_refused(agent, SY_CODE_FAILED_PRECONDITION);
    world_run(&w, 11 * SEC); /* says nothing at all */
    ck_assert_ptr_null(agent->call);
    ck_assert_int_eq(agent->closed, SY_CODE_UNAVAILABLE);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

static void shard_raw(struct fake_partition *p, const void *bytes, size_t len)
{
    struct sy_buf buf = sy_buf_copy(bytes, len);
    int r = sy_call_send(p->call, &buf);
    ck_assert_int_eq(r, 0);
}

START_TEST(agents_without_the_token_are_refused)
{
    static const struct sy_bearer token = {{"authorization", "Bearer of-the-agents"}, 1},
                                  other = {{"authorization", "Bearer of-another"}, 1};
    struct world w;
    world_init(&w);
    shard_new(&w, 0, 1, 5);
    w.options.bearer = token;
    world_start(&w);
    struct fake_agent *without = agent_join(&w, "node1", "s1", 4000);
    struct fake_agent *wrong = agent_new(&w, "node2", "s2"), *right = agent_new(&w, "node3", "s3");
    wrong->bearer = other;
    right->bearer = token;
    agent_open(wrong);
    agent_hello(wrong, 4000, 4, NULL, 0, false);
    agent_open(right);
    agent_hello(right, 4000, 4, NULL, 0, false);
    world_run(&w, 10 * MS);
    ck_assert_int_eq(without->closed, SY_CODE_UNAUTHENTICATED);
    ck_assert_int_eq(wrong->closed, SY_CODE_UNAUTHENTICATED);
    ck_assert_uint_eq(without->welcomes + wrong->welcomes, 0);
    ck_assert_uint_eq(right->welcomes, 1);
    agent_free(without);
    agent_free(wrong);
    agent_free(right);
    world_deinit(&w);
}
END_TEST

START_TEST(bad_shard_messages_close_the_stream)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\xff\xff\xff", 3},     /* not a message */
        {"\x0a\x00", 2},         /* a second welcome, for partition 0 */
        {"\x12\x02\xff\xff", 4}, /* a demand that cannot be decoded */
        {"\x1a\x02\x08\x07", 4}, /* a spec of partition 7 */
        {"\x22\x01\xff", 3},     /* dropped specs cut short */
        {"\x2a\x02\x08\x07", 4}, /* an assignment of partition 7 */
        {"\x2a\x02\x20\x05", 4}, /* one of the right epoch, without its spec */
        {"\x32\x01\x10", 3},     /* an acknowledgement cut short */
        {"\x3a\x02\x10\x07", 4}, /* a cancel with an action of the wrong type */
        {"\x42\x02\x08\x07", 4}, /* a reply of partition 7 */
        {"\x28\x01", 2},         /* assignments as a number */
    };
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        size_t opened = p->opened;
        ck_assert_ptr_nonnull(p->call);
        shard_raw(p, bad[i].bytes, bad[i].len);
        world_run(&w, 20 * MS);
        ck_assert_msg(!p->call || p->opened > opened, "message %zu was taken", i);
        world_run(&w, 5 * SEC);
    }
    shard_raw(p, "\x48\x01\xa2\x06\x01x", 6); /* a heartbeat, and a field of the future */
    world_run(&w, 20 * MS);
    ck_assert_ptr_nonnull(p->call);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(a_welcome_names_an_epoch)
{
    struct world w;
    world_init(&w);
    struct fake_shard *shard = shard_new(&w, 0, 1, 0);
    world_start(&w);
    world_run(&w, SEC);
    struct fake_partition *p = &shard->partitions[0];
    ck_assert_uint_ge(p->opened, 2); /* refused; it is dialled again */
    ck_assert(!p->complete);
    shard_kill(shard);
    p->epoch = 5;
    shard_listen(shard);
    world_run(&w, 10 * SEC);
    ck_assert_ptr_nonnull(p->call);
    ck_assert(p->complete);
    world_deinit(&w);
}
END_TEST

/* What a demand asks for is bounded as what a node has. */
START_TEST(a_demand_for_too_much_closes_the_stream)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    size_t opened = p->opened;
    shard_demand(p, CLASS + 1, SCH_CPU_MILLI_MAX, "", 1);
    world_run(&w, SEC);
    ck_assert_uint_eq(p->opened, opened);
    shard_demand(p, CLASS + 1, SCH_CPU_MILLI_MAX + 1, "", 1);
    world_run(&w, 5 * SEC);
    ck_assert_uint_eq(p->opened, opened + 1);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(agents_are_bounded)
{
    struct world w;
    world_init(&w);
    w.options.streams_max = 2;
    world_start(&w);
    struct fake_agent *agents[3];
    for (size_t i = 0; i < 3; i++) {
        char node[16];
        snprintf(node, sizeof(node), "n%zu", i);
        agents[i] = agent_join(&w, node, "s", 1000);
    }
    world_run(&w, 10 * MS);
    ck_assert_ptr_null(agents[2]->call);
    ck_assert_int_eq(agents[2]->closed, SY_CODE_RESOURCE_EXHAUSTED);
    for (size_t i = 0; i < 3; i++)
        agent_free(agents[i]);
    world_deinit(&w);
}
END_TEST

/* An agent that names thousands of partitions is refused, and takes no real one's place. */
START_TEST(partitions_that_agents_name_are_bounded)
{
    enum { NAMED = DP_PARTITIONS_NAMED_MAX };
    struct world w;
    world_init(&w);
    world_start(&w);
    struct held *held = sy_calloc(NAMED + 1, sizeof(*held));
    for (uint32_t i = 0; i < NAMED + 1; i++)
        held[i] = (struct held){.partition = 10 + i, .number = 1, .epoch = 3, .action = 1 + i};
    struct fake_agent *honest = agent_new(&w, "node1", "s1"), *bad = agent_new(&w, "node2", "s2");
    agent_open(honest);
    agent_hello(honest, 4000, 4, held, NAMED, true);
    agent_open(bad);
    agent_hello(bad, 4000, 4, held, NAMED + 1, true);
    world_run(&w, 100 * MS);
    ck_assert_ptr_nonnull(honest->call);
    ck_assert_ptr_null(bad->call);
    ck_assert_int_eq(bad->closed, SY_CODE_RESOURCE_EXHAUSTED);
    for (uint32_t i = 0; i < 100; i++) /* one by one they become real, and make room for others */
        ck_assert_ptr_nonnull(dp_partition_get(w.op, 10 + i, true));
    ck_assert_ptr_nonnull(dp_partition_get(w.op, 9, true));
    ck_assert_ptr_nonnull(dp_partition_get(w.op, 99999, false));
    for (uint32_t i = 0; i < DP_PARTITIONS_MAX - 101; i++)
        ck_assert_ptr_nonnull(dp_partition_get(w.op, 200000 + i, true));
    ck_assert_ptr_null(dp_partition_get(w.op, 8, true)); /* those are too many as well */
    free(held);
    agent_free(honest);
    agent_free(bad);
    world_deinit(&w);
}
END_TEST

START_TEST(bad_options_are_named)
{
    struct world w;
    world_init(&w);
    struct sy_error_text error = {0};
    struct dp_operator *op = NULL;
    struct dp_operator_ports ports = {.rpc = w.rpc, .loop = w.loop, .seed = 1};
    struct dp_operator_options options = w.options;
    options.cluster = "a b";
    ck_assert_int_eq(dp_operator_new(&op, &options, &ports, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "cluster"));
    options = w.options;
    options.core.node_lease_ns = 2 * SEC;
    ck_assert_int_eq(dp_operator_new(&op, &options, &ports, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "node_lease"));
    options = w.options;
    const char *shards[] = {"", NULL};
    options.shards = shards;
    ck_assert_int_eq(dp_operator_new(&op, &options, &ports, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "shards"));
    options = w.options;
    options.listen = "";
    ck_assert_int_eq(dp_operator_new(&op, &options, &ports, &error), -EINVAL);
    world_start(&w);
    ck_assert_int_eq(dp_operator_new(&op, &w.options, &ports, &error), -EADDRINUSE);
    ck_assert_ptr_null(op);
    world_deinit(&w);
}
END_TEST

/* What its agents have is stopped, also that of one that comes later; and it is let in nowhere. */
START_TEST(the_operator_of_a_deleted_cluster_keeps_nothing_running)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 3);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 3);
    agent_started(agent, &agent->held[0]);
    world_run(&w, 10 * MS);
    struct held there[] = {agent->held[0], agent->held[1]};
    p->shard->deleted = "it was deleted";
    world_run(&w, 10 * SEC);
    ck_assert_uint_eq(agent->cancels, 3);
    ck_assert_str_eq(agent->last_cancel, "its cluster was deleted");
    there[0].action = 100;
    there[1].action = 101;
    struct fake_agent *late = agent_new(&w, "node2", "s2");
    agent_open(late);
    agent_hello(late, 4000, 4, there, 2, true);
    world_run(&w, 10 * SEC);
    ck_assert_uint_eq(late->cancels, 2);
    size_t cancels = agent->cancels;
    world_run(&w, 60 * SEC);
    ck_assert_uint_eq(agent->cancels, cancels); /* each is told once */
    agent_free(late);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

/* As of a deleted one; but it asks again, and once it is let in a fence that is over stops nothing:
 * a shard that is behind tells of that one still. */
START_TEST(a_fence_stops_what_runs_and_not_what_begins_after_it)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 3);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 3);
    p->shard->fenced = "it is fenced";
    p->shard->fences = 1;
    sy_call_finish(p->call, NULL);
    world_run(&w, 10 * SEC);
    ck_assert_uint_eq(agent->cancels, 3);
    ck_assert_str_eq(agent->last_cancel, "its cluster is fenced");
    ck_assert_ptr_null(p->call);
    p->shard->fenced = NULL; /* let in again */
    world_run(&w, 10 * SEC);
    ck_assert_ptr_nonnull(p->call);
    shard_spec(p, SPEC);
    shard_demand(p, CLASS, 1000, "", 10);
    world_run(&w, 100 * MS);
    shard_assign(p, CLASS, SPEC, 11, 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 4);
    p->shard->fenced = "it is fenced";
    sy_call_finish(p->call, NULL);
    world_run(&w, 10 * SEC);
    ck_assert_uint_eq(agent->cancels, 3);
    p->shard->fences = 2;
    world_run(&w, 10 * SEC);
    ck_assert_uint_eq(agent->cancels, 4);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        own_stall_forgives_everybody,
        slow_shard_is_bounded,
        slow_agent_is_bounded,
        agent_that_reads_nothing_is_closed,
        bad_agents_are_refused_with_a_sentence,
        agents_without_the_token_are_refused,
        bad_shard_messages_close_the_stream,
        a_welcome_names_an_epoch,
        a_demand_for_too_much_closes_the_stream,
        agents_are_bounded,
        partitions_that_agents_name_are_bounded,
        bad_options_are_named,
        the_operator_of_a_deleted_cluster_keeps_nothing_running,
        a_fence_stops_what_runs_and_not_what_begins_after_it,
        NULL,
    };
    return sy_test_run("dp_faults", tests);
}
