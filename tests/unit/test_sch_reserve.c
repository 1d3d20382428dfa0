/* links: sch */
/* When clusters are asked to keep nodes for those that smaller ones pass. Nodes have eight cores.
 */
#include "tests/unit/test_sch_world.h"

#include "scheduler/explain.h"

#define AFTER (60 * SY_NS_PER_S)

static struct world world_that_reserves(void)
{
    struct sch_partition_options options = options_of(5);
    options.ageing_ns = 60 * SY_NS_PER_S;
    options.reserve_after_ns = AFTER;
    struct world w = world_with(options);
    w.task.request.cpu_milli = 6000;
    return w;
}

static void cluster(struct world *w, const char *name, uint32_t nodes)
{
    struct sch_shape has = shape;
    has.nodes = nodes;
    step(w, (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                               .u.cluster = {.name = name, .shapes = &has, .shape_count = 1}});
    complete(w, name);
}

/* Runs to that time; how many nodes the cluster was asked to keep for the class, at last. */
static uint32_t kept_in(struct world *w, const char *name, uint32_t class_id, int64_t until)
{
    int64_t next;
    static uint32_t kept; /* what was told stays so */
    while ((next = sch_partition_next_ns(w->p)) <= until) {
        tick_at(w, next > w->now ? next : w->now);
        sch_partition_check(w->p);
    }
    w->now = until;
    const struct sch_class *class = sch_class_find(w->p, class_id);
    for (size_t i = 0; i < class->pair_count; i++) {
        if (strcmp(class->pairs[i]->cluster->name, name) == 0)
            kept = class->pairs[i]->reserves;
    }
    return kept;
}

START_TEST(a_large_one_that_waits_too_long_has_a_node_kept_in_one_cluster)
{
    struct world w = world_that_reserves();
    cluster(&w, "east", 10);
    cluster(&w, "west", 20);
    struct sch_action *a = create(&w, "run", &w.task);
    uint32_t class = sch_action_class_id(a);
    ck_assert_uint_eq(kept_in(&w, "west", class, w.now + AFTER - SY_NS_PER_S), 0);
    int64_t until = w.now + 3 * SY_NS_PER_S;
    size_t told = 0;
    for (int64_t next; (next = sch_partition_next_ns(w.p)) <= until;) {
        tick_at(&w, next);
        for (size_t i = 0; i < count(&w, SCH_EFFECT_DEMAND); i++) {
            const struct sch_effect *demand = nth(&w, SCH_EFFECT_DEMAND, i);
            if (demand->u.demand.keep == 0)
                continue;
            told++;
            ck_assert_uint_eq(demand->u.demand.keep, 1);
            ck_assert_str_eq(demand->u.demand.cluster, "west"); /* more nodes: sooner */
        }
    }
    ck_assert_uint_eq(told, 1);
    struct sch_explanation *e = sch_explain(w.p, a);
    ck_assert_uint_eq(e->clusters[1].kept, 1);
    ck_assert_uint_eq(e->clusters[0].kept + e->clusters[1].kept_for_others, 0);
    sch_explanation_free(e);
    struct sch_spec small = {.request = {.cpu_milli = 10}};
    e = sch_explain(w.p, create(&w, "small", &small));
    ck_assert_uint_eq(e->clusters[1].kept, 0);
    ck_assert_uint_eq(e->clusters[1].kept_for_others, 1);
    sch_explanation_free(e);
    grant(&w, "east", class, 1); /* it is bound to none */
    assert_state(a, "assigned");
    ck_assert_str_eq(sch_cluster_name(a->cluster), "east");
    ck_assert_uint_eq(kept_in(&w, "west", class, w.now + 2 * SY_NS_PER_S), 0);
    world_free(&w);
}
END_TEST

