#include "tools/src/sim_plot.h"

#include "base/file.h"
#include "base/mem.h"
#include "tools/src/sim_chart.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POINTS 256u /* of a CDF */
#define AFTER 0.25  /* what is shown after the last arrival, of the time before it */
#define RUNS_MAX 6u /* as many colours there are */

_Static_assert(RUNS_MAX == SIM_COLORS, "a colour for each run");

struct plots {
    const char *folder;
    const struct sim_variant *variants;
    size_t count, queue_count;
    size_t queues[SIM_COLORS]; /* those shown: the ones with most tasks */
    struct sim_legend by_run[RUNS_MAX], by_queue[SIM_COLORS];
    double hours; /* of the longest run, that are shown */
};

/* ---- lines ---- */

static void line_init(struct sim_line *line, size_t count, unsigned color, bool dashed)
{
    *line = (struct sim_line){.count = count, .color = color, .dashed = dashed};
    line->x = sy_calloc(count + 1, sizeof(double));
    line->y = sy_calloc(count + 1, sizeof(double));
}

static void line_of_samples(struct sim_line *line, const struct sim_result *result, size_t column,
                            double hours, unsigned color, bool dashed)
{
    line_init(line, result->sample_count, color, dashed);
    line->count = 0;
    for (size_t i = 0; i < result->sample_count; i++) {
        double at = (double)i * result->sample_step_s / 3600;
        if (at > hours)
            break;
        line->x[i] = at;
        line->y[i] = result->samples[i * result->sample_columns + column];
        line->count++;
    }
}

static void line_of_waits(struct sim_line *line, const struct sim_waits *waits, unsigned color)
{
    size_t count = waits->count < POINTS ? waits->count : POINTS;
    line_init(line, count, color, false);
    for (size_t i = 0; i < count; i++) {
        size_t rank = count > 1 ? i * (waits->count - 1) / (count - 1) : 0;
        line->x[i] = waits->seconds[rank];
        line->y[i] = (double)(rank + 1) / (double)waits->count;
    }
}

static struct sim_panel *panels_new(size_t count, size_t lines)
{
    struct sim_panel *panels = sy_calloc(count, sizeof(*panels));
    for (size_t i = 0; i < count; i++)
        panels[i] = (struct sim_panel){.lines = sy_calloc(lines, sizeof(struct sim_line)),
                                       .count = lines};
    return panels;
}

/* ---- files ---- */

static int write_file(const char *folder, const char *name, const struct sy_buf *text,
                      struct sy_error_text *error)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int r = fd < 0 ? -errno : sy_write_all(fd, text->data, text->len);
    if (fd >= 0 && close(fd) < 0 && r == 0)
        r = -errno;
    if (r < 0)
        sy_error_text_set(error, "%s: %s", path, strerror(-r));
    return r;
}

/* Draws, writes, and frees the panels. */
static int finish(const struct plots *plots, const char *name, struct sim_chart *chart,
                  struct sy_error_text *error)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf text = {0};
    sim_chart_draw(chart, &text);
    for (size_t i = 0; i < chart->count; i++) {
        for (size_t k = 0; k < chart->panels[i].count; k++) {
            free(chart->panels[i].lines[k].x);
            free(chart->panels[i].lines[k].y);
        }
        free(chart->panels[i].lines);
    }
    free(chart->panels);
    return write_file(plots->folder, name, &text, error);
}

/* ---- the charts ---- */

