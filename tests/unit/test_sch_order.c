/* links: sch */
/* Room that several partitions want is given to who is first, one by one, over all their classes:
 * as a search over all of them each time says, whatever a step may look at, and whatever comes and
 * goes between two steps. One node, of 64 cores. */
#include "base/mem.h"
#include "base/rng.h"
#include "scheduler/operator_impl.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

enum { CORES = 64, PARTITIONS = 4, PROJECTS = 3, QUEUES = 4, CLASSES = 60, SEEDS = 200 };

struct class
{
    uint32_t partition, id, cpu_milli, waiting;
    int32_t priority;
    int64_t age_ns;
    struct sch_share_standing standing;
    uint64_t granted, assigned; /* as told; as it came */
    bool open;                  /* its partition has a stream */
    unsigned answers;
    /* of the model */
    uint64_t given;
    bool done;
};

struct world {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    uint64_t action, came_milli, room_milli;
    uint32_t most; /* looks in one step */
    struct class classes[CLASSES];
};

static void nothing(void *data)
{
    (void)data;
}

static void hear(struct class *class, uint64_t granted)
{
    class->granted = granted;
    class->answers++;
}

static void step(struct world *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    sch_operator_step(w->op, &event, &w->fx);
    sch_operator_check(w->op);
    w->most = w->op->order.looks > w->most ? w->op->order.looks : w->most;
    for (size_t i = 0; i < w->fx.count; i++) {
        const struct sch_op_effect *effect = &w->fx.items[i];
        if (effect->type == SCH_OP_SEND_ROOM)
            w->room_milli = effect->u.room.cpu_milli;
        if (effect->type == SCH_OP_SEND_GRANT)
            hear(&w->classes[effect->u.grant.class_id - 1], effect->u.grant.granted);
    }
}

static void tick(struct world *w)
{
    step(w, (struct sch_op_event){.type = SCH_OP_TICK});
}

static void partition_up(struct world *w, uint32_t partition, uint32_t epoch)
{
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {partition, epoch}});
}

static void demand(struct world *w, struct class *class)
{
    struct sch_op_event event = {.type = SCH_OP_DEMAND};
    event.u.demand.partition = class->partition;
    event.u.demand.class_id = class->id;
    event.u.demand.request.cpu_milli = class->cpu_milli;
    event.u.demand.waiting = class->waiting;
    event.u.demand.oldest_age_ns = class->age_ns;
    event.u.demand.top_priority = class->priority;
    event.u.demand.standing = &class->standing;
    class->open = true;
    step(w, event);
}

static void stand(struct class *class, uint32_t project, uint32_t queue)
{
    class->standing.path = (struct sch_share_path){2, {1 + project, 10 + QUEUES * project + queue}};
    class->standing.weights[0] = 100 * (1 + project);
    class->standing.weights[1] = 100 * (1 + queue);
}

static struct world *world_new(struct sy_rng *rng, uint32_t looks_max)
{
    struct world *w = sy_new(struct world);
    struct sch_operator_options options = {
        .hold_ns = SY_NS_PER_S, .node_lease_ns = SY_NS_PER_S, .looks_max = looks_max};
    w->now = 100 * SY_NS_PER_S;
    w->op = sch_operator_new(&options, w->now);
    for (uint32_t p = 1; p <= PARTITIONS; p++)
        partition_up(w, p, 1);
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct class *class = &w->classes[i];
        *class = (struct class){.partition = 1 + i % PARTITIONS,
                                .id = 1 + i,
                                .cpu_milli = 1000 * (1 + (uint32_t)sy_rng_below(rng, 3)),
                                .waiting = 100,
                                .priority = (int32_t)sy_rng_below(rng, 3),
                                .age_ns = (int64_t)(1 + i) * SY_NS_PER_S};
        stand(class, (uint32_t)sy_rng_below(rng, PROJECTS), (uint32_t)sy_rng_below(rng, QUEUES));
        demand(w, class);
    }
    w->now += SY_NS_PER_S;
    return w;
}

static void world_free(struct world *w)
{
    sch_operator_free(w->op);
    sch_op_effects_deinit(&w->fx);
    free(w);
}

