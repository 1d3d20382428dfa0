/* links: dp */
/* What a shard asks an operator for people: who would stop, and which nodes are kept. */
#include "tests/unit/test_dp_agents.h"

#define SPARE 7u

static void ask(struct world *w, struct fake_partition *p, uint64_t id, uint32_t cpu_milli,
                uint32_t queue, PB(GangShape) * gang)
{
    PB(Resources) request = PB_INIT(RESOURCES);
    PB(ReclaimQueue) names = PB_INIT(RECLAIM_QUEUE), *list[SCH_RECLAIM_QUEUES_MAX + 1];
    PB(Survey) survey = PB_INIT(SURVEY), *surveys[] = {&survey};
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    request.cpu_milli = cpu_milli;
    names.queue = queue;
    names.actions = names.cpu_milli = 1000000;
    for (size_t i = 0; i < SY_COUNT_OF(list); i++)
        list[i] = &names;
    survey.id = id;
    survey.request = &request;
    survey.gang = gang;
    survey.queues = list;
    survey.n_queues = queue == UINT32_MAX ? SY_COUNT_OF(list) : queue != 0;
    message.surveys = surveys;
    message.n_surveys = 1;
    shard_send(p, &message);
    world_run(w, 10 * MS);
}

START_TEST(who_would_stop_is_answered)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    p->queue = SPARE;
    shard_spec(p, SPEC);
    ask(&w, p, 8, 3000, SPARE, NULL);
    ck_assert(p->surveys == 1 && p->survey_id == 8 && p->survey_room && p->victims == 0);
    shard_assign(p, CLASS, SPEC, 1, 2);
    world_run(&w, 10 * MS);
    agent_started(agent, &agent->held[0]);
    world_run(&w, 5 * SEC);
    agent_started(agent, &agent->held[1]);
    world_run(&w, 10 * MS);
    ask(&w, p, 9, 3000, SPARE, NULL);
    ck_assert(p->surveys == 2 && p->survey_id == 9 && !p->survey_room && p->victims == 1);
    ck_assert_uint_eq(p->victim_action, 2); /* it has run for less */
    ck_assert_str_eq(p->victim_node, "node1");
    PB(GangShape) gang = PB_INIT(GANG_SHAPE);
    gang.size = 4;
    ask(&w, p, 10, 1000, SPARE, &gang);
    ck_assert(!p->survey_room && p->victims == 2);
    ask(&w, p, 11, 3000, 0, NULL);
    ck_assert(!p->survey_room && p->victims == 0 && p->kept == 0);
    ck_assert_uint_eq(agent->cancels, 0); /* it was a question */
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(a_question_that_makes_no_sense_ends_the_stream)
{
    for (int i = 0; i < 2; i++) {
        struct world w;
        struct fake_agent *agent;
        struct fake_partition *p = world_with_grants(&w, &agent);
        PB(GangShape) gang = PB_INIT(GANG_SHAPE);
        gang.size = 1;
        ask(&w, p, 1, 1000, i == 0 ? UINT32_MAX : SPARE, i == 0 ? NULL : &gang);
        ck_assert_uint_eq(p->surveys, 0);
        ck_assert_int_ne(p->closed, SY_CODE_OK);
        agent_free(agent);
        world_deinit(&w);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {who_would_stop_is_answered,
                                  a_question_that_makes_no_sense_ends_the_stream, NULL};
    return sy_test_run("dp_survey", tests);
}
