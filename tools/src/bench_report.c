#include "tools/src/bench.h"
#include "tools/src/cl_json.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"

#include <math.h>
#include <stdio.h>
#include <version.h>

/* The log behind a commit is always synced before an answer: there is no other mode. */
#define DURABLE "sync"

static double rate_per_s(const struct bench *bench)
{
    int64_t elapsed_ns = bench->last_ns - bench->first_ns;
    return elapsed_ns > 0 ? (double)bench->options.count * 1e9 / (double)elapsed_ns : 0;
}

static double per_task(const struct bench *bench, uint64_t amount)
{
    return (double)amount / (double)bench->options.count;
}

static double quantile_us(const struct cl_hist *hist, double q)
{
    return (double)cl_hist_quantile(hist, q) / 1e3;
}

static uint64_t cpu_us(const struct bench *bench)
{
    uint64_t total = 0;
    for (size_t i = 0; i < bench->usage.count; i++)
        total += bench_usage_cpu_us(&bench->usage, i);
    return total;
}

static bool is_memory(const struct bench *bench)
{
    return bench->options.kind->run == bench_run_memory;
}

static double shard_bytes_per_task(const struct bench *bench)
{
    size_t shard = bench_usage_find(&bench->usage, "shard");
    SY_ASSERT(shard != SIZE_MAX);
    return per_task(bench, bench_usage_rss_growth(&bench->usage, shard));
}

static bool is_streams(const struct bench *bench)
{
    return bench->options.kind->run == bench_run_streams;
}

static bool is_region(const struct bench *bench)
{
    return bench->options.kind->run == bench_run_region;
}

/* The quantiles above are of the gaps. */
static void json_region(const struct bench *bench, json_t *line)
{
    cl_json_real(line, "max_us", (double)bench->latency->max / 1e3);
    cl_json_int(line, "calls", (int64_t)bench->done->count);
    cl_json_real(line, "calls_p50_us", quantile_us(bench->done, 0.5));
    cl_json_real(line, "calls_p99_us", quantile_us(bench->done, 0.99));
    cl_json_real(line, "calls_max_us", (double)bench->done->max / 1e3);
}

static void json_streams(const struct bench *bench, json_t *line)
{
    cl_json_real(line, "open_s", (double)bench->streams.open_ns / 1e9);
    cl_json_real(line, "last_us", (double)(bench->last_ns - bench->first_ns) / 1e3);
    cl_json_real(line, "shard_bytes_per_stream", bench->streams.shard_bytes);
    cl_json_real(line, "idle_cpu_percent", bench->streams.idle_cpu_percent);
}

static bool is_forward(const struct bench *bench)
{
    return bench->options.kind->run == bench_run_forward;
}

/* The quantiles are of the calls that were carried. */
static void json_forward(const struct bench *bench, json_t *line)
{
    cl_json_real(line, "own_p50_us", quantile_us(bench->done, 0.5));
    cl_json_real(line, "own_p99_us", quantile_us(bench->done, 0.99));
    cl_json_real(line, "shards_cpu_us_own", bench->forward.own_us);
    cl_json_real(line, "shards_cpu_us_carried", bench->forward.carried_us);
    cl_json_real(line, "forward_cpu_us", bench->forward.carried_us - bench->forward.own_us);
}

json_t *bench_json(const struct bench *bench)
{
    const struct bench_usage *usage = &bench->usage;
    json_t *line = json_object(), *by_process = json_object();
    cl_json_str(line, "bench", bench->options.kind->name);
    cl_json_int(line, "count", bench->options.count);
    cl_json_real(line, "rate_per_s", rate_per_s(bench));
    if (bench->latency->count > 0) {
        cl_json_real(line, "p50_us", quantile_us(bench->latency, 0.5));
        cl_json_real(line, "p99_us", quantile_us(bench->latency, 0.99));
        cl_json_real(line, "p999_us", quantile_us(bench->latency, 0.999));
    }
    cl_json_real(line, "cpu_us_per_task", per_task(bench, cpu_us(bench)));
    for (size_t i = 0; i < usage->count; i++)
        cl_json_real(by_process, usage->processes[i].name,
                     per_task(bench, bench_usage_cpu_us(usage, i)));
    cl_json_set(line, "cpu_us_by_process", by_process);
    if (usage->no_io)
        cl_json_set(line, "bytes_written_per_task", json_null());
    else
        cl_json_real(line, "bytes_written_per_task", per_task(bench, bench_usage_written(usage)));
    cl_json_int(line, "rss_peak_bytes", (int64_t)bench_usage_rss_peak(usage));
    if (is_memory(bench))
        cl_json_real(line, "shard_bytes_per_task", shard_bytes_per_task(bench));
    if (is_streams(bench))
        json_streams(bench, line);
    if (is_region(bench))
        json_region(bench, line);
    if (is_forward(bench))
        json_forward(bench, line);
    if (bench->options.repeat > 1)
        cl_json_int(line, "repeat", bench->options.repeat);
    cl_json_str(line, "durable", DURABLE);
    cl_json_str(line, "commit", SY_COMMIT);
    cl_json_str(line, "build", SY_BUILD_TYPE);
    return line;
}

