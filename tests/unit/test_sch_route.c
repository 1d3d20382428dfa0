/* links: sch */
/* Which cluster: preferred ones, regions, locality, and waiting for a better one's answer. */
#include "base/rng.h"
#include "scheduler/explain.h"
#include "tests/unit/test_sch_queue_world.h"

static void prefer(struct sch_queue_config *config, const char *name)
{
    snprintf(config->preferred[config->preferred_count++], SCH_QUEUE_NAME_MAX, "%s", name);
}

static void keep_in(struct sch_queue_config *config, const char *region)
{
    snprintf(config->regions[config->region_count++], SCH_QUEUE_NAME_MAX, "%s", region);
}

static void ready(struct world *w, const char *cluster, int64_t price, const char *region)
{
    step(w, (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                               .u.cluster = {.name = cluster,
                                             .shapes = &shape,
                                             .shape_count = 1,
                                             .price = price,
                                             .region = region}});
    complete(w, cluster);
}

static struct sch_action *child_in(struct world *w, struct sch_action *parent, const char *name,
                                   const char *queue_name)
{
    step(w,
         (struct sch_event){
             .type = SCH_EVENT_ENQUEUE,
             .u.enqueue = {.parent = parent, .name = name, .spec = &w->task, .queue = queue_name}});
    sch_partition_check(w->p);
    return sch_partition_find_action(w->p, parent->run, name);
}

static void assert_on(const struct sch_action *a, const char *cluster)
{
    assert_state(a, "assigned");
    ck_assert_str_eq(sch_cluster_name(a->cluster), cluster);
}

/* "east" is the better one by the queue's policy. */
static struct world two_clusters(enum sch_policy policy)
{
    struct world w = world_new();
    struct sch_queue_config config = queue("p", "d", "q");
    config.policy = policy;
    configure(&w, config);
    ready(&w, "east", 100, "eu");
    ready(&w, "west", 200, "us");
    return w;
}

/* ---- preferred clusters ---- */

START_TEST(preferred_clusters_come_first_while_they_have_room)
{
    struct world w = two_clusters(SCH_POLICY_SPREAD);
    struct sch_queue_config config = queue("p", "d", "q");
    prefer(&config, "west");
    configure(&w, config);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "q"), *b = child_in(&w, root, "b", "q");
    grant(&w, "east", sch_action_class_id(a), 9); /* more room, and the first to answer */
    assert_state(a, "queued");
    grant(&w, "west", sch_action_class_id(a), 1);
    assert_on(a, "west");
    assert_state(b, "queued"); /* west was asked for more */
    run_until(&w, w.now + SCH_ANSWER_PATIENCE_NS);
    assert_on(b, "east");
    struct sch_action *c = child_in(&w, root, "c", "q"); /* west has not answered by now */
    assert_on(c, "east");
    grant(&w, "west", sch_action_class_id(a), 2);
    assert_on(child_in(&w, root, "d", "q"), "west");
    world_free(&w);
}
END_TEST

START_TEST(a_child_prefers_what_its_parent_does_unless_it_says_otherwise)
{
    struct world w = two_clusters(SCH_POLICY_SPREAD);
    struct sch_queue_config level = queue("p", "d", ""), own = queue("p", "d", "own");
    prefer(&level, "west");
    prefer(&own, "east");
    configure(&w, level);
    configure(&w, own);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", NULL), *b = child_in(&w, root, "b", "own");
    const char *const clusters[] = {"east", "west"};
    for (unsigned i = 0; i < 2; i++) {
        grant(&w, clusters[i], sch_action_class_id(a), 1);
        grant(&w, clusters[i], sch_action_class_id(b), 1);
    }
    assert_on(a, "west");
    assert_on(b, "east");
    world_free(&w);
}
END_TEST

