/* links: sch */
#include "tests/unit/test_sch_queue_world.h"

struct out { /* what was assigned, in order; a place comes free when one is taken from the front */
    struct sch_action *actions[4096];
    size_t first, count;
};

static void collect(const struct world *w, struct out *out)
{
    for (size_t i = 0; i < w->fx.count; i++) {
        if (w->fx.items[i].type != SCH_EFFECT_ASSIGN)
            continue;
        ck_assert_uint_lt(out->count, SY_COUNT_OF(out->actions));
        out->actions[out->count++] = sch_action_ref(w->fx.items[i].u.assign.action);
    }
}

static void drop(struct out *out)
{
    for (size_t i = 0; i < out->count; i++)
        sch_action_unref(out->actions[i]);
}

static bool is_of(const struct sch_action *a, const char *name)
{
    return strcmp(sch_action_queue(a)->name, name) == 0;
}

/* ---- fair share ---- */

/* Completions of two queues of weights 1 and 3, with tasks of `ratio` cores in the second. */
static void contend(uint32_t ratio, size_t *ret_light, size_t *ret_heavy)
{
    struct world w = world_new();
    static struct out out;
    struct sch_spec large = {.request = {.cpu_milli = 1000 * ratio}};
    struct sch_queue_config light = queue("p", "d", "light"), heavy = queue("p", "d", "heavy");
    light.weight = 100;
    heavy.weight = 300;
    out = (struct out){0};
    open_cluster(&w, "east");
    configure(&w, light);
    configure(&w, heavy);
    uint64_t granted = 16000;
    struct sch_action *first = NULL, *other = NULL;
    room(&w, "east", 0);
    for (int i = 0; i < 2000; i++) {
        first = submit(&w, "p", "light", &w.task, 0);
        other = submit(&w, "p", "heavy", &large, 0);
    }
    grant(&w, "east", sch_action_class_id(first), 1u << 20);
    grant(&w, "east", sch_action_class_id(other), 1u << 20);
    room(&w, "east", granted);
    collect(&w, &out);
    *ret_light = *ret_heavy = 0;
    while (*ret_light + *ret_heavy < 1000) {
        ck_assert_uint_lt(out.first, out.count);
        struct sch_action *a = out.actions[out.first++];
        *ret_light += is_of(a, "light");
        *ret_heavy += is_of(a, "heavy");
        granted += a->spec->request.cpu_milli;
        outcome(&w, a, SCH_OUTCOME_SUCCEEDED);
        room(&w, "east", granted);
        collect(&w, &out);
    }
    sch_partition_check(w.p);
    drop(&out);
    world_free(&w);
}

START_TEST(weights_share_completions)
{
    size_t light, heavy;
    contend(1, &light, &heavy);
    ck_assert_msg(light >= 230 && light <= 270, "%zu of 1000, 250 +- 20 wanted", light);
}
END_TEST

/* In cores 1 : 3, so in tasks of four cores 4 : 3. */
START_TEST(resources_are_shared_not_tasks)
{
    size_t light, heavy;
    contend(4, &light, &heavy);
    ck_assert_msg(light >= 551 && light <= 591, "%zu of 1000, 571 +- 20 wanted", light);
}
END_TEST

/* Two projects share equally, whatever number of queues and actions they have. */
START_TEST(projects_share_before_queues)
{
    struct world w = world_new();
    static struct out out;
    out = (struct out){0};
    open_cluster(&w, "east");
    room(&w, "east", 0);
    const char *names[] = {"one", "two", "three"};
    for (unsigned i = 0; i < 3; i++)
        configure(&w, queue("many", "d", names[i]));
    struct sch_action *a = NULL;
    for (unsigned i = 0; i < 300; i++) {
        submit(&w, "many", names[i % 3], &w.task, 0);
        submit(&w, "many", names[i % 3], &w.task, 0);
        a = submit(&w, "few", NULL, &w.task, 0);
    }
    grant(&w, "east", sch_action_class_id(a), 1u << 20);
    room(&w, "east", 60000);
    collect(&w, &out);
    size_t few = 0, of[3] = {0};
    for (size_t i = 0; i < out.count; i++) {
        few += strcmp(out.actions[i]->run->project, "few") == 0;
        for (unsigned k = 0; k < 3; k++)
            of[k] += is_of(out.actions[i], names[k]);
    }
    ck_assert_uint_eq(out.count, 60);
    ck_assert_uint_eq(few, 30);
    ck_assert(of[0] == 10 && of[1] == 10 && of[2] == 10);
    drop(&out);
    world_free(&w);
}
END_TEST

