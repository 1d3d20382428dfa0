/* switchyard get: parses what is asked for; cmd_get_runs.c, cmd_get_actions.c and
 * cmd_get_clusters.c show it. */
#include "tools/src/cl_text.h"
#include "tools/src/cmd.h"

#include "base/mem.h"

#include <string.h>

enum { KEY_LIMIT = 'n', KEY_PHASE = 0x100, KEY_CLUSTER };

static const struct {
    const char *what;
    const char *name; /* what must follow; NULL: nothing may */
    enum cl_exit (*get)(struct cl_client *, const struct cl_get_options *, struct cl_error *);
} kinds[] = {
    {"runs", NULL, cl_get_runs},        {"run", "RUN", cl_get_run},
    {"actions", "RUN", cl_get_actions}, {"clusters", NULL, cl_get_clusters},
    {"nodes", NULL, cl_get_nodes},
};

static const struct argp_option get_argp_options[] = {
    {"limit", KEY_LIMIT, "N", 0, "rows at most; 0 = all (100)", 0},
    {"phase", KEY_PHASE, "PHASE", 0, "runs and actions: only those in this phase", 0},
    {"cluster", KEY_CLUSTER, "NAME", 0, "nodes: only of this cluster", 0},
    {0},
};

static int kind_of(const char *what)
{
    for (size_t i = 0; i < SY_COUNT_OF(kinds); i++) {
        if (strcmp(kinds[i].what, what) == 0)
            return (int)i;
    }
    return -1;
}

static error_t take_argument(struct cl_get_options *options, unsigned index, char *arg)
{
    struct cl_args *common = &options->common;
    if (index == 0) {
        options->what = arg;
        if (kind_of(arg) < 0)
            return cl_args_wrong(common, "'%s': expected runs, run, actions, clusters or nodes",
                                 arg);
        return 0;
    }
    if (index > 1 || !kinds[kind_of(options->what)].name)
        return cl_args_wrong(common, "unexpected argument '%s' after '%s'", arg, options->what);
    options->name = arg;
    return cl_name_ok(common, "run", arg) ? 0 : EINVAL;
}

static error_t parse_get(int key, char *arg, struct argp_state *state)
{
    struct cl_get_options *options = state->input;
    struct cl_args *common = &options->common;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    case KEY_LIMIT:
        return cl_args_number(common, "limit", arg, 0, INT32_MAX, &options->limit) ? 0 : EINVAL;
    case KEY_PHASE:
        options->phase = cl_phase_parse(arg);
        if (options->phase < 0)
            return cl_args_wrong(common,
                                 "--phase '%s': expected queued, running, succeeded, "
                                 "failed, aborted or timed_out",
                                 arg);
        return 0;
    case KEY_CLUSTER:
        options->cluster = arg;
        return 0;
    case ARGP_KEY_ARG:
        return take_argument(options, state->arg_num, arg);
    case ARGP_KEY_END:
        if (!options->what)
            return cl_args_wrong(common,
                                 "get what? Expected runs, run, actions, clusters or nodes");
        if (kinds[kind_of(options->what)].name && !options->name)
            return cl_args_wrong(common, "get %s needs the name of a run", options->what);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

enum cl_parse cl_get_parse(struct cl_get_options *options, const struct cl_args *defaults, int argc,
                           char **argv)
{
    static const char doc[] = "Shows runs (newest first), one run, the actions of a run, clusters, "
                              "or nodes.\v" CL_EXIT_CODES;
    const struct argp argp = {get_argp_options,
                              parse_get,
                              "runs|run RUN|actions RUN|clusters|nodes",
                              doc,
                              CL_ARGS_CHILDREN,
                              NULL,
                              NULL};
    *options = (struct cl_get_options){.common = *defaults, .limit = 100};
    return cl_args_parse(&argp, argc, argv, 0, &options->common, options);
}

enum cl_exit cl_cmd_get(const struct cl_args *defaults, int argc, char **argv)
{
    struct cl_get_options options;
    if (cl_get_parse(&options, defaults, argc, argv) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &options.common);
    struct cl_error error = {.exit = CL_OK};
    struct cl_client *client SY_CLEANUP(cl_client_freep) = NULL;
    if (cl_client_new(&client, &options.common.client, &error) == CL_OK)
        kinds[kind_of(options.what)].get(client, &options, &error);
    return cl_report(CL_PROGRAM, &error);
}
