/*
 * switchyard-bench: measures a region that runs already (tools/bench starts a throw-away one). Each
 * bench fills a struct bench_result; bench_report.c prints it.
 *
 *   fanout    N no-op functions as children of one group; latency: sent -> end seen by the client
 *   latency   one no-op function at a time; latency: sent -> started on the warm worker
 *   runs      N runs of one no-op function each; latency: sent -> end seen by the client
 *   process   N cold /bin/true as children of one group; latency as for fanout
 *   memory    N queued actions that find no room: how much the shard's resident memory grows by
 *   region    N planned moves of partitions; latency: the longest time without an answer of each
 *   forward   N calls through a shard, half of them for another one; latency of those
 *   streams   N open watches of one run by HTTP/1.1, from processes of clients; latency: the run's
 *             abort sent -> heard on each
 */
#pragma once

#include "tools/src/bench_usage.h"
#include "tools/src/cl_args.h"
#include "tools/src/cl_hist.h"
#include "tools/src/cl_json.h"
#include "tools/src/cl_methods.h"

#define BENCH_PROGRAM "switchyard-bench"

struct bench;

struct bench_options {
    struct cl_args common;
    const struct bench_kind *kind;
    int64_t count, concurrency, batch, window, queued, finished, warmup, repeat;
    const char *pids, *data, *library, *environment;
};
enum cl_parse bench_options_parse(struct bench_options *options, int argc, char **argv);

struct bench_kind {
    const char *name, *what;
    int64_t count; /* when --count is not given */
    enum cl_exit (*run)(struct bench *bench, struct cl_error *error);
    const char *latency, *done; /* what those histograms hold */
    bool without_warmup;
};
/* NULL: there is none. */
const struct bench_kind *bench_kind_find(const char *name);

struct bench {
    struct bench_options options;
    struct cl_client *client;
    char *library;
    struct sy_buf noop_spec; /* a no-op function on a warm worker */
    struct bench_usage usage;
    /* what the bench measured */
    struct cl_hist *latency, *done;            /* of the kind's choice, ns; empty: nothing */
    int64_t first_ns, last_ns;                 /* first sent, last end; one clock */
    uint64_t data_begin_bytes, data_end_bytes; /* --data on disk */
    struct {
        int64_t open_ns;         /* until each had its first message */
        double shard_bytes;      /* resident memory of the shard, for each */
        double idle_cpu_percent; /* of one CPU, all processes, while nothing happened */
    } streams;                   /* streams bench */
    struct {
        double own_us, carried_us; /* CPU of all shards for a call of its own, and another's */
    } forward;                     /* forward bench */
};

/* Starts and ends the measured part: called by the kinds. */
void bench_measure_begin(struct bench *bench);
void bench_measure_end(struct bench *bench);
/* Waits until the region is quiet: what was done before may still be written and compacted. */
void bench_settle(struct bench *bench);

/* A run that only holds children. */
enum cl_exit bench_group_create(struct bench *bench, char run[CL_RUN_NAME_MAX],
                                struct cl_error *error);
/* A fan-out of `count` children with this spec in a run of its own, up to the end of all. Not
 * measured unless `measured`. Takes nothing. */
enum cl_exit bench_fan_out(struct bench *bench, const struct sy_buf *spec, uint64_t count,
                           bool measured, struct cl_error *error);

/* --queued: `count` children that could run but find no room, for as long as the bench runs.
 *
 * Each asks for a little more than half of the memory of the largest node, so no node can hold two;
 * and on every node that could hold one, a sleeping process of the same size holds that room. So
 * they are feasible, wait, and leave the measured tasks everything but memory, of which those need
 * little. No special configuration is needed, and nothing but memory accounting (no real memory) is
 * taken. */
struct bench_blocked {
    char holders[CL_RUN_NAME_MAX], waiting[CL_RUN_NAME_MAX]; /* runs; "" = none */
    char memory[32];                                         /* that each asks for */
};
enum cl_exit bench_block(struct bench *bench, struct bench_blocked *blocked, uint64_t count,
                         struct cl_error *error);
/* Once: `count` more, after some. */
enum cl_exit bench_block_more(struct bench *bench, struct bench_blocked *blocked, uint64_t count,
                              struct cl_error *error);
/* Aborts both runs. */
void bench_unblock(struct bench *bench, struct bench_blocked *blocked);

enum cl_exit bench_run_fanout(struct bench *bench, struct cl_error *error);
enum cl_exit bench_run_latency(struct bench *bench, struct cl_error *error);
enum cl_exit bench_run_runs(struct bench *bench, struct cl_error *error);
enum cl_exit bench_run_process(struct bench *bench, struct cl_error *error);
enum cl_exit bench_run_memory(struct bench *bench, struct cl_error *error);
enum cl_exit bench_run_region(struct bench *bench, struct cl_error *error);
enum cl_exit bench_run_forward(struct bench *bench, struct cl_error *error);
enum cl_exit bench_run_streams(struct bench *bench, struct cl_error *error);

void bench_print_table(const struct bench *bench);
/* One line with the keys of docs/performance.md. */
json_t *bench_json(const struct bench *bench);

/* --repeat: of several such lines (objects with the same keys) one with the median of each number,
 * also in objects inside; what is no number is as in the first. The lower of two middle ones. */
json_t *bench_medians(json_t *const *lines, size_t count);
/* Each figure: its median, and between what it lay. */
void bench_print_medians(json_t *const *lines, size_t count);

/* The whole program, for bench_main.c. */
enum cl_exit bench_program(int argc, char **argv);
