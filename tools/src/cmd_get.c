/* switchyard get: parses what is asked for; cmd_get_runs.c, cmd_status.c and cmd_get_queues.c show
 * it. */
#include "tools/src/cl_text.h"
#include "tools/src/cmd.h"

#include "base/mem.h"

#include <string.h>

#define KINDS "runs, run, actions, queues, queue, clusters or nodes"

enum { KEY_LIMIT = 'n', KEY_PHASE = 0x200, KEY_CLUSTER, KEY_ALL };

static const struct {
    const char *what;
    const char *name; /* of what the name must follow; NULL: nothing may */
    enum cl_exit (*get)(struct cl_client *, const struct cl_get_options *, struct cl_error *);
} kinds[] = {
    {"runs", NULL, cl_get_runs},        {"run", "run", cl_get_run},
    {"actions", "run", cl_get_actions}, {"queues", NULL, cl_get_queues},
    {"queue", "queue", cl_get_queue},   {"clusters", NULL, cl_get_clusters},
    {"nodes", NULL, cl_get_nodes},
};

static const struct argp_option get_argp_options[] = {
    {"limit", KEY_LIMIT, "N", 0, "rows at most; 0 = all (100)", 0},
    {"phase", KEY_PHASE, "PHASE", 0, "runs and actions: only those in this phase", 0},
    {"cluster", KEY_CLUSTER, "NAME", 0, "nodes: only of this cluster", 0},
    {"all", KEY_ALL, NULL, 0, "queues: of all projects", 0},
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
            return cl_args_wrong(common, "'%s': expected " KINDS, arg);
        return 0;
    }
    if (index > 1 || !kinds[kind_of(options->what)].name)
        return cl_args_wrong(common, "unexpected argument '%s' after '%s'", arg, options->what);
    options->name = options->queue.name = arg;
    return cl_name_ok(common, kinds[kind_of(options->what)].name, arg) ? 0 : EINVAL;
}

static bool is_queue(const struct cl_get_options *options)
{
    return kinds[kind_of(options->what)].get == cl_get_queue;
}

static error_t check_all(struct cl_get_options *options)
{
    struct cl_args *common = &options->common;
    if (!options->what)
        return cl_args_wrong(common, "get what? Expected " KINDS);
    if (is_queue(options))
        return cl_queue_target_check(&options->queue, "get");
    if (options->queue.given)
        return cl_args_wrong(common, "--scope and --level are for 'get queue' only");
    const char *named = kinds[kind_of(options->what)].name;
    if (named && !options->name)
        return cl_args_wrong(common, "get %s needs the name of a %s", options->what, named);
    return 0;
}

static error_t parse_get(int key, char *arg, struct argp_state *state)
{
    struct cl_get_options *options = state->input;
    struct cl_args *common = &options->common;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->queue;
        state->child_inputs[1] = common;
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
    case KEY_ALL:
        options->all = true;
        return 0;
    case ARGP_KEY_ARG:
        return take_argument(options, state->arg_num, arg);
    case ARGP_KEY_END:
        return check_all(options);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

enum cl_parse cl_get_parse(struct cl_get_options *options, const struct cl_args *defaults, int argc,
                           char **argv)
{
    static const char doc[] = "Shows runs (newest first), one run, the actions of a run, queues, "
                              "one queue, clusters, or nodes.\v" CL_EXIT_CODES;
    const struct argp_child children[] = {{&cl_queue_target_argp, 0, "Which queue:", 98},
                                          {&cl_args_argp, 0, "Common options:", 99},
                                          {0}};
    const struct argp argp = {
        .options = get_argp_options,
        .parser = parse_get,
        .args_doc = "runs|run RUN|actions RUN|queues|queue NAME|clusters|nodes",
        .doc = doc,
        .children = children};
    *options = (struct cl_get_options){.common = *defaults, .limit = 100};
    options->queue.common = &options->common;
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
