/* switchyard create|update|pause|resume|delete queue: their arguments, and those that say which. */
#include "base/mem.h"
#include "tools/src/cl_spec.h"
#include "tools/src/cmd_queue.h"

#include <stdio.h>
#include <string.h>

enum {
    KEY_PARENT = 0x100,
    KEY_WEIGHT,
    KEY_PRIORITY,
    KEY_ACTIONS_MAX,
    KEY_CPU_MAX,
    KEY_MEMORY_MAX,
    KEY_GPUS_MAX,
    KEY_LENGTH_MAX,
    KEY_QUEUED_TIMEOUT,
    KEY_CLUSTER,
    KEY_POLICY,
    KEY_PREFER_CLUSTER,
    KEY_REGION,
    KEY_PRICE_MAX,
    KEY_INFEASIBLE,
    KEY_PREEMPTIBLE,
    KEY_NO_PREEMPTIBLE,
    KEY_SPOT,
    KEY_NO_SPOT,
    KEY_SCOPE,
    KEY_LEVEL,
};

/* ---- which queue: also of `get queue` ---- */

static const struct argp_option target_options[] = {
    {"scope", KEY_SCOPE, "SCOPE", 0,
     "whose it is: of the domain (default), the whole project, or the region", 0},
    {"level", KEY_LEVEL, NULL, 0,
     "instead of NAME: all queues of the domain or project together, and their limits", 0},
    {0},
};

