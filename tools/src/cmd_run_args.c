/* switchyard run: its arguments. */
#include "base/mem.h"
#include "tools/src/cl_spec.h"
#include "tools/src/cmd.h"

#include <stdlib.h>
#include <string.h>

enum {
    KEY_CPU = 0x100,
    KEY_MEMORY,
    KEY_GPU,
    KEY_LABELS,
    KEY_TOLERATIONS,
    KEY_ENVIRONMENT,
    KEY_RETRIES,
    KEY_TIMEOUT,
    KEY_ON_PARTITION,
    KEY_PRIORITY,
    KEY_NAME,
    KEY_QUEUE,
    KEY_DETACH,
    KEY_WAIT,
    KEY_EACH,
    KEY_LINES,
    KEY_INPUT,
    KEY_INPUT_FILE,
    KEY_LOGS,
    KEY_DRY_RUN,
    KEY_GANG,
    KEY_GANG_TOPOLOGY,
    KEY_GANG_ON_LOSS,
    KEY_ENV,
};

static const struct argp_option run_argp_options[] = {
    {NULL, 0, NULL, 0, "What to run:", 1},
    {"function", 'f', "LIBRARY:FUNCTION", 0, "a C function of a shared object, on a warm worker",
     1},
    {"input", KEY_INPUT, "TEXT", 0, "the function's input", 1},
    {"input-file", KEY_INPUT_FILE, "FILE", 0, "the function's input, from a file", 1},
    {"each", KEY_EACH, "ARG...", 0,
     "one task for each ARG (up to the next option or '--'): a function's input, or '{}' in the "
     "command (without '{}' it is appended)",
     1},
    {"lines", KEY_LINES, "FILE|-", 0, "one task for each line that is not empty", 1},
    {NULL, 0, NULL, 0, "What each task needs:", 2},
    {"cpu", KEY_CPU, "QUANTITY", 0, "such as 500m or 2 (" CL_SPEC_CPU ")", 2},
    {"memory", KEY_MEMORY, "QUANTITY", 0, "such as 64Mi or 2Gi (" CL_SPEC_MEMORY ")", 2},
    {"gpu", KEY_GPU, "N[:MODEL]", 0, "GPUs, of one model; 0.25: a part of one", 2},
    {"labels", KEY_LABELS, "KEY=VALUE,...", 0, "nodes that have all of these", 2},
    {"tolerations", KEY_TOLERATIONS, "KEY[=VALUE],...", 0,
     "taints of nodes that it may run in spite of ('all')", 2},
    {"environment", KEY_ENVIRONMENT, "NAME", 0,
     "pool of warm workers, for --function (SWITCHYARD_ENVIRONMENT, " CL_ENVIRONMENT_DEFAULT ")",
     2},
    {"env", KEY_ENV, "KEY=VALUE", 0, "a variable of its environment; may be repeated", 2},
    {"gang", KEY_GANG, "N", 0,
     "N of it at the same moment in one cluster, all or none; see SWITCHYARD_GANG_RANK and others",
     2},
    {"gang-topology", KEY_GANG_TOPOLOGY, "prefer:LABEL|require:LABEL", 0,
     "all on nodes with the same value of this label, such as rack", 2},
    {"gang-on-loss", KEY_GANG_ON_LOSS, "restart|fail", 0,
     "when one is lost or fails: run all again, or end all (restart)", 2},
    {NULL, 0, NULL, 0, "How:", 3},
    {"retries", KEY_RETRIES, "N", 0, "more attempts after the task's own failure (0)", 3},
    {"timeout", KEY_TIMEOUT, "DURATION", 0, "of one attempt (none)", 3},
    {"on-partition", KEY_ON_PARTITION, "POLICY", 0,
     "when what runs a task cannot be heard for longer than its lease: replace (begin it "
     "elsewhere, "
     "the default), wait (for that), or stop-on-agent (its agent stops it before it is begun "
     "elsewhere)",
     3},
    {"priority", KEY_PRIORITY, "N", 0, "higher first (0)", 3},
    {"queue", KEY_QUEUE, "NAME", 0, "where its tasks wait (default)", 3},
    {"name", KEY_NAME, "NAME", 0, "of the run; default: the region makes one", 3},
    {"detach", KEY_DETACH, NULL, 0, "do not wait: print the run's name", 3},
    {"wait", KEY_WAIT, NULL, 0, "wait for the end and exit as the run did (default)", 3},
    {"logs", KEY_LOGS, NULL, 0, "print the task's log when it has ended (one task only)", 3},
    {"dry-run", KEY_DRY_RUN, NULL, 0,
     "run nothing: say where it would go and when, or what it would wait for", 3},
    {0},
};

