#include "tools/src/sim_chart.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- layout, in pixels ---- */

#define WIDTH 820.0
#define MARGIN 16.0
#define TITLE_HEIGHT 34.0
#define LEGEND_HEIGHT 22.0
#define LEGEND_CHARACTER 6.9
#define LEGEND_MARK 26.0
#define PANEL_HEIGHT 280.0
#define PLOT_LEFT 58.0 /* within a panel */
#define PLOT_TOP 28.0
#define PLOT_BOTTOM 48.0
#define PLOT_RIGHT 12.0
#define SECONDS_MIN 0.001
#define TICKS_MAX 16u

struct box {
    double left, top, width, height;
};

struct tick {
    double at;
    char label[24];
};

static const char style[] =
    "<style>\n"
    "  .paper { fill: #ffffff } .ink { fill: #24292f } .faint { fill: #57606a }\n"
    "  .grid { stroke: #d8dee4; stroke-width: 1 } .axis { stroke: #57606a; stroke-width: 1 }\n"
    "  .line { fill: none; stroke-width: 1.8; stroke-linejoin: round }\n"
    "  .dashed { stroke-dasharray: 5 4; stroke-width: 1.4 }\n"
    "  .c0 { stroke: #0072b2 } .c1 { stroke: #d55e00 } .c2 { stroke: #009e73 }\n"
    "  .c3 { stroke: #cc79a7 } .c4 { stroke: #e69f00 } .c5 { stroke: #56b4e9 }\n"
    "  text { font-family: system-ui, -apple-system, 'Segoe UI', sans-serif; font-size: 12px }\n"
    "  .title { font-size: 15px; font-weight: 600 } .head { font-size: 13px; font-weight: 600 }\n"
    "  @media (prefers-color-scheme: dark) {\n"
    "    .paper { fill: #0d1117 } .ink { fill: #e6edf3 } .faint { fill: #9198a1 }\n"
    "    .grid { stroke: #2d333b } .axis { stroke: #9198a1 }\n"
    "    .c0 { stroke: #4ba3db } .c1 { stroke: #f0804a } .c2 { stroke: #35c79a }\n"
    "    .c3 { stroke: #e3a3c6 } .c4 { stroke: #f2b84b } .c5 { stroke: #9ad6f7 }\n"
    "  }\n"
    "</style>\n";

/* ---- elements ---- */

static void escape(struct sy_buf *ret, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            sy_buf_append_str(ret, "&amp;");
        else if (*text == '<')
            sy_buf_append_str(ret, "&lt;");
        else if (*text == '>')
            sy_buf_append_str(ret, "&gt;");
        else
            sy_buf_append(ret, text, 1);
    }
}

/* `anchor`: start, middle or end. */
static void draw_text(struct sy_buf *ret, double x, double y, const char *class, const char *anchor,
                      const char *text)
{
    sy_buf_printf(ret, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">", x, y, class,
                  anchor);
    escape(ret, text);
    sy_buf_append_str(ret, "</text>\n");
}

static void draw_line(struct sy_buf *ret, double x1, double y1, double x2, double y2,
                      const char *class)
{
    sy_buf_printf(ret, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1,
                  y1, x2, y2, class);
}

/* ---- scales ---- */

static double x_of(const struct sim_chart *chart, const struct box *plot, double x)
{
    double part = x / chart->x_max;
    if (chart->x_scale == SIM_SCALE_SECONDS)
        part = x <= SECONDS_MIN ? 0 : log(x / SECONDS_MIN) / log(chart->x_max / SECONDS_MIN);
    return plot->left + plot->width * (part > 1 ? 1 : part);
}

static double y_of(const struct sim_chart *chart, const struct box *plot, double y)
{
    double part = y / chart->y_max;
    return plot->top + plot->height * (1 - (part > 1 ? 1 : part));
}

/* 1, 2 or 5 times a power of ten: about five to the whole. */
static double step_of(double max)
{
    double power = pow(10, floor(log10(max / 5)));
    double times = max / 5 / power;
    return power * (times < 1.5 ? 1 : times < 3.5 ? 2 : times < 7.5 ? 5 : 10);
}

static size_t linear_ticks(double max, bool percent, struct tick *ret)
{
    size_t count = 0;
    double step = step_of(max);
    for (double at = 0; at <= max * 1.0001 && count < TICKS_MAX; at = step * (double)count) {
        ret[count].at = at;
        if (percent)
            snprintf(ret[count].label, sizeof(ret[count].label), "%.0f %%", at * 100);
        else if (max >= 10000 && at > 0)
            snprintf(ret[count].label, sizeof(ret[count].label), "%.6gk", at / 1000);
        else
            snprintf(ret[count].label, sizeof(ret[count].label), "%.6g", at);
        count++;
    }
    return count;
}

static size_t seconds_ticks(double max, struct tick *ret)
{
    static const struct tick all[] = {
        {0.001, "1 ms"}, {0.01, "10 ms"}, {0.1, "0.1 s"}, {1, "1 s"},      {10, "10 s"},
        {60, "1 min"},   {600, "10 min"}, {3600, "1 h"},  {36000, "10 h"}, {360000, "100 h"}};
    size_t count = 0;
    while (count < SY_COUNT_OF(all) && all[count].at <= max) {
        ret[count] = all[count];
        count++;
    }
    return count;
}

/* ---- a panel ---- */

