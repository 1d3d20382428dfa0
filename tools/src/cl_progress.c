#include "tools/src/cl_progress.h"

#include "base/clock.h"
#include "tools/src/cl_text.h"
#include "tools/src/client.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INTERVAL_NS (100 * SY_NS_PER_MS)
#define BAR_MIN 8
#define BAR_MAX 40
#define LINE_MAX_BYTES 256

static void add_bar(char *line, size_t size, unsigned bar, uint64_t done, uint64_t total)
{
    size_t n = strlen(line);
    unsigned full = total ? (unsigned)((double)bar * (double)done / (double)total) : 0;
    if (n + bar + 4 > size)
        return;
    line[n++] = ' ';
    line[n++] = '[';
    for (unsigned i = 0; i < bar; i++)
        line[n++] = i < full ? '#' : '.';
    line[n++] = ']';
    line[n] = '\0';
}

/* In the order of the line; of these only what fits whole is shown, the bar if there is room left.
 */
enum part { LABEL, COUNTS, PERCENT, FAILED, RATE, LEFT, PARTS };
static const enum part by_worth[PARTS] = {COUNTS, PERCENT, FAILED, LEFT, LABEL, RATE};

#define PART_BYTES 96

static void fill_parts(char parts[PARTS][PART_BYTES], const struct cl_progress_state *state)
{
    struct cl_short done = cl_format_count(state->done), total = cl_format_count(state->total);
    snprintf(parts[LABEL], PART_BYTES, "%s ", state->label);
    snprintf(parts[COUNTS], PART_BYTES, "%s%s%s", done.text, state->total ? "/" : "",
             state->total ? total.text : "");
    if (state->total)
        snprintf(parts[PERCENT], PART_BYTES, " %3d%%",
                 (int)(100.0 * (double)state->done / (double)state->total));
    if (state->failed)
        snprintf(parts[FAILED], PART_BYTES, "  %s failed", cl_format_count(state->failed).text);
    if (state->rate_per_s <= 0)
        return;
    snprintf(parts[RATE], PART_BYTES, "  %s/s",
             cl_format_count((uint64_t)llround(state->rate_per_s)).text);
    double left_s = (double)(state->total - state->done) / state->rate_per_s;
    if (state->total <= state->done || left_s >= 1e6)
        return;
    if (left_s < 59.5)
        snprintf(parts[LEFT], PART_BYTES, "  %ds left", (int)lround(left_s));
    else
        snprintf(parts[LEFT], PART_BYTES, "  %s left",
                 cl_format_duration(llround(left_s) * SY_NS_PER_S).text);
}

void cl_progress_line(char *buf, size_t size, unsigned width, const struct cl_progress_state *state)
{
    char parts[PARTS][PART_BYTES] = {{0}}, line[LINE_MAX_BYTES] = "";
    bool shown[PARTS] = {false};
    unsigned used = 0;
    fill_parts(parts, state);
    for (size_t i = 0; i < PARTS; i++) {
        unsigned own = cl_text_width(parts[by_worth[i]]);
        shown[by_worth[i]] = own > 0 && (used + own <= width || by_worth[i] == COUNTS);
        used += shown[by_worth[i]] ? own : 0;
    }
    for (enum part part = LABEL; part < PARTS; part++) {
        size_t n = strlen(line);
        if (shown[part])
            snprintf(line + n, sizeof(line) - n, "%s", parts[part]);
        if (part == PERCENT && state->total && used + BAR_MIN + 3 <= width) {
            unsigned bar = width - used - 3;
            add_bar(line, sizeof(line), bar > BAR_MAX ? BAR_MAX : bar, state->done, state->total);
        }
    }
    line[cl_text_prefix(line, width)] = '\0';
    snprintf(buf, size, "%s", line);
}

void cl_progress_init(struct cl_progress *progress)
{
    *progress = (struct cl_progress){.shown = isatty(STDERR_FILENO),
                                     .started_ns = cl_monotonic_ns()};
}

void cl_progress_restart(struct cl_progress *progress, uint64_t done)
{
    progress->started_ns = cl_monotonic_ns();
    progress->base = done;
}

void cl_progress_show(struct cl_progress *progress, const char *label, uint64_t done,
                      uint64_t total, uint64_t failed)
{
    int64_t now_ns = cl_monotonic_ns();
    if (!progress->shown || now_ns - progress->last_ns < INTERVAL_NS)
        return;
    progress->last_ns = now_ns;
    double elapsed_s = (double)(now_ns - progress->started_ns) / 1e9;
    struct cl_progress_state state = {
        .label = label, .done = done, .total = total, .failed = failed};
    if (elapsed_s > 0.2 && done > progress->base)
        state.rate_per_s = (double)(done - progress->base) / elapsed_s;
    char line[LINE_MAX_BYTES];
    unsigned width = cl_terminal_width(stderr);
    cl_progress_line(line, sizeof(line), width > 1 ? width - 1 : 79, &state);
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    progress->visible = true;
}

void cl_progress_wait(struct cl_progress *progress, const char *what)
{
    int64_t now_ns = cl_monotonic_ns(), waited_ns = now_ns - progress->started_ns;
    if (!progress->shown || waited_ns < SY_NS_PER_S || now_ns - progress->last_ns < INTERVAL_NS)
        return;
    progress->last_ns = now_ns;
    char line[LINE_MAX_BYTES];
    unsigned width = cl_terminal_width(stderr);
    snprintf(line, sizeof(line), "waiting for %.80s  %d s", what, (int)(waited_ns / SY_NS_PER_S));
    line[cl_text_prefix(line, width > 1 ? width - 1 : 79)] = '\0';
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    progress->visible = true;
}

void cl_progress_clear(struct cl_progress *progress)
{
    if (progress->visible)
        fprintf(stderr, "\r\033[K");
    fflush(stderr);
    progress->visible = false;
}
