/* switchyard logs: asks the region which cluster ran the task, and that cluster's operator for the
 * log. */
#include "tools/src/cl_json.h"
#include "tools/src/cl_text.h"
#include "tools/src/cmd.h"

#include <stdio.h>
#include <string.h>

enum { KEY_ATTEMPT = 0x100, KEY_TIMESTAMPS };

#define RETRY_NS (300 * SY_NS_PER_MS) /* -f: until the task has started */

enum stream { STREAM_STDOUT = 1, STREAM_STDERR, STREAM_TASK, STREAM_AGENT };

struct logs_options {
    struct cl_args common;
    struct cl_logs_request request;
};

static error_t parse_logs(int key, char *arg, struct argp_state *state)
{
    struct logs_options *options = state->input;
    struct cl_args *common = &options->common;
    int64_t number = 0;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    case 'f':
        options->request.follow = true;
        return 0;
    case KEY_ATTEMPT:
        if (!cl_args_number(common, "attempt", arg, 1, UINT32_MAX, &number))
            return EINVAL;
        options->request.attempt = (uint32_t)number;
        return 0;
    case KEY_TIMESTAMPS:
        options->request.timestamps = true;
        return 0;
    default:
        return cl_run_action_parse(common, key, arg, state, &options->request.run,
                                   &options->request.action);
    }
}

static const struct argp_option logs_argp_options[] = {
    {"follow", 'f', NULL, 0, "go on until the task has ended", 0},
    {"attempt", KEY_ATTEMPT, "N", 0, "which attempt; default: the newest", 0},
    {"timestamps", KEY_TIMESTAMPS, NULL, 0, "begin each piece with its time", 0},
    {0},
};

/* ---- printing ---- */

struct printer {
    const struct cl_logs_request *request;
    bool line_open[2]; /* stdout, stderr: the last byte was not a newline */
    uint64_t records;
};

static const char *stream_name(uint32_t stream)
{
    static const char *const names[] = {"unknown", "stdout", "stderr", "task", "agent"};
    return stream <= STREAM_AGENT ? names[stream] : names[0];
}

static void print_json(const Switchyard__V1__LogRecord *record)
{
    json_t *line = json_object();
    cl_json_int(line, "time_ns", record->time_ns);
    cl_json_str(line, "stream", stream_name(record->stream));
    cl_json_set(line, "data", cl_json_bytes(record->data.data, record->data.len));
    cl_json_line(line, stdout);
}

/* Bytes go out as the task wrote them; records of its log calls and of the agent end with a
 * newline. */
static void print_record(struct printer *printer, const Switchyard__V1__LogRecord *record)
{
    printer->records++;
    if (printer->request->json) {
        print_json(record);
        return;
    }
    bool to_stdout = record->stream == STREAM_STDOUT;
    FILE *file = to_stdout ? stdout : stderr;
    bool *open = &printer->line_open[to_stdout ? 0 : 1];
    if (record->data.len == 0)
        return;
    if (record->stream >= STREAM_TASK && *open)
        fputc('\n', file);
    if (printer->request->timestamps && (!*open || record->stream >= STREAM_TASK))
        fprintf(file, "%s ", cl_format_clock(record->time_ns).text);
    if (record->stream == STREAM_AGENT)
        fputs("agent: ", file);
    fwrite(record->data.data, 1, record->data.len, file);
    *open = record->data.data[record->data.len - 1] != '\n';
    if (record->stream >= STREAM_TASK && *open) {
        fputc('\n', file);
        *open = false;
    }
}

static void on_records(void *ctx, const void *message)
{
    struct printer *printer = ctx;
    const Switchyard__V1__ReadLogsResponse *response = message;
    for (size_t i = 0; i < response->n_records; i++)
        print_record(printer, response->records[i]);
    fflush(stdout);
}

/* ---- asking ---- */

static bool stream_ended(void *ctx)
{
    return cl_stream_ended(ctx);
}

static enum cl_exit read_logs(struct cl_client *client, struct sy_channel *channel,
                              const struct cl_logs_request *request, struct cl_error *error)
{
    Switchyard__V1__ReadLogsRequest read = SWITCHYARD__V1__READ_LOGS_REQUEST__INIT;
    Switchyard__V1__RunId run;
    cl_run_id(client, request->run, &run);
    read.run = &run;
    read.action = cl_unconst(request->action);
    read.attempt = request->attempt;
    read.follow = request->follow;
    struct printer printer = {.request = request};
    struct cl_stream *stream = cl_stream_open(client, channel, &cl_read_logs, &read.base,
                                              on_records, &printer);
    if (!cl_wait(client, stream_ended, stream, 0))
        cl_fail(error, CL_INTERRUPTED, "interrupted");
    else
        *error = *cl_stream_error(stream);
    cl_stream_close(stream);
    if (printer.line_open[0] && !request->json)
        fputc('\n', stdout);
    if (printer.line_open[1])
        fputc('\n', stderr);
    return error->exit;
}

