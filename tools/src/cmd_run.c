/* switchyard run: creates the run, enqueues its children, waits for the end, and tells how it went.
 */
#include "tools/src/cmd_run.h"

#include "base/file.h"
#include "base/mem.h"
#include "tools/src/cl_json.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIVE_UP_NS (5 * SY_NS_PER_S)
#define INPUT_BYTES_MAX ((size_t)8 * 1024 * 1024)

/* ---- specs ---- */

enum cl_exit cl_run_pack_spec(const struct cl_run_options *options, const char *const *args,
                              size_t arg_count, struct sy_buf *append, struct cl_error *error)
{
    union {
        char **in;
        const char *const *out;
    } command = {options->command}, variables = {options->variables};
    struct cl_spec spec = {
        .type = options->function ? CL_SPEC_FUNCTION : CL_SPEC_PROCESS,
        .args = args ? args : command.out,
        .arg_count = args ? arg_count : options->command_count,
        .cpu = options->cpu,
        .memory = options->memory,
        .gpu_milli = options->gpu_milli,
        .node_labels = options->node_labels,
        .tolerations = options->tolerations,
        .on_partition = options->on_partition,
        .gpu_model = options->gpu_model,
        .variables = variables.out,
        .variable_count = options->variable_count,
        .retries = options->retries,
        .timeout_ns = options->timeout_ns,
    };
    char *library = NULL, *function = NULL;
    if (options->function) {
        if (cl_function_parse(options->function, &library, &function) < 0)
            return cl_fail(error, CL_USAGE, "--function '%s': expected LIBRARY:FUNCTION",
                           options->function);
        spec.library = library;
        spec.function = function;
        spec.environment = options->environment ? options->environment : cl_environment();
    }
    struct sy_error_text text;
    int r = cl_spec_pack(&spec, append, &text);
    free(library);
    free(function);
    return r < 0 ? cl_fail(error, CL_USAGE, "%s", text.text) : CL_OK;
}

/* ---- what the watch tells ---- */

static void remember_failure(struct cl_run_summary *summary, const Switchyard__V1__Event *event)
{
    if (summary->failure_count == CL_RUN_FAILURES_MAX)
        return;
    struct cl_run_failure *failure = &summary->failures[summary->failure_count++];
    snprintf(failure->action, sizeof(failure->action), "%s", event->action);
    snprintf(failure->node, sizeof(failure->node), "%s", event->node);
    failure->phase = (int)event->phase;
    failure->attempts = event->attempt;
    if (event->error)
        sy_error_text_set(&failure->error, "%s: %s", event->error->code, event->error->message);
}

void cl_run_on_event(void *ctx, const Switchyard__V1__Event *event)
{
    struct cl_run_summary *summary = ctx;
    bool root = strcmp(event->action, "a0") == 0;
    if (!cl_phase_final((int)event->phase) || (root && summary->fan_out))
        return;
    summary->phases[(unsigned)event->phase % 16]++;
    summary->finished++;
    if (event->phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED)
        remember_failure(summary, event);
    if (root || !summary->fan_out) {
        snprintf(summary->node, sizeof(summary->node), "%s", event->node);
        summary->attempts = event->attempt;
    }
    cl_run_show_progress(summary);
}

void cl_run_show_progress(struct cl_run_summary *summary)
{
    uint64_t failed = summary->finished - summary->phases[SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED];
    if (summary->fan_out)
        cl_progress_show(&summary->progress, summary->run, summary->finished,
                         summary->total_known ? summary->total : summary->enqueued, failed);
    else
        cl_progress_wait(&summary->progress, summary->run);
}

/* ---- the end ---- */

static const struct cl_column single_columns[] = {
    {"RUN", false, CL_RUN_COLUMNS, 0}, {"PHASE", false, 0, 0},
    {"ATTEMPTS", true, 0, 3},          {"NODE", false, 6, 2},
    {"DURATION", true, 0, 1},
};
static const struct cl_column fanout_columns[] = {
    {"RUN", false, CL_RUN_COLUMNS, 0}, {"PHASE", false, 0, 0},   {"TASKS", true, 0, 1},
    {"SUCCEEDED", true, 0, 3},         {"FAILED", true, 0, 0},   {"ABORTED", true, 0, 5},
    {"TIMED OUT", true, 0, 6},         {"DURATION", true, 0, 2}, {"RATE", true, 0, 4},
};
static const struct cl_column failure_columns[] = {
    {"ACTION", false, 8, 0}, {"PHASE", false, 0, 0},  {"ATTEMPTS", true, 0, 3},
    {"NODE", false, 6, 2},   {"ERROR", false, 44, 0},
};