static error_t parse_target(int key, char *arg, struct argp_state *state)
{
    struct cl_queue_target *target = state->input;
    struct cl_args *common = target->common;
    switch (key) {
    case KEY_SCOPE:
        target->given = true;
        if (strcmp(arg, "domain") == 0)
            target->scope = CL_SCOPE_DOMAIN;
        else if (strcmp(arg, "project") == 0)
            target->scope = CL_SCOPE_PROJECT;
        else if (strcmp(arg, "region") == 0)
            target->scope = CL_SCOPE_REGION;
        else
            return cl_args_wrong(common, "--scope '%s': expected domain, project or region", arg);
        return 0;
    case KEY_LEVEL:
        target->level = target->given = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cl_queue_target_argp = {target_options, parse_target, NULL, NULL,
                                          NULL,           NULL,         NULL};

error_t cl_queue_target_check(const struct cl_queue_target *target, const char *verb)
{
    struct cl_args *common = target->common;
    if (target->level && target->name)
        return cl_args_wrong(common, "--level and a name ('%s') exclude each other", target->name);
    if (target->level && target->scope == CL_SCOPE_REGION)
        return cl_args_wrong(common, "--level is of a domain or a project, not of the region");
    if (!target->level && !target->name)
        return cl_args_wrong(common, "%s queue needs the name of a queue, or --level", verb);
    return 0;
}

/* ---- settings ---- */

static const struct argp_option settings_options[] = {
    {"parent", KEY_PARENT, "QUEUE", 0, "is below that one, and shares what it gets ('' = none)", 1},
    {"weight", KEY_WEIGHT, "N", 0, "its part among its siblings, 1 to 10000 (100)", 1},
    {"priority", KEY_PRIORITY, "N", 0, "added to that of its tasks, -1000 to 1000 (0)", 1},
    {"actions-max", KEY_ACTIONS_MAX, "N", 0, "tasks of it at a time (0 = no limit)", 2},
    {"cpu-max", KEY_CPU_MAX, "QUANTITY", 0,
     "what its tasks take at a time, such as 64 (0 = no limit)", 2},
    {"memory-max", KEY_MEMORY_MAX, "QUANTITY", 0,
     "what they take at a time, such as 64Gi (0 = no limit)", 2},
    {"gpus-max", KEY_GPUS_MAX, "N", 0, "what they take at a time (0 = no limit)", 2},
    {"length-max", KEY_LENGTH_MAX, "N", 0,
     "tasks that wait; more are told to come again (0 = no limit)", 2},
    {"queued-timeout", KEY_QUEUED_TIMEOUT, "DURATION", 0,
     "a task that waits longer ends TIMED_OUT (0 = never)", 2},
    {"cluster", KEY_CLUSTER, "NAME", 0,
     "its tasks run there only; may be given 16 times ('' = everywhere)", 3},
    {"prefer-cluster", KEY_PREFER_CLUSTER, "NAME", 0,
     "they go there while there is room; may be given 4 times ('' = as above it)", 3},
    {"region", KEY_REGION, "NAME", 0,
     "they run in clusters of that region only; may be given 4 times ('' = as above it)", 3},
    {"policy", KEY_POLICY, "NAME", 0,
     "which of the clusters with room: spread (default), pack, cheapest, fastest-start or locality",
     3},
    {"price-max", KEY_PRICE_MAX, "PRICE", 0, "of a core for an hour, such as 0.035 (0 = any)", 3},
    {"preemptible", KEY_PREEMPTIBLE, NULL, 0, "its tasks may be stopped, and run again later", 3},
    {"no-preemptible", KEY_NO_PREEMPTIBLE, NULL, 0, "not so (default)", 3},
    {"infeasible", KEY_INFEASIBLE, "hold|fail", 0,
     "a task that waits when no cluster is left that could run it ('' = as above it: hold)", 3},
    {"spot", KEY_SPOT, NULL, 0, "its tasks may run on nodes that can be taken away", 3},
    {"no-spot", KEY_NO_SPOT, NULL, 0, "not so (default)", 3},
    {0},
};

static const char *const policies[] = {NULL,       "spread",        "pack",
                                       "cheapest", "fastest-start", "locality"};

const char *cl_policy_name(Switchyard__V1__PlacementPolicy policy)
{
    size_t i = (size_t)policy;
    return i > 0 && i < SY_COUNT_OF(policies) ? policies[i] : policies[1];
}

bool cl_policy_parse(const char *name, Switchyard__V1__PlacementPolicy *ret)
{
    for (size_t i = 1; i < SY_COUNT_OF(policies); i++) {
        if (strcmp(name, policies[i]) == 0) {
            *ret = (Switchyard__V1__PlacementPolicy)i;
            return true;
        }
    }
    return false;
}

static const char *const infeasibles[] = {"", "hold", "fail"};

const char *cl_infeasible_name(Switchyard__V1__InfeasiblePolicy policy)
{
    size_t i = (size_t)policy;
    return i < SY_COUNT_OF(infeasibles) ? infeasibles[i] : "";
}

static bool infeasible_parse(const char *name, Switchyard__V1__InfeasiblePolicy *ret)
{
    for (size_t i = 0; i < SY_COUNT_OF(infeasibles); i++) {
        if (strcmp(name, infeasibles[i]) == 0) {
            *ret = (Switchyard__V1__InfeasiblePolicy)i;
            return true;
        }
    }
    return false;
}

static error_t given(struct cl_queue_options *options, const char *field)
{
    for (size_t i = 0; i < options->field_count; i++) {
        if (strcmp(options->fields[i], field) == 0)
            return 0;
    }
    SY_ASSERT(options->field_count < CL_QUEUE_FIELDS_MAX);
    options->fields[options->field_count++] = cl_unconst(field);
    return 0;
}

struct names {
    const char *flag, *field;
    char ***names;
    size_t *count;
    char **storage;
    size_t max;
};

/* One more of a list; '' is none. */
static error_t take_name(struct cl_queue_options *options, const struct names *list, char *arg)
{
    struct cl_args *common = &options->common;
    *list->names = list->storage;
    if (*arg && !cl_name_ok(common, list->flag, arg))
        return EINVAL;
    if (*list->count == list->max)
        return cl_args_wrong(common, "%s: at most %zu may be named", list->flag, list->max);
    if (*arg)
        list->storage[(*list->count)++] = arg;
    return given(options, list->field);
}

/* Those that are lists of names. */
static error_t parse_names(struct cl_queue_options *options, int key, char *arg)
{
    Switchyard__V1__QueueSettings *s = &options->settings;
    const struct names clusters = {"--cluster",    "clusters",        &s->clusters,
                                   &s->n_clusters, options->clusters, CL_QUEUE_CLUSTERS_MAX};
    const struct names preferred = {"--prefer-cluster",     "preferred_clusters",
                                    &s->preferred_clusters, &s->n_preferred_clusters,
                                    options->preferred,     CL_QUEUE_PREFERRED_MAX};
    const struct names regions = {"--region",    "regions",        &s->regions,
                                  &s->n_regions, options->regions, CL_QUEUE_REGIONS_MAX};
    return take_name(options,
                     key == KEY_CLUSTER          ? &clusters
                     : key == KEY_PREFER_CLUSTER ? &preferred
                                                 : &regions,
                     arg);
}

static error_t take_duration(struct cl_queue_options *options, const char *arg)
{
    int64_t *ret_ns = &options->settings.queued_timeout_ns;
    *ret_ns = 0;
    if (strcmp(arg, "0") != 0 && !cl_args_duration(&options->common, "queued-timeout", arg, ret_ns))
        return EINVAL;
    return given(options, "queued_timeout_ns");
}

/* Those that are whole numbers. */
static error_t parse_number(struct cl_queue_options *options, int key, const char *arg)
{
    static const struct {
        int key;
        const char *option, *field;
        int64_t min, max;
    } numbers[] = {
        {KEY_WEIGHT, "weight", "weight", 1, 10000},
        {KEY_PRIORITY, "priority", "priority", -1000, 1000},
        {KEY_ACTIONS_MAX, "actions-max", "actions_max", 0, INT64_MAX},
        {KEY_GPUS_MAX, "gpus-max", "gpus_max", 0, UINT32_MAX},
        {KEY_LENGTH_MAX, "length-max", "length_max", 0, INT64_MAX},
    };
    Switchyard__V1__QueueSettings *s = &options->settings;
    int64_t number;
    size_t i = 0;
    while (i < SY_COUNT_OF(numbers) && numbers[i].key != key)
        i++;
    if (i == SY_COUNT_OF(numbers))
        return ARGP_ERR_UNKNOWN;
    if (!cl_args_number(&options->common, numbers[i].option, arg, numbers[i].min, numbers[i].max,
                        &number))
        return EINVAL;
    if (key == KEY_WEIGHT)
        s->weight = (uint32_t)number;
    else if (key == KEY_PRIORITY)
        s->priority = (int32_t)number;
    else if (key == KEY_ACTIONS_MAX)
        s->actions_max = (uint64_t)number;
    else if (key == KEY_GPUS_MAX)
        s->gpus_max = (uint32_t)number;
    else
        s->length_max = (uint64_t)number;
    return given(options, numbers[i].field);
}

static error_t parse_setting(struct cl_queue_options *options, int key, char *arg)
{
    struct cl_args *common = &options->common;
    Switchyard__V1__QueueSettings *s = &options->settings;
    switch (key) {
    case KEY_PARENT:
        s->parent = arg;
        return !*arg || cl_name_ok(common, "--parent", arg) ? given(options, "parent") : EINVAL;
    case KEY_CPU_MAX:
        return cl_args_quantity(common, "cpu-max", arg, true, &s->cpu_milli_max)
                   ? given(options, "cpu_milli_max")
                   : EINVAL;
    case KEY_MEMORY_MAX:
        return cl_args_quantity(common, "memory-max", arg, false, &s->memory_bytes_max)
                   ? given(options, "memory_bytes_max")
                   : EINVAL;
    case KEY_QUEUED_TIMEOUT:
        return take_duration(options, arg);
    case KEY_CLUSTER:
    case KEY_PREFER_CLUSTER:
    case KEY_REGION:
        return parse_names(options, key, arg);
    case KEY_POLICY:
        if (!cl_policy_parse(arg, &s->policy))
            return cl_args_wrong(
                common, "--policy '%s': expected spread, pack, cheapest, fastest-start or locality",
                arg);
        return given(options, "policy");
    case KEY_INFEASIBLE:
        if (!infeasible_parse(arg, &s->infeasible))
            return cl_args_wrong(common, "--infeasible '%s': expected hold or fail", arg);
        return given(options, "infeasible");
    case KEY_PRICE_MAX:
        if (cl_price_parse(arg, &s->price_max) < 0)
            return cl_args_wrong(common, "--price-max '%s': expected a price such as 0.035", arg);
        return given(options, "price_max");
    case KEY_PREEMPTIBLE:
    case KEY_NO_PREEMPTIBLE:
        s->preemptible = key == KEY_PREEMPTIBLE;
        return given(options, "preemptible");
    case KEY_SPOT:
    case KEY_NO_SPOT:
        s->preemptible_nodes = key == KEY_SPOT;
        return given(options, "preemptible_nodes");
    default:
        return parse_number(options, key, arg);
    }
}

/* ---- a command ---- */

static const char *const verbs[CL_QUEUE_VERBS] = {"create", "update", "pause", "resume", "delete"};

const char *cl_queue_verb_name(enum cl_queue_verb verb)
{
    return verbs[verb];
}

struct parsing {
    struct cl_queue_options *options;
    enum cl_queue_verb verb;
    bool kind_given; /* "queue" */
};

static error_t take_argument(struct parsing *parsing, char *arg)
{
    struct cl_queue_options *options = parsing->options;
    struct cl_args *common = &options->common;
    if (!parsing->kind_given) {
        parsing->kind_given = strcmp(arg, "queue") == 0;
        return parsing->kind_given
                   ? 0
                   : cl_args_wrong(common, "'%s': expected queue, as in '%s queue NAME'", arg,
                                   verbs[parsing->verb]);
    }
    if (options->target.name)
        return cl_args_wrong(common, "unexpected argument '%s' after '%s'", arg,
                             options->target.name);
    options->target.name = arg;
    return cl_name_ok(common, "queue", arg) ? 0 : EINVAL;
}

static error_t check_all(const struct parsing *parsing)
{
    struct cl_queue_options *options = parsing->options;
    const char *verb = verbs[parsing->verb];
    if (!parsing->kind_given)
        return cl_args_wrong(&options->common, "%s what? Expected '%s queue NAME'", verb, verb);
    if (parsing->verb == CL_QUEUE_UPDATE && options->field_count == 0)
        return cl_args_wrong(&options->common, "update what of it? Give a setting, such as "
                                               "--weight 200");
    return cl_queue_target_check(&options->target, verb);
}

static error_t parse_queue(int key, char *arg, struct argp_state *state)
{
    struct parsing *parsing = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &parsing->options->target;
        state->child_inputs[1] = &parsing->options->common;
        return 0;
    case ARGP_KEY_ARG:
        return take_argument(parsing, arg);
    case ARGP_KEY_END:
        return check_all(parsing);
    default:
        return parse_setting(parsing->options, key, arg);
    }
}

enum cl_parse cl_queue_parse(struct cl_queue_options *options, enum cl_queue_verb verb,
                             const struct cl_args *defaults, int argc, char **argv)
{
    static const char *const docs[CL_QUEUE_VERBS] = {
        "Creates a queue: where tasks wait, and what they may take.\v" CL_EXIT_CODES,
        "Changes the settings of a queue that are given; at once, for what waits "
        "too.\v" CL_EXIT_CODES,
        "Nothing of the queue, or of those below it, starts; what runs goes on.\v" CL_EXIT_CODES,
        "Lets the tasks of a paused queue start again.\v" CL_EXIT_CODES,
        "Deletes a queue that has no tasks left, and none below it.\v" CL_EXIT_CODES,
    };
    const struct argp_child children[] = {{&cl_queue_target_argp, 0, "Which queue:", 98},
                                          {&cl_args_argp, 0, "Common options:", 99},
                                          {0}};
    bool has_settings = verb == CL_QUEUE_CREATE || verb == CL_QUEUE_UPDATE;
    const struct argp argp = {.options = has_settings ? settings_options : NULL,
                              .parser = parse_queue,
                              .args_doc = "queue NAME",
                              .doc = docs[verb],
                              .children = children};
    *options = (struct cl_queue_options){.common = *defaults};
    options->target.common = &options->common;
    switchyard__v1__queue_settings__init(&options->settings);
    struct parsing parsing = {options, verb, false};
    return cl_args_parse(&argp, argc, argv, 0, &options->common, &parsing);
}
