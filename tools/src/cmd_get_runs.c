/* switchyard get runs, get run, get actions. */
#include "tools/src/cl_json.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"
#include "tools/src/cmd.h"

#include <stdio.h>
#include <string.h>

#define PAGE_MAX 500

/* ---- what of an action is shown, in a list or alone ---- */

struct row {
    const char *name, *parent, *task, *group;
    int phase;
    uint32_t attempts;
    int64_t start_ns, end_ns;
};

static const char *task_of(const Flyteidl2__Workflow__ActionMetadata *metadata)
{
    switch (metadata->spec_case) {
    case FLYTEIDL2__WORKFLOW__ACTION_METADATA__SPEC_TASK:
        if (metadata->task && *metadata->task->short_name)
            return metadata->task->short_name;
        return metadata->task && metadata->task->id ? metadata->task->id->name : "";
    case FLYTEIDL2__WORKFLOW__ACTION_METADATA__SPEC_TRACE:
        return metadata->trace ? metadata->trace->name : "";
    case FLYTEIDL2__WORKFLOW__ACTION_METADATA__SPEC_CONDITION:
        return metadata->condition ? metadata->condition->name : "";
    default:
        return metadata->funtion_name;
    }
}

static struct row make_row(const Flyteidl2__Common__ActionIdentifier *id,
                           const Flyteidl2__Workflow__ActionMetadata *metadata,
                           const Flyteidl2__Workflow__ActionStatus *status)
{
    struct row row = {"", "", "", "", 0, 0, 0, 0};
    if (id)
        row.name = id->name;
    if (metadata) {
        row.parent = metadata->parent;
        row.group = metadata->group;
        row.task = task_of(metadata);
    }
    if (status) {
        row.phase = (int)status->phase;
        row.attempts = status->attempts;
        row.start_ns = cl_timestamp_ns(status->start_time);
        row.end_ns = cl_timestamp_ns(status->end_time);
    }
    return row;
}

static struct cl_short row_duration(const struct row *row)
{
    int64_t end_ns = row->end_ns;
    if (end_ns == 0 && !cl_phase_final(row->phase))
        end_ns = cl_realtime_ns();
    if (row->start_ns == 0 || end_ns == 0)
        return (struct cl_short){"-"};
    return cl_format_duration(end_ns - row->start_ns);
}

static json_t *row_json(const struct row *row, bool run)
{
    json_t *object = json_object();
    cl_json_str(object, run ? "run" : "action", row->name);
    cl_json_str(object, "phase", cl_phase_name(row->phase));
    cl_json_str(object, "task", row->task);
    if (!run) {
        cl_json_str(object, "parent", row->parent);
        cl_json_str(object, "group", row->group);
    }
    cl_json_int(object, "attempts", row->attempts);
    cl_json_int(object, "start_ns", row->start_ns);
    cl_json_int(object, "end_ns", row->end_ns);
    return object;
}

/* ---- lists: gathered page by page ---- */

static const struct cl_column run_columns[] = {
    {"RUN", false, CL_RUN_COLUMNS, 0}, {"PHASE", false, 0, 0},   {"TASK", false, 6, 2},
    {"STARTED", false, 0, 3},          {"DURATION", true, 0, 1}, {"ATTEMPTS", true, 0, 4},
};
static const struct cl_column action_columns[] = {
    {"ACTION", false, 8, 0}, {"PHASE", false, 0, 0},   {"TASK", false, 6, 2},
    {"PARENT", false, 4, 3}, {"DURATION", true, 0, 1}, {"ATTEMPTS", true, 0, 4},
};

struct list {
    const struct cl_get_options *options;
    bool runs;
    struct cl_table *table;
    json_t *array;
    int64_t rows;
    bool more;
    char token[512];
};

static bool list_full(const struct list *list)
{
    return list->options->limit > 0 && list->rows >= list->options->limit;
}

static void list_add(struct list *list, const struct row *row)
{
    if (list->options->phase > 0 && row->phase != list->options->phase)
        return;
    if (list_full(list)) {
        list->more = true;
        return;
    }
    list->rows++;
    if (list->array) {
        json_array_append_new(list->array, row_json(row, list->runs));
        return;
    }
    char attempts[16];
    snprintf(attempts, sizeof(attempts), "%u", row->attempts);
    struct cl_short duration = row_duration(row), start = cl_format_time(row->start_ns);
    const char *cells[] = {row->name,     cl_phase_name(row->phase),
                           row->task,     list->runs ? start.text : row->parent,
                           duration.text, attempts};
    cl_table_add(list->table, cells);
}

