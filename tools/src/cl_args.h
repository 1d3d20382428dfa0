/*
 * What the command lines of all programs share: options of the connection and of the output,
 * --help,
 * --version, and errors that are one sentence (argp's own are two lines, and name the option only).
 *
 * A command's options struct holds a struct cl_args; its argp has cl_args_child as a child, and its
 * parser hands the struct on:
 *
 *     case ARGP_KEY_INIT:
 *         state->child_inputs[0] = &options->common;
 */
#pragma once

#include "tools/src/client.h"

#include <argp.h>
#include <stdbool.h>

enum cl_parse { CL_PARSE_OK, CL_PARSE_WRONG, CL_PARSE_HELP, CL_PARSE_VERSION };

struct cl_args {
    struct cl_options client;
    bool json;
    enum cl_parse outcome;
    struct sy_error_text error; /* when CL_PARSE_WRONG */
    int error_index;            /* argp's, when it found the error */
};
void cl_args_init(struct cl_args *args);

extern const struct argp cl_args_argp;
#define CL_ARGS_CHILDREN                                                                           \
    ((const struct argp_child[]){{&cl_args_argp, 0, "Common options:", 99}, {0}})

/* `argv[0]` is what usage lines show ("switchyard run"). `common` is inside of `input`. Prints what
 * --help and
 * --version ask for. */
enum cl_parse cl_args_parse(const struct argp *argp, int argc, char **argv, unsigned flags,
                            struct cl_args *common, void *input);
/* For parsers: `return cl_args_wrong(common, "...")`. */
#define cl_args_wrong(common_, ...)                                                                \
    __extension__({                                                                                \
        sy_error_text_set(&(common_)->error, __VA_ARGS__);                                         \
        cl_args_are_wrong(common_);                                                                \
    })
error_t cl_args_are_wrong(struct cl_args *common); /* EINVAL */
/* Numbers in arguments: the whole text, within limits; false and the sentence otherwise. */
bool cl_args_number(struct cl_args *common, const char *option, const char *text, int64_t min,
                    int64_t max, int64_t *ret);
/* The same of an argument that is no option. */
bool cl_args_place(struct cl_args *common, const char *name, const char *text, int64_t min,
                   int64_t max, int64_t *ret);
/* Of Kubernetes; "64MiB" is read as, and becomes, "64Mi". See cl_quantity_parse(). */
bool cl_args_quantity(struct cl_args *common, const char *option, char *text, bool milli,
                      uint64_t *ret);
bool cl_args_duration(struct cl_args *common, const char *option, const char *text,
                      int64_t *ret_ns);

/* For main functions: what to return after parsing when it was not CL_PARSE_OK. Prints the
 * sentence. */
enum cl_exit cl_args_exit(const char *program, const struct cl_args *common);
/* "PROGRAM: SENTENCE" on stderr; returns error->exit. */
/* What a program ends with: `exit_code`, unless its output was lost (a full disk). */
enum cl_exit cl_flush_output(const char *program, enum cl_exit exit_code);
enum cl_exit cl_report(const char *program, const struct cl_error *error);

#define CL_EXIT_CODES                                                                              \
    "Exit codes: 0 done; 1 the run or task failed; 2 wrong arguments; 3 not found; 4 the "         \
    "endpoint "                                                                                    \
    "is not reachable; 5 refused (invalid, infeasible, full); 6 aborted; 7 timed out; 8 internal " \
    "error; 130 interrupted."