static void print_failures(const struct cl_run_summary *summary)
{
    if (summary->failure_count == 0)
        return;
    struct cl_table *table = cl_table_new(failure_columns, 5);
    for (size_t i = 0; i < summary->failure_count; i++) {
        const struct cl_run_failure *failure = &summary->failures[i];
        char attempts[16];
        snprintf(attempts, sizeof(attempts), "%u", failure->attempts);
        const char *cells[] = {failure->action, cl_phase_name(failure->phase), attempts,
                               failure->node, failure->error.text};
        cl_table_add(table, cells);
    }
    putchar('\n');
    cl_table_print(table, stdout, cl_terminal_width(stdout), 0);
    cl_table_free(table);
    uint64_t all = summary->finished - summary->phases[SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED];
    if (all > summary->failure_count)
        printf("and %s more: switchyard watch --final-only %s\n",
               cl_format_count(all - summary->failure_count).text, summary->run);
}

static void print_table(const struct cl_run_summary *summary, const struct cl_watch *watch)
{
    const uint64_t *phases = summary->phases;
    int64_t elapsed_ns = cl_monotonic_ns() - summary->started_ns;
    struct cl_short duration = cl_format_duration(elapsed_ns);
    const char *phase = cl_phase_name(watch->root_phase);
    struct cl_table *table;
    if (summary->fan_out) {
        struct cl_short total = cl_format_count(summary->finished);
        struct cl_short ok = cl_format_count(phases[SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED]);
        struct cl_short failed = cl_format_count(phases[SWITCHYARD__V1__PHASE__PHASE_FAILED]);
        struct cl_short aborted = cl_format_count(phases[SWITCHYARD__V1__PHASE__PHASE_ABORTED]);
        struct cl_short timed_out = cl_format_count(phases[SWITCHYARD__V1__PHASE__PHASE_TIMED_OUT]);
        char rate[CL_SHORT_TEXT + 4];
        double per_s = (double)summary->finished * 1e9 / (double)elapsed_ns;
        snprintf(rate, sizeof(rate), "%s/s", cl_format_count((uint64_t)llround(per_s)).text);
        const char *cells[] = {summary->run, phase,          total.text,    ok.text, failed.text,
                               aborted.text, timed_out.text, duration.text, rate};
        table = cl_table_new(fanout_columns, 9);
        cl_table_add(table, cells);
    } else {
        char attempts[16];
        snprintf(attempts, sizeof(attempts), "%u", summary->attempts);
        const char *cells[] = {summary->run, phase, attempts, summary->node, duration.text};
        table = cl_table_new(single_columns, 5);
        cl_table_add(table, cells);
    }
    cl_table_print(table, stdout, cl_terminal_width(stdout), 0);
    cl_table_free(table);
    print_failures(summary);
}

static void print_json(const struct cl_run_summary *summary, const struct cl_watch *watch,
                       const struct sy_buf *output)
{
    json_t *document = json_object(), *phases = json_object(), *failures = json_array();
    cl_json_str(document, "run", summary->run);
    cl_json_str(document, "phase", cl_phase_name(watch->root_phase));
    cl_json_int(document, "duration_ns", cl_monotonic_ns() - summary->started_ns);
    cl_json_int(document, "tasks", (int64_t)summary->finished);
    for (int phase = 0; phase < 16; phase++) {
        if (summary->phases[phase] > 0)
            cl_json_int(phases, cl_phase_name(phase), (int64_t)summary->phases[phase]);
    }
    cl_json_set(document, "phases", phases);
    for (size_t i = 0; i < summary->failure_count; i++) {
        const struct cl_run_failure *failure = &summary->failures[i];
        json_t *object = json_object();
        cl_json_str(object, "action", failure->action);
        cl_json_str(object, "phase", cl_phase_name(failure->phase));
        cl_json_int(object, "attempts", failure->attempts);
        cl_json_str(object, "node", failure->node);
        cl_json_str(object, "error", failure->error.text);
        json_array_append_new(failures, object);
    }
    cl_json_set(document, "failures", failures);
    if (!summary->fan_out)
        cl_json_set(document, "output", cl_json_bytes(output->data, output->len));
    cl_json_document(document, stdout);
}

