/*
 * Flyte's list filters, as far as they can be answered from a run's or an action's row: phase, name
 * and task_name. Others are refused with a sentence; the lists are not a search engine.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "controlplane/task_names.h"

#include "flyteidl2/common/list.pb-c.h"
#include "switchyard/v1/common.pb-c.h"

#include <stdbool.h>

#define CP_LIST_LIMIT_DEFAULT 100
#define CP_LIST_LIMIT_MAX 1000
#define CP_FILTERS_MAX 16
#define CP_FILTER_VALUES_MAX 64

enum cp_filter_field { CP_FILTER_PHASE, CP_FILTER_NAME, CP_FILTER_TASK_NAME };

/* Borrows from the message that it was read from. */
struct cp_filters {
    struct cp_filter {
        enum cp_filter_field field;
        Flyteidl2__Common__Filter__Function function;
        char *const *values;
        size_t value_count;
        uint32_t phases; /* PHASE: a bit for each */
    } items[CP_FILTERS_MAX];
    size_t count;
};

/* -EINVAL with a sentence. */
int cp_filters_read(struct cp_filters *ret, Flyteidl2__Common__Filter *const *filters, size_t count,
                    struct sy_error_text *error) SY_MUST_USE;
bool cp_filters_match(const struct cp_filters *filters, const char *name, const char *task_name,
                      Switchyard__V1__Phase phase);

/* What both lists take of a ListRequest (NULL = all defaults). */
struct cp_list_options {
    size_t limit;
    const char *token;      /* "" = from the start */
    bool sorted, ascending; /* by created_at; within a page */
    struct cp_filters filters;
};
int cp_list_options_read(struct cp_list_options *ret, const Flyteidl2__Common__ListRequest *request,
                         struct sy_error_text *error) SY_MUST_USE;
