/* switchyard explain, and run --dry-run. */
#include "tools/src/cl_explain.h"
#include "tools/src/cl_json.h"
#include "tools/src/cl_text.h"
#include "tools/src/cmd_run.h"

#include <stdio.h>

struct explain_options {
    struct cl_args common;
    const char *run, *action;
};

static error_t parse_explain(int key, char *arg, struct argp_state *state)
{
    struct explain_options *options = state->input;
    struct cl_args *common = &options->common;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    default:
        return cl_run_action_parse(common, key, arg, state, &options->run, &options->action);
    }
}

static enum cl_exit explain(struct cl_client *client, const struct explain_options *options,
                            struct cl_error *error)
{
    Switchyard__V1__ExplainActionRequest request = SWITCHYARD__V1__EXPLAIN_ACTION_REQUEST__INIT;
    Switchyard__V1__RunId run;
    cl_run_id(client, options->run, &run);
    request.run = &run;
    if (options->action)
        request.action = cl_unconst(options->action);
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__ExplainActionResponse *answer = cl_call(client, &cl_explain_action,
                                                                  &request.base, &arena, error);
    if (!answer)
        cl_not_found(client, error, options->run, options->action);
    else if (options->common.json)
        cl_json_document(cl_json_message(&answer->base), stdout);
    else
        cl_explain_print(answer, stdout, cl_terminal_width(stdout), cl_realtime_ns());
    sy_arena_deinit(&arena);
    return error->exit;
}

enum cl_exit cl_cmd_explain(const struct cl_args *defaults, int argc, char **argv)
{
    static const char doc[] =
        "Says why an action waits, what would start it and when it is likely to; of one that runs "
        "or "
        "has ended, where its time went. Without ACTION: the root, or of its children the one that "
        "has waited longest.\v" CL_EXIT_CODES;
    const struct argp argp = {NULL, parse_explain, "RUN [ACTION]", doc, CL_ARGS_CHILDREN,
                              NULL, NULL};
    struct explain_options options = {.common = *defaults};
    if (cl_args_parse(&argp, argc, argv, 0, &options.common, &options) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &options.common);
    struct cl_error error = {.exit = CL_OK};
    struct cl_client *client SY_CLEANUP(cl_client_freep) = NULL;
    if (cl_client_new(&client, &options.common.client, &error) == CL_OK)
        explain(client, &options, &error);
    return cl_report(CL_PROGRAM, &error);
}

/* ---- before there is a run ---- */

static enum cl_exit show_dry(const struct cl_run_options *options,
                             const Switchyard__V1__DryRunResponse *answer, struct cl_error *error)
{
    if (options->common.json)
        cl_json_document(cl_json_message(&answer->base), stdout);
    else
        cl_explain_print_dry(answer, stdout, cl_terminal_width(stdout), cl_realtime_ns());
    return answer->refused[0] ? cl_fail(error, CL_REFUSED, "%s", answer->refused) : CL_OK;
}

enum cl_exit cl_run_dry(struct cl_client *client, const struct cl_run_options *options,
                        struct cl_error *error)
{
    Switchyard__V1__DryRunRequest request = SWITCHYARD__V1__DRY_RUN_REQUEST__INIT;
    Switchyard__V1__RunId run;
    struct sy_buf spec SY_CLEANUP(sy_buf_deinit) = {0};
    if (cl_run_pack_spec(options, NULL, 0, &spec, error) != CL_OK)
        return error->exit;
    cl_run_id(client, options->name ? options->name : "", &run);
    request.run = &run;
    request.priority = options->priority;
    request.task_spec = (ProtobufCBinaryData){spec.len, spec.data};
    if (options->queue)
        request.queue = cl_unconst(options->queue);
    Switchyard__V1__Gang gang = SWITCHYARD__V1__GANG__INIT;
    cl_run_fill_gang(options, &gang);
    request.members = options->gang;
    if (options->gang > 0)
        request.gang = &gang;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__DryRunResponse *answer = cl_call(client, &cl_dry_run, &request.base,
                                                           &arena, error);
    if (answer)
        show_dry(options, answer, error);
    sy_arena_deinit(&arena);
    return error->exit;
}
