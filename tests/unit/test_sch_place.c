/* links: sch */
/* Which node a request goes to: GPUs, shares, slices, labels, warm workers. */
#include "base/mem.h"
#include "base/rng.h"
#include "scheduler/operator.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    uint64_t action;
    uint32_t class_id;
    char placed[16]; /* "" = nowhere */
};

static void step(struct world *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    w->placed[0] = '\0';
    sch_operator_step(w->op, &event, &w->fx);
    for (size_t i = 0; i < w->fx.count; i++) {
        if (w->fx.items[i].type == SCH_OP_SEND_ASSIGN)
            snprintf(w->placed, sizeof(w->placed), "%s", w->fx.items[i].u.assign.node);
    }
    sch_operator_check(w->op);
}

static struct world *world_new(void)
{
    struct world *w = sy_new(struct world);
    struct sch_operator_options options = {
        .hold_ns = SY_NS_PER_S, .node_lease_ns = 15 * SY_NS_PER_S, .join_grace_ns = 0};
    w->now = SY_NS_PER_S;
    w->op = sch_operator_new(&options, w->now);
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP,
                                  .u.partition = {.partition = 1, .epoch = 1}});
    return w;
}

static void world_free(struct world *w)
{
    sch_operator_free(w->op);
    sch_op_effects_deinit(&w->fx);
    free(w);
}

static void node(struct world *w, const char *name, struct sch_resources capacity,
                 const struct sch_traits *traits, const struct sch_environment *environment)
{
    struct sch_op_event event = {.type = SCH_OP_NODE_UP};
    event.u.node.name = name;
    event.u.node.capacity = capacity;
    event.u.node.traits = traits;
    event.u.node.environments = environment;
    event.u.node.environment_count = environment != NULL;
    step(w, event);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = name});
}

/* Returns the attempt; w->placed says where it went. */
static struct sch_attempt_key place(struct world *w, struct sch_resources request)
{
    struct sch_op_event demand = {.type = SCH_OP_DEMAND};
    struct sch_attempt_key key = {.action = ++w->action, .partition = 1, .number = 1, .epoch = 1};
    demand.u.demand.partition = 1;
    demand.u.demand.class_id = ++w->class_id;
    demand.u.demand.request = request;
    demand.u.demand.waiting = 1;
    step(w, demand);
    step(w, (struct sch_op_event){.type = SCH_OP_ASSIGN,
                                  .u.assign = {.key = key, .class_id = w->class_id}});
    return key;
}

static void end(struct world *w, struct sch_attempt_key key)
{
    struct sch_op_event event = {.type = SCH_OP_OUTCOME};
    event.u.report.node = sch_operator_node_of(w->op, &key);
    event.u.report.key = key;
    step(w, event);
    step(w, (struct sch_op_event){.type = SCH_OP_ACK, .u.key = key});
}

static const struct sch_resources big_gpu = {.cpu_milli = 64000, .gpus = 8, .gpu_model = "H100"};
static const struct sch_resources cpu_only = {.cpu_milli = 2000};

START_TEST(work_without_gpus_leaves_their_nodes_alone)
{
    struct world *w = world_new();
    node(w, "gpu", big_gpu, NULL, NULL);
    node(w, "cpu", cpu_only, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        place(w, (struct sch_resources){.cpu_milli = 1000});
        ck_assert_str_eq(w->placed, "cpu");
    }
    place(w, (struct sch_resources){.cpu_milli = 1000});
    ck_assert_str_eq(w->placed, "gpu"); /* but is not kept waiting for their sake */
    world_free(w);
}
END_TEST

START_TEST(whole_gpu_nodes_stay_free)
{
    struct world *w = world_new();
    node(w, "a", big_gpu, NULL, NULL);
    node(w, "b", big_gpu, NULL, NULL);
    struct sch_attempt_key two = place(w, (struct sch_resources){.gpus = 2});
    ck_assert_str_eq(w->placed, "a");
    place(w, (struct sch_resources){.gpus = 4});
    ck_assert_str_eq(w->placed, "a");
    struct sch_attempt_key four = place(w, (struct sch_resources){.gpus = 4});
    ck_assert_str_eq(w->placed, "b");
    place(w, (struct sch_resources){.gpus = 1});
    ck_assert_str_eq(w->placed, "a"); /* two are left there, four on b */
    end(w, four);
    end(w, two);
    place(w, (struct sch_resources){.gpus = 8});
    ck_assert_str_eq(w->placed, "b");
    world_free(w);
}
END_TEST

START_TEST(shares_pack_on_one_gpu)
{
    struct world *w = world_new();
    struct sch_traits shared = {.gpus_shared = 1};
    node(w, "whole", big_gpu, NULL, NULL);
    node(w, "a", (struct sch_resources){.cpu_milli = 8000, .gpus = 2}, &shared, NULL);
    node(w, "b", (struct sch_resources){.cpu_milli = 8000, .gpus = 1}, &shared, NULL);
    place(w, (struct sch_resources){.gpus = 1, .cpu_milli = 100});
    ck_assert_str_eq(w->placed, "b"); /* fewest free GPUs */
    place(w, (struct sch_resources){.gpu_milli = 300});
    ck_assert_str_eq(w->placed, "a");
    struct sch_attempt_key key = place(w, (struct sch_resources){.gpu_milli = 600});
    ck_assert_str_eq(w->placed, "a");
    place(w, (struct sch_resources){.gpus = 1, .gpu_model = ""});
    ck_assert_str_eq(w->placed, "a"); /* the other one is whole still */
    place(w, (struct sch_resources){.gpu_milli = 100});
    ck_assert_str_eq(w->placed, "a");
    end(w, key);
    place(w, (struct sch_resources){.gpu_milli = 600});
    ck_assert_str_eq(w->placed, "a");
    world_free(w);
}
END_TEST

