/* links: sch */
/* What reaches thousands of classes does so in slices: how much a step looks at is counted, and
 * what it decides between two slices is right. */
#include "scheduler/partition_queue.h"
#include "scheduler/partition_reserve.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_slice.h"
#include "tests/unit/test_sch_queue_world.h"

#include <inttypes.h>

enum {
    CLASSES = 3 * SCH_LOOKS_MAX,
    CLUSTERS = 5,
    STEPS_MAX = 20 * CLASSES * CLUSTERS / SCH_LOOKS_MAX,
};

struct many {
    struct world w;
    struct sch_spec *specs;
    char names[CLUSTERS][8];
    uint32_t most; /* looks in one step */
};

static void looked(struct many *m)
{
    m->most = m->w.p->looks > m->most ? m->w.p->looks : m->most;
}

static void tick(struct world *w)
{
    step(w, (struct sch_event){.type = SCH_EVENT_TICK});
}

/* Until nothing is to be done at once. */
static unsigned settle(struct many *m)
{
    unsigned steps = 0;
    looked(m);
    for (; sch_partition_next_ns(m->w.p) <= m->w.now; steps++) {
        ck_assert_uint_lt(steps, STEPS_MAX);
        tick(&m->w);
        looked(m);
    }
    sch_partition_check(m->w.p);
    return steps;
}

/* Each class has one that waits. */
static struct many many_with(struct sch_partition_options options, uint32_t cpu_milli)
{
    struct many m = {.w = world_with(options),
                     .specs = sy_calloc(CLASSES, sizeof(struct sch_spec))};
    for (uint32_t i = 0; i < CLASSES; i++) {
        m.specs[i] = (struct sch_spec){.request = {.cpu_milli = cpu_milli, .memory_bytes = 1 + i}};
        (void)submit(&m.w, "p", NULL, &m.specs[i], 0);
    }
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        snprintf(m.names[i], sizeof(m.names[i]), "c%" PRIu32, i);
        up(&m.w, m.names[i]);
        looked(&m);
    }
    (void)settle(&m);
    return m;
}

static struct many many_new(void)
{
    return many_with(options_of(5), 1000);
}

static void many_free(struct many *m)
{
    world_free(&m->w);
    free(m->specs);
}

/* In the order in which they came. */
static struct sch_class *class_at(const struct many *m, uint32_t i)
{
    struct sch_class *class = sch_class_find(m->w.p, i + 1);
    ck_assert(class && class->asked.memory_bytes == 1 + i);
    return class;
}

START_TEST(no_step_looks_at_all_pairs_of_a_cluster)
{
    struct many m = many_new();
    m.most = 0;
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        down(&m.w, m.names[i]);
        looked(&m);
    }
    ck_assert_uint_ge(settle(&m), (CLUSTERS * CLASSES - SCH_LOOKS_MAX * CLUSTERS) / SCH_LOOKS_MAX);
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        up(&m.w, m.names[i]);
        looked(&m);
        complete(&m.w, m.names[i]);
        looked(&m);
    }
    (void)settle(&m);
    up(&m.w, "another");
    (void)settle(&m);
    ck_assert_uint_eq(class_at(&m, CLASSES - 1)->pair_count, CLUSTERS + 1);
    ck_assert_uint_eq(class_at(&m, CLASSES - 1)->feasible, CLUSTERS + 1);
    m.w.now += LEASE; /* all that are down are gone */
    (void)settle(&m);
    ck_assert_uint_le(m.most, SCH_LOOKS_MAX + SCH_TELL_MAX);
    many_free(&m);
}
END_TEST

