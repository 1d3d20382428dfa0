/* --repeat: the median of each figure. */
#include "tools/src/bench.h"

#include "base/mem.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"

#include <stdlib.h>

#define LINES_MAX 99

/* ---- numbers ---- */

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* The numbers under `key` of all lines, sorted. Returns how many: a line may have null there. */
static size_t gather(json_t *const *lines, size_t count, const char *key, double ret[LINES_MAX])
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(lines[i], key);
        if (json_is_number(value))
            ret[found++] = json_number_value(value);
    }
    qsort(ret, found, sizeof(*ret), compare);
    return found;
}

/* The objects under `key` of all lines. */
static size_t gather_objects(json_t *const *lines, size_t count, const char *key,
                             json_t *ret[LINES_MAX])
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(lines[i], key);
        if (json_is_object(value))
            ret[found++] = value;
    }
    return found;
}

static json_t *median(json_t *const *lines, size_t count, const char *key, json_t *first)
{
    double numbers[LINES_MAX];
    json_t *objects[LINES_MAX];
    if (json_is_object(first)) {
        size_t n = gather_objects(lines, count, key, objects);
        return bench_medians(objects, n);
    }
    size_t found = json_is_number(first) ? gather(lines, count, key, numbers) : 0;
    if (found == 0)
        return json_incref(first);
    double middle = numbers[(found - 1) / 2];
    return json_is_integer(first) ? json_integer((json_int_t)middle) : json_real(middle);
}

json_t *bench_medians(json_t *const *lines, size_t count)
{
    SY_ASSERT(count > 0 && count <= LINES_MAX);
    json_t *result = json_object();
    const char *key;
    json_t *value;
    json_object_foreach(lines[0], key, value)
    {
        cl_json_set(result, key, median(lines, count, key, value));
    }
    return result;
}

/* ---- for people ---- */

static void add_rows(struct cl_table *table, const char *prefix, json_t *const *lines, size_t count)
{
    const char *key;
    json_t *value;
    SY_ASSERT(count > 0);
    json_object_foreach(lines[0], key, value)
    {
        double numbers[LINES_MAX];
        json_t *objects[LINES_MAX];
        char name[96], cells[3][32];
        snprintf(name, sizeof(name), "%s%s", prefix, key);
        if (json_is_object(value)) {
            snprintf(name, sizeof(name), "%s%s.", prefix, key);
            size_t n = gather_objects(lines, count, key, objects);
            add_rows(table, name, objects, n);
            continue;
        }
        size_t found = gather(lines, count, key, numbers);
        if (found == 0)
            continue;
        snprintf(cells[0], sizeof(cells[0]), "%.1f", numbers[(found - 1) / 2]);
        snprintf(cells[1], sizeof(cells[1]), "%.1f", numbers[0]);
        snprintf(cells[2], sizeof(cells[2]), "%.1f", numbers[found - 1]);
        const char *row[] = {name, cells[0], cells[1], cells[2]};
        cl_table_add(table, row);
    }
}

void bench_print_medians(json_t *const *lines, size_t count)
{
    static const struct cl_column columns[] = {
        {"FIGURE", false, 6, 0}, {"MEDIAN", true, 0, 0}, {"MIN", true, 0, 0}, {"MAX", true, 0, 0}};
    struct cl_table *table = cl_table_new(columns, 4);
    printf("%s: each figure of %zu measurements\n\n",
           json_string_value(json_object_get(lines[0], "bench")), count);
    add_rows(table, "", lines, count);
    cl_table_print(table, stdout, cl_terminal_width(stdout), 2);
    cl_table_free(table);
}
