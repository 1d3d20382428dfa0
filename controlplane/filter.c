#include "controlplane/filter.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define FUNCTION(name) FLYTEIDL2__COMMON__FILTER__FUNCTION__##name
#define LABEL_PREFIX "labels."

static const char *const field_names[CP_FILTER_FIELDS] = {
    [CP_FILTER_PHASE] = "phase",
    [CP_FILTER_NAME] = "name",
    [CP_FILTER_TASK_NAME] = "task_name",
    [CP_FILTER_TASK_VERSION] = "task_version",
    [CP_FILTER_VERSION] = "version",
    [CP_FILTER_ENVIRONMENT] = "environment",
    [CP_FILTER_PARENT_NAME] = "parent_name",
    [CP_FILTER_ACTION_TYPE] = "action_type",
    [CP_FILTER_CREATED_BY] = "created_by",
    [CP_FILTER_CREATED_AT] = "created_at",
    [CP_FILTER_UPDATED_AT] = "updated_at",
    [CP_FILTER_LABEL] = "labels.KEY",
};

/* ---- reading ---- */

static int read_field(struct cp_filter *ret, const char *text, uint32_t known,
                      struct sy_error_text *error)
{
    size_t prefix = strlen(LABEL_PREFIX);
    if (strncmp(text, LABEL_PREFIX, prefix) == 0 && text[prefix] != '\0' &&
        (known & CP_FILTER_BIT(LABEL))) {
        ret->field = CP_FILTER_LABEL;
        ret->label = text + prefix;
        return 0;
    }
    char all[256] = "";
    for (unsigned i = 0; i < CP_FILTER_FIELDS; i++) {
        if (!(known & (1u << i)))
            continue;
        if (i != CP_FILTER_LABEL && strcmp(text, field_names[i]) == 0) {
            ret->field = (enum cp_filter_field)i;
            return 0;
        }
        size_t len = strlen(all);
        snprintf(all + len, sizeof(all) - len, "%s%s", len > 0 ? ", " : "", field_names[i]);
    }
    sy_error_text_set(error, "filter on '%s': this list has %s", text, all);
    return -EINVAL;
}

static bool is_time(enum cp_filter_field field)
{
    return field == CP_FILTER_CREATED_AT || field == CP_FILTER_UPDATED_AT;
}

static bool function_known(enum cp_filter_field field, Flyteidl2__Common__Filter__Function function)
{
    switch (function) {
    case FUNCTION(EQUAL):
    case FUNCTION(NOT_EQUAL):
        return true;
    case FUNCTION(VALUE_IN):
    case FUNCTION(VALUE_NOT_IN):
        return !is_time(field);
    case FUNCTION(CONTAINS):
    case FUNCTION(CONTAINS_CASE_INSENSITIVE):
    case FUNCTION(ENDS_WITH):
    case FUNCTION(NOT_ENDS_WITH):
        return !is_time(field) && field != CP_FILTER_PHASE;
    case FUNCTION(GREATER_THAN):
    case FUNCTION(GREATER_THAN_OR_EQUAL):
    case FUNCTION(LESS_THAN):
    case FUNCTION(LESS_THAN_OR_EQUAL):
        return is_time(field);
    case FUNCTION(EXISTS):
    case FUNCTION(NOT_EXISTS):
        return field == CP_FILTER_LABEL;
    default:
        return false;
    }
}

/* Phases are numbers in decimal. For EQUAL the SDK hands its protobuf a string where a list of
 * strings belongs, so that each digit arrives as a value: "10" as "1", "0". */