/* The last class is not reached by the first slice. */
START_TEST(what_a_slice_has_not_reached_goes_to_no_cluster_that_has_changed)
{
    struct many m = many_new();
    struct sch_class *last = class_at(&m, CLASSES - 1);
    struct sch_spec *spec = &m.specs[CLASSES - 1];
    grant(&m.w, "c0", last->id, 5);
    ck_assert_uint_eq(m.w.p->state_counts[SCH_ACTION_ASSIGNED], 1);
    down(&m.w, "c0");
    ck_assert_ptr_null(sch_pair_peek(last, sch_cluster_find(m.w.p, "c0")));
    struct sch_action *waits = submit(&m.w, "p", NULL, spec, 0);
    assert_state(waits, "queued"); /* it was looked at now */
    sch_partition_check(m.w.p);
    (void)settle(&m);
    up(&m.w, "c0"); /* nothing is granted on this stream */
    ck_assert_ptr_null(sch_pair_peek(last, sch_cluster_find(m.w.p, "c0")));
    tick(&m.w);
    assert_state(waits, "queued");
    sch_partition_check(m.w.p);
    grant(&m.w, "c0", last->id, 1);
    assert_state(waits, "assigned");
    (void)settle(&m);
    last = class_at(&m, CLASSES - 2);
    spec = &m.specs[CLASSES - 2];
    struct sch_action *next = submit(&m.w, "p", NULL, spec, 0);
    assert_state(next, "queued");
    /* down and up again before any slice: the grants of the stream before are not used */
    grant(&m.w, "c0", last->id, 9);
    assert_state(next, "assigned");
    down(&m.w, "c0");
    up(&m.w, "c0");
    ck_assert_ptr_null(sch_pair_peek(last, sch_cluster_find(m.w.p, "c0")));
    next = submit(&m.w, "p", NULL, spec, 0);
    assert_state(next, "queued");
    (void)settle(&m);
    assert_state(next, "queued");
    many_free(&m);
}
END_TEST

START_TEST(room_wakes_those_that_are_short_in_slices_and_the_first_goes_first)
{
    struct many m = many_new();
    struct sch_action *urgent = submit(&m.w, "p", NULL, &m.specs[CLASSES - 1], 100);
    room(&m.w, "c0", 0);
    for (uint32_t i = 0; i < CLASSES; i++)
        grant(&m.w, "c0", class_at(&m, i)->id, 2);
    (void)settle(&m);
    m.most = 0;
    room(&m.w, "c0", 1000);
    looked(&m);
    ck_assert_uint_eq(count(&m.w, SCH_EFFECT_ASSIGN), 0);
    room(&m.w, "c0", 1001); /* what comes meanwhile is another round */
    (void)settle(&m);
    assert_state(urgent, "assigned");
    ck_assert_uint_eq(m.w.p->state_counts[SCH_ACTION_ASSIGNED], 1);
    ck_assert_uint_le(m.most, SCH_LOOKS_MAX);
    many_free(&m);
}
END_TEST

START_TEST(a_cluster_that_comes_changes_shares_in_slices)
{
    struct many m = {.w = world_new()};
    struct sch_share *share = NULL;
    char name[16];
    open_cluster(&m.w, "c0");
    for (uint32_t i = 0; i < CLASSES; i++) {
        snprintf(name, sizeof(name), "p%" PRIu32, i);
        struct sch_action *a = submit(&m.w, name, NULL, &m.w.task, 0);
        grant(&m.w, "c0", 1, i + 1);
        assert_state(a, "assigned");
        share = sch_action_impl(a)->lane->seat.share;
    }
    uint32_t before = share->weighted_share;
    up(&m.w, "c1"); /* twice the capacity */
    ck_assert_uint_eq(share->weighted_share, before);
    ck_assert_uint_ge(settle(&m), 3 * CLASSES / SCH_LOOKS_MAX);
    ck_assert_uint_lt(share->weighted_share, before);
    ck_assert_uint_le(m.most, SCH_LOOKS_MAX);
    many_free(&m);
}
END_TEST

/* Of the classes in which the project is, those where it is placed by the share that it has now. */
static uint32_t placed(const struct sch_share *project)
{
    uint32_t count = 0;
    for (const struct sch_link *link = project->seats.next; link != &project->seats;
         link = link->next) {
        const struct sch_seat *seat = sy_container_of((struct sch_link *)(uintptr_t)link,
                                                      struct sch_seat, link);
        count += seat->contested && (uint32_t)seat->entry.key == project->weighted_share;
    }
    return count;
}

