/* links: sch */
/* What a partition makes of what others have of its queues. */
#include "scheduler/share.h"
#include "tests/unit/test_sch_queue_world.h"

static struct world region_world(void)
{
    struct sch_partition_options options = options_of(5);
    options.partitions = 4;
    return world_with(options);
}

/* Of the first that waits, in the first demand of the step before. */
static struct sch_share_path place_of(const struct world *w)
{
    const struct sch_effect *demand = nth(w, SCH_EFFECT_DEMAND, 0);
    ck_assert_ptr_nonnull(demand->u.demand.standing);
    return demand->u.demand.standing->path;
}

static void elsewhere(struct world *w, const char *cluster, const struct sch_share_path *place,
                      uint64_t cores)
{
    struct sch_event event = {.type = SCH_EVENT_ELSEWHERE};
    event.u.elsewhere.cluster = cluster;
    event.u.elsewhere.place = place;
    event.u.elsewhere.use = (struct sch_use){.actions = cores, .cpu_milli = 1000 * cores};
    step(w, event);
    sch_partition_check(w->p);
}

/* Which queue the next one is of, with room for one more. */
static const char *next(struct world *w, uint64_t *granted)
{
    static char name[SCH_QUEUE_NAME_MAX];
    *granted += 1000;
    room(w, "east", *granted);
    const struct sch_action *a = nth(w, SCH_EFFECT_ASSIGN, 0)->u.assign.action;
    snprintf(name, sizeof(name), "%s", sch_action_queue(a)->name);
    return name;
}

/* Two queues that wait, "a" before "b" as nothing is out; where they are. */
static void two_queues(struct world *w, struct sch_share_path *ret_a, struct sch_share_path *ret_b)
{
    static struct sch_spec other; /* what waits refers to it */
    other = (struct sch_spec){.request = {.cpu_milli = 500}};
    open_cluster(w, "east");
    open_cluster(w, "west");
    room(w, "east", 0);
    room(w, "west", 0);
    configure(w, queue("p", "d", "a"));
    configure(w, queue("p", "d", "b"));
    (void)submit(w, "p", "b", &other, 0); /* of a class of its own */
    *ret_b = place_of(w);
    struct sch_action *a = submit(w, "p", "a", &w->task, 0);
    *ret_a = place_of(w);
    for (int i = 0; i < 9; i++) {
        (void)submit(w, "p", "a", &w->task, 0);
        (void)submit(w, "p", "b", &w->task, 0);
    }
    grant(w, "east", sch_action_class_id(a), 1u << 20);
    ck_assert_uint_eq(count(w, SCH_EFFECT_ASSIGN), 0);
    ck_assert_uint_eq(ret_a->depth, 4); /* project, domain, queue, who uses it */
    ck_assert(!sch_share_path_equal(ret_a, ret_b));
}

START_TEST(it_counts_in_the_order)
{
    struct world w = region_world();
    struct sch_share_path a, b;
    uint64_t granted = 0;
    two_queues(&w, &a, &b);
    a.depth = b.depth = 3; /* of the queues */
    elsewhere(&w, "east", &a, 1);
    elsewhere(&w, "west", &a, 2); /* three in all */
    for (int i = 0; i < 3; i++)
        ck_assert_str_eq(next(&w, &granted), "b");
    ck_assert_str_eq(next(&w, &granted), "a"); /* three and three: the older */
    ck_assert_str_eq(next(&w, &granted), "b");
    elsewhere(&w, "west", &b, 3); /* seven, and a has four */
    for (int i = 0; i < 3; i++)
        ck_assert_str_eq(next(&w, &granted), "a");
    elsewhere(&w, "west", &b, 0);
    ck_assert_str_eq(next(&w, &granted), "b"); /* four again, and a has seven */
    world_free(&w);
}
END_TEST

START_TEST(it_ends_with_the_stream)
{
    struct world w = region_world();
    struct sch_share_path a, b;
    uint64_t granted = 0;
    two_queues(&w, &a, &b);
    a.depth = 3;
    elsewhere(&w, "west", &a, 4);
    ck_assert_str_eq(next(&w, &granted), "b");
    down(&w, "west");
    sch_partition_check(w.p);
    ck_assert_str_eq(next(&w, &granted), "a");
    elsewhere(&w, "west", &a, 4); /* it crossed with that */
    ck_assert_str_eq(next(&w, &granted), "a");
    open_cluster(&w, "west");
    elsewhere(&w, "west", &a, 4);
    for (int i = 0; i < 4; i++)
        ck_assert_str_eq(next(&w, &granted), "b");
    world_free(&w);
}
END_TEST

/* A queue that has nothing here any more, a cluster that nobody knows, and places of no queue. */
START_TEST(what_is_not_there_is_passed_over)
{
    struct world w = region_world();
    struct sch_share_path a, b, none = {.depth = 2, .tags = {1, 2}}, region = {0};
    uint64_t granted = 0;
    two_queues(&w, &a, &b);
    elsewhere(&w, "east", &none, 7);
    elsewhere(&w, "east", &region, 7);
    elsewhere(&w, "north", &a, 7);
    a.depth = 3;
    elsewhere(&w, "east", &a, UINT64_MAX / 1000);
    elsewhere(&w, "west", &a, UINT64_MAX / 1000);
    ck_assert_str_eq(next(&w, &granted), "b");
    elsewhere(&w, "east", &a, 0);
    elsewhere(&w, "west", &a, 0);
    ck_assert_str_eq(next(&w, &granted), "a");
    world_free(&w);
}
END_TEST