START_TEST(contradictions_are_refused)
{
    struct sch_queue_config config = queue("p", "d", "q");
    struct sy_error_text error = {0};
    config.cluster_count = 1;
    snprintf(config.clusters[0], sizeof(config.clusters[0]), "east");
    prefer(&config, "west");
    ck_assert_int_eq(sch_queue_config_check(&config, &error), -EINVAL);
    ck_assert_str_eq(error.text,
                     "preferred cluster 'west' is not one of the clusters that it may use");
    static const char *const names[] = {"", "a b", "twice"};
    for (unsigned i = 0; i < SY_COUNT_OF(names); i++) {
        struct sch_queue_config wrong = queue("p", "d", "q");
        keep_in(&wrong, "twice");
        keep_in(&wrong, names[i]);
        ck_assert_int_eq(sch_queue_config_check(&wrong, NULL), -EINVAL);
    }
    config = queue("p", "d", "q");
    config.region_count = SCH_QUEUE_REGIONS_MAX + 1;
    ck_assert_int_eq(sch_queue_config_check(&config, NULL), -EINVAL);
}
END_TEST

/* ---- regions ---- */

START_TEST(work_stays_in_its_regions)
{
    struct world w = two_clusters(SCH_POLICY_SPREAD);
    struct sch_queue_config level = queue("p", "", ""), own = queue("p", "d", "q"),
                            wide = queue("p", "d", "wide");
    keep_in(&level, "us");
    keep_in(&level, "ap");
    keep_in(&own, "eu");
    keep_in(&wide, "eu"); /* it cannot let out what its project keeps in */
    keep_in(&wide, "us");
    configure(&w, level);
    configure(&w, own);
    configure(&w, wide);
    ready(&w, "lost", 1, NULL); /* says no region: it is in none */
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "wide");
    static const char *const clusters[] = {"east", "lost", "west"};
    for (unsigned i = 0; i < 3; i++)
        grant(&w, clusters[i], sch_action_class_id(a), 1);
    assert_on(a, "west");
    ck_assert_ptr_null(child_in(&w, root, "b", "q"));
    const struct sch_effect *no = nth(&w, SCH_EFFECT_REJECTED, 0);
    ck_assert_int_eq(no->u.rejected.why, SCH_REJECT_INFEASIBLE);
    ck_assert_str_eq(no->u.rejected.text,
                     "no cluster can run this; "
                     "cluster east: in region eu, the queue's work may not run there; "
                     "cluster west: in region us, the queue's work may not run there; "
                     "cluster lost: does not say its region, the queue's work may not run there");
    /* Live, and for what waits. */
    configure(&w, queue("p", "", ""));
    struct sch_action *b = child_in(&w, root, "b", "q");
    grant(&w, "west", sch_action_class_id(b), 1);
    assert_state(b, "queued");
    grant(&w, "east", sch_action_class_id(b), 1);
    assert_on(b, "east");
    world_free(&w);
}
END_TEST

/* Before a cluster is back after a restart its region is not known. */
START_TEST(a_cluster_that_has_not_come_back_may_be_anywhere)
{
    struct world w = world_new();
    const char *expected[] = {"east"};
    struct sch_restore r = {
        .run_id = (4ull << 40) | 1, .action_id = (4ull << 40) | 2, .name = "a0", .parent = ""};
    r.spec = &w.task;
    r.queue = "q";
    sch_partition_restore_run(w.p, r.run_id, "p", "d", "run", 5, 40, 9, 0);
    struct sch_action *root = sch_partition_restore_action(w.p, &r);
    sch_partition_restored(w.p, expected, 1, w.now);
    struct sch_queue_config config = queue("p", "d", "q");
    keep_in(&config, "eu");
    configure(&w, config);
    struct sch_action *a = child_in(&w, root, "a", "q"); /* not refused */
    ck_assert_ptr_nonnull(a);
    ready(&w, "east", 1, "eu");
    grant(&w, "east", sch_action_class_id(a), 2);
    assert_on(a, "east");
    world_free(&w);
}
END_TEST

