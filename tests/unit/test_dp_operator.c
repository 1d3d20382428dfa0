/* links: dp */
/* The operator between fake shards and fake agents: the path of tasks, losses, fencing. */
#include "tests/unit/test_dp_agents.h"

START_TEST(greets_shard_and_agent)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    ck_assert_uint_eq(p->opened, 1);
    ck_assert_str_eq(p->hello_endpoint, "operator");
    ck_assert_uint_gt(strlen(p->hello_session), 8);
    ck_assert_uint_eq(p->hello_max_epoch, 0);
    ck_assert_uint_eq(p->shapes, 1);
    ck_assert_uint_eq(p->nodes, 1);
    ck_assert(p->complete);
    ck_assert_uint_eq(agent->welcomes, 1);
    ck_assert_str_eq(agent->cluster, "c1");
    ck_assert_int_eq(agent->heartbeat_ns, SEC);
    ck_assert_int_eq(agent->lease_ns, 5 * SEC);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(tasks_go_the_whole_path)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    shard_spec(p, SPEC);
    uint64_t sent = 0;
    while (sent < 2000) {
        shard_demand(p, CLASS, 1000, "", 2000 - sent);
        world_run(&w, 5 * MS);
        size_t room = p->granted[CLASS] - sent;
        room = room < 2000 - sent ? room : 2000 - sent;
        if (room > 0)
            shard_assign(p, CLASS, SPEC, 1 + sent, room);
        sent += room;
    }
    world_run(&w, SEC);
    ck_assert_uint_eq(agent->assignments, 2000);
    ck_assert_uint_eq(agent->specs, 1);
    ck_assert_uint_eq(agent->without_spec, 0);
    ck_assert_uint_eq(p->outcomes, 2000);
    ck_assert_str_eq(p->last_outcome_node, "node1");
    ck_assert_uint_eq(agent->acks, 2000);
    ck_assert_uint_eq(p->returned, 0);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(records_share_messages)
{
    struct world w;
    world_init(&w);
    struct fake_shard *shard = shard_new(&w, 0, 1, 5);
    world_start(&w);
    struct fake_agent *agent = agent_join(&w, "node1", "s1", 1000000);
    agent->hold = true;
    world_run(&w, SEC);
    struct fake_partition *p = &shard->partitions[0];
    shard_demand(p, CLASS, 1000, "", 100);
    world_run(&w, 50 * MS);
    ck_assert_uint_ge(p->granted[CLASS], 51);
    shard_spec(p, SPEC);
    w.delay_to_agent_ns = 20 * MS;
    uint8_t *input = sy_calloc(1, 128 << 10); /* fills the agent's window */
    shard_assign_epoch(p, 5, CLASS, SPEC, 1, 1, (struct sy_span){input, 128 << 10});
    free(input);
    size_t messages = agent->messages;
    for (uint64_t i = 0; i < 50; i++)
        shard_assign(p, CLASS, SPEC, 2 + i, 1);
    world_run(&w, 100 * MS);
    ck_assert_uint_eq(agent->assignments, 51);
    ck_assert_uint_eq(agent->without_spec, 0);
    ck_assert_uint_le(agent->messages - messages, 3);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(starts_cancels_and_returns_pass)
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
    shard_cancel(p, 1);
    agent_return(agent, &agent->held[1]);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(p->started, 1);
    ck_assert_uint_eq(agent->cancels, 1);
    ck_assert_str_eq(agent->last_cancel, "aborted");
    ck_assert_uint_eq(p->returned, 1);
    ck_assert_str_eq(p->last_return, "no room after all");
    agent_outcomes(agent, &agent->held[0], 1);
    agent_outcomes(agent, &agent->held[2], 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(p->outcomes, 2);
    ck_assert_uint_eq(agent->acks, 2);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

/* What runs is told at once, so to say; many changes are told together; none are not told. */
START_TEST(people_hear_soon_of_what_runs)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    shard_spec(p, SPEC);
    world_run(&w, 20 * SEC);
    shard_assign(p, CLASS, SPEC, 1, 3);
    world_run(&w, 10 * MS);
    for (size_t i = 0; i < 3; i++)
        agent_started(agent, &agent->held[i]);
    size_t told = p->nodes_told;
    world_run(&w, 300 * MS);
    ck_assert_uint_eq(p->nodes_running, 3);
    ck_assert_uint_le(p->nodes_told - told, 2);
    agent_outcomes(agent, &agent->held[0], 1);
    agent_outcomes(agent, &agent->held[2], 1);
    world_run(&w, 300 * MS);
    ck_assert_uint_eq(p->nodes_running, 1);
    told = p->nodes_told;
    world_run(&w, 4 * SEC);
    ck_assert_uint_le(p->nodes_told - told, 2);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(unplaceable_goes_back_after_the_hold_time)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent_kill(agent);
    world_run(&w, 10 * MS);
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 1);
    world_run(&w, SEC);
    ck_assert_uint_eq(p->returned, 0);
    world_run(&w, 2 * SEC);
    ck_assert_uint_eq(p->returned, 1);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(dropped_specs_are_forgotten_after_their_assignments)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    shard_spec(p, 1);
    shard_spec(p, 2);
    w.delay_to_agent_ns = 20 * MS;
    uint8_t *input = sy_calloc(1, 128 << 10); /* fills the agent's window: what follows waits */
    shard_assign_epoch(p, 5, CLASS, 1, 1, 1, (struct sy_span){input, 128 << 10});
    free(input);
    world_run(&w, MS);
    shard_assign(p, CLASS, 1, 2, 1);
    shard_drop_spec(p, 1);
    shard_drop_spec(p, 2); /* was never used: the agent need not hear of it */
    world_run(&w, SEC);
    ck_assert_uint_eq(agent->assignments, 2);
    ck_assert_uint_eq(agent->without_spec, 0);
    ck_assert_uint_eq(agent->specs, 1);
    ck_assert_uint_eq(agent->dropped, 1);
    ck_assert(!agent->known_specs[1]);
    /* Using it again is the shard's mistake. */
    shard_assign(p, CLASS, 1, 3, 1);
    world_run(&w, 10 * MS);
    ck_assert_ptr_null(p->call);
    ck_assert_uint_eq(agent->assignments, 2);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(dropped_spec_stays_for_what_waits_only)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent_kill(agent);
    world_run(&w, 10 * MS);
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 1); /* nobody is there: it waits */
    shard_drop_spec(p, SPEC);
    world_run(&w, 10 * MS);
    struct fake_agent *again = agent_join(&w, "node1", "s2", 4000);
    again->hold = true;
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(again->assignments, 1);
    ck_assert_uint_eq(again->without_spec, 0);
    ck_assert_uint_eq(again->dropped, 1);
    agent_kill(again);
    world_run(&w, 10 * MS);
    shard_spec(p, 2);
    shard_assign(p, CLASS, 2, 2, 1);
    shard_drop_spec(p, 2);
    world_run(&w, 10 * MS);
    ck_assert_ptr_nonnull(p->call);
    shard_assign(p, CLASS, 2, 3, 1); /* it is still here, but not to be used */
    world_run(&w, 10 * MS);
    ck_assert_ptr_null(p->call);
    agent_free(agent);
    agent_free(again);
    world_deinit(&w);
}
END_TEST