/* Until nothing is to be done at once. */
static void settle(struct world *w)
{
    for (unsigned i = 0; sch_operator_next_ns(w->op) <= w->now; i++) {
        ck_assert_uint_lt(i, 10 * CLASSES + 3 * CORES);
        tick(w);
    }
    ck_assert_int_eq(w->op->order.phase, SCH_OP_ORDER_NONE);
}

static void node_up(struct world *w)
{
    struct sch_op_event event = {.type = SCH_OP_NODE_UP};
    event.u.node.name = "n";
    event.u.node.capacity.cpu_milli = 1000 * CORES;
    step(w, event);
    settle(w);
    w->now += 20 * SY_NS_PER_MS; /* what follows at once is gathered */
    event.type = SCH_OP_NODE_INVENTORY_COMPLETE;
    step(w, event);
}

/* ---- the model ---- */

static bool below(const struct class *class, const uint32_t *tags, uint32_t depth)
{
    return memcmp(class->standing.path.tags, tags, depth * sizeof(*tags)) == 0;
}

/* What those below a level have, over its weight, and the most urgent that wants more. */
static int64_t key_of(const struct world *w, const uint32_t *tags, uint32_t depth)
{
    struct sch_use use = {0}, capacity = {.cpu_milli = 1000 * CORES};
    int32_t priority = INT32_MIN;
    uint32_t weight = 0;
    for (uint32_t i = 0; i < CLASSES; i++) {
        const struct class *class = &w->classes[i];
        if (!below(class, tags, depth))
            continue;
        use.actions += class->given;
        use.cpu_milli += class->given * class->cpu_milli;
        weight = class->standing.weights[depth - 1];
        if (!class->done && class->priority > priority)
            priority = class->priority;
    }
    return sch_turn_key(priority, sch_share_bits(sch_dominant_share(&use, &capacity), weight));
}

static bool comes_before(const struct world *w, const struct class *a, const struct class *b)
{
    const uint32_t *left = a->standing.path.tags, *right = b->standing.path.tags;
    for (uint32_t depth = 1; depth <= 2; depth++) {
        if (left[depth - 1] == right[depth - 1])
            continue;
        int64_t here = key_of(w, left, depth), there = key_of(w, right, depth);
        return here != there ? here < there : left[depth - 1] < right[depth - 1];
    }
    return a->priority != b->priority ? a->priority > b->priority : a->age_ns > b->age_ns;
}

static void expect(struct world *w)
{
    uint64_t left = 1000 * CORES;
    for (;;) {
        struct class *first = NULL;
        for (uint32_t i = 0; i < CLASSES; i++) {
            struct class *class = &w->classes[i];
            class->done = class->cpu_milli > left || class->given == class->waiting;
        }
        for (uint32_t i = 0; i < CLASSES; i++) {
            struct class *class = &w->classes[i];
            if (!class->done && (!first || comes_before(w, class, first)))
                first = class;
        }
        if (!first)
            break;
        first->given++;
        left -= first->cpu_milli;
    }
}

START_TEST(room_is_given_one_by_one_to_who_is_first_in_slices_of_any_size)
{
    uint64_t given = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sy_rng rng;
        sy_rng_init(&rng, seed);
        struct world *w = world_new(&rng, (uint32_t)(seed % 4 == 0 ? 0 : seed % 9));
        node_up(w);
        settle(w);
        expect(w);
        for (uint32_t i = 0; i < CLASSES; i++) {
            const struct class *class = &w->classes[i];
            ck_assert_msg(class->granted == class->given,
                          "seed %llu, class %u: %llu are granted, not %llu",
                          (unsigned long long)seed, class->id, (unsigned long long)class->granted,
                          (unsigned long long)class->given);
            given += class->given;
        }
        world_free(w);
    }
    ck_assert_uint_gt(given, SEEDS * CORES / 3);
}
END_TEST

/* ---- between two slices ---- */

static void assign(struct world *w, struct class *class)
{
    struct sch_op_event event = {.type = SCH_OP_ASSIGN};
    event.u.assign.key = (struct sch_attempt_key){++w->action, class->partition, 1, 1};
    event.u.assign.class_id = class->id;
    event.u.assign.place = &class->standing.path;
    event.u.assign.blob = (struct sch_blob){.data = w, .release = nothing};
    class->assigned++;
    w->came_milli += class->cpu_milli;
    step(w, event);
}