START_TEST(explain_names_the_region)
{
    struct world w = world_new();
    struct sch_queue_config level = queue("p", "", ""), own = queue("p", "d", "q");
    keep_in(&level, "eu");
    keep_in(&own, "ap");
    configure(&w, level);
    configure(&w, own);
    struct sch_submit submit = {
        .project = "p", .domain = "d", .queue = "q", .request = &w.task.request};
    ready(&w, "lost", 0, NULL);
    struct sch_explanation *e = sch_explain_submit(w.p, &submit);
    ck_assert(e->refused && e->why == SCH_REJECT_INFEASIBLE);
    ck_assert_uint_eq(e->clusters[0].why_not, SCH_WHY_REGION);
    ck_assert(!e->clusters[0].eligible);
    ck_assert_uint_eq(e->change_count, 2); /* both levels */
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(e->changes[i].type, SCH_CHANGE_REGION);
        ck_assert_str_eq(e->changes[i].region, "");
    }
    sch_explanation_free(e);
    ready(&w, "near", 0, "eu");
    e = sch_explain_submit(w.p, &submit);
    ck_assert_uint_eq(e->change_count, 1);
    ck_assert_str_eq(e->changes[0].queue.name, "q");
    ck_assert_str_eq(e->changes[0].region, "eu");
    ck_assert_str_eq(e->changes[0].cluster, "near");
    sch_explanation_free(e);
    keep_in(&own, "eu");
    configure(&w, own);
    e = sch_explain_submit(w.p, &submit);
    ck_assert(e->starts_now && !e->refused);
    ck_assert_str_eq(e->cluster, "near");
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

/* ---- what people say of clusters ---- */

static void cordon(struct world *w, const char *cluster, bool cordoned)
{
    step(w, (struct sch_event){
                .type = SCH_EVENT_CLUSTER_UP,
                .u.cluster = {.name = cluster, .keep_shapes = true, .cordoned = cordoned}});
    sch_partition_check(w->p);
}

START_TEST(nothing_goes_to_a_cordoned_cluster_and_all_waits_for_it)
{
    struct world w = world_new();
    ready(&w, "east", 0, NULL);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", ""), *b = child_in(&w, root, "b", "");
    grant(&w, "east", sch_action_class_id(a), 1);
    assert_on(a, "east");
    cordon(&w, "east", true);
    grant(&w, "east", sch_action_class_id(a), 5);
    assert_state(b, "queued");
    assert_on(a, "east"); /* what it has goes on */
    struct sch_action *c = child_in(&w, root, "c", "");
    assert_state(c, "queued"); /* it is not infeasible */
    struct sch_submit submit = {.project = "p", .domain = "d", .request = &w.task.request};
    struct sch_explanation *e = sch_explain_submit(w.p, &submit);
    ck_assert(!e->refused);
    ck_assert(!e->starts_now);
    ck_assert(e->clusters[0].why_not & SCH_WHY_CORDONED);
    ck_assert_int_eq(e->changes[e->change_count - 1].type, SCH_CHANGE_UNCORDON);
    ck_assert_str_eq(e->changes[e->change_count - 1].cluster, "east");
    sch_explanation_free(e);
    cordon(&w, "east", false);
    assert_on(b, "east");
    assert_on(c, "east");
    world_free(&w);
}
END_TEST

START_TEST(a_fenced_cluster_has_nothing_and_what_it_says_is_not_wanted)
{
    struct world w = world_new();
    ready(&w, "east", 0, NULL);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", ""), *b = child_in(&w, root, "b", "");
    grant(&w, "east", sch_action_class_id(a), 2);
    struct sch_report old = {.cluster = "east",
                             .action_id = b->id,
                             .number = b->number,
                             .epoch = b->attempt_epoch,
                             .outcome = SCH_OUTCOME_SUCCEEDED};
    assert_on(a, "east");
    assert_on(b, "east");
    for (int again = 0; again < 2; again++) {
        step(&w, (struct sch_event){.type = SCH_EVENT_CLUSTER_FENCED, .u.cluster.name = "east"});
        sch_partition_check(w.p);
        assert_state(a, "queued"); /* at once, before its lease */
        assert_state(b, "queued");
    }
    ready(&w, "west", 0, NULL);
    grant(&w, "west", sch_action_class_id(a), 2);
    assert_on(a, "west");
    assert_on(b, "west");
    step(&w, (struct sch_event){.type = SCH_EVENT_OUTCOME, .u.report = old});
    assert_on(b, "west");
    step(&w, (struct sch_event){.type = SCH_EVENT_CLUSTER_FENCED, .u.cluster.name = "nowhere"});
    ready(&w, "east", 0, NULL); /* it is let in again */
    grant(&w, "east", sch_action_class_id(a), 5);
    assert_on(child_in(&w, root, "c", ""), "east");
    world_free(&w);
}
END_TEST

