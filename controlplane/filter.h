/*
 * Flyte's list filters, as far as they can be answered from the rows at hand: each list says which
 * fields it knows. Others are refused with a sentence; the lists are not a search engine.
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

enum cp_filter_field {
    CP_FILTER_PHASE,
    CP_FILTER_NAME,
    CP_FILTER_TASK_NAME,
    CP_FILTER_TASK_VERSION,
    CP_FILTER_VERSION,
    CP_FILTER_ENVIRONMENT,
    CP_FILTER_PARENT_NAME,
    CP_FILTER_ACTION_TYPE, /* the number of a workflow.ActionType */
    CP_FILTER_CREATED_BY,
    CP_FILTER_CREATED_AT,
    CP_FILTER_UPDATED_AT,
    CP_FILTER_LABEL, /* labels.KEY */
    CP_FILTER_FIELDS,
};
#define CP_FILTER_BIT(field) (1u << CP_FILTER_##field)

/* Borrows from the message that it was read from. */
struct cp_filters {
    struct cp_filter {
        enum cp_filter_field field;
        Flyteidl2__Common__Filter__Function function;
        char *const *values;
        size_t value_count;
        uint32_t phases;   /* PHASE: a bit for each */
        int64_t time_ns;   /* times */
        const char *label; /* LABEL: its key */
    } items[CP_FILTERS_MAX];
    size_t count;
};

/* `known`: bits of the fields that the list has. -EINVAL with a sentence. */
int cp_filters_read(struct cp_filters *ret, uint32_t known,
                    Flyteidl2__Common__Filter *const *filters, size_t count,
                    struct sy_error_text *error) SY_MUST_USE;

/* What is looked at; fields that the list does not know are never read. */
struct cp_filter_subject {
    Switchyard__V1__Phase phase;
    const char *texts[CP_FILTER_FIELDS]; /* NULL: "" */
    int64_t created_ns, updated_ns;
    const char *(*label)(const void *ctx, const char *key); /* NULL: it has no such label */
    const void *label_ctx;
};
bool cp_filters_match(const struct cp_filters *filters, const struct cp_filter_subject *subject);
/* "2026-11-20T10:00:00.5+01:00": the offset may be Z or missing (UTC). -EINVAL. */
int cp_filter_time(const char *text, int64_t *ret_ns) SY_MUST_USE;

/* What all lists take of a ListRequest (NULL = all defaults). */
struct cp_list_options {
    size_t limit;
    const char *token;               /* "" = from the start */
    bool sorted, ascending, by_name; /* by created_at, or by name */
    struct cp_filters filters;
};
/* What a list knows. */
struct cp_list_rules {
    uint32_t fields; /* bits */
    bool sort_by_name;
};
int cp_list_options_read(struct cp_list_options *ret, const struct cp_list_rules *rules,
                         const Flyteidl2__Common__ListRequest *request,
                         struct sy_error_text *error) SY_MUST_USE;
int cp_list_sort_read(struct cp_list_options *ret, const struct cp_list_rules *rules,
                      const Flyteidl2__Common__Sort *sort, struct sy_error_text *error) SY_MUST_USE;
