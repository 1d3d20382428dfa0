/* switchyard cordon, uncordon, drain, node: what may be placed on a node. */
#include "base/clock.h"
#include "base/mem.h"
#include "tools/src/cl_json.h"
#include "tools/src/cmd.h"

#include <stdio.h>
#include <string.h>

enum { KEY_CLUSTER = 0x100, KEY_DEADLINE };

struct node_verb {
    const char *name;
    const struct cl_method *method;
    const char *state; /* of the node afterwards */
    bool deadline;     /* it may have one */
};

enum { CORDON, UNCORDON, DRAIN };
static const struct node_verb verbs[] = {
    [CORDON] = {"cordon", &cl_cordon_node, "cordoned", false},
    [UNCORDON] = {"uncordon", &cl_uncordon_node, "open", false},
    [DRAIN] = {"drain", &cl_drain_node, "draining", true},
    {"fence", &cl_fence_node, "fenced", false},
    {"unfence", &cl_unfence_node, "open", false},
};

struct node_options {
    struct cl_args common;
    const struct node_verb *verb; /* NULL: it is the first argument */
    const char *node, *cluster;
    int64_t deadline_ns; /* 0 = none */
};

#define CLUSTER_OPTION                                                                             \
    {                                                                                              \
        "cluster", KEY_CLUSTER, "NAME", 0,                                                         \
            "of the node, when several clusters have one of its name", 0                           \
    }

static const struct argp_option node_argp_options[] = {
    CLUSTER_OPTION,
    {0},
};

static const struct argp_option drain_argp_options[] = {
    CLUSTER_OPTION,
    {"deadline", KEY_DEADLINE, "DURATION", 0,
     "of drain: then what still runs is cancelled and queued again elsewhere (10m); without, "
     "it may end by itself",
     0},
    {0},
};

static error_t take_verb(struct node_options *options, const char *arg)
{
    for (size_t i = 0; i < SY_COUNT_OF(verbs); i++) {
        if (strcmp(arg, verbs[i].name) == 0) {
            options->verb = &verbs[i];
            return 0;
        }
    }
    return cl_args_wrong(&options->common,
                         "node '%s': expected cordon, uncordon, drain, fence or unfence", arg);
}

static error_t take_argument(struct node_options *options, char *arg)
{
    if (!options->verb)
        return take_verb(options, arg);
    if (options->node)
        return cl_args_wrong(&options->common, "unexpected argument '%s': expected NODE", arg);
    options->node = arg;
    return 0;
}

static error_t check(struct node_options *options)
{
    struct cl_args *common = &options->common;
    if (!options->verb)
        return cl_args_wrong(common, "what of the node? Expected cordon, uncordon, drain, fence or "
                                     "unfence");
    if (!options->node)
        return cl_args_wrong(common, "which node? Expected NODE");
    if (options->deadline_ns > 0 && !options->verb->deadline)
        return cl_args_wrong(common, "--deadline is for drain");
    return 0;
}

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
        return take_argument(options, arg);
    case ARGP_KEY_END:
        return check(options);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_result(const struct node_options *options)
{
    const char *state = options->verb->state;
    if (options->common.json) {
        json_t *document = json_object();
        cl_json_str(document, "node", options->node);
        cl_json_str(document, "state", state);
        cl_json_document(document, stdout);
    } else {
        printf("node %s is %s\n", options->node, state);
    }
}

static enum cl_exit order(struct node_options *options)
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
    if (cl_call(client, options->verb->method, &request.base, &arena, &error))
        print_result(options);
    sy_arena_deinit(&arena);
    return cl_report(CL_PROGRAM, &error);
}

/* `verb` NULL: the command names it. */
static enum cl_exit node_command(const struct cl_args *defaults, int argc, char **argv,
                                 const struct node_verb *verb, const char *doc)
{
    bool deadline = !verb || verb->deadline;
    const char *args = verb ? "NODE" : "cordon|uncordon|drain|fence|unfence NODE";
    const struct argp argp = {deadline ? drain_argp_options : node_argp_options,
                              parse_node,
                              args,
                              doc,
                              CL_ARGS_CHILDREN,
                              NULL,
                              NULL};
    struct node_options options = {.common = *defaults, .verb = verb};
    if (cl_args_parse(&argp, argc, argv, 0, &options.common, &options) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &options.common);
    return order(&options);
}

enum cl_exit cl_cmd_cordon(const struct cl_args *defaults, int argc, char **argv)
{
    return node_command(defaults, argc, argv, &verbs[CORDON],
                        "Places nothing more on a node; what it has goes on.\v" CL_EXIT_CODES);
}

enum cl_exit cl_cmd_uncordon(const struct cl_args *defaults, int argc, char **argv)
{
    return node_command(defaults, argc, argv, &verbs[UNCORDON],
                        "Takes back a cordon or a drain.\v" CL_EXIT_CODES);
}

enum cl_exit cl_cmd_drain(const struct cl_args *defaults, int argc, char **argv)
{
    return node_command(defaults, argc, argv, &verbs[DRAIN],
                        "Empties a node: nothing more is placed there, what has not started goes "
                        "elsewhere, what runs may end. `get nodes` shows the progress, and "
                        "'drained' at the end.\v" CL_EXIT_CODES);
}

enum cl_exit cl_cmd_node(const struct cl_args *defaults, int argc, char **argv)
{
    return node_command(
        defaults, argc, argv, NULL,
        "Says what may be placed on a node.\n\n"
        "  cordon NODE    nothing more is placed there; what it has goes on\n"
        "  drain NODE     and what has not started goes elsewhere, what runs may end\n"
        "  uncordon NODE  takes back a cordon or a drain\n"
        "  fence NODE     it is dead, whatever can be seen of it: what it has is queued again at "
        "once,\n                 and what it says of that later is refused\n"
        "  unfence NODE   takes back a fence\n\n"
        "All of it outlives restarts.\v" CL_EXIT_CODES);
}