START_TEST(nobody_waits_for_a_fenced_cluster_after_a_restart)
{
    struct sch_partition_options options = options_of(5);
    options.recovery_wait_ns = 30 * SY_NS_PER_S;
    struct world w = world_with(options);
    const char *expected[] = {"east"};
    sch_partition_restored(w.p, expected, 1, w.now);
    ck_assert(sch_partition_counts(w.p).recovering_clusters);
    step(&w, (struct sch_event){.type = SCH_EVENT_CLUSTER_FENCED, .u.cluster.name = "east"});
    ck_assert(!sch_partition_counts(w.p).recovering_clusters);
    world_free(&w);
}
END_TEST

/* ---- spot nodes ---- */

/* What the queue says, what a level above it says, and what a task says by itself. */
START_TEST(a_queue_lets_its_work_onto_spot_nodes)
{
    static const struct sch_shape spot = {
        .capacity = {.cpu_milli = 8000}, .traits = {.taints = SCH_LABEL_SPOT}, .nodes = 1};
    struct world w = world_new();
    struct sch_queue_config own = queue("p", "d", "q"), level = queue("p", "", "");
    own.paused = true;
    own.preemptible_nodes = true;
    configure(&w, own);
    step(&w, (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                                .u.cluster = {.name = "east", .shapes = &spot, .shape_count = 1}});
    complete(&w, "east");
    struct sch_action *root = create(&w, "run", &w.group);
    ck_assert_ptr_null(child_in(&w, root, "other", "default"));
    struct sch_action *a = child_in(&w, root, "a", "q"), *b = child_in(&w, root, "b", "q");
    own.paused = false;
    configure(&w, own);
    run_until(&w, w.now + SY_NS_PER_S);
    grant(&w, "east", sch_action_class_id(a), 1);
    assert_on(a, "east");
    own.preemptible_nodes = false; /* what waits may not any more */
    configure(&w, own);
    ck_assert_ptr_null(child_in(&w, root, "c", "q"));
    grant(&w, "east", sch_action_class_id(b), 9);
    assert_state(b, "queued");
    level.preemptible_nodes = true;
    configure(&w, level);
    grant(&w, "east", sch_action_class_id(b), 9);
    assert_on(b, "east");
    configure(&w, queue("p", "", ""));
    snprintf(w.task.request.tolerations, sizeof(w.task.request.tolerations), SCH_LABEL_SPOT);
    ck_assert_ptr_nonnull(child_in(&w, root, "d", "q"));
    world_free(&w);
}
END_TEST

START_TEST(operators_are_asked_for_spot_nodes_too)
{
    struct world w = world_new();
    struct sch_queue_config config = queue("p", "d", "q");
    config.preemptible_nodes = true;
    configure(&w, config);
    ready(&w, "east", 1, NULL);
    (void)child_in(&w, create(&w, "run", &w.group), "a", "q");
    const struct sch_effect *demand = nth(&w, SCH_EFFECT_DEMAND, 0);
    ck_assert_str_eq(demand->u.demand.request->tolerations, SCH_LABEL_SPOT);
    world_free(&w);
}
END_TEST

/* ---- locality ---- */

START_TEST(a_child_goes_where_its_parent_is)
{
    struct world w = two_clusters(SCH_POLICY_LOCALITY);
    struct sch_queue_config config = queue("p", "d", "cheap");
    config.policy = SCH_POLICY_CHEAPEST;
    configure(&w, config);
    struct sch_action *root = create(&w, "run", &w.task);
    grant(&w, "west", sch_action_class_id(root), 1);
    assert_on(root, "west");
    struct sch_action *group = child(&w, root, "group", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "q");
    grant(&w, "west", sch_action_class_id(a), 2);
    assert_on(a, "west");
    grant(&w, "east", sch_action_class_id(a), 9);
    assert_on(child_in(&w, group, "b", "q"), "west"); /* its nearest ancestor that has one */
    assert_on(child_in(&w, root, "c", "q"), "east");  /* west has no room */
    /* Others look at it when they find clusters alike: here by the price. */
    ready(&w, "east", 200, "us");
    config.paused = true;
    configure(&w, config);
    struct sch_action *d = child_in(&w, root, "d", "cheap");
    struct sch_action *f = child_in(&w, root, "f", "cheap");
    grant(&w, "east", sch_action_class_id(d), 9);
    grant(&w, "west", sch_action_class_id(d), 1);
    config.paused = false;
    configure(&w, config);
    assert_on(d, "west");
    assert_on(f, "east");
    world_free(&w);
}
END_TEST

