/* switchyard-agent --config FILE */
#include "agent/setup.h"
#include "base/daemon.h"
#include "base/file.h"
#include "version.h"

#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct program {
    const char *config_path;
    bool print_config;
    struct ag_config config;
    struct sy_log *log;
    struct sy_loop *loop;
    struct sy_daemon daemon;
    struct ag_setup setup;
    bool stopping;
};

static error_t on_option(int key, char *value, struct argp_state *state)
{
    struct program *program = state->input;
    switch (key) {
    case 'c':
        program->config_path = value;
        return 0;
    case 'p':
        program->print_config = true;
        return 0;
    case ARGP_KEY_END:
        if (program->config_path == NULL && !program->print_config)
            argp_error(state, "--config FILE is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "YAML configuration", 0},
    {"print-config", 'p', NULL, 0, "print all keys with their defaults", 0},
    {0},
};
static const struct argp argp = {options, on_option, NULL, "The agent of one node.",
                                 NULL,    NULL,      NULL};

static void on_stopped(void *arg)
{
    struct program *program = arg;
    sy_loop_stop(program->loop);
}

static void on_signal(void *arg, int signal)
{
    struct program *program = arg;
    if (signal == SIGHUP || program->stopping)
        return;
    program->stopping = true;
    ag_agent_stop(program->setup.agent, program->config.stop_grace_ns, on_stopped, program);
}

static int set_up(struct program *program, struct sy_error_text *error)
{
    uint64_t files;
    char pid_path[4096];
    snprintf(pid_path, sizeof(pid_path), "%s/agent.pid", program->config.data_dir);
    int r = sy_daemon_raise_nofile(&files);
    if (r == 0)
        r = sy_loop_new(&program->loop, NULL);
    if (r == 0)
        r = sy_daemon_init(&program->daemon, program->loop, on_signal, program);
    if (r == 0) {
        r = sy_mkdir_p(program->config.data_dir, 0755);
        if (r < 0)
            sy_error_text_set(error, "data_dir '%s': %s", program->config.data_dir, strerror(-r));
    }
    if (r == 0)
        r = sy_daemon_write_pid(&program->daemon, pid_path, error);
    if (r < 0)
        return r;
    program->setup.config = &program->config;
    program->setup.loop = program->loop;
    program->setup.log = program->log;
    return ag_setup_open(&program->setup, error);
}

static int run(struct program *program)
{
    char ready[128];
    snprintf(ready, sizeof(ready), "agent %s", program->setup.node);
    sy_daemon_ready(ready);
    return sy_loop_run(program->loop);
}

static void tear_down(struct program *program)
{
    if (program->setup.config != NULL)
        ag_setup_close(&program->setup);
    if (program->daemon.loop != NULL)
        sy_daemon_deinit(&program->daemon);
    sy_loop_free(program->loop);
    sy_daemon_dump_on_abort(NULL);
    sy_log_free(program->log);
    ag_config_free(&program->config);
}

int main(int argc, char **argv)
{
    struct program program = {0};
    struct sy_error_text error = {0};
    argp_program_version = "switchyard-agent " SY_VERSION " " SY_COMMIT;
    if (argp_parse(&argp, argc, argv, 0, NULL, &program) != 0)
        return EXIT_FAILURE;
    if (program.print_config) {
        ag_config_print(STDOUT_FILENO);
        return EXIT_SUCCESS;
    }
    int r = ag_config_load(&program.config, program.config_path, &error);
    if (r == 0) {
        program.log = sy_log_new(STDERR_FILENO, (enum sy_log_level)program.config.log_level, NULL);
        sy_daemon_dump_on_abort(program.log);
        r = set_up(&program, &error);
    }
    if (r == 0)
        r = run(&program);
    if (r < 0)
        fprintf(stderr, "switchyard-agent: %s\n", error.text[0] ? error.text : strerror(-r));
    tear_down(&program);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