START_TEST(specs_are_sent_anew_on_a_new_shard_stream)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 1);
    world_run(&w, 10 * MS);
    shard_kill(p->shard);
    shard_listen(p->shard);
    world_run(&w, SEC);
    ck_assert_ptr_nonnull(p->call);
    shard_demand(p, CLASS, 1000, "", 100);
    world_run(&w, 10 * MS);
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 2, 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->assignments, 2);
    ck_assert_uint_eq(agent->without_spec, 0);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(spec_that_is_wanted_again_is_not_forgotten)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    shard_spec(p, SPEC);
    w.delay_to_agent_ns = 2 * SEC;
    uint8_t *input = sy_calloc(1, 128 << 10); /* fills the agent's window */
    shard_assign_epoch(p, 5, CLASS, SPEC, 1, 1, (struct sy_span){input, 128 << 10});
    free(input);
    world_run(&w, MS);
    shard_kill(p->shard);
    shard_listen(p->shard);
    world_run(&w, SEC); /* specs of the old stream count as dropped; the agent cannot be told yet */
    ck_assert_ptr_nonnull(p->call);
    shard_demand(p, CLASS, 1000, "", 100);
    world_run(&w, 10 * MS);
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 2, 1);
    w.delay_to_agent_ns = 0;
    world_run(&w, 5 * SEC);
    shard_assign(p, CLASS, SPEC, 3, 1);
    world_run(&w, SEC);
    ck_assert_uint_eq(agent->assignments, 3);
    ck_assert_uint_eq(agent->without_spec, 0);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(partition_is_found_where_it_moves)
{
    struct world w;
    world_init(&w);
    struct fake_shard *a = shard_new(&w, 0, 1, 5);
    struct fake_shard *b = shard_new(&w, 0, 1, 6);
    b->partition_count = 0;
    world_start(&w);
    world_run(&w, 20 * SEC);
    ck_assert_ptr_nonnull(a->partitions[0].call);
    shard_kill(a);
    b->partition_count = 1;
    world_run(&w, 2 * SEC); /* long before the regular Describe */
    ck_assert_ptr_nonnull(b->partitions[0].call);
    ck_assert_uint_eq(b->partitions[0].hello_max_epoch, 5);
    shard_listen(a);
    world_deinit(&w);
}
END_TEST

