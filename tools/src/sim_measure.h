/*
 * What is seen of a run: waits, use of clusters, shares of queues, over time and in all. Times in a
 * result are seconds from the first arrival.
 *
 * Means of use are over the time in which tasks arrive (over the whole run when all come at once):
 * after that a region only empties. What goes on over time is sampled, 240 to 480 times a run.
 * Fragmentation is as Weng et al. define it (USENIX ATC 2023): of the GPUs that are free (of the
 * cpu, on nodes without GPUs), the part that a task drawn from the trace could not use because the
 * rest of what it needs is not on the same node.
 */
#pragma once

#include "tools/src/sim_share.h"

struct sim_node;
struct sim_measure;

/* ---- results ---- */

/* Of each sample: */
enum { SIM_SAMPLE_CPU, SIM_SAMPLE_MEMORY, SIM_SAMPLE_GPU, SIM_SAMPLE_OF_CLUSTER };
enum { SIM_SAMPLE_WAITING, SIM_SAMPLE_SHARE, SIM_SAMPLE_ENTITLED, SIM_SAMPLE_OF_QUEUE };

struct sim_waits {
    double *seconds; /* sorted */
    size_t count;
    double mean;
};

struct sim_queue_result {
    char name[3 * SCH_QUEUE_NAME_MAX];
    uint64_t tasks, refused, gave_up, unplaced, preempted, reclaimed;
    struct sim_waits waits;
    double got, entitled; /* of what was out, 0 to 1, while queues competed */
};

struct sim_cluster_result {
    char name[SCH_QUEUE_NAME_MAX];
    double cores, memory_bytes, gpus;       /* there are */
    double cost;                            /* of the cores in use, over the whole run */
    double cpu, memory, gpu, fragmentation; /* 0 to 1; of cpu in a cluster without GPUs */
};

struct sim_result {
    struct sim_queue_result *queues; /* as in the trace */
    struct sim_cluster_result *clusters;
    size_t queue_count, cluster_count;
    struct sim_cluster_result all; /* the region */
    struct sim_queue_result total;
    struct sim_queue_result gangs; /* of all queues, each once: how long it waited; tasks 0: none */
    double arrivals_s, last_end_s; /* the last arrival; the last end */
    char refusal[SY_ERROR_TEXT_MAX]; /* the first reason, or "" */
    float *samples;                  /* rows of sample_columns */
    size_t sample_count, sample_columns;
    double sample_step_s;
};
void sim_result_free(struct sim_result *result);
/* Columns of a sample. cluster == cluster_count: the region. */
size_t sim_sample_of_cluster(const struct sim_result *result, size_t cluster, size_t what);
size_t sim_sample_of_queue(const struct sim_result *result, size_t queue, size_t what);
double sim_quantile(const struct sim_waits *waits, double q); /* 0 when there are none */

/* ---- while it runs ---- */

struct sim_measure *sim_measure_new(const struct sim_region *region, const struct sim_trace *trace,
                                    const struct sim_node *nodes, uint32_t node_count);
void sim_measure_arrive(struct sim_measure *m, int64_t now_ns, uint32_t task);
void sim_measure_start(struct sim_measure *m, int64_t now_ns, uint32_t task, uint32_t node,
                       bool first);
void sim_measure_leave(struct sim_measure *m, int64_t now_ns, uint32_t task, uint32_t node);
void sim_measure_preempted(struct sim_measure *m, int64_t now_ns, uint32_t task); /* waits again */
/* Its node was taken away: it waits again. */
void sim_measure_reclaimed(struct sim_measure *m, int64_t now_ns, uint32_t task);
void sim_measure_refused(struct sim_measure *m, int64_t now_ns, uint32_t task, const char *why);
void sim_measure_gave_up(struct sim_measure *m, int64_t now_ns, uint32_t task);
/* Frees it. */
struct sim_result *sim_measure_finish(struct sim_measure *m, int64_t now_ns);
