/* switchyard-operator --config FILE */
#include "base/daemon.h"
#include "base/file.h"
#include "base/mem.h"
#include "dataplane/config.h"
#include "dataplane/operator.h"
#include "version.h"

#include <argp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRACE_NS (5 * SY_NS_PER_S)

struct program {
    const char *config_path;
    bool print_config;
    struct dp_config config;
    struct sy_log *log;
    struct sy_loop *loop, *objects_loop;
    struct sy_rpc *rpc;
    struct dp_operator *op;
    struct sy_daemon daemon;
    pthread_t objects_thread;
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
        if (!program->config_path && !program->print_config)
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
static const struct argp argp = {options, on_option, NULL, "The operator of one cluster.",
                                 NULL,    NULL,      NULL};

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
    dp_operator_stop(program->op, GRACE_NS, on_stopped, program);
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
    const struct dp_config *config = &program->config;
    char *objects_dir SY_AUTOFREE = NULL;
    const char **shards SY_AUTOFREE = sy_calloc(config->shards.count + 1, sizeof(*shards));
    memcpy(shards, config->shards.items, config->shards.count * sizeof(*shards));
    if (asprintf(&objects_dir, "%s/objects", config->data_dir) < 0)
        return -ENOMEM;
    struct sy_rng rng;
    sy_rng_init_from_system(&rng);
    struct dp_operator_options operator_options = {
        .cluster = config->cluster,
        .listen = config->listen,
        .endpoint = config->endpoint,
        .shards = shards,
        .streams_max = (size_t)config->streams_max,
        .heartbeat_ns = config->heartbeat_ns,
        .core = {config->hold_ns, config->node_lease_ns, config->join_grace_ns},
        .objects_dir = objects_dir,
        .object_bytes_max = config->object_bytes_max,
        .peer_bytes_max = (size_t)config->peer_bytes_max,
    };
    struct dp_operator_ports ports = {program->rpc, program->loop, program->objects_loop,
                                      sy_rng_u64(&rng), program->log};
    return dp_operator_new(&program->op, &operator_options, &ports, error);
}

static int set_up(struct program *program, struct sy_error_text *error)
{
    uint64_t files;
    char *pid_path SY_AUTOFREE = NULL;
    if (asprintf(&pid_path, "%s/operator.pid", program->config.data_dir) < 0)
        return -ENOMEM;
    int r = sy_daemon_raise_nofile(&files);
    if (r == 0)
        r = sy_loop_new(&program->loop, NULL);
    if (r == 0)
        r = sy_loop_new(&program->objects_loop, NULL);
    if (r == 0)
        r = sy_daemon_init(&program->daemon, program->loop, on_signal, program);
    if (r == 0)
        r = sy_mkdir_p(program->config.data_dir, 0700);
    if (r == 0)
        r = sy_daemon_write_pid(&program->daemon, pid_path, error);
    if (r == 0)
        r = sy_rpc_grpc_new(&program->rpc, error);
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
    snprintf(ready, sizeof(ready), "operator %s port %d", program->config.cluster,
             dp_operator_port(program->op));
    sy_daemon_ready(ready);
    r = sy_loop_run(program->loop);
    pthread_join(program->objects_thread, NULL);
    return r;
}

static void tear_down(struct program *program)
{
    dp_operator_free(program->op);
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
    argp_program_version = "switchyard-operator " SY_VERSION " " SY_COMMIT;
    if (argp_parse(&argp, argc, argv, 0, NULL, &program) != 0)
        return EXIT_FAILURE;
    if (program.print_config) {
        dp_config_print(STDOUT_FILENO);
        return EXIT_SUCCESS;
    }
    int r = dp_config_load(&program.config, program.config_path, &error);
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