/* What one does not use the others have; when it comes back it is next. */
START_TEST(an_idle_share_is_lent)
{
    struct world w = world_new();
    static struct out out;
    out = (struct out){0};
    open_cluster(&w, "east");
    room(&w, "east", 0);
    configure(&w, queue("p", "d", "busy"));
    configure(&w, queue("p", "d", "rare"));
    struct sch_action *a = NULL;
    for (int i = 0; i < 30; i++)
        a = submit(&w, "p", "busy", &w.task, 0);
    grant(&w, "east", sch_action_class_id(a), 1u << 20);
    room(&w, "east", 16000);
    collect(&w, &out);
    ck_assert_uint_eq(out.count, 16);
    struct sch_action *rare = submit(&w, "p", "rare", &w.task, 0);
    assert_state(rare, "queued");
    outcome(&w, out.actions[0], SCH_OUTCOME_SUCCEEDED);
    room(&w, "east", 17000);
    assert_state(rare, "assigned"); /* the first place that came free, before 14 older ones */
    drop(&out);
    world_free(&w);
}
END_TEST

/* A parent's queues share what it has, and its limit is theirs. */
START_TEST(queues_have_parents)
{
    struct world w = world_new();
    static struct out out;
    out = (struct out){0};
    open_cluster(&w, "east");
    room(&w, "east", 0);
    struct sch_queue_config top = queue("p", "d", "top"), a = queue("p", "d", "a"),
                            b = queue("p", "d", "b");
    snprintf(a.parent, sizeof(a.parent), "top");
    snprintf(b.parent, sizeof(b.parent), "top");
    top.actions_max = 12;
    b.weight = 200;
    configure(&w, a); /* before its parent is there */
    configure(&w, top);
    configure(&w, b);
    struct sch_action *last = NULL;
    for (int i = 0; i < 30; i++) {
        submit(&w, "p", "a", &w.task, 0);
        submit(&w, "p", "b", &w.task, 0);
        last = submit(&w, "p", NULL, &w.task, 0);
    }
    grant(&w, "east", sch_action_class_id(last), 1u << 20);
    room(&w, "east", 100000);
    collect(&w, &out);
    size_t of_a = 0, of_b = 0;
    for (size_t i = 0; i < out.count; i++) {
        of_a += is_of(out.actions[i], "a");
        of_b += is_of(out.actions[i], "b");
    }
    ck_assert_uint_eq(of_a, 4);
    ck_assert_uint_eq(of_b, 8);
    ck_assert_uint_eq(out.count, 42); /* and all of the default one */
    b.parent[0] = '\0';
    configure(&w, b); /* while it is in use it stays below */
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 0);
    drop(&out);
    world_free(&w);
}
END_TEST

/* ---- priority ---- */

START_TEST(priority_comes_before_shares_and_over_classes)
{
    struct world w = world_new();
    struct sch_spec large = {.request = {.cpu_milli = 4000}};
    open_cluster(&w, "east");
    room(&w, "east", 0);
    struct sch_queue_config urgent = queue("", "", "urgent");
    urgent.priority = 10;
    configure(&w, urgent);
    struct sch_action *normal = submit(&w, "p", NULL, &w.task, 5);
    struct sch_action *low = submit(&w, "p", "urgent", &large, -6);
    struct sch_action *high = submit(&w, "p", "urgent", &large, 0);
    grant(&w, "east", sch_action_class_id(normal), 10);
    grant(&w, "east", sch_action_class_id(high), 10);
    room(&w, "east", 4000);
    assert_state(high, "assigned");
    assert_state(normal, "queued");
    room(&w, "east", 5000);
    assert_state(normal, "assigned"); /* 5 before 10 - 6 */
    assert_state(low, "queued");
    room(&w, "east", 9000);
    assert_state(low, "assigned");
    world_free(&w);
}
END_TEST

