/*
 * Makes traces that look like those of real regions: log-normal durations with heavy tails,
 * arrivals that follow the day, fan-outs, and bursts. The figures are ours, chosen after what is
 * published (docs/scheduling.md, "Generated traces"); they are one table in sim_generate.c.
 */
#pragma once

#include "tools/src/sim_region.h"
#include "tools/src/sim_trace.h"

enum sim_workload {
    SIM_WORKLOAD_MIXED,        /* training, tuning, batch and interactive work */
    SIM_WORKLOAD_BURSTY,       /* the same; most of it comes in bursts */
    SIM_WORKLOAD_GPU_TRAINING, /* training and tuning */
    SIM_WORKLOAD_FAN_OUT,      /* batch work, hundreds of short tasks at once */
    SIM_WORKLOAD_SHARED_GPU,   /* as mixed, and serving that takes parts of GPUs */
    SIM_WORKLOAD_SPOT,         /* as mixed; most of batch and tuning may run on spot nodes */
    SIM_WORKLOADS,
};
#define SIM_WORKLOAD_NAMES "mixed, bursty, gpu-training, fan-out, shared-gpu or spot"
int sim_workload_parse(const char *name, enum sim_workload *ret) SY_MUST_USE;

struct sim_generate_options {
    enum sim_workload workload;
    double hours; /* of arrivals; 0.1 to 8760 */
    double load;  /* work over capacity x hours, of GPUs and of cpu; 0.01 to 10 */
    uint64_t seed;
};

/* Fills an empty trace, sorted. The same options and region give the same trace. -EINVAL with a
 * sentence: the region cannot run such work, or it would be too many tasks. */
int sim_generate(struct sim_trace *trace, const struct sim_region *region,
                 const struct sim_generate_options *options,
                 struct sy_error_text *error) SY_MUST_USE;
