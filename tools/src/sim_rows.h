/*
 * Rows of a text file: CSV (RFC 4180, without line breaks in fields) or JSON objects, one a line.
 * A reader names the columns it wants; what else is there is skipped. Rows that make no sense are
 * told with their line and counted.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_COLUMNS_MAX 16u /* that a reader wants */
#define SIM_LINE_MAX ((size_t)1 << 20)
#define SIM_COMPLAINTS_SHOWN 10u

/* What is wrong with rows, for a person. */
struct sim_complaints {
    FILE *file;  /* where sentences go; NULL: nowhere */
    bool strict; /* the first one ends the reading */
    uint64_t count;
};

struct sim_column {
    const char *name;
    bool needed; /* the file must have it */
};

struct sim_rows {
    FILE *file;
    const char *path;
    bool json;
    const struct sim_column *columns;
    size_t column_count;
    struct sim_complaints *complaints;
    uint64_t line;
    char *text;
    size_t text_cap;
    int at[SIM_COLUMNS_MAX]; /* CSV: which field of a line; -1: it has none */
    const char
        *fields[SIM_COLUMNS_MAX];      /* of this row, in the order of the columns; "" if absent */
    char numbers[SIM_COLUMNS_MAX][32]; /* JSON: where those that are no strings lie */
    void *object;                      /* JSON: the row */
};

/* Opens the file. `header`: its first line names the columns of a CSV; else they are as given. If
 * the header is optional (`header` false), a first line that repeats the names is skipped. Errors
 * of open(2), and -EINVAL when a needed column is not there, with a sentence. */
int sim_rows_open(struct sim_rows *rows, const char *path, bool json, bool header,
                  const struct sim_column *columns, size_t count, struct sim_complaints *complaints,
                  struct sy_error_text *error) SY_MUST_USE;
void sim_rows_close(struct sim_rows *rows); /* also after an error */
/* 1: rows->fields hold the next row, until the next call; 0: the end; -EINVAL: strict. */
int sim_rows_next(struct sim_rows *rows, struct sy_error_text *error) SY_MUST_USE;
/* This row is not used, because of what `why` says. 0, or -EINVAL with the sentence: strict. */
int sim_rows_complain(struct sim_rows *rows, const struct sy_error_text *why,
                      struct sy_error_text *error) SY_MUST_USE;

/* A field as a number within limits; "" is `fallback`. false: `why` says what is wrong. */
bool sim_rows_number(const struct sim_rows *rows, size_t column, double min, double max,
                     double fallback, double *ret, struct sy_error_text *why);