/* ---- waiting for a better cluster ---- */

START_TEST(the_better_cluster_is_waited_for_not_the_first_to_answer)
{
    struct world w = two_clusters(SCH_POLICY_CHEAPEST);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "q"), *b = child_in(&w, root, "b", "q");
    grant(&w, "west", sch_action_class_id(a), 9);
    assert_state(a, "queued");
    w.now += SCH_ANSWER_PATIENCE_NS / 2;
    grant(&w, "east", sch_action_class_id(a), 1);
    assert_on(a, "east");
    grant(&w, "east", sch_action_class_id(a), 2);
    assert_on(b, "east");
    world_free(&w);
}
END_TEST

START_TEST(one_that_does_not_answer_delays_a_burst_once)
{
    struct world w = two_clusters(SCH_POLICY_CHEAPEST);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "q");
    int64_t until = w.now + SCH_FIRST_ANSWER_NS;
    grant(&w, "west", sch_action_class_id(a), 2);
    run_until(&w, until - 1);
    assert_state(a, "queued");
    struct sch_action *b = child_in(&w, root, "b", "q"); /* it does not begin anew */
    struct sch_action *c = child_in(&w, root, "c", "q");
    run_until(&w, until);
    assert_on(a, "west");
    assert_on(b, "west");
    /* While somebody waits all that is granted goes out at once, from whom it comes. */
    run_until(&w, w.now + SY_NS_PER_S);
    grant(&w, "west", sch_action_class_id(a), 3);
    assert_on(c, "west");
    run_until(&w, w.now + SY_NS_PER_S);
    grant(&w, "west", sch_action_class_id(a), 9);
    assert_on(child_in(&w, root, "d", "q"), "west"); /* east was asked long ago: it is full */
    world_free(&w);
}
END_TEST

START_TEST(one_that_is_asked_for_the_first_time_is_waited_for_though_it_is_slow)
{
    struct world w = two_clusters(SCH_POLICY_CHEAPEST);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "q"), *b = child_in(&w, root, "b", "q");
    int64_t until = w.now + SCH_FIRST_ANSWER_NS;
    grant(&w, "west", sch_action_class_id(a), 9);
    run_until(&w, until - 1);
    assert_state(a, "queued");
    grant(&w, "east", sch_action_class_id(a), 1);
    assert_on(a, "east");
    run_until(&w, until); /* it was asked for more, but there is an end */
    assert_on(b, "west");
    world_free(&w);
}
END_TEST

START_TEST(one_that_says_that_it_has_nothing_delays_nobody)
{
    struct world w = two_clusters(SCH_POLICY_CHEAPEST);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "q");
    grant(&w, "west", sch_action_class_id(a), 9);
    assert_state(a, "queued");
    grant(&w, "east", sch_action_class_id(a), 0);
    assert_on(a, "west");
    grant(&w, "east", sch_action_class_id(a), 1); /* by now it has */
    assert_on(child_in(&w, root, "b", "q"), "east");
    world_free(&w);
}
END_TEST

START_TEST(more_than_it_keeps_ready_is_waited_for)
{
    struct world w = two_clusters(SCH_POLICY_CHEAPEST);
    struct sch_action *root = create(&w, "run", &w.group), *actions[6];
    struct sch_action *first = child_in(&w, root, "first", "q");
    grant(&w, "east", sch_action_class_id(first), 3);
    grant(&w, "west", sch_action_class_id(first), 9);
    assert_on(first, "east");
    run_until(&w, w.now + SY_NS_PER_S);
    for (unsigned i = 0; i < SY_COUNT_OF(actions); i++) {
        char name[8];
        snprintf(name, sizeof(name), "k%u", i);
        actions[i] = child_in(&w, root, name, "q");
    }
    assert_on(actions[0], "east");
    assert_on(actions[1], "east");
    assert_state(actions[2], "queued"); /* east has room: it is asked for more */
    grant(&w, "east", sch_action_class_id(first), 5);
    assert_on(actions[2], "east");
    assert_on(actions[3], "east");
    assert_state(actions[4], "queued");
    run_until(&w, w.now + SCH_ANSWER_PATIENCE_NS);
    assert_on(actions[4], "west");
    assert_on(actions[5], "west");
    world_free(&w);
}
END_TEST

