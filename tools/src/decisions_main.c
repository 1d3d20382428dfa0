/* switchyard-bench-decisions: see decisions.h. */
#include "base/mem.h"
#include "scheduler/queue.h"
#include "tools/src/decisions.h"
#include "tools/src/hosts.h"
#include "tools/src/orders.h"
#include "tools/src/picks.h"
#include "tools/src/racks.h"
#include "tools/src/seldom.h"

#include <argp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    unsigned repeat;
    uint64_t count;
    bool json, growth;
    const char *only; /* this part; NULL: all */
};

static const struct argp_option argp_options[] = {
    {"count", 'c', "N", 0, "steps of the churn (100000)", 0},
    {"repeat", 'r', "N", 0, "repetitions, odd (5)", 0},
    {"growth", 'g', NULL, 0, "only what must not grow with what waits", 0},
    {"only", 'o', "PART", 0,
     "placing, picking, or of what must not grow: classes, shared, limits, comings, racks, hosts, "
     "order; seldom",
     0},
    {"json", 'j', NULL, 0, "one JSON object a line", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    char *end = NULL;
    unsigned long long number = arg != NULL ? strtoull(arg, &end, 10) : 0;
    bool bad = arg != NULL && key != 'o' &&
               (end == arg || *end != '\0' || number == 0 || number > 100000000);
    switch (key) {
    case 'c':
        options->count = number;
        break;
    case 'r':
        options->repeat = (unsigned)number;
        bad = bad || number % 2 == 0 || number > 99;
        break;
    case 'g':
        options->growth = true;
        break;
    case 'o':
        options->only = arg;
        break;
    case 'j':
        options->json = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    if (bad)
        argp_error(state, "'%s' is not a number that makes sense here", arg);
    return 0;
}

static void print(const struct options *options, const char *name, const struct decisions_result *r)
{
    if (options->json)
        printf("{\"bench\": \"decisions\", \"instance\": \"%s\", \"nodes\": %u, \"kinds\": %u, "
               "\"placed\": %llu, \"decisions_per_s\": %.0f, \"place_us\": %.3f, "
               "\"finish_us\": %.3f, \"longest_step_us\": %.1f, \"longest_step\": \"%s\", "
               "\"filled\": %.3f}\n",
               name, r->nodes, r->kinds, (unsigned long long)r->placed, r->per_s, r->place_us,
               r->finish_us, r->longest_us, r->longest, r->filled);
    else
        printf("%-8s %7u %5u %8llu %12.0f %9.2f %10.2f %12.1f  %-8s %6.1f%%\n", name, r->nodes,
               r->kinds, (unsigned long long)r->placed, r->per_s, r->place_us, r->finish_us,
               r->longest_us, r->longest, 100 * r->filled);
    fflush(stdout);
}

static void print_pick(const struct options *options, const char *name,
                       const struct picks_result *r)
{
    const char *policy = r->policy ? r->policy : "";
    if (options->json)
        printf("{\"bench\": \"decisions\", \"instance\": \"%s\", \"policy\": \"%s\", "
               "\"clusters\": %u, \"queues\": %u, \"classes\": %u, \"actions\": %llu, "
               "\"decide_us\": %.3f, "
               "\"longest_step_us\": %.1f, \"bytes_per_action\": %.0f}\n",
               name, policy, r->clusters, r->queues, r->classes, (unsigned long long)r->actions,
               r->decide_us, r->longest_us, r->bytes_per_action);
    else
        printf("%-8s %-13s %8u %6u %7u %8llu %10.2f %12.1f %8.0f\n", name, policy, r->clusters,
               r->queues, r->classes, (unsigned long long)r->actions, r->decide_us, r->longest_us,
               r->bytes_per_action);
    fflush(stdout);
}

static void print_pick_header(const struct options *options)
{
    if (!options->json)
        printf("\n%-8s %-13s %8s %6s %7s %8s %10s %12s %8s\n", "INSTANCE", "POLICY", "CLUSTERS",
               "QUEUES", "CLASSES", "ACTIONS", "DECIDE us", "LONGEST us", "BYTES");
}

static void print_header(const struct options *options)
{
    if (!options->json)
        printf("%-8s %7s %5s %8s %12s %9s %10s %12s  %-8s %7s\n", "INSTANCE", "NODES", "KINDS",
               "PLACED", "DECISIONS/S", "PLACE us", "FINISH us", "LONGEST us", "STEP", "FILLED");
}

static void run_operator(const struct options *options)
{
    static const uint32_t sizes[] = {10, 100, 1000, 10000, 100000};
    struct decisions_result result;
    print_header(options);
    decisions_packing(options->repeat, &result);
    print(options, "packing", &result);
    for (size_t i = 0; i < SY_COUNT_OF(sizes); i++) {
        decisions_churn(sizes[i], options->count, options->repeat, &result);
        print(options, "churn", &result);
    }
}

static void run_picks(const struct options *options)
{
    static const uint32_t clusters[] = {1, 10, 100, 1000};
    struct picks_result result;
    print_pick_header(options);
    for (int policy = 0; policy < SCH_POLICIES; policy++) {
        for (size_t i = 0; i < SY_COUNT_OF(clusters); i++) {
            picks_routing(clusters[i], policy, options->repeat, &result);
            print_pick(options, "routing", &result);
        }
    }
    picks_queues(100, 1000000, options->repeat, &result);
    print_pick(options, "queues", &result);
    picks_queues(10000, 1000000, options->repeat, &result);
    print_pick(options, "queues", &result);
}

/* ---- what must not grow: with what waits, ---- */

static const uint32_t counts[] = {10, 100, 1000, 10000};

static void run_classes(const struct options *options)
{
    struct picks_result result;
    print_pick_header(options);
    for (size_t i = 0; i < SY_COUNT_OF(counts); i++) {
        picks_classes(counts[i], 1, false, options->repeat, &result);
        print_pick(options, "classes", &result);
    }
    for (size_t i = 0; i < SY_COUNT_OF(counts); i++) {
        picks_classes(counts[i], 1, true, options->repeat, &result);
        print_pick(options, "slowly", &result);
    }
}

static void run_shared(const struct options *options)
{
    struct picks_result result;
    print_pick_header(options);
    for (size_t i = 0; i + 1 < SY_COUNT_OF(counts); i++) {
        picks_classes(counts[i], 10, false, options->repeat, &result);
        print_pick(options, "shared", &result);
    }
}

static void run_limits(const struct options *options)
{
    struct picks_result result;
    print_pick_header(options);
    for (size_t i = 0; i < SY_COUNT_OF(counts); i++) {
        picks_limits(1, counts[i], options->repeat, &result);
        print_pick(options, "limits", &result);
    }
    for (size_t i = 0; i < SY_COUNT_OF(counts); i++) {
        picks_limits(counts[i], 1, options->repeat, &result);
        print_pick(options, "limits", &result);
    }
}

static void run_comings(const struct options *options)
{
    struct picks_result result;
    print_pick_header(options);
    for (size_t i = 0; i < SY_COUNT_OF(counts); i++) {
        picks_comings(200, counts[i] / 2, options->repeat, &result);
        print_pick(options, "comings", &result);
    }
}

/* ---- with the nodes, ---- */

static void run_racks(const struct options *options)
{
    static const uint32_t sizes[] = {1000, 10000, 50000};
    struct decisions_result result;
    print_header(options);
    for (size_t i = 0; i < SY_COUNT_OF(sizes); i++) {
        racks_gangs(sizes[i], &result);
        print(options, "racks", &result);
    }
}

/* ---- with nodes of which each is unlike the others, ---- */

static void run_hosts(const struct options *options)
{
    static const uint32_t sizes[] = {1000, 10000, 100000};
    static const char *const names[] = {"hosts", "zones", "pinned"};
    struct decisions_result result;
    print_header(options);
    for (int asked = HOSTS_NO_LABEL; asked <= HOSTS_NAME; asked++) {
        for (size_t i = 0; i < SY_COUNT_OF(sizes); i++) {
            hosts_unlike(sizes[i], (enum hosts_asked)asked, &result);
            print(options, names[asked], &result);
        }
    }
}

/* ---- with what several partitions ask for ---- */

static void run_orders(const struct options *options)
{
    static const uint32_t sizes[] = {100, 1000}, classes[] = {10, 100, 625};
    struct decisions_result result;
    print_header(options);
    for (size_t i = 0; i < SY_COUNT_OF(sizes) * SY_COUNT_OF(classes); i++) {
        orders_contended(16, sizes[i / 3], classes[i % 3], &result);
        print(options, "order", &result);
    }
    for (uint32_t kinds = 10; kinds <= 10000; kinds *= 10) {
        orders_contended(1, 1000, kinds, &result);
        print(options, "alone", &result);
    }
}

/* ---- steps that come seldom ---- */

static void print_seldom(void *ctx, const char *name, const struct decisions_result *result)
{
    print(ctx, name, result);
}

static void run_seldom(const struct options *options)
{
    print_header(options);
    seldom_steps(100000, 10000, print_seldom, (void *)(uintptr_t)options);
}

static const struct part {
    const char *name;
    bool growth;
    void (*run)(const struct options *options);
} parts[] = {
    {"placing", false, run_operator}, {"picking", false, run_picks}, {"classes", true, run_classes},
    {"shared", true, run_shared},     {"limits", true, run_limits},  {"comings", true, run_comings},
    {"racks", true, run_racks},       {"hosts", true, run_hosts},    {"order", true, run_orders},
    {"seldom", false, run_seldom},
};

int main(int argc, char **argv)
{
    static const char doc[] = "Measures the two cores of the scheduler by themselves.";
    const struct argp argp = {argp_options, parse, NULL, doc, NULL, NULL, NULL};
    struct options options = {.repeat = 5, .count = 100000};
    bool known = false;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    for (size_t i = 0; i < SY_COUNT_OF(parts); i++) {
        if (options.only ? strcmp(options.only, parts[i].name) != 0
                         : options.growth && !parts[i].growth)
            continue;
        parts[i].run(&options);
        known = true;
    }
    if (!known)
        fprintf(stderr, "there is no part '%s'\n", options.only);
    return known ? EXIT_SUCCESS : EXIT_FAILURE;
}
