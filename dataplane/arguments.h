/* The command line of switchyard-operator. */
#pragma once

#include <stdbool.h>

struct dp_arguments {
    const char *config_path; /* borrowed from argv */
    const char *join;        /* a token, or @FILE with one; NULL: none */
    bool print_config;
};

/* Prints help, the version, or what is wrong, and ends the process then. */
void dp_arguments_parse(struct dp_arguments *ret, int argc, char **argv);