/* Of all classes together: the same. */
START_TEST(more_room_is_waited_for)
{
    struct world w = two_clusters(SCH_POLICY_CHEAPEST);
    struct sch_action *root = create(&w, "run", &w.group);
    room(&w, "east", 1000);
    struct sch_action *a = child_in(&w, root, "a", "q");
    grant(&w, "east", sch_action_class_id(a), 9);
    grant(&w, "west", sch_action_class_id(a), 9);
    assert_on(a, "east");
    struct sch_action *b = child_in(&w, root, "b", "q"), *c = child_in(&w, root, "c", "q");
    assert_state(b, "queued");
    room(&w, "east", 2000);
    assert_on(b, "east");
    assert_state(c, "queued");
    run_until(&w, w.now + SCH_ANSWER_PATIENCE_NS);
    assert_on(c, "west");
    run_until(&w, w.now + SY_NS_PER_S);
    assert_on(child_in(&w, root, "d", "q"), "west"); /* at once: that east is full is known */
    room(&w, "east", 3000);
    assert_on(child_in(&w, root, "e", "q"), "east");
    world_free(&w);
}
END_TEST

START_TEST(where_it_starts_at_once_is_waited_for)
{
    struct world w = two_clusters(SCH_POLICY_FASTEST_START);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "q"), *b = child_in(&w, root, "b", "q");
    grant(&w, "west", sch_action_class_id(a), 9); /* into its backlog */
    assert_state(a, "queued");
    step(&w, (struct sch_event){
                 .type = SCH_EVENT_GRANT,
                 .u.grant = {"east", sch_action_class_id(a), .granted = 1, .startable = 1}});
    assert_on(a, "east");
    run_until(&w, w.now + SCH_ANSWER_PATIENCE_NS);
    assert_on(b, "west");
    world_free(&w);
}
END_TEST

START_TEST(what_is_resumed_is_a_burst_too)
{
    struct world w = two_clusters(SCH_POLICY_CHEAPEST);
    struct sch_queue_config config = queue("p", "d", "q");
    config.policy = SCH_POLICY_CHEAPEST;
    config.paused = true;
    configure(&w, config);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "q"), *b = child_in(&w, root, "b", "q");
    grant(&w, "east", sch_action_class_id(a), 1);
    grant(&w, "west", sch_action_class_id(a), 9);
    run_until(&w, w.now + SY_NS_PER_S);
    config.paused = false;
    configure(&w, config);
    assert_on(a, "east");
    assert_state(b, "queued");
    grant(&w, "east", sch_action_class_id(a), 2);
    assert_on(b, "east");
    world_free(&w);
}
END_TEST

START_TEST(without_an_order_nothing_waits)
{
    static const enum sch_policy policies[] = {SCH_POLICY_SPREAD, SCH_POLICY_PACK,
                                               SCH_POLICY_LOCALITY};
    for (unsigned i = 0; i < SY_COUNT_OF(policies); i++) {
        struct world w = two_clusters(policies[i]);
        struct sch_action *root = create(&w, "run", &w.group);
        struct sch_action *a = child_in(&w, root, "a", "q");
        grant(&w, "west", sch_action_class_id(a), 1);
        assert_on(a, "west");
        world_free(&w);
    }
}
END_TEST

START_TEST(one_that_leaves_is_not_waited_for)
{
    struct world w = two_clusters(SCH_POLICY_CHEAPEST);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "q");
    grant(&w, "west", sch_action_class_id(a), 9);
    assert_state(a, "queued");
    down(&w, "east");
    assert_on(a, "west");
    world_free(&w);
}
END_TEST

/* ---- clusters where some of it fails ---- */

/* Every other attempt is lost on "east", until one goes to "west". Returns how many were lost. */
static unsigned lose_every_other(struct world *w, struct sch_action *root)
{
    char name[16];
    for (unsigned lost = 1;; lost++) {
        ck_assert_uint_lt(lost, 20);
        snprintf(name, sizeof(name), "n%u", lost);
        struct sch_action *a = child_in(w, root, name, "q");
        assert_on(a, "east");
        outcome(w, a, SCH_OUTCOME_LOST); /* it is queued again at once */
        sch_partition_check(w->p);
        if (strcmp(sch_cluster_name(a->cluster), "west") == 0)
            return lost;
        outcome(w, a, SCH_OUTCOME_SUCCEEDED);
    }
}

