/* switchyard region: its arguments. */
#include "base/mem.h"
#include "tools/src/cmd_region.h"

#include <string.h>

#define PARTITION_MAX 4095

enum { KEY_ANYWHERE = 0x100, KEY_DRY_RUN, KEY_SURE, KEY_AT };

static const struct {
    const char *name;
    bool partition, shard; /* what follows */
    const char *expected;
} verbs[CL_REGION_VERBS] = {
    [CL_REGION_SHARDS] = {"shards", false, false, "takes no argument"},
    [CL_REGION_MAP] = {"map", false, false, "takes no argument"},
    [CL_REGION_MOVE] = {"move", true, true, "expected PARTITION SHARD, or PARTITION --anywhere"},
    [CL_REGION_SPLIT] = {"split", true, false, "expected PARTITION"},
    [CL_REGION_REBALANCE] = {"rebalance", false, false, "takes no argument but --dry-run"},
    [CL_REGION_DRAIN] = {"drain-shard", false, true, "expected SHARD"},
    [CL_REGION_UNDRAIN] = {"undrain-shard", false, true, "expected SHARD"},
    [CL_REGION_USE_COPY] = {"use-copy", true, true, "expected PARTITION SHARD"},
};

static const struct argp_option region_argp_options[] = {
    {"anywhere", KEY_ANYWHERE, NULL, 0,
     "of move, instead of SHARD: the partition may be anywhere again", 0},
    {"dry-run", KEY_DRY_RUN, NULL, 0, "of rebalance: only says what would move", 0},
    {"sure", KEY_SURE, NULL, 0, "of use-copy: what the copy lacks is lost", 0},
    {"at", KEY_AT, "PLACE", 0,
     "of split: the new partition has what begins with this byte and above, 1 to 255; else the "
     "upper half",
     0},
    {0},
};

static error_t take_verb(struct cl_region_options *options, const char *arg)
{
    for (int i = 0; i < CL_REGION_VERBS; i++) {
        if (strcmp(arg, verbs[i].name) == 0) {
            options->verb = (enum cl_region_verb)i;
            options->has_verb = true;
            return 0;
        }
    }
    return cl_args_wrong(&options->common,
                         "region '%s': expected shards, map, move, split, rebalance, drain-shard, "
                         "undrain-shard or use-copy",
                         arg);
}

static error_t take_argument(struct cl_region_options *options, char *arg)
{
    struct cl_args *common = &options->common;
    int64_t number;
    if (!options->has_verb)
        return take_verb(options, arg);
    if (verbs[options->verb].partition && !options->has_partition) {
        if (!cl_args_place(common, "partition", arg, 0, PARTITION_MAX, &number))
            return EINVAL;
        options->partition = (uint32_t)number;
        options->has_partition = true;
        return 0;
    }
    if (!verbs[options->verb].shard || options->shard != NULL)
        return cl_args_wrong(common, "unexpected argument '%s': region %s %s", arg,
                             verbs[options->verb].name, verbs[options->verb].expected);
    options->shard = arg;
    return cl_name_ok(common, "shard", arg) ? 0 : EINVAL;
}

static error_t check(struct cl_region_options *options)
{
    struct cl_args *common = &options->common;
    if (!options->has_verb)
        return cl_args_wrong(common, "what of the region? Expected shards, map, move, split, "
                                     "rebalance, drain-shard, undrain-shard or use-copy");
    const char *name = verbs[options->verb].name;
    if (options->anywhere && options->verb != CL_REGION_MOVE)
        return cl_args_wrong(common, "--anywhere is for region move");
    if (options->dry_run && options->verb != CL_REGION_REBALANCE)
        return cl_args_wrong(common, "--dry-run is for region rebalance");
    if (options->sure && options->verb != CL_REGION_USE_COPY)
        return cl_args_wrong(common, "--sure is for region use-copy");
    if (options->at != 0 && options->verb != CL_REGION_SPLIT)
        return cl_args_wrong(common, "--at is for region split");
    if (options->anywhere && options->shard != NULL)
        return cl_args_wrong(common, "--anywhere and a shard exclude each other");
    bool complete = (!verbs[options->verb].partition || options->has_partition) &&
                    (!verbs[options->verb].shard || options->shard != NULL || options->anywhere);
    return complete ? 0
                    : cl_args_wrong(common, "region %s: %s", name, verbs[options->verb].expected);
}

static error_t parse_region(int key, char *arg, struct argp_state *state)
{
    struct cl_region_options *options = state->input;
    int64_t number;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->common;
        return 0;
    case KEY_ANYWHERE:
        options->anywhere = true;
        return 0;
    case KEY_AT:
        if (!cl_args_number(&options->common, "at", arg, 1, UINT8_MAX, &number))
            return EINVAL;
        options->at = (uint32_t)number;
        return 0;
    case KEY_DRY_RUN:
        options->dry_run = true;
        return 0;
    case KEY_SURE:
        options->sure = true;
        return 0;
    case ARGP_KEY_ARG:
        return take_argument(options, arg);
    case ARGP_KEY_END:
        return check(options);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

enum cl_parse cl_region_parse(struct cl_region_options *options, const struct cl_args *defaults,
                              int argc, char **argv)
{
    static const char doc[] =
        "Shows the shards of a region and what they have, and moves it.\n\n"
        "  shards               who is there\n"
        "  map                  who has which partition\n"
        "  move PARTITION SHARD the partition belongs there from now on, and goes there\n"
        "  move PARTITION --anywhere  it may be anywhere again\n"
        "  split PARTITION      a new partition gets half of what it has, both serve on\n"
        "  rebalance            all may be anywhere, and are spread evenly\n"
        "  drain-shard SHARD    it gives what it has to the others and takes no more\n"
        "  undrain-shard SHARD  it takes partitions again\n"
        "  use-copy PARTITION SHARD  with local storage, when the other copies are lost: says how "
        "old\n"
        "                       that shard's is; with --sure the partition goes on with it\n\n"
        "An order that is interrupted goes on.\v" CL_EXIT_CODES;
    const struct argp argp = {region_argp_options,
                              parse_region,
                              "shards|map|move|split|rebalance|drain-shard|undrain-shard|use-copy "
                              "...",
                              doc,
                              CL_ARGS_CHILDREN,
                              NULL,
                              NULL};
    *options = (struct cl_region_options){.common = *defaults};
    return cl_args_parse(&argp, argc, argv, 0, &options->common, options);
}
