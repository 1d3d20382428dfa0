/* switchyard abort: ends a run, or an action and all below it. */
#include "tools/src/cl_json.h"
#include "tools/src/cmd.h"

#include <stdio.h>

enum { KEY_REASON = 0x100 };

struct abort_options {
    struct cl_args common;
    const char *run, *action, *reason;
};

static const struct argp_option abort_argp_options[] = {
    {"reason", KEY_REASON, "TEXT", 0, "kept with the run, for whoever looks at it", 0},
    {0},
};

static error_t parse_abort(int key, char *arg, struct argp_state *state)
{
    struct abort_options *options = state->input;
    struct cl_args *common = &options->common;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    case KEY_REASON:
        options->reason = arg;
        return 0;
    default:
        return cl_run_action_parse(common, key, arg, state, &options->run, &options->action);
    }
}

static enum cl_exit abort_action(struct cl_client *client, const struct abort_options *options,
                                 struct cl_error *error)
{
    Flyteidl2__Workflow__AbortActionRequest request =
        FLYTEIDL2__WORKFLOW__ABORT_ACTION_REQUEST__INIT;
    Flyteidl2__Common__ActionIdentifier id = FLYTEIDL2__COMMON__ACTION_IDENTIFIER__INIT;
    Flyteidl2__Common__RunIdentifier run;
    cl_run_identifier(client, options->run, &run);
    id.run = &run;
    id.name = cl_unconst(options->action);
    request.action_id = &id;
    if (options->reason)
        request.reason = cl_unconst(options->reason);
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    (void)cl_call(client, &cl_abort_action, &request.base, &arena, error);
    sy_arena_deinit(&arena);
    return error->exit;
}

static void print_result(const struct abort_options *options)
{
    if (options->common.json) {
        json_t *document = json_object();
        cl_json_str(document, "run", options->run);
        cl_json_str(document, "action", options->action);
        cl_json_bool(document, "aborted", 1);
        cl_json_document(document, stdout);
    } else if (options->action) {
        printf("action %s of run %s is aborted\n", options->action, options->run);
    } else {
        printf("run %s is aborted\n", options->run);
    }
}

enum cl_exit cl_cmd_abort(const struct cl_args *defaults, int argc, char **argv)
{
    static const char doc[] = "Ends a run, or one action and everything below it.\v" CL_EXIT_CODES;
    const struct argp argp = {
        abort_argp_options, parse_abort, "RUN [ACTION]", doc, CL_ARGS_CHILDREN, NULL, NULL};
    struct abort_options options = {.common = *defaults};
    if (cl_args_parse(&argp, argc, argv, 0, &options.common, &options) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &options.common);
    struct cl_error error = {.exit = CL_OK};
    struct cl_client *client SY_CLEANUP(cl_client_freep) = NULL;
    if (cl_client_new(&client, &options.common.client, &error) != CL_OK)
        return cl_report(CL_PROGRAM, &error);
    enum cl_exit exit_code = options.action
                                 ? abort_action(client, &options, &error)
                                 : cl_run_abort(client, options.run, options.reason, &error);
    if (exit_code == CL_OK)
        print_result(&options);
    else
        cl_not_found(client, &error, options.run, options.action);
    return cl_report(CL_PROGRAM, &error);
}
