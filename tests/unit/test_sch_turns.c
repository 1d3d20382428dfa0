/* links: sch */
/*
 * Whose turn it is over all classes, and among those that a limit stops: against brute force
 * (TURNS_SEEDS=n for the first n worlds, TURNS_SEED=n for one).
 */
#include "base/rng.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_turn.h"
#include "tests/unit/test_sch_queue_world.h"

#include <inttypes.h>

/* ---- a world of few places and many queues and classes ---- */

static struct world open_world(uint32_t assign_max, int64_t ageing_ns)
{
    struct sch_partition_options options = options_of(5);
    options.assign_max = assign_max;
    options.ageing_ns = ageing_ns;
    struct world w = world_with(options);
    open_cluster(&w, "east");
    return w;
}

/* As many as there are cores, of every class. */
static void grant_all(struct world *w, const char *cluster)
{
    for (uint32_t id = 1; id <= w->p->last_class_id; id++) {
        if (sch_class_find(w->p, id))
            grant(w, cluster, id, 1u << 20);
    }
}

static void tick(struct world *w)
{
    step(w, (struct sch_event){.type = SCH_EVENT_TICK});
}

/* ---- brute force ---- */

static bool fits_somewhere(const struct sch_class *class)
{
    for (size_t i = 0; i < class->pair_count; i++) {
        const struct sch_pair *pair = class->pairs[i];
        const struct sch_cluster *cluster = pair->cluster;
        if (sch_cluster_connected(cluster) && pair->feasible && pair->granted > pair->assigned &&
            cluster->room_assigned.cpu_milli + class->request.cpu_milli <=
                cluster->room_granted.cpu_milli)
            return true;
    }
    return false;
}

static bool limits_admit(const struct sch_lane *lane)
{
    for (const struct sch_share *at = lane->seat.share; at; at = at->parent) {
        if (!sch_share_admits(at, &lane->seat.class->request, 1))
            return false;
    }
    return true;
}

static struct sch_action *who_is_next(const struct sch_partition *p)
{
    struct sch_lane *best = NULL;
    for (struct sch_link *at = p->classes.next; at != &p->classes; at = at->next) {
        struct sch_class *class = sy_container_of(at, struct sch_class, link);
        for (struct sch_link *link = class->lanes.next; link != &class->lanes; link = link->next) {
            struct sch_lane *lane = sy_container_of(link, struct sch_lane, link);
            if (lane->queue.waiting > 0 && fits_somewhere(class) && limits_admit(lane) &&
                (!best || sch_lane_before(lane, best)))
                best = lane;
        }
    }
    return best ? &sch_fifo_first(&best->queue)->base : NULL;
}

/* ---- random worlds ---- */

#define QUEUES 9u
#define OUT_MAX 128u
static const struct {
    const char *project, *name, *parent;
} queues[QUEUES] = {{"a", "", ""},   {"b", "", ""},   {"a", "x", ""},
                    {"a", "y", ""},  {"a", "z", ""},  {"b", "x", ""},
                    {"b", "u", "x"}, {"b", "v", "x"}, {"b", "y", ""}};

struct random_world {
    struct world w;
    struct sy_rng rng;
    struct sch_spec specs[6];
    struct sch_action *out[OUT_MAX];
    size_t out_count;
    uint64_t rooms[2];
    uint64_t seed;
    bool closed; /* what comes free is kept back, and comes at once later */
};

static uint32_t below(struct random_world *r, uint32_t n)
{
    return (uint32_t)sy_rng_below(&r->rng, n);
}

static void collect(struct random_world *r)
{
    for (size_t i = 0; i < r->w.fx.count; i++) {
        if (r->w.fx.items[i].type != SCH_EFFECT_ASSIGN)
            continue;
        ck_assert_uint_lt(r->out_count, OUT_MAX);
        r->out[r->out_count++] = sch_action_ref(r->w.fx.items[i].u.assign.action);
    }
    r->w.fx.count = 0; /* once */
    sch_partition_check(r->w.p);
}