START_TEST(waiting_gains_priority)
{
    struct sch_partition_options options = options_of(5);
    options.ageing_ns = 10 * SY_NS_PER_S;
    struct world w = world_with(options);
    open_cluster(&w, "east");
    struct sch_action *old = submit(&w, "p", NULL, &w.task, 0);
    run_until(&w, w.now + 25 * SY_NS_PER_S);
    struct sch_action *new = submit(&w, "p", NULL, &w.task, 2);
    struct sch_action *newer = submit(&w, "p", NULL, &w.task, 3);
    sch_partition_check(w.p);
    grant(&w, "east", sch_action_class_id(old), 1);
    assert_state(newer, "assigned"); /* 3 before 0 + 2 */
    run_until(&w, w.now + 6 * SY_NS_PER_S);
    grant(&w, "east", sch_action_class_id(old), 2);
    assert_state(old, "assigned"); /* 0 + 3 before 2 */
    assert_state(new, "queued");
    world_free(&w);
}
END_TEST

/* ---- work that may be stopped ---- */

/* Operators keep it over restarts of partitions. */
START_TEST(a_queue_is_named_alike_in_every_epoch)
{
    uint32_t tags[2];
    for (uint32_t i = 0; i < 2; i++) {
        struct world w = world_that_reclaims();
        struct sch_queue_config other = queue("p", "d", "other"), spare = queue("p", "d", "spare");
        other.preemptible = spare.preemptible = true;
        configure(&w, i == 0 ? other : spare);
        configure(&w, i == 0 ? spare : other);
        struct sch_action *low = submit(&w, "p", "spare", &w.task, 0);
        grant(&w, "east", sch_action_class_id(low), 10);
        room(&w, "east", 1000);
        tags[i] = nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.queue;
        (void)submit(&w, "p", "other", &w.task, 0);
        room(&w, "east", 2000);
        ck_assert_uint_ne(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.queue, tags[i]);
        world_free(&w);
    }
    ck_assert(tags[0] == tags[1] && tags[0] != 0);
}
END_TEST

