/* switchyard-operator --config FILE [--join TOKEN] */
#include "base/daemon.h"
#include "base/file.h"
#include "base/mem.h"
#include "dataplane/arguments.h"
#include "dataplane/config.h"
#include "dataplane/enrol.h"
#include "dataplane/operator.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRACE_NS (5 * SY_NS_PER_S)

struct program {
    struct dp_arguments arguments;
    struct dp_config config;
    struct sy_log *log;
    struct sy_loop *loop, *objects_loop;
    struct sy_rpc *rpc;
    struct dp_operator *op;
    struct dp_enrolment enrolment;
    struct sy_daemon daemon;
    pthread_t objects_thread;
    bool stopping;
};

static void on_stopped(void *arg)
{
    struct program *program = arg;
    sy_loop_stop(program->objects_loop);
    sy_loop_stop(program->loop);
}

static void on_signal(void *arg, int signal)
{
    struct program *program = arg;
    if (signal == SIGHUP || program->stopping)
        return;
    program->stopping = true;
    if (program->op)
        dp_operator_stop(program->op, GRACE_NS, on_stopped, program);
    else
        sy_loop_stop(program->loop); /* it is still joining */
}

static void *run_objects(void *arg)
{
    struct program *program = arg;
    int r = sy_loop_run(program->objects_loop);
    SY_ASSERT(r == 0);
    return NULL;
}

static int start_operator(struct program *program, struct sy_error_text *error)
{
    struct sy_rng rng;
    struct dp_config_options from;
    sy_rng_init_from_system(&rng);
    struct dp_operator_ports ports = {program->rpc, program->loop, program->objects_loop,
                                      sy_rng_u64(&rng), program->log};
    int r = dp_config_options_init(&from, &program->config,
                                   dp_enrolment_identity(&program->enrolment), error);
    if (r == 0)
        r = dp_operator_new(&program->op, &from.options, &ports, error);
    dp_config_options_deinit(&from);
    return r;
}

static int set_up(struct program *program, struct sy_error_text *error)
{
    uint64_t files;
    struct sy_buf pid_path SY_CLEANUP(sy_buf_deinit) = {0};
    sy_buf_printf(&pid_path, "%s/operator.pid%c", program->config.data_dir, '\0');
    int r = sy_daemon_raise_nofile(&files);
    if (r == 0)
        r = sy_loop_new(&program->loop, NULL);
    if (r == 0)
        r = sy_loop_new(&program->objects_loop, NULL);
    if (r == 0)
        r = sy_daemon_init(&program->daemon, program->loop, on_signal, program);
    if (r == 0 && (r = sy_mkdir_p(program->config.data_dir, 0700)) < 0)
        sy_error_text_set(error, "data_dir: cannot make %s: %s", program->config.data_dir,
                          strerror(-r));
    if (r == 0)
        r = sy_daemon_write_pid(&program->daemon, (const char *)pid_path.data, error);
    if (r == 0)
        r = sy_rpc_grpc_new(&program->rpc, error);
    if (r == 0)
        r = dp_enrol(&program->enrolment, program->rpc, program->loop, program->log,
                     &program->config, program->arguments.join, error);
    if (r == 0)
        r = start_operator(program, error);
    return r;
}

static int run(struct program *program)
{
    char ready[128];
    int r = pthread_create(&program->objects_thread, NULL, run_objects, program);
    if (r != 0)
        return -r;
    snprintf(ready, sizeof(ready), "operator %s port %d", dp_operator_cluster(program->op),
             dp_operator_port(program->op));
    sy_daemon_ready(ready);
    r = sy_loop_run(program->loop);
    pthread_join(program->objects_thread, NULL);
    return r;
}

static void tear_down(struct program *program)
{
    dp_operator_free(program->op);
    dp_enrolment_wipe(&program->enrolment);
    sy_rpc_free(program->rpc);
    if (program->daemon.loop)
        sy_daemon_deinit(&program->daemon);
    sy_loop_free(program->objects_loop);
    sy_loop_free(program->loop);
    sy_daemon_dump_on_abort(NULL);
    sy_log_free(program->log);
    dp_config_free(&program->config);
}

int main(int argc, char **argv)
{
    struct program program = {0};
    struct sy_error_text error = {0};
    dp_arguments_parse(&program.arguments, argc, argv);
    if (program.arguments.print_config) {
        dp_config_print(STDOUT_FILENO);
        return EXIT_SUCCESS;
    }
    int r = dp_config_load(&program.config, program.arguments.config_path, &error);
    if (r == 0) {
        program.log = sy_log_new(STDERR_FILENO, (enum sy_log_level)program.config.log_level, NULL);
        sy_daemon_dump_on_abort(program.log);
        r = set_up(&program, &error);
    }
    if (r == 0)
        r = run(&program);
    if (r < 0)
        fprintf(stderr, "switchyard-operator: %s\n", error.text[0] ? error.text : strerror(-r));
    tear_down(&program);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