/* Where a browser shows the run; for people, so on stderr. */
static void tell_page(struct cl_client *client, const char *run)
{
    const struct cl_options *options = &client->options;
    Switchyard__V1__GetRegionStatusRequest request =
        SWITCHYARD__V1__GET_REGION_STATUS_REQUEST__INIT;
    struct cl_error ignored;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__GetRegionStatusResponse *status = cl_call(
        client, &cl_get_region_status, &request.base, &arena, &ignored);
    if (status && status->pages && strncmp(options->endpoint, "unix:", 5) != 0)
        fprintf(stderr, "page: http://%s/v2/domain/%s/project/%s/runs/%s\n", options->endpoint,
                options->domain, options->project, run);
    sy_arena_deinit(&arena);
}

static void print_detached(const struct cl_run_options *options, const char *run)
{
    if (!options->common.json) {
        puts(run);
        return;
    }
    json_t *document = json_object();
    cl_json_str(document, "run", run);
    cl_json_document(document, stdout);
}

/* ---- the command ---- */

struct session {
    struct cl_client *client;
    struct cl_run_options options;
    struct cl_run_summary summary;
    struct cl_watch watch;
    char run[CL_RUN_NAME_MAX];
    struct sy_buf input;
    struct cl_lines lines;
};

/* Before the run is created: a run without children is not what anybody wants. */
static enum cl_exit open_lines(struct session *session, struct cl_error *error)
{
    const char *path = session->options.lines;
    if (!path)
        return CL_OK;
    if (cl_lines_open(&session->lines, path, error) != CL_OK)
        return error->exit;
    return cl_lines_check(&session->lines, session->client, error);
}

static enum cl_exit read_input(const struct cl_run_options *options, struct sy_buf *ret,
                               struct cl_error *error)
{
    if (options->input)
        sy_buf_append_str(ret, options->input);
    if (!options->input_file)
        return CL_OK;
    int r = sy_file_read(options->input_file, INPUT_BYTES_MAX, ret);
    return r < 0 ? cl_fail(error, CL_USAGE, "--input-file '%s': %s", options->input_file,
                           strerror(-r))
                 : CL_OK;
}

static enum cl_exit create(struct session *session, struct cl_error *error)
{
    const struct cl_run_options *options = &session->options;
    struct sy_buf spec SY_CLEANUP(sy_buf_deinit) = {0};
    struct cl_new_run run = {.queue = options->queue};
    struct sy_error_text text;
    if (read_input(options, &session->input, error) != CL_OK)
        return error->exit;
    if (session->summary.fan_out) {
        int r = cl_spec_pack(&(struct cl_spec){.type = CL_SPEC_GROUP}, &spec, &text);
        SY_ASSERT(r == 0);
    } else {
        if (cl_run_pack_spec(options, NULL, 0, &spec, error) != CL_OK)
            return error->exit;
        run.input = sy_buf_span(&session->input);
    }
    run.task_spec = sy_buf_span(&spec);
    if (options->name)
        snprintf(session->run, sizeof(session->run), "%s", options->name);
    return cl_run_create(session->client, &run, session->run, error);
}

/* A run whose children could not all be enqueued would never end by itself. One more Ctrl-C must
 * not keep it: this is short. */
static void give_up(struct session *session, struct cl_error *error)
{
    struct cl_error ignored;
    session->client->interrupted = false;
    session->client->deaf = true;
    if (session->client->options.timeout_ns > GIVE_UP_NS)
        session->client->options.timeout_ns = GIVE_UP_NS;
    enum cl_exit aborted = cl_run_abort(session->client, session->run,
                                        "its children could not be enqueued", &ignored);
    struct sy_error_text why = error->text;
    sy_error_text_set(&error->text, "%s; run '%s' %s", why.text, session->run,
                      aborted == CL_OK ? "was aborted" : "could not be aborted");
}

static enum cl_exit follow(struct session *session, struct cl_error *error)
{
    struct cl_watch *watch = &session->watch;
    while (cl_watch_turn(watch, 200 * SY_NS_PER_MS))
        cl_run_show_progress(&session->summary);
    cl_progress_clear(&session->summary.progress);
    if (watch->root_phase)
        return cl_watch_result(watch);
    *error = watch->error;
    if (error->exit == CL_INTERRUPTED)
        sy_error_text_set(&error->text,
                          "run '%s' goes on; 'switchyard watch %s' follows it, 'switchyard abort "
                          "%s' ends it",
                          session->run, session->run, session->run);
    return error->exit;
}