START_TEST(lost_agent_comes_back_with_its_inventory)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 3);
    world_run(&w, 10 * MS);
    struct held kept[2] = {agent->held[0], agent->held[1]};
    agent_kill(agent);
    struct fake_agent *again = agent_new(&w, "node1", "s2");
    world_run(&w, 2 * SEC);
    ck_assert_uint_eq(p->outcomes, 0); /* within its lease */
    agent_open(again);
    agent_hello(again, 4000, 4, kept, 2, true);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(p->started, 2);
    ck_assert_uint_eq(p->lost, 1); /* the one it did not name */
    ck_assert_uint_eq(p->last_action, 3);
    agent_outcomes(again, kept, 2);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(p->outcomes, 3);
    ck_assert_uint_eq(again->acks,
                      3); /* the lost one too: whoever comes back with it may forget it */
    agent_free(again);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(agent_that_stays_away_loses_its_attempts)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 3);
    world_run(&w, 10 * MS);
    agent_kill(agent);
    world_run(&w, 14 * SEC);
    ck_assert_uint_eq(p->outcomes, 0);
    world_run(&w, 2 * SEC);
    ck_assert_uint_eq(p->outcomes, 3);
    ck_assert_uint_eq(p->lost, 3);
    ck_assert_uint_eq(p->alone, 0); /* three were there */
    agent_free(agent);
    agent = agent_join(&w, "node1", "s2", 4000);
    agent->hold = true;
    world_run(&w, SEC);
    shard_assign(p, CLASS, SPEC, 4, 1);
    world_run(&w, 10 * MS);
    agent_started(agent, &agent->held[0]);
    world_run(&w, 10 * MS);
    agent_kill(agent);
    world_run(&w, 16 * SEC);
    ck_assert_uint_eq(p->lost, 4);
    ck_assert_uint_eq(p->alone, 1);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(silent_agent_is_given_up)
{
    struct world w;
    struct fake_agent *agent;
    (void)world_with_grants(&w, &agent);
    agent->beat = false;
    world_run(&w, 4 * SEC);
    ck_assert_ptr_nonnull(agent->call);
    world_run(&w, 2 * SEC);
    ck_assert_ptr_null(agent->call);
    ck_assert_int_eq(agent->closed, SY_CODE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(agent->closed_text, "silent"));
    ck_assert_uint_ge(agent->heartbeats, 3);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(second_agent_of_a_node_replaces_the_first)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 101, 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->assignments, 1);
    struct fake_agent *second = agent_join(&w, "node1", "s2", 4000);
    world_run(&w, 10 * MS);
    ck_assert_ptr_null(agent->call);
    ck_assert_int_eq(agent->closed, SY_CODE_ABORTED);
    ck_assert_uint_eq(second->welcomes, 1);
    ck_assert_uint_eq(p->nodes, 1);
    shard_assign(p, CLASS, SPEC, 1, 2);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(second->assignments, 2);
    ck_assert_uint_eq(second->without_spec, 0); /* it takes the first one's slot, not its specs */
    ck_assert_uint_eq(agent->assignments, 1);
    agent_free(agent);
    agent_free(second);
    world_deinit(&w);
}
END_TEST

