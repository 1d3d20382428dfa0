#include "tools/src/sim_program.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_REGION = 0x100,
    KEY_COMPARE,
    KEY_POLICY,
    KEY_FORMAT,
    KEY_INSTANCES,
    KEY_STRICT,
    KEY_DELAY,
    KEY_PLOTS,
    KEY_JSON,
    KEY_KIND,
    KEY_HOURS,
    KEY_LOAD,
    KEY_SEED,
    KEY_PRINT_REGION,
    KEY_HELP,
    KEY_VERSION,
};

static const struct argp_option options[] = {
    {"region", KEY_REGION, "FILE", 0, "the region: clusters, nodes, queues (YAML)", 1},
    {"print-region", KEY_PRINT_REGION, NULL, 0, "what such a file may say, with defaults", 1},
    {NULL, 0, NULL, 0, "Replay:", 2},
    {"policy", KEY_POLICY, "NAME", 0,
     SIM_POLICY_NAMES "; several are compared (configured: what each queue says)", 2},
    {"compare", KEY_COMPARE, "FILE", 0, "another region to compare with", 2},
    {"format", KEY_FORMAT, "NAME", 0, SIM_FORMAT_NAMES " (by the file's name: csv or jsonl)", 2},
    {"instances", KEY_INSTANCES, "FILE", 0, "alibaba-2020: the table of instances", 2},
    {"strict", KEY_STRICT, NULL, 0, "stop at the first bad row", 2},
    {"delay", KEY_DELAY, "DURATION", 0, "of a message on one stream (1ms)", 2},
    {"plots", KEY_PLOTS, "FOLDER", 0, "write plots (SVG) there", 2},
    {"json", KEY_JSON, NULL, 0, "print JSON instead of tables", 2},
    {NULL, 0, NULL, 0, "generate (prints a trace):", 3},
    {"kind", KEY_KIND, "NAME", 0, SIM_WORKLOAD_NAMES " (mixed)", 3},
    {"hours", KEY_HOURS, "NUMBER", 0, "of arrivals (8)", 3},
    {"load", KEY_LOAD, "NUMBER", 0, "work over what the region can do in that time (0.9)", 3},
    {"seed", KEY_SEED, "N", 0, "the same seed gives the same trace (1)", 3},
    {"help", KEY_HELP, NULL, 0, "show this text", -1},
    {"version", KEY_VERSION, NULL, 0, "show version, commit and build", -1},
    {0},
};

static error_t parse_number(struct sim_arguments *arguments, const char *option, const char *text,
                            double min, double max, double *ret)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < min || value > max)
        return cl_args_wrong(&arguments->common, "--%s '%s': expected a number from %g to %g",
                             option, text, min, max);
    *ret = value;
    return 0;
}

static error_t add_name(struct sim_arguments *arguments, const char *option, const char **names,
                        size_t *count, const char *name)
{
    if (*count == SIM_RUNS_MAX)
        return cl_args_wrong(&arguments->common, "--%s: at most %u", option, SIM_RUNS_MAX);
    names[(*count)++] = name;
    return 0;
}

static error_t add_policy(struct sim_arguments *arguments, const char *name)
{
    struct sim_options ignored;
    if (sim_policy_parse(name, &ignored) < 0)
        return cl_args_wrong(&arguments->common, "--policy '%s': expected " SIM_POLICY_NAMES, name);
    return add_name(arguments, "policy", arguments->policies, &arguments->policy_count, name);
}

static error_t take_format(struct sim_arguments *arguments, const char *name)
{
    arguments->format_given = true;
    if (sim_format_parse(name, &arguments->read.format) == 0)
        return 0;
    return cl_args_wrong(&arguments->common, "--format '%s': expected " SIM_FORMAT_NAMES, name);
}

static error_t take_word(struct sim_arguments *arguments, const char *word)
{
    if (arguments->trace || arguments->command == SIM_COMMAND_GENERATE)
        return cl_args_wrong(&arguments->common, "unexpected argument '%s'", word);
    if (strcmp(word, "generate") == 0)
        arguments->command = SIM_COMMAND_GENERATE;
    else
        arguments->trace = word;
    return 0;
}