/* What was said of it was said of where it was. */
START_TEST(a_queue_that_moves_forgets_it)
{
    struct world w = region_world();
    struct sch_share_path a, b;
    two_queues(&w, &a, &b);
    struct sch_queue_config moved = queue("p", "d", "a");
    configure(&w, queue("p", "d", "above"));
    snprintf(moved.parent, sizeof(moved.parent), "above");
    a.depth = 3;
    elsewhere(&w, "east", &a, 5);
    configure(&w, moved);
    uint64_t granted = 0;
    for (int i = 0; i < 10; i++) /* until nothing of it is left */
        (void)next(&w, &granted);
    struct sch_run *run;
    for (unsigned n = 0; n < 100; n++) {
        char name[24];
        snprintf(name, sizeof(name), "r%u", n);
        run = sch_partition_find_run(w.p, "p", "d", name);
        if (run)
            step(&w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = run->root});
    }
    sch_partition_check(w.p);
    elsewhere(&w, "east", &a, 6); /* nothing has that place now */
    world_free(&w);
}
END_TEST

/* Told with each demand, and whenever it changes. */
/* Whoever uses it here has nothing here by then. */
START_TEST(a_queue_that_only_others_use_heeds_its_changes)
{
    struct world w = region_world();
    struct sch_queue_config config = queue("p", "d", "a");
    open_cluster(&w, "east");
    open_cluster(&w, "west");
    room(&w, "east", 1u << 20);
    room(&w, "west", 1u << 20);
    configure(&w, config);
    struct sch_action *a = submit(&w, "p", "a", &w.task, 0);
    struct sch_share_path place = place_of(&w);
    grant(&w, "east", sch_action_class_id(a), 1u << 20);
    assert_state(a, "assigned");
    elsewhere(&w, "west", &place, 3);
    outcome(&w, a, SCH_OUTCOME_SUCCEEDED);
    name_cluster(&config, "west");
    configure(&w, config);
    a = submit(&w, "p", "a", &w.task, 0);
    grant(&w, "east", sch_action_class_id(a), 1u << 20);
    assert_state(a, "queued");
    grant(&w, "west", sch_action_class_id(a), 1u << 20);
    assert_state(a, "assigned");
    ck_assert_str_eq(sch_cluster_name(a->cluster), "west");
    world_free(&w);
}
END_TEST

START_TEST(operators_are_told_who_is_first)
{
    struct world w = region_world();
    struct sch_queue_config config = queue("p", "d", "a");
    config.weight = 300;
    open_cluster(&w, "east");
    configure(&w, config);
    (void)submit(&w, "p", "a", &w.task, 0);
    const struct sch_share_standing *told = nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.standing;
    ck_assert_uint_eq(told->weights[2], 300);
    ck_assert_uint_eq(told->weights[3], SCH_QUEUE_WEIGHT_DEFAULT);
    w.now += SY_NS_PER_S;
    config.weight = 500;
    configure(&w, config);
    ck_assert_uint_eq(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.standing->weights[2], 500);
    world_free(&w);
}
END_TEST

/* Where no other partition is there is nothing to order. */
START_TEST(a_partition_that_is_alone_tells_nothing)
{
    struct world w = world_new();
    struct sch_action *a = assigned(&w);
    ck_assert_ptr_null(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.place);
    w.now += SY_NS_PER_S;
    (void)create(&w, "another", &w.task);
    ck_assert_uint_eq(a->number, 1);
    struct sch_spec other = {.request = {.cpu_milli = 10}};
    (void)create(&w, "third", &other);
    ck_assert_ptr_null(nth(&w, SCH_EFFECT_DEMAND, 0)->u.demand.standing);
    world_free(&w);
}
END_TEST

START_TEST(places_from_messages_are_looked_at)
{
    uint32_t tags[SCH_SHARE_DEPTH_MAX + 1] = {1, 2, 3, 4, 5, 6, 7, 8}, gap[] = {1, 0, 3};
    uint32_t weights[SCH_SHARE_DEPTH_MAX] = {1, 2, 3, 4, 5, 6, SCH_QUEUE_WEIGHT_MAX}, zero[] = {0};
    struct sch_share_path path = {.depth = 9};
    struct sch_share_standing standing;
    ck_assert(!sch_share_path_from(tags, SCH_SHARE_DEPTH_MAX + 1, &path));
    ck_assert(!sch_share_path_from(gap, 3, &path));
    ck_assert_uint_eq(path.depth, 9); /* untouched */
    ck_assert(sch_share_path_from(tags, SCH_SHARE_DEPTH_MAX, &path));
    ck_assert(sch_share_path_from(tags, 0, &path));
    ck_assert_uint_eq(path.depth, 0);
    ck_assert(sch_share_standing_from(tags, 7, weights, 7, &standing));
    ck_assert(!sch_share_standing_from(tags, 2, weights, 1, &standing));
    ck_assert(!sch_share_standing_from(tags, 1, zero, 1, &standing));
    weights[6]++;
    ck_assert(!sch_share_standing_from(tags, 7, weights, 7, &standing));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        it_counts_in_the_order,
        it_ends_with_the_stream,
        what_is_not_there_is_passed_over,
        a_queue_that_moves_forgets_it,
        a_queue_that_only_others_use_heeds_its_changes,
        operators_are_told_who_is_first,
        a_partition_that_is_alone_tells_nothing,
        places_from_messages_are_looked_at,
        NULL,
    };
    return sy_test_run("sch_elsewhere", tests);
}