START_TEST(restarted_operator_is_rebuilt_from_its_agents)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    p->ack = false;
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 3);
    world_run(&w, 10 * MS);
    struct held held[3] = {agent->held[0], agent->held[1], agent->held[2]};
    world_crash(&w);
    world_run(&w, 10 * MS);
    ck_assert_ptr_null(agent->call);
    ck_assert_ptr_null(p->call);
    world_start(&w);
    world_run(&w, 50 * MS); /* the shard's stream is up before the agent is back */
    agent_open(agent);
    agent_hello(agent, 4000, 4, held, 2, true);
    agent_outcomes(agent, &held[2], 1); /* ended meanwhile, and kept */
    world_run(&w, 50 * MS);
    ck_assert_uint_eq(p->inventory, 2);
    ck_assert_uint_eq(p->outcomes, 1);
    ck_assert(!p->complete); /* other agents may still come */
    world_run(&w, 200 * MS);
    ck_assert(p->complete);
    agent_outcomes(agent, held, 2);
    world_run(&w, 50 * MS);
    ck_assert_uint_eq(p->outcomes, 3);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(unacknowledged_outcomes_are_told_again_before_the_inventory_is_complete)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    p->ack = false;
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 4);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(p->outcomes, 4);
    shard_kill(p->shard);
    world_run(&w, SEC);
    shard_listen(p->shard);
    world_run(&w, 6 * SEC);
    ck_assert_ptr_nonnull(p->call);
    ck_assert_uint_eq(p->outcomes, 4);
    ck_assert(p->complete);
    ck_assert(!p->complete_early);
    ck_assert_uint_eq(agent->acks, 0);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(older_epoch_is_refused)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    shard_spec(p, SPEC);
    shard_assign_epoch(p, 4, CLASS, SPEC, 1, 1, (struct sy_span){0});
    world_run(&w, 10 * MS);
    ck_assert_ptr_null(p->call); /* a record of another epoch */
    ck_assert_uint_eq(agent->assignments, 0);
    world_run(&w, SEC);
    ck_assert_ptr_nonnull(p->call);
    ck_assert_uint_eq(p->hello_max_epoch, 5);
    shard_kill(p->shard);
    p->epoch = 4; /* a shard that slept through its own replacement */
    shard_listen(p->shard);
    world_run(&w, 10 * SEC);
    ck_assert_uint_ge(p->opened, 3);
    ck_assert_uint_le(p->opened, 15); /* backing off */
    ck_assert_uint_eq(p->inventory + p->shapes, 0);
    p->epoch = 6;
    world_run(&w, 10 * SEC);
    ck_assert_uint_eq(p->shapes, 1);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(newer_epoch_elsewhere_fences_the_older_stream)
{
    struct world w;
    world_init(&w);
    struct fake_shard *old = shard_new(&w, 0, 1, 5);
    struct fake_shard *new = shard_new(&w, 0, 1, 6);
    w.cut_shard = false;
    new->partition_count = 0; /* does not serve it yet */
    world_start(&w);
    world_run(&w, SEC);
    ck_assert_ptr_nonnull(old->partitions[0].call);
    old->partitions[0].closed = SY_CODE_OK;
    new->partition_count = 1;
    world_run(&w, 40 * SEC); /* found by the regular Describe */
    ck_assert_uint_eq(new->partitions[0].shapes + new->partitions[0].nodes, 0);
    ck_assert_ptr_nonnull(new->partitions[0].call);
    ck_assert_uint_eq(new->partitions[0].opened, 1);
    ck_assert_int_ne(old->partitions[0].closed, SY_CODE_OK);
    ck_assert(!old->partitions[0].call || old->partitions[0].messages <= 1);
    world_deinit(&w);
}
END_TEST

START_TEST(epoch_in_an_inventory_fences_too)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    struct fake_agent *second = agent_new(&w, "node2", "s1");
    struct held held = {.partition = 0, .number = 1, .epoch = 9, .action = 77};
    agent_open(second);
    agent_hello(second, 1000, 0, &held, 1, true);
    world_run(&w, 10 * MS);
    ck_assert_ptr_null(p->call);
    world_run(&w, SEC);
    ck_assert_uint_eq(p->hello_max_epoch, 9);
    p->epoch = 9;
    world_run(&w, 6 * SEC);
    ck_assert_ptr_nonnull(p->call);
    ck_assert_uint_eq(p->inventory, 1);
    agent_free(agent);
    agent_free(second);
    world_deinit(&w);
}
END_TEST

