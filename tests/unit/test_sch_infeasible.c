/* links: sch */
/* What becomes of work that waits when the last cluster that could run it leaves. */
#include "tests/unit/test_sch_world.h"

#include "scheduler/gang.h"

#define GRACE (60 * SY_NS_PER_S)

static struct world world_with_grace(uint32_t epoch)
{
    struct sch_partition_options options = options_of(epoch);
    options.infeasible_grace_ns = GRACE;
    return world_with(options);
}

static void configure(struct world *w, const char *domain, const char *name,
                      enum sch_infeasible infeasible)
{
    struct sch_queue_key key = {.project = "p"};
    snprintf(key.domain, sizeof(key.domain), "%s", domain);
    snprintf(key.name, sizeof(key.name), "%s", name);
    struct sch_queue_config config = sch_queue_config_default(&key);
    config.infeasible = infeasible;
    step(w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
}

static struct sch_action *child_in(struct world *w, struct sch_action *parent, const char *name,
                                   const char *queue)
{
    step(w, (struct sch_event){
                .type = SCH_EVENT_ENQUEUE,
                .u.enqueue = {.parent = parent, .name = name, .spec = &w->task, .queue = queue}});
    return sch_action_ref(sch_partition_find_action(w->p, parent->run, name));
}

static void ready(struct world *w, const char *cluster)
{
    up(w, cluster);
    complete(w, cluster);
}

/* Its nodes are smaller now. */
static void shrink(struct world *w, const char *cluster)
{
    static const struct sch_shape small = {.capacity = {.cpu_milli = 500}, .nodes = 1};
    step(w, (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                               .u.cluster = {.name = cluster, .shapes = &small, .shape_count = 1}});
}

static bool run_until_final(struct world *w, const struct sch_action *a, int64_t until)
{
    int64_t next;
    while (!sch_action_is_final(a) && (next = sch_partition_next_ns(w->p)) <= until) {
        tick_at(w, next > w->now ? next : w->now);
        sch_partition_check(w->p);
    }
    return sch_action_is_final(a);
}

START_TEST(it_ends_when_the_last_capable_cluster_has_left)
{
    struct world w = world_with_grace(5);
    configure(&w, "d", "strict", SCH_INFEASIBLE_FAIL);
    ready(&w, "east");
    ready(&w, "west");
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *strict = child_in(&w, root, "strict", "strict");
    struct sch_action *patient = child_in(&w, root, "patient", NULL);
    shrink(&w, "west");
    ck_assert(!run_until_final(&w, strict, w.now + 2 * GRACE)); /* east could */
    down(&w, "east");
    int64_t gone_ns = w.now + LEASE;
    ck_assert(run_until_final(&w, strict, w.now + 2 * GRACE + LEASE));
    ck_assert_int_eq(w.now, gone_ns + GRACE);
    const struct sch_effect *end = nth(&w, SCH_EFFECT_FINISHED, 0);
    ck_assert_int_eq(end->u.final.state, SCH_ACTION_FAILED);
    ck_assert_str_eq(end->u.final.code, "Infeasible");
    ck_assert_str_eq(end->u.final.message,
                     "no cluster is left that could run this; cluster east: gone; "
                     "cluster west: 1.000 cores asked, 0.500 cores there");
    /* What comes later needs no grace of its own; what holds goes on waiting. */
    struct sch_action *late = child_in(&w, root, "late", "strict");
    ck_assert(run_until_final(&w, late, w.now));
    run_until(&w, w.now + 3600 * SY_NS_PER_S);
    assert_state(patient, "queued");
    ready(&w, "east");
    struct sch_action *again = child_in(&w, root, "again", "strict");
    ck_assert(!run_until_final(&w, again, w.now + 2 * GRACE));
    sch_action_unref(strict);
    sch_action_unref(patient);
    sch_action_unref(late);
    sch_action_unref(again);
    world_free(&w);
}
END_TEST

/* The nearest level that says; where none does, the partition's options. */
START_TEST(what_no_queue_says_the_configuration_says)
{
    struct world w = world_with_grace(5);
    w.p->options.infeasible = SCH_INFEASIBLE_FAIL;
    configure(&w, "d", "patient", SCH_INFEASIBLE_HOLD);
    configure(&w, "d", "silent", SCH_INFEASIBLE_INHERIT);
    ready(&w, "east");
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *patient = child_in(&w, root, "patient", "patient");
    struct sch_action *silent = child_in(&w, root, "silent", "silent");
    struct sch_action *none = child_in(&w, root, "none", NULL);
    shrink(&w, "east");
    int64_t end_ns = w.now + GRACE;
    ck_assert(!run_until_final(&w, silent, end_ns - 1));
    ck_assert(run_until_final(&w, silent, end_ns) && run_until_final(&w, none, end_ns));
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "Infeasible");
    ck_assert(!run_until_final(&w, patient, end_ns + 2 * GRACE));
    assert_state(patient, "queued");
    configure(&w, "", "", SCH_INFEASIBLE_HOLD); /* the project says so now */
    ready(&w, "east");
    struct sch_action *late = child_in(&w, root, "late", "silent");
    shrink(&w, "east");
    ck_assert(!run_until_final(&w, late, w.now + 2 * GRACE));
    sch_action_unref(patient);
    sch_action_unref(silent);
    sch_action_unref(none);
    sch_action_unref(late);
    world_free(&w);
}
END_TEST

