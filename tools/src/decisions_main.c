/* switchyard-bench-decisions: see decisions.h. */
#include "scheduler/queue.h"
#include "tools/src/decisions.h"
#include "tools/src/picks.h"

#include <argp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct options {
    unsigned repeat;
    uint64_t count;
    bool json;
};

static const struct argp_option argp_options[] = {
    {"count", 'c', "N", 0, "steps of the churn (100000)", 0},
    {"repeat", 'r', "N", 0, "repetitions, odd (5)", 0},
    {"json", 'j', NULL, 0, "one JSON object a line", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    char *end = NULL;
    unsigned long long number = arg != NULL ? strtoull(arg, &end, 10) : 0;
    bool bad = arg != NULL && (end == arg || *end != '\0' || number == 0 || number > 100000000);
    switch (key) {
    case 'c':
        options->count = number;
        break;
    case 'r':
        options->repeat = (unsigned)number;
        bad = bad || number % 2 == 0 || number > 99;
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
               "\"clusters\": %u, \"queues\": %u, \"actions\": %llu, \"decide_us\": %.3f, "
               "\"longest_step_us\": %.1f, \"bytes_per_action\": %.0f}\n",
               name, policy, r->clusters, r->queues, (unsigned long long)r->actions, r->decide_us,
               r->longest_us, r->bytes_per_action);
    else
        printf("%-8s %-13s %8u %6u %8llu %10.2f %12.1f %8.0f\n", name, policy, r->clusters,
               r->queues, (unsigned long long)r->actions, r->decide_us, r->longest_us,
               r->bytes_per_action);
    fflush(stdout);
}

static void run_picks(const struct options *options)
{
    static const uint32_t clusters[] = {1, 10, 100, 1000};
    struct picks_result result;
    if (!options->json)
        printf("\n%-8s %-13s %8s %6s %8s %10s %12s %8s\n", "INSTANCE", "POLICY", "CLUSTERS",
               "QUEUES", "ACTIONS", "DECIDE us", "LONGEST us", "BYTES");
    for (int policy = 0; policy < SCH_POLICIES; policy++) {
        for (size_t i = 0; i < sizeof(clusters) / sizeof(clusters[0]); i++) {
            picks_routing(clusters[i], policy, options->repeat, &result);
            print_pick(options, "routing", &result);
        }
    }
    picks_queues(100, 1000000, options->repeat, &result);
    print_pick(options, "queues", &result);
    picks_queues(10000, 1000000, options->repeat, &result);
    print_pick(options, "queues", &result);
}

int main(int argc, char **argv)
{
    static const uint32_t sizes[] = {10, 100, 1000, 10000, 100000};
    static const char doc[] = "Measures the two cores of the scheduler by themselves.";
    const struct argp argp = {argp_options, parse, NULL, doc, NULL, NULL, NULL};
    struct options options = {.repeat = 5, .count = 100000};
    struct decisions_result result;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    if (!options.json)
        printf("%-8s %7s %5s %8s %12s %9s %10s %12s  %-8s %7s\n", "INSTANCE", "NODES", "KINDS",
               "PLACED", "DECISIONS/S", "PLACE us", "FINISH us", "LONGEST us", "STEP", "FILLED");
    decisions_packing(options.repeat, &result);
    print(&options, "packing", &result);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        decisions_churn(sizes[i], options.count, options.repeat, &result);
        print(&options, "churn", &result);
    }
    run_picks(&options);
    return EXIT_SUCCESS;
}
