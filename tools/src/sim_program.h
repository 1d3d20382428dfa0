/* switchyard-simulate: arguments, and what they ask for. Library `simulate` holds all but main().
 */
#pragma once

#include "tools/src/cl_args.h"
#include "tools/src/sim_generate.h"
#include "tools/src/sim_read.h"
#include "tools/src/sim_world.h"

#define SIM_RUNS_MAX 6u

enum sim_command { SIM_COMMAND_RUN, SIM_COMMAND_GENERATE, SIM_COMMAND_PRINT_REGION };

struct sim_arguments {
    struct cl_args common; /* of which only errors and `json` are used */
    enum sim_command command;
    const char *trace;                  /* a file */
    const char *regions[SIM_RUNS_MAX];  /* --region, then each --compare */
    const char *policies[SIM_RUNS_MAX]; /* "configured" when none is given */
    size_t region_count, policy_count;
    const char *plots; /* a folder, or NULL */
    struct sim_read_options read;
    bool format_given, strict;
    int64_t delay_ns;
    struct sim_generate_options generate;
};

/* `argv` without the name of the program's command. */
enum cl_parse sim_arguments_parse(struct sim_arguments *ret, int argc, char **argv);
enum cl_exit sim_program(int argc, char **argv);
