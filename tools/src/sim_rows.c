#include "tools/src/sim_rows.h"

#include "base/mem.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 256u /* of a line */

/* ---- lines ---- */

int sim_rows_complain(struct sim_rows *rows, const struct sy_error_text *why,
                      struct sy_error_text *error)
{
    struct sim_complaints *complaints = rows->complaints;
    struct sy_error_text sentence;
    sy_error_text_set(&sentence, "%s:%" PRIu64 ": %s", rows->path, rows->line, why->text);
    complaints->count++;
    if (complaints->strict) {
        *error = sentence;
        return -EINVAL;
    }
    if (complaints->file && complaints->count <= SIM_COMPLAINTS_SHOWN)
        fprintf(complaints->file, "%s\n", sentence.text);
    return 0;
}

/* 1, 0 at the end, -EINVAL when a line is longer than any row. */
static int next_line(struct sim_rows *rows, struct sy_error_text *error)
{
    ssize_t length;
    do {
        length = getline(&rows->text, &rows->text_cap, rows->file);
        if (length < 0)
            return 0;
        rows->line++;
        if ((size_t)length > SIM_LINE_MAX) {
            sy_error_text_set(error, "%s:%" PRIu64 ": a line of %zd bytes, at most %zu", rows->path,
                              rows->line, length, SIM_LINE_MAX);
            return -EINVAL;
        }
        while (length > 0 && (rows->text[length - 1] == '\n' || rows->text[length - 1] == '\r'))
            rows->text[--length] = '\0';
    } while (length == 0);
    return 1;
}

/* ---- CSV ---- */

/* Takes a field off the line, in place; *line is NULL after the last one. */
static char *take_field(char **line)
{
    char *from = *line, *to = from, *start = from;
    bool quoted = *from == '"';
    if (quoted)
        from++;
    while (*from && (quoted || *from != ',')) {
        if (quoted && *from == '"') {
            if (from[1] != '"') {
                quoted = false;
                from++;
                continue;
            }
            from++;
        }
        *to++ = *from++;
    }
    *line = *from == ',' ? from + 1 : NULL;
    *to = '\0';
    return start;
}

static size_t split(char *line, char **fields)
{
    size_t count = 0;
    while (line && count < FIELDS_MAX)
        fields[count++] = take_field(&line);
    return count;
}

static int match_header(struct sim_rows *rows, char **names, size_t count,
                        struct sy_error_text *error)
{
    for (size_t i = 0; i < rows->column_count; i++) {
        rows->at[i] = -1;
        for (size_t k = 0; k < count; k++)
            rows->at[i] = strcmp(rows->columns[i].name, names[k]) == 0 ? (int)k : rows->at[i];
        if (rows->at[i] < 0 && rows->columns[i].needed) {
            sy_error_text_set(error, "%s: no column '%s' in its first line", rows->path,
                              rows->columns[i].name);
            return -EINVAL;
        }
    }
    return 0;
}

static int csv_fields(struct sim_rows *rows, struct sy_error_text *why)
{
    char *fields[FIELDS_MAX];
    size_t count = split(rows->text, fields);
    for (size_t i = 0; i < rows->column_count; i++) {
        rows->fields[i] = "";
        if (rows->at[i] >= 0 && (size_t)rows->at[i] < count) {
            rows->fields[i] = fields[rows->at[i]];
        } else if (rows->columns[i].needed) {
            sy_error_text_set(why, "%zu fields, '%s' is number %d", count, rows->columns[i].name,
                              rows->at[i] + 1);
            return -EINVAL;
        }
    }
    return 0;
}

/* ---- JSON ---- */

static const char *json_field(struct sim_rows *rows, size_t i)
{
    const json_t *value = json_object_get(rows->object, rows->columns[i].name);
    if (json_is_string(value))
        return json_string_value(value);
    if (!json_is_number(value))
        return "";
    snprintf(rows->numbers[i], sizeof(rows->numbers[i]), "%.17g", json_number_value(value));
    return rows->numbers[i];
}

