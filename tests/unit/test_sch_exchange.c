/* links: sch */
/* Whose work may be stopped for whom: what a partition asks its clusters for. */
#include "scheduler/explain.h"
#include "tests/unit/test_sch_queue_world.h"

/* Of four cores, to a busy cluster: it is assigned, and waits there. */
static struct sch_action *gang_in(struct world *w, const char *queue_name)
{
    static const struct sch_gang_shape four = {.size = 4};
    struct sch_gang_member members[4];
    char names[4][8];
    for (unsigned i = 0; i < 4; i++) {
        snprintf(names[i], sizeof(names[i]), "m%u", i);
        members[i] = (struct sch_gang_member){.name = names[i], .spec = &w->task};
    }
    struct sch_action *root = create(w, "gang", &w->group);
    step(w,
         (struct sch_event){
             .type = SCH_EVENT_ENQUEUE_GANG,
             .u.gang = {.parent = root, .shape = &four, .members = members, .queue = queue_name}});
    struct sch_action *first = sch_partition_find_action(w->p, root->run, names[0]);
    grant(w, "east", sch_action_class_id(first), 1);
    run_until(w, w->now + SY_NS_PER_S);
    assert_state(first, "assigned");
    return root;
}

/* In the order of turns a gang that waits counts as its branch's. So while one does nothing stops
 * for the branch's other work: what stopped would be next again. */
START_TEST(who_would_not_be_next_has_nobody_stopped)
{
    struct world w = world_that_reclaims();
    struct sch_queue_config lends = queue("p", "d", "lends");
    lends.preemptible = true;
    configure(&w, lends);
    configure(&w, queue("p", "d", "wants"));
    struct sch_action *first = submit(&w, "p", "lends", &w.task, 0);
    struct sch_action *second = submit(&w, "p", "lends", &w.task, 0);
    grant(&w, "east", sch_action_class_id(first), 100);
    room(&w, "east", 2000);
    assert_state(second, "assigned");
    struct sch_action *gang = gang_in(&w, "wants");
    struct sch_action *a = submit(&w, "p", "wants", &w.task, 0);
    assert_state(a, "queued");
    ck_assert_ptr_null(wait_for(&w, SCH_EFFECT_RECLAIM, 20 * SY_NS_PER_S));
    step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = gang});
    ck_assert_ptr_nonnull(wait_for(&w, SCH_EFFECT_RECLAIM, 5 * SY_NS_PER_S));
    outcome(&w, second, SCH_OUTCOME_PREEMPTED);
    room(&w, "east", 7000); /* the gang's too */
    assert_state(a, "assigned");
    world_free(&w);
}
END_TEST

/* As many as operators are asked about, and three more. */
START_TEST(whose_work_may_stop_is_counted_beyond_those_that_are_asked_about)
{
    struct world w = world_that_reclaims();
    struct sch_submit wants = {
        .project = "p", .domain = "d", .queue = "urgent", .request = &w.task.request};
    struct sch_queue_config urgent = queue("p", "d", "urgent");
    urgent.priority = 5;
    configure(&w, urgent);
    for (unsigned i = 0; i < SCH_RECLAIM_QUEUES_MAX + 3; i++) {
        char name[16];
        snprintf(name, sizeof(name), "q%u", i);
        struct sch_queue_config lends = queue("p", "d", name);
        lends.preemptible = true;
        configure(&w, lends);
        struct sch_action *a = submit(&w, "p", name, &w.task, 0);
        grant(&w, "east", sch_action_class_id(a), 1000);
        room(&w, "east", 1000 * (uint64_t)(i + 1));
        assert_state(a, "assigned");
        struct sch_explanation *e = sch_explain_submit(w.p, &wants);
        ck_assert(e->wants_room);
        uint32_t may = i + 1, asked = may < SCH_RECLAIM_QUEUES_MAX ? may : SCH_RECLAIM_QUEUES_MAX;
        ck_assert_uint_eq(e->victim_count, asked);
        ck_assert_uint_eq(e->victims_more, may - asked);
        sch_explanation_free(e);
    }
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {who_would_not_be_next_has_nobody_stopped,
                                  whose_work_may_stop_is_counted_beyond_those_that_are_asked_about,
                                  NULL};
    return sy_test_run("sch_exchange", tests);
}