static void assert_dry_run(struct world *w, const char *cluster, bool failing)
{
    struct sch_submit submit = {
        .project = "p", .domain = "d", .queue = "q", .request = &w->task.request};
    struct sch_explanation *e = sch_explain_submit(w->p, &submit);
    ck_assert_str_eq(e->cluster, cluster);
    ck_assert_str_eq(e->clusters[0].name, "east");
    ck_assert(failing ? e->clusters[0].failing_percent >= 25 : e->clusters[0].failing_percent == 0);
    ck_assert_uint_eq(e->clusters[1].failing_percent, 0);
    sch_explanation_free(e);
}

/* Under each policy, until a minute or a few have passed, or it fails less. */
static void fail_some(enum sch_policy policy)
{
    struct world w = two_clusters(policy);
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *first = child_in(&w, root, "first", "q");
    uint32_t class_id = sch_action_class_id(first);
    grant(&w, "east", class_id, policy == SCH_POLICY_PACK ? 500 : 1000);
    grant(&w, "west", class_id, 700);
    room(&w, "east", policy == SCH_POLICY_PACK ? 500000 : 1000000);
    room(&w, "west", 700000);
    outcome(&w, first, SCH_OUTCOME_SUCCEEDED);
    assert_dry_run(&w, "east", false);
    unsigned lost = lose_every_other(&w, root);
    ck_assert(lost > 1 && lost < 6);
    assert_dry_run(&w, "west", true);
    assert_on(child_in(&w, root, "next", "q"), "west");
    run_until(&w, w.now + SCH_FAILING_FADE_NS);
    sch_partition_check(w.p);
    assert_on(child_in(&w, root, "later", "q"), "east");
    assert_dry_run(&w, "east", false);
    run_until(&w, w.now + 20 * SCH_FAILING_FADE_NS);
    ck_assert_int_eq(sch_partition_next_ns(w.p), SY_TIME_NEVER); /* nothing is left of it */
    world_free(&w);
}

START_TEST(one_where_some_of_it_fails_comes_after_others)
{
    for (int policy = 0; policy < SCH_POLICIES; policy++)
        fail_some((enum sch_policy)policy);
}
END_TEST

/* ---- bounds, over many bursts ---- */

#define BURSTS 60u
#define TASKS_MAX 512u
#define STEP_NS (SY_NS_PER_MS / 2)
#define ANSWER_NS (3 * SY_NS_PER_MS) /* of west, at most */
#define GATHER_NS (3 * SY_NS_PER_MS) /* demand is told, at most so much later */

struct patience {
    struct world w;
    struct sy_rng rng;
    struct sch_action *root, *tasks[TASKS_MAX];
    int64_t came_ns[TASKS_MAX], answer_ns; /* answer_ns: of west */
    int64_t first_until_ns;                /* so long the first answer of east may be waited for */
    unsigned count, first;                 /* first: all before it have been assigned */
    uint64_t granted, sent;                /* by west, to it */
};

/* West is asked for the class, or has nothing left that it granted. */
static void look_at(struct patience *t)
{
    bool asked = t->granted > 0;
    for (size_t i = 0; i < t->w.fx.count; i++) {
        const struct sch_effect *effect = &t->w.fx.items[i];
        asked |= effect->type == SCH_EFFECT_DEMAND;
        t->sent += effect->type == SCH_EFFECT_ASSIGN &&
                   strcmp(effect->u.assign.cluster, "west") == 0;
    }
    if (asked && t->granted - t->sent < 2 && t->answer_ns == SY_TIME_NEVER)
        t->answer_ns = t->w.now + (int64_t)sy_rng_below(&t->rng, ANSWER_NS);
    for (unsigned i = t->first; i < t->count; i++) {
        bool waits = t->tasks[i]->sm.state == SCH_ACTION_QUEUED;
        int64_t waited_ns = t->w.now - t->came_ns[i];
        ck_assert_msg(!waits || t->w.now <= t->first_until_ns ||
                          waited_ns <= SCH_ANSWER_PATIENCE_NS + ANSWER_NS + GATHER_NS,
                      "%s waits for %.1f ms", t->tasks[i]->name, (double)waited_ns / 1e6);
        t->first += !waits && i == t->first;
    }
}

