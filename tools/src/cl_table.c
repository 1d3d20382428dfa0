#include "tools/src/cl_table.h"

#include "base/error.h"
#include "base/mem.h"
#include "tools/src/cl_text.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 16
#define GAP 2

struct cl_table {
    const struct cl_column *columns;
    size_t count, rows, cap;
    char **cells; /* rows * count */
};

struct layout {
    unsigned width[COLUMNS_MAX];
    bool shown[COLUMNS_MAX];
    size_t count;
};

struct cl_table *cl_table_new(const struct cl_column *columns, size_t count)
{
    SY_ASSERT(count > 0 && count <= COLUMNS_MAX);
    struct cl_table *table = sy_new(struct cl_table);
    table->columns = columns;
    table->count = count;
    return table;
}

void cl_table_add(struct cl_table *table, const char *const *cells)
{
    if (table->rows == table->cap) {
        table->cap = table->cap ? table->cap * 2 : 16;
        table->cells = sy_realloc(table->cells, table->cap * table->count * sizeof(char *));
    }
    char **row = table->cells + table->rows * table->count;
    for (size_t i = 0; i < table->count; i++)
        row[i] = cl_text_clean(cells[i] && *cells[i] ? cells[i] : "-");
    table->rows++;
}

size_t cl_table_rows(const struct cl_table *table)
{
    return table->rows;
}

static unsigned total_width(const struct layout *layout)
{
    unsigned total = 0;
    for (size_t i = 0; i < layout->count; i++) {
        if (layout->shown[i])
            total += layout->width[i] + (total ? GAP : 0);
    }
    return total;
}

static void natural_widths(const struct cl_table *table, struct layout *layout)
{
    layout->count = table->count;
    for (size_t i = 0; i < table->count; i++) {
        layout->shown[i] = true;
        layout->width[i] = cl_text_width(table->columns[i].title);
        for (size_t row = 0; row < table->rows; row++) {
            unsigned w = cl_text_width(table->cells[row * table->count + i]);
            if (w > layout->width[i])
                layout->width[i] = w;
        }
    }
}

/* Takes one column from the widest that may shrink; with `force` all may. False: none may. */
static bool shrink_one(const struct cl_table *table, struct layout *layout, bool force)
{
    size_t widest = table->count;
    for (size_t i = 0; i < table->count; i++) {
        unsigned least = table->columns[i].least, title = cl_text_width(table->columns[i].title);
        if (least > 0 && least < title)
            least = title;
        if (force)
            least = 1;
        if (!layout->shown[i] || least == 0 || layout->width[i] <= least)
            continue;
        if (widest == table->count || layout->width[i] > layout->width[widest])
            widest = i;
    }
    if (widest == table->count)
        return false;
    layout->width[widest]--;
    return true;
}

static bool drop_one(const struct cl_table *table, struct layout *layout)
{
    size_t victim = table->count;
    for (size_t i = 0; i < table->count; i++) {
        if (layout->shown[i] && table->columns[i].drop > 0 &&
            (victim == table->count || table->columns[i].drop > table->columns[victim].drop))
            victim = i;
    }
    if (victim == table->count)
        return false;
    layout->shown[victim] = false;
    return true;
}

static void fit(const struct cl_table *table, struct layout *layout, unsigned width)
{
    struct layout natural = *layout;
    for (;;) {
        while (total_width(layout) > width && shrink_one(table, layout, false))
            ;
        if (total_width(layout) <= width || !drop_one(table, layout))
            break;
        memcpy(layout->width, natural.width, sizeof(natural.width)); /* there is room again */
    }
    while (total_width(layout) > width && shrink_one(table, layout, true))
        ;
}

static void print_cell(FILE *file, const char *text, unsigned width, bool right, bool last)
{
    unsigned own = cl_text_width(text);
    if (own > width) {
        size_t bytes = cl_text_prefix(text, width - 1);
        char *cut = sy_strndup(text, bytes);
        unsigned used = cl_text_width(cut);
        fprintf(file, "%s~%*s", cut, last ? 0 : (int)(width - 1 - used), "");
        free(cut);
    } else if (right) {
        fprintf(file, "%*s%s", (int)(width - own), "", text);
    } else {
        fprintf(file, "%s%*s", text, last ? 0 : (int)(width - own), "");
    }
}

static void print_row(const struct cl_table *table, const struct layout *layout, FILE *file,
                      char *const *cells, unsigned indent)
{
    size_t last = table->count;
    for (size_t i = 0; i < table->count; i++) {
        if (layout->shown[i])
            last = i;
    }
    bool first = true;
    fprintf(file, "%*s", (int)indent, "");
    for (size_t i = 0; i < table->count; i++) {
        if (!layout->shown[i])
            continue;
        if (!first)
            fprintf(file, "%*s", GAP, "");
        first = false;
        const char *text = cells ? cells[i] : table->columns[i].title;
        print_cell(file, text, layout->width[i], table->columns[i].right, i == last);
    }
    fputc('\n', file);
}

void cl_table_print(const struct cl_table *table, FILE *file, unsigned width, unsigned indent)
{
    struct layout layout;
    natural_widths(table, &layout);
    if (width > 0)
        fit(table, &layout, width > indent ? width - indent : 1);
    print_row(table, &layout, file, NULL, indent);
    for (size_t row = 0; row < table->rows; row++)
        print_row(table, &layout, file, table->cells + row * table->count, indent);
}

void cl_table_free(struct cl_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->rows * table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}