START_TEST(lower_priority_makes_room)
{
    struct world w = world_that_reclaims();
    struct sch_queue_config spare = queue("p", "d", "spare"), firm = queue("p", "d", "firm");
    spare.preemptible = true;
    firm.priority = 1;
    configure(&w, spare);
    configure(&w, firm);
    struct sch_action *low = submit(&w, "p", "spare", &w.task, 0);
    grant(&w, "east", sch_action_class_id(low), 10);
    room(&w, "east", 1000);
    assert_state(low, "assigned");
    uint32_t tag = nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.queue;
    ck_assert_uint_ne(tag, 0);
    ck_assert_ptr_null(wait_for(&w, SCH_EFFECT_RECLAIM, 5 * SY_NS_PER_S));
    struct sch_action *high = submit(&w, "p", "firm", &w.task, 0);
    const struct sch_effect *reclaim = wait_for(&w, SCH_EFFECT_RECLAIM, 5 * SY_NS_PER_S);
    ck_assert_ptr_nonnull(reclaim);
    ck_assert_str_eq(reclaim->u.reclaim.cluster, "east");
    ck_assert_uint_eq(reclaim->u.reclaim.queue_count, 1);
    ck_assert_uint_eq(reclaim->u.reclaim.queues[0].id, tag);
    outcome(&w, low, SCH_OUTCOME_PREEMPTED);
    ck_assert_str_eq(nth(&w, SCH_EFFECT_EVENT, 0)->u.event.code, "Preempted");
    ck_assert(low->system_failures == 0 && low->user_failures == 0);
    room(&w, "east", 2000);
    assert_state(high, "assigned"); /* and not the one that was stopped, though it is older */
    assert_state(low, "queued");
    ck_assert_ptr_null(wait_for(&w, SCH_EFFECT_RECLAIM, 5 * SY_NS_PER_S));
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

/* Else two queues of equal standing, in which everybody says that he is urgent, would stop each
 * other in turns. */
START_TEST(an_actions_own_priority_stops_nobody)
{
    struct world w = world_that_reclaims();
    const char *const names[] = {"a", "b"};
    for (unsigned i = 0; i < 2; i++) {
        struct sch_queue_config config = queue("p", "d", names[i]);
        config.preemptible = true;
        configure(&w, config);
    }
    struct sch_action *first = submit(&w, "p", "a", &w.task, 5);
    grant(&w, "east", sch_action_class_id(first), 10);
    room(&w, "east", 1000);
    assert_state(first, "assigned");
    submit(&w, "p", "b", &w.task, 9);
    ck_assert_ptr_null(wait_for(&w, SCH_EFFECT_RECLAIM, 20 * SY_NS_PER_S));
    world_free(&w);
}
END_TEST

/* It protects, though: what is stopped and is next all the same is stopped in vain. */
START_TEST(what_would_be_next_again_is_not_stopped)
{
    struct world w = world_that_reclaims();
    struct sch_queue_config spare = queue("p", "d", "spare"), firm = queue("p", "d", "firm");
    spare.preemptible = true;
    firm.priority = 1;
    configure(&w, spare);
    configure(&w, firm);
    struct sch_action *first = submit(&w, "p", "spare", &w.task, 5);
    grant(&w, "east", sch_action_class_id(first), 10);
    room(&w, "east", 1000);
    assert_state(first, "assigned");
    submit(&w, "p", "firm", &w.task, 4); /* 5 in all, as the other; and as much of a share */
    ck_assert_ptr_null(wait_for(&w, SCH_EFFECT_RECLAIM, 20 * SY_NS_PER_S));
    submit(&w, "p", "firm", &w.task, 5);
    ck_assert_ptr_nonnull(wait_for(&w, SCH_EFFECT_RECLAIM, 5 * SY_NS_PER_S));
    world_free(&w);
}
END_TEST

/* A question has room for some: each of the others is in one of the next. */
START_TEST(all_that_may_stop_are_named_in_turns)
{
    enum { SPARES = SCH_RECLAIM_QUEUES_MAX * 2 + 6 };
    struct world w = world_that_reclaims();
    struct sch_queue_config firm = queue("p", "d", "firm");
    firm.priority = 1;
    configure(&w, firm);
    uint32_t tags[SPARES];
    bool named[SPARES] = {0};
    for (unsigned i = 0; i < SPARES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "spare%u", i);
        struct sch_queue_config spare = queue("p", "d", name);
        spare.preemptible = true;
        configure(&w, spare);
        struct sch_action *low = submit(&w, "p", name, &w.task, 0);
        grant(&w, "east", sch_action_class_id(low), 1000);
        room(&w, "east", 1000 * (i + 1));
        tags[i] = nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.queue;
        if (i % 3 == 0) { /* this one has nothing out: it takes no place */
            outcome(&w, low, SCH_OUTCOME_SUCCEEDED);
            room(&w, "east", 1000 * (i + 1));
            tags[i] = 0;
        }
    }
    submit(&w, "p", "firm", &w.task, 0);
    for (unsigned round = 0; round < 6; round++) {
        const struct sch_effect *reclaim = wait_for(&w, SCH_EFFECT_RECLAIM, 5 * SY_NS_PER_S);
        ck_assert_ptr_nonnull(reclaim);
        ck_assert_uint_eq(reclaim->u.reclaim.queue_count, SCH_RECLAIM_QUEUES_MAX);
        for (uint32_t k = 0; k < reclaim->u.reclaim.queue_count; k++) {
            bool known = false;
            for (unsigned i = 0; i < SPARES; i++) {
                if (tags[i] == 0 || tags[i] != reclaim->u.reclaim.queues[k].id)
                    continue;
                known = named[i] = true;
            }
            ck_assert(known);
        }
    }
    for (unsigned i = 0; i < SPARES; i++)
        ck_assert(named[i] == (tags[i] != 0));
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

/* As long as what was asked for comes, the next one is asked for in the next round. */
START_TEST(each_round_makes_room_for_one)
{
    struct world w = world_that_reclaims();
    struct sch_queue_config spare = queue("p", "d", "spare"), firm = queue("p", "d", "firm");
    spare.preemptible = true;
    firm.priority = 1;
    configure(&w, spare);
    configure(&w, firm);
    struct sch_action *low[3];
    for (unsigned i = 0; i < 3; i++)
        low[i] = submit(&w, "p", "spare", &w.task, 0);
    grant(&w, "east", sch_action_class_id(low[0]), 100);
    room(&w, "east", 3000);
    for (unsigned i = 0; i < 3; i++)
        (void)submit(&w, "p", "firm", &w.task, 0);
    ck_assert_ptr_nonnull(wait_for(&w, SCH_EFFECT_RECLAIM, 5 * SY_NS_PER_S));
    for (unsigned i = 0; i < 2; i++) {
        outcome(&w, low[i], SCH_OUTCOME_PREEMPTED);
        room(&w, "east", 4000 + 1000 * i);
        ck_assert(is_of(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.action, "firm"));
        ck_assert_ptr_nonnull(wait_for(&w, SCH_EFFECT_RECLAIM, 2500 * SY_NS_PER_MS));
    }
    world_free(&w);
}
END_TEST

/* One that has borrowed gives back until both have the same, and no further. */
START_TEST(what_was_borrowed_is_given_back)
{
    struct world w = world_that_reclaims();
    struct sch_queue_config a = queue("p", "d", "a"), b = queue("p", "d", "b");
    a.preemptible = b.preemptible = true;
    configure(&w, a);
    configure(&w, b);
    struct sch_action *of_a[4];
    for (int i = 0; i < 4; i++)
        of_a[i] = submit(&w, "p", "a", &w.task, 0);
    grant(&w, "east", sch_action_class_id(of_a[0]), 100);
    room(&w, "east", 4000);
    for (int i = 0; i < 4; i++)
        submit(&w, "p", "b", &w.task, 0);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_ptr_nonnull(wait_for(&w, SCH_EFFECT_RECLAIM, 5 * SY_NS_PER_S));
        outcome(&w, of_a[i], SCH_OUTCOME_PREEMPTED);
        room(&w, "east", 5000 + 1000 * i);
        ck_assert(is_of(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.action, "b"));
    }
    ck_assert_ptr_null(wait_for(&w, SCH_EFFECT_RECLAIM, 9 * SY_NS_PER_S));
    world_free(&w);
}
END_TEST