static int plot_utilisation(const struct plots *plots, struct sy_error_text *error)
{
    static const struct {
        const char *title;
        size_t what;
    } all[] = {{"GPUs", SIM_SAMPLE_GPU}, {"cpu", SIM_SAMPLE_CPU}, {"memory", SIM_SAMPLE_MEMORY}};
    size_t skipped = plots->variants[0].result->all.gpus > 0 ? 0 : 1;
    struct sim_chart chart = {.title = "In use, of all that the region has",
                              .x_label = "hours since the first arrival",
                              .y_label = "in use",
                              .y_percent = true,
                              .x_max = plots->hours,
                              .y_max = 1,
                              .count = SY_COUNT_OF(all) - skipped,
                              .legend = plots->by_run,
                              .legend_count = plots->count};
    chart.panels = panels_new(chart.count, plots->count);
    for (size_t i = 0; i < chart.count; i++) {
        chart.panels[i].title = all[i + skipped].title;
        for (size_t v = 0; v < plots->count; v++) {
            const struct sim_result *result = plots->variants[v].result;
            size_t column = sim_sample_of_cluster(result, result->cluster_count,
                                                  all[i + skipped].what);
            line_of_samples(&chart.panels[i].lines[v], result, column, plots->hours, (unsigned)v,
                            false);
        }
    }
    return finish(plots, "utilisation.svg", &chart, error);
}

static double longest_wait(const struct plots *plots)
{
    double longest_s = 1;
    for (size_t v = 0; v < plots->count; v++) {
        double last_s = sim_quantile(&plots->variants[v].result->total.waits, 1);
        longest_s = last_s > longest_s ? last_s : longest_s;
    }
    return longest_s;
}

/* Each gang once. */
static int plot_waits(const struct plots *plots, bool gangs, struct sy_error_text *error)
{
    struct sim_chart chart = {.title = gangs ? "How long gangs waited" : "How long tasks waited",
                              .x_label = "waited at most",
                              .y_label = gangs ? "of the gangs that started"
                                               : "of the tasks that started",
                              .x_scale = SIM_SCALE_SECONDS,
                              .y_percent = true,
                              .x_max = longest_wait(plots),
                              .y_max = 1,
                              .count = 1,
                              .legend = plots->by_run,
                              .legend_count = plots->count};
    if (gangs && plots->variants[0].result->gangs.tasks == 0)
        return 0;
    chart.panels = panels_new(1, plots->count);
    chart.panels[0].title = "all queues";
    for (size_t v = 0; v < plots->count; v++) {
        const struct sim_result *result = plots->variants[v].result;
        line_of_waits(&chart.panels[0].lines[v],
                      gangs ? &result->gangs.waits : &result->total.waits, (unsigned)v);
    }
    return finish(plots, gangs ? "gang-waits.svg" : "waits.svg", &chart, error);
}

/* A panel for each run, a line for each queue. */
static struct sim_chart by_queue(const struct plots *plots, const char *title, size_t lines)
{
    struct sim_chart chart = {.title = title,
                              .x_label = "hours since the first arrival",
                              .x_max = plots->hours,
                              .y_max = 1,
                              .count = plots->count,
                              .legend = plots->by_queue,
                              .legend_count = plots->queue_count};
    chart.panels = panels_new(plots->count, plots->queue_count * lines);
    for (size_t v = 0; v < plots->count; v++)
        chart.panels[v].title = plots->variants[v].name;
    return chart;
}

static int plot_queue_waits(const struct plots *plots, struct sy_error_text *error)
{
    struct sim_chart chart = by_queue(plots, "How long tasks waited, by queue", 1);
    chart.x_label = "waited at most";
    chart.y_label = "of the tasks that started";
    chart.x_scale = SIM_SCALE_SECONDS;
    chart.y_percent = true;
    chart.x_max = longest_wait(plots);
    for (size_t v = 0; v < plots->count; v++) {
        for (size_t q = 0; q < plots->queue_count; q++)
            line_of_waits(&chart.panels[v].lines[q],
                          &plots->variants[v].result->queues[plots->queues[q]].waits, (unsigned)q);
    }
    return finish(plots, "queue-waits.svg", &chart, error);
}

static double highest(const struct sim_line *line, double least)
{
    double most = least;
    for (size_t i = 0; i < line->count; i++)
        most = line->y[i] > most ? line->y[i] : most;
    return most;
}

