/* switchyard watch: every committed change of a run, from any sequence number, until the run has
 * ended. */
#include "tools/src/cl_json.h"
#include "tools/src/cl_text.h"
#include "tools/src/cl_watch.h"
#include "tools/src/cmd.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEY_AFTER = 0x100, KEY_FINAL_ONLY };

struct watch_options {
    struct cl_args common;
    const char *run;
    int64_t after;
    bool final_only;
    unsigned width;
};

static const struct argp_option watch_argp_options[] = {
    {"after", KEY_AFTER, "SEQUENCE", 0, "only what came after this change", 0},
    {"final-only", KEY_FINAL_ONLY, NULL, 0, "only how actions ended", 0},
    {0},
};

static error_t parse_watch(int key, char *arg, struct argp_state *state)
{
    struct watch_options *options = state->input;
    struct cl_args *common = &options->common;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    case KEY_AFTER:
        return cl_args_number(common, "after", arg, 0, INT64_MAX, &options->after) ? 0 : EINVAL;
    case KEY_FINAL_ONLY:
        options->final_only = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            return cl_args_wrong(common, "unexpected argument '%s': expected RUN", arg);
        options->run = arg;
        return cl_name_ok(common, "run", arg) ? 0 : EINVAL;
    case ARGP_KEY_END:
        return options->run ? 0 : cl_args_wrong(common, "which run? Expected RUN");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_json(const Switchyard__V1__Event *event)
{
    json_t *line = json_object();
    cl_json_int(line, "sequence", (int64_t)event->sequence);
    cl_json_int(line, "time_ns", event->time_ns);
    cl_json_str(line, "action", event->action);
    cl_json_str(line, "phase", cl_phase_name((int)event->phase));
    cl_json_int(line, "attempt", event->attempt);
    cl_json_str(line, "parent", event->parent);
    cl_json_str(line, "cluster", event->cluster);
    cl_json_str(line, "node", event->node);
    cl_json_int(line, "started_ns", event->started_ns);
    if (event->error) {
        json_t *error = json_object();
        cl_json_str(error, "code", event->error->code);
        cl_json_str(error, "message", event->error->message);
        cl_json_bool(error, "system", event->error->system);
        cl_json_set(line, "error", error);
    }
    cl_json_line(line, stdout);
}

/* One line for each change, cut to the terminal. */
static void print_line(const struct watch_options *options, const Switchyard__V1__Event *event)
{
    char line[1024], attempt[32] = "", error[600] = "";
    if (event->attempt > 1)
        snprintf(attempt, sizeof(attempt), "  attempt %u", event->attempt);
    if (event->error)
        snprintf(error, sizeof(error), "  %.60s: %.500s", event->error->code,
                 event->error->message);
    snprintf(line, sizeof(line), "%s  %-12.63s %-12s%s%s%.120s%s",
             cl_format_clock(event->time_ns).text, event->action, cl_phase_name((int)event->phase),
             attempt, *event->node ? "  on " : "", event->node, error);
    char *clean = cl_text_clean(line);
    bool cut = options->width > 1 && cl_text_width(clean) > options->width;
    if (cut)
        clean[cl_text_prefix(clean, options->width - 1)] = '\0';
    printf("%s%s\n", clean, cut ? "~" : "");
    fflush(stdout);
    free(clean);
}

static void on_event(void *ctx, const Switchyard__V1__Event *event)
{
    const struct watch_options *options = ctx;
    if (options->common.json)
        print_json(event);
    else
        print_line(options, event);
}

enum cl_exit cl_cmd_watch(const struct cl_args *defaults, int argc, char **argv)
{
    static const char doc[] =
        "Prints each change of a run until the run has ended, and exits as the run did (0, 1, 6 or "
        "7). A broken connection is taken up again where it broke.\v" CL_EXIT_CODES;
    const struct argp argp = {watch_argp_options, parse_watch, "RUN", doc,
                              CL_ARGS_CHILDREN,   NULL,        NULL};
    struct watch_options options = {.common = *defaults, .width = cl_terminal_width(stdout)};
    if (cl_args_parse(&argp, argc, argv, 0, &options.common, &options) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &options.common);
    struct cl_error error = {.exit = CL_OK};
    struct cl_client *client SY_CLEANUP(cl_client_freep) = NULL;
    if (cl_client_new(&client, &options.common.client, &error) != CL_OK)
        return cl_report(CL_PROGRAM, &error);
    struct cl_watch watch;
    cl_watch_start(&watch, client, options.run, (uint64_t)options.after, options.final_only,
                   on_event, &options);
    while (cl_watch_turn(&watch, 0))
        ;
    cl_not_found(client, &watch.error, options.run, NULL);
    cl_report(CL_PROGRAM, &watch.error);
    enum cl_exit exit_code = cl_watch_result(&watch);
    cl_watch_stop(&watch);
    return exit_code;
}