/* ---- lists that grow ---- */

static void append(char ***list, size_t *count, char *item)
{
    *list = sy_realloc(*list, (*count + 1) * sizeof(char *));
    (*list)[(*count)++] = item;
}

static const char *quantity(struct cl_args *common, const char *option, char *text, bool milli)
{
    uint64_t unused;
    return cl_args_quantity(common, option, text, milli, &unused) ? text : NULL;
}

static error_t parse_need(struct cl_run_options *options, int key, char *arg)
{
    struct cl_args *common = &options->common;
    switch (key) {
    case KEY_CPU:
        options->cpu = quantity(common, "cpu", arg, true);
        return options->cpu ? 0 : EINVAL;
    case KEY_MEMORY:
        options->memory = quantity(common, "memory", arg, false);
        return options->memory ? 0 : EINVAL;
    case KEY_GPU:
        if (cl_gpu_parse(arg, &options->gpu_milli, &options->gpu_model) < 0)
            return cl_args_wrong(
                common, "--gpu '%s': expected N or N:MODEL, such as 1:H100, or a part of one", arg);
        return 0;
    case KEY_LABELS:
        options->node_labels = arg;
        return 0;
    case KEY_TOLERATIONS:
        options->tolerations = arg;
        return 0;
    case KEY_ENV:
        if (cl_variable_check(arg) < 0)
            return cl_args_wrong(common, "--env '%s': expected KEY=VALUE, such as DEBUG=1", arg);
        append(&options->variables, &options->variable_count, arg);
        return 0;
    case KEY_ENVIRONMENT:
        options->environment = arg;
        return *arg ? 0 : cl_args_wrong(common, "--environment is empty");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_topology(struct cl_run_options *options, const char *arg)
{
    static const char *const words[] = {"prefer:", "require:"};
    for (int i = 0; i < 2; i++) {
        size_t len = strlen(words[i]);
        if (strncmp(arg, words[i], len) == 0 && arg[len]) {
            options->gang_topology = SWITCHYARD__V1__GANG__TOPOLOGY__TOPOLOGY_PREFER + i;
            options->gang_key = arg + len;
            return 0;
        }
    }
    return cl_args_wrong(&options->common,
                         "--gang-topology '%s': expected prefer:LABEL or require:LABEL", arg);
}

static error_t parse_gang(struct cl_run_options *options, int key, char *arg)
{
    struct cl_args *common = &options->common;
    int64_t number = 0;
    switch (key) {
    case KEY_GANG:
        if (!cl_args_number(common, "gang", arg, 2, 1024, &number))
            return EINVAL;
        options->gang = (uint32_t)number;
        return 0;
    case KEY_GANG_TOPOLOGY:
        return parse_topology(options, arg);
    case KEY_GANG_ON_LOSS:
        if (strcmp(arg, "restart") != 0 && strcmp(arg, "fail") != 0)
            return cl_args_wrong(common, "--gang-on-loss '%s': expected restart or fail", arg);
        options->gang_on_loss = strcmp(arg, "fail") == 0
                                    ? SWITCHYARD__V1__GANG__ON_LOSS__ON_LOSS_FAIL_ALL
                                    : SWITCHYARD__V1__GANG__ON_LOSS__ON_LOSS_RESTART_ALL;
        options->has_on_loss = true;
        return 0;
    default:
        return parse_need(options, key, arg);
    }
}

static error_t parse_how(struct cl_run_options *options, int key, char *arg)
{
    struct cl_args *common = &options->common;
    int64_t number = 0;
    switch (key) {
    case KEY_RETRIES:
        if (!cl_args_number(common, "retries", arg, 0, 1000, &number))
            return EINVAL;
        options->retries = (uint32_t)number;
        return 0;
    case KEY_TIMEOUT:
        return cl_args_duration(common, "timeout", arg, &options->timeout_ns) ? 0 : EINVAL;
    case KEY_ON_PARTITION:
        if (strcmp(arg, "replace") != 0 && strcmp(arg, "wait") != 0 &&
            strcmp(arg, "stop-on-agent") != 0)
            return cl_args_wrong(
                common, "--on-partition '%s': expected replace, wait or stop-on-agent", arg);
        options->on_partition = arg;
        return 0;
    case KEY_PRIORITY:
        if (!cl_args_number(common, "priority", arg, INT32_MIN, INT32_MAX, &number))
            return EINVAL;
        options->priority = (int32_t)number;
        options->has_priority = true;
        return 0;
    case KEY_NAME:
        options->name = arg;
        return cl_name_ok(common, "--name", arg) ? 0 : EINVAL;
    case KEY_QUEUE:
        options->queue = arg;
        return cl_name_ok(common, "--queue", arg) ? 0 : EINVAL;
    case KEY_DETACH:
    case KEY_WAIT:
        options->detach = key == KEY_DETACH;
        return 0;
    case KEY_LOGS:
        options->logs = true;
        return 0;
    case KEY_DRY_RUN:
        options->dry_run = true;
        return 0;
    default:
        return parse_gang(options, key, arg);
    }
}

static error_t take_argument(struct cl_run_options *options, char *arg, bool quoted)
{
    if (quoted)
        append(&options->command, &options->command_count, arg);
    else if (options->has_each)
        append(&options->each, &options->each_count, arg);
    else
        return cl_args_wrong(&options->common,
                             "unexpected argument '%s': a command stands after '--', as in "
                             "'switchyard run -- ls -l'",
                             arg);
    return 0;
}

static error_t check_whole(struct cl_run_options *options)
{
    struct cl_args *common = &options->common;
    bool fan_out = options->has_each || options->lines;
    if (!options->function && options->command_count == 0)
        return cl_args_wrong(common, "what shall run? Give --function LIBRARY:FUNCTION, or a "
                                     "command after '--'");
    if (options->function && options->command_count > 0)
        return cl_args_wrong(common, "--function and a command exclude each other");
    if (options->has_each && options->lines)
        return cl_args_wrong(common, "--each and --lines exclude each other");
    if (options->input && options->input_file)
        return cl_args_wrong(common, "--input and --input-file exclude each other");
    if ((options->input || options->input_file) && (!options->function || fan_out))
        return cl_args_wrong(common, "--input is for one --function, without --each or --lines");
    if (options->logs && (fan_out || options->detach))
        return cl_args_wrong(common, "--logs is for one task that is waited for");
    if (options->gang > 0 && (fan_out || options->logs))
        return cl_args_wrong(common, "--gang excludes --each, --lines and --logs");
    if (options->gang > 0 && options->on_partition && strcmp(options->on_partition, "replace") != 0)
        return cl_args_wrong(common,
                             "--gang excludes --on-partition %s: it goes on whole, or not at all",
                             options->on_partition);
    if (options->gang == 0 && (options->gang_key || options->has_on_loss))
        return cl_args_wrong(common, "--gang-topology and --gang-on-loss are for --gang N");
    if (options->environment && !options->function)
        return cl_args_wrong(common, "--environment is for --function: a command runs in a process "
                                     "of its own");
    return 0;
}

static error_t parse_run(int key, char *arg, struct argp_state *state)
{
    struct cl_run_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->common;
        return 0;
    case 'f':
        options->function = arg;
        return 0;
    case KEY_INPUT:
        options->input = arg;
        return 0;
    case KEY_INPUT_FILE:
        options->input_file = arg;
        return 0;
    case KEY_EACH:
        if (strcmp(arg, "--") == 0)
            return cl_args_wrong(&options->common,
                                 "--each needs at least one argument before '--'");
        options->has_each = true;
        append(&options->each, &options->each_count, arg);
        return 0;
    case KEY_LINES:
        options->lines = arg;
        return 0;
    case ARGP_KEY_ARG:
        return take_argument(options, arg, state->quoted && state->next > state->quoted);
    case ARGP_KEY_END:
        return check_whole(options);
    default:
        return parse_how(options, key, arg);
    }
}

enum cl_parse cl_run_parse(struct cl_run_options *options, const struct cl_args *defaults, int argc,
                           char **argv)
{
    static const char doc[] =
        "Runs a command or a C function, once or once for each argument or line, and waits for the "
        "end."
        "\vExamples:\n"
        "  switchyard run -- make -C /src\n"
        "  switchyard run --function ./libtasks.so:resize --input /tmp/a.png\n"
        "  switchyard run --function ./libtasks.so:resize --lines files.txt\n"
        "  switchyard run --each a b c -- gzip -k {}\n"
        "  switchyard run --gang 8 --gpu 8:H100 --gang-topology prefer:rack -- "
        "./train\n\n" CL_EXIT_CODES;
    const struct argp argp = {run_argp_options,
                              parse_run,
                              "[-- COMMAND [ARGUMENT...]]",
                              doc,
                              CL_ARGS_CHILDREN,
                              NULL,
                              NULL};
    *options = (struct cl_run_options){.common = *defaults};
    return cl_args_parse(&argp, argc, argv, ARGP_IN_ORDER, &options->common, options);
}

void cl_run_options_deinit(struct cl_run_options *options)
{
    free(options->command);
    free(options->each);
    free(options->variables);
}