START_TEST(as_many_as_wait_are_spread_over_clusters)
{
    struct world w = world_that_reserves();
    cluster(&w, "east", 10);
    cluster(&w, "west", 20);
    struct sch_action *root = create(&w, "run", &w.group);
    uint32_t class = 0;
    for (int i = 0; i < 6; i++) {
        char name[8];
        snprintf(name, sizeof(name), "a%d", i + 1);
        class = sch_action_class_id(child(&w, root, name, &w.task));
    }
    ck_assert_uint_eq(kept_in(&w, "west", class, w.now + AFTER + SY_NS_PER_S), 4);
    ck_assert_uint_eq(kept_in(&w, "east", class, w.now), 2);
    grant(&w, "west", class, 1);
    ck_assert_uint_eq(kept_in(&w, "west", class, w.now), 3); /* it took the node */
    down(&w, "west");
    ck_assert_uint_eq(kept_in(&w, "west", class, w.now + 2 * SY_NS_PER_S), 0);
    ck_assert_uint_eq(kept_in(&w, "east", class, w.now), 5);
    cluster(&w, "west", 20); /* it knows nothing of before, and is asked anew */
    ck_assert_uint_eq(kept_in(&w, "west", class, w.now + AFTER + 2 * SY_NS_PER_S), 4);
    world_free(&w);
}
END_TEST

START_TEST(small_ones_and_those_with_a_limit_are_not_waited_for)
{
    struct world w = world_that_reserves();
    cluster(&w, "east", 10);
    w.task.request.cpu_milli = 2500; /* three fit on a node */
    struct sch_action *a = create(&w, "small", &w.task);
    ck_assert_uint_eq(kept_in(&w, "east", sch_action_class_id(a), w.now + 2 * AFTER), 0);
    struct sch_queue_key key = {.project = "p", .domain = "d", .name = SCH_QUEUE_DEFAULT};
    struct sch_queue_config config = sch_queue_config_default(&key);
    config.paused = true;
    step(&w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
    struct sch_spec large = {.request = {.cpu_milli = 8000}};
    struct sch_action *b = create(&w, "large", &large);
    ck_assert_uint_eq(kept_in(&w, "east", sch_action_class_id(b), w.now + 2 * AFTER), 0);
    config.paused = false;
    step(&w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
    ck_assert_uint_eq(kept_in(&w, "east", sch_action_class_id(b), w.now + 2 * SY_NS_PER_S), 1);
    config.paused = true;
    step(&w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
    ck_assert_uint_eq(kept_in(&w, "east", sch_action_class_id(b), w.now + 2 * SY_NS_PER_S), 0);
    world_free(&w);
}
END_TEST

START_TEST(who_is_first_in_order_is_asked_for_first)
{
    struct world w = world_that_reserves();
    struct sch_spec specs[20] = {0};
    cluster(&w, "east", 100);
    struct sch_action *root = create(&w, "run", &w.group), *first = NULL;
    for (uint32_t i = 0; i < 20; i++) { /* more classes than are asked for */
        char name[8];
        struct sch_spec *spec = &specs[i];
        snprintf(name, sizeof(name), "a%u", i + 1);
        spec->request.cpu_milli = 5000 + i;
        step(&w, (struct sch_event){
                     .type = SCH_EVENT_ENQUEUE,
                     .u.enqueue = {
                         .parent = root, .name = name, .spec = spec, .priority = i == 19 ? 5 : 0}});
        first = sch_partition_find_action(w.p, root->run, name);
    }
    ck_assert_uint_eq(kept_in(&w, "east", sch_action_class_id(first), w.now + AFTER + SY_NS_PER_S),
                      1);
    uint32_t asked = 0;
    for (struct sch_link *link = w.p->classes.next; link != &w.p->classes; link = link->next)
        asked += sy_container_of(link, struct sch_class, link)->reserves;
    ck_assert_uint_eq(asked, 16);
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_large_one_that_waits_too_long_has_a_node_kept_in_one_cluster,
                                  as_many_as_wait_are_spread_over_clusters,
                                  small_ones_and_those_with_a_limit_are_not_waited_for,
                                  who_is_first_in_order_is_asked_for_first, NULL};
    return sy_test_run("sch_reserve", tests);
}