static void print_latency(const struct bench *bench)
{
    static const struct cl_column columns[] = {
        {"LATENCY", false, 6, 0}, {"P50", true, 0, 0}, {"P99", true, 0, 0},
        {"P99.9", true, 0, 0},    {"MAX", true, 0, 1},
    };
    const struct {
        const char *name;
        const struct cl_hist *hist;
    } rows[] = {{bench->options.kind->latency, bench->latency},
                {bench->options.kind->done, bench->done}};
    struct cl_table *table = cl_table_new(columns, 5);
    for (size_t i = 0; i < 2; i++) {
        const struct cl_hist *hist = rows[i].hist;
        if (hist->count == 0)
            continue;
        struct cl_short p50 = cl_format_duration((int64_t)cl_hist_quantile(hist, 0.5));
        struct cl_short p99 = cl_format_duration((int64_t)cl_hist_quantile(hist, 0.99));
        struct cl_short p999 = cl_format_duration((int64_t)cl_hist_quantile(hist, 0.999));
        struct cl_short max = cl_format_duration((int64_t)hist->max);
        const char *cells[] = {rows[i].name, p50.text, p99.text, p999.text, max.text};
        cl_table_add(table, cells);
    }
    cl_table_print(table, stdout, cl_terminal_width(stdout), 2);
    cl_table_free(table);
}

static void print_processes(const struct bench *bench)
{
    static const struct cl_column columns[] = {
        {"PROCESS", false, 6, 0},
        {"CPU/TASK", true, 0, 0},
        {"WRITTEN/TASK", true, 0, 1},
        {"PEAK RSS", true, 0, 2},
    };
    const struct bench_usage *usage = &bench->usage;
    struct cl_table *table = cl_table_new(columns, 4);
    uint64_t count = (uint64_t)bench->options.count;
    for (size_t i = 0; i <= usage->count; i++) {
        bool all = i == usage->count;
        char cpu[32];
        uint64_t written, rss, cpu_total;
        if (all) {
            cpu_total = cpu_us(bench);
            written = bench_usage_written(usage);
            rss = bench_usage_rss_peak(usage);
        } else {
            const struct bench_process *p = &usage->processes[i];
            cpu_total = bench_usage_cpu_us(usage, i);
            written = p->end.written_bytes > p->begin.written_bytes
                          ? p->end.written_bytes - p->begin.written_bytes
                          : 0;
            rss = p->end.rss_peak_bytes;
        }
        snprintf(cpu, sizeof(cpu), "%.2fus", per_task(bench, cpu_total));
        struct cl_short bytes = cl_format_bytes(written / count), peak = cl_format_bytes(rss);
        const char *cells[] = {all ? "all" : usage->processes[i].name, cpu,
                               usage->no_io ? "-" : bytes.text, peak.text};
        cl_table_add(table, cells);
    }
    cl_table_print(table, stdout, cl_terminal_width(stdout), 2);
    cl_table_free(table);
}

void bench_print_table(const struct bench *bench)
{
    const struct bench_options *o = &bench->options;
    printf("%s: %s %s in %s: %s/s (durable: %s; %s, commit %s)\n", o->kind->name,
           cl_format_count((uint64_t)o->count).text, o->kind->what,
           cl_format_duration(bench->last_ns - bench->first_ns).text,
           cl_format_count((uint64_t)llround(rate_per_s(bench))).text, DURABLE, SY_BUILD_TYPE,
           SY_COMMIT);
    if (o->queued > 0)
        printf("  with %s actions queued ahead that found no room\n",
               cl_format_count((uint64_t)o->queued).text);
    if (o->finished > 0)
        printf("  after %s finished tasks\n", cl_format_count((uint64_t)o->finished).text);
    if (is_memory(bench))
        printf("  the shard's resident memory grew by %.1f bytes for each\n",
               shard_bytes_per_task(bench));
    if (is_streams(bench))
        printf("  opened in %s; the shard's resident memory grew by %.0f bytes for each; open, "
               "they took %.1f%% of one CPU\n",
               cl_format_duration(bench->streams.open_ns).text, bench->streams.shard_bytes,
               bench->streams.idle_cpu_percent);
    if (is_forward(bench))
        printf(
            "  CPU of all shards: %.1fus for a call of its own, %.1fus for one that it carries to "
            "another: %.1fus for carrying it\n",
            bench->forward.own_us, bench->forward.carried_us,
            bench->forward.carried_us - bench->forward.own_us);
    putchar('\n');
    if (bench->latency->count > 0) {
        print_latency(bench);
        putchar('\n');
    }
    print_processes(bench);
    if (o->data)
        printf("\n  data directory: %s, grew by %s\n", cl_format_bytes(bench->data_end_bytes).text,
               cl_format_bytes(bench->data_end_bytes > bench->data_begin_bytes
                                   ? bench->data_end_bytes - bench->data_begin_bytes
                                   : 0)
                   .text);
    printf("  CPU is user + system of each daemon with all below it; written is write_bytes of "
           "/proc/PID/io.\n");
}