/* ---- limits ---- */

START_TEST(a_limit_stops_and_lets_go)
{
    struct world w = world_new();
    open_cluster(&w, "east");
    struct sch_queue_config config = queue("p", "d", "q");
    config.actions_max = 2;
    configure(&w, config);
    struct sch_action *a[4];
    for (int i = 0; i < 4; i++)
        a[i] = submit(&w, "p", "q", &w.task, 0);
    struct sch_action *other = submit(&w, "p", NULL, &w.task, -1);
    grant(&w, "east", sch_action_class_id(other), 100);
    sch_partition_check(w.p);
    assert_state(a[1], "assigned");
    assert_state(a[2], "queued");
    assert_state(other, "assigned"); /* what is stopped is in nobody's way */
    outcome(&w, a[0], SCH_OUTCOME_SUCCEEDED);
    assert_state(a[2], "assigned");
    config.actions_max = 1; /* below what is out: nothing new until it fits */
    configure(&w, config);
    outcome(&w, a[1], SCH_OUTCOME_SUCCEEDED);
    assert_state(a[3], "queued");
    config.actions_max = 0;
    configure(&w, config);
    assert_state(a[3], "assigned");
    world_free(&w);
}
END_TEST

/* After a restart nobody knows how many are out: until that is known all that live count. */
START_TEST(a_limit_holds_over_a_restart)
{
    struct world w = world_new();
    struct sch_queue_config config = queue("p", "d", "q");
    config.actions_max = 1;
    configure(&w, config);
    sch_partition_restore_run(w.p, 1, "p", "d", "run", 0, 0, 1, 0);
    struct sch_restore row = {.run_id = 1,
                              .action_id = 2,
                              .name = "a0",
                              .parent = "",
                              .spec = &w.task,
                              .queue = "q",
                              .number = 0};
    struct sch_action *old = sch_partition_restore_action(w.p, &row);
    const char *expected[] = {"east"};
    sch_partition_restored(w.p, expected, 1, w.now);
    up(&w, "east");
    struct sch_action *new = submit(&w, "p", "q", &w.task, 9);
    grant(&w, "east", sch_action_class_id(new), 10);
    assert_state(new, "queued");
    inventory(&w, "east", old->id, 1, 4, true);
    complete(&w, "east");
    assert_state(old, "running");
    assert_state(new, "queued");
    outcome(&w, old, SCH_OUTCOME_SUCCEEDED);
    assert_state(new, "assigned");
    world_free(&w);
}
END_TEST