static void list_init(struct list *list, const struct cl_get_options *options, bool runs)
{
    *list = (struct list){.options = options, .runs = runs};
    if (options->common.json)
        list->array = json_array();
    else
        list->table = cl_table_new(runs ? run_columns : action_columns, 6);
}

static void list_print(struct list *list)
{
    if (list->array) {
        cl_json_document(list->array, stdout);
        return;
    }
    cl_table_print(list->table, stdout, cl_terminal_width(stdout), 0);
    cl_table_free(list->table);
    fflush(stdout);
    if (list->more)
        fprintf(stderr, "there are more: --limit 0 shows all\n");
    else if (list->rows == 0)
        fprintf(stderr, "there are no %s%s\n", list->runs ? "runs" : "actions",
                list->options->phase > 0 ? " in this phase" : "");
}

static void list_drop(struct list *list)
{
    json_decref(list->array);
    cl_table_free(list->table);
}

static uint32_t page_size(const struct cl_get_options *options)
{
    bool small = options->limit > 0 && options->limit < PAGE_MAX && options->phase <= 0;
    return small ? (uint32_t)options->limit + 1
                 : PAGE_MAX; /* one more tells whether there are more */
}

/* One page of runs; false when it was the last, or failed. */
static bool page_of_runs(struct cl_client *client, struct list *list, struct cl_error *error)
{
    Flyteidl2__Workflow__ListRunsRequest request = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__INIT;
    Flyteidl2__Common__ListRequest page = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    project.name = cl_unconst(client->options.project);
    project.domain = cl_unconst(client->options.domain);
    page.limit = page_size(list->options);
    page.token = list->token;
    request.request = &page;
    request.scope_by_case = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_PROJECT_ID;
    request.project_id = &project;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Flyteidl2__Workflow__ListRunsResponse *response = cl_call(client, &cl_list_runs,
                                                                    &request.base, &arena, error);
    list->token[0] = '\0';
    for (size_t i = 0; response && i < response->n_runs; i++) {
        const Flyteidl2__Workflow__Action *action = response->runs[i]->action;
        if (!action)
            continue;
        struct row row = make_row(action->id, action->metadata, action->status);
        row.name = action->id && action->id->run ? action->id->run->name : "";
        list_add(list, &row);
    }
    if (response)
        snprintf(list->token, sizeof(list->token), "%s", response->token);
    sy_arena_deinit(&arena);
    return list->token[0] != '\0' && !list->more;
}

enum cl_exit cl_get_runs(struct cl_client *client, const struct cl_get_options *options,
                         struct cl_error *error)
{
    struct list list;
    list_init(&list, options, true);
    while (page_of_runs(client, &list, error))
        ;
    if (error->exit == CL_OK)
        list_print(&list);
    else
        list_drop(&list);
    return error->exit;
}

static bool page_of_actions(struct cl_client *client, struct list *list, struct cl_error *error)
{
    Flyteidl2__Workflow__ListActionsRequest request =
        FLYTEIDL2__WORKFLOW__LIST_ACTIONS_REQUEST__INIT;
    Flyteidl2__Common__ListRequest page = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier run;
    cl_run_identifier(client, list->options->name, &run);
    page.limit = page_size(list->options);
    page.token = list->token;
    request.request = &page;
    request.run_id = &run;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Flyteidl2__Workflow__ListActionsResponse *response = cl_call(
        client, &cl_list_actions, &request.base, &arena, error);
    list->token[0] = '\0';
    for (size_t i = 0; response && i < response->n_actions; i++) {
        const Flyteidl2__Workflow__Action *action = response->actions[i];
        struct row row = make_row(action->id, action->metadata, action->status);
        list_add(list, &row);
    }
    if (response)
        snprintf(list->token, sizeof(list->token), "%s", response->token);
    sy_arena_deinit(&arena);
    return list->token[0] != '\0' && !list->more;
}

enum cl_exit cl_get_actions(struct cl_client *client, const struct cl_get_options *options,
                            struct cl_error *error)
{
    struct list list;
    list_init(&list, options, false);
    while (page_of_actions(client, &list, error))
        ;
    if (error->exit == CL_OK)
        list_print(&list);
    else
        list_drop(&list);
    return cl_not_found(client, error, options->name, NULL);
}

/* ---- one run ---- */

struct details {
    struct row row;
    const char *run, *type, *environment, *cluster, *error, *error_kind, *abort_reason;
    struct sy_buf output;
};

