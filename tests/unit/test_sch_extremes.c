/* links: sch */
/* The least and the most that people and clusters can say: nothing wraps. */
#include "scheduler/partition_queue.h"
#include "tests/unit/test_sch_queue_world.h"

/* A queue five levels deep, each with this priority, and work that may be stopped. */
static void configure_levels(struct world *w, const char *project, int32_t priority)
{
    static const char *const levels[][3] = {{"", "", ""},    {"d", "", ""},   {"d", "a", ""},
                                            {"d", "b", "a"}, {"d", "c", "b"}, {"d", "e", "c"}};
    for (unsigned i = 0; i < SY_COUNT_OF(levels); i++) {
        struct sch_queue_config config = queue(project, levels[i][0], levels[i][1]);
        snprintf(config.parent, sizeof(config.parent), "%s", levels[i][2]);
        config.priority = priority;
        config.preemptible = i == SY_COUNT_OF(levels) - 1;
        configure(w, config);
    }
}

/* The most and the least that can be configured, at each level, for the most and the least of an
 * action: who is next, ages, and stops others as if numbers had no end. */
START_TEST(priorities_do_not_wrap)
{
    struct world w = world_that_reclaims();
    w.p->options.ageing_ns = SY_NS_PER_MS;
    configure_levels(&w, "low", -SCH_QUEUE_PRIORITY_MAX);
    configure_levels(&w, "high", SCH_QUEUE_PRIORITY_MAX);
    struct sch_action *low = submit(&w, "low", "e", &w.task, INT32_MIN);
    grant(&w, "east", sch_action_class_id(low), 100);
    room(&w, "east", 1000);
    assert_state(low, "assigned");
    struct sch_action *least = submit(&w, "low", "e", &w.task, INT32_MIN);
    ck_assert_ptr_null(wait_for(&w, SCH_EFFECT_RECLAIM, 5 * SY_NS_PER_S)); /* of the same */
    struct sch_action *high = submit(&w, "high", "e", &w.task, INT32_MAX);
    ck_assert_ptr_nonnull(wait_for(&w, SCH_EFFECT_RECLAIM, 5 * SY_NS_PER_S));
    outcome(&w, low, SCH_OUTCOME_PREEMPTED);
    room(&w, "east", 2000);
    assert_state(high, "assigned");
    /* Aged as far as it goes it stops nobody: by configuration it is far below. */
    ck_assert_ptr_null(wait_for(&w, SCH_EFFECT_RECLAIM, 20 * SY_NS_PER_S));
    ck_assert_int_eq(sch_lane_priority(sch_action_impl(least)->lane), -INT32_MAX);
    struct sch_action *highest = submit(&w, "high", "e", &w.task, INT32_MAX);
    ck_assert_int_eq(sch_lane_priority(sch_action_impl(highest)->lane), INT32_MAX);
    room(&w, "east", 3000);
    assert_state(highest, "assigned");
    room(&w, "east", 5000);
    assert_state(low, "assigned");
    assert_state(least, "assigned");
    world_free(&w);
}
END_TEST

static void ask_price(struct world *w, const char *cluster, int64_t price)
{
    step(w,
         (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                            .u.cluster = {.name = cluster, .keep_shapes = true, .price = price}});
}

/* A price is any number that a cluster says: beyond a million a core all are the same. */
START_TEST(prices_do_not_wrap)
{
    const int64_t prices[] = {INT64_MAX, INT64_MAX / 2, (int64_t)1 << 41};
    struct world w = world_new();
    open_cluster(&w, "east");
    open_cluster(&w, "west");
    for (unsigned i = 0; i < SY_COUNT_OF(prices); i++) {
        char name[2] = {(char)('a' + i), 0};
        ask_price(&w, "west", prices[i]);
        ask_price(&w, "east", 1 + i);
        ck_assert_str_eq(where(&w, SCH_POLICY_CHEAPEST, name), "east");
    }
    struct sch_queue_config config = queue("p", "d", "poor");
    config.price_max = INT64_MAX - 1;
    config.policy = SCH_POLICY_PACK;
    configure(&w, config);
    ask_price(&w, "east", INT64_MAX);
    struct sch_action *a = submit(&w, "p", "poor", &w.task, 0);
    grant(&w, "east", sch_action_class_id(a), 4);
    assert_state(a, "queued"); /* one millionth too dear */
    grant(&w, "west", sch_action_class_id(a), 4);
    assert_state(a, "assigned");
    ck_assert_str_eq(sch_cluster_name(a->cluster), "west");
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {priorities_do_not_wrap, prices_do_not_wrap, NULL};
    return sy_test_run("sch_extremes", tests);
}