START_TEST(a_share_moves_in_the_classes_in_slices_and_nobody_is_next_before)
{
    enum { MANY = 3 * SCH_MOVE_MAX };
    struct many m = {.w = world_new(), .specs = sy_calloc(MANY, sizeof(struct sch_spec))};
    struct sch_action *p = NULL, *q = NULL;
    for (uint32_t i = 0; i < MANY; i++) {
        m.specs[i] = (struct sch_spec){.request = {.cpu_milli = 1000, .memory_bytes = 1 + i}};
        p = submit(&m.w, "p", NULL, &m.specs[i], 0);
        q = submit(&m.w, "q", NULL, &m.specs[i], 0);
    }
    open_cluster(&m.w, "c0");
    (void)settle(&m);
    const struct sch_share *project = sch_action_impl(p)->lane->seat.share;
    while (project->level != SCH_SHARE_PROJECT)
        project = project->parent;
    grant(&m.w, "c0", 1, 1);
    ck_assert_uint_eq(count(&m.w, SCH_EFFECT_ASSIGN), 1);
    uint32_t steps = 0, before = 0, done = placed(project);
    /* in the first there is only q, in the last then only p: shares do not matter there */
    for (; done < MANY - 2; steps++, done = placed(project)) {
        ck_assert_uint_le(done - before, SCH_MOVE_MAX);
        ck_assert_uint_eq(m.w.p->state_counts[SCH_ACTION_ASSIGNED], 1);
        sch_partition_check(m.w.p);
        before = done;
        grant(&m.w, "c0", sch_action_class_id(p), 1);
    }
    ck_assert_uint_ge(steps, 1);
    (void)settle(&m);
    assert_state(p, "queued");
    assert_state(q, "assigned");
    many_free(&m);
}
END_TEST

/* Each end changes the share of what ended before all of its seats have moved. */
START_TEST(shares_that_change_in_each_step_keep_nobody_waiting)
{
    enum { MANY = 3 * SCH_MOVE_MAX, RUN = 20 };
    struct many m = {.w = world_new(), .specs = sy_calloc(MANY + 1, sizeof(struct sch_spec))};
    struct sch_action *p = NULL, *run[RUN];
    for (uint32_t i = 0; i <= MANY; i++)
        m.specs[i] = (struct sch_spec){.request = {.cpu_milli = 1000, .memory_bytes = 1 + i}};
    for (uint32_t i = 0; i < RUN; i++)
        run[i] = submit(&m.w, "p", NULL, &m.specs[MANY], 0);
    open_cluster(&m.w, "c0");
    grant(&m.w, "c0", sch_action_class_id(run[0]), RUN);
    ck_assert_uint_eq(m.w.p->state_counts[SCH_ACTION_ASSIGNED], RUN);
    for (uint32_t i = 0; i < MANY; i++) {
        p = submit(&m.w, "p", NULL, &m.specs[i], 0);
        (void)submit(&m.w, "q", NULL, &m.specs[i], 0);
    }
    (void)settle(&m);
    uint32_t ended = 0;
    outcome(&m.w, run[ended++], SCH_OUTCOME_SUCCEEDED);
    grant(&m.w, "c0", sch_action_class_id(p), 1);
    for (; count(&m.w, SCH_EFFECT_ASSIGN) == 0; ended++) {
        ck_assert_uint_lt(ended, RUN);
        outcome(&m.w, run[ended], SCH_OUTCOME_SUCCEEDED);
        sch_partition_check(m.w.p);
    }
    (void)settle(&m);
    many_free(&m);
}
END_TEST

/* The most urgent class is the last that the round comes to. */
START_TEST(nodes_are_kept_by_rounds_in_slices)
{
    struct sch_partition_options options = options_of(5);
    options.reserve_after_ns = SY_NS_PER_S;
    struct many m = many_with(options, 8000);
    struct sch_action *urgent = submit(&m.w, "p", NULL, &m.specs[CLASSES - 1], 100);
    struct sch_class *last = class_at(&m, CLASSES - 1);
    m.most = 0;
    m.w.now += options.reserve_after_ns;
    ck_assert_uint_ge(settle(&m), CLASSES / SCH_LOOKS_MAX);
    m.w.now += 2 * SY_NS_PER_S;
    (void)settle(&m);
    ck_assert_uint_eq(last->reserves, 2);
    ck_assert_uint_eq(m.w.p->reserves, 2 + SCH_RESERVE_CLASSES_MAX - 1);
    step(&m.w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = urgent});
    m.w.now += 2 * SY_NS_PER_S;
    (void)settle(&m);
    ck_assert_uint_eq(last->reserves, 0);
    ck_assert_uint_eq(m.w.p->reserves, SCH_RESERVE_CLASSES_MAX);
    ck_assert_uint_le(m.most, SCH_LOOKS_MAX + SCH_TELL_MAX);
    many_free(&m);
}
END_TEST