static void field(const char *name, const char *value)
{
    if (!value || !*value)
        return;
    char *clean = cl_text_clean(value);
    printf("%-12s %s\n", name, clean);
    free(clean);
}

static void read_result(const Flyteidl2__Workflow__ActionDetails *action, struct details *details)
{
    if (action->result_case == FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT_ERROR_INFO) {
        details->error = action->error_info->message;
        details->error_kind = action->error_info->kind ==
                                      FLYTEIDL2__WORKFLOW__ERROR_INFO__KIND__KIND_SYSTEM
                                  ? "system"
                                  : "user";
    } else if (action->result_case == FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT_ABORT_INFO) {
        details->abort_reason = action->abort_info->reason;
    }
    for (size_t i = 0; i < action->n_attempts; i++) {
        if (*action->attempts[i]->cluster)
            details->cluster = action->attempts[i]->cluster;
    }
    if (action->metadata) {
        details->environment = action->metadata->environment_name;
        if (action->metadata->spec_case == FLYTEIDL2__WORKFLOW__ACTION_METADATA__SPEC_TASK &&
            action->metadata->task)
            details->type = action->metadata->task->task_type;
    }
}

static bool printable(const struct sy_buf *output)
{
    for (size_t i = 0; i < output->len; i++) {
        if (output->data[i] < 0x20 && output->data[i] != '\n' && output->data[i] != '\t')
            return false;
    }
    return true;
}

static void print_details(const struct details *details)
{
    struct cl_short duration = row_duration(&details->row);
    struct cl_short start = cl_format_time(details->row.start_ns);
    char attempts[16];
    snprintf(attempts, sizeof(attempts), "%u", details->row.attempts);
    field("Run", details->run);
    field("Phase", cl_phase_name(details->row.phase));
    field("Task", details->row.task);
    field("Type", details->type);
    field("Environment", details->environment);
    field("Cluster", details->cluster);
    field("Started", start.text);
    field("Duration", duration.text);
    field("Attempts", attempts);
    field("Error", details->error);
    field("Aborted", details->abort_reason);
    if (details->output.len > 0 && printable(&details->output)) {
        printf("Output       %s:\n", cl_format_bytes(details->output.len).text);
        fwrite(details->output.data, 1, details->output.len, stdout);
        if (details->output.data[details->output.len - 1] != '\n')
            putchar('\n');
    } else if (details->output.len > 0) {
        printf("Output       %s, not text: -o json shows it\n",
               cl_format_bytes(details->output.len).text);
    }
}

static void print_details_json(const struct details *details)
{
    json_t *document = row_json(&details->row, true);
    cl_json_str(document, "run", details->run);
    cl_json_str(document, "type", details->type);
    cl_json_str(document, "environment", details->environment);
    cl_json_str(document, "cluster", details->cluster);
    cl_json_str(document, "error", details->error);
    cl_json_str(document, "error_kind", details->error_kind);
    cl_json_str(document, "abort_reason", details->abort_reason);
    cl_json_set(document, "output", cl_json_bytes(details->output.data, details->output.len));
    cl_json_document(document, stdout);
}

static void show_run(struct cl_client *client, const struct cl_get_options *options,
                     const Flyteidl2__Workflow__ActionDetails *action)
{
    struct details details = {.row = make_row(action->id, action->metadata, action->status),
                              .run = options->name};
    struct cl_error no_output;
    read_result(action, &details);
    if (details.row.phase == FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_SUCCEEDED)
        cl_action_output(client, options->name, "a0", &details.output, &no_output);
    if (options->common.json)
        print_details_json(&details);
    else
        print_details(&details);
    sy_buf_deinit(&details.output);
}

enum cl_exit cl_get_run(struct cl_client *client, const struct cl_get_options *options,
                        struct cl_error *error)
{
    Flyteidl2__Workflow__GetRunDetailsRequest request =
        FLYTEIDL2__WORKFLOW__GET_RUN_DETAILS_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier run;
    cl_run_identifier(client, options->name, &run);
    request.run_id = &run;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Flyteidl2__Workflow__GetRunDetailsResponse *response = cl_call(
        client, &cl_get_run_details, &request.base, &arena, error);
    if (response && response->details && response->details->action)
        show_run(client, options, response->details->action);
    else if (response)
        cl_fail(error, CL_INTERNAL, "the answer to GetRunDetails holds no run");
    sy_arena_deinit(&arena);
    return cl_not_found(client, error, options->name, NULL);
}
