/* links: sch */
/* Queues that get another parent while they have actions. */
#include "tests/unit/test_sch_queue_world.h"

static void place(struct world *w, const char *name, const char *parent, bool paused)
{
    struct sch_queue_config config = queue("p", "d", name);
    snprintf(config.parent, sizeof(config.parent), "%s", parent);
    config.paused = paused;
    configure(w, config);
}

static struct world open_world(void)
{
    struct world w = world_new();
    open_cluster(&w, "east");
    return w;
}

/* A parent that was changed while the queue had actions counts from when they are gone. */
START_TEST(a_busy_queue_gets_its_new_parent_when_it_is_empty)
{
    struct world w = open_world();
    place(&w, "top", "", true);
    place(&w, "a", "", false);
    struct sch_action *first = submit(&w, "p", "a", &w.task, 0);
    grant(&w, "east", sch_action_class_id(first), 10);
    assert_state(first, "assigned");
    place(&w, "a", "top", false);
    struct sch_action *second = submit(&w, "p", "a", &w.task, 0);
    assert_state(second, "assigned"); /* not below the paused one yet */
    outcome(&w, first, SCH_OUTCOME_SUCCEEDED);
    outcome(&w, second, SCH_OUTCOME_SUCCEEDED);
    assert_state(submit(&w, "p", "a", &w.task, 0), "queued");
    world_free(&w);
}
END_TEST

/* What is configured has no circle; what could not move yet would make one. */
START_TEST(queues_that_swap_places_make_no_circle)
{
    struct world w = open_world();
    place(&w, "b", "", false);
    place(&w, "a", "b", false);
    struct sch_action *action = submit(&w, "p", "a", &w.task, 0);
    grant(&w, "east", sch_action_class_id(action), 10);
    place(&w, "a", "", false);
    place(&w, "b", "a", false); /* while a is still below b */
    outcome(&w, action, SCH_OUTCOME_SUCCEEDED);
    place(&w, "a", "", true);
    assert_state(submit(&w, "p", "b", &w.task, 0), "queued");
    world_free(&w);
}
END_TEST

/* No more levels than may be, also while some queues are still where they were. */
START_TEST(queues_that_stay_make_no_tree_deeper)
{
    static const char *names[] = {"", "q1", "q2", "q3", "q4"};
    struct world w = open_world();
    for (unsigned i = 1; i <= SCH_QUEUE_DEPTH_MAX; i++)
        place(&w, names[i], names[i - 1], false);
    struct sch_action *deep = submit(&w, "p", "q4", &w.task, 0);
    place(&w, "q4", "", false);
    place(&w, "c", "q4", false);
    place(&w, "d", "c", false);
    struct sch_action *other = submit(&w, "p", "d", &w.task, 0);
    struct sch_spec large = {.request = {.cpu_milli = 4000}};
    submit(&w, "p", "d", &large, 0);
    grant(&w, "east", sch_action_class_id(deep), 10); /* classes are compared: paths in the tree */
    assert_state(other, "assigned");
    outcome(&w, deep, SCH_OUTCOME_SUCCEEDED);
    outcome(&w, other, SCH_OUTCOME_SUCCEEDED);
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

/* ---- where restored actions are ---- */

/* Its queue was deleted while it came: it is there still, under default settings. */
START_TEST(what_was_in_a_deleted_queue_stays_there)
{
    static const struct sch_queue_key keys[] = {
        {"p", "d", "gone"}, {"p", "", "gone"}, {"", "", "gone"}};
    for (unsigned i = 0; i < SY_COUNT_OF(keys); i++) {
        struct world w = world_new();
        struct sch_restore r = {.run_id = (4ull << 40) | 1,
                                .action_id = (4ull << 40) | 2,
                                .name = "a0",
                                .parent = "",
                                .spec = &w.task,
                                .queue = "gone",
                                .queue_reach = sch_queue_key_reach(&keys[i])};
        sch_partition_restore_run(w.p, r.run_id, "p", "d", "run", 5, 40, 9, 0);
        const struct sch_action *a = sch_partition_restore_action(w.p, &r);
        sch_partition_restored(w.p, NULL, 0, w.now);
        ck_assert_mem_eq(sch_action_queue(a), &keys[i], sizeof(keys[i]));
        /* Another one of its name is not its own. */
        for (unsigned k = 0; k < SY_COUNT_OF(keys); k++) {
            struct sch_queue_config config = sch_queue_config_default(&keys[k]);
            step(&w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
            ck_assert_mem_eq(sch_action_queue(a), &keys[i], sizeof(keys[i]));
            sch_partition_check(w.p);
        }
        world_free(&w);
    }
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        a_busy_queue_gets_its_new_parent_when_it_is_empty, queues_that_swap_places_make_no_circle,
        queues_that_stay_make_no_tree_deeper, what_was_in_a_deleted_queue_stays_there, NULL};
    return sy_test_run("sch_queue_tree", tests);
}
