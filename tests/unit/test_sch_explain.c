/* links: sch */
/* What an explanation says of each state; test_sch_explain_random.c holds it against brute force.
 */
#include "scheduler/explain.h"
#include "tests/unit/test_sch_queue_world.h"

#define GIB (1ull << 30)

static struct world one_cluster(uint64_t cpu_milli)
{
    struct world w = world_new();
    open_cluster(&w, "east");
    room(&w, "east", cpu_milli);
    return w;
}

static struct sch_explanation *explain(const struct world *w, const struct sch_action *a)
{
    struct sch_explanation *e = sch_explain(w->p, a);
    ck_assert_int_eq(e->state, a->sm.state);
    return e;
}

START_TEST(room_is_missing_by_an_amount)
{
    struct world w = one_cluster(2500);
    struct sch_spec large = {.request = {.cpu_milli = 4000}};
    struct sch_action *a = submit(&w, "p", NULL, &large, 0);
    struct sch_explanation *e = explain(&w, a);
    ck_assert(e->waits && e->cluster_count == 1 && e->clusters[0].eligible && !e->clusters[0].room);
    ck_assert_uint_eq(e->clusters[0].free.cpu_milli, 2500);
    ck_assert_uint_eq(e->clusters[0].missing.cpu_milli, 1500);
    ck_assert_uint_eq(e->change_count, 1);
    ck_assert_int_eq(e->changes[0].type, SCH_CHANGE_ROOM);
    ck_assert_str_eq(e->changes[0].cluster, "east");
    ck_assert_uint_eq(e->changes[0].amounts.cpu_milli, 1500);
    ck_assert_uint_eq(e->changes[0].amounts.memory_bytes, 0);
    ck_assert_int_eq(e->estimate.basis, SCH_BASIS_NONE);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

START_TEST(a_limit_is_named_with_its_values)
{
    struct world w = one_cluster(100000);
    struct sch_queue_config config = queue("p", "d", "q");
    config.actions_max = 2;
    configure(&w, config);
    struct sch_action *a[4];
    for (int i = 0; i < 4; i++)
        a[i] = submit(&w, "p", "q", &w.task, 0);
    grant(&w, "east", sch_action_class_id(a[0]), 100);
    struct sch_explanation *e = explain(&w, a[3]);
    ck_assert_uint_eq(e->limit_count, 1);
    ck_assert_str_eq(e->limits[0].queue.name, "q");
    ck_assert_str_eq(sch_limit_name(e->limits[0].limit), "actions");
    ck_assert(e->limits[0].used == 2 && e->limits[0].max == 2 && e->limits[0].need == 1);
    ck_assert(e->ahead.own == 1 && e->ahead.own_exact && e->ahead.others == 0);
    ck_assert_uint_eq(e->change_count, 2);
    ck_assert(e->changes[0].type == SCH_CHANGE_LIMIT && e->changes[0].least == 3);
    ck_assert_int_eq(e->changes[1].type, SCH_CHANGE_FIRST);
    sch_explanation_free(e);
    e = explain(&w, a[0]);
    ck_assert(!e->waits && strcmp(e->cluster, "east") == 0);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

/* Two partitions: this one has not been lent anything of the limit yet. */
START_TEST(a_limit_of_the_region_is_lent)
{
    struct sch_partition_options options = options_of(5);
    options.partitions = 2;
    options.partition = 0;
    struct world w = world_with(options);
    struct sch_queue_config config = queue("p", "d", "q");
    config.actions_max = 10;
    configure(&w, config);
    struct sch_explanation *e = explain(&w, submit(&w, "p", "q", &w.task, 0));
    ck_assert_uint_eq(e->limit_count, 1);
    ck_assert(e->limits[0].used == 0 && e->limits[0].allowed == 0 && e->limits[0].max == 10);
    ck_assert(e->changes[0].type == SCH_CHANGE_LIMIT && e->changes[0].least == 11);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

START_TEST(each_state_says_what_it_waits_for)
{
    struct world w = one_cluster(0);
    const uint8_t key[SCH_CACHE_KEY_BYTES] = {7};
    struct sch_action *root = create(&w, "r", &w.group), *keyed[2];
    for (int i = 0; i < 2; i++) {
        step(&w, (struct sch_event){.type = SCH_EVENT_ENQUEUE,
                                    .u.enqueue = {.parent = root,
                                                  .name = i ? "k1" : "k0",
                                                  .spec = &w.task,
                                                  .cache_key = key}});
        keyed[i] = sch_partition_find_action(w.p, root->run, i ? "k1" : "k0");
    }
    struct sch_explanation *e = explain(&w, keyed[1]);
    ck_assert_ptr_eq(e->producer, keyed[0]);
    ck_assert(e->waits && e->change_count == 0 && !e->starts_now);
    sch_explanation_free(e);
    e = explain(&w, root);
    ck_assert(!e->waits && e->children == 2);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

START_TEST(a_slot_of_its_run_and_who_is_before_it)
{
    struct world w = one_cluster(100000);
    step(&w, (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                                .u.create = {.project = "p",
                                             .domain = "d",
                                             .name = "r",
                                             .spec = &w.task,
                                             .concurrency_max = 2}});
    struct sch_action *root = sch_partition_find_run(w.p, "p", "d", "r")->root, *last = NULL;
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++)
        last = child(&w, root, names[i], &w.task);
    grant(&w, "east", sch_action_class_id(root), 100);
    assert_state(last, "held");
    struct sch_explanation *e = explain(&w, last);
    ck_assert(e->slots_used == 2 && e->slots_max == 2 && e->slots_ahead == 1);
    ck_assert(e->changes[0].type == SCH_CHANGE_SLOT && e->changes[0].least == 3);
    ck_assert_int_eq(e->changes[1].type, SCH_CHANGE_FIRST);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

START_TEST(a_backoff_ends_at_a_time)
{
    struct world w = one_cluster(100000);
    w.task.retries = 1;
    w.task.backoff_ns = 20 * SY_NS_PER_S;
    struct sch_action *a = submit(&w, "p", NULL, &w.task, 0);
    grant(&w, "east", sch_action_class_id(a), 100);
    outcome(&w, a, SCH_OUTCOME_FAILED);
    struct sch_explanation *e = explain(&w, a);
    ck_assert_int_eq(e->until_ns, w.now + 20 * SY_NS_PER_S);
    ck_assert(e->change_count == 1 && e->changes[0].type == SCH_CHANGE_TIME);
    ck_assert_int_eq(e->estimate.basis, SCH_BASIS_TIME);
    ck_assert_int_eq(e->estimate.wait_ns, 20 * SY_NS_PER_S);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

START_TEST(after_a_restart_inventories_are_awaited)
{
    struct world w = world_new();
    sch_partition_free(w.p);
    world_open(&w, 6);
    const char *expected[] = {"east"};
    sch_partition_restore_run(w.p, 1, "p", "d", "r", 0, 0, 1, 0);
    struct sch_restore restore = {
        .run_id = 1, .action_id = 2, .name = "a0", .parent = "", .spec = &w.task};
    struct sch_action *a = sch_partition_restore_action(w.p, &restore);
    sch_partition_restored(w.p, expected, 1, w.now);
    struct sch_explanation *e = explain(&w, a);
    ck_assert_int_eq(e->until_ns, w.now + WAIT);
    ck_assert(e->cluster_count == 1 && e->clusters[0].awaited && e->change_count == 0);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

START_TEST(clusters_say_why_not)
{
    struct world w = one_cluster(100000);
    up(&w, "west");
    down(&w, "west");
    struct sch_queue_config config = queue("p", "d", "q");
    name_cluster(&config, "west");
    configure(&w, config);
    struct sch_spec gpus = {.request = {.cpu_milli = 1000, .gpus = 8, .gpu_model = "H100"}};
    struct sch_submit asked = {
        .project = "p", .domain = "d", .queue = "q", .request = &gpus.request};
    struct sch_explanation *e = sch_explain_submit(w.p, &asked);
    ck_assert(e->refused && e->why == SCH_REJECT_INFEASIBLE);
    ck_assert(strstr(e->text.text, "8 x H100 asked") != NULL);
    ck_assert_uint_eq(e->clusters[0].why_not, SCH_WHY_NOT_ALLOWED | SCH_WHY_SHAPE);
    ck_assert_uint_eq(e->clusters[1].why_not, SCH_WHY_NOT_CONNECTED | SCH_WHY_SHAPE);
    ck_assert(strstr(e->clusters[0].miss.text, "8 x H100") != NULL);
    ck_assert(e->change_count == 2 && e->changes[0].type == SCH_CHANGE_ALLOW);
    ck_assert(e->changes[1].type == SCH_CHANGE_NODE && e->changes[1].amounts.gpu_milli == 8000);
    sch_explanation_free(e);
    asked.queue = "none";
    e = sch_explain_submit(w.p, &asked);
    ck_assert(e->refused && e->why == SCH_REJECT_NO_QUEUE && e->cluster_count == 0);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

/* Three that waited started in the last ten seconds; two are before it. */
START_TEST(recent_starts_are_a_basis)
{
    struct world w = one_cluster(0);
    struct sch_action *last = NULL;
    for (int i = 0; i < 6; i++)
        last = submit(&w, "p", NULL, &w.task, 0);
    grant(&w, "east", sch_action_class_id(last), 100);
    for (uint64_t i = 1; i <= 3; i++) {
        w.now += 5 * SY_NS_PER_S;
        room(&w, "east", 1000 * i);
    }
    struct sch_explanation *e = explain(&w, last);
    ck_assert(e->ahead.own == 2 && e->ahead.own_exact);
    ck_assert_int_eq(e->estimate.basis, SCH_BASIS_QUEUE);
    ck_assert_uint_eq(e->estimate.starts, 3);
    ck_assert_int_eq(e->estimate.span_ns, 10 * SY_NS_PER_S);
    ck_assert_int_eq(e->estimate.wait_ns, 10 * SY_NS_PER_S);
    sch_explanation_free(e);
    w.now += 3 * SCH_STARTS_WINDOW_NS;
    room(&w, "east", 3000);
    e = explain(&w, last);
    ck_assert_int_eq(e->estimate.basis, SCH_BASIS_NONE);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

START_TEST(a_submit_says_who_would_be_behind_it)
{
    struct world w = one_cluster(0);
    struct sch_spec other = {.request = {.cpu_milli = 2000}};
    submit(&w, "p", NULL, &w.task, 5);
    submit(&w, "p", NULL, &w.task, 0);
    submit(&w, "p", NULL, &other, 1);
    submit(&w, "p", NULL, &other, 1);
    struct sch_submit asked = {
        .project = "p", .domain = "d", .request = &w.task.request, .priority = 3};
    struct sch_explanation *e = sch_explain_submit(w.p, &asked);
    ck_assert(!e->refused && !e->starts_now && e->cluster == NULL);
    ck_assert(e->ahead.own == 1 && e->ahead.others == 0 && e->behind.own == 1);
    ck_assert(e->behind.others == 2 && e->behind.lane_count == 1 && e->behind.complete);
    ck_assert_uint_eq(e->behind.lanes[0].request.cpu_milli, 2000);
    sch_explanation_free(e);
    room(&w, "east", 20000);
    grant(&w, "east", 1, 100);
    grant(&w, "east", 2, 100);
    e = sch_explain_submit(w.p, &asked);
    ck_assert(e->starts_now && strcmp(e->cluster, "east") == 0);
    ck_assert_int_eq(e->estimate.basis, SCH_BASIS_NOW);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

/* More queues than are played through: whoever is ahead counts. */
START_TEST(many_queues_cost_a_bounded_look)
{
    struct world w = one_cluster(0);
    struct sch_action *last = NULL;
    for (int i = 0; i < 600; i++) {
        char domain[16], name[16];
        snprintf(domain, sizeof(domain), "d%d", i % 300);
        snprintf(name, sizeof(name), "r%d", i);
        step(&w,
             (struct sch_event){
                 .type = SCH_EVENT_CREATE_RUN,
                 .u.create = {.project = "p", .domain = domain, .name = name, .spec = &w.task}});
        last = sch_partition_find_run(w.p, "p", domain, name)->root;
    }
    struct sch_explanation *e = explain(&w, last);
    ck_assert(e->ahead.own == 1 && e->ahead.others == 598 && e->ahead.complete);
    ck_assert(e->change_count == 2 && e->changes[0].type == SCH_CHANGE_FIRST);
    ck_assert_int_eq(e->changes[1].type, SCH_CHANGE_ROOM);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

START_TEST(a_cluster_that_fails_the_class_is_named)
{
    struct world w = one_cluster(100000);
    w.task.retries = 9;
    struct sch_action *a = submit(&w, "p", NULL, &w.task, 0);
    grant(&w, "east", sch_action_class_id(a), 100);
    for (int i = 0; i < 3; i++) {
        outcome(&w, a, SCH_OUTCOME_LOST);
        run_until(&w, w.now + SY_NS_PER_S);
    }
    struct sch_action *b = submit(&w, "p", NULL, &w.task, 0);
    assert_state(b, "assigned"); /* nothing else has room */
    room(&w, "east", 100000);
    struct sch_queue_config config = queue("p", "d", "q");
    config.paused = true;
    configure(&w, config);
    struct sch_explanation *e = explain(&w, submit(&w, "p", "q", &w.task, 0));
    ck_assert(e->clusters[0].room && e->clusters[0].failures == 3);
    ck_assert_int_gt(e->clusters[0].avoided_until_ns, w.now);
    ck_assert(e->change_count == 1 && e->changes[0].type == SCH_CHANGE_RESUME);
    ck_assert_int_eq(e->estimate.basis, SCH_BASIS_NEEDS_CHANGE);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {room_is_missing_by_an_amount,
                                  a_limit_is_named_with_its_values,
                                  a_limit_of_the_region_is_lent,
                                  each_state_says_what_it_waits_for,
                                  a_slot_of_its_run_and_who_is_before_it,
                                  a_backoff_ends_at_a_time,
                                  after_a_restart_inventories_are_awaited,
                                  clusters_say_why_not,
                                  recent_starts_are_a_basis,
                                  a_submit_says_who_would_be_behind_it,
                                  many_queues_cost_a_bounded_look,
                                  a_cluster_that_fails_the_class_is_named,
                                  NULL};
    return sy_test_run("sch_explain", tests);
}