/* The large one does not fit under the limit; the small one behind it does. */
START_TEST(limits_count_resources_at_each_level)
{
    struct world w = world_new();
    struct sch_spec large = {.request = {.cpu_milli = 3000}};
    open_cluster(&w, "east");
    struct sch_queue_config project = queue("p", "", ""), small = queue("p", "d", "small");
    project.cpu_milli_max = 4000;
    small.cpu_milli_max = 2000;
    configure(&w, project);
    configure(&w, small);
    struct sch_action *a = submit(&w, "p", "small", &large, 0);
    struct sch_action *b = submit(&w, "p", "small", &w.task, 0);
    struct sch_action *c = submit(&w, "p", NULL, &large, 0);
    struct sch_action *d = submit(&w, "p", NULL, &w.task, 0);
    grant(&w, "east", sch_action_class_id(a), 100);
    grant(&w, "east", sch_action_class_id(b), 100);
    assert_state(a, "queued");
    assert_state(b, "assigned");
    assert_state(c, "assigned");
    assert_state(d, "queued"); /* 4 cores of the project are out */
    outcome(&w, c, SCH_OUTCOME_SUCCEEDED);
    assert_state(d, "assigned");
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

START_TEST(a_paused_queue_waits_and_asks_for_nothing)
{
    struct world w = world_new();
    open_cluster(&w, "east");
    struct sch_queue_config config = queue("p", "d", "q");
    config.paused = true;
    configure(&w, config);
    struct sch_action *a = submit(&w, "p", "q", &w.task, 0);
    grant(&w, "east", sch_action_class_id(a), 100);
    assert_state(a, "queued");
    run_until(&w, w.now + SY_NS_PER_S);
    sch_partition_check(w.p);
    config.paused = false;
    configure(&w, config);
    assert_state(a, "assigned");
    world_free(&w);
}
END_TEST

static enum sch_reject rejected(const struct world *w)
{
    return nth(w, SCH_EFFECT_REJECTED, 0)->u.rejected.why;
}

START_TEST(length_and_names_are_checked)
{
    struct world w = world_new();
    struct sch_queue_config config = queue("p", "", "q");
    config.length_max = 1;
    configure(&w, config);
    struct sch_action *a = submit(&w, "p", "q", &w.task, 0);
    ck_assert_ptr_null(submit(&w, "p", "q", &w.task, 0));
    ck_assert_int_eq(rejected(&w), SCH_REJECT_QUEUE_FULL);
    open_cluster(&w, "east");
    grant(&w, "east", sch_action_class_id(a), 100); /* what is out is not in the way */
    ck_assert_ptr_nonnull(submit(&w, "p", "q", &w.task, 0));
    ck_assert_ptr_null(submit(&w, "other", "q", &w.task, 0));
    ck_assert_int_eq(rejected(&w), SCH_REJECT_NO_QUEUE);
    ck_assert_ptr_null(submit(&w, "p", "Q", &w.task, 0));
    const char *text = nth(&w, SCH_EFFECT_REJECTED, 0)->u.rejected.text;
    ck_assert_msg(strstr(text, "'Q'") && strstr(text, "there are q"), "%s", text);
    ck_assert_ptr_nonnull(submit(&w, "p", "default", &w.task, 0));
    struct sch_queue_key key = config.key;
    step(&w, (struct sch_event){.type = SCH_EVENT_QUEUE_REMOVE, .u.queue_remove.key = &key});
    ck_assert_ptr_null(submit(&w, "p", "q", &w.task, 0));
    world_free(&w);
}
END_TEST

START_TEST(a_queue_limits_the_time_in_it)
{
    struct world w = world_new();
    struct sch_queue_config config = queue("p", "d", "q");
    config.queued_timeout_ns = SY_NS_PER_S;
    configure(&w, config);
    struct sch_action *a = submit(&w, "p", "q", &w.task, 0);
    sch_action_ref(a);
    run_until(&w, w.now + SY_NS_PER_S);
    assert_state(a, "timed_out");
    sch_action_unref(a);
    world_free(&w);
}
END_TEST

/* ---- clusters ---- */

START_TEST(a_queue_stays_on_its_clusters)
{
    struct world w = world_new();
    up(&w, "west");
    complete(&w, "west");
    open_cluster(&w, "east");
    struct sch_queue_config config = queue("p", "d", "q");
    name_cluster(&config, "east");
    configure(&w, config);
    struct sch_action *a = submit(&w, "p", "q", &w.task, 0);
    grant(&w, "west", sch_action_class_id(a), 10);
    assert_state(a, "queued");
    name_cluster(&config, "west"); /* what waits moves with its queue */
    configure(&w, config);
    grant(&w, "west", sch_action_class_id(a), 10);
    assert_state(a, "assigned");
    ck_assert_str_eq(sch_cluster_name(a->cluster), "west");
    name_cluster(&config, "north");
    configure(&w, config);
    ck_assert_ptr_null(submit(&w, "p", "q", &w.task, 0));
    ck_assert_int_eq(rejected(&w), SCH_REJECT_INFEASIBLE);
    world_free(&w);
}
END_TEST

START_TEST(policies_choose)
{
    struct world w = world_new();
    open_cluster(&w, "east");
    up(&w, "west");
    complete(&w, "west");
    ck_assert_str_eq(where(&w, SCH_POLICY_SPREAD, "a"), "west");
    ck_assert_str_eq(where(&w, SCH_POLICY_PACK, "b"), "east");
    step(&w, (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                                .u.cluster = {.name = "west", .keep_shapes = true, .price = 200}});
    step(&w, (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                                .u.cluster = {.name = "east", .keep_shapes = true, .price = 100}});
    ck_assert_str_eq(where(&w, SCH_POLICY_CHEAPEST, "c"), "east");
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

START_TEST(a_cluster_that_fails_a_class_is_avoided_for_a_while)
{
    struct world w = world_new();
    open_cluster(&w, "east");
    up(&w, "west");
    complete(&w, "west");
    struct sch_action *a = submit(&w, "p", NULL, &w.task, 0);
    grant(&w, "east", sch_action_class_id(a), 100);
    grant(&w, "west", sch_action_class_id(a), 10);
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(sch_cluster_name(a->cluster), "east");
        outcome(&w, a, SCH_OUTCOME_LOST);
        run_until(&w, w.now + SY_NS_PER_S);
    }
    assert_state(a, "assigned");
    ck_assert_str_eq(sch_cluster_name(a->cluster), "west"); /* though east has more room */
    run_until(&w, w.now + SCH_AVOID_NS);
    struct sch_action *b = submit(&w, "p", NULL, &w.task, 0);
    ck_assert_str_eq(sch_cluster_name(b->cluster), "east");
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

/* ---- memory ---- */

START_TEST(more_memory_after_running_out_of_it)
{
    struct world w = world_new();
    struct sch_spec spec = {
        .request = {.memory_bytes = 1000}, .oom_factor_milli = 3000, .oom_memory_bytes_max = 5000};
    open_cluster(&w, "east");
    struct sch_action *a = submit(&w, "p", NULL, &spec, 0);
    sch_action_ref(a);
    uint64_t expected[] = {1000, 3000, 5000};
    for (unsigned i = 0; i < SY_COUNT_OF(expected); i++) {
        ck_assert_uint_eq(sch_action_memory_bytes(a), i == 0 ? 0 : expected[i]);
        grant(&w, "east", sch_action_class_id(a), 1);
        assert_state(a, "assigned");
        sch_partition_check(w.p);
        outcome(&w, a, SCH_OUTCOME_OUT_OF_MEMORY);
    }
    assert_state(a, "failed"); /* no retries, and no more memory */
    ck_assert_uint_eq(a->attempts, 3);
    ck_assert_uint_eq(a->user_failures, 1);
    sch_action_unref(a);
    world_free(&w);
}
END_TEST

/* A cluster that has not said what it has may have that much, or not. */
START_TEST(no_more_memory_than_is_known_of)
{
    struct world w = world_new();
    struct sch_spec spec = {.request = {.memory_bytes = 1ull << 34},
                            .oom_factor_milli = 2000,
                            .oom_memory_bytes_max = 1ull << 40};
    open_cluster(&w, "east");
    step(&w, (struct sch_event){.type = SCH_EVENT_CLUSTER_UP, .u.cluster.name = "silent"});
    struct sch_action *a = submit(&w, "p", NULL, &spec, 0);
    sch_action_ref(a);
    grant(&w, "east", sch_action_class_id(a), 1);
    outcome(&w, a, SCH_OUTCOME_OUT_OF_MEMORY);
    assert_state(a, "failed");
    sch_action_unref(a);
    world_free(&w);
}
END_TEST

START_TEST(long_queues_are_assigned_in_slices)
{
    struct world w = world_new();
    open_cluster(&w, "east");
    struct sch_action *a = NULL;
    for (unsigned i = 0; i < 3 * SCH_ASSIGN_MAX; i++)
        a = submit(&w, "p", NULL, &w.task, 0);
    grant(&w, "east", sch_action_class_id(a), 1u << 20);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), SCH_ASSIGN_MAX);
    ck_assert_int_eq(sch_partition_next_ns(w.p), w.now);
    tick_at(&w, w.now);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), SCH_ASSIGN_MAX);
    tick_at(&w, w.now);
    assert_state(a, "assigned");
    sch_partition_check(w.p);
    world_free(&w);
}
END_TEST