static int read_phases(struct cp_filter *filter, struct sy_error_text *error)
{
    const char *const *values = (const char *const *)filter->values;
    if (filter->function == FUNCTION(EQUAL) && filter->value_count == 2 &&
        strcmp(values[0], "1") == 0 && strcmp(values[1], "0") == 0) {
        filter->phases = 1u << 10;
        return 0;
    }
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

int cp_filter_time(const char *text, int64_t *ret_ns)
{
    struct tm tm = {0};
    const char *at = strptime(text, "%Y-%m-%d", &tm);
    if (at != NULL && (*at == 'T' || *at == ' '))
        at = strptime(at + 1, "%H:%M:%S", &tm);
    if (at == NULL)
        return -EINVAL;
    int64_t fraction = 0;
    if (*at == '.') {
        int64_t unit = SY_NS_PER_S / 10;
        for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10)
            fraction += (*at - '0') * unit;
    }
    int64_t offset = 0;
    if (*at == '+' || *at == '-') {
        unsigned hours, minutes;
        if (strlen(at) != 6 || sscanf(at + 1, "%2u:%2u", &hours, &minutes) != 2)
            return -EINVAL;
        offset = (int64_t)(hours * 3600 + minutes * 60) * (*at == '-' ? -1 : 1);
        at += 6;
    } else if (*at == 'Z') {
        at++;
    }
    int64_t seconds = timegm(&tm) - offset;
    if (*at != '\0' || seconds > INT64_MAX / SY_NS_PER_S || seconds < INT64_MIN / SY_NS_PER_S)
        return -EINVAL;
    *ret_ns = seconds * SY_NS_PER_S + fraction;
    return 0;
}

static int read_values(struct cp_filter *ret, struct sy_error_text *error)
{
    const char *name = field_names[ret->field];
    if (ret->function == FUNCTION(EXISTS) || ret->function == FUNCTION(NOT_EXISTS))
        return 0;
    if (ret->value_count == 0 || ret->value_count > CP_FILTER_VALUES_MAX) {
        sy_error_text_set(error, "filter on %s: %zu values, expected 1 to %d", name,
                          ret->value_count, CP_FILTER_VALUES_MAX);
        return -EINVAL;
    }
    if (is_time(ret->field) && cp_filter_time(ret->values[0], &ret->time_ns) < 0) {
        sy_error_text_set(error, "filter on %s: '%s' is not a time such as 2026-11-20T10:00:00Z",
                          name, ret->values[0]);
        return -EINVAL;
    }
    return ret->field == CP_FILTER_PHASE ? read_phases(ret, error) : 0;
}

static int read_filter(struct cp_filter *ret, const Flyteidl2__Common__Filter *from, uint32_t known,
                       struct sy_error_text *error)
{
    *ret = (struct cp_filter){
        .function = from->function, .values = from->values, .value_count = from->n_values};
    if (read_field(ret, from->field, known, error) < 0)
        return -EINVAL;
    if (!function_known(ret->field, ret->function)) {
        sy_error_text_set(error, "filter on %s: function %d is not served", from->field,
                          (int)from->function);
        return -EINVAL;
    }
    return read_values(ret, error);
}

int cp_filters_read(struct cp_filters *ret, uint32_t known,
                    Flyteidl2__Common__Filter *const *filters, size_t count,
                    struct sy_error_text *error)
{
    *ret = (struct cp_filters){0};
    if (count > CP_FILTERS_MAX) {
        sy_error_text_set(error, "filters: %zu, at most %d are allowed", count, CP_FILTERS_MAX);
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        if (read_filter(&ret->items[i], filters[i], known, error) < 0)
            return -EINVAL;
    }
    ret->count = count;
    return 0;
}

/* ---- matching ---- */

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

static bool time_matches(const struct cp_filter *filter, int64_t time_ns)
{
    switch (filter->function) {
    case FUNCTION(GREATER_THAN):
        return time_ns > filter->time_ns;
    case FUNCTION(GREATER_THAN_OR_EQUAL):
        return time_ns >= filter->time_ns;
    case FUNCTION(LESS_THAN):
        return time_ns < filter->time_ns;
    case FUNCTION(LESS_THAN_OR_EQUAL):
        return time_ns <= filter->time_ns;
    case FUNCTION(NOT_EQUAL):
        return time_ns != filter->time_ns;
    default:
        return time_ns == filter->time_ns;
    }
}

