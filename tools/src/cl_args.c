#include "tools/src/cl_args.h"

#include "base/config.h"
#include "tools/src/cl_spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <version.h>

enum { KEY_ENDPOINT = 0x1000, KEY_PROJECT, KEY_DOMAIN, KEY_CALL_TIMEOUT, KEY_HELP, KEY_VERSION };

static const struct argp_option common_options[] = {
    {"endpoint", KEY_ENDPOINT, "HOST:PORT", 0,
     "where a shard listens (SWITCHYARD_ENDPOINT, " CL_ENDPOINT_DEFAULT ")", 0},
    {"project", KEY_PROJECT, "NAME", 0, "project (SWITCHYARD_PROJECT, default)", 0},
    {"domain", KEY_DOMAIN, "NAME", 0, "domain (SWITCHYARD_DOMAIN, development)", 0},
    {"output", 'o', "FORMAT", 0, "table (default) or json", 0},
    {"call-timeout", KEY_CALL_TIMEOUT, "DURATION", 0, "of one call to the endpoint (30s)", 0},
    {"help", KEY_HELP, NULL, 0, "show this text", -1},
    {"version", KEY_VERSION, NULL, 0, "show version, commit and build", -1},
    {0},
};

void cl_args_init(struct cl_args *args)
{
    *args = (struct cl_args){.json = false};
    cl_options_init(&args->client);
}

error_t cl_args_are_wrong(struct cl_args *common)
{
    common->outcome = CL_PARSE_WRONG;
    return EINVAL;
}

static bool number(struct cl_args *common, const char *dashes, const char *name, const char *text,
                   int64_t min, int64_t max, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < min || value > max) {
        cl_args_wrong(common, "%s%s '%s': expected a whole number from %lld to %lld", dashes, name,
                      text, (long long)min, (long long)max);
        return false;
    }
    *ret = value;
    return true;
}

bool cl_args_number(struct cl_args *common, const char *option, const char *text, int64_t min,
                    int64_t max, int64_t *ret)
{
    return number(common, "--", option, text, min, max, ret);
}

bool cl_args_place(struct cl_args *common, const char *name, const char *text, int64_t min,
                   int64_t max, int64_t *ret)
{
    return number(common, "", name, text, min, max, ret);
}

bool cl_args_quantity(struct cl_args *common, const char *option, char *text, bool milli,
                      uint64_t *ret)
{
    size_t n = strlen(text);
    if (!milli && n > 2 && text[n - 1] == 'B' && text[n - 2] == 'i')
        text[n - 1] = '\0';
    if (cl_quantity_parse(text, milli, ret) == 0)
        return true;
    cl_args_wrong(common, "--%s '%s': expected a quantity such as %s", option, text,
                  milli ? "500m or 2" : "64Mi or 2Gi");
    return false;
}