static void configure_one(struct random_world *r)
{
    uint32_t i = below(r, QUEUES);
    struct sch_queue_config config = queue(queues[i].project, queues[i].name[0] ? "d" : "",
                                           queues[i].name);
    snprintf(config.parent, sizeof(config.parent), "%s", queues[i].parent);
    config.weight = 50 + below(r, 4) * 50;
    config.priority = below(r, 3) == 0 ? (int32_t)below(r, 3) : 0;
    if (below(r, 2))
        config.actions_max = 1 + below(r, 9);
    if (below(r, 3) == 0)
        config.cpu_milli_max = 1000 + below(r, 12) * 1000;
    if (below(r, 5) == 0)
        name_cluster(&config, "west");
    config.paused = below(r, 12) == 0;
    configure(&r->w, config);
}

static void submit_one(struct random_world *r)
{
    uint32_t i = 2 + below(r, QUEUES - 2);
    struct sch_spec *spec = &r->specs[below(r, SY_COUNT_OF(r->specs))];
    (void)submit(&r->w, queues[i].project, below(r, 6) ? queues[i].name : NULL, spec,
                 below(r, 4) == 0 ? (int32_t)below(r, 3) : 0);
}

static void end_one(struct random_world *r)
{
    if (r->out_count == 0)
        return;
    size_t at = below(r, (uint32_t)r->out_count);
    struct sch_action *a = r->out[at];
    r->out[at] = r->out[--r->out_count];
    int c = strcmp(sch_cluster_name(a->cluster), "west") == 0;
    r->rooms[c] += a->spec->request.cpu_milli;
    step(&r->w, report(SCH_EVENT_OUTCOME, sch_cluster_name(a->cluster), a->id, a->number,
                       a->attempt_epoch, below(r, 8) ? SCH_OUTCOME_SUCCEEDED : SCH_OUTCOME_LOST));
    collect(r);
    sch_action_unref(a);
    if (!r->closed)
        room(&r->w, c ? "west" : "east", r->rooms[c]);
}

static void open_or_close(struct random_world *r)
{
    r->closed = !r->closed;
    if (r->closed)
        return;
    room(&r->w, "east", r->rooms[0]);
    collect(r);
    room(&r->w, "west", r->rooms[1]);
}

static void disturb(struct random_world *r)
{
    r->w.now += SY_NS_PER_MS;
    switch (below(r, 20)) {
    case 0:
        configure_one(r);
        break;
    case 1:
        r->w.now += below(r, 3000) * SY_NS_PER_MS;
        tick(&r->w);
        break;
    case 2:
        grant_all(&r->w, "west");
        break;
    case 3:
        grant_all(&r->w, "east");
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        end_one(r);
        break;
    case 8:
        open_or_close(r);
        break;
    default:
        submit_one(r);
        break;
    }
    collect(r);
}

/* One at a time, each the one that brute force finds. */
static uint32_t assign_all(struct random_world *r)
{
    uint32_t assigned = 0;
    tick(&r->w); /* what is due by now, as ageing, is done */
    collect(r);
    for (;;) {
        const struct sch_action *next = who_is_next(r->w.p);
        tick(&r->w);
        const struct sch_action *got = count(&r->w, SCH_EFFECT_ASSIGN) > 0
                                           ? nth(&r->w, SCH_EFFECT_ASSIGN, 0)->u.assign.action
                                           : NULL;
        ck_assert_msg(got == next, "seed %" PRIu64 ": action %" PRIu64 " is next, got %" PRIu64,
                      r->seed, next ? next->id : 0, got ? got->id : 0);
        collect(r);
        if (!got)
            return assigned;
        assigned++;
    }
}

