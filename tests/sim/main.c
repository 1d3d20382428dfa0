/*
 * The simulator:  sim [--seed N] [--count M] [--verbose] [SEED-FILE...]
 * Runs seeds N .. N+M-1 (and every number in the files), each twice; the trace hashes must match.
 * Exit 0 when all pass. A failing seed belongs into tests/sim/seeds/.
 */
#include "tests/sim/world.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t sometimes(struct sy_rng *rng, uint32_t max)
{
    return sy_rng_chance(rng, 1, 2) ? (uint32_t)sy_rng_below(rng, max + 1) : 0;
}

void sim_options_draw(struct sim_options *ret, uint64_t seed)
{
    struct sy_rng rng;
    sy_rng_init(&rng, seed ^ 0x5eed);
    *ret = (struct sim_options){
        .seed = seed,
        .partitions = 1 + (unsigned)sy_rng_below(&rng, SIM_PARTITIONS_MAX),
        .operators = 1 + (unsigned)sy_rng_below(&rng, SIM_OPERATORS_MAX),
        .agents_each = 1 + (unsigned)sy_rng_below(&rng, SIM_AGENTS_MAX / SIM_OPERATORS_MAX),
        .runs = 1 + (unsigned)sy_rng_below(&rng, 6),
        .actions_each = 1 + (unsigned)sy_rng_below(&rng, 80),
        .crash_shard_pct = sometimes(&rng, 10),
        .crash_operator_pct = sometimes(&rng, 8),
        .crash_agent_pct = sometimes(&rng, 8),
        .drop_connection_ppm = sometimes(&rng, 5000),
        .cut_link_pct = sometimes(&rng, 30),
        .fail_commit_pct = sometimes(&rng, 10),
        .delay_ns_max = (int64_t)sy_rng_below(&rng, 50 * SY_NS_PER_MS),
        .sync_ns_max = (int64_t)sy_rng_below(&rng, 100 * SY_NS_PER_MS),
        .task_ns_max = (int64_t)sy_rng_below(&rng, 3 * SY_NS_PER_S),
        .task_fail_pct = sometimes(&rng, 20),
        .task_lost_pct = sometimes(&rng, 10),
        .verb_pct = sometimes(&rng, 15),
    };
}

static int run_seed(uint64_t seed, bool verbose)
{
    struct sim_options options;
    sim_options_draw(&options, seed);
    options.verbose = verbose;
    struct sim_result first = {0}, second = {0};
    sim_run(&options, &first);
    options.verbose = false;
    sim_run(&options, &second);
    printf("seed %" PRIu64 ": %" PRIu64 " actions, %" PRIu64 " attempts, %" PRIu64
           " crashes, %" PRIu64 " drops, %" PRIu64 " orders, %" PRIu64 " gangs, %" PRIu64
           " turns, %.1f s, trace %016" PRIx64 "\n",
           seed, first.actions, first.attempts, first.crashes, first.drops, first.verbs,
           first.gangs, first.turns, (double)first.virtual_ns / 1e9, first.trace_hash);
    if (first.trace_hash == second.trace_hash)
        return 0;
    fprintf(stderr,
            "sim: seed %" PRIu64 " is not deterministic: %016" PRIx64 " then %016" PRIx64 "\n",
            seed, first.trace_hash, second.trace_hash);
    return 1;
}

static int run_file(const char *path, bool verbose, unsigned *count)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "sim: cannot read %s\n", path);
        return 1;
    }
    int failed = 0;
    char line[128];
    while (fgets(line, sizeof(line), file) != NULL) {
        if (line[0] < '0' || line[0] > '9') /* a comment: what the seed found */
            continue;
        failed += run_seed(strtoull(line, NULL, 10), verbose);
        ++*count;
    }
    fclose(file);
    return failed;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"seed", required_argument, NULL, 's'},
                                          {"count", required_argument, NULL, 'c'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {0}};
    uint64_t seed = 1, wanted = 0;
    bool verbose = false;
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == '?') {
            fprintf(stderr, "usage: sim [--seed N] [--count M] [--verbose] [SEED-FILE...]\n");
            return 2;
        }
        if (c == 'v')
            verbose = true;
        else
            *(c == 's' ? &seed : &wanted) = strtoull(optarg, NULL, 10);
    }
    if (wanted == 0 && optind == argc)
        wanted = 1;
    unsigned count = 0;
    int failed = 0;
    for (int i = optind; i < argc; i++)
        failed += run_file(argv[i], verbose, &count);
    for (uint64_t i = 0; i < wanted; i++, count++)
        failed += run_seed(seed + i, verbose);
    printf("%u passed, %d failed\n", count - (unsigned)failed, failed);
    return failed == 0 ? 0 : 1;
}