static struct class *granted_one(struct world *w)
{
    for (uint32_t i = 0; i < CLASSES; i++) {
        if (w->classes[i].assigned < w->classes[i].granted)
            return &w->classes[i];
    }
    ck_abort_msg("nothing is granted");
    return NULL;
}

/* All room is granted; what of it is taken while a decision is under way, is not granted again. */
START_TEST(what_comes_between_two_slices_was_counted)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 3);
    struct world *w = world_new(&rng, 1);
    node_up(w);
    settle(w);
    uint64_t before[CLASSES], came = 0;
    for (uint32_t i = 0; i < CLASSES; i++)
        before[i] = w->classes[i].granted;
    w->now += 2 * SY_NS_PER_MS;
    demand(w, &w->classes[0]);
    for (; w->op->order.phase != SCH_OP_ORDER_NONE; tick(w)) {
        if (came < 5 && w->op->order.phase != SCH_OP_ORDER_COUNT) {
            assign(w, granted_one(w));
            came++;
        }
    }
    ck_assert_uint_eq(came, 5);
    for (uint32_t i = 0; i < CLASSES; i++)
        ck_assert_uint_eq(w->classes[i].granted, before[i]);
    world_free(w);
}
END_TEST

static void partition_closes(struct world *w, uint32_t partition)
{
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN, .u.partition = {partition, 0}});
    for (uint32_t i = 0; i < CLASSES; i++)
        w->classes[i].open &= w->classes[i].partition != partition;
}

static void disturb(struct world *w, struct sy_rng *rng)
{
    struct class *class = &w->classes[sy_rng_below(rng, CLASSES)];
    switch (sy_rng_below(rng, 12)) {
    case 0:
        partition_closes(w, 1); /* and does not come back */
        break;
    case 1:
    case 2:
    case 3:
        if (!class->open)
            break;
        stand(class, (uint32_t)sy_rng_below(rng, PROJECTS), (uint32_t)sy_rng_below(rng, QUEUES));
        class->priority = (int32_t)sy_rng_below(rng, 3);
        class->waiting = (uint32_t)sy_rng_below(rng, 3) * 50;
        demand(w, class);
        break;
    default:
        if (class->open && class->assigned < class->granted)
            assign(w, class);
    }
}

/* Nothing that was granted and came in between is granted again: what has come, and what may, of
 * those whose stream is open, is never more than the node holds by more than one decision could
 * not know of. In the end all room is somebody's. */
START_TEST(what_comes_and_goes_between_slices_is_counted_once)
{
    uint64_t slices = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sy_rng rng;
        sy_rng_init(&rng, seed);
        struct world *w = world_new(&rng, 1 + (uint32_t)(seed % 5));
        node_up(w);
        for (unsigned i = 0; i < 300; i++) {
            slices += w->op->order.phase != SCH_OP_ORDER_NONE;
            disturb(w, &rng);
            if (sch_operator_next_ns(w->op) <= w->now)
                tick(w);
            if (i % 40 == 39)
                w->now += SY_NS_PER_MS;
        }
        for (uint32_t i = 0; i < CLASSES; i++) { /* all that may come does */
            struct class *class = &w->classes[i];
            for (class->waiting = 100; class->open && class->assigned < class->granted;)
                assign(w, class);
            if (class->open)
                demand(w, class);
        }
        w->now += SY_NS_PER_S;
        settle(w);
        for (uint32_t i = 0; i < CLASSES; i++) {
            struct class *class = &w->classes[i];
            while (class->open && class->assigned < class->granted)
                assign(w, class);
        }
        ck_assert_uint_gt(w->came_milli, 1000 * (CORES - 3));
        world_free(w);
    }
    ck_assert_uint_gt(slices, 20 * SEEDS);
}
END_TEST

/* Also that there is nothing; else its shard would not know how long to wait. */
START_TEST(who_asks_for_the_first_time_is_answered_once)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 1);
    struct world *w = world_new(&rng, 7);
    for (unsigned round = 0; round < 3; round++) {
        settle(w);
        for (uint32_t i = 0; i < CLASSES; i++) {
            ck_assert_uint_eq(w->classes[i].answers, 1);
            ck_assert_uint_eq(w->classes[i].granted, 0);
            w->classes[i].waiting++;
            demand(w, &w->classes[i]);
        }
        w->now += SY_NS_PER_S;
    }
    world_free(w);
}
END_TEST