static uint32_t play(uint64_t seed)
{
    static struct random_world r;
    uint32_t compared = 0;
    r = (struct random_world){
        .w = open_world(1, SY_NS_PER_S), .seed = seed, .rooms = {20000, 10000}};
    sy_rng_init(&r.rng, seed);
    for (uint32_t i = 0; i < SY_COUNT_OF(r.specs); i++)
        r.specs[i] = (struct sch_spec){
            .request = {.cpu_milli = 500 + 500 * (i % 4), .memory_bytes = 1000 + i / 4}};
    open_cluster(&r.w, "west");
    room(&r.w, "east", r.rooms[0]);
    room(&r.w, "west", r.rooms[1]);
    for (unsigned i = 0; i < 5; i++)
        configure_one(&r);
    for (unsigned turn = 0; turn < 120; turn++) {
        for (uint32_t n = below(&r, 20); n > 0; n--)
            disturb(&r);
        compared += assign_all(&r);
    }
    for (size_t i = 0; i < r.out_count; i++)
        sch_action_unref(r.out[i]);
    world_free(&r.w);
    return compared;
}

START_TEST(each_is_the_one_that_brute_force_finds)
{
    const char *one = getenv("TURNS_SEED"), *many = getenv("TURNS_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t last = one ? first : many ? strtoull(many, NULL, 10) : 60;
    uint32_t compared = 0;
    for (uint64_t seed = first; seed <= last; seed++)
        compared += play(seed);
    ck_assert_uint_gt(compared, 5 * (uint32_t)(last - first + 1));
}
END_TEST

/* ---- what comes free lets out as many as it holds ---- */

#define CLASSES 200u

static uint32_t stopped_of(struct world *w, const char *project, const char *name,
                           const struct sch_seat **ret)
{
    struct sch_queue_key key = queue(project, "d", name).key;
    const struct sch_share *share = sch_share_find(w->p, &key);
    uint32_t n = 0;
    ck_assert_ptr_nonnull(share->stops);
    const struct sch_link *seats = &share->stops->seats;
    for (const struct sch_link *link = seats->next; link != seats; link = link->next)
        ret[n++] = sy_container_of((struct sch_link *)(uintptr_t)link, struct sch_seat, link);
    return n;
}

START_TEST(an_end_under_a_full_limit_moves_one_of_those_that_wait)
{
    struct world w = open_world(0, 0);
    static struct sch_spec specs[CLASSES];
    const struct sch_seat *before[CLASSES], *after[CLASSES];
    struct sch_queue_config config = queue("p", "d", "q");
    config.actions_max = 10;
    configure(&w, config);
    struct sch_action *actions[CLASSES];
    for (uint32_t i = 0; i < CLASSES; i++) {
        specs[i] = (struct sch_spec){.request = {.cpu_milli = 1000, .memory_bytes = 1 + i}};
        actions[i] = submit(&w, "p", "q", &specs[i], 0);
    }
    room(&w, "east", 1u << 30);
    grant_all(&w, "east");
    ck_assert_uint_eq(stopped_of(&w, "p", "q", before), CLASSES - 10);
    outcome(&w, actions[3], SCH_OUTCOME_SUCCEEDED);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 1);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.action, actions[10]);
    ck_assert_uint_eq(stopped_of(&w, "p", "q", after), CLASSES - 11);
    /* None of the others was let go and stopped again: then it would be at the end. */
    for (uint32_t i = 0; i < CLASSES - 11; i++)
        ck_assert_ptr_eq(after[i], before[i + 1]);
    world_free(&w);
}
END_TEST

START_TEST(priority_decides_among_those_that_a_limit_stops)
{
    struct world w = open_world(0, 0);
    struct sch_spec other = {.request = {.cpu_milli = 500}};
    struct sch_queue_config config = queue("p", "d", "q");
    config.actions_max = 1;
    configure(&w, config);
    room(&w, "east", 0);
    struct sch_action *first = submit(&w, "p", "q", &w.task, 0);
    struct sch_action *low = submit(&w, "p", "q", &w.task, 0);
    struct sch_action *high = submit(&w, "p", "q", &other, 3);
    grant_all(&w, "east");
    room(&w, "east", 1u << 30);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.action, high);
    struct sch_action *urgent = submit(&w, "p", "q", &w.task, 5); /* it waits with the others */
    outcome(&w, high, SCH_OUTCOME_SUCCEEDED);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.action, urgent);
    outcome(&w, urgent, SCH_OUTCOME_SUCCEEDED);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.action, first);
    outcome(&w, first, SCH_OUTCOME_SUCCEEDED);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.action, low);
    world_free(&w);
}
END_TEST

