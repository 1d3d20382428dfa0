/* switchyard-bench: arguments and order of events. */
#include "tools/src/bench.h"

#include "base/mem.h"
#include "tools/src/cl_enqueue.h"
#include "tools/src/cl_spec.h"
#include "tools/src/cl_straight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY_NAME "libswitchyard-bench.so"
#define SETTLE_NS (300 * SY_NS_PER_MS)
#define SETTLE_BUSY_US 30000 /* a tenth of one CPU */
#define SETTLE_ROUNDS_MAX 100
#define COUNT_MAX 9999999 /* names have seven digits */
#define REPEAT_MAX 99
#define WARMUP 200
#define KINDS "fanout, latency, runs, process, memory, streams, region or forward"
#define SENT_TO_END "sent to end"

static const struct bench_kind kinds[] = {
    {"fanout", "no-op functions in one run", 100000, bench_run_fanout, SENT_TO_END, "", false},
    {"latency", "no-op functions, one at a time", 5000, bench_run_latency, "sent to started",
     SENT_TO_END, false},
    {"runs", "runs of one no-op function", 20000, bench_run_runs, SENT_TO_END, "", false},
    {"process", "cold processes in one run", 2000, bench_run_process, SENT_TO_END, "", false},
    {"memory", "queued actions that find no room", 1000000, bench_run_memory, "", "", false},
    {"streams", "open watches that hear of one change", 10000, bench_run_streams, SENT_TO_END, "",
     false},
    {"region", "planned moves of a partition", 20, bench_run_region, "without answer",
     "call to answer", true},
    {"forward", "calls through one shard", 40000, bench_run_forward, "another's", "its own", true},
};