/* Both are due in one step, and the timeout is looked at first. */
START_TEST(it_may_time_out_at_that_very_moment)
{
    struct world w = world_with_grace(5);
    configure(&w, "d", "strict", SCH_INFEASIBLE_FAIL);
    w.task.queued_timeout_ns = GRACE;
    ready(&w, "east");
    struct sch_action *a = child_in(&w, create(&w, "run", &w.group), "a", "strict");
    shrink(&w, "east");
    w.now += GRACE;
    tick_at(&w, w.now);
    sch_partition_check(w.p);
    ck_assert_int_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.state, SCH_ACTION_TIMED_OUT);
    tick_at(&w, w.now + GRACE);
    sch_partition_check(w.p);
    sch_action_unref(a);
    world_free(&w);
}
END_TEST

START_TEST(one_that_comes_back_in_time_saves_it)
{
    struct world w = world_with_grace(5);
    configure(&w, "d", "strict", SCH_INFEASIBLE_FAIL);
    ready(&w, "east");
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "strict");
    for (int i = 0; i < 5; i++) {
        shrink(&w, "east");
        ck_assert(!run_until_final(&w, a, w.now + GRACE - 1));
        up(&w, "east");
        ck_assert(!run_until_final(&w, a, w.now + GRACE - 1));
    }
    down(&w, "east");
    ck_assert(!run_until_final(&w, a, w.now + LEASE + GRACE - 1));
    up(&w, "east"); /* joining: it may have anything */
    shrink(&w, "east");
    ck_assert(!run_until_final(&w, a, w.now + 3 * GRACE));
    int64_t told_ns = w.now;
    complete(&w, "east");
    ck_assert(run_until_final(&w, a, w.now + 3 * GRACE));
    ck_assert_int_eq(w.now, told_ns + GRACE);
    sch_action_unref(a);
    world_free(&w);
}
END_TEST

/* Clusters are expected; one comes late, one never. */
START_TEST(after_a_restart_nothing_ends_before_the_clusters_could_tell)
{
    struct world w = world_with_grace(5);
    struct sch_restore r = {
        .run_id = (4ull << 40) | 1, .action_id = (4ull << 40) | 2, .name = "a0", .parent = ""};
    const char *expected[] = {"east", "west"};
    r.spec = &w.task;
    r.queue = "strict";
    sch_partition_restore_run(w.p, r.run_id, "p", "d", "run", 5, 40, 9, 0);
    struct sch_action *a = sch_action_ref(sch_partition_restore_action(w.p, &r));
    sch_partition_restored(w.p, expected, 2, w.now);
    configure(&w, "d", "strict", SCH_INFEASIBLE_FAIL);
    int64_t waited_ns = w.now + WAIT;
    up(&w, "east");
    shrink(&w, "east");
    complete(&w, "east"); /* only its small nodes are there yet */
    ck_assert(!run_until_final(&w, a, waited_ns + GRACE - 1));
    up(&w, "east"); /* the large one is the last to come */
    ck_assert(!run_until_final(&w, a, w.now + 2 * GRACE));
    shrink(&w, "east"); /* and west never came */
    int64_t shrunk_ns = w.now;
    ck_assert(run_until_final(&w, a, w.now + 2 * GRACE));
    ck_assert_int_eq(w.now, shrunk_ns + GRACE);
    sch_action_unref(a);
    world_free(&w);
}
END_TEST