/* One without a cluster takes nothing of what comes free; nor does one that is too large. */
START_TEST(who_cannot_use_what_comes_free_is_in_nobodys_way)
{
    struct world w = open_world(0, 0);
    struct sch_spec large = {.request = {.cpu_milli = 3000}}, lost = {.request = {.cpu_milli = 7}};
    struct sch_queue_config config = queue("p", "d", "q");
    config.cpu_milli_max = 3000;
    configure(&w, config);
    room(&w, "east", 1u << 30);
    struct sch_action *small[5];
    for (unsigned i = 0; i < SY_COUNT_OF(small); i++)
        small[i] = submit(&w, "p", "q", &w.task, 0);
    grant_all(&w, "east");
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 3);
    (void)submit(&w, "p", "q", &lost, 9); /* no cluster grants any of it */
    struct sch_action *big = submit(&w, "p", "q", &large, 5);
    grant(&w, "east", sch_action_class_id(big), 100);
    outcome(&w, small[0], SCH_OUTCOME_SUCCEEDED);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.action, small[3]);
    outcome(&w, small[1], SCH_OUTCOME_SUCCEEDED);
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.action, small[4]);
    outcome(&w, small[2], SCH_OUTCOME_SUCCEEDED);
    outcome(&w, small[3], SCH_OUTCOME_SUCCEEDED);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 0);
    outcome(&w, small[4], SCH_OUTCOME_SUCCEEDED); /* all three cores are free */
    ck_assert_ptr_eq(nth(&w, SCH_EFFECT_ASSIGN, 0)->u.assign.action, big);
    world_free(&w);
}
END_TEST

/* ---- many classes ---- */

/* A share that changes is told only to classes in which it has a rival. */
START_TEST(a_class_of_one_queue_is_not_touched_by_others)
{
    struct world w = open_world(0, 0);
    static struct sch_spec specs[CLASSES];
    for (uint32_t i = 0; i < CLASSES; i++) {
        specs[i] = (struct sch_spec){.request = {.cpu_milli = 1000, .memory_bytes = 1 + i}};
        (void)submit(&w, "p", NULL, &specs[i], 0);
    }
    (void)submit(&w, "other", NULL, &specs[7], 0);
    struct sch_queue_key key = {.project = "p"};
    const struct sch_share *project = sch_share_find(w.p, &key);
    uint32_t contested = 0;
    for (const struct sch_link *link = project->seats.next; link != &project->seats;
         link = link->next)
        contested +=
            sy_container_of((struct sch_link *)(uintptr_t)link, struct sch_seat, link)->contested;
    ck_assert_uint_eq(contested, 1);
    world_free(&w);
}
END_TEST

static size_t short_of_room(struct world *w, const char *cluster)
{
    const struct sch_link *list = &sch_cluster_find(w->p, cluster)->short_of_room;
    size_t n = 0;
    for (const struct sch_link *link = list->next; link != list; link = link->next)
        n++;
    return n;
}

