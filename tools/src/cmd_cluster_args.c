/* switchyard cluster: its arguments. */
#include "base/mem.h"
#include "tools/src/cl_spec.h"
#include "tools/src/cmd_cluster.h"

#include <string.h>

#define PRICE_MICROS_MAX 1000000000
#define YEAR_NS (365 * 24 * 3600 * SY_NS_PER_S)

enum { KEY_REGION = 0x100, KEY_LABELS, KEY_PRICE, KEY_USES, KEY_EXPIRES, KEY_DEADLINE, KEY_WAIT };

static const struct {
    const char *name;
    bool of_token, named, numbered, makes_token;
    const char *expected;
} verbs[CL_CLUSTER_VERBS] = {
    [CL_CLUSTER_CREATE] = {"create", false, true, false, true, "expected NAME"},
    [CL_CLUSTER_LIST] = {"list", false, false, false, false, "takes no argument"},
    [CL_CLUSTER_GET] = {"get", false, true, false, false, "expected NAME"},
    [CL_CLUSTER_DELETE] = {"delete", false, true, false, false, "expected NAME"},
    [CL_CLUSTER_CORDON] = {"cordon", false, true, false, false, "expected NAME"},
    [CL_CLUSTER_UNCORDON] = {"uncordon", false, true, false, false, "expected NAME"},
    [CL_CLUSTER_DRAIN] = {"drain", false, true, false, false, "expected NAME"},
    [CL_CLUSTER_FENCE] = {"fence", false, true, false, false, "expected NAME"},
    [CL_CLUSTER_UNFENCE] = {"unfence", false, true, false, false, "expected NAME"},
    [CL_CLUSTER_TOKEN_CREATE] = {"create", true, true, false, true, "expected NAME"},
    [CL_CLUSTER_TOKEN_REVOKE] = {"revoke", true, true, true, false, "expected NAME TOKEN"},
};

static const struct argp_option cluster_argp_options[] = {
    {"region", KEY_REGION, "NAME", 0,
     "of create: where it is, for queues that name the regions of their work", 0},
    {"labels", KEY_LABELS, "K=V,...", 0, "of create: of all its nodes, for tasks to ask for", 0},
    {"price", KEY_PRICE, "PRICE", 0,
     "of create: of a core for an hour, such as 0.035, for queues that look for the cheapest "
     "cluster",
     0},
    {"uses", KEY_USES, "N", 0, "of a token: so many operators may join with it (1)", 0},
    {"expires", KEY_EXPIRES, "DURATION", 0, "of a token: so long from now (1h)", 0},
    {"deadline", KEY_DEADLINE, "DURATION", 0,
     "of drain: then what still runs is stopped and queued again elsewhere (10m); without, it may "
     "end by itself",
     0},
    {"wait", KEY_WAIT, NULL, 0, "of drain: until nothing is left there", 0},
    {0},
};

static error_t take_verb(struct cl_cluster_options *options, const char *arg)
{
    if (!options->of_token && strcmp(arg, "token") == 0) {
        options->of_token = true;
        return 0;
    }
    for (int i = 0; i < CL_CLUSTER_VERBS; i++) {
        if (verbs[i].of_token != options->of_token || strcmp(arg, verbs[i].name) != 0)
            continue;
        options->verb = (enum cl_cluster_verb)i;
        options->has_verb = true;
        return 0;
    }
    return cl_args_wrong(
        &options->common, "'%s': expected %s", arg,
        options->of_token ? "token create or token revoke"
                          : "create, list, get, delete, cordon, uncordon, drain, fence, unfence or "
                            "token");
}

static const char *words(const struct cl_cluster_options *options)
{
    static const char *const names[CL_CLUSTER_VERBS] = {
        [CL_CLUSTER_CREATE] = "create",
        [CL_CLUSTER_LIST] = "list",
        [CL_CLUSTER_GET] = "get",
        [CL_CLUSTER_DELETE] = "delete",
        [CL_CLUSTER_CORDON] = "cordon",
        [CL_CLUSTER_UNCORDON] = "uncordon",
        [CL_CLUSTER_DRAIN] = "drain",
        [CL_CLUSTER_FENCE] = "fence",
        [CL_CLUSTER_UNFENCE] = "unfence",
        [CL_CLUSTER_TOKEN_CREATE] = "token create",
        [CL_CLUSTER_TOKEN_REVOKE] = "token revoke",
    };
    return names[options->verb];
}

static error_t take_argument(struct cl_cluster_options *options, char *arg)
{
    struct cl_args *common = &options->common;
    if (!options->has_verb)
        return take_verb(options, arg);
    if (verbs[options->verb].named && !options->name) {
        options->name = arg;
        return cl_name_ok(common, "cluster", arg) ? 0 : EINVAL;
    }
    if (!verbs[options->verb].numbered || options->has_token)
        return cl_args_wrong(common, "unexpected argument '%s': cluster %s %s", arg, words(options),
                             verbs[options->verb].expected);
    options->has_token = true;
    return cl_args_place(common, "token", arg, 1, UINT32_MAX, &options->token) ? 0 : EINVAL;
}

