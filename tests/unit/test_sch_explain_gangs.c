/* links: sch */
/*
 * A gang is explained as a whole: what its cluster could hold against a placer that tries each
 * node, and the stated changes against the core itself: with all of them it starts, without any one
 * of them it does not.
 */
#include "base/rng.h"
#include "scheduler/explain.h"
#include "tests/unit/test_sch_world.h"

#define MEMBERS_MAX 6u

static const char *const racks[] = {"", "rack=a", "rack=b"};

/* A queue with limits, a level above it with limits, and what is out there already. */
struct situation {
    struct sch_shape shapes[3];
    size_t shape_count;
    struct sch_gang_shape gang;
    struct sch_spec spec, other;
    struct sch_queue_config configs[2]; /* the queue; its level */
    uint32_t others;
};

static struct situation draw(uint64_t seed)
{
    struct situation s = {.shape_count = 0};
    struct sy_rng rng;
    sy_rng_init(&rng, seed);
    s.shape_count = 1 + sy_rng_below(&rng, 3);
    for (size_t i = 0; i < s.shape_count; i++) {
        s.shapes[i].capacity.cpu_milli = 1000 * (1 + (uint32_t)sy_rng_below(&rng, 6));
        s.shapes[i].nodes = 1 + (uint32_t)sy_rng_below(&rng, 3);
        const char *rack = racks[sy_rng_below(&rng, 3)];
        memcpy(s.shapes[i].traits.labels, rack, strlen(rack));
    }
    uint32_t topology = (uint32_t)sy_rng_below(&rng, 3);
    uint32_t size = 2 + (uint32_t)sy_rng_below(&rng, MEMBERS_MAX - 1);
    ck_assert_int_eq(sch_gang_shape_init(&s.gang, size, topology, topology ? "rack" : "", 0, NULL),
                     0);
    s.spec.request.cpu_milli = 1000 * (1 + (uint32_t)sy_rng_below(&rng, 3));
    s.other.request.cpu_milli = 500;
    s.others = (uint32_t)sy_rng_below(&rng, 4);
    for (unsigned i = 0; i < 2; i++) {
        struct sch_queue_key key = {.project = "p", .domain = "d"};
        if (i == 0)
            key.name[0] = 'q';
        s.configs[i] = sch_queue_config_default(&key);
        if (sy_rng_chance(&rng, 1, 2))
            s.configs[i].actions_max = 4 + (uint32_t)sy_rng_below(&rng, 6);
        if (sy_rng_chance(&rng, 1, 2))
            s.configs[i].cpu_milli_max = 2000 + 1000 * sy_rng_below(&rng, 14);
        s.configs[i].paused = sy_rng_chance(&rng, 1, 6);
    }
    return s;
}

/* How many members the nodes hold, those of the best rack when that is required; node by node. */
static uint32_t placed_by_hand(const struct situation *s)
{
    uint32_t best = 0;
    for (unsigned rack = 0; rack < 3; rack++) {
        uint32_t sum = 0;
        for (size_t i = 0; i < s->shape_count; i++) {
            bool there = s->gang.topology != SCH_TOPOLOGY_REQUIRE ||
                         (rack > 0 && strcmp(s->shapes[i].traits.labels, racks[rack]) == 0);
            for (uint32_t node = 0; node < s->shapes[i].nodes && there; node++) {
                uint32_t left = s->shapes[i].capacity.cpu_milli;
                for (; left >= s->spec.request.cpu_milli; left -= s->spec.request.cpu_milli)
                    sum++;
            }
        }
        best = sum > best ? sum : best;
    }
    return best < s->gang.size ? best : s->gang.size;
}

static void configure(struct world *w, const struct sch_queue_config *config)
{
    step(w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = config});
}