/* All classes wait for room that preemptible work has; so many ask in each round, in turns. */
START_TEST(rounds_of_reclaim_are_in_slices_and_each_class_has_its_turn)
{
    struct sch_partition_options options = options_of(5);
    options.reclaim_delay_ns = SY_NS_PER_S;
    struct many m = many_with(options, 1000);
    struct sch_queue_config config = queue("p", "d", "spare");
    bool asked[CLASSES + 1] = {false};
    config.preemptible = true;
    config.priority = -10;
    configure(&m.w, config);
    struct sch_spec spec = {.request = {.cpu_milli = 100}};
    struct sch_action *victim = submit(&m.w, "p", "spare", &spec, 0);
    grant(&m.w, "c0", sch_action_class_id(victim), 1);
    assert_state(victim, "assigned");
    m.most = 0;
    uint32_t found = 0;
    for (unsigned i = 0; i < 2 + CLASSES / 64 * 2 && found < CLASSES; i++) {
        m.w.now += options.reclaim_delay_ns;
        do {
            tick(&m.w);
            looked(&m);
            for (size_t k = 0; k < count(&m.w, SCH_EFFECT_RECLAIM); k++) {
                uint32_t id = nth(&m.w, SCH_EFFECT_RECLAIM, k)->u.reclaim.class_id;
                found += !asked[id];
                asked[id] = true;
            }
        } while (sch_partition_next_ns(m.w.p) <= m.w.now);
    }
    ck_assert_uint_eq(found, CLASSES);
    ck_assert_uint_le(m.most, SCH_LOOKS_MAX + SCH_TELL_MAX);
    many_free(&m);
}
END_TEST

START_TEST(demand_is_told_in_slices)
{
    struct many m = many_new();
    for (uint32_t i = 0; i < CLASSES; i++)
        (void)submit(&m.w, "p", NULL, &m.specs[i], 0);
    m.w.now += SCH_DEMAND_INTERVAL_NS;
    size_t told = 0;
    do {
        tick(&m.w);
        ck_assert_uint_lt(count(&m.w, SCH_EFFECT_DEMAND), SCH_TELL_MAX + CLUSTERS);
        told += count(&m.w, SCH_EFFECT_DEMAND);
    } while (sch_partition_next_ns(m.w.p) <= m.w.now);
    ck_assert_uint_eq(told, CLASSES * CLUSTERS);
    many_free(&m);
}
END_TEST

static uint32_t due(const struct sch_heap *heap, int64_t now)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < heap->count; i++)
        count += heap->items[i].entry->key <= now;
    return count;
}

START_TEST(timers_that_are_due_together_end_in_slices)
{
    struct world w = world_with(options_of(5));
    struct sch_spec spec = {.request = {.cpu_milli = 1000}, .queued_timeout_ns = SY_NS_PER_S};
    for (unsigned i = 0; i < CLASSES + 1; i++)
        (void)submit(&w, "p", NULL, &spec, 0);
    w.now += SY_NS_PER_S;
    ck_assert_uint_eq(due(&w.p->timers, w.now), CLASSES + 1);
    for (uint32_t left = CLASSES + 1; left > 0;) {
        uint32_t ends = left < SCH_LOOKS_MAX ? left : SCH_LOOKS_MAX;
        ck_assert_int_le(sch_partition_next_ns(w.p), w.now);
        tick(&w);
        ck_assert_uint_eq(count(&w, SCH_EFFECT_FINISHED), ends);
        left -= ends;
        ck_assert_uint_eq(due(&w.p->timers, w.now), left);
        sch_partition_check(w.p);
    }
    ck_assert_int_gt(sch_partition_next_ns(w.p), w.now);
    world_free(&w);
}
END_TEST

START_TEST(what_has_waited_equally_long_ages_in_slices)
{
    struct sch_partition_options options = options_of(5);
    options.ageing_ns = SY_NS_PER_S;
    struct many m = many_with(options, 1000);
    m.w.now += SY_NS_PER_S;
    ck_assert_uint_eq(due(&m.w.p->ages, m.w.now), CLASSES);
    for (uint32_t left = CLASSES; left > 0; left -= SCH_LOOKS_MAX) {
        ck_assert_int_le(sch_partition_next_ns(m.w.p), m.w.now);
        tick(&m.w);
        ck_assert_uint_eq(due(&m.w.p->ages, m.w.now), left - SCH_LOOKS_MAX);
        sch_partition_check(m.w.p);
    }
    (void)settle(&m);
    many_free(&m);
}
END_TEST

