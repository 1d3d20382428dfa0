/* switchyard region: its arguments, apart so that tests reach them. */
#pragma once

#include "tools/src/cmd.h"

enum cl_region_verb {
    CL_REGION_SHARDS,
    CL_REGION_MAP,
    CL_REGION_MOVE,
    CL_REGION_SPLIT,
    CL_REGION_REBALANCE,
    CL_REGION_DRAIN,
    CL_REGION_UNDRAIN,
    CL_REGION_USE_COPY,
    CL_REGION_VERBS,
};

struct cl_region_options {
    struct cl_args common;
    enum cl_region_verb verb;
    bool has_verb, has_partition, anywhere, dry_run, sure;
    uint32_t partition, at; /* at 0: in the middle */
    const char *shard;      /* NULL: anywhere, or none */
};
enum cl_parse cl_region_parse(struct cl_region_options *options, const struct cl_args *defaults,
                              int argc, char **argv);