/* The node is empty, but all of it is granted: who gets nothing is told so, and not that there is
 * no room. */
START_TEST(a_survey_tells_room_that_others_get_from_none)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 1);
    struct world *w = world_new(&rng, 0);
    node_up(w);
    settle(w);
    unsigned withheld = 0;
    for (uint32_t i = 0; i < CLASSES; i++) {
        const struct class *class = &w->classes[i];
        struct sch_resources request = {.cpu_milli = class->cpu_milli};
        struct sch_op_survey survey = {
            .partition = class->partition, .class_id = class->id, .request = &request};
        struct sch_op_survey_answer said;
        sch_operator_survey(w->op, &survey, &said);
        ck_assert(said.room && said.withheld == (class->granted == 0));
        withheld += said.withheld;
        sch_op_survey_answer_deinit(&said);
        request.cpu_milli = 1000 * CORES + 1;
        sch_operator_survey(w->op, &survey, &said);
        ck_assert(!said.room && !said.withheld);
        sch_op_survey_answer_deinit(&said);
    }
    ck_assert(withheld > 0 && withheld < CLASSES);
    world_free(w);
}
END_TEST

/* ---- how much a step looks at ---- */

START_TEST(no_step_looks_at_all_who_want_room)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 1);
    struct world *w = world_new(&rng, 50);
    w->most = 0;
    node_up(w);
    ck_assert_int_ne(w->op->order.phase, SCH_OP_ORDER_NONE);
    settle(w);
    /* Three kinds, which share the classes; one is looked at as a whole. */
    ck_assert_uint_le(w->most, 50 + CLASSES / 2);
    ck_assert_uint_gt(w->most, 49);
    world_free(w);
}
END_TEST

#define WHOLE (1u << 20) /* all in one step */

/* One partition, whose classes are all of different kinds: each is granted what it alone could
 * have. */
static void grant_alone(uint32_t looks_max, uint64_t ret_granted[CLASSES], uint64_t *ret_milli)
{
    struct world *w = sy_new(struct world);
    struct sch_operator_options options = {
        .hold_ns = SY_NS_PER_S, .node_lease_ns = SY_NS_PER_S, .looks_max = looks_max};
    w->now = 100 * SY_NS_PER_S;
    w->op = sch_operator_new(&options, w->now);
    partition_up(w, 1, 1);
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct class *class = &w->classes[i];
        *class = (struct class){.partition = 1, .id = 1 + i, .cpu_milli = 500 + i, .waiting = i};
        stand(class, i % PROJECTS, i % QUEUES);
        demand(w, class);
    }
    w->now += SY_NS_PER_S;
    w->most = 0;
    node_up(w);
    ck_assert(w->op->granting == (looks_max < WHOLE));
    settle(w);
    ck_assert(!w->op->granting);
    if (looks_max < WHOLE) /* and each is alone of its kind */
        ck_assert_uint_lt(w->most, looks_max + SCH_OP_KIND_LOOKS + 1);
    for (uint32_t i = 0; i < CLASSES; i++)
        ret_granted[i] = w->classes[i].granted;
    *ret_milli = w->room_milli;
    world_free(w);
}

START_TEST(what_one_partition_wants_is_granted_in_slices_too)
{
    uint64_t whole[CLASSES], sliced[CLASSES], whole_milli, sliced_milli;
    grant_alone(WHOLE, whole, &whole_milli);
    ck_assert_uint_eq(whole_milli, 1000 * CORES);
    for (uint32_t looks_max = 1; looks_max < 100; looks_max += 7) {
        grant_alone(looks_max, sliced, &sliced_milli);
        ck_assert_uint_eq(whole_milli, sliced_milli);
        for (uint32_t i = 0; i < CLASSES; i++)
            ck_assert(sliced[i] == whole[i] && whole[i] == 1000 * CORES / (500 + i));
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {room_is_given_one_by_one_to_who_is_first_in_slices_of_any_size,
                                  what_comes_between_two_slices_was_counted,
                                  what_comes_and_goes_between_slices_is_counted_once,
                                  who_asks_for_the_first_time_is_answered_once,
                                  a_survey_tells_room_that_others_get_from_none,
                                  what_one_partition_wants_is_granted_in_slices_too,
                                  no_step_looks_at_all_who_want_room,
                                  NULL};
    return sy_test_run("sch_order", tests);
}