static bool text_matches(const struct cp_filter *filter, const char *text)
{
    bool negated = filter->function == FUNCTION(NOT_EQUAL) ||
                   filter->function == FUNCTION(VALUE_NOT_IN) ||
                   filter->function == FUNCTION(NOT_ENDS_WITH);
    bool any = false;
    for (size_t i = 0; text != NULL && i < filter->value_count && !any; i++)
        any = value_matches(filter->function, text, filter->values[i]);
    return any != negated;
}

static bool filter_matches(const struct cp_filter *filter, const struct cp_filter_subject *subject)
{
    if (filter->field == CP_FILTER_PHASE) {
        bool any = (filter->phases & (1u << (unsigned)subject->phase)) != 0;
        bool negated = filter->function == FUNCTION(NOT_EQUAL) ||
                       filter->function == FUNCTION(VALUE_NOT_IN);
        return any != negated;
    }
    if (is_time(filter->field))
        return time_matches(filter, filter->field == CP_FILTER_CREATED_AT ? subject->created_ns
                                                                          : subject->updated_ns);
    if (filter->field != CP_FILTER_LABEL) {
        const char *text = subject->texts[filter->field];
        return text_matches(filter, text != NULL ? text : "");
    }
    const char *value = subject->label != NULL ? subject->label(subject->label_ctx, filter->label)
                                               : NULL;
    if (filter->function == FUNCTION(EXISTS) || filter->function == FUNCTION(NOT_EXISTS))
        return (value != NULL) == (filter->function == FUNCTION(EXISTS));
    return text_matches(filter, value);
}

bool cp_filters_match(const struct cp_filters *filters, const struct cp_filter_subject *subject)
{
    for (size_t i = 0; i < filters->count; i++) {
        if (!filter_matches(&filters->items[i], subject))
            return false;
    }
    return true;
}

/* ---- options ---- */

int cp_list_sort_read(struct cp_list_options *ret, const struct cp_list_rules *rules,
                      const Flyteidl2__Common__Sort *sort, struct sy_error_text *error)
{
    ret->by_name = rules->sort_by_name && strcmp(sort->key, "name") == 0;
    if (sort->key[0] != '\0' && strcmp(sort->key, "created_at") != 0 && !ret->by_name) {
        sy_error_text_set(error, "sort by '%s': only created_at%s can be sorted by", sort->key,
                          rules->sort_by_name ? " and name" : "");
        return -EINVAL;
    }
    ret->sorted = true;
    ret->ascending = sort->direction == FLYTEIDL2__COMMON__SORT__DIRECTION__ASCENDING;
    return 0;
}

int cp_list_options_read(struct cp_list_options *ret, const struct cp_list_rules *rules,
                         const Flyteidl2__Common__ListRequest *request, struct sy_error_text *error)
{
    *ret = (struct cp_list_options){.limit = CP_LIST_LIMIT_DEFAULT, .token = ""};
    if (request == NULL)
        return 0;
    if (request->limit > 0)
        ret->limit = request->limit < CP_LIST_LIMIT_MAX ? request->limit : CP_LIST_LIMIT_MAX;
    ret->token = request->token;
    if (request->n_raw_filters > 0) {
        sy_error_text_set(error, "raw_filters: not served; use filters");
        return -EINVAL;
    }
    if (request->n_sort_by_fields > 1) {
        sy_error_text_set(error, "sort_by_fields: %zu of them, only one can be sorted by",
                          request->n_sort_by_fields);
        return -EINVAL;
    }
    const Flyteidl2__Common__Sort *sort = request->n_sort_by_fields == 1
                                              ? request->sort_by_fields[0]
                                              : request->sort_by;
    if (sort != NULL && cp_list_sort_read(ret, rules, sort, error) < 0)
        return -EINVAL;
    return cp_filters_read(&ret->filters, rules->fields, request->filters, request->n_filters,
                           error);
}