static void show_result(struct session *session, struct cl_error *error)
{
    const struct cl_run_options *options = &session->options;
    struct sy_buf output SY_CLEANUP(sy_buf_deinit) = {0};
    struct cl_error ignored;
    bool succeeded = session->watch.root_phase == SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED;
    const char *action = session->summary.fan_out ? "n0000000" : "a0";
    if (options->logs) {
        struct cl_logs_request request = {.run = session->run, .action = action};
        if (cl_logs_print(session->client, &request, error) != CL_OK)
            cl_report(CL_PROGRAM, error);
    }
    if (options->function && succeeded && !session->summary.fan_out)
        cl_action_output(session->client, session->run, action, &output, &ignored);
    if (options->common.json) {
        print_json(&session->summary, &session->watch, &output);
        return;
    }
    print_table(&session->summary, &session->watch);
    if (output.len > 0) {
        char *text = sy_strndup((const char *)output.data, output.len);
        bool plain = strlen(text) == output.len;
        for (size_t i = 0; plain && i < output.len; i++)
            plain = output.data[i] >= 0x20 || output.data[i] == '\n' || output.data[i] == '\t';
        if (plain)
            printf("\n%s%s", text, text[output.len - 1] == '\n' ? "" : "\n");
        else
            printf("\noutput: %s, not text; -o json shows it\n", cl_format_bytes(output.len).text);
        free(text);
    }
}

/* Before the run is created, as what is wrong here is wrong for every child. */
static enum cl_exit check_function(const struct cl_run_options *options, struct cl_error *error)
{
    char *library = NULL, *function = NULL;
    if (!options->function)
        return CL_OK;
    if (cl_function_parse(options->function, &library, &function) < 0)
        return cl_fail(error, CL_USAGE, "--function '%s': expected LIBRARY:FUNCTION",
                       options->function);
    if (library[0] != '/')
        cl_fail(error, CL_USAGE,
                "--function '%s': there is no file '%s' here; expected its path, or the absolute "
                "path that it has on the nodes",
                options->function, library);
    free(library);
    free(function);
    return error->exit;
}

static enum cl_exit run(struct session *session, struct cl_error *error)
{
    const struct cl_run_options *options = &session->options;
    struct cl_run_summary *summary = &session->summary;
    summary->fan_out = options->has_each || options->lines || options->has_priority ||
                       options->gang > 0;
    summary->run = session->run;
    summary->started_ns = cl_monotonic_ns();
    cl_progress_init(&summary->progress);
    if (check_function(options, error) != CL_OK)
        return error->exit;
    if (options->dry_run)
        return cl_run_dry(session->client, options, error);
    if (open_lines(session, error) != CL_OK || create(session, error) != CL_OK)
        return error->exit;
    if (!options->common.json)
        tell_page(session->client, session->run);
    if (!options->detach)
        cl_watch_start(&session->watch, session->client, session->run, 0, true, cl_run_on_event,
                       summary);
    enum cl_exit exit_code = CL_OK;
    if (summary->fan_out)
        exit_code = cl_run_enqueue_all(session->client, options,
                                       options->lines ? &session->lines : NULL,
                                       sy_buf_span(&session->input), summary, error);
    if (exit_code != CL_OK) {
        cl_progress_clear(&summary->progress);
        give_up(session, error);
    } else if (options->detach) {
        print_detached(options, session->run);
    } else {
        exit_code = follow(session, error);
        if (session->watch.root_phase)
            show_result(session, error);
    }
    if (!options->detach)
        cl_watch_stop(&session->watch);
    return exit_code;
}

enum cl_exit cl_cmd_run(const struct cl_args *defaults, int argc, char **argv)
{
    struct session session = {.client = NULL};
    struct cl_error error = {.exit = CL_OK};
    enum cl_exit exit_code;
    if (cl_run_parse(&session.options, defaults, argc, argv) != CL_PARSE_OK) {
        exit_code = cl_args_exit(CL_PROGRAM, &session.options.common);
    } else if (cl_client_new(&session.client, &session.options.common.client, &error) != CL_OK) {
        exit_code = cl_report(CL_PROGRAM, &error);
    } else {
        exit_code = run(&session, &error);
        if (exit_code == error.exit)
            cl_report(CL_PROGRAM, &error);
    }
    cl_lines_close(&session.lines);
    sy_buf_deinit(&session.input);
    cl_run_options_deinit(&session.options);
    cl_client_free(session.client);
    return exit_code;
}
