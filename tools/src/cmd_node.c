/* switchyard cordon, uncordon, drain: what may be placed on a node. */
#include "base/clock.h"
#include "tools/src/cl_json.h"
#include "tools/src/cmd.h"

#include <stdio.h>

enum { KEY_CLUSTER = 0x100, KEY_DEADLINE };

struct node_options {
    struct cl_args common;
    const char *node, *cluster;
    int64_t deadline_ns; /* 0 = none */
};

static const struct argp_option node_argp_options[] = {
    {"cluster", KEY_CLUSTER, "NAME", 0, "of the node, when several clusters have one of its name",
     0},
    {0},
};

static const struct argp_option drain_argp_options[] = {
    {"cluster", KEY_CLUSTER, "NAME", 0, "of the node, when several clusters have one of its name",
     0},
    {"deadline", KEY_DEADLINE, "DURATION", 0,
     "then what still runs is cancelled and queued again elsewhere (10m); without, it may end by "
     "itself",
     0},
    {0},
};

static error_t parse_node(int key, char *arg, struct argp_state *state)
{
    struct node_options *options = state->input;
    struct cl_args *common = &options->common;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    case KEY_CLUSTER:
        options->cluster = arg;
        return 0;
    case KEY_DEADLINE:
        return cl_args_duration(common, "deadline", arg, &options->deadline_ns) ? 0 : EINVAL;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            return cl_args_wrong(common, "unexpected argument '%s': expected NODE", arg);
        options->node = arg;
        return 0;
    case ARGP_KEY_END:
        return options->node ? 0 : cl_args_wrong(common, "which node? Expected NODE");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_result(const struct node_options *options, const char *state)
{
    if (options->common.json) {
        json_t *document = json_object();
        cl_json_str(document, "node", options->node);
        cl_json_str(document, "state", state);
        cl_json_document(document, stdout);
    } else {
        printf("node %s is %s\n", options->node, state);
    }
}

static enum cl_exit order(struct node_options *options, const struct cl_method *method,
                          const char *state)
{
    struct cl_error error = {.exit = CL_OK};
    struct cl_client *client SY_CLEANUP(cl_client_freep) = NULL;
    if (cl_client_new(&client, &options->common.client, &error) != CL_OK)
        return cl_report(CL_PROGRAM, &error);
    Switchyard__V1__OrderNodeRequest request = SWITCHYARD__V1__ORDER_NODE_REQUEST__INIT;
    request.node = cl_unconst(options->node);
    if (options->cluster)
        request.cluster = cl_unconst(options->cluster);
    request.deadline_ns = options->deadline_ns;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    if (cl_call(client, method, &request.base, &arena, &error))
        print_result(options, state);
    sy_arena_deinit(&arena);
    return cl_report(CL_PROGRAM, &error);
}

static enum cl_exit node_command(const struct cl_args *defaults, int argc, char **argv,
                                 const struct argp_option *list, const char *doc,
                                 const struct cl_method *method, const char *state)
{
    const struct argp argp = {list, parse_node, "NODE", doc, CL_ARGS_CHILDREN, NULL, NULL};
    struct node_options options = {.common = *defaults};
    if (cl_args_parse(&argp, argc, argv, 0, &options.common, &options) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &options.common);
    return order(&options, method, state);
}

enum cl_exit cl_cmd_cordon(const struct cl_args *defaults, int argc, char **argv)
{
    return node_command(defaults, argc, argv, node_argp_options,
                        "Places nothing more on a node; what it has goes on.\v" CL_EXIT_CODES,
                        &cl_cordon_node, "cordoned");
}

enum cl_exit cl_cmd_uncordon(const struct cl_args *defaults, int argc, char **argv)
{
    return node_command(defaults, argc, argv, node_argp_options,
                        "Takes back a cordon or a drain.\v" CL_EXIT_CODES, &cl_uncordon_node,
                        "open");
}

enum cl_exit cl_cmd_drain(const struct cl_args *defaults, int argc, char **argv)
{
    return node_command(defaults, argc, argv, drain_argp_options,
                        "Empties a node: nothing more is placed there, what has not started goes "
                        "elsewhere, what runs may end. `get nodes` shows the progress, and "
                        "'drained' at the end.\v" CL_EXIT_CODES,
                        &cl_drain_node, "draining");
}