START_TEST(attempts_of_a_lost_cluster_are_lost_in_slices_and_wait_in_their_order)
{
    struct world w = world_with(options_of(5));
    struct sch_spec spec = {.request = {.cpu_milli = 1000}};
    struct sch_action *actions[CLASSES + 1];
    open_cluster(&w, "east");
    open_cluster(&w, "west"); /* else we would be blind */
    for (unsigned i = 0; i < CLASSES + 1; i++)
        actions[i] = submit(&w, "p", NULL, &spec, 0);
    grant(&w, "east", sch_action_class_id(actions[0]), CLASSES + 1);
    while (sch_partition_counts(w.p).assigned < CLASSES + 1)
        tick(&w);
    step(&w, (struct sch_event){.type = SCH_EVENT_CLUSTER_DOWN, .u.cluster.name = "east"});
    w.now += w.p->options.cluster_lease_ns / 2;
    tick(&w);
    w.now += w.p->options.cluster_lease_ns / 2;
    for (uint64_t left = CLASSES + 1; left > 0;) {
        ck_assert_int_le(sch_partition_next_ns(w.p), w.now);
        tick(&w);
        left -= left < SCH_LOOKS_MAX ? left : SCH_LOOKS_MAX;
        ck_assert_uint_eq(sch_partition_counts(w.p).assigned, left);
        ck_assert_uint_eq(sch_partition_counts(w.p).queued, CLASSES + 1 - left);
        sch_partition_check(w.p);
    }
    grant(&w, "west", sch_action_class_id(actions[0]), 2);
    assert_state(actions[0], "assigned");
    assert_state(actions[1], "assigned");
    assert_state(actions[2], "queued");
    world_free(&w);
}
END_TEST

/* Half of its attempts are lost, then it is back and names one of the others. */
START_TEST(a_cluster_that_comes_back_between_two_slices_keeps_what_it_names)
{
    struct world w = world_with(options_of(5));
    struct sch_spec spec = {.request = {.cpu_milli = 1000}};
    struct sch_action *actions[2 * SCH_LOOKS_MAX];
    open_cluster(&w, "east");
    open_cluster(&w, "west");
    for (unsigned i = 0; i < SY_COUNT_OF(actions); i++)
        actions[i] = submit(&w, "p", NULL, &spec, 0);
    grant(&w, "east", sch_action_class_id(actions[0]), SY_COUNT_OF(actions));
    while (sch_partition_counts(w.p).assigned < SY_COUNT_OF(actions))
        tick(&w);
    step(&w, (struct sch_event){.type = SCH_EVENT_CLUSTER_DOWN, .u.cluster.name = "east"});
    w.now += w.p->options.cluster_lease_ns / 2;
    tick(&w);
    w.now += w.p->options.cluster_lease_ns / 2;
    tick(&w);
    ck_assert_uint_eq(sch_partition_counts(w.p).assigned, SCH_LOOKS_MAX);
    up(&w, "east");
    step(&w, (struct sch_event){.type = SCH_EVENT_INVENTORY,
                                .u.inventory = {.cluster = "east",
                                                .action_id = actions[0]->id,
                                                .number = actions[0]->number,
                                                .epoch = actions[0]->attempt_epoch}});
    complete(&w, "east");
    sch_partition_check(w.p);
    assert_state(actions[0], "assigned");
    assert_state(actions[1], "queued");
    ck_assert_uint_eq(sch_partition_counts(w.p).queued, SY_COUNT_OF(actions) - 1);
    ck_assert_int_gt(sch_partition_next_ns(w.p), w.now);
    world_free(&w);
}
END_TEST

/* So many of one class are out in "east"; "west" is there, else we would be blind. */
static struct world sent_east(struct sch_spec *spec, struct sch_action **actions, unsigned count)
{
    struct world w = world_with(options_of(5));
    open_cluster(&w, "east");
    open_cluster(&w, "west");
    for (unsigned i = 0; i < count; i++)
        actions[i] = submit(&w, "p", NULL, spec, 0);
    grant(&w, "east", sch_action_class_id(actions[0]), count);
    while (sch_partition_counts(w.p).assigned < count)
        tick(&w);
    return w;
}

static void name_one(struct world *w, const struct sch_action *action)
{
    step(w, (struct sch_event){.type = SCH_EVENT_INVENTORY,
                               .u.inventory = {.cluster = "east",
                                               .action_id = action->id,
                                               .number = action->number,
                                               .epoch = action->attempt_epoch}});
}