/* The loop did not run: nobody looked whether a cluster came. */
START_TEST(time_in_which_nobody_looked_does_not_count)
{
    struct world w = world_with_grace(5);
    configure(&w, "d", "strict", SCH_INFEASIBLE_FAIL);
    ready(&w, "east");
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *a = child_in(&w, root, "a", "strict");
    shrink(&w, "east");
    run_until(&w, w.now + GRACE / 2);
    tick_at(&w, w.now + 100 * GRACE);
    assert_state(a, "queued");
    ck_assert(!run_until_final(&w, a, w.now + GRACE / 2 - LEASE));
    ck_assert(run_until_final(&w, a, w.now + GRACE));
    sch_action_unref(a);
    world_free(&w);
}
END_TEST

START_TEST(levels_pass_it_on)
{
    struct world w = world_with_grace(5);
    configure(&w, "", "", SCH_INFEASIBLE_FAIL); /* the project */
    configure(&w, "d", "", SCH_INFEASIBLE_INHERIT);
    configure(&w, "d", "patient", SCH_INFEASIBLE_HOLD);
    configure(&w, "d", "strict", SCH_INFEASIBLE_INHERIT);
    ready(&w, "east");
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *patient = child_in(&w, root, "patient", "patient");
    struct sch_action *strict = child_in(&w, root, "strict", "strict");
    struct sch_action *unnamed = child_in(&w, root, "unnamed", NULL);
    shrink(&w, "east");
    run_until(&w, w.now + 2 * GRACE);
    assert_state(strict, "failed");
    assert_state(unnamed, "failed");
    assert_state(patient, "queued");
    configure(&w, "d", "patient", SCH_INFEASIBLE_FAIL); /* live, for what waits too */
    ck_assert(run_until_final(&w, patient, w.now + GRACE));
    sch_action_unref(patient);
    sch_action_unref(strict);
    sch_action_unref(unnamed);
    world_free(&w);
}
END_TEST

/* So that a step stays short. */
START_TEST(many_end_in_slices)
{
    struct world w = world_with_grace(5);
    configure(&w, "d", "strict", SCH_INFEASIBLE_FAIL);
    ready(&w, "east");
    struct sch_action *root = create(&w, "run", &w.group);
    char name[16];
    for (int i = 0; i < 600; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        sch_action_unref(child_in(&w, root, name, "strict"));
    }
    shrink(&w, "east");
    size_t ended = 0, steps = 0;
    while (ended < 600) {
        int64_t next = sch_partition_next_ns(w.p);
        ck_assert_int_ne(next, SY_TIME_NEVER);
        tick_at(&w, next > w.now ? next : w.now);
        sch_partition_check(w.p);
        size_t now = count(&w, SCH_EFFECT_FINISHED);
        ck_assert_uint_le(now, SCH_FAIL_MAX);
        ended += now;
        steps += now > 0;
    }
    ck_assert_uint_eq(ended, 600);
    ck_assert_uint_eq(steps, 3);
    ck_assert_uint_eq(root->children_failed, 600);
    world_free(&w);
}
END_TEST

/* What was let in unchecked likewise; those that were possible when they came are left. */
START_TEST(many_unchecked_end_in_slices)
{
    struct world w = world_with_grace(5);
    ready(&w, "east");
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *before = child_in(&w, root, "before", NULL);
    shrink(&w, "east");
    down(&w, "east");
    up(&w, "east");
    shrink(&w, "east");
    char name[16];
    for (int i = 0; i < 600; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        sch_action_unref(child_in(&w, root, name, NULL));
    }
    complete(&w, "east");
    size_t ended = 0;
    while (ended < 600) {
        int64_t next = sch_partition_next_ns(w.p);
        ck_assert_int_ne(next, SY_TIME_NEVER);
        tick_at(&w, next > w.now ? next : w.now);
        size_t now = count(&w, SCH_EFFECT_FINISHED);
        ck_assert_uint_le(now, SCH_FAIL_MAX);
        ended += now;
    }
    assert_state(before, "queued");
    ck_assert_uint_eq(ended, 600);
    sch_action_unref(before);
    world_free(&w);
}
END_TEST

