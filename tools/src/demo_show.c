/* The demo's tables. */
#include "tools/src/cl_hist.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"
#include "tools/src/demo_driver.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what ran where ---- */

struct worker {
    uint8_t place;
    uint32_t attempt;
    int64_t pid;
    uint64_t files, bytes, busy_us;
    struct cl_hist *run_us;
};

static struct worker *worker_of(struct worker *workers, size_t *count,
                                const struct demo_child_state *child)
{
    for (size_t i = 0; i < *count; i++) {
        if (workers[i].pid == child->result.pid && workers[i].place == child->place &&
            workers[i].attempt == child->attempt)
            return &workers[i];
    }
    if (*count == DEMO_PLACES_MAX)
        return NULL;
    struct worker *worker = &workers[(*count)++];
    *worker = (struct worker){.place = child->place,
                              .attempt = child->attempt,
                              .pid = child->result.pid,
                              .run_us = cl_hist_new()};
    return worker;
}

static size_t sum_up(const struct demo_state *state, struct worker *workers)
{
    size_t count = 0;
    for (size_t i = 0; i < state->files.count; i++) {
        const struct demo_child_state *child = &state->children[i];
        struct worker *worker = child->has_result ? worker_of(workers, &count, child) : NULL;
        if (!worker)
            continue;
        worker->files++;
        worker->bytes += child->result.bytes;
        worker->busy_us += child->result.run_us;
        cl_hist_record(worker->run_us, (int64_t)child->result.run_us);
    }
    return count;
}

static void show_workers(const struct demo_state *state)
{
    static const struct cl_column columns[] = {
        {"NODE", false, 4, 0}, {"WORKER", true, 0, 0}, {"ATTEMPT", true, 0, 3},
        {"FILES", true, 0, 0}, {"INPUT", true, 0, 1},  {"P50", true, 0, 0},
        {"P99", true, 0, 0},   {"RATE", true, 0, 2},
    };
    struct worker workers[DEMO_PLACES_MAX];
    size_t count = sum_up(state, workers);
    struct cl_table *table = cl_table_new(columns, 8);
    for (size_t i = 0; i < count; i++) {
        const struct worker *w = &workers[i];
        char pid[24], attempt[16], rate[CL_SHORT_TEXT + 4];
        snprintf(pid, sizeof(pid), "%lld", (long long)w->pid);
        snprintf(attempt, sizeof(attempt), "%u", w->attempt);
        double per_s = (double)w->bytes * 1e6 / (double)(w->busy_us ? w->busy_us : 1);
        snprintf(rate, sizeof(rate), "%s/s", cl_format_bytes((uint64_t)per_s).text);
        uint64_t p50 = cl_hist_quantile(w->run_us, 0.5), p99 = cl_hist_quantile(w->run_us, 0.99);
        struct cl_short files = cl_format_count(w->files), bytes = cl_format_bytes(w->bytes);
        struct cl_short p50_text = cl_format_duration((int64_t)p50 * SY_NS_PER_US);
        struct cl_short p99_text = cl_format_duration((int64_t)p99 * SY_NS_PER_US);
        const char *cells[] = {
            state->nodes[w->place], pid,           attempt, files.text, bytes.text,
            p50_text.text,          p99_text.text, rate};
        cl_table_add(table, cells);
        free(w->run_us);
    }
    printf("What ran where (run %s)\n", state->run);
    cl_table_print(table, stdout, cl_terminal_width(stdout), 2);
    cl_table_free(table);
}

/* ---- the report ---- */

static void show_extensions(const struct demo_report *report)
{
    static const struct cl_column columns[] = {
        {"EXTENSION", false, 4, 0}, {"FILES", true, 0, 0}, {"INPUT", true, 0, 0},
        {"COMPRESSED", true, 0, 1}, {"RATIO", true, 0, 0},
    };
    struct cl_table *table = cl_table_new(columns, 5);
    for (size_t i = 0; i < report->extension_count && i < DEMO_EXTENSIONS_SHOWN; i++) {
        const struct demo_extension *e = &report->extensions[i];
        char ratio[16];
        snprintf(ratio, sizeof(ratio), "%.2f",
                 e->compressed ? (double)e->bytes / (double)e->compressed : 0);
        struct cl_short files = cl_format_count(e->files), bytes = cl_format_bytes(e->bytes);
        struct cl_short compressed = cl_format_bytes(e->compressed);
        const char *cells[] = {e->name, files.text, bytes.text, compressed.text, ratio};
        cl_table_add(table, cells);
    }
    cl_table_print(table, stdout, cl_terminal_width(stdout), 2);
    cl_table_free(table);
}

static void show_slowest(const struct demo_report *report)
{
    static const struct cl_column columns[] = {{"SLOWEST", true, 0, 0}, {"FILE", false, 10, 0}};
    struct cl_table *table = cl_table_new(columns, 2);
    for (size_t i = 0; i < DEMO_SLOWEST && report->slowest[i].run_us > 0; i++) {
        struct cl_short time = cl_format_duration((int64_t)report->slowest[i].run_us *
                                                  SY_NS_PER_US);
        const char *cells[] = {time.text, report->slowest[i].path};
        cl_table_add(table, cells);
    }
    if (cl_table_rows(table) > 0)
        cl_table_print(table, stdout, cl_terminal_width(stdout), 2);
    cl_table_free(table);
}

void demo_show(const struct demo_state *state)
{
    struct demo_report report = {.files = 0};
    for (size_t i = 0; i < state->files.count; i++) {
        if (state->children[i].has_result)
            demo_report_add(&report, state->files.paths[i], &state->children[i].result);
    }
    demo_report_finish(&report);
    show_workers(state);
    printf("\nFiles below %s\n", state->dir);
    show_extensions(&report);
    putchar('\n');
    show_slowest(&report);
    if (state->killed_pid && state->events_good)
        printf("\nThe root ran %u attempts; the second found %s finished children and ran none of "
               "them again.\n",
               state->root_attempts, cl_format_count(state->finished_at_kill).text);
    putchar('\n');
    fflush(stdout);
    demo_report_free(&report);
}