START_TEST(partitions_and_shards_share_the_room)
{
    struct world w;
    world_init(&w);
    struct fake_shard *a = shard_new(&w, 0, 2, 1);
    struct fake_shard *b = shard_new(&w, 2, 1, 1);
    world_start(&w);
    struct fake_agent *agent = agent_join(&w, "node1", "s1", 12000);
    world_run(&w, SEC);
    struct fake_partition *all[] = {&a->partitions[0], &a->partitions[1], &b->partitions[0]};
    uint64_t total = 0;
    for (size_t i = 0; i < 3; i++)
        shard_demand(all[i], CLASS, 1000, "", 1000);
    world_run(&w, 100 * MS);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_ge(all[i]->granted[CLASS], 1);
        total += all[i]->granted[CLASS];
    }
    ck_assert_uint_ge(total, 12);
    ck_assert_uint_le(total, 40);
    for (size_t i = 0; i < 3; i++) {
        shard_spec(all[i], SPEC);
        shard_assign(all[i], CLASS, SPEC, 1, 1);
    }
    world_run(&w, 100 * MS);
    ck_assert_uint_eq(agent->assignments, 3);
    ck_assert_uint_eq(agent->specs, 3); /* the same id in three partitions */
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(all[i]->outcomes, 1);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(silent_shard_is_dialled_again)
{
    struct world w;
    struct fake_agent *agent;
    world_init(&w);
    struct fake_shard *shard = shard_new(&w, 0, 1, 5);
    shard->lease_ns = 5 * SEC;
    world_start(&w);
    agent = agent_join(&w, "node1", "s1", 4000);
    struct fake_partition *p = &shard->partitions[0];
    world_run(&w, 4900 * MS);
    ck_assert_uint_eq(p->opened, 1);
    world_run(&w, 2 * SEC); /* fake shards send no heartbeats */
    ck_assert_uint_ge(p->opened, 2);
    ck_assert_uint_ge(p->shard->described, 2);
    world_run(&w, 3 * SEC);
    ck_assert_uint_ge(p->heartbeats, 1);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(shard_without_welcome_is_given_up)
{
    struct world w;
    world_init(&w);
    struct fake_shard *shard = shard_new(&w, 0, 1, 1);
    shard->partitions[0].mute = true;
    world_start(&w);
    world_run(&w, 9 * SEC);
    ck_assert_ptr_nonnull(shard->partitions[0].call);
    world_run(&w, 2 * SEC);
    ck_assert_uint_ge(shard->partitions[0].opened, 2);
    world_deinit(&w);
}
END_TEST

START_TEST(unreachable_shard_is_tried_with_back_off)
{
    struct world w;
    world_init(&w);
    struct fake_shard *shard = shard_new(&w, 0, 1, 1);
    w.cut_shard = true;
    world_start(&w);
    world_run(&w, 60 * SEC);
    ck_assert_uint_eq(shard->described, 0);
    w.cut_shard = false;
    world_run(&w, 11 * SEC);
    ck_assert_ptr_nonnull(shard->partitions[0].call);
    world_deinit(&w);
}
END_TEST

START_TEST(calls_of_tasks_are_relayed)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 1);
    world_run(&w, 10 * MS);
    agent_call(agent, &agent->held[0], 11);
    agent_call(agent, &agent->held[0], 12);
    agent_call(agent, &agent->held[0], 12); /* a repeat while it is under way */
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(p->calls, 2);
    shard_reply(p, 1, 11);
    shard_reply(p, 1, 11); /* twice, and one that nobody made */
    shard_reply(p, 1, 99);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->replies, 1);
    ck_assert_uint_eq(agent->last_reply_call, 11);
    ck_assert_uint_eq(agent->last_reply_code, SY_CODE_OK);
    shard_kill(p->shard);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->replies, 2);
    ck_assert_uint_eq(agent->last_reply_call, 12);
    ck_assert_uint_eq(agent->last_reply_code, SY_CODE_UNAVAILABLE);
    agent_call(agent, &agent->held[0], 13); /* nobody is there */
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->replies, 3);
    ck_assert_uint_eq(agent->last_reply_code, SY_CODE_UNAVAILABLE);
    struct held foreign = agent->held[0];
    foreign.action = 4711;
    agent_call(agent, &foreign, 14);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->last_reply_code, SY_CODE_FAILED_PRECONDITION);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(calls_of_a_lost_agent_are_forgotten)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 1);
    world_run(&w, 10 * MS);
    struct held held = agent->held[0];
    for (uint64_t i = 0; i < 20; i++)
        agent_call(agent, &held, i);
    world_run(&w, 10 * MS);
    agent_kill(agent);
    world_run(&w, 10 * MS);
    agent_open(agent);
    agent_hello(agent, 4000, 4, &held, 1, true);
    world_run(&w, 10 * MS);
    shard_reply(p, 1, 3);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->replies, 0);
    agent_call(agent, &held, 3); /* it makes them anew */
    world_run(&w, 10 * MS);
    shard_reply(p, 1, 3);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->replies, 1);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

