#include "controlplane/filter.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FUNCTION(name) FLYTEIDL2__COMMON__FILTER__FUNCTION__##name

static int read_field(const char *text, enum cp_filter_field *ret, struct sy_error_text *error)
{
    static const char *const names[] = {[CP_FILTER_PHASE] = "phase",
                                        [CP_FILTER_NAME] = "name",
                                        [CP_FILTER_TASK_NAME] = "task_name"};
    for (size_t i = 0; i < SY_COUNT_OF(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum cp_filter_field)i;
            return 0;
        }
    }
    sy_error_text_set(error, "filter on '%s': only phase, name and task_name can be filtered on",
                      text);
    return -EINVAL;
}

static bool function_known(enum cp_filter_field field, Flyteidl2__Common__Filter__Function function)
{
    switch (function) {
    case FUNCTION(EQUAL):
    case FUNCTION(NOT_EQUAL):
    case FUNCTION(VALUE_IN):
    case FUNCTION(VALUE_NOT_IN):
        return true;
    case FUNCTION(CONTAINS):
    case FUNCTION(CONTAINS_CASE_INSENSITIVE):
    case FUNCTION(ENDS_WITH):
    case FUNCTION(NOT_ENDS_WITH):
        return field != CP_FILTER_PHASE;
    default:
        return false;
    }
}

/* Phases are numbers in decimal. */
static int read_phases(struct cp_filter *filter, struct sy_error_text *error)
{
    for (size_t i = 0; i < filter->value_count; i++) {
        char *end;
        unsigned long phase = strtoul(filter->values[i], &end, 10);
        if (end == filter->values[i] || *end != '\0' || phase >= 32) {
            sy_error_text_set(error, "filter on phase: '%s' is not the number of a phase",
                              filter->values[i]);
            return -EINVAL;
        }
        filter->phases |= 1u << phase;
    }
    return 0;
}

static int read_filter(struct cp_filter *ret, const Flyteidl2__Common__Filter *from,
                       struct sy_error_text *error)
{
    if (read_field(from->field, &ret->field, error) < 0)
        return -EINVAL;
    ret->function = from->function;
    ret->values = from->values;
    ret->value_count = from->n_values;
    if (!function_known(ret->field, ret->function)) {
        sy_error_text_set(error, "filter on %s: function %d is not served", from->field,
                          (int)from->function);
        return -EINVAL;
    }
    if (from->n_values == 0 || from->n_values > CP_FILTER_VALUES_MAX) {
        sy_error_text_set(error, "filter on %s: %zu values, expected 1 to %d", from->field,
                          from->n_values, CP_FILTER_VALUES_MAX);
        return -EINVAL;
    }
    return ret->field == CP_FILTER_PHASE ? read_phases(ret, error) : 0;
}

int cp_filters_read(struct cp_filters *ret, Flyteidl2__Common__Filter *const *filters, size_t count,
                    struct sy_error_text *error)
{
    *ret = (struct cp_filters){0};
    if (count > CP_FILTERS_MAX) {
        sy_error_text_set(error, "filters: %zu, at most %d are allowed", count, CP_FILTERS_MAX);
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        if (read_filter(&ret->items[i], filters[i], error) < 0)
            return -EINVAL;
    }
    ret->count = count;
    return 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t text_len = strlen(text), end_len = strlen(end);
    return end_len <= text_len && strcmp(text + text_len - end_len, end) == 0;
}

static bool value_matches(Flyteidl2__Common__Filter__Function function, const char *text,
                          const char *value)
{
    switch (function) {
    case FUNCTION(CONTAINS):
        return strstr(text, value) != NULL;
    case FUNCTION(CONTAINS_CASE_INSENSITIVE):
        return strcasestr(text, value) != NULL;
    case FUNCTION(ENDS_WITH):
    case FUNCTION(NOT_ENDS_WITH):
        return ends_with(text, value);
    default:
        return strcmp(text, value) == 0;
    }
}

static bool filter_matches(const struct cp_filter *filter, const char *text,
                           Switchyard__V1__Phase phase)
{
    bool negated = filter->function == FUNCTION(NOT_EQUAL) ||
                   filter->function == FUNCTION(VALUE_NOT_IN) ||
                   filter->function == FUNCTION(NOT_ENDS_WITH);
    bool any = false;
    if (filter->field == CP_FILTER_PHASE)
        any = (filter->phases & (1u << (unsigned)phase)) != 0;
    for (size_t i = 0; filter->field != CP_FILTER_PHASE && i < filter->value_count && !any; i++)
        any = value_matches(filter->function, text, filter->values[i]);
    return any != negated;
}

bool cp_filters_match(const struct cp_filters *filters, const char *name, const char *task_name,
                      Switchyard__V1__Phase phase)
{
    for (size_t i = 0; i < filters->count; i++) {
        const struct cp_filter *filter = &filters->items[i];
        const char *text = filter->field == CP_FILTER_TASK_NAME ? task_name : name;
        if (!filter_matches(filter, text, phase))
            return false;
    }
    return true;
}

static int read_sort(struct cp_list_options *ret, const Flyteidl2__Common__Sort *sort,
                     struct sy_error_text *error)
{
    if (sort->key[0] != '\0' && strcmp(sort->key, "created_at") != 0) {
        sy_error_text_set(error, "sort by '%s': only created_at can be sorted by", sort->key);
        return -EINVAL;
    }
    ret->sorted = true;
    ret->ascending = sort->direction == FLYTEIDL2__COMMON__SORT__DIRECTION__ASCENDING;
    return 0;
}

int cp_list_options_read(struct cp_list_options *ret, const Flyteidl2__Common__ListRequest *request,
                         struct sy_error_text *error)
{
    *ret = (struct cp_list_options){.limit = CP_LIST_LIMIT_DEFAULT, .token = ""};
    if (request == NULL)
        return 0;
    if (request->limit > 0)
        ret->limit = request->limit < CP_LIST_LIMIT_MAX ? request->limit : CP_LIST_LIMIT_MAX;
    ret->token = request->token;
    if (request->n_raw_filters > 0) {
        sy_error_text_set(error,
                          "raw_filters: not served; use filters on phase, name or task_name");
        return -EINVAL;
    }
    if (request->n_sort_by_fields > 1) {
        sy_error_text_set(error, "sort_by_fields: only one, created_at, can be sorted by");
        return -EINVAL;
    }
    const Flyteidl2__Common__Sort *sort = request->n_sort_by_fields == 1
                                              ? request->sort_by_fields[0]
                                              : request->sort_by;
    if (sort != NULL && read_sort(ret, sort, error) < 0)
        return -EINVAL;
    return cp_filters_read(&ret->filters, request->filters, request->n_filters, error);
}