/* Room for one is given to one, and the others are not asked: they stay where they stand. */
START_TEST(a_little_room_is_not_offered_to_all)
{
    struct world w = open_world(0, 0);
    static struct sch_spec specs[CLASSES];
    struct sch_spec tiny = {.request = {.cpu_milli = 100}};
    for (uint32_t i = 0; i < CLASSES; i++) {
        specs[i] = (struct sch_spec){.request = {.cpu_milli = 1000, .memory_bytes = 1 + i}};
        (void)submit(&w, "p", NULL, &specs[i], 0);
    }
    room(&w, "east", 0);
    grant_all(&w, "east");
    ck_assert_uint_eq(short_of_room(&w, "east"), CLASSES); /* each asked when it was granted */
    for (uint32_t i = 1; i <= 3; i++) {
        room(&w, "east", i * 1000 + 500);
        while (count(&w, SCH_EFFECT_ASSIGN) == 0 && sch_partition_next_ns(w.p) <= w.now)
            tick(&w); /* all look again, in slices */
        ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 1);
        ck_assert_uint_le(short_of_room(&w, "east"), 1);
        ck_assert_int_gt(sch_partition_next_ns(w.p), w.now);
        sch_partition_check(w.p);
    }
    struct sch_action *small = submit(&w, "p", NULL, &tiny, -5); /* it needs less than all others */
    grant_all(&w, "east");
    assert_state(small, "assigned");
    ck_assert_uint_eq(w.p->state_counts[SCH_ACTION_ASSIGNED], 4);
    world_free(&w);
}
END_TEST

/* It is not asked because there is no room; but a cluster that is told of it may have some. */
START_TEST(what_a_limit_lets_out_asks_for_room_though_there_is_none)
{
    struct world w = open_world(0, 0);
    struct sch_spec other = {.request = {.cpu_milli = 2000}};
    struct sch_queue_config config = queue("p", "d", "q");
    config.actions_max = 1;
    configure(&w, config);
    struct sch_action *first = submit(&w, "p", "q", &w.task, 0);
    struct sch_action *held = submit(&w, "p", "q", &other, 0);
    struct sch_action *waits = submit(&w, "p", NULL, &w.task, 0);
    room(&w, "east", 5000);
    grant_all(&w, "east");
    assert_state(first, "assigned");
    ck_assert(held->sm.state == SCH_ACTION_QUEUED && waits->sm.state == SCH_ACTION_ASSIGNED);
    room(&w, "east", 2000); /* it was promised by mistake */
    (void)submit(&w, "p", NULL, &w.task, 0);
    outcome(&w, first, SCH_OUTCOME_SUCCEEDED);
    w.now += SY_NS_PER_S;
    tick(&w);
    ck_assert_uint_eq(sch_action_impl(held)->lane->seat.class->root.ready, 1);
    room(&w, "east", 4000);
    ck_assert_uint_eq(w.p->state_counts[SCH_ACTION_ASSIGNED], 2);
    world_free(&w);
}
END_TEST

/* More classes wake at once than a step decides: nobody goes before all of them are decided. */
START_TEST(many_classes_wake_in_slices_and_in_their_order)
{
    enum { MANY = 2 * SCH_DECIDE_MAX + 100 };
    struct world w = open_world(0, 0);
    struct sch_spec *specs = sy_calloc(MANY, sizeof(*specs));
    room(&w, "east", 0);
    for (int32_t i = 0; i < MANY; i++) {
        specs[i] = (struct sch_spec){
            .request = {.cpu_milli = 1000, .memory_bytes = 1 + (uint64_t)i}};
        (void)submit(&w, "p", NULL, &specs[i], i); /* the last one is the most urgent */
    }
    grant_all(&w, "east");
    room(&w, "east", 5000);
    unsigned steps = 1;
    for (; count(&w, SCH_EFFECT_ASSIGN) == 0; steps++) {
        ck_assert(steps < MANY && sch_partition_next_ns(w.p) <= w.now);
        ck_assert_uint_le(w.p->looks, SCH_LOOKS_MAX);
        tick(&w);
    }
    ck_assert_uint_eq(steps, (MANY + SCH_LOOKS_MAX - 1) / SCH_LOOKS_MAX);
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 5);
    for (int32_t i = 0; i < 5; i++)
        ck_assert_int_eq(nth(&w, SCH_EFFECT_ASSIGN, (size_t)i)->u.assign.action->priority,
                         MANY - 1 - i);
    sch_partition_check(w.p);
    world_free(&w);
    free(specs);
}
END_TEST