static error_t check(struct cl_cluster_options *options)
{
    struct cl_args *common = &options->common;
    if (!options->has_verb && options->of_token)
        return cl_args_wrong(common, "cluster token: expected create or revoke, as in 'cluster "
                                     "token create NAME'");
    if (!options->has_verb)
        return cl_args_wrong(common,
                             "what of clusters? Expected create, list, get, delete, cordon, "
                             "uncordon, drain, fence, unfence, token create or token revoke");
    bool creates = options->verb == CL_CLUSTER_CREATE;
    if (!creates && (options->region || options->labels || options->price_micros > 0))
        return cl_args_wrong(common, "--region, --labels and --price are for cluster create");
    if (!verbs[options->verb].makes_token && (options->uses > 0 || options->expires_ns > 0))
        return cl_args_wrong(common,
                             "--uses and --expires are for cluster create and token create");
    if (options->verb != CL_CLUSTER_DRAIN && (options->deadline_ns > 0 || options->wait))
        return cl_args_wrong(common, "--deadline and --wait are for cluster drain");
    bool complete = (!verbs[options->verb].named || options->name) &&
                    (!verbs[options->verb].numbered || options->has_token);
    return complete ? 0
                    : cl_args_wrong(common, "cluster %s: %s", words(options),
                                    verbs[options->verb].expected);
}

/* The shards take no more. */
static error_t take_duration(struct cl_args *common, const char *option, const char *arg,
                             int64_t *ret_ns)
{
    if (!cl_args_duration(common, option, arg, ret_ns))
        return EINVAL;
    return *ret_ns <= YEAR_NS
               ? 0
               : cl_args_wrong(common, "--%s '%s': expected at most 8760h, a year", option, arg);
}

/* It was given in millionths once: such a number is refused, not taken for a million times it. */
static error_t take_price(struct cl_args *common, const char *arg, int64_t *ret_micros)
{
    if (cl_price_parse(arg, ret_micros) == 0 && *ret_micros > 0 && *ret_micros <= PRICE_MICROS_MAX)
        return 0;
    return cl_args_wrong(common,
                         "--price '%s': expected the price of a core for an hour, such as 0.035, "
                         "above 0 and at most 1000 (not millionths)",
                         arg);
}

static error_t parse_cluster(int key, char *arg, struct argp_state *state)
{
    struct cl_cluster_options *options = state->input;
    struct cl_args *common = &options->common;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    case KEY_REGION:
        options->region = arg;
        return cl_name_ok(common, "region", arg) ? 0 : EINVAL;
    case KEY_LABELS:
        options->labels = arg;
        return 0;
    case KEY_PRICE:
        return take_price(common, arg, &options->price_micros);
    case KEY_USES:
        return cl_args_number(common, "uses", arg, 1, 1000, &options->uses) ? 0 : EINVAL;
    case KEY_EXPIRES:
        return take_duration(common, "expires", arg, &options->expires_ns);
    case KEY_DEADLINE:
        return take_duration(common, "deadline", arg, &options->deadline_ns);
    case KEY_WAIT:
        options->wait = true;
        return 0;
    case ARGP_KEY_ARG:
        return take_argument(options, arg);
    case ARGP_KEY_END:
        return check(options);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

enum cl_parse cl_cluster_parse(struct cl_cluster_options *options, const struct cl_args *defaults,
                               int argc, char **argv)
{
    static const char doc[] =
        "Registers data planes, and shows them.\n\n"
        "  create NAME          registers it, and prints a token that its operator joins with\n"
        "  list                 all of them, and how they do\n"
        "  get NAME             one, with its tokens\n"
        "  delete NAME          it will not come back: what it runs is run elsewhere\n"
        "  cordon NAME          nothing new goes there; what it has goes on\n"
        "  drain NAME           nothing new goes there, what has not started goes elsewhere, what "
        "runs may end until the deadline\n"
        "  uncordon NAME        takes a cordon or a drain back\n"
        "  fence NAME           it is dead, whatever can be seen of it: what it has is queued "
        "again "
        "at once, and nothing is heard of it\n"
        "  unfence NAME         takes that back\n"
        "  token create NAME    one more token\n"
        "  token revoke NAME TOKEN  nobody joins with that one any more\n\n"
        "A token is printed once, and kept nowhere.\v" CL_EXIT_CODES;
    const struct argp argp = {
        cluster_argp_options,
        parse_cluster,
        "create|list|get|delete|cordon|uncordon|drain|fence|unfence|token create|token revoke ...",
        doc,
        CL_ARGS_CHILDREN,
        NULL,
        NULL};
    *options = (struct cl_cluster_options){.common = *defaults};
    return cl_args_parse(&argp, argc, argv, 0, &options->common, options);
}