START_TEST(slices_are_of_one_profile)
{
    struct world *w = world_new();
    struct sch_traits mig = {.slice_count = 2,
                             .slices = {{.name = "1g.5gb", .count = 2}, {"3g.20gb", 1}}};
    struct sch_resources a100 = {.cpu_milli = 8000, .gpu_model = "A100"};
    node(w, "m", a100, &mig, NULL);
    struct sch_resources small = {.gpus = 1, .gpu_model = "A100", .gpu_partition = "1g.5gb"};
    struct sch_resources large = {.gpus = 1, .gpu_model = "A100", .gpu_partition = "3g.20gb"};
    place(w, small);
    ck_assert_str_eq(w->placed, "m");
    place(w, small);
    place(w, large);
    ck_assert_str_eq(w->placed, "m");
    struct sch_resources whole = {.gpus = 1, .gpu_model = "A100"};
    place(w, whole);
    ck_assert_str_eq(w->placed, ""); /* never on slices */
    world_free(w);
}
END_TEST

START_TEST(labels_and_taints_choose)
{
    struct world *w = world_new();
    struct sch_traits ssd = {.labels = "disk=ssd"}, ml = {.taints = "dedicated=ml"};
    node(w, "plain", cpu_only, NULL, NULL);
    node(w, "ssd", cpu_only, &ssd, NULL);
    node(w, "ml", cpu_only, &ml, NULL);
    place(w, (struct sch_resources){.cpu_milli = 1000, .labels = "disk=ssd"});
    ck_assert_str_eq(w->placed, "ssd");
    for (int i = 0; i < 9; i++) {
        place(w, (struct sch_resources){.cpu_milli = 1000});
        ck_assert_str_ne(w->placed, "ml");
    }
    place(w, (struct sch_resources){.cpu_milli = 2000, .tolerations = "dedicated"});
    ck_assert_str_eq(w->placed, "ml");
    world_free(w);
}
END_TEST

START_TEST(a_warm_worker_is_chosen_first)
{
    struct world *w = world_new();
    struct sch_environment py = {.name = "py", .slots = 2};
    struct sch_resources task = {.cpu_milli = 100, .environment = "py"};
    node(w, "a", (struct sch_resources){.cpu_milli = 8000}, NULL, &py);
    node(w, "b", (struct sch_resources){.cpu_milli = 4000}, NULL, &py);
    struct sch_attempt_key b1 = place(w, task), b2 = place(w, task), a1 = place(w, task);
    ck_assert_str_eq(w->placed, "a"); /* b, with less cpu, was full */
    end(w, b1);
    end(w, b2);
    end(w, a1);
    place(w, (struct sch_resources){.cpu_milli = 5000});
    ck_assert_str_eq(w->placed, "a"); /* now a has less cpu left */
    place(w, task);
    ck_assert_str_eq(w->placed, "a");
    place(w, task); /* a's other slot was never used */
    ck_assert_str_eq(w->placed, "b");
    world_free(w);
}
END_TEST

/* Many kinds on many nodes; every step is checked against each node by itself. */
START_TEST(random_kinds_never_share_a_place)
{
    struct world *w = world_new();
    struct sy_rng rng;
    struct sch_attempt_key live[64];
    size_t count = 0, placed = 0;
    sy_rng_init(&rng, 11);
    struct sch_traits traits = {
        .gpus_shared = 1, .slice_count = 1, .slices = {{.name = "1g.5gb", .count = 3}}};
    struct sch_environment py = {.name = "py", .slots = 3};
    for (int i = 0; i < 6; i++) {
        char name[8];
        snprintf(name, sizeof(name), "n%d", i);
        struct sch_resources capacity = {.cpu_milli = 4000, .memory_bytes = 1 << 20};
        capacity.gpus = i < 3 ? 4 : 0;
        node(w, name, capacity, i < 3 ? &traits : NULL, i % 2 ? &py : NULL);
    }
    for (int i = 0; i < 1000; i++) {
        if (count == SY_COUNT_OF(live) || (count > 0 && sy_rng_chance(&rng, 1, 2))) {
            size_t at = sy_rng_below(&rng, count);
            if (sch_operator_node_of(w->op, &live[at]))
                end(w, live[at]);
            live[at] = live[--count];
            continue;
        }
        struct sch_resources r = {.cpu_milli = (uint32_t)sy_rng_below(&rng, 5) * 500};
        switch (sy_rng_below(&rng, 5)) {
        case 0:
            r.gpus = (uint32_t)sy_rng_below(&rng, 5);
            break;
        case 1:
            r.gpu_milli = 100 + (uint32_t)sy_rng_below(&rng, 9) * 100;
            break;
        case 2:
            r = (struct sch_resources){.gpus = 1, .gpu_partition = "1g.5gb"};
            break;
        case 3:
            r = (struct sch_resources){.cpu_milli = 100, .environment = "py"};
            break;
        default:
            r.memory_bytes = sy_rng_below(&rng, 1 << 20);
            break;
        }
        live[count++] = place(w, r);
        placed += w->placed[0] != '\0';
    }
    ck_assert_uint_gt(placed, 200);
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {work_without_gpus_leaves_their_nodes_alone,
                                  whole_gpu_nodes_stay_free,
                                  shares_pack_on_one_gpu,
                                  slices_are_of_one_profile,
                                  labels_and_taints_choose,
                                  a_warm_worker_is_chosen_first,
                                  random_kinds_never_share_a_place,
                                  NULL};
    return sy_test_run("sch_place", tests);
}