/* A cluster that comes is told of so many in a step, each once, and grants as it is told. */
START_TEST(a_cluster_hears_of_many_classes_in_slices)
{
    enum { MANY = 2 * SCH_TELL_MAX + 1 };
    struct world w = open_world(0, 0);
    struct sch_spec *specs = sy_calloc(MANY, sizeof(*specs));
    unsigned told[MANY + 1] = {0}, steps = 0, all = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        specs[i] = (struct sch_spec){.request = {.cpu_milli = 1000, .memory_bytes = 1 + i}};
        (void)submit(&w, "p", NULL, &specs[i], 0);
    }
    up(&w, "west");
    for (; all < MANY; steps++, tick(&w)) {
        unsigned n = (unsigned)count(&w, SCH_EFFECT_DEMAND);
        ck_assert(steps < MANY && n <= SCH_TELL_MAX && w.p->looks <= SCH_LOOKS_MAX);
        for (unsigned i = 0; i < n; i++) {
            const struct sch_effect *effect = nth(&w, SCH_EFFECT_DEMAND, i);
            ck_assert_str_eq(effect->u.demand.cluster, "west");
            ck_assert_uint_eq(told[effect->u.demand.class_id]++, 0);
        }
        all += n;
        sch_partition_check(w.p);
        ck_assert(all == MANY || sch_partition_next_ns(w.p) <= w.now);
    }
    ck_assert_uint_eq(steps, (MANY + SCH_LOOKS_MAX - 1) / SCH_LOOKS_MAX);
    down(&w, "west"); /* in the middle of it nothing is told any more */
    up(&w, "west");
    down(&w, "west");
    ck_assert_uint_eq(count(&w, SCH_EFFECT_DEMAND), 0);
    sch_partition_check(w.p);
    world_free(&w);
    free(specs);
}
END_TEST

/* Two queues with the same classes take turns, in each class's order and over all. */
START_TEST(turns_over_many_classes_follow_shares)
{
    struct world w = open_world(0, 0);
    static struct sch_spec specs[CLASSES];
    uint32_t of_a = 0;
    for (uint32_t i = 0; i < CLASSES; i++) {
        specs[i] = (struct sch_spec){.request = {.cpu_milli = 1000, .memory_bytes = 1 + i}};
        (void)submit(&w, "a", NULL, &specs[i], 0);
    }
    for (uint32_t i = 0; i < CLASSES; i++)
        (void)submit(&w, "b", NULL, &specs[i], 0);
    room(&w, "east", 0);
    grant_all(&w, "east");
    room(&w, "east", 100 * 1000);
    for (uint32_t i = 0; i < 100; tick(&w)) { /* each start changes who is next in all of them */
        for (uint32_t k = 0; k < count(&w, SCH_EFFECT_ASSIGN); k++, i++) {
            const struct sch_action *a = nth(&w, SCH_EFFECT_ASSIGN, k)->u.assign.action;
            of_a += a->run->project[0] == 'a';
            ck_assert_uint_le(of_a > i / 2 ? of_a - i / 2 : i / 2 - of_a, 1);
        }
        ck_assert(i == 100 || sch_partition_next_ns(w.p) <= w.now);
    }
    ck_assert_uint_eq(count(&w, SCH_EFFECT_ASSIGN), 0);
    ck_assert_uint_eq(of_a, 50);
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {each_is_the_one_that_brute_force_finds,
                                  many_classes_wake_in_slices_and_in_their_order,
                                  a_cluster_hears_of_many_classes_in_slices,
                                  an_end_under_a_full_limit_moves_one_of_those_that_wait,
                                  priority_decides_among_those_that_a_limit_stops,
                                  who_cannot_use_what_comes_free_is_in_nobodys_way,
                                  a_class_of_one_queue_is_not_touched_by_others,
                                  a_little_room_is_not_offered_to_all,
                                  what_a_limit_lets_out_asks_for_room_though_there_is_none,
                                  turns_over_many_classes_follow_shares,
                                  NULL};
    return sy_test_run("sch_turns", tests);
}