static int plot_fairness(const struct plots *plots, struct sy_error_text *error)
{
    static const size_t whats[] = {SIM_SAMPLE_SHARE, SIM_SAMPLE_ENTITLED};
    struct sim_chart chart = by_queue(plots, "Share of what is out (dashed: entitled to)",
                                      SY_COUNT_OF(whats));
    chart.y_label = "dominant share";
    chart.y_percent = true;
    chart.y_max = 0.1;
    for (size_t v = 0; v < plots->count; v++) {
        const struct sim_result *result = plots->variants[v].result;
        for (size_t i = 0; i < plots->queue_count * SY_COUNT_OF(whats); i++) {
            size_t q = i / SY_COUNT_OF(whats), what = i % SY_COUNT_OF(whats);
            struct sim_line *line = &chart.panels[v].lines[i];
            line_of_samples(line, result,
                            sim_sample_of_queue(result, plots->queues[q], whats[what]),
                            plots->hours, (unsigned)q, what > 0);
            chart.y_max = highest(line, chart.y_max);
        }
    }
    return finish(plots, "fairness.svg", &chart, error);
}

static int plot_queue_length(const struct plots *plots, struct sy_error_text *error)
{
    struct sim_chart chart = by_queue(plots, "Tasks that wait", 1);
    chart.y_label = "tasks";
    for (size_t v = 0; v < plots->count; v++) {
        const struct sim_result *result = plots->variants[v].result;
        for (size_t q = 0; q < plots->queue_count; q++) {
            struct sim_line *line = &chart.panels[v].lines[q];
            line_of_samples(line, result,
                            sim_sample_of_queue(result, plots->queues[q], SIM_SAMPLE_WAITING),
                            plots->hours, (unsigned)q, false);
            chart.y_max = highest(line, chart.y_max);
        }
    }
    return finish(plots, "queue-length.svg", &chart, error);
}

/* ---- which runs and queues ---- */

static bool shown(const struct plots *plots, size_t queue)
{
    for (size_t i = 0; i < plots->queue_count; i++) {
        if (plots->queues[i] == queue)
            return true;
    }
    return false;
}

static void choose_queues(struct plots *plots)
{
    const struct sim_result *result = plots->variants[0].result;
    while (plots->queue_count < SIM_COLORS && plots->queue_count < result->queue_count) {
        size_t most = result->queue_count;
        for (size_t i = 0; i < result->queue_count; i++) {
            if (!shown(plots, i) && (most == result->queue_count ||
                                     result->queues[i].tasks > result->queues[most].tasks))
                most = i;
        }
        plots->by_queue[plots->queue_count] = (struct sim_legend){
            .name = result->queues[most].name, .color = (unsigned)plots->queue_count};
        plots->queues[plots->queue_count++] = most;
    }
}

int sim_plot_all(const char *folder, const struct sim_variant *variants, size_t count,
                 struct sy_error_text *error)
{
    struct plots plots = {.folder = folder,
                          .variants = variants,
                          .count = count < RUNS_MAX ? count : RUNS_MAX,
                          .hours = 1e-6};
    for (size_t v = 0; v < plots.count; v++) {
        const struct sim_result *result = variants[v].result;
        double hours = result->last_end_s / 3600, most = result->arrivals_s / 3600 * (1 + AFTER);
        hours = most > 0 && most < hours ? most : hours;
        plots.hours = hours > plots.hours ? hours : plots.hours;
        plots.by_run[v] = (struct sim_legend){.name = variants[v].name, .color = (unsigned)v};
    }
    choose_queues(&plots);
    int r = sy_mkdir_p(folder, 0777);
    if (r < 0)
        sy_error_text_set(error, "%s: %s", folder, strerror(-r));
    r = r == 0 ? plot_utilisation(&plots, error) : r;
    r = r == 0 ? plot_waits(&plots, false, error) : r;
    r = r == 0 ? plot_queue_waits(&plots, error) : r;
    r = r == 0 ? plot_waits(&plots, true, error) : r;
    r = r == 0 ? plot_fairness(&plots, error) : r;
    return r == 0 ? plot_queue_length(&plots, error) : r;
}