static error_t parse_generate(struct sim_arguments *arguments, int key, const char *text)
{
    struct sim_generate_options *generate = &arguments->generate;
    int64_t seed;
    switch (key) {
    case KEY_KIND:
        if (sim_workload_parse(text, &generate->workload) < 0)
            return cl_args_wrong(&arguments->common, "--kind '%s': expected " SIM_WORKLOAD_NAMES,
                                 text);
        return 0;
    case KEY_HOURS:
        return parse_number(arguments, "hours", text, 0.1, 8760, &generate->hours);
    case KEY_LOAD:
        return parse_number(arguments, "load", text, 0.01, 10, &generate->load);
    case KEY_SEED:
        if (!cl_args_number(&arguments->common, "seed", text, 0, INT64_MAX, &seed))
            return EINVAL;
        generate->seed = (uint64_t)seed;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_end(struct sim_arguments *arguments)
{
    struct cl_args *common = &arguments->common;
    if (arguments->command == SIM_COMMAND_PRINT_REGION)
        return 0;
    if (arguments->command == SIM_COMMAND_RUN && !arguments->trace)
        return cl_args_wrong(common, "which trace? Expected a file, or 'generate'");
    if (arguments->region_count == 0 || !arguments->regions[0])
        return cl_args_wrong(common, "--region FILE is needed: where would it run?");
    if (arguments->policy_count == 0)
        arguments->policies[arguments->policy_count++] = "configured";
    if (arguments->region_count * arguments->policy_count > SIM_RUNS_MAX)
        return cl_args_wrong(common, "%zu regions and %zu policies: at most %u runs are compared",
                             arguments->region_count, arguments->policy_count, SIM_RUNS_MAX);
    if (arguments->read.instances && arguments->read.format != SIM_FORMAT_ALIBABA_2020)
        return cl_args_wrong(common, "--instances is for --format alibaba-2020");
    const char *suffix = arguments->trace ? strrchr(arguments->trace, '.') : NULL;
    if (!arguments->format_given && suffix &&
        (strcmp(suffix, ".jsonl") == 0 || strcmp(suffix, ".ndjson") == 0))
        arguments->read.format = SIM_FORMAT_JSONL;
    return 0;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct sim_arguments *arguments = state->input;
    switch (key) {
    case KEY_REGION:
        if (arguments->regions[0])
            return cl_args_wrong(&arguments->common, "--region is there twice; use --compare");
        arguments->regions[0] = text;
        return 0;
    case KEY_COMPARE:
        return add_name(arguments, "compare", arguments->regions, &arguments->region_count, text);
    case KEY_POLICY:
        return add_policy(arguments, text);
    case KEY_FORMAT:
        return take_format(arguments, text);
    case KEY_INSTANCES:
        arguments->read.instances = text;
        return 0;
    case KEY_STRICT:
        arguments->strict = true;
        return 0;
    case KEY_DELAY:
        return cl_args_duration(&arguments->common, "delay", text, &arguments->delay_ns) ? 0
                                                                                         : EINVAL;
    case KEY_PLOTS:
        arguments->plots = text;
        return 0;
    case KEY_JSON:
        arguments->common.json = true;
        return 0;
    case KEY_PRINT_REGION:
        arguments->command = SIM_COMMAND_PRINT_REGION;
        return 0;
    case KEY_HELP:
    case KEY_VERSION: /* nothing that follows matters */
        arguments->common.outcome = key == KEY_HELP ? CL_PARSE_HELP : CL_PARSE_VERSION;
        return ECANCELED;
    case ARGP_KEY_ARG:
        return take_word(arguments, text);
    case ARGP_KEY_END:
        return parse_end(arguments);
    case ARGP_KEY_ERROR:
        arguments->common.error_index = state->next;
        return 0;
    default:
        return parse_generate(arguments, key, text);
    }
}

enum cl_parse sim_arguments_parse(struct sim_arguments *ret, int argc, char **argv)
{
    static const char doc[] =
        "Replays a workload against a described region on a virtual clock, with Switchyard's own "
        "scheduler, and tells waits, utilisation and fairness.\v"
        "TRACE is a file of tasks; 'generate' makes one. What the columns and figures mean: "
        "docs/scheduling.md. " CL_EXIT_CODES;
    const struct argp argp = {options, parse, "TRACE|generate", doc, NULL, NULL, NULL};
    *ret = (struct sim_arguments){.region_count = 1,
                                  .delay_ns = SY_NS_PER_MS,
                                  .generate = {.hours = 8, .load = 0.9, .seed = 1}};
    cl_args_init(&ret->common);
    return cl_args_parse(&argp, argc, argv, 0, &ret->common, ret);
}