/* Why a log is not there: nothing was written, which is no error; or the sentence. *ret_later: it
 * may come. */
static enum cl_exit explain_absence(struct cl_client *client, const struct cl_logs_request *request,
                                    bool *ret_later, struct cl_error *error)
{
    Flyteidl2__Workflow__GetActionDetailsRequest get =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DETAILS_REQUEST__INIT;
    Flyteidl2__Common__ActionIdentifier id = FLYTEIDL2__COMMON__ACTION_IDENTIFIER__INIT;
    Flyteidl2__Common__RunIdentifier run;
    cl_run_identifier(client, request->run, &run);
    id.run = &run;
    id.name = cl_unconst(request->action);
    get.action_id = &id;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Flyteidl2__Workflow__GetActionDetailsResponse *response = cl_call(
        client, &cl_get_action_details, &get.base, &arena, error);
    const Flyteidl2__Workflow__ActionDetails *action = response ? response->details : NULL;
    bool kept = false;
    for (size_t i = 0; action && i < action->n_attempts; i++)
        kept |= action->attempts[i]->logs_available;
    int phase = action && action->status ? (int)action->status->phase : 0;
    bool group = action && action->metadata && action->metadata->task &&
                 action->metadata->spec_case == FLYTEIDL2__WORKFLOW__ACTION_METADATA__SPEC_TASK &&
                 strcmp(action->metadata->task->task_type, "switchyard.group") == 0;
    *ret_later = action && !group && !cl_phase_final(phase);
    if (group)
        cl_fail(error, CL_NOT_FOUND,
                "action '%s' of run '%s' is a group, which has no log: name one of its actions",
                request->action, request->run);
    else if (action && phase < FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_RUNNING)
        cl_fail(error, CL_NOT_FOUND, "action '%s' of run '%s' has not started: it is %s",
                request->action, request->run, cl_phase_name(phase));
    else if (action && action->status && request->attempt > action->status->attempts)
        cl_fail(error, CL_NOT_FOUND, "action '%s' of run '%s' has no attempt %u: it has had %u",
                request->action, request->run, request->attempt, action->status->attempts);
    else if (action && cl_phase_final(phase) && (kept || request->attempt > 0))
        cl_fail(error, CL_NOT_FOUND, "there is no such log of action '%s' of run '%s' any more",
                request->action, request->run);
    sy_arena_deinit(&arena);
    return error->exit;
}

static enum cl_exit try_once(struct cl_client *client, const struct cl_logs_request *request,
                             struct cl_error *error)
{
    struct sy_buf endpoint SY_CLEANUP(sy_buf_deinit) = {0};
    *error = (struct cl_error){.exit = CL_OK};
    if (cl_find_operator(client, request->run, request->action, &endpoint, error) != CL_OK)
        return error->exit;
    const char *target = (const char *)endpoint.data;
    struct sy_channel *channel = *target ? sy_channel_new(client->rpc, target) : NULL;
    enum cl_exit exit_code = read_logs(client, channel, request, error);
    if (channel)
        sy_channel_free(channel);
    if (exit_code == CL_UNREACHABLE && *target)
        sy_error_text_set(&error->text,
                          "the operator at %s, which keeps this log, is not reachable", target);
    return exit_code;
}

enum cl_exit cl_logs_print(struct cl_client *client, const struct cl_logs_request *given,
                           struct cl_error *error)
{
    struct cl_logs_request request = *given;
    if (!request.action || !*request.action)
        request.action = "a0";
    for (;;) {
        bool later = false;
        if (try_once(client, &request, error) != CL_NOT_FOUND)
            return error->exit;
        if (explain_absence(client, &request, &later, error) == CL_NOT_FOUND &&
            error->code == SY_CODE_NOT_FOUND)
            return cl_not_found(client, error, request.run, given->action);
        if (!later || !request.follow)
            return error->exit;
        cl_sleep(client, RETRY_NS);
        if (client->interrupted)
            return cl_fail(error, CL_INTERRUPTED, "interrupted");
    }
}

enum cl_exit cl_cmd_logs(const struct cl_args *defaults, int argc, char **argv)
{
    static const char doc[] =
        "Prints the log of a task: of the root, or of ACTION. What it wrote to stdout goes to "
        "stdout; its stderr, its log calls and notes of the agent go to stderr. Logs stay after "
        "the task has ended.\v" CL_EXIT_CODES;
    const struct argp argp = {
        logs_argp_options, parse_logs, "RUN [ACTION]", doc, CL_ARGS_CHILDREN, NULL, NULL};
    struct logs_options options = {.common = *defaults, .request = {.action = ""}};
    if (cl_args_parse(&argp, argc, argv, 0, &options.common, &options) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &options.common);
    options.request.json = options.common.json;
    struct cl_error error = {.exit = CL_OK};
    struct cl_client *client SY_CLEANUP(cl_client_freep) = NULL;
    if (cl_client_new(&client, &options.common.client, &error) == CL_OK)
        cl_logs_print(client, &options.request, &error);
    return cl_report(CL_PROGRAM, &error);
}