const struct bench_kind *bench_kind_find(const char *name)
{
    for (size_t i = 0; i < SY_COUNT_OF(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    return NULL;
}

/* ---- arguments ---- */

enum {
    KEY_COUNT = 0x100,
    KEY_CONCURRENCY,
    KEY_BATCH,
    KEY_WINDOW,
    KEY_QUEUED,
    KEY_FINISHED,
    KEY_WARMUP,
    KEY_REPEAT,
    KEY_PIDS,
    KEY_DATA,
    KEY_LIBRARY,
    KEY_ENVIRONMENT,
    KEY_JSON,
};

static const struct argp_option bench_argp_options[] = {
    {"count", KEY_COUNT, "N", 0,
     "tasks to measure (fanout 100000, latency 5000, runs 20000, "
     "process 2000, memory 1000000, streams 10000), moves (region 20), or calls (forward 40000)",
     0},
    {"json", KEY_JSON, NULL, 0, "one line of JSON (as -o json)", 0},
    {"concurrency", KEY_CONCURRENCY, "N", 0, "runs, forward: calls in flight (64)", 0},
    {"batch", KEY_BATCH, "N", 0, "fanout, process: children in one call (1000)", 0},
    {"window", KEY_WINDOW, "N", 0, "fanout, process: calls in flight (4)", 0},
    {"queued", KEY_QUEUED, "M", 0, "first enqueue M actions that find no room (0)", 0},
    {"finished", KEY_FINISHED, "M", 0, "first run M tasks (0)", 0},
    {"warmup", KEY_WARMUP, "N", 0, "tasks that start the workers, not measured (200)", 0},
    {"repeat", KEY_REPEAT, "N", 0, "measure N times, print the median of each figure (1)", 0},
    {"pids", KEY_PIDS, "NAME=PID,...", 0,
     "whose CPU, writes and memory to add up; 'self' is this "
     "program",
     0},
    {"data", KEY_DATA, "FOLDER", 0, "data of the region, to tell how much it grew", 0},
    {"library", KEY_LIBRARY, "FILE", 0, "default: " LIBRARY_NAME " beside this program", 0},
    {"environment", KEY_ENVIRONMENT, "NAME", 0, "pool of warm workers (" CL_ENVIRONMENT_DEFAULT ")",
     0},
    {0},
};

static error_t parse_number(struct bench_options *options, int key, const char *arg)
{
    const struct {
        int key;
        const char *name;
        int64_t min, max;
        int64_t *ret;
    } numbers[] = {
        {KEY_COUNT, "count", 1, COUNT_MAX, &options->count},
        {KEY_CONCURRENCY, "concurrency", 1, 10000, &options->concurrency},
        {KEY_BATCH, "batch", 1, CL_ENQUEUE_BATCH_MAX, &options->batch},
        {KEY_WINDOW, "window", 1, 1000, &options->window},
        {KEY_QUEUED, "queued", 0, COUNT_MAX, &options->queued},
        {KEY_FINISHED, "finished", 0, COUNT_MAX, &options->finished},
        {KEY_WARMUP, "warmup", 0, COUNT_MAX, &options->warmup},
        {KEY_REPEAT, "repeat", 1, REPEAT_MAX, &options->repeat},
    };
    for (size_t i = 0; i < SY_COUNT_OF(numbers); i++) {
        if (numbers[i].key == key)
            return cl_args_number(&options->common, numbers[i].name, arg, numbers[i].min,
                                  numbers[i].max, numbers[i].ret)
                       ? 0
                       : EINVAL;
    }
    return ARGP_ERR_UNKNOWN;
}

static error_t parse_bench(int key, char *arg, struct argp_state *state)
{
    struct bench_options *options = state->input;
    struct cl_args *common = &options->common;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    case KEY_JSON:
        common->json = true;
        return 0;
    case KEY_PIDS:
        options->pids = arg;
        return 0;
    case KEY_DATA:
        options->data = arg;
        return 0;
    case KEY_LIBRARY:
        options->library = arg;
        return 0;
    case KEY_ENVIRONMENT:
        options->environment = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (options->kind)
            return cl_args_wrong(common, "unexpected argument '%s'", arg);
        options->kind = bench_kind_find(arg);
        if (!options->kind)
            return cl_args_wrong(common, "'%s': expected " KINDS, arg);
        return 0;
    case ARGP_KEY_END:
        if (!options->kind)
            return cl_args_wrong(common, "which? Expected " KINDS);
        if ((options->kind->run == bench_run_memory || options->kind->run == bench_run_streams) &&
            options->repeat > 1)
            return cl_args_wrong(common,
                                 "%s: no --repeat; what a region has freed stays resident, so only "
                                 "its first measurement counts",
                                 options->kind->name);
        if (options->count == 0)
            options->count = options->kind->count;
        if (options->warmup < 0)
            options->warmup = options->kind->without_warmup ? 0 : WARMUP;
        return 0;
    default:
        return parse_number(options, key, arg);
    }
}

enum cl_parse bench_options_parse(struct bench_options *options, int argc, char **argv)
{
    static const char doc[] =
        "Measures a region that runs already; tools/bench starts a throw-away one and this "
        "program.\v" CL_EXIT_CODES;
    const struct argp argp = {bench_argp_options,
                              parse_bench,
                              "fanout|latency|runs|process|memory|streams|region|forward",
                              doc,
                              CL_ARGS_CHILDREN,
                              NULL,
                              NULL};
    *options = (struct bench_options){.concurrency = 64,
                                      .batch = 1000,
                                      .window = 4,
                                      .warmup = -1,
                                      .repeat = 1,
                                      .environment = cl_environment()};
    cl_args_init(&options->common);
    return cl_args_parse(&argp, argc, argv, 0, &options->common, options);
}

/* ---- order of events ---- */

void bench_measure_begin(struct bench *bench)
{
    if (bench->options.data)
        bench->data_begin_bytes = bench_folder_bytes(bench->options.data);
    bench_usage_begin(&bench->usage);
}

void bench_measure_end(struct bench *bench)
{
    bench_usage_end(&bench->usage);
    if (bench->options.data)
        bench->data_end_bytes = bench_folder_bytes(bench->options.data);
}

static enum cl_exit prepare(struct bench *bench, struct cl_error *error)
{
    struct sy_error_text text;
    bench->library = cl_task_library(bench->options.library, LIBRARY_NAME, &text);
    if (!bench->library)
        return cl_fail(error, CL_USAGE, "%s", text.text);
    struct cl_spec noop = {.type = CL_SPEC_FUNCTION,
                           .environment = bench->options.environment,
                           .library = bench->library,
                           .function = "noop",
                           .cpu = "0", /* nothing but a slot: see bench_block.c */
                           .memory = "0"};
    if (bench_usage_parse(&bench->usage, bench->options.pids, &text) < 0)
        return cl_fail(error, CL_USAGE, "%s", text.text);
    if (cl_spec_pack(&noop, &bench->noop_spec, &text) < 0)
        return cl_fail(error, CL_USAGE, "%s", text.text);
    if (cl_client_new(&bench->client, &bench->options.common.client, error) == CL_OK)
        cl_straight_begin(bench->client);
    return error->exit;
}

void bench_settle(struct bench *bench)
{
    for (int round = 0; round < SETTLE_ROUNDS_MAX; round++) {
        struct bench_usage usage = bench->usage;
        uint64_t busy_us = 0;
        bench_usage_begin(&usage);
        cl_sleep(bench->client, SETTLE_NS);
        bench_usage_end(&usage);
        for (size_t i = 0; i < usage.count; i++)
            busy_us += bench_usage_cpu_us(&usage, i);
        if (busy_us < SETTLE_BUSY_US || bench->client->interrupted)
            return;
    }
}

static enum cl_exit measure(struct bench *bench, struct cl_error *error)
{
    const struct bench_options *o = &bench->options;
    struct bench_blocked blocked;
    if (bench_fan_out(bench, &bench->noop_spec, (uint64_t)o->warmup, false, error) != CL_OK ||
        bench_fan_out(bench, &bench->noop_spec, (uint64_t)o->finished, false, error) != CL_OK)
        return error->exit;
    enum cl_exit exit_code = bench_block(bench, &blocked, (uint64_t)o->queued, error);
    if (exit_code == CL_OK) {
        bench_settle(bench);
        exit_code = o->kind->run(bench, error);
    }
    bench_unblock(bench, &blocked);
    return exit_code;
}

/* For the next measurement of the same bench. */
static void clear(struct bench *bench)
{
    *bench->latency = (struct cl_hist){0};
    *bench->done = (struct cl_hist){0};
    bench->first_ns = bench->last_ns = 0;
}

/* All measurements; prints what came of them. */
static enum cl_exit measure_all(struct bench *bench, struct cl_error *error)
{
    json_t *lines[REPEAT_MAX] = {NULL};
    size_t count = 0, repeat = (size_t)bench->options.repeat;
    bool json = bench->options.common.json;
    for (; count < repeat; count++) {
        clear(bench);
        if (measure(bench, error) != CL_OK)
            break;
        lines[count] = bench_json(bench);
    }
    if (error->exit == CL_OK && json)
        cl_json_line(bench_medians(lines, repeat), stdout);
    else if (error->exit == CL_OK && repeat == 1)
        bench_print_table(bench);
    else if (error->exit == CL_OK)
        bench_print_medians(lines, repeat);
    for (size_t i = 0; i < count; i++)
        json_decref(lines[i]);
    return error->exit;
}

enum cl_exit bench_program(int argc, char **argv)
{
    static char program[] = BENCH_PROGRAM;
    argv[0] = program;
    struct bench bench = {.client = NULL};
    struct cl_error error = {.exit = CL_OK};
    if (bench_options_parse(&bench.options, argc, argv) != CL_PARSE_OK)
        return cl_args_exit(BENCH_PROGRAM, &bench.options.common);
    bench.latency = cl_hist_new();
    bench.done = cl_hist_new();
    if (prepare(&bench, &error) == CL_OK)
        measure_all(&bench, &error);
    cl_report(BENCH_PROGRAM, &error);
    cl_client_free(bench.client);
    free(bench.library);
    sy_buf_deinit(&bench.noop_spec);
    free(bench.latency);
    free(bench.done);
    return error.exit;
}