static void count_done(void *ctx)
{
    ++*(int *)ctx;
}

START_TEST(stop_ends_everything_and_says_so)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    int done = 0;
    dp_operator_stop(w.op, SEC, count_done, &done);
    world_run(&w, 5 * SEC);
    ck_assert_int_eq(done, 1);
    ck_assert_ptr_null(agent->call);
    ck_assert_int_eq(agent->closed, SY_CODE_UNAVAILABLE);
    ck_assert_ptr_null(p->call);
    dp_operator_free(sy_take(w.op));
    world_run(&w, 5 * SEC);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

/* Whatever is under way: no leak (sanitizers look), and nobody is called back. */
START_TEST(may_be_freed_at_any_moment)
{
    for (int turns = 0; turns < 120; turns++) {
        struct world w;
        world_init(&w);
        struct fake_shard *shard = shard_new(&w, 0, 2, 1);
        world_start(&w);
        struct fake_agent *agent = agent_join(&w, "node1", "s1", 4000);
        struct fake_partition *p = &shard->partitions[0];
        bool asked = false, sent = false;
        for (int i = 0; i < turns; i++) {
            if (p->call && p->shapes > 0 && !asked)
                shard_demand(p, CLASS, 1000, "", 10), asked = true;
            if (p->granted[CLASS] >= 4 && !sent)
                shard_spec(p, SPEC), shard_assign(p, CLASS, SPEC, 1, 4), sent = true;
            if (world_next(&w) > w.now_ns)
                w.now_ns = world_next(&w);
            sy_loop_turn(w.loop);
            sy_loop_turn(w.peers);
        }
        if (turns % 2)
            world_crash(&w);
        else
            dp_operator_free(sy_take(w.op));
        world_run(&w, SEC);
        agent_free(agent);
        world_deinit(&w);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        greets_shard_and_agent,
        tasks_go_the_whole_path,
        records_share_messages,
        starts_cancels_and_returns_pass,
        people_hear_soon_of_what_runs,
        unplaceable_goes_back_after_the_hold_time,
        dropped_specs_are_forgotten_after_their_assignments,
        dropped_spec_stays_for_what_waits_only,
        specs_are_sent_anew_on_a_new_shard_stream,
        spec_that_is_wanted_again_is_not_forgotten,
        partition_is_found_where_it_moves,
        lost_agent_comes_back_with_its_inventory,
        agent_that_stays_away_loses_its_attempts,
        silent_agent_is_given_up,
        second_agent_of_a_node_replaces_the_first,
        restarted_operator_is_rebuilt_from_its_agents,
        unacknowledged_outcomes_are_told_again_before_the_inventory_is_complete,
        older_epoch_is_refused,
        newer_epoch_elsewhere_fences_the_older_stream,
        epoch_in_an_inventory_fences_too,
        partitions_and_shards_share_the_room,
        silent_shard_is_dialled_again,
        shard_without_welcome_is_given_up,
        unreachable_shard_is_tried_with_back_off,
        calls_of_tasks_are_relayed,
        calls_of_a_lost_agent_are_forgotten,
        stop_ends_everything_and_says_so,
        may_be_freed_at_any_moment,
        NULL,
    };
    return sy_test_run("dp_operator", tests);
}