static void draw_axes(const struct sim_chart *chart, const struct box *plot, struct sy_buf *ret)
{
    struct tick ticks[TICKS_MAX];
    double bottom = plot->top + plot->height, right = plot->left + plot->width;
    size_t count = linear_ticks(chart->y_max, chart->y_percent, ticks);
    for (size_t i = 0; i < count; i++) {
        double y = y_of(chart, plot, ticks[i].at);
        draw_line(ret, plot->left, y, right, y, "grid");
        draw_text(ret, plot->left - 6, y + 4, "faint", "end", ticks[i].label);
    }
    count = chart->x_scale == SIM_SCALE_SECONDS ? seconds_ticks(chart->x_max, ticks)
                                                : linear_ticks(chart->x_max, false, ticks);
    for (size_t i = 0; i < count; i++) {
        double x = x_of(chart, plot, ticks[i].at);
        draw_line(ret, x, bottom, x, bottom + 4, "axis");
        draw_text(ret, x, bottom + 17, "faint", "middle", ticks[i].label);
    }
    draw_line(ret, plot->left, bottom, right, bottom, "axis");
    draw_line(ret, plot->left, plot->top, plot->left, bottom, "axis");
    draw_text(ret, plot->left + plot->width / 2, bottom + 36, "faint", "middle", chart->x_label);
    sy_buf_printf(ret,
                  "<text transform=\"translate(%.1f %.1f) rotate(-90)\" class=\"faint\" "
                  "text-anchor=\"middle\">",
                  plot->left - 46, plot->top + plot->height / 2);
    escape(ret, chart->y_label);
    sy_buf_append_str(ret, "</text>\n");
}

static void draw_series(const struct sim_chart *chart, const struct box *plot,
                        const struct sim_line *line, struct sy_buf *ret)
{
    SY_ASSERT(line->color < SIM_COLORS);
    if (line->count == 0)
        return;
    sy_buf_printf(ret, "<path class=\"line c%u%s\" d=\"", line->color,
                  line->dashed ? " dashed" : "");
    for (size_t i = 0; i < line->count; i++)
        sy_buf_printf(ret, "%s%.1f %.1f", i == 0 ? "M" : "L", x_of(chart, plot, line->x[i]),
                      y_of(chart, plot, line->y[i]));
    sy_buf_append_str(ret, "\"/>\n");
}

static void draw_panel(const struct sim_chart *chart, const struct sim_panel *panel,
                       const struct box *box, struct sy_buf *ret)
{
    struct box plot = {box->left + PLOT_LEFT, box->top + PLOT_TOP,
                       box->width - PLOT_LEFT - PLOT_RIGHT, box->height - PLOT_TOP - PLOT_BOTTOM};
    draw_text(ret, plot.left, box->top + 16, "ink head", "start", panel->title);
    draw_axes(chart, &plot, ret);
    for (size_t i = 0; i < panel->count; i++)
        draw_series(chart, &plot, &panel->lines[i], ret);
}

/* ---- legend and page ---- */

/* Draws it, or only counts its rows when `ret` is NULL. */
static unsigned draw_legend(const struct sim_chart *chart, double top, struct sy_buf *ret)
{
    double x = MARGIN;
    unsigned row = 0;
    for (size_t i = 0; i < chart->legend_count; i++) {
        const struct sim_legend *entry = &chart->legend[i];
        double width = LEGEND_MARK + LEGEND_CHARACTER * (double)strlen(entry->name) + 18;
        if (x + width > WIDTH - MARGIN && x > MARGIN) {
            x = MARGIN;
            row++;
        }
        if (ret) {
            char class[32];
            double y = top + LEGEND_HEIGHT * row + 8;
            snprintf(class, sizeof(class), "line c%u%s", entry->color,
                     entry->dashed ? " dashed" : "");
            draw_line(ret, x, y, x + LEGEND_MARK - 6, y, class);
            draw_text(ret, x + LEGEND_MARK, y + 4, "ink", "start", entry->name);
        }
        x += width;
    }
    return chart->legend_count > 0 ? row + 1 : 0;
}

void sim_chart_draw(const struct sim_chart *chart, struct sy_buf *ret)
{
    SY_ASSERT(chart->count > 0 && chart->x_max > 0 && chart->y_max > 0);
    size_t columns = chart->count > 1 ? 2 : 1, rows = (chart->count + columns - 1) / columns;
    double panels_top = TITLE_HEIGHT + LEGEND_HEIGHT * draw_legend(chart, 0, NULL) + 6;
    double height = panels_top + PANEL_HEIGHT * (double)rows + MARGIN / 2;
    sy_buf_printf(ret,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
                  "viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n<title>",
                  WIDTH, height, WIDTH, height);
    escape(ret, chart->title);
    sy_buf_append_str(ret, "</title>\n");
    sy_buf_append_str(ret, style);
    sy_buf_append_str(ret, "<rect width=\"100%\" height=\"100%\" class=\"paper\"/>\n");
    draw_text(ret, MARGIN, 23, "ink title", "start", chart->title);
    draw_legend(chart, TITLE_HEIGHT, ret);
    double width = (WIDTH - 2 * MARGIN) / (double)columns;
    for (size_t i = 0; i < chart->count; i++) {
        size_t row = i / columns, column = i % columns;
        struct box box = {MARGIN + width * (double)column, panels_top + PANEL_HEIGHT * (double)row,
                          width, PANEL_HEIGHT};
        draw_panel(chart, &chart->panels[i], &box, ret);
    }
    sy_buf_append_str(ret, "</svg>\n");
}