START_TEST(configurations_are_checked)
{
    struct sy_error_text error = {0};
    struct sch_queue_config config = queue("p", "d", "a b");
    config.weight = 0;
    config.priority = 5000;
    ck_assert_int_eq(sch_queue_config_check(&config, &error), -EINVAL);
    ck_assert(strstr(error.text, "'a b'") && strstr(error.text, "weight 0") &&
              strstr(error.text, "priority 5000"));
    config = queue("p", "d", "q");
    snprintf(config.parent, sizeof(config.parent), "q");
    ck_assert_int_eq(sch_queue_config_check(&config, NULL), -EINVAL);
    config = queue("", "d", "q");
    ck_assert_int_eq(sch_queue_config_check(&config, NULL), -EINVAL);
    config = queue("p", "", "");
    ck_assert_int_eq(sch_queue_config_check(&config, NULL), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {weights_share_completions,
                                  resources_are_shared_not_tasks,
                                  projects_share_before_queues,
                                  an_idle_share_is_lent,
                                  queues_have_parents,
                                  priority_comes_before_shares_and_over_classes,
                                  waiting_gains_priority,
                                  a_queue_is_named_alike_in_every_epoch,
                                  lower_priority_makes_room,
                                  an_actions_own_priority_stops_nobody,
                                  what_would_be_next_again_is_not_stopped,
                                  all_that_may_stop_are_named_in_turns,
                                  each_round_makes_room_for_one,
                                  what_was_borrowed_is_given_back,
                                  a_limit_stops_and_lets_go,
                                  a_limit_holds_over_a_restart,
                                  limits_count_resources_at_each_level,
                                  a_paused_queue_waits_and_asks_for_nothing,
                                  length_and_names_are_checked,
                                  a_queue_limits_the_time_in_it,
                                  a_queue_stays_on_its_clusters,
                                  policies_choose,
                                  a_cluster_that_fails_a_class_is_avoided_for_a_while,
                                  long_queues_are_assigned_in_slices,
                                  more_memory_after_running_out_of_it,
                                  no_more_memory_than_is_known_of,
                                  configurations_are_checked,
                                  NULL};
    return sy_test_run("sch_queues", tests);
}