bool cl_args_duration(struct cl_args *common, const char *option, const char *text, int64_t *ret_ns)
{
    if (sy_parse_duration(text, ret_ns) == 0 && *ret_ns > 0)
        return true;
    cl_args_wrong(common, "--%s '%s': expected a duration such as 500ms, 10s or 5m", option, text);
    return false;
}

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    struct cl_args *args = state->input;
    switch (key) {
    case KEY_ENDPOINT:
        args->client.endpoint = arg;
        return *arg ? 0 : cl_args_wrong(args, "--endpoint is empty: expected HOST:PORT");
    case KEY_PROJECT:
        args->client.project = arg;
        return *arg ? 0 : cl_args_wrong(args, "--project is empty");
    case KEY_DOMAIN:
        args->client.domain = arg;
        return *arg ? 0 : cl_args_wrong(args, "--domain is empty");
    case KEY_CALL_TIMEOUT:
        return cl_args_duration(args, "call-timeout", arg, &args->client.timeout_ns) ? 0 : EINVAL;
    case 'o':
        args->json = strcmp(arg, "json") == 0;
        if (!args->json && strcmp(arg, "table") != 0)
            return cl_args_wrong(args, "--output '%s': expected table or json", arg);
        return 0;
    case KEY_HELP:
    case KEY_VERSION: /* nothing that follows matters */
        args->outcome = key == KEY_HELP ? CL_PARSE_HELP : CL_PARSE_VERSION;
        return ECANCELED;
    case ARGP_KEY_ERROR:
        args->error_index = state->next;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cl_args_argp = {common_options, parse_common, NULL, NULL, NULL, NULL, NULL};

static bool takes_value(const struct argp *argp, const char *token)
{
    for (const struct argp_option *o = argp->options; o && (o->name || o->key || o->doc); o++) {
        bool named = token[0] == '-' && token[1] == '-' && o->name &&
                     strcmp(token + 2, o->name) == 0;
        bool lettered = token[0] == '-' && token[1] == o->key && token[2] == '\0';
        if (o->arg && (named || lettered))
            return true;
    }
    for (const struct argp_child *c = argp->children; c && c->argp; c++) {
        if (takes_value(c->argp, token))
            return true;
    }
    return false;
}

/* argp itself only says that something is wrong, and where it was. */
static void explain(const struct argp *argp, int argc, char **argv, struct cl_args *common)
{
    int i = common->error_index - 1;
    if (i < 1 || i >= argc) {
        cl_args_wrong(common, "the arguments are wrong; '%s --help' shows them", argv[0]);
        return;
    }
    const char *token = argv[i];
    if (token[0] == '-' && takes_value(argp, token))
        cl_args_wrong(common, "option '%s' needs a value", token);
    else if (token[0] == '-')
        cl_args_wrong(common, "unknown option '%s'; '%s --help' shows all", token, argv[0]);
    else
        cl_args_wrong(common, "unexpected argument '%s'; '%s --help' shows the usage", token,
                      argv[0]);
}

enum cl_parse cl_args_parse(const struct argp *argp, int argc, char **argv, unsigned flags,
                            struct cl_args *common, void *input)
{
    common->outcome = CL_PARSE_OK;
    error_t r = argp_parse(argp, argc, argv, flags | ARGP_NO_ERRS | ARGP_NO_HELP, NULL, input);
    if (common->outcome == CL_PARSE_HELP)
        argp_help(argp, stdout,
                  ARGP_HELP_SHORT_USAGE | ARGP_HELP_PRE_DOC | ARGP_HELP_LONG | ARGP_HELP_POST_DOC,
                  argv[0]);
    else if (common->outcome == CL_PARSE_VERSION)
        printf("switchyard %s (%s, %s, %s)\n", SY_VERSION, SY_COMMIT, SY_BUILD_TYPE, SY_COMPILER);
    else if (r != 0 && common->outcome == CL_PARSE_OK)
        explain(argp, argc, argv, common);
    return common->outcome;
}

enum cl_exit cl_args_exit(const char *program, const struct cl_args *common)
{
    if (common->outcome != CL_PARSE_WRONG)
        return CL_OK;
    fprintf(stderr, "%s: %s\n", program, common->error.text);
    return CL_USAGE;
}

enum cl_exit cl_report(const char *program, const struct cl_error *error)
{
    if (error->exit != CL_OK && *error->text.text)
        fprintf(stderr, "%s: %s\n", program, error->text.text);
    return error->exit;
}

enum cl_exit cl_flush_output(const char *program, enum cl_exit exit_code)
{
    bool lost = ferror(stdout) != 0;
    bool unwritten = fflush(stdout) != 0;
    if (!lost && !unwritten)
        return exit_code;
    fprintf(stderr, "%s: the output could not be written%s%s\n", program, unwritten ? ": " : "",
            unwritten ? strerror(errno) : "");
    return exit_code == CL_OK ? CL_INTERNAL : exit_code;
}
