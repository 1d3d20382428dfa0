/* links: sch */
/* Queues that get another parent while they have actions. */
#include "tests/unit/test_sch_world.h"

static void configure_with(struct world *w, const char *name, const char *parent, bool paused)
{
    struct sch_queue_key key = {.project = "p", .domain = "d"};
    snprintf(key.name, sizeof(key.name), "%s", name);
    struct sch_queue_config config = sch_queue_config_default(&key);
    snprintf(config.parent, sizeof(config.parent), "%s", parent);
    config.paused = paused;
    step(w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
    sch_partition_check(w->p);
}

static void configure(struct world *w, const char *name, const char *parent)
{
    configure_with(w, name, parent, false);
}

static struct sch_action *submit(struct world *w, const char *queue, struct sch_spec *spec)
{
    static unsigned counter;
    char name[24];
    snprintf(name, sizeof(name), "r%u", ++counter);
    step(w, (struct sch_event){
                .type = SCH_EVENT_CREATE_RUN,
                .u.create = {
                    .project = "p", .domain = "d", .name = name, .spec = spec, .queue = queue}});
    struct sch_run *run = sch_partition_find_run(w->p, "p", "d", name);
    return sch_partition_find_action(w->p, run, "a0");
}

static struct world open_world(void)
{
    struct world w = world_new();
    up(&w, "east");
    complete(&w, "east");
    return w;
}

/* A parent that was changed while the queue had actions counts from when they are gone. */
START_TEST(a_busy_queue_gets_its_new_parent_when_it_is_empty)
{
    struct world w = open_world();
    configure_with(&w, "top", "", true);
    configure(&w, "a", "");
    struct sch_action *first = submit(&w, "a", &w.task);
    grant(&w, "east", sch_action_class_id(first), 10);
    assert_state(first, "assigned");
    configure(&w, "a", "top");
    struct sch_action *second = submit(&w, "a", &w.task);
    assert_state(second, "assigned"); /* not below the paused one yet */
    outcome(&w, first, SCH_OUTCOME_SUCCEEDED);
    outcome(&w, second, SCH_OUTCOME_SUCCEEDED);
    assert_state(submit(&w, "a", &w.task), "queued");
    world_free(&w);
}
END_TEST

/* What is configured has no circle; what could not move yet would make one. */
START_TEST(queues_that_swap_places_make_no_circle)
{
    struct world w = open_world();
    configure(&w, "b", "");
    configure(&w, "a", "b");
    struct sch_action *action = submit(&w, "a", &w.task);
    grant(&w, "east", sch_action_class_id(action), 10);
    configure(&w, "a", "");
    configure(&w, "b", "a"); /* while a is still below b */
    outcome(&w, action, SCH_OUTCOME_SUCCEEDED);
    configure_with(&w, "a", "", true);
    assert_state(submit(&w, "b", &w.task), "queued");
    world_free(&w);
}
END_TEST

/* No more levels than may be, also while some queues are still where they were. */
START_TEST(queues_that_stay_make_no_tree_deeper)
{
    static const char *names[] = {"", "q1", "q2", "q3", "q4"};
    struct world w = open_world();
    for (unsigned i = 1; i <= SCH_QUEUE_DEPTH_MAX; i++)
        configure(&w, names[i], names[i - 1]);
    struct sch_action *deep = submit(&w, "q4", &w.task);
    configure(&w, "q4", "");
    configure(&w, "c", "q4");
    configure(&w, "d", "c");
    struct sch_action *other = submit(&w, "d", &w.task);
    struct sch_spec large = {.request = {.cpu_milli = 4000}};
    submit(&w, "d", &large);
    grant(&w, "east", sch_action_class_id(deep), 10); /* classes are compared: paths in the tree */
    assert_state(other, "assigned");
    outcome(&w, deep, SCH_OUTCOME_SUCCEEDED);
    outcome(&w, other, SCH_OUTCOME_SUCCEEDED);
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {a_busy_queue_gets_its_new_parent_when_it_is_empty,
                            queues_that_swap_places_make_no_circle,
                            queues_that_stay_make_no_tree_deeper, NULL};
    return sy_test_run("sch_queue_tree", tests);
}