START_TEST(a_gang_ends_whole)
{
    struct world w = world_with_grace(5);
    configure(&w, "d", "strict", SCH_INFEASIBLE_FAIL);
    ready(&w, "east");
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_gang_shape gang;
    struct sch_gang_member members[3] = {{.name = "m0", .spec = &w.task},
                                         {.name = "m1", .spec = &w.task},
                                         {.name = "m2", .spec = &w.task}};
    ck_assert_int_eq(sch_gang_shape_init(&gang, 3, SCH_TOPOLOGY_NONE, "", 0, NULL), 0);
    step(&w, (struct sch_event){.type = SCH_EVENT_ENQUEUE_GANG,
                                .u.gang = {.parent = root,
                                           .shape = &gang,
                                           .on_loss = SCH_ON_LOSS_RESTART_ALL,
                                           .members = members,
                                           .queue = "strict"}});
    struct sch_action *first = sch_action_ref(sch_partition_find_action(w.p, root->run, "m0"));
    shrink(&w, "east");
    ck_assert(run_until_final(&w, first, w.now + 2 * GRACE));
    ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), 3);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_FINISHED, 0)->u.final.code, "Infeasible");
    ck_assert_uint_eq(root->children_failed, 3);
    sch_action_unref(first);
    world_free(&w);
}
END_TEST

/* Only in the cluster; NULL: anywhere. */
static void bind(struct world *w, const char *name, const char *cluster)
{
    struct sch_queue_key key = {.project = "p", .domain = "d"};
    snprintf(key.name, sizeof(key.name), "%s", name);
    struct sch_queue_config config = sch_queue_config_default(&key);
    config.infeasible = SCH_INFEASIBLE_FAIL;
    config.cluster_count = cluster != NULL;
    snprintf(config.clusters[0], sizeof(config.clusters[0]), "%s", cluster ? cluster : "");
    step(w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
}

/* What it comes beside could run nowhere for long. */
START_TEST(what_another_rule_moves_has_its_whole_grace)
{
    struct world w = world_with_grace(5);
    bind(&w, "bound", "west");
    bind(&w, "free", NULL);
    ready(&w, "east");
    ready(&w, "west");
    struct sch_action *root = create(&w, "run", &w.group);
    struct sch_action *bound = child_in(&w, root, "bound", "bound");
    struct sch_action *moved = child_in(&w, root, "moved", "free");
    shrink(&w, "west");
    ck_assert(run_until_final(&w, bound, w.now + 2 * GRACE));
    run_until(&w, w.now + 10 * GRACE);
    assert_state(moved, "queued"); /* east could */
    bind(&w, "free", "west");
    int64_t end_ns = w.now + GRACE;
    ck_assert(run_until_final(&w, moved, w.now + 2 * GRACE));
    ck_assert_int_eq(w.now, end_ns);
    sch_action_unref(bound);
    sch_action_unref(moved);
    world_free(&w);
}
END_TEST

START_TEST(what_is_no_policy_is_refused)
{
    struct sch_queue_key key = {.project = "p", .name = "q"};
    struct sch_queue_config config = sch_queue_config_default(&key);
    struct sy_error_text error = {0};
    config.infeasible = SCH_INFEASIBLES;
    ck_assert_int_eq(sch_queue_config_check(&config, &error), -EINVAL);
    ck_assert_str_eq(error.text, "infeasible 3: hold or fail");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {it_ends_when_the_last_capable_cluster_has_left,
                                  what_no_queue_says_the_configuration_says,
                                  it_may_time_out_at_that_very_moment,
                                  one_that_comes_back_in_time_saves_it,
                                  after_a_restart_nothing_ends_before_the_clusters_could_tell,
                                  time_in_which_nobody_looked_does_not_count,
                                  levels_pass_it_on,
                                  many_end_in_slices,
                                  many_unchecked_end_in_slices,
                                  a_gang_ends_whole,
                                  what_another_rule_moves_has_its_whole_grace,
                                  what_is_no_policy_is_refused,
                                  NULL};
    return sy_test_run("sch_infeasible", tests);
}
