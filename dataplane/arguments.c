#include "dataplane/arguments.h"

#include "version.h"

#include <argp.h>
#include <stdlib.h>

static error_t on_option(int key, char *value, struct argp_state *state)
{
    struct dp_arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->config_path = value;
        return 0;
    case 'j':
        arguments->join = value;
        return 0;
    case 'p':
        arguments->print_config = true;
        return 0;
    case 'V':
        printf("switchyard-operator %s (%s, %s)\n", SY_VERSION, SY_COMMIT, SY_BUILD_TYPE);
        exit(EXIT_SUCCESS);
    case ARGP_KEY_END:
        if (!arguments->config_path && !arguments->print_config)
            argp_error(state, "--config FILE is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void dp_arguments_parse(struct dp_arguments *ret, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"config", 'c', "FILE", 0, "YAML configuration", 0},
        {"join", 'j', "TOKEN", 0,
         "join a cluster of the region by this token, unless it has been; @FILE: by the one in "
         "that "
         "file",
         0},
        {"print-config", 'p', NULL, 0, "print all keys with their defaults", 0},
        {"version", 'V', NULL, 0, "print the version", 0},
        {0},
    };
    static const struct argp argp = {options, on_option, NULL, "The operator of one cluster.",
                                     NULL,    NULL,      NULL};
    *ret = (struct dp_arguments){0};
    if (argp_parse(&argp, argc, argv, 0, NULL, ret) != 0)
        exit(EXIT_FAILURE);
}
