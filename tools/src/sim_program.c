#include "tools/src/sim_program.h"

#include "base/config.h"
#include "base/mem.h"
#include "tools/src/cl_text.h"
#include "tools/src/sim_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "switchyard-simulate"

/* ---- a run for each region and policy ---- */

struct run {
    char name[160];
    struct sim_options options;
    struct sim_result *result;
};

struct session {
    struct sim_trace trace;
    struct sim_region regions[SIM_RUNS_MAX];
    struct run runs[SIM_RUNS_MAX];
    struct sim_variant variants[SIM_RUNS_MAX];
    size_t region_count, run_count;
};

static void session_deinit(struct session *session)
{
    for (size_t i = 0; i < session->run_count; i++)
        sim_result_free(session->runs[i].result);
    for (size_t i = 0; i < session->region_count; i++)
        sim_region_deinit(&session->regions[i]);
    sim_trace_deinit(&session->trace);
}

static enum cl_exit fail(const struct sy_error_text *error)
{
    fprintf(stderr, PROGRAM ": %s\n", error->text);
    return CL_REFUSED;
}

static int load_regions(struct session *session, const struct sim_arguments *arguments,
                        struct sy_error_text *error)
{
    for (size_t i = 0; i < arguments->region_count; i++) {
        int r = sim_region_load(&session->regions[i], arguments->regions[i], error);
        if (r < 0)
            return r;
        session->region_count++;
    }
    return 0;
}

/* "west.yaml" of "regions/west.yaml". */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void name_run(struct run *run, const struct sim_arguments *arguments, size_t region,
                     size_t policy)
{
    const char *file = base_name(arguments->regions[region]);
    if (arguments->region_count == 1)
        snprintf(run->name, sizeof(run->name), "%s", arguments->policies[policy]);
    else if (arguments->policy_count == 1)
        snprintf(run->name, sizeof(run->name), "%.100s", file);
    else
        snprintf(run->name, sizeof(run->name), "%.100s, %s", file, arguments->policies[policy]);
}

static void run_all(struct session *session, const struct sim_arguments *arguments)
{
    for (size_t i = 0; i < arguments->region_count; i++) {
        for (size_t k = 0; k < arguments->policy_count; k++) {
            struct run *run = &session->runs[session->run_count];
            int r = sim_policy_parse(arguments->policies[k], &run->options);
            SY_ASSERT(r == 0);
            run->options.delay_ns = arguments->delay_ns;
            run->result = sim_run(&session->regions[i], &session->trace, &run->options);
            name_run(run, arguments, i, k);
            session->variants[session->run_count++] = (struct sim_variant){run->name, run->result};
        }
    }
}

static enum cl_exit simulate(const struct sim_arguments *arguments)
{
    SY_CLEANUP(session_deinit) struct session session = {0};
    struct sim_complaints complaints = {.file = stderr, .strict = arguments->strict};
    struct sim_read_options read = arguments->read;
    struct sy_error_text error;
    if (load_regions(&session, arguments, &error) < 0)
        return fail(&error);
    read.machine = sim_region_largest_node(&session.regions[0]);
    if (sim_read(&session.trace, arguments->trace, &read, &complaints, &error) < 0)
        return fail(&error);
    run_all(&session, arguments);
    if (arguments->common.json)
        sim_report_json(session.variants, session.run_count, stdout);
    else
        sim_report_tables(session.variants, session.run_count, stdout, cl_terminal_width(stdout));
    if (arguments->plots &&
        sim_plot_all(arguments->plots, session.variants, session.run_count, &error) < 0)
        return fail(&error);
    return CL_OK;
}

static enum cl_exit generate(const struct sim_arguments *arguments)
{
    SY_CLEANUP(session_deinit) struct session session = {0};
    struct sy_error_text error;
    if (load_regions(&session, arguments, &error) < 0 ||
        sim_generate(&session.trace, &session.regions[0], &arguments->generate, &error) < 0)
        return fail(&error);
    sim_trace_write(&session.trace, stdout);
    return CL_OK;
}

enum cl_exit sim_program(int argc, char **argv)
{
    struct sim_arguments arguments;
    if (sim_arguments_parse(&arguments, argc, argv) != CL_PARSE_OK)
        return cl_args_exit(PROGRAM, &arguments.common);
    enum cl_exit exit_code = CL_OK;
    if (arguments.command == SIM_COMMAND_PRINT_REGION) {
        fflush(stdout);
        sim_region_print(STDOUT_FILENO);
    } else if (arguments.command == SIM_COMMAND_GENERATE) {
        exit_code = generate(&arguments);
    } else {
        exit_code = simulate(&arguments);
    }
    return cl_flush_output(PROGRAM, exit_code);
}