/* The first slice is lost already, and a tick at once takes the next. */
static void lost_in_slices(struct world *w, unsigned out, unsigned stay)
{
    for (unsigned left = out - stay; left > 0;) {
        left -= left < SCH_LOOKS_MAX ? left : SCH_LOOKS_MAX;
        ck_assert_uint_eq(sch_partition_counts(w->p).assigned, stay + left);
        sch_partition_check(w->p);
        if (left > 0)
            ck_assert_int_le(sch_partition_next_ns(w->p), w->now);
        tick(w);
    }
    ck_assert_uint_eq(sch_partition_counts(w->p).assigned, stay);
}

START_TEST(what_a_returning_cluster_lacks_is_lost_in_slices_and_waits_in_its_order)
{
    struct sch_spec spec = {.request = {.cpu_milli = 1000}};
    struct sch_action *actions[CLASSES + 1];
    struct world w = sent_east(&spec, actions, CLASSES + 1);
    down(&w, "east");
    up(&w, "east");
    name_one(&w, actions[1]);
    complete(&w, "east");
    lost_in_slices(&w, CLASSES + 1, 1);
    ck_assert_uint_eq(sch_partition_counts(w.p).queued, CLASSES);
    grant(&w, "west", sch_action_class_id(actions[0]), 2);
    assert_state(actions[0], "assigned");
    ck_assert_str_eq(sch_cluster_name(actions[1]->cluster), "east");
    assert_state(actions[2], "assigned");
    assert_state(actions[3], "queued");
    world_free(&w);
}
END_TEST

/* It goes between two slices, and says the next time what it has. */
START_TEST(a_cluster_that_goes_between_two_slices_keeps_what_it_names_then)
{
    struct sch_spec spec = {.request = {.cpu_milli = 1000}};
    struct sch_action *actions[2 * SCH_LOOKS_MAX];
    struct world w = sent_east(&spec, actions, SY_COUNT_OF(actions));
    down(&w, "east");
    up(&w, "east");
    complete(&w, "east");
    ck_assert_uint_eq(sch_partition_counts(w.p).assigned, SCH_LOOKS_MAX);
    down(&w, "east");
    tick(&w);
    sch_partition_check(w.p);
    ck_assert_uint_eq(sch_partition_counts(w.p).assigned, SCH_LOOKS_MAX);
    up(&w, "east");
    name_one(&w, actions[0]);
    complete(&w, "east");
    lost_in_slices(&w, SCH_LOOKS_MAX, 1);
    assert_state(actions[0], "assigned");
    world_free(&w);
}
END_TEST

static void give_up(enum sch_event_type type)
{
    struct sch_spec spec = {.request = {.cpu_milli = 1000}};
    struct sch_action *actions[CLASSES + 1];
    struct world w = sent_east(&spec, actions, CLASSES + 1);
    step(&w, (struct sch_event){.type = type, .u.cluster.name = "east"});
    ck_assert_int_eq(sch_cluster_state(sch_cluster_find(w.p, "east")), SCH_CLUSTER_GONE);
    ck_assert_uint_eq(sch_partition_counts(w.p).assigned, CLASSES + 1 - SCH_LOOKS_MAX);
    step(&w, (struct sch_event){.type = type, .u.cluster.name = "east"}); /* said twice */
    lost_in_slices(&w, CLASSES + 1 - SCH_LOOKS_MAX, 0);
    grant(&w, "west", sch_action_class_id(actions[0]), 1);
    assert_state(actions[0], "assigned");
    assert_state(actions[1], "queued");
    world_free(&w);
}

START_TEST(attempts_of_a_deleted_cluster_are_lost_in_slices)
{
    give_up(SCH_EVENT_CLUSTER_DELETED);
}
END_TEST

START_TEST(attempts_of_a_fenced_cluster_are_lost_in_slices)
{
    give_up(SCH_EVENT_CLUSTER_FENCED);
}
END_TEST

