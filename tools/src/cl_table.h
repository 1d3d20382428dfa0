/*
 * Tables for people. Columns are as wide as their content while everything fits; on a narrow
 * terminal the widest columns shrink first (cells are cut and end in '~'), down to their least
 * width; if that is not enough, columns disappear, those with the highest `drop` first. A row is
 * one line, always.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct cl_column {
    const char *title;
    bool right;     /* aligned: for numbers */
    unsigned least; /* columns it keeps when it must shrink, and its title; 0 = never shrinks */
    unsigned drop;  /* 0 = never disappears */
};

struct cl_table;
/* `columns` must outlive the table; at most 16. */
struct cl_table *cl_table_new(const struct cl_column *columns, size_t count);
/* One cell for each column; cleaned and copied. NULL or "" is shown as "-". */
void cl_table_add(struct cl_table *table, const char *const *cells);
size_t cl_table_rows(const struct cl_table *table);
/* `width` 0 = without a limit. Indents each line by `indent` blanks. */
void cl_table_print(const struct cl_table *table, FILE *file, unsigned width, unsigned indent);
void cl_table_free(struct cl_table *table);
