/*
 * Line charts as SVG: panels of equal scales, two in a row, one legend. Colours are Okabe and Ito's
 * (told apart by people who see few), on a background of their own, light or dark as the reader's
 * screen prefers.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

#define SIM_COLORS 6u

struct sim_line {
    double *x, *y; /* the chart's owner frees them */
    size_t count;
    unsigned color; /* 0 to SIM_COLORS - 1 */
    bool dashed;
};

struct sim_panel {
    const char *title;
    struct sim_line *lines;
    size_t count;
};

struct sim_legend {
    const char *name;
    unsigned color;
    bool dashed;
};

enum sim_scale { SIM_SCALE_LINEAR, SIM_SCALE_SECONDS }; /* SECONDS: logarithmic, from 1 ms */

struct sim_chart {
    const char *title, *x_label, *y_label;
    enum sim_scale x_scale;
    bool y_percent; /* 0 to 1, shown as 0 to 100 % */
    double x_max, y_max;
    struct sim_panel *panels;
    size_t count;
    const struct sim_legend *legend;
    size_t legend_count;
};

/* Appends the whole document. */
void sim_chart_draw(const struct sim_chart *chart, struct sy_buf *ret);