/* The others run, then the queue has its limits. */
static struct world open_world(struct situation *s)
{
    struct world w = world_new();
    step(&w,
         (struct sch_event){
             .type = SCH_EVENT_CLUSTER_UP,
             .u.cluster = {.name = "east", .shapes = s->shapes, .shape_count = s->shape_count}});
    complete(&w, "east");
    struct sch_queue_config open = sch_queue_config_default(&s->configs[0].key);
    configure(&w, &open);
    for (uint32_t i = 0; i < s->others; i++) {
        char name[] = {'o', (char)('0' + i), '\0'};
        step(
            &w,
            (struct sch_event){
                .type = SCH_EVENT_CREATE_RUN,
                .u.create = {
                    .project = "p", .domain = "d", .name = name, .spec = &s->other, .queue = "q"}});
        struct sch_run *run = sch_partition_find_run(w.p, "p", "d", name);
        grant(&w, "east", sch_action_class_id(run->root), i + 1);
        assert_state(run->root, "assigned");
    }
    configure(&w, &s->configs[0]);
    configure(&w, &s->configs[1]);
    return w;
}

/* NULL: it was refused. */
static struct sch_action *enqueue(struct world *w, struct situation *s, uint32_t rank)
{
    static const char *const names[MEMBERS_MAX] = {"m0", "m1", "m2", "m3", "m4", "m5"};
    struct sch_gang_member members[MEMBERS_MAX];
    for (uint32_t i = 0; i < s->gang.size; i++)
        members[i] = (struct sch_gang_member){.name = names[i], .spec = &s->spec};
    struct sch_action *root = create(w, "gang", &w->group);
    step(w, (struct sch_event){
                .type = SCH_EVENT_ENQUEUE_GANG,
                .u.gang = {.parent = root, .shape = &s->gang, .members = members, .queue = "q"}});
    return sch_partition_find_action(w->p, root->run, names[rank]);
}

static void make_change(struct world *w, struct situation *s, const struct sch_change *change)
{
    struct sch_queue_config *config = &s->configs[change->queue.name[0] ? 0 : 1];
    if (change->type == SCH_CHANGE_RESUME)
        config->paused = false;
    else if (change->limit == SCH_LIMIT_ACTIONS)
        config->actions_max = (uint32_t)change->least;
    else
        config->cpu_milli_max = change->least;
    configure(w, config);
}

/* Whether it goes to the cluster with all of the changes but one. */
static bool goes(struct situation s, const struct sch_explanation *e, size_t without)
{
    struct world w = open_world(&s);
    struct sch_action *a = enqueue(&w, &s, 0);
    bool granted = true;
    for (size_t i = 0; i < e->change_count; i++) {
        if (e->changes[i].type == SCH_CHANGE_ROOM)
            granted = i != without;
        else if (i != without)
            make_change(&w, &s, &e->changes[i]);
    }
    if (granted)
        step(&w, (struct sch_event){.type = SCH_EVENT_GRANT,
                                    .u.grant = {"east", sch_action_class_id(a), 1, 1}});
    bool out = a->sm.state == SCH_ACTION_ASSIGNED;
    world_free(&w);
    return out;
}

static void check_cluster(const struct situation *s, const struct sch_explanation *e)
{
    uint32_t holds = placed_by_hand(s);
    ck_assert_uint_eq(e->gang.size, s->gang.size);
    ck_assert_uint_eq(e->cluster_count, 1);
    ck_assert_uint_eq(e->clusters[0].holds, holds);
    ck_assert(e->clusters[0].eligible == (holds == s->gang.size));
}

