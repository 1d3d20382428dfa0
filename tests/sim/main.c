/*
 * The simulator:  sim [--seed N] [--count M] [--region] [--large | --fair] [--verbose] [--coverage]
 * [--unmet FILE] [SEED-FILE...] Runs seeds N .. N+M-1 (and every number in the files), each twice;
 * the trace hashes must match. Exit 0 when all pass. A failing seed belongs into tests/sim/seeds/.
 * --coverage prints in how many of the worlds each pair of state and event was met, --unmet wants
 * those that were not to be the ones that the file says; see coverage.h.
 */
#include "tests/sim/coverage.h"
#include "tests/sim/world.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum sim_size size_of(bool large, bool region)
{
    if (region)
        return large ? SIM_LARGE_REGION : SIM_REGION;
    return large ? SIM_LARGE : SIM_SMALL;
}

static int run_seed(uint64_t seed, enum sim_size size, bool verbose)
{
    struct sim_options options;
    sim_options_draw(&options, seed, size);
    options.verbose = verbose;
    struct sim_result first = {0}, second = {0};
    sim_coverage_world();
    sim_run(&options, &first);
    options.verbose = false;
    sim_run(&options, &second);
    printf("seed %" PRIu64 ": %" PRIu64 " actions, %" PRIu64 " attempts, %" PRIu64
           " crashes, %" PRIu64 " drops, %" PRIu64 " orders, %" PRIu64 " gangs, %" PRIu64
           " changes, %" PRIu64 " rebuilds, %" PRIu64 " windows, %" PRIu64 " epochs, %" PRIu64
           " moves, %" PRIu64 " splits, %" PRIu64 " disks, %" PRIu64 " stalls, %" PRIu64
           " turns, %.1f s, trace %016" PRIx64 "\n",
           seed, first.actions, first.attempts, first.crashes, first.drops, first.verbs,
           first.gangs, first.changes, first.rebuilds, first.windows, first.epochs, first.moves,
           first.splits, first.disks, first.stalls, first.turns, (double)first.virtual_ns / 1e9,
           first.trace_hash);
    if (first.trace_hash == second.trace_hash)
        return 0;
    fprintf(stderr,
            "sim: seed %" PRIu64 " is not deterministic: %016" PRIx64 " then %016" PRIx64 "\n",
            seed, first.trace_hash, second.trace_hash);
    return 1;
}

/* "large region 12": takes the words, leaves the number. */
static enum sim_size read_size(const char **at)
{
    static const char large_word[] = "large ", region_word[] = "region ";
    bool large = strncmp(*at, large_word, strlen(large_word)) == 0;
    *at += large ? strlen(large_word) : 0;
    bool region = strncmp(*at, region_word, strlen(region_word)) == 0;
    *at += region ? strlen(region_word) : 0;
    return size_of(large, region);
}

/* Lines: "N", "large N", "region N", "large region N". Others are comments: what the seed found. */
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
        const char *number = line;
        enum sim_size size = read_size(&number);
        if (*number < '0' || *number > '9')
            continue;
        failed += run_seed(strtoull(number, NULL, 10), size, verbose);
        ++*count;
    }
    fclose(file);
    return failed;
}

struct arguments {
    uint64_t seed, wanted;
    bool verbose, large, fair, region, coverage;
    const char *unmet; /* NULL: whatever they are */
};

/* False: they make no sense. */
static bool read_arguments(struct arguments *a, int argc, char **argv)
{
    static const struct option longs[] = {{"seed", required_argument, NULL, 's'},
                                          {"count", required_argument, NULL, 'c'},
                                          {"large", no_argument, NULL, 'l'},
                                          {"fair", no_argument, NULL, 'f'},
                                          {"region", no_argument, NULL, 'r'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"coverage", no_argument, NULL, 'o'},
                                          {"unmet", required_argument, NULL, 'u'},
                                          {0}};
    *a = (struct arguments){.seed = 1};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == '?')
            return false;
        if (c == 's' || c == 'c')
            *(c == 's' ? &a->seed : &a->wanted) = strtoull(optarg, NULL, 10);
        if (c == 'u')
            a->unmet = optarg;
        a->verbose |= c == 'v';
        a->large |= c == 'l';
        a->fair |= c == 'f';
        a->region |= c == 'r';
        a->coverage |= c == 'o';
    }
    if (a->wanted == 0 && optind == argc)
        a->wanted = 1;
    return true;
}

int main(int argc, char **argv)
{
    struct arguments a;
    if (!read_arguments(&a, argc, argv)) {
        fprintf(stderr, "usage: sim [--seed N] [--count M] [--region] [--large | --fair] "
                        "[--verbose] [--coverage] [--unmet FILE] [SEED-FILE...]\n");
        return 2;
    }
    enum sim_size size = a.fair ? SIM_FAIR : size_of(a.large, a.region);
    unsigned count = 0;
    int failed = 0;
    for (int i = optind; i < argc; i++)
        failed += run_file(argv[i], a.verbose, &count);
    for (uint64_t i = 0; i < a.wanted; i++, count++)
        failed += run_seed(a.seed + i, size, a.verbose);
    if (a.coverage)
        sim_coverage_print();
    bool met = !a.unmet || sim_coverage_is(a.unmet);
    printf("%u passed, %d failed\n", count - (unsigned)failed, failed);
    return failed == 0 && met ? 0 : 1;
}