/* So many wait for what "east" says after a restart. */
static struct world restored(struct sch_spec *spec, struct sch_action **actions, unsigned count)
{
    static const char *const expected[] = {"east"};
    struct sch_partition_options options = options_of(5);
    options.recovery_wait_ns = LEASE;
    struct world w = world_with(options);
    for (unsigned i = 0; i < count; i++) {
        char name[24];
        uint64_t id = (4ull << 40) + 1 + 2 * (uint64_t)i;
        struct sch_restore r = {.run_id = id, .action_id = id + 1, .name = "a0", .spec = spec};
        snprintf(name, sizeof(name), "r%u", i);
        (void)sch_partition_restore_run(w.p, id, "p", "d", name, 0, 1, 1, 0);
        actions[i] = sch_partition_restore_action(w.p, &r);
    }
    sch_partition_restored(w.p, expected, 1, w.now);
    return w;
}

/* And nobody starts before all of it waits again: the last ones do so first. */
START_TEST(what_nobody_reported_after_a_restart_waits_again_in_slices)
{
    struct sch_spec spec = {.request = {.cpu_milli = 1000}};
    struct sch_action *actions[CLASSES + 1];
    struct world w = restored(&spec, actions, CLASSES + 1);
    up(&w, "east");
    complete(&w, "east");
    ck_assert_uint_eq(sch_partition_counts(w.p).queued, SCH_LOOKS_MAX);
    grant(&w, "east", sch_action_class_id(actions[0]), 2);
    for (unsigned queued = 2 * SCH_LOOKS_MAX; queued <= CLASSES; queued += SCH_LOOKS_MAX) {
        ck_assert_uint_eq(sch_partition_counts(w.p).queued, queued);
        ck_assert_uint_eq(sch_partition_counts(w.p).assigned, 0);
        ck_assert(sch_partition_counts(w.p).recovering_clusters);
        ck_assert_int_le(sch_partition_next_ns(w.p), w.now);
        sch_partition_check(w.p);
        tick(&w);
    }
    ck_assert(!sch_partition_counts(w.p).recovering_clusters);
    assert_state(actions[0], "assigned");
    assert_state(actions[1], "assigned");
    ck_assert_uint_eq(sch_partition_counts(w.p).queued, CLASSES - 1);
    world_free(&w);
}
END_TEST

START_TEST(what_is_reported_between_two_slices_of_a_recovery_is_adopted)
{
    struct sch_spec spec = {.request = {.cpu_milli = 1000}};
    struct sch_action *actions[2 * SCH_LOOKS_MAX];
    struct world w = restored(&spec, actions, SY_COUNT_OF(actions));
    up(&w, "west");
    complete(&w, "west");
    w.now += LEASE / 2;
    tick(&w);
    w.now += LEASE / 2; /* "east" does not come back in time */
    tick(&w);
    ck_assert_uint_eq(sch_partition_counts(w.p).queued, SCH_LOOKS_MAX);
    step(&w, (struct sch_event){
                 .type = SCH_EVENT_STARTED,
                 .u.report = {
                     .cluster = "west", .action_id = actions[0]->id, .number = 1, .epoch = 4}});
    assert_state(actions[0], "running");
    ck_assert_uint_eq(sch_partition_counts(w.p).queued, SY_COUNT_OF(actions) - 1);
    ck_assert(!sch_partition_counts(w.p).recovering_clusters);
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        no_step_looks_at_all_pairs_of_a_cluster,
        what_a_slice_has_not_reached_goes_to_no_cluster_that_has_changed,
        room_wakes_those_that_are_short_in_slices_and_the_first_goes_first,
        a_cluster_that_comes_changes_shares_in_slices,
        a_share_moves_in_the_classes_in_slices_and_nobody_is_next_before,
        shares_that_change_in_each_step_keep_nobody_waiting,
        nodes_are_kept_by_rounds_in_slices,
        rounds_of_reclaim_are_in_slices_and_each_class_has_its_turn,
        demand_is_told_in_slices,
        timers_that_are_due_together_end_in_slices,
        what_has_waited_equally_long_ages_in_slices,
        attempts_of_a_lost_cluster_are_lost_in_slices_and_wait_in_their_order,
        a_cluster_that_comes_back_between_two_slices_keeps_what_it_names,
        what_a_returning_cluster_lacks_is_lost_in_slices_and_waits_in_its_order,
        a_cluster_that_goes_between_two_slices_keeps_what_it_names_then,
        attempts_of_a_deleted_cluster_are_lost_in_slices,
        attempts_of_a_fenced_cluster_are_lost_in_slices,
        what_nobody_reported_after_a_restart_waits_again_in_slices,
        what_is_reported_between_two_slices_of_a_recovery_is_adopted,
        NULL};
    return sy_test_run("sch_slices", tests);
}