START_TEST(each_reason_is_true_and_none_too_many)
{
    const char *count = getenv("EXPLAIN_SEEDS");
    uint64_t seeds = count ? strtoull(count, NULL, 10) : 400;
    unsigned refused = 0, limited = 0, changes = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct situation s = draw(seed);
        struct world w = open_world(&s);
        struct sch_submit submit = {.project = "p",
                                    .domain = "d",
                                    .queue = "q",
                                    .request = &s.spec.request,
                                    .gang = &s.gang};
        struct sch_explanation *before = sch_explain_submit(w.p, &submit);
        struct sch_action *a = enqueue(&w, &s, (uint32_t)(seed % s.gang.size));
        check_cluster(&s, before);
        ck_assert(before->refused == (a == NULL)); /* a submit does what was said */
        ck_assert(before->refused == (placed_by_hand(&s) < s.gang.size));
        if (!a) {
            ck_assert_int_eq(before->changes[before->change_count - 1].type, SCH_CHANGE_NODE);
            refused++;
            sch_explanation_free(before);
            world_free(&w);
            continue;
        }
        struct sch_explanation *e = sch_explain(w.p, a);
        check_cluster(&s, e);
        ck_assert_uint_eq(before->limit_count, e->limit_count);
        ck_assert(goes(s, e, SIZE_MAX));
        for (size_t i = 0; i < e->change_count; i++)
            ck_assert(!goes(s, e, i));
        limited += e->limit_count > 0;
        changes += (unsigned)e->change_count;
        sch_explanation_free(e);
        sch_explanation_free(before);
        world_free(&w);
    }
    ck_assert(seeds < 400 || (refused > 50 && limited > 50 && changes > 200));
}
END_TEST

/* Slots of its run count for all members, and a busy cluster holds it. */
START_TEST(slots_and_a_busy_cluster)
{
    struct situation s = {.shape_count = 1, .spec = {.request = {.cpu_milli = 1000}}};
    s.shapes[0] = (struct sch_shape){.capacity = {.cpu_milli = 8000}, .nodes = 1};
    s.gang.size = 3;
    s.configs[0] = sch_queue_config_default(
        &(struct sch_queue_key){.project = "p", .domain = "d", .name = "q"});
    s.configs[1] = sch_queue_config_default(&(struct sch_queue_key){.project = "p", .domain = "d"});
    struct world w = open_world(&s);
    struct sch_action *a = enqueue(&w, &s, 2);
    step(&w, (struct sch_event){.type = SCH_EVENT_ROOM, .u.room = {"east", 2500, 0, 0}});
    struct sch_explanation *e = sch_explain(w.p, a);
    ck_assert_uint_eq(e->clusters[0].fits, 2);
    ck_assert_uint_eq(e->clusters[0].missing.cpu_milli, 500);
    ck_assert(!e->held && !e->starts_now);
    sch_explanation_free(e);
    step(&w, (struct sch_event){.type = SCH_EVENT_GRANT,
                                .u.grant = {"east", sch_action_class_id(a), 1, 0}});
    run_until(&w, w.now + SCH_GANG_PATIENCE_NS);
    assert_state(a, "assigned");
    e = sch_explain(w.p, a);
    ck_assert(e->held && !e->waits && e->gang.size == 3);
    ck_assert_str_eq(e->cluster, "east");
    sch_explanation_free(e);
    started(&w, sch_partition_find_action(w.p, a->run, "m0"));
    e = sch_explain(w.p, a);
    ck_assert(!e->held);
    sch_explanation_free(e);
    world_free(&w);

    w = open_world(&s);
    step(&w, (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                                .u.create = {.project = "p",
                                             .domain = "d",
                                             .name = "gang",
                                             .spec = &w.group,
                                             .concurrency_max = 4}});
    struct sch_action *root = sch_partition_find_run(w.p, "p", "d", "gang")->root;
    (void)child(&w, root, "x", &s.spec);
    (void)child(&w, root, "y", &s.spec);
    const struct sch_gang_member members[] = {{.name = "m0", .spec = &s.spec},
                                              {.name = "m1", .spec = &s.spec},
                                              {.name = "m2", .spec = &s.spec}};
    step(&w, (struct sch_event){.type = SCH_EVENT_ENQUEUE_GANG,
                                .u.gang = {.parent = root, .shape = &s.gang, .members = members}});
    a = sch_partition_find_action(w.p, root->run, "m1");
    assert_state(a, "held");
    e = sch_explain(w.p, a);
    ck_assert_uint_gt(e->change_count, 0);
    ck_assert_int_eq(e->changes[0].type, SCH_CHANGE_SLOT);
    ck_assert_uint_eq(e->changes[0].least, 5);
    sch_explanation_free(e);
    world_free(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {each_reason_is_true_and_none_too_many, slots_and_a_busy_cluster,
                                  NULL};
    return sy_test_run("sch_explain_gangs", tests);
}
