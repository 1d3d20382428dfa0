/* links: simulate */
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tools/src/sim_generate.h"
#include "tools/src/sim_report.h"
#include "tools/src/sim_world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 0.001

/* ---- a region and a trace of a test's own ---- */

static void region_from(struct sim_region *ret, const char *yaml)
{
    struct sy_error_text error;
    int r = sim_region_parse(ret, "region.yaml", yaml, strlen(yaml), &error);
    ck_assert_msg(r == 0, "%s", error.text);
}

static void add(struct sim_trace *trace, const char *project, double arrival_s, double duration_s,
                struct sch_resources request, uint32_t count)
{
    struct sy_error_text error;
    struct sim_row row = {.arrival_ns = llround(arrival_s * 1e9),
                          .duration_ns = llround(duration_s * 1e9),
                          .request = request,
                          .count = count};
    snprintf(row.key.project, sizeof(row.key.project), "%s", project);
    snprintf(row.key.domain, sizeof(row.key.domain), "d");
    int r = sim_trace_add(trace, &row, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    sim_trace_sort(trace);
}

static struct sim_result *run(const struct sim_region *region, const struct sim_trace *trace,
                              const char *policy)
{
    struct sim_options options = {.delay_ns = 1000000, .check = true};
    ck_assert_int_eq(sim_policy_parse(policy, &options), 0);
    return sim_run(region, trace, &options);
}

static void near(double value, double expected, double tolerance)
{
    ck_assert_msg(fabs(value - expected) <= tolerance, "%.9f, expected %.9f", value, expected);
}

static const char *const policies[] = {"configured",    "spread", "pack",      "cheapest",
                                       "fastest-start", "fifo",   "first-fit", "kubernetes"};

#define ONE_NODE "clusters: [{name: c, nodes: [{cpu_milli: 4000, memory: 16GiB}]}]\n"

/* ---- replays that are known by hand ---- */

/* Three tasks, room for two. The baselines: two streams to the node, two back. */
START_TEST(test_a_replay_of_first_fit_by_hand)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    region_from(&region, ONE_NODE);
    add(&trace, "p", 0, 10, (struct sch_resources){.cpu_milli = 2000, .memory_bytes = 1 << 30}, 3);
    struct sim_result *result = run(&region, &trace, "fifo");
    const struct sim_waits *waits = &result->queues[0].waits;
    ck_assert_uint_eq(waits->count, 3);
    near(waits->seconds[0], 2 * MS, 1e-9);
    near(waits->seconds[1], 2 * MS, 1e-9);
    near(waits->seconds[2], 10 + 6 * MS, 1e-9);
    near(waits->mean, (10 + 10 * MS) / 3, 1e-9);
    near(result->last_end_s, 20 + 6 * MS, 1e-9);
    near(result->all.cpu, 3 * 10 * 2 / (4 * (20 + 6 * MS)), 1e-9);
    near(result->all.memory, 3 * 10 / (16 * (20 + 6 * MS)), 1e-9);
    ck_assert_str_eq(result->queues[0].name, "p/d");
    ck_assert_uint_eq(result->total.tasks, 3);
    sim_result_free(result);
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

/* Demand, grant, assignment to the cluster, to the node: four streams for the first of a class. The
 * third waits in its queue, for tasks so long that a backlog would hide nothing: outcome twice,
 * then assignment twice. */
START_TEST(test_a_replay_of_the_cores_by_hand)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    region_from(&region, ONE_NODE);
    add(&trace, "p", 0, 10, (struct sch_resources){.cpu_milli = 2000}, 3);
    struct sim_result *result = run(&region, &trace, "configured");
    const struct sim_waits *waits = &result->queues[0].waits;
    ck_assert_uint_eq(waits->count, 3);
    near(waits->seconds[0], 4 * MS, 1e-9);
    near(waits->seconds[2], 10 + 8 * MS, 1e-9);
    near(result->last_end_s, 20 + 8 * MS, 1e-9);
    sim_result_free(result);
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

START_TEST(test_only_a_strict_queue_makes_small_ones_wait_behind_a_large_one)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    const struct sch_resources large = {.cpu_milli = 1000, .gpus = 2}, small = {.cpu_milli = 1000};
    region_from(&region, "clusters: [{name: c, nodes: [{cpu_milli: 4000, memory: 1GiB, gpus: 2, "
                         "gpu_model: T4}]}]\n");
    add(&trace, "a", 0, 100, large, 1);
    add(&trace, "a", 1, 100, large, 1);
    add(&trace, "b", 2, 1, small, 1);
    for (size_t i = 0; i < SY_COUNT_OF(policies); i++) {
        struct sim_result *result = run(&region, &trace, policies[i]);
        double wait_s = result->queues[1].waits.seconds[0];
        if (strcmp(policies[i], "fifo") == 0)
            ck_assert_double_gt(wait_s, 90);
        else
            ck_assert_double_lt(wait_s, 1);
        near(result->all.gpus, 2, 0);
        sim_result_free(result);
    }
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

/* Two equal nodes, one busy: least allocated takes the other one, first fit the same. */
START_TEST(test_kubernetes_spreads_where_first_fit_fills)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    region_from(&region, "clusters: [{name: c, nodes: [{count: 2, cpu_milli: 4000, memory: 4GiB}]}]"
                         "\n");
    const struct sch_resources small = {.cpu_milli = 1000, .memory_bytes = 1 << 30};
    const struct sch_resources whole = {.cpu_milli = 4000, .memory_bytes = 1 << 30};
    add(&trace, "p", 0, 50, small, 2);
    add(&trace, "p", 1, 1, whole, 1);
    struct sim_result *fills = run(&region, &trace, "first-fit"),
                      *spreads = run(&region, &trace, "kubernetes");
    ck_assert_double_lt(sim_quantile(&fills->total.waits, 1), 1);
    ck_assert_double_gt(sim_quantile(&spreads->total.waits, 1), 40);
    sim_result_free(fills);
    sim_result_free(spreads);
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

/* ---- queues ---- */

START_TEST(test_shares_follow_weights_while_queues_compete)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    region_from(&region,
                "clusters: [{name: c, nodes: [{count: 10, cpu_milli: 4000, memory: 1GiB}]}]"
                "\nqueues: [{project: a, weight: 100}, {project: b, weight: 300}]\n");
    add(&trace, "a", 0, 10, (struct sch_resources){.cpu_milli = 1000}, 800);
    add(&trace, "b", 0, 10, (struct sch_resources){.cpu_milli = 1000}, 800);
    struct sim_result *result = run(&region, &trace, "configured");
    near(result->queues[0].entitled, 0.25, 0.01);
    near(result->queues[1].entitled, 0.75, 0.01);
    near(result->queues[0].got, 0.25, 0.03);
    near(result->queues[1].got, 0.75, 0.03);
    sim_result_free(result);
    result = run(&region, &trace, "fifo"); /* which knows no weights */
    near(result->queues[0].entitled, 0.25, 0.01);
    ck_assert_double_gt(result->queues[0].got, 0.9);
    sim_result_free(result);
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

/* All is taken by work that may be stopped. What is more urgent has room soon, what was stopped
 * runs again, from its begin. */
START_TEST(test_preempted_work_runs_again)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    region_from(&region, "reclaim_delay: 1s\n" ONE_NODE "queues:\n"
                         "  - {project: low, domain: d, name: default, preemptible: true}\n"
                         "  - {project: high, domain: d, name: default, priority: 10}\n");
    add(&trace, "low", 0, 1000, (struct sch_resources){.cpu_milli = 1000}, 4);
    add(&trace, "high", 100, 10, (struct sch_resources){.cpu_milli = 1000}, 20);
    struct sim_result *result = run(&region, &trace, "configured");
    ck_assert_double_lt(sim_quantile(&result->queues[1].waits, 1), 200);
    ck_assert_uint_gt(result->queues[0].preempted, 0);
    ck_assert_uint_eq(result->queues[0].waits.count, 4);
    ck_assert_uint_eq(result->total.unplaced, 0);
    ck_assert_double_gt(result->last_end_s, 1100);
    sim_result_free(result);
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

/* n-0 and n-1 are a rack, m-0 another: the gang of four two-core tasks waits for the first rack,
 * which a long task is in; the gang that no rack could hold is refused, and counted once. */
START_TEST(test_gangs_wait_whole_and_keep_to_a_rack)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    struct sy_error_text error;
    region_from(&region,
                "clusters: [{name: c, nodes: [{name: n, count: 2, cpu_milli: 4000, memory: "
                "1GiB, labels: rack=a}, {name: m, cpu_milli: 4000, memory: 1GiB, labels: "
                "rack=b}]}]\n");
    struct sim_row row = {.duration_ns = 100000000000,
                          .request = {.cpu_milli = 2000},
                          .key = {.project = "p", .domain = "d"},
                          .count = 1};
    ck_assert_int_eq(sim_trace_add(&trace, &row, &error), 0); /* on m, or n: one fits less there */
    row.request.cpu_milli = 4000;
    row.arrival_ns = 1000000000;
    ck_assert_int_eq(sim_trace_add(&trace, &row, &error), 0);
    row.request.cpu_milli = 2000;
    row.arrival_ns = 11000000000;
    ck_assert_int_eq(sch_gang_shape_init(&row.gang, 4, SCH_TOPOLOGY_REQUIRE, "rack", 0, &error), 0);
    ck_assert_int_eq(sim_trace_add(&trace, &row, &error), 0);
    row.gang.size = 5;
    ck_assert_int_eq(sim_trace_add(&trace, &row, &error), 0);
    sim_trace_sort(&trace);
    struct sim_result *result = run(&region, &trace, "configured");
    const struct sim_queue_result *gangs = &result->gangs;
    ck_assert_uint_eq(gangs->tasks, 2);
    ck_assert_uint_eq(gangs->refused, 1);
    ck_assert_uint_eq(gangs->unplaced, 0);
    ck_assert_uint_eq(gangs->waits.count, 1);
    ck_assert_uint_eq(result->total.refused, 5);
    ck_assert_uint_eq(result->total.waits.count, 6);
    ck_assert_double_ge(gangs->waits.seconds[0],
                        89); /* until the first, or the second, has ended */
    ck_assert_double_le(gangs->waits.seconds[0], 92);
    ck_assert_ptr_nonnull(strstr(result->refusal, "asked together in one rack, it holds 4"));
    sim_result_free(result);
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

static double longest_wait(const struct sim_result *result, size_t queue)
{
    const struct sim_waits *waits = &result->queues[queue].waits;
    double longest = 0;
    for (size_t i = 0; i < waits->count; i++)
        longest = fmax(longest, waits->seconds[i]);
    return longest;
}

/* Two parts of 0.6 are on different GPUs, so none of 0.5 fits beside them, nor a whole one before
 * both have ended. The third slice waits for the first. */
START_TEST(test_parts_of_a_gpu_and_slices_are_given_once)
{
    for (size_t i = 0; i < SY_COUNT_OF(policies); i++) {
        struct sim_region region;
        struct sim_trace trace = {0};
        region_from(&region,
                    "clusters: [{name: c, nodes: [{cpu_milli: 16000, memory: 16GiB, gpus: 2, "
                    "gpu_model: A100, gpu_sharing: true, gpu_slices: [{profile: 2g.10gb, count: 1},"
                    " {profile: 1g.5gb, count: 2}]}]}]\n");
        const struct sch_resources part = {.cpu_milli = 100, .gpu_milli = 600},
                                   half = {.cpu_milli = 100, .gpu_milli = 500},
                                   whole = {.cpu_milli = 100, .gpus = 1},
                                   slice = {.cpu_milli = 100, .gpus = 1, .gpu_partition = "1g.5gb"};
        add(&trace, "parts", 0, 10, part, 2);
        add(&trace, "half", 1, 10, half, 1);
        add(&trace, "slices", 2, 5, slice, 3);
        add(&trace, "whole", 11, 5, whole, 1);
        struct sim_result *result = run(&region, &trace, policies[i]);
        ck_assert_uint_eq(result->total.waits.count, 7);
        near(longest_wait(result, 0), 0, 20 * MS);
        near(longest_wait(result, 1), 9, 20 * MS);
        bool strict = strcmp(policies[i], "fifo") == 0; /* slices behind the half */
        near(longest_wait(result, 2), strict ? 13 : 5, 20 * MS);
        near(longest_wait(result, 3), strict ? 4 : 0, 20 * MS); /* half has one of the two */
        sim_result_free(result);
        sim_trace_deinit(&trace);
        sim_region_deinit(&region);
    }
}
END_TEST

START_TEST(test_nodes_that_do_not_share_take_no_parts)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    region_from(&region,
                "clusters: [{name: c, nodes: [{cpu_milli: 4000, memory: 1GiB, gpus: 1}]}]\n");
    add(&trace, "p", 0, 1, (struct sch_resources){.cpu_milli = 1, .gpu_milli = 500}, 1);
    for (size_t i = 0; i < SY_COUNT_OF(policies); i++) {
        struct sim_result *result = run(&region, &trace, policies[i]);
        ck_assert_uint_eq(result->total.refused, 1);
        sim_result_free(result);
    }
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

/* A level's region binds the queue below it, though that names another one as well. */
START_TEST(test_work_stays_in_regions_and_on_labels)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    region_from(&region, "clusters:\n"
                         "  - {name: east, region: eu, nodes: [{cpu_milli: 8000, memory: 1GiB}]}\n"
                         "  - {name: west, region: us, nodes: [{cpu_milli: 4000, memory: 1GiB}, "
                         "{name: fast, cpu_milli: 4000, memory: 1GiB, labels: disk=ssd}]}\n"
                         "queues:\n"
                         "  - {project: home, regions: [us]}\n"
                         "  - {project: home, domain: d, name: default, regions: [eu, us]}\n");
    add(&trace, "home", 0, 10, (struct sch_resources){.cpu_milli = 1000}, 8);
    add(&trace, "disk", 20, 10, (struct sch_resources){.cpu_milli = 1000, .labels = "disk=ssd"}, 4);
    add(&trace, "disk", 20, 10, (struct sch_resources){.cpu_milli = 1000, .labels = "disk=hdd"}, 1);
    for (size_t i = 0; i < SY_COUNT_OF(policies); i++) {
        struct sim_result *result = run(&region, &trace, policies[i]);
        ck_assert_uint_eq(result->total.waits.count, 12);
        ck_assert_uint_eq(result->total.refused, 1);
        near(result->clusters[0].cpu, 0, 0);
        ck_assert(result->clusters[1].cpu > 0);
        near(longest_wait(result, 0), 0, 50 * MS);
        sim_result_free(result);
    }
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

START_TEST(test_preferred_clusters_come_first)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    region_from(&region,
                "clusters: [{name: east, nodes: [{cpu_milli: 64000, memory: 1GiB}]},\n"
                "           {name: west, nodes: [{cpu_milli: 4000, memory: 1GiB}]}]\n"
                "queues: [{project: p, domain: d, name: default, preferred_clusters: [west]}]\n");
    add(&trace, "p", 0, 10, (struct sch_resources){.cpu_milli = 1000}, 4);
    add(&trace, "p", 5, 1, (struct sch_resources){.cpu_milli = 1000}, 1);
    struct sim_result *result = run(&region, &trace, "configured");
    near(result->clusters[1].cpu, 1, 0.01); /* until the last one arrives: it goes elsewhere */
    ck_assert_uint_eq(result->total.waits.count, 5);
    near(longest_wait(result, 0), 0, 50 * MS);
    sim_result_free(result);
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

START_TEST(test_what_never_runs_is_told)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    region_from(&region, ONE_NODE "queues:\n"
                                  "  - {project: held, domain: d, name: default, paused: true}\n"
                                  "  - {project: late, domain: d, name: default, actions_max: 1, "
                                  "queued_timeout: 5s}\n");
    add(&trace, "held", 0, 1, (struct sch_resources){.cpu_milli = 1000}, 2);
    add(&trace, "late", 0, 60, (struct sch_resources){.cpu_milli = 1000}, 3);
    add(&trace, "big", 0, 1, (struct sch_resources){.cpu_milli = 5000}, 4);
    struct sim_result *result = run(&region, &trace, "configured");
    ck_assert_uint_eq(result->queues[0].unplaced, 2);
    ck_assert_uint_eq(result->queues[1].gave_up, 2);
    ck_assert_uint_eq(result->queues[1].waits.count, 1);
    ck_assert_uint_eq(result->queues[2].refused, 4);
    ck_assert_msg(strstr(result->refusal, "5.000 cores asked"), "%s", result->refusal);
    ck_assert_uint_eq(result->total.tasks, 9);
    sim_result_free(result);
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

static const struct {
    const char *yaml, *sentence;
} bad_regions[] = {
    {"clusters: []\n", "no nodes"},
    {"clusters: [{name: c, nodes: [{memory: 1GiB}]}]\n", "cpu_milli"},
    {"clusters: [{name: c, nodes: [{cpu_milli: 1, memory: 1GiB, gpu_model: T4}]}]\n",
     "without gpus"},
    {"clusters: [{name: c, nodes: [{cpu_milli: 1, memory: 1GiB, labels: 'a b=c'}]}]\n",
     "nodes 'node': labels: "},
    {"clusters: [{name: c, nodes: [{cpu_milli: 1, memory: 1GiB}]}, {name: c, nodes: []}]\n",
     "cluster 'c' is there twice"},
    {"clusters: [{name: c, nodes: [{count: 99999, cpu_milli: 1, memory: 1GiB}, "
     "{name: m, count: 99999, cpu_milli: 1, memory: 1GiB}]}]\n",
     "more than 100000 nodes"},
    {"clusters: [{name: c, nodes: [{cpu_milli: 1, memory: 1GiB, gpus: 65, gpu_sharing: true}]}]\n",
     "at most 64 GPUs with gpu_sharing"},
    {"clusters: [{name: c, nodes: [{cpu_milli: 1, memory: 1GiB, gpu_slices: [{profile: a, count: "
     "1}, {profile: a, count: 1}]}]}]\n",
     "gpu_slices 'a' are there twice"},
    {"clusters: [{name: c, nodes: [{cpu_milli: 1, memory: 1GiB, taints: 'a b'}]}]\n",
     "nodes 'node': taints: "},
    {"clusters: [{name: c, nodes: [{cpu_milli: 1, memory: 1GiB, reclaims_per_day: 3}]}]\n",
     "nodes 'node': reclaims_per_day without spot"},
    {ONE_NODE "queues: [{name: q, regions: [a, b, c, d, e]}]\n", "5 regions, at most 4"},
    {ONE_NODE "queues: [{name: q, clusters: [c], preferred_clusters: [d]}]\n",
     "preferred cluster 'd'"},
    {ONE_NODE "queues: [{domain: d, name: q}]\n", "name the project"},
    {ONE_NODE "queues: [{name: q}, {name: q}]\n", "is there twice"},
    {ONE_NODE "queues: [{name: q, parent: r}]\n", "its parent 'r'"},
    {ONE_NODE "queues: [{name: q, weight: 0}]\n", "weight"},
};

START_TEST(test_a_wrong_region_says_what_is_wrong)
{
    for (size_t i = 0; i < SY_COUNT_OF(bad_regions); i++) {
        struct sim_region region;
        struct sy_error_text error;
        const char *yaml = bad_regions[i].yaml;
        ck_assert_int_eq(sim_region_parse(&region, "r.yaml", yaml, strlen(yaml), &error), -EINVAL);
        ck_assert_msg(strstr(error.text, bad_regions[i].sentence), "%s gave: %s", yaml, error.text);
    }
}
END_TEST

/* ---- taints, and nodes that are taken away ---- */

/* A node that anybody may use, one with a taint, and a spot one; each task takes a whole node. */
#define THREE_NODES                                                                                \
    "clusters: [{name: c, price: 30000, nodes: [{name: n, cpu_milli: 1000, memory: 1GiB}, "        \
    "{name: t, cpu_milli: 1000, memory: 1GiB, taints: team=x}, "                                   \
    "{name: s, cpu_milli: 1000, memory: 1GiB, spot: true, price: 10000}]}]\n"

START_TEST(test_only_what_tolerates_a_taint_runs_behind_it)
{
    static const struct {
        const char *queues, *tolerations;
        unsigned at_once; /* of three tasks */
    } cases[] = {{"", "", 1},
                 {"", "team=x", 2},
                 {"", SCH_LABEL_SPOT, 2},
                 {"", "all", 3},
                 {"queues: [{project: p, domain: d, name: default, spot: true}]\n", "", 2},
                 {"queues: [{project: p, spot: true}]\n", "team", 3}};
    for (size_t c = 0; c < SY_COUNT_OF(cases); c++) {
        struct sim_region region;
        struct sim_trace trace = {0};
        struct sch_resources request = {.cpu_milli = 1000};
        char yaml[1024];
        snprintf(yaml, sizeof(yaml), THREE_NODES "%s", cases[c].queues);
        snprintf(request.tolerations, sizeof(request.tolerations), "%s", cases[c].tolerations);
        region_from(&region, yaml);
        add(&trace, "p", 0, 100, request, 3);
        for (size_t i = 0; i < SY_COUNT_OF(policies); i++) {
            struct sim_result *result = run(&region, &trace, policies[i]);
            const struct sim_waits *waits = &result->queues[0].waits;
            unsigned at_once = 0;
            ck_assert_uint_eq(waits->count, 3);
            for (unsigned k = 0; k < 3; k++)
                at_once += waits->seconds[k] < 50;
            ck_assert_msg(at_once == cases[c].at_once, "%zu, %s: %u at once", c, policies[i],
                          at_once);
            sim_result_free(result);
        }
        sim_trace_deinit(&trace);
        sim_region_deinit(&region);
    }
}
END_TEST

/* Two nodes for an hour: 0.03 + 0.01 of a currency for a core of each. */
START_TEST(test_cores_in_use_are_paid_for)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    struct sch_resources request = {.cpu_milli = 1000, .tolerations = SCH_LABEL_SPOT};
    region_from(&region, THREE_NODES);
    add(&trace, "p", 0, 3600, request, 2);
    for (size_t i = 0; i < SY_COUNT_OF(policies); i++) {
        struct sim_result *result = run(&region, &trace, policies[i]);
        near(result->clusters[0].cost, 0.04, 1e-9);
        near(result->all.cost, 0.04, 1e-9);
        sim_result_free(result);
    }
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

/* What ran there runs again from its begin, on whatever is free; the same nodes go at the same time
 * under each policy. */
START_TEST(test_what_runs_on_a_spot_node_that_goes_runs_again)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    struct sch_resources request = {.cpu_milli = 1000, .tolerations = SCH_LABEL_SPOT};
    region_from(&region,
                "clusters: [{name: c, nodes: [{name: n, cpu_milli: 1000, memory: 1GiB}, {name: s, "
                "count: 4, cpu_milli: 1000, memory: 1GiB, spot: true, reclaims_per_day: 48, "
                "reclaimed: 10m}]}]\n");
    add(&trace, "p", 0, 900, request, 20);
    add(&trace, "q", 0, 900, (struct sch_resources){.cpu_milli = 1000}, 2);
    for (size_t i = 0; i < SY_COUNT_OF(policies); i++) {
        struct sim_result *result = run(&region, &trace, policies[i]);
        ck_assert_uint_gt(result->queues[0].reclaimed, 0);
        ck_assert_uint_eq(result->queues[1].reclaimed, 0); /* not on spot nodes */
        ck_assert_uint_eq(result->total.reclaimed, result->queues[0].reclaimed);
        ck_assert_uint_eq(result->total.waits.count, 22);
        ck_assert_uint_eq(result->total.unplaced + result->total.gave_up, 0);
        ck_assert_double_gt(result->last_end_s, 22 * 900 / 5.0);
        sim_result_free(result);
    }
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

/* ---- generated traces ---- */

static const char small_region[] =
    "clusters:\n"
    "  - {name: east, nodes: [{count: 4, cpu_milli: 96000, memory: 768GiB, gpus: 8, "
    "gpu_model: H100}]}\n"
    "  - {name: west, nodes: [{name: c, count: 4, cpu_milli: 64000, memory: 256GiB}, "
    "{name: l40s, cpu_milli: 32000, memory: 128GiB, gpus: 2, gpu_model: L40S}]}\n";

static char *generated(const struct sim_region *region, const struct sim_generate_options *options)
{
    struct sim_trace trace = {0};
    struct sy_error_text error;
    char *text = NULL;
    size_t len;
    int r = sim_generate(&trace, region, options, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    FILE *file = open_memstream(&text, &len);
    sim_trace_write(&trace, file);
    fclose(file);
    sim_trace_deinit(&trace);
    return text;
}

START_TEST(test_the_same_seed_gives_the_same_trace)
{
    struct sim_region region;
    region_from(&region, small_region);
    for (unsigned kind = 0; kind < SIM_WORKLOADS; kind++) {
        struct sim_generate_options options = {
            .workload = (enum sim_workload)kind, .hours = 1, .load = 0.8, .seed = 7};
        char *first = generated(&region, &options), *second = generated(&region, &options);
        options.seed = 8;
        char *other = generated(&region, &options);
        ck_assert_str_eq(first, second);
        ck_assert_str_ne(first, other);
        free(first);
        free(second);
        free(other);
    }
    sim_region_deinit(&region);
}
END_TEST

START_TEST(test_a_generated_trace_asks_for_the_load)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    struct sy_error_text error;
    region_from(&region, small_region);
    const struct sim_generate_options options = {.hours = 24, .load = 0.8, .seed = 3};
    ck_assert_int_eq(sim_generate(&trace, &region, &options, &error), 0);
    double gpu_s = 0, cpu_s = 0;
    for (size_t i = 0; i < trace.count; i++) {
        const struct sch_resources *request = &trace.kinds[trace.tasks[i].kind]->request;
        gpu_s += (double)trace.tasks[i].duration_ns / 1e9 * request->gpus;
        cpu_s += (double)trace.tasks[i].duration_ns / 1e9 * request->cpu_milli / 1000;
        ck_assert_int_lt(trace.tasks[i].arrival_ns, 24 * 3600 * INT64_C(1000000000));
    }
    near(gpu_s / (24 * 3600 * 34), 0.8, 0.02);
    near(cpu_s / (24 * 3600 * 672), 0.8, 0.02);
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

/* Only training on whole nodes, and all of them run: those the region holds. */
START_TEST(test_generated_training_has_gangs_that_run)
{
    struct sim_region region;
    struct sim_trace trace = {0}, mixed = {0};
    struct sy_error_text error;
    region_from(&region, "clusters: [{name: c, nodes: [{count: 20, cpu_milli: 96000, memory: "
                         "768GiB, gpus: 8}]}]\n");
    struct sim_generate_options options = {
        .workload = SIM_WORKLOAD_GPU_TRAINING, .hours = 8, .load = 0.6, .seed = 2};
    ck_assert_int_eq(sim_generate(&trace, &region, &options, &error), 0);
    ck_assert_uint_gt(trace.gang_count, 0);
    for (uint32_t i = 0; i < trace.count; i++)
        ck_assert(trace.tasks[i].gang == 0 || trace.kinds[trace.tasks[i].kind]->request.gpus == 8);
    struct sim_result *result = run(&region, &trace, "configured");
    ck_assert_uint_gt(result->gangs.tasks, 5);
    ck_assert_uint_eq(result->gangs.waits.count, result->gangs.tasks);
    ck_assert_uint_eq(result->total.waits.count, trace.count);
    sim_result_free(result);
    options.workload = SIM_WORKLOAD_MIXED;
    ck_assert_int_eq(sim_generate(&mixed, &region, &options, &error), 0);
    ck_assert_uint_eq(mixed.gang_count, 0);
    sim_trace_deinit(&mixed);
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

/* Parts of GPUs, by every policy, to the end. */
START_TEST(test_generated_serving_takes_parts_of_gpus)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    struct sy_error_text error;
    uint32_t parts = 0;
    double gpu_s = 0;
    region_from(&region, "clusters: [{name: c, nodes: [{count: 6, cpu_milli: 96000, memory: "
                         "768GiB, gpus: 8, gpu_sharing: true}]}]\n");
    struct sim_generate_options options = {
        .workload = SIM_WORKLOAD_SHARED_GPU, .hours = 4, .load = 0.7, .seed = 4};
    ck_assert_int_eq(sim_generate(&trace, &region, &options, &error), 0);
    for (size_t i = 0; i < trace.count; i++) {
        const struct sch_resources *request = &trace.kinds[trace.tasks[i].kind]->request;
        parts += request->gpu_milli > 0;
        gpu_s += (double)trace.tasks[i].duration_ns / 1e9 *
                 (double)sch_resources_gpu_milli(request) / SCH_GPU_MILLI;
    }
    ck_assert_uint_gt(parts, 100);
    near(gpu_s / (4 * 3600 * 48), 0.7, 0.1);
    for (size_t i = 0; i < SY_COUNT_OF(policies); i++) {
        struct sim_options run_options = {.delay_ns = 1000000};
        ck_assert_int_eq(sim_policy_parse(policies[i], &run_options), 0);
        struct sim_result *result = sim_run(&region, &trace, &run_options);
        ck_assert_uint_eq(result->total.waits.count, trace.count);
        sim_result_free(result);
    }
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

START_TEST(test_generated_spot_work_tolerates_spot_nodes)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    struct sy_error_text error;
    size_t spot = 0;
    region_from(&region, "clusters: [{name: c, nodes: [{name: n, count: 4, cpu_milli: 64000, "
                         "memory: 256GiB}, {name: s, count: 4, cpu_milli: 64000, memory: 256GiB, "
                         "spot: true, reclaims_per_day: 12}]}]\n");
    struct sim_generate_options options = {
        .workload = SIM_WORKLOAD_SPOT, .hours = 1, .load = 0.5, .seed = 3};
    ck_assert_int_eq(sim_generate(&trace, &region, &options, &error), 0);
    for (size_t i = 0; i < trace.count; i++) {
        const struct sch_resources *request = &trace.kinds[trace.tasks[i].kind]->request;
        const char *project = trace.queues[trace.tasks[i].queue]->key.project;
        bool tolerates = request->tolerations[0] != '\0';
        ck_assert(!tolerates || strcmp(project, "notebooks") != 0);
        spot += tolerates;
    }
    ck_assert_uint_gt(spot, trace.count / 3);
    ck_assert_uint_lt(spot, trace.count);
    struct sim_result *result = run(&region, &trace, "configured");
    ck_assert_uint_eq(result->total.waits.count, trace.count);
    sim_result_free(result);
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

static char *report(const struct sim_region *region, const struct sim_trace *trace,
                    const char *policy)
{
    char *text = NULL;
    size_t len;
    struct sim_result *result = run(region, trace, policy);
    const struct sim_variant variant = {.name = policy, .result = result};
    FILE *file = open_memstream(&text, &len);
    sim_report_json(&variant, 1, file);
    sim_report_tables(&variant, 1, file, 0);
    fclose(file);
    sim_result_free(result);
    return text;
}

START_TEST(test_the_same_trace_gives_the_same_report)
{
    struct sim_region region;
    struct sim_trace trace = {0};
    struct sy_error_text error;
    region_from(&region, small_region);
    const struct sim_generate_options options = {.hours = 0.5, .load = 1.2, .seed = 5};
    ck_assert_int_eq(sim_generate(&trace, &region, &options, &error), 0);
    for (size_t i = 0; i < SY_COUNT_OF(policies); i++) {
        char *first = report(&region, &trace, policies[i]),
             *second = report(&region, &trace, policies[i]);
        ck_assert_str_eq(first, second);
        ck_assert_ptr_nonnull(strstr(first, "\"unplaced\": 0"));
        free(first);
        free(second);
    }
    sim_trace_deinit(&trace);
    sim_region_deinit(&region);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_a_replay_of_first_fit_by_hand,
        test_a_replay_of_the_cores_by_hand,
        test_only_a_strict_queue_makes_small_ones_wait_behind_a_large_one,
        test_kubernetes_spreads_where_first_fit_fills,
        test_shares_follow_weights_while_queues_compete,
        test_preempted_work_runs_again,
        test_gangs_wait_whole_and_keep_to_a_rack,
        test_parts_of_a_gpu_and_slices_are_given_once,
        test_nodes_that_do_not_share_take_no_parts,
        test_work_stays_in_regions_and_on_labels,
        test_preferred_clusters_come_first,
        test_generated_serving_takes_parts_of_gpus,
        test_what_never_runs_is_told,
        test_a_wrong_region_says_what_is_wrong,
        test_the_same_seed_gives_the_same_trace,
        test_a_generated_trace_asks_for_the_load,
        test_generated_training_has_gangs_that_run,
        test_only_what_tolerates_a_taint_runs_behind_it,
        test_cores_in_use_are_paid_for,
        test_what_runs_on_a_spot_node_that_goes_runs_again,
        test_generated_spot_work_tolerates_spot_nodes,
        test_the_same_trace_gives_the_same_report,
        NULL,
    };
    return sy_test_run("sim_world", tests);
}