static int json_fields(struct sim_rows *rows, struct sy_error_text *why)
{
    json_error_t problem;
    json_decref(rows->object);
    rows->object = json_loads(rows->text, 0, &problem);
    if (!json_is_object((json_t *)rows->object)) {
        sy_error_text_set(why, "not an object in JSON%s%s", rows->object ? "" : ": ",
                          rows->object ? "" : problem.text);
        return -EINVAL;
    }
    for (size_t i = 0; i < rows->column_count; i++) {
        rows->fields[i] = json_field(rows, i);
        if (!rows->fields[i][0] && rows->columns[i].needed) {
            sy_error_text_set(why, "no '%s'", rows->columns[i].name);
            return -EINVAL;
        }
    }
    return 0;
}

/* ---- the file ---- */

/* The columns are known; a first line that names them is no row. */
static int skip_header(struct sim_rows *rows)
{
    for (size_t i = 0; i < rows->column_count; i++)
        rows->at[i] = (int)i;
    size_t length = strlen(rows->columns[0].name);
    char start[64] = "";
    size_t got = fread(start, 1, length < sizeof(start) ? length : sizeof(start), rows->file);
    bool header = got == length && strncmp(start, rows->columns[0].name, length) == 0;
    if (fseek(rows->file, 0, SEEK_SET) < 0)
        return -errno;
    if (header && getline(&rows->text, &rows->text_cap, rows->file) > 0)
        rows->line++;
    return 0;
}

static int read_header(struct sim_rows *rows, struct sy_error_text *error)
{
    char *names[FIELDS_MAX];
    int r = next_line(rows, error);
    if (r < 0)
        return r;
    return match_header(rows, names, r > 0 ? split(rows->text, names) : 0, error);
}

int sim_rows_open(struct sim_rows *rows, const char *path, bool json, bool header,
                  const struct sim_column *columns, size_t count, struct sim_complaints *complaints,
                  struct sy_error_text *error)
{
    SY_ASSERT(count > 0 && count <= SIM_COLUMNS_MAX);
    *rows = (struct sim_rows){.path = path,
                              .json = json,
                              .columns = columns,
                              .column_count = count,
                              .complaints = complaints,
                              .file = fopen(path, "re")};
    if (!rows->file) {
        sy_error_text_set(error, "%s: %s", path, strerror(errno));
        return -errno;
    }
    if (json)
        return 0;
    int r = header ? read_header(rows, error) : skip_header(rows);
    if (r < 0 && !header)
        sy_error_text_set(error, "%s: %s", path, strerror(-r));
    return r;
}

void sim_rows_close(struct sim_rows *rows)
{
    if (rows->file)
        fclose(rows->file);
    json_decref(rows->object);
    free(rows->text);
    *rows = (struct sim_rows){0};
}

int sim_rows_next(struct sim_rows *rows, struct sy_error_text *error)
{
    struct sy_error_text why;
    for (;;) {
        int r = next_line(rows, error);
        if (r <= 0)
            return r;
        if ((rows->json ? json_fields(rows, &why) : csv_fields(rows, &why)) == 0)
            return 1;
        r = sim_rows_complain(rows, &why, error);
        if (r < 0)
            return r;
    }
}

bool sim_rows_number(const struct sim_rows *rows, size_t column, double min, double max,
                     double fallback, double *ret, struct sy_error_text *why)
{
    SY_ASSERT(column < rows->column_count);
    const char *text = rows->fields[column];
    char *end = NULL;
    double value = *text ? strtod(text, &end) : fallback;
    if ((!end || (end != text && !*end)) && isfinite(value) && value >= min && value <= max) {
        *ret = value;
        return true;
    }
    sy_error_text_set(why, "%s '%s': expected a number from %.15g to %.15g",
                      rows->columns[column].name, text, min, max);
    return false;
}