static void burst(struct patience *t)
{
    unsigned size = 1 + (unsigned)sy_rng_below(&t->rng, 2);
    for (unsigned i = 0; i < size; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%u", t->count);
        t->came_ns[t->count] = t->w.now;
        t->tasks[t->count] = sch_action_ref(child_in(&t->w, t->root, name, "q"));
        t->count++;
        look_at(t);
    }
}

/* East, which is preferred, grants a few, late, or never; west more than comes in a burst, within
 * ANSWER_NS. Whatever comes meanwhile, nobody waits for east for longer than the patience.
 */
START_TEST(a_preferred_cluster_is_never_waited_for_beyond_the_patience)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct patience t = {.w = two_clusters(SCH_POLICY_SPREAD), .answer_ns = SY_TIME_NEVER};
        struct sch_queue_config config = queue("p", "d", "q");
        uint64_t east = 0;
        sy_rng_init(&t.rng, seed);
        prefer(&config, "east");
        configure(&t.w, config);
        t.root = create(&t.w, "run", &t.w.group);
        t.first_until_ns = t.w.now + SCH_FIRST_ANSWER_NS + ANSWER_NS + GATHER_NS;
        int64_t next_ns = t.w.now, end_ns = t.w.now + (int64_t)BURSTS * 20 * SY_NS_PER_MS;
        for (; t.w.now < end_ns; t.w.now += STEP_NS) {
            if (t.w.now >= next_ns && t.count + 8 < TASKS_MAX) {
                burst(&t);
                uint64_t most_ms = sy_rng_chance(&t.rng, 7, 8)
                                       ? 4
                                       : 40; /* within the patience, or not */
                next_ns = t.w.now + (int64_t)sy_rng_below(&t.rng, most_ms * SY_NS_PER_MS);
            }
            if (t.answer_ns <= t.w.now) {
                t.answer_ns = SY_TIME_NEVER;
                t.granted = t.sent + 9;
                grant(&t.w, "west", sch_action_class_id(t.tasks[0]), t.granted);
                look_at(&t);
            }
            if (t.count > 0 && sy_rng_chance(&t.rng, 1, 60)) {
                east += sy_rng_below(&t.rng, 3);
                int64_t more_ns = t.w.now + SCH_ANSWER_PATIENCE_NS + ANSWER_NS + GATHER_NS;
                t.first_until_ns = more_ns < t.first_until_ns ? more_ns : t.first_until_ns;
                grant(&t.w, "east", sch_action_class_id(t.tasks[0]), east);
                look_at(&t);
            }
            if (sch_partition_next_ns(t.w.p) <= t.w.now) {
                tick_at(&t.w, t.w.now);
                look_at(&t);
            }
        }
        ck_assert_uint_gt(t.first, 50);
        for (unsigned i = 0; i < t.count; i++)
            sch_action_unref(t.tasks[i]);
        world_free(&t.w);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        preferred_clusters_come_first_while_they_have_room,
        a_child_prefers_what_its_parent_does_unless_it_says_otherwise,
        contradictions_are_refused,
        work_stays_in_its_regions,
        a_cluster_that_has_not_come_back_may_be_anywhere,
        explain_names_the_region,
        nothing_goes_to_a_cordoned_cluster_and_all_waits_for_it,
        a_fenced_cluster_has_nothing_and_what_it_says_is_not_wanted,
        nobody_waits_for_a_fenced_cluster_after_a_restart,
        a_queue_lets_its_work_onto_spot_nodes,
        operators_are_asked_for_spot_nodes_too,
        a_child_goes_where_its_parent_is,
        the_better_cluster_is_waited_for_not_the_first_to_answer,
        one_that_does_not_answer_delays_a_burst_once,
        one_that_is_asked_for_the_first_time_is_waited_for_though_it_is_slow,
        one_that_says_that_it_has_nothing_delays_nobody,
        more_than_it_keeps_ready_is_waited_for,
        more_room_is_waited_for,
        where_it_starts_at_once_is_waited_for,
        what_is_resumed_is_a_burst_too,
        without_an_order_nothing_waits,
        one_that_leaves_is_not_waited_for,
        one_where_some_of_it_fails_comes_after_others,
        a_preferred_cluster_is_never_waited_for_beyond_the_patience,
        NULL};
    return sy_test_run("sch_route", tests);
}
